//! A rule: which calls it is about, how often it strikes, and what it does then. Plain data, with the count of how often
//! it has had the occasion; whether it strikes is decided by that count and the seed alone.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use h2::Reason;
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use tonic::{
    Code,
    codegen::http::{HeaderName, HeaderValue},
};

use super::{
    edit::{Edit, Literal},
    path::Path,
};
use crate::probe::proxy::methods::Methods;

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its place among the rules, from 1.
    pub number: usize,
    /// Calls of these methods.
    pub methods: Methods,
    /// At these members alone.
    pub members: Option<Vec<String>>,
    /// All of these have to hold.
    pub conditions: Vec<Condition>,
    /// How often.
    pub frequency: Frequency,
    /// What is done before the request goes on.
    pub before: Vec<Before>,
    /// What is done when the answer has come.
    pub after: Vec<After>,
    /// How often it had the occasion, and took it.
    pub counts: Mutex<Counts>,
}

/// How often a rule had the occasion, and took it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// The occasion.
    pub seen: u64,
    /// Took it.
    pub struck: u64,
}

/// Something that the fields of a message have to be.
#[derive(Debug)]
pub struct Condition {
    /// Of the answer, not the request.
    pub of_answer: bool,
    /// Which fields; one that is so is enough.
    pub path: Path,
    /// How they relate to the value.
    pub test: Test,
    /// The value.
    pub literal: Literal,
}

/// How a field relates to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `>`
    Greater,
    /// Begins with it.
    Starts,
}

/// On which occasions a rule strikes.
#[derive(Clone, Copy, Debug)]
pub struct Frequency {
    /// Not on so many at first.
    pub after: u64,
    /// Then on every so many.
    pub every: u64,
    /// With this probability.
    pub chance: f64,
    /// At most so often.
    pub times: u64,
}

impl Default for Frequency {
    fn default() -> Self {
        Self { after: 0, every: 1, chance: 1.0, times: u64::MAX }
    }
}

/// A time, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// At least.
    pub from: Duration,
    /// At most.
    pub to: Duration,
}

/// What is done before the request goes on.
#[derive(Clone, Debug)]
pub enum Before {
    /// It waits.
    Delay(Span),
    /// It says something else.
    Ask(Edit),
    /// It does not go on.
    End(End),
    /// New calls are to go elsewhere.
    GoAway,
    /// It does not go on, and is answered as if it had been done.
    Pretend,
    /// It is read at a revision so many before the newest.
    Stale(i64),
    /// It is answered as the same request was answered before.
    Replay,
    /// The answer's head has this.
    Header(HeaderName, HeaderValue),
}

/// What is done when an answer, or a message of one, has come.
#[derive(Clone, Debug)]
pub enum After {
    /// It waits.
    Delay(Span),
    /// It says something else.
    Edit(Edit),
    /// The client does not get it.
    End(End),
    /// So many of its last bytes are missing.
    Truncate(usize),
    /// So many of its bits are turned over.
    Corrupt(u32),
    /// So many of its last bytes are announced and don't come.
    CutOff(usize),
    /// It is left out.
    Drop,
    /// It comes so many times more.
    Repeat(u32),
    /// It comes after the next one.
    Swap,
    /// Its events come with the next one's.
    Merge,
    /// Each of its events comes alone.
    Split,
}

/// How a call ends for the client.
#[derive(Clone, Debug)]
pub enum End {
    /// With this status.
    Fail(Code, String),
    /// Not at all.
    Hang,
    /// The stream is reset.
    Reset(Reason),
    /// The connection ends.
    Close,
    /// The stream ends without a status.
    HalfClose,
}

impl Rule {
    /// Whether it is about calls of this path at this member.
    pub fn is_about(&self, member: &str, path: &str) -> bool {
        self.methods.contain(path)
            && self.members.as_ref().is_none_or(|members| members.iter().any(|name| name == member))
    }

    /// Whether its conditions hold; those of an answer don't where there is none yet.
    pub fn holds(&self, request: Option<&DynamicMessage>, answer: Option<&DynamicMessage>) -> bool {
        self.conditions.iter().all(|condition| {
            let message = if condition.of_answer { answer } else { request };
            message.is_some_and(|message| condition.holds(message))
        })
    }

    /// How often it had the occasion, and took it.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of this occasion if it strikes now; to be asked once on each.
    pub fn strikes(&self, seed: u64) -> Option<u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Frequency { after, every, chance, times } = self.frequency;
        let occasion = counts.seen;
        counts.seen += 1;
        let turn = occasion.checked_sub(after).is_some_and(|since| (since + 1).is_multiple_of(every));
        let strikes = turn && counts.struck < times && share(self.draw(seed, occasion, 0)) < chance;
        counts.struck += u64::from(strikes);
        strikes.then_some(occasion)
    }

    /// A number for this occasion that looks random.
    pub fn draw(&self, seed: u64, occasion: u64, which: u64) -> u64 {
        let rule = (self.number as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed(mixed(seed ^ rule).wrapping_add(occasion) ^ which.wrapping_mul(0xa076_1d64_78bd_642f))
    }
}

/// A number of 0 up to, not including, 1.
fn share(draw: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let share = (draw >> 11) as f64 / (1u64 << 53) as f64;
    share
}

/// Spreads the bits of a number over all of it.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Condition {
    fn holds(&self, message: &DynamicMessage) -> bool {
        let Some(kind) = self.path.field(&message.descriptor()).map(|field| field.kind()) else {
            return false;
        };
        let Some(wanted) = self.literal.value(&kind) else { return false };
        self.path.values(message).iter().any(|value| self.test.holds(value, &wanted))
    }
}

impl Test {
    fn holds(self, value: &Value, wanted: &Value) -> bool {
        if self == Self::Starts {
            return match (value, wanted) {
                (Value::Bytes(value), Value::Bytes(wanted)) => value.starts_with(wanted),
                (Value::String(value), Value::String(wanted)) => value.starts_with(wanted),
                _ => false,
            };
        }
        let order = match (value, wanted) {
            (Value::Bytes(value), Value::Bytes(wanted)) => value.cmp(wanted),
            (Value::String(value), Value::String(wanted)) => value.cmp(wanted),
            (Value::Bool(value), Value::Bool(wanted)) => value.cmp(wanted),
            _ => match (integer(value), integer(wanted)) {
                (Some(value), Some(wanted)) => value.cmp(&wanted),
                _ => return false,
            },
        };
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::Greater => order.is_gt(),
            Self::Starts => false,
        }
    }
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::I64(number) => Some((*number).into()),
        Value::U64(number) => Some((*number).into()),
        Value::I32(number) | Value::EnumNumber(number) => Some((*number).into()),
        Value::U32(number) => Some((*number).into()),
        _ => None,
    }
}

impl Span {
    /// A time within it, by a drawn number.
    pub fn at(self, draw: u64) -> Duration {
        let width = self.to.saturating_sub(self.from);
        self.from + width.mul_f64(share(draw))
    }
}
