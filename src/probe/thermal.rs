//! `thermal`: how hot the parts of the machine are, how fast fans turn, and what sensors raise an alarm.

use super::parts::{self, Part, Place};
use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "thermal",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Thermal>,
    arguments: None,
    ask: |source, _, progress| {
        let thermal = observe(source)?;
        let parts = thermal.chips.iter().enumerate().map(|(index, chip)| part(source, index, chip)).collect();
        Ok(parts::ask(answer(&thermal)?, parts, progress))
    },
};

const ZONES: &str = "/sys/class/thermal";
const CHIPS: &str = "/sys/class/hwmon";
/// How long the sensors of one chip may take: some are behind slow buses, some ask a drive.
const CHIP_DEADLINE: Duration = Duration::from_secs(3);
/// What a working sensor can tell, in thousandths of a degree Celsius.
const MILLIDEGREES: std::ops::RangeInclusive<i64> = -60_000..=250_000;

/// How hot the parts of the machine are, how fast fans turn, and what sensors raise an alarm.
#[derive(Debug, Serialize, JsonSchema)]
struct Thermal {
    /// Zones whose heat the kernel watches (/sys/class/thermal). Empty in most virtual machines.
    zones: Fact<Vec<Zone>>,
    /// Chips with sensors (/sys/class/hwmon). Empty where no driver knows one.
    chips: Vec<Chip>,
}

/// A zone whose heat the kernel watches.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "thermal_zone", "x-key" = "name"))]
struct Zone {
    /// Its name: `thermal_zone0`.
    name: String,
    /// What it is: `x86_pkg_temp`, `acpitz`, `Thermal Zone Skt0 TMax` (type).
    kind: Fact<String>,
    /// Its temperature in degrees Celsius (temp).
    temperature_c: Fact<f64>,
    /// Where the kernel switches the machine off, in degrees Celsius (the trip point of type critical). Absent (not
    /// supported) for zones without.
    critical_c: Fact<f64>,
}

/// A chip with sensors.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "chip", "x-key" = "name"))]
struct Chip {
    /// Its name: `hwmon3`.
    name: String,
    /// What it is, as its driver says: `coretemp`, `k10temp`, `nvme`, `mlx5`, `jc42` (name).
    kind: Fact<String>,
    /// The device that it belongs to: a PCI address, `nvme0`, `coretemp.0` (link device). Absent (not present) for
    /// chips that belong to none.
    device: Fact<String>,
    /// Its temperatures.
    temperatures: Fact<Vec<Temperature>>,
    /// Its fans.
    fans: Fact<Vec<Fan>>,
    /// Its other sensors with an alarm: voltages, currents, power.
    alarms: Fact<Vec<Alarm>>,
}

/// A temperature.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Temperature {
    /// What it is of: `Package id 0`, `Composite`; else its number: `temp1` (temp*_label).
    label: String,
    /// In degrees Celsius (temp*_input).
    temperature_c: Fact<f64>,
    /// Where it is too hot, in degrees Celsius (temp*_max). Absent (not supported) where the chip tells none.
    high_c: Fact<f64>,
    /// Where it is dangerous, in degrees Celsius (temp*_crit).
    critical_c: Fact<f64>,
    /// Whether the chip raises an alarm for it (temp*_alarm, temp*_crit_alarm, temp*_max_alarm). It may be one that has
    /// been kept since it was read last.
    alarm: Fact<bool>,
}

/// A fan.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Fan {
    /// What it is: its label, else its number: `fan1` (fan*_label).
    label: String,
    /// How fast it turns, in revolutions a minute (fan*_input).
    rpm: Fact<u64>,
    /// How fast it has to turn at least (fan*_min). Absent (not supported) where the chip tells none.
    min_rpm: Fact<u64>,
    /// Whether the chip raises an alarm for it, or calls it faulty (fan*_alarm, fan*_min_alarm, fan*_fault).
    alarm: Fact<bool>,
}

/// A voltage, current or power with an alarm.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Alarm {
    /// What it is of: its label, else its number: `in3`, `power1`.
    label: String,
    /// Whether the chip raises the alarm.
    alarm: Fact<bool>,
}

/// The fields that a chip's part answers.
#[derive(Serialize)]
struct Answer {
    temperatures: Fact<Vec<Temperature>>,
    fans: Fact<Vec<Fan>>,
    alarms: Fact<Vec<Alarm>>,
}

fn observe(source: &Source) -> Result<Thermal, Absent> {
    let none_if_missing = |names: Result<Vec<String>, Absent>| match names {
        Err(absent) if absent.reason == Reason::NotPresent => Ok(Vec::new()),
        names => names,
    };
    let zones = none_if_missing(source.names(ZONES));
    let chips = none_if_missing(source.names(CHIPS))?;
    Ok(Thermal {
        zones: Fact(zones.map(|names| {
            names.into_iter().filter(|name| name.starts_with("thermal_zone")).map(|name| zone(source, name)).collect()
        })),
        chips: chips.into_iter().filter(|name| name.starts_with("hwmon")).map(|name| chip(source, name)).collect(),
    })
}

