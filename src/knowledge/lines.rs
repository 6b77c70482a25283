//! A line of a kernel log taken apart: what stands before the message, and when that says it was written.
//!
//! Logs come as `dmesg` prints them (with seconds, with dates, with levels), from journalctl (short, ISO, JSON), from
//! syslog, from /dev/kmsg, from `grep` with file names in front, and copied out of mails.

use std::borrow::Cow;

/// How much of a line's beginning is looked at for a time, in bytes.
const LONGEST_PREFIX: usize = 200;

/// Where the message of a line begins, and what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Parts<'l> {
    /// Everything before the message.
    pub prefix: &'l [u8],
    /// Seconds since boot, where it says them.
    pub seconds: Option<f64>,
    /// The wall clock's time as it is written, where it says one.
    pub time: Option<&'l [u8]>,
    /// The program that wrote it, where it says that it was not the kernel.
    pub program: Option<&'l [u8]>,
    /// The machine that wrote it, where it names one. `localhost`, as early in a boot, names none.
    pub host: Option<&'l [u8]>,
    /// What was written.
    pub message: &'l [u8],
}

/// Takes a line apart.
pub fn parts(line: &[u8]) -> Parts<'_> {
    let mut cut = Cut { line, at: 0, seconds: None, time: None, program: None, host: None };
    while cut.step() {}
    Parts {
        prefix: &line[..cut.at],
        seconds: cut.seconds,
        time: cut.time,
        program: cut.program,
        host: cut.host,
        message: line[cut.at..].trim_ascii_end(),
    }
}

/// Whether a line begins as those of a log do: with a time, a level or the kernel's name, or is a record of the journal.
pub(super) fn is_of_log(line: &[u8]) -> bool {
    let record = match line.first() {
        Some(b'{') => from_json(line),
        _ => without_colours(line),
    };
    let parts = parts(record.as_deref().unwrap_or(line));
    let begin = parts.prefix.trim_ascii_start();
    parts.seconds.is_some()
        || parts.time.is_some()
        || begin.starts_with(b"<")
        || memchr::memmem::find(begin, b"kern").is_some()
        || record.is_some() && line.starts_with(b"{")
}

struct Cut<'l> {
    line: &'l [u8],
    at: usize,
    seconds: Option<f64>,
    time: Option<&'l [u8]>,
    program: Option<&'l [u8]>,
    host: Option<&'l [u8]>,
}

impl<'l> Cut<'l> {
    /// Takes one more piece off the beginning; whether there was one.
    fn step(&mut self) -> bool {
        if self.at > LONGEST_PREFIX {
            return false;
        }
        let rest = &self.line[self.at..];
        let Some(first) = rest.first() else { return false };
        match first {
            b'|' | b'>' => self.skip(1),
            first if first.is_ascii_whitespace() => self.skip(1),
            b'<' => self.level(rest),
            b'[' => self.bracket(rest),
            // A file of UTF-8 may begin with a mark.
            0xEF if rest.starts_with(b"\xEF\xBB\xBF") => self.skip(3),
            _ => self.word(rest),
        }
    }

    fn skip(&mut self, length: usize) -> bool {
        self.at += length;
        true
    }

    /// `<6>` of syslog.
    fn level(&mut self, rest: &[u8]) -> bool {
        let digits = rest[1..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) || rest.get(digits + 1) != Some(&b'>') {
            return false;
        }
        // The version of RFC 5424 may follow.
        let version = rest[digits + 2..].starts_with(b"1 ") && moment(&rest[digits + 4..]).is_some();
        self.skip(digits + if version { 4 } else { 2 })
    }

