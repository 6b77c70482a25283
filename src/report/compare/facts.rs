//! Facts that matter: those that explain why a node behaves otherwise than it did.
//!
//! Temperatures, loads and free bytes are others each time one looks. What matters is known by the name of its field,
//! so that it is the same for observations and for the values in a report, and new probes take part by themselves.

use super::super::Report;
use crate::fact::{Absent, Observations};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// How much of a value the text shows, in characters.
const SHOWN: usize = 100;

/// A fact that is another now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactChange {
    /// Which: `nvidia.module_version`, `gpus 0000:9c:00.0 vbios`.
    pub fact: String,
    /// What happened to it.
    pub nature: Nature,
    /// What it was; none for what is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Json>,
    /// What it is; none for what is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Json>,
}

/// What happened to a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// A thing that was there is not.
    Gone,
    /// A thing that was not there is.
    New,
    /// It is another.
    Changed,
    /// A counter has counted on.
    Grew,
    /// A counter begins anew: after a restart, or a reset.
    Restarted,
    /// It was known, and is absent now.
    NotTold,
}

impl FactChange {
    /// What happened, in words.
    pub(super) fn sentence(&self) -> String {
        let shown = |value: &Option<Json>| match value {
            Some(Json::String(text)) => short(text),
            Some(value) => short(&value.to_string()),
            None => String::new(),
        };
        let (was, is) = (shown(&self.was), shown(&self.is));
        match self.nature {
            Nature::Gone if was.is_empty() => "is gone".into(),
            Nature::Gone => format!("is gone (was {was})"),
            Nature::New if is.is_empty() => "is new".into(),
            Nature::New => format!("is new ({is})"),
            Nature::Changed => format!("{was} → {is}"),
            Nature::Grew => match (self.was.as_ref().and_then(Json::as_f64), self.is.as_ref().and_then(Json::as_f64)) {
                (Some(old), Some(new)) => format!("{was} → {is} (+{})", new - old),
                _ => format!("{was} → {is}"),
            },
            Nature::Restarted => format!("{was} → {is} (counts anew)"),
            Nature::NotTold => format!("was {was}, cannot be told now ({is})"),
        }
    }
}

/// The beginning of a long text.
fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// How a field that matters is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Matters {
    /// Any other value is another fact.
    Value,
    /// It counts what goes wrong, so that only its growth tells something.
    Counter,
}

/// Whether a field matters, by its last name and that before it.
fn matters(name: &str, of: &str) -> Option<Matters> {
    const VALUES: &[&str] = &[
        "active",
        "architecture",
        "bios_date",
        "carrier",
        "clique_id",
        "command_line",
        "compute_mode",
        "container",
        "current",
        "device_id",
        "driver",
        "duplex",
        "enabled",
        "enforced_limit_w",
        "failed",
        "firmware",
        "fstab_source",
        "generation",
        "governor",
        "governors",
        "gpu_count",
        "gpus",
        "kind",
        "library_file",
        "link_layer",
        "lid",
        "limit_w",
        "logical_online",
        "logical_present",
        "lost",
        "mac",
        "master",
        "max_generation",
        "max_speed_gts",
        "max_width",
        "mbps",
        "microcode",
        "model",
        "module_id",
        "module_kind",
        "mtu",
        "nodes",
        "numa_node",
        "numa_nodes",
        "options",
        "p2p",
        "pending",
        "persistence",
        "physical_state",
        "port_guid",
        "product",
        "rate",
        "rate_gbps",
        "read_only",
        "recovery_action",
        "release",
        "remote_kind",
        "remote_pci",
        "selinux",
        "serial",
        "size_bytes",
        "slot_max_generation",
        "slot_max_width",
        "sm_lid",
        "sockets",
        "source",
        "speed_gbytes",
        "speed_gts",
        "speed_mbps",
        "state",
        "swap_total_bytes",
        "taint",
        "threads_per_core",
        "total_bytes",
        "transport",
        "tuned_profile",
        "type",
        "uuid",
        "valid",
        "vbios",
        "width",
        "name",
        "guid",
        "node_guid",
        "mode",
        "value",
    ];
    const COUNTERS: &[&str] = &[
        "bad_dllps",
        "bad_tlps",
        "carrier_changes",
        "carrier_down_count",
        "collisions",
        "correctable",
        "crc_errors",
        "lane_errors",
        "lcrc_errors",
        "link_downed",
        "link_error_recovery",
        "naks_received",
        "naks_sent",
        "recoveries",
        "replay_rollovers",
        "replays",
        "retired",
        "symbol_error",
        "uncorrectable",
        "unsupported_requests",
        "local_link_integrity_errors",
        "excessive_buffer_overrun_errors",
        "port_rcv_errors",
        "out_of_memory_kills",
        "media_errors",
        "unsafe_shutdowns",
        "machine_checks",
        "corrected",
        "uncorrected",
        "oom_kill",
    ];
    // A link idles at a lower generation, a carrier's own counters say nothing, and the time is another each time.
    let idles = of == "pcie" && matches!(name, "generation" | "speed_gts");
    let of_gpu_link = of == "link" && name == "speed_gts";
    if idles || of_gpu_link || (name == "mode" && of != "mig") || (name == "value" && of != "taint")
        // The command line once more, taken apart.
        || (name == "options" && of == "kernel")
    {
        return None;
    }
    if name == "version" || name.ends_with("_version") || VALUES.contains(&name) {
        return Some(Matters::Value);
    }
    let counts = COUNTERS.contains(&name) || name.ends_with("_errors") || name.ends_with("_flaps");
    counts.then_some(Matters::Counter)
}

