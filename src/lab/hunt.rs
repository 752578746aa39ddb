//! `etcd-lab hunt`: timelines with ever other members, flags, traffic and faults, until one breaks a promise or the time
//! is over. In go versions of etcd, out come what was found, the timeline that shows it, and a small profile that brings
//! it about again. What is broken the checks say; what is known of etcd, a list.

mod counts;
mod lean;
pub mod live;
pub mod profile;
pub mod reach;
mod shrink;
mod tell;
mod trial;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::sync::{Mutex, watch};

use self::{
    profile::{Members, Profile},
    reach::State,
    shrink::Shrunk,
    trial::{Ended, Ground, Order, Trial},
};
use crate::{
    capability::Capability,
    exit::ExitStatus,
    lab::{
        cluster::Cluster,
        error::LabError,
        etcd_binary::{EtcdBinary, EtcdVersion},
        evaluate::Evaluation,
        events::{Event, EventLog},
        known::{SetAside, Sought},
        prepare::{self, ClusterOptions},
        run::{self, Lab, Stage},
        server::{LeftOut, Server, ServerError},
        workspace::ClusterKind,
    },
};

/// The profile of a timeline, in its folder.
pub const PROFILE_FILE: &str = "profile.toml";
/// After so many timelines, a hunt that is to be thorough leans those that it draws to states that none came to.
const LEANS_AFTER: usize = 6;
/// More timelines than this go on at once only if they are asked for: each has the members' memory and disk.
const AT_ONCE_AT_MOST: usize = 8;
/// What a hunt ran and found, in the run's folder.
const RECORD_FILE: &str = "hunt.json";

/// What is hunted, where and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Containers or processes.
    pub kind: Option<ClusterKind>,
    /// Packaged versions, or paths of binaries; the default version if there are none.
    pub etcd: Vec<String>,
    /// Describes the server under test, if it is no complete etcd.
    pub capabilities: Option<PathBuf>,
    /// Sizes of clusters to draw from.
    pub members: Vec<Members>,
    /// The one profile of all timelines; drawn for each if there is none.
    pub profile: Option<PathBuf>,
    /// How many timelines go on beside each other; if none is given, as many as there are cores,
    /// 8 at most, and one in containers.
    pub at_once: Option<NonZeroUsize>,
    /// When no further timeline begins.
    pub time: Duration,
    /// How long the search for a smaller profile may take.
    pub shrink: Duration,
    /// Go on after a finding until the time is over, and shrink nothing.
    pub go_on: bool,
    /// Go on after findings that these explain.
    pub set_aside: SetAside,
    /// Whether a state that no timeline came to is a failure.
    pub thorough: bool,
    /// Go on after all other findings.
    pub look_for: Option<Sought>,
    /// Decides all draws; drawn if there is none.
    pub seed: Option<u64>,
    /// How many bytes all runs together may take on disk.
    pub disk_limit: u64,
    /// The messages of properties that only faults bring about.
    pub needs_faults: &'static [&'static str],
    /// The messages of the properties that few timelines may not reach.
    pub rare: &'static [&'static [&'static str]],
    /// The messages of properties, with what a server must have for them.
    pub needs: Vec<(&'static str, &'static [Capability])>,
}

/// A server to hunt in.
#[derive(Debug, Clone)]
struct Target {
    /// As it was named.
    name: String,
    /// If it is an etcd.
    version: Option<EtcdVersion>,
}

impl Target {
    /// For people.
    fn words(&self) -> String {
        if self.version.is_some() { format!("etcd {}", self.name) } else { self.name.clone() }
    }
}

/// Hunts, and tells what was found.
pub async fn run(options: &Options) -> Result<ExitStatus, LabError> {
    let seed = run::announced_seed(options.seed);
    let server = options.capabilities.as_deref().map(Server::read).transpose()?.unwrap_or_default();
    let profile = options.profile.as_deref().map(|path| read_profile(path, &server)).transpose()?;
    let targets = targets(&options.etcd, &server)?;
    let lab = Lab::open()?;
    let _lock = lab.workspace.lock()?;
    prepare::clear_the_way(&lab.workspace, &lab.project, &lab.progress)?;
    let command = server.start.as_ref().map(|start| start.command.clone());
    let wanted = ClusterOptions { kind: options.kind, server: command, ..ClusterOptions::default() };
    let kind = prepare::kind(&wanted, &lab.project, &lab.progress);
    let run = lab.workspace.new_run()?;
    let log = EventLog::open(&run)?;
    log.write(&Event::run_started(seed))?;
    let stage = Stage { lab: &lab, run: &run, log: &log, progress: &lab.progress };
    let is_etcd = server.start.is_none();
    let of_states = State::wanted(is_etcd).map(|state| (state.message(), state.needed()));
    let left_out = server.left_out(options.needs.iter().copied().chain(of_states));
    let mut evaluation = evaluation(options, &left_out);
    evaluation.look_for(State::wanted(is_etcd).map(State::message));
    let (over, is_over) = watch::channel(false);
    let lacks = server.lacks();
    let ground = Ground {
        options,
        stage,
        wanted: ClusterOptions { kind: Some(kind), ..wanted },
        lacks: &lacks,
        left_out: &left_out,
        started: Instant::now(),
        look_for: None,
        over: is_over,
        preparing: Rc::new(Mutex::new(())),
    };
    let mut hunt = Hunt {
        ground,
        over,
        at_once: at_once(options, kind)?,
        rng: StdRng::seed_from_u64(seed),
        members: sizes(options, &server)?,
        is_etcd,
        idle: vec![],
        evaluation,
        begun: 0,
        trials: vec![],
        shrunk: None,
    };
    let hunted = hunt.hunt(&targets, profile.as_ref()).await;
    log.write(&Event::RunEnded)?;
    lab.progress.finish();
    let hunted = match hunted {
        Err(error) if hunt.trials.is_empty() => return Err(error),
        // What was found is not lost over a timeline that could not be run.
        hunted => hunted,
    };
    let has_reached_all = hunt.tell()?;
    match hunted? {
        ExitStatus::Holds if options.thorough && !has_reached_all => Ok(ExitStatus::Undecided),
        status => Ok(status),
    }
}

