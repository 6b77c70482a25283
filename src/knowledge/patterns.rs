//! Which messages of the kernel are events, of which class: the rows of `patterns.yaml`.
//!
//! A message is tried only against the rows of which a needle stands in it; a pattern is compiled when it is first tried.

use super::Severity;
use super::nvidia::address;
use super::sieve::Sieve;
use regex::bytes::{Captures, Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use std::sync::{LazyLock, OnceLock};

const ROWS: &str = include_str!(concat!(env!("OUT_DIR"), "/patterns.jsonl"));

/// What else is looked for, in messages that are not read by pattern: the codes of NVIDIA's drivers, and the first line
/// of every boot and of every load of NVIDIA's driver.
const OTHER_NEEDLES: &[&str] = &[
    " Xid (",
    "NVRM: Xid",
    "\nXid (",
    " XID (",
    " Xid 1",
    " Xid 2",
    " Xid 3",
    " Xid 4",
    " Xid 5",
    " Xid 6",
    " Xid 7",
    " Xid 8",
    " Xid 9",
    " Xid P",
    "SXid (",
    BANNER,
    LOAD_BEGINS,
];
/// The first line of every boot.
pub(super) const BANNER: &str = "Linux version ";
/// The first line of every load of NVIDIA's driver (NVIDIA/open-gpu-kernel-modules nvlink_linux.c).
pub(super) const LOAD_BEGINS: &str = "nvidia-nvlink: Nvlink Core is being initialized";

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventClass {
    /// An error of a GPU with an Xid code.
    Xid,
    /// An error of an NVSwitch with an SXid code.
    Sxid,
    /// Another line of NVIDIA's driver that says what is broken.
    Nvrm,
    /// A machine check, or an error that firmware reports.
    Mce,
    /// An error of memory that the memory controller's driver reports.
    Edac,
    /// An error of PCIe.
    Aer,
    /// Memory ran out.
    Oom,
    /// A task waits in the kernel and cannot be ended.
    HungTask,
    /// A CPU was stuck in the kernel.
    SoftLockup,
    /// A CPU or task held up the kernel's housekeeping.
    RcuStall,
    /// A file system or a disk.
    Fs,
    /// An NVMe drive.
    Nvme,
    /// NFS.
    Nfs,
    /// Lustre.
    Lustre,
    /// InfiniBand, and adapters that can do it.
    Infiniband,
    /// Ethernet.
    Link,
    /// Heat.
    Thermal,
    /// A program or the kernel crashed.
    Segfault,
    /// What the kernel refused or did not get to work: a module, a CPU.
    Kernel,
}

impl EventClass {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            EventClass::Xid => "xid",
            EventClass::Sxid => "sxid",
            EventClass::Nvrm => "nvrm",
            EventClass::Mce => "mce",
            EventClass::Edac => "edac",
            EventClass::Aer => "aer",
            EventClass::Oom => "oom",
            EventClass::HungTask => "hung_task",
            EventClass::SoftLockup => "soft_lockup",
            EventClass::RcuStall => "rcu_stall",
            EventClass::Fs => "fs",
            EventClass::Nvme => "nvme",
            EventClass::Nfs => "nfs",
            EventClass::Lustre => "lustre",
            EventClass::Infiniband => "infiniband",
            EventClass::Link => "link",
            EventClass::Thermal => "thermal",
            EventClass::Segfault => "segfault",
            EventClass::Kernel => "kernel",
        }
    }

    /// What to do where a row names nothing better.
    fn action(self) -> &'static str {
        match self {
            EventClass::Xid | EventClass::Nvrm => {
                "Save the output of nvidia-bug-report.sh, and read what the driver wrote before."
            }
            EventClass::Sxid => "Save the output of nvidia-bug-report.sh, and look at the NVLink fabric.",
            EventClass::Mce => {
                "Decode it (rasdaemon, mcelog) and ask the vendor about the CPU, the memory or the board."
            }
            EventClass::Edac => "Find the DIMM, and replace it where errors come back.",
            EventClass::Aer => "Find the device; reseat or replace it where errors come back.",
            EventClass::Oom => "Find what used the memory up.",
            EventClass::HungTask => {
                "Find what it waits for (its stack: a file system, a driver, a device); restart the node if it stays."
            }
            EventClass::SoftLockup | EventClass::RcuStall => "Read the stack beside it; restart the node if it stays.",
            EventClass::Fs => "Look at the disk or the servers below it.",
            EventClass::Nvme => "Look at the drive (nvme smart-log, error-log) and its slot.",
            EventClass::Nfs => "Look at the server and the network to it.",
            EventClass::Lustre => "Look at the Lustre servers and the network (LNet) to them.",
            EventClass::Infiniband => "Look at the adapter's firmware, its cable and the switch's port.",
            EventClass::Link => "Look at the cable, the optic and the switch's port.",
            EventClass::Thermal => "Look at fans, heat sinks and the room's air.",
            EventClass::Segfault => "Keep the log, and tell the owner of the program.",
            EventClass::Kernel => "Read what the kernel wrote just before and after.",
        }
    }
}

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum For {
    /// Lines that only look like an event.
    None,
    /// Lines that end events.
    Clears,
    #[serde(untagged)]
    Event(EventClass),
}

