//! `dns`: the addresses of a name.

use super::{PROBE_DEADLINE, Probe, answer, arguments_of, parse_duration, schema_of, talk};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) const PROBE: Probe = Probe {
    name: "dns",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Name>,
    arguments: Some(schema_of::<NameArguments>),
    ask: |source, arguments, _| {
        let arguments: NameArguments = arguments_of(arguments)?;
        let heard = talk::resolve(source, &arguments.name, timeout(&arguments.timeout)?)?;
        let (addresses, error) = match heard.what {
            Ok(addresses) => (addresses.iter().map(ToString::to_string).collect(), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        answer(&Name {
            resolved: error.is_none(),
            name: arguments.name,
            addresses,
            error: Fact(error.ok_or_else(|| Absent::not_present("it was resolved"))),
            took_seconds: heard.took.as_secs_f64(),
        })
    },
};

/// A timeout among arguments.
pub(super) fn timeout(text: &str) -> Result<std::time::Duration, Absent> {
    let wrong = || Absent::failed(format!("timeout: expected a duration such as 5s, found \"{text}\""));
    parse_duration(text).ok_or_else(wrong)
}

/// How long a server may take, unless a check says otherwise: that of a resolver's first try (resolv.conf(5)).
pub(super) fn default_timeout() -> String {
    "5s".to_string()
}

/// Which name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NameArguments {
    /// The name of a host.
    #[schemars(length(min = 1))]
    name: String,
    /// How long it may take: 5 seconds if left out. Then `resolved` is false.
    #[serde(default = "default_timeout")]
    #[schemars(extend("format" = "duration"))]
    timeout: String,
}

/// What this node makes of a name, by its hosts file and its DNS servers as /etc/nsswitch.conf orders them
/// (getaddrinfo(3)). The answer as a whole is absent (not_recorded) where the node is seen from another root, whose
/// resolver is not the one that would answer.
#[derive(Debug, Serialize, JsonSchema)]
struct Name {
    /// The name that was asked for.
    name: String,
    /// Whether there is an address.
    resolved: bool,
    /// Its IPv4 and IPv6 addresses, sorted.
    addresses: Vec<String>,
    /// What kept it from being resolved, in the system's words. Absent (not_present) when it was.
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
    fn a_recorded_name_answers_as_it_did() {
        let yaml = "recorded: 2026-01-01T00:00:00Z\nanswers:\n  name a: {addresses: [10.0.0.1, '::1']}\n  name b: {error: no answer in 5 s, took_seconds: 5}\n";
        let recorded: Recorded = serde_yaml::from_str(yaml).unwrap();
        let source = Source::dead("/nowhere".as_ref(), recorded);
        let ask = |name: &str| (PROBE.ask)(&source, &json!({"name": name}), &Silent);
        assert_eq!(ask("a").unwrap()["addresses"], json!(["10.0.0.1", "::1"]));
        let b = ask("b").unwrap();
        assert_eq!(
            (&b["resolved"], &b["error"], &b["took_seconds"]),
            (&json!(false), &json!("no answer in 5 s"), &json!(5.0))
        );
        assert_eq!(ask("c").unwrap_err().reason, Reason::NotPresent);
        assert_eq!(
            (PROBE.ask)(&source, &json!({"name": "a", "timeout": "x"}), &Silent).unwrap_err().reason,
            Reason::Failed
        );
    }
}
