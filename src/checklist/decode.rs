//! The tree of a file to a checklist: keys, kinds of values, words, expressions. Names are not looked at yet.

use super::problem::{Place, Problems, SourceFile};
use super::yaml::{Key, Kind, Node};
use super::{
    Argument, Ask, Cause, Certainty, Check, Checklist, Effect, Level, Loop, Param, ParamType, Placed, Severity, Who,
    Word,
};
use crate::expression::{Expression, Mistake, Text, near};
use crate::probe;
use serde_json::Value as Json;
use std::sync::{Arc, OnceLock};

pub(super) const CHECKLIST_KEYS: &[&str] = &["checklist", "title", "about", "applies", "params", "checks", "causes"];
pub(super) const PARAM_KEYS: &[&str] = &["type", "about", "default"];
pub(super) const CHECK_KEYS: &[&str] = &[
    "id", "title", "for_each", "when", "observe", "needs", "expect", "severity", "found", "why", "next", "who", "refs",
    "tags", "level", "effect",
];
pub(super) const CAUSE_KEYS: &[&str] = &[
    "id",
    "title",
    "for_each",
    "when",
    "subject",
    "certainty",
    "explains",
    "hangs",
    "anywhere",
    "otherwise",
    "seen",
    "why",
    "next",
    "who",
    "refs",
    "tags",
];

/// Makes a checklist of a file's tree; `None` where too little is right to go on.
pub(super) fn checklist(file: &Arc<SourceFile>, root: &Node, problems: &mut Problems) -> Option<Checklist> {
    let mut decoder = Decoder { file, problems };
    if let Kind::Map(entries) = &root.kind
        && let Some((key, _)) = entries.iter().find(|(key, _)| key.text == "site")
        && !entries.iter().any(|(key, _)| key.text == "checklist")
    {
        decoder.say(key.place, "this is a site file, not a checklist", "give it with --site");
        return None;
    }
    let fields = decoder.fields(root, "a checklist", CHECKLIST_KEYS)?;
    let name = decoder.required(&fields, "checklist").and_then(|node| decoder.id(node, "a checklist"));
    let title = fields.get("title").and_then(|node| decoder.text(node)).map(|text| text.text).unwrap_or_default();
    let about = fields.get("about").and_then(|node| decoder.text(node)).map(|text| text.text).unwrap_or_default();
    let applies = fields.get("applies").and_then(|node| decoder.expression(node));
    let params = match fields.get("params") {
        Some(node) => decoder.params(node),
        None => Vec::new(),
    };
    let checks = match decoder.required(&fields, "checks") {
        Some(node) => decoder.elements(node, "checks", Decoder::check),
        None => Vec::new(),
    };
    let causes = match fields.get("causes") {
        Some(node) => decoder.elements(node, "causes", Decoder::cause),
        None => Vec::new(),
    };
    let name = name?;
    Some(Checklist { file: file.clone(), name, title, about, applies, params, checks, causes })
}

/// The fields of a map, by key.
pub(super) struct Fields<'n> {
    place: Place,
    what: &'static str,
    entries: Vec<(&'n Key, &'n Node)>,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| *node)
    }
}

/// Reads values of a file, and notes what is wrong with them.
pub(super) struct Decoder<'d> {
    pub file: &'d SourceFile,
    pub problems: &'d mut Problems,
}

