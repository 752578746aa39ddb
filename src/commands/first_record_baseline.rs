//! Records what the store holds before the run: its revision and every pair, so that a store that is not empty
//! can be tested. Where that is asked for, authentication is switched on before. Runs alone, with faults off.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::whole_store::{self, At, Unread};
use crate::{
    exit::ExitStatus,
    settings::Class,
    traffic::{
        permissions,
        session::{Session, SessionError, Worker},
    },
};

const WITHIN: Duration = Duration::from_mins(1);
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    if session.has(Class::Auth)
        && let Err(message) = permissions::enable(&session, WITHIN).await?
    {
        eprintln!("error: failed to switch authentication on within {WITHIN:?}: {message}");
        return Ok(ExitStatus::Unreachable);
    }
    let floor = session.revision_floor()?;
    let mut worker = session.worker(DEADLINE)?;
    match record(&mut worker).await {
        Ok((revision, pairs)) if floor <= revision => {
            println!("the store is at revision {revision} with {pairs} keys");
            Ok(ExitStatus::Holds)
        }
        Ok((revision, _)) => {
            eprintln!(
                "error: the history folder has seen revision {floor}, but the store is at {revision}: \
                 either the store went back, or the folder belongs to another cluster; use an empty folder for a new one"
            );
            Ok(ExitStatus::Broken)
        }
        Err(Unread::Failed(message)) => {
            eprintln!("error: failed to read the store within {WITHIN:?}: {message}");
            Ok(ExitStatus::Unreachable)
        }
        Err(Unread::History(error)) => Err(error.into()),
    }
}

async fn record(worker: &mut Worker) -> Result<(crate::types::Revision, usize), Unread> {
    let until = Instant::now() + WITHIN;
    let member = worker.session().any_member();
    let revision = whole_store::revision(worker, member, until).await?;
    let at = At { serializable: false, revision: Some(revision) };
    let read = whole_store::pairs(worker, member, at, until).await?;
    Ok((revision, read.pairs.len()))
}
