//! A shell in a container that starts test commands, reports their exit codes, and kills them. One stays for as long
//! as the lab works: a `docker exec` for each command takes a tenth of a second of processor time, and fails where
//! the container is frozen, while a line to this one waits until the container goes on.

use std::{collections::BTreeMap, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::lab::docker::last_lines;

/// Takes lines of a verb and its arguments with tabs between them; writes `<name> <exit code>` when a command has
/// ended. Its arguments are the folders of SDK output and of what commands print. Each command leads a session,
/// whose id it notes, so that all its processes can be killed; the second fork leaves it to the container's init.
pub(super) const SCRIPT: &str = r#"
sdk=$0 out=$1
while IFS='	' read -r verb name path; do
  case $verb in
  run)
    ( { setsid sh -c 'export ANTITHESIS_SDK_LOCAL_OUTPUT="$0.jsonl"; echo $$ >"$0.pid"; exec "$1"' \
          "$sdk/$name" "$path" </dev/null >>"$out/$name.out" 2>>"$out/$name.err"
        printf '%s %d\n' "$name" $?; } & ) ;;
  kill) kill -KILL "-$(cat "$sdk/$name.pid")" ;;
  esac 2>/dev/null
done"#;

/// What a command ended with: its exit code, or why that will never be known.
pub(super) type Outcome = Result<i32, String>;

enum Request {
    Run { name: String, path: String, end: oneshot::Sender<Outcome> },
    Kill { name: String },
}

/// Such a shell, which ends with the value.
#[derive(Debug)]
pub(super) struct Runner {
    requests: mpsc::UnboundedSender<Request>,
    work: JoinHandle<()>,
}

impl Runner {
    /// `call` starts the shell.
    pub(super) fn start(mut call: Command) -> std::io::Result<Self> {
        call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut shell = call.spawn()?;
        let stdin = shell.stdin.take().expect("its input was asked for");
        let (requests, incoming) = mpsc::unbounded_channel();
        let work = tokio::spawn(async move {
            let mut waiting = BTreeMap::new();
            let reason = serve(&mut shell, stdin, incoming, &mut waiting).await;
            for (_, end) in waiting {
                // Who waits no longer needs no reason.
                let _ = end.send(Err(reason.clone()));
            }
        });
        Ok(Self { requests, work })
    }

    /// Whether it still takes requests.
    pub(super) fn is_alive(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Starts the program at `path` with files named after `name`; how it ended comes later.
    pub(super) fn run(&self, name: &str, path: &str) -> oneshot::Receiver<Outcome> {
        let (end, receiver) = oneshot::channel();
        // If it is gone, so is the sender, which the receiver then tells.
        let _ = self.requests.send(Request::Run { name: name.to_owned(), path: path.to_owned(), end });
        receiver
    }

    /// Kills all processes of a command that has noted its id.
    pub(super) fn kill(&self, name: &str) {
        // If it is gone, who waits for the command learns of it.
        let _ = self.requests.send(Request::Kill { name: name.to_owned() });
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Works until nobody has requests any more or the shell ends; why it ended.
async fn serve(
    shell: &mut Child,
    mut stdin: ChildStdin,
    mut requests: mpsc::UnboundedReceiver<Request>,
    waiting: &mut BTreeMap<String, oneshot::Sender<Outcome>>,
) -> String {
    let stdout = shell.stdout.take().expect("its output was asked for");
    let mut lines = BufReader::new(stdout).lines();
    loop {
        tokio::select! {
            request = requests.recv() => {
                let line = match request {
                    None => break,
                    Some(Request::Kill { name }) => format!("kill\t{name}\n"),
                    Some(Request::Run { name, path, end }) => {
                        let line = format!("run\t{name}\t{path}\n");
                        waiting.insert(name, end);
                        line
                    }
                };
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
            }
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { break };
                let ended = line.rsplit_once(' ').and_then(|(name, code)| Some((name, code.parse().ok()?)));
                if let Some((end, code)) = ended.and_then(|(name, code)| Some((waiting.remove(name)?, code))) {
                    // Who waits no longer needs no code.
                    let _ = end.send(Ok(code));
                }
            }
        }
    }
    let mut words = String::new();
    if let Some(mut stderr) = shell.stderr.take() {
        // What can't be read of an error message is left out of the other.
        let _ = stderr.read_to_string(&mut words).await;
    }
    format!("the shell that runs them has ended: {}", last_lines(&words, 2))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

    use super::*;

    /// A runner on this machine, with a folder for everything.
    fn runner(folder: &Path) -> Runner {
        let mut call = Command::new("sh");
        call.args(["-c", SCRIPT]).arg(folder).arg(folder);
        Runner::start(call).unwrap()
    }

    fn script(folder: &Path, name: &str, lines: &str) -> String {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await.unwrap() })
    }

    #[test]
    fn commands_run_beside_each_other_and_tell_their_codes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let waits =
            script(folder, "waits for the other", "while ! [ -e \"$0.go\" ]; do sleep 0.02; done; exit 7");
        let goes =
            script(folder, "goes", "touch \"${0%goes}waits for the other.go\"; echo said; echo wrong >&2");
        block_on(async {
            let runner = runner(folder);
            let (first, second) = (runner.run("0001 a", &waits), runner.run("0002", &goes));
            assert_eq!(first.await.unwrap(), Ok(7));
            assert_eq!(second.await.unwrap(), Ok(0));
            assert_eq!(runner.run("0003", "/nowhere/b").await.unwrap(), Ok(127));
        });
        assert_eq!(fs::read_to_string(folder.join("0002.out")).unwrap(), "said\n");
        assert_eq!(fs::read_to_string(folder.join("0002.err")).unwrap(), "wrong\n");
    }

    #[test]
    fn a_kill_ends_all_processes_of_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let path = script(folder, "stays", "sleep 1000 & echo $! >\"$0.child\"; wait");
        block_on(async {
            let runner = runner(folder);
            runner.kill("0001");
            let end = runner.run("0001", &path);
            let child = folder.join("stays.child");
            while fs::read_to_string(&child).unwrap_or_default().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            runner.kill("0001");
            assert_eq!(end.await.unwrap(), Ok(137));
            let child = fs::read_to_string(&child).unwrap();
            let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            while !matches!(state().rsplit_once(") "), None | Some(("Z", _))) && !state().contains(") Z") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    #[test]
    fn a_shell_that_ends_is_told_to_those_who_wait() {
        block_on(async {
            let mut call = Command::new("sh");
            call.args(["-c", "read line; echo no luck >&2; exit 1"]);
            let runner = Runner::start(call).unwrap();
            let reason = runner.run("0001", "/x").await.unwrap().unwrap_err();
            assert!(reason.contains("no luck"), "{reason}");
            while runner.is_alive() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(runner.run("0002", "/x").await.is_err());
        });
    }
}
