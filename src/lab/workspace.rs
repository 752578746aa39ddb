//! The folders and files that the lab keeps between its runs: `.lab/` with the lock, the note of what is up,
//! and one folder per run. It knows nothing of clusters and commands.

use std::{
    cell::Cell,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::{
    fs::statvfs,
    process::{Pid, Signal, kill_process},
};
use serde::{Deserialize, Serialize};

/// A run writes far less; with less than this free, etcd and Docker fail in ways that are hard to read.
const MIN_FREE_BYTES: u64 = 512 << 20;
/// Two runs can't start within the same second, because of the lock; this bounds a clock that is set back.
const MAX_NAME_TRIES: u32 = 100;

/// Why the lab can't keep its files.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A folder or file can't be made, read or written.
    #[error("failed to {action} {}: {source}{}", path.display(), hint(source))]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another lab is at work here.
    #[error(
        "another etcd-lab (process {holder}) is at work in {}: wait for it, or end it with `kill {holder}`",
        folder.display()
    )]
    Locked {
        /// Its process id, as it wrote it down.
        holder: String,
        /// The folder that the lock guards.
        folder: PathBuf,
    },
    /// A cluster is up, and was left so on purpose.
    #[error(
        "a cluster is up already (kept in {}): use it with `etcd-lab test`, or take it down with `etcd-lab down`",
        state.run.display()
    )]
    ClusterIsUp {
        /// What is known of it.
        state: Box<State>,
    },
    /// There is nothing to test or to show.
    #[error("no cluster is up: bring one up with `etcd-lab up`")]
    NoCluster,
    /// Too little room.
    #[error(
        "only {} MB are free on the disk of {}, and a run needs {} MB: make room, for example by removing old runs in {}",
        free >> 20, path.display(), MIN_FREE_BYTES >> 20, path.join("runs").display()
    )]
    DiskFull {
        /// The lab's folder.
        path: PathBuf,
        /// The free bytes.
        free: u64,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => " (make room on the disk, for example by removing old runs)",
        io::ErrorKind::PermissionDenied => " (make it writable for this user)",
        _ => "",
    }
}

/// Adds to an `io::Error` what was tried with which file.
pub fn failed<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<T, WorkspaceError> {
    result.map_err(|source| WorkspaceError::File { action, path: path.to_owned(), source })
}

/// Which of the two kinds of cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterKind {
    /// Containers.
    Compose,
    /// Processes of this machine.
    Processes,
}

/// What is up, for a later `etcd-lab down` or `etcd-lab test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Containers or processes.
    pub cluster: ClusterKind,
    /// Whether it is to stay when the lab ends.
    pub kept: bool,
    /// The folder of the run that brought it up.
    pub run: PathBuf,
    /// The timeline, from 1, whose folder it writes to.
    pub timeline: usize,
    /// The lab that brought it up, which a cluster of processes ends with.
    pub lab_pid: u32,
    /// Where a cluster of processes is reached, as `ETCDCTL_ENDPOINTS` takes it.
    #[serde(default)]
    pub endpoints: String,
    /// The network that its nodes have of their own, where they have one.
    #[serde(default)]
    pub network: Option<String>,
}

impl State {
    /// Whether the lab that brought it up still runs; its id may belong to another program by now.
    pub fn lab_is_alive(&self) -> bool {
        let process = PathBuf::from(format!("/proc/{}", self.lab_pid));
        let is_lab = fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "etcd-lab");
        // One that has ended, but that nobody has waited for, has no arguments any more.
        is_lab && fs::read(process.join("cmdline")).is_ok_and(|arguments| !arguments.is_empty())
    }

    /// Asks the lab that brought it up to end, as Ctrl-C does.
    pub fn end_lab(&self) {
        let pid = i32::try_from(self.lab_pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.lab_is_alive()) {
            // One that has ended meanwhile needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The lab's own folder.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
    /// How many clusters of this program are up.
    up: Cell<usize>,
}

impl Workspace {
    /// Makes `.lab` below `root` unless it is there, and sees that there is room.
    pub fn open(root: &Path) -> Result<Self, WorkspaceError> {
        let folder = root.join(".lab");
        failed(fs::create_dir_all(folder.join("runs")), "make the folder", &folder)?;
        let disk = failed(statvfs(&folder).map_err(io::Error::from), "look at the disk of", &folder)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < MIN_FREE_BYTES {
            return Err(WorkspaceError::DiskFull { path: folder, free });
        }
        Ok(Self { folder, up: Cell::new(0) })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the lock that keeps two labs apart, until the result is dropped or the process ends.
    pub fn lock(&self) -> Result<Lock, WorkspaceError> {
        let path = self.folder.join("lock");
        let opened = File::options().create(true).read(true).write(true).truncate(false).open(&path);
        let mut file = failed(opened, "open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                failed(file.read_to_string(&mut holder), "read", &path)?;
                let holder = holder.trim().to_owned();
                return Err(WorkspaceError::Locked { holder, folder: self.folder.clone() });
            }
            Err(TryLockError::Error(source)) => return failed(Err(source), "lock", &path),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        failed(written, "write", &path)?;
        Ok(Lock { _file: file })
    }

    /// What is up, if anything.
    pub fn state(&self) -> Result<Option<State>, WorkspaceError> {
        let path = self.state_file();
        match fs::read(&path) {
            Ok(bytes) => failed(serde_json::from_slice(&bytes).map_err(io::Error::from), "understand", &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => failed(Err(error), "read", &path),
        }
    }

    /// Writes down what is up, before it is brought up.
    pub fn set_state(&self, state: &State) -> Result<(), WorkspaceError> {
        let path = self.state_file();
        let new = path.with_extension("new");
        let text = serde_json::to_vec_pretty(state).expect("a state has no key that isn't text");
        failed(fs::write(&new, text).and_then(|()| fs::rename(&new, &path)), "write", &path)
    }

    /// Notes that one more cluster is brought up.
    pub fn note_up(&self) {
        self.up.set(self.up.get() + 1);
    }

    /// Notes that one less is up; writes that down if it was the last.
    pub fn note_down(&self) -> Result<(), WorkspaceError> {
        self.up.set(self.up.get().saturating_sub(1));
        if self.up.get() == 0 { self.clear_state() } else { Ok(()) }
    }

    /// Writes down that nothing is up.
    pub fn clear_state(&self) -> Result<(), WorkspaceError> {
        let path = self.state_file();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => failed(Err(error), "remove", &path),
            _ => Ok(()),
        }
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("state.json")
    }

    /// Makes the folder of a new run, named after the time, and lets `latest` point to it.
    pub fn new_run(&self) -> Result<RunFolder, WorkspaceError> {
        let runs = self.folder.join("runs");
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "-");
        for attempt in 0..MAX_NAME_TRIES {
            let name = if attempt == 0 { time.clone() } else { format!("{time}-{attempt}") };
            let path = runs.join(&name);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => {
                    failed(result, "make the folder", &path)?;
                    let link = runs.join("latest");
                    let _ = fs::remove_file(&link);
                    failed(symlink(&name, &link), "link", &link)?;
                    return Ok(RunFolder { path });
                }
            }
        }
        failed(Err(io::ErrorKind::AlreadyExists.into()), "make a new folder in", &runs)
    }
}

