//! Walks over the bytes of a protobuf message. In go any bytes and, where it is known, the message's descriptor;
//! out comes every field with its offset, number, wire type, name and value, nested messages within, and where
//! the bytes stop making sense. It is total: it never fails, and reads each byte at most once per level.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::encoding::{escaped, to_hex};

/// Messages that nest deeper are not followed; protobuf's own implementations draw the line at 100.
const DEPTH_AT_MOST: usize = 100;
/// Fields whose value is not shown where the type is known.
pub const SECRETS: [&str; 3] = ["password", "hashedPassword", "token"];

/// The fields of a message, and why the walk ended early, if it did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Walk {
    /// In the order of the bytes.
    pub fields: Vec<Field>,
    /// Where the bytes stop making sense.
    pub stopped: Option<Stop>,
}

impl Walk {
    /// The first place where the bytes stop making sense, also within nested messages.
    pub fn first_stop(&self) -> Option<&Stop> {
        let nested = self.fields.iter().find_map(|field| match &field.content {
            Content::Nested(_, _, nested) => nested.first_stop(),
            _ => None,
        });
        nested.or(self.stopped.as_ref())
    }
}

/// Where and why bytes stop making sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// From the start of the outermost message.
    pub offset: usize,
    /// In words.
    pub reason: &'static str,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Of the field's tag, from the start of the outermost message.
    pub offset: usize,
    /// The field's number.
    pub number: u32,
    /// How it is encoded.
    pub wire_type: WireType,
    /// Its name; none if the descriptor does not know it.
    pub name: Option<String>,
    /// Its value.
    pub content: Content,
}

/// The wire types of protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are protobuf's own")]
pub enum WireType {
    Varint,
    I64,
    Len,
    Group,
    I32,
}

impl WireType {
    /// As protobuf's documentation writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Varint => "VARINT",
            Self::I64 => "I64",
            Self::Len => "LEN",
            Self::Group => "GROUP",
            Self::I32 => "I32",
        }
    }
}

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A value in people's form.
    Shown(String),
    /// A message, with its name where it is known and its length in bytes.
    Nested(Option<String>, usize, Walk),
    /// Something that must not be shown, with its length in bytes.
    Secret(usize),
}

/// Walks over `bytes` as a message of this type, or as one of which nothing is known.
pub fn walk(bytes: &[u8], message: Option<&MessageDescriptor>) -> Walk {
    let mut reader = Reader { bytes, at: 0, openly: false };
    fields(&mut reader, bytes.len(), message, None, 0)
}

/// The same with secrets: for a type that is only tried, where a field of that name says nothing.
pub fn walk_openly(bytes: &[u8], message: Option<&MessageDescriptor>) -> Walk {
    let mut reader = Reader { bytes, at: 0, openly: true };
    fields(&mut reader, bytes.len(), message, None, 0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether secrets are read as any other field is.
    openly: bool,
}

type Read<T> = Result<T, &'static str>;

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize, end: usize) -> Read<&'a [u8]> {
        if length > end - self.at {
            return Err("the field is longer than what is left of its message");
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    fn varint(&mut self, end: usize) -> Read<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.bytes[..end].get(self.at) else { return Err("a varint is cut off") };
            self.at += 1;
            if shift == 63 && *byte > 1 {
                return Err("a varint is longer than 64 bits");
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a varint is longer than 64 bits")
    }
}

/// The fields up to `end`, or up to the end of the group with this number.
fn fields(
    reader: &mut Reader<'_>,
    end: usize,
    message: Option<&MessageDescriptor>,
    group: Option<u32>,
    depth: usize,
) -> Walk {
    let mut walk = Walk::default();
    while reader.at < end {
        let offset = reader.at;
        match field(reader, end, message, group, depth) {
            Ok(Some(field)) => walk.fields.push(field),
            Ok(None) => return walk,
            Err(reason) => {
                // Nothing after this can be told apart, so it belongs to no later field either.
                reader.at = end;
                walk.stopped = Some(Stop { offset, reason });
                return walk;
            }
        }
    }
    if group.is_some() {
        walk.stopped = Some(Stop { offset: reader.at, reason: "a group has no end" });
    }
    walk
}

/// The next field; none at the end of the group.
fn field(
    reader: &mut Reader<'_>,
    end: usize,
    message: Option<&MessageDescriptor>,
    group: Option<u32>,
    depth: usize,
) -> Read<Option<Field>> {
    let offset = reader.at;
    let tag = reader.varint(end)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    let number = number.ok_or("a field's number is outside 1 to 536870911")?;
    let known = message.and_then(|message| message.get_field(number));
    let known = known.as_ref();
    let (wire_type, content) = match tag & 7 {
        0 => (WireType::Varint, shown(varint(reader.varint(end)?, known))),
        1 => (WireType::I64, shown(fixed64(chunk(reader.take(8, end)?), known))),
        2 => {
            let length = reader.varint(end)?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            (WireType::Len, length_delimited(reader, length, end, known, depth)?)
        }
        3 if depth >= DEPTH_AT_MOST => return Err("messages nest too deep to follow"),
        3 => {
            let start = reader.at;
            let nested = fields(reader, end, None, Some(number), depth + 1);
            (WireType::Group, Content::Nested(None, reader.at - start, nested))
        }
        4 if group == Some(number) => return Ok(None),
        4 => return Err("a group ends that did not begin"),
        5 => (WireType::I32, shown(fixed32(chunk(reader.take(4, end)?), known))),
        _ => return Err("there is no such wire type"),
    };
    let name = known.map(|field| field.name().to_owned());
    Ok(Some(Field { offset, number, wire_type, name, content }))
}

