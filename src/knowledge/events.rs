//! The lines of a kernel log folded into events: each distinct one once, with how often and when, what ended it, and
//! what it is a consequence of.
//!
//! A storm repeats itself, so a message that was read before is only counted. Everything that is kept is bounded.

use super::patterns::{self, BANNER, EventClass, LOAD_BEGINS, Reading, Verdict};
use super::{Class, Severity, lines, nvidia};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// Longest message that is read, in bytes; the kernel writes no longer one (LOG_LINE_MAX is 1024).
const LONGEST: usize = 1024;
/// Longest record of the journal that is read as JSON, in bytes.
const LONGEST_JSON: usize = 64 << 10;
/// Longest line that is kept of an event, in bytes.
const LONGEST_LINE: usize = 2000;
/// Most distinct events; what comes after is counted.
const MOST: usize = 1000;
/// Most events whose texts alone tell them apart; further ones count in the last of them.
const MOST_ALIKE: usize = 32;
/// Most messages that are remembered.
const MOST_KNOWN: usize = 8192;
/// Numbers of messages that are remembered to be no event, a power of two.
const DULL: usize = 1 << 16;

/// What ended all that came before a start of the machine.
const STARTED_AGAIN: &str = "the machine was started again";

/// The row of the line with which the kernel names the device that the driver did not take.
const NOT_TAKEN: &str = "nvidia.pci_probe";

/// How many lines later a line can still belong to a report, and how many seconds.
const NEAR_LINES: u64 = 80;
const NEAR_SECONDS: f64 = 20.0;
/// A report of memory that ran out lists every process.
const NEAR_LINES_OOM: u64 = 20_000;

/// How long after its cause a consequence can come, in seconds; and in lines, where the log tells no time.
const CONSEQUENCE_SECONDS: f64 = 300.0;
const CONSEQUENCE_LINES: u64 = 500;

/// What happened, as a kernel log shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The first line that says it, as it stands in the log.
    pub line: String,
    /// Its number, from 1 on.
    pub line_number: u64,
    /// What it is about.
    pub class: EventClass,
    /// The Xid or SXid code.
    pub code: Option<u32>,
    /// Name of the machine, where the line says it.
    pub host: Option<String>,
    /// PCI address of the device, or of the port that reports it: `0000:9c:00.0`.
    pub pci: Option<String>,
    /// Name of the device, interface, file system or server: `eth0`, `nvme0`, `sda1`; of an error that a PCIe port
    /// reports, the PCI address of the device behind it.
    pub device: Option<String>,
    /// The part of the device: `GPC 9 TPC 5 SM 0`, `link 6`, a DIMM, a CPU.
    pub unit: Option<String>,
    /// The function of the kernel that ran then, where a stack follows.
    pub function: Option<String>,
    /// The module of the kernel that this function is of: `mlx5_core`.
    pub module: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: String,
    /// What to do.
    pub action: String,
    /// How often it happened.
    pub count: u64,
    /// When it was written first, as the log says it.
    pub first: Option<String>,
    /// When it was written last.
    pub last: Option<String>,
    /// When it was written first, in seconds since boot.
    pub seconds: Option<f64>,
    /// When it was written last, in seconds since boot.
    pub last_seconds: Option<f64>,
    /// Name of the process that is blamed or hit.
    pub process: Option<String>,
    /// Its process id.
    pub pid: Option<u64>,
    /// What it is a consequence of.
    pub caused_by: Option<String>,
    /// What ended it later on.
    pub cleared: Option<String>,
    /// What stands before the first message and before the last one.
    #[serde(skip)]
    pub prefixes: [Vec<u8>; 2],
    /// What the message says besides code and process.
    #[serde(skip)]
    pub text: String,
    /// The row of the table that read it.
    #[serde(skip)]
    pub row: Option<&'static str>,
    /// The row of a later line of the same report that told what it is.
    #[serde(skip)]
    pub told: Option<&'static str>,
    /// How bad it was when it happened: what is history is worth knowing only.
    #[serde(skip)]
    was: Severity,
    /// The number of the last line that says it.
    #[serde(skip)]
    last_number: u64,
}

impl Event {
    /// What of the kernel it stands in: the module; else, of a crash, the function. A CPU that is stuck waits for others
    /// in many functions of the kernel itself.
    fn stands_in(&self) -> Option<&String> {
        self.module.as_ref().or_else(|| self.function.as_ref().filter(|_| self.class == EventClass::Segfault))
    }
}

/// What a log says.
#[derive(Debug)]
pub struct Log {
    /// What happened, in the order of the log.
    pub events: Vec<Event>,
    /// Lines that were looked through.
    pub lines: u64,
    /// What stands before the line with which the machine was started last, and that line's number.
    pub booted: Option<(Vec<u8>, u64)>,
    /// What stands before the line with which the last load of the NVIDIA driver began.
    pub driver_loaded: Option<Vec<u8>>,
    /// Lines of events that are in none of the list because there were too many different ones.
    pub left_out: u64,
    /// Whether any line has the form of a log, or is an event: what is no log says nothing of a machine.
    pub is_log: bool,
    /// Whether there is a NUL byte before the first such line, as in a file that is no text.
    pub is_binary: bool,
    /// Whether it names more than one machine.
    pub has_several_hosts: bool,
}

