//! `bmc`: what the service processor of the board measures and has noted down.

use super::parts::{self, Part, Place, Progress};
use super::source::{Source, clipped};
use super::{Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use chrono::NaiveDateTime;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "bmc",
    // It answers over a slow bus, sensor by sensor.
    deadline: Duration::from_secs(25),
    answer: schema_of::<Bmc>,
    arguments: None,
    ask: |source, _, progress| {
        available(source)?;
        let parts = vec![
            part(source, progress, "chassis", &["chassis", "status"], |text| Ok(answer_of(chassis(text)?))),
            part(source, progress, "sensors", &["sdr", "elist"], |text| Ok(answer_of(sensors(text)?))),
            part(source, progress, "events", &["sel", "elist"], |text| Ok(answer_of(events(text, source)?))),
            part(source, progress, "event_log", &["sel", "info"], |text| Ok(answer_of(event_log(text)?))),
            device_id(source, progress),
        ];
        let waiting = Bmc {
            chassis: parts::pending(),
            sensors: parts::pending(),
            events: parts::pending(),
            event_log: parts::pending(),
            firmware: parts::pending(),
            answers: parts::pending(),
            error: parts::pending(),
        };
        Ok(parts::ask(answer(&waiting)?, parts, progress))
    },
};

const DEVICES: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];
const TOOL_DEADLINE: Duration = Duration::from_secs(24);
const TOOL_TIMEOUT: Duration = Duration::from_secs(22);
const TOOL_CAP: usize = 1 << 20;
/// The latest of them; old logs have thousands.
const MOST_EVENTS: usize = 200;

/// What the service processor (BMC) of the board measures and has noted down, through ipmitool. Absent (not present)
/// where no such processor is connected (/dev/ipmi0), and in each part where ipmitool is not installed.
#[derive(Debug, Serialize, JsonSchema)]
struct Bmc {
    /// The state of power and cooling (`ipmitool chassis status`).
    chassis: Fact<Chassis>,
    /// Its sensors (`ipmitool sdr elist`).
    sensors: Fact<Vec<Sensor>>,
    /// The latest 200 events that it has noted down (`ipmitool sel elist`).
    events: Fact<Vec<Event>>,
    /// The list that it notes them in (`ipmitool sel info`).
    event_log: Fact<EventLog>,
    /// Version of its firmware (`ipmitool mc info`).
    firmware: Fact<String>,
    /// Whether it answers what every service processor can answer (`ipmitool mc info`).
    answers: Fact<bool>,
    /// What ipmitool says where it does not. Absent (not present) where it does.
    error: Fact<String>,
}

/// The state of power and cooling, as the service processor sees it.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Chassis {
    /// Whether the power supply has a fault.
    power_fault: Fact<bool>,
    /// Whether the node draws more than it may.
    power_overload: Fact<bool>,
    /// Whether a fan or the cooling has a fault.
    cooling_fault: Fact<bool>,
    /// Whether a drive has a fault.
    drive_fault: Fact<bool>,
}

/// A sensor of the service processor.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "sensor", "x-key" = "name"))]
struct Sensor {
    /// Its name: `FAN3`, `PSU1 Status`.
    name: String,
    /// `ok`, `nc` (not critical), `cr` (critical), `nr` (beyond recovery), `ns` (no reading). Before the first three
    /// ipmitool says which limit was passed: `l` for the lower one, `u` for the upper one (`ucr`).
    status: String,
    /// What it reads: `5400 RPM`, `Presence detected, Failure detected`; empty when it reads nothing.
    reading: String,
}

/// An event that the service processor has noted down.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Event {
    /// When, by the service processor's own clock (`2026-11-19T03:12:44`). Absent (failed) for events before its clock
    /// was set.
    time: Fact<String>,
    /// How long before the node was asked, in seconds; wrong by the difference of the two clocks.
    age_seconds: Fact<u64>,
    /// Which sensor: `Power Supply PSU2 Status`.
    sensor: String,
    /// What happened: `Failure detected`.
    event: String,
    /// Whether it began (asserted) or ended (deasserted).
    asserted: bool,
}

/// The list of events.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct EventLog {
    /// Events in it.
    entries: Fact<u64>,
    /// How full it is, in percent.
    used_percent: Fact<u64>,
}

fn available(source: &Source) -> Result<(), Absent> {
    match DEVICES.iter().any(|path| source.exists(path)) {
        true => Ok(()),
        false => Err(Absent::not_present("no service processor is connected (/dev/ipmi0)")),
    }
}

