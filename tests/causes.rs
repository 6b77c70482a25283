//! What causes mean, rule by rule, through the real binary on a recorded machine.

mod common;

use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Two mounts and the node, of which all are found wrong; and one thing that cannot be told.
const CHECKS: &str = "
checklist: own
checks:
  - { id: own.node, title: n, expect: cpu.sockets > 7, severity: warning, found: 'sockets {cpu.sockets}' }
  - { id: own.mount, title: m, for_each: { m: 'mounts.filter(m, m.mount_point in [\"/\", \"/local\"])' }, expect: m.options.size() > 99,
      found: '{m.mount_point} is bad' }
  - { id: own.info, title: i, for_each: { m: 'mounts.filter(m, m.mount_point in [\"/\", \"/local\"])' }, expect: m.options.size() > 99,
      severity: info }
  - { id: own.unknown, title: u, observe: { f: { file: { path: /etc/hostname } } }, expect: f.age_seconds > 1 }
";

fn report(causes: &str, more: &[&str]) -> Json {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, format!("{CHECKS}causes:\n{causes}")).unwrap();
    let machine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/sick-node");
    let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["run", "--format", "json", "--only", "own.*", "--root"])
        .arg(machine)
        .arg(&file)
        .args(more)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// Each item as `severity title: the outcomes that it explains`.
fn items(causes: &str) -> Vec<String> {
    let report = report(causes, &[]);
    let outcomes = report["outcomes"].as_array().unwrap();
    let items = report["items"].as_array().unwrap();
    for (number, outcome) in outcomes.iter().enumerate() {
        // What an item explains says so itself.
        let by: Vec<usize> = (0..items.len())
            .filter(|item| items[*item]["explains"].as_array().unwrap().contains(&Json::from(number)))
            .collect();
        let said = outcome.get("explained_by").cloned().unwrap_or_else(|| Json::Array(Vec::new()));
        assert_eq!(said, Json::from(by), "{outcome}");
    }
    let name = |number: &Json| {
        let outcome = &outcomes[usize::try_from(number.as_u64().unwrap()).unwrap()];
        let key = outcome["subject"]["key"].as_str().map(|key| format!("[{key}]")).unwrap_or_default();
        format!("{}{key}", outcome["check"].as_str().unwrap())
    };
    let line = |item: &Json| {
        let explains: Vec<String> = item["explains"].as_array().unwrap().iter().map(name).collect();
        format!("{} {}: {}", item["severity"].as_str().unwrap(), item["title"].as_str().unwrap(), explains.join(" "))
    };
    items.iter().map(line).collect()
}

#[test]
fn without_a_cause_each_finding_is_an_item() {
    let causes = "  - { id: own.c, title: C, when: 'false', certainty: certain, explains: [own.*] }";
    assert_eq!(
        items(causes),
        ["critical / is bad: own.mount[/]", "critical /local is bad: own.mount[/local]", "warning sockets 2: own.node"]
    );
}

#[test]
fn a_cause_of_the_node_explains_everything_that_it_names_and_is_as_bad_as_the_worst() {
    let causes = "  - { id: own.c, title: 'C {cpu.sockets}', when: 'true', certainty: likely, explains: [own.*] }";
    let all = "own.node own.mount[/] own.mount[/local] own.info[/] own.info[/local] own.unknown";
    assert_eq!(items(causes), [format!("critical C 2: {all}")]);
    let report = report(causes, &[]);
    assert_eq!(report["items"][0]["cause"], "own.c");
    assert_eq!(report["items"][0]["certainty"], "likely");
    assert_eq!(report["items"][0]["seen"], serde_json::json!(["sockets 2", "/ is bad", "/local is bad"]));
    assert_eq!(report["summary"]["exit_status"], 2);
    // Nothing of the outcomes themselves changes.
    assert_eq!(report["outcomes"][0]["status"], "warning");
}

