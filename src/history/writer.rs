//! One history file of one program. Each record is handed to the system whole before `write` returns, or those that
//! were pushed before `flush` does, all in one write, so that a program that is killed loses none that it acted on. After
//! an error nothing more is written: a line behind a torn one would make the file unreadable.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    HistoryError,
    record::{FORMAT_VERSION, Preamble, Record},
};
use crate::clock;

/// A history file that is being written.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    /// Lines that no flush has written yet.
    lines: Vec<u8>,
    failed: bool,
}

impl Writer {
    /// Starts a new file in `folder`, which is made if it is not there.
    pub fn create(folder: &Path, command: &str) -> Result<Self, HistoryError> {
        fs::create_dir_all(folder).map_err(HistoryError::io("make the folder", folder))?;
        let boot_id = clock::boot_id().map_err(HistoryError::io("read the boot's id for", folder))?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let (pid, start) = (std::process::id(), clock::monotonic_now());
        let path = folder.join(format!("{command}-{host}-{pid}-{}.jsonl", start.0));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(HistoryError::io("start the history", &path))?;
        let mut writer = Self { path, file, lines: vec![], failed: false };
        writer.write(&Record::History(Preamble {
            format_version: FORMAT_VERSION,
            boot_id,
            command: command.to_owned(),
            host,
            pid,
            start,
            start_unix_ns: clock::unix_now_ns(),
        }))?;
        Ok(writer)
    }

    /// Writes one record, and those that were pushed before.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), HistoryError> {
        self.push(record)?;
        self.flush()
    }

    /// Takes one record, which the next flush writes. Nothing that it tells of may go on before.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), HistoryError> {
        let pushed = serde_json::to_writer(&mut self.lines, record);
        self.lines.push(b'\n');
        self.done(pushed.map_err(io::Error::from))
    }

    /// Writes all that was pushed.
    pub fn flush(&mut self) -> Result<(), HistoryError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = if self.failed {
            Err(io::Error::other("an earlier record could not be written"))
        } else {
            self.file.write_all(&self.lines)
        };
        self.lines.clear();
        self.done(written)
    }

    fn done(&mut self, done: io::Result<()>) -> Result<(), HistoryError> {
        self.failed |= done.is_err();
        done.map_err(HistoryError::io("write the history", &self.path))
    }
}