    /// `[   12.345678]`, `[ T1946]`, `[Sun Apr 26 23:58:42 2026]`, `[2026-04-22T21:27:51Z]:`, `[warning]`.
    fn bracket(&mut self, rest: &'l [u8]) -> bool {
        let Some(end) = rest.iter().take(64).position(|byte| *byte == b']') else { return false };
        let inside = rest[1..end].trim_ascii();
        let after = if rest.get(end + 1) == Some(&b':') { end + 2 } else { end + 1 };
        if let Some(seconds) = seconds(inside) {
            self.seconds = self.seconds.or(Some(seconds));
            return self.skip(after);
        }
        if is_moment(inside) || is_minute(inside) {
            self.time = Some(inside);
            return self.skip(after);
        }
        // `[  +0.000012]`: since the line before.
        if inside.strip_prefix(b"+").is_some_and(|since| seconds(since).is_some()) {
            return self.skip(after);
        }
        // A thread, a CPU, a level.
        let thread = inside.first().is_some_and(|first| matches!(first, b'T' | b'C'))
            && inside.len() > 1
            && inside[1..].iter().all(u8::is_ascii_digit);
        (thread || LEVELS.contains(&inside)) && self.skip(after)
    }

    fn word(&mut self, rest: &'l [u8]) -> bool {
        let end = rest.iter().take(LONGEST_PREFIX).position(|byte| byte.is_ascii_whitespace()).unwrap_or(rest.len());
        let word = &rest[..end];
        // `4,1227,437812,-;message` of /dev/kmsg.
        if word[0].is_ascii_digit()
            && let Some(semicolon) = rest.iter().take(80).position(|byte| *byte == b';')
            && let Some(microseconds) = kmsg_microseconds(&rest[..semicolon])
        {
            self.seconds = Some(microseconds as f64 / 1e6);
            return self.skip(semicolon + 1);
        }
        if let Some(length) = moment(rest) {
            self.time = Some(&rest[..length]);
            self.at += length;
            self.after_moment();
            return true;
        }
        if is_kernel(word) {
            return is_prefix(word, &rest[end..]) && self.skip(end);
        }
        // `kern  :warn  :` of dmesg -x, `kern: warning:` of others.
        let bare = word.strip_suffix(b":").unwrap_or(word);
        if LEVELS.contains(&bare) {
            let colon = rest[bare.len()..].iter().take(8).position(|byte| !matches!(byte, b' ')).unwrap_or(0);
            if rest.get(bare.len() + colon) == Some(&b':') {
                return self.skip(bare.len() + colon + 1);
            }
        }
        // `host kernel:` and `host level kernel:` behind a time.
        if self.seconds.is_some() || self.time.is_some() {
            let mut after = rest;
            for _ in 0..2 {
                let length = after.iter().take(LONGEST_PREFIX).position(|byte| matches!(byte, b' ' | b':'));
                let Some(length) = length.filter(|length| after[*length] == b' ') else { break };
                after = after[length..].trim_ascii_start();
                if after.starts_with(b"kernel: ") {
                    self.of_host(rest.split(|byte| *byte == b' ').next().unwrap_or_default());
                    return self.skip(rest.len() - after.len() + b"kernel:".len());
                }
            }
        }
        // What RFC 5424 has for those who write no process, message and data.
        if self.time.is_some() && rest.starts_with(b"- - - ") {
            return self.skip(5);
        }
        self.address(word) || self.file(rest)
    }

    /// What follows a moment: `host kernel:`, `host program[12]:`, `kernel:`, or the message.
    fn after_moment(&mut self) {
        let line = self.line;
        let word = |from: usize| {
            let from = from + line[from..].iter().take_while(|byte| **byte == b' ').count();
            let length = line[from..].iter().take(100).position(|byte| byte.is_ascii_whitespace());
            (from, from + length.unwrap_or(line[from..].len().min(100)))
        };
        let (start, end) = word(self.at);
        let (second, second_end) = word(end);
        let is_message = is_kernel(&line[start..end]) && !is_prefix(&line[start..end], &line[end..]);
        if is_message || names_crashed(&line[start..]) {
            return;
        }
        if let Some(program) = program(&line[start..end]) {
            self.program = (!is_kernel(&line[start..end])).then_some(program);
            self.at = end;
        } else if !line[start..end].ends_with(b":")
            && let Some(program) = program(&line[second..second_end])
        {
            self.program = (!is_kernel(&line[second..second_end])).then_some(program);
            self.of_host(&line[start..end]);
            self.at = second_end;
        }
    }

