//! What supervisor and worker say to each other: one line of JSON a message.

use crate::fact::Observations;
use crate::probe::parts::{Place, Shared};
use crate::probe::{self, Probe};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// A probe to ask.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub probe: &'static Probe,
    /// Null for a probe that takes none.
    pub arguments: Json,
    /// The one part that is to be asked; all when left out.
    pub part: Option<String>,
    /// The parts that are not to be asked, by their labels, with the reason.
    pub without: Vec<(String, String)>,
}

impl Request {
    pub(super) fn new(probe: &'static Probe, arguments: Json) -> Request {
        Request { probe, arguments, part: None, without: Vec::new() }
    }

    pub(super) fn key(&self) -> String {
        Observations::key(self.probe.name, &self.arguments)
    }

    /// What a person calls it: `mounts`, `command scontrol show node`.
    pub(super) fn label(&self) -> String {
        let words = |key: &str| match &self.arguments[key] {
            Json::Array(words) => words.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
            Json::String(text) => text.clone(),
            _ => String::new(),
        };
        let detail = ["argv", "path", "name"].into_iter().map(words).find(|text| !text.is_empty());
        detail.map_or_else(|| self.probe.name.to_string(), |detail| format!("{} {detail}", self.probe.name))
    }

    pub(super) fn to_line(&self) -> Json {
        serde_json::json!([self.probe.name, self.arguments, self.part, self.without])
    }

    pub(super) fn from_line(line: &str) -> Option<Request> {
        let Line(name, arguments, part, without) = serde_json::from_str(line).ok()?;
        Some(Request { probe: probe::find(&name)?, arguments, part, without })
    }
}

/// A request as it is written.
#[derive(Deserialize)]
struct Line(String, Json, Option<String>, #[serde(default)] Vec<(String, String)>);

/// What the worker tells. `number` is the place of the request among all that this worker was given.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    /// A probe is being asked: its deadline begins.
    Asking { number: usize },
    /// All that it knows without risk, and the parts still to be asked.
    SoFar { number: usize, value: Json, pending: Vec<Place> },
    /// A part is being asked: its deadline begins.
    AskingPart { number: usize, pointer: String },
    /// A part answered.
    Part { number: usize, pointer: String, fields: Map<String, Json> },
    /// It waits for something that others may wait for as well; or no longer.
    Waiting { number: usize, thing: Option<Shared> },
    /// A part was not asked, because it is known to hang.
    Refused { number: usize, part: String, why: String },
    /// A process group was started for it.
    Started { number: usize, process_group: u32 },
    /// It answered; without a value where that is what was told of it so far, part by part.
    Done { number: usize, value: Option<Json>, took_us: u64 },
}

impl Event {
    /// The request that it is about.
    pub(super) fn number(&self) -> usize {
        match self {
            Event::Asking { number }
            | Event::SoFar { number, .. }
            | Event::AskingPart { number, .. }
            | Event::Part { number, .. }
            | Event::Waiting { number, .. }
            | Event::Refused { number, .. }
            | Event::Started { number, .. }
            | Event::Done { number, .. } => *number,
        }
    }
}
