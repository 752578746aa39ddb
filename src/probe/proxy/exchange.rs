//! One call on its way: the request's messages to the member, the answer's to the client, heads and trailers, resets
//! and cuts included. Where nobody looks at the call, its bytes pass as they come; else message by message, each told
//! to the [`Watched`] of the call, which says what goes on in its place. It must not know why.

mod answer;
mod by_message;

use std::{future::pending, task::Poll};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use tokio::sync::Notify;
use tonic::codegen::http::{Request, Response, Uri, request, response, uri::Scheme};

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
    /// A rule says so.
    Rule(End),
    /// The history can't be written; the proxy is about to end.
    Unrecorded,
}

impl From<StopRecording> for Over {
    fn from(_: StopRecording) -> Self {
        Self::Unrecorded
    }
}

/// Sends the call to the member that the way leads to.
pub async fn forward(call: Call, way: &mut Way, watched: Option<Watched>) {
    let Call { request, mut respond } = call;
    let (mut asked, body) = request.into_parts();
    let mut parts = asked.uri.into_parts();
    parts.scheme = way.address.scheme().cloned().or(Some(Scheme::HTTP));
    parts.authority = way.address.authority().cloned();
    asked.uri = Uri::from_parts(parts).expect("a request of a server has a path");
    let over = match watched {
        None => plain(asked, body, &mut respond, way).await,
        Some(watched) => by_message::forward(asked, body, &mut respond, way, watched).await,
    };
    match over {
        Ok(()) | Err(Over::Client | Over::Rule(_)) => {}
        Err(Over::Reset(reason)) => respond.send_reset(reason),
        // The whole connection is about to end: a reset of this stream alone would tell the client something else.
        Err(Over::Member(_) | Over::Unrecorded) => pending().await,
    }
}

/// Sends the request's head on.
async fn begin(head: request::Parts, ended: bool, way: &mut Way) -> Result<Begun, Over> {
    way.member.begin(Request::from_parts(head, ()), ended).await.map_err(|error| match error {
        SendError::NotSent(error) | SendError::Broken(error) => Over::Member(error.to_string()),
        SendError::Body(status) => Over::Member(status.to_string()),
    })
}

/// Drives both ways until the answer is over, or either way breaks.
async fn both(
    asked: impl Future<Output = Result<(), Over>>,
    answered: impl Future<Output = Result<(), Over>>,
) -> Result<(), Over> {
    let asked_alone = async {
        match asked.await {
            Ok(()) => pending().await,
            Err(over) => Err(over),
        }
    };
    tokio::select! {
        biased;
        over = asked_alone => over,
        over = answered => over,
    }
}

async fn plain(
    asked: request::Parts,
    body: RecvStream,
    respond: &mut SendResponse<Bytes>,
    way: &mut Way,
) -> Result<(), Over> {
    let Begun { answer, stream, under_way: _under_way } = begin(asked, body.is_end_stream(), way).await?;
    both(plain_request(body, stream), plain_answer(answer, respond)).await
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
    let answer = std::future::poll_fn(|context| match std::pin::Pin::new(&mut answer).poll(context) {
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
