//! Observations as values that expressions can read.
//!
//! The values are our own types behind cel's traits. That buys three things: a record may hold fields that are absent
//! *with a reason*, a scope may extend another without copying it, and a loop variable is a pointer, not a copy.
//!
//! An absent field answers in one of two ways. What is known not to be there (not present, not supported) answers
//! "no such key", so that `has()` is false. What nobody could tell (timeout, failed, denied, not recorded) answers
//! with another error, so that `has()` cannot tell either and nothing passes for want of an answer.

use crate::fact::{Absent, Reason};
use cel::ExecutionError;
use cel::common::traits::{Adder, Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{self, CelBool, CelDouble, CelInt, CelList, CelNull, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use serde_json::Value as Json;
use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// How many elements all loops of one evaluation may visit. The largest honest expression visits a few thousand;
/// two nested loops over 4,000 processes would be sixteen million and keep the whole run waiting.
const MAX_STEPS: u64 = 1_000_000;

/// How many bytes of text count as one step more: what loops make is kept, and so is bounded as well.
const BYTES_A_STEP: u64 = 256;

/// After so many steps the clock is looked at, as a power of two.
const STEPS_A_LOOK: u32 = 10;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    static OUT_OF_TIME: Cell<bool> = const { Cell::new(false) };
}

/// Evaluates nothing on this thread after this moment: from then on every expression is absent. A loop over all pairs of
/// thousands of processes, for each of them, would else outlast every deadline.
pub fn evaluate_until(until: Instant) {
    UNTIL.set(Some(until));
    OUT_OF_TIME.set(false);
}

/// Whether something was not evaluated on this thread because it was too late.
pub fn ran_out_of_time() -> bool {
    OUT_OF_TIME.get()
}

/// Looks at the clock.
pub(super) fn is_too_late() -> bool {
    if !OUT_OF_TIME.get() && UNTIL.get().is_some_and(|until| Instant::now() >= until) {
        OUT_OF_TIME.set(true);
    }
    OUT_OF_TIME.get()
}

/// Starts counting the loop steps of a new evaluation.
pub(super) fn start_counting() {
    STEPS.set(0);
}

/// Counts a step that makes a text of so many bytes, or none; false once there were too many.
pub(super) fn count_step(bytes: usize) -> bool {
    let (before, now) = (STEPS.get(), STEPS.get() + 1 + bytes as u64 / BYTES_A_STEP);
    STEPS.set(now);
    if before >> STEPS_A_LOOK != now >> STEPS_A_LOOK {
        is_too_late();
    }
    !counted_too_many()
}

/// As [`count_step`], with the error that ends the evaluation.
pub(super) fn take_step(bytes: usize) -> Result<(), ExecutionError> {
    if count_step(bytes) { Ok(()) } else { Err(ExecutionError::InternalError("too many steps".into())) }
}

/// Whether the evaluation visited more elements than it may; its result is then worth nothing.
pub(super) fn counted_too_many() -> bool {
    STEPS.get() > MAX_STEPS || OUT_OF_TIME.get()
}

/// The field that holds what a command printed as JSON.
const PRINTED: &str = "json";

type Field = Result<Box<dyn Val>, Absent>;

/// A value as expressions see it.
#[derive(Debug)]
pub struct Fact(pub(super) Box<dyn Val>);

impl Clone for Fact {
    fn clone(&self) -> Fact {
        Fact(self.0.clone_as_boxed())
    }
}

impl Fact {
    /// The value of observed JSON. Numbers become `int` where they fit, else `double`: one kind for all whole numbers,
    /// so that arithmetic with literals works.
    pub fn from_json(value: &Json) -> Fact {
        Fact(from_json(value, false))
    }

    /// The JSON of this value; absences and all.
    pub fn to_json(&self) -> Json {
        to_json(&*self.0)
    }

    /// A field of a record, for the keys of subjects.
    pub fn field(&self, name: &str) -> Option<Fact> {
        let record = self.0.downcast_ref::<Record>()?;
        record.get(name)?.as_ref().ok().map(|value| Fact(value.clone_as_boxed()))
    }

    /// The value as text inside a sentence.
    pub fn text(&self) -> String {
        match to_json(&*self.0) {
            Json::String(text) => text,
            Json::Number(number) => match number.as_f64() {
                Some(float) if !number.is_i64() && !number.is_u64() => short_number(float),
                _ => number.to_string(),
            },
            Json::Array(list) => list.iter().map(|item| Fact::from_json(item).text()).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        }
    }
}

/// A fraction as a person would write it: at most two decimals.
pub(super) fn short_number(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// What an expression is evaluated against: names with values, or with the reason for their absence, on top of
/// another scope.
#[derive(Debug, Clone, Default)]
pub struct Scope(Record);

impl Scope {
    /// An empty scope.
    pub fn new() -> Scope {
        Scope::default()
    }

    /// A scope that holds what this one holds, and can be given more.
    pub fn extend(&self) -> Scope {
        Scope(Record(Arc::new(Fields { below: Some(self.0.clone()), ..Fields::default() })))
    }

    /// Gives a name a value, or the reason why it has none.
    pub fn set(&mut self, name: &str, value: Result<Fact, Absent>) {
        // The scope was made by `new` or `extend` just now and nobody else holds it yet.
        let fields = Arc::get_mut(&mut self.0.0).expect("a scope is filled before it is shared");
        let value = value.map(|fact| fact.0);
        match fields.own.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(at) => fields.own[at].1 = value,
            Err(at) => fields.own.insert(at, (name.to_string(), value)),
        }
    }

    /// Gives a name what was observed as JSON.
    pub fn set_json(&mut self, name: &str, value: &Json) {
        let fact = match Absent::from_json(value) {
            Some(absent) => Err(absent),
            None => Ok(Fact(from_json(value, false))),
        };
        self.set(name, fact);
    }

    /// What a name stands for here; `None` where it is absent or unknown.
    pub fn value(&self, name: &str) -> Option<Fact> {
        self.0.get(name)?.as_ref().ok().map(|value| Fact(value.clone_as_boxed()))
    }

    /// What a parameter is, or why it is absent.
    pub fn param(&self, name: &str) -> Result<Fact, Absent> {
        let params = self.0.get("params").and_then(|params| params.as_ref().ok()?.downcast_ref::<Record>());
        match params.and_then(|params| params.get(name)) {
            Some(Ok(value)) => Ok(Fact(value.clone_as_boxed())),
            Some(Err(absent)) => Err(absent.clone()),
            None => Err(Absent::not_present(format!("there is no parameter {name}"))),
        }
    }

    pub(super) fn record(&self) -> Box<dyn Val> {
        Box::new(self.0.clone())
    }
}

/// `printed` is whether this is (a part of) what a command printed: whatever looks like an absence there is the
/// command's own.
fn from_json(value: &Json, printed: bool) -> Box<dyn Val> {
    match value {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Box::new(CelInt::from(int)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text.clone())),
        Json::Array(items) => Box::new(List(Arc::new(items.iter().map(|item| from_json(item, printed)).collect()))),
        Json::Object(fields) => {
            let mut own: Vec<(String, Field)> = fields
                .iter()
                .map(|(name, value)| {
                    let field = match Absent::from_json(value) {
                        Some(absent) if !printed => Err(absent),
                        _ => Ok(from_json(value, printed || name == PRINTED)),
                    };
                    (name.clone(), field)
                })
                .collect();
            own.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            Box::new(Record(Arc::new(Fields { own, ..Fields::default() })))
        }
    }
}

