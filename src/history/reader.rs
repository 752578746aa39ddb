//! Reads history files back: calls joined with their returns, in order of call. A torn last line is what a killed
//! program leaves and is dropped; any other line that is no record is an error that names file and line.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    ops::AddAssign,
    path::{Path, PathBuf},
};

use super::{
    HistoryError,
    record::{FORMAT_VERSION, Preamble, Record},
};
use crate::{
    operation::{Outcome, Request, Response},
    types::{Monotonic, OperationId, ProcessId},
};

/// What one program recorded.
#[derive(Clone, Debug)]
pub struct History {
    /// Where it was read.
    pub path: PathBuf,
    /// Who recorded it.
    pub preamble: Preamble,
    /// In order of call.
    pub operations: Vec<Operation>,
}

/// A call with its return, if there is one.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Unique in its file.
    pub id: OperationId,
    /// The logical process that waited for it.
    pub process: ProcessId,
    /// The member asked.
    pub member: String,
    /// When it was called.
    pub call: Monotonic,
    /// What was asked.
    pub request: Request,
    /// When it returned, and with what; none if the program ended before.
    pub returned: Option<(Monotonic, Outcome)>,
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
    let file = File::open(path).map_err(HistoryError::io("read", path))?;
    read_lines(path, BufReader::with_capacity(1 << 16, file))
}

fn read_lines(path: &Path, lines: impl BufRead) -> Result<Option<History>, HistoryError> {
    let mut history: Option<History> = None;
    let mut open = Open::default();
    each_record(path, lines, |record| {
        match (record, &mut history) {
            (Record::History(preamble), _) => {
                history = Some(History { path: path.to_owned(), preamble, operations: vec![] });
            }
            (Record::Call(call), Some(history)) => {
                open.call(call.operation, history.operations.len())?;
                history.operations.push(Operation {
                    id: call.operation,
                    process: call.process,
                    member: call.member.into_owned(),
                    call: call.time,
                    request: call.request.into_owned(),
                    returned: None,
                });
            }
            (Record::Return(returned), Some(history)) => {
                let position = open.returned(returned.operation)?;
                history.operations[position].returned = Some((returned.time, returned.outcome.into_owned()));
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
    let (mut counts, mut open) = (Counts::default(), Open::default());
    each_record(path, BufReader::with_capacity(1 << 16, file), |record| {
        match record {
            Record::History(_) => {}
            Record::Call(call) => open.call(call.operation, ())?,
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
    counts.unknown += open.0.len() as u64;
    Ok(counts)
}

/// Calls that have not returned, each with what is kept of it.
struct Open<T>(HashMap<OperationId, T>);

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Open<T> {
    fn call(&mut self, operation: OperationId, kept: T) -> Result<(), String> {
        match self.0.insert(operation, kept) {
            Some(_) => Err(format!("operation {operation} is called twice")),
            None => Ok(()),
        }
    }

    fn returned(&mut self, operation: OperationId) -> Result<T, String> {
        self.0.remove(&operation).ok_or_else(|| format!("operation {operation} returns without a call"))
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
        let record = serde_json::from_slice(line)?;
        match (&record, begun) {
            (Record::History(preamble), _) if preamble.format_version != FORMAT_VERSION => {
                return Err(WrongLine::Version(preamble.format_version));
            }
            (Record::History(_), true) => {
                return Err("only the first line tells who recorded".to_owned().into());
            }
            (Record::Call(_) | Record::Return(_), false) => {
                return Err("the first line must tell who recorded".to_owned().into());
            }
            _ => begun = true,
        }
        Ok(on_record(record)?)
    })
}

/// Why a line is none of a history.
pub(super) enum WrongLine {
    Malformed(String),
    /// It is of this other version of the format.
    Version(u32),
}

impl From<String> for WrongLine {
    fn from(detail: String) -> Self {
        Self::Malformed(detail)
    }
}

impl From<serde_json::Error> for WrongLine {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Hands on each whole line without its end; what a killed program left of its last one is dropped.
pub(super) fn each_line(
    path: &Path,
    mut lines: impl BufRead,
    mut on_line: impl FnMut(&[u8]) -> Result<(), WrongLine>,
) -> Result<(), HistoryError> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        lines.read_until(b'\n', &mut line).map_err(HistoryError::io("read", path))?;
        if line.pop() != Some(b'\n') {
            break;
        }
        on_line(&line).map_err(|wrong| match wrong {
            WrongLine::Malformed(detail) => {
                HistoryError::Malformed { path: path.to_owned(), line: number, detail }
            }
            WrongLine::Version(found) => HistoryError::Version { path: path.to_owned(), found },
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, io::Cursor};

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
            let returned =
                Return { operation: OperationId(operation), time: Monotonic(operation * 10 + 5), outcome };
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
}
