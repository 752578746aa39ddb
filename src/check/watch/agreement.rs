//! Whether watches were told what the operations did. In go what watches were told and the operations' histories, out
//! comes a judgement: broken if the operations have an explanation, and none that agrees with every event. An event
//! says what its revision did to its key; that a watch covers a key and was told nothing says that nothing was done.
//! So with events, what filled a revision that no answered write has is known, and only by whom is searched for.
//!
//! Watches that break a guarantee by themselves are no witnesses; then this one is undecided.

use std::collections::BTreeMap;

use super::{
    complete::Cover,
    log::{Log, Witness},
    view::View,
};
use crate::{
    check::{
        case::Case,
        judgement::{Guarantee, Judgement},
        linearizable::told::{self, Told},
    },
    types::{Blob, Revision},
    verdict::Verdict,
};

/// Judges it, after all that concerns watches alone.
pub(super) fn judge(case: &Case<'_>, alone: &[Judgement]) -> Judgement {
    let told = &case.watches().told;
    let looked_at = told.changes.len() as u64;
    let judged = |verdict, evidence| Judgement::with(Guarantee::WatchAgreement, verdict, evidence, looked_at);
    if told.changes.is_empty() {
        return judged(Verdict::Holds, None);
    }
    if let Some(broken) = alone.iter().find(|judgement| matches!(judgement.verdict, Verdict::Broken(_))) {
        let reason = format!("watches are no witnesses, since they break: {}", broken.guarantee.message());
        return judged(Verdict::Undecided(reason), None);
    }
    if case.is_explained() {
        return judged(Verdict::Holds, None);
    }
    let together = case.with_watches();
    if matches!(together.verdict, Verdict::Broken(_)) && matches!(case.alone().verdict, Verdict::Broken(_)) {
        let reason = "the operations contradict each other already".to_owned();
        return judged(Verdict::Undecided(reason), None);
    }
    judged(together.verdict.clone(), together.evidence.clone())
}

/// What an explanation of the operations has to keep.
pub(super) fn told<'h>(view: &View<'h>, log: &Log<'h>) -> Told<'h> {
    let changes = log.changes().filter_map(|change| {
        let Witness::Watch(watch, number) = change.first()?.witness else { return None };
        let of = view.watches[watch as usize].of;
        let told = view.watches[watch as usize].events[number as usize];
        let first = change.iter().filter_map(|entry| Some(entry.event(view)?.1)).min()?;
        Some(told::Change { event: told.event, first, by: (of.history, of.stream, told.position) })
    });
    Told { changes: changes.collect(), covers: covers(view, log) }
}

/// What watches of the same keys and kinds cover together.
fn covers<'h>(view: &View<'h>, log: &Log<'h>) -> Vec<told::Cover<'h>> {
    type Asked<'h> = (&'h Blob, Option<&'h Blob>, (bool, bool));
    let mut covers: BTreeMap<Asked<'h>, told::Cover<'h>> = BTreeMap::new();
    for watch in &view.watches {
        let Some(cover) = Cover::new(watch, log).filter(|cover| cover.upto > cover.after) else { continue };
        let keys = &watch.create.keys;
        let kinds = (!watch.create.no_put, !watch.create.no_delete);
        let of = covers.entry((&keys.key, keys.range_end.as_ref(), kinds)).or_insert(told::Cover {
            keys,
            kinds,
            revisions: vec![],
        });
        of.revisions.push((cover.after, cover.upto));
    }
    covers.into_values().map(|cover| told::Cover { revisions: merged(cover.revisions), ..cover }).collect()
}

/// The same revisions in stretches that are apart from each other, and in order.
fn merged(mut revisions: Vec<(Revision, Revision)>) -> Vec<(Revision, Revision)> {
    revisions.sort_unstable();
    let mut merged: Vec<(Revision, Revision)> = vec![];
    for (after, upto) in revisions {
        match merged.last_mut() {
            Some((_, end)) if after <= *end => *end = upto.max(*end),
            _ => merged.push((after, upto)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_touch_are_one() {
        let of =
            |pairs: &[(i64, i64)]| merged(pairs.iter().map(|(a, b)| (Revision(*a), Revision(*b))).collect());
        assert_eq!(of(&[(7, 9), (1, 4), (4, 5), (2, 3)]), of(&[(1, 5), (7, 9)]));
    }
}
