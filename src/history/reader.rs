//! Reads history files back: calls joined with their returns, in order of call, and streams with their
//! messages. A torn last line is what a killed
//! program leaves and is dropped; any other line that is no record is an error that names file and line.

pub(super) mod lines;
mod open;

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{BufRead, BufReader},
    ops::AddAssign,
    path::{Path, PathBuf},
};

use self::{
    lines::{WrongLine, each_line},
    open::{Names, Open, Streams},
};
use super::{
    HistoryError, plain,
    record::{FORMAT_VERSION, OLDEST_VERSION, Preamble, Record},
};
use crate::{
    memory::keep_freed,
    operation::{
        Failure, Outcome, Request, Response,
        stream::{Received, Sent},
    },
    types::{ConnectionId, Monotonic, Name, OperationId, ProcessId, StreamId},
};

/// As much of a file is read at once.
pub(super) const BUFFER_BYTES: usize = 1 << 18;

/// What one program recorded.
#[derive(Clone, Debug)]
pub struct History {
    /// Where it was read.
    pub path: PathBuf,
    /// Who recorded it.
    pub preamble: Preamble,
    /// In order of call.
    pub operations: Vec<Operation>,
    /// In order of their first message.
    pub streams: Vec<Stream>,
}

/// A stream with all its messages.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Unique in its file.
    pub id: StreamId,
    /// The logical process that owned it.
    pub process: ProcessId,
    /// The member asked.
    pub member: Name,
    /// The user that it is of, if any.
    pub user: Option<Name>,
    /// Both ways, in order; at least one.
    pub messages: Vec<(Monotonic, Message)>,
    /// When it was over, and by which failure unless the client closed it; none if the program ended before.
    pub ended: Option<(Monotonic, Option<Failure>)>,
}

/// A message on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// To the member.
    Sent(Sent),
    /// From the member.
    Received(Received),
}

/// A call with its return, if there is one.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Unique in its file.
    pub id: OperationId,
    /// The logical process that waited for it.
    pub process: ProcessId,
    /// The member asked.
    pub member: Name,
    /// The user that it was asked as, if any.
    pub user: Option<Name>,
    /// When it was called.
    pub call: Monotonic,
    /// What was asked.
    pub request: Request,
    /// When it returned, and with what; none if the program ended before.
    pub returned: Option<(Monotonic, Outcome)>,
    /// The connection of its answer, if that was recorded: unique in its file.
    pub connection: Option<ConnectionId>,
}

impl Operation {
    /// The answer, if there was one.
    pub fn response(&self) -> Option<&Response> {
        self.returned.as_ref().and_then(|(_, outcome)| outcome.response())
    }

    /// Whether it certainly had no effect.
    pub fn did_not_happen(&self) -> bool {
        matches!(self.returned, Some((_, Outcome::DidNotHappen(_))))
    }
}

