//! `punchlist run` as a person and a scheduler meet it: options, files, signals, deadlines, hostile text.

mod common;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn punchlist() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("CLICOLOR");
    command
}

fn machine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(name)
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder with a checklist of own checks in it.
fn own(checks: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, format!("checklist: own\nchecks:\n{checks}")).unwrap();
    (folder, file)
}

/// A check that runs a command.
fn command_check(id: &str, argv: &str, timeout: &str) -> String {
    format!(
        "  - {{ id: own.{id}, title: t, observe: {{ c: {{ command: {{ argv: {argv}, timeout: {timeout} }} }} }}, expect: c.exit_status == 0 }}\n"
    )
}

#[test]
fn checks_are_chosen_by_id_pattern_tag_and_checklist() {
    let ids = |more: &[&str]| -> Vec<String> {
        let output = punchlist()
            .args(["run", "--format", "json", "--root"])
            .arg(machine("epyc-node"))
            .args(more)
            .output()
            .unwrap();
        let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)));
        let mut ids: Vec<String> =
            common::outcomes(&report).iter().map(|one| one["check"].as_str().unwrap().to_string()).collect();
        ids.dedup();
        ids
    };
    assert_eq!(ids(&["--only", "cpu.online"]), ["cpu.online"]);
    assert!(ids(&["--only", "cpu.*"]).iter().all(|id| id.starts_with("cpu.")));
    assert!(ids(&["--only", "memory"]).len() > 5);
    let all = ids(&[]);
    let without = ids(&["--skip", "kernel.*,cpu.online"]);
    assert!(all.contains(&"cpu.online".to_string()) && !without.contains(&"cpu.online".to_string()));
    assert!(!without.iter().any(|id| id.starts_with("kernel.")));
}

#[test]
fn wrong_usage_is_said_with_what_to_write() {
    for (arguments, expected) in [
        (&["run", "--only", "cpu.onlin"][..], "did you mean `cpu.online`?"),
        (&["run", "--set", "kernel_stuck_secs=3"], "did you mean `kernel_stuck_seconds`?"),
        (&["run", "--set", "kernel_stuck_seconds=soon"], "kernel_stuck_seconds is a whole number"),
        (&["run", "--set", "kernel_stuck_seconds"], "--set NAME=VALUE"),
        (&["run", "--deadline", "ten"], "500ms, 10s, 2m or 1h"),
        (&["run", "--level", "quik"], "quick, standard, deep"),
        (&["run", "--level", "quick", "--only", "cpu.load"], "no check is left"),
        (&["probes", "mount"], "did you mean `mounts`?"),
        (&["rum"], "run"),
        (&[], "Usage"),
    ] {
        let output = punchlist().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(expected), "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn a_root_that_cannot_be_asked_is_named() {
    let broken = tempfile::tempdir().unwrap();
    fs::write(broken.path().join("punchlist-observations.yaml"), "recorded: yesterday\n").unwrap();
    for (root, expected) in [
        (Path::new("/nothing/here"), "no such file"),
        (Path::new("/etc/hostname"), "not a directory"),
        (broken.path(), "punchlist-observations.yaml"),
    ] {
        let output = punchlist().args(["run", "--root"]).arg(root).output().unwrap();
        assert_eq!(output.status.code(), Some(65), "{}", err(&output));
        assert!(err(&output).to_lowercase().contains(expected), "{}", err(&output));
    }
}

#[test]
fn a_report_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        |file: &Path| punchlist().args(["run", "--root"]).arg(machine("kvm-vm")).arg("-o").arg(file).output().unwrap();
    let json = folder.path().join("report.json");
    fs::write(&json, "old").unwrap();
    assert_eq!(run(&json).status.code(), Some(0));
    let report: Json = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["format"], "punchlist-report");
    let text = folder.path().join("report.txt");
    run(&text);
    assert!(fs::read_to_string(&text).unwrap().contains("PUNCH LIST"));

    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink(&json, &link).unwrap();
    let before = fs::read(&json).unwrap();
    for (file, expected) in [
        (folder.path().to_path_buf(), "this is a folder"),
        (folder.path().join("nothing/report.json"), "no such file"),
        (link, "only a plain file"),
        (PathBuf::from("/dev/null"), "only a plain file"),
    ] {
        let output = run(&file);
        assert_eq!(output.status.code(), Some(74), "{}", err(&output));
        assert!(err(&output).contains(expected), "{}", err(&output));
        assert_eq!(out(&output), "", "nothing was asked, nothing is printed");
    }
    assert_eq!(fs::read(&json).unwrap(), before);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn a_full_standard_output_is_an_error_and_a_closed_pipe_is_none() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = punchlist().args(["run", "--root"]).arg(machine("kvm-vm")).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", err(&output));
    let mut child = punchlist()
        .args(["run", "--all", "--root"])
        .arg(machine("kvm-vm"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn colours_follow_the_conventions() {
    let run = |name: &str, value: &str| {
        let mut command = punchlist();
        if !name.is_empty() {
            command.env(name, value);
        }
        out(&command.args(["run", "--root"]).arg(machine("sick-node")).output().unwrap())
    };
    assert!(!run("", "").contains('\u{1b}'), "not into a pipe");
    assert!(run("CLICOLOR_FORCE", "1").contains("\u{1b}["));
    assert!(!run("NO_COLOR", "1").contains('\u{1b}'));
}

#[test]
fn text_from_a_machine_never_reaches_the_terminal_alive() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &[u8]| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("punchlist-observations.yaml", b"recorded: 2026-11-20T08:15:00Z\n");
    write("proc/sys/kernel/hostname", b"evil\x1b[2J\x1b]0;title\x07\xe2\x80\xaename\n");
    write("etc/os-release", b"PRETTY_NAME=\"Evil \x1b[31m OS \x9b31m\"\n");
    let (_folder, file) = own("  - { id: own.a, title: t, expect: 'host.name == \"x\"', found: 'name {host.name}' }\n");
    for more in [&[][..], &["--all"], &["--format", "json"]] {
        let output = punchlist().args(["run", "--root"]).arg(root.path()).arg(&file).args(more).output().unwrap();
        let text = out(&output);
        assert!(text.contains("evil"), "{text}");
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}' && more.len() < 2), "{text:?}");
    }
}

