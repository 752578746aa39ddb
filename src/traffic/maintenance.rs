//! The workload of `serial_driver_compact_and_defragment`: an operator who compacts at awkward revisions, defragments
//! members, takes snapshots, hands on the leadership and compares hashes. In come random choices, out goes a summary.
//! What all answers say together is checked from the histories.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    contend::Summary, follow::is_log_kept, known::Known, paced::Paced, requests::Style, session::Session,
};
use crate::{
    capability::{Capability, Lacks},
    history::HistoryError,
    operation::{
        Answer, Compact, DeleteRange, KeyRange, Outcome, Put, Range, Request, Response,
        service::{MaintenanceAnswer, MaintenanceRequest},
    },
    properties, random,
    types::{MemberId, Revision},
};

/// A database is rewritten, or sent, within this time.
const DEADLINE: Duration = Duration::from_secs(3);
const WRITES_AT_MOST: u64 = 20;
/// So often a member is asked for a hash that it can't give yet.
const HASH_TRIES: u64 = 3;

/// What is done in one go.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Compact at the newest revision.
    CompactHead,
    /// Compact a little before it.
    CompactNear,
    /// Compact where a key was deleted.
    CompactDelete,
    /// Compact somewhere between what was compacted and the newest revision, or beyond either.
    CompactAnywhere,
    Defragment,
    Snapshot,
    MoveLeader,
    CompareHashes,
}

impl Step {
    /// What the server must have for it.
    fn needed(self) -> Capability {
        match self {
            Self::CompactHead | Self::CompactNear | Self::CompactDelete | Self::CompactAnywhere => {
                Capability::Compaction
            }
            Self::Defragment => Capability::Defragmentation,
            Self::Snapshot => Capability::Snapshots,
            Self::MoveLeader => Capability::LeaderMoves,
            Self::CompareHashes => Capability::Hashes,
        }
    }
}

const STEPS: [Step; 8] = [
    Step::CompactHead,
    Step::CompactNear,
    Step::CompactDelete,
    Step::CompactAnywhere,
    Step::Defragment,
    Step::Snapshot,
    Step::MoveLeader,
    Step::CompareHashes,
];

/// The swarm choices of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    /// No request begins after this long.
    pub budget: Duration,
    style: Style,
}

impl Plan {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let share = *random::choice(&[0.3, 0.95, 0.95]);
        let mut steps = vec![];
        for step in STEPS.into_iter().filter(|_| random::chance(share)) {
            steps.insert(random::index(steps.len() + 1), step);
        }
        Self { steps, budget: Duration::from_secs(15), style: Style::draw() }
    }

    /// All steps, one after the other.
    pub fn little_of_all() -> Self {
        Self { steps: STEPS.to_vec(), budget: Duration::from_secs(15), style: Style::little_of_all() }
    }

    /// Without the steps that the server has not what is needed for.
    fn within(mut self, lacks: &Lacks) -> Self {
        self.steps.retain(|step| lacks.has(step.needed()));
        if !lacks.has(Capability::KeptValues) {
            self.style.keep = 0.0;
        }
        self
    }

    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

/// Takes all steps of a plan, or as many as the time allows.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let until = Instant::now() + plan.budget;
    let plan = plan.clone().within(session.lacks());
    let paced = Paced::new(session.worker(DEADLINE)?, until, 0.0);
    let mut operator = Operator { paced, known: Known::default(), style: plan.style.clone() };
    for step in &plan.steps {
        if operator.paced.is_over() {
            break;
        }
        operator.write().await?;
        operator.take(*step).await?;
    }
    Ok(Summary { answered: operator.paced.answered, failed: operator.paced.failed })
}

struct Operator {
    paced: Paced,
    known: Known,
    style: Style,
}

impl Operator {
    async fn take(&mut self, step: Step) -> Result<(), HistoryError> {
        match step {
            Step::CompactHead => match self.head().await? {
                Some(head) => self.compact(head).await,
                None => Ok(()),
            },
            Step::CompactNear => match self.head().await? {
                Some(head) => self.compact(Revision(head.0 - random::between(1, 5).cast_signed())).await,
                None => Ok(()),
            },
            Step::CompactDelete => self.compact_delete().await,
            Step::CompactAnywhere => {
                let past = self.known.past();
                let future = self.known.future();
                self.compact(past.filter(|_| random::chance(0.8)).unwrap_or(future)).await
            }
            Step::Defragment => self.defragment().await,
            Step::Snapshot => {
                let member = self.paced.worker.session().any_member();
                self.ask_member(member, MaintenanceRequest::Snapshot {}).await.map(|_| ())
            }
            Step::MoveLeader => self.move_leader().await,
            Step::CompareHashes => self.compare_hashes().await,
        }
    }

