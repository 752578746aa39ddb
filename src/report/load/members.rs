//! What the members said of themselves over time. In goes a timeline's `members.jsonl`, out come a few hundred
//! points per member at most, when each led, and when it gave no answer. It judges nothing.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, ErrorKind},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    Millis,
    events::{Skeleton, Span},
};

/// More points than a picture has pixels mean nothing.
const MAX_POINTS: u64 = 480;

/// What a member said of itself at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub at_ms: Millis,
    /// Its Raft term.
    pub term: u64,
    /// The revision of its store.
    pub revision: u64,
    /// The last log entry that it had applied.
    pub applied: u64,
}

/// A member over time.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// In order of time; a member that gave no answer has none.
    pub points: Vec<Point>,
    /// When it held itself for the leader.
    pub leads: Vec<Span>,
    /// When it gave no answer.
    pub silent: Vec<Span>,
    /// How often it was asked.
    pub samples: usize,
}

/// The last that is known of a member, for machines.
#[derive(Debug, Clone, Serialize)]
pub struct MemberSummary {
    /// Its name.
    pub name: String,
    /// Its last known term.
    pub term: u64,
    /// Its last known revision.
    pub revision: u64,
    /// Its last known applied index.
    pub applied_index: u64,
    /// When it held itself for the leader.
    pub leads: Vec<Span>,
    /// When it gave no answer.
    pub silent: Vec<Span>,
}

impl Member {
    /// The last that is known.
    pub fn summary(&self) -> MemberSummary {
        let last = self.points.last();
        MemberSummary {
            name: self.name.clone(),
            term: last.map_or(0, |point| point.term),
            revision: last.map_or(0, |point| point.revision),
            applied_index: last.map_or(0, |point| point.applied),
            leads: self.leads.clone(),
            silent: self.silent.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Sample {
    monotonic_ns: u64,
    member: String,
    #[serde(default)]
    member_id: String,
    #[serde(default)]
    leader: String,
    #[serde(default)]
    term: u64,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    applied_index: u64,
    #[serde(default)]
    error: Option<String>,
}

/// A state that lasts from one sample to the next.
#[derive(Default)]
struct Lasting {
    spans: Vec<Span>,
    open: bool,
}

impl Lasting {
    fn see(&mut self, at_ms: Millis, is_so: bool) {
        if let Some(last) = self.spans.last_mut().filter(|_| self.open) {
            last.to_ms = at_ms;
        }
        if is_so && !self.open {
            self.spans.push(Span { from_ms: at_ms, to_ms: at_ms });
        }
        self.open = is_so;
    }

    fn ended(mut self, length: Millis) -> Vec<Span> {
        self.see(length, false);
        self.spans
    }
}

#[derive(Default)]
struct Builder {
    member: Member,
    leads: Lasting,
    silent: Lasting,
}

impl Builder {
    fn take(&mut self, at_ms: Millis, step: Millis, sample: &Sample) {
        let answered = sample.error.is_none();
        self.member.samples += 1;
        self.leads.see(at_ms, answered && sample.leader == sample.member_id && !sample.leader.is_empty());
        self.silent.see(at_ms, !answered);
        if answered {
            let &Sample { term, revision, applied_index: applied, .. } = sample;
            let point = Point { at_ms, term, revision, applied };
            match self.member.points.last_mut() {
                // The last of a step stands for it.
                Some(last) if last.at_ms / step == at_ms / step => *last = point,
                _ => self.member.points.push(point),
            }
        }
    }
}

/// Reads the samples; a timeline without them has none.
pub fn read(folder: &Path, skeleton: &Skeleton, notes: &mut Vec<String>) -> Vec<Member> {
    let path = folder.join("members.jsonl");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            notes.push(format!("{} can't be read: {error}", path.display()));
            return Vec::new();
        }
    };
    let step = (skeleton.length_ms / MAX_POINTS).max(1);
    let mut members: BTreeMap<String, Builder> = BTreeMap::new();
    let mut damaged = 0;
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        match serde_json::from_slice::<Sample>(&line) {
            Ok(sample) => {
                let at_ms = skeleton.at_monotonic(sample.monotonic_ns).min(skeleton.length_ms);
                members.entry(sample.member.clone()).or_default().take(at_ms, step, &sample);
            }
            Err(_) => damaged += 1,
        }
    }
    // The last line may be torn.
    if damaged > 1 {
        notes.push(format!("lines of {} that can't be understood: {damaged}", path.display()));
    }
    let built = members.into_iter().map(|(name, builder)| Member {
        name,
        leads: builder.leads.ended(skeleton.length_ms),
        silent: builder.silent.ended(skeleton.length_ms),
        ..builder.member
    });
    built.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leadership_and_silence_last_until_the_next_sample() {
        let folder = tempfile::tempdir().unwrap();
        let good = |ms: u64, leader: &str| {
            format!(
                r#"{{"monotonic_ns":{},"member":"etcd0","member_id":"a","leader":"{leader}","term":2,"revision":{ms},"applied_index":4}}"#,
                ms * 1_000_000
            )
        };
        let lines = [
            good(0, "b"),
            good(100, "a"),
            good(200, "a"),
            r#"{"monotonic_ns":300000000,"member":"etcd0","error":"refused"}"#.to_owned(),
            good(400, "b"),
        ];
        std::fs::write(folder.path().join("members.jsonl"), lines.join("\n") + "\n{\"torn").unwrap();
        let skeleton = Skeleton { length_ms: 400, ..Skeleton::default() };
        let mut notes = Vec::new();
        let members = read(folder.path(), &skeleton, &mut notes);
        let [member] = members.as_slice() else { panic!("{members:?}") };
        assert_eq!(member.leads, [Span { from_ms: 100, to_ms: 300 }]);
        assert_eq!(member.silent, [Span { from_ms: 300, to_ms: 400 }]);
        assert_eq!(member.points.iter().map(|point| point.revision).collect::<Vec<_>>(), [0, 100, 200, 400]);
        assert_eq!((notes.len(), member.samples), (0, 5));
    }
}
