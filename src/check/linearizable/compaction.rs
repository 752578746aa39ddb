//! Whether compactions and what they forbid can be put in order with all the rest. In go the operations and their
//! revisions; out comes a cycle of operations each of which must precede the next, or none. What was compacted is a
//! revision K that only grows: a successful compaction to a raises it from less than a to a, a range at r needs
//! K ≤ r, a "compacted" error K > r, and a "future revision" error for r precedes the write of r. Anybody may have
//! compacted without a record, so an error needs no recorded compaction; it only excludes what would undo one.

use std::collections::BTreeMap;

use super::{
    search::Filler,
    timeline::{NONE, Role, Timeline, answered},
};
use crate::{
    history::reader::Operation,
    operation::{Answer, Outcome, Request},
    types::{Monotonic, Revision},
};

const COMPACTED: &str = "required revision has been compacted";
const FUTURE: &str = "required revision is a future revision";

/// What an operation says about K, or about a revision that has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// K grows to this one.
    Compacts(Revision),
    /// K is at most this.
    AtMost(Revision),
    /// K is at least this.
    AtLeast(Revision),
    /// This revision has not come.
    Before(Revision),
}

/// An operation's words; nothing for most.
fn words(operation: &Operation) -> Vec<Word> {
    let Some((_, outcome)) = &operation.returned else { return vec![] };
    let mut asked = vec![];
    match (&operation.request, outcome) {
        (Request::Compact(compact), Outcome::Ok(_)) => vec![Word::Compacts(compact.revision)],
        (request, Outcome::Ok(response)) => {
            past_reads(request, Some(&response.answer), &mut asked);
            asked.retain(|revision| *revision < response.header.revision);
            asked.into_iter().min().map(Word::AtMost).into_iter().collect()
        }
        (_, Outcome::Unknown(_)) => vec![],
        (request, Outcome::DidNotHappen(failure)) => {
            past_reads(request, None, &mut asked);
            let next = |revision: &Revision| Revision(revision.0.saturating_add(1));
            let said = |words: &str| failure.message.contains(words);
            let word = match request {
                Request::Compact(compact) if said(COMPACTED) => Some(Word::AtLeast(compact.revision)),
                Request::Compact(compact) if said(FUTURE) => Some(Word::Before(compact.revision)),
                _ if said(COMPACTED) => asked.iter().min().map(next).map(Word::AtLeast),
                // A stale member may not know yet of a revision that has long come.
                _ if said(FUTURE) && request.is_linearizable() => {
                    asked.iter().max().copied().map(Word::Before)
                }
                _ => None,
            };
            word.into_iter().collect()
        }
    }
}

