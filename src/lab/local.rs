//! The cluster as processes of this machine: real etcd members, a health-checker, and test commands run straight
//! from a folder of templates, once for each of two imagined client containers. Each member and each client has a
//! network namespace where that can be had; without, all are on loopback.
//! Everything ends with the value, and with the lab if the lab is killed; it decides nothing about what
//! runs when.

mod clients;
mod system;
mod templates;

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::oneshot;

use crate::lab::{
    cluster::Ended,
    docker::last_lines,
    etcd_binary::EtcdVersion,
    fault::{
        action::{Ability, Action, ActionError, Topology},
        quiet,
    },
    not_ready::NotReady,
    processes::{
        self, ClusterOptions, Member, ProcessError,
        namespaces::{self, Network, NetworkError, namespace_file},
        program::Program,
        spawn_tied, tied_to_this_program,
    },
    setup::Setup,
    template::{Entry, TestCommand},
    workspace::TimelineFolder,
};
use clients::Clients;
use system::System;
pub use templates::{list, make_template};

/// What stands for the client containers.
const CLIENTS: [&str; 2] = ["client1", "client2"];
/// The name of the health-checker's log and in messages.
const HEALTH_CHECKER: &str = "health-checker";
/// Where members keep data and logs while they run, below the timeline's folder.
const MEMBERS_FOLDER: &str = "members";

/// Why nothing can be done to members of another lab.
const NOT_OURS: &str = "the cluster was brought up by another lab, which alone can do this";

