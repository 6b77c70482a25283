//! Looking through a kernel log: what it shows of this boot, turned into the answer's types.

use super::when::{Clock, When, kmsg_microseconds};
use super::{KernelLog, LogEvent, NvrmError, NvrmKind, Origin, Sxid, Xid};
use crate::fact::{Absent, Fact};
use crate::knowledge::{self, Choice, Event, EventClass, Reader};

/// Longest text in an answer, in characters.
const LONGEST_TEXT: usize = 300;
/// How much of a line's beginning can hold its time, in bytes.
const PREFIX: usize = 160;

/// The first line of every boot.
const BANNER: &str = "Linux version ";

/// What the driver writes when something is broken, and what kind that is; the first that a text holds counts.
const ERRORS: &[(&str, NvrmKind)] = &[
    ("fallen off the bus", NvrmKind::OffBus),
    ("API mismatch", NvrmKind::VersionMismatch),
    ("does not have the necessary power cables", NvrmKind::PowerCable),
    ("WPR2 already up", NvrmKind::ResetNeeded),
    ("NV_ERR_RESET_REQUIRED", NvrmKind::ResetNeeded),
    ("No firmware image found", NvrmKind::FirmwareMissing),
    ("firmware load for nvidia/", NvrmKind::FirmwareMissing),
    ("failed to load nvidia/", NvrmKind::FirmwareMissing),
    ("RmInitAdapter failed", NvrmKind::InitFailed),
    ("rm_init_adapter failed", NvrmKind::InitFailed),
    ("No NVIDIA GPU found", NvrmKind::NoGpu),
    ("No NVIDIA graphics adapter found", NvrmKind::NoGpu),
    ("No NVIDIA devices probed", NvrmKind::NoGpu),
    ("None of the NVIDIA devices were initialized", NvrmKind::NoGpu),
    ("probe routine failed", NvrmKind::ProbeFailed),
    ("probe routine was not called", NvrmKind::OtherDriver),
    ("is already bound to", NvrmKind::OtherDriver),
    ("requires use of the NVIDIA open kernel modules", NvrmKind::OpenModulesNeeded),
    ("is not supported by", NvrmKind::NotSupported),
    ("Legacy drivers", NvrmKind::NotSupported),
    ("region assigned to your NVIDIA device is invalid", NvrmKind::NoResources),
    ("request_mem_region failed", NvrmKind::NoResources),
    ("Can't find an IRQ", NvrmKind::NoResources),
    ("annot initialize GSP", NvrmKind::Firmware),
    ("GSP Timeout", NvrmKind::Firmware),
    ("PMU has halted", NvrmKind::Firmware),
];

/// What the second number of `RmInitAdapter failed! (0x62:0x51:1941)` means (NVIDIA/open-gpu-kernel-modules,
/// kernel-open/common/inc/nvstatuscodes.h; arch/nvalloc/unix/src/osinit.c writes it). The general ones are left out.
const STATUSES: &[(u32, &str)] = &[
    (0x03, "busy"),
    (0x0f, "lost from the bus"),
    (0x1a, "out of a resource other than memory"),
    (0x1b, "no permission"),
    (0x1c, "too little power"),
    (0x25, "invalid data"),
    (0x40, "invalid state"),
    (0x47, "training of its memory failed"),
    (0x51, "out of memory"),
    (0x55, "not ready"),
    (0x56, "not supported"),
    (0x61, "its firmware (VBIOS) was rejected"),
    (0x62, "reset required"),
    (0x65, "timed out"),
    (0x72, "a memory error"),
    (0x77, "training of its NVLinks failed"),
];

/// What ended the start of a GPU, where a line tells it.
fn status(text: &str) -> Option<&'static str> {
    let numbers = text.split_once("RmInitAdapter failed!")?.1.split_once('(')?.1;
    let number = numbers.split(':').nth(1)?.trim().strip_prefix("0x")?;
    let number = u32::from_str_radix(number, 16).ok()?;
    STATUSES.iter().find(|(known, _)| *known == number).map(|(_, words)| *words)
}

/// What was found in a kernel log so far.
pub(super) struct Lines<'a> {
    clock: &'a Clock,
    reader: Reader<'a>,
    count: u64,
    complete: bool,
    first: Option<When>,
    last: Option<When>,
}

