//! What a run was made of, in numbers: timelines, commands, faults by kind and operations by outcome. In goes a
//! loaded run, out come sums and a sentence.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::report::load::{Run, events::End, timeline::Timeline};

/// The sums.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Timelines.
    pub timelines: usize,
    /// Runs of commands.
    pub commands: usize,
    /// Those that ended by a code other than 0, by a foreign signal or past their bound.
    pub commands_failed: usize,
    /// Faults by kind.
    pub faults: BTreeMap<String, usize>,
    /// Faults that could not begin.
    pub faults_skipped: usize,
    /// Operations.
    pub operations: usize,
    /// Operations that were answered.
    pub operations_ok: usize,
    /// Operations that certainly had no effect.
    pub operations_did_not_happen: usize,
    /// Operations that may have happened.
    pub operations_unknown: usize,
}

/// Whether a command ended as it must not.
pub fn has_failed(end: Option<End>) -> bool {
    !matches!(end, None | Some(End::Exited(0) | End::Stopped))
}

impl Totals {
    /// Of a whole run.
    pub fn of(run: &Run) -> Self {
        run.timelines.iter().fold(Self::default(), |mut totals, timeline| {
            totals.add(timeline);
            totals
        })
    }

    /// Of one timeline.
    pub fn of_timeline(timeline: &Timeline) -> Self {
        let mut totals = Self::default();
        totals.add(timeline);
        totals
    }

    fn add(&mut self, timeline: &Timeline) {
        let events = &timeline.events;
        self.timelines += 1;
        self.commands += events.commands.len();
        self.commands_failed += events.commands.iter().filter(|command| has_failed(command.end)).count();
        for fault in &events.faults {
            *self.faults.entry(fault.kind.clone()).or_default() += 1;
        }
        self.faults_skipped += events.skipped_faults.len();
        let [ok, did_not_happen, unknown] = timeline.operations.all.map(|latency| latency.count);
        self.operations += timeline.operations.count();
        self.operations_ok += ok;
        self.operations_did_not_happen += did_not_happen;
        self.operations_unknown += unknown;
    }

    /// How many faults there were.
    pub fn fault_count(&self) -> usize {
        self.faults.values().sum()
    }

    /// The kinds of fault with their numbers, most frequent first: `3 kill, 1 pause`.
    pub fn faults_by_kind(&self) -> String {
        let mut kinds: Vec<_> = self.faults.iter().collect();
        kinds.sort_by_key(|(kind, count)| (usize::MAX - **count, kind.as_str()));
        let words: Vec<_> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        words.join(", ")
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = counted(self.commands, "command");
        write!(
            f,
            "{}, {commands}, {}",
            counted(self.timelines, "timeline"),
            counted(self.fault_count(), "fault")
        )?;
        if !self.faults.is_empty() {
            write!(f, " ({})", self.faults_by_kind())?;
        }
        write!(f, ", {}", counted(self.operations, "operation"))?;
        if self.operations_unknown > 0 {
            write!(f, " ({} of unknown outcome)", grouped(self.operations_unknown))?;
        }
        Ok(())
    }
}

/// `1 fault`, `2,000 faults`, `no faults`.
pub fn counted(count: impl TryInto<usize>, noun: &str) -> String {
    match count.try_into().unwrap_or(usize::MAX) {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        count => format!("{} {noun}s", grouped(count)),
    }
}

/// Digits in groups of three.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_tells_what_there_was() {
        let faults = [("pause", 1), ("kill", 2)].map(|(kind, count)| (kind.to_owned(), count));
        let totals = Totals {
            timelines: 2,
            commands: 144,
            faults: faults.into(),
            operations: 1_234_567,
            operations_unknown: 12,
            ..Totals::default()
        };
        let expected = "2 timelines, 144 commands, 3 faults (2 kill, 1 pause), \
                        1,234,567 operations (12 of unknown outcome)";
        assert_eq!(totals.to_string(), expected);
        assert_eq!(Totals::default().to_string(), "no timelines, no commands, no faults, no operations");
    }

    #[test]
    fn digits_stand_in_groups() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
    }
}
