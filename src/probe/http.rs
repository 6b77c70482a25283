//! `http`: what a server answers to a plain HTTP request.

use super::dns::{default_timeout, timeout};
use super::{PROBE_DEADLINE, Probe, answer, arguments_of, schema_of, talk};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) const PROBE: Probe = Probe {
    name: "http",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Answer>,
    arguments: Some(schema_of::<AnswerArguments>),
    ask: |source, arguments, _| {
        let arguments: AnswerArguments = arguments_of(arguments)?;
        let heard =
            talk::fetch(source, &arguments.url, timeout(&arguments.timeout)?, arguments.max_bytes.min(LONGEST))?;
        let (page, error) = match heard.what {
            Ok(page) => (Ok(page), None),
            Err(error) => (Err(Absent::failed(error.clone())), Some(error)),
        };
        let body = page.as_ref().map(|page| String::from_utf8_lossy(&page.body).into_owned()).map_err(Clone::clone);
        answer(&Answer {
            url: arguments.url,
            answered: page.is_ok(),
            status: Fact(page.as_ref().map(|page| page.status).map_err(Clone::clone)),
            json: Fact(body.clone().and_then(|body| {
                serde_json::from_str(&body).map_err(|error| Absent::failed(format!("the body is not JSON: {error}")))
            })),
            body: Fact(body),
            truncated: Fact(page.map(|page| page.truncated)),
            error: Fact(error.ok_or_else(|| Absent::not_present("it answered"))),
            took_seconds: heard.took.as_secs_f64(),
        })
    },
};

/// The most that can be asked for of a body, in bytes.
const LONGEST: u64 = 1 << 20;

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnswerArguments {
    /// `http://HOST:PORT/PATH`. What is encrypted (https) cannot be asked; see whether its server takes connections
    /// with the probe `tcp`.
    #[schemars(length(min = 8))]
    url: String,
    /// How long it may take in all: 5 seconds if left out. Then `answered` is false.
    #[serde(default = "default_timeout")]
    #[schemars(extend("format" = "duration"))]
    timeout: String,
    /// How much is kept of the body, in bytes: 64 KiB if left out, at most 1 MiB.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1, max = 1048576))]
    max_bytes: u64,
}

fn default_max_bytes() -> u64 {
    64 << 10
}

/// What a server answers to GET. Redirections are not followed. The answer as a whole is absent (not_recorded) from a
/// container with a network of its own.
#[derive(Debug, Serialize, JsonSchema)]
struct Answer {
    /// The URL that was asked.
    url: String,
    /// Whether the server answered, with whatever status.
    answered: bool,
    /// The status: 200 is well. Absent (failed) without an answer.
    status: Fact<u16>,
    /// The body, up to `max_bytes`. Absent (failed) without an answer.
    body: Fact<String>,
    /// The body read as JSON. Absent (failed) when it is none.
    json: Fact<Value>,
    /// Whether the body is longer than what was kept. Absent (failed) without an answer.
    truncated: Fact<bool>,
    /// What kept the server from answering, in the system's words. Absent (not_present) when it answered.
    error: Fact<String>,
    /// How long it took, in seconds.
    took_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, Source};
    use serde_json::json;

    #[test]
    fn a_page_that_is_recorded_or_refused_is_answered() {
        let yaml = "recorded: 2026-01-01T00:00:00Z\nanswers:\n  http://a/: {status: 200, body: '{\"x\": 1}'}\n  http://b/: {error: connection refused}\n";
        let recorded: Recorded = serde_yaml::from_str(yaml).unwrap();
        let source = Source::dead("/nowhere".as_ref(), recorded);
        let ask = |url: &str| (PROBE.ask)(&source, &json!({"url": url}), &Silent);
        let page = ask("http://a/").unwrap();
        assert_eq!((&page["status"], &page["json"], &page["answered"]), (&json!(200), &json!({"x": 1}), &json!(true)));
        let refused = ask("http://b/").unwrap();
        assert_eq!((&refused["answered"], &refused["status"]["absent"]), (&json!(false), &json!("failed")));
        assert_eq!(ask("http://c/").unwrap_err().reason, Reason::NotPresent);
        assert_eq!(ask("https://c/").unwrap_err().reason, Reason::Failed);
    }
}