impl<'a> Lines<'a> {
    /// Of the kernel only where lines count only if they are marked as the kernel's.
    pub(super) fn new(clock: &'a Clock, keep: &'a dyn Fn(&[u8]) -> bool, of_the_kernel_only: bool) -> Lines<'a> {
        let choice = Choice { of_the_kernel_only, of_the_last_boot_only: true, of_one_host: true, keep: Some(keep) };
        Lines { clock, reader: Reader::choosing(choice), count: 0, complete: false, first: None, last: None }
    }

    /// Some lines were overwritten before they could be read.
    pub(super) fn lost_some(&mut self) {
        self.complete = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One record of /dev/kmsg: `level,number,microseconds,flags;message`, then lines with what the device is. It is of
    /// this boot, and what is not printable is written as `\x0a`.
    pub(super) fn record(&mut self, record: &[u8]) {
        let Some(semicolon) = memchr::memchr(b';', record) else { return };
        let head = String::from_utf8_lossy(&record[..semicolon]);
        let Some(microseconds) = kmsg_microseconds(&head) else { return };
        let when = When { seconds: Some(microseconds / 1_000_000), time: None };
        let line = record.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let message = line.get(semicolon + 1..).unwrap_or_default();
        if self.count == 0 {
            self.first = Some(when);
            self.complete = head.split(',').nth(1) == Some("0") || message.starts_with(BANNER.as_bytes());
        }
        self.count += 1;
        self.last = Some(when);
        self.reader.text(line);
    }

    /// Whole lines of a text.
    pub(super) fn text(&mut self, text: &[u8]) {
        if self.first.is_none() {
            self.first = text.split(|byte| *byte == b'\n').take(10).find_map(|line| self.time_of(line));
            // A log that is older than this boot has all of it.
            self.complete = self.first.is_some_and(|first| self.clock.is_before_boot(first));
        }
        self.reader.text(text);
        self.count +=
            memchr::memchr_iter(b'\n', text).count() as u64 + u64::from(!text.is_empty() && !text.ends_with(b"\n"));
        let mut backwards = text.rsplit(|byte| *byte == b'\n').take(10);
        self.last = backwards.find_map(|line| self.time_of(line)).or(self.last);
    }

    fn time_of(&self, line: &[u8]) -> Option<When> {
        self.read(&line[..line.len().min(PREFIX)])
    }

    fn read(&self, prefix: &[u8]) -> Option<When> {
        self.clock.read(&String::from_utf8_lossy(prefix))
    }

    pub(super) fn into_log(self, source: Origin, path: &str) -> KernelLog {
        let clock = self.clock;
        let read = |prefix: &[u8]| clock.read(&String::from_utf8_lossy(prefix));
        let log = self.reader.finish();
        let (mut complete, mut first, mut count) = (self.complete, self.first, self.count);
        if let Some((prefix, number)) = &log.booted {
            // What came before is of another boot.
            (complete, first) = (true, read(prefix));
            count = count.saturating_sub(number - 1);
        }
        let since = first.ok_or_else(|| Absent::not_supported("its lines tell no time"));
        let until = self.last.ok_or_else(|| Absent::not_supported("its lines tell no time"));
        let loaded = log.driver_loaded.as_deref().ok_or_else(|| Absent::not_present("the log does not show it"));
        let loaded = loaded.map(|prefix| read(prefix).unwrap_or_default());
        let mut answer = KernelLog {
            source,
            path: path.to_string(),
            complete,
            since_seconds: Fact(since.and_then(|when| clock.seconds(when).0)),
            until_seconds: Fact(until.and_then(|when| clock.seconds(when).0)),
            lines_count: count,
            driver_loaded_seconds: Fact(loaded.and_then(|when| clock.seconds(when).0)),
            xids: Vec::new(),
            sxids: Vec::new(),
            nvrm_errors: Vec::new(),
            events: Vec::new(),
            left_out_count: log.left_out,
        };
        for event in log.events {
            let [first, last] = event.prefixes.each_ref().map(|prefix| read(prefix).unwrap_or_default());
            answer.add(event, clock, first, last);
        }
        answer
    }
}

