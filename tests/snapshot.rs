//! A snapshot gives the same outcomes as the node it was taken of, on any machine.

mod common;

use common::{in_parallel, machine, machines, punchlist_on};
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
    let mut outcomes: Json = common::outcomes(&report).into();
    for outcome in outcomes.as_array_mut().unwrap() {
        outcome.as_object_mut().unwrap().remove("duration_ms");
    }
    outcomes
}

#[test]
fn every_recorded_machine_is_judged_the_same_from_its_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    // A snapshot holds what the standard level asks.
    let mut machines = machines();
    machines.retain(|machine| common::level(machine).is_none());
    in_parallel(&machines, |machine| {
        let file = folder.path().join(machine.file_name().unwrap()).with_extension("json");
        let taken = punchlist_on(machine, "snapshot").arg("-o").arg(&file).output().unwrap();
        assert_eq!(taken.status.code(), Some(0), "{}", String::from_utf8_lossy(&taken.stderr));
        let live = punchlist_on(machine, "run").args(["--format", "json"]).output().unwrap();
        let later = punchlist(&["run", "--format", "json", "--from", file.to_str().unwrap()]);
        let (later, live) = (outcomes(&later), outcomes(&live));
        for (later, live) in later.as_array().unwrap().iter().zip(live.as_array().unwrap()) {
            assert_eq!(later, live, "{}", machine.display());
        }
        assert_eq!(later.as_array().unwrap().len(), live.as_array().unwrap().len());
    });
}

/// Snapshots that were taken of real nodes stay readable, and what is made of them is what stands beside them: punch list
/// and every outcome. `BLESS=1` writes it anew, for review. Each was taken with `punchlist snapshot --redact`.
#[test]
fn snapshots_of_real_nodes_are_judged_as_expected() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    assert!(!files.is_empty());
    // How long judging took differs from run to run.
    let seconds = regex::Regex::new(r"\d+\.\d\d s\n").unwrap();
    for file in files {
        // The files keep what the bus, the driver and the kernel log say of the GPUs.
        let output =
            punchlist(&["run", "--all", "--only", "gpu,gpu-memory,gpu-links", "--from", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let said = seconds.replace(&said, "N.NN s\n").into_owned();
        let kept = file.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&kept, &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(&kept).unwrap(), "{}", file.display());
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

#[test]
fn counters_are_compared_with_an_earlier_snapshot_of_the_same_node() {
    let folder = tempfile::tempdir().unwrap();
    let (now, before) = (folder.path().join("now.json"), folder.path().join("before.json"));
    let hgx = common::machine("hgx-h100");
    assert!(common::punchlist_on(&hgx, "snapshot").arg("-o").arg(&now).status().unwrap().success());
    let mut earlier: serde_json::Value = serde_json::from_slice(&std::fs::read(&now).unwrap()).unwrap();
    earlier["taken"] = "2026-11-20T08:05:00Z".into();
    earlier["observations"]["plain"]["gpus"]["value"][2]["pcie"]["replays"] = (-5000).into();
    std::fs::write(&before, earlier.to_string()).unwrap();
    let run = |from: &std::path::Path, before: &std::path::Path| {
        let mut punchlist = std::process::Command::new(env!("CARGO_BIN_EXE_punchlist"));
        punchlist.args(["run", "--only", "growth.gpu.*", "--from"]).arg(from).arg("--before").arg(before);
        let output = punchlist.env("NO_COLOR", "1").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (status, said) = run(&now, &before);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("PCIe packets of GPU 2 (0000:3a:00.0) were sent again in 10 min"), "{said}");
    // The older one has to be the older one, and of this node.
    let (status, said) = run(&before, &now);
    assert_eq!(status, Some(65), "{said}");
    assert!(said.contains("is not earlier"), "{said}");
    earlier["observations"]["plain"]["host"]["value"]["name"] = "other".into();
    std::fs::write(&before, earlier.to_string()).unwrap();
    let (status, said) = run(&now, &before);
    assert_eq!(status, Some(65), "{said}");
    assert!(said.contains("the earlier reading is of other"), "{said}");
}

#[test]
fn a_live_node_is_read_twice() {
    let run = |more: &[&str]| {
        let mut punchlist = std::process::Command::new(env!("CARGO_BIN_EXE_punchlist"));
        punchlist.args(["run", "--only", "growth.memory.oom", "--all", "--over"]).args(more).output().unwrap()
    };
    let began = std::time::Instant::now();
    let output = run(&["300ms"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("pass      growth.memory.oom"), "{said}");
    assert!(began.elapsed() >= std::time::Duration::from_millis(300));
    let hgx = common::machine("hgx-h100");
    let output = run(&["1s", "--root", hgx.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
}