/// One row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) id: String,
    class: For,
    #[serde(default = "critical")]
    pub(super) severity: Severity,
    pub(super) opens: Option<String>,
    /// The reports that it can belong to: one, or a list of them.
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) within: Vec<String>,
    /// Whether it tells what the report is that it belongs to, better than the report's first line.
    #[serde(default)]
    tells: bool,
    /// Whether it is only ever a part of such a report, and no event where none is open.
    #[serde(default)]
    joins: bool,
    #[serde(default)]
    pub(super) ends: Vec<EventClass>,
    /// Which rows' events it ends; those of all where it names none.
    #[serde(default)]
    of: Vec<String>,
    needle: Vec<String>,
    says: String,
    not: Option<String>,
    #[serde(default)]
    pub(super) title: String,
    /// The title where the line does not name what the title would.
    unnamed: Option<String>,
    action: Option<String>,
    #[serde(default, rename = "else")]
    is_last: bool,
    #[serde(default, rename = "user")]
    is_users: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the tests, and for whoever reads the table"))]
    example: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the tests, and for whoever reads the table"))]
    source: String,
    #[serde(skip)]
    compiled: OnceLock<[Option<Regex>; 2]>,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Names::deserialize(from)? {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
    })
}

fn critical() -> Severity {
    Severity::Critical
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) class: EventClass,
    pub(super) code: Option<u32>,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) action: String,
    pub(super) pci: Option<String>,
    pub(super) device: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) function: Option<String>,
    pub(super) module: Option<String>,
    pub(super) process: Option<String>,
    pub(super) pid: Option<u64>,
    /// What the line itself names as its cause.
    pub(super) caused_by: Option<String>,
    /// Which report of several lines it begins, and to which it can belong.
    pub(super) opens: Option<&'static str>,
    pub(super) within: Vec<&'static str>,
    /// Whether it tells what the report is, better than the report's first line.
    pub(super) tells: bool,
    /// Whether it is no event where no such report is open.
    pub(super) joins: bool,
    /// What tells events of a kind apart besides the fields above.
    pub(super) text: String,
    /// Which row read it; none for codes of NVIDIA's drivers.
    pub(super) row: Option<&'static str>,
}

/// What a message is.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// No event.
    Nothing,
    /// The end of events of these classes, of the device named.
    Clears { ends: &'static [EventClass], of: &'static [String], device: Option<String>, why: &'static str },
    /// An event.
    Event(Box<Reading>),
}

struct Table {
    rows: Vec<Row>,
    sieve: Sieve,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // The tests read every row.
    let rows: Vec<Row> = ROWS.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let needles =
        rows.iter().zip(0..).flat_map(|(row, index)| row.needle.iter().map(move |text| (text.as_str(), index)));
    let sieve = Sieve::new(needles.chain(OTHER_NEEDLES.iter().map(|text| (*text, u16::MAX))));
    Table { rows, sieve }
});

/// What finds the lines that [`read`] has to look at.
pub(super) fn sieve() -> &'static Sieve {
    &TABLE.sieve
}

