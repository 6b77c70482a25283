//! `disks`: the drives of this node, and the software RAID on them.

use super::pci::is_address;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, first_present, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use std::str::FromStr;

pub(super) const PROBE: Probe = Probe {
    name: "disks",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Disk>>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

const BLOCK: &str = "/sys/block";
const NVME: &str = "/sys/class/nvme";
/// Of whatever drive, sizes are in units of this many bytes.
const SECTOR: u64 = 512;
/// What lives in memory, on other block devices or in a drive of exchangeable media.
const NO_DISKS: &[&str] = &["loop", "ram", "zram", "dm-", "sr", "fd"];

/// A drive (/sys/block), or an array of several (md). Partitions, loop devices, RAM disks and device-mapper devices are
/// not listed. An NVMe controller without a namespace is: that is how a dead drive looks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "disk", "x-key" = "name"))]
struct Disk {
    /// Its name: `nvme0n1`, `sda`, `md127`; `nvme0` for an NVMe controller without a namespace.
    name: String,
    /// What kind of drive it is.
    kind: Fact<DiskKind>,
    /// Its model (device/model). Absent (not_supported) for what has none.
    model: Fact<String>,
    /// Its serial number (device/serial, device/vpd_pg80). Absent (not_supported) for what tells none.
    serial: Fact<String>,
    /// Version of its firmware (device/firmware_rev, device/rev). Absent (not_supported) for what has none.
    firmware: Fact<String>,
    /// Its size in bytes (size). Absent (not_present) for an NVMe controller without a namespace.
    size_bytes: Fact<u64>,
    /// Whether it can be taken out, such as a USB stick (removable).
    removable: Fact<bool>,
    /// Whether nothing can be written to it (ro).
    read_only: Fact<bool>,
    /// What its controller or its driver says: `live`, `resetting`, `connecting`, `deleting` or `dead` for NVMe
    /// (/sys/class/nvme/*/state), `running`, `offline`, `blocked` and others for SCSI and SATA (device/state). Absent
    /// (not_supported) for others.
    state: Fact<String>,
    /// What it hangs on: `pcie`, `tcp`, `rdma`, `fc` or `loop` for NVMe, else `sata`, `sas`, `usb`, `virtio`, `scsi`.
    /// Absent (not_supported) where nothing says it, (not_recorded) where a recording keeps devices as plain folders.
    transport: Fact<String>,
    /// PCI address of the NVMe controller, or of the adapter that the drive hangs on. Absent (not_supported) for what
    /// hangs on none.
    pci: Fact<String>,
    /// The array, for one of software RAID. Absent (not_supported) for others.
    raid: Fact<Raid>,
}

/// Kinds of drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DiskKind {
    /// An NVMe drive, or what a cloud presents as one.
    Nvme,
    /// Another drive without moving parts.
    Ssd,
    /// A drive that turns.
    Hdd,
    /// A drive that a hypervisor or another machine makes up.
    Virtual,
    /// An array of software RAID.
    Raid,
}

/// An array of software RAID (/sys/block/md*/md).
#[derive(Debug, Serialize, JsonSchema)]
struct Raid {
    /// Its level: `raid1`, `raid10`, `linear` (level).
    level: Fact<String>,
    /// How many drives it should have (raid_disks).
    disks_count: Fact<u64>,
    /// How many of them are missing (degraded). Absent (not_supported) for levels without redundancy.
    degraded_count: Fact<u64>,
    /// `clean`, `active`, `inactive`, `readonly`, `broken` and others (array_state).
    state: Fact<String>,
    /// What it is busy with: `idle`, `check`, `resync`, `recover`, `repair`, `reshape`, `frozen` (sync_action). Absent
    /// (not_supported) for levels without redundancy.
    activity: Fact<String>,
    /// How far it has come with that, in percent (sync_completed). Absent (not_present) while it is idle.
    activity_percent: Fact<f64>,
    /// Places where its copies differed when they were last compared (mismatch_cnt). Swap space and files that are
    /// written meanwhile leave some on raid1 and raid10.
    mismatches: Fact<u64>,
    /// The drives in it (dev-*).
    members: Fact<Vec<RaidMember>>,
}