fn zone(source: &Source, name: String) -> Zone {
    let folder = format!("{ZONES}/{name}");
    let points = source.names(&folder).unwrap_or_default();
    let critical = points
        .iter()
        .filter_map(|point| point.strip_suffix("_type")?.strip_prefix("trip_point_"))
        .find(|number| source.line(&format!("{folder}/trip_point_{number}_type")).is_ok_and(|kind| kind == "critical"));
    Zone {
        kind: Fact(source.line(&format!("{folder}/type"))),
        temperature_c: Fact(degrees(source, &format!("{folder}/temp"))),
        critical_c: Fact(match critical {
            Some(number) => degrees(source, &format!("{folder}/trip_point_{number}_temp")),
            None => Err(Absent::not_supported("the zone has no critical trip point")),
        }),
        name,
    }
}

/// A file that holds thousandths of a degree.
fn degrees(source: &Source, path: &str) -> Result<f64, Absent> {
    let value: i64 = source.number(path).map_err(unless_there)?;
    match MILLIDEGREES.contains(&value) {
        true => Ok(value as f64 / 1000.0),
        false => Err(Absent::failed(format!("{path}: {value} thousandths of a degree cannot be"))),
    }
}

/// The sensor is there; a file that it lacks is one that this chip does not have. One that is switched off, or whose
/// device sleeps, says "no data".
fn unless_there(absent: Absent) -> Absent {
    let no_data = ["no data", "no such device", "resource temporarily"].iter().any(|text| absent.detail.contains(text));
    match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        Reason::Failed if no_data => Absent::not_present(absent.detail),
        _ => absent,
    }
}

fn chip(source: &Source, name: String) -> Chip {
    let folder = format!("{CHIPS}/{name}");
    let device = source
        .link(&format!("{folder}/device"))
        .map(|target| target.rsplit('/').next().unwrap_or_default().to_string());
    Chip {
        kind: Fact(source.line(&format!("{folder}/name"))),
        device: Fact(device.map_err(|absent| match absent.reason {
            Reason::NotPresent => Absent::not_present("it belongs to no device"),
            _ => absent,
        })),
        temperatures: parts::pending(),
        fans: parts::pending(),
        alarms: parts::pending(),
        name,
    }
}

/// The part that asks the chip itself.
fn part<'a>(source: &'a Source, index: usize, chip: &Chip) -> Part<'a> {
    let label = match chip.kind.value() {
        Some(kind) => format!("sensors of {} ({kind})", chip.name),
        None => format!("sensors of {}", chip.name),
    };
    let place = Place::new(format!("/chips/{index}"), &["temperatures", "fans", "alarms"], label, CHIP_DEADLINE);
    let folder = format!("{CHIPS}/{}", chip.name);
    let ask = move || {
        let files: BTreeSet<String> = source.names(&folder)?.into_iter().collect();
        let sensors = Sensors { source, folder: &folder, files: &files };
        parts::fields(&Answer {
            temperatures: Fact(Ok(sensors.of("temp").map(|sensor| sensors.temperature(&sensor)).collect())),
            fans: Fact(Ok(sensors.of("fan").map(|sensor| sensors.fan(&sensor)).collect())),
            alarms: Fact(Ok(["in", "curr", "power"]
                .iter()
                .flat_map(|kind| sensors.of(kind))
                .filter_map(|sensor| sensors.other(&sensor))
                .collect())),
        })
    };
    (place, Box::new(ask))
}

/// The files of one chip (hwmon of the kernel's documentation, "sysfs interface").
struct Sensors<'s> {
    source: &'s Source,
    folder: &'s str,
    files: &'s BTreeSet<String>,
}

