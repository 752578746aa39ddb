//! Proves the client of leases, locks, elections and users against real etcds: every request goes there and back, and what
//! its errors say about its effect is tested row by row.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::time::Duration;

use common::{TestCluster, healthy_cluster_of, settings};
use etcd_antithesis::{
    client::Client,
    lab::etcd_binary::EtcdBinary,
    operation::{
        Answer, KeyRange, KeyValue, Outcome, Put, Range, Request,
        auth::{Access, AuthRequest},
        service::{
            ElectionAnswer, ElectionRequest, LeaderKey, LeaseAnswer, LeaseRequest, LockAnswer, LockRequest,
        },
    },
    settings::{Settings, User},
    types::{Blob, LeaseId, Revision, Version},
};

/// The oldest and the newest version that can be had.
const VERSIONS: [&str; 2] = ["3.4.23", "3.5.30"];
/// Longer than a server takes to delete what a cancelled request left.
const SETTLED: Duration = Duration::from_secs(10);

/// A member of its own, and a client of it.
struct Place {
    _cluster: TestCluster,
    client: Client,
}

impl Place {
    fn new(version: &str) -> Self {
        let binary = EtcdBinary::fetch(version.parse().unwrap()).unwrap();
        let cluster = healthy_cluster_of(&binary, 1, |_| {});
        let settings =
            Settings { command_timeout: Duration::from_secs(10), ..settings(&cluster.endpoints()) };
        Self { client: Client::of_each(&settings).unwrap().remove(0), _cluster: cluster }
    }

    async fn outcome(&self, request: &Request) -> Outcome {
        self.client.perform(request).await.0
    }

