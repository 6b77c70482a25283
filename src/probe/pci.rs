//! `pci`: the devices on the PCI buses, and the links they hang on.

use super::parts::{self, Part, Place};
use super::pci_names;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of, text};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "pci",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<PciDevice>>,
    arguments: None,
    ask: |source, _, progress| {
        let devices = observe(source)?;
        let parts = devices.iter().enumerate().map(|(index, device)| part(source, index, device)).collect();
        Ok(parts::ask_quickly(answer(&devices)?, parts, progress))
    },
};

const DEVICES: &str = "/sys/bus/pci/devices";
const SLOTS: &str = "/sys/bus/pci/slots";
/// How long one device may take to answer for itself.
const DEVICE_DEADLINE: Duration = Duration::from_secs(5);
const NVIDIA: &str = "10de";

/// A device on a PCI bus (one function of it), from /sys/bus/pci/devices.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "pci", "x-key" = "address"))]
struct PciDevice {
    /// Its address: domain, bus, device and function, such as `0000:9c:00.0`.
    address: String,
    /// Number of the maker, four hexadecimal digits: `10de` is NVIDIA (file vendor).
    vendor_id: Fact<String>,
    /// Number of the model, four hexadecimal digits (file device).
    device_id: Fact<String>,
    /// Name of the maker. Absent (not present) when the list of PCI ids that Punchlist carries has none.
    vendor: Fact<String>,
    /// Name of the model. Absent (not present) when the list of PCI ids that Punchlist carries has none.
    device: Fact<String>,
    /// Class and subclass, four hexadecimal digits: `0302` is a 3D controller (file class).
    class_code: Fact<String>,
    /// Name of the subclass, else of the class. Absent (not present) when the list of PCI ids has neither.
    class: Fact<String>,
    /// The driver that is bound to it (link driver). Absent (not present) when none is.
    driver: Fact<String>,
    /// Whether it is a GPU of NVIDIA: class 0300 or 0302.
    is_nvidia_gpu: Fact<bool>,
    /// Whether it is an NVSwitch: NVIDIA, class 0680.
    is_nvswitch: Fact<bool>,
    /// Whether it is a network or InfiniBand adapter: class 02xx or 0c06.
    is_network: Fact<bool>,
    /// Whether it holds disks or is one: class 01xx.
    is_storage: Fact<bool>,
    /// Whether it joins two PCI buses, as root ports and the ports of switches do: class 0604 or 0609.
    is_bridge: Fact<bool>,
    /// The NUMA node it hangs on (file numa_node). Absent (not supported) when the firmware names none (-1).
    numa_node: Fact<u32>,
    /// Its PCI Express link towards the processor, read from the device itself.
    link: Fact<PciLink>,
    /// Whether its configuration space reads as nothing but ff: it has fallen off the bus (file config, first bytes).
    dead: Fact<bool>,
    /// Whether a driver has enabled it (file enable).
    enabled: Fact<bool>,
    /// Revision, two hexadecimal digits (file revision).
    revision: Fact<String>,
    /// Address of the bridge above it. Absent (not present) on a root bus, (not recorded) where a recording keeps
    /// the devices as plain folders.
    parent: Fact<String>,
    /// Label of the slot it sits in, such as `7` (/sys/bus/pci/slots). Absent (not present) when the firmware names
    /// none.
    physical_slot: Fact<String>,
    /// Its IOMMU group (link iommu_group). Absent (not present) without an IOMMU.
    iommu_group: Fact<u32>,
    /// Number of the maker of the board, four hexadecimal digits (file subsystem_vendor).
    subsystem_vendor_id: Fact<String>,
    /// Number of the board, four hexadecimal digits (file subsystem_device).
    subsystem_device_id: Fact<String>,
    /// Whether it is a virtual function of another device (SR-IOV; link physfn).
    is_virtual_function: bool,
}

