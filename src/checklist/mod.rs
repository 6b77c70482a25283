//! What an author writes: YAML in, checked checks and causes out.
//!
//! A file goes through three steps, each of which finds all its mistakes before anything is said: `yaml` makes a
//! tree with positions, `decode` makes checks of it, `check` holds names, fields and ids of all files against
//! the probes' schemas and each other. `scope` says what a checked check means on one node.

mod check;
mod decode;
pub mod problem;
pub mod scope;
mod yaml;

use crate::expression::{Expression, Schemas, Text};
use crate::probe::{self, Probe};
use problem::{Place, Problems, SourceFile};
use schemars::SchemaGenerator;
use serde::Serialize;
use serde_json::Value as Json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where a site keeps its own checklists.
pub const SITE_FOLDER: &str = "/etc/punchlist/checklists.d";

/// The checklists that are compiled in, by name.
const BUILTIN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/checklists.rs"));

/// Something that was read from a file, with its place there.
#[derive(Debug, Clone)]
pub struct Placed<T> {
    /// What was read.
    pub value: T,
    /// Where it stands.
    pub place: Place,
    /// The text that it was read from.
    pub text: String,
}

/// How bad a false expectation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; never on the punch list.
    Info,
    /// Something to fix that does not stop work.
    Warning,
    /// Something broken.
    Critical,
}

/// How thorough a run has to be for a check to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Within a second, before every job.
    Quick,
    /// A usual run.
    Standard,
    /// When there is time.
    Deep,
}

/// What asking does to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It puts load on the node.
    Loads,
    /// It disturbs what runs there.
    Disrupts,
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Whoever runs the job.
    User,
    /// Whoever runs the node.
    Operator,
    /// Whoever runs the network.
    Network,
    /// Whoever sold the hardware.
    Vendor,
}

/// How sure a cause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It fits, and so do others.
    Possible,
    /// Others are hard to find.
    Likely,
    /// Nothing else explains what was seen.
    Certain,
}

/// A word of a checklist that stands for one of a few things.
pub trait Word: Copy + 'static {
    /// Every word, with what it stands for.
    const WORDS: &'static [(&'static str, Self)];
}

impl Word for Severity {
    const WORDS: &'static [(&'static str, Severity)] =
        &[("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];
}

impl Word for Level {
    const WORDS: &'static [(&'static str, Level)] =
        &[("quick", Level::Quick), ("standard", Level::Standard), ("deep", Level::Deep)];
}

impl Word for Effect {
    const WORDS: &'static [(&'static str, Effect)] =
        &[("reads", Effect::Reads), ("loads", Effect::Loads), ("disrupts", Effect::Disrupts)];
}

impl Word for Who {
    const WORDS: &'static [(&'static str, Who)] =
        &[("user", Who::User), ("operator", Who::Operator), ("network", Who::Network), ("vendor", Who::Vendor)];
}

impl Word for Certainty {
    const WORDS: &'static [(&'static str, Certainty)] =
        &[("certain", Certainty::Certain), ("likely", Certainty::Likely), ("possible", Certainty::Possible)];
}

impl Word for ParamType {
    const WORDS: &'static [(&'static str, ParamType)] = &[
        ("int", ParamType::Int),
        ("number", ParamType::Number),
        ("text", ParamType::Text),
        ("bool", ParamType::Bool),
        ("list", ParamType::List),
    ];
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamType {
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// A text.
    Text,
    /// true or false
    Bool,
    /// A list of texts.
    List,
}

/// A value that a site may set.
#[derive(Debug)]
pub struct Param {
    /// Its name: `params.NAME` in expressions, `--set NAME=…` on the command line.
    pub name: Placed<()>,
    /// What it holds.
    pub kind: ParamType,
    /// What it means and where its default is from.
    pub about: String,
    /// Its value when nobody sets it.
    pub default: Option<Placed<Expression>>,
}

/// One argument of a probe as the author wrote it.
#[derive(Debug)]
pub enum Argument {
    /// A text, which may hold expressions.
    Text(Placed<Text>),
    /// A number, or true or false.
    Plain(Json),
    /// A list.
    List(Vec<Argument>),
}

impl Argument {
    /// Calls `visit` with every expression inside.
    pub fn expressions<'a>(&'a self, visit: &mut impl FnMut(&'a Expression)) {
        match self {
            Argument::Text(text) => text.value.expressions().for_each(visit),
            Argument::Plain(_) => {}
            Argument::List(items) => items.iter().for_each(|item| item.expressions(visit)),
        }
    }
}