#[test]
fn commands_that_misbehave_end_in_time_and_leave_nothing_behind() {
    let marker = format!("{}", 40_000 + std::process::id() % 10_000);
    let checks = [
        command_check("sleeps", &format!("[sleep, '{marker}']"), "300ms"),
        command_check(
            "ignores_term",
            &format!("[bash, -c, 'trap \"\" TERM; sleep {marker}; sleep {marker}']"),
            "300ms",
        ),
        command_check("holds_pipe", &format!("[bash, -c, 'sleep {marker} & exit 0']"), "5s"),
        command_check("endless", "[yes]", "500ms"),
        command_check("reads", "[cat]", "5s"),
        command_check("missing", "[no-such-command-here]", "5s"),
        command_check("forbidden", "[/etc/passwd]", "5s"),
        command_check("fails", "['false']", "5s"),
    ]
    .concat();
    let (_folder, file) = own(&checks);
    let began = Instant::now();
    let output = punchlist().args(["run", "--only", "own.*", "--format", "json"]).arg(&file).output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)));
    let status = |id: &str| {
        let outcomes = report["outcomes"].as_array().unwrap();
        let outcome = outcomes.iter().find(|one| one["check"] == format!("own.{id}")).unwrap();
        (
            outcome["status"].as_str().unwrap().to_string(),
            outcome["reason"]["absent"].as_str().unwrap_or("").to_string(),
        )
    };
    for id in ["sleeps", "ignores_term"] {
        assert_eq!(status(id), ("unknown".into(), "timeout".into()), "{id}");
    }
    assert_eq!(status("endless"), ("unknown".into(), "failed".into()), "it is killed after 64 MiB");
    for id in ["holds_pipe", "reads"] {
        assert_eq!(status(id).0, "pass", "{id}");
    }
    assert_eq!(status("missing"), ("skipped".into(), "not_present".into()));
    assert_eq!(status("forbidden"), ("unknown".into(), "denied".into()));
    assert_eq!(status("fails").0, "critical");
    // What can be ended has been ended.
    let patience = Instant::now() + Duration::from_secs(5);
    let alive = || -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap();
        let lines = processes.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
        lines.filter(|arguments| arguments.contains(&marker)).collect()
    };
    while !alive().is_empty() {
        assert!(Instant::now() < patience, "{:?}", alive());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_ends_by_its_deadline_with_a_report() {
    let (_folder, file) = own(&(command_check("slow", "[sleep, '60']", "50s")
        + "  - { id: own.quick, title: t, expect: 'host.name != \"\"' }\n"));
    let began = Instant::now();
    let output =
        punchlist().args(["run", "--only", "own.*", "--deadline", "4500ms", "--all"]).arg(&file).output().unwrap();
    // A busy machine may take its time; the command has 50 s.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let text = out(&output);
    assert!(text.contains("The run was ended early by its deadline of 4500 ms."), "{text}");
    assert!(text.contains("sleep 60 did not answer before the run's deadline of 4500 ms"), "{text}");
    assert!(text.contains("pass      own.quick"), "{text}");
    assert_eq!(output.status.code(), Some(3), "that the run was too short is no finding");
    assert!(err(&output).contains("punchlist: waiting for command sleep 60"), "{}", err(&output));
}

#[test]
fn ctrl_c_term_and_hup_end_in_a_report() {
    let (_folder, file) = own(&(command_check("slow", "[sleep, '77']", "50s")
        + "  - { id: own.quick, title: t, expect: 'host.name != \"\"' }\n"));
    for (signal, name) in [(Signal::INT, "Ctrl-C"), (Signal::TERM, "a TERM signal"), (Signal::HUP, "a HUP signal")] {
        let mut child = punchlist()
            .args(["run", "--only", "own.*", "--all"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The notice on standard error says that it is waiting by now.
        let mut notice = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut notice).unwrap();
        let began = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let status = child.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert_eq!(status.code(), Some(3), "{text}");
        assert!(text.contains(&format!("The run was ended early by {name}.")), "{text}");
        assert!(text.contains("pass      own.quick"), "{text}");
        assert!(text.contains("PUNCH LIST · nothing to fix"), "an interrupted question is no finding: {text}");
    }
}

#[test]
fn a_command_that_does_not_end_in_time_is_an_item_of_its_own() {
    let (_folder, file) = own(&command_check("slow", "[sleep, '61']", "300ms"));
    let output = punchlist().args(["run", "--only", "own.*"]).arg(&file).output().unwrap();
    let text = out(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("CRITICAL  `sleep 61` did not end in 0.3 s"), "{text}");
    assert!(text.contains("1 outcome: own.slow"), "{text}");
}

#[test]
fn our_own_limits_never_read_as_broken_hardware() {
    let (_folder, file) = own("  - { id: own.quick, title: t, expect: 'host.name != \"\"' }\n");
    for (limit, what) in [("ulimit -n 6", "files"), ("ulimit -u 1", "processes")] {
        let script = format!("{limit}; exec \"$0\" run --only own.quick --all \"$1\"");
        let output =
            Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_punchlist")]).arg(&file).output().unwrap();
        let text = out(&output);
        assert!(!text.contains("CRITICAL"), "{what}: {text}{}", err(&output));
    }
}

#[test]
fn nothing_waits_for_a_pipe_that_nobody_writes_to() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = |name: &str| {
        let path = folder.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        path
    };
    let root = pipe("punchlist-observations.yaml");
    let yaml = pipe("own.yaml");
    for arguments in [
        vec!["run".into(), "--root".into(), root.parent().unwrap().to_path_buf().into_os_string()],
        vec!["run".into(), "--from".into(), yaml.clone().into_os_string()],
        vec!["lint".into(), yaml.clone().into_os_string()],
        vec!["lint".into(), folder.path().as_os_str().to_os_string()],
    ] {
        let began = Instant::now();
        let output = punchlist().args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(65), "{arguments:?}: {}", err(&output));
        assert!(began.elapsed() < Duration::from_secs(10), "{arguments:?}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"], &["lint", "--help"]] {
        let output = punchlist().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("punchlist") || out(&output).contains("Usage"), "{}", out(&output));
        assert_eq!(err(&output), "");
    }
}

