//! Checking an expression before anything runs: names, fields, functions and types, against the probes' own schemas.

use super::functions::{ENVIRONMENT, FUNCTIONS, Function, Gives, On};
use super::schema::{Schemas, Type};
use super::tree::{self, Loop, LoopKind, children, free_name, write, written_name};
use super::{Expression, Mistake};
use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators as op};
use regex::Regex;
use std::rc::Rc;
use std::sync::LazyLock;

/// The names that an expression may read where it stands.
#[derive(Debug, Clone)]
pub struct Names<'s> {
    schemas: &'s Schemas,
    local: Vec<(String, Type<'s>)>,
    /// Shared, since every check starts from the same.
    elsewhere: Rc<Vec<(String, String)>>,
    sized: Vec<String>,
}

impl<'s> Names<'s> {
    /// Everything that `schemas` names.
    pub fn new(schemas: &'s Schemas) -> Names<'s> {
        Names { schemas, local: Vec::new(), elsewhere: Rc::default(), sized: Vec::new() }
    }

    /// Adds a name of the check itself: a loop variable or an answer under `observe`.
    pub fn add(&mut self, name: &str, of: Type<'s>) {
        self.local.push((name.to_string(), of));
    }

    /// Adds a name that exists but not here, with the reason and the way out.
    pub fn add_elsewhere(&mut self, name: &str, why: &str) {
        Rc::make_mut(&mut self.elsewhere).push((name.to_string(), why.to_string()));
    }

    /// Takes the size checks of an expression that is known to hold when this one is read (a check's `when`).
    pub fn assume(&mut self, expression: &Expression) {
        sized_lists(expression.tree(), &mut self.sized);
    }

    fn find(&self, name: &str) -> Option<Type<'s>> {
        let local = self.local.iter().rev().find(|(known, _)| known == name);
        local.map(|(_, of)| of.clone()).or_else(|| self.schemas.named(name))
    }
}

/// The one of `known` that `word` was probably meant to be.
pub fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|one| (strsim::jaro_winkler(one, word), one))
        .filter(|(alike, _)| *alike > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, one)| one)
}

impl Expression {
    /// The type of the expression's value, and every mistake in it.
    pub fn check<'s>(&self, names: &Names<'s>) -> (Type<'s>, Vec<Mistake>) {
        let mut checker = Checker::new(names, self, None);
        let found = checker.type_of(self.tree());
        if checker.mistakes.is_empty() {
            return (found, Vec::new());
        }
        // Once more on the slow parser's tree, which knows positions.
        let Ok(program) = ENVIRONMENT.compile(&self.text) else { return (found, checker.mistakes) };
        let mut placed = program.expression().clone();
        tree::root(&mut placed, &mut Vec::new());
        let mut checker = Checker::new(names, self, Some(program.source_info()));
        checker.type_of(&placed);
        (found, checker.mistakes)
    }

    /// As [`Expression::check`], and the value has to be true or false.
    pub fn check_bool(&self, names: &Names) -> Vec<Mistake> {
        let (found, mut mistakes) = self.check(names);
        if mistakes.is_empty() && !matches!(found, Type::Bool | Type::Any) {
            mistakes.push(Mistake::new(0, format!("this is {}, not true or false", found.name())).help(match found {
                Type::List(_) => "ask for its `.size()`, or use `.exists(x, …)`",
                _ => "compare it with something",
            }));
        }
        mistakes
    }
}

struct Checker<'c, 's> {
    names: &'c Names<'s>,
    expression: &'c Expression,
    places: Option<&'c SourceInfo>,
    loops: Vec<(String, Type<'s>)>,
    mistakes: Vec<Mistake>,
}

impl<'c, 's> Checker<'c, 's> {
    fn new(names: &'c Names<'s>, expression: &'c Expression, places: Option<&'c SourceInfo>) -> Self {
        Checker { names, expression, places, loops: Vec::new(), mistakes: Vec::new() }
    }

    /// Whether the expression, or what is known to hold with it, looks at the size of a list.
    fn is_sized(&self, list: &String) -> bool {
        let mut sized = self.names.sized.clone();
        sized_lists(self.expression.tree(), &mut sized);
        sized.contains(list)
    }

