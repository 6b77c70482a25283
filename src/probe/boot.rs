//! `boot`: how the previous boot ended, and what it left behind.

use super::parts::Progress;
use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "boot",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Boot>,
    arguments: None,
    ask: |source, _, progress| answer(&observe(source, progress)),
};

const WTMP: &str = "/var/log/wtmp";
/// What is read from the end of it: the last 2,700 logins and boots.
const WTMP_TAIL: u64 = 1 << 20;
/// Size of a record with times of 32 bits (x86, POWER), and with times of 64 bits (Arm).
const RECORD: usize = 384;
const LONG_RECORD: usize = 400;
/// By how much the boot in the list and that of the kernel may differ: the clock is often set after a boot.
const SAME_BOOT: TimeDelta = TimeDelta::minutes(15);

const JOURNAL: &str = "/var/log/journal";
const JOURNAL_END: [&str; 8] = ["journalctl", "-b", "-1", "-n", "60", "-o", "cat", "--no-pager"];
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(5);
const JOURNAL_CAP: usize = 256 << 10;

const BERT: &str = "/sys/firmware/acpi/tables/BERT";
const BERT_DATA: &str = "/sys/firmware/acpi/tables/data/BERT";
/// What firmware sets aside for it; some kilobytes on real machines.
const BERT_CAP: u64 = 1 << 20;
/// More records than one crash leaves.
const MOST_SECTIONS: usize = 64;

const CRASHES: &str = "/var/crash";
const SAVED_RECORDS: &str = "/var/lib/systemd/pstore";

/// How the previous boot ended, and what it left behind. What the firmware keeps of a crash of the kernel is in
/// `kernel.crash_records`.
#[derive(Debug, Serialize, JsonSchema)]
struct Boot {
    /// How the previous boot ended (/var/log/wtmp, else the end of its journal). Absent (not present) where nothing tells
    /// of an earlier boot, as on nodes that boot without a disk.
    previous_end: Fact<End>,
    /// When the previous boot began (RFC 3339, UTC; /var/log/wtmp).
    previous_time: Fact<String>,
    /// How often the node was booted in the 24 hours before it was asked (/var/log/wtmp).
    boots_last_day: Fact<u64>,
    /// How many of these boots followed one that was not shut down.
    unclean_last_day: Fact<u64>,
    /// What the firmware kept of an error of the hardware that ended the previous boot (the ACPI table BERT,
    /// /sys/firmware/acpi/tables/data/BERT). An empty list when it kept nothing. Absent (not present) for firmware without
    /// that table, (not supported) before Linux 4.15, (denied) for others than root.
    firmware_errors: Fact<Vec<FirmwareError>>,
    /// Dumps that crashed kernels have left (folders and files below /var/crash with a vmcore or dump in them).
    crash_dumps: Fact<Vec<CrashDump>>,
    /// Crash records of earlier boots that systemd has moved out of the firmware's store (/var/lib/systemd/pstore).
    saved_crash_records: Fact<Vec<String>>,
}

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum End {
    /// It was shut down or restarted by somebody.
    ShutDown,
    /// Without any word: a crash, a reset, or the power went.
    Abrupt,
}

/// An error of the hardware that the firmware kept over the restart (a section of a common platform error record).
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct FirmwareError {
    /// What failed: `processor`, `memory`, `pcie`, `pci_bus`, `firmware`, `arm_processor`; else the section's GUID.
    kind: String,
    /// How bad it was: `recoverable`, `fatal`, `corrected` or `informational`.
    severity: String,
    /// The part that failed, as the firmware calls it. Absent (not supported) where it does not say it.
    part: Fact<String>,
    /// The PCI address of what failed. Absent (not supported) for other kinds than pcie.
    pci: Fact<String>,
}

/// What a crashed kernel has left.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct CrashDump {
    /// Its folder or file.
    path: String,
    /// When it was written (RFC 3339, UTC).
    time: Fact<String>,
    /// How long before the node was asked, in seconds.
    age_seconds: Fact<u64>,
}

