//! The JSON Schema of a checklist: what an editor completes and checks while one types. Whether names and expressions
//! are right is beyond it; `punchlist lint` tells.

use super::decode::{CAUSE_KEYS, CHECK_KEYS, CHECKLIST_KEYS, PARAM_KEYS};
use super::{Certainty, Effect, Level, ParamType, Severity, Who, Word};
use crate::expression::Schemas;
use crate::probe::PROBES;
use serde_json::{Map, Value as Json, json};

/// The version of the schema: raised when a checklist that was right before may be wrong after.
const VERSION: u32 = 1;

/// A part of an id, and ids of parts joined by dots.
const ID: &str = "^[a-z][a-z0-9_-]*(\\.[a-z][a-z0-9_-]*)*$";
/// The name of a parameter, a loop variable or an answer.
const NAME: &str = "^[a-z][a-z0-9_]*$";

/// The schema.
pub(super) fn schema(schemas: &Schemas) -> Json {
    let mut definitions = Map::new();
    let asks: Vec<Json> = PROBES
        .iter()
        .filter_map(|probe| {
            let arguments = schemas.arguments(probe.name)?;
            reachable(arguments, schemas, &mut definitions);
            let answer = schemas.answers.get(probe.name).map(|answer| schemas.follow(answer));
            let about = answer.and_then(|answer| answer["description"].as_str()).unwrap_or_default();
            Some(json!({
                "type": "object",
                "properties": { probe.name: written(arguments, about) },
                "required": [probe.name],
                "additionalProperties": false,
            }))
        })
        .collect();
    definitions.insert("expression".into(), expression());
    definitions.insert(
        "text".into(),
        json!({
            "type": ["string", "number", "boolean"],
            "description": "A text; {…} in it is an expression, {{ a brace.",
        }),
    );
    definitions.insert(
        "for_each".into(),
        json!({
            "type": "object", "minProperties": 1,
            "propertyNames": { "pattern": NAME },
            "additionalProperties": { "$ref": "#/$defs/expression" },
        }),
    );
    definitions.insert(
        "observe".into(),
        json!({
            "type": "object", "minProperties": 1,
            "propertyNames": { "pattern": NAME },
            "additionalProperties": { "oneOf": asks },
        }),
    );
    definitions.insert("param".into(), record("param", PARAM_KEYS, &["type", "about"]));
    definitions.insert("check".into(), record("check", CHECK_KEYS, &["id", "title", "expect"]));
    definitions.insert("cause".into(), record("cause", CAUSE_KEYS, &["id", "title", "certainty", "explains"]));
    let mut schema = record("checklist", CHECKLIST_KEYS, &["checklist", "checks"]);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$id"] = format!("urn:punchlist:schema:checklist:{VERSION}").into();
    schema["title"] = "A checklist of Punchlist".into();
    schema["description"] = "Checks and causes on one topic.".into();
    schema["$defs"] = Json::Object(definitions);
    schema
}

fn expression() -> Json {
    json!({
        "type": ["string", "number", "boolean"],
        "description": "An expression in CEL over probes and parameters. `punchlist probes` lists what it may read.",
    })
}