/// Containers have names and networks that are the project's, so that there is one cluster of them.
fn at_once(options: &Options, kind: ClusterKind) -> Result<usize, LabError> {
    let asked = options.at_once.map(NonZeroUsize::get);
    match kind {
        ClusterKind::Compose if asked.is_some_and(|asked| asked > 1) => {
            let reason = "containers of two clusters would have the same names; use --cluster processes";
            Err(LabError::WrongOption { option: "--at-once", cluster: "compose", reason })
        }
        ClusterKind::Compose => Ok(1),
        ClusterKind::Processes => {
            let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
            Ok(asked.unwrap_or(cores.min(AT_ONCE_AT_MOST)))
        }
    }
}

/// As far as the server has what it needs.
fn read_profile(path: &Path, server: &Server) -> Result<Profile, LabError> {
    let profile = Profile::read(path)?.within(&server.lacks());
    if server.start.as_ref().is_some_and(|start| !start.members.contains(&profile.members)) {
        return Err(ServerError::Members.into());
    }
    if profile.traffic.is_empty() { Err(ServerError::NoTraffic.into()) } else { Ok(profile) }
}

fn targets(names: &[String], server: &Server) -> Result<Vec<Target>, LabError> {
    if let Some(start) = &server.start {
        if !names.is_empty() {
            return Err(ServerError::TwoServers.into());
        }
        let name = start.command.program().display().to_string();
        return Ok(vec![Target { name, version: None }]);
    }
    let default = [EtcdVersion::DEFAULT.to_string()];
    let names = if names.is_empty() { &default } else { names };
    let target = |name: &String| {
        let version = if name.contains('/') { EtcdBinary::at(name)?.version() } else { name.parse()? };
        Ok(Target { name: name.clone(), version: Some(version) })
    };
    names.iter().map(target).collect()
}

/// Of the sizes that were asked for, those that a cluster of the server may have.
fn sizes(options: &Options, server: &Server) -> Result<Vec<Members>, LabError> {
    let may_be =
        |members: &Members| server.start.as_ref().is_none_or(|start| start.members.contains(members));
    let sizes: Vec<_> = options.members.iter().copied().filter(may_be).collect();
    if sizes.is_empty() { Err(ServerError::Members.into()) } else { Ok(sizes) }
}

fn evaluation<'a>(options: &Options, left_out: &[LeftOut]) -> Evaluation<'a> {
    let mut evaluation = Evaluation::new(options.needs_faults, options.rare, false);
    let reason =
        |left_out: &LeftOut| format!("the server lacks {} ({})", left_out.lacks.name(), left_out.reason);
    let reasons = left_out
        .iter()
        .flat_map(|left_out| left_out.properties.iter().map(move |message| (*message, reason(left_out))));
    evaluation.leave_out(reasons.collect());
    evaluation
}

/// A hunt at work.
struct Hunt<'a> {
    ground: Ground<'a>,
    /// Says to all timelines that it is over.
    over: watch::Sender<bool>,
    /// How many timelines go on beside each other.
    at_once: usize,
    rng: StdRng,
    /// Sizes of clusters to draw from.
    members: Vec<Members>,
    /// Whether its members take etcd's flags.
    is_etcd: bool,
    /// The clusters of timelines that have ended, with the names of their etcds.
    idle: Vec<(String, Cluster)>,
    evaluation: Evaluation<'a>,
    /// How many timelines were begun.
    begun: usize,
    /// Those that have ended.
    trials: Vec<Trial>,
    /// What the search for a smaller profile ended with.
    shrunk: Option<Shrunk>,
}

