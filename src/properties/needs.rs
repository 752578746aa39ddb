//! What a server must have for each property to be exercised, beside keys that are put and read. A server that lacks
//! any of it is no worse for that: the property is left out. Plain data.

use super::OF_GUARANTEES;
use crate::{
    capability::Capability::{
        self, Alarms, Compaction, Defragmentation, Deletes, Elections, Hashes, Leader, LeaseKeepAlive,
        LeaseTimeToLive, Leases, Limits, Locks, PastReads, PreviousPairs, StaleReads, Transactions, Users,
        WatchFragments, WatchPreviousPairs, WatchProgress, WatchStarts, Watches,
    },
    check::judgement::Guarantee,
};

/// The messages of properties, with what they need; those that need nothing are not among them.
const NEEDS: &[(&str, &[Capability])] = &[
    ("Serializable answers never go back on one connection to a member", &[StaleReads]),
    ("A delete counts the pairs that it gives back", &[Deletes, PreviousPairs]),
    (
        "A cache that a watch keeps from its list on is what a list at its revision says",
        &[Transactions, PastReads, Watches, WatchStarts],
    ),
    ("Deleted keys are gone", &[Deletes]),
    ("A delete reports exactly the pairs that it removed", &[Deletes]),
    ("A delete leaves keys outside its range alone", &[Deletes]),
    ("A member's applied index never goes back on one connection", &[Leader]),
    ("A watch on every recovered member tells of fresh writes", &[Watches]),
    ("Every recovered member grants, keeps alive and revokes leases", &[Leases]),
    ("Recovered members agree on revision and content", &[Hashes]),
    ("Content hashes of all members were compared at one revision", &[Hashes]),
    ("No alarm stands once the cluster has recovered", &[Alarms]),
    ("The leader changes while drivers run", &[Leader]),
    ("A member lags behind the others while drivers run", &[Leader]),
    ("Serializable reads are answered", &[StaleReads]),
    ("Keys are deleted", &[Deletes]),
    ("A delete of a range removes several keys", &[Deletes]),
    ("Hundreds of watches share one stream", &[Watches]),
    ("Progress of watches is told when it is asked for", &[Watches, WatchProgress]),
    ("Progress of a watch is told now and then", &[Watches]),
    ("A watch of compacted revisions is cancelled", &[Watches, WatchStarts, Compaction]),
    ("Watch events come in fragments", &[Watches, WatchFragments]),
    ("A watch tells what was written before it was created", &[Watches, WatchStarts]),
    ("A watch waits for a future revision, which comes", &[Watches, WatchStarts]),
    ("A watch begins exactly at a compacted revision", &[Watches, WatchStarts, Compaction]),
    ("A watch is resumed on another member", &[Watches, WatchStarts]),
    ("Several watch events are of one revision", &[Watches, Transactions]),
    ("Watch events give the pairs before them", &[Watches, WatchPreviousPairs]),
    ("A transaction's compares hold", &[Transactions]),
    ("A transaction's compares do not hold", &[Transactions]),
    ("An absent object is created", &[Transactions]),
    ("A change guarded by a revision succeeds", &[Transactions]),
    ("A change guarded by a revision loses against another", &[Transactions]),
    ("Objects are listed in several pages at one revision", &[Transactions, PastReads, Limits]),
    ("Caches that watches keep are compared with lists", &[Transactions, PastReads, Watches, WatchStarts]),
    ("Compactions succeed", &[Compaction]),
    ("A read before the compaction is refused", &[Compaction, PastReads]),
    ("Members are defragmented", &[Defragmentation]),
    ("A lease is kept alive through another member than it was granted through", &[Leases, LeaseKeepAlive]),
    ("A lease with several keys is revoked", &[Leases]),
    ("A lease is left alone until it ends", &[Leases, LeaseTimeToLive]),
    ("A lock is got after a wait", &[Leases, Locks]),
    ("Work of a former lock holder is refused by its fence", &[Leases, Locks, Transactions]),
    ("A campaign is won after a wait", &[Leases, Elections]),
];

/// What a guarantee needs, by its name.
fn of_guarantee(name: &str) -> &'static [Capability] {
    match name {
        "watch-bookmarkable" => &[Watches, WatchProgress],
        "watch-resumable" | "watch-started" => &[Watches, WatchStarts],
        "watch-previous" => &[Watches, WatchPreviousPairs],
        "lock-one-holder" => &[Leases, Locks],
        "election-one-leader" | "observers-in-order" => &[Leases, Elections],
        _ if name.starts_with("permission-") => &[Users],
        _ if name.starts_with("watch-") => &[Watches],
        _ if name.starts_with("lease-") => &[Leases],
        _ => &[],
    }
}

/// What each property needs, those of guarantees among them.
pub fn all() -> impl Iterator<Item = (&'static str, &'static [Capability])> {
    let of_guarantee = |(guarantee, always, sometimes): &(Guarantee, &'static str, &'static str)| {
        let needed = of_guarantee(&guarantee.name());
        [(*always, needed), (*sometimes, needed)]
    };
    NEEDS.iter().copied().chain(OF_GUARANTEES.iter().flat_map(of_guarantee))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A message that was reworded would need nothing any more, in silence.
    #[test]
    fn each_message_is_one_of_a_property() {
        let source = concat!(include_str!("../properties.rs"), include_str!("revisions.rs"));
        let messages: BTreeSet<&str> = NEEDS.iter().map(|(message, _)| *message).collect();
        assert_eq!(messages.len(), NEEDS.len());
        assert!(NEEDS.iter().all(|(_, needed)| !needed.is_empty()));
        for message in messages {
            assert!(source.contains(&format!("\"{message}\"")), "{message}");
        }
    }
}
