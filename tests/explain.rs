//! `punchlist explain` through the real binary: what people type and paste, and what they get.

use punchlist::{checklist, knowledge};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn punchlist(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
    command.arg("explain").args(arguments).env("NO_COLOR", "1");
    command
}

fn explain(arguments: &[&str]) -> Output {
    punchlist(arguments).output().unwrap()
}

#[track_caller]
fn text(arguments: &[&str]) -> String {
    let output = explain(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(arguments: &[&str]) -> Json {
    let all: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&text(&all)).unwrap()
}

/// The ids of what is explained.
#[track_caller]
fn ids(arguments: &[&str]) -> Vec<String> {
    let json = json(arguments);
    let ids = json["explanations"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_string());
    ids.collect()
}

#[track_caller]
fn nothing(arguments: &[&str]) -> String {
    let output = explain(arguments);
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn from_stdin(pasted: &[u8], arguments: &[&str]) -> Output {
    let all: Vec<&str> = ["-"].into_iter().chain(arguments.iter().copied()).collect();
    let mut child =
        punchlist(&all).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have read enough before all is written.
    let _ = child.stdin.take().unwrap().write_all(pasted);
    child.wait_with_output().unwrap()
}

#[test]
fn a_code_is_known_however_it_is_written() {
    for typed in [
        &["xid:79"][..],
        &["Xid", "79"],
        &["XID-79"],
        &["xid=79"],
        &["Xid", "(PCI:0000:9c:00):", "79,", "GPU", "has", "fallen", "off", "the", "bus."],
        &["[ 12.5] NVRM: Xid (PCI:0000:9c:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."],
        &["Jan  1 00:00:00 gpu042 kernel: NVRM: Xid (0000:9c:00.0): 79, GPU has fallen off the bus."],
        &["79"],
    ] {
        assert_eq!(ids(typed), ["xid:79"], "{typed:?}");
    }
    assert_eq!(ids(&["sxid", "20034"]), ["sxid:20034"]);
    assert_eq!(ids(&["nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Fatal, Link 62 made up"]), ["sxid:20034"]);
    assert_eq!(ids(&["cuda:802"]), ["cuda:802"]);
    assert_eq!(ids(&["error", "802"]), ["cuda:802"]);
}

#[test]
fn a_number_alone_is_said_to_be_ambiguous() {
    assert!(text(&["79"]).starts_with("79 alone could be anything; this is xid:79."));
    let three = json(&["3"]);
    assert_eq!(three["ambiguous"], true);
    assert_eq!(ids(&["3"]), ["xid:3", "cuda:3"]);
    let shown = text(&["3"]);
    assert!(shown.contains("several things") && shown.contains("xid:3") && shown.contains("cuda:3"), "{shown}");
}

#[test]
fn an_xid_is_explained_with_its_checks_causes_and_sources() {
    let json = &json(&["xid:79"])["explanations"][0];
    assert_eq!((&json["severity"], &json["code"], &json["who"]), (&"critical".into(), &79.into(), &"vendor".into()));
    assert!(json["next"].as_array().unwrap().len() > 2);
    assert_eq!(json["checks"][0]["id"], "gpu.lost");
    let causes: Vec<&str> = json["causes"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert!(causes.contains(&"gpu.off-bus"), "{causes:?}");
    // It looks for others where there is no 79.
    assert!(!causes.contains(&"gpu.gsp"), "{causes:?}");
    let shown = text(&["xid:63"]);
    assert!(shown.contains("sources differ") && shown.contains("azure: failure"), "{shown}");
}

#[test]
fn what_the_line_says_outranks_the_number() {
    let down = "NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x0 0x0)";
    let json_of = |line: &str| json(&[line])["explanations"][0].clone();
    let found = json_of(down);
    assert_eq!((&found["severity"], &found["origin"]), (&"critical".into(), &"hardware; only the link is lost".into()));
    assert_eq!(found["this_line"], "Unit NETIR_LINK_EVT, link 8: fatal.");
    assert_eq!(found["next"][0], "Drain the node and reset the GPU.");
    let harmless = json_of("Xid (PCI:0018:01:00): 144, SAW_MVB Nonfatal XC0 i0 Link 1 (0x00000001 0x00000004 0x0)");
    assert_eq!((&harmless["severity"], &harmless["id"]), (&"info".into(), &"xid:144".into()));
    let switch = json_of("SXid (PCI:0000:85:00.0): 12028, Non-fatal, Link 61 made up");
    assert_eq!(switch["severity"], "warning");
}

#[test]
fn a_check_tells_all_that_its_author_wrote() {
    let check = &json(&["gpu.ecc.correctable"])["explanations"][0];
    assert_eq!(check["kind"], "check");
    for key in ["of", "expects", "needs", "reads", "parameters", "found", "why", "next", "who", "more", "level", "from"]
    {
        assert!(!check[key].is_null(), "{key} is missing in {check:#}");
    }
    assert_eq!(check["reads"], serde_json::json!(["gpus"]));
    let parameter = check["parameters"][0].as_str().unwrap();
    assert!(parameter.starts_with("gpu_correctable_errors (default 20000000): "), "{parameter}");
    let causes = &json(&["gpu.lost"])["explanations"][0]["causes"];
    assert!(causes.as_array().unwrap().iter().any(|cause| cause["id"] == "gpu.off-bus"), "{causes}");
}

#[test]
fn causes_parameters_probes_and_checklists_are_explained_too() {
    let cause = &json(&["gpu.off-bus"])["explanations"][0];
    assert_eq!((&cause["kind"], &cause["certainty"]), (&"cause".into(), &"certain".into()));
    let param = &json(&["params.gpu_count"])["explanations"][0];
    assert_eq!((&param["kind"], &param["checks"][0]["id"]), (&"parameter".into(), &"gpu.present".into()));
    let probe = text(&["mounts"]);
    assert!(probe.contains("mounts · probe") && probe.contains("mount_point (a text)"), "{probe}");
    assert!(text(&["gpu-memory"]).contains("gpu.ecc.correctable"));
    // `cpu` is a probe and a checklist.
    let cpu = text(&["cpu"]);
    assert!(cpu.contains("probe:cpu") && cpu.contains("checklist:cpu"), "{cpu}");
    assert!(text(&["probe:cpu"]).contains("cpu · probe"));
}

#[test]
fn a_branch_of_the_tree_is_listed() {
    for pattern in ["gpu.ecc.*", "gpu.ecc", "GPU.ECC"] {
        let json = json(&[pattern]);
        let listed: Vec<&str> =
            json["also"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert!(listed.contains(&"gpu.ecc.correctable") && listed.len() > 3, "{pattern}: {listed:?}");
        assert!(listed.iter().all(|id| id.starts_with("gpu.ecc.")), "{listed:?}");
    }
    assert_eq!(ids(&["gpu.ecc.correct*"]), ["gpu.ecc.correctable"]);
}

#[test]
fn words_are_looked_for_and_misspelt_ones_mended() {
    assert!(text(&["fabric", "manager"]).contains("fabric.manager"));
    assert!(nothing(&["uncorectable", "ecc"]).contains("did you mean \"uncorrectable ecc\"?"));
    assert!(nothing(&["gpu.ecc.corectable"]).contains("did you mean gpu.ecc.correctable"));
    assert!(nothing(&["xid:500"]).contains("from 1 to 173"));
    assert!(nothing(&["sxid:1"]).contains("from 10001 to 24007"));
    assert!(nothing(&["99999"]).contains("xid:79"));
    assert!(nothing(&["xyzzy plugh"]).contains("punchlist checks"));
    assert!(nothing(&[" "]).contains("nothing to explain"));
    assert!(
        nothing(&["Epoch 12/100: 781/781 [02:13<00:00, 5.86it/s, loss=0.1234, lr=0.0003]"])
            .contains("nothing is known")
    );
}

#[test]
fn pasted_lines_are_taken_apart_best_first() {
    let pasted = "Traceback (most recent call last):\n  File \"/home/u/train.py\", line 9, in <module>\n\
                  torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:93, unhandled cuda error\n\
                  ncclUnhandledCudaError: Call to CUDA function failed.\n\
                  Cuda failure 802 'system not yet initialized'\n\
                  [ 12.5] NVRM: Xid (PCI:0000:9c:00): 45, pid=1, name=python3, Ch 00000001 caused by previous Xid 79\n";
    let output = from_stdin(pasted.as_bytes(), &["--format", "json"]);
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<&str> =
        json["explanations"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    // The code, what it was a consequence of first; then what names the fault; then what only says that there is one.
    assert_eq!(ids, ["xid:79", "xid:45", "cuda:802", "NCCL met a CUDA error"]);
    assert_eq!(json["explanations"][2]["said"], "Cuda failure 802 'system not yet initialized'");
    // A line of a punch list leads to its check.
    assert_eq!(self::ids(&["    check     gpu.ecc.correctable"]), ["gpu.ecc.correctable"]);
}

#[test]
fn a_message_leads_to_checks_and_to_what_to_do() {
    let found = &json(&["gres/gpu count reported lower than configured (7 < 8)"])["explanations"][0];
    assert_eq!((&found["kind"], &found["from"]), (&"message".into(), &"slurm".into()));
    assert_eq!(found["checks"][0]["id"], "gpu.present");
    for key in ["said", "means", "behind_it", "next", "who", "more"] {
        assert!(!found[key].is_null(), "{key}");
    }
    // It can be asked for again by its title.
    assert_eq!(ids(&[found["id"].as_str().unwrap()])[0], found["id"].as_str().unwrap());
}

#[test]
fn bad_input_is_no_harm() {
    let mut bytes = b"\xff\xfe\x00\x1b[31mNo devices were found\x1b[0m\x07\n".repeat(3);
    bytes.extend(b"Xid (((((: 99999999999999999999, xid: , Xid (PCI:: 7");
    let output = from_stdin(&bytes, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("nvidia-smi finds no GPU") && !shown.contains(['\u{1b}', '\u{7}']), "{shown}");
    let large = from_stdin("all is well \u{1F600}\n".repeat(200_000).as_bytes(), &[]);
    assert_eq!(large.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&large.stderr).contains("only the first MiB was read"));
    assert_eq!(from_stdin(b"", &[]).status.code(), Some(64));
}

#[test]
fn a_checklist_that_cannot_be_read_does_not_hide_what_a_code_means() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, "checklist: own\nchecks: 7\n").unwrap();
    let path = file.to_str().unwrap();
    let output = explain(&["xid:79", "--checklist", path]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("punchlist lint"));
    assert_eq!(explain(&["own.one", "--checklist", path]).status.code(), Some(65));
    fs::write(&file, "checklist: own\nchecks:\n  - { id: own.one, title: One, expect: cpu.sockets > 0 }\n").unwrap();
    assert!(text(&["own.one", "--checklist", path]).contains("own.yaml"));
}

#[test]
fn every_check_that_a_table_names_is_there() {
    let checklists = checklist::load(&[], None).unwrap();
    let known: BTreeSet<&str> = checklists.checks().map(|(_, check)| check.id.text.as_str()).collect();
    let mut wrong = Vec::new();
    let mut hold = |of: String, checks: &[String]| {
        wrong.extend(checks.iter().filter(|id| !known.contains(id.as_str())).map(|id| format!("{of}: {id}")));
    };
    for message in knowledge::messages() {
        hold(message.title.clone(), &message.checks);
    }
    for code in knowledge::xid_codes().filter_map(knowledge::xid) {
        hold(format!("Xid {}", code.code), &code.checks);
    }
    for code in knowledge::sxid_codes().filter_map(knowledge::sxid) {
        hold(format!("SXid {}", code.code), &code.checks);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everything_that_can_be_explained_is() {
    let checklists = checklist::load(&[], None).unwrap();
    let checks = checklists.checks().map(|(_, check)| check.id.text.clone());
    let causes = checklists.all.iter().flat_map(|one| one.causes.iter().map(|cause| cause.id.text.clone()));
    // Several in one go, as each start of the program reads all checklists.
    let all: Vec<String> = checks.chain(causes).collect();
    for some in all.chunks(40) {
        let shown = json(&[&format!("these: {}", some.join(" "))]);
        let named: BTreeSet<&str> = ["explanations", "also"]
            .iter()
            .flat_map(|key| shown[key].as_array().unwrap())
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        assert!(some.iter().all(|id| named.contains(id.as_str())), "{some:?}\n{named:?}");
    }
}
