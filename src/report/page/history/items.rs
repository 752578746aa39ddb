//! What a picture of histories shows, one item each: operations, messages of streams and the ends of streams. In go
//! histories and what evidence names, out come the items in order of time, as many as a page may hold.

use std::collections::{HashMap, HashSet};

use crate::{
    check::evidence::Described,
    history::reader::{History, Operation, Stream},
    types::Monotonic,
};

/// A page with more would take a browser long to load.
pub const ITEMS_AT_MOST: usize = 200_000;

/// Where an item lies in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// The operation's index.
    Operation(u32),
    /// The stream's index and the message's.
    Message(u32, u32),
    /// The stream's index.
    End(u32),
}

impl Position {
    /// The index of its stream, if it is of one.
    pub fn stream(self) -> Option<u32> {
        match self {
            Self::Operation(_) => None,
            Self::Message(stream, _) | Self::End(stream) => Some(stream),
        }
    }
}

/// Something that happened, at one time or from a time on.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// The call, or the time of the message.
    pub start: Monotonic,
    /// The index of its history.
    pub history: u32,
    /// Where it is there.
    pub position: Position,
}

/// An operation or what there is of a stream.
#[derive(Clone, Copy, Debug)]
pub enum What<'h> {
    Operation(&'h Operation),
    Message(&'h Stream, usize),
    End(&'h Stream),
}

impl Item {
    /// The item itself.
    pub fn what(self, history: &History) -> What<'_> {
        match self.position {
            Position::Operation(index) => What::Operation(&history.operations[index as usize]),
            Position::Message(stream, position) => {
                What::Message(&history.streams[stream as usize], position as usize)
            }
            Position::End(stream) => What::End(&history.streams[stream as usize]),
        }
    }

    fn place(self) -> (u32, Position) {
        (self.history, self.position)
    }
}

/// The items that a page shows.
#[derive(Debug)]
pub struct Chosen {
    /// In order of time.
    pub items: Vec<Item>,
    /// How many there are in all.
    pub all: usize,
    /// The times between which nothing is left out.
    pub span: (Monotonic, Monotonic),
    /// The items of each piece of evidence, by their numbers in `items`.
    pub evidence: Vec<Vec<usize>>,
}

/// All items, or if there are too many, those around the first piece of evidence and whatever any evidence names.
pub fn choose(histories: &[History], evidence: &[Vec<Described>], at_most: usize) -> Chosen {
    let places: Vec<Vec<(u32, Position)>> = evidence
        .iter()
        .map(|operations| operations.iter().filter_map(|named| find(histories, &named.operation)).collect())
        .collect();
    let mut items = all(histories);
    items.sort_by_key(|item| item.start);
    let count = items.len();
    let start = |index: usize| items.get(index).map_or(Monotonic(0), |item| item.start);
    let mut span = (start(0), start(count.saturating_sub(1)));
    if count > at_most {
        let named: HashSet<_> = places.iter().flatten().copied().collect();
        let first = places.iter().find(|places| !places.is_empty());
        let concerned = first.and_then(|first| first.last());
        let middle = concerned.and_then(|place| items.iter().position(|item| item.place() == *place));
        let from = middle.unwrap_or(0).saturating_sub(at_most / 2).min(count - at_most);
        span = (start(from), start(from + at_most - 1));
        let mut index = 0;
        items.retain(|item| {
            index += 1;
            (from..from + at_most).contains(&(index - 1)) || named.contains(&item.place())
        });
    }
    let numbers: HashMap<_, _> = {
        let named: HashSet<_> = places.iter().flatten().copied().collect();
        let numbered = items.iter().enumerate().filter(|(_, item)| named.contains(&item.place()));
        numbered.map(|(number, item)| (item.place(), number)).collect()
    };
    let evidence = places
        .iter()
        .map(|places| places.iter().filter_map(|place| numbers.get(place).copied()).collect())
        .collect();
    Chosen { items, all: count, span, evidence }
}

fn all(histories: &[History]) -> Vec<Item> {
    let mut items = vec![];
    for (history, recorded) in (0..).zip(histories) {
        let mut push = |start, position| items.push(Item { start, history, position });
        for (index, operation) in (0..).zip(&recorded.operations) {
            push(operation.call, Position::Operation(index));
        }
        for (stream, messages) in (0..).zip(&recorded.streams) {
            for (position, (time, _)) in (0..).zip(&messages.messages) {
                push(*time, Position::Message(stream, position));
            }
            if let Some((time, _)) = messages.ended {
                push(time, Position::End(stream));
            }
        }
    }
    items
}

/// What evidence calls `file#12`, or `file~3.5`.
fn find(histories: &[History], name: &str) -> Option<(u32, Position)> {
    let (file, number) = name.rsplit_once(['#', '~'])?;
    let named =
        |history: &&History| history.path.file_stem().is_some_and(|stem| stem.to_string_lossy() == file);
    (0..).zip(histories).filter(|(_, history)| named(history)).find_map(|(index, history)| {
        let position = if let Some((stream, message)) = number.split_once('.') {
            let (stream, message): (u64, u32) = (stream.parse().ok()?, message.parse().ok()?);
            let found = history.streams.iter().position(|found| found.id.0 == stream)?;
            Position::Message(u32::try_from(found).ok()?, message.checked_sub(1)?)
        } else {
            let number: u64 = number.parse().ok()?;
            let found = history.operations.iter().position(|operation| operation.id.0 == number)?;
            Position::Operation(u32::try_from(found).ok()?)
        };
        Some((index, position))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{reader::Message, record::Preamble},
        operation::{Put, Request, stream::Sent},
        types::{OperationId, ProcessId, StreamId},
    };

    /// Operations at 1, 2, 3 …, and a stream with a message at each time and an end.
    fn recorded(operations: u64, messages: &[u64]) -> Vec<History> {
        let operation = |time| Operation {
            id: OperationId(time),
            process: ProcessId(1),
            member: "etcd0".into(),
            user: None,
            call: Monotonic(time),
            request: Request::Put(Put::default()),
            returned: None,
            connection: None,
        };
        let message = |time: &u64| (Monotonic(*time), Message::Sent(Sent::Progress {}));
        let stream = Stream {
            id: StreamId(9),
            process: ProcessId(2),
            member: "etcd0".into(),
            user: None,
            messages: messages.iter().map(message).collect(),
            ended: Some((Monotonic(50), None)),
        };
        vec![History {
            path: "a/driver-1.jsonl".into(),
            preamble: Preamble::made_up("driver"),
            operations: (1..=operations).map(operation).collect(),
            streams: vec![stream],
        }]
    }

    fn named(name: &str) -> Described {
        let words = String::new;
        Described {
            operation: name.to_owned(),
            process: words(),
            member: words(),
            call: Monotonic(0),
            returned: None,
            request: words(),
            outcome: words(),
        }
    }

    #[test]
    fn everything_is_there_in_order_of_time_and_evidence_is_found() {
        let evidence = [vec![named("driver-1#3"), named("driver-1~9.2"), named("other#1")], vec![]];
        let chosen = choose(&recorded(5, &[2, 10]), &evidence, 100);
        let times: Vec<_> = chosen.items.iter().map(|item| item.start.0).collect();
        assert_eq!(times, [1, 2, 2, 3, 4, 5, 10, 50]);
        assert_eq!(chosen.evidence, [vec![3, 6], vec![]]);
        assert_eq!(chosen.all, 8);
    }

    /// Around the last of the evidence, whatever else it names stays.
    #[test]
    fn too_much_is_cut_to_what_is_around_the_evidence() {
        let evidence = [vec![named("driver-1#2"), named("driver-1#500")], vec![named("driver-1#900")]];
        let chosen = choose(&recorded(1_000, &[]), &evidence, 20);
        let times: Vec<_> = chosen.items.iter().map(|item| item.start.0).collect();
        assert_eq!((chosen.all, times.len()), (1_001, 22));
        // The end of the stream, at 50, moves those after it by one.
        assert_eq!(chosen.span, (Monotonic(490), Monotonic(509)));
        assert!(times.starts_with(&[2]) && times.ends_with(&[900]) && times.contains(&509));
        assert_eq!(chosen.items[chosen.evidence[0][1]].start.0, 500);
        assert_eq!(chosen.evidence[1], [21]);
        let from_the_start = choose(&recorded(1_000, &[]), &[], 20);
        assert_eq!(from_the_start.items.len(), 20);
    }
}
