//! Asks what the API servers of Kubernetes ask, on objects that all runs share, while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        kubernetes::{self, Plan},
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plan = session.plan(Plan::little_of_all, Plan::draw);
    let summary = kubernetes::run(&session, &plan).await?;
    println!("{summary} by {} servers", plan.servers);
    Ok(ExitStatus::Holds)
}
