//! Outcomes to the punch list.

use super::{Outcome, Status};
use crate::checklist::scope::Subject;
use crate::checklist::{Certainty, Who};
use crate::fact::{Incident, Observations};
use serde::Serialize;

/// One entry of the punch list.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// How bad it is: warning or critical.
    pub severity: Status,
    /// What is wrong: one sentence.
    pub title: String,
    /// How sure that is, where a cause was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
    /// What it is about.
    pub subject: Subject,
    /// What was seen.
    pub seen: Vec<String>,
    /// The outcomes that it explains: positions in the report's list of outcomes.
    pub explains: Vec<usize>,
    /// The check that found it, where it is a single outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Why it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do, most important first.
    pub next: Vec<String>,
    /// Who has to act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// Where to read more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
}

/// The punch list: what is broken, worst first, and among equals what explains most.
pub fn items(outcomes: &[Outcome], observations: &Observations) -> Vec<Item> {
    let mut items: Vec<Item> =
        observations.incidents.iter().map(|incident| from_incident(incident, outcomes)).collect();
    for (number, outcome) in outcomes.iter().enumerate() {
        if matches!(outcome.status, Status::Warning | Status::Critical) {
            items.push(from_outcome(number, outcome));
        }
    }
    items.sort_by_key(|item| {
        (std::cmp::Reverse(item.severity), std::cmp::Reverse(item.certainty), std::cmp::Reverse(item.explains.len()))
    });
    items
}

fn from_outcome(number: usize, outcome: &Outcome) -> Item {
    Item {
        severity: outcome.status,
        title: outcome.message.clone(),
        certainty: None,
        subject: outcome.subject.clone(),
        seen: outcome.because.clone(),
        explains: vec![number],
        check: Some(outcome.check.clone()),
        why: outcome.why.clone(),
        next: outcome.next.clone(),
        who: outcome.who,
        refs: outcome.refs.clone(),
    }
}

/// A hang or a crash is a finding, and explains what could not be told because of it.
fn from_incident(incident: &Incident, outcomes: &[Outcome]) -> Item {
    let Incident { probe, part, what, timed_out } = incident;
    let named = if part.is_empty() { format!("The probe {probe}") } else { part.clone() };
    let explained = |outcome: &Outcome| {
        outcome.status == Status::Unknown
            && outcome.reason.as_ref().is_some_and(|absent| {
                absent.detail.contains(what.as_str())
                    && absent.detail.contains(if part.is_empty() { probe } else { part.as_str() })
            })
    };
    let explains = outcomes.iter().enumerate().filter(|(_, outcome)| explained(outcome)).map(|(number, _)| number);
    let next = if *timed_out {
        vec![
            "Find out what it waits for: a server that is down, a dead device, a stuck driver.".to_string(),
            "Expect programs that touch it to hang as well, beyond the reach of a kill.".to_string(),
        ]
    } else {
        vec!["Look for the crash in the kernel log; a driver library that crashes here crashes jobs too.".to_string()]
    };
    Item {
        severity: Status::Critical,
        title: format!("{named} {what}"),
        certainty: Some(Certainty::Certain),
        subject: Subject::node(),
        seen: vec![format!("asked by the probe {probe}")],
        explains: explains.collect(),
        check: None,
        why: None,
        next,
        who: Some(Who::Operator),
        refs: Vec::new(),
    }
}
