//! Mounts that hang beyond KILL, wherever a run meets one: among the mounts, under a check's file, under what the
//! command line names, under the working directory.

mod common;

use common::hung::{self, Hung};
use serde_json::Value as Json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SERVER: &str = "served by deadserver:/export";

/// Where there may be mounts that hang: a folder with `count` of them; none where this machine cannot have such.
struct Node {
    dir: TempDir,
    hung: Vec<Hung>,
}

impl Node {
    fn with(test: &str, count: usize) -> Option<Node> {
        if let Some(why) = hung::impossible() {
            common::left_out(test, why);
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let hung = (0..count).map(|number| Hung::at(&dir.path().join(format!("hung{number}")))).collect();
        let node = Node { dir, hung };
        node.put("own.yaml", "checklist: own\nchecks:\n\
            - { id: own.mounts, title: Mounts answer, for_each: { mount: 'mounts.filter(m, !m.is_pseudo)' }, expect: mount.answered }\n\
            - { id: own.host, title: The node has a name, expect: 'host.name != \"\"' }\n");
        Some(node)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// `punchlist` where these mounts are.
    fn punchlist(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        Hung::mount(&self.hung, &mut command);
        command
    }

    /// A run of the node's own checks.
    fn run(&self, more: &[&str]) -> (Json, Output) {
        let output = self
            .punchlist()
            .args(["run", "--format", "json", "--only", "own"])
            .args(more)
            .arg(self.path("own.yaml"))
            .output()
            .unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        (report, output)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn titles(report: &Json) -> Vec<String> {
    report["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_string()).collect()
}

/// The status of a check for the subject with this key.
fn status(report: &Json, check: &str, key: &str) -> String {
    let mine = |one: &Json| one["check"] == check && one["subject"]["key"].as_str().unwrap_or("") == key;
    let outcome = common::outcomes(report).into_iter().find(mine).unwrap_or_else(|| panic!("{check} {key}"));
    outcome["status"].as_str().unwrap().to_string()
}

/// The workers that runs had to leave behind because of something in this folder, by their names: `mounts /tmp/.tm`.
fn workers(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let notes = fs::read_dir("/run/punchlist").into_iter().flatten().flatten();
    let texts = notes.filter_map(|note| fs::read_to_string(note.path()).ok()).filter(|text| text.contains(&folder));
    let names = texts.filter_map(|text| {
        let note: Json = serde_json::from_str(&text).unwrap();
        let threads = fs::read_dir(format!("/proc/{}/task", note["pid"])).ok()?.count();
        // A zombie without other threads only waits for somebody to notice.
        (threads > 1).then(|| fs::read_to_string(format!("/proc/{}/comm", note["pid"])).unwrap())
    });
    names.collect()
}

#[test]
fn a_hung_mount_is_an_item_and_is_not_asked_again_while_it_is_stuck() {
    let Some(mut node) = Node::with("a_hung_mount_is_an_item_and_is_not_asked_again_while_it_is_stuck", 1) else {
        return;
    };
    let began = Instant::now();
    let (report, _) = node.run(&[]);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(10), "{took:?}");
    let hung = node.path("hung0").display().to_string();
    assert_eq!(titles(&report), [format!("{hung}, {SERVER} did not answer in 3 s")]);
    assert_eq!(status(&report, "own.mounts", &hung), "unknown");
    // All other outcomes are complete.
    assert_eq!(status(&report, "own.host", ""), "pass");
    assert_eq!(status(&report, "own.mounts", "/"), "pass");
    assert_eq!(report["outcomes"].as_array().unwrap().iter().filter(|one| one["status"] == "unknown").count(), 1);
    // It could not be killed, and says what it hangs in.
    let left = workers(node.dir.path());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with("mounts /"), "{left:?}");

    // The second run leaves it alone, and says so. Its view is one of its own: a new mount at the same place.
    let again = vec![Hung::at(&node.path("hung0"))];
    let first = std::mem::replace(&mut node.hung, again);
    for _ in 0..3 {
        let (report, _) = node.run(&[]);
        let titles = titles(&report);
        assert_eq!(titles.len(), 1, "{titles:?}");
        assert!(titles[0].starts_with(&format!("{hung}, {SERVER} has been stuck since 20")), "{titles:?}");
        assert!(titles[0].contains(" UTC (process "), "{titles:?}");
        assert_eq!(status(&report, "own.mounts", &hung), "unknown");
        assert_eq!(status(&report, "own.mounts", "/"), "pass");
        assert_eq!(workers(node.dir.path()).len(), 1, "cron would pile them up");
    }
    // Once the server is back, it is asked again.
    drop(first);
    let patience = Instant::now() + Duration::from_secs(5);
    while !workers(node.dir.path()).is_empty() {
        assert!(Instant::now() < patience, "the worker woke up and did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    node.hung.clear();
    let (report, _) = node.run(&[]);
    assert_eq!(titles(&report), Vec::<String>::new());
}

#[test]
fn ten_hung_mounts_cost_no_more_time_than_one() {
    let Some(node) = Node::with("ten_hung_mounts_cost_no_more_time_than_one", 10) else { return };
    let began = Instant::now();
    let (report, _) = node.run(&[]);
    // One after the other they would take 30 s, and reach the run's deadline.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(titles(&report).len(), 10, "{:?}", titles(&report));
    assert!(titles(&report).iter().all(|title| title.ends_with(&format!("{SERVER} did not answer in 3 s"))));
    assert_eq!(status(&report, "own.mounts", "/"), "pass");
    assert_eq!(status(&report, "own.host", ""), "pass");
    assert_eq!(workers(node.dir.path()).len(), 1);
}

#[test]
fn the_hung_mounts_of_a_server_are_one_item_that_names_them_and_it() {
    let Some(node) = Node::with("the_hung_mounts_of_a_server_are_one_item_that_names_them_and_it", 3) else { return };
    let only = ["--only", "storage.*"];
    let (report, _) = node.run(&only);
    let about = |item: &&Json| item.to_string().contains("deadserver");
    let items: Vec<&Json> = report["items"].as_array().unwrap().iter().filter(about).collect();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0]["cause"], "storage.server-gone");
    assert!(items[0]["title"].as_str().unwrap().starts_with("The file server deadserver does not answer"));
    let seen = items[0]["seen"].to_string();
    for number in 0..3 {
        let hung = node.path(&format!("hung{number}")).display().to_string();
        assert!(seen.contains(&hung), "{seen}");
        // What a site's own check could not tell because of it is explained as well.
        assert_eq!(status(&report, "own.mounts", &hung), "unknown");
    }
    let own =
        common::outcomes(&report).into_iter().filter(|one| one["check"] == "own.mounts" && one["status"] == "unknown");
    assert!(own.map(|one| one["explained_by"].clone()).all(|by| by.as_array().is_some_and(|by| by.len() == 1)));
}

#[test]
fn a_file_on_a_hung_mount_costs_only_its_check() {
    let Some(node) = Node::with("a_file_on_a_hung_mount_costs_only_its_check", 1) else { return };
    let file = node.path("hung0/data").display().to_string();
    node.put("file.yaml", &format!("checklist: filed\nchecks:\n\
        - {{ id: own.file, title: It is there, observe: {{ f: {{ file: {{ path: '{file}' }} }} }}, expect: f.exists }}\n\
        - {{ id: own.other, title: So is this, observe: {{ f: {{ file: {{ path: /proc/version }} }} }}, expect: f.exists }}\n"));
    let files = node.path("file.yaml");
    for says in ["did not answer in 10 s", "has been stuck since"] {
        let began = Instant::now();
        let output = node
            .punchlist()
            .args(["run", "--format", "json", "--only", "filed"])
            .arg(&files)
            .env("PUNCHLIST_TEST_HURRY", "30")
            .output()
            .unwrap();
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let report: Json = serde_json::from_slice(&output.stdout).unwrap();
        let titles = titles(&report);
        assert_eq!(titles.len(), 1, "{titles:?}");
        assert!(titles[0].starts_with(&format!("file {file} {says}")), "{titles:?}");
        assert_eq!(
            (status(&report, "own.file", ""), status(&report, "own.other", "")),
            ("unknown".into(), "pass".into())
        );
        assert_eq!(workers(node.dir.path()).len(), 1);
    }
}

#[test]
fn a_hung_working_directory_or_home_costs_nothing() {
    let Some(node) = Node::with("a_hung_working_directory_or_home_costs_nothing", 1) else { return };
    let hung = node.path("hung0");
    let began = Instant::now();
    let mut command = node.punchlist();
    hung::enter(&hung, &mut command);
    command.args(["run", "--format", "json", "--only", "own"]).arg(node.path("own.yaml"));
    // A name without a folder is one in the working directory.
    let output = command.args(["-o", "report.json"]).env("HOME", &hung).env("PWD", &hung).output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!(titles(&report), [format!("{}, {SERVER} did not answer in 3 s", hung.display())]);
    assert_eq!(status(&report, "own.host", ""), "pass");
    assert_eq!(output.status.code(), Some(74));
    assert!(said(&output).contains("report.json: did not answer in 3 s; it lies on "), "{}", said(&output));
    assert!(said(&output).contains(SERVER), "{}", said(&output));
}

#[test]
fn a_report_that_cannot_be_written_to_a_hung_folder_is_still_printed() {
    let Some(node) = Node::with("a_report_that_cannot_be_written_to_a_hung_folder_is_still_printed", 1) else { return };
    let (hung, fine) = (node.path("hung0/report.json"), node.path("fine.json"));
    let began = Instant::now();
    let more = ["-o", hung.to_str().unwrap(), "-o", fine.to_str().unwrap()];
    let (report, output) = node.run(&more);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(74));
    let says =
        format!("{}: did not answer in 3 s; it lies on {}, {SERVER}", hung.display(), node.path("hung0").display());
    assert!(said(&output).contains(&says), "{}", said(&output));
    assert_eq!(titles(&report).len(), 1);
    assert_eq!(status(&report, "own.host", ""), "pass");
    let written: Json = serde_json::from_slice(&fs::read(fine).unwrap()).unwrap();
    assert_eq!(titles(&written), titles(&report), "the other file is written");
}

#[test]
fn ten_hung_folders_for_reports_cost_no_more_time_than_two() {
    let Some(node) = Node::with("ten_hung_folders_for_reports_cost_no_more_time_than_two", 10) else { return };
    let files: Vec<String> =
        (0..10).map(|number| node.path(&format!("hung{number}/r.json")).display().to_string()).collect();
    let more: Vec<&str> = files.iter().flat_map(|file| ["-o", file.as_str()]).collect();
    let began = Instant::now();
    let (report, output) = node.run(&more);
    // Each by itself would take 30 s, and the mounts 3 s besides.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(74));
    assert_eq!(titles(&report).len(), 10);
    assert_eq!(status(&report, "own.host", ""), "pass");
}

#[test]
fn checklists_of_a_site_on_a_hung_mount_take_no_part_and_the_run_goes_on() {
    let Some(node) = Node::with("checklists_of_a_site_on_a_hung_mount_take_no_part_and_the_run_goes_on", 1) else {
        return;
    };
    let folder = node.path("hung0/gpu.d");
    node.put("site.yaml", &format!("site: Ours\nchecklists: [{}]\n", folder.display()));
    let site = node.path("site.yaml");
    let began = Instant::now();
    let (report, output) = node.run(&["--site", site.to_str().unwrap()]);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let says = format!("{}: did not answer in 3 s; it lies on ", folder.display());
    assert!(said(&output).contains(&says), "{}", said(&output));
    assert!(said(&output).contains(&format!("{SERVER}; its checklists take no part")), "{}", said(&output));
    assert_eq!(status(&report, "own.host", ""), "pass");
    assert_eq!(titles(&report), [format!("{}, {SERVER} did not answer in 3 s", node.path("hung0").display())]);
}

#[test]
fn another_root_of_which_a_part_hangs_is_asked_for_the_rest() {
    let test = "another_root_of_which_a_part_hangs_is_asked_for_the_rest";
    let Some(node) = Node::with(test, 0) else { return };
    let root = node.path("root");
    let node = Node { hung: vec![Hung::at(&root.join("etc"))], ..node };
    fs::create_dir_all(root.join("proc/sys/kernel")).unwrap();
    node.put("root/proc/uptime", "1000.00 1000.00\n");
    node.put(
        "up.yaml",
        "checklist: up\nchecks:\n\
        - { id: own.memory, title: t, expect: memory.total_bytes > 0 }\n\
        - { id: own.name, title: t, expect: 'host.name != \"\"' }\n",
    );
    node.put("root/proc/meminfo", "MemTotal: 1000 kB\nMemFree: 500 kB\nMemAvailable: 600 kB\n");
    let began = Instant::now();
    let output = node
        .punchlist()
        .args(["run", "--format", "json", "--only", "up", "--deadline", "8s", "--root"])
        .arg(&root)
        .arg(node.path("up.yaml"))
        .output()
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!((status(&report, "own.memory", ""), status(&report, "own.name", "")), ("pass".into(), "unknown".into()));
    assert_eq!(titles(&report), ["host did not answer before the run's deadline of 8 s"]);
}

#[test]
fn what_the_command_line_names_on_a_hung_mount_is_given_up() {
    let Some(node) = Node::with("what_the_command_line_names_on_a_hung_mount_is_given_up", 1) else { return };
    let hung = node.path("hung0/some.yaml");
    let name = hung.to_str().unwrap();
    let own = node.path("own.yaml");
    let own = own.to_str().unwrap();
    let ways: Vec<Vec<&str>> = vec![
        vec!["run", name],
        vec!["run", "--root", name],
        vec!["run", "--from", name],
        vec!["run", "--before", name],
        vec!["run", "--nvml", name],
        vec!["run", "--site", name],
        vec!["run", "--redact", "--redact-key", name],
        vec!["snapshot", name],
        vec!["checks", name],
        vec!["checks", "--site", name],
        vec!["lint", name],
        vec!["lint", own, name],
        vec!["report", name],
        vec!["diff", name, own],
        vec!["diff", own, name],
        vec!["redact", name],
        vec!["redact", "--who", "host-3f9a04d1", "--redact-key", name],
        vec!["log", name],
        vec!["explain", "xid:79", "--checklist", name],
    ];
    // All at once: none of them does more than wait.
    let started = ways.iter().map(|arguments| {
        let mut command = node.punchlist();
        let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (arguments, Instant::now(), child)
    });
    let started: Vec<_> = started.collect();
    for (arguments, began, child) in started {
        let output = child.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(15), "{arguments:?}: {:?}", began.elapsed());
        assert_eq!(output.status.code(), Some(65), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(&format!("{name}: did not answer in 3 s; it lies on ")), "{}", said(&output));
        assert!(said(&output).contains(SERVER), "{}", said(&output));
    }
}
