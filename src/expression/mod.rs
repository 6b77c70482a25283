//! The only place that knows CEL: expressions are parsed, checked against schemas, evaluated and explained here.
//!
//! An expression is parsed with cel's fast parser, which keeps no positions. Only to place a mistake in the text is
//! it parsed again with the slow one, which does.

mod check;
mod evaluate;
mod facts;
mod functions;
mod schema;
mod text;
mod tree;

pub(crate) use check::last_line;
pub use check::{Names, near};
pub use evaluate::Reading;
pub use facts::{Fact, Scope, evaluate_until, ran_out_of_time};
pub use schema::{Schemas, SubjectKind, Type};
pub use text::Text;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};
use cel::parser::PrattParser;
use functions::ENVIRONMENT;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The longest expression, in bytes. Longer ones can overflow the parser's stack, and nobody can read them.
pub const MAX_LENGTH: usize = 2048;

/// How deep brackets may stand in each other: each level costs the parsers several calls.
const MAX_BRACKETS: usize = 24;

/// How many choices (`a ? b : c`) one expression may hold.
const MAX_CHOICES: usize = 40;

/// How deep an expression may be. What walks its tree is recursive, and stacks can be small on a sick node.
const MAX_DEPTH: usize = 80;

/// How deep loops may stand inside loops.
const MAX_LOOPS: usize = 3;

/// A mistake inside a text, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where in the text, in characters from its start.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Mistake {
    fn new(offset: usize, message: impl Into<String>) -> Mistake {
        Mistake { offset, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Mistake {
        self.help = Some(help.into());
        self
    }
}

/// An expression that parses. Whether its names mean anything, [`Expression::check`] tells.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    parsed: OnceLock<Parsed>,
}

/// What an expression's text is once it is parsed.
#[derive(Debug, Clone)]
struct Parsed {
    tree: IdedExpr,
    /// See [`Expression::paths`]: sorted, each once, and nothing but what is read.
    paths: Box<[(Box<str>, Box<str>)]>,
}

impl Expression {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Expression, Mistake> {
        Ok(Expression { text: text.to_string(), parsed: OnceLock::from(parse(text)?) })
    }

    /// As [`Expression::parse`], for a text that is known to be right: it is parsed when its value is first asked for. Of
    /// what is compiled in, most is about something that is well, or that a node does not have.
    pub fn parse_later(text: &str) -> Expression {
        Expression { text: text.to_string(), parsed: OnceLock::new() }
    }

    fn parsed(&self) -> &Parsed {
        // What was not known to be right after all has no value.
        self.parsed.get_or_init(|| parse(&self.text).unwrap_or_else(|_| Parsed::of(IdedExpr { id: 0, expr: NOTHING })))
    }

    fn tree(&self) -> &IdedExpr {
        &self.parsed().tree
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names that the expression reads: probes, `params`, loop variables of its check.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.parsed().paths.chunk_by(|(a, _), (b, _)| a == b);
        names.filter_map(|paths| paths.first()).map(|(name, _)| &**name)
    }

    /// Whether the expression reads this name.
    pub fn reads(&self, name: &str) -> bool {
        self.text.contains(name) && self.names().any(|known| known == name)
    }

    /// The parameters that the expression reads: `x` of each `params.x`.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.fields_of("params")
    }

    /// The fields that the expression reads of the record with this name, sorted.
    pub fn fields_of(&self, name: &str) -> impl Iterator<Item = &str> {
        let paths = if self.text.contains(name) { &*self.parsed().paths } else { &[] };
        let read = paths.iter().filter(move |(known, field)| **known == *name && !field.is_empty());
        read.map(|(_, field)| &**field)
    }

    /// The names that the expression reads, each with the field that is read of it first (or none). One that is not
    /// parsed yet is not parsed for this, and may be thought to read more than it does.
    pub fn paths(&self) -> Vec<(&str, &str)> {
        match self.parsed.get() {
            Some(parsed) => parsed.paths.iter().map(|(name, field)| (&**name, &**field)).collect(),
            None => written_paths(&self.text),
        }
    }
}

/// What stands in an expression at the beginning of a path: functions and loop variables of its own are among it.
fn written_paths(text: &str) -> Vec<(&str, &str)> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let word = |from: usize| {
        let length = bytes[from..].iter().position(|byte| !is_word(*byte));
        &text[from..length.map_or(text.len(), |length| from + length)]
    };
    let mut paths = Vec::new();
    let (mut at, mut quote, mut before) = (0, None, b' ');
    while let Some(&byte) = bytes.get(at) {
        if quote.is_none() && is_word(byte) {
            let name = word(at);
            at += name.len();
            if before != b'.' {
                paths.push((name, if bytes.get(at) == Some(&b'.') { word(at + 1) } else { "" }));
            }
            before = byte;
            continue;
        }
        quote = match quote {
            Some(open) if open == byte => None,
            None if byte == b'"' || byte == b'\'' => Some(byte),
            quote => quote,
        };
        before = byte;
        at += 1;
    }
    paths
}

