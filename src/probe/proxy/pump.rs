//! Moves the body of one HTTP/2 stream into another, at the pace of its reader: what one side may send is what the
//! other side has taken. In go the two ends of a stream, out come the bytes, the trailers or the side that broke.
//! It knows nothing of gRPC.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tonic::codegen::http::HeaderMap;

/// Why a stream can't go on.
#[derive(Debug)]
pub enum Cut {
    /// The side that it came from broke it.
    Source(h2::Error),
    /// The side that it goes to broke it.
    Target,
}

/// What comes next of a body.
pub enum Part {
    /// A piece of it.
    Data(Bytes),
    /// Its end.
    End(Option<HeaderMap>),
}

/// The next part of a body, unless the side that it goes to breaks first.
pub async fn next(from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Result<Part, Cut> {
    poll_fn(|context| match poll_next(from, context) {
        Poll::Pending => to.poll_reset(context).map(|_| Err(Cut::Target)),
        Poll::Ready(part) => Poll::Ready(part.map_err(Cut::Source)),
    })
    .await
}

/// The next part of a body.
pub fn poll_next(from: &mut RecvStream, context: &mut Context<'_>) -> Poll<Result<Part, h2::Error>> {
    match from.poll_data(context) {
        Poll::Ready(Some(data)) => Poll::Ready(data.map(Part::Data)),
        Poll::Ready(None) => from.poll_trailers(context).map_ok(Part::End),
        Poll::Pending => Poll::Pending,
    }
}

/// Moves a whole body with its trailers.
pub async fn all(from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Result<(), Cut> {
    loop {
        match next(from, to).await? {
            Part::Data(data) => {
                let (length, last) = (data.len(), from.is_end_stream());
                send(to, data, last).await.map_err(|_| Cut::Target)?;
                if last {
                    return Ok(());
                }
                from.flow_control().release_capacity(length).map_err(Cut::Source)?;
            }
            Part::End(trailers) => return end(to, trailers).map_err(|_| Cut::Target),
        }
    }
}

/// Ends a body.
pub fn end(to: &mut SendStream<Bytes>, trailers: Option<HeaderMap>) -> Result<(), h2::Error> {
    match trailers {
        Some(trailers) => to.send_trailers(trailers),
        None => to.send_data(Bytes::new(), true),
    }
}

/// Sends all of it, as fast as the reader takes it; `last` ends the body.
pub async fn send(to: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> Result<(), h2::Error> {
    if data.is_empty() {
        return to.send_data(data, last);
    }
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let granted = poll_fn(|context| poll_capacity(to, context)).await?;
        let piece = data.split_to(granted.min(data.len()));
        to.send_data(piece, last && data.is_empty())?;
    }
    Ok(())
}

fn poll_capacity(to: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<Result<usize, h2::Error>> {
    loop {
        if to.capacity() > 0 {
            return Poll::Ready(Ok(to.capacity()));
        }
        match to.poll_capacity(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => return Poll::Ready(Err(h2::Reason::CANCEL.into())),
        }
    }
}
