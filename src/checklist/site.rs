//! The site file: what one site says of its nodes, and what it puts up with for a while.

use super::decode::{Decoder, Fields};
use super::nodeset::NodeSet;
use super::problem::{Problems, SourceFile};
use super::yaml::{Key, Kind, Node};
use super::{Checklist, Param, ParamType, Placed, Word, scope, split_key};
use crate::expression::{Mistake, near};
use chrono::NaiveDate;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the site file is looked for.
pub const SITE_FILE: &str = "/etc/punchlist/site.yaml";

const SITE_KEYS: &[&str] = &["site", "params", "checklists", "waivers", "redact"];
const PARAMS_KEYS: &[&str] = &["nodes", "set"];
const WAIVER_KEYS: &[&str] = &["check", "nodes", "reason", "until"];

/// What a site file says.
#[derive(Debug)]
pub struct Site {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The site's name.
    pub name: String,
    /// The parameters of its nodes.
    params: Vec<Params>,
    /// What it puts up with for a while.
    pub waivers: Vec<Waiver>,
    /// Whether what leaves the site is redacted unless asked for otherwise.
    pub redact: bool,
}

/// Parameters of some nodes, or of all.
#[derive(Debug)]
struct Params {
    nodes: Option<NodeSet>,
    set: Vec<(String, Json)>,
}

/// That a site puts up with what a check finds, on some nodes or all, for a while.
#[derive(Debug)]
pub struct Waiver {
    /// The check's id, or a pattern with `*`; with `[KEY]` after it only for the subject that KEY names.
    pub check: String,
    /// The nodes; all of them where `None`.
    pub nodes: Option<NodeSet>,
    /// Why.
    pub reason: String,
    /// The last day on which that holds.
    pub until: NaiveDate,
}

impl Site {
    /// The parameters of the node that goes by these names. Of several values the last one holds.
    pub fn parameters(&self, names: &BTreeSet<String>) -> BTreeMap<String, Json> {
        let of_node = self.params.iter().filter(|params| is_for(params.nodes.as_ref(), names));
        of_node.flat_map(|params| params.set.iter().cloned()).collect()
    }
}

impl Waiver {
    /// Whether it is for the node that goes by these names.
    pub fn is_for(&self, names: &BTreeSet<String>) -> bool {
        is_for(self.nodes.as_ref(), names)
    }

    /// Whether it is for this check, whatever the subject.
    pub fn is_for_check(&self, check: &str) -> bool {
        scope::is_like(check, split_key(&self.check).0)
    }

    /// Whether it is for the outcome of this check for the subject with this key.
    pub fn is_for_outcome(&self, check: &str, key: Option<&str>) -> bool {
        is_like_outcome(&self.check, check, key)
    }
}

fn is_for(nodes: Option<&NodeSet>, names: &BTreeSet<String>) -> bool {
    nodes.is_none_or(|nodes| nodes.has(names))
}

/// Whether `check` or `check[KEY]`, each with `*` for any text, is like this outcome's.
pub(super) fn is_like_outcome(pattern: &str, check: &str, key: Option<&str>) -> bool {
    let (id, wanted) = split_key(pattern);
    scope::is_like(check, id) && wanted.is_none_or(|wanted| key.is_some_and(|key| scope::is_like(key, wanted)))
}

/// Whether a file is a site file by its looks: its map has the key `site`.
pub(super) fn is_site_file(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("site:")) && !text.lines().any(|line| line.starts_with("checklist:"))
}

/// A site file that was read, and not yet held against the checklists that it speaks of.
pub(super) struct Draft {
    file: Arc<SourceFile>,
    name: String,
    params: Vec<DraftParams>,
    /// Folders and files of checklists that join the run.
    pub checklists: Vec<Placed<PathBuf>>,
    waivers: Vec<DraftWaiver>,
    redact: bool,
}

/// A waiver whose check is not looked at yet; that is done where the rest of it is wrong as well.
struct DraftWaiver {
    check: Placed<()>,
    waiver: Option<Waiver>,
}

