//! One timeline of a hunt: brought up, run, and judged while it runs and afterwards. In goes what it is made of, out comes
//! what it showed. Others may run beside it, of which it knows nothing; it draws nothing.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    sync::{Mutex, watch},
    task,
};

use super::{
    Options, PROFILE_FILE, Target,
    counts::Counts,
    live::{self, Findings, Judged},
    profile::Profile,
    reach::{self, State},
};
use crate::{
    capability::Lacks,
    check::{case::Case, judgement::Guarantee},
    history::reader,
    lab::{
        cluster::Cluster,
        error::LabError,
        evaluate::Evaluation,
        finding::{self, Finding},
        known::{self, Found},
        prepare::ClusterOptions,
        run::{Shown, Stage},
        server::LeftOut,
        timeline::{Guide, Plan, Ran},
        workspace::TimelineFolder,
    },
};

/// The traffic of a hunt.
const DRIVER: &str = "singleton_driver_mixed_traffic";

/// What a timeline is made of.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// From 1.
    pub number: usize,
    /// Decides what the profile leaves open.
    pub seed: u64,
    pub target: Target,
    pub profile: Profile,
}

/// A timeline that was run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Trial {
    pub number: usize,
    pub etcd: String,
    pub profile: Profile,
    /// From the hunt's start to its end.
    pub ended: Duration,
    /// How long it took, its cluster included.
    pub took: Duration,
    pub found: Vec<Found>,
    /// What could not be decided.
    pub undecided: Vec<String>,
    /// The states that it came to, among them that guarantees were held against something.
    pub reached: Vec<&'static str>,
    /// How much was recorded.
    pub counts: Counts,
}

/// What a timeline leaves.
pub(super) struct Ended<'a> {
    pub trial: Trial,
    pub target: Target,
    /// What the lab and the commands saw in it.
    pub seen: Evaluation<'a>,
    /// For the next one.
    pub cluster: Cluster,
}

/// What the timelines of a hunt have in common.
#[derive(Clone)]
pub(super) struct Ground<'a> {
    pub options: &'a Options,
    pub stage: Stage<'a>,
    /// What clusters are brought up.
    pub wanted: ClusterOptions,
    /// What the server has not, and what the hunt goes without therefore.
    pub lacks: &'a Lacks,
    pub left_out: &'a [LeftOut],
    pub started: Instant,
    /// The one that ends a timeline, while a profile is made small.
    pub look_for: Option<Found>,
    /// Says when no timeline is to go on.
    pub over: watch::Receiver<bool>,
    /// Programs and images are made for one at a time.
    pub preparing: Rc<Mutex<()>>,
}

