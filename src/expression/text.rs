//! Texts with `{expressions}` inside; `{{` and `}}` are the braces themselves.

use super::{Expression, Mistake, Names, Scope, Type};
use crate::fact::Absent;
use std::collections::BTreeSet;

/// A text with expressions inside.
#[derive(Debug, Clone, Default)]
pub struct Text {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Plain(String),
    /// An expression, and where it begins in the text, in characters.
    Expression(Expression, usize),
}

impl Text {
    /// Parses `source`.
    pub fn parse(source: &str) -> Result<Text, Mistake> {
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
                    let inside: String = chars[start..end].iter().collect();
                    let expression = Expression::parse(&inside)
                        .map_err(|mistake| Mistake { offset: start + mistake.offset, ..mistake })?;
                    parts.push(Part::Expression(expression, start));
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
            let Part::Expression(expression, start) = part else { continue };
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
            Part::Expression(expression, _) => Some(expression),
            Part::Plain(_) => None,
        })
    }

    /// The names that the expressions inside read.
    pub fn names(&self) -> BTreeSet<&str> {
        self.expressions().flat_map(Expression::names).collect()
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
            [Part::Expression(expression, _)] => Some(expression),
            _ => None,
        }
    }

    fn filled(&self, scope: &Scope, absent: fn(Absent) -> Result<String, Absent>) -> Result<String, Absent> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Expression(expression, _) => match expression.value(scope) {
                    Ok(value) => text.push_str(&value.text()),
                    Err(reason) => text.push_str(&absent(reason)?),
                },
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
