//! Calls of the `docker` and Compose command lines, with what they say on failure sorted into errors for
//! people. A call goes in as arguments, its standard output comes out. It decides nothing about clusters.

use std::{
    io,
    path::Path,
    process::{Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::lab::processes::tied_to_this_program;

/// How long a call that is given up may take to undo what it has begun.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(20);
const CLEAN_UP_POLL: Duration = Duration::from_millis(50);

/// What Docker's client says when its engine doesn't answer.
const ENGINE_GONE: [&str; 4] = [
    "Cannot connect to the Docker daemon",
    "error during connect",
    "docker daemon running",
    "Error while fetching server API version",
];

/// Why Docker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No such program.
    #[error("{program} can't be started: {source} (install it, or use `--cluster processes`)")]
    NoProgram {
        /// The program.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// The engine is gone or out of reach.
    #[error(
        "Docker doesn't answer: {message} (start it, or see that this user may use it; `--cluster processes` needs none)"
    )]
    NoEngine {
        /// Its client's last line.
        message: String,
    },
    /// Neither generation of Compose.
    #[error(
        "neither `docker compose` nor `docker-compose` can be run (install one, or use `--cluster processes`)"
    )]
    NoCompose,
    /// The call failed.
    #[error("`{call}` failed with {status}: {message}")]
    Failed {
        /// The command line.
        call: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        message: String,
    },
    /// The call did not end.
    #[error("`{call}` has not ended within {limit:?}")]
    TimedOut {
        /// The command line.
        call: String,
        /// The time that it was given.
        limit: Duration,
    },
}

/// A call, with its output kept, that no terminal signal reaches: Ctrl-C is for the lab, which then cleans up.
pub fn call(words: &[&str]) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).process_group(0);
    command
}

/// The same, and it ends with the lab, even if that is killed.
pub fn tied_call(words: &[&str]) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = tied_to_this_program(Path::new(words[0]));
    command.args(&words[1..]).stdin(Stdio::null()).process_group(0);
    command
}

/// Runs `words` to its end without holding others up; its standard output, or why it failed.
pub async fn run_within(words: &[&str], limit: Duration) -> Result<String, DockerError> {
    let mut command = tokio::process::Command::from(tied_call(words));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    match tokio::time::timeout(limit, command.output()).await {
        Ok(output) => finish(words, output),
        Err(_) => Err(DockerError::TimedOut { call: words.join(" "), limit }),
    }
}

/// Runs `words` to its end; its standard output, or why it failed.
pub fn run(words: &[&str]) -> Result<String, DockerError> {
    finish(words, call(words).output())
}

