//! YAML in, a tree with positions out.
//!
//! serde's YAML gives a position only inside an error. So the visitor of a scalar hands its value out through a side
//! cell and then fails on purpose: the failure brings line and column, the scalar's event is consumed by then, and
//! reading goes on behind it. With a position at every scalar and key, everything else can be checked on the tree,
//! and all mistakes of a file are found in one go.

use super::problem::{Place, Problems, SourceFile};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

/// The largest checklist, in bytes.
pub(super) const MAX_BYTES: usize = 2 << 20;

/// The most values that one file may hold, also once its aliases are followed. A checklist of 2 MiB holds a fifth.
const MAX_VALUES: usize = 250_000;

/// How deep brackets may stand in each other. The parser's time grows with the square of it.
const MAX_BRACKETS: usize = 1000;

/// A value of the file.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Nothing was written.
    Null,
    /// `true` or `false`; a text where one is wanted, hence the text.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(Cow<'static, str>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub text: Cow<'static, str>,
    pub place: Place,
}

impl Node {
    /// The kind as a person would say it.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Int(_) | Kind::Float(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Reads what the build made of a built-in checklist (see build.rs). Its values have no places: should anything turn out
/// to be wrong, the YAML is read instead.
pub(super) fn read_built(written: &'static str) -> Option<Node> {
    let mut rest = written;
    built(&mut rest).filter(|_| rest.is_empty())
}

fn built(rest: &mut &'static str) -> Option<Node> {
    let (head, after) = rest.split_once(':')?;
    *rest = after;
    let (kind, said) = head.split_at_checked(1)?;
    let kind = match kind {
        "n" => Kind::Null,
        "b" => Kind::Bool(said.parse().ok()?),
        "i" => Kind::Int(said.parse().ok()?),
        "f" => Kind::Float(said.parse().ok()?),
        "t" => {
            let (text, after) = rest.split_at_checked(said.parse().ok()?)?;
            *rest = after;
            Kind::Text(Cow::Borrowed(text))
        }
        "l" => Kind::List((0..said.parse().ok()?).map(|_| built(rest)).collect::<Option<_>>()?),
        "m" => {
            let entry = |_: usize| match built(rest)?.kind {
                Kind::Text(text) => Some((Key { text, place: Place::NOWHERE }, built(rest)?)),
                _ => None,
            };
            Kind::Map((0..said.parse().ok()?).map(entry).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some(Node { place: Place::NOWHERE, kind })
}

/// Reads a file; `None` when it is so broken that nothing can be said of its content.
pub(super) fn read(file: &SourceFile, problems: &mut Problems) -> Option<Node> {
    if file.text().len() > MAX_BYTES {
        let size = file.text().len() / (1 << 20);
        let message = format!("this file has {size} MiB; a checklist may have {} MiB", MAX_BYTES >> 20);
        problems.add(file, Place::START, message).help("split it into several files");
        return None;
    }
    if let Some((place, character)) = control_character(file.text()) {
        let message = format!("the control character U+{:04X} cannot stand in YAML", character as u32);
        problems.add(file, place, message).help("remove it; is this a text file?");
        return None;
    }
    // The parser keeps all of them at once. Each but the first stands behind a comma or on a line of its own.
    if file.text().bytes().filter(|byte| matches!(byte, b',' | b'\n')).count() > MAX_VALUES {
        problems.add(file, Place::START, format!("more than {MAX_VALUES} values: this is no checklist"));
        return None;
    }
    if bracket_depth(file.text()) > MAX_BRACKETS {
        let message = format!("brackets stand more than {MAX_BRACKETS} deep in each other");
        problems.add(file, Place::START, message);
        return None;
    }
    let reader = Reader { lines: file.text().lines().collect(), values: Cell::new(0), found: RefCell::default() };
    let root = Value(&reader).deserialize(serde_yaml::Deserializer::from_str(file.text()));
    for (place, message, help) in reader.found.into_inner() {
        problems.add(file, place, message).help(help);
    }
    match root {
        Ok(root) => Some(root),
        Err(error) => {
            let place = error.location().map_or(Place::START, |at| Place { line: at.line(), column: at.column() });
            let (message, help) = plain_syntax(&error.to_string());
            let problem = problems.add(file, place, message);
            if let Some(help) = help {
                problem.help(help);
            }
            None
        }
    }
}

/// libyaml's words for a syntax error, in ours, with what to do where that is known.
fn plain_syntax(error: &str) -> (String, Option<&'static str>) {
    let said = error.split(" at line ").next().unwrap_or(error);
    let message = |text: &str| format!("not YAML: {text}");
    if said.contains("mapping values are not allowed") {
        return (message("a second `: ` on one line"), Some("put the text in quotes, or begin a new line"));
    }
    if said.contains("cannot start any token") {
        return (
            message("this character cannot begin a value"),
            Some("put the text in quotes; indent with spaces, not tabs"),
        );
    }
    if said.contains("did not find expected key") || said.contains("did not find expected ',' or") {
        return (
            message("this line fits nothing above it"),
            Some("check the indentation; a text that begins with a quote or a bracket has to be quoted as a whole"),
        );
    }
    if said.contains("did not find expected '-' indicator") {
        return (message("this line is no element of the list above it"), Some("check the indentation"));
    }
    if said.contains("end of stream") {
        return (message("a quote or bracket is never closed"), Some("close it"));
    }
    if said.contains("more than one document") {
        return (message("`---` begins a second document"), Some("one checklist a file"));
    }
    if said.contains("repetition limit") || said.contains("values once its aliases") {
        return (message("its aliases repeat more than a checklist can hold"), None);
    }
    if said.contains("recursion limit") {
        return (message("values stand too deep in each other"), None);
    }
    if said.contains("unknown anchor") {
        return (message("this alias names no anchor"), None);
    }
    (message(said), None)
}

fn control_character(text: &str) -> Option<(Place, char)> {
    let mut place = Place::START;
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}') {
            return Some((place, c));
        }
        if c == '\n' {
            place = Place { line: place.line + 1, column: 1 };
        } else {
            place.column += 1;
        }
    }
    None
}

fn bracket_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

struct Reader<'f> {
    lines: Vec<&'f str>,
    values: Cell<usize>,
    found: RefCell<Vec<(Place, String, String)>>,
}