/// Why the processes are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The members.
    #[error(transparent)]
    Members(#[from] ProcessError),
    /// The network that a lab which was killed has left.
    #[error(transparent)]
    Network(#[from] NetworkError),
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
    recipe: Recipe,
    /// What brings it up.
    starting: Option<JoinHandle<Result<Running, LocalError>>>,
    running: Option<Running>,
}

/// What it is brought up with.
#[derive(Clone)]
struct Recipe {
    program: Program,
    programs: Programs,
    setup: Setup,
}

struct Running {
    endpoints: String,
    /// The name of the network with the clients' namespaces, if there is one.
    network: Option<String>,
    /// None if another lab brought the members up.
    owned: Option<Arc<System>>,
}

impl LocalCluster {
    /// A cluster that isn't up yet.
    pub fn new(program: Program, programs: Programs) -> Self {
        let recipe = Recipe { program, programs, setup: Setup::default() };
        Self { recipe, starting: None, running: None }
    }

    /// The version of its members, if they are etcds.
    pub fn etcd(&self) -> Option<EtcdVersion> {
        self.recipe.program.etcd()
    }

    /// What it is brought up with from now on.
    pub fn set_up(&mut self, setup: Setup) {
        self.recipe.setup = setup;
    }

    /// What it is brought up with.
    pub fn setup(&self) -> &Setup {
        &self.recipe.setup
    }

    /// Uses members that another lab has brought up, with its network, if it has one.
    pub fn attach(&mut self, endpoints: &str, network: Option<&str>) {
        let (endpoints, network) = (endpoints.to_owned(), network.map(str::to_owned));
        self.running = Some(Running { endpoints, network, owned: None });
    }

    /// Where the members are reached; empty while they are down.
    pub fn endpoints(&self) -> &str {
        self.running.as_ref().map_or("", |running| &running.endpoints)
    }

    /// The name of the network that the nodes have of their own, if they have one.
    pub fn network(&self) -> Option<&str> {
        self.running.as_ref()?.network.as_deref()
    }

    /// Removes what a lab with that process id has left, which must have ended. Its processes ended with it.
    pub fn clean_up_after(lab_pid: u32) -> Result<(), LocalError> {
        Ok(namespaces::remove_left_by(lab_pid)?)
    }

    fn system(&self) -> Option<&Arc<System>> {
        self.running.as_ref()?.owned.as_ref()
    }

    /// Starts members and health-checker, which says by itself when the system is ready.
    pub async fn up(&mut self, folder: &TimelineFolder) -> Result<(), LocalError> {
        let (recipe, folder) = (self.recipe.clone(), folder.clone());
        let (sender, ended) = oneshot::channel::<()>();
        self.starting = Some(thread::spawn(move || {
            let _at_the_end = sender;
            recipe.start(&folder)
        }));
        // Dropped, the sender says that it is over.
        let _ = ended.await;
        self.running = self.wait_for_start()?;
        Ok(())
    }

    /// What is being started, once it is there.
    fn wait_for_start(&mut self) -> Result<Option<Running>, LocalError> {
        let Some(starting) = self.starting.take() else { return Ok(None) };
        starting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(Some)
    }

    /// The error that says why the system isn't ready.
    pub fn not_ready(&self, reason: &str, folder: &TimelineFolder) -> LocalError {
        let logs = folder.logs();
        let text = fs::read_to_string(logs.join(format!("{HEALTH_CHECKER}.log"))).unwrap_or_default();
        NotReady { reason: reason.to_owned(), last_words: last_lines(&text, 5), logs }.into()
    }

    /// What lies in the template folders, once per client.
    pub fn entries(&self) -> Result<Vec<Entry>, LocalError> {
        let found = list(&self.recipe.programs.templates)?;
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
        let client = &command.container;
        let namespace = self.network().map(|network| namespace_file(network, client));
        let program = self.recipe.programs.templates.join(command.path());
        let mut call = Clients::new(folder).command(client, namespace.as_deref(), &program);
        set_environment(&mut call, &self.recipe.setup, self.endpoints(), folder, name);
        call.into()
    }

    /// Who takes part.
    pub fn topology(&self) -> Topology {
        let members = if self.running.is_some() { self.setup().member_names() } else { vec![] };
        Topology { members, clients: CLIENTS.map(str::to_owned).to_vec() }
    }

    /// Carries out one step of a fault.
    pub async fn act(&self, action: &Action) -> Result<(), ActionError> {
        let system = self.system().cloned().ok_or_else(|| ActionError::new(action, NOT_OURS))?;
        let done = {
            let action = action.clone();
            tokio::task::spawn_blocking(move || system.act(&action)).await
        };
        let done = done.unwrap_or_else(|error| Err(error.to_string()));
        done.map_err(|reason| ActionError::new(action, reason))
    }

    /// What can't be done here, and why.
    pub async fn lacks(&self) -> Vec<(Ability, String)> {
        let Some(system) = self.system().cloned() else {
            let lacking = Ability::ALL.into_iter().filter(|ability| *ability != Ability::Requests);
            return lacking.map(|ability| (ability, NOT_OURS.to_owned())).collect();
        };
        let lacks = tokio::task::spawn_blocking(move || system.lacks()).await;
        lacks.unwrap_or_else(|error| Ability::ALL.map(|ability| (ability, error.to_string())).to_vec())
    }

    /// Where the lab itself reaches a member.
    pub fn member_url(&self, member: &str) -> Option<String> {
        let index = self.setup().member_names().iter().position(|known| known == member)?;
        self.endpoints().split(',').nth(index).filter(|url| !url.is_empty()).map(str::to_owned)
    }

    /// The ends since this was last asked.
    pub fn ended(&self) -> Vec<Ended> {
        self.system().map_or_else(Vec::new, |system| system.ended())
    }

    /// Members that ended though no fault ended them, and a health-checker that did not stay.
    pub fn stopped(&self) -> Vec<(String, String)> {
        self.system().map_or_else(Vec::new, |system| system.stopped())
    }

    /// Ends everything, puts the members' logs to the others and removes the members' data.
    pub fn down(&mut self, folder: &TimelineFolder) -> Result<(), LocalError> {
        // Whoever brought it up may have stopped to wait for it.
        let starting = self.wait_for_start()?;
        let running = self.running.take().or(starting);
        let Some(system) = running.and_then(|running| running.owned) else { return Ok(()) };
        // An action that is under way may hold the system a little longer.
        system.retire();
        for log in system.members().iter().map(Member::log) {
            let target = folder.logs().join(log.file_name().unwrap_or_default());
            fs::rename(log, &target).map_err(|source| LocalError::File {
                action: "move",
                path: log.to_owned(),
                source,
            })?;
        }
        let data = folder.path().join(MEMBERS_FOLDER);
        fs::remove_dir_all(&data).map_err(|source| LocalError::File { action: "remove", path: data, source })
    }
}

impl Recipe {
    /// Starts members and health-checker.
    fn start(&self, folder: &TimelineFolder) -> Result<Running, LocalError> {
        let names = self.setup.member_names();
        let nodes: Vec<_> = names.iter().map(String::as_str).chain(CLIENTS).collect();
        let network = Network::create(&nodes);
        let mut options = ClusterOptions::new(names.len(), folder.path().join(MEMBERS_FOLDER));
        options.flags.extend(self.setup.flags.clone());
        if let Ok(network) = &network {
            options.places = names.iter().filter_map(|member| network.place(member)).collect();
        }
        let members = processes::Cluster::start_of(&self.program, &options)?;
        let endpoints = members.endpoints();
        let checker = self.start_checker(&endpoints, folder)?;
        let name = network.as_ref().ok().map(|network| network.name().to_owned());
        let network = network.map_err(|error| error.to_string());
        let system = System::new(members, checker, Clients::new(folder), network);
        Ok(Running { endpoints, network: name, owned: Some(Arc::new(system)) })
    }

    fn start_checker(&self, endpoints: &str, folder: &TimelineFolder) -> Result<Child, LocalError> {
        let path = folder.logs().join(format!("{HEALTH_CHECKER}.log"));
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| LocalError::File { action, path, source }
        };
        let log = File::create(&path).map_err(failed("make", &path))?;
        let mut command = tied_to_this_program(&self.programs.health_checker);
        set_environment(&mut command, &self.setup, endpoints, folder, "sdk");
        command.env("HEALTH_CHECKER_READY_FILE", folder.path().join("cluster-is-healthy"));
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed("open", &path))?).stderr(log);
        spawn_tied(command).map_err(failed("start", &self.programs.health_checker))
    }
}

