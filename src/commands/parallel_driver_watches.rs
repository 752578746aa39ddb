//! Watches shared keys, from here and there, while it and others write to them.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    traffic::{
        session::{Session, SessionError},
        watches::{self, Plan},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let plans = session.plan(|| Plan::little_of_all().to_vec(), || vec![Plan::draw()]);
    for plan in plans {
        let on = format!("streams of {:?} watches", plan.streams);
        let summary = watches::run(&session, plan).await?;
        println!(
            "{on}: {} watches in all, {} events and {} progress notifications, {} cancelled by compactions, \
             {} streams broken off; {} writes",
            summary.watches,
            summary.events,
            summary.progress,
            summary.compacted,
            summary.broken_off,
            summary.written
        );
    }
    Ok(ExitStatus::Holds)
}