#[test]
fn a_cause_of_one_thing_leaves_its_siblings_alone() {
    let causes =
        "  - { id: own.c, title: 'C {m.mount_point}', for_each: { m: 'mounts.filter(m, m.mount_point == \"/local\")' },
      certainty: certain, explains: [own.mount, own.info] }";
    assert_eq!(
        items(causes),
        [
            "critical C /local: own.mount[/local] own.info[/local]",
            "critical / is bad: own.mount[/]",
            "warning sockets 2: own.node"
        ]
    );
    let anywhere = causes.replace("certainty:", "anywhere: true, certainty:");
    assert_eq!(items(&anywhere)[0], "critical C /local: own.mount[/] own.mount[/local] own.info[/] own.info[/local]");
    // A subject that is said outright counts like one that is looped over, also when it is found several times.
    let said = "  - { id: own.c, title: C, for_each: { k: '[\"/local\", \"/local\"]' }, subject: mount(k),
      certainty: certain, explains: [own.mount] }";
    assert_eq!(items(said)[0], "critical C: own.mount[/local]");
}

#[test]
fn a_cause_that_holds_otherwise_explains_only_what_no_other_does() {
    let causes = "  - { id: own.sure, title: Sure, when: 'true', certainty: certain, otherwise: true, explains: [own.node, own.mount] }
  - { id: own.guess, title: Guess, for_each: { m: 'mounts.filter(m, m.mount_point == \"/local\")' }, certainty: possible, explains: [own.mount] }";
    let expected =
        ["critical Sure: own.node own.mount[/]".to_string(), "critical Guess: own.mount[/local]".to_string()];
    assert_eq!(items(causes), expected);
    let plain = causes.replace("otherwise: true, ", "");
    assert_eq!(items(&plain), ["critical Sure: own.node own.mount[/] own.mount[/local]"]);
}

#[test]
fn one_item_may_stand_for_what_several_things_share() {
    let causes = "  - { id: own.c, title: 'C {kind}', for_each: { kind: 'mounts.filter(m, m.mount_point in [\"/\", \"/local\"]).map(m, m.type).distinct()',
      m: 'mounts.filter(m, m.type == kind)' }, subject: kind(kind), certainty: certain, explains: [own.mount] }";
    assert_eq!(items(causes)[0], "critical C xfs: own.mount[/] own.mount[/local]");
}

#[test]
fn an_item_of_the_node_for_several_things_explains_these_only() {
    let causes = "  - { id: own.c, title: C, for_each: { m: 'mounts.filter(m, m.mount_point == \"/local\")' }, subject: node(\"shared\"),
      certainty: certain, explains: [own.mount, own.node] }";
    assert_eq!(items(causes), ["critical C: own.node own.mount[/local]", "critical / is bad: own.mount[/]"]);
}

#[test]
fn many_things_with_one_cause_are_one_item() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    let text = "
checklist: own
checks:
  - { id: own.c, title: c, for_each: { c: 'cpu.numa_nodes' }, expect: c.memory_total_bytes < 0, found: 'N' }
causes:
  - { id: own.cause, title: 'C {c.id}', for_each: { c: cpu.numa_nodes }, certainty: likely, explains: [own.c] }
";
    fs::write(&file, text).unwrap();
    let machine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines/epyc-node");
    let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["run", "--format", "json", "--only", "own.*", "--root"])
        .arg(machine)
        .arg(&file)
        .output()
        .unwrap();
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    let many = report["outcomes"].as_array().unwrap().len();
    assert!(many >= 4, "{report}");
    let items = report["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0]["title"], format!("C 0 (and {} more like it)", many - 1));
    assert_eq!(items[0]["explains"].as_array().unwrap().len(), many);
    for outcome in report["outcomes"].as_array().unwrap() {
        assert_eq!(outcome["explained_by"], serde_json::json!([0]), "{outcome}");
    }
}