/// A PCI Express link. Every field is absent (not supported) for devices that have none, and (failed) for dead ones.
#[derive(Debug, Serialize, JsonSchema)]
struct PciLink {
    /// Speed it runs at now, in GT/s: 2.5, 5, 8, 16, 32 or 64 (file current_link_speed). Idle GPUs lower it to save
    /// power. Absent (not present) while the link is down.
    speed_gts: Fact<f64>,
    /// Lanes in use now (file current_link_width); 0 while the link is down.
    width: Fact<u32>,
    /// Highest speed that the device can run at, in GT/s (file max_link_speed).
    max_speed_gts: Fact<f64>,
    /// Most lanes that the device can use (file max_link_width).
    max_width: Fact<u32>,
}

/// The fields that a device's part answers.
#[derive(Serialize)]
struct Answer {
    dead: Fact<bool>,
    link: Fact<PciLink>,
}

/// What a device is. The kernel read it when it found the device, and no file of these asks the device again.
pub(super) struct Identity {
    pub address: String,
    pub vendor_id: Result<String, Absent>,
    pub device_id: Result<String, Absent>,
    /// Class and subclass.
    pub class_code: Result<String, Absent>,
    pub is_virtual_function: bool,
}

impl Identity {
    /// Whether it is made by NVIDIA and of one of these classes.
    pub(super) fn is_nvidia(&self, classes: &[&str]) -> bool {
        let one_of = |class: &String| classes.contains(&class.as_str());
        self.vendor_id.as_ref().is_ok_and(|vendor| vendor == NVIDIA) && self.class_code.as_ref().is_ok_and(one_of)
    }
}

/// Classes of GPUs: VGA compatible controllers and 3D controllers.
pub(super) const GPU: &[&str] = &["0300", "0302"];
/// The class of NVSwitches: bridges of another kind.
pub(super) const NVSWITCH: &[&str] = &["0680"];

/// Every device on the PCI buses. Probes ask [`Source::pci_devices`], which reads it once.
pub(super) fn identities(source: &Source) -> Result<Vec<Identity>, Absent> {
    let identity = |address: String| {
        let hex = |name: &str| hex_digits(source, &format!("{DEVICES}/{address}/{name}"));
        Identity {
            vendor_id: hex("vendor"),
            device_id: hex("device"),
            // `0x030200`: class, subclass and programming interface.
            class_code: hex("class").map(|class| class.get(..4).unwrap_or_default().to_string()),
            is_virtual_function: source.link(&format!("{DEVICES}/{address}/physfn")).is_ok(),
            address,
        }
    };
    Ok(source.names(DEVICES)?.into_iter().filter(|name| is_address(name)).map(identity).collect())
}

fn observe(source: &Source) -> Result<Vec<PciDevice>, Absent> {
    let slots = slots(source);
    Ok(source.pci_devices()?.iter().map(|identity| device(source, &slots, identity)).collect())
}

