//! `network`: the network interfaces of this node.

use super::ethtool::{self, Adapter};
use super::parts::{self, Part, Place};
use super::pci::is_address;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::str::FromStr;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "network",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Interface>>,
    arguments: None,
    ask: |source, _, progress| {
        let interfaces = observe(source)?;
        let parts = interfaces.iter().enumerate().map(|(index, interface)| part(source, index, interface)).collect();
        Ok(parts::ask_quickly(answer(&interfaces)?, parts, progress))
    },
};

const NET: &str = "/sys/class/net";
/// How long the driver of one interface may take.
const INTERFACE_DEADLINE: Duration = Duration::from_secs(5);
/// The interface is switched on (IFF_UP of netdevice(7)).
const UP: u32 = 1;
/// No LACP was heard on a port of a bond for long, so what is said of its partner is made up (LACP_STATE_DEFAULTED of the
/// kernel's include/net/bond_3ad.h, IEEE 802.1AX, 6.4.2.3).
const LACP_DEFAULTED: u32 = 0x40;

/// A network interface, from /sys/class/net.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "interface", "x-key" = "name"))]
struct Interface {
    /// Its name: `eth0`, `ib3`, `bond0`.
    name: String,
    /// What kind of interface it is.
    kind: InterfaceKind,
    /// Whether a device stands behind it, rather than only the kernel (link device).
    is_physical: bool,
    /// Whether somebody has switched it on (flags). That it has a link is `carrier`.
    is_up: Fact<bool>,
    /// `up`, `down`, `dormant`, `lowerlayerdown`, `notpresent`, `testing`, or `unknown` for drivers that do not say
    /// (operstate).
    state: Fact<String>,
    /// Whether it has a link to the other side (carrier). Absent (not_supported) while it is switched off.
    carrier: Fact<bool>,
    /// Speed of its link in Mbit/s (speed). Absent (not_present) without a link, (not_supported) for drivers that do not
    /// say.
    speed_mbps: Fact<u64>,
    /// `full` or `half` (duplex). Absent as `speed_mbps` is.
    duplex: Fact<String>,
    /// The longest packet it sends, in bytes (mtu).
    mtu: Fact<u64>,
    /// Its hardware address (address). Absent (not_supported) for kinds without one.
    mac: Fact<String>,
    /// The driver of its device (link device/driver). Absent (not_supported) for one without a device.
    driver: Fact<String>,
    /// PCI address of its device. Absent (not_supported) for one without, (not_recorded) where a recording keeps the
    /// devices as plain folders.
    pci: Fact<String>,
    /// The NUMA node that its device hangs on (device/numa_node). Absent (not_supported) when the firmware names none.
    numa_node: Fact<u32>,
    /// The bond, bridge or other interface that it is a part of (link master). Absent (not_supported) when of none.
    master: Fact<String>,
    /// How often its link came or went since boot (carrier_changes).
    carrier_changes: Fact<u64>,
    /// How often its link went since boot (carrier_down_count).
    carrier_down_count: Fact<u64>,
    /// What it counted since its driver was loaded.
    statistics: Fact<Statistics>,
    /// What its driver says of the adapter. Absent (not_supported) for what no device stands behind, (not_recorded) from a
    /// container with a network of its own.
    adapter: Fact<Adapter>,
    /// The interfaces it joins, for a bond. Absent (not_supported) for others.
    bond: Fact<Bond>,
}

/// Kinds of network interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum InterfaceKind {
    /// Ethernet.
    Ethernet,
    /// IP over InfiniBand.
    Infiniband,
    /// The loopback interface.
    Loopback,
    /// Several interfaces joined into one.
    Bond,
    /// A switch in the kernel.
    Bridge,
    /// A VLAN of another interface.
    Vlan,
    /// Made up by the kernel: veth, tunnel, dummy and their like.
    Virtual,
    /// Wi-Fi.
    Wireless,
    /// Something else.
    Other,
}