fn observe(source: &Source, progress: &dyn Progress) -> Boot {
    let boots = wtmp(source);
    let now = source.now();
    let day = boots.as_ref().map_err(Clone::clone).map(|boots| {
        boots.iter().filter(|boot| now - boot.time < TimeDelta::days(1) && boot.time <= now).collect::<Vec<_>>()
    });
    let previous = boots.as_ref().map_err(Clone::clone).and_then(|boots| previous(source, boots));
    let previous_end = match &previous {
        Err(absent) if absent.reason == Reason::NotPresent => journal_end(source, progress),
        Err(absent) => Err(absent.clone()),
        // The last of the list is this boot, and knows how the one before ended.
        Ok((_, end)) => Ok(*end),
    };
    Boot {
        previous_end: Fact(previous_end),
        previous_time: Fact(previous.map(|(time, _)| stamp(time))),
        boots_last_day: Fact(day.clone().map(|boots| boots.len() as u64)),
        unclean_last_day: Fact(
            day.map(|boots| boots.iter().filter(|boot| boot.before == Some(End::Abrupt)).count() as u64),
        ),
        firmware_errors: Fact(firmware_errors(source)),
        crash_dumps: Fact(crash_dumps(source)),
        saved_crash_records: Fact(match source.names(SAVED_RECORDS) {
            Err(absent) if absent.reason == Reason::NotPresent => Ok(Vec::new()),
            names => names,
        }),
    }
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A boot in the list of logins.
#[derive(Debug, PartialEq)]
struct Booted {
    time: DateTime<Utc>,
    /// How the one before it in the list ended.
    before: Option<End>,
}

fn wtmp(source: &Source) -> Result<Vec<Booted>, Absent> {
    let failed = |error: std::io::Error| super::source::absent_from_io(WTMP, &error);
    let mut file = source.open(WTMP)?;
    let length = file.metadata().map_err(failed)?.len();
    let sizes = match super::host::architecture(source).as_deref().unwrap_or_default() {
        "aarch64" => [LONG_RECORD, RECORD],
        _ => [RECORD, LONG_RECORD],
    };
    for size in sizes.into_iter().filter(|size| length.is_multiple_of(*size as u64)) {
        // Whole records from the end, so that the last one is.
        let from = length.saturating_sub(WTMP_TAIL).next_multiple_of(size as u64);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.by_ref().take(WTMP_TAIL).read_to_end(&mut bytes).map_err(failed)?;
        if let Some(boots) = boots(&bytes, size) {
            return Ok(boots);
        }
    }
    Err(Absent::failed(format!("{WTMP}: not a list of logins")))
}

/// The boots in these records (utmp(5)), if all of them are records of that size.
fn boots(bytes: &[u8], size: usize) -> Option<Vec<Booted>> {
    // Records of the other size would read as ones of no kind here and there.
    if !bytes.len().is_multiple_of(size) {
        return None;
    }
    let mut boots: Vec<Booted> = Vec::new();
    let mut shut_down = false;
    for record in bytes.chunks_exact(size) {
        let kind = i16::from_le_bytes(record[..2].try_into().ok()?);
        if !(0..=9).contains(&kind) {
            return None;
        }
        let seconds = match size {
            RECORD => i64::from(i32::from_le_bytes(record[340..344].try_into().ok()?)),
            _ => i64::from_le_bytes(record[344..352].try_into().ok()?),
        };
        let user = record[44..76].split(|byte| *byte == 0).next()?;
        match (kind, user) {
            (1, b"shutdown") => shut_down = true,
            (2, _) => {
                let end = if shut_down { End::ShutDown } else { End::Abrupt };
                let before = (!boots.is_empty()).then_some(end);
                boots.push(Booted { time: DateTime::from_timestamp(seconds, 0)?, before });
                shut_down = false;
            }
            _ => {}
        }
    }
    Some(boots)
}

/// When the boot before this one began, and how it ended.
fn previous(source: &Source, boots: &[Booted]) -> Result<(DateTime<Utc>, End), Absent> {
    let [.., before, this] = boots else {
        return Err(Absent::not_present(format!("{WTMP} tells of no earlier boot")));
    };
    let uptime = source.line("/proc/uptime")?;
    let seconds = uptime.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.ok_or_else(|| Absent::failed("/proc/uptime: expected seconds"))?;
    let booted = source.now() - TimeDelta::try_seconds(seconds).unwrap_or_default();
    if (booted - this.time).abs() > SAME_BOOT {
        return Err(Absent::not_present(format!(
            "{WTMP} does not tell of this boot; its last one was {}",
            stamp(this.time)
        )));
    }
    let end = this.before.ok_or_else(|| Absent::not_present(format!("{WTMP} begins with this boot")))?;
    Ok((before.time, end))
}

/// What the end of the previous boot's journal says, where no list of logins does.
fn journal_end(source: &Source, progress: &dyn Progress) -> Result<End, Absent> {
    if source.names(JOURNAL).unwrap_or_default().is_empty() {
        return Err(Absent::not_present("nothing tells of an earlier boot: no list of logins, no lasting journal"));
    }
    let argv = JOURNAL_END.map(ToString::to_string);
    let output = source.command(&argv, JOURNAL_TIMEOUT, JOURNAL_CAP, &|group| progress.started(group))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.exit != Some(0) || text.trim().is_empty() {
        return Err(Absent::not_present("the journal tells of no earlier boot"));
    }
    let last_words = ["systemd-shutdown", "Journal stopped", "Shutting down.", "Reached target System ", "Rebooting."];
    let goodbye = text.lines().any(|line| last_words.iter().any(|words| line.contains(words)));
    Ok(if goodbye { End::ShutDown } else { End::Abrupt })
}

fn firmware_errors(source: &Source) -> Result<Vec<FirmwareError>, Absent> {
    if !source.exists(BERT) {
        return Err(Absent::not_present("the firmware keeps no errors of a boot (no ACPI table BERT)"));
    }
    let (bytes, _) = source.bytes(BERT_DATA, BERT_CAP).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    })?;
    sections(&bytes)
}

