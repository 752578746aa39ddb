//! Compacts, defragments, takes snapshots, hands on the leadership and compares hashes while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        maintenance::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = session.plan(Plan::little_of_all, Plan::draw);
    let summary = maintenance::run(&session, &plan).await?;
    println!("{summary} in {} steps", plan.steps());
    Ok(ExitStatus::Holds)
}
