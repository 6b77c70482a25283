//! Two reports held against each other: what got fixed, what broke, what is still broken, and which facts that matter
//! are others now.
//!
//! A finding is an outcome that warns or is critical; of one check and one subject it is the same finding before and
//! after. What can no longer be told is never counted as fixed.

mod facts;

pub use facts::{FactChange, Nature, fact_changes, value_changes};

use super::{Report, words};
use crate::checklist::scope::Subject;
use crate::judge::{Outcome, Status};
use crate::printable::{counted, printable};
use colored::{Color, Colorize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a comparison says it is.
const FORMAT: &str = "punchlist-diff";

/// The version of its format.
const VERSION: u32 = 1;

/// How many facts the text lists before it only counts them.
const SHOWN_FACTS: usize = 40;

/// What is different between two reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// What this is: always `punchlist-diff`.
    format: String,
    /// Raised when a field changes its meaning or goes away.
    version: u32,
    /// Whether names, addresses and secrets were replaced by pseudonyms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    /// The earlier one.
    pub before: Side,
    /// The later one.
    pub after: Side,
    /// Whether both are of the same node, by its name.
    pub same_node: bool,
    /// What was found before and holds now.
    pub fixed: Vec<Change>,
    /// What is found now and was not before, or is worse than it was.
    pub broke: Vec<Change>,
    /// What is found both times, and is no worse.
    pub still: Vec<Change>,
    /// What was found before and was not seen to be well now, and what passed before and is unknown now.
    pub no_longer_told: Vec<Change>,
    /// Facts that matter and are others now.
    pub facts: Vec<FactChange>,
    /// The exit status that says the same: 0 where nothing got worse, 1 or 2 by the worst that did, 3 where something
    /// can no longer be told and nothing got worse.
    pub exit_status: i32,
}

/// Which report it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Side {
    /// The node's name.
    pub name: Option<String>,
    /// When it was looked at, in UTC.
    pub started: String,
    /// How many things were to fix.
    pub to_fix: usize,
}

/// Findings that changed in the same way: those of one entry of the punch list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// How bad it is, or was.
    pub severity: Status,
    /// What it is: one sentence.
    pub title: String,
    /// Where; empty for the node as a whole.
    #[serde(rename = "where")]
    pub location: String,
    /// The checks whose outcomes changed, with their subjects.
    pub outcomes: Vec<ChangedOutcome>,
}

/// An outcome before and after.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangedOutcome {
    /// The check's id.
    pub check: String,
    /// What it is about.
    pub subject: Subject,
    /// The answer before; none where it was not asked.
    pub was: Option<Status>,
    /// The answer after; none where it was not asked.
    pub is: Option<Status>,
}

impl Side {
    fn of(report: &Report) -> Side {
        Side { name: report.node.name.clone(), started: words::time(report), to_fix: report.items.len() }
    }
}

/// Whether an outcome is something to fix.
fn is_finding(outcome: &Outcome) -> bool {
    outcome.waived.is_none() && matches!(outcome.status, Status::Warning | Status::Critical)
}

