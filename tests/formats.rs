//! Every format of a report, through the real binary: what it says, that its own readers can read it, and that nothing
//! a machine says breaks it.

mod common;
#[path = "common/reports.rs"]
mod reports;

use common::{in_parallel, machine, machines, punchlist_on};
use reports::{large, poison, report_on, with_everything};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn punchlist(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_punchlist")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A report rendered in a format.
fn rendered(report: &Json, format: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    fs::write(&file, report.to_string()).unwrap();
    let output = punchlist(&[&["report", file.to_str().unwrap(), "--format", format], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    out(&output)
}

fn hostile() -> Json {
    let mut report = with_everything();
    poison(&mut report, "", &mut 0);
    report
}

#[test]
fn a_run_writes_several_formats_at_once_by_their_endings() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = punchlist_on(&machine("gpu-lost"), "run");
    let begins = [
        ("a.txt", "hgx201 ·"),
        ("a.json", "{\n\"format\":\"punchlist-report\""),
        ("a.html", "<!doctype html>"),
        ("a.md", "# hgx201: 1 to fix"),
        ("a.xml", "<?xml"),
        ("a.prom", "# HELP punchlist_"),
        ("a.nagios", "PUNCHLIST CRITICAL - "),
        ("a.jsonl", "{\"time\":"),
    ];
    for (name, _) in begins {
        command.arg("-o").arg(folder.path().join(name));
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    for (name, begin) in begins {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.starts_with(begin), "{name}: {}", &text[..text.len().min(200)]);
        assert!(text.ends_with('\n') || name == "a.xml" || name == "a.html", "{name}");
    }
    assert!(out(&output).contains("PUNCH LIST · 1 to fix"));
}

#[test]
fn an_ending_that_names_no_format_needs_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    fs::write(&report, report_on("kvm-vm").to_string()).unwrap();
    let write = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let output = punchlist(&[&["report", report.to_str().unwrap(), "-o", file.to_str().unwrap()], more].concat());
        (output.status.code(), err(&output), fs::read_to_string(file).unwrap_or_default())
    };
    let (status, said, written) = write("report.pdf", &[]);
    assert_eq!((status, written.as_str()), (Some(64), ""), "{said}");
    assert!(said.contains(".pdf names no format") && said.contains(".html"), "{said}");
    let (status, said, written) = write("report.page", &["--format", "html"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(written.starts_with("<!doctype html>"));
    let (status, said, written) = write("report", &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(written.contains("PUNCH LIST"));
}

#[test]
fn a_report_is_read_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    fs::write(&file, report_on("gpu-lost").to_string()).unwrap();
    let piped = |arguments: &[&str], from: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
        command.args(arguments).env("NO_COLOR", "1").stdin(fs::File::open(from).unwrap()).output().unwrap()
    };
    let output = piped(&["report", "-"], &file);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), out(&punchlist(&["report", file.to_str().unwrap()])));
    let same = piped(&["diff", "-", file.to_str().unwrap()], &file);
    assert_eq!(same.status.code(), Some(0), "{}", err(&same));
    let none = piped(&["report", "-"], Path::new("/dev/null"));
    assert_eq!(none.status.code(), Some(65));
    assert!(err(&none).contains("standard input: this is empty"), "{}", err(&none));
}

#[test]
fn the_heading_is_broken_between_its_parts() {
    let text = rendered(&report_on("gpu-lost"), "text", &[]);
    let heading: Vec<&str> = text.split("\n\n").next().unwrap().lines().collect();
    assert!(heading.len() > 1 && heading.iter().all(|line| line.chars().count() <= 100), "{heading:#?}");
    assert!(heading[1].starts_with("Supermicro"), "{heading:#?}");
}