/// Parameters whose names and types are not looked at yet.
struct DraftParams {
    nodes: Option<NodeSet>,
    set: Vec<(Key, Node)>,
}

impl Draft {
    /// Makes a draft of a file's tree; `None` where too little is right to go on.
    pub(super) fn of(file: &Arc<SourceFile>, root: &Node, problems: &mut Problems) -> Option<Draft> {
        let mut decoder = Decoder { file, problems };
        if let Kind::Map(entries) = &root.kind
            && let Some((key, _)) = entries.iter().find(|(key, _)| key.text == "checklist")
        {
            let help = "name it on the command line, or under the key `checklists` of a site file";
            decoder.say(key.place, "this is a checklist, not a site file", help);
            return None;
        }
        let fields = decoder.fields(root, "a site file", SITE_KEYS)?;
        let name = decoder.required(&fields, "site").and_then(|node| decoder.text(node));
        let params =
            list(&mut decoder, &fields, "params", "- { nodes: 'gpu[001-128]', set: { gpu_count: 8 } }", params);
        let checklists = fields.get("checklists").map(|node| decoder.texts(node, "checklists")).unwrap_or_default();
        let folder = Path::new(&file.name).parent().unwrap_or(Path::new(""));
        let beside = |path: Placed<()>| Placed { value: folder.join(&path.text), place: path.place, text: path.text };
        let form = "- { check: gpu.count, nodes: gpu042, reason: why, until: 2026-12-31 }";
        let waivers = list(&mut decoder, &fields, "waivers", form, waiver);
        let redact = fields.get("redact").and_then(|node| decoder.truth(node)).unwrap_or_default();
        Some(Draft {
            file: file.clone(),
            name: name.map(|name| name.text).unwrap_or_default(),
            params,
            checklists: checklists.into_iter().map(beside).collect(),
            waivers,
            redact,
        })
    }

    /// Holds it against the checklists: parameters by name and type, waivers by the checks that they name.
    pub(super) fn check(self, checklists: &[Checklist], problems: &mut Problems) -> Site {
        let known: BTreeMap<&str, &Param> = checklists
            .iter()
            .flat_map(|checklist| &checklist.params)
            .map(|param| (param.name.text.as_str(), param))
            .collect();
        let ids: BTreeSet<&str> = checklists
            .iter()
            .flat_map(|checklist| checklist.checks.iter().map(|check| check.id.text.as_str()))
            .collect();
        let mut decoder = Decoder { file: &self.file, problems };
        let mut params = Vec::new();
        for DraftParams { nodes, set: entries } in self.params {
            let mut set = Vec::new();
            for (key, node) in entries {
                match known.get(&*key.text) {
                    Some(param) => {
                        set.extend(value(&mut decoder, param, &node).map(|value| (key.text.into_owned(), value)))
                    }
                    None => {
                        let help =
                            hint(near(&key.text, known.keys().copied()), "checklists name theirs under `params`");
                        decoder.say(key.place, format!("no parameter is called `{}`", key.text), help);
                    }
                }
            }
            params.push(Params { nodes, set });
        }
        let mut waivers = Vec::new();
        for DraftWaiver { check, waiver } in self.waivers {
            let (id, _) = split_key(&check.text);
            if !ids.iter().any(|known| scope::is_like(known, id)) {
                let help =
                    hint(near(id, ids.iter().copied()), "`punchlist checks` lists them all; `*` stands for any text");
                decoder.say(check.place, format!("no check is called `{id}`"), help);
            }
            waivers.extend(waiver);
        }
        Site { file: self.file, name: self.name, params, waivers, redact: self.redact }
    }
}

fn hint(near: Option<&str>, otherwise: &str) -> String {
    near.map_or_else(|| otherwise.to_string(), |one| format!("did you mean `{one}`?"))
}