/// What a container's environment would be: nothing of the caller's that programs of this package read.
fn set_environment(
    command: &mut Command,
    setup: &Setup,
    endpoints: &str,
    folder: &TimelineFolder,
    name: &str,
) {
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
        .env(quiet::VARIABLE, folder.quiet().join(quiet::SCRIPT))
        .env("NO_COLOR", "1")
        .envs(&setup.environment);
}

/// Kills the processes of the group that a command was started in.
pub fn kill_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::etcd_binary::EtcdBinary;

    #[test]
    fn members_of_another_lab_are_known_but_not_struck() {
        let programs = Programs { health_checker: PathBuf::new(), templates: PathBuf::new() };
        let mut cluster = LocalCluster::new(Program::Etcd(EtcdBinary::locate(None).unwrap()), programs);
        assert_eq!((cluster.topology().members.len(), cluster.member_url("etcd1")), (0, None));
        cluster.attach("http://10.64.0.10:2379,http://10.64.0.11:2379,http://10.64.0.12:2379", None);
        assert_eq!(cluster.topology().members, ["etcd0", "etcd1", "etcd2"]);
        assert_eq!(cluster.member_url("etcd1").unwrap(), "http://10.64.0.11:2379");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(cluster.act(&Action::Kill { member: "etcd1".to_owned() })).unwrap_err();
        assert!(error.to_string().contains("another lab"), "{error}");
        let lacks = runtime.block_on(cluster.lacks());
        assert!(!lacks.iter().any(|(ability, _)| *ability == Ability::Requests), "{lacks:?}");
    }
}
