//! Outcomes to the punch list.

use super::causes::{Holding, causes, severity};
use super::{Outcome, Status, rendered};
use crate::checklist::scope::Subject;
use crate::checklist::{Certainty, Checklists, Who};
use crate::fact::{Absent, Incident, Observations, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One entry of the punch list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    /// How bad it is: warning or critical.
    pub severity: Status,
    /// What is wrong: one sentence.
    pub title: String,
    /// How sure that is, where a cause was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
    /// What it is about.
    pub subject: Subject,
    /// Where that is, for a person who has to find it; empty for the node as a whole.
    #[serde(rename = "where", default)]
    pub location: String,
    /// What was seen.
    pub seen: Vec<String>,
    /// The outcomes that it explains: positions in the report's list of outcomes.
    pub explains: Vec<usize>,
    /// The id of the cause, where one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The check that found it, where it is a single outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Why it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do, most important first.
    pub next: Vec<String>,
    /// Who has to act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
}

/// The punch list: what is broken, worst first, then what is surest, then what explains most. Each outcome is told
/// which items explain it.
pub fn items(
    checklists: &Checklists,
    outcomes: &mut [Outcome],
    observations: &Observations,
    set: &BTreeMap<String, Json>,
) -> Vec<Item> {
    let mut holding = causes(checklists, outcomes, observations, set);
    let hangs = hangs(outcomes, observations);
    // A cause of a hang is the cause of whatever else could not be told because of the same hang: where it says so of
    // the probe, and where it explains a part of what one thing's hang did.
    for one in &mut holding {
        for (probe, hang) in &hangs {
            let says_so = one.cause.explains_hangs_of(probe);
            let of_one_thing = hang.subject.key.is_some();
            if says_so || (of_one_thing && hang.explains.iter().any(|number| one.explains.contains(number))) {
                one.explains.extend(&hang.explains);
            }
        }
        one.explains.sort_unstable();
        one.explains.dedup();
    }
    let explained: BTreeSet<usize> = holding.iter().flat_map(|one| one.explains.iter().copied()).collect();
    // What has one cause and calls for the same steps is one thing to do.
    let mut groups: Vec<Vec<Item>> = Vec::new();
    for item in holding.iter().map(|one| from_cause(one, outcomes, observations)) {
        match groups.iter_mut().find(|alike| alike[0].cause == item.cause && alike[0].next == item.next) {
            Some(alike) => alike.push(item),
            None => groups.push(vec![item]),
        }
    }
    let mut items: Vec<Item> = Vec::new();
    for alike in groups {
        match alike.len() {
            ..MANY => items.extend(alike),
            _ => items.push(of_many(alike)),
        }
    }
    let is_explained = |(probe, hang): &(String, Item)| {
        let is_named = || holding.iter().any(|one| one.cause.explains_hangs_of(probe));
        hang.explains.iter().all(|number| explained.contains(number)) && (!hang.explains.is_empty() || is_named())
    };
    items.extend(hangs.into_iter().filter(|hang| !is_explained(hang)).map(|(_, hang)| hang));
    let alone = outcomes.iter().enumerate().filter(|(number, outcome)| {
        !explained.contains(number) && outcome.status != Status::Unknown && severity(outcome).is_some()
    });
    let mut alike: BTreeMap<(&str, Status), Vec<usize>> = BTreeMap::new();
    for (number, outcome) in alone {
        alike.entry((&outcome.check, outcome.status)).or_default().push(number);
    }
    for numbers in alike.values() {
        match numbers.len() {
            ..MANY => items.extend(numbers.iter().map(|number| from_outcomes(&[*number], outcomes, observations))),
            _ => items.push(from_outcomes(numbers, outcomes, observations)),
        }
    }
    items.sort_by_key(|item| {
        let first = item.explains.first().copied().unwrap_or_default();
        (Reverse(item.severity), Reverse(item.certainty), Reverse(item.explains.len()), first)
    });
    for (position, item) in items.iter().enumerate() {
        for number in &item.explains {
            outcomes[*number].explained_by.push(position);
        }
    }
    items
}

/// From so many subjects on that fail the same check alike, they are one item: what is wrong with all of them is
/// seldom each one's own fault.
const MANY: usize = 4;

