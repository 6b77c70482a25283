//! `host`: which machine this is.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, first_present, schema_of};
use crate::fact::{Absent, Fact, Reason};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "host",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Host>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

/// The start of /proc/cpuinfo that holds the flags of the first processor; all of it is long on large machines.
const FIRST_PROCESSOR: u64 = 16 << 10;

/// Which machine this is, what it runs and since when.
#[derive(Debug, Serialize, JsonSchema)]
struct Host {
    /// The host name as the kernel has it (/proc/sys/kernel/hostname, else /etc/hostname; of another root only the
    /// latter).
    name: Fact<String>,
    /// The host name up to its first dot, as schedulers use it.
    short_name: Fact<String>,
    /// When the node was asked (RFC 3339, UTC).
    time: String,
    /// When the node was booted (RFC 3339, UTC; from /proc/uptime).
    boot_time: Fact<String>,
    /// Seconds since the node was booted (/proc/uptime).
    uptime_seconds: Fact<u64>,
    /// Whether root asked. What is denied to others is absent (denied) then.
    is_root: bool,
    /// The hardware name: `x86_64`, `aarch64` (uname -m).
    architecture: Fact<String>,
    /// The operating system (/etc/os-release).
    os: Os,
    /// What the node runs on: `none` for a physical one (from the processor's hypervisor flag, DMI and clock sources).
    /// Absent (not_supported) where nothing of these says it.
    virtualization: Fact<Virtualization>,
    /// What container the asked root is that of: `none` for a host (/run/systemd/container, /.dockerenv,
    /// /run/.containerenv, /proc/1/environ, /proc/1/cgroup).
    container: Container,
    /// What the board's firmware says. Absent (not_present) on machines without DMI.
    dmi: Dmi,
}

/// The operating system, from /etc/os-release.
#[derive(Debug, Serialize, JsonSchema)]
struct Os {
    /// Its short name: `ubuntu`, `rhel`, `rocky` (ID).
    id: Fact<String>,
    /// Its whole name: `Ubuntu 22.04.4 LTS` (PRETTY_NAME).
    name: Fact<String>,
    /// Its version: `22.04` (VERSION_ID). Absent (not_supported) for systems without versions.
    version: Fact<String>,
}

/// What a node runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Virtualization {
    /// A physical machine.
    None,
    /// KVM.
    Kvm,
    /// VMware.
    Vmware,
    /// Xen.
    Xen,
    /// Hyper-V, also in Azure.
    Hyperv,
    /// An instance of Amazon EC2.
    Amazon,
    /// An instance of Google Compute Engine.
    Google,
    /// QEMU, with or without KVM.
    Qemu,
    /// Some other hypervisor.
    Other,
}

/// What container a root belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Container {
    /// No container.
    None,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// A pod of Kubernetes.
    Kubernetes,
    /// LXC.
    Lxc,
    /// systemd-nspawn.
    SystemdNspawn,
    /// Some other one.
    Other,
}

/// What the firmware says of the machine, from /sys/class/dmi/id; a field that the vendor left empty is absent
/// (not_supported).
#[derive(Debug, Serialize, JsonSchema)]
struct Dmi {
    /// Who made the machine (sys_vendor).
    vendor: Fact<String>,
    /// The machine's model (product_name).
    product: Fact<String>,
    /// The version of that model (product_version).
    product_version: Fact<String>,
    /// The machine's serial number (product_serial). Only root may read it.
    serial: Fact<String>,
    /// The main board's model (board_name).
    board: Fact<String>,
    /// Who made the firmware (bios_vendor).
    bios_vendor: Fact<String>,
    /// The firmware's version (bios_version).
    bios_version: Fact<String>,
    /// The firmware's date, as its vendor writes it: `11/22/2024` (bios_date).
    bios_date: Fact<String>,
    /// The form of the machine by its SMBIOS number: 17 server, 23 rack mounted, 25 multi-system, 28 blade …
    /// (chassis_type).
    chassis_type: Fact<u64>,
}

fn observe(source: &Source) -> Host {
    let name = first_present(host_names(source));
    let uptime = uptime(source);
    let dmi = dmi(source);
    Host {
        short_name: Fact(name.0.clone().map(|name| name.split('.').next().unwrap_or_default().to_string())),
        name,
        time: rfc3339(source.now()),
        boot_time: Fact(uptime.clone().and_then(|seconds| boot_time(source.now(), seconds))),
        uptime_seconds: Fact(uptime),
        is_root: source.uid() == 0,
        architecture: Fact(architecture(source)),
        os: os(source),
        virtualization: Fact(virtualization(source, &dmi)),
        container: container(source),
        dmi,
    }
}

