//! What a few answers tell of one key.

use super::*;
use crate::{
    check::linearizable::rows::Rows,
    operation::{DeleteRange, Header, Outcome, Put, Response},
    types::{Monotonic, OperationId, ProcessId},
};

const KEY: &str = "k";

fn operation(request: Request, revision: i64, answer: Answer) -> Operation {
    let header = Header { revision: Revision(revision), ..Header::default() };
    Operation {
        id: OperationId(1),
        process: ProcessId(1),
        member: "etcd0".into(),
        user: None,
        call: Monotonic(0),
        request,
        returned: Some((Monotonic(9), Outcome::Ok(Response { header, answer }))),
        connection: None,
    }
}

fn delete(revision: i64, deleted: i64) -> Operation {
    let request = DeleteRange { keys: KeyRange::single(KEY.into()), prev_kv: false };
    operation(Request::DeleteRange(request), revision, Answer::DeleteRange { deleted, prev_kvs: vec![] })
}

/// What was first seen of the key at revision 2, in a new store, or later.
fn first_seen(operation: &Operation) -> (Revision, &'static str) {
    let (operations, told) = ([operation], Told::default());
    let key = Blob::from(KEY);
    let mut store = Store::at(Revision(1), []);
    let rows = Rows::new(&operations, &mut store);
    let timeline = Timeline::new(&rows, &told, 9).expect("one operation contradicts nothing");
    let sightings = Sightings::new(&operations, &told, &timeline, &mut store);
    let key = store.known(&key).expect("the operation is about it");
    let sighting = sightings.next(key, Revision(2)).expect("the operation saw it");
    let seen = match sighting.seen {
        Seen::Pair(_) => "pair",
        Seen::Key(_) => "key",
        Seen::Absent => "absent",
        Seen::Deleted => "deleted",
        Seen::Cleared => "cleared",
    };
    (sighting.at, seen)
}

/// What was there before a put is put down to the revision before it; what a delete did not find, to the one at which
/// it looked, and what it found, to the one that it made.
#[test]
fn what_was_seen_is_put_down_to_its_revision() {
    let put = Put { key: KEY.into(), prev_kv: true, ..Put::default() };
    let put = operation(Request::Put(put), 4, Answer::Put { prev_kv: None });
    assert_eq!(first_seen(&put), (Revision(3), "absent"));
    assert_eq!(first_seen(&delete(3, 0)), (Revision(3), "absent"));
    assert_eq!(first_seen(&delete(3, 1)), (Revision(3), "deleted"));
}
