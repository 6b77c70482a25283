//! Evaluating an expression, and saying why it is false or cannot be told.

use super::facts::{
    Brief, Fact, brief, carried, cel_json, count_step, counted_too_many, is_too_late, ran_out_of_time, short_number,
    start_counting, to_json,
};
use super::functions::ENVIRONMENT;
use super::tree::{FACTS, Loop, LoopKind, children, comparison_words, free_name, write};
use super::{Expression, Scope};
use crate::fact::Absent;
use cel::common::ast::{Expr, LiteralValue, operators as op};
use cel::common::types::CelBool;
use cel::common::value::Val;
use cel::{Context, ExecutionError, IdedExpr, Value};
use serde_json::Value as Json;

/// One part of an expression that made it what it is, with what it read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The part in a sentence: `mount.space.used_percent is 97.5, expected less than 95`.
    pub sentence: String,
    /// What the part read: each path with its value, absences included.
    pub values: Vec<(String, Json)>,
}

/// How many elements of a list an explanation names before it only counts them.
const NAMED_ELEMENTS: usize = 3;

impl Expression {
    /// Whether the expression holds. An error is an absence: nobody could tell.
    pub fn holds(&self, scope: &Scope) -> Result<bool, Absent> {
        let context = context(scope);
        let found = resolved(self.tree(), &context, self.text())?;
        match found.downcast_ref::<CelBool>() {
            Some(holds) => Ok(*holds.inner()),
            None => Err(Absent::failed(format!("`{}` is neither true nor false", self.text()))),
        }
    }

    /// The expression's value.
    pub fn value(&self, scope: &Scope) -> Result<Fact, Absent> {
        let context = context(scope);
        resolved(self.tree(), &context, self.text()).map(Fact)
    }

    /// The elements of the list that the expression gives. Where it filters a list, an element of which nobody could
    /// tell whether it belongs comes with the reason; one that lacks what is asked for does not belong.
    pub fn items(&self, scope: &Scope) -> Result<Vec<(Fact, Option<Absent>)>, Absent> {
        if let Expr::Comprehension(comprehension) = &self.tree().expr
            && let Some(Loop { kind: LoopKind::Filter, range, variable, predicate: Some(predicate), .. }) =
                Loop::of(comprehension)
        {
            let context = context(scope);
            let mut items = Vec::new();
            for item in elements(&*resolved(range, &context, self.text())?, self.text())? {
                let mut inside = context.new_inner_scope();
                inside.add_variable_as_val(variable, item.0.clone_as_boxed());
                let belongs = resolved(predicate, &inside, self.text());
                match belongs.map(|value| value.downcast_ref::<CelBool>().map(|belongs| *belongs.inner())) {
                    Ok(Some(true)) => items.push((item, None)),
                    Ok(Some(false)) => {}
                    Ok(None) => {
                        return Err(Absent::failed(format!("`{}` is neither true nor false", write(predicate))));
                    }
                    Err(absent) if absent.reason.does_not_apply() => {}
                    Err(absent) => items.push((item, Some(absent))),
                }
            }
            return Ok(items);
        }
        let items = elements(&*self.value(scope)?.0, self.text())?;
        Ok(items.into_iter().map(|item| (item, None)).collect())
    }

    /// Why the expression is false: the smallest parts that make it so.
    pub fn why_false(&self, scope: &Scope) -> Vec<Reading> {
        start_counting();
        let mut readings = Vec::new();
        why(self.tree(), &context(scope), "", true, &mut readings);
        readings
    }

    /// Everything that the expression read outside of its loops, with the values.
    pub fn readings(&self, scope: &Scope) -> Vec<(String, Json)> {
        start_counting();
        let context = context(scope);
        let mut leaves = Vec::new();
        paths(self.tree(), &mut leaves);
        values(&leaves, &context)
    }
}