/// How many lines of evidence an item shows before it only counts them.
const MOST_SEEN: usize = 6;

/// How long an end that two lines share has to be before they say the same, in bytes.
const ENOUGH_WORDS: usize = 16;

fn from_cause(holding: &Holding, outcomes: &[Outcome], observations: &Observations) -> Item {
    let Holding { cause, subject, scope, explains } = holding;
    let told = |number: &&usize| severity(&outcomes[**number]).is_some();
    let told: Vec<usize> = explains.iter().filter(told).copied().collect();
    // What only repeats why another could not be told is no evidence of its own.
    let detail = |number: usize| outcomes[number].reason.as_ref().map_or("", |absent| absent.detail.as_str());
    let repeats = |number: usize| {
        let of = |other: usize| !detail(other).is_empty() && detail(other) != detail(number);
        told.iter().any(|other| of(*other) && comes_of(detail(number), detail(*other)))
    };
    let mut seen = rendered(&cause.seen, scope);
    let said = |number: usize| seen.iter().any(|line| says_again(&outcomes[number].message, line));
    let shown: Vec<usize> = told.iter().copied().filter(|number| !repeats(*number) && !said(*number)).collect();
    seen.extend(messages(&shown, outcomes, MOST_SEEN.saturating_sub(seen.len()).max(1)));
    each_once(&mut seen);
    let severity = told.iter().filter_map(|number| severity(&outcomes[*number])).max();
    Item {
        severity: severity.unwrap_or(Status::Warning),
        title: cause.title.value.render(scope),
        certainty: Some(cause.certainty),
        subject: subject.clone(),
        location: location(subject, observations),
        seen,
        explains: explains.clone(),
        cause: Some(cause.id.text.clone()),
        check: None,
        why: cause.why.as_ref().map(|why| why.value.render(scope)),
        next: rendered(&cause.next, scope),
        who: cause.who,
        refs: cause.refs.clone(),
    }
}

/// One item for what the same cause does to many things.
fn of_many(each: Vec<Item>) -> Item {
    let many = each.len();
    let mut each = each.into_iter();
    let mut whole = each.next().expect("there are many");
    whole.title = format!("{} (and {} more like it)", whole.title, many - 1);
    whole.seen.insert(0, whole.location.clone());
    for other in each {
        whole.severity = whole.severity.max(other.severity);
        whole.seen.push(other.location);
        whole.seen.extend(other.seen);
        whole.explains.extend(other.explains);
    }
    whole.seen.retain(|line| !line.is_empty());
    each_once(&mut whole.seen);
    let more = whole.seen.len().saturating_sub(many + MOST_SEEN);
    if more > 1 {
        whole.seen.truncate(many + MOST_SEEN);
        whole.seen.push(format!("and {more} lines more"));
    }
    whole.explains.sort_unstable();
    whole.explains.dedup();
    Item { subject: Subject::node(), location: String::new(), ..whole }
}

/// Whether a message ends in the very words that a line of evidence brings: `slurmd refused credentials: Expired
/// credential` says nothing more than `slurmd wrote: Expired credential`.
fn says_again(message: &str, line: &str) -> bool {
    line.split_once(": ").is_some_and(|(_, words)| words.len() >= ENOUGH_WORDS && message.ends_with(words))
}

/// Takes out what stands there before.
fn each_once(lines: &mut Vec<String>) {
    let mut known = BTreeSet::new();
    lines.retain(|line| known.insert(line.clone()));
}

/// What these outcomes say, each sentence once; of more than `most` the rest is counted. Why something could not be told
/// (`timeout: …`) names nothing, so what it is said of stands before it.
fn messages(numbers: &[usize], outcomes: &[Outcome], most: usize) -> Vec<String> {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    for outcome in numbers.iter().map(|number| &outcomes[*number]) {
        let key = outcome.subject.key.as_deref();
        let key = key.filter(|key| outcome.status == Status::Unknown && !outcome.message.contains(key));
        match said.iter_mut().find(|(message, _)| *message == outcome.message) {
            Some((_, keys)) => keys.extend(key.filter(|key| !keys.contains(key))),
            None => said.push((&outcome.message, key.into_iter().collect())),
        }
    }
    let line = |(message, keys): (&str, Vec<&str>)| match keys.len() {
        0 => message.to_string(),
        named @ ..=MOST_SEEN => format!("{}: {message}", keys[..named].join(", ")),
        many => format!("{} and {} more: {message}", keys[..MOST_SEEN - 1].join(", "), many - MOST_SEEN + 1),
    };
    let mut messages: Vec<String> = said.into_iter().map(line).collect();
    if messages.len() > most {
        let more = messages.len() + 1 - most;
        messages.truncate(most - 1);
        messages.push(format!("and {more} more like these"));
    }
    messages
}

