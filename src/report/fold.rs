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

/// The outcomes in their order, those that say the same as one, at the place of the first. Only what passed, what does not
/// apply and what nobody could tell for the same reason is put together: whatever was found stands for itself. What items
/// explain is only put together with what the same items explain, and only where nobody could tell.
pub(super) fn fold<'r>(outcomes: &'r [Outcome], explained: &BTreeSet<usize>) -> Vec<Fold<'r>> {
    let mut folds: Vec<Fold> = Vec::new();
    let mut open: BTreeMap<(&str, Status, &str, &str, &[usize]), usize> = BTreeMap::new();
    for (number, outcome) in outcomes.iter().enumerate() {
        let quiet = outcome.waived.is_none()
            && match outcome.status {
                Status::Pass | Status::Skipped => outcome.explained_by.is_empty() && !explained.contains(&number),
                Status::Unknown => true,
                _ => false,
            };
        let Outcome { check, status, title, message, explained_by, .. } = outcome;
        let key = (&**check, *status, &**title, &**message, &**explained_by);
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