/// What the kernel knows of a device without asking it.
fn device(source: &Source, slots: &Result<HashMap<String, String>, Absent>, identity: &Identity) -> PciDevice {
    let Identity { address, vendor_id, device_id, class_code, is_virtual_function } = identity;
    let file = |name: &str| format!("{DEVICES}/{address}/{name}");
    let hex = |name: &str| hex_digits(source, &file(name));
    let made_by_nvidia = vendor_id.clone().map(|vendor| vendor == NVIDIA);
    let is_class = |test: fn(&str) -> bool| class_code.clone().map(|class| test(&class));
    let nvidia = |test: fn(&str) -> bool| -> Fact<bool> {
        made_by_nvidia.clone().and_then(|nvidia| Ok(nvidia && is_class(test)?)).into()
    };
    PciDevice {
        vendor: vendor_id.clone().and_then(|id| vendor_name(&id)).into(),
        device: vendor_id.clone().and_then(|vendor| device_name(&vendor, device_id)).into(),
        class: class_code.clone().and_then(|code| class_name(&code)).into(),
        driver: driver(source, address).into(),
        is_nvidia_gpu: nvidia(|class| GPU.contains(&class)),
        is_nvswitch: nvidia(|class| NVSWITCH.contains(&class)),
        is_network: is_class(|class| class.starts_with("02") || class == "0c06").into(),
        is_storage: is_class(|class| class.starts_with("01")).into(),
        is_bridge: is_class(|class| class == "0604" || class == "0609").into(),
        numa_node: numa_node(source, &file("numa_node")).into(),
        link: parts::pending(),
        dead: parts::pending(),
        enabled: source.number::<i64>(&file("enable")).map(|count| count > 0).into(),
        revision: hex("revision").into(),
        parent: parent(source, address).into(),
        physical_slot: physical_slot(slots, address).into(),
        iommu_group: linked(source, &file("iommu_group"), "it is in no IOMMU group")
            .and_then(|group| number(&group))
            .into(),
        subsystem_vendor_id: hex("subsystem_vendor").into(),
        subsystem_device_id: hex("subsystem_device").into(),
        is_virtual_function: *is_virtual_function,
        vendor_id: vendor_id.clone().into(),
        device_id: device_id.clone().into(),
        class_code: class_code.clone().into(),
        address: address.clone(),
    }
}

/// What other probes want to know of a device, without asking it.
pub(super) struct Basics {
    pub device_id: Result<String, Absent>,
    pub device: Result<String, Absent>,
    pub driver: Result<String, Absent>,
    pub numa_node: Result<u32, Absent>,
    pub local_cpus: Result<String, Absent>,
}

impl Basics {
    pub(super) fn of(source: &Source, address: &str) -> Basics {
        let file = |name: &str| format!("{DEVICES}/{address}/{name}");
        let device_id = hex_digits(source, &file("device"));
        Basics {
            device: device_name(NVIDIA, &device_id),
            device_id,
            driver: driver(source, address),
            numa_node: numa_node(source, &file("numa_node")),
            local_cpus: source.line(&file("local_cpulist")),
        }
    }
}

/// Addresses of the GPUs of NVIDIA. Virtual functions are left out: they belong to virtual machines.
pub(super) fn nvidia_gpus(source: &Source) -> Result<Vec<String>, Absent> {
    let gpus = source.pci_devices()?.iter().filter(|one| one.is_nvidia(GPU) && !one.is_virtual_function);
    Ok(gpus.map(|gpu| gpu.address.clone()).collect())
}

/// Addresses of the NVSwitches.
pub(super) fn nvswitches(source: &Source) -> Result<Vec<String>, Absent> {
    let switches = source.pci_devices()?.iter().filter(|one| one.is_nvidia(NVSWITCH));
    Ok(switches.map(|switch| switch.address.clone()).collect())
}

/// Whether a device's configuration space reads as nothing but ff. It may hang.
pub(super) fn is_dead(source: &Source, address: &str) -> Result<bool, Absent> {
    // One byte short of the header that everybody may read, because one more than this is asked for.
    let config = source.bytes(&format!("{DEVICES}/{address}/config"), 63);
    config.map(|(bytes, _)| !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0xff))
}

/// What the port above a device can do: speed in GT/s, lanes.
pub(super) fn slot(source: &Source, address: &str) -> (Result<f64, Absent>, Result<u32, Absent>) {
    match parent(source, address).map(|parent| link(source, &format!("{DEVICES}/{parent}"))) {
        Ok(link) => (link.max_speed_gts.0, link.max_width.0),
        Err(absent) => (Err(absent.clone()), Err(absent)),
    }
}

fn driver(source: &Source, address: &str) -> Result<String, Absent> {
    linked(source, &format!("{DEVICES}/{address}/driver"), "no driver is bound to it")
}

/// The last part of where a link leads.
fn linked(source: &Source, path: &str, without: &str) -> Result<String, Absent> {
    match source.link(path) {
        Ok(target) => Ok(target.rsplit('/').next().unwrap_or_default().to_string()),
        Err(absent) if absent.reason == Reason::NotPresent => Err(Absent::not_present(without)),
        Err(absent) => Err(absent),
    }
}

