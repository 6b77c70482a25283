//! `lustre`: what the Lustre client of this node knows of its servers.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "lustre",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Lustre>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

/// Where the client's files lie, by version: some moved from /proc to /sys, those of several lines to debugfs.
const ROOTS: [&str; 3] = ["/sys/fs/lustre", "/sys/kernel/debug/lustre", "/proc/fs/lustre"];
/// Kinds of servers that a client is connected to: objects, metadata, management.
const KINDS: [&str; 3] = ["osc", "mdc", "mgc"];
/// More targets than the largest file systems have.
const MOST_TARGETS: usize = 4096;

/// The Lustre client. Absent as a whole (not_present) where its modules are not loaded.
#[derive(Debug, Serialize, JsonSchema)]
struct Lustre {
    /// Its version (/sys/fs/lustre/version).
    version: Fact<String>,
    /// What the client says of itself: `healthy`, or what is wrong (health_check).
    health: Fact<String>,
    /// Every server part that it is or was connected to.
    targets: Fact<Vec<Target>>,
    /// The client's own addresses in Lustre's network (/sys/kernel/debug/lnet/nis, or /proc/sys/lnet/nis). Absent
    /// (denied) for anybody but root.
    networks: Fact<Vec<Network>>,
}

/// A part of a file system on some server.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "target", "x-key" = "name"))]
struct Target {
    /// Its name: `scratch-OST0003`.
    name: String,
    /// `osc` (data), `mdc` (metadata) or `mgc` (management).
    kind: String,
    /// How the connection is: `full` and `idle` are well; `disconn`, `connecting`, `evicted`, `recover`, `replay` …
    /// are not, `new` is not used yet, `closed` is given up (import, state). Absent (denied) where that needs root.
    state: Fact<String>,
    /// The server that serves it now: `10.0.0.11@o2ib` (import). Absent (not_present) when none.
    server: Fact<String>,
    /// How often the servers threw this client out, of the last states that are kept (state).
    evictions: Fact<u64>,
    /// How long ago the last of these was, in seconds. Absent (not_present) when there was none.
    evicted_seconds_ago: Fact<u64>,
    /// Whether an administrator switched it off (active).
    active: Fact<bool>,
}

/// An address in Lustre's network.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Network {
    /// `10.0.0.5@o2ib`.
    nid: String,
    /// `up` or `down`.
    status: String,
}

fn observe(source: &Source) -> Result<Lustre, Absent> {
    if !ROOTS.iter().any(|root| source.exists(root)) {
        return Err(Absent::not_present("no Lustre client is loaded"));
    }
    let first = |file: &str| super::first_present(ROOTS.iter().map(|root| source.line(&format!("{root}/{file}"))));
    Ok(Lustre {
        version: Fact(first("version").0.map(|version| match version.strip_prefix("lustre:") {
            // 2.10 and before have several lines, of which the first is it.
            Some(rest) => rest.lines().next().unwrap_or_default().trim().to_string(),
            None => version,
        })),
        health: Fact(first("health_check").0.and_then(|health| match health.lines().next().map(str::trim) {
            Some(said) if !said.is_empty() => Ok(said.to_string()),
            _ => Err(Absent::failed("health_check: empty")),
        })),
        targets: Fact(targets(source)),
        networks: Fact(networks(source)),
    })
}

fn targets(source: &Source) -> Result<Vec<Target>, Absent> {
    let mut targets: Vec<Target> = Vec::new();
    let mut refused: Option<Absent> = None;
    let mut found = false;
    for kind in KINDS {
        let mut names = Vec::new();
        for root in ROOTS {
            match source.names(&format!("{root}/{kind}")) {
                Ok(here) => {
                    found = true;
                    names.extend(here);
                }
                Err(absent) if absent.reason == Reason::NotPresent => {}
                Err(absent) => refused = Some(absent),
            }
        }
        names.sort();
        names.dedup();
        for folder in names.into_iter().filter(|name| name.contains('-')).take(MOST_TARGETS) {
            targets.push(target(source, kind, &folder));
        }
    }
    match refused {
        Some(absent) if !found => Err(absent),
        _ => Ok(targets),
    }
}