    /// The word where a log names the machine. Some write a level there (`ERR`, `kern.err`).
    fn of_host(&mut self, word: &'l [u8]) {
        let is_level = |word: &[u8]| LEVELS.contains(&word.to_ascii_lowercase().as_slice());
        let is_facility = word.iter().position(|byte| *byte == b'.').is_some_and(|dot| is_level(&word[..dot]));
        let is_name = word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
        let names_none = matches!(word, b"" | b"-" | b"localhost" | b"localhost.localdomain");
        if is_name && !names_none && !is_level(word) && !is_facility {
            self.host = Some(word);
        }
    }

    /// `10.0.0.7:`
    fn address(&mut self, word: &'l [u8]) -> bool {
        let Some(word_only) = word.strip_suffix(b":") else { return false };
        let dots = word_only.iter().filter(|byte| **byte == b'.').count();
        let plain = word_only.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        if !plain || dots != 3 {
            return false;
        }
        if self.at == 0 {
            self.of_host(word_only);
        }
        self.skip(word.len())
    }

    /// `/var/log/kern.log:1234:` and `dmesg-17-` of grep, `node7: ` of pdsh, where something follows that begins a line.
    fn file(&mut self, rest: &'l [u8]) -> bool {
        if self.at > 0 {
            return false;
        }
        let word = rest.iter().take(LONGEST_PREFIX).position(|byte| *byte == b' ').unwrap_or(rest.len());
        let ends = rest[..word.min(LONGEST_PREFIX)].iter().enumerate();
        let mut ends = ends.filter(|(_, byte)| matches!(byte, b':' | b'-')).map(|(at, _)| at + 1);
        let Some(end) = ends.find(|end| begins_line(&rest[*end..])) else { return false };
        // Only pdsh and its like leave a space behind the name, and theirs is the machine's.
        let after = &rest[end..];
        if rest[end - 1] == b':' && after.starts_with(b" ") && !after.trim_ascii_start().starts_with(b"NVRM") {
            self.of_host(&rest[..end - 1]);
        }
        self.skip(end)
    }
}

/// Facilities and levels as dmesg and others name them.
const LEVELS: &[&[u8]] = &[
    b"kern", b"user", b"daemon", b"auth", b"syslog", b"emerg", b"alert", b"crit", b"err", b"error", b"warn",
    b"warning", b"notice", b"info", b"debug",
];

/// Whether something stands here that begins a line of a log.
fn begins_line(rest: &[u8]) -> bool {
    let trimmed = rest.trim_ascii_start();
    let bracket = trimmed.strip_prefix(b"[").and_then(|inside| inside.split(|byte| *byte == b']').next());
    let bracket =
        bracket.is_some_and(|inside| seconds(inside.trim_ascii()).is_some() || is_moment(inside.trim_ascii()));
    bracket || trimmed.starts_with(b"kernel:") || trimmed.starts_with(b"NVRM") || moment(trimmed).is_some()
}

/// `program[12]: segfault at`: so the kernel names who crashed, and it is not the program that writes.
fn names_crashed(rest: &[u8]) -> bool {
    let word = rest.iter().take(100).position(|byte| *byte == b' ').unwrap_or(rest.len());
    let after = rest[word..].trim_ascii_start();
    let says = [&b"segfault at "[..], b"general protection", b"trap ", b"unhandled "];
    program(&rest[..word]).is_some_and(|program| !is_kernel(program)) && says.iter().any(|says| after.starts_with(says))
}

fn is_kernel(word: &[u8]) -> bool {
    matches!(word, b"kernel:" | b"kernel" | b"vmkernel:" | b"kernel[0]:")
}

/// Whether a word that names the kernel stands before a message: alone, it may begin what the kernel says of itself.
fn is_prefix(kernel: &[u8], after: &[u8]) -> bool {
    let goes_on = after.iter().find(|byte| **byte != b' ');
    kernel.contains(&b':') || matches!(goes_on, Some(b'[' | b'<' | b':' | b'-'))
}