/// Counters of an interface (/sys/class/net/NAME/statistics).
#[derive(Debug, Serialize, JsonSchema)]
struct Statistics {
    /// Bytes received.
    rx_bytes: Fact<u64>,
    /// Bytes sent.
    tx_bytes: Fact<u64>,
    /// Packets that were received damaged, for whatever reason.
    rx_errors: Fact<u64>,
    /// Packets that could not be sent because of an error.
    tx_errors: Fact<u64>,
    /// Packets that were received and not processed, for want of room or because nobody wanted them.
    rx_dropped: Fact<u64>,
    /// Packets that were to be sent and were dropped.
    tx_dropped: Fact<u64>,
    /// Packets that were received with a wrong check sum: a bad cable, transceiver or port.
    rx_crc_errors: Fact<u64>,
    /// Packets that the adapter had no room for.
    rx_missed_errors: Fact<u64>,
    /// Packets that could not be sent because the link went.
    tx_carrier_errors: Fact<u64>,
    /// Collisions, on half-duplex links.
    collisions: Fact<u64>,
}

/// What a bond joins (/sys/class/net/NAME/bonding).
#[derive(Debug, Serialize, JsonSchema)]
struct Bond {
    /// How it joins them: `802.3ad`, `active-backup`, `balance-xor` and others.
    mode: Fact<String>,
    /// The one that is used, in a mode where only one is. Absent (not_present) where none is, (not_supported) in others.
    active_slave: Fact<String>,
    /// The hardware address of the switch that answers it by LACP, `00:00:00:00:00:00` for none (bonding/ad_partner_mac).
    /// Absent (not_supported) in other modes than 802.3ad.
    partner_mac: Fact<String>,
    /// How many of them it uses at present (bonding/ad_num_ports). Absent (not_supported) in other modes than 802.3ad.
    ports_count: Fact<u64>,
    /// The interfaces it joins.
    slaves: Fact<Vec<BondSlave>>,
}

/// One interface of a bond.
#[derive(Debug, Serialize, JsonSchema)]
struct BondSlave {
    /// Its name.
    name: String,
    /// Whether the bond sees its link: `up`, `going down`, `down` or `going back` (bonding_slave/mii_status).
    mii_status: Fact<String>,
    /// Whether it hears LACP from the switch, rather than assuming a partner (bonding_slave/ad_actor_oper_port_state without
    /// the bit "defaulted"). Absent (not_supported) in other modes than 802.3ad.
    lacp_heard: Fact<bool>,
}

/// The fields that an interface's part answers: its driver is asked for them, and may hang.
#[derive(Serialize)]
struct Answer {
    carrier: Fact<bool>,
    speed_mbps: Fact<u64>,
    duplex: Fact<String>,
    statistics: Fact<Statistics>,
    adapter: Fact<Adapter>,
}

fn observe(source: &Source) -> Result<Vec<Interface>, Absent> {
    let is_folder = |name: &String| source.metadata(&format!("{NET}/{name}"), true).is_ok_and(|found| found.is_dir());
    // `bonding_masters` is a file among the interfaces.
    Ok(source.names(NET)?.into_iter().filter(is_folder).map(|name| interface(source, name)).collect())
}

fn interface(source: &Source, name: String) -> Interface {
    let file = |file: &str| format!("{NET}/{name}/{file}");
    let is_physical = source.exists(&file("device"));
    let kind = kind(source, &name, is_physical);
    let linked = |path: &str, without: &str| match source.link(&file(path)) {
        Ok(target) => Ok(target.rsplit('/').next().unwrap_or_default().to_string()),
        Err(absent) if absent.reason == Reason::NotPresent => Err(Absent::not_supported(without)),
        Err(absent) => Err(absent),
    };
    let mac = source.line(&file("address")).and_then(|mac| match mac.chars().any(|c| c != '0' && c != ':') {
        true => Ok(mac),
        false => Err(Absent::not_supported("it has no hardware address")),
    });
    Interface {
        kind,
        is_physical,
        is_up: Fact(flags(source, &name).map(|flags| flags & UP != 0)),
        state: Fact(source.word(&file("operstate"))),
        carrier: parts::pending(),
        speed_mbps: parts::pending(),
        duplex: parts::pending(),
        mtu: Fact(source.number(&file("mtu"))),
        mac: Fact(mac),
        driver: Fact(linked("device/driver", "no driver of a device")),
        pci: Fact(pci(source, &name, is_physical)),
        numa_node: Fact(numa_node(source, &file("device/numa_node"))),
        master: Fact(linked("master", "it is a part of none")),
        carrier_changes: Fact(supported(source.number(&file("carrier_changes")))),
        carrier_down_count: Fact(supported(source.number(&file("carrier_down_count")))),
        statistics: parts::pending(),
        adapter: parts::pending(),
        bond: Fact(match kind {
            InterfaceKind::Bond => Ok(bond(source, &name)),
            _ => Err(Absent::not_supported("no bond")),
        }),
        name,
    }
}

