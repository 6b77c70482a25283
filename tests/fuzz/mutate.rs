//! Making bad input of good: random numbers that repeat, and changes to bytes, JSON and expressions.

use serde_json::{Map, Value as Json, json};
use std::ops::Range;

/// Random numbers: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). The same seed
/// gives the same input on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A number below `end`, small ones more often: each power of two is as likely as the next.
    pub fn small(&mut self, end: usize) -> usize {
        let bits = self.below(end.max(1).ilog2() as usize + 2);
        self.below((1 << bits).min(end.max(1)))
    }

    pub fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }

    /// A piece of something this long; often short, sometimes nothing.
    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        start..start + self.small(length - start + 1)
    }
}

/// Numbers at the edges of what programs expect, as text.
#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "0", "-0", "-1", "1", "00", "+1", "0x10", "1e3", "1.5", "-0.0001", "nan", "NaN", "inf", "-inf", "1e308", "1e999",
    "-1e999", "127", "128", "255", "256", "32768", "65535", "65536", "2147483647", "2147483648", "4294967295",
    "4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "18446744073709551615", "18446744073709551616", "99999999999999999999999999999999999999999", "1,000", "1_000",
    "٣", "½", "%", "",
];

/// Pieces of text that parsers trip over.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "\0", "\n", "\r\n", "\r", "\t", " ", "\u{feff}", "\u{202e}", "\u{2028}", "\u{85}", "\x1b[31m", "\\", "\"", "'",
    "%", "{", "}", "[", "]", "(", ")", ":", "::", ",", ";", "-", "--", "=", "/", "//", "../../../..", "|", "<", ">",
    "&a", "*a", "!!binary ", "<<: ", "---\n", "...\n", "\u{1f600}", "\u{0301}", "é", "ß", "İ", "\u{10ffff}", "N/A",
    "[Unknown Error]", "unknown", "max", "Permission denied", "# ", "? ", "- ", "|\n", ">-\n", "{{", "}}", "~",
    "null",
];

