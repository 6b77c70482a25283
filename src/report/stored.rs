//! The form in which a report is kept.
//!
//! It holds what a report holds, and says once what is said of many: outcomes of one check that passed, or that nobody
//! could tell for the same reason, are one entry with several subjects, and those of one checklist that do not apply for
//! the same reason are one entry with several checks. A node with eight GPUs has a thousand outcomes, and nine in ten of
//! them say that all is well.
//!
//! Compatibility: `version` is raised when a field changes its meaning or goes away, and every version up to the
//! program's own is read. Fields may be added without raising it, so a reader passes over what it does not know.
//! Version 1 had one entry for each outcome, each with all its fields; it reads as version 2 in which nothing was put
//! together.

use super::fold::{Fold, fold};
use super::{ChecklistUsed, FORMAT, Node, Report, Run, Summary, Timing, Tool, VERSION};
use crate::checklist::Who;
use crate::checklist::scope::Subject;
use crate::fact::Absent;
use crate::judge::{Item, Outcome, Status, Waived};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What one run of Punchlist found out about one node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "A report of Punchlist")]
pub(super) struct Stored {
    /// What this is: always `punchlist-report`.
    format: String,
    /// The version of the format. It is raised when a field changes its meaning or goes away; fields may be added
    /// without raising it, so pass over what you do not know.
    version: u32,
    /// Whether names, addresses and secrets were replaced by pseudonyms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    /// What made it.
    tool: Tool,
    /// Whose it is.
    node: Node,
    /// How it was made.
    run: Run,
    /// What was asked of the node.
    checklists: Vec<ChecklistUsed>,
    /// How it went, in numbers.
    summary: Summary,
    /// The punch list, worst first. `explains` are positions in `outcomes`.
    items: Vec<Item>,
    /// What outcomes with several subjects are about: they name positions in this list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subjects: Vec<Listed>,
    /// Every check's answer for every subject, in the order of the checklists. What passed and differs in nothing but
    /// its subject is one entry, and so is what does not apply, or could not be told, for the same reason.
    outcomes: Vec<Entry>,
    /// How long each probe took, slowest first; those that took a millisecond or more.
    timings: Vec<Timing>,
}

/// Something that outcomes are about.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Listed {
    /// `node`, `gpu`, `mount`, …
    kind: String,
    /// Which one of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What it is a part of: a position before its own in the same list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<usize>,
}

/// A check's answer for one subject, or the same answer for several subjects or of several checks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Entry {
    /// The check's id, where that is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    /// The ids, where several checks do not apply for the same reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checks: Vec<String>,
    /// The checklist it stands in. Left out where that is the first part of the id: `gpu` of `gpu.lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checklist: Option<String>,
    /// What it is about, where that is one. Left out together with `subjects`: the node as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    /// What it is about, where those are several, or one that others are about too: positions in the report's list of
    /// subjects. Where there are several checks besides, each of them is about each of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subjects: Vec<usize>,
    /// The answer.
    status: Status,
    /// The good state, as a sentence. Left out where the check does not apply.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    title: String,
    /// What was found: one sentence. Left out where it is the title (all is well) or only repeats the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Where an expectation is false: which parts of it, with the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
    /// What the deciding expressions read. Where the check passes: numbers and texts of plain fields only, not of formulas
    /// over them and not of parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    values: Map<String, Json>,
    /// The same where it differs between several subjects: one value for each of them, null where there was none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values_of_each: BTreeMap<String, Vec<Json>>,
    /// Why nobody could tell, or why it does not apply for want of something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Absent>,
    /// Why it matters. Only where something was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What to do, most important first. Only where something was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    next: Vec<String>,
    /// Who has to act. Only where something was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who: Option<Who>,
    /// Where to read more. Only where something was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refs: Vec<String>,
    /// The entries of the punch list that explain it: positions in `items`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    explained_by: Vec<usize>,
    /// Why and until when the site puts up with it. A waived outcome counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waived: Option<Waived>,
    /// How long the slowest of the probes took that it read, in milliseconds. Left out where the check passes or does
    /// not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
}

