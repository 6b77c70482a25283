//! Finding the few lines of a log that can be of interest, at the speed of reading it.
//!
//! Hundreds of texts are looked for at once. Each is at least [`LEAST`] bytes long, so of every three neighbouring
//! places in the log, one is where four bytes of such a text begin at one of three neighbouring bytes of it: those of
//! which a log has the fewest. Only these places are looked at: four bytes, one multiplication, one bit. What passes is
//! compared in full.

/// Bytes that are looked at at once.
const GRAM: usize = 4;
/// Every how many bytes one place is looked at.
const STRIDE: usize = 3;
/// The shortest text that cannot be missed, in bytes.
pub(super) const LEAST: usize = GRAM + STRIDE - 1;
/// Bits of the numbers that four bytes are turned into.
const BITS: u32 = 17;
/// How many places are looked at before asking whether one of them was of interest.
const AT_ONCE: usize = 8;
const _: () = assert!(AT_ONCE == 8, "`Sieve::find` writes them out");
/// The bytes that these places cover.
const BLOCK: usize = (AT_ONCE - 1) * STRIDE + GRAM;

/// What stands before a word that begins a message: written `^` in front of a text. Colours of a terminal end in `m`.
const BEFORE: &[u8] = b" \n>:]\t\"};m";

/// Texts to look for.
pub(super) struct Sieve {
    /// Whether four bytes of a text have this number.
    bits: Box<[u64; (1 << BITS) / 64]>,
    /// Where the entries of a number begin; those of the next end them.
    starts: Vec<u16>,
    entries: Vec<Entry>,
    texts: Vec<(Vec<u8>, u16)>,
}

struct Entry {
    gram: u32,
    text: u16,
    offset: u16,
}

#[inline(always)]
fn gram(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + GRAM) {
        Some(four) => u32::from_le_bytes([four[0], four[1], four[2], four[3]]),
        None => 0,
    }
}

#[inline(always)]
fn number(gram: u32) -> usize {
    // The golden ratio, which spreads neighbouring numbers (Knuth, The Art of Computer Programming 6.4).
    (gram.wrapping_mul(0x9E37_79B1) >> (32 - BITS)) as usize
}

/// Where those bytes of a text begin of which a log has the fewest.
fn rarest(text: &[u8]) -> usize {
    let common = |byte: &u8| match byte {
        b'e' | b't' | b'a' | b'i' | b'n' | b'o' | b's' | b'r' | b'd' | b'l' | b' ' | b'0' => 4,
        b'a'..=b'z' | b'1'..=b'9' => 3,
        b':' | b'_' | b'-' | b'.' => 2,
        _ => 1,
    };
    // Nearly every line says `kernel: `.
    let in_every_line = |four: &[u8]| memchr::memmem::find(b" kernel: ", four).is_some();
    let cost = |first: &usize| {
        let window = &text[*first..first + LEAST];
        window.iter().map(common).sum::<u32>() + if window.windows(GRAM).any(in_every_line) { 100 } else { 0 }
    };
    (0..=text.len() - LEAST).min_by_key(cost).unwrap_or_default()
}

