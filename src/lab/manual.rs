//! The parts of the main job one by one, for people who look into a system: bring it up, run the test
//! commands on it, read its logs, take it down, judge files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    exit::ExitStatus,
    lab::{
        check,
        cluster::{Cluster, UpCluster},
        compose::ComposeCluster,
        composer::Ending,
        docker,
        error::LabError,
        evaluate,
        events::{Event, EventLog},
        fault::{list, profile::Profile},
        lint::{self, Severity},
        local::LocalCluster,
        prepare::{self, ClusterOptions},
        run::{self, Lab},
        say::say,
        timeline::{self, Context, Plan},
        workspace::{ClusterKind, RunFolder, State, WorkspaceError, failed},
    },
    report,
};

/// How long another lab may take to take its cluster down.
const DOWN_LIMIT: Duration = Duration::from_mins(1);
const DOWN_POLL: Duration = Duration::from_millis(100);

/// The timeline that a cluster which was brought up by hand belongs to.
const TIMELINE: usize = 1;

/// Brings a cluster up and leaves it so. Processes end with the lab, so with them this waits for a signal.
pub async fn up(options: &ClusterOptions) -> Result<ExitStatus, LabError> {
    let lab = Lab::open()?;
    let lock = lab.workspace.lock()?;
    prepare::clear_the_way(&lab.workspace, &lab.project, &lab.progress)?;
    let kind = prepare::kind(options, &lab.project, &lab.progress);
    let run = lab.workspace.new_run()?;
    let log = EventLog::open(&run)?;
    let mut cluster =
        prepare::cluster(kind, options, &lab.project, &lab.workspace, &run, &lab.progress).await?;
    lab.progress.stage("Bringing up a fresh cluster");
    let folder = run.timeline(TIMELINE)?;
    let context = Context { folder: &folder, log: &log, progress: &lab.progress };
    log.write(&Event::TimelineStarted { timeline: TIMELINE })?;
    let mut state = prepare::state(kind, &run, TIMELINE);
    lab.workspace.set_state(&state)?;
    let up = UpCluster::start(&mut cluster, &folder, &lab.workspace).await?;
    timeline::wait_for_setup(up.cluster, TIMELINE, context).await?;
    state.kept = true;
    up.cluster.endpoints().clone_into(&mut state.endpoints);
    state.network = up.cluster.network().map(str::to_owned);
    lab.workspace.set_state(&state)?;
    lab.progress.finish();
    match kind {
        ClusterKind::Compose => {
            up.leave_up();
            say!("the system is ready; run commands in it with `etcd-lab test`,");
            say!("or one with `docker exec client1 /opt/antithesis/test/v1/main/<command>`;");
            say!("`etcd-lab down` takes it down");
            Ok(ExitStatus::Holds)
        }
        ClusterKind::Processes => {
            say!("the system is ready: export ETCDCTL_ENDPOINTS={}", state.endpoints);
            say!("`etcd-lab test` in another terminal runs commands on it; Ctrl-C takes it down");
            drop(lock);
            std::future::pending().await
        }
    }
}

/// One timeline on the cluster that is up, which stays so.
pub async fn test(options: &run::Options) -> Result<ExitStatus, LabError> {
    if options.faults.as_ref().is_some_and(|faults| !faults.is_none()) {
        return Err(LabError::FaultsWithTest);
    }
    let seed = run::announced_seed(options.seed);
    let lab = Lab::open()?;
    let _lock = lab.workspace.lock()?;
    let state = kept_state(&lab)?;
    let run = RunFolder::existing(state.run.clone());
    let log = EventLog::open(&run)?;
    let mut cluster = attached(&state, options, &lab, &run).await?;
    let folder = run.timeline(state.timeline)?;
    let context = Context { folder: &folder, log: &log, progress: &lab.progress };
    log.write(&Event::run_started(seed))?;
    lab.progress.stage("Running the test commands");
    let faults = Profile::none();
    let (number, duration, ending) = (state.timeline, options.duration, Ending::Finally);
    let plan = Plan { number, seed, duration, ending, faults: &faults, guide: None };
    let ran = timeline::run(&mut cluster, plan, context).await?;
    let mut evaluation = options.evaluation();
    evaluation.add(ran, &folder)?;
    let properties = run::judge(&evaluation, &run)?;
    lab.progress.finish();
    Ok(run::report(&properties, &run))
}

fn kept_state(lab: &Lab) -> Result<State, LabError> {
    match lab.workspace.state()? {
        Some(state) if state.cluster == ClusterKind::Compose || state.lab_is_alive() => Ok(state),
        _ => Err(WorkspaceError::NoCluster.into()),
    }
}

