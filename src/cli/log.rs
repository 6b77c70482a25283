//! `punchlist log`: what a kernel log says happened.

use super::formats::{width, wrapped};
use super::{Failure, ListFormat, OK, patience, print};
use crate::knowledge::{Event, Log, Reader, Scan, Severity, scan};
use crate::printable::{counted, printable, printable_json};
use clap::Args;
use colored::{ColoredString, Colorize};
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

/// What is read at a time, in bytes. A longer line is cut there.
const PIECE: usize = 1 << 20;
/// Threads that look for lines to read, beside the one that reads them.
const SEEKERS: usize = 2;
/// Pieces that are on their way at most.
const UNDER_WAY: usize = 6;

/// How the files begin that have to be unpacked first (file(1), magic numbers of gzip, xz, zstd and bzip2).
const PACKED: &[(&[u8], &str)] =
    &[(b"\x1f\x8b", "zcat"), (b"\xfd7zXZ", "xzcat"), (b"\x28\xb5\x2f\xfd", "zstdcat"), (b"BZh", "bzcat")];

/// Read kernel logs, and say what happened in order of importance: each event once, with what to do.
///
/// Takes what dmesg, journalctl (also -o json), syslog and /dev/kmsg write, and pieces of it that somebody copied. The
/// exit status is 0 wherever the log could be read, whatever it says.
#[derive(Args)]
pub(super) struct ReadLog {
    /// Kernel logs; `-` or nothing is standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
}

impl ReadLog {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let files = if self.files.is_empty() { vec![PathBuf::from("-")] } else { self.files };
        patience::answer(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        let mut logs = Vec::new();
        for path in &files {
            logs.push((path.as_path(), read(path)?));
        }
        print(&match self.format {
            ListFormat::Json => as_json(&logs),
            ListFormat::Text => {
                let width = width();
                logs.iter().map(|(path, log)| as_text(path, log, width)).collect::<Vec<_>>().join("\n")
            }
        })?;
        Ok(OK)
    }
}

fn read(path: &Path) -> Result<Log, Failure> {
    let wrong = |error: io::Error| Failure::bad_input(format!("{}: {error}", path.display()));
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            let _ = writeln!(
                io::stderr(),
                "punchlist: paste a kernel log, then press Ctrl-D; for this machine's own: dmesg | punchlist log"
            );
        }
        return read_all(&mut io::stdin().lock(), path).map_err(wrong);
    }
    let mut file = File::open(path).map_err(wrong)?;
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        return Err(Failure::bad_input(format!("{}: a folder; name the log files in it", path.display())));
    }
    read_all(&mut file, path).map_err(wrong)
}