impl Comparison {
    /// Holds two reports against each other, with the facts that were found to be others.
    pub fn new(before: &Report, after: &Report, facts: Vec<FactChange>) -> Comparison {
        fn by_question(report: &Report) -> BTreeMap<(&str, &Subject), usize> {
            let outcomes = report.outcomes.iter().enumerate();
            outcomes.map(|(number, outcome)| ((outcome.check.as_str(), &outcome.subject), number)).collect()
        }
        let (earlier, later) = (by_question(before), by_question(after));
        let (mut fixed, mut broke) = (Changes::of(before), Changes::of(after));
        let (mut still, mut no_longer_told) = (Changes::of(after), Changes::of(before));
        let questions: BTreeSet<_> = earlier.keys().chain(later.keys()).copied().collect();
        for question in questions {
            let (was, is) = (earlier.get(&question).copied(), later.get(&question).copied());
            let (old, new) = (was.map(|number| &before.outcomes[number]), is.map(|number| &after.outcomes[number]));
            let changed = ChangedOutcome {
                check: question.0.to_string(),
                subject: question.1.clone(),
                was: old.map(|outcome| outcome.status),
                is: new.map(|outcome| outcome.status),
            };
            let (bad_before, bad_now) = (old.is_some_and(is_finding), new.is_some_and(is_finding));
            match (was, is) {
                (_, Some(is)) if bad_now && !bad_before => broke.add(is, changed),
                (_, Some(is)) if bad_now && changed.is > changed.was => broke.add(is, changed),
                (_, Some(is)) if bad_now => still.add(is, changed),
                // It holds now, or the site puts up with it.
                (Some(was), _)
                    if bad_before
                        && new.is_some_and(|new| {
                            matches!(new.status, Status::Pass | Status::Info) || new.waived.is_some()
                        }) =>
                {
                    fixed.add(was, changed);
                }
                (Some(was), _) if bad_before => no_longer_told.add(was, changed),
                (Some(was), Some(_)) if changed.is == Some(Status::Unknown) && changed.was == Some(Status::Pass) => {
                    no_longer_told.add(was, changed);
                }
                _ => {}
            }
        }
        let (fixed, broke, still) = (fixed.grouped(), broke.grouped(), still.grouped());
        let no_longer_told = no_longer_told.grouped();
        let mut gone = no_longer_told.iter().flat_map(|change| &change.outcomes);
        let unseen = gone.any(|outcome| matches!(outcome.is, None | Some(Status::Unknown)));
        let worst = broke.iter().map(|change| change.severity).max();
        Comparison {
            format: FORMAT.into(),
            version: VERSION,
            redacted: before.redacted && after.redacted,
            before: Side::of(before),
            after: Side::of(after),
            same_node: before.node.name == after.node.name,
            exit_status: match worst {
                Some(Status::Critical) => 2,
                Some(_) => 1,
                // What does not apply any more is no worse.
                None if unseen => 3,
                None => 0,
            },
            fixed,
            broke,
            still,
            no_longer_told,
            facts,
        }
    }

    /// The comparison as JSON, ending in a newline.
    pub fn to_json(&self) -> String {
        // Maps have text keys and numbers are finite: a comparison can always be written.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        crate::printable::printable_json(text)
    }

    /// The comparison as text. Colours follow the global switch of the crate `colored`.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let name = |side: &Side| printable(side.name.as_deref().unwrap_or("a node without a name"));
        if self.same_node {
            let _ = writeln!(text, "{}", name(&self.after).bold());
        } else {
            let both = format!("{} and then {}", name(&self.before), name(&self.after));
            let _ = writeln!(text, "{}", both.bold());
            let _ = writeln!(text, "{}", "These are two different nodes.".yellow());
        }
        let _ = writeln!(text, "before  {} · {} to fix", printable(&self.before.started), self.before.to_fix);
        let _ = writeln!(text, "after   {} · {} to fix\n", printable(&self.after.started), self.after.to_fix);
        section(&mut text, "BROKE", Color::Red, &self.broke);
        section(&mut text, "FIXED", Color::Green, &self.fixed);
        section(&mut text, "STILL BROKEN", Color::Yellow, &self.still);
        section(&mut text, "NO LONGER TOLD OR NO LONGER THERE", Color::Magenta, &self.no_longer_told);
        self.facts_as_text(&mut text);
        let _ = writeln!(
            text,
            "{} broke · {} fixed · {} still broken · {} no longer told · {} changed",
            self.broke.len(),
            self.fixed.len(),
            self.still.len(),
            self.no_longer_told.len(),
            counted(self.facts.len(), "fact", "facts")
        );
        text
    }

    fn facts_as_text(&self, text: &mut String) {
        if self.facts.is_empty() {
            return;
        }
        let _ = writeln!(text, "{}", "CHANGED".bold());
        let width = self.facts.iter().take(SHOWN_FACTS).map(|fact| printable(&fact.fact).chars().count()).max();
        let width = width.unwrap_or(0).min(60);
        for fact in self.facts.iter().take(SHOWN_FACTS) {
            let _ = writeln!(text, "  {:<width$}  {}", printable(&fact.fact), printable(&fact.sentence()));
        }
        if self.facts.len() > SHOWN_FACTS {
            let _ = writeln!(text, "  … and {} more; --format json has them all", self.facts.len() - SHOWN_FACTS);
        }
        text.push('\n');
    }
}

