//! Holding checklists against the probes' schemas and each other, before anything runs.

use super::problem::{Place, Problems, SourceFile};
use super::scope;
use super::{Argument, Ask, Cause, Check, Checklist, Effect, Loop, Param, ParamType, Placed, Word};
use crate::expression::{Expression, Mistake, Names, Schemas, Text, Type, last_line, near};
use crate::probe;
use regex::Regex;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Finds everything that is wrong with checklists that read well one by one. Of the built-in ones only what others
/// may upset, where they are `trusted`: a test holds them against everything else.
pub(super) fn all(checklists: &[Checklist], schemas: &Schemas, trusted: bool, problems: &mut Problems) {
    let ids: Ids = ids(checklists, problems);
    let doubted = || checklists.iter().filter(|checklist| !(trusted && checklist.is_builtin()));
    if doubted().next().is_none() {
        return circles(checklists, problems);
    }
    let params = params_schema(checklists);
    let before = scope::before_schema(schemas);
    let first_round = first_round(schemas, &params, &before);
    let mut with_outcomes = first_round.clone();
    for name in [scope::OUTCOMES, scope::TIMEOUTS] {
        with_outcomes.add(name, schemas.type_of(&scope::OUTCOMES_SCHEMA));
    }
    for checklist in doubted() {
        let checker = Checker {
            file: &checklist.file,
            schemas,
            first_round: &first_round,
            with_outcomes: &with_outcomes,
            ids: &ids,
        };
        if let Some(applies) = &checklist.applies {
            checker.condition(applies, &first_round, problems);
        }
        for param in &checklist.params {
            checker.param(param, problems);
        }
        for check in &checklist.checks {
            if problems.is_full() {
                return;
            }
            checker.check(check, problems);
        }
        for cause in &checklist.causes {
            checker.cause(cause, problems);
        }
    }
    circles(checklists, problems);
}

/// The schema of `params`: one field for each parameter of all checklists.
fn params_schema(checklists: &[Checklist]) -> Json {
    let mut fields = serde_json::Map::new();
    for param in checklists.iter().flat_map(|checklist| &checklist.params) {
        let schema = match param.kind {
            ParamType::Int => json!({"type": "integer"}),
            ParamType::Number => json!({"type": "number"}),
            ParamType::Text => json!({"type": "string"}),
            ParamType::Bool => json!({"type": "boolean"}),
            ParamType::List => json!({"type": "array", "items": {"type": "string"}}),
        };
        fields.insert(param.name.text.clone(), schema);
    }
    json!({"type": "object", "properties": fields})
}

struct Ids<'c> {
    checks: BTreeSet<&'c str>,
}

/// Every name that may be given only once, and where it is given again.
fn ids<'c>(checklists: &'c [Checklist], problems: &mut Problems) -> Ids<'c> {
    let mut seen: [BTreeMap<&str, (&SourceFile, Place)>; 4] = Default::default();
    let mut once = |which: usize, what: &str, file: &'c SourceFile, name: &'c Placed<()>, problems: &mut Problems| {
        if let Some((other, place)) = seen[which].get(name.text.as_str()) {
            let message = format!("there is another {what} `{}`", name.text);
            let help = format!("the other stands at {}:{}:{}; rename one", other.name, place.line, place.column);
            problems.add(file, name.place, message).help(help);
        } else {
            seen[which].insert(&name.text, (file, name.place));
        }
    };
    for checklist in checklists {
        let file = &*checklist.file;
        once(0, "checklist", file, &checklist.name, problems);
        checklist.checks.iter().for_each(|check| once(1, "check", file, &check.id, problems));
        checklist.causes.iter().for_each(|cause| once(2, "cause", file, &cause.id, problems));
        checklist.params.iter().for_each(|param| once(3, "parameter", file, &param.name, problems));
    }
    Ids { checks: seen[1].keys().copied().collect() }
}

