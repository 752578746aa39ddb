//! How common each type of message is before its bytes are looked at, and which of its fields it mostly has. In go
//! descriptors, out come likelihoods from 0 to 1. They are of the right order of magnitude, and no more than that.

use prost_reflect::{FieldDescriptor, MessageDescriptor, MethodDescriptor};

use crate::probe::descriptors;

/// Only messages of methods travel by themselves.
const NOT_OF_A_METHOD: f64 = 1e-3;

/// A field without which the message makes no sense.
const ALWAYS: f64 = 0.99;
/// A field that most messages of the type have.
const MOSTLY: f64 = 0.9;
/// A field of which nothing is known, or that some have.
const OFTEN: f64 = 0.5;
/// An option that is rarely used.
const SELDOM: f64 = 0.05;

/// A field with how likely a message has it.
type Presence = (&'static str, f64);

/// The messages that travel most, with the fields that they have; all others of their fields they have seldom.
const FIELDS: [(&str, &[Presence]); 24] = [
    ("etcdserverpb.RangeRequest", &[("key", ALWAYS), ("range_end", OFTEN)]),
    ("etcdserverpb.RangeResponse", &[("kvs", MOSTLY), ("count", ALWAYS)]),
    ("etcdserverpb.PutRequest", &[("key", ALWAYS), ("value", ALWAYS)]),
    ("etcdserverpb.PutResponse", &[]),
    ("etcdserverpb.DeleteRangeRequest", &[("key", ALWAYS), ("range_end", OFTEN)]),
    ("etcdserverpb.DeleteRangeResponse", &[("deleted", ALWAYS)]),
    ("etcdserverpb.TxnRequest", &[("compare", MOSTLY), ("success", MOSTLY), ("failure", OFTEN)]),
    ("etcdserverpb.TxnResponse", &[("succeeded", OFTEN), ("responses", ALWAYS)]),
    ("etcdserverpb.Compare", &[("key", ALWAYS), ("result", OFTEN), ("target", OFTEN)]),
    ("etcdserverpb.HashKVResponse", &[("hash", ALWAYS), ("compact_revision", OFTEN)]),
    (
        "etcdserverpb.WatchCreateRequest",
        &[("key", ALWAYS), ("range_end", OFTEN), ("start_revision", OFTEN), ("prev_kv", OFTEN)],
    ),
    ("etcdserverpb.WatchCancelRequest", &[("watch_id", OFTEN)]),
    ("etcdserverpb.WatchResponse", &[("watch_id", OFTEN), ("created", OFTEN), ("events", MOSTLY)]),
    ("mvccpb.Event", &[("kv", ALWAYS), ("type", OFTEN), ("prev_kv", OFTEN)]),
    (
        "mvccpb.KeyValue",
        &[
            ("key", ALWAYS),
            ("create_revision", MOSTLY),
            ("mod_revision", ALWAYS),
            ("version", MOSTLY),
            ("value", MOSTLY),
        ],
    ),
    ("etcdserverpb.LeaseGrantRequest", &[("TTL", ALWAYS), ("ID", OFTEN)]),
    ("etcdserverpb.LeaseGrantResponse", &[("ID", ALWAYS), ("TTL", ALWAYS)]),
    ("etcdserverpb.LeaseRevokeRequest", &[("ID", ALWAYS)]),
    ("etcdserverpb.LeaseKeepAliveRequest", &[("ID", ALWAYS)]),
    ("etcdserverpb.LeaseKeepAliveResponse", &[("ID", ALWAYS), ("TTL", ALWAYS)]),
    ("etcdserverpb.LeaseTimeToLiveRequest", &[("ID", ALWAYS), ("keys", OFTEN)]),
    (
        "etcdserverpb.LeaseTimeToLiveResponse",
        &[("ID", ALWAYS), ("TTL", ALWAYS), ("grantedTTL", ALWAYS), ("keys", OFTEN)],
    ),
    (
        "etcdserverpb.Member",
        &[("ID", ALWAYS), ("name", ALWAYS), ("peerURLs", ALWAYS), ("clientURLs", ALWAYS)],
    ),
    ("etcdserverpb.CompactionRequest", &[("revision", ALWAYS)]),
];

/// How common a type is: that of its commonest method. Keys and values are what clients ask for and are told of all
/// the time, leases now and then, members and users hardly ever.
pub fn of_message(message: &MessageDescriptor) -> f64 {
    let methods = descriptors::all_methods();
    let its = methods.filter(|method| method.input() == *message || method.output() == *message);
    its.map(|method| of_method(&method)).fold(NOT_OF_A_METHOD, f64::max)
}

fn of_method(method: &MethodDescriptor) -> f64 {
    match (method.parent_service().name(), method.name()) {
        ("KV", "DeleteRange") | ("Lease", _) => 0.1,
        ("KV", "Compact") | ("Cluster", "MemberList") | ("Auth", "Authenticate") => 0.01,
        ("KV" | "Watch", _) => 1.0,
        ("Maintenance", "Downgrade" | "MoveLeader") => 1e-3,
        ("Maintenance", _) => 0.01,
        // Most clients make their locks and elections of keys.
        _ => 1e-3,
    }
}

/// How likely a message of the type has this field.
pub fn of_field(message: &MessageDescriptor, field: &FieldDescriptor) -> f64 {
    let Some((_, fields)) = FIELDS.iter().find(|(name, _)| *name == message.full_name()) else {
        return OFTEN;
    };
    fields.iter().find(|(name, _)| *name == field.name()).map_or(SELDOM, |(_, presence)| *presence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_protocol() {
        for (name, fields) in FIELDS {
            let message = descriptors::message(name).unwrap_or_else(|| panic!("no {name}"));
            for (field, _) in fields {
                assert!(message.get_field_by_name(field).is_some(), "{name} has no {field}");
            }
        }
    }

    #[test]
    fn keys_and_values_are_commoner_than_users() {
        let prior = |name: &str| of_message(&descriptors::message(name).unwrap());
        let common = prior("etcdserverpb.PutRequest");
        for rare in ["etcdserverpb.AuthenticateRequest", "etcdserverpb.StatusRequest", "mvccpb.KeyValue"] {
            assert!(prior(rare) <= common / 100.0, "{rare}");
        }
    }
}
