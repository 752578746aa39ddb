//! The lines of a history's file. In goes a file, out comes each whole line in order; what a killed program left of
//! its last one is dropped. It doesn't look into lines.

use std::{
    io::{self, BufRead},
    path::Path,
};

use crate::history::HistoryError;

/// Why a line is none of a history.
pub(in crate::history) enum WrongLine {
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

/// Hands on each whole line without its end.
pub(in crate::history) fn each_line(
    path: &Path,
    mut lines: impl BufRead,
    mut on_line: impl FnMut(&[u8]) -> Result<(), WrongLine>,
) -> Result<(), HistoryError> {
    let mut number = 0;
    let mut on_line = |line: &[u8]| {
        number += 1;
        on_line(line).map_err(|wrong| match wrong {
            WrongLine::Malformed(detail) => {
                HistoryError::Malformed { path: path.to_owned(), line: number, detail }
            }
            WrongLine::Version(found) => HistoryError::Version { path: path.to_owned(), found },
        })
    };
    let mut begun = Vec::new();
    loop {
        let buffer = match lines.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(HistoryError::io("read", path)(error)),
        };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', buffer) {
            if begun.is_empty() {
                on_line(&buffer[start..end])?;
            } else {
                begun.extend_from_slice(&buffer[start..end]);
                on_line(&begun)?;
                begun.clear();
            }
            start = end + 1;
        }
        begun.extend_from_slice(&buffer[start..]);
        let length = buffer.len();
        lines.consume(length);
    }
}
