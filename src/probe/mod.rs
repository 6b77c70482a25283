//! How a node is asked: one file a probe, and the registry.
//!
//! A probe reads one topic of the node through a [`Source`] and answers with a typed observation. The struct is
//! the whole contract: its schema is what expressions are checked against, its doc comments are the reference that
//! `punchlist probes` prints. Adding a probe is one file here and one line in [`PROBES`].
//!
//! Rules for a probe:
//! * Everything it reads goes through its [`Source`], so that it works on a live machine, under another root and on
//!   a recorded one with the same code.
//! * A field it could not fill is absent with a reason; it never invents a zero, and it never fails as a whole for
//!   the sake of one field.
//! * Facts carry their unit in their name (`_bytes`, `_seconds`, `_c`, `_w`, `_gbps`, `_mhz`).
//! * It runs in the worker process only, so it may hang; parts that hang on their own are asked with
//!   [`parts::ask`], each in its own time.

mod bmc;
mod boot;
mod cgroups;
mod command;
mod containers;
mod cpu;
mod dcgm;
mod disks;
mod dmi;
mod dns;
mod edac;
mod ethtool;
mod expected;
mod fabric_manager;
mod file;
mod gpu_pairs;
mod gpus;
mod host;
mod http;
mod ib_write_bw;
mod imex;
mod infiniband;
mod kernel;
mod kernel_log;
mod kubernetes;
mod limits;
mod lustre;
mod machine_checks;
mod memory;
mod mounts;
mod network;
mod nfs;
mod nvidia;
mod nvidia_log;
mod nvme;
mod nvml;
mod nvswitches;
mod packages;
pub mod parts;
mod pci;
mod pci_names;
mod pcie;
mod processes;
mod rdma;
mod routes;
mod services;
mod slurm;
pub mod source;
pub mod subprocess;
mod sysctl;
mod talk;
mod tcp;
mod text;
mod thermal;
mod time_sync;
mod users;
mod users_directory;
mod write_test;

pub use host::node_name;

use crate::fact::{Absent, Fact};
use parts::Progress;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use source::Source;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How long a probe may take, unless it says otherwise (design.md, "Observing safely").
pub const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// One way to ask the node.
pub struct Probe {
    /// The name that expressions use.
    pub name: &'static str,
    /// How long the whole probe may take.
    pub deadline: Duration,
    /// The schema of its answer.
    pub answer: fn(&mut SchemaGenerator) -> Schema,
    /// The schema of its arguments; `None` for a probe that takes none.
    pub arguments: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// Asks. `arguments` is null for a probe that takes none. What it reports through `progress` is kept even when
    /// it never returns.
    pub ask: fn(source: &Source, arguments: &Value, progress: &dyn Progress) -> Result<Value, Absent>,
}

impl Probe {
    /// Whether asking it loads the node.
    pub fn loads(&self) -> bool {
        [write_test::PROBE.name, ib_write_bw::PROBE.name].contains(&self.name)
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({})", self.name)
    }
}

/// Every probe there is, in the order of the reference.
pub static PROBES: &[Probe] = &[
    host::PROBE,
    cpu::PROBE,
    memory::PROBE,
    kernel::PROBE,
    mounts::PROBE,
    processes::PROBE,
    services::PROBE,
    pci::PROBE,
    kernel_log::PROBE,
    expected::PROBE,
    disks::PROBE,
    network::PROBE,
    infiniband::PROBE,
    rdma::PROBE,
    routes::PROBE,
    limits::PROBE,
    cgroups::PROBE,
    time_sync::PROBE,
    users_directory::PROBE,
    containers::PROBE,
    slurm::PROBE,
    kubernetes::PROBE,
    lustre::PROBE,
    nfs::PROBE,
    nvidia::PROBE,
    gpus::PROBE,
    gpu_pairs::PROBE,
    nvswitches::PROBE,
    fabric_manager::PROBE,
    imex::PROBE,
    dcgm::PROBE,
    pcie::PROBE,
    edac::PROBE,
    machine_checks::PROBE,
    dmi::PROBE,
    thermal::PROBE,
    nvme::PROBE,
    boot::PROBE,
    bmc::PROBE,
    file::PROBE,
    command::PROBE,
    sysctl::PROBE,
    write_test::PROBE,
    ib_write_bw::PROBE,
    users_directory::USER_PROBE,
    packages::PROBE,
    dns::PROBE,
    tcp::PROBE,
    http::PROBE,
];

/// The mount that a path of this machine lies on, with its server; nothing of the mount itself is touched.
pub fn mounts_under(path: &Path) -> Option<String> {
    mounts::under(path)
}

/// The probe called `name`.
pub fn find(name: &str) -> Option<&'static Probe> {
    PROBES.iter().find(|probe| probe.name == name)
}

/// A duration as checklists and the command line write it: `10s`, `500ms`, `1m30s`, `1.5h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    // Nobody waits for longer than a month; a number beyond it is a slip.
    let longest = Duration::from_secs(31 * 24 * 3600);
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero() && *duration <= longest)
}

/// The schema of `T`, for [`Probe::answer`] and [`Probe::arguments`].
fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The JSON form of a typed observation.
fn answer<T: Serialize>(observed: &T) -> Result<Value, Absent> {
    serde_json::to_value(observed).map_err(|error| Absent::failed(format!("cannot be written as JSON: {error}")))
}

/// The typed arguments of a probe. The checklist's own check has seen them before; this speaks up for values that
/// only `{…}` produced.
fn arguments_of<T: DeserializeOwned>(arguments: &Value) -> Result<T, Absent> {
    serde_json::from_value(arguments.clone()).map_err(|error| Absent::failed(format!("bad arguments: {error}")))
}

/// The first of several ways to learn something that is present; where none is, the reason that counts most.
fn first_present<T>(ways: impl IntoIterator<Item = Result<T, Absent>>) -> Fact<T> {
    let mut absent: Option<Absent> = None;
    for way in ways {
        match way {
            Ok(value) => return Fact(Ok(value)),
            Err(reason) if absent.as_ref().is_none_or(|known| reason.reason < known.reason) => absent = Some(reason),
            Err(_) => {}
        }
    }
    Fact(Err(absent.unwrap_or_else(|| Absent::not_present("nothing to ask"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_checklists_write_them() {
        for (text, milliseconds) in [("10s", 10_000), ("500ms", 500), ("1m30s", 90_000), ("1.5h", 5_400_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "s", "0s", "-1s", "1 s", "1d", "1..5s", "99999999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
