//! A site file as a site meets it: parameters by node set, own checklists, waivers, mistakes, and whose it may be.

mod common;

use common::{machine, nvml_stand_in, punchlist_on};
use serde_json::Value as Json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a site file in it, and whatever else a test puts there.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new(text: &str) -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        site.write("site.yaml", text);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// `punchlist run` with it on a recorded machine.
    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = punchlist_on(&machine(name), "run");
        command.arg("--site").arg(self.path("site.yaml")).args(arguments).env_remove("SLURMD_NODENAME");
        command.output().unwrap()
    }

    fn report(&self, name: &str, arguments: &[&str]) -> Json {
        let output = self.run(name, &[&["--format", "json"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)))
    }

    fn text(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.run(name, arguments);
        assert!(output.status.code().unwrap() < 4, "{}", err(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn lint(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_punchlist")).arg("lint").arg(self.path("site.yaml")).output().unwrap()
    }
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn parameters_are_set_by_node_set_below_the_command_line_and_above_the_default() {
    // The recorded machine is called gpu031.
    let name = {
        let report = Site::new("site: s\n").report("hgx-h100", &[]);
        report["node"]["name"].as_str().unwrap().to_string()
    };
    let site = Site::new(&format!(
        "site: s\nparams:\n- set: {{ kernel_stuck_seconds: 7 }}\n- nodes: '{name},other[1-9]'\n  set: {{ kernel_stuck_seconds: 8, storage_wanted_mounts: [/home, /x] }}\n- nodes: other[1-9]\n  set: {{ kernel_stuck_seconds: 9 }}\n"
    ));
    let set = |arguments: &[&str]| site.report("hgx-h100", arguments)["run"]["parameters"].clone();
    assert_eq!(set(&[]), serde_json::json!({"kernel_stuck_seconds": 8, "storage_wanted_mounts": ["/home", "/x"]}));
    assert_eq!(set(&["--set", "kernel_stuck_seconds=10"])["kernel_stuck_seconds"], 10);
    let elsewhere = site.report("epyc-node", &[]);
    assert_eq!(elsewhere["run"]["parameters"], serde_json::json!({"kernel_stuck_seconds": 7}));
    let found = site.text("hgx-h100", &[]);
    assert!(found.contains("/x"), "the parameter decides: {found}");
}

#[test]
fn a_snapshot_is_judged_by_the_name_of_its_own_node() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("node.json");
    let taken = punchlist_on(&machine("epyc-node"), "snapshot").arg("-o").arg(&snapshot).output().unwrap();
    assert!(taken.status.success(), "{}", err(&taken));
    let name = Site::new("site: s\n").report("epyc-node", &[])["node"]["name"].as_str().unwrap().to_string();
    let site = Site::new(&format!("site: s\nparams: [{{ nodes: {name}, set: {{ kernel_stuck_seconds: 8 }} }}]\n"));
    let run = |named: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
            .args(["run", "--format", "json", "--from"])
            .arg(&snapshot)
            .arg("--site")
            .arg(site.path("site.yaml"))
            .env("SLURMD_NODENAME", named)
            .output()
            .unwrap();
        let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)));
        report["run"]["parameters"]["kernel_stuck_seconds"].clone()
    };
    assert_eq!(run("another"), 8);
}

#[test]
fn slurms_name_for_a_live_node_counts_as_well() {
    let site = Site::new("site: s\nparams: [{ nodes: 'gpu-st-[1-9]', set: { kernel_stuck_seconds: 8 } }]\n");
    let run = |name: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
            .args(["run", "--format", "json", "--only", "cpu.online", "--site"])
            .arg(site.path("site.yaml"))
            .env("SLURMD_NODENAME", name)
            .output()
            .unwrap();
        let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)));
        report["run"]["parameters"]["kernel_stuck_seconds"].clone()
    };
    assert_eq!((run("gpu-st-7"), run("gpu-st-70")), (8.into(), Json::Null));
}