/// A probe to ask with arguments, under a name of the check's own.
#[derive(Debug)]
pub struct Ask {
    /// The name that the check's expressions read the answer by.
    pub name: Placed<()>,
    /// The probe.
    pub probe: &'static Probe,
    /// Its arguments.
    pub arguments: Vec<(Placed<()>, Argument)>,
}

/// One loop of a check or cause: one outcome for each element.
#[derive(Debug)]
pub struct Loop {
    /// The variable.
    pub name: Placed<()>,
    /// The list.
    pub list: Placed<Expression>,
    /// What its elements are as subjects: their kind, and the field that names one. Set when the list is checked;
    /// `None` inside where the schema does not say.
    pub subject: OnceLock<Option<(String, String)>>,
}

/// One question about a node.
#[derive(Debug)]
pub struct Check {
    /// Reads as a tree: `gpu.ecc.uncorrectable`.
    pub id: Placed<()>,
    /// The good state, as a sentence.
    pub title: Placed<Text>,
    /// Loop variables with their lists, outermost first: one outcome for each element of the innermost.
    pub for_each: Vec<Loop>,
    /// Where this is false, the check does not apply.
    pub when: Option<Placed<Expression>>,
    /// What to ask besides the probes without arguments.
    pub observe: Vec<Ask>,
    /// Checks that have to hold first, by id.
    pub needs: Vec<Placed<()>>,
    /// What has to be true, worst severity first.
    pub expect: Vec<(Severity, Placed<Expression>)>,
    /// What was seen when it is not.
    pub found: Option<Placed<Text>>,
    /// Why it matters.
    pub why: Option<Placed<Text>>,
    /// What to do, most important first.
    pub next: Vec<Placed<Text>>,
    /// Who has to act.
    pub who: Option<Who>,
    /// Where to read more.
    pub refs: Vec<String>,
    /// Words to choose it by.
    pub tags: Vec<String>,
    /// How thorough a run has to be.
    pub level: Level,
    /// What asking does to the node.
    pub effect: Effect,
}

/// A rule that says which one fault explains several outcomes.
#[derive(Debug)]
pub struct Cause {
    /// Its name among the causes.
    pub id: Placed<()>,
    /// The fault, as a sentence.
    pub title: Placed<Text>,
    /// Loop variables with their lists.
    pub for_each: Vec<Loop>,
    /// Where this is false, the cause is not there.
    pub when: Option<Placed<Expression>>,
    /// The kind of the faulty thing and the expression that names it.
    pub subject: Option<(String, Placed<Expression>)>,
    /// How sure the rule is.
    pub certainty: Certainty,
    /// Ids of the checks whose outcomes it explains; `*` stands for any text.
    pub explains: Vec<Placed<()>>,
    /// Whether it explains outcomes of other subjects too.
    pub anywhere: bool,
    /// Why it matters.
    pub why: Option<Placed<Text>>,
    /// What to do, most important first.
    pub next: Vec<Placed<Text>>,
    /// Who has to act.
    pub who: Option<Who>,
    /// Where to read more.
    pub refs: Vec<String>,
    /// Words to choose it by.
    pub tags: Vec<String>,
}

/// Checks and causes on one topic.
#[derive(Debug)]
pub struct Checklist {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Its name.
    pub name: Placed<()>,
    /// Its topic in a few words.
    pub title: String,
    /// What it finds.
    pub about: String,
    /// Where this is false, none of its checks applies.
    pub applies: Option<Placed<Expression>>,
    /// Values that a site may set.
    pub params: Vec<Param>,
    /// Its checks, in the order of the file.
    pub checks: Vec<Check>,
    /// Its causes.
    pub causes: Vec<Cause>,
}

impl Checklist {
    /// Whether it is compiled in.
    pub fn is_builtin(&self) -> bool {
        self.file.name.starts_with("builtin/")
    }
}

/// All checklists of a run, checked against each other.
#[derive(Debug)]
pub struct Checklists {
    /// In the order in which they were named, the built-in ones first.
    pub all: Vec<Checklist>,
    /// What the probes answer.
    pub schemas: Schemas,
}

impl Checklists {
    /// Every check with its checklist, in the order of the files.
    pub fn checks(&self) -> impl Iterator<Item = (&Checklist, &Check)> {
        self.all.iter().flat_map(|checklist| checklist.checks.iter().map(move |check| (checklist, check)))
    }

