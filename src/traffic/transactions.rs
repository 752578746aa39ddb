//! Choosing transactions on shared keys: all compare targets and operators, over single keys and ranges, both branches,
//! nested ones, reads inside. In come the choices of a run, what a worker knows and new values; out comes a transaction
//! that etcd takes. Nothing is asked here.

use super::{known::Known, requests::Style};
use crate::{
    operation::{Compare, DeleteRange, KeyRange, KeyValue, Operator, Put, Range, Request, Target, Txn},
    random,
    types::{Blob, LeaseId, Revision, Version},
};

const COMPARES_AT_MOST: u64 = 3;
const PARTS_AT_MOST: u64 = 4;
const NESTED_AT_MOST: u64 = 2;
/// How likely a read in a writing transaction names its revision, at least, where it may.
const PAST_IN_WRITES: f64 = 0.3;
/// How likely that revision had not come.
const FUTURE_IN_WRITES: f64 = 0.3;
const OPERATORS: [Operator; 4] = [Operator::Equal, Operator::NotEqual, Operator::Greater, Operator::Less];

/// What a transaction does beside comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Reads and writes.
    Writes,
    /// Nothing but reads, at any revision.
    Reads,
    /// Nothing but stale reads, which a member answers by itself.
    StaleReads,
}

/// Makes transactions.
pub struct Maker<'m> {
    /// The choices of the run.
    pub style: &'m Style,
    /// What the worker knows.
    pub known: &'m Known,
    /// Whether writing transactions may read at revisions that they name: members of an honest etcd may come to
    /// different results then (etcd issue 18667).
    pub past_in_writes: bool,
    /// Gives a value that nobody else writes.
    pub value: &'m mut dyn FnMut() -> Blob,
}

/// The keys that a branch writes so far. etcd refuses a transaction that puts a key twice, or puts and deletes it.
#[derive(Clone, Default)]
struct Written {
    puts: Vec<Blob>,
    deletes: Vec<KeyRange>,
}

impl Maker<'_> {
    /// A transaction.
    pub fn transaction(&mut self) -> Txn {
        let does = *random::weighted(&[(6, Does::Writes), (1, Does::Reads), (1, Does::StaleReads)]);
        self.of_depth(NESTED_AT_MOST, does, &mut Written::default())
    }

    fn of_depth(&mut self, depth: u64, does: Does, written: &mut Written) -> Txn {
        let compare = (0..random::between(0, COMPARES_AT_MOST)).map(|_| self.compare()).collect();
        let mut otherwise = written.clone();
        let success = self.branch(depth, does, written);
        let failure = self.branch(depth, does, &mut otherwise);
        written.puts.extend(otherwise.puts);
        written.deletes.extend(otherwise.deletes);
        Txn { compare, success, failure }
    }

    fn branch(&mut self, depth: u64, does: Does, written: &mut Written) -> Vec<Request> {
        let parts = random::between(0, PARTS_AT_MOST);
        (0..parts).filter_map(|_| self.part(depth, does, written)).collect()
    }

    /// None if it would write what the branch writes already.
    fn part(&mut self, depth: u64, does: Does, written: &mut Written) -> Option<Request> {
        // A transaction in a transaction is never one of stale reads for etcd.
        if does != Does::StaleReads && depth > 0 && random::chance(self.style.nested) {
            return Some(Request::Txn(self.of_depth(depth - 1, does, written)));
        }
        match does {
            Does::StaleReads => {
                let range = self.style.range(self.known);
                Some(Request::Range(Range { serializable: true, ..range }))
            }
            Does::Reads => Some(Request::Range(self.style.range(self.known))),
            Does::Writes => match random::between(0, 5) {
                0 | 1 if self.past_in_writes => {
                    let revision = self.named_revision();
                    Some(Request::Range(Range { revision, ..self.style.range_now(self.known) }))
                }
                0 | 1 => Some(Request::Range(self.style.range_now(self.known))),
                2 => written.delete(self.style.delete()),
                _ => {
                    let value = (self.value)();
                    written.put(self.style.put(value))
                }
            },
        }
    }

    /// The revision that a read in a writing transaction names: often one that makes etcd refuse the whole.
    fn named_revision(&self) -> Option<Revision> {
        if !random::chance(self.style.past.max(PAST_IN_WRITES)) {
            return None;
        }
        if random::chance(FUTURE_IN_WRITES) {
            // Others write as well, so that one that is near has come by then.
            let ahead = random::between(1, *random::choice(&[5, 10_000]));
            return Some(Revision(self.known.newest().0 + ahead.cast_signed()));
        }
        self.known.past()
    }

    /// A comparison, mostly one that was true when the worker last heard of the key.
    fn compare(&self) -> Compare {
        let keys = if random::chance(0.85) {
            KeyRange::single(self.style.part.any())
        } else {
            self.style.part.several()
        };
        let kv = self.known.any_pair(&keys).cloned().unwrap_or_default();
        let operator = *random::choice(&OPERATORS);
        let target = target(&kv, operator, random::chance(self.style.right));
        Compare { keys, operator, target }
    }
}