#[test]
fn a_saved_report_renders_as_the_run_did() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    for name in ["sick-node", "gpu-lost", "hgx-h100", "nvlink-down"] {
        let run = punchlist_on(&machine(name), "run").args(["--all", "-o"]).arg(&file).output().unwrap();
        let again = punchlist(&["report", file.to_str().unwrap(), "--all"]);
        assert_eq!(again.status.code(), Some(0), "{}", err(&again));
        let lines = |output: &Output| out(output).lines().map(str::to_string).collect::<BTreeSet<_>>();
        assert_eq!(lines(&run), lines(&again), "{name}");
        // And once more gives the very same report.
        let json = fs::read_to_string(&file).unwrap();
        assert_eq!(out(&punchlist(&["report", file.to_str().unwrap(), "--format", "json"])), json, "{name}");
    }
}

#[test]
fn what_was_put_together_comes_apart_again() {
    let report = report_on("hgx-h100");
    let entries = report["outcomes"].as_array().unwrap();
    let whole = common::outcomes(&report);
    assert_eq!(report["summary"]["outcomes"], whole.len());
    assert!(entries.len() * 3 < whole.len(), "{} entries for {} outcomes", entries.len(), whole.len());
    for entry in entries {
        let quiet = entry["status"] == "pass" || entry["status"] == "skipped";
        assert!(quiet || entry["subject"].is_object() && entry["check"].is_string(), "{entry}");
        let count = entry["subjects"].as_array().map_or(1, Vec::len);
        for (name, each) in entry["values_of_each"].as_object().into_iter().flatten() {
            assert_eq!(each.as_array().unwrap().len(), count, "{name} of {entry}");
        }
    }
    let events = rendered(&report, "jsonl", &[]);
    let outcomes: Vec<Json> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Json| event["event"] == "outcome")
        .collect();
    assert_eq!(outcomes.len(), whole.len());
    let temperature = |gpu: &str| {
        let one = outcomes.iter().find(|event| {
            event["outcome"]["check"] == "gpu.temperature.margin" && event["outcome"]["subject"]["key"] == gpu
        });
        one.unwrap()["outcome"]["values"].clone()
    };
    assert!(temperature("0000:18:00.0").as_object().is_some_and(|values| !values.is_empty()));
}

#[test]
fn explanations_survive_the_file() {
    let report = with_everything();
    let text = rendered(&report, "text", &["--all"]);
    assert!(text.contains("CRITICAL  GPU 5 has fallen off the PCIe bus  certain"), "{text}");
    assert!(text.contains("explains  6 outcomes: "), "{text}");
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(one_line.contains("(waived until 2027-01-31: the vendor has no newer one for this board)"), "{text}");
    let again: Json = serde_json::from_str(&rendered(&report, "json", &[])).unwrap();
    let names = |report: &Json| -> Vec<String> {
        let explains = report["items"][0]["explains"].as_array().unwrap();
        explains.iter().map(|place| report["outcomes"][place.as_u64().unwrap() as usize]["check"].to_string()).collect()
    };
    assert_eq!(names(&report), names(&again));
    for place in again["items"][0]["explains"].as_array().unwrap() {
        assert_eq!(again["outcomes"][place.as_u64().unwrap() as usize]["explained_by"], json!([0]));
    }
}

