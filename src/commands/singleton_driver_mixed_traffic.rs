//! All sorts of traffic at once, for long, in one process: the only driver of its timeline, while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        mixed::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = Plan::draw();
    let summary = mixed::run(&session, &plan).await?;
    println!("{summary}, by {} lanes in {:?}", plan.lanes, plan.budget);
    Ok(if summary.mismatches > 0 { ExitStatus::Broken } else { ExitStatus::Holds })
}
