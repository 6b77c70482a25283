//! The report as a person reads it in a terminal.

use super::Report;
use crate::judge::{Item, Outcome, Status};
use crate::printable::{counted, printable};
use colored::{Color, Colorize};
use std::fmt::Write as _;

/// How the text is laid out.
pub struct TextOptions {
    /// Whether every outcome is listed, not only the punch list.
    pub all: bool,
    /// Whether the time that each probe took is listed.
    pub timings: bool,
    /// How many columns there are.
    pub width: usize,
}

/// The longest explanation that is shown beside an author's own words, in bytes.
const LONG: usize = 110;

/// The column in which the text of an item's rows begins.
const INDENT: usize = 14;

/// The report as text. Colours follow the global switch of the crate `colored`.
pub fn to_text(report: &Report, options: &TextOptions) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n", heading(report).bold());
    punch_list(&mut text, report, options.width);
    if options.all {
        all_outcomes(&mut text, report, options.width);
    }
    if options.timings {
        timings(&mut text, report);
    }
    let _ = writeln!(text, "{}", wrapped(&summary(report), options.width, 0));
    if let Some(by) = &report.run.cut_short {
        let _ = writeln!(text, "{}", format!("The run was ended early by {}.", printable(by)).yellow());
    }
    let touched = match (report.run.recorded, report.run.loaded) {
        (true, _) => "What was recorded was judged; no machine was asked.",
        (false, true) => "Checks that load the node were allowed.",
        (false, false) => "The node was read, not put under load.",
    };
    let _ = writeln!(text, "{touched}");
    text
}

/// `gpu042 · 8 × NVIDIA H100 80GB HBM3 · driver 550.90.07 · Ubuntu 22.04 · kernel 5.15.0 · 2026-11-22 10:14:03 UTC`
fn heading(report: &Report) -> String {
    let node = &report.node;
    let mut parts = vec![node.name.clone().unwrap_or_else(|| "a node without a name".into())];
    parts.extend(node.gpus.iter().map(|(name, count)| format!("{count} × {name}")));
    parts.extend(node.driver.as_ref().map(|driver| format!("driver {driver}")));
    parts.extend(node.product.clone());
    parts.extend(node.os.clone());
    parts.extend(node.kernel.as_ref().map(|kernel| format!("kernel {kernel}")));
    parts.push(report.run.started.replace('T', " ").replace('Z', " UTC"));
    printable(&parts.join(" · "))
}

fn punch_list(text: &mut String, report: &Report, width: usize) {
    let verdict = match report.items.len() {
        0 => "nothing to fix".green(),
        count => format!("{count} to fix").bold(),
    };
    let _ = writeln!(text, "{} · {verdict}", "PUNCH LIST".bold());
    for (number, item) in report.items.iter().enumerate() {
        one_item(text, number + 1, item, report, width);
    }
    text.push('\n');
}

fn colour(status: Status) -> Color {
    match status {
        Status::Critical => Color::Red,
        Status::Warning => Color::Yellow,
        Status::Unknown => Color::Magenta,
        Status::Info => Color::Cyan,
        Status::Pass => Color::Green,
        Status::Skipped => Color::BrightBlack,
    }
}

fn one_item(text: &mut String, number: usize, item: &Item, report: &Report, width: usize) {
    let severity = item.severity.word().to_uppercase();
    let certainty = item.certainty.map(|certainty| format!("  {}", format!("{certainty:?}").to_lowercase()));
    let title = format!("{}{}", printable(&item.title), certainty.unwrap_or_default());
    let title = wrapped(&title, width, INDENT);
    let _ = writeln!(
        text,
        "{number:>2}  {} {}",
        format!("{severity:<9}").color(colour(item.severity)).bold(),
        title.bold()
    );
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ =
                writeln!(text, "    {}{}", format!("{name:<10}").dimmed(), wrapped(&printable(value), width, INDENT));
        }
    };
    if item.subject.key.is_some() {
        row("where", &item.subject.to_string());
    }
    // The message often says it all; what it does not say is worth a line.
    // Where the author's words say it, long formulas only get in the way; the JSON has them all.
    let worth = |seen: &&String| **seen != item.title && (item.title.contains(seen.as_str()) || seen.len() <= LONG);
    let seen: Vec<&str> = item.seen.iter().filter(worth).map(String::as_str).collect();
    row("seen", &seen.join("; "));
    if item.check.is_none() {
        row("explains", &explained(item, report));
    }
    row("why", item.why.as_deref().unwrap_or_default());
    match item.next.as_slice() {
        [] => {}
        [only] => row("next", only),
        several => {
            for (number, step) in several.iter().enumerate() {
                row(if number == 0 { "next" } else { "" }, &format!("{}. {step}", number + 1));
            }
        }
    }
    row("who", item.who.map(|who| format!("{who:?}").to_lowercase()).as_deref().unwrap_or_default());
    row("check", item.check.as_deref().unwrap_or_default());
    row("more", &item.refs.join(" "));
}

