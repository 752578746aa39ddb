//! The workload of `singleton_driver_mixed_traffic`: all other workloads at once, for long, in one process. Some lanes
//! run one workload after the other, each with choices of its own, so that the mix keeps changing. In comes a plan
//! drawn for this run, out goes a summary; what is asserted, the workloads assert.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{contend, deletes, generate, kubernetes, leases, locks, maintenance, session::Session, watches};
use crate::{history::HistoryError, random};

/// With less time left than this, nothing new is begun.
const WORTHWHILE: Duration = Duration::from_millis(200);

/// A sort of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Own,
    Deletes,
    Transactions,
    Kubernetes,
    Leases,
    Locks,
    Watches,
    Maintenance,
}

/// The swarm choices of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// No request begins after this long.
    pub budget: Duration,
    /// Workloads at once, each with workers of its own.
    pub lanes: u64,
    mix: Vec<(u64, Sort)>,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Workloads run.
    pub runs: u64,
    /// Requests without an answer, where they are counted.
    pub failed: u64,
    /// Reads and deletes of keys of its own that no order of the writes explains.
    pub mismatches: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, failed, mismatches } = self;
        write!(f, "{runs} workloads, {failed} requests without an answer, {mismatches} mismatches")
    }
}

impl Plan {
    /// Draws the choices of a run: most sorts of traffic are in it, some of them much more than others.
    pub fn draw() -> Self {
        let weight = || *random::choice(&[0, 1, 1, 4]);
        Self {
            budget: Duration::from_secs(*random::choice(&[10, 30, 60])),
            lanes: *random::choice(&[2, 4, 6]),
            mix: vec![
                (weight(), Sort::Own),
                (weight(), Sort::Deletes),
                (weight().max(1), Sort::Transactions),
                (weight(), Sort::Kubernetes),
                (weight(), Sort::Leases),
                (weight(), Sort::Locks),
                (weight(), Sort::Watches),
                (*random::choice(&[0, 0, 1]), Sort::Maintenance),
            ],
        }
    }
}

/// Runs the plan to the end of the time allowed.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let until = Instant::now() + plan.budget;
    let mut lanes = JoinSet::new();
    for _ in 0..plan.lanes {
        lanes.spawn(lane(Arc::clone(session), plan.mix.clone(), until));
    }
    let mut sum = Summary::default();
    for summary in lanes.join_all().await {
        let summary = summary?;
        sum.runs += summary.runs;
        sum.failed += summary.failed;
        sum.mismatches += summary.mismatches;
    }
    Ok(sum)
}

async fn lane(session: Arc<Session>, mix: Vec<(u64, Sort)>, until: Instant) -> Result<Summary, HistoryError> {
    let mut sum = Summary::default();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left < WORTHWHILE {
            return Ok(sum);
        }
        let (failed, mismatches) = one(&session, *random::weighted(&mix), left).await?;
        sum.runs += 1;
        sum.failed += failed;
        sum.mismatches += mismatches;
    }
}

/// Runs a workload for no longer than that; its failed requests and its mismatches.
async fn one(session: &Arc<Session>, sort: Sort, left: Duration) -> Result<(u64, u64), HistoryError> {
    Ok(match sort {
        Sort::Own => {
            let mut plan = generate::Plan::draw();
            plan.budget = plan.budget.min(left);
            let summary = generate::run(session, &plan).await?;
            (summary.failed, summary.mismatches)
        }
        Sort::Deletes => {
            let summary = deletes::run(session, left).await?;
            (summary.failed, summary.broken as u64)
        }
        Sort::Transactions => {
            let mut plan = contend::Plan::draw();
            plan.budget = plan.budget.min(left);
            (contend::run(session, &plan).await?.failed, 0)
        }
        Sort::Kubernetes => {
            let mut plan = kubernetes::Plan::draw();
            plan.budget = plan.budget.min(left);
            (kubernetes::run(session, &plan).await?.failed, 0)
        }
        Sort::Leases => {
            let mut plan = leases::Plan::draw();
            plan.budget = plan.budget.min(left);
            (leases::run(session, &plan).await?.failed, 0)
        }
        Sort::Locks => {
            let mut plan = locks::Plan::draw();
            plan.budget = plan.budget.min(left);
            (locks::run(session, &plan).await?.failed, 0)
        }
        Sort::Watches => {
            let mut plan = watches::Plan::draw();
            plan.budget = plan.budget.min(left);
            watches::run(session, plan).await?;
            (0, 0)
        }
        Sort::Maintenance => {
            let mut plan = maintenance::Plan::draw();
            plan.budget = plan.budget.min(left);
            (maintenance::run(session, &plan).await?.failed, 0)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sort comes up, and none is in all runs but transactions.
    #[test]
    fn mixes_differ() {
        let plans: Vec<Plan> = (0..200).map(|_| Plan::draw()).collect();
        for position in 0..plans[0].mix.len() {
            let weights = plans.iter().map(|plan| plan.mix[position]);
            let present = weights.filter(|(weight, _)| *weight > 0).count();
            let always = plans[0].mix[position].1 == Sort::Transactions;
            assert!(present > 20 && (present == plans.len()) == always, "{:?}", plans[0].mix[position].1);
        }
    }
}
