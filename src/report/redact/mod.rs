//! What leaves a site without saying whose it is: names, addresses, numbers and secrets are replaced by pseudonyms.
//!
//! A pseudonym keeps its kind (`host-3f9a04d1`) and is the same for the same thing wherever the same key is used: it is
//! the beginning of a keyed hash (HMAC-SHA-256), so nobody without the key can tell from it, or guess and try, what it
//! stands for.
//!
//! It works on the JSON form of a report or a snapshot, before that is rendered in any format, in two passes. The first
//! finds what has to be hidden: by the fields that are known to hold it (`fields`), and by its form or the words around
//! it (`shapes`). The second replaces all of that wherever it stands: in values, keys, messages, log lines, in the
//! output of commands and in JSON inside of it. What a diagnosis needs stays: PCI addresses, product names, versions,
//! counts, times, names of devices, the mounts that every node has.

mod fields;
mod shapes;
mod words;

use crate::checklist;
use aho_corasick::AhoCorasick;
use fields::Field;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use sha2::Sha256;
use shapes::{Site, Span, begins_word, ends_word, is_pseudonym};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr};

/// How many hexadecimal digits a pseudonym has. With eight, two of 10,000 nodes share one in one site of a hundred;
/// with four, every tenth node would share its own.
const DIGITS: usize = 8;

/// The shortest name that is looked for everywhere, and not only where the text around it tells what it is.
const SHORTEST: usize = 3;

/// What a pseudonym stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A machine, or a list of them.
    Host,
    /// What stands behind a host's name.
    Domain,
    /// A cluster of a scheduler.
    Cluster,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A hardware address of a network interface.
    Mac,
    /// A serial number, a world-wide name.
    Serial,
    /// A UUID.
    Uuid,
    /// A GUID of an InfiniBand node or port.
    Guid,
    /// A user or a group of users.
    User,
    /// A place in a file system, or a part of it.
    Path,
    /// Passwords, tokens, keys.
    Secret,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::Host,
        Kind::Domain,
        Kind::Cluster,
        Kind::Ip,
        Kind::Mac,
        Kind::Serial,
        Kind::Uuid,
        Kind::Guid,
        Kind::User,
        Kind::Path,
        Kind::Secret,
    ];

    /// The word that a pseudonym begins with.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Host => "host",
            Kind::Domain => "domain",
            Kind::Cluster => "cluster",
            Kind::Ip => "ip",
            Kind::Mac => "mac",
            Kind::Serial => "serial",
            Kind::Uuid => "uuid",
            Kind::Guid => "guid",
            Kind::User => "user",
            Kind::Path => "path",
            Kind::Secret => "secret",
        }
    }

    /// The kind whose pseudonyms begin with a word.
    pub fn of_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether upper and lower case are the same thing.
    fn folds_case(self) -> bool {
        !matches!(self, Kind::User | Kind::Path | Kind::Secret)
    }

    /// Whether `_` belongs to its words. A serial number stands behind one in the names of disks.
    fn has_underscores(self) -> bool {
        matches!(self, Kind::Host | Kind::Cluster | Kind::Domain | Kind::User)
    }

    /// What is the same for all spellings of one thing.
    fn normal(self, text: &str) -> String {
        let hex = || -> String {
            let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
            digits.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase()).collect()
        };
        match self {
            Kind::Ip => match text.parse::<IpAddr>() {
                Ok(address) => address.to_canonical().to_string(),
                // Written in hexadecimal digits.
                Err(_) => u32::from_str_radix(text, 16).map_or(text.into(), |bits| Ipv4Addr::from(bits).to_string()),
            },
            Kind::Uuid | Kind::Mac => hex(),
            // A port's GID, written out, ends in its GUID.
            Kind::Guid => {
                let digits = hex();
                digits.get(digits.len().saturating_sub(16)..).unwrap_or_default().to_string()
            }
            kind if kind.folds_case() => text.to_ascii_lowercase(),
            _ => text.to_string(),
        }
    }
}

/// One thing that was replaced.
#[derive(Debug, Clone, Serialize)]
pub struct Replaced {
    /// What it is.
    pub kind: Kind,
    /// As it stood there first.
    pub original: String,
    /// What stands in its place.
    pub pseudonym: String,
    /// How often it was replaced.
    pub count: usize,
    /// Where, as paths into the document; the first few.
    pub places: Vec<String>,
}