    /// Where a node stands in the text, in characters; cel counts bytes.
    fn place(&self, node: &IdedExpr) -> usize {
        let text = &self.expression.text;
        let byte = self.places.and_then(|places| places.offset_for(node.id)).map_or(0, |(start, _)| start as usize);
        text.char_indices().take_while(|(at, _)| *at < byte).count()
    }

    fn say(&mut self, node: &IdedExpr, message: String) -> &mut Mistake {
        let at = self.place(node);
        self.say_at(at, message)
    }

    fn say_at(&mut self, offset: usize, message: String) -> &mut Mistake {
        self.mistakes.push(Mistake::new(offset, message));
        self.mistakes.last_mut().expect("one was pushed just now")
    }

    /// The place of the word `field` at or after the place of `node`: a field's node is placed at its dot.
    fn place_of_field(&self, node: &IdedExpr, field: &str) -> usize {
        let chars: Vec<char> = self.expression.text.chars().collect();
        let wanted: Vec<char> = field.chars().collect();
        let is_word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        let from = self.place(node);
        (from..chars.len())
            .find(|&at| {
                chars[at..].starts_with(&wanted) && !is_word(at + wanted.len()) && (at == 0 || !is_word(at - 1))
            })
            .unwrap_or(from)
    }

    fn select(&mut self, of: Type<'s>, operand: &IdedExpr, field: &str, at: usize) -> Type<'s> {
        match self.names.schemas.field(&of, field) {
            Ok(found) => found,
            Err(known) => {
                let message = if known.is_empty() {
                    format!("`{}` is {}: it has no field `{field}`", write(operand), of.name())
                } else {
                    format!("`{}` has no field `{field}`", write(operand))
                };
                let help = match near(field, known.iter().copied()) {
                    Some(one) => Some(format!("did you mean `{one}`?")),
                    None if known.is_empty() => match of {
                        Type::List(_) => Some("use `.exists(x, …)`, `.all(x, …)` or an index".into()),
                        _ => None,
                    },
                    None => Some(format!("it has: {}", known.join(", "))),
                };
                self.say_at(at, message).help = help;
                Type::Any
            }
        }
    }

    fn name(&mut self, node: &IdedExpr, name: &str) -> Type<'s> {
        if let Some(found) = self.names.find(name) {
            return found;
        }
        if let Some((_, why)) = self.names.elsewhere.iter().find(|(known, _)| known == name) {
            let why = why.clone();
            self.say(node, format!("`{name}` cannot be read here")).help = Some(why);
            return Type::Any;
        }
        let known: Vec<&str> = self
            .names
            .local
            .iter()
            .chain(&self.loops)
            .map(|(name, _)| name.as_str())
            .chain(self.names.schemas.names())
            .collect();
        let help = match near(name, known.iter().copied()) {
            Some(one) => format!("did you mean `{one}`?"),
            None => format!("there are: {}; a text stands in quotes: \"{name}\"", known.join(", ")),
        };
        self.say(node, format!("nothing is called `{name}`")).help = Some(help);
        Type::Any
    }

