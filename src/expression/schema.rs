//! Types of what expressions read, straight off the probes' JSON Schemas.

use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// The type of a value in an expression.
#[derive(Clone, Debug)]
pub enum Type<'s> {
    /// Not known before the run: what a command printed as JSON, or a part of it.
    Any,
    /// true or false
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Double,
    /// A text.
    Text,
    /// One of these words.
    Word(Vec<&'s str>),
    /// A list of elements of one type.
    List(Box<Type<'s>>),
    /// A map from texts to values of one type.
    Map(Box<Type<'s>>),
    /// A record with known fields: the schema that has its `properties`.
    Record(&'s Json),
    /// A span of time (`duration("90s")`).
    Duration,
    /// A point in time (`timestamp(host.time)`).
    Time,
}

impl Type<'_> {
    /// The type as a person would say it.
    pub fn name(&self) -> &'static str {
        match self {
            Type::Any => "anything",
            Type::Bool => "true or false",
            Type::Int => "a whole number",
            Type::Double => "a number with a fraction",
            Type::Text => "a text",
            Type::Word(_) => "a word",
            Type::List(_) => "a list",
            Type::Map(_) => "a map",
            Type::Record(_) => "a record",
            Type::Duration => "a span of time",
            Type::Time => "a point in time",
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Type::Text | Type::Word(_) | Type::Any)
    }
}

/// How the elements of a list are subjects of outcomes: what kind of thing they are and which field names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectKind<'s> {
    /// `gpu`, `mount`, …
    pub kind: &'s str,
    /// The field that tells one from another.
    pub key: &'s str,
}

/// The schemas of everything that has a name, with the definitions they share.
#[derive(Debug, Clone, Default)]
pub struct Schemas {
    /// What an expression reads by name.
    pub names: BTreeMap<String, Json>,
    /// What probes with arguments answer, by the probe's name.
    pub answers: BTreeMap<String, Json>,
    /// The arguments of those probes, by the probe's name.
    pub arguments: BTreeMap<String, Json>,
    /// What `$ref` of all these point into (`#/$defs/…`).
    pub definitions: serde_json::Map<String, Json>,
}

impl Schemas {
    /// The type of what a probe with arguments answers.
    pub fn answer(&self, probe: &str) -> Option<Type<'_>> {
        self.answers.get(probe).map(|schema| self.type_of(schema))
    }

    /// The schema of a probe's arguments, references followed.
    pub fn arguments(&self, probe: &str) -> Option<&Json> {
        self.arguments.get(probe).map(|schema| self.follow(schema))
    }

    /// Every kind of subject there is.
    pub fn subject_kinds(&self) -> BTreeSet<&str> {
        fn walk<'s>(schema: &'s Json, kinds: &mut BTreeSet<&'s str>) {
            if let Json::Object(fields) = schema {
                kinds.extend(fields.get("x-subject").and_then(Json::as_str));
                fields.values().for_each(|field| walk(field, kinds));
            }
        }
        let mut kinds = BTreeSet::new();
        self.names.values().chain(self.definitions.values()).for_each(|schema| walk(schema, &mut kinds));
        kinds
    }

    /// All names that have a schema.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The type of what is called `name`.
    pub fn named(&self, name: &str) -> Option<Type<'_>> {
        self.names.get(name).map(|schema| self.type_of(schema))
    }

    /// The schema of what is called `name`, references followed.
    pub fn schema(&self, name: &str) -> Option<&Json> {
        self.names.get(name).map(|schema| self.follow(schema))
    }

    /// Follows `$ref`.
    pub fn follow<'s>(&'s self, schema: &'s Json) -> &'s Json {
        let target = schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/"));
        match target.and_then(|name| self.definitions.get(name)) {
            Some(definition) => self.follow(definition),
            None => schema,
        }
    }

    /// The type that a schema describes.
    pub fn type_of<'s>(&'s self, schema: &'s Json) -> Type<'s> {
        let schema = self.follow(schema);
        if let Some(either) = schema["anyOf"].as_array() {
            return either.iter().find(|one| one["type"] != "null").map_or(Type::Any, |one| self.type_of(one));
        }
        if let Some(words) = words(schema) {
            return Type::Word(words);
        }
        let kind = match &schema["type"] {
            Json::String(kind) => kind.as_str(),
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).find(|kind| *kind != "null").unwrap_or(""),
            _ => "",
        };
        match kind {
            "boolean" => Type::Bool,
            "integer" => Type::Int,
            "number" => Type::Double,
            "string" => Type::Text,
            "array" => Type::List(Box::new(match &schema["items"] {
                items @ Json::Object(_) => self.type_of(items),
                _ => Type::Any,
            })),
            "object" if schema["properties"].is_object() => Type::Record(schema),
            "object" => Type::Map(Box::new(match &schema["additionalProperties"] {
                values @ Json::Object(_) => self.type_of(values),
                _ => Type::Any,
            })),
            _ => Type::Any,
        }
    }

    /// The type of a field, or the fields that there are instead.
    pub(super) fn field<'s>(&'s self, of: &Type<'s>, name: &str) -> Result<Type<'s>, Vec<&'s str>> {
        match of {
            Type::Record(schema) => {
                let fields = schema["properties"].as_object();
                let found = fields.and_then(|fields| fields.get(name)).map(|field| self.type_of(field));
                found.ok_or_else(|| fields.into_iter().flatten().map(|(name, _)| name.as_str()).collect())
            }
            Type::Map(values) => Ok((**values).clone()),
            Type::Any => Ok(Type::Any),
            _ => Err(Vec::new()),
        }
    }

    /// What the elements of this type are as subjects of outcomes, when their schema says so.
    pub fn subject_kind<'s>(&self, element: &Type<'s>) -> Option<SubjectKind<'s>> {
        let Type::Record(schema) = element else { return None };
        Some(SubjectKind { kind: schema["x-subject"].as_str()?, key: schema["x-key"].as_str()? })
    }
}

/// The words of an enumeration; schemars writes documented ones as `oneOf` constants.
fn words(schema: &Json) -> Option<Vec<&str>> {
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().filter_map(Json::as_str).collect());
    }
    let mut words = Vec::new();
    for one in schema["oneOf"].as_array()? {
        match (&one["const"], one["enum"].as_array()) {
            (Json::String(word), _) => words.push(word.as_str()),
            (_, Some(several)) => words.extend(several.iter().filter_map(Json::as_str)),
            _ => return None,
        }
    }
    Some(words)
}
