//! Xid and SXid lines of NVIDIA's drivers taken apart.

use super::patterns::{EventClass, Reading};
use super::{Class, Severity, nvlink5, sxid, xid};
use regex::Regex;
use std::sync::LazyLock;

/// What an Xid or SXid line says, in whatever form: drivers of all ages write `(PCI:0000:9c:00): 79, …`,
/// `(0000:9c:00): 79, …` and `(0001:00): 12, …`, the oldest only `Xid: 13, …`; those of a part of a divided GPU (MIG) name it
/// behind the address. People copy lines without parentheses, and shorten them.
#[derive(Debug, Clone, PartialEq)]
pub struct XidLine {
    /// Whether it is of an NVSwitch.
    pub is_switch: bool,
    /// The code: 79.
    pub code: u32,
    /// PCI address of the device, unless it is garbled: `0000:9c:00.0`.
    pub pci: Option<String>,
    /// Process id that the driver blames.
    pub pid: Option<u64>,
    /// Name of that process.
    pub process: Option<String>,
    /// Whether an SXid line calls it fatal.
    pub fatal: Option<bool>,
    /// The rest of the line.
    pub text: String,
}

static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        \b(?P<switch>S?)X[iI][dD] (?:\ errors?)? \ ? \( (?P<device>[^)]{0,60}) \) [:,]? \ * (?P<code>\d{1,5})\b (?P<rest>.*)
        | \bX[iI][dD] \ (?P<device2>PCI:[0-9a-fA-F]+(?::[0-9a-fA-F]+){1,2}(?:\.[0-7])?) [:,]? \ * (?P<code2>\d{1,5})\b (?P<rest2>.*)
        | \bX[iI][dD] \ (?P<code3>\d{1,5}) \ \(? (?P<device3>PCI:[0-9a-fA-F]+(?::[0-9a-fA-F]+){1,2}(?:\.[0-7])?) \)? (?P<rest3>.*)
        | \bNVRM:?\ X[iI][dD] :?\ (?P<code4>\d{1,5})\b [\ ,:]* \(?(?P<device4>PCI:[0-9a-fA-F]+(?::[0-9a-fA-F]+){1,2}(?:\.[0-7])?)?\)? (?P<rest4>.*)",
    )
    .ok()
});

/// Takes an Xid or SXid line apart; nothing where it is none.
pub fn xid_line(message: &str) -> Option<XidLine> {
    let found = LINE.as_ref()?.captures(message)?;
    let group = |names: [&str; 4]| names.into_iter().find_map(|name| found.name(name)).map(|found| found.as_str());
    let code = group(["code", "code2", "code3", "code4"])?.parse().ok()?;
    let is_switch = found.name("switch").is_some_and(|letter| letter.as_str() == "S");
    let pci = group(["device", "device2", "device3", "device4"]).and_then(address);
    let rest =
        group(["rest", "rest2", "rest3", "rest4"]).unwrap_or_default().trim_start_matches([':', ',', ' ']).trim_end();
    if is_switch {
        let (word, after) = rest.split_once(',').unwrap_or((rest, ""));
        let fatal = match word.trim() {
            "Fatal" => Some(true),
            "Non-fatal" | "Nonfatal" | "Non-Fatal" => Some(false),
            _ => None,
        };
        let text = if fatal.is_some() { after.trim() } else { rest };
        return Some(XidLine { is_switch, code, pci, pid: None, process: None, fatal, text: text.to_string() });
    }
    let (pid, rest) = named(rest, "pid=");
    let (process, text) = named(rest, "name=");
    Some(XidLine {
        is_switch,
        code,
        pci,
        pid: pid.and_then(|pid| pid.parse().ok()),
        process: process.map(str::to_string),
        fatal: None,
        text: text.trim().to_string(),
    })
}

/// The beginning of an Xid line that ends before its code does, where a message ends with one.
pub(super) fn cut_xid(message: &[u8]) -> Option<&str> {
    static CUT: LazyLock<Option<regex::bytes::Regex>> = LazyLock::new(|| {
        let pattern = r"(?:^|NVRM: |nvidia-nvswitch\d+: )(S?Xid \((?:P|PC|PCI|(?:PCI:)?[0-9a-fA-F:.]*\)?[:,]?))$";
        regex::bytes::RegexBuilder::new(pattern).unicode(false).build().ok()
    });
    let message = message.trim_ascii();
    // No such beginning is longer.
    memchr::memmem::find(&message[message.len().saturating_sub(64)..], b"Xid (")?;
    let found = CUT.as_ref()?.captures(message)?;
    std::str::from_utf8(found.get(1)?.as_bytes()).ok()
}

