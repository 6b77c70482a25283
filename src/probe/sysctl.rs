//! `sysctl`: one kernel setting by its name.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, arguments_of, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

pub(super) const PROBE: Probe = Probe {
    name: "sysctl",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Sysctl>,
    arguments: Some(schema_of::<SysctlArguments>),
    ask: |source, arguments, _| answer(&observe(source, arguments_of(arguments)?)),
};

/// Which kernel setting to read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SysctlArguments {
    /// Its name as sysctl(8) writes it: `vm.swappiness`; `net/ipv4/conf/eth0.100/rp_filter` where a part has a dot.
    name: String,
}

/// One kernel setting (/proc/sys). Absent (not_present) where this kernel does not have it or its module is not loaded.
#[derive(Debug, Serialize, JsonSchema)]
struct Sysctl {
    /// The name that was asked for.
    name: String,
    /// The value as text, with single spaces between its parts.
    text: Fact<String>,
    /// The value as a number. Absent (failed) when it is not one whole number
    /// below 2^63.
    number: Fact<i64>,
    /// The value as a list of numbers. Absent (failed) when any part is not a whole number.
    numbers: Fact<Vec<i64>>,
}

fn observe(source: &Source, SysctlArguments { name }: SysctlArguments) -> Sysctl {
    let text = read(source, &name);
    let not = |what: &str, text: &str| Absent::failed(format!("{name}: expected {what}, found \"{}\"", clipped(text)));
    let number = text.clone().and_then(|text| text.parse().map_err(|_| not("one whole number below 2^63", &text)));
    let numbers = text.clone().and_then(|text| {
        let all: Result<Vec<i64>, _> = text.split_whitespace().map(i64::from_str).collect();
        all.map_err(|_| not("whole numbers below 2^63", &text))
    });
    Sysctl { name, text: Fact(text), number: Fact(number), numbers: Fact(numbers) }
}

/// The value of the kernel setting `name`, with single spaces between its parts.
pub(super) fn read(source: &Source, name: &str) -> Result<String, Absent> {
    let text = source.line(&path(name)?)?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Where a setting lies. As in sysctl(8) the first separator decides: after a slash dots are part of the names.
fn path(name: &str) -> Result<String, Absent> {
    let inside = match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_string(),
    };
    if inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Absent::failed(format!("\"{}\" is not the name of a kernel setting", clipped(name))));
    }
    Ok(format!("/proc/sys/{inside}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::parts::Silent;
    use crate::probe::source::Recorded;
    use serde_json::json;
    use std::fs;

    #[test]
    fn names_become_paths_as_sysctl_does_it_and_never_lead_elsewhere() {
        assert_eq!(path("vm.swappiness").unwrap(), "/proc/sys/vm/swappiness");
        assert_eq!(path("net/ipv4/conf/eth0.100/rp_filter").unwrap(), "/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(path("net.ipv4.conf.eth0/100.rp_filter").unwrap(), "/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
        for bad in ["", ".", "..", "../1/environ", "vm..x", "/etc/passwd", "vm/../../1/environ", "a.//.b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_is_text_and_where_it_can_be_a_number_and_numbers() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/sys/net")).unwrap();
        fs::write(dir.path().join("proc/sys/net/mem"), "4096\t131072\t6291456\n").unwrap();
        fs::write(dir.path().join("proc/sys/net/one"), "-1\n").unwrap();
        fs::write(dir.path().join("proc/sys/net/word"), "cubic\n").unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        let ask = |name: &str| observe(&source, SysctlArguments { name: name.into() });
        let three = ask("net.mem");
        assert_eq!(three.text, Fact(Ok("4096 131072 6291456".into())));
        assert_eq!(three.numbers, Fact(Ok(vec![4096, 131072, 6291456])));
        assert_eq!(three.number.0.unwrap_err().reason, Reason::Failed);
        assert_eq!(ask("net.one").number, Fact(Ok(-1)));
        assert_eq!(ask("net.word").numbers.0.unwrap_err().reason, Reason::Failed);
        assert_eq!(ask("net.none").number.0.unwrap_err().reason, Reason::NotPresent);
        let absent = (PROBE.ask)(&source, &json!({"nam": "x"}), &Silent).unwrap_err();
        assert_eq!(absent.reason, Reason::Failed);
    }
}
