//! What gives itself away by its form or by the words around it, in any text.
//!
//! Written out by hand and not as regular expressions: one pass over a text finds all of them, nothing has to be
//! compiled first, and rules such as "four numbers, but no version" can be said as they are.

use super::Kind;
use super::fields::{own_part, words};
use super::words::{
    is_country_ending, is_inner_ending, is_lustre_network, is_no_serial, is_nobodys_host, is_of_person,
    is_outer_ending, is_public, is_service_account, is_system_folder, is_telling, is_usual_folder, keeps_work,
    names_parts, secret_argument, secret_options,
};
use memchr::memmem;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// A part of a text that names something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// What it names.
    pub(super) kind: Kind,
}

/// What is known of the site, and helps to read its texts.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// Domains, in lower case: what ends in one is a host.
    pub(super) domains: Vec<String>,
    /// Names that hosts have before their number, in lower case, with the count of its digits: `gpu`, 3.
    pub(super) stems: Vec<(String, usize)>,
}

/// Finds what gives itself away in `text`. `version` says that the text as a whole is known to be a version.
pub(super) fn scan(text: &str, version: bool, site: &Site, found: &mut Vec<Span>) {
    let scanner = Scanner { text, bytes: text.as_bytes(), version, site };
    scanner.blocks(found);
    scanner.lines(found);
    scanner.words(found);
}

/// Whether a text is one of our own pseudonyms: `host-3f9a04d1`.
pub(super) fn is_pseudonym(text: &str) -> bool {
    let digits = text.rsplit_once('-').filter(|(kind, _)| Kind::of_word(kind).is_some()).map(|(_, digits)| digits);
    digits.is_some_and(|digits| {
        digits.len() >= super::DIGITS && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether a name may be that of a machine, by its form.
pub(super) fn is_hostlike(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !name.ends_with(['-', '.'])
        && name.len() <= 253
        // An address in memory.
        && !name.starts_with("0x")
        && !is_nobodys_host(name)
        && !is_lustre_network(name)
        && !begins_with_date(name)
}

/// Whether a text begins with a date and a time: `2026-11-20T08:15:00Z`.
fn begins_with_date(text: &str) -> bool {
    let is = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        _ => byte.is_ascii_digit(),
    };
    text.len() > 10 && text.bytes().take(11).enumerate().all(is)
}

/// Whether the letter or digit at `at` begins a word. What an escape leaves before it is no part of it: `\n`, the end
/// of a colour, `%20`.
pub(super) fn begins_word(bytes: &[u8], at: usize, underscore: bool) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| bytes[before]) else { return true };
    if !before.is_ascii_alphanumeric() && (before != b'_' || !underscore) {
        return true;
    }
    if at >= 2 && bytes[at - 2] == b'\\' && matches!(before, b'n' | b't' | b'r' | b'f' | b'b') {
        return true;
    }
    if at >= 3 && bytes[at - 3] == b'%' && bytes[at - 2].is_ascii_hexdigit() && before.is_ascii_hexdigit() {
        return true;
    }
    // ESC [ 1 ; 31 m, also with the escape written out.
    if before == b'm' {
        let codes = bytes[..at - 1].iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
        let rest = &bytes[..at - 1 - codes];
        return rest.ends_with(b"\x1b[") || rest.ends_with(b"1b[") || rest.ends_with(b"1b}[") || rest.ends_with(b"33[");
    }
    false
}

/// Whether a word that ends before `at` ends there.
pub(super) fn ends_word(bytes: &[u8], at: usize, underscore: bool) -> bool {
    bytes.get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric() && (*byte != b'_' || !underscore))
}

struct Scanner<'s> {
    text: &'s str,
    bytes: &'s [u8],
    version: bool,
    site: &'s Site,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a byte may stand in a path, in texts that have paths among other things.
fn is_of_path(byte: u8) -> bool {
    !byte.is_ascii_whitespace()
        && !matches!(byte, b'"' | b'\'' | b',' | b';' | b':' | b')' | b']' | b'}' | b'>' | b'|' | b'\\')
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit)
}

fn all_same(text: &[u8], byte: u8) -> bool {
    text.iter().all(|other| !other.is_ascii_hexdigit() || other.eq_ignore_ascii_case(&byte))
}

