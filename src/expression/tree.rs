//! The tree of an expression: loops recognised, and written back as text.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators as op};

/// The hidden name that all observations and parameters are fields of. An author cannot write it.
pub(super) const FACTS: &str = "@facts";

/// The hidden function that counts the steps of loops; its value is its argument's.
pub(super) const STEP: &str = "@step";

/// The functions on texts and lists that have a version of ours, which an author cannot name: `@join` for `join`.
pub(super) const OURS: [(&str, &str); 4] =
    [("replace", "@replace"), ("join", "@join"), ("matches", "@matches"), ("slice", "@slice")];

/// What an author calls a function.
pub(super) fn written_name(name: &str) -> &str {
    OURS.iter().find(|(_, ours)| *ours == name).map_or(name, |(written, _)| written)
}

/// A loop as the author wrote it: cel expands `all`, `exists` and the like while it parses.
pub(super) struct Loop<'e> {
    pub kind: LoopKind,
    pub range: &'e IdedExpr,
    pub variable: &'e str,
    /// What is asked of each element (of `map` with three arguments: which elements are taken).
    pub predicate: Option<&'e IdedExpr>,
    /// What `map` makes of each element.
    pub transform: Option<&'e IdedExpr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl LoopKind {
    fn name(self) -> &'static str {
        match self {
            LoopKind::All => "all",
            LoopKind::Exists => "exists",
            LoopKind::ExistsOne => "exists_one",
            LoopKind::Filter => "filter",
            LoopKind::Map => "map",
        }
    }
}

impl<'e> Loop<'e> {
    pub(super) fn of(comprehension: &'e ComprehensionExpr) -> Option<Loop<'e>> {
        let Expr::Call(step) = &comprehension.loop_step.expr else { return None };
        let variable = comprehension.iter_var.as_str();
        let range = &comprehension.iter_range;
        let found = |kind, predicate, transform| Some(Loop { kind, range, variable, predicate, transform });
        match (&comprehension.accu_init.expr, step.func_name.as_str()) {
            (Expr::Literal(LiteralValue::Boolean(_)), op::LOGICAL_AND) => found(LoopKind::All, step.args.get(1), None),
            (Expr::Literal(LiteralValue::Boolean(_)), op::LOGICAL_OR) => {
                found(LoopKind::Exists, step.args.get(1), None)
            }
            (Expr::Literal(LiteralValue::Int(_)), op::CONDITIONAL) => {
                found(LoopKind::ExistsOne, step.args.first(), None)
            }
            (Expr::List(_), op::ADD) => found(LoopKind::Map, None, appended(step).map(uncounted)),
            (Expr::List(_), op::CONDITIONAL) => {
                let Expr::Call(append) = &step.args.get(1)?.expr else { return None };
                let element = appended(append)?;
                if matches!(&element.expr, Expr::Ident(name) if name == variable) {
                    found(LoopKind::Filter, step.args.first().map(uncounted), None)
                } else {
                    found(LoopKind::Map, step.args.first().map(uncounted), Some(element))
                }
            }
            _ => None,
        }
    }
}

/// `x` of `@step(x)`.
fn uncounted(node: &IdedExpr) -> &IdedExpr {
    match &node.expr {
        Expr::Call(call) if call.func_name == STEP => &call.args[0],
        _ => node,
    }
}

/// Makes a node count as a step of its loop whenever it is evaluated.
fn count(node: &mut IdedExpr) {
    let inside = std::mem::take(node);
    let id = inside.id;
    let call = CallExpr { func_name: STEP.into(), target: None, args: vec![inside] };
    *node = IdedExpr { id, expr: Expr::Call(call) };
}

/// Makes every round of a loop count. `map` and `filter` never look at the loop's condition, the others go on when
/// their predicate is an error: so for the first it is what they evaluate for each element, for the others the
/// condition.
fn count_rounds(comprehension: &mut ComprehensionExpr) {
    if !matches!(comprehension.accu_init.expr, Expr::List(_)) {
        return count(&mut comprehension.loop_cond);
    }
    let Expr::Call(step) = &mut comprehension.loop_step.expr else { return };
    match step.func_name.as_str() {
        op::CONDITIONAL => step.args.first_mut().into_iter().for_each(count),
        _ => {
            if let Some(Expr::List(list)) = step.args.get_mut(1).map(|list| &mut list.expr) {
                list.elements.first_mut().into_iter().for_each(count);
            }
        }
    }
}

/// `x` of `accumulated + [x]`.
fn appended(add: &CallExpr) -> Option<&IdedExpr> {
    match &add.args.get(1)?.expr {
        Expr::List(list) => list.elements.first(),
        _ => None,
    }
}

/// The direct parts of a node, without what loops add for themselves.
pub(super) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    let mut parts = Vec::new();
    each_child(node, &mut |part| parts.push(part));
    parts
}