/// The part that asks the device itself.
fn part<'a>(source: &'a Source, index: usize, device: &PciDevice) -> Part<'a> {
    let address = device.address.clone();
    let place = Place::new(format!("/{index}"), &["dead", "link"], format!("PCI device {address}"), DEVICE_DEADLINE);
    let ask = move || {
        let dead = is_dead(source, &address);
        let link = match dead {
            Ok(true) => link_without(&Absent::failed("the device does not answer")),
            _ => link(source, &format!("{DEVICES}/{address}")),
        };
        parts::fields(&Answer { dead: dead.into(), link: link.into() })
    };
    (place, Box::new(ask))
}

fn link(source: &Source, folder: &str) -> PciLink {
    let read = |name: &str| {
        source.line(&format!("{folder}/{name}")).map_err(|absent| match absent.reason {
            Reason::NotPresent => Absent::not_supported("no PCI Express link"),
            _ => absent,
        })
    };
    let max_width = read("max_link_width").and_then(|width| number::<u32>(&width));
    if max_width == Ok(0) {
        // Devices inside the processor speak PCI Express without having a link.
        return link_without(&Absent::not_supported("no PCI Express link"));
    }
    PciLink {
        speed_gts: read("current_link_speed").and_then(|speed| gts(&speed)).into(),
        width: read("current_link_width").and_then(|width| number(&width)).into(),
        max_speed_gts: read("max_link_speed").and_then(|speed| gts(&speed)).into(),
        max_width: max_width.into(),
    }
}

fn link_without(absent: &Absent) -> PciLink {
    fn fact<T>(absent: &Absent) -> Fact<T> {
        Fact(Err(absent.clone()))
    }
    PciLink { speed_gts: fact(absent), width: fact(absent), max_speed_gts: fact(absent), max_width: fact(absent) }
}

/// `16.0 GT/s PCIe`, `8 GT/s`, `Unknown`.
fn gts(text: &str) -> Result<f64, Absent> {
    if text.starts_with("Unknown") {
        return Err(Absent::not_present("the device names no speed"));
    }
    let speed = text.split(' ').next().and_then(text::decimal);
    speed.ok_or_else(|| Absent::failed(format!("expected a speed, found \"{}\"", clipped(text))))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Absent> {
    text.parse().map_err(|_| Absent::failed(format!("expected a number, found \"{}\"", clipped(text))))
}

/// A file that holds `0x10de`, as `10de`.
fn hex_digits(source: &Source, path: &str) -> Result<String, Absent> {
    let line = source.line(path)?;
    match line.strip_prefix("0x") {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            Ok(digits.to_ascii_lowercase())
        }
        _ => Err(Absent::failed(format!("{path}: expected 0x and digits, found \"{}\"", clipped(&line)))),
    }
}

fn numa_node(source: &Source, path: &str) -> Result<u32, Absent> {
    let node: i64 = source.number(path)?;
    u32::try_from(node).map_err(|_| Absent::not_supported("the firmware names no NUMA node"))
}

fn unlisted() -> Absent {
    Absent::not_present("not in the list of PCI ids")
}

fn vendor_name(id: &str) -> Result<String, Absent> {
    pci_names::vendor(id).map(str::to_string).ok_or_else(unlisted)
}

fn device_name(vendor: &str, device: &Result<String, Absent>) -> Result<String, Absent> {
    let device = device.as_ref().map_err(Clone::clone)?;
    pci_names::device(vendor, device).map(str::to_string).ok_or_else(unlisted)
}

fn class_name(code: &str) -> Result<String, Absent> {
    pci_names::class(code).map(str::to_string).ok_or_else(unlisted)
}

