//! `dmi`: what the firmware says of the board: processors, memory modules, slots.
//!
//! The tables are read as the firmware wrote them (SMBIOS, DMTF DSP0134), which is what dmidecode shows.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "dmi",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Dmi>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

const TABLES: &str = "/sys/firmware/dmi/tables/DMI";
const ENTRY_POINT: &str = "/sys/firmware/dmi/tables/smbios_entry_point";
/// The tables of the largest servers have some hundred kilobytes.
const MOST_BYTES: u64 = 4 << 20;

/// What the firmware says of the board (/sys/firmware/dmi/tables, the SMBIOS tables). Absent (denied) for others than
/// root, (not present) on machines without such tables. Vendors fill them with varying care: what they left out is
/// absent (not supported).
#[derive(Debug, Serialize, JsonSchema)]
struct Dmi {
    /// Version of the tables' format: `3.5`.
    smbios_version: Fact<String>,
    /// The board: maker, name and version.
    board: Fact<String>,
    /// Serial number of the board.
    board_serial: Fact<String>,
    /// Sockets for processors.
    processors: Vec<Processor>,
    /// How many memory modules the board has room for, in all memory arrays of the system memory. Absent (not supported)
    /// where the firmware does not say it.
    memory_slots: Fact<u64>,
    /// How the system memory corrects errors: `none`, `parity`, `single_bit`, `multi_bit`, `crc`, `unknown`. Absent where
    /// the firmware does not say it.
    memory_correction: Fact<String>,
    /// The memory that is plugged in, in bytes: the sizes of all modules. Absent where the size of one is not known, and
    /// (not supported) where no place is listed.
    memory_bytes: Fact<u64>,
    /// Places for memory modules, filled or empty.
    memory_modules: Vec<MemoryModule>,
    /// Slots for cards.
    slots: Vec<Slot>,
}

/// A socket for a processor (structure 4).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "socket", "x-key" = "place"))]
struct Processor {
    /// What the board calls it: `CPU0`.
    place: String,
    /// Whether a processor is in it.
    populated: bool,
    /// `enabled`, `disabled_by_user`, `disabled_by_firmware`, `idle`, `other` or `unknown`.
    status: String,
    /// What is in it.
    model: Fact<String>,
    /// Its cores.
    cores: Fact<u64>,
    /// Those of them that are in use.
    cores_enabled: Fact<u64>,
}

/// A place for a memory module (structure 17).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "memory_module", "x-key" = "place"))]
struct MemoryModule {
    /// What the board calls the place: `DIMM_A1`, `P1-DIMMC1`.
    place: String,
    /// What the board calls the bank: `NODE 0 CHANNEL 2`.
    bank: Fact<String>,
    /// Whether a module is in it. False also for one that the firmware has switched off and hides.
    populated: Fact<bool>,
    /// Its size in bytes. Absent (not present) in an empty place, (not supported) where the firmware does not know it.
    size_bytes: Fact<u64>,
    /// What it is: `DDR4`, `DDR5`, `LPDDR5`, `HBM3`; a number for later ones.
    kind: Fact<String>,
    /// The speed it can run at, in mega-transfers a second.
    speed_mts: Fact<u64>,
    /// The speed it was set to, in mega-transfers a second.
    configured_speed_mts: Fact<u64>,
    /// Who made it.
    maker: Fact<String>,
    /// Its part number.
    part_number: Fact<String>,
    /// Its serial number.
    serial: Fact<String>,
    /// Its ranks.
    ranks: Fact<u64>,
}

/// A slot for a card (structure 9).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "slot", "x-key" = "name"))]
struct Slot {
    /// What the board calls it: `PCIe Slot 4`.
    name: String,
    /// Whether a card is in it. Absent where the firmware does not say it.
    in_use: Fact<bool>,
    /// The PCI address of what is in it. Absent (not supported) where the firmware does not say it.
    pci: Fact<String>,
}

/// One structure: its number, its bytes from the head on, and its texts.
struct Structure<'t> {
    kind: u8,
    data: &'t [u8],
    texts: Vec<&'t [u8]>,
}

