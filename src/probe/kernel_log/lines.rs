//! Looking through a kernel log, line by line, in bounded memory.
//!
//! Nearly all lines are of no interest, so a search for a few literals passes over them; and a storm repeats itself, so
//! a line that was seen before only counts. Both keep a log of gigabytes a matter of seconds.

use super::when::{Clock, When, kmsg_microseconds};
use super::{KernelLog, NvrmError, NvrmKind, Origin, Sxid, Xid};
use crate::fact::{Absent, Fact};
use regex::bytes::Regex;
use std::borrow::Cow;
use std::collections::HashMap;

/// Most entries of each kind.
const MOST: usize = 1000;
/// Most different texts of one code and device.
const MOST_OF_ONE: usize = 32;
/// Longest line that is compared as a whole, in bytes.
const LONGEST: usize = 1024;
/// Longest text in an answer, in characters.
const LONGEST_TEXT: usize = 300;
/// How much of a line's beginning can hold its time, in bytes.
const PREFIX: usize = 160;

/// The first line of every boot.
const BANNER: &str = "Linux version ";

/// What the lines of interest hold.
const NEEDLES: &str = "NVRM|SXid|Linux version ";

/// What the driver writes when something is broken, and what kind that is; the first that a text holds counts.
const ERRORS: &[(&str, NvrmKind)] = &[
    ("fallen off the bus", NvrmKind::OffBus),
    ("API mismatch", NvrmKind::VersionMismatch),
    ("RmInitAdapter failed", NvrmKind::InitFailed),
    ("rm_init_adapter failed", NvrmKind::InitFailed),
    ("No NVIDIA GPU found", NvrmKind::NoGpu),
    ("No NVIDIA graphics adapter found", NvrmKind::NoGpu),
    ("No NVIDIA devices probed", NvrmKind::NoGpu),
    ("None of the NVIDIA devices were initialized", NvrmKind::NoGpu),
    ("probe routine failed", NvrmKind::ProbeFailed),
    ("probe routine was not called", NvrmKind::OtherDriver),
    ("is already bound to", NvrmKind::OtherDriver),
    ("is not supported by", NvrmKind::NotSupported),
    ("requires use of the NVIDIA open kernel modules", NvrmKind::NotSupported),
    ("region assigned to your NVIDIA device is invalid", NvrmKind::NoResources),
    ("request_mem_region failed", NvrmKind::NoResources),
    ("Can't find an IRQ", NvrmKind::NoResources),
    ("annot initialize GSP", NvrmKind::Firmware),
    ("GSP Timeout", NvrmKind::Firmware),
    ("PMU has halted", NvrmKind::Firmware),
];

/// How messages begin that the driver spreads over several lines.
const HEADS: &[&str] = &["The NVIDIA GPU ", "API mismatch", "This PCI I/O region"];
/// How their further lines begin.
const TAILS: &[&str] = &[
    "(PCI ID",
    "installed in this system",
    "fallen off the bus and is not",
    "nvidia.ko because",
    "this kernel module has",
    "BAR",
];

/// What was found in a kernel log so far.
pub(super) struct Lines<'a> {
    clock: &'a Clock,
    needles: Option<Regex>,
    /// Whether lines count only where they are marked as the kernel's.
    pub(super) of_the_kernel_only: bool,
    count: u64,
    complete: bool,
    first: Option<When>,
    last: Option<When>,
    driver_loaded: Option<When>,
    /// The beginning of a message of several lines.
    head: Option<(When, String)>,
    found: Vec<Found>,
    /// Entries by the line that made them.
    seen: HashMap<Box<[u8]>, usize>,
    /// How many different texts there are of what is alike, and the last of them.
    alike: HashMap<(u32, Fold, Option<String>), (usize, usize)>,
    left_out: u64,
}

/// One entry: what a line says, and how often and when.
struct Found {
    said: Said,
    pci: Option<String>,
    text: String,
    first: When,
    last: When,
    count: u64,
}

/// What a line says.
enum Said {
    Xid { code: u32, pid: Option<u64>, process: Option<String> },
    Sxid { code: u32, link: Option<u32>, fatal: Option<bool> },
    Error(NvrmKind),
}

/// Which of the lists an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fold {
    Xid,
    Sxid,
    Error(NvrmKind),
}