/// How many places are kept for each thing that was replaced.
const PLACES: usize = 3;

/// Replaces what says whose a document is. One redactor for all documents that are shown together.
pub struct Redactor {
    key: Hmac<Sha256>,
    site: Site,
    /// What to look for everywhere: kind and text, and what that stands for.
    known: BTreeMap<(Kind, String), Known>,
    search: Option<Search>,
    replaced: Vec<Replaced>,
    /// Positions in `replaced`, by kind and normal form.
    numbers: HashMap<(Kind, String), usize>,
    pseudonyms: BTreeSet<String>,
    /// Texts in which nothing has to be hidden, by their hash: of a thousand outcomes most say the same.
    clean: HashSet<u64>,
    hasher: RandomState,
    /// Whether it is remembered where things stood.
    places: bool,
    digits: usize,
}

/// What a text to look for stands for.
#[derive(Clone)]
struct Known {
    /// The normal form of it.
    normal: String,
    /// What of the text's beginning stays, in bytes: the folders that a mount lies in.
    keep: usize,
}

/// All known texts at once.
struct Search {
    automaton: AhoCorasick,
    /// Of each pattern.
    patterns: Vec<(Kind, Known)>,
}

impl Redactor {
    /// A redactor whose pseudonyms come of `key`.
    pub fn new(key: &[u8]) -> Redactor {
        Redactor {
            // HMAC takes keys of any length.
            key: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
            site: Site::default(),
            known: BTreeMap::new(),
            search: None,
            replaced: Vec::new(),
            numbers: HashMap::new(),
            pseudonyms: BTreeSet::new(),
            clean: HashSet::new(),
            hasher: RandomState::new(),
            places: false,
            digits: DIGITS,
        }
    }

    /// Remembers where each thing stood, for a preview.
    pub fn remember_places(&mut self) {
        self.places = true;
    }

    /// Finds out what has to be hidden from a document that belongs to those to be redacted: what it tells of them is
    /// replaced in them too.
    pub fn learn(&mut self, document: &Json) {
        // Twice: what fields tell helps to read the texts, also those before them.
        Learner { redactor: self, seen: HashSet::new() }.walk(document, Field::default(), true);
        Learner { redactor: self, seen: HashSet::new() }.walk(document, Field::default(), false);
        self.search = None;
        self.clean.clear();
    }

    /// Replaces everything in a document that has to be hidden.
    pub fn redact(&mut self, document: &mut Json) {
        self.learn(document);
        self.prepare();
        let mut path = String::new();
        self.value(document, Field::default(), &mut path);
        if let Some(whole) = document.as_object_mut().filter(|whole| whole.contains_key("format")) {
            whole.insert("redacted".into(), true.into());
        }
    }

    /// The same, redacted: a report, a snapshot, or what else has a JSON form and is read back from it.
    ///
    /// # Errors
    /// Where it could not be read back.
    pub fn redacted<T: Serialize + DeserializeOwned>(&mut self, whole: &T) -> Result<T, serde_json::Error> {
        let mut document = serde_json::to_value(whole)?;
        self.redact(&mut document);
        serde_json::from_value(document)
    }

    /// Everything that was replaced so far, by kind.
    pub fn replaced(&self) -> Vec<&Replaced> {
        let mut replaced: Vec<&Replaced> = self.replaced.iter().collect();
        replaced.sort_by(|a, b| (a.kind, &a.original).cmp(&(b.kind, &b.original)));
        replaced
    }

    /// The pseudonym of a thing, whether or not it was met.
    pub fn pseudonym_of(&self, kind: Kind, original: &str) -> String {
        pseudonym(&self.key, kind, &kind.normal(original), self.digits)
    }

