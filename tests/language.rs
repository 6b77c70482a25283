//! What the checklist language means, rule by rule, through the real binary on a recorded machine.

mod common;

use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The outcomes of own checks (whose ids begin with `own.`) on the recorded machine `epyc-node`.
fn outcomes(checks: &str, more: &[&str]) -> Vec<Json> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, checks).unwrap();
    let machine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/epyc-node");
    let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["run", "--format", "json", "--only", "own.*", "--root"])
        .arg(machine)
        .arg(&file)
        .args(more)
        .output()
        .unwrap();
    let report: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    common::outcomes(&report)
        .into_iter()
        .filter(|outcome| outcome["check"].as_str().unwrap().starts_with("own."))
        .collect()
}

fn checklist(checks: &[&str]) -> String {
    format!("checklist: own\nchecks:\n{}", checks.iter().map(|check| format!("  - {check}\n")).collect::<String>())
}

/// Asserts status and a part of the message of the one outcome that this check gives.
#[track_caller]
fn gives(check: &str, status: &str, message: &str) {
    let found = outcomes(&checklist(&[check]), &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["status"], status, "{found:#?}");
    let said = found[0]["message"].as_str().unwrap();
    assert!(said.contains(message), "`{message}` is missing in `{said}`");
}

#[test]
fn an_expectation_that_holds_passes_with_the_title_as_its_message() {
    gives("{ id: own.a, title: 'It runs {kernel.release}', expect: 'cpu.sockets == 2' }", "pass", "It runs 5.14.0");
}

#[test]
fn a_false_expectation_says_which_part_is_false_also_without_a_text() {
    gives(
        "{ id: own.a, title: t, expect: 'cpu.sockets == 2 && cpu.sockets > 7' }",
        "critical",
        "cpu.sockets is 2, expected more than 7",
    );
    let found = outcomes(
        &checklist(&["{ id: own.a, title: t, severity: warning, expect: 'cpu.sockets > 7', found: \
        'only {cpu.sockets}', why: w, next: [n], who: user }"]),
        &[],
    );
    assert_eq!(found[0]["status"], "warning");
    assert_eq!(found[0]["message"], "only 2");
    assert_eq!(found[0]["because"][0], "cpu.sockets is 2, expected more than 7");
    assert_eq!(found[0]["values"]["cpu.sockets"], 2);
    assert_eq!((&found[0]["why"], &found[0]["next"][0], &found[0]["who"]), (&"w".into(), &"n".into(), &"user".into()));
}

#[test]
fn the_worst_level_that_is_false_is_the_outcome() {
    let levels = |info: i32, warning: i32, critical: i32| {
        format!(
            "{{ id: own.a, title: t, expect: {{ info: cpu.sockets > {info}, critical: cpu.sockets > {critical}, \
                 warning: cpu.sockets > {warning} }} }}"
        )
    };
    gives(&levels(1, 1, 1), "pass", "t");
    gives(&levels(5, 1, 1), "info", "more than 5");
    gives(&levels(5, 4, 1), "warning", "more than 4");
    gives(&levels(5, 4, 3), "critical", "more than 3");
    // One level is false, a worse one cannot be told: what is known counts.
    gives(
        "{ id: own.a, title: t, observe: { f: { file: { path: /etc/hostname } } }, \
         expect: { warning: cpu.sockets > 5, critical: f.age_seconds > 1 } }",
        "warning",
        "more than 5",
    );
    // None is false, one cannot be told.
    gives(
        "{ id: own.a, title: t, observe: { f: { file: { path: /etc/hostname } } }, \
         expect: { warning: cpu.sockets > 1, critical: f.age_seconds > 1 } }",
        "unknown",
        "not recorded",
    );
}

#[test]
fn what_is_not_there_is_skipped_and_what_nobody_could_see_is_unknown() {
    let command = |argv: &str, expect: &str| {
        format!(
            "{{ id: own.a, title: t, observe: {{ c: {{ command: {{ argv: {argv}, parse: json }} }} }}, expect: '{expect}' }}"
        )
    };
    gives(&command("[nothing-like-it]", "c.exit_status == 0"), "skipped", "not present");
    gives(
        "{ id: own.a, title: t, observe: { f: { file: { path: /etc/hostname } } }, expect: 'f.mode == \"0644\"' }",
        "unknown",
        "not recorded",
    );
    gives("{ id: own.a, title: t, expect: 'cpu.throttled.core_events == 0' }", "skipped", "not supported");
}

