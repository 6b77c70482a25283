//! `kernel_log`: what the kernel log says happened since boot.

mod lines;
mod when;

use super::parts::Progress;
use super::pci;
use super::source::{Source, absent_from_io, clipped};
use super::{PROBE_DEADLINE, Probe, answer, first_present, schema_of};
use crate::fact::{Absent, Fact, Reason};
use crate::knowledge::{Class, EventClass, Severity};
use lines::Lines;
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};
use when::Clock;

pub(super) const PROBE: Probe = Probe {
    name: "kernel_log",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<KernelLog>,
    arguments: None,
    ask: |source, _, progress| {
        let mut log = observe(source, progress)?;
        log.name_devices(source);
        answer(&log)
    },
};

const KMSG: &str = "/dev/kmsg";
/// The kernel writes no longer record than 8 KiB (CONSOLE_EXT_LOG_MAX).
const LONGEST_RECORD: usize = 16 << 10;
/// A log that is written faster than it is read would never end.
const KMSG_PATIENCE: Duration = Duration::from_secs(3);

const JOURNAL: [&str; 6] = ["journalctl", "-k", "-b", "-o", "short-unix", "--no-pager"];
/// Leaves time for the files after it.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(5);
const JOURNAL_CAP: usize = 64 << 20;

/// What is read of a file at a time. A longer line is taken for several.
const CHUNK: usize = 1 << 20;

/// The kernel log since boot: what it shows of faults in hardware, drivers, file systems and memory, and most of all what
/// the NVIDIA driver and its NVSwitches reported (Xid, SXid and other errors).
///
/// It is read from /dev/kmsg. Where that is denied, or has been overwritten from its beginning, the journal is asked
/// (`journalctl -k -b`), then /var/log/kern.log and /var/log/messages; the one that reaches back farthest counts. Absent
/// (denied) when none may be read, which usually takes root.
#[derive(Debug, Serialize, JsonSchema)]
struct KernelLog {
    /// Where it was read from.
    source: Origin,
    /// The file or command it was read from.
    path: String,
    /// Whether it begins at boot. If not, what it does not show may still have happened before `since_seconds`.
    complete: bool,
    /// When its first line was written, in seconds after boot. Absent where its lines tell no time.
    since_seconds: Fact<u64>,
    /// When its last line was written, in seconds after boot. Absent where its lines tell no time.
    until_seconds: Fact<u64>,
    /// Lines that were looked through.
    lines_count: u64,
    /// When the last load of the NVIDIA driver began, in seconds after boot. What it reported before that is history.
    /// Absent (not_present) when the log does not show it.
    driver_loaded_seconds: Fact<u64>,
    /// Errors that the driver reported with an Xid code, by their first line.
    xids: Vec<Xid>,
    /// Errors that the driver's NVSwitches reported with an SXid code, by their first line.
    sxids: Vec<Sxid>,
    /// Other lines of the driver that say what is broken, by their first line.
    nvrm_errors: Vec<NvrmError>,
    /// Everything that happened, of all classes, by its first line.
    events: Vec<LogEvent>,
    /// Lines of errors that are in none of these lists, because there were more than a thousand different ones.
    left_out_count: u64,
}

/// Where a kernel log was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Origin {
    /// The kernel itself: /dev/kmsg.
    Kmsg,
    /// The systemd journal.
    Journal,
    /// A file below /var/log.
    File,
    /// The recording of a machine.
    Recorded,
}

/// An Xid: an error of a GPU, as the driver reports it.
///
/// Lines that say the same are one entry. Of one code and GPU at most 32 different texts are kept; all further lines
/// then count in the last of them.
#[derive(Debug, Serialize, JsonSchema)]
struct Xid {
    /// The Xid code: 79.
    code: u32,
    /// PCI address of the GPU: `0000:9c:00.0`. Absent (failed) where the line's is garbled.
    pci: Fact<String>,
    /// What it means, in a few words.
    title: String,
    /// How bad it is. Words of the line outrank the code.
    severity: Severity,
    /// What to do.
    action: String,
    /// What it means, in sentences. Absent (not_present) where the code is in no catalogue.
    meaning: Fact<String>,
    /// Where the fault is. Absent (not_present) where the code is in no catalogue.
    fault: Fact<Class>,
    /// The part of the GPU: `GPC 9 TPC 5 SM 0`, `link 6`, a row of memory. Absent (not_present) where the line names none.
    unit: Fact<String>,
    /// What it is a consequence of: `Xid 79`. Absent (not_present) where the log shows no cause.
    caused_by: Fact<String>,
    /// When it was reported first, in seconds after boot. Absent where the line tells no time.
    seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    time: Fact<String>,
    /// When it was reported last, in seconds after boot.
    last_seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    last_time: Fact<String>,
    /// What the line says after code and process, at most 300 characters.
    message: String,
    /// Process id that the driver blames. Absent (not_present) where it names none.
    pid: Fact<u64>,
    /// Name of that process. Absent (not_present) where the driver names none.
    process: Fact<String>,
    /// How many such lines there are.
    count: u64,
}

