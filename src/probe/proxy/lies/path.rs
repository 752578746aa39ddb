//! Places in messages: `header.revision`, `kvs[0].value`, `**.key`. In goes the text of a path, out come the values
//! that it leads to, to be read or to be changed. A path that leads nowhere in a message is no error there: which
//! messages have it is asked beforehand.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};

/// Messages nest no deeper for a path that looks anywhere.
const DEPTH_AT_MOST: usize = 32;

/// A path through fields by their names in the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// A field; of a list one item, from the end if negative, or all.
    Field { name: String, item: Option<i64> },
    /// Here or in any message below.
    Anywhere,
}

/// Where a path ends: a field of a message and, of a list, one item or all.
pub struct Leaf<'m> {
    /// The message that has the field.
    pub message: &'m mut DynamicMessage,
    /// The field.
    pub field: FieldDescriptor,
    /// The item.
    pub item: Option<i64>,
}

impl Path {
    /// The path that is written so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let segments: Vec<Segment> = text.split('.').map(segment).collect::<Result<_, _>>()?;
        match segments.last() {
            Some(Segment::Field { .. }) => Ok(Self(segments)),
            _ => Err("a path ends with a field".to_owned()),
        }
    }

    /// The field that it leads to in messages of this kind, if it leads to any.
    pub fn field(&self, message: &MessageDescriptor) -> Option<FieldDescriptor> {
        find(&self.0, message, 0)
    }

    /// Whether it names one item of a list.
    pub fn names_an_item(&self) -> bool {
        matches!(self.0.last(), Some(Segment::Field { item: Some(_), .. }))
    }

    /// Calls `each` with every place that it leads to.
    pub fn visit(&self, message: &mut DynamicMessage, each: &mut dyn FnMut(Leaf<'_>)) {
        visit(&self.0, message, each);
    }

    /// The values that it leads to. A list of messages stands for its length, a message for 1 if it is there, else 0.
    pub fn values(&self, message: &DynamicMessage) -> Vec<Value> {
        let mut values = vec![];
        // Only a visitor that writes needs the message itself.
        visit(&self.0, &mut message.clone(), &mut |leaf| read(&leaf, &mut values));
        values
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    if text == "**" {
        return Ok(Segment::Anywhere);
    }
    let (name, item) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => {
            let item = rest.strip_suffix(']').and_then(|item| item.parse().ok());
            (name, Some(item.ok_or_else(|| format!("{text:?} has no whole number in its brackets"))?))
        }
    };
    if name.is_empty() {
        return Err("a name is missing".to_owned());
    }
    Ok(Segment::Field { name: name.to_owned(), item })
}

fn find(segments: &[Segment], message: &MessageDescriptor, depth: usize) -> Option<FieldDescriptor> {
    match segments.split_first()? {
        (Segment::Anywhere, rest) => find(rest, message, depth).or_else(|| {
            let mut nested = message.fields().filter_map(|field| match field.kind() {
                Kind::Message(nested) if depth < DEPTH_AT_MOST => Some(nested),
                _ => None,
            });
            nested.find_map(|nested| find(segments, &nested, depth + 1))
        }),
        (Segment::Field { name, item }, rest) => {
            let field = message.get_field_by_name(name).filter(|field| item.is_none() || field.is_list())?;
            match field.kind() {
                _ if rest.is_empty() => Some(field),
                Kind::Message(nested) => find(rest, &nested, depth + 1),
                _ => None,
            }
        }
    }
}

