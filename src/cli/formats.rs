//! In which formats a report is printed and written; several commands take them.

use super::Failure;
use super::output::{LineFile, OutputFile, time_to_write};
use super::pseudonyms::Pseudonyms;
use crate::judge::Readings;
use crate::observe::Deadline;
use crate::report::{
    MarkdownOptions, Report, RunEvent, TextOptions, judged_events, to_html, to_json, to_junit, to_markdown, to_nagios,
    to_prometheus, to_text,
};
use clap::{Args, ValueEnum};
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// In which formats, and how much of it.
#[derive(Args)]
pub(super) struct Formats {
    /// What to print (text where nothing else is said).
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write the report to FILE as well, in the format that its ending names (.txt, .json, .html, .md, .xml, .prom,
    /// .nagios, .jsonl; any other as --format says). May be given several times.
    #[arg(short, long = "output", value_name = "FILE")]
    output: Vec<PathBuf>,
    /// List every outcome, not only what is to fix (text and md; html, json, junit and jsonl always do).
    #[arg(long, conflicts_with = "brief")]
    all: bool,
    /// Only the verdict and a line for each item (md): short enough to paste.
    #[arg(long)]
    brief: bool,
    /// List how long each probe took (text; html and json always do).
    #[arg(long)]
    timings: bool,
}

/// A format of the report.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people at a terminal.
    Text,
    /// For programs, and for `punchlist report`.
    Json,
    /// One page for a browser, to send.
    Html,
    /// Markdown, for a ticket.
    Md,
    /// For what shows test results.
    Junit,
    /// Metrics for the node exporter's textfile collector.
    Prometheus,
    /// One line, as a monitoring plugin prints it.
    Nagios,
    /// One event a line, as it happens.
    Jsonl,
}

/// How wide text in a file is, in columns.
const FILE_WIDTH: usize = 100;

impl Format {
    /// The format that a file's name asks for.
    fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "json" => Some(Format::Json),
            "txt" => Some(Format::Text),
            "html" | "htm" => Some(Format::Html),
            "md" => Some(Format::Md),
            "xml" => Some(Format::Junit),
            "prom" => Some(Format::Prometheus),
            "nagios" => Some(Format::Nagios),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            _ => None,
        }
    }
}

impl Formats {
    /// Makes sure that every file can be written, before anything is asked.
    ///
    /// What is to be redacted is written when all of it is known: events too, so nobody can follow them.
    pub(super) fn prepare(&self, redacted: bool) -> Result<Outputs<'_>, Failure> {
        let held = redacted.then(RefCell::default);
        let mut outputs = Outputs { formats: self, files: Vec::new(), lines: RefCell::default(), held };
        let paths: Vec<&Path> = self.output.iter().map(PathBuf::as_path).collect();
        let formats = paths.iter().map(|path| self.format_of(path)).collect::<Result<Vec<_>, _>>()?;
        outputs.files = OutputFile::prepare_all(&paths)?.into_iter().zip(formats).collect();
        // Only when all of them can: these begin at once.
        let mut lines = Vec::new();
        for (file, _) in outputs.files.iter().filter(|(_, format)| *format == Format::Jsonl) {
            lines.push(Lines::File(file.lines()?));
        }
        if self.printed() == Format::Jsonl {
            lines.push(Lines::Stdout);
        }
        outputs.lines = RefCell::new(EventLines { to: lines, failed: None });
        Ok(outputs)
    }

    /// What standard output gets.
    fn printed(&self) -> Format {
        self.format.unwrap_or(Format::Text)
    }

    /// What a file gets. One whose ending names nothing that we know gets what was asked for in words: a text in
    /// `report.pdf` would help nobody.
    fn format_of(&self, path: &Path) -> Result<Format, Failure> {
        match (Format::of(path), self.format, path.extension()) {
            (Some(format), _, _) | (None, Some(format), _) => Ok(format),
            (None, None, None) => Ok(Format::Text),
            (None, None, Some(ending)) => Err(Failure::usage(format!(
                "-o {}: .{} names no format; the endings are .txt, .json, .html, .md, .xml, .prom, .nagios and .jsonl, and \
                 with --format any other will do",
                path.display(),
                ending.to_string_lossy()
            ))),
        }
    }

    /// Whether several reports can be printed as a table.
    pub(super) fn fits_a_table(&self) -> bool {
        self.printed() == Format::Text && self.output.is_empty()
    }

    fn render(&self, report: &Report, format: Format, width: usize) -> String {
        match format {
            Format::Text => to_text(report, &TextOptions { all: self.all, timings: self.timings, width }),
            Format::Json => to_json(report),
            Format::Html => to_html(report),
            Format::Md => to_markdown(report, MarkdownOptions { brief: self.brief, all: self.all }),
            Format::Junit => to_junit(report),
            Format::Prometheus => to_prometheus(report),
            Format::Nagios => to_nagios(report),
            // Its lines were written as they happened.
            Format::Jsonl => String::new(),
        }
    }
}

