//! `pcie`: how PCI Express devices are set up, and the errors that their links counted.
//!
//! What the bus is made of is in `pci`. Here every device that carries data is asked for its error counters, and its
//! configuration space for what only that tells.

use super::parts::{self, Part, Place};
use super::pci::{self, Identity, is_address};
use super::pci_names;
use super::source::{Source, absent_from_io};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "pcie",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<PcieDevice>>,
    arguments: None,
    ask: |source, _, progress| {
        let devices = observe(source)?;
        let parts = devices.iter().enumerate().map(|(index, device)| part(source, index, device)).collect();
        Ok(parts::ask_quickly(answer(&devices)?, parts, progress))
    },
};

const DEVICES: &str = "/sys/bus/pci/devices";
const DEVICE_DEADLINE: Duration = Duration::from_secs(5);

/// Capabilities of the configuration space (PCI Express Base Specification; linux/pci_regs.h).
const STATUS: u64 = 0x06;
const CAPABILITY_LIST: u16 = 0x10;
const FIRST_CAPABILITY: u64 = 0x34;
const PCI_EXPRESS: u8 = 0x10;
const FIRST_EXTENDED: u64 = 0x100;
const ACCESS_CONTROL: u16 = 0x0d;
/// More capabilities than fit; a list that goes in circles ends here.
const MOST_CAPABILITIES: usize = 64;

/// A PCI Express device that carries data: a GPU, a network adapter, a drive, an NVSwitch, or a bridge above one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "pci", "x-key" = "address"))]
struct PcieDevice {
    /// Its address, as in `pci`.
    address: String,
    /// Maker and model, by the list of PCI ids; else their numbers.
    name: String,
    /// Class and subclass, four hexadecimal digits, as in `pci`: `0207` is an InfiniBand adapter.
    class_code: String,
    /// Whether it is a GPU of NVIDIA.
    is_nvidia_gpu: bool,
    /// Whether it joins two buses: a root port, or a port of a switch.
    is_bridge: bool,
    /// The ports above it, from the root port on. Absent (not recorded) where a recording keeps the devices as plain
    /// folders.
    above: Fact<Vec<String>>,
    /// How the IOMMU treats it: `identity` (passed through), `DMA`, `DMA-FQ` (translated), `blocked`
    /// (iommu_group/type). Absent (not present) without an IOMMU.
    iommu: Fact<String>,
    /// Errors of its link and of its transfers since boot, as the kernel counts them (AER). Absent (not supported) for
    /// devices that report none, or where the firmware keeps them for itself.
    errors: Fact<PcieErrors>,
    /// The largest payload of a packet that it may send, in bytes. Only root may look.
    payload_bytes: Fact<u64>,
    /// The largest payload that it could send, in bytes.
    payload_limit_bytes: Fact<u64>,
    /// The largest piece that it may ask for at once, in bytes.
    read_request_bytes: Fact<u64>,
    /// Whether it may let packets overtake one another.
    relaxed_ordering: Fact<bool>,
    /// What it keeps devices below it from (ACS), of: `source_validation`, `translation_blocking`, `request_redirect`,
    /// `completion_redirect`, `upstream_forwarding`, `egress_control`, `direct_translated`. Redirection sends packets
    /// between two devices through the processor. Empty for a port that has none of it switched on, or has no such
    /// switches. Absent (not supported) for devices that are no bridge. Only root may look.
    access_control: Fact<Vec<String>>,
}

/// Errors of a device since boot.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct PcieErrors {
    /// Errors that were corrected (aer_dev_correctable).
    corrected: Fact<u64>,
    /// Errors that cost a transfer (aer_dev_nonfatal).
    nonfatal: Fact<u64>,
    /// Errors that cost the link (aer_dev_fatal).
    fatal: Fact<u64>,
    /// All kinds of errors that occurred, with their counts: `kinds["RxErr"]`, `kinds["BadTLP"]`.
    kinds: BTreeMap<String, u64>,
}

/// The fields that a device's part answers.
#[derive(Serialize)]
struct Answer {
    payload_bytes: Fact<u64>,
    payload_limit_bytes: Fact<u64>,
    read_request_bytes: Fact<u64>,
    relaxed_ordering: Fact<bool>,
    access_control: Fact<Vec<String>>,
}

fn observe(source: &Source) -> Result<Vec<PcieDevice>, Absent> {
    Ok(source.pci_devices()?.iter().filter_map(|identity| device(source, identity)).collect())
}

