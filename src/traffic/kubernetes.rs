//! The workload of `parallel_driver_kubernetes`: what API servers ask of etcd. Objects are created if absent, updated
//! and deleted under the guard of their last revision, listed in pages at one revision and watched from there on, and an
//! elected server compacts. In comes a plan drawn for this run, out goes a summary; what all answers say together is
//! checked from the histories.

mod reflector;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use self::reflector::Reflector;
use super::{
    contend::{Summary, guarded},
    follow::is_log_kept,
    keys::REGISTRY,
    paced::Paced,
    session::Session,
};
use crate::{
    capability::{Capability, Lacks},
    history::HistoryError,
    operation::{
        Answer, Compact, Compare, DeleteRange, KeyRange, KeyValue, Operator, Outcome, Put, Range,
        RangeAnswer, Request, Target, Txn,
    },
    properties, random,
    types::{Blob, Revision, Version},
};

const KINDS: [&str; 3] = ["pods", "leases", "events"];
const NAMESPACES: [&str; 2] = ["default", "kube-system"];
/// The key by which servers agree on who compacts.
const COMPACTION_KEY: &str = "registry/compact_rev_key";
/// So often an update is tried again when it lost against another one.
const UPDATE_TRIES: u64 = 5;
/// So many revisions at least are kept by a compaction.
const KEPT_AT_MOST: u64 = 200;

/// What a server does in one go.
#[derive(Clone, Copy, Debug)]
enum Action {
    Create,
    Get,
    Update,
    Delete,
    List,
    Compact,
}

/// The swarm choices of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Actions of all servers together.
    pub actions: u64,
    /// No request begins after this long.
    pub budget: Duration,
    /// Servers at once.
    pub servers: u64,
    /// Caches at once that follow the servers' writes.
    pub reflectors: u64,
    /// Probability that a cache's watch is left for another member after a message.
    pub leave: f64,
    /// Deadline of each request.
    pub deadline: Duration,
    /// Objects of each kind and namespace.
    pub names: u64,
    /// Probability that a server believes its cache, which may be old, and does not read before it writes.
    pub cached: f64,
    mix: Vec<(u64, Action)>,
}

impl Plan {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let often = || *random::choice(&[1, 4]);
        let rarely = || *random::choice(&[0, 1]);
        Self {
            actions: random::between(1, *random::choice(&[100, 500, 2_000])),
            budget: Duration::from_secs(*random::choice(&[2, 5, 10])),
            servers: random::between(1, 4),
            reflectors: random::between(1, 3),
            leave: *random::choice(&[0.0, 0.02, 0.1]),
            deadline: Duration::from_millis(*random::choice(&[500, 3_000])),
            names: *random::choice(&[2, 8, 30]),
            cached: *random::choice(&[0.0, 0.3, 0.95]),
            mix: vec![
                (often() * 10, Action::Create),
                (rarely() * 10, Action::Get),
                (often() * 10, Action::Update),
                (often() * 5, Action::Delete),
                (often() * 2, Action::List),
                (rarely(), Action::Compact),
            ],
        }
    }

    /// All actions on few objects, in a short run.
    pub fn little_of_all() -> Self {
        Self {
            actions: 240,
            budget: Duration::from_secs(20),
            servers: 4,
            reflectors: 3,
            leave: 0.05,
            deadline: Duration::from_secs(3),
            names: 4,
            cached: 0.8,
            mix: vec![
                (20, Action::Create),
                (10, Action::Get),
                (20, Action::Update),
                (10, Action::Delete),
                (20, Action::List),
                (2, Action::Compact),
            ],
        }
    }

    /// Without what the server has not what is needed for: a cache needs a list at a revision and a watch from there on.
    fn within(mut self, lacks: &Lacks) -> Self {
        let needed = [Capability::PastReads, Capability::Watches, Capability::WatchStarts];
        if lacks.first_of(&needed).is_some() {
            self.reflectors = 0;
        }
        self.mix.retain(|(_, action)| match action {
            Action::Delete => lacks.has(Capability::Deletes),
            Action::List => lacks.has(Capability::PastReads) || !lacks.has(Capability::Limits),
            Action::Compact => lacks.has(Capability::Compaction),
            Action::Create | Action::Get | Action::Update => true,
        });
        self
    }
}

