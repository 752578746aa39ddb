//! A container of the lab's own that shares a node's network namespace: a filter goes in, the node's packets are
//! treated by it. A shell in it reads from the lab and ends with it, and each change costs milliseconds. The node's
//! container is not touched. It may outlive the node's process, but then it sits in a namespace of no use.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::timeout,
};

use crate::lab::{
    docker::{self, last_lines},
    fault::network,
};

/// Built by the lab, and no part of the system.
pub(super) const IMAGE: &str = "etcd-antithesis-network:latest";
/// Marks the helper containers, however the lab ended that started them.
pub(super) const LABEL: &str = "etcd-antithesis=helper";
/// How long a container may take to start and to answer, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long one that runs may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Ends the text in the shell, where no line of a filter looks like it.
const END_OF_TEXT: &str = "END-OF-FILTER";
/// Opens the line with the exit code.
const ANSWER: &str = "answer";

/// A helper that runs.
#[derive(Debug)]
pub(super) struct Helper {
    call: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
}

impl Helper {
    /// Starts one in the network namespace that `node` has now.
    pub(super) async fn start(node: &str) -> Result<Self, String> {
        let network = format!("container:{node}");
        let mut words = vec!["docker", "run", "--rm", "--interactive", "--network", &network];
        words.extend(["--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"]);
        words.extend(["--label", LABEL, IMAGE, "sh"]);
        let mut command = tokio::process::Command::from(docker::tied_call(&words));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut call = command.spawn().map_err(|error| format!("docker can't be started: {error}"))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (call.stdin.take(), call.stdout.take(), call.stderr.take())
        else {
            return Err("docker has no pipes".to_owned());
        };
        let mut helper = Self { call, stdin, lines: BufReader::new(stdout).lines(), stderr };
        helper.run("true\n", START_LIMIT).await?;
        Ok(helper)
    }

    /// Replaces the namespace's filter. After a failure the helper is of no use any more.
    pub(super) async fn filter(&mut self, text: &str) -> Result<(), String> {
        let program = network::PROGRAM;
        self.run(&format!("{program} 2>&1 <<'{END_OF_TEXT}'\n{text}{END_OF_TEXT}\n"), ANSWER_LIMIT).await
    }

    async fn run(&mut self, script: &str, limit: Duration) -> Result<(), String> {
        let answer = timeout(limit, self.ask(script));
        answer.await.unwrap_or_else(|_| Err(format!("the helper container has not answered for {limit:?}")))
    }

    async fn ask(&mut self, script: &str) -> Result<(), String> {
        let script = format!("{script}echo {ANSWER} $?\n");
        if self.stdin.write_all(script.as_bytes()).await.is_err() {
            return Err(self.last_words().await);
        }
        let mut said = Vec::new();
        while let Ok(Some(line)) = self.lines.next_line().await {
            match line.strip_prefix(ANSWER).map(str::trim) {
                Some("0") => return Ok(()),
                Some(code) => return Err(format!("exit code {code}: {}", said.join("; "))),
                None => said.push(line),
            }
        }
        Err(self.last_words().await)
    }

    /// Why it ended.
    async fn last_words(&mut self) -> String {
        let mut words = String::new();
        // What can't be read of an error message is left out of the other.
        let _ = self.stderr.read_to_string(&mut words).await;
        let _ = self.call.wait().await;
        format!("the helper container ended: {}", last_lines(&words, 2))
    }
}
