//! One timeline on a cluster that is up: wait for setup-complete, find the commands, and run them as the
//! composer says, with faults beside the drivers, until the time is over and the ending has run. It judges
//! nothing.

use std::{
    convert::Infallible,
    path::Path,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time};

use crate::lab::{
    cluster::{Cluster, ClusterError, Ended},
    commands::{CommandError, CommandRun, Commands},
    composer::{CommandIndex, Ending, Schedule, Start, Step},
    events::{Event, EventLog},
    fault::{
        conductor::{Board, Conductor, Drawn, FaultError, Faults},
        list,
        profile::Profile,
        strike::Strike,
    },
    observer::Observer,
    progress::Progress,
    sdk_output::{self, Line, SdkOutputError},
    template::{Role, Template, TemplateError, discover},
    workspace::{TimelineFolder, WorkspaceError},
};

/// From a cluster that is up to one that says that it is ready, on a machine that is busy.
const SETUP_LIMIT: Duration = Duration::from_mins(2);
const SETUP_POLL: Duration = Duration::from_millis(50);
/// How often it is seen whether all services still run, which costs a call of Docker.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const ENDS_INTERVAL: Duration = Duration::from_millis(200);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Why a timeline could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The commands.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// What the SDK wrote.
    #[error(transparent)]
    SdkOutput(#[from] SdkOutputError),
    /// Faults.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The lab's files.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The timeline's number, from 1.
    pub number: usize,
    /// Decides its schedule.
    pub seed: u64,
    /// How long drivers are started.
    pub duration: Duration,
    /// The preferred ending.
    pub ending: Ending,
    /// Which faults there may be; the timeline has a part of them.
    pub faults: &'a Profile,
    /// What replaces Test Composer's rules, if something does.
    pub guide: Option<&'a Guide>,
}

/// A timeline of one driver, with all the faults of its profile.
#[derive(Debug)]
pub struct Guide {
    /// The driver's name; it runs once in each container that has it, all at once.
    pub driver: &'static str,
    /// Turns true when nothing more is to be learned: then everything ends at once.
    pub stop: watch::Receiver<bool>,
}

/// What was run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The timeline, from 1.
    pub number: usize,
    /// The template that was chosen.
    pub template: Template,
    /// All runs of commands.
    pub commands: Vec<CommandRun>,
    /// Services that ended by themselves.
    pub stopped: Vec<(String, String)>,
    /// How many faults were injected.
    pub faults: usize,
    /// Those that were over before the end.
    pub strikes: Vec<Strike>,
}

/// What a timeline works with and on.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where everything is written.
    pub folder: &'a TimelineFolder,
    /// The run's event log.
    pub log: &'a EventLog,
    /// What people see meanwhile.
    pub progress: &'a Progress,
}

/// Waits until the system says that it is ready; no longer if a part of it has ended.
pub async fn wait_for_setup(
    cluster: &mut Cluster,
    number: usize,
    context: Context<'_>,
) -> Result<(), TimelineError> {
    let path = context.folder.sdk().join("sdk.jsonl");
    let deadline = Instant::now() + SETUP_LIMIT;
    let mut next_look = Instant::now() + LOOK_INTERVAL;
    while !says_complete(&path)? {
        let now = Instant::now();
        if now >= deadline {
            let reason = format!("no setup-complete within {SETUP_LIMIT:?}");
            return Err(cluster.not_ready(&reason, context.folder).into());
        }
        if now >= next_look {
            next_look = now + LOOK_INTERVAL;
            if let Some((name, status)) = cluster.stopped()?.first() {
                return Err(cluster.not_ready(&format!("{name}: {status}"), context.folder).into());
            }
        }
        time::sleep(SETUP_POLL).await;
    }
    Ok(context.log.write(&Event::SetupComplete { timeline: number })?)
}

fn says_complete(path: &Path) -> Result<bool, SdkOutputError> {
    let mut complete = false;
    if path.exists() {
        sdk_output::read(path, |line| complete |= matches!(line, Line::SetupComplete(_)))?;
    }
    Ok(complete)
}

/// Runs the commands on a system that is ready, and looks at its members meanwhile.
pub async fn run(cluster: &mut Cluster, plan: Plan<'_>, context: Context<'_>) -> Result<Ran, TimelineError> {
    let observer = Observer::new(context.folder)?;
    let (stopped, stops) = watch::channel(false);
    let mut ran = tokio::select! {
        ran = run_commands(cluster, plan, &observer, context, &stops) => ran?,
        failed = observer.watch(cluster) => match failed? {},
        failed = note_ends(cluster, plan.number, context.log, &stopped) => match failed? {},
    };
    write_ends(cluster, plan.number, context.log)?;
    ran.stopped = cluster.stopped()?;
    context.log.write(&Event::TimelineEnded { timeline: plan.number })?;
    Ok(ran)
}