impl From<Report> for Stored {
    fn from(report: Report) -> Stored {
        let explained: BTreeSet<usize> = report.items.iter().flat_map(|item| item.explains.iter().copied()).collect();
        let folds = fold(&report.outcomes, &explained);
        let subjects = Subjects::of(&report, &folds);
        let mut entry_of = vec![0; report.outcomes.len()];
        let mut outcomes: Vec<Entry> = Vec::with_capacity(folds.len());
        let mut same: BTreeMap<(String, bool, String, Vec<usize>), usize> = BTreeMap::new();
        for fold in &folds {
            let members: Vec<&Outcome> = fold.members.iter().map(|number| &report.outcomes[*number]).collect();
            let entry = Entry::new(&members, &subjects);
            let mut place = outcomes.len();
            if entry.may_join_others(explained.contains(&fold.members[0])) {
                let about = match &entry.subject {
                    Some(subject) => vec![subjects.places[subject]],
                    None => entry.subjects.clone(),
                };
                place = *same
                    .entry((members[0].checklist.clone(), entry.checklist.is_some(), members[0].message.clone(), about))
                    .or_insert(place);
            }
            match outcomes.get_mut(place) {
                Some(first) => first.join(entry),
                None => outcomes.push(entry),
            }
            fold.members.iter().for_each(|number| entry_of[*number] = place);
        }
        let items = report.items.iter().cloned().map(|item| {
            let places = item.explains.iter().filter_map(|number| entry_of.get(*number).copied());
            let explains: BTreeSet<usize> = places.collect();
            Item { explains: explains.into_iter().collect(), ..item }
        });
        Stored {
            items: items.collect(),
            subjects: subjects.listed,
            outcomes,
            format: report.format,
            version: report.version,
            redacted: report.redacted,
            tool: report.tool,
            node: report.node,
            run: report.run,
            checklists: report.checklists,
            summary: report.summary,
            timings: report.timings.into_iter().filter(|timing| timing.ms >= 1.0).collect(),
        }
    }
}

/// What outcomes are about, in the order in which it is listed: parents first.
struct Subjects<'r> {
    listed: Vec<Listed>,
    places: BTreeMap<&'r Subject, usize>,
}

impl<'r> Subjects<'r> {
    /// The subjects of what is put together.
    fn of(report: &'r Report, folds: &[Fold]) -> Subjects<'r> {
        let quiet = |fold: &&Fold| fold.members.len() > 1 || fold.first.status == Status::Skipped;
        let mut wanted: BTreeSet<(usize, &Subject)> = BTreeSet::new();
        for number in folds.iter().filter(quiet).flat_map(|fold| &fold.members) {
            let mut subject = Some(&report.outcomes[*number].subject);
            while let Some(one) = subject {
                wanted.insert((depth(one), one));
                subject = one.parent.as_deref();
            }
        }
        let mut subjects = Subjects { listed: Vec::new(), places: BTreeMap::new() };
        for (_, subject) in wanted {
            let parent = subject.parent.as_deref().map(|parent| subjects.places[parent]);
            subjects.places.insert(subject, subjects.listed.len());
            subjects.listed.push(Listed { kind: subject.kind.clone(), key: subject.key.clone(), parent });
        }
        subjects
    }
}

/// How many things a subject is a part of.
fn depth(subject: &Subject) -> usize {
    std::iter::successors(subject.parent.as_deref(), |parent| parent.parent.as_deref()).count()
}

/// The subjects of a list; otherwise what is wrong with it.
fn unlisted(listed: Vec<Listed>) -> Result<Vec<Subject>, String> {
    let mut subjects: Vec<Subject> = Vec::with_capacity(listed.len());
    for Listed { kind, key, parent } in listed {
        let parent = match parent {
            None => None,
            Some(place) => {
                let parent = subjects.get(place).ok_or_else(|| format!("a {kind} is a part of what is not listed"))?;
                Some(Box::new(parent.clone()))
            }
        };
        subjects.push(Subject { kind, key, parent });
    }
    Ok(subjects)
}

impl Entry {
    /// Whether it may stand together with other checks that do not apply for the same reason.
    fn may_join_others(&self, explained: bool) -> bool {
        self.status == Status::Skipped
            && !explained
            && self.explained_by.is_empty()
            && self.waived.is_none()
            && self.because.is_empty()
            && self.values.is_empty()
            && self.values_of_each.is_empty()
    }

    /// Takes in another that says the same.
    fn join(&mut self, other: Entry) {
        self.checks.extend(self.check.take());
        self.checks.extend(other.check);
    }

