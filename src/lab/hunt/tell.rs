//! What a hunt says: a line for each timeline, then a table of what was found, what was never reached, and the smaller
//! profile with its command. The same goes into the run's folder. It judges nothing.

use std::{collections::BTreeMap, fs};

use serde_json::json;

use super::{Hunt, RECORD_FILE, counts::Counts, shrink::Shrunk, trial::Trial};
use crate::{
    lab::{
        error::LabError,
        known::{self, Found, Issue},
        run,
        say::say,
    },
    report::{
        property::{Kind, Outcome, Property},
        text::{self, plain_table},
    },
};

/// The smaller profile, in the run's folder.
const SHRUNK_FILE: &str = "shrunk.toml";

/// A timeline in a line, of this server.
pub(super) fn line(trial: &Trial, server: &str) -> String {
    let found: Vec<String> = trial.found.iter().map(found).collect();
    let mut verdicts = match &found[..] {
        [] if trial.undecided.is_empty() => "all holds".to_owned(),
        [] => "nothing is broken".to_owned(),
        found => format!("broken: {}", found.join(", ")),
    };
    if !trial.undecided.is_empty() {
        verdicts = format!("{verdicts}; undecided: {}", trial.undecided.join(", "));
    }
    let Trial { number, profile, took, .. } = trial;
    format!("timeline {number}, {server} ({profile}), {:.0} s: {verdicts}", took.as_secs_f64())
}

fn found(found: &Found) -> String {
    let after = found.finding.after.map(|after| format!(" after {:.1} s", after.as_secs_f64()));
    [found.finding.property.clone(), after.unwrap_or_default(), known_as(found)].concat()
}

fn known_as(found: &Found) -> String {
    if found.known.is_empty() { String::new() } else { format!(" ({})", known::words(&found.known)) }
}

/// What was found of one property in one etcd, with one explanation.
#[derive(Default)]
struct Row {
    timelines: Vec<usize>,
    /// From the hunt's start.
    first: f64,
    evidence: String,
}

impl Hunt<'_> {
    /// Shows and writes down what was run and found. Whether all states were reached.
    pub(super) fn tell(&self) -> Result<bool, LabError> {
        let folder = self.ground.stage.run.path();
        let properties = self.evaluation.properties();
        let never = self.never_reached(&properties);
        let record = json!({
            "timelines": self.trials,
            "never_reached": never,
            "left_out": self.ground.left_out,
        });
        let text = serde_json::to_vec_pretty(&record).map_err(|error| LabError::Save(error.into()))?;
        fs::write(folder.join(RECORD_FILE), text).map_err(LabError::Save)?;
        self.show_found();
        self.show_counts();
        for left_out in self.ground.left_out {
            say!("{}", text::folded(&left_out.to_string(), run::width()));
        }
        if !never.is_empty() {
            let words =
                if self.ground.options.thorough { "not thorough, never reached" } else { "never reached" };
            say!("{words}: {}", never.join("; "));
        }
        if let Some(shrunk) = &self.shrunk {
            self.tell_shrunk(shrunk)?;
        }
        run::show_files(self.ground.stage.run);
        Ok(never.is_empty())
    }

    fn show_found(&self) {
        // What nothing explains comes first.
        let mut rows: BTreeMap<(&[Issue], &str, &str), Row> = BTreeMap::new();
        for trial in &self.trials {
            for found in &trial.found {
                let of = (&found.known[..], found.finding.property.as_str(), trial.etcd.as_str());
                let row = rows.entry(of).or_default();
                if row.timelines.is_empty() {
                    let after = found.finding.after.unwrap_or(trial.took);
                    row.first = (trial.ended.saturating_sub(trial.took) + after).as_secs_f64();
                    row.evidence = found.finding.evidence.first().cloned().unwrap_or_default();
                }
                row.timelines.push(trial.number);
            }
        }
        let all = self.trials.len();
        if rows.is_empty() {
            let undecided = self.trials.iter().filter(|trial| !trial.undecided.is_empty()).count();
            let but = if undecided > 0 {
                format!(" that was decided ({undecided} were not in all)")
            } else {
                String::new()
            };
            say!("{all} timelines: all holds{but}");
            return;
        }
        let mut table = plain_table(run::width());
        table.set_header(["broken", "etcd", "known as", "timelines", "first in"]);
        for ((known, property, etcd), row) in &rows {
            let known = if known.is_empty() { "-".to_owned() } else { known::words(known) };
            let often = format!("{} of {all}", row.timelines.len());
            let first = format!("{} ({:.0} s)", row.timelines[0], row.first);
            table.add_row([*property, *etcd, &known, &often, &first]);
        }
        say!("{}", table.trim_fmt());
        for ((_, property, etcd), row) in rows.iter().filter(|((known, ..), _)| known.is_empty()) {
            let evidence = text::shorten(&row.evidence, text::FAILURE_CHARS);
            let words =
                format!("nothing explains {property} of {etcd}, timeline {}: {evidence}", row.timelines[0]);
            say!("\n{}", text::folded(&words, run::width()));
        }
    }

    fn show_counts(&self) {
        let mut all = Counts::default();
        self.trials.iter().for_each(|trial| all += trial.counts);
        let Counts { operations, unknown, watches, faults } = all;
        say!("{operations} operations ({unknown} of unknown outcome), {watches} watches, {faults} faults");
    }

    fn tell_shrunk(&self, shrunk: &Shrunk) -> Result<(), LabError> {
        let Shrunk { etcd, found, profile, rate, is_cut_off } = shrunk;
        let path = self.ground.stage.run.path().join(SHRUNK_FILE);
        let soon = rate.median().map_or(String::new(), |median| format!(", after {median:.1} s (median)"));
        let often = format!("{} of {} timelines", rate.seconds.len(), rate.timelines);
        let what = found.finding.property.clone() + &known_as(found);
        let mut lines = vec![format!("breaks {what} of etcd {etcd} in {often}{soon}")];
        lines.extend(
            is_cut_off.then(|| "the time was over before all smaller profiles were tried".to_owned()),
        );
        profile.write(&path, &lines)?;
        say!("\n{profile}\n{}", lines.join("\n"));
        let etcd = if self.is_etcd { format!(" --etcd {etcd}") } else { String::new() };
        let capabilities = self.ground.options.capabilities.as_ref();
        let capabilities = capabilities.map(|path| format!(" --capabilities {}", path.display()));
        let again = format!("etcd-lab hunt{etcd}{}", capabilities.unwrap_or_default());
        say!("again: {again} --profile {}", path.display());
        Ok(())
    }

    /// The states that no timeline came to, but for those that are left out.
    fn never_reached<'p>(&self, properties: &'p [Property]) -> Vec<&'p str> {
        let is_state = |property: &&Property| matches!(property.kind, Kind::Sometimes | Kind::Reachable);
        let is_left_out = |property: &Property| {
            self.ground
                .left_out
                .iter()
                .any(|left_out| left_out.properties.contains(&property.message.as_str()))
        };
        let never = properties.iter().filter(is_state).filter(|property| property.outcome != Outcome::Holds);
        never.filter(|property| !is_left_out(property)).map(|property| property.message.as_str()).collect()
    }
}