/// Observations that are of the moment, or are compared by others.
const OF_THE_MOMENT: &[&str] = &["processes", "kernel_log", "gpu_pairs", "expected", "services"];

/// What the elements of lists are known by, the surest first.
const KEYS: &[&str] = &["address", "mount_point", "name", "pci", "device", "id", "index", "bus_id"];

/// The same for what has a name that others have too: that of its model.
const KEYS_OF_PARTS: &[&str] = &["pci", "index"];

/// The facts that matter of observations, by what they are called.
fn facts_of(observations: &Observations) -> BTreeMap<String, (Option<Matters>, Json)> {
    let mut facts = BTreeMap::new();
    for (probe, observation) in &observations.plain {
        if !OF_THE_MOMENT.contains(&probe.as_str()) {
            gather(probe, probe, "", &observation.value, &mut facts);
        }
    }
    facts
}

fn gather(path: &str, name: &str, of: &str, value: &Json, facts: &mut BTreeMap<String, (Option<Matters>, Json)>) {
    match value {
        Json::Object(map) if Absent::from_json(value).is_none() => {
            for (key, one) in map {
                // What a thing is called stands in the path already.
                if !(path.contains(' ') && path.ends_with(one.as_str().unwrap_or("\0")) && KEYS.contains(&key.as_str()))
                {
                    gather(&format!("{path}.{key}"), key, name, one, facts);
                }
            }
        }
        Json::Array(list) => {
            let keys = if matches!(name, "gpus" | "nvswitches") { KEYS_OF_PARTS } else { KEYS };
            let named = |one: &Json| {
                keys.iter().find_map(|key| match &one[*key] {
                    Json::String(text) => Some(text.clone()),
                    Json::Number(number) => Some(number.to_string()),
                    _ => None,
                })
            };
            let things: Option<Vec<String>> = list.iter().map(named).collect();
            match things.filter(|things| !things.is_empty()) {
                Some(things) => {
                    for (thing, one) in things.iter().zip(list) {
                        let place = format!("{path} {thing}");
                        // That it is there is a fact.
                        facts.insert(place.clone(), (None, described(one)));
                        gather(&place, thing, name, one, facts);
                    }
                }
                None => keep(path, name, of, value, facts),
            }
        }
        _ => keep(path, name, of, value, facts),
    }
}

fn keep(path: &str, name: &str, of: &str, value: &Json, facts: &mut BTreeMap<String, (Option<Matters>, Json)>) {
    if let Some(matters) = matters(name, of) {
        facts.insert(path.to_string(), (Some(matters), value.clone()));
    }
}

/// What a thing is, in a word, where it tells.
fn described(thing: &Json) -> Json {
    let word = ["name", "source", "model", "device", "kind"].iter().find_map(|key| thing[*key].as_str());
    word.map_or(Json::Null, Json::from)
}

