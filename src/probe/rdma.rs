//! `rdma`: what programs need to use RDMA adapters, and GPUs over them.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

pub(super) const PROBE: Probe = Probe {
    name: "rdma",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Rdma>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

/// Folders of the providers' libraries: `libmlx5-rdmav34.so` (rdma-core), by distribution.
const PROVIDER_FOLDERS: [&str; 4] = [
    "/usr/lib64/libibverbs",
    "/usr/lib/x86_64-linux-gnu/libibverbs",
    "/usr/lib/aarch64-linux-gnu/libibverbs",
    "/usr/lib/libibverbs",
];
/// Where GDRCopy's library may lie.
const LIBRARY_FOLDERS: [&str; 6] = [
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/opt/gdrcopy/lib",
];

/// What stands between a program and RDMA adapters.
#[derive(Debug, Serialize, JsonSchema)]
struct Rdma {
    /// The device nodes that programs open, one for each adapter and kind of use. Those that the kernel wants and that
    /// are not there have `present: false`. Absent (not_present) where there is no RDMA adapter with a driver.
    nodes: Fact<Vec<Node>>,
    /// Whether /dev/infiniband/rdma_cm is there, by which programs find each other. Absent as `nodes` is.
    connection_manager: Fact<bool>,
    /// Drivers of adapters that programs have a library for: `mlx5` (files of rdma-core's folder libibverbs). Absent
    /// (not_present) where rdma-core is not installed.
    providers: Fact<Vec<String>>,
    /// How network adapters reach the memory of NVIDIA GPUs by a module: `nvidia_peermem` or `nv_peer_mem`
    /// (/proc/modules). Absent (not_present) when neither is loaded; DMA-BUF may serve instead.
    peermem: Fact<String>,
    /// GDRCopy, by which the processor reaches the memory of NVIDIA GPUs.
    gdrcopy: GdrCopy,
}

/// A device node of an RDMA adapter.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "node", "x-key" = "path"))]
struct Node {
    /// Its path: `/dev/infiniband/uverbs0`.
    path: String,
    /// The adapter it is for.
    device: Fact<String>,
    /// `verbs` (data) or `management` (asking the fabric).
    kind: NodeKind,
    /// Whether it is there.
    present: bool,
    /// Whether everybody may read and write it. Absent (not_present) when it is not there or a recording does not say.
    for_everybody: Fact<bool>,
}

/// What a device node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum NodeKind {
    /// Data: every program that uses RDMA opens it.
    Verbs,
    /// Asking and managing the fabric.
    Management,
}

/// GDRCopy.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct GdrCopy {
    /// Whether its kernel module gdrdrv is loaded (/proc/modules).
    loaded: Fact<bool>,
    /// Version of the module (/sys/module/gdrdrv/version). Absent (not_present) when it is not loaded.
    version: Fact<String>,
    /// Whether /dev/gdrdrv is there.
    node: bool,
    /// Whether its library is installed for programs (libgdrapi.so.2).
    library: bool,
}

fn observe(source: &Source) -> Rdma {
    let modules: Result<BTreeSet<String>, Absent> = source
        .text("/proc/modules")
        .map(|text| text.lines().filter_map(|line| line.split(' ').next()).map(str::to_string).collect());
    let loaded = |name: &str| modules.as_ref().map(|modules| modules.contains(name)).map_err(Clone::clone);
    let peermem = ["nvidia_peermem", "nv_peer_mem"].into_iter().find(|name| loaded(name) == Ok(true));
    let nodes = nodes(source);
    Rdma {
        connection_manager: Fact(match &nodes {
            Ok(_) => Ok(source.exists("/dev/infiniband/rdma_cm")),
            Err(absent) => Err(absent.clone()),
        }),
        nodes: Fact(nodes),
        providers: Fact(providers(source)),
        peermem: Fact(match peermem {
            Some(name) => Ok(name.to_string()),
            None => Err(modules
                .as_ref()
                .err()
                .cloned()
                .unwrap_or_else(|| Absent::not_present("neither nvidia_peermem nor nv_peer_mem is loaded"))),
        }),
        gdrcopy: GdrCopy {
            loaded: Fact(loaded("gdrdrv")),
            version: Fact(source.word("/sys/module/gdrdrv/version")),
            node: source.exists("/dev/gdrdrv"),
            library: LIBRARY_FOLDERS.iter().any(|folder| source.exists(&format!("{folder}/libgdrapi.so.2"))),
        },
    }
}