/// The value of a node. An error is an absence, for the reason that counts most of all that led to it.
fn resolved(node: &IdedExpr, context: &Context<'_, 'static>, text: &str) -> Result<Box<dyn Val>, Absent> {
    let too_late = || Err(Absent::failed("was not evaluated: the run was out of time"));
    if is_too_late() {
        return too_late();
    }
    start_counting();
    let result = Value::resolve_val(node, context);
    if ran_out_of_time() {
        return too_late();
    }
    if counted_too_many() {
        return Err(Absent::failed(format!("`{text}` takes too many steps")));
    }
    result.map(|value| value.into_owned()).map_err(|error| {
        start_counting();
        let mut absences = Vec::new();
        blame(node, &error, context, &mut absences);
        let worst = absences.into_iter().min_by_key(|absent| absent.reason);
        worst.unwrap_or_else(|| Absent::failed(plain_error(&error)))
    })
}

/// The elements of a list.
fn elements(list: &(dyn Val + 'static), text: &str) -> Result<Vec<Fact>, Absent> {
    let list = list.as_iterable().ok_or_else(|| Absent::failed(format!("`{text}` is not a list")))?;
    let mut items = Vec::new();
    let mut iterator = list.iter();
    while let Some(item) = iterator.next() {
        items.push(Fact(item.clone_as_boxed()));
    }
    Ok(items)
}

fn context(scope: &Scope) -> Context<'static, 'static> {
    let mut context = Context::with_env(ENVIRONMENT.clone());
    context.add_variable_as_val(FACTS, scope.record());
    context
}

fn is(node: &IdedExpr, context: &Context<'_, 'static>) -> Option<bool> {
    let value = Value::resolve_val(node, context).ok()?;
    value.downcast_ref::<CelBool>().map(|holds| *holds.inner())
}

/// Calls `visit` with the scope of each element of a loop.
fn each_element(
    found: &Loop,
    context: &Context<'_, 'static>,
    mut visit: impl FnMut(usize, &dyn Val, &Context<'_, 'static>),
) {
    let Ok(range) = Value::resolve_val(found.range, context) else { return };
    let Some(list) = range.as_iterable() else { return };
    let mut items = list.iter();
    let mut number = 0;
    while let Some(item) = items.next() {
        // To explain is to evaluate again, so it is bounded as evaluating is.
        if !count_step(0) {
            return;
        }
        let mut inside = context.new_inner_scope();
        inside.add_variable_as_val(found.variable, item.clone_as_boxed());
        visit(number, item, &inside);
        number += 1;
    }
}

/// Whether a node is a name, or names a part of what a name stands for.
fn is_path(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => is_path(&select.operand),
        _ => free_name(node).is_some(),
    }
}

/// As [`blame`], for a node that may be well.
fn blame_part(node: &IdedExpr, context: &Context<'_, 'static>, absences: &mut Vec<Absent>) {
    if let Err(error) = Value::resolve_val(node, context) {
        blame(node, &error, context, absences);
    }
}

/// Finds the absences that the error of a node comes from. One whose parts are all well is itself to blame.
fn blame(node: &IdedExpr, error: &ExecutionError, context: &Context<'_, 'static>, absences: &mut Vec<Absent>) {
    let before = absences.len();
    match &node.expr {
        // What the first absent field of a path says, all that follows it says as well.
        _ if is_path(node) && carried(error).is_some() => {}
        Expr::Comprehension(comprehension) => {
            if let Some(found) = Loop::of(comprehension) {
                blame_part(found.range, context, absences);
                each_element(&found, context, |_, _, inside| {
                    for part in [found.predicate, found.transform].into_iter().flatten() {
                        blame_part(part, inside, absences);
                    }
                });
            }
        }
        Expr::Call(call) if call.func_name == op::CONDITIONAL => {
            match is(&call.args[0], context) {
                None => blame_part(&call.args[0], context, absences),
                Some(holds) => blame_part(&call.args[if holds { 1 } else { 2 }], context, absences),
            };
        }
        _ if free_name(node).is_some() => {}
        _ => children(node).into_iter().for_each(|child| blame_part(child, context, absences)),
    }
    if absences.len() == before {
        absences.push(match carried(error) {
            Some((path, absent)) if absent.detail.is_empty() => Absent::new(absent.reason, path),
            Some((_, absent)) => absent,
            None => Absent::failed(format!("`{}`: {}", write(node), plain_error(error))),
        });
    }
}

