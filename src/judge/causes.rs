//! Outcomes to causes: which one fault explains several outcomes.

use super::{Outcome, Status};
use crate::checklist::scope::{self, Instance, Subject};
use crate::checklist::{Cause, Certainty, Checklists};
use crate::expression::Scope;
use crate::fact::{Observations, Reason};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// A cause that holds of something, with the outcomes that it explains.
pub(super) struct Holding<'c> {
    pub(super) cause: &'c Cause,
    pub(super) subject: Subject,
    /// The names that its texts may read.
    pub(super) scope: Scope,
    /// Positions in the list of outcomes.
    pub(super) explains: Vec<usize>,
}

/// Every cause that holds and explains something to fix. Of several that explain the same outcome, the most certain
/// one does; where these are equally certain, all of them. One that holds `otherwise` comes after all others.
pub(super) fn causes<'c>(
    checklists: &'c Checklists,
    outcomes: &[Outcome],
    observations: &Observations,
    set: &BTreeMap<String, Json>,
) -> Vec<Holding<'c>> {
    let explainable: Vec<usize> = (0..outcomes.len()).filter(|number| is_explainable(&outcomes[*number])).collect();
    if !explainable.iter().any(|number| severity(&outcomes[*number]).is_some()) {
        return Vec::new();
    }
    let mut node = scope::of_node(checklists, observations, set).extend();
    node.set_json(scope::OUTCOMES, &records(outcomes, |outcome| outcome.status != Status::Unknown));
    node.set_json(
        scope::TIMEOUTS,
        &records(outcomes, |outcome| outcome.status == Status::Unknown && timed_out(outcome)),
    );
    let mut holding: Vec<Holding> = Vec::new();
    for (checklist, cause) in checklists.causes() {
        let may_explain = |number: &usize| {
            let outcome = &outcomes[*number];
            cause.may_explain(&outcome.check, outcome.subject.key.as_deref())
        };
        let mine: Vec<usize> = explainable.iter().copied().filter(may_explain).collect();
        if !mine.iter().any(|number| severity(&outcomes[*number]).is_some()) {
            continue;
        }
        let applies = scope::applies(checklist, &node);
        for instance in scope::cause_instances(&checklists.schemas, &applies, cause, &node) {
            let Some(subject) = subject_of(cause, &instance, outcomes) else { continue };
            let things = things_of(&instance.subject);
            // One item for what several things share: it is of the node, and explains what its loops lead to only.
            let is_shared = cause.subject.is_some() && subject.kind == "node" && !cause.for_each.is_empty();
            let explains = mine.iter().copied().filter(|number| {
                let other = &outcomes[*number].subject;
                let is_of = |thing: &Subject| other.is_same_thing(thing) || other.is_part_of(thing);
                cause.anywhere || other.kind == "node" || (!is_shared && is_of(&subject)) || things.iter().any(is_of)
            });
            let explains: Vec<usize> = explains.collect();
            // The loops may find the same thing several times: several events of a GPU, several mounts of a server.
            let known = holding.iter_mut().find(|one| one.cause.id.text == cause.id.text && one.subject == subject);
            match known {
                Some(known) => known.explains.extend(explains),
                None => holding.push(Holding { cause, subject, scope: instance.scope, explains }),
            }
        }
    }
    for one in &mut holding {
        one.explains.sort_unstable();
        one.explains.dedup();
    }
    let rank = |cause: &Cause| (!cause.otherwise, cause.certainty);
    let mut surest: BTreeMap<usize, (bool, Certainty)> = BTreeMap::new();
    for one in &holding {
        for number in &one.explains {
            let best = surest.entry(*number).or_insert(rank(one.cause));
            *best = rank(one.cause).max(*best);
        }
    }
    for one in &mut holding {
        one.explains.retain(|number| surest[number] == rank(one.cause));
    }
    holding.retain(|one| one.explains.iter().any(|number| severity(&outcomes[*number]).is_some()));
    holding
}

/// How bad an outcome is as a part of the punch list; `None` for what is not in it by itself. A time-out is a finding.
pub(super) fn severity(outcome: &Outcome) -> Option<Status> {
    match outcome.status {
        _ if outcome.waived.is_some() => None,
        Status::Warning | Status::Critical => Some(outcome.status),
        Status::Unknown if timed_out(outcome) => Some(Status::Critical),
        _ => None,
    }
}

fn timed_out(outcome: &Outcome) -> bool {
    outcome.reason.as_ref().is_some_and(|absent| absent.reason == Reason::Timeout)
}

fn is_explainable(outcome: &Outcome) -> bool {
    outcome.waived.is_none() && !matches!(outcome.status, Status::Pass | Status::Skipped)
}

/// Some of the outcomes as causes read them: see [`scope::OUTCOMES_SCHEMA`].
fn records(outcomes: &[Outcome], wanted: fn(&Outcome) -> bool) -> Json {
    let record = |(number, outcome): (usize, &Outcome)| {
        let mut record = Map::new();
        record.insert("number".into(), number.into());
        record.insert("check".into(), outcome.check.as_str().into());
        record.insert("status".into(), outcome.status.word().into());
        record.insert("kind".into(), outcome.subject.kind.as_str().into());
        let absent = |what| json!({"absent": Reason::NotPresent.word(), "detail": what});
        let key = |subject: Option<&Subject>, what| {
            subject.and_then(|subject| subject.key.as_deref()).map_or_else(|| absent(what), Json::from)
        };
        record.insert("key".into(), key(Some(&outcome.subject), "it is of the node"));
        record.insert("parent_key".into(), key(outcome.subject.parent.as_deref(), "it is part of the node only"));
        record.insert("message".into(), outcome.message.as_str().into());
        Json::Object(record)
    };
    let outcomes = outcomes.iter().enumerate();
    outcomes.filter(|(_, outcome)| is_explainable(outcome) && wanted(outcome)).map(record).collect()
}

/// What a cause's loops go over, each by itself: a mount, and the server that it was found by.
fn things_of(subject: &Subject) -> Vec<Subject> {
    let mut things = Vec::new();
    let mut next = Some(subject);
    while let Some(subject) = next {
        if subject.kind != "node" {
            things.push(Subject { parent: None, ..subject.clone() });
        }
        next = subject.parent.as_deref();
    }
    things
}

/// What is faulty: what the cause says, else the outcome or the thing that its loop goes over.
fn subject_of(cause: &Cause, instance: &Instance, outcomes: &[Outcome]) -> Option<Subject> {
    if let Some((kind, key)) = &cause.subject {
        return match key.value.value(&instance.scope) {
            _ if kind == "node" => Some(Subject::node()),
            Ok(key) => Some(Subject { kind: kind.clone(), key: Some(key.text()), parent: None }),
            Err(_) => None,
        };
    }
    let Some(innermost) = cause.for_each.last() else { return Some(Subject::node()) };
    if (innermost.list.value.reads(scope::OUTCOMES) || innermost.list.value.reads(scope::TIMEOUTS))
        && let Some(Json::Number(number)) =
            instance.scope.value(&innermost.name.text)?.field("number").map(|n| n.to_json())
    {
        let number = usize::try_from(number.as_u64()?).ok()?;
        return outcomes.get(number).map(|outcome| outcome.subject.clone());
    }
    Some(instance.subject.clone())
}