/// What has no value that a check could be judged by.
const NOTHING: Expr = Expr::Literal(LiteralValue::Null);

impl Parsed {
    fn of(tree: IdedExpr) -> Parsed {
        // Planning and judging ask for these again and again.
        let paths = free_paths(&tree).into_iter().map(|(name, field)| (name.into(), field.into())).collect();
        Parsed { tree, paths }
    }
}

fn parse(text: &str) -> Result<Parsed, Mistake> {
    if text.trim().is_empty() {
        return Err(Mistake::new(0, "an expression is missing here"));
    }
    if text.len() > MAX_LENGTH {
        return Err(Mistake::new(0, format!("this expression has {} bytes; {MAX_LENGTH} are allowed", text.len()))
            .help("split the check in two, or name a parameter"));
    }
    if bracket_depth(text) > MAX_BRACKETS {
        return Err(Mistake::new(0, format!("brackets stand more than {MAX_BRACKETS} deep in each other")));
    }
    if text.matches('?').count() > MAX_CHOICES {
        // Choices nest to the right, and each costs the parser a good piece of stack.
        return Err(Mistake::new(0, format!("more than {MAX_CHOICES} `?` in one expression")));
    }
    let parsed = PrattParser::new().enable_optional_syntax(true).parse(text);
    let mut tree = match parsed {
        Ok(tree) => tree,
        // The fast parser says that something is wrong, the slow one where.
        Err(_) => match ENVIRONMENT.compile(text) {
            Ok(program) => program.expression().clone(),
            Err(errors) => return Err(syntax_mistake(text, &errors)),
        },
    };
    if tree::depth(&tree) > MAX_DEPTH {
        return Err(Mistake::new(0, format!("this expression is more than {MAX_DEPTH} levels deep"))
            .help("split the check in two, or write `x in [a, b, …]`"));
    }
    if tree::loop_depth(&tree) > MAX_LOOPS {
        return Err(Mistake::new(0, format!("loops stand more than {MAX_LOOPS} deep in each other")));
    }
    tree::root(&mut tree, &mut Vec::new());
    Ok(Parsed::of(tree))
}

fn free_paths(tree: &IdedExpr) -> BTreeSet<(&str, &str)> {
    fn walk<'e>(node: &'e IdedExpr, paths: &mut BTreeSet<(&'e str, &'e str)>) {
        if let Expr::Select(select) = &node.expr
            && let Some(name) = tree::free_name(&select.operand)
        {
            paths.insert((name, &select.field));
        } else if let Some(name) = tree::free_name(node) {
            paths.insert((name, ""));
        } else {
            tree::each_child(node, &mut |child| walk(child, paths));
        }
    }
    let mut paths = BTreeSet::new();
    walk(tree, &mut paths);
    paths
}

/// How deep brackets and signs before a value stand in each other; those in quoted texts count too, which is harmless.
fn bracket_depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut signs) = (0usize, 0, 0usize);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        signs = if matches!(c, '!' | '-') { signs + 1 } else { 0 };
        deepest = deepest.max(depth).max(signs);
    }
    deepest
}

/// cel's words for a syntax error, in ours.
fn syntax_mistake(text: &str, errors: &cel::ParseErrors) -> Mistake {
    let Some(first) = errors.errors.first() else { return Mistake::new(0, "this is not an expression") };
    let line = usize::try_from(first.pos.0 - 1).unwrap_or(0);
    let column = usize::try_from(first.pos.1 - 1).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    let offset = (before + column).min(text.chars().count());
    let said = first.msg.trim_start_matches("Syntax error: ").split(" expecting ").next().unwrap_or_default();
    let quoted = said.split_once('\'').and_then(|(_, rest)| rest.strip_suffix('\'')).map(str::trim);
    let message = match quoted {
        Some("<EOF>") => "the expression ends too early".to_string(),
        Some(what) => format!("`{what}` is not expected here"),
        None => said.to_string(),
    };
    let mistake = Mistake::new(offset, message);
    let rest: String = text.chars().skip(offset).collect();
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
    match word.as_str() {
        "and" => mistake.help("write `&&`"),
        "or" => mistake.help("write `||`"),
        "not" => mistake.help("write `!`"),
        "is" => mistake.help("write `==`"),
        _ if rest.starts_with('=') => mistake.help("write `==` to compare"),
        _ if text.trim_start().starts_with("not ") => mistake.help("write `!` for `not`"),
        _ => mistake,
    }
}

#[cfg(test)]
mod tests;