/// The part that asks the driver.
fn part<'a>(source: &'a Source, index: usize, interface: &Interface) -> Part<'a> {
    let name = interface.name.clone();
    let is_physical = interface.is_physical;
    let is_down = interface.is_up.value() == Some(&false);
    let fields = ["carrier", "speed_mbps", "duplex", "statistics", "adapter"];
    let place = Place::new(format!("/{index}"), &fields, format!("network interface {name}"), INTERFACE_DEADLINE);
    let ask = move || {
        let line = |file: &str| ethernet_only(source.line(&format!("{NET}/{name}/{file}")));
        let no_link = || Absent::not_present("it has no link");
        let carrier = match is_down {
            true => Err(Absent::not_supported("it is down")),
            false => line("carrier").and_then(|carrier| match carrier.as_str() {
                "1" => Ok(true),
                "0" => Ok(false),
                other => Err(Absent::failed(format!("carrier: expected 0 or 1, found \"{}\"", clipped(other)))),
            }),
        };
        // Some drivers name the last speed of a link that is gone.
        let linked = |value: Result<String, Absent>| match &carrier {
            Ok(true) => value,
            Ok(false) => Err(no_link()),
            Err(_) if is_down => Err(no_link()),
            Err(_) => value,
        };
        let speed = linked(line("speed")).and_then(|speed| match i64::from_str(&speed) {
            // -1, which some drivers store without a sign.
            Ok(speed) if speed <= 0 || speed == i64::from(u32::MAX) || speed == i64::from(u16::MAX) => {
                Err(Absent::not_supported("the driver does not say"))
            }
            Ok(speed) => Ok(speed.unsigned_abs()),
            Err(_) => Err(Absent::failed(format!("speed: expected a number, found \"{speed}\""))),
        });
        let duplex = linked(line("duplex")).and_then(|duplex| match duplex.as_str() {
            "unknown" => Err(Absent::not_supported("the driver does not say")),
            _ => Ok(duplex),
        });
        let statistics = Ok(statistics(source, &name));
        parts::fields(&Answer {
            carrier: Fact(carrier),
            speed_mbps: Fact(speed),
            duplex: Fact(duplex),
            statistics: Fact(statistics),
            adapter: Fact(match is_physical {
                true => ethtool::ask(source, &name),
                false => Err(Absent::not_supported("no device stands behind it")),
            }),
        })
    };
    (place, Box::new(ask))
}

fn statistics(source: &Source, name: &str) -> Statistics {
    let read = |counter: &str| Fact(supported(source.number(&format!("{NET}/{name}/statistics/{counter}"))));
    Statistics {
        rx_bytes: read("rx_bytes"),
        tx_bytes: read("tx_bytes"),
        rx_errors: read("rx_errors"),
        tx_errors: read("tx_errors"),
        rx_dropped: read("rx_dropped"),
        tx_dropped: read("tx_dropped"),
        rx_crc_errors: read("rx_crc_errors"),
        rx_missed_errors: read("rx_missed_errors"),
        tx_carrier_errors: read("tx_carrier_errors"),
        collisions: read("collisions"),
    }
}

fn kind(source: &Source, name: &str, is_physical: bool) -> InterfaceKind {
    let file = |file: &str| format!("{NET}/{name}/{file}");
    let uevent = source.text(&file("uevent")).unwrap_or_default();
    let said = uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
    // The kernel's number of the kind of hardware (linux/if_arp.h).
    let hardware = source.number::<u32>(&file("type")).ok();
    match (said, hardware) {
        (Some("bond"), _) => InterfaceKind::Bond,
        (Some("bridge"), _) => InterfaceKind::Bridge,
        (Some("vlan"), _) => InterfaceKind::Vlan,
        (Some("wlan"), _) => InterfaceKind::Wireless,
        _ if source.exists(&file("bonding")) => InterfaceKind::Bond,
        _ if source.exists(&file("bridge")) => InterfaceKind::Bridge,
        _ if source.exists(&file("phy80211")) || source.exists(&file("wireless")) => InterfaceKind::Wireless,
        (_, Some(32)) => InterfaceKind::Infiniband,
        (_, Some(772)) => InterfaceKind::Loopback,
        (_, Some(1)) if is_physical => InterfaceKind::Ethernet,
        _ if is_physical => InterfaceKind::Other,
        (_, Some(_)) => InterfaceKind::Virtual,
        (_, None) => InterfaceKind::Other,
    }
}

