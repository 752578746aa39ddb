//! All sorts of traffic at once, for long, in one process: the only driver of its timeline, while faults are on.

use std::sync::Arc;

use crate::{
    exit::ExitStatus,
    settings::{self, Class, SettingsError, mix::Sort},
    traffic::{
        mixed,
        session::{Session, SessionError},
    },
};

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let with_auth = session.has(Class::Auth);
    let mix = settings::traffic()?.unwrap_or_else(|| mixed::draw(with_auth));
    if !with_auth && mix.weights.get(&Sort::Permissions).is_some_and(|weight| *weight > 0) {
        return Err(SettingsError::NeedsAuth.into());
    }
    let summary = mixed::run(&session, &mix).await?;
    println!("{summary}, with {mix}");
    Ok(if summary.mismatches > 0 { ExitStatus::Broken } else { ExitStatus::Holds })
}