/// A drive of an array.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct RaidMember {
    /// Its name: `nvme1n1p3`.
    name: String,
    /// Its place in the array. Absent (not_present) for a spare one, and one that was taken out.
    slot: Fact<u64>,
    /// `in_sync`, `spare`, `faulty`, `write_mostly`, `blocked`; several with commas between (state).
    state: Fact<String>,
    /// Read errors that were corrected (errors).
    errors: Fact<u64>,
}

fn observe(source: &Source) -> Result<Vec<Disk>, Absent> {
    let names = source.names(BLOCK)?.into_iter();
    let mut disks: Vec<Disk> = names.filter(|name| is_disk(source, name)).map(|name| disk(source, name)).collect();
    let used: BTreeSet<String> = disks.iter().flat_map(|disk| controllers(source, &disk.name)).collect();
    let all = source.names(NVME).unwrap_or_default().into_iter();
    disks.extend(all.filter(|name| !used.contains(name)).map(|name| empty_controller(source, name)));
    Ok(disks)
}

fn is_disk(source: &Source, name: &str) -> bool {
    let starts =
        |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if NO_DISKS.iter().any(starts) {
        return false;
    }
    // `nvme0c1n1` is one of the paths to `nvme0n1`.
    if name.strip_prefix("nvme").is_some_and(|rest| rest.contains('c')) {
        return false;
    }
    // Nothing is connected there.
    !(name.starts_with("nbd") && source.number::<u64>(&format!("{BLOCK}/{name}/size")) == Ok(0))
}

fn disk(source: &Source, name: String) -> Disk {
    let folder = format!("{BLOCK}/{name}");
    let of_device = |file: &str| text(source, &format!("{folder}/device/{file}"));
    let flag = |file: &str| Fact(source.number::<u8>(&format!("{folder}/{file}")).map(|flag| flag != 0));
    let size = source.number::<u64>(&format!("{folder}/size")).map(|sectors| sectors.saturating_mul(SECTOR));
    let place = source.link(&folder);
    let controller = controllers(source, &name).into_iter().next().map(|controller| format!("{NVME}/{controller}"));
    let of_controller = |file: &str| match &controller {
        Some(controller) => text(source, &format!("{controller}/{file}")),
        None => Err(Absent::not_supported("no NVMe controller")),
    };
    let is_raid = source.exists(&format!("{folder}/md"));
    Disk {
        kind: Fact(kind(source, &name, &folder, is_raid)),
        model: first_present([of_device("model"), of_controller("model")]),
        serial: first_present([
            of_device("serial"),
            of_controller("serial"),
            text(source, &format!("{folder}/serial")),
            vital_product_data(source, &format!("{folder}/device/vpd_pg80")),
        ]),
        firmware: first_present([of_device("firmware_rev"), of_controller("firmware_rev"), of_device("rev")]),
        size_bytes: Fact(size),
        removable: flag("removable"),
        read_only: flag("ro"),
        state: first_present([of_controller("state"), of_device("state")]),
        transport: first_present([of_controller("transport"), transport(source, &name, &place)]),
        pci: first_present([of_controller("address").and_then(pci), above(source, &place)]),
        raid: Fact(if is_raid { Ok(raid(source, &folder)) } else { Err(Absent::not_supported("no software RAID")) }),
        name,
    }
}

/// A controller that shows no drive: its namespaces were deleted, or it died.
fn empty_controller(source: &Source, name: String) -> Disk {
    let read = |file: &str| text(source, &format!("{NVME}/{name}/{file}"));
    fn none<T>() -> Fact<T> {
        Fact(Err(Absent::not_present("the NVMe controller has no namespace")))
    }
    Disk {
        kind: Fact(Ok(DiskKind::Nvme)),
        model: Fact(read("model")),
        serial: Fact(read("serial")),
        firmware: Fact(read("firmware_rev")),
        size_bytes: none(),
        removable: none(),
        read_only: none(),
        state: Fact(read("state")),
        transport: Fact(read("transport")),
        pci: Fact(read("address").and_then(pci)),
        raid: Fact(Err(Absent::not_supported("no software RAID"))),
        name,
    }
}