fn shown(value: String) -> Content {
    Content::Shown(value)
}

fn chunk<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the reader took as many bytes as asked for")
}

fn length_delimited(
    reader: &mut Reader<'_>,
    length: usize,
    end: usize,
    known: Option<&FieldDescriptor>,
    depth: usize,
) -> Read<Content> {
    let start = reader.at;
    let bytes = reader.take(length, end)?;
    if !reader.openly && known.is_some_and(|field| SECRETS.contains(&field.name())) {
        return Ok(Content::Secret(length));
    }
    let kind = known.map(FieldDescriptor::kind);
    Ok(match kind {
        Some(Kind::Message(message)) if depth < DEPTH_AT_MOST => {
            reader.at = start;
            let nested = fields(reader, start + length, Some(&message), None, depth + 1);
            reader.at = start + length;
            Content::Nested(Some(message.full_name().to_owned()), length, nested)
        }
        Some(Kind::Message(_)) => return Err("messages nest too deep to follow"),
        Some(Kind::String | Kind::Bytes) => shown(quoted(bytes)),
        None => shown(format!("{} hex {}", quoted(bytes), to_hex(bytes))),
        Some(_) => shown(packed(bytes, known)),
    })
}

/// A number of bytes in words.
pub fn count_bytes(count: usize) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\" ({})", escaped(bytes), count_bytes(bytes.len()))
}

/// Numbers of a repeated field in one piece.
fn packed(bytes: &[u8], known: Option<&FieldDescriptor>) -> String {
    let mut reader = Reader { bytes, at: 0, openly: false };
    let end = bytes.len();
    let mut values = vec![];
    while reader.at < end {
        let value = match known.map(FieldDescriptor::kind) {
            Some(Kind::Double | Kind::Fixed64 | Kind::Sfixed64) => {
                reader.take(8, end).map(|bytes| fixed64(chunk(bytes), known))
            }
            Some(Kind::Float | Kind::Fixed32 | Kind::Sfixed32) => {
                reader.take(4, end).map(|bytes| fixed32(chunk(bytes), known))
            }
            _ => reader.varint(end).map(|value| varint(value, known)),
        };
        match value {
            Ok(value) => values.push(value),
            Err(reason) => {
                values.push(format!("({reason})"));
                break;
            }
        }
    }
    format!("[{}]", values.join(", "))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "protobuf reads varints so")]
fn varint(value: u64, known: Option<&FieldDescriptor>) -> String {
    match known.map(FieldDescriptor::kind) {
        Some(Kind::Bool) if value > 1 => format!("true ({value})"),
        Some(Kind::Bool) => (value != 0).to_string(),
        Some(Kind::Int32) => (value as i32).to_string(),
        Some(Kind::Int64) => (value as i64).to_string(),
        Some(Kind::Sint32 | Kind::Sint64) => ((value >> 1) as i64 ^ -((value & 1) as i64)).to_string(),
        Some(Kind::Uint32) => (value as u32).to_string(),
        Some(Kind::Enum(names)) => match names.get_value(value as i32) {
            Some(name) => format!("{} {}", value as i32, name.name()),
            None => format!("{} (no such {})", value as i32, names.name()),
        },
        Some(Kind::Uint64) => format!("{value} (0x{value:x})"),
        None => value.to_string(),
        Some(other) => format!("{value} (declared as {other:?})"),
    }
}

fn fixed64(bytes: [u8; 8], known: Option<&FieldDescriptor>) -> String {
    match known.map(FieldDescriptor::kind) {
        Some(Kind::Double) => f64::from_le_bytes(bytes).to_string(),
        Some(Kind::Sfixed64) => i64::from_le_bytes(bytes).to_string(),
        None | Some(Kind::Fixed64) => u64::from_le_bytes(bytes).to_string(),
        Some(other) => format!("{} (declared as {other:?})", u64::from_le_bytes(bytes)),
    }
}

