//! `infiniband`: every port of every RDMA adapter: InfiniBand, and Ethernet with RoCE.

use super::parts::{self, Part, Place};
use super::pci::is_address;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "infiniband",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Port>>,
    arguments: None,
    ask: |source, _, progress| {
        let ports = observe(source)?;
        let parts = ports.iter().enumerate().map(|(index, port)| part(source, index, port)).collect();
        Ok(parts::ask_quickly(answer(&ports)?, parts, progress))
    },
};

const CLASS: &str = "/sys/class/infiniband";
/// How long the firmware of one adapter may take for a port's state and counters.
const PORT_DEADLINE: Duration = Duration::from_secs(5);
/// More GIDs than a port is ever asked for; tables have up to 256 places, of which few are used.
const MOST_GIDS: usize = 256;
/// PCI ids of the adapters that NVIDIA also builds into boards with NVSwitches, to manage those (pci.ids): ConnectX-7
/// and ConnectX-8.
const SWITCH_MANAGERS: [&str; 2] = ["0x1021", "0x1023"];
/// The word in the vital product data of such an adapter, by which NVIDIA's fabric manager finds it too.
const SWITCH_MANAGER_MARK: &[u8] = b"SW_MNG";
/// How much of the vital product data is read: the text is at its beginning, and each word of it costs the firmware's
/// time.
const VITAL_DATA_CAP: u64 = 1024;

/// A port of an RDMA adapter, from /sys/class/infiniband. The list is empty where there is no such
/// adapter with a driver.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "port", "x-key" = "name"))]
struct Port {
    /// Adapter and number of the port: `mlx5_0/1`.
    name: String,
    /// The adapter's name: `mlx5_0`.
    device: String,
    /// The port's number, from 1.
    number: u64,
    /// PCI address of the adapter (link device). Absent (not_supported) for one that is not on the PCI bus,
    /// (not_recorded) where a recording keeps devices as plain folders.
    pci: Fact<String>,
    /// The NUMA node that the adapter hangs on (device/numa_node). Absent (not_supported) when the firmware names none.
    numa_node: Fact<u32>,
    /// The kernel driver of the adapter (link device/driver).
    driver: Fact<String>,
    /// The adapter's model, as its driver calls it: `MT4129` (hca_type).
    model: Fact<String>,
    /// The board, for which the maker builds firmware: NVIDIA calls it PSID (board_id).
    board_id: Fact<String>,
    /// Version of the firmware (fw_ver).
    firmware: Fact<String>,
    /// What the adapter calls itself in the fabric (node_desc).
    description: Fact<String>,
    /// The adapter's number in the fabric (node_guid).
    node_guid: Fact<String>,
    /// The network interfaces of the adapter (device/net).
    interfaces: Vec<String>,
    /// Whether it is a virtual function of another adapter (device/physfn), which its firmware does not tell all.
    is_virtual_function: bool,
    /// Whether it only serves to manage the NVSwitches of its board (the word SW_MNG in its vital product data). Its
    /// counters are not asked for: the firmware refuses, and the kernel logs each refusal. Absent (denied) for an
    /// adapter that might, for anybody but root.
    is_switch_manager: Fact<bool>,
    /// `infiniband` or `ethernet` (link_layer).
    link_layer: Fact<String>,
    /// What the port can do: `down`, `init` (no subnet manager has set it up), `armed`, `active` or `active_defer`
    /// (state).
    state: Fact<String>,
    /// What the cable does: `sleep`, `polling` (nobody at the other end), `disabled`, `training`, `linkup`,
    /// `recovery` or `phytest` (phys_state).
    physical_state: Fact<String>,
    /// Speed in Gbit/s as the port is set up now (rate). Absent (not_present) without a link.
    rate_gbps: Fact<f64>,
    /// How many lanes it uses (rate). Absent as `rate_gbps` is.
    width: Fact<u64>,
    /// The name of its speed: `HDR`, `NDR` (rate). Absent as `rate_gbps` is, (not_supported) for slow ones without.
    speed: Fact<String>,
    /// The port's address in its subnet; 0 when a subnet manager has given none (lid). Absent (not_supported) for
    /// Ethernet.
    lid: Fact<u64>,
    /// The address of the subnet manager; 0 when there is none (sm_lid). Absent (not_supported) for Ethernet.
    subnet_manager_lid: Fact<u64>,
    /// Its addresses that are in use, in the form of an IPv6 address (gids).
    gids: Fact<Vec<String>>,
    /// The kinds of its addresses in use, each once: `IB/RoCE v1`, `RoCE v2` (gid_attrs/types).
    gid_types: Fact<Vec<String>>,
    /// The partitions it is in: `0xffff` (pkeys). Absent (not_supported) for Ethernet.
    partitions: Fact<Vec<String>>,
    /// What the port counted since the driver was loaded or somebody set it to zero (counters). Absent
    /// (not_supported) for virtual functions and for adapters that only manage NVSwitches.
    counters: Fact<Counters>,
    /// What its transport counted (hw_counters). Absent as `counters` is, and for drivers that count nothing.
    transport: Fact<Transport>,
}

