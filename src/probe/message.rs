//! Answers of any kind, for people and for programs. In goes a message with its descriptor; out come rows of a
//! table, a label and a value each, or JSON under the protocol's own field names.

pub mod parse;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json, json};

use super::encoding::{Encoding, escaped};

/// Fields that people know in hexadecimal, as etcd itself prints them.
const IDS: [&str; 7] = ["cluster_id", "member_id", "memberID", "leader", "lease", "ID", "targetID"];
const PAIR: &str = "mvccpb.KeyValue";
/// Messages of which each is one row, named after its ID, so that those of several members meet.
const WITH_ID: [(&str, &str, &str); 3] = [
    ("etcdserverpb.Member", "member", "ID"),
    ("etcdserverpb.AlarmMember", "alarm of", "memberID"),
    ("etcdserverpb.LeaseStatus", "lease", "ID"),
];

/// A message as rows of label and value, in the order of its fields. A pair is one row, named after its key.
pub fn rows(message: &DynamicMessage, encoding: Encoding) -> Vec<(String, String)> {
    let mut into = vec![];
    push_rows(message, "", encoding, &mut into);
    into
}

fn push_rows(message: &DynamicMessage, path: &str, encoding: Encoding, into: &mut Vec<(String, String)>) {
    // The headers inside a transaction's answer have a revision at most; the rest would only be zeros.
    let zeros = !path.ends_with("header");
    for (field, value) in present(message).filter(|(field, _)| zeros || message.has_field(field)) {
        let label =
            if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
        match &value {
            // Without a row, it would look as if nothing had been asked for.
            Value::List(list) if list.is_empty() && is_with_id(&field) => {
                into.push((label, "none".to_owned()));
            }
            Value::List(list) => {
                for (place, value) in list.iter().enumerate() {
                    push_value(value, &field, &label, Some(place), encoding, into);
                }
            }
            value => push_value(value, &field, &label, None, encoding, into),
        }
    }
}

fn push_value(
    value: &Value,
    field: &FieldDescriptor,
    label: &str,
    place: Option<usize>,
    encoding: Encoding,
    into: &mut Vec<(String, String)>,
) {
    let placed = || place.map_or_else(|| label.to_owned(), |place| format!("{label}[{place}]"));
    match value {
        Value::Message(pair) if pair.descriptor().full_name() == PAIR => {
            let key = text(pair, "key", encoding);
            // In a list of pairs the key tells them apart better than the place, which differs between members.
            let list = if field.name() == "kvs" { label.trim_end_matches("kvs") } else { label };
            let label = format!("{} \"{key}\"", list.trim_end_matches('.'));
            into.push((label.trim_start().to_owned(), pair_text(pair, encoding)));
        }
        Value::Message(nested) if with_id(nested).is_some() => {
            let (_, word, id) = with_id(nested).expect("the guard found it");
            into.push((format!("{word} {}", text(nested, id, encoding)), of_id_text(nested, id, encoding)));
        }
        Value::Message(nested) if label == "header" => push_rows(nested, "", encoding, into),
        Value::Message(nested) => push_rows(nested, &placed(), encoding, into),
        scalar => into.push((placed(), scalar_text(scalar, field, encoding))),
    }
}

fn with_id(message: &DynamicMessage) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let descriptor = message.descriptor();
    WITH_ID.iter().find(|(name, _, _)| *name == descriptor.full_name())
}

fn is_with_id(field: &FieldDescriptor) -> bool {
    let kind = field.kind();
    kind.as_message().is_some_and(|message| WITH_ID.iter().any(|(name, _, _)| *name == message.full_name()))
}

/// All fields but the ID that have a value.
fn of_id_text(message: &DynamicMessage, id: &str, encoding: Encoding) -> String {
    let fields = message.fields().filter(|(field, _)| field.name() != id).map(|(field, value)| {
        let shown = match value {
            Value::List(list) => {
                list.iter().map(|value| scalar_text(value, &field, encoding)).collect::<Vec<_>>().join(",")
            }
            scalar => scalar_text(scalar, &field, encoding),
        };
        format!("{} {shown}", field.name())
    });
    let shown: Vec<String> = fields.collect();
    if shown.is_empty() { "is there".to_owned() } else { shown.join(" ") }
}

fn pair_text(pair: &DynamicMessage, encoding: Encoding) -> String {
    let number = |name: &str| text(pair, name, encoding);
    let lease = match number("lease").as_str() {
        "0" => String::new(),
        lease => format!(", lease {lease}"),
    };
    format!(
        "\"{}\" (created {}, modified {}, version {}{lease})",
        number("value"),
        number("create_revision"),
        number("mod_revision"),
        number("version"),
    )
}

/// One field of a message, as text; empty if the message has no such field.
pub fn text(message: &DynamicMessage, name: &str, encoding: Encoding) -> String {
    let field = message.descriptor().get_field_by_name(name);
    field.map_or_else(String::new, |field| scalar_text(&message.get_field(&field), &field, encoding))
}

