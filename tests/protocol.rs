//! Proves that `proto/` is etcd's protocol: compares it, descriptor by descriptor, with the file descriptors that
//! the real etcd binaries of all packaged versions carry inside. What an older server lacks is listed here, and
//! the list is exact. Comments, options and the order of declarations are not compared.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    io::Read as _,
    path::Path,
};

use etcd_antithesis::{
    lab::etcd_binary::{EtcdBinary, EtcdVersion},
    proto::DESCRIPTORS,
};
use flate2::read::GzDecoder;
use prost_reflect::{
    prost::Message as _,
    prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumOptions, FieldDescriptorProto, FileDescriptorProto,
        FileDescriptorSet, MessageOptions, ServiceDescriptorProto,
    },
};

const GZIP_HEADER: [u8; 3] = [0x1f, 0x8b, 0x08];
/// More than any descriptor takes; what only looks like a gzip stream may unpack to anything.
const MAX_DESCRIPTOR_BYTES: u64 = 1 << 20;
const FILES: [&str; 5] = ["auth.proto", "kv.proto", "rpc.proto", "v3election.proto", "v3lock.proto"];

/// What `proto/` has and etcd 3.4 lacks.
const NEW_IN_3_5: [&str; 20] = [
    "enum etcdserverpb.DowngradeRequest.DowngradeAction",
    "field etcdserverpb.AuthStatusResponse.authRevision",
    "field etcdserverpb.AuthStatusResponse.enabled",
    "field etcdserverpb.AuthStatusResponse.header",
    "field etcdserverpb.AuthUserAddRequest.hashedPassword",
    "field etcdserverpb.AuthUserChangePasswordRequest.hashedPassword",
    "field etcdserverpb.DowngradeRequest.action",
    "field etcdserverpb.DowngradeRequest.version",
    "field etcdserverpb.DowngradeResponse.header",
    "field etcdserverpb.DowngradeResponse.version",
    "field etcdserverpb.MemberListRequest.linearizable",
    "message etcdserverpb.AuthStatusRequest",
    "message etcdserverpb.AuthStatusResponse",
    "message etcdserverpb.DowngradeRequest",
    "message etcdserverpb.DowngradeResponse",
    "method etcdserverpb.Auth.AuthStatus",
    "method etcdserverpb.Maintenance.Downgrade",
    "value etcdserverpb.DowngradeRequest.DowngradeAction.CANCEL",
    "value etcdserverpb.DowngradeRequest.DowngradeAction.ENABLE",
    "value etcdserverpb.DowngradeRequest.DowngradeAction.VALIDATE",
];

/// Every statement that a protocol makes: what is declared, by kind and full name, and how.
type Facts = BTreeMap<String, String>;

fn add(facts: &mut Facts, kind: &str, name: &str, how: impl Debug) {
    let earlier = facts.insert(format!("{kind} {name}"), format!("{how:?}"));
    assert_eq!(earlier, None, "{kind} {name} is declared twice");
}

fn facts(files: &[FileDescriptorProto]) -> Facts {
    let mut facts = Facts::new();
    for file in files {
        add(&mut facts, "file", file.name(), (file.package(), file.syntax()));
        file.service.iter().for_each(|service| add_service(&mut facts, file.package(), service));
        file.message_type.iter().for_each(|message| add_message(&mut facts, file.package(), message));
        file.enum_type.iter().for_each(|enumeration| add_enum(&mut facts, file.package(), enumeration));
        assert!(file.extension.is_empty(), "{}: an extension is not compared", file.name());
    }
    facts
}

fn add_service(facts: &mut Facts, scope: &str, service: &ServiceDescriptorProto) {
    let name = format!("{scope}.{}", service.name());
    add(facts, "service", &name, ());
    for method in &service.method {
        let request = (method.client_streaming(), method.input_type());
        let response = (method.server_streaming(), method.output_type());
        add(facts, "method", &format!("{name}.{}", method.name()), (request, response));
    }
}

fn add_message(facts: &mut Facts, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    let map_entry = message.options.as_ref().is_some_and(MessageOptions::map_entry);
    add(facts, "message", &name, (map_entry, &message.reserved_range, &message.reserved_name));
    for oneof in &message.oneof_decl {
        add(facts, "oneof", &format!("{name}.{}", oneof.name()), ());
    }
    for field in &message.field {
        add(facts, "field", &format!("{name}.{}", field.name()), field_facts(message, field));
    }
    message.nested_type.iter().for_each(|nested| add_message(facts, &name, nested));
    message.enum_type.iter().for_each(|nested| add_enum(facts, &name, nested));
}