fn plain_error(error: &ExecutionError) -> String {
    match error {
        ExecutionError::IndexOutOfBounds(index) => format!("there is no element {}", show(&cel_json(index))),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".into(),
        ExecutionError::NoSuchOverload(_) => "these values do not go together".into(),
        other => other.to_string(),
    }
}

/// Collects the parts that keep `node` from being `wanted`.
fn why(node: &IdedExpr, context: &Context<'_, 'static>, place: &str, wanted: bool, readings: &mut Vec<Reading>) {
    let guilty = |part: &IdedExpr, wanted: bool| is(part, context) != Some(wanted);
    match &node.expr {
        Expr::Call(call) if matches!(call.func_name.as_str(), op::LOGICAL_AND | op::LOGICAL_OR) => {
            for part in call.args.iter().filter(|part| guilty(part, wanted)) {
                why(part, context, place, wanted, readings);
            }
            return;
        }
        Expr::Call(call) if call.func_name == op::LOGICAL_NOT => {
            return why(&call.args[0], context, place, !wanted, readings);
        }
        Expr::Call(call) if call.func_name == op::CONDITIONAL => {
            let taken = if is(&call.args[0], context) == Some(true) { 1 } else { 2 };
            return why(&call.args[taken], context, place, wanted, readings);
        }
        Expr::Comprehension(comprehension) => {
            if let Some(found) = Loop::of(comprehension)
                && let (LoopKind::All | LoopKind::Exists, Some(predicate)) = (found.kind, found.predicate)
            {
                return why_loop(&found, predicate, context, place, wanted, readings);
            }
        }
        _ => {}
    }
    let mut leaves = Vec::new();
    paths(node, &mut leaves);
    let values = values(&leaves, context);
    readings.push(Reading { sentence: format!("{place}{}", sentence(node, context, wanted, &values)), values });
}

fn why_loop(
    found: &Loop,
    predicate: &IdedExpr,
    context: &Context<'_, 'static>,
    place: &str,
    wanted: bool,
    readings: &mut Vec<Reading>,
) {
    let range = write(found.range);
    let (mut guilty, mut count) = (0, 0);
    // Where one element would have been enough, every element is to blame and none in particular.
    let none_in_particular = (found.kind == LoopKind::Exists) == wanted;
    each_element(found, context, |number, item, inside| {
        count += 1;
        if is(predicate, inside) == Some(wanted) {
            return;
        }
        guilty += 1;
        if guilty <= NAMED_ELEMENTS && !none_in_particular {
            let element = match brief(item) {
                Brief::Value(scalar @ (Json::String(_) | Json::Number(_) | Json::Bool(_))) => show(&scalar),
                _ => format!("{range}[{number}]"),
            };
            why(predicate, inside, &format!("{place}for {element}: "), wanted, readings);
        }
    });
    let values = vec![(format!("{range}.size()"), Json::from(count))];
    if none_in_particular {
        let quantity = if wanted { "none" } else { "each" };
        let sentence = format!("{place}{quantity} of the {count} in {range} fits `{}`", write(predicate));
        readings.push(Reading { sentence, values });
    } else if guilty > NAMED_ELEMENTS {
        let sentence = format!("{place}and {} more of {count} in {range}", guilty - NAMED_ELEMENTS);
        readings.push(Reading { sentence, values });
    }
}

