//! The functions that expressions may call: CEL's own, a few of its string and list extensions, and ours for texts.

use super::facts::{short_number, take_step};
use super::schema::Type;
use super::tree::STEP;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelString, DOUBLE_TYPE, DYN_TYPE, INT_TYPE, LIST_TYPE, STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};
use regex::Regex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// The environment that all expressions are compiled and evaluated in.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let two_texts = || vec![STRING_TYPE, STRING_TYPE];
    let added = cel::extensions::strings(&mut env)
        .and_then(|()| cel::extensions::lists(&mut env))
        .and_then(|()| env.add_overload("bytes", "bytes_of_int", vec![INT_TYPE], |args| text(args, human_bytes)))
        .and_then(|()| env.add_overload("bytes", "bytes_of_double", vec![DOUBLE_TYPE], |args| text(args, human_bytes)))
        .and_then(|()| env.add_overload("seconds", "seconds_of_int", vec![INT_TYPE], |args| text(args, human_seconds)))
        .and_then(|()| {
            env.add_overload("seconds", "seconds_of_double", vec![DOUBLE_TYPE], |args| text(args, human_seconds))
        })
        .and_then(|()| env.add_member_overload("@replace", "ours_replace", STRING_TYPE, two_texts(), replace))
        .and_then(|()| {
            let arguments = vec![STRING_TYPE, STRING_TYPE, INT_TYPE];
            env.add_member_overload("@replace", "ours_replace_some", STRING_TYPE, arguments, replace)
        })
        .and_then(|()| env.add_member_overload("@join", "ours_join", LIST_TYPE, vec![], join))
        .and_then(|()| env.add_member_overload("@join", "ours_join_with", LIST_TYPE, vec![STRING_TYPE], join))
        .and_then(|()| env.add_member_overload("@matches", "ours_matches", STRING_TYPE, vec![STRING_TYPE], matches))
        .and_then(|()| env.add_member_overload("@slice", "ours_slice", LIST_TYPE, vec![INT_TYPE, INT_TYPE], slice))
        .and_then(|()| env.add_overload(STEP, "step", vec![DYN_TYPE], step))
        .and_then(|()| env.add_overload("round", "round_int", vec![INT_TYPE], round))
        .and_then(|()| env.add_overload("round", "round_double", vec![DOUBLE_TYPE], round));
    added.expect("the names of these functions are free in cel =0.15.0, the version that Cargo.toml names");
    Arc::new(env)
});

/// What a function gives.
pub(super) enum Gives {
    Bool,
    Int,
    Double,
    Text,
    Texts,
    Duration,
    Time,
    /// The list that it was called on, or one like it.
    SameList,
    /// What is inside an optional value, or the alternative.
    Alternative,
}

/// What a function is called on.
#[derive(PartialEq)]
pub(super) enum On {
    /// Nothing: `size(x)`.
    Nothing,
    Text,
    List,
    /// A text, a list, a map or a record.
    Sized,
    /// What `.?` gives.
    Optional,
}

/// What an argument of a function is.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Text,
    /// A whole number.
    Int,
    /// Whole or with a fraction.
    Number,
    Any,
}

impl Takes {
    /// Whether a value of this type fits.
    pub(super) fn accepts(self, given: &Type) -> bool {
        match self {
            Takes::Any => true,
            Takes::Text => given.is_text(),
            Takes::Int => matches!(given, Type::Int | Type::Any),
            Takes::Number => matches!(given, Type::Int | Type::Double | Type::Any),
        }
    }

    /// `a text`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Takes::Text => "a text",
            Takes::Int => "a whole number",
            Takes::Number => "a number",
            Takes::Any => "anything",
        }
    }
}

/// A function: its name, what it is called on, the arguments that it takes and how many of them it needs, and what it
/// gives.
pub(super) struct Function {
    pub name: &'static str,
    pub on: On,
    pub least: usize,
    pub takes: &'static [Takes],
    pub gives: Gives,
}

const fn function(name: &'static str, on: On, least: usize, takes: &'static [Takes], gives: Gives) -> Function {
    Function { name, on, least, takes, gives }
}

