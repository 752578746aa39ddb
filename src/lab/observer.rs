//! Looks at each member while a timeline runs: its status a few times a second, written down as it was told. In goes
//! a cluster, out come the lines of `members.jsonl`. It changes nothing, and a member that doesn't answer is told
//! of as that.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::time::{self, MissedTickBehavior};

use crate::{
    client::{CallError, Client},
    clock::monotonic_now,
    health,
    lab::{
        cluster::Cluster,
        workspace::{TimelineFolder, WorkspaceError, failed},
    },
    proto::etcdserverpb::StatusResponse,
    settings::{Endpoint, Settings, User},
    types::Monotonic,
};

/// The file of samples, in a timeline's folder.
pub const FILE: &str = "members.jsonl";
/// How often each member is asked.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// A member that takes longer is written down as one that doesn't answer.
const DEADLINE: Duration = Duration::from_millis(400);

/// What was seen of one member at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When the answer was there.
    pub monotonic_ns: Monotonic,
    /// The member's service.
    pub member: String,
    /// Its answer, or why there is none.
    #[serde(flatten)]
    pub told: Told,
}

/// What a member told of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    /// It answered.
    Status(Status),
    /// It did not.
    Silent {
        /// Why not.
        error: String,
    },
}

/// The parts of a status that change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The member's id in hexadecimal.
    pub member_id: String,
    /// The leader's id as this member sees it; `0` for none.
    pub leader: String,
    /// The Raft term.
    pub term: u64,
    /// The store's revision.
    pub revision: i64,
    /// The index of the last entry in the member's log that is committed.
    pub raft_index: u64,
    /// The index of the last entry that is applied.
    pub applied_index: u64,
    /// The database's size in bytes.
    pub db_size: i64,
    /// From question to answer, in microseconds.
    pub round_trip_us: u64,
}

/// Who leads now, as far as members told, and the term.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leading member's service.
    pub leader: Option<String>,
    /// The greatest term.
    pub term: u64,
}

/// Asks the members of one cluster, again and again.
pub struct Observer {
    path: PathBuf,
    file: RefCell<BufWriter<File>>,
    clients: RefCell<BTreeMap<String, (String, Client)>>,
    leadership: RefCell<Leadership>,
}

impl Observer {
    /// Writes to `members.jsonl` in `folder`, after what may be in it.
    pub fn new(folder: &TimelineFolder) -> Result<Self, WorkspaceError> {
        let path = folder.path().join(FILE);
        let file = failed(File::options().create(true).append(true).open(&path), "open", &path)?;
        let file = RefCell::new(BufWriter::new(file));
        Ok(Self { path, file, clients: RefCell::default(), leadership: RefCell::default() })
    }

    /// Who led when the members were last asked.
    pub fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    /// Looks until it is dropped, or the samples can't be written.
    pub async fn watch(&self, cluster: &Cluster) -> Result<Infallible, WorkspaceError> {
        let members = cluster.topology().members;
        let mut ticks = time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut clients = Vec::new();
            for member in &members {
                if let Some(url) = cluster.member_url(member).await {
                    clients.extend(
                        self.client(member, &url, cluster.user()).map(|client| (member.clone(), client)),
                    );
                }
            }
            self.look(clients).await?;
        }
    }

    async fn look(&self, named: Vec<(String, Client)>) -> Result<(), WorkspaceError> {
        let (members, clients): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        let answers = health::on_each(&clients, |client| async move {
            let asked = Instant::now();
            let answer = client.status().await.map(|answered| answered.message);
            (monotonic_now(), asked.elapsed(), answer)
        });
        let samples: Vec<Sample> = members
            .into_iter()
            .zip(answers.await)
            .map(|(member, (monotonic_ns, took, answer))| Sample {
                monotonic_ns,
                member,
                told: told(answer, took),
            })
            .collect();
        self.learn(&samples);
        self.write(&samples)
    }

    fn learn(&self, samples: &[Sample]) {
        let mut known = self.leadership.borrow_mut();
        for sample in samples {
            if let Told::Status(status) = &sample.told
                && status.term >= known.term
                && status.leader == status.member_id
            {
                *known = Leadership { leader: Some(sample.member.clone()), term: status.term };
            }
        }
    }

    fn write(&self, samples: &[Sample]) -> Result<(), WorkspaceError> {
        let mut file = self.file.borrow_mut();
        for sample in samples {
            let mut line = serde_json::to_vec(sample).expect("samples have no key that isn't text");
            line.push(b'\n');
            failed(file.write_all(&line), "write", &self.path)?;
        }
        failed(file.flush(), "write", &self.path)
    }

    /// A client with the connection that it has, unless the member has moved.
    fn client(&self, member: &str, url: &str, user: Option<User>) -> Option<Client> {
        let mut clients = self.clients.borrow_mut();
        if let Some((known, client)) = clients.get(member)
            && known == url
        {
            return Some(client.clone());
        }
        let client = client(url, user, DEADLINE, DEADLINE).ok()?;
        clients.insert(member.to_owned(), (url.to_owned(), client.clone()));
        Some(client)
    }
}

/// A client of the lab's own: nothing of the environment, plain text. The error is for people.
pub fn client(
    url: &str,
    user: Option<User>,
    dial_timeout: Duration,
    deadline: Duration,
) -> Result<Client, String> {
    client_named(None, url, user, dial_timeout, deadline)
}

/// The same with a name for the member.
pub fn client_named(
    named: Option<&str>,
    url: &str,
    user: Option<User>,
    dial_timeout: Duration,
    deadline: Duration,
) -> Result<Client, String> {
    let variable = |name: &str| (name == "ETCDCTL_ENDPOINTS").then(|| url.to_owned());
    let settings = Settings::from_variables(variable).map_err(|error| error.to_string())?;
    let settings = Settings { user, dial_timeout, command_timeout: deadline, ..settings };
    let named = named.map(|name| Endpoint { name: name.to_owned(), ..settings.endpoints[0].clone() });
    let endpoint = named.as_ref().unwrap_or(&settings.endpoints[0]);
    Client::new(endpoint, &settings).map_err(|error| error.to_string())
}

fn told(answer: Result<StatusResponse, CallError>, took: Duration) -> Told {
    match answer {
        Ok(status) => {
            let header = status.header.unwrap_or_default();
            Told::Status(Status {
                member_id: format!("{:x}", header.member_id),
                leader: format!("{:x}", status.leader),
                term: status.raft_term,
                revision: header.revision,
                raft_index: status.raft_index,
                applied_index: status.raft_applied_index,
                db_size: status.db_size,
                round_trip_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            })
        }
        Err(error) => Told::Silent { error: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_lines_that_can_be_read_back() {
        let status = Status {
            member_id: "a1".to_owned(),
            leader: "a1".to_owned(),
            term: 2,
            revision: 10,
            raft_index: 11,
            applied_index: 11,
            db_size: 20480,
            round_trip_us: 700,
        };
        let sample = |told| Sample { monotonic_ns: Monotonic(5), member: "etcd0".to_owned(), told };
        let silent = Told::Silent { error: "no answer within 400ms".to_owned() };
        for sample in [sample(Told::Status(status)), sample(silent)] {
            let text = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample, "{text}");
        }
    }
}
