//! The cluster as containers: images, Compose calls with an override file that lets the host see what SDK and
//! test commands write, and what is told of its containers; what is done to them lies in the files below.
//! It touches only containers of its own project, and decides nothing about what runs when.

mod act;
mod commands;
mod ends;
mod helper;
mod inspect;
mod lacks;
mod leftovers;
mod live;
mod network;
mod overrides;
mod rejoin;
mod runner;
mod watch;

use std::{
    cell::{OnceCell, RefCell},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use crate::lab::{
    cluster::Ended,
    docker::{self, DockerError},
    etcd_binary::EtcdVersion,
    fault::action::{Ability, Topology},
    not_ready::NotReady,
    setup::{Setup, is_member_name},
    workspace::TimelineFolder,
};

use live::Live;
use overrides::Declared;

/// The name of the Compose project, whatever folder it lies in.
pub const PROJECT: &str = "etcd-antithesis";
/// Finds its containers.
const PROJECT_FILTER: &str = "label=com.docker.compose.project=etcd-antithesis";
/// The Compose file, in the project's folder.
pub const COMPOSE_FILE: &str = "docker-compose.yaml";
/// The folder of the helper's image, in the project's folder.
const HELPER_FOLDER: &str = "containers/network";
/// The container whose last words explain why the system isn't ready.
pub const HEALTH_CHECKER: &str = "health-checker";
/// From the first container to a healthy system, on a machine that is busy.
const UP_LIMIT: Duration = Duration::from_mins(3);

/// Why the containers are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A call of Docker or Compose.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A file of the lab's own.
    #[error("failed to write {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Container names are global to a machine.
    #[error(
        "the container {name} exists already and belongs to {owner}: take that down first ({way}), since two containers can't have one name"
    )]
    NameTaken {
        /// The container.
        name: String,
        /// The Compose project, or none.
        owner: String,
        /// How to be rid of it.
        way: String,
    },
    /// The base images are neither here nor to be had.
    #[error("failed to provide the base images:\n{message}\n(all of it: {})", log.display())]
    StandIns {
        /// The end of what the script said.
        message: String,
        /// The log.
        log: PathBuf,
    },
    /// The system isn't ready.
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

impl ComposeError {
    /// Whether the system is there but not ready, rather than Docker at fault.
    pub fn is_not_ready(&self) -> bool {
        matches!(self, Self::NotReady(_))
    }
}

/// A container that is not running though it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedService {
    /// Its name.
    pub name: String,
    /// What is known of its end.
    pub status: String,
}

/// The system's containers, up or not.
#[derive(Debug)]
pub struct ComposeCluster {
    root: PathBuf,
    words: Vec<&'static str>,
    /// Those of the project's file.
    services: Vec<String>,
    volumes: Vec<String>,
    setup: Setup,
    /// The version that its images have.
    pub etcd: EtcdVersion,
    live: Box<RefCell<Live>>,
    lacking: OnceCell<Vec<(Ability, String)>>,
}

impl ComposeCluster {
    /// Asks Docker and Compose whether they answer, and the Compose file in `root` for its services.
    pub fn open(root: &Path) -> Result<Self, ComposeError> {
        docker::engine_answers()?;
        let words = docker::compose_words()?;
        let (root, services, volumes) = (root.to_owned(), Vec::new(), Vec::new());
        let (setup, live, lacking) = (Setup::default(), Box::default(), OnceCell::new());
        let etcd = EtcdVersion::DEFAULT;
        let mut cluster = Self { root, words, services, volumes, setup, etcd, live, lacking };
        cluster.services = lines(&cluster.compose(&["config", "--services"])?);
        cluster.volumes = lines(&cluster.compose(&["config", "--volumes"])?);
        cluster.services.sort_unstable();
        Ok(cluster)
    }

    /// What it is brought up with from now on.
    pub fn set_up(&mut self, setup: Setup) {
        self.setup = setup;
    }

    /// What it is brought up with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The services that there are with this number of members.
    fn present(&self) -> Vec<String> {
        let members = self.setup.member_names();
        let others = self.services.iter().filter(|service| !is_member_name(service)).cloned();
        members.iter().cloned().chain(others).collect()
    }

    fn file(&self) -> String {
        self.root.join(COMPOSE_FILE).display().to_string()
    }

    fn compose(&self, arguments: &[&str]) -> Result<String, DockerError> {
        let file = self.file();
        let common = ["-p", PROJECT, "-f", &file];
        docker::run(&[&self.words[..], &common, arguments].concat())
    }

