//! What a site puts up with.

use super::{Outcome, Status, Waived};
use crate::checklist::Waiver;
use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A waiver for this node, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaiverUsed {
    /// The check or checks that it is for, as the site wrote it.
    pub check: String,
    /// Why, in the site's words.
    pub reason: String,
    /// The last day on which it holds: `2026-12-31`.
    pub until: String,
    /// Whether that day has passed.
    pub expired: bool,
    /// How many outcomes it waives.
    pub waives: usize,
}

/// Marks what the site puts up with: whatever is wrong, or could not be told, and has a waiver for the node that goes by
/// these names. Tells what became of each of the node's waivers whose checks took part.
pub fn waive(
    outcomes: &mut [Outcome],
    waivers: &[Waiver],
    names: &BTreeSet<String>,
    today: NaiveDate,
) -> Vec<WaiverUsed> {
    let mut used = Vec::new();
    for waiver in waivers.iter().filter(|waiver| waiver.is_for(names)) {
        if !outcomes.iter().any(|outcome| waiver.is_for_check(&outcome.check)) {
            continue;
        }
        let expired = waiver.until < today;
        let mut waives = 0;
        for outcome in outcomes.iter_mut().filter(|outcome| !expired && can_be_waived(outcome.status)) {
            if waiver.is_for_outcome(&outcome.check, outcome.subject.key.as_deref()) {
                waives += 1;
                // Of several the first one counts; that the others would do as well, they are told all the same.
                outcome
                    .waived
                    .get_or_insert_with(|| Waived { reason: waiver.reason.clone(), until: waiver.until.to_string() });
            }
        }
        used.push(WaiverUsed {
            check: waiver.check.clone(),
            reason: waiver.reason.clone(),
            until: waiver.until.to_string(),
            expired,
            waives,
        });
    }
    used
}

/// What is well, or asks nothing of anybody, needs no waiver.
fn can_be_waived(status: Status) -> bool {
    matches!(status, Status::Warning | Status::Critical | Status::Unknown)
}
