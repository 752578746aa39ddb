//! After every command has completed: reads the whole store through each member and holds it against all that was
//! recorded, then asks whether one order explains everything recorded. Runs alone, with faults off.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    verdict,
    whole_store::{self, Unread},
};
use crate::{
    check::{
        self,
        case::Case,
        final_state::{self, Contents},
    },
    exit::ExitStatus,
    history::reader,
    properties,
    traffic::session::{Session, SessionError, Worker},
    verdict::Verdict,
};

const WITHIN: Duration = Duration::from_secs(90);
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let histories = reader::read_folder(session.folder())?;
    let mut worker = session.worker(DEADLINE)?;
    let contents = match read_members(&mut worker).await {
        Ok(contents) => contents,
        Err(Unread::History(error)) => return Err(error.into()),
        Err(Unread::Failed(message)) => {
            let evidence = [format!("no member could be read within {WITHIN:?}: {message}")];
            properties::acknowledged_writes_are_kept(&evidence);
            return Ok(verdict(&evidence));
        }
    };
    let state = final_state::check(&histories, &contents);
    println!("looked for {} acknowledged keys on {} members", state.looked_for, contents.len());
    properties::final_contents_checked(state.looked_for > 0);
    properties::unknown_write_happened(state.unknown_happened > 0);
    properties::unknown_write_did_not_happen(state.unknown_did_not_happen > 0);
    let mut evidence = vec![];
    settle(state.acknowledged, properties::acknowledged_writes_are_kept, &mut evidence);
    settle(state.attempted, properties::nothing_is_made_up, &mut evidence);
    check_histories(&session, &mut evidence)?;
    Ok(verdict(&evidence))
}

/// The reads of this very command are part of it.
fn check_histories(session: &Session, evidence: &mut Vec<String>) -> Result<(), SessionError> {
    let histories = reader::read_folder(session.folder())?;
    for judgement in check::all(&Case::new(&histories)) {
        let message = judgement.guarantee.message();
        println!("{message}: looked at {}", judgement.looked_at);
        properties::judged(&judgement);
        match judgement.verdict {
            Verdict::Holds => {}
            Verdict::Broken(found) => evidence.extend(found),
            Verdict::Undecided(reason) => println!("{message}: undecided: {reason}"),
        }
    }
    Ok(())
}

/// Asserts a verdict, unless it is undecided, and collects what speaks against the cluster.
fn settle(verdict: Verdict, assert: fn(&[String]), evidence: &mut Vec<String>) {
    match verdict {
        Verdict::Holds => assert(&[]),
        Verdict::Broken(found) => {
            assert(&found);
            evidence.extend(found);
        }
        Verdict::Undecided(reason) => println!("undecided: {reason}"),
    }
}

/// Each member's pairs at one revision that is no older than any acknowledged write.
async fn read_members(worker: &mut Worker) -> Result<Vec<Contents>, Unread> {
    let until = Instant::now() + WITHIN;
    let revision = whole_store::revision(worker, 0, until).await?;
    let mut contents = vec![];
    for member in 0..worker.session().clients().len() {
        let kvs = whole_store::pairs(worker, member, revision, until).await?;
        contents.push(Contents { member: worker.session().clients()[member].endpoint().name.clone(), kvs });
    }
    Ok(contents)
}
