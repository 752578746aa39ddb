//! Arguments of the commands that ask nobody.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::examples;
use crate::probe::decode::form::Form;

const DECODE_EXAMPLES: &str = "\
Examples:
  etcd-probe decode --bytes 0a0161120131
  etcd-probe decode --type PutRequest -o json body.bin
  etcd-probe range k -o proto --member all | etcd-probe decode --type RangeResponse
  etcd-probe decode --from raw client.bin --answers server.bin

A type that is not given is guessed for each message, and how sure the guess is
stands beside it; what travels most is likeliest. Passwords and tokens are hidden
where the type is given, or at least 90 % sure. The exit code is 1 if bytes make no
sense as a message. Bytes that begin with 00 or 01 are taken for gRPC frames, since
no message begins so. A direction of an HTTP/2 connection, as a tool for packet
captures extracts it (in Wireshark: Follow TCP stream, one direction, save as raw),
is recognised if it begins where the connection does.";

const ENCODE_EXAMPLES: &str = "\
Examples:
  etcd-probe encode PutRequest '{\"key\": \"a\", \"value\": \"1\", \"lease\": 31}'
  etcd-probe encode --framed --to raw KV/Range < ranges.jsonl > body.bin

Fields have the protocol's names, as in what decode -o json prints, which encode
reads back. Several objects make several messages, each in a frame of its own.";

/// Arguments of decode.
#[derive(Debug, Args)]
#[command(after_help = DECODE_EXAMPLES)]
pub struct DecodeArguments {
    /// The file; - or nothing is the standard input
    pub file: Option<PathBuf>,
    /// The bytes themselves, in hex or base64; as they are only with --from raw
    #[arg(long, value_name = "BYTES", conflicts_with = "file")]
    pub bytes: Option<OsString>,
    /// The form that bytes are in
    #[arg(long, value_enum, default_value_t)]
    pub from: Form,
    /// The type of all messages, such as PutRequest or etcdserverpb.PutRequest
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// What the bytes are
    #[arg(long = "as", value_enum, default_value_t)]
    pub meaning: Meaning,
    /// The other direction of the same HTTP/2 connection, from the member
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
}

/// What bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Meaning {
    /// What they look like
    #[default]
    Auto,
    /// One message
    Message,
    /// Messages in gRPC's frames of flag and length
    Frames,
    /// The direction to the member of an HTTP/2 connection
    Requests,
    /// The direction from the member
    Answers,
}

/// Arguments of encode.
#[derive(Debug, Args)]
#[command(after_help = ENCODE_EXAMPLES)]
pub struct EncodeArguments {
    /// The type, such as PutRequest, or a method whose request it is, such as KV/Put
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// The message as JSON; read from the standard input if it is left out
    pub json: Option<String>,
    /// Put each message in a gRPC frame
    #[arg(long)]
    pub framed: bool,
    /// The form of the bytes
    #[arg(long, value_enum, default_value_t)]
    pub to: EncodedForm,
}

/// A form of bytes to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EncodedForm {
    #[default]
    Hex,
    Base64,
    Raw,
}

/// Arguments of completions.
#[derive(Debug, Args)]
#[command(after_help = examples::COMPLETIONS)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}