/// What an explanation shows of a value: a scalar or a list of such, of other lists their length, of records nothing.
pub(super) enum Brief {
    Value(Json),
    Length(usize),
    Nothing,
}

/// See [`Brief`]. Long lists are not copied to find out what they hold.
pub(super) fn brief(value: &dyn Val) -> Brief {
    if value.downcast_ref::<Record>().is_some() {
        return Brief::Nothing;
    }
    if let Some(list) = value.as_iterable() {
        let is_scalar = |item: &dyn Val| item.downcast_ref::<Record>().is_none() && item.as_iterable().is_none();
        let mut items = list.iter();
        let (mut length, mut scalars) = (0, true);
        while let Some(item) = items.next() {
            length += 1;
            scalars = scalars && is_scalar(item);
        }
        return if scalars { Brief::Value(to_json(value)) } else { Brief::Length(length) };
    }
    match to_json(value) {
        Json::Object(_) => Brief::Nothing,
        scalar => Brief::Value(scalar),
    }
}

pub(super) fn to_json(value: &dyn Val) -> Json {
    if let Some(record) = value.downcast_ref::<Record>() {
        let field = |(name, value): &(String, Field)| {
            (name.clone(), value.as_ref().map_or_else(Absent::to_json, |value| to_json(&**value)))
        };
        return Json::Object(record.0.own.iter().map(field).collect());
    }
    if let Some(list) = value.downcast_ref::<List>() {
        return Json::Array(list.0.iter().map(|item| to_json(&**item)).collect());
    }
    if let Some(text) = value.downcast_ref::<CelString>() {
        return Json::String(text.inner().to_string());
    }
    if let Some(int) = value.downcast_ref::<CelInt>() {
        return Json::from(*int.inner());
    }
    if let Some(double) = value.downcast_ref::<CelDouble>() {
        return serde_json::Number::from_f64(*double.inner()).map_or(Json::Null, Json::Number);
    }
    if let Some(bool) = value.downcast_ref::<CelBool>() {
        return Json::Bool(*bool.inner());
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Json::Null;
    }
    if let Some(list) = value.as_iterable() {
        let mut items = Vec::new();
        let mut iterator = list.iter();
        while let Some(item) = iterator.next() {
            items.push(to_json(item));
        }
        return Json::Array(items);
    }
    cel::Value::try_from(value).map_or(Json::Null, |value| cel_json(&value))
}