/// The fields that an answer has: all but messages that are not there, so that a 0 is told apart from nothing.
fn present(message: &DynamicMessage) -> impl Iterator<Item = (FieldDescriptor, Value)> {
    let fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
    fields.into_iter().filter_map(|field| {
        let there = !field.supports_presence() || message.has_field(&field);
        there.then(|| (field.clone(), message.get_field(&field).into_owned()))
    })
}

/// A value that is neither a message nor a list, as text.
pub fn scalar_text(value: &Value, field: &FieldDescriptor, encoding: Encoding) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) if IDS.contains(&field.name()) => format!("{value:x}"),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) if IDS.contains(&field.name()) => format!("{value:x}"),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(value) => escaped(value.as_bytes()),
        Value::Bytes(value) => encoding.show(value),
        Value::EnumNumber(number) => enum_name(*number, field).unwrap_or_else(|| number.to_string()),
        Value::Message(_) | Value::List(_) | Value::Map(_) => String::new(),
    }
}

fn enum_name(number: i32, field: &FieldDescriptor) -> Option<String> {
    let Kind::Enum(names) = field.kind() else { return None };
    names.get_value(number).map(|value| value.name().to_owned())
}

/// A message as a JSON object under the protocol's field names; numbers are numbers, enum values names.
pub fn json(message: &DynamicMessage, encoding: Encoding) -> Json {
    let object: Map<String, Json> = present(message)
        .map(|(field, value)| (field.name().to_owned(), json_value(&value, &field, encoding)))
        .collect();
    Json::Object(object)
}

fn json_value(value: &Value, field: &FieldDescriptor, encoding: Encoding) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::I32(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U32(value) => json!(value),
        Value::U64(value) => json!(value),
        Value::F32(value) => json!(value),
        Value::F64(value) => json!(value),
        Value::String(value) => json!(value),
        Value::Bytes(value) => encoding.json(value),
        Value::EnumNumber(number) => enum_name(*number, field).map_or(json!(number), Json::String),
        Value::Message(nested) => json(nested, encoding),
        Value::List(list) => list.iter().map(|value| json_value(value, field, encoding)).collect(),
        // The protocol has no maps: a test holds it to that.
        Value::Map(_) => Json::Null,
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{
        probe::descriptors,
        proto::{
            DESCRIPTORS,
            etcdserverpb::{self as pb, response_op},
            mvccpb,
        },
    };

    fn dynamic(name: &str, message: &impl prost::Message) -> DynamicMessage {
        DynamicMessage::decode(descriptors::message(name).unwrap(), &message.encode_to_vec()[..]).unwrap()
    }

    fn range() -> pb::RangeResponse {
        let header = pb::ResponseHeader { cluster_id: 255, member_id: 16, revision: 9, raft_term: 2 };
        let kv = mvccpb::KeyValue {
            key: "k".into(),
            value: vec![0xff].into(),
            create_revision: 3,
            mod_revision: 4,
            version: 2,
            lease: 10,
        };
        pb::RangeResponse { header: Some(header), kvs: vec![kv], more: false, count: 1 }
    }

    #[test]
    fn a_range_is_its_header_and_a_row_for_each_pair() {
        let rows = rows(&dynamic("etcdserverpb.RangeResponse", &range()), Encoding::Text);
        let rows: Vec<(&str, &str)> = rows.iter().map(|(label, value)| (&label[..], &value[..])).collect();
        assert_eq!(
            rows,
            [
                ("cluster_id", "ff"),
                ("member_id", "10"),
                ("revision", "9"),
                ("raft_term", "2"),
                ("\"k\"", "\"\\xff\" (created 3, modified 4, version 2, lease a)"),
                ("more", "false"),
                ("count", "1"),
            ]
        );
    }

    #[test]
    fn a_transactions_answers_are_named_by_their_place() {
        let range = response_op::Response::ResponseRange(range());
        let answer = pb::TxnResponse {
            succeeded: true,
            responses: vec![pb::ResponseOp { response: Some(range) }],
            ..Default::default()
        };
        let answer = dynamic("etcdserverpb.TxnResponse", &answer);
        let labels: Vec<String> = rows(&answer, Encoding::Hex).into_iter().map(|(label, _)| label).collect();
        assert!(labels.contains(&"succeeded".to_owned()), "{labels:?}");
        for label in ["count", "header.revision"].map(|field| format!("responses[0].response_range.{field}"))
        {
            assert!(labels.contains(&label), "{labels:?}");
        }
        assert!(labels.contains(&"responses[0].response_range \"6b\"".to_owned()), "{labels:?}");
        let object = json(&answer, Encoding::Text);
        let pair = &object["responses"][0]["response_range"]["kvs"][0];
        assert_eq!((&pair["value"], &pair["lease"]), (&json!({ "base64": "/w==" }), &json!(10)));
        assert!(object.get("header").is_none());
    }

    #[test]
    fn the_protocol_has_no_maps() {
        let pool = prost_reflect::DescriptorPool::decode(DESCRIPTORS).unwrap();
        assert!(pool.all_messages().all(|message| message.fields().all(|field| !field.is_map())));
    }
}
