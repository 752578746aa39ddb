//! What one worker was told last, to draw requests near the truth from: a compare that may hold, a revision that may be
//! read. In go requests with their outcomes, out come pairs and revisions. It is a guess, since others write as well; it
//! judges nothing.

use std::collections::BTreeMap;

use crate::{
    operation::{Answer, KeyRange, KeyValue, Put, Range, Request, Response},
    random,
    types::{Blob, Revision, Version},
};

/// Revisions that lie further back are rarely drawn.
const RECENT: u64 = 20;

/// What a worker was told.
#[derive(Clone, Debug, Default)]
pub struct Known {
    first: Revision,
    newest: Revision,
    pairs: BTreeMap<Blob, KeyValue>,
}

impl Known {
    /// Takes in an answer.
    pub fn learn(&mut self, request: &Request, response: &Response) {
        let revision = response.header.revision;
        if self.first == Revision(0) {
            self.first = revision;
        }
        self.newest = self.newest.max(revision);
        self.learn_answer(request, &response.answer, revision);
    }

    fn learn_answer(&mut self, request: &Request, answer: &Answer, revision: Revision) {
        match (request, answer) {
            (Request::Range(Range { revision: None, keys, .. }), Answer::Range(answer)) => {
                if keys.range_end.is_none() && answer.count == 0 {
                    self.pairs.remove(&keys.key);
                }
                self.pairs.extend(answer.kvs.iter().map(|kv| (kv.key.clone(), kv.clone())));
            }
            (Request::Put(put), Answer::Put { .. }) => self.wrote(put, revision),
            (Request::DeleteRange(delete), Answer::DeleteRange { .. }) => {
                self.pairs.retain(|key, _| !delete.keys.contains(key));
            }
            (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
                let branch = if *succeeded { &txn.success } else { &txn.failure };
                for (request, answer) in branch.iter().zip(answers) {
                    self.learn_answer(request, answer, revision);
                }
            }
            _ => {}
        }
    }

    fn wrote(&mut self, put: &Put, revision: Revision) {
        let pair = self.pairs.entry(put.key.clone()).or_insert_with(|| KeyValue {
            key: put.key.clone(),
            create_revision: revision,
            ..KeyValue::default()
        });
        pair.mod_revision = revision;
        pair.version = Version(pair.version.0 + 1);
        if !put.ignore_value {
            pair.value = put.value.clone();
        }
        if !put.ignore_lease {
            pair.lease = put.lease;
        }
    }

    /// The greatest revision that this worker was answered; 0 if it was answered nothing.
    pub fn newest(&self) -> Revision {
        self.newest
    }

    /// What is there of a key, as far as this worker knows.
    pub fn pair(&self, key: &Blob) -> Option<&KeyValue> {
        self.pairs.get(key)
    }

    /// What is there of some key of a range, as far as this worker knows.
    pub fn any_pair(&self, keys: &KeyRange) -> Option<&KeyValue> {
        let inside: Vec<&KeyValue> = self.pairs.values().filter(|kv| keys.contains(&kv.key)).collect();
        if inside.is_empty() { None } else { Some(*random::choice(&inside)) }
    }

    /// A revision that has come, mostly a recent one, none of which lies before the first that this worker was
    /// answered; none if it was answered nothing. What is older may lie before the run.
    pub fn past(&self) -> Option<Revision> {
        let recent = (self.newest.0 - self.first.0).min(RECENT.cast_signed());
        let back = if random::chance(0.8) { recent } else { self.newest.0 - self.first.0 };
        let back = random::between(0, back.unsigned_abs()).cast_signed();
        (self.newest.0 > 0).then_some(Revision(self.newest.0 - back))
    }

    /// A revision that had not come when this worker was answered last.
    pub fn future(&self) -> Revision {
        Revision(self.newest.0 + random::between(1, 5).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{DeleteRange, Header, RangeAnswer, Txn};

    fn told(known: &mut Known, revision: i64, request: &Request, answer: Answer) {
        let header = Header { revision: Revision(revision), ..Header::default() };
        known.learn(request, &Response { header, answer });
    }

    fn put(key: &str, value: &str) -> Request {
        Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
    }

    /// Reads, writes and deletes are remembered, those in the branch taken of a transaction too.
    #[test]
    fn answers_are_remembered() {
        let mut known = Known::default();
        assert!(known.past().is_none());
        told(&mut known, 5, &put("a", "x"), Answer::Put { prev_kv: None });
        told(&mut known, 6, &put("a", "y"), Answer::Put { prev_kv: None });
        let pair = known.pair(&"a".into()).unwrap();
        assert_eq!(
            (pair.value.clone(), pair.create_revision, pair.version),
            ("y".into(), Revision(5), Version(2))
        );
        let delete = Request::DeleteRange(DeleteRange { keys: KeyRange::prefix("a".into()), prev_kv: false });
        let txn = Request::Txn(Txn { success: vec![put("b", "z")], failure: vec![delete], ..Txn::default() });
        let answers = vec![Answer::DeleteRange { deleted: 1, prev_kvs: vec![] }];
        told(&mut known, 7, &txn, Answer::Txn { succeeded: false, answers });
        assert!(known.pair(&"a".into()).is_none() && known.pair(&"b".into()).is_none());
        let everything = KeyRange::everything();
        let range = Request::Range(Range { keys: everything.clone(), ..Range::default() });
        let kvs = vec![KeyValue { key: "c".into(), ..KeyValue::default() }];
        told(&mut known, 9, &range, Answer::Range(RangeAnswer { kvs, more: false, count: 1 }));
        assert_eq!(known.any_pair(&everything).unwrap().key, "c".into());
        assert!((0..100).all(|_| (5..=9).contains(&known.past().unwrap().0) && known.future().0 > 9));
    }
}