/// What `key` names at the beginning of `text`, unless it is unknown, and what follows.
fn named<'t>(text: &'t str, key: &str) -> (Option<&'t str>, &'t str) {
    let Some(rest) = text.strip_prefix(key) else { return (None, text) };
    // Copied by hand, a space may do for the comma.
    let end = rest.find([',', if key == "pid=" { ' ' } else { ',' }]).unwrap_or(rest.len());
    let (value, rest) = (&rest[..end], rest[end..].trim_start_matches([',', ' ']));
    let value = value.trim_matches('\'');
    (Some(value).filter(|value| !value.is_empty() && *value != "<unknown>"), rest)
}

/// A PCI address as /sys writes it, from what drivers write: `(PCI:0000:9c:00)`, `00000000:9C:00.0`, `9c:00.0`, and
/// `0001:00`, which old drivers wrote for bus and device. What follows a space is no part of it.
pub fn address(text: &str) -> Option<String> {
    let text = text.trim_matches(['(', ')']);
    let text = text.split(' ').next().unwrap_or(text);
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

/// The place in the GPU or switch that a line names, and the severity where its own words outrank the code's.
struct Detail {
    unit: Option<String>,
    severity: Option<Severity>,
    action: Option<String>,
    title: Option<String>,
    caused_by: Option<String>,
}

macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($pattern).ok());
    };
}
pattern!(SM, r"\(?GPC ?(\d+)(?:, TPC (\d+))?(?:, SM (\d+))?");
pattern!(
    MMU,
    r"MMU Fault: ENGINE (\S+)(?: HUBCLIENT_\S+| (?:GPC(\d+) )?(GPCCLIENT_\w+))?.*?faulted @ (0x[0-9a-f_]+).*?FAULT_(\w+)(?: ACCESS_TYPE_(\w+))?"
);
pattern!(LINK, r"(?i)\blink (?:\(?0x)?(\d+)");
pattern!(DRAM, r"(?:physAddr (0x[0-9a-f]+) )?partition (\d+), subpartition (\d+)");
pattern!(ROW, r"(0x[0-9a-f]{6,})");
pattern!(GSP, r"waiting for RPC (?:response )?from (?:GPU)?\w* ?GSP\w*(?:.*?function (?:\d+)(?: \((\w+)\))?)?");
pattern!(ACTIVATE, r"Perform (?:an? )?([\w ]+?) to activate");
pattern!(PREVIOUS, r"caused by previous Xid (\d+)");
pattern!(ACTION, r"changed from (\S+)(?: \(([^)]*)\))? to (\S+)(?: \(([^)]*)\))?");