/// A timeline that goes on.
type Timeline<'a> = Pin<Box<dyn Future<Output = Result<Ended<'a>, LabError>> + 'a>>;
/// Several, beside each other.
type Running<'a> = FuturesUnordered<Timeline<'a>>;

impl<'a> Hunt<'a> {
    async fn hunt(&mut self, targets: &[Target], profile: Option<&Profile>) -> Result<ExitStatus, LabError> {
        let options = self.ground.options;
        // To build images for the first time takes longer than many a hunt.
        let first = self.ground.cluster(self.ground.stage, &targets[0]).await?;
        self.idle.push((targets[0].name.clone(), first));
        self.ground.started = Instant::now();
        let (mut status, mut of_interest) = (ExitStatus::Holds, None);
        self.ground.stage.progress.stage("Hunting");
        let mut running = Running::new();
        loop {
            while of_interest.is_none()
                && running.len() < self.at_once
                && self.ground.started.elapsed() < options.time
            {
                let target = targets.choose(&mut self.rng).expect("there is at least one").clone();
                let profile = profile.cloned().unwrap_or_else(|| self.draw());
                running.push(self.begin(target, profile));
            }
            let Some(ended) = running.next().await else { break };
            let (trial, target) = self.end(ended?)?;
            if trial.found.iter().any(|found| !options.set_aside.includes(&found.known)) {
                status = ExitStatus::Broken;
            }
            let found = trial.found.iter().find(|found| trial::is_of_interest(found, options));
            if let (Some(found), None) = (found, &of_interest) {
                of_interest = Some((target, trial.profile.clone(), found.clone()));
                self.over.send_replace(true);
            }
        }
        self.over.send_replace(false);
        if let Some((target, profile, found)) = of_interest {
            self.shrink(&target, profile, &found).await?;
        }
        Ok(status)
    }

    /// Runs timelines of one profile, all at once.
    async fn together(
        &mut self,
        target: &Target,
        profile: &Profile,
        timelines: usize,
    ) -> Result<Vec<Trial>, LabError> {
        let mut running = Running::new();
        for _ in 0..timelines {
            running.push(self.begin(target.clone(), profile.clone()));
        }
        let mut trials = vec![];
        while let Some(ended) = running.next().await {
            trials.push(self.end(ended?)?.0);
        }
        Ok(trials)
    }

    fn draw(&mut self) -> Profile {
        let members = self.members.choose(&mut self.rng).expect("there is at least one");
        let mut profile = Profile::draw(*members, &mut self.rng);
        if let Some(state) = self.missing() {
            lean::lean(&mut profile, state, &self.members);
        }
        profile = profile.within(self.ground.lacks);
        if !self.is_etcd {
            profile.flags.clear();
        }
        profile
    }

    /// A state that no timeline came to, one after the other, if the hunt is to come to all and has drawn for a while.
    fn missing(&self) -> Option<State> {
        let trials = self.begun.checked_sub(LEANS_AFTER).filter(|_| self.ground.options.thorough)?;
        let is_reached =
            |state: &State| self.trials.iter().any(|trial| trial.reached.contains(&state.message()));
        let is_possible = |state: &State| self.ground.lacks.first_of(state.needed()).is_none();
        let wanted = State::wanted(self.is_etcd).filter(is_possible);
        let missing: Vec<_> = wanted.filter(|state| !is_reached(state)).collect();
        missing.get(trials % missing.len().max(1)).copied()
    }

    /// A timeline that begins when it is first waited for.
    fn begin(&mut self, target: Target, profile: Profile) -> Timeline<'a> {
        self.begun += 1;
        if self.ground.wanted.kind == Some(ClusterKind::Compose) {
            // All containers have the images that were built last.
            self.idle.retain(|(name, _)| *name == target.name);
        }
        let at = self.idle.iter().position(|(name, _)| *name == target.name);
        let cluster = at.map(|at| self.idle.swap_remove(at).1);
        let order = Order { number: self.begun, seed: self.rng.r#gen(), target, profile };
        Box::pin(self.ground.clone().run(order, cluster))
    }

    /// Takes in a timeline that has ended.
    fn end(&mut self, ended: Ended<'a>) -> Result<(Trial, Target), LabError> {
        let Ended { trial, target, seen, cluster } = ended;
        let stage = self.ground.stage;
        self.idle.push((target.name.clone(), cluster));
        self.evaluation.reach(trial.number, trial.reached.iter().copied());
        self.evaluation.join(seen);
        if !trial.found.is_empty() {
            self.evaluation.fail(trial.number);
        }
        stage.progress.note(&tell::line(&trial, &target.words()));
        self.trials.push(trial.clone());
        let broken = self.trials.iter().filter(|trial| !trial.found.is_empty()).count();
        stage.progress.live(&format!("{} timelines, {broken} of them broke something", self.trials.len()));
        run::judge(&self.evaluation, stage.run)?;
        stage.keep_within(self.ground.options.disk_limit, &self.evaluation)?;
        Ok((trial, target))
    }
}