/// `needs` that lead back to where they began.
fn circles(checklists: &[Checklist], problems: &mut Problems) {
    let checks: BTreeMap<&str, (&Checklist, &Check)> = checklists
        .iter()
        .flat_map(|checklist| checklist.checks.iter().map(move |check| (check.id.text.as_str(), (checklist, check))))
        .collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in checks.keys() {
        // Depth first with the path at hand; each check is left for good once, so this is linear.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((id, next)) = path.last_mut() {
            let (checklist, check) = checks[*id];
            let need = if done.contains(id) { None } else { check.needs.get(*next) };
            let Some(need) = need else {
                done.insert(id);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(from) = path.iter().position(|(id, _)| *id == need.text) {
                let mut circle: Vec<&str> = path[from..].iter().map(|(id, _)| *id).collect();
                circle.push(&need.text);
                let message = format!("these checks need each other: {}", circle.join(" → "));
                problems.add(&checklist.file, need.place, message).help("take one of these `needs` out");
            } else if let Some((id, _)) = checks.get_key_value(need.text.as_str())
                && !done.contains(id)
            {
                path.push((id, 0));
            }
        }
    }
}

/// What may be read before any probe with arguments was asked.
fn first_round<'c>(schemas: &'c Schemas, params: &'c Json, before: &'c Json) -> Names<'c> {
    let mut names = Names::new(schemas);
    names.add("params", schemas.type_of(params));
    names.add(scope::BEFORE, schemas.type_of(before));
    for probe in probe::PROBES.iter().filter(|probe| probe.arguments.is_some()) {
        let help =
            format!("it takes arguments: write `observe: {{ NAME: {{ {}: {{ … }} }} }}` and read NAME", probe.name);
        names.add_elsewhere(probe.name, &help);
    }
    for name in [scope::OUTCOMES, scope::TIMEOUTS] {
        names.add_elsewhere(name, "only causes read outcomes; a check that builds on another `needs` it");
    }
    names
}

struct Checker<'c> {
    file: &'c SourceFile,
    schemas: &'c Schemas,
    first_round: &'c Names<'c>,
    with_outcomes: &'c Names<'c>,
    ids: &'c Ids<'c>,
}

impl<'c> Checker<'c> {
    fn mistakes(&self, text: &str, place: Place, mistakes: Vec<Mistake>, problems: &mut Problems) {
        for mistake in mistakes {
            problems.add_mistake(self.file, place, text, mistake);
        }
    }

    fn condition(&self, expression: &Placed<Expression>, names: &Names, problems: &mut Problems) {
        self.mistakes(&expression.text, expression.place, expression.value.check_bool(names), problems);
    }

    fn text(&self, text: &Placed<Text>, names: &Names, problems: &mut Problems) {
        self.mistakes(&text.text, text.place, text.value.check(names), problems);
    }

    fn param(&self, param: &Param, problems: &mut Problems) {
        let Some(default) = &param.default else { return };
        let mut names = Names::new(self.schemas);
        names.add_elsewhere("params", "a default reads probes, not other parameters");
        let (found, mistakes) = default.value.check(&names);
        let wrong = mistakes.is_empty()
            && !matches!(
                (param.kind, &found),
                (_, Type::Any)
                    | (ParamType::Int, Type::Int)
                    | (ParamType::Number, Type::Int | Type::Double)
                    | (ParamType::Text, Type::Text | Type::Word(_))
                    | (ParamType::Bool, Type::Bool)
                    | (ParamType::List, Type::List(_))
            );
        self.mistakes(&default.text, default.place, mistakes, problems);
        if wrong {
            let kind = ParamType::WORDS.iter().find(|(_, kind)| *kind == param.kind).map_or("", |(word, _)| *word);
            let message = format!("this default is {}, the parameter's type is {kind}", found.name());
            problems
                .add(self.file, default.place, message)
                .help("a text inside an expression stands in quotes: '\"a\"'");
        }
    }

    /// Adds a name of the author's own, unless it hides another.
    fn own_name(
        &self,
        name: &Placed<()>,
        of: Type<'c>,
        names: &mut Names<'c>,
        own: &mut Vec<String>,
        problems: &mut Problems,
    ) {
        let hides = if probe::find(&name.text).is_some() {
            Some("the probe")
        } else if ["params", scope::BEFORE, scope::OUTCOMES, scope::TIMEOUTS].contains(&name.text.as_str()) {
            Some("what is always called")
        } else if own.contains(&name.text) {
            Some("another name of this check,")
        } else {
            None
        };
        if let Some(what) = hides {
            let message = format!("this name hides {what} `{}`", name.text);
            problems.add(self.file, name.place, message).help("choose another");
        }
        own.push(name.text.clone());
        names.add(&name.text, of);
    }