/// `21 outcomes: gpu.present, nvlink.active ×18, slurm.gres`
fn explained(item: &Item, report: &Report) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for outcome in item.explains.iter().filter_map(|number| report.outcomes.get(*number)) {
        match counts.iter_mut().find(|(check, _)| *check == outcome.check) {
            Some((_, count)) => *count += 1,
            None => counts.push((&outcome.check, 1)),
        }
    }
    let names: Vec<String> = counts
        .into_iter()
        .map(|(check, count)| if count == 1 { check.to_string() } else { format!("{check} ×{count}") })
        .collect();
    match names.len() {
        0 => String::new(),
        _ => format!("{}: {}", counted(item.explains.len(), "outcome", "outcomes"), names.join(", ")),
    }
}

fn all_outcomes(text: &mut String, report: &Report, width: usize) {
    let _ = writeln!(text, "{}", "ALL OUTCOMES".bold());
    for status in Status::ALL {
        for outcome in report.outcomes.iter().filter(|outcome| outcome.status == status) {
            one_outcome(text, outcome, width);
        }
    }
    text.push('\n');
}

fn one_outcome(text: &mut String, outcome: &Outcome, width: usize) {
    let subject = outcome.subject.key.as_ref().map(|_| format!(" [{}]", outcome.subject)).unwrap_or_default();
    let line = format!("{}{subject}: {}", outcome.check, outcome.message);
    let word = format!("{:<9}", outcome.status.word()).color(colour(outcome.status));
    let _ = writeln!(text, "  {word} {}", wrapped(&printable(&line), width, 12));
}

fn timings(text: &mut String, report: &Report) {
    let _ = writeln!(text, "{}", "TIMINGS".bold());
    for timing in &report.timings {
        let _ = writeln!(text, "  {:>9.2} ms  {}", timing.ms, printable(&timing.probe));
    }
    text.push('\n');
}

/// `512 outcomes of 227 checks · 478 pass · 3 unknown: run as root to settle them · 9 skipped · 0.04 s`
fn summary(report: &Report) -> String {
    let summary = &report.summary;
    let mut parts = vec![format!(
        "{} of {}",
        counted(summary.outcomes, "outcome", "outcomes"),
        counted(summary.checks, "check", "checks")
    )];
    for status in [Status::Pass, Status::Critical, Status::Warning, Status::Info, Status::Unknown, Status::Skipped] {
        let Some(count) = summary.by_status.get(status.word()) else { continue };
        let root = match summary.denied {
            0 => String::new(),
            _ if status != Status::Unknown || report.run.as_root => String::new(),
            denied if denied == *count => ": run as root to settle them".to_string(),
            denied => format!(": run as root to settle {denied} of them"),
        };
        parts.push(format!("{count} {}{root}", status.word()));
    }
    parts.push(format!("{:.2} s", report.run.duration_ms / 1000.0));
    parts.join(" · ")
}

/// The text broken into lines of `width`, the first of which begins in column `indent`, as do the others.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    // Only at spaces: a name or an address with a hyphen in it has to survive being copied.
    let layout = textwrap::Options::new(width.saturating_sub(indent).max(20))
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    let lines = textwrap::wrap(text, layout);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}
