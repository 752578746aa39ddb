//! Puts, reads, deletes and transactions on keys that all drivers share, while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    settings::Class,
    traffic::{
        contend::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = if session.has(Class::LittleOfAll) { Plan::little_of_all() } else { Plan::draw() };
    let summary = contend::run(&session, &plan).await?;
    println!("{summary} by {} workers", plan.workers);
    Ok(ExitStatus::Holds)
}
