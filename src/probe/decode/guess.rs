//! Which type of message bytes could be. In go bytes, out come types with how sure each is: the share of its weight
//! in that of all. A type's weight falls with each thing that an encoder of that type would not have written, and a
//! little with each field that it has and the bytes have not.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::probe::{
    descriptors,
    walk::{Content, Field, Walk, WireType, walk},
};

/// More types than this are of no help.
const GUESSES_AT_MOST: usize = 5;
/// More of a message than this is not looked at.
const LOOKED_AT_BYTES: usize = 1 << 16;
/// A type whose share is less is left out.
const SHARE_AT_LEAST: f64 = 0.005;

// How much less likely each of these makes a type; the numbers only have to be of the right order.
const UNKNOWN_FIELD: f64 = 1e-3;
const WRONG_WIRE_TYPE: f64 = 1e-4;
const NO_SENSE: f64 = 1e-6;
const NO_SUCH_VALUE: f64 = 1e-2;
const DEFAULT_WRITTEN: f64 = 0.05;
const OUT_OF_ORDER: f64 = 0.1;
const TWICE: f64 = 0.02;
const BINARY_STRING: f64 = 1e-4;
/// Keys and values need not be text, but mostly are; messages are not.
const BINARY_BYTES: f64 = 0.05;
const ABSENT_FIELD: f64 = 0.85;
/// Every answer has a header, and nearly each of its fields is never 0.
const NO_HEADER: f64 = 0.01;
const HEADER_WITHOUT: f64 = 0.2;
/// Only messages of methods travel by themselves.
const NOT_OF_A_METHOD: f64 = 0.1;

/// A type that the bytes could be of.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// The type.
    pub message: MessageDescriptor,
    /// How sure it is, from 0 to 1.
    pub share: f64,
}

impl Eq for Guess {}

/// The likeliest types, the best one first.
pub fn guess(bytes: &[u8]) -> Vec<Guess> {
    among(bytes, descriptors::messages())
}

/// The likeliest of these types. Where a message is cut short, all types fit as badly, so that it does no harm.
pub fn among(bytes: &[u8], types: impl IntoIterator<Item = MessageDescriptor>) -> Vec<Guess> {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT_BYTES)];
    let weighed = types.into_iter().map(|message| {
        let alone = if descriptors::is_of_a_method(&message) { 1.0 } else { NOT_OF_A_METHOD };
        (alone * weight(&walk(bytes, Some(&message)), &message, bytes.len()), message)
    });
    let mut weighed: Vec<(f64, MessageDescriptor)> = weighed.collect();
    let total: f64 = weighed.iter().map(|(weight, _)| weight).sum();
    weighed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let guesses = weighed.into_iter().map(|(weight, message)| Guess { message, share: weight / total });
    guesses.take_while(|guess| guess.share >= SHARE_AT_LEAST).take(GUESSES_AT_MOST).collect()
}

/// How well the bytes fit this type.
fn weight(walk: &Walk, message: &MessageDescriptor, length: usize) -> f64 {
    let mut weight = 1.0;
    if walk.stopped.is_some() {
        weight *= NO_SENSE;
    }
    let mut before = 0;
    for (place, field) in walk.fields.iter().enumerate() {
        let Some(known) = message.get_field(field.number) else {
            weight *= UNKNOWN_FIELD;
            continue;
        };
        weight *= field_weight(field, &known);
        if field.number < before {
            weight *= OUT_OF_ORDER;
        }
        let is_again = walk.fields[..place].iter().any(|earlier| earlier.number == field.number);
        if is_again && !known.is_list() {
            weight *= TWICE;
        }
        before = field.number;
        // Long lists say no more than their beginning, and cost more.
        if place >= 64 {
            break;
        }
    }
    let absent =
        message.fields().filter(|known| !walk.fields.iter().any(|field| field.number == known.number()));
    for known in absent {
        weight *= match known.name() {
            "header" if length > 0 => NO_HEADER,
            _ => ABSENT_FIELD,
        };
    }
    weight
}