/// Counters of a port (ports/N/counters; InfiniBand specification, PortCounters).
#[derive(Debug, Serialize, JsonSchema)]
struct Counters {
    /// How often the link went down (link_downed).
    link_downed: Fact<u64>,
    /// How often the link had to be trained again without going down (link_error_recovery).
    link_error_recovery: Fact<u64>,
    /// Wrong symbols on the cable (symbol_error).
    symbol_error: Fact<u64>,
    /// Packets that arrived damaged (port_rcv_errors).
    receive_errors: Fact<u64>,
    /// Packets that arrived marked as damaged before (port_rcv_remote_physical_errors).
    remote_physical_errors: Fact<u64>,
    /// Packets that the switch could not pass on (port_rcv_switch_relay_errors).
    switch_relay_errors: Fact<u64>,
    /// Packets that could not be sent since the port was down or blocked (port_xmit_discards).
    transmit_discards: Fact<u64>,
    /// How long, in ticks of the port, data waited for the other side's room (port_xmit_wait).
    transmit_wait: Fact<u64>,
    /// How often local errors went beyond a threshold (local_link_integrity_errors).
    link_integrity_errors: Fact<u64>,
    /// How often buffers overran (excessive_buffer_overrun_errors).
    buffer_overruns: Fact<u64>,
    /// Bytes received (port_rcv_data, which counts words of four).
    received_bytes: Fact<u64>,
    /// Bytes sent (port_xmit_data, which counts words of four).
    sent_bytes: Fact<u64>,
}

/// Counters of a port's transport (ports/N/hw_counters of the mlx5 driver; each absent (not_supported) where a driver
/// has no such counter).
#[derive(Debug, Serialize, JsonSchema)]
struct Transport {
    /// Requests that were given up because the other side was never ready (rnr_nak_retry_err).
    not_ready_given_up: Fact<u64>,
    /// Requests that were given up after all tries (req_transport_retries_exceeded).
    retries_exceeded: Fact<u64>,
    /// How often no acknowledgement came in time (local_ack_timeout_err).
    ack_timeouts: Fact<u64>,
    /// Packets that came out of order (out_of_sequence).
    out_of_sequence: Fact<u64>,
    /// How often the other side said that a packet was missing (packet_seq_err).
    sequence_errors: Fact<u64>,
    /// How often RoCE slowed down after losses (roce_slow_restart).
    slow_restarts: Fact<u64>,
}

/// The fields that a port's part answers: the adapter's firmware is asked for them, and may hang.
#[derive(Serialize)]
struct Answer {
    state: Fact<String>,
    physical_state: Fact<String>,
    rate_gbps: Fact<f64>,
    width: Fact<u64>,
    speed: Fact<String>,
    lid: Fact<u64>,
    subnet_manager_lid: Fact<u64>,
    gids: Fact<Vec<String>>,
    gid_types: Fact<Vec<String>>,
    partitions: Fact<Vec<String>>,
    is_switch_manager: Fact<bool>,
    counters: Fact<Counters>,
    transport: Fact<Transport>,
}

fn observe(source: &Source) -> Result<Vec<Port>, Absent> {
    let mut ports = Vec::new();
    let devices = match source.names(CLASS) {
        Err(absent) if absent.reason == Reason::NotPresent => Vec::new(),
        names => names?,
    };
    for device in devices {
        let mut numbers: Vec<u64> = match source.names(&format!("{CLASS}/{device}/ports")) {
            Ok(names) => names.iter().filter_map(|name| name.parse().ok()).collect(),
            Err(absent) if absent.reason == Reason::NotPresent => continue,
            Err(absent) => return Err(absent),
        };
        numbers.sort_unstable();
        ports.extend(numbers.into_iter().map(|number| port(source, &device, number)));
    }
    Ok(ports)
}

