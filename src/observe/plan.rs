//! Which checks take part, and which probes they read.

use crate::checklist::scope::{self, is_like};
use crate::checklist::{Check, Checklist, Checklists, Effect, Level};
use crate::expression::{Expression, Text, near};
use crate::probe::{self, Probe};
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
    /// Those of them that are compared with an earlier reading.
    pub compared: Vec<&'static Probe>,
}

impl<'c> Plan<'c> {
    /// The checks that a person wants, those that they need, and the probes that all of them read.
    pub fn new(checklists: &'c Checklists, choice: &Choice) -> Result<Plan<'c>, BadChoice> {
        let (only, skip) = (&choice.only, &choice.skip);
        known(checklists, only)?;
        known(checklists, skip)?;
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
                // What is needed joins the run, but never loads or disrupts the node unasked.
                let needed = check.needs.iter().filter_map(|need| by_id.get(need.text.as_str()));
                open.extend(needed.filter(|check| check.effect <= choice.effect));
            }
        }
        let chosen: Vec<_> = checklists
            .checks()
            .filter(|(checklist, check)| ids.contains(check.id.text.as_str()) && !skipped(checklist, check))
            .collect();
        if chosen.is_empty() {
            return Err(BadChoice::Nothing);
        }
        let (probes, compared) = probes(checklists, &chosen);
        Ok(Plan { probes, compared, chosen })
    }
}

/// What the chosen checks and the causes that may explain them read, by name.
struct Reads<'c> {
    /// Probes without arguments.
    probes: BTreeSet<&'static str>,
    /// Those of them that are compared with an earlier reading.
    compared: BTreeSet<&'static str>,
    params: BTreeSet<&'c str>,
}

impl<'c> Reads<'c> {
    fn expression(&mut self, expression: &'c Expression) {
        expression.paths().into_iter().for_each(|(name, field)| self.path(name, field));
    }

    fn text(&mut self, text: &'c Text) {
        text.expressions().for_each(|expression| self.expression(expression));
    }

    fn path(&mut self, name: &str, field: &'c str) {
        let plain = |name: &str| probe::find(name).filter(|probe| probe.arguments.is_none()).map(|probe| probe.name);
        match name {
            "params" if field.is_empty() => {}
            "params" => drop(self.params.insert(field)),
            scope::BEFORE => self.compared.extend(plain(field)),
            _ => self.probes.extend(plain(name)),
        }
    }
}

/// The probes without arguments that these checks read, and the causes that may explain them. `host` is always one of
/// them: a report says whose it is.
fn probes(checklists: &Checklists, chosen: &[(&Checklist, &Check)]) -> (Vec<&'static Probe>, Vec<&'static Probe>) {
    let mut reads = Reads { probes: BTreeSet::from(["host"]), compared: BTreeSet::new(), params: BTreeSet::new() };
    for (checklist, check) in chosen {
        let lists = check.for_each.iter().map(|each| &each.list);
        let conditions = checklist.applies.iter().chain(lists).chain(&check.when);
        conditions.for_each(|condition| reads.expression(&condition.value));
        check.expect.iter().for_each(|(_, expect)| reads.expression(&expect.value));
        let texts = std::iter::once(&check.title).chain(&check.found).chain(&check.why).chain(&check.next);
        texts.for_each(|text| reads.text(&text.value));
        let arguments = check.observe.iter().flat_map(|ask| &ask.arguments);
        arguments.for_each(|(_, argument)| argument.expressions(&mut |expression| reads.expression(expression)));
    }
    let ids: BTreeSet<&str> = chosen.iter().map(|(_, check)| check.id.text.as_str()).collect();
    for (_, cause) in checklists.causes() {
        if cause.may_explain_any(&ids) {
            cause.conditions().for_each(|condition| reads.expression(condition));
            cause.texts().for_each(|text| reads.text(&text.value));
        }
    }
    for param in checklists.params().filter(|param| reads.params.contains(param.name.text.as_str())) {
        for name in param.default.iter().flat_map(|default| default.value.names()) {
            reads.probes.extend(probe::find(name).map(|probe| probe.name));
        }
    }
    reads.probes.extend(&reads.compared);
    let plain = || probe::PROBES.iter().filter(|probe| probe.arguments.is_none());
    let compared = plain().filter(|probe| reads.compared.contains(probe.name)).collect();
    (plain().filter(|probe| reads.probes.contains(probe.name)).collect(), compared)
}

fn names(word: &str, checklist: &Checklist, check: &Check) -> bool {
    is_like(&check.id.text, word)
        || is_like(&checklist.name.text, word)
        || check.tags.iter().any(|tag| is_like(tag, word))
}

/// Makes sure that each of these words names something.
fn known(checklists: &Checklists, words: &[String]) -> Result<(), BadChoice> {
    for word in words {
        if !checklists.checks().any(|(checklist, check)| names(word, checklist, check)) {
            let known = checklists.checks().flat_map(|(checklist, check)| {
                check.tags.iter().chain([&check.id.text, &checklist.name.text]).map(String::as_str)
            });
            return Err(BadChoice::Unknown { pattern: word.clone(), hint: near(word, known).map(str::to_string) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checklist;

    #[test]
    fn what_an_expression_reads_is_found_without_parsing_it() {
        let checklists = checklist::load(&[], None).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let mut all: Vec<&Expression> = checklists.causes().flat_map(|(_, cause)| cause.expressions()).collect();
        all.extend(checklists.all.iter().filter_map(|checklist| checklist.applies.as_ref()).map(|one| &one.value));
        all.extend(checklists.params().filter_map(|param| param.default.as_ref()).map(|one| &one.value));
        for (_, check) in checklists.checks() {
            let texts = [&check.title].into_iter().chain(&check.found).chain(&check.why).chain(&check.next);
            all.extend(texts.flat_map(|text| text.value.expressions()));
            all.extend(check.for_each.iter().map(|each| &each.list).chain(&check.when).map(|one| &one.value));
            all.extend(check.expect.iter().map(|(_, expect)| &expect.value));
            let arguments = check.observe.iter().flat_map(|ask| &ask.arguments);
            arguments.for_each(|(_, argument)| argument.expressions(&mut |expression| all.push(expression)));
        }
        fn read<'c>(expression: &'c Expression) -> Reads<'c> {
            let mut reads = Reads { probes: BTreeSet::new(), compared: BTreeSet::new(), params: BTreeSet::new() };
            reads.expression(expression);
            reads
        }
        for text in all.iter().map(|expression| expression.text()) {
            let (later, now) = (Expression::parse_later(text), Expression::parse(text));
            let now = now.unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
            let (later, now) = (read(&later), read(&now));
            assert_eq!((later.probes, later.compared, later.params), (now.probes, now.compared, now.params), "{text}");
        }
        assert!(all.len() > 2000, "{}", all.len());
    }
}