/// The sections of a generic error status block (ACPI specification, "Generic Error Status Block").
fn sections(bytes: &[u8]) -> Result<Vec<FirmwareError>, Absent> {
    let short = || Absent::failed(format!("{BERT_DATA}: cut off"));
    let word = |at: usize| bytes.get(at..at + 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let (status, length) = (word(0).ok_or_else(short)?, word(12).ok_or_else(short)? as usize);
    let mut sections = Vec::new();
    // No bit set: nothing was recorded.
    if status == 0 {
        return Ok(sections);
    }
    let block = bytes.get(20..20_usize.saturating_add(length)).ok_or_else(short)?;
    let mut rest = block;
    while rest.len() >= 64 && sections.len() < MOST_SECTIONS {
        let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        // From revision 3 on, the time stands between head and body.
        let head = if u16::from_le_bytes([rest[20], rest[21]]) >= 0x300 { 72 } else { 64 };
        let body_end = (number(24) as usize).saturating_add(head);
        let body = rest.get(head..body_end).ok_or_else(short)?;
        let kind = section_kind(&rest[..16]);
        let part = match rest[22] & 2 != 0 {
            true => String::from_utf8_lossy(&rest[44..64])
                .trim_matches(|c: char| c == '\0' || c.is_whitespace())
                .to_string(),
            false => String::new(),
        };
        sections.push(FirmwareError {
            pci: Fact(if kind == "pcie" {
                pcie_address(body)
            } else {
                Err(Absent::not_supported("not of a PCI device"))
            }),
            kind,
            severity: severity(number(16)).to_string(),
            part: Fact(if part.is_empty() {
                Err(Absent::not_supported("the firmware does not say it"))
            } else {
                Ok(part)
            }),
        });
        rest = &rest[body_end..];
    }
    Ok(sections)
}

fn severity(number: u32) -> &'static str {
    match number {
        0 => "recoverable",
        1 => "fatal",
        2 => "corrected",
        _ => "informational",
    }
}

/// The kinds of sections (UEFI specification, appendix N).
fn section_kind(guid: &[u8]) -> String {
    let number = |bytes: &[u8]| bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
    let plain = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let guid = format!(
        "{}-{}-{}-{}-{}",
        number(&guid[..4]),
        number(&guid[4..6]),
        number(&guid[6..8]),
        plain(&guid[8..10]),
        plain(&guid[10..])
    );
    match guid.as_str() {
        "9876ccad-47b4-4bdb-b65e-16f193c4f3db" | "dc3ea0b0-a144-4797-b95b-53fa242b6e1d" => "processor".to_string(),
        "e19e3d16-bc11-11e4-9caa-c2051d5d46b0" => "arm_processor".to_string(),
        "a5bc1114-6f64-4ede-b863-3e83ed7c83b1" | "61ec04fc-48e6-d813-25c9-8daa44750b12" => "memory".to_string(),
        "d995e954-bbc1-430f-ad91-b44dcb3c6f35" => "pcie".to_string(),
        "c5753963-3b84-4095-bf78-eddad3f9c9dd" => "pci_bus".to_string(),
        "81212a96-09ed-4996-9471-8d729c8e69ed" => "firmware".to_string(),
        _ => guid,
    }
}

