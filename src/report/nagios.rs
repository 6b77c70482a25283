//! The report as a monitoring plugin prints it: one line with performance data. The exit status says the same anywhere.

use super::Report;
use super::words::{self, clipped};
use crate::judge::Status;
use crate::printable::{counted, printable};

/// The longest line: plugins' output is read up to 4 KiB (Monitoring Plugins Development Guidelines), and a page or a
/// message shows less.
const LONGEST: usize = 1000;

/// The report as one line. The word at its beginning is that of the exit status.
pub fn to_nagios(report: &Report) -> String {
    let summary = &report.summary;
    let state = match summary.exit_status {
        0 => "OK",
        1 => "WARNING",
        2 => "CRITICAL",
        _ => "UNKNOWN",
    };
    let mut parts = Vec::new();
    if let Some(first) = report.items.first() {
        parts.push(first.title.clone());
        match report.items.len() - 1 {
            0 => {}
            more => parts.push(format!("{more} more to fix")),
        }
    } else {
        parts.push(words::verdict(report));
    }
    let of = |status: Status| summary.by_status.get(status.word()).copied().unwrap_or(0);
    if of(Status::Unknown) > 0 {
        parts.push(format!("{} could not be told", counted(of(Status::Unknown), "outcome", "outcomes")));
    }
    parts.extend(report.run.cut_short.as_ref().map(|by| format!("ended early by {by}")));
    parts.push(counted(summary.checks, "check", "checks"));
    // A bar would begin the performance data, a line break the long output.
    let said = printable(&clipped(&parts.join("; "), LONGEST)).replace('|', "/");
    let items = |severity: Status| report.items.iter().filter(|item| item.severity == severity).count();
    format!(
        "PUNCHLIST {state} - {said} | critical={} warning={} unknown={} pass={} skipped={} time={:.3}s\n",
        items(Status::Critical),
        items(Status::Warning),
        of(Status::Unknown),
        of(Status::Pass),
        of(Status::Skipped),
        report.run.duration_ms / 1000.0,
    )
}