fn observe(source: &Source) -> Result<Dmi, Absent> {
    let (table, whole) = source.bytes(TABLES, MOST_BYTES).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_present("the firmware has no SMBIOS tables"),
        _ => absent,
    })?;
    if !whole {
        return Err(Absent::failed(format!("{TABLES}: longer than {} MiB", MOST_BYTES >> 20)));
    }
    let version = source.bytes(ENTRY_POINT, 64).and_then(|(bytes, _)| version(&bytes));
    read(&table, version.into())
}

/// The version in the entry point: `_SM3_` with 64 bits, `_SM_` with 32.
fn version(bytes: &[u8]) -> Result<String, Absent> {
    let numbers = match bytes {
        _ if bytes.starts_with(b"_SM3_") => bytes.get(7..9),
        _ if bytes.starts_with(b"_SM_") => bytes.get(6..8),
        _ => None,
    };
    numbers
        .map(|numbers| format!("{}.{}", numbers[0], numbers[1]))
        .ok_or_else(|| Absent::failed(format!("{ENTRY_POINT}: no entry point of SMBIOS")))
}

fn read(table: &[u8], smbios_version: Fact<String>) -> Result<Dmi, Absent> {
    let structures = structures(table)?;
    let all = |kind: u8| structures.iter().filter(move |structure| structure.kind == kind);
    // Those of the system memory, not of a card's or of the firmware's own.
    let arrays: Vec<&Structure> = all(16).filter(|array| array.byte(5) == Some(3)).collect();
    let unsaid = || Absent::not_supported("the firmware does not say it");
    let board = all(2).next();
    let board_text = |offset: usize| board.ok_or_else(unsaid).and_then(|board| board.text(offset));
    let board_name: Vec<String> = [4, 5, 6].into_iter().filter_map(|offset| board_text(offset).ok()).collect();
    let modules: Vec<MemoryModule> = all(17).map(memory_module).collect();
    Ok(Dmi {
        smbios_version,
        board: Fact(if board_name.is_empty() { Err(unsaid()) } else { Ok(board_name.join(" ")) }),
        board_serial: Fact(board_text(7)),
        processors: all(4).map(processor).collect(),
        memory_slots: Fact(
            arrays
                .iter()
                .map(|array| array.word(13).map(u64::from))
                .collect::<Option<Vec<u64>>>()
                .filter(|counts| !counts.is_empty())
                .map(|counts| counts.iter().sum())
                .ok_or_else(unsaid),
        ),
        memory_correction: Fact(arrays.first().and_then(|array| array.byte(6)).map(correction).ok_or_else(unsaid)),
        memory_bytes: Fact(memory_bytes(&modules)),
        memory_modules: modules,
        slots: all(9).map(slot).collect(),
    })
}

/// The structures of a table: each begins with its number, the length of its fixed part and a handle; its texts follow,
/// each ended by a zero, all of them by one more.
fn structures(table: &[u8]) -> Result<Vec<Structure<'_>>, Absent> {
    let mut structures = Vec::new();
    let mut rest = table;
    while let [kind, length, ..] = *rest {
        let fixed = usize::from(length);
        if fixed < 4 || fixed > rest.len() {
            let at = table.len() - rest.len();
            return Err(Absent::failed(format!("{TABLES}: structure {kind} at byte {at} is {fixed} bytes long")));
        }
        let (data, behind) = rest.split_at(fixed);
        // Without any text two zeros stand there.
        let end = behind.windows(2).position(|two| two == [0, 0]);
        let Some(end) = end else {
            let at = table.len() - rest.len();
            return Err(Absent::failed(format!("{TABLES}: the texts of structure {kind} at byte {at} do not end")));
        };
        let texts = behind[..end].split(|byte| *byte == 0).collect();
        structures.push(Structure { kind, data, texts });
        rest = &behind[end + 2..];
        // Structure 127 is the last; what follows is padding.
        if kind == 127 {
            break;
        }
    }
    if structures.is_empty() {
        return Err(Absent::failed(format!("{TABLES}: empty")));
    }
    Ok(structures)
}