/// Writes the ends of services into the event log, soon after they come, and tells when one stopped by itself.
async fn note_ends(
    cluster: &Cluster,
    number: usize,
    log: &EventLog,
    stopped: &watch::Sender<bool>,
) -> Result<Infallible, WorkspaceError> {
    loop {
        if write_ends(cluster, number, log)? {
            stopped.send_replace(true);
        }
        time::sleep(ENDS_INTERVAL).await;
    }
}

/// Whether one of them was nobody's doing.
fn write_ends(cluster: &Cluster, timeline: usize, log: &EventLog) -> Result<bool, WorkspaceError> {
    let mut by_itself = false;
    for Ended { service, status, by_fault } in cluster.ended() {
        log.write(&Event::ServiceEnded { timeline, service: &service, status: &status, by_fault })?;
        by_itself |= !by_fault;
    }
    Ok(by_itself)
}

async fn run_commands(
    cluster: &Cluster,
    plan: Plan<'_>,
    observer: &Observer,
    context: Context<'_>,
    stops: &watch::Receiver<bool>,
) -> Result<Ran, TimelineError> {
    let mut templates = discover(&cluster.entries()?)?;
    let chosen = usize::try_from(plan.seed % templates.len() as u64).unwrap_or_default();
    let template = templates.swap_remove(chosen);
    let mut schedule = match plan.guide {
        None => Schedule::draw(&template, plan.seed, plan.ending),
        Some(guide) => Schedule::of_driver(&template, guide.driver, plan.seed, plan.ending),
    };
    let ending = schedule.ending.map(|(ending, _)| ending);
    context.log.write(&Event::TemplateChosen { timeline: plan.number, template: &template.name, ending })?;
    let mut commands = Commands::new(plan.number, context.folder, context.log)?;
    let conductor = conductor(cluster, plan, observer, context).await?;
    let running = Running { cluster, template: &template, context };
    if let Some(first) = schedule.first {
        conductor.beside(Faults::Off, one(running, first, &mut commands)).await??;
    }
    let driving = drive(running, &mut schedule, &mut commands, plan.duration, conductor.board());
    let driving = unless_told_to_stop(plan.guide, stops, driving);
    let mut goes_on = conductor.beside(Faults::On, driving).await??;
    if goes_on {
        let finishing = finish(running, schedule.ending, &mut commands);
        goes_on = conductor.beside(Faults::Off, unless_told_to_stop(plan.guide, stops, finishing)).await??;
    }
    if !goes_on {
        commands.stop_all(cluster).await?;
    }
    let (faults, strikes) = (conductor.board().injected(), conductor.board().strikes());
    let commands = commands.into_ended();
    Ok(Ran { number: plan.number, template, commands, stopped: Vec::new(), faults, strikes })
}

/// The faults of this timeline: the part that it draws of what can be done to this cluster.
async fn conductor<'c>(
    cluster: &'c Cluster,
    plan: Plan<'_>,
    observer: &'c Observer,
    context: Context<'c>,
) -> Result<Conductor<'c>, TimelineError> {
    let lacking = [list::never(), cluster.lacks().await].concat();
    let (possible, left_out) = plan.faults.clone().without(&lacking);
    let profile = if plan.guide.is_some() { possible } else { possible.draw(plan.seed, plan.number) };
    let drawn = Drawn { profile, seed: plan.seed };
    let conductor = Conductor::new(cluster, drawn, plan.number, observer, context)?;
    if plan.number == 1 {
        for (kind, reason) in &left_out {
            conductor.skip(*kind, &[], reason)?;
        }
        if let Some(note) = list::left_out(&left_out) {
            context.progress.note(&note);
        }
    }
    Ok(conductor)
}

/// Whether the work came to its end before the guide said that nothing more is to be learned. Where a service is gone for
/// good, nothing is either.
async fn unless_told_to_stop(
    guide: Option<&Guide>,
    stops: &watch::Receiver<bool>,
    work: impl Future<Output = Result<(), TimelineError>>,
) -> Result<bool, TimelineError> {
    let Some(guide) = guide else { return work.await.map(|()| true) };
    tokio::select! {
        done = work => done.map(|()| true),
        () = turns_true(&guide.stop) => Ok(false),
        () = turns_true(stops) => Ok(false),
    }
}