/// An SXid: an error of an NVSwitch, as the driver reports it.
///
/// Lines that say the same are one entry, as for an Xid. The lines with severity and data that follow each are left out.
#[derive(Debug, Serialize, JsonSchema)]
struct Sxid {
    /// The SXid code: 20034.
    code: u32,
    /// PCI address of the NVSwitch: `0000:6b:00.0`. Absent (failed) where the line's is garbled.
    pci: Fact<String>,
    /// What it means, in a few words.
    title: String,
    /// How bad it is. Words of the line outrank the code.
    severity: Severity,
    /// Number of the NVSwitch's link. Absent (not_present) where the line names none.
    link: Fact<u32>,
    /// Whether the line calls it fatal. Absent (not_present) where it says neither.
    fatal: Fact<bool>,
    /// When it was reported first, in seconds after boot. Absent where the line tells no time.
    seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    time: Fact<String>,
    /// When it was reported last, in seconds after boot.
    last_seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    last_time: Fact<String>,
    /// What the line says after the code and whether it is fatal, at most 300 characters.
    message: String,
    /// How many such lines there are.
    count: u64,
}

/// Something that happened.
///
/// Lines that say the same of the same thing are one entry. Where only their text tells them apart, at most 32 of a kind
/// are kept; all further ones then count in the last of them.
#[derive(Debug, Serialize, JsonSchema)]
struct LogEvent {
    /// What it is about.
    class: EventClass,
    /// The id of the kind of line, which stays when its title is put better: `link.down`, `ib.module` (`punchlist
    /// explain` knows them). Absent (not_present) for what its code tells.
    row: Fact<String>,
    /// The Xid or SXid code. Absent (not_present) for other classes.
    code: Fact<u32>,
    /// PCI address of the device, or of the port that reports it: `0000:9c:00.0`. Absent (not_present) where the line
    /// names none.
    pci: Fact<String>,
    /// Name of the device, interface, file system or server: `eth0`, `nvme0`, `sda1`; for an error that a PCIe port
    /// reports, the PCI address of the device behind it.
    device: Fact<String>,
    /// The part of the device: `GPC 9 TPC 5 SM 0`, `link 6`, a DIMM, a CPU.
    unit: Fact<String>,
    /// The function of the kernel that ran then. Absent (not_present) where no stack follows.
    function: Fact<String>,
    /// The module of the kernel that this function is of: `mlx5_core`. Absent (not_present) for one of the kernel itself.
    module: Fact<String>,
    /// How bad it is.
    severity: Severity,
    /// What it is, in a few words.
    title: String,
    /// What to do.
    action: String,
    /// The first line that says it, at most 300 characters.
    line: String,
    /// When it was written first, in seconds after boot. Absent where the line tells no time.
    seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    time: Fact<String>,
    /// When it was written last, in seconds after boot.
    last_seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    last_time: Fact<String>,
    /// Process id that is blamed or hit. Absent (not_present) where the line names none.
    pid: Fact<u64>,
    /// Name of that process.
    process: Fact<String>,
    /// What it is a consequence of: `Xid 79`. Absent (not_present) where the log shows no cause.
    caused_by: Fact<String>,
    /// What ended it: the server answers again, the driver was loaded again. Absent (not_present) where nothing did.
    cleared: Fact<String>,
    /// How often it happened.
    count: u64,
}

/// What the driver said is broken in a line without a code.
#[derive(Debug, Serialize, JsonSchema)]
struct NvrmError {
    /// What kind of error it is.
    kind: NvrmKind,
    /// PCI address of the GPU. Absent (not_present) where the line names none.
    pci: Fact<String>,
    /// When it was reported first, in seconds after boot. Absent where the line tells no time.
    seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    time: Fact<String>,
    /// When it was reported last, in seconds after boot.
    last_seconds: Fact<u64>,
    /// The same, as a moment (RFC 3339, UTC).
    last_time: Fact<String>,
    /// What the driver wrote, its several lines joined, at most 300 characters.
    text: String,
    /// What ended the start of a GPU, in words, where the driver tells it by number: `RmInitAdapter failed! (0x62:0x51:…)`
    /// is `out of memory`. Absent (not_present) for other lines, and for numbers that say no more than that it failed.
    status: Fact<String>,
    /// How often it did.
    count: u64,
}

