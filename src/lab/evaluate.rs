//! From what a run leaves to verdicts, timeline by timeline: reads each file of SDK output and each history once,
//! and hands what it reads to the judges. Of a timeline that was taken in, no file is needed any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{
    history::reader::{self, Counts as Operations},
    lab::{
        built_in::{self, SetupCount, Stopped},
        etcd_binary::EtcdVersion,
        judge::{Judge, Occasion},
        known::{self, Setting},
        sdk_output::{self, Line, SdkOutputError},
        timeline::Ran,
        workspace::TimelineFolder,
    },
    report::{
        load::events::End,
        property::{Counts, Outcome, Property},
    },
    settings,
};

/// The services' file, in the SDK folder of a timeline.
const SERVICES: &str = "sdk.jsonl";

/// A file of SDK output.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    timeline: usize,
    /// The name that evidence gives it.
    name: String,
    path: PathBuf,
    /// Whether what it declares but never reaches counts. Not so for our own health-checker beside foreign
    /// commands: it declares all properties of this project's commands, and none of those run.
    catalogue_counts: bool,
}

impl Source {
    fn is_of_command(&self) -> bool {
        self.path.file_name().is_some_and(|name| name != SERVICES)
    }
}

/// The history files of a run, looked through.
#[derive(Debug, Default)]
pub struct Histories {
    /// How many files there are.
    pub files: usize,
    /// Their operations.
    pub operations: Operations,
    /// The name of the first file that is none, and why.
    pub malformed: Option<(String, String)>,
}

/// What the timelines of a run gave so far.
#[derive(Debug)]
pub struct Evaluation<'a> {
    needs_faults: &'a [&'a str],
    rare: &'a [&'a [&'a str]],
    /// Whether the commands are another project's.
    foreign: bool,
    judge: Judge,
    setups: Vec<SetupCount>,
    histories: Histories,
    stopped: Vec<Stopped>,
    /// The timelines in which something was seen that must not be.
    failing: BTreeSet<usize>,
    timelines: Vec<Ran>,
    /// The etcd under test, where it is one.
    etcd: Option<EtcdVersion>,
    left_out: BTreeMap<&'a str, String>,
    /// States that the lab itself looks for, each with the first timeline that came to it.
    states: BTreeMap<&'static str, Option<usize>>,
}

