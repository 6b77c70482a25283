//! What was found, for people and for programs.

use super::find::{Answer, Page, Row};
use crate::cli::formats::wrapped;
use crate::printable::printable;
use colored::{Color, Colorize};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;

/// The column in which the text of a row begins.
const INDENT: usize = 17;

/// How much of a pasted line is shown again, in characters.
const MOST_SHOWN: usize = 300;

pub(super) fn text(answer: &Answer, width: usize) -> String {
    let mut text = String::new();
    if answer.is_ambiguous {
        text.push_str("This can mean several things:\n\n");
        let by_kind = |page: &Page| {
            let id = if page.id.contains(':') { page.id.clone() } else { format!("{}:{}", page.kind, page.id) };
            Page { id, ..page.clone() }
        };
        listing(&mut text, &answer.pages.iter().map(by_kind).collect::<Vec<_>>(), width);
        text.push_str("\nOne of them: punchlist explain NAME\n");
        return text;
    }
    if let Some(note) = &answer.note {
        let _ = writeln!(text, "{}\n", note.dimmed());
    }
    for (number, page) in answer.pages.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        whole(&mut text, page, width);
    }
    if !answer.list.is_empty() {
        if !answer.pages.is_empty() {
            text.push_str("\nAlso:\n");
        }
        listing(&mut text, &answer.list, width);
        if answer.pages.is_empty() {
            text.push_str("\nOne of them: punchlist explain NAME\n");
        }
    }
    text
}

fn whole(text: &mut String, page: &Page, width: usize) {
    let heading = match page.kind {
        "message" => page.title.clone(),
        "xid" => format!("Xid {} · {}", page.id.trim_start_matches("xid:"), page.title),
        "sxid" => format!("SXid {} · {}", page.id.trim_start_matches("sxid:"), page.title),
        kind => format!("{} · {kind} · {}", page.id, page.title),
    };
    let severity = page.severity.map(|word| format!("{}  ", word.to_uppercase()));
    let colour = match page.severity {
        Some("critical") => Color::Red,
        Some("warning") => Color::Yellow,
        _ => Color::Cyan,
    };
    let heading = wrapped(&printable(&heading), width.saturating_sub(severity.as_ref().map_or(0, String::len)), 0);
    let _ = writeln!(text, "{}{}", severity.unwrap_or_default().color(colour).bold(), heading.bold());
    for (name, row) in &page.rows {
        let mut label = name.replace('_', " ");
        let mut line = |value: &str| {
            let shown = wrapped(&printable(value), width, INDENT);
            let _ = writeln!(text, "  {}{shown}", format!("{label:<15}").dimmed());
            label.clear();
        };
        match row {
            // Its number stands in the heading.
            Row::Number(_) => {}
            Row::Text(value) if *name == "said" => line(&shortened(value)),
            Row::Text(value) | Row::Word(value) => line(value),
            Row::List(list) if matches!(*name, "tags" | "explains" | "sources" | "sources_say" | "sources_differ") => {
                let separator = if name.starts_with("sources_") { " · " } else { ", " };
                line(&list.join(separator));
            }
            Row::List(list) => list.iter().for_each(|one| line(one)),
            Row::Steps(list) if list.len() == 1 => line(&list[0]),
            Row::Steps(list) => list.iter().enumerate().for_each(|(at, one)| line(&format!("{}. {one}", at + 1))),
            Row::Named(list) => list.iter().for_each(|(id, title)| line(&format!("{id}: {title}"))),
            Row::Block(block) => text.push_str(block),
        }
    }
}

fn listing(text: &mut String, pages: &[Page], width: usize) {
    let column = pages.iter().map(|page| page.id.chars().count()).filter(|count| *count <= 40).max().unwrap_or(0) + 2;
    for page in pages {
        // A message without a number is called by what it says.
        if page.id == page.title {
            let _ = writeln!(text, "  {}", wrapped(&format!("\"{}\"", printable(&page.title)), width, 4));
            continue;
        }
        let kind = if matches!(page.kind, "check" | "xid" | "sxid" | "message") {
            String::new()
        } else {
            format!("{}: ", page.kind)
        };
        let title = wrapped(&format!("{kind}{}", printable(&page.title)), width, column + 2);
        let _ = writeln!(text, "  {}{title}", format!("{:<column$}", page.id).bold());
    }
}

/// A pasted text as it is quoted: its first line, and not too much of it.
pub(super) fn shortened(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST_SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_string(),
    }
}

pub(super) fn json(asked: &str, answer: &Answer) -> String {
    let document = json!({
        "asked": asked.trim(),
        "ambiguous": answer.is_ambiguous,
        "explanations": answer.pages.iter().map(object).collect::<Vec<_>>(),
        "also": answer.list.iter().map(|page| json!({ "kind": page.kind, "id": page.id, "title": page.title })).collect::<Vec<_>>(),
    });
    format!("{}\n", serde_json::to_string_pretty(&document).unwrap_or_default())
}

fn object(page: &Page) -> Json {
    let mut object = Map::new();
    object.insert("kind".into(), page.kind.into());
    object.insert("id".into(), page.id.clone().into());
    object.insert("title".into(), page.title.clone().into());
    if let Some(severity) = page.severity {
        object.insert("severity".into(), severity.into());
    }
    for (name, row) in &page.rows {
        let value = match row {
            Row::Number(number) => (*number).into(),
            Row::Text(text) | Row::Word(text) => text.clone().into(),
            Row::List(list) | Row::Steps(list) => list.clone().into(),
            Row::Named(list) => list.iter().map(|(id, title)| json!({ "id": id, "title": title })).collect(),
            // `punchlist probes --format json` has it as a schema.
            Row::Block(_) => continue,
        };
        object.insert((*name).into(), value);
    }
    object.into()
}