/// Never, once nobody is left who could tell.
async fn turns_true(told: &watch::Receiver<bool>) {
    if told.clone().wait_for(|told| *told).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What runs on what.
#[derive(Clone, Copy)]
struct Running<'a> {
    cluster: &'a Cluster,
    template: &'a Template,
    context: Context<'a>,
}

/// Runs one command alone.
async fn one(
    running: Running<'_>,
    command: CommandIndex,
    commands: &mut Commands<'_>,
) -> Result<(), TimelineError> {
    let Running { cluster, template, context } = running;
    let command = &template.commands[command];
    context.progress.live(&format!("{} runs", command.name));
    commands.start(cluster, command)?;
    Ok(commands.wait_for_all(cluster).await?)
}

/// Starts drivers, and anytime commands beside them, until the time is over.
async fn drive(
    running: Running<'_>,
    schedule: &mut Schedule,
    commands: &mut Commands<'_>,
    duration: Duration,
    board: &Board,
) -> Result<(), TimelineError> {
    let Running { cluster, template, context } = running;
    let deadline = time::Instant::now() + duration;
    let mut driver: Option<(time::Instant, Start)> = None;
    let mut anytime = schedule.anytime.next().map(due);
    loop {
        if driver.is_none() {
            let running = commands.running(Role::is_driver);
            match schedule.drivers.next(running) {
                Step::Start(start) => driver = Some(due(start)),
                Step::Done if running == 0 && only_singleton(template) => return Ok(()),
                Step::Wait | Step::Done => {}
            }
        }
        let anytime_is_free = commands.running(|role| role == Role::Anytime) == 0;
        let driver_time = driver.map_or(deadline, |(time, _)| time);
        let anytime_time = anytime.filter(|_| anytime_is_free).map_or(deadline, |(time, _)| time);
        tokio::select! {
            ended = commands.next_end(cluster) => ended?,
            () = time::sleep_until(deadline) => return Ok(()),
            () = time::sleep_until(driver_time), if driver.is_some() => {
                if let Some((_, start)) = driver.take() {
                    commands.start(cluster, &template.commands[start.command])?;
                }
            }
            () = time::sleep_until(anytime_time), if anytime.is_some() && anytime_is_free => {
                if let Some((_, start)) = anytime.take() {
                    commands.start(cluster, &template.commands[start.command])?;
                    anytime = schedule.anytime.next().map(due);
                }
            }
            () = time::sleep(PROGRESS_INTERVAL) => {}
        }
        context.progress.live(&format!("{}; {}", live_text(commands, deadline), board.words()));
    }
}

/// A start with the time when it is due.
fn due(start: Start) -> (time::Instant, Start) {
    (time::Instant::now() + start.pause, start)
}

/// Without other drivers, a timeline is over when its singleton has ended.
fn only_singleton(template: &Template) -> bool {
    !template.with_role(Role::SingletonDriver).is_empty()
}

fn live_text(commands: &Commands<'_>, deadline: time::Instant) -> String {
    let left = deadline.saturating_duration_since(time::Instant::now()).as_secs();
    let running = commands.running(|_| true);
    let ended = commands.ended().len();
    format!("drivers for {left} s more: {running} commands run, {ended} have ended")
}

async fn finish(
    running: Running<'_>,
    ending: Option<(Ending, CommandIndex)>,
    commands: &mut Commands<'_>,
) -> Result<(), TimelineError> {
    let Running { cluster, context, .. } = running;
    match ending {
        Some((Ending::Eventually, _)) => commands.stop_all(cluster).await?,
        Some((Ending::Finally, _)) | None => {
            context.progress.live("waiting for the commands that run");
            commands.wait_for_all(cluster).await?;
        }
    }
    match ending {
        Some((_, last)) => one(running, last, commands).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_timeline_of_a_hunt_is_over_when_a_service_is_gone() {
        let (stopped, stops) = watch::channel(false);
        let (_told, stop) = watch::channel(false);
        let guide = Guide { driver: "some", stop };
        assert!(unless_told_to_stop(Some(&guide), &stops, ready(Ok(()))).await.unwrap());
        stopped.send_replace(true);
        assert!(!unless_told_to_stop(Some(&guide), &stops, pending()).await.unwrap());
        assert!(unless_told_to_stop(None, &stops, ready(Ok(()))).await.unwrap(), "others go on without it");
    }
}
