//! After every command has completed: waits until short leases must be over, collects what there still is to know of
//! each member, and holds everything recorded by all commands against what etcd promises. Runs alone, with faults off.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    collect::{self, Collected},
    verdict,
    whole_store::{self, Unread},
};
use crate::{
    check::{
        FAMILIES,
        case::Case,
        final_state,
        judgement::{Guarantee, Judgement},
    },
    exit::ExitStatus,
    history::reader::{self, History},
    operation::{Answer, service::LeaseAnswer},
    properties,
    traffic::session::{Session, SessionError, Worker},
    verdict::Verdict,
};

const WITHIN: Duration = Duration::from_secs(75);
const DEADLINE: Duration = Duration::from_secs(5);
/// Together with all else, no command may take longer than three minutes in the lab.
const CHECK_WITHIN: Duration = Duration::from_mins(1);
/// Leases that live no longer than this are waited for.
const SHORT: Duration = Duration::from_secs(5);
/// So long after its time a lease's end is still in time (`check::leases`), and a little more.
const LATEST_END: Duration = Duration::from_millis(5_500);

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let until = Instant::now() + WITHIN;
    let mut worker = session.worker(DEADLINE)?;
    let collected = match collect(&mut worker, until).await {
        Ok(collected) => collected,
        Err(Unread::History(error)) => return Err(error.into()),
        Err(Unread::Failed(message)) => {
            let evidence = [format!("no member could be read within {WITHIN:?}: {message}")];
            let broken = Verdict::Broken(evidence.to_vec());
            properties::judged(&Judgement::with(Guarantee::Durable, broken, None, 0));
            return Ok(verdict(&evidence));
        }
    };
    for lack in &collected.lacking {
        println!("not collected: {lack}");
    }
    // What was asked just now is part of it.
    let histories = reader::read_folder(session.folder())?;
    let mut evidence = vec![];
    check_contents(&histories, &collected, &mut evidence);
    check_guarantees(histories, &mut evidence);
    Ok(verdict(&evidence))
}

/// A command must end in time, however long the search for an order takes: what is not judged by then is undecided,
/// and `etcd-lab check` can judge the same files for as long as it takes.
fn check_guarantees(histories: Vec<History>, evidence: &mut Vec<String>) {
    let (judged, judgements) = mpsc::channel();
    let judge = thread::spawn(move || {
        let case = Case::new(&histories);
        for family in FAMILIES {
            for judgement in family(&case) {
                // Nobody waits for it after the time allowed.
                let _ = judged.send(judgement);
            }
        }
    });
    let until = Instant::now() + CHECK_WITHIN;
    loop {
        match judgements.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(judgement) => settle_guarantee(judgement, evidence),
            Err(RecvTimeoutError::Timeout) => {
                println!("what is not told of here is undecided: it was not judged within {CHECK_WITHIN:?}");
                return;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Err(panic) = judge.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Leases run from the first answer on that a leader gives now, since nobody knows when it began.
async fn collect(worker: &mut Worker, until: Instant) -> Result<Collected, Unread> {
    let member = worker.session().any_member();
    whole_store::revision(worker, member, until).await?;
    let begun = Instant::now();
    if let Some(longest) = longest_short_lease(&reader::read_folder(worker.session().folder())?) {
        println!("waiting until leases of {longest:?} are over");
        tokio::time::sleep_until((begun + longest + LATEST_END).into()).await;
    }
    collect::everything(worker, until).await
}

/// The time of the longest lease among those that anybody was granted for a short time.
fn longest_short_lease(histories: &[History]) -> Option<Duration> {
    let operations = histories.iter().flat_map(|history| &history.operations);
    let times = operations.filter_map(|operation| match operation.response()?.answer {
        Answer::Lease(LeaseAnswer::Grant { ttl, .. }) => u64::try_from(ttl).ok().map(Duration::from_secs),
        _ => None,
    });
    times.filter(|time| *time <= SHORT).max()
}

fn check_contents(histories: &[History], collected: &Collected, evidence: &mut Vec<String>) {
    let state = final_state::check(histories, &collected.contents);
    properties::unknown_write_happened(state.unknown_happened > 0);
    properties::unknown_write_did_not_happen(state.unknown_did_not_happen > 0);
    settle(state.attempted, properties::nothing_is_made_up, evidence);
}

fn settle_guarantee(judgement: Judgement, evidence: &mut Vec<String>) {
    let message = judgement.guarantee.message();
    println!("{message}: looked at {}", judgement.looked_at);
    properties::judged(&judgement);
    match judgement.verdict {
        Verdict::Holds => {}
        Verdict::Broken(found) => evidence.extend(found),
        Verdict::Undecided(reason) => println!("{message}: undecided: {reason}"),
    }
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
