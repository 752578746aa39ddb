//! Runs the whole system locally: cluster, test commands, verdicts. Arguments in, a table and an exit code
//! out; what it does lies in the library.

use std::{
    io::{Write as _, stderr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcd_antithesis::{
    capability::Capability,
    check::judgement::Guarantee,
    exit::ExitStatus,
    lab::{
        check,
        error::LabError,
        fault::list::Choice,
        hunt::{self, profile::Members},
        known::{SetAside, Sought},
        manual,
        prepare::ClusterOptions,
        run::{self, Options},
        workspace::ClusterKind,
    },
    properties::{NEEDS_FAULTS, RARE, needs},
};
use tokio::signal::unix::{SignalKind, signal};

/// Brings up a real three-member etcd, runs the test commands on it as Test Composer would, judges every
/// property and takes the system down.
///
/// Without a subcommand it does all of that (`run`). Exit codes: 0 all that was exercised holds, 1 a property
/// is broken, 2 wrong usage, 3 the surroundings fail (Docker, ports, disk), 4 the cluster did not become
/// healthy, 130 interrupted.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: CommonOptions,
}

#[derive(Args)]
struct CommonOptions {
    /// Where the system runs [default: compose if Docker answers, else processes]
    #[arg(long, global = true, value_enum)]
    cluster: Option<Kind>,
    /// How long drivers are started in each timeline
    #[arg(long, global = true, default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How many timelines, each on a fresh cluster; they end with an eventually and a finally in turn
    #[arg(long, global = true, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    timelines: u64,
    /// Decides the schedule of commands [default: drawn, and printed first]
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// How many gigabytes all runs may take on disk; beyond that, what holds is removed, the oldest first
    #[arg(long, global = true, value_name = "GB", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    disk_limit: u64,
    /// What strikes while drivers run: none, light, heavy, a profile's FILE.toml, or `list` to see the kinds
    /// [default: light; none with `test`]
    #[arg(long, global = true, value_name = "PROFILE")]
    faults: Option<Choice>,
    /// Leave the last cluster up (containers only)
    #[arg(long, global = true)]
    keep: bool,
    /// The etcd to test: a packaged version, such as 3.5.16, or (processes only) the path of a binary; several, with
    /// commas between them, to `hunt` in
    #[arg(long, global = true, value_name = "VERSION|PATH")]
    etcd: Option<String>,
    /// A folder of test templates to run instead of the project's own (processes only)
    #[arg(long, global = true, value_name = "FOLDER")]
    templates: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Containers, with Docker Compose
    Compose,
    /// Processes on loopback
    Processes,
}

#[derive(Subcommand)]
enum Command {
    /// Do it all: build, bring up, run the commands, judge, take down
    Run,
    /// Bring a cluster up and leave it up
    Up,
    /// Run the test commands on the cluster that is up, and judge
    Test,
    /// Take down whatever is up, also after a lab that was killed
    Down,
    /// Show what the services of the cluster that is up have printed
    Logs {
        /// One service, such as etcd0
        service: Option<String>,
        /// Go on showing what they print
        #[arg(long, short)]
        follow: bool,
    },
    /// Lint test templates, of any project in any language
    Template {
        /// A folder of template folders, or a container that has them in /opt/antithesis/test/v1
        #[arg(value_name = "FOLDER|CONTAINER")]
        place: String,
        /// SDK output of the commands, in which messages are looked for that stand at several places
        #[arg(long, value_name = "FILE", num_args = 1..)]
        sdk_output: Vec<PathBuf>,
    },
    /// Make the report of a run again: index.html, report.json, junit.xml and events.jsonl
    Report {
        /// The run's folder, or its name in .lab/runs [default: the latest]
        run: Option<PathBuf>,
        /// Make the page of this timeline alone
        #[arg(long, value_name = "N")]
        timeline: Option<usize>,
    },
    /// Look for broken promises: timelines with ever other members, flags, traffic and faults
    ///
    /// Stops at the first finding, and looks for a small profile that brings it about again. Exit codes: 0 nothing
    /// was found, 1 something was, others as above.
    Hunt(HuntOptions),
    /// Judge recorded histories: whether all that clients saw keeps etcd's promises
    ///
    /// Exit codes: 0 all that was looked at holds, 1 a guarantee is broken, 2 a path or history is not what it should
    /// be, 3 a file can't be read or written, 5 nothing is broken but something could not be decided.
    Check {
        /// Files, history folders, timelines' and runs' folders; files are judged together, folders each by itself
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Tell of this guarantee alone; may be repeated
        #[arg(long, value_name = "NAME", value_parser = guarantee)]
        guarantee: Vec<Guarantee>,
        /// Print verdicts and evidence as JSON
        #[arg(long)]
        json: bool,
        /// Write a page with pictures of the histories, for a browser
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Judge files of SDK output, of any project in any language
    Evaluate {
        /// The files that `ANTITHESIS_SDK_LOCAL_OUTPUT` named
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct HuntOptions {
    /// Sizes of clusters to draw from: 1, 3 or 5 members
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "1,3,3,3,5", value_parser = members)]
    members: Vec<Members>,
    /// Hunt in a server that is no complete etcd, as this file describes it: what it lacks, and how it is started
    #[arg(long, value_name = "FILE")]
    capabilities: Option<PathBuf>,
    /// Use this profile in all timelines instead of drawing one for each
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How many timelines go on beside each other (processes only) [default: as many as there are cores,
    /// 8 at most]
    #[arg(long, value_name = "NUMBER")]
    at_once: Option<NonZeroUsize>,
    /// Begin no further timeline after this long
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Look no longer than this for a smaller profile; 0s for not at all
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    shrink: Duration,
    /// Go on after a finding until the time is over, and look for no smaller profile
    #[arg(long)]
    go_on: bool,
    /// End with exit code 5 if nothing was found, but some state was never reached
    #[arg(long)]
    thorough: bool,
    /// Go on after findings that known bugs of etcd explain: `known`, or their numbers, such as 15220,20221
    #[arg(long, value_name = "ISSUES")]
    set_aside: Option<SetAside>,
    /// Stop at this alone: a guarantee, such as watch-resumable, a known bug, such as 22294, or a property by its message
    #[arg(long, value_name = "PROPERTY")]
    look_for: Option<Sought>,
}

fn main() -> ExitStatus {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(until_interrupted(arguments));
            // A look at what was recorded may still be under way, which nobody waits for any more.
            runtime.shutdown_background();
            result
        }
        Err(error) => {
            let _ = writeln!(stderr(), "error: failed to start: {error}");
            return ExitStatus::Surroundings;
        }
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(stderr(), "error: {error}");
        error.exit_status()
    })
}

