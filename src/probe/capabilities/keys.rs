//! Trials of the key-value service. In go keys that were put before, out comes whether answers are as asked for.

use super::{Lack, Trial, Trier, expect, known_by, strange};
use crate::{
    capability::Capability,
    operation::{
        Answer, Bounds, Compact, Compare, DeleteRange, KeyRange, Operator, Order, Put, Range, Request,
        Target, Txn,
    },
    types::{LeaseId, Revision, Version},
};

impl Trier {
    /// Tries one thing.
    pub(super) async fn try_out(&mut self, capability: Capability) -> Trial {
        match capability {
            Capability::Deletes => self.deletes().await,
            Capability::PreviousPairs => self.previous_pairs().await,
            Capability::KeptValues => self.kept_values().await,
            Capability::StaleReads
            | Capability::PastReads
            | Capability::Limits
            | Capability::Orders
            | Capability::Bounds
            | Capability::KeysOnly
            | Capability::CountOnly => self.reads(capability).await,
            Capability::Compaction => {
                let revision = Revision(i64::MAX);
                known_by(self.ask(Request::Compact(Compact { revision, physical: false })).await.map(drop))
            }
            Capability::Transactions => self.transactions().await,
            Capability::TransactionReads => self.transaction_reads().await,
            Capability::NestedTransactions => self.nested_transactions().await,
            Capability::RangeCompares => self.range_compares().await,
            Capability::LeaseCompares => self.lease_compares().await,
            Capability::Watches
            | Capability::WatchStarts
            | Capability::WatchProgress
            | Capability::WatchPreviousPairs
            | Capability::WatchFilters
            | Capability::WatchFragments
            | Capability::WatchIds => self.watches(capability).await,
            _ => self.services(capability).await,
        }
    }

    async fn deletes(&self) -> Trial {
        self.put("gone", "0").await?;
        let keys = KeyRange::single(self.key("gone"));
        self.ask(Request::DeleteRange(DeleteRange { keys: keys.clone(), prev_kv: false })).await?;
        let left = self.read(Range { keys, ..Range::default() }).await?;
        expect(left.is_empty(), "a deleted key is still there")
    }

    async fn previous_pairs(&self) -> Trial {
        let put = Put { key: self.key("a"), value: "4".into(), prev_kv: true, ..Put::default() };
        match self.ask(Request::Put(put)).await?.answer {
            Answer::Put { prev_kv } => {
                expect(prev_kv.is_some_and(|kv| kv.value == "3".into()), "the pair before is not given back")
            }
            other => Err(strange(&other)),
        }
    }

    async fn kept_values(&self) -> Trial {
        let before = self.read(Range { keys: self.one(), ..Range::default() }).await?;
        let put = Put { key: self.key("a"), ignore_value: true, ..Put::default() };
        self.ask(Request::Put(put)).await?;
        let after = self.read(Range { keys: self.one(), ..Range::default() }).await?;
        let value = |kvs: &[crate::operation::KeyValue]| kvs.first().map(|kv| kv.value.clone());
        expect(value(&before) == value(&after), "a put that is to keep the value changes it")
    }

    async fn reads(&self, capability: Capability) -> Trial {
        let [first, other, _] = self.revisions;
        let plain = Range { keys: self.several(), ..Range::default() };
        let range = match capability {
            Capability::StaleReads => Range { serializable: true, ..plain },
            Capability::PastReads => Range { keys: self.one(), revision: Some(first), ..plain },
            Capability::Limits => Range { limit: 1, ..plain },
            Capability::Orders => Range { order: Order::Descending, ..plain },
            Capability::Bounds => Range {
                bounds: Bounds { max_mod_revision: Some(other), ..Bounds::default() }.boxed(),
                ..plain
            },
            Capability::KeysOnly => Range { keys_only: true, ..plain },
            _ => Range { count_only: true, ..plain },
        };
        let Answer::Range(answer) = self.ask(Request::Range(range)).await?.answer else {
            return Err(Lack::Lacking("an answer of another kind".to_owned()));
        };
        let (kvs, count) = (&answer.kvs, answer.count);
        let key = |position: usize| kvs.get(position).map(|kv| &kv.key);
        let is_right = match capability {
            Capability::StaleReads => kvs.len() == 2,
            Capability::PastReads => kvs.first().is_some_and(|kv| kv.value == "1".into()),
            Capability::Limits => kvs.len() == 1 && answer.more && count == 2,
            Capability::Orders => key(0) == Some(&self.key("b")) && key(1) == Some(&self.key("a")),
            Capability::Bounds => kvs.len() == 1 && key(0) == Some(&self.key("b")),
            Capability::KeysOnly => kvs.len() == 2 && kvs.iter().all(|kv| kv.value.is_empty()),
            _ => kvs.is_empty() && count == 2,
        };
        expect(is_right, "answered as if it had not been asked for, or with other keys")
    }

    async fn transact(&self, txn: Txn) -> Result<(bool, Vec<Answer>), Lack> {
        match self.ask(Request::Txn(txn)).await?.answer {
            Answer::Txn { succeeded, answers } => Ok((succeeded, answers)),
            other => Err(strange(&other)),
        }
    }

    /// Whether compares hold.
    async fn holds(&self, keys: KeyRange, operator: Operator, target: Target) -> Result<bool, Lack> {
        let put = Put { key: self.key("t"), value: "t".into(), ..Put::default() };
        let compare = vec![Compare { keys, operator, target }];
        Ok(self.transact(Txn { compare, success: vec![Request::Put(put)], failure: vec![] }).await?.0)
    }

    async fn transactions(&self) -> Trial {
        let created = |revision| Target::CreateRevision(revision);
        let is_there = self.holds(self.one(), Operator::Equal, created(self.revisions[0])).await?;
        let is_not = self.holds(self.one(), Operator::Equal, created(Revision(0))).await?;
        expect(is_there && !is_not, "compares of a key go wrong")
    }

    async fn transaction_reads(&self) -> Trial {
        let range = Request::Range(Range { keys: self.one(), ..Range::default() });
        let (_, answers) = self.transact(Txn { success: vec![range], ..Txn::default() }).await?;
        let is_read = matches!(&answers[..], [Answer::Range(answer)] if answer.kvs.len() == 1);
        expect(is_read, "a read in a transaction is not answered")
    }

    async fn nested_transactions(&self) -> Trial {
        let put = Put { key: self.key("n"), value: "n".into(), ..Put::default() };
        let inner = Txn { success: vec![Request::Put(put)], ..Txn::default() };
        let (_, answers) =
            self.transact(Txn { success: vec![Request::Txn(inner)], ..Txn::default() }).await?;
        let is_done =
            matches!(&answers[..], [Answer::Txn { succeeded: true, answers }] if answers.len() == 1);
        expect(is_done, "a transaction in a transaction is not answered")
    }

    async fn range_compares(&self) -> Trial {
        let all = self.holds(self.several(), Operator::Greater, Target::Version(Version(0))).await?;
        let some = self.holds(self.several(), Operator::Equal, Target::Value("2".into())).await?;
        expect(all && !some, "compares of several keys go wrong")
    }

    async fn lease_compares(&self) -> Trial {
        let none = self.holds(self.one(), Operator::Equal, Target::Lease(LeaseId(0))).await?;
        let one = self.holds(self.one(), Operator::Equal, Target::Lease(LeaseId(1))).await?;
        expect(none && !one, "compares of leases go wrong")
    }
}
