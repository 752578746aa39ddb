//! A thin client: one request to one member, one answer or one error. In go operations, out come their outcomes.
//! Every call has an explicit deadline, also told to the server; nothing is retried and nothing is balanced,
//! so a response always belongs to a known member.

pub mod channel;
pub mod gather;
pub mod http2;
pub mod outcome;
mod services;
pub mod stream;
pub mod tap;
pub mod tls;
pub mod wire;

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use tonic::{Code, codegen::http::Uri};

use self::{
    channel::{Channel, ChannelError, NotSent},
    tap::{Tap, Tape},
    tls::TlsError,
    wire::MalformedAnswer,
};
use crate::{
    operation::{Outcome, Request, Response},
    proto::etcdserverpb::{
        self as pb, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
        maintenance_client::MaintenanceClient, watch_client::WatchClient,
    },
    settings::{Endpoint, Settings, User},
    types::{ConnectionId, Revision},
};

/// Answers may be so large. What a server announces is reserved at once, so this also bounds what a lie can cost.
pub const ANSWER_AT_MOST_BYTES: usize = 1 << 29;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request never left.
    #[error("{0}")]
    NotSent(Arc<NotSent>),
    /// No answer came in time.
    #[error("no answer within {after:?}")]
    Deadline {
        /// The deadline of the call.
        after: Duration,
    },
    /// The server answered with an error status.
    #[error("{message} ({})", outcome::code_name(*code))]
    Status {
        /// The gRPC status code.
        code: Code,
        /// The server's words.
        message: String,
    },
    /// The connection or the stream broke, or what came is not gRPC.
    #[error("{0}")]
    Transport(String),
    /// The answer is gRPC, but lacks what such an answer must have.
    #[error("a malformed answer: {0}")]
    Malformed(#[from] MalformedAnswer),
}

/// A client of one member. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    deadline: Duration,
    require_leader: bool,
    tape: Tape,
}

/// An answer with the connection that it came over.
#[derive(Debug)]
pub struct Answered<T> {
    /// The answer.
    pub message: T,
    /// The connection.
    pub connection: ConnectionId,
}

impl Client {
    /// A client of this member with the settings' deadline; nothing is dialled yet.
    pub fn new(endpoint: &Endpoint, settings: &Settings) -> Result<Self, TlsError> {
        let channel = Channel::new(endpoint, settings)?;
        Ok(Self { channel, deadline: settings.command_timeout, require_leader: false, tape: Tape::default() })
    }

    /// A client of each member that the settings name, in their order.
    pub fn of_each(settings: &Settings) -> Result<Vec<Self>, TlsError> {
        settings.endpoints.iter().map(|endpoint| Self::new(endpoint, settings)).collect()
    }

    /// The same with another deadline for each call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same, but the member refuses (streams: ends) what it has no leader for, instead of waiting for one.
    #[must_use]
    pub fn with_require_leader(mut self) -> Self {
        self.require_leader = true;
        self
    }

    /// A client that copies to the tape all that passes, but for passwords and tokens.
    #[must_use]
    pub fn with_tape(mut self, tape: Tape) -> Self {
        self.tape = tape;
        self
    }

    /// What all that passes is copied to.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// What stubs send through.
    fn tap(&self) -> Tap {
        Tap::new(self.channel.clone(), self.tape.clone())
    }

