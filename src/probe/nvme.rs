//! `nvme`: what NVMe drives say of their own health.

use super::parts::{self, Part, Place};
use super::source::{Source, absent_from_io};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "nvme",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Controller>>,
    arguments: None,
    ask: |source, _, progress| {
        let controllers = observe(source)?;
        let parts = controllers.iter().enumerate().map(|(index, controller)| part(source, index, controller)).collect();
        Ok(parts::ask(answer(&controllers)?, parts, progress))
    },
};

const CONTROLLERS: &str = "/sys/class/nvme";
/// How long one drive may take to answer. The kernel gives up before, so that the drive is not reset for our sake.
const DRIVE_DEADLINE: Duration = Duration::from_secs(6);
const COMMAND_TIMEOUT_MS: u32 = 5000;
/// The health log has this many bytes (NVM Express Base Specification, "SMART / Health Information").
const LOG_BYTES: usize = 512;
/// A unit of data read or written: a thousand blocks of 512 bytes.
const DATA_UNIT: f64 = 512_000.0;

/// An NVMe controller, which for most drives is the drive (/sys/class/nvme).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "nvme", "x-key" = "name"))]
struct Controller {
    /// Its name: `nvme0`.
    name: String,
    /// Its model (model).
    model: Fact<String>,
    /// Its serial number (serial).
    serial: Fact<String>,
    /// Version of its firmware (firmware_rev).
    firmware: Fact<String>,
    /// `live`, `resetting`, `connecting`, `deleting` or `dead` (state).
    state: Fact<String>,
    /// What it hangs on: `pcie`, `tcp`, `rdma`, `fc`, `loop` (transport).
    transport: Fact<String>,
    /// PCI address of the controller, for one on the PCI bus (address).
    address: Fact<String>,
    /// Its namespaces, which are what data is kept in: `nvme0n1`, or `nvme0c0n1` for a path to one. Absent (not_recorded)
    /// where a recording keeps none.
    namespaces: Fact<Vec<String>>,
    /// What the drive says of its own health (its log page 2). Absent (denied) for others than root.
    health: Fact<Health>,
}

/// What a drive says of its own health.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Health {
    /// What it warns of, of: `spare_low`, `temperature`, `reliability`, `read_only`, `backup_failed`,
    /// `persistent_memory`; empty when of nothing.
    warnings: Vec<String>,
    /// Its temperature in degrees Celsius. Absent (not supported) for drives without a sensor.
    temperature_c: Fact<f64>,
    /// Spare blocks that are left, in percent of those it was made with.
    spare_percent: u64,
    /// The least share of spare blocks that its maker calls healthy, in percent.
    spare_threshold_percent: u64,
    /// The share of its rated life that is used up, in percent; it may go beyond 100.
    used_percent: u64,
    /// What was written to it, in bytes, as a floating-point number.
    written_bytes: f64,
    /// For how long it has been on, in hours.
    power_on_hours: u64,
    /// How often its power went without a warning.
    unsafe_shutdowns: u64,
    /// Data that it could not read back or write rightly.
    media_errors: u64,
    /// Entries of its error log; commands that it did not know count too.
    error_log_entries: u64,
    /// For how long it was warmer than where it warns, in minutes.
    warm_minutes: u64,
    /// For how long it was warmer than where it is in danger, in minutes.
    hot_minutes: u64,
}

/// The field that a drive's part answers.
#[derive(Serialize)]
struct Answer {
    health: Fact<Health>,
}