    /// Provides the base images and builds our own, which costs little where nothing changed.
    pub async fn build(&self, log: &Path, build_arguments: &[String]) -> Result<(), ComposeError> {
        let script = self.root.join("containers/stand-ins.sh").display().to_string();
        if let Err(error) = docker::run_logged(&[&script], &self.root, log).await {
            let message = match &error {
                DockerError::Failed { message, .. } => message.clone(),
                other => other.to_string(),
            };
            return Err(ComposeError::StandIns { message, log: log.to_owned() });
        }
        let file = self.file();
        let mut words = [&self.words[..], &["-p", PROJECT, "-f", &file, "build"]].concat();
        for argument in build_arguments {
            words.extend(["--build-arg", argument]);
        }
        docker::run_logged(&words, &self.root, log).await?;
        let folder = self.root.join(HELPER_FOLDER).display().to_string();
        let words = ["docker", "build", "--tag", helper::IMAGE, &folder];
        Ok(docker::run_logged(&words, &self.root, log).await?)
    }

    /// Sees that no container has one of our names.
    pub fn check_names(&self) -> Result<(), ComposeError> {
        let format = "{{.Names}}\t{{.Label \"com.docker.compose.project\"}}";
        let all = docker::run(&["docker", "ps", "-a", "--format", format])?;
        for line in all.lines() {
            let (name, project) = line.split_once('\t').unwrap_or((line, ""));
            if is_member_name(name) || self.services.iter().any(|service| service == name) {
                return Err(name_taken(name, project));
            }
        }
        Ok(())
    }

    /// Uses containers that another lab has brought up, which write to `folder`.
    pub fn attach(&self, folder: &TimelineFolder) -> Result<(), ComposeError> {
        let mut live = self.live.borrow_mut();
        live.folder = Some(folder.clone());
        let no_program = |source| DockerError::NoProgram { program: "docker".to_owned(), source };
        Ok(live.listen().map_err(no_program)?)
    }

    /// Brings all services up and returns when Compose finds them started and healthy.
    pub async fn up(&self, folder: &TimelineFolder) -> Result<(), ComposeError> {
        let overrides = Self::override_path(folder);
        let file = self.file();
        let declared = Declared { file: &file, services: &self.services, volumes: &self.volumes };
        let text = overrides::for_timeline(&declared, &self.setup, folder).to_string();
        fs::write(&overrides, text)
            .map_err(|source| ComposeError::File { path: overrides.clone(), source })?;
        self.attach(folder)?;
        let overrides = overrides.display().to_string();
        let arguments = ["-p", PROJECT, "-f", &file, "-f", &overrides, "up", "-d", "--no-build", "--no-deps"];
        let mut words = [&self.words[..], &arguments, &["--remove-orphans"]].concat();
        let services = self.present();
        words.extend(services.iter().map(String::as_str));
        let log = folder.logs().join("compose-up.log");
        match tokio::time::timeout(UP_LIMIT, docker::run_logged_tied(&words, &self.root, &log)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(DockerError::Failed { message, .. })) if message.contains("unhealthy") => {
                Err(self.not_ready(&message, folder))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(self.not_ready(&format!("not within {UP_LIMIT:?}"), folder)),
        }
    }

    fn override_path(folder: &TimelineFolder) -> PathBuf {
        folder.path().join("compose-override.json")
    }

