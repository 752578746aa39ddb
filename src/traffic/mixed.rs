//! The workload of `singleton_driver_mixed_traffic`: all other workloads at once, for long, in one process. Some lanes
//! run one workload after the other, each with choices of its own, so that the mix keeps changing. In comes a mix
//! drawn for this run, out goes a summary; what is asserted, the workloads assert.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    contend, deletes, generate, kubernetes, leases, locks, maintenance, permissions, session::Session,
    watches,
};
use crate::{
    history::HistoryError,
    random,
    settings::mix::{Mix, Sort},
};

/// With less time left than this, nothing new is begun.
const WORTHWHILE: Duration = Duration::from_millis(200);

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

/// Draws the choices of a run: most sorts of traffic are in it, some of them much more than others. Users with narrow
/// permissions are only where authentication is on.
pub fn draw(with_auth: bool) -> Mix {
    let weight = |sort: Sort| match sort {
        Sort::Transactions => *random::choice(&[1, 1, 4]),
        Sort::Maintenance => *random::choice(&[0, 0, 1]),
        Sort::Permissions if !with_auth => 0,
        _ => *random::choice(&[0, 1, 1, 4]),
    };
    Mix {
        budget: Duration::from_secs(*random::choice(&[10, 30, 60])),
        lanes: *random::choice(&[2, 4, 6]),
        weights: Sort::ALL.into_iter().map(|sort| (sort, weight(sort))).collect(),
    }
}

/// Runs the mix to the end of the time allowed, as far as the server has what it needs.
pub async fn run(session: &Arc<Session>, mix: &Mix) -> Result<Summary, HistoryError> {
    let until = Instant::now() + mix.budget;
    let is_possible = |sort: &Sort| sort.lacking(session.lacks()).is_none();
    let possible = mix.weights.iter().filter(|(sort, _)| is_possible(sort));
    let mut weights: Vec<(u64, Sort)> = possible.map(|(sort, weight)| (*weight, *sort)).collect();
    if weights.iter().all(|(weight, _)| *weight == 0) {
        weights = vec![(1, Sort::OwnKeys)];
    }
    let mut lanes = JoinSet::new();
    for _ in 0..mix.lanes {
        lanes.spawn(lane(Arc::clone(session), weights.clone(), until));
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
        Sort::OwnKeys => {
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
        Sort::Permissions => {
            let mut plan = permissions::Plan::draw();
            plan.budget = plan.budget.min(left);
            (permissions::run(session, &plan).await?.failed, 0)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sort comes up, and none is in all runs but transactions.
    #[test]
    fn mixes_differ() {
        let mixes: Vec<Mix> = (0..200).map(|_| draw(true)).collect();
        for sort in Sort::ALL {
            let present = mixes.iter().filter(|mix| mix.weights[&sort] > 0).count();
            let always = sort == Sort::Transactions;
            assert!(present > 20 && (present == mixes.len()) == always, "{}", sort.name());
        }
        assert!((0..20).all(|_| draw(false).weights[&Sort::Permissions] == 0));
    }
}
