//! The API only grows. `proto/videosession/v1/contract.txt` lists everything that clients were ever given: each message
//! field, enum value and RPC. A line of it that is no longer true fails the test, and so does a new thing that it does not
//! list yet.
//!
//! `UPDATE_CONTRACT=1 cargo test --test contract` adds what is new; it refuses to drop a line.

#![expect(clippy::expect_used, reason = "a test may fail where it likes")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
};
use video_session::proto;

const PACKAGE: &str = "videosession.v1";
const HEADER: &str = "\
# What clients of videosession.v1 were given: message fields, enum values and RPCs. Held to the API by tests/contract.rs.
# `UPDATE_CONTRACT=1 cargo test --test contract` adds lines. None is ever changed or removed.
";

#[test]
fn the_api_only_grows() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto/videosession/v1/contract.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let promised: BTreeSet<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(ToOwned::to_owned)
        .collect();
    let actual = contract();

    let broken: Vec<_> = promised.difference(&actual).collect();
    assert!(
        broken.is_empty(),
        "clients were promised what is no longer so; restore it, or add something new beside it: {broken:#?}"
    );
    let new: Vec<_> = actual.difference(&promised).collect();
    if new.is_empty() {
        return;
    }
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        let lines: Vec<_> = actual.iter().map(String::as_str).collect();
        std::fs::write(&path, format!("{HEADER}\n{}\n", lines.join("\n"))).expect("writable");
        return;
    }
    panic!(
        "new in the API, and not in contract.txt yet: {new:#?}\nIf they are meant to stay for ever: UPDATE_CONTRACT=1 cargo test --test contract"
    );
}

/// Every line that contract.txt must hold.
fn contract() -> BTreeSet<String> {
    let descriptors = FileDescriptorSet::decode(proto::DESCRIPTORS).expect("the build wrote them");
    let mut lines = BTreeSet::new();
    for file in &descriptors.file {
        if file.package() != PACKAGE {
            continue;
        }
        for message in &file.message_type {
            add_message(&mut lines, message.name(), message);
        }
        for kind in &file.enum_type {
            add_enum(&mut lines, kind.name(), kind);
        }
        for service in &file.service {
            lines.extend(
                service
                    .method
                    .iter()
                    .map(|rpc| rpc_line(service.name(), rpc)),
            );
        }
    }
    lines
}

fn add_message(lines: &mut BTreeSet<String>, name: &str, message: &DescriptorProto) {
    let entries: Vec<_> = message
        .nested_type
        .iter()
        .filter(|nested| is_map_entry(nested))
        .collect();
    for field in &message.field {
        let entry = entries.iter().find(|entry| {
            field.r#type() == Type::Message
                && field.type_name().ends_with(&format!(".{}", entry.name()))
        });
        let (kind, label) = match entry {
            Some(entry) => {
                let of: Vec<_> = entry.field.iter().map(type_name).collect();
                (format!("map<{}>", of.join(",")), "map".to_owned())
            }
            None => (type_name(field), label(message, field)),
        };
        let line = format!(
            "field {name}.{} {} {kind} {label}",
            field.name(),
            field.number()
        );
        lines.insert(line);
    }
    for nested in &message.nested_type {
        if !is_map_entry(nested) {
            add_message(lines, &format!("{name}.{}", nested.name()), nested);
        }
    }
    for nested in &message.enum_type {
        add_enum(lines, &format!("{name}.{}", nested.name()), nested);
    }
}

/// Whether protobuf made the message up for a map field.
fn is_map_entry(message: &DescriptorProto) -> bool {
    message
        .options
        .as_ref()
        .is_some_and(prost_types::MessageOptions::map_entry)
}

fn add_enum(lines: &mut BTreeSet<String>, name: &str, kind: &EnumDescriptorProto) {
    for value in &kind.value {
        lines.insert(format!("value {name}.{} {}", value.name(), value.number()));
    }
}

fn rpc_line(service: &str, rpc: &MethodDescriptorProto) -> String {
    let stream = |is: bool| if is { "stream " } else { "" };
    format!(
        "rpc {service}.{} {}{} returns {}{}",
        rpc.name(),
        stream(rpc.client_streaming()),
        local(rpc.input_type()),
        stream(rpc.server_streaming()),
        local(rpc.output_type()),
    )
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum | Type::Group => local(field.type_name()).to_owned(),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    }
}

/// A type's name, without the package if it is ours.
fn local(name: &str) -> &str {
    let name = name.trim_start_matches('.');
    name.strip_prefix(PACKAGE)
        .and_then(|rest| rest.strip_prefix('.'))
        .unwrap_or(name)
}

fn label(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    if field.label() == Label::Repeated {
        return "repeated".to_owned();
    }
    if field.proto3_optional() {
        return "optional".to_owned();
    }
    let oneof = field
        .oneof_index
        .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
    match oneof {
        Some(oneof) => format!("oneof:{}", oneof.name()),
        None => "singular".to_owned(),
    }
}
