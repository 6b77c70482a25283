//! Every mistake that an author can make, through the real binary: where it is, and what to write instead.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn lint(content: impl AsRef<[u8]>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, content).unwrap();
    lint_path(&file)
}

fn lint_path(path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_punchlist")).arg("lint").arg(path).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that this checklist is refused with these problems: `LINE:COLUMN message | help`.
#[track_caller]
fn refused(content: &str, expected: &[(&str, &str, &str)]) {
    let output = lint(content);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(65), "{said}");
    for (place, message, help) in expected {
        let problem = said.split("\n\n").find(|problem| {
            problem.contains(&format!("own.yaml:{place}\n")) && problem.starts_with(&format!("error: {message}"))
        });
        let problem = problem.unwrap_or_else(|| panic!("no problem `{message}` at {place} in:\n{said}"));
        assert!(problem.contains(help), "`{help}` is missing in:\n{problem}");
        assert!(problem.contains('^'), "no caret in:\n{problem}");
    }
}

/// A checklist with one check, whose lines are given.
fn check(lines: &str) -> String {
    format!("checklist: own\nchecks:\n  - id: own.one\n    title: One\n{lines}")
}

#[test]
fn a_good_checklist_is_accepted() {
    let output = lint(check(
        "    for_each: { mount: 'mounts.filter(m, !m.is_pseudo)' }\n    observe:\n      here: { file: { path: \
         '{mount.mount_point}/x', matches: '^a{{2}}$' } }\n    expect: here.exists\n    found: 'GPU {mount.mount_point} \
         {{x}}'\n    needs: [storage.answers]\n    next: [Look., Mend it.]\n    who: operator\n",
    ));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 checklist with 1 check and 0 causes: no mistakes\n");
}

#[test]
fn names_and_fields_are_held_against_the_probes() {
    refused(
        &check("    expect: hots.name == \"x\"\n"),
        &[("5:13", "nothing is called `hots`", "did you mean `host`?")],
    );
    refused(
        &check("    expect: |\n      mounts.size() > 0 &&\n        mounts.all(m, m.opions == [\"x\"])\n"),
        &[("7:25", "`m` has no field `opions`", "did you mean `options`?")],
    );
    refused(
        &check("    expect: mounts.filtr(m, m.read_only).size() == 0\n"),
        &[("5:25", "no function is called `filtr`", "did you mean `filter`?")],
    );
    refused(
        &check("    expect: host.name.contains(5)\n"),
        &[("5:32", "`contains` takes a text here, and `5` is a whole number", "")],
    );
    refused(
        &check("    expect: host.name.substring(0, host.name) == host.name\n"),
        &[("5:40", "`substring` takes a whole number here, and `host.name` is a text", "")],
    );
    refused(
        &check("    expect: host.uptime_seconds > \"1\"\n"),
        &[("5:33", "`host.uptime_seconds` is a whole number", "")],
    );
    refused(
        &check("    expect: host.name.?x.orValue(1) == 1\n"),
        &[("5:22", "`.?` is for what a command printed", "has(")],
    );
    refused(&check("    expect: mounts.all(m, m.read_only)\n"), &[("5:23", "`mounts` may be empty", "size() > 0")]);
    refused(&check("    expect: params.nothing > 1\n"), &[("5:20", "`params` has no field `nothing`", "")]);
    refused(&check("    expect: command.stdout == \"\"\n"), &[("5:13", "`command` cannot be read here", "observe:")]);
    refused(
        &check("    when: a.exists\n    observe: { a: { file: { path: /x } } }\n    expect: a.exists\n"),
        &[("5:11", "`a` cannot be read here", "asked only after")],
    );
}

