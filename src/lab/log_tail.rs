//! The last part of a log. In goes a file that may still grow, out comes text; what is before is never read.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

/// The last bytes of the log at `path`, `at_most` so many; what is no UTF-8, the middle of a character at the cut
/// among it, is replaced.
pub fn log_tail(path: &Path, at_most: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(at_most)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
