//! Incidents that others have told of in public, each as a recorded machine of our own, and what has to stand first in
//! the punch list of it: `tests/incidents.tsv` has a line for each, with the incident's number (`own` where nobody told
//! of it, and we thought it up), the machine, and the cause or the check of the first item. A `-` stands for what looks
//! like a fault and is none: there the list is empty.

mod common;

use common::{in_parallel, punchlist_on};
use serde_json::Value as Json;
use std::path::Path;

#[test]
fn the_first_item_of_each_incident_is_its_root() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let table = std::fs::read_to_string(tests.join("incidents.tsv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    let wrong_in = |row: &&str| -> Option<String> {
        let [incident, machine, first] = row.split('\t').collect::<Vec<_>>()[..] else {
            return Some(format!("incidents.tsv: expected a number, a machine and a cause or check: {row}"));
        };
        let output =
            punchlist_on(&tests.join("machines").join(machine), "run").args(["--format", "json"]).output().unwrap();
        let Ok(report) = serde_json::from_slice::<Json>(&output.stdout) else {
            return Some(format!("{machine}: {}", String::from_utf8_lossy(&output.stderr)));
        };
        let item = &report["items"][0];
        let said = item["cause"].as_str().or(item["check"].as_str()).unwrap_or("-");
        (said != first).then(|| format!("{incident} ({machine}): {said} stands first, not {first}: {}", item["title"]))
    };
    let wrong: Vec<String> = in_parallel(&rows, wrong_in).into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let faults = rows.iter().filter(|row| !row.ends_with("\t-")).count();
    assert!(faults >= 50, "{faults} machines with a fault");
}
