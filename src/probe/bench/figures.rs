//! What came of a load, in the layout of etcd's own benchmark tool, so that the two can be laid side by side, and as
//! JSON. In go times and errors, out come lines.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    client::{CallError, outcome::code_name},
    probe::{encoding::escaped, error::AskError},
};

/// Longer ones count as this long.
const LONGEST: Duration = Duration::from_hours(1);
/// Decimal digits to which times are kept.
const DIGITS: u8 = 3;
const BARS: u32 = 10;
const BAR_AT_MOST: u64 = 40;
const PERCENTILES: [f64; 9] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// How long things took.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).expect("an hour in nanoseconds fits");
        Self(Histogram::new_with_bounds(1, longest, DIGITS).expect("the bounds are in order"))
    }
}

impl Times {
    /// One more.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    #[expect(clippy::cast_precision_loss, reason = "times are kept to three digits")]
    fn seconds(nanoseconds: u64) -> f64 {
        nanoseconds as f64 / 1e9
    }

    /// Slowest, fastest, average and deviation, a line each.
    fn summary(&self) -> String {
        let Self(times) = self;
        format!(
            "  Slowest:\t{:.4} secs.\n  Fastest:\t{:.4} secs.\n  Average:\t{:.4} secs.\n  Stddev:\t{:.4} secs.\n",
            Self::seconds(times.max()),
            Self::seconds(times.min()),
            times.mean() / 1e9,
            times.stdev() / 1e9,
        )
    }

    /// Ten bars of equal width from the fastest to the slowest.
    fn bars(&self) -> String {
        let Self(times) = self;
        let (low, high) = (times.min(), times.max());
        let step = (high - low).div_ceil(u64::from(BARS)).max(1);
        let ends: Vec<u64> = (0..=u64::from(BARS)).map(|bar| (low + bar * step).min(high)).collect();
        let mut counts = vec![0; ends.len()];
        for time in times.iter_recorded() {
            // Times are kept to three digits: those that an end is kept as are within it.
            let is_within = |end: &u64| time.value_iterated_to() <= times.highest_equivalent(*end);
            let bar = ends.iter().position(is_within).unwrap_or(ends.len() - 1);
            counts[bar] += time.count_since_last_iteration();
        }
        let most = counts.iter().copied().max().unwrap_or(1).max(1);
        let bar = |count: u64| "∎".repeat(usize::try_from(count * BAR_AT_MOST / most).unwrap_or_default());
        let lines = ends.iter().zip(&counts);
        let lines =
            lines.map(|(end, count)| format!("  {:.4} [{count}]\t|{}\n", Self::seconds(*end), bar(*count)));
        lines.collect::<Vec<_>>().concat()
    }

    fn distribution(&self) -> String {
        let Self(times) = self;
        let lines = PERCENTILES.map(|percent| {
            format!("  {percent}% in {:.4} secs.\n", Self::seconds(times.value_at_percentile(percent)))
        });
        lines.concat()
    }

    fn json(&self) -> Value {
        let Self(times) = self;
        let percentiles: BTreeMap<String, f64> = PERCENTILES
            .iter()
            .map(|percent| (format!("p{percent}"), Self::seconds(times.value_at_percentile(*percent))))
            .collect();
        json!({
            "count": times.len(),
            "min": Self::seconds(times.min()),
            "mean": times.mean() / 1e9,
            "stddev": times.stdev() / 1e9,
            "max": Self::seconds(times.max()),
            "percentiles": percentiles,
        })
    }
}

/// Takes what comes while the load runs.
#[derive(Debug, Default)]
pub struct Recorder {
    latency: Times,
    service: Times,
    errors: BTreeMap<String, u64>,
}

impl Recorder {
    /// An answer: so long from when its request was due, and from when it was sent.
    pub fn answer(&mut self, latency: Duration, service: Duration) {
        self.latency.record(latency);
        self.service.record(service);
    }

    /// An error.
    pub fn error(&mut self, error: &AskError) {
        *self.errors.entry(kind(error)).or_default() += 1;
    }