/// Runs the plan to its end, or to the end of the time allowed.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let until = Instant::now() + plan.budget;
    let plan = Arc::new(plan.clone().within(session.lacks()));
    let (mut servers, mut reflectors) = (JoinSet::new(), JoinSet::new());
    let done = Arc::new(AtomicBool::new(false));
    for _ in 0..plan.reflectors {
        let paced = Paced::new(session.worker(plan.deadline)?, until, 0.0);
        reflectors.spawn(Reflector::new(paced, plan.leave, &done).run());
    }
    for number in 0..plan.servers {
        let share = plan.actions / plan.servers + u64::from(number < plan.actions % plan.servers);
        let server = Server {
            paced: Paced::new(session.worker(plan.deadline)?, until, 0.0),
            plan: Arc::clone(&plan),
            cache: BTreeMap::new(),
            compaction: Compaction::default(),
        };
        servers.spawn(server.run(share));
    }
    let mut ended = servers.join_all().await;
    done.store(true, Ordering::Relaxed);
    ended.extend(reflectors.join_all().await);
    let mut sum = Summary::default();
    for paced in ended {
        let paced = paced?;
        sum.answered += paced.answered;
        sum.failed += paced.failed;
    }
    Ok(sum)
}

struct Server {
    paced: Paced,
    plan: Arc<Plan>,
    /// Objects as this server saw them last.
    cache: BTreeMap<Blob, KeyValue>,
    compaction: Compaction,
}

/// What a server knows about the agreement on compactions.
#[derive(Default)]
struct Compaction {
    /// How often anybody has compacted.
    time: Version,
    /// The revision that was the newest back then.
    revision: Option<Revision>,
}

impl Server {
    async fn run(mut self, actions: u64) -> Result<Paced, HistoryError> {
        for _ in 0..actions {
            if self.paced.is_over() {
                break;
            }
            match random::weighted(&self.plan.mix) {
                Action::Create => self.create().await?,
                Action::Get => {
                    let name = self.name();
                    self.get(&name).await?;
                }
                Action::Update => self.update().await?,
                Action::Delete => self.delete().await?,
                Action::List => self.list().await?,
                Action::Compact => self.compact().await?,
            }
        }
        Ok(self.paced)
    }

    fn name(&self) -> Blob {
        let number = random::between(1, self.plan.names);
        format!("{REGISTRY}{}/{}/{number}", random::choice(&KINDS), random::choice(&NAMESPACES)).into()
    }

    async fn create(&mut self) -> Result<(), HistoryError> {
        let name = self.name();
        let put = self.put(&name);
        let absent = Compare {
            keys: KeyRange::single(name.clone()),
            operator: Operator::Equal,
            target: Target::ModRevision(Revision(0)),
        };
        let create = Txn { compare: vec![absent], success: vec![put], failure: vec![] };
        let outcome = self.paced.perform_anywhere(&Request::Txn(create)).await?;
        if let Some(Answer::Txn { succeeded, .. }) = answer(outcome.as_ref()) {
            properties::object_created(*succeeded);
        }
        Ok(())
    }

    /// The object as it is now, which is remembered.
    async fn get(&mut self, name: &Blob) -> Result<Option<KeyValue>, HistoryError> {
        let outcome = self.paced.perform_anywhere(&get(name)).await?;
        Ok(match answer(outcome.as_ref()) {
            Some(Answer::Range(answer)) => self.remember(name, answer),
            _ => None,
        })
    }

    fn remember(&mut self, name: &Blob, answer: &RangeAnswer) -> Option<KeyValue> {
        match answer.kvs.first() {
            Some(kv) => self.cache.insert(name.clone(), kv.clone()),
            None => self.cache.remove(name),
        };
        answer.kvs.first().cloned()
    }

    async fn update(&mut self) -> Result<(), HistoryError> {
        let name = self.name();
        let put = self.put(&name);
        self.guarded(&name, put).await
    }

    async fn delete(&mut self) -> Result<(), HistoryError> {
        let name = self.name();
        let delete = DeleteRange { keys: KeyRange::single(name.clone()), prev_kv: false };
        self.guarded(&name, Request::DeleteRange(delete)).await
    }

    /// Changes an object if nobody else has meanwhile, else looks what it is now and tries again.
    async fn guarded(&mut self, name: &Blob, change: Request) -> Result<(), HistoryError> {
        let cached = self.cache.get(name).filter(|_| random::chance(self.plan.cached)).cloned();
        let mut seen = if cached.is_some() { cached } else { self.get(name).await? };
        for _ in 0..UPDATE_TRIES {
            let Some(kv) = seen else { return Ok(()) };
            let request = guarded(name, kv.mod_revision, change.clone(), get(name));
            let outcome = self.paced.perform_anywhere(&request).await?;
            let Some(Answer::Txn { succeeded, answers }) = answer(outcome.as_ref()) else { return Ok(()) };
            properties::guarded_change_succeeded(*succeeded);
            properties::guarded_change_lost(!succeeded);
            if *succeeded {
                return Ok(());
            }
            seen = match answers.as_slice() {
                [Answer::Range(answer)] => self.remember(name, answer),
                _ => None,
            };
        }
        Ok(())
    }

