//! The server under test where it is no complete etcd, as a file of `--capabilities` describes it: what it lacks of the
//! protocol, and how it is started if not as etcd is. In goes the file, out comes what a hunt leaves out, and why. It
//! starts nothing, and asks nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    capability::{Capability, Lacks},
    lab::{
        fault::kind::Kind,
        hunt::profile::{MEMBERS, Members},
        processes::program::Command,
    },
    settings::mix::Sort,
};

/// Why a description of a server can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The file can't be read.
    #[error("failed to read {path}: {source}; `etcd-probe capabilities` writes such a file")]
    Read {
        /// As it was given.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The file isn't what it should be.
    #[error("{path} describes no server: {message}")]
    Malformed {
        /// As it was given.
        path: String,
        /// Where and why, with the line.
        message: String,
    },
    /// Two things say what is to be started.
    #[error(
        "--etcd can't be used with a server that [start] of --capabilities starts; leave one of them out"
    )]
    TwoServers,
    /// It can't be had in such a number.
    #[error(
        "neither --members nor the profile has a number of members that [start] of --capabilities allows"
    )]
    Members,
    /// The profile of all timelines has nothing that can be asked.
    #[error(
        "the server lacks what all traffic of the profile needs; add own-keys or transactions to [traffic]"
    )]
    NoTraffic,
}

/// A server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What it has not, each with the reason for people.
    #[serde(default)]
    pub lacks: BTreeMap<Capability, String>,
    /// How it is started, if not as an etcd is.
    pub start: Option<Start>,
}

/// How a server is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The program of a member and its arguments.
    pub command: Command,
    /// The sizes that a cluster of it may have.
    #[serde(default = "all_sizes")]
    pub members: BTreeSet<Members>,
}

fn all_sizes() -> BTreeSet<Members> {
    MEMBERS.into_iter().filter_map(|count| count.try_into().ok()).collect()
}

/// What a hunt goes without, since the server lacks something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What is lacking.
    pub lacks: Capability,
    /// How that is known, for people.
    pub reason: String,
    /// Sorts of traffic.
    pub traffic: Vec<Sort>,
    /// Kinds of faults.
    pub faults: Vec<Kind>,
    /// Messages of properties.
    pub properties: Vec<&'static str>,
}

/// In a line for people.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traffic = self.traffic.iter().map(|sort| sort.name().to_owned()).collect::<Vec<_>>();
        let faults = self.faults.iter().map(|kind| kind.name().to_owned()).collect();
        let properties = self.properties.iter().map(|message| format!("{message:?}")).collect();
        let parts = [("traffic", traffic), ("faults", faults), ("properties", properties)];
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} {}", names.join(", ")))
            .collect();
        let all = if parts.is_empty() { "what asks for it".to_owned() } else { parts.join("; ") };
        write!(f, "left out, as the server lacks {} ({}): {all}", self.lacks.name(), self.reason)
    }
}

impl Server {
    /// Reads a file; programs named by relative paths are looked for from its folder.
    pub fn read(path: &Path) -> Result<Self, ServerError> {
        let name = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| ServerError::Read { path: name.clone(), source })?;
        let malformed = |message: String| ServerError::Malformed { path: name.clone(), message };
        let mut server: Self =
            toml::from_str(&text).map_err(|error| malformed(error.to_string().trim_end().to_owned()))?;
        if let Some(start) = server.start.take() {
            if start.members.iter().any(|members| members.count() > 1) && !start.command.knows_cluster() {
                let message = "[start] has no {cluster} in its command, so that members can't know of each \
                               other; add it, or say members = [1]";
                return Err(malformed(message.to_owned()));
            }
            let folder = fs::canonicalize(path).ok().and_then(|path| path.parent().map(Path::to_owned));
            let command = start.command.from_folder(&folder.unwrap_or_default());
            server.start = Some(Start { command, ..start });
        }
        Ok(server)
    }

    /// What is lacking. Who can't be started so that it joins others can't be replaced either.
    pub fn lacks(&self) -> Lacks {
        self.reasons().into_keys().collect()
    }

    fn reasons(&self) -> BTreeMap<Capability, String> {
        let mut reasons = self.lacks.clone();
        if self.start.as_ref().is_some_and(|start| !start.command.can_join()) {
            let reason = "its command has no {state}";
            reasons.entry(Capability::MemberChanges).or_insert_with(|| reason.to_owned());
        }
        reasons
    }

    /// What is left out, by what is lacking. `needs` are the messages of properties with what they need.
    pub fn left_out(
        &self,
        needs: impl Iterator<Item = (&'static str, &'static [Capability])>,
    ) -> Vec<LeftOut> {
        let lacks = self.lacks();
        let by = |of: Option<Capability>, this: Capability| of == Some(this);
        let needs: Vec<_> = needs.collect();
        let left_out = |(this, reason): (Capability, String)| LeftOut {
            lacks: this,
            reason,
            traffic: Sort::ALL.into_iter().filter(|sort| by(sort.lacking(&lacks), this)).collect(),
            faults: Kind::ALL.into_iter().filter(|kind| by(lacks.first_of(kind.needed()), this)).collect(),
            properties: needs
                .iter()
                .filter(|(_, needed)| by(lacks.first_of(needed), this))
                .map(|(message, _)| *message)
                .collect(),
        };
        self.reasons().into_iter().map(left_out).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Server, ServerError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Server::read(file.path())
    }

    #[test]
    fn a_server_is_read_and_what_it_lacks_is_left_out_once() {
        let text = "[lacks]\nleases = \"unimplemented\"\nlocks = \"unimplemented\"\ncompaction = \"refused\"\n\
                    [start]\ncommand = [\"./server\", \"{client}\"]\nmembers = [1]\n";
        let server = read(text).unwrap();
        let needs = [("A lock is got", &[Capability::Leases, Capability::Locks][..]), ("All holds", &[])];
        let left_out = server.left_out(needs.into_iter());
        let of = |capability| left_out.iter().find(|left_out| left_out.lacks == capability).unwrap();
        assert_eq!(of(Capability::Leases).traffic, [Sort::Leases, Sort::Locks]);
        assert_eq!(of(Capability::Leases).properties, ["A lock is got"]);
        assert_eq!(of(Capability::Locks).properties, [""; 0]);
        assert_eq!(of(Capability::Compaction).faults, [Kind::Compact, Kind::KillAtCompaction]);
        assert_eq!(of(Capability::MemberChanges).faults, [Kind::ReplaceMember]);
        assert_eq!(of(Capability::MemberChanges).reason, "its command has no {state}");
    }

    #[test]
    fn mistakes_are_told_with_what_to_do() {
        for (text, words) in [
            ("[lacks]\nleasses = \"\"", "unknown variant `leasses`"),
            ("[start]\ncommand = [\"s\"]", "say members = [1]"),
            ("[start]\ncommand = [\"s\", \"{cluter}\"]", "the command has {cluter}"),
            ("[start]\ncommand = []", "the command is empty"),
            ("[start]\ncommand = [\"s\"]\nmembers = [2]", "1, 3 or 5 members"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
