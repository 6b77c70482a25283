//! `punchlist probes`: what can be asked of a node, with every field. Made of the probes' own doc comments.

use super::formats::{width, wrapped};
use super::{Failure, ListFormat, OK, print};
use crate::checklist;
use crate::expression::{Schemas, Type, near};
use crate::probe::{PROBES, Probe};
use clap::Args;
use colored::Colorize;
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

/// List what can be asked of a node; with names, every field of these probes.
#[derive(Args)]
pub(super) struct Probes {
    /// Probes to explain.
    #[arg(value_name = "PROBE")]
    names: Vec<String>,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
}

impl Probes {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let schemas = checklist::schemas();
        for name in &self.names {
            if !PROBES.iter().any(|probe| probe.name == name) {
                let hint = near(name, PROBES.iter().map(|probe| probe.name));
                let hint = hint.map(|one| format!("; did you mean `{one}`?")).unwrap_or_default();
                return Err(Failure::usage(format!("no probe is called `{name}`{hint}")));
            }
        }
        let chosen: Vec<&Probe> = PROBES
            .iter()
            .filter(|probe| self.names.is_empty() || self.names.iter().any(|name| name == probe.name))
            .collect();
        print(&match self.format {
            ListFormat::Json => {
                let probes: Vec<Json> = chosen
                    .iter()
                    .map(|probe| {
                        json!({
                            "name": probe.name,
                            "deadline_seconds": probe.deadline.as_secs_f64(),
                            "answer": answer(&schemas, probe),
                            "arguments": schemas.arguments(probe.name),
                        })
                    })
                    .collect();
                let document = json!({ "probes": probes, "$defs": schemas.definitions });
                format!("{}\n", serde_json::to_string_pretty(&document).unwrap_or_default())
            }
            ListFormat::Text if self.names.is_empty() => overview(&schemas, &chosen),
            ListFormat::Text => chosen.iter().map(|probe| reference(&schemas, probe)).collect::<Vec<_>>().join("\n"),
        })?;
        Ok(OK)
    }
}

fn answer<'s>(schemas: &'s Schemas, probe: &Probe) -> &'s Json {
    schemas.names.get(probe.name).or_else(|| schemas.answers.get(probe.name)).unwrap_or(&Json::Null)
}

/// The record that a probe answers, or of which it answers a list.
fn record<'s>(schemas: &'s Schemas, schema: &'s Json) -> &'s Json {
    let schema = schemas.follow(schema);
    if schema["type"] == "array" { schemas.follow(&schema["items"]) } else { schema }
}

fn described(schema: &Json) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The width of the column of names.
const NAMES: usize = 17;

fn overview(schemas: &Schemas, probes: &[&Probe]) -> String {
    let mut text = String::new();
    for probe in probes {
        let about = described(record(schemas, answer(schemas, probe)));
        let arguments = if probe.arguments.is_some() { " (with arguments, under `observe:`)" } else { "" };
        let about = wrapped(&format!("{about}{arguments}"), width(), NAMES);
        let _ = writeln!(text, "{}{about}", format!("{:<NAMES$}", probe.name).bold());
    }
    text.push_str("\nEvery field of one: punchlist probes NAME\n");
    text
}

/// What a probe is for, in a sentence.
pub(super) fn about(schemas: &Schemas, probe: &Probe) -> String {
    described(record(schemas, answer(schemas, probe)))
}

/// Every field of what a probe takes and answers, laid out to be read.
pub(super) fn fields_of(schemas: &Schemas, probe: &Probe) -> String {
    let reference = reference(schemas, probe);
    // Its heading says what `about` says.
    reference.split_once("\n\n").map(|(_, fields)| fields.to_string()).unwrap_or_default()
}

fn reference(schemas: &Schemas, probe: &Probe) -> String {
    let mut text = String::new();
    let schema = answer(schemas, probe);
    let record = record(schemas, schema);
    let list = matches!(schemas.type_of(schema), Type::List(_));
    let _ = writeln!(text, "{}", probe.name.bold());
    let _ = writeln!(text, "  {}{}", if list { "A list. Each: " } else { "" }, wrapped(&described(record), width(), 2));
    if let Some(subject) = record["x-subject"].as_str() {
        let key = record["x-key"].as_str().unwrap_or_default();
        let _ = writeln!(text, "  As a subject it is a {subject}, named by its `{key}`.");
    }
    if let Some(arguments) = schemas.arguments(probe.name) {
        let _ = writeln!(text, "\n  Arguments:");
        fields(&mut text, schemas, arguments, 4);
        let _ = writeln!(text, "\n  Answer:");
    } else {
        text.push('\n');
    }
    fields(&mut text, schemas, record, 4);
    text
}

fn fields(text: &mut String, schemas: &Schemas, record: &Json, indent: usize) {
    let required: Vec<&str> = record["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let is_arguments = indent == 4 && record["additionalProperties"] == false;
    for (name, field) in record["properties"].as_object().into_iter().flatten() {
        let kind = schemas.type_of(field);
        let followed = schemas.follow(field);
        let about = match described(field) {
            about if about.is_empty() => described(followed),
            about => about,
        };
        let kind_name = match &kind {
            Type::List(inside) => format!("a list of {}", inside.name().trim_start_matches("a ")),
            Type::Map(inside) => format!("a map to {}", inside.name().trim_start_matches("a ")),
            Type::Word(words) => format!("one of: {}", words.join(", ")),
            other => other.name().to_string(),
        };
        let needed = if is_arguments && required.contains(&name.as_str()) { ", required" } else { "" };
        let pad = " ".repeat(indent);
        let _ = writeln!(text, "{pad}{} {}", name.bold(), format!("({kind_name}{needed})").dimmed());
        if !about.is_empty() {
            let _ = writeln!(text, "{pad}    {}", wrapped(&about, width(), indent + 4));
        }
        let inside = match kind {
            Type::List(inside) => *inside,
            other => other,
        };
        if let Type::Record(inside) = inside {
            fields(text, schemas, inside, indent + 4);
        }
    }
}