fn field_facts(message: &DescriptorProto, field: &FieldDescriptorProto) -> impl Debug {
    let oneof =
        field.oneof_index.map(|index| message.oneof_decl[usize::try_from(index).unwrap()].name().to_owned());
    let packed = field.options.as_ref().and_then(|options| options.packed);
    let encoding = (field.number(), field.r#type(), field.type_name().to_owned(), field.label(), packed);
    (encoding, oneof, field.default_value().to_owned(), field.proto3_optional())
}

fn add_enum(facts: &mut Facts, scope: &str, enumeration: &EnumDescriptorProto) {
    let name = format!("{scope}.{}", enumeration.name());
    let alias = enumeration.options.as_ref().is_some_and(EnumOptions::allow_alias);
    add(facts, "enum", &name, (alias, &enumeration.reserved_range, &enumeration.reserved_name));
    for value in &enumeration.value {
        add(facts, "value", &format!("{name}.{}", value.name()), value.number());
    }
}

/// Names of what one side lacks or says otherwise.
fn differences(one: &Facts, other: &Facts) -> BTreeSet<String> {
    one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

fn our_files() -> Vec<FileDescriptorProto> {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap().file
}

/// The protocol's descriptors inside an etcd binary: gzip streams that unpack to a `FileDescriptorProto`.
fn files_in(binary: &Path) -> Vec<FileDescriptorProto> {
    let bytes = fs::read(binary).unwrap();
    let starts = (0..bytes.len()).filter(|start| bytes[*start..].starts_with(&GZIP_HEADER));
    starts
        .filter_map(|start| {
            let mut unpacked = Vec::new();
            let decoder = GzDecoder::new(&bytes[start..]);
            decoder.take(MAX_DESCRIPTOR_BYTES).read_to_end(&mut unpacked).ok()?;
            FileDescriptorProto::decode(&*unpacked).ok()
        })
        .filter(|file| FILES.contains(&file.name()))
        .collect()
}

#[test]
fn proto_equals_the_protocol_inside_every_etcd() {
    let ours = facts(&our_files());
    for version in EtcdVersion::PACKAGED {
        let files = files_in(EtcdBinary::fetch(version).unwrap().path());
        let names: BTreeSet<&str> = files.iter().map(FileDescriptorProto::name).collect();
        assert_eq!((files.len(), names), (FILES.len(), FILES.into()), "descriptors inside etcd {version}");
        let theirs = facts(&files);
        let listed: BTreeSet<String> = if version < EtcdVersion::new(3, 5, 0) {
            NEW_IN_3_5.iter().map(ToString::to_string).collect()
        } else {
            BTreeSet::new()
        };
        assert_eq!(
            differences(&ours, &theirs),
            listed,
            "etcd {version} and proto/ differ otherwise than listed"
        );
        assert!(theirs.keys().all(|name| ours.contains_key(name)), "etcd {version} has what proto/ lacks");
    }
}

#[test]
fn proto_has_all_services_and_nothing_else() {
    let ours = facts(&our_files());
    let services: Vec<&str> = ours.keys().filter_map(|name| name.strip_prefix("service ")).collect();
    assert_eq!(
        services,
        [
            "etcdserverpb.Auth",
            "etcdserverpb.Cluster",
            "etcdserverpb.KV",
            "etcdserverpb.Lease",
            "etcdserverpb.Maintenance",
            "etcdserverpb.Watch",
            "v3electionpb.Election",
            "v3lockpb.Lock",
        ]
    );
    let files: Vec<&str> = ours.keys().filter_map(|name| name.strip_prefix("file ")).collect();
    assert_eq!(files, FILES);
}

/// Proves that the comparison can fail: each kind of change to a descriptor is a difference of that name.
#[test]
fn every_kind_of_change_is_a_difference() {
    fn message<'a>(file: &'a mut FileDescriptorProto, name: &str) -> &'a mut DescriptorProto {
        file.message_type.iter_mut().find(|message| message.name() == name).unwrap()
    }
    fn field<'a>(file: &'a mut FileDescriptorProto, name: &str) -> &'a mut FieldDescriptorProto {
        message(file, name).field.first_mut().unwrap()
    }
    type Change = fn(&mut FileDescriptorProto);
    let changes: [(&str, Change); 14] = [
        ("file rpc.proto", |file| file.syntax = None),
        ("service etcdserverpb.Odd", |file| file.service[0].name = Some("Odd".to_owned())),
        ("method etcdserverpb.KV.Range", |file| file.service[0].method[0].client_streaming = Some(true)),
        ("method etcdserverpb.KV.Range", |file| file.service[0].method[0].server_streaming = Some(true)),
        ("method etcdserverpb.KV.Range", |file| file.service[0].method[0].output_type = None),
        ("message etcdserverpb.Odd", |file| message(file, "Compare").name = Some("Odd".to_owned())),
        ("field etcdserverpb.PutRequest.odd", |file| field(file, "PutRequest").name = Some("odd".to_owned())),
        ("field etcdserverpb.PutRequest.key", |file| field(file, "PutRequest").number = Some(99)),
        ("field etcdserverpb.PutRequest.key", |file| field(file, "PutRequest").r#type = Some(9)),
        ("field etcdserverpb.PutRequest.key", |file| field(file, "PutRequest").label = Some(3)),
        ("field etcdserverpb.RequestOp.request_range", |file| field(file, "RequestOp").oneof_index = None),
        ("field etcdserverpb.PutResponse.header", |file| field(file, "PutResponse").type_name = None),
        ("enum etcdserverpb.Odd", |file| file.enum_type[0].name = Some("Odd".to_owned())),
        ("value etcdserverpb.AlarmType.CORRUPT", |file| file.enum_type[0].value[2].number = Some(7)),
    ];
    let ours = our_files();
    for (name, change) in changes {
        let mut other = ours.clone();
        change(other.iter_mut().find(|file| file.name() == "rpc.proto").unwrap());
        let found = differences(&facts(&ours), &facts(&other));
        assert!(found.contains(name), "a change of {name} shows as {found:?}");
    }
}
