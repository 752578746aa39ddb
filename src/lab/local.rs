//! The cluster as processes of this machine: real etcd members on loopback, a health-checker, and test
//! commands run straight from a folder of templates, once for each of two imagined client containers.
//! Everything ends with the value, and with the lab if the lab is killed; it decides nothing about what
//! runs when.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::lab::{
    docker::last_lines,
    etcd_binary::EtcdBinary,
    fault::action::{Ability, Action, ActionError, Topology},
    not_ready::NotReady,
    processes::{self, ClusterOptions, MemberState, ProcessError, tied_to_this_program},
    template::{Entry, EntryKind, TestCommand},
    workspace::TimelineFolder,
};

/// As many as in `docker-compose.yaml`.
const MEMBERS: usize = 3;
/// What stands for the client containers.
const CLIENTS: [&str; 2] = ["client1", "client2"];
/// The name of the health-checker's log and in messages.
const HEALTH_CHECKER: &str = "health-checker";
/// Where members keep data and logs while they run, below the timeline's folder.
const MEMBERS_FOLDER: &str = "members";

/// Why the processes are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The members.
    #[error(transparent)]
    Members(#[from] ProcessError),
    /// A file or folder.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The system isn't ready.
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

/// The programs that stand for the images.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The health-checker.
    pub health_checker: PathBuf,
    /// A folder of template folders, as `/opt/antithesis/test/v1` is.
    pub templates: PathBuf,
}

/// The system's processes, up or not.
pub struct LocalCluster {
    etcd: EtcdBinary,
    programs: Programs,
    running: Option<Running>,
}

struct Running {
    endpoints: String,
    /// None if another lab brought the members up.
    owned: Option<(processes::Cluster, Mutex<Child>)>,
}

impl LocalCluster {
    /// A cluster that isn't up yet.
    pub fn new(etcd: EtcdBinary, programs: Programs) -> Self {
        Self { etcd, programs, running: None }
    }

    /// Uses members that another lab has brought up.
    pub fn attach(&mut self, endpoints: &str) {
        self.running = Some(Running { endpoints: endpoints.to_owned(), owned: None });
    }

    /// Where the members are reached; empty while they are down.
    pub fn endpoints(&self) -> &str {
        self.running.as_ref().map_or("", |running| &running.endpoints)
    }

    /// Starts members and health-checker, which says by itself when the system is ready.
    pub fn up(&mut self, folder: &TimelineFolder) -> Result<(), LocalError> {
        let options = ClusterOptions::new(MEMBERS, folder.path().join(MEMBERS_FOLDER));
        let members = processes::Cluster::start(&self.etcd, &options)?;
        let endpoints = members.endpoints();
        let path = folder.logs().join(format!("{HEALTH_CHECKER}.log"));
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| LocalError::File { action, path, source }
        };
        let log = File::create(&path).map_err(failed("make", &path))?;
        let mut command = tied_to_this_program(&self.programs.health_checker);
        set_environment(&mut command, &endpoints, folder, "sdk");
        command.env("HEALTH_CHECKER_READY_FILE", folder.path().join("cluster-is-healthy"));
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed("open", &path))?).stderr(log);
        let checker = command.spawn().map_err(failed("start", &self.programs.health_checker))?;
        self.running = Some(Running { endpoints, owned: Some((members, Mutex::new(checker))) });
        Ok(())
    }

    /// The error that says why the system isn't ready.
    pub fn not_ready(&self, reason: &str, folder: &TimelineFolder) -> LocalError {
        let logs = folder.logs();
        let text = fs::read_to_string(logs.join(format!("{HEALTH_CHECKER}.log"))).unwrap_or_default();
        NotReady { reason: reason.to_owned(), last_words: last_lines(&text, 5), logs }.into()
    }

    /// What lies in the template folders, once per client.
    pub fn entries(&self) -> Result<Vec<Entry>, LocalError> {
        let found = list(&self.programs.templates)?;
        let of_client = |client: &str| {
            let container = client.to_owned();
            found.iter().cloned().map(move |entry| Entry { container: container.clone(), ..entry })
        };
        Ok(CLIENTS.iter().flat_map(|client| of_client(client)).collect())
    }

    /// The call that runs `command`; its SDK lines go to the file `name`.jsonl of the SDK folder.
    pub fn command(
        &self,
        command: &TestCommand,
        name: &str,
        folder: &TimelineFolder,
    ) -> tokio::process::Command {
        let mut call = tied_to_this_program(&self.programs.templates.join(command.path()));
        set_environment(&mut call, self.endpoints(), folder, name);
        call.into()
    }

    /// Who takes part.
    pub fn topology(&self) -> Topology {
        let members = self.running.as_ref().and_then(|running| running.owned.as_ref());
        let members = members.map_or_else(Vec::new, |(cluster, _)| {
            cluster.members().iter().map(|member| member.name().to_owned()).collect()
        });
        Topology { members, clients: CLIENTS.map(str::to_owned).to_vec() }
    }

    /// Carries out one step of a fault.
    #[allow(clippy::unused_async, reason = "not done yet")]
    pub async fn act(&self, action: &Action) -> Result<(), ActionError> {
        Err(ActionError::new(action, "not yet"))
    }

    /// What can't be done here, and why.
    #[allow(clippy::unused_async, reason = "not done yet")]
    pub async fn lacks(&self) -> Vec<(Ability, String)> {
        Vec::new()
    }

    /// Where the lab itself reaches a member.
    pub fn member_url(&self, member: &str) -> Option<String> {
        let (cluster, _) = self.running.as_ref()?.owned.as_ref()?;
        let member = cluster.members().iter().find(|known| known.name() == member)?;
        Some(member.endpoint().to_owned())
    }

    /// The ends since this was last asked.
    pub fn ended(&self) -> Vec<crate::lab::cluster::Ended> {
        Vec::new()
    }

    /// Members that ended though nobody ended them, and a health-checker that did not stay.
    pub fn stopped(&self) -> Vec<(String, String)> {
        let Some((members, checker)) = self.running.as_ref().and_then(|running| running.owned.as_ref())
        else {
            return Vec::new();
        };
        let ended = |status: ExitStatus| format!("ended by itself with {status}");
        let mut stopped: Vec<_> = members
            .members()
            .iter()
            .filter_map(|member| match member.state() {
                MemberState::Ended(status) => Some((member.name().to_owned(), ended(status))),
                MemberState::Running | MemberState::Paused | MemberState::Stopped => None,
            })
            .collect();
        if let Ok(Some(status)) = checker.lock().unwrap_or_else(PoisonError::into_inner).try_wait() {
            stopped.push((HEALTH_CHECKER.to_owned(), ended(status)));
        }
        stopped
    }

    /// Ends everything, puts the members' logs to the others and removes the members' data.
    pub fn down(&mut self, folder: &TimelineFolder) -> Result<(), LocalError> {
        let Some((members, checker)) = self.running.take().and_then(|mut running| running.owned.take())
        else {
            return Ok(());
        };
        let logs: Vec<_> = members.members().iter().map(|member| member.log().to_owned()).collect();
        drop(members);
        let mut checker = checker.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = checker.kill();
        let _ = checker.wait();
        for log in logs {
            let target = folder.logs().join(log.file_name().unwrap_or_default());
            fs::rename(&log, &target).map_err(|source| LocalError::File {
                action: "move",
                path: log,
                source,
            })?;
        }
        let data = folder.path().join(MEMBERS_FOLDER);
        fs::remove_dir_all(&data).map_err(|source| LocalError::File { action: "remove", path: data, source })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((_, checker)) = &mut self.owned {
            let checker = checker.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = checker.kill();
            let _ = checker.wait();
        }
    }
}

