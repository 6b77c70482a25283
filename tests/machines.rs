//! Every recorded machine in `tests/machines/` through the real binary: what it prints has to be what stands in the
//! machine's `expected.txt`. A new folder is a new test. `BLESS=1 cargo test --test machines` writes the files anew,
//! for review; `ONLY=name,name` takes some of them. A machine that is told by its difference from another (`base.yaml`) is expected to have a punch list;
//! of one that stands for itself every outcome is kept.

mod common;

use common::{in_parallel, is_based, machines, punchlist_on};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// The machines of `ONLY`, or all.
fn chosen() -> Vec<PathBuf> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let is_named = |machine: &PathBuf| only.is_empty() || only.split(',').any(|name| machine.ends_with(name));
    machines().into_iter().filter(is_named).collect()
}

fn run(machine: &Path, more: &[&str]) -> Output {
    punchlist_on(machine, "run").args(more).output().expect("the binary starts")
}

/// The output without what differs from run to run.
fn steady(text: &str) -> String {
    let seconds = regex::Regex::new(r"\d+\.\d\d s\b").unwrap();
    // A busy machine may take its second until the run says what it waits for.
    let kept = text.lines().filter(|line| !line.starts_with("punchlist: waiting for "));
    let text: String = kept.flat_map(|line| [line, "\n"]).collect();
    seconds.replace_all(&text, "N.NN s").into_owned()
}

#[test]
fn each_machine_gets_the_punch_list_expected_of_it() {
    let counts = regex::Regex::new(r"(?m)^\d+ outcomes of .*\n(?:  .*\n)*").unwrap();
    let mut wrong = Vec::new();
    for machine in chosen() {
        let output = run(&machine, if is_based(&machine) { &[] } else { &["--all"] });
        let mut said = steady(&String::from_utf8_lossy(&output.stdout));
        if is_based(&machine) {
            // Every new check changes the count, and says nothing of what this machine differs in.
            said = counts.replace(&said, "").into_owned();
        }
        let text = format!(
            "{}{}exit status {}\n",
            said,
            steady(&String::from_utf8_lossy(&output.stderr)),
            output.status.code().unwrap_or(-1)
        );
        let file = machine.join("expected.txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if text != expected {
            let first = text.lines().zip(expected.lines()).find(|(a, b)| a != b);
            wrong.push(format!("{}: first difference, now and expected: {first:#?}", machine.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nto accept: BLESS=1 cargo test --test machines\n", wrong.join("\n"));
    assert!(!machines().is_empty());
}

#[test]
fn the_json_report_says_the_same_as_the_text() {
    in_parallel(&machines(), |machine| {
        let text = run(machine, &[]);
        let json = run(machine, &["--format", "json"]);
        let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(text.status.code(), json.status.code());
        assert_eq!(report["summary"]["exit_status"], json.status.code().unwrap());
        assert_eq!(report["version"], 2);
        let items = report["items"].as_array().unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        match items.len() {
            0 => assert!(text.contains("nothing to fix"), "{text}"),
            count => assert!(text.contains(&format!("PUNCH LIST · {count} to fix")), "{text}"),
        }
        let outcomes = common::outcomes(&report);
        let counted: u64 =
            report["summary"]["by_status"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(outcomes.len() as u64, counted);
        for outcome in outcomes {
            for key in ["check", "checklist", "subject", "status", "message"] {
                assert!(!outcome[key].is_null(), "{key} of {outcome}");
            }
            let status = outcome["status"].as_str().unwrap();
            assert_eq!(status == "unknown", outcome["reason"].is_object() && status != "skipped", "{outcome}");
        }
    });
}
