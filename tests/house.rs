//! Holds the walls of the house by reading its source: what cargo cannot enforce between modules, this
//! does. A rule that is broken on purpose gets a reason here, or the rule goes.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file below the root.
struct Source {
    /// With `/`, relative to the root.
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code, with their numbers: comments may name what code may not.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.text.lines());
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The same without the unit tests, which stand at the end of a file.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| *line != "#[cfg(test)]")
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests lies in the root").to_owned()
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for top in ["proto", "services", "shared", "tests"] {
        collect(&root().join(top), &mut found);
    }
    assert!(
        found.len() > 50,
        "the sources are not where this test looks"
    );
    found
}

fn collect(folder: &Path, into: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).expect("it lies below the root");
            into.push(Source {
                path: relative.to_string_lossy().into_owned(),
                text: fs::read_to_string(&path).expect("a readable file"),
            });
        }
    }
}

/// Fails with every line of the chosen files in which one of the words stands.
fn refuse(why: &str, words: &[&str], chosen: impl Fn(&Source) -> bool) {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| chosen(source)) {
        for (number, line) in source.shipped() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

/// What a caller hands in is the only thing that a result may depend on.
fn is_pure(path: &str) -> bool {
    path.starts_with("shared/model/src/")
        || path.starts_with("services/execution/src/engine")
        || path.starts_with("services/execution/src/explain")
        || path.starts_with("services/execution/src/preview")
        || path.starts_with("services/reporting/src/projection")
        || path.starts_with("services/reporting/src/query")
        || path.starts_with("services/reporting/src/insight")
}

/// Tests may look at everything.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/src/fixtures")
}

#[test]
fn pure_modules_do_not_wait_store_or_look_at_the_clock() {
    let words = [
        "tokio::",
        "tonic::",
        "sqlx::",
        "async fn",
        "async {",
        "async move",
        ".await",
        "Utc::now",
        "SystemTime",
        "Instant::now",
        "now_v7",
        "getrandom",
        "std::fs",
        "std::env",
    ];
    refuse("pure code reaches out", &words, |source| {
        is_pure(&source.path) && !is_test(&source.path)
    });
}

/// Beside the edge: each with its reason.
const ELSEWHERE: [&str; 13] = [
    // They call another service; what they return is the model's.
    "services/execution/src/definitions.rs",
    "services/execution/src/outbox.rs",
    "services/platform/src/admin.rs",
    "services/platform/src/client.rs",
    "services/reporting/src/definitions.rs",
    "services/reporting/src/history.rs",
    "services/reporting/src/names.rs",
    "shared/chassis/src/auth/remote.rs",
    "shared/chassis/src/auth/user_keys.rs",
    // A row of the outbox is the message that will be sent.
    "services/execution/src/outbox/filling.rs",
    // A service puts its routes together; a server describes itself.
    "services/catalog/src/lib.rs",
    "shared/chassis/src/server/mod.rs",
    "shared/chassis/src/server/table.rs",
];

#[test]
fn generated_types_stay_at_the_edge() {
    let edge = |path: &str| {
        is_test(path)
            || path.ends_with("/wire.rs")
            || path.starts_with("shared/model/src/wire/")
            || path.contains("/src/rpc/")
            || path.starts_with("services/platform/src/demo/")
            || path.starts_with("services/platform/src/bench")
            || path.starts_with("proto/")
            || ELSEWHERE.contains(&path)
    };
    refuse("generated types leave the edge", &["proto::"], |source| {
        !edge(&source.path)
    });
}

#[test]
fn sql_stands_in_stores() {
    let home = |path: &str| {
        is_test(path)
            || path.contains("/src/store")
            || path.starts_with("services/platform/src/bench")
            || path.starts_with("shared/devkit/")
            || path.starts_with("shared/chassis/")
    };
    let words = [
        "query!(",
        "query_as!(",
        "query_scalar!(",
        "sqlx::query(",
        "sqlx::query_as(",
    ];
    refuse("SQL outside a store", &words, |source| !home(&source.path));
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        "todo!(",
        "unimplemented!(",
        "#[allow(",
        "#![allow(",
        "#[ignore",
    ];
    // This file names them.
    refuse("left for later", &words, |source| {
        source.path != "tests/house.rs"
    });
}

#[test]
fn files_are_short_and_say_what_they_own() {
    for Source { path, text } in sources() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{path} has {lines} lines: split it by noun");
        assert!(
            text.starts_with("//!"),
            "{path} does not open with what it owns"
        );
    }
}

/// The members of the workspace that a manifest lists under `[dependencies]`.
fn depends_on(manifest: &str) -> Vec<String> {
    let members = [
        "proto",
        "model",
        "chassis",
        "devkit",
        "catalog",
        "execution",
        "reporting",
        "platform",
    ];
    let text = fs::read_to_string(root().join(manifest)).expect("a member's manifest");
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if inside && members.contains(&name) {
            found.push(name.to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn crates_depend_one_way() {
    let allowed: [(&str, &[&str]); 8] = [
        ("proto/Cargo.toml", &[]),
        ("shared/model/Cargo.toml", &["proto"]),
        ("shared/chassis/Cargo.toml", &["model", "proto"]),
        ("shared/devkit/Cargo.toml", &["chassis"]),
        (
            "services/catalog/Cargo.toml",
            &["chassis", "model", "proto"],
        ),
        (
            "services/execution/Cargo.toml",
            &["chassis", "model", "proto"],
        ),
        (
            "services/reporting/Cargo.toml",
            &["chassis", "model", "proto"],
        ),
        (
            "services/platform/Cargo.toml",
            &[
                "catalog",
                "chassis",
                "devkit",
                "execution",
                "model",
                "proto",
                "reporting",
            ],
        ),
    ];
    for (manifest, allowed) in allowed {
        for name in depends_on(manifest) {
            assert!(
                allowed.contains(&name.as_str()),
                "{manifest} depends on {name}"
            );
        }
    }
}

#[test]
fn readme_names_the_addresses_where_the_services_listen() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the front door");
    let sources = sources();
    let launcher = |source: &&Source| source.path.starts_with("services/platform/src/");
    let settings: Vec<&Source> = sources.iter().filter(launcher).collect();
    for (service, port) in [
        ("catalog", 50051),
        ("execution", 50052),
        ("reporting", 50053),
    ] {
        let address = format!("127.0.0.1:{port}");
        assert!(
            readme.contains(&format!("| {service} | {address} |")),
            "README.md: {service}"
        );
        let variable = format!("WFP_{}_ADDR", service.to_uppercase());
        let default = format!("env = \"{variable}\", default_value = \"{address}\"");
        assert!(
            settings.iter().any(|source| source.text.contains(&default)),
            "{service} does not listen at {address}"
        );
    }
}