/// `program[12]:` or `kernel:`.
fn program(word: &[u8]) -> Option<&[u8]> {
    if is_kernel(word) {
        return Some(word);
    }
    let inside = word.strip_suffix(b"]:").or_else(|| word.strip_suffix(b"]"))?;
    let open = inside.iter().rposition(|byte| *byte == b'[')?;
    (open > 0 && open + 1 < inside.len() && inside[open + 1..].iter().all(u8::is_ascii_digit))
        .then_some(&inside[..open])
}

/// `12.345678`
fn seconds(text: &[u8]) -> Option<f64> {
    let point = text.iter().position(|byte| *byte == b'.')?;
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if point > 12 || !digits(&text[..point]) || !digits(&text[point + 1..]) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The third field of what stands before the `;` of a record of /dev/kmsg.
pub fn kmsg_microseconds(head: &[u8]) -> Option<u64> {
    let head = head.rsplit(|byte| *byte == b' ').next()?;
    let mut fields = head.split(|byte| *byte == b',').map(|field| std::str::from_utf8(field).ok());
    let (_level, _number) = (fields.next()??.parse::<u32>().ok()?, fields.next()??.parse::<u64>().ok()?);
    fields.next()??.parse().ok()
}

/// Whether a text is a moment as a whole.
fn is_moment(text: &[u8]) -> bool {
    moment(text).is_some_and(|length| text[length..].trim_ascii().len() <= 6) && text.len() < 48
}

/// How long the moment is that stands here: `2026-04-22T21:27:51.29Z`, `2026-04-22 21:27:51,3 +0200`, `Jan 16 14:53:01`,
/// `4月 20 19:57:08`, `Sun Apr 26 23:58:42 2026`, `1768953677.123456`, `19:37:49`. Months may be in any language.
fn moment(rest: &[u8]) -> Option<usize> {
    let word = |from: usize| {
        let from = from + rest.get(from..)?.iter().take_while(|byte| **byte == b' ').count();
        let length = rest[from..].iter().take(40).take_while(|byte| !byte.is_ascii_whitespace()).count();
        (length > 0).then_some((from, from + length))
    };
    let (mut start, mut end) = word(0)?;
    let mut first = &rest[start..end];
    // `Mon 2025-01-06 10:00:00 CET`: the day of the week may stand before a date.
    if !first[0].is_ascii_digit()
        && let Some((date, date_end)) = word(end)
        && is_date(&rest[date..date_end])
    {
        (start, end) = (date, date_end);
        first = &rest[start..end];
    }
    if first[0].is_ascii_digit() {
        // The clock alone, or seconds since 1970.
        if clock(first) {
            return Some(end);
        }
        let whole = first.split(|byte| *byte == b'.').next().unwrap_or_default();
        if whole.len() == 10 && seconds(first).is_some() {
            return Some(end);
        }
        if is_date(first) {
            if first.len() > 11 && matches!(first[10], b'T' | b't' | b'_') {
                return Some(end);
            }
            let (next, next_end) = word(end)?;
            if clock(&rest[next..next_end]) {
                let zone = word(next_end).filter(|(from, to)| is_zone(&rest[*from..*to]));
                return Some(zone.map_or(next_end, |(_, to)| to));
            }
        }
    }
    // At most four words and then the clock.
    for count in 0..4 {
        let (next, next_end) = word(end)?;
        let here = &rest[next..next_end];
        if clock(here) {
            // A year may follow.
            let year = word(next_end).filter(|(from, to)| {
                to - from == 4 && rest[*from..*to].starts_with(b"20") && rest[*from..*to].iter().all(u8::is_ascii_digit)
            });
            return (count > 0).then_some(year.map_or(next_end, |(_, to)| to));
        }
        // Only names and numbers of days come before a clock.
        let plain = |word: &[u8]| {
            let bare = word.strip_suffix(b".").or_else(|| word.strip_suffix(b",")).unwrap_or(word);
            !bare.is_empty()
                && bare.len() <= 12
                && bare.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
        };
        if !plain(here) || !plain(first) {
            return None;
        }
        end = next_end;
    }
    None
}

/// `Feb22 04:01` of dmesg -H.
fn is_minute(text: &[u8]) -> bool {
    let (day, clock) = text.split_at(text.len().saturating_sub(6));
    let digit = |at: usize| clock.get(at).is_some_and(u8::is_ascii_digit);
    (4..=12).contains(&day.len())
        && day.last().is_some_and(u8::is_ascii_digit)
        && !day[0].is_ascii_digit()
        && (clock.first() == Some(&b' ') && clock.get(3) == Some(&b':'))
        && [1, 2, 4, 5].into_iter().all(digit)
}

/// `2026-04-22`, and what may follow it without a space.
fn is_date(word: &[u8]) -> bool {
    let dashes = word.len() >= 10 && matches!(word[4], b'-' | b'/') && matches!(word[7], b'-' | b'/');
    dashes && word[..4].iter().all(u8::is_ascii_digit)
}

/// `CET`, `+0200`
fn is_zone(word: &[u8]) -> bool {
    let name = (3..=5).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase) && word != b"NVRM";
    let offset = word.len() >= 5 && matches!(word[0], b'+' | b'-') && word[1..].iter().all(u8::is_ascii_digit);
    name || offset
}

