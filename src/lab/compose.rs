//! The cluster as containers: images, Compose calls with an override file that lets the host see what SDK and
//! test commands write, and commands run by `docker exec`. It touches only containers of its own project,
//! and decides nothing about what runs when.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::lab::{
    docker::{self, DockerError},
    fault::{
        action::{Ability, Action, ActionError, Topology},
        quiet,
    },
    not_ready::NotReady,
    template::{Entry, EntryKind, TestCommand},
    workspace::TimelineFolder,
};

/// The name of the Compose project, whatever folder it lies in.
pub const PROJECT: &str = "etcd-antithesis";
/// The Compose file, in the project's folder.
pub const COMPOSE_FILE: &str = "docker-compose.yaml";
/// Where templates lie in a container.
const TEMPLATES: &str = "/opt/antithesis/test/v1";
/// Where a container sees the timeline's SDK folder; the same place as `snouty` uses.
const SDK_MOUNT: &str = "/tmp/antithesis";
/// Where a container sees the script that asks for quiet periods.
const QUIET_MOUNT: &str = "/tmp/antithesis-quiet";
/// The named volume that histories lie on.
const HISTORY_VOLUME: &str = "history";
/// The container whose last words explain why the system isn't ready.
pub const HEALTH_CHECKER: &str = "health-checker";
/// From the first container to a healthy system, on a machine that is busy.
const UP_LIMIT: Duration = Duration::from_mins(3);
/// What a shell can't do is start a program, or find it; the shell's own codes for that.
const NO_SHELL: [i32; 2] = [126, 127];

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
    services: Vec<String>,
    volumes: Vec<String>,
}

impl ComposeCluster {
    /// Asks Docker and Compose whether they answer, and the Compose file in `root` for its services.
    pub fn open(root: &Path) -> Result<Self, ComposeError> {
        docker::engine_answers()?;
        let words = docker::compose_words()?;
        let mut cluster = Self { root: root.to_owned(), words, services: Vec::new(), volumes: Vec::new() };
        cluster.services = lines(&cluster.compose(&["config", "--services"])?);
        cluster.volumes = lines(&cluster.compose(&["config", "--volumes"])?);
        cluster.services.sort_unstable();
        Ok(cluster)
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
        Ok(docker::run_logged(&words, &self.root, log).await?)
    }

    /// Sees that no container has one of our names.
    pub fn check_names(&self) -> Result<(), ComposeError> {
        let format = "{{.Names}}\t{{.Label \"com.docker.compose.project\"}}";
        let all = docker::run(&["docker", "ps", "-a", "--format", format])?;
        for line in all.lines() {
            let (name, project) = line.split_once('\t').unwrap_or((line, ""));
            if self.services.iter().any(|service| service == name) {
                return Err(name_taken(name, project));
            }
        }
        Ok(())
    }