fn observe(source: &Source) -> Result<Vec<Controller>, Absent> {
    let names = match source.names(CONTROLLERS) {
        Err(absent) if absent.reason == Reason::NotPresent => return Ok(Vec::new()),
        names => names?,
    };
    let is_controller = |name: &String| {
        name.strip_prefix("nvme").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut controllers: Vec<_> =
        names.into_iter().filter(is_controller).map(|name| controller(source, name)).collect();
    let is_empty = |one: &Controller| one.namespaces.value().is_none_or(Vec::is_empty);
    if source.recorded().is_some() && controllers.iter().all(is_empty) {
        for one in &mut controllers {
            one.namespaces = Fact(Err(Absent::new(Reason::NotRecorded, "the namespaces were not recorded")));
        }
    }
    Ok(controllers)
}

/// The namespaces of a controller: folders of its own, or block devices that hang on it where a recording has only those.
fn namespaces(source: &Source, controller: &str) -> Result<Vec<String>, Absent> {
    let is_namespace = |name: &String| {
        let rest = name.strip_prefix("nvme").map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        rest.is_some_and(|rest| rest.starts_with('n') || rest.starts_with('c'))
    };
    let mut found: Vec<String> =
        source.names(&format!("{CONTROLLERS}/{controller}"))?.into_iter().filter(is_namespace).collect();
    if !found.is_empty() {
        found.sort_unstable();
        return Ok(found);
    }
    let hangs_on_it = |name: &String| {
        let device = source.link(&format!("/sys/block/{name}/device"));
        device.is_ok_and(|device| device.rsplit('/').next() == Some(controller))
    };
    let mut blocks = source.names("/sys/block").unwrap_or_default();
    blocks.retain(|name| is_namespace(name) && hangs_on_it(name));
    blocks.sort_unstable();
    Ok(blocks)
}

fn controller(source: &Source, name: String) -> Controller {
    let read = |file: &str| Fact(source.word(&format!("{CONTROLLERS}/{name}/{file}")));
    Controller {
        model: read("model"),
        serial: read("serial"),
        firmware: read("firmware_rev"),
        state: read("state"),
        transport: read("transport"),
        address: read("address"),
        namespaces: Fact(namespaces(source, &name)),
        health: parts::pending(),
        name,
    }
}

/// The part that asks the drive itself.
fn part<'a>(source: &'a Source, index: usize, controller: &Controller) -> Part<'a> {
    let name = controller.name.clone();
    // A drive on another machine is healthy or not whoever asks; it is that machine's to say.
    let local = controller.transport.value().is_none_or(|transport| transport == "pcie");
    let live = controller.state.value().is_none_or(|state| state == "live");
    let state = controller.state.value().cloned().unwrap_or_default();
    let place = Place::new(format!("/{index}"), &["health"], format!("NVMe drive {name}"), DRIVE_DEADLINE);
    let ask = move || {
        let health = match (local, live) {
            (false, _) => Err(Absent::not_supported("the drive is on another machine")),
            (_, false) => Err(Absent::failed(format!("the controller is {state}"))),
            _ => log_of(source, &name).and_then(|log| health(&log)),
        };
        parts::fields(&Answer { health: health.into() })
    };
    (place, Box::new(ask))
}

/// The health log of a drive, as its bytes.
fn log_of(source: &Source, name: &str) -> Result<Vec<u8>, Absent> {
    let path = format!("/dev/{name}");
    if let Some(recorded) = source.recorded() {
        let log = recorded.nvme_health.get(name).map(|digits| from_hex(digits));
        let unrecorded = || Absent::new(Reason::NotRecorded, format!("the health log of {name} was not recorded"));
        return log.unwrap_or_else(|| Err(unrecorded()));
    }
    let file = source.open(&path).map_err(|absent| match absent.reason {
        Reason::Denied => Absent::denied(format!("{path}: only root may ask a drive for its health")),
        _ => absent,
    })?;
    ask_drive(&file, &path)
}

/// The recorded bytes; those at the end that are zero may be left out.
fn from_hex(digits: &str) -> Result<Vec<u8>, Absent> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let mut bytes: Vec<u8> = digits
        .chunks(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| Absent::failed("the recorded health log is not hexadecimal"))?;
    bytes.resize(LOG_BYTES.max(bytes.len()), 0);
    Ok(bytes)
}

/// A command to the controller (linux/nvme_ioctl.h, struct nvme_admin_cmd).
#[repr(C)]
#[derive(Default)]
struct AdminCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    words_2_3: [u32; 2],
    metadata: u64,
    data: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    words_10_15: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

