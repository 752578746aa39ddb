//! Which faults may strike how often and how hard: two profiles of the lab's own, or a TOML file's. Each timeline
//! draws its own part of the profile, so that faults meet in many different company. It reads the one file.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{action::Ability, kind::Kind};

/// How many of the profile's kinds a timeline has.
const SHAPES: [(Shape, u32); 4] = [(Shape::None, 3), (Shape::One, 4), (Shape::Some, 7), (Shape::All, 6)];
/// Of any so many timelines in a row, at least one has faults; the first one does.
const SURE_OF: usize = 3;

/// Why a profile can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file can't be read.
    #[error(
        "failed to read the faults' profile {path}: {source}; `--faults` takes none, light, heavy, list or a file"
    )]
    Read {
        /// As it was given.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The file isn't a profile.
    #[error("the faults' profile {path} can't be used: {message}")]
    Malformed {
        /// As it was given.
        path: String,
        /// Where and why, with the line.
        message: String,
    },
}

/// From the shortest to the longest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub shortest: Duration,
    /// The longest, no shorter than the shortest.
    pub longest: Duration,
}

impl Span {
    const fn millis(shortest: u64, longest: u64) -> Self {
        Self { shortest: Duration::from_millis(shortest), longest: Duration::from_millis(longest) }
    }
}

/// Which faults, how often and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "File", into = "File")]
pub struct Profile {
    /// How often each kind comes, relative to the others; each above 0.
    pub weights: BTreeMap<Kind, f64>,
    /// From the end of what leaves room for another fault to that fault.
    pub gap: Span,
    /// How long a fault lasts, where its kind has no other idea.
    pub duration: Span,
    /// How many faults there may be at once, those aside that nothing lasts of; at least 1.
    pub overlap: usize,
    /// The share of outages of members that may leave the cluster without a quorum, from 0 to 1.
    pub quorum_breaks: f64,
}

enum Shape {
    None,
    One,
    Some,
    All,
}

impl Profile {
    /// No fault at all.
    pub fn none() -> Self {
        Self { weights: BTreeMap::new(), ..Self::light() }
    }

    /// One fault at a time, with time to recover.
    pub fn light() -> Self {
        Self {
            weights: weights(|kind| kind.facts().light),
            gap: Span::millis(500, 4_000),
            duration: Span::millis(500, 4_000),
            overlap: 1,
            quorum_breaks: 0.1,
        }
    }

    /// Several faults at once, soon one after the other, and long ones among them.
    pub fn heavy() -> Self {
        Self {
            weights: weights(|kind| kind.facts().heavy),
            gap: Span::millis(100, 2_000),
            duration: Span::millis(200, 10_000),
            overlap: 3,
            quorum_breaks: 0.25,
        }
    }

    /// The same with shorter faults, sooner one after the other: a timeline of a few seconds has several then.
    #[must_use]
    pub fn hurried(self) -> Self {
        Self { gap: Span::millis(100, 1_000), duration: Span::millis(200, 5_000), ..self }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let name = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| ProfileError::Read { path: name.clone(), source })?;
        let malformed = |message: String| ProfileError::Malformed { path: name.clone(), message };
        let file: File =
            toml::from_str(&text).map_err(|error| malformed(error.to_string().trim_end().to_owned()))?;
        let profile = Self::from(file);
        if profile.is_none() {
            return Err(malformed(
                "no kind in [weights] has a weight above 0; for no faults, use `--faults none`".to_owned(),
            ));
        }
        Ok(profile)
    }

    /// Whether nothing can strike.
    pub fn is_none(&self) -> bool {
        self.weights.is_empty()
    }

    /// Without the kinds that need what is lacking; also these, each with the reason.
    pub fn without(mut self, lacking: &[(Ability, String)]) -> (Self, Vec<(Kind, String)>) {
        let reason = |kind: Kind| {
            let needs = kind.facts().needs;
            lacking.iter().find(|(ability, _)| needs.contains(ability)).map(|(_, reason)| reason.clone())
        };
        let left_out: Vec<_> = self.weights.keys().filter_map(|kind| Some((*kind, reason(*kind)?))).collect();
        self.weights.retain(|kind, _| left_out.iter().all(|(other, _)| other != kind));
        (self, left_out)
    }

    /// The part of this profile that timeline `number` (from 1) has: sometimes nothing, sometimes one kind,
    /// sometimes some, sometimes all.
    #[must_use]
    pub fn draw(&self, seed: u64, number: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let sure = number % SURE_OF == 1;
        let shapes = if sure { &SHAPES[1..] } else { &SHAPES };
        let (shape, _) = shapes.choose_weighted(&mut rng, |(_, weight)| *weight).expect("there are shapes");
        let mut drawn = self.clone();
        drawn.overlap = rng.gen_range(1..=self.overlap);
        let kinds: Vec<Kind> = self.weights.keys().copied().collect();
        let kept: Vec<Kind> = match shape {
            Shape::None => Vec::new(),
            Shape::One => Vec::from_iter(one_of(&self.weights, &mut rng)),
            Shape::Some => {
                let mut some: Vec<_> = kinds.into_iter().filter(|_| rng.r#gen()).collect();
                some.extend(one_of(&self.weights, &mut rng).filter(|_| some.is_empty()));
                some
            }
            Shape::All => kinds,
        };
        drawn.weights.retain(|kind, _| kept.contains(kind));
        drawn
    }
}

