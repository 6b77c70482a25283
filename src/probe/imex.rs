//! `imex`: the daemon through which GPUs of several nodes share memory over NVLink.

use super::nvidia_log::{self, DaemonLog};
use super::parts::Progress;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "imex",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Imex>,
    arguments: None,
    ask: |source, _, progress| answer(&observe(source, progress)?),
};

const PROGRAM: &str = "/usr/bin/nvidia-imex";
const CONTROL: &str = "/usr/bin/nvidia-imex-ctl";
const SETTINGS: &str = "/etc/nvidia-imex/config.cfg";
const NODES: &str = "/etc/nvidia-imex/nodes_config.cfg";
const LOG: &str = "/var/log/nvidia-imex.log";
const CHANNELS: &str = "/dev/nvidia-caps-imex-channels";
const STATE_TIMEOUT: Duration = Duration::from_secs(5);

/// The daemon through which GPUs of several nodes share memory over NVLink (GB200 and later). Absent (not present) where
/// it is not installed.
#[derive(Debug, Serialize, JsonSchema)]
struct Imex {
    /// The nodes of its domain, as its settings list them (/etc/nvidia-imex/nodes_config.cfg). Absent (not present) where
    /// the list is missing.
    nodes: Fact<Vec<String>>,
    /// What this node's daemon says of itself (`nvidia-imex-ctl -q`): `READY`, `INITIALIZING`, `STARTING_AUTH_SERVER`,
    /// `UNAVAILABLE` and others. Absent (not present) where the tool is missing, (failed) when no daemon answers it.
    state: Fact<String>,
    /// Channels that programs may use (/dev/nvidia-caps-imex-channels).
    channels_count: Fact<u64>,
    /// What it wrote to its log.
    log: Fact<DaemonLog>,
}

fn observe(source: &Source, progress: &dyn Progress) -> Result<Imex, Absent> {
    if !source.exists(PROGRAM) && !source.exists(SETTINGS) {
        return Err(Absent::not_present("IMEX is not installed"));
    }
    let channels =
        source.names(CHANNELS).map(|names| names.iter().filter(|name| name.starts_with("channel")).count() as u64);
    Ok(Imex {
        nodes: Fact(source.text(NODES).map(|text| nodes(&text))),
        state: Fact(state(source, progress)),
        channels_count: Fact(match channels {
            Err(absent) if absent.reason == Reason::NotPresent => Ok(0),
            channels => channels,
        }),
        log: Fact(nvidia_log::read(source, LOG, "IMEX version")),
    })
}

/// One address a line; `#` begins a comment.
fn nodes(text: &str) -> Vec<String> {
    let addresses = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    addresses.filter(|address| !address.is_empty()).map(str::to_string).collect()
}

fn state(source: &Source, progress: &dyn Progress) -> Result<String, Absent> {
    if source.recorded().is_none() && !source.exists(CONTROL) {
        return Err(Absent::not_present(format!("{CONTROL} is not installed")));
    }
    let argv = [CONTROL.to_string(), "-q".to_string()];
    let output = source.command(&argv, STATE_TIMEOUT, 16 << 10, &|group| progress.started(group))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // One word; newer versions write more around it.
    let is_state = |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    match text.split_whitespace().rfind(is_state) {
        Some(state) if output.exit == Some(0) => Ok(state.to_string()),
        _ => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let said = [stderr.trim(), text.trim()].into_iter().find(|said| !said.is_empty()).unwrap_or("no answer");
            Err(Absent::failed(format!("nvidia-imex-ctl -q: {}", clipped(said))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, RecordedCommand, tree_of};

    fn asked(stdout: &str, exit: i32) -> Imex {
        let yaml = format!("- {{argv: [{CONTROL}, -q], exit: {exit}, stdout: \"{stdout}\"}}");
        let commands: Vec<RecordedCommand> = serde_yaml::from_str(&yaml).unwrap();
        let files = [
            ("etc/nvidia-imex/config.cfg", ""),
            ("etc/nvidia-imex/nodes_config.cfg", "# rack 3\n10.0.0.1\n10.0.0.2 # tray 2\n\n"),
            ("dev/nvidia-caps-imex-channels/channel0", ""),
        ];
        let (_dir, source) = tree_of(&files, Recorded { commands, ..Default::default() });
        observe(&source, &Silent).unwrap()
    }

    #[test]
    fn the_daemon_says_how_it_is() {
        let ready = asked("READY\\n", 0);
        assert_eq!((ready.state, ready.channels_count), (Fact(Ok("READY".into())), Fact(Ok(1))));
        assert_eq!(ready.nodes, Fact(Ok(vec!["10.0.0.1".into(), "10.0.0.2".into()])));
        assert_eq!(asked("Node state: INITIALIZING\\n", 0).state, Fact(Ok("INITIALIZING".into())));
        for (text, exit) in [("", 0), ("connection refused", 1), ("READY", 1), ("\\0", 0)] {
            assert_eq!(asked(text, exit).state.0.unwrap_err().reason, Reason::Failed, "{text:?}");
        }
    }

    #[test]
    fn a_node_without_it_has_none() {
        let (_dir, source) = tree_of(&[("proc/version", "")], Recorded::default());
        assert_eq!(observe(&source, &Silent).unwrap_err().reason, Reason::NotPresent);
    }
}