/// Every function there is. What cel knows beyond these would compile and then fail on the node, so it is refused.
pub(super) const FUNCTIONS: &[Function] = &[
    function("size", On::Nothing, 1, &[Takes::Any], Gives::Int),
    function("size", On::Sized, 0, &[], Gives::Int),
    function("string", On::Nothing, 1, &[Takes::Any], Gives::Text),
    function("int", On::Nothing, 1, &[Takes::Any], Gives::Int),
    function("double", On::Nothing, 1, &[Takes::Any], Gives::Double),
    function("bool", On::Nothing, 1, &[Takes::Any], Gives::Bool),
    function("duration", On::Nothing, 1, &[Takes::Text], Gives::Duration),
    function("timestamp", On::Nothing, 1, &[Takes::Any], Gives::Time),
    function("bytes", On::Nothing, 1, &[Takes::Number], Gives::Text),
    function("seconds", On::Nothing, 1, &[Takes::Number], Gives::Text),
    function("round", On::Nothing, 1, &[Takes::Number], Gives::Int),
    function("contains", On::Text, 1, &[Takes::Text], Gives::Bool),
    function("startsWith", On::Text, 1, &[Takes::Text], Gives::Bool),
    function("endsWith", On::Text, 1, &[Takes::Text], Gives::Bool),
    function("matches", On::Text, 1, &[Takes::Text], Gives::Bool),
    function("split", On::Text, 1, &[Takes::Text, Takes::Int], Gives::Texts),
    function("lowerAscii", On::Text, 0, &[], Gives::Text),
    function("upperAscii", On::Text, 0, &[], Gives::Text),
    function("trim", On::Text, 0, &[], Gives::Text),
    function("replace", On::Text, 2, &[Takes::Text, Takes::Text, Takes::Int], Gives::Text),
    function("substring", On::Text, 1, &[Takes::Int, Takes::Int], Gives::Text),
    function("indexOf", On::Text, 1, &[Takes::Text, Takes::Int], Gives::Int),
    function("join", On::List, 0, &[Takes::Text], Gives::Text),
    function("sort", On::List, 0, &[], Gives::SameList),
    function("distinct", On::List, 0, &[], Gives::SameList),
    function("reverse", On::List, 0, &[], Gives::SameList),
    function("slice", On::List, 2, &[Takes::Int, Takes::Int], Gives::SameList),
    function("orValue", On::Optional, 1, &[Takes::Any], Gives::Alternative),
    function("hasValue", On::Optional, 0, &[], Gives::Bool),
];

impl On {
    /// Whether a function of this kind can be called on a value of type `target`.
    pub(super) fn accepts(&self, target: &Type) -> bool {
        match self {
            On::Nothing => false,
            On::Text => target.is_text(),
            On::List => matches!(target, Type::List(_) | Type::Any),
            On::Sized => {
                target.is_text() || matches!(target, Type::List(_) | Type::Map(_) | Type::Record(_) | Type::Any)
            }
            On::Optional => true,
        }
    }
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;

fn number(value: &dyn Val) -> Result<f64, ExecutionError> {
    if let Some(int) = value.downcast_ref::<CelInt>() {
        return Ok(*int.inner() as f64);
    }
    let double = value.downcast_ref::<CelDouble>();
    double.map(|double| *double.inner()).ok_or_else(|| ExecutionError::function_error("number", "not a number"))
}

fn text<'b, 'v>(args: Arguments<'b, 'v>, write: fn(f64) -> String) -> Result<CowVal<'b, 'v>, ExecutionError> {
    Ok(CowVal::owned(CelString::from(write(number(args[0].as_ref())?))))
}

fn round<'b, 'v>(args: Arguments<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let number = number(args[0].as_ref())?;
    if !number.is_finite() {
        return Err(ExecutionError::function_error("round", "no finite number"));
    }
    Ok(CowVal::owned(CelInt::from(number.round() as i64)))
}

/// The longest text that an expression may make, in bytes: four times what a command may print. Replacing what has been
/// replaced would else take all memory in a few steps.
const LONGEST_TEXT: usize = 16 << 20;

/// The most regular expressions that are kept.
const MOST_PATTERNS: usize = 256;

thread_local! {
    /// The regular expressions that were used: making one takes longer than most texts take to be searched, and loops
    /// use one for each element.
    static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn text_of<'a>(name: &str, value: &'a dyn Val) -> Result<&'a str, ExecutionError> {
    let text = value.downcast_ref::<CelString>().map(CelString::inner);
    text.ok_or_else(|| ExecutionError::function_error(name, "not a text"))
}

fn bounded(name: &str, length: Option<usize>) -> Result<(), ExecutionError> {
    match length {
        Some(length) if length <= LONGEST_TEXT => Ok(()),
        _ => {
            let what = format!("its text would have more than {} MiB", LONGEST_TEXT >> 20);
            Err(ExecutionError::function_error(name, what))
        }
    }
}