    fn loops(&self, for_each: &[Loop], names: &mut Names<'c>, own: &mut Vec<String>, problems: &mut Problems) {
        for Loop { name, list, .. } in for_each {
            let (found, mistakes) = list.value.check(names);
            let fine = mistakes.is_empty();
            self.mistakes(&list.text, list.place, mistakes, problems);
            let element = match found {
                Type::List(element) => *element,
                Type::Any => Type::Any,
                other => {
                    if fine {
                        let message = format!("`for_each` goes over a list, this is {}", other.name());
                        problems.add(self.file, list.place, message);
                    }
                    Type::Any
                }
            };
            self.own_name(name, element, names, own, problems);
        }
    }

    fn check(&self, check: &Check, problems: &mut Problems) {
        let mut names = self.first_round.clone();
        let mut own = Vec::new();
        for ask in &check.observe {
            names.add_elsewhere(&ask.name.text, "it is asked only after this is known");
        }
        self.loops(&check.for_each, &mut names, &mut own, problems);
        if let Some(when) = &check.when {
            self.condition(when, &names, problems);
            names.assume(&when.value);
        }
        for ask in &check.observe {
            self.ask(ask, &names, problems);
            if ask.probe.loads() && check.effect == Effect::Reads {
                let message = format!("asking `{}` loads the node", ask.probe.name);
                problems
                    .add(self.file, ask.name.place, message)
                    .help("write `effect: loads`, so that nobody does it unasked");
            }
        }
        for ask in &check.observe {
            let answer = self.schemas.answer(ask.probe.name).unwrap_or(Type::Any);
            self.own_name(&ask.name, answer, &mut names, &mut own, problems);
        }
        for (_, expect) in &check.expect {
            self.condition(expect, &names, problems);
        }
        for text in std::iter::once(&check.title).chain(&check.found).chain(&check.why).chain(&check.next) {
            self.text(text, &names, problems);
        }
        for need in &check.needs {
            if !self.ids.checks.contains(need.text.as_str()) {
                self.unknown_id(need, problems);
            }
        }
    }

    fn unknown_id(&self, id: &Placed<()>, problems: &mut Problems) {
        let problem = problems.add(self.file, id.place, format!("no check is called `{}`", id.text));
        if let Some(one) = near(&id.text, self.ids.checks.iter().copied()) {
            problem.help(format!("did you mean `{one}`?"));
        }
    }

    fn cause(&self, cause: &Cause, problems: &mut Problems) {
        let mut names = self.with_outcomes.clone();
        self.loops(&cause.for_each, &mut names, &mut Vec::new(), problems);
        if let Some(when) = &cause.when {
            self.condition(when, &names, problems);
            names.assume(&when.value);
        }
        if let Some((kind, key)) = &cause.subject {
            let kinds = self.schemas.subject_kinds();
            let is_own = cause.for_each.iter().any(|each| each.name.text == *kind);
            if kind != "node" && !is_own && !kinds.contains(kind.as_str()) {
                let known = kinds.iter().copied().collect::<Vec<_>>().join(", ");
                let help = match near(kind, kinds.iter().copied()) {
                    Some(one) => format!("did you mean `{one}`?"),
                    None => format!("the kinds are: node, {known}"),
                };
                problems.add(self.file, key.place, format!("no kind of subject is called `{kind}`")).help(help);
            }
            let shift = kind.chars().count() + 1;
            let (_, mistakes) = key.value.check(&names);
            let mistakes = mistakes.into_iter().map(|mistake| Mistake { offset: mistake.offset + shift, ..mistake });
            self.mistakes(&key.text, key.place, mistakes.collect(), problems);
        }
        for text in std::iter::once(&cause.title).chain(&cause.seen).chain(&cause.why).chain(&cause.next) {
            self.text(text, &names, problems);
        }
        for explained in &cause.explains {
            let (pattern, _) = super::split_key(&explained.text);
            if !scope::any_is_like(&self.ids.checks, pattern) {
                self.unknown_id(explained, problems);
            }
        }
        for hanging in &cause.hangs {
            if probe::find(&hanging.text).is_none() {
                let known: Vec<&str> = probe::PROBES.iter().map(|probe| probe.name).collect();
                let help = match near(&hanging.text, known.iter().copied()) {
                    Some(one) => format!("did you mean `{one}`?"),
                    None => "`punchlist probes` lists them".to_string(),
                };
                let message = format!("no probe is called `{}`", hanging.text);
                problems.add(self.file, hanging.place, message).help(help);
            }
        }
    }

