//! The main job: timelines on fresh clusters, one after the other, then the verdicts over all of them.
//! It wires the parts and decides nothing that they could decide.

use std::{
    io::{IsTerminal, stdout},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    exit::ExitStatus,
    lab::{
        check,
        cluster::{Cluster, UpCluster},
        composer::Ending,
        error::LabError,
        evaluate::{self, Evaluation},
        events::{Event, EventLog},
        fault::profile::Profile,
        prepare::{self, ClusterOptions},
        progress::Progress,
        project::Project,
        retention,
        say::{say, say_aside},
        timeline::{self, Context, Plan, Ran},
        workspace::{ClusterKind, RunFolder, TimelineFolder, Workspace},
    },
    report::{self, Written, property::Property, text},
    settings::{self, Class},
};

/// The width where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 80;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster.
    pub cluster: ClusterOptions,
    /// How many timelines, each on a fresh cluster.
    pub timelines: usize,
    /// How long drivers are started in each.
    pub duration: Duration,
    /// Decides every schedule; drawn if none.
    pub seed: Option<u64>,
    /// How many bytes all runs together may take on disk.
    pub disk_limit: u64,
    /// Leave the last cluster up.
    pub keep: bool,
    /// Which faults there may be; light ones if none are asked for. A cluster that was brought up by hand has
    /// none.
    pub faults: Option<Profile>,
    /// The messages of properties that only faults bring about.
    pub needs_faults: &'static [&'static str],
    /// The messages of the properties that few timelines may not reach.
    pub rare: &'static [&'static [&'static str]],
    /// The messages of the properties about users, of whom there are none unless authentication is on.
    pub needs_users: Vec<&'static str>,
}

impl Options {
    /// Nothing to judge yet.
    pub(super) fn evaluation<'a>(&self) -> Evaluation<'a> {
        let mut evaluation = Evaluation::new(self.needs_faults, self.rare, self.cluster.templates.is_some());
        let has_users = settings::classes().is_ok_and(|classes| classes.contains(&Class::Auth));
        if !has_users {
            let reason = |message: &&'static str| (*message, "the class auth is off".to_owned());
            evaluation.leave_out(self.needs_users.iter().map(reason).collect());
        }
        evaluation
    }
}

/// What every subcommand works with.
pub struct Lab {
    /// The sources.
    pub project: Project,
    /// The lab's folder.
    pub workspace: Workspace,
    /// What people see.
    pub progress: Progress,
}

impl Lab {
    /// Finds the project and opens its workspace.
    pub fn open() -> Result<Self, LabError> {
        let project = Project::find()?;
        let workspace = Workspace::open(project.root())?;
        Ok(Self { project, workspace, progress: Progress::new() })
    }
}

/// The seed that was asked for or a new one, told before all else.
pub fn announced_seed(asked: Option<u64>) -> u64 {
    let seed = asked.unwrap_or_else(|| StdRng::from_entropy().r#gen());
    say!("seed {seed} (repeat the schedule with --seed {seed})");
    seed
}

/// Runs all timelines and judges them.
pub async fn run(options: &Options) -> Result<ExitStatus, LabError> {
    let seed = announced_seed(options.seed);
    let lab = Lab::open()?;
    let _lock = lab.workspace.lock()?;
    prepare::clear_the_way(&lab.workspace, &lab.project, &lab.progress)?;
    let kind = prepare::kind(&options.cluster, &lab.project, &lab.progress);
    if options.keep && kind == ClusterKind::Processes {
        let reason = "processes end with the lab; use `etcd-lab up`, which waits";
        return Err(LabError::WrongOption { option: "--keep", cluster: "processes", reason });
    }
    let run = lab.workspace.new_run()?;
    let log = EventLog::open(&run)?;
    log.write(&Event::run_started(seed))?;
    let mut evaluation = options.evaluation();
    let job = Job { options, stage: Stage { lab: &lab, run: &run, log: &log, progress: &lab.progress } };
    let failure = job.timelines(kind, seed, &mut evaluation).await.err();
    log.write(&Event::RunEnded)?;
    let failure = match failure {
        Some(error) if evaluation.timelines() == 0 => return Err(error),
        other => other,
    };
    let properties = evaluation.properties();
    lab.progress.finish();
    let status = report(&properties, &run);
    // The timelines that did end are not lost over one that could not be run.
    failure.map_or(Ok(status), Err)
}

/// A run at work.
#[derive(Clone, Copy)]
struct Job<'a> {
    options: &'a Options,
    stage: Stage<'a>,
}

impl Job<'_> {
    async fn timelines(
        self,
        kind: ClusterKind,
        seed: u64,
        evaluation: &mut Evaluation<'_>,
    ) -> Result<(), LabError> {
        let mut cluster = self.stage.cluster(kind, &self.options.cluster).await?;
        if let Some(etcd) = cluster.etcd() {
            evaluation.set_etcd(etcd);
        }
        let mut seeds = StdRng::seed_from_u64(seed);
        let faults = self.options.faults.clone().unwrap_or_else(Profile::light);
        for number in 1..=self.options.timelines {
            let folder = self.stage.run.timeline(number)?;
            let ending = Ending::of_timeline(number);
            let (seed, duration) = (seeds.r#gen(), self.options.duration);
            let plan = Plan { number, seed, duration, ending, faults: &faults, guide: None };
            let which = format!("Timeline {number} of {}", self.options.timelines);
            let keep = self.options.keep && number == self.options.timelines;
            let ran = self.stage.timeline(&mut cluster, plan, &folder, &Shown { which, keep }).await?;
            evaluation.add(ran, &folder)?;
            judge(evaluation, self.stage.run)?;
            self.stage.keep_within(self.options.disk_limit, evaluation)?;
        }
        Ok(())
    }
}