impl<'a> Evaluation<'a> {
    /// Nothing yet. `needs_faults` are the messages of the properties that only faults bring about, `rare`
    /// of those that few timelines may not reach.
    pub fn new(needs_faults: &'a [&'a str], rare: &'a [&'a [&'a str]], foreign: bool) -> Self {
        Self {
            needs_faults,
            rare,
            foreign,
            judge: Judge::default(),
            setups: Vec::new(),
            histories: Histories::default(),
            stopped: Vec::new(),
            failing: BTreeSet::new(),
            timelines: Vec::new(),
            etcd: None,
            left_out: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    /// Says which etcd is under test, so that what is broken can be named as what it is known as.
    pub fn set_etcd(&mut self, etcd: EtcdVersion) {
        self.etcd = Some(etcd);
    }

    /// Says which properties, by their messages, the server under test is not complete enough for, and why.
    pub fn leave_out(&mut self, left_out: BTreeMap<&'a str, String>) {
        self.left_out = left_out;
    }

    /// Says which states, by their messages, the lab itself looks for.
    pub fn look_for(&mut self, states: impl Iterator<Item = &'static str>) {
        self.states = states.map(|message| (message, None)).collect();
    }

    /// Says that a timeline came to some of them.
    pub fn reach(&mut self, timeline: usize, states: impl Iterator<Item = &'static str>) {
        for message in states {
            self.states.entry(message).or_default().get_or_insert(timeline);
        }
    }

    /// Takes in a timeline that has ended, with the files of the commands that ran in it.
    pub fn add(&mut self, ran: Ran, folder: &TimelineFolder) -> Result<(), SdkOutputError> {
        for source in sources(&ran, &folder.sdk(), self.foreign) {
            let (setup, broken) = read(&source, &mut self.judge)?;
            self.setups.push(setup);
            if broken {
                self.failing.insert(ran.number);
            }
        }
        for path in files(&folder.history(), "jsonl") {
            self.count(ran.number, &path);
        }
        if !ran.stopped.is_empty()
            || ran.commands.iter().any(|run| !matches!(run.end, End::Exited(0) | End::Stopped))
        {
            self.failing.insert(ran.number);
        }
        for (service, status) in &ran.stopped {
            let log = folder.logs().join(format!("{service}.log"));
            let log = built_in::last_words(&log).unwrap_or_else(|error| vec![error.to_string()]);
            let (service, status) = (service.clone(), status.clone());
            self.stopped.push(Stopped { timeline: ran.number, service, status, log });
        }
        self.timelines.push(ran);
        Ok(())
    }

    /// Takes in what another one took in of other timelines, so that their files need not be read again.
    pub fn join(&mut self, other: Self) {
        self.judge.join(other.judge);
        self.setups.extend(other.setups);
        self.histories.files += other.histories.files;
        self.histories.operations += other.histories.operations;
        if let Some(malformed) = other.histories.malformed {
            self.histories.malformed.get_or_insert(malformed);
        }
        self.stopped.extend(other.stopped);
        self.failing.extend(other.failing);
        self.timelines.extend(other.timelines);
    }

    fn count(&mut self, timeline: usize, path: &Path) {
        self.histories.files += 1;
        match reader::count_file(path) {
            Ok(operations) => self.histories.operations += operations,
            Err(error) => {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("timeline-{timeline}/history/{file}");
                self.failing.insert(timeline);
                self.histories.malformed.get_or_insert((name, error.to_string()));
            }
        }
    }

    /// How many timelines were taken in.
    pub fn timelines(&self) -> usize {
        self.timelines.len()
    }

    /// Says that something was seen in a timeline that must not be.
    pub fn fail(&mut self, timeline: usize) {
        self.failing.insert(timeline);
    }

    /// The timelines, by number, that were taken in and in which nothing was seen that must not be.
    pub fn holding(&self) -> BTreeSet<usize> {
        let all = self.timelines.iter().map(|ran| ran.number);
        all.filter(|number| !self.failing.contains(number)).collect()
    }

    /// The verdicts so far, built-in properties among them.
    pub fn properties(&self) -> Vec<Property> {
        let injected = self.timelines.iter().map(|ran| ran.faults).sum();
        let untried = built_in::untried(&self.timelines);
        let occasion = Occasion {
            needs_faults: self.needs_faults,
            rare: self.rare,
            timelines: self.timelines.len(),
            faults: injected,
            left_out: self.left_out.clone(),
            untried,
        };
        let mut properties = self.judge.verdicts(&occasion);
        let state = |(message, timeline): (&&'static str, &Option<usize>)| {
            built_in::state(message, *timeline, self.left_out.get(message))
        };
        // What commands assert too, the lab may have seen where they did not.
        for property in properties.iter_mut().filter(|property| property.outcome == Outcome::NotExercised) {
            if let Some((message, Some(timeline))) = self.states.get_key_value(property.message.as_str()) {
                *property = built_in::state(message, Some(*timeline), None);
            }
        }
        let asserted: BTreeSet<_> = properties.iter().map(|property| property.message.clone()).collect();
        let own = self.states.iter().filter(|(message, _)| !asserted.contains(**message));
        properties.extend(own.map(state));
        properties.extend(built_in::judge(&self.timelines, &self.setups, &self.stopped, &self.histories));
        if let Some(etcd) = self.etcd {
            let classes = settings::classes().unwrap_or_default();
            let mut strikes = self.timelines.iter().flat_map(|ran| &ran.strikes);
            let crashes = strikes.any(|strike| strike.kind.crashes_members());
            known::name(&mut properties, Setting { version: Some(etcd), classes: &classes, crashes });
        }
        properties
    }
}

/// The file of the services and those of the commands that ran, as far as they are there.
fn sources(ran: &Ran, sdk: &Path, foreign: bool) -> Vec<Source> {
    let commands = ran.commands.iter().map(|run| format!("{}.jsonl", run.name));
    [SERVICES.to_owned()]
        .into_iter()
        .chain(commands)
        .map(|file| Source {
            timeline: ran.number,
            name: format!("timeline-{}/sdk/{file}", ran.number),
            path: sdk.join(&file),
            catalogue_counts: !foreign || file != SERVICES,
        })
        .filter(|source| source.path.exists())
        .collect()
}

/// Hands on a file's assertions; how often it says setup-complete, and whether it breaks a property.
fn read(source: &Source, judge: &mut Judge) -> Result<(SetupCount, bool), SdkOutputError> {
    let (mut count, mut broken) = (0, false);
    sdk_output::read(&source.path, |line| match line {
        Line::Assertion(assertion) if assertion.hit || source.catalogue_counts => {
            broken |= judge.add(&source.name, *assertion);
        }
        Line::SetupComplete(_) => count += 1,
        Line::Assertion(_) | Line::Other => {}
    })?;
    let (timeline, from_command) = (source.timeline, source.is_of_command());
    Ok((SetupCount { timeline, source: source.name.clone(), from_command, count }, broken))
}

/// The verdicts over files of any project, by the platform's rules alone: nothing is known of the commands that
/// wrote them.
pub fn sdk_files(paths: &[PathBuf]) -> Result<Vec<Property>, SdkOutputError> {
    let mut judge = Judge::default();
    for path in paths {
        let name = path.display().to_string();
        read(&Source { timeline: 1, name, path: path.clone(), catalogue_counts: true }, &mut judge)?;
    }
    Ok(judge.verdicts(&Occasion::default()))
}

/// The files with this ending in a folder, in order of name; none if there is no such folder.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort_unstable();
    paths
}

/// Writes the verdicts, with all of their evidence, beside what they were drawn from.
pub fn save(properties: &[Property], run: &Path) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(properties)?;
    fs::write(run.join("verdicts.json"), text)
}

/// Whether all that was exercised holds.
pub fn all_hold(properties: &[Property]) -> bool {
    Counts::of(properties).broken == 0
}
