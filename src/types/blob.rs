//! Bytes as histories show them. In go bytes or their JSON form, out come the same; short ones need no memory of
//! their own, long ones are shared by all copies, and a long run of one character takes no more than it does in
//! JSON. It must not know what the bytes mean.

use std::{
    cmp::Ordering,
    fmt, hash, iter,
    sync::{Arc, OnceLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeStruct,
};

/// A key or a value: any bytes.
///
/// In JSON it is a string where the bytes are UTF-8, `{"base64": …}` where they are not, and
/// `{"text": …, "fill": "x", "length": …}` where a long value ends in a run of one ASCII character.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Blob(Form);

/// As many bytes fit in beside the length, so that a blob takes three words.
const SHORT_AT_MOST: usize = 22;

/// Each sequence of bytes has one form only.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// What is behind the length is zero.
    Short { length: u8, bytes: [u8; SHORT_AT_MOST] },
    /// Longer than any short one, and no filled one.
    Long(Arc<[u8]>),
    /// All that [`Filled::of`] takes.
    Filled(Arc<Filled>),
}

/// A long text that ends in a run of one ASCII character.
#[derive(Clone)]
struct Filled {
    /// What is before the run; it does not end in `fill`.
    head: Box<str>,
    fill: u8,
    /// Of head and run.
    length: usize,
    /// All of it, once anybody asks for it.
    bytes: OnceLock<Box<[u8]>>,
}

/// Values shorter than this are written as they are, even if they end in a run.
const FILL_FROM_BYTES: usize = 256;

/// Shorter runs are written as they are.
const RUN_FROM_BYTES: usize = 128;

/// A longer fill is taken for a damaged record: etcd takes requests of 1.5 MiB, and warns if it is told to take more
/// than 10 MiB.
const FILL_AT_MOST_BYTES: usize = 1 << 28;

impl Filled {
    /// The bytes as head and run, if that is shorter by much.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < FILL_FROM_BYTES {
            return None;
        }
        let fill = *bytes.last().filter(|byte| byte.is_ascii())?;
        let head = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == fill).count();
        let head = str::from_utf8(&bytes[..head]).ok()?;
        Self::new(head, fill, bytes.len())
    }

    fn new(head: &str, fill: u8, length: usize) -> Option<Self> {
        let worth = length >= FILL_FROM_BYTES && length - head.len() >= RUN_FROM_BYTES;
        worth.then(|| Self { head: head.into(), fill, length, bytes: OnceLock::new() })
    }

    fn to_vec(&self) -> Vec<u8> {
        self.head.bytes().chain(iter::repeat_n(self.fill, self.length - self.head.len())).collect()
    }
}

impl PartialEq for Filled {
    fn eq(&self, other: &Self) -> bool {
        (self.length, self.fill, &self.head) == (other.length, other.fill, &other.head)
    }
}

impl Eq for Filled {}

impl hash::Hash for Filled {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        (self.length, self.fill, &self.head).hash(state);
    }
}

impl Blob {
    /// The empty blob.
    pub const EMPTY: Self = Self(Form::Short { length: 0, bytes: [0; SHORT_AT_MOST] });

    /// The bytes. A long run is written out for that, once: what can do without had better.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Form::Short { length, bytes } => &bytes[..usize::from(*length)],
            Form::Long(bytes) => bytes,
            Form::Filled(filled) => filled.bytes.get_or_init(|| filled.to_vec().into()),
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Short { length, .. } => usize::from(*length),
            Form::Long(bytes) => bytes.len(),
            Form::Filled(filled) => filled.length,
        }
    }

    /// Short ones as numbers, which are looked up in no time; no two have the same.
    pub(crate) fn short(&self) -> Option<(u64, u64, u64)> {
        let Form::Short { length, bytes } = &self.0 else { return None };
        let word = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        // The last eight bytes begin with two that were told before.
        let last = word(SHORT_AT_MOST - 8) & !0xffff;
        Some((word(0), word(8), last | u64::from(*length)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest blob that is greater.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self::from([self.as_slice(), &[0]].concat())
    }

    /// The bytes before the run that ends them, with character and length of the run.
    fn parts(&self) -> (&[u8], u8, usize) {
        match &self.0 {
            Form::Filled(filled) => (filled.head.as_bytes(), filled.fill, filled.length - filled.head.len()),
            _ => (self.as_slice(), 0, 0),
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(from: &[u8]) -> Self {
        let mut bytes = [0; SHORT_AT_MOST];
        match (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(from);
                Self(Form::Short { length, bytes })
            }
            _ => match Filled::of(from) {
                Some(filled) => Self(Form::Filled(filled.into())),
                None => Self(Form::Long(from.into())),
            },
        }
    }
}

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Blob {
    fn from(text: String) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self::from(&*bytes)
    }
}

impl From<&Blob> for Bytes {
    fn from(blob: &Blob) -> Self {
        match &blob.0 {
            Form::Short { .. } => Self::copy_from_slice(blob.as_slice()),
            Form::Long(bytes) => Self::from_owner(Arc::clone(bytes)),
            Form::Filled(filled) => filled.to_vec().into(),
        }
    }
}

impl Default for Blob {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialOrd for Blob {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Blob {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((head, fill, run), (others, other_fill, other_run)) = (self.parts(), other.parts());
        let common = head.len().min(others.len());
        head[..common].cmp(&others[..common]).then_with(|| {
            if head.len() >= others.len() {
                against_run((&head[common..], fill, run), other_fill, other_run)
            } else {
                against_run((&others[common..], other_fill, other_run), fill, run).reverse()
            }
        })
    }
}

/// How bytes that end in a run compare with nothing but a run.
fn against_run((rest, fill, run): (&[u8], u8, usize), other_fill: u8, other_run: usize) -> Ordering {
    let common = rest.len().min(other_run);
    let different = rest[..common].iter().find(|byte| **byte != other_fill);
    different.map_or(Ordering::Equal, |byte| byte.cmp(&other_fill)).then_with(|| {
        let left = other_run - common;
        match (common < rest.len(), run > 0 && left > 0) {
            (true, _) => Ordering::Greater,
            (false, true) => fill.cmp(&other_fill).then(run.cmp(&left)),
            (false, false) => run.cmp(&left),
        }
    })
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Filled(filled) => {
                let (head, fill) = (filled.head.as_bytes().escape_ascii(), filled.fill.escape_ascii());
                write!(f, "{head}{fill}…({} bytes)", filled.length)
            }
            _ => write!(f, "{}", self.as_slice().escape_ascii()),
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Form::Filled(filled) = &self.0 {
            let mut form = serializer.serialize_struct("Blob", 3)?;
            form.serialize_field("text", &filled.head)?;
            form.serialize_field("fill", &char::from(filled.fill))?;
            form.serialize_field("length", &filled.length)?;
            return form.end();
        }
        if let Ok(text) = str::from_utf8(self.as_slice()) {
            return serializer.serialize_str(text);
        }
        let mut form = serializer.serialize_struct("Blob", 1)?;
        form.serialize_field("base64", &STANDARD.encode(self.as_slice()))?;
        form.end()
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonForm)
    }
}

