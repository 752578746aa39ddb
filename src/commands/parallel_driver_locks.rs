//! Takes locks and leads elections in competition, works under their protection, and lets some of them go with their
//! leases, while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        locks::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = session.plan(Plan::little_of_all, Plan::draw);
    let summary = locks::run(&session, &plan).await?;
    println!(
        "{} locks taken by {} workers, with {} fenced writes; {} campaigns won by {}, {} leaders told to {} observers; \
         {} requests answered, {} without an answer",
        summary.locked,
        plan.lockers,
        summary.fenced,
        summary.elected,
        plan.candidates,
        summary.observed,
        plan.observers,
        summary.answered,
        summary.failed
    );
    Ok(ExitStatus::Holds)
}
