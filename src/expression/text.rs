//! Texts with `{expressions}` inside; `{{` and `}}` are the braces themselves.

use super::{Expression, Mistake, Names, Scope, Type};
use crate::fact::Absent;

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
        let mut text = Text::parse_later(source)?;
        for part in &mut text.parts {
            let Part::Expression(expression, start) = part else { continue };
            *expression = Expression::parse(expression.text())
                .map_err(|mistake| Mistake { offset: *start + mistake.offset, ..mistake })?;
        }
        Ok(text)
    }

    /// As [`Text::parse`], for a text that is known to be right: an expression in it is parsed when it is first asked for.
    /// Most texts say what to do about something that is well.
    pub fn parse_later(source: &str) -> Result<Text, Mistake> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = source;
        let place = |rest: &str| source[..source.len() - rest.len()].chars().count();
        while let Some(brace) = rest.find(['{', '}']) {
            plain.push_str(&rest[..brace]);
            rest = &rest[brace..];
            let (found, inside) = rest.split_at(1);
            if inside.starts_with(found) {
                plain.push_str(found);
                rest = &inside[1..];
                continue;
            }
            if found == "}" {
                let mistake = Mistake::new(place(rest), "this `}` closes nothing");
                return Err(mistake.help("write `}}` for the brace itself"));
            }
            let end = end_of_expression(inside).ok_or_else(|| {
                Mistake::new(place(rest), "this `{` is never closed").help("write `{{` for the brace itself")
            })?;
            if !plain.is_empty() {
                parts.push(Part::Plain(std::mem::take(&mut plain)));
            }
            parts.push(Part::Expression(Expression::parse_later(&inside[..end]), place(inside)));
            rest = &inside[end + 1..];
        }
        plain.push_str(rest);
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

/// Where the expression ends that a text begins with: at its `}`, not at one in a map or a quoted text.
fn end_of_expression(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (1, None);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => drop(bytes.next()),
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, mark @ (b'"' | b'\'')) => quote = Some(mark),
            (None, b'{') => depth += 1,
            (None, b'}') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