async fn attached(
    state: &State,
    options: &run::Options,
    lab: &Lab,
    run: &RunFolder,
) -> Result<Cluster, LabError> {
    if state.cluster == ClusterKind::Compose {
        let cluster = ComposeCluster::open(lab.project.sources()?)?;
        cluster.attach(&run.timeline(state.timeline)?)?;
        return Ok(Cluster::Compose(cluster));
    }
    let cluster =
        prepare::cluster(state.cluster, &options.cluster, &lab.project, &lab.workspace, run, &lab.progress);
    let mut cluster = cluster.await?;
    if let Cluster::Processes(local) = &mut cluster {
        local.attach(&state.endpoints, state.network.as_deref());
    }
    Ok(cluster)
}

/// Takes down whatever is up, also what a lab that was killed has left.
pub async fn down() -> Result<ExitStatus, LabError> {
    let lab = Lab::open()?;
    let _lock = lab.workspace.lock()?;
    let state = lab.workspace.state()?;
    let knows_containers = state.as_ref().is_some_and(|state| state.cluster == ClusterKind::Compose);
    if let Some(state) = state.filter(|state| state.cluster == ClusterKind::Processes) {
        end_lab(&state).await;
        if !state.lab_is_alive() {
            LocalCluster::clean_up_after(state.lab_pid)?;
        }
    }
    // Containers that nobody wrote down are looked for as well, where that can be done.
    if knows_containers || (lab.project.has_sources() && docker::engine_answers().is_ok()) {
        lab.progress.stage("Taking the containers down");
        ComposeCluster::open(lab.project.sources()?)?.down()?;
    }
    lab.workspace.clear_state()?;
    lab.progress.finish();
    say!("nothing is up");
    Ok(ExitStatus::Holds)
}

/// Members end with the lab that started them.
async fn end_lab(state: &State) {
    state.end_lab();
    let deadline = std::time::Instant::now() + DOWN_LIMIT;
    while state.lab_is_alive() && std::time::Instant::now() < deadline {
        tokio::time::sleep(DOWN_POLL).await;
    }
}

/// Shows what the services printed, of the cluster that is up.
pub async fn logs(service: Option<&str>, follow: bool) -> Result<ExitStatus, LabError> {
    let lab = Lab::open()?;
    let state = kept_state(&lab)?;
    if state.cluster == ClusterKind::Compose {
        ComposeCluster::open(lab.project.sources()?)?.show_logs(service, follow).await?;
        return Ok(ExitStatus::Holds);
    }
    if follow {
        let (option, reason) = ("--follow", "use `tail -f` on the files in the run's folder");
        return Err(LabError::WrongOption { option, cluster: "processes", reason });
    }
    let folder = RunFolder::existing(state.run).timeline(state.timeline)?;
    for place in [folder.path().join("members"), folder.logs()] {
        for path in log_files(&place)? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if service.is_none_or(|service| service == name) {
                say!("==> {name} ({})", path.display());
                let copied =
                    fs::File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::stdout()));
                failed(copied, "read", &path)?;
            }
        }
    }
    Ok(ExitStatus::Holds)
}

fn log_files(folder: &std::path::Path) -> Result<Vec<PathBuf>, WorkspaceError> {
    let entries = failed(fs::read_dir(folder), "list", folder)?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort_unstable();
    Ok(paths)
}

/// Lints test templates, of whatever project.
pub fn template(place: &str, sdk_output: &[PathBuf]) -> Result<ExitStatus, LabError> {
    let linted = lint::lint(place, sdk_output)?;
    for (command, role) in &linted.commands {
        say!("{command}: {role}");
    }
    for finding in &linted.findings {
        say!("{}: {}", finding.severity, finding.text);
    }
    let errors = linted.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = linted.findings.len() - errors;
    say!("{} commands, {errors} errors, {warnings} warnings", linted.commands.len());
    Ok(if errors == 0 { ExitStatus::Holds } else { ExitStatus::Broken })
}

/// Shows the kinds of faults.
pub fn faults() -> ExitStatus {
    let lacking = [("to be had", list::never()), ("with local processes here", list::of_processes())];
    say!("{}", list::table(&lacking, run::width()));
    ExitStatus::Holds
}

/// Makes the report of a run again: of the latest, or of one that is named by its folder or by its time. With
/// `timeline`, the page of that timeline alone.
pub fn report(run: Option<&Path>, timeline: Option<usize>) -> Result<ExitStatus, LabError> {
    let folder = match run {
        Some(path) if path.is_dir() => path.to_owned(),
        named => {
            let runs = Lab::open()?.workspace.folder().join("runs");
            runs.join(named.unwrap_or(Path::new("latest")))
        }
    };
    check::pages::write(&folder);
    let written = match timeline {
        Some(number) => report::write_timeline(&folder, number)?,
        None => report::write(&folder)?,
    };
    run::show_report(&written);
    Ok(ExitStatus::Holds)
}

/// Judges files of SDK output, of whatever project.
pub fn evaluate(files: &[PathBuf]) -> Result<ExitStatus, LabError> {
    Ok(run::show(&evaluate::sdk_files(files)?))
}