/// `_IOWR('N', 0x41, struct nvme_admin_cmd)`.
const NVME_IOCTL_ADMIN_CMD: u32 = 0xC048_4E41;
const _: () = assert!(size_of::<AdminCommand>() == 0x48);

fn ask_drive(file: &File, path: &str) -> Result<Vec<u8>, Absent> {
    const GET_LOG_PAGE: u8 = 0x02;
    const HEALTH: u32 = 0x02;
    let mut log = vec![0_u8; LOG_BYTES];
    let mut command = AdminCommand {
        opcode: GET_LOG_PAGE,
        // Of the whole controller.
        namespace: u32::MAX,
        data: log.as_mut_ptr() as u64,
        data_bytes: LOG_BYTES as u32,
        // The length is given in words of four bytes, less one.
        words_10_15: [HEALTH | ((LOG_BYTES as u32 / 4 - 1) << 16), 0, 0, 0, 0, 0],
        timeout_ms: COMMAND_TIMEOUT_MS,
        ..AdminCommand::default()
    };
    // SAFETY: the command is laid out as the kernel wants it, and the kernel writes no more than `data_bytes` to `log`,
    // which lives until the call is over. It only reads from the drive.
    let status = unsafe { libc::ioctl(file.as_raw_fd(), NVME_IOCTL_ADMIN_CMD as _, &raw mut command) };
    match status {
        0 => Ok(log),
        -1 => Err(match absent_from_io(path, &std::io::Error::last_os_error()) {
            absent if absent.detail.contains("inappropriate ioctl") => Absent::not_supported(absent.detail),
            absent => absent,
        }),
        // A status of the drive itself (NVMe specification, "Status Field").
        status => Err(Absent::failed(format!("{path}: the drive answered with status {status:#x}"))),
    }
}

