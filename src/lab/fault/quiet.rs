//! Quiet periods that test commands ask for: the lab's stand-in for `ANTITHESIS_STOP_FAULTS`. A script in a folder
//! that all containers see leaves requests there; this reads them and grants them when faults are off. It knows
//! nothing of faults.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use crate::lab::workspace::{WorkspaceError, failed};

/// The variable in the environment of test commands.
pub const VARIABLE: &str = "ANTITHESIS_STOP_FAULTS";
/// The script's name in the folder.
pub const SCRIPT: &str = "stop-faults";
const SCRIPT_TEXT: &str = include_str!("stop-faults.sh");
/// What the script names its requests.
const REQUEST: &str = "request-";
/// A longer one would outlast any timeline.
const LONGEST: Duration = Duration::from_hours(1);

/// Puts the script into `folder`, which users of all containers can write to.
pub fn provide(folder: &Path) -> Result<(), WorkspaceError> {
    let script = folder.join(SCRIPT);
    failed(fs::write(&script, SCRIPT_TEXT), "write", &script)?;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    failed(mode(&script, 0o755), "make executable", &script)?;
    failed(mode(folder, 0o777), "open to all users", folder)
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// It is quiet now, for this long.
    Started(Duration),
    /// The period is over.
    Ended,
}

/// The requests of one timeline.
#[derive(Debug)]
pub struct Quiet {
    folder: PathBuf,
    waiting: Vec<(PathBuf, Duration)>,
    until: Option<Instant>,
}

impl Quiet {
    /// Requests in `folder`, made anew.
    pub fn new(folder: &Path) -> Result<Self, WorkspaceError> {
        failed(fs::create_dir_all(folder), "make the folder", folder)?;
        provide(folder)?;
        Ok(Self { folder: folder.to_owned(), waiting: Vec::new(), until: None })
    }

    /// Whether faults are to be off: for a request that waits, or for one that was granted.
    pub fn is_wanted(&self) -> bool {
        !self.waiting.is_empty() || self.until.is_some()
    }

    /// Sees what has been asked for and what is over. Grants all requests if no fault is active.
    pub fn look(&mut self, all_healed: bool) -> Result<Change, WorkspaceError> {
        self.find_requests()?;
        let now = Instant::now();
        if !self.waiting.is_empty() && all_healed {
            let longest = self.waiting.iter().map(|(_, duration)| *duration).max().unwrap_or_default();
            let until = self.until.map_or(now + longest, |until| until.max(now + longest));
            self.until = Some(until);
            for (path, _) in self.waiting.drain(..) {
                match fs::remove_file(&path) {
                    // Its script has given up.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => failed(result, "remove", &path)?,
                }
            }
            return Ok(Change::Started(until - now));
        }
        if self.waiting.is_empty() && self.until.is_some_and(|until| now >= until) {
            self.until = None;
            return Ok(Change::Ended);
        }
        Ok(Change::None)
    }

    fn find_requests(&mut self) -> Result<(), WorkspaceError> {
        for entry in failed(fs::read_dir(&self.folder), "list", &self.folder)? {
            let path = failed(entry, "list", &self.folder)?.path();
            let is_request = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(REQUEST));
            if is_request && self.waiting.iter().all(|(known, _)| *known != path) {
                let duration = fs::read_to_string(&path).map_or(Duration::ZERO, |text| seconds(&text));
                self.waiting.push((path, duration));
            }
        }
        Ok(())
    }
}

fn seconds(text: &str) -> Duration {
    let seconds = text.trim().parse().unwrap_or_default();
    Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn ask(folder: &Path, argument: &str) -> Child {
        let mut command = Command::new(folder.join(SCRIPT));
        command.arg(argument).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn wait_for_request(quiet: &mut Quiet) {
        for _ in 0..600 {
            quiet.look(false).unwrap();
            if !quiet.waiting.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the script left no request");
    }

    #[tokio::test]
    async fn the_script_returns_when_its_request_is_granted() {
        let folder = tempfile::tempdir().unwrap();
        let mut quiet = Quiet::new(folder.path()).unwrap();
        let mut script = ask(folder.path(), "0.2");
        wait_for_request(&mut quiet);
        assert!(
            quiet.is_wanted() && script.try_wait().unwrap().is_none(),
            "it returned while faults were on"
        );
        let Change::Started(duration) = quiet.look(true).unwrap() else { panic!("not granted") };
        assert!(duration <= Duration::from_millis(200));
        assert!(script.wait().unwrap().success());
        assert!(quiet.is_wanted());
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(quiet.look(true).unwrap(), Change::Ended);
        assert!(!quiet.is_wanted());
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [SCRIPT]);
    }

    #[tokio::test]
    async fn calls_that_overlap_extend_the_period() {
        let folder = tempfile::tempdir().unwrap();
        let mut quiet = Quiet::new(folder.path()).unwrap();
        fs::write(folder.path().join("request-a"), "30\n").unwrap();
        assert!(matches!(quiet.look(true).unwrap(), Change::Started(_)));
        fs::write(folder.path().join("request-b"), "60").unwrap();
        fs::write(folder.path().join("request-c"), "1").unwrap();
        let Change::Started(duration) = quiet.look(true).unwrap() else { panic!("not extended") };
        assert!(duration > Duration::from_secs(59), "{duration:?}");
        fs::write(folder.path().join("request-d"), "1").unwrap();
        let Change::Started(duration) = quiet.look(true).unwrap() else { panic!("not granted") };
        assert!(duration > Duration::from_secs(58), "a short call cut the period to {duration:?}");
    }

    #[test]
    fn the_script_refuses_what_is_no_number_of_seconds() {
        let folder = tempfile::tempdir().unwrap();
        provide(folder.path()).unwrap();
        for argument in ["", "soon", "1.2.3", "-1", "."] {
            let output = ask(folder.path(), argument).wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{argument:?}");
        }
    }

    #[test]
    fn odd_numbers_of_seconds_are_bounded() {
        assert_eq!(seconds("1.5\n"), Duration::from_millis(1500));
        assert_eq!(seconds("99999999999999999999999999"), LONGEST);
        assert_eq!(seconds(""), Duration::ZERO);
    }
}
