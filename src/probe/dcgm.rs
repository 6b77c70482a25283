//! `dcgm`: what NVIDIA's own health watches say, where DCGM runs.

use super::parts::Progress;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "dcgm",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Dcgm>,
    arguments: None,
    ask: |source, _, progress| answer(&observe(source, progress)?),
};

const PROGRAMS: [&str; 2] = ["/usr/bin/dcgmi", "/usr/local/bin/dcgmi"];
const HEALTH: [&str; 4] = ["dcgmi", "health", "-c", "-j"];
const HEALTH_TIMEOUT: Duration = Duration::from_secs(8);
const HEALTH_CAP: usize = 1 << 20;
/// More incidents than one reads.
const MOST_INCIDENTS: usize = 200;

/// What NVIDIA's own health watches say (`dcgmi health -c -j`). Absent (not present) where DCGM is not installed.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Dcgm {
    /// Whether its daemon (nv-hostengine) answered.
    answers: Fact<bool>,
    /// Whether somebody switched the watches on. Absent (not present) when the daemon does not answer.
    watches: Fact<bool>,
    /// What they say of the node: `healthy`, `warning`, `failure`. Absent (not present) while they are off.
    overall: Fact<String>,
    /// What they found. Absent (not present) while they are off.
    incidents: Fact<Vec<DcgmIncident>>,
}

/// Something that a health watch found.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct DcgmIncident {
    /// What kind of thing it is about: `GPU`, `NvSwitch`, `CPU`.
    kind: String,
    /// Its number, as DCGM counts.
    number: String,
    /// Which watch: `PCIe`, `NVLINK`, `Memory`, `SM`, `InfoROM`, `Thermal`, `Power`, `Driver`.
    watch: String,
    /// How bad it is: `warning` or `failure`.
    health: String,
    /// What it says.
    message: String,
}

fn observe(source: &Source, progress: &dyn Progress) -> Result<Dcgm, Absent> {
    if !PROGRAMS.iter().any(|path| source.exists(path)) {
        return Err(Absent::not_present("DCGM is not installed (dcgmi)"));
    }
    let argv = HEALTH.map(ToString::to_string);
    let output = source.command(&argv, HEALTH_TIMEOUT, HEALTH_CAP, &|group| progress.started(group))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Ok(read(&stdout, &stderr))
}

/// What it printed: JSON, after a line of words in some versions; or why there is none.
fn read(stdout: &str, stderr: &str) -> Dcgm {
    let none = |answers: Result<bool, Absent>, watches: Result<bool, Absent>, absent: Absent| Dcgm {
        answers: Fact(answers),
        watches: Fact(watches),
        overall: Fact(Err(absent.clone())),
        incidents: Fact(Err(absent)),
    };
    let said = format!("{stdout}\n{stderr}").to_ascii_lowercase();
    if said.contains("unable to establish a connection") || said.contains("host engine is not running") {
        let absent = Absent::not_present("the daemon of DCGM (nv-hostengine) does not run");
        return none(Ok(false), Err(absent.clone()), absent);
    }
    if said.contains("watches not enabled") {
        return none(Ok(true), Ok(false), Absent::not_present("nobody has switched the health watches on"));
    }
    let json = stdout
        .find('{')
        .and_then(|at| serde_json::Deserializer::from_str(&stdout[at..]).into_iter::<Value>().next()?.ok());
    let Some(body) = json.as_ref().and_then(|json| json.get("body")).and_then(Value::as_object) else {
        let first = [stdout, stderr].into_iter().flat_map(str::lines).map(str::trim).find(|line| !line.is_empty());
        let absent = Absent::failed(format!("dcgmi health: \"{}\"", clipped(first.unwrap_or("no output"))));
        return none(Err(absent.clone()), Err(absent.clone()), absent);
    };
    let overall = body.get("Overall Health").and_then(value_of).map(|health| word(&health));
    let mut incidents = Vec::new();
    for (kind, entities) in body.iter().filter(|(kind, _)| *kind != "Overall Health") {
        for (number, entity) in children(entities) {
            let errors = children(entity).find(|(name, _)| *name == "Errors").map(|(_, errors)| errors);
            for (watch, found) in errors.into_iter().flat_map(children) {
                incidents.push(DcgmIncident {
                    kind: kind.clone(),
                    number: number.to_string(),
                    watch: watch.trim_end_matches(" system").to_string(),
                    health: value_of(found).map(|health| word(&health)).unwrap_or_default(),
                    message: messages(found),
                });
            }
        }
    }
    incidents.truncate(MOST_INCIDENTS);
    let unsaid = || Absent::failed("dcgmi health tells no overall health");
    Dcgm {
        answers: Fact(Ok(true)),
        watches: Fact(Ok(true)),
        incidents: Fact(if overall.is_some() { Ok(incidents) } else { Err(unsaid()) }),
        overall: Fact(overall.ok_or_else(unsaid)),
    }
}

