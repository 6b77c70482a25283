//! The report as JSON: for programs, and for rendering it again.

use super::Report;
use crate::printable::printable_json;

/// The report as JSON, one field a line, ending in a newline.
pub fn to_json(report: &Report) -> String {
    // Maps have text keys and numbers are finite or null: a report can always be written.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    printable_json(text)
}