#[test]
fn keys_and_values_have_to_fit() {
    refused(&check("    tiemout: 3\n    expect: true\n"), &[("5:5", "a check has no key `tiemout`", "its keys are")]);
    refused(
        &check("    exspect: true\n"),
        &[
            ("5:5", "a check has no key `exspect`", "did you mean `expect`?"),
            ("3:5", "a check needs the key `expect`", ""),
        ],
    );
    refused(&check("    expect: true\n    expect: true\n"), &[("6:5", "`expect` is given twice", "")]);
    refused(&check("    expect: [1, 2]\n"), &[("5:14", "expected an expression, found a list", "quoted")]);
    refused(&check("    expect: true\n    severity: fatal\n"), &[("6:15", "`fatal` is none of the words", "critical")]);
    refused(
        &check("    expect: { warnig: true }\n"),
        &[("5:15", "`expect` has no key `warnig`", "did you mean `warning`?")],
    );
    refused(&check("    expect: true\n    next: do it\n"), &[("6:11", "expected a list, found a text", "- ")]);
    refused(&check("    expect: true\n    why:\n"), &[("6:9", "expected a text, found nothing", "take the key out")]);
    refused(&check("    expect: !a.b\n"), &[("5:13", "`!a.b` is a YAML tag", "quoted")]);
    refused("checklist: own\nchecks: []\n", &[("2:1", "`checks` is empty", "")]);
    refused("checklist: own\n", &[("1:1", "a checklist needs the key `checks`", "")]);
    refused("- a\n", &[("1:3", "expected a checklist, which is a map, found a list", "checklist, title")]);
    refused(
        "checklist: Own\nchecks: [{ id: a, title: b, expect: 'true' }]\n",
        &[("1:12", "`Own` cannot be the name", "small letters")],
    );
}

#[test]
fn expressions_and_texts_are_read_before_anything_runs() {
    refused(&check("    expect: host.uptime_seconds === 3\n"), &[("5:35", "`=` is not expected here", "`==`")]);
    refused(&check("    expect: host.is_root and true\n"), &[("5:26", "`and` is not expected here", "`&&`")]);
    refused(
        &check("    expect: true\n    found: GPU {host.index has é\n"),
        &[("6:16", "this `{` is never closed", "{{")],
    );
    refused(
        &check("    expect: true\n    found: é {host.naem} x\n"),
        &[("6:20", "`host` has no field `naem`", "`name`")],
    );
    refused(
        &check(&format!("    expect: \"{}\"\n", "true && ".repeat(300) + "true")),
        &[("5:14", "this expression has", "split")],
    );
    refused(&check("    expect: host.name.matches(\"(\")\n"), &[("5:31", "not a regular expression", "")]);
    refused(&check("    expect: mounts\n"), &[("5:13", "this is a list, not true or false", ".size()")]);
}

#[test]
fn probes_with_arguments_are_held_against_their_arguments() {
    let observe = |ask: &str| check(&format!("    observe: {{ a: {{ {ask} }} }}\n    expect: true\n"));
    refused(&observe("comand: { argv: [a] }"), &[("5:21", "no probe with arguments is called `comand`", "`command`")]);
    refused(&observe("cpu: { x: 1 }"), &[("5:21", "no probe with arguments is called `cpu`", "right away")]);
    refused(&observe("command: { argv: [] }"), &[("5:32", "`argv` is empty", "")]);
    refused(&observe("command: { }"), &[("5:16", "`command` needs the argument `argv`", "")]);
    refused(
        &observe("command: { argv: [a], tiemout: 3s }"),
        &[("5:43", "`command` takes no argument `tiemout`", "`timeout`")],
    );
    refused(&observe("command: { argv: [a], timeout: ten }"), &[("5:52", "`ten` is not a duration", "10s")]);
    refused(&observe("command: { argv: [a], parse: yaml }"), &[("5:50", "`yaml` cannot stand here", "json")]);
    refused(&observe("file: { path: /x, matches: '(' }"), &[("5:48", "not a regular expression", "")]);
    refused(&observe("file: { path: '{host.nme}' }"), &[("5:42", "`host` has no field `nme`", "name")]);
    refused(
        &check("    observe: { host: { file: { path: /x } } }\n    expect: true\n"),
        &[("5:16", "this name hides the probe `host`", "")],
    );
    refused(
        &check("    for_each: { cpu: mounts }\n    expect: true\n"),
        &[("5:17", "this name hides the probe `cpu`", "")],
    );
}

