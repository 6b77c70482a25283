//! The report of one node and its formats, one file each.
//!
//! Compatibility: `version` is raised when a field changes its meaning or goes away. Fields may be added without
//! raising it, so a reader passes over what it does not know.

mod json;
mod text;

pub use json::to_json;
pub use text::{TextOptions, to_text};

use crate::checklist::{Checklists, Level};
use crate::fact::{Observation, Observations, Reason};
use crate::judge::{Item, Outcome, Status};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The version of the report's format.
pub const VERSION: u32 = 1;

/// Everything that one run found out about one node.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What this is: always `punchlist-report`.
    pub format: &'static str,
    /// See [`VERSION`].
    pub version: u32,
    /// What made it.
    pub tool: Tool,
    /// Whose it is.
    pub node: Node,
    /// How it was made.
    pub run: Run,
    /// What was asked of the node.
    pub checklists: Vec<ChecklistUsed>,
    /// How it went, in numbers.
    pub summary: Summary,
    /// The punch list, worst first.
    pub items: Vec<Item>,
    /// Every check's answer for every subject, in the order of the checklists.
    pub outcomes: Vec<Outcome>,
    /// How long each probe took, slowest first.
    pub timings: Vec<Timing>,
}

/// The program that made a report.
#[derive(Debug, Serialize)]
pub struct Tool {
    /// `punchlist`
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The identity of a node. What could not be read is left out.
#[derive(Debug, Serialize)]
pub struct Node {
    /// The host name as the kernel has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The operating system, as it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The kernel's release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The hardware name, as `uname -m` gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Vendor and product, as the firmware names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The GPUs, counted by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gpus: BTreeMap<String, usize>,
    /// The version of the NVIDIA driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// How a run went.
#[derive(Debug, Serialize)]
pub struct Run {
    /// When it began (of a recorded machine: when that was recorded), in UTC.
    pub started: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// How thorough it was.
    pub level: Level,
    /// Whether it ran as root.
    pub as_root: bool,
    /// Whether anything was asked for that loads or disrupts the node.
    pub loaded: bool,
    /// Whether a recorded machine was judged, not a live one.
    pub recorded: bool,
    /// What ended it early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_short: Option<String>,
    /// The parameters that were set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Json>,
}

/// A checklist that took part.
#[derive(Debug, Serialize)]
pub struct ChecklistUsed {
    /// Its name.
    pub name: String,
    /// The file; `builtin/…` for one compiled in.
    pub file: String,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// How many of its checks took part.
    pub checks: usize,
}

/// A run in numbers.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// How many checks took part.
    pub checks: usize,
    /// How many outcomes they gave.
    pub outcomes: usize,
    /// How many of these have each status.
    pub by_status: BTreeMap<&'static str, usize>,
    /// How many unknown outcomes a run as root may settle.
    pub denied: usize,
    /// The exit status of the run that made the report.
    pub exit_status: i32,
}

/// How long one probe took.
#[derive(Debug, Serialize)]
pub struct Timing {
    /// The probe, with its arguments where it takes any.
    pub probe: String,
    /// Milliseconds.
    pub ms: f64,
}

/// What a report is made of besides outcomes and items.
pub struct Facts<'r> {
    /// What was asked.
    pub checklists: &'r Checklists,
    /// What was observed.
    pub observations: &'r Observations,
    /// The parameters that were set.
    pub parameters: &'r BTreeMap<String, Json>,
    /// How thorough the run was.
    pub level: Level,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// Whether it ran as root.
    pub as_root: bool,
    /// Whether anything was asked for that loads or disrupts the node.
    pub loaded: bool,
    /// Whether a recorded machine was judged.
    pub recorded: bool,
}