    /// Takes up something to be looked for everywhere.
    fn know(&mut self, kind: Kind, text: &str, keep: usize) {
        let enough = match kind {
            Kind::Secret => 6,
            // A short number is as likely a count.
            Kind::Serial if text.bytes().all(|byte| byte.is_ascii_digit()) => 6,
            Kind::Serial | Kind::Path => 4,
            _ => SHORTEST,
        };
        let place = (kind, text.to_string());
        if text.len() < enough || is_pseudonym(&text[keep..]) || self.known.contains_key(&place) {
            return;
        }
        let normal = kind.normal(&text[keep..]);
        let mut also = Vec::new();
        match kind {
            Kind::Host => {
                if let Some(stem) = shapes::stem_of(text).filter(|stem| !self.site.stems.contains(stem)) {
                    self.site.stems.push(stem);
                }
            }
            Kind::Domain if text.contains('.') => {
                let lower = text.to_ascii_lowercase();
                if !self.site.domains.contains(&lower) {
                    self.site.domains.push(lower);
                }
            }
            // As chrony and /proc/net write it: in hexadecimal digits, from either end.
            Kind::Ip => {
                if let Ok(address) = normal.parse::<Ipv4Addr>() {
                    also.push(format!("{:08x}", address.to_bits()));
                    also.push(format!("{:08x}", address.to_bits().swap_bytes()));
                }
            }
            Kind::Mac | Kind::Guid => also.push(normal.clone()),
            _ => {}
        }
        for text in also {
            self.known.insert((kind, text), Known { normal: normal.clone(), keep: 0 });
        }
        self.known.insert(place, Known { normal, keep });
    }

    /// Makes one search of everything known. Names that are also words of our own texts are left out of it.
    fn prepare(&mut self) {
        if self.search.is_some() {
            return;
        }
        // What has digits in it, or is long, is no word.
        let may_be_word = |text: &str| text.len() < 24 && !text.contains(['.', '/']);
        let names: BTreeSet<String> = self
            .known
            .keys()
            .filter(|(_, text)| may_be_word(text))
            .map(|(_, text)| text.to_ascii_lowercase())
            .collect();
        let ours = of_our_words(&names);
        let mut patterns = Vec::new();
        let mut texts = Vec::new();
        for ((kind, text), known) in &self.known {
            let lower = text.to_ascii_lowercase();
            if !ours.contains(&lower) && !words::is_product_word(&lower) {
                texts.push(text.as_str());
                patterns.push((*kind, known.clone()));
            }
        }
        let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(&texts);
        self.search = automaton.ok().map(|automaton| Search { automaton, patterns });
    }

    fn value(&mut self, value: &mut Json, field: Field, path: &mut String) {
        match value {
            Json::String(text) => {
                if let Some(new) = self.text(text, field, path) {
                    *text = new;
                }
            }
            Json::Array(list) => {
                let mut inside = fields::List::default();
                for (number, one) in list.iter_mut().enumerate() {
                    let field = inside.field(field, one);
                    let length = path.len();
                    if self.places {
                        let _ = write!(path, "[{number}]");
                    }
                    self.value(one, field, path);
                    path.truncate(length);
                }
            }
            Json::Object(map) => self.map(map, field, path),
            Json::Number(number) => {
                if let Some(kind) = field.hides_numbers() {
                    let text = number.to_string();
                    *value = self.replacement(kind, &text, kind.normal(&text), path).into();
                }
            }
            Json::Null | Json::Bool(_) => {}
        }
    }