fn one_of(weights: &BTreeMap<Kind, f64>, rng: &mut StdRng) -> Option<Kind> {
    let weights: Vec<_> = weights.iter().collect();
    weights.choose_weighted(rng, |(_, weight)| **weight).ok().map(|(kind, _)| **kind)
}

fn weights(weight: impl Fn(Kind) -> f64) -> BTreeMap<Kind, f64> {
    Kind::ALL.into_iter().map(|kind| (kind, weight(kind))).filter(|(_, weight)| *weight > 0.0).collect()
}

/// A profile as files hold it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gap: Option<FileSpan>,
    duration: Option<FileSpan>,
    overlap: Option<Overlap>,
    #[serde(rename = "quorum-breaks")]
    quorum_breaks: Option<Share>,
    weights: BTreeMap<Kind, Weight>,
}

impl From<File> for Profile {
    fn from(file: File) -> Self {
        let usual = Self::light();
        let weights = file.weights.into_iter().map(|(kind, Weight(weight))| (kind, weight));
        Self {
            weights: weights.filter(|(_, weight)| *weight > 0.0).collect(),
            gap: file.gap.map_or(usual.gap, |FileSpan(span)| span),
            duration: file.duration.map_or(usual.duration, |FileSpan(span)| span),
            overlap: file.overlap.map_or(usual.overlap, |Overlap(overlap)| overlap),
            quorum_breaks: file.quorum_breaks.map_or(usual.quorum_breaks, |Share(share)| share),
        }
    }
}

impl From<Profile> for File {
    fn from(profile: Profile) -> Self {
        Self {
            gap: Some(FileSpan(profile.gap)),
            duration: Some(FileSpan(profile.duration)),
            overlap: Some(Overlap(profile.overlap)),
            quorum_breaks: Some(Share(profile.quorum_breaks)),
            weights: profile.weights.into_iter().map(|(kind, weight)| (kind, Weight(weight))).collect(),
        }
    }
}

#[derive(Clone, Serialize)]
struct Weight(f64);
#[derive(Clone, Serialize)]
struct Share(f64);
#[derive(Clone, Serialize)]
struct Overlap(usize);
#[derive(Clone)]
struct FileSpan(Span);

impl Serialize for FileSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = |duration| humantime::format_duration(duration).to_string();
        [words(self.0.shortest), words(self.0.longest)].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let weight = f64::deserialize(deserializer)?;
        if (0.0..=MOST).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(de::Error::custom("a weight is from 0 to 1000"))
        }
    }
}

/// Weights are relative, so that no more is needed.
const MOST: f64 = 1000.0;
/// More would strike every node of a small cluster all the time.
const MOST_OVERLAP: usize = 10;
/// A longer one would not end within a timeline of the usual length.
const LONGEST: Duration = Duration::from_mins(5);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(de::Error::custom("a share is from 0 to 1"))
        }
    }
}

