//! Observations to outcomes, outcomes to the punch list. Pure: nothing here touches a machine.

mod causes;
mod items;
mod waivers;

pub use items::{Item, items};
pub use waivers::{WaiverUsed, waive};

use crate::checklist::scope::{self, Instance, Standing, Subject};
use crate::checklist::{Check, Checklist, Checklists, Placed, Severity, Who};
use crate::expression::{Reading, Scope, Text};
use crate::fact::{Absent, Observations, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A check's answer for one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does not apply.
    Skipped,
    /// What is expected holds.
    Pass,
    /// Worth knowing.
    Info,
    /// Nobody could tell.
    Unknown,
    /// Something to fix that does not stop work.
    Warning,
    /// Something broken.
    Critical,
}

impl Status {
    /// Every status, worst first.
    pub const ALL: [Status; 6] =
        [Status::Critical, Status::Warning, Status::Unknown, Status::Info, Status::Pass, Status::Skipped];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Skipped => "skipped",
            Status::Pass => "pass",
            Status::Info => "info",
            Status::Unknown => "unknown",
            Status::Warning => "warning",
            Status::Critical => "critical",
        }
    }
}

impl From<Severity> for Status {
    fn from(severity: Severity) -> Status {
        match severity {
            Severity::Info => Status::Info,
            Severity::Warning => Status::Warning,
            Severity::Critical => Status::Critical,
        }
    }
}

/// A check's answer for one subject, with all that a person needs to act on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The check's id.
    pub check: String,
    /// The checklist it stands in.
    pub checklist: String,
    /// What it is about.
    pub subject: Subject,
    /// The answer.
    pub status: Status,
    /// The good state, as a sentence.
    pub title: String,
    /// What was found: one sentence.
    pub message: String,
    /// Where an expectation is false: which parts of it, with the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// What the deciding expressions read; where nothing was found, only if it was asked for: see [`Readings`].
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Json>,
    /// Why nobody could tell, or why it does not apply for want of something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Absent>,
    /// Why it matters. Only where something was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do, most important first. Only where something was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// Who has to act. Only where something was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// Where to read more. Only where something was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
    /// The entries of the punch list that explain it: positions in the report's list of items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explained_by: Vec<usize>,
    /// Why and until when the site puts up with it. A waived outcome counts for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waived>,
    /// How long the slowest of the probes took that it read, in milliseconds.
    pub duration_ms: f64,
}

/// That a site puts up with what a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waived {
    /// Why, in the site's words.
    pub reason: String,
    /// The last day on which that holds: `2026-12-31`.
    pub until: String,
}

/// Which outcomes keep what their expressions read ([`Outcome::values`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readings {
    /// All of them.
    OfAll,
    /// Those where something was found; most formats show no others.
    OfFound,
}

/// Judges the chosen checks.
pub fn judge(
    checklists: &Checklists,
    chosen: &[(&Checklist, &Check)],
    observations: &Observations,
    set: &BTreeMap<String, Json>,
    readings: Readings,
) -> Vec<Outcome> {
    let node = scope::of_node(checklists, observations, set);
    let mut judge = Judge {
        checklists,
        observations,
        node,
        readings,
        applies: BTreeMap::new(),
        chosen: chosen.iter().map(|(checklist, check)| (check.id.text.as_str(), (*checklist, *check))).collect(),
        done: BTreeMap::new(),
    };
    for (_, check) in chosen {
        judge.check(&check.id.text);
    }
    chosen.iter().flat_map(|(_, check)| judge.done.remove(check.id.text.as_str()).unwrap_or_default()).collect()
}

/// Whether everything that a check needs has passed, so that it may load the node.
pub fn needs_hold(
    checklists: &Checklists,
    chosen: &[(&Checklist, &Check)],
    observations: &Observations,
    set: &BTreeMap<String, Json>,
    check: &Check,
) -> bool {
    let outcomes = judge(checklists, chosen, observations, set, Readings::OfFound);
    check.needs.iter().all(|need| {
        let mut of_need = outcomes.iter().filter(|outcome| outcome.check == need.text).peekable();
        // A need that is not part of the run holds nothing.
        of_need.peek().is_some()
            && of_need.all(|outcome| matches!(outcome.status, Status::Pass | Status::Info | Status::Warning))
    })
}