/// What lies below an entry, by name.
fn children(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let children = value.get("children").and_then(Value::as_object);
    children.into_iter().flatten().map(|(name, child)| (name.as_str(), child))
}

fn value_of(value: &Value) -> Option<String> {
    value.get("value").and_then(Value::as_str).map(str::to_string)
}

/// `Healthy`, `Warning`, `Failure`, in the words of outcomes.
fn word(health: &str) -> String {
    health.trim().to_ascii_lowercase()
}

/// A long message is cut into lines, which JSON keeps as `overflow`: a list of texts, or of entries with a value.
fn messages(value: &Value) -> String {
    let lines = value.get("overflow").and_then(Value::as_array).into_iter().flatten();
    let text = |line: &Value| line.as_str().map(str::to_string).or_else(|| value_of(line));
    let all: Vec<String> = lines.filter_map(text).collect();
    all.join(" ").chars().filter(|c| !c.is_control()).take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;

    const WARNING: &str = r#"Health Monitor Report
{
  "body": {
    "GPU": {"children": {"3": {
      "children": {"Errors": {"children": {"Memory system": {
        "value": "Warning", "overflow": ["A pending page retirement was", "detected on GPU 3."]}}}},
      "value": "Warning"}}},
    "Overall Health": {"value": "Warning"}
  },
  "header": ["Health Monitor Report"]
}"#;

    #[test]
    fn incidents_are_read_from_the_tree() {
        let dcgm = read(WARNING, "");
        assert_eq!((dcgm.answers, dcgm.overall), (Fact(Ok(true)), Fact(Ok("warning".into()))));
        let incidents = dcgm.incidents.0.unwrap();
        assert_eq!(incidents.len(), 1);
        assert_eq!((incidents[0].kind.as_str(), incidents[0].number.as_str()), ("GPU", "3"));
        assert_eq!((incidents[0].watch.as_str(), incidents[0].health.as_str()), ("Memory", "warning"));
        assert_eq!(incidents[0].message, "A pending page retirement was detected on GPU 3.");
        let newer = WARNING.replace("\"A pending page retirement was\", \"detected on GPU 3.\"", "{\"value\": \"x\"}");
        assert_eq!(read(&newer, "").incidents.0.unwrap()[0].message, "x");
        let healthy = r#"{"body": {"Overall Health": {"value": "Healthy"}}, "header": ["Health Monitor Report"]}"#;
        assert_eq!(read(healthy, "").incidents, Fact(Ok(vec![])));
    }

    #[test]
    fn a_daemon_that_is_not_there_and_watches_that_are_off_are_told_apart() {
        let gone = read("", "Error: unable to establish a connection to the specified host: localhost\n");
        assert_eq!((gone.answers, gone.watches.0.unwrap_err().reason), (Fact(Ok(false)), Reason::NotPresent));
        let off = read("Error: Health watches not enabled. Please enable watches. \n", "");
        assert_eq!((off.answers, off.watches), (Fact(Ok(true)), Fact(Ok(false))));
        assert_eq!(off.overall.0.unwrap_err().reason, Reason::NotPresent);
    }

    #[test]
    fn another_format_is_no_health() {
        for text in
            ["", "{", "{}", "{\"body\": []}", "+----+\n| Health |\n", "{\"body\": {\"Overall Health\": 7}}", "\u{0}"]
        {
            let dcgm = read(text, "");
            assert_eq!(dcgm.overall.0.unwrap_err().reason, Reason::Failed, "{text:?}");
            assert_eq!(dcgm.incidents.0.unwrap_err().reason, Reason::Failed, "{text:?}");
        }
    }
}
