//! Changes of single fields. In goes a message, out comes the same with other values, fewer, more or reordered items.
//! A value that does not fit the field's type is found when the rule is read, not here.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};

use super::path::{Leaf, Path, places};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Its bytes, without quotes.
    pub bytes: Vec<u8>,
    /// Whether there were quotes.
    pub quoted: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Another value.
    Set(Path, Literal),
    /// So much more or less.
    Add(Path, i64),
    /// No value.
    Clear(Path),
    /// Without this item.
    Remove(Path),
    /// This item twice.
    Double(Path),
    /// The list from its end.
    Reverse(Path),
    /// One item more: this value, or an empty message.
    Append(Path, Option<Literal>),
}

impl Literal {
    /// As a value of this kind, if it is one.
    pub fn value(&self, kind: &Kind) -> Option<Value> {
        let text = std::str::from_utf8(&self.bytes).ok();
        let number = || text.filter(|_| !self.quoted).and_then(number);
        Some(match kind {
            Kind::Bytes => Value::Bytes(self.bytes.clone().into()),
            Kind::String => Value::String(text?.to_owned()),
            Kind::Bool => Value::Bool(text?.parse().ok()?),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number()?.try_into().ok()?),
            // Of messages, conditions see how many there are.
            Kind::Uint64 | Kind::Fixed64 | Kind::Message(_) => Value::U64(number()?.try_into().ok()?),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number()?.try_into().ok()?),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number()?.try_into().ok()?),
            Kind::Enum(names) => Value::EnumNumber(match number() {
                Some(number) => number.try_into().ok()?,
                None => names.get_value_by_name(text?)?.number(),
            }),
            Kind::Float | Kind::Double => return None,
        })
    }
}

/// A whole number, decimal or from `0x`.
fn number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Edit {
    /// Where it is made.
    pub fn path(&self) -> &Path {
        match self {
            Self::Set(path, _)
            | Self::Add(path, _)
            | Self::Clear(path)
            | Self::Remove(path)
            | Self::Double(path)
            | Self::Reverse(path)
            | Self::Append(path, _) => path,
        }
    }

    /// Why it can't be made in this field, if it can't.
    pub fn misfit(&self, field: &FieldDescriptor) -> Option<&'static str> {
        let kind = field.kind();
        let is_message = matches!(kind, Kind::Message(_));
        let is_number = matches!(kind, Kind::Int64 | Kind::Uint64 | Kind::Int32 | Kind::Uint32);
        match self {
            Self::Set(..) if is_message => Some("it is a message: set its fields, or clear it"),
            Self::Set(_, literal) if literal.value(&kind).is_none() => {
                Some("the value does not fit the field")
            }
            Self::Add(..) if !is_number => Some("it is no number"),
            Self::Remove(path) | Self::Double(path) if !field.is_list() || !path.names_an_item() => {
                Some("write which item of which list, as kvs[0] or events[-1]")
            }
            Self::Reverse(_) | Self::Append(..) if !field.is_list() => Some("it is no list"),
            Self::Append(path, _) if path.names_an_item() => Some("write the list, without an item"),
            Self::Append(_, Some(_)) if is_message => {
                Some("it is of messages: append one, then set its fields")
            }
            Self::Append(_, None) if !is_message => Some("it is of values: write append LIST = VALUE"),
            Self::Append(_, Some(literal)) if literal.value(&kind).is_none() => {
                Some("the value does not fit the list")
            }
            _ => None,
        }
    }

    /// Makes the change wherever its path leads.
    pub fn apply(&self, message: &mut DynamicMessage) {
        self.path().visit(message, &mut |leaf| self.apply_at(leaf));
    }

    fn apply_at(&self, Leaf { message, field, item }: Leaf<'_>) {
        match self {
            Self::Clear(_) if item.is_none() => return message.clear_field(&field),
            // In a message that has another one of several fields, this one is not to take its place.
            Self::Add(..) if field.containing_oneof().is_some() && !message.has_field(&field) => return,
            _ => {}
        }
        match message.get_field_mut(&field) {
            Value::List(items) => {
                let places = places(item, items.len());
                match self {
                    Self::Reverse(_) => items.reverse(),
                    Self::Append(_, literal) => items.extend(match (field.kind(), literal) {
                        (Kind::Message(empty), _) => Some(Value::Message(DynamicMessage::new(empty))),
                        (kind, literal) => literal.as_ref().and_then(|literal| literal.value(&kind)),
                    }),
                    Self::Clear(_) | Self::Remove(_) => drop(items.drain(places)),
                    Self::Double(_) => {
                        let doubled = items[places.clone()].to_vec();
                        items.splice(places.end..places.end, doubled);
                    }
                    Self::Set(..) | Self::Add(..) => {
                        items[places].iter_mut().for_each(|value| self.change(value, &field.kind()));
                    }
                }
            }
            value => self.change(value, &field.kind()),
        }
    }

    fn change(&self, value: &mut Value, kind: &Kind) {
        match self {
            Self::Set(_, literal) => {
                if let Some(new) = literal.value(kind) {
                    *value = new;
                }
            }
            Self::Add(_, by) => add(value, *by),
            Self::Clear(_) | Self::Remove(_) | Self::Double(_) | Self::Reverse(_) | Self::Append(..) => {}
        }
    }
}