#[test]
fn the_more_certain_cause_explains_and_equally_certain_ones_both_do() {
    let two = |second: &str| {
        format!(
            "  - {{ id: own.a, title: A, when: 'true', certainty: likely, explains: [own.mount] }}
  - {{ id: own.b, title: B, when: 'true', certainty: {second}, explains: ['own.mount[/local]', own.node] }}"
        )
    };
    assert_eq!(items(&two("certain")), ["critical B: own.node own.mount[/local]", "critical A: own.mount[/]"]);
    assert_eq!(
        items(&two("likely")),
        ["critical B: own.node own.mount[/local]", "critical A: own.mount[/] own.mount[/local]"]
    );
    assert_eq!(items(&two("possible")), ["critical A: own.mount[/] own.mount[/local]", "warning B: own.node"]);
}

#[test]
fn a_cause_that_explains_nothing_to_fix_is_no_item() {
    let causes = "  - { id: own.c, title: C, when: 'true', certainty: certain, explains: [own.info, own.unknown] }";
    assert!(items(causes).iter().all(|item| !item.contains(" C")), "{:?}", items(causes));
}

#[test]
fn a_cause_that_nobody_can_tell_is_not_claimed() {
    let causes =
        "  - { id: own.c, title: C, when: 'gpus[0].temperature.gpu_c > 1', certainty: certain, explains: [own.*] }";
    assert!(items(causes).iter().all(|item| !item.contains(" C:")));
}

#[test]
fn causes_read_outcomes() {
    let causes = "  - { id: own.c, title: 'C {o.message}', for_each: { o: 'outcomes.filter(o, o.check == \"own.mount\" && o.key == \"/local\")' },
      when: 'outcomes.exists(p, p.check == \"own.node\" && !has(p.key) && p.status == \"warning\")', certainty: certain, explains: [own.mount, own.info] }";
    assert_eq!(items(causes)[0], "critical C /local is bad: own.mount[/local] own.info[/local]");
}

#[test]
fn what_nobody_could_tell_in_time_shows_nothing_of_what_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    let text = "
checklist: own
checks:
  - { id: own.full, title: f, for_each: { m: 'mounts.filter(m, m.mount_point in [\"/home\", \"/data\"])' }, expect: m.space.used_percent < 90.0 }
causes:
  - { id: own.wrong, title: Full, when: 'outcomes.exists(o, o.check == \"own.full\")', certainty: certain, explains: [own.full] }
  - { id: own.one, title: 'No answer of {o.key}', for_each: { o: 'timeouts.filter(o, o.check == \"own.full\" && o.status == \"unknown\")' },
      certainty: likely, explains: [own.full] }
";
    fs::write(&file, text).unwrap();
    let run = |machine: &str| -> Vec<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_punchlist"))
            .args(["run", "--format", "json", "--only", "own.*", "--root"])
            .arg(common::machine(machine))
            .arg(&file)
            .output()
            .unwrap();
        let report: Json = serde_json::from_slice(&output.stdout).unwrap();
        let items = report["items"].as_array().unwrap().iter();
        items.map(|item| format!("{} {}", item["cause"], item["title"])).collect()
    };
    assert_eq!(run("server-hangs"), [r#""own.one" "No answer of /home""#, r#""own.one" "No answer of /data""#]);
    assert_eq!(run("epyc-node"), [""; 0]);
}

#[test]
fn mistakes_in_causes_are_found_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    let causes = "causes:
  - { id: own.c, title: C, certainty: certain, explains: [own.muont], when: 'outcomes.exists(o, o.chek == \"a\")' }
  - { id: own.c, title: '{outcome}', certainty: sure, explains: [own.mount], when: 'true', subject: disc(cpu.sockets) }
  - { id: own.d, title: D, certainty: likely, explains: [own.mount], hangs: [mount], when: 'true' }
";
    fs::write(&file, format!("{CHECKS}{causes}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_punchlist")).arg("lint").arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(65), "{said}");
    for expected in [
        "no check is called `own.muont`",
        "did you mean `own.mount`?",
        "chek",
        "did you mean `check`?",
        "sure",
        "no probe is called `mount`",
        "did you mean `mounts`?",
    ] {
        assert!(said.contains(expected), "`{expected}` is missing in:\n{said}");
    }
}
