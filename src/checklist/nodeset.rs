//! Sets of nodes, as Slurm and ClusterShell write them: `gpu[001-128],login`, `r[1-4]n[01-16]!r2n03`.
//!
//! A set is matched against a name, never written out, so `n[1-1000000]` costs nothing. What Slurm and ClusterShell
//! read differently, or one of them takes for something else than was meant, is refused.

use crate::expression::Mistake;
use std::collections::BTreeSet;

/// A set of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSet {
    /// In the order of the text; each takes its names in or out again.
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// Whether it stands after `!`: its names are taken out.
    excludes: bool,
    parts: Vec<Part>,
}

/// A piece of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `*`: any text.
    Any,
    /// `[001-128,200]`: one of these numbers.
    Numbers(Vec<Range>),
}

/// `first-last/step`, written with at least `width` digits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    step: u64,
    width: usize,
}

/// The most digits that a number may have: one more and it may not fit.
const MOST_DIGITS: usize = 18;

impl NodeSet {
    /// Reads a set. Commas and spaces separate names, `!` takes names out of what stands before it.
    pub fn parse(text: &str) -> Result<NodeSet, Mistake> {
        Parser { chars: text.chars().collect(), at: 0 }.set()
    }

    /// Whether the node is in it that goes by these names. A name with a domain is known by its short form as well; a
    /// name without one is in a set whose names have a domain, whichever that is.
    pub fn has(&self, names: &BTreeSet<String>) -> bool {
        let is_in = |parts: &[Part]| {
            names.iter().any(|name| {
                let short = name.split('.').next().unwrap_or_default();
                matches(parts, name)
                    || matches(parts, short)
                    || (short == name && matches(&without_domain(parts), name))
            })
        };
        self.terms.iter().fold(false, |so_far, term| match (term.excludes, is_in(&term.parts)) {
            (_, false) => so_far,
            (excludes, true) => !excludes,
        })
    }
}

/// The parts before the first dot.
fn without_domain(parts: &[Part]) -> Vec<Part> {
    let mut short = Vec::new();
    for part in parts {
        match part {
            Part::Literal(text) if text.contains('.') => {
                short.push(Part::Literal(text.split('.').next().unwrap_or_default().to_string()));
                break;
            }
            part => short.push(part.clone()),
        }
    }
    short
}

/// Whether the parts make up the name. Keeps every place that the parts so far can end at, so that neither `*` nor
/// brackets side by side make it try again and again.
fn matches(parts: &[Part], name: &str) -> bool {
    let mut ends = BTreeSet::from([0]);
    for part in parts {
        ends = ends.into_iter().flat_map(|end| part.ends(name, end)).collect();
    }
    ends.contains(&name.len())
}

impl Part {
    /// Where it may end in a name when it begins at `start`.
    fn ends(&self, name: &str, start: usize) -> Vec<usize> {
        let rest = &name[start..];
        match self {
            Part::Literal(text) if rest.starts_with(text.as_str()) => vec![start + text.len()],
            Part::Literal(_) => Vec::new(),
            Part::Any => rest.char_indices().map(|(at, _)| start + at).chain([name.len()]).collect(),
            Part::Numbers(ranges) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(MOST_DIGITS);
                let fits = |length: &usize| ranges.iter().any(|range| range.has(&rest[..*length]));
                (1..=digits).filter(fits).map(|length| start + length).collect()
            }
        }
    }
}