impl Structure<'_> {
    fn byte(&self, offset: usize) -> Option<u8> {
        self.data.get(offset).copied()
    }

    fn word(&self, offset: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.data.get(offset..offset + 2)?.try_into().ok()?))
    }

    fn double_word(&self, offset: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.data.get(offset..offset + 4)?.try_into().ok()?))
    }

    /// The text whose number stands at `offset`; 0 is none, and vendors fill in words that mean none.
    fn text(&self, offset: usize) -> Result<String, Absent> {
        let number = self.byte(offset).filter(|number| *number > 0);
        let text = number.and_then(|number| self.texts.get(usize::from(number) - 1));
        let text = text.map(|text| String::from_utf8_lossy(text).trim().to_string());
        let is_filler = |text: &String| {
            let lower = text.to_ascii_lowercase();
            let words =
                ["not specified", "unknown", "none", "n/a", "no dimm", "to be filled by o.e.m.", "default string"];
            text.is_empty() || words.contains(&lower.as_str()) || lower.starts_with("undefined")
        };
        text.filter(|text| !is_filler(text)).ok_or_else(|| Absent::not_supported("the firmware does not say it"))
    }

    /// A number of which 0 means that nobody knows it.
    fn known(&self, number: Option<u64>) -> Fact<u64> {
        Fact(number.filter(|n| *n != 0).ok_or_else(|| Absent::not_supported("the firmware does not say it")))
    }
}

fn processor(structure: &Structure) -> Processor {
    let status = structure.byte(24).unwrap_or_default();
    // From 256 cores on, a word further behind has the number.
    let cores = |short: usize, long: usize| match structure.byte(short) {
        Some(0xff) => structure.word(long).map(u64::from),
        other => other.map(u64::from),
    };
    Processor {
        place: structure.text(4).unwrap_or_else(|_| "unnamed".to_string()),
        populated: status & 0x40 != 0,
        status: match status & 7 {
            1 => "enabled",
            2 => "disabled_by_user",
            3 => "disabled_by_firmware",
            4 => "idle",
            7 => "other",
            _ => "unknown",
        }
        .to_string(),
        model: Fact(structure.text(16)),
        cores: structure.known(cores(35, 42)),
        cores_enabled: structure.known(cores(36, 44)),
    }
}

fn correction(number: u8) -> String {
    match number {
        3 => "none",
        4 => "parity",
        5 => "single_bit",
        6 => "multi_bit",
        7 => "crc",
        _ => "unknown",
    }
    .to_string()
}

fn memory_module(structure: &Structure) -> MemoryModule {
    let unsaid = || Absent::not_supported("the firmware does not say it");
    let empty = || Absent::not_present("no module is there");
    let size = match structure.word(12) {
        Some(0) => Err(empty()),
        Some(0xffff) | None => Err(unsaid()),
        Some(0x7fff) => structure.double_word(28).map(|mib| u64::from(mib & 0x7fff_ffff) << 20).ok_or_else(unsaid),
        Some(size) if size & 0x8000 != 0 => Ok(u64::from(size & 0x7fff) << 10),
        Some(size) => Ok(u64::from(size) << 20),
    };
    let populated = match &size {
        Ok(_) => Ok(true),
        Err(absent) if absent.reason == Reason::NotPresent => Ok(false),
        Err(absent) => Err(absent.clone()),
    };
    let is_empty = populated == Ok(false);
    // Of an empty place nothing else is true, whatever the firmware fills in.
    let text = |offset: usize| if is_empty { Err(empty()) } else { structure.text(offset) };
    let speed = |short: usize, long: usize| -> Fact<u64> {
        let speed = match structure.word(short) {
            Some(0xffff) => structure.double_word(long).map(|speed| u64::from(speed & 0x7fff_ffff)),
            other => other.map(u64::from),
        };
        if is_empty { Fact(Err(empty())) } else { structure.known(speed) }
    };
    MemoryModule {
        place: structure.text(16).unwrap_or_else(|_| "unnamed".to_string()),
        bank: Fact(structure.text(17)),
        populated: Fact(populated),
        size_bytes: Fact(size),
        kind: Fact(if is_empty { Err(empty()) } else { structure.byte(18).map(memory_kind).ok_or_else(unsaid) }),
        speed_mts: speed(21, 84),
        configured_speed_mts: speed(32, 88),
        maker: Fact(text(23)),
        part_number: Fact(text(26)),
        serial: Fact(text(24)),
        ranks: match is_empty {
            true => Fact(Err(empty())),
            false => structure.known(structure.byte(27).map(|attributes| u64::from(attributes & 0x0f))),
        },
    }
}