impl Report {
    /// Makes the report.
    pub fn new(facts: &Facts, outcomes: Vec<Outcome>, items: Vec<Item>) -> Report {
        let mut by_status: BTreeMap<&'static str, usize> = BTreeMap::new();
        for outcome in &outcomes {
            *by_status.entry(outcome.status.word()).or_default() += 1;
        }
        let denied = |outcome: &&Outcome| {
            outcome.status == Status::Unknown
                && outcome.reason.as_ref().is_some_and(|absent| absent.reason == Reason::Denied)
        };
        let checks: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome.check.as_str()).collect();
        let summary = Summary {
            checks: checks.len(),
            outcomes: outcomes.len(),
            denied: outcomes.iter().filter(denied).count(),
            exit_status: exit_status(&outcomes, &items, facts.observations),
            by_status,
        };
        let used = |name: &str| outcomes_checks(&outcomes, name);
        let checklists = facts
            .checklists
            .all
            .iter()
            .map(|checklist| ChecklistUsed {
                name: checklist.name.text.clone(),
                file: checklist.file.name.clone(),
                sha256: checklist.file.sha256(),
                checks: used(&checklist.name.text),
            })
            .filter(|used| used.checks > 0)
            .collect();
        Report {
            format: "punchlist-report",
            version: VERSION,
            tool: Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
            node: Node::of(facts.observations),
            run: Run {
                started: facts.started.to_rfc3339_opts(SecondsFormat::Secs, true),
                duration_ms: milliseconds(facts.duration),
                level: facts.level,
                as_root: facts.as_root,
                loaded: facts.loaded,
                recorded: facts.recorded,
                cut_short: facts.observations.cut_short.clone(),
                parameters: facts.parameters.clone(),
            },
            checklists,
            summary,
            timings: timings(facts.observations),
            items,
            outcomes,
        }
    }
}

fn outcomes_checks(outcomes: &[Outcome], checklist: &str) -> usize {
    let of_it = outcomes.iter().filter(|outcome| outcome.checklist == checklist);
    of_it.map(|outcome| outcome.check.as_str()).collect::<BTreeSet<_>>().len()
}

/// The exit status of design.md: 0 nothing to fix, 1 warning, 2 critical, 3 unknown, interrupted or out of time and
/// nothing worse than a warning.
fn exit_status(outcomes: &[Outcome], items: &[Item], observations: &Observations) -> i32 {
    let unknown = outcomes.iter().any(|outcome| outcome.status == Status::Unknown);
    match items.iter().map(|item| item.severity).max() {
        Some(Status::Critical) => 2,
        _ if unknown || observations.cut_short.is_some() => 3,
        Some(_) => 1,
        None => 0,
    }
}

impl Node {
    fn of(observations: &Observations) -> Node {
        let field = |probe: &str, pointer: &str| -> Option<String> {
            let value = observations.plain.get(probe)?.value.pointer(pointer)?;
            value.as_str().map(str::to_string).filter(|text| !text.is_empty())
        };
        let product = [field("host", "/dmi/vendor"), field("host", "/dmi/product")];
        let product = product.into_iter().flatten().collect::<Vec<_>>().join(" ");
        // The driver's names where it answers, those of the PCI bus else.
        let list = |probe: &str| observations.plain.get(probe).and_then(|found| found.value.as_array());
        let mut gpus: BTreeMap<String, usize> = BTreeMap::new();
        for gpu in list("gpus").into_iter().flatten() {
            let by_bus = || gpu["device"].as_str().map(|name| format!("NVIDIA {name}"));
            let name = gpu["name"].as_str().map(str::to_string).or_else(by_bus);
            *gpus.entry(name.unwrap_or_else(|| "NVIDIA GPU".into())).or_default() += 1;
        }
        Node {
            name: field("host", "/name"),
            os: field("host", "/os/name"),
            kernel: field("kernel", "/release"),
            architecture: field("host", "/architecture"),
            product: Some(product).filter(|product| !product.is_empty()),
            gpus,
            driver: field("nvidia", "/module_version").or_else(|| field("nvidia", "/nvml/driver_version")),
        }
    }
}

fn timings(observations: &Observations) -> Vec<Timing> {
    let timing = |(probe, observation): (&String, &Observation)| Timing {
        probe: probe.clone(),
        ms: milliseconds(observation.took),
    };
    let mut timings: Vec<Timing> = observations.plain.iter().chain(&observations.asked).map(timing).collect();
    timings.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    timings
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}
