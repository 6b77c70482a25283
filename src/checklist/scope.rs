//! What a checked check means on one node: its subjects, whether it applies, and the final arguments of its probes.
//!
//! Planning reads this to know what to ask, judging to know what was asked: both have to agree, so it stands once.

use super::{Argument, Ask, Cause, Check, Checklist, Checklists, Loop, Param, ParamType};
use crate::expression::{Fact, Names, Schemas, Scope, Type};
use crate::fact::{Absent, Observations, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

/// What an outcome is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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

impl Subject {
    /// Whether both are the same thing. A GPU is a device on the PCI bus as well: one PCI address is one thing.
    pub fn is_same_thing(&self, other: &Subject) -> bool {
        self == other || (self.key == other.key && self.key.as_deref().is_some_and(is_pci_address))
    }

    /// Whether this is a part of `whole`, or of a part of it. Everything is a part of the node.
    pub fn is_part_of(&self, whole: &Subject) -> bool {
        whole.kind == "node"
            || self.parent.as_ref().is_some_and(|parent| parent.is_same_thing(whole) || parent.is_part_of(whole))
    }
}

/// `0000:9c:00.0`
fn is_pci_address(text: &str) -> bool {
    let is_hex = |part: &str, digits| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split(':');
    match (parts.next(), parts.next(), parts.next().and_then(|rest| rest.split_once('.')), parts.next()) {
        (Some(domain), Some(bus), Some((device, function)), None) => {
            domain.len() >= 4
                && is_hex(domain, domain.len())
                && is_hex(bus, 2)
                && is_hex(device, 2)
                && is_hex(function, 1)
        }
        _ => false,
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

/// Whether a name is like a pattern, in which `*` stands for any text.
pub fn is_like(name: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return name == pattern };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        match name.split_once(part) {
            Some((_, after)) => name = after,
            None => return false,
        }
    }
    name.ends_with(end)
}

/// Whether any of these names is like a pattern. They are sorted, so only those are looked at that begin as it does.
pub fn any_is_like<'n>(names: &BTreeSet<&'n str>, pattern: &'n str) -> bool {
    let start = pattern.split('*').next().unwrap_or_default();
    names.range(start..).take_while(|name| name.starts_with(start)).any(|name| is_like(name, pattern))
}

/// The name by which a cause reads what was found: the outcomes that are `critical`, `warning` or `info`.
pub const OUTCOMES: &str = "outcomes";

/// The name by which a cause reads what could not be told because nothing answered in time. It stands apart, since a
/// question without an answer shows nothing of what was asked: a GPU that hangs is no GPU with a slow link.
pub const TIMEOUTS: &str = "timeouts";

/// What an element of [`OUTCOMES`] and of [`TIMEOUTS`] is.
pub static OUTCOMES_SCHEMA: LazyLock<Json> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    json!({"type": "array", "items": {"type": "object", "properties": {
        "check": text,
        "status": {"enum": ["critical", "warning", "unknown", "info"]},
        "kind": text,
        "key": text,
        "parent_key": text,
        "message": text,
        "number": {"type": "integer"},
    }}})
});

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
            Some(_) if !wanted(name) && !defaults().any(|default| default.value.reads(name)) => {}
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
            (None, None) => Absent::not_present(format!("params.{name} is not set (--set)")).to_json(),
        };
        params.insert(name.clone(), value);
    }
    let mut scope = probes.extend();
    scope.set_json("params", &Json::Object(params));
    if wanted(BEFORE) {
        match earlier(observations) {
            Ok(earlier) => scope.set_json(BEFORE, &earlier),
            Err(absent) => scope.set(BEFORE, Err(absent)),
        }
    }
    scope
}

/// The name by which expressions read an earlier reading of the node.
pub const BEFORE: &str = "before";

/// The schema of [`BEFORE`]: a field for each probe without arguments, and how long ago they were asked.
pub fn before_schema(schemas: &Schemas) -> Json {
    let mut fields: Map<String, Json> = schemas.names.clone().into_iter().collect();
    fields.insert("seconds".into(), json!({"type": "number"}));
    json!({"type": "object", "properties": fields})
}

/// The earlier reading, where there is one that can be compared: counters begin anew with each boot.
fn earlier(observations: &Observations) -> Result<Json, Absent> {
    let Some(before) = &observations.before else {
        return Err(Absent::not_present("there is no earlier reading; --before SNAPSHOT or --over TIME give one"));
    };
    let uptime = observations.plain.get("host").and_then(|host| host.value["uptime_seconds"].as_f64());
    if uptime.is_none_or(|uptime| uptime < before.seconds) {
        return Err(Absent::not_present("the node was booted after its earlier reading"));
    }
    let mut earlier = Map::new();
    for (name, observation) in &before.plain {
        earlier.insert(name.clone(), observation.value.clone());
    }
    earlier.insert("seconds".into(), before.seconds.into());
    Ok(Json::Object(earlier))
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
        Ok(false) => Standing::Skipped(format!("applies only where {}", shortened(expression.text().trim()))),
        Err(absent) => Standing::Absent(absent),
    }
}

