//! Says what contradicts a history, with the operations that show it. In go contradictions, out come verdicts with
//! evidence: broken, or undecided where that hangs on what is not known.

use super::{
    Check, EVIDENCE_AT_MOST, Judged,
    compaction::Disorder,
    rows::Rows,
    search::{Mismatch, Source},
    timeline::{self, Contradiction, NONE, Timeline},
    told::Told,
    unknown,
};
use crate::{
    check::evidence::{self, Described, Evidence},
    history::reader::{History, Operation},
    model::store::Store,
    operation::{
        Request,
        service::{ElectionRequest, LockRequest, ownership_keys},
    },
    types::{Blob, Revision},
    verdict::Verdict,
};

impl<'h> Check<'h, '_> {
    /// Broken, unless that hangs on what is not known.
    fn broken(&self, evidence: Evidence, hangs_on_start: bool) -> Judged {
        let doubt = match (self.baseline.unsure, hangs_on_start) {
            (Some(unsure), true) => Some(unsure.to_owned()),
            (_, true) if self.doubtful > 0 => Some(format!(
                "{} locks or campaigns of unknown fate may have written keys that the server chose",
                self.doubtful
            )),
            _ => self.divergent().and_then(|_| self.not_judged()),
        };
        let verdict = match doubt {
            Some(doubt) => Verdict::Undecided(format!("{doubt}; taken for granted, {}", evidence.summary)),
            None => Verdict::Broken(evidence.sentences()),
        };
        (verdict, Some(evidence))
    }

    fn described(&self, indexes: impl IntoIterator<Item = u32>) -> Vec<Described> {
        indexes.into_iter().filter_map(|index| evidence::describe(self.histories, index)).collect()
    }

    pub(super) fn contradiction(&self, contradiction: Contradiction) -> Judged {
        let place = |index: u32| {
            let operation = self.operations[index as usize];
            timeline::answered(operation).map_or(Revision(0), |(role, _)| role.revision())
        };
        let plain = |summary: String, revision, indexes: &[u32]| Evidence {
            summary,
            revision: Some(revision),
            key: None,
            expected: None,
            seen: None,
            operations: self.described(indexes.iter().copied()),
        };
        match contradiction {
            Contradiction::SameRevision(first, second) => {
                let revision = place(first);
                let summary = format!("two writes were answered with revision {revision}");
                self.broken(plain(summary, revision, &[first, second]), false)
            }
            Contradiction::WentBack(first, second) => {
                let (earlier, later) = (place(first), place(second));
                let summary = if earlier == later {
                    format!(
                        "a write was called after another operation had already seen its revision {later}"
                    )
                } else {
                    format!(
                        "an operation saw revision {later} though {earlier} had been answered before it was called"
                    )
                };
                self.broken(plain(summary, earlier.max(later), &[first, second]), false)
            }
            Contradiction::TooManyRevisions(index, reach) => {
                let summary = format!(
                    "revision {} was seen, but all recorded writes together make no more than {reach}",
                    place(index)
                );
                self.broken(plain(summary, place(index), &[index]), true)
            }
            Contradiction::ToldTooMany(number, reach) => {
                let change = &self.told.changes[number];
                let revision = change.revision();
                let summary = format!(
                    "an event is of revision {revision}, but all recorded writes together make no more than {reach}"
                );
                let operations = vec![self.message(number)];
                self.broken(Evidence { operations, ..plain(summary, revision, &[]) }, true)
            }
            Contradiction::ToldBefore(number, second) => {
                let revision = self.told.changes[number].revision();
                let summary = format!(
                    "an operation saw revision {} though a watch had told of {revision} before it was called",
                    place(second)
                );
                let mut evidence = plain(summary, revision, &[second]);
                evidence.operations.insert(0, self.message(number));
                self.broken(evidence, false)
            }
        }
    }

    /// A message with an event.
    fn message(&self, number: usize) -> Described {
        let (history, stream, position) = self.told.changes[number].by;
        evidence::describe_message(history, stream, position as usize)
    }

    /// Without a known start only the order can be judged.
    pub(super) fn without_start(&mut self, index: u32, reach: Revision) -> Judged {
        let answered = || self.operations.iter().filter_map(|operation| timeline::answered(operation));
        let first = answered().map(|(role, _)| role.revision()).min().unwrap_or_default();
        let base = Revision(first.0 - 1);
        let room = self.operations.len().saturating_mul(4).saturating_add(1 << 16);
        let rows = Rows::new(self.operations, &mut Store::at(base, []));
        match Timeline::new(&rows, &Told::default(), room) {
            Err(contradiction @ (Contradiction::SameRevision(..) | Contradiction::WentBack(..))) => {
                self.contradiction(contradiction)
            }
            _ => self.contradiction(Contradiction::TooManyRevisions(index, reach)),
        }
    }

    pub(super) fn disorder(&self, disorder: &Disorder) -> Judged {
        let (summary, indexes) = match disorder {
            Disorder::Cycle(cycle) => {
                ("what was compacted became readable again, or a revision was unknown after it had been seen: \
                  each of these must come before the next, and the last before the first".to_owned(), cycle.clone())
            }
            Disorder::Twice(first, second) => {
                ("two compactions to one revision succeeded".to_owned(), vec![*first, *second])
            }
            Disorder::AboveItself(index) => {
                ("a compaction was answered with an older revision than it compacted to".to_owned(), vec![*index])
            }
            Disorder::OutOfReach(index) => {
                ("a revision was compacted that no recorded write reached".to_owned(), vec![*index])
            }
            Disorder::Unseen(_) => {
                let reason = "a revision was compacted that only writes of unknown fate or ends of leases \
                              can have reached";
                return (Verdict::Undecided(reason.to_owned()), None);
            }
        };
        let evidence = Evidence {
            summary,
            revision: None,
            key: None,
            expected: None,
            seen: None,
            operations: self.described(indexes.into_iter().take(EVIDENCE_AT_MOST)),
        };
        self.broken(evidence, matches!(disorder, Disorder::OutOfReach(_)))
    }

    pub(super) fn mismatch(&self, mismatch: &Mismatch<'h>, timeline: &Timeline) -> Judged {
        let revision = mismatch.revision;
        let seen = match mismatch.source {
            Source::Operation(index) => Some(evidence::outcome(self.operations[index as usize])),
            Source::Claim(number) => return self.denied(number, mismatch, timeline),
            Source::Event(_) | Source::Untold(_) => return self.told_otherwise(mismatch, timeline),
            Source::Gap => None,
        };
        let gaps = timeline.gaps().iter().filter(|gap| **gap <= revision).count();
        let unknown = if gaps == 0 {
            String::new()
        } else {
            format!(
                ", whichever of the {} writes of unknown fate are taken for the {gaps} revisions up to there that no answered write has",
                self.figures.unknown_writes
            )
        };
        let summary = match mismatch.source {
            Source::Operation(_) | Source::Claim(_) | Source::Event(_) | Source::Untold(_) => {
                format!("an answer is not what the writes up to revision {revision} leave{unknown}")
            }
            Source::Gap => format!("nothing that was recorded can have written revision {revision}{unknown}"),
        };
        let events = self.told.at(revision).iter().take(EVIDENCE_AT_MOST / 2).filter_map(|change| {
            let number = self.told.number(revision, &change.event.kv.key)?;
            (mismatch.source == Source::Gap).then(|| self.message(number))
        });
        let evidence = Evidence {
            summary,
            revision: Some(revision),
            key: mismatch.key.cloned(),
            expected: Some(mismatch.expected.clone()),
            seen,
            operations: self
                .described(self.concerned(mismatch, timeline))
                .into_iter()
                .chain(events)
                .collect(),
        };
        self.broken(evidence, true)
    }

    /// What a service said of a revision is not so.
    fn denied(&self, number: usize, mismatch: &Mismatch<'h>, timeline: &Timeline) -> Judged {
        let claim = &self.terms.claims[number];
        let mut operations = self.described(self.concerned(mismatch, timeline));
        operations.push(claim.by.clone());
        let evidence = Evidence {
            summary: claim.words.clone(),
            revision: Some(mismatch.revision),
            key: mismatch.key.cloned(),
            expected: None,
            seen: Some(mismatch.expected.clone()),
            operations,
        };
        self.broken(evidence, true)
    }

    /// Watches were told something else than operations say.
    fn told_otherwise(&self, mismatch: &Mismatch<'h>, timeline: &Timeline) -> Judged {
        let mut evidence = Evidence {
            summary: "a write changed a key that a watch covers, and the watch was not told".to_owned(),
            revision: Some(mismatch.revision),
            key: mismatch.key.cloned(),
            expected: None,
            seen: None,
            operations: self.described(self.concerned(mismatch, timeline)),
        };
        if let Source::Event(number) = mismatch.source {
            "an event is not what the operations leave of its key".clone_into(&mut evidence.summary);
            evidence.seen = Some(mismatch.expected.clone());
            evidence.operations.push(self.message(number));
        }
        self.broken(evidence, true)
    }

    /// The operations on the key of a mismatch, the last before it, and the one that shows it.
    fn concerned(&self, mismatch: &Mismatch<'h>, timeline: &Timeline) -> Vec<u32> {
        let shown_by = match mismatch.source {
            Source::Operation(index) | Source::Untold(index) => Some(index),
            Source::Claim(_) | Source::Event(_) | Source::Gap => None,
        };
        let touches = |index: u32| {
            let operation = self.operations[index as usize];
            mismatch.key.is_none_or(|key| may_touch(&operation.request, key))
        };
        let upto = |revision: Revision| revision > timeline.base && revision <= mismatch.revision;
        let mut concerned: Vec<u32> = (timeline.base.0..=mismatch.revision.0)
            .rev()
            .filter(|revision| upto(Revision(*revision)))
            .filter_map(|revision| timeline.writer(Revision(revision)).map(|writer| writer.index))
            .filter(|index| touches(*index) && Some(*index) != shown_by)
            .take(EVIDENCE_AT_MOST / 2)
            .collect();
        concerned.reverse();
        let deadline = timeline.deadline(mismatch.revision);
        let unknown = (0..NONE)
            .zip(self.operations)
            .filter(|(_, operation)| may_write(operation) && operation.call <= deadline)
            .map(|(index, _)| index)
            .filter(|index| {
                timeline.gaps().first().is_some_and(|gap| *gap <= mismatch.revision) && touches(*index)
            });
        concerned.extend(unknown.take(EVIDENCE_AT_MOST / 2));
        concerned.extend(shown_by);
        concerned
    }
}