    fn map(&mut self, map: &mut Map<String, Json>, field: Field, path: &mut String) {
        let object = fields::Object::of(map, field);
        let mut renamed: Vec<(String, String)> = Vec::new();
        for (key, value) in map.iter_mut() {
            let length = path.len();
            if self.places {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            self.value(value, object.field(key), path);
            if object.may_rename(key)
                && let Some(new) = self.key(key, path)
            {
                renamed.push((key.clone(), new));
            }
            path.truncate(length);
        }
        for (old, new) in renamed {
            let Some(value) = map.remove(&old) else { continue };
            let mut name = new.clone();
            let mut number = 2;
            // Two spellings of one name.
            while map.contains_key(&name) {
                name = format!("{new} ({number})");
                number += 1;
            }
            map.insert(name, value);
        }
    }

    /// A key, redacted; `None` where it stays as it is.
    fn key(&mut self, key: &str, path: &str) -> Option<String> {
        // `probe {arguments}`: the arguments are what the same values elsewhere are turned into.
        if let Some((probe, arguments)) = key.split_once(' ').filter(|(_, arguments)| arguments.starts_with('{'))
            && let Ok(mut arguments) = serde_json::from_str::<Json>(arguments)
        {
            self.value(&mut arguments, Field::default(), &mut path.to_string());
            let new = format!("{probe} {arguments}");
            return (new != key).then_some(new);
        }
        self.text(key, Field::default(), path)
    }

    /// A text, redacted; `None` where it stays as it is.
    fn text(&mut self, text: &str, field: Field, path: &str) -> Option<String> {
        let hash = self.hasher.hash_one((text, field));
        if self.clean.contains(&hash) || is_our_reference(text, field) {
            return None;
        }
        let mut spans = Vec::new();
        fields::spans(text, field, &self.site, &mut spans);
        shapes::scan(text, field.is_version(), &self.site, &mut spans);
        let mut normals: Vec<Option<usize>> = vec![None; spans.len()];
        if let Some(search) = &self.search {
            let bytes = text.as_bytes();
            for found in search.automaton.find_overlapping_iter(text) {
                let (kind, Known { normal, keep }) = &search.patterns[found.pattern().as_usize()];
                let underscore = kind.has_underscores();
                if begins_word(bytes, found.start(), underscore)
                    && ends_word(bytes, found.end(), underscore)
                    && (kind.folds_case() || kind.normal(&text[found.start() + keep..found.end()]) == *normal)
                    && !is_part_of_sysfs(text, found.start(), *kind)
                {
                    spans.push(Span { start: found.start() + keep, end: found.end(), kind: *kind });
                    normals.push(Some(found.pattern().as_usize()));
                }
            }
        }
        if spans.is_empty() {
            self.clean.insert(hash);
            return None;
        }
        let mut order: Vec<usize> = (0..spans.len()).collect();
        // A secret before anything in it, then what begins first, and of those what reaches farther.
        order.sort_by_key(|number| {
            let span = &spans[*number];
            (span.kind != Kind::Secret, span.start, std::cmp::Reverse(span.end), *number)
        });
        let mut taken: Vec<usize> = Vec::new();
        for number in order {
            let span = &spans[number];
            let free = |other: &usize| spans[*other].end <= span.start || span.end <= spans[*other].start;
            if span.start < span.end && taken.iter().all(free) && !is_pseudonym(&text[span.start..span.end]) {
                taken.push(number);
            }
        }
        taken.sort_by_key(|number| spans[*number].start);
        let mut new = String::with_capacity(text.len() + 16);
        let mut done = 0;
        for number in taken {
            let span = &spans[number];
            let original = &text[span.start..span.end];
            let known =
                normals[number].and_then(|pattern| Some(self.search.as_ref()?.patterns[pattern].1.normal.clone()));
            let normal = known.unwrap_or_else(|| span.kind.normal(original));
            new.push_str(&text[done..span.start]);
            new.push_str(&self.replacement(span.kind, original, normal, path));
            done = span.end;
        }
        new.push_str(&text[done..]);
        (new != text).then_some(new)
    }

    /// The pseudonym of something met, which is counted.
    fn replacement(&mut self, kind: Kind, original: &str, normal: String, path: &str) -> String {
        let number = match self.numbers.get(&(kind, normal.clone())) {
            Some(number) => *number,
            None => {
                let mut digits = self.digits;
                let mut name = pseudonym(&self.key, kind, &normal, digits);
                while self.pseudonyms.contains(&name) && digits < 64 {
                    digits += 4;
                    name = pseudonym(&self.key, kind, &normal, digits);
                }
                self.pseudonyms.insert(name.clone());
                self.replaced.push(Replaced {
                    kind,
                    original: original.to_string(),
                    pseudonym: name,
                    count: 0,
                    places: Vec::new(),
                });
                self.numbers.insert((kind, normal), self.replaced.len() - 1);
                self.replaced.len() - 1
            }
        };
        let replaced = &mut self.replaced[number];
        replaced.count += 1;
        if self.places && replaced.places.len() < PLACES && !replaced.places.iter().any(|place| place == path) {
            replaced.places.push(path.to_string());
        }
        replaced.pseudonym.clone()
    }
}

fn pseudonym(key: &Hmac<Sha256>, kind: Kind, normal: &str, digits: usize) -> String {
    let mut hash = key.clone();
    hash.update(kind.word().as_bytes());
    hash.update(b"\0");
    hash.update(normal.as_bytes());
    let mut name = format!("{}-", kind.word());
    for byte in hash.finalize().into_bytes().iter().take(digits.div_ceil(2)) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Which of these names are words of the checklists that everybody has. A node called `gpu` must not turn every GPU
/// into its pseudonym.
fn of_our_words(names: &BTreeSet<String>) -> BTreeSet<String> {
    let names: Vec<&String> = names.iter().collect();
    let mut ours = BTreeSet::new();
    let Ok(search) = AhoCorasick::builder().ascii_case_insensitive(true).build(&names) else { return ours };
    if names.is_empty() {
        return ours;
    }
    for text in checklist::builtin_texts() {
        for found in search.find_overlapping_iter(text) {
            if begins_word(text.as_bytes(), found.start(), false) && ends_word(text.as_bytes(), found.end(), false) {
                ours.insert(names[found.pattern().as_usize()].clone());
            }
        }
    }
    ours
}

/// Whether a text is a reference of our own checklists, which everybody has: whatever site it is on, it says nothing of
/// this one.
fn is_our_reference(text: &str, field: Field) -> bool {
    field.is_reference() && text.len() > 12 && checklist::builtin_texts().any(|checklist| checklist.contains(text))
}

/// Whether a name stands in a path of the kernel's, where `node1` is a NUMA node and no machine.
fn is_part_of_sysfs(text: &str, start: usize, kind: Kind) -> bool {
    if !matches!(kind, Kind::Host | Kind::User) || !text[..start].ends_with('/') {
        return false;
    }
    let path = text[..start].rsplit([' ', '"', '\'', '=']).next().unwrap_or_default();
    path.starts_with("/sys/") && !path.contains("hostname")
}

/// Walks a document and takes up what it finds.
struct Learner<'l> {
    redactor: &'l mut Redactor,
    /// The texts that it has looked at, by their hash.
    seen: HashSet<u64>,
}

impl Learner<'_> {
    /// Looks at everything; in the first pass at what fields tell only.
    fn walk(&mut self, value: &Json, field: Field, fields_only: bool) {
        match value {
            Json::String(text) => self.text(text, field, fields_only),
            Json::Array(list) => {
                let mut inside = fields::List::default();
                for one in list {
                    let field = inside.field(field, one);
                    self.walk(one, field, fields_only);
                }
            }
            Json::Object(map) => {
                let object = fields::Object::of(map, field);
                for (key, value) in map {
                    if !fields_only && object.may_rename(key) {
                        self.text(key, Field::default(), false);
                    }
                    self.walk(value, object.field(key), fields_only);
                }
            }
            Json::Number(number) => {
                if let Some(kind) = field.hides_numbers() {
                    self.redactor.know(kind, &number.to_string(), 0);
                }
            }
            Json::Null | Json::Bool(_) => {}
        }
    }

