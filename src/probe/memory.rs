//! `memory`: how much memory the node has and what became of it.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "memory",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Memory>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

/// How much memory the node has and what became of it, from /proc/meminfo and /proc/vmstat.
#[derive(Debug, Serialize, JsonSchema)]
struct Memory {
    /// Memory that the kernel can use, in bytes (MemTotal).
    total_bytes: Fact<u64>,
    /// Memory that programs can get without swapping, in bytes (MemAvailable).
    available_bytes: Fact<u64>,
    /// Swap space in all, in bytes (SwapTotal).
    swap_total_bytes: Fact<u64>,
}

fn observe(source: &Source) -> Result<Memory, Absent> {
    let meminfo = source.text("/proc/meminfo")?;
    let bytes = |key: &str| -> Fact<u64> { Fact(kib(&meminfo, key).map(|kib| kib * 1024)) };
    Ok(Memory {
        total_bytes: bytes("MemTotal"),
        available_bytes: bytes("MemAvailable"),
        swap_total_bytes: bytes("SwapTotal"),
    })
}

/// One line of /proc/meminfo: `MemTotal:       16303512 kB`.
fn kib(meminfo: &str, key: &str) -> Result<u64, Absent> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let Some(line) = line else {
        return Err(Absent::not_supported(format!("/proc/meminfo has no {key}")));
    };
    line.trim().trim_end_matches(" kB").parse().map_err(|_| Absent::failed(format!("/proc/meminfo: {key}:{line}")))
}
