//! Outcomes to the punch list.

use super::{Outcome, Status};
use crate::checklist::scope::Subject;
use crate::checklist::{Certainty, Who};
use crate::fact::{Absent, Incident, Observations, Reason};
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
    // Other time-outs are findings as well: a command that did not end, what hung when a machine was recorded.
    for outcome in outcomes.iter().filter(|outcome| outcome.status == Status::Unknown) {
        if let Some(Absent { reason: Reason::Timeout, detail }) = &outcome.reason
            && !items.iter().any(|item| comes_of(detail, &item.title))
        {
            items.push(from_timeout(detail, outcomes));
        }
    }
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

/// Whether an absence with this detail comes of what another detail tells: it is the same, or was put inside another
/// sentence (`params.x is not set, and its default is timeout: …`).
fn comes_of(detail: &str, cause: &str) -> bool {
    detail.match_indices(cause).any(|(at, _)| {
        let (before, after) = (detail[..at].chars().next_back(), detail[at + cause.len()..].chars().next());
        before.is_none_or(|c| matches!(c, ' ' | '(')) && after.is_none_or(|c| matches!(c, ')' | ';' | ','))
    })
}

/// A time-out that the supervisor did not see itself.
fn from_timeout(detail: &str, outcomes: &[Outcome]) -> Item {
    let incident = Incident {
        probe: String::new(),
        part: String::new(),
        what: String::new(),
        detail: detail.to_string(),
        timed_out: true,
    };
    from_incident(&incident, outcomes)
}

/// A hang or a crash is a finding, and explains what could not be told because of it.
fn from_incident(incident: &Incident, outcomes: &[Outcome]) -> Item {
    let explains = outcomes.iter().enumerate().filter(|(_, outcome)| {
        let detail = outcome.reason.as_ref().map(|absent| absent.detail.as_str());
        outcome.status == Status::Unknown && detail.is_some_and(|detail| comes_of(detail, &incident.detail))
    });
    let explains: Vec<usize> = explains.map(|(number, _)| number).collect();
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
    let asked = format!("asked by the probe {}", incident.probe);
    Item {
        severity: Status::Critical,
        title: incident.detail.clone(),
        certainty: Some(Certainty::Certain),
        subject: subject.unwrap_or_else(Subject::node),
        seen: if incident.probe.is_empty() { Vec::new() } else { vec![asked] },
        explains,
        check: None,
        why: None,
        next,
        who: Some(Who::Operator),
        refs: Vec::new(),
    }
}