/// Kinds of errors that the driver reports without a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum NvrmKind {
    /// A GPU does not answer on the PCI bus any more.
    OffBus,
    /// A GPU could not be initialised.
    InitFailed,
    /// The libraries are of another version than the kernel module.
    VersionMismatch,
    /// The kernel module found no GPU.
    NoGpu,
    /// The kernel module could not take a GPU.
    ProbeFailed,
    /// Another driver holds a GPU.
    OtherDriver,
    /// This driver does not support a GPU.
    NotSupported,
    /// The driver's open kernel modules support a GPU, the proprietary ones, which are loaded, do not.
    OpenModulesNeeded,
    /// A GPU lacks its power cable.
    PowerCable,
    /// A GPU, or its GSP, still holds the state of an earlier driver or error and has to be reset.
    ResetNeeded,
    /// The driver's firmware files are not installed.
    FirmwareMissing,
    /// The firmware gave a GPU no memory region or interrupt.
    NoResources,
    /// The GPU's own processor (GSP, PMU) stopped or did not start.
    Firmware,
}

impl KernelLog {
    /// Says of errors that a PCIe port reports which device is behind it, where the line does not.
    fn name_devices(&mut self, source: &Source) {
        for event in self.events.iter_mut().filter(|event| event.class == EventClass::Aer) {
            if let (Some(port), None) = (event.pci.value(), event.device.value())
                && let Some(device) = pci::below(source, port)
            {
                event.device = Fact(Ok(device));
            }
        }
    }
}

fn observe(source: &Source, progress: &dyn Progress) -> Result<KernelLog, Absent> {
    let clock = Clock::new(source);
    if let Some(recorded) = source.recorded() {
        let text = recorded.kernel_log.as_deref().ok_or_else(|| not_recorded("the recording has no `kernel_log`"));
        let ways = [
            text.map(|text| whole(&clock, Origin::Recorded, "kernel_log", text.as_bytes())),
            file(source, &clock, "/var/log/dmesg"),
            journal(source, &clock, progress),
            file(source, &clock, "/var/log/kern.log"),
            file(source, &clock, "/var/log/messages"),
        ];
        let found = first_present(ways).0;
        return found.map_err(|absent| match absent.reason {
            Reason::NotPresent => not_recorded("no kernel log was recorded"),
            _ => absent,
        });
    }
    let kmsg = kmsg(source, &clock);
    if kmsg.as_ref().is_ok_and(|log| log.complete) {
        return kmsg;
    }
    // /var/log/dmesg is written once, after booting: of what happened since it says nothing.
    let files = ["/var/log/kern.log", "/var/log/messages"];
    let files = files.into_iter().map(|path| file(source, &clock, path));
    let mut refused = Vec::new();
    for other in std::iter::once_with(|| journal(source, &clock, progress)).chain(files) {
        match (other, &kmsg) {
            (Ok(other), Ok(kmsg)) if !reaches_back_farther(&other, kmsg) => {}
            (Ok(other), _) => return Ok(other),
            (Err(absent), _) => refused.push(Err(absent)),
        }
    }
    first_present(std::iter::once(kmsg).chain(refused)).0
}

fn not_recorded(detail: &str) -> Absent {
    Absent::new(Reason::NotRecorded, detail)
}

/// Whether another log shows more of the past than the kernel's own and nothing less of the present: a logging service
/// may have died.
fn reaches_back_farther(other: &KernelLog, kmsg: &KernelLog) -> bool {
    let earlier = match (other.since_seconds.value(), kmsg.since_seconds.value()) {
        (Some(other), Some(kmsg)) => other < kmsg,
        _ => false,
    };
    let as_late = match (other.until_seconds.value(), kmsg.until_seconds.value()) {
        (Some(other), Some(kmsg)) => other.saturating_add(60) >= *kmsg,
        _ => false,
    };
    earlier && as_late
}