/// Runs all calls at the same time, and waits for all.
pub fn run_all(calls: &[Vec<&str>]) -> Vec<Result<String, DockerError>> {
    let children: Vec<_> =
        calls.iter().map(|words| call(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()).collect();
    let outputs = children.into_iter().map(|child| child.and_then(std::process::Child::wait_with_output));
    calls.iter().zip(outputs).map(|(words, output)| finish(words, output)).collect()
}

/// Runs `words` with both outputs in the file at `log`; on failure the file's end is the message.
pub async fn run_logged(words: &[&str], folder: &Path, log: &Path) -> Result<(), DockerError> {
    logged(call(words), words, folder, log).await
}

/// The same, and it ends with the lab, even if that is killed.
pub async fn run_logged_tied(words: &[&str], folder: &Path, log: &Path) -> Result<(), DockerError> {
    logged(tied_call(words), words, folder, log).await
}

async fn logged(mut command: Command, words: &[&str], folder: &Path, log: &Path) -> Result<(), DockerError> {
    let no_program = |source| DockerError::NoProgram { program: words[0].to_owned(), source };
    let file = std::fs::File::options().create(true).append(true).open(log).map_err(no_program)?;
    command.current_dir(folder).stdout(file.try_clone().map_err(no_program)?).stderr(file);
    let status = run_orderly(command).await.map_err(no_program)?;
    if status.success() {
        return Ok(());
    }
    let text = std::fs::read_to_string(log).unwrap_or_default();
    Err(failure(words, status, &text))
}

/// Shows what `words` prints as it comes.
pub async fn run_shown(words: &[&str]) -> Result<(), DockerError> {
    let mut command = call(words);
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let status = run_orderly(command)
        .await
        .map_err(|source| DockerError::NoProgram { program: words[0].to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(failure(words, status, "")) }
}

async fn run_orderly(command: Command) -> io::Result<ExitStatus> {
    let mut child = OrderlyChild(tokio::process::Command::from(command).spawn()?);
    child.0.wait().await
}

/// A process that, if nobody waits for it any more, is asked to end and given the time to clean up.
struct OrderlyChild(tokio::process::Child);

impl Drop for OrderlyChild {
    fn drop(&mut self) {
        let group = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(group) = group else { return };
        // A group that is gone needs no signal.
        let _ = kill_process_group(group, Signal::TERM);
        let deadline = Instant::now() + CLEAN_UP_LIMIT;
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(CLEAN_UP_POLL);
        }
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn finish(words: &[&str], output: io::Result<Output>) -> Result<String, DockerError> {
    let output = output.map_err(|source| DockerError::NoProgram { program: words[0].to_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failure(words, output.status, &String::from_utf8_lossy(&output.stderr)))
}

fn failure(words: &[&str], status: ExitStatus, said: &str) -> DockerError {
    if engine_is_gone(said) {
        return DockerError::NoEngine { message: last_lines(said, 1) };
    }
    DockerError::Failed { call: words.join(" "), status, message: last_lines(said, 5) }
}

/// Whether what a client printed says that the engine is gone.
pub fn engine_is_gone(said: &str) -> bool {
    ENGINE_GONE.iter().any(|sign| said.contains(sign))
}

/// The last lines of a text that aren't blank.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Asks the engine for its version: an answer, or why there is none.
pub fn engine_answers() -> Result<(), DockerError> {
    run(&["docker", "version", "--format", "{{.Server.Version}}"]).map(drop)
}

/// The words that start Compose: version 2 as Docker's plugin if it is there, else the program of its own.
pub fn compose_words() -> Result<Vec<&'static str>, DockerError> {
    let choices: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let works = |words: &&&[&str]| run(&[words, &["version"][..]].concat()).is_ok();
    choices.iter().find(works).map(|words| words.to_vec()).ok_or(DockerError::NoCompose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gives_its_output_or_the_end_of_what_it_said() {
        assert_eq!(run(&["echo", "yes"]).unwrap(), "yes\n");
        let error = run(&["sh", "-c", "echo much; echo no luck >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("exit status: 3: no luck"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&["no-such-program-of-ours"]).unwrap_err().to_string();
        assert!(error.starts_with("no-such-program-of-ours can't be started"), "{error}");
    }

    #[test]
    fn a_missing_engine_is_told_from_other_failures() {
        let script = "echo 'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2; exit 1";
        assert!(matches!(run(&["sh", "-c", script]), Err(DockerError::NoEngine { .. })));
        assert!(matches!(run(&["sh", "-c", "exit 1"]), Err(DockerError::Failed { .. })));
    }

    #[test]
    fn calls_run_beside_each_other() {
        let started = std::time::Instant::now();
        let results = run_all(&[vec!["sleep", "0.4"], vec!["sleep", "0.4"], vec!["sh", "-c", "exit 1"]]);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
        assert!(started.elapsed().as_millis() < 780, "{:?}", started.elapsed());
    }

    #[test]
    fn a_call_that_is_given_up_cleans_up_first() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "trap 'sleep 0.2; echo cleaned; exit 1' TERM; echo begun; while :; do sleep 0.02; done";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let words = ["sh", "-c", script];
            let call = run_logged(&words, folder.path(), &log);
            assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err());
        });
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.starts_with("begun") && said.ends_with("cleaned\n"), "{said}");
    }

    #[test]
    fn last_lines_leave_out_blank_ones() {
        assert_eq!(last_lines("a\n\nb\nc\n\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }
}
