//! Lets planned faults strike a cluster beside other work, and heals them: when their time is over, when a test
//! command asks for a quiet period, and before the work's outcome is handed back. Everything goes into the
//! event log. Which faults there are is the plan's, how each is done the striker's.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    journal::Journal,
    kind::Kind,
    plan::{Plan, PlannedFault},
    profile::Profile,
    quiet::{Change, Quiet},
    strike::{self, Blow, Strike, Striker},
    target::{self, Busy, NoTarget, Struck},
    tasks::Tasks,
};
use crate::{
    clock::monotonic_now,
    lab::{
        cluster::Cluster,
        events::{Event, EventLog},
        observer::Observer,
        timeline::Context,
        workspace::WorkspaceError,
    },
};

/// How soon a request for quiet is seen.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long it is tried to undo a fault; a try that has begun goes on.
const HEAL_LIMIT: Duration = Duration::from_secs(20);
const HEAL_PAUSE: Duration = Duration::from_secs(1);
/// How often it is tried to find nodes that are under no other fault.
const RESOLVE_TRIES: usize = 40;
const RESOLVE_PAUSE: Duration = Duration::from_millis(250);

/// Why a run can't go on with faults.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// What was done could not be undone.
    #[error(
        "failed to undo {kind} on {} within {HEAL_LIMIT:?}: {reason}",
        on.join(", ")
    )]
    NotHealed {
        /// The kind's name.
        kind: &'static str,
        /// The nodes.
        on: Vec<String>,
        /// Why the last try failed.
        reason: String,
    },
    /// The lab's files.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// What is under way now, for those who look on.
#[derive(Debug, Default)]
pub struct Board {
    active: RefCell<BTreeMap<usize, Active>>,
    strikes: RefCell<Vec<Strike>>,
    injected: Cell<usize>,
    quiet: Cell<bool>,
}

#[derive(Debug)]
struct Active {
    kind: Kind,
    struck: Struck,
}

impl Board {
    /// How many faults have struck.
    pub fn injected(&self) -> usize {
        self.injected.get()
    }

    /// Those that have struck and are over.
    pub fn strikes(&self) -> Vec<Strike> {
        self.strikes.borrow().clone()
    }

    /// What is under way, in a few words: `faults: kill etcd1, pause client1; 7 so far`.
    pub fn words(&self) -> String {
        let active = self.active.borrow();
        let names: Vec<_> = active
            .values()
            .map(|active| format!("{} {}", active.kind.name(), active.struck.on.join("+")))
            .collect();
        let now = match names.len() {
            0 if self.quiet.get() => "faults are quiet".to_owned(),
            0 => "no fault now".to_owned(),
            1 => format!("fault: {}", names[0]),
            _ => format!("faults: {}", names.join(", ")),
        };
        format!("{now}; {} so far", self.injected.get())
    }

    fn busy(&self) -> Busy {
        let mut busy = Busy::default();
        for Active { kind, struck } in self.active.borrow().values() {
            busy.occupied.extend(struck.occupied.iter().cloned());
            busy.out += struck.out;
            if !kind.is_network() && !matches!(kind, Kind::SlowDisk) {
                busy.silent.extend(struck.on.iter().cloned());
            }
        }
        busy
    }
}

/// Whether faults strike beside the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// They do.
    On,
    /// They don't; requests for quiet are granted at once.
    Off,
}

/// What a timeline has drawn.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Its faults.
    pub profile: Profile,
    /// Decides when which of them strikes.
    pub seed: u64,
}

/// The faults of one timeline.
pub struct Conductor<'a> {
    timeline: usize,
    log: &'a EventLog,
    /// Knows who leads.
    observer: &'a Observer,
    striker: Striker<'a>,
    overlap: usize,
    plan: RefCell<Plan>,
    quiet: RefCell<Quiet>,
    board: Board,
    last_id: Cell<usize>,
    /// How many faults that last are under way.
    lasting: Cell<usize>,
    calm: watch::Sender<bool>,
}