    /// The same over a connection of its own, which no other client's slow reading can fill.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { channel: self.channel.apart(), ..self.clone() }
    }

    /// The same member for another user, over a connection of its own.
    #[must_use]
    pub fn as_user(&self, user: User) -> Self {
        Self { channel: self.channel.as_user(Some(user)), ..self.clone() }
    }

    /// The name of the user that everything is asked as, if any.
    pub fn user(&self) -> Option<&str> {
        self.channel.user()
    }

    /// How long a call may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The member.
    pub fn endpoint(&self) -> &Endpoint {
        self.channel.endpoint()
    }

    /// The channel, for stubs of one's own.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Performs an operation; the connection is known if an answer came.
    pub async fn perform(&self, request: &Request) -> (Outcome, Option<ConnectionId>) {
        match self.try_perform(request).await {
            Ok(answered) => (Outcome::Ok(answered.message), Some(answered.connection)),
            Err(error) => (outcome::of_error(request, &error), None),
        }
    }

    /// Performs an operation.
    pub async fn try_perform(&self, request: &Request) -> Result<Answered<Response>, CallError> {
        let mut kv =
            KvClient::with_origin(self.tap(), self.origin()).max_decoding_message_size(ANSWER_AT_MOST_BYTES);
        Ok(match request {
            Request::Range(range) => self
                .unary(wire::range_request(range), |message| kv.range(message))
                .await?
                .try_map(wire::range_response)?,
            Request::Put(put) => self
                .unary(wire::put_request(put), |message| kv.put(message))
                .await?
                .try_map(wire::put_response)?,
            Request::DeleteRange(delete) => self
                .unary(wire::delete_range_request(delete), |message| kv.delete_range(message))
                .await?
                .try_map(wire::delete_range_response)?,
            Request::Txn(txn) => self
                .unary(wire::txn_request(txn), |message| kv.txn(message))
                .await?
                .try_map(wire::txn_response)?,
            Request::Compact(compact) => self
                .unary(wire::compaction_request(compact), |message| kv.compact(message))
                .await?
                .try_map(wire::compaction_response)?,
            Request::Lease(request) => self.perform_lease(request).await?,
            Request::Lock(request) => self.perform_lock(request).await?,
            Request::Election(request) => self.perform_election(request).await?,
            Request::Maintenance(request) => self.perform_maintenance(request).await?,
            Request::Auth(request) => self.perform_auth(request).await?,
        })
    }

    /// What the member says of itself.
    pub async fn status(&self) -> Result<Answered<pb::StatusResponse>, CallError> {
        let mut stub = self.maintenance();
        self.unary(pb::StatusRequest {}, |message| stub.status(message)).await
    }

    /// The hash of the store's content at a revision; 0 for the newest. Equal on members that have compacted alike.
    pub async fn hash_kv(&self, revision: Revision) -> Result<pb::HashKvResponse, CallError> {
        let mut stub = self.maintenance();
        let request = pb::HashKvRequest { revision: revision.0 };
        Ok(self.unary(request, |message| stub.hash_kv(message)).await?.message)
    }

    /// The alarms that stand in the cluster.
    pub async fn alarms(&self) -> Result<pb::AlarmResponse, CallError> {
        self.alarm(pb::AlarmRequest::default()).await
    }

    /// Asks for, raises or clears alarms.
    pub async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, CallError> {
        let mut stub = self.maintenance();
        Ok(self.unary(request, |message| stub.alarm(message)).await?.message)
    }

    /// Rewrites the member's database without its holes; the member answers nothing else meanwhile.
    pub async fn defragment(&self) -> Result<pb::DefragmentResponse, CallError> {
        let mut stub = self.maintenance();
        Ok(self.unary(pb::DefragmentRequest {}, |message| stub.defragment(message)).await?.message)
    }

    /// The members as this one knows them, or as the cluster agrees on if `linearizable`.
    pub async fn member_list(&self, linearizable: bool) -> Result<pb::MemberListResponse, CallError> {
        let mut stub = ClusterClient::with_origin(self.tap(), self.origin());
        Ok(self
            .unary(pb::MemberListRequest { linearizable }, |message| stub.member_list(message))
            .await?
            .message)
    }

    /// The lease service's stub on this member's channel.
    pub fn lease(&self) -> LeaseClient<Tap> {
        LeaseClient::with_origin(self.tap(), self.origin())
    }

    /// The watch service's stub on this member's channel.
    pub fn watch(&self) -> WatchClient<Tap> {
        WatchClient::with_origin(self.tap(), self.origin()).max_decoding_message_size(ANSWER_AT_MOST_BYTES)
    }

    /// The maintenance service's stub on this member's channel.
    pub fn maintenance(&self) -> MaintenanceClient<Tap> {
        MaintenanceClient::with_origin(self.tap(), self.origin())
    }

    /// What takes several messages has the deadline as a whole.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let answered = tokio::time::timeout(self.deadline, answer).await;
        answered.unwrap_or(Err(CallError::Deadline { after: self.deadline }))
    }

    fn origin(&self) -> Uri {
        self.endpoint().uri.clone()
    }

    /// A message with this client's metadata, without a deadline.
    pub fn request<Q>(&self, message: Q) -> tonic::Request<Q> {
        let mut request = tonic::Request::new(message);
        if self.require_leader {
            request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
        }
        request
    }

    /// One call with this client's deadline and metadata; `send` is a stub's method.
    pub async fn unary<Q, A, F>(
        &self,
        message: Q,
        send: impl FnOnce(tonic::Request<Q>) -> F,
    ) -> Result<Answered<A>, CallError>
    where
        F: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
    {
        let mut request = self.request(message);
        request.set_timeout(self.deadline);
        let answered = tokio::time::timeout(self.deadline, send(request)).await;
        let response = answered
            .map_err(|_| CallError::Deadline { after: self.deadline })?
            .map_err(|status| call_error(&status))?;
        let connection = response.extensions().get::<ConnectionId>().copied();
        let connection = connection.expect("the channel marks each answer with its connection");
        Ok(Answered { message: response.into_inner(), connection })
    }
}

impl<T> Answered<T> {
    fn try_map<U>(
        self,
        map: impl FnOnce(T) -> Result<U, MalformedAnswer>,
    ) -> Result<Answered<U>, MalformedAnswer> {
        Ok(Answered { message: map(self.message)?, connection: self.connection })
    }
}

/// What h2 says of streams whose connection is dropped, which is done to one that leaves a probe unanswered.
const DROPPED: &str = "stream closed because of a broken pipe";
/// The same in words for people.
pub const SILENT: &str = "the member fell silent: it left a probe of the connection unanswered";

/// Tells a status that the server sent from one that tonic made of an error of the channel.
pub fn call_error(status: &tonic::Status) -> CallError {
    let mut source = status.source();
    if source.is_none() {
        return CallError::Status { code: status.code(), message: status.message().to_owned() };
    }
    let mut words = vec![];
    while let Some(error) = source {
        if let Some(ChannelError::NotSent(not_sent)) = error.downcast_ref() {
            return CallError::NotSent(Arc::clone(not_sent));
        }
        words.push(error.to_string());
        source = error.source();
    }
    words.dedup();
    if words.last().is_some_and(|last| last == DROPPED) {
        return CallError::Transport(SILENT.to_owned());
    }
    CallError::Transport(words.join(": "))
}
