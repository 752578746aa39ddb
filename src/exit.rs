//! The exit codes of all programs of this package, as `docs/exit-codes.md` lists them.
//! Nothing else may call `std::process::exit` or invent a number.

use std::process::{ExitCode, Termination};

/// What a program tells its caller by ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// All that was checked holds.
    Holds = 0,
    /// A property is broken, or the cluster is unhealthy.
    Broken = 1,
    /// Wrong usage or configuration; clap uses the same number.
    Usage = 2,
    /// The surroundings fail: Docker, an image's build, a port or name that is taken, a full disk,
    /// a folder that can't be written, no etcd binary.
    Surroundings = 3,
    /// The cluster can't be reached or did not become healthy in time.
    Unreachable = 4,
    /// Nothing is broken, but something could not be decided, or was never reached by a hunt that was to be thorough.
    Undecided = 5,
    /// Interrupted by a signal; what was started has been taken down.
    Interrupted = 130,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status as u8)
    }
}

impl Termination for ExitStatus {
    fn report(self) -> ExitCode {
        self.into()
    }
}