/// Reads what a line with that code says behind it.
fn detail(line: &XidLine) -> Detail {
    let text = line.text.as_str();
    let find = |pattern: &'static LazyLock<Option<Regex>>| pattern.as_ref().and_then(|pattern| pattern.captures(text));
    let mut detail = Detail { unit: None, severity: None, action: None, title: None, caused_by: None };
    if line.is_switch {
        detail.unit = find(&LINK).map(|found| format!("link {}", number(&found[1])));
        detail.severity = line.fatal.map(|fatal| if fatal { Severity::Critical } else { Severity::Warning });
        return detail;
    }
    if let Some(found) = find(&PREVIOUS) {
        detail.caused_by = Some(format!("Xid {}", &found[1]));
    }
    match line.code {
        13 | 31 => {
            if let Some(found) = find(&SM) {
                let part = |index: usize, name: &str| found.get(index).map(|one| format!(" {name} {}", one.as_str()));
                let parts = [part(1, "GPC"), part(2, "TPC"), part(3, "SM")];
                detail.unit = Some(parts.into_iter().flatten().collect::<String>().trim().to_string());
            }
            if let Some(found) = find(&MMU) {
                let gpc = found.get(2).map(|gpc| format!(" GPC {}", gpc.as_str())).unwrap_or_default();
                let client = found.get(3).map(|client| format!(" {}", client.as_str())).unwrap_or_default();
                detail.unit = Some(format!("{}{gpc}{client}", &found[1]));
                let access = found.get(6).map(|access| format!(" ({})", access.as_str())).unwrap_or_default();
                detail.title = Some(format!("at {}: {}{access}", &found[4], &found[5]));
            }
        }
        48 | 94 | 95 => {
            if let Some(found) = find(&DRAM) {
                detail.unit = Some(format!("partition {}, subpartition {}", &found[2], &found[3]));
            }
        }
        63 | 64 => {
            let what = match (text.contains("emap"), text.to_ascii_lowercase().contains("retire")) {
                (true, _) => Some("row remapper"),
                (_, true) => Some("page retirement, as before Ampere"),
                _ => None,
            };
            detail.title = what.map(str::to_string);
            detail.unit = find(&ROW).map(|found| found[1].to_string());
        }
        74 => {
            detail.unit = find(&LINK).map(|found| format!("link {}", number(&found[1])));
            if let Some(fault) = LinkFault::read(text) {
                detail.title = Some(fault.words().to_string());
                detail.action = Some(fault.action().to_string());
                detail.severity = (fault == LinkFault::Corrected).then_some(Severity::Warning);
            }
        }
        119 | 120 => {
            if let Some(name) = find(&GSP).and_then(|found| found.get(1).map(|name| name.as_str().to_string())) {
                detail.title = Some(format!("waiting for {name}"));
            }
        }
        144..=150 => {
            if let Some(found) = nvlink5(line.code, text) {
                let link = found.link.map(|link| format!(" link {link}")).unwrap_or_default();
                detail.unit = Some(format!("{}{link}", found.unit));
                detail.severity = Some(found.severity);
                detail.title = Some(if found.is_fatal { "fatal" } else { "not fatal" }.to_string());
                detail.action = found.rule.map(|rule| match (found.is_fatal, rule.action) {
                    // The line's own word counts more than the table's.
                    (true, nvlink5::Action::None) => format!(
                        "The driver calls it fatal, though the vendor's table asks for nothing at once: do what the Xid \
                         154 beside it names, and see whether the link still works. {}",
                        rule.look.text()
                    ),
                    _ => format!("{} {}", rule.action.text(), rule.look.text()),
                });
            }
        }
        // What is to be done before a repair takes effect differs by driver and GPU.
        160 | 177 if find(&ACTIVATE).is_some() || text.contains("reset gpu to activate") => {
            let step = find(&ACTIVATE).map(|found| found[1].to_ascii_lowercase()).unwrap_or_default();
            detail.action = Some(match step.as_str() {
                "node reboot" => "Let jobs finish, then restart the node: the spare takes over only then.".to_string(),
                "" | "gpu reset" => "Let jobs finish, then reset the GPU: the spare takes over only then.".to_string(),
                other => format!(
                    "Let jobs finish, then do what the driver asks for ({other}): the spare takes over only then."
                ),
            });
        }
        154 => {
            if let Some(found) = find(&ACTION) {
                let wanted = found.get(4).map_or(&found[3], |name| name.as_str()).to_string();
                let none = wanted == "None" || wanted == "0x0";
                detail.severity = Some(match wanted.as_str() {
                    _ if none => Severity::Info,
                    "GPU Reset Required" | "Node Reboot Required" | "OS Reboot" | "PF FLR" => Severity::Critical,
                    _ => Severity::Warning,
                });
                detail.action = Some(match wanted.as_str() {
                    _ if none => "Nothing: the GPU needs no action any more.".to_string(),
                    "GPU Reset Required" => "Drain the node and reset the GPU.".to_string(),
                    "Node Reboot Required" | "OS Reboot" => "Drain the node and restart it.".to_string(),
                    "PF FLR" => {
                        "Let the jobs on this GPU end, then reset it alone, through PCIe (a function-level reset)."
                            .to_string()
                    }
                    "Drain P2P" => "End the jobs that use this GPU together with others.".to_string(),
                    "Drain and Reset" => "Let jobs finish, then reset the GPU.".to_string(),
                    other => format!("The driver asks for: {other}."),
                });
                detail.title = Some(format!("now {wanted}"));
            }
        }
        _ => {}
    }
    detail
}

/// What the registers behind the link of an Xid 74 tell, the gravest first. There are seven, of which the first, third,
/// fourth and fifth say something (NVIDIA's Xid catalogue, how to work through an NVLink error).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LinkFault {
    Hardware,
    Parity,
    Signal,
    Unexpected,
    Secondary,
    Corrected,
}

