//! Where a command's words go: answers to one writer, errors and what `--wire` shows to another, each as soon as it
//! is there. What stands on them is decided elsewhere.

use std::io::{self, Write};

use super::error::ProbeError;

/// The two writers of a command.
pub struct Printer<'a> {
    out: &'a mut dyn Write,
    asides: &'a mut dyn Write,
}

impl<'a> Printer<'a> {
    /// Writes answers to `out`, and all else to `asides`.
    pub fn new(out: &'a mut dyn Write, asides: &'a mut dyn Write) -> Self {
        Self { out, asides }
    }

    /// Writes an answer, or a part of it.
    pub fn answer(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), ProbeError> {
        let written: io::Result<()> = self.out.write_all(bytes.as_ref()).and_then(|()| self.out.flush());
        written.map_err(ProbeError::Write)
    }

    /// Writes something beside the answer. Where nobody listens for it, the answer still goes out.
    pub fn aside(&mut self, text: &str) {
        let _ = self.asides.write_all(text.as_bytes()).and_then(|()| self.asides.flush());
    }
}