/// A target that the pair compares with as the operator says, or just does not.
fn target(kv: &KeyValue, operator: Operator, right: bool) -> Target {
    let off = match (operator, right) {
        (Operator::Equal, true) | (Operator::NotEqual | Operator::Greater | Operator::Less, false) => 0,
        (Operator::Greater, true) => -1,
        (Operator::Less | Operator::NotEqual, true) => 1,
        (Operator::Equal, false) => *random::choice(&[-1, 1]),
    };
    match random::between(0, 4) {
        0 => Target::Version(Version(kv.version.0 + off)),
        1 => Target::CreateRevision(Revision(kv.create_revision.0 + off)),
        2 => Target::ModRevision(Revision(kv.mod_revision.0 + off)),
        3 => Target::Lease(LeaseId(kv.lease.0 + off)),
        _ => Target::Value(match off {
            0 => kv.value.clone(),
            // Smaller and greater than all values that anybody writes.
            -1 => Blob::EMPTY,
            _ => Blob::from("~"),
        }),
    }
}

impl Written {
    fn put(&mut self, put: Put) -> Option<Request> {
        let is_free =
            !self.puts.contains(&put.key) && !self.deletes.iter().any(|keys| keys.contains(&put.key));
        is_free.then(|| {
            self.puts.push(put.key.clone());
            Request::Put(put)
        })
    }

    fn delete(&mut self, delete: DeleteRange) -> Option<Request> {
        let is_free = !self.puts.iter().any(|key| delete.keys.contains(key));
        is_free.then(|| {
            self.deletes.push(delete.keys.clone());
            Request::DeleteRange(delete)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::requests::tests::knowing, *};

    fn made(past_in_writes: bool) -> Vec<Txn> {
        let known = knowing();
        let mut number = 0;
        let mut value = || {
            number += 1;
            Blob::from(format!("new{number}"))
        };
        let mut made = vec![];
        for _ in 0..100 {
            let style = Style::draw();
            let mut maker = Maker { style: &style, known: &known, past_in_writes, value: &mut value };
            made.extend((0..20).map(|_| maker.transaction()));
        }
        made
    }

    fn reads_past(request: &Request) -> bool {
        match request {
            Request::Range(range) => range.revision.is_some(),
            Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(reads_past),
            _ => false,
        }
    }

    fn each_compare(txn: &Txn, each: &mut impl FnMut(&Compare)) {
        txn.compare.iter().for_each(&mut *each);
        for request in txn.success.iter().chain(&txn.failure) {
            if let Request::Txn(txn) = request {
                each_compare(txn, each);
            }
        }
    }

    /// What a part of a branch may put and delete. No two parts of one branch may put one key, or one put what
    /// another deletes, whichever branches are taken within them.
    fn writes(part: &Request) -> (Vec<Blob>, Vec<KeyRange>) {
        match part {
            Request::Put(put) => (vec![put.key.clone()], vec![]),
            Request::DeleteRange(delete) => (vec![], vec![delete.keys.clone()]),
            Request::Txn(txn) => {
                let (then, otherwise) = (of_branch(&txn.success), of_branch(&txn.failure));
                ([then.0, otherwise.0].concat(), [then.1, otherwise.1].concat())
            }
            _ => (vec![], vec![]),
        }
    }

    fn of_branch(parts: &[Request]) -> (Vec<Blob>, Vec<KeyRange>) {
        let (mut puts, mut deletes): (Vec<Blob>, Vec<KeyRange>) = (vec![], vec![]);
        for part in parts {
            let (more_puts, more_deletes) = writes(part);
            assert!(!more_puts.iter().any(|key| puts.contains(key)), "put twice: {parts:?}");
            for (puts, deletes) in [(&more_puts, &deletes), (&puts, &more_deletes)] {
                let both = puts.iter().any(|key| deletes.iter().any(|keys| keys.contains(key)));
                assert!(!both, "put and deleted: {parts:?}");
            }
            puts.extend(more_puts);
            deletes.extend(more_deletes);
        }
        (puts, deletes)
    }

    /// All targets with all operators come up, on single keys and on ranges, and all sorts of transactions.
    #[test]
    fn every_sort_of_transaction_comes_up() {
        let (mut compares, mut sorts) = (BTreeSet::new(), BTreeSet::new());
        for txn in made(false) {
            each_compare(&txn, &mut |compare| {
                let target = format!("{:?}", compare.target);
                let target = target.split('(').next().unwrap().to_owned();
                compares.insert((
                    target,
                    format!("{:?}", compare.operator),
                    compare.keys.range_end.is_some(),
                ));
            });
            let request = Request::Txn(txn.clone());
            let parts = || txn.success.iter().chain(&txn.failure);
            sorts.insert((
                request.can_write(),
                request.is_linearizable(),
                parts().next().is_none(),
                parts().any(|part| matches!(part, Request::Txn(_))),
                reads_past(&request),
            ));
        }
        assert_eq!(compares.len(), 5 * 4 * 2, "{compares:?}");
        assert!(sorts.contains(&(true, true, false, true, false)), "writing and nested");
        assert!(sorts.contains(&(false, true, false, false, true)), "reading the past");
        assert!(sorts.contains(&(false, false, false, false, true)), "reading a stale past");
        assert!(sorts.contains(&(false, false, true, false, false)), "empty");
    }

    /// No branch puts a key twice or both puts and deletes it, however deep: etcd would refuse the whole.
    #[test]
    fn no_branch_writes_a_key_twice() {
        let written = made(true).into_iter().map(|txn| writes(&Request::Txn(txn)));
        assert!(written.filter(|(puts, deletes)| !puts.is_empty() && !deletes.is_empty()).count() > 10);
    }

    /// Writing transactions read at a revision that they name only if that is switched on.
    #[test]
    fn the_past_is_read_in_writing_transactions_only_if_asked_for() {
        let does = |past_in_writes| {
            made(past_in_writes).into_iter().map(Request::Txn).any(|txn| txn.can_write() && reads_past(&txn))
        };
        assert!(!does(false) && does(true));
    }
}
