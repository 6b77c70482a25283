//! The report as metrics in the text format of Prometheus (exposition format 0.0.4), for the textfile collector of the
//! node exporter. It names the node by no label: who scrapes knows whom.

use super::{Report, words};
use crate::judge::Status;
use crate::printable::printable;
use chrono::DateTime;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The longest value of a label, in characters: labels are kept for ever.
const LONGEST: usize = 200;

/// How many items have a series each.
const MOST_ITEMS: usize = 100;

/// The report as metrics. There is a series for each entry of the punch list, and one for each check that did not
/// merely pass: what is well is counted, so that a large fleet stays cheap to watch.
pub fn to_prometheus(report: &Report) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, series: Vec<(Vec<(&str, String)>, f64)>| {
        let _ = writeln!(text, "# HELP punchlist_{name} {help}\n# TYPE punchlist_{name} gauge");
        for (labels, value) in series {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", label(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "punchlist_{name}{labels} {value}");
        }
    };
    let one = |value: f64| vec![(Vec::new(), value)];
    let started = DateTime::parse_from_rfc3339(&report.run.started).map(|time| time.timestamp() as f64);
    if let Ok(started) = started {
        metric("run_timestamp_seconds", "When the run began, in seconds since 1970.", one(started));
    }
    metric("run_duration_seconds", "How long the run took.", one(report.run.duration_ms / 1000.0));
    metric(
        "run_exit_status",
        "The exit status: 0 nothing to fix, 1 warning, 2 critical, 3 unknown or ended early.",
        one(f64::from(report.summary.exit_status)),
    );
    metric("run_cut_short", "Whether the run was ended early.", one(f64::from(report.run.cut_short.is_some())));
    metric("run_as_root", "Whether the run was by root.", one(f64::from(report.run.as_root)));
    let info = vec![
        ("version", report.tool.version.clone()),
        ("driver", report.node.driver.clone().unwrap_or_default()),
        ("kernel", report.node.kernel.clone().unwrap_or_default()),
    ];
    metric("info", "The version of the program, and what it ran on; always 1.", vec![(info, 1.0)]);
    metric("checks", "How many checks took part.", one(report.summary.checks as f64));
    let by_status = Status::ALL.map(|status| {
        let count = report.outcomes.iter().filter(|one| one.status == status && one.waived.is_none()).count();
        (vec![("status", status.word().to_string())], count as f64)
    });
    metric("outcomes", "How many outcomes there are of each status; waived ones aside.", by_status.to_vec());
    let waived = report.outcomes.iter().filter(|outcome| outcome.waived.is_some()).count();
    metric("outcomes_waived", "How many outcomes the site puts up with.", one(waived as f64));
    let items = [Status::Critical, Status::Warning].map(|status| {
        let count = report.items.iter().filter(|item| item.severity == status).count();
        (vec![("severity", status.word().to_string())], count as f64)
    });
    metric("items", "How many entries the punch list has.", items.to_vec());
    // Two items that only texts tell apart which are cut here would be one series twice, which voids the whole file.
    let mut series: BTreeMap<Vec<(&str, String)>, f64> = BTreeMap::new();
    for item in report.items.iter().take(MOST_ITEMS) {
        let id = item.cause.as_ref().or(item.check.as_ref()).cloned().unwrap_or_else(|| "incident".into());
        let labels = vec![
            ("id", id),
            ("severity", item.severity.word().into()),
            ("certainty", item.certainty.map(words::word).unwrap_or_default()),
            ("who", item.who.map(words::word).unwrap_or_default()),
            ("where", item.location.clone()),
        ];
        let labels = labels.into_iter().map(|(name, value)| (name, shortened(&value))).collect();
        *series.entry(labels).or_default() += 1.0;
    }
    metric("item", "The first hundred entries of the punch list; how many are alike.", series.into_iter().collect());
    let mut series: BTreeMap<Vec<(&str, String)>, f64> = BTreeMap::new();
    let quiet = |status: Status| matches!(status, Status::Pass | Status::Skipped);
    for outcome in report.outcomes.iter().filter(|one| !quiet(one.status) && one.waived.is_none()) {
        let labels = vec![("check", shortened(&outcome.check)), ("status", outcome.status.word().into())];
        *series.entry(labels).or_default() += 1.0;
    }
    metric(
        "check_outcomes",
        "How many outcomes each check gave, by status; checks that pass or do not apply aside.",
        series.into_iter().collect(),
    );
    text
}

fn shortened(value: &str) -> String {
    value.chars().take(LONGEST).collect()
}

/// The value of a label: backslash, quote and line feed are escaped, what a terminal obeys is written out.
fn label(value: &str) -> String {
    printable(value).replace('\\', "\\\\").replace('"', "\\\"")
}