#[test]
fn a_sites_own_checklists_join_from_beside_its_file() {
    let own = |id: &str| {
        format!(
            "checklist: {id}\nchecks:\n- {{ id: {id}.a, title: t, expect: 'params.{id}_x == 1' }}\nparams: {{ {id}_x: {{ type: int, about: a }} }}\n"
        )
    };
    let site = Site::new(
        "site: s\nchecklists: [more, one.yaml]\nparams: [{ set: { first_x: 1, second_x: 2 } }]\nwaivers: [{ check: second.a, reason: r, until: 2099-01-01 }]\n",
    );
    site.write("more/first.yaml", &own("first"));
    site.write("one.yaml", &own("second"));
    let report = site.report("kvm-vm", &["--only", "first,second"]);
    let status: Vec<&Json> = report["outcomes"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(status, ["pass", "critical"]);
    assert_eq!(report["summary"]["exit_status"], 0, "the second is waived");
    assert!(site.lint().status.success());
}

/// What a sick machine has to fix, by check.
fn sick(waivers: &str) -> (Site, Json) {
    let site = Site::new(&format!("site: s\nwaivers:\n{waivers}"));
    let report = site.report("sick-node", &[]);
    (site, report)
}

#[test]
fn what_is_waived_counts_for_nothing_and_is_shown_with_its_reason() {
    let before = Site::new("site: s\n").report("sick-node", &[]);
    let outcomes = before["outcomes"].as_array().unwrap();
    let bad: Vec<&str> = outcomes
        .iter()
        .filter(|one| ["critical", "warning", "unknown"].contains(&one["status"].as_str().unwrap()))
        .map(|one| one["check"].as_str().unwrap())
        .collect();
    assert!(bad.len() > 5 && before["summary"]["exit_status"] == 2);
    // One check at first, by its id.
    let one = before["items"].as_array().unwrap().iter().find(|item| item["check"].is_string()).unwrap();
    let check = one["check"].as_str().unwrap();
    let (site, report) =
        sick(&format!("- {{ check: {check}, nodes: 'db*,*', reason: the part is ordered, until: 2099-12-31 }}\n"));
    assert!(!report["items"].as_array().unwrap().iter().any(|item| item["check"] == check));
    let waived: Vec<&Json> =
        report["outcomes"].as_array().unwrap().iter().filter(|one| one["waived"].is_object()).collect();
    assert!(!waived.is_empty() && waived.iter().all(|one| one["check"] == check && one["status"] != "pass"));
    assert_eq!(waived[0]["waived"], serde_json::json!({"reason": "the part is ordered", "until": "2099-12-31"}));
    let used = &report["run"]["site"]["waivers"][0];
    assert_eq!((&used["check"], &used["waives"]), (&check.into(), &waived.len().into()));
    let text = site.text("sick-node", &["--all"]);
    assert!(text.contains(&format!("· {} waived ·", waived.len())), "{text}");
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains("(waived until 2099-12-31: the part is ordered)"), "{text}");
    // Then everything: nothing is left to fix, not even what hung.
    let (_, report) = sick("- { check: '*', reason: r, until: 2099-12-31 }\n");
    assert_eq!((&report["items"], &report["summary"]["exit_status"]), (&serde_json::json!([]), &0.into()));
    let by_status = report["summary"]["by_status"].as_object().unwrap();
    assert!(by_status.keys().all(|status| ["pass", "info", "skipped"].contains(&status.as_str())), "{by_status:?}");
}

#[test]
fn a_cause_is_an_item_while_one_of_its_outcomes_is_not_waived() {
    let items = |waivers: &str| {
        let site = Site::new(&format!("site: s\nwaivers:\n{waivers}"));
        site.report("gpu-lost", &[])["items"].as_array().unwrap().clone()
    };
    let before = items("- { check: cpu.online, reason: r, until: 2099-12-31 }\n");
    let cause = before.iter().find(|item| item["cause"].is_string()).expect("a lost GPU has a cause");
    assert!(cause["explains"].as_array().unwrap().len() > 1);
    let after = items(
        "- { check: 'gpu.*', reason: r, until: 2099-12-31 }\n- { check: 'nvlink.*', reason: r, until: 2099-12-31 }\n- { check: '*', reason: r, until: 2099-12-31 }\n",
    );
    assert!(after.is_empty(), "{after:?}");
}

