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

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::Serialize;
use tokio::sync::watch;

use self::{
    counts::Counts,
    profile::{Members, Profile},
    reach::State,
    shrink::Shrunk,
};
use crate::{
    capability::{Capability, Lacks},
    exit::ExitStatus,
    history::reader,
    lab::{
        cluster::Cluster,
        error::LabError,
        etcd_binary::{EtcdBinary, EtcdVersion},
        evaluate::Evaluation,
        events::{Event, EventLog},
        finding::{self, Finding},
        known::{self, Found, SetAside},
        prepare::{self, ClusterOptions},
        run::{self, Lab, Shown, Stage},
        server::{LeftOut, Server, ServerError},
        timeline::{Guide, Plan, Ran},
        workspace::ClusterKind,
    },
};

/// The traffic of a hunt.
const DRIVER: &str = "singleton_driver_mixed_traffic";
/// The profile of a timeline, in its folder.
pub const PROFILE_FILE: &str = "profile.toml";
/// After so many timelines, a hunt that is to be thorough leans those that it draws to states that none came to.
const LEANS_AFTER: usize = 6;
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
    /// Go on after findings of any other property.
    pub look_for: Option<String>,
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

/// A timeline that was run.
#[derive(Debug, Clone, Serialize)]
struct Trial {
    number: usize,
    etcd: String,
    profile: Profile,
    /// From the hunt's start to its end.
    ended: Duration,
    /// How long it took, its cluster included.
    took: Duration,
    found: Vec<Found>,
    /// What could not be decided.
    undecided: Vec<String>,
    /// The states that it came to.
    reached: Vec<&'static str>,
    /// How much was recorded.
    counts: Counts,
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
    let stage = Stage { lab: &lab, run: &run, log: &log };
    let is_etcd = server.start.is_none();
    let of_states = State::wanted(is_etcd).map(|state| (state.message(), state.needed()));
    let left_out = server.left_out(options.needs.iter().copied().chain(of_states));
    let mut evaluation = evaluation(options, &left_out);
    evaluation.look_for(State::wanted(is_etcd).map(State::message));
    let mut hunt = Hunt {
        options,
        stage,
        wanted: ClusterOptions { kind: Some(kind), ..wanted },
        rng: StdRng::seed_from_u64(seed),
        members: sizes(options, &server)?,
        lacks: server.lacks(),
        is_etcd,
        evaluation,
        left_out,
        cluster: None,
        trials: vec![],
        started: Instant::now(),
        look_for: None,
        shrunk: None,
    };
    let hunted = hunt.hunt(&targets, profile.as_ref()).await;
    log.write(&Event::RunEnded)?;
    lab.progress.finish();
    let has_reached_all = hunt.tell()?;
    match hunted? {
        ExitStatus::Holds if options.thorough && !has_reached_all => Ok(ExitStatus::Undecided),
        status => Ok(status),
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
    options: &'a Options,
    stage: Stage<'a>,
    /// What clusters are brought up.
    wanted: ClusterOptions,
    rng: StdRng,
    /// Sizes of clusters to draw from.
    members: Vec<Members>,
    /// What the server has not.
    lacks: Lacks,
    /// Whether its members take etcd's flags.
    is_etcd: bool,
    /// What the hunt goes without therefore.
    left_out: Vec<LeftOut>,
    /// The cluster of the last timeline, with the name of its etcd.
    cluster: Option<(String, Cluster)>,
    evaluation: Evaluation<'a>,
    trials: Vec<Trial>,
    started: Instant,
    /// The one property that ends a timeline, while a profile is made small.
    look_for: Option<String>,
    /// What that ended with.
    shrunk: Option<Shrunk>,
}

impl Hunt<'_> {
    async fn hunt(&mut self, targets: &[Target], profile: Option<&Profile>) -> Result<ExitStatus, LabError> {
        let mut status = ExitStatus::Holds;
        while self.started.elapsed() < self.options.time {
            let target = targets.choose(&mut self.rng).expect("there is at least one").clone();
            let profile = profile.cloned().unwrap_or_else(|| self.draw());
            let trial = self.trial(&target, &profile).await?;
            if trial.found.iter().any(|found| !self.options.set_aside.includes(&found.known)) {
                status = ExitStatus::Broken;
            }
            if let Some(found) = trial.found.iter().find(|found| is_of_interest(found, self.options)) {
                self.shrink(&target, profile, &found.finding.property).await?;
                break;
            }
        }
        Ok(status)
    }

    fn draw(&mut self) -> Profile {
        let members = self.members.choose(&mut self.rng).expect("there is at least one");
        let mut profile = Profile::draw(*members, &mut self.rng);
        if let Some(state) = self.missing() {
            lean::lean(&mut profile, state, &self.members);
        }
        profile = profile.within(&self.lacks);
        if !self.is_etcd {
            profile.flags.clear();
        }
        profile
    }