/// The NVMe controllers that lead to a drive: one, or with multipath those of its subsystem.
fn controllers(source: &Source, disk: &str) -> Vec<String> {
    let Some((number, _)) = disk.strip_prefix("nvme").and_then(|rest| rest.split_once('n')) else { return Vec::new() };
    let is_controller = |name: &String| {
        name.strip_prefix("nvme").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let inside = source.names(&format!("{BLOCK}/{disk}/device")).unwrap_or_default();
    let of_subsystem: Vec<String> = inside.into_iter().filter(is_controller).collect();
    match of_subsystem.is_empty() {
        false => of_subsystem,
        true => {
            Some(format!("nvme{number}")).into_iter().filter(|name| source.exists(&format!("{NVME}/{name}"))).collect()
        }
    }
}

fn kind(source: &Source, name: &str, folder: &str, is_raid: bool) -> Result<DiskKind, Absent> {
    if is_raid {
        return Ok(DiskKind::Raid);
    }
    if name.starts_with("nvme") {
        return Ok(DiskKind::Nvme);
    }
    let vendor = source.line(&format!("{folder}/device/vendor")).unwrap_or_default();
    let made_up = ["vd", "xvd", "nbd", "rbd", "drbd"].iter().any(|prefix| name.starts_with(prefix))
        || ["QEMU", "VMware", "Google", "Msft", "VBOX", "Virtual"].contains(&vendor.as_str())
        || !source.exists(&format!("{folder}/device"));
    if made_up {
        return Ok(DiskKind::Virtual);
    }
    let turns = source.number::<u8>(&format!("{folder}/queue/rotational"))?;
    Ok(if turns == 0 { DiskKind::Ssd } else { DiskKind::Hdd })
}

fn raid(source: &Source, folder: &str) -> Raid {
    let read = |file: &str| of_array(source, &format!("{folder}/md/{file}"));
    let count = |file: &str| {
        Fact(read(file).and_then(|text| {
            // While an array is reshaped: `3 (2)`.
            let number = text.split(' ').next().unwrap_or_default();
            u64::from_str(number).map_err(|_| Absent::failed(format!("{file}: expected a number, found \"{text}\"")))
        }))
    };
    Raid {
        level: Fact(read("level")),
        disks_count: count("raid_disks"),
        degraded_count: count("degraded"),
        state: Fact(read("array_state")),
        activity: Fact(read("sync_action")),
        activity_percent: Fact(read("sync_completed").and_then(|text| completed(&text))),
        mismatches: count("mismatch_cnt"),
        members: Fact(members(source, &format!("{folder}/md"))),
    }
}

/// `1048576 / 4194304`, `none`, `delayed`.
fn completed(text: &str) -> Result<f64, Absent> {
    if matches!(text, "none" | "delayed") {
        return Err(Absent::not_present("nothing is being done"));
    }
    let parts = text.split_once('/').and_then(|(done, all)| {
        Some((done.trim().parse::<f64>().ok()?, all.trim().parse::<f64>().ok().filter(|all| *all > 0.0)?))
    });
    let (done, all) = parts.ok_or_else(|| Absent::failed(format!("sync_completed: \"{}\"", clipped(text))))?;
    Ok(done * 100.0 / all)
}

fn members(source: &Source, folder: &str) -> Result<Vec<RaidMember>, Absent> {
    let names = source.names(folder)?;
    let member = |name: &String| {
        let device = name.strip_prefix("dev-")?;
        let read = |file: &str| of_array(source, &format!("{folder}/{name}/{file}"));
        let slot = read("slot").and_then(|slot| match slot.as_str() {
            "none" => Err(Absent::not_present("it has no place in the array")),
            slot => slot.parse().map_err(|_| Absent::failed(format!("slot: \"{}\"", clipped(slot)))),
        });
        let errors = read("errors")
            .and_then(|errors| errors.parse().map_err(|_| Absent::failed(format!("errors: \"{}\"", clipped(&errors)))));
        Some(RaidMember {
            name: device.to_string(),
            slot: slot.into(),
            state: read("state").into(),
            errors: errors.into(),
        })
    };
    Ok(names.iter().filter_map(member).collect())
}

/// A file of an array, which not every kind of array has, and which is never empty.
fn of_array(source: &Source, path: &str) -> Result<String, Absent> {
    source.word(path).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    })
}

/// A file of a device, which not every device has, and which some leave empty.
fn text(source: &Source, path: &str) -> Result<String, Absent> {
    match source.line(path) {
        Ok(text) if text.is_empty() => Err(Absent::not_supported(format!("{path}: empty"))),
        Err(absent) if absent.reason == Reason::NotPresent => Err(Absent::not_supported(absent.detail)),
        other => other,
    }
}

