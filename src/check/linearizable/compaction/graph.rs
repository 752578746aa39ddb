//! What must come before what, for the operations that say something of compactions. In go those, out comes a cycle, or
//! by when revisions had been made. Nodes are these operations, the steps of what was compacted, and of revisions and
//! times only those on which one of them depends; revisions and times are each in order.
//!
//! All other operations are told by two functions, which the timeline has. Whatever is called after a time makes or
//! sees some revision at least, so all later revisions come after that time. A revision has come by the earliest return
//! of whoever saw it or a later one. There is nothing to be gained by applying one to what the other gave: places do
//! not contradict times, which was checked before.

use super::{Steps, Word};
use crate::{
    check::linearizable::timeline::{NONE, Role, Timeline, answered},
    history::reader::Operation,
    types::{Monotonic, Revision},
};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    /// An operation took place.
    Operation(u32),
    /// A revision was made.
    Write(Revision),
    /// A time.
    Time(Monotonic),
    /// K begins to grow, and has grown; by number.
    Step(u32),
}

/// What must precede what.
pub(super) struct Graph<'h, 't> {
    operations: &'t [&'h Operation],
    timeline: &'t Timeline,
    nodes: Vec<Node>,
    edges: Vec<(u32, u32)>,
    /// In order, with their nodes.
    writes: Vec<(Revision, u32)>,
    /// In order, with their nodes.
    times: Vec<(Monotonic, u32)>,
}

