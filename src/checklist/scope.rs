//! What a checked check means on one node: its subjects, whether it applies, and the final arguments of its probes.
//!
//! Planning reads this to know what to ask, judging to know what was asked: both have to agree, so it stands once.

use super::{Argument, Ask, Check, Checklist, Checklists, Loop, Param, ParamType};
use crate::expression::{Fact, Schemas, Scope, Type};
use crate::fact::{Absent, Observations, Reason};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What an outcome is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// `node`, `gpu`, `mount`, …
    pub kind: String,
    /// Which one of its kind; the node needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it is a part of, where that is not the node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<Subject>>,
}

impl Subject {
    /// The node as a whole.
    pub fn node() -> Subject {
        Subject { kind: "node".into(), key: None, parent: None }
    }
}

impl fmt::Display for Subject {
    /// `gpu 0000:9c:00.0, link 3`; for the node, `node`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = &self.parent {
            write!(f, "{parent}, ")?;
        }
        f.write_str(&self.kind)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, " {key}"))
    }
}

/// Whether a check asks anything of a subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It does.
    Asked,
    /// It does not apply, and why.
    Skipped(String),
    /// Nobody can tell whether it applies.
    Absent(Absent),
}

/// A check for one subject.
#[derive(Debug, Clone)]
pub struct Instance {
    /// What the outcome will be about.
    pub subject: Subject,
    /// The names that the check's expressions may read, all but the answers under `observe`.
    pub scope: Scope,
    /// Whether it asks anything.
    pub standing: Standing,
}

/// The most subjects that one check may have. The largest honest one has a subject for each process of a node.
const MOST_SUBJECTS: usize = 20_000;

/// The regular expression of an id with `*` for any text.
pub fn id_pattern(pattern: &str) -> Regex {
    let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
    Regex::new(&format!("^{}$", parts.join(".*"))).expect("escaped text is a regular expression")
}

/// The names that every check may read on this node: the probes without arguments, and `params`.
pub fn of_node(checklists: &Checklists, observations: &Observations, set: &BTreeMap<String, Json>) -> Scope {
    of_node_with(checklists, observations, set, |_| true)
}

/// As [`of_node`], for checks that read of the probes only what `wanted` names and what parameters read: a large
/// observation takes time to be made fit for expressions.
pub fn of_node_with(
    checklists: &Checklists,
    observations: &Observations,
    set: &BTreeMap<String, Json>,
    wanted: impl Fn(&str) -> bool,
) -> Scope {
    let mut probes = Scope::new();
    let defaults = || checklists.params().filter_map(|param| param.default.as_ref());
    for name in checklists.schemas.names() {
        match observations.plain.get(name) {
            Some(_) if !wanted(name) && !defaults().any(|default| default.value.names().contains(name)) => {}
            Some(observation) => probes.set_json(name, &observation.value),
            None => probes.set(name, Err(Absent::new(Reason::NotRecorded, format!("{name} was not asked")))),
        }
    }
    let mut params = Map::new();
    for param in checklists.params() {
        let name = &param.name.text;
        let value = match (set.get(name), &param.default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => match default.value.value(&probes) {
                Ok(value) => value.to_json(),
                Err(absent) => {
                    let detail = format!("params.{name} is not set, and its default is {absent}");
                    Absent::new(absent.reason, detail).to_json()
                }
            },
            (None, None) => {
                Absent::not_present(format!("params.{name} is not set; set it with --set {name}=…")).to_json()
            }
        };
        params.insert(name.clone(), value);
    }
    let mut scope = probes.extend();
    scope.set_json("params", &Json::Object(params));
    scope
}

/// The probes that decide about a check's subjects and its probes' arguments.
pub fn read_before_asking<'c>(checklist: &'c Checklist, check: &'c Check) -> BTreeSet<&'c str> {
    let mut names = BTreeSet::new();
    let conditions = checklist.applies.iter().chain(&check.when).chain(check.for_each.iter().map(|each| &each.list));
    conditions.for_each(|condition| names.extend(condition.value.names()));
    for (_, argument) in check.observe.iter().flat_map(|ask| &ask.arguments) {
        argument.expressions(&mut |expression| names.extend(expression.names()));
    }
    names
}

/// Reads the value of `--set NAME=VALUE`.
pub fn param_value(param: &Param, text: &str) -> Result<Json, String> {
    let wrong = |what: &str| Err(format!("{} is {what}, `{text}` is none", param.name.text));
    match param.kind {
        ParamType::Int => text.parse::<i64>().map(Json::from).or_else(|_| wrong("a whole number")),
        ParamType::Number => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Json::from(number)),
            _ => wrong("a number"),
        },
        ParamType::Bool => text.parse::<bool>().map(Json::from).or_else(|_| wrong("true or false")),
        ParamType::Text => Ok(Json::from(text)),
        ParamType::List => Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Json::from).collect()),
    }
}

/// Whether a checklist applies here at all.
pub fn applies(checklist: &Checklist, scope: &Scope) -> Standing {
    match &checklist.applies {
        Some(applies) => condition(&applies.value, scope),
        None => Standing::Asked,
    }
}

