//! Following tests under load on standard error: they take minutes, and whoever waits wants to know for what.

use crate::observe::Testing;
use crate::printable::printable;
use std::io::{self, Write};
use std::time::Duration;

/// Says that a test begins, that it is over, or that it is left out.
pub(super) fn say(testing: &Testing) {
    let _ = writeln!(io::stderr(), "{}", printable(&line(testing)));
}

fn line(testing: &Testing) -> String {
    match testing {
        Testing::LeftOut { check } => {
            format!(
                "punchlist: {check} is left out: it does not apply here, or what it needs does not hold (--all says which)"
            )
        }
        Testing::Begun { check, label, limit, to_come } => {
            let more = match to_come {
                0 => "the last test".to_string(),
                more => format!("{more} more to come"),
            };
            format!("punchlist: {check} runs: {label}, at most {}; {more}", about(*limit))
        }
        Testing::Over { check, took, absent: None } => format!("punchlist: {check} is over after {}", about(*took)),
        Testing::Over { check, took, absent: Some(why) } => {
            format!("punchlist: {check} gave no answer after {}: {}", about(*took), why.detail)
        }
    }
}

/// `0.2 s`, `42 s`, `12 min`.
fn about(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Absent;

    #[test]
    fn every_step_of_a_test_is_a_line() {
        let begun = Testing::Begun {
            check: "active.dcgm",
            label: "command dcgmi diag -r 2 -j".into(),
            limit: Duration::from_secs(2402),
            to_come: 3,
        };
        let expected = "punchlist: active.dcgm runs: command dcgmi diag -r 2 -j, at most 40 min; 3 more to come";
        assert_eq!(line(&begun), expected);
        let over = |took: f64, absent| Testing::Over { check: "x", took: Duration::from_secs_f64(took), absent };
        assert_eq!(line(&over(0.21, None)), "punchlist: x is over after 0.2 s");
        let missing = Absent::not_present("`stream` is not installed");
        assert_eq!(
            line(&over(75.0, Some(missing))),
            "punchlist: x gave no answer after 75 s: `stream` is not installed"
        );
    }
}