/// A map with these keys and no others.
fn record(of: &str, keys: &[&str], required: &[&str]) -> Json {
    let properties: Map<String, Json> = keys.iter().map(|key| (key.to_string(), property(of, key))).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn words<W: Word>(about: &str, default: Option<&str>) -> Json {
    let words: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
    let mut schema = json!({ "enum": words, "description": about });
    if let Some(default) = default {
        schema["default"] = default.into();
    }
    schema
}

fn texts(about: &str) -> Json {
    json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/text" }, "description": about })
}

fn reference(to: &str, about: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{to}"), "description": about })
}

/// The schema of one key. A key without an arm here would be a free text; a test holds that there is none.
fn property(of: &str, key: &str) -> Json {
    match (of, key) {
        (_, "id") => json!({
            "type": "string", "pattern": ID,
            "description": "Its name: small letters, digits, `_` and `-`, in parts joined by dots that read as a tree.",
        }),
        ("checklist", "checklist") => json!({ "type": "string", "pattern": ID, "description": "Its name." }),
        ("checklist", "title") => json!({ "type": "string", "description": "Its topic in a few words." }),
        ("checklist", "about") => json!({ "type": "string", "description": "What it finds." }),
        ("checklist", "applies") => reference("expression", "Where this is false, none of its checks applies."),
        ("checklist", "params") => json!({
            "type": "object", "minProperties": 1, "propertyNames": { "pattern": NAME },
            "additionalProperties": { "$ref": "#/$defs/param" },
            "description": "Values that a site may set; `params.NAME` in expressions.",
        }),
        ("checklist", "checks") => json!({
            "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/check" },
            "description": "Questions about a node.",
        }),
        ("checklist", "causes") => json!({
            "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/cause" },
            "description": "Rules that say which one fault explains several outcomes.",
        }),
        ("param", "type") => words::<ParamType>("What it holds.", None),
        ("param", "about") => json!({
            "type": "string", "description": "What it means, and where its default is from.",
        }),
        ("param", "default") => {
            reference("expression", "Its value when nobody sets it. A text stands in quotes of its own: '\"a\"'.")
        }
        ("check", "title") => reference("text", "The good state, as a sentence."),
        ("cause", "title") => reference("text", "The fault, as a sentence."),
        ("check", "for_each") => {
            reference("for_each", "Loop variables with their lists, outermost first: one outcome for each element.")
        }
        ("cause", "for_each") => reference("for_each", "Loop variables with their lists: one fault for each element."),
        ("check", "when") => reference("expression", "Where this is false, the check does not apply."),
        ("cause", "when") => reference("expression", "Where this is false, the fault is not there."),
        ("check", "observe") => {
            reference("observe", "Probes that take arguments: NAME: { PROBE: { … } }, read as NAME.")
        }
        ("check", "needs") => texts("Checks that have to hold first, by id."),
        ("check", "expect") => {
            let levels: Map<String, Json> = Severity::WORDS
                .iter()
                .map(|(word, _)| (word.to_string(), json!({ "$ref": "#/$defs/expression" })))
                .collect();
            json!({
                "anyOf": [
                    { "$ref": "#/$defs/expression" },
                    { "type": "object", "minProperties": 1, "properties": levels, "additionalProperties": false },
                ],
                "description": "What has to be true; with several severities the worst that is false is the outcome.",
            })
        }
        ("check", "severity") => words::<Severity>("The outcome where `expect` is false.", Some("critical")),
        ("check", "found") => reference("text", "What was found where it is false: one sentence."),
        (_, "why") => reference("text", "Why it matters."),
        ("cause", "seen") => texts("What shows that it is there, with its values."),
        (_, "next") => texts("What to do, most important first."),
        (_, "who") => words::<Who>("Who has to act.", None),
        (_, "refs") => texts("Where to read more."),
        (_, "tags") => texts("Words to choose it by."),
        ("check", "level") => words::<Level>("How thorough a run has to be.", Some("standard")),
        ("check", "effect") => words::<Effect>("What asking does to the node.", Some("reads")),
        ("cause", "subject") => json!({
            "type": "string", "pattern": "^[a-z_]+ *\\(.*\\)$",
            "description": "The faulty thing: a kind with the expression that names it, gpu(x.pci).",
        }),
        ("cause", "certainty") => words::<Certainty>("How sure the rule is.", None),
        ("cause", "explains") => texts("Ids of the checks whose outcomes it explains; * stands for any text."),
        ("cause", "hangs") => {
            texts("Probes of which it explains that they hang, with all that could not be told for that.")
        }
        ("cause", "anywhere") => json!({
            "type": "boolean", "default": false,
            "description": "Whether it explains outcomes of other subjects too.",
        }),
        ("cause", "otherwise") => json!({
            "type": "boolean", "default": false,
            "description": "Whether it explains only what no other cause explains, however sure it is.",
        }),
        _ => json!({ "type": "string" }),
    }
}

/// The arguments of a probe as an author may write them: each also as a text with an expression in it.
fn written(arguments: &Json, about: &str) -> Json {
    let properties = arguments["properties"].as_object().into_iter().flatten().map(|(name, argument)| {
        let mut plain = argument.clone();
        let description = plain.as_object_mut().and_then(|fields| fields.remove("description"));
        let mut either = json!({ "anyOf": [plain, { "type": "string", "pattern": "\\{" }] });
        if let Some(description) = description {
            either["description"] = description;
        }
        (name.clone(), either)
    });
    json!({
        "type": "object",
        "description": about,
        "properties": properties.collect::<Map<_, _>>(),
        "required": arguments.get("required").cloned().unwrap_or_else(|| json!([])),
        "additionalProperties": false,
    })
}

/// Collects the definitions that a schema refers to.
fn reachable(schema: &Json, schemas: &Schemas, found: &mut Map<String, Json>) {
    match schema {
        Json::Object(fields) => {
            let name = fields.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix("#/$defs/"));
            if let Some((name, definition)) = name.and_then(|name| Some((name, schemas.definitions.get(name)?)))
                && found.insert(name.to_string(), definition.clone()).is_none()
            {
                reachable(definition, schemas, found);
            }
            fields.values().for_each(|field| reachable(field, schemas, found));
        }
        Json::Array(items) => items.iter().for_each(|item| reachable(item, schemas, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described() {
        for (of, keys) in
            [("checklist", CHECKLIST_KEYS), ("param", PARAM_KEYS), ("check", CHECK_KEYS), ("cause", CAUSE_KEYS)]
        {
            for key in keys {
                assert!(property(of, key)["description"].is_string(), "{of}: {key}");
            }
        }
    }
}
