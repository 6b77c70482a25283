//! A snapshot gives the same outcomes as the node it was taken of, on any machine.

mod common;

use common::{machine, machines, punchlist_on};
use serde_json::Value as Json;
use std::fs;
use std::process::{Command, Output};

fn punchlist(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_punchlist")).args(arguments).output().unwrap()
}

/// The outcomes without the times that probes took.
fn outcomes(output: &Output) -> Json {
    let report: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let mut outcomes = report["outcomes"].clone();
    for outcome in outcomes.as_array_mut().unwrap() {
        outcome.as_object_mut().unwrap().remove("duration_ms");
    }
    outcomes
}

#[test]
fn every_recorded_machine_is_judged_the_same_from_its_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    for machine in machines() {
        let file = folder.path().join(machine.file_name().unwrap()).with_extension("json");
        let taken = punchlist_on(&machine, "snapshot").arg("-o").arg(&file).output().unwrap();
        assert_eq!(taken.status.code(), Some(0), "{}", String::from_utf8_lossy(&taken.stderr));
        let live = punchlist_on(&machine, "run").args(["--format", "json"]).output().unwrap();
        let later = punchlist(&["run", "--format", "json", "--from", file.to_str().unwrap()]);
        let (later, live) = (outcomes(&later), outcomes(&live));
        for (later, live) in later.as_array().unwrap().iter().zip(live.as_array().unwrap()) {
            assert_eq!(later, live, "{}", machine.display());
        }
        assert_eq!(later.as_array().unwrap().len(), live.as_array().unwrap().len());
    }
}

#[test]
fn what_is_no_snapshot_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let taken = punchlist_on(&machine("docker-container"), "snapshot").output().unwrap();
    let whole = String::from_utf8(taken.stdout).unwrap();
    let zeros = vec![0u8; 1 << 20];
    for (name, content, expected) in [
        ("cut", whole.as_bytes()[..whole.len() / 2].to_vec(), "cut off"),
        ("newer", whole.replacen("\"version\":1", "\"version\":99", 1).into_bytes(), "use a newer punchlist"),
        ("report", b"{\"format\": \"punchlist-report\", \"version\": 1}".to_vec(), "this is a punchlist-report"),
        ("text", b"hello".to_vec(), "not a snapshot"),
        ("zeros", zeros, "not a snapshot"),
        ("empty", Vec::new(), "cut off"),
        ("damaged", whole.replacen("\"plain\":{", "\"plain\":[", 1).into_bytes(), "not a snapshot"),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        let output = punchlist(&["run", "--from", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(65), "{name}: {said}");
        assert!(said.contains(expected) && said.contains(name), "{name}: {said}");
    }
    let output = punchlist(&["run", "--from", "/nothing/here"]);
    assert_eq!(output.status.code(), Some(65));
}

#[test]
fn a_snapshot_from_before_a_probe_existed_leaves_its_checks_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let taken = punchlist_on(&machine("epyc-node"), "snapshot").output().unwrap();
    let mut snapshot: Json = serde_json::from_slice(&taken.stdout).unwrap();
    snapshot["observations"]["plain"].as_object_mut().unwrap().remove("memory");
    let file = folder.path().join("old.json");
    fs::write(&file, snapshot.to_string()).unwrap();
    let later = punchlist(&["run", "--from", file.to_str().unwrap(), "--format", "json", "--only", "memory.available"]);
    let outcomes = outcomes(&later);
    assert_eq!(outcomes[0]["status"], "unknown", "{outcomes}");
    assert_eq!(outcomes[0]["reason"]["absent"], "not_recorded", "{outcomes}");
}
