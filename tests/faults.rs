//! The fault suite at small scale: every scenario once, and every fail point in one of them. The suite itself is a
//! program, `tests/faults`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const SUITE: &str = env!("CARGO_BIN_EXE_faults");

#[test]
fn nothing_is_violated_whatever_breaks() {
    let run = Command::new(SUITE)
        .args(["--scale", "small", "--at-once", "5"])
        .output()
        .expect("the suite is a program");
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}\n{err}");
    assert!(out.contains(" 0 violations"), "{out}\n{err}");
}

/// All sources below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &std::fs::read_to_string(&path).expect("a readable file");
        }
    }
    text
}

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests lies in the root")
}

#[test]
fn every_fail_point_is_one_at_which_the_suite_kills() {
    let shipped = sources(&root().join("services")) + &sources(&root().join("shared"));
    let names = shipped.split("fail_point!(\"").skip(1);
    let points: BTreeSet<&str> = names
        .filter_map(|rest| Some(rest.split_once('"')?.0))
        .collect();
    let suite = sources(&root().join("tests/faults/scenarios"));
    let is_killed = |point: &str| {
        suite.contains(&format!("\"{point}\"")) || suite.contains(&format!("\"{point}=kill@"))
    };
    let missing: Vec<_> = points.iter().filter(|point| !is_killed(point)).collect();
    assert!(
        points.len() > 20 && missing.is_empty(),
        "nobody kills at {missing:?}"
    );
}

/// Fail points belong to the suite's build alone.
#[test]
fn what_is_shipped_has_no_fail_points() {
    for member in [
        "proto",
        "shared/model",
        "shared/devkit",
        "services/catalog",
        "services/execution",
        "services/reporting",
        "services/platform",
    ] {
        let manifest = std::fs::read_to_string(root().join(member).join("Cargo.toml"));
        assert!(
            !manifest.expect("a member's manifest").contains("faults"),
            "{member}"
        );
    }
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    assert!(workspace.contains("default-members = [\"services/platform\"]"));
    assert!(!workspace.contains("faults"));
}
