//! The workload of `parallel_driver_permissions`: users with roles of narrow permissions, which `root` grants and
//! takes back, and who ask all members for what they may and for what they may not: keys, ranges, prefixes, what lies
//! from a key on, by reads, writes, transactions, watches and leases. In comes a plan drawn for this run, out goes a
//! summary. Nothing is judged here but by the tracker: histories are judged later.
//!
//! The keys are shared by all runs, and all that is written or deleted here lies below `PREFIX`. Users and roles are
//! a run's own, and one whose change has an unknown outcome is left for a fresh one: what it may, nobody could tell.

mod asking;
mod right;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use self::{
    asking::{Action, Asking},
    right::Rights,
};
use super::{paced::Paced, session::Session};
use crate::{
    history::HistoryError,
    operation::{
        Answer, KeyRange, Outcome, Put, Request,
        auth::{Access, AuthRequest},
        service::{LeaseAnswer, LeaseRequest},
    },
    random,
    settings::User,
    types::{Blob, LeaseId},
};

/// All keys begin so.
const PREFIX: &str = "guarded/";
const KEYS: u64 = 8;
/// More are not needed, and none is ever missed.
const LEASES_AT_MOST: usize = 3;
const LEASE_TTL_S: i64 = 60;
/// The longest pause between two things that `root` does.
const BETWEEN_CHANGES_AT_MOST_MS: u64 = 40;

/// The swarm choices of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Users at once.
    pub users: u64,
    /// No request begins after this long.
    pub budget: Duration,
    /// Deadline of each request.
    pub deadline: Duration,
    /// Probability that `root` changes what a user may, and does not write.
    change: f64,
    /// Probability of a pause before a user's request.
    pause: f64,
    /// Whether watches have no end now and then, which many versions take for watches of their first key.
    open_watches: bool,
    /// Whether members are asked for keys of leases that they may not know of yet, by which all versions are misled.
    leases_elsewhere: bool,
    actions: Vec<(u64, Action)>,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Changes of users and roles.
    pub changes: u64,
    /// Requests of users that were answered.
    pub answered: u64,
    /// Requests of users that were refused for want of a permission.
    pub forbidden: u64,
    /// Requests without an answer, of users and of `root`.
    pub failed: u64,
}

impl Plan {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let often = || *random::choice(&[1, 2, 6]);
        Self {
            users: random::between(1, 3),
            budget: Duration::from_secs(*random::choice(&[3, 6, 10])),
            deadline: Duration::from_millis(*random::choice(&[300, 1_000, 3_000])),
            change: *random::choice(&[0.1, 0.3, 0.6]),
            pause: *random::choice(&[0.0, 0.1, 0.5]),
            open_watches: random::chance(0.5),
            leases_elsewhere: random::chance(0.5),
            actions: Action::ALL.into_iter().map(|action| (often(), action)).collect(),
        }
    }

    /// Everything that all versions do right, in a short run.
    pub fn little_of_all() -> Self {
        Self {
            users: 3,
            budget: Duration::from_secs(8),
            deadline: Duration::from_secs(3),
            change: 0.3,
            pause: 0.0,
            open_watches: false,
            leases_elsewhere: false,
            actions: Action::ALL.into_iter().map(|action| (1, action)).collect(),
        }
    }
}

/// Switches authentication on for the whole cluster, with `root` as the one who may do everything; again does no harm.
/// The last failure comes out if that is not done in time.
pub async fn enable(session: &Arc<Session>, within: Duration) -> Result<Result<(), String>, HistoryError> {
    let until = Instant::now() + within;
    let mut paced = Paced::new(session.worker(Duration::from_secs(5))?, until, 0.0);
    let root = || User::root().name;
    let steps = [
        AuthRequest::UserAdd { user: root() },
        AuthRequest::UserGrantRole { user: root(), role: root() },
        AuthRequest::Enable {},
    ];
    let mut said = format!("nothing was answered within {within:?}");
    loop {
        for step in &steps {
            match paced.perform_anywhere(&Request::Auth(step.clone())).await? {
                Some(Outcome::Ok(_)) if *step == AuthRequest::Enable {} => return Ok(Ok(())),
                Some(Outcome::DidNotHappen(failure) | Outcome::Unknown(failure)) => said = failure.message,
                Some(Outcome::Ok(_)) => {}
                None => return Ok(Err(said)),
            }
        }
    }
}