/// Where a report goes.
pub(super) struct Outputs<'f> {
    formats: &'f Formats,
    files: Vec<(OutputFile, Format)>,
    lines: RefCell<EventLines>,
    /// The lines of events that wait to be redacted.
    held: Option<RefCell<Vec<String>>>,
}

impl Outputs<'_> {
    /// Writes an event to where events are followed. What fails is said at the end: a run is not lost by it.
    pub(super) fn tell(&self, event: &RunEvent) {
        let line = || event.line();
        match &self.held {
            Some(held) if self.is_followed() => held.borrow_mut().push(line()),
            _ if self.is_followed() => self.lines.borrow_mut().write(&line()),
            _ => {}
        }
    }

    fn is_followed(&self) -> bool {
        !self.lines.borrow().to.is_empty()
    }

    /// What the formats show of what outcomes were judged by.
    pub(super) fn readings(&self) -> Readings {
        let mut formats = self.files.iter().map(|(_, format)| *format).chain([self.formats.printed()]);
        match formats.any(|format| matches!(format, Format::Json | Format::Html | Format::Jsonl)) {
            true => Readings::OfAll,
            false => Readings::OfFound,
        }
    }

    /// Prints the report and writes all files.
    pub(super) fn write(
        &self,
        report: &Report,
        pseudonyms: Option<&mut Pseudonyms>,
        deadline: &Deadline,
    ) -> Result<(), Failure> {
        let mut redacted = None;
        if let Some(pseudonyms) = pseudonyms {
            redacted = Some(pseudonyms.redacted(report)?);
            for line in self.held.iter().flat_map(|held| held.take()) {
                self.lines.borrow_mut().write(&pseudonyms.line(&line)?);
            }
            pseudonyms.keep();
        }
        let report = redacted.as_ref().unwrap_or(report);
        let mut lines = self.lines.borrow_mut();
        if !lines.to.is_empty() {
            judged_events(report).for_each(|event| lines.write(&event.line()));
        }
        // Printed before anything is written: where a file fails, the report is not lost.
        let mut failed = super::print(&self.formats.render(report, self.formats.printed(), width())).err();
        colored::control::set_override(false);
        for (file, format) in self.files.iter().filter(|(_, format)| *format != Format::Jsonl) {
            // One that fails must not cost the others.
            if let Err(failure) = file.write(self.formats.render(report, *format, FILE_WIDTH), time_to_write(deadline))
            {
                failed.get_or_insert(failure);
            }
        }
        match failed.or(lines.failed.take()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

/// Where events are followed.
#[derive(Default)]
struct EventLines {
    to: Vec<Lines>,
    failed: Option<Failure>,
}

enum Lines {
    Stdout,
    File(LineFile),
}

impl EventLines {
    fn write(&mut self, line: &str) {
        let failed = &mut self.failed;
        self.to.retain_mut(|one| {
            let written = match one {
                Lines::Stdout => {
                    let mut out = io::stdout().lock();
                    match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
                        Ok(()) => return true,
                        // A reader that has seen enough is no error.
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return false,
                        Err(error) => Err(Failure::cannot_write(format!("standard output: {error}"))),
                    }
                }
                Lines::File(file) => file.write(line),
            };
            match written {
                Ok(()) => true,
                Err(failure) => {
                    failed.get_or_insert(failure);
                    false
                }
            }
        });
    }
}

/// How wide text on standard output is, in columns: as the terminal, within what reads well.
pub(super) fn width() -> usize {
    let columns = io::stdout()
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(io::stdout()).ok())
        .flatten()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0);
    columns.map_or(FILE_WIDTH, |columns| columns.clamp(50, 120))
}

/// The text broken into lines of `width`, those after the first indented. Only at spaces: a name has to survive being
/// copied.
pub(super) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let layout = textwrap::Options::new(width.saturating_sub(indent).max(20))
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::wrap(text, layout).join(&format!("\n{}", " ".repeat(indent)))
}
