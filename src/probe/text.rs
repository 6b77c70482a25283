//! Shapes of text that several files of /proc, /sys and /etc share.

use super::source::{Source, clipped};
use crate::fact::{Absent, Fact, Reason};
use std::collections::BTreeSet;

/// More numbers than any honest list of CPUs or nodes holds; a garbled one must cost neither memory nor time.
const LONGEST_ID_LIST: u64 = 1 << 16;

/// A file that holds a list of numbers and ranges of them, as the kernel writes sets of CPUs: `0-3,8,10-11`.
pub(super) fn id_list(source: &Source, path: &str) -> Result<BTreeSet<u64>, Absent> {
    let line = source.line(path)?;
    parse_id_list(&line)
        .ok_or_else(|| Absent::failed(format!("{path}: expected a list of numbers, found \"{}\"", clipped(&line))))
}

fn parse_id_list(line: &str) -> Option<BTreeSet<u64>> {
    let mut ids = BTreeSet::new();
    let mut room = LONGEST_ID_LIST;
    for part in line.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        room = room.checked_sub(last.checked_sub(first)?)?.checked_sub(1)?;
        ids.extend(first..=last);
    }
    Some(ids)
}

/// The word that is chosen in a file that lists all of them with the chosen one in brackets: `always [madvise] never`.
pub(super) fn chosen(source: &Source, path: &str) -> Result<String, Absent> {
    let line = source.line(path)?;
    let word = line.split_once('[').and_then(|(_, rest)| Some(rest.split_once(']')?.0));
    word.map(ToString::to_string)
        .ok_or_else(|| Absent::failed(format!("{path}: expected a word in brackets, found \"{}\"", clipped(&line))))
}

/// One number of a pressure file: in `/proc/pressure/RESOURCE` the line of `who` (`some`, `full`), there `key=NUMBER`.
pub(super) fn pressure(source: &Source, resource: &str, who: &str, key: &str) -> Fact<f64> {
    let path = format!("/proc/pressure/{resource}");
    Fact(source.text(&path).map_err(without_pressure).and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix(who)?.split_whitespace().find_map(|word| word.strip_prefix(key)))
            .and_then(|value| decimal(value.strip_prefix('=')?).filter(|share| *share <= 100.0))
            .ok_or_else(|| Absent::not_supported(format!("{path} has no {who} {key}")))
    }))
}

/// A kernel that was built without pressure stall information lacks the file, which is no sign of a missing device.
fn without_pressure(absent: Absent) -> Absent {
    match absent.reason {
        Reason::NotPresent => Absent::not_supported("the kernel keeps no pressure stall information"),
        _ => absent,
    }
}

/// A fraction as the kernel writes spans of time, averages and speeds. `nan` and `inf`, which Rust takes for numbers as
/// well, are none here, and nothing of this kind is negative.
pub(super) fn decimal(word: &str) -> Option<f64> {
    word.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// As [`percent`], of what cannot be more than all.
pub(super) fn share(part: &Fact<u64>, whole: &Fact<u64>) -> Fact<f64> {
    match (&part.0, &whole.0) {
        (Ok(part), Ok(whole)) if part > whole => {
            Fact(Err(Absent::failed(format!("{part} of {whole} is more than all of it"))))
        }
        _ => percent(part, whole),
    }
}

/// A share in percent; absent where the whole is nothing.
pub(super) fn percent(part: &Fact<u64>, whole: &Fact<u64>) -> Fact<f64> {
    Fact(match (&part.0, &whole.0) {
        (Ok(_), Ok(0)) => Err(Absent::not_supported("there is none in all")),
        (Ok(part), Ok(whole)) => Ok(*part as f64 * 100.0 / *whole as f64),
        (Err(absent), _) | (_, Err(absent)) => Err(absent.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::Recorded;
    use std::fs;

    #[test]
    fn lists_of_ids_may_hold_ranges_and_may_be_empty() {
        assert_eq!(parse_id_list("0-2,7, 9-9"), Some(BTreeSet::from([0, 1, 2, 7, 9])));
        assert_eq!(parse_id_list(""), Some(BTreeSet::new()));
        for garbage in ["a", "3-1", "1-", "-", "0-18446744073709551615", "1;2", "0-65000,0-65000"] {
            assert_eq!(parse_id_list(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn pressure_is_read_per_line_and_not_supported_without_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/pressure")).unwrap();
        let text = "some avg10=1.25 avg60=0.50 avg300=0.00 total=7\nfull avg10=0.75 avg60=x avg300=0.00 total=7\n";
        fs::write(dir.path().join("proc/pressure/memory"), text).unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        assert_eq!(pressure(&source, "memory", "some", "avg10"), Fact(Ok(1.25)));
        assert_eq!(pressure(&source, "memory", "full", "avg10"), Fact(Ok(0.75)));
        assert!(pressure(&source, "memory", "full", "avg60").0.is_err());
        assert_eq!(pressure(&source, "cpu", "some", "avg10").0.unwrap_err().reason, Reason::NotSupported);
    }

    #[test]
    fn a_share_of_nothing_is_absent() {
        assert_eq!(percent(&Fact(Ok(1)), &Fact(Ok(4))), Fact(Ok(25.0)));
        assert!(percent(&Fact(Ok(0)), &Fact(Ok(0))).0.is_err());
        assert_eq!(share(&Fact(Ok(4)), &Fact(Ok(4))), Fact(Ok(100.0)));
        assert!(share(&Fact(Ok(5)), &Fact(Ok(4))).0.is_err());
    }

    #[test]
    fn what_is_no_amount_is_no_number() {
        assert_eq!(["0.35", "7", "1e3"].map(decimal), [Some(0.35), Some(7.0), Some(1000.0)]);
        assert_eq!(["nan", "inf", "-inf", "1e999", "-1", "", "x"].map(decimal), [None; 7]);
    }
}
