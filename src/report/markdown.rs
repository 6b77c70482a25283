//! The report as Markdown, for an issue tracker or a ticket: what GitHub, GitLab and their like render, and what still
//! reads well where nothing renders it.

use super::Report;
use super::fold::fold;
use super::words::{self, clipped};
use crate::judge::{Item, Outcome, Status};
use crate::printable::printable;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How the Markdown is laid out.
#[derive(Debug, Clone, Copy)]
pub struct MarkdownOptions {
    /// Only the verdict, and a line for each item with its first step.
    pub brief: bool,
    /// Every outcome besides.
    pub all: bool,
}

/// The longest text that is shown, in characters.
const LONGEST: usize = 500;

/// How many items the short form has.
const BRIEF_ITEMS: usize = 20;

/// The report as Markdown.
pub fn to_markdown(report: &Report, options: MarkdownOptions) -> String {
    let mut text = String::new();
    if options.brief {
        brief(&mut text, report);
        return text;
    }
    let _ = writeln!(text, "# {}: {}\n", plain(words::name(&report.node)), words::verdict(report));
    let _ = writeln!(text, "{}\n", plain(&identity(report)));
    for (place, found) in report.items.iter().enumerate() {
        item(&mut text, place + 1, found, report);
    }
    untold(&mut text, report);
    waived(&mut text, report);
    if options.all {
        all(&mut text, report);
    }
    let _ = writeln!(text, "---\n\n{}", footer(report));
    text
}

fn identity(report: &Report) -> String {
    let mut parts = words::identity(&report.node);
    parts.push(words::time(report));
    parts.join(" · ")
}

fn brief(text: &mut String, report: &Report) {
    let _ = writeln!(
        text,
        "**{}: {}** · {}\n",
        plain(words::name(&report.node)),
        words::verdict(report),
        plain(&identity(report))
    );
    for (place, item) in report.items.iter().take(BRIEF_ITEMS).enumerate() {
        let certainty = item.certainty.map(|certainty| format!(" ({})", words::word(certainty))).unwrap_or_default();
        let location = if item.location.is_empty() { String::new() } else { format!(" – {}", code(&item.location)) };
        let next = item.next.first().map(|next| format!("  \n   → {}", plain(next))).unwrap_or_default();
        let severity = item.severity.word();
        let _ = writeln!(text, "{}. **{severity}** {}{certainty}{location}{next}", place + 1, plain(&item.title));
    }
    match report.items.len() {
        0 => {}
        count if count > BRIEF_ITEMS => {
            let _ = writeln!(text, "\n… and {} more.\n", count - BRIEF_ITEMS);
        }
        _ => text.push('\n'),
    }
    let _ = writeln!(text, "{}", footer(report));
}

fn item(text: &mut String, number: usize, item: &Item, report: &Report) {
    let _ = writeln!(text, "## {number}. {}: {}\n", item.severity.word(), plain(&item.title));
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "- **{name}:** {value}");
        }
    };
    row("Where", if item.location.is_empty() { String::new() } else { code(&item.location) });
    row("Seen", words::seen(item).into_iter().map(plain).collect::<Vec<_>>().join("; "));
    row("How sure", item.certainty.map(words::word).unwrap_or_default());
    let names: Vec<String> = words::explained(item, report).iter().map(|name| code(name)).collect();
    row("Explains", names.join(", "));
    row("Why it matters", item.why.as_deref().map(plain).unwrap_or_default());
    row("Who acts", item.who.map(words::word).unwrap_or_default());
    row("Check", item.cause.as_deref().or(item.check.as_deref()).map(code).unwrap_or_default());
    row("More", item.refs.iter().map(|link| plain(link)).collect::<Vec<_>>().join(" "));
    match item.next.as_slice() {
        [] => {}
        [only] => row("Next", plain(only)),
        several => {
            row("Next", " ".into());
            for (number, step) in several.iter().enumerate() {
                let _ = writeln!(text, "  {}. {}", number + 1, plain(step));
            }
        }
    }
    text.push('\n');
}

fn untold(text: &mut String, report: &Report) {
    let unknown: Vec<&Outcome> = report.outcomes.iter().filter(|one| one.status == Status::Unknown).collect();
    if unknown.is_empty() {
        return;
    }
    let _ = writeln!(text, "## Could not be told\n\n| Check | Why |\n|---|---|");
    let mut rows: Vec<(&str, &str, usize)> = Vec::new();
    for outcome in unknown {
        match rows.last_mut() {
            Some((check, why, count)) if *check == outcome.check && *why == outcome.message => *count += 1,
            _ => rows.push((&outcome.check, &outcome.message, 1)),
        }
    }
    for (check, why, count) in rows {
        let times = if count == 1 { String::new() } else { format!(" ×{count}") };
        let _ = writeln!(text, "| {}{times} | {} |", cell_code(check), plain(why));
    }
    text.push('\n');
}