/// Runs the plan to its end.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let until = Instant::now() + plan.budget;
    let mut users = JoinSet::new();
    for _ in 0..plan.users {
        users.spawn(guard(Arc::clone(session), plan.clone(), until));
    }
    let mut sum = Summary::default();
    for summary in users.join_all().await {
        sum.add(summary?);
    }
    Ok(sum)
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.answered += other.answered;
        self.forbidden += other.forbidden;
        self.failed += other.failed;
    }
}

/// One user after the other, each until a change of it has an unknown outcome.
async fn guard(session: Arc<Session>, plan: Plan, until: Instant) -> Result<Summary, HistoryError> {
    let mut sum = Summary::default();
    while Instant::now() < until {
        let mut root = Root::new(&session, &plan, until)?;
        if root.begin().await? {
            let mut asking = JoinSet::new();
            asking.spawn(Asking::new(&session, &root.rights, &plan, until)?.run());
            root.go_on(&plan).await?;
            root.rights.end();
            for summary in asking.join_all().await {
                sum.add(summary?);
            }
        }
        sum.changes += root.changes;
        sum.failed += root.paced.failed;
    }
    Ok(sum)
}

/// What became of a change.
enum Changed {
    /// It is done, through this member.
    Through(usize),
    /// It is not.
    Not,
    /// Nobody knows, or there is no time left for it.
    Unknown,
}

/// `root`, who looks after one user.
struct Root {
    paced: Paced,
    /// The user as which is asked at once for what has just been changed.
    user: Paced,
    rights: Arc<Rights>,
    changes: u64,
}

impl Root {
    fn new(session: &Arc<Session>, plan: &Plan, until: Instant) -> Result<Self, HistoryError> {
        let mut worker = session.worker(plan.deadline)?;
        let name = worker.unique_value().trim_end_matches('/').replace('/', "-");
        let user = User::of_test(&name);
        Ok(Self {
            paced: Paced::new(worker, until, 0.0),
            user: Paced::new(session.worker_as(&user, plan.deadline)?, until, 0.0),
            rights: Arc::new(Rights::new(user)),
            changes: 0,
        })
    }