/// Reads any of the three forms.
struct JsonForm;

impl<'de> Visitor<'de> for JsonForm {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or base64, or a text with its fill and length")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        Ok(Blob::from(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Blob, A::Error> {
        let (mut base64, mut text, mut fill, mut length) = (None, None, None, None);
        while let Some(field) = map.next_key::<Field>()? {
            let again = match field {
                Field::Base64 => base64.replace(map.next_value::<String>()?).is_some(),
                Field::Text => text.replace(map.next_value::<String>()?).is_some(),
                Field::Fill => fill.replace(map.next_value::<char>()?).is_some(),
                Field::Length => length.replace(map.next_value::<usize>()?).is_some(),
            };
            if again {
                return Err(A::Error::custom("a field comes twice"));
            }
        }
        match (base64, text, fill, length) {
            (Some(base64), None, None, None) => {
                STANDARD.decode(base64).map(Blob::from).map_err(A::Error::custom)
            }
            (None, Some(text), Some(fill), Some(length)) => filled(&text, fill, length),
            _ => Err(A::Error::custom("it is neither base64 nor a text with its fill and length")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Field {
    Base64,
    Text,
    Fill,
    Length,
}

fn filled<E: Error>(text: &str, fill: char, length: usize) -> Result<Blob, E> {
    let fill_byte = u8::try_from(fill).ok().filter(u8::is_ascii);
    let (Some(fill_byte), true) = (fill_byte, (text.len()..=FILL_AT_MOST_BYTES).contains(&length)) else {
        return Err(E::custom("a fill needs an ASCII character and a length that covers the text"));
    };
    if let Some(filled) = Filled::new(text.trim_end_matches(fill), fill_byte, length) {
        return Ok(Blob(Form::Filled(filled.into())));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(length, fill_byte);
    Ok(Blob::from(bytes))
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

    proptest! {
        /// Blobs compare as their bytes do, whatever forms they have in memory.
        #[test]
        fn blobs_compare_as_bytes(pairs in prop::collection::vec((prop::collection::vec(b'w'..=b'z', 0..4), 0usize..300, b'w'..=b'z'), 2)) {
            let bytes: Vec<Vec<u8>> = pairs.into_iter().map(|(mut head, fill, with)| {
                head.resize(head.len() + fill, with);
                head
            }).collect();
            let (one, other) = (Blob::from(bytes[0].as_slice()), Blob::from(bytes[1].as_slice()));
            prop_assert_eq!(one.cmp(&other), bytes[0].cmp(&bytes[1]));
            prop_assert_eq!(one == other, bytes[0] == bytes[1]);
            prop_assert_eq!((one.len(), one.as_slice()), (bytes[0].len(), bytes[0].as_slice()));
            prop_assert_eq!(&bytes::Bytes::from(&one), &bytes[0]);
        }
    }

    /// However a fill is cut into text and run, it is the same blob, and it takes no more memory than it is long.
    #[test]
    fn a_fill_has_one_form() {
        let read = |json: &str| serde_json::from_str::<Blob>(json).unwrap();
        let filled = read(r#"{"text":"axx","fill":"x","length":260000000}"#);
        assert_eq!(filled, read(r#"{"text":"a","fill":"x","length":260000000}"#));
        assert_eq!(read(r#"{"text":"a","fill":"x","length":3}"#), Blob::from("axx"));
        assert_eq!(filled.to_string(), "ax…(260000000 bytes)");
        assert!(Blob::from("ay") > filled && filled > Blob::from("ax"));
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