#[test]
fn checks_and_probes_can_be_listed() {
    let output =
        punchlist().args(["checks", "--format", "json", "--root"]).arg(machine("docker-container")).output().unwrap();
    let checks: Json = serde_json::from_slice(&output.stdout).unwrap();
    let checks = checks.as_array().unwrap();
    assert!(checks.len() >= 45);
    for check in checks {
        for key in ["id", "title", "checklist", "severity", "level", "effect", "tags"] {
            assert!(!check[key].is_null(), "{key} of {check}");
        }
        assert!(check["applies"] == true || check["reason"].is_string(), "{check}");
    }
    assert!(checks.iter().any(|check| check["applies"] == true));
    assert!(checks.iter().any(|check| check["applies"] == false));
    let text = out(&punchlist().arg("probes").output().unwrap());
    for probe in
        ["host", "cpu", "memory", "kernel", "mounts", "processes", "services", "pci", "file", "command", "sysctl"]
    {
        assert!(text.contains(&format!("\n{probe} ")) || text.starts_with(probe), "{probe}");
        let one = out(&punchlist().args(["probes", probe]).output().unwrap());
        assert!(one.lines().count() > 5, "{one}");
    }
    let json: Json =
        serde_json::from_slice(&punchlist().args(["probes", "--format", "json"]).output().unwrap().stdout).unwrap();
    assert!(json["probes"].as_array().unwrap().len() >= 11);
}

