//! From files of SDK output to verdicts: finds the files of a run, reads each once, and hands what it reads to
//! the judges. It writes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    lab::{
        built_in::{self, SetupCount},
        judge::Judge,
        sdk_output::{self, Line, SdkOutputError},
        timeline::Ran,
    },
    report::property::{Counts, Property},
};

/// The services' file, in the SDK folder of a timeline.
const SERVICES: &str = "sdk.jsonl";

/// A file of SDK output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The timeline, from 1.
    pub timeline: usize,
    /// The name that evidence gives it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether what it declares but never reaches counts. Not so for our own health-checker beside foreign
    /// commands: it declares all properties of this project's commands, and none of those run.
    pub catalogue_counts: bool,
}

impl Source {
    fn is_of_command(&self) -> bool {
        self.path.file_name().is_some_and(|name| name != SERVICES)
    }
}

/// The file of the services of `timeline` and those of the commands that ran in it, as far as they are there.
pub fn sources(timeline: usize, sdk: &Path, ran: &Ran, foreign_commands: bool) -> Vec<Source> {
    let commands = ran.commands.iter().map(|run| format!("{}.jsonl", run.name));
    [SERVICES.to_owned()]
        .into_iter()
        .chain(commands)
        .map(|file| Source {
            timeline,
            name: format!("timeline-{timeline}/sdk/{file}"),
            path: sdk.join(&file),
            catalogue_counts: !foreign_commands || file != SERVICES,
        })
        .filter(|source| source.path.exists())
        .collect()
}

/// The verdicts over the timelines of a run, built-in properties among them.
pub fn run(
    timelines: &[Ran],
    sources: &[Source],
    needs_faults: &[&str],
) -> Result<Vec<Property>, SdkOutputError> {
    let (mut properties, setups) = judge(sources, needs_faults)?;
    properties.extend(built_in::judge(timelines, &setups));
    Ok(properties)
}

/// The verdicts over files of any project; nothing is known of the commands that wrote them.
pub fn files(paths: &[PathBuf]) -> Result<Vec<Property>, SdkOutputError> {
    let source = |path: &PathBuf| Source {
        timeline: 1,
        name: path.display().to_string(),
        path: path.clone(),
        catalogue_counts: true,
    };
    let sources: Vec<_> = paths.iter().map(source).collect();
    Ok(judge(&sources, &[])?.0)
}

fn judge(
    sources: &[Source],
    needs_faults: &[&str],
) -> Result<(Vec<Property>, Vec<SetupCount>), SdkOutputError> {
    let mut judge = Judge::new(needs_faults);
    let mut setups = Vec::new();
    for source in sources {
        let mut count = 0;
        sdk_output::read(&source.path, |line| match line {
            Line::Assertion(assertion) if assertion.hit || source.catalogue_counts => {
                judge.add(&source.name, *assertion);
            }
            Line::SetupComplete(_) => count += 1,
            Line::Assertion(_) | Line::Other => {}
        })?;
        let (timeline, from_command) = (source.timeline, source.is_of_command());
        setups.push(SetupCount { timeline, source: source.name.clone(), from_command, count });
    }
    Ok((judge.verdicts(), setups))
}

/// Writes the verdicts, with all of their evidence, beside what they were drawn from.
pub fn save(properties: &[Property], run: &Path) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(properties)?;
    fs::write(run.join("verdicts.json"), text)
}

/// Whether all that was exercised holds.
pub fn all_hold(properties: &[Property]) -> bool {
    Counts::of(properties).broken == 0
}