/// An answer as its JSON, to stand in a field of its own.
fn answer_of<T: Serialize>(value: T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// What the tool prints, asked once; or what it says that went wrong.
fn printed(source: &Source, progress: &dyn Progress, arguments: &[&str]) -> Result<Result<String, String>, Absent> {
    let argv: Vec<String> = ["ipmitool"].iter().chain(arguments).map(ToString::to_string).collect();
    let output = source.command(&argv, TOOL_TIMEOUT, TOOL_CAP, &|group| progress.started(group))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !stdout.trim().is_empty() || output.exit == Some(0) {
        return Ok(Ok(stdout.into_owned()));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("no answer and no reason").trim();
    let said_of = format!("ipmitool {}: {}", arguments.join(" "), clipped(said));
    let denied = source.uid() != 0 && (said.contains("ermission") || said.contains("Could not open device"));
    if denied { Err(Absent::denied(said_of)) } else { Ok(Err(said_of)) }
}

/// The part that runs the tool once and reads what it prints.
fn part<'a>(
    source: &'a Source,
    progress: &'a dyn Progress,
    field: &'static str,
    arguments: &'static [&'static str],
    read: impl Fn(&str) -> Result<serde_json::Value, Absent> + Send + 'a,
) -> Part<'a> {
    let place = Place::new("", &[field], format!("ipmitool {}", arguments.join(" ")), TOOL_DEADLINE);
    let ask = move || {
        let text = printed(source, progress, arguments)?.map_err(Absent::failed)?;
        Ok(serde_json::Map::from_iter([(field.to_string(), read(&text)?)]))
    };
    (place, Box::new(ask))
}

/// The part that asks what every service processor can answer: who it is.
fn device_id<'a>(source: &'a Source, progress: &'a dyn Progress) -> Part<'a> {
    let place = Place::new("", &["firmware", "answers", "error"], "ipmitool mc info".to_string(), TOOL_DEADLINE);
    let ask = move || {
        let text = printed(source, progress, &["mc", "info"])?;
        let said = text
            .as_ref()
            .map_or_else(|said| Ok(said.clone()), |_| Err(Absent::not_present("the service processor answers")));
        let answers = text.is_ok();
        let firmware = text.map_err(Absent::failed).and_then(|text| firmware(&text));
        Ok(serde_json::Map::from_iter([
            ("firmware".to_string(), answer_of(Fact(firmware))),
            ("answers".to_string(), answer_of(answers)),
            ("error".to_string(), answer_of(Fact(said))),
        ]))
    };
    (place, Box::new(ask))
}

/// The value of `Name : value`.
fn labelled<'t>(text: &'t str, name: &str) -> Result<&'t str, Absent> {
    let value = text.lines().find_map(|line| {
        let (label, value) = line.split_once(':')?;
        (label.trim() == name).then(|| value.trim())
    });
    value.ok_or_else(|| Absent::not_supported(format!("ipmitool tells no \"{name}\"")))
}

fn unread(what: &str, text: &str) -> Absent {
    Absent::failed(format!("ipmitool {what}: \"{}\"", clipped(text.trim())))
}

fn chassis(text: &str) -> Result<Chassis, Absent> {
    labelled(text, "System Power").map_err(|_| unread("chassis status", text))?;
    let fault = |name: &str| {
        Fact(labelled(text, name).and_then(|value| match value {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(unread(name, other)),
        }))
    };
    Ok(Chassis {
        power_fault: fault("Main Power Fault"),
        power_overload: fault("Power Overload"),
        cooling_fault: fault("Cooling/Fan Fault"),
        drive_fault: fault("Drive Fault"),
    })
}

/// `FAN3 | 43h | ok | 29.3 | 5400 RPM`.
fn sensors(text: &str) -> Result<Vec<Sensor>, Absent> {
    let sensor = |line: &str| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, _, status, _, reading] = columns[..] else { return None };
        Some(Sensor { name: name.to_string(), status: status.to_string(), reading: reading.to_string() })
    };
    let sensors: Vec<Sensor> = text.lines().filter_map(sensor).collect();
    if sensors.is_empty() { Err(unread("sdr elist", text)) } else { Ok(sensors) }
}

/// `1a | 11/19/2026 | 03:12:44 | Power Supply PSU2 Status | Failure detected | Asserted`; newer versions have a time zone
/// behind the time, and a year of two digits before 1.8.
fn events(text: &str, source: &Source) -> Result<Vec<Event>, Absent> {
    let now = source.now().naive_utc();
    let event = |line: &str| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, date, time, sensor, event, rest @ ..] = &columns[..] else { return None };
        let when = parse_time(date, time);
        Some(Event {
            time: Fact(when.clone().map(|time| time.format("%Y-%m-%dT%H:%M:%S").to_string())),
            age_seconds: Fact(when.map(|time| (now - time).num_seconds().max(0) as u64)),
            sensor: sensor.to_string(),
            event: event.to_string(),
            asserted: rest.first() != Some(&"Deasserted"),
        })
    };
    let mut events: Vec<Event> = text.lines().filter_map(event).collect();
    let is_empty = text.trim().is_empty() || text.contains("SEL has no entries");
    if events.is_empty() && !is_empty {
        return Err(unread("sel elist", text));
    }
    events.drain(..events.len().saturating_sub(MOST_EVENTS));
    Ok(events)
}

