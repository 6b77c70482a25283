//! `punchlist diff`: two snapshots or reports of a node, held against each other.

mod common;

use common::{machine, punchlist_on};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn punchlist(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_punchlist")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn snapshot(name: &str) -> Json {
    let taken = punchlist_on(&machine(name), "snapshot").output().unwrap();
    serde_json::from_slice(&taken.stdout).unwrap()
}

/// A folder with files to compare.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, document: &Json) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, document.to_string()).unwrap();
        path
    }

    /// The report of a snapshot, in a file.
    fn report(&self, of: &Path) -> PathBuf {
        let path = of.with_extension("report.json");
        punchlist(&["run", "--from", of.to_str().unwrap(), "-o", path.to_str().unwrap()]);
        path
    }
}

fn compared(before: &Path, after: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["diff", before.to_str().unwrap(), after.to_str().unwrap()];
    arguments.extend(more);
    punchlist(&arguments)
}

fn json_of(before: &Path, after: &Path) -> Json {
    serde_json::from_slice(&compared(before, after, &["--format", "json"]).stdout).unwrap()
}

fn text_of(before: &Path, after: &Path) -> String {
    String::from_utf8(compared(before, after, &[]).stdout).unwrap()
}

fn titles(changes: &Json) -> Vec<&str> {
    changes.as_array().unwrap().iter().map(|change| change["title"].as_str().unwrap()).collect()
}

fn plain<'s>(snapshot: &'s mut Json, probe: &str) -> &'s mut Json {
    &mut snapshot["observations"]["plain"][probe]["value"]
}

