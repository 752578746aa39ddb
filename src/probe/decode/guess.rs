//! Which type of message bytes could be. In go bytes, out come types with how sure each is: the share of its weight
//! in that of all. A type's weight is how common it is, and falls with each thing that an encoder of that type would not
//! have written, and with each field that it mostly has and the bytes have not, or the other way round.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::prior;
use crate::probe::{
    descriptors,
    walk::{Content, Field, Walk, WireType, walk_openly},
};

/// More types than this are of no help.
const GUESSES_AT_MOST: usize = 5;
/// More of a message than this is not looked at.
const LOOKED_AT_BYTES: usize = 1 << 16;
/// Long lists say no more than their beginning, and cost more.
const LOOKED_AT_FIELDS: usize = 64;
/// A type whose share is less is left out.
const SHARE_AT_LEAST: f64 = 0.005;
/// From this share on a guess is taken for what the bytes are: what is secret in that type is hidden.
pub const SURE_AT_LEAST: f64 = 0.9;

// How much less likely each of these makes a type; the numbers only have to be of the right order.
const UNKNOWN_FIELD: f64 = 1e-6;
const WRONG_WIRE_TYPE: f64 = 1e-9;
const NO_SENSE: f64 = 1e-9;
const NO_SUCH_VALUE: f64 = 1e-2;
const DEFAULT_WRITTEN: f64 = 0.05;
const OUT_OF_ORDER: f64 = 0.1;
const TWICE: f64 = 0.02;
const BINARY_STRING: f64 = 1e-4;
/// Values need not be text, but mostly are; keys nearly always are, and messages are not.
const BINARY_BYTES: f64 = 0.05;
const BINARY_KEY: f64 = 1e-4;
/// A number can be much, a flag that is set only this; what is counted is often one.
const JUST_ONE: f64 = 0.1;
const COUNTS: [&str; 3] = ["count", "deleted", "version"];
/// A range is mostly of all keys that begin alike, or of all from one on.
const RANGE_END_OF_NO_PREFIX: f64 = 0.2;
/// A value hardly ever is what would be the range's end of all keys that begin as its own does.
const VALUE_AS_RANGE_END: f64 = 1e-3;
/// One of a oneof's fields is set, and no more.
const NOT_ONE_OF: f64 = 0.01;
/// Every answer has a header, and nearly each of its fields is never 0.
const NO_HEADER: f64 = 0.01;
const HEADER_WITHOUT: f64 = 0.2;
/// How well bytes that are no message look like fields, each of them and all together.
const BYTE_BY_CHANCE: f64 = 0.5;
const WHOLE_BY_CHANCE: f64 = 0.01;

/// A type that the bytes could be of.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// The type.
    pub message: MessageDescriptor,
    /// How sure it is, from 0 to 1.
    pub share: f64,
}

impl Eq for Guess {}

/// The likeliest types, the best one first; none if the bytes make no sense as any.
pub fn guess(bytes: &[u8]) -> Vec<Guess> {
    among(bytes, descriptors::messages())
}

/// The likeliest of these types. Where a message is cut short, all types fit as badly, so that it does no harm.
pub fn among(bytes: &[u8], types: impl IntoIterator<Item = MessageDescriptor>) -> Vec<Guess> {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT_BYTES)];
    let weighed = types.into_iter().filter_map(|message| {
        let walk = walk_openly(bytes, Some(&message));
        let is_of_it = walk.fields.is_empty() && walk.stopped.is_none() || has_field_of(&walk, &message);
        is_of_it.then(|| (prior::of_message(&message).ln() + log_weight(&walk, &message), message))
    });
    let mut weighed: Vec<(f64, MessageDescriptor)> = weighed.collect();
    weighed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    // Of a long message all weights are too small for a number; their shares are not.
    let best = weighed.first().map_or(0.0, |(log, _)| *log);
    let by_chance = (log_by_chance(bytes) - best).exp();
    let total: f64 = by_chance + weighed.iter().map(|(log, _)| (log - best).exp()).sum::<f64>();
    let guesses =
        weighed.into_iter().map(|(log, message)| Guess { message, share: (log - best).exp() / total });
    guesses.take_while(|guess| guess.share >= SHARE_AT_LEAST).take(GUESSES_AT_MOST).collect()
}

/// Whether any field is as this type has it.
fn has_field_of(walk: &Walk, message: &MessageDescriptor) -> bool {
    let mut fields = walk.fields.iter().take(LOOKED_AT_FIELDS);
    fields.any(|field| message.get_field(field.number).is_some_and(|known| fits(field.wire_type, &known)))
}

/// How well the bytes fit what is no message at all.
fn log_by_chance(bytes: &[u8]) -> f64 {
    let walk = walk_openly(bytes, None);
    let (looks, read) = match walk.first_stop() {
        Some(stop) => (NO_SENSE, stop.offset),
        None => (WHOLE_BY_CHANCE, bytes.len()),
    };
    let read = u32::try_from(read).expect("no more than that is looked at");
    looks.ln() + f64::from(read) * BYTE_BY_CHANCE.ln()
}

