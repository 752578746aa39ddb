//! What a load consists of: the next request, and when it is due. In go the arguments, out come requests. Keys are
//! drawn from a generator with a fixed seed, so that two runs send the same.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    operation::{KeyRange, Put, Range, Request, Txn},
    probe::arguments::bench::{BenchArguments, Load},
    types::Blob,
};

/// Sent if nothing is said: as many as etcd's own tool sends.
const TOTAL: u64 = 10_000;
const SEED: u64 = 1;

/// A load.
#[derive(Clone, Debug)]
pub struct Plan {
    arguments: BenchArguments,
    value: Blob,
    /// How many send at once.
    pub clients: usize,
    /// Streams that are told of writes.
    pub watchers: usize,
    /// How long watchers may take to be told the last event.
    pub patience: Duration,
}

/// One request to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which key.
    pub key: u64,
    /// When it is due, from the beginning; none as soon as a client is free.
    pub due: Option<Duration>,
}

/// Hands out turns, up to the load's end.
#[derive(Debug)]
pub struct Turns {
    next: u64,
    total: u64,
    duration: Option<Duration>,
    rate: f64,
    keys: u64,
    sequential: bool,
    generator: StdRng,
}

impl Plan {
    /// The load that the arguments say.
    pub fn new(arguments: &BenchArguments, patience: Duration) -> Self {
        let watchers = if arguments.load == Load::Watch { arguments.watchers as usize } else { 0 };
        let value = Blob::from("v".repeat(arguments.val_size));
        let clients = arguments.clients as usize;
        Self { arguments: arguments.clone(), value, clients, watchers, patience }
    }

    /// All keys that may be written.
    pub fn keys(&self) -> KeyRange {
        KeyRange::prefix(Blob::from(self.arguments.prefix.as_str()))
    }

    /// The request of a turn, sent `now` after the moment that watchers count from.
    pub fn request(&self, turn: &Turn, now: Duration) -> Request {
        let arguments = &self.arguments;
        match arguments.load {
            Load::Put => Request::Put(self.put(turn.key)),
            Load::Watch => Request::Put(Put { value: self.stamped(now), ..self.put(turn.key) }),
            Load::Range => Request::Range(self.range(turn.key)),
            Load::Txn => {
                let keys =
                    |count: usize| (0..count as u64).map(|more| (turn.key + more) % arguments.key_space_size);
                // etcd refuses a transaction that puts a key twice.
                let puts =
                    arguments.txn_puts.min(usize::try_from(arguments.key_space_size).unwrap_or(usize::MAX));
                let puts = keys(puts).map(|key| Request::Put(self.put(key)));
                let ranges = keys(arguments.txn_ranges).map(|key| Request::Range(self.range(key)));
                Request::Txn(Txn { success: puts.chain(ranges).collect(), ..Txn::default() })
            }
        }
    }

    fn put(&self, key: u64) -> Put {
        Put { key: self.key(key), value: self.value.clone(), ..Put::default() }
    }

    fn range(&self, key: u64) -> Range {
        let keys = match self.arguments.limit {
            1 => KeyRange::single(self.key(key)),
            _ => KeyRange { key: self.key(key), range_end: self.keys().range_end },
        };
        let (limit, serializable) = (self.arguments.limit, self.arguments.serializable);
        Range { keys, limit, serializable, ..Range::default() }
    }

    /// The prefix and the number, filled with zeros to the size.
    fn key(&self, number: u64) -> Blob {
        let BenchArguments { prefix, key_size, .. } = &self.arguments;
        let digits = key_size.saturating_sub(prefix.len()).max(1);
        Blob::from(format!("{prefix}{number:0digits$}"))
    }

    /// A value that says when it was sent, as long as the others if they are long enough for that.
    fn stamped(&self, now: Duration) -> Blob {
        let stamp = now.as_nanos();
        Blob::from(format!(
            "{stamp}{}",
            "v".repeat(self.arguments.val_size.saturating_sub(stamp.to_string().len()))
        ))
    }
}

