//! Several reports as a table: a line for each node, worst first.

use super::{Report, words};
use crate::judge::Status;
use crate::printable::printable;
use colored::{Color, Colorize};
use std::fmt::Write as _;

/// The reports as a table: node, verdict, first item. Colours follow the global switch of the crate `colored`.
pub fn to_table(reports: &[Report]) -> String {
    let mut rows: Vec<&Report> = reports.iter().collect();
    rows.sort_by_key(|report| (rank(report), std::cmp::Reverse(report.items.len()), words::name(&report.node)));
    let names: Vec<String> = rows.iter().map(|report| printable(words::name(&report.node))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(4, 40);
    let mut text = String::new();
    let _ = writeln!(text, "{}", format!("{:<width$}  {:<8}  {:>6}  FIRST ITEM", "NODE", "VERDICT", "TO FIX").bold());
    for (report, name) in rows.iter().zip(names) {
        let (word, colour) = match rank(report) {
            0 => ("critical", Color::Red),
            1 => ("warning", Color::Yellow),
            2 => ("unknown", Color::Magenta),
            _ => ("ok", Color::Green),
        };
        let first = match report.items.first() {
            Some(item) if item.location.is_empty() || item.title.contains(&item.location) => item.title.clone(),
            Some(item) => format!("{} ({})", item.title, item.location),
            None => words::cut_short(report).unwrap_or_default(),
        };
        let first = words::clipped(&first, 160);
        let (word, count) = (format!("{word:<8}").color(colour), report.items.len());
        let line = format!("{name:<width$}  {word}  {count:>6}  {}", printable(&first));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The worst has the lowest.
fn rank(report: &Report) -> usize {
    match report.items.iter().map(|item| item.severity).max() {
        Some(Status::Critical) => 0,
        Some(_) => 1,
        None if report.summary.exit_status != 0 => 2,
        None => 3,
    }
}
