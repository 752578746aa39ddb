//! A call that is watched, message by message. The request's first message decides whether the member hears of the
//! call at all; from then on both ways go on their own. In go both sides of the call, out come the messages that
//! [`Watched`] puts in the place of those that came.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use tonic::{
    Code,
    codegen::http::{HeaderMap, HeaderName, request},
};

use super::{Begun, Over, Way, answer::Answer, begin, both, finish, head, over, ready};
use crate::probe::proxy::{
    lies::{Answering, Asking, Fate, Out, rule::End},
    messages::{Held, Messages, Next, Stopped, framed},
    pump::{self, Cut},
    watched::{Ending, Watched},
};

/// What the client would take beside plain messages, which alone can be read here.
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Sends a call to the member.
pub async fn forward(
    mut asked: Box<request::Parts>,
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
    mut way: Way,
    watched: Box<Watched>,
) {
    asked.headers.remove(ACCEPTED);
    let over = watch(asked, body, &mut respond, &mut way, watched).await;
    finish(over, respond).await;
}

async fn watch(
    asked: Box<request::Parts>,
    body: RecvStream,
    respond: &mut SendResponse<Bytes>,
    way: &mut Way,
    watched: Box<Watched>,
) -> Result<(), Over> {
    let mut answer = Answer::new(respond);
    let watched = Mutex::new(watched);
    let messages = Messages::new(body, &way.held);
    let passed = pass(asked, messages, &mut answer, way, &watched).await;
    let mut watched = watched.into_inner().unwrap_or_else(PoisonError::into_inner);
    let passed = match passed {
        Err(Over::Rule(end)) => answer.end_by_rule(end, &mut watched, &way.wishes).await,
        passed => passed,
    };
    if let Some(ending) = passed.as_ref().err().and_then(Over::ending) {
        watched.over(&ending)?;
    }
    passed
}

fn lock(watched: &Mutex<Box<Watched>>) -> MutexGuard<'_, Box<Watched>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(
    asked: Box<request::Parts>,
    mut messages: Messages,
    answer: &mut Answer<'_>,
    way: &mut Way,
    watched: &Mutex<Box<Watched>>,
) -> Result<(), Over> {
    let first = poll_fn(|context| match messages.poll_next(context) {
        Poll::Pending => answer.respond().poll_reset(context).map(|_| Err(Over::Client)),
        Poll::Ready(next) => Poll::Ready(next.map_err(|stopped| unread(stopped, |_| Over::Client))),
    });
    let first = match first.await? {
        Next::Message(frame) => {
            let Asking { delay, fate, headers, goaway } = lock(watched).asks(&frame)?;
            if goaway {
                way.wishes.goaway.notify_one();
            }
            answer.wait(delay).await?;
            match fate {
                Fate::Forward(frame) => Next::Message(frame),
                Fate::End(end) => return Err(Over::Rule(end)),
                Fate::Answer(out) => return made_up(out, headers, answer, watched).await,
            }
        }
        other => other,
    };
    let ended = matches!(first, Next::End(None));
    ready(way).await?;
    let Begun { answer: answered, stream, under_way: _under_way } = begin(*asked, ended, way)?;
    let asking = pin!(async { if ended { Ok(()) } else { ask(first, messages, stream, watched).await } });
    both(asking, pin!(answer_passes(answered, answer, watched, &way.held))).await
}

/// An answer that no member gave.
async fn made_up(
    out: Vec<Out>,
    headers: HeaderMap,
    answer: &mut Answer<'_>,
    watched: &Mutex<Box<Watched>>,
) -> Result<(), Over> {
    answer.plain_head(headers)?;
    send_all(out, answer, watched).await?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", tonic::codegen::http::HeaderValue::from_static("0"));
    lock(watched).over(&Ending::Status(trailers.clone()))?;
    answer.end(Some(trailers))
}