impl Log {
    /// The events in the order of their importance: how bad, whether they stand for themselves, whether they last.
    pub fn by_importance(&self) -> Vec<&Event> {
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by_key(|event| {
            let how_bad = std::cmp::Reverse((event.severity, event.was));
            (how_bad, event.caused_by.is_some(), event.cleared.is_some(), event.line_number)
        });
        events
    }
}

/// The lines of a piece of a log that have to be read, and how many lines it has.
pub struct Scan {
    /// Beginning and end, and how many lines of the piece come before it.
    candidates: Vec<(usize, usize, u64)>,
    lines: u64,
}

/// Looks through whole lines of a log for those that have to be read. It needs no state, so several threads may.
pub fn scan(text: &[u8]) -> Scan {
    let sieve = patterns::sieve();
    let mut candidates = Vec::new();
    let (mut counted, mut lines) = (0, 0);
    let mut at = 0;
    let end_of = |from: usize| memchr::memchr(b'\n', &text[from..]).map_or(text.len(), |length| from + length);
    // The first line has no line break before it, which texts at the beginning of a line need.
    if !text.is_empty() {
        candidates.push((0, end_of(0), 0));
        at = end_of(0);
    }
    while let Some(found) = sieve.find(text, at) {
        // A text may begin with the line break.
        let inside = found + usize::from(text[found] == b'\n');
        let start = memchr::memrchr(b'\n', &text[..inside]).map_or(0, |newline| newline + 1);
        let end = end_of(inside);
        lines += memchr::memchr_iter(b'\n', &text[counted..start]).count() as u64;
        counted = start;
        candidates.push((start, end, lines));
        at = end;
    }
    lines += memchr::memchr_iter(b'\n', &text[counted..]).count() as u64;
    if !text.is_empty() && !text.ends_with(b"\n") {
        lines += 1;
    }
    Scan { candidates, lines }
}

/// Whether what stands before a message is liked.
pub type Keep<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// Which lines of a log count.
#[derive(Default, Clone, Copy)]
pub struct Choice<'a> {
    /// Only those that are marked as the kernel's: whoever can write to the system log could make them up.
    pub of_the_kernel_only: bool,
    /// Only those since the machine was started last; else the earlier ones count as ended by that.
    pub of_the_last_boot_only: bool,
    /// All are of one machine, whatever name it had when they were written.
    pub of_one_host: bool,
    /// Only those of which this likes what stands before the message.
    pub keep: Option<&'a Keep<'a>>,
}

/// Reads a log, a piece at a time.
#[derive(Default)]
pub struct Reader<'a> {
    choice: Choice<'a>,
    events: Vec<Event>,
    /// How many of the last of them may turn out to be the same as others.
    unfolded: usize,
    booted: Option<(Vec<u8>, u64)>,
    driver_loaded: Option<Vec<u8>>,
    /// The loads of the driver that have begun and not ended yet, one a machine.
    loading: Vec<Loading>,
    lines: u64,
    left_out: u64,
    is_log: bool,
    is_binary: bool,
    /// The first machine that is named, and whether another is.
    host: Option<String>,
    has_several_hosts: bool,
    known: HashMap<Box<[u8]>, Known, BuildHasherDefault<Quick>>,
    dull: Vec<u64>,
    by_key: HashMap<Key, usize>,
    alike: HashMap<Key, (usize, usize)>,
    open: Vec<Open>,
}

/// A load of the NVIDIA driver that has begun. What it meets while it takes the GPUs it writes before its banner.
struct Loading {
    host: Option<String>,
    /// The number of its first line, and what stands before it.
    number: u64,
    prefix: Vec<u8>,
}

/// A message that was read before.
struct Known {
    verdict: Rc<Verdict>,
    /// The events it stands for, where it stands for itself: one a machine. What was seen last comes first.
    events: Vec<usize>,
}

/// A report of several lines that may go on.
struct Open {
    group: &'static str,
    event: usize,
    host: Option<String>,
    number: u64,
    seconds: Option<f64>,
    minute: Option<[u8; 5]>,
    /// Whether the line that began it had no time.
    bare: bool,
}

/// What makes events the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    host: Option<String>,
    class: EventClass,
    code: Option<u32>,
    row: Option<&'static str>,
    pci: Option<String>,
    rest: [Option<String>; 5],
}