    async fn answer(&self, request: &Request) -> Answer {
        match self.outcome(request).await {
            Outcome::Ok(response) => response.answer,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    /// The outcome of a request that is given up soon.
    async fn given_up(&self, request: &Request) -> Outcome {
        self.client.clone().with_deadline(Duration::from_millis(500)).perform(request).await.0
    }

    async fn pairs(&self, prefix: &str) -> Vec<KeyValue> {
        let range = Range { keys: KeyRange::prefix(prefix.into()), ..Range::default() };
        match self.answer(&Request::Range(range)).await {
            Answer::Range(range) => range.kvs,
            other => panic!("{other:?}"),
        }
    }

    async fn revision(&self) -> Revision {
        let range = Request::Range(Range { keys: KeyRange::everything(), ..Range::default() });
        self.outcome(&range).await.response().unwrap().header.revision
    }

    /// The request is refused with these words, is told as not having happened, and has changed nothing.
    async fn refused(&self, request: Request, words: &str) {
        let before = self.revision().await;
        match self.outcome(&request).await {
            Outcome::DidNotHappen(failure) => assert_eq!(failure.message, words, "{request:?}"),
            other => panic!("{request:?}: {other:?}"),
        }
        assert_eq!(self.revision().await, before, "{words}");
    }

    async fn campaign(&self, name: &str, lease: i64, value: &str) -> LeaderKey {
        match self.answer(&campaign(name, lease, value)).await {
            Answer::Election(ElectionAnswer::Campaign { leader }) => *leader,
            other => panic!("{other:?}"),
        }
    }
}

fn grant(lease: i64, ttl: i64) -> Request {
    Request::Lease(LeaseRequest::Grant { lease: LeaseId(lease), ttl })
}

fn revoke(lease: i64) -> Request {
    Request::Lease(LeaseRequest::Revoke { lease: LeaseId(lease) })
}

fn keep_alive(lease: i64) -> Request {
    Request::Lease(LeaseRequest::KeepAlive { lease: LeaseId(lease) })
}

fn time_to_live(lease: i64, keys: bool) -> Request {
    Request::Lease(LeaseRequest::TimeToLive { lease: LeaseId(lease), keys })
}

fn put(key: &str, lease: i64) -> Put {
    Put { key: key.into(), value: "v".into(), lease: LeaseId(lease), ..Put::default() }
}

fn lock(name: &str, lease: i64) -> Request {
    Request::Lock(LockRequest::Lock { name: name.into(), lease: LeaseId(lease) })
}

fn unlock(key: &str) -> Request {
    Request::Lock(LockRequest::Unlock { key: key.into() })
}

fn campaign(name: &str, lease: i64, value: &str) -> Request {
    let (name, lease, value) = (name.into(), LeaseId(lease), value.into());
    Request::Election(ElectionRequest::Campaign { name, lease, value })
}

fn proclaim(leader: &LeaderKey, value: &str) -> Request {
    Request::Election(ElectionRequest::Proclaim { leader: Box::new(leader.clone()), value: value.into() })
}

fn resign(leader: &LeaderKey) -> Request {
    Request::Election(ElectionRequest::Resign { leader: Box::new(leader.clone()) })
}

fn leader_of(name: &str) -> Request {
    Request::Election(ElectionRequest::Leader { name: name.into() })
}

/// A lease is granted, kept alive, asked for, listed and revoked, and its key goes with it; what is not there is
/// told so.
#[tokio::test]
async fn leases_go_there_and_back() {
    for version in VERSIONS {
        let place = Place::new(version);
        let Answer::Lease(LeaseAnswer::Grant { lease, ttl: 60 }) = place.answer(&grant(0, 60)).await else {
            panic!("no lease")
        };
        assert!(lease.0 > 0);
        place.answer(&Request::Put(put("k", lease.0))).await;
        place.answer(&Request::Put(Put { ignore_lease: true, ..put("k", 0) })).await;
        let kept = place.answer(&keep_alive(lease.0)).await;
        assert_eq!(kept, Answer::Lease(LeaseAnswer::KeepAlive { lease, ttl: 60 }));
        let Answer::Lease(LeaseAnswer::TimeToLive { ttl: 55..=60, granted_ttl: 60, keys, .. }) =
            place.answer(&time_to_live(lease.0, true)).await
        else {
            panic!("no time to live")
        };
        assert_eq!(keys, [Blob::from("k")]);
        let list = Request::Lease(LeaseRequest::List {});
        assert_eq!(place.answer(&list).await, Answer::Lease(LeaseAnswer::List { leases: vec![lease] }));
        assert_eq!(place.pairs("k").await[0].lease, lease);
        let before = place.revision().await;
        place.answer(&revoke(lease.0)).await;
        assert_eq!((place.pairs("k").await.len(), place.revision().await.0), (0, before.0 + 1));

        let gone = LeaseAnswer::KeepAlive { lease, ttl: 0 };
        assert_eq!(place.answer(&keep_alive(lease.0)).await, Answer::Lease(gone));
        let gone = LeaseAnswer::TimeToLive { lease, ttl: -1, granted_ttl: 0, keys: vec![] };
        assert_eq!(place.answer(&time_to_live(lease.0, true)).await, Answer::Lease(gone));
        place.refused(revoke(lease.0), "etcdserver: requested lease not found").await;
        place.refused(Request::Put(put("k", lease.0)), "etcdserver: requested lease not found").await;
        place.answer(&grant(7, 60)).await;
        place.refused(grant(7, 60), "etcdserver: lease already exists").await;
        place.refused(grant(8, 9_000_000_001), "etcdserver: too large lease TTL").await;
    }
}

/// A lock is taken, taken again by the same lease, given back twice, and taken with a lease that the server grants.
/// A lock's key is made of the name and the lease.
#[tokio::test]
async fn locks_go_there_and_back() {
    for version in VERSIONS {
        let place = Place::new(version);
        place.answer(&grant(0x7b, 60)).await;
        for _ in 0..2 {
            let owned = place.answer(&lock("l", 0x7b)).await;
            assert_eq!(owned, Answer::Lock(LockAnswer::Lock { key: "l/7b".into() }));
        }
        let pair = place.pairs("l/").await.remove(0);
        assert_eq!((pair.version, pair.lease, pair.value), (Version(1), LeaseId(0x7b), Blob::EMPTY));
        for _ in 0..2 {
            assert_eq!(place.answer(&unlock("l/7b")).await, Answer::Lock(LockAnswer::Unlock {}));
            assert!(place.pairs("l/").await.is_empty());
        }
        let Answer::Lock(LockAnswer::Lock { key }) = place.answer(&lock("l", 0)).await else {
            panic!("no key")
        };
        assert_eq!(place.pairs("l/").await[0].key, key);
        place.refused(lock("l", 0x99), "etcdserver: requested lease not found").await;
        place.refused(unlock(""), "etcdserver: key is not provided").await;
    }
}

/// An election is won, won again with another value, spoken in, asked for and given back; who does not lead is told
/// so, except by a resignation.
#[tokio::test]
async fn elections_go_there_and_back() {
    for version in VERSIONS {
        let place = Place::new(version);
        place.answer(&grant(7, 60)).await;
        let leader = place.campaign("e", 7, "a").await;
        let (key, lease) = ("e/7".into(), LeaseId(7));
        assert_eq!(leader, LeaderKey { name: "e".into(), key, revision: place.revision().await, lease });
        assert_eq!(place.campaign("e", 7, "b").await, leader);
        assert_eq!(
            place.answer(&proclaim(&leader, "c")).await,
            Answer::Election(ElectionAnswer::Proclaim {})
        );
        let Answer::Election(ElectionAnswer::Leader { kv }) = place.answer(&leader_of("e")).await else {
            panic!("no leader")
        };
        assert_eq!(
            (kv.value, kv.create_revision, kv.version, kv.lease),
            ("c".into(), leader.revision, Version(3), lease)
        );

        let other = LeaderKey { revision: Revision(1), ..leader.clone() };
        let leaseless = LeaderKey { lease: LeaseId(8), ..leader.clone() };
        let keyless = LeaderKey { key: Blob::EMPTY, ..leader.clone() };
        place.refused(proclaim(&other, "x"), "election: not leader").await;
        place.refused(proclaim(&leaseless, "x"), "etcdserver: requested lease not found").await;
        place.refused(proclaim(&keyless, "x"), "etcdserver: key is not provided").await;
        place.refused(resign(&keyless), "etcdserver: key is not provided").await;
        place.refused(leader_of("nobody's"), "election: no leader").await;
        place.answer(&resign(&other)).await;
        assert_eq!(place.pairs("e/").await.len(), 1);
        for _ in 0..2 {
            assert_eq!(place.answer(&resign(&leader)).await, Answer::Election(ElectionAnswer::Resign {}));
            assert!(place.pairs("e/").await.is_empty());
        }
        // The lease is gone, but the campaign may have been past its first transaction: nobody can know.
        let lost = place.outcome(&campaign("e", 8, "x")).await;
        assert!(
            matches!(&lost, Outcome::Unknown(failure) if failure.message.contains("lease not found")),
            "{lost:?}"
        );
    }
}

/// A lock or a campaign that is given up while it waits has left a key, which the server deletes some time later:
/// its outcome is unknown.
#[tokio::test]
async fn waiting_that_is_given_up_leaves_the_outcome_unknown() {
    for version in VERSIONS {
        let place = Place::new(version);
        for lease in [7, 8] {
            place.answer(&grant(lease, 60)).await;
        }
        place.answer(&lock("l", 7)).await;
        place.campaign("e", 7, "a").await;
        for (request, prefix) in [(lock("l", 8), "l/"), (campaign("e", 8, "b"), "e/")] {
            let before = place.revision().await;
            let outcome = place.given_up(&request).await;
            // The member may see the deadline first, and reset the stream.
            let codes = ["deadline_exceeded", "unavailable"];
            assert!(
                matches!(&outcome, Outcome::Unknown(failure) if codes.contains(&failure.code.as_str())),
                "{outcome:?}"
            );
            let until = std::time::Instant::now() + SETTLED;
            while place.revision().await.0 < before.0 + 2 {
                assert!(std::time::Instant::now() < until, "the key was not deleted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(place.pairs(prefix).await.len(), 1);
        }
    }
}

/// What is said of a lock whose lease ended while it waited: newer members refuse it, though its key was there for a
/// while, so that is no proof that nothing happened.
#[tokio::test]
async fn a_lock_whose_lease_ended_is_not_told_as_never_tried() {
    let place = Place::new("3.5.30");
    for (lease, ttl) in [(7, 60), (8, 60)] {
        place.answer(&grant(lease, ttl)).await;
    }
    place.answer(&lock("l", 7)).await;
    let (client, waiting) = (place.client.clone(), lock("l", 8));
    let waits = tokio::spawn(async move { client.perform(&waiting).await.0 });
    while place.pairs("l/").await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.answer(&revoke(8)).await;
    place.answer(&unlock("l/7")).await;
    let outcome = waits.await.unwrap();
    assert!(
        matches!(&outcome, Outcome::Unknown(failure) if failure.message == "mutex: session is expired"),
        "{outcome:?}"
    );
}

/// A user may read what its role may, no more and no less, and every error about users and roles is one of a change that
/// was not made.
#[tokio::test]
async fn users_are_permitted_and_refused() {
    let (user, role) = ("u".to_owned(), "r".to_owned());
    let root = || "root".to_owned();
    let keys = || KeyRange::single("k".into());
    for version in VERSIONS {
        let mut place = Place::new(version);
        let change = |request: AuthRequest| Request::Auth(request);
        let add = |user: &String| change(AuthRequest::UserAdd { user: user.clone() });
        let hold = |user: &String, role: &String| {
            change(AuthRequest::UserGrantRole { user: user.clone(), role: role.clone() })
        };
        let drop = || change(AuthRequest::UserRevokeRole { user: user.clone(), role: role.clone() });
        let add_role = || change(AuthRequest::RoleAdd { role: role.clone() });
        let grant =
            |access| change(AuthRequest::RoleGrantPermission { role: role.clone(), access, keys: keys() });
        let revoke = || change(AuthRequest::RoleRevokePermission { role: role.clone(), keys: keys() });
        let enable = || change(AuthRequest::Enable {});
        place.answer(&Request::Put(put("k", 0))).await;
        place.refused(enable(), "etcdserver: root user does not exist").await;
        place.answer(&add(&root())).await;
        place.refused(add(&root()), "etcdserver: user name already exists").await;
        place.refused(enable(), "etcdserver: root user does not have root role").await;
        place.answer(&hold(&root(), &root())).await;
        place.refused(hold(&user, &root()), "etcdserver: user name not found").await;
        place.answer(&add(&user)).await;
        place.refused(hold(&user, &role), "etcdserver: role name not found").await;
        place.answer(&add_role()).await;
        place.refused(add_role(), "etcdserver: role name already exists").await;
        place.refused(drop(), "etcdserver: role is not granted to the user").await;
        place.refused(revoke(), "etcdserver: permission is not granted to the role").await;
        assert_eq!(place.answer(&enable()).await, Answer::Auth {});
        place.client = place.client.as_user(User::root());
        place.answer(&hold(&user, &role)).await;
        place.answer(&grant(Access::Read)).await;
        let of_user = place.client.as_user(User::of_test(&user));
        assert_eq!(of_user.user(), Some("u"));
        let read = Request::Range(Range { keys: keys(), ..Range::default() });
        assert!(of_user.perform(&read).await.0.response().is_some());
        let write = Request::Put(put("k", 0));
        assert!(of_user.perform(&write).await.0.is_forbidden());
        assert!(of_user.perform(&grant(Access::ReadWrite)).await.0.is_forbidden());
        place.answer(&grant(Access::ReadWrite)).await;
        assert!(of_user.perform(&write).await.0.response().is_some());
        place.answer(&revoke()).await;
        assert!(of_user.perform(&read).await.0.is_forbidden());
        place.answer(&drop()).await;
    }
}
