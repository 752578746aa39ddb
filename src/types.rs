//! The numbers that etcd and the recorder hand out, each as a type of its own, and bytes as histories show them.
//! Nothing comes in but plain integers and bytes; this module must not know protobuf, the client or files.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty) shown as $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number! {
    /// etcd's counter for the whole store: raised by one with each transaction that changes something.
    Revision(i64) shown as "{}"
}
number! {
    /// Writes to one key since it was created, starting at 1.
    Version(i64) shown as "{}"
}
number! {
    /// A lease; 0 stands for none.
    LeaseId(i64) shown as "{:x}"
}
number! {
    /// A member, as response headers name it.
    MemberId(u64) shown as "{:x}"
}
number! {
    /// A cluster, as response headers name it.
    ClusterId(u64) shown as "{:x}"
}
number! {
    /// The Raft term that a member was in.
    RaftTerm(u64) shown as "{}"
}
number! {
    /// A logical process in the sense of the checkers: it has at most one operation under way.
    /// Unique in a history folder. After an operation of unknown outcome it is never used again.
    ProcessId(u64) shown as "p{}"
}
number! {
    /// One operation; unique in its history file.
    OperationId(u64) shown as "{}"
}
number! {
    /// Nanoseconds of `CLOCK_MONOTONIC`: comparable between all processes and containers of one boot.
    Monotonic(u64) shown as "{}ns"
}
number! {
    /// One connection of this process to a member; never used twice.
    ConnectionId(u64) shown as "{}"
}

/// A key or a value: any bytes.
///
/// In JSON it is a string where the bytes are UTF-8, `{"base64": …}` where they are not, and
/// `{"text": …, "fill": "x", "length": …}` where a long value ends in a run of one ASCII character.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Bytes);

/// Values shorter than this are written as they are, even if they end in a run.
const FILL_FROM_BYTES: usize = 256;

impl Blob {
    /// The empty blob.
    pub const EMPTY: Self = Self(Bytes::new());

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Start and character of the run that ends a long text, if it is worth writing short.
    fn trailing_run(&self) -> Option<(&str, char)> {
        let last = *self.0.last().filter(|byte| byte.is_ascii_graphic())?;
        if self.0.len() < FILL_FROM_BYTES {
            return None;
        }
        let head = self.0.len() - self.0.iter().rev().take_while(|byte| **byte == last).count();
        if self.0.len() - head < FILL_FROM_BYTES / 2 {
            return None;
        }
        Some((std::str::from_utf8(&self.0[..head]).ok()?, char::from(last)))
    }
}

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Blob {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.trailing_run() {
            Some((head, fill)) => write!(f, "{head}{fill}…({} bytes)", self.0.len()),
            None => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BlobForm<'a> {
    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
    Base64 { base64: String },
    Filled { text: String, fill: char, length: usize },
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        if let Some((head, fill)) = self.trailing_run() {
            let form = BlobForm::Filled { text: head.to_owned(), fill, length: self.0.len() };
            return form.serialize(serializer);
        }
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => BlobForm::Base64 { base64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

/// A fill longer than any message that a client accepts is taken for a damaged record.
const FILL_AT_MOST_BYTES: usize = 1 << 31;

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        use serde::de::Error;
        match BlobForm::deserialize(deserializer)? {
            BlobForm::Text(text) => Ok(Self::from(text.into_owned())),
            BlobForm::Base64 { base64 } => STANDARD.decode(base64).map(Self::from).map_err(Error::custom),
            BlobForm::Filled { text, fill, length } => {
                if !fill.is_ascii() || length < text.len() || length > FILL_AT_MOST_BYTES {
                    return Err(Error::custom(
                        "a fill needs an ASCII character and a length that covers the text",
                    ));
                }
                let mut bytes = text.into_bytes();
                bytes.resize(length, fill as u8);
                Ok(Self::from(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any bytes survive the way through JSON, filled or not.
        #[test]
        fn blobs_survive_json(head in prop::collection::vec(any::<u8>(), 0..40), fill in 0usize..600, with in any::<u8>()) {
            let mut bytes = head;
            bytes.resize(bytes.len() + fill, with);
            let blob = Blob::from(bytes);
            let json = serde_json::to_string(&blob).unwrap();
            prop_assert_eq!(serde_json::from_str::<Blob>(&json).unwrap(), blob);
        }
    }

    /// A value of a megabyte takes a line that a person can read.
    #[test]
    fn a_long_fill_is_written_short() {
        let blob = Blob::from(format!("p1/7{}", "x".repeat(1 << 20)));
        assert_eq!(serde_json::to_string(&blob).unwrap(), r#"{"text":"p1/7","fill":"x","length":1048580}"#);
    }

    /// A damaged length must not make the reader allocate without bound.
    #[test]
    fn an_absurd_fill_is_refused() {
        assert!(serde_json::from_str::<Blob>(r#"{"text":"","fill":"x","length":99999999999}"#).is_err());
    }
}
