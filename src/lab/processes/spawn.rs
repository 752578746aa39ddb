//! Starts child processes that end with this program, even if it is killed: `setpriv`, where the machine has
//! it, asks the kernel for a SIGKILL at the parent's end. The kernel means the parent *thread*, so all are
//! started by one thread that lives as long as the program.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
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
pub fn command(program: &Path) -> Command {
    command_in(None, program)
}

/// The same in a network namespace, given by its file. The process id is that of `program` all the same.
pub fn command_in(namespace: Option<&Path>, program: &Path) -> Command {
    static HAS_SETPRIV: OnceLock<bool> = OnceLock::new();
    let has_setpriv = *HAS_SETPRIV.get_or_init(|| {
        let mut command = command_of(&setpriv("true".as_ref()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    let tied = if has_setpriv { setpriv(program) } else { vec![program.into()] };
    let enter = namespace.map(|namespace| {
        let mut option = OsString::from("--net=");
        option.push(namespace);
        ["nsenter".into(), option, "--".into()]
    });
    let words: Vec<OsString> = enter.into_iter().flatten().chain(tied).collect();
    let mut command = command_of(&words);
    if has_setpriv {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0);
    }
    command
}

fn command_of(words: &[OsString]) -> Command {
    let (program, arguments) = words.split_first().expect("there is a program at least");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn setpriv(program: &Path) -> Vec<OsString> {
    vec!["setpriv".into(), "--pdeathsig".into(), "KILL".into(), "--".into(), program.into()]
}