/// Bytes that are no text.
const NO_TEXT: &[&[u8]] =
    &[b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xff\xfe", b"\xe2\x82"];

/// `text` with a few changes; `others` gives pieces of like kind.
pub fn bytes(random: &mut Random, text: &[u8], others: &[&[u8]]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..1 + random.small(6) {
        change(random, &mut bytes, others);
        // A change that repeats may follow another.
        bytes.truncate(4 << 20);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, others: &[&[u8]]) {
    match random.below(22) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => drop(bytes.drain(random.range(bytes.len()))),
        2..=7 => {
            let numbers = runs(bytes, u8::is_ascii_digit);
            let number = random.pick(NUMBERS).as_bytes().to_vec();
            if !numbers.is_empty() {
                bytes.splice(numbers[random.below(numbers.len())].clone(), number);
            }
        }
        8 | 9 => {
            let words = runs(bytes, |byte| !byte.is_ascii_whitespace());
            if !words.is_empty() {
                let word = words[random.below(words.len())].clone();
                let other = bytes[words[random.below(words.len())].clone()].to_vec();
                bytes.splice(word, other);
            }
        }
        10 | 11 => {
            let at = random.below(bytes.len() + 1);
            bytes.splice(at..at, random.pick(PIECES).bytes());
        }
        12 => {
            let at = random.below(bytes.len() + 1);
            bytes.splice(at..at, random.pick(NO_TEXT).iter().copied());
        }
        13 => {
            for _ in 0..1 + random.small(8) {
                let at = random.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
        14..=17 => lines(random, bytes),
        18 => {
            let piece = bytes[random.range(bytes.len())].to_vec();
            let at = random.below(bytes.len() + 1);
            let times = 1 + random.small(10_000);
            let piece = piece.repeat(times.min((1 << 18) / piece.len().max(1)).max(1));
            bytes.splice(at..at, piece);
        }
        19 if !others.is_empty() => {
            let other = random.pick(others);
            let piece = other[random.range(other.len())].to_vec();
            bytes.splice(random.range(bytes.len()), piece);
        }
        20 => match random.below(12) {
            0 => bytes.clear(),
            1 => *bytes = (0..random.below(4096)).map(|_| random.next() as u8).collect(),
            2 => *bytes = String::from_utf8_lossy(bytes).encode_utf16().flat_map(u16::to_le_bytes).collect(),
            3 => *bytes = vec![*random.pick(b"0 9a\n\0[({-\xff"); 1 << random.below(21)],
            4 => bytes.retain(|byte| *byte != b'\n'),
            5 => bytes.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'\r'),
            6 => *bytes = random.pick(NUMBERS).as_bytes().to_vec(),
            7 => bytes.make_ascii_uppercase(),
            _ => bytes.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        },
        _ => {
            let marks = [b':', b' ', b'\t', b',', b'=', b'-', b'/', b'.', b'|', b'\n', b'"'];
            let at: Vec<usize> = (0..bytes.len()).filter(|at| marks.contains(&bytes[*at])).collect();
            if !at.is_empty() {
                bytes[at[random.below(at.len())]] = *random.pick(&marks);
            }
        }
    }
}

/// Leaves out, repeats, swaps or moves lines.
fn lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(5) {
        _ if lines.is_empty() => {}
        0 => drop(lines.remove(a)),
        1 => lines.swap(a, b),
        2 => {
            let line = lines[a].clone();
            let times = 1 + random.small(3000).min((1 << 18) / line.len().max(1));
            lines.splice(a..a, vec![line; times]);
        }
        3 => {
            let line = lines[a].clone();
            lines.insert(b, line);
        }
        _ if lines[a].starts_with(b" ") => drop(lines[a].remove(0)),
        _ => lines[a].splice(0..0, *b"  ").for_each(drop),
    }
    *bytes = lines.concat();
}

/// Where bytes of this kind stand together.
fn runs(bytes: &[u8], is_kind: impl Fn(&u8) -> bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = None;
    for (at, byte) in bytes.iter().enumerate() {
        match (is_kind(byte), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                runs.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    runs.extend(start.map(|from| from..bytes.len()));
    runs
}

/// Changes some of the values inside `value`.
pub fn json(random: &mut Random, value: &mut Json) {
    for _ in 0..1 + random.small(24) {
        let mut pointers = Vec::new();
        pointers_into(value, &mut String::new(), &mut pointers);
        if pointers.is_empty() {
            return;
        }
        let (at, other) = (random.pick(&pointers).clone(), random.pick(&pointers).clone());
        let other = value.pointer(&other).filter(|other| other.to_string().len() < 1 << 16).cloned();
        if let Some(place) = value.pointer_mut(&at) {
            change_json(random, place, other.unwrap_or_default());
        }
    }
}

fn pointers_into(value: &Json, here: &mut String, pointers: &mut Vec<String>) {
    let length = here.len();
    let mut visit = |key: &str, value: &Json| {
        here.push('/');
        here.push_str(&key.replace('~', "~0").replace('/', "~1"));
        pointers.push(here.clone());
        pointers_into(value, here, pointers);
        here.truncate(length);
    };
    match value {
        Json::Object(fields) => fields.iter().for_each(|(key, value)| visit(key, value)),
        Json::Array(items) => items.iter().enumerate().for_each(|(at, value)| visit(&at.to_string(), value)),
        _ => {}
    }
}

fn change_json(random: &mut Random, place: &mut Json, other: Json) {
    let text = |random: &mut Random| {
        let from = if random.once_in(2) { PIECES } else { NUMBERS };
        let most = if random.once_in(50) { 100_000 } else { 40 };
        random.pick(from).repeat(1 + random.small(most))
    };
    match random.below(14) {
        0 => *place = Json::Null,
        1 => *place = json!(random.once_in(2)),
        2 | 3 => {
            let numbers = [0, 1, -1, 64, 4_294_967_296, i64::MAX, i64::MIN];
            *place = json!(random.pick(&numbers));
        }
        4 => *place = json!(random.pick(&[0.5, -0.0, 1e300, -1e300, 5e-324, 1e19, 99.999_999])),
        5 => *place = json!(u64::MAX),
        6 => *place = json!(text(random)),
        7 => *place = json!([]),
        8 => *place = json!({}),
        9 => {
            let word =
                random.pick(&["timeout", "failed", "denied", "not_recorded", "not_present", "not_supported", "x"]);
            *place = json!({"absent": word, "detail": text(random)});
        }
        10 => {
            for _ in 0..1 + random.small(200) {
                *place = if random.once_in(2) { json!([place.take()]) } else { json!({"json": place.take()}) };
            }
        }
        11 => *place = other,
        _ => match place {
            Json::Array(items) if !items.is_empty() => {
                let at = random.below(items.len());
                match random.below(3) {
                    0 => drop(items.remove(at)),
                    1 => items.push(other),
                    _ => {
                        let item = items[at].clone();
                        let size = item.to_string().len().max(1);
                        items.extend(vec![item; random.small(2000).min((1 << 19) / size)]);
                    }
                }
            }
            Json::Object(fields) if !fields.is_empty() => {
                let key = fields.keys().nth(random.below(fields.len())).cloned().unwrap_or_default();
                let value = fields.remove(&key).unwrap_or_default();
                if random.once_in(2) {
                    fields.insert(text(random), value);
                }
            }
            Json::String(old) => {
                *old = String::from_utf8_lossy(&bytes(random, old.as_bytes(), &[])).into_owned();
            }
            other => *other = Json::Object(Map::from_iter([("absent".to_string(), json!("failed"))])),
        },
    }
}

/// Words that expressions are made of, besides those of other expressions.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "0", "-1", "1", "9223372036854775807", "-9223372036854775808", "1.5", "0.0", "1e308", "1u", "\"\"", "\"a\"",
    "\"(\"", "\"(a*)*b\"", "\"\\\\pL{500}\"", "true", "false", "null", "[]", "{}", "[1, 2]", "{\"a\": 1}", "b\"a\"",
    "duration(\"1h\")", "timestamp(\"2026-01-01T00:00:00Z\")", "&&", "||", "?", ":", "!", "-", "+", "*", "/", "%",
    "==", "!=", "<", "<=", ">", ">=", "in", "(", ")", "[", "]", "{", "}", ",", ".", ".?", "[?", "x", "has(x)",
    ".size()", ".exists(x, x)", ".all(x, x != 0)", ".map(x, [x, x])", ".filter(x, true)", ".exists_one(x, x)",
    ".sort()", ".distinct()", ".reverse()", ".slice(0, 1)", ".slice(-1, 9)", ".join(\",\")", ".split(\"\")",
    ".split(\",\", -1)", ".replace(\"\", \"aa\")", ".replace(\"a\", \"b\", -1)", ".substring(1)", ".substring(3, 1)",
    ".indexOf(\"a\", 99)", ".matches(\"a\")", ".lowerAscii()", ".trim()", ".orValue(1)", ".hasValue()", "string(",
    "int(", "double(", "bool(", "size(", "round(", "bytes(", "seconds(", "duration(", "timestamp(", "params",
    "before", "outcomes", "é", "\u{1f600}",
];

/// An expression made of `text` and a piece of `other`.
pub fn expression(random: &mut Random, text: &str, other: &str) -> String {
    match random.below(12) {
        0 => return format!("({text}) {} ({other})", random.pick(&["&&", "||", "==", "+", "in", "<", "*", "%", "/"])),
        1 => return format!("({text}) ? ({other}) : ({text})"),
        2 => return format!("[{text}, {other}]{}", random.pick(WORDS)),
        3 => return format!("({text}){}", random.pick(WORDS)),
        4 => {
            return format!(
                "{}({text})",
                random.pick(&["string", "int", "size", "!", "-", "round", "bytes", "double"])
            );
        }
        _ => {}
    }
    let mut words = tokens(text);
    let others = tokens(other);
    for _ in 0..1 + random.small(6) {
        let (at, range) = (random.below(words.len()), random.range(words.len()));
        match random.below(5) {
            0 => drop(words.drain(range)),
            1 => drop(words.splice(range, others[random.range(others.len())].iter().copied())),
            2 if !words.is_empty() => words[at] = *random.pick(WORDS),
            3 => words.insert(at, *random.pick(WORDS)),
            _ if !words.is_empty() && !others.is_empty() => words[at] = *random.pick(&others),
            _ => {}
        }
    }
    words.concat()
}

/// Names, numbers, quoted texts and signs, each with the space after it.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if matches!(first, '"' | '\'') {
            rest[1..].find(first).map_or(rest.len(), |end| end + 2)
        } else {
            first.len_utf8()
        };
        let end = end + rest[end..].find(|c: char| !c.is_whitespace()).unwrap_or(rest.len() - end);
        let (token, after) = rest.split_at(end);
        tokens.push(token);
        rest = after;
    }
    tokens
}