/// Hangs and crashes with what could not be told because of them; hangs with the probe that met them, where that is
/// known.
fn hangs(outcomes: &[Outcome], observations: &Observations) -> Vec<(String, Item)> {
    let with_probe = |incident: &Incident| {
        let probe = Some(&incident.probe).filter(|_| incident.timed_out).cloned().unwrap_or_default();
        Some((probe, from_incident(incident, outcomes)?))
    };
    let mut items: Vec<(String, Item)> = observations.incidents.iter().filter_map(with_probe).collect();
    // Other time-outs are findings as well: a command that did not end, what hung when a machine was recorded.
    for outcome in outcomes.iter().filter(|outcome| outcome.status == Status::Unknown && outcome.waived.is_none()) {
        if let Some(Absent { reason: Reason::Timeout, detail }) = &outcome.reason
            && !items.iter().any(|(_, item)| comes_of(detail, &item.title))
        {
            items.extend(from_timeout(detail, outcomes).map(|item| (String::new(), item)));
        }
    }
    items
}

/// An item of outcomes of one check that no cause explains: one, or many that are alike.
fn from_outcomes(numbers: &[usize], outcomes: &[Outcome], observations: &Observations) -> Item {
    let outcome = &outcomes[numbers[0]];
    let one = |item: Item| match numbers.len() {
        1 => item,
        many => Item {
            title: format!("{} (and {} more like it)", item.title, many - 1),
            seen: messages(numbers, outcomes, usize::MAX),
            subject: Subject::node(),
            location: String::new(),
            ..item
        },
    };
    one(Item {
        severity: outcome.status,
        title: outcome.message.clone(),
        certainty: None,
        subject: outcome.subject.clone(),
        location: location(&outcome.subject, observations),
        seen: seen(outcome),
        explains: numbers.to_vec(),
        cause: None,
        check: Some(outcome.check.clone()),
        why: outcome.why.clone(),
        next: outcome.next.clone(),
        who: outcome.who,
        refs: outcome.refs.clone(),
    })
}

/// What the check's expression says of why it failed. Where the check says itself what it found, that a loop met what it
/// looks for (`for kernel_log.events[0]: …`), and what was computed inside the expression (`….filter(s, …).size() is 1`,
/// `x * 10 is 50`), adds nothing for a person; the outcome keeps it.
fn seen(outcome: &Outcome) -> Vec<String> {
    let is_formula = |line: &str| line.starts_with("for ") || FORMULAS.iter().any(|part| line.contains(part));
    let adds = |line: &&String| !is_formula(line) || outcome.message.contains(line.as_str());
    outcome.because.iter().filter(adds).cloned().collect()
}

/// What loops over a list or computes inside an expression.
const FORMULAS: &[&str] = &[".filter(", ".exists(", ".map(", ".all(", " * ", "double("];

/// Whether an absence with this detail comes of what another detail tells: it is the same, or was put inside another
/// sentence (`params.x is not set, and its default is timeout: …`).
fn comes_of(detail: &str, cause: &str) -> bool {
    detail.match_indices(cause).any(|(at, _)| {
        let (before, after) = (detail[..at].chars().next_back(), detail[at + cause.len()..].chars().next());
        before.is_none_or(|c| matches!(c, ' ' | '(')) && after.is_none_or(|c| matches!(c, ')' | ';' | ','))
    })
}

/// A time-out that the supervisor did not see itself.
fn from_timeout(detail: &str, outcomes: &[Outcome]) -> Option<Item> {
    let incident = Incident {
        probe: String::new(),
        part: String::new(),
        what: String::new(),
        detail: detail.to_string(),
        timed_out: true,
    };
    from_incident(&incident, outcomes)
}