/// Adds as the types do: around their ends.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "going around the end is meant")]
fn add(value: &mut Value, by: i64) {
    match value {
        Value::I64(number) => *number = number.wrapping_add(by),
        Value::U64(number) => *number = number.wrapping_add_signed(by),
        Value::I32(number) => *number = number.wrapping_add(by as i32),
        Value::U32(number) => *number = number.wrapping_add(by as u32),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::ReflectMessage as _;

    use super::*;
    use crate::{
        probe::{
            descriptors,
            proxy::lies::{parse::parse, rule::After},
        },
        proto::{etcdserverpb as pb, mvccpb},
    };

    /// What a range's answer is after this action of a rule.
    fn changed(action: &str) -> pb::RangeResponse {
        let kv =
            |key: &'static str, version| mvccpb::KeyValue { key: key.into(), version, ..Default::default() };
        let header = pb::ResponseHeader { member_id: 1, revision: 7, ..Default::default() };
        let answer = pb::RangeResponse {
            header: Some(header),
            kvs: vec![kv("a", 1), kv("b", 2)],
            count: 2,
            more: false,
        };
        let mut message = DynamicMessage::new(descriptors::message("etcdserverpb.RangeResponse").unwrap());
        message.transcode_from(&answer).unwrap();
        let rules = parse(&format!("on Range {{ {action} }}"), 0).unwrap_or_else(|place| panic!("{place}"));
        for action in &rules[0].after {
            let After::Edit(edit) = action else { panic!("{action:?} is no edit") };
            edit.apply(&mut message);
        }
        assert_eq!(message.descriptor().name(), "RangeResponse");
        message.transcode_to().unwrap()
    }

    fn keys(answer: &pb::RangeResponse) -> Vec<String> {
        answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
    }

    #[test]
    fn fields_are_changed_where_the_path_leads_and_nowhere_else() {
        assert_eq!(changed("set header.revision -= 10").header.unwrap().revision, -3);
        assert_eq!(changed("set header.member_id = 0xff").header.unwrap().member_id, 255);
        assert_eq!(changed("set header.member_id -= 2").header.unwrap().member_id, u64::MAX);
        assert!(changed("clear header").header.is_none());
        assert_eq!(changed("set count += 1").count, 3);
        assert!(changed("set more = true").more);
        assert_eq!(keys(&changed("set kvs.key = \"x y\"")), ["x y", "x y"]);
        assert_eq!(keys(&changed("set kvs[-1].key = 5")), ["a", "5"]);
        assert_eq!(keys(&changed("drop kvs[0]")), ["b"]);
        assert_eq!(keys(&changed("drop kvs[5]")), ["a", "b"]);
        assert_eq!(keys(&changed("double kvs[0]")), ["a", "a", "b"]);
        assert_eq!(keys(&changed("reverse kvs")), ["b", "a"]);
        assert!(keys(&changed("clear kvs")).is_empty());
        assert_eq!(keys(&changed("append kvs; set kvs[-1].key = c")), ["a", "b", "c"]);
        assert_eq!(changed("clear kvs.version").kvs[1].version, 0);
    }
}