/// What a message without a code of NVIDIA's drivers is. `is_users` where a program wrote it, not the kernel.
pub(super) fn read(message: &[u8], is_users: bool) -> Verdict {
    // A word that begins the message begins a word.
    let padded = [b"\n", message].concat();
    let mut tried: Vec<u16> = TABLE.sieve.all(&padded).filter(|index| *index != u16::MAX).collect();
    tried.sort_unstable();
    tried.dedup();
    let rows = || tried.iter().filter_map(|index| TABLE.rows.get(usize::from(*index)));
    // What is no event has the first word, what is general the last.
    let rank = |row: &&Row| match row.class {
        For::None => 0,
        For::Clears => 1,
        For::Event(_) if !row.is_last => 2,
        For::Event(_) => 3,
    };
    for turn in 0..4 {
        for row in rows().filter(|row| rank(row) == turn && (row.is_users || !is_users)) {
            if let Some(found) = row.takes(message) {
                return row.verdict(message, &found);
            }
        }
    }
    Verdict::Nothing
}

impl Row {
    fn takes<'m>(&self, message: &'m [u8]) -> Option<Captures<'m>> {
        let [says, not] = self.compiled.get_or_init(|| {
            let compile = |pattern: &str| RegexBuilder::new(pattern).unicode(false).build().ok();
            [compile(&self.says), self.not.as_deref().and_then(compile)]
        });
        let found = says.as_ref()?.captures(message)?;
        not.as_ref().is_none_or(|not| !not.is_match(message)).then_some(found)
    }

    fn verdict(&'static self, message: &[u8], found: &Captures) -> Verdict {
        let group = |names: &[&str]| {
            let found = names.iter().find_map(|name| found.name(name))?;
            let text = String::from_utf8_lossy(found.as_bytes()).trim().to_string();
            (!text.is_empty()).then_some(text)
        };
        let device = group(&["device", "d2", "d3", "d4"]);
        let class = match self.class {
            For::None => return Verdict::Nothing,
            For::Clears => {
                let device = device.or_else(|| pci_of(message));
                return Verdict::Clears { ends: &self.ends, of: &self.of, device, why: &self.title };
            }
            For::Event(class) => class,
        };
        let text = group(&["message", "message2", "message3"]).unwrap_or_else(|| said(message));
        let names = [
            ("{message}", Some(text.chars().take(120).collect())),
            ("{device}", device.clone()),
            ("{unit}", group(&["unit", "u2", "unit2"])),
            ("{process}", group(&["process"])),
            ("{what}", group(&["what"])),
            ("{mc}", group(&["mc"])),
        ];
        let is_named = names.iter().all(|(name, value)| value.is_some() || !self.title.contains(name));
        let mut title = self.unnamed.as_ref().filter(|_| !is_named).unwrap_or(&self.title).clone();
        for (name, value) in &names {
            if title.contains(name) {
                title = title.replace(name, value.as_deref().unwrap_or_default());
            }
        }
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_mild = group(&["what"]).as_deref() == Some("non-fatal")
            || group(&["mild"]).is_some()
            || group(&["status"]).and_then(|status| u64::from_str_radix(&status, 16).ok()).is_some_and(is_corrected);
        let written = pci_of(message);
        let pci = group(&["pci", "p2"]).as_deref().and_then(address);
        let pci = pci.or_else(|| by_id(&group(&["id", "id2"])?, written.as_deref()?)).or_else(|| written.clone());
        // A port reports what the device behind it did: that is `device`, for the port is what the line is of.
        let is_of_port = class == EventClass::Aer && written.is_some() && pci != written;
        let (pci, device) = if is_of_port { (written, device.or(pci)) } else { (pci, device) };
        Verdict::Event(Box::new(Reading {
            class,
            code: group(&["code"]).and_then(|code| code.parse().ok()),
            severity: if is_mild { self.severity.min(Severity::Warning) } else { self.severity },
            title,
            action: self.action.clone().unwrap_or_else(|| class.action().to_string()),
            pci,
            unit: group(&["unit", "u2", "unit2"]).or_else(|| group(&["mc"])),
            device,
            function: group(&["function"]),
            module: group(&["module"]),
            process: group(&["process"]),
            pid: group(&["pid"]).and_then(|pid| pid.parse().ok()),
            caused_by: None,
            opens: self.opens.as_deref(),
            within: self.within.iter().map(String::as_str).collect(),
            tells: self.tells,
            joins: self.joins,
            text: if self.title.contains("{message}") || class == EventClass::Nvrm { text } else { String::new() },
            row: Some(&self.id),
        }))
    }
}

