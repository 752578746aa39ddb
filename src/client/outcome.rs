//! What an error says about a write: it certainly did not happen, or nobody can know. In comes the request with
//! the error of its call, out comes an outcome. Only what etcd's server raises before it proposes or changes
//! anything is definite; whatever is not in the table is unknown.

use tonic::Code;

use super::{CallError, channel::NotSent};
use crate::operation::{
    Failure, Outcome, Request,
    service::{ElectionRequest, LockRequest},
};

/// The server's errors that say that the request had no effect and never will: status code and message, from
/// etcd's `rpctypes`, each checked against the place in the server that raises it.
///
/// Absent on purpose: `etcdserver: mvcc: database space exceeded`. The server also answers it to the very write
/// that exceeds the quota, after having applied it.
const DID_NOT_HAPPEN: [(Code, &str); 28] = [
    (Code::InvalidArgument, "etcdserver: key is not provided"),
    (Code::InvalidArgument, "etcdserver: key not found"),
    (Code::InvalidArgument, "etcdserver: value is provided"),
    (Code::InvalidArgument, "etcdserver: lease is provided"),
    (Code::InvalidArgument, "etcdserver: too many operations in txn request"),
    (Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
    (Code::InvalidArgument, "etcdserver: invalid sort option"),
    (Code::InvalidArgument, "etcdserver: request is too large"),
    (Code::InvalidArgument, "etcdserver: user name is empty"),
    (Code::ResourceExhausted, "etcdserver: too many requests"),
    (Code::NotFound, "etcdserver: requested lease not found"),
    (Code::FailedPrecondition, "etcdserver: lease already exists"),
    (Code::OutOfRange, "etcdserver: too large lease TTL"),
    (Code::FailedPrecondition, "etcdserver: not capable"),
    (Code::Unavailable, "etcdserver: rpc not supported for learner"),
    (Code::FailedPrecondition, "etcdserver: rpc not supported for learner"),
    (Code::PermissionDenied, "etcdserver: permission denied"),
    (Code::Unauthenticated, "etcdserver: invalid auth token"),
    (Code::InvalidArgument, "etcdserver: revision of auth store is old"),
    (Code::InvalidArgument, "etcdserver: invalid auth management"),
    (Code::FailedPrecondition, "etcdserver: root user does not exist"),
    (Code::FailedPrecondition, "etcdserver: root user does not have root role"),
    (Code::FailedPrecondition, "etcdserver: user name already exists"),
    (Code::FailedPrecondition, "etcdserver: user name not found"),
    (Code::FailedPrecondition, "etcdserver: role name already exists"),
    (Code::FailedPrecondition, "etcdserver: role name not found"),
    (Code::FailedPrecondition, "etcdserver: role is not granted to the user"),
    (Code::FailedPrecondition, "etcdserver: permission is not granted to the role"),
];

/// Definite too, but not in a transaction that writes: there the members of a cluster may come to different
/// results (etcd issue 18667).
const REVISION_OUT_OF_REACH: [(Code, &str); 2] = [
    (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
    (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
];

const NO_KEY: &str = "etcdserver: key is not provided";
const NO_LEASE: &str = "etcdserver: requested lease not found";

/// What the lock and election services say if nothing has happened. A member carries their requests out as a client
/// of itself, by which errors lose their codes: the code is always `unknown`.
///
/// Absent on purpose: a lock's `mutex: session is expired` and whatever else follows the wait for a lock, since the
/// key was there, and all errors of a campaign, which may be several transactions.
fn of_service(request: &Request) -> &'static [&'static str] {
    match request {
        Request::Lock(LockRequest::Lock { .. }) => &[NO_LEASE],
        Request::Lock(LockRequest::Unlock { .. }) | Request::Election(ElectionRequest::Resign { .. }) => {
            &[NO_KEY]
        }
        Request::Election(ElectionRequest::Proclaim { .. }) => &[NO_KEY, NO_LEASE, "election: not leader"],
        Request::Election(ElectionRequest::Leader { .. }) => &["election: no leader"],
        _ => &[],
    }
}

/// The outcome of a request whose call failed.
pub fn of_error(request: &Request, error: &CallError) -> Outcome {
    let failure = failure(error);
    if is_definite(request, error) { Outcome::DidNotHappen(failure) } else { Outcome::Unknown(failure) }
}

fn is_definite(request: &Request, error: &CallError) -> bool {
    match error {
        CallError::NotSent(_) => true,
        CallError::Deadline { .. } | CallError::Transport(_) | CallError::Malformed { .. } => false,
        CallError::Status { code, message } => {
            let said = (*code, message.as_str());
            let writing_transaction = matches!(request, Request::Txn(_)) && request.can_write();
            DID_NOT_HAPPEN.contains(&said)
                || (REVISION_OUT_OF_REACH.contains(&said) && !writing_transaction)
                || (*code == Code::Unknown && of_service(request).contains(&message.as_str()))
        }
    }
}

/// The error of a call or of a stream, in words.
pub fn failure(error: &CallError) -> Failure {
    let code = match error {
        CallError::NotSent(error) if matches!(**error, NotSent::Authenticate { .. }) => "unauthenticated",
        CallError::NotSent(_) | CallError::Transport(_) => "unavailable",
        CallError::Deadline { .. } => "deadline_exceeded",
        CallError::Malformed { .. } => "internal",
        CallError::Status { code, .. } => code_name(*code),
    };
    let message = match error {
        CallError::Status { message, .. } => message.clone(),
        other => other.to_string(),
    };
    Failure { code: code.to_owned(), message }
}

/// The status code's name as the gRPC specification writes it, in lower case.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
