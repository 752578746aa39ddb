//! Runs `etcd-probe` as a process, and reads what it leaves.

use std::{
    ffi::OsStr,
    io::Write as _,
    process::{Child, Command, Stdio},
};

use etcd_antithesis::lab::processes::{Cluster, Member};
use serde_json::Value;

/// What a run of the probe left.
#[derive(Debug)]
pub struct Ran {
    pub out: String,
    pub err: String,
    pub code: i32,
}

impl Ran {
    /// What it leaves when it ends.
    pub fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        Self {
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The only member's answer.
    pub fn answer(&self) -> Value {
        self.json().as_object().unwrap().values().next().unwrap()["answer"].clone()
    }

    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(words.iter().all(|word| self.err.contains(word)), "{words:?} in {self:?}");
    }
}

/// How the probe is run.
#[derive(Clone)]
pub struct Probe {
    pub endpoints: String,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Probe {
    pub fn of(cluster: &Cluster) -> Self {
        Self::at(&cluster.endpoints())
    }

    pub fn at(endpoints: &str) -> Self {
        Self { endpoints: endpoints.to_owned(), flags: vec![], variables: vec![] }
    }

    pub fn with(&self, flags: &[&str]) -> Self {
        let flags = self.flags.iter().cloned().chain(flags.iter().map(|flag| (*flag).to_owned()));
        Self { flags: flags.collect(), ..self.clone() }
    }

    /// With these variables in its environment.
    pub fn with_variables(&self, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { variables: self.variables.iter().cloned().chain(variables).collect(), ..self.clone() }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-probe"));
        let of_etcdctl =
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCDCTL_"));
        for (name, _) in of_etcdctl {
            command.env_remove(name);
        }
        command.env("ETCDCTL_ENDPOINTS", &self.endpoints).args(&self.flags);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        self.run_with_input(arguments, b"")
    }

    pub fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Ran {
        let mut child = self.start(arguments);
        // A probe that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::of(child)
    }

    /// Starts it with pipes.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Child {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran
    }
}

/// The place of the member that leads.
pub fn leader(cluster: &Cluster) -> usize {
    let status = Probe::of(cluster).with(&["-o=json"]).ok(&["status"]).json();
    let leads = |member: &Member| {
        let said = &status["members"][format!("127.0.0.1:{}", member.client_port())];
        said["leader"].is_u64() && said["leader"] == said["member_id"]
    };
    cluster.members().iter().position(leads).unwrap()
}

/// The line of a table with this label, split into its cells.
pub fn cells(out: &str, label: &str) -> Vec<String> {
    let line = out.lines().find(|line| line.trim_start().starts_with(label));
    let line = line.unwrap_or_else(|| panic!("no {label} in\n{out}"));
    line.trim_start()[label.len()..].split_whitespace().map(str::to_owned).collect()
}