/// Written by the first version of the format, and kept: whoever has such reports can go on reading them.
#[test]
fn a_report_of_version_1_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports/version-1.json");
    let old: Json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(old["version"], 1);
    let output = punchlist(&["report", file.to_str().unwrap(), "--all"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(text.contains("PUNCH LIST · 2 to fix"), "{text}");
    assert!(text.contains("GPU 0000:ab:00.0 is lost; it does not answer on the PCI bus any more"), "{text}");
    assert!(text.contains("96 outcomes of 29 checks · 72 pass · 2 critical · 22 skipped"), "{text}");
    for outcome in old["outcomes"].as_array().unwrap() {
        assert!(
            text.replace(['\n', ' '], "").contains(&outcome["message"].as_str().unwrap().replace(' ', "")),
            "{outcome}"
        );
    }
    let new: Json =
        serde_json::from_str(&out(&punchlist(&["report", file.to_str().unwrap(), "--format", "json"]))).unwrap();
    assert_eq!(new["version"], 2);
    assert_eq!(new["summary"], old["summary"]);
    // Every format takes it.
    for format in ["html", "md", "junit", "prometheus", "nagios", "jsonl"] {
        assert!(!rendered(&old, format, &[]).is_empty());
    }
}

#[test]
fn what_is_no_report_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let whole = report_on("kvm-vm").to_string();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let bad = [
        ("cut", whole.as_bytes()[..whole.len() / 2].to_vec(), "cut off"),
        ("newer", whole.replacen("\"version\":2", "\"version\":99", 1).into_bytes(), "use a newer punchlist"),
        ("snapshot", b"{\"format\": \"punchlist-snapshot\", \"version\": 1}".to_vec(), "punchlist run --from"),
        ("other", b"{\"format\": \"something\", \"version\": 1}".to_vec(), "this is a something, not a report"),
        ("text", b"hello".to_vec(), "not a report"),
        ("zeros", vec![0; 1 << 20], "not a report"),
        ("empty", Vec::new(), "is empty"),
        ("list", b"[]".to_vec(), "not a report"),
        ("damaged", whole.replacen("\"items\":[", "\"items\":[3", 1).into_bytes(), "damaged"),
        (
            "subjects",
            whole.replacen("\"subjects\":[0", "\"subjects\":[9999", 1).into_bytes(),
            "subject that is not in the list",
        ),
        ("binary", (0..=255).collect(), "not a report"),
        ("deep", b"[".repeat(1 << 20), "not a report"),
    ];
    for (name, content, expected) in &bad {
        write(name, content);
        let html = folder.path().join("out.html");
        let file = folder.path().join(name);
        let output = punchlist(&["report", file.to_str().unwrap(), "-o", html.to_str().unwrap()]);
        let said = err(&output);
        assert_eq!(output.status.code(), Some(65), "{name}: {said}");
        assert!(said.contains(expected) && said.contains(name) && said.lines().count() == 1, "{name}: {said}");
        assert!(!html.exists(), "{name}");
        assert_eq!(out(&output), "");
    }
    // Two gigabytes that take no room on the disk.
    let huge = fs::File::create(folder.path().join("huge")).unwrap();
    huge.set_len(2 << 30).unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for name in ["huge", "fifo", ".", "nothing"] {
        let began = Instant::now();
        let output = punchlist(&["report", folder.path().join(name).to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(65), "{name}");
        assert!(began.elapsed() < Duration::from_secs(2), "{name}");
    }
}

#[test]
fn what_cannot_be_written_leaves_the_old_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    fs::write(&report, report_on("kvm-vm").to_string()).unwrap();
    let old = folder.path().join("old.html");
    fs::write(&old, "old").unwrap();
    let link = folder.path().join("link.html");
    std::os::unix::fs::symlink(&old, &link).unwrap();
    for (target, expected) in [
        (link.clone(), "only a plain file"),
        (folder.path().to_path_buf(), "this is a folder"),
        (folder.path().join("nothing/a.html"), "no such file"),
        ("/dev/full".into(), "only a plain file"),
        ("/proc/a.jsonl".into(), "cannot write /proc/a.jsonl"),
    ] {
        let output = punchlist(&[
            "report",
            report.to_str().unwrap(),
            "-o",
            old.to_str().unwrap(),
            "-o",
            target.to_str().unwrap(),
        ]);
        assert_eq!(output.status.code(), Some(74), "{}: {}", target.display(), err(&output));
        assert!(err(&output).contains(expected), "{}", err(&output));
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    }
    // A file that grows beyond what is allowed stands for a full disk.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" report \"$1\" -o \"$2\"";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_punchlist")])
        .arg(&report)
        .arg(&old)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", err(&output));
    assert!(out(&output).contains("PUNCH LIST"), "what could be printed was");
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn several_reports_make_a_table_with_the_worst_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
    command.arg("report").env("NO_COLOR", "1");
    for name in ["kvm-vm", "gpu-lost", "hgx-h100", "sick-node"] {
        let file = folder.path().join(name);
        fs::write(&file, report_on(name).to_string()).unwrap();
        command.arg(file);
    }
    let output = command.output().unwrap();
    let text = out(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("NODE") && lines[0].contains("FIRST ITEM"));
    assert!(lines[1].starts_with("cn118") && lines[1].contains("critical") && lines[1].contains(" 11 "), "{text}");
    assert!(
        lines[2].starts_with("hgx201") && lines[2].contains("GPU 0000:ab:00.0 has fallen off the PCIe bus"),
        "{text}"
    );
    assert!(lines[3].contains("ok") && lines[4].contains("ok"), "{text}");
    // One that was cut off does not cost the others.
    let cut = folder.path().join("cut");
    fs::write(&cut, "{\"format\":\"punchlist-report\",\"version\":2,").unwrap();
    let output = command.arg(&cut).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(out(&output), text);
    assert!(err(&output).contains("cut: this is cut off") && err(&output).lines().count() == 1, "{}", err(&output));
    let output = command.args(["--format", "html"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", err(&output));
}

#[test]
fn junit_is_read_by_an_xml_parser() {
    for (report, is_hostile) in [(with_everything(), false), (hostile(), true)] {
        let text = rendered(&report, "junit", &[]);
        let document = roxmltree::Document::parse(&text).unwrap();
        let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
        assert_eq!(cases.len(), report["summary"]["outcomes"].as_u64().unwrap() as usize);
        let with = |tag: &str| cases.iter().filter(|case| case.children().any(|node| node.has_tag_name(tag))).count();
        let of = |status: &str| {
            let entries = common::outcomes(&report);
            entries.iter().filter(|entry| entry["status"] == status).count()
        };
        assert_eq!(with("failure"), of("critical"));
        assert_eq!(with("error"), of("unknown"));
        assert_eq!(with("skipped"), of("skipped") + 1, "and the waived one");
        let suites: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testsuite")).collect();
        assert!(suites.len() >= 11);
        for suite in &suites {
            let count = suite.children().filter(|node| node.has_tag_name("testcase")).count();
            assert_eq!(suite.attribute("tests").unwrap().parse(), Ok(count));
        }
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert!(failure.attribute("message").unwrap().starts_with("Found in place of"), "{failure:?}");
        assert_eq!(text.contains("&lt;script&gt;"), is_hostile);
    }
}

/// Holds a text against the grammar of Prometheus' text format 0.0.4, as `promtool check metrics` does, and more: each
/// metric has help and type before its series, all of them together, and no series stands twice.
fn metrics(text: &str) -> BTreeMap<String, f64> {
    let name = r"[a-zA-Z_:][a-zA-Z0-9_:]*";
    let label = r#"[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*""#;
    let series = regex::Regex::new(&format!(r"^(({name})(?:\{{{label}(?:,{label})*\}})?) (\S+)$")).unwrap();
    let about = regex::Regex::new(&format!("^# (HELP|TYPE) ({name}) (.+)$")).unwrap();
    let mut found = BTreeMap::new();
    let (mut help, mut kind) = (String::new(), String::new());
    let mut seen = BTreeSet::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(parts) = about.captures(line) {
            match &parts[1] {
                "HELP" => {
                    assert!(seen.insert(parts[2].to_string()), "{line} stands twice");
                    help = parts[2].to_string();
                }
                _ => {
                    assert!(["gauge", "counter"].contains(&&parts[3]), "{line}");
                    kind = parts[2].to_string();
                }
            }
            continue;
        }
        let parts = series.captures(line).unwrap_or_else(|| panic!("no series: {line:?}"));
        assert!(parts[2].starts_with("punchlist_"));
        assert!(parts[2] == help && parts[2] == kind, "{line} comes without its help and type");
        let value: f64 = parts[3].parse().unwrap();
        assert!(found.insert(parts[1].to_string(), value).is_none(), "{line} stands twice");
    }
    found
}

#[test]
fn prometheus_metrics_keep_to_the_grammar() {
    let report = with_everything();
    let found = metrics(&rendered(&report, "prometheus", &[]));
    assert_eq!(found["punchlist_items{severity=\"critical\"}"], 2.0);
    assert_eq!(
        found["punchlist_outcomes{status=\"unknown\"}"],
        report["summary"]["by_status"]["unknown"].as_f64().unwrap()
    );
    assert_eq!(found["punchlist_outcomes_waived"], 1.0);
    assert_eq!(found["punchlist_run_timestamp_seconds"], 1_795_162_500.0);
    let item = "punchlist_item{id=\"gpu.off-bus\",severity=\"critical\",certainty=\"certain\",who=\"vendor\",where=\"gpu 0000:ab:00.0\"}";
    assert_eq!(found[item], 2.0, "two that are alike are one series");
    metrics(&rendered(&hostile(), "prometheus", &[]));
    let many = metrics(&rendered(&large(5000), "prometheus", &[]));
    assert!(many.len() < 600, "a large report must not flood whoever scrapes it: {}", many.len());
    assert_eq!(many["punchlist_outcomes{status=\"critical\"}"], 1000.0);
}

#[test]
fn nagios_gets_one_line_and_the_exit_status_that_goes_with_it() {
    let shape = regex::Regex::new(
        r"^PUNCHLIST (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+ \| critical=\d+ warning=\d+ unknown=\d+ pass=\d+ skipped=\d+ time=[\d.]+s\n$",
    )
    .unwrap();
    in_parallel(&machines(), |machine| {
        let output = punchlist_on(machine, "run").args(["--format", "nagios"]).output().unwrap();
        let line = out(&output);
        let parts = shape.captures(&line).unwrap_or_else(|| panic!("{}: {line:?}", machine.display()));
        let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][output.status.code().unwrap() as usize];
        assert_eq!(&parts[1], word, "{line}");
    });
    let line = rendered(&hostile(), "nagios", &[]);
    assert!(shape.is_match(&line) && line.len() < 4096, "{line:?}");
}