/// Shows `see` each of the [`children`], without a list of them: whole trees are walked several times at each start.
pub(super) fn each_child<'e>(node: &'e IdedExpr, see: &mut dyn FnMut(&'e IdedExpr)) {
    match &node.expr {
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).for_each(see),
        Expr::Select(select) => see(&select.operand),
        Expr::List(list) => list.elements.iter().for_each(see),
        Expr::Map(map) => {
            for entry in &map.entries {
                match &entry.expr {
                    EntryExpr::MapEntry(entry) => [&entry.key, &entry.value].into_iter().for_each(&mut *see),
                    EntryExpr::StructField(field) => see(&field.value),
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            if let Some(found) = Loop::of(comprehension) {
                [Some(found.range), found.predicate, found.transform].into_iter().flatten().for_each(see);
            }
        }
        _ => {}
    }
}

/// Turns every free name into a field of [`FACTS`], so that an absent probe is an absent field like any other, makes
/// loops count their rounds, and puts our versions of functions in place of cel's.
pub(super) fn root(node: &mut IdedExpr, bound: &mut Vec<String>) {
    match &mut node.expr {
        Expr::Ident(name) if !name.starts_with('@') && !bound.contains(name) => {
            // `@facts["gpus"]`, not `@facts.gpus`: of a path that begins with a name, cel looks up every beginning.
            let name = LiteralValue::String(std::mem::take(name).into());
            let args = [Expr::Ident(FACTS.into()), Expr::Literal(name)].map(|expr| IdedExpr { id: node.id, expr });
            node.expr = Expr::Call(CallExpr { func_name: op::INDEX.into(), target: None, args: args.into() });
        }
        Expr::Call(call) => {
            let ours = OURS.iter().find(|(written, _)| call.target.is_some() && *written == call.func_name);
            if let Some((_, ours)) = ours {
                call.func_name = ours.to_string();
            }
            for part in call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args) {
                root(part, bound);
            }
        }
        Expr::Select(select) => root(&mut select.operand, bound),
        Expr::List(list) => list.elements.iter_mut().for_each(|element| root(element, bound)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    root(&mut entry.key, bound);
                    root(&mut entry.value, bound);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            root(&mut comprehension.iter_range, bound);
            bound.push(comprehension.iter_var.clone());
            root(&mut comprehension.loop_step, bound);
            bound.pop();
            count_rounds(comprehension);
        }
        _ => {}
    }
}

/// The free name that this node is, when it is one.
pub(super) fn free_name(node: &IdedExpr) -> Option<&str> {
    let Expr::Call(call) = &node.expr else { return None };
    match call.args.as_slice() {
        [
            IdedExpr { expr: Expr::Ident(facts), .. },
            IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. },
        ] if facts == FACTS => Some(name.inner()),
        _ => None,
    }
}

/// How deep the tree is, found without recursion.
pub(super) fn depth(node: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(node, 1)];
    while let Some((node, depth)) = open.pop() {
        deepest = deepest.max(depth);
        each_child(node, &mut |child| open.push((child, depth + 1)));
    }
    deepest
}

/// How deep loops stand inside loops. The list that a loop goes over is made once, so a loop in it stands beside.
pub(super) fn loop_depth(node: &IdedExpr) -> usize {
    let mut inside = 0;
    match &node.expr {
        Expr::Comprehension(each) => {
            each_child(node, &mut |child| {
                if child.id != each.iter_range.id {
                    inside = inside.max(loop_depth(child));
                }
            });
            loop_depth(&each.iter_range).max(inside + 1)
        }
        _ => {
            each_child(node, &mut |child| inside = inside.max(loop_depth(child)));
            inside
        }
    }
}