/// The host name, by each way to learn it.
pub(super) fn host_names(source: &Source) -> Vec<Result<String, Absent>> {
    let read = |path: &str| match source.line(path) {
        Ok(name) if name.is_empty() => Err(Absent::not_present(format!("{path}: empty"))),
        other => other,
    };
    let mut ways = vec![read("/etc/hostname")];
    // The kernel answers with the name that the asking process sees, so below another root it is not the host's.
    if source.is_live() || source.recorded().is_some() {
        ways.insert(0, read("/proc/sys/kernel/hostname"));
    }
    ways
}

/// The name of the asked node, where it can be told.
pub fn node_name(source: &Source) -> Option<String> {
    first_present(host_names(source)).0.ok()
}

/// A moment as reports write it: `2026-11-22T10:14:03Z`.
pub(super) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// /proc/uptime: `1234.56 9876.54`, seconds since boot and seconds idle.
pub(super) fn uptime(source: &Source) -> Result<u64, Absent> {
    let line = source.line("/proc/uptime")?;
    let seconds = line.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
    seconds.ok_or_else(|| Absent::failed("/proc/uptime: does not begin with a number"))
}

/// From the uptime, because the one number of /proc/stat that says it comes after a line that takes the kernel long.
fn boot_time(now: DateTime<Utc>, uptime: u64) -> Result<String, Absent> {
    let since = i64::try_from(uptime).ok().and_then(TimeDelta::try_seconds);
    let booted = since.and_then(|since| now.checked_sub_signed(since));
    booted.map(rfc3339).ok_or_else(|| Absent::failed(format!("/proc/uptime: {uptime} seconds")))
}

pub(super) fn architecture(source: &Source) -> Result<String, Absent> {
    match source.recorded() {
        None => Ok(sysinfo::System::cpu_arch()),
        Some(recorded) => {
            recorded.architecture.clone().ok_or_else(|| Absent::new(Reason::NotRecorded, "the hardware name"))
        }
    }
}

fn os(source: &Source) -> Os {
    let release = first_present(["/etc/os-release", "/usr/lib/os-release"].map(|path| source.text(path)));
    let value = |key: &str| Fact(release.0.clone().and_then(|text| os_release(&text, key)));
    Os { id: value("ID"), name: value("PRETTY_NAME"), version: value("VERSION_ID") }
}

/// One value of os-release(5): `KEY=value`, quoted as in a shell.
fn os_release(text: &str, key: &str) -> Result<String, Absent> {
    let value = text.lines().rev().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
    let value = value.ok_or_else(|| Absent::not_supported(format!("/etc/os-release has no {key}")))?.trim();
    if let Some(plain) = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        return Ok(plain.to_string());
    }
    let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let mut plain = String::new();
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    Ok(plain)
}

fn dmi(source: &Source) -> Dmi {
    let text = |name: &str| {
        let path = format!("/sys/class/dmi/id/{name}");
        Fact(source.line(&path).and_then(|text| match text.is_empty() {
            true => Err(Absent::not_supported(format!("{path}: empty"))),
            false => Ok(text),
        }))
    };
    Dmi {
        vendor: text("sys_vendor"),
        product: text("product_name"),
        product_version: text("product_version"),
        serial: text("product_serial"),
        board: text("board_name"),
        bios_vendor: text("bios_vendor"),
        bios_version: text("bios_version"),
        bios_date: text("bios_date"),
        chassis_type: Fact(source.number("/sys/class/dmi/id/chassis_type")),
    }
}

fn virtualization(source: &Source, dmi: &Dmi) -> Result<Virtualization, Absent> {
    let cpuinfo = source.bytes("/proc/cpuinfo", FIRST_PROCESSOR).map(|(bytes, _)| bytes).unwrap_or_default();
    let cpuinfo = String::from_utf8_lossy(&cpuinfo);
    // Of the architectures here only x86 has such a flag; where there are no flags at all it says nothing.
    let flagged = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"));
    let clocks = source.line("/sys/devices/system/clocksource/clocksource0/available_clocksource").unwrap_or_default();
    let device_tree = source.line("/proc/device-tree/hypervisor/compatible").unwrap_or_default();
    let known = [&dmi.vendor, &dmi.product, &dmi.bios_vendor].map(|fact| fact.value().map_or("", String::as_str));
    if flagged == Some(false) {
        return Ok(Virtualization::None);
    }
    match hypervisor(known, &format!("{clocks} {device_tree}")) {
        Some(found) => Ok(found),
        None if flagged == Some(true) => Ok(Virtualization::Other),
        None if dmi.vendor.0.is_ok() => Ok(Virtualization::None),
        None => Err(Absent::not_supported("neither the processor nor the firmware says it")),
    }
}