/// All histories of a folder, ordered by their start. Files that hold no whole first line are left out: their
/// program ended before it asked anything.
pub fn read_folder(folder: &Path) -> Result<Vec<History>, HistoryError> {
    let entries = fs::read_dir(folder).map_err(HistoryError::io("read the folder", folder))?;
    let mut histories = vec![];
    for entry in entries {
        let path = entry.map_err(HistoryError::io("read the folder", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            histories.extend(read_file(&path)?);
        }
    }
    histories.sort_by_key(|history| (history.preamble.start, history.path.clone()));
    refuse_two_boots(&histories)?;
    Ok(histories)
}

fn refuse_two_boots(histories: &[History]) -> Result<(), HistoryError> {
    let mut boots = histories.iter();
    let Some(first) = boots.next() else { return Ok(()) };
    match boots.find(|other| other.preamble.boot_id != first.preamble.boot_id) {
        Some(other) => Err(HistoryError::TwoBoots { path: first.path.clone(), other: other.path.clone() }),
        None => Ok(()),
    }
}

/// One history; none if not even its first line is whole.
pub fn read_file(path: &Path) -> Result<Option<History>, HistoryError> {
    // What reading has done with serves to check what was read.
    keep_freed();
    let file = File::open(path).map_err(HistoryError::io("read", path))?;
    read_lines(path, BufReader::with_capacity(BUFFER_BYTES, file))
}

/// The same from wherever the lines come; errors name `path`.
pub fn read_lines(path: &Path, lines: impl BufRead) -> Result<Option<History>, HistoryError> {
    let mut history: Option<History> = None;
    let (mut open, mut streams, mut names) = (Open::default(), Streams::default(), Names::default());
    each_record(path, lines, |record| {
        match (record, &mut history) {
            (Record::History(preamble), _) => {
                history =
                    Some(History { path: path.to_owned(), preamble, operations: vec![], streams: vec![] });
            }
            (Record::Call(call), Some(history)) => {
                open.call(call.operation)?;
                history.operations.push(Operation {
                    id: call.operation,
                    process: call.process,
                    member: names.shared(&call.member),
                    user: call.user.map(|user| names.shared(&user)),
                    call: call.time,
                    request: call.request.into_owned(),
                    returned: None,
                    connection: None,
                });
            }
            (Record::Return(returned), Some(history)) => {
                let operation = &mut history.operations[open.returned(returned.operation)?];
                operation.returned = Some((returned.time, returned.outcome.into_owned()));
                operation.connection = returned.connection;
            }
            (Record::Send(sent), Some(history)) => {
                let position = streams.sent(sent.stream, history.streams.len())?;
                if position == history.streams.len() {
                    history.streams.push(Stream {
                        id: sent.stream,
                        process: sent.process,
                        member: names.shared(&sent.member),
                        user: sent.user.map(|user| names.shared(&user)),
                        messages: vec![],
                        ended: None,
                    });
                }
                let message = Message::Sent(sent.message.into_owned());
                history.streams[position].messages.push((sent.time, message));
            }
            (Record::Receive(received), Some(history)) => {
                let message = Message::Received(received.message.into_owned());
                let position = streams.open(received.stream)?;
                history.streams[position].messages.push((received.time, message));
            }
            (Record::End(end), Some(history)) => {
                let position = streams.ended(end.stream)?;
                history.streams[position].ended = Some((end.time, end.failure.map(Cow::into_owned)));
            }
            (_, None) => {}
        }
        Ok(())
    })?;
    Ok(history)
}

/// How many operations of each sort a history has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered.
    pub ok: u64,
    /// Refused before anything happened.
    pub did_not_happen: u64,
    /// Without an answer, those included whose program ended first.
    pub unknown: u64,
}

impl Counts {
    /// All operations.
    pub fn all(self) -> u64 {
        self.ok + self.did_not_happen + self.unknown
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.ok += other.ok;
        self.did_not_happen += other.did_not_happen;
        self.unknown += other.unknown;
    }
}

/// Reads a file to its end without keeping it: its counts, or what is wrong with it.
pub fn count_file(path: &Path) -> Result<Counts, HistoryError> {
    let file = File::open(path).map_err(HistoryError::io("read", path))?;
    let (mut counts, mut open, mut streams) = (Counts::default(), Open::default(), Streams::default());
    each_record(path, BufReader::with_capacity(BUFFER_BYTES, file), |record| {
        match record {
            Record::History(_) => {}
            Record::Send(sent) => streams.sent(sent.stream, 0).map(|_| ())?,
            Record::Receive(received) => streams.open(received.stream).map(|_| ())?,
            Record::End(end) => streams.ended(end.stream).map(|_| ())?,
            Record::Call(call) => open.call(call.operation).map(|_| ())?,
            Record::Return(returned) => {
                open.returned(returned.operation)?;
                match *returned.outcome {
                    Outcome::Ok(_) => counts.ok += 1,
                    Outcome::DidNotHappen(_) => counts.did_not_happen += 1,
                    Outcome::Unknown(_) => counts.unknown += 1,
                }
            }
        }
        Ok(())
    })?;
    counts.unknown += open.count() as u64;
    Ok(counts)
}

/// A line's record.
fn parse(line: &[u8]) -> Result<Record<'_>, serde_json::Error> {
    let Ok(text) = str::from_utf8(line) else { return serde_json::from_slice(line) };
    match plain::record(text) {
        Some(record) => {
            debug_assert_eq!(serde_json::from_str::<Record<'_>>(text).ok(), Some(record.clone()));
            Ok(record)
        }
        None => serde_json::from_str(text),
    }
}