/// `14:53:01`, also with a fraction.
fn clock(word: &[u8]) -> bool {
    let word = word.strip_suffix(b":").unwrap_or(word);
    let two = |at: usize| word.get(at..at + 2).is_some_and(|two| two.iter().all(u8::is_ascii_digit));
    let one_digit_hour = word.len() >= 7 && word[1] == b':';
    let at = if one_digit_hour { 1 } else { 2 };
    (one_digit_hour || two(0))
        && word.get(at) == Some(&b':')
        && two(at + 1)
        && word.get(at + 3) == Some(&b':')
        && two(at + 4)
        && word.get(at + 6).is_none_or(|byte| matches!(byte, b'.' | b',' | b'+' | b'-' | b'Z'))
}

/// A record of `journalctl -o json` as the line that `-o short-iso` would have printed, or nothing where it is none.
pub fn from_json(line: &[u8]) -> Option<Vec<u8>> {
    if !line.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let record: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    let text = |key: &str| match record.get(key) {
        Some(serde_json::Value::String(text)) => Some(Cow::Borrowed(text.as_str())),
        // What is no text is a list of bytes.
        Some(serde_json::Value::Array(bytes)) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| byte.as_u64()).map(|byte| byte as u8).collect();
            Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => None,
    };
    // Containers' logs have the line itself.
    if let (false, Some(line)) = (record.contains_key("MESSAGE"), text("log")) {
        return Some(line.into_owned().into_bytes());
    }
    let message = text("MESSAGE")?;
    let microseconds = text("_SOURCE_REALTIME_TIMESTAMP").or_else(|| text("__REALTIME_TIMESTAMP"));
    let microseconds: Option<u64> = microseconds.and_then(|text| text.parse().ok());
    let mut line = String::new();
    if let Some(microseconds) = microseconds {
        line += &format!("{}.{:06} ", microseconds / 1_000_000, microseconds % 1_000_000);
        line += &text("_HOSTNAME").filter(|host| !host.contains(' ')).unwrap_or("localhost".into());
        let program = text("SYSLOG_IDENTIFIER").or_else(|| text("_COMM")).unwrap_or("kernel".into());
        match (program.as_ref(), text("_TRANSPORT").as_deref()) {
            ("kernel", _) | (_, Some("kernel")) => line += " kernel: ",
            _ => line += &format!(" {program}[{}]: ", text("_PID").as_deref().unwrap_or("0")),
        }
    }
    line += &message;
    Some(line.into_bytes())
}

