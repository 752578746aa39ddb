//! What a timeline of a hunt is made of: members, their flags, traffic and faults. Drawn at random, or read from a file
//! of `profiles/`; written in the same form. It draws and describes, and runs nothing.

use std::{collections::BTreeMap, fmt, fs, io, path::Path, time::Duration};

use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    capability::{Capability, Lacks},
    lab::{
        composer::Ending,
        etcd_binary::EtcdVersion,
        fault::{kind::Kind, profile::Profile as Faults},
        known::Setting,
        setup::Setup,
    },
    report::totals::counted,
    settings::{
        CLASSES_VARIABLE, Class, LACKS_VARIABLE, TRAFFIC_VARIABLE,
        mix::{Mix, Sort},
    },
};

/// The sizes of clusters that a hunt draws from: most are the usual one.
pub const MEMBERS: [usize; 5] = [1, 3, 3, 3, 5];
/// Flags that bring rare states near, and the values that they may have.
const FLAGS: [(&str, &[&str]); 5] = [
    ("snapshot-count", &["50", "100", "1000", "10000"]),
    ("compaction-batch-limit", &["5", "10", "100", "1000"]),
    ("compaction-sleep-interval", &["10ms", "50ms"]),
    ("backend-batch-interval", &["1ms", "1s", "10s"]),
    ("watch-progress-notify-interval", &["100ms", "1s"]),
];
/// How likely a flag is not as usual.
const FLAG: f64 = 0.65;
/// How likely a timeline has writing transactions that read in the past, beside which other faults are hard to see.
const PAST_IN_WRITES: f64 = 0.5;
/// How likely authentication is on, with users among the traffic: all other traffic is `root`'s then.
const AUTH: f64 = 0.2;
/// How likely no faults strike but those that follow requests closely.
const COUPLED_ALONE: f64 = 0.3;
/// How likely no fault strikes.
const NO_FAULTS: f64 = 0.05;
/// A timeline has its members up and its end behind it within seconds, so that short ones lose little; but a member that
/// falls behind needs up to ten.
const DURATIONS: [u64; 3] = [10, 12, 18];

/// Why a profile can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file can't be read or written.
    #[error("failed to {action} the profile {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// As it was given.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The file isn't a profile.
    #[error("the profile {path} can't be used: {message}")]
    Malformed {
        /// As it was given.
        path: String,
        /// Where and why, with the line.
        message: String,
    },
}

/// One sort of timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// How many members.
    pub members: Members,
    /// How long traffic goes on, if nothing is found before.
    #[serde(serialize_with = "written", deserialize_with = "duration")]
    pub duration: Duration,
    /// How it ends.
    pub ending: Ending,
    /// Workloads at once in each client.
    pub lanes: u64,
    /// Classes of traffic that are off otherwise.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// How often each workload comes, relative to the others.
    pub traffic: BTreeMap<Sort, u64>,
    /// Flags of the members, in place of the usual ones of these names.
    #[serde(default)]
    pub flags: BTreeMap<String, String>,
    /// What strikes meanwhile; nothing without kinds.
    pub faults: Faults,
}

/// 1, 3 or 5 members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct Members(usize);

impl Members {
    /// The number.
    pub fn count(self) -> usize {
        self.0
    }
}

impl TryFrom<usize> for Members {
    type Error = &'static str;

    fn try_from(count: usize) -> Result<Self, Self::Error> {
        if MEMBERS.contains(&count) { Ok(Self(count)) } else { Err("a cluster has 1, 3 or 5 members") }
    }
}

impl From<Members> for usize {
    fn from(Members(count): Members) -> Self {
        count
    }
}

fn written<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|error| de::Error::custom(format!("{text:?} is no duration ({error})")))
}