impl<'a> Conductor<'a> {
    /// For a timeline on `cluster` that has drawn these.
    pub fn new(
        cluster: &'a Cluster,
        drawn: Drawn,
        timeline: usize,
        observer: &'a Observer,
        context: Context<'a>,
    ) -> Result<Self, FaultError> {
        let (Drawn { profile, seed }, log) = (drawn, context.log);
        let kinds: Vec<&str> = profile.weights.keys().map(|kind| kind.name()).collect();
        log.write(&Event::FaultsDrawn { timeline, kinds: &kinds })?;
        let journal = Journal::new(context.folder.history());
        Ok(Self {
            timeline,
            log,
            observer,
            striker: Striker::new(cluster, cluster.topology(), journal),
            overlap: profile.overlap,
            plan: RefCell::new(Plan::new(profile, seed)),
            quiet: RefCell::new(Quiet::new(&context.folder.quiet())?),
            board: Board::default(),
            last_id: Cell::new(0),
            lasting: Cell::new(0),
            calm: watch::Sender::new(true),
        })
    }

    /// What is under way.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Does `work`, with faults or without. When this returns, no fault is left, whatever the work's outcome.
    pub async fn beside<T>(&self, faults: Faults, work: impl Future<Output = T>) -> Result<T, FaultError> {
        let mut tasks = Tasks::default();
        let outcome = self.until_done(faults, work, &mut tasks).await;
        self.calm.send_replace(true);
        let lasted = !tasks.is_empty();
        let healed: Result<Vec<()>, FaultError> = tasks.all().await.into_iter().collect();
        let outcome = outcome?;
        healed?;
        if lasted {
            self.log.write(&Event::QuietStarted { timeline: self.timeline, seconds: None })?;
        }
        Ok(outcome)
    }