    /// The entry of outcomes that differ in nothing but subject, values and duration.
    fn new(members: &[&Outcome], subjects: &Subjects) -> Entry {
        let first = members[0];
        let several = members.len() > 1;
        let quiet = matches!(first.status, Status::Pass | Status::Skipped);
        let listed =
            several || quiet && first.subject != Subject::node() && subjects.places.contains_key(&first.subject);
        let message = Some(&first.message).filter(|message| {
            **message != first.title && first.reason.as_ref().is_none_or(|reason| reason.to_string() != **message)
        });
        let mut values = Map::new();
        let mut values_of_each = BTreeMap::new();
        let names: BTreeSet<&String> = members.iter().flat_map(|outcome| outcome.values.keys()).collect();
        for name in names.into_iter().filter(|name| first.status != Status::Pass || is_field(name)) {
            let of = |outcome: &&Outcome| outcome.values.get(name).cloned().unwrap_or(Json::Null);
            let value = of(&members[0]);
            if first.status == Status::Pass && !value.is_number() && !value.is_string() {
                continue;
            }
            if members.iter().all(|outcome| outcome.values.get(name) == Some(&value)) {
                values.insert(name.clone(), value);
            } else {
                values_of_each.insert(name.clone(), members.iter().map(of).collect());
            }
        }
        Entry {
            check: Some(first.check.clone()),
            checks: Vec::new(),
            checklist: Some(&first.checklist).filter(|name| first_part(&first.check) != name.as_str()).cloned(),
            subject: Some(first.subject.clone()).filter(|subject| !(listed || quiet && *subject == Subject::node())),
            subjects: match listed {
                true => members.iter().map(|outcome| subjects.places[&outcome.subject]).collect(),
                false => Vec::new(),
            },
            status: first.status,
            title: if first.status == Status::Skipped { String::new() } else { first.title.clone() },
            message: message.cloned(),
            because: first.because.clone(),
            values,
            values_of_each,
            reason: first.reason.clone(),
            why: first.why.clone(),
            next: first.next.clone(),
            who: first.who,
            refs: first.refs.clone(),
            explained_by: first.explained_by.clone(),
            waived: first.waived.clone(),
            duration_ms: Some((first.duration_ms * 100.0).round() / 100.0).filter(|_| !quiet),
        }
    }

    /// The outcomes that it stands for; otherwise what is wrong with it.
    fn outcomes(self, subjects: &[Subject]) -> Result<Vec<Outcome>, String> {
        let checks: Vec<String> = self.check.into_iter().chain(self.checks).collect();
        let Some(first) = checks.first() else { return Err("an outcome names no check".into()) };
        let about = match self.subject {
            Some(subject) => vec![subject],
            None if self.subjects.is_empty() => vec![Subject::node()],
            None => {
                let found = self.subjects.iter().map(|place| subjects.get(*place).cloned());
                found
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| format!("an outcome of {first} is about a subject that is not in the list"))?
            }
        };
        let message = self.message.or_else(|| self.reason.as_ref().map(Absent::to_string));
        let message = message.unwrap_or_else(|| self.title.clone());
        let each =
            checks.iter().flat_map(|check| about.iter().enumerate().map(move |(place, one)| (check, place, one)));
        let outcomes = each.map(|(check, place, subject)| {
            let mut values = self.values.clone();
            for (name, each) in &self.values_of_each {
                if let Some(value) = each.get(place).filter(|value| !value.is_null()) {
                    values.insert(name.clone(), value.clone());
                }
            }
            Outcome {
                check: check.clone(),
                checklist: self.checklist.clone().unwrap_or_else(|| first_part(check).to_string()),
                subject: subject.clone(),
                status: self.status,
                title: self.title.clone(),
                message: message.clone(),
                because: self.because.clone(),
                values,
                reason: self.reason.clone(),
                why: self.why.clone(),
                next: self.next.clone(),
                who: self.who,
                refs: self.refs.clone(),
                explained_by: self.explained_by.clone(),
                waived: self.waived.clone(),
                duration_ms: self.duration_ms.unwrap_or_default(),
            }
        });
        Ok(outcomes.collect())
    }
}

/// The first part of a check's id.
fn first_part(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

/// Whether an expression is a field and no formula: `gpu.ecc.volatile.uncorrectable`, `parts[0].size`.
fn is_field(expression: &str) -> bool {
    !expression.starts_with("params.")
        && expression.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']'))
}

impl TryFrom<Stored> for Report {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Report, String> {
        let subjects = unlisted(stored.subjects)?;
        let mut outcomes = Vec::new();
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for entry in stored.outcomes {
            let start = outcomes.len();
            outcomes.extend(entry.outcomes(&subjects)?);
            ranges.push(start..outcomes.len());
        }
        let mut items = stored.items;
        for item in &mut items {
            let ranges: Option<Vec<_>> = item.explains.iter().map(|place| ranges.get(*place).cloned()).collect();
            let ranges = ranges.ok_or_else(|| format!("the item `{}` explains what is not in the list", item.title))?;
            item.explains = ranges.into_iter().flatten().collect();
        }
        if let Some(outcome) = outcomes.iter().find(|one| one.explained_by.iter().any(|item| *item >= items.len())) {
            return Err(format!("an outcome of {} is explained by what is not in the list of items", outcome.check));
        }
        Ok(Report {
            // Whatever version was read, this is how it would be written.
            format: FORMAT.into(),
            version: VERSION,
            redacted: stored.redacted,
            tool: stored.tool,
            node: stored.node,
            run: stored.run,
            checklists: stored.checklists,
            summary: stored.summary,
            items,
            outcomes,
            timings: stored.timings,
        })
    }
}