    /// The error that says why the system isn't ready.
    pub fn not_ready(&self, reason: &str, folder: &TimelineFolder) -> ComposeError {
        let words = ["docker", "logs", "--tail", "5", HEALTH_CHECKER];
        let output = docker::call(&words).output();
        let last_words = output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        );
        NotReady { reason: reason.to_owned(), last_words, logs: folder.logs() }.into()
    }

    /// The services that ended at some time, or are not running, though no fault ended them.
    pub fn stopped(&self) -> Result<Vec<StoppedService>, ComposeError> {
        let format = "{{.Names}}\t{{.State}}\t{{.Status}}";
        let all = docker::run(&["docker", "ps", "-a", "--filter", PROJECT_FILTER, "--format", format])?;
        let mut live = self.live.borrow_mut();
        let mut stopped: Vec<_> = live
            .unexplained()
            .iter()
            .map(|end| StoppedService { name: end.service.clone(), status: end.status.clone() })
            .collect();
        for service in not_running(&self.present(), &all) {
            let is_known = stopped.iter().any(|known| known.name == service.name);
            if !is_known && !live.ends.is_down_by_fault(&service.name) {
                stopped.push(service);
            }
        }
        Ok(stopped)
    }

    /// The ends of containers since the last call, in order.
    pub fn ended(&self) -> Vec<Ended> {
        self.live.borrow_mut().take_ended()
    }

    /// Who takes part.
    pub fn topology(&self) -> Topology {
        let clients = self.services.iter().filter(|service| service.starts_with("client")).cloned();
        Topology { members: self.setup.member_names(), clients: clients.collect() }
    }

    /// Whether the engine still answers; a command's exit code means nothing otherwise.
    pub fn check_engine(&self) -> Result<(), ComposeError> {
        Ok(docker::engine_answers()?)
    }

    /// Writes a log file per container, after what it may hold of an earlier container of the service.
    pub fn save_logs(&self, folder: &TimelineFolder) -> Result<(), ComposeError> {
        let services = self.present();
        let calls: Vec<_> = services.iter().map(|service| save_log(service, folder)).collect();
        for call in calls {
            // A container that never started has no log, which its file then says.
            let _ = call?.wait();
        }
        Ok(())
    }

    /// Removes containers, networks and volumes of the project, whoever brought them up.
    pub fn down(&self) -> Result<(), ComposeError> {
        self.live.take();
        leftovers::clear()?;
        let arguments = ["down", "--volumes", "--remove-orphans", "--timeout", "1"];
        self.compose(&arguments)?;
        // Those of members that the project's file has not.
        let left = lines(&docker::run(&["docker", "volume", "ls", "--quiet", "--filter", PROJECT_FILTER])?);
        if !left.is_empty() {
            let left: Vec<&str> = left.iter().map(String::as_str).collect();
            docker::run(&[&["docker", "volume", "rm", "--force"], &left[..]].concat())?;
        }
        Ok(())
    }

    /// Shows the logs of the containers, or of one, until they end or the caller gives up.
    pub async fn show_logs(&self, service: Option<&str>, follow: bool) -> Result<(), ComposeError> {
        let file = self.file();
        let mut words = [&self.words[..], &["-p", PROJECT, "-f", &file, "logs"]].concat();
        words.extend(follow.then_some("--follow"));
        words.extend(service);
        Ok(docker::run_shown(&words).await?)
    }
}

/// The call that writes what a service's container printed to its log file, after what that holds.
fn save_log(service: &str, folder: &TimelineFolder) -> Result<Child, ComposeError> {
    let path = folder.logs().join(format!("{service}.log"));
    let file = || File::options().create(true).append(true).open(&path);
    let logs = || {
        let mut call = docker::call(&["docker", "logs", "--timestamps", service]);
        call.stdout(file()?).stderr(file()?).spawn()
    };
    logs().map_err(|source| ComposeError::File { path: path.clone(), source })
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn name_taken(name: &str, project: &str) -> ComposeError {
    let (owner, way) = match project {
        "" => ("no Compose project".to_owned(), format!("`docker rm -f {name}`")),
        PROJECT => (format!("the Compose project {PROJECT}"), "`etcd-lab down`".to_owned()),
        other => {
            (format!("the Compose project {other}"), format!("its own `docker compose -p {other} down`"))
        }
    };
    ComposeError::NameTaken { name: name.to_owned(), owner, way }
}

fn not_running(services: &[String], listing: &str) -> Vec<StoppedService> {
    let rows: Vec<Vec<&str>> = listing.lines().map(|line| line.split('\t').collect()).collect();
    let row = |service: &String| rows.iter().find(|columns| columns.first() == Some(&service.as_str()));
    services
        .iter()
        .filter_map(|service| match row(service).map(Vec::as_slice) {
            Some([_, "running" | "paused", _]) => None,
            Some([_, _, status]) => Some((service, (*status).to_owned())),
            _ => Some((service, "has no container any more".to_owned())),
        })
        .map(|(name, status)| StoppedService { name: name.clone(), status })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_not_running_has_stopped() {
        let listing = "etcd0\trunning\tUp 3 seconds\netcd1\texited\tExited (2) 1 second ago\n";
        let stopped = not_running(&names(&["etcd0", "etcd1", "etcd2"]), listing);
        let seen: Vec<_> = stopped.iter().map(|s| (s.name.as_str(), s.status.as_str())).collect();
        assert_eq!(seen, [("etcd1", "Exited (2) 1 second ago"), ("etcd2", "has no container any more")]);
    }

    #[test]
    fn a_taken_name_says_how_to_be_rid_of_it() {
        assert!(name_taken("etcd0", "").to_string().contains("`docker rm -f etcd0`"));
        assert!(name_taken("etcd0", PROJECT).to_string().contains("`etcd-lab down`"));
        assert!(name_taken("etcd0", "shop").to_string().contains("the Compose project shop"));
    }
}