    /// Some writes, so that there is something to compact, and a revision known.
    async fn write(&mut self) -> Result<(), HistoryError> {
        for _ in 0..random::between(1, WRITES_AT_MOST) {
            let request = if random::chance(0.2) {
                Request::DeleteRange(self.style.delete())
            } else {
                let value = self.paced.worker.unique_value().into();
                Request::Put(Put { ignore_value: false, value, ..self.style.put("-".into()) })
            };
            self.ask(&request).await?;
        }
        Ok(())
    }

    /// The newest revision.
    async fn head(&mut self) -> Result<Option<Revision>, HistoryError> {
        let keys = KeyRange::single(self.style.part.any());
        let response = self.ask(&Request::Range(Range { keys, ..Range::default() })).await?;
        Ok(response.map(|response| response.header.revision))
    }

    /// Compacts, and reads what is left and what is not; before that, what nobody can read afterwards. If that can't
    /// be read, nothing is compacted.
    async fn compact(&mut self, revision: Revision) -> Result<(), HistoryError> {
        let Some(head) = self.head().await? else { return Ok(()) };
        if !is_log_kept(&self.paced.worker, revision.min(head)).await? {
            return Ok(());
        }
        let request = Request::Compact(Compact { revision, physical: random::chance(0.5) });
        let compacted = self.ask(&request).await?.is_some();
        properties::compacted(compacted);
        for back in [0, 1] {
            let range = Range {
                keys: self.style.keys(),
                revision: Some(Revision((revision.0 - back).max(1))),
                serializable: random::chance(0.3),
                ..Range::default()
            };
            let outcome = self.paced.perform_anywhere(&Request::Range(range)).await?;
            if let Some(Outcome::DidNotHappen(failure)) = outcome {
                properties::compacted_revision_refused(failure.message.contains("compacted"));
            }
        }
        Ok(())
    }

    /// Compacts at the revision of a delete, which is the newest or was until a moment ago.
    async fn compact_delete(&mut self) -> Result<(), HistoryError> {
        let key = self.style.part.any();
        let value = self.paced.worker.unique_value().into();
        self.ask(&Request::Put(Put { key: key.clone(), value, ..Put::default() })).await?;
        let delete = DeleteRange { keys: KeyRange::single(key), prev_kv: false };
        let Some(deleted) = self.ask(&Request::DeleteRange(delete)).await? else { return Ok(()) };
        if random::chance(0.5) {
            self.write().await?;
        }
        self.compact(deleted.header.revision).await
    }

    async fn defragment(&mut self) -> Result<(), HistoryError> {
        let members = self.paced.worker.session().clients().len();
        let all = random::chance(0.5);
        let first = random::index(members);
        for turn in 0..if all { members } else { 1 } {
            let done = self.ask_member((first + turn) % members, MaintenanceRequest::Defragment {}).await?;
            properties::member_defragmented(done.is_some());
        }
        Ok(())
    }

    async fn move_leader(&mut self) -> Result<(), HistoryError> {
        let mut ids = vec![];
        let mut leader = MemberId(0);
        for member in 0..self.paced.worker.session().clients().len() {
            let response = self.ask_member(member, MaintenanceRequest::Status {}).await?;
            if let Some(Response { header, answer: Answer::Maintenance(answer) }) = response
                && let MaintenanceAnswer::Status(status) = answer
            {
                ids.push((member, header.member));
                leader = status.leader;
            }
        }
        let others: Vec<MemberId> = ids.iter().map(|(_, id)| *id).filter(|id| *id != leader).collect();
        let Some((leading, _)) = ids.iter().find(|(_, id)| *id == leader) else { return Ok(()) };
        if others.is_empty() {
            return Ok(());
        }
        let to = *random::choice(&others);
        self.ask_member(*leading, MaintenanceRequest::MoveLeader { to }).await.map(|_| ())
    }

    /// Asks each member for its hash at one revision, and for that of whatever it has.
    async fn compare_hashes(&mut self) -> Result<(), HistoryError> {
        let Some(head) = self.head().await? else { return Ok(()) };
        let past = self.known.past().unwrap_or(head);
        let revision = if random::chance(0.7) { head } else { past };
        for member in 0..self.paced.worker.session().clients().len() {
            self.ask_member(member, MaintenanceRequest::HashKv { revision: Revision(0) }).await?;
            for _ in 0..HASH_TRIES {
                if self.ask_member(member, MaintenanceRequest::HashKv { revision }).await?.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn ask_member(
        &mut self,
        member: usize,
        request: MaintenanceRequest,
    ) -> Result<Option<Response>, HistoryError> {
        let outcome = self.paced.perform(member, &Request::Maintenance(request)).await?;
        Ok(outcome.and_then(|outcome| outcome.response().cloned()))
    }

    async fn ask(&mut self, request: &Request) -> Result<Option<Response>, HistoryError> {
        let Some(request) = &self.paced.worker.session().lacks().fit(request.clone()) else {
            return Ok(None);
        };
        let outcome = self.paced.perform_anywhere(request).await?;
        let response = outcome.and_then(|outcome| outcome.response().cloned());
        if let Some(response) = &response {
            self.known.learn(request, response);
        }
        Ok(response)
    }
}
