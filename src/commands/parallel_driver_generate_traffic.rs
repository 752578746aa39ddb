//! Writes and reads keys of its own through random members while faults are on, and compares.

use std::{env, sync::Arc};

use crate::{
    exit::ExitStatus,
    traffic::{
        generate::{self, Plan},
        session::{Session, SessionError},
    },
};

/// If set to a number, so many puts and then as many gets by one worker instead of a drawn plan: for measuring.
const IN_SEQUENCE_VARIABLE: &str = "ETCD_ANTITHESIS_IN_SEQUENCE";

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let pinned = env::var(IN_SEQUENCE_VARIABLE).ok().and_then(|number| number.parse().ok());
    let plan = match pinned {
        Some(writes) => Plan::in_sequence(writes),
        None => session.plan(Plan::little_of_all, Plan::draw),
    };
    let summary = generate::run(&session, &plan).await?;
    println!(
        "{} writes and {} compared reads by {} workers; {} requests without an answer, {} mismatches",
        summary.written, summary.compared, plan.workers, summary.failed, summary.mismatches
    );
    Ok(if summary.mismatches > 0 { ExitStatus::Broken } else { ExitStatus::Holds })
}