/// Sends the request's body on, of which the first part is already decided on.
async fn ask(
    first: Next,
    mut messages: Messages,
    mut stream: SendStream<Bytes>,
    watched: &Mutex<Box<Watched>>,
) -> Result<(), Over> {
    let mut next = first;
    loop {
        let is_over = messages.is_over();
        let sent = match next {
            Next::Message(frame) => {
                pump::send(&mut stream, framed(frame.flag, &frame.message), is_over).await
            }
            Next::CutOff(rest) => pump::send(&mut stream, rest, is_over).await,
            Next::End(trailers) => {
                // What the member makes of a request that it does not take is told by its answer.
                let _ = pump::end(&mut stream, trailers);
                return Ok(());
            }
        };
        if sent.is_err() || is_over {
            return Ok(());
        }
        next = further(&mut messages, watched).await?;
    }
}

/// The next part of a request's body that goes on.
async fn further(messages: &mut Messages, watched: &Mutex<Box<Watched>>) -> Result<Next, Over> {
    loop {
        let next = poll_fn(|context| messages.poll_next(context)).await;
        let frame = match next.map_err(|stopped| unread(stopped, |_| Over::Client))? {
            Next::Message(frame) => frame,
            other => return Ok(other),
        };
        let Asking { delay, fate, .. } = lock(watched).asks(&frame)?;
        tokio::time::sleep(delay).await;
        match fate {
            Fate::Forward(frame) => return Ok(Next::Message(frame)),
            Fate::End(end) => return Err(Over::Rule(end)),
            // Only methods without streams are answered so, and their first message was.
            Fate::Answer(_) => {}
        }
    }
}

/// Passes the member's answer on.
async fn answer_passes(
    answered: ResponseFuture,
    answer: &mut Answer<'_>,
    watched: &Mutex<Box<Watched>>,
    held: &Held,
) -> Result<(), Over> {
    let (mut parts, body) = head(answered, answer.respond()).await?;
    parts.headers.extend(lock(watched).take_headers());
    if body.is_end_stream() {
        lock(watched).over(&Ending::Status(parts.headers.clone()))?;
        return answer.head(parts, true);
    }
    answer.head(parts, false)?;
    let mut messages = Messages::new(body, held);
    loop {
        let stream = answer.stream()?;
        let next = poll_fn(|context| match messages.poll_next(context) {
            Poll::Pending => stream.poll_reset(context).map(|_| Err(Over::Client)),
            Poll::Ready(next) => {
                Poll::Ready(next.map_err(|stopped| unread(stopped, |error| over(Cut::Source(error)))))
            }
        });
        match next.await? {
            Next::Message(frame) => {
                let Answering { delay, out, end } = lock(watched).answers(&frame);
                answer.wait(delay).await?;
                send_all(out, answer, watched).await?;
                if let Some(end) = end {
                    return Err(Over::Rule(end));
                }
            }
            Next::CutOff(rest) => answer.send(Out::CutOff(rest)).await?,
            Next::End(trailers) => {
                let rest = lock(watched).rest();
                send_all(rest, answer, watched).await?;
                lock(watched).over(&Ending::Status(trailers.clone().unwrap_or_default()))?;
                return answer.end(trailers);
            }
        }
    }
}

/// What it means that no more can be read of a body; breaks mean what `broken` says.
fn unread(stopped: Stopped, broken: impl FnOnce(h2::Error) -> Over) -> Over {
    match stopped {
        Stopped::Broken(error) => broken(error),
        Stopped::TooMuch(why) => {
            Over::Rule(End::Fail(Code::ResourceExhausted, format!("etcd-probe proxy: {why}")))
        }
    }
}

/// Sends messages, each told to whoever watches before it goes.
async fn send_all(out: Vec<Out>, answer: &mut Answer<'_>, watched: &Mutex<Box<Watched>>) -> Result<(), Over> {
    for out in out {
        lock(watched).passes(&out)?;
        answer.send(out).await?;
    }
    Ok(())
}