impl<'h, 't> Graph<'h, 't> {
    pub fn new(
        operations: &'t [&'h Operation],
        timeline: &'t Timeline,
        said: &[(u32, Word)],
        steps: &Steps,
    ) -> Self {
        let (nodes, edges) = (vec![], vec![]);
        let mut graph = Self { operations, timeline, nodes, edges, writes: vec![], times: vec![] };
        graph.points(said, steps);
        let of: Vec<u32> = said.iter().map(|(index, _)| graph.place(*index)).collect();
        graph.thresholds(said, &of, steps);
        graph
    }

    fn node(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("there are few nodes for each operation")
    }

    fn edge(&mut self, from: Option<u32>, to: Option<u32>) {
        self.edges.extend(from.zip(to));
    }

    /// The revisions and times that matter.
    fn points(&mut self, said: &[(u32, Word)], steps: &Steps) {
        let timeline = self.timeline;
        let (mut writes, mut times) = (vec![], vec![]);
        for (index, word) in said {
            let operation = self.operations[*index as usize];
            if let Some((role, _)) = answered(operation) {
                writes.extend([role.revision(), Revision(role.revision().0 + 1)]);
            }
            if let Word::Before(revision) = word {
                writes.push(*revision);
            }
            times.extend(operation.returned.as_ref().map(|(returned, _)| *returned));
        }
        writes.extend(steps.keys().map(|to| timeline.last.min(*to)));
        writes.extend(times.iter().filter_map(|time| timeline.first_after(*time)));
        writes.retain(|revision| *revision <= timeline.last);
        for revision in &mut writes {
            *revision = timeline.base.max(*revision);
        }
        writes.sort_unstable();
        writes.dedup();
        let followed: Vec<Monotonic> = times.clone();
        times.extend(writes.iter().map(|revision| timeline.deadline(*revision)));
        times.sort_unstable();
        times.dedup();
        self.writes = writes.into_iter().map(|it| (it, self.node(Node::Write(it)))).collect();
        self.times = times.into_iter().map(|it| (it, self.node(Node::Time(it)))).collect();
        let in_order = |nodes: &[u32]| nodes.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>();
        let writes: Vec<u32> = self.writes.iter().map(|(_, node)| *node).collect();
        let times: Vec<u32> = self.times.iter().map(|(_, node)| *node).collect();
        self.edges.extend(in_order(&writes).into_iter().chain(in_order(&times)));
        for time in followed {
            let after = timeline.first_after(time).and_then(|revision| self.write(revision));
            self.edge(self.time(time), after);
        }
        for number in 0..self.writes.len() {
            let (revision, node) = self.writes[number];
            self.edge(Some(node), self.time(timeline.deadline(revision)));
        }
    }

    /// The node of a revision, if anybody saw that it was made. Those before the base are as the base.
    fn write(&self, revision: Revision) -> Option<u32> {
        let revision = revision.max(self.timeline.base);
        let found = self.writes.binary_search_by_key(&revision, |(revision, _)| *revision).ok()?;
        Some(self.writes[found].1)
    }

    fn time(&self, time: Monotonic) -> Option<u32> {
        let found = self.times.binary_search_by_key(&time, |(time, _)| *time).ok()?;
        Some(self.times[found].1)
    }

    /// The last time before another.
    fn before(&self, time: Monotonic) -> Option<u32> {
        let earlier = self.times.partition_point(|(earlier, _)| *earlier < time);
        earlier.checked_sub(1).map(|last| self.times[last].1)
    }

    /// Puts an operation between revisions and times; its node, which for a write is its revision's.
    fn place(&mut self, index: u32) -> u32 {
        let operation = self.operations[index as usize];
        let returned = operation.returned.as_ref().and_then(|(returned, _)| self.time(*returned));
        let role = answered(operation).map(|(role, _)| role);
        let own = role.and_then(|role| self.write(role.revision()));
        let node = match (role, own) {
            (Some(Role::Write(revision)), Some(own)) if revision > self.timeline.base => own,
            _ => {
                let node = self.node(Node::Operation(index));
                let next = role.and_then(|role| self.write(Revision(role.revision().0 + 1)));
                self.edge(Some(node), next);
                node
            }
        };
        if let Some(Role::Read(revision)) = role
            && revision >= self.timeline.base
        {
            self.edge(own, Some(node));
        }
        self.edge(Some(node), returned);
        if operation.request.is_linearizable() {
            self.edge(self.before(operation.call), Some(node));
        }
        node
    }

    fn thresholds(&mut self, said: &[(u32, Word)], of: &[u32], steps: &Steps) {
        let mut ends: Vec<(Revision, u32, u32)> = vec![];
        for (number, to) in (0..).zip(steps.keys()) {
            let (start, end) = (self.node(Node::Step(number)), self.node(Node::Step(number)));
            self.edge(Some(start), Some(end));
            self.edge(ends.last().map(|(_, _, before)| *before), Some(start));
            // A revision must have come before it is compacted to.
            self.edge(self.write(self.timeline.last.min(*to)), Some(start));
            ends.push((*to, start, end));
        }
        let step = |to: Revision| ends.binary_search_by_key(&to, |(to, ..)| *to).ok().map(|at| ends[at]);
        for ((_, word), node) in said.iter().zip(of) {
            match *word {
                Word::Compacts(to) => {
                    let (_, start, end) = step(to).expect("each is a step");
                    self.edges.extend([(start, *node), (*node, end)]);
                }
                Word::AtLeast(to) => self.edge(step(to).map(|(_, _, end)| end), Some(*node)),
                Word::AtMost(most) => {
                    self.edge(Some(*node), step(Revision(most.0 + 1)).map(|(_, start, _)| start));
                }
                Word::Before(revision) => self.edge(Some(*node), self.write(revision)),
            }
        }
    }

    /// For revisions in order, times by which they, and so all before them, had been made; or the operations of a cycle,
    /// from the one on that was called first.
    pub fn deadlines(&self) -> Result<Vec<(Revision, Monotonic)>, Vec<u32>> {
        let (starts, targets) = self.outgoing();
        let out = |node: u32| &targets[starts[node as usize] as usize..starts[node as usize + 1] as usize];
        let order = self.in_order(out)?;
        let mut by = vec![Monotonic(u64::MAX); self.nodes.len()];
        for node in order.iter().rev() {
            let own = match self.nodes[*node as usize] {
                Node::Time(time) => time,
                _ => Monotonic(u64::MAX),
            };
            by[*node as usize] = out(*node).iter().map(|target| by[*target as usize]).fold(own, Ord::min);
        }
        Ok(self.writes.iter().map(|(revision, node)| (*revision, by[*node as usize])).collect())
    }

    /// The nodes, each behind all that must come before it, or the operations of a cycle.
    fn in_order<'e>(&self, out: impl Fn(u32) -> &'e [u32]) -> Result<Vec<u32>, Vec<u32>> {
        let mut incoming = vec![0u32; self.nodes.len()];
        for (_, to) in &self.edges {
            incoming[*to as usize] += 1;
        }
        let begins = (0..).zip(&incoming).filter(|(_, open)| **open == 0);
        let mut order: Vec<u32> = begins.map(|(node, _)| node).collect();
        let mut next = 0;
        while let Some(node) = order.get(next) {
            for target in out(*node) {
                incoming[*target as usize] -= 1;
                if incoming[*target as usize] == 0 {
                    order.push(*target);
                }
            }
            next += 1;
        }
        match (0..).zip(&incoming).find(|(_, open)| **open > 0) {
            Some((bound, _)) => Err(self.walk_back(bound, &incoming)),
            None => Ok(order),
        }
    }

    /// Where the targets of each node's edges begin, and the targets.
    fn outgoing(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0u32; self.nodes.len() + 1];
        for (from, _) in &self.edges {
            starts[*from as usize + 1] += 1;
        }
        for node in 0..self.nodes.len() {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut targets = vec![NONE; self.edges.len()];
        for (from, to) in &self.edges {
            targets[next[*from as usize] as usize] = *to;
            next[*from as usize] += 1;
        }
        (starts, targets)
    }

    /// From a node that a cycle precedes, back along edges until one repeats.
    fn walk_back(&self, from: u32, incoming: &[u32]) -> Vec<u32> {
        let mut before = vec![NONE; self.nodes.len()];
        for (source, target) in &self.edges {
            if incoming[*source as usize] > 0 {
                before[*target as usize] = *source;
            }
        }
        let mut seen = vec![false; self.nodes.len()];
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
        let next = cycle.iter().cycle().skip(1);
        let mut named: Vec<u32> = vec![];
        for (node, next) in cycle.iter().zip(next) {
            let of_step = self.named(self.nodes[*node as usize], self.nodes[*next as usize]);
            named.extend(of_step.into_iter().flatten());
        }
        named.dedup();
        if named.len() > 1 && named.first() == named.last() {
            named.pop();
        }
        let calls = named.iter().enumerate().map(|(at, index)| (self.operations[*index as usize].call, at));
        let (_, first) = calls.min().unwrap_or_default();
        named.rotate_left(first);
        named
    }

    /// The operations that show why a node comes before the next.
    fn named(&self, node: Node, next: Node) -> [Option<u32>; 2] {
        let timeline = self.timeline;
        let own = match node {
            Node::Operation(index) => Some(index),
            Node::Write(revision) => timeline.writer(revision).map(|writer| writer.index),
            Node::Time(_) | Node::Step(_) => None,
        };
        let all = || (0..).zip(self.operations).filter_map(|(index, it)| Some((index, it, answered(it)?)));
        let between = match (node, next) {
            (Node::Time(time), Node::Write(revision)) => all()
                .find(|(_, it, (role, _))| {
                    let first = match *role {
                        Role::Write(own) => own,
                        Role::Read(seen) | Role::Before(seen) => Revision(seen.0 + 1),
                    };
                    it.call > time && it.request.is_linearizable() && first <= revision
                })
                .map(|(index, ..)| index),
            (Node::Write(revision), Node::Time(time)) => all()
                .find(|(_, _, (role, returned))| *returned == time && role.revision() >= revision)
                .map(|(index, ..)| index),
            _ => None,
        };
        [own, between]
    }
}
