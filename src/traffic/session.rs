//! What all workers of one command share: a client of each member, the recorder, the revision tracker and the
//! counters of the history folder. In go operations of a worker, out come their outcomes, recorded and judged.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    capability::{Capability, Lacks},
    client::{Client, tls::TlsError},
    exit::ExitStatus,
    history::{HistoryError, counters::Counters},
    operation::{Failure, Outcome, Request, stream::Sent},
    properties::{self, SilentSdk},
    random,
    recorder::{
        Recorder,
        stream::{Next, RecordedStream},
    },
    revision::RevisionTracker,
    settings::{self, Class, Settings, SettingsError, User},
    types::{ProcessId, Revision},
};

/// Why a command can't begin or go on. Nothing that a cluster under faults does is among it.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The environment is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The certificates are wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The history can't be kept.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The assertions can't be kept.
    #[error(transparent)]
    Sdk(#[from] SilentSdk),
}

impl SessionError {
    /// A wrong environment is the user's mistake, an unwritable file the surroundings' fault.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Settings(_) | Self::Tls(_) => ExitStatus::Usage,
            Self::History(_) | Self::Sdk(_) => ExitStatus::Surroundings,
        }
    }
}

/// What the workers of a command share.
#[derive(Debug)]
pub struct Session {
    clients: Vec<Client>,
    classes: Vec<Class>,
    lacks: Lacks,
    recorder: Arc<Recorder>,
    counters: Counters,
    tracker: Mutex<RevisionTracker>,
    folder: PathBuf,
    broken: AtomicU64,
    compacted: AtomicI64,
}

impl Session {
    /// Reads the environment and starts a history of this command; dials nobody yet.
    pub fn open(command: &str) -> Result<Arc<Self>, SessionError> {
        Self::with(&Settings::from_environment()?, &settings::history_folder()?, command)
    }

    /// The same with given settings and history folder.
    pub fn with(settings: &Settings, folder: &Path, command: &str) -> Result<Arc<Self>, SessionError> {
        let classes = settings::classes()?;
        let root = || classes.contains(&Class::Auth).then(User::root);
        let settings = Settings { user: settings.user.clone().or_else(root), ..settings.clone() };
        let clients = Client::of_each(&settings)?;
        let counters = Counters::open(folder)?;
        let recorder = Arc::new(Recorder::create(folder, command)?);
        Ok(Arc::new(Self {
            clients,
            classes,
            lacks: settings::lacks()?,
            recorder,
            counters,
            tracker: Mutex::default(),
            folder: folder.to_owned(),
            broken: AtomicU64::new(0),
            compacted: AtomicI64::new(0),
        }))
    }

    /// A client of each member, in the order of the endpoints; at least one.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Whether a class of traffic is switched on.
    pub fn has(&self, class: Class) -> bool {
        self.classes.contains(&class)
    }

    /// What the server lacks of etcd's protocol.
    pub fn lacks(&self) -> &Lacks {
        &self.lacks
    }

    /// Whether the server has this.
    pub fn can(&self, capability: Capability) -> bool {
        self.lacks.has(capability)
    }

    /// What a command is to do: a little of all where that was asked for, else what is drawn.
    pub fn plan<P>(&self, little_of_all: impl FnOnce() -> P, draw: impl FnOnce() -> P) -> P {
        if self.has(Class::LittleOfAll) { little_of_all() } else { draw() }
    }

    /// A member drawn at random.
    pub fn any_member(&self) -> usize {
        random::index(self.clients.len())
    }

    /// A member drawn at random among the others, if there are others.
    pub fn another_member(&self, than: usize) -> usize {
        match self.clients.len() {
            1 => than,
            members => (than + 1 + random::index(members - 1)) % members,
        }
    }

    /// The history folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many comparisons of the revision tracker did not hold.
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// The greatest revision that this command knows to be compacted.
    pub fn compacted(&self) -> Revision {
        Revision(self.compacted.load(Ordering::Relaxed))
    }

    /// Somebody says that a revision is compacted.
    pub fn learn_compacted(&self, revision: Revision) {
        self.compacted.fetch_max(revision.0, Ordering::Relaxed);
    }

    /// The greatest revision that any command of the history folder was answered.
    pub fn revision_floor(&self) -> Result<Revision, HistoryError> {
        self.counters.revision_floor()
    }

    /// A worker with a process id of its own, whose requests have this deadline.
    pub fn worker(self: &Arc<Self>, deadline: Duration) -> Result<Worker, HistoryError> {
        let clients = self.clients.iter().map(|client| client.clone().with_deadline(deadline)).collect();
        Ok(Worker {
            session: Arc::clone(self),
            clients,
            process: self.counters.allocate_process()?,
            written: 0,
        })
    }