impl KernelLog {
    fn add(&mut self, event: Event, clock: &Clock, first: When, last: When) {
        let (seconds, time) = (clock.seconds(first), clock.time(first));
        let (last_seconds, last_time) = (clock.seconds(last), clock.time(last));
        let device = |pci: &Option<String>, text: &str| {
            Fact(pci.clone().ok_or_else(|| Absent::failed(format!("the line names no PCI address: {text}"))))
        };
        let message = clipped(event.text.trim());
        let code = event.code.unwrap_or_default();
        match event.class {
            EventClass::Xid => self.xids.push(Xid {
                code,
                pci: device(&event.pci, &message),
                title: event.title.clone(),
                severity: event.severity,
                action: event.action.clone(),
                meaning: unnamed(knowledge::xid(code).map(|code| code.meaning.clone()), "the code is in no catalogue"),
                fault: unnamed(knowledge::xid(code).map(|code| code.class), "the code is in no catalogue"),
                unit: unnamed(event.unit.clone(), "the line names no unit"),
                caused_by: unnamed(event.caused_by.clone(), "the log shows no cause"),
                pid: unnamed(event.pid, "the line names no process"),
                process: unnamed(event.process.clone(), "the line names no process"),
                message,
                seconds: seconds.clone(),
                time: time.clone(),
                last_seconds: last_seconds.clone(),
                last_time: last_time.clone(),
                count: event.count,
            }),
            // What the fabric manager writes of a switch has no line of the driver.
            EventClass::Sxid if event.row.is_none() => {
                let line = knowledge::xid_line(&event.line);
                let link = event.unit.as_deref().and_then(|unit| unit.strip_prefix("link ")?.parse().ok());
                self.sxids.push(Sxid {
                    code,
                    pci: device(&event.pci, &message),
                    title: event.title.clone(),
                    severity: event.severity,
                    link: unnamed(link, "the line names no link"),
                    fatal: unnamed(line.and_then(|line| line.fatal), "the line does not say"),
                    message,
                    seconds: seconds.clone(),
                    time: time.clone(),
                    last_seconds: last_seconds.clone(),
                    last_time: last_time.clone(),
                    count: event.count,
                });
            }
            EventClass::Nvrm => {
                if let Some((_, kind)) = ERRORS.iter().find(|(words, _)| event.text.contains(words)) {
                    self.nvrm_errors.push(NvrmError {
                        kind: *kind,
                        pci: unnamed(event.pci.clone(), "the line names no GPU"),
                        status: unnamed(status(&message).map(str::to_string), "the line tells no status"),
                        text: message,
                        seconds: seconds.clone(),
                        time: time.clone(),
                        last_seconds: last_seconds.clone(),
                        last_time: last_time.clone(),
                        count: event.count,
                    });
                }
            }
            _ => {}
        }
        self.events.push(LogEvent {
            class: event.class,
            row: unnamed(event.told.or(event.row).map(str::to_string), "its code tells what it is"),
            code: unnamed(event.code, "only Xid and SXid have one"),
            pci: unnamed(event.pci, "the line names no PCI address"),
            device: unnamed(event.device, "the line names no device"),
            unit: unnamed(event.unit, "the line names no unit"),
            function: unnamed(event.function, "no stack tells it"),
            module: unnamed(event.module, "no stack names a module"),
            severity: event.severity,
            title: event.title,
            action: event.action,
            line: event.line.chars().take(LONGEST_TEXT).collect(),
            seconds,
            time,
            last_seconds,
            last_time,
            pid: unnamed(event.pid, "the line names no process"),
            process: unnamed(event.process, "the line names no process"),
            caused_by: unnamed(event.caused_by, "the log shows no cause"),
            cleared: unnamed(event.cleared, "the log shows no end of it"),
            count: event.count,
        });
    }
}

/// A text, cut at a word where it is too long.
fn clipped(text: &str) -> String {
    if text.chars().nth(LONGEST_TEXT).is_none() {
        return text.to_string();
    }
    let kept: String = text.chars().take(LONGEST_TEXT - 2).collect();
    let whole = kept.rsplit_once(' ').map_or(kept.as_str(), |(whole, _)| whole);
    format!("{whole} …")
}