#[test]
fn markdown_shows_text_as_it_is() {
    let report = with_everything();
    let text = rendered(&report, "md", &[]);
    for expected in [
        "# hgx201: 2 to fix",
        "## 1. critical: GPU 5 has fallen off the PCIe bus",
        "- **Where:** `gpu 0000:ab:00.0`",
        "- **How sure:** certain",
        "- **Who acts:** vendor",
        "  1. Drain the node.",
        "## Could not be told",
        "| denied: /dev/kmsg: needs root |",
        "## Waived by the site",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("All outcomes"));
    assert!(rendered(&report, "md", &["--all"]).contains("| critical | `gpu.lost` | `gpu 0000:ab:00.0` |"));
    let brief = rendered(&report, "md", &["--brief"]);
    assert!(
        brief.contains("1. **critical** GPU 5 has fallen off the PCIe bus (certain)")
            && brief.contains("→ Drain the node.")
    );
    assert!(brief.len() < 1500 && brief.lines().count() < 15, "{brief}");
    let many = rendered(&large(5000), "md", &["--brief"]);
    assert!(many.len() < 4000 && many.contains("and 1980 more"), "{many}");

    let text = rendered(&hostile(), "md", &["--all"]);
    // Outside of code every mark that could mean something is written out, and no cell of a table ends early.
    for line in text.lines() {
        assert!(line.len() < 20_000, "a line of {} bytes", line.len());
        assert!(!line.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{line:?}");
        if line.starts_with("| ") {
            let bars = line.replace("\\|", "").matches('|').count();
            assert!([3, 4, 5].contains(&bars), "{bars}: {line}");
        }
        // What is shown as code may hold a tag; nothing else may.
        let outside: String = line.split('`').step_by(2).collect();
        if line.matches('`').count() % 2 == 0 && !line.contains("``") {
            assert!(!outside.contains("<script"), "{line}");
        }
    }
}

#[test]
fn events_come_one_a_line_as_they_happen() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.yaml");
    fs::write(
        &own,
        "checklist: own\nchecks:\n  - { id: own.slow, title: t, observe: { c: { command: { argv: [sleep, '63'], timeout: 3s } } }, expect: c.exit_status == 0 }\n",
    )
    .unwrap();
    let file = folder.path().join("events.jsonl");
    fs::write(&file, "old").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["run", "--only", "own.slow,host.*,cpu.online", "--format", "jsonl", "-o"])
        .arg(&file)
        .arg(&own)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Json { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next();
    assert_eq!((&first["event"], &first["version"]), (&"run_started".into(), &2.into()));
    let mut answered = BTreeSet::new();
    while !answered.contains("cpu") {
        let event = next();
        answered.insert(event["probe"].as_str().unwrap().to_string());
    }
    // The command still sleeps, and what was answered is known, here and in the file.
    assert!(child.try_wait().unwrap().is_none());
    let so_far = fs::read_to_string(&file).unwrap();
    assert!(so_far.ends_with('\n') && so_far.lines().count() >= 2 && so_far.contains("\"probe\":\"cpu\""), "{so_far}");
    let mut rest: Vec<Json> = Vec::new();
    for line in lines {
        rest.push(serde_json::from_str(&line.unwrap()).unwrap());
    }
    let status = child.wait().unwrap().code();
    let names: Vec<&str> = rest.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let given_up = rest.iter().find(|event| event["event"] == "given_up" && event["probe"] == "command").unwrap();
    assert_eq!(given_up["reason"]["absent"], "timeout", "{given_up}");
    assert_eq!(given_up["arguments"]["argv"], json!(["sleep", "63"]));
    let at = |name: &str| names.iter().position(|one| *one == name).unwrap();
    assert!(at("given_up") < at("node") && at("node") < at("outcome") && at("outcome") < at("item"));
    let last = rest.last().unwrap();
    assert_eq!(last["event"], "run_ended");
    assert_eq!(last["summary"]["exit_status"], status.unwrap());
    let times: Vec<&str> = rest.iter().map(|event| event["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    let whole = fs::read_to_string(&file).unwrap();
    assert_eq!(whole.lines().count(), rest.len() + 1 + answered.len());

    for line in rendered(&hostile(), "jsonl", &[]).lines() {
        let event: Json = serde_json::from_str(line).unwrap();
        assert!(event["event"].is_string() && event["time"].is_string());
    }
}

#[test]
fn each_probe_is_told_of_once() {
    for name in ["hgx-h100", "sick-node", "hardly-readable"] {
        let output = punchlist_on(&machine(name), "run").args(["--format", "jsonl"]).output().unwrap();
        let mut told = BTreeSet::new();
        for line in out(&output).lines() {
            let event: Json = serde_json::from_str(line).unwrap();
            if event["probe"].is_string() && event["part"].is_null() {
                assert!(told.insert(format!("{} {}", event["probe"], event["arguments"])), "{line} stands twice");
            }
        }
        assert!(told.len() > 10, "{name}: {told:?}");
    }
}

/// As much of JSON Schema as ours use; a keyword that is not known here fails.
fn violations(schema: &Json, root: &Json, value: &Json, at: &str, found: &mut Vec<String>) {
    let Json::Object(keywords) = schema else {
        if *schema == Json::Bool(false) {
            found.push(format!("{at}: nothing may stand here"));
        }
        return;
    };
    let matches = |schema: &Json, value: &Json| {
        let mut inside = Vec::new();
        violations(schema, root, value, at, &mut inside);
        inside.is_empty()
    };
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    };
    let mut wrong = |what: String| found.push(format!("{at}: {what}"));
    for (keyword, rule) in keywords {
        match keyword.as_str() {
            "type" => {
                let kinds = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !kinds.iter().any(|kind| is(kind.as_str().unwrap())) {
                    wrong(format!("{value} is none of {kinds:?}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => wrong(format!("{value} is none of {rule}")),
            "const" if rule != value => wrong(format!("{value} is not {rule}")),
            "pattern" => {
                if let Some(text) =
                    value.as_str().filter(|text| !regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text))
                {
                    wrong(format!("{text} does not match {rule}"));
                }
            }
            "maximum" if value.as_f64() > rule.as_f64() => wrong(format!("{value} is more than {rule}")),
            "minimum" if value.as_f64() < rule.as_f64() => wrong(format!("{value} is less than {rule}")),
            "minLength"
                if value.as_str().is_some_and(|text| (text.chars().count() as u64) < rule.as_u64().unwrap()) =>
            {
                wrong("too short".into())
            }
            "minItems" if value.as_array().is_some_and(|list| (list.len() as u64) < rule.as_u64().unwrap()) => {
                wrong("too short".into())
            }
            "minProperties" if value.as_object().is_some_and(|map| (map.len() as u64) < rule.as_u64().unwrap()) => {
                wrong("empty".into())
            }
            "required" => {
                for name in rule.as_array().unwrap().iter().filter(|_| value.is_object()) {
                    if value.get(name.as_str().unwrap()).is_none() {
                        wrong(format!("{name} is missing"));
                    }
                }
            }
            "anyOf" | "oneOf" => {
                let fit = rule.as_array().unwrap().iter().filter(|one| matches(one, value)).count();
                if fit == 0 || keyword == "oneOf" && fit > 1 {
                    wrong(format!("{value} fits {fit} of {keyword}"));
                }
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flatten().map(|(name, _)| Json::from(name.as_str())) {
                    if !matches(rule, &name) {
                        wrong(format!("{name} cannot be a name here"));
                    }
                }
            }
            "$ref" | "properties" | "additionalProperties" | "items" => {}
            "enum" | "const" | "maximum" | "minimum" | "minItems" | "minLength" | "minProperties" | "$schema"
            | "$id" | "$defs" | "title" | "description" | "default" | "format" => {}
            other => panic!("{other} is not known to this test"),
        }
    }
    if let Some(name) = keywords.get("$ref").and_then(Json::as_str) {
        let target = root.pointer(name.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{name} leads nowhere"));
        violations(target, root, value, at, found);
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        let known = keywords.get("properties").and_then(|known| known.get(name));
        if let Some(rule) = known.or(keywords.get("additionalProperties")) {
            violations(rule, root, field, &at, found);
        }
    }
    if let Some(rule) = keywords.get("items") {
        for (place, item) in value.as_array().into_iter().flatten().enumerate() {
            violations(rule, root, item, &format!("{at}/{place}"), found);
        }
    }
}

fn schema(of: &str) -> Json {
    let output = punchlist(&["schema", of]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn against(schema: &Json, value: &Json) -> Vec<String> {
    let mut found = Vec::new();
    violations(schema, schema, value, "", &mut found);
    found
}

#[test]
fn every_report_keeps_to_the_schema() {
    let schema = schema("report");
    assert_eq!(schema["$id"], "urn:punchlist:schema:report:2");
    let mut reports: Vec<Json> =
        machines().iter().map(|one| report_on(one.file_name().unwrap().to_str().unwrap())).collect();
    reports.push(serde_json::from_str(&rendered(&with_everything(), "json", &[])).unwrap());
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports/version-1.json");
    reports.push(serde_json::from_slice(&fs::read(old).unwrap()).unwrap());
    for report in &reports {
        assert_eq!(against(&schema, report), Vec::<String>::new());
        // Whatever stands in a report is described: a reader need not guess.
        let mut strict = schema.clone();
        close(&mut strict);
        assert_eq!(against(&strict, report), Vec::<String>::new());
    }
    let mut wrong = reports[0].clone();
    wrong["outcomes"][0]["status"] = "fine".into();
    wrong["summary"].as_object_mut().unwrap().remove("checks");
    assert_eq!(against(&schema, &wrong).len(), 2);
}

/// Makes a schema refuse fields that it does not describe.
fn close(schema: &mut Json) {
    match schema {
        Json::Object(fields) => {
            if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".into(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        Json::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn every_checklist_keeps_to_the_schema() {
    let schema = schema("checklist");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checklists");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let checklist: Json = serde_yaml::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(against(&schema, &checklist), Vec::<String>::new(), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 10);
    for (yaml, expected) in [
        ("checklist: a\nchecks: [{ id: a.b, title: t, expect: 'true', severty: critical }]", "severty"),
        ("checklist: a\nchecks: [{ id: a.b, title: t, expect: 'true', severity: bad }]", "severity"),
        ("checklist: a\nchecks: [{ id: A, title: t, expect: 'true' }]", "id"),
        ("checklist: a\nchecks: [{ id: a.b, title: t }]", "expect"),
        ("checklist: a\nchecks: []", "checks"),
        (
            "checklist: a\nchecks: [{ id: a.b, title: t, observe: { x: { fil: { path: /x } } }, expect: 'true' }]",
            "observe",
        ),
        (
            "checklist: a\nchecks: [{ id: a.b, title: t, observe: { x: { file: { pth: /x } } }, expect: 'true' }]",
            "observe",
        ),
        ("checklist: a\nchecks: [{ id: a.b, title: t, expect: { criticl: 'true' } }]", "expect"),
        (
            "checklist: a\ncauses: [{ id: a.b, title: t, certainty: sure, explains: [x] }]\nchecks: [{ id: a.b, title: t, expect: 'true' }]",
            "certainty",
        ),
    ] {
        let found = against(&schema, &serde_yaml::from_str(yaml).unwrap());
        assert!(found.iter().any(|what| what.contains(expected)), "{yaml}: {found:?}");
    }
    let templated = "checklist: a\nchecks: [{ id: a.b, title: t, observe: { x: { command: { argv: [a, '{host.name}'], timeout: '{params.t}', parse: json } } }, expect: { warning: 'x.exit_status == 0' } }]";
    assert_eq!(against(&schema, &serde_yaml::from_str(templated).unwrap()), Vec::<String>::new());
}

#[test]
fn reports_are_small() {
    let too_large = |machine: &PathBuf| -> Vec<String> {
        let mut large = Vec::new();
        let output = punchlist_on(machine, "run").args(["--format", "json"]).output().unwrap();
        let report: Json = serde_json::from_slice(&output.stdout).unwrap();
        let told = report["summary"]["by_status"]["info"].as_u64().unwrap_or(0);
        let healthy = output.status.code() == Some(0) && told <= 3;
        // A healthy node with eight GPUs and over 470 checks takes 65 to 68 KB; one with something to tell stays below
        // 256 KB.
        let most = if healthy { 68_000 } else { 256_000 };
        if output.stdout.len() >= most {
            large.push(format!("{}: {} bytes, at most {most}", machine.display(), output.stdout.len()));
        }
        let html = punchlist_on(machine, "run").args(["--format", "html"]).output().unwrap();
        if html.stdout.len() >= 400_000 {
            large.push(format!("{}: {} bytes of HTML", machine.display(), html.stdout.len()));
        }
        large
    };
    let large: Vec<String> = in_parallel(&machines(), too_large).into_iter().flatten().collect();
    assert!(large.is_empty(), "{}", large.join("\n"));
}
