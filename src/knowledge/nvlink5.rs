//! What is wrong with an NVLink of the fifth generation, read from the line of an Xid 144 to 150 by `nvlink5.tsv`.

use super::codes::Severity;
use serde::Serialize;

const RULES: &str = include_str!("nvlink5.tsv");

/// What the line of an Xid 144 to 150 says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Nvlink5 {
    /// The unit as the line names it.
    pub unit: String,
    /// The link's number. Some drivers write -1 for an error that belongs to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<u32>,
    /// Whether the line says Fatal.
    pub is_fatal: bool,
    /// How bad it is: the line's word, made milder where the vendor asks for nothing.
    pub severity: Severity,
    /// The number that tells unit and reason, if the line has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intrinfo: Option<u32>,
    /// The status, if the line has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// Why a link went down: bits 25 to 20 of `intrinfo`; 0 says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<u32>,
    /// Whether the units are numbered as drivers before 575 do. Absent where no rule fits or both would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_575: Option<bool>,
    /// What the vendor's table asks for, if it has a rule for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
}

/// What the vendor's table asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// What to do at once.
    pub action: Action,
    /// What to look into.
    pub look: Look,
    /// Where the fault is: hardware, software, firmware, either (of the first two), or unknown.
    pub origin: &'static str,
    /// Whether it is the link that is lost, not the GPU.
    pub only_link: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident: $word:literal => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl $name {
            /// It as a sentence.
            pub fn text(self) -> &'static str {
                match self { $($name::$member => $text,)* }
            }

            fn of(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$member),)* _ => None }
            }
        }
    };
}

words! {
    /// What to do at once.
    Action {
        /// Nothing.
        None: "none" => "Nothing has to be done at once.",
        /// What Xid 154 names.
        Xid154: "xid154" => "Do what the Xid 154 beside it names; nothing, if there is none.",
        /// A reset of the GPU.
        Reset: "reset" => "Drain the node and reset the GPU.",
    }
}

words! {
    /// What to look into.
    Look {
        /// Nothing.
        None: "none" => "Nothing has to be looked into.",
        /// Whether it stands alone.
        Alone: "alone" => "It mostly follows another error, on this GPU or at the link's other end; report it if it stands alone.",
        /// How often it comes.
        Daily: "daily" => "Report it if it comes more than once a day.",
        /// Software or people.
        Software: "software" => "Find out who or what took the link down: software, or somebody at work on the fabric.",
        /// Software or the signal.
        SoftwareAndSignal: "software_and_signal" => "Find out whether software took the link down; if not, look at the link's signal.",
        /// The host.
        Host: "host" => "Look at the host: it stopped serving the GPU.",
        /// The link's other end.
        Peer: "peer" => "Look at the link's other end: the GPU or switch there began it.",
        /// The signal.
        Signal: "signal" => "Look at the link's signal: bit errors, the connector, the board.",
        /// The signal and the cables.
        SignalAndCables: "signal_and_cables" => "Look at the link's signal and its cables: bit errors, seat, dirt, bends.",
        /// The procedure for failed links.
        Nvlink: "nvlink" => "Treat it as a failed link: look at its state and errors, at the other end, and at what lies between.",
        /// The vendor.
        Support: "support" => "Ask the vendor if it comes back; keep nvidia-bug-report.sh's output.",
    }
}

/// Takes an NVLink error apart: `code` is 144 to 150, `text` the line, or what of it stands behind the code. `None`
/// for another code, or where the line names no unit.
///
/// ```
/// let line = "149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000000)";
/// let found = punchlist::knowledge::nvlink5(149, line).unwrap();
/// assert_eq!((found.unit.as_str(), found.link, found.reason), ("NETIR_LINK_EVT", Some(8), Some(4)));
/// ```
pub fn nvlink5(code: u32, text: &str) -> Option<Nvlink5> {
    if !(144..=150).contains(&code) {
        return None;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| fatal(word).is_some())?;
    let is_fatal = fatal(words[at])?;
    let unit = words[..at].last()?.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_').to_string();
    if !unit.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let rest = &words[at + 1..];
    let link = rest.iter().position(|word| word.eq_ignore_ascii_case("link"));
    let link =
        link.and_then(|at| rest.get(at + 1)?.trim_matches(|c: char| !c.is_ascii_digit() && c != '-').parse().ok());
    let word_of = |word: &&str| word.trim_matches(['(', ')', ',', '.']).to_string();
    let mut numbers = rest.iter().map(word_of).filter(|word| word.starts_with("0x")).map(|word| number(&word));
    let (intrinfo, status) = (numbers.next().flatten(), numbers.next().flatten());
    let found = intrinfo.zip(status).and_then(|(intrinfo, status)| rule(code, &unit, intrinfo, status));
    let severity = match (is_fatal, found.map(|(rule, _)| (rule.action, rule.look))) {
        (true, _) => Severity::Critical,
        (false, Some((Action::None, Look::None))) => Severity::Info,
        (false, _) => Severity::Warning,
    };
    Some(Nvlink5 {
        unit,
        link,
        is_fatal,
        severity,
        intrinfo,
        status,
        reason: intrinfo.map(reason),
        before_575: found.and_then(|(_, before)| before),
        rule: found.map(|(rule, _)| rule),
    })
}

fn fatal(word: &str) -> Option<bool> {
    match word.trim_end_matches([',', ':']).to_ascii_lowercase().as_str() {
        "fatal" => Some(true),
        "nonfatal" | "non-fatal" => Some(false),
        _ => None,
    }
}

