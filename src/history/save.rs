//! Writes a loaded history into a file again, under its own name, so that what was made of histories can be checked
//! and handed on like what was recorded. It flushes nothing and survives no kill: that is the recorder's task.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    HistoryError,
    reader::{History, Message},
    record::{Call, End, FORMAT_VERSION, Preamble, Receive, Record, Return, Send},
};
use crate::types::Monotonic;

/// Writes the history into `folder`, which is made if it is not there, and gives the file's path.
pub fn save(folder: &Path, history: &History) -> Result<PathBuf, HistoryError> {
    fs::create_dir_all(folder).map_err(HistoryError::io("make the folder", folder))?;
    let path = folder.join(history.path.file_name().unwrap_or("history.jsonl".as_ref()));
    let written = File::create(&path).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file, history)?;
        file.flush()
    });
    written.map_err(HistoryError::io("write the history", &path))?;
    Ok(path)
}

fn write(file: &mut impl Write, history: &History) -> io::Result<()> {
    let preamble = Preamble { format_version: FORMAT_VERSION, ..history.preamble.clone() };
    let mut line = |record: &Record<'_>| -> io::Result<()> {
        serde_json::to_writer(&mut *file, record)?;
        file.write_all(b"\n")
    };
    line(&Record::History(preamble))?;
    records(history).iter().try_for_each(|(_, record)| line(record))
}

/// In order of time, calls before returns.
fn records(history: &History) -> Vec<(Monotonic, Record<'_>)> {
    let mut records = vec![];
    for operation in &history.operations {
        let call = Call {
            operation: operation.id,
            process: operation.process,
            time: operation.call,
            member: Cow::Borrowed(&operation.member),
            user: operation.user.as_deref().map(Cow::Borrowed),
            request: Cow::Borrowed(&operation.request),
        };
        records.push((operation.call, Record::Call(call)));
        if let Some((time, outcome)) = &operation.returned {
            let (connection, outcome) = (operation.connection, Cow::Borrowed(outcome));
            let returned = Return { operation: operation.id, time: *time, connection, outcome };
            records.push((*time, Record::Return(returned)));
        }
    }
    for stream in &history.streams {
        for (time, message) in &stream.messages {
            let (time, member) = (*time, Cow::Borrowed(&*stream.member));
            let record = match message {
                Message::Sent(message) => {
                    let (process, message) = (stream.process, Cow::Borrowed(message));
                    let user = stream.user.as_deref().map(Cow::Borrowed);
                    Record::Send(Send { stream: stream.id, process, time, member, user, message })
                }
                Message::Received(message) => {
                    Record::Receive(Receive { stream: stream.id, time, message: Cow::Borrowed(message) })
                }
            };
            records.push((time, record));
        }
        if let Some((time, failure)) = &stream.ended {
            let failure = failure.as_ref().map(Cow::Borrowed);
            records.push((*time, Record::End(End { stream: stream.id, time: *time, failure })));
        }
    }
    records.sort_by_key(|(time, _)| *time);
    records
}