impl<'a> Lines<'a> {
    pub(super) fn new(clock: &'a Clock) -> Lines<'a> {
        Lines {
            clock,
            needles: Regex::new(NEEDLES).ok(),
            of_the_kernel_only: false,
            count: 0,
            complete: false,
            first: None,
            last: None,
            driver_loaded: None,
            head: None,
            found: Vec::new(),
            seen: HashMap::new(),
            alike: HashMap::new(),
            left_out: 0,
        }
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
        let message = record[semicolon + 1..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        if self.count == 0 {
            self.first = Some(when);
            self.complete = head.split(',').nth(1) == Some("0") || message.starts_with(BANNER.as_bytes());
        }
        self.count += 1;
        self.last = Some(when);
        let find = |message: &[u8]| self.needles.as_ref().and_then(|needles| Some(needles.find(message)?.start()));
        if find(message).is_some() {
            let message = unescaped(message);
            // What stands before it is at most the name of a device.
            if let Some(start) = find(&message) {
                self.message(when, &message[start..]);
            }
        }
    }

    /// Whole lines of a text.
    pub(super) fn text(&mut self, text: &[u8]) {
        let Some(needles) = self.needles.clone() else { return };
        if self.first.is_none() {
            self.first = text.split(|byte| *byte == b'\n').take(10).find_map(|line| self.time_of(line));
            // A log that is older than this boot has all of it.
            self.complete = self.first.is_some_and(|first| self.clock.is_before_boot(first));
        }
        let mut counted_to = 0;
        let mut at = 0;
        while let Some(found) = needles.find_at(text, at) {
            let start = memchr::memrchr(b'\n', &text[..found.start()]).map_or(0, |newline| newline + 1);
            let end = memchr::memchr(b'\n', &text[found.end()..]).map_or(text.len(), |newline| found.end() + newline);
            at = end;
            let (prefix, message) = text[start..end].split_at(found.start() - start);
            let prefix = String::from_utf8_lossy(&prefix[..prefix.len().min(PREFIX)]);
            if self.of_the_kernel_only && !prefix.contains("kernel:") {
                continue;
            }
            let when = self.clock.read(&prefix);
            if let Some(version) = message.strip_prefix(BANNER.as_bytes()) {
                if version.first().is_some_and(u8::is_ascii_digit) && is_boot(&prefix, when) {
                    self.restart(when);
                    counted_to = start;
                }
                continue;
            }
            let when = match when {
                Some(when) => when,
                // The further lines of a message have no time of their own.
                None if prefix.trim().is_empty() => self.last.unwrap_or_default(),
                None => When::default(),
            };
            self.last = Some(when);
            if !self.clock.is_before_boot(when) {
                self.message(when, message);
            }
        }
        let rest = &text[counted_to..];
        self.count +=
            memchr::memchr_iter(b'\n', rest).count() as u64 + u64::from(!rest.is_empty() && !rest.ends_with(b"\n"));
        let mut backwards = text.rsplit(|byte| *byte == b'\n').take(10);
        self.last = backwards.find_map(|line| self.time_of(line)).or(self.last);
    }

    fn time_of(&self, line: &[u8]) -> Option<When> {
        self.clock.read(&String::from_utf8_lossy(&line[..line.len().min(PREFIX)]))
    }

    /// The machine was booted here: what came before is of no interest.
    fn restart(&mut self, when: Option<When>) {
        let fresh = Lines::new(self.clock);
        let of_the_kernel_only = self.of_the_kernel_only;
        let needles = self.needles.take();
        *self = Lines { needles, of_the_kernel_only, complete: true, first: when, last: when, ..fresh };
    }

    /// What the driver wrote, from `NVRM` or `SXid` on.
    fn message(&mut self, when: When, message: &[u8]) {
        let message = &message[..message.len().min(LONGEST)];
        if let Some(index) = self.seen.get(message).copied() {
            self.close();
            self.again(index, when);
            return;
        }
        let text = String::from_utf8_lossy(message);
        // rsyslog writes line breaks as #012.
        for line in text.split('\n').flat_map(|part| part.split("#012")) {
            if let Some(rest) = line.strip_prefix("SXid ") {
                self.close();
                self.sxid(when, line, rest);
            } else if let Some(rest) = line.trim_start().strip_prefix("NVRM") {
                // Some of its lines lack the colon.
                let rest = rest.strip_prefix(':').unwrap_or(rest).trim();
                match rest.strip_prefix("Xid ") {
                    Some(rest) => {
                        self.close();
                        self.xid(when, line, rest);
                    }
                    None => self.other(when, rest),
                }
            }
        }
    }

    /// `(PCI:0000:9c:00): 79, pid=1234, name=python3, GPU has fallen off the bus.`
    fn xid(&mut self, when: When, line: &str, rest: &str) {
        let Some((pci, code, text)) = device_and_code(rest) else { return };
        let (pid, text) = named(text, "pid=");
        let (process, text) = named(text, "name=");
        let said = Said::Xid { code, pid: pid.and_then(|pid| pid.parse().ok()), process: process.map(str::to_string) };
        self.add(when, line, said, pci, text);
    }

    /// `(PCI:0000:6b:00.0): 20034, Fatal, Link 62 LTSSM Fault Up`
    fn sxid(&mut self, when: When, line: &str, rest: &str) {
        let Some((pci, code, text)) = device_and_code(rest) else { return };
        if text.starts_with("Severity ") || text.starts_with("Data ") {
            return;
        }
        let (word, after) = text.split_once(',').unwrap_or((text, ""));
        let fatal = match word.trim() {
            "Fatal" => Some(true),
            "Non-fatal" | "Nonfatal" | "Non-Fatal" => Some(false),
            _ => None,
        };
        let text = if fatal.is_some() { after.trim() } else { text };
        let link = text.split_once("Link ").and_then(|(_, rest)| digits(rest.trim_start()).0.parse().ok());
        self.add(when, line, Said::Sxid { code, link, fatal }, pci, text);
    }

    /// Anything else that the driver wrote.
    fn other(&mut self, when: When, text: &str) {
        if let Some((_, head)) = &mut self.head {
            if TAILS.iter().any(|tail| text.starts_with(tail)) && head.len() < LONGEST {
                head.push(' ');
                head.push_str(text);
                return;
            }
            self.close();
        }
        if text.starts_with("loading NVIDIA UNIX") {
            self.driver_loaded = Some(when);
        } else if HEADS.iter().any(|head| text.starts_with(head)) {
            self.head = Some((when, text.to_string()));
        } else {
            self.error(when, text);
        }
    }

    /// The message that was begun has no more lines.
    fn close(&mut self) {
        if let Some((when, text)) = self.head.take() {
            self.error(when, &text);
        }
    }

    fn error(&mut self, when: When, text: &str) {
        if let Some((_, kind)) = ERRORS.iter().find(|(words, _)| text.contains(words)) {
            let words = text.split_ascii_whitespace().filter(|word| word.matches(':').count() > 1);
            let pci = words.map(|word| word.trim_end_matches([':', ',', '.'])).find_map(address);
            self.add(when, text, Said::Error(*kind), pci, text);
        }
    }

    fn add(&mut self, when: When, line: &str, said: Said, pci: Option<String>, text: &str) {
        if let Some(index) = self.seen.get(line.as_bytes()).copied() {
            self.again(index, when);
            return;
        }
        let key = match &said {
            Said::Xid { code, .. } => (*code, Fold::Xid, pci.clone()),
            Said::Sxid { code, .. } => (*code, Fold::Sxid, pci.clone()),
            Said::Error(kind) => (0, Fold::Error(*kind), pci.clone()),
        };
        let known = self.alike.get(&key).copied();
        let (texts, last) = known.unwrap_or_default();
        let full = self.found.len() >= MOST;
        match known {
            Some(_) if full || texts >= MOST_OF_ONE => self.again(last, when),
            None if full => self.left_out += 1,
            _ => {
                let index = self.found.len();
                let text = text.trim().chars().take(LONGEST_TEXT).collect();
                self.found.push(Found { said, pci, text, first: when, last: when, count: 1 });
                self.seen.insert(line.as_bytes().into(), index);
                self.alike.insert(key, (texts + 1, index));
            }
        }
    }

    fn again(&mut self, index: usize, when: When) {
        if let Some(found) = self.found.get_mut(index) {
            found.count += 1;
            found.last = when;
        }
    }

    pub(super) fn into_log(mut self, source: Origin, path: &str) -> KernelLog {
        self.close();
        let clock = self.clock;
        let since = self.first.ok_or_else(|| Absent::not_supported("its lines tell no time"));
        let until = self.last.ok_or_else(|| Absent::not_supported("its lines tell no time"));
        let loaded = self.driver_loaded.ok_or_else(|| Absent::not_present("the log does not show it"));
        let mut log = KernelLog {
            source,
            path: path.to_string(),
            complete: self.complete,
            since_seconds: Fact(since.and_then(|when| clock.seconds(when).0)),
            until_seconds: Fact(until.and_then(|when| clock.seconds(when).0)),
            lines_count: self.count,
            driver_loaded_seconds: Fact(loaded.and_then(|when| clock.seconds(when).0)),
            xids: Vec::new(),
            sxids: Vec::new(),
            nvrm_errors: Vec::new(),
            left_out_count: self.left_out,
        };
        for Found { said, pci, text, first, last, count } in self.found {
            let (seconds, time) = (clock.seconds(first), clock.time(first));
            let (last_seconds, last_time) = (clock.seconds(last), clock.time(last));
            let device = || Absent::failed(format!("the line names no PCI address: {text}"));
            match said {
                Said::Xid { code, pid, process } => log.xids.push(Xid {
                    code,
                    pci: Fact(pci.ok_or_else(device)),
                    pid: unnamed(pid, "the line names no process"),
                    process: unnamed(process, "the line names no process"),
                    message: text,
                    seconds,
                    time,
                    last_seconds,
                    last_time,
                    count,
                }),
                Said::Sxid { code, link, fatal } => log.sxids.push(Sxid {
                    code,
                    pci: Fact(pci.ok_or_else(device)),
                    link: unnamed(link, "the line names no link"),
                    fatal: unnamed(fatal, "the line does not say"),
                    message: text,
                    seconds,
                    time,
                    last_seconds,
                    last_time,
                    count,
                }),
                Said::Error(kind) => log.nvrm_errors.push(NvrmError {
                    kind,
                    pci: unnamed(pci, "the line names no GPU"),
                    text,
                    seconds,
                    time,
                    last_seconds,
                    last_time,
                    count,
                }),
            }
        }
        log
    }
}

fn unnamed<T>(value: Option<T>, without: &str) -> Fact<T> {
    Fact(value.ok_or_else(|| Absent::not_present(without)))
}

/// Whether a banner is the kernel's own: it comes first, so at second 0 where there are seconds.
fn is_boot(prefix: &str, when: Option<When>) -> bool {
    match when {
        Some(when) => when.seconds.unwrap_or_default() == 0,
        None => prefix.trim().is_empty() || prefix.trim_end().ends_with("kernel:"),
    }
}

/// `(PCI:0000:9c:00): 79, the rest`: the device, the code and the rest. The device may be garbled, the code may not.
fn device_and_code(text: &str) -> Option<(Option<String>, u32, &str)> {
    let (device, rest) = text.trim_start().strip_prefix('(')?.split_once("):")?;
    let (code, rest) = digits(rest.trim_start());
    Some((address(device), code.parse().ok()?, rest.trim_start_matches(',').trim()))
}

/// The digits at the beginning, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// What `key` names at the beginning of `text`, unless it is unknown, and what follows.
fn named<'t>(text: &'t str, key: &str) -> (Option<&'t str>, &'t str) {
    let Some(rest) = text.strip_prefix(key) else { return (None, text) };
    let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
    let value = value.trim_matches('\'');
    (Some(value).filter(|value| !value.is_empty() && *value != "<unknown>"), rest.trim_start())
}

/// A PCI address as /sys writes it, from what drivers write: `(PCI:0000:9c:00)`, `00000000:9C:00.0`, `9c:00.0`, and
/// `0001:00`, which old drivers wrote for bus and device.
fn address(text: &str) -> Option<String> {
    let text = text.trim_matches(['(', ')']);
    let text = text.strip_prefix("PCI:").unwrap_or(text);
    let (place, function) = text.split_once('.').unwrap_or((text, "0"));
    let mut numbers = place.split(':').map(|number| u32::from_str_radix(number, 16).ok());
    let (domain, bus, device) = match (numbers.next()?, numbers.next()?, numbers.next(), numbers.next()) {
        (domain, bus, Some(device), None) => (domain?, bus?, device?),
        (bus, device, None, _) => (0, bus?, device?),
        _ => return None,
    };
    let function = u32::from_str_radix(function, 16).ok()?;
    let fits = bus <= 0xff && device <= 0x1f && function <= 7;
    fits.then(|| format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
}

/// Undoes the `\x0a` of /dev/kmsg.
fn unescaped(message: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', message).is_none() {
        return Cow::Borrowed(message);
    }
    let mut plain = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((&byte, after)) = rest.split_first() {
        let code = rest.strip_prefix(br"\x").and_then(|rest| std::str::from_utf8(rest.get(..2)?).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                plain.push(code);
                rest = &rest[4..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, Source};
    use std::path::Path;

    fn read(log: &str) -> KernelLog {
        let source = Source::dead(Path::new("/nowhere"), Recorded::default());
        let clock = Clock::new(&source);
        let mut lines = Lines::new(&clock);
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
        for none in
            ["PCI:0000:9c:00: 43, x", "(PCI:0000:9c:00): x", "(PCI:0000:9c:00)", "", "(PCI:0000:9c:00): 99999999999, x"]
        {
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
        let mut lines = Lines::new(&clock);
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
        let mut lines = Lines::new(&clock);
        lines.text(&log);
        lines.record(&log);
        assert_eq!(lines.into_log(Origin::File, "log").xids[0].count, 3);
        assert_eq!(&*unescaped(br"a\x0ab\x\xz1\"), &b"a\nb\\x\\xz1\\"[..]);
    }
}
