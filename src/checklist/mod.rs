//! What an author writes: YAML in, checked checks and causes out.
//!
//! A file goes through three steps, each of which finds all its mistakes before anything is said: `yaml` makes a
//! tree with positions, `decode` makes checks of it, `check` holds names, fields and ids of all files against
//! the probes' schemas and each other. `scope` says what a checked check means on one node. `site` takes a site file
//! through the same steps.

mod check;
mod decode;
mod editor;
mod nodeset;
pub mod problem;
pub mod scope;
mod site;
mod yaml;

pub use nodeset::NodeSet;
pub use site::{SITE_FILE, Site, Waiver};

use crate::expression::{Expression, Schemas, Text};
use crate::probe::{self, Probe};
use crate::trust;
use problem::{Place, Problems, SourceFile};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

/// Where a site keeps what it knows of its nodes.
const OF_SITE: &str = "/etc/punchlist";

/// Where a site keeps its own checklists.
pub const SITE_FOLDER: &str = "/etc/punchlist/checklists.d";

/// The checklists that are compiled in: name, YAML deflated (RFC 1951), and the same as [`yaml::read_built`] reads it.
const BUILTIN: &[(&str, &[u8], &str)] = &include!(concat!(env!("OUT_DIR"), "/checklists.rs"));

/// Their YAML, in the same order.
static BUILTIN_TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let unpacked = |packed| miniz_oxide::inflate::decompress_to_vec(packed).expect("the build has packed it");
    BUILTIN.iter().map(|(_, packed, _)| String::from_utf8(unpacked(packed)).expect("it was UTF-8")).collect()
});

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
    /// A number, or true or false, and how it was written.
    Plain(Json, String),
    /// A list.
    List(Vec<Argument>),
}

impl Argument {
    /// Calls `visit` with every expression inside.
    pub fn expressions<'a>(&'a self, visit: &mut impl FnMut(&'a Expression)) {
        match self {
            Argument::Text(text) => text.value.expressions().for_each(visit),
            Argument::Plain(..) => {}
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
    /// What its elements are as subjects: their kind, and the field that names one. Set when the list first has
    /// elements; `None` inside where the schema does not say.
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
    /// The kind of the faulty thing and the expression that names it. With the kind `node` and loops it is one item for
    /// what several things share, and explains the outcomes of these things only (and those of the node).
    pub subject: Option<(String, Placed<Expression>)>,
    /// How sure the rule is.
    pub certainty: Certainty,
    /// Ids of the checks whose outcomes it explains; `*` stands for any text. With `[KEY]` after it, only those of the
    /// subject that KEY names: `services.failed[munge.service]`.
    pub explains: Vec<Placed<()>>,
    /// Probes of which it explains that they hang, with all that could not be told for that.
    pub hangs: Vec<Placed<()>>,
    /// Whether it explains outcomes of other subjects too.
    pub anywhere: bool,
    /// Whether it explains only what no other cause explains, however sure it is of itself.
    pub otherwise: bool,
    /// What shows that it is there, besides the outcomes that it explains.
    pub seen: Vec<Placed<Text>>,
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

impl Cause {
    /// Whether it explains that a probe hangs.
    pub fn explains_hangs_of(&self, probe: &str) -> bool {
        self.hangs.iter().any(|hanging| hanging.text == probe)
    }

    /// Whether it may explain the outcome of this check for the subject with this key.
    pub fn may_explain(&self, check: &str, key: Option<&str>) -> bool {
        self.explains.iter().any(|pattern| site::is_like_outcome(&pattern.text, check, key))
    }

    /// Whether it may explain any outcome of this check.
    pub fn may_explain_check(&self, check: &str) -> bool {
        self.explains.iter().any(|pattern| scope::is_like(check, split_key(&pattern.text).0))
    }

    /// Whether it may explain any outcome of any of these checks.
    pub fn may_explain_any<'n>(&'n self, checks: &BTreeSet<&'n str>) -> bool {
        self.explains.iter().any(|pattern| scope::any_is_like(checks, split_key(&pattern.text).0))
    }

    /// Every expression of it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.conditions().chain(self.texts().flat_map(|text| text.value.expressions()))
    }

    /// The expressions that decide what it holds of.
    pub fn conditions(&self) -> impl Iterator<Item = &Expression> {
        let conditions = self.for_each.iter().map(|each| &each.list).chain(&self.when);
        conditions.map(|one| &one.value).chain(self.subject.iter().map(|(_, key)| &key.value))
    }

    /// Its texts.
    pub fn texts(&self) -> impl Iterator<Item = &Placed<Text>> {
        std::iter::once(&self.title).chain(&self.seen).chain(&self.why).chain(&self.next)
    }
}

/// `services.failed[munge.service]`: the id, and the subject's key.
fn split_key(pattern: &str) -> (&str, Option<&str>) {
    match pattern.strip_suffix(']').and_then(|pattern| pattern.split_once('[')) {
        Some((id, key)) => (id, Some(key)),
        None => (pattern, None),
    }
}

impl Checklist {
    /// Whether it is compiled in.
    pub fn is_builtin(&self) -> bool {
        self.file.is_builtin()
    }
}

/// All checklists of a run, checked against each other.
#[derive(Debug)]
pub struct Checklists {
    /// In the order in which they were named, the built-in ones first.
    pub all: Vec<Checklist>,
    /// The site files: one at most in a run, several where they are only looked at.
    pub sites: Vec<Site>,
    /// What the probes answer.
    pub schemas: Schemas,
    /// What a person should know of how they were read.
    pub warnings: Vec<String>,
}

impl Checklists {
    /// Every cause with its checklist, in the order of the files.
    pub fn causes(&self) -> impl Iterator<Item = (&Checklist, &Cause)> {
        self.all.iter().flat_map(|checklist| checklist.causes.iter().map(move |cause| (checklist, cause)))
    }