fn flags(source: &Source, name: &str) -> Result<u32, Absent> {
    let path = format!("{NET}/{name}/flags");
    let line = source.line(&path)?;
    let flags = line.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    flags.ok_or_else(|| Absent::failed(format!("{path}: expected 0x and digits, found \"{line}\"")))
}

/// The innermost PCI device on the way to an interface: `../../devices/pci0000:9a/0000:9c:00.0/net/eth0`.
fn pci(source: &Source, name: &str, is_physical: bool) -> Result<String, Absent> {
    if !is_physical {
        return Err(Absent::not_supported("it has no device"));
    }
    let place = source.link(&format!("{NET}/{name}")).or_else(|_| source.link(&format!("{NET}/{name}/device")));
    let place = place.map_err(|absent| match source.recorded() {
        Some(_) => Absent::new(Reason::NotRecorded, "the recording keeps the devices as plain folders"),
        None => absent,
    })?;
    let address = place.rsplit('/').find(|folder| is_address(folder));
    address.map(str::to_string).ok_or_else(|| Absent::not_supported("its device is not on the PCI bus"))
}

fn numa_node(source: &Source, path: &str) -> Result<u32, Absent> {
    let node: i64 = supported(source.number(path))?;
    u32::try_from(node).map_err(|_| Absent::not_supported("the firmware names no NUMA node"))
}

/// What is missing here is what this driver or kernel does not have.
fn supported<T>(read: Result<T, Absent>) -> Result<T, Absent> {
    read.map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    })
}

/// The kernel refuses with EINVAL where a driver has no such thing as a speed.
fn ethernet_only(read: Result<String, Absent>) -> Result<String, Absent> {
    supported(read).map_err(|absent| match absent.detail.ends_with("invalid argument") {
        true => Absent::not_supported(absent.detail),
        false => absent,
    })
}