fn health(log: &[u8]) -> Result<Health, Absent> {
    if log.len() < LOG_BYTES || log.iter().all(|byte| *byte == 0xff) || log.iter().all(|byte| *byte == 0) {
        return Err(Absent::failed("the drive's health log is empty"));
    }
    // Counters have 16 bytes; none that is honest needs more than 8.
    let count = |at: usize| {
        let bytes: [u8; 16] = log[at..at + 16].try_into().unwrap_or_default();
        u64::try_from(u128::from_le_bytes(bytes)).unwrap_or(u64::MAX)
    };
    let minutes = |at: usize| u64::from(u32::from_le_bytes([log[at], log[at + 1], log[at + 2], log[at + 3]]));
    const WARNINGS: [&str; 6] =
        ["spare_low", "temperature", "reliability", "read_only", "backup_failed", "persistent_memory"];
    let warned = |bit: &usize| log[0] & (1 << bit) != 0;
    let kelvin = u16::from_le_bytes([log[1], log[2]]);
    Ok(Health {
        warnings: (0..WARNINGS.len()).filter(warned).map(|bit| WARNINGS[bit].to_string()).collect(),
        temperature_c: Fact(match kelvin {
            0 => Err(Absent::not_supported("the drive tells no temperature")),
            200..=500 => Ok(f64::from(kelvin) - 273.0),
            _ => Err(Absent::failed(format!("{kelvin} K cannot be"))),
        }),
        spare_percent: log[3].into(),
        spare_threshold_percent: log[4].into(),
        used_percent: log[5].into(),
        written_bytes: count(48) as f64 * DATA_UNIT,
        power_on_hours: count(128),
        unsafe_shutdowns: count(144),
        media_errors: count(160),
        error_log_entries: count(176),
        warm_minutes: minutes(192),
        hot_minutes: minutes(196),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, tree_of};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    /// A log of a drive that warns of `warnings` and is 27 °C warm.
    fn log(warnings: u8, spare: u8, used: u8, media_errors: u64) -> Vec<u8> {
        let mut log = vec![0; LOG_BYTES];
        log[..6].copy_from_slice(&[warnings, 0x2c, 0x01, spare, 10, used]);
        log[48] = 2;
        log[160..168].copy_from_slice(&media_errors.to_le_bytes());
        log
    }

    #[test]
    fn the_log_is_read_as_the_specification_has_it() {
        let health = health(&log(0b1001, 5, 104, 17)).unwrap();
        assert_eq!(health.warnings, ["spare_low", "read_only"]);
        assert_eq!((health.spare_percent, health.spare_threshold_percent, health.used_percent), (5, 10, 104));
        assert_eq!(
            (health.temperature_c, health.media_errors, health.written_bytes),
            (Fact(Ok(27.0)), 17, 1_024_000.0)
        );
    }

    #[test]
    fn logs_that_say_nothing_are_refused() {
        for log in [vec![], vec![0; 511], vec![0; 512], vec![0xff; 512]] {
            assert_eq!(health(&log).unwrap_err().reason, Reason::Failed);
        }
        let mut huge = log(0, 100, 0, u64::MAX);
        huge[168..176].fill(0xff);
        (huge[1], huge[2]) = (0xff, 0xff);
        let health = health(&huge).unwrap();
        assert_eq!(health.media_errors, u64::MAX);
        assert_eq!(health.temperature_c.0.unwrap_err().reason, Reason::Failed);
    }

    #[test]
    fn each_drive_is_asked_unless_it_is_dead_or_elsewhere() {
        let digits: String = log(0, 100, 3, 0).iter().map(|byte| format!("{byte:02x}")).collect();
        let nvme_health = BTreeMap::from([("nvme0".to_string(), digits), ("nvme1".to_string(), "0x".to_string())]);
        let folder = |name: &str, file: &str| format!("sys/class/nvme/{name}/{file}");
        let (_dir, source) = tree_of(
            &[
                (&folder("nvme0", "state"), "live\n"),
                (&folder("nvme0", "transport"), "pcie\n"),
                (&folder("nvme1", "state"), "live\n"),
                (&folder("nvme2", "state"), "dead\n"),
                (&folder("nvme3", "transport"), "tcp\n"),
                (&folder("nvme4", "state"), "live\n"),
                (&folder("nvme-subsys0", "model"), "x"),
            ],
            Recorded { nvme_health, ..Default::default() },
        );
        let Value::Array(drives) = (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() else { panic!() };
        assert_eq!(drives.len(), 5);
        assert_eq!(drives[0]["health"]["used_percent"], 3);
        let reasons: Vec<&Value> = drives[1..].iter().map(|drive| &drive["health"]["absent"]).collect();
        assert_eq!(reasons, [&json!("failed"), &json!("failed"), &json!("not_supported"), &json!("not_recorded")]);
    }

    #[test]
    fn the_namespaces_of_a_drive_are_its_own_whatever_their_numbers() {
        let folder = |name: &str, file: &str| format!("sys/class/nvme/{name}/{file}");
        let (dir, source) = tree_of(
            &[
                // A path to a namespace that several controllers share, which bears another number.
                (&folder("nvme0", "nvme3c0n1/size"), "1\n"),
                (&folder("nvme0", "ng0n1/dev"), "1\n"),
                (&folder("nvme1", "state"), "live\n"),
                (&folder("nvme2", "state"), "live\n"),
                ("sys/block/nvme2n1/size", "1\n"),
            ],
            Recorded::default(),
        );
        let link = dir.path().join("sys/block/nvme2n1/device");
        std::os::unix::fs::symlink("../../class/nvme/nvme2", link).unwrap();
        let Value::Array(drives) = (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() else { panic!() };
        let found: Vec<&Value> = drives.iter().map(|drive| &drive["namespaces"]).collect();
        assert_eq!(found, [&json!(["nvme3c0n1"]), &json!([]), &json!(["nvme2n1"])]);
        let (_dir, source) = tree_of(&[(&folder("nvme0", "state"), "live\n")], Recorded::default());
        let Value::Array(drives) = (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() else { panic!() };
        assert_eq!(drives[0]["namespaces"]["absent"], "not_recorded");
    }

    #[test]
    fn a_file_that_is_no_drive_is_not_supported() {
        let file = File::open("/dev/null").unwrap();
        let absent = ask_drive(&file, "/dev/null").unwrap_err();
        assert_eq!(absent.reason, Reason::NotSupported, "{absent}");
    }
}