    /// The arguments of a probe against its own schema.
    fn ask(&self, ask: &Ask, names: &Names, problems: &mut Problems) {
        let Some(schema) = self.schemas.arguments(ask.probe.name) else { return };
        let fields = schema["properties"].as_object().cloned().unwrap_or_default();
        for (key, argument) in &ask.arguments {
            match fields.get(&key.text) {
                Some(field) => self.argument(key, argument, self.schemas.follow(field), names, problems),
                None => {
                    let message = format!("`{}` takes no argument `{}`", ask.probe.name, key.text);
                    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                    let help = match near(&key.text, known.iter().copied()) {
                        Some(one) => format!("did you mean `{one}`?"),
                        None => format!("it takes: {}", known.join(", ")),
                    };
                    problems.add(self.file, key.place, message).help(help);
                }
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !ask.arguments.iter().any(|(key, _)| key.text == required) {
                let message = format!("`{}` needs the argument `{required}`", ask.probe.name);
                problems.add(self.file, ask.name.place, message);
            }
        }
    }

    fn argument(&self, key: &Placed<()>, argument: &Argument, schema: &Json, names: &Names, problems: &mut Problems) {
        let wanted = self.schemas.type_of(schema);
        match (argument, &wanted) {
            (Argument::Text(text), _) => {
                let only = text.value.only_expression();
                self.text(text, names, problems);
                match &wanted {
                    Type::Text | Type::Any => self.format(text, schema, problems),
                    Type::Word(words) if only.is_none() && !words.contains(&text.text.as_str()) => {
                        let help = match near(&text.text, words.iter().copied()) {
                            Some(one) => format!("did you mean `{one}`?"),
                            None => format!("write one of: {}", words.join(", ")),
                        };
                        problems.add(self.file, text.place, format!("`{}` cannot stand here", text.text)).help(help);
                    }
                    Type::Int | Type::Double | Type::Bool | Type::List(_) if only.is_none() => {
                        let message = format!("`{}` is {}, this is a text", key.text, wanted.name());
                        problems.add(self.file, text.place, message);
                    }
                    _ => {}
                }
            }
            (Argument::List(items), Type::List(_)) => {
                if items.is_empty() {
                    problems.add(self.file, key.place, format!("`{}` is empty", key.text));
                }
                let item_schema = self.schemas.follow(&schema["items"]);
                for item in items {
                    self.argument(key, item, item_schema, names, problems);
                }
            }
            (Argument::Plain(Json::Bool(_), _), Type::Bool)
            | (Argument::Plain(Json::Number(_), _), Type::Int | Type::Double)
            // A number where a text is wanted is taken as it reads: `argv: [sleep, 1]`.
            | (Argument::Plain(..), Type::Text | Type::Any) => {}
            _ => {
                let found = match argument {
                    Argument::List(_) => "a list",
                    Argument::Plain(Json::Bool(_), _) => "true or false",
                    _ => "a number",
                };
                let message = format!("`{}` is {}, this is {found}", key.text, wanted.name());
                problems.add(self.file, key.place, message);
            }
        }
    }

    /// Texts of a known format are read now; those with expressions inside can only be read on the node.
    fn format(&self, text: &Placed<Text>, schema: &Json, problems: &mut Problems) {
        if text.value.expressions().next().is_some() {
            return;
        }
        let written = text.value.render(&crate::expression::Scope::new());
        match schema["format"].as_str() {
            Some("regex") => {
                if let Err(error) = Regex::new(&written) {
                    let message = format!("not a regular expression: {}", last_line(&error.to_string()));
                    problems
                        .add(self.file, text.place, message)
                        .help("a brace of a pattern is written twice: `[0-9]{{4}}`");
                }
            }
            Some("duration") if probe::parse_duration(&written).is_none() => {
                let message = format!("`{written}` is not a duration");
                problems.add(self.file, text.place, message).help("write `10s`, `500ms`, `2m` or `1h`");
            }
            _ if written.is_empty() => {
                problems.add(self.file, text.place, "this text is empty");
            }
            _ => {}
        }
    }
}
