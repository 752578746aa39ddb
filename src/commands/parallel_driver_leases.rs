//! Grants leases, attaches shared keys to them, keeps them alive, revokes them and lets them expire, while faults are
//! on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        leases::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = session.plan(Plan::little_of_all, Plan::draw);
    let summary = leases::run(&session, &plan).await?;
    println!(
        "{} leases granted, {} revoked, {} expired, by {} workers; {} requests answered, {} without an answer",
        summary.granted, summary.revoked, summary.expired, plan.workers, summary.answered, summary.failed
    );
    Ok(ExitStatus::Holds)
}