    /// Makes the user and its roles; whether all of it was done.
    async fn begin(&mut self) -> Result<bool, HistoryError> {
        let user = self.rights.user.name.clone();
        let mut steps = vec![AuthRequest::UserAdd { user: user.clone() }];
        for role in self.rights.roles() {
            steps.push(AuthRequest::RoleAdd { role: role.clone() });
            steps.push(AuthRequest::UserGrantRole { user: user.clone(), role });
        }
        for step in steps {
            if !matches!(self.change(step).await?, Changed::Through(_)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Until the time is over or it is not known any more what the user may.
    async fn go_on(&mut self, plan: &Plan) -> Result<(), HistoryError> {
        while !self.paced.is_over() {
            let pause = Duration::from_millis(random::between(0, BETWEEN_CHANGES_AT_MOST_MS));
            tokio::time::sleep(pause).await;
            if random::chance(plan.change) {
                let change = self.rights.draw_change();
                match self.change(change.clone()).await? {
                    Changed::Through(member) => self.ask_for(&change, member).await?,
                    Changed::Not => {}
                    Changed::Unknown => return Ok(()),
                }
            } else {
                self.write(plan.leases_elsewhere).await?;
            }
        }
        Ok(())
    }

    async fn change(&mut self, change: AuthRequest) -> Result<Changed, HistoryError> {
        let through = self.paced.worker.session().any_member();
        let request = Request::Auth(change.clone());
        Ok(match self.paced.perform(through, &request).await? {
            Some(Outcome::Ok(_)) => {
                self.changes += 1;
                self.rights.learn(&change);
                Changed::Through(through)
            }
            Some(Outcome::DidNotHappen(_)) => Changed::Not,
            Some(Outcome::Unknown(_)) | None => Changed::Unknown,
        })
    }

    /// What was just granted or taken back is asked for through another member, which may not know of it.
    async fn ask_for(&mut self, change: &AuthRequest, through: usize) -> Result<(), HistoryError> {
        let (AuthRequest::RoleGrantPermission { keys, .. } | AuthRequest::RoleRevokePermission { keys, .. }) =
            change
        else {
            return Ok(());
        };
        let member = self.paced.worker.session().another_member(through);
        let range = asking::read(keys.clone());
        self.user.perform(member, &Request::Range(range)).await.map(|_| ())
    }

    /// Puts a key, mostly with a lease, for whose keys the user then asks, mostly another member.
    async fn write(&mut self, elsewhere: bool) -> Result<(), HistoryError> {
        let lease = if random::chance(0.6) { self.lease().await? } else { None };
        let value = self.paced.worker.unique_value().into();
        let put = Put { key: any_key(), value, lease: lease.unwrap_or_default(), ..Put::default() };
        let through = self.paced.worker.session().any_member();
        let outcome = self.paced.perform(through, &Request::Put(put)).await?;
        let Some((lease, Outcome::Ok(_))) = lease.zip(outcome) else { return Ok(()) };
        let asked = Request::Lease(LeaseRequest::TimeToLive { lease, keys: true });
        let member = if elsewhere { self.paced.worker.session().another_member(through) } else { through };
        self.user.perform(member, &asked).await.map(|_| ())
    }

    /// One of a few leases.
    async fn lease(&mut self) -> Result<Option<LeaseId>, HistoryError> {
        let known = self.rights.any_lease();
        if known.is_some() && (self.rights.leases() >= LEASES_AT_MOST || random::chance(0.8)) {
            return Ok(known);
        }
        let grant = Request::Lease(LeaseRequest::Grant { lease: LeaseId(0), ttl: LEASE_TTL_S });
        let outcome = self.paced.perform_anywhere(&grant).await?;
        let answer = outcome.as_ref().and_then(Outcome::response).map(|response| &response.answer);
        Ok(match answer {
            Some(Answer::Lease(LeaseAnswer::Grant { lease, .. })) => {
                self.rights.add_lease(*lease);
                Some(*lease)
            }
            _ => None,
        })
    }
}

/// One of the keys.
fn any_key() -> Blob {
    format!("{PREFIX}{}", random::between(0, KEYS - 1)).into()
}

/// A key, or those between two keys, or all.
fn any_keys() -> KeyRange {
    match random::between(0, 7) {
        0..=3 => KeyRange::single(any_key()),
        4..=6 => {
            let (one, other) = (any_key(), any_key());
            let (first, last) = if one <= other { (one, other) } else { (other, one) };
            KeyRange { key: first, range_end: Some(last.successor()) }
        }
        _ => KeyRange::prefix(PREFIX.into()),
    }
}

/// All keys from one on, whoever writes them.
fn from(key: Blob) -> KeyRange {
    KeyRange { key, range_end: Some(Blob::from("\0")) }
}

/// Whether a range has no end.
fn is_open(keys: &KeyRange) -> bool {
    keys.range_end.as_ref().is_some_and(|end| end.as_slice() == [0])
}

/// Any of what there is to grant.
fn any_access() -> Access {
    *random::choice(&[Access::Read, Access::Read, Access::Write, Access::ReadWrite])
}
