//! Asking as a user: reads, writes, transactions, watches, leases and users, within its permissions and beyond them. In
//! goes what it may, out go requests through the recorder and a summary. Nothing is judged here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{PREFIX, Plan, Summary, any_access, is_open, right::Rights};
use crate::{
    history::HistoryError,
    operation::{
        Compare, DeleteRange, KeyRange, Operator, Put, Range, Request, Target, Txn,
        auth::AuthRequest,
        service::LeaseRequest,
        stream::{CreateWatch, Sent},
    },
    random,
    recorder::stream::Next,
    settings::Class,
    traffic::{
        paced::Paced,
        session::{Session, Stream},
    },
    types::Version,
};

/// Watches of a stream behind its first.
const WATCHES: u64 = 4;
/// How long a stream of watches is read.
const WATCHED_FOR: Duration = Duration::from_millis(600);
/// A busy stream is left after so many messages.
const MESSAGES_AT_MOST: u64 = 300;

/// What a user does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Put,
    Delete,
    Transaction,
    Watch,
    TimeToLive,
    Grant,
}

impl Action {
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Put, Self::Delete, Self::Transaction, Self::Watch, Self::TimeToLive, Self::Grant];
}

/// A step of a transaction.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read,
    Put,
    Delete,
}

/// A user at work.
pub(super) struct Asking {
    paced: Paced,
    rights: Arc<Rights>,
    plan: Plan,
    summary: Summary,
}

impl Asking {
    pub fn new(
        session: &Arc<Session>,
        rights: &Arc<Rights>,
        plan: &Plan,
        until: Instant,
    ) -> Result<Self, HistoryError> {
        let worker = session.worker_as(&rights.user, plan.deadline)?;
        Ok(Self {
            paced: Paced::new(worker, until, plan.pause),
            rights: Arc::clone(rights),
            plan: plan.clone(),
            summary: Summary::default(),
        })
    }

    pub async fn run(mut self) -> Result<Summary, HistoryError> {
        while !self.paced.is_over() && !self.rights.is_over() {
            let request = match *random::weighted(&self.plan.actions) {
                Action::Watch => {
                    self.watch().await?;
                    continue;
                }
                Action::Read => Request::Range(read(self.rights.to_read())),
                Action::Put => self.put(),
                Action::Delete => self.delete(),
                Action::Transaction => {
                    let kinds = self.kinds();
                    Request::Txn(self.transaction(true, kinds))
                }
                Action::TimeToLive => match self.rights.any_lease().filter(|_| self.plan.leases_elsewhere) {
                    Some(lease) => Request::Lease(LeaseRequest::TimeToLive { lease, keys: true }),
                    None => continue,
                },
                Action::Grant => self.grant(),
            };
            let outcome = self.paced.perform_anywhere(&request).await?;
            self.summary.forbidden += u64::from(outcome.is_some_and(|outcome| outcome.is_forbidden()));
        }
        self.summary.answered = self.paced.answered;
        self.summary.failed = self.paced.failed;
        Ok(self.summary)
    }

    fn kinds(&self) -> &'static [Step] {
        let past_in_writes = self.paced.worker.session().has(Class::PastInWrites);
        match random::chance(0.5) {
            _ if past_in_writes => &[Step::Read, Step::Put, Step::Delete],
            true => &[Step::Read],
            false => &[Step::Put, Step::Delete],
        }
    }

    fn put(&mut self) -> Request {
        let value = self.paced.worker.unique_value().into();
        Request::Put(Put {
            key: self.rights.to_write().key,
            value,
            prev_kv: random::chance(0.5),
            ..Put::default()
        })
    }

    fn delete(&self) -> Request {
        Request::DeleteRange(DeleteRange { keys: self.rights.to_write(), prev_kv: random::chance(0.5) })
    }

    /// One step in each branch, which may be a transaction itself; mostly nothing is compared. All steps read or all
    /// write, unless that class of traffic is on: members that nobody waits at leave reads out of a transaction before
    /// they look at its permissions, and come to another result than the one that was asked.
    fn transaction(&mut self, may_nest: bool, kinds: &[Step]) -> Txn {
        let compare = if random::chance(0.3) { vec![exists(self.rights.to_read())] } else { vec![] };
        Txn { compare, success: vec![self.step(may_nest, kinds)], failure: vec![self.step(false, kinds)] }
    }

    fn step(&mut self, may_nest: bool, kinds: &[Step]) -> Request {
        if may_nest && random::chance(0.25) {
            return Request::Txn(self.transaction(false, kinds));
        }
        match random::choice(kinds) {
            Step::Read => Request::Range(Range { serializable: false, ..read(self.rights.to_read()) }),
            Step::Put => self.put(),
            Step::Delete => self.delete(),
        }
    }

    /// What only `root` may.
    fn grant(&self) -> Request {
        let role = random::choice(&self.rights.roles()).clone();
        let keys = self.rights.to_read();
        Request::Auth(AuthRequest::RoleGrantPermission { role, access: any_access(), keys })
    }

    /// Watches on one stream: the answer to the first shows how far the member has come before it is asked for the rest.
    async fn watch(&mut self) -> Result<(), HistoryError> {
        let until = Instant::now() + WATCHED_FOR;
        let worker = &self.paced.worker;
        let client = worker.client(worker.session().any_member());
        let mut stream = worker.open_stream(client, &self.create())?;
        if matches!(stream.next(WATCHED_FOR).await?, Next::Message(_)) {
            for _ in 0..WATCHES {
                stream.send(&self.create())?;
            }
            follow(&mut stream, until).await?;
        }
        stream.close()
    }

    fn create(&self) -> Sent {
        let mut keys = self.rights.to_read();
        if !self.plan.open_watches && is_open(&keys) {
            keys = KeyRange::prefix(PREFIX.into());
        }
        Sent::Create(CreateWatch { keys, prev_kv: random::chance(0.3), ..CreateWatch::default() })
    }
}

async fn follow(stream: &mut Stream, until: Instant) -> Result<(), HistoryError> {
    for _ in 0..MESSAGES_AT_MOST {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || !matches!(stream.next(left).await?, Next::Message(_)) {
            break;
        }
    }
    Ok(())
}

/// A read with any options that show less than pairs.
pub(super) fn read(keys: KeyRange) -> Range {
    Range {
        keys,
        serializable: random::chance(0.3),
        keys_only: random::chance(0.2),
        count_only: random::chance(0.2),
        limit: i64::from(random::chance(0.2)),
        ..Range::default()
    }
}

fn exists(keys: KeyRange) -> Compare {
    Compare { keys, operator: Operator::Greater, target: Target::Version(Version(0)) }
}
