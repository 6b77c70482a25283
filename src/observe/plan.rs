//! Which checks take part, and which probes they read.

use crate::checklist::scope::id_pattern;
use crate::checklist::{Check, Checklist, Checklists, Effect, Level};
use crate::expression::{Expression, near};
use crate::probe::{self, Probe};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// Which checks a person wants.
#[derive(Debug)]
pub struct Choice {
    /// Only these: ids, ids with `*`, tags, names of checklists. Empty for all.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
    /// How thorough.
    pub level: Level,
    /// What may be done to the node.
    pub effect: Effect,
}

/// A choice that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum BadChoice {
    /// A word of `--only` or `--skip` matches nothing.
    #[error("no check, tag or checklist is called `{pattern}`{}", hint.as_ref().map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default())]
    Unknown {
        /// The word.
        pattern: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// Nothing would be asked.
    #[error("no check is left to run: --only, --skip, --level and --effect together leave all out")]
    Nothing,
}

/// What a run asks.
#[derive(Debug)]
pub struct Plan<'c> {
    /// The checks, in the order of the files.
    pub chosen: Vec<(&'c Checklist, &'c Check)>,
    /// The probes without arguments that they read, in the order of the registry.
    pub probes: Vec<&'static Probe>,
}

impl<'c> Plan<'c> {
    /// The checks that a person wants, those that they need, and the probes that all of them read.
    pub fn new(checklists: &'c Checklists, choice: &Choice) -> Result<Plan<'c>, BadChoice> {
        let only = patterns(checklists, &choice.only)?;
        let skip = patterns(checklists, &choice.skip)?;
        let by_id: BTreeMap<&str, &Check> =
            checklists.checks().map(|(_, check)| (check.id.text.as_str(), check)).collect();
        let skipped = |checklist: &Checklist, check: &Check| skip.iter().any(|word| names(word, checklist, check));
        let wanted = |checklist: &Checklist, check: &Check| {
            (only.is_empty() || only.iter().any(|word| names(word, checklist, check)))
                && !skipped(checklist, check)
                && check.level <= choice.level
                && check.effect <= choice.effect
        };
        let mut ids: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&Check> =
            checklists.checks().filter(|(checklist, check)| wanted(checklist, check)).map(|(_, check)| check).collect();
        while let Some(check) = open.pop() {
            if ids.insert(&check.id.text) {
                open.extend(check.needs.iter().filter_map(|need| by_id.get(need.text.as_str())));
            }
        }
        let chosen: Vec<_> = checklists
            .checks()
            .filter(|(checklist, check)| ids.contains(check.id.text.as_str()) && !skipped(checklist, check))
            .collect();
        if chosen.is_empty() {
            return Err(BadChoice::Nothing);
        }
        Ok(Plan { probes: probes(checklists, &chosen), chosen })
    }
}

/// The probes without arguments that these checks read. `host` is always one of them: a report says whose it is.
fn probes(checklists: &Checklists, chosen: &[(&Checklist, &Check)]) -> Vec<&'static Probe> {
    let mut read: BTreeSet<&str> = BTreeSet::from(["host"]);
    let mut params: BTreeSet<&str> = BTreeSet::new();
    let mut add = |expression: &'_ Expression| {
        let names: Vec<&'static str> = expression
            .names()
            .into_iter()
            .filter_map(|name| probe::find(name).filter(|probe| probe.arguments.is_none()).map(|probe| probe.name))
            .collect();
        read.extend(names);
        for name in expression.parameters() {
            params.extend(checklists.params().map(|param| param.name.text.as_str()).find(|known| *known == name));
        }
    };
    for (checklist, check) in chosen {
        checklist.applies.iter().for_each(|applies| add(&applies.value));
        check.for_each.iter().for_each(|each| add(&each.list.value));
        check.when.iter().for_each(|when| add(&when.value));
        check.expect.iter().for_each(|(_, expect)| add(&expect.value));
        let texts = std::iter::once(&check.title).chain(&check.found).chain(&check.why).chain(&check.next);
        texts.flat_map(|text| text.value.expressions()).for_each(&mut add);
        check.observe.iter().flat_map(|ask| &ask.arguments).for_each(|(_, argument)| argument.expressions(&mut add));
    }
    for param in checklists.params().filter(|param| params.contains(param.name.text.as_str())) {
        for name in param.default.iter().flat_map(|default| default.value.names()) {
            read.extend(probe::find(name).map(|probe| probe.name));
        }
    }
    probe::PROBES.iter().filter(|probe| read.contains(probe.name) && probe.arguments.is_none()).collect()
}

fn names(word: &Regex, checklist: &Checklist, check: &Check) -> bool {
    word.is_match(&check.id.text)
        || word.is_match(&checklist.name.text)
        || check.tags.iter().any(|tag| word.is_match(tag))
}

fn patterns(checklists: &Checklists, words: &[String]) -> Result<Vec<Regex>, BadChoice> {
    words
        .iter()
        .map(|word| {
            let pattern = id_pattern(word);
            if checklists.checks().any(|(checklist, check)| names(&pattern, checklist, check)) {
                return Ok(pattern);
            }
            let known = checklists.checks().flat_map(|(checklist, check)| {
                check.tags.iter().chain([&check.id.text, &checklist.name.text]).map(String::as_str)
            });
            Err(BadChoice::Unknown { pattern: word.clone(), hint: near(word, known).map(str::to_string) })
        })
        .collect()
}