/// Hands on each record of the file's whole lines, in order: the preamble first, and no other.
fn each_record(
    path: &Path,
    lines: impl BufRead,
    mut on_record: impl FnMut(Record<'_>) -> Result<(), String>,
) -> Result<(), HistoryError> {
    let mut begun = false;
    each_line(path, lines, |line| {
        let record = parse(line)?;
        match (&record, begun) {
            (Record::History(preamble), _)
                if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&preamble.format_version) =>
            {
                return Err(WrongLine::Version(preamble.format_version));
            }
            (Record::History(_), true) => {
                return Err("only the first line tells who recorded".to_owned().into());
            }
            (_, false) if !matches!(record, Record::History(_)) => {
                return Err("the first line must tell who recorded".to_owned().into());
            }
            _ => begun = true,
        }
        Ok(on_record(record)?)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::{
        history::{
            record::{Call, Return},
            writer::Writer,
        },
        operation::{Answer, Failure, Header, Put},
    };

    fn call(operation: u64, request: &Request) -> Record<'_> {
        Record::Call(Call {
            operation: OperationId(operation),
            process: ProcessId(3),
            time: Monotonic(operation * 10),
            member: "etcd0".into(),
            user: None,
            request: Cow::Borrowed(request),
        })
    }

    fn write_three(folder: &Path) -> PathBuf {
        let mut writer = Writer::create(folder, "test").unwrap();
        let put = Request::Put(Put { key: "k".into(), value: "v".into(), ..Put::default() });
        let outcomes = [
            Outcome::Ok(crate::operation::Response {
                header: Header::default(),
                answer: Answer::Put { prev_kv: None },
            }),
            Outcome::Unknown(Failure { code: "unavailable".into(), message: "x".into() }),
        ];
        for (operation, outcome) in (1..).zip(&outcomes) {
            writer.write(&call(operation, &put)).unwrap();
            let outcome = Cow::Borrowed(outcome);
            let returned = Return {
                operation: OperationId(operation),
                time: Monotonic(operation * 10 + 5),
                connection: None,
                outcome,
            };
            writer.write(&Record::Return(returned)).unwrap();
        }
        writer.write(&call(3, &put)).unwrap();
        fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    /// What was written is read; a call without return has an open end.
    #[test]
    fn histories_survive_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        write_three(folder.path());
        let histories = read_folder(folder.path()).unwrap();
        let operations = &histories[0].operations;
        assert_eq!(operations.len(), 3);
        assert!(operations[0].response().is_some() && operations[2].returned.is_none());
        assert!(matches!(operations[1].returned, Some((Monotonic(25), Outcome::Unknown(_)))));
        let counts = count_file(&histories[0].path).unwrap();
        assert_eq!((counts.ok, counts.did_not_happen, counts.unknown), (1, 0, 2));
    }

    /// Cut at any byte, a file still reads, and gives no more than its whole lines.
    #[test]
    fn a_torn_last_line_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = write_three(folder.path());
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            let read = read_lines(&path, Cursor::new(&whole[..end])).unwrap();
            let lines = whole[..end].split(|byte| *byte == b'\n').count() - 1;
            assert_eq!(read.map_or(0, |history| history.operations.len()), lines / 2);
        }
    }

    /// A damaged line in the middle is an error that names the line.
    #[test]
    fn a_damaged_line_is_named() {
        let read = |text: &str| {
            let preamble = r#"{"history":{"format_version":1,"boot_id":"b","command":"c","host":"h","pid":1,"start":1,"start_unix_ns":1}}"#;
            read_lines(Path::new("h.jsonl"), Cursor::new(format!("{preamble}\n{text}\n")))
                .unwrap_err()
                .to_string()
        };
        assert!(read("{\"call\":").starts_with("h.jsonl:2 is no record"));
        assert!(
            read(r#"{"return":{"operation":9,"time":1,"outcome":{"unknown":{"code":"","message":""}}}}"#)
                .contains("without a call")
        );
        let other = read_lines(
            Path::new("h.jsonl"),
            Cursor::new(
                "{\"history\":{\"format_version\":9,\"boot_id\":\"b\",\"command\":\"c\",\"host\":\"h\",\"pid\":1,\"start\":1,\"start_unix_ns\":1}}\n",
            ),
        );
        assert!(matches!(other, Err(HistoryError::Version { found: 9, .. })));
    }

    /// A million operations are to be read and checked in 400 MB: what is rare is boxed.
    #[test]
    fn operations_are_small() {
        assert!(size_of::<Operation>() <= 232 && size_of::<crate::operation::KeyValue>() <= 80);
    }
}