fn parse_time(date: &str, time: &str) -> Result<NaiveDateTime, Absent> {
    let clock = time.split_whitespace().next().unwrap_or_default();
    let half = time.split_whitespace().find(|word| matches!(*word, "AM" | "PM")).unwrap_or_default();
    let (text, clock_format) = match half {
        "" => (format!("{date} {clock}"), "%H:%M:%S"),
        half => (format!("{date} {clock} {half}"), "%I:%M:%S %p"),
    };
    let formats = ["%m/%d/%y", "%m/%d/%Y"].map(|date_format| format!("{date_format} {clock_format}"));
    let parsed = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok());
    parsed.ok_or_else(|| Absent::failed(format!("no time: \"{}\"", clipped(&text))))
}

fn event_log(text: &str) -> Result<EventLog, Absent> {
    let number = |name: &str| {
        let value = labelled(text, name)?;
        let digits = value.trim_end_matches('%').trim();
        digits.parse().map_err(|_| unread(name, value))
    };
    labelled(text, "Entries").map_err(|_| unread("sel info", text))?;
    Ok(EventLog { entries: Fact(number("Entries")), used_percent: Fact(number("Percent Used")) })
}

fn firmware(text: &str) -> Result<String, Absent> {
    labelled(text, "Firmware Revision").map(str::to_string).map_err(|absent| match absent.reason {
        Reason::NotSupported => unread("mc info", text),
        _ => absent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    #[test]
    fn events_of_several_versions_are_read() {
        let recorded = Recorded { recorded: "2026-11-20T03:12:44Z".parse().unwrap(), ..Default::default() };
        let (_dir, source) = tree_of(&[("proc/version", "")], recorded);
        let text = "   1 | 11/19/2026 | 03:12:44 | Power Supply PSU2 Status | Failure detected | Asserted\n\
            \x20  2 | 11/19/26 | 03:12:44 UTC | Fan FAN3 | Lower Critical going low  | Asserted | Reading 0 < Threshold 500 RPM\n\
            \x20  3 | 11/19/2026 | 03:12:44 PM CST | Memory #0x53 | Uncorrectable ECC | Deasserted\n\
            \x20  4 | Pre-Init  |0000000042| Event Logging Disabled SEL | Log area reset/cleared | Asserted\n";
        let events = events(text, &source).unwrap();
        assert_eq!(events.len(), 4);
        assert_eq!((&events[0].age_seconds, events[0].sensor.as_str()), (&Fact(Ok(86400)), "Power Supply PSU2 Status"));
        assert_eq!(
            (&events[1].time, events[1].event.as_str()),
            (&Fact(Ok("2026-11-19T03:12:44".into())), "Lower Critical going low")
        );
        assert_eq!((&events[2].time, events[2].asserted), (&Fact(Ok("2026-11-19T15:12:44".into())), false));
        assert!(events[3].time.0.is_err());
        assert_eq!(super::events("SEL has no entries\n", &source), Ok(vec![]));
        assert!(super::events("Get SEL Info command failed\n", &source).is_err());
    }

    #[test]
    fn sensors_and_states_are_read() {
        let text =
            "FAN3             | 43h | cr  | 29.3 | 0 RPM\nPSU1 Status      | C8h | ok  | 10.1 | Presence detected\nx\n";
        let sensors = sensors(text).unwrap();
        assert_eq!((sensors.len(), sensors[0].status.as_str(), sensors[0].reading.as_str()), (2, "cr", "0 RPM"));
        let state = "System Power         : on\nPower Overload       : false\nMain Power Fault     : true\nDrive Fault : maybe\n";
        let chassis = chassis(state).unwrap();
        assert_eq!((chassis.power_fault, chassis.power_overload), (Fact(Ok(true)), Fact(Ok(false))));
        assert_eq!(chassis.cooling_fault.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!(chassis.drive_fault.0.unwrap_err().reason, Reason::Failed);
        let log = event_log("Version : 1.5\nEntries          : 512\nPercent Used     : 97%\n").unwrap();
        assert_eq!((log.entries, log.used_percent), (Fact(Ok(512)), Fact(Ok(97))));
        assert_eq!(firmware("Firmware Revision         : 1.74\n"), Ok("1.74".to_string()));
    }

    #[test]
    fn another_format_is_no_answer() {
        for text in ["", "\u{0}\u{fffd}", "Error: no response", "a|b|c"] {
            assert!(super::chassis(text).is_err() && super::sensors(text).is_err(), "{text:?}");
            assert!(super::event_log(text).is_err() && super::firmware(text).is_err(), "{text:?}");
        }
    }
}