struct Judge<'j> {
    checklists: &'j Checklists,
    observations: &'j Observations,
    node: Scope,
    readings: Readings,
    /// What a checklist says of whether it applies, by its name.
    applies: BTreeMap<&'j str, Standing>,
    chosen: BTreeMap<&'j str, (&'j Checklist, &'j Check)>,
    done: BTreeMap<&'j str, Vec<Outcome>>,
}

impl<'j> Judge<'j> {
    /// Judges a check after those that it needs. The loader has made sure that needs do not go in a circle.
    fn check(&mut self, id: &'j str) {
        if self.done.contains_key(id) {
            return;
        }
        let Some(&(checklist, check)) = self.chosen.get(id) else { return };
        for need in &check.needs {
            self.check(&need.text);
        }
        let applies = self.applies.entry(&checklist.name.text).or_insert_with(|| scope::applies(checklist, &self.node));
        let instances = scope::instances(&self.checklists.schemas, applies, check, &self.node);
        let slowest = self.slowest(check);
        let one = |instance| self.instance(checklist, check, instance, slowest);
        let outcomes = instances.into_iter().map(one).collect();
        self.done.insert(id, outcomes);
    }

    /// `slowest` is how long the slowest of the probes without arguments took that the check reads.
    fn instance(&self, checklist: &Checklist, check: &Check, instance: Instance, slowest: Duration) -> Outcome {
        let (scope, asked) = self.with_answers(check, &instance.scope);
        let took = |key: &String| self.observations.asked.get(key).map(|observation| observation.took);
        let mut outcome = Outcome {
            check: check.id.text.clone(),
            checklist: checklist.name.text.clone(),
            subject: instance.subject,
            status: Status::Pass,
            title: check.title.value.render(&scope),
            message: String::new(),
            because: Vec::new(),
            values: Map::new(),
            reason: None,
            why: None,
            next: Vec::new(),
            who: None,
            refs: Vec::new(),
            explained_by: Vec::new(),
            waived: None,
            duration_ms: asked.iter().filter_map(took).fold(slowest, Duration::max).as_secs_f64() * 1000.0,
        };
        if let Standing::Skipped(why) = instance.standing {
            return skipped(outcome, why);
        }
        // What is needed comes before what could not be told: of a lost GPU nothing else is worth a word.
        for standing in [self.needs(check, &outcome.subject), instance.standing] {
            match standing {
                Standing::Skipped(why) => return skipped(outcome, why),
                Standing::Absent(absent) => return absent_outcome(outcome, absent),
                Standing::Asked => {}
            }
        }
        let mut absences = Vec::new();
        for (severity, expect) in &check.expect {
            match expect.value.holds(&scope) {
                Ok(true) => {}
                Ok(false) => {
                    let readings = expect.value.why_false(&scope);
                    return found(outcome, check, *severity, readings, &scope);
                }
                Err(absent) => absences.push(absent),
            }
        }
        if let Some(absent) = absences.into_iter().min_by_key(|absent| absent.reason) {
            return absent_outcome(outcome, absent);
        }
        outcome.message = outcome.title.clone();
        if self.readings == Readings::OfAll {
            outcome.values = check.expect.iter().flat_map(|(_, expect)| expect.value.readings(&scope)).collect();
        }
        outcome
    }