fn condition(expression: &crate::expression::Expression, scope: &Scope) -> Standing {
    match expression.holds(scope) {
        Ok(true) => Standing::Asked,
        Ok(false) => Standing::Skipped(format!("applies only where {}", expression.text().trim())),
        Err(absent) => Standing::Absent(absent),
    }
}

/// The check for each of its subjects, in the order of its lists.
pub fn instances(checklist: &Checklist, check: &Check, scope: &Scope) -> Vec<Instance> {
    let node = |standing| vec![Instance { subject: Subject::node(), scope: scope.clone(), standing }];
    match applies(checklist, scope) {
        Standing::Asked => {}
        other => return node(other),
    }
    if let Some(absent) = missing_param(check, scope) {
        return node(Standing::Absent(absent));
    }
    let mut instances = Vec::new();
    expand(&check.for_each, None, scope, &mut instances);
    if instances.len() > MOST_SUBJECTS {
        let detail = format!("its loops lead to more than {MOST_SUBJECTS} subjects");
        return node(Standing::Absent(Absent::failed(detail)));
    }
    for instance in &mut instances {
        if let (Standing::Asked, Some(when)) = (&instance.standing, &check.when) {
            instance.standing = condition(&when.value, &instance.scope);
        }
    }
    instances
}

/// A parameter that decides about the check but is set nowhere. It is looked for before anything else, so that the
/// outcome names it and not what follows from it.
fn missing_param(check: &Check, scope: &Scope) -> Option<Absent> {
    let decide = check.expect.iter().map(|(_, expect)| &expect.value);
    let decide = decide.chain(check.when.iter().map(|when| &when.value));
    let decide = decide.chain(check.for_each.iter().map(|each| &each.list.value));
    let names: BTreeSet<&str> = decide.flat_map(|expression| expression.parameters()).collect();
    let absent = |name: &str| scope.param(name).err();
    names.into_iter().filter_map(absent).find(|absent| absent.reason == Reason::NotPresent)
}

fn expand(loops: &[Loop], parent: Option<Subject>, scope: &Scope, instances: &mut Vec<Instance>) {
    let subject = || parent.clone().unwrap_or_else(Subject::node);
    let Some((first, rest)) = loops.split_first() else {
        instances.push(Instance { subject: subject(), scope: scope.clone(), standing: Standing::Asked });
        return;
    };
    let items = match first.list.value.items(scope) {
        Ok(items) if items.is_empty() => {
            Err(Standing::Skipped(format!("there is none: {} is empty", first.list.text.trim())))
        }
        Ok(items) => Ok(items),
        Err(absent) => Err(Standing::Absent(absent)),
    };
    match items {
        Err(standing) => instances.push(Instance { subject: subject(), scope: scope.clone(), standing }),
        Ok(items) => {
            for (number, (item, doubt)) in items.into_iter().enumerate() {
                let (kind, key) = name_of(first, &item, number);
                let subject = Subject { kind, key: Some(key), parent: parent.clone().map(Box::new) };
                let mut inside = scope.extend();
                inside.set(&first.name.text, Ok(item));
                match doubt {
                    None => expand(rest, Some(subject), &inside, instances),
                    Some(absent) => {
                        let standing = Standing::Absent(absent);
                        instances.push(Instance { subject, scope: inside, standing });
                    }
                }
                if instances.len() > MOST_SUBJECTS {
                    return;
                }
            }
        }
    }
}

/// What an element of a loop is called as a subject: as its schema says, else as itself or by what names it.
fn name_of(each: &Loop, item: &Fact, number: usize) -> (String, String) {
    if let Some(Some((kind, key))) = each.subject.get()
        && let Some(key) = item.field(key)
    {
        return (kind.clone(), key.text());
    }
    let key = match item.to_json() {
        Json::Object(_) => ["name", "id"].iter().find_map(|key| item.field(key)).map(|key| key.text()),
        Json::Array(_) => None,
        _ => Some(item.text()),
    };
    (each.name.text.clone(), key.unwrap_or_else(|| number.to_string()))
}

/// The final arguments of a probe for one subject.
pub fn arguments(ask: &Ask, schemas: &Schemas, scope: &Scope) -> Result<Json, Absent> {
    let schema = schemas.arguments(ask.probe.name).map_or(&Json::Null, |schema| &schema["properties"]);
    let mut arguments = Map::new();
    for (name, argument) in &ask.arguments {
        let wanted = schemas.type_of(&schema[&name.text]);
        arguments.insert(name.text.clone(), argument_value(argument, &wanted, scope)?);
    }
    Ok(Json::Object(arguments))
}

fn argument_value(argument: &Argument, wanted: &Type, scope: &Scope) -> Result<Json, Absent> {
    match argument {
        Argument::Plain(_, written) if matches!(wanted, Type::Text) => Ok(Json::from(written.as_str())),
        Argument::Plain(value, _) => Ok(value.clone()),
        Argument::List(items) => {
            let inside = match wanted {
                Type::List(inside) => inside,
                _ => &Type::Any,
            };
            items.iter().map(|item| argument_value(item, inside, scope)).collect()
        }
        Argument::Text(text) => match text.value.only_expression() {
            Some(expression) if !matches!(wanted, Type::Text | Type::Word(_)) => {
                expression.value(scope).map(|value| value.to_json())
            }
            _ => text.value.argument(scope).map(Json::from),
        },
    }
}
