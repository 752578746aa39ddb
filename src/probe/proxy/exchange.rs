//! One call on its way: the request's messages to the member, the answer's to the client, heads and trailers, resets
//! and cuts included. Where nobody looks at the call, its bytes pass as they come; else message by message, each told
//! to the [`Watched`] of the call, which says what goes on in its place. It must not know why.

mod answer;
mod by_message;

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use tokio::{sync::Notify, task::JoinSet};
use tonic::codegen::http::{Request, Response, StatusCode, Uri, request, response, uri::Scheme};

use super::{
    lies::rule::End,
    messages::Held,
    pump::{self, Cut},
    record::StopRecording,
    watched::{Ending, Watched},
};
use crate::client::http2::{Begun, SendError, Sender};

/// A call that a client has begun.
pub struct Call {
    /// Head and body.
    pub request: Request<RecvStream>,
    /// Where the answer goes.
    pub respond: SendResponse<Bytes>,
}

/// What the calls of a connection share.
#[derive(Clone)]
pub struct Way {
    /// The connection to the member.
    pub member: Sender,
    /// The member's address.
    pub address: Uri,
    /// What unfinished messages hold.
    pub held: Held,
    /// What calls ask of their connection.
    pub wishes: std::sync::Arc<Wishes>,
}

/// What calls ask of their connection.
#[derive(Debug, Default)]
pub struct Wishes {
    /// That it ends.
    pub close: Notify,
    /// That it takes no further calls.
    pub goaway: Notify,
}

/// How an exchange ended, if not as it should.
enum Over {
    /// The client broke it, or is gone.
    Client,
    /// The member reset the stream.
    Reset(h2::Reason),
    /// The connection to the member broke.
    Member(String),
    /// A rule says so, or a bound of the proxy.
    Rule(End),
    /// The history can't be written; the proxy is about to end.
    Unrecorded,
}

impl From<StopRecording> for Over {
    fn from(_: StopRecording) -> Self {
        Self::Unrecorded
    }
}

/// Sends the call to the member that the way leads to, in a task of its own. What such a task is made of moves with it,
/// so it is kept small: heads are sent before anything else is waited for.
pub fn spawn(call: Call, way: Way, watched: Option<Box<Watched>>, exchanges: &mut JoinSet<()>) {
    let Call { request, mut respond } = call;
    let (mut asked, body) = request.into_parts();
    let mut parts = asked.uri.into_parts();
    parts.scheme = way.address.scheme().cloned().or(Some(Scheme::HTTP));
    parts.authority = way.address.authority().cloned();
    let Ok(uri) = Uri::from_parts(parts) else {
        // CONNECT, which has no path.
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::NOT_IMPLEMENTED;
        // Whoever is gone needs no answer.
        let _ = respond.send_response(Response::from_parts(head, ()), true);
        return;
    };
    asked.uri = uri;
    match watched {
        None => exchanges.spawn(plain(asked, body, respond, way)),
        Some(watched) => exchanges.spawn(by_message::forward(Box::new(asked), body, respond, way, watched)),
    };
}

/// What is left to do when a call is over.
async fn finish(over: Result<(), Over>, mut respond: SendResponse<Bytes>) {
    match over {
        Ok(()) | Err(Over::Client | Over::Rule(_)) => {}
        Err(Over::Reset(reason)) => respond.send_reset(reason),
        // The whole connection is about to end: a reset of this stream alone would tell the client something else.
        Err(Over::Member(_) | Over::Unrecorded) => pending().await,
    }
}

/// Waits until the member's connection takes a request.
async fn ready(way: &mut Way) -> Result<(), Over> {
    way.member.ready().await.map_err(unsent)
}

/// Sends the request's head on.
fn begin(head: request::Parts, ended: bool, way: &mut Way) -> Result<Begun, Over> {
    way.member.begin(Request::from_parts(head, ()), ended).map_err(unsent)
}

fn unsent(error: SendError) -> Over {
    match error {
        SendError::NotSent(error) | SendError::Broken(error) => Over::Member(error.to_string()),
        SendError::Body(status) => Over::Member(status.to_string()),
    }
}

/// Drives both ways until the answer is over, or either way breaks.
async fn both(
    asked: Pin<&mut impl Future<Output = Result<(), Over>>>,
    mut answered: Pin<&mut impl Future<Output = Result<(), Over>>>,
) -> Result<(), Over> {
    let mut asked = Some(asked);
    poll_fn(|context| {
        match asked.as_mut().map(|asked| asked.as_mut().poll(context)) {
            Some(Poll::Ready(Err(over))) => return Poll::Ready(Err(over)),
            Some(Poll::Ready(Ok(()))) => asked = None,
            Some(Poll::Pending) | None => {}
        }
        answered.as_mut().poll(context)
    })
    .await
}

/// A call that nobody looks at.
#[expect(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
fn plain(
    asked: request::Parts,
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
    mut way: Way,
) -> impl Future<Output = ()> + Send {
    async move {
        let ended = body.is_end_stream();
        let begun = ready(&mut way).await.and_then(|()| begin(asked, ended, &mut way));
        let over = match begun {
            Err(over) => Err(over),
            Ok(Begun { answer, stream, under_way: _under_way }) => {
                let asking = pin!(plain_request(body, stream));
                let answering = pin!(plain_answer(answer, &mut respond));
                both(asking, answering).await
            }
        };
        finish(over, respond).await;
    }
}

async fn plain_request(mut body: RecvStream, mut stream: SendStream<Bytes>) -> Result<(), Over> {
    if body.is_end_stream() {
        return Ok(());
    }
    match pump::all(&mut body, &mut stream).await {
        Err(Cut::Source(_)) => Err(Over::Client),
        // What the member makes of it is told by its answer.
        Ok(()) | Err(Cut::Target) => Ok(()),
    }
}

async fn plain_answer(answer: ResponseFuture, respond: &mut SendResponse<Bytes>) -> Result<(), Over> {
    let (head, mut body) = head(answer, respond).await?;
    let ended = body.is_end_stream();
    let sent = respond.send_response(Response::from_parts(head, ()), ended);
    let mut stream = sent.map_err(|_| Over::Client)?;
    if ended { Ok(()) } else { pump::all(&mut body, &mut stream).await.map_err(over) }
}

/// The answer's head, unless the client loses patience first.
async fn head(
    mut answer: ResponseFuture,
    respond: &mut SendResponse<Bytes>,
) -> Result<(response::Parts, RecvStream), Over> {
    let answer = poll_fn(|context| match Pin::new(&mut answer).poll(context) {
        Poll::Pending => respond.poll_reset(context).map(|_| Err(Cut::Target)),
        Poll::Ready(answer) => Poll::Ready(answer.map_err(Cut::Source)),
    });
    Ok(answer.await.map_err(over)?.into_parts())
}

/// What a break of an answer means: its source is the member.
fn over(cut: Cut) -> Over {
    match cut {
        Cut::Target => Over::Client,
        Cut::Source(error) => match error.reason().filter(|_| error.is_reset()) {
            Some(reason) => Over::Reset(reason),
            None => Over::Member(error.to_string()),
        },
    }
}

impl Over {
    /// How the call ended, for whoever watches it; none if that is told elsewhere.
    fn ending(&self) -> Option<Ending> {
        match self {
            Self::Client => Some(Ending::ClientBroke),
            Self::Reset(reason) => Some(Ending::MemberReset(*reason)),
            Self::Member(why) => Some(Ending::MemberBroke(why.clone())),
            Self::Rule(_) | Self::Unrecorded => None,
        }
    }
}
