//! A value, or why it is absent.
//!
//! Real machines leave things out, and a checker that invents a zero for what it could not see lies. So every
//! field that a probe may fail to fill is a [`Fact`]: the value, or an [`Absent`] with its [`Reason`].
//!
//! Written as JSON a present fact is the value itself; an absent one is `{"absent": REASON, "detail": TEXT}`.
//! That form travels from the worker to the supervisor, stands in recorded machines and is what expressions see.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Why a value is absent. The order is the one in which reasons count when an expression meets several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It did not answer within its deadline.
    Timeout,
    /// Asking gave an error.
    Failed,
    /// Asking is not allowed to this user.
    Denied,
    /// A recorded machine does not hold it.
    NotRecorded,
    /// There is no such device, tool or library here.
    NotPresent,
    /// The device is there and does not have this.
    NotSupported,
}

impl Reason {
    /// Every reason, in the order in which they count.
    pub const ALL: [Reason; 6] = [
        Reason::Timeout,
        Reason::Failed,
        Reason::Denied,
        Reason::NotRecorded,
        Reason::NotPresent,
        Reason::NotSupported,
    ];

    /// The word that stands for the reason in JSON and YAML.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Timeout => "timeout",
            Reason::Failed => "failed",
            Reason::Denied => "denied",
            Reason::NotRecorded => "not_recorded",
            Reason::NotPresent => "not_present",
            Reason::NotSupported => "not_supported",
        }
    }

    /// Whether the thing is known not to be there, so that questions about it do not apply. The other reasons mean
    /// that nobody could tell.
    pub fn does_not_apply(self) -> bool {
        matches!(self, Reason::NotPresent | Reason::NotSupported)
    }
}

impl fmt::Display for Reason {
    /// The reason as a person reads it: `not present`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word().replace('_', " "))
    }
}

/// The absence of a value: the reason, and in plain words what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Absent {
    /// Why.
    #[serde(rename = "absent")]
    pub reason: Reason,
    /// What happened, as a fragment that can stand after the reason: `/sys/class/dmi/id/product_serial: needs root`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Absent {
    /// An absence for `reason`, explained by `detail`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Absent {
        Absent { reason, detail: detail.into() }
    }

    /// No such device, tool, file or library here.
    pub fn not_present(detail: impl Into<String>) -> Absent {
        Absent::new(Reason::NotPresent, detail)
    }

    /// Asking gave an error.
    pub fn failed(detail: impl Into<String>) -> Absent {
        Absent::new(Reason::Failed, detail)
    }

    /// Asking is not allowed to this user.
    pub fn denied(detail: impl Into<String>) -> Absent {
        Absent::new(Reason::Denied, detail)
    }

    /// The device does not have this.
    pub fn not_supported(detail: impl Into<String>) -> Absent {
        Absent::new(Reason::NotSupported, detail)
    }

    /// Reads an absence back from its JSON form; `None` when `value` is anything else.
    pub fn from_json(value: &Value) -> Option<Absent> {
        let map = value.as_object()?;
        if !map.contains_key("absent") || map.keys().any(|key| key != "absent" && key != "detail") {
            return None;
        }
        Absent::deserialize(value).ok()
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("absent".into(), self.reason.word().into());
        if !self.detail.is_empty() {
            map.insert("detail".into(), self.detail.as_str().into());
        }
        Value::Object(map)
    }
}

impl fmt::Display for Absent {
    /// `denied: /sys/…: needs root`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => write!(f, "{}", self.reason),
            detail => write!(f, "{}: {detail}", self.reason),
        }
    }
}

/// A field of an observation: the value, or why it is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<T>(pub Result<T, Absent>);

impl<T> Fact<T> {
    /// The value, when it is present.
    pub fn value(&self) -> Option<&T> {
        self.0.as_ref().ok()
    }
}

impl<T> From<Result<T, Absent>> for Fact<T> {
    fn from(result: Result<T, Absent>) -> Fact<T> {
        Fact(result)
    }
}

impl<T> From<T> for Fact<T> {
    fn from(value: T) -> Fact<T> {
        Fact(Ok(value))
    }
}

impl<T: Serialize> Serialize for Fact<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(value) => value.serialize(serializer),
            Err(absent) => absent.serialize(serializer),
        }
    }
}

/// The schema of a fact is that of its value: what an expression reads is the value, and any field may be absent.
impl<T: JsonSchema> JsonSchema for Fact<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// What one probe answered, and how long that took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The JSON form of the probe's typed answer, or of its absence.
    pub value: Value,
    /// From the moment the probe was asked until its last part had answered or was given up; in a snapshot, in
    /// microseconds.
    #[serde(rename = "took_us", default, with = "microseconds")]
    pub took: Duration,
}

mod microseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// Something that did not answer or crashed while the node was observed: a finding of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The probe that was asked.
    pub probe: String,
    /// The part of it that was asked, as a person would name it (`/home, served by nfs1:/home`); empty for the whole.
    pub part: String,
    /// What happened: `did not answer in 3 s`, `the worker was killed by signal 11`.
    pub what: String,
    /// The detail of every absence that came of it.
    #[serde(default)]
    pub detail: String,
    /// Whether it was a deadline (else a crash).
    pub timed_out: bool,
}

/// An earlier reading of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// How much earlier it was, in seconds.
    pub seconds: f64,
    /// What probes without arguments answered then, by name.
    pub plain: BTreeMap<String, Observation>,
}

/// Everything that was observed of one node: the one input of judging.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observations {
    /// Probes without arguments, by name.
    pub plain: BTreeMap<String, Observation>,
    /// Probes with arguments, by [`Observations::key`].
    pub asked: BTreeMap<String, Observation>,
    /// What hung or crashed meanwhile.
    pub incidents: Vec<Incident>,
    /// An earlier reading of the same node, for counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Set when the run was ended early: by whom or what (`Ctrl-C`, `the run's deadline of 30 s`).
    pub cut_short: Option<String>,
}

impl Observations {
    /// The key under which the answer to `probe` with these final arguments is kept.
    pub fn key(probe: &str, arguments: &Value) -> String {
        format!("{probe} {arguments}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_absent_fact_is_written_with_its_reason_and_read_back() {
        let fact: Fact<u32> = Fact(Err(Absent::denied("needs root")));
        let written = serde_json::to_value(&fact).unwrap();
        assert_eq!(written, json!({"absent": "denied", "detail": "needs root"}));
        assert_eq!(Absent::from_json(&written), Some(Absent::denied("needs root")));
        assert_eq!(Absent::from_json(&written).unwrap().to_json(), written);
    }

    #[test]
    fn a_map_that_only_looks_like_an_absence_is_a_value() {
        assert_eq!(Absent::from_json(&json!({"absent": "denied", "name": "x"})), None);
        assert_eq!(Absent::from_json(&json!({"absent": "yesterday"})), None);
        assert_eq!(Absent::from_json(&json!({"detail": "x"})), None);
    }

    #[test]
    fn reasons_count_in_the_order_of_the_design() {
        let mut reasons = Reason::ALL;
        reasons.sort();
        assert_eq!(reasons, Reason::ALL);
        assert!(Reason::Timeout < Reason::NotSupported);
    }
}
