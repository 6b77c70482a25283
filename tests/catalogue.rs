//! What others check on such nodes, and what of it Punchlist does: `tests/catalogue.tsv` has a row for each check that
//! is known from other tools, with the checks that answer it, or why none does.

use punchlist::checklist;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Why no shipped check answers a row. Whoever needs another reason adds it here, with what it means.
const REASONS: &[&str] = &[
    // It puts load on the node or sends packets: for the checks that run only when asked for.
    "active",
    // It needs the answers of several nodes.
    "needs a fleet",
    // Only a tool of the maker tells it, in a form of its own.
    "needs a vendor's tool",
    // It is a fact without a value that is right or wrong; `punchlist probes` has it.
    "a fact",
    // Only the management of the site's cloud or switches tells it.
    "not on the node",
    // Kernel-log patterns are told by `punchlist log` and by causes.
    "kernel log",
];

#[test]
fn every_row_names_checks_that_exist_or_says_why_there_is_none() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue.tsv");
    let text = fs::read_to_string(path).unwrap();
    let checklists = checklist::load(&[], None).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let known: BTreeSet<&str> = checklists.checks().map(|(_, check)| check.id.text.as_str()).collect();
    let mut wrong = Vec::new();
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((row, answer)) = line.split_once('\t') else {
            wrong.push(format!("line {}: expected ROW, a tab and checks or a reason", number + 1));
            continue;
        };
        rows.push(row);
        // A row of its own reason says it after a dash.
        if REASONS.contains(&answer) || answer.strip_prefix("- ").is_some_and(|why| why.len() > 10) {
            continue;
        }
        for id in answer.split(' ') {
            if !known.contains(id) {
                wrong.push(format!("{row}: there is no check `{id}`, and `{answer}` is no reason"));
            }
        }
    }
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted != rows {
        let first = rows.iter().zip(&sorted).find(|(row, sorted)| row != sorted);
        wrong.push(format!("the rows are not sorted, or one is there twice, from {first:?} on"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!rows.is_empty());
}
