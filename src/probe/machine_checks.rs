//! `machine_checks`: how the processors report errors of the hardware, and how often they did.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::Read;

pub(super) const PROBE: Probe = Probe {
    name: "machine_checks",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<MachineChecks>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

const FIRST: &str = "/sys/devices/system/machinecheck/machinecheck0";
const INTERRUPTS: &str = "/proc/interrupts";
/// What is read of it at a time.
const CHUNK: usize = 256 << 10;
/// 4,096 CPUs of eleven characters fit; the rest of a longer line is left out.
const LONGEST_LINE: usize = 64 << 10;

/// How the processors report errors of the hardware, and how often they did since boot. Absent (not present) on
/// processors and in virtual machines without the machine check architecture of x86
/// (/sys/devices/system/machinecheck).
#[derive(Debug, Serialize, JsonSchema)]
struct MachineChecks {
    /// Machine check exceptions: errors that the processor could not go on from as if nothing had happened. Each counts
    /// once for every CPU that it stopped (/proc/interrupts, line MCE).
    exceptions: Fact<u64>,
    /// Interrupts for errors that were corrected (line THR).
    corrected_interrupts: Fact<u64>,
    /// Interrupts for errors that were found and not consumed yet (AMD; line DFR).
    deferred_interrupts: Fact<u64>,
    /// Interrupts for heat (line TRM). They come when a limit is crossed, in either direction.
    thermal_interrupts: Fact<u64>,
    /// How often the kernel looks for errors that raise no interrupt, in seconds; 0 for never (check_interval).
    check_interval_seconds: Fact<u64>,
    /// Whether corrected errors are ignored (ignore_ce).
    corrected_ignored: Fact<bool>,
    /// Whether the interrupt for corrected errors is switched off (cmci_disabled).
    corrected_interrupt_off: Fact<bool>,
    /// Programs that keep the errors, of those installed: `rasdaemon`, `mcelog`.
    recorders: Vec<String>,
}

fn observe(source: &Source) -> Result<MachineChecks, Absent> {
    source.names(FIRST).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_present("the kernel watches no machine checks here"),
        _ => absent,
    })?;
    let counts = source.open(INTERRUPTS).and_then(interrupts);
    let count = |label: &str| -> Fact<u64> {
        Fact(counts.clone().and_then(|counts| {
            let found = counts.iter().find(|(name, _)| name == label);
            found.map(|(_, sum)| *sum).ok_or_else(|| Absent::not_supported(format!("{INTERRUPTS} has no {label}")))
        }))
    };
    let flag = |name: &str| Fact(source.number::<u8>(&format!("{FIRST}/{name}")).map(|flag| flag != 0));
    let installed =
        |name: &&str| ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|f| source.exists(&format!("{f}/{name}")));
    Ok(MachineChecks {
        exceptions: count("MCE"),
        corrected_interrupts: count("THR"),
        deferred_interrupts: count("DFR"),
        thermal_interrupts: count("TRM"),
        check_interval_seconds: Fact(source.line(&format!("{FIRST}/check_interval")).and_then(|text| {
            text.parse().map_err(|_| Absent::failed(format!("check_interval: expected a number, found \"{text}\"")))
        })),
        corrected_ignored: flag("ignore_ce"),
        corrected_interrupt_off: flag("cmci_disabled"),
        recorders: ["rasdaemon", "mcelog"].into_iter().filter(|name| installed(name)).map(str::to_string).collect(),
    })
}

/// The sums over all CPUs of the lines that are named by letters: ` MCE:   0   0   Machine check exceptions`. The file
/// has several megabytes on large machines, so it is never held as a whole.
fn interrupts(mut file: impl Read) -> Result<Vec<(String, u64)>, Absent> {
    let mut sums = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk).map_err(|error| super::source::absent_from_io(INTERRUPTS, &error))?;
        if read == 0 {
            sums.extend(named_line(&line));
            return Ok(sums);
        }
        for part in chunk[..read].split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                sums.extend(named_line(&line));
                line.clear();
            }
        }
    }
}

fn named_line(line: &[u8]) -> Option<(String, u64)> {
    let line = std::str::from_utf8(line.trim_ascii()).ok()?;
    let (name, rest) = line.split_once(':')?;
    if name.len() != 3 || !name.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let counts = rest.split_ascii_whitespace().map_while(|word| word.parse::<u64>().ok());
    Some((name.to_string(), counts.fold(0, u64::saturating_add)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    const TABLE: &str = "            CPU0       CPU1\n   0:         10          0  IR-IO-APIC    2-edge      timer\n \
        NMI:          1          2   Non-maskable interrupts\n THR:          3          4   Threshold APIC interrupts\n \
        MCE:          1          1   Machine check exceptions\n MCP:        117        117   Machine check polls\n ERR:          0\n";

    #[test]
    fn the_counts_of_all_processors_are_summed() {
        let (_dir, source) = tree_of(
            &[
                ("proc/interrupts", TABLE),
                ("sys/devices/system/machinecheck/machinecheck0/check_interval", "300\n"),
                ("sys/devices/system/machinecheck/machinecheck0/ignore_ce", "0\n"),
                ("usr/sbin/rasdaemon", ""),
            ],
            Recorded::default(),
        );
        let checks = observe(&source).unwrap();
        assert_eq!((checks.exceptions, checks.corrected_interrupts), (Fact(Ok(2)), Fact(Ok(7))));
        assert_eq!(checks.deferred_interrupts.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!((checks.check_interval_seconds, checks.corrected_ignored), (Fact(Ok(300)), Fact(Ok(false))));
        assert_eq!(checks.recorders, ["rasdaemon"]);
    }

    #[test]
    fn garbage_and_endless_lines_cost_nothing() {
        assert_eq!(interrupts(&b"\xff\xfe:1\nMCE\nMCE: x\n"[..]).unwrap(), [("MCE".to_string(), 0)]);
        let mut long = vec![b'9'; 3 << 20];
        long.extend_from_slice(b"\nMCE: 1\n");
        assert_eq!(interrupts(&long[..]).unwrap(), [("MCE".to_string(), 1)]);
        assert_eq!(interrupts(&b""[..]).unwrap(), []);
    }

    #[test]
    fn a_machine_without_machine_checks_has_none() {
        let (_dir, source) = tree_of(&[("proc/interrupts", TABLE)], Recorded::default());
        assert_eq!(observe(&source).unwrap_err().reason, Reason::NotPresent);
    }
}
