//! The only door from the drivers to the client: stamps call and return of each operation and writes both to the
//! history, the call before the request leaves, the return before the answer is used; likewise the messages of
//! streams. It judges nothing.

pub mod stream;

use std::{
    borrow::Cow,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    client::Client,
    clock,
    history::{
        HistoryError,
        record::{Call, Record, Return},
        writer::Writer,
    },
    operation::{Outcome, Request},
    types::{ConnectionId, OperationId, ProcessId},
};

/// Records what one program asks of the members.
#[derive(Debug)]
pub struct Recorder {
    writer: Mutex<Writer>,
    next_operation: AtomicU64,
    next_stream: AtomicU64,
}

impl Recorder {
    /// Starts a history file of this command in the folder.
    pub fn create(folder: &Path, command: &str) -> Result<Self, HistoryError> {
        Ok(Self {
            writer: Mutex::new(Writer::create(folder, command)?),
            next_operation: AtomicU64::new(1),
            next_stream: AtomicU64::new(1),
        })
    }

    /// Performs one operation of a process on a member. The connection is known if an answer came.
    ///
    /// # Errors
    /// If the history can't be written. Then a request whose call was not recorded has not left, and an answer
    /// whose return was not recorded must not be used.
    pub async fn perform(
        &self,
        process: ProcessId,
        client: &Client,
        request: &Request,
    ) -> Result<(Outcome, Option<ConnectionId>), HistoryError> {
        let operation = OperationId(self.next_operation.fetch_add(1, Ordering::Relaxed));
        let time = clock::monotonic_now();
        let member = Cow::Borrowed(client.endpoint().name.as_str());
        self.write(&Record::Call(Call {
            operation,
            process,
            time,
            member,
            user: client.user().map(Cow::Borrowed),
            request: Cow::Borrowed(request),
        }))?;
        let (outcome, connection) = client.perform(request).await;
        let time = clock::monotonic_now();
        self.write(&Record::Return(Return {
            operation,
            time,
            connection,
            outcome: Cow::Borrowed(&outcome),
        }))?;
        Ok((outcome, connection))
    }

    fn write(&self, record: &Record<'_>) -> Result<(), HistoryError> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).write(record)
    }
}