    /// Every check with its checklist, in the order of the files.
    pub fn checks(&self) -> impl Iterator<Item = (&Checklist, &Check)> {
        self.all.iter().flat_map(|checklist| checklist.checks.iter().map(move |check| (checklist, check)))
    }

    /// Every parameter.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.all.iter().flat_map(|checklist| &checklist.params)
    }
}

/// The text of each checklist that is compiled in.
pub fn builtin_texts() -> impl Iterator<Item = &'static str> {
    BUILTIN_TEXTS.iter().map(String::as_str)
}

/// Reads the built-in checklists, those of the site, and those that `paths` name (files, or folders of `.yaml` files);
/// with them the site file: `site`, else the usual one where there is one. As root, only what nobody else may write: see [`trust`].
pub fn load(paths: &[PathBuf], site: Option<&Path>) -> Result<Checklists, Problems> {
    read(paths, site, false, &|_| None)
}

/// As [`load`], where the usual places and what a site file names may lie on a server that is gone. `silent` is asked of
/// each before it is touched, and says so of one that does not answer. The run goes on without it: that it is missing
/// is a warning, and what hangs is what the run is to find.
pub fn load_patiently(paths: &[PathBuf], site: Option<&Path>, silent: Silent) -> Result<Checklists, Problems> {
    read(paths, site, false, silent)
}

/// As [`load`], but to look at the files only: any of them may be a site file, anybody may have written them, and one
/// that names itself like a built-in checklist stands in for that one, so that the built-in ones can be worked on.
pub fn load_in_place_of_builtin(paths: &[PathBuf], silent: Silent) -> Result<Checklists, Problems> {
    read(paths, None, true, silent)
}

/// What to say of a file or folder that does not answer; nothing of one that does.
pub type Silent<'s> = &'s dyn Fn(&Path) -> Option<String>;