/// Kills the processes of the group that a command was started in.
pub fn kill_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// What a container's environment would be: nothing of the caller's that programs of this package read.
fn set_environment(command: &mut Command, endpoints: &str, folder: &TimelineFolder, name: &str) {
    for (variable, _) in env::vars_os() {
        let bytes = variable.as_encoded_bytes();
        if bytes.starts_with(b"ETCD") || bytes.starts_with(b"ANTITHESIS") {
            command.env_remove(variable);
        }
    }
    command
        .env("ETCDCTL_ENDPOINTS", endpoints)
        .env("ETCD_ANTITHESIS_HISTORY", folder.history())
        .env("ANTITHESIS_SDK_LOCAL_OUTPUT", folder.sdk().join(format!("{name}.jsonl")))
        .env("NO_COLOR", "1");
}

/// What lies in a folder of templates, without the name of a container.
pub fn list(templates: &Path) -> Result<Vec<Entry>, LocalError> {
    let mut entries = Vec::new();
    for (template, path) in read_folder(templates)? {
        if !path.is_dir() {
            continue;
        }
        for (name, path) in read_folder(&path)? {
            let metadata = fs::metadata(&path).map_err(|source| LocalError::File {
                action: "look at",
                path: path.clone(),
                source,
            })?;
            let kind = match metadata.permissions().mode() & 0o111 {
                _ if metadata.is_dir() => EntryKind::Folder,
                0 => EntryKind::NotExecutable,
                _ => EntryKind::Executable,
            };
            entries.push(Entry { container: String::new(), template: template.clone(), name, kind });
        }
    }
    Ok(entries)
}

fn read_folder(path: &Path) -> Result<Vec<(String, PathBuf)>, LocalError> {
    let failed = |source| LocalError::File { action: "list", path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the template that the client image carries: `test-command` under the name of each of its commands.
pub fn make_template(test_command: &Path, commands: &[&str], templates: &Path) -> Result<(), LocalError> {
    let folder = templates.join("main");
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| LocalError::File { action, path, source }
    };
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
    }
    fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
    for command in commands {
        let link = folder.join(command);
        std::os::unix::fs::symlink(test_command, &link).map_err(failed("link", &link))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_template_lists_as_executables() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("test-command");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let templates = folder.path().join("v1");
        for _ in 0..2 {
            make_template(&program, &["first_a", "anytime_b"], &templates).unwrap();
        }
        let entries = list(&templates).unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
        assert_eq!(seen, [("anytime_b", EntryKind::Executable), ("first_a", EntryKind::Executable)]);
    }

    #[test]
    fn a_missing_template_folder_is_named() {
        let error = list(Path::new("/nowhere/v1")).unwrap_err().to_string();
        assert!(error.starts_with("failed to list /nowhere/v1"), "{error}");
    }
}