fn nodes(source: &Source) -> Result<Vec<Node>, Absent> {
    let adapters = source.names("/sys/class/infiniband")?;
    if adapters.is_empty() {
        return Err(Absent::not_present("/sys/class/infiniband is empty"));
    }
    let mut nodes = Vec::new();
    for (class, kind, prefix) in [
        ("/sys/class/infiniband_verbs", NodeKind::Verbs, "uverbs"),
        ("/sys/class/infiniband_mad", NodeKind::Management, "umad"),
    ] {
        // Without the class its module is not loaded: the adapters are there, their nodes are not.
        let names = match source.names(class) {
            Ok(names) => names,
            Err(absent) if absent.reason == Reason::NotPresent => Vec::new(),
            Err(absent) => return Err(absent),
        };
        for name in names.into_iter().filter(|name| name.starts_with(prefix)) {
            let path = format!("/dev/infiniband/{name}");
            // Without the adapter's name nobody knows whose node is there, and whose is not.
            let device = match source.word(&format!("{class}/{name}/ibdev")) {
                Err(absent) if absent.reason != Reason::NotPresent => return Err(absent),
                device => device,
            };
            nodes.push(node(source, path, Fact(device), kind));
        }
        if kind == NodeKind::Verbs {
            for adapter in &adapters {
                if !nodes.iter().any(|node| node.device.value() == Some(adapter)) {
                    nodes.push(Node {
                        path: format!("/dev/infiniband/uverbs of {adapter}"),
                        device: Fact(Ok(adapter.clone())),
                        kind,
                        present: false,
                        for_everybody: Fact(Err(Absent::not_present("it is not there"))),
                    });
                }
            }
        }
    }
    Ok(nodes)
}

fn node(source: &Source, path: String, device: Fact<String>, kind: NodeKind) -> Node {
    let found = source.metadata(&path, true);
    let recorded = source.recorded().and_then(|recorded| recorded.files.get(&path)?.mode.clone());
    let for_everybody = match (&found, source.recorded()) {
        (Err(_), _) => Err(Absent::not_present("it is not there")),
        (Ok(found), None) => Ok(found.permissions().mode() & 0o006 == 0o006),
        (Ok(_), Some(_)) => match recorded.and_then(|mode| u32::from_str_radix(&mode, 8).ok()) {
            Some(mode) => Ok(mode & 0o006 == 0o006),
            None => Err(Absent::not_present("its mode was not recorded")),
        },
    };
    Node { present: found.is_ok(), path, device, kind, for_everybody: Fact(for_everybody) }
}

fn providers(source: &Source) -> Result<Vec<String>, Absent> {
    let mut providers = BTreeSet::new();
    let mut found = false;
    for folder in PROVIDER_FOLDERS {
        let Ok(names) = source.names(folder) else { continue };
        found = true;
        let provider = |name: &String| Some(name.strip_prefix("lib")?.split_once("-rdmav")?.0.to_string());
        providers.extend(names.iter().filter_map(provider));
    }
    match found {
        true => Ok(providers.into_iter().collect()),
        false => Err(Absent::not_present("there is no folder libibverbs: rdma-core is not installed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    #[test]
    fn nodes_that_should_be_there_and_are_not_are_told() {
        let recorded: Recorded =
            serde_yaml::from_str("recorded: 2026-01-01T00:00:00Z\nfiles: {/dev/infiniband/uverbs0: {mode: '0600'}}")
                .unwrap();
        let (_dir, source) = tree_of(
            &[
                ("sys/class/infiniband/mlx5_0/fw_ver", "1"),
                ("sys/class/infiniband/mlx5_1/fw_ver", "1"),
                ("sys/class/infiniband_verbs/uverbs0/ibdev", "mlx5_0\n"),
                ("sys/class/infiniband_verbs/abi_version", "6\n"),
                ("sys/class/infiniband_mad/umad0/ibdev", "mlx5_0\n"),
                ("dev/infiniband/uverbs0", ""),
                ("proc/modules", "nvidia_peermem 16384 0 - Live 0x0\ngdrdrv 24576 0 - Live 0x0\n"),
                ("sys/module/gdrdrv/version", "2.4\n"),
                ("usr/lib64/libibverbs/libmlx5-rdmav34.so", ""),
                ("usr/lib64/libibverbs/README", ""),
            ],
            recorded,
        );
        let rdma = observe(&source);
        let nodes = rdma.nodes.0.unwrap();
        let told: Vec<(&str, bool)> = nodes.iter().map(|node| (node.path.as_str(), node.present)).collect();
        assert_eq!(
            told,
            [
                ("/dev/infiniband/uverbs0", true),
                ("/dev/infiniband/uverbs of mlx5_1", false),
                ("/dev/infiniband/umad0", false)
            ]
        );
        assert_eq!(nodes[0].for_everybody, Fact(Ok(false)));
        assert_eq!(rdma.connection_manager, Fact(Ok(false)));
        assert_eq!(rdma.providers, Fact(Ok(vec!["mlx5".to_string()])));
        assert_eq!(rdma.peermem, Fact(Ok("nvidia_peermem".to_string())));
        assert_eq!((rdma.gdrcopy.loaded, rdma.gdrcopy.version), (Fact(Ok(true)), Fact(Ok("2.4".to_string()))));
    }

    #[test]
    fn a_node_without_adapters_has_no_nodes_and_unread_modules_are_unknown() {
        let (_dir, source) = tree_of(&[("proc/version", "x")], Recorded::default());
        let rdma = observe(&source);
        assert_eq!(rdma.nodes.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(rdma.providers.0.unwrap_err().reason, Reason::NotPresent);
        assert!(rdma.gdrcopy.loaded.0.is_err());
    }
}
