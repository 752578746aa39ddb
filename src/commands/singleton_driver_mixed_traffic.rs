//! All sorts of traffic at once, for long, in one process: the only driver of its timeline, while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    settings,
    traffic::{
        mixed,
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let mix = settings::traffic()?.unwrap_or_else(mixed::draw);
    let summary = mixed::run(&session, &mix).await?;
    println!("{summary}, with {mix}");
    Ok(if summary.mismatches > 0 { ExitStatus::Broken } else { ExitStatus::Holds })
}