    /// How many answers came.
    pub fn answered(&self) -> u64 {
        self.latency.0.len()
    }

    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Errors that differ only in whom they happened to are of one kind.
fn kind(error: &AskError) -> String {
    match error {
        AskError::Call(CallError::Status { code, message }) => {
            format!("{}: {}", code_name(*code), escaped(message.as_bytes()))
        }
        AskError::Call(CallError::NotSent(_)) => "not sent: no connection".to_owned(),
        AskError::Call(CallError::Transport(_)) => "the connection broke".to_owned(),
        other => other.reason(),
    }
}

/// What watchers were told.
#[derive(Debug)]
pub struct Told {
    /// From the sending of a write to its event.
    pub times: Times,
    /// Events that came.
    pub told: u64,
    /// Events of writes that were answered.
    pub expected: u64,
}

/// What came of a load.
#[derive(Debug)]
pub struct Figures {
    /// From the first request to the last answer.
    pub took: Duration,
    /// Processor time of this program.
    pub cpu: Duration,
    /// Answers and errors.
    pub recorder: Recorder,
    /// Of watchers, if there were any.
    pub told: Option<Told>,
}

impl Figures {
    /// Whether all requests were answered, and all events told.
    pub fn is_clean(&self) -> bool {
        self.recorder.errors.is_empty() && self.told.as_ref().is_none_or(|told| told.told >= told.expected)
    }

    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    fn per_second(&self) -> f64 {
        self.recorder.answered() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.recorder.answered() + self.recorder.failed()).max(1) as f64
    }

    /// For people; `open` says that requests were due at fixed times.
    pub fn text(&self, open: bool) -> String {
        let Recorder { latency, service, errors } = &self.recorder;
        let mut lines = vec![format!("\nSummary:\n  Total:\t{:.4} secs.\n", self.took.as_secs_f64())];
        if self.recorder.answered() > 0 {
            lines.push(latency.summary());
        }
        lines.push(format!("  Requests/sec:\t{:.4}\n", self.per_second()));
        let busy = 100.0 * self.cpu.as_secs_f64() / self.took.as_secs_f64().max(1e-9);
        lines.push(format!(
            "  Client CPU:\t{:.1} µs a request, {busy:.0} % of a core\n",
            self.cpu_per_request()
        ));
        if self.recorder.answered() > 0 {
            lines.push(format!("\nResponse time histogram:\n{}", latency.bars()));
            lines.push(format!("\nLatency distribution:\n{}", latency.distribution()));
        }
        if open && self.recorder.answered() > 0 {
            lines.push(format!("\nService time, from the sending:\n{}", service.distribution()));
        }
        if let Some(told) = &self.told {
            lines.push(format!("\nEvents: {} of {} came\n", told.told, told.expected));
            if told.told > 0 {
                lines.push(told.times.summary());
                lines.push(format!("\nTime from a write to its event:\n{}", told.times.distribution()));
            }
        }
        if !errors.is_empty() {
            let errors = errors.iter().map(|(kind, count)| format!("  [{count}] {kind}\n"));
            lines.push(format!("\nError distribution:\n{}", errors.collect::<Vec<_>>().concat()));
        }
        lines.concat()
    }

    /// For programs; times are in seconds.
    pub fn json(&self) -> Value {
        json!({
            "took": self.took.as_secs_f64(),
            "requests_per_second": self.per_second(),
            "cpu_microseconds_per_request": self.cpu_per_request(),
            "latency": self.recorder.latency.json(),
            "service": self.recorder.service.json(),
            "errors": self.recorder.errors,
            "events": self.told.as_ref().map(|told| {
                json!({ "told": told.told, "expected": told.expected, "delay": told.times.json() })
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_in_one_bar() {
        let mut times = Times::default();
        for milliseconds in 1..=1000 {
            times.record(Duration::from_millis(milliseconds));
        }
        let bars = times.bars();
        let counted = bars.lines().map(|line| {
            let (_, rest) = line.split_once('[').unwrap();
            rest.split_once(']').unwrap().0.parse::<u64>().unwrap()
        });
        let counted: Vec<u64> = counted.collect();
        assert_eq!((counted.len(), counted.iter().sum(), counted[0]), (11, 1000, 1), "{bars}");
        assert!(times.distribution().contains("  50% in 0.50"), "{}", times.distribution());
        let mut one = Times::default();
        one.record(Duration::from_mins(150));
        assert!(one.summary().contains("Slowest:\t360"), "{}", one.summary());
    }

    #[test]
    fn errors_are_counted_by_kind() {
        let mut recorder = Recorder::default();
        for _ in 0..3 {
            recorder.error(&AskError::Call(CallError::Transport("one".to_owned())));
        }
        recorder.answer(Duration::from_millis(2), Duration::from_millis(1));
        let took = Duration::from_secs(1);
        let figures = Figures { took, cpu: Duration::from_millis(4), recorder, told: None };
        let text = figures.text(true);
        assert!(
            text.contains("[3] the connection broke") && text.contains("Requests/sec:\t1.0000"),
            "{text}"
        );
        assert!(text.contains("1000.0 µs a request") && text.contains("Service time"), "{text}");
        assert!(!figures.is_clean());
    }
}