fn port(source: &Source, device: &str, number: u64) -> Port {
    let file = |file: &str| format!("{CLASS}/{device}/{file}");
    let line = |name: &str| Fact(supported(source.line(&file(name))).and_then(not_empty));
    let link_layer = supported(source.line(&file(&format!("ports/{number}/link_layer"))));
    Port {
        name: format!("{device}/{number}"),
        device: device.to_string(),
        number,
        pci: Fact(pci(source, device)),
        numa_node: Fact(supported(source.number::<i64>(&file("device/numa_node"))).and_then(|node| {
            u32::try_from(node).map_err(|_| Absent::not_supported("the firmware names no NUMA node"))
        })),
        driver: Fact(
            supported(source.link(&file("device/driver")))
                .map(|target| target.rsplit('/').next().unwrap_or_default().to_string()),
        ),
        model: line("hca_type"),
        board_id: line("board_id"),
        firmware: line("fw_ver"),
        description: line("node_desc"),
        node_guid: line("node_guid"),
        interfaces: source.names(&file("device/net")).unwrap_or_default(),
        is_virtual_function: source.exists(&file("device/physfn")),
        is_switch_manager: parts::pending(),
        link_layer: Fact(link_layer.map(|layer| layer.to_ascii_lowercase())),
        state: parts::pending(),
        physical_state: parts::pending(),
        rate_gbps: parts::pending(),
        width: parts::pending(),
        speed: parts::pending(),
        lid: parts::pending(),
        subnet_manager_lid: parts::pending(),
        gids: parts::pending(),
        gid_types: parts::pending(),
        partitions: parts::pending(),
        counters: parts::pending(),
        transport: parts::pending(),
    }
}

/// The part that asks the adapter.
fn part<'a>(source: &'a Source, index: usize, port: &Port) -> Part<'a> {
    let fields = [
        "state",
        "physical_state",
        "rate_gbps",
        "width",
        "speed",
        "lid",
        "subnet_manager_lid",
        "gids",
        "gid_types",
        "partitions",
        "is_switch_manager",
        "counters",
        "transport",
    ];
    let label = format!("InfiniBand port {}", port.name);
    let place = Place::new(format!("/{index}"), &fields, label, PORT_DEADLINE);
    let device = format!("{CLASS}/{}", port.device);
    let folder = format!("{device}/ports/{}", port.number);
    let is_virtual_function = port.is_virtual_function;
    let is_ethernet = port.link_layer.value().is_some_and(|layer| layer == "ethernet");
    let ask = move || {
        let line = |name: &str| supported(source.line(&format!("{folder}/{name}")));
        let state = line("state").and_then(|text| named(&text));
        let linked = !matches!(state.as_deref(), Ok("down"));
        let rate = match linked {
            true => line("rate").and_then(|text| rate(&text)),
            false => Err(Absent::not_present("it has no link")),
        };
        let fabric_only = |value: Result<u64, Absent>| match is_ethernet {
            true => Err(Absent::not_supported("Ethernet has none")),
            false => value,
        };
        let is_switch_manager = is_switch_manager(source, &device);
        let counts = match &is_switch_manager {
            _ if is_virtual_function => {
                Err(Absent::not_supported("a virtual function is not told its port's counters"))
            }
            Ok(false) => Ok(()),
            Ok(true) => Err(Absent::not_supported("it only manages NVSwitches, and its firmware refuses")),
            Err(absent) => Err(absent.clone()),
        };
        let gids = gids(source, &folder);
        let partitions = match is_ethernet {
            true => Err(Absent::not_supported("Ethernet has none")),
            false => partitions(source, &folder),
        };
        parts::fields(&Answer {
            physical_state: Fact(line("phys_state").and_then(|text| named(&text))),
            rate_gbps: Fact(rate.clone().map(|rate| rate.gbps)),
            width: Fact(rate.clone().map(|rate| rate.width)),
            speed: Fact(rate.and_then(|rate| rate.speed.ok_or_else(|| Absent::not_supported("its speed has no name")))),
            lid: Fact(fabric_only(line("lid").and_then(|text| hexadecimal(&text)))),
            subnet_manager_lid: Fact(fabric_only(line("sm_lid").and_then(|text| hexadecimal(&text)))),
            gid_types: Fact(gids.as_ref().map(|gids| gid_types(source, &folder, gids)).map_err(Clone::clone)),
            gids: Fact(gids.map(|gids| gids.into_iter().map(|(_, gid)| gid).collect())),
            partitions: Fact(partitions),
            counters: Fact(counts.clone().and_then(|()| counters(source, &folder))),
            transport: Fact(counts.and_then(|()| transport(source, &folder))),
            is_switch_manager: Fact(is_switch_manager),
            state: Fact(state),
        })
    };
    (place, Box::new(ask))
}

