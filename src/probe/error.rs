//! What can go wrong in the probe, in one line for people: what failed, where, and what to do; and the exit status
//! that belongs to it. Words of servers pass through here before they reach a terminal, and are made harmless.

use std::{io, path::PathBuf};

use serde_json::{Value, json};
use tonic::Code;

use super::{
    encoding::{EncodingError, escaped, quoted},
    text::Place,
    transaction::TransactionError,
};
use crate::{
    client::{CallError, SILENT, channel::NotSent, outcome::code_name, tls::TlsError},
    exit::ExitStatus,
    history::HistoryError,
    report::totals::counted,
    settings::{Endpoint, SettingsError},
};

/// Why the probe could not do what was asked, before any member was.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The flags or the environment.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key or value.
    #[error("{0}; leave --hex or --base64 out for text")]
    Encoding(#[from] EncodingError),
    /// The transaction's text.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// No endpoint has the name.
    #[error("{} is none of the members; choose one of these, or its place from 0: {known}", quoted(name))]
    NoSuchMember {
        /// As it was typed.
        name: String,
        /// What there is.
        known: String,
    },
    /// There is nothing to work on.
    #[error("{0}")]
    Nothing(&'static str),
    /// More than one member was meant where one is.
    #[error("this can be asked of one member only; name it with --member")]
    OneMember,
    /// The member that is needed did not answer.
    #[error("{} did not answer, so its ID is not known; give the ID", quoted(name))]
    NoAnswer {
        /// As it was typed.
        name: String,
    },
    /// The command makes its answer of several messages.
    #[error("{command} has no answer in bytes; choose -o text, json or jsonl")]
    NoBytes {
        /// The command.
        command: &'static str,
    },
    /// The protocol has no message of this name.
    #[error(
        "there is no type {}; types are such as PutRequest, KV/Range (its request) or etcdserverpb.RangeResponse",
        quoted(name)
    )]
    NoSuchType {
        /// As it was typed.
        name: String,
    },
    /// What was read is not in the form that was said.
    #[error("{why}")]
    Form {
        /// What is wrong.
        why: String,
    },
    /// The JSON is no message of the type.
    #[error("message {place}: {why}")]
    Json {
        /// From 1.
        place: usize,
        /// What is wrong.
        why: String,
    },
    /// Messages that nothing would tell apart.
    #[error("several messages can only be told apart in frames; add --framed")]
    SeveralMessages,
    /// A file can't be written.
    #[error("can't write {}: {source}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The input can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file; `-` for the standard input.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A history can't be kept.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A rule of the proxy.
    #[error("the rules of {from} go wrong at {place}")]
    Rules {
        /// The file or flag.
        from: String,
        /// Where.
        place: Place,
    },
    /// A port can't be listened on.
    #[error("can't listen on {place}: {source}; choose another with --listen")]
    Listen {
        /// The address.
        place: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Neither one address nor one for each member.
    #[error("--listen has {} for {}; write one for each, or one for all", counted(*places, "place"), counted(*members, "member"))]
    Listeners {
        /// Addresses.
        places: usize,
        /// Members.
        members: usize,
    },
    /// The output can't be written.
    #[error("can't write the output: {0}")]
    Write(io::Error),
    /// The runtime can't be started.
    #[error("can't start: {0}")]
    Runtime(io::Error),
}

impl ProbeError {
    /// The exit status that belongs to it.
    pub fn status(&self) -> ExitStatus {
        match self {
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Holds,
            Self::Write(_)
            | Self::Save { .. }
            | Self::Runtime(_)
            | Self::Listen { .. }
            | Self::History(_) => ExitStatus::Surroundings,
            _ => ExitStatus::Usage,
        }
    }
}

/// Why one member has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer can't be read.
    #[error("the answer is no {message}: {why}")]
    Garbage {
        /// What it should have been.
        message: String,
        /// Where it goes wrong.
        why: String,
    },
    /// What came is of the protocol, but can't be.
    #[error("{0}")]
    Strange(String),
}

impl AskError {
    /// The member ended a stream on which it still had to answer.
    pub fn ended() -> Self {
        CallError::Transport("the member ended the stream without an answer".to_owned()).into()
    }