/// The beginning of an expression, for a sentence: all of it, `punchlist explain` shows. It ends between two words, so
/// that nobody takes a part of one for something else.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    let Some((end, _)) = text.char_indices().nth(SHOWN) else { return text.to_string() };
    let end = text[..end].rfind(char::is_whitespace).unwrap_or(end);
    format!("{} …", text[..end].trim_end())
}

/// The check for each of its subjects, in the order of its lists; `applies` is what [`applies`] says of its checklist.
pub fn instances(schemas: &Schemas, applies: &Standing, check: &Check, scope: &Scope) -> Vec<Instance> {
    let node = |standing| vec![Instance { subject: Subject::node(), scope: scope.clone(), standing }];
    if *applies != Standing::Asked {
        return node(applies.clone());
    }
    if let Some(absent) = missing_param(check, scope) {
        return node(Standing::Absent(absent));
    }
    let mut instances = Vec::new();
    expand(schemas, &check.for_each, 0, None, scope, &mut instances);
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

/// Each thing that a cause holds of. What nobody could tell is left out: a cause is a claim.
pub fn cause_instances(schemas: &Schemas, applies: &Standing, cause: &Cause, scope: &Scope) -> Vec<Instance> {
    if *applies != Standing::Asked {
        return Vec::new();
    }
    let mut instances = Vec::new();
    expand(schemas, &cause.for_each, 0, None, scope, &mut instances);
    instances.truncate(MOST_SUBJECTS);
    instances.retain(|instance| {
        instance.standing == Standing::Asked
            && cause.when.as_ref().is_none_or(|when| when.value.holds(&instance.scope) == Ok(true))
    });
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

/// Goes over the elements of the loop at `depth`, and for each of them over those of the loops inside it.
fn expand(
    schemas: &Schemas,
    loops: &[Loop],
    depth: usize,
    parent: Option<Subject>,
    scope: &Scope,
    instances: &mut Vec<Instance>,
) {
    let subject = || parent.clone().unwrap_or_else(Subject::node);
    let Some(first) = loops.get(depth) else {
        instances.push(Instance { subject: subject(), scope: scope.clone(), standing: Standing::Asked });
        return;
    };
    let items = match first.list.value.items(scope) {
        Ok(items) if items.is_empty() => {
            Err(Standing::Skipped(format!("there is none: {} is empty", shortened(first.list.text.trim()))))
        }
        Ok(items) => Ok(items),
        Err(absent) => Err(Standing::Absent(absent)),
    };
    match items {
        Err(standing) => instances.push(Instance { subject: subject(), scope: scope.clone(), standing }),
        Ok(items) => {
            for (number, (item, doubt)) in items.into_iter().enumerate() {
                let (kind, key) = name_of(schemas, loops, depth, &item, number);
                let subject = Subject { kind, key: Some(key), parent: parent.clone().map(Box::new) };
                let mut inside = scope.extend();
                inside.set(&first.name.text, Ok(item));
                match doubt {
                    None => expand(schemas, loops, depth + 1, Some(subject), &inside, instances),
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

/// What the elements of the loop at `depth` are as subjects. Here nothing is held against the schemas any more, so a
/// parameter may be anything: its elements have no name of their own.
fn subject_kind(schemas: &Schemas, loops: &[Loop], depth: usize) -> Option<(String, String)> {
    let before =
        if loops.iter().any(|each| each.list.value.reads(BEFORE)) { before_schema(schemas) } else { Json::Null };
    let mut names = Names::new(schemas);
    names.add("params", Type::Any);
    names.add(BEFORE, schemas.type_of(&before));
    for name in [OUTCOMES, TIMEOUTS] {
        names.add(name, schemas.type_of(&OUTCOMES_SCHEMA));
    }
    let mut element = Type::Any;
    for each in &loops[..=depth] {
        element = match each.list.value.check(&names).0 {
            Type::List(element) => *element,
            _ => Type::Any,
        };
        names.add(&each.name.text, element.clone());
    }
    schemas.subject_kind(&element).map(|kind| (kind.kind.to_string(), kind.key.to_string()))
}

/// What an element of a loop is called as a subject: as its schema says, else as itself or by what names it.
fn name_of(schemas: &Schemas, loops: &[Loop], depth: usize, item: &Fact, number: usize) -> (String, String) {
    let each = &loops[depth];
    if let Some((kind, key)) = each.subject.get_or_init(|| subject_kind(schemas, loops, depth))
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
