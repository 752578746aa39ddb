//! Deletes parts of a tree of keys of its own while faults are on, and compares.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        deletes,
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let (runs, mut broken) = (session.plan(|| 4, || 1), 0);
    for _ in 0..runs {
        let summary = deletes::run(&session, deletes::BUDGET / runs).await?;
        println!(
            "{} deletes removed {} keys; {} requests without an answer, {} findings",
            summary.deletes, summary.removed, summary.failed, summary.broken
        );
        broken += summary.broken;
    }
    Ok(if broken > 0 { ExitStatus::Broken } else { ExitStatus::Holds })
}