    /// What came is of the protocol, but can't be.
    pub fn strange(what: &str) -> Self {
        Self::Strange(what.to_owned())
    }

    /// Whether the member was not reached, or fell silent.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Call(CallError::NotSent(_) | CallError::Deadline { .. } | CallError::Transport(_)) => true,
            Self::Call(_) | Self::Garbage { .. } | Self::Strange(_) => false,
        }
    }

    /// Whether the member refuses the user or the password.
    pub fn is_login_refused(&self) -> bool {
        match self {
            Self::Call(CallError::NotSent(error)) => matches!(**error, NotSent::Authenticate { .. }),
            _ => false,
        }
    }

    /// The reason alone, harmless on a terminal, on one line.
    pub fn reason(&self) -> String {
        escaped(self.to_string().as_bytes())
    }

    /// One line: the member, the reason and what to do.
    pub fn line(&self, endpoint: &Endpoint) -> String {
        let reason = self.reason();
        let place = endpoint.to_string();
        let place = if reason.contains(&place) { String::new() } else { format!("{place}: ") };
        match self.advice(endpoint) {
            Some(advice) => format!("{place}{reason}; {advice}"),
            None => format!("{place}{reason}"),
        }
    }

    /// The same for programs.
    pub fn json(&self, endpoint: &Endpoint) -> Value {
        let code = match self {
            Self::Call(CallError::Status { code, .. }) => code_name(*code),
            Self::Call(CallError::Deadline { .. }) => "deadline_exceeded",
            Self::Call(CallError::NotSent(_) | CallError::Transport(_)) => "unavailable",
            Self::Call(CallError::Malformed(_)) | Self::Garbage { .. } | Self::Strange(_) => "internal",
        };
        json!({ "code": code, "message": self.to_string(), "advice": self.advice(endpoint) })
    }

    fn advice(&self, endpoint: &Endpoint) -> Option<&'static str> {
        const NO_ETCD: &str = "see with --wire whether an etcd listens there";
        Some(match self {
            Self::Call(CallError::NotSent(_) | CallError::Transport(_))
                if self.to_string().contains("CertificateRequired") =>
            {
                "the member wants a client's certificate; give one with --cert and --key"
            }
            Self::Call(CallError::Transport(why)) if why == SILENT => "see whether the member runs",
            Self::Call(CallError::NotSent(not_sent)) => match &**not_sent {
                NotSent::Resolve { .. } => "check the host's name in --endpoints",
                NotSent::Connect { .. } => "check --endpoints and whether the member runs",
                NotSent::TimedOut { .. } => "check the network, or raise --dial-timeout",
                NotSent::Http { .. } | NotSent::Closed { .. } => not_http(endpoint),
                NotSent::Tls { .. } | NotSent::Authenticate { .. } => return None,
            },
            Self::Call(CallError::Deadline { .. }) => {
                "see whether the member runs and has a leader, or raise --command-timeout"
            }
            Self::Call(CallError::Transport(_)) => not_http(endpoint),
            Self::Call(CallError::Status { code: Code::Unauthenticated, .. }) => {
                "check --user and its password"
            }
            Self::Call(CallError::Status { code: Code::PermissionDenied, .. }) => {
                "ask as a user with that right, with --user"
            }
            Self::Call(CallError::Status { code: Code::InvalidArgument, message })
                if message.contains("user name is empty") =>
            {
                "the cluster wants a user; give one with --user"
            }
            Self::Call(CallError::Status { code: Code::InvalidArgument, message })
                if message.contains("key is not provided") =>
            {
                "give a key, or --prefix with '' for all keys"
            }
            Self::Call(CallError::Status { code: Code::Unimplemented, .. } | CallError::Malformed(_))
            | Self::Garbage { .. } => NO_ETCD,
            Self::Call(CallError::Status { .. }) | Self::Strange(_) => return None,
        })
    }
}

fn not_http(endpoint: &Endpoint) -> &'static str {
    if endpoint.is_tls() {
        "see whether an etcd listens there"
    } else {
        "see whether an etcd listens there, and whether it wants https://"
    }
}
