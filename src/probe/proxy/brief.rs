//! A message on one line. In goes a decoded message, out come its fields that are set as `name=value`, long values and
//! long lists cut, and the header as revision, term and member. What lets its bearer in is taken out beforehand.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, Value};

use crate::probe::{encoding::Encoding, message, walk::SECRETS};

/// Longer keys and values are cut.
const BYTES_AT_MOST: usize = 64;
/// Further items of a list are only counted.
const ITEMS_AT_MOST: usize = 8;
const HEADER: &str = "etcdserverpb.ResponseHeader";

/// Takes passwords and tokens out.
pub fn hide_secrets(message: &mut DynamicMessage) {
    let is_secret = |field: &FieldDescriptor| SECRETS.contains(&field.name()) && message.has_field(field);
    let secrets: Vec<FieldDescriptor> = message.descriptor().fields().filter(is_secret).collect();
    for field in &secrets {
        match message.get_field_mut(field) {
            Value::String(value) => "(hidden)".clone_into(value),
            Value::Bytes(value) => *value = b"(hidden)".as_slice().into(),
            _ => {}
        }
    }
}

/// The message on one line; empty if nothing in it is set.
pub fn brief(message: &DynamicMessage, encoding: Encoding) -> String {
    let mut line = String::new();
    for (field, value) in message.fields() {
        if !line.is_empty() {
            line.push(' ');
        }
        match value {
            Value::Message(header) if header.descriptor().full_name() == HEADER => {
                line += &head(header);
            }
            Value::List(items) => {
                let shown: Vec<String> =
                    items.iter().take(ITEMS_AT_MOST).map(|item| one(item, &field, encoding)).collect();
                write!(line, "{}=[{}", field.name(), shown.join(", ")).expect("a string takes all");
                if items.len() > ITEMS_AT_MOST {
                    write!(line, ", … {} more", items.len() - ITEMS_AT_MOST).expect("a string takes all");
                }
                line.push(']');
            }
            Value::Message(nested) => {
                write!(line, "{}{{{}}}", field.name(), brief(nested, encoding)).expect("a string takes all");
            }
            value => {
                write!(line, "{}={}", field.name(), one(value, &field, encoding))
                    .expect("a string takes all");
            }
        }
    }
    line
}

fn one(value: &Value, field: &FieldDescriptor, encoding: Encoding) -> String {
    match value {
        Value::Message(nested) => format!("{{{}}}", brief(nested, encoding)),
        Value::Bytes(bytes) if bytes.len() > BYTES_AT_MOST => {
            format!("\"{}\"…({} bytes)", encoding.show(&bytes[..BYTES_AT_MOST]), bytes.len())
        }
        Value::Bytes(_) | Value::String(_) => {
            format!("\"{}\"", message::scalar_text(value, field, encoding))
        }
        value => message::scalar_text(value, field, encoding),
    }
}

fn head(header: &DynamicMessage) -> String {
    let text = |name: &str| message::text(header, name, Encoding::Text);
    format!("revision {} term {} member {}", text("revision"), text("raft_term"), text("member_id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        probe::descriptors,
        proto::{etcdserverpb as pb, mvccpb},
    };

    fn shown(name: &str, message: &impl prost::Message) -> String {
        let bytes = message.encode_to_vec();
        let mut message = DynamicMessage::decode(descriptors::message(name).unwrap(), &bytes[..]).unwrap();
        hide_secrets(&mut message);
        brief(&message, Encoding::Text)
    }

    #[test]
    fn what_is_set_is_shown_and_what_is_long_is_cut() {
        let put = pb::PutRequest {
            key: "a".into(),
            value: vec![b'x'; 70].into(),
            lease: 255,
            ..Default::default()
        };
        let x = "x".repeat(64);
        assert_eq!(
            shown("etcdserverpb.PutRequest", &put),
            format!("key=\"a\" value=\"{x}\"…(70 bytes) lease=ff")
        );
        let header = pb::ResponseHeader { member_id: 255, revision: 9, raft_term: 2, ..Default::default() };
        let kv = |n: u8| mvccpb::KeyValue { key: vec![b'0' + n].into(), version: 1, ..Default::default() };
        let answer = pb::RangeResponse {
            header: Some(header),
            kvs: (0..10).map(kv).collect(),
            count: 10,
            more: false,
        };
        let text = shown("etcdserverpb.RangeResponse", &answer);
        assert!(text.starts_with("revision 9 term 2 member ff kvs=[{key=\"0\" version=1}, "), "{text}");
        assert!(text.ends_with("{key=\"7\" version=1}, … 2 more] count=10"), "{text}");
    }

    #[test]
    fn secrets_are_hidden() {
        let login = pb::AuthenticateRequest { name: "root".into(), password: "hush".into() };
        let text = shown("etcdserverpb.AuthenticateRequest", &login);
        assert_eq!(text, "name=\"root\" password=\"(hidden)\"");
        let token = pb::AuthenticateResponse { token: "hush".into(), header: None };
        assert!(!shown("etcdserverpb.AuthenticateResponse", &token).contains("hush"));
    }
}