fn device(source: &Source, identity: &Identity) -> Option<PcieDevice> {
    let folder = format!("{DEVICES}/{}", identity.address);
    let class = identity.class_code.as_deref().ok()?;
    let is_bridge = class == "0604";
    // Drives, networks, displays, NVSwitches, accelerators; what is left are parts of the processor and slow things.
    let carries = ["01", "02", "03", "12"].iter().any(|start| class.starts_with(start)) || class == "0680";
    if !(is_bridge || carries || class == "0c06") || identity.is_virtual_function {
        return None;
    }
    Some(PcieDevice {
        above: Fact(above(source, &folder)),
        iommu: Fact(
            source.line(&format!("{folder}/iommu_group/type")).or_else(|absent| iommu_type(source, &folder, absent)),
        ),
        errors: Fact(errors(source, &folder)),
        payload_bytes: parts::pending(),
        payload_limit_bytes: parts::pending(),
        read_request_bytes: parts::pending(),
        relaxed_ordering: parts::pending(),
        access_control: parts::pending(),
        name: name(identity),
        is_nvidia_gpu: identity.is_nvidia(pci::GPU),
        class_code: class.to_string(),
        is_bridge,
        address: identity.address.clone(),
    })
}

fn name(identity: &Identity) -> String {
    let digits = |id: &Result<String, Absent>| id.clone().unwrap_or_default();
    let (vendor, model) = (&*digits(&identity.vendor_id), &*digits(&identity.device_id));
    let maker = pci_names::vendor(vendor).unwrap_or(vendor);
    format!("{maker} {}", pci_names::device(vendor, model).unwrap_or(model))
}

/// The type of the group that a device's link names, where the link itself does not lead there.
fn iommu_type(source: &Source, folder: &str, absent: Absent) -> Result<String, Absent> {
    if absent.reason != Reason::NotPresent {
        return Err(absent);
    }
    let group = source.link(&format!("{folder}/iommu_group")).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_present("it is in no IOMMU group"),
        _ => absent,
    })?;
    let number = group.rsplit('/').next().unwrap_or_default();
    source.line(&format!("/sys/kernel/iommu_groups/{number}/type")).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_supported("the kernel does not tell the type of IOMMU groups"),
        _ => absent,
    })
}

/// The ports above a device: its folder lies in theirs.
fn above(source: &Source, folder: &str) -> Result<Vec<String>, Absent> {
    match source.link(folder) {
        Ok(target) => {
            let mut ports: Vec<String> =
                target.split('/').filter(|name| is_address(name)).map(str::to_string).collect();
            ports.pop();
            Ok(ports)
        }
        Err(_) if source.recorded().is_some() => {
            Err(Absent::new(Reason::NotRecorded, "the recording keeps the devices as plain folders"))
        }
        Err(absent) => Err(absent),
    }
}

fn errors(source: &Source, folder: &str) -> Result<PcieErrors, Absent> {
    let mut kinds = BTreeMap::new();
    let mut total = |file: &str, word: &str| -> Result<u64, Absent> {
        let path = format!("{folder}/{file}");
        let text = source.text(&path).map_err(|absent| match absent.reason {
            Reason::NotPresent => Absent::not_supported("its errors are not counted"),
            _ => absent,
        })?;
        let mut total = None;
        for (name, count) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            let count: u64 =
                count.parse().map_err(|_| Absent::failed(format!("{path}: expected a number after {name}")))?;
            if name.starts_with("TOTAL_") {
                total = total.or((name == word).then_some(count));
            } else if count > 0 {
                *kinds.entry(name.trim().to_string()).or_default() += count;
            }
        }
        total.ok_or_else(|| Absent::failed(format!("{path} has no {word}")))
    };
    let corrected = total("aer_dev_correctable", "TOTAL_ERR_COR");
    if let Err(absent) = &corrected
        && absent.reason == Reason::NotSupported
    {
        return Err(absent.clone());
    }
    let (nonfatal, fatal) =
        (total("aer_dev_nonfatal", "TOTAL_ERR_NONFATAL"), total("aer_dev_fatal", "TOTAL_ERR_FATAL"));
    Ok(PcieErrors { corrected: corrected.into(), nonfatal: nonfatal.into(), fatal: fatal.into(), kinds })
}

