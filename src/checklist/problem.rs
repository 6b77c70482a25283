//! What is wrong with a file, where, and what to write instead: shown as a compiler would.

use crate::expression::Mistake;
use crate::printable::{counted, printable};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

/// A file as it was read.
#[derive(Debug)]
pub struct SourceFile {
    /// Its path as it was given, or `builtin/NAME.yaml` for one compiled in.
    pub name: String,
    /// Its text; empty for one compiled in.
    text: Cow<'static, str>,
    /// Which of those compiled in it is.
    builtin: Option<usize>,
    /// Where its lines begin, in bytes; found when the first problem needs it.
    lines: OnceLock<Vec<usize>>,
}

impl SourceFile {
    /// A file with this text.
    pub fn new(name: impl Into<String>, text: impl Into<Cow<'static, str>>) -> SourceFile {
        SourceFile { name: name.into(), text: text.into(), builtin: None, lines: OnceLock::new() }
    }

    /// One that is compiled in: the one with this number.
    pub(super) fn builtin(name: &str, number: usize) -> SourceFile {
        SourceFile { builtin: Some(number), ..SourceFile::new(format!("builtin/{name}"), "") }
    }

    /// Whether it is compiled in.
    pub fn is_builtin(&self) -> bool {
        self.builtin.is_some()
    }

    /// Its text.
    pub fn text(&self) -> &str {
        match self.builtin {
            Some(number) => super::builtin_texts().nth(number).unwrap_or_default(),
            None => &self.text,
        }
    }

    /// The text from the beginning of a line (from 1) to the end of the file.
    pub(super) fn text_from_line(&self, line: usize) -> &str {
        let starts = self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text().match_indices('\n').map(|(newline, _)| newline + 1)).collect()
        });
        starts.get(line.saturating_sub(1)).and_then(|start| self.text().get(*start..)).unwrap_or_default()
    }

    /// A line (from 1) without its end.
    pub(super) fn line(&self, line: usize) -> &str {
        self.text_from_line(line).lines().next().unwrap_or_default()
    }

    /// The SHA-256 of the text, in hexadecimal: what a report names its checklists by.
    pub fn sha256(&self) -> String {
        Sha256::digest(self.text().as_bytes()).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The beginning of the file.
    pub const START: Place = Place { line: 1, column: 1 };
    /// A value that YAML gives no place for (an empty list or map).
    pub(super) const NOWHERE: Place = Place { line: 0, column: 0 };
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The file.
    pub file: Arc<str>,
    /// Where in it; `None` when the file as a whole is meant (it is not there).
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    line: String,
}

impl Problem {
    /// Says what to write instead.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Problem {
        self.help = Some(help.into()).filter(|help: &String| !help.is_empty());
        self
    }
}

/// Everything that is wrong.
#[derive(Debug, Default)]
pub struct Problems {
    all: Vec<Problem>,
}

/// How many problems are kept: nobody reads more, and a file of nonsense can hold any number.
const MOST: usize = 1000;

impl Problems {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is wrong, in the order of the files and of the lines in them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.all.iter()
    }

    /// Something about a file as a whole.
    pub(super) fn add_file(&mut self, file: &str, message: impl Into<String>) -> &mut Problem {
        self.push(Problem { file: file.into(), place: None, message: message.into(), help: None, line: String::new() })
    }

    /// Something at a place.
    pub(super) fn add(&mut self, file: &SourceFile, place: Place, message: impl Into<String>) -> &mut Problem {
        let line = file.line(place.line).to_string();
        self.push(Problem {
            file: file.name.as_str().into(),
            place: Some(place),
            message: message.into(),
            help: None,
            line,
        })
    }

    /// A mistake inside a text that begins at `place`.
    pub(super) fn add_mistake(&mut self, file: &SourceFile, place: Place, text: &str, mistake: Mistake) {
        let at = place_within(file, place, text, mistake.offset).unwrap_or(place);
        let problem = self.add(file, at, mistake.message);
        problem.help = mistake.help;
    }

    /// Takes over what another found.
    pub(super) fn append(&mut self, other: Problems) {
        let room = MOST.saturating_sub(self.all.len());
        self.all.extend(other.all.into_iter().take(room));
    }

    /// Whether so much is wrong that looking for more is of no use.
    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= MOST
    }

    fn push(&mut self, problem: Problem) -> &mut Problem {
        if self.is_full() {
            self.all.pop();
        }
        self.all.push(problem);
        self.all.last_mut().expect("one was pushed just now")
    }

    /// Puts them in the order in which a person works through them, each once.
    pub(super) fn sort(&mut self, files: &[Arc<SourceFile>]) {
        let number = |problem: &Problem| files.iter().position(|file| *file.name == *problem.file);
        self.all.sort_by_cached_key(|problem| {
            (number(problem), problem.file.clone(), problem.place, problem.message.clone())
        });
        self.all.dedup_by(|a, b| a.file == b.file && a.place == b.place && a.message == b.message);
    }

    /// All of them for a person: each with `FILE:LINE:COLUMN`, the line with a caret, and what to write instead.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.all {
            text.push_str(&problem.render(&renderer));
            text.push_str("\n\n");
        }
        let files: std::collections::BTreeSet<&str> = self.all.iter().map(|problem| &*problem.file).collect();
        let _ = writeln!(
            text,
            "{}{} in {}",
            if self.is_full() { "at least " } else { "" },
            counted(self.all.len(), "mistake", "mistakes"),
            counted(files.len(), "file", "files")
        );
        text
    }
}