/// When a value was sent, by what [`Plan::request`] put into it.
pub fn sent_at(value: &[u8]) -> Option<Duration> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let nanoseconds = std::str::from_utf8(&value[..digits]).ok()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

impl Turns {
    /// The turns of a plan.
    pub fn new(plan: &Plan) -> Self {
        let arguments = &plan.arguments;
        let unbounded = if arguments.duration.is_some() { u64::MAX } else { TOTAL };
        Self {
            next: 0,
            total: arguments.total.unwrap_or(unbounded),
            duration: arguments.duration,
            rate: arguments.rate,
            keys: arguments.key_space_size,
            sequential: arguments.sequential_keys,
            generator: StdRng::seed_from_u64(SEED),
        }
    }

    /// The next turn, `now` after the beginning; none at the end.
    #[expect(clippy::cast_precision_loss, reason = "a schedule of 2^53 requests takes years")]
    pub fn next(&mut self, now: Duration) -> Option<Turn> {
        let number = self.next;
        let due = (self.rate > 0.0).then(|| Duration::from_secs_f64(number as f64 / self.rate));
        let is_late = |at: Duration| self.duration.is_some_and(|duration| at >= duration);
        // What was due before the end is sent, however late: else the end would hide a backlog.
        if number >= self.total || is_late(due.unwrap_or(now)) {
            return None;
        }
        self.next += 1;
        let key = if self.sequential { number % self.keys } else { self.generator.gen_range(0..self.keys) };
        Some(Turn { key, due })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::probe::arguments::{Arguments, Command};

    fn plan(words: &[&str]) -> Plan {
        let words = ["etcd-probe", "bench"].iter().chain(words);
        let Command::Bench(arguments) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        Plan::new(&arguments, Duration::ZERO)
    }

    fn turns(words: &[&str], now: Duration) -> Vec<Turn> {
        let mut turns = Turns::new(&plan(words));
        std::iter::from_fn(|| turns.next(now)).take(20_000).collect()
    }

    #[test]
    fn turns_end_by_number_or_by_time() {
        assert_eq!(turns(&["put"], Duration::ZERO).len(), 10_000);
        assert_eq!(turns(&["put", "--total=7"], Duration::ZERO).len(), 7);
        assert_eq!(turns(&["put", "--for=1s"], Duration::from_secs(1)).len(), 0);
        // What was due in that time is sent, even if it is over.
        let due = turns(&["put", "--for=1s", "--rate=100"], Duration::from_secs(9));
        assert_eq!((due.len(), due[1].due), (100, Some(Duration::from_millis(10))));
    }

    #[test]
    fn requests_have_the_sizes_and_keys_that_were_asked_for() {
        let plan = plan(&["txn", "--txn-puts=3", "--txn-ranges=1", "--key-space-size=2", "--val-size=20"]);
        let Request::Txn(txn) = plan.request(&Turn { key: 1, due: None }, Duration::ZERO) else { panic!() };
        let [Request::Put(one), Request::Put(other), Request::Range(range)] = &txn.success[..] else {
            panic!("{txn:?}")
        };
        assert_eq!((one.key.as_slice(), other.key.as_slice()), (&b"b0000001"[..], &b"b0000000"[..]));
        assert_eq!((one.value.as_slice().len(), range.keys.range_end.clone()), (20, None));
        let sequential =
            turns(&["put", "--sequential-keys", "--key-space-size=3", "--total=4"], Duration::ZERO);
        assert_eq!(sequential.iter().map(|turn| turn.key).collect::<Vec<_>>(), [0, 1, 2, 0]);
    }

    #[test]
    fn a_stamped_value_says_when_it_was_sent() {
        let plan = plan(&["watch", "--val-size=30"]);
        let Request::Put(put) = plan.request(&Turn { key: 0, due: None }, Duration::from_nanos(1234)) else {
            panic!()
        };
        assert_eq!(
            (put.value.as_slice().len(), sent_at(put.value.as_slice())),
            (30, Some(Duration::from_nanos(1234)))
        );
        assert_eq!(sent_at(b"v"), None);
    }
}