    /// Every parameter.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.all.iter().flat_map(|checklist| &checklist.params)
    }
}

/// Reads the built-in checklists, those of the site, and those that `paths` name (files, or folders of `.yaml` files).
pub fn load(paths: &[PathBuf]) -> Result<Checklists, Problems> {
    read(paths, false)
}

/// As [`load`], but a file that names itself like a built-in checklist stands in for that one: so the built-in ones
/// can be worked on.
pub fn load_in_place_of_builtin(paths: &[PathBuf]) -> Result<Checklists, Problems> {
    read(paths, true)
}

fn read(paths: &[PathBuf], in_place: bool) -> Result<Checklists, Problems> {
    let mut problems = Problems::default();
    let mut files: Vec<Arc<SourceFile>> =
        BUILTIN.iter().map(|(name, text)| Arc::new(SourceFile::new(format!("builtin/{name}"), *text))).collect();
    let site = Path::new(SITE_FOLDER);
    if site.is_dir() {
        read_folder(site, &mut files, &mut problems);
    }
    for path in paths {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => read_folder(path, &mut files, &mut problems),
            Ok(found) if found.is_file() => read_file(path, &mut files, &mut problems),
            Ok(_) => drop(problems.add_file(&path.display().to_string(), "neither a file nor a folder")),
            Err(error) => cannot_read(path, &error, &mut problems),
        }
    }
    link(files, in_place, problems)
}

fn link(files: Vec<Arc<SourceFile>>, in_place: bool, mut problems: Problems) -> Result<Checklists, Problems> {
    let mut all: Vec<Checklist> = Vec::new();
    for file in &files {
        if let Some(root) = yaml::read(file, &mut problems) {
            all.extend(decode::checklist(file, &root, &mut problems));
        }
    }
    if in_place {
        let own: Vec<String> = all.iter().filter(|one| !one.is_builtin()).map(|one| one.name.text.clone()).collect();
        all.retain(|one| !one.is_builtin() || !own.contains(&one.name.text));
    }
    let schemas = schemas();
    check::all(&all, &schemas, &mut problems);
    if problems.is_empty() {
        return Ok(Checklists { all, schemas });
    }
    problems.sort(&files);
    Err(problems)
}

/// The schemas of what all probes answer and take, in one set of definitions.
pub fn schemas() -> Schemas {
    let mut generator = SchemaGenerator::default();
    let mut schemas = Schemas::default();
    for probe in probe::PROBES {
        let answer = (probe.answer)(&mut generator).to_value();
        match probe.arguments {
            None => schemas.names.insert(probe.name.to_string(), answer),
            Some(arguments) => {
                schemas.arguments.insert(probe.name.to_string(), arguments(&mut generator).to_value());
                schemas.answers.insert(probe.name.to_string(), answer)
            }
        };
    }
    schemas.definitions = generator.take_definitions(true);
    schemas
}

fn read_folder(folder: &Path, files: &mut Vec<Arc<SourceFile>>, problems: &mut Problems) {
    let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => return cannot_read(folder, &error, problems),
    };
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml"));
    paths.sort();
    if paths.is_empty() && folder != Path::new(SITE_FOLDER) {
        problems.add_file(&folder.display().to_string(), "no checklist in this folder: their names end in .yaml");
    }
    for path in paths {
        read_file(&path, files, problems);
    }
}

fn read_file(path: &Path, files: &mut Vec<Arc<SourceFile>>, problems: &mut Problems) {
    let name = path.display().to_string();
    // The size is looked at first: a file of many gigabytes must not be read to be refused.
    let size = fs::metadata(path).map_or(0, |found| found.len());
    if size > yaml::MAX_BYTES as u64 {
        let message = format!("this file has {} MiB; a checklist may have {} MiB", size >> 20, yaml::MAX_BYTES >> 20);
        problems.add_file(&name, message).help("split it into several files");
        return;
    }
    match fs::read(path) {
        Err(error) => cannot_read(path, &error, problems),
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => files.push(Arc::new(SourceFile::new(name, text))),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let before = &error.as_bytes()[..at];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
                let file = SourceFile::new(name, text);
                problems
                    .add(&file, Place { line, column }, "this byte is not UTF-8")
                    .help("save the file as UTF-8; is this a text file?");
            }
        },
    }
}

fn cannot_read(path: &Path, error: &io::Error, problems: &mut Problems) {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_string(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_string(),
        _ => probe::source::plain_io_text(error),
    };
    problems.add_file(&path.display().to_string(), message);
}
