//! Logs of NVIDIA's daemons (fabric manager, IMEX): `[Nov 19 2026 03:12:44] [ERROR] [tid 841] text`.

use super::source::{Source, absent_from_io, clipped};
use crate::fact::{Absent, Fact};
use chrono::{NaiveDateTime, SecondsFormat};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{Read, Seek, SeekFrom};

/// What is read from the end of a log; the daemons write little once they run.
const TAIL: u64 = 1 << 20;
/// More different messages than help anybody.
const MOST_MESSAGES: usize = 50;

/// What a daemon wrote to its log since it was started last.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct DaemonLog {
    /// The log.
    path: String,
    /// When the daemon was started last, by the node's own clock (`2026-11-19T03:12:44`). Absent (not present) where the
    /// part that was read, the last mebibyte, does not show it.
    pub(super) started: Fact<String>,
    /// The version that was started then.
    pub(super) version: Fact<String>,
    /// Errors since then, each different one once, the latest last; at most 50.
    pub(super) errors: Vec<DaemonError>,
    /// All that it wrote since then, for what a daemon's own probe looks for.
    #[serde(skip)]
    pub(super) text: String,
}

/// An error that a daemon wrote to its log.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct DaemonError {
    /// What it says, at most 300 characters.
    message: String,
    /// How often.
    count: u64,
    /// When it said so last, by the node's own clock.
    last_time: Fact<String>,
}

/// Reads a log. `start` begins what the daemon says when it starts, right before its version.
pub(super) fn read(source: &Source, path: &str, start: &str) -> Result<DaemonLog, Absent> {
    let failed = |error: std::io::Error| absent_from_io(path, &error);
    let mut file = source.open(path)?;
    let length = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).map_err(failed)?;
    Ok(since_start(&String::from_utf8_lossy(&bytes), path, start))
}

fn since_start(text: &str, path: &str, start: &str) -> DaemonLog {
    let begin = text.rfind(start).map(|at| text[..at].rfind('\n').map_or(0, |end| end + 1));
    let text = &text[begin.unwrap_or(0)..];
    let unseen = || Absent::not_present(format!("{path} does not show a start in its last {} MiB", TAIL >> 20));
    let first = begin.and_then(|_| text.lines().next());
    let version = first.and_then(|line| {
        let (_, after) = line.split_once(start)?;
        let version = after.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        Some(version.trim_end_matches([',', '.']).to_string())
    });
    let mut errors: Vec<DaemonError> = Vec::new();
    for line in text.lines() {
        let Some((time, message)) = error_of(line) else { continue };
        let message: String = message.chars().filter(|c| !c.is_control()).take(300).collect();
        let known = errors.iter().position(|error| error.message == message);
        let count = known.map_or(0, |at| errors.remove(at).count);
        errors.push(DaemonError { message, count: count + 1, last_time: Fact(time) });
        if errors.len() > MOST_MESSAGES {
            errors.remove(0);
        }
    }
    DaemonLog {
        path: path.to_string(),
        started: Fact(first.ok_or_else(unseen).and_then(|line| time_of(line).0)),
        version: Fact(version.ok_or_else(unseen)),
        errors,
        text: text.to_string(),
    }
}

/// Time and message of a line that tells an error.
fn error_of(line: &str) -> Option<(Result<String, Absent>, &str)> {
    let (_, after) = line.split_once("[ERROR]").or_else(|| line.split_once("[FATAL]"))?;
    let after = after.trim_start();
    let message = match after.strip_prefix("[tid ") {
        Some(rest) => rest.split_once(']')?.1,
        None => after,
    };
    Some((time_of(line).0, message.trim()))
}

fn time_of(line: &str) -> Fact<String> {
    let time = line.trim_start().strip_prefix('[').and_then(|rest| Some(rest.split_once(']')?.0));
    let parsed = time.and_then(|time| NaiveDateTime::parse_from_str(time, "%b %d %Y %H:%M:%S").ok());
    let stamp = |time: NaiveDateTime| time.and_utc().to_rfc3339_opts(SecondsFormat::Secs, true).replace('Z', "");
    Fact(parsed.map(stamp).ok_or_else(|| Absent::failed(format!("no time in \"{}\"", clipped(line)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[Nov 18 2026 01:00:00] [INFO] [tid 7] Fabric Manager version 550.54.15 is running with these options\n\
        [Nov 18 2026 01:00:01] [ERROR] [tid 7] of an earlier start\n\
        [Nov 19 2026 03:12:44] [INFO] [tid 9] Fabric Manager version 550.90.07 is running with these options\n\
        [Nov 19 2026 03:12:45] [ERROR] [tid 9] a link is down\n\
        plain words\n\
        [Nov 19 2026 03:12:46] [ERROR] [tid 10] another one\n\
        [Nov 19 2026 03:12:47] [ERROR] [tid 9] a link is down\n";

    #[test]
    fn only_what_came_since_the_last_start_counts() {
        let log = since_start(LOG, "/log", "Fabric Manager version");
        assert_eq!((log.started, log.version), (Fact(Ok("2026-11-19T03:12:44".into())), Fact(Ok("550.90.07".into()))));
        let errors: Vec<(&str, u64)> = log.errors.iter().map(|error| (error.message.as_str(), error.count)).collect();
        assert_eq!(errors, [("another one", 1), ("a link is down", 2)]);
        assert_eq!(log.errors[1].last_time, Fact(Ok("2026-11-19T03:12:47".into())));
    }

    #[test]
    fn a_log_without_a_start_or_of_garbage_says_so() {
        for text in ["", "\u{fffd}\u{0}[ERROR", "[ERROR] [tid no end", "[Nob 33 2026] [ERROR] x\n"] {
            let log = since_start(text, "/log", "Fabric Manager version");
            assert!(log.started.0.is_err() && log.version.0.is_err(), "{text:?}");
            assert!(log.errors.len() <= 1);
        }
        let many: String = (0..900).map(|n| format!("[ERROR] message {n}\n")).collect();
        let log = since_start(&many, "/log", "Fabric Manager version");
        assert_eq!((log.errors.len(), log.errors[49].message.as_str()), (MOST_MESSAGES, "message 899"));
    }
}