impl Decoder<'_> {
    pub(super) fn say(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        let place = if place == Place::NOWHERE { Place::START } else { place };
        self.problems.add(self.file, place, message).help(help);
    }

    fn expected(&mut self, node: &Node, what: &str) {
        let help = match (&node.kind, what) {
            // `found: {gpu.index} is lost` and `expect: [a]` read as a map and a list.
            (Kind::Map(_) | Kind::List(_), "a text" | "an expression") => {
                "a text that begins with `{` or `[`, or holds `: `, has to be quoted"
            }
            (Kind::Null, _) => "write it, or take the key out",
            (_, "a list") => "write `[…]`, or one element a line, each after `- `",
            _ => "",
        };
        self.say(node.place, format!("expected {what}, found {}", node.name()), help);
    }

    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &'static str, known: &[&str]) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            let message = format!("expected {what}, which is a map, found {}", node.name());
            self.say(node.place, message, format!("its keys are: {}", known.join(", ")));
            return None;
        };
        let mut fields = Fields { place: node.place, what, entries: Vec::new() };
        for (key, value) in entries {
            if known.contains(&&*key.text) {
                fields.entries.push((key, value));
                continue;
            }
            let help = match near(&key.text, known.iter().copied()) {
                Some(one) => format!("did you mean `{one}`?"),
                None => format!("its keys are: {}", known.join(", ")),
            };
            self.say(key.place, format!("{what} has no key `{}`", key.text), help);
        }
        Some(fields)
    }

    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Option<&'n Node> {
        let found = fields.get(key);
        if found.is_none() {
            self.say(fields.place, format!("{} needs the key `{key}`", fields.what), "");
        }
        found
    }

    pub(super) fn elements<T>(
        &mut self,
        node: &Node,
        what: &'static str,
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        match &node.kind {
            Kind::List(items) if items.is_empty() => {
                self.say(node.place, format!("`{what}` is empty"), "");
                Vec::new()
            }
            Kind::List(items) => items.iter().filter_map(|item| read(self, item)).collect(),
            _ => {
                self.expected(node, "a list");
                Vec::new()
            }
        }
    }

    /// The entries of a map that names its own keys.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &'static str) -> &'n [(Key, Node)] {
        match &node.kind {
            Kind::Map(entries) if entries.is_empty() => {
                self.say(node.place, format!("`{what}` is empty"), "write it, or take the key out");
                entries
            }
            Kind::Map(entries) => entries,
            _ => {
                self.expected(node, "a map");
                &[]
            }
        }
    }

    /// A text; numbers and truth values read as the text they were written as.
    pub(super) fn text(&mut self, node: &Node) -> Option<Placed<()>> {
        let text = match &node.kind {
            Kind::Text(text) => text.to_string(),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => self.raw(node),
            _ => {
                self.expected(node, "a text");
                return None;
            }
        };
        Some(Placed { value: (), place: node.place, text })
    }

    /// A plain scalar as it stands in the file: `1.10` stays `1.10`.
    fn raw(&self, node: &Node) -> String {
        if node.place == Place::NOWHERE {
            // Of a built-in checklist, which writes its numbers as they are read.
            return match &node.kind {
                Kind::Bool(value) => value.to_string(),
                Kind::Int(value) => value.to_string(),
                Kind::Float(value) => format!("{value:?}"),
                _ => String::new(),
            };
        }
        let line = self.file.line(node.place.line);
        line.chars()
            .skip(node.place.column.saturating_sub(1))
            .take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}'))
            .collect()
    }

    pub(super) fn texts(&mut self, node: &Node, what: &'static str) -> Vec<Placed<()>> {
        self.elements(node, what, |decoder, item| decoder.text(item))
    }

    pub(super) fn parsed<T>(&mut self, node: &Node, parse: fn(&str) -> Result<T, Mistake>) -> Option<Placed<T>> {
        let Placed { place, text, .. } = self.text(node)?;
        match parse(&text) {
            Ok(value) => Some(Placed { value, place, text }),
            Err(mistake) => {
                self.problems.add_mistake(self.file, place, &text, mistake);
                None
            }
        }
    }

    fn expression(&mut self, node: &Node) -> Option<Placed<Expression>> {
        if matches!(node.kind, Kind::Map(_) | Kind::List(_) | Kind::Null) {
            self.expected(node, "an expression");
            return None;
        }
        self.parsed(node, self.expressions_parse())
    }

    /// How expressions are read: the built-in ones are held against everything by the tests.
    fn expressions_parse(&self) -> fn(&str) -> Result<Expression, Mistake> {
        if self.file.is_builtin() { |text| Ok(Expression::parse_later(text)) } else { Expression::parse }
    }

    /// As for expressions, for texts.
    fn texts_parse(&self) -> fn(&str) -> Result<Text, Mistake> {
        if self.file.is_builtin() { Text::parse_later } else { Text::parse }
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, node: &Node) -> Option<bool> {
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.expected(node, "true or false");
                None
            }
        }
    }

    fn template(&mut self, node: &Node) -> Option<Placed<Text>> {
        let text = self.parsed(node, self.texts_parse())?;
        if text.text.trim().is_empty() {
            self.say(text.place, "this text is empty", "write it, or take the key out");
            return None;
        }
        Some(text)
    }

    fn word<W: Word>(&mut self, node: &Node) -> Option<W> {
        let text = self.text(node)?;
        let found = W::WORDS.iter().find(|(word, _)| *word == text.text);
        if found.is_none() {
            let words: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
            let help = match near(&text.text, words.iter().copied()) {
                Some(one) => format!("did you mean `{one}`?"),
                None => format!("write one of: {}", words.join(", ")),
            };
            self.say(text.place, format!("`{}` is none of the words that can stand here", text.text), help);
        }
        found.map(|(_, value)| *value)
    }

    fn id(&mut self, node: &Node, of: &str) -> Option<Placed<()>> {
        let id = self.text(node)?;
        let good = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase())
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
        };
        if !id.text.split('.').all(good) {
            let help = "small letters, digits, `_` and `-`, in parts joined by dots: `gpu.ecc.uncorrectable`";
            self.say(id.place, format!("`{}` cannot be the name of {of}", id.text), help);
            return None;
        }
        Some(id)
    }

    /// A name that expressions will read: of a parameter, a loop variable, an answer.
    fn name(&mut self, key: &Key) -> Option<Placed<()>> {
        let good = key.text.starts_with(|c: char| c.is_ascii_lowercase())
            && key.text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !good {
            self.say(key.place, format!("`{}` cannot be a name", key.text), "small letters, digits and `_`");
            return None;
        }
        Some(Placed { value: (), place: key.place, text: key.text.to_string() })
    }

    fn params(&mut self, node: &Node) -> Vec<Param> {
        let mut params = Vec::new();
        for (key, value) in self.entries(node, "params") {
            let (Some(name), Some(fields)) = (self.name(key), self.fields(value, "a parameter", PARAM_KEYS)) else {
                continue;
            };
            let kind = self.required(&fields, "type").and_then(|node| self.word::<ParamType>(node));
            let about = self.required(&fields, "about").and_then(|node| self.text(node));
            let default = fields.get("default").and_then(|node| self.expression(node));
            if let (Some(kind), Some(about)) = (kind, about) {
                params.push(Param { name, kind, about: about.text, default });
            }
        }
        params
    }

    fn for_each(&mut self, node: &Node) -> Vec<Loop> {
        let mut loops = Vec::new();
        for (key, value) in self.entries(node, "for_each") {
            if let (Some(name), Some(list)) = (self.name(key), self.expression(value)) {
                loops.push(Loop { name, list, subject: OnceLock::new() });
            }
        }
        loops
    }

    fn check(&mut self, node: &Node) -> Option<Check> {
        let fields = self.fields(node, "a check", CHECK_KEYS)?;
        let id = self.required(&fields, "id").and_then(|node| self.id(node, "a check"));
        let title = self.title(&fields);
        let for_each = fields.get("for_each").map(|node| self.for_each(node)).unwrap_or_default();
        let when = fields.get("when").and_then(|node| self.expression(node));
        let observe = fields.get("observe").map(|node| self.observe(node)).unwrap_or_default();
        let needs = fields.get("needs").map(|node| self.texts(node, "needs")).unwrap_or_default();
        let severity = fields.get("severity").and_then(|node| self.word::<Severity>(node));
        let expect = self.required(&fields, "expect").map(|node| self.expect(node, severity)).unwrap_or_default();
        if let (Some(node), Some(Kind::Map(_))) =
            (fields.get("severity"), fields.get("expect").map(|expect| &expect.kind))
        {
            self.say(node.place, "`expect` names its severities itself", "take `severity` out");
        }
        let found = fields.get("found").and_then(|node| self.template(node));
        let why = fields.get("why").and_then(|node| self.template(node));
        let next = fields.get("next").map(|node| self.elements(node, "next", Decoder::template)).unwrap_or_default();
        let who = fields.get("who").and_then(|node| self.word::<Who>(node));
        let refs = self.plain_texts(&fields, "refs");
        let tags = self.plain_texts(&fields, "tags");
        let level = fields.get("level").and_then(|node| self.word(node)).unwrap_or(Level::Standard);
        let effect = fields.get("effect").and_then(|node| self.word(node)).unwrap_or(Effect::Reads);
        Some(Check {
            id: id?,
            title,
            for_each,
            when,
            observe,
            needs,
            expect,
            found,
            why,
            next,
            who,
            refs,
            tags,
            level,
            effect,
        })
    }

    /// The title of a check or a cause. One that is not there has been said, and is empty: the rest is still held against
    /// the probes.
    fn title(&mut self, fields: &Fields) -> Placed<Text> {
        let title = self.required(fields, "title").and_then(|node| self.template(node));
        title.unwrap_or_else(|| Placed { value: Text::default(), place: fields.place, text: String::new() })
    }

    fn plain_texts(&mut self, fields: &Fields, key: &'static str) -> Vec<String> {
        let texts = fields.get(key).map(|node| self.texts(node, key)).unwrap_or_default();
        texts.into_iter().map(|text| text.text).collect()
    }

    fn expect(&mut self, node: &Node, severity: Option<Severity>) -> Vec<(Severity, Placed<Expression>)> {
        let Kind::Map(entries) = &node.kind else {
            let expression = self.expression(node);
            return expression
                .map(|expression| (severity.unwrap_or(Severity::Critical), expression))
                .into_iter()
                .collect();
        };
        let mut levels = Vec::new();
        for (key, value) in entries {
            match Severity::WORDS.iter().find(|(word, _)| *word == key.text) {
                Some((_, severity)) => levels.extend(self.expression(value).map(|expression| (*severity, expression))),
                None => {
                    let help = match near(&key.text, Severity::WORDS.iter().map(|(word, _)| *word)) {
                        Some(one) => format!("did you mean `{one}`?"),
                        None => "the severities are info, warning and critical; an expression that begins with `{` \
                                 has to be quoted"
                            .into(),
                    };
                    self.say(key.place, format!("`expect` has no key `{}`", key.text), help);
                }
            }
        }
        levels.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        levels
    }

    fn observe(&mut self, node: &Node) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (key, value) in self.entries(node, "observe") {
            let name = self.name(key);
            let Kind::Map(entries) = &value.kind else {
                let help = "write `NAME: { PROBE: { its arguments } }`";
                self.say(value.place, format!("expected a probe with its arguments, found {}", value.name()), help);
                continue;
            };
            let [(probe_key, arguments)] = entries.as_slice() else {
                self.say(value.place, "one probe a name, no more and no less", "give each probe a name of its own");
                continue;
            };
            let takes_arguments = || probe::PROBES.iter().filter(|probe| probe.arguments.is_some());
            let found = probe::find(&probe_key.text);
            let Some(probe) = found.filter(|probe| probe.arguments.is_some()) else {
                let names: Vec<&str> = takes_arguments().map(|probe| probe.name).collect();
                let help = match (found, near(&probe_key.text, names.iter().copied())) {
                    (Some(probe), _) => format!("`{0}` takes no arguments: read `{0}` right away", probe.name),
                    (None, Some(one)) => format!("did you mean `{one}`?"),
                    (None, None) => format!("those with arguments are: {}", names.join(", ")),
                };
                self.say(probe_key.place, format!("no probe with arguments is called `{}`", probe_key.text), help);
                continue;
            };
            let arguments = match &arguments.kind {
                Kind::Map(entries) => entries
                    .iter()
                    .filter_map(|(key, value)| {
                        let name = Placed { value: (), place: key.place, text: key.text.to_string() };
                        Some((name, self.argument(value)?))
                    })
                    .collect(),
                _ => {
                    self.expected(arguments, "a map of arguments");
                    continue;
                }
            };
            if let Some(name) = name {
                asks.push(Ask { name, probe, arguments });
            }
        }
        asks
    }

    fn argument(&mut self, node: &Node) -> Option<Argument> {
        match &node.kind {
            Kind::Text(_) => self.parsed(node, self.texts_parse()).map(Argument::Text),
            Kind::Bool(value) => Some(Argument::Plain(Json::from(*value), self.raw(node))),
            Kind::Int(value) => Some(Argument::Plain(Json::from(*value), self.raw(node))),
            Kind::Float(value) => Some(Argument::Plain(Json::from(*value), self.raw(node))),
            Kind::List(items) => Some(Argument::List(items.iter().filter_map(|item| self.argument(item)).collect())),
            Kind::Null | Kind::Map(_) => {
                self.expected(node, "a value");
                None
            }
        }
    }

    fn cause(&mut self, node: &Node) -> Option<Cause> {
        let fields = self.fields(node, "a cause", CAUSE_KEYS)?;
        let id = self.required(&fields, "id").and_then(|node| self.id(node, "a cause"));
        let title = self.title(&fields);
        let for_each = fields.get("for_each").map(|node| self.for_each(node)).unwrap_or_default();
        let when = fields.get("when").and_then(|node| self.expression(node));
        if for_each.is_empty() && when.is_none() && fields.get("for_each").is_none() {
            self.say(fields.place, "a cause needs `when` or `for_each`", "say what shows that it is there");
        }
        let subject = fields.get("subject").and_then(|node| self.subject(node));
        let certainty = self
            .required(&fields, "certainty")
            .and_then(|node| self.word::<Certainty>(node))
            .unwrap_or(Certainty::Possible);
        let explains = self.required(&fields, "explains").map(|node| self.texts(node, "explains")).unwrap_or_default();
        let hangs = fields.get("hangs").map(|node| self.texts(node, "hangs")).unwrap_or_default();
        let mut is_set = |key: &str| match fields.get(key).map(|node| (node, &node.kind)) {
            None => false,
            Some((_, Kind::Bool(value))) => *value,
            Some((node, _)) => {
                self.expected(node, "true or false");
                false
            }
        };
        let (anywhere, otherwise) = (is_set("anywhere"), is_set("otherwise"));
        let seen = fields.get("seen").map(|node| self.elements(node, "seen", Decoder::template)).unwrap_or_default();
        let why = fields.get("why").and_then(|node| self.template(node));
        let next = fields.get("next").map(|node| self.elements(node, "next", Decoder::template)).unwrap_or_default();
        let who = fields.get("who").and_then(|node| self.word::<Who>(node));
        let refs = self.plain_texts(&fields, "refs");
        let tags = self.plain_texts(&fields, "tags");
        Some(Cause {
            id: id?,
            title,
            for_each,
            when,
            subject,
            certainty,
            explains,
            hangs,
            anywhere,
            otherwise,
            seen,
            why,
            next,
            who,
            refs,
            tags,
        })
    }

    /// `gpu(x.pci)`: a kind of subject, and the expression that names it.
    fn subject(&mut self, node: &Node) -> Option<(String, Placed<Expression>)> {
        let text = self.text(node)?;
        let inside = text.text.split_once('(').and_then(|(kind, rest)| Some((kind, rest.strip_suffix(')')?)));
        let Some((kind, key)) = inside else {
            self.say(text.place, "expected a subject", "write a kind with the expression that names it: `gpu(x.pci)`");
            return None;
        };
        match self.expressions_parse()(key) {
            Ok(value) => Some((kind.trim().to_string(), Placed { value, place: text.place, text: text.text.clone() })),
            Err(mistake) => {
                let offset = kind.chars().count() + 1 + mistake.offset;
                self.problems.add_mistake(self.file, text.place, &text.text, Mistake { offset, ..mistake });
                None
            }
        }
    }
}
