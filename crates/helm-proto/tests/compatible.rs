//! Programs that were written for a released `helm.v1` go on working: whatever it said, it still says (docs/api.md, "What may change").
//!
//! `released-v1.txt` holds the facts of the last release, one a line. A release adds its own:
//! `HELM_RELEASE=1 cargo test -p helm-proto --test compatible`, and the difference is looked at: it may only have new lines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

const RELEASED: &str = include_str!("released-v1.txt");

/// All that a client may rely on, one sentence each.
fn facts(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package() == "helm.v1") {
        file.message_type.iter().for_each(|message| of_message(file.package(), message, &mut facts));
        file.enum_type.iter().for_each(|one| of_enum(file.package(), one, &mut facts));
        file.service.iter().for_each(|service| of_service(file.package(), service, &mut facts));
    }
    facts
}

fn of_message(within: &str, message: &DescriptorProto, facts: &mut BTreeSet<String>) {
    let name = format!("{within}.{}", message.name());
    facts.insert(format!("message {name}"));
    for field in &message.field {
        let oneof =
            field.oneof_index.filter(|_| !field.proto3_optional()).and_then(|i| usize::try_from(i).ok());
        let oneof =
            oneof.and_then(|i| message.oneof_decl.get(i)).map(|oneof| format!(" in {}", oneof.name()));
        let oneof = oneof.unwrap_or_default();
        facts.insert(format!("field {name}.{} = {}: {}{oneof}", field.name(), field.number(), kind(field)));
    }
    message.nested_type.iter().for_each(|nested| of_message(&name, nested, facts));
    message.enum_type.iter().for_each(|one| of_enum(&name, one, facts));
}

fn kind(field: &FieldDescriptorProto) -> String {
    let presence = match field.label() {
        Label::Repeated => "repeated ",
        Label::Required => "required ",
        Label::Optional if field.proto3_optional() => "optional ",
        Label::Optional => "",
    };
    let named = matches!(field.r#type(), Type::Message | Type::Enum | Type::Group);
    let name = field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase();
    if named { format!("{presence}{name} {}", field.type_name()) } else { format!("{presence}{name}") }
}

fn of_enum(within: &str, one: &EnumDescriptorProto, facts: &mut BTreeSet<String>) {
    for value in &one.value {
        facts.insert(format!("value {within}.{}.{} = {}", one.name(), value.name(), value.number()));
    }
}

fn of_service(within: &str, service: &ServiceDescriptorProto, facts: &mut BTreeSet<String>) {
    for rpc in &service.method {
        let streamed = |streams: bool| if streams { "stream " } else { "" };
        facts.insert(format!(
            "rpc {within}.{}/{} ({}{}) returns ({}{})",
            service.name(),
            rpc.name(),
            streamed(rpc.client_streaming()),
            rpc.input_type(),
            streamed(rpc.server_streaming()),
            rpc.output_type(),
        ));
    }
}

/// What was true at the release, and is no more.
fn broken(released: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    released.difference(now).cloned().collect()
}

fn now() -> FileDescriptorSet {
    FileDescriptorSet::decode(helm_proto::DESCRIPTOR).unwrap()
}

#[test]
fn nothing_that_was_released_has_changed() {
    let facts = facts(&now());
    if std::env::var_os("HELM_RELEASE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released-v1.txt");
        let lines: String = facts.iter().map(|fact| format!("{fact}\n")).collect();
        std::fs::write(path, lines).unwrap();
        return;
    }
    let released: BTreeSet<String> = RELEASED.lines().map(str::to_owned).collect();
    assert!(released.len() > 300, "the facts of the release are not there");
    let broken = broken(&released, &facts);
    assert!(
        broken.is_empty(),
        "clients of helm.v1 would break; add instead, or make helm.v2:\n{}",
        broken.join("\n")
    );
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    set.file.iter_mut().flat_map(|f| &mut f.message_type).find(|m| m.name() == name).unwrap()
}

fn field<'a>(set: &'a mut FileDescriptorSet, of: &str, name: &str) -> &'a mut FieldDescriptorProto {
    message(set, of).field.iter_mut().find(|f| f.name() == name).unwrap()
}

fn helm(set: &mut FileDescriptorSet) -> &mut ServiceDescriptorProto {
    set.file.iter_mut().flat_map(|f| &mut f.service).find(|s| s.name() == "Helm").unwrap()
}

/// What a change of the definition breaks.
fn breaks(change: fn(&mut FileDescriptorSet)) -> Vec<String> {
    let before = facts(&now());
    let mut set = now();
    change(&mut set);
    broken(&before, &facts(&set))
}

#[test]
fn a_deliberate_break_is_found() {
    let pid = "field helm.v1.ServiceStatus.pid = 8: optional uint32";
    assert_eq!(breaks(|set| field(set, "ServiceStatus", "pid").name = Some("process".into())), [pid]);
    assert_eq!(breaks(|set| field(set, "ServiceStatus", "pid").number = Some(80)), [pid]);
    assert_eq!(breaks(|set| field(set, "ServiceStatus", "pid").set_type(Type::Uint64)), [pid]);
    assert_eq!(breaks(|set| field(set, "ServiceStatus", "pid").set_label(Label::Repeated)), [pid]);
    assert_eq!(breaks(|set| message(set, "ServiceStatus").field.retain(|f| f.name() != "pid")), [pid]);
    assert_eq!(
        breaks(|set| helm(set).method.retain(|rpc| rpc.name() != "Shutdown")),
        ["rpc helm.v1.Helm/Shutdown (.helm.v1.ShutdownRequest) returns (.helm.v1.ShutdownResponse)"]
    );
    let stream = |set: &mut FileDescriptorSet| {
        let start = helm(set).method.iter_mut().find(|rpc| rpc.name() == "Start").unwrap();
        start.server_streaming = Some(false);
    };
    assert_eq!(breaks(stream).len(), 1);
}

#[test]
fn what_is_added_breaks_nobody() {
    let added = breaks(|set| {
        let new = FieldDescriptorProto { name: Some("new".into()), number: Some(900), ..Default::default() };
        message(set, "ServiceStatus").field.push(new);
    });
    assert!(added.is_empty(), "{added:?}");
}
