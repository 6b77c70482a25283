//! Every check against the cases in `tests/cases/`: a recorded machine, a patch of what was observed, and the outcome
//! that is expected. New lines there are new tests.

mod common;

use common::{machine, punchlist_on};
use punchlist::checklist::scope::{self, param_value};
use punchlist::checklist::{self, Checklists, Effect, Level};
use punchlist::fact::{Absent, Before, Observations, Reason};
use punchlist::judge::{self, Outcome, Readings, Status};
use punchlist::observe::{Choice, Plan, Snapshot, observe_arguments};
use punchlist::probe::source::Source;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    machine: String,
    cases: Vec<Case>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The check's id.
    check: String,
    /// The recorded machine, where it is not the file's.
    machine: Option<String>,
    /// Parameters to set.
    #[serde(default)]
    params: BTreeMap<String, Json>,
    /// What to change: a path to a place in an observation, and what stands there instead.
    #[serde(default)]
    patch: BTreeMap<String, Json>,
    /// Of which subject the outcome is meant, by its key; the worst of all if left out.
    subject: Option<String>,
    /// The status expected.
    expect: Status,
    /// A text that the outcome's message has to contain.
    says: Option<String>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn case_files() -> Vec<(String, CaseFile)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let cases = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("tests/cases/{name}: {error}"));
        (name, cases)
    };
    paths.into_iter().map(read).collect()
}

fn load() -> Checklists {
    checklist::load(&[], None).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

/// The parts of `mounts[/scratch].space.used_percent`: a key of a map, or of an element of a list.
fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (step, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']').unwrap_or_else(|| panic!("{path}: a bracket is not closed")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        steps.push(step.to_string());
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    steps
}

/// The place that `steps` lead to. An element of a list is named by its position or by any of its values that is
/// a key: what names it as a subject comes first in every record.
fn place<'v>(value: &'v mut Json, steps: &[String], path: &str) -> &'v mut Json {
    let Some((step, rest)) = steps.split_first() else { return value };
    let next = match value {
        Json::Array(items) => {
            let keys = ["mount_point", "address", "pci", "name", "pid", "index", "code", "path"];
            let named = |item: &Json| {
                keys.iter().any(|key| match &item[key] {
                    Json::String(text) => text == step,
                    Json::Number(number) => step.parse().is_ok_and(|step: u64| number.as_u64() == Some(step)),
                    _ => false,
                })
            };
            let position = items.iter().position(named).or_else(|| step.parse().ok());
            position.and_then(|position| items.get_mut(position)).unwrap_or_else(|| panic!("{path}: no element {step}"))
        }
        Json::Object(fields) => {
            assert!(
                rest.is_empty() || fields.contains_key(step),
                "{path}: there is no `{step}`, only {:?}",
                fields.keys().collect::<Vec<_>>()
            );
            fields.entry(step.clone()).or_insert(Json::Null)
        }
        other => panic!("{path}: `{step}` of {other}"),
    };
    // An absence gives way to the record that the patch builds up.
    if !rest.is_empty() && (next.is_null() || next.get("absent").is_some()) {
        *next = Json::Object(Default::default());
        let (step, rest) = rest.split_first().unwrap();
        let Json::Object(fields) = next else { unreachable!() };
        return place(fields.entry(step.clone()).or_insert(Json::Null), rest, path);
    }
    place(next, rest, path)
}

/// What a snapshot of each recorded machine holds, taken by the real binary when the first case needs it.
#[derive(Default)]
struct Machines {
    seen: BTreeMap<String, Observations>,
}