impl Sensors<'_> {
    /// The sensors of a kind: `temp1`, `temp10`.
    fn of(&self, kind: &str) -> impl Iterator<Item = String> {
        let number = |file: &String| {
            let number = file.strip_prefix(kind)?.split('_').next()?;
            number.parse::<u32>().ok()
        };
        let numbers: BTreeSet<u32> = self.files.iter().filter_map(number).collect();
        numbers.into_iter().map(move |number| format!("{kind}{number}")).collect::<Vec<_>>().into_iter()
    }

    fn label(&self, sensor: &str) -> String {
        let label = self.source.line(&format!("{}/{sensor}_label", self.folder));
        label.ok().filter(|label| !label.is_empty()).unwrap_or_else(|| sensor.to_string())
    }

    fn degrees(&self, sensor: &str, what: &str) -> Fact<f64> {
        Fact(degrees(self.source, &format!("{}/{sensor}_{what}", self.folder)))
    }

    fn number(&self, sensor: &str, what: &str) -> Fact<u64> {
        Fact(self.source.number(&format!("{}/{sensor}_{what}", self.folder)).map_err(unless_there))
    }

    /// Whether any of the alarms is raised; absent (not supported) for a sensor without any.
    fn alarm(&self, sensor: &str, alarms: &[&str]) -> Fact<bool> {
        let there = alarms.iter().map(|alarm| format!("{sensor}_{alarm}")).filter(|file| self.files.contains(file));
        let mut raised = Err(Absent::not_supported("it has no alarm"));
        for file in there {
            match self.source.number::<u8>(&format!("{}/{file}", self.folder)) {
                Ok(0) if raised.as_ref().is_err_and(|absent| absent.reason == Reason::NotSupported) => {
                    raised = Ok(false)
                }
                Ok(0) => {}
                Ok(_) => return Fact(Ok(true)),
                Err(absent) => raised = Err(unless_there(absent)),
            }
        }
        Fact(raised)
    }

    fn temperature(&self, sensor: &str) -> Temperature {
        Temperature {
            label: self.label(sensor),
            temperature_c: self.degrees(sensor, "input"),
            high_c: self.degrees(sensor, "max"),
            critical_c: self.degrees(sensor, "crit"),
            alarm: self.alarm(sensor, &["alarm", "max_alarm", "crit_alarm", "emergency_alarm"]),
        }
    }

    fn fan(&self, sensor: &str) -> Fan {
        Fan {
            label: self.label(sensor),
            rpm: self.number(sensor, "input"),
            min_rpm: self.number(sensor, "min"),
            alarm: self.alarm(sensor, &["alarm", "min_alarm", "fault"]),
        }
    }

    /// A sensor of which only the alarm counts, if it has one.
    fn other(&self, sensor: &str) -> Option<Alarm> {
        let names = ["alarm", "min_alarm", "max_alarm", "lcrit_alarm", "crit_alarm", "cap_alarm"];
        let has = names.iter().any(|alarm| self.files.contains(&format!("{sensor}_{alarm}")));
        has.then(|| Alarm { label: self.label(sensor), alarm: self.alarm(sensor, &names) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, tree_of};
    use serde_json::{Value, json};

    fn ask(files: &[(&str, &str)]) -> Value {
        let (_dir, source) = tree_of(files, Recorded::default());
        (PROBE.ask)(&source, &Value::Null, &Silent).unwrap()
    }

    #[test]
    fn sensors_are_read_chip_by_chip() {
        let thermal = ask(&[
            ("sys/class/hwmon/hwmon0/name", "coretemp\n"),
            ("sys/class/hwmon/hwmon0/temp1_input", "54000\n"),
            ("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n"),
            ("sys/class/hwmon/hwmon0/temp1_crit", "100000\n"),
            ("sys/class/hwmon/hwmon0/temp1_crit_alarm", "0\n"),
            ("sys/class/hwmon/hwmon0/temp10_input", "-500\n"),
            ("sys/class/hwmon/hwmon1/name", "nct6798\n"),
            ("sys/class/hwmon/hwmon1/fan2_input", "0\n"),
            ("sys/class/hwmon/hwmon1/fan2_min", "300\n"),
            ("sys/class/hwmon/hwmon1/fan2_alarm", "1\n"),
            ("sys/class/hwmon/hwmon1/in3_alarm", "0\n"),
            ("sys/class/hwmon/hwmon1/in3_input", "3300\n"),
            ("sys/class/hwmon/hwmon1/in4_input", "3300\n"),
        ]);
        let temperatures = &thermal["chips"][0]["temperatures"];
        assert_eq!(temperatures[0]["label"], "Package id 0");
        assert_eq!((&temperatures[0]["temperature_c"], &temperatures[0]["alarm"]), (&json!(54.0), &json!(false)));
        assert_eq!(temperatures[0]["high_c"]["absent"], "not_supported");
        assert_eq!((&temperatures[1]["label"], &temperatures[1]["temperature_c"]), (&json!("temp10"), &json!(-0.5)));
        let fans = &thermal["chips"][1]["fans"];
        assert_eq!(fans, &json!([{"label": "fan2", "rpm": 0, "min_rpm": 300, "alarm": true}]));
        assert_eq!(thermal["chips"][1]["alarms"], json!([{"label": "in3", "alarm": false}]));
    }

    #[test]
    fn zones_know_where_the_machine_is_switched_off() {
        let zone = "sys/class/thermal/thermal_zone0";
        let thermal = ask(&[
            (&format!("{zone}/type"), "x86_pkg_temp\n"),
            (&format!("{zone}/temp"), "61000\n"),
            (&format!("{zone}/trip_point_0_type"), "passive\n"),
            (&format!("{zone}/trip_point_0_temp"), "0\n"),
            (&format!("{zone}/trip_point_1_type"), "critical\n"),
            (&format!("{zone}/trip_point_1_temp"), "105000\n"),
            ("sys/class/thermal/cooling_device0/type", "Processor\n"),
        ]);
        assert_eq!(thermal["zones"][0]["critical_c"], 105.0);
        assert_eq!(thermal["zones"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (text, reason) in [("", "failed"), ("9999999\n", "failed"), ("\u{0}\u{1}", "failed"), ("hot", "failed")] {
            let thermal = ask(&[("sys/class/hwmon/hwmon0/temp1_input", text)]);
            assert_eq!(thermal["chips"][0]["temperatures"][0]["temperature_c"]["absent"], reason, "{text:?}");
        }
        let none = ask(&[("proc/version", "")]);
        assert_eq!(none, json!({"zones": [], "chips": []}));
    }
}