/// A hang or a crash is a finding, and explains what could not be told because of it. Where the site puts up with all of
/// that, it puts up with the hang.
fn from_incident(incident: &Incident, outcomes: &[Outcome]) -> Option<Item> {
    let explains = outcomes.iter().enumerate().filter(|(_, outcome)| {
        let detail = outcome.reason.as_ref().map(|absent| absent.detail.as_str());
        outcome.status == Status::Unknown && detail.is_some_and(|detail| comes_of(detail, &incident.detail))
    });
    let (waived, explains): (Vec<usize>, Vec<usize>) =
        explains.map(|(number, _)| number).partition(|number| outcomes[*number].waived.is_some());
    if explains.is_empty() && !waived.is_empty() {
        return None;
    }
    // What is known of no subject is of the node; what one subject's outcomes alone come of is of that one.
    let mut subjects = explains.iter().map(|number| &outcomes[*number].subject);
    let subject = subjects.next().filter(|first| subjects.all(|other| other == *first)).cloned();
    let next = if incident.timed_out {
        vec![
            "Find out what it waits for: a server that is down, a dead device, a stuck driver.".to_string(),
            "Expect programs that touch it to hang as well, beyond the reach of a kill.".to_string(),
        ]
    } else {
        vec!["Look for the crash in the kernel log; a driver library that crashes here crashes jobs too.".to_string()]
    };
    let subject = subject.unwrap_or_else(Subject::node);
    let asked = format!("asked by the probe {}", incident.probe);
    Some(Item {
        severity: Status::Critical,
        title: incident.detail.clone(),
        certainty: Some(Certainty::Certain),
        location: subject.key.as_ref().map(|_| subject.to_string()).unwrap_or_default(),
        subject,
        seen: if incident.probe.is_empty() { Vec::new() } else { vec![asked] },
        explains,
        cause: None,
        check: None,
        why: None,
        next,
        who: Some(Who::Operator),
        refs: Vec::new(),
    })
}

/// How a person finds a thing: the probe that lists its kind, the field that names it there, and those of its fields
/// that stand on a label, a slot or a server, with a word for each.
struct Place {
    kind: &'static str,
    probe: &'static str,
    name: &'static str,
    labels: &'static [(&'static str, &'static str)],
}

const PLACES: &[Place] = &[
    Place {
        kind: "gpu",
        probe: "gpus",
        name: "pci",
        labels: &[("index", "index"), ("module_id", "module"), ("serial", "serial")],
    },
    Place { kind: "gpu", probe: "pci", name: "address", labels: &[("physical_slot", "slot")] },
    Place { kind: "pci", probe: "pci", name: "address", labels: &[("device", ""), ("physical_slot", "slot")] },
    // A device of which only its address is known: that the kernel wrote of, and that may be gone.
    Place { kind: "device", probe: "pci", name: "address", labels: &[("device", ""), ("physical_slot", "slot")] },
    Place { kind: "mount", probe: "mounts", name: "mount_point", labels: &[("source", "from")] },
    Place { kind: "disk", probe: "disks", name: "name", labels: &[("model", ""), ("serial", "serial"), ("pci", "at")] },
    Place { kind: "interface", probe: "network", name: "name", labels: &[("pci", "at"), ("driver", "driver")] },
];

/// Where a subject is, in words: `gpu 0000:9c:00.0 · index 5 · serial 1654922006536`. Empty for the node.
fn location(subject: &Subject, observations: &Observations) -> String {
    if subject.key.is_none() {
        return String::new();
    }
    let mut parts = vec![subject.to_string()];
    // A link of a GPU is found by its GPU.
    for Place { kind, probe, name, labels } in PLACES {
        let of_kind = [Some(subject), subject.parent.as_deref()].into_iter().flatten().find(|one| one.kind == **kind);
        let Some(key) = of_kind.and_then(|subject| subject.key.as_ref()) else { continue };
        let listed = observations.plain.get(*probe).and_then(|found| found.value.as_array());
        let Some(thing) = listed.into_iter().flatten().find(|thing| thing[*name] == **key) else { continue };
        for (field, word) in *labels {
            match &thing[*field] {
                Json::String(text) => parts.push(format!("{word} {text}").trim().to_string()),
                Json::Number(number) => parts.push(format!("{word} {number}").trim().to_string()),
                _ => {}
            }
        }
    }
    parts.join(" · ")
}