/// The bridge above a device: its folder lies in that of the bridge, `../../../devices/pci0000:9a/BRIDGE/DEVICE`.
fn parent(source: &Source, address: &str) -> Result<String, Absent> {
    match source.link(&format!("{DEVICES}/{address}")) {
        Ok(target) => {
            let above = target.rsplit('/').skip(1).find(|folder| is_address(folder));
            above.map(str::to_string).ok_or_else(|| Absent::not_present("it is on a root bus"))
        }
        Err(_) if source.recorded().is_some() => {
            Err(Absent::new(Reason::NotRecorded, "the recording keeps the devices as plain folders"))
        }
        Err(absent) => Err(absent),
    }
}

/// The device at the other end of a port's link, also when it has gone: a link of PCI Express joins two, and the lower
/// one is device 0 of its bus. `None` for what is no port, and where another port is below.
pub(super) fn below(source: &Source, port: &str) -> Option<String> {
    let folder = format!("{DEVICES}/{port}");
    let there = source.names(&folder).ok()?.into_iter().find(|name| is_address(name));
    let Some(there) = there else {
        let bus: u8 = source.number(&format!("{folder}/secondary_bus_number")).ok()?;
        let domain = port.split(':').next()?;
        return Some(format!("{domain}:{bus:02x}:00.0"));
    };
    let class = source.line(&format!("{DEVICES}/{there}/class")).ok()?;
    (!class.starts_with("0x0604")).then_some(there)
}

/// Slot names by the address of what sits in them, which has no function: `0000:9c:00`.
fn slots(source: &Source) -> Result<HashMap<String, String>, Absent> {
    let names = source.names(SLOTS)?.into_iter();
    Ok(names.filter_map(|name| Some((source.line(&format!("{SLOTS}/{name}/address")).ok()?, name))).collect())
}

fn physical_slot(slots: &Result<HashMap<String, String>, Absent>, address: &str) -> Result<String, Absent> {
    let place = address.rsplit_once('.').map_or(address, |(place, _)| place);
    let slot = slots.as_ref().map_err(Clone::clone)?.get(place).cloned();
    slot.ok_or_else(|| Absent::not_present("the firmware names no slot for it"))
}

