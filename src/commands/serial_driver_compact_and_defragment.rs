//! Compacts, defragments, takes snapshots, hands on the leadership and compares hashes while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    settings::Class,
    traffic::{
        maintenance::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = if session.has(Class::LittleOfAll) { Plan::little_of_all() } else { Plan::draw() };
    let summary = maintenance::run(&session, &plan).await?;
    println!("{summary} in {} steps", plan.steps());
    Ok(ExitStatus::Holds)
}