impl Range {
    fn has(&self, digits: &str) -> bool {
        digits.parse::<u64>().is_ok_and(|number| {
            (self.first..=self.last).contains(&number)
                && (number - self.first).is_multiple_of(self.step)
                && format!("{number:0width$}", width = self.width) == digits
        })
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn mistake<T>(&self, offset: usize, message: impl Into<String>, help: &str) -> Result<T, Mistake> {
        let help = Some(help.to_string()).filter(|help| !help.is_empty());
        Err(Mistake { offset, message: message.into(), help })
    }

    fn set(mut self) -> Result<NodeSet, Mistake> {
        let mut terms: Vec<Term> = Vec::new();
        let mut excludes = None;
        loop {
            let before = self.at;
            while self.peek().is_some_and(|c| c == ',' || c.is_whitespace()) {
                self.at += 1;
            }
            if let Some(place) = excludes
                && (self.at != before || self.peek().is_none())
            {
                return self.mistake(
                    place,
                    "no name follows this `!`",
                    "write what to leave out right after it: `n[1-9]!n3`",
                );
            }
            match self.peek() {
                None if terms.is_empty() => {
                    return self.mistake(0, "this names no node", "write names: `gpu[001-128],login`");
                }
                None => return Ok(NodeSet { terms }),
                Some('!') if terms.is_empty() || excludes.is_some() => {
                    return self.mistake(self.at, "`!` takes names out of those before it, and there are none", "");
                }
                Some('!') => {
                    excludes = Some(self.at);
                    self.at += 1;
                }
                Some(_) => terms.push(Term { excludes: excludes.take().is_some(), parts: self.name()? }),
            }
        }
    }

    fn name(&mut self) -> Result<Vec<Part>, Mistake> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        while let Some(c) = self.peek() {
            match c {
                ',' | '!' => break,
                c if c.is_whitespace() => break,
                c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':') => {
                    literal.push(c);
                    self.at += 1;
                }
                '*' | '[' => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    self.at += 1;
                    parts.push(if c == '*' { Part::Any } else { Part::Numbers(self.numbers()?) });
                }
                ']' => return self.mistake(self.at, "this bracket closes none", ""),
                '{' | '}' => {
                    return self.mistake(self.at, format!("`{c}` cannot stand in a name"), "numbers stand in `[…]`");
                }
                '@' => {
                    let help = "groups of other tools are not known here; write the names";
                    return self.mistake(self.at, "`@` cannot stand in a name", help);
                }
                '&' | '^' => {
                    let help = "`,` adds names and `!` takes them out; there is no other operator";
                    return self.mistake(self.at, format!("`{c}` cannot stand in a name"), help);
                }
                c => return self.mistake(self.at, format!("`{c}` cannot stand in a name"), ""),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(parts)
    }