/// Reads a log to its end. Other threads look for the lines of interest, and this one reads them in their order.
fn read_all(from: &mut dyn Read, path: &Path) -> io::Result<Log> {
    let mut begin = [0; 2];
    let mut length = 0;
    while length < begin.len() {
        match from.read(&mut begin[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let log = match begin {
        [0xFF, 0xFE] => read_bytes(&mut Utf16::new(from, u16::from_le_bytes), path),
        [0xFE, 0xFF] => read_bytes(&mut Utf16::new(from, u16::from_be_bytes), path),
        _ => read_bytes(&mut begin[..length].chain(from), path),
    }?;
    match log.is_binary {
        true => Err(io::Error::new(
            ErrorKind::InvalidData,
            "it is no text, and no line in it looks like one of a kernel log; punchlist log reads what dmesg and journalctl print",
        )),
        false => Ok(log),
    }
}

/// A text of UTF-16 as UTF-8. PowerShell's `>` writes it, behind a mark that tells the order of its bytes.
struct Utf16<'f> {
    from: &'f mut dyn Read,
    unit: fn([u8; 2]) -> u16,
    /// The first half of a unit, and the first unit of a character, that the next bytes end.
    byte: Option<u8>,
    high: Option<u16>,
    text: Vec<u8>,
    given: usize,
}

impl<'f> Utf16<'f> {
    fn new(from: &'f mut dyn Read, unit: fn([u8; 2]) -> u16) -> Utf16<'f> {
        Utf16 { from, unit, byte: None, high: None, text: Vec::new(), given: 0 }
    }

    /// The next characters; whether there may be more.
    fn refill(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 1 << 13];
        let length = self.from.read(&mut bytes)?;
        let bytes: Vec<u8> = self.byte.take().into_iter().chain(bytes[..length].iter().copied()).collect();
        let pairs = bytes.chunks_exact(2);
        // Half a unit at the end is none.
        self.byte = pairs.remainder().first().copied().filter(|_| length > 0);
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        units.extend(pairs.map(|pair| (self.unit)([pair[0], pair[1]])));
        if length > 0 {
            self.high = units.pop_if(|unit| (0xD800..0xDC00).contains(unit));
        }
        self.text = String::from_utf16_lossy(&units).into_bytes();
        self.given = 0;
        Ok(length > 0)
    }
}

impl Read for Utf16<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() && self.refill()? {}
        let length = into.len().min(self.text.len() - self.given);
        into[..length].copy_from_slice(&self.text[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

fn read_bytes(from: &mut dyn Read, path: &Path) -> io::Result<Log> {
    let mut reader = Reader::default();
    let mut pieces =
        Pieces { from, rest: Vec::new(), is_first: true, in_line: false, at_end: false, spare: Vec::new() };
    // Most logs are small.
    let Some(first) = pieces.next(path)? else { return Ok(reader.finish()) };
    let Some(second) = pieces.next(path)? else {
        reader.text(&first);
        return Ok(reader.finish());
    };
    thread::scope(|scope| {
        let mut seekers: Vec<Seeker> = Vec::new();
        for _ in 0..SEEKERS {
            let (give, pieces) = mpsc::sync_channel::<Vec<u8>>(UNDER_WAY);
            let (found, take) = mpsc::sync_channel(UNDER_WAY);
            scope.spawn(move || {
                for piece in pieces {
                    let lines = scan(&piece);
                    if found.send((piece, lines)).is_err() {
                        return;
                    }
                }
            });
            seekers.push(Seeker { give, take });
        }
        let mut ready = VecDeque::from([first, second]);
        let (mut given, mut taken) = (0, 0);
        loop {
            while given - taken < UNDER_WAY {
                let piece = match ready.pop_front() {
                    Some(piece) => Some(piece),
                    None => pieces.next(path)?,
                };
                let Some(piece) = piece else { break };
                // A seeker ends only when its channel does.
                if seekers[given % SEEKERS].give.send(piece).is_err() {
                    return Err(io::Error::other("a thread ended"));
                }
                given += 1;
            }
            if taken == given {
                return Ok(reader.finish());
            }
            let (piece, lines) =
                seekers[taken % SEEKERS].take.recv().map_err(|_| io::Error::other("a thread ended"))?;
            taken += 1;
            reader.take(&piece, &lines);
            pieces.spare.push(piece);
        }
    })
}

/// A thread that looks for the lines of interest.
struct Seeker {
    give: mpsc::SyncSender<Vec<u8>>,
    take: mpsc::Receiver<(Vec<u8>, Scan)>,
}

/// A log in pieces that end with a line.
struct Pieces<'f> {
    from: &'f mut dyn Read,
    /// The beginning of a line that the next piece ends.
    rest: Vec<u8>,
    is_first: bool,
    /// Whether the beginning of the line that goes on has been handed out.
    in_line: bool,
    at_end: bool,
    spare: Vec<Vec<u8>>,
}

impl Pieces<'_> {
    fn next(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        while !self.at_end {
            // One that was used before keeps its content, so that nothing has to be written over twice.
            let mut piece = self.spare.pop().unwrap_or_default();
            piece.resize(PIECE, 0);
            let mut filled = self.rest.len();
            piece[..filled].copy_from_slice(&self.rest);
            self.rest.clear();
            while filled < PIECE {
                match self.from.read(&mut piece[filled..]) {
                    Ok(0) => {
                        self.at_end = true;
                        break;
                    }
                    Ok(length) => filled += length,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            piece.truncate(filled);
            if std::mem::take(&mut self.is_first) {
                refuse_packed(&piece, path)?;
            }
            if self.in_line {
                // The rest of a line that is longer than a piece.
                let end = memchr::memchr(b'\n', &piece).map_or(piece.len(), |end| end + 1);
                self.in_line = end == piece.len() && !piece.ends_with(b"\n");
                piece.drain(..end);
            }
            if !self.at_end {
                match memchr::memrchr(b'\n', &piece) {
                    Some(end) => self.rest.extend_from_slice(&piece[end + 1..]),
                    None => self.in_line = self.in_line || !piece.is_empty(),
                }
                piece.truncate(piece.len() - self.rest.len());
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}

fn refuse_packed(begin: &[u8], path: &Path) -> io::Result<()> {
    let Some((_, tool)) = PACKED.iter().find(|(magic, _)| begin.starts_with(magic)) else { return Ok(()) };
    let message = match path == Path::new("-") {
        true => format!("it is compressed; unpack it first ({tool})"),
        false => format!("it is compressed; run: {tool} {} | punchlist log", path.display()),
    };
    Err(io::Error::new(ErrorKind::InvalidData, message))
}

const SAYS_NOTHING: &str = "so it says nothing, neither good nor bad.";

fn as_json(logs: &[(&Path, Log)]) -> String {
    let mut events: Vec<(&Event, Json)> = Vec::new();
    for (path, log) in logs {
        for event in log.by_importance() {
            let mut record = serde_json::to_value(event).unwrap_or_default();
            record["file"] = path.display().to_string().into();
            events.push((event, record));
        }
    }
    // Stable, so that the order within a file stays.
    events.sort_by_key(|(event, _)| std::cmp::Reverse(event.severity));
    let document = json!({
        "files": logs.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>(),
        "lines": logs.iter().map(|(_, log)| log.lines).sum::<u64>(),
        // What is no log gives no all-clear.
        "no_logs": logs.iter().filter(|(_, log)| !log.is_log).map(|(path, _)| path.display().to_string()).collect::<Vec<_>>(),
        "left_out": logs.iter().map(|(_, log)| log.left_out).sum::<u64>(),
        "events": events.into_iter().map(|(_, record)| record).collect::<Vec<_>>(),
    });
    printable_json(format!("{}\n", serde_json::to_string_pretty(&document).unwrap_or_default()))
}

/// Columns that a title and the values of an event begin behind.
const TITLE: usize = 11;
const VALUE: usize = 14;

fn as_text(path: &Path, log: &Log, width: usize) -> String {
    let name = if path == Path::new("-") { "standard input".to_string() } else { path.display().to_string() };
    let lines = usize::try_from(log.lines).unwrap_or(usize::MAX);
    let mut text = format!("{}\n", printable(&format!("{name} · {}", counted(lines, "line", "lines"))).bold());
    if log.events.is_empty() {
        // Whoever may not read a log often gets an empty one.
        let says = match log.lines {
            0 => format!("It is empty, {SAYS_NOTHING}"),
            1 if !log.is_log => format!("The one line does not look like a kernel log, {SAYS_NOTHING}"),
            lines if !log.is_log => format!("None of the {lines} lines looks like a kernel log, {SAYS_NOTHING}"),
            _ => "Nothing in it says that something is wrong.".to_string(),
        };
        let _ = writeln!(text, "\n{}", wrapped(&says, width, 0));
        return text;
    }
    for event in log.by_importance() {
        let times = if event.count > 1 { format!("  ×{}", event.count) } else { String::new() };
        let title = wrapped(&format!("{}{times}", printable(&event.title)), width, TITLE);
        // The count is no part of the title.
        let title = title.strip_suffix(&times).unwrap_or(&title);
        let _ = writeln!(text, "\n {}  {}{times}", word(event.severity), title.bold());
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(text, "    {name:<9} {}", wrapped(&printable(value), width, VALUE));
        };
        let class = event.class.word().to_string();
        let host = event.host.clone().filter(|_| log.has_several_hosts);
        let place = [host, event.pci.clone(), event.device.clone(), event.unit.clone(), code_of(event), process(event)];
        let place: Vec<String> = std::iter::once(Some(class)).chain(place).flatten().collect();
        row("what", &place.join(" · "));
        match (&event.first, &event.last) {
            (Some(first), Some(last)) if event.count > 1 && first != last => row("when", &format!("{first} to {last}")),
            (Some(first), _) => row("when", first),
            (None, _) => {}
        }
        let shown: String = event.line.trim().chars().take(300).collect();
        row("seen", &format!("line {}: {shown}", event.line_number));
        if let Some(cause) = &event.caused_by {
            row("after", &format!("it is a consequence of: {cause}"));
        }
        if let Some(end) = &event.cleared {
            row("over", end);
        }
        row("next", &event.action);
    }
    if log.left_out > 0 {
        let says = format!("{} lines of further events, of which there are too many different ones.", log.left_out);
        let _ = writeln!(text, "\n{}", wrapped(&says, width, 0));
    }
    text
}

/// What of the kernel ran then.
fn code_of(event: &Event) -> Option<String> {
    let function = event.function.as_ref()?;
    Some(match &event.module {
        Some(module) => format!("in {function}, module {module}"),
        None => format!("in {function}"),
    })
}

fn process(event: &Event) -> Option<String> {
    match (&event.process, event.pid) {
        (Some(process), Some(pid)) => Some(format!("{process} ({pid})")),
        (Some(process), None) => Some(process.clone()),
        (None, Some(pid)) => Some(format!("process {pid}")),
        (None, None) => None,
    }
}

fn word(severity: Severity) -> ColoredString {
    match severity {
        Severity::Critical => "CRITICAL".red().bold(),
        Severity::Warning => "WARNING ".yellow().bold(),
        Severity::Info => "INFO    ".normal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_fits_the_width() {
        let mut reader = Reader::default();
        for _ in 0..3 {
            reader.text(
                b"[    5.000000] NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name=solver, Ch 00000010, intr 00000000. MMU Fault: \
                  ENGINE GRAPHICS GPC2 GPCCLIENT_T1_3 faulted @ 0x7f00_00001000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ\n",
            );
        }
        let log = reader.finish();
        for width in [50, 72, 120] {
            let text = as_text(Path::new("kern.log"), &log, width);
            let plain = String::from_utf8(strip(text.as_bytes())).unwrap();
            let widest = plain.lines().map(|line| line.chars().count()).max().unwrap();
            // Nothing is lost, and the room is used.
            assert!(widest <= width && widest > width - 16, "{widest} of {width}:\n{plain}");
            let words = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>().join(" ");
            assert!(words(&plain).contains(&words(&log.events[0].title)) && plain.contains("×3"), "{plain}");
            assert!(words(&plain).contains(&words(&log.events[0].line)), "{plain}");
        }
        let nothing = as_text(Path::new("-"), &Reader::default().finish(), 50);
        let plain = String::from_utf8(strip(nothing.as_bytes())).unwrap();
        assert!(plain.contains("It is empty") && plain.lines().all(|line| line.chars().count() <= 50), "{plain}");
    }

    fn strip(text: &[u8]) -> Vec<u8> {
        let mut plain = text.to_vec();
        while let Some(at) = plain.iter().position(|byte| *byte == 0x1b) {
            let end = at + plain[at..].iter().position(u8::is_ascii_alphabetic).unwrap_or(0);
            plain.drain(at..=end);
        }
        plain
    }
}
