//! From options to a cluster that can be brought up: which kind, with which images or programs, on which
//! etcd. It leaves nothing running, and takes down what a lab that was killed has left.

use std::path::{Path, PathBuf};

use crate::{
    commands::COMMANDS,
    lab::{
        cluster::Cluster,
        compose::ComposeCluster,
        docker,
        error::LabError,
        etcd_binary::EtcdBinary,
        local::{LocalCluster, Programs, make_template},
        processes::program::{Command, Program},
        progress::Progress,
        project::Project,
        workspace::{ClusterKind, RunFolder, State, Workspace, WorkspaceError},
    },
};

/// What the cluster is to be.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Containers or processes; containers if Docker answers.
    pub kind: Option<ClusterKind>,
    /// A version, or with processes the path of a binary.
    pub etcd: Option<String>,
    /// With processes: the command of members that are no etcds.
    pub server: Option<Command>,
    /// With processes: a folder of templates to use instead of the project's own.
    pub templates: Option<PathBuf>,
}

/// Decides the kind, and says so where it was not asked for.
pub fn kind(options: &ClusterOptions, project: &Project, progress: &Progress) -> ClusterKind {
    if let Some(kind) = options.kind {
        return kind;
    }
    if options.templates.is_some() || options.server.is_some() {
        return ClusterKind::Processes;
    }
    if !project.has_sources() {
        progress.note("this is not the project's folder: the cluster will be processes");
        return ClusterKind::Processes;
    }
    match docker::engine_answers().and_then(|()| docker::compose_words()) {
        Ok(_) => ClusterKind::Compose,
        Err(error) => {
            progress.note(&format!("the cluster will be processes, since {error}"));
            ClusterKind::Processes
        }
    }
}

/// Sees that nothing is up: what a killed lab left is taken down, what was kept on purpose is an error.
pub fn clear_the_way(workspace: &Workspace, project: &Project, progress: &Progress) -> Result<(), LabError> {
    let Some(state) = workspace.state()? else { return Ok(()) };
    let gone_with_its_lab = state.cluster == ClusterKind::Processes && !state.lab_is_alive();
    if state.kept && !gone_with_its_lab {
        return Err(WorkspaceError::ClusterIsUp { state: Box::new(state) }.into());
    }
    if gone_with_its_lab {
        LocalCluster::clean_up_after(state.lab_pid)?;
    }
    if state.cluster == ClusterKind::Compose {
        progress.stage("Taking down what an earlier lab left");
        ComposeCluster::open(project.sources()?)?.down()?;
    }
    Ok(workspace.clear_state()?)
}

/// Images or programs, built where they are missing or old.
pub async fn cluster(
    kind: ClusterKind,
    options: &ClusterOptions,
    project: &Project,
    workspace: &Workspace,
    run: &RunFolder,
    progress: &Progress,
) -> Result<Cluster, LabError> {
    let log = run.path().join("build.log");
    match kind {
        ClusterKind::Compose => compose(options, project, &log, progress).await,
        ClusterKind::Processes => processes(options, project, workspace, &log, progress).await,
    }
}

async fn compose(
    options: &ClusterOptions,
    project: &Project,
    log: &Path,
    progress: &Progress,
) -> Result<Cluster, LabError> {
    let wrong = |option, reason| LabError::WrongOption { option, cluster: "compose", reason };
    if options.templates.is_some() {
        return Err(wrong("--templates", "the templates are those in the images"));
    }
    if options.server.is_some() {
        return Err(wrong("[start] of --capabilities", "containers have what is in their images"));
    }
    let mut cluster = ComposeCluster::open(project.sources()?)?;
    cluster.check_names()?;
    let mut arguments = vec![];
    match &options.etcd {
        Some(version) if version.contains('/') => {
            return Err(wrong("--etcd PATH", "give a version, or build the image as the README says"));
        }
        Some(version) => {
            cluster.etcd = version.parse()?;
            arguments.push(format!("ETCD_VERSION={}", cluster.etcd));
        }
        None => {}
    }
    progress.stage("Building the images that are missing or old (the first time takes minutes)");
    progress.follow(log, cluster.build(log, &arguments)).await?;
    Ok(Cluster::Compose(cluster))
}

async fn processes(
    options: &ClusterOptions,
    project: &Project,
    workspace: &Workspace,
    log: &Path,
    progress: &Progress,
) -> Result<Cluster, LabError> {
    progress.stage("Building the test commands");
    let folder = progress.follow(log, project.programs(log)).await?;
    let program = match &options.server {
        Some(command) => Program::Other(command.clone()),
        None => Program::Etcd(etcd(options.etcd.as_deref(), progress)?),
    };
    let own_templates = workspace.folder().join("templates");
    if options.templates.is_none() {
        let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        make_template(&folder.join("test-command"), &names, &own_templates)?;
    }
    let templates = options.templates.clone().unwrap_or(own_templates);
    let programs = Programs { health_checker: folder.join("health-checker"), templates };
    Ok(Cluster::Processes(LocalCluster::new(program, programs)))
}

fn etcd(wanted: Option<&str>, progress: &Progress) -> Result<EtcdBinary, LabError> {
    progress.stage("Finding etcd (the first time it is fetched from a package)");
    let etcd = match wanted {
        Some(path) if path.contains('/') => EtcdBinary::at(path)?,
        Some(version) => EtcdBinary::locate(Some(version.parse()?))?,
        None => EtcdBinary::locate(None)?,
    };
    progress.note(&format!("etcd {} ({})", etcd.version(), etcd.path().display()));
    Ok(etcd)
}

/// What is written down before a cluster is brought up.
pub fn state(kind: ClusterKind, run: &RunFolder, timeline: usize) -> State {
    let (run, lab_pid) = (run.path().to_owned(), std::process::id());
    State { cluster: kind, kept: false, run, timeline, lab_pid, endpoints: String::new(), network: None }
}
