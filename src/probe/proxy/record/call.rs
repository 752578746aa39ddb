//! One call, recorded: its messages as operations or as those of a stream, by the method's path. In go the messages
//! as they pass and the call's end, out come records.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tonic::{Code, Status};

use super::{Lanes, StopRecording, UnderWay};
use crate::{
    client::{
        CallError, outcome,
        wire::{
            MalformedAnswer,
            request::{self, Unreadable},
            service, stream,
        },
    },
    operation::{
        Answer, Failure, Outcome, Request, Response,
        service::{LeaseAnswer, LeaseRequest, MaintenanceRequest},
        stream::{Received, Sent},
    },
    probe::{proxy::watched::Ending, wire::Frame},
    proto::etcdserverpb as pb,
    types::{ProcessId, StreamId},
};

/// A call that is recorded.
pub struct Recorded {
    lanes: Arc<Lanes>,
    path: String,
    kind: Kind,
}

/// What the messages of a method make in a history.
enum Kind {
    /// One operation.
    Unary { under_way: Option<UnderWay>, answer: Option<Bytes> },
    /// An operation for each message, answered in order.
    KeepAlive { under_way: VecDeque<UnderWay> },
    /// One operation, whose answer is counted.
    Snapshot { under_way: Option<UnderWay>, header: Option<pb::ResponseHeader>, bytes: u64 },
    /// A stream.
    Watch(Option<(StreamId, ProcessId)>),
    /// A stream with one message to the member.
    Observe(Option<(StreamId, ProcessId)>),
}

/// Why a message is not in the history.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// Nothing can be recorded any more.
    #[error("the history can't be written")]
    Stop,
    /// It can't be read.
    #[error("a message of {path} is not in the history: {why}")]
    Unreadable {
        /// The method.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl From<StopRecording> for Missing {
    fn from(_: StopRecording) -> Self {
        Self::Stop
    }
}

impl Recorded {
    /// A call of this path; none if histories have no words for it.
    pub fn begin(lanes: &Arc<Lanes>, path: &str) -> Option<Self> {
        let kind = match path {
            "/etcdserverpb.Watch/Watch" => Kind::Watch(None),
            "/v3electionpb.Election/Observe" => Kind::Observe(None),
            "/etcdserverpb.Lease/LeaseKeepAlive" => Kind::KeepAlive { under_way: VecDeque::new() },
            "/etcdserverpb.Maintenance/Snapshot" => {
                Kind::Snapshot { under_way: None, header: None, bytes: 0 }
            }
            _ if request::is_known(path) => Kind::Unary { under_way: None, answer: None },
            _ => return None,
        };
        Some(Self { lanes: Arc::clone(lanes), path: path.to_owned(), kind })
    }

    /// Writes what was recorded, of this call and others.
    pub fn flush(&self) -> Result<(), StopRecording> {
        self.lanes.recording.flush()
    }

    /// A message of the client, before it goes on.
    pub fn asked(&mut self, frame: &Frame) -> Result<(), Missing> {
        let asked = self.try_asked(frame);
        asked.map_err(|error| self.missing(error))
    }

    /// A message for the client, before it goes on.
    pub fn answered(&mut self, frame: &Frame) -> Result<(), Missing> {
        let answered = self.try_answered(frame);
        answered.map_err(|error| self.missing(error))
    }

    fn missing(&self, error: Error) -> Missing {
        match error {
            Error::Stop => Missing::Stop,
            Error::Unreadable(why) => Missing::Unreadable { path: self.path.clone(), why: why.to_string() },
        }
    }

    fn try_asked(&mut self, frame: &Frame) -> Result<(), Error> {
        let message = readable(frame)?;
        let lanes = &self.lanes;
        match &mut self.kind {
            Kind::Unary { under_way, .. } => {
                if let (None, Some(request)) = (&under_way, request::request(&self.path, message)?) {
                    *under_way = Some(lanes.call(request)?);
                }
            }
            Kind::KeepAlive { under_way } => {
                let request = LeaseRequest::KeepAlive { lease: request::keep_alive(message)? };
                under_way.push_back(lanes.call(Request::Lease(request))?);
            }
            Kind::Snapshot { under_way, .. } => {
                *under_way = Some(lanes.call(Request::Maintenance(MaintenanceRequest::Snapshot {}))?);
            }
            Kind::Watch(stream) => {
                if let Some(sent) = request::watch(message)? {
                    send(lanes, stream, &sent)?;
                }
            }
            Kind::Observe(stream) => {
                send(lanes, stream, &Sent::Observe { name: request::observed(message)? })?;
            }
        }
        Ok(())
    }

    fn try_answered(&mut self, frame: &Frame) -> Result<(), Error> {
        let message = readable(frame)?;
        let lanes = &self.lanes;
        match &mut self.kind {
            // Not an outcome before the status is there.
            Kind::Unary { answer, .. } => *answer = Some(message),
            Kind::KeepAlive { under_way } => {
                let response = request::response(&self.path, message)?;
                if let Some(place) = under_way.iter().position(|call| answers(&response, &call.request)) {
                    let call = under_way.remove(place).expect("the place is in the queue");
                    call.returns(&Outcome::Ok(response))?;
                }
            }
            Kind::Snapshot { header, bytes, .. } => {
                let part: pb::SnapshotResponse = request::decode(message)?;
                *bytes += part.blob.len() as u64;
                *header = header.take().or(part.header);
            }
            Kind::Watch(stream) => {
                receive(lanes, stream.as_ref(), &stream::watch_response(request::decode(message)?)?)?;
            }
            Kind::Observe(stream) => {
                receive(lanes, stream.as_ref(), &stream::leader_response(request::decode(message)?)?)?;
            }
        }
        Ok(())
    }