    /// A state that no timeline came to, one after the other, if the hunt is to come to all and has drawn for a while.
    fn missing(&self) -> Option<State> {
        let trials = self.trials.len().checked_sub(LEANS_AFTER).filter(|_| self.options.thorough)?;
        let is_reached =
            |state: &State| self.trials.iter().any(|trial| trial.reached.contains(&state.message()));
        let is_possible = |state: &State| self.lacks.first_of(state.needed()).is_none();
        let wanted = State::wanted(self.is_etcd).filter(is_possible);
        let missing: Vec<_> = wanted.filter(|state| !is_reached(state)).collect();
        missing.get(trials % missing.len().max(1)).copied()
    }

    /// Runs one timeline, which ends early when something of interest is broken.
    async fn trial(&mut self, target: &Target, profile: &Profile) -> Result<Trial, LabError> {
        let (number, begun) = (self.trials.len() + 1, Instant::now());
        let folder = self.stage.run.timeline(number)?;
        profile.write(&folder.path().join(PROFILE_FILE), &[target.words()])?;
        let which = format!("Timeline {number}, {}: {profile}", target.words());
        let (sender, stop) = watch::channel(false);
        let findings = live::Findings::default();
        let judge = {
            let (version, classes, options) = (target.version, profile.classes.clone(), self.options.clone());
            let look_for = self.look_for.clone();
            let ends = move |findings: &[Finding]| {
                let found = known::explain(findings, version, &classes);
                let ends_it = |found: &Found| match &look_for {
                    Some(property) => found.finding.property == *property,
                    None => is_of_interest(found, &options) || hides_the_rest(found, &options),
                };
                found.iter().any(ends_it)
            };
            tokio::spawn(live::watch(folder.history(), findings.clone(), ends, sender))
        };
        let ran = self.timeline(target, profile, number, Guide { driver: DRIVER, stop }, which).await;
        judge.abort();
        let ran = ran?;
        let mut alone = evaluation(self.options, &self.left_out);
        alone.add(ran.clone(), &folder)?;
        let histories = reader::read_folder(&folder.history()).unwrap_or_default();
        let counts = Counts::of(&histories, ran.faults);
        let reached = reach::of_timeline(&folder, &histories, &ran.strikes, profile);
        let reached: Vec<_> = reached.into_iter().map(State::message).collect();
        self.evaluation.reach(number, reached.iter().copied());
        self.evaluation.add(ran, &folder)?;
        let live = live::known(&findings).clone();
        let live::Judged { broken, undecided } = live::judge(&folder.history(), None);
        let by_lab = Finding::among(&alone.properties());
        let findings = finding::each_once(live.into_iter().chain(broken).chain(by_lab));
        let found = known::explain(&findings, target.version, &profile.classes);
        let (etcd, ended, took) = (target.name.clone(), self.started.elapsed(), begun.elapsed());
        let profile = profile.clone();
        let trial = Trial { number, etcd, profile, ended, took, found, undecided, reached, counts };
        self.stage.lab.progress.note(&tell::line(&trial, &target.words()));
        self.trials.push(trial.clone());
        run::judge(&self.evaluation, self.stage.run)?;
        self.stage.keep_within(self.options.disk_limit, &self.evaluation)?;
        Ok(trial)
    }

    async fn timeline(
        &mut self,
        target: &Target,
        profile: &Profile,
        number: usize,
        guide: Guide,
        which: String,
    ) -> Result<Ran, LabError> {
        if self.cluster.as_ref().is_none_or(|(name, _)| *name != target.name) {
            let etcd = target.version.map(|_| target.name.clone());
            let wanted = ClusterOptions { etcd, ..self.wanted.clone() };
            let kind = wanted.kind.expect("it was decided before");
            self.cluster = Some((target.name.clone(), self.stage.cluster(kind, &wanted).await?));
        }
        let (_, cluster) = self.cluster.as_mut().expect("it was made if it was missing");
        cluster.set_up(profile.setup(&self.lacks));
        let (seed, folder) = (self.rng.r#gen(), self.stage.run.timeline(number)?);
        let Profile { duration, ending, faults, .. } = profile;
        let plan = Plan { number, seed, duration: *duration, ending: *ending, faults, guide: Some(&guide) };
        self.stage.timeline(cluster, plan, &folder, &Shown { which, keep: false }).await
    }
}

/// Whether a timeline ends with it, and the hunt.
fn is_of_interest(found: &Found, options: &Options) -> bool {
    let wanted = options.look_for.as_ref().is_none_or(|property| *property == found.finding.property);
    !options.go_on && wanted && !options.set_aside.includes(&found.known)
}

/// Whether whatever else breaks in its timeline is put down to a bug that is set aside, so that nothing more is to be
/// learned there.
fn hides_the_rest(found: &Found, options: &Options) -> bool {
    options.set_aside.includes(&found.known) && known::diverges(&found.known)
}
