//! The model of etcd's store against real etcds: the same random requests, one after another, and every answer the
//! same. The naive store of the tests is held to the same, since it is what the checkers are proved against.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;
#[path = "histories/mod.rs"]
mod histories;

use std::{cmp::Ordering, time::Duration};

use common::{healthy_cluster_of, settings};
use etcd_antithesis::{
    client::Client,
    lab::etcd_binary::EtcdBinary,
    model::{
        execute::{Pairs, Refusal, Reply, branch, order},
        store::{Pair, Store},
    },
    operation::{
        Answer, Failure, KeyRange, KeyValue, Outcome, Range, RangeAnswer, Request, Response,
        service::LeaseRequest,
    },
    settings::Settings,
    types::Revision,
};
use histories::{Shape, naive::Naive, requests::Requests};

/// The oldest version answers each request as the model does.
#[tokio::test]
async fn the_oldest_etcd_answers_as_the_model_does() {
    compare("3.4.23", 1, 2_000).await;
}

/// The newest version answers each request as the model does.
#[tokio::test]
async fn the_newest_etcd_answers_as_the_model_does() {
    compare("3.5.30", 2, 2_000).await;
}

/// The same on all versions and for longer; `REQUESTS` and `SEED` say how long and which.
#[tokio::test]
#[ignore = "takes minutes; run by hand"]
async fn every_etcd_answers_as_the_model_does_for_longer() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    for version in ["3.4.23", "3.5.1", "3.5.16", "3.5.30"] {
        compare(version, number("SEED", 3), number("REQUESTS", 20_000)).await;
    }
}

async fn compare(version: &str, seed: u64, requests: u64) {
    for odd in [false, true] {
        let binary = EtcdBinary::fetch(version.parse().unwrap()).unwrap();
        let cluster = healthy_cluster_of(&binary, 1, |_| {});
        let mut side_by_side = SideBySide::new(&cluster.endpoints(), Shape::of_all(odd), seed);
        for _ in 0..requests {
            side_by_side.step().await;
        }
        let SideBySide { answered, refused, overlapping, .. } = side_by_side;
        println!("{version}: {answered} answered, {refused} refused, {overlapping} overlap in themselves");
        assert!(answered > requests * 7 / 10 && refused > requests / 100);
    }
}

/// A real server, the model and the naive store, all with the same contents.
struct SideBySide {
    client: Client,
    requests: Requests,
    model: Store<'static>,
    naive: Naive,
    /// Last requests, for people.
    log: Vec<String>,
    answered: u64,
    refused: u64,
    overlapping: u64,
}

impl SideBySide {
    fn new(endpoints: &str, shape: Shape, seed: u64) -> Self {
        let settings = Settings {
            dial_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(30),
            keepalive_time: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(30),
            ..settings(endpoints)
        };
        let mut naive = Naive::new(1, &[]);
        naive.leases = Some(std::collections::BTreeSet::new());
        Self {
            client: Client::of_each(&settings).unwrap().remove(0),
            requests: Requests::new(shape, seed),
            model: Store::at(Revision(1), &[]),
            naive,
            log: vec![],
            answered: 0,
            refused: 0,
            overlapping: 0,
        }
    }

    async fn step(&mut self) {
        let mut request = self.requests.next(&self.naive);
        if let Request::Lease(LeaseRequest::Grant { ttl, .. }) = &mut request {
            // Generated leases end at any time; here none may while the test runs.
            *ttl = 3600;
        }
        // The model borrows from requests.
        let request: &'static Request = Box::leak(Box::new(request));
        let outcome = self.client.perform(request).await.0;
        self.log.push(format!("{request:?}\n  → {outcome:?}"));
        match outcome {
            Outcome::Ok(response) => self.answered(request, &response),
            Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => self.refused(request, &failure),
        }
    }

    fn answered(&mut self, request: &'static Request, response: &Response) {
        self.answered += 1;
        let given = self.naive.execute(request);
        let allowed = given.as_ref().is_ok_and(|given| given.allows(&response.answer));
        self.expect(allowed && self.naive.revision == response.header.revision.0, "naive", &given);
        if let Request::Lease(request) = request {
            if let LeaseRequest::Revoke { lease } = request {
                self.model.end_lease(*lease);
            }
        } else {
            let reply = self.model.execute(request);
            let same = reply.as_ref().is_ok_and(|reply| is(reply, request, &response.answer));
            self.expect(same, "model", &reply);
        }
        self.expect(self.model.revision() == response.header.revision, "model", &self.model.revision());
        self.expect_same_contents();
    }

    fn refused(&mut self, request: &'static Request, failure: &Failure) {
        if failure.message == "etcdserver: duplicate key given in txn request" {
            // No question for a store.
            self.overlapping += 1;
            return;
        }
        self.refused += 1;
        let given = self.naive.execute(request);
        let refused = given.as_ref().err().map(|refused| refused.words());
        // Of several reasons, versions give different ones.
        let is_same = |words: &str| words == failure.message || matches!(request, Request::Txn(_));
        self.expect(refused.is_some_and(is_same), "naive", &given);
        if !matches!(request, Request::Lease(_)) && refused != Some("etcdserver: requested lease not found") {
            let reply = self.model.execute(request);
            let words = |refusal: &Refusal| format!("{refusal}");
            let refused = reply.as_ref().err().map(words);
            let is_same =
                |words: String| failure.message.ends_with(&words) || matches!(request, Request::Txn(_));
            self.expect(refused.is_some_and(is_same), "model", &reply);
        }
    }

    fn expect(&self, holds: bool, who: &str, said: &dyn std::fmt::Debug) {
        let last = &self.log[self.log.len().saturating_sub(5)..];
        assert!(holds, "the {who} says otherwise after {}: {said:?}\n{}", self.log.len(), last.join("\n"));
    }

    fn expect_same_contents(&self) {
        let everything = KeyRange::everything();
        let naive = self.naive.pairs(&everything, i64::MAX);
        let same = self.model.pairs(&everything).count() == naive.len()
            && self.model.pairs(&everything).zip(&naive).all(|(pair, kv)| pair.is(kv, false));
        self.expect(same, "model", &"other contents than the naive store");
    }
}

/// Whether this is the model's reply.
fn is(reply: &Reply<'_>, request: &Request, answer: &Answer) -> bool {
    match (reply, request, answer) {
        (Reply::Range(found), Request::Range(range), Answer::Range(answer)) => is_range(found, range, answer),
        (Reply::Txn(held, replies), Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
            let requests = branch(txn, *held);
            held == succeeded
                && replies.len() == answers.len()
                && replies
                    .iter()
                    .zip(requests)
                    .zip(answers)
                    .all(|((reply, part), answer)| is(reply, part, answer))
        }
        _ => reply.answer(request) == *answer,
    }
}

/// Equal up to the order among pairs that are equal in what they are sorted by.
fn is_range(found: &Pairs<'_>, range: &Range, answer: &RangeAnswer) -> bool {
    let mut open: Vec<_> = found.pairs.iter().chain(&found.ties).collect();
    let mut fits = |(kv, place): (&KeyValue, _)| {
        let fits =
            |pair: &&Pair<'_>| pair.is(kv, range.keys_only) && order(range, pair, place) == Ordering::Equal;
        open.iter().position(fits).map(|found| open.remove(found)).is_some()
    };
    answer.more == found.more
        && answer.count == found.count
        && answer.kvs.len() == found.pairs.len()
        && answer.kvs.iter().zip(&found.pairs).all(&mut fits)
}