fn bond(source: &Source, name: &str) -> Bond {
    let read = |file: &str| source.line(&format!("{NET}/{name}/bonding/{file}"));
    let slave = |name: &str| {
        let file = |file: &str| format!("{NET}/{name}/bonding_slave/{file}");
        let state = supported(source.number::<u32>(&file("ad_actor_oper_port_state")));
        BondSlave {
            mii_status: Fact(source.word(&file("mii_status"))),
            lacp_heard: Fact(state.map(|state| state & LACP_DEFAULTED == 0)),
            name: name.to_string(),
        }
    };
    // These files are empty in other modes.
    let of_lacp = |file: &str| match supported(read(file)) {
        Ok(line) if line.is_empty() => Err(Absent::not_supported("only 802.3ad has it")),
        line => line,
    };
    let ports = of_lacp("ad_num_ports").and_then(|ports| {
        ports
            .parse()
            .map_err(|_| Absent::failed(format!("ad_num_ports: expected a number, found \"{}\"", clipped(&ports))))
    });
    // `active-backup 1`
    let mode = read("mode").map(|mode| mode.split(' ').next().unwrap_or_default().to_string());
    let one_is_active =
        mode.as_deref().is_ok_and(|mode| ["active-backup", "balance-tlb", "balance-alb"].contains(&mode));
    let active = match one_is_active {
        true => read("active_slave"),
        false => Err(Absent::not_supported("all are active in this mode")),
    };
    Bond {
        mode: Fact(mode),
        active_slave: Fact(active.and_then(|active| match active.is_empty() {
            true => Err(Absent::not_present("none is active")),
            false => Ok(active),
        })),
        partner_mac: Fact(of_lacp("ad_partner_mac")),
        ports_count: Fact(ports),
        slaves: Fact(read("slaves").map(|slaves| slaves.split_whitespace().map(slave).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::Recorded;
    use serde_json::{Value, json};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn put(dir: &Path, folder: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(folder).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
    }

    fn ask(dir: &Path) -> Vec<Value> {
        let source = Source::dead(dir, Recorded::default());
        match (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() {
            Value::Array(interfaces) => interfaces,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_adapter_is_read_with_its_link_and_counters() {
        let dir = tempfile::tempdir().unwrap();
        let device = "sys/devices/pci0000:9a/0000:9a:01.0/0000:9c:00.0";
        let net = format!("{device}/net/eth0");
        put(dir.path(), device, &[("numa_node", "1")]);
        put(
            dir.path(),
            &net,
            &[
                ("type", "1"),
                ("flags", "0x1003"),
                ("operstate", "up"),
                ("carrier", "1"),
                ("speed", "200000"),
                ("duplex", "full"),
                ("mtu", "9000"),
                ("address", "02:00:00:00:00:01"),
                ("carrier_changes", "3"),
                ("carrier_down_count", "1"),
                ("statistics/rx_bytes", "18446744073709551615"),
                ("statistics/rx_crc_errors", "7"),
                ("statistics/tx_bytes", "x"),
            ],
        );
        fs::create_dir_all(dir.path().join("sys/class/net")).unwrap();
        symlink(format!("../../../{net}"), dir.path().join("sys/class/net/eth0")).unwrap();
        symlink("../../../0000:9c:00.0", dir.path().join(&net).join("device")).unwrap();
        symlink("../../../../bus/pci/drivers/mlx5_core", dir.path().join(device).join("driver")).unwrap();
        symlink("../../../virtual/net/bond0", dir.path().join(&net).join("master")).unwrap();
        put(dir.path(), "sys/class/net", &[("bonding_masters", "bond0")]);
        let interfaces = ask(dir.path());
        assert_eq!(interfaces.len(), 1);
        for (field, expected) in [
            ("name", json!("eth0")),
            ("kind", json!("ethernet")),
            ("is_physical", json!(true)),
            ("is_up", json!(true)),
            ("state", json!("up")),
            ("carrier", json!(true)),
            ("speed_mbps", json!(200_000)),
            ("duplex", json!("full")),
            ("mtu", json!(9000)),
            ("driver", json!("mlx5_core")),
            ("pci", json!("0000:9c:00.0")),
            ("numa_node", json!(1)),
            ("master", json!("bond0")),
            ("carrier_down_count", json!(1)),
        ] {
            assert_eq!(interfaces[0][field], expected, "{field}");
        }
        let statistics = &interfaces[0]["statistics"];
        assert_eq!(statistics["rx_bytes"], u64::MAX);
        assert_eq!(statistics["rx_crc_errors"], 7);
        assert_eq!(statistics["tx_bytes"]["absent"], "failed");
        assert_eq!(statistics["collisions"]["absent"], "not_supported");
        assert_eq!(interfaces[0]["bond"]["absent"], "not_supported");
    }

    #[test]
    fn a_link_that_is_gone_has_no_speed() {
        let dir = tempfile::tempdir().unwrap();
        let eth = |name: &str, files: &[(&str, &str)]| {
            put(dir.path(), &format!("sys/class/net/{name}"), &[("type", "1"), ("device/vendor", "0x0")]);
            put(dir.path(), &format!("sys/class/net/{name}"), files);
        };
        eth("a", &[("flags", "0x1002"), ("speed", "4294967295"), ("carrier", "1")]);
        eth("b", &[("flags", "0x1003"), ("speed", "10000"), ("carrier", "0")]);
        eth("c", &[("flags", "0x1003"), ("speed", "-1"), ("carrier", "1"), ("duplex", "unknown")]);
        eth("d", &[("flags", "up"), ("speed", "fast"), ("carrier", "1"), ("address", "00:00:00:00:00:00")]);
        let reasons =
            |field: &str| -> Vec<Value> { ask(dir.path()).iter().map(|one| one[field]["absent"].clone()).collect() };
        assert_eq!(reasons("speed_mbps"), ["not_present", "not_present", "not_supported", "failed"]);
        assert_eq!(reasons("carrier"), [json!("not_supported"), Value::Null, Value::Null, Value::Null]);
        assert_eq!(reasons("pci")[0], "not_recorded");
        let interfaces = ask(dir.path());
        assert_eq!((&interfaces[0]["is_up"], &interfaces[1]["carrier"]), (&json!(false), &json!(false)));
        assert_eq!(interfaces[2]["duplex"]["absent"], "not_supported");
        assert_eq!(interfaces[3]["is_up"]["absent"], "failed");
        assert_eq!(interfaces[3]["mac"]["absent"], "not_supported");
    }

    #[test]
    fn kinds_are_told_apart_and_a_bond_names_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        let net = |name: &str, files: &[(&str, &str)]| put(dir.path(), &format!("sys/class/net/{name}"), files);
        net("bond0", &[("type", "1"), ("uevent", "DEVTYPE=bond"), ("bonding/mode", "active-backup 1")]);
        net("bond0", &[("bonding/active_slave", ""), ("bonding/slaves", "eth0 eth1")]);
        net("br0", &[("type", "1"), ("bridge/bridge_id", "1")]);
        net("eth0", &[("type", "1"), ("device/vendor", "0x0"), ("bonding_slave/mii_status", "down")]);
        net("ib0", &[("type", "32"), ("device/vendor", "0x0")]);
        net("ib0.8001", &[("type", "32")]);
        net("lo", &[("type", "772")]);
        net("tun0", &[("type", "65534")]);
        net("vlan7", &[("type", "1"), ("uevent", "INTERFACE=vlan7\nDEVTYPE=vlan")]);
        net("wlan0", &[("type", "1"), ("device/vendor", "0x0"), ("phy80211/index", "0")]);
        net("zz", &[("mtu", "x")]);
        let interfaces = ask(dir.path());
        let kinds: Vec<_> = interfaces.iter().map(|one| one["kind"].as_str().unwrap()).collect();
        let expected = [
            "bond",
            "bridge",
            "ethernet",
            "infiniband",
            "infiniband",
            "loopback",
            "virtual",
            "vlan",
            "wireless",
            "other",
        ];
        assert_eq!(kinds, expected);
        let bond = &interfaces[0]["bond"];
        assert_eq!((&bond["mode"], &bond["active_slave"]["absent"]), (&json!("active-backup"), &json!("not_present")));
        assert_eq!((&bond["slaves"][0]["name"], &bond["slaves"][0]["mii_status"]), (&json!("eth0"), &json!("down")));
        assert_eq!(bond["partner_mac"]["absent"], "not_supported");
        assert_eq!(bond["slaves"][0]["lacp_heard"]["absent"], "not_supported");
        assert_eq!(bond["slaves"][1]["mii_status"]["absent"], "not_present");
    }

    #[test]
    fn a_bond_says_who_answers_it_by_lacp_and_on_which_links() {
        let dir = tempfile::tempdir().unwrap();
        let net = |name: &str, files: &[(&str, &str)]| put(dir.path(), &format!("sys/class/net/{name}"), files);
        net("bond0", &[("type", "1"), ("bonding/mode", "802.3ad 4"), ("bonding/slaves", "eth0 eth1")]);
        net("bond0", &[("bonding/ad_partner_mac", "02:00:00:00:00:09"), ("bonding/ad_num_ports", "1")]);
        // Active, aggregated, in step, collecting, distributing; and one that hears nobody.
        net("eth0", &[("type", "1"), ("bonding_slave/ad_actor_oper_port_state", "61")]);
        net("eth1", &[("type", "1"), ("bonding_slave/ad_actor_oper_port_state", "69")]);
        net("bond1", &[("type", "1"), ("bonding/mode", "active-backup 1"), ("bonding/ad_num_ports", "")]);
        let interfaces = ask(dir.path());
        let bond = &interfaces[0]["bond"];
        assert_eq!((&bond["partner_mac"], &bond["ports_count"]), (&json!("02:00:00:00:00:09"), &json!(1)));
        let heard: Vec<_> = bond["slaves"].as_array().unwrap().iter().map(|slave| &slave["lacp_heard"]).collect();
        assert_eq!(heard, [true, false]);
        assert_eq!(interfaces[1]["bond"]["ports_count"]["absent"], "not_supported");
    }
}