/// A line without what makes a terminal colourful, or nothing where it has none.
pub fn without_colours(line: &[u8]) -> Option<Vec<u8>> {
    let mut at = memchr::memchr(0x1b, line)?;
    let mut plain = line[..at].to_vec();
    while let Some(byte) = line.get(at) {
        if *byte == 0x1b {
            let letter = line[at..].iter().take(32).position(u8::is_ascii_alphabetic);
            at += letter.map_or(1, |letter| letter + 1);
        } else {
            plain.push(*byte);
            at += 1;
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "NVRM: Xid (PCI:0000:9c:00): 79, gone";

    fn of(prefix: &str) -> (Option<f64>, Option<String>, Option<String>, String) {
        let line = format!("{prefix}{MESSAGE}\r");
        let parts = parts(line.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (parts.seconds, parts.time.map(text), parts.program.map(text), text(parts.message))
    }

    #[test]
    fn the_message_is_found_behind_every_prefix() {
        for (prefix, seconds, time) in [
            ("", None, None),
            ("    ", None, None),
            ("\x0c[   12.345678] \x0c", Some(12.345678), None),
            ("[   12.345678] ", Some(12.345678), None),
            ("[   12.345678] [ T1946] ", Some(12.345678), None),
            ("[   12.345678][ T1946] ", Some(12.345678), None),
            ("[ 140.054924 ] ", Some(140.054924), None),
            ("<4>[   12.5] ", Some(12.5), None),
            ("<12>", None, None),
            ("kernel: ", None, None),
            ("4,1227,437812449932,-;", Some(437812.449932), None),
            ("4,1227,437812449932,-,caller=T12;", Some(437812.449932), None),
            ("[Sun Apr 26 23:58:42 2026] ", None, Some("Sun Apr 26 23:58:42 2026")),
            ("[So Apr 26 23:58:42 2026] ", None, Some("So Apr 26 23:58:42 2026")),
            ("Jan 16 14:53:01 node7 kernel: ", None, Some("Jan 16 14:53:01")),
            ("Jan  6 14:53:01 node7 kernel: [44705.73] ", Some(44705.73), Some("Jan  6 14:53:01")),
            ("Sep 16 19:21:05 kernel: [    0.568285] ", Some(0.568285), Some("Sep 16 19:21:05")),
            ("4月 20 19:57:08 node7 kernel: ", None, Some("4月 20 19:57:08")),
            ("déc. 03 07:57:08 node7 kernel: ", None, Some("déc. 03 07:57:08")),
            ("Mär 03 07:57:08 node7 kernel: ", None, Some("Mär 03 07:57:08")),
            ("2026-04-22T21:27:51+0200 node7 kernel: ", None, Some("2026-04-22T21:27:51+0200")),
            (
                "2026-04-22T21:27:51.291660+00:00 node7 kernel: [ 7.5] ",
                Some(7.5),
                Some("2026-04-22T21:27:51.291660+00:00"),
            ),
            ("2026-04-22 21:27:51 node7 kernel: ", None, Some("2026-04-22 21:27:51")),
            ("kern  :warn  : [    0.459445] ", Some(0.459445), None),
            ("kern  :warn  : 2026-04-22T21:27:51,283758+00:00 ", None, Some("2026-04-22T21:27:51,283758+00:00")),
            (
                "10.0.0.7: kern: warning: [2026-04-22T21:27:51.291660856Z]: ",
                None,
                Some("2026-04-22T21:27:51.291660856Z"),
            ),
            ("1768953677.123456 node7 kernel: ", None, Some("1768953677.123456")),
            ("[warning] kernel: [  417.145831] ", Some(417.145831), None),
            ("19:37:49  ", None, Some("19:37:49")),
            ("/var/log/kern.log:1234:Jan 16 14:53:01 node7 kernel: ", None, Some("Jan 16 14:53:01")),
            ("kern.log:[   12.5] ", Some(12.5), None),
            ("messages-20260101:77:Jan 16 14:53:01 node7 kernel: ", None, Some("Jan 16 14:53:01")),
            ("1234:[   12.5] ", Some(12.5), None),
            ("dmesg.txt-17-[   12.5] ", Some(12.5), None),
            ("node17: [   12.5] ", Some(12.5), None),
            ("[  +0.000012] ", None, None),
            ("[Feb22 04:01] ", None, Some("Feb22 04:01")),
            ("2026 Apr 22 21:27:51.749 node7 ERR kernel: [   12.5] ", Some(12.5), Some("2026 Apr 22 21:27:51.749")),
            ("Wed Apr 22 21:27:51 2026 kern.err kernel: [   12.5] ", Some(12.5), Some("Wed Apr 22 21:27:51 2026")),
            ("[   12.5] node7 kernel: ", Some(12.5), None),
            ("[   12.5] kernel: ", Some(12.5), None),
            ("<4>1 2026-04-22T21:27:51.291Z node7 kernel - - - ", None, Some("2026-04-22T21:27:51.291Z")),
            ("Wed 2026-04-22 21:27:51 CEST node7 kernel: ", None, Some("Wed 2026-04-22 21:27:51 CEST")),
            ("Wed 2026-04-22 21:27:51 UTC node7 kernel[0]: ", None, Some("Wed 2026-04-22 21:27:51 UTC")),
        ] {
            let expected = (seconds, time.map(str::to_string), None, MESSAGE.to_string());
            assert_eq!(of(prefix), expected, "{prefix}");
        }
        assert_eq!(of("Jan 16 14:53:01 node7 containerd[812]: ").2.as_deref(), Some("containerd"));
        assert_eq!(of("Jan 16 14:53:01 mcelog[812]: ").2.as_deref(), Some("mcelog"));
        // The kernel names who crashed just as a program names itself.
        let of_the_kernel = [
            "python3[12]: segfault at 0 ip 0",
            "traps: python3[12] trap divide error",
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        ];
        for says in of_the_kernel {
            let line = format!("2026-04-22T21:27:51,283758+00:00 {says}");
            let parts = parts(line.as_bytes());
            assert_eq!((parts.program, parts.message.trim_ascii()), (None, says.as_bytes()));
        }
    }

    #[test]
    fn a_message_is_not_mistaken_for_a_prefix() {
        for line in [
            "{1}[Hardware Error]: event severity: fatal",
            "mce: [Hardware Error]: CPU 1",
            "[drm:nv_drm_load [nvidia_drm]] *ERROR*",
            "pcieport 0000:00:1c.5: AER: x",
            "INFO: task a:1 blocked for more than 120 seconds.",
            "nfs: server 10.0.0.1 not responding",
            "Out of memory: Killed process 12 (x)",
            "kernel BUG at mm/slub.c:305!",
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "kernel tried to execute NX-protected page",
            "traps: python3[12] trap invalid opcode",
            "python3[12]: segfault at 0 ip 0",
            "",
            "[",
            "4,5",
            "é",
        ] {
            assert_eq!(parts(line.as_bytes()).message, line.as_bytes(), "{line}");
        }
    }

    #[test]
    fn white_space_of_any_kind_comes_before_a_message() {
        for white in ["\x0c", "\n", "\n\t \r", "[ 1.5] \x0c"] {
            let line = format!("{white}{MESSAGE}");
            assert_eq!(parts(line.as_bytes()).message, MESSAGE.as_bytes(), "{white:?}");
        }
        for nothing in ["\x0c", "\n \x0c", "[ 1.5] \n"] {
            assert_eq!(parts(nothing.as_bytes()).message, b"", "{nothing:?}");
        }
    }

    #[test]
    fn the_machine_is_found_where_a_line_names_it() {
        for (prefix, host) in [
            ("", None),
            ("[   12.345678] ", None),
            ("[Sun Apr 26 23:58:42 2026] ", None),
            ("kernel: ", None),
            ("Jan 16 14:53:01 node7 kernel: ", Some("node7")),
            ("Jan 16 14:53:01 node7 kernel: [44705.73] ", Some("node7")),
            ("Jan 16 14:53:01 node7.example kernel: ", Some("node7.example")),
            ("Jan 16 14:53:01 10.0.0.7 kernel: ", Some("10.0.0.7")),
            ("Jan 16 14:53:01 node7 mcelog[812]: ", Some("node7")),
            ("Jan 16 14:53:01 localhost kernel: ", None),
            ("Sep 16 19:21:05 kernel: [    0.568285] ", None),
            ("2026-04-22T21:27:51.291660+00:00 node7 kernel: [ 7.5] ", Some("node7")),
            ("Wed 2026-04-22 21:27:51 CEST node7 kernel: ", Some("node7")),
            ("1768953677.123456 node7 kernel: ", Some("node7")),
            ("[   12.5] node7 kernel: ", Some("node7")),
            ("<4>1 2026-04-22T21:27:51.291Z node7 kernel - - - ", Some("node7")),
            ("/var/log/kern.log:1234:Jan 16 14:53:01 node7 kernel: ", Some("node7")),
            ("kern.log:[   12.5] ", None),
            ("2026 Apr 22 21:27:51.749 node7 ERR kernel: [   12.5] ", Some("node7")),
            ("Wed Apr 22 21:27:51 2026 kern.err kernel: [   12.5] ", None),
            ("node17: [   12.5] ", Some("node17")),
            ("node17: Jan 16 14:53:01 localhost kernel: ", Some("node17")),
            ("10.0.0.7: kern: warning: [2026-04-22T21:27:51.291660856Z]: ", Some("10.0.0.7")),
        ] {
            let line = format!("{prefix}{MESSAGE}");
            let host = host.map(str::as_bytes);
            assert_eq!(
                (parts(line.as_bytes()).host, parts(line.as_bytes()).message),
                (host, MESSAGE.as_bytes()),
                "{prefix}"
            );
        }
        let of_json = |host: &str| {
            let record =
                format!(r#"{{"__REALTIME_TIMESTAMP":"1768953677123456",{host}"_TRANSPORT":"kernel","MESSAGE":"x"}}"#);
            parts(&from_json(record.as_bytes()).unwrap()).host.map(<[u8]>::to_vec)
        };
        assert_eq!(of_json(r#""_HOSTNAME":"node7","#), Some(b"node7".to_vec()));
        assert_eq!(of_json(""), None);
    }

    #[test]
    fn a_line_of_a_log_is_told_from_others() {
        for line in [
            "[ 1.5] usb 1-1: new device",
            "<6>usb 1-1: new device",
            "kernel: usb 1-1: new device",
            "kern  :info  : usb 1-1: new device",
            "Jan 16 14:53:01 node7 sshd[7]: hello",
            "6,1,500,-;usb 1-1: new device",
            "\u{1b}[32m[ 1.5] \u{1b}[0musb 1-1: new device",
            r#"{"MESSAGE":"usb 1-1: new device"}"#,
        ] {
            assert!(is_of_log(line.as_bytes()), "{line}");
        }
        for line in
            ["", "hello world", "error: no", "10.0.0.7: hello", "{\"a\":1}", "kernels are nuts", "[x] 1.5", "\0\0"]
        {
            assert!(!is_of_log(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn records_of_the_journal_are_read() {
        let record = format!(
            r#"{{"__REALTIME_TIMESTAMP":"1768953677123456","_HOSTNAME":"node7","SYSLOG_IDENTIFIER":"kernel","_TRANSPORT":"kernel","MESSAGE":"{MESSAGE}"}}"#
        );
        let line = from_json(record.as_bytes()).unwrap();
        assert_eq!((parts(&line).message, parts(&line).time), (MESSAGE.as_bytes(), Some(&b"1768953677.123456"[..])));
        let bytes = from_json(br#"{"MESSAGE":[78,86,82,77]}"#).unwrap();
        assert_eq!(bytes, b"NVRM");
        assert_eq!(from_json(br#"{"log":"[ 1.5] x\n","stream":"stderr"}"#).unwrap(), b"[ 1.5] x\n");
        assert_eq!(without_colours(b"\x1b[32m[ 1.5] \x1b[0mx\x1b[0m").unwrap(), b"[ 1.5] x");
        assert!(without_colours(b"[ 1.5] x").is_none());
        assert!(from_json(b"{1}[Hardware Error]: x").is_none() && from_json(b"{\"A\":1}").is_none());
    }
}