    async fn until_done<'c, T>(
        &'c self,
        faults: Faults,
        work: impl Future<Output = T>,
        tasks: &mut Tasks<'c, Result<(), FaultError>>,
    ) -> Result<T, FaultError> {
        tokio::pin!(work);
        let mut next = self.planned(faults);
        loop {
            self.look_for_requests(tasks.is_empty(), faults)?;
            let is_free =
                !*self.calm.borrow() && next.as_ref().is_some_and(|(_, fault)| self.has_room(fault));
            if !is_free && let Some((due, fault)) = &mut next {
                *due = Instant::now() + fault.gap;
            }
            let due = next.as_ref().map_or_else(Instant::now, |(due, _)| *due);
            tokio::select! {
                outcome = &mut work => return Ok(outcome),
                ended = tasks.next(), if !tasks.is_empty() => ended?,
                () = sleep_until(due), if is_free => {
                    if let Some((_, fault)) = next.take() {
                        tasks.add(self.fault(fault));
                        next = self.planned(faults);
                    }
                }
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    fn planned(&self, faults: Faults) -> Option<(Instant, PlannedFault)> {
        if faults == Faults::Off {
            return None;
        }
        let fault = self.plan.borrow_mut().next()?;
        Some((Instant::now() + fault.gap, fault))
    }

    fn has_room(&self, fault: &PlannedFault) -> bool {
        fault.kind.is_administrative() || self.lasting.get() < self.overlap
    }

    fn look_for_requests(&self, all_healed: bool, faults: Faults) -> Result<(), FaultError> {
        let mut quiet = self.quiet.borrow_mut();
        let timeline = self.timeline;
        match quiet.look(all_healed)? {
            Change::Started(duration) => {
                self.log.write(&Event::QuietStarted { timeline, seconds: Some(duration.as_secs_f64()) })?;
            }
            Change::Ended => self.log.write(&Event::QuietEnded { timeline })?,
            Change::None => {}
        }
        self.board.quiet.set(quiet.is_wanted());
        self.calm.send_replace(quiet.is_wanted() || faults == Faults::Off);
        Ok(())
    }

    /// One fault from its target to its healing.
    async fn fault(&self, fault: PlannedFault) -> Result<(), FaultError> {
        if fault.kind.is_administrative() {
            return self.whole(&fault).await;
        }
        self.lasting.set(self.lasting.get() + 1);
        let outcome = self.whole(&fault).await;
        self.lasting.set(self.lasting.get() - 1);
        outcome
    }

    async fn whole(&self, fault: &PlannedFault) -> Result<(), FaultError> {
        let struck = match self.resolve(fault).await {
            Ok(Some(struck)) => struck,
            Ok(None) => return Ok(()),
            Err(reason) => return self.skip(fault.kind, &[], &reason.to_string()),
        };
        let duration = if struck.keeps_quorum { fault.duration } else { fault.without_quorum() };
        let fault = &PlannedFault { duration, ..fault.clone() };
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.board.active.borrow_mut().insert(id, Active { kind: fault.kind, struck: struck.clone() });
        let outcome = self.strike_and_heal(&Blow { id, fault, struck: &struck }).await;
        self.board.active.borrow_mut().remove(&id);
        outcome
    }

    /// The nodes, as soon as there are any; none if faults are to be off by then.
    async fn resolve(&self, fault: &PlannedFault) -> Result<Option<Struck>, NoTarget> {
        for _ in 0..RESOLVE_TRIES {
            let topology = self.striker.topology();
            let leader = self.observer.leadership().leader;
            if *self.calm.borrow() {
                return Ok(None);
            }
            match target::resolve(fault, topology, leader.as_deref(), &self.board.busy()) {
                Err(NoTarget::Busy) => sleep(RESOLVE_PAUSE).await,
                other => return other.map(Some),
            }
        }
        Err(NoTarget::Busy)
    }

    async fn strike_and_heal(&self, blow: &Blow<'_>) -> Result<(), FaultError> {
        let Blow { id, fault, struck } = blow;
        let (timeline, kind, on) = (self.timeline, fault.kind.name(), &struck.on);
        self.log.write(&Event::FaultStarted { timeline, id: *id, kind, on, words: &strike::words(fault) })?;
        let started = Instant::now();
        let mut calm = self.calm.subscribe();
        let begun = monotonic_now();
        match self.striker.strike(blow, &calm).await {
            Ok(()) => {
                let done = monotonic_now();
                self.board.injected.set(self.board.injected.get() + 1);
                if fault.kind != Kind::RollingRestart {
                    let is_calm = async { calm.wait_for(|calm| *calm).await.is_ok() };
                    let _ = tokio::time::timeout(fault.duration, is_calm).await;
                }
                let (kind, on, ended) = (fault.kind, on.clone(), monotonic_now());
                self.board.strikes.borrow_mut().push(Strike { kind, on, begun, done, ended });
            }
            Err(reason) => self.skip(fault.kind, on, &reason)?,
        }
        self.heal(blow).await?;
        let milliseconds = started.elapsed().as_millis();
        Ok(self.log.write(&Event::FaultHealed { timeline, id: *id, milliseconds })?)
    }

    async fn heal(&self, blow: &Blow<'_>) -> Result<(), FaultError> {
        let deadline = Instant::now() + HEAL_LIMIT;
        while let Err(reason) = self.striker.heal(blow).await {
            if Instant::now() >= deadline {
                let (kind, on) = (blow.fault.kind.name(), blow.struck.on.clone());
                return Err(FaultError::NotHealed { kind, on, reason });
            }
            sleep(HEAL_PAUSE).await;
        }
        Ok(())
    }

    /// Notes a fault that can't be.
    pub fn skip(&self, kind: Kind, on: &[String], reason: &str) -> Result<(), FaultError> {
        let (timeline, kind) = (self.timeline, kind.name());
        Ok(self.log.write(&Event::FaultSkipped { timeline, kind, on, reason })?)
    }
}
