//! Every property of the project: one function, one literal message, one SDK assertion each. In go comparisons,
//! verdicts and outcomes, out go lines to the platform (or to `ANTITHESIS_SDK_LOCAL_OUTPUT`). It decides nothing.
//!
//! The SDK emits only the first pass and the first failure of an assertion, and each new extreme of a numeric one.

pub mod needs;
mod revisions;

use std::{
    env,
    fs::OpenOptions,
    path::{Path, PathBuf},
};

use antithesis_sdk::{assert_always, assert_sometimes};
use serde::Serialize;

pub use self::revisions::{Answer, revisions_are_right};
use crate::{
    check::judgement::{Guarantee, Judgement, for_each_guarantee},
    operation::{Outcome, Request},
    verdict::Verdict,
};

/// Messages of the sometimes properties that only faults bring about.
pub const NEEDS_FAULTS: &[&str] = &[
    "Client put requests can fail",
    "Client get requests can fail",
    "The leader changes while drivers run",
    "A member lags behind the others while drivers run",
    "A write of unknown fate is later seen to have happened",
    "A write of unknown fate is later seen not to have happened",
];

/// Messages of the sometimes properties that only some draws of traffic bring about.
const OF_FEW_DRAWS: &[&str] = &[
    "Serializable reads are answered",
    "Keys are overwritten",
    "Keys are deleted",
    "Large values are written",
    "Empty values are written",
    "A delete of a range removes several keys",
    "Hundreds of watches share one stream",
    "Progress of watches is told when it is asked for",
    "Progress of a watch is told now and then",
    "A watch of compacted revisions is cancelled",
    "Watch events come in fragments",
    "A watch tells what was written before it was created",
    "A watch waits for a future revision, which comes",
    "A watch begins exactly at a compacted revision",
    "A watch is resumed on another member",
    "Several watch events are of one revision",
    "Watch events give the pairs before them",
    "A transaction's compares hold",
    "A transaction's compares do not hold",
    "An absent object is created",
    "A change guarded by a revision succeeds",
    "A change guarded by a revision loses against another",
    "Objects are listed in several pages at one revision",
    "A cache that a watch keeps from its list on is what a list at its revision says",
    "Caches that watches keep are compared with lists",
    "Compactions succeed",
    "A read before the compaction is refused",
    "Members are defragmented",
    "A lease is kept alive through another member than it was granted through",
    "A lease with several keys is revoked",
    "A lease is left alone until it ends",
    "A lock is got after a wait",
    "Work of a former lock holder is refused by its fence",
    "A campaign is won after a wait",
];

/// Messages of the properties that a run of few timelines may not reach: those, and all that is judged from histories,
/// which may be left undecided.
pub const RARE: [&[&str]; 2] = [OF_FEW_DRAWS, OF_HISTORIES];

/// Where the platform puts its library; with it, the SDK writes no file.
const PLATFORM_LIBRARY: &str = "/usr/lib/libvoidstar.so";

/// The file that is to have the assertions can't be written: the SDK would go on without a word.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't write the assertions to {}, which ANTITHESIS_SDK_LOCAL_OUTPUT names: {source}; \
     make its folder, writable for this user, or unset the variable", path.display()
)]
pub struct SilentSdk {
    path: PathBuf,
    source: std::io::Error,
}

/// Registers the catalogue of assertions, once it is sure that the SDK's lines will not be lost in silence.
pub fn begin() -> Result<(), SilentSdk> {
    let output = env::var_os(antithesis_sdk::LOCAL_OUTPUT).filter(|_| !Path::new(PLATFORM_LIBRARY).exists());
    if let Some(path) = output.map(PathBuf::from) {
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        opened.map_err(|source| SilentSdk { path, source })?;
    }
    antithesis_sdk::antithesis_init();
    Ok(())
}

/// Asserts what a put's or a get's outcome says about the client's chances.
pub fn request_ended(request: &Request, outcome: &Outcome) {
    let (succeeded, error) = match outcome {
        Outcome::Ok(_) => (true, None),
        Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => (false, Some(failure)),
    };
    match request {
        Request::Put(_) => {
            put_succeeds(succeeded, &error);
            put_fails(!succeeded, &error);
        }
        Request::Range(_) => {
            get_succeeds(succeeded, &error);
            get_fails(!succeeded, &error);
        }
        _ => {}
    }
}

fn put_succeeds(condition: bool, error: &impl Serialize) {
    assert_sometimes!(condition, "Client can make successful put requests", &ErrorDetails { error });
}

fn put_fails(condition: bool, error: &impl Serialize) {
    assert_sometimes!(condition, "Client put requests can fail", &ErrorDetails { error });
}

fn get_succeeds(condition: bool, error: &impl Serialize) {
    assert_sometimes!(condition, "Client can make successful get requests", &ErrorDetails { error });
}