/// One comparison or call in words.
fn sentence(node: &IdedExpr, context: &Context<'_, 'static>, wanted: bool, values: &[(String, Json)]) -> String {
    if let Expr::Call(call) = &node.expr
        && let Some(words) = comparison_words(call)
        && let [left, right] = call.args.as_slice()
        && !matches!(left.expr, Expr::Literal(_) | Expr::List(_))
        && let Ok(seen) = Value::resolve_val(left, context)
    {
        let expected = match Value::resolve_val(right, context) {
            Ok(value) => show(&to_json(value.as_ref())),
            Err(_) => write(right),
        };
        let named = match &right.expr {
            Expr::Literal(_) | Expr::List(_) => String::new(),
            _ => format!(" ({})", write(right)),
        };
        let words = words[usize::from(!wanted)];
        return format!("{} is {}, expected {words}{expected}{named}", write(left), show(&to_json(seen.as_ref())));
    }
    let verb = match is(node, context) {
        Some(holds) => if holds { "holds" } else { "does not hold" }.to_string(),
        None => "cannot be told".to_string(),
    };
    let read: Vec<String> = values
        .iter()
        .filter(|(path, _)| *path != write(node))
        .map(|(path, value)| format!("{path} is {}", show(value)))
        .collect();
    match (read.as_slice(), values) {
        ([], [(path, Json::Bool(value))]) => format!("{path} is {value}"),
        ([], _) => format!("`{}` {verb}", write(node)),
        (read, _) => format!("`{}` {verb}: {}", write(node), read.join(", ")),
    }
}

/// A value in a sentence.
fn show(value: &Json) -> String {
    match value {
        Json::String(text) => format!("\"{text}\""),
        Json::Number(number) if number.is_f64() => short_number(number.as_f64().unwrap_or(f64::NAN)),
        Json::Array(items) if items.len() > 8 || items.iter().any(|item| item.is_object() || item.is_array()) => {
            format!("a list of {}", items.len())
        }
        Json::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Json::Object(_) => match Absent::from_json(value) {
            Some(absent) => format!("absent ({absent})"),
            None => "a record".into(),
        },
        other => other.to_string(),
    }
}

/// The longest paths that a node reads: `gpu.ecc.volatile.uncorrectable`, not its prefixes.
fn paths<'e>(node: &'e IdedExpr, leaves: &mut Vec<&'e IdedExpr>) {
    match &node.expr {
        Expr::Ident(name) if name.starts_with('@') => {}
        Expr::Ident(_) | Expr::Select(_) => leaves.push(node),
        Expr::Call(call) if matches!(call.func_name.as_str(), op::INDEX | op::OPT_INDEX | op::OPT_SELECT) => {
            leaves.push(node);
        }
        Expr::Call(call) if call.func_name == "size" => leaves.push(node),
        Expr::Comprehension(comprehension) => {
            if let Some(found) = Loop::of(comprehension) {
                paths(found.range, leaves);
            }
        }
        Expr::Literal(LiteralValue::Null) => {}
        _ => children(node).into_iter().for_each(|child| paths(child, leaves)),
    }
}

/// The value of each path. Lists and records are too much to show: of a list its length, of a record nothing.
fn values(leaves: &[&IdedExpr], context: &Context<'_, 'static>) -> Vec<(String, Json)> {
    let mut values: Vec<(String, Json)> = Vec::new();
    for leaf in leaves {
        let path = write(leaf);
        if values.iter().any(|(known, _)| *known == path) {
            continue;
        }
        match Value::resolve_val(leaf, context) {
            Ok(value) => match brief(value.as_ref()) {
                Brief::Length(length) => values.push((format!("{path}.size()"), Json::from(length))),
                Brief::Nothing => {}
                Brief::Value(value) => values.push((path, value)),
            },
            Err(error) => {
                let absent = carried(&error).map_or_else(|| Absent::failed(plain_error(&error)), |(_, absent)| absent);
                values.push((path, absent.to_json()));
            }
        }
    }
    values
}
