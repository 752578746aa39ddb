//! What the engine tells of the project's containers as it happens: one `docker events`, read without waiting.
//! Events come out; what they mean is for others. It ends with the value, and with the lab.

use std::{
    io::{self, Read as _},
    path::Path,
    process::{Child, ChildStdout, Stdio},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::lab::{
    compose::{PROJECT_FILTER, ends::ContainerEvent},
    processes::{spawn_tied, tied_to_this_program},
};

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 14;

/// An engine that is listened to.
#[derive(Debug)]
pub(super) struct Watch {
    call: Child,
    stdout: ChildStdout,
    unfinished: Vec<u8>,
}

impl Watch {
    /// Listens from now on.
    pub(super) fn start() -> io::Result<Self> {
        let mut command = tied_to_this_program(Path::new("docker"));
        command.args(["events", "--filter", "type=container", "--filter", PROJECT_FILTER]);
        for event in ["start", "die", "oom"] {
            command.args(["--filter", &format!("event={event}")]);
        }
        command.args(["--format", "{{json .}}"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut call = spawn_tied(command)?;
        let stdout = call.stdout.take().expect("its output was asked for");
        fcntl_setfl(&stdout, fcntl_getfl(&stdout)? | OFlags::NONBLOCK)?;
        Ok(Self { call, stdout, unfinished: Vec::new() })
    }

    /// What has come since the last call. An engine that is gone tells nothing, which others notice.
    pub(super) fn news(&mut self) -> Vec<ContainerEvent> {
        let mut chunk = [0; CHUNK_BYTES];
        while let Ok(count @ 1..) = self.stdout.read(&mut chunk) {
            self.unfinished.extend_from_slice(&chunk[..count]);
        }
        let whole = self.unfinished.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.unfinished.drain(..whole).collect();
        String::from_utf8_lossy(&lines).lines().filter_map(ContainerEvent::parse).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.call.kill();
        let _ = self.call.wait();
    }
}