fn fixed32(bytes: [u8; 4], known: Option<&FieldDescriptor>) -> String {
    match known.map(FieldDescriptor::kind) {
        Some(Kind::Float) => f32::from_le_bytes(bytes).to_string(),
        Some(Kind::Sfixed32) => i32::from_le_bytes(bytes).to_string(),
        None | Some(Kind::Fixed32) => u32::from_le_bytes(bytes).to_string(),
        Some(other) => format!("{} (declared as {other:?})", u32::from_le_bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::{probe::descriptors, proto::etcdserverpb as pb};

    fn walked(bytes: &[u8], name: &str) -> Walk {
        walk(bytes, Some(&descriptors::message(name).unwrap()))
    }

    /// Offset, number, name and value of each field, at its depth.
    fn lines(walk: &Walk, depth: usize, into: &mut Vec<String>) {
        for field in &walk.fields {
            let name = field.name.as_deref().unwrap_or("?");
            let value = match &field.content {
                Content::Shown(value) => value.clone(),
                Content::Secret(length) => format!("secret of {length}"),
                Content::Nested(name, length, _) => {
                    format!("{} of {length}", name.as_deref().unwrap_or("group"))
                }
            };
            into.push(format!("{depth}@{} {} {} {value}", field.offset, field.number, name));
            if let Content::Nested(_, _, nested) = &field.content {
                lines(nested, depth + 1, into);
            }
        }
        if let Some(stop) = &walk.stopped {
            into.push(format!("{depth}@{} stop: {}", stop.offset, stop.reason));
        }
    }

    fn text(walk: &Walk) -> Vec<String> {
        let mut into = vec![];
        lines(walk, 0, &mut into);
        into
    }

    #[test]
    fn fields_stand_at_their_offsets_with_names_and_values() {
        let header = pb::ResponseHeader { cluster_id: 300, member_id: 2, revision: -1, raft_term: 4 };
        let answer = pb::PutResponse { header: Some(header), prev_kv: None };
        let bytes = answer.encode_to_vec();
        assert_eq!(
            text(&walked(&bytes, "etcdserverpb.PutResponse")),
            [
                "0@0 1 header etcdserverpb.ResponseHeader of 18",
                "1@2 1 cluster_id 300 (0x12c)",
                "1@5 2 member_id 2 (0x2)",
                "1@7 3 revision -1",
                "1@18 4 raft_term 4 (0x4)",
            ]
        );
    }

    #[test]
    fn unknown_fields_enums_and_packed_numbers_are_shown() {
        assert_eq!(
            text(&walk(b"\x0a\x01a\x10\x05\x1d\x01\0\0\0", None)),
            ["0@0 1 ? \"a\" (1 byte) hex 61", "0@3 2 ? 5", "0@5 3 ? 1",]
        );
        let enums = walked(b"\x28\x02\x28\x09", "etcdserverpb.RangeRequest");
        assert_eq!(text(&enums), ["0@0 5 sort_order 2 DESCEND", "0@2 5 sort_order 9 (no such SortOrder)"]);
        let filters = walked(b"\x2a\x02\x00\x01", "etcdserverpb.WatchCreateRequest");
        assert_eq!(text(&filters), ["0@0 5 filters [0 NOPUT, 1 NODELETE]"]);
    }

    #[test]
    fn secrets_are_never_shown() {
        let request = pb::AuthenticateRequest { name: "root".to_owned(), password: "hush".to_owned() };
        let walk = walked(&request.encode_to_vec(), "etcdserverpb.AuthenticateRequest");
        assert_eq!(text(&walk), ["0@0 1 name \"root\" (4 bytes)", "0@6 2 password secret of 4"]);
        assert!(!format!("{walk:?}").contains("hush"));
    }

    #[test]
    fn the_walk_says_where_bytes_stop_making_sense() {
        let stop = |bytes: &[u8]| text(&walk(bytes, None)).pop().unwrap();
        assert_eq!(
            stop(b"\x10\x05\x0a\x05ab"),
            "0@2 stop: the field is longer than what is left of its message"
        );
        assert_eq!(stop(b"\x80"), "0@0 stop: a varint is cut off");
        assert_eq!(stop(&[0xff; 11]), "0@0 stop: a varint is longer than 64 bits");
        assert_eq!(stop(b"\x00\x01"), "0@0 stop: a field's number is outside 1 to 536870911");
        assert_eq!(stop(b"\x0f"), "0@0 stop: there is no such wire type");
        assert_eq!(stop(b"\x0c"), "0@0 stop: a group ends that did not begin");
        assert_eq!(stop(b"\x0b\x10\x01"), "1@3 stop: a group has no end");
        assert_eq!(text(&walk(b"\x0b\x10\x01\x0c", None)), ["0@0 1 ? group of 3", "1@1 2 ? 1"]);
        let mut deep = Walk::default();
        for _ in 0..2 {
            deep = walk(&vec![0x0b; 100_000], None);
        }
        assert!(text(&deep).iter().any(|line| line.contains("nest too deep")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for name in ["etcdserverpb.TxnRequest", "etcdserverpb.RangeResponse", "etcdserverpb.WatchCreateRequest"] {
                let walk = walked(&bytes, name);
                let before = |stop: &Stop| stop.offset <= bytes.len();
                prop_assert!(walk.stopped.as_ref().is_none_or(before));
                prop_assert!(walk.fields.windows(2).all(|pair| pair[0].offset < pair[1].offset));
            }
        }

        #[test]
        fn what_prost_decodes_is_walked_without_a_stop(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if pb::TxnRequest::decode(&bytes[..]).is_ok() {
                prop_assert!(walked(&bytes, "etcdserverpb.TxnRequest").stopped.is_none());
            }
        }
    }
}