fn number(word: &str) -> Option<u32> {
    u32::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

fn reason(intrinfo: u32) -> u32 {
    intrinfo >> 20 & 0x3f
}

/// One row of the table.
struct Row {
    code: u32,
    units: [&'static str; 2],
    reason: u32,
    /// Value and the bits that count, before driver 575 and since.
    patterns: [(u32, u32); 2],
    status: u32,
    rule: Rule,
}

fn rows() -> impl Iterator<Item = Row> {
    RULES.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).filter_map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let pattern = |text: &str| {
            let (value, mask) = text.split_once('/')?;
            Some((u32::from_str_radix(value, 16).ok()?, u32::from_str_radix(mask, 16).ok()?))
        };
        Some(Row {
            code: next()?.parse().ok()?,
            units: [next()?, next()?],
            reason: next()?.parse().ok()?,
            patterns: [pattern(next()?)?, pattern(next()?)?],
            status: number(next()?)?,
            rule: Rule {
                action: Action::of(next()?)?,
                look: Look::of(next()?)?,
                only_link: next()? == "link",
                origin: next()?,
            },
        })
    })
}

/// The table's rule, and whether its units are numbered as before driver 575.
fn rule(code: u32, unit: &str, intrinfo: u32, status: u32) -> Option<(Rule, Option<bool>)> {
    let fitting: Vec<(Row, [bool; 2])> = rows()
        .filter(|row| row.code == code && row.reason == reason(intrinfo))
        .map(|row| {
            let fits = row.patterns.map(|(value, mask)| intrinfo & mask == value);
            (row, fits)
        })
        .filter(|(_, fits)| fits.contains(&true))
        .collect();
    // Where the line names a unit that some rows have, the others are about something else.
    let named = fitting.iter().any(|(row, _)| row.units.contains(&unit));
    let of_unit = || fitting.iter().filter(|(row, _)| !named || row.units.contains(&unit));
    // A status can be a number or a set of bits; of several bits the worst counts.
    let exact = of_unit().find(|(row, _)| row.status == status);
    let (row, fits) = exact.or_else(|| {
        let bits = of_unit().filter(|(row, _)| row.status.is_power_of_two() && row.status & status != 0);
        bits.max_by_key(|(row, _)| (row.rule.action, row.rule.look))
    })?;
    Some((row.rule, (fits[0] != fits[1]).then_some(fits[0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Nvlink5> {
        let code = line.split(',').next().unwrap().parse().unwrap();
        nvlink5(code, line)
    }

    fn row_count() -> usize {
        RULES.lines().filter(|line| !line.starts_with(['#', 'x'])).count()
    }

    #[test]
    fn every_row_is_read_and_found_by_its_own_numbers() {
        assert_eq!((rows().count(), row_count()), (94, 94));
        for row in rows() {
            for (which, (value, _)) in row.patterns.into_iter().enumerate() {
                let intrinfo = row.reason << 20 | value;
                let unit = row.units[which];
                let line = format!("{unit} Fatal XC0 i0 Link 3 (0x{intrinfo:08x} 0x{:08x} 0x00000000)", row.status);
                let found = nvlink5(row.code, &line).unwrap();
                assert_eq!(found.rule, Some(row.rule), "{} {line}", row.code);
                let both_fit = row.patterns[0].0 == row.patterns[1].0;
                assert_eq!(found.before_575, (!both_fit).then_some(which == 0), "{} {line}", row.code);
            }
        }
    }

    #[test]
    fn lines_are_taken_apart_with_and_without_their_numbers() {
        let down = read("149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x0 0x0 0x0 0x0)").unwrap();
        assert_eq!((down.link, down.is_fatal, down.severity), (Some(8), true, Severity::Critical));
        assert_eq!((down.reason, down.before_575), (Some(4), Some(true)));
        let rule = down.rule.unwrap();
        assert_eq!(
            (rule.action, rule.look, rule.origin, rule.only_link),
            (Action::Reset, Look::Signal, "hardware", true)
        );

        let short = read("145, RLW_REMAP Nonfatal XC0 i0 Link 02").unwrap();
        assert_eq!((short.unit.as_str(), short.link, short.rule), ("RLW_REMAP", Some(2), None));
        assert_eq!(short.severity, Severity::Warning);

        let named =
            read("144, pid=7, name=made up, SAW_MVB Nonfatal XC1 i0 Link -1 (0x00000001 0x00000004 0x0)").unwrap();
        assert_eq!((named.unit.as_str(), named.link, named.before_575), ("SAW_MVB", None, Some(false)));
        assert_eq!(named.severity, Severity::Info);
    }

    #[test]
    fn of_several_bits_the_worst_counts_and_unknown_numbers_have_no_rule() {
        let found = read("144, SAW_MVB Fatal XC0 i0 Link 0 (0x00000001 0x00000014 0x0)").unwrap();
        assert_eq!(found.rule.unwrap().action, Action::Reset);
        let unknown = read("144, SAW_MVB Nonfatal XC0 i0 Link 0 (0x00000001 0x40000000 0x0)").unwrap();
        assert_eq!((unknown.rule, unknown.severity), (None, Severity::Warning));
        let reason = read("149, NETIR_LINK_EVT Fatal XC0 i0 Link 0 (0x03f005c6 0x00000000 0x0)").unwrap();
        assert_eq!((reason.rule, reason.reason), (None, Some(63)));
    }

    #[test]
    fn what_is_no_such_line_is_nothing() {
        for line in ["79, GPU has fallen off the bus.", "144, ", "144, Fatal", "145, (0x1 0x2)", "149, -- Nonfatal"] {
            assert_eq!(read(line), None, "{line}");
        }
        // Numbers too large to be any are not taken for others.
        let odd = read("150, MSE_WATCHDOG Fatal XC0 i0 Link 99999999999 (0xffffffffffff 0x0)").unwrap();
        assert_eq!((odd.link, odd.intrinfo, odd.rule), (None, None, None));
    }
}