/// The kernel's own log: one record a read (Documentation/ABI/testing/dev-kmsg).
fn kmsg(source: &Source, clock: &Clock) -> Result<KernelLog, Absent> {
    let mut file = source.open(KMSG)?;
    let keep = |_: &[u8]| true;
    let mut lines = Lines::new(clock, &keep, false);
    let mut record = vec![0; LONGEST_RECORD];
    let began = Instant::now();
    while began.elapsed() < KMSG_PATIENCE {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => lines.record(&record[..length]),
            Err(error) => match error.kind() {
                // Overwritten before it was read: the next read goes on with what is left.
                ErrorKind::BrokenPipe => lines.lost_some(),
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => break,
                _ if lines.is_empty() => return Err(absent_from_io(KMSG, &error)),
                _ => break,
            },
        }
    }
    match lines.is_empty() {
        true => Err(Absent::not_present(format!("{KMSG}: empty"))),
        false => Ok(lines.into_log(Origin::Kmsg, KMSG)),
    }
}

fn journal(source: &Source, clock: &Clock, progress: &dyn Progress) -> Result<KernelLog, Absent> {
    let argv = JOURNAL.map(ToString::to_string);
    let output = source.command(&argv, JOURNAL_TIMEOUT, JOURNAL_CAP, &|group| progress.started(group))?;
    let log = whole(clock, Origin::Journal, &argv.join(" "), &output.stdout);
    if log.since_seconds.0.is_ok() {
        return Ok(log);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    // It exits with 0 where it shows nothing because nothing may be seen.
    if stderr.contains("ermission") || stderr.contains("not seeing messages") {
        return Err(Absent::denied("the journal: needs root, or membership of the group systemd-journal"));
    }
    match (output.exit, stderr.lines().last()) {
        (Some(0), _) => Err(Absent::not_present("the journal holds no kernel lines of this boot")),
        (_, said) => Err(Absent::failed(format!("journalctl: {}", clipped(said.unwrap_or("no answer"))))),
    }
}

/// A log file, however long, a piece at a time.
fn file(source: &Source, clock: &Clock, path: &str) -> Result<KernelLog, Absent> {
    let mut file = source.open(path)?;
    let keep = |prefix: &[u8]| is_of_this_boot(clock, prefix);
    // Whoever can write to the system log could otherwise make up what the kernel said.
    let mut lines = Lines::new(clock, &keep, path.ends_with("messages"));
    let mut chunk = vec![0; CHUNK];
    let mut kept = 0;
    loop {
        let length = match file.read(&mut chunk[kept..]) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(absent_from_io(path, &error)),
        };
        let filled = kept + length;
        if length == 0 {
            lines.text(&chunk[..filled]);
            break;
        }
        let end = match memchr::memrchr(b'\n', &chunk[..filled]) {
            Some(end) => end + 1,
            None if filled == CHUNK => CHUNK,
            None => 0,
        };
        lines.text(&chunk[..end]);
        chunk.copy_within(end..filled, 0);
        kept = filled - end;
    }
    match lines.is_empty() {
        true => Err(Absent::not_present(format!("{path}: empty"))),
        false => Ok(lines.into_log(Origin::File, path)),
    }
}

/// A log that is in memory as a whole.
fn whole(clock: &Clock, origin: Origin, path: &str, text: &[u8]) -> KernelLog {
    let keep = |prefix: &[u8]| is_of_this_boot(clock, prefix);
    let mut lines = Lines::new(clock, &keep, false);
    lines.text(text);
    lines.into_log(origin, path)
}