fn visit(segments: &[Segment], message: &mut DynamicMessage, each: &mut dyn FnMut(Leaf<'_>)) {
    let Some((first, rest)) = segments.split_first() else { return };
    match first {
        Segment::Anywhere => {
            visit(rest, message, each);
            let fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
            for field in fields {
                for_each_nested(message, &field, None, &mut |nested| visit(segments, nested, each));
            }
        }
        Segment::Field { name, item } => {
            let Some(field) = message.descriptor().get_field_by_name(name) else { return };
            if rest.is_empty() {
                each(Leaf { message, field, item: *item });
            } else {
                for_each_nested(message, &field, *item, &mut |nested| visit(rest, nested, each));
            }
        }
    }
}

/// The messages that are there in a field: one, or those of a list.
fn for_each_nested(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    item: Option<i64>,
    each: &mut dyn FnMut(&mut DynamicMessage),
) {
    if !matches!(field.kind(), Kind::Message(_)) || !message.has_field(field) {
        return;
    }
    match message.get_field_mut(field) {
        Value::Message(nested) => each(nested),
        Value::List(items) => {
            let places = places(item, items.len());
            items[places].iter_mut().for_each(|item| {
                if let Value::Message(nested) = item {
                    each(nested);
                }
            });
        }
        _ => {}
    }
}

/// Which items of a list of this length are meant; none if there is no such item.
pub fn places(item: Option<i64>, length: usize) -> std::ops::Range<usize> {
    let Some(item) = item else { return 0..length };
    let from_end = usize::try_from(item.unsigned_abs()).unwrap_or(usize::MAX);
    let place = if item < 0 { length.checked_sub(from_end) } else { Some(from_end) };
    place.filter(|place| *place < length).map_or(0..0, |place| place..place + 1)
}

fn read(leaf: &Leaf<'_>, values: &mut Vec<Value>) {
    let is_message = matches!(leaf.field.kind(), Kind::Message(_));
    match leaf.message.get_field(&leaf.field).as_ref() {
        Value::List(items) if is_message && leaf.item.is_none() => {
            values.push(Value::U64(items.len() as u64));
        }
        Value::List(items) => values.extend_from_slice(&items[places(leaf.item, items.len())]),
        _ if is_message => values.push(Value::U64(leaf.message.has_field(&leaf.field).into())),
        value => values.push(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        probe::descriptors,
        proto::{etcdserverpb as pb, mvccpb},
    };

    fn sample() -> DynamicMessage {
        let kv =
            |key: &'static str, version| mvccpb::KeyValue { key: key.into(), version, ..Default::default() };
        let answer = pb::RangeResponse {
            header: Some(pb::ResponseHeader { revision: 7, ..Default::default() }),
            kvs: vec![kv("a", 1), kv("b", 2), kv("c", 3)],
            count: 3,
            more: false,
        };
        let mut message = DynamicMessage::new(descriptors::message("etcdserverpb.RangeResponse").unwrap());
        message.transcode_from(&answer).unwrap();
        message
    }

    fn numbers(path: &str) -> Vec<i64> {
        let values = Path::parse(path).unwrap().values(&sample());
        values
            .iter()
            .map(|value| value.as_i64().unwrap_or_else(|| value.as_u64().unwrap().cast_signed()))
            .collect()
    }

    #[test]
    fn paths_lead_to_fields_items_and_anywhere() {
        assert_eq!(numbers("header.revision"), [7]);
        assert_eq!(numbers("kvs.version"), [1, 2, 3]);
        assert_eq!((numbers("kvs[-1].version"), numbers("kvs[0].version")), (vec![3], vec![1]));
        assert_eq!((numbers("kvs[3].version"), numbers("kvs[-4].version")), (vec![], vec![]));
        assert_eq!((numbers("kvs"), numbers("header"), numbers("nothing")), (vec![3], vec![1], vec![]));
        assert_eq!(Path::parse("**.key").unwrap().values(&sample()).len(), 3);
        assert_eq!(numbers("**.revision"), [7]);
        for wrong in ["", "a.", "kvs[x].key", "kvs[1", "header.**"] {
            assert!(Path::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn messages_say_whether_they_have_a_path() {
        let has = |path: &str, message: &str| {
            Path::parse(path).unwrap().field(&descriptors::message(message).unwrap()).is_some()
        };
        assert!(has("kvs[0].lease", "etcdserverpb.RangeResponse"));
        assert!(has("**.key", "etcdserverpb.TxnRequest") && has("**.key", "etcdserverpb.PutRequest"));
        assert!(
            !has("count[0]", "etcdserverpb.RangeResponse") && !has("count.key", "etcdserverpb.RangeResponse")
        );
        assert!(!has("**.kv", "etcdserverpb.PutResponse") && has("**.prev_kv", "etcdserverpb.TxnResponse"));
    }
}
