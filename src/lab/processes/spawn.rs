//! Starts child processes that end with this program, even if it is killed: `setpriv`, where the machine has
//! it, asks the kernel for a SIGKILL at the parent's end. The kernel means the parent *thread*, so all are
//! started by one thread that lives as long as the program.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Sender},
    },
    thread,
};

struct Request {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();

/// Starts `command` in the spawning thread.
pub fn spawn(command: Command) -> io::Result<Child> {
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for Request { mut command, reply } in requests {
                // Who asked waits for the reply, so it can't be gone.
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, child) = mpsc::channel();
    spawner.send(Request { command, reply }).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

/// A command for `program` that, if possible, ends with this program. Only then does it get a process group of
/// its own, where a Ctrl-C at the terminal does not reach it: without `setpriv`, that is what ends it.
pub fn command(program: &std::path::Path) -> Command {
    static HAS_SETPRIV: OnceLock<bool> = OnceLock::new();
    if !HAS_SETPRIV.get_or_init(|| setpriv("true".as_ref()).status().is_ok_and(|status| status.success())) {
        return Command::new(program);
    }
    let mut command = setpriv(program);
    command.process_group(0);
    command
}

fn setpriv(program: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