/// Where timelines take place: what every one of a run works with.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// The run's folder.
    pub run: &'a RunFolder,
    /// The run's event log.
    pub log: &'a EventLog,
    /// What people see of it.
    pub progress: &'a Progress,
}

/// How a timeline is shown, and left.
#[derive(Debug)]
pub struct Shown {
    /// Which one it is, for people.
    pub which: String,
    /// Leave the cluster up.
    pub keep: bool,
}

impl Stage<'_> {
    /// A cluster that can be brought up.
    pub async fn cluster(self, kind: ClusterKind, wanted: &ClusterOptions) -> Result<Cluster, LabError> {
        let Lab { project, workspace, .. } = self.lab;
        prepare::cluster(kind, wanted, project, workspace, self.run, self.progress).await
    }

    /// Removes what holds until all runs take no more than so many bytes.
    pub fn keep_within(self, limit: u64, evaluation: &Evaluation<'_>) -> Result<(), LabError> {
        let Self { run, log, progress, .. } = self;
        let removed = retention::keep_within(limit, run, evaluation.holding())?;
        for old in &removed.runs {
            progress.note(&format!("removed the old run {} (--disk-limit)", old.display()));
        }
        for timeline in removed.timelines {
            log.write(&Event::FilesRemoved { timeline })?;
            let bound = "to stay within --disk-limit";
            progress.note(&format!(
                "removed histories and logs of timeline {timeline}, where all holds, {bound}"
            ));
        }
        Ok(())
    }

    /// A timeline on a fresh cluster.
    pub async fn timeline(
        self,
        cluster: &mut Cluster,
        plan: Plan<'_>,
        folder: &TimelineFolder,
        shown: &Shown,
    ) -> Result<Ran, LabError> {
        let (workspace, progress) = (&self.lab.workspace, self.progress);
        let context = Context { folder, log: self.log, progress };
        let Shown { which, keep } = shown;
        progress.stage(&format!("{which}: bringing up a fresh cluster"));
        self.log.write(&Event::TimelineStarted { timeline: plan.number })?;
        let mut state = prepare::state(cluster.kind(), self.run, plan.number);
        workspace.set_state(&state)?;
        let up = UpCluster::start(cluster, folder, workspace).await?;
        timeline::wait_for_setup(up.cluster, plan.number, context).await?;
        progress.stage(&format!("{which}: running the test commands"));
        let ran = timeline::run(up.cluster, plan, context).await?;
        if *keep {
            state.kept = true;
            workspace.set_state(&state)?;
            up.leave_up();
            progress.note("the cluster stays up: `etcd-lab test` uses it, `etcd-lab down` takes it down");
        } else {
            progress.stage(&format!("{which}: taking the cluster down"));
            up.down()?;
        }
        Ok(ran)
    }
}

/// The verdicts so far, also in the run's folder.
pub fn judge(evaluation: &Evaluation<'_>, run: &RunFolder) -> Result<Vec<Property>, LabError> {
    let properties = evaluation.properties();
    evaluate::save(&properties, run.path()).map_err(LabError::Save)?;
    Ok(properties)
}

/// Shows the verdicts of a run and where everything is; what the exit code says.
pub fn report(properties: &[Property], run: &RunFolder) -> ExitStatus {
    let status = show(properties);
    show_files(run);
    status
}

/// Writes the report of a run, and says where everything is.
pub fn show_files(run: &RunFolder) {
    check::pages::write(run.path());
    match report::write(run.path()) {
        Ok(written) => show_report(&written),
        // The verdicts stand all the same.
        Err(error) => say_aside!("error: there is no report: {error}"),
    }
    say!("everything is in {}", run.path().display());
}

/// Says what a run was made of, and where its report is.
pub fn show_report(written: &Written) {
    say!("{}", text::folded(&written.totals.to_string(), width()));
    say!("report: {}", written.page.display());
}

/// `COLUMNS` if it is set, or what the terminal has.
pub fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = columns.filter(|columns| *columns > 0);
    asked.or_else(|| comfy_table::Table::new().width()).unwrap_or(DEFAULT_WIDTH)
}

/// On a terminal, unless `NO_COLOR` is set.
pub fn colour() -> text::Colour {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stdout().is_terminal() && !plain { text::Colour::On } else { text::Colour::Off }
}

/// Shows verdicts in the width and with the colours that the terminal has.
pub fn show(properties: &[Property]) -> ExitStatus {
    say!("{}", text::verdict_table(properties, width(), colour()));
    if evaluate::all_hold(properties) { ExitStatus::Holds } else { ExitStatus::Broken }
}
