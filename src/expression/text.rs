//! Texts with `{expressions}` inside; `{{` and `}}` are the braces themselves.

use super::{Expression, Mistake, Names, Scope, Type};
use crate::fact::Absent;
use std::sync::OnceLock;

/// A text with expressions inside.
#[derive(Debug, Clone, Default)]
pub struct Text {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Plain(String),
    /// An expression, and where it begins in the text, in characters.
    Expression(Later, usize),
}

/// An expression that may be parsed when it is first asked for.
#[derive(Debug, Clone)]
struct Later {
    source: String,
    /// `None` where it is no expression, which only one can be that was not parsed at once.
    parsed: OnceLock<Option<Box<Expression>>>,
}

impl Later {
    fn get(&self) -> Option<&Expression> {
        self.parsed.get_or_init(|| Expression::parse(&self.source).ok().map(Box::new)).as_deref()
    }

    /// The names that it may read, each with the field that is read of it first: what stands in it at the beginning of
    /// a path.
    fn paths(&self) -> Vec<(&str, &str)> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut paths = Vec::new();
        let (mut rest, mut quote, mut before) = (self.source.as_str(), None, ' ');
        while let Some(c) = rest.chars().next() {
            let word = rest.split(|c| !is_word(c)).next().unwrap_or_default();
            if quote.is_none() && !word.is_empty() {
                let after = rest[word.len()..].strip_prefix('.').unwrap_or_default();
                if before != '.' {
                    paths.push((word, after.split(|c| !is_word(c)).next().unwrap_or_default()));
                }
                (rest, before) = (&rest[word.len()..], 'a');
                continue;
            }
            quote = match quote {
                Some(open) if open == c => None,
                None if c == '"' || c == '\'' => Some(c),
                quote => quote,
            };
            before = c;
            rest = &rest[c.len_utf8()..];
        }
        paths
    }
}

impl Text {
    /// Parses `source`.
    pub fn parse(source: &str) -> Result<Text, Mistake> {
        let text = Text::parse_later(source)?;
        for part in &text.parts {
            let Part::Expression(later, start) = part else { continue };
            let expression = Expression::parse(&later.source)
                .map_err(|mistake| Mistake { offset: start + mistake.offset, ..mistake })?;
            let _ = later.parsed.set(Some(Box::new(expression)));
        }
        Ok(text)
    }

    /// As [`Text::parse`], for a text that is known to be right: an expression in it is parsed when it is first asked for.
    /// Most texts say what to do about something that is well.
    pub fn parse_later(source: &str) -> Result<Text, Mistake> {
        if !source.contains(['{', '}']) {
            return Ok(Text { parts: vec![Part::Plain(source.to_string())] });
        }
        let chars: Vec<char> = source.chars().collect();
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while at < chars.len() {
            match (chars[at], chars.get(at + 1)) {
                ('{', Some('{')) | ('}', Some('}')) => {
                    plain.push(chars[at]);
                    at += 2;
                }
                ('}', _) => {
                    return Err(Mistake::new(at, "this `}` closes nothing").help("write `}}` for the brace itself"));
                }
                ('{', _) => {
                    let start = at + 1;
                    let end = end_of_expression(&chars, start).ok_or_else(|| {
                        Mistake::new(at, "this `{` is never closed").help("write `{{` for the brace itself")
                    })?;
                    if !plain.is_empty() {
                        parts.push(Part::Plain(std::mem::take(&mut plain)));
                    }
                    let source: String = chars[start..end].iter().collect();
                    parts.push(Part::Expression(Later { source, parsed: OnceLock::new() }, start));
                    at = end + 1;
                }
                (other, _) => {
                    plain.push(other);
                    at += 1;
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Plain(plain));
        }
        Ok(Text { parts })
    }

    /// Checks every expression inside.
    pub fn check(&self, names: &Names) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for part in &self.parts {
            let Part::Expression(later, start) = part else { continue };
            let Some(expression) = later.get() else { continue };
            let (found, of) = expression.check(names);
            mistakes.extend(of.into_iter().map(|mistake| Mistake { offset: start + mistake.offset, ..mistake }));
            if matches!(found, Type::Record(_) | Type::Map(_)) {
                mistakes.push(
                    Mistake::new(*start, format!("`{}` is {}", expression.text(), found.name()))
                        .help("name one of its fields"),
                );
            }
        }
        mistakes
    }

    /// The expressions inside.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(later, _) => later.get(),
            Part::Plain(_) => None,
        })
    }

    /// The names that the expressions inside may read, each with the field that is read of it first (or none), without
    /// parsing them: loop variables of their own are among them.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().flat_map(|part| match part {
            Part::Expression(later, _) => later.paths(),
            Part::Plain(_) => Vec::new(),
        })
    }

    /// The text for a person: what is absent reads as its reason in brackets.
    pub fn render(&self, scope: &Scope) -> String {
        self.filled(scope, |absent| Ok(format!("[{}]", absent.reason))).unwrap_or_default()
    }

    /// The text for a machine, as the argument of a probe: what is absent makes the whole absent.
    pub fn argument(&self, scope: &Scope) -> Result<String, Absent> {
        self.filled(scope, Err)
    }

    /// The expression when the text is one and nothing else, so that a number stays a number.
    pub fn only_expression(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression(later, _)] => later.get(),
            _ => None,
        }
    }

    fn filled(&self, scope: &Scope, absent: fn(Absent) -> Result<String, Absent>) -> Result<String, Absent> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Expression(later, _) => {
                    let none = || Absent::failed(format!("`{}` is no expression", later.source));
                    match later.get().ok_or_else(none).and_then(|expression| expression.value(scope)) {
                        Ok(value) => text.push_str(&value.text()),
                        Err(reason) => text.push_str(&absent(reason)?),
                    }
                }
            }
        }
        Ok(text)
    }
}

/// Where the expression that starts at `from` ends: its `}`, not one in a map or a quoted text.
fn end_of_expression(chars: &[char], from: usize) -> Option<usize> {
    let (mut depth, mut quote) = (1, None);
    let mut at = from;
    while at < chars.len() {
        match (quote, chars[at]) {
            (Some(_), '\\') => at += 1,
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, mark @ ('"' | '\'')) => quote = Some(mark),
            (None, '{') => depth += 1,
            (None, '}') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}