/// The facts that matter and differ between two observed nodes.
pub fn fact_changes(before: &Observations, after: &Observations) -> Vec<FactChange> {
    let (earlier, later) = (facts_of(before), facts_of(after));
    let mut changes = Vec::new();
    let mut gone: Vec<&str> = Vec::new();
    // Of a thing that is gone or new, nothing else is worth a word.
    let is_part = |fact: &str, things: &[&str]| {
        things.iter().any(|thing| fact.strip_prefix(thing).is_some_and(|rest| rest.starts_with(['.', ' '])))
    };
    for (fact, (matters, was)) in &earlier {
        if is_part(fact, &gone) {
            continue;
        }
        match later.get(fact) {
            Some((_, is)) => changes.extend(change(fact, *matters, was, is)),
            // A whole probe that did not answer is said once, by the outcomes.
            None if matters.is_none() && answered(after, fact) => {
                gone.push(fact);
                changes.push(FactChange { fact: fact.clone(), nature: Nature::Gone, was: known(was), is: None });
            }
            None => {}
        }
    }
    let mut new: Vec<&str> = Vec::new();
    for (fact, (matters, is)) in &later {
        if matters.is_none() && !earlier.contains_key(fact) && answered(before, fact) && !is_part(fact, &new) {
            new.push(fact);
            changes.push(FactChange { fact: fact.clone(), nature: Nature::New, was: None, is: known(is) });
        }
    }
    changes.sort_by(|a, b| (a.nature, &a.fact).cmp(&(b.nature, &b.fact)));
    changes
}

/// Whether the list that a thing stood in was answered.
fn answered(observations: &Observations, fact: &str) -> bool {
    let probe = fact.split(['.', ' ']).next().unwrap_or_default();
    observations.plain.get(probe).is_some_and(|found| Absent::from_json(&found.value).is_none())
}

fn known(value: &Json) -> Option<Json> {
    Some(value).filter(|value| !value.is_null()).cloned()
}

/// What became of one fact; `None` where nothing did that is worth a word.
fn change(fact: &str, matters: Option<Matters>, was: &Json, is: &Json) -> Option<FactChange> {
    let matters = matters?;
    if was == is || Absent::from_json(was).is_some() {
        return None;
    }
    let told = |nature: Nature, is: Json| {
        Some(FactChange { fact: fact.to_string(), nature, was: Some(was.clone()), is: Some(is) })
    };
    if let Some(absent) = Absent::from_json(is) {
        return told(Nature::NotTold, absent.to_string().into());
    }
    match matters {
        Matters::Value => told(Nature::Changed, is.clone()),
        Matters::Counter if !was.is_number() => None,
        Matters::Counter if is.as_f64() > was.as_f64() => told(Nature::Grew, is.clone()),
        Matters::Counter => told(Nature::Restarted, is.clone()),
    }
}

/// The same of two reports: their node's identity, and the values that their outcomes were decided by.
pub fn value_changes(before: &Report, after: &Report) -> Vec<FactChange> {
    let (earlier, later) = (values_of(before), values_of(after));
    let changes = earlier.iter().filter_map(|(fact, (matters, was))| match later.get(fact) {
        Some((_, is)) => change(fact, Some(*matters), was, is),
        None => None,
    });
    let mut changes: Vec<FactChange> = changes.collect();
    changes.sort_by(|a, b| (a.nature, &a.fact).cmp(&(b.nature, &b.fact)));
    changes.dedup();
    changes
}

fn values_of(report: &Report) -> BTreeMap<String, (Matters, Json)> {
    let mut facts = BTreeMap::new();
    let node = &report.node;
    let mut identity = |name: &str, value: Json| facts.insert(name.to_string(), (Matters::Value, value));
    for (name, value) in [
        ("operating system", &node.os),
        ("kernel", &node.kernel),
        ("architecture", &node.architecture),
        ("product", &node.product),
        ("driver", &node.driver),
    ] {
        identity(name, value.clone().map_or(Absent::not_present("not read").to_json(), Json::from));
    }
    let gpus: Vec<String> = node.gpus.iter().map(|(name, count)| format!("{count} × {name}")).collect();
    identity("GPUs", if gpus.is_empty() { "none".into() } else { gpus.join(", ").into() });
    for outcome in &report.outcomes {
        for (expression, value) in &outcome.values {
            let plain = expression.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
            let mut names = expression.rsplit('.');
            let (name, of) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            // What the kernel runs and the driver is stands in the identity.
            let identity =
                matches!(expression.as_str(), "kernel.release" | "host.architecture" | "nvidia.module_version");
            if plain
                && !identity
                && let Some(matters) = matters(name, of)
            {
                let thing = outcome.subject.key.as_ref().map(|_| format!("{} ", outcome.subject)).unwrap_or_default();
                facts.insert(format!("{thing}{expression}"), (matters, value.clone()));
            }
        }
    }
    facts
}