    /// All objects of a kind, or of a namespace of it.
    async fn list(&mut self) -> Result<(), HistoryError> {
        if let Some(listed) = list(&mut self.paced, any_objects(), None).await? {
            properties::listed_in_pages(listed.pages > 1);
            self.cache.extend(listed.objects.into_iter().map(|kv| (kv.key.clone(), kv)));
        }
        Ok(())
    }

    /// Compacts what was the newest revision the last time, if no other server was faster.
    async fn compact(&mut self) -> Result<(), HistoryError> {
        let key = Blob::from(COMPACTION_KEY);
        let told = self.compaction.revision.map_or("0".to_owned(), |revision| revision.to_string());
        let compare = Compare {
            keys: KeyRange::single(key.clone()),
            operator: Operator::Equal,
            target: Target::Version(self.compaction.time),
        };
        let put = Put { key: key.clone(), value: told.into(), ..Put::default() };
        let claim =
            Txn { compare: vec![compare], success: vec![Request::Put(put)], failure: vec![get(&key)] };
        let outcome = self.paced.perform_anywhere(&Request::Txn(claim)).await?;
        let Some(Outcome::Ok(response)) = &outcome else { return Ok(()) };
        let Answer::Txn { succeeded, answers } = &response.answer else { return Ok(()) };
        let now = response.header.revision;
        let kept = random::between(0, KEPT_AT_MOST).cast_signed();
        let before = self.compaction.revision.replace(Revision((now.0 - kept).max(1)));
        if !succeeded {
            if let [Answer::Range(answer)] = answers.as_slice() {
                self.compaction.time = answer.kvs.first().map_or(Version(0), |kv| kv.version);
            }
            return Ok(());
        }
        self.compaction.time.0 += 1;
        let Some(revision) = before else { return Ok(()) };
        if !is_log_kept(&self.paced.worker, revision).await? {
            return Ok(());
        }
        let compact = Request::Compact(Compact { revision, physical: false });
        self.paced.perform_anywhere(&compact).await.map(|_| ())
    }

    fn put(&mut self, name: &Blob) -> Request {
        let value = self.paced.worker.unique_value().into();
        Request::Put(Put { key: name.clone(), value, ..Put::default() })
    }
}

/// All objects of a kind, or of a namespace of it.
fn any_objects() -> KeyRange {
    let kind = random::choice(&KINDS);
    let prefix = if random::chance(0.5) {
        format!("{REGISTRY}{kind}/")
    } else {
        format!("{REGISTRY}{kind}/{}/", random::choice(&NAMESPACES))
    };
    KeyRange::prefix(prefix.into())
}

/// What a list found.
struct Listed {
    objects: Vec<KeyValue>,
    /// The revision that they are of.
    revision: Revision,
    pages: u64,
}

/// All these objects in pages, at this revision or that of the first page. One that is cut off by a compaction ends
/// without objects, as for a client whose continue token has expired.
async fn list(
    paced: &mut Paced,
    mut keys: KeyRange,
    mut revision: Option<Revision>,
) -> Result<Option<Listed>, HistoryError> {
    let limit = *random::choice(&[0, 1, 5, 20]);
    let (mut objects, mut pages) = (vec![], 0);
    loop {
        let range = Range { keys: keys.clone(), limit, revision, ..Range::default() };
        let outcome = paced.perform_anywhere(&Request::Range(range)).await?;
        let Some(Outcome::Ok(response)) = outcome else { return Ok(None) };
        let Answer::Range(answer) = response.answer else { return Ok(None) };
        let at = *revision.get_or_insert(response.header.revision);
        pages += 1;
        let last = answer.kvs.last().map(|kv| kv.key.clone());
        objects.extend(answer.kvs);
        match last {
            Some(last) if answer.more => keys.key = last.successor(),
            _ => return Ok(Some(Listed { objects, revision: at, pages })),
        }
    }
}

fn get(name: &Blob) -> Request {
    Request::Range(Range { keys: KeyRange::single(name.clone()), ..Range::default() })
}

fn answer(outcome: Option<&Outcome>) -> Option<&Answer> {
    outcome?.response().map(|response| &response.answer)
}