    fn text(&mut self, text: &str, field: Field, fields_only: bool) {
        let may_be_json = text.len() > 2 && text.trim_start().starts_with(['{', '[']);
        if (fields_only && field.says_nothing() && !may_be_json)
            || !self.seen.insert(self.redactor.hasher.hash_one((text, field)))
        {
            return;
        }
        if is_our_reference(text, field) {
            return;
        }
        let mut spans = Vec::new();
        if let Some((place, keep)) = fields::mount(text, field) {
            self.redactor.know(Kind::Path, place, keep);
        }
        fields::spans(text, field, &self.redactor.site, &mut spans);
        let by_field = spans.len();
        if !fields_only {
            shapes::scan(text, field.is_version(), &self.redactor.site, &mut spans);
        }
        for (number, span) in spans.iter().enumerate() {
            let original = &text[span.start..span.end];
            let known = match span.kind {
                // What is one by its form is found by its form again.
                Kind::Uuid => number < by_field,
                // The name of an export, but not of whatever somebody has in their home.
                Kind::Path => number < by_field && !original.contains('/'),
                // `git` of git.acme.com is a word.
                Kind::Host => number < by_field || original.bytes().any(|byte| byte.is_ascii_digit() || byte == b'-'),
                _ => true,
            };
            if known {
                self.redactor.know(span.kind, original, 0);
            }
        }
        // JSON that a command printed has fields too.
        if may_be_json && let Ok(inner) = serde_json::from_str::<Json>(text) {
            self.walk(&inner, Field::free(), fields_only);
        }
    }
}

#[cfg(test)]
mod tests;
