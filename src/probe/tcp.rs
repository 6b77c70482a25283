//! `tcp`: whether a server takes connections.

use super::dns::{default_timeout, timeout};
use super::{PROBE_DEADLINE, Probe, answer, arguments_of, schema_of, talk};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) const PROBE: Probe = Probe {
    name: "tcp",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Connection>,
    arguments: Some(schema_of::<ConnectionArguments>),
    ask: |source, arguments, _| {
        let arguments: ConnectionArguments = arguments_of(arguments)?;
        let heard = talk::connect(source, &arguments.host, arguments.port, timeout(&arguments.timeout)?)?;
        answer(&Connection {
            connected: heard.what.is_ok(),
            host: arguments.host,
            port: arguments.port,
            error: Fact(heard.what.err().ok_or_else(|| Absent::not_present("it was made"))),
            took_seconds: heard.took.as_secs_f64(),
        })
    },
};

/// Which server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConnectionArguments {
    /// Its name or address.
    #[schemars(length(min = 1))]
    host: String,
    /// Its port.
    #[schemars(range(min = 1))]
    port: u16,
    /// How long resolving the name and connecting may take: 5 seconds if left out. Then `connected` is false.
    #[serde(default = "default_timeout")]
    #[schemars(extend("format" = "duration"))]
    timeout: String,
}

/// Whether a TCP connection could be made; nothing is sent over it. The answer as a whole is absent (not_recorded)
/// from a container with a network of its own.
#[derive(Debug, Serialize, JsonSchema)]
struct Connection {
    /// The host that was asked.
    host: String,
    /// The port that was asked.
    port: u16,
    /// Whether the connection was made.
    connected: bool,
    /// What kept it from being made, in the system's words. Absent (not_present) when it was.
    error: Fact<String>,
    /// How long it took, in seconds.
    took_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::Source;
    use serde_json::json;

    #[test]
    fn a_server_that_listens_is_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ask = || (PROBE.ask)(&Source::live(), &json!({"host": "127.0.0.1", "port": port}), &Silent).unwrap();
        assert_eq!((&ask()["connected"], &ask()["error"]["absent"]), (&json!(true), &json!("not_present")));
        drop(listener);
        let refused = ask();
        assert_eq!((&refused["connected"], &refused["error"]), (&json!(false), &json!("connection refused")));
    }
}
