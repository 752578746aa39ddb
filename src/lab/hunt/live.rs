//! Judges what commands record while they still run. In goes a history folder that is being written, out come the
//! guarantees that are broken so far, each with the time when that was seen. It reads files, and changes nothing.
//!
//! All files are cut at one moment, which is taken before the first is read. A recorder writes a call down before its
//! request leaves, so whatever an answer from before that moment tells of is in one of the files by then.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task, time};

use crate::{
    check::{self, assumptions, case::Case, judgement::Guarantee, reduce},
    clock::monotonic_now,
    history::reader::{self, History},
    lab::{finding::Finding, known::Found},
    verdict::Verdict,
};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(700);

/// What was found so far, shared with who looks.
pub type Findings = Arc<Mutex<Vec<Finding>>>;

/// Looks again and again until something is broken that ends it, or all is over, and says so. Of what is explained
/// in the same way, the first is kept.
pub async fn watch(
    folder: PathBuf,
    found: Findings,
    explain: impl Fn(&[Finding]) -> Vec<Found>,
    ends: impl Fn(&Found) -> bool,
    mut over: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
) {
    let started = Instant::now();
    let mut is_over = false;
    while !is_over && !*over.borrow() {
        // In time is as good as by word.
        let _ = time::timeout(INTERVAL, over.wait_for(|over| *over)).await;
        let folder = folder.clone();
        let judged = task::spawn_blocking(move || judge_so_far(&folder)).await;
        let after = Some(started.elapsed());
        let broken = judged.unwrap_or_default().broken.into_iter();
        let broken = broken.map(|finding| Finding { after, ..finding });
        let all: Vec<_> = known(&found).iter().cloned().chain(broken).collect();
        let explained = explain(&all);
        is_over = explained.iter().any(&ends);
        *known(&found) = explained.into_iter().map(|found| found.finding).collect();
    }
    stop.send_replace(true);
}

/// What was found so far.
pub fn known(found: &Findings) -> MutexGuard<'_, Vec<Finding>> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the checks say of a timeline.
#[derive(Debug, Default)]
pub struct Judged {
    /// What is broken.
    pub broken: Vec<Finding>,
    /// The names of the guarantees that could not be decided.
    pub undecided: Vec<String>,
    /// The guarantees that hold, and were not empty words.
    pub holding: Vec<Guarantee>,
}

/// Judges what was recorded by now; nothing if the files can't be read, which is another property's to say.
fn judge_so_far(folder: &Path) -> Judged {
    let now = monotonic_now();
    let Ok(histories) = reader::read_folder(folder) else { return Judged::default() };
    let histories = reduce::until(&histories, now);
    judge(&histories, Case::hasty)
}

/// Judges histories. A recording that contradicts itself is broken, and nothing else of it is judged.
pub fn judge<'h>(histories: &'h [History], case: fn(&'h [History]) -> Case<'h>) -> Judged {
    let malformed = assumptions::violations(histories);
    if !malformed.is_empty() {
        return Judged { broken: vec![Finding::malformed(malformed)], ..Judged::default() };
    }
    let mut judged = Judged::default();
    for judgement in check::all(&case(histories)) {
        match judgement.verdict {
            Verdict::Broken(_) => judged.broken.extend(Finding::of(&judgement)),
            Verdict::Undecided(_) => judged.undecided.push(judgement.guarantee.name()),
            Verdict::Holds if judgement.looked_at > 0 => judged.holding.push(judgement.guarantee),
            Verdict::Holds => {}
        }
    }
    judged
}
