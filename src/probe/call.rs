//! One unary call of any method of the protocol, message bytes in and out, so that nothing that a member sends is
//! lost or mended on the way. In go the method's path and an encoded request, out come the answer's bytes.
//! Which member is asked, and with which deadline, is the client's business.

use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

use super::{descriptors, error::AskError};
use crate::client::{
    ANSWER_AT_MOST_BYTES, Client,
    tap::{Tap, Tape},
};

/// A request, ready to be sent to any number of members.
#[derive(Clone, Debug)]
pub struct Call {
    path: &'static str,
    method: MethodDescriptor,
    message: Bytes,
}

/// What a member answered.
#[derive(Clone, Debug)]
pub struct Answer {
    method: MethodDescriptor,
    /// The message, as it came.
    pub bytes: Bytes,
    /// From the call to the whole answer, without the dial if the client was connected.
    pub took: Duration,
}

impl Call {
    /// A call of the method at this path, which the protocol must have.
    pub fn new(path: &'static str, message: &impl Message) -> Self {
        let method = descriptors::method(path).expect("callers name methods of the protocol");
        Self { path, method, message: message.encode_to_vec().into() }
    }

    /// Asks one member, with everything that passes copied to the tape.
    pub async fn send(self, client: &Client, tape: &Tape) -> Result<Answer, AskError> {
        let tap = Tap::new(client.channel().clone(), tape.clone());
        let mut grpc = Grpc::with_origin(tap, client.endpoint().uri.clone())
            .max_decoding_message_size(ANSWER_AT_MOST_BYTES);
        let path = PathAndQuery::from_static(self.path);
        let begun = Instant::now();
        let answered = client
            .unary(self.message, async move |request| {
                grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
                grpc.unary(request, path, Raw).await
            })
            .await?;
        Ok(Answer { method: self.method, bytes: answered.message, took: begun.elapsed() })
    }
}

impl Answer {
    /// The answer as one of the generated types.
    pub fn decode<M: Message + Default>(&self) -> Result<M, AskError> {
        M::decode(self.bytes.clone()).map_err(|error| garbage(&self.method.output(), &error))
    }

    /// The answer with its descriptor, to be shown field by field.
    pub fn dynamic(&self) -> Result<DynamicMessage, AskError> {
        dynamic(&self.method.output(), &self.bytes)
    }
}

/// A member's message with its descriptor, to be shown field by field.
pub fn dynamic(message: &MessageDescriptor, bytes: &Bytes) -> Result<DynamicMessage, AskError> {
    DynamicMessage::decode(message.clone(), bytes.clone()).map_err(|error| garbage(message, &error))
}

/// The error of bytes that are no such message.
pub fn garbage(message: &MessageDescriptor, error: &dyn std::fmt::Display) -> AskError {
    AskError::Garbage { message: message.name().to_owned(), why: error.to_string() }
}

/// Passes messages on as bytes.
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
