//! Files of /proc and /sys that hold nothing, or nothing that can be read: of every kind of file that the recorded
//! machines have, one. Whoever reads it has to say so. No check may pass, or find something broken, for garbage.
//!
//! `SPOILT=sys/class/nvme/nvme0/state cargo test --test spoilt -- --nocapture` says what one file does.

mod common;

use common::machine;
use punchlist::checklist::{self, Checklists, Effect, Level};
use punchlist::fact::{Observation, Observations};
use punchlist::judge::{self, Readings, Status};
use punchlist::observe::{Choice, Plan};
use punchlist::probe::PROBES;
use punchlist::probe::parts::Silent;
use punchlist::probe::source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Machines that between them have most of what is read.
const MACHINES: &[&str] = &["hgx-h100", "dgx-a100-infiniband", "epyc-node", "lustre-ib-node", "kvm-vm", "grace-node"];

/// Makes the content of a file.
type Content = fn() -> Vec<u8>;

/// What a file is made to hold.
const GARBAGE: &[(&str, Content)] = &[
    ("nothing", Vec::new),
    ("binary", || (0..512u32).map(|n| (n * 37 % 251) as u8 | 0x80).collect()),
    // Longer than any file of /sys, and than any number.
    ("huge", || vec![b'9'; 3 << 20]),
];

/// How many kinds of files are spoilt at a time. They are picked far from each other, so that one does not hide what
/// another does.
const AT_A_TIME: usize = 24;

/// What garbage may do after all: the end of a path, what it holds, a check, and why.
const ALLOWED: &[(&str, &str, &str, &str)] = &[
    ("proc/modules", "nothing", "gpu.uvm", "a kernel without modules has an empty list"),
    ("proc/modules", "nothing", "infiniband.device", "a kernel without modules has an empty list"),
    ("proc/modules", "nothing", "kernel.modules.configured", "a kernel without modules has an empty list"),
    ("cgroup.controllers", "nothing", "cgroups.controllers", "where none works the file is empty"),
    ("bonding/slaves", "nothing", "network.bond", "a bond may have no members"),
    ("bonding/slaves", "nothing", "network.lost", "interfaces that are in no bond are judged alone"),
    ("bonding/slaves", "nothing", "network.speed", "interfaces that are in no bond are judged alone"),
    // What a device is comes from the kernel's own memory, and what is no known device is judged as none.
    ("/vendor", "", "gpu.present", "what a device is, the kernel knows by heart"),
    ("/class", "", "gpu.present", "what a device is, the kernel knows by heart"),
    ("/class", "", "nvswitch.present", "what a device is, the kernel knows by heart"),
    ("/vendor", "", "nvswitch.present", "what a device is, the kernel knows by heart"),
    ("/device", "", "nvswitch.present", "what a device is, the kernel knows by heart"),
];