/// Binding strength of an operator, weakest first, with how it is written; `None` for what needs no brackets.
fn operator(call: &CallExpr) -> Option<(u8, &'static str)> {
    let found = match call.func_name.as_str() {
        op::CONDITIONAL => (1, "?"),
        op::LOGICAL_OR => (2, "||"),
        op::LOGICAL_AND => (3, "&&"),
        op::EQUALS => (4, "=="),
        op::NOT_EQUALS => (4, "!="),
        op::LESS => (4, "<"),
        op::LESS_EQUALS => (4, "<="),
        op::GREATER => (4, ">"),
        op::GREATER_EQUALS => (4, ">="),
        op::IN => (4, "in"),
        op::ADD => (5, "+"),
        op::SUBSTRACT => (5, "-"),
        op::MULTIPLY => (6, "*"),
        op::DIVIDE => (6, "/"),
        op::MODULO => (6, "%"),
        op::LOGICAL_NOT => (7, "!"),
        op::NEGATE => (7, "-"),
        _ => return None,
    };
    Some(found)
}

/// How a comparison reads in a sentence, and negated; `None` for what is no comparison.
pub(super) fn comparison_words(call: &CallExpr) -> Option<[&'static str; 2]> {
    Some(match call.func_name.as_str() {
        op::EQUALS => ["", "anything but "],
        op::NOT_EQUALS => ["anything but ", ""],
        op::LESS => ["less than ", "at least "],
        op::LESS_EQUALS => ["at most ", "more than "],
        op::GREATER => ["more than ", "at most "],
        op::GREATER_EQUALS => ["at least ", "less than "],
        op::IN => ["one of ", "none of "],
        _ => return None,
    })
}

/// The expression as an author would write it.
pub(super) fn write(node: &IdedExpr) -> String {
    write_within(node, 0)
}

fn write_within(node: &IdedExpr, strength: u8) -> String {
    if let Some(name) = free_name(node) {
        return name.to_string();
    }
    let list = |items: &[IdedExpr]| items.iter().map(write).collect::<Vec<_>>().join(", ");
    match &node.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Literal(literal) => write_literal(literal),
        Expr::List(items) => format!("[{}]", list(&items.elements)),
        Expr::Map(map) => {
            let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some(format!("{}: {}", write(&entry.key), write(&entry.value))),
                EntryExpr::StructField(_) => None,
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Expr::Select(select) if select.test => format!("has({}.{})", write_within(&select.operand, 9), select.field),
        Expr::Select(select) => format!("{}.{}", write_within(&select.operand, 9), select.field),
        Expr::Comprehension(comprehension) => match Loop::of(comprehension) {
            Some(found) => {
                let inside = [found.predicate, found.transform].into_iter().flatten().map(write);
                let inside = inside.collect::<Vec<_>>().join(", ");
                format!("{}.{}({}, {inside})", write_within(found.range, 9), found.kind.name(), found.variable)
            }
            None => "…".into(),
        },
        Expr::Call(call) => {
            let Some((own, sign)) = operator(call) else {
                return match (written_name(&call.func_name), &call.target, call.args.as_slice()) {
                    (op::INDEX, _, [of, index]) => format!("{}[{}]", write_within(of, 9), write(index)),
                    (op::OPT_INDEX, _, [of, index]) => format!("{}[?{}]", write_within(of, 9), write(index)),
                    (op::OPT_SELECT, _, [of, field]) => {
                        format!("{}.?{}", write_within(of, 9), write(field).trim_matches('"'))
                    }
                    (name, Some(target), args) => format!("{}.{name}({})", write_within(target, 9), list(args)),
                    (name, None, args) => format!("{name}({})", list(args)),
                };
            };
            let text = match call.args.as_slice() {
                [a, b, c] => format!("{} ? {} : {}", write_within(a, own + 1), write(b), write_within(c, own)),
                [a, b] => format!("{} {sign} {}", write_within(a, own), write_within(b, own + 1)),
                [a] => format!("{sign}{}", write_within(a, own)),
                _ => sign.to_string(),
            };
            if own < strength { format!("({text})") } else { text }
        }
        _ => "…".into(),
    }
}

fn write_literal(literal: &LiteralValue) -> String {
    match literal {
        LiteralValue::Boolean(value) => value.inner().to_string(),
        LiteralValue::Int(value) => value.inner().to_string(),
        LiteralValue::UInt(value) => format!("{}u", value.inner()),
        LiteralValue::Double(value) => value.inner().to_string(),
        LiteralValue::String(value) => format!("{:?}", value.inner()),
        LiteralValue::Bytes(_) => "b\"…\"".into(),
        LiteralValue::Null => "null".into(),
    }
}
