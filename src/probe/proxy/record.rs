//! The history of what clients asked through the proxy and were told, in the project's own format, so that
//! `etcd-lab check` judges it. In go the messages of calls, out come records, which whoever passes the messages on has to
//! flush before: many at a time, where many come at a time. It judges nothing. Services that histories have no words for (users, members, alarms) are left out.

mod call;

use std::{
    borrow::Cow,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

pub use self::call::{Missing, Recorded};
use crate::{
    clock,
    history::{
        HistoryError,
        counters::Counters,
        record::{Call, End, Receive, Record, Return, Send},
        writer::Writer,
    },
    operation::{
        Failure, Outcome, Request,
        stream::{Received, Sent},
    },
    types::{ConnectionId, OperationId, ProcessId, StreamId},
};

/// What the history's first line names as the program.
const COMMAND: &str = "etcd-probe-proxy";

/// The history can't be written, so nothing may go on.
#[derive(Debug)]
pub struct StopRecording;

/// A history that is being recorded.
#[derive(Debug)]
pub struct Recording {
    writer: Mutex<Writer>,
    counters: Counters,
    next_operation: AtomicU64,
    next_stream: AtomicU64,
    failure: Mutex<Option<HistoryError>>,
    failed: Notify,
}

impl Recording {
    /// Starts a history in this folder, which is made if it is not there.
    pub fn create(folder: &Path) -> Result<Self, HistoryError> {
        Ok(Self {
            writer: Mutex::new(Writer::create(folder, COMMAND)?),
            counters: Counters::open(folder)?,
            next_operation: AtomicU64::new(1),
            next_stream: AtomicU64::new(1),
            failure: Mutex::default(),
            failed: Notify::new(),
        })
    }

    /// Ends, with the reason, once something could not be written.
    pub async fn failed(&self) -> HistoryError {
        loop {
            let failed = self.failed.notified();
            if let Some(error) = lock(&self.failure).take() {
                return error;
            }
            failed.await;
        }
    }

    fn call(
        &self,
        process: ProcessId,
        member: &str,
        request: &Request,
    ) -> Result<OperationId, StopRecording> {
        let operation = OperationId(self.next_operation.fetch_add(1, Ordering::Relaxed));
        let (time, member) = (clock::monotonic_now(), Cow::Borrowed(member));
        let request = Cow::Borrowed(request);
        self.push(&Record::Call(Call { operation, process, time, member, user: None, request }))?;
        Ok(operation)
    }

    fn returned(
        &self,
        operation: OperationId,
        connection: Option<ConnectionId>,
        outcome: &Outcome,
    ) -> Result<(), StopRecording> {
        let (time, outcome) = (clock::monotonic_now(), Cow::Borrowed(outcome));
        self.push(&Record::Return(Return { operation, time, connection, outcome }))
    }

    fn stream(&self) -> StreamId {
        StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    fn send(
        &self,
        stream: StreamId,
        process: ProcessId,
        member: &str,
        message: &Sent,
    ) -> Result<(), StopRecording> {
        let (time, member) = (clock::monotonic_now(), Cow::Borrowed(member));
        let message = Cow::Borrowed(message);
        self.push(&Record::Send(Send { stream, process, time, member, user: None, message }))
    }

    fn receive(&self, stream: StreamId, message: &Received) -> Result<(), StopRecording> {
        let (time, message) = (clock::monotonic_now(), Cow::Borrowed(message));
        self.push(&Record::Receive(Receive { stream, time, message }))
    }

    fn end(&self, stream: StreamId, failure: Option<&Failure>) -> Result<(), StopRecording> {
        let (time, failure) = (clock::monotonic_now(), failure.map(Cow::Borrowed));
        self.push(&Record::End(End { stream, time, failure }))
    }

    fn push(&self, record: &Record<'_>) -> Result<(), StopRecording> {
        let pushed = lock(&self.writer).push(record);
        pushed.map_err(|error| self.fail(error))
    }

    /// Writes what was recorded; what it tells of may go on then.
    pub fn flush(&self) -> Result<(), StopRecording> {
        let written = lock(&self.writer).flush();
        written.map_err(|error| self.fail(error))
    }

    fn fail(&self, error: HistoryError) -> StopRecording {
        lock(&self.failure).get_or_insert(error);
        self.failed.notify_one();
        StopRecording
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The logical processes of one connection: as many as it ever had calls under way at once, and one more for each
/// outcome that nobody knows.
#[derive(Debug)]
pub struct Lanes {
    recording: Arc<Recording>,
    /// The connection, as records name it.
    connection: ConnectionId,
    member: String,
    free: Mutex<Vec<ProcessId>>,
}

impl Lanes {
    /// Of a connection to this member.
    pub fn new(recording: &Arc<Recording>, connection: ConnectionId, member: &str) -> Arc<Self> {
        Arc::new(Self {
            recording: Arc::clone(recording),
            connection,
            member: member.to_owned(),
            free: Mutex::default(),
        })
    }

    fn take(&self) -> Result<ProcessId, StopRecording> {
        if let Some(process) = lock(&self.free).pop() {
            return Ok(process);
        }
        self.recording.counters.allocate_process().map_err(|error| self.recording.fail(error))
    }

    fn call(self: &Arc<Self>, request: Request) -> Result<UnderWay, StopRecording> {
        let process = self.take()?;
        let operation = self.recording.call(process, &self.member, &request)?;
        Ok(UnderWay { lanes: Arc::clone(self), process, operation, request })
    }
}

/// A call without a return.
struct UnderWay {
    lanes: Arc<Lanes>,
    process: ProcessId,
    operation: OperationId,
    request: Request,
}

impl UnderWay {
    fn returns(self, outcome: &Outcome) -> Result<(), StopRecording> {
        let Self { lanes, process, operation, .. } = self;
        let connection = outcome.response().map(|_| lanes.connection);
        lanes.recording.returned(operation, connection, outcome)?;
        if !matches!(outcome, Outcome::Unknown(_)) {
            lock(&lanes.free).push(process);
        }
        Ok(())
    }
}
