//! The report of one node and its formats, one file each. What a kept report promises to its readers stands in
//! `stored`.

pub mod compare;
mod fold;
pub(crate) mod html;
mod json;
mod jsonl;
mod junit;
mod markdown;
mod nagios;
mod prometheus;
pub mod redact;
mod stored;
mod table;
mod text;
mod words;

pub use html::to_html;
pub use json::{report_schema, to_json};
pub use jsonl::{RunEvent, judged_events};
pub use junit::to_junit;
pub use markdown::{MarkdownOptions, to_markdown};
pub use nagios::to_nagios;
pub use prometheus::to_prometheus;
pub use table::to_table;
pub use text::{TextOptions, to_text};

use crate::checklist::{Checklists, Level};
use crate::fact::{Observation, Observations, Reason};
use crate::judge::{Item, Outcome, Status, WaiverUsed};
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stored::Stored;

/// What a probe with arguments has to take to be listed by itself.
const WORTH_A_LINE: Duration = Duration::from_millis(5);

/// What a report says it is.
pub const FORMAT: &str = "punchlist-report";

/// The version of the report's format.
pub const VERSION: u32 = 2;

/// Everything that one run found out about one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Report {
    /// What this is: always `punchlist-report`.
    pub format: String,
    /// See [`VERSION`].
    pub version: u32,
    /// Whether names, addresses and secrets were replaced by pseudonyms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `punchlist`
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Tool {
    /// This program.
    fn this() -> Tool {
        Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }
    }
}

/// The identity of a node. What could not be read is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// The host name as the kernel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The operating system, as it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The kernel's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The hardware name, as `uname -m` gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Vendor and product, as the firmware names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The GPUs, counted by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpus: BTreeMap<String, usize>,
    /// The version of the NVIDIA driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_short: Option<String>,
    /// The parameters that were set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Json>,
    /// The site file that counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteUsed>,
    /// What a scheduler was told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Handoff>,
}

/// A site file that counted, and its waivers for this node whose checks took part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SiteUsed {
    /// The site's name.
    pub name: String,
    /// The file.
    pub file: String,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// Its waivers for this node whose checks took part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<WaiverUsed>,
}

/// What a scheduler was told of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Handoff {
    /// The scheduler: `slurm`.
    pub scheduler: String,
    /// The node, by the name that the scheduler has for it.
    pub node: String,
    /// What was done.
    pub action: Action,
    /// The reason that the node was given there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was done or why not, in words.
    pub detail: String,
}

/// What was done about a node at its scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It gets no more jobs.
    Drained,
    /// It gets jobs again.
    Resumed,
    /// Nothing had to be done, or nothing may be.
    Left,
    /// The scheduler could not be told.
    Failed,
}

/// A checklist that took part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChecklistUsed {
    /// Its name.
    pub name: String,
    /// Its topic in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The file. Left out for one compiled in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The SHA-256 of the file. Left out for one compiled in, which the version of the program tells.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// How many of its checks took part.
    pub checks: usize,
}

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// How many checks took part.
    pub checks: usize,
    /// How many outcomes they gave.
    pub outcomes: usize,
    /// How many of these have each status, those aside that the site puts up with.
    pub by_status: BTreeMap<String, usize>,
    /// How many unknown outcomes a run as root may settle.
    pub denied: usize,
    /// The exit status of the run that made the report.
    pub exit_status: i32,
}

/// How long one probe took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The site file that counted.
    pub site: Option<SiteUsed>,
}

impl Report {
    /// Makes the report.
    pub fn new(facts: &Facts, outcomes: Vec<Outcome>, items: Vec<Item>) -> Report {
        let mut by_status: BTreeMap<String, usize> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.waived.is_none()) {
            *by_status.entry(outcome.status.word().to_string()).or_default() += 1;
        }
        let denied = |outcome: &&Outcome| {
            outcome.status == Status::Unknown
                && outcome.waived.is_none()
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
                title: checklist.title.clone(),
                file: if checklist.is_builtin() { String::new() } else { checklist.file.name.clone() },
                sha256: if checklist.is_builtin() { String::new() } else { checklist.file.sha256() },
                checks: used(&checklist.name.text),
            })
            .filter(|used| used.checks > 0)
            .collect();
        Report {
            format: FORMAT.into(),
            version: VERSION,
            redacted: false,
            tool: Tool::this(),
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
                site: facts.site.clone(),
                handoff: None,
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
    let unknown = outcomes.iter().any(|outcome| outcome.status == Status::Unknown && outcome.waived.is_none());
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

/// The probes without arguments one by one, and of the others those that took their time: a run asks hundreds of files.
fn timings(observations: &Observations) -> Vec<Timing> {
    let timing = |(probe, observation): (&String, &Observation)| Timing {
        probe: probe.clone(),
        ms: milliseconds(observation.took),
    };
    let (slow, quick): (Vec<_>, Vec<_>) = observations.asked.iter().partition(|(_, one)| one.took >= WORTH_A_LINE);
    let mut timings: Vec<Timing> = observations.plain.iter().chain(slow).map(timing).collect();
    let mut sums: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for (key, observation) in quick {
        let (count, sum) = sums.entry(key.split(' ').next().unwrap_or_default()).or_default();
        *count += 1;
        *sum += observation.took;
    }
    timings.extend(sums.into_iter().map(|(probe, (count, sum))| Timing {
        probe: format!("{probe}, {count} asked in less than {} ms each", WORTH_A_LINE.as_millis()),
        ms: milliseconds(sum),
    }));
    timings.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    timings
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}