/// Whose error it was, in a section about PCI Express: function, device, segment and bus from byte 24 + 3 on.
fn pcie_address(body: &[u8]) -> Result<String, Absent> {
    let unsaid = || Absent::not_supported("the firmware does not say it");
    let id = body.get(24..40).ok_or_else(unsaid)?;
    // Bit 3 of the validation bits: the device's address is there.
    if body[0] & 8 == 0 {
        return Err(unsaid());
    }
    let domain = u16::from_le_bytes([id[9], id[10]]);
    Ok(format!("{domain:04x}:{:02x}:{:02x}.{:x}", id[11], id[8], id[7] & 7))
}

fn crash_dumps(source: &Source) -> Result<Vec<CrashDump>, Absent> {
    let names = match source.names(CRASHES) {
        Err(absent) if absent.reason == Reason::NotPresent => return Ok(Vec::new()),
        names => names?,
    };
    // Folders by host and time (kdump), or by time (Debian); `.crash` files there are of programs.
    let is_dump = |name: &String| name.starts_with("vmcore") || name.starts_with("dump.") || name.starts_with("dmesg.");
    let mut dumps = Vec::new();
    for name in names {
        let path = format!("{CRASHES}/{name}");
        let inside = source.names(&path).unwrap_or_default();
        if is_dump(&name) || inside.iter().any(is_dump) {
            dumps.push(crash_dump(source, path));
        }
    }
    Ok(dumps)
}