/// The logarithm of how well the bytes fit this type.
fn log_weight(walk: &Walk, message: &MessageDescriptor) -> f64 {
    let mut log = if walk.stopped.is_some() { NO_SENSE.ln() } else { 0.0 };
    let fields = &walk.fields[..walk.fields.len().min(LOOKED_AT_FIELDS)];
    for (place, field) in fields.iter().enumerate() {
        let Some(known) = message.get_field(field.number) else {
            log += UNKNOWN_FIELD.ln();
            continue;
        };
        log += field_log_weight(field, &known);
        if place > 0 && field.number < fields[place - 1].number {
            log += OUT_OF_ORDER.ln();
        }
        let is_again = fields[..place].iter().any(|earlier| earlier.number == field.number);
        if is_again && !known.is_list() {
            log += TWICE.ln();
        }
    }
    log + presence_log_weight(walk, message) + range_weight(walk, message).ln()
}

/// By which fields are there and which are not.
fn presence_log_weight(walk: &Walk, message: &MessageDescriptor) -> f64 {
    let has = |known: &FieldDescriptor| walk.fields.iter().any(|field| field.number == known.number());
    let fields = message.fields().filter(|known| known.containing_oneof().is_none()).map(|known| {
        match (known.name(), has(&known)) {
            ("header", true) => 1.0,
            ("header", false) => NO_HEADER,
            (_, true) => prior::of_field(message, &known),
            (_, false) => 1.0 - prior::of_field(message, &known),
        }
    });
    let oneofs = message.oneofs().map(|oneof| {
        let set = oneof.fields().filter(has).count();
        if set == 1 { 1.0 } else { NOT_ONE_OF }
    });
    fields.chain(oneofs).map(f64::ln).sum()
}

/// By whether two byte strings look like a range, or like a key and a value.
fn range_weight(walk: &Walk, message: &MessageDescriptor) -> f64 {
    let shown = |name: &str| {
        let known = message.get_field_by_name(name)?;
        let field = walk.fields.iter().find(|field| field.number == known.number())?;
        match &field.content {
            Content::Shown(value) => Some(value.as_str()),
            _ => None,
        }
    };
    let Some(key) = shown("key") else { return 1.0 };
    if let Some(end) = shown("range_end") {
        return if ends_prefix(key, end) { 1.0 } else { RANGE_END_OF_NO_PREFIX };
    }
    if shown("value").is_some_and(|value| ends_prefix(key, value)) { VALUE_AS_RANGE_END } else { 1.0 }
}

/// Whether a range from `key` to `end`, both as the walk shows them, is of all keys that begin with `key`, or of all
/// from it on.
fn ends_prefix(key: &str, end: &str) -> bool {
    let unquoted = |shown: &str| Some(shown.rsplit_once("\" (")?.0.strip_prefix('"')?.to_owned());
    let (Some(key), Some(end)) = (unquoted(key), unquoted(end)) else { return false };
    let mut letters = key.chars();
    let next = letters.next_back().and_then(|last| char::from_u32(u32::from(last) + 1));
    end == "\\x00" || next.is_some_and(|next| end == format!("{}{next}", letters.as_str()))
}

fn field_log_weight(field: &Field, known: &FieldDescriptor) -> f64 {
    if !fits(field.wire_type, known) {
        return WRONG_WIRE_TYPE.ln();
    }
    match (&field.content, known.kind()) {
        (Content::Nested(_, _, nested), Kind::Message(message)) => {
            let inner = log_weight(nested, &message);
            if message.name() == "ResponseHeader" { inner + header_weight(nested).ln() } else { inner }
        }
        (Content::Shown(value), _) => value_weight(value, known).ln(),
        _ => 0.0,
    }
}

/// An answer's header has ids, a term and a revision.
fn header_weight(header: &Walk) -> f64 {
    let has = |number: u32| header.fields.iter().any(|field| field.number == number);
    [1, 2, 4].into_iter().map(|number| if has(number) { 1.0 } else { HEADER_WITHOUT }).product()
}

/// By the value as the walk shows it: the form says what it could not make sense of.
fn value_weight(value: &str, known: &FieldDescriptor) -> f64 {
    let is_default = matches!(value.split(' ').next(), Some("0" | "false" | "\"\""));
    let is_left_out = !known.is_list() && known.containing_oneof().is_none();
    let mut weight = if is_default && is_left_out { DEFAULT_WRITTEN } else { 1.0 };
    if value.contains("(no such ") {
        weight *= NO_SUCH_VALUE;
    }
    match known.kind() {
        Kind::String if value.contains("\\x") => weight * BINARY_STRING,
        Kind::Bytes if is_binary(value) => {
            weight * if known.name() == "value" { BINARY_BYTES } else { BINARY_KEY }
        }
        Kind::Bool if !matches!(value, "true" | "false") => weight * NO_SUCH_VALUE,
        Kind::Int64 | Kind::Int32 if value == "1" && !COUNTS.contains(&known.name()) => weight * JUST_ONE,
        // Revisions, versions and counts are not negative; leases' IDs need not be, and no watch is the one of -1.
        Kind::Int64 | Kind::Int32 if value.starts_with('-') && known.name() != "watch_id" => {
            weight * NO_SUCH_VALUE
        }
        _ => weight,
    }
}

/// Whether these bytes are no text. Most messages begin with a line feed; a zero alone stands for all keys.
fn is_binary(shown: &str) -> bool {
    (shown.contains("\\x") || shown.starts_with("\"\\n")) && !shown.starts_with("\"\\x00\" ")
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
mod tests;
