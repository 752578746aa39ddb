//! How many operations ended how, and how long they took, second by second. In goes a timeline's folder of
//! histories, out come series and sums. A history that can't be read is noted and left out.

use std::{fs, path::Path};

use serde::Serialize;

use super::{Millis, events::Skeleton};
use crate::history::outline::{self, Fate, Outline};

/// More bars than this can't be told apart.
const MAX_BINS: u64 = 180;
/// Widths of a bar, in seconds.
const BIN_SECONDS: [u64; 10] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600];

/// The outcomes in the order in which they are shown.
pub const FATES: [Fate; 3] = [Fate::Ok, Fate::DidNotHappen, Fate::Unknown];

/// What an outcome is called.
pub fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Ok => "ok",
        Fate::DidNotHappen => "did not happen",
        Fate::Unknown => "unknown",
    }
}

/// How many there were, and how long they took. Operations that never returned have no time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How many operations.
    pub count: usize,
    /// Half of those that returned took no longer, in microseconds.
    pub median_us: Option<u64>,
    /// 99 of 100 took no longer, in microseconds.
    pub p99_us: Option<u64>,
}

/// The operations of a timeline by outcome, in the order of [`FATES`].
#[derive(Debug, Clone, Default)]
pub struct Operations {
    /// The width of a bar, in milliseconds.
    pub bin_ms: Millis,
    /// One per bar.
    pub bins: Vec<[Latency; 3]>,
    /// Over the whole timeline.
    pub all: [Latency; 3],
}

impl Operations {
    /// How many there were.
    pub fn count(&self) -> usize {
        self.all.iter().map(|latency| latency.count).sum()
    }
}

fn index(fate: Fate) -> usize {
    match fate {
        Fate::Ok => 0,
        Fate::DidNotHappen => 1,
        Fate::Unknown => 2,
    }
}

/// Sorts `times`, which leave out those that never returned.
fn latency(count: usize, times: &mut [u64]) -> Latency {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    Latency { count, median_us: at(50).copied(), p99_us: at(99).copied() }
}

#[derive(Clone, Default)]
struct Collected {
    count: usize,
    times: Vec<u64>,
}

/// Reads the histories of a timeline.
pub fn read(folder: &Path, skeleton: &Skeleton, notes: &mut Vec<String>) -> Operations {
    let mut outlines = Vec::new();
    let entries = fs::read_dir(folder.join("history")).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        match outline::read_file(&path) {
            Ok(read) => outlines.extend(read),
            Err(error) => notes.push(error.to_string()),
        }
    }
    series(&outlines, skeleton)
}

fn series(outlines: &[Outline], skeleton: &Skeleton) -> Operations {
    let seconds = skeleton.length_ms.div_ceil(1_000);
    let width = BIN_SECONDS.into_iter().find(|width| seconds <= width * MAX_BINS);
    let bin_ms = 1_000 * width.unwrap_or_else(|| seconds.div_ceil(MAX_BINS).max(1));
    let bins = usize::try_from(skeleton.length_ms.div_ceil(bin_ms)).unwrap_or_default().max(1);
    let mut collected = vec![<[Collected; 3]>::default(); bins];
    for outline in outlines {
        let at = skeleton.at_monotonic(outline.returned.unwrap_or(outline.call).0);
        let bin = usize::try_from(at / bin_ms).unwrap_or_default().min(bins - 1);
        let place = &mut collected[bin][index(outline.fate)];
        place.count += 1;
        place.times.extend(outline.returned.map(|end| end.0.saturating_sub(outline.call.0) / 1_000));
    }
    let all = FATES.map(|fate| {
        let of_fate = || collected.iter().map(|bin| &bin[index(fate)]);
        let mut times: Vec<u64> = of_fate().flat_map(|place| place.times.iter().copied()).collect();
        latency(of_fate().map(|place| place.count).sum(), &mut times)
    });
    let bins = collected.into_iter().map(|bin| bin.map(|mut place| latency(place.count, &mut place.times)));
    Operations { bin_ms, bins: bins.collect(), all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Monotonic;

    fn outline(call_ms: u64, took_ms: Option<u64>, fate: Fate) -> Outline {
        let at = |ms: u64| Monotonic(ms * 1_000_000);
        Outline { call: at(call_ms), returned: took_ms.map(|took| at(call_ms + took)), fate }
    }

    #[test]
    fn operations_count_where_they_return() {
        let outlines = [
            outline(100, Some(10), Fate::Ok),
            outline(950, Some(100), Fate::Ok),
            outline(1_100, Some(30), Fate::Ok),
            outline(1_200, Some(5), Fate::DidNotHappen),
            outline(1_900, None, Fate::Unknown),
        ];
        let operations = series(&outlines, &Skeleton { length_ms: 2_000, ..Skeleton::default() });
        let counts: Vec<_> = operations.bins.iter().map(|bin| bin.map(|latency| latency.count)).collect();
        assert_eq!(counts, [[1, 0, 0], [2, 1, 1]]);
        let second = operations.bins[1][0];
        assert_eq!((second.median_us, second.p99_us), (Some(100_000), Some(100_000)));
        assert_eq!(operations.bins[1][2].median_us, None);
        assert_eq!((operations.all[0].count, operations.all[0].median_us), (3, Some(30_000)));
        assert_eq!(operations.count(), 5);
    }

    #[test]
    fn long_timelines_have_wider_bars_not_more() {
        for length_ms in [1, 999, 180_000, 180_001, 7_200_000, 1_000_000_000] {
            let operations = series(&[], &Skeleton { length_ms, ..Skeleton::default() });
            assert!((1..=180).contains(&operations.bins.len()), "{length_ms}: {}", operations.bins.len());
        }
    }
}