impl<'a> Ground<'a> {
    /// Runs a timeline, which ends early when something of interest is broken; on this cluster, if there is one.
    pub async fn run(self, order: Order, cluster: Option<Cluster>) -> Result<Ended<'a>, LabError> {
        let begun = Instant::now();
        let progress = self.stage.lab.progress.beside();
        let stage = Stage { progress: &progress, ..self.stage };
        let folder = stage.run.timeline(order.number)?;
        order.profile.write(&folder.path().join(PROFILE_FILE), &[order.target.words()])?;
        let mut cluster = match cluster {
            Some(cluster) => cluster,
            None => self.cluster(stage, &order.target).await?,
        };
        cluster.set_up(order.profile.setup(self.lacks));
        let live = Findings::default();
        let ran = self.watched(stage, &mut cluster, &order, &folder, &live).await?;
        let look = {
            let (folder, ran, profile) = (folder.clone(), ran.clone(), order.profile.clone());
            move || Recorded::of(&folder, &ran, &profile)
        };
        let mut seen = super::evaluation(self.options, self.left_out);
        seen.add(ran, &folder)?;
        // It may take seconds, in which others go on.
        let recorded =
            task::spawn_blocking(look).await.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Recorded::default(),
            });
        let live = live::known(&live).clone();
        let by_lab = Finding::among(&seen.properties());
        let findings = finding::together(live.into_iter().chain(recorded.judged.broken).collect(), by_lab);
        let Order { number, target, profile, .. } = order;
        let states = recorded.reached.into_iter().map(State::message);
        let trial = Trial {
            number,
            etcd: target.name.clone(),
            found: known::explain(&findings, profile.setting(target.version)),
            profile,
            ended: self.started.elapsed(),
            took: begun.elapsed(),
            undecided: recorded.judged.undecided,
            reached: states.chain(recorded.judged.holding.into_iter().map(Guarantee::occasion)).collect(),
            counts: recorded.counts,
        };
        Ok(Ended { trial, target, seen, cluster })
    }

    /// A cluster that can be brought up, once its programs or images are there.
    pub async fn cluster(&self, stage: Stage<'_>, target: &Target) -> Result<Cluster, LabError> {
        let _alone = self.preparing.lock().await;
        let etcd = target.version.map(|_| target.name.clone());
        let wanted = ClusterOptions { etcd, ..self.wanted.clone() };
        stage.cluster(wanted.kind.expect("it was decided before"), &wanted).await
    }

    /// The timeline, with a judge beside it that ends it.
    async fn watched(
        &self,
        stage: Stage<'_>,
        cluster: &mut Cluster,
        order: &Order,
        folder: &TimelineFolder,
        findings: &Findings,
    ) -> Result<Ran, LabError> {
        let Order { number, seed, target, profile } = order;
        let (sender, stop) = watch::channel(false);
        let judge = {
            let (version, profile, options) = (target.version, profile.clone(), self.options.clone());
            let look_for = self.look_for.clone();
            let explain = move |findings: &[Finding]| known::explain(findings, profile.setting(version));
            let ends = move |found: &Found| match &look_for {
                Some(wanted) => wanted.is_like(found),
                None => is_of_interest(found, &options) || hides_the_rest(found, &options),
            };
            let (findings, over) = (findings.clone(), self.over.clone());
            tokio::spawn(live::watch(folder.history(), findings, explain, ends, over, sender))
        };
        let guide = Guide { driver: DRIVER, stop };
        let Profile { duration, ending, faults, .. } = profile;
        let (number, seed, duration, ending) = (*number, *seed, *duration, *ending);
        let plan = Plan { number, seed, duration, ending, faults, guide: Some(&guide) };
        let which = format!("Timeline {number}, {}, {} members", target.words(), profile.members.count());
        let ran = stage.timeline(cluster, plan, folder, &Shown { which, keep: false }).await;
        judge.abort();
        ran
    }
}

/// What the files of a timeline say.
#[derive(Default)]
struct Recorded {
    counts: Counts,
    reached: Vec<State>,
    judged: Judged,
}

impl Recorded {
    fn of(folder: &TimelineFolder, ran: &Ran, profile: &Profile) -> Self {
        let read = reader::read_folder(&folder.history());
        let judged = read.as_ref().map(|histories| live::judge(histories, Case::new)).unwrap_or_default();
        let histories = read.unwrap_or_default();
        Self {
            counts: Counts::of(&histories, ran.faults),
            reached: reach::of_timeline(folder, &histories, &ran.strikes, profile).into_iter().collect(),
            judged,
        }
    }
}

/// Whether a timeline ends with it, and the hunt.
pub(super) fn is_of_interest(found: &Found, options: &Options) -> bool {
    let wanted = options.look_for.as_ref().is_none_or(|sought| sought.is(found));
    !options.go_on && wanted && !options.set_aside.includes(&found.known)
}

/// Whether whatever else breaks in its timeline is put down to a bug that is set aside, so that nothing more is to be
/// learned there.
fn hides_the_rest(found: &Found, options: &Options) -> bool {
    options.set_aside.includes(&found.known) && known::diverges(&found.known)
}