impl Sieve {
    /// Texts with what each stands for. A `^` in front means that the text begins a word.
    pub(super) fn new<'t>(needles: impl Iterator<Item = (&'t str, u16)>) -> Sieve {
        let mut texts: Vec<(Vec<u8>, u16)> = Vec::new();
        for (needle, meaning) in needles {
            match needle.strip_prefix('^') {
                None => texts.push((needle.as_bytes().to_vec(), meaning)),
                Some(word) => {
                    texts.extend(BEFORE.iter().map(|before| ([&[*before], word.as_bytes()].concat(), meaning)));
                }
            }
        }
        let mut entries: Vec<Entry> = Vec::new();
        for (index, (text, _)) in texts.iter().enumerate() {
            assert!(text.len() >= LEAST, "{:?} is too short to be found", String::from_utf8_lossy(text));
            let first = rarest(text);
            for offset in first..first + STRIDE {
                entries.push(Entry { gram: gram(text, offset), text: index as u16, offset: offset as u16 });
            }
        }
        entries.sort_by_key(|entry| number(entry.gram));
        let mut bits = Box::new([0; (1 << BITS) / 64]);
        let mut starts = vec![0; (1 << BITS) + 1];
        for entry in &entries {
            bits[number(entry.gram) / 64] |= 1 << (number(entry.gram) % 64);
            starts[number(entry.gram) + 1] += 1;
        }
        for number in 0..1 << BITS {
            starts[number + 1] += starts[number];
        }
        Sieve { bits, starts, entries, texts }
    }

    /// Where a text stands, at or after `from`: not the first place of all, but none is passed over in a line.
    #[inline]
    pub(super) fn find(&self, log: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        let mut rest = log.get(from..)?;
        while let Some(block) = rest.first_chunk::<BLOCK>() {
            // Written out, because the release is built for size and would make a loop of it.
            let mut of_interest = self.seen(block, 0)
                | self.seen(block, 1)
                | self.seen(block, 2)
                | self.seen(block, 3)
                | self.seen(block, 4)
                | self.seen(block, 5)
                | self.seen(block, 6)
                | self.seen(block, 7);
            // The lowest bit is the first of these places.
            while of_interest != 0 {
                let place = at + of_interest.trailing_zeros() as usize * STRIDE;
                if let Some(start) = self.text_at(log, place, from) {
                    return Some(start);
                }
                of_interest &= of_interest - 1;
            }
            at += AT_ONCE * STRIDE;
            rest = &rest[AT_ONCE * STRIDE..];
        }
        while at + GRAM <= log.len() {
            if self.bit(number(gram(log, at))) == 1
                && let Some(start) = self.text_at(log, at, from)
            {
                return Some(start);
            }
            at += STRIDE;
        }
        None
    }

    /// The bit of a place in a block: whether the four bytes there are of interest.
    #[inline(always)]
    fn seen(&self, block: &[u8; BLOCK], place: usize) -> u64 {
        self.bit(number(gram(block, place * STRIDE))) << place
    }

    /// Whether four bytes of a text have this number: 1 or 0.
    #[inline(always)]
    fn bit(&self, number: usize) -> u64 {
        self.bits[number / 64] >> (number % 64) & 1
    }

    /// Where a text begins, at or after `from`, of which four bytes stand at `at`.
    fn text_at(&self, log: &[u8], at: usize, from: usize) -> Option<usize> {
        let seen = gram(log, at);
        self.texts_at(log, at, seen, number(seen)).map(|(start, _)| start).find(|start| *start >= from)
    }

    /// What each text stands for that stands somewhere in `log`, in the order of the log; one may come several times.
    pub(super) fn all<'a>(&'a self, log: &'a [u8]) -> impl Iterator<Item = u16> + 'a {
        (0..log.len().saturating_sub(GRAM - 1)).step_by(STRIDE).flat_map(move |at| {
            let seen = gram(log, at);
            self.texts_at(log, at, seen, number(seen)).map(|(_, meaning)| meaning)
        })
    }

    fn texts_at(&self, log: &[u8], at: usize, seen: u32, number: usize) -> impl Iterator<Item = (usize, u16)> {
        let range = usize::from(self.starts[number])..usize::from(self.starts[number + 1]);
        self.entries[range].iter().filter(move |entry| entry.gram == seen).filter_map(move |entry| {
            let start = at.checked_sub(usize::from(entry.offset))?;
            let (text, meaning) = &self.texts[usize::from(entry.text)];
            log[start..].starts_with(text).then_some((start, *meaning))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        let sieve = Sieve::new([("NVRM: ", 1), ("^XFS (", 2), ("soft lockup", 3)].into_iter());
        for before in 0..40 {
            for (text, expected) in [("NVRM: x", 1), (" XFS (sda1)", 2), ("a soft lockup", 3)] {
                let log = format!("{}{text}{}", "-".repeat(before), "-".repeat(before % 7));
                assert!(sieve.find(log.as_bytes(), 0).is_some(), "{log}");
                assert_eq!(sieve.all(log.as_bytes()).collect::<Vec<_>>(), [expected], "{log}");
            }
        }
        for nothing in ["", "N", "NVRM", "NVRM:x", "aXFS (sda1)", "soft locku", "\u{fffd}\u{fffd}"] {
            assert_eq!(sieve.find(nothing.as_bytes(), 0), None, "{nothing}");
            assert_eq!(sieve.all(nothing.as_bytes()).count(), 0);
        }
    }
}