impl LinkFault {
    /// Register, counted from 0, and the bits in it that mean this, counted from the lowest.
    const BITS: &[(usize, &[u32], LinkFault)] = &[
        (0, &[8, 9, 12, 16, 17, 24, 28], LinkFault::Hardware),
        (0, &[4, 5], LinkFault::Parity),
        (2, &[0, 1, 2, 6], LinkFault::Parity),
        (4, &[18, 19, 21, 22, 24, 25, 27, 28], LinkFault::Parity),
        (0, &[21, 22], LinkFault::Signal),
        (0, &[27, 29], LinkFault::Unexpected),
        (2, &[13, 16, 17, 18, 19], LinkFault::Unexpected),
        (0, &[1, 20], LinkFault::Secondary),
        (3, &[16, 17, 18], LinkFault::Secondary),
        (4, &[20, 23, 26, 29], LinkFault::Corrected),
    ];

    /// The gravest fault of the registers in parentheses; nothing where they are missing or say nothing.
    fn read(text: &str) -> Option<LinkFault> {
        let inside = text[text.find("link")?..].split_once('(')?.1.split_once(')')?.0;
        let register = |word: &str| u32::from_str_radix(word.trim().strip_prefix("0x")?, 16).ok();
        let registers: Vec<Option<u32>> = inside.split(',').map(register).collect();
        let means = |(register, bits, _): &&(usize, &[u32], LinkFault)| {
            registers
                .get(*register)
                .copied()
                .flatten()
                .is_some_and(|value| bits.iter().any(|bit| value >> bit & 1 == 1))
        };
        LinkFault::BITS.iter().filter(means).map(|(_, _, fault)| *fault).min()
    }

    fn words(self) -> &'static str {
        match self {
            LinkFault::Hardware => "its registers point at hardware",
            LinkFault::Parity => "data were damaged within the GPU",
            LinkFault::Signal => "the signal is marginal",
            LinkFault::Unexpected => "an error that should not occur",
            LinkFault::Secondary => "it mostly follows another error",
            LinkFault::Corrected => "many errors, all corrected",
        }
    }

    fn action(self) -> &'static str {
        match self {
            LinkFault::Hardware => {
                "Drain the node. Look for Xid 79 and SXids at the same moment: they name the end that failed. Check how \
                 the GPU and its board are seated, reset all GPUs of the fabric together, and run the vendor's \
                 diagnostics if it comes back."
            }
            LinkFault::Parity => {
                "Drain the node and reset all GPUs of the fabric together. More than two on the same link are a fault of \
                 the hardware: ask the vendor."
            }
            LinkFault::Signal => {
                "Look for other errors at the same moment first. If there are none, drain the node, check how the GPU and \
                 its board are seated, and run the vendor's diagnostics."
            }
            LinkFault::Unexpected => {
                "Drain the node and reset all GPUs of the fabric together. If it comes back, run the vendor's diagnostics \
                 and ask the vendor."
            }
            LinkFault::Secondary => {
                "Look for the other error, on this GPU or at the link's other end, and treat that one; all GPUs of the \
                 fabric may need a reset together. If it stands alone, ask the vendor."
            }
            LinkFault::Corrected => {
                "Nothing was lost. Watch how often it comes; run the vendor's diagnostics if it often does."
            }
        }
    }
}

fn number(text: &str) -> &str {
    let trimmed = text.trim_start_matches('0');
    if trimmed.is_empty() { "0" } else { trimmed }
}

/// What a message with an Xid or SXid says.
pub(super) fn read(message: &str) -> Option<Reading> {
    let line = xid_line(message)?;
    let name = if line.is_switch { "SXid" } else { "Xid" };
    let code = if line.is_switch { sxid(line.code) } else { xid(line.code) };
    let detail = detail(&line);
    // The lines with severity and data that follow an SXid.
    let is_part = line.is_switch && (line.text.starts_with("Severity") || line.text.starts_with("Data"));
    let mut title = match &code {
        Some(code) => format!("{name} {}: {}", line.code, code.name),
        None => format!("{name} {}: {}", line.code, line.text.chars().take(120).collect::<String>()),
    };
    if let Some(more) = &detail.title {
        title = format!("{title}; {more}");
    }
    let action = detail.action.or_else(|| code.as_ref().map(|code| code.next.join(" "))).unwrap_or_else(|| {
        "The code is not in the catalogue: save the output of nvidia-bug-report.sh and ask the vendor.".to_string()
    });
    let severity = detail.severity.or(code.as_ref().map(|code| code.severity)).unwrap_or(Severity::Warning);
    let group = if line.is_switch { Some("sxid") } else { None };
    Some(Reading {
        class: if line.is_switch { EventClass::Sxid } else { EventClass::Xid },
        code: Some(line.code),
        severity,
        title,
        action,
        pci: line.pci,
        device: None,
        unit: detail.unit,
        function: None,
        module: None,
        process: line.process,
        pid: line.pid,
        caused_by: detail.caused_by,
        opens: group.filter(|_| !is_part),
        within: group.filter(|_| is_part).into_iter().collect(),
        tells: false,
        joins: false,
        text: line.text,
        row: None,
    })
}

