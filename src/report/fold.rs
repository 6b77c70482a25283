//! Outcomes that differ in nothing but their subject, put together: what is said of 144 links is said once.

use crate::judge::{Outcome, Status};
use std::collections::{BTreeMap, BTreeSet};

/// Outcomes of one check that say the same.
#[derive(Debug)]
pub(super) struct Fold<'r> {
    /// The first of them.
    pub first: &'r Outcome,
    /// Their positions in the report's list, ascending.
    pub members: Vec<usize>,
}

/// The outcomes in their order, those that say the same as one, at the place of the first. Only what passed and what
/// does not apply is put together: whatever else was found stands for itself, and so does what an item explains.
pub(super) fn fold<'r>(outcomes: &'r [Outcome], explained: &BTreeSet<usize>) -> Vec<Fold<'r>> {
    let mut folds: Vec<Fold> = Vec::new();
    let mut open: BTreeMap<(&str, Status, &str, &str), usize> = BTreeMap::new();
    for (number, outcome) in outcomes.iter().enumerate() {
        let quiet = matches!(outcome.status, Status::Pass | Status::Skipped)
            && outcome.explained_by.is_empty()
            && outcome.waived.is_none()
            && !explained.contains(&number);
        let key = (outcome.check.as_str(), outcome.status, outcome.title.as_str(), outcome.message.as_str());
        match open.get(&key).filter(|_| quiet) {
            Some(place) if folds[*place].first.reason == outcome.reason => folds[*place].members.push(number),
            _ => {
                if quiet {
                    open.insert(key, folds.len());
                }
                folds.push(Fold { first: outcome, members: vec![number] });
            }
        }
    }
    folds
}
