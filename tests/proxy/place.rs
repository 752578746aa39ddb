//! A proxy as a process, with its endpoints and what it prints, ended with the value.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use etcd_antithesis::{lab::etcd_binary::EtcdBinary, settings::Settings};
use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_mins(1);

/// A running proxy.
pub struct Proxy {
    child: Child,
    /// Where clients find the members.
    pub endpoints: String,
    lines: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// In front of these members, with further arguments.
    pub fn start(members: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-probe"));
        command.args(["proxy", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(command, members)
    }

    /// By a command of one's own.
    pub fn spawn(mut command: Command, members: &str) -> Self {
        command.env_clear().env("ETCDCTL_ENDPOINTS", members);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = collect(child.stdout.take().unwrap());
        let errors = collect(child.stderr.take().unwrap());
        let endpoints = wait_for("the proxy to listen", || {
            let errors = errors.lock().unwrap();
            errors.iter().find_map(|line| line.strip_prefix("ETCDCTL_ENDPOINTS=")).map(str::to_owned)
        });
        Self { child, endpoints, lines, errors }
    }

    /// The lines of the standard output up to now.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The same of the standard error.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    /// A line of the standard output with these words, when it comes.
    pub fn line_with(&self, words: &[&str]) -> String {
        wait_for(&format!("{words:?}"), || {
            self.lines().into_iter().find(|line| words.iter().all(|word| line.contains(word)))
        })
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by a signal; gives its exit code.
    pub fn stop(self) -> i32 {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.ended()
    }

    /// Ends it by a signal; gives what it said on the standard error.
    pub fn stop_and_read(self) -> Vec<String> {
        let errors = Arc::clone(&self.errors);
        assert_eq!(self.stop(), 0);
        // The reader has everything once nobody holds the other end.
        wait_for("the last lines", || (Arc::strong_count(&errors) == 1).then_some(()));
        errors.lock().unwrap().clone()
    }

    /// Waits until it ends by itself; gives its exit code.
    pub fn ended(mut self) -> i32 {
        wait_for("the proxy to end", || self.child.try_wait().unwrap()).code().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the proxy said: {:#?} {:#?}", self.errors(), self.lines());
        }
    }
}

fn collect(out: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let into = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
    lines
}

/// Settings for these endpoints.
pub fn settings(endpoints: &str) -> Settings {
    Settings::from_variables(|name| (name == "ETCDCTL_ENDPOINTS").then(|| endpoints.to_owned())).unwrap()
}

/// etcd's own client.
pub fn etcdctl(endpoints: &str, arguments: &[&str]) -> Command {
    let binary = EtcdBinary::locate(None).unwrap();
    let mut command = Command::new(binary.path().with_file_name("etcdctl"));
    command.env("ETCDCTL_API", "3").args(["--endpoints", endpoints]).args(arguments);
    command
}

/// What etcd's own client prints, which must succeed.
pub fn said(endpoints: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = etcdctl(endpoints, arguments).output().unwrap();
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// What `find` finds, as soon as it does.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < until, "waited {LIMIT:?} for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