impl Machines {
    fn observations(&mut self, name: &str) -> &Observations {
        self.seen.entry(name.to_string()).or_insert_with(|| {
            let output = punchlist_on(&machine(name), "snapshot").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let snapshot: Snapshot = serde_json::from_str(&text)
                .unwrap_or_else(|_| panic!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
            snapshot.observations
        })
    }
}

fn run(checklists: &Checklists, machines: &mut Machines, name: &str, case: &Case) -> Vec<Outcome> {
    let source = Source::rooted(&machine(name)).unwrap_or_else(|error| panic!("{error}"));
    let choice = Choice { only: vec![case.check.clone()], skip: vec![], level: Level::Deep, effect: Effect::Disrupts };
    let plan = Plan::new(checklists, &choice).unwrap_or_else(|error| panic!("{error}"));
    let mut set = BTreeMap::new();
    for (name, value) in &case.params {
        let param = checklists.params().find(|param| param.name.text == *name);
        let param = param.unwrap_or_else(|| panic!("no parameter is called {name}"));
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Array(items) => {
                items.iter().map(|item| item.as_str().unwrap().to_string()).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        set.insert(name.clone(), param_value(param, &text).unwrap_or_else(|wrong| panic!("{wrong}")));
    }
    let plain = |observations: &mut Observations| {
        for (path, value) in case.patch.iter().filter(|(path, _)| !path.starts_with("observe.")) {
            let mut steps = steps(path);
            let mut plain = &mut observations.plain;
            if steps[0] == "before" {
                // An earlier reading is this one, a minute ago, with these differences.
                steps.remove(0);
                let same = || Before { seconds: 60.0, plain: plain.clone() };
                let before = observations.before.get_or_insert_with(same);
                if steps[0] == "seconds" {
                    before.seconds = value.as_f64().unwrap();
                    continue;
                }
                plain = &mut before.plain;
            }
            let probe = plain.get_mut(&steps[0]);
            let probe = probe.unwrap_or_else(|| panic!("{path}: the check does not read {}", steps[0]));
            *place(&mut probe.value, &steps[1..], path) = value.clone();
        }
    };
    let mut observations = machines.observations(name).clone();
    plain(&mut observations);
    observe_arguments(&plan, checklists, &set, &source, &mut observations);
    let scope = scope::of_node(checklists, &observations, &set);
    for (path, value) in case.patch.iter().filter(|(path, _)| path.starts_with("observe.")) {
        let steps = steps(path);
        for (checklist, check) in plan.chosen.iter().filter(|(_, check)| check.id.text == case.check) {
            let ask = check.observe.iter().find(|ask| ask.name.text == steps[1]);
            let ask = ask.unwrap_or_else(|| panic!("{path}: the check does not observe {}", steps[1]));
            let applies = scope::applies(checklist, &scope);
            for instance in scope::instances(&checklists.schemas, &applies, check, &scope) {
                let Ok(arguments) = scope::arguments(ask, &checklists.schemas, &instance.scope) else { continue };
                let key = Observations::key(ask.probe.name, &arguments);
                if let Some(observation) = observations.asked.get_mut(&key) {
                    if steps.len() > 2 && observation.value.get("absent").is_some() {
                        observation.value = Json::Object(Default::default());
                    }
                    *place(&mut observation.value, &steps[2..], path) = value.clone();
                }
            }
        }
    }
    let outcomes = judge::judge(checklists, &plan.chosen, &observations, &set, Readings::OfAll);
    outcomes.into_iter().filter(|outcome| outcome.check == case.check).collect()
}

#[test]
fn every_case_gives_its_outcome() {
    let checklists = load();
    let mut machines = Machines::default();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, file) in case_files() {
        for (number, case) in file.cases.iter().enumerate() {
            count += 1;
            let machine = case.machine.as_deref().unwrap_or(&file.machine);
            let run = || run(&checklists, &mut machines, machine, case);
            let title = format!("tests/cases/{name}, case {}: {} on {machine}", number + 1, case.check);
            let outcomes = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                Ok(outcomes) => outcomes,
                Err(panic) => {
                    let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    wrong.push(format!("{title}: {said}"));
                    continue;
                }
            };
            let of_subject = |outcome: &&Outcome| case.subject.is_none() || outcome.subject.key == case.subject;
            let rank = |outcome: &&Outcome| match outcome.status {
                Status::Skipped => 0,
                Status::Pass => 1,
                Status::Info => 2,
                Status::Unknown => 3,
                Status::Warning => 4,
                Status::Critical => 5,
            };
            let Some(outcome) = outcomes.iter().filter(of_subject).max_by_key(rank) else {
                wrong.push(format!("{title}: no outcome for the subject {:?}", case.subject));
                continue;
            };
            if outcome.status != case.expect {
                wrong.push(format!("{title}: {:?}, expected {:?}: {}", outcome.status, case.expect, outcome.message));
            } else if let Some(says) = &case.says
                && !outcome.message.contains(says.as_str())
            {
                wrong.push(format!("{title}: says `{}`, not `{says}`", outcome.message));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 0, "there are no cases");
}

#[test]
fn every_check_has_a_case_in_which_it_passes_one_in_which_it_fails_and_one_in_which_it_cannot_tell() {
    let mut seen: BTreeMap<String, BTreeSet<Status>> = BTreeMap::new();
    for (_, file) in case_files() {
        for case in file.cases {
            seen.entry(case.check).or_default().insert(case.expect);
        }
    }
    let checklists = load();
    let mut missing = Vec::new();
    for (_, check) in checklists.checks() {
        let cases = seen.remove(&check.id.text).unwrap_or_default();
        let failure = [Status::Info, Status::Warning, Status::Critical].iter().any(|status| cases.contains(status));
        for (there, what) in
            [(cases.contains(&Status::Pass), "pass"), (failure, "fail"), (cases.contains(&Status::Unknown), "unknown")]
        {
            if !there {
                missing.push(format!("{}: no case with {what}", check.id.text));
            }
        }
    }
    missing.extend(seen.into_keys().map(|id| format!("{id}: no such check")));
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Checks with an `a || b` of which `a` alone is reason enough to pass, and the probe that only `b` reads.
const ENOUGH_WITHOUT: &[(&str, &str)] = &[
    // So few corrections are no fault, however long the node has run.
    ("edac.corrected", "host"),
    // So few errors are no fault, however long the node is up.
    ("infiniband.errors.symbols", "host"),
    ("infiniband.errors.retrained", "host"),
    ("infiniband.errors.receive", "host"),
    ("infiniband.errors.discards", "host"),
    ("infiniband.transport.given_up", "host"),
    ("infiniband.transport.losses", "host"),
    // It has joined, whatever it would join by.
    ("kubernetes.joined", "file"),
    // The plugin has registered the GPUs, whatever else could hand them out.
    ("kubernetes.plugin", "file"),
    ("kubernetes.gpus", "file"),
    // A known service keeps the clock right, whatever the kernel has been told.
    ("time.service", "time_sync"),
    // The open kernel module needs no other.
    ("rdma.gpu", "kernel"),
    // A kernel for crash dumps is loaded, whatever memory is kept for one.
    ("kernel.kdump", "file"),
    // Enough large blocks are free, whether or not somebody has GPUs that want them.
    ("memory.fragmentation", "pci"),
    // It was hardly ever restarted, however long it has run and the node is up.
    ("services.restarts", "host"),
    ("services.restarts", "processes"),
    // The nodes are open to everybody, whether or not jobs come.
    ("gpu.device_node.mode", "processes"),
    ("gpu.device_node.mode", "services"),
    // All links are up, whatever the bus and the log tell of one that is not.
    ("nvlink.active", "pci"),
    ("nvlink.active", "kernel_log"),
];

/// Whatever could not be seen, no check passes for want of it: each probe that a check reads to decide is replaced by
/// each absence that means "nobody could tell".
#[test]
fn no_check_passes_when_what_it_reads_could_not_be_seen() {
    let checklists = load();
    let mut machines = Machines::default();
    let absences = [Reason::Timeout, Reason::Failed, Reason::Denied, Reason::NotRecorded];
    let mut wrong = Vec::new();
    for (_, check) in checklists.checks() {
        let id = &check.id.text;
        let choice = Choice { only: vec![id.clone()], skip: vec![], level: Level::Deep, effect: Effect::Disrupts };
        let plan = Plan::new(&checklists, &choice).unwrap();
        let read: BTreeSet<&str> = check.expect.iter().flat_map(|(_, expect)| expect.value.names()).collect();
        let own: Vec<&str> = check.for_each.iter().map(|each| each.name.text.as_str()).collect();
        for machine in [
            "epyc-node",
            "xeon-gpu-node",
            "kvm-vm",
            "lustre-ib-node",
            "dgx-a100-infiniband",
            "k8s-gpu-node",
            "slurm-node-in-use",
        ] {
            let source = Source::rooted(&common::machine(machine)).unwrap();
            let mut seen = machines.observations(machine).clone();
            seen.asked.clear();
            observe_arguments(&plan, &checklists, &BTreeMap::new(), &source, &mut seen);
            for reason in absences {
                let absent = Absent::new(reason, "as this test wants it").to_json();
                let probes =
                    seen.plain.keys().filter(|probe| read.contains(probe.as_str()) && !own.contains(&probe.as_str()));
                for probe in probes {
                    let mut observations = seen.clone();
                    observations.plain.get_mut(probe).unwrap().value = absent.clone();
                    passes(
                        &checklists,
                        &plan,
                        &observations,
                        id,
                        &mut wrong,
                        &format!("{probe} is {reason} on {machine}"),
                    );
                }
                for key in seen.asked.keys() {
                    let mut observations = seen.clone();
                    observations.asked.get_mut(key).unwrap().value = absent.clone();
                    // Other subjects may pass: only where there is one answer is it the one that counts.
                    if seen.asked.len() == 1 {
                        passes(
                            &checklists,
                            &plan,
                            &observations,
                            id,
                            &mut wrong,
                            &format!("{key} is {reason} on {machine}"),
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn passes(
    checklists: &Checklists,
    plan: &Plan,
    observations: &Observations,
    id: &str,
    wrong: &mut Vec<String>,
    what: &str,
) {
    let enough = |(check, probe): &(&str, &str)| *check == id && what.starts_with(&format!("{probe} "));
    if ENOUGH_WITHOUT.iter().any(enough) {
        return;
    }
    let outcomes = judge::judge(checklists, &plan.chosen, observations, &BTreeMap::new(), Readings::OfAll);
    for outcome in outcomes.iter().filter(|outcome| outcome.check == id && outcome.status == Status::Pass) {
        wrong.push(format!("{id} passes for {} although {what}", outcome.subject));
    }
}