/// The JSON of a value that the expression made itself.
pub(super) fn cel_json(value: &cel::Value) -> Json {
    match value {
        cel::Value::Int(int) => Json::from(*int),
        cel::Value::UInt(int) => Json::from(*int),
        cel::Value::Float(float) => serde_json::Number::from_f64(*float).map_or(Json::Null, Json::Number),
        cel::Value::String(text) => Json::from(text.as_str()),
        cel::Value::Bool(value) => Json::from(*value),
        cel::Value::Duration(span) => Json::from(format!("{} s", short_number(span.as_seconds_f64()))),
        cel::Value::Timestamp(time) => Json::from(time.to_rfc3339()),
        cel::Value::List(items) => items.iter().map(cel_json).collect(),
        cel::Value::Map(map) => map
            .map
            .iter()
            .map(|(key, value)| (key.to_string(), cel_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => Json::Null,
    }
}

/// A record: an observation, a part of one, or a scope on top of another.
#[derive(Debug, Clone, Default)]
pub(super) struct Record(Arc<Fields>);

#[derive(Debug, Default)]
struct Fields {
    /// Sorted by name: small records are most of all, and a sorted list is the smallest map.
    own: Vec<(String, Field)>,
    below: Option<Record>,
    /// The names as values, made when something loops over them.
    keys: OnceLock<Vec<CelString<'static>>>,
}

impl Record {
    fn get(&self, name: &str) -> Option<&Field> {
        match self.0.own.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(at) => Some(&self.0.own[at].1),
            Err(_) => self.0.below.as_ref()?.get(name),
        }
    }
}

/// Splits a message made by [`carry`]: the field, and the absence.
pub(super) fn carried(error: &ExecutionError) -> Option<(String, Absent)> {
    let message = match error {
        ExecutionError::NoSuchKey(message) => message.as_str(),
        ExecutionError::InternalError(message) => message.as_str(),
        _ => return None,
    };
    let mut parts = message.splitn(3, '\t');
    let (field, word, detail) = (parts.next()?, parts.next()?, parts.next()?);
    let reason = Reason::ALL.into_iter().find(|reason| reason.word() == word)?;
    Some((field.to_string(), Absent::new(reason, detail)))
}

/// An error of cel that carries an absence. Which error it is decides what `has()` says (see the module's comment).
fn carry(field: &str, absent: &Absent) -> ExecutionError {
    let message = format!("{field}\t{}\t{}", absent.reason.word(), absent.detail);
    if absent.reason.does_not_apply() {
        ExecutionError::NoSuchKey(Arc::new(message))
    } else {
        ExecutionError::InternalError(message)
    }
}

fn wrong_key(want: &str) -> ExecutionError {
    ExecutionError::UnexpectedType { got: "something else".into(), want: want.into() }
}

impl Val for Record {
    fn get_type(&self) -> &Type {
        &types::MAP_TYPE
    }
    fn cel_type() -> &'static Type {
        &types::MAP_TYPE
    }
    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }
    fn into_indexer<'w>(self: Box<Self>) -> Option<Box<dyn Indexer + 'w>>
    where
        Self: 'w,
    {
        Some(self)
    }
    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }
    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
    fn equals(&self, other: &dyn Val) -> bool {
        let same = |(name, mine): &(String, Field)| match (mine, other.downcast_ref::<Record>()?.get(name)?) {
            (Ok(mine), Ok(theirs)) => Some(mine.equals(&**theirs)),
            (Err(mine), Err(theirs)) => Some(mine == theirs),
            _ => Some(false),
        };
        other.downcast_ref::<Record>().is_some_and(|other| {
            Arc::ptr_eq(&self.0, &other.0)
                || (self.0.own.len() == other.0.own.len()
                    && self.0.own.iter().all(|field| same(field).unwrap_or(false)))
        })
    }
    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(self.clone())
    }
}