fn crash_dump(source: &Source, path: String) -> CrashDump {
    let recorded = source.recorded().map(|recorded| recorded.files.get(&path).and_then(|file| file.modified));
    let time = match recorded {
        Some(Some(time)) => Ok(time),
        Some(None) => Err(Absent::new(Reason::NotRecorded, format!("{path}: the time was not recorded"))),
        None => source.metadata(&path, true).and_then(|found| {
            found.modified().map(DateTime::<Utc>::from).map_err(|error| super::source::absent_from_io(&path, &error))
        }),
    };
    CrashDump {
        time: Fact(time.clone().map(stamp)),
        age_seconds: Fact(time.map(|time| (source.now() - time).num_seconds().max(0) as u64)),
        path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, RecordedCommand, tree_of};
    use std::fs;

    /// A record of `size` bytes: kind, user, time.
    fn record(size: usize, kind: i16, user: &str, time: i64) -> Vec<u8> {
        let mut record = vec![0; size];
        record[..2].copy_from_slice(&kind.to_le_bytes());
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        match size {
            RECORD => record[340..344].copy_from_slice(&(time as i32).to_le_bytes()),
            _ => record[344..352].copy_from_slice(&time.to_le_bytes()),
        }
        record
    }

    const NOW: i64 = 1_790_000_000;

    fn asked(size: usize, records: &[(i16, &str, i64)]) -> Boot {
        let recorded = Recorded { recorded: DateTime::from_timestamp(NOW, 0).unwrap(), ..Default::default() };
        let (dir, source) = tree_of(&[("proc/uptime", "3600.00 1.00\n"), ("var/log/x", "")], recorded);
        let bytes: Vec<u8> =
            records.iter().flat_map(|(kind, user, ago)| record(size, *kind, user, NOW - ago)).collect();
        fs::write(dir.path().join(&WTMP[1..]), bytes).unwrap();
        observe(&source, &Silent)
    }

    #[test]
    fn a_boot_that_was_not_shut_down_ended_abruptly() {
        for size in [RECORD, LONG_RECORD] {
            let clean =
                asked(size, &[(2, "reboot", 90_000), (7, "root", 80_000), (1, "shutdown", 3700), (2, "reboot", 3600)]);
            assert_eq!((clean.previous_end, clean.unclean_last_day), (Fact(Ok(End::ShutDown)), Fact(Ok(0))));
            let crashed = asked(size, &[(1, "shutdown", 99_000), (2, "reboot", 7000), (2, "reboot", 3500)]);
            assert_eq!((crashed.previous_end, crashed.boots_last_day), (Fact(Ok(End::Abrupt)), Fact(Ok(2))));
            assert_eq!(crashed.unclean_last_day, Fact(Ok(1)));
            assert_eq!(crashed.previous_time, Fact(Ok(stamp(DateTime::from_timestamp(NOW - 7000, 0).unwrap()))));
        }
    }

    #[test]
    fn a_list_that_knows_no_other_boot_or_not_this_one_says_nothing() {
        assert_eq!(asked(RECORD, &[(2, "reboot", 3600)]).previous_end.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(asked(RECORD, &[]).previous_end.0.unwrap_err().reason, Reason::NotPresent);
        let stale = asked(RECORD, &[(2, "reboot", 900_000), (2, "reboot", 800_000)]);
        assert_eq!(stale.previous_end.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(boots(&[0xff; RECORD], RECORD), None);
    }

    #[test]
    fn without_a_list_the_journal_is_asked_where_it_lasts() {
        let told = |stdout: &str, exit: i32| {
            let commands: Vec<RecordedCommand> = serde_yaml::from_str(&format!(
                "- {{argv: [journalctl, -b, '-1', -n, '60', -o, cat, --no-pager], exit: {exit}, stdout: '{stdout}'}}"
            ))
            .unwrap();
            let recorded = Recorded { commands, ..Default::default() };
            let (_dir, source) = tree_of(&[("var/log/journal/ab12/system.journal", "")], recorded);
            observe(&source, &Silent).previous_end
        };
        assert_eq!(
            told("sshd stopped\n\nReached target System Reboot.\n\nJournal stopped", 0),
            Fact(Ok(End::ShutDown))
        );
        assert_eq!(told("a job began", 0), Fact(Ok(End::Abrupt)));
        assert_eq!(told("", 1).0.unwrap_err().reason, Reason::NotPresent);
    }

    /// A status block with one section of this kind.
    fn block(guid: [u8; 16], severity: u32, body: &[u8]) -> Vec<u8> {
        let mut section = guid.to_vec();
        section.extend(severity.to_le_bytes());
        section.extend([0, 3, 2, 0]);
        section.extend((body.len() as u32).to_le_bytes());
        section.extend([0; 16]);
        section.extend(b"DIMM_A1\0\0\0\0\0\0\0\0\0\0\0\0\0");
        section.extend([0; 8]);
        section.extend(body);
        let mut block = vec![0x11, 0, 0, 0];
        block.extend([0; 8]);
        block.extend((section.len() as u32).to_le_bytes());
        block.extend(1_u32.to_le_bytes());
        block.extend(section);
        block
    }

    const MEMORY: [u8; 16] =
        [0x14, 0x11, 0xbc, 0xa5, 0x64, 0x6f, 0xde, 0x4e, 0xb8, 0x63, 0x3e, 0x83, 0xed, 0x7c, 0x83, 0xb1];
    const PCIE: [u8; 16] =
        [0x54, 0xe9, 0x95, 0xd9, 0xc1, 0xbb, 0x0f, 0x43, 0xad, 0x91, 0xb4, 0x4d, 0xcb, 0x3c, 0x6f, 0x35];

    #[test]
    fn errors_that_the_firmware_kept_are_named() {
        let found = sections(&block(MEMORY, 1, &[0; 80])).unwrap();
        assert_eq!((found[0].kind.as_str(), found[0].severity.as_str()), ("memory", "fatal"));
        assert_eq!(found[0].part, Fact(Ok("DIMM_A1".into())));
        let mut body = [0; 208];
        body[0] = 8;
        (body[24 + 7], body[24 + 8], body[24 + 11]) = (0, 1, 0x9b);
        let found = sections(&block(PCIE, 0, &body)).unwrap();
        assert_eq!((found[0].kind.as_str(), &found[0].pci), ("pcie", &Fact(Ok("0000:9b:01.0".into()))));
        assert_eq!(sections(&[0; 4096]).unwrap(), []);
    }

    #[test]
    fn records_that_are_cut_off_are_refused_at_every_length() {
        let whole = block(MEMORY, 1, &[7; 80]);
        for end in 0..whole.len() {
            assert!(sections(&whole[..end]).is_err(), "{end}");
        }
        assert!(sections(&[0xff; 100]).is_err());
    }

    #[test]
    fn dumps_of_kernels_are_told_from_those_of_programs() {
        let (_dir, source) = tree_of(
            &[
                ("var/crash/127.0.0.1-2026-11-19-03:12:44/vmcore", ""),
                ("var/crash/202611190312/dump.202611190312", ""),
                ("var/crash/_usr_bin_python3.1000.crash", ""),
                ("var/crash/empty/readme", ""),
            ],
            Recorded::default(),
        );
        let dumps = crash_dumps(&source).unwrap();
        assert_eq!(dumps.len(), 2);
        assert_eq!(dumps[0].time.0.as_ref().unwrap_err().reason, Reason::NotRecorded);
    }
}
