//! `punchlist redact`: redacts what was saved, shows what would be replaced, and finds who a pseudonym is.

use super::output::OutputFile;
use super::output::WRITE_LIMIT;
use super::pseudonyms::{KeyFile, Pseudonyms};
use super::saved::{self, Saved};
use super::{Failure, ListFormat, OK, patience, print};
use crate::observe::Snapshot;
use crate::printable::{counted, printable};
use crate::report::redact::{Kind, Replaced};
use crate::report::{Report, to_json};
use clap::Args;
use colored::Colorize;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Redact a saved report or snapshot: replace what says whose it is by pseudonyms.
///
/// Exit status: 0 when it was done, 64 wrong usage, 65 a file is bad or the pseudonym is not known, 74 the output could
/// not be written.
#[derive(Args)]
pub(super) struct RedactSaved {
    /// A report or snapshot to redact; with --who, originals to look in, or texts with names (/etc/hosts).
    #[arg(value_name = "FILE", required_unless_present = "who")]
    files: Vec<PathBuf>,
    /// Write the redacted file to FILE instead of standard output.
    #[arg(short, long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    /// List what would be replaced, and where, and write nothing.
    #[arg(long, conflicts_with = "output")]
    preview: bool,
    /// Find what a pseudonym stands for (host-3f9a04d1, or its beginning): in the list beside the key, and in FILEs.
    #[arg(long, value_name = "PSEUDONYM", conflicts_with_all = ["output", "preview"])]
    who: Option<String>,
    /// How to print what is listed.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
    #[command(flatten)]
    key: KeyFile,
}

impl RedactSaved {
    pub(super) fn run(self) -> Result<i32, Failure> {
        patience::answer(&self.files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        if let Some(who) = &self.who {
            return self.find(who);
        }
        let [path] = self.files.as_slice() else {
            return Err(Failure::usage("one file is redacted at a time; for several, run it once for each"));
        };
        let saved = Saved::read(path)?;
        let output = self.output.as_deref().map(OutputFile::prepare).transpose()?;
        let mut pseudonyms = self.key.pseudonyms()?;
        if self.preview {
            pseudonyms.redactor.remember_places();
        }
        let text = redacted(&saved, &mut pseudonyms)?;
        if self.preview {
            print(&preview(&pseudonyms.redactor.replaced(), self.format))?;
            return Ok(OK);
        }
        pseudonyms.keep();
        match output {
            Some(output) => output.write(text, WRITE_LIMIT)?,
            None => print(&text)?,
        }
        Ok(OK)
    }

    /// Finds what a pseudonym stands for.
    fn find(&self, who: &str) -> Result<i32, Failure> {
        let kind = who.split_once('-').and_then(|(word, digits)| {
            let fits = digits.len() >= 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            Kind::of_word(word).filter(|_| fits)
        });
        let Some(kind) = kind else {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
            return Err(Failure::usage(format!(
                "--who {who}: a pseudonym is a kind, a dash and at least four hexadecimal digits (host-3f9a); the kinds \
                 are {}",
                kinds.join(", ")
            )));
        };
        let who = who.to_ascii_lowercase();
        let mut pseudonyms = self.key.existing()?;
        let mut found: BTreeSet<(String, String)> = BTreeSet::new();
        for entry in pseudonyms.entries().map_err(Failure::bad_input)? {
            if entry.pseudonym.starts_with(&who) {
                found.insert((entry.pseudonym, entry.original));
            }
        }
        for path in &self.files {
            let bytes = saved::bytes(path)?;
            // What is in a report or snapshot is found as it was when it was redacted …
            if let Ok(mut document) = serde_json::from_slice::<Json>(&bytes) {
                pseudonyms.redactor.redact(&mut document);
            }
            // … and any text may hold names.
            let text = String::from_utf8_lossy(&bytes);
            let words: BTreeSet<&str> = text.split(|c: char| c.is_whitespace() || "\"'(),;=[]{}".contains(c)).collect();
            for word in words {
                // `cn118` of `cn118.cluster.example` as well.
                for name in [word, word.split('.').next().unwrap_or_default()] {
                    let pseudonym = pseudonyms.redactor.pseudonym_of(kind, name);
                    if !name.is_empty() && pseudonym.starts_with(&who) {
                        found.insert((pseudonym, name.to_string()));
                    }
                }
            }
        }
        for replaced in pseudonyms.redactor.replaced() {
            if replaced.pseudonym.starts_with(&who) {
                found.insert((replaced.pseudonym.clone(), replaced.original.clone()));
            }
        }
        // Several spellings are one thing.
        if found.is_empty() {
            let secret = if kind == Kind::Secret { " (secrets are never kept there)" } else { "" };
            return Err(Failure::bad_input(format!(
                "{who}: not in the list beside this key{secret}; name files that it may stand in, such as the original, \
                 or give the key that was used: --redact-key"
            )));
        }
        print(&match self.format {
            ListFormat::Json => {
                let found: Vec<Json> = found
                    .iter()
                    .map(|(pseudonym, original)| json!({ "pseudonym": pseudonym, "original": original }))
                    .collect();
                format!("{:#}\n", json!(found))
            }
            ListFormat::Text => found.iter().fold(String::new(), |mut text, (pseudonym, original)| {
                let _ = writeln!(text, "{pseudonym}  {}", printable(original));
                text
            }),
        })?;
        Ok(OK)
    }
}

/// A saved file, redacted, as it is written again.
fn redacted(saved: &Saved, pseudonyms: &mut Pseudonyms) -> Result<String, Failure> {
    Ok(match saved {
        Saved::Report(report) => {
            let report: Report = pseudonyms.redacted(&**report)?;
            to_json(&report)
        }
        Saved::Snapshot(snapshot) => {
            let snapshot: Snapshot = pseudonyms.redacted(&**snapshot)?;
            snapshot.to_json()
        }
    })
}

/// What would be replaced, for a person to look through.
fn preview(replaced: &[&Replaced], format: ListFormat) -> String {
    if let ListFormat::Json = format {
        let shown: Vec<Json> = replaced
            .iter()
            .map(|one| {
                json!({ "kind": one.kind, "original": shown(one), "pseudonym": one.pseudonym, "count": one.count,
                    "places": one.places })
            })
            .collect();
        return format!("{:#}\n", json!(shown));
    }
    let mut text = String::new();
    let width = |length: fn(&Replaced) -> usize| replaced.iter().map(|one| length(one)).max().unwrap_or(0);
    let pseudonyms = width(|one| one.pseudonym.len());
    let originals = width(|one| printable(&shown(one)).chars().count()).min(48);
    for one in replaced {
        let original = printable(&shown(one));
        let place = one.places.first().map(|place| printable(place)).unwrap_or_default();
        let more = if one.count > 1 { format!(" … {}", counted(one.count, "time", "times")) } else { String::new() };
        let line = format!("{:<pseudonyms$}  {original:<originals$}  {}{more}", one.pseudonym, place.dimmed());
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let things = counted(replaced.len(), "thing", "things");
    let times: usize = replaced.iter().map(|one| one.count).sum();
    let _ = writeln!(text, "{things} would be replaced, {} in all.", counted(times, "time", "times"));
    text
}

/// An original as it may stand on a screen: of a secret only its beginning, so that one can tell which it is.
fn shown(one: &Replaced) -> String {
    if one.kind != Kind::Secret {
        return one.original.clone();
    }
    let length = one.original.chars().count();
    let beginning: String = one.original.chars().take(if length >= 12 { 3 } else { 0 }).collect();
    format!("{beginning}… ({})", counted(length, "character", "characters"))
}