#[test]
fn where_it_does_not_apply_it_is_skipped_with_the_condition_as_reason() {
    gives("{ id: own.a, title: t, when: cpu.sockets == 9, expect: 'false' }", "skipped", "cpu.sockets == 9");
    let text = "checklist: own\napplies: cpu.sockets == 9\nchecks: [{ id: own.a, title: t, expect: 'false' }]\n";
    let found = outcomes(text, &[]);
    assert_eq!((&found[0]["status"], found.len()), (&"skipped".into(), 1));
    assert!(found[0]["message"].as_str().unwrap().contains("cpu.sockets == 9"));
    gives(
        "{ id: own.a, title: t, for_each: { mount: 'mounts.filter(m, m.mount_point == \"/\")' }, \
         when: 'mount.mount_point == \"/x\"', expect: 'false' }",
        "skipped",
        "mount.mount_point",
    );
}

#[test]
fn a_loop_gives_one_outcome_for_each_subject() {
    let found =
        outcomes(&checklist(&["{ id: own.a, title: t, for_each: { mount: mounts }, expect: mount.mounted }"]), &[]);
    assert!(found.len() > 5);
    assert!(found.iter().all(|outcome| outcome["subject"]["kind"] == "mount"));
    assert!(found.iter().any(|outcome| outcome["subject"]["key"] == "/"));
    gives(
        "{ id: own.a, title: t, for_each: { m: 'mounts.filter(m2, false)' }, expect: 'false' }",
        "skipped",
        "there is none",
    );
    gives(
        "{ id: own.a, title: t, for_each: { t: 'params.nothing' }, expect: 'false' }\nparams: { nothing: { type: list, about: a } }",
        "skipped",
        "params.nothing is not set",
    );
    // Loops stand in each other; the inner subject is a part of the outer one.
    let nested = "{ id: own.a, title: t, for_each: { mount: 'mounts.filter(m, m.mount_point == \"/\")', option: mount.options }, \
                  expect: 'option != \"\"' }";
    let found = outcomes(&checklist(&[nested]), &[]);
    assert!(found.len() > 1);
    assert_eq!(found[0]["subject"]["kind"], "option");
    assert_eq!(found[0]["subject"]["parent"]["key"], "/");
}

