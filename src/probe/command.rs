//! `command`: what a command on the node prints, and how it ends.

use super::subprocess::Keep;
use super::{PROBE_DEADLINE, Probe, answer, arguments_of, parse_duration, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) const PROBE: Probe = Probe {
    name: "command",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Command>,
    arguments: Some(schema_of::<CommandArguments>),
    ask: |source, arguments, progress| {
        let arguments: CommandArguments = arguments_of(arguments)?;
        let timeout = parse_duration(&arguments.timeout).ok_or_else(|| {
            Absent::failed(format!("timeout: expected a duration such as 10s, found \"{}\"", arguments.timeout))
        })?;
        let cap = arguments.max_output_bytes.min(LONGEST) as usize;
        let keep = Keep { each: cap, room: Some(source.printed()) };
        let output = source.command_fed(&arguments.argv, &[], timeout, keep, &|group| progress.started(group))?;
        // Lines and JSON are kept beside the text that they are made of.
        if arguments.parse != Parse::Text && !source.printed().take(output.stdout.len()) {
            return Err(source.printed().full(&arguments.argv));
        }
        let stdout = String::from_utf8(output.stdout)
            .unwrap_or_else(|not_utf8| String::from_utf8_lossy(not_utf8.as_bytes()).into_owned());
        let ended_by = || Absent::failed(format!("signal {} ended it", output.signal.unwrap_or_default()));
        answer(&Command {
            exit_status: output.exit.ok_or_else(ended_by).into(),
            signal: output.signal.ok_or_else(|| Absent::not_present("it ended by itself")).into(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            lines: match arguments.parse {
                Parse::Lines => stdout.lines().map(str::to_string).collect::<Vec<_>>().into(),
                _ => Fact(Err(Absent::failed("`parse: lines` was not asked for"))),
            },
            json: match arguments.parse {
                Parse::Json => parsed(&stdout).into(),
                _ => Fact(Err(Absent::failed("`parse: json` was not asked for"))),
            },
            stdout,
            truncated: output.truncated,
            duration_seconds: output.took.as_secs_f64(),
        })
    },
};

/// The most output that can be asked for, in bytes.
const LONGEST: u64 = 4 << 20;

/// Which command, and what to make of its output.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CommandArguments {
    /// The command and its arguments, word by word. There is no shell; a name without a slash is looked for in the
    /// system's own folders.
    #[schemars(length(min = 1))]
    argv: Vec<String>,
    /// What its standard output is: text, lines or JSON; text if left out.
    #[serde(default)]
    parse: Parse,
    /// How long it may run: 10 seconds if left out. Then it gets TERM, half a second later KILL, and the answer as a
    /// whole is absent (timeout).
    #[serde(default = "default_timeout")]
    #[schemars(extend("format" = "duration"))]
    timeout: String,
    /// How much is kept of its standard output, and as much of its standard error, in bytes: 1 MiB if left out, at
    /// most 4 MiB. What prints more than 64 MiB is killed. Of all commands of a run 8 MiB are kept; the answers of
    /// those beyond that are absent (failed).
    #[serde(default = "default_max_output_bytes")]
    #[schemars(range(min = 1, max = 4194304))]
    max_output_bytes: u64,
}

/// What a command's standard output is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Parse {
    /// Text, in `stdout`.
    #[default]
    Text,
    /// Lines, in `lines` too.
    Lines,
    /// One JSON value, in `json` too.
    Json,
}

fn default_timeout() -> String {
    "10s".to_string()
}

fn default_max_output_bytes() -> u64 {
    1 << 20
}