fn read(paths: &[PathBuf], site: Option<&Path>, in_place: bool, silent: Silent) -> Result<Checklists, Problems> {
    let mut problems = Problems::default();
    let mut warnings = Vec::new();
    let builtin = BUILTIN.iter().enumerate().map(|(number, (name, ..))| SourceFile::builtin(name, number));
    let mut files: Vec<Arc<SourceFile>> = builtin.map(Arc::new).collect();
    let mut wanted: Vec<PathBuf> = Vec::new();
    // Whether there is anything at all is seen on the system's own disk, without which no program starts.
    let has_site = fs::symlink_metadata(OF_SITE).is_ok();
    let is_silent = |path: &str| if has_site { silent(Path::new(path)) } else { None };
    let folder = match is_silent(SITE_FOLDER) {
        Some(said) => {
            warnings.push(format!("{said}; its checklists take no part"));
            None
        }
        None => Some(fs::read_dir(SITE_FOLDER)),
    };
    match folder.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())) {
        Ok(_) => yaml_files(Path::new(SITE_FOLDER), &mut wanted, &mut problems),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(error) => {
            warnings
                .push(format!("{SITE_FOLDER}: {}: its checklists take no part", probe::source::plain_io_text(&error)));
        }
    }
    for path in paths {
        add_path(path, &mut wanted, &mut problems);
    }
    let mut sites: Vec<PathBuf> = site.map(Path::to_path_buf).into_iter().collect();
    if site.is_none() && !in_place {
        let file = match is_silent(SITE_FILE) {
            Some(said) => {
                warnings.push(format!("{said}; it counts for nothing"));
                None
            }
            None => Some(fs::File::open(SITE_FILE)),
        };
        match file.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())) {
            Ok(_) => sites.push(SITE_FILE.into()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => {
                warnings.push(format!("{SITE_FILE}: {}: it counts for nothing", probe::source::plain_io_text(&error)));
            }
        }
    }
    if in_place {
        let looks_like_a_site = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| site::is_site_file(&text));
        sites.extend(wanted.extract_if(.., |path| path.is_file() && looks_like_a_site(path)));
    }
    let mut from_site = FromSite { in_place, silent, wanted, warnings };
    let drafts: Vec<site::Draft> = sites.iter().filter_map(|path| from_site.read(path, &mut problems)).collect();
    let FromSite { mut wanted, warnings, .. } = from_site;
    // A file that is named twice, or stands in the site's folder as well, is read once.
    let mut seen = BTreeSet::new();
    wanted.retain(|path| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    for path in &wanted {
        if in_place || is_trusted(path, &mut problems) {
            read_file(path, &mut files, &mut problems);
        }
    }
    link(files, drafts, in_place, warnings, problems)
}

/// The files of checklists that a path stands for.
fn add_path(path: &Path, wanted: &mut Vec<PathBuf>, problems: &mut Problems) {
    match fs::metadata(path) {
        _ if path.as_os_str() == "-" => wanted.push(path.to_path_buf()),
        Ok(found) if found.is_dir() => {
            let before = wanted.len();
            yaml_files(path, wanted, problems);
            if wanted.len() == before {
                let message = "no checklist in this folder: their names end in .yaml";
                problems.add_file(&path.display().to_string(), message);
            }
        }
        Ok(found) if found.is_file() => wanted.push(path.to_path_buf()),
        Ok(_) => {
            problems.add_file(&path.display().to_string(), "neither a file nor a folder");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_name_of_builtin(path) => {
            let help = format!("to choose the checks of the built-in checklist: --only {}", path.display());
            problems.add_file(&path.display().to_string(), "no such file or folder").help(help);
        }
        Err(error) => cannot_read(path, &error, problems),
    }
}

fn is_name_of_builtin(path: &Path) -> bool {
    BUILTIN.iter().any(|(name, _, _)| name.strip_suffix(".yaml").is_some_and(|name| path.as_os_str() == name))
}

/// What is read because a site file says so.
struct FromSite<'s> {
    in_place: bool,
    silent: Silent<'s>,
    wanted: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl FromSite<'_> {
    /// Reads a site file, and adds the checklists that it names to the others.
    fn read(&mut self, path: &Path, problems: &mut Problems) -> Option<site::Draft> {
        if !self.in_place && !is_trusted(path, problems) {
            return None;
        }
        let mut read = Vec::new();
        read_file(path, &mut read, problems);
        let file = read.pop()?;
        let draft = site::Draft::of(&file, &yaml::read(&file, problems)?, problems)?;
        for folder in &draft.checklists {
            if let Some(said) = (self.silent)(&folder.value) {
                self.warnings.push(format!("{said}; its checklists take no part"));
                continue;
            }
            match fs::metadata(&folder.value) {
                Ok(_) => add_path(&folder.value, &mut self.wanted, problems),
                Err(error) => {
                    let message = format!("{}: {}", folder.value.display(), probe::source::plain_io_text(&error));
                    problems.add(&file, folder.place, message).help("name a folder of checklists, or one of them");
                }
            }
        }
        Some(draft)
    }
}

/// Whether nobody but root may have written a file, where root runs us.
fn is_trusted(path: &Path, problems: &mut Problems) -> bool {
    match if path.as_os_str() == "-" { Ok(()) } else { trust::check(path) } {
        Ok(()) => true,
        Err(untrusted) => {
            let mend = format!("mend it with: {}", untrusted.mend);
            problems.add_file(&path.display().to_string(), untrusted.message).help(mend);
            false
        }
    }
}

