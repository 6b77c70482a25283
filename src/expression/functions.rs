//! The functions that expressions may call: CEL's own, a few of its string and list extensions, and ours for texts.

use super::facts::{count_step, short_number};
use super::schema::Type;
use super::tree::STEP;
use cel::common::types::{CelDouble, CelInt, CelString, DOUBLE_TYPE, DYN_TYPE, INT_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};
use std::sync::{Arc, LazyLock};

/// The environment that all expressions are compiled and evaluated in.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let added = cel::extensions::strings(&mut env)
        .and_then(|()| cel::extensions::lists(&mut env))
        .and_then(|()| env.add_overload("bytes", "bytes_of_int", vec![INT_TYPE], |args| text(args, human_bytes)))
        .and_then(|()| env.add_overload("bytes", "bytes_of_double", vec![DOUBLE_TYPE], |args| text(args, human_bytes)))
        .and_then(|()| env.add_overload("seconds", "seconds_of_int", vec![INT_TYPE], |args| text(args, human_seconds)))
        .and_then(|()| {
            env.add_overload("seconds", "seconds_of_double", vec![DOUBLE_TYPE], |args| text(args, human_seconds))
        })
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

/// A function: its name, what it is called on, how few and how many arguments it takes, and what it gives.
pub(super) struct Function {
    pub name: &'static str,
    pub on: On,
    pub least: usize,
    pub most: usize,
    pub gives: Gives,
}

const fn function(name: &'static str, on: On, least: usize, most: usize, gives: Gives) -> Function {
    Function { name, on, least, most, gives }
}

/// Every function there is. What cel knows beyond these would compile and then fail on the node, so it is refused.
pub(super) const FUNCTIONS: &[Function] = &[
    function("size", On::Nothing, 1, 1, Gives::Int),
    function("size", On::Sized, 0, 0, Gives::Int),
    function("string", On::Nothing, 1, 1, Gives::Text),
    function("int", On::Nothing, 1, 1, Gives::Int),
    function("double", On::Nothing, 1, 1, Gives::Double),
    function("bool", On::Nothing, 1, 1, Gives::Bool),
    function("duration", On::Nothing, 1, 1, Gives::Duration),
    function("timestamp", On::Nothing, 1, 1, Gives::Time),
    function("bytes", On::Nothing, 1, 1, Gives::Text),
    function("seconds", On::Nothing, 1, 1, Gives::Text),
    function("round", On::Nothing, 1, 1, Gives::Int),
    function("contains", On::Text, 1, 1, Gives::Bool),
    function("startsWith", On::Text, 1, 1, Gives::Bool),
    function("endsWith", On::Text, 1, 1, Gives::Bool),
    function("matches", On::Text, 1, 1, Gives::Bool),
    function("split", On::Text, 1, 2, Gives::Texts),
    function("lowerAscii", On::Text, 0, 0, Gives::Text),
    function("upperAscii", On::Text, 0, 0, Gives::Text),
    function("trim", On::Text, 0, 0, Gives::Text),
    function("replace", On::Text, 2, 3, Gives::Text),
    function("substring", On::Text, 1, 2, Gives::Text),
    function("indexOf", On::Text, 1, 2, Gives::Int),
    function("join", On::List, 0, 1, Gives::Text),
    function("sort", On::List, 0, 0, Gives::SameList),
    function("distinct", On::List, 0, 0, Gives::SameList),
    function("reverse", On::List, 0, 0, Gives::SameList),
    function("slice", On::List, 2, 2, Gives::SameList),
    function("orValue", On::Optional, 1, 1, Gives::Alternative),
    function("hasValue", On::Optional, 0, 0, Gives::Bool),
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

/// Counts a step of a loop and hands its argument on.
fn step<'b, 'v>(mut args: Arguments<'b, 'v>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    if count_step() { Ok(args.swap_remove(0)) } else { Err(ExecutionError::InternalError("too many steps".into())) }
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
