//! Puts, reads, deletes and transactions on keys that all drivers share, while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        contend::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = session.plan(Plan::little_of_all, Plan::draw);
    let summary = contend::run(&session, &plan).await?;
    println!("{summary} by {} workers", plan.workers);
    Ok(ExitStatus::Holds)
}