    /// The call is over; to be told before the client is.
    pub fn over(&mut self, ending: &Ending) -> Result<(), StopRecording> {
        match &mut self.kind {
            Kind::Unary { under_way, answer } => {
                let Some(call) = under_way.take() else { return Ok(()) };
                let answer = answer.take().map(|answer| request::response(&self.path, answer));
                let outcome = outcome(&call.request, ending, answer);
                call.returns(&outcome)
            }
            Kind::KeepAlive { under_way } => under_way.drain(..).try_for_each(|call| {
                let outcome = outcome(&call.request, ending, None);
                call.returns(&outcome)
            }),
            Kind::Snapshot { under_way, header, bytes } => {
                let Some(call) = under_way.take() else { return Ok(()) };
                let answer = Ok(service::snapshot(header.as_ref(), *bytes));
                let outcome = outcome(&call.request, ending, Some(answer));
                call.returns(&outcome)
            }
            Kind::Watch(stream) | Kind::Observe(stream) => {
                let Some((stream, _)) = stream.take() else { return Ok(()) };
                self.lanes.recording.end(stream, failure(ending).as_ref())
            }
        }
    }
}

/// Why something could not be recorded.
enum Error {
    Stop,
    Unreadable(Unreadable),
}

impl From<StopRecording> for Error {
    fn from(_: StopRecording) -> Self {
        Self::Stop
    }
}

impl From<Unreadable> for Error {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl From<MalformedAnswer> for Error {
    fn from(error: MalformedAnswer) -> Self {
        Self::Unreadable(error.into())
    }
}

fn readable(frame: &Frame) -> Result<Bytes, Unreadable> {
    if frame.flag == 0 { Ok(frame.message.clone()) } else { Err(Unreadable::Unusual("been compressed")) }
}

fn answers(response: &Response, request: &Request) -> bool {
    match (&response.answer, request) {
        (
            Answer::Lease(LeaseAnswer::KeepAlive { lease, .. }),
            Request::Lease(LeaseRequest::KeepAlive { lease: asked }),
        ) => lease == asked,
        _ => false,
    }
}

fn send(
    lanes: &Arc<Lanes>,
    stream: &mut Option<(StreamId, ProcessId)>,
    sent: &Sent,
) -> Result<(), StopRecording> {
    if stream.is_none() {
        *stream = Some((lanes.recording.stream(), lanes.take()?));
    }
    let (id, process) = stream.expect("it was just set");
    lanes.recording.send(id, process, &lanes.member, sent)
}

fn receive(
    lanes: &Arc<Lanes>,
    stream: Option<&(StreamId, ProcessId)>,
    received: &Received,
) -> Result<(), StopRecording> {
    // A member that speaks before it was asked is no stream of a history.
    stream.map_or(Ok(()), |(id, _)| lanes.recording.receive(*id, received))
}

/// What became of an operation whose call ended so, with this answer.
fn outcome(request: &Request, ending: &Ending, answer: Option<Result<Response, Unreadable>>) -> Outcome {
    let error = match ending {
        Ending::Status(trailers) => match Status::from_header_map(trailers) {
            Some(status) if status.code() == Code::Ok => match answer {
                Some(Ok(response)) => return Outcome::Ok(response),
                Some(Err(error)) => CallError::Transport(format!("a malformed answer: {error}")),
                None => CallError::Transport("there is no answer".to_owned()),
            },
            Some(status) => CallError::Status { code: status.code(), message: status.message().to_owned() },
            None => CallError::Transport("the answer has no status".to_owned()),
        },
        Ending::MemberReset(reason) => CallError::Transport(format!("the stream was reset: {reason}")),
        Ending::MemberBroke(why) => CallError::Transport(why.clone()),
        Ending::ClientBroke => {
            let failure = Failure { code: "cancelled".to_owned(), message: "the client gave up".to_owned() };
            return Outcome::Unknown(failure);
        }
    };
    outcome::of_error(request, &error)
}

/// What ended a stream; none if the client did.
fn failure(ending: &Ending) -> Option<Failure> {
    let (code, message) = match ending {
        Ending::ClientBroke => return None,
        Ending::MemberReset(reason) => ("unavailable", format!("the stream was reset: {reason}")),
        Ending::MemberBroke(why) => ("unavailable", why.clone()),
        Ending::Status(trailers) => match Status::from_header_map(trailers) {
            Some(status) if status.code() == Code::Ok => ("ok", "the member ended the stream".to_owned()),
            Some(status) => (outcome::code_name(status.code()), status.message().to_owned()),
            None => ("unknown", "the answer has no status".to_owned()),
        },
    };
    Some(Failure { code: code.to_owned(), message })
}
