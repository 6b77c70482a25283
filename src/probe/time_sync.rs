//! `time_sync`: what keeps the clock right, and how right it is.

use super::parts::Progress;
use super::source::{RecordedClock, Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "time_sync",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<TimeSync>,
    arguments: None,
    ask: |source, _, progress| answer(&observe(source, progress)),
};

/// Programs that set the clock. A virtual machine's guest tools may.
const KEEPERS: [(&str, &str); 9] = [
    ("chronyd", "chrony"),
    ("ntpd", "ntp"),
    ("systemd-timesyn", "timesyncd"),
    ("systemd-timesyncd", "timesyncd"),
    ("ntpd-rs", "ntpd-rs"),
    ("ptp4l", "ptp"),
    ("phc2sys", "ptp"),
    ("timemaster", "ptp"),
    ("vmtoolsd", "vmtools"),
];
/// Asks chrony for one line of fields, without looking names up.
const TRACKING: [&str; 4] = ["chronyc", "-n", "-c", "tracking"];
const TRACKING_TIMEOUT: Duration = Duration::from_secs(5);
/// adjtimex(2): nobody keeps the clock right.
const STA_UNSYNC: i32 = 0x40;
/// adjtimex(2): the offset is in nanoseconds, not microseconds.
const STA_NANO: i32 = 0x2000;

/// What keeps the clock right.
#[derive(Debug, Serialize, JsonSchema)]
struct TimeSync {
    /// Programs that run and keep the clock right, each once: `chrony`, `ntp`, `timesyncd`, `ptp`, `ntpd-rs`, `vmtools`
    /// (/proc/PID/comm).
    keepers: Fact<Vec<String>>,
    /// The kernel's own account (adjtimex(2)). Absent (not_present) where a recording does not have it.
    kernel: Fact<Kernel>,
    /// What chrony says (chronyc tracking). Absent (not_present) where it does not run.
    chrony: Fact<Chrony>,
    /// When systemd-timesyncd last heard a time server, in seconds before now (age of
    /// /run/systemd/timesync/synchronized). Absent (not_present) where it runs not or has not heard any since boot.
    timesyncd_age_seconds: Fact<u64>,
    /// Clocks of network adapters for PTP (/sys/class/ptp): their names. Empty where there is none.
    ptp_clocks: Vec<String>,
}

/// The kernel's clock.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Kernel {
    /// Whether something that knows the time keeps the clock right: the kernel drops this when nothing has for hours.
    synchronised: bool,
    /// What is still to be corrected, in seconds.
    offset_seconds: f64,
    /// How wrong the clock may be at most, in seconds; grows by itself between two corrections, up to 16.
    max_error_seconds: f64,
    /// How wrong it probably is, in seconds.
    estimated_error_seconds: f64,
    /// How far the international atomic time is ahead, in seconds: 37. Absent (not_supported) when nobody has set it.
    tai_offset_seconds: Fact<i64>,
}

/// chrony's account of itself.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Chrony {
    /// The time server that it follows, or its kind: an address, `PPS`, `PHC0`. Absent (not_present) when none.
    reference: Fact<String>,
    /// How far that is from a clock that knows the time; 0 when it follows none.
    stratum: u64,
    /// How far the system's clock is from the true time as chrony estimates it, in seconds; positive when it is behind.
    offset_seconds: f64,
    /// How wrong the clock may be at most by way of the network: half of the root delay and the root dispersion, in
    /// seconds.
    max_error_seconds: f64,
    /// `normal`, `insert second`, `delete second` or `not synchronised`.
    leap: String,
}

fn observe(source: &Source, progress: &dyn Progress) -> TimeSync {
    let keepers = keepers(source);
    let has_chrony = keepers.as_ref().map_or(true, |keepers| keepers.iter().any(|keeper| keeper == "chrony"));
    let chrony = match has_chrony {
        false => Err(Absent::not_present("chronyd does not run")),
        true => chrony(source, progress),
    };
    let heard = source.metadata("/run/systemd/timesync/synchronized", true).and_then(|found| {
        let recorded = source.recorded().map(|recorded| recorded.files.get("/run/systemd/timesync/synchronized"));
        let modified = match recorded {
            None => found.modified().map_err(|_| Absent::failed("no time of change"))?.into(),
            Some(Some(file)) if file.modified.is_some() => file.modified.unwrap_or_default(),
            Some(_) => return Err(Absent::not_present("its time of change was not recorded")),
        };
        Ok(source.now().signed_duration_since(modified).num_seconds().max(0).unsigned_abs())
    });
    TimeSync {
        kernel: Fact(kernel(source)),
        chrony: Fact(chrony),
        timesyncd_age_seconds: Fact(heard),
        ptp_clocks: source.names("/sys/class/ptp").unwrap_or_default(),
        keepers: Fact(keepers),
    }
}

fn keepers(source: &Source) -> Result<Vec<String>, Absent> {
    let keeper =
        |name: &str| KEEPERS.iter().find(|(program, _)| *program == name).map(|(_, keeper)| keeper.to_string());
    let found: BTreeSet<String> = source.programs()?.iter().filter_map(|(_, name)| keeper(name)).collect();
    Ok(found.into_iter().collect())
}

