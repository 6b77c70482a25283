//! `routes`: where packets go: routes, addresses, neighbours, and how names are resolved.

use super::host;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const PROBE: Probe = Probe {
    name: "routes",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Routes>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

/// Flags of a route (linux/route.h, linux/ipv6_route.h).
const ROUTE_UP: u32 = 0x1;
const ROUTE_REJECT: u32 = 0x200;
const ROUTE_LOCAL: u32 = 0x8000_0000;
const ROUTE_CACHE: u32 = 0x0100_0000;
/// The neighbour's hardware address is known (ATF_COM of linux/if_arp.h).
const NEIGHBOUR_KNOWN: u32 = 0x2;
/// More routes than a node has; a router's table is not read to its end.
const MOST_ROUTES: usize = 4096;

/// Where this node's packets go.
#[derive(Debug, Serialize, JsonSchema)]
struct Routes {
    /// Routes of the main table (/proc/net/route, /proc/net/ipv6_route), without those to single neighbours that the
    /// kernel keeps for itself. Up to 4096.
    routes: Fact<Vec<Route>>,
    /// The node's own IPv4 addresses without those of the loopback interface (/proc/net/fib_trie).
    addresses: Fact<Vec<String>>,
    /// Neighbours that were talked to over IPv4 (/proc/net/arp).
    neighbours: Fact<Vec<Neighbour>>,
    /// How many connections are kept track of, and how many can be (/proc/sys/net/netfilter). Absent (not_supported)
    /// where the kernel keeps no track.
    connections: Fact<Connections>,
    /// How names are resolved.
    resolver: Resolver,
    /// Addresses that /etc/hosts has for this node's own name. Absent (not_present) when it has none.
    own_addresses: Fact<Vec<String>>,
    /// Names to which /etc/hosts gives different IPv4 addresses in several lines: only the first counts. Names of the
    /// loopback are left out.
    doubled_names: Fact<Vec<String>>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Route {
    /// Where it leads: `10.0.0.0/16`, or `default`.
    destination: String,
    /// `ipv4` or `ipv6`.
    family: Family,
    /// The router. Absent (not_supported) for what is reached directly.
    gateway: Fact<String>,
    /// The network interface.
    interface: String,
    /// Of several routes to the same place that with the lowest counts.
    metric: u64,
}

/// Kinds of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Family {
    /// Four bytes.
    Ipv4,
    /// Sixteen bytes.
    Ipv6,
}

/// A neighbour on a network that is reached directly.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Neighbour {
    /// Its address.
    address: String,
    /// The network interface.
    interface: String,
    /// Whether it answered when it was asked for its hardware address.
    answered: bool,
}

/// Connections that the firewall keeps track of.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Connections {
    /// How many there are (nf_conntrack_count).
    tracked: Fact<u64>,
    /// How many there can be (nf_conntrack_max).
    most: Fact<u64>,
    /// The share in percent.
    used_percent: Fact<f64>,
}

/// How names are resolved.
#[derive(Debug, Serialize, JsonSchema)]
struct Resolver {
    /// DNS servers (/etc/resolv.conf), the first three of which are used. Absent (not_present) without such a file.
    servers: Fact<Vec<String>>,
    /// Domains that are tried for short names (the last `search` or `domain`).
    search: Fact<Vec<String>>,
    /// Options: `timeout:1`, `rotate`.
    options: Fact<Vec<String>>,
    /// What is asked for host names, in turn: `files`, `dns`, `myhostname` … (/etc/nsswitch.conf). Absent (not_present)
    /// where the file or its line is missing.
    sources: Fact<Vec<String>>,
}