impl Profile {
    /// Draws one with so many members.
    pub fn draw(members: Members, rng: &mut StdRng) -> Self {
        let mut classes = if rng.gen_bool(PAST_IN_WRITES) { vec![Class::PastInWrites] } else { vec![] };
        let mut traffic: BTreeMap<Sort, u64> =
            Sort::ALL.into_iter().map(|sort| (sort, weight(sort, rng))).filter(|(_, w)| *w > 0).collect();
        if rng.gen_bool(AUTH) {
            classes.push(Class::Auth);
            traffic.insert(Sort::Permissions, *[1, 2, 4].choose(rng).expect("there are some"));
        }
        let flags = FLAGS.iter().filter(|_| rng.gen_bool(FLAG)).collect::<Vec<_>>();
        let flags = flags.into_iter().map(|(name, values)| {
            let value = values.choose(rng).expect("each flag has values");
            ((*name).to_owned(), (*value).to_owned())
        });
        let flags = flags.collect();
        let mut faults = if rng.gen_bool(NO_FAULTS) { Faults::none() } else { Faults::heavy().hurried() };
        if rng.gen_bool(COUPLED_ALONE) {
            faults.weights.retain(|kind, _| kind.is_coupled());
        }
        for (kind, weight) in &mut faults.weights {
            *weight *= eagerness(*kind);
        }
        Self {
            members,
            duration: Duration::from_secs(*DURATIONS.choose(rng).expect("there are some")),
            ending: if rng.gen_bool(0.8) { Ending::Eventually } else { Ending::Finally },
            lanes: *[2, 3, 4, 6].choose(rng).expect("there are some"),
            classes,
            traffic,
            flags,
            faults: faults.draw(rng.r#gen(), 1),
        }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| ProfileError::File {
            action: "read",
            path: name.clone(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| {
            let message = error.to_string().trim_end().to_owned();
            ProfileError::Malformed { path: name, message }
        })
    }

    /// Writes a file that says the same, after these lines for people.
    pub fn write(&self, path: &Path, lines: &[String]) -> Result<(), ProfileError> {
        let lines: Vec<_> = lines.iter().map(|line| format!("# {line}")).collect();
        let profile = toml::to_string(self).expect("a profile has no key that isn't text");
        let text = format!("{}\n{profile}", lines.join("\n"));
        let failed =
            |source| ProfileError::File { action: "write", path: path.display().to_string(), source };
        fs::write(path, text).map_err(failed)
    }

    /// The part of it that a server has all for which lacks this.
    #[must_use]
    pub fn within(mut self, lacks: &Lacks) -> Self {
        self.traffic.retain(|sort, _| sort.lacking(lacks).is_none());
        self.faults.weights.retain(|kind, _| lacks.first_of(kind.needed()).is_none());
        let needed = [Capability::PastReads, Capability::Transactions, Capability::TransactionReads];
        if lacks.first_of(&needed).is_some() {
            self.classes.retain(|class| *class != Class::PastInWrites);
        }
        if !lacks.has(Capability::Users) {
            self.classes.retain(|class| *class != Class::Auth);
        }
        self
    }

    /// What findings of its timelines are made with.
    pub fn setting(&self, version: Option<EtcdVersion>) -> Setting<'_> {
        let crashes = self.faults.weights.keys().any(|kind| kind.crashes_members());
        Setting { version, classes: &self.classes, crashes }
    }

    /// What its cluster is brought up with, of a server that lacks this.
    pub fn setup(&self, lacks: &Lacks) -> Setup {
        let mix = Mix { budget: self.duration, lanes: self.lanes, weights: self.traffic.clone() };
        let mut environment = BTreeMap::from([(TRAFFIC_VARIABLE, mix.to_string())]);
        if !self.classes.is_empty() {
            let names: Vec<_> = self.classes.iter().map(|class| class.name()).collect();
            environment.insert(CLASSES_VARIABLE, names.join(","));
        }
        if !lacks.is_nothing() {
            environment.insert(LACKS_VARIABLE, lacks.names());
        }
        let mut flags = self.flags.clone();
        if self.classes.contains(&Class::Auth) {
            // Who authenticates often is not to wait for a strong hash of a password that everybody knows.
            flags.entry("bcrypt-cost".to_owned()).or_insert_with(|| "4".to_owned());
        }
        Setup { members: self.members.0, flags, environment }
    }
}

/// How much more often than with `--faults heavy` a kind of fault comes: those that strike members at what they were
/// asked for, or bring about what is rare.
fn eagerness(kind: Kind) -> f64 {
    match kind {
        Kind::FallBehind => 12.0,
        Kind::KillAtCompaction => 6.0,
        Kind::Pause => 3.0,
        Kind::DelayPeers => 2.0,
        _ if kind.is_coupled() => 3.0,
        _ => 1.0,
    }
}

/// What brings most to light comes most.
fn weight(sort: Sort, rng: &mut StdRng) -> u64 {
    let weights: &[u64] = match sort {
        Sort::Watches => &[2, 4, 4],
        Sort::Transactions => &[1, 2, 4],
        Sort::Maintenance => &[0, 1, 2],
        Sort::Permissions => &[0],
        _ => &[0, 0, 0, 1],
    };
    *weights.choose(rng).expect("there are some")
}

/// In a line for people.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} of", counted(self.members.0, "member"), counted(self.lanes, "lane"))?;
        for (sort, weight) in &self.traffic {
            write!(f, " {} {weight}", sort.name())?;
        }
        for class in &self.classes {
            write!(f, ", {}", class.name())?;
        }
        let kinds: Vec<_> = self.faults.weights.keys().map(|kind| kind.name()).collect();
        match &kinds[..] {
            [] => write!(f, ", no faults")?,
            kinds if kinds.len() > 5 => write!(f, ", {} kinds of faults", kinds.len())?,
            kinds => write!(f, ", {}", kinds.join(" "))?,
        }
        self.flags.iter().try_for_each(|(name, value)| write!(f, ", {name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn drawn(seed: u64) -> Profile {
        Profile::draw(Members(3), &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn what_was_drawn_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.toml");
        for seed in 0..50 {
            let profile = drawn(seed);
            profile.write(&path, &["drawn".to_owned()]).unwrap();
            assert_eq!(Profile::read(&path).unwrap(), profile);
            assert_eq!(drawn(seed), profile);
        }
    }

    /// Each sort, flag and class comes and stays away; watches and transactions always come.
    #[test]
    fn profiles_differ() {
        let profiles: Vec<Profile> = (0..200).map(drawn).collect();
        let among = |has: &dyn Fn(&Profile) -> bool| profiles.iter().filter(|profile| has(profile)).count();
        let always = [Sort::Watches, Sort::Transactions];
        for sort in Sort::ALL.into_iter().filter(|sort| !always.contains(sort)) {
            assert!((20..190).contains(&among(&|p| p.traffic.contains_key(&sort))), "{}", sort.name());
        }
        for (flag, _) in FLAGS {
            assert!((20..180).contains(&among(&|p| p.flags.contains_key(flag))), "{flag}");
        }
        assert_eq!(among(&|p| always.iter().all(|sort| p.traffic.contains_key(sort))), 200);
        for (class, times) in [(Class::PastInWrites, 60..140), (Class::Auth, 20..70)] {
            assert!(times.contains(&among(&|p| p.classes.contains(&class))), "{}", class.name());
        }
        let with_users = |p: &Profile| p.traffic.contains_key(&Sort::Permissions);
        assert!(profiles.iter().all(|p| with_users(p) == p.classes.contains(&Class::Auth)));
        assert!(profiles.iter().all(|p| p.setup(&Lacks::default()).user().is_some() == with_users(p)));
        assert!((2..50).contains(&among(&|p| p.faults.is_none())));
    }

    /// Of whatever is drawn something is left that any server has.
    #[test]
    fn what_a_server_lacks_is_not_drawn() {
        let lacks: Lacks = Capability::ALL.iter().copied().collect();
        for profile in (0..50).map(|seed| drawn(seed).within(&lacks)) {
            assert!(profile.traffic.keys().all(|sort| [Sort::OwnKeys, Sort::Transactions].contains(sort)));
            assert!(!profile.traffic.is_empty() && profile.classes.is_empty());
            assert!(profile.faults.weights.keys().all(|kind| kind.needed().is_empty()));
            assert_eq!(profile.setup(&lacks).environment[LACKS_VARIABLE], lacks.names());
        }
        assert_eq!(drawn(1).within(&Lacks::default()), drawn(1));
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.toml");
        let text = toml::to_string(&drawn(1)).unwrap();
        for (right, wrong, words) in [
            ("members = 3", "members = 2", "1, 3 or 5"),
            ("duration = \"", "duration = \"soon", "is no duration"),
            ("[traffic]", "[traffic]\nwatchs = 1", "unknown variant `watchs`"),
        ] {
            let changed = text.replacen(right, wrong, 1);
            assert_ne!(changed, text);
            fs::write(&path, changed).unwrap();
            let message = Profile::read(&path).unwrap_err().to_string();
            assert!(
                message.contains(words) && message.contains("wrong.toml") && message.contains("line"),
                "{message}"
            );
        }
    }
}
