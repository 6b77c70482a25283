//! The report as a person reads it in a terminal.

use super::{Report, words};
use crate::judge::{Item, Outcome, Status};
use crate::printable::printable;
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

/// The column in which the text of an item's rows begins.
const INDENT: usize = 14;

/// The report as text. Colours follow the global switch of the crate `colored`.
pub fn to_text(report: &Report, options: &TextOptions) -> String {
    let mut text = String::new();
    for line in heading(report, options.width) {
        let _ = writeln!(text, "{}", line.bold());
    }
    text.push('\n');
    punch_list(&mut text, report, options.width);
    if options.all {
        all_outcomes(&mut text, report, options.width);
    }
    if options.timings {
        timings(&mut text, report);
    }
    let _ = writeln!(text, "{}", wrapped(&summary(report), options.width, 0));
    for sentence in words::notices(report) {
        let _ = writeln!(text, "{}", wrapped(&printable(&sentence), options.width, 0).yellow());
    }
    let _ = writeln!(text, "{}", words::touched(report));
    text
}

/// `gpu042 · 8 × NVIDIA H100 80GB HBM3 · driver 550.90.07 · Ubuntu 22.04 · kernel 5.15.0 · 2026-11-22 10:14:03 UTC`
fn heading(report: &Report, width: usize) -> Vec<String> {
    let mut parts = vec![words::name(&report.node).to_string()];
    parts.extend(words::identity(&report.node));
    parts.push(words::time(report));
    // Broken between its parts only.
    let mut lines: Vec<String> = Vec::new();
    for part in parts.iter().map(|part| printable(part)) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + part.chars().count() <= width => {
                line.push_str(" · ");
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

fn punch_list(text: &mut String, report: &Report, width: usize) {
    let verdict = words::verdict(report);
    let verdict = if report.items.is_empty() { verdict.green() } else { verdict.bold() };
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
    let certainty = item.certainty.map(|certainty| format!("  {}", words::word(certainty)));
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
    if !item.location.is_empty() {
        row("where", &item.location);
    }
    // What a cause was found by is evidence, a line each.
    let seen = words::seen(item);
    match item.cause {
        Some(_) => seen.iter().enumerate().for_each(|(at, line)| row(if at == 0 { "seen" } else { "" }, line)),
        None => row("seen", &seen.join("; ")),
    }
    row("explains", &words::explains(item, report));
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
    row("who", item.who.map(words::word).as_deref().unwrap_or_default());
    row("check", item.check.as_deref().unwrap_or_default());
    row("more", &item.refs.join(" "));
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
    let waived = words::waived(outcome).map(|waived| format!(" ({waived})")).unwrap_or_default();
    let line = format!("{}{subject}: {}{waived}", outcome.check, outcome.message);
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
    let mut parts = vec![words::totals(report)];
    parts.extend(words::counts(report));
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