/// The part that asks the device itself.
fn part<'a>(source: &'a Source, index: usize, device: &PcieDevice) -> Part<'a> {
    let fields = ["payload_bytes", "payload_limit_bytes", "read_request_bytes", "relaxed_ordering", "access_control"];
    let label = format!("configuration of PCI device {}", device.address);
    let place = Place::new(format!("/{index}"), &fields, label, DEVICE_DEADLINE);
    let path = format!("{DEVICES}/{}/config", device.address);
    let is_bridge = device.is_bridge;
    let ask = move || {
        let space = Space { source, file: source.open(&path)?, path: &path };
        let express = space.capability(PCI_EXPRESS);
        let control = express.clone().and_then(|at| space.word(at + 8));
        let limit = express.and_then(|at| space.word(at + 4));
        // Sizes are 128 bytes, doubled as often as three bits say.
        let size = |word: &Result<u16, Absent>, shift: u16| -> Fact<u64> {
            Fact(word.clone().map(|word| 128 << (word >> shift & 7)))
        };
        let access_control = match is_bridge {
            true => match space.extended(ACCESS_CONTROL).and_then(|at| space.word(at + 6)) {
                Err(absent) if absent.reason == Reason::NotSupported => Ok(Vec::new()),
                register => register.map(access_controls),
            },
            false => Err(Absent::not_supported("nothing is below it")),
        };
        parts::fields(&Answer {
            payload_bytes: size(&control, 5),
            payload_limit_bytes: size(&limit, 0),
            read_request_bytes: size(&control, 12),
            relaxed_ordering: Fact(control.map(|control| control & 0x10 != 0)),
            access_control: Fact(access_control),
        })
    };
    (place, Box::new(ask))
}

/// The names of the bits of the register that switches access control on.
fn access_controls(register: u16) -> Vec<String> {
    const NAMES: [&str; 7] = [
        "source_validation",
        "translation_blocking",
        "request_redirect",
        "completion_redirect",
        "upstream_forwarding",
        "egress_control",
        "direct_translated",
    ];
    (0..NAMES.len()).filter(|bit| register & (1 << bit) != 0).map(|bit| NAMES[bit].to_string()).collect()
}

/// A device's configuration space, of which only what is needed is read: every read is a question to the device.
struct Space<'s> {
    source: &'s Source,
    file: File,
    path: &'s str,
}

