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
use cel::parser::PrattParser;
use functions::ENVIRONMENT;
use std::collections::BTreeSet;

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
    tree: IdedExpr,
    /// See [`Expression::names`].
    names: Box<[Box<str>]>,
    /// See [`Expression::parameters`].
    parameters: Box<[Box<str>]>,
}

impl Expression {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Expression, Mistake> {
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
        let mut expression =
            Expression { text: text.to_string(), tree, names: Box::default(), parameters: Box::default() };
        // Planning and judging ask for these again and again.
        expression.names = free_names(&expression.tree).into_iter().map(Box::from).collect();
        if expression.reads("params") {
            expression.parameters = expression.fields_of("params").into_iter().map(Box::from).collect();
        }
        Ok(expression)
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names that the expression reads: probes, `params`, loop variables of its check.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether the expression reads this name.
    pub fn reads(&self, name: &str) -> bool {
        self.names.iter().any(|known| **known == *name)
    }

    /// The parameters that the expression reads: `x` of each `params.x`.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|name| &**name)
    }

    /// The fields that the expression reads of the record with this name.
    pub fn fields_of(&self, name: &str) -> BTreeSet<&str> {
        fn walk<'e>(node: &'e IdedExpr, name: &str, fields: &mut BTreeSet<&'e str>) {
            if let cel::common::ast::Expr::Select(select) = &node.expr
                && tree::free_name(&select.operand) == Some(name)
            {
                fields.insert(&select.field);
            }
            tree::each_child(node, &mut |child| walk(child, name, fields));
        }
        let mut fields = BTreeSet::new();
        walk(&self.tree, name, &mut fields);
        fields
    }
}

fn free_names(tree: &IdedExpr) -> BTreeSet<&str> {
    fn walk<'e>(node: &'e IdedExpr, names: &mut BTreeSet<&'e str>) {
        names.extend(tree::free_name(node));
        tree::each_child(node, &mut |child| walk(child, names));
    }
    let mut names = BTreeSet::new();
    walk(tree, &mut names);
    names
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