impl Scanner<'_> {
    fn at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn before(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |before| self.bytes[before])
    }

    /// The end of the run of bytes from `start` that `belongs` takes.
    fn run(&self, start: usize, belongs: impl Fn(u8) -> bool) -> usize {
        self.bytes[start..].iter().position(|byte| !belongs(*byte)).map_or(self.bytes.len(), |length| start + length)
    }

    /// The start of the run of bytes before `end` that `belongs` takes.
    fn run_back(&self, end: usize, belongs: impl Fn(u8) -> bool) -> usize {
        self.bytes[..end].iter().rposition(|byte| !belongs(*byte)).map_or(0, |before| before + 1)
    }

    /// The word before `end`, over what may stand between a word and its value.
    fn word_before(&self, end: usize) -> &str {
        let end = self.run_back(end, |byte| matches!(byte, b' ' | b':' | b'=' | b'"' | b'\'' | b'(' | b','));
        &self.text[self.run_back(end, is_word)..end]
    }

    /// PEM blocks and what password files hold.
    fn blocks(&self, found: &mut Vec<Span>) {
        static PEM: LazyLock<memmem::Finder> = LazyLock::new(|| memmem::Finder::new("-----BEGIN "));
        let pem = &*PEM;
        let mut from = 0;
        while let Some(at) = pem.find(&self.bytes[from..]).map(|at| from + at) {
            let ends = memmem::find(&self.bytes[at..], b"-----END ").map(|end| at + end + 9);
            let end = ends.and_then(|end| memmem::find(&self.bytes[end..], b"-----").map(|last| end + last + 5));
            // A block that is cut off is as secret as a whole one.
            let end = end.unwrap_or(self.bytes.len());
            found.push(Span { start: at, end, kind: Kind::Secret });
            from = end;
        }
        // crypt(5): $6$salt$hash
        let mut from = 0;
        while let Some(at) = memchr::memchr(b'$', &self.bytes[from..]).map(|at| from + at) {
            let end = self.run(at, |byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b'.' | b'/' | b',' | b'=' | b'-')
            });
            let parts: Vec<&[u8]> = self.bytes[at + 1..end].split(|byte| *byte == b'$').collect();
            let scheme = parts.first().is_some_and(|id| {
                [&b"1"[..], b"5", b"6", b"y", b"gy", b"7", b"2a", b"2b", b"2y", b"apr1", b"sha1"].contains(id)
            });
            if scheme && parts.len() >= 3 && parts.last().is_some_and(|hash| hash.len() >= 16) {
                found.push(Span { start: at, end, kind: Kind::Secret });
            }
            from = end.max(at + 1);
        }
    }

    /// What stands at the beginning of a line: a syslog line's host, an account of passwd(5) or group(5).
    fn lines(&self, found: &mut Vec<Span>) {
        let mut start = 0;
        for line in self.text.split('\n') {
            self.line(start, line, found);
            start += line.len() + 1;
        }
    }

    fn line(&self, start: usize, line: &str, found: &mut Vec<Span>) {
        if line.len() < 8 {
            return;
        }
        if let Some((after, host)) = syslog_host(line) {
            self.host(start + after, start + after + host.len(), found);
        }
        if line.bytes().filter(|byte| *byte == b':').count() >= 3 && !line.starts_with(' ') {
            let fields: Vec<&str> = line.trim_end().split(':').collect();
            let person = |number: &str| number.parse::<u32>().is_ok_and(|id| id >= 1000 && id != 65534);
            let account = fields[0];
            let plain = !account.is_empty() && account.bytes().all(|byte| is_word(byte) || matches!(byte, b'-' | b'.'));
            match fields.as_slice() {
                // name:x:1001:1001:Full Name,,,:/home/name:/bin/bash
                [_, _, uid, gid, gecos, home, shell]
                    if plain && person(uid) && gid.parse::<u32>().is_ok() && shell.starts_with('/') =>
                {
                    self.user(start, start + account.len(), found);
                    let name = gecos.split(',').next().unwrap_or_default();
                    let at = start + account.len() + fields[1].len() + uid.len() + gid.len() + 4;
                    if !name.is_empty() {
                        found.push(Span { start: at, end: at + name.len(), kind: Kind::User });
                    }
                    let folder = home.rsplit('/').next().unwrap_or_default();
                    if folder == account {
                        let end = at + gecos.len() + 1 + home.len();
                        found.push(Span { start: end - folder.len(), end, kind: Kind::User });
                    }
                }
                // group:x:2001:alice,bob
                [_, "x" | "*" | "!" | "", gid, members] if plain && gid.parse::<u32>().is_ok() => {
                    if person(gid) {
                        self.user(start, start + account.len(), found);
                    }
                    let mut at = start + account.len() + fields[1].len() + gid.len() + 3;
                    for member in members.split(',') {
                        self.user(at, at + member.len(), found);
                        at += member.len() + 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn words(&self, found: &mut Vec<Span>) {
        let mut at = 0;
        while at < self.bytes.len() {
            let byte = self.bytes[at];
            if !is_word(byte) {
                // An IPv6 address may begin with its colons.
                if byte == b':' && self.at(at + 1) == b':' && !is_word(self.before(at)) && self.before(at) != b':' {
                    self.colons(at, found);
                }
                at += 1;
                continue;
            }
            let mut start = at;
            // What an escape left of itself before the word is none of it.
            if self.before(at) == b'\\' && matches!(byte, b'n' | b't' | b'r') {
                start += 1;
            } else if self.before(at) == b'%' && is_hex(self.bytes.get(at..at + 2).unwrap_or(b"x")) {
                start += 2;
            } else if self.before(at) == b'[' && at >= 2 && matches!(self.bytes[at - 2], 0x1b | b'b' | b'}' | b'3') {
                let end = self.run(at, |byte| byte.is_ascii_digit() || byte == b';');
                start = if self.at(end) == b'm' { end + 1 } else { start };
            }
            let end = self.run(start, is_word);
            at = end.max(at + 1);
            if start < end {
                at = at.max(self.word(start, end, found));
            }
        }
    }

    /// Looks at one word; where the search goes on.
    fn word(&self, start: usize, end: usize, found: &mut Vec<Span>) -> usize {
        let word = &self.bytes[start..end];
        let next = self.at(end);
        // Our own pseudonyms stay as they are.
        if next == b'-' && Kind::of_word(&self.text[start..end]).is_some() {
            let digits = self.run(end + 1, is_word);
            if is_pseudonym(&self.text[start..digits]) {
                return digits;
            }
        }
        let hex = is_hex(word);
        if hex
            && next == b':'
            && self.before(start) != b':'
            && let Some(end) = self.colons(start, found)
        {
            return end;
        }
        if hex
            && next == b'-'
            && let Some(end) = self.dashes(start, end, found)
        {
            return end;
        }
        if word[0].is_ascii_digit()
            && word.len() <= 3
            && next == b'.'
            && let Some(end) = self.ipv4(start)
        {
            let address: Option<Ipv4Addr> = self.text[start..end].parse().ok();
            if address.is_some_and(|address| hides(address) && !self.is_version(start, end, address)) {
                found.push(Span { start, end, kind: Kind::Ip });
            }
            return end;
        }
        if let Some(end) = self.long_hex(start, end, found) {
            return end;
        }
        if word.len() >= 4
            && let Some(end) = self.credential(start, found)
        {
            return end;
        }
        if let Some(end) = self.after_key(start, end, found) {
            return end;
        }
        if word[0].is_ascii_alphanumeric() {
            return self.name(start, end, found);
        }
        end
    }

    /// Hexadecimal digits in groups with colons: MAC addresses, GUIDs, IPv6 addresses. PCI addresses and times are
    /// none of these.
    fn colons(&self, start: usize, found: &mut Vec<Span>) -> Option<usize> {
        let mut end = self.run(start, |byte| byte.is_ascii_hexdigit() || byte == b':');
        if self.at(end - 1) == b':' && !self.text[start..end].ends_with("::") {
            end -= 1;
        }
        // ::ffff:10.0.0.1 ends in an address of its own.
        if is_word(self.at(end)) || (self.at(end) == b'.' && self.at(end + 1).is_ascii_digit()) {
            return None;
        }
        // `lspci -d ::0108`
        if self.text[start..end].starts_with("::") && !self.text[start + 2..end].contains(':') {
            return None;
        }
        let mut groups: Vec<&[u8]> = self.bytes[start..end].split(|byte| *byte == b':').collect();
        let text = &self.bytes[start..end];
        let of = |length: usize| groups.iter().all(|group| group.len() == length);
        let kind = match groups.len() {
            8 if of(2) => Kind::Guid,
            6..=20 if of(2) => Kind::Mac,
            4 if of(4) => Kind::Guid,
            _ => Kind::Ip,
        };
        if kind != Kind::Ip {
            if !all_same(text, b'0') && !all_same(text, b'f') {
                found.push(Span { start, end, kind });
            }
            return Some(end);
        }
        // With a port behind it and no brackets around.
        while groups.len() > 8 && !text.windows(2).any(|two| two == b"::") {
            end -= groups.pop().map_or(0, <[u8]>::len) + 1;
        }
        let text = &self.text[start..end];
        let address: Ipv6Addr = text.parse().ok()?;
        if !text.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if hides6(address) {
            // The GID of a port, written out, ends in its GUID.
            let kind =
                if text.len() == 39 && address.segments()[..4] == [0xfe80, 0, 0, 0] { Kind::Guid } else { Kind::Ip };
            found.push(Span { start, end, kind });
        }
        Some(end)
    }

    /// Hexadecimal digits in groups with dashes: UUIDs and MAC addresses.
    fn dashes(&self, start: usize, first: usize, found: &mut Vec<Span>) -> Option<usize> {
        let lengths: &[usize] = match first - start {
            8 => &[8, 4, 4, 4, 12],
            2 => &[2; 6],
            _ => return None,
        };
        let mut end = start;
        for (number, length) in lengths.iter().enumerate() {
            if number > 0 {
                if self.at(end) != b'-' {
                    return None;
                }
                end += 1;
            }
            let group = self.bytes.get(end..end + length)?;
            if !is_hex(group) {
                return None;
            }
            end += length;
        }
        if !ends_word(self.bytes, end, true) || (lengths.len() == 6 && self.at(end) == b'-') {
            return None;
        }
        let text = &self.bytes[start..end];
        if !all_same(text, b'0') && !all_same(text, b'f') {
            found.push(Span { start, end, kind: if lengths.len() == 6 { Kind::Mac } else { Kind::Uuid } });
        }
        Some(end)
    }

    /// The end of four numbers with dots between.
    fn ipv4(&self, start: usize) -> Option<usize> {
        let mut end = start;
        for number in 0..4 {
            if number > 0 {
                if self.at(end) != b'.' {
                    return None;
                }
                end += 1;
            }
            let digits = self.run(end, |byte| byte.is_ascii_digit());
            let octet = &self.text[end..digits];
            if octet.is_empty() || octet.len() > 3 || (octet.len() > 1 && octet.starts_with('0')) {
                return None;
            }
            octet.parse::<u8>().ok()?;
            end = digits;
        }
        let more = self.at(end) == b'.' && self.at(end + 1).is_ascii_alphanumeric();
        (!more && !self.at(end).is_ascii_alphabetic() && self.before(start) != b'.').then_some(end)
    }

    /// Whether four numbers are a version, by the field that they stand in and by what is around them.
    fn is_version(&self, start: usize, end: usize, address: Ipv4Addr) -> bool {
        if self.version && start == 0 {
            return true;
        }
        let (before, next) = (self.before(start), self.at(end));
        let carrier = address.octets()[0] == 100 && (64..128).contains(&address.octets()[1]);
        let inner = address.is_private() || address.is_link_local() || carrier;
        let packaged =
            matches!(next, b'-' | b'_' | b'+' | b'~') && is_word(self.at(end + 1)) && self.ipv4(end + 1).is_none();
        if packaged && !inner {
            return true;
        }
        if matches!(before, b'-' | b'_') && start >= 2 && self.bytes[start - 2].is_ascii_digit() && !inner {
            return true;
        }
        let word = self.word_before(start).to_ascii_lowercase();
        matches!(
            word.as_str(),
            "version"
                | "versions"
                | "ver"
                | "v"
                | "firmware"
                | "fw"
                | "fw_ver"
                | "release"
                | "revision"
                | "rev"
                | "build"
                | "driver"
                | "bios"
                | "vbios"
                | "ofed"
                | "inforom"
                | "nvml"
                | "cuda"
        ) || word.ends_with("_version")
            || word.ends_with("_ver")
    }

    /// Long hexadecimal numbers that only identifiers are: GUIDs, machine ids, world-wide names.
    fn long_hex(&self, start: usize, end: usize, found: &mut Vec<Span>) -> Option<usize> {
        let word = &self.bytes[start..end];
        let digits = word.strip_prefix(b"0x").or_else(|| word.strip_prefix(b"0X")).unwrap_or(word);
        if let Some(mac) = word.strip_prefix(b"enx").filter(|mac| mac.len() == 12 && is_hex(mac)) {
            found.push(Span { start: end - mac.len(), end, kind: Kind::Mac });
            return Some(end);
        }
        // eui.0025385b71b0a1c2, naa.5000c500a1b2c3d4
        if matches!(word, b"eui" | b"naa" | b"EUI" | b"NAA") && self.at(end) == b'.' {
            let last = self.run(end + 1, is_word);
            if last - end > 16 && is_hex(&self.bytes[end + 1..last]) {
                found.push(Span { start: end + 1, end: last, kind: Kind::Serial });
                return Some(last);
            }
        }
        if !matches!(digits.len(), 12 | 16 | 32) || !is_hex(digits) || all_same(digits, b'0') || all_same(digits, b'f')
        {
            // Cisco writes a MAC address in three groups.
            if word.len() == 4 && is_hex(word) && self.at(end) == b'.' && self.before(start) != b'.' {
                let second = self.run(end + 1, is_word);
                let third = self.run((second + 1).min(self.bytes.len()), is_word);
                let whole = self.bytes.get(start..third)?;
                let groups: Vec<&[u8]> = whole.split(|byte| *byte == b'.').collect();
                let fits = groups.len() == 3 && groups.iter().all(|group| group.len() == 4 && is_hex(group));
                if fits && self.at(third) != b'.' && whole.iter().any(u8::is_ascii_alphabetic) {
                    found.push(Span { start, end: third, kind: Kind::Mac });
                    return Some(third);
                }
            }
            return None;
        }
        let said = self.word_before(start).to_ascii_lowercase();
        let kind = match digits.len() {
            // A port's GID without its colons ends in its GUID.
            32 if digits.starts_with(b"fe80000000000000") => Kind::Guid,
            32 => Kind::Uuid,
            16 if self.text[..start].ends_with("wwn-") || said.ends_with("wwn") || said.ends_with("wwid") => {
                Kind::Serial
            }
            16 if said.ends_with("guid") || is_eui64(digits) => Kind::Guid,
            12 if said == "mac" || said.ends_with("hwaddr") => Kind::Mac,
            _ => return None,
        };
        found.push(Span { start, end, kind });
        Some(end)
    }

    /// Credentials that begin with the sign of who gave them.
    fn credential(&self, start: usize, found: &mut Vec<Span>) -> Option<usize> {
        let rest = &self.bytes[start..];
        if !matches!(
            rest[0],
            b'A' | b'B' | b'L' | b'M' | b'S' | b'd' | b'e' | b'g' | b'h' | b'n' | b'p' | b's' | b'x' | b'y' | b'E'
        ) {
            return None;
        }
        let token = |byte: u8| is_word(byte) || byte == b'-';
        // All of them are long.
        if self.run(start, |byte| token(byte) || matches!(byte, b'.' | b':' | b'/' | b'+')) - start < 14 {
            return None;
        }
        // What it begins with, and how much has to follow.
        const SIGNS: &[(&str, usize)] = &[
            ("AKIA", 16),
            ("ASIA", 16),
            ("AIza", 30),
            ("ya29.", 20),
            ("GOCSPX-", 20),
            ("ghp_", 30),
            ("gho_", 30),
            ("ghu_", 30),
            ("ghs_", 30),
            ("ghr_", 30),
            ("github_pat_", 30),
            ("glpat-", 16),
            ("glsa_", 20),
            ("xoxa-", 10),
            ("xoxb-", 10),
            ("xoxp-", 10),
            ("xoxo-", 10),
            ("xoxr-", 10),
            ("xoxs-", 10),
            ("xoxe", 10),
            ("xapp-", 10),
            ("nvapi-", 20),
            ("hf_", 20),
            ("sk-", 20),
            ("sk_live_", 16),
            ("rk_live_", 16),
            ("npm_", 30),
            ("pypi-", 30),
            ("dckr_pat_", 16),
            ("dop_v1_", 30),
            ("SG.", 30),
            ("EAAA", 40),
            ("hvs.", 20),
            ("sgp_", 30),
            ("eyJ", 20),
            ("AGE-SECRET-KEY-1", 30),
            ("AAAAB3Nza", 30),
            ("AAAAC3Nza", 30),
            ("AAAAE2Vj", 30),
            ("MUNGE:", 16),
            // A PEM block in base64, as a kubeconfig has it.
            ("LS0tLS1CRUdJTi", 16),
            // The fingerprint of somebody's key, as ssh writes it.
            ("SHA256:", 43),
        ];
        for (sign, least) in SIGNS {
            if rest[0] != sign.as_bytes()[0] || !rest.starts_with(sign.as_bytes()) {
                continue;
            }
            let encoded = matches!(*sign, "MUNGE:" | "eyJ" | "hvs." | "SG." | "ya29." | "SHA256:" | "LS0tLS1CRUdJTi")
                || sign.starts_with("AAAA");
            let after = start + sign.len();
            let end =
                self.run(after, |byte| token(byte) || (encoded && matches!(byte, b'.' | b'+' | b'/' | b'=' | b':')));
            if end - after >= *least {
                // A long word with such a beginning is one only where it is no plain word.
                let plain = self.bytes[after..end].iter().all(|byte| byte.is_ascii_lowercase() || !is_word(*byte));
                if !plain {
                    found.push(Span { start, end, kind: Kind::Secret });
                    return Some(end);
                }
            }
        }
        // hooks.slack.com/services/T000/B000/XXXX
        if rest.starts_with(b"services/T") && self.text[..start].ends_with("slack.com/") {
            let from = start + "services/".len();
            let end = self.run(from, |byte| token(byte) || byte == b'/');
            found.push(Span { start: from, end, kind: Kind::Secret });
            return Some(end);
        }
        None
    }

    /// What the word before it tells: `PASSWORD=…`, `Bearer …`, `addr=…`, `user alice`, `nfs: server x not responding`.
    fn after_key(&self, start: usize, end: usize, found: &mut Vec<Span>) -> Option<usize> {
        let word = &self.text[start..end];
        let next = self.at(end);
        if matches!(word, "Bearer" | "bearer" | "Basic") && next == b' ' {
            let last =
                self.run(end + 1, |byte| is_word(byte) || matches!(byte, b'-' | b'.' | b'+' | b'/' | b'=' | b'~'));
            if last - end > 8 && (word != "Basic" || self.word_before(start).eq_ignore_ascii_case("authorization")) {
                found.push(Span { start: end + 1, end: last, kind: Kind::Secret });
                return Some(last);
            }
        }
        self.options_after(start, found);
        if let Some(end) = self.serial_after(start, end, found) {
            return Some(end);
        }
        // What is between a key and its value: `=`, ` = `, `: `, `":"`, or a blank after an option.
        let mut value = end;
        let quoted_key = matches!(next, b'"' | b'\'');
        if quoted_key {
            value += 1;
        } else if next == b'\\' && matches!(self.at(end + 1), b'"' | b'\'') {
            value += 2;
        }
        let blanks = self.run(value, |byte| byte == b' ');
        let sign = self.at(blanks);
        if matches!(sign, b'=' | b':') && self.at(blanks + 1) != sign && blanks - value <= 2 {
            value = self.run(blanks + 1, |byte| byte == b' ');
            // `key= other=value`: nothing was given.
            let empty = sign == b'=' && blanks == end && value > blanks + 1;
            if empty || sign == b'=' && self.at(blanks + 1) == b'~' || self.text[blanks..].starts_with("://") {
                return None;
            }
            // `key: value` is written with a blank or quotes; `a:b` is something else.
            if sign == b':' && value == blanks + 1 && !quoted_key && self.at(end) != b'\\' && !is_telling(word) {
                return None;
            }
            return self.value_of(start, end, value, sign, found);
        }
        if next != b' ' {
            return None;
        }
        let value = end + 1;
        let key_start = self.run_back(start, |byte| is_word(byte) || byte == b'-');
        if self.text[key_start..start].starts_with('-')
            && is_telling(&self.text[key_start..end])
            && self.at(value) != b'-'
        {
            return self.secret(value, found);
        }
        let name_end = self.run(value, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        let name = &self.text[value..name_end];
        match word {
            "user" | "User" | "for" => {
                let before = self.word_before(start);
                let told = match word {
                    "for" => self.text[name_end..].starts_with(" from "),
                    _ => {
                        matches!(before, "for" | "of" | "invalid" | "by" | "as" | "uid")
                            || matches!(self.before(start.saturating_sub(1)), b',' | b'(')
                                && matches!(self.at(name_end), b',' | b')' | b';')
                            || self.text[name_end..].starts_with(" from ")
                    }
                };
                if told && !name.is_empty() {
                    self.user(value, self.trimmed(value, name_end), found);
                    return Some(value);
                }
            }
            "server" | "servers" | "pool" | "peer" => {
                let rest = &self.text[name_end..];
                let line_start = start == 0 || self.before(start) == b'\n';
                let told = [" not responding", " OK", " is not responding", " timed out", " has not responded"];
                let option = [" iburst", " prefer", " minpoll", " key "];
                if told.iter().any(|told| rest.starts_with(told))
                    || (line_start && (option.iter().any(|option| rest.starts_with(option)) || rest.trim().is_empty()))
                {
                    self.host(value, self.trimmed(value, name_end), found);
                    return Some(value);
                }
            }
            "of" => {
                // `Gres of gpu[001-128] in slurm.conf`
                if self.word_before(start) == "Gres" && self.at(name_end) == b'[' {
                    let last = self.run(name_end, |byte| byte != b']' && byte != b' ');
                    let last = if self.at(last) == b']' { last + 1 } else { last };
                    found.push(Span { start: value, end: last, kind: Kind::Host });
                    return Some(last);
                }
                if self.word_before(start) == "Gres" {
                    self.host(value, name_end, found);
                }
            }
            _ => {}
        }
        None
    }

    /// The secrets that a program is given as arguments whose names do not tell: `sshpass -p …`, `curl -u name:…`.
    fn options_after(&self, start: usize, found: &mut Vec<Span>) {
        if !matches!(self.before(start), 0 | b' ' | b'/' | b'"' | b'\'' | b'\n' | b'=' | b'(' | b'`') {
            return;
        }
        let program_end = self.run(start, |byte| is_word(byte) || byte == b'-');
        // What takes one secret may go on with another program: `sshpass -p … ssh -p 22`.
        let mut options = secret_options(&self.text[start..program_end]);
        if options.is_empty() || self.at(program_end) != b' ' {
            return;
        }
        let line_end = self.run(program_end, |byte| !matches!(byte, b'\n' | b'|' | b';'));
        let mut follows = false;
        for (at, word) in words(&self.text[program_end..line_end]) {
            let at = program_end + at;
            let (from, next) = secret_argument(options, word, follows);
            follows = next;
            if from.is_some() && options.len() == 1 {
                options = &[];
            }
            if let Some(from) = from.filter(|from| !is_pseudonym(&word[*from..])) {
                found.push(Span { start: at + from, end: at + word.len(), kind: Kind::Secret });
            }
        }
    }

    /// `S/N:ZC1A0B2C`, `serial 80CE0123`, `Service Tag 7XK2R33`: where the words before say that a serial number follows.
    fn serial_after(&self, start: usize, end: usize, found: &mut Vec<Span>) -> Option<usize> {
        let word = &self.text[start..end];
        let is = |known: &str| word.eq_ignore_ascii_case(known);
        let said = |known: &[&str]| known.iter().any(|known| self.word_before(start).eq_ignore_ascii_case(known));
        let tells = match word.len() {
            1 => word == "N" && self.text[..start].ends_with("S/"),
            2 => word == "SN" || is("no") && said(&["serial"]),
            3 => word == "WWN" || is("tag") && said(&["service", "asset"]),
            6 => is("serial") || is("number") && said(&["serial"]),
            _ => false,
        };
        if !tells {
            return None;
        }
        let from = self.run(end, |byte| matches!(byte, b' ' | b':' | b'=' | b'"' | b'\''));
        let last = self.run(from, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let number = &self.text[from..last];
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let fits = from > end
            && number.len() >= if digits == number.len() { 8 } else { 6 }
            && digits > 0
            && (word == "WWN" || !number.bytes().any(|byte| byte.is_ascii_lowercase()))
            && !is_no_serial(number)
            && ends_word(self.bytes, last, true)
            && !is_pseudonym(number);
        if !fits {
            return None;
        }
        found.push(Span { start: from, end: last, kind: Kind::Serial });
        Some(last)
    }

    /// The value of a key, where the key tells what it is.
    fn value_of(&self, start: usize, end: usize, value: usize, sign: u8, found: &mut Vec<Span>) -> Option<usize> {
        let key = &self.text[self.run_back(start, |byte| is_word(byte) || matches!(byte, b'-' | b'.'))..end];
        // `/etc/passwd: permission denied` is about a file.
        if is_telling(key) && !(sign == b':' && self.before(end - key.len()) == b'/') {
            return self.secret(value, found);
        }
        let of_person = is_of_person(key);
        let in_query = sign == b'=' && matches!(self.before(end - key.len()), b'?' | b'&');
        let key = key.to_ascii_lowercase().replace(['-', '_', '.'], "");
        let quote = matches!(self.at(value), b'"' | b'\'');
        let quoted_json = sign == b':' && quote;
        let from = value + usize::from(quote);
        match key.as_str() {
            // What a cloud signs a link with.
            "sig" | "signature" | "xamzsignature" | "xamzsecuritytoken" | "xgoogsignature" if in_query => {
                self.secret(value, found)
            }
            // The log-in to a registry of images: `"auth": "bmFtZTpwYXNz"`.
            "auth"
                if quoted_json && self.run(from, |byte| byte.is_ascii_alphanumeric() || byte == b'=') >= from + 12 =>
            {
                self.secret(value, found)
            }
            // The parts of a distinguished name, of a certificate or a directory.
            "cn" | "o" if sign == b'=' && (self.text.contains("CN") || self.text.contains("dc=")) => {
                let last = self.run(from, |byte| !matches!(byte, b',' | b'/' | b'+' | b';' | b'"' | b'\'' | b'\n'));
                let name = &self.text[from..last];
                if key == "cn" && (name.contains('.') || !name.contains(' ')) {
                    self.host(from, last, found);
                } else if !name.is_empty() && !is_pseudonym(name) {
                    found.push(Span {
                        start: from,
                        end: last,
                        kind: if key == "cn" { Kind::User } else { Kind::Domain },
                    });
                }
                Some(last)
            }
            "nodename"
            | "nodes"
            | "nodelist"
            | "nodeaddr"
            | "nodehostname"
            | "hostname"
            | "host"
            | "server"
            | "addr"
            | "mountaddr"
            | "slurmctldhost"
            | "controlmachine"
            | "backupcontroller"
            | "controladdr"
            | "backupaddr"
            | "dbdhost"
            | "dbdaddr"
            | "accountingstoragehost"
            | "storagehost"
            | "mgsnode"
            | "rhost"
            | "bcastaddr"
            | "reqnodelist"
            | "batchhost"
            | "allocnode"
            | "masteraddr"
            | "accountname"
            | "slurmdnodename"
            | "slurmnodelist"
            | "slurmjobnodelist"
            | "slurmsubmithost"
                if sign == b'=' || quoted_json =>
            {
                let last = self.run(from, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
                if self.at(last) == b'[' {
                    let last = self.run(last, |byte| byte != b']' && byte != b' ');
                    let last = if self.at(last) == b']' { last + 1 } else { last };
                    found.push(Span { start: from, end: last, kind: Kind::Host });
                    return Some(last);
                }
                self.host(from, self.trimmed(from, last), found);
                // It is looked at once more, for it may be an address.
                None
            }
            "clustername" | "slurmclustername" | "cluster" | "federation" if sign == b'=' || quoted_json => {
                let last = self.run(from, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
                if last > from && is_hostlike(&self.text[from..last].replace('_', "-")) {
                    found.push(Span { start: from, end: last, kind: Kind::Cluster });
                }
                Some(last)
            }
            "user" | "username" | "userid" | "login" | "logname" | "acct" | "owner" | "slurmjobuser" | "ruser"
            | "uid" | "gid" | "groupid" | "auid"
                if sign == b'=' || quoted_json =>
            {
                let last = self.run(from, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
                self.user(from, self.trimmed(from, last), found);
                // uid=1001(alice)
                if self.at(last) == b'(' && self.text[from..last].bytes().all(|byte| byte.is_ascii_digit()) {
                    let inner = self.run(last + 1, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
                    self.user(last + 1, inner, found);
                }
                None
            }
            // The Windows domain of a share.
            "domain" | "workgroup" if sign == b'=' => {
                let last = self.run(from, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
                let name = &self.text[from..last];
                if name.bytes().any(|byte| byte.is_ascii_uppercase()) && is_hostlike(name) {
                    found.push(Span { start: from, end: last, kind: Kind::Domain });
                }
                None
            }
            "dc" if sign == b'=' => {
                let last = self.run(from, |byte| is_word(byte) || byte == b'-');
                found.push(Span { start: from, end: last, kind: Kind::Domain });
                Some(last)
            }
            "uuid" | "partuuid" if sign == b'=' => {
                let last = self.run(from, |byte| byte.is_ascii_hexdigit() || byte == b'-');
                if last - from >= 8 && last - from < 36 {
                    found.push(Span { start: from, end: last, kind: Kind::Uuid });
                }
                None
            }
            "serial" | "serialnumber" | "sn" | "serialno" | "number" | "assettag"
                if key != "number" || self.text[..start].to_ascii_lowercase().ends_with("serial ") =>
            {
                let last = self.run(from, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
                let text = &self.text[from..last];
                if text.len() >= 4 && text.bytes().any(|byte| byte.is_ascii_digit()) && !is_no_serial(text) {
                    found.push(Span { start: from, end: last, kind: Kind::Serial });
                    return Some(last);
                }
                None
            }
            _ if of_person && sign == b'=' => {
                let last = self.trimmed(from, self.run(from, |byte| is_word(byte) || matches!(byte, b'-' | b'.')));
                if !matches!(
                    &self.text[from..last],
                    "yes" | "no" | "true" | "false" | "none" | "any" | "all" | "on" | "off"
                ) {
                    self.user(from, last, found);
                }
                None
            }
            _ => None,
        }
    }

    /// The secret that begins at `value`; where the search goes on.
    fn secret(&self, value: usize, found: &mut Vec<Span>) -> Option<usize> {
        let (start, end) = match self.at(value) {
            quote @ (b'"' | b'\'') => (value + 1, self.run(value + 1, |byte| byte != quote && byte != b'\n')),
            // The quotes of JSON inside of JSON.
            b'\\' if matches!(self.at(value + 1), b'"' | b'\'') => {
                (value + 2, self.run(value + 2, |byte| byte != b'\\'))
            }
            _ => (
                value,
                self.run(value, |byte| {
                    !byte.is_ascii_whitespace()
                        && !matches!(byte, b',' | b';' | b'&' | b'"' | b'\'' | b')' | b']' | b'}' | b'\\')
                }),
            ),
        };
        // `Authorization: Bearer …`: the word is no secret.
        let mut start = start;
        for scheme in ["Bearer ", "bearer ", "Basic ", "Token "] {
            if self.text[start..].starts_with(scheme) {
                start += scheme.len();
                return self.secret(start, found);
            }
        }
        let text = &self.text[start..end];
        let open = [
            "", "none", "null", "nil", "true", "false", "yes", "no", "on", "off", "enabled", "disabled", "unset", "x",
            "required", "optional", "*", "!", "!!", "prompt",
        ];
        // A path to where it is kept is none, nor is the name of a variable or what stands in for it.
        if open.iter().any(|word| word.eq_ignore_ascii_case(text))
            || text.starts_with('/')
            || text.starts_with("$")
            || text.starts_with('<')
            || text.bytes().all(|byte| byte == b'*')
            || is_pseudonym(text)
        {
            return None;
        }
        found.push(Span { start, end, kind: Kind::Secret });
        Some(end)
    }

    /// Without the full stop or comma of a sentence.
    fn trimmed(&self, start: usize, end: usize) -> usize {
        start + self.text[start..end].trim_end_matches(['.', ',', '-', ':']).len()
    }

    /// Names: with a domain, before an `@`, a `://` or a `:/`, in a home path, or with the number of a sibling.
    fn name(&self, start: usize, end: usize, found: &mut Vec<Span>) -> usize {
        let last = self.run(start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        let last = self.trimmed(start, last);
        let name = &self.text[start..last];
        let next = self.at(last);
        if let Some(end) = self.home(start, end, found) {
            return end;
        }
        // /scratch/alice/run7
        if self.before(start) == b'/' && self.at(end) == b'/' && keeps_work(&self.text[start..end]) {
            let before = self.before(start - 1);
            if !is_word(before) && !matches!(before, b'/' | b'.' | b'-' | b'}' | b'>') {
                return self.own_path(start - 1, found).max(end);
            }
        }
        // acmefs-OST0003: a part of a file system of Lustre.
        if let Some(at) = name.find("-OST").or_else(|| name.find("-MDT")) {
            let number = name.as_bytes().get(at + 4..at + 8);
            if number.is_some_and(is_hex) && at > 0 && !is_usual_folder(&name[..at]) && !is_pseudonym(&name[..at]) {
                found.push(Span { start, end: start + at, kind: Kind::Path });
                return start + at + 8;
            }
        }
        if next == b'@'
            && let Some(end) = self.at_sign(start, last, found)
        {
            return end;
        }
        if self.text[last..].starts_with("://") {
            return self.url(last + 3, found);
        }
        // ip-10-31-0-3, as a cloud names its machines
        if let Some(rest) = name.strip_prefix("ip-").or_else(|| name.strip_prefix("IP-")) {
            let numbers: Vec<&str> = rest.split('.').next().unwrap_or_default().split('-').collect();
            if numbers.len() == 4 && numbers.iter().all(|number| number.parse::<u8>().is_ok()) {
                self.host(start, last, found);
                return last;
            }
        }
        if name.contains('.') && self.host_with_domain(start, last, found) {
            return last;
        }
        // nfs1:/export; a folder before it is a list of folders.
        if self.text[last..].starts_with(":/")
            && is_word(self.at(last + 2))
            && !is_system_folder(&self.text[last + 2..self.run(last + 2, is_word)])
            && !matches!(self.before(start), b'/' | b'.' | b':')
            && !name.contains('_')
            && is_hostlike(name)
        {
            self.host(start, last, found);
            return last;
        }
        // \\server\share and //server/share
        let twice = |sign: u8| self.before(start) == sign && start >= 2 && self.bytes[start - 2] == sign;
        if twice(b'/') && next == b'/' && !self.text[..start].ends_with("://") && is_hostlike(name) {
            let from_start = start == 2 || matches!(self.bytes[start - 3], b' ' | b'=' | b'"' | b'\'' | b'(');
            if from_start {
                self.host(start, last, found);
                return last;
            }
        }
        self.sibling(start, found).unwrap_or(end)
    }

    /// Another host of the same site, by its name: the letters of a known one and as many digits.
    fn sibling(&self, start: usize, found: &mut Vec<Span>) -> Option<usize> {
        if self.before(start) == b'/' {
            return None;
        }
        for (stem, digits) in &self.site.stems {
            let Some(head) = self.bytes.get(start..start + stem.len()) else { continue };
            if !head.eq_ignore_ascii_case(stem.as_bytes()) {
                continue;
            }
            let from = start + stem.len();
            let end = self.run(from, |byte| byte.is_ascii_digit());
            if end - from == *digits && ends_word(self.bytes, end, true) {
                found.push(Span { start, end, kind: Kind::Host });
                return Some(end);
            }
            if end == from && self.at(from) == b'[' && self.at(from + 1).is_ascii_digit() {
                let end = self.run(from, |byte| byte.is_ascii_digit() || matches!(byte, b'[' | b',' | b'-')) + 1;
                if self.before(end) == b']' {
                    found.push(Span { start, end, kind: Kind::Host });
                    return Some(end);
                }
            }
        }
        None
    }

    /// What of the path that begins at `start` is the site's own; where the path ends.
    fn own_path(&self, start: usize, found: &mut Vec<Span>) -> usize {
        let end = self.trimmed(start, self.run(start, is_of_path));
        if let Some(keep) = own_part(&self.text[start..end]) {
            found.push(Span { start: start + keep, end, kind: Kind::Path });
        }
        end
    }

    /// `/home/alice/x`: the user, and where in their folder.
    fn home(&self, start: usize, end: usize, found: &mut Vec<Span>) -> Option<usize> {
        let folder = &self.text[start..end];
        let told = matches!(folder, "home" | "homes" | "Users" | "users") && self.before(start) == b'/';
        if !told || self.at(end) != b'/' {
            return None;
        }
        let name_end = self.run(end + 1, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
        let name_end = end + 1 + self.text[end + 1..name_end].trim_end_matches(['.', '-']).len();
        let name = &self.text[end + 1..name_end];
        if name.is_empty() || is_service_account(name) || matches!(name, "lost" | "linuxbrew") {
            return None;
        }
        if !is_pseudonym(name) {
            found.push(Span { start: end + 1, end: name_end, kind: Kind::User });
        }
        if self.at(name_end) == b'/' {
            let rest = self.run(name_end + 1, is_of_path);
            let rest = self.trimmed(name_end + 1, rest);
            if rest > name_end + 1 && !is_pseudonym(&self.text[name_end + 1..rest]) {
                found.push(Span { start: name_end + 1, end: rest, kind: Kind::Path });
            }
            return Some(rest.max(name_end));
        }
        Some(name_end)
    }

    /// `alice@login1`, `alice@site.example`. A unit of systemd is none of these, nor is a network of Lustre
    /// (`10.0.0.1@o2ib`).
    fn at_sign(&self, start: usize, at: usize, found: &mut Vec<Span>) -> Option<usize> {
        let host_end =
            self.run(at + 1, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'\\' | b':'));
        let unit = [".service", ".socket", ".target", ".timer", ".slice", ".mount", ".device", ".scope", ".path"];
        if unit.iter().any(|ending| self.text[at + 1..host_end].ends_with(ending)) {
            return Some(host_end);
        }
        let host_end = self.run(at + 1, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        let host_end = self.trimmed(at + 1, host_end);
        let (user, host) = (&self.text[start..at], &self.text[at + 1..host_end]);
        if is_lustre_network(host) {
            // mds1@o2ib
            if is_hostlike(user) {
                self.host(start, at, found);
            }
            // mds1@o2ib:/acmefs
            if self.text[host_end..].starts_with(":/") {
                return Some(self.own_path(host_end + 1, found));
            }
            return Some(host_end);
        }
        // In a URL `name@` may be what comes before the host, and anything in it is its own.
        let first = host.bytes().next()?;
        if !first.is_ascii_alphabetic() && self.ipv4(at + 1).is_none() {
            // `[alice@2026-11-20T08:15:00]`, as Slurm signs the reason that somebody gave.
            if begins_with_date(host) {
                self.user(start, at, found);
            }
            return None;
        }
        // `host/gpu042.site.example@SITE.EXAMPLE`: a service of Kerberos on a host.
        if self.before(start) == b'/' && user.contains('.') {
            self.host(start, at, found);
        } else {
            self.user(start, at, found);
        }
        if first.is_ascii_alphabetic() {
            self.host(at + 1, host_end, found);
            return Some(host_end);
        }
        Some(at)
    }

    /// What follows `://`: perhaps a user and a password, then a host.
    fn url(&self, start: usize, found: &mut Vec<Span>) -> usize {
        let end = self.run(start, |byte| {
            !byte.is_ascii_whitespace()
                && !matches!(byte, b'/' | b'"' | b'\'' | b'?' | b'#' | b'>' | b')' | b'<' | b',')
        });
        let host = match self.text[start..end].rfind('@') {
            Some(sign) => {
                let sign = start + sign;
                match self.text[start..sign].split_once(':') {
                    Some((user, _)) => {
                        self.user(start, start + user.len(), found);
                        if !is_pseudonym(&self.text[start + user.len() + 1..sign]) && start + user.len() + 1 < sign {
                            found.push(Span { start: start + user.len() + 1, end: sign, kind: Kind::Secret });
                        }
                    }
                    None => self.user(start, sign, found),
                }
                sign + 1
            }
            None => start,
        };
        let host_end = self.run(host, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        let host_end = self.trimmed(host, host_end);
        if self.at(host).is_ascii_alphabetic() && self.ipv4(host).is_none() {
            self.host(host, host_end, found);
            return host_end;
        }
        host
    }

    /// A name with dots, where its end tells that it is one of the network. Whether it was.
    fn host_with_domain(&self, start: usize, end: usize, found: &mut Vec<Span>) -> bool {
        let name = &self.text[start..end];
        let (stem, ending) = name.rsplit_once('.').unwrap_or_default();
        let labels_fit = |name: &str| {
            name.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
        };
        if self.at(end) == b'(' || !labels_fit(name) || is_public(name) {
            return labels_fit(name) && is_public(name);
        }
        let lower = name.to_ascii_lowercase();
        let known = self.site.domains.iter().any(|domain| {
            lower.strip_suffix(domain.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        });
        let outer = (is_outer_ending(ending) || stem.contains('.') && is_country_ending(ending))
            && stem.bytes().any(|byte| byte.is_ascii_alphabetic());
        let inner = is_inner_ending(ending) && stem.bytes().any(|byte| byte.is_ascii_alphabetic());
        if !known && !outer && !inner {
            return false;
        }
        self.host(start, end, found);
        true
    }

    /// Takes the name at a place where a host stands apart: host and domain.
    fn host(&self, start: usize, end: usize, found: &mut Vec<Span>) {
        host_spans(self.text, start, end, self.site, found);
    }

    fn user(&self, start: usize, end: usize, found: &mut Vec<Span>) {
        if start >= end {
            return;
        }
        let name = &self.text[start..end];
        let fits = name.bytes().all(|byte| is_word(byte) || matches!(byte, b'-' | b'.' | b'+' | b'\\'));
        if fits
            && !is_service_account(name)
            && !is_pseudonym(name)
            && name != "unset"
            && name.bytes().any(|b| b.is_ascii_alphabetic())
        {
            found.push(Span { start, end, kind: Kind::User });
        }
    }
}

/// The parts of a host's name: the host, and its domain. An address is left to be found as one.
pub(super) fn host_spans(text: &str, start: usize, end: usize, site: &Site, found: &mut Vec<Span>) {
    let Some(name) = text.get(start..end).filter(|name| is_hostlike(name)) else { return };
    if is_public(name) || is_pseudonym(name.split('.').next().unwrap_or_default()) {
        return;
    }
    let Some((host, domain)) = name.split_once('.') else {
        found.push(Span { start, end, kind: Kind::Host });
        return;
    };
    let lower = name.to_ascii_lowercase();
    let whole = site.domains.contains(&lower) || (!domain.contains('.') && is_outer_ending(domain));
    if whole {
        found.push(Span { start, end, kind: Kind::Domain });
        return;
    }
    found.push(Span { start, end: start + host.len(), kind: Kind::Host });
    let says_nothing = !domain.contains('.') && (is_inner_ending(domain) || is_outer_ending(domain));
    if !says_nothing && !is_public(domain) && !is_pseudonym(domain.split('.').next().unwrap_or_default()) {
        found.push(Span { start: start + host.len() + 1, end, kind: Kind::Domain });
    }
}

/// The letters of a host's name and the count of digits after them, where names like it are hosts too: `cn`, 3 of
/// `cn118`.
pub(super) fn stem_of(name: &str) -> Option<(String, usize)> {
    let host = name.split('.').next()?;
    let stem = host.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = host.len() - stem.len();
    // `gpu5` and `node1` are parts of a machine as often as machines.
    let enough = if names_parts(&stem.to_ascii_lowercase()) { digits >= 3 } else { digits >= 2 };
    (stem.len() >= 2 && enough).then(|| (stem.to_ascii_lowercase(), digits))
}

/// The host of a syslog line (`Nov 20 08:15:00 gpu042 kernel: …`, or with an ISO time), and where it stands.
fn syslog_host(line: &str) -> Option<(usize, &str)> {
    let bytes = line.as_bytes();
    let mut at = match bytes {
        [m, o, n, b' ', ..] if m.is_ascii_uppercase() && o.is_ascii_lowercase() && n.is_ascii_lowercase() => {
            // The day has two places, and the second of them may be the blank's.
            let clock = line.get(7..15)?;
            let fits = clock
                .bytes()
                .enumerate()
                .all(|(at, b)| if at == 2 || at == 5 { b == b':' } else { b.is_ascii_digit() });
            if !fits {
                return None;
            }
            15
        }
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', _, _, b'-', _, _, b'T', ..] => line.find(' ')?,
        _ => return None,
    };
    if bytes.get(at) != Some(&b' ') {
        return None;
    }
    at += 1;
    let rest = &line[at..];
    let (host, after) = rest.split_once(' ')?;
    // Then comes who says it: `kernel:`, `sshd[123]:`.
    let tag = after.split(' ').next()?;
    (tag.ends_with(':') && is_hostlike(host)).then_some((at, host))
}

/// Whether sixteen hexadecimal digits are the address of a port by its maker's custom: `0300` or `fffe` in the middle.
fn is_eui64(digits: &[u8]) -> bool {
    let middle = &digits[6..10];
    digits.len() == 16
        && (middle == b"0300" || middle.eq_ignore_ascii_case(b"fffe"))
        && !digits[..4].eq_ignore_ascii_case(b"ffff")
        && &digits[..4] != b"0000"
}

/// Whether an address says something about a site: not the machine's own, not a mask, not what is the same everywhere.
fn hides(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(first == 0
        || first == 127
        || first == 255
        || (first == 224 && second == 0 && third == 0)
        // Where every cloud has its description of the machine.
        || address == Ipv4Addr::new(169, 254, 169, 254))
}

fn hides6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    if let Some(inner) = address.to_ipv4_mapped() {
        return hides(inner);
    }
    // The machine itself, what goes to all, and a prefix that everybody has.
    !(address.is_loopback()
        || address.is_unspecified()
        || segments[0] & 0xff00 == 0xff00
        || (segments[0] == 0xfe80 && segments[1..].iter().all(|segment| *segment == 0)))
}