fn memory_bytes(modules: &[MemoryModule]) -> Result<u64, Absent> {
    if modules.is_empty() {
        return Err(Absent::not_supported("the firmware lists no memory modules"));
    }
    modules.iter().try_fold(0_u64, |sum, module| match &module.size_bytes.0 {
        Ok(size) => Ok(sum.saturating_add(*size)),
        Err(absent) if absent.reason == Reason::NotPresent => Ok(sum),
        Err(absent) => Err(absent.clone()),
    })
}

/// Kinds of memory (DSP0134, "Memory Device — Type"); those that servers have.
fn memory_kind(number: u8) -> String {
    let name = match number {
        0x13 => "DDR2",
        0x18 => "DDR3",
        0x1a => "DDR4",
        0x1b => "LPDDR",
        0x1c => "LPDDR2",
        0x1d => "LPDDR3",
        0x1e => "LPDDR4",
        0x1f => "non_volatile",
        0x20 => "HBM",
        0x21 => "HBM2",
        0x22 => "DDR5",
        0x23 => "LPDDR5",
        0x24 => "HBM3",
        other => return other.to_string(),
    };
    name.to_string()
}

fn slot(structure: &Structure) -> Slot {
    let unsaid = || Absent::not_supported("the firmware does not say it");
    let pci = match (structure.word(13), structure.byte(15), structure.byte(16)) {
        (Some(domain), Some(bus), Some(place)) if (domain, bus, place) != (0xffff, 0xff, 0xff) => {
            Ok(format!("{domain:04x}:{bus:02x}:{:02x}.{}", place >> 3, place & 7))
        }
        _ => Err(unsaid()),
    };
    Slot {
        name: structure.text(4).unwrap_or_else(|_| "unnamed".to_string()),
        in_use: Fact(match structure.byte(7) {
            Some(3) => Ok(false),
            Some(4) => Ok(true),
            _ => Err(unsaid()),
        }),
        pci: Fact(pci),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, Source};
    use std::fs;

    /// A structure of `length` bytes with these bytes at their places, and its texts.
    fn structure(kind: u8, length: u8, bytes: &[(usize, &[u8])], texts: &[&str]) -> Vec<u8> {
        let mut data = vec![0; usize::from(length)];
        (data[0], data[1]) = (kind, length);
        for (at, value) in bytes {
            data[*at..*at + value.len()].copy_from_slice(value);
        }
        for text in texts {
            data.extend_from_slice(text.as_bytes());
            data.push(0);
        }
        data.extend_from_slice(if texts.is_empty() { &[0, 0] } else { &[0] });
        data
    }

    fn table() -> Vec<u8> {
        let size = |mib: u16| mib.to_le_bytes();
        let speed = |mts: u16| mts.to_le_bytes();
        let mut table = structure(2, 15, &[(4, &[1, 2, 0, 3])], &["Example", "Board 7", "B123"]);
        table.extend(structure(
            4,
            48,
            &[(4, &[1]), (16, &[2]), (24, &[0x41]), (35, &[0xff, 32]), (42, &[0, 1])],
            &["CPU0", "Made Up 9000"],
        ));
        table.extend(structure(4, 42, &[(4, &[1]), (24, &[0])], &["CPU1"]));
        table.extend(structure(16, 23, &[(5, &[3, 6]), (13, &[3, 0])], &[]));
        table.extend(structure(16, 23, &[(5, &[7, 3]), (13, &[9, 0])], &[]));
        let filled: &[(usize, &[u8])] = &[
            (12, &size(0x7fff)),
            (16, &[1, 2, 0x22]),
            (21, &speed(5600)),
            (23, &[3, 4, 0, 5, 2]),
            (28, &65536_u32.to_le_bytes()),
            (32, &speed(4800)),
        ];
        table.extend(structure(17, 92, filled, &["DIMM_A1", "NODE 0", "Maker", "S1", "P/N 1"]));
        table.extend(structure(17, 40, &[(12, &size(0)), (16, &[1, 0, 2]), (23, &[2])], &["DIMM_A2", "NO DIMM"]));
        table.extend(structure(17, 27, &[(12, &size(0xffff)), (16, &[1])], &["DIMM_B1"]));
        table.extend(structure(9, 17, &[(4, &[1]), (7, &[4]), (13, &[0, 0, 0x9c, 0x08])], &["Slot 4"]));
        table.extend(structure(127, 4, &[], &[]));
        table.extend([0xff; 7]);
        table
    }

    #[test]
    fn processors_modules_and_slots_are_read() {
        let dmi = read(&table(), Fact(version(b"_SM3_\x00\x18\x03\x05"))).unwrap();
        assert_eq!(dmi.smbios_version, Fact(Ok("3.5".into())));
        assert_eq!((dmi.board, dmi.board_serial), (Fact(Ok("Example Board 7".into())), Fact(Ok("B123".into()))));
        assert_eq!((dmi.memory_slots, dmi.memory_correction), (Fact(Ok(3)), Fact(Ok("multi_bit".into()))));
        assert_eq!(dmi.memory_bytes.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!(memory_bytes(&dmi.memory_modules[..2]), Ok(64 << 30));
        let [first, second] = &dmi.processors[..] else { panic!() };
        assert_eq!((first.populated, first.status.as_str()), (true, "enabled"));
        assert_eq!((&first.cores, &first.cores_enabled), (&Fact(Ok(256)), &Fact(Ok(32))));
        assert_eq!((second.populated, second.place.as_str()), (false, "CPU1"));
        let [a1, a2, b1] = &dmi.memory_modules[..] else { panic!() };
        assert_eq!((&a1.populated, &a1.size_bytes), (&Fact(Ok(true)), &Fact(Ok(64 << 30))));
        assert_eq!((&a1.kind, &a1.part_number), (&Fact(Ok("DDR5".into())), &Fact(Ok("P/N 1".into()))));
        assert_eq!((&a1.speed_mts, &a1.configured_speed_mts), (&Fact(Ok(5600)), &Fact(Ok(4800))));
        assert_eq!((&a1.ranks, a1.bank.value().unwrap().as_str()), (&Fact(Ok(2)), "NODE 0"));
        assert_eq!(a2.populated, Fact(Ok(false)));
        assert_eq!(a2.kind.0.as_ref().unwrap_err().reason, Reason::NotPresent);
        assert_eq!(a2.maker.0.as_ref().unwrap_err().reason, Reason::NotPresent);
        assert_eq!(b1.populated.0.as_ref().unwrap_err().reason, Reason::NotSupported);
        assert_eq!((&dmi.slots[0].in_use, &dmi.slots[0].pci), (&Fact(Ok(true)), &Fact(Ok("0000:9c:01.0".into()))));
    }

    #[test]
    fn a_table_that_is_cut_off_or_garbage_is_refused_at_every_length() {
        let table = table();
        for end in 0..table.len() - 12 {
            if let Ok(dmi) = read(&table[..end], Fact(Ok(String::new()))) {
                assert!(dmi.memory_modules.len() <= 3);
            }
        }
        for garbage in [&[][..], &[0xff; 300], &[0; 300], &[17, 200, 0, 0], &[17, 4, 0, 0, 1, 0]] {
            assert!(read(garbage, Fact(Ok(String::new()))).is_err(), "{garbage:?}");
        }
        assert!(version(b"_SM3_").is_err() && version(b"").is_err() && version(b"#!/bin/sh").is_err());
    }

    #[test]
    fn tables_may_be_missing_and_may_be_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        assert_eq!(observe(&source).unwrap_err().reason, Reason::NotPresent);
        fs::create_dir_all(dir.path().join("sys/firmware/dmi/tables")).unwrap();
        let file = fs::File::create(dir.path().join(&TABLES[1..])).unwrap();
        file.set_len(MOST_BYTES + 1).unwrap();
        assert_eq!(observe(&source).unwrap_err().reason, Reason::Failed);
        fs::write(dir.path().join(&TABLES[1..]), table()).unwrap();
        assert_eq!(observe(&source).unwrap().smbios_version.0.unwrap_err().reason, Reason::NotPresent);
    }
}