impl Key {
    fn of(event: &Event, with_text: bool) -> Key {
        let is_xid = event.row.is_none();
        let text = (with_text && !event.text.is_empty()).then(|| event.text.clone());
        // Two lines of a driver's code are the same where they say the same.
        let rest = match is_xid {
            true => [
                text,
                event.process.clone().filter(|_| with_text),
                event.pid.filter(|_| with_text).map(|pid| pid.to_string()),
                None,
                None,
            ],
            false => {
                [text, event.device.clone(), event.unit.clone(), event.process.clone(), event.stands_in().cloned()]
            }
        };
        Key {
            host: event.host.clone(),
            class: event.class,
            code: event.code,
            row: event.row,
            pci: event.pci.clone(),
            rest,
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads only what is chosen.
    pub fn choosing(choice: Choice<'a>) -> Reader<'a> {
        Reader { choice, ..Reader::default() }
    }

    /// Reads whole lines.
    pub fn text(&mut self, text: &[u8]) {
        self.take(text, &scan(text));
    }

    /// Reads what [`scan`] found in whole lines.
    pub fn take(&mut self, text: &[u8], scan: &Scan) {
        if !self.is_log {
            let is_log = |line: &[u8]| lines::is_of_log(&line[..line.len().min(LONGEST_JSON)]);
            self.is_log = text.split(|byte| *byte == b'\n').any(is_log);
            self.is_binary = !self.is_log && (self.is_binary || memchr::memchr(0, text).is_some());
        }
        for (start, end, before) in &scan.candidates {
            let line = &text[*start..*end];
            let after = text.get(end + 1..).unwrap_or_default();
            self.line(line, self.lines + before + 1, after);
        }
        self.lines += scan.lines;
    }

    /// One line, and what comes after it: a line may have been broken in two.
    fn line(&mut self, line: &[u8], number: u64, after: &[u8]) {
        let record = match line.first() {
            Some(b'{') if line.len() <= LONGEST_JSON => lines::from_json(line),
            _ => lines::without_colours(&line[..line.len().min(LONGEST_JSON)]),
        };
        let mut parts = lines::parts(record.as_deref().unwrap_or(line));
        let message = &parts.message[..parts.message.len().min(LONGEST)];
        if message.is_empty() {
            return;
        }
        if self.choice.of_the_kernel_only && memchr::memmem::find(parts.prefix, b"kernel:").is_none() {
            return;
        }
        if self.choice.keep.is_some_and(|keep| !keep(parts.prefix)) {
            return;
        }
        match (parts.host, &self.host) {
            _ if self.choice.of_one_host => parts.host = None,
            (Some(host), Some(known)) if known.as_bytes() != host => self.has_several_hosts = true,
            (Some(host), None) => self.host = Some(String::from_utf8_lossy(host).into_owned()),
            _ => {}
        }
        // rsyslog writes line breaks as #012, /dev/kmsg as \x0a, and records of the journal may have real ones.
        if memchr::memchr(b'#', message).is_some() && memchr::memmem::find(message, b"#012").is_some() {
            self.several(message, b"#012", line, &parts, number);
        } else if memchr::memchr(b'\\', message).is_some() && memchr::memmem::find(message, br"\x0a").is_some() {
            self.several(message, br"\x0a", line, &parts, number);
        } else if record.is_some() && memchr::memchr(b'\n', message).is_some() {
            self.several(message, b"\n", line, &parts, number);
        } else {
            self.message(message, line, &parts, number, after);
        }
    }

    fn several(&mut self, message: &[u8], between: &[u8], line: &[u8], parts: &lines::Parts, number: u64) {
        let mut at = 0;
        for end in memchr::memmem::find_iter(message, between).chain([message.len()]) {
            if end > at {
                self.message(&message[at..end], line, parts, number, b"");
            }
            at = end + between.len();
        }
    }

    fn message(&mut self, message: &[u8], line: &[u8], parts: &lines::Parts, number: u64, after: &[u8]) {
        let is_users = parts.program.is_some();
        if !is_users && let Some(known) = self.known.get_mut(message) {
            let verdict = Rc::clone(&known.verdict);
            let of_host = |event: &usize| self.events.get(*event).is_some_and(|event| is_of(event, parts.host));
            let place = known.events.iter().position(of_host);
            if let Some(place) = place {
                known.events.swap(0, place);
            }
            match place.and_then(|_| known.events.first().copied()) {
                Some(event) => {
                    self.again(event, parts, number);
                    if let Verdict::Event(reading) = &*verdict {
                        self.name_refused(reading, parts, number);
                    }
                    if self.events.get(event).is_some_and(|event| nvidia::is_of_gsp(event.class, event.code)) {
                        self.open("gsp", event, parts, number);
                    }
                }
                None => self.judge(&verdict, message, line, parts, number),
            }
            return;
        }
        let mut hasher = Quick::default();
        hasher.write(message);
        let hash = hasher.finish() | 1;
        if self.dull.is_empty() {
            self.dull = vec![0; DULL];
        }
        let slot = hash as usize >> 1 & (DULL - 1);
        if self.dull[slot] == hash && !is_users {
            return;
        }
        if let Some(version) = message.strip_prefix(BANNER.as_bytes()) {
            if version.first().is_some_and(u8::is_ascii_digit)
                && parts.seconds.is_none_or(|seconds| seconds < 1.0)
                && !is_users
            {
                self.restart(parts, number);
            }
            return;
        }
        if message.starts_with(LOAD_BEGINS.as_bytes()) && !is_users {
            self.load_begins(parts, number);
            return;
        }
        // The same beginning may have another end next time, so it is not remembered.
        if !is_users && nvidia::cut_xid(message).is_some() {
            let whole = read_broken(message, after).map(|reading| Verdict::Event(Box::new(reading)));
            self.judge(&whole.unwrap_or_else(|| read(message, false)), message, line, parts, number);
            return;
        }
        let mut verdict = read(message, is_users);
        // What some programs say is known by their name.
        if verdict == Verdict::Nothing
            && let Some(program) = parts.program
        {
            verdict = read(&[program, b": ", message].concat(), true);
        }
        let verdict = Rc::new(verdict);
        if is_users {
            self.judge(&verdict, message, line, parts, number);
            return;
        }
        if *verdict == Verdict::Nothing {
            self.dull[slot] = hash;
            return;
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(message.into(), Known { verdict: Rc::clone(&verdict), events: Vec::new() });
        self.judge(&verdict, message, line, parts, number);
    }

    fn restart(&mut self, parts: &lines::Parts, number: u64) {
        if self.choice.of_the_last_boot_only {
            let (choice, lines) = (self.choice, self.lines);
            *self = Reader { lines, ..Reader::choosing(choice) };
        }
        self.clear(None, &[], None, parts, STARTED_AGAIN, None);
        self.open.retain(|open| !is_host(&open.host, parts.host));
        self.loading.retain(|loading| !is_host(&loading.host, parts.host));
        self.driver_loaded = None;
        self.booted = Some((parts.prefix.to_vec(), number));
    }

    fn judge(&mut self, verdict: &Verdict, message: &[u8], line: &[u8], parts: &lines::Parts, number: u64) {
        let reading = match verdict {
            Verdict::Nothing => return,
            Verdict::Clears { ends, of, device, why } => {
                let mut before = None;
                if ends.contains(&EventClass::Xid) && device.is_none() {
                    let is_here = |loading: &Loading| is_host(&loading.host, parts.host);
                    let begun = self.loading.iter().position(is_here).map(|place| self.loading.remove(place));
                    before = begun.as_ref().map(|loading| loading.number);
                    self.driver_loaded = Some(begun.map_or_else(|| parts.prefix.to_vec(), |loading| loading.prefix));
                }
                for class in *ends {
                    self.clear(Some(*class), of, device.as_deref(), parts, why, before);
                }
                return;
            }
            Verdict::Event(reading) => reading,
        };
        // The driver says that a GPU needs nothing any more.
        if reading.class == EventClass::Xid && reading.code == Some(154) && reading.severity == Severity::Info {
            self.clear(
                Some(EventClass::Xid),
                &[],
                reading.pci.as_deref(),
                parts,
                "the driver says that the GPU needs no action any more",
                None,
            );
        }
        self.name_refused(reading, parts, number);
        // Of the reports that are open, the line goes on with the one that began last.
        let open = reading.within.iter().filter_map(|group| self.part_of(group, reading, parts, number));
        if let Some(index) = open.max() {
            self.absorb(index, reading);
            return;
        }
        if reading.joins {
            return;
        }
        let Some(group) = reading.opens.or(reading.within.first().copied()) else {
            let Some(index) = self.single(reading, line, parts, number) else { return };
            if let Some(known) = self.known.get_mut(message) {
                known.events.insert(0, index);
            }
            if nvidia::is_of_gsp(reading.class, reading.code) {
                self.open("gsp", index, parts, number);
            }
            return;
        };
        if self.events.len() >= 2 * MOST {
            self.fold_when_worth_it();
        }
        if self.events.len() >= 2 * MOST {
            self.left_out += 1;
            return;
        }
        self.unfolded += 1;
        let event = self.events.len();
        let told = reading.row.filter(|_| reading.opens.is_none() || reading.tells);
        self.events.push(Event { told, ..event_of(reading, line, parts, number) });
        self.open(group, event, parts, number);
    }

    /// The driver begins to be loaded. Whether it comes to an end its banner tells; a load that failed ends nothing.
    fn load_begins(&mut self, parts: &lines::Parts, number: u64) {
        let host = parts.host.map(|host| String::from_utf8_lossy(host).into_owned());
        self.loading.retain(|loading| loading.host != host);
        if self.loading.len() >= MOST {
            self.loading.remove(0);
        }
        self.loading.push(Loading { host, number, prefix: parts.prefix.to_vec() });
    }

    /// Some of what the driver writes when it does not take a GPU names none; the kernel does so right after it.
    fn name_refused(&mut self, reading: &Reading, parts: &lines::Parts, number: u64) {
        if reading.row == Some(NOT_TAKEN)
            && let Some(index) = self.part_of("nvrm", reading, parts, number)
        {
            let event = &mut self.events[index];
            event.pci = event.pci.take().or_else(|| reading.pci.clone());
        }
    }

    /// An event begins a report of several lines.
    fn open(&mut self, group: &'static str, event: usize, parts: &lines::Parts, number: u64) {
        let host = self.events.get(event).and_then(|event| event.host.clone());
        self.open.retain(|open| open.group != group || open.host != host);
        // Each machine has its reports, and those of many are many.
        if self.open.len() >= MOST {
            self.open.remove(0);
        }
        let bare = parts.seconds.is_none() && parts.time.is_none();
        let minute = parts.time.and_then(minute);
        self.open.push(Open { group, event, host, number, seconds: parts.seconds, minute, bare });
    }

    /// The open report that a line belongs to.
    fn part_of(&self, group: &str, reading: &Reading, parts: &lines::Parts, number: u64) -> Option<usize> {
        let is_here = |open: &&Open| open.group == group && is_host(&open.host, parts.host);
        let open = self.open.iter().find(is_here)?;
        let event = self.events.get(open.event)?;
        let lines = if group == "oom" { NEAR_LINES_OOM } else { NEAR_LINES };
        let is_bare = parts.seconds.is_none() && parts.time.is_none();
        let in_time = match (open.seconds, parts.seconds) {
            (Some(began), Some(now)) => (0.0..NEAR_SECONDS).contains(&(now - began)),
            _ => match (open.minute, parts.time.and_then(minute)) {
                (Some(began), Some(now)) => began == now,
                // A line without a time goes on with the one before it.
                _ => is_bare || open.bare,
            },
        };
        let same = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
        let same_device = match group {
            "aer" => true,
            "sxid" => event.pci == reading.pci && event.code == reading.code,
            // Its lines name no GPU, and count for the last one that failed so.
            "gsp" => true,
            "nvme" => same(&event.device, &reading.device),
            _ => same(&event.pci, &reading.pci),
        };
        let other_victim = event.told.is_some()
            && reading.tells
            && event.pid.is_some()
            && reading.pid.is_some()
            && event.pid != reading.pid;
        let told_twice = group == "aer" && event.told.is_some() && reading.tells;
        (number - open.number <= lines && in_time && same_device && !other_victim && !told_twice).then_some(open.event)
    }

    /// What a later line of a report adds.
    fn absorb(&mut self, index: usize, reading: &Reading) {
        let event = &mut self.events[index];
        if reading.tells && event.told.is_none() {
            if event.row == Some("cper.boot") {
                // What is to be done about it is no longer what it was then.
                event.title = format!("{}, before the machine was started", reading.title);
            } else {
                event.title.clone_from(&reading.title);
                event.action.clone_from(&reading.action);
            }
            event.class = reading.class;
            event.told = reading.row;
            for (field, told) in [(&mut event.process, &reading.process), (&mut event.unit, &reading.unit)] {
                if told.is_some() {
                    field.clone_from(told);
                }
            }
            event.pid = reading.pid.or(event.pid);
        }
        // Of a switch's error, the first line says how bad it is.
        if reading.class != EventClass::Sxid {
            event.severity = event.severity.max(reading.severity);
        }
        if event.class == EventClass::Nvrm && event.text.len() < LONGEST {
            event.text = format!("{} {}", event.text, reading.text);
        }
        if event.pci.is_some() && reading.pci.is_some() && event.pci != reading.pci {
            // A port reports what the device behind it did.
            if reading.tells || event.device.is_none() {
                event.device.clone_from(&reading.pci);
            }
        }
        for (field, told) in [
            (&mut event.pci, &reading.pci),
            (&mut event.device, &reading.device),
            (&mut event.unit, &reading.unit),
            (&mut event.process, &reading.process),
        ] {
            if field.is_none() {
                field.clone_from(told);
            }
        }
        event.pid = event.pid.or(reading.pid);
        // A module is told of its function alone.
        if event.function.is_none() {
            event.function.clone_from(&reading.function);
            event.module.clone_from(&reading.module);
        }
    }

    /// An event of one line: the same as before, or a new one.
    fn single(&mut self, reading: &Reading, line: &[u8], parts: &lines::Parts, number: u64) -> Option<usize> {
        let event = event_of(reading, line, parts, number);
        let key = Key::of(&event, true);
        if let Some(index) = self.by_key.get(&key).copied() {
            self.again(index, parts, number);
            return Some(index);
        }
        let kind = Key::of(&event, false);
        let (texts, last) = self.alike.get(&kind).copied().unwrap_or_default();
        if texts >= MOST_ALIKE {
            self.again(last, parts, number);
            return Some(last);
        }
        if self.events.len() >= MOST {
            self.fold_when_worth_it();
        }
        if self.events.len() >= MOST {
            self.left_out += 1;
            return None;
        }
        let index = self.events.len();
        self.events.push(event);
        self.by_key.insert(key, index);
        self.alike.insert(kind, (texts + 1, index));
        Some(index)
    }

    fn again(&mut self, index: usize, parts: &lines::Parts, number: u64) {
        let event = &mut self.events[index];
        event.count += 1;
        event.last_number = number;
        event.last_seconds = parts.seconds;
        event.cleared = None;
        event.prefixes[1].clear();
        event.prefixes[1].extend_from_slice(parts.prefix);
    }

    /// Ends the events of a class, or all, that some rows read, or any, of a device, or of all, on the machine that a
    /// line is of; those that happened before the line of a number, or all so far.
    fn clear(
        &mut self,
        class: Option<EventClass>,
        of: &[String],
        device: Option<&str>,
        parts: &lines::Parts,
        why: &str,
        before: Option<u64>,
    ) {
        let one_host = !self.has_several_hosts;
        let here = |event: &Event| {
            // Where only one machine is named, it is the one that the other lines are of: it gets its name during the boot.
            one_host && (event.host.is_none() || parts.host.is_none()) || is_of(event, parts.host)
        };
        let of_row = |event: &Event| of.is_empty() || of.iter().any(|of| event.row == Some(of.as_str()));
        let in_time = |event: &Event| before.is_none_or(|before| event.last_number < before);
        let of_class = |event: &Event| class.is_none_or(|class| event.class == class);
        let ends = |event: &Event| of_class(event) && of_row(event) && in_time(event) && event.cleared.is_none();
        for event in self.events.iter_mut().filter(|event| ends(event) && here(event)) {
            let same = device.is_none_or(|device| {
                event.pci.as_deref() == Some(device)
                    || event.device.as_deref() == Some(device)
                    || event.line.contains(device)
            });
            if same {
                event.cleared = Some(why.to_string());
            }
        }
    }

    fn fold_when_worth_it(&mut self) {
        if self.unfolded >= MOST / 2 {
            self.fold();
        }
    }

    /// Makes one of all reports that turned out to be the same.
    fn fold(&mut self) {
        let mut folded: Vec<Event> = Vec::new();
        let mut by_key: HashMap<Key, usize> = HashMap::new();
        self.alike.clear();
        for event in std::mem::take(&mut self.events) {
            let key = Key::of(&event, true);
            if let Some(index) = by_key.get(&key).copied() {
                let same = &mut folded[index];
                same.count += event.count;
                same.severity = same.severity.max(event.severity);
                if event.last_number > same.last_number {
                    same.last_number = event.last_number;
                    same.last_seconds = event.last_seconds;
                    same.prefixes[1] = event.prefixes[1].clone();
                    same.cleared = event.cleared;
                }
                continue;
            }
            let index = folded.len();
            let alike = self.alike.entry(Key::of(&event, false)).or_default();
            *alike = (alike.0 + 1, index);
            folded.push(event);
            by_key.insert(key, index);
        }
        self.events = folded;
        self.by_key = by_key;
        self.open.clear();
        self.unfolded = 0;
        for known in self.known.values_mut() {
            known.events.clear();
        }
    }

    /// What the log says.
    pub fn finish(mut self) -> Log {
        self.fold();
        let mut events = self.events;
        events.sort_by_key(|event| event.line_number);
        for event in &mut events {
            let [first, last] = &event.prefixes;
            event.first = time_of(first);
            event.last = time_of(last);
        }
        consequences(&mut events);
        repeated(&mut events);
        for event in &mut events {
            event.was = event.severity;
            // What a start of the machine ended, and what its firmware kept of the time before, is history.
            if event.row == Some("cper.boot") {
                event.cleared = Some(STARTED_AGAIN.to_string());
            }
            if event.cleared.as_deref() == Some(STARTED_AGAIN) {
                event.severity = Severity::Info;
            }
        }
        let (booted, driver_loaded) = (self.booted, self.driver_loaded);
        let is_log = self.is_log || !events.is_empty() || booted.is_some();
        Log {
            events,
            lines: self.lines,
            booted,
            driver_loaded,
            left_out: self.left_out,
            is_log,
            is_binary: self.is_binary && !is_log,
            has_several_hosts: self.has_several_hosts,
        }
    }
}

/// What a message says.
fn read(message: &[u8], is_users: bool) -> Verdict {
    if !is_users && (memchr::memmem::find(message, b"Xid").is_some() || memchr::memmem::find(message, b"XID").is_some())
    {
        let text = String::from_utf8_lossy(message);
        if let Some(reading) = nvidia::read(&text) {
            return Verdict::Event(Box::new(reading));
        }
    }
    patterns::read(message, is_users)
}

/// What an Xid line says that was broken in two, as one copied out of a terminal or a mail may be: nothing where it was
/// not broken between the device and the code, or where the next line does not go on with it.
fn read_broken(message: &[u8], after: &[u8]) -> Option<Reading> {
    let begin = nvidia::cut_xid(message)?;
    let rest = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let rest = String::from_utf8_lossy(&rest[..rest.len().min(LONGEST)]);
    let rest = rest.trim();
    if rest.contains("Xid") {
        return None;
    }
    [format!("{begin}{rest}"), format!("{begin} {rest}")].iter().find_map(|joined| nvidia::read(joined))
}

fn event_of(reading: &Reading, line: &[u8], parts: &lines::Parts, number: u64) -> Event {
    let line = String::from_utf8_lossy(&line[..line.len().min(LONGEST_LINE)]);
    Event {
        line: line.trim_end_matches('\r').to_string(),
        line_number: number,
        class: reading.class,
        code: reading.code,
        host: parts.host.map(|host| String::from_utf8_lossy(host).into_owned()),
        pci: reading.pci.clone(),
        device: reading.device.clone(),
        unit: reading.unit.clone(),
        function: reading.function.clone(),
        module: reading.module.clone(),
        severity: reading.severity,
        title: reading.title.clone(),
        action: reading.action.clone(),
        count: 1,
        first: None,
        last: None,
        seconds: parts.seconds,
        last_seconds: parts.seconds,
        process: reading.process.clone(),
        pid: reading.pid,
        caused_by: reading.caused_by.clone(),
        cleared: None,
        prefixes: [parts.prefix.to_vec(), parts.prefix.to_vec()],
        text: reading.text.clone(),
        row: reading.row,
        told: None,
        was: reading.severity,
        last_number: number,
    }
}

fn is_of(event: &Event, host: Option<&[u8]>) -> bool {
    is_host(&event.host, host)
}

/// Whether a machine is the one that a line names.
fn is_host(known: &Option<String>, named: Option<&[u8]>) -> bool {
    known.as_deref().map(str::as_bytes) == named
}

/// When a line was written, as its prefix says it.
fn time_of(prefix: &[u8]) -> Option<String> {
    let parts = lines::parts(prefix);
    let time = parts.time.map(|time| String::from_utf8_lossy(time).trim().to_string());
    time.or_else(|| parts.seconds.map(|seconds| format!("{seconds:.6}")))
}

/// `19:57`
fn minute(time: &[u8]) -> Option<[u8; 5]> {
    let colon = time.iter().position(|byte| *byte == b':')?;
    time.get(colon.checked_sub(2)?..colon + 3)?.try_into().ok()
}

/// Says of each event what it follows from, where an earlier one explains it.
fn consequences(events: &mut [Event]) {
    for index in 0..events.len() {
        let (before, rest) = events.split_at_mut(index);
        let Some(event) = rest.first_mut() else { continue };
        if event.caused_by.is_some() {
            continue;
        }
        // The nearest of those that explain it is the cause.
        let cause = before.iter().rev().find(|cause| follows(event, cause));
        event.caused_by = cause.map(name);
    }
    // What the driver writes without a code just before the code.
    for index in 0..events.len() {
        let is_companion = events[index].class == EventClass::Nvrm && events[index].caused_by.is_none();
        let of_one = |other: &Event, event: &Event| {
            other.code == Some(79) && other.host == event.host && other.pci == event.pci && soon(other, event)
        };
        if is_companion && events[index].row == Some("nvrm.off_bus") {
            let cause =
                events[index + 1..].iter().find(|other| of_one(&events[index], other) || of_one(other, &events[index]));
            events[index].caused_by = cause.map(name);
        }
    }
}

/// From so many programs on, a unit counts as broken; the same as the setting gpu_unit_programs of the check gpu.units.
const UNIT_PROGRAMS: usize = 3;

/// The pids of programs, and their names.
type Programs<'e> = (BTreeSet<u64>, BTreeSet<&'e str>);
/// Machine and PCI address.
type Gpu<'e> = (Option<&'e str>, &'e str);

/// A program with a mistake fails on many units at once, and each of its runs does. A unit on which different programs
/// fail that fail nowhere else is broken. So judges the check gpu.units; it knows no more of programs than their pids.
fn repeated(events: &mut [Event]) {
    // Only an Xid 13 names a unit that computes. An Xid 31 (a wrong address) is a mistake of the program's.
    fn place(event: &Event) -> Option<(Gpu<'_>, &str)> {
        let unit = event.unit.as_deref().filter(|unit| unit.starts_with("GPC"))?;
        let tpc = unit.split(" SM ").next()?;
        let gpu = (event.host.as_deref(), event.pci.as_deref()?);
        (event.class == EventClass::Xid && event.code == Some(13)).then_some((gpu, tpc))
    }
    let mut units: HashMap<(Gpu, u64), BTreeSet<&str>> = HashMap::new();
    for event in events.iter() {
        if let (Some((gpu, unit)), Some(pid)) = (place(event), event.pid) {
            units.entry((gpu, pid)).or_default().insert(unit);
        }
    }
    let mut programs: HashMap<(Gpu, &str), Programs> = HashMap::new();
    for event in events.iter() {
        if let (Some((gpu, unit)), Some(pid)) = (place(event), event.pid)
            && units.get(&(gpu, pid)).is_some_and(|units| units.len() == 1)
        {
            let (pids, names) = programs.entry((gpu, unit)).or_default();
            pids.insert(pid);
            names.extend(event.process.as_deref());
        }
    }
    // Several runs of one program are no different programs. Old drivers tell no names.
    programs.retain(|_, (pids, names)| pids.len() >= UNIT_PROGRAMS && names.len() != 1);
    let counts: Vec<Option<(String, usize)>> = events
        .iter()
        .map(|event| {
            let (gpu, unit) = place(event)?;
            programs.get(&(gpu, unit)).map(|(pids, _)| (unit.to_string(), pids.len()))
        })
        .collect();
    for (event, count) in events.iter_mut().zip(counts) {
        let Some((unit, count)) = count else { continue };
        event.title = format!("{}; {count} programs met it at {unit} alone", event.title);
        event.action = "Different programs met it in the same unit of this GPU and nowhere else, so suspect the GPU: \
                        drain the node and test it (dcgmi diag -r 3). Replace the GPU if the test fails, or if more \
                        programs meet it."
            .to_string();
    }
}

fn name(cause: &Event) -> String {
    match (cause.class, cause.code) {
        (EventClass::Xid, Some(code)) => format!("Xid {code}"),
        (EventClass::Sxid, Some(code)) => format!("SXid {code}"),
        _ => cause.title.clone(),
    }
}

/// Whether two events came close to each other.
fn soon(one: &Event, other: &Event) -> bool {
    match (one.seconds, other.last_seconds, other.seconds, one.last_seconds) {
        (Some(began), Some(last), Some(first), Some(ended)) => {
            began <= last + CONSEQUENCE_SECONDS && first <= ended + CONSEQUENCE_SECONDS
        }
        _ => one.line_number.abs_diff(other.line_number) <= CONSEQUENCE_LINES,
    }
}

/// Whether `event` follows from `cause`, which came before it.
fn follows(event: &Event, cause: &Event) -> bool {
    let same_pci = event.pci.is_some() && event.pci == cause.pci;
    let of_either = same_pci || event.pci.is_some() && event.pci == cause.device;
    let root = cause.caused_by.is_none();
    if !root || event.host != cause.host || !soon(cause, event) {
        return false;
    }
    let fault = cause.code.and_then(|code| nvidia::fault(cause.class, code));
    match (event.class, event.code, cause.class, cause.code) {
        // Off the bus, nothing else that the driver says of the GPU means anything.
        (EventClass::Xid, Some(code), EventClass::Xid, Some(79)) if code != 79 => same_pci,
        (EventClass::Xid, Some(_), EventClass::Nvrm, None) => {
            same_pci && matches!(cause.row, Some("nvrm.off_bus")) && event.code != Some(79)
        }
        (EventClass::Nvrm, None, EventClass::Xid, Some(code)) => match &event.pci {
            Some(_) => same_pci,
            // The driver's asides name no GPU.
            None => {
                matches!(
                    event.row,
                    Some(
                        "nvrm.other"
                            | "nvrm.dump"
                            | "nvrm.gsp"
                            | "nvrm.fsp_dump"
                            | "nvrm.gone"
                            | "nvrm.stopped"
                            | "nvrm.registers"
                            | "nvrm.hangs"
                            | "nvrm.reset_required"
                            | "nvrm.fabric"
                            | "nvrm.no_memory"
                    )
                ) && matches!(code, 79 | 119 | 120 | 62 | 48 | 95 | 74 | 140 | 154)
            }
        },
        // Channels that are torn down, and what is to be done, follow from any error.
        (EventClass::Xid, Some(45 | 154), EventClass::Xid, Some(code)) => same_pci && !matches!(code, 45 | 154 | 43),
        (EventClass::Xid, Some(43), EventClass::Xid, Some(13 | 31 | 48 | 74 | 94 | 95 | 119)) => same_pci,
        // What a lost memory cell leads to.
        (EventClass::Xid, Some(63 | 64 | 94 | 95), EventClass::Xid, Some(48)) => same_pci,
        (EventClass::Xid, Some(63 | 64), EventClass::Xid, Some(94 | 95 | 140)) => same_pci,
        // GPUs lose the links to a switch that failed.
        (EventClass::Xid, Some(74), EventClass::Sxid, _) => {
            cause.severity == Severity::Critical && fault == Some(Class::Nvlink)
        }
        // What stands on a drive that went away.
        (EventClass::Fs | EventClass::Nvme, _, EventClass::Nvme, _) => match (&event.device, &cause.device) {
            (Some(part), Some(drive)) => {
                matches!(cause.row, Some("nvme.timeout" | "nvme.down" | "nvme.path"))
                    && cause.row != event.row
                    && part.strip_prefix(drive.as_str()).is_some_and(|rest| {
                        rest.is_empty() && event.row != Some("nvme.timeout") || rest.starts_with(['n', 'p', 'c'])
                    })
            }
            _ => false,
        },
        // A file system that could not read its disk.
        (EventClass::Fs, _, EventClass::Fs, _) => {
            let below =
                matches!(cause.row, Some("fs.io" | "fs.scsi" | "fs.ata" | "fs.raid" | "fs.raid_disk" | "fs.buffer"));
            let above = matches!(
                event.row,
                Some(
                    "fs.ext4"
                        | "fs.ext4_warning"
                        | "fs.journal_io"
                        | "fs.journal_data"
                        | "fs.xfs"
                        | "fs.btrfs"
                        | "fs.read_only"
                        | "fs.buffer"
                )
            ) || event.row.is_some_and(|row| row.ends_with("_damaged") || row.ends_with("_stopped"));
            below
                && above
                && cause.row != event.row
                && event
                    .device
                    .as_deref()
                    .zip(cause.device.as_deref())
                    .is_some_and(|(part, disk)| part.starts_with(disk))
        }
        // A link that went down because its cable or its adapter did.
        (EventClass::Infiniband, _, EventClass::Infiniband, _) => {
            event.row == Some("ib.down")
                && matches!(cause.row, Some("ib.module" | "ib.firmware" | "ib.health"))
                && same_pci
        }
        (EventClass::Aer, _, EventClass::Aer, _) => {
            matches!(event.row, Some("aer.recovered" | "aer.unrecovered" | "aer.reset_failed")) && of_either
        }
        _ => false,
    }
}

/// A quick hash of messages. Nobody gains by making them collide: a wrong hit needs the whole message to be equal.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        // Multiplying to twice the width and folding mixes well (as in wyhash).
        let mix = |hash: u64, word: u64| {
            let product = u128::from(hash ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93_u128;
            (product >> 64) as u64 ^ product as u64
        };
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.0 = mix(
                self.0,
                u64::from_le_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]]),
            );
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.0 = mix(self.0.wrapping_add(bytes.len() as u64), u64::from_le_bytes(last));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
