//! A run as events, one line of JSON each, as they happen: for programs that follow a run, and for finding out
//! afterwards how far one came that did not end.
//!
//! Every line is an object with `event` and `time` (UTC). Compatibility is that of the report: `version` stands in the
//! first event, fields and events may be added, so pass over what you do not know.

use super::{Node, Report, Run, Summary, Tool, VERSION};
use crate::fact::Absent;
use crate::judge::{Item, Outcome};
use crate::printable::printable_json;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value as Json;

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent<'e> {
    /// The run begins: nothing has been asked yet.
    RunStarted {
        /// The version of the format.
        version: u32,
        /// What runs.
        tool: Tool,
        /// How many checks take part.
        checks: usize,
    },
    /// A probe answered.
    Answered {
        /// The probe.
        probe: &'e str,
        /// Its arguments; null for one that takes none.
        arguments: &'e Json,
        /// From the moment it was asked, in milliseconds.
        ms: f64,
    },
    /// A probe, or a part of it, did not answer, or answered that it cannot.
    GivenUp {
        /// The probe.
        probe: &'e str,
        /// Its arguments; null for one that takes none.
        arguments: &'e Json,
        /// The part, where it is one (a mount, a GPU).
        #[serde(skip_serializing_if = "str::is_empty")]
        part: &'e str,
        /// Why.
        reason: &'e Absent,
    },
    /// What is known of the node, once all has been asked.
    Node {
        /// Its identity.
        node: &'e Node,
    },
    /// A check's answer for one subject.
    Outcome {
        /// Its position in the list of outcomes, which items refer to.
        number: usize,
        /// The answer.
        outcome: &'e Outcome,
    },
    /// An entry of the punch list; `explains` are numbers of outcomes.
    Item {
        /// Its position in the punch list, from 0.
        number: usize,
        /// The entry.
        item: &'e Item,
    },
    /// The run is over.
    RunEnded {
        /// How it went.
        run: &'e Run,
        /// In numbers.
        summary: &'e Summary,
    },
}

impl RunEvent<'_> {
    /// The first event.
    pub fn started(checks: usize) -> RunEvent<'static> {
        RunEvent::RunStarted { version: VERSION, tool: Tool::this(), checks }
    }

    /// The event as a line, ending in a newline.
    pub fn line(&self) -> String {
        #[derive(Serialize)]
        struct Timed<'e> {
            time: String,
            #[serde(flatten)]
            event: &'e RunEvent<'e>,
        }
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        // Maps have text keys and numbers are finite: an event can always be written.
        let mut line = serde_json::to_string(&Timed { time, event: self }).unwrap_or_default();
        line.push('\n');
        printable_json(line)
    }
}

/// What follows once all has been asked, of a report: the node, each outcome, each item, the end.
pub fn judged_events(report: &Report) -> impl Iterator<Item = RunEvent<'_>> {
    let outcomes = report.outcomes.iter().enumerate();
    let items = report.items.iter().enumerate();
    std::iter::once(RunEvent::Node { node: &report.node })
        .chain(outcomes.map(|(number, outcome)| RunEvent::Outcome { number, outcome }))
        .chain(items.map(|(number, item)| RunEvent::Item { number, item }))
        .chain(std::iter::once(RunEvent::RunEnded { run: &report.run, summary: &report.summary }))
}