fn get_fails(condition: bool, error: &impl Serialize) {
    assert_sometimes!(condition, "Client get requests can fail", &ErrorDetails { error });
}

#[derive(Serialize)]
struct ErrorDetails<'a, E> {
    error: &'a E,
}

/// Asserts that a read agrees with what was written; `mismatch` says how it does not.
pub fn values_are_consistent(mismatch: Option<&impl Serialize>) {
    assert_always!(mismatch.is_none(), "Database key values stay consistent", &MismatchDetails { mismatch });
}

#[derive(Serialize)]
struct MismatchDetails<'a, M> {
    mismatch: Option<&'a M>,
}

macro_rules! always {
    ($(#[$doc:meta])* $name:ident, $message:literal) => {
        $(#[$doc])*
        pub fn $name(evidence: &[String]) {
            assert_always!(evidence.is_empty(), $message, &Evidence { evidence, others: vec![] });
        }
    };
}

macro_rules! sometimes {
    ($(#[$doc:meta])* $name:ident, $message:literal) => {
        $(#[$doc])*
        pub fn $name(condition: bool) {
            assert_sometimes!(condition, $message, &());
        }
    };
}

#[derive(Serialize)]
struct Evidence<'a> {
    evidence: &'a [String],
    /// The same of what else was found, one of each sort.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<Other>,
}

#[derive(Serialize)]
struct Other {
    evidence: Vec<String>,
}

macro_rules! judged {
    ($($(#[$doc:meta])* $name:ident: $always:literal, $sometimes:literal;)+) => {
        /// Messages of all that is judged from histories.
        const OF_HISTORIES: &[&str] = &[$($always, $sometimes,)+];

        /// Each guarantee with its messages: that it is kept, and that there was something to judge.
        const OF_GUARANTEES: &[(Guarantee, &str, &str)] = &[$((Guarantee::$name, $always, $sometimes),)+];

        /// Asserts what a checker found out. What is undecided is neither asserted nor counted as judged.
        pub fn judged(judgement: &Judgement) {
            let undecided = matches!(judgement.verdict, Verdict::Undecided(_));
            let evidence: &[String] = match &judgement.verdict {
                Verdict::Broken(sentences) => sentences,
                Verdict::Holds | Verdict::Undecided(_) => &[],
            };
            match judgement.guarantee {
                $(Guarantee::$name => {
                    if !undecided {
                        let sorts = judgement.sorts().into_iter().skip(1);
                        let others = sorts.map(|(of_it, _)| Other { evidence: of_it.sentences() }).collect();
                        assert_always!(evidence.is_empty(), $always, &Evidence { evidence, others });
                    }
                    assert_sometimes!(!undecided && judgement.looked_at > 0, $sometimes, &());
                })+
            }
        }
    };
}
for_each_guarantee!(judged);

always! {
    /// A list, and all events from its revision on, give what a later list gives.
    cache_is_right, "A cache that a watch keeps from its list on is what a list at its revision says"
}
always! {
    /// After a delete was answered, none of its keys is read.
    deleted_keys_are_gone, "Deleted keys are gone"
}
always! {
    /// The count and the pairs that a delete gives back are those that were there.
    deletes_report_what_they_removed, "A delete reports exactly the pairs that it removed"
}
always! {
    /// Keys outside a delete's range stay.
    deletes_leave_other_keys_alone, "A delete leaves keys outside its range alone"
}
always! {
    /// What a member has applied, by its own words, never becomes less while it is connected.
    applied_index_never_falls, "A member's applied index never goes back on one connection"
}
always! {
    /// No member says that its data is corrupt.
    no_member_is_corrupt, "No member reports corrupt data"
}
always! {
    /// Within the bound after faults have stopped, the cluster is healthy.
    cluster_recovers, "The cluster becomes healthy once faults have stopped"
}
always! {
    /// Same revision, same hash of the contents.
    members_agree, "Recovered members agree on revision and content"
}
always! {
    /// A write through any member is read through every other.
    every_member_takes_writes, "Every recovered member takes a write that every other one reads"
}
always! {
    /// A watch on any member tells of what is written through every member.
    every_member_tells_watches, "A watch on every recovered member tells of fresh writes"
}
always! {
    /// Leases are granted, kept alive and revoked through any member.
    every_member_serves_leases, "Every recovered member grants, keeps alive and revokes leases"
}
always! {
    /// No alarm stands.
    no_alarm_stands, "No alarm stands once the cluster has recovered"
}
always! {
    /// On each member, nothing exists that no one attempted to write.
    nothing_is_made_up, "Everything on a member at the end was written by someone"
}
sometimes! {
    /// The consistency check compared something across members.
    read_elsewhere, "Keys are read through another member than they were written through"
}
sometimes! {
    /// Serializable reads are among the reads.
    read_serializable, "Serializable reads are answered"
}
sometimes! {
    /// Overwriting is among the writes.
    key_overwritten, "Keys are overwritten"
}
sometimes! {
    /// Deleting is among the writes.
    key_deleted, "Keys are deleted"
}
sometimes! {
    /// The values are now and then large.
    large_value_written, "Large values are written"
}
sometimes! {
    /// The values are now and then empty.
    empty_value_written, "Empty values are written"
}
sometimes! {
    /// A range delete had something to remove.
    many_keys_deleted, "A delete of a range removes several keys"
}
sometimes! {
    /// So many watches that the server deals with them in several rounds.
    hundreds_of_watches, "Hundreds of watches share one stream"
}
sometimes! {
    /// All watches of a stream were told to be up to date together.
    progress_told_when_asked, "Progress of watches is told when it is asked for"
}
sometimes! {
    /// A watch was told to be up to date now and then.
    progress_told_unasked, "Progress of a watch is told now and then"
}
sometimes! {
    /// A watch began below the oldest revision that is left, or fell behind it.
    compacted_watch_cancelled, "A watch of compacted revisions is cancelled"
}
sometimes! {
    /// Events were too large for one message.
    events_come_in_fragments, "Watch events come in fragments"
}
sometimes! {
    /// A watch began in the past.
    watch_tells_the_past, "A watch tells what was written before it was created"
}
sometimes! {
    /// A watch began in the future, and that came.
    watch_waits_for_the_future, "A watch waits for a future revision, which comes"
}
sometimes! {
    /// A watch began at the very revision of a compaction.
    watch_begins_at_compaction, "A watch begins exactly at a compacted revision"
}
sometimes! {
    /// A watch went on through another member.
    watch_resumed_elsewhere, "A watch is resumed on another member"
}
sometimes! {
    /// One write changed several watched keys.
    events_of_one_revision, "Several watch events are of one revision"
}
sometimes! {
    /// Watches asked for the pairs before events, and got them.
    pairs_before_events, "Watch events give the pairs before them"
}
sometimes! {
    /// The members could all be asked while drivers ran.
    all_members_answered, "All members answer while drivers run"
}
sometimes! {
    /// The recovery check compared hashes.
    hashes_compared, "Content hashes of all members were compared at one revision"
}
sometimes! {
    /// Answers told of another leader, or of a later term, than those before.
    leader_changed, "The leader changes while drivers run"
}
sometimes! {
    /// A member had applied less than another one had before it was asked.
    member_lagged, "A member lags behind the others while drivers run"
}
sometimes! {
    /// A read found what a request without an answer wrote.
    unknown_write_happened, "A write of unknown fate is later seen to have happened"
}
sometimes! {
    /// At the end, a key still is as it was before a request without an answer.
    unknown_write_did_not_happen, "A write of unknown fate is later seen not to have happened"
}
sometimes! {
    /// The compares of a transaction held.
    transaction_succeeded, "A transaction's compares hold"
}
sometimes! {
    /// The compares of a transaction did not hold.
    transaction_failed, "A transaction's compares do not hold"
}
sometimes! {
    /// An object was created under the guard that it is absent.
    object_created, "An absent object is created"
}
sometimes! {
    /// An object was changed under the guard of its revision.
    guarded_change_succeeded, "A change guarded by a revision succeeds"
}
sometimes! {
    /// Another server had changed the object before.
    guarded_change_lost, "A change guarded by a revision loses against another"
}
sometimes! {
    /// A list took more than a page, all at one revision.
    listed_in_pages, "Objects are listed in several pages at one revision"
}
sometimes! {
    /// A cache with objects in it was held against a list.
    cache_compared, "Caches that watches keep are compared with lists"
}
sometimes! {
    /// A compaction was acknowledged.
    compacted, "Compactions succeed"
}
sometimes! {
    /// What a compaction removed can't be read.
    compacted_revision_refused, "A read before the compaction is refused"
}
sometimes! {
    /// A member's database was rewritten.
    member_defragmented, "Members are defragmented"
}
sometimes! {
    /// Keepalives are forwarded by other members than the lease was granted through.
    lease_kept_alive_elsewhere, "A lease is kept alive through another member than it was granted through"
}
sometimes! {
    /// Revocations have something to do at once.
    lease_with_keys_revoked, "A lease with several keys is revoked"
}
sometimes! {
    /// Leases end by themselves.
    lease_expired, "A lease is left alone until it ends"
}
sometimes! {
    /// Locks are held when others want them.
    lock_waited_for, "A lock is got after a wait"
}
sometimes! {
    /// The fence keeps those out who have lost the lock without knowing.
    fenced_work_refused, "Work of a former lock holder is refused by its fence"
}
sometimes! {
    /// Elections are contested.
    campaign_waited_for, "A campaign is won after a wait"
}