/// The revisions that a request names to read at; of a transaction those in the branch taken, if it is known.
fn past_reads(request: &Request, answer: Option<&Answer>, asked: &mut Vec<Revision>) {
    match (request, answer) {
        (Request::Range(range), _) => asked.extend(range.revision.filter(|revision| revision.0 > 0)),
        (Request::Txn(txn), Some(Answer::Txn { succeeded, answers })) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            for (request, answer) in branch.iter().zip(answers) {
                past_reads(request, Some(answer), asked);
            }
        }
        (Request::Txn(txn), _) => {
            txn.success.iter().chain(&txn.failure).for_each(|request| past_reads(request, None, asked));
        }
        _ => {}
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disorder {
    /// Each of these operations must come before the next, and the last before the first.
    Cycle(Vec<u32>),
    /// Both compacted to the same revision, which succeeds only once.
    Twice(u32, u32),
    /// The compaction was answered with an older revision than it compacted to.
    AboveItself(u32),
    /// The operation saw a compaction of a revision that all recorded writes together don't reach.
    OutOfReach(u32),
    /// The same of all writes that anybody saw; those that may have happened besides reach it, or do not.
    Unseen(u32),
}

/// Looks for disorder. `fillers` are the gaps with the operations that are taken to have filled them; their calls
/// count as lower bounds. So many revisions more than anybody saw may have been made.
pub(super) fn check(
    operations: &[&Operation],
    timeline: &Timeline,
    fillers: &[(Revision, Filler)],
    unseen: usize,
) -> Result<(), Disorder> {
    let said: Vec<(u32, Word)> = (0..)
        .zip(operations)
        .flat_map(|(index, operation)| words(operation).into_iter().map(move |word| (index, word)))
        .collect();
    if said.is_empty() {
        return Ok(());
    }
    let above = said.iter().find(|(index, word)| {
        let header = operations[*index as usize].response().map(|response| response.header.revision);
        matches!(word, Word::Compacts(to) if header.is_some_and(|header| *to > header))
    });
    if let Some((index, _)) = above {
        return Err(Disorder::AboveItself(*index));
    }
    let mut graph = Graph::new(operations, timeline, fillers);
    graph.thresholds(&said, timeline, unseen)?;
    if let Some(cycle) = graph.cycle() {
        return Err(Disorder::Cycle(cycle));
    }
    let is_unseen =
        |word: &Word| matches!(*word, Word::Compacts(to) | Word::AtLeast(to) if to > timeline.last);
    let unseen = said.iter().find(|(_, word)| is_unseen(word));
    unseen.map_or(Ok(()), |(index, _)| Err(Disorder::Unseen(*index)))
}

/// What must precede what. Nodes are the operations, the revisions, the returns in order of time, and K's steps.
struct Graph {
    nodes: u32,
    edges: Vec<(u32, u32)>,
    /// The node of each operation; that of a write is its revision's.
    of: Vec<u32>,
    /// The node of the base revision; those of its successors follow.
    first_write: u32,
    /// By operation, the nodes of answers that tell of more than what the operation did.
    answers: Vec<(u32, u32)>,
}

impl Graph {
    fn new(operations: &[&Operation], timeline: &Timeline, fillers: &[(Revision, Filler)]) -> Self {
        let count = u32::try_from(operations.len()).expect("operations are numbered by u32");
        let of = (0..count).collect();
        let mut graph = Self { nodes: count, edges: vec![], of, first_write: count, answers: vec![] };
        let revisions = timeline.last.0 - timeline.base.0;
        for offset in 0..=revisions {
            let write = graph.node();
            if offset > 0 {
                graph.edges.push((write - 1, write));
            }
        }
        for (index, operation) in (0..).zip(operations) {
            graph.place(index, operation, timeline);
        }
        graph.time(operations, fillers, timeline);
        graph
    }

    fn node(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    /// The node of a revision's write, if it is one that anybody saw. Those before the base are as the base.
    fn write(&self, revision: Revision, timeline: &Timeline) -> Option<u32> {
        let offset = u32::try_from(revision.0.saturating_sub(timeline.base.0)).unwrap_or(0);
        (revision <= timeline.last).then_some(self.first_write + offset)
    }

    fn place(&mut self, index: u32, operation: &Operation, timeline: &Timeline) {
        let Some((role, _)) = answered(operation) else { return };
        let own = self.write(role.revision(), timeline);
        let next = self.write(Revision(role.revision().0 + 1), timeline);
        match role {
            Role::Write(revision) if revision > timeline.base => {
                self.of[index as usize] = own.unwrap_or(index);
            }
            Role::Read(revision) if revision >= timeline.base => {
                self.edges.extend(own.map(|own| (own, index)));
            }
            Role::Before(_) => {
                // The revision had come when the answer left, if not when the compaction took place.
                let answer = self.node();
                self.answers.push((index, answer));
                self.edges.extend(own.map(|own| (own, answer)));
            }
            Role::Write(_) | Role::Read(_) => {}
        }
        if self.of[index as usize] == index {
            self.edges.extend(next.map(|next| (index, next)));
        }
    }

    /// What returned before something else was called precedes it, unless that may be stale.
    fn time(&mut self, operations: &[&Operation], fillers: &[(Revision, Filler)], timeline: &Timeline) {
        let mut returns: Vec<(Monotonic, u32)> = (0..)
            .zip(operations)
            .filter(|(_, operation)| counts(operation))
            .filter_map(|(index, operation)| Some((operation.returned.as_ref()?.0, index)))
            .collect();
        returns.sort_unstable();
        let first = self.nodes;
        for (_, index) in &returns {
            let barrier = self.node();
            self.edges.push((self.of[*index as usize], barrier));
            if let Ok(answer) = self.answers.binary_search_by_key(index, |(index, _)| *index) {
                self.edges.push((self.answers[answer].1, barrier));
            }
            if barrier > first {
                self.edges.push((barrier - 1, barrier));
            }
        }
        let before = |call: Monotonic| {
            let earlier = returns.partition_point(|(returned, _)| *returned < call);
            earlier.checked_sub(1).and_then(|last| u32::try_from(last).ok()).map(|last| first + last)
        };
        for (index, operation) in operations.iter().enumerate() {
            if counts(operation) && operation.request.is_linearizable() {
                self.edges.extend(before(operation.call).map(|barrier| (barrier, self.of[index])));
            }
        }
        for (gap, filler) in fillers {
            let Filler::Operation(index) = *filler else { continue };
            let call = before(operations[index as usize].call);
            self.edges.extend(call.zip(self.write(*gap, timeline)));
        }
    }

    fn thresholds(
        &mut self,
        said: &[(u32, Word)],
        timeline: &Timeline,
        unseen: usize,
    ) -> Result<(), Disorder> {
        let reach = Revision(timeline.last.0.saturating_add(i64::try_from(unseen).unwrap_or(i64::MAX)));
        let mut steps: BTreeMap<Revision, Option<u32>> = BTreeMap::new();
        for (index, word) in said {
            match *word {
                Word::Compacts(to) | Word::AtLeast(to) if to > reach => {
                    return Err(Disorder::OutOfReach(*index));
                }
                Word::Compacts(to) => {
                    if let Some(Some(other)) = steps.insert(to, Some(*index)) {
                        return Err(Disorder::Twice(other, *index));
                    }
                }
                Word::AtLeast(least) => {
                    steps.entry(least).or_default();
                }
                Word::AtMost(most) => {
                    steps.entry(Revision(most.0 + 1)).or_default();
                }
                Word::Before(_) => {}
            }
        }
        let mut before = None;
        let mut nodes: BTreeMap<Revision, (u32, u32)> = BTreeMap::new();
        for (to, compaction) in &steps {
            let (start, end) = (self.node(), self.node());
            self.edges.push((start, end));
            self.edges.extend(before.map(|before| (before, start)));
            self.edges.extend(compaction.iter().flat_map(|index| [(start, *index), (*index, end)]));
            // A revision must have come before it is compacted to.
            self.edges.extend(self.write((*to).min(timeline.last), timeline).map(|write| (write, start)));
            nodes.insert(*to, (start, end));
            before = Some(end);
        }
        for (index, word) in said {
            match *word {
                Word::Compacts(_) => {}
                Word::AtLeast(to) => self.edges.push((nodes[&to].1, self.of[*index as usize])),
                Word::AtMost(most) => {
                    self.edges.push((self.of[*index as usize], nodes[&Revision(most.0 + 1)].0));
                }
                Word::Before(revision) => {
                    self.edges.extend(self.write(revision, timeline).map(|write| (*index, write)));
                }
            }
        }
        Ok(())
    }

    /// The operations of a cycle.
    fn cycle(&self) -> Option<Vec<u32>> {
        let nodes = self.nodes as usize;
        let mut incoming = vec![0u32; nodes];
        let mut starts = vec![0u32; nodes + 1];
        for (from, to) in &self.edges {
            incoming[*to as usize] += 1;
            starts[*from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut targets = vec![NONE; self.edges.len()];
        for (from, to) in &self.edges {
            targets[next[*from as usize] as usize] = *to;
            next[*from as usize] += 1;
        }
        let mut free: Vec<u32> = (0..self.nodes).filter(|node| incoming[*node as usize] == 0).collect();
        while let Some(node) = free.pop() {
            let out = starts[node as usize] as usize..starts[node as usize + 1] as usize;
            for target in &targets[out] {
                incoming[*target as usize] -= 1;
                if incoming[*target as usize] == 0 {
                    free.push(*target);
                }
            }
        }
        let bound = (0..self.nodes).find(|node| incoming[*node as usize] > 0)?;
        Some(self.walk_back(bound, &incoming))
    }

    /// From a node that a cycle precedes, back along edges until one repeats.
    fn walk_back(&self, from: u32, incoming: &[u32]) -> Vec<u32> {
        let mut before = vec![NONE; self.nodes as usize];
        for (source, target) in &self.edges {
            if incoming[*source as usize] > 0 {
                before[*target as usize] = *source;
            }
        }
        let mut seen = vec![false; self.nodes as usize];
        let mut node = from;
        while !seen[node as usize] {
            seen[node as usize] = true;
            node = before[node as usize];
        }
        let (start, mut cycle) = (node, vec![]);
        loop {
            cycle.push(node);
            node = before[node as usize];
            if node == start {
                break;
            }
        }
        cycle.reverse();
        let nodes =
            || (0..).zip(&self.of).map(|(index, of)| (index, *of)).chain(self.answers.iter().copied());
        let operation = |node: u32| nodes().find(|(_, of)| *of == node).map(|(index, _)| index);
        cycle.into_iter().filter_map(operation).collect()
    }
}

/// Whether anything is known of when an operation took place.
fn counts(operation: &Operation) -> bool {
    operation.request.is_key_value()
        && (matches!(operation.returned, Some((_, Outcome::Ok(_)))) || !words(operation).is_empty())
}