/// The checklists in a folder, by name. Hidden files are none: editors keep their locks and copies there.
fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>, problems: &mut Problems) {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut paths: Vec<PathBuf> = match entries {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
        Err(error) => return cannot_read(folder, &error, problems),
    };
    paths.retain(|path| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
    });
    paths.sort();
    found.extend(paths);
}

fn link(
    files: Vec<Arc<SourceFile>>,
    drafts: Vec<site::Draft>,
    in_place: bool,
    warnings: Vec<String>,
    mut problems: Problems,
) -> Result<Checklists, Problems> {
    let schemas = schemas();
    // First the fast way. Where anything is wrong, once more with the places of everything.
    let mut without_places = Problems::default();
    let mut all = decoded(&files, in_place, true, &schemas, &mut without_places);
    if !without_places.is_empty() {
        all = decoded(&files, in_place, false, &schemas, &mut problems);
    }
    // Of a checklist that is wrong not everything is known, and a site file that speaks of it is not to blame.
    let sites = if without_places.is_empty() {
        drafts.into_iter().map(|draft| draft.check(&all, &mut problems)).collect()
    } else {
        Vec::new()
    };
    if problems.is_empty() {
        return Ok(Checklists { all, sites, schemas, warnings });
    }
    problems.sort(&files);
    Err(problems)
}

/// The checklists of all files, checked against each other; the built-in ones of what the build made of them where `fast`.
fn decoded(
    files: &[Arc<SourceFile>],
    in_place: bool,
    fast: bool,
    schemas: &Schemas,
    problems: &mut Problems,
) -> Vec<Checklist> {
    let decode_one = |(number, file): (usize, &Arc<SourceFile>)| {
        let mut problems = Problems::default();
        let root = match BUILTIN.get(number) {
            Some((_, _, written)) if fast => yaml::read_built(written),
            _ => yaml::read(file, &mut problems),
        };
        (root.and_then(|root| decode::checklist(file, &root, &mut problems)), problems)
    };
    // The built-in ones are quick to read; of a site's own, each has a thread, where there are threads to be had.
    let (builtin, own) = files.split_at(BUILTIN.len());
    let mut decoded: Vec<_> = builtin.iter().enumerate().map(|(number, file)| decode_one((number, file))).collect();
    std::thread::scope(|scope| {
        let started: Vec<_> = own
            .iter()
            .enumerate()
            .map(|(number, file)| {
                let one = (BUILTIN.len() + number, file);
                let thread = std::thread::Builder::new().stack_size(crate::STACK_BYTES);
                thread.spawn_scoped(scope, move || decode_one(one)).map_err(|_| one)
            })
            .collect();
        for thread in started {
            decoded.push(match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(one) => decode_one(one),
            });
        }
    });
    let mut all: Vec<Checklist> = Vec::new();
    for (checklist, found) in decoded {
        all.extend(checklist);
        problems.append(found);
    }
    if in_place {
        let own: Vec<String> = all.iter().filter(|one| !one.is_builtin()).map(|one| one.name.text.clone()).collect();
        all.retain(|one| !one.is_builtin() || !own.contains(&one.name.text));
    }
    check::all(&all, schemas, fast && !in_place, problems);
    all
}

/// The JSON Schema of a checklist, for editors.
pub fn schema() -> Json {
    editor::schema(&schemas())
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

fn read_file(path: &Path, files: &mut Vec<Arc<SourceFile>>, problems: &mut Problems) {
    let name = path.display().to_string();
    let too_large = |size: u64, problems: &mut Problems| {
        let most = yaml::MAX_BYTES >> 20;
        let message = format!("this file has {} MiB; a checklist may have {most} MiB", size >> 20);
        problems.add_file(&name, message).help("split it into several files");
    };
    // The size is looked at first: a file of many gigabytes must not be read to be refused. What is no plain file (a
    // pipe in a folder of checklists) is not opened at all.
    let bytes = if name == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
    } else {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => {
                problems.add_file(&name, "not a plain file");
                return;
            }
            Ok(found) if found.len() > yaml::MAX_BYTES as u64 => return too_large(found.len(), problems),
            _ => fs::read(path),
        }
    };
    match bytes.map(String::from_utf8) {
        Err(error) => cannot_read(path, &error, problems),
        Ok(Ok(text)) => files.push(Arc::new(SourceFile::new(name, text))),
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let before = &error.as_bytes()[..at];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
            problems
                .add(&SourceFile::new(name, text), Place { line, column }, "this byte is not UTF-8")
                .help("save the file as UTF-8; is this a text file?");
        }
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