/// Dropping the work takes down what it has brought up.
async fn until_interrupted(arguments: Arguments) -> Result<ExitStatus, LabError> {
    let mut work = Box::pin(work(arguments));
    tokio::select! {
        result = &mut work => result,
        name = interrupted() => {
            let _ = writeln!(stderr(), "{name}");
            drop(work);
            Ok(ExitStatus::Interrupted)
        }
    }
}

async fn interrupted() -> &'static str {
    let listen = |kind| signal(kind).expect("the runtime handles signals");
    let mut interrupt = listen(SignalKind::interrupt());
    let mut terminate = listen(SignalKind::terminate());
    let mut hangup = listen(SignalKind::hangup());
    tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "asked to end",
        _ = hangup.recv() => "the terminal is gone",
    }
}

async fn work(arguments: Arguments) -> Result<ExitStatus, LabError> {
    if matches!(arguments.options.faults, Some(Choice::List)) {
        return Ok(manual::faults());
    }
    let Arguments { command, options: common } = arguments;
    match command.unwrap_or(Command::Run) {
        Command::Run => run::run(&options(common)).await,
        Command::Hunt(wanted) => hunt::run(&hunt(common, wanted)).await,
        Command::Up => manual::up(&options(common).cluster).await,
        Command::Test => manual::test(&options(common)).await,
        Command::Down => manual::down().await,
        Command::Logs { service, follow } => manual::logs(service.as_deref(), follow).await,
        Command::Template { place, sdk_output } => manual::template(&place, &sdk_output),
        Command::Report { run, timeline } => manual::report(run.as_deref(), timeline),
        Command::Check { paths, guarantee, json, html } => {
            check::run(&check::Options { paths, guarantees: guarantee, json, html })
        }
        Command::Evaluate { files } => manual::evaluate(&files),
    }
}

/// A number of members.
fn members(text: &str) -> Result<Members, String> {
    let count: usize = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    Members::try_from(count).map_err(str::to_owned)
}

fn hunt(common: CommonOptions, wanted: HuntOptions) -> hunt::Options {
    let common = options(common);
    let etcd = common.cluster.etcd.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
    hunt::Options {
        kind: common.cluster.kind,
        etcd,
        members: wanted.members,
        capabilities: wanted.capabilities,
        profile: wanted.profile,
        at_once: wanted.at_once,
        time: wanted.time,
        shrink: wanted.shrink,
        go_on: wanted.go_on,
        thorough: wanted.thorough,
        set_aside: wanted.set_aside.unwrap_or_default(),
        look_for: wanted.look_for,
        seed: common.seed,
        disk_limit: common.disk_limit,
        needs_faults: common.needs_faults,
        rare: common.rare,
        needs: needs::all().collect(),
    }
}

/// A guarantee by its name.
fn guarantee(name: &str) -> Result<Guarantee, String> {
    let named = Guarantee::ALL.iter().find(|guarantee| guarantee.name() == name);
    named.copied().ok_or_else(|| {
        let all: Vec<_> = Guarantee::ALL.iter().map(|guarantee| guarantee.name()).collect();
        format!("the guarantees are {}", all.join(", "))
    })
}

fn options(options: CommonOptions) -> Options {
    let kind = options.cluster.map(|kind| match kind {
        Kind::Compose => ClusterKind::Compose,
        Kind::Processes => ClusterKind::Processes,
    });
    Options {
        cluster: ClusterOptions { kind, etcd: options.etcd, server: None, templates: options.templates },
        timelines: usize::try_from(options.timelines).unwrap_or(usize::MAX),
        duration: options.duration,
        seed: options.seed,
        faults: options.faults.and_then(Choice::profile),
        keep: options.keep,
        disk_limit: options.disk_limit.saturating_mul(1_000_000_000),
        needs_faults: NEEDS_FAULTS,
        rare: &RARE,
        needs_users: needs::all()
            .filter(|(_, needed)| needed.contains(&Capability::Users))
            .map(|(message, _)| message)
            .collect(),
    }
}