/// Whether a folder's name is that of a device: `0000:9c:00.0`.
pub(super) fn is_address(name: &str) -> bool {
    let hex = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        digits.contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    let mut fields = name.split(':');
    let (Some(domain), Some(bus), Some(rest), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    let Some((device, function)) = rest.split_once('.') else { return false };
    hex(domain, 4..=8) && hex(bus, 2..=2) && hex(device, 2..=2) && hex(function, 1..=1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::Recorded;
    use serde_json::Value;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn put(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn ask(dir: &Path) -> Vec<Value> {
        let source = Source::dead(dir, Recorded::default());
        match (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() {
            Value::Array(devices) => devices,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_gpu_below_a_switch_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let gpu = "sys/devices/pci0000:9a/0000:9a:01.0/0000:9b:00.0/0000:9c:00.0";
        for (name, text) in [
            ("vendor", "0x10de\n"),
            ("device", "0x2330\n"),
            ("class", "0x030200\n"),
            ("revision", "0xa1\n"),
            ("subsystem_vendor", "0x10de\n"),
            ("subsystem_device", "0x16C1\n"),
            ("numa_node", "1\n"),
            ("enable", "1\n"),
            ("current_link_speed", "16.0 GT/s PCIe\n"),
            ("current_link_width", "8\n"),
            ("max_link_speed", "32.0 GT/s PCIe\n"),
            ("max_link_width", "16\n"),
        ] {
            put(dir.path(), &format!("{gpu}/{name}"), text);
        }
        put(dir.path(), &format!("{gpu}/config"), [0xde; 64]);
        put(dir.path(), "sys/bus/pci/slots/7/address", "0000:9c:00\n");
        fs::create_dir_all(dir.path().join("sys/bus/pci/devices")).unwrap();
        symlink(format!("../../../../{gpu}"), dir.path().join("sys/bus/pci/devices/0000:9c:00.0")).unwrap();
        symlink("../../../bus/pci/drivers/nvidia", dir.path().join(gpu).join("driver")).unwrap();
        symlink("../../../../kernel/iommu_groups/42", dir.path().join(gpu).join("iommu_group")).unwrap();
        let expected = serde_json::json!([{
            "address": "0000:9c:00.0", "vendor_id": "10de", "device_id": "2330", "vendor": "NVIDIA Corporation",
            "device": "GH100 [H100 SXM5 80GB]", "class_code": "0302", "class": "3D controller", "driver": "nvidia",
            "is_nvidia_gpu": true, "is_nvswitch": false, "is_network": false, "is_storage": false, "is_bridge": false,
            "numa_node": 1, "dead": false, "enabled": true, "revision": "a1", "parent": "0000:9b:00.0",
            "link": {"speed_gts": 16.0, "width": 8, "max_speed_gts": 32.0, "max_width": 16},
            "physical_slot": "7", "iommu_group": 42, "subsystem_vendor_id": "10de", "subsystem_device_id": "16c1",
            "is_virtual_function": false,
        }]);
        assert_eq!(Value::Array(ask(dir.path())), expected);
    }

    #[test]
    fn a_dead_device_says_nothing_of_its_link() {
        let dir = tempfile::tempdir().unwrap();
        let folder = "sys/bus/pci/devices/0000:01:00.0";
        put(dir.path(), &format!("{folder}/config"), [0xff; 64]);
        put(dir.path(), &format!("{folder}/current_link_width"), "63\n");
        put(dir.path(), &format!("{folder}/numa_node"), "-1\n");
        put(dir.path(), &format!("{folder}/vendor"), "garbage\n");
        let devices = ask(dir.path());
        assert_eq!(devices[0]["dead"], true);
        assert_eq!(devices[0]["link"]["width"]["absent"], "failed");
        assert_eq!(devices[0]["numa_node"]["absent"], "not_supported");
        assert_eq!(devices[0]["vendor_id"]["absent"], "failed");
        assert_eq!(devices[0]["is_nvidia_gpu"]["absent"], "failed");
        assert_eq!(devices[0]["driver"]["absent"], "not_present");
        assert_eq!(devices[0]["parent"]["absent"], "not_recorded");
    }

    #[test]
    fn a_device_without_a_link_and_one_whose_link_is_down_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let devices = "sys/bus/pci/devices";
        for (address, file, text) in [
            ("0000:00:00.0", "class", "0x060000\n"),
            ("0000:00:01.0", "max_link_width", "16\n"),
            ("0000:00:01.0", "current_link_width", "0\n"),
            ("0000:00:01.0", "current_link_speed", "Unknown\n"),
            ("0000:00:01.0", "max_link_speed", "8 GT/s\n"),
            ("0000:00:02.0", "max_link_width", "0\n"),
            ("0000:00:02.0", "max_link_speed", "Unknown\n"),
            ("not-a-device", "class", "0x060000\n"),
        ] {
            put(dir.path(), &format!("{devices}/{address}/{file}"), text);
        }
        let devices = ask(dir.path());
        assert_eq!(devices.len(), 3);
        assert_eq!(devices[0]["link"]["max_width"]["absent"], "not_supported");
        assert_eq!(devices[1]["link"]["width"], 0);
        assert_eq!(devices[1]["link"]["speed_gts"]["absent"], "not_present");
        assert_eq!(devices[1]["link"]["max_speed_gts"], 8.0);
        assert_eq!(devices[2]["link"]["max_speed_gts"]["absent"], "not_supported");
    }

    #[test]
    fn names_of_devices_are_told_from_those_of_buses() {
        for name in ["0000:9c:00.0", "10000:e1:00.1"] {
            assert!(is_address(name), "{name}");
        }
        for name in ["pci0000:9a", "0000:9c:00", "0000:9c:00.", "9c:00.0", "0000:9c:00.0:pcie001", ""] {
            assert!(!is_address(name), "{name}");
        }
    }
}
