//! The table of who may call what, against the contract: a method that was forgotten in it stops the
//! service at its start, not a caller in production.

use std::collections::HashSet;

use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

use crate::auth::AccessTable;
use crate::error::{Error, Result};

/// Health and reflection: anybody's, and no business of the access table.
pub(super) fn is_public(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.")
}

pub(super) fn check(access: AccessTable, serving: &[&str]) -> Result<()> {
    let contract: HashSet<String> = methods(serving)?.map(|(path, _)| path).collect();
    let listed: HashSet<&str> = access.iter().map(|(path, _)| *path).collect();
    let missing: Vec<&str> = contract
        .iter()
        .map(String::as_str)
        .filter(|path| !listed.contains(path))
        .collect();
    let surplus: Vec<&str> = listed
        .iter()
        .copied()
        .filter(|path| !contract.contains(*path))
        .collect();
    if missing.is_empty() && surplus.is_empty() && listed.len() == access.len() {
        return Ok(());
    }
    Err(Error::internal(format_args!(
        "access table: missing {missing:?}, not served {surplus:?}, or a path is listed twice"
    )))
}

/// The paths of the methods that answer with a stream.
pub(super) fn streams(serving: &[&str]) -> Result<HashSet<String>> {
    let streaming = methods(serving)?.filter(|(_, method)| method.server_streaming());
    Ok(streaming.map(|(path, _)| path).collect())
}

/// All methods of these services, by path.
fn methods(serving: &[&str]) -> Result<impl Iterator<Item = (String, MethodDescriptorProto)>> {
    let descriptors = FileDescriptorSet::decode(proto::DESCRIPTORS).map_err(Error::internal)?;
    let mut found = Vec::new();
    for file in descriptors.file {
        let package = file.package().to_owned();
        for service in file.service {
            let name = format!("{package}.{}", service.name());
            if serving.contains(&name.as_str()) {
                let methods = service.method.into_iter();
                found.extend(methods.map(|m| (format!("/{name}/{}", m.name()), m)));
            }
        }
    }
    Ok(found.into_iter())
}