/// What is missing here is what this driver does not have.
fn supported<T>(read: Result<T, Absent>) -> Result<T, Absent> {
    read.map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    })
}

fn not_empty(line: String) -> Result<String, Absent> {
    if line.is_empty() { Err(Absent::not_supported("the driver leaves it empty")) } else { Ok(line) }
}

/// The word of `4: ACTIVE` or `5: LinkUp`.
fn named(text: &str) -> Result<String, Absent> {
    let word = text.split_once(": ").filter(|(number, _)| number.parse::<u8>().is_ok()).map(|(_, word)| word.trim());
    match word {
        Some(word) if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(word.to_ascii_lowercase())
        }
        _ => Err(Absent::failed(format!("expected a number and a word, found \"{}\"", clipped(text)))),
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Rate {
    gbps: f64,
    width: u64,
    speed: Option<String>,
}

/// `400 Gb/sec (4X NDR)`, of old `10 Gb/sec (4X)`.
fn rate(text: &str) -> Result<Rate, Absent> {
    let read = || {
        let (gbps, rest) = text.split_once(" Gb/sec (")?;
        let (width, speed) = rest.strip_suffix(')')?.split_once('X')?;
        let speed = Some(speed.trim().to_string()).filter(|speed| !speed.is_empty());
        let gbps: f64 = gbps.trim().parse().ok()?;
        (gbps.is_finite() && gbps >= 0.0).then_some(Rate { gbps, width: width.parse().ok()?, speed })
    };
    read().ok_or_else(|| Absent::failed(format!("rate: expected 400 Gb/sec (4X NDR), found \"{}\"", clipped(text))))
}

fn hexadecimal(text: &str) -> Result<u64, Absent> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .map_err(|_| Absent::failed(format!("expected 0x and digits, found \"{}\"", clipped(text))))
}

/// The innermost PCI device on the way to an adapter: `../../devices/pci0000:9a/…/0000:9c:00.0/infiniband/mlx5_0`.
fn pci(source: &Source, device: &str) -> Result<String, Absent> {
    let place = source
        .link(&format!("{CLASS}/{device}/device"))
        .ok()
        .filter(|place| place.rsplit('/').next().is_some_and(is_address))
        .map_or_else(|| source.link(&format!("{CLASS}/{device}")), Ok);
    let place = place.map_err(|absent| match source.recorded() {
        Some(_) => Absent::new(Reason::NotRecorded, "the recording keeps the devices as plain folders"),
        None => absent,
    })?;
    let address = place.rsplit('/').find(|folder| is_address(folder));
    address.map(str::to_string).ok_or_else(|| Absent::not_supported("its device is not on the PCI bus"))
}

/// Only adapters of the kinds that can be one are asked, since the vital product data is slow to read.
fn is_switch_manager(source: &Source, device: &str) -> Result<bool, Absent> {
    let might = source.line(&format!("{device}/device/device")).is_ok_and(|id| SWITCH_MANAGERS.contains(&&*id));
    if !might || !source.exists("/sys/module/nvidia") {
        return Ok(false);
    }
    match source.bytes(&format!("{device}/device/vpd"), VITAL_DATA_CAP) {
        Ok((data, _)) => Ok(memchr::memmem::find(&data, SWITCH_MANAGER_MARK).is_some()),
        // An adapter without any is none of those that carry the mark; so is one whose data cannot be read.
        Err(absent) if absent.reason == Reason::Denied => Err(absent),
        Err(_) => Ok(false),
    }
}

/// Places of the table that hold an address, with the address.
fn gids(source: &Source, folder: &str) -> Result<Vec<(String, String)>, Absent> {
    let mut places = supported(source.names(&format!("{folder}/gids")))?;
    places.sort_by_key(|place| place.parse::<u64>().unwrap_or(u64::MAX));
    let mut gids = Vec::new();
    let mut refused = None;
    for place in places.into_iter().take(MOST_GIDS) {
        // An empty place is all zeros, or, with some drivers, refuses to be read.
        let read = source.word(&format!("{folder}/gids/{place}"));
        if let Ok(gid) = read.as_ref().map_err(|absent| refused = Some(absent.clone()))
            && gid.chars().any(|c| c != '0' && c != ':')
            && gid != "fe80:0000:0000:0000:0000:0000:0000:0000"
        {
            gids.push((place, gid.clone()));
        }
    }
    // A port has one of its own at least; where none is seen and some refused, nobody knows.
    match refused {
        Some(absent) if gids.is_empty() => Err(absent),
        _ => Ok(gids),
    }
}