/// `scratch-OST0003-osc-ffff9c5d1f3a7000`
fn target(source: &Source, kind: &str, folder: &str) -> Target {
    let read = |file: &str| {
        super::first_present(ROOTS.iter().map(|root| source.text(&format!("{root}/{kind}/{folder}/{file}")))).0
    };
    let cut = folder.find(&format!("-{kind}-")).unwrap_or(folder.len());
    let import = read("import");
    let history = read("state");
    let from_import = import.clone().and_then(|text| {
        value(&text, "state").ok_or_else(|| Absent::failed(format!("import of {folder}: has no state")))
    });
    let from_history = history.clone().and_then(|text| {
        value(&text, "current_state").ok_or_else(|| Absent::failed(format!("state of {folder}: has no current_state")))
    });
    let state = super::first_present([from_import, from_history]).0.map(|state| state.to_ascii_lowercase());
    let server = import.and_then(|text| match value(&text, "current_connection") {
        Some(server) if !server.is_empty() && server != "<none>" => Ok(server),
        _ => Err(Absent::not_present("it is connected to none")),
    });
    let evicted = history.map(|text| evictions(&text));
    let last = evicted.clone().and_then(|times| match times.iter().max() {
        Some(at) => Ok(source.now().timestamp().saturating_sub(*at).max(0).unsigned_abs()),
        None => Err(Absent::not_present("it was never thrown out")),
    });
    Target {
        name: folder[..cut].to_string(),
        kind: kind.to_string(),
        state: Fact(state),
        server: Fact(server),
        evictions: Fact(evicted.map(|times| times.len() as u64)),
        evicted_seconds_ago: Fact(last),
        active: Fact(read("active").and_then(|text| match text.trim() {
            "1" => Ok(true),
            "0" => Ok(false),
            other => Err(Absent::failed(format!("active of {folder}: \"{}\"", clipped(other)))),
        })),
    }
}

/// The value of `    key: value`, without quotes.
fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().trim_matches('"').to_string())
}

/// When the client was thrown out: lines ` - [ 1700000000, EVICTED ]`.
fn evictions(text: &str) -> Vec<i64> {
    let line = |line: &str| {
        let (time, state) = line.trim().strip_prefix("- [")?.strip_suffix(']')?.split_once(',')?;
        (state.trim() == "EVICTED").then(|| time.trim().parse().ok())?
    };
    text.lines().filter_map(line).collect()
}

/// `nid status alive refs peer rtr max tx min`.
fn networks(source: &Source) -> Result<Vec<Network>, Absent> {
    let text =
        super::first_present(["/sys/kernel/debug/lnet/nis", "/proc/sys/lnet/nis"].map(|path| source.text(path))).0?;
    let network = |line: &str| {
        let mut words = line.split_whitespace();
        let (nid, status) = (words.next()?, words.next()?);
        (nid.contains('@') && nid != "0@lo").then(|| Network { nid: nid.to_string(), status: status.to_string() })
    };
    Ok(text.lines().skip(1).filter_map(network).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    const IMPORT: &str = "import:\n    name: s-OST0000-osc-ffff\n    target: s-OST0000_UUID\n    state: FULL\n    connect_flags: [ write_grant ]\n    connection:\n       failover_nids: [ \"10.0.0.11@o2ib\" ]\n       current_connection: \"10.0.0.11@o2ib\"\n";
    const STATE: &str = "current_state: DISCONN\nstate_history:\n - [ 1767225000, CONNECTING ]\n - [ 1767225100, EVICTED ]\n - [ 1767225101, RECOVER ]\n";

    #[test]
    fn connections_are_read_wherever_a_version_keeps_them() {
        let recorded: Recorded = serde_yaml::from_str("recorded: 2026-01-01T00:00:00Z").unwrap();
        let files = [
            ("sys/fs/lustre/version", "2.15.4\n"),
            ("sys/fs/lustre/health_check", "healthy\n"),
            ("sys/fs/lustre/osc/s-OST0000-osc-ffff9c/active", "1\n"),
            ("proc/fs/lustre/osc/s-OST0000-osc-ffff9c/import", IMPORT),
            ("sys/kernel/debug/lustre/mdc/s-MDT0000-mdc-ffff9c/state", STATE),
            ("sys/kernel/debug/lustre/mdc/s-MDT0001-mdc-ffff9c/import", "\u{0}\u{1}"),
            ("sys/kernel/debug/lnet/nis", "nid status alive\n0@lo up 0\n10.0.0.5@o2ib down 0\n"),
        ];
        let (_dir, source) = tree_of(&files, recorded);
        let seen = observe(&source).unwrap();
        assert_eq!((seen.version, seen.health), (Fact(Ok("2.15.4".into())), Fact(Ok("healthy".into()))));
        let targets = seen.targets.0.unwrap();
        assert_eq!((targets[0].name.as_str(), &targets[0].state), ("s-OST0000", &Fact(Ok("full".into()))));
        assert_eq!(targets[0].server, Fact(Ok("10.0.0.11@o2ib".into())));
        assert_eq!(targets[0].active, Fact(Ok(true)));
        assert_eq!((&targets[1].state, &targets[1].evictions), (&Fact(Ok("disconn".into())), &Fact(Ok(1))));
        assert_eq!(targets[1].evicted_seconds_ago, Fact(Ok(500)));
        assert_eq!(targets[2].state.0.as_ref().unwrap_err().reason, Reason::Failed);
        assert_eq!(seen.networks.0.unwrap(), [Network { nid: "10.0.0.5@o2ib".into(), status: "down".into() }]);
    }

    #[test]
    fn a_node_without_lustre_has_none() {
        let (_dir, source) = tree_of(&[("proc/version", "")], Recorded::default());
        assert_eq!(observe(&source).unwrap_err().reason, Reason::NotPresent);
    }
}