fn kernel(source: &Source) -> Result<Kernel, Absent> {
    let clock = match source.recorded() {
        Some(recorded) => recorded.clock.ok_or_else(|| Absent::not_present("the clock was not recorded"))?,
        None => adjtimex()?,
    };
    Ok(Kernel {
        synchronised: clock.status & STA_UNSYNC == 0 && clock.state != libc::TIME_ERROR,
        offset_seconds: clock.offset_ns as f64 / 1e9,
        max_error_seconds: clock.max_error_us as f64 / 1e6,
        estimated_error_seconds: clock.estimated_error_us as f64 / 1e6,
        tai_offset_seconds: Fact(match clock.tai_seconds {
            0 => Err(Absent::not_supported("nobody has told the kernel")),
            seconds => Ok(i64::from(seconds)),
        }),
    })
}

/// Asks the kernel without changing anything. It is the same clock below every root.
fn adjtimex() -> Result<RecordedClock, Absent> {
    // SAFETY: all zeros is a valid timex, and with no mode the call only fills it in.
    let (state, clock) = unsafe {
        let mut clock: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut clock), clock)
    };
    if state < 0 {
        let error = std::io::Error::last_os_error();
        return Err(super::source::absent_from_io("adjtimex", &error));
    }
    let unit = if clock.status & STA_NANO != 0 { 1 } else { 1000 };
    Ok(RecordedClock {
        state,
        status: clock.status,
        offset_ns: clock.offset.saturating_mul(unit),
        max_error_us: clock.maxerror,
        estimated_error_us: clock.esterror,
        tai_seconds: clock.tai,
    })
}

fn chrony(source: &Source, progress: &dyn Progress) -> Result<Chrony, Absent> {
    let argv = TRACKING.map(str::to_string);
    let output = source.command(&argv, TRACKING_TIMEOUT, 64 << 10, &|group| progress.started(group))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    tracking(line).ok_or_else(|| {
        let said =
            if line.is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { line.to_string() };
        Absent::failed(format!("chronyc tracking: {}", clipped(said.trim())))
    })
}

/// `ID,reference,stratum,time,offset,last offset,RMS offset,frequency,residual,skew,root delay,root dispersion,
/// interval,leap status`. The system's clock is fast by `offset` when that is positive.
fn tracking(line: &str) -> Option<Chrony> {
    let fields: Vec<&str> = line.split(',').collect();
    let [_, reference, stratum, _, offset, _, _, _, _, _, delay, dispersion, _, leap] = fields[..] else { return None };
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    Some(Chrony {
        reference: Fact(match reference {
            "" => Err(Absent::not_present("it follows none")),
            reference => Ok(reference.to_string()),
        }),
        stratum: stratum.parse().ok()?,
        offset_seconds: number(offset)?,
        max_error_seconds: Some(number(delay)? / 2.0 + number(dispersion)?).filter(|error| *error >= 0.0)?,
        leap: leap.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::parts::Silent;
    use crate::probe::source::tree_of;

    #[test]
    fn chronys_line_is_read_and_anything_else_is_not() {
        let line = "0A1F0003,10.31.0.3,3,1795162487.112,-0.000012074,0.000004,0.00002,-12.8,-0.001,0.018,0.0002,0.0003,1030.8,Normal";
        let chrony = tracking(line).unwrap();
        assert_eq!((chrony.stratum, chrony.leap.as_str()), (3, "normal"));
        assert!((chrony.max_error_seconds - 0.0004).abs() < 1e-9);
        let none = tracking("7F7F0101,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised").unwrap();
        assert_eq!(none.reference.0.unwrap_err().reason, Reason::NotPresent);
        let less_than_nothing = line.replace("0.0003", "-4e9");
        for text in ["", "506 Cannot talk to daemon", "a,b,c", &less_than_nothing, &"9,".repeat(100_000), "\u{0}"] {
            assert_eq!(tracking(text), None);
        }
    }

    #[test]
    fn the_kernel_and_its_keepers_are_told() {
        let yaml = "recorded: 2026-01-01T00:10:00Z\nclock: {state: 5, status: 0x2041, offset_ns: -2500000, max_error_us: 16000000}\nfiles: {/run/systemd/timesync/synchronized: {modified: 2026-01-01T00:00:00Z}}\n";
        let recorded = serde_yaml::from_str(yaml).unwrap();
        let files = [
            ("proc/7/comm", "systemd-timesyn\n"),
            ("proc/8/comm", "sshd\n"),
            ("proc/9/stat", "9 (ptp4l) S 1"),
            ("run/systemd/timesync/synchronized", ""),
        ];
        let (_dir, source) = tree_of(&files, recorded);
        let seen = observe(&source, &Silent);
        assert_eq!(seen.keepers.0.unwrap(), ["ptp", "timesyncd"]);
        let kernel = seen.kernel.0.unwrap();
        assert_eq!((kernel.synchronised, kernel.offset_seconds, kernel.max_error_seconds), (false, -0.0025, 16.0));
        assert_eq!(seen.timesyncd_age_seconds, Fact(Ok(600)));
        assert_eq!(seen.chrony.0.unwrap_err().reason, Reason::NotPresent);
    }

    #[test]
    fn the_clock_of_this_machine_answers() {
        assert!(adjtimex().is_ok_and(|clock| clock.max_error_us >= 0));
    }
}
