//! From JSON to a message: what `json` makes of a message is read back, and also what a person writes shorter. In go
//! JSON and the message's descriptor, out comes the message, or an error that names the field.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

use crate::probe::encoding::Encoding;

/// The JSON is no such message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}{what}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct ParseError {
    path: String,
    what: String,
}

type Parsed<T> = Result<T, ParseError>;

fn wrong<T>(path: &str, what: impl Into<String>) -> Parsed<T> {
    Err(ParseError { path: path.to_owned(), what: what.into() })
}

/// Reads a message. Bytes are strings in the encoding, or `{"base64": …}`; a field that is `null` is left out.
pub fn parse(json: &Json, message: &MessageDescriptor, encoding: Encoding) -> Parsed<DynamicMessage> {
    parse_at("", json, message, encoding)
}

fn parse_at(
    path: &str,
    json: &Json,
    message: &MessageDescriptor,
    encoding: Encoding,
) -> Parsed<DynamicMessage> {
    let Json::Object(fields) = json else {
        return wrong(path, format!("a {} is an object", message.full_name()));
    };
    let mut parsed = DynamicMessage::new(message.clone());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(field) = message.get_field_by_name(name) else {
            let known: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
            let known = if known.is_empty() { "no fields".to_owned() } else { known.join(", ") };
            return wrong(&path, format!("{} has no such field; it has {known}", message.full_name()));
        };
        let value = match value {
            Json::Array(values) if field.is_list() => {
                let values = values
                    .iter()
                    .enumerate()
                    .map(|(place, value)| value_at(&format!("{path}[{place}]"), value, &field, encoding));
                Value::List(values.collect::<Parsed<_>>()?)
            }
            _ if field.is_list() => return wrong(&path, "this is a list: [ … ]"),
            value => value_at(&path, value, &field, encoding)?,
        };
        parsed.set_field(&field, value);
    }
    Ok(parsed)
}

fn value_at(path: &str, json: &Json, field: &FieldDescriptor, encoding: Encoding) -> Parsed<Value> {
    Ok(match field.kind() {
        Kind::Message(message) => Value::Message(parse_at(path, json, &message, encoding)?),
        Kind::Bytes => Value::Bytes(bytes_at(path, json, encoding)?),
        Kind::String => match json {
            Json::String(text) => Value::String(text.clone()),
            _ => return wrong(path, "this is a string"),
        },
        Kind::Bool => match json {
            Json::Bool(value) => Value::Bool(*value),
            _ => return wrong(path, "this is true or false"),
        },
        Kind::Enum(names) => {
            let by_name =
                json.as_str().and_then(|name| names.get_value_by_name(name)).map(|value| value.number());
            let Some(number) = by_name.or_else(|| number(json)) else {
                let known: Vec<String> = names.values().map(|value| value.name().to_owned()).collect();
                return wrong(path, format!("this is one of {}", known.join(", ")));
            };
            Value::EnumNumber(number)
        }
        kind => match scalar(json, &kind) {
            Some(value) => value,
            None => return wrong(path, format!("this is a number that fits in {kind:?}")),
        },
    })
}

/// A whole number, also as a string: some JSON tools can't hold those of 64 bits otherwise.
fn number<T: TryFrom<i128>>(json: &Json) -> Option<T> {
    let wide = match json {
        Json::String(text) => text.parse().ok()?,
        json => json.as_i64().map(i128::from).or_else(|| json.as_u64().map(i128::from))?,
    };
    T::try_from(wide).ok()
}

#[expect(clippy::cast_possible_truncation, reason = "this is what a field of that type can hold")]
fn scalar(json: &Json, kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number(json)?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number(json)?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number(json)?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number(json)?),
        Kind::Double => Value::F64(json.as_f64()?),
        Kind::Float => Value::F32(json.as_f64()? as f32),
        _ => return None,
    })
}

fn bytes_at(path: &str, json: &Json, encoding: Encoding) -> Parsed<Bytes> {
    let base64 = json.get("base64").and_then(Json::as_str);
    match (json, base64) {
        (Json::String(text), _) => {
            encoding.decode(text.as_bytes()).or_else(|error| wrong(path, error.to_string()))
        }
        (_, Some(text)) => {
            STANDARD.decode(text).map(Bytes::from).or_else(|error| wrong(path, error.to_string()))
        }
        _ => wrong(path, "this is a string, or {\"base64\": …}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use serde_json::json;

    use super::*;
    use crate::probe::{descriptors, message};

    fn descriptor(name: &str) -> MessageDescriptor {
        descriptors::message(name).unwrap()
    }

    fn error(name: &str, json: &Json) -> String {
        parse(json, &descriptor(name), Encoding::Text).unwrap_err().to_string()
    }

    #[test]
    fn what_a_person_writes_is_read() {
        let txn = json!({
            "compare": [{ "key": "a", "target": "VERSION", "version": 0, "result": 0 }],
            "success": [{ "request_put": { "key": "a", "value": { "base64": "/w==" }, "lease": "31" } }],
        });
        let message = parse(&txn, &descriptor("etcdserverpb.TxnRequest"), Encoding::Text).unwrap();
        let decoded = crate::proto::etcdserverpb::TxnRequest::decode(&message.encode_to_vec()[..]).unwrap();
        let Some(crate::proto::etcdserverpb::request_op::Request::RequestPut(put)) =
            decoded.success[0].request.clone()
        else {
            panic!("{decoded:?}")
        };
        assert_eq!((&put.key[..], &put.value[..], put.lease), (&b"a"[..], &b"\xff"[..], 31));
    }

    #[test]
    fn errors_name_the_field_and_what_could_be_there() {
        for (name, json, words) in [
            ("RangeRequest", json!([]), "a etcdserverpb.RangeRequest is an object"),
            (
                "RangeRequest",
                json!({ "keys": "a" }),
                "keys: etcdserverpb.RangeRequest has no such field; it has key, ",
            ),
            ("RangeRequest", json!({ "limit": 1.5 }), "limit: this is a number"),
            (
                "RangeRequest",
                json!({ "sort_order": "UP" }),
                "sort_order: this is one of NONE, ASCEND, DESCEND",
            ),
            ("TxnRequest", json!({ "compare": {} }), "compare: this is a list"),
            ("TxnRequest", json!({ "compare": [{ "key": 5 }] }), "compare[0].key: this is a string, or"),
            ("PutRequest", json!({ "prev_kv": 1 }), "prev_kv: this is true or false"),
        ] {
            let error = error(&format!("etcdserverpb.{name}"), &json);
            assert!(error.starts_with(words), "{error}");
        }
    }

    proptest! {
        /// Whatever bytes are a message, its JSON makes a message with the same fields.
        #[test]
        fn json_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..60), place in 0usize..200) {
            let names = descriptors::names();
            let descriptor = descriptor(&names[place % names.len()]);
            if let Ok(message) = DynamicMessage::decode(descriptor.clone(), &bytes[..]) {
                for encoding in [Encoding::Text, Encoding::Hex, Encoding::Base64] {
                    let json = message::json(&message, encoding);
                    let back = parse(&json, &descriptor, encoding).unwrap();
                    prop_assert_eq!(message::json(&back, encoding), json);
                }
            }
        }
    }
}
