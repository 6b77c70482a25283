//! The house keeps its shape: which module may know which, and no printing outside the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each module may use. Data flows one way, and so does knowledge.
const ALLOWED: &[(&str, &[&str])] = &[
    // What everybody may use: values with reasons, and text made safe to show.
    ("fact", &[]),
    ("printable", &[]),
    ("expression", &["fact", "STACK_BYTES"]),
    // What the field knows needs no machine.
    ("knowledge", &["fact", "printable"]),
    ("probe", &["fact", "knowledge"]),
    // Whose a file is that root is about to act on.
    ("trust", &[]),
    ("checklist", &["expression", "fact", "printable", "probe", "STACK_BYTES", "trust"]),
    ("observe", &["checklist", "expression", "fact", "printable", "probe"]),
    // Judging and reporting touch no machine: they know no probe and nothing of observing.
    ("judge", &["checklist", "expression", "fact", "knowledge"]),
    ("report", &["checklist", "fact", "judge", "printable"]),
    // Telling a scheduler runs its commands on the machine, on the grounds of a report.
    ("handoff", &["checklist", "fact", "judge", "printable", "probe", "report"]),
    (
        "cli",
        &[
            "checklist",
            "expression",
            "fact",
            "handoff",
            "judge",
            "knowledge",
            "observe",
            "printable",
            "probe",
            "report",
            "trust",
        ],
    ),
];

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// The module of `src/probe/mounts.rs` is `probe`, that of `src/fact.rs` is `fact`.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

/// Every `crate::NAME` and every `crate::{NAME, …}` of a file.
fn used(text: &str) -> BTreeSet<String> {
    let one = regex::Regex::new(r"crate::([A-Za-z_]+)").unwrap();
    assert!(!text.contains("crate::{"), "write one `use crate::…` a module, so that this test can read them");
    one.captures_iter(text).map(|found| found[1].to_string()).collect()
}

#[test]
fn modules_know_only_what_comes_before_them() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(allowed) = allowed.get(module.as_str()) else {
            wrong.push(format!("{}: the module `{module}` is not in the list of this test", path.display()));
            continue;
        };
        for name in used(&fs::read_to_string(&path).unwrap()) {
            if name != module && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: `{module}` must not use `{name}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_prints() {
    for path in sources() {
        if matches!(module_of(&path).as_str(), "cli" | "main") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for macro_name in ["println!", "print!(", "eprintln!", "eprint!("] {
            assert!(!code.contains(macro_name), "{} uses {macro_name}", path.display());
        }
    }
}

#[test]
fn expressions_are_the_only_place_that_knows_cel() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        if module_of(&path) != "expression" {
            assert!(!text.contains("cel::"), "{} uses cel", path.display());
        }
    }
}