/// The hypervisor that DMI names, else the one whose clock the kernel found: a cloud's KVM is the cloud's first.
fn hypervisor([vendor, product, bios]: [&str; 3], clocks: &str) -> Option<Virtualization> {
    let dmi = match (vendor, product) {
        ("Amazon EC2", product) if product.contains(".metal") => return None,
        ("Amazon EC2", _) => Some(Virtualization::Amazon),
        ("Google", _) => Some(Virtualization::Google),
        ("Microsoft Corporation", "Virtual Machine") => Some(Virtualization::Hyperv),
        (vendor, _) if vendor.starts_with("VMware") => Some(Virtualization::Vmware),
        (vendor, _) if vendor == "Xen" || bios == "Xen" => Some(Virtualization::Xen),
        _ => None,
    };
    let by_clock = || match clocks {
        clocks if clocks.contains("kvm") => Some(Virtualization::Kvm),
        clocks if clocks.contains("xen") => Some(Virtualization::Xen),
        clocks if clocks.contains("hyperv") => Some(Virtualization::Hyperv),
        _ if product == "KVM" || product.starts_with("OpenStack") => Some(Virtualization::Kvm),
        _ if vendor == "QEMU" => Some(Virtualization::Qemu),
        _ => None,
    };
    dmi.or_else(by_clock)
}

fn container(source: &Source) -> Container {
    let environment = source.text("/proc/1/environ").unwrap_or_default();
    let of_init = |key: &str| environment.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let groups = source.text("/proc/1/cgroup").unwrap_or_default();
    if source.exists("/run/secrets/kubernetes.io")
        || of_init("KUBERNETES_SERVICE_HOST").is_some()
        || groups.contains("kubepods")
    {
        return Container::Kubernetes;
    }
    let told = source.line("/run/systemd/container").ok();
    match told.as_deref().or(of_init("container")).filter(|word| !word.is_empty()) {
        Some("docker") => Container::Docker,
        Some("podman") => Container::Podman,
        Some("lxc" | "lxc-libvirt") => Container::Lxc,
        Some("systemd-nspawn") => Container::SystemdNspawn,
        Some("oci") | None => container_by_traces(source, &groups, told.is_some()),
        Some(_) => Container::Other,
    }
}

fn container_by_traces(source: &Source, groups: &str, told: bool) -> Container {
    let any = |words: &[&str]| words.iter().any(|word| groups.contains(word));
    match () {
        () if source.exists("/run/.containerenv") || any(&["libpod"]) => Container::Podman,
        () if any(&["/docker/", "/docker-"]) => Container::Docker,
        () if source.exists("/.dockerenv") && !is_a_machine_from_an_image(source) => Container::Docker,
        () if any(&["/lxc/", "/lxc.payload"]) => Container::Lxc,
        () if told => Container::Other,
        () => Container::None,
    }
}

