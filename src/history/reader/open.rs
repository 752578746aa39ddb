//! What of a history's file is still open while it is read: calls that have not returned, and streams. In go the
//! numbers of records in order, out come the positions of what they belong to, or what is wrong. Memory grows with
//! the records, whatever their numbers.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use crate::types::{Name, OperationId, StreamId};

/// Calls that have not returned, each with its position.
#[derive(Default)]
pub(super) struct Open {
    /// By number, since recorders count operations from 1.
    dense: Vec<u32>,
    /// Operations whose numbers are out of proportion.
    sparse: HashMap<OperationId, u32>,
    calls: u32,
}

/// It is not open.
const CLOSED: u32 = u32::MAX;

/// So many times as many numbers as there are calls, and so many more, are looked up by number.
const PROPORTION: usize = 4;

impl Open {
    /// The position of a call, counted from 0.
    pub fn call(&mut self, operation: OperationId) -> Result<usize, String> {
        if self.take(operation).is_some() {
            return Err(format!("operation {operation} is called twice"));
        }
        let position = self.calls;
        if position == CLOSED {
            return Err("a file has at most 4294967295 operations".to_owned());
        }
        self.calls += 1;
        let most = (position as usize).saturating_add(64).saturating_mul(PROPORTION);
        match usize::try_from(operation.0).ok().filter(|number| *number < most) {
            Some(number) => {
                self.dense.resize(self.dense.len().max(number + 1), CLOSED);
                self.dense[number] = position;
            }
            None => drop(self.sparse.insert(operation, position)),
        }
        Ok(position as usize)
    }

    /// The position of the call that returns.
    pub fn returned(&mut self, operation: OperationId) -> Result<usize, String> {
        let position = self.take(operation);
        position.ok_or_else(|| format!("operation {operation} returns without a call"))
    }

    /// How many calls have not returned.
    pub fn count(&self) -> usize {
        self.sparse.len() + self.dense.iter().filter(|position| **position != CLOSED).count()
    }

    fn take(&mut self, operation: OperationId) -> Option<usize> {
        let place = usize::try_from(operation.0).ok().and_then(|number| self.dense.get_mut(number));
        let position = place.map_or(CLOSED, |place| mem::replace(place, CLOSED));
        if position != CLOSED {
            return Some(position as usize);
        }
        if self.sparse.is_empty() { None } else { self.sparse.remove(&operation).map(|it| it as usize) }
    }
}

/// Where the streams of a file are, and whether they are still open.
#[derive(Default)]
pub(super) struct Streams(HashMap<StreamId, (usize, bool)>);

impl Streams {
    /// The position of the stream; `next` if this is its first message.
    pub fn sent(&mut self, stream: StreamId, next: usize) -> Result<usize, String> {
        self.0.entry(stream).or_insert((next, true));
        self.open(stream)
    }

    pub fn open(&self, stream: StreamId) -> Result<usize, String> {
        match self.0.get(&stream) {
            Some((position, true)) => Ok(*position),
            Some((_, false)) => Err(format!("stream {stream} goes on after its end")),
            None => Err(format!("stream {stream} answers before anything was sent")),
        }
    }

    pub fn ended(&mut self, stream: StreamId) -> Result<usize, String> {
        let position = self.open(stream)?;
        self.0.insert(stream, (position, false));
        Ok(position)
    }
}

/// Names that many operations share.
#[derive(Default)]
pub(super) struct Names(HashSet<Name>);

impl Names {
    pub fn shared(&mut self, name: &str) -> Name {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let new = Name::from(name);
        self.0.insert(new.clone());
        new
    }
}