/// `text.replace(from, to)`, and with how many to replace at most; all where that is negative.
fn replace<'b, 'v>(args: Arguments<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = |number: usize| text_of("replace", args[number].as_ref());
    let (this, from, to) = (text(0)?, text(1)?, text(2)?);
    let most = args.get(3).and_then(|most| most.as_ref().downcast_ref::<CelInt>());
    let most = most.and_then(|most| usize::try_from(*most.inner()).ok()).unwrap_or(usize::MAX);
    let count = this.matches(from).take(most).count();
    bounded("replace", count.checked_mul(to.len()).and_then(|added| added.checked_add(this.len())))?;
    Ok(CowVal::owned(CelString::from(this.replacen(from, to, count))))
}

/// `list.join()` and `list.join(separator)`.
fn join<'b, 'v>(args: Arguments<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let separator = args.get(1).map_or(Ok(""), |separator| text_of("join", separator.as_ref()))?;
    let list = args[0].as_ref().as_iterable();
    let mut items = list.ok_or_else(|| ExecutionError::function_error("join", "not a list"))?.iter();
    let mut joined = String::new();
    let mut first = true;
    while let Some(item) = items.next() {
        let item = text_of("join", item)?;
        bounded("join", Some(joined.len() + separator.len() + item.len()))?;
        if !std::mem::take(&mut first) {
            joined.push_str(separator);
        }
        joined.push_str(item);
    }
    Ok(CowVal::owned(CelString::from(joined)))
}

/// `text.matches(regular expression)`.
fn matches<'b, 'v>(args: Arguments<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (text, pattern) = (text_of("matches", args[0].as_ref())?, text_of("matches", args[1].as_ref())?);
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(known) = patterns.get(pattern) {
            return Ok(CowVal::owned(CelBool::from(known.is_match(text))));
        }
        let made = Regex::new(pattern).map_err(|error| ExecutionError::function_error("matches", error.to_string()))?;
        let found = made.is_match(text);
        if patterns.len() < MOST_PATTERNS {
            patterns.insert(pattern.to_string(), made);
        }
        Ok(CowVal::owned(CelBool::from(found)))
    })
}

/// `list.slice(from, to)`: the elements from the first place to before the second, as many of them as the list has. cel's
/// own fails for a shorter list, and a text with "the last three" would then say nothing at all.
fn slice<'b, 'v>(args: Arguments<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let place = |number: usize| {
        let place =
            args[number].as_ref().downcast_ref::<CelInt>().and_then(|place| usize::try_from(*place.inner()).ok());
        place.ok_or_else(|| ExecutionError::function_error("slice", "a place is no number from 0 on"))
    };
    let (from, to) = (place(1)?, place(2)?);
    let list = args[0].as_ref().as_iterable();
    let mut items = list.ok_or_else(|| ExecutionError::function_error("slice", "not a list"))?.iter();
    let mut sliced = Vec::new();
    for number in 0..to {
        let Some(item) = items.next() else { break };
        if number >= from {
            sliced.push(item.clone_as_boxed());
        }
    }
    Ok(CowVal::owned(CelList::from(sliced)))
}

/// Counts a step of a loop and hands its argument on.
fn step<'b, 'v>(mut args: Arguments<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let bytes = args[0].as_ref().downcast_ref::<CelString>().map_or(0, |text| text.inner().len());
    take_step(bytes)?;
    Ok(args.swap_remove(0))
}

/// `1.5 TiB`: a size as a person reads it, in powers of 1024 (IEC 80000-13).
fn human_bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value.abs() < 10.0 { 1 } else { 0 };
    let text = format!("{value:.digits$}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// `3 days 4 h`: a span of time as a person reads it, in its two largest units.
fn human_seconds(seconds: f64) -> String {
    if seconds.abs() < 60.0 {
        return format!("{} s", short_number(seconds));
    }
    let whole = seconds as i64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    let two = |big: String, small: i64, unit: &str| match small {
        0 => big,
        _ => format!("{big} {small} {unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, _) => two(format!("{minutes} min"), whole % 60, "s"),
        (0, _, _) => two(format!("{hours} h"), minutes, "min"),
        (1, _, _) => two("1 day".into(), hours, "h"),
        _ => two(format!("{days} days"), hours, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_like_a_person_wrote_them() {
        for (bytes, text) in [(0.0, "0 B"), (1023.0, "1023 B"), (1536.0, "1.5 KiB"), (549755813888.0, "512 GiB")] {
            assert_eq!(human_bytes(bytes), text);
        }
        for (seconds, text) in
            [(0.25, "0.25 s"), (61.0, "1 min 1 s"), (7200.0, "2 h"), (90_000.0, "1 day 1 h"), (864_000.0, "10 days")]
        {
            assert_eq!(human_seconds(seconds), text);
        }
    }
}