fn gid_types(source: &Source, folder: &str, gids: &[(String, String)]) -> Vec<String> {
    let of = |(place, _): &(String, String)| source.line(&format!("{folder}/gid_attrs/types/{place}")).ok();
    let mut types: Vec<String> = gids.iter().filter_map(of).collect();
    types.sort();
    types.dedup();
    types
}

fn partitions(source: &Source, folder: &str) -> Result<Vec<String>, Absent> {
    let places = supported(source.names(&format!("{folder}/pkeys")))?;
    let mut keys: Vec<String> = Vec::new();
    for place in places {
        let key = source.line(&format!("{folder}/pkeys/{place}"))?;
        if hexadecimal(&key)? != 0 && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort();
    Ok(keys)
}

fn counters(source: &Source, folder: &str) -> Result<Counters, Absent> {
    let read = |name: &str| source.number::<u64>(&format!("{folder}/counters/{name}"));
    // The first refusal is the last question: the kernel logs each.
    let first = supported(read("link_downed"))?;
    let count = |name: &str| Fact(supported(read(name)));
    let bytes = |name: &str| Fact(supported(read(name)).map(|words| words.saturating_mul(4)));
    Ok(Counters {
        link_downed: Fact(Ok(first)),
        link_error_recovery: count("link_error_recovery"),
        symbol_error: count("symbol_error"),
        receive_errors: count("port_rcv_errors"),
        remote_physical_errors: count("port_rcv_remote_physical_errors"),
        switch_relay_errors: count("port_rcv_switch_relay_errors"),
        transmit_discards: count("port_xmit_discards"),
        transmit_wait: count("port_xmit_wait"),
        link_integrity_errors: count("local_link_integrity_errors"),
        buffer_overruns: count("excessive_buffer_overrun_errors"),
        received_bytes: bytes("port_rcv_data"),
        sent_bytes: bytes("port_xmit_data"),
    })
}

fn transport(source: &Source, folder: &str) -> Result<Transport, Absent> {
    if !source.exists(&format!("{folder}/hw_counters")) {
        return Err(Absent::not_supported("the driver counts nothing of it"));
    }
    let count = |name: &str| Fact(supported(source.number(&format!("{folder}/hw_counters/{name}"))));
    Ok(Transport {
        not_ready_given_up: count("rnr_nak_retry_err"),
        retries_exceeded: count("req_transport_retries_exceeded"),
        ack_timeouts: count("local_ack_timeout_err"),
        out_of_sequence: count("out_of_sequence"),
        sequence_errors: count("packet_seq_err"),
        slow_restarts: count("roce_slow_restart"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, tree_of};
    use serde_json::{Value, json};

    const PORT: &[(&str, &str)] = &[
        ("ports/1/link_layer", "InfiniBand\n"),
        ("ports/1/state", "4: ACTIVE\n"),
        ("ports/1/phys_state", "5: LinkUp\n"),
        ("ports/1/rate", "400 Gb/sec (4X NDR)\n"),
        ("ports/1/lid", "0x1f\n"),
        ("ports/1/sm_lid", "0x1\n"),
        ("ports/1/gids/0", "fe80:0000:0000:0000:0200:00ff:fe00:0001\n"),
        ("ports/1/gids/1", "0000:0000:0000:0000:0000:0000:0000:0000\n"),
        ("ports/1/gid_attrs/types/0", "IB/RoCE v1\n"),
        ("ports/1/pkeys/0", "0xffff\n"),
        ("ports/1/pkeys/1", "0x0000\n"),
        ("ports/1/counters/link_downed", "2\n"),
        ("ports/1/counters/port_rcv_data", "10\n"),
        ("ports/1/hw_counters/out_of_sequence", "7\n"),
        ("fw_ver", "28.39.1002\n"),
        ("board_id", "\n"),
        ("device/numa_node", "-1\n"),
        ("device/device", "0x1021\n"),
    ];

    fn ask(more: &[(&str, &str)], top: &[(&str, &str)]) -> Value {
        let mut files: Vec<(String, &str)> = PORT
            .iter()
            .chain(more)
            .map(|(path, text)| (format!("sys/class/infiniband/mlx5_0/{path}"), *text))
            .collect();
        files.extend(top.iter().map(|(path, text)| (path.to_string(), *text)));
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (_dir, source) = tree_of(&files, Recorded::default());
        (PROBE.ask)(&source, &Value::Null, &Silent).unwrap()[0].clone()
    }

    #[test]
    fn a_port_is_read_with_its_counters() {
        let port = ask(&[], &[]);
        for (field, expected) in [
            ("name", json!("mlx5_0/1")),
            ("state", json!("active")),
            ("physical_state", json!("linkup")),
            ("link_layer", json!("infiniband")),
            ("rate_gbps", json!(400.0)),
            ("width", json!(4)),
            ("speed", json!("NDR")),
            ("lid", json!(31)),
            ("subnet_manager_lid", json!(1)),
            ("gids", json!(["fe80:0000:0000:0000:0200:00ff:fe00:0001"])),
            ("gid_types", json!(["IB/RoCE v1"])),
            ("partitions", json!(["0xffff"])),
            ("firmware", json!("28.39.1002")),
            ("is_switch_manager", json!(false)),
        ] {
            assert_eq!(port[field], expected, "{field}");
        }
        assert_eq!((&port["counters"]["link_downed"], &port["counters"]["received_bytes"]), (&json!(2), &json!(40)));
        assert_eq!(port["counters"]["symbol_error"]["absent"], "not_supported");
        assert_eq!(port["transport"]["out_of_sequence"], 7);
        assert_eq!(port["board_id"]["absent"], "not_supported");
        assert_eq!(port["numa_node"]["absent"], "not_supported");
        assert_eq!(port["pci"]["absent"], "not_recorded");
    }

    #[test]
    fn a_port_without_a_link_has_no_rate_and_an_ethernet_port_no_lid() {
        let down = ask(
            &[
                ("ports/1/state", "1: DOWN\n"),
                ("ports/1/phys_state", "2: Polling\n"),
                ("ports/1/rate", "10 Gb/sec (4X SDR)\n"),
            ],
            &[],
        );
        assert_eq!((&down["state"], &down["physical_state"]), (&json!("down"), &json!("polling")));
        assert_eq!(down["rate_gbps"]["absent"], "not_present");
        let roce = ask(&[("ports/1/link_layer", "Ethernet\n"), ("ports/1/sm_lid", "0x0\n")], &[]);
        assert_eq!(roce["lid"]["absent"], "not_supported");
        assert_eq!(roce["partitions"]["absent"], "not_supported");
    }

    #[test]
    fn counters_of_functions_that_refuse_are_not_asked_for() {
        let marked = ask(&[("device/vpd", "\u{1}…SW_MNG…")], &[("sys/module/nvidia/version", "570\n")]);
        assert_eq!(
            (&marked["is_switch_manager"], &marked["counters"]["absent"]),
            (&json!(true), &json!("not_supported"))
        );
        let virtual_function = ask(&[("device/physfn/vendor", "x")], &[]);
        assert_eq!(virtual_function["is_virtual_function"], true);
        assert_eq!(virtual_function["counters"]["absent"], "not_supported");
        assert_eq!(virtual_function["transport"]["absent"], "not_supported");
    }

    #[test]
    fn garbage_is_told_as_such() {
        let huge = "9".repeat(300);
        let odd = ask(
            &[
                ("ports/1/state", ""),
                ("ports/1/phys_state", "\u{0}\u{1}: x"),
                ("ports/1/rate", "fast"),
                ("ports/1/lid", "zz"),
                ("ports/1/counters/link_downed", &huge),
                ("ports/1/pkeys/0", "x"),
            ],
            &[],
        );
        for field in ["state", "physical_state", "rate_gbps", "width", "speed", "lid", "counters", "partitions"] {
            assert_eq!(odd[field]["absent"], "failed", "{field}: {}", odd[field]);
        }
        assert_eq!(rate("2.5 Gb/sec (1X SDR)").unwrap(), Rate { gbps: 2.5, width: 1, speed: Some("SDR".into()) });
        assert_eq!(rate("10 Gb/sec (4X)").unwrap().speed, None);
        for text in ["NaN Gb/sec (4X NDR)", "-1 Gb/sec (4X)", "400 Gb/sec (X NDR)", "400 Gb/sec (4X NDR"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_adapter_is_no_port() {
        let (_dir, source) = tree_of(&[("proc/version", "x")], Recorded::default());
        assert_eq!((PROBE.ask)(&source, &Value::Null, &Silent).unwrap(), json!([]));
    }
}