fn field_weight(field: &Field, known: &FieldDescriptor) -> f64 {
    if !fits(field.wire_type, known) {
        return WRONG_WIRE_TYPE;
    }
    match (&field.content, known.kind()) {
        (Content::Nested(_, length, nested), Kind::Message(message)) => {
            let inner = weight(nested, &message, *length);
            if message.name() == "ResponseHeader" { inner * header_weight(nested) } else { inner }
        }
        (Content::Shown(value), kind) => value_weight(value, &kind, known.is_list()),
        _ => 1.0,
    }
}

/// An answer's header has ids, a term and a revision.
fn header_weight(header: &Walk) -> f64 {
    let has = |number: u32| header.fields.iter().any(|field| field.number == number);
    [1, 2, 4].into_iter().map(|number| if has(number) { 1.0 } else { HEADER_WITHOUT }).product()
}

/// By the value as the walk shows it: the form says what it could not make sense of.
fn value_weight(value: &str, kind: &Kind, is_list: bool) -> f64 {
    let is_default = matches!(value.split(' ').next(), Some("0" | "false" | "\"\""));
    let mut weight = if is_default && !is_list { DEFAULT_WRITTEN } else { 1.0 };
    if value.contains("(no such ") {
        weight *= NO_SUCH_VALUE;
    }
    match kind {
        Kind::String if value.contains("\\x") => weight * BINARY_STRING,
        Kind::Bytes if value.contains("\\x") => weight * BINARY_BYTES,
        Kind::Bool if !matches!(value, "true" | "false") => weight * NO_SUCH_VALUE,
        // Revisions, versions and counts are not negative, and leases' IDs need not be.
        Kind::Int64 | Kind::Int32 if value.starts_with('-') => weight * NO_SUCH_VALUE,
        _ => weight,
    }
}

/// Whether a field of this kind is encoded so.
fn fits(wire_type: WireType, known: &FieldDescriptor) -> bool {
    let packed = known.is_list() && wire_type == WireType::Len;
    match known.kind() {
        Kind::Message(_) | Kind::String | Kind::Bytes => wire_type == WireType::Len,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => wire_type == WireType::I64 || packed,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => wire_type == WireType::I32 || packed,
        _ => wire_type == WireType::Varint || packed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{etcdserverpb as pb, mvccpb};

    fn best(message: &impl prost::Message) -> (String, f64) {
        let guesses = guess(&message.encode_to_vec());
        (guesses[0].message.name().to_owned(), guesses[0].share)
    }

    const HEADER: pb::ResponseHeader =
        pb::ResponseHeader { cluster_id: 1 << 62, member_id: 3 << 61, revision: 7, raft_term: 2 };

    #[test]
    fn what_has_a_form_of_its_own_is_recognised() {
        let kv = mvccpb::KeyValue {
            key: "k".into(),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            value: "v".into(),
            lease: 0,
        };
        let range = pb::RangeResponse { header: Some(HEADER), kvs: vec![kv.clone()], more: false, count: 1 };
        let event = mvccpb::Event { kv: Some(kv.clone()), ..Default::default() };
        let watch = pb::WatchResponse {
            header: Some(HEADER),
            watch_id: 1,
            events: vec![event],
            ..Default::default()
        };
        let put =
            pb::PutRequest { key: "a/key".into(), value: "a value".into(), lease: 7, ..Default::default() };
        for (message, name) in
            [(best(&range), "RangeResponse"), (best(&watch), "WatchResponse"), (best(&put), "PutRequest")]
        {
            assert_eq!(message.0, name, "{message:?}");
            assert!(message.1 > 0.3, "{message:?}");
        }
    }

    #[test]
    fn what_could_be_much_is_not_sure() {
        let (_, share) = best(&pb::LeaseRevokeRequest { id: 5 });
        assert!(share < 0.5, "{share}");
        assert!(guess(b"").len() > 1);
        let shares: f64 = guess(b"\x0a\x01k").iter().map(|guess| guess.share).sum();
        assert!(shares <= 1.0 + 1e-9, "{shares}");
    }
}