    /// Brings all services up and returns when Compose finds them started and healthy.
    pub async fn up(&self, folder: &TimelineFolder) -> Result<(), ComposeError> {
        let overrides = folder.path().join("compose-override.json");
        let text = override_file(&self.services, &self.volumes, folder).to_string();
        fs::write(&overrides, text)
            .map_err(|source| ComposeError::File { path: overrides.clone(), source })?;
        let (file, overrides) = (self.file(), overrides.display().to_string());
        let arguments =
            ["-p", PROJECT, "-f", &file, "-f", &overrides, "up", "-d", "--no-build", "--remove-orphans"];
        let words = [&self.words[..], &arguments].concat();
        let log = folder.logs().join("compose-up.log");
        match tokio::time::timeout(UP_LIMIT, docker::run_logged(&words, &self.root, &log)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(DockerError::Failed { message, .. })) if message.contains("unhealthy") => {
                Err(self.not_ready(&message, folder))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(self.not_ready(&format!("not within {UP_LIMIT:?}"), folder)),
        }
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

    /// What lies in the template folders of all containers that have a shell to list them.
    pub fn entries(&self) -> Result<Vec<Entry>, ComposeError> {
        let script = format!(
            "for f in {TEMPLATES}/*/*; do \
             if [ -d \"$f\" ]; then echo \"d $f\"; elif [ -x \"$f\" ]; then echo \"x $f\"; \
             elif [ -e \"$f\" ]; then echo \"f $f\"; fi; done"
        );
        let calls: Vec<_> = self
            .services
            .iter()
            .map(|service| vec!["docker", "exec", service, "sh", "-c", &script])
            .collect();
        let mut entries = Vec::new();
        for (service, listing) in self.services.iter().zip(docker::run_all(&calls)) {
            match listing {
                Ok(listing) => entries.extend(listing.lines().filter_map(|line| entry(service, line))),
                Err(DockerError::Failed { status, .. })
                    if status.code().is_some_and(|c| NO_SHELL.contains(&c)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }

    /// The call that runs `command`; its SDK lines go to the file `name`.jsonl of the SDK folder. A shell
    /// notes its process id, which the command then takes over, so that [`Self::kill`] can find it.
    pub fn command(&self, command: &TestCommand, name: &str) -> tokio::process::Command {
        let output = format!("ANTITHESIS_SDK_LOCAL_OUTPUT={SDK_MOUNT}/{name}.jsonl");
        let note = format!("echo $$ >{SDK_MOUNT}/{name}.pid; exec \"$0\"");
        let path = format!("{TEMPLATES}/{}", command.path());
        docker::call(&["docker", "exec", "-e", &output, &command.container, "sh", "-c", &note, &path]).into()
    }

    /// Kills the commands of `running` (container and name) that have noted their process id, each with all
    /// processes of its session.
    pub fn kill(&self, running: &[(String, String)], folder: &TimelineFolder) -> Result<(), ComposeError> {
        for container in &self.services {
            let groups: Vec<String> = running
                .iter()
                .filter(|(at, _)| at == container)
                .filter_map(|(_, name)| fs::read_to_string(folder.sdk().join(format!("{name}.pid"))).ok())
                .filter_map(|text| text.trim().parse::<u32>().ok())
                .map(|pid| format!("-{pid}"))
                .collect();
            if !groups.is_empty() {
                // No `--` before the groups: dash does not know it.
                let script = format!("kill -KILL {} 2>/dev/null; true", groups.join(" "));
                docker::run(&["docker", "exec", container, "sh", "-c", &script])?;
            }
        }
        Ok(())
    }

    /// The services whose container is not running.
    pub fn stopped(&self) -> Result<Vec<StoppedService>, ComposeError> {
        let filter = format!("label=com.docker.compose.project={PROJECT}");
        let format = "{{.Names}}\t{{.State}}\t{{.Status}}";
        let all = docker::run(&["docker", "ps", "-a", "--filter", &filter, "--format", format])?;
        Ok(stopped(&self.services, &all))
    }

    /// The ends since this was last asked.
    pub fn ended(&self) -> Vec<crate::lab::cluster::Ended> {
        Vec::new()
    }

    /// Who takes part.
    pub fn topology(&self) -> Topology {
        let named = |prefix: &str| -> Vec<_> {
            self.services.iter().filter(|service| service.starts_with(prefix)).cloned().collect()
        };
        Topology { members: named("etcd"), clients: named("client") }
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

    /// Where the lab itself reaches a member now.
    #[allow(clippy::unused_async, reason = "not done yet")]
    pub async fn member_url(&self, _member: &str) -> Option<String> {
        None
    }

    /// Whether the engine still answers; a command's exit code means nothing otherwise.
    pub fn check_engine(&self) -> Result<(), ComposeError> {
        Ok(docker::engine_answers()?)
    }

    /// Writes a log file per container.
    pub fn save_logs(&self, folder: &TimelineFolder) -> Result<(), ComposeError> {
        let mut children = Vec::new();
        for service in &self.services {
            let path = folder.logs().join(format!("{service}.log"));
            let file = || File::options().create(true).append(true).open(&path);
            let failed = |source| ComposeError::File { path: path.clone(), source };
            let (out, err) = (file().map_err(failed)?, file().map_err(failed)?);
            let mut call = docker::call(&["docker", "logs", "--timestamps", service]);
            children.push(call.stdout(out).stderr(err).spawn().map_err(failed)?);
        }
        for mut child in children {
            // A container that never started has no log, which its file then says.
            let _ = child.wait();
        }
        Ok(())
    }

    /// Removes containers, networks and volumes of the project, whoever brought them up.
    pub fn down(&self) -> Result<(), ComposeError> {
        let arguments = ["down", "--volumes", "--remove-orphans", "--timeout", "1"];
        Ok(self.compose(&arguments).map(drop)?)
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

/// JSON is YAML, so no writer of YAML is needed.
fn override_file(services: &[String], volumes: &[String], folder: &TimelineFolder) -> Value {
    let escaped = |path: &Path| path.display().to_string().replace('$', "$$");
    let quiet = format!("{}:{QUIET_MOUNT}", escaped(&folder.quiet()));
    let service = json!({
        "volumes": [format!("{}:{SDK_MOUNT}", escaped(&folder.sdk())), quiet],
        "environment": {
            "ANTITHESIS_SDK_LOCAL_OUTPUT": format!("{SDK_MOUNT}/sdk.jsonl"),
            quiet::VARIABLE: format!("{QUIET_MOUNT}/{}", quiet::SCRIPT),
        },
    });
    let services: Map<String, Value> = services.iter().map(|name| (name.clone(), service.clone())).collect();
    let mut whole = json!({ "services": services });
    if volumes.iter().any(|volume| volume == HISTORY_VOLUME) {
        let device = escaped(&folder.history());
        whole["volumes"] =
            json!({HISTORY_VOLUME: {"driver_opts": {"type": "none", "o": "bind", "device": device}}});
    }
    whole
}

fn entry(service: &str, line: &str) -> Option<Entry> {
    let (kind, path) = line.split_once(' ')?;
    let (template, name) = path.strip_prefix(TEMPLATES)?.strip_prefix('/')?.split_once('/')?;
    let kind = match kind {
        "d" => EntryKind::Folder,
        "x" => EntryKind::Executable,
        _ => EntryKind::NotExecutable,
    };
    Some(Entry { container: service.to_owned(), template: template.to_owned(), name: name.to_owned(), kind })
}

fn stopped(services: &[String], listing: &str) -> Vec<StoppedService> {
    let rows: Vec<Vec<&str>> = listing.lines().map(|line| line.split('\t').collect()).collect();
    let row = |service: &String| rows.iter().find(|columns| columns.first() == Some(&service.as_str()));
    services
        .iter()
        .filter_map(|service| match row(service).map(Vec::as_slice) {
            Some([_, "running", _]) => None,
            Some([_, _, status]) => Some((service, (*status).to_owned())),
            _ => Some((service, "has no container any more".to_owned())),
        })
        .map(|(name, status)| StoppedService { name: name.clone(), status })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::workspace::Workspace;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_override_shows_the_host_every_service_and_the_histories() {
        let root = tempfile::tempdir().unwrap();
        let folder = Workspace::open(root.path()).unwrap().new_run().unwrap().timeline(1).unwrap();
        let value = override_file(&names(&["etcd0", "client1"]), &names(&["history", "data"]), &folder);
        for service in ["etcd0", "client1"] {
            let environment = &value["services"][service]["environment"];
            assert_eq!(environment["ANTITHESIS_SDK_LOCAL_OUTPUT"], "/tmp/antithesis/sdk.jsonl");
            let mount = value["services"][service]["volumes"][0].as_str().unwrap();
            assert!(mount.ends_with("/timeline-1/sdk:/tmp/antithesis"), "{mount}");
        }
        let device = value["volumes"]["history"]["driver_opts"]["device"].as_str().unwrap();
        assert!(device.ends_with("/timeline-1/history"), "{device}");
        assert_eq!(value["volumes"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn listings_become_entries() {
        let kinds = ["x", "f", "d"].map(|kind| {
            let line = format!("{kind} /opt/antithesis/test/v1/main/first_a b");
            let entry = entry("client1", &line).unwrap();
            assert_eq!((entry.template.as_str(), entry.name.as_str()), ("main", "first_a b"));
            entry.kind
        });
        assert_eq!(kinds, [EntryKind::Executable, EntryKind::NotExecutable, EntryKind::Folder]);
        assert_eq!(entry("client1", "x /elsewhere/main/first_a"), None);
    }

    #[test]
    fn what_is_not_running_has_stopped() {
        let listing = "etcd0\trunning\tUp 3 seconds\netcd1\texited\tExited (2) 1 second ago\n";
        let stopped = stopped(&names(&["etcd0", "etcd1", "etcd2"]), listing);
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