impl<'de> Deserialize<'de> for Overlap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let overlap = usize::deserialize(deserializer)?;
        if (1..=MOST_OVERLAP).contains(&overlap) {
            Ok(Self(overlap))
        } else {
            Err(de::Error::custom(format!("the overlap is from 1 to {MOST_OVERLAP}")))
        }
    }
}

impl<'de> Deserialize<'de> for FileSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [shortest, longest] = <[String; 2]>::deserialize(deserializer)?;
        let read = |text: &str| {
            humantime::parse_duration(text).map_err(|error| {
                de::Error::custom(format!("{text:?} is no duration ({error}); write for example \"500ms\""))
            })
        };
        let (shortest, longest) = (read(&shortest)?, read(&longest)?);
        if shortest > longest {
            return Err(de::Error::custom("the shortest comes first, then the longest"));
        }
        if longest > LONGEST {
            return Err(de::Error::custom("the longest is at most 5m"));
        }
        Ok(Self(Span { shortest, longest }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Profile, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Profile::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_says_what_it_changes() {
        let profile = read("gap = [\"1s\", \"2s\"]\noverlap = 2\n[weights]\nkill = 3\npause = 0\n").unwrap();
        assert_eq!(profile.weights, BTreeMap::from([(Kind::Kill, 3.0)]));
        assert_eq!((profile.gap, profile.overlap), (Span::millis(1000, 2000), 2));
        assert_eq!(profile.duration, Profile::light().duration);
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        for (text, line, words) in [
            ("[weights]\nkill = 1\nkil = 1\n", "line 3", "unknown variant `kil`"),
            ("[weights]\nkill = -1\n", "line 2", "a weight is from 0 to 1000"),
            ("gap = [\"2s\", \"1s\"]\n[weights]\nkill = 1\n", "line 1", "the shortest comes first"),
            ("\nduration = [\"soon\", \"1s\"]\n[weights]\nkill = 1\n", "line 2", "\"soon\" is no duration"),
            ("overlap = 0\n[weights]\nkill = 1\n", "line 1", "the overlap is from 1 to 10"),
            ("quorum-breaks = 2\n[weights]\nkill = 1\n", "line 1", "a share is from 0 to 1"),
            ("speed = 2\n[weights]\nkill = 1\n", "line 1", "unknown field `speed`"),
            ("[weights]\nkill = 0\n", "", "no kind in [weights]"),
            ("[weights\n", "line 1", ""),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(line) && message.contains(words), "{text:?} gave {message}");
            assert!(message.starts_with("the faults' profile /"), "{message}");
        }
    }

    #[test]
    fn a_file_that_is_missing_is_named_with_what_else_can_be_given() {
        let message = Profile::read(Path::new("hevy")).unwrap_err().to_string();
        assert!(message.contains("hevy") && message.contains("none, light, heavy"), "{message}");
    }

    #[test]
    fn of_three_timelines_in_a_row_one_has_faults_and_the_first_does() {
        for seed in 0..200 {
            let has_faults = |number: usize| !Profile::light().draw(seed + number as u64, number).is_none();
            assert!(has_faults(1));
            assert!((1..9).all(|number| (number..number + 3).any(has_faults)));
        }
    }

    #[test]
    fn timelines_differ_in_what_they_have() {
        let light = Profile::light();
        let counts: Vec<usize> = (0..200).map(|seed| light.draw(seed, 2).weights.len()).collect();
        for count in [0, 1, light.weights.len()] {
            assert!(
                counts.iter().filter(|c| **c == count).count() > 10,
                "{count} kinds are rare: {counts:?}"
            );
        }
        assert_eq!(light.draw(5, 2), light.draw(5, 2));
    }

    #[test]
    fn what_is_lacking_is_left_out_with_its_reason() {
        let lacking = [(Ability::Network, "no root".to_owned())];
        let (profile, left_out) = Profile::heavy().without(&lacking);
        assert!(profile.weights.keys().all(|kind| !kind.is_network()));
        assert!(left_out.contains(&(Kind::Bridge, "no root".to_owned())));
        assert_eq!(profile.weights.len() + left_out.len(), Profile::heavy().weights.len());
    }
}