/// The serial number of a SCSI drive: a head of four bytes, the last of which is the length.
fn vital_product_data(source: &Source, path: &str) -> Result<String, Absent> {
    let page = source.bytes(path, 256).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    })?;
    let serial = page.0.get(4..).map(|serial| &serial[..serial.len().min(usize::from(page.0[3]))]).unwrap_or_default();
    match String::from_utf8_lossy(serial).trim_matches(|c: char| c.is_whitespace() || c.is_control()) {
        "" => Err(Absent::not_supported(format!("{path}: empty"))),
        serial => Ok(serial.to_string()),
    }
}

fn pci(address: String) -> Result<String, Absent> {
    match is_address(&address) {
        true => Ok(address),
        false => Err(Absent::not_supported("not on the PCI bus")),
    }
}

/// The innermost PCI device on the way to a drive: `../devices/pci0000:00/0000:00:1f.2/ata1/...`.
fn above(source: &Source, place: &Result<String, Absent>) -> Result<String, Absent> {
    let place = place.as_ref().map_err(|absent| unlinked(source, absent))?;
    let address = place.rsplit('/').find(|folder| is_address(folder));
    address.map(str::to_string).ok_or_else(|| Absent::not_supported("not on the PCI bus"))
}

fn transport(source: &Source, name: &str, place: &Result<String, Absent>) -> Result<String, Absent> {
    let place = place.as_ref().map_err(|absent| unlinked(source, absent))?;
    let has = |start: &str| place.split('/').any(|folder| folder.starts_with(start));
    let transport = match () {
        () if has("usb") => "usb",
        () if has("ata") => "sata",
        () if has("end_device-") => "sas",
        () if has("virtio") => "virtio",
        () if has("target") && name.starts_with("sd") => "scsi",
        () => return Err(Absent::not_supported("nothing says it")),
    };
    Ok(transport.to_string())
}

