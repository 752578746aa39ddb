//! The model of the store, which the checker replays on, against the naive store of the tests, which real etcds were
//! held against (`tests/model.rs`): the same random requests, and every answer the same.

use etcd_antithesis::{
    model::store::Store,
    operation::{KeyRange, Request, service::LeaseRequest},
    types::Revision,
};

use super::histories::{Shape, naive::Naive, requests::Requests};

/// Whatever is asked, the model answers or refuses as the naive store does, and holds the same.
#[test]
fn the_model_does_what_the_naive_store_does() {
    for (seed, odd) in (0..).zip([false, true, false, true]) {
        let mut requests = Requests::new(Shape { stale: 0, ..Shape::of_all(odd) }, seed);
        let mut naive = Naive::new(1, &[]);
        naive.leases = Some(std::collections::BTreeSet::new());
        let all: Vec<Request> = (0..5_000)
            .map(|_| {
                let request = requests.next(&naive);
                let _ = naive.execute(&request);
                request
            })
            .collect();
        let mut naive = Naive::new(1, &[]);
        naive.leases = Some(std::collections::BTreeSet::new());
        let mut model = Store::at(Revision(1), &[]);
        let (mut answered, mut refused) = (0, 0);
        for request in &all {
            let given = naive.execute(request);
            match (request, &given) {
                (Request::Lease(LeaseRequest::Revoke { lease }), Ok(_)) => drop(model.end_lease(*lease)),
                (Request::Lease(_), _) => {}
                (_, Ok(given)) => {
                    let reply = model.execute(request);
                    let same = reply.as_ref().is_ok_and(|reply| given.allows(&reply.answer(request)));
                    assert!(same, "seed {seed}: {request:?}\nnaive {given:?}\nmodel {reply:?}");
                    answered += 1;
                }
                (_, Err(words)) if words.words() == "etcdserver: requested lease not found" => {}
                (_, Err(words)) => {
                    let reply = model.execute(request);
                    // Of several reasons, any will do.
                    let is_same = |refusal| words.words().ends_with(&format!("{refusal}"));
                    let same = matches!(request, Request::Txn(_)) || reply.as_ref().is_err_and(is_same);
                    assert!(
                        reply.is_err() && same,
                        "seed {seed}: {request:?}\nnaive {words:?}\nmodel {reply:?}"
                    );
                    refused += 1;
                }
            }
            let pairs = naive.pairs(&KeyRange::everything(), i64::MAX);
            let same = model.pairs(&KeyRange::everything()).count() == pairs.len()
                && model.pairs(&KeyRange::everything()).zip(&pairs).all(|(pair, kv)| pair.is(kv, false));
            assert!(
                same && model.revision().0 == naive.revision,
                "seed {seed}: other contents after {request:?}"
            );
        }
        assert!(answered > 3_000 && refused > 50, "{answered} answered, {refused} refused");
    }
}