fn unnamed<T>(value: Option<T>, without: &str) -> Fact<T> {
    Fact(value.ok_or_else(|| Absent::not_present(without)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, Source};
    use std::path::Path;

    fn read(log: &str) -> KernelLog {
        let source = Source::dead(Path::new("/nowhere"), Recorded::default());
        let clock = Clock::new(&source);
        let mut lines = Lines::new(&clock, &|_| true, false);
        lines.text(log.as_bytes());
        lines.into_log(Origin::File, "log")
    }

    fn pci(fact: &Fact<String>) -> &str {
        fact.value().map_or("-", String::as_str)
    }

    #[test]
    fn xids_of_every_age_of_the_driver_are_taken_apart() {
        for (line, device, code, pid, process, message) in [
            (
                "(PCI:0000:9c:00): 79, pid=1234, name=py, GPU is gone.",
                "0000:9c:00.0",
                79,
                Some(1234),
                Some("py"),
                "GPU is gone.",
            ),
            ("(PCI:0000:9c:00): 62, pid='<unknown>', name=<unknown>, 0 1", "0000:9c:00.0", 62, None, None, "0 1"),
            ("(PCI:0009:01:00.0): 45, pid=7, Ch 1", "0009:01:00.0", 45, Some(7), None, "Ch 1"),
            ("(0000:21:1f): 56, CMDre 1", "0000:21:1f.0", 56, None, None, "CMDre 1"),
            ("(0002:00): 12, COCOD 3", "0000:02:00.0", 12, None, None, "COCOD 3"),
            ("(PCI:00000000:9C:00.1): 8", "0000:9c:00.1", 8, None, None, ""),
            ("(PCI:10000:e1:00): 8, a, b", "10000:e1:00.0", 8, None, None, "a, b"),
            ("(PCI:0000:01:00): 43, pid=5, name=a b, Ch 18", "0000:01:00.0", 43, Some(5), Some("a b"), "Ch 18"),
            ("(PCI:zz:00): 43, x", "-", 43, None, None, "x"),
        ] {
            let log = read(&format!("[   12.5] NVRM: Xid {line}\n"));
            let xid = log.xids.first().unwrap_or_else(|| panic!("{line}"));
            assert_eq!((pci(&xid.pci), xid.code), (device, code), "{line}");
            assert_eq!((xid.pid.value().copied(), xid.process.value().map(String::as_str)), (pid, process), "{line}");
            assert_eq!((xid.message.as_str(), xid.seconds.value(), xid.count), (message, Some(&12), 1), "{line}");
        }
        for none in ["(PCI:0000:9c:00): x", "(PCI:0000:9c:00)", "", "(PCI:0000:9c:00): 99999999999, x"] {
            assert!(read(&format!("NVRM: Xid {none}\n")).xids.is_empty(), "{none}");
        }
    }

    #[test]
    fn sxids_come_without_their_lines_of_data() {
        let log = read(
            "[ 1.0] nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Fatal, Link 62 made up\n\
             [ 1.0] nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Severity 1 Engine instance 62\n\
             [ 1.0] nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Data {0x1, 0x2}\n\
             [ 2.0] nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 12028, Non-fatal, no port\n\
             [ 3.0] nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 10003, Something else",
        );
        let shown: Vec<_> = log
            .sxids
            .iter()
            .map(|sxid| (sxid.code, sxid.link.value().copied(), sxid.fatal.value().copied(), sxid.message.as_str()))
            .collect();
        let expected = [
            (20034, Some(62), Some(true), "Link 62 made up"),
            (12028, None, Some(false), "no port"),
            (10003, None, None, "Something else"),
        ];
        assert_eq!(shown, expected);
        assert_eq!(log.lines_count, 5);
    }

    #[test]
    fn a_message_of_several_lines_is_joined() {
        let log = read(
            "[ 5.1] NVRM: The NVIDIA GPU 0000:08:00.0\n      NVRM: (PCI ID: 10de:2330) installed in this system has\n      \
             NVRM: fallen off the bus and is not responding to commands.\n[ 5.2] usb 1-1: new device\n\
             [ 6.0] NVRM: API mismatch: the client has the version 1.2, but#012NVRM: this kernel module has the version 1.3.\n\
             [ 7.0] NVRM: API mismatch: the client has the version 1.2, but\n[ 7.0] NVRM: this kernel module has the version 1.3.\n\
             [ 8.0] NVRM: The NVIDIA GPU driver is a line that says nothing\n\
             [ 9.0] NVRM: GPU 0000:82:00.0: RmInitAdapter failed! (0x63:0x56:1689)\n",
        );
        let shown: Vec<_> = log
            .nvrm_errors
            .iter()
            .map(|error| (error.kind, pci(&error.pci), error.seconds.value().copied(), error.count))
            .collect();
        let expected = [
            (NvrmKind::OffBus, "0000:08:00.0", Some(5), 1),
            (NvrmKind::VersionMismatch, "-", Some(6), 2),
            (NvrmKind::InitFailed, "0000:82:00.0", Some(9), 1),
        ];
        assert_eq!(shown, expected);
        assert_eq!(
            log.nvrm_errors[1].text,
            "API mismatch: the client has the version 1.2, but this kernel module has the version 1.3."
        );
        assert_eq!(log.nvrm_errors[1].last_seconds, Fact(Ok(7)));
    }

    #[test]
    fn the_status_of_a_start_that_failed_is_decoded() {
        for (numbers, expected) in [
            ("(0x62:0x51:1941)", Some("out of memory")),
            ("(0x26:0x65:1534)", Some("timed out")),
            ("(0x62:0xffff:2477)", None),
            ("(0x62)", None),
            ("", None),
        ] {
            let log = read(&format!("[ 9.0] NVRM: GPU 0000:82:00.0: RmInitAdapter failed! {numbers}\n"));
            assert_eq!(log.nvrm_errors[0].status.value().map(String::as_str), expected, "{numbers}");
        }
    }

    #[test]
    fn a_boot_forgets_what_came_before_it() {
        let log = read(
            "[ 900.0] NVRM: Xid (PCI:0000:9c:00): 79, old\n[    0.000000] Linux version 6.8.0 (made up)\n\
             [ 3.0] NVRM: loading NVIDIA UNIX Open Kernel Module\n[ 9.0] app: Linux version 3 is old\n\
             [ 10.0] NVRM: Xid (PCI:0000:9c:00): 31, new\n[ 11.0] last\n",
        );
        assert_eq!(log.xids.iter().map(|xid| xid.code).collect::<Vec<_>>(), [31]);
        assert_eq!((log.complete, log.lines_count), (true, 5));
        assert_eq!((log.since_seconds.value(), log.until_seconds.value()), (Some(&0), Some(&11)));
        assert_eq!(log.driver_loaded_seconds, Fact(Ok(3)));
    }

    #[test]
    fn what_the_driver_meets_while_it_is_loaded_is_of_that_load_and_of_the_gpu_that_the_kernel_names() {
        let begins = "nvidia-nvlink: Nvlink Core is being initialized, major device number 507";
        let refused =
            "NVRM: request_mem_region failed for 0M @ 0x0. This can\n      NVRM: occur when a driver such as rivatv";
        let banner = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64";
        let load = |at: u32, pci: &str, says: &str| {
            format!(
                "[ {at}.1] {begins}\n[ {at}.2] {refused}\n[ {at}.3] {says} {pci} failed with error -1\n[ {at}.9] {banner}\n"
            )
        };
        let log = read(&format!(
            "[ 5.0] NVRM: Xid (PCI:0000:9c:00): 31, of an earlier load\n{}",
            load(9, "0000:c1:00.0", "nvidia: probe of")
        ));
        assert_eq!(log.driver_loaded_seconds, Fact(Ok(9)));
        let cleared = |row: &str| {
            log.events.iter().find(|event| event.row.value().is_some_and(|of| of == row)).unwrap().cleared.0.is_ok()
        };
        assert!(log.events[0].cleared.0.is_ok() && !cleared("nvrm.resources") && !cleared("nvidia.pci_probe"));
        let error = &log.nvrm_errors[0];
        assert_eq!((error.kind, pci(&error.pci), error.count), (NvrmKind::NoResources, "0000:c1:00.0", 1));
        // The next load says the same of the same GPU, and the kernel of another one.
        let log = read(&format!(
            "{}{}{}",
            load(9, "0000:c1:00.0", "nvidia: probe of"),
            load(20, "0000:c1:00.0", "nvidia: probe of"),
            "[ 21.0] nvidia: probe of 0000:81:00.0 failed with error -1\n"
        ));
        assert_eq!(log.driver_loaded_seconds, Fact(Ok(20)));
        let shown: Vec<_> = log.nvrm_errors.iter().map(|error| (pci(&error.pci), error.count)).collect();
        assert_eq!(shown, [("0000:c1:00.0", 2)]);
        // A load that did not come to its end ends nothing; without its beginning the banner does.
        let failed = read(&format!("[ 5.0] NVRM: Xid (PCI:0000:9c:00): 31, x\n[ 9.1] {begins}\n"));
        assert!(failed.events[0].cleared.0.is_err() && failed.driver_loaded_seconds.0.is_err());
        let plain = read(&format!("[ 5.0] NVRM: Xid (PCI:0000:9c:00): 31, x\n[ 9.1] {banner}\n"));
        assert!(plain.events[0].cleared.0.is_ok() && plain.driver_loaded_seconds == Fact(Ok(9)));
    }

    #[test]
    fn what_ran_in_the_kernel_is_told_where_a_stack_follows() {
        let log = read(
            "[ 50.0] watchdog: BUG: soft lockup - CPU#6 stuck for 26s! [ksoftirqd/6:47]\n\
             [ 50.1] CPU: 6 PID: 47 Comm: ksoftirqd/6 Tainted: G        W\n\
             [ 50.2] RIP: 0010:example_poll+0x9c/0x4d0 [example_net]\n\
             [ 78.0] watchdog: BUG: soft lockup - CPU#6 stuck for 54s! [ksoftirqd/6:47]\n\
             [ 78.2] RIP: 0010:example_poll+0xa4/0x4d0 [example_net]\n\
             [ 90.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [job:99]\n\
             [ 90.2] RIP: 0010:example_wait_for_others+0x1/0x4d0\n\
             [ 300.0] BUG: kernel NULL pointer dereference, address: 0000000000000008\n\
             [ 300.1] RIP: 0010:example_lookup+0x1e/0x90 [example_fs]\n",
        );
        let told: Vec<_> = log
            .events
            .iter()
            .map(|event| {
                (event.function.value().map(String::as_str), event.module.value().map(String::as_str), event.count)
            })
            .collect();
        assert_eq!(
            told,
            [
                (Some("example_poll"), Some("example_net"), 2),
                (Some("example_wait_for_others"), None, 1),
                (Some("example_lookup"), Some("example_fs"), 1)
            ]
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_word() {
        assert_eq!(clipped(&"word ".repeat(60)), "word ".repeat(60));
        let cut = clipped(&"word ".repeat(90));
        assert!(cut.ends_with("word …") && cut.chars().count() <= LONGEST_TEXT, "{cut}");
    }

    #[test]
    fn a_storm_is_folded_and_never_dropped_silently() {
        let mut log = String::new();
        for n in 0..5000 {
            log += &format!("[ {n}.0] NVRM: Xid (PCI:0000:9c:00): 31, the same\n");
            log += &format!("[ {n}.0] NVRM: Xid (PCI:0000:9c:00): 13, another {n}\n");
        }
        for code in 1000..4000 {
            log += &format!("[ 9.0] NVRM: Xid (PCI:0000:9c:00): {code}, made up\n");
        }
        let log = read(&log);
        assert_eq!((log.xids[0].count, log.xids[0].last_seconds.value()), (5000, Some(&4999)));
        let other: Vec<_> = log.xids.iter().filter(|xid| xid.code == 13).map(|xid| xid.count).collect();
        assert_eq!((other.len(), other[31], other.iter().sum::<u64>()), (32, 5000 - 31, 5000));
        assert_eq!((log.xids.len(), log.left_out_count), (1000, 3000 - 967));
        assert_eq!(log.lines_count, 13_000);
    }

    #[test]
    fn records_of_the_kernel_are_read_with_their_escapes() {
        let source = Source::dead(Path::new("/nowhere"), Recorded::default());
        let clock = Clock::new(&source);
        let mut lines = Lines::new(&clock, &|_| true, false);
        for record in [
            "6,0,0,-;Linux version 6.8.0\n",
            r"3,7,5000000,-;NVRM: The NVIDIA GPU 0000:08:00.0\x0aNVRM: (PCI ID: 10de:1) installed in this system has\x0aNVRM: fallen off the bus and is not responding to commands.",
            "4,8,6000000,-,caller=T1;NVRM: Xid (PCI:0000:9c:00): 79, gone\n SUBSYSTEM=pci\n DEVICE=+pci:0000:9c:00.0\n",
            "garbage",
            ";",
        ] {
            lines.record(record.as_bytes());
        }
        let log = lines.into_log(Origin::Kmsg, "/dev/kmsg");
        assert_eq!((log.complete, log.lines_count, log.xids.len()), (true, 3, 1));
        assert_eq!((log.xids[0].message.as_str(), log.xids[0].seconds.value()), ("gone", Some(&6)));
        assert_eq!((log.nvrm_errors[0].kind, pci(&log.nvrm_errors[0].pci)), (NvrmKind::OffBus, "0000:08:00.0"));
        assert_eq!(log.until_seconds, Fact(Ok(6)));
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let mut log = b"[ 1.0] NVRM: Xid (PCI:0000:9c:00): 79, \xff\xfe\x00\x1b[31m\n".repeat(3);
        log.extend(b"NVRM:\nSXid\nNVRM: Xid\nSXid (\nLinux version \n\\x\n\xff");
        let source = Source::dead(Path::new("/nowhere"), Recorded::default());
        let clock = Clock::new(&source);
        let mut lines = Lines::new(&clock, &|_| true, false);
        lines.text(&log);
        lines.record(&log);
        assert_eq!(lines.into_log(Origin::File, "log").xids[0].count, 3);
    }
}