/// The files below these folders, and what makes them one kind: their path without what numbers it.
fn kinds(root: &Path) -> BTreeMap<String, PathBuf> {
    fn walk(root: &Path, inside: &Path, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(root.join(inside)).into_iter().flatten().map(|entry| entry.unwrap());
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let inside = inside.join(entry.file_name());
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => walk(root, &inside, found),
                kind if kind.is_file() => found.push(inside),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    ["proc", "sys"].into_iter().for_each(|folder| walk(root, Path::new(folder), &mut found));
    let number = regex::Regex::new(r"(pci)?[0-9a-f]{4}:[0-9a-f]{2}(:[0-9a-f]{2}\.[0-9a-f])?|[0-9]+").unwrap();
    let mut kinds = BTreeMap::new();
    for path in found {
        let text = path.to_string_lossy().into_owned();
        // How deep in a tree of bridges a device is makes no kind of its own.
        let text = text.rsplit_once("/0000:").map_or(text.clone(), |(_, rest)| format!("device/{rest}"));
        kinds.entry(number.replace_all(&text, "N").into_owned()).or_insert(path);
    }
    kinds
}

/// What every check says of each of its subjects.
struct Judge {
    checklists: Checklists,
}

impl Judge {
    fn outcomes(&self, root: &Path) -> BTreeMap<(String, String), (Status, String)> {
        let source = Source::rooted(root).unwrap();
        let mut observations = Observations::default();
        for probe in PROBES.iter().filter(|probe| probe.arguments.is_none()) {
            let answer = (probe.ask)(&source, &serde_json::Value::Null, &Silent);
            let value = answer.unwrap_or_else(|absent| absent.to_json());
            observations.plain.insert(probe.name.to_string(), Observation { value, took: Duration::ZERO });
        }
        let choice = Choice { only: vec![], skip: vec![], level: Level::Deep, effect: Effect::Reads };
        let plan = Plan::new(&self.checklists, &choice).unwrap();
        let judged = judge::judge(&self.checklists, &plan.chosen, &observations, &BTreeMap::new(), Readings::OfAll);
        let of = |one: judge::Outcome| ((one.check, format!("{:?}", one.subject)), (one.status, one.message));
        judged.into_iter().map(of).collect()
    }
}

/// What is found that was not found before, and what passes that did not pass before.
fn changed(
    before: &BTreeMap<(String, String), (Status, String)>,
    after: &BTreeMap<(String, String), (Status, String)>,
) -> Vec<(String, String)> {
    let is_new = |(key, (status, _)): &(&(String, String), &(Status, String))| {
        matches!(status, Status::Pass | Status::Warning | Status::Critical)
            && before.get(*key).is_none_or(|(was, _)| was != status)
    };
    let said = |((check, _), (status, message)): (&(String, String), &(Status, String))| {
        (check.clone(), format!("{check} is {status:?}: {}", message.chars().take(100).collect::<String>()))
    };
    after.iter().filter(is_new).map(said).collect()
}

fn spoil(root: &Path, path: &Path, content: &[u8]) {
    fs::remove_file(root.join(path)).unwrap();
    fs::write(root.join(path), content).unwrap();
}

#[test]
fn nothing_passes_and_nothing_is_broken_for_garbage() {
    let judge = Judge { checklists: checklist::load(&[], None).unwrap_or_else(|bad| panic!("{}", bad.render(false))) };
    let only = std::env::var("SPOILT").ok();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for name in MACHINES {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let copied = std::process::Command::new("cp").arg("-a").arg(machine(name).join(".")).arg(root).status();
        assert!(copied.unwrap().success());
        let before = judge.outcomes(root);
        let kinds = kinds(root).into_iter().filter(|(kind, _)| seen.insert(kind.clone())).map(|(_, path)| path);
        let kinds: Vec<PathBuf> =
            kinds.filter(|path| only.as_ref().is_none_or(|only| path.to_string_lossy().ends_with(only))).collect();
        let batches = kinds.len().div_ceil(AT_A_TIME);
        for batch in 0..batches {
            let paths: Vec<&PathBuf> = kinds.iter().skip(batch).step_by(batches).collect();
            let kept: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(root.join(path)).unwrap()).collect();
            for (what, content) in GARBAGE {
                let content = content();
                paths.iter().for_each(|path| spoil(root, path, &content));
                let found = changed(&before, &judge.outcomes(root));
                paths.iter().zip(&kept).for_each(|(path, kept)| spoil(root, path, kept));
                if found.is_empty() {
                    continue;
                }
                for (path, kept) in paths.iter().zip(&kept) {
                    spoil(root, path, &content);
                    for (check, said) in changed(&before, &judge.outcomes(root)) {
                        let text = path.to_string_lossy();
                        let allowed = ALLOWED.iter().any(|(end, holds, id, _)| {
                            text.ends_with(end) && (holds.is_empty() || holds == what) && check == *id
                        });
                        if !allowed {
                            wrong.push(format!("{name}: {text} holds {what}, and {said}"));
                        }
                    }
                    spoil(root, path, kept);
                }
            }
        }
        println!("{name}: {} kinds of files", kinds.len());
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}