    /// What stands in brackets, behind the first of them.
    fn numbers(&mut self) -> Result<Vec<Range>, Mistake> {
        let bracket = self.at - 1;
        let mut ranges = Vec::new();
        loop {
            let start = self.at;
            let first = self.digits(bracket)?;
            let last = match self.peek() {
                Some('-') => {
                    self.at += 1;
                    self.digits(bracket)?
                }
                _ => first.clone(),
            };
            let step = match self.peek() {
                Some('/') => {
                    self.at += 1;
                    self.digits(bracket)?
                }
                _ => "1".to_string(),
            };
            ranges.push(self.range(start, &first, &last, &step)?);
            match self.peek() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.at += 1;
                    return Ok(ranges);
                }
                _ => return self.not_a_number(bracket),
            }
        }
    }

    fn digits(&mut self, bracket: usize) -> Result<String, Mistake> {
        let start = self.at;
        let digits: String = self.chars[start..].iter().take_while(|c| c.is_ascii_digit()).collect();
        if digits.is_empty() {
            return self.not_a_number(bracket);
        }
        if digits.len() > MOST_DIGITS {
            return self.mistake(start, format!("this number has more than {MOST_DIGITS} digits"), "");
        }
        self.at += digits.len();
        Ok(digits)
    }

    fn not_a_number<T>(&self, bracket: usize) -> Result<T, Mistake> {
        match self.peek() {
            None => self.mistake(bracket, "this bracket is never closed", "close it: `n[1-4]`"),
            Some('[') => self.mistake(self.at, "brackets cannot stand in brackets", ""),
            Some(']') => self.mistake(self.at, "a number is missing here", "write numbers: `n[1-4,9]`"),
            Some(c) => {
                let help = "numbers, ranges and steps: `n[1-4,9]`, `n[001-128]`, `n[1-9/2]`; no spaces";
                self.mistake(self.at, format!("`{c}` cannot stand in brackets"), help)
            }
        }
    }

    fn range(&self, start: usize, first: &str, last: &str, step: &str) -> Result<Range, Mistake> {
        let is_padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
        if first.len() != last.len() && (is_padded(last) || (is_padded(first) && last.len() < first.len())) {
            let width = first.len().max(last.len());
            let help = format!("write both with as many digits: `{first:0>width$}-{last:0>width$}`");
            return self.mistake(start, format!("`{first}-{last}` is padded with zeros in two ways"), &help);
        }
        let width = if is_padded(first) { first.len() } else { 1 };
        let number = |digits: &str| digits.parse::<u64>().unwrap_or(u64::MAX);
        let range = Range { first: number(first), last: number(last), step: number(step), width };
        if range.last < range.first {
            return self.mistake(start, format!("`{first}-{last}` counts down"), &format!("write `{last}-{first}`"));
        }
        if range.step == 0 {
            return self.mistake(start, "a step of 0 leads nowhere", "");
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(set: &str, name: &str) -> bool {
        NodeSet::parse(set)
            .unwrap_or_else(|mistake| panic!("{set}: {mistake:?}"))
            .has(&BTreeSet::from([name.to_string()]))
    }

    #[test]
    fn names_are_in_a_set_as_slurm_and_clustershell_have_it() {
        for (set, inside, outside) in [
            ("n1", &["n1"][..], &["n", "n11", "N1", "xn1"][..]),
            ("n[1-4]", &["n1", "n4"], &["n0", "n5", "n01", "n", "n1x"]),
            ("gpu[001-003,200]", &["gpu001", "gpu003", "gpu200"], &["gpu1", "gpu004", "gpu0200"]),
            ("gpu[08-11]", &["gpu08", "gpu09", "gpu10", "gpu11"], &["gpu8", "gpu010"]),
            ("gpu[8-11]", &["gpu8", "gpu11"], &["gpu08"]),
            ("n[098-101]", &["n098", "n100", "n101"], &["n98", "n102"]),
            ("gpu[1,01,001]", &["gpu1", "gpu01", "gpu001"], &["gpu0001"]),
            ("n[1-2],m[5-6],login", &["n2", "m5", "login"], &["m1", "login1"]),
            ("n1 n2", &["n1", "n2"], &["n1 n2"]),
            ("r[1-2]n[01-03]", &["r1n01", "r2n03"], &["r3n01", "r1n1"]),
            ("node-[1-2]-[3-4]", &["node-1-3", "node-2-4"], &["node-1-1"]),
            ("n[1-2][3-4]", &["n13", "n24"], &["n1", "n31"]),
            ("n[1-2]-ib0", &["n1-ib0"], &["n1"]),
            ("10.0.0.[1-3]", &["10.0.0.2"], &["10.0.0.4"]),
            ("n[1-9/2]", &["n1", "n9"], &["n2", "n8"]),
            ("n[1-5]!n3", &["n2", "n4"], &["n3"]),
            ("n[1-5]!n[2-3],n2", &["n1", "n2"], &["n3"]),
            ("n[1-70000]", &["n69999"], &["n70001"]),
            ("*", &["anything"], &[]),
            ("gpu*-[1-2]!*-2", &["gpu-a-1"], &["gpu-a-2", "cpu-1"]),
        ] {
            inside.iter().for_each(|name| assert!(has(set, name), "{name} is in {set}"));
            outside.iter().for_each(|name| assert!(!has(set, name), "{name} is not in {set}"));
        }
    }

    #[test]
    fn a_name_is_known_by_its_short_form_and_a_bare_one_in_any_domain() {
        assert!(has("n[1-2]", "n1.cluster.example"));
        assert!(has("n[1-2].cluster.example", "n1.cluster.example"));
        assert!(!has("n[1-2].cluster.example", "n1.other.example"));
        assert!(has("n[1-2].cluster.example", "n2"));
        assert!(!has("n[1-2].cluster.example", "n3"));
        let names = BTreeSet::from(["ip-10-0-0-7".to_string(), "gpu-st-7".to_string()]);
        assert!(NodeSet::parse("gpu-st-[1-9]").unwrap().has(&names));
    }

    #[test]
    fn what_is_read_in_two_ways_is_refused_and_says_where() {
        for (set, offset, message) in [
            ("", 0, "names no node"),
            (" , ", 0, "names no node"),
            ("gpu[1-010]", 4, "padded with zeros in two ways"),
            ("n[00-2]", 2, "padded with zeros in two ways"),
            ("n[3-1]", 2, "counts down"),
            ("n[[1-2],4]", 2, "cannot stand in brackets"),
            ("n[1-2", 1, "never closed"),
            ("n[", 1, "never closed"),
            ("n]", 1, "closes none"),
            ("n[]", 2, "missing"),
            ("n[1,]", 4, "missing"),
            ("n[1 - 2]", 3, "cannot stand"),
            ("n[+1-2]", 2, "cannot stand"),
            ("n[a-c]", 2, "cannot stand"),
            ("n{1,2}", 1, "cannot stand"),
            ("n[1-5]&n[4-7]", 6, "cannot stand"),
            ("@fleet:all", 0, "cannot stand"),
            ("n[1-9/0]", 2, "step of 0"),
            ("n[1-99999999999999999999]", 4, "digits"),
            ("!n1", 0, "there are none"),
            ("n1!!n2", 3, "there are none"),
            ("n1!", 2, "no name follows"),
            ("n1! n2", 2, "no name follows"),
            ("nœud1", 1, "cannot stand"),
        ] {
            let mistake = NodeSet::parse(set).expect_err(set);
            assert!(mistake.message.contains(message), "{set}: {}", mistake.message);
            assert_eq!(mistake.offset, offset, "{set}: {}", mistake.message);
        }
    }

    #[test]
    fn a_set_that_tries_everything_is_soon_done() {
        let set = format!("{}[1-9]", "*[0-9]".repeat(20));
        let began = std::time::Instant::now();
        assert!(has(&set, &"1".repeat(250)));
        assert!(!has(&set, &"0".repeat(250)));
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }
}
