//! Every recorded machine in `tests/machines/` through the real binary: what it prints has to be what stands in the
//! machine's `expected.txt`. A new folder is a new test. `BLESS=1 cargo test --test machines` writes the files anew,
//! for review.

mod common;

use common::{machines, punchlist_on};
use std::fs;
use std::path::Path;
use std::process::Output;

fn run(machine: &Path, more: &[&str]) -> Output {
    punchlist_on(machine, "run").args(more).output().expect("the binary starts")
}

/// The output without what differs from run to run.
fn steady(text: &str) -> String {
    let seconds = regex::Regex::new(r"\d+\.\d\d s\b").unwrap();
    seconds.replace_all(text, "N.NN s").into_owned()
}

#[test]
fn each_machine_gets_the_punch_list_expected_of_it() {
    let mut wrong = Vec::new();
    for machine in machines() {
        let output = run(&machine, &["--all"]);
        let text = format!(
            "{}{}exit status {}\n",
            steady(&String::from_utf8_lossy(&output.stdout)),
            String::from_utf8_lossy(&output.stderr),
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
    for machine in machines() {
        let text = run(&machine, &[]);
        let json = run(&machine, &["--format", "json"]);
        let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(text.status.code(), json.status.code());
        assert_eq!(report["summary"]["exit_status"], json.status.code().unwrap());
        assert_eq!(report["version"], 1);
        let items = report["items"].as_array().unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        match items.len() {
            0 => assert!(text.contains("nothing to fix"), "{text}"),
            count => assert!(text.contains(&format!("PUNCH LIST · {count} to fix")), "{text}"),
        }
        let outcomes = report["outcomes"].as_array().unwrap();
        let counted: u64 =
            report["summary"]["by_status"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(outcomes.len() as u64, counted);
        for outcome in outcomes {
            for key in ["check", "checklist", "subject", "status", "title", "message", "duration_ms"] {
                assert!(!outcome[key].is_null(), "{key} of {outcome}");
            }
            let status = outcome["status"].as_str().unwrap();
            assert_eq!(status == "unknown", outcome["reason"].is_object() && status != "skipped", "{outcome}");
        }
    }
}
