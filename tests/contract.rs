//! Holds the contract to its own rules: the `.proto` files are the manual, so nothing in them goes
//! without a comment, and no call goes without an access rule.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The platform's own files, without what they import.
fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(proto::DESCRIPTORS).expect("the build wrote it");
    let own = |file: &FileDescriptorProto| file.package().starts_with("workflow.");
    set.file.into_iter().filter(own).collect()
}

#[test]
fn every_element_has_a_comment() {
    let mut bare = Vec::new();
    for file in files() {
        let comments = comments(&file);
        let mut elements = Vec::new();
        name_elements(&file, &mut elements);
        assert!(!elements.is_empty(), "{} is empty", file.name());
        for (path, name) in elements {
            if comments.get(&path).is_none_or(|text| text.trim().len() < 3) {
                bare.push(format!("{}: {name}", file.name()));
            }
        }
    }
    assert!(bare.is_empty(), "without a comment:\n{}", bare.join("\n"));
}

/// Lists that are whole by nature: few of something, or news.
const WHOLE: [&str; 3] = [
    "ListSigningKeysRequest",
    "ListRevocationsRequest",
    "ListStepTypesRequest",
];

#[test]
fn lists_are_paged_restricted_and_ordered() {
    for file in files() {
        for message in &file.message_type {
            let has = |name: &str| message.field.iter().any(|field| field.name() == name);
            let name = message.name();
            let of_list = name.starts_with("List") && name.ends_with("Request");
            if of_list && !WHOLE.contains(&name) {
                for field in ["page_size", "page_token", "filter", "order_by"] {
                    assert!(has(field), "{name} has no {field}");
                }
            }
        }
    }
}

fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let info = file
        .source_code_info
        .as_ref()
        .expect("the build keeps comments");
    info.location
        .iter()
        .map(|at| (at.path.clone(), at.leading_comments().to_owned()))
        .collect()
}

/// Every element with its path in the descriptor, as source locations name it.
fn name_elements(file: &FileDescriptorProto, into: &mut Vec<(Vec<i32>, String)>) {
    for (at, message) in (0..).zip(&file.message_type) {
        name_message(message, vec![4, at], message.name(), into);
    }
    for (at, one) in (0..).zip(&file.enum_type) {
        name_enum(one, vec![5, at], one.name(), into);
    }
    for (at, service) in (0..).zip(&file.service) {
        into.push((vec![6, at], service.name().to_owned()));
        for (method, one) in (0..).zip(&service.method) {
            let name = format!("{}.{}", service.name(), one.name());
            into.push((vec![6, at, 2, method], name));
        }
    }
}

fn name_message(
    message: &DescriptorProto,
    path: Vec<i32>,
    name: &str,
    into: &mut Vec<(Vec<i32>, String)>,
) {
    let below = |kind: i32, at: i32| [&path[..], &[kind, at]].concat();
    for (at, field) in (0..).zip(&message.field) {
        into.push((below(2, at), format!("{name}.{}", field.name())));
    }
    for (at, nested) in (0..).zip(&message.nested_type) {
        // A map's entry is written by the compiler.
        if !nested
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry())
        {
            let name = format!("{name}.{}", nested.name());
            name_message(nested, below(3, at), &name, into);
        }
    }
    for (at, one) in (0..).zip(&message.enum_type) {
        name_enum(one, below(4, at), &format!("{name}.{}", one.name()), into);
    }
    for (at, oneof) in (0..).zip(&message.oneof_decl) {
        // `optional` makes a oneof of its own, whose name begins so.
        if !oneof.name().starts_with('_') {
            into.push((below(8, at), format!("{name}.{}", oneof.name())));
        }
    }
    into.push((path, name.to_owned()));
}

fn name_enum(
    one: &EnumDescriptorProto,
    path: Vec<i32>,
    name: &str,
    into: &mut Vec<(Vec<i32>, String)>,
) {
    for (at, value) in (0..).zip(&one.value) {
        into.push((
            [&path[..], &[2, at]].concat(),
            format!("{name}.{}", value.name()),
        ));
    }
    into.push((path, name.to_owned()));
}
