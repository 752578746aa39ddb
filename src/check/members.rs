//! What members say for themselves: whether all hold the same, and whether any goes back on what it said over one
//! connection. In go histories, out come judgements that name the keys and the revision since which something differs.
//! Nothing is put in order here; whether one order explains all answers is judged elsewhere.

mod connections;
mod contents;
mod hashes;
mod sights;

use self::{hashes::Hashes, sights::Sights};
use super::{
    case::Case,
    evidence::{self, Evidence},
    judgement::{Guarantee, Judgement},
};
use crate::{
    history::reader::{History, Operation},
    types::Revision,
    verdict::Verdict,
};

/// Judges members beside each other, and each by itself.
pub fn judge(case: &Case<'_>) -> Vec<Judgement> {
    let histories = case.histories;
    let sights = Sights::new(histories);
    vec![agree(histories, &sights), connections::judge(histories, &sights)]
}

/// Whether members hold the same at the same revision.
fn agree(histories: &[History], sights: &Sights<'_>) -> Judgement {
    let guarantee = Guarantee::MembersAgree;
    let hashes = Hashes::new(histories);
    let (differ, compared) = contents::compare(histories, sights);
    let looked_at = compared + hashes.compared;
    if let Some(evidence) = differ {
        return Judgement::new(guarantee, Some(evidence), looked_at);
    }
    match hashes.compare(histories, sights) {
        Some((evidence, Some(doubt))) => {
            let verdict = Verdict::Undecided(format!("{}; but {doubt}", evidence.summary));
            Judgement::with(guarantee, verdict, Some(evidence), looked_at)
        }
        differ => Judgement::new(guarantee, differ.map(|(evidence, _)| evidence), looked_at),
    }
}

/// All operations by their numbers over all histories.
fn operations(histories: &[History]) -> impl Iterator<Item = (u32, &Operation)> {
    (0..).zip(histories.iter().flat_map(|history| &history.operations))
}

fn evidence(
    histories: &[History],
    summary: String,
    revision: Option<Revision>,
    operations: [u32; 2],
) -> Evidence {
    let operations = operations.iter().filter_map(|index| evidence::describe(histories, *index)).collect();
    Evidence { summary, revision, key: None, expected: None, seen: None, operations }
}

#[cfg(test)]
mod tests;