    fn type_of(&mut self, node: &IdedExpr) -> Type<'s> {
        if let Some(name) = free_name(node) {
            return self.name(node, name);
        }
        match &node.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Int,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::String(_) => Type::Text,
                LiteralValue::Bytes(_) | LiteralValue::Null => Type::Any,
            },
            Expr::Ident(name) => {
                self.loops.iter().rev().find(|(known, _)| known == name).map_or(Type::Any, |(_, of)| of.clone())
            }
            Expr::Select(select) => {
                let of = self.type_of(&select.operand);
                // `has(a.b)` is placed at its bracket, `a.b` at its dot.
                let at = self.place_of_field(if select.test { &select.operand } else { node }, &select.field);
                let found = self.select(of, &select.operand, &select.field, at);
                if select.test { Type::Bool } else { found }
            }
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => {
                let mut elements = list.elements.iter().map(|element| self.type_of(element)).collect::<Vec<_>>();
                Type::List(Box::new(if elements.is_empty() { Type::Any } else { elements.swap_remove(0) }))
            }
            Expr::Map(_) => {
                children(node).into_iter().for_each(|child| drop(self.type_of(child)));
                Type::Any
            }
            Expr::Comprehension(comprehension) => match Loop::of(comprehension) {
                Some(found) => self.looped(node, &found),
                None => Type::Any,
            },
            _ => {
                self.say(node, "this kind of expression is not known".into());
                Type::Any
            }
        }
    }

    fn looped(&mut self, node: &IdedExpr, found: &Loop) -> Type<'s> {
        let range = self.type_of(found.range);
        let element = match &range {
            Type::List(element) => (**element).clone(),
            Type::Map(_) => Type::Text,
            Type::Any => Type::Any,
            other => {
                let message = format!("`{}` is {}, not a list", write(found.range), other.name());
                self.say(found.range, message);
                Type::Any
            }
        };
        if self.names.find(found.variable).is_some() || self.loops.iter().any(|(name, _)| name == found.variable) {
            let message = format!("the loop variable `{}` hides another of that name", found.variable);
            self.say(node, message).help = Some("give it another name".into());
        }
        if found.kind == LoopKind::All
            && !matches!(found.range.expr, Expr::List(_))
            && !self.is_sized(&write(found.range))
        {
            let list = write(found.range);
            self.say(node, format!("`{list}` may be empty, and then `all` holds")).help =
                Some(format!("write `{list}.size() > 0 && …`, or `{list}.size() == 0 || …` where none is fine"));
        }
        self.loops.push((found.variable.to_string(), element.clone()));
        if let Some(predicate) = found.predicate {
            self.wants_bool(predicate);
        }
        let transformed = found.transform.map(|transform| self.type_of(transform));
        self.loops.pop();
        match found.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Type::Bool,
            LoopKind::Filter => Type::List(Box::new(element)),
            LoopKind::Map => Type::List(Box::new(transformed.unwrap_or(Type::Any))),
        }
    }

    fn wants_bool(&mut self, node: &IdedExpr) {
        let found = self.type_of(node);
        if !matches!(found, Type::Bool | Type::Any) {
            let message = format!("`{}` is {}, not true or false", write(node), found.name());
            self.say(node, message);
        }
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Type<'s> {
        match (written_name(&call.func_name), call.args.as_slice()) {
            (op::INDEX | op::OPT_INDEX, [of, index]) => self.index(of, index),
            (op::OPT_SELECT, [of, field]) => {
                let found = self.type_of(of);
                if !matches!(found, Type::Any) {
                    let written = write(node);
                    let plain = written.replace(".?", ".");
                    self.say(node, "`.?` is for what a command printed; the fields of a probe are known".into()).help =
                        Some(format!("write `{plain}`, or `has({plain})` to ask whether it is there"));
                    return Type::Any;
                }
                match &field.expr {
                    Expr::Literal(LiteralValue::String(_)) => Type::Any,
                    _ => self.type_of(field),
                }
            }
            (op::CONDITIONAL, [condition, then, otherwise]) => {
                self.wants_bool(condition);
                let found = self.type_of(then);
                let other = self.type_of(otherwise);
                if matches!(found, Type::Any) { other } else { found }
            }
            (op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT, operands) => {
                operands.iter().for_each(|operand| self.wants_bool(operand));
                Type::Bool
            }
            (op::EQUALS | op::NOT_EQUALS | op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) => {
                self.compare(node, a, b);
                Type::Bool
            }
            (op::IN, [element, list]) => {
                self.within(node, element, list);
                Type::Bool
            }
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [a, b]) => self.arithmetic(node, a, b),
            (op::NEGATE, [operand]) => self.type_of(operand),
            (name, arguments) => self.function(node, name, call.target.as_deref(), arguments),
        }
    }

    fn index(&mut self, of: &IdedExpr, index: &IdedExpr) -> Type<'s> {
        let found = self.type_of(of);
        let by = self.type_of(index);
        match found {
            Type::List(element) => {
                if !matches!(by, Type::Int | Type::Any) {
                    let message = format!("`{}` is a list: its index is a whole number", write(of));
                    self.say(index, message);
                }
                *element
            }
            Type::Map(values) => *values,
            Type::Record(_) => match &index.expr {
                Expr::Literal(LiteralValue::String(field)) => {
                    let at = self.place(index);
                    self.select(found, of, field.inner(), at)
                }
                _ => Type::Any,
            },
            Type::Any => Type::Any,
            other => {
                let message = format!("`{}` is {}: it has no index", write(of), other.name());
                self.say(of, message);
                Type::Any
            }
        }
    }

    /// Words that a literal can never be, on either side of a comparison.
    fn words(&mut self, a: &IdedExpr, of: &Type<'s>, b: &IdedExpr) {
        let Type::Word(known) = of else { return };
        let literals: Vec<&IdedExpr> = match &b.expr {
            Expr::List(list) => list.elements.iter().collect(),
            _ => vec![b],
        };
        for literal in literals {
            if let Expr::Literal(LiteralValue::String(word)) = &literal.expr
                && !known.contains(&word.inner())
            {
                let message = format!("`{}` is never \"{}\"", write(a), word.inner());
                let help = match near(word.inner(), known.iter().copied()) {
                    Some(one) => format!("did you mean \"{one}\"?"),
                    None => format!("it is one of: {}", known.join(", ")),
                };
                self.say(literal, message).help = Some(help);
            }
        }
    }

    fn compare(&mut self, node: &IdedExpr, a: &IdedExpr, b: &IdedExpr) {
        let (left, right) = (self.type_of(a), self.type_of(b));
        self.words(a, &left, b);
        self.words(b, &right, a);
        if !comparable(&left, &right) {
            let message =
                format!("`{}` is {} and `{}` is {}: they never compare", write(a), left.name(), write(b), right.name());
            self.say(node, message);
        }
    }

    fn within(&mut self, node: &IdedExpr, element: &IdedExpr, list: &IdedExpr) {
        let left = self.type_of(element);
        let right = self.type_of(list);
        self.words(element, &left, list);
        let inside = match &right {
            Type::List(inside) => (**inside).clone(),
            Type::Map(_) | Type::Record(_) => Type::Text,
            Type::Any => return,
            other => {
                let message = format!("`{}` is {}: nothing is in it", write(list), other.name());
                let help = other.is_text().then(|| format!("write `{}.contains(…)`", write(list)));
                self.say(node, message).help = help;
                return;
            }
        };
        if !comparable(&left, &inside) {
            let message = format!("`{}` is {}, the list holds {}", write(element), left.name(), inside.name());
            self.say(node, message);
        }
    }

    fn arithmetic(&mut self, node: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Type<'s> {
        let (left, right) = (self.type_of(a), self.type_of(b));
        match (&left, &right) {
            (Type::Any, _) => right,
            (_, Type::Any) => left,
            (Type::Int, Type::Int) | (Type::Double, Type::Double) | (Type::List(_), Type::List(_)) => left,
            (Type::Text | Type::Word(_), Type::Text | Type::Word(_)) => Type::Text,
            (Type::Time, Type::Time) => Type::Duration,
            (Type::Time | Type::Duration, Type::Duration) => left,
            (Type::Duration, Type::Time) => right,
            (Type::Int, Type::Double) | (Type::Double, Type::Int) => {
                let whole = if matches!(left, Type::Int) { a } else { b };
                let help = match &whole.expr {
                    Expr::Literal(LiteralValue::Int(int)) => format!("write `{}.0`", int.inner()),
                    _ => format!("write `double({})`", write(whole)),
                };
                self.say(node, "a whole number and one with a fraction do not mix".into()).help = Some(help);
                Type::Double
            }
            _ => {
                let message = format!(
                    "`{}` is {} and `{}` is {}: they do not mix",
                    write(a),
                    left.name(),
                    write(b),
                    right.name()
                );
                let help = (left.is_text() || right.is_text()).then(|| "write `string(…)` around the number".into());
                self.say(node, message).help = help;
                Type::Any
            }
        }
    }

    fn function(&mut self, node: &IdedExpr, name: &str, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Type<'s> {
        let on = target.map(|target| self.type_of(target));
        let types: Vec<Type<'s>> = args.iter().map(|arg| self.type_of(arg)).collect();
        let named: Vec<&Function> = FUNCTIONS.iter().filter(|function| function.name == name).collect();
        let fits = |function: &&&Function| match &on {
            None => function.on == On::Nothing,
            Some(target) => function.on.accepts(target),
        };
        let Some(function) = named.iter().find(fits) else {
            // A field's node is placed at its dot, a function's at its bracket: look for the word itself.
            let (message, help) = match (named.first(), target) {
                (None, _) => {
                    let close = near(name, FUNCTIONS.iter().map(|function| function.name).chain(MACROS));
                    (
                        format!("no function is called `{name}`"),
                        close.map(|one| format!("did you mean `{one}`?")).unwrap_or_else(|| {
                            let mut names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
                            names.dedup();
                            format!("there are: {}, has, {}", names.join(", "), MACROS.join(", "))
                        }),
                    )
                }
                (Some(function), Some(target)) if function.on != On::Nothing => (
                    format!(
                        "`{name}` cannot be called on `{}`, which is {}",
                        write(target),
                        on.as_ref().map_or("nothing", Type::name)
                    ),
                    if name == "contains" { "for a list write `x in list`".into() } else { String::new() },
                ),
                (Some(_), Some(target)) => {
                    (format!("`{name}` is called on nothing"), format!("write `{name}({})`", write(target)))
                }
                (Some(_), None) => (format!("`{name}` has to be called on something"), format!("write `x.{name}(…)`")),
            };
            self.say(node, message).help = Some(help).filter(|help| !help.is_empty());
            return Type::Any;
        };
        for ((arg, given), takes) in args.iter().zip(&types).zip(function.takes) {
            if !takes.accepts(given) {
                let message = format!("`{name}` takes {} here, and `{}` is {}", takes.name(), write(arg), given.name());
                self.say(arg, message);
            }
        }
        if args.len() < function.least || args.len() > function.takes.len() {
            let wanted = match (function.least, function.takes.len()) {
                (0, 0) => "nothing".to_string(),
                (least, most) if least == most => format!("{least}"),
                (least, most) => format!("{least} to {most}"),
            };
            self.say(node, format!("`{name}` takes {wanted} in its brackets, not {}", args.len()));
        }
        self.literal_argument(name, args);
        match function.gives {
            Gives::Bool => Type::Bool,
            Gives::Int => Type::Int,
            Gives::Double => Type::Double,
            Gives::Text => Type::Text,
            Gives::Texts => Type::List(Box::new(Type::Text)),
            Gives::Duration => Type::Duration,
            Gives::Time => Type::Time,
            Gives::SameList => on.unwrap_or(Type::Any),
            Gives::Alternative => types.into_iter().next().unwrap_or(Type::Any),
        }
    }

    /// Patterns and durations that stand in the expression are read now, not on the node.
    fn literal_argument(&mut self, name: &str, args: &[IdedExpr]) {
        let Some(arg) = args.first() else { return };
        let Expr::Literal(LiteralValue::String(text)) = &arg.expr else { return };
        let text = text.inner();
        match name {
            "matches" => {
                if let Err(error) = Regex::new(text) {
                    self.say(arg, format!("not a regular expression: {}", last_line(&error.to_string())));
                }
            }
            "duration" if !DURATION.is_match(text) => {
                self.say(arg, format!("\"{text}\" is not a duration")).help = Some("write \"90s\" or \"1h30m\"".into());
            }
            _ => {}
        }
    }
}