#[test]
fn ids_and_needs_are_held_against_all_files() {
    refused(
        &check("    expect: true\n  - id: own.one\n    title: Two\n    expect: true\n"),
        &[("6:9", "there is another check `own.one`", "own.yaml:3:9")],
    );
    refused(
        "checklist: own\nchecks:\n  - { id: cpu.online, title: x, expect: 'true' }\n",
        &[("3:11", "there is another check `cpu.online`", "builtin/cpu.yaml")],
    );
    refused(
        &check("    expect: true\n    needs: [cpu.onlin]\n"),
        &[("6:13", "no check is called `cpu.onlin`", "`cpu.online`")],
    );
    refused(
        &check(
            "    expect: true\n    needs: [own.two]\n  - id: own.two\n    title: Two\n    expect: true\n    needs: [own.one]\n",
        ),
        &[("10:13", "these checks need each other: own.one → own.two → own.one", "")],
    );
    let cause =
        "causes:\n  - { id: c, title: t, when: 'true', certainty: sure, explains: [nothing.*], subject: moon(1) }\n";
    refused(&(check("    expect: true\n") + cause), &[("7:49", "`sure` is none of the words", "certain")]);
    let cause =
        "causes:\n  - { id: c, title: t, when: 'true', certainty: certain, explains: [nothing.*], subject: moon(1) }\n";
    refused(
        &(check("    expect: true\n") + cause),
        &[("7:69", "no check is called `nothing.*`", ""), ("7:90", "no kind of subject is called `moon`", "mount")],
    );
}

#[test]
fn all_mistakes_of_all_files_come_in_one_go() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), check("    expect: hots.name == 3\n    who: me\n")).unwrap();
    fs::write(folder.path().join("b.yaml"), "checklist: b\nchecks: 3\n").unwrap();
    fs::write(folder.path().join("ignored.txt"), "not a checklist").unwrap();
    let output = lint_path(folder.path());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(65));
    for place in ["a.yaml:5:13", "a.yaml:6:10", "b.yaml:2:9"] {
        assert!(said.contains(place), "{place} is missing in:\n{said}");
    }
    assert!(said.ends_with("3 mistakes in 2 files\n"), "{said}");
}

#[test]
fn hostile_files_are_refused_within_a_second() {
    let mut bomb = String::from("checklist: own\na0: &a0 [x]\n");
    for level in 1..12 {
        let previous = format!("*a{}, ", level - 1).repeat(9);
        bomb += &format!("a{level}: &a{level} [{}]\n", previous.trim_end_matches(", "));
    }
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("10 MB", check("    expect: true\n").into_bytes().repeat(160_000), "a checklist may have 2 MiB"),
        ("deep brackets", [b"checklist: ".to_vec(), vec![b'['; 1_000_000]].concat(), "brackets stand more than"),
        ("deep maps", (0..20_000).map(|n| " ".repeat(n % 900) + "a:\n").collect::<String>().into_bytes(), "error: "),
        ("bomb", bomb.into_bytes(), "its aliases repeat more"),
        ("NUL", b"checklist: a\0b\n".to_vec(), "U+0000"),
        ("not UTF-8", b"checklist: a\nchecks: \xff\n".to_vec(), "this byte is not UTF-8"),
        ("binary", std::fs::read("/proc/self/exe").unwrap()[..100_000].to_vec(), "error: "),
        ("one endless line", vec![b'x'; 1_900_000], "error: "),
        ("empty", Vec::new(), "error: "),
        ("unclosed quote", b"checklist: \"a\nchecks:\n".to_vec(), "not YAML"),
        ("tab", b"checklist: a\nchecks:\n\t- id: a\n".to_vec(), "not YAML"),
        ("two documents", b"checklist: a\n---\nchecklist: b\n".to_vec(), "second document"),
    ];
    for (name, content, expected) in cases {
        let began = Instant::now();
        let output = lint(content);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(65), "{name}: {said}");
        assert!(said.contains(expected), "{name}: `{expected}` is missing in:\n{}", &said[..said.len().min(2000)]);
        assert!(began.elapsed() < Duration::from_secs(3), "{name} took {:?}", began.elapsed());
        assert!(said.len() < 20_000, "{name}: {} bytes said", said.len());
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{name}: control characters alive");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for (path, expected) in [
        (folder.path().join("nothing.yaml"), "no such file or folder"),
        (empty, "no checklist in this folder"),
        (Path::new("/dev/null").to_path_buf(), "neither a file nor a folder"),
    ] {
        let output = lint_path(&path);
        assert_eq!(output.status.code(), Some(65));
        assert!(said(&output).contains(expected), "{}", said(&output));
        assert!(said(&output).contains(&path.display().to_string()));
    }
}

#[test]
fn the_checklist_that_the_readme_shows_has_no_mistakes() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let start = readme.find("checklist: site\n").unwrap();
    let output = lint(&readme[start..start + readme[start..].find("\n```").unwrap()]);
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && found.contains("3 checks and 1 cause"), "{found}{}", said(&output));
}