/// Whether a line was written since boot, as far as what stands before its message tells.
fn is_of_this_boot(clock: &Clock, prefix: &[u8]) -> bool {
    !clock.read(&String::from_utf8_lossy(prefix)).is_some_and(|when| clock.is_before_boot(when))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, RecordedCommand};
    use std::fs;
    use std::path::Path;

    const XID: &str = "NVRM: Xid (PCI:0000:9c:00): 79, pid=1, name=x, GPU has fallen off the bus.";

    fn put(dir: &Path, path: &str, text: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn journal(exit: i32, stdout: String, stderr: &str) -> Recorded {
        let argv = JOURNAL.map(ToString::to_string).to_vec();
        let stderr = stderr.to_string();
        let command = RecordedCommand { argv, exit, stdout, stderr, absent: None, detail: String::new() };
        Recorded { recorded: "2026-01-21T12:00:00Z".parse().unwrap(), commands: vec![command], ..Default::default() }
    }

    #[test]
    fn a_recording_speaks_before_its_files() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "var/log/dmesg", &format!("[    0.000000] Linux version 6.8\n[    9.0] {XID}\n"));
        let log = observe(&Source::dead(dir.path(), Recorded::default()), &Silent).unwrap();
        assert_eq!((log.source, log.path.as_str(), log.complete), (Origin::File, "/var/log/dmesg", true));
        assert_eq!((log.xids.len(), log.xids[0].seconds.value()), (1, Some(&9)));
        let recorded = Recorded { kernel_log: Some("[  100.0] hello\n[  200.0] world".into()), ..Default::default() };
        let log = observe(&Source::dead(dir.path(), recorded), &Silent).unwrap();
        assert_eq!((log.source, log.complete, log.lines_count), (Origin::Recorded, false, 2));
        assert_eq!((log.since_seconds.value(), log.until_seconds.value()), (Some(&100), Some(&200)));
        assert_eq!(log.driver_loaded_seconds.0.unwrap_err().reason, Reason::NotPresent);
    }

    #[test]
    fn the_journal_is_turned_into_seconds_since_boot() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "proc/uptime", "43200.50 0.00\n");
        let stdout = format!("-- Boot --\n1768953600.0 n kernel: Linux version 6.8\n1768953677.5 n kernel: {XID}\n");
        let log = observe(&Source::dead(dir.path(), journal(0, stdout, "")), &Silent).unwrap();
        assert_eq!((log.source, log.complete), (Origin::Journal, true));
        assert_eq!((log.xids[0].seconds.value(), log.since_seconds.value()), (Some(&77), Some(&0)));
        assert_eq!(log.xids[0].time, Fact(Ok("2026-01-21T00:01:17Z".into())));
    }

    #[test]
    fn a_log_that_cannot_be_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let ask = |recorded| observe(&Source::dead(dir.path(), recorded), &Silent).unwrap_err();
        assert_eq!(ask(Recorded::default()).reason, Reason::NotRecorded);
        let hint = "Hint: You are currently not seeing messages from other users and the system.\n";
        assert_eq!(ask(journal(0, String::new(), hint)).reason, Reason::Denied);
        assert_eq!(ask(journal(1, String::new(), "bad\n")), Absent::failed("journalctl: bad"));
    }

    #[test]
    fn another_log_counts_only_when_it_shows_more() {
        let source = Source::dead(Path::new("/nowhere"), Recorded::default());
        let log = |first: u32, last: u32| {
            whole(&Clock::new(&source), Origin::File, "log", format!("[ {first}.0] a\n[ {last}.0] b\n").as_bytes())
        };
        let kmsg = log(1000, 9000);
        assert!(reaches_back_farther(&log(0, 8950), &kmsg));
        assert!(!reaches_back_farther(&log(1000, 9000), &kmsg));
        // Whoever wrote it died an hour ago.
        assert!(!reaches_back_farther(&log(0, 5400), &kmsg));
    }

    #[test]
    fn what_programs_write_to_the_system_log_is_not_taken_for_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "proc/uptime", "43200.50 0.00\n");
        let when = "2026-01-21T00:01:17+00:00 node7";
        let old = "2026-01-20T00:01:17+00:00 node7";
        put(
            dir.path(),
            "var/log/messages",
            &format!("{old} kernel: {XID}\n{when} nhc: found {XID}\n{when} kernel: {XID}\n{when} kernel: {XID}\n"),
        );
        let recorded = Recorded { recorded: "2026-01-21T12:00:00Z".parse().unwrap(), ..Default::default() };
        let log = observe(&Source::dead(dir.path(), recorded), &Silent).unwrap();
        assert_eq!((log.xids.len(), log.xids[0].count, log.xids[0].seconds.value()), (1, 2, Some(&77)));
        // It began before this boot, so it has all of it.
        assert!(log.complete);
    }

    #[test]
    fn a_file_is_read_in_pieces_that_cut_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = "[    0.000000] Linux version 6.8\n".to_string();
        while text.len() < 3 * CHUNK {
            text += "[   12.0] a line without interest\n";
            text += &format!("[   13.0] {XID}\n");
        }
        text += &"x".repeat(CHUNK + 7);
        put(dir.path(), "var/log/dmesg", &text);
        let log = observe(&Source::dead(dir.path(), Recorded::default()), &Silent).unwrap();
        assert_eq!(log.xids.len(), 1);
        assert_eq!(log.xids[0].count, text.matches("Xid").count() as u64);
    }
}