fn unlinked(source: &Source, absent: &Absent) -> Absent {
    match source.recorded() {
        Some(_) => Absent::new(Reason::NotRecorded, "the recording keeps the devices as plain folders"),
        None => absent.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::Recorded;
    use serde_json::{Value, json};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn put(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(dir: &Path, target: &str, path: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn ask(dir: &Path) -> Vec<Value> {
        let disks = observe(&Source::dead(dir, Recorded::default())).unwrap();
        disks.iter().map(|disk| serde_json::to_value(disk).unwrap()).collect()
    }

    #[test]
    fn an_nvme_drive_is_read_with_its_controller() {
        let dir = tempfile::tempdir().unwrap();
        let controller = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0";
        for (name, text) in [
            ("model", "Made Up 3.84TB   \n"),
            ("serial", "SN42  \n"),
            ("firmware_rev", "1.0\n"),
            ("state", "live\n"),
            ("transport", "pcie\n"),
            ("address", "0000:01:00.0\n"),
        ] {
            put(dir.path(), &format!("{controller}/{name}"), text);
        }
        for (name, text) in [("size", "7501476528\n"), ("removable", "0\n"), ("ro", "0\n")] {
            put(dir.path(), &format!("{controller}/nvme0n1/{name}"), text);
        }
        link(dir.path(), "../../nvme0", &format!("{controller}/nvme0n1/device"));
        link(dir.path(), &format!("../../../{controller}"), "sys/class/nvme/nvme0");
        link(dir.path(), &format!("../../{controller}/nvme0n1"), "sys/block/nvme0n1");
        put(dir.path(), "sys/block/nvme0c1n1/size", "1\n");
        put(dir.path(), "sys/block/loop0/size", "1\n");
        put(dir.path(), "sys/block/nbd0/size", "0\n");
        let without = json!({"absent": "not_supported", "detail": "no software RAID"});
        let expected = json!([{
            "name": "nvme0n1", "kind": "nvme", "model": "Made Up 3.84TB", "serial": "SN42", "firmware": "1.0",
            "size_bytes": 3_840_755_982_336u64, "removable": false, "read_only": false, "state": "live",
            "transport": "pcie", "pci": "0000:01:00.0", "raid": without,
        }]);
        assert_eq!(Value::Array(ask(dir.path())), expected);
    }

    #[test]
    fn a_controller_that_lost_its_drive_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sys/block")).unwrap();
        put(dir.path(), "sys/class/nvme/nvme3/state", "dead\n");
        put(dir.path(), "sys/class/nvme/nvme3/address", "0000:81:00.0\n");
        let disks = ask(dir.path());
        assert_eq!((&disks[0]["name"], &disks[0]["state"]), (&json!("nvme3"), &json!("dead")));
        assert_eq!(disks[0]["pci"], "0000:81:00.0");
        assert_eq!(disks[0]["size_bytes"]["absent"], "not_present");
        assert_eq!(disks[0]["serial"]["absent"], "not_supported");
    }

    #[test]
    fn with_multipath_the_controllers_of_the_subsystem_count() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "sys/block/nvme0n1/size", "8\n");
        put(dir.path(), "sys/block/nvme0n1/device/nvme4/state", "live\n");
        put(dir.path(), "sys/block/nvme0n1/device/model", "Two Ports\n");
        put(dir.path(), "sys/class/nvme/nvme4/state", "live\n");
        put(dir.path(), "sys/class/nvme/nvme5/state", "dead\n");
        let disks = ask(dir.path());
        assert_eq!((&disks[0]["state"], &disks[0]["model"]), (&json!("live"), &json!("Two Ports")));
        assert_eq!((disks.len(), &disks[1]["name"]), (2, &json!("nvme5")));
    }

    #[test]
    fn turning_drives_virtual_ones_and_arrays_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let sda = "sys/devices/pci0000:00/0000:00:17.0/ata3/host2/target2:0:0/2:0:0:0/block/sda";
        put(dir.path(), &format!("{sda}/queue/rotational"), "1\n");
        put(dir.path(), &format!("{sda}/size"), "many\n");
        put(dir.path(), &format!("{sda}/device/vpd_pg80"), b"\0\x80\0\x06  WD42trailing");
        put(dir.path(), &format!("{sda}/device/state"), "offline\n");
        link(dir.path(), &format!("../../{sda}"), "sys/block/sda");
        put(dir.path(), "sys/block/vda/size", "16\n");
        put(dir.path(), "sys/block/md0/md/level", "raid1\n");
        put(dir.path(), "sys/block/md0/md/degraded", "1\n");
        put(dir.path(), "sys/block/md0/md/raid_disks", "3 (2)\n");
        put(dir.path(), "sys/block/md0/md/array_state", "clean\n");
        let disks = ask(dir.path());
        let kinds: Vec<_> = disks.iter().map(|disk| disk["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["raid", "hdd", "virtual"]);
        assert_eq!(disks[0]["raid"]["degraded_count"], 1);
        assert_eq!(disks[0]["raid"]["disks_count"], 3);
        assert_eq!(disks[0]["raid"]["activity"]["absent"], "not_supported");
        assert_eq!((&disks[1]["serial"], &disks[1]["transport"]), (&json!("WD42"), &json!("sata")));
        assert_eq!((&disks[1]["pci"], &disks[1]["state"]), (&json!("0000:00:17.0"), &json!("offline")));
        assert_eq!(disks[1]["size_bytes"]["absent"], "failed");
        assert_eq!(disks[2]["transport"]["absent"], "not_recorded");
        assert_eq!(disks[2]["raid"]["absent"], "not_supported");
    }

    #[test]
    fn what_an_array_is_busy_with_and_its_members_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("dev-sda1/state", "in_sync\n"),
            ("dev-sda1/slot", "0\n"),
            ("dev-sda1/errors", "3\n"),
            ("dev-sdb1/state", "spare\n"),
            ("dev-sdb1/slot", "none\n"),
            ("dev-sdb1/errors", "x\n"),
            ("rd0", ""),
        ] {
            put(dir.path(), &format!("md/{file}"), text);
        }
        let source = Source::dead(dir.path(), Recorded::default());
        let members = members(&source, "/md").unwrap();
        assert_eq!((members.len(), &members[0].errors, &members[0].slot), (2, &Fact(Ok(3)), &Fact(Ok(0))));
        assert_eq!(members[1].slot.0.as_ref().unwrap_err().reason, Reason::NotPresent);
        assert_eq!(members[1].errors.0.as_ref().unwrap_err().reason, Reason::Failed);
        assert_eq!((completed("25 / 100"), completed("none").is_err()), (Ok(25.0), true));
        for garbage in ["", "1 / 0", "a / b", "7"] {
            assert_eq!(completed(garbage).unwrap_err().reason, Reason::Failed, "{garbage}");
        }
    }
}