    /// The same as another user.
    pub fn worker_as(self: &Arc<Self>, user: &User, deadline: Duration) -> Result<Worker, HistoryError> {
        let mut worker = self.worker(deadline)?;
        worker.clients = worker.clients.iter().map(|client| client.as_user(user.clone())).collect();
        Ok(worker)
    }

    fn tracker(&self) -> std::sync::MutexGuard<'_, RevisionTracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A logical process: one operation at a time.
#[derive(Debug)]
pub struct Worker {
    session: Arc<Session>,
    clients: Vec<Client>,
    process: ProcessId,
    written: u64,
}

impl Worker {
    /// What this worker shares with the others.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The start of a value that no other write has: the process and a counter in it.
    pub fn unique_value(&mut self) -> String {
        self.written += 1;
        format!("{}/{}/", self.process, self.written)
    }

    /// Asks a member, as far as the server has what that needs; what it has nothing of is not asked.
    pub async fn perform(&mut self, member: usize, request: &Request) -> Result<Outcome, HistoryError> {
        if self.session.lacks.is_nothing() {
            return self.perform_as_it_is(member, request).await;
        }
        match self.session.lacks.fit(request.clone()) {
            Some(request) => self.perform_as_it_is(member, &request).await,
            None => Ok(Outcome::DidNotHappen(Failure {
                code: "unimplemented".to_owned(),
                message: "not asked, since the server is said to lack it".to_owned(),
            })),
        }
    }

    /// Asks a member, records, judges. After an outcome that nobody knows, the worker goes on under a fresh process
    /// id, since the old request may still take effect.
    async fn perform_as_it_is(&mut self, member: usize, request: &Request) -> Result<Outcome, HistoryError> {
        let session = &self.session;
        let floor = session.tracker().on_call(member, request, session.counters.revision_floor()?);
        let client = &self.clients[member];
        let (outcome, connection) = session.recorder.perform(self.process, client, request).await?;
        if let (Outcome::Ok(response), Some(connection)) = (&outcome, connection) {
            if response.header.revision > floor.revision {
                session.counters.raise_revision_floor(response.header.revision)?;
            }
            let answer =
                properties::Answer { member: &client.endpoint().name, request, header: &response.header };
            let mut judge = |comparison: crate::revision::Comparison<'_>| {
                properties::revisions_are_right(&comparison, answer);
                if !comparison.holds() {
                    session.broken.fetch_add(1, Ordering::Relaxed);
                    eprintln!("broken: {comparison} in an answer of {}", answer.member);
                }
            };
            session.tracker().on_return((member, connection), request, &floor, response, &mut judge);
        }
        if let (Request::Compact(compact), Outcome::Ok(_)) = (request, &outcome) {
            session.learn_compacted(compact.revision);
        }
        properties::request_ended(request, &outcome);
        if matches!(outcome, Outcome::Unknown(_)) {
            self.process = session.counters.allocate_process()?;
        }
        Ok(outcome)
    }
}

/// A recorded stream of a worker; what it tells counts as answered.
pub struct Stream {
    session: Arc<Session>,
    recorded: RecordedStream,
}

impl Worker {
    /// The client of a member, with this worker's deadline.
    pub fn client(&self, member: usize) -> &Client {
        &self.clients[member]
    }

    /// Opens a stream through one of the members' clients; see [`Recorder::open_stream`]. Of a watch, what the server
    /// lacks is not asked for; whoever wants a stream of what it has not at all asks [`Session::can`] before.
    pub fn open_stream(&self, client: &Client, first: &Sent) -> Result<Stream, HistoryError> {
        let fitted = self.session.lacks.fit_message(first);
        let first = fitted.as_deref().unwrap_or(first);
        let recorded = self.session.recorder.open_stream(self.process, client, first)?;
        Ok(Stream { session: Arc::clone(&self.session), recorded })
    }
}

impl Stream {
    /// Sends a message, as far as the server has what it needs; see [`RecordedStream::send`].
    pub fn send(&mut self, message: &Sent) -> Result<(), HistoryError> {
        match self.session.lacks.fit_message(message) {
            Some(message) => self.recorded.send(&message),
            None => Ok(()),
        }
    }

    /// Waits for the next message; see [`RecordedStream::next`]. No linearizable answer may be older from then on.
    pub async fn next(&mut self, within: Duration) -> Result<Next, HistoryError> {
        let next = self.recorded.next(within).await?;
        if let Next::Message(message) = &next {
            self.session.counters.raise_revision_floor(message.header.revision)?;
        }
        Ok(next)
    }

    /// Ends the stream from this side.
    pub fn close(self) -> Result<(), HistoryError> {
        self.recorded.close()
    }
}
