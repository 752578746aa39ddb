//! A later start. In go histories and a revision, out comes the state that their writes leave there, as a program
//! would have recorded it that read the store before all others. It needs every write up to there to be known.

use std::collections::HashSet;

use super::selection::{Left, Selection, has_revision};
use crate::{
    check::{final_state::BASELINE_COMMAND, linearizable::baseline},
    history::{
        reader::{History, Operation},
        record::Preamble,
    },
    model::store::{Pair, Store, single},
    operation::{Answer, Header, KeyRange, KeyValue, Outcome, Range, RangeAnswer, Request, Response},
    types::{Blob, Monotonic, Name, OperationId, ProcessId, Revision},
};

/// The contents of the store at a revision.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// Which.
    pub revision: Revision,
    /// A history that says so.
    pub history: History,
    /// The writes that left the pairs, by number over all histories; what was there before has none.
    pub writers: Vec<usize>,
}

/// All states that a later start may have.
pub(super) struct States<'h> {
    store: Store<'h>,
    /// The first revision whose state is known.
    pub base: Revision,
    /// Answered writes by revision, with their numbers.
    writes: Vec<(Revision, usize, &'h Operation)>,
    preamble: Option<Preamble>,
    header: Header,
    member: Name,
    began: Monotonic,
    process: ProcessId,
}

impl<'h> States<'h> {
    /// Replays all answered writes up to `top`.
    pub fn new(histories: &'h [History], until: Monotonic, top: Revision) -> Self {
        let known = baseline::find(histories);
        let mut store = Store::at(known.revision, known.pairs.iter().copied());
        let operations = || (0..).zip(histories.iter().flat_map(|history| &history.operations));
        let mut writes: Vec<(Revision, usize, &Operation)> = operations()
            .filter(|(_, operation)| has_revision(operation, until))
            .filter_map(|(index, operation)| Some((operation.response()?.header.revision, index, operation)))
            .filter(|(revision, ..)| *revision > known.revision && *revision <= top)
            .collect();
        writes.sort_unstable_by_key(|(revision, index, _)| (*revision, *index));
        writes.dedup_by_key(|(revision, ..)| *revision);
        for (revision, _, operation) in &writes {
            store.catch_up(Revision(revision.0 - 1));
            // A request that the model refuses is what is broken, or comes after it.
            let _ = store.execute(&operation.request);
            store.catch_up(*revision);
        }
        let first = operations().map(|(_, operation)| operation).min_by_key(|operation| operation.call);
        let process = operations().map(|(_, operation)| operation.process.0).max().unwrap_or_default();
        let header = first.and_then(Operation::response).map(|response| response.header);
        Self {
            store,
            base: known.revision,
            writes,
            preamble: histories.first().map(|history| history.preamble.clone()),
            header: header.unwrap_or_default(),
            member: first.map_or("".into(), |operation| operation.member.clone()),
            began: first.map_or(Monotonic(0), |operation| operation.call),
            process: ProcessId(process + 1),
        }
    }

    /// The state at a revision, of the keys that the operations name that are left whole.
    pub fn at(&self, histories: &[History], selection: &Selection, revision: Revision) -> Option<Start> {
        let (mut keys, mut index) = (Keys::default(), 0);
        for history in histories {
            for operation in &history.operations {
                let is_whole = selection.left(history, operation, index) == Left::Whole;
                if is_whole && !selection.is_before(history, operation, revision) {
                    keys.of(&operation.request);
                }
                index += 1;
            }
        }
        let pairs: Vec<Pair<'_>> = self
            .store
            .pairs_at(&KeyRange::everything(), revision)
            .filter(|pair| keys.contain(pair.key))
            .collect();
        let writers = pairs.iter().filter_map(|pair| {
            let at = self.writes.binary_search_by_key(&pair.modified, |(revision, ..)| *revision).ok()?;
            Some(self.writes[at].1)
        });
        Some(Start { revision, writers: writers.collect(), history: self.history(revision, &pairs)? })
    }

    fn history(&self, revision: Revision, pairs: &[Pair<'_>]) -> Option<History> {
        let kvs: Vec<_> = pairs.iter().copied().map(KeyValue::from).collect();
        let count = i64::try_from(kvs.len()).unwrap_or(i64::MAX);
        let answer = Answer::Range(RangeAnswer { kvs, more: false, count });
        let response = Response { header: Header { revision, ..self.header }, answer };
        let range = Range { keys: KeyRange::everything(), ..Range::default() };
        let operation = Operation {
            id: OperationId(1),
            process: self.process,
            member: self.member.clone(),
            user: None,
            call: self.began,
            request: Request::Range(range),
            returned: Some((self.began, Outcome::Ok(response))),
            connection: None,
        };
        let preamble = Preamble { command: BASELINE_COMMAND.to_owned(), ..self.preamble.clone()? };
        let path = format!("contents-at-{revision}.jsonl").into();
        Some(History { path, preamble, operations: vec![operation], streams: vec![] })
    }
}

/// Keys that operations name.
#[derive(Default)]
struct Keys<'h> {
    single: HashSet<&'h Blob>,
    ranges: Vec<&'h KeyRange>,
}

impl<'h> Keys<'h> {
    fn add(&mut self, keys: &'h KeyRange) {
        if single(keys) {
            self.single.insert(&keys.key);
        } else {
            self.ranges.push(keys);
        }
    }

    fn of(&mut self, request: &'h Request) {
        match request {
            Request::Range(range) => self.add(&range.keys),
            Request::DeleteRange(delete) => self.add(&delete.keys),
            Request::Put(put) => {
                self.single.insert(&put.key);
            }
            Request::Txn(txn) => {
                txn.compare.iter().for_each(|compare| self.add(&compare.keys));
                txn.success.iter().chain(&txn.failure).for_each(|part| self.of(part));
            }
            _ => {}
        }
    }

    fn contain(&self, key: &Blob) -> bool {
        self.single.contains(key) || self.ranges.iter().any(|range| range.contains(key))
    }
}