/// The entries of a list of maps, and where it is none what one looks like.
fn list<T>(
    decoder: &mut Decoder,
    fields: &Fields,
    key: &'static str,
    form: &str,
    read: impl FnMut(&mut Decoder, &Node) -> Option<T>,
) -> Vec<T> {
    match fields.get(key) {
        None => Vec::new(),
        Some(node) if !matches!(node.kind, Kind::List(_)) => {
            let help = format!("write one element a line, each like `{form}`");
            decoder.say(node.place, format!("`{key}` is a list, this is {}", node.name()), help);
            Vec::new()
        }
        Some(node) => decoder.elements(node, key, read),
    }
}

/// Parameters of some nodes: `{ nodes: NODES, set: { NAME: VALUE, … } }`.
fn params(decoder: &mut Decoder, node: &Node) -> Option<DraftParams> {
    let fields = decoder.fields(node, "an element of `params`", PARAMS_KEYS)?;
    let nodes = nodes(decoder, &fields);
    let set = decoder.required(&fields, "set").map(|set| decoder.entries(set, "set").to_vec());
    Some(DraftParams { nodes, set: set? })
}

/// The node set of a map; `None` where it names none, and so means all.
fn nodes(decoder: &mut Decoder, fields: &Fields) -> Option<NodeSet> {
    fields.get("nodes").and_then(|node| decoder.parsed(node, NodeSet::parse)).map(|nodes| nodes.value)
}

fn waiver(decoder: &mut Decoder, node: &Node) -> Option<DraftWaiver> {
    let fields = decoder.fields(node, "a waiver", WAIVER_KEYS)?;
    let check = decoder.required(&fields, "check").and_then(|node| decoder.text(node));
    let nodes = nodes(decoder, &fields);
    let reason = decoder.required(&fields, "reason").and_then(|node| decoder.text(node));
    let until = decoder.required(&fields, "until").and_then(|node| decoder.parsed(node, date));
    if let Some(reason) = reason.as_ref().filter(|reason| reason.text.trim().is_empty()) {
        decoder.say(reason.place, "this reason is empty", "say why the site puts up with it, for whoever asks later");
    }
    let check = check?;
    let waiver = reason.zip(until).map(|(reason, until)| Waiver {
        check: check.text.clone(),
        nodes,
        reason: reason.text,
        until: until.value,
    });
    Some(DraftWaiver { check, waiver })
}

fn date(text: &str) -> Result<NaiveDate, Mistake> {
    // The parser also takes `2026-2-3`; one way to write a day is enough.
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|date| date.to_string() == text);
    date.ok_or_else(|| Mistake {
        offset: 0,
        message: format!("`{text}` is no day"),
        help: Some("write year, month and day: `2026-12-31`".into()),
    })
}

/// A parameter's value, of the type that its checklist gives it.
fn value(decoder: &mut Decoder, param: &Param, node: &Node) -> Option<Json> {
    let found = match (param.kind, &node.kind) {
        (ParamType::Int, Kind::Int(value)) => Some(Json::from(*value)),
        (ParamType::Number, Kind::Int(value)) => Some(Json::from(*value)),
        (ParamType::Number, Kind::Float(value)) if value.is_finite() => Some(Json::from(*value)),
        (ParamType::Bool, Kind::Bool(value)) => Some(Json::from(*value)),
        (ParamType::List, Kind::List(items)) if items.is_empty() => Some(Json::Array(Vec::new())),
        (ParamType::List, Kind::List(_)) => {
            return Some(decoder.texts(node, "a list").into_iter().map(|item| Json::from(item.text)).collect());
        }
        (ParamType::Text, Kind::Text(_) | Kind::Int(_) | Kind::Float(_) | Kind::Bool(_)) => {
            decoder.text(node).map(|text| Json::from(text.text))
        }
        _ => None,
    };
    if found.is_none() {
        let kind = ParamType::WORDS.iter().find(|(_, kind)| *kind == param.kind).map_or("", |(word, _)| *word);
        let help = match param.kind {
            ParamType::List => "write `[a, b]`",
            ParamType::Int => "write a whole number",
            _ => "",
        };
        decoder.say(node.place, format!("`{}` is of the type {kind}, this is {}", param.name.text, node.name()), help);
    }
    found
}