impl Reader<'_> {
    fn say(&self, place: Place, message: String, help: &str) {
        self.found.borrow_mut().push((place, message, help.to_string()));
    }
}

/// What went through the side cell.
enum Handed {
    Scalar(Kind),
    /// The content of a tag, and the tag.
    Tagged(Node, String),
}

/// The failure that brings the position.
const ON_PURPOSE: &str = "@";

#[derive(Clone, Copy)]
struct Value<'r, 'f>(&'r Reader<'f>);

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.values.set(self.0.values.get() + 1);
        if self.0.values.get() > MAX_VALUES {
            return Err(D::Error::custom("more values once its aliases are followed"));
        }
        let handed = RefCell::new(None);
        let error = match deserializer.deserialize_any(AnyVisitor { reader: self.0, handed: &handed }) {
            Ok(node) => return Ok(node),
            Err(error) => error,
        };
        let Some(handed) = handed.into_inner() else { return Err(error) };
        // The position stands at the end: `path: @ at line 4 column 12`. Only YAML's own error type has a method for
        // it, and which type this is, serde hides.
        let place = position(&error.to_string()).unwrap_or(Place::START);
        Ok(match handed {
            Handed::Scalar(kind) => Node { place, kind },
            Handed::Tagged(node, tag) => {
                let message = format!("`{tag}` is a YAML tag, which means nothing here");
                self.0.say(place, message, "a text that begins with `!` has to be quoted");
                node
            }
        })
    }
}

fn position(error: &str) -> Option<Place> {
    let (_, place) = error.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some(Place { line: line.parse().ok()?, column: column.parse().ok()? })
}

struct AnyVisitor<'a, 'r, 'f> {
    reader: &'r Reader<'f>,
    handed: &'a RefCell<Option<Handed>>,
}

impl AnyVisitor<'_, '_, '_> {
    fn hand<E: serde::de::Error>(self, kind: Kind) -> Result<Node, E> {
        *self.handed.borrow_mut() = Some(Handed::Scalar(kind));
        Err(E::custom(ON_PURPOSE))
    }
}

impl<'de> Visitor<'de> for AnyVisitor<'_, '_, '_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.hand(Kind::Null)
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
        Ok(Node { place: Place::START, kind: Kind::Null })
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Node, E> {
        self.hand(Kind::Bool(value))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Node, E> {
        self.hand(Kind::Int(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        self.hand(i64::try_from(value).map_or(Kind::Float(value as f64), Kind::Int))
    }
    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Node, E> {
        self.hand(Kind::Float(value as f64))
    }
    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Node, E> {
        self.hand(Kind::Float(value as f64))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        self.hand(Kind::Float(value))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        self.hand(Kind::Text(value.to_string().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Value(self.reader))? {
            items.push(item);
        }
        let place = items.first().map_or(Place::NOWHERE, |first| first.place);
        Ok(Node { place, kind: Kind::List(items) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(key) = access.next_key_seed(Value(self.reader))? {
            let mut value = access.next_value_seed(Value(self.reader))?;
            if value.place == Place::NOWHERE {
                value.place = key.place;
            }
            let text = match key.kind {
                Kind::Text(text) => text,
                Kind::Bool(value) => value.to_string().into(),
                Kind::Int(value) => value.to_string().into(),
                _ => {
                    let help = "a text that begins with `{` or `[` has to be quoted";
                    self.reader.say(key.place, format!("a key is a text, not {}", key.name()), help);
                    continue;
                }
            };
            if !seen.insert(text.clone()) {
                let help = "keep one of the two";
                self.reader.say(key.place, format!("`{text}` is given twice"), help);
                continue;
            }
            entries.push((Key { text, place: key.place }, value));
        }
        let place = entries.first().map_or(Place::NOWHERE, |(key, _)| key.place);
        Ok(Node { place, kind: Kind::Map(entries) })
    }

    /// A tagged value.
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Node, A::Error> {
        let (tag, content) = access.variant::<String>()?;
        let node = content.newtype_variant_seed(Value(self.reader))?;
        let written = self.reader.lines.get(node.place.line.saturating_sub(1)).and_then(|line| {
            let rest = &line[line.find('!')?..];
            Some(rest.split_whitespace().next().unwrap_or(rest).to_string())
        });
        *self.handed.borrow_mut() = Some(Handed::Tagged(node, written.unwrap_or(format!("!{tag}"))));
        Err(A::Error::custom(ON_PURPOSE))
    }
}