impl StaticVal for Record {}

impl Indexer for Record {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key.downcast_ref::<CelString>().ok_or_else(|| wrong_key("a text"))?.inner();
        match Record::get(self, name) {
            Some(Ok(value)) => Ok(CowVal::Borrowed(&**value)),
            Some(Err(absent)) => Err(carry(name, absent)),
            // Only in what a command or a map holds: fields of typed records were checked before the run.
            None => Err(ExecutionError::NoSuchKey(Arc::new(format!(
                "{name}\t{}\tthe answer has no `{name}`",
                Reason::Failed.word()
            )))),
        }
    }
    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Indexer::get(&*self, key).map(CowVal::into_owned)
    }
}

impl Container for Record {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        let name = key.downcast_ref::<CelString>().ok_or_else(|| wrong_key("a text"))?.inner();
        match Record::get(self, name) {
            Some(Err(absent)) if !absent.reason.does_not_apply() => Err(carry(name, absent)),
            Some(field) => Ok(field.is_ok()),
            None => Ok(false),
        }
    }
}

impl Sizer for Record {
    fn size(&self) -> CelInt {
        (self.0.own.len() as i64).into()
    }
}

/// Iterating a record gives its keys, as a CEL map does.
impl Iterable for Record {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        let keys = self.0.keys.get_or_init(|| self.0.own.iter().map(|(key, _)| CelString::from(key.clone())).collect());
        Box::new(Lent(keys.iter().map(|key| key as &(dyn Val + 'static))))
    }
}

/// A list of an observation.
#[derive(Debug, Clone)]
struct List(Arc<Vec<Box<dyn Val>>>);

impl Val for List {
    fn get_type(&self) -> &Type {
        &types::LIST_TYPE
    }
    fn cel_type() -> &'static Type {
        &types::LIST_TYPE
    }
    fn as_adder<'b, 'w>(&'b self) -> Option<&'b (dyn Adder + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }
    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }
    fn into_indexer<'w>(self: Box<Self>) -> Option<Box<dyn Indexer + 'w>>
    where
        Self: 'w,
    {
        Some(self)
    }
    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }
    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }
    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
    fn equals(&self, other: &dyn Val) -> bool {
        // The other side may be a list that the expression made, which is cel's own kind.
        let (Some(mine), Some(theirs)) = (self.as_iterable(), other.as_iterable()) else { return false };
        let (mut mine, mut theirs) = (mine.iter(), theirs.iter());
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.equals(b) => {}
                _ => return false,
            }
        }
    }
    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(self.clone())
    }
}

impl StaticVal for List {}

impl Adder for List {
    fn add<'b, 'v>(&'b self, rhs: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let mut added = rhs.as_iterable().ok_or_else(|| wrong_key("a list"))?.iter();
        let mut all: Vec<Box<dyn Val + 'v>> = self.0.iter().map(|item| item.clone_as_boxed()).collect();
        while let Some(item) = added.next() {
            all.push(item.clone_as_boxed());
        }
        // A loop may keep each such list.
        take_step(size_of::<Box<dyn Val>>() * all.len())?;
        Ok(CowVal::owned(CelList::from(all)))
    }
}

impl Indexer for List {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let index = *key.downcast_ref::<CelInt>().ok_or_else(|| wrong_key("a whole number"))?.inner();
        let item = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        item.map(|item| CowVal::Borrowed(&**item)).ok_or(ExecutionError::IndexOutOfBounds(index.into()))
    }
    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Indexer::get(&*self, key).map(CowVal::into_owned)
    }
}

impl Container for List {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.0.iter().any(|item| item.equals(value)))
    }
}

impl Sizer for List {
    fn size(&self) -> CelInt {
        (self.0.len() as i64).into()
    }
}

impl Iterable for List {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Lent(self.0.iter().map(|item| &**item)))
    }
}

/// Lends out elements.
struct Lent<I>(I);

impl<'b, 'v, I: Iterator<Item = &'b (dyn Val + 'static)>> CelIterator<'b, 'v> for Lent<I> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|item| item as _)
    }
}