fn waived(text: &mut String, report: &Report) {
    let mut waived = report.outcomes.iter().filter(|outcome| outcome.waived.is_some()).peekable();
    if waived.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "## Waived by the site\n\n| Check | Found | Why and until when |\n|---|---|---|");
    for outcome in waived {
        let why = words::waived(outcome).unwrap_or_default();
        let _ = writeln!(text, "| {} | {} | {} |", cell_code(&outcome.check), plain(&outcome.message), plain(&why));
    }
    text.push('\n');
}

fn all(text: &mut String, report: &Report) {
    let _ = writeln!(text, "## All outcomes\n\n| Status | Check | What about | Answer |\n|---|---|---|---|");
    let folds = fold(&report.outcomes, &BTreeSet::new());
    for status in Status::ALL {
        for fold in folds.iter().filter(|fold| fold.first.status == status) {
            let about = match fold.members.as_slice() {
                [_] if fold.first.subject.key.is_none() => String::new(),
                [_] => cell_code(&fold.first.subject.to_string()),
                several => format!("{} × {}", several.len(), plain(&fold.first.subject.kind)),
            };
            let (check, answer) = (cell_code(&fold.first.check), plain(&fold.first.message));
            let _ = writeln!(text, "| {} | {check} | {about} | {answer} |", status.word());
        }
    }
    text.push('\n');
}

fn footer(report: &Report) -> String {
    let mut parts = vec![words::totals(report)];
    parts.extend(words::counts(report));
    parts.push(format!("{} {}", report.tool.name, report.tool.version));
    let notices: String = words::notices(report).iter().map(|sentence| format!(" {}", plain(sentence))).collect();
    format!("{}. {}{notices}", plain(&parts.join(" · ")), words::touched(report)).replace('\n', " ")
}

/// A text that Markdown shows as it is: every character that could mean something has a backslash before it, or is
/// written as a reference (`<`, `&`, and `@`, which calls people).
fn plain(text: &str) -> String {
    let text = printable(&clipped(text, LONGEST));
    let mut shown = String::with_capacity(text.len());
    let is_link = text.starts_with("https://") || text.starts_with("http://");
    for (at, c) in text.char_indices() {
        match c {
            // A link is a link as long as nothing in it is escaped.
            '_' | '~' | '#' if is_link && !text.contains(' ') => shown.push(c),
            // In the midst of a word these mean nothing, and names are full of them.
            '_' if inside_word(&text, at) => shown.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '{' | '}' | '$' => shown.extend(['\\', c]),
            '#' | '+' | '-' | '=' | '!' if at == 0 => shown.extend(['\\', c]),
            '#' if text[at + 1..].starts_with(|c: char| c.is_ascii_digit()) => shown.push_str("&#35;"),
            '.' | ')' if at > 0 && text[..at].bytes().all(|byte| byte.is_ascii_digit()) => shown.extend(['\\', c]),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '&' => shown.push_str("&amp;"),
            '@' => shown.push_str("&#64;"),
            c => shown.push(c),
        }
    }
    shown.trim().to_string()
}

fn inside_word(text: &str, at: usize) -> bool {
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    word(text[..at].chars().next_back()) && word(text[at + 1..].chars().next())
}

/// A text as code: within more backquotes than it has itself.
fn code(text: &str) -> String {
    let text = printable(&clipped(text, LONGEST));
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A text as code in a table, where a bar would end the cell even there.
fn cell_code(text: &str) -> String {
    if text.contains('|') { plain(text) } else { code(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shows_as_it_is() {
        assert_eq!(
            plain("a_b <script> *x* | `c` [l](u) @all #12"),
            "a_b &lt;script&gt; \\*x\\* \\| \\`c\\` \\[l\\](u) &#64;all &#35;12"
        );
        assert_eq!(plain("1. no list"), "1\\. no list");
        assert_eq!(plain("- no list"), "\\- no list");
        assert_eq!(plain("https://a/b_c_d"), "https://a/b_c_d");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(cell_code("a|b"), "a\\|b");
    }
}