#[test]
fn a_waiver_for_one_subject_leaves_the_others() {
    let before = Site::new("site: s\n").report("pcie-faults", &[]);
    let with_key = |one: &&Json| one["status"] == "warning" || one["status"] == "critical";
    let outcomes = before["outcomes"].as_array().unwrap();
    let bad: Vec<&Json> = outcomes.iter().filter(with_key).filter(|one| one["subject"]["key"].is_string()).collect();
    let (check, key) = (bad[0]["check"].as_str().unwrap(), bad[0]["subject"]["key"].as_str().unwrap());
    let site = Site::new(&format!("site: s\nwaivers: [{{ check: '{check}[{key}]', reason: r, until: 2099-12-31 }}]\n"));
    let report = site.report("pcie-faults", &[]);
    let waived: Vec<&Json> =
        report["outcomes"].as_array().unwrap().iter().filter(|one| one["waived"].is_object()).collect();
    assert_eq!(waived.len(), 1);
    assert_eq!((&waived[0]["check"], &waived[0]["subject"]["key"]), (&check.into(), &key.into()));
}

#[test]
fn a_waiver_ends_after_its_day_and_says_so_as_does_one_that_waives_nothing() {
    let before = Site::new("site: s\n").report("sick-node", &[]);
    let day = &before["run"]["started"].as_str().unwrap()[..10];
    let check = before["items"].as_array().unwrap().iter().find_map(|item| item["check"].as_str()).unwrap();
    let exit = |until: &str| {
        let (site, report) = sick(&format!("- {{ check: {check}, reason: ticket 7, until: {until} }}\n"));
        let waived = report["items"].as_array().unwrap().iter().all(|item| item["check"] != check);
        (waived, site.text("sick-node", &[]).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let (waived, text) = exit(day);
    assert!(waived && !text.contains("waiver"), "on its last day it holds: {text}");
    let (waived, text) = exit("2020-02-29");
    assert!(!waived && text.contains(&format!("The waiver for {check} ran out on 2020-02-29 (ticket 7).")), "{text}");
    let (site, _) = sick(
        "- { check: host.*, reason: r, until: 2099-12-31 }\n- { check: '*', nodes: nobody, reason: elsewhere, until: 2020-01-01 }\n- { check: cpu.online, reason: left out, until: 2020-01-01 }\n",
    );
    let text = site.text("sick-node", &["--only", "memory"]);
    assert!(!text.contains("waiver") && !text.contains("elsewhere"), "of no check that took part: {text}");
    let idle = Site::new("site: s\nwaivers: [{ check: cpu.online, reason: r, until: 2099-12-31 }]\n");
    let text = idle.text("hgx-h100", &[]);
    assert!(text.contains("The waiver for cpu.online until 2099-12-31 has nothing to waive here (r)."), "{text}");
}

#[test]
fn all_mistakes_of_a_site_file_come_in_one_go_with_what_to_write() {
    let text = "\
site: s
parms: []
params:
- nodes: gpu[1-2
  set: { kernel_stuck_seconds: 1 }
- set: { kernel_stuck_secs: 1, storage_wanted_mounts: /home, kernel_stuck_seconds: soon }
- node: x
  set: {}
checklists: [nowhere]
waivers:
- { check: cpu.onlin, reason: r, until: 2026-12-31 }
- { check: cpu.*, reason: '', until: 31.12.2026 }
- { check: nothing.like.*, reason: r, until: 2026-2-3, nodes: 'n[5-2]' }
- { reason: r }
redact: perhaps
";
    let site = Site::new(text);
    for output in [site.lint(), site.run("kvm-vm", &[])] {
        assert_eq!(output.status.code(), Some(65));
        let text = err(&output);
        for (at, message, help) in [
            ("2:1", "a site file has no key `parms`", "did you mean `params`?"),
            ("4:13", "this bracket is never closed", "close it"),
            ("6:10", "no parameter is called `kernel_stuck_secs`", "did you mean `kernel_stuck_seconds`?"),
            ("6:55", "`storage_wanted_mounts` is of the type list, this is a text", "write `[a, b]`"),
            ("6:84", "`kernel_stuck_seconds` is of the type int, this is a text", "a whole number"),
            ("7:3", "an element of `params` has no key `node`", "did you mean `nodes`?"),
            ("8:3", "`set` is empty", ""),
            ("9:14", "nowhere: no such file or directory", "name a folder of checklists"),
            ("11:12", "no check is called `cpu.onlin`", "did you mean `cpu.online`?"),
            ("12:27", "this reason is empty", "say why"),
            ("12:38", "`31.12.2026` is no day", "2026-12-31"),
            ("13:12", "no check is called `nothing.like.*`", "`punchlist checks` lists them all"),
            ("13:46", "`2026-2-3` is no day", ""),
            ("13:66", "`5-2` counts down", "write `2-5`"),
            ("14:5", "a waiver needs the key `check`", ""),
            ("14:5", "a waiver needs the key `until`", ""),
            ("15:9", "expected true or false, found a text", ""),
        ] {
            let one = text.split("error: ").find(|one| one.lines().next().is_some_and(|line| line.contains(message)));
            let rest = one.unwrap_or_else(|| panic!("{message}: {text}"));
            assert!(rest.contains(&format!("site.yaml:{at}")), "{at} {message}: {rest}");
            assert!(rest.contains(help), "{help}: {rest}");
        }
        assert!(text.contains("mistakes in 1 file"), "{text}");
    }
}

#[test]
fn a_site_file_and_a_checklist_are_not_taken_for_each_other() {
    let site = Site::new("checklist: x\nchecks: []\n");
    let output = site.run("kvm-vm", &[]);
    assert_eq!(output.status.code(), Some(65));
    assert!(err(&output).contains("this is a checklist, not a site file"), "{}", err(&output));
    let site = Site::new("site: x\nwaivers: []\n");
    let output = punchlist_on(&machine("kvm-vm"), "run").arg(site.path("site.yaml")).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(err(&output).contains("give it with --site"), "{}", err(&output));
    for (text, expected) in [
        ("", "which is a map"),
        ("site: x\n\u{1}", "control character"),
        ("- a\n", "which is a map"),
        ("site: [x\n", "not YAML"),
        ("site: x\nparams: { a: 1 }\n", "write one element a line"),
    ] {
        let output = Site::new(text).run("kvm-vm", &[]);
        assert_eq!(output.status.code(), Some(65), "{text:?}");
        assert!(err(&output).contains(expected), "{text:?}: {}", err(&output));
    }
    let output = punchlist_on(&machine("kvm-vm"), "run").args(["--site", "/nothing/here.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(err(&output).contains("no such file"), "{}", err(&output));
}

/// What root is told of files that it is to act on.
fn refused(command: &mut Command) -> Option<String> {
    let output = command.output().unwrap();
    (output.status.code() == Some(65)).then(|| err(&output))
}

#[test]
fn root_acts_on_no_file_that_somebody_else_may_write() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::new("site: s\nchecklists: [own.yaml]\n");
    site.write("own.yaml", "checklist: own\nchecks: [{ id: own.a, title: t, expect: 'host.name != \"\"' }]\n");
    let library = site.path("libnvidia-ml.so.1");
    fs::copy(nvml_stand_in(), &library).unwrap();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
        command.args(["run", "--only", "own.a"]).env_remove("SUDO_UID");
        command
    };
    let with_site = || refused(run().arg("--site").arg(site.path("site.yaml")));
    let with_checklist = || refused(run().arg(site.path("own.yaml")));
    let with_library = || refused(run().arg(site.path("own.yaml")).arg("--nvml").arg(&library));
    assert_eq!((with_site(), with_checklist(), with_library()), (None, None, None));

    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let says = |said: Option<String>, mend: &str| {
        let said = said.expect("it is refused");
        assert!(said.contains(mend) && said.contains("mend it with: "), "{said}");
    };
    let own = site.path("own.yaml");
    mode(&own, 0o666);
    says(with_checklist(), &format!("chmod go-w {}", own.display()));
    says(with_site(), &format!("chmod go-w {}", own.display()));
    mode(&own, 0o644);
    mode(&site.path("site.yaml"), 0o606);
    says(with_site(), &format!("chmod go-w {}", site.path("site.yaml").display()));
    mode(&site.path("site.yaml"), 0o644);
    mode(&library, 0o777);
    says(with_library(), &format!("chmod go-w {}", library.display()));
    mode(&library, 0o755);
    mode(site.folder.path(), 0o777);
    for said in [with_site(), with_checklist(), with_library()] {
        says(said, &format!("chmod go-w {}", site.folder.path().display()));
    }
    // Of another root of this machine commands are run and a library is loaded; a recorded machine is only read.
    let tree = site.path("tree");
    fs::create_dir_all(tree.join("proc")).unwrap();
    let below = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
        refused(command.args(["run", "--only", "cpu.online", "--root"]).arg(&tree).env_remove("SUDO_UID"))
    };
    mode(site.folder.path(), 0o755);
    assert_eq!(below(), None);
    mode(&tree, 0o777);
    says(below(), &format!("chmod go-w {}", tree.display()));
    site.write("tree/punchlist-observations.yaml", "recorded: 2026-11-20T08:15:00Z\n");
    assert_eq!(below(), None, "recorded");
    mode(site.folder.path(), 0o777);
    // Nothing is done with it, so looking at it is fine.
    assert!(site.lint().status.success());
    mode(site.folder.path(), 0o1777);
    assert_eq!(with_checklist(), None, "as in /tmp");
    chown(&own, Some(4242), None).unwrap();
    says(with_checklist(), &format!("chown root {}", own.display()));
    assert_eq!(refused(run().arg(&own).env("SUDO_UID", "4242")), None, "who calls sudo may do it anyway");
    chown(&own, Some(0), None).unwrap();
    mode(site.folder.path(), 0o755);
    assert_eq!((with_site(), with_checklist(), with_library()), (None, None, None), "mended");
}

#[test]
fn who_is_not_root_shares_folders_as_they_like() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::new("site: s\n");
    site.write("own.yaml", "checklist: own\nchecks: [{ id: own.a, title: t, expect: 'host.name != \"\"' }]\n");
    fs::set_permissions(site.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = site.path("punchlist");
    fs::copy(env!("CARGO_BIN_EXE_punchlist"), &binary).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["run", "--only", "own.a", "--site"])
        .args([site.path("site.yaml"), site.path("own.yaml")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn draining_is_for_live_nodes_and_its_failure_is_told() {
    let output = punchlist_on(&machine("kvm-vm"), "run").args(["--drain", "slurm"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(err(&output).contains("this one is recorded"), "{}", err(&output));
    let site = Site::new("site: s\n");
    site.write(
        "own.yaml",
        "checklist: own\nchecks: [{ id: own.a, title: t, expect: 'host.name == \"\"', found: broken }]\n",
    );
    // A Slurm that is not there, whether its commands are or not.
    let run = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_punchlist"))
            .args(["run", "--only", "own.a"])
            .arg(site.path("own.yaml"))
            .args(more)
            .env("SLURM_CONF", site.path("slurm.conf"))
            .env("SLURMD_NODENAME", "n1")
            .output()
            .unwrap()
    };
    site.write("slurm.conf", "ClusterName=none\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nNodeName=n1\nSlurmctldTimeout=1\nMessageTimeout=2\n");
    let output = run(&["--drain", "slurm", "--format", "json"]);
    assert_eq!(output.status.code(), Some(74), "{}", err(&output));
    assert!(err(&output).contains("Slurm could not be asked about n1: "), "{}", err(&output));
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["run"]["handoff"]["action"], &report["summary"]["exit_status"]), (&"failed".into(), &2.into()));
    let output = run(&["--drain", "slurm", "--exit-zero"]);
    assert_eq!(output.status.code(), Some(74), "a scheduler that was not told is an error");
    assert_eq!((run(&[]).status.code(), run(&["--exit-zero"]).status.code()), (Some(2), Some(0)));
}