    /// The scope with the answers under `observe`, and the keys of the observations that these are.
    fn with_answers(&self, check: &Check, scope: &Scope) -> (Scope, Vec<String>) {
        if check.observe.is_empty() {
            return (scope.clone(), Vec::new());
        }
        let mut with = scope.extend();
        let mut keys = Vec::new();
        for ask in &check.observe {
            match scope::arguments(ask, &self.checklists.schemas, scope) {
                Err(absent) => with.set(&ask.name.text, Err(absent)),
                Ok(arguments) => {
                    let key = Observations::key(ask.probe.name, &arguments);
                    match self.observations.asked.get(&key) {
                        Some(observation) => with.set_json(&ask.name.text, &observation.value),
                        None => {
                            let detail = format!("{} was not asked", ask.probe.name);
                            with.set(&ask.name.text, Err(Absent::new(Reason::NotRecorded, detail)));
                        }
                    }
                    keys.push(key);
                }
            }
        }
        (with, keys)
    }

    fn slowest(&self, check: &Check) -> Duration {
        let expressions = check.expect.iter().map(|(_, expect)| &expect.value);
        let expressions = expressions.chain(check.for_each.iter().map(|each| &each.list.value));
        let expressions = expressions.chain(check.when.iter().map(|when| &when.value));
        let paths = expressions.flat_map(|expression| expression.paths());
        let plain = paths.filter_map(|(name, _)| self.observations.plain.get(name));
        plain.map(|observation| observation.took).max().unwrap_or_default()
    }

    /// Whether what a check needs holds for this subject.
    fn needs(&self, check: &Check, subject: &Subject) -> Standing {
        let mut unknown = None;
        for need in &check.needs {
            let id = &need.text;
            let Some(outcomes) = self.done.get(id.as_str()) else {
                return Standing::Skipped(format!("needs {id}, which is left out of this run"));
            };
            let same_kind = |outcome: &&Outcome| outcome.subject.kind == subject.kind;
            let counting: Vec<&Outcome> = if outcomes.iter().any(|outcome| same_kind(&outcome)) {
                // One of the same kind says nothing of its siblings, and nothing of those that it does not look at.
                outcomes.iter().filter(|outcome| outcome.subject == *subject || !same_kind(outcome)).collect()
            } else {
                outcomes.iter().collect()
            };
            for outcome in counting {
                match outcome.status {
                    Status::Pass | Status::Info | Status::Warning => {}
                    Status::Critical => return Standing::Skipped(format!("needs {id}, which is critical")),
                    Status::Skipped => return Standing::Skipped(format!("needs {id}, which was skipped")),
                    Status::Unknown => {
                        let reason = outcome.reason.as_ref().map_or(Reason::Failed, |absent| absent.reason);
                        let detail = outcome.reason.as_ref().map_or("", |absent| &absent.detail);
                        unknown.get_or_insert(Absent::new(reason, format!("needs {id}, which is unknown ({detail})")));
                    }
                }
            }
        }
        unknown.map_or(Standing::Asked, Standing::Absent)
    }
}

fn skipped(outcome: Outcome, why: String) -> Outcome {
    Outcome { status: Status::Skipped, message: why, ..outcome }
}

/// The absent table of the design: what is not there is skipped, what nobody could see is unknown.
fn absent_outcome(outcome: Outcome, absent: Absent) -> Outcome {
    let status = if absent.reason.does_not_apply() { Status::Skipped } else { Status::Unknown };
    Outcome { status, message: absent.to_string(), reason: Some(absent), ..outcome }
}

/// Texts as they read on this node. One that comes out empty has nothing to say there.
fn rendered(texts: &[Placed<Text>], scope: &Scope) -> Vec<String> {
    texts.iter().map(|text| text.value.render(scope)).filter(|line| !line.is_empty()).collect()
}

fn found(outcome: Outcome, check: &Check, severity: Severity, readings: Vec<Reading>, scope: &Scope) -> Outcome {
    let because: Vec<String> = readings.iter().map(|reading| reading.sentence.clone()).collect();
    let message = match &check.found {
        Some(found) => found.value.render(scope),
        None => because.join("; "),
    };
    Outcome {
        status: severity.into(),
        message,
        because,
        values: readings.into_iter().flat_map(|reading| reading.values).collect(),
        why: check.why.as_ref().map(|why| why.value.render(scope)),
        next: rendered(&check.next, scope),
        who: check.who,
        refs: check.refs.clone(),
        ..outcome
    }
}
