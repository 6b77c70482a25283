//! The report as JUnit XML, for what shows test results: a suite for each checklist, a case for each outcome.

use super::{Report, words};
use crate::judge::{Outcome, Status};
use crate::printable::printable;
use chrono::DateTime;
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The report as JUnit XML. Critical outcomes are failures; unknown ones are errors, as the test itself could not be
/// done; waived and skipped ones are skipped; warnings pass and say so in their output.
pub fn to_junit(report: &Report) -> String {
    let started = DateTime::parse_from_rfc3339(&report.run.started).ok();
    let mut junit = Junit::new(format!("punchlist {}", printable(words::name(&report.node))));
    junit.set_time(Duration::try_from_secs_f64(report.run.duration_ms / 1000.0).unwrap_or_default());
    if let Some(started) = started {
        junit.set_timestamp(started);
    }
    let mut suites: Vec<TestSuite> = Vec::new();
    for outcome in &report.outcomes {
        let name = printable(&outcome.checklist);
        if !suites.iter().any(|suite| suite.name.as_str() == name) {
            let mut suite = TestSuite::new(name.as_str());
            suite.add_property(("node", printable(words::name(&report.node)).as_str()));
            suites.push(suite);
        }
        if let Some(suite) = suites.iter_mut().find(|suite| suite.name.as_str() == name) {
            suite.add_test_case(case(outcome));
        }
    }
    junit.add_test_suites(suites);
    // Writing to memory does not fail.
    junit.to_string().unwrap_or_default()
}

fn case(outcome: &Outcome) -> TestCase {
    let (mut status, said) = match outcome.status {
        _ if outcome.waived.is_some() => {
            (TestCaseStatus::skipped(), format!("{}: {}", words::waived(outcome).unwrap_or_default(), outcome.message))
        }
        Status::Critical => (TestCaseStatus::non_success(NonSuccessKind::Failure), outcome.message.clone()),
        Status::Unknown => (TestCaseStatus::non_success(NonSuccessKind::Error), outcome.message.clone()),
        Status::Skipped => (TestCaseStatus::skipped(), outcome.message.clone()),
        Status::Pass | Status::Info | Status::Warning => (TestCaseStatus::success(), String::new()),
    };
    if !said.is_empty() {
        status.set_message(printable(&said));
    }
    if outcome.status == Status::Critical || outcome.status == Status::Unknown {
        status.set_type(outcome.status.word());
        status.set_description(details(outcome));
    }
    let subject = outcome.subject.key.as_ref().map(|_| format!(" [{}]", outcome.subject)).unwrap_or_default();
    let mut case = TestCase::new(printable(&format!("{}{subject}", outcome.check)), status);
    case.set_classname(printable(&outcome.check));
    case.set_time(Duration::try_from_secs_f64(outcome.duration_ms / 1000.0).unwrap_or_default());
    if matches!(outcome.status, Status::Info | Status::Warning) {
        case.set_system_out(format!("{}: {}", outcome.status.word(), details(outcome)));
    }
    case
}

/// What was found, by what, and what to do: one a line.
fn details(outcome: &Outcome) -> String {
    let because = outcome.because.iter().filter(|because| **because != outcome.message).cloned();
    let next = outcome.next.iter().map(|next| format!("next: {next}"));
    let lines = std::iter::once(outcome.message.clone()).chain(because).chain(next);
    lines.map(|line| printable(&line)).collect::<Vec<_>>().join("\n")
}