/// Every field of every probe says what it is: the reference is made of nothing else.
#[test]
fn every_field_of_every_probe_is_explained() {
    fn walk(schema: &Json, path: &str, missing: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            if field["description"].as_str().unwrap_or_default().is_empty() {
                missing.push(format!("{path}.{name}"));
            }
        }
    }
    let json: Json =
        serde_json::from_slice(&punchlist().args(["probes", "--format", "json"]).output().unwrap().stdout).unwrap();
    let mut missing = Vec::new();
    for (name, definition) in json["$defs"].as_object().unwrap() {
        walk(definition, name, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// A check that loads the node, by a command.
fn load_check(id: &str, argv: &str, timeout: &str) -> String {
    command_check(id, argv, timeout).replace("title: t,", "title: t, level: deep, effect: loads,")
}

fn run_tests_under_load(file: &Path) -> (Output, Json) {
    let arguments = ["run", "--only", "own.*", "--level", "deep", "--effect", "loads", "--deadline", "1s"];
    let output = punchlist().args(arguments).args(["--format", "json"]).arg(file).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)));
    (output, report)
}

#[test]
fn tests_under_load_have_deadlines_of_their_own_and_say_how_far_they_are() {
    let checks = load_check("long", "[sleep, '1.5']", "20s")
        + &load_check("endless", "[sleep, '60']", "1s")
        + &load_check("named", "[echo, '{host.short_name}']", "5s");
    let (_folder, file) = own(&checks);
    let began = Instant::now();
    let (output, report) = run_tests_under_load(&file);
    let statuses: Vec<(String, String)> = common::outcomes(&report)
        .iter()
        .map(|one| (one["check"].as_str().unwrap().to_string(), one["status"].as_str().unwrap().to_string()))
        .collect();
    let expected = [("own.long", "pass"), ("own.endless", "unknown"), ("own.named", "pass")];
    assert_eq!(statuses, expected.map(|(id, status)| (id.to_string(), status.to_string())), "{report}");
    assert!(report["run"]["cut_short"].is_null(), "{report}");
    assert!(began.elapsed() < Duration::from_secs(20), "took {:?}", began.elapsed());
    let said = err(&output);
    assert!(said.contains("punchlist: own.long runs: command sleep 1.5, at most 22 s; 2 more to come\n"), "{said}");
    assert!(said.contains("punchlist: own.long is over after 1."), "{said}");
    assert!(said.contains("punchlist: own.endless gave no answer after 1."), "{said}");
}

#[test]
fn a_run_that_is_out_of_time_begins_no_test_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let checks = command_check("slow", "[sleep, '30']", "40s")
        + &load_check("late", &format!("[touch, {}]", mark.display()), "5s");
    let (_folder, file) = own(&checks);
    let (_, report) = run_tests_under_load(&file);
    assert_eq!(report["run"]["cut_short"], "its deadline of 1 s");
    assert!(common::outcomes(&report).iter().all(|one| one["status"] == "unknown"), "{report}");
    assert!(!mark.exists(), "the node was put under load after the deadline");
}