const MACROS: [&str; 5] = ["all", "exists", "exists_one", "filter", "map"];

/// A duration as CEL reads it (cel-spec, langdef.md, "Duration").
static DURATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^-?(\d+(\.\d+)?(h|m|s|ms|us|ns))+$").expect("this pattern is right"));

/// The line of a regex error that says what is wrong; the others draw the pattern.
pub(crate) fn last_line(error: &str) -> &str {
    error.lines().last().unwrap_or(error).trim_start_matches("error: ")
}

fn comparable(a: &Type, b: &Type) -> bool {
    let numeric = |one: &Type| matches!(one, Type::Int | Type::Double);
    match (a, b) {
        (Type::Any, _) | (_, Type::Any) => true,
        (Type::Text | Type::Word(_), Type::Text | Type::Word(_)) => true,
        (Type::List(a), Type::List(b)) => comparable(a, b),
        (a, b) if numeric(a) && numeric(b) => true,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// Every list whose size an expression looks at, as text.
fn sized_lists(node: &IdedExpr, sized: &mut Vec<String>) {
    if let Expr::Call(call) = &node.expr
        && call.func_name == "size"
    {
        sized.extend(call.target.as_deref().or(call.args.first()).map(write));
    }
    children(node).into_iter().for_each(|child| sized_lists(child, sized));
}