/// Whether the line of an Xid is followed by what the GPU's own processor (GSP) did last.
pub(super) fn is_of_gsp(class: EventClass, code: Option<u32>) -> bool {
    class == EventClass::Xid && matches!(code, Some(119 | 120))
}

/// Where the fault is that an Xid or SXid reports.
pub(super) fn fault(class: EventClass, code: u32) -> Option<Class> {
    match class {
        EventClass::Xid => xid(code).map(|code| code.class),
        EventClass::Sxid => sxid(code).map(|code| code.class),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> (u32, String, Option<String>, Option<String>) {
        let reading = read(line).unwrap_or_else(|| panic!("{line}"));
        (reading.code.unwrap(), reading.pci.unwrap_or_default(), reading.unit, reading.process)
    }

    #[test]
    fn the_code_and_the_device_are_read_in_every_wording() {
        for (line, code, pci) in [
            ("NVRM: Xid (PCI:0000:9c:00): 79, pid=1, name=x, GPU has fallen off the bus.", 79, "0000:9c:00.0"),
            ("NVRM: Xid (0000:9c:00): 6, PE0001", 6, "0000:9c:00.0"),
            ("NVRM: Xid (0001:00): 12, COCOD 00000003", 12, "0000:01:00.0"),
            ("NVRM: Xid (PCI:00000009:9C:00.0): 79", 79, "0009:9c:00.0"),
            ("NVRM: Xid PCI:0000:9c:00: 43, pid=12, name=a, Ch 00000018", 43, "0000:9c:00.0"),
            ("Xid 31 PCI:0000:9c:00 pid=608430 ... UNRECOGNIZED_CLIENT ...", 31, "0000:9c:00.0"),
            ("nvidia-nvswitch0: SXid (PCI:0000:6b:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", 20034, "0000:6b:00.0"),
            ("NVRM: Xid (PCI:garbled): 79, x", 79, ""),
            ("NVRM: Xid 31 PCI:0000:9c:00 pid=608430", 31, "0000:9c:00.0"),
            ("NVRM: Xid 79", 79, ""),
            ("NVRM: Xid: 12, 0000 0a00b700 00000041", 12, ""),
            ("NVRM: Xid (PCI:0000:9c:00 GPU-I:03): 31, pid=9, name=a", 31, "0000:9c:00.0"),
            ("NVRM: Xid (PCI:00000000:9c:00.0 GPU-I:03 GPU-CI:01): 45, pid=9, name=a", 45, "0000:9c:00.0"),
        ] {
            let found = of(line);
            assert_eq!((found.0, found.1.as_str()), (code, pci), "{line}");
        }
        for nothing in [
            "NVRM: Xid",
            "NVRM: Xid x",
            "Xid (",
            "Xid 79",
            "eth0: RTL8125B, XID 641, IRQ 158",
            "the Xid (of a GPU) is 79 x",
            "SXid (PCI:0000:6b:00.0): x",
        ] {
            assert!(read(nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn the_unit_is_read_from_the_details() {
        for (rest, unit) in [
            (
                "13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception on (GPC 9, TPC 5, SM 0): Out Of Range Address",
                "GPC 9 TPC 5 SM 0",
            ),
            (
                "31, pid=7, name=a, Ch 0000000b, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC6 GPCCLIENT_T1_13 faulted @ 0x6f6f_320c2000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
                "GRAPHICS GPC 6 GPCCLIENT_T1_13",
            ),
            (
                "31, pid=7, name=a, Ch 00000010, intr 00000000. MMU Fault: ENGINE CE2 HUBCLIENT_CE0 faulted @ 0x7f29_5b8c9000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
                "CE2",
            ),
            (
                "48, pid=7, name=a, An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at physAddr 0x7f8b0 partition 5, subpartition 1",
                "partition 5, subpartition 1",
            ),
            (
                "63, pid=7, name=a, Row Remapper: New row (0x00000001ab820d40) marked for remapping, reset gpu to activate.",
                "0x00000001ab820d40",
            ),
            (
                "74, pid=7, name=a, NVLink: fatal error detected on link 6(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)",
                "link 6",
            ),
            (
                "149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x0 0x0 0x0 0x0)",
                "NETIR_LINK_EVT link 8",
            ),
        ] {
            assert_eq!(of(&format!("NVRM: Xid (PCI:0000:9c:00): {rest}")).2.as_deref(), Some(unit), "{rest}");
        }
    }

    #[test]
    fn the_registers_of_a_link_tell_what_is_wrong_with_it() {
        let read = |registers: &str| LinkFault::read(&format!("NVLink: fatal error detected on link 6({registers})"));
        for (registers, fault) in [
            ("0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0", Some(LinkFault::Hardware)),
            ("0x20, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0", Some(LinkFault::Parity)),
            ("0x0, 0x0, 0x40, 0x0, 0x0, 0x0, 0x0", Some(LinkFault::Parity)),
            ("0x0, 0x0, 0x0, 0x0, 0x40000, 0x0, 0x0", Some(LinkFault::Parity)),
            ("0x200000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0", Some(LinkFault::Signal)),
            ("0x0, 0x0, 0x2000, 0x0, 0x0, 0x0, 0x0", Some(LinkFault::Unexpected)),
            ("0x0, 0x0, 0x0, 0x20000, 0x0, 0x0, 0x0", Some(LinkFault::Secondary)),
            ("0x0, 0x0, 0x0, 0x0, 0x100000, 0x0, 0x0", Some(LinkFault::Corrected)),
            // The gravest counts.
            ("0x10000, 0x0, 0x0, 0x20000, 0x100000, 0x0, 0x0", Some(LinkFault::Hardware)),
            // Bits to pass over, and registers that say nothing.
            ("0x40800001, 0xffffffff, 0x0, 0x0, 0x0, 0xffffffff, 0xffffffff", None),
            ("0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0", None),
            ("0x0, 0x0", None),
            ("garbled", None),
        ] {
            assert_eq!(read(registers), fault, "{registers}");
        }
        assert_eq!(LinkFault::read("NVLink: fatal error detected on link 6"), None);
        let of = |registers: &str| {
            super::read(&format!("NVRM: Xid (PCI:0000:9c:00): 74, NVLink: fatal error detected on link 6({registers})"))
        };
        let severity = |registers: &str| of(registers).unwrap().severity;
        assert_eq!(severity("0x0, 0x0, 0x0, 0x0, 0x100000, 0x0, 0x0"), Severity::Warning);
        assert_eq!(severity("0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0"), Severity::Critical);
    }

    #[test]
    fn the_words_of_the_line_outrank_the_code() {
        let severity = |rest: &str| read(&format!("NVRM: Xid (PCI:0000:9c:00): {rest}")).unwrap().severity;
        assert_eq!(severity("145, RLW_REMAP Fatal XC0 i0 Link 02"), Severity::Critical);
        assert_eq!(severity("145, RLW_REMAP Nonfatal XC0 i0 Link 02"), Severity::Warning);
        let action = |rest: &str| read(&format!("NVRM: Xid (PCI:0000:9c:00): {rest}")).unwrap().action;
        let reset = "154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)";
        let none = "154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)";
        assert_eq!(action(reset), "Drain the node and reset the GPU.");
        assert_eq!((severity(none), severity(reset)), (Severity::Info, Severity::Critical));
        let drain = "154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)";
        assert_eq!(severity(drain), Severity::Warning);
        for (step, wanted) in [("0x2 (OS Reboot)", "restart"), ("0x1 (PF FLR)", "reset it alone")] {
            let line = format!("154, GPU recovery action changed from 0x0 (None) to {step}");
            assert_eq!(severity(&line), Severity::Critical, "{step}");
            assert!(action(&line).contains(wanted), "{step}");
        }
        let repair = |step: &str| {
            action(&format!(
                "160, Marking Channel 1 in FBPA 4 along with its pair for repair. Perform {step} to activate repair."
            ))
        };
        assert!(repair("node reboot").contains("restart the node"));
        assert!(repair("GPU reset").contains("reset the GPU"));
        // The vendor's table asks for nothing, the driver calls it fatal.
        let fatal = "144, SAW_MVB Fatal XC0 i0 Link 3 (0x00000001 0x00000004 0x0)";
        assert!(action(fatal).contains("fatal") && !action(fatal).contains("has to be done at once"));
        assert_eq!(severity(fatal), Severity::Critical);
        let cause = read("NVRM: Xid (PCI:0000:9c:00): 45, pid=7, name=a, Ch 00000001 caused by previous Xid 149");
        assert_eq!(cause.unwrap().caused_by.as_deref(), Some("Xid 149"));
    }
}