/// The answer that was first to show that this revision, or a later one, had come.
pub(in crate::check) fn first_to_see(histories: &[History], revision: Revision) -> Option<Described> {
    let operations = || histories.iter().flat_map(|history| &history.operations);
    let seen = (0..).zip(operations()).filter_map(|(index, operation)| {
        let (role, returned) = timeline::answered(operation)?;
        (role.revision() >= revision).then_some((returned, index))
    });
    seen.min().and_then(|(_, index)| evidence::describe(histories, index))
}

fn may_write(operation: &Operation) -> bool {
    let service = matches!(operation.request, Request::Lock(_) | Request::Election(_));
    unknown::may_fill(operation) || (service && operation.request.can_write() && !operation.did_not_happen())
}

fn may_touch(request: &Request, key: &Blob) -> bool {
    match request {
        Request::Put(put) => put.key == *key,
        Request::DeleteRange(delete) => delete.keys.contains(key),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|part| may_touch(part, key)),
        Request::Lock(LockRequest::Unlock { key: its }) => its == key,
        Request::Lock(LockRequest::Lock { name, .. })
        | Request::Election(ElectionRequest::Campaign { name, .. }) => ownership_keys(name).contains(key),
        Request::Election(ElectionRequest::Proclaim { leader, .. } | ElectionRequest::Resign { leader }) => {
            leader.key == *key
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        check::{
            linearizable,
            made_up::{history, put},
        },
        verdict::Verdict,
    };

    /// Revisions of a store that has been there for years, whose contents before nobody recorded.
    #[test]
    fn without_a_start_the_order_is_judged_all_the_same() {
        let far = 5_000_000_000;
        let verdict = |first, second| {
            let operations = vec![put(10, "a", 0, first), put(20, "a", 0, second)];
            linearizable::check(&[history("driver", operations, vec![])]).verdict
        };
        assert!(matches!(verdict(far, far + 1), Verdict::Undecided(_)));
        assert!(matches!(verdict(far, far + 1_000), Verdict::Undecided(_)));
        assert!(matches!(verdict(far, far), Verdict::Broken(_)));
        assert!(matches!(verdict(far + 1, far), Verdict::Broken(_)));
    }
}