#[test]
fn an_element_that_cannot_be_told_costs_only_itself() {
    let machine = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = machine.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "proc/1/mountinfo",
        "22 1 259:2 / / rw - ext4 /dev/sda1 rw\n23 22 259:3 / /data rw - xfs /dev/sdb1 rw\n\
        24 22 0:40 / /home rw - nfs4 nfs1:/home rw\n",
    );
    write("etc/fstab", "nfs9:/x /tools nfs defaults 0 0\n");
    write(
        "punchlist-observations.yaml",
        "recorded: 2026-11-20T08:15:00Z\nfile_systems:\n  /: { size_bytes: 100, free_bytes: 0 }\n  /data: { size_bytes: \
         100, free_bytes: 100 }\n  /home: { absent: timeout, detail: /home did not answer in 3 s }\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    let check = "{ id: own.a, title: t, for_each: { mount: 'mounts.filter(m, !m.is_pseudo && m.space.used_percent > 50)' }, expect: 'false' }";
    fs::write(&file, checklist(&[check])).unwrap();
    let run = |format: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
            .args(["run", "--only", "own.*", "--format", format, "--root"])
            .arg(machine.path())
            .arg(&file)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let report: Json = serde_json::from_str(&run("json")).unwrap();
    let found: Vec<(&str, &str)> = report["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["subject"]["key"].as_str().unwrap_or("node"), one["status"].as_str().unwrap()))
        .collect();
    // The full one is found; the hung one is unknown; the empty one and the one that is not mounted are left out.
    assert_eq!(found, [("/", "critical"), ("/home", "unknown")]);
    let text = run("text");
    assert!(text.contains("CRITICAL  /home did not answer in 3 s"), "{text}");
}

#[test]
fn what_is_needed_never_loads_the_node_unasked() {
    let trace = tempfile::tempdir().unwrap();
    let touched = trace.path().join("touched");
    let checks = checklist(&[
        &format!(
            "{{ id: own.load, title: t, effect: disrupts, observe: {{ c: {{ command: {{ argv: [touch, '{}'] }} }} }}, expect: c.exit_status == 0 }}",
            touched.display()
        ),
        "{ id: own.reader, title: t, needs: [own.load], expect: 'true' }",
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, checks).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["run", "--only", "own.reader", "--all"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!touched.exists(), "{text}");
    assert!(text.contains("needs own.load, which is left out of this run"), "{text}");
}

#[test]
fn numbers_in_arguments_stay_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    let check = "{ id: own.a, title: t, observe: { c: { command: { argv: [echo, 1.10, 0x1F, 1e3, True] } } }, expect: 'c.stdout == \"1.10 0x1F 1e3 True\\n\"' }";
    fs::write(&file, checklist(&[check])).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_punchlist")).args(["run", "--only", "own.*"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_check_waits_for_what_it_needs() {
    let with = |first: &str| -> Json {
        let second = "{ id: own.b, title: t, needs: [own.a], expect: 'true' }";
        outcomes(&checklist(&[second, first]), &[])[0].clone()
    };
    assert_eq!(with("{ id: own.a, title: t, expect: 'true' }")["status"], "pass");
    assert_eq!(with("{ id: own.a, title: t, severity: warning, expect: 'false' }")["status"], "pass");
    let after_critical = with("{ id: own.a, title: t, expect: 'false' }");
    assert_eq!(after_critical["status"], "skipped");
    assert_eq!(after_critical["message"], "needs own.a, which is critical");
    assert_eq!(with("{ id: own.a, title: t, when: 'false', expect: 'true' }")["status"], "skipped");
    let unknown =
        "{ id: own.a, title: t, observe: { f: { file: { path: /etc/hostname } } }, expect: f.age_seconds > 1 }";
    assert_eq!(with(unknown)["status"], "unknown");
}

#[test]
fn needs_are_matched_by_subject_where_both_have_the_same_kind() {
    let checks = checklist(&[
        "{ id: own.a, title: t, for_each: { mount: mounts }, expect: 'mount.mount_point != \"/home\"' }",
        "{ id: own.b, title: t, for_each: { mount: mounts }, needs: [own.a], expect: 'true' }",
        "{ id: own.c, title: t, needs: [own.a], expect: 'true' }",
    ]);
    let found = outcomes(&checks, &[]);
    for outcome in found.iter().filter(|outcome| outcome["check"] == "own.b") {
        let expected = if outcome["subject"]["key"] == "/home" { "skipped" } else { "pass" };
        assert_eq!(outcome["status"], expected, "{outcome}");
    }
    assert_eq!(found.iter().find(|outcome| outcome["check"] == "own.c").unwrap()["status"], "skipped");
}

#[test]
fn parameters_are_set_on_the_command_line_then_by_their_default() {
    let text = "checklist: own\nparams:\n  limit: { type: int, about: a, default: cpu.sockets + 1 }\n  names: { type: list, \
                about: a }\nchecks:\n  - { id: own.a, title: t, expect: params.limit == 3 }\n  - { id: own.b, title: t, \
                expect: params.names.size() == 2 }\n";
    let status = |more: &[&str]| -> Vec<String> {
        outcomes(text, more).iter().map(|outcome| outcome["status"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(status(&[]), ["pass", "skipped"]);
    assert_eq!(status(&["--set", "limit=4", "--set", "names=a, b"]), ["critical", "pass"]);
}

#[test]
fn arguments_of_probes_may_hold_expressions_and_each_is_asked_once() {
    let checks = checklist(&[
        "{ id: own.a, title: t, observe: { f: { file: { path: '/etc/{params.which}' } } }, expect: 'f.contents.contains(\"Rocky\")' }",
        "{ id: own.b, title: t, observe: { g: { file: { path: /etc/os-release } } }, expect: 'g.exists' }",
    ]) + "params: { which: { type: text, about: a, default: '\"os-release\"' } }\n";
    let found = outcomes(&checks, &[]);
    assert_eq!((&found[0]["status"], &found[1]["status"]), (&"pass".into(), &"pass".into()), "{found:#?}");
}

#[test]
fn what_loads_the_node_runs_only_when_asked_for() {
    let checks = checklist(&[
        "{ id: own.a, title: t, expect: 'true' }",
        "{ id: own.b, title: t, effect: loads, expect: 'true' }",
        "{ id: own.c, title: t, level: deep, expect: 'true' }",
    ]);
    assert_eq!(outcomes(&checks, &[]).len(), 1);
    assert_eq!(outcomes(&checks, &["--effect", "loads"]).len(), 2);
    assert_eq!(outcomes(&checks, &["--effect", "loads", "--level", "deep"]).len(), 3);
}

#[test]
fn the_third_round_asks_only_after_its_needs_passed() {
    let trace = tempfile::tempdir().unwrap();
    let touch = |name: &str| format!("[touch, '{}']", trace.path().join(name).display());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    let text = checklist(&[
        "{ id: own.good, title: t, expect: 'true' }",
        "{ id: own.bad, title: t, expect: 'false' }",
        &format!(
            "{{ id: own.a, title: t, effect: loads, needs: [own.good], observe: {{ c: {{ command: {{ argv: {} }} }} }}, expect: c.exit_status == 0 }}",
            touch("a")
        ),
        &format!(
            "{{ id: own.b, title: t, effect: loads, needs: [own.bad], observe: {{ c: {{ command: {{ argv: {} }} }} }}, expect: c.exit_status == 0 }}",
            touch("b")
        ),
    ]);
    fs::write(&file, text).unwrap();
    // On the live machine: a recorded one runs nothing.
    let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["run", "--only", "own.*", "--effect", "loads", "--all"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(trace.path().join("a").exists(), "{text}");
    assert!(!trace.path().join("b").exists(), "{text}");
    assert!(text.contains("needs own.bad, which is critical"), "{text}");
}