/// Held while a lab works.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Everything that one run leaves.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A folder that is there already.
    pub fn existing(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folders of timeline `number`, counted from 1.
    pub fn timeline(&self, number: usize) -> Result<TimelineFolder, WorkspaceError> {
        let folder = TimelineFolder { path: self.path.join(format!("timeline-{number}")) };
        for part in [folder.commands(), folder.logs(), folder.sdk(), folder.history(), folder.quiet()] {
            failed(fs::create_dir_all(&part), "make the folder", &part)?;
        }
        // Containers may run as any user.
        for part in [folder.commands(), folder.sdk(), folder.history(), folder.quiet()] {
            failed(
                fs::set_permissions(&part, fs::Permissions::from_mode(0o777)),
                "open to all users",
                &part,
            )?;
        }
        Ok(folder)
    }
}

/// Everything that one timeline leaves.
#[derive(Debug, Clone)]
pub struct TimelineFolder {
    path: PathBuf,
}

impl TimelineFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the commands printed.
    pub fn commands(&self) -> PathBuf {
        self.path.join("commands")
    }

    /// What the services printed.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// What the SDK wrote: `sdk.jsonl` from the services, and a file for each command that ran.
    pub fn sdk(&self) -> PathBuf {
        self.path.join("sdk")
    }

    /// The histories and shared counters of the test commands.
    pub fn history(&self) -> PathBuf {
        self.path.join("history")
    }

    /// The script that asks for quiet periods, and its requests.
    pub fn quiet(&self) -> PathBuf {
        self.path.join("quiet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(run: &Path) -> State {
        State {
            cluster: ClusterKind::Processes,
            kept: true,
            run: run.to_owned(),
            timeline: 1,
            lab_pid: 1,
            endpoints: "http://127.0.0.1:2379".to_owned(),
            network: None,
        }
    }

    #[test]
    fn the_second_lock_names_the_holder() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(root.path()).unwrap();
        let lock = workspace.lock().unwrap();
        let message = workspace.lock().unwrap_err().to_string();
        assert!(message.contains(&format!("(process {})", std::process::id())), "{message}");
        drop(lock);
        workspace.lock().unwrap();
    }

    #[test]
    fn the_state_survives_and_can_be_cleared() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(root.path()).unwrap();
        assert_eq!(workspace.state().unwrap(), None);
        workspace.set_state(&state(root.path())).unwrap();
        assert_eq!(workspace.state().unwrap(), Some(state(root.path())));
        workspace.clear_state().unwrap();
        workspace.clear_state().unwrap();
        assert_eq!(workspace.state().unwrap(), None);
    }

    #[test]
    fn a_damaged_state_is_an_error_that_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(root.path()).unwrap();
        fs::write(workspace.state_file(), "{").unwrap();
        assert!(workspace.state().unwrap_err().to_string().contains("state.json"));
    }

    #[test]
    fn latest_points_to_the_newest_run() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(root.path()).unwrap();
        let first = workspace.new_run().unwrap();
        let second = workspace.new_run().unwrap();
        assert_ne!(first.path(), second.path());
        let latest = fs::canonicalize(workspace.folder().join("runs/latest")).unwrap();
        assert_eq!(latest, fs::canonicalize(second.path()).unwrap());
    }

    #[test]
    fn every_user_may_write_what_containers_write() {
        let root = tempfile::tempdir().unwrap();
        let run = Workspace::open(root.path()).unwrap().new_run().unwrap();
        let timeline = run.timeline(1).unwrap();
        for folder in [timeline.sdk(), timeline.history(), timeline.quiet()] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o777);
        }
    }

    #[test]
    fn a_root_that_is_no_folder_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let message = Workspace::open(&file).unwrap_err().to_string();
        assert!(message.contains("file/.lab"), "{message}");
    }
}