#[test]
fn a_snapshot_against_itself_is_no_change() {
    let desk = Desk::new();
    for name in ["hgx-h100", "sick-node"] {
        let file = desk.write("node", &snapshot(name));
        let report = desk.report(&file);
        for (before, after) in [(&file, &file), (&report, &report), (&file, &report)] {
            let output = compared(before, after, &["--format", "json"]);
            let found: Json = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{found:#}");
            for list in ["fixed", "broke", "no_longer_told", "facts"] {
                assert_eq!(found[list], json!([]), "{name}, {list}");
            }
            assert_eq!(found["same_node"], true);
            assert_eq!(titles(&found["still"]).len() as u64, found["after"]["to_fix"].as_u64().unwrap());
        }
    }
}

#[test]
fn what_broke_is_what_got_fixed_the_other_way_round() {
    let desk = Desk::new();
    let healthy = snapshot("hgx-h100");
    let mut sick = healthy.clone();
    plain(&mut sick, "gpus")[5]["remapped_rows"]["pending"] = true.into();
    plain(&mut sick, "gpus")[2]["persistence"] = false.into();
    let (healthy, sick) = (desk.write("healthy", &healthy), desk.write("sick", &sick));
    for (before, after) in [(&healthy, &sick), (&desk.report(&healthy), &desk.report(&sick))] {
        let worse = compared(before, after, &["--format", "json"]);
        let found: Json = serde_json::from_slice(&worse.stdout).unwrap();
        let broke: Vec<&str> = found["broke"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|one| one["outcomes"].as_array().unwrap())
            .map(|one| one["check"].as_str().unwrap())
            .collect();
        assert!(broke.contains(&"gpu.rows.pending"), "{found:#}");
        assert_eq!(worse.status.code(), Some(1), "only warnings are new: {found:#}");
        let better = compared(after, before, &["--format", "json"]);
        assert_eq!(better.status.code(), Some(0));
        let back: Json = serde_json::from_slice(&better.stdout).unwrap();
        assert_eq!(titles(&back["fixed"]), titles(&found["broke"]));
        assert_eq!(back["broke"], json!([]));
    }
    let text = text_of(&healthy, &sick);
    assert!(text.contains("BROKE") && text.contains("gpu.rows.pending: pass → warning"), "{text}");
    assert!(text_of(&sick, &sick).contains("STILL BROKEN"));
}

#[test]
fn the_worst_that_is_new_gives_the_exit_status() {
    let desk = Desk::new();
    let healthy = snapshot("epyc-node");
    let mut sick = healthy.clone();
    plain(&mut sick, "cpu")["logical_online"] = 14.into();
    let (healthy, sick) = (desk.write("healthy", &healthy), desk.write("sick", &sick));
    assert_eq!(compared(&healthy, &sick, &[]).status.code(), Some(2));
    // It stays broken: nothing got worse.
    assert_eq!(compared(&sick, &sick, &[]).status.code(), Some(0));
}

#[test]
fn facts_that_matter_are_named_and_those_of_the_moment_are_not() {
    let desk = Desk::new();
    let before = snapshot("hgx-h100");
    let mut after = before.clone();
    plain(&mut after, "nvidia")["module_version"] = "570.10.01".into();
    plain(&mut after, "kernel")["release"] = "6.8.0-1-generic".into();
    let gpus = plain(&mut after, "gpus");
    gpus[0]["vbios"] = "96.00.99.00.01".into();
    gpus[1]["serial"] = "1650000009999".into();
    gpus[3]["pcie"]["replays"] = 70.into();
    gpus[4]["temperature"]["gpu_c"] = 71.into();
    gpus[4]["power"]["draw_w"] = 699.5.into();
    gpus[4]["pcie"]["generation"] = 1.into();
    gpus.as_array_mut().unwrap().remove(7);
    let network = plain(&mut after, "network").as_array_mut().unwrap();
    let port = network.iter_mut().find(|one| one["kind"] == "infiniband").unwrap();
    let (name, was) = (port["name"].clone(), port["speed_mbps"].clone());
    port["speed_mbps"] = 100_000.into();
    let found = json_of(&desk.write("before", &before), &desk.write("after", &after));
    let fact = |name: &str| -> Json {
        let facts = found["facts"].as_array().unwrap();
        facts.iter().find(|one| one["fact"] == name).cloned().unwrap_or_else(|| panic!("{name}: {found:#}"))
    };
    assert_eq!(fact("nvidia.module_version")["is"], "570.10.01");
    assert_eq!(fact("kernel.release")["nature"], "changed");
    assert_eq!(fact("gpus 0000:18:00.0.vbios")["was"], "96.00.74.00.01");
    assert_eq!(fact("gpus 0000:2a:00.0.serial")["nature"], "changed");
    assert_eq!(fact("gpus 0000:5d:00.0.pcie.replays")["nature"], "grew");
    assert_eq!(fact("gpus 0000:db:00.0")["nature"], "gone");
    assert_eq!(fact(&format!("network {}.speed_mbps", name.as_str().unwrap()))["was"], was);
    // Nothing else: no temperature, no power, not the speed of an idle link, nor the parts of the GPU that is gone.
    assert_eq!(found["facts"].as_array().unwrap().len(), 7, "{:#}", found["facts"]);
    // A counter that begins anew has not shrunk.
    let found = json_of(&desk.write("after", &after), &desk.write("before", &before));
    let facts = found["facts"].as_array().unwrap();
    let replays = facts.iter().find(|one| one["fact"] == "gpus 0000:5d:00.0.pcie.replays").unwrap();
    assert_eq!(replays["nature"], "restarted");
}

#[test]
fn a_mount_that_is_gone_is_said() {
    let desk = Desk::new();
    let before = snapshot("epyc-node");
    let mut after = before.clone();
    plain(&mut after, "mounts").as_array_mut().unwrap().retain(|mount| mount["mount_point"] != "/home");
    let text = text_of(&desk.write("before", &before), &desk.write("after", &after));
    assert!(
        text.contains("mounts /home") && text.contains("is gone (was nfs1.cluster.example:/export/home)"),
        "{text}"
    );
}

#[test]
fn what_can_no_longer_be_told_is_not_fixed() {
    let desk = Desk::new();
    let mut before = snapshot("epyc-node");
    plain(&mut before, "cpu")["logical_online"] = 14.into();
    let mut after = before.clone();
    after["observations"]["plain"].as_object_mut().unwrap().remove("cpu");
    let (before, after) = (desk.write("before", &before), desk.write("after", &after));
    let output = compared(&before, &after, &["--format", "json"]);
    let found: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["fixed"], json!([]));
    assert!(found["no_longer_told"].to_string().contains("cpu.online"), "{found:#}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn two_nodes_are_compared_and_said_to_be_two() {
    let desk = Desk::new();
    let (one, other) = (desk.write("one", &snapshot("epyc-node")), desk.write("other", &snapshot("sick-node")));
    let text = text_of(&one, &other);
    assert!(text.starts_with("cn117.cluster.example and then cn118.cluster.example\nThese are two different nodes."));
    assert!(text.contains("BROKE"));
    assert_eq!(json_of(&one, &other)["same_node"], false);
}

#[test]
fn a_comparison_can_be_redacted() {
    let desk = Desk::new();
    let (one, other) = (desk.write("one", &snapshot("epyc-node")), desk.write("other", &snapshot("sick-node")));
    let key = desk.0.path().join("a.key");
    for format in ["text", "json"] {
        let more = ["--format", format, "--redact", "--redact-key", key.to_str().unwrap()];
        for (before, after) in [(&one, &other), (&desk.report(&one), &desk.report(&other))] {
            let output = compared(before, after, &more);
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(2), "{text}");
            for name in ["cn117", "cn118", "cluster.example", "nfs1", "EX24A"] {
                assert!(!text.contains(name), "{name}: {text}");
            }
            assert!(text.contains("host-") && text.contains("cpu.online"), "{text}");
        }
    }
}

#[test]
fn bad_files_are_said() {
    let desk = Desk::new();
    let good = desk.write("good", &snapshot("docker-container"));
    let whole = fs::read(&good).unwrap();
    for (name, content, said) in [
        ("cut", whole[..whole.len() / 2].to_vec(), "cut off"),
        ("text", b"hello".to_vec(), "not a report"),
        ("zeros", vec![0; 1 << 20], "not a report"),
        ("newer", br#"{"format": "punchlist-report", "version": 99}"#.to_vec(), "newer punchlist"),
    ] {
        let bad = desk.0.path().join(name);
        fs::write(&bad, content).unwrap();
        for (before, after) in [(&good, &bad), (&bad, &good)] {
            let output = compared(before, after, &[]);
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(65), "{name}: {message}");
            assert!(message.contains(said) && message.contains(name), "{name}: {message}");
        }
    }
    assert_eq!(compared(&good, Path::new("/nothing/here"), &[]).status.code(), Some(65));
    assert_eq!(punchlist(&["diff", good.to_str().unwrap()]).status.code(), Some(64));
}