/// How many outcomes that were well before, and cannot be told any more, are shown as text.
const SHOWN_WELL: usize = 20;

fn section(text: &mut String, title: &str, colour: Color, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", title.color(colour).bold());
    let (well, bad): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| change.severity == Status::Pass && change.outcomes.len() == 1);
    for change in bad {
        let place = match change.location.as_str() {
            "" => String::new(),
            place if change.title.contains(place) => String::new(),
            place => format!(" ({place})"),
        };
        let _ = writeln!(text, "  {:<8}  {}", change.severity.word(), printable(&format!("{}{place}", change.title)));
        // What one outcome says, its title says already; of how it was before and is now only what is new.
        let mut told: BTreeMap<(&str, Option<Status>, Option<Status>), usize> = BTreeMap::new();
        for outcome in &change.outcomes {
            *told.entry((outcome.check.as_str(), outcome.was, outcome.is)).or_default() += 1;
        }
        let word = |status: Option<Status>| status.map_or("not asked", Status::word);
        let told: Vec<String> = told
            .into_iter()
            .map(|((check, was, is), count)| {
                let times = if count > 1 { format!(" ×{count}") } else { String::new() };
                match was == is {
                    true => format!("{check}{times}"),
                    false => format!("{check}{times}: {} → {}", word(was), word(is)),
                }
            })
            .collect();
        let more = told.len().saturating_sub(4);
        let mut line = told.into_iter().take(4).collect::<Vec<_>>().join(", ");
        if more > 0 {
            let _ = write!(line, " and {more} more");
        }
        let _ = writeln!(text, "            {}", printable(&line).dimmed());
    }
    // What was well and cannot be told any more is a line each: a driver that is gone has a hundred of them.
    for change in well.iter().take(SHOWN_WELL) {
        let [outcome] = change.outcomes.as_slice() else { continue };
        let place = if change.location.is_empty() { String::new() } else { format!(" [{}]", change.location) };
        let is = outcome.is.map_or("not asked", Status::word);
        let line = format!("{}{place}: {} → {is}", outcome.check, change.severity.word());
        let _ = writeln!(text, "  {}", printable(&line));
    }
    if well.len() > SHOWN_WELL {
        let _ = writeln!(text, "  … and {} more; --format json has them all", well.len() - SHOWN_WELL);
    }
    text.push('\n');
}

/// Outcomes that changed, gathered by the entry of the punch list that explains them.
struct Changes<'r> {
    report: &'r Report,
    /// The item that explains each outcome.
    item_of: BTreeMap<usize, usize>,
    by_item: BTreeMap<(usize, usize), Vec<(usize, ChangedOutcome)>>,
}

impl<'r> Changes<'r> {
    fn of(report: &'r Report) -> Changes<'r> {
        let mut item_of = BTreeMap::new();
        for (number, item) in report.items.iter().enumerate() {
            for outcome in &item.explains {
                item_of.entry(*outcome).or_insert(number);
            }
        }
        Changes { report, item_of, by_item: BTreeMap::new() }
    }

    fn add(&mut self, number: usize, changed: ChangedOutcome) {
        // What no item explains stands for itself.
        let place = self.item_of.get(&number).map_or((usize::MAX, number), |item| (*item, 0));
        self.by_item.entry(place).or_default().push((number, changed));
    }

    fn grouped(self) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for ((item, _), mut outcomes) in self.by_item {
            outcomes.sort_by_key(|(number, _)| *number);
            let outcome = &self.report.outcomes[outcomes[0].0];
            let severity = outcomes.iter().map(|(number, _)| self.report.outcomes[*number].status).max();
            let (title, location) = match self.report.items.get(item) {
                Some(item) => (item.title.clone(), item.location.clone()),
                None => (
                    outcome.message.clone(),
                    outcome.subject.key.as_ref().map(|_| outcome.subject.to_string()).unwrap_or_default(),
                ),
            };
            changes.push(Change {
                severity: severity.unwrap_or(outcome.status),
                title,
                location,
                outcomes: outcomes.into_iter().map(|(_, changed)| changed).collect(),
            });
        }
        changes.sort_by_key(|change| std::cmp::Reverse(change.severity));
        changes
    }
}