/// How much of a long line is shown around the mistake, in characters.
const SHOWN: usize = 160;

impl Problem {
    fn render(&self, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(printable(&self.message));
        let Some(place) = self.place else {
            let help = self.help.as_ref().map(|help| format!("\n  = help: {}", printable(help))).unwrap_or_default();
            return format!("error: {}\n --> {}{help}", printable(&self.message), printable(&self.file));
        };
        // A line of a megabyte is cut around the mistake; control characters are shown, not obeyed.
        let chars: Vec<char> = self.line.chars().collect();
        let column = place.column.saturating_sub(1).min(chars.len());
        let from = column.saturating_sub(SHOWN / 2).min(chars.len().saturating_sub(SHOWN));
        let shown: String = chars[from..].iter().take(SHOWN).collect();
        let before: String = shown.chars().take(column - from).collect();
        let caret = printable(&before).len();
        let shown = printable(&shown);
        let end = shown[caret..].chars().next().map_or(caret, |c| caret + c.len_utf8());
        let path = format!("{}:{}:{}", printable(&self.file), place.line, place.column);
        let snippet =
            Snippet::source(shown).line_start(place.line).annotation(AnnotationKind::Primary.span(caret..end));
        let help = self.help.as_ref().map(|help| Level::HELP.message(printable(help)));
        let group: Group = title.element(snippet);
        let group = match help {
            Some(help) => group.element(help),
            None => group,
        };
        let rendered = renderer.render(&[group]);
        // The library prints the place below the title without a path, as none was given it: with one it would count
        // the column inside the cut line.
        with_path(&rendered, &path)
    }
}

/// Puts ` --> FILE:LINE:COLUMN` below the title.
fn with_path(rendered: &str, path: &str) -> String {
    let mut lines = rendered.lines();
    let title = lines.next().unwrap_or_default();
    let rest = lines.collect::<Vec<_>>().join("\n");
    format!("{title}\n --> {path}\n{rest}")
}

/// The place of character `offset` of a scalar that begins at `place`. Walks the raw text and the value side by side
/// and passes over white space, so plain, folded, quoted and block scalars all work; `None` where escapes make the
/// two differ.
fn place_within(file: &SourceFile, place: Place, value: &str, offset: usize) -> Option<Place> {
    let mut raw = file.text_from_line(place.line).chars().peekable();
    let mut at = Place { line: place.line, column: 1 };
    let mut step = |raw: &mut std::iter::Peekable<std::str::Chars>| {
        let c = raw.next()?;
        at = if c == '\n' { Place { line: at.line + 1, column: 1 } } else { Place { column: at.column + 1, ..at } };
        Some(at)
    };
    for _ in 1..place.column {
        step(&mut raw)?;
    }
    match raw.peek()? {
        '"' | '\'' => {
            step(&mut raw)?;
        }
        '|' | '>' => {
            while *raw.peek()? != '\n' {
                step(&mut raw)?;
            }
        }
        _ => {}
    }
    let mut here = None;
    for (number, c) in value.chars().enumerate() {
        if c.is_whitespace() {
            if number == offset && here.is_some() {
                return here;
            }
            continue;
        }
        while raw.peek()?.is_whitespace() {
            step(&mut raw)?;
        }
        if *raw.peek()? != c {
            return None;
        }
        let after = step(&mut raw)?;
        if number == offset {
            return Some(Place { line: after.line, column: after.column - 1 });
        }
        here = Some(after);
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_of_a_scalar_is_found_in_the_file_however_it_was_written() {
        let cases = [
            ("a: one two\n", (1, 4), "one two", 4, (1, 8)),
            ("a: 'one two'\n", (1, 4), "one two", 4, (1, 9)),
            ("a: |\n  one\n  two\n", (1, 4), "one\ntwo\n", 4, (3, 3)),
            ("a: >-\n  one\n  twö x\n", (1, 4), "one twö x", 8, (3, 7)),
            ("a: one\n   two\n", (1, 4), "one two", 4, (2, 4)),
            ("a: one", (1, 4), "one", 3, (1, 7)),
        ];
        for (file, (line, column), value, offset, (found_line, found_column)) in cases {
            assert_eq!(
                place_within(&SourceFile::new("", file), Place { line, column }, value, offset),
                Some(Place { line: found_line, column: found_column }),
                "{file:?}"
            );
        }
        assert_eq!(place_within(&SourceFile::new("", "a: \"x\\ty\""), Place { line: 1, column: 4 }, "x\ty", 2), None);
    }

    #[test]
    fn a_problem_shows_its_line_and_survives_any_text_in_it() {
        let mut problems = Problems::default();
        let file = SourceFile::new("x\u{1b}[31m.yaml", format!("é: {}\u{7}b\n", "é".repeat(5000)));
        problems.add(&file, Place { line: 1, column: 3000 }, "wrong \u{1b}[2J").help("mend\u{0}it");
        problems.add(&file, Place { line: 1, column: 5007 }, "at the end");
        problems.add(&file, Place { line: 99, column: 5 }, "behind the end");
        let text = problems.render(false);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
        assert!(text.contains(".yaml:1:3000"), "{text}");
        assert!(text.ends_with("3 mistakes in 1 file\n"), "{text}");
    }
}