/// Whether this is a (virtual) machine whose disk was made from a container's image, which brings `/.dockerenv` along:
/// the kernel's own threads are seen, and the root is a disk. A container that sees the host's processes has a root of
/// its own kind.
fn is_a_machine_from_an_image(source: &Source) -> bool {
    let sees_kernel_threads = source.text("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd");
    // mount id, parent, device, root, mount point, options, optional fields, "-", type, source (proc_pid_mountinfo(5))
    let is_disk = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(4)? == "/")
            .then(|| after.split(' ').nth(1).is_some_and(|disk| disk.starts_with("/dev/")))
    };
    let mounts = source.text("/proc/self/mountinfo").or_else(|_| source.text("/proc/1/mountinfo")).unwrap_or_default();
    sees_kernel_threads && mounts.lines().filter_map(is_disk).next_back() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let recorded = "2026-03-01T12:00:00Z".parse().unwrap();
        tree_of(files, Recorded { recorded, uid: 7, ..Default::default() })
    }

    #[test]
    fn an_empty_machine_has_reasons_for_everything() {
        let (_dir, source) = tree(&[]);
        let host = observe(&source);
        assert_eq!(host.name.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(host.architecture.0.unwrap_err().reason, Reason::NotRecorded);
        assert_eq!(host.os.id.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(host.virtualization.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!((host.container, host.is_root), (Container::None, false));
    }

    #[test]
    fn the_boot_time_is_the_time_of_asking_less_the_uptime() {
        let (_dir, source) =
            tree(&[("proc/uptime", "3661.99 10.00\n"), ("proc/sys/kernel/hostname", "n1.example.org\n")]);
        let host = observe(&source);
        assert_eq!(host.uptime_seconds, Fact(Ok(3661)));
        assert_eq!(host.boot_time, Fact(Ok("2026-03-01T10:58:59Z".into())));
        assert_eq!((host.name, host.short_name), (Fact(Ok("n1.example.org".into())), Fact(Ok("n1".into()))));
        assert!(boot_time(source.now(), u64::MAX).is_err());
        let (_dir, source) = tree(&[("proc/uptime", "soon\n")]);
        assert_eq!(observe(&source).uptime_seconds.0.unwrap_err().reason, Reason::Failed);
    }

    #[test]
    fn os_release_is_unquoted_as_a_shell_does_it() {
        let text = "ID=made\nPRETTY_NAME=\"Made \\\"Up\\\" 1\"\nVERSION_ID='1.0'\n";
        assert_eq!(os_release(text, "ID"), Ok("made".into()));
        assert_eq!(os_release(text, "PRETTY_NAME"), Ok("Made \"Up\" 1".into()));
        assert_eq!(os_release(text, "VERSION_ID"), Ok("1.0".into()));
        assert_eq!(os_release(text, "VERSION").unwrap_err().reason, Reason::NotSupported);
    }

    #[test]
    fn a_physical_machine_is_told_from_a_virtual_one() {
        let of = |flags: &str, vendor: &str, product: &str, clocks: &str| {
            let (_dir, source) = tree(&[
                ("proc/cpuinfo", flags),
                ("sys/class/dmi/id/sys_vendor", vendor),
                ("sys/class/dmi/id/product_name", product),
                ("sys/devices/system/clocksource/clocksource0/available_clocksource", clocks),
            ]);
            observe(&source).virtualization.0.unwrap()
        };
        let (bare, guest) = ("flags\t\t: fpu sse\n", "flags\t\t: fpu hypervisor sse\n");
        assert_eq!(of(bare, "Amazon EC2", "x.metal", "tsc"), Virtualization::None);
        assert_eq!(of(guest, "Amazon EC2", "x.48xlarge", "kvm-clock tsc"), Virtualization::Amazon);
        assert_eq!(of(guest, "Microsoft Corporation", "Virtual Machine", "tsc"), Virtualization::Hyperv);
        assert_eq!(of(guest, "QEMU", "Standard PC", "kvm-clock tsc"), Virtualization::Kvm);
        assert_eq!(of(guest, "QEMU", "Standard PC", "tsc"), Virtualization::Qemu);
        assert_eq!(of(guest, "Nobody", "Thing", "tsc"), Virtualization::Other);
        assert_eq!(of("Features\t: fp asimd\n", "NVIDIA", "Grace", "arch_sys_counter"), Virtualization::None);
        assert_eq!(of("Features\t: fp asimd\n", "Amazon EC2", "x.metal", "arch_sys_counter"), Virtualization::None);
    }

    #[test]
    fn containers_are_told_by_their_traces() {
        let of = |files: &[(&str, &str)]| {
            let (_dir, source) = tree(files);
            container(&source)
        };
        assert_eq!(of(&[]), Container::None);
        assert_eq!(of(&[(".dockerenv", "")]), Container::Docker);
        let (kthreadd, docker) = (("proc/2/comm", "kthreadd\n"), (".dockerenv", ""));
        let disk =
            ("proc/self/mountinfo", "22 1 254:0 / / rw - ext4 /dev/root rw\n23 22 0:5 / /dev rw - devtmpfs dev rw\n");
        let overlay = ("proc/self/mountinfo", "9 8 0:44 / / rw,relatime - overlay overlay rw,lowerdir=/a\n");
        assert_eq!(of(&[docker, kthreadd, disk]), Container::None);
        assert_eq!(of(&[docker, kthreadd, overlay]), Container::Docker);
        assert_eq!(of(&[docker, disk]), Container::Docker);
        assert_eq!(of(&[("run/.containerenv", "")]), Container::Podman);
        assert_eq!(of(&[("run/systemd/container", "systemd-nspawn\n")]), Container::SystemdNspawn);
        assert_eq!(of(&[("run/systemd/container", "new-kind\n")]), Container::Other);
        assert_eq!(of(&[("proc/1/environ", "A=b\0container=lxc\0")]), Container::Lxc);
        assert_eq!(of(&[("proc/1/cgroup", "0::/kubepods.slice/x\n"), (".dockerenv", "")]), Container::Kubernetes);
        assert_eq!(of(&[("proc/1/cgroup", "0::/init.scope\n")]), Container::None);
    }

    #[test]
    fn an_empty_dmi_field_is_absent() {
        let (_dir, source) = tree(&[("sys/class/dmi/id/sys_vendor", "\n"), ("sys/class/dmi/id/chassis_type", "23\n")]);
        let dmi = dmi(&source);
        assert_eq!(dmi.vendor.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!(dmi.chassis_type, Fact(Ok(23)));
        assert_eq!(dmi.serial.0.unwrap_err().reason, Reason::NotPresent);
    }
}