fn observe(source: &Source) -> Routes {
    // What stands in /proc/net is that of the asking process; of a host below another root the first process counts.
    let net = if source.is_live() || source.recorded().is_some() { "/proc/net" } else { "/proc/1/net" };
    let hosts = source.text("/etc/hosts").map(|text| hosts(&text));
    let own: Vec<String> = host::host_names(source).into_iter().filter_map(Result::ok).collect();
    Routes {
        routes: Fact(routes(source, net)),
        addresses: Fact(source.text(&format!("{net}/fib_trie")).map_err(supported).and_then(|text| addresses(&text))),
        neighbours: Fact(source.text(&format!("{net}/arp")).map_err(supported).map(|text| neighbours(&text))),
        connections: Fact(connections(source)),
        resolver: resolver(source),
        own_addresses: Fact(hosts.clone().and_then(|hosts| own_addresses(&hosts, &own))),
        doubled_names: Fact(hosts.map(|hosts| doubled_names(&hosts))),
    }
}

/// Without the file the kernel has no such protocol.
fn supported(absent: Absent) -> Absent {
    match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    }
}

fn routes(source: &Source, net: &str) -> Result<Vec<Route>, Absent> {
    let path = format!("{net}/route");
    let mut routes = routes_of_ipv4(&path, &source.text(&path).map_err(supported)?)?;
    match source.text(&format!("{net}/ipv6_route")) {
        Ok(text) => routes.extend(routes_of_ipv6(&text)),
        // IPv6 may be switched off.
        Err(absent) if absent.reason == Reason::NotPresent => {}
        Err(absent) => return Err(absent),
    }
    routes.truncate(MOST_ROUTES);
    Ok(routes)
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT`, addresses in hexadecimal as they lie in
/// memory.
fn routes_of_ipv4(path: &str, text: &str) -> Result<Vec<Route>, Absent> {
    let mut lines = text.lines();
    if !lines.next().is_some_and(|head| head.starts_with("Iface")) {
        return Err(Absent::failed(format!("{path}: not what the kernel writes")));
    }
    let address =
        |digits: &str| u32::from_str_radix(digits, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let (destination, gateway, mask) = (address(destination)?, address(gateway)?, address(mask)?);
        let prefix = u32::from(mask).count_ones();
        (flags & ROUTE_UP != 0 && flags & ROUTE_REJECT == 0).then(|| Route {
            destination: match prefix {
                0 => "default".to_string(),
                prefix => format!("{destination}/{prefix}"),
            },
            family: Family::Ipv4,
            gateway: Fact(match gateway.is_unspecified() {
                true => Err(Absent::not_supported("it is reached directly")),
                false => Ok(gateway.to_string()),
            }),
            interface: interface.to_string(),
            metric: metric.parse().unwrap_or(0),
        })
    };
    Ok(lines.filter_map(route).collect())
}

/// `DESTINATION PREFIX SOURCE PREFIX GATEWAY METRIC REFCNT USE FLAGS INTERFACE`, all but the last in hexadecimal.
fn routes_of_ipv6(text: &str) -> Vec<Route> {
    let address = |digits: &str| u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from);
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, prefix, _, _, gateway, metric, _, _, flags, interface] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let prefix = u32::from_str_radix(prefix, 16).ok()?;
        let (destination, gateway) = (address(destination)?, address(gateway)?);
        let shown = flags & ROUTE_UP != 0
            && flags & (ROUTE_REJECT | ROUTE_LOCAL | ROUTE_CACHE) == 0
            && interface != "lo"
            && !destination.is_multicast();
        shown.then(|| Route {
            destination: match prefix {
                0 => "default".to_string(),
                prefix => format!("{destination}/{prefix}"),
            },
            family: Family::Ipv6,
            gateway: Fact(match gateway.is_unspecified() {
                true => Err(Absent::not_supported("it is reached directly")),
                false => Ok(gateway.to_string()),
            }),
            interface: interface.to_string(),
            metric: u64::from_str_radix(metric, 16).unwrap_or(0),
        })
    };
    text.lines().filter_map(route).collect()
}

/// The tree of addresses: a line `|-- 10.0.0.5` and below it `/32 host LOCAL` is one of our own.
fn addresses(text: &str) -> Result<Vec<String>, Absent> {
    let mut own: Vec<Ipv4Addr> = Vec::new();
    let mut last = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            own.extend(last.filter(|address| !address.is_loopback() && !address.is_unspecified()));
        }
    }
    if !text.trim_start().is_empty() && !text.contains("|--") && !text.contains("+--") {
        return Err(Absent::failed("fib_trie: not what the kernel writes"));
    }
    own.sort();
    own.dedup();
    Ok(own.iter().map(ToString::to_string).collect())
}

/// `IP address HW type Flags HW address Mask Device`.
fn neighbours(text: &str) -> Vec<Neighbour> {
    let neighbour = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, flags, .., interface] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        address.parse::<IpAddr>().ok()?;
        Some(Neighbour {
            address: address.to_string(),
            interface: interface.to_string(),
            answered: flags & NEIGHBOUR_KNOWN != 0,
        })
    };
    text.lines().skip(1).filter_map(neighbour).collect()
}

fn connections(source: &Source) -> Result<Connections, Absent> {
    let number = |name: &str| Fact(source.number(&format!("/proc/sys/net/netfilter/{name}")));
    let (tracked, most) = (number("nf_conntrack_count"), number("nf_conntrack_max"));
    if let Err(absent) = &most.0
        && absent.reason == Reason::NotPresent
    {
        return Err(Absent::not_supported("the kernel keeps no track of connections"));
    }
    Ok(Connections { used_percent: super::text::percent(&tracked, &most), tracked, most })
}

fn resolver(source: &Source) -> Resolver {
    let text = source.text("/etc/resolv.conf");
    let words = |keys: &[&str], all: bool| {
        text.as_ref().map_err(Clone::clone).map(|text| {
            let mut lines = text.lines().filter_map(|line| {
                let mut words = line.split_whitespace();
                keys.contains(&words.next()?).then(|| words.map(str::to_string).collect::<Vec<_>>())
            });
            match all {
                true => lines.flatten().collect(),
                false => lines.next_back().unwrap_or_default(),
            }
        })
    };
    let sources = source.text("/etc/nsswitch.conf").and_then(|text| database(&text, "hosts"));
    Resolver {
        servers: Fact(words(&["nameserver"], true)),
        search: Fact(words(&["search", "domain"], false)),
        options: Fact(words(&["options"], true)),
        sources: Fact(sources),
    }
}

/// The sources of one database in nsswitch.conf: `passwd: files sss [NOTFOUND=return] ldap`.
pub(super) fn database(text: &str, name: &str) -> Result<Vec<String>, Absent> {
    let line = text.lines().map(|line| line.split('#').next().unwrap_or_default()).find_map(|line| {
        let (database, sources) = line.split_once(':')?;
        (database.trim() == name).then_some(sources)
    });
    let sources = line.ok_or_else(|| Absent::not_present(format!("/etc/nsswitch.conf has no line for {name}")))?;
    let mut inside = false;
    let words = sources.split_whitespace().filter(|word| {
        let is_source = !inside && !word.starts_with('[');
        inside = (inside || word.starts_with('[')) && !word.ends_with(']');
        is_source
    });
    Ok(words.map(clipped).collect())
}

/// Address and names of each line.
fn hosts(text: &str) -> Vec<(IpAddr, Vec<String>)> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        Some((address, words.map(|name| name.to_ascii_lowercase()).collect()))
    };
    text.lines().filter_map(line).collect()
}

fn own_addresses(hosts: &[(IpAddr, Vec<String>)], own: &[String]) -> Result<Vec<String>, Absent> {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_own = |name: &String| own.iter().any(|own| own.eq_ignore_ascii_case(name) || short(own) == *name);
    let found: Vec<String> =
        hosts.iter().filter(|(_, names)| names.iter().any(is_own)).map(|(address, _)| address.to_string()).collect();
    match found.is_empty() {
        true => Err(Absent::not_present("/etc/hosts does not have this node's name")),
        false => Ok(found),
    }
}

fn doubled_names(hosts: &[(IpAddr, Vec<String>)]) -> Vec<String> {
    let mut first = std::collections::BTreeMap::new();
    let mut doubled = std::collections::BTreeSet::new();
    for (address, names) in hosts.iter().filter(|(address, _)| address.is_ipv4() && !address.is_loopback()) {
        for name in names {
            if *first.entry(name).or_insert(address) != address {
                doubled.insert(name.clone());
            }
        }
    }
    doubled.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eno1\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eno1\t0000000A\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0
ib0\tgarbage\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0
eno1\t0000A8C0\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0
";
    const TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
        |-- 10.0.3.7
           /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
Local:
        |-- 10.0.3.7
           /32 host LOCAL
";

    #[test]
    fn routes_addresses_and_neighbours_are_read() {
        let (_dir, source) = tree_of(
            &[
                ("proc/net/route", ROUTE),
                (
                    "proc/net/ipv6_route",
                    "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eno1\nfe80 bad\n",
                ),
                ("proc/net/fib_trie", TRIE),
                (
                    "proc/net/arp",
                    "IP address       HW type     Flags       HW address            Mask     Device\n10.0.0.1         0x1         0x2         02:00:00:00:00:01     *        eno1\n10.0.0.9         0x1         0x0         00:00:00:00:00:00     *        eno1\nx\n",
                ),
                ("proc/sys/net/netfilter/nf_conntrack_max", "1000\n"),
                ("proc/sys/net/netfilter/nf_conntrack_count", "250\n"),
                ("etc/hostname", "gpu7.x.example\n"),
                ("etc/hosts", "127.0.0.1 localhost\n10.0.3.7 gpu7.x.example gpu7 # us\n10.0.3.8 gpu8\n10.0.3.9 GPU8\n"),
                ("etc/resolv.conf", "; x\nsearch a\nnameserver 10.0.0.2\nsearch b c\nnameserver 10.0.0.3\n"),
                (
                    "etc/nsswitch.conf",
                    "# hosts: nis\npasswd: files sss\nhosts: files [NOTFOUND=return SUCCESS=return] dns # x\n",
                ),
            ],
            Recorded::default(),
        );
        let seen = observe(&source);
        let routes = seen.routes.0.unwrap();
        let told: Vec<(&str, Option<&str>)> = routes
            .iter()
            .map(|route| (route.destination.as_str(), route.gateway.value().map(String::as_str)))
            .collect();
        let expected = [("default", Some("10.0.0.1")), ("10.0.0.0/16", None), ("fd00::/64", None)];
        assert_eq!(told, expected);
        assert_eq!((routes[2].metric, routes[2].family), (256, Family::Ipv6));
        assert_eq!(seen.addresses, Fact(Ok(vec!["10.0.3.7".to_string()])));
        let answered: Vec<bool> = seen.neighbours.0.unwrap().iter().map(|neighbour| neighbour.answered).collect();
        assert_eq!(answered, [true, false]);
        assert_eq!(seen.connections.0.unwrap().used_percent, Fact(Ok(25.0)));
        assert_eq!(seen.own_addresses, Fact(Ok(vec!["10.0.3.7".to_string()])));
        assert_eq!(seen.doubled_names, Fact(Ok(vec!["gpu8".to_string()])));
        assert_eq!(seen.resolver.servers.0.unwrap(), ["10.0.0.2", "10.0.0.3"]);
        assert_eq!(seen.resolver.search.0.unwrap(), ["b", "c"]);
        assert_eq!(seen.resolver.sources.0.unwrap(), ["files", "dns"]);
    }

    #[test]
    fn what_is_not_there_or_garbled_is_told_apart() {
        let binary = "\u{0}\u{1}\u{2}";
        let (_dir, source) = tree_of(
            &[("proc/net/route", binary), ("proc/net/fib_trie", binary), ("proc/net/arp", "")],
            Recorded::default(),
        );
        let seen = observe(&source);
        assert_eq!(seen.routes.0.unwrap_err().reason, Reason::Failed);
        assert_eq!(seen.addresses.0.unwrap_err().reason, Reason::Failed);
        assert_eq!(seen.neighbours.0.unwrap(), []);
        assert_eq!(seen.connections.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!(seen.resolver.servers.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(seen.own_addresses.0.unwrap_err().reason, Reason::NotPresent);
    }
}