/// Whether the status of a bank of machine checks says that the error was corrected (Intel SDM 16.3.2.2, AMD APM 9.3.2.2:
/// bit 61, UC).
fn is_corrected(status: u64) -> bool {
    status >> 61 & 1 == 0
}

/// The address of the device whose bus, device and function an error report has as one number: 34 in `3400`. It is in the
/// domain of the port that reports it; 0 stands for none.
fn by_id(id: &str, port: &str) -> Option<String> {
    let id = u16::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    let domain = port.split(':').next()?;
    Some(format!("{domain}:{:02x}:{:02x}.{}", id >> 8, id >> 3 & 0x1f, id & 7))
}

/// A message as text, without what is repeated for each driver and device.
fn said(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(&message[..message.len().min(400)]);
    let text = text.trim();
    let text = text.strip_prefix("NVRM:").or_else(|| text.strip_prefix("NVRM ")).unwrap_or(text);
    text.trim().to_string()
}

/// The first PCI address of a message. Drivers of NVIDIA leave out the function behind `PCI:`.
fn pci_of(message: &[u8]) -> Option<String> {
    static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let pattern = r"\b([0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]|PCI:[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}|PCI:[0-9a-fA-F]{4}:[0-9a-fA-F]{2}\.[0-7])\b";
        RegexBuilder::new(pattern).unicode(false).build().ok()
    });
    let found = ADDRESS.as_ref()?.find(message)?;
    address(std::str::from_utf8(found.as_bytes()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_has_what_it_needs() {
        assert_eq!(TABLE.rows.len(), ROWS.lines().count());
        let ids: std::collections::BTreeSet<_> = TABLE.rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), TABLE.rows.len());
        for row in &TABLE.rows {
            assert!(!row.source.is_empty(), "{}", row.id);
            match row.class {
                For::Event(_) => assert!(!row.title.is_empty() && row.ends.is_empty(), "{}", row.id),
                For::None => assert!(row.title.is_empty() && row.ends.is_empty(), "{}", row.id),
                For::Clears => assert!(!row.ends.is_empty() && !row.title.is_empty(), "{}", row.id),
            }
            assert!(row.of.iter().all(|of| !row.ends.is_empty() && ids.contains(of)), "{}", row.id);
            for pattern in [Some(&row.says), row.not.as_ref()].into_iter().flatten() {
                assert!(RegexBuilder::new(pattern).unicode(false).build().is_ok(), "{}: {pattern}", row.id);
            }
        }
    }

    #[test]
    fn every_row_takes_its_example_and_no_other_does() {
        let mut wrong = Vec::new();
        for row in &TABLE.rows {
            let example = row.example.as_bytes();
            let padded = [b"\n", example].concat();
            if TABLE.sieve.find(&padded, 0).is_none() {
                wrong.push(format!("{}: no needle stands in its example", row.id));
            }
            let index = TABLE.rows.iter().position(|other| other.id == row.id).unwrap();
            if !TABLE.sieve.all(&padded).any(|found| usize::from(found) == index) {
                wrong.push(format!("{}: no needle of its own stands in its example", row.id));
            }
            if row.takes(example).is_none() {
                wrong.push(format!("{}: does not take its example", row.id));
            }
            for other in TABLE.rows.iter().filter(|other| other.id != row.id && !other.is_last) {
                // Whatever the needles are.
                if other.takes(example).is_some() {
                    wrong.push(format!("{} takes the example of {}", other.id, row.id));
                }
            }
            match read(example, row.is_users) {
                Verdict::Event(reading) => {
                    if reading.row != Some(&row.id) {
                        wrong.push(format!("{}: its example is read as {:?}", row.id, reading.row));
                    }
                    if reading.title.contains(['{', '}']) && !row.title.contains("{message}") {
                        wrong.push(format!("{}: {}", row.id, reading.title));
                    }
                }
                _ if !matches!(row.class, For::Event(_)) => {}
                other => wrong.push(format!("{}: its example is {other:?}", row.id)),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn damage_of_a_file_system_is_told_from_errors_of_its_disk() {
        for (line, row) in [
            (
                "EXT4-fs error (device sdc2): ext4_validate_block_bitmap:390: comm cp: bg 4: bad block bitmap checksum",
                "fs.ext4_damaged",
            ),
            (
                "EXT4-fs error (device sdc2): htree_dirblock_to_tree:1080: inode #12: comm ls: bad entry in directory: rec_len is too small for name_len",
                "fs.ext4_damaged",
            ),
            (
                "EXT4-fs error (device sdc2): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
                "fs.ext4",
            ),
            ("EXT4-fs (sdc2): I/O error while writing superblock", "fs.ext4"),
            (
                "EXT4-fs error (device sdc2): ext4_find_entry:1612: inode #2: comm ls: Error -117 reading directory block",
                "fs.ext4_damaged",
            ),
            (
                "EXT4-fs error (device sdc2): ext4_journal_check_start:83: comm cp: Detected aborted journal",
                "fs.ext4_stopped",
            ),
            ("EXT4-fs (sdc2): Remounting filesystem read-only", "fs.ext4_stopped"),
            ("Aborting journal on device sdc2-8.", "fs.journal_stopped"),
            (
                "XFS (dm-7): metadata I/O error in \"xfs_da_read_buf+0xd9/0x130 [xfs]\" at daddr 0x20 len 8 error 5",
                "fs.xfs",
            ),
            (
                "XFS (dm-7): metadata I/O error in \"xfs_da_read_buf+0xd9/0x130 [xfs]\" at daddr 0x20 len 8 error 117",
                "fs.xfs_damaged",
            ),
            (
                "XFS (dm-7): Metadata CRC error detected at xfs_agi_read_verify+0xde/0x100 [xfs], xfs_agi block 0x2",
                "fs.xfs_damaged",
            ),
            ("XFS (dm-7): xfs_imap_to_bp: xfs_trans_read_buf() returned error -74.", "fs.xfs_damaged"),
            ("XFS (dm-7): xfs_imap_to_bp: xfs_trans_read_buf() returned error -5.", "fs.xfs"),
            (
                "XFS (dm-7): Corruption of in-memory data (0x8) detected at xfs_trans_cancel+0x11b/0x140 [xfs] (fs/xfs/xfs_trans.c:1034).  Shutting down filesystem.",
                "fs.xfs_damaged",
            ),
            ("XFS (dm-7): I/O Error Detected. Shutting down filesystem", "fs.xfs_stopped"),
            (
                "XFS (dm-7): Metadata I/O Error (0x1) detected at xfs_inactive_ifree+0x1b0/0x1d0 [xfs] (fs/xfs/xfs_inode.c:1788).  Shutting down filesystem.",
                "fs.xfs_stopped",
            ),
            (
                "XFS (dm-7): Log I/O Error (0x2) detected at xlog_ioend_work+0x6e/0x70 [xfs] (fs/xfs/xfs_log.c:1378).  Shutting down filesystem.",
                "fs.xfs",
            ),
            ("XFS (dm-7): xfs_log_force: error -5 returned.", "fs.xfs_stopped"),
            (
                "BTRFS error (device sdc3): bdev /dev/sdc3 errs: wr 0, rd 0, flush 0, corrupt 3, gen 0",
                "fs.btrfs_damaged",
            ),
            ("BTRFS error (device sdc3): bdev /dev/sdc3 errs: wr 2, rd 0, flush 0, corrupt 3, gen 0", "fs.btrfs"),
            (
                "BTRFS warning (device sdc3): csum failed root 5 ino 257 off 0 csum 0x8941f998 expected csum 0x94d1a5e5 mirror 1",
                "fs.btrfs_damaged",
            ),
            (
                "BTRFS error (device sdc3): parent transid verify failed on logical 30457856 mirror 1 wanted 12 found 10",
                "fs.btrfs_damaged",
            ),
            (
                "BTRFS: error (device sdc3) in btrfs_run_delayed_refs:2214: errno=-117 Filesystem corrupted",
                "fs.btrfs_damaged",
            ),
            (
                "BTRFS: error (device sdc3) in btrfs_commit_transaction:2494: errno=-5 IO failure (Error while writing out transaction)",
                "fs.btrfs",
            ),
            ("BTRFS info (device sdc3: state EA): forced readonly", "fs.btrfs_stopped"),
        ] {
            let read = match read(line.as_bytes(), false) {
                Verdict::Event(reading) => (reading.row, reading.device),
                other => panic!("{line}: {other:?}"),
            };
            let device = ["sdc2", "sdc3", "dm-7"].into_iter().find(|device| line.contains(device));
            assert_eq!(read, (Some(row), device.map(str::to_string)), "{line}");
        }
    }
}