impl Space<'_> {
    fn read<const N: usize>(&self, at: u64) -> Result<[u8; N], Absent> {
        let mut bytes = [0; N];
        let mut done = 0;
        while done < N {
            match self.file.read_at(&mut bytes[done..], at + done as u64) {
                Ok(0) => return Err(self.ends(at)),
                Ok(read) => done += read,
                Err(error) => return Err(absent_from_io(self.path, &error)),
            }
        }
        if bytes.iter().all(|byte| *byte == 0xff) && N >= 4 {
            return Err(Absent::failed("the device does not answer"));
        }
        Ok(bytes)
    }

    /// Others than root see the first 64 bytes only.
    fn ends(&self, at: u64) -> Absent {
        match () {
            () if self.source.uid() != 0 => Absent::denied("only root may read the configuration of a device"),
            () if self.source.recorded().is_some() => {
                Absent::new(Reason::NotRecorded, format!("{} was not recorded up to byte {at}", self.path))
            }
            () => Absent::not_supported(format!("{} has no byte {at}", self.path)),
        }
    }

    fn word(&self, at: u64) -> Result<u16, Absent> {
        self.read::<2>(at).map(u16::from_le_bytes)
    }

    /// Where a capability begins.
    fn capability(&self, wanted: u8) -> Result<u64, Absent> {
        let without = || Absent::not_supported("the device has no PCI Express capability");
        // The status stands beside the command; both are read so that a device that is gone is known.
        let [_, _, low, high] = self.read::<4>(STATUS - 2)?;
        if u16::from_le_bytes([low, high]) & CAPABILITY_LIST == 0 {
            return Err(without());
        }
        let [mut at] = self.read::<1>(FIRST_CAPABILITY)?;
        for _ in 0..MOST_CAPABILITIES {
            at &= 0xfc;
            if at < 0x40 {
                break;
            }
            let [kind, next] = self.read::<2>(at.into())?;
            if kind == wanted {
                return Ok(at.into());
            }
            at = next;
        }
        Err(without())
    }

    /// Where an extended capability begins.
    fn extended(&self, wanted: u16) -> Result<u64, Absent> {
        let mut at = FIRST_EXTENDED;
        for _ in 0..MOST_CAPABILITIES {
            let head = u32::from_le_bytes(self.read(at)?);
            if head as u16 == wanted {
                return Ok(at);
            }
            at = u64::from(head >> 20 & 0xffc);
            if at < FIRST_EXTENDED {
                break;
            }
        }
        Err(Absent::not_supported("the device has no access control"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, Source};
    use serde_json::{Value, json};
    use std::fs;
    use std::path::Path;

    fn put(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A configuration space with a power capability, one of PCI Express, and one for access control.
    fn config(device_control: u16, access_control: u16) -> Vec<u8> {
        let mut space = vec![0; 4096];
        space[0x06] = 0x10;
        space[0x34] = 0x40;
        (space[0x40], space[0x41]) = (0x01, 0x60);
        (space[0x60], space[0x61]) = (PCI_EXPRESS, 0);
        space[0x64] = 0x02;
        space[0x68..0x6a].copy_from_slice(&device_control.to_le_bytes());
        space[0x100..0x104].copy_from_slice(&0x1480_0001_u32.to_le_bytes());
        space[0x148..0x14c].copy_from_slice(&0x0001_000d_u32.to_le_bytes());
        space[0x14e..0x150].copy_from_slice(&access_control.to_le_bytes());
        space
    }

    fn ask(dir: &Path, uid: u32) -> Vec<Value> {
        let source = Source::dead(dir, Recorded { uid, ..Default::default() });
        match (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() {
            Value::Array(devices) => devices,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_bridge_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = "sys/bus/pci/devices/0000:9a:01.0";
        put(dir.path(), &format!("{folder}/class"), "0x060400\n");
        put(dir.path(), &format!("{folder}/config"), config(0x5830, 0x1d));
        put(dir.path(), &format!("{folder}/iommu_group/type"), "identity\n");
        let table = "RxErr 7\nBadTLP 0\nTOTAL_ERR_COR 7\n";
        put(dir.path(), &format!("{folder}/aer_dev_correctable"), table);
        put(dir.path(), &format!("{folder}/aer_dev_nonfatal"), "CmpltTO 1\nTOTAL_ERR_NONFATAL 1\n");
        put(dir.path(), &format!("{folder}/aer_dev_fatal"), "Undefined x\n");
        put(dir.path(), "sys/bus/pci/devices/0000:00:1f.0/class", "0x060100\n");
        let devices = ask(dir.path(), 0);
        assert_eq!(devices.len(), 1);
        let device = &devices[0];
        assert_eq!((&device["payload_bytes"], &device["payload_limit_bytes"]), (&json!(256), &json!(512)));
        assert_eq!((&device["read_request_bytes"], &device["relaxed_ordering"]), (&json!(4096), &json!(true)));
        let redirects = json!(["source_validation", "request_redirect", "completion_redirect", "upstream_forwarding"]);
        assert_eq!(device["access_control"], redirects);
        assert_eq!((&device["errors"]["corrected"], &device["errors"]["nonfatal"]), (&json!(7), &json!(1)));
        assert_eq!(device["errors"]["fatal"]["absent"], "failed");
        assert_eq!(device["errors"]["kinds"], json!({"RxErr": 7, "CmpltTO": 1}));
        assert_eq!((&device["iommu"], &device["above"]["absent"]), (&json!("identity"), &json!("not_recorded")));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let folder = "sys/bus/pci/devices/0000:01:00.0";
        let absent = |config: Option<Vec<u8>>, uid: u32| {
            let dir = tempfile::tempdir().unwrap();
            put(dir.path(), &format!("{folder}/class"), "0x020700\n");
            if let Some(config) = config {
                put(dir.path(), &format!("{folder}/config"), config);
            }
            let devices = ask(dir.path(), uid);
            assert_eq!(devices[0]["errors"]["absent"], "not_supported");
            devices[0]["read_request_bytes"]["absent"].as_str().unwrap_or("there").to_string()
        };
        assert_eq!(absent(Some(config(0, 0)[..64].to_vec()), 1000), "denied");
        assert_eq!(absent(Some(config(0, 0)[..64].to_vec()), 0), "not_recorded");
        assert_eq!(absent(Some(vec![0; 4096]), 0), "not_supported");
        assert_eq!(absent(Some(vec![0xff; 4096]), 0), "failed");
        assert_eq!(absent(Some(vec![]), 0), "not_recorded");
        assert_eq!(absent(None, 0), "not_present");
        assert_eq!(absent(Some(config(0, 0)), 0), "there");
    }

    #[test]
    fn a_list_of_capabilities_that_goes_in_circles_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut space = config(0, 0);
        space[0x61] = 0x40;
        space[0x60] = 0x05;
        space[0x102..0x104].copy_from_slice(&[0x01, 0x10]);
        put(dir.path(), "sys/bus/pci/devices/0000:01:00.0/class", "0x060400\n");
        put(dir.path(), "sys/bus/pci/devices/0000:01:00.0/config", space);
        let devices = ask(dir.path(), 0);
        assert_eq!(devices[0]["payload_bytes"]["absent"], "not_supported");
        assert_eq!(devices[0]["access_control"], json!([]));
    }
}