/// What a command printed and how it ended. It runs without a shell, in the folder /, with no standard input, with
/// `LC_ALL=C`, a fixed PATH, HOME and SLURM_CONF for its whole environment. The answer as a whole is absent when there is no such
/// command (not present), when it may not be executed (denied) and when it did not end in time (timeout).
#[derive(Debug, Serialize, JsonSchema)]
struct Command {
    /// Its exit status. Absent (failed) when a signal ended it.
    exit_status: Fact<i32>,
    /// The signal that ended it. Absent (not present) when it ended by itself.
    signal: Fact<i32>,
    /// Its standard output, up to `max_output_bytes`; bytes that are not UTF-8 read as U+FFFD.
    stdout: String,
    /// Its standard error, up to `max_output_bytes`; bytes that are not UTF-8 read as U+FFFD.
    stderr: String,
    /// The lines of `stdout`. Absent (failed) unless asked for with `parse: lines`.
    lines: Fact<Vec<String>>,
    /// `stdout` read as JSON. Absent (failed) when it is none, or unless asked for with `parse: json`.
    json: Fact<Value>,
    /// Whether it printed more than was kept.
    truncated: bool,
    /// How long it ran, in seconds; 0 for a recorded one.
    duration_seconds: f64,
}

fn parsed(stdout: &str) -> Result<Value, Absent> {
    serde_json::from_str(stdout).map_err(|error| Absent::failed(format!("the output is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, RecordedCommand, Source};
    use serde_json::json;

    #[test]
    fn output_is_read_as_asked() {
        let ask = |arguments: Value| (PROBE.ask)(&Source::live(), &arguments, &Silent).unwrap();
        let echo = |parse: &str| ask(json!({"argv": ["printf", "[1,\n2]"], "parse": parse}));
        assert_eq!(echo("json")["json"], json!([1, 2]));
        assert_eq!(echo("lines")["lines"], json!(["[1,", "2]"]));
        let text = echo("text");
        assert_eq!((&text["stdout"], &text["exit_status"]), (&json!("[1,\n2]"), &json!(0)));
        assert_eq!((&text["json"]["absent"], &text["lines"]["absent"]), (&json!("failed"), &json!("failed")));
        let broken = ask(json!({"argv": ["echo", "slurm_load_node error"], "parse": "json"}));
        assert_eq!((&broken["json"]["absent"], &broken["exit_status"]), (&json!("failed"), &json!(0)));
        let cut = ask(json!({"argv": ["echo", "abcdef"], "max_output_bytes": 3}));
        assert_eq!((&cut["stdout"], &cut["truncated"]), (&json!("abc"), &json!(true)));
        let killed = ask(json!({"argv": ["sh", "-c", "kill -11 $$"]}));
        assert_eq!((&killed["signal"], &killed["exit_status"]["absent"]), (&json!(11), &json!("failed")));
    }

    #[test]
    fn a_command_that_gives_no_answer_is_absent_as_a_whole() {
        let reason = |arguments: Value| (PROBE.ask)(&Source::live(), &arguments, &Silent).unwrap_err().reason;
        assert_eq!(reason(json!({"argv": ["no-such-tool-here"]})), Reason::NotPresent);
        assert_eq!(reason(json!({"argv": ["sleep", "9"], "timeout": "50ms"})), Reason::Timeout);
        assert_eq!(reason(json!({"argv": ["true"], "timeout": "soon"})), Reason::Failed);
        assert_eq!(reason(json!({"argv": []})), Reason::Failed);
        assert_eq!(reason(json!({"argv": "true"})), Reason::Failed);
    }

    #[test]
    fn a_recorded_command_answers_without_running() {
        let commands: Vec<RecordedCommand> =
            serde_yaml::from_str("- {argv: [scontrol, ping], exit: 1, stdout: '{}', stderr: down}").unwrap();
        let source = Source::dead("/nowhere".as_ref(), Recorded { commands, ..Default::default() });
        let answer = (PROBE.ask)(&source, &json!({"argv": ["scontrol", "ping"], "parse": "json"}), &Silent).unwrap();
        assert_eq!((&answer["exit_status"], &answer["json"]), (&json!(1), &json!({})));
        assert_eq!((&answer["stderr"], &answer["duration_seconds"]), (&json!("down"), &json!(0.0)));
    }
}
