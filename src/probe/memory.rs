//! `memory`: how much memory the node has and what became of it.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of, text};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::str::FromStr;

pub(super) const PROBE: Probe = Probe {
    name: "memory",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Memory>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

/// How much memory the node has and what became of it.
#[derive(Debug, Serialize, JsonSchema)]
struct Memory {
    /// Memory that the kernel can use, in bytes; less than what is plugged in (/proc/meminfo:MemTotal).
    total_bytes: Fact<u64>,
    /// Memory that programs can get without swapping, in bytes (/proc/meminfo:MemAvailable).
    available_bytes: Fact<u64>,
    /// Memory that nobody uses, not even as a cache, in bytes (/proc/meminfo:MemFree).
    free_bytes: Fact<u64>,
    /// `available_bytes` in percent of `total_bytes`.
    available_percent: Fact<f64>,
    /// File contents that wait to be written to disks and servers, in bytes (/proc/meminfo:Dirty).
    dirty_bytes: Fact<u64>,
    /// Memory that the kernel keeps for itself and cannot give back, in bytes (/proc/meminfo:SUnreclaim).
    slab_unreclaimable_bytes: Fact<u64>,
    /// Swap space in all, in bytes; 0 without swap (/proc/meminfo:SwapTotal).
    swap_total_bytes: Fact<u64>,
    /// Swap space in use, in bytes (/proc/meminfo:SwapTotal less SwapFree).
    swap_used_bytes: Fact<u64>,
    /// Every swap device and file in use (/proc/swaps).
    swap_devices: Fact<Vec<SwapDevice>>,
    /// Reserved huge pages of the default size. Absent (not_supported) in kernels without huge pages.
    hugepages: Hugepages,
    /// Reserved huge pages of every size (/sys/kernel/mm/hugepages), from the smallest on. Absent (not_supported) in
    /// kernels without huge pages.
    hugepage_pools: Fact<Vec<HugepagePool>>,
    /// When programs get huge pages without asking: `always`, `madvise` or `never`
    /// (/sys/kernel/mm/transparent_hugepage/enabled).
    transparent_hugepages: Fact<String>,
    /// Memory taken out of use because it failed, in bytes (/proc/meminfo:HardwareCorrupted). Absent (not_supported) in
    /// kernels without memory failure handling.
    hardware_corrupted_bytes: Fact<u64>,
    /// Processes killed for want of memory since boot (/proc/vmstat:oom_kill). Absent (not_supported) before Linux
    /// 4.13.
    oom_kills: Fact<u64>,
    /// Memory promised to programs in percent of the limit for promises; the limit binds only with `overcommit_mode` 2
    /// (/proc/meminfo:Committed_AS, CommitLimit).
    committed_percent: Fact<f64>,
    /// Free blocks of 1 MiB (with pages of 4 KiB) or more in the Normal zones of all NUMA nodes (/proc/buddyinfo,
    /// orders from 8 on); few of them mean that memory is fragmented. Absent (not_supported) where there is no Normal
    /// zone.
    free_blocks_order8: Fact<u64>,
    /// How the kernel promises memory: 0 by a guess, 1 always, 2 never above the limit
    /// (/proc/sys/vm/overcommit_memory).
    overcommit_mode: Fact<u64>,
    /// The limit of the control group that looks like the root from here, in bytes: that of a container. Absent
    /// (not_supported) where there is no limit or the node is asked from another root.
    cgroup_limit_bytes: Fact<u64>,
    /// How long work waited for memory. Absent (not_supported) where the kernel does not measure it.
    pressure: MemoryPressure,
}

/// One swap device or file.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct SwapDevice {
    /// Its path: `/dev/dm-1`.
    name: String,
    /// `partition` or `file`.
    #[serde(rename = "type")]
    kind: String,
    /// Its size in bytes.
    size_bytes: u64,
    /// How much of it is in use, in bytes.
    used_bytes: u64,
}

/// Reserved huge pages of the default size.
#[derive(Debug, Serialize, JsonSchema)]
struct Hugepages {
    /// How many there are (/proc/meminfo:HugePages_Total).
    total: Fact<u64>,
    /// How many of them nobody uses (/proc/meminfo:HugePages_Free).
    free: Fact<u64>,
    /// The size of one in bytes (/proc/meminfo:Hugepagesize).
    size_bytes: Fact<u64>,
}

/// Reserved huge pages of one size.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct HugepagePool {
    /// The size of one in bytes.
    size_bytes: u64,
    /// How many there are (nr_hugepages).
    total: Fact<u64>,
    /// How many of them nobody uses (free_hugepages).
    free: Fact<u64>,
    /// How many of the free ones are promised to somebody (resv_hugepages).
    reserved: Fact<u64>,
    /// How many there are beyond the reservation, for as long as they are used (surplus_hugepages).
    surplus: Fact<u64>,
}

/// How long work waited for memory, in percent of the time (/proc/pressure/memory).
#[derive(Debug, Serialize, JsonSchema)]
struct MemoryPressure {
    /// The share of the last 10 seconds in which at least one task waited.
    some_avg10: Fact<f64>,
    /// The share of the last 10 seconds in which all tasks waited.
    full_avg10: Fact<f64>,
    /// The share of the last 60 seconds in which all tasks waited.
    full_avg60: Fact<f64>,
}

fn observe(source: &Source) -> Memory {
    let meminfo = source.text("/proc/meminfo");
    let count = |key: &str| -> Fact<u64> { Fact(table_number("/proc/meminfo", &meminfo, key)) };
    let bytes = |key: &str| -> Fact<u64> { Fact(count(key).0.map(|kib| kib.saturating_mul(1024))) };
    let (total, available, swap_total) = (bytes("MemTotal"), bytes("MemAvailable"), bytes("SwapTotal"));
    Memory {
        free_bytes: bytes("MemFree"),
        available_percent: text::share(&available, &total),
        dirty_bytes: bytes("Dirty"),
        slab_unreclaimable_bytes: bytes("SUnreclaim"),
        swap_used_bytes: Fact(swap_total.0.clone().and_then(|total| Ok(total.saturating_sub(bytes("SwapFree").0?)))),
        swap_devices: Fact(source.text("/proc/swaps").and_then(|swaps| swap_devices(&swaps))),
        hugepages: Hugepages {
            total: count("HugePages_Total"),
            free: count("HugePages_Free"),
            size_bytes: bytes("Hugepagesize"),
        },
        hugepage_pools: Fact(hugepage_pools(source)),
        transparent_hugepages: Fact(text::chosen(source, "/sys/kernel/mm/transparent_hugepage/enabled")),
        hardware_corrupted_bytes: bytes("HardwareCorrupted"),
        oom_kills: Fact(table_number("/proc/vmstat", &source.text("/proc/vmstat"), "oom_kill")),
        committed_percent: text::percent(&bytes("Committed_AS"), &bytes("CommitLimit")),
        free_blocks_order8: Fact(source.text("/proc/buddyinfo").and_then(|text| large_free_blocks(&text))),
        overcommit_mode: Fact(source.number("/proc/sys/vm/overcommit_memory")),
        cgroup_limit_bytes: Fact(cgroup_limit(source)),
        pressure: MemoryPressure {
            some_avg10: text::pressure(source, "memory", "some", "avg10"),
            full_avg10: text::pressure(source, "memory", "full", "avg10"),
            full_avg60: text::pressure(source, "memory", "full", "avg60"),
        },
        total_bytes: total,
        available_bytes: available,
        swap_total_bytes: swap_total,
    }
}

fn hugepage_pools(source: &Source) -> Result<Vec<HugepagePool>, Absent> {
    let folder = "/sys/kernel/mm/hugepages";
    let names = source.names(folder).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_supported("the kernel has no huge pages"),
        _ => absent,
    })?;
    let size = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
    let mut pools: Vec<HugepagePool> = names
        .iter()
        .filter_map(|name| {
            let count = |file: &str| Fact(source.number(&format!("{folder}/{name}/{file}")));
            Some(HugepagePool {
                size_bytes: size(name)?.checked_mul(1024)?,
                total: count("nr_hugepages"),
                free: count("free_hugepages"),
                reserved: count("resv_hugepages"),
                surplus: count("surplus_hugepages"),
            })
        })
        .collect();
    pools.sort_by_key(|pool| pool.size_bytes);
    Ok(pools)
}

/// The number of one line of a table: `MemTotal:       16303512 kB`, `oom_kill 3`.
fn table_number(path: &str, table: &Result<String, Absent>, key: &str) -> Result<u64, Absent> {
    let line = table
        .as_ref()
        .map_err(Clone::clone)?
        .lines()
        .find_map(|line| line.strip_prefix(key).filter(|rest| rest.starts_with([':', ' '])));
    let line = line.ok_or_else(|| Absent::not_supported(format!("{path} has no {key}")))?;
    let number = line.trim_start_matches(':').split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| Absent::failed(format!("{path}: {key}{}", clipped(line))))
}

/// /proc/swaps: a heading, then a line a device: path, type, size and use in KiB, priority.
fn swap_devices(swaps: &str) -> Result<Vec<SwapDevice>, Absent> {
    if !swaps.starts_with("Filename") {
        return Err(Absent::failed(format!("/proc/swaps: expected a heading, found \"{}\"", clipped(swaps))));
    }
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.replace("\\040", " ");
        let kind = words.next()?.to_string();
        let mut bytes = || Some(u64::from_str(words.next()?).ok()?.saturating_mul(1024));
        Some(SwapDevice { name, kind, size_bytes: bytes()?, used_bytes: bytes()? })
    };
    let lines = swaps.lines().skip(1).filter(|line| !line.trim().is_empty());
    lines.map(|line| device(line).ok_or_else(|| Absent::failed(format!("/proc/swaps: {}", clipped(line))))).collect()
}

/// /proc/buddyinfo: `Node 0, zone   Normal   2312   1505 …`, free blocks by order from 0 on.
fn large_free_blocks(buddyinfo: &str) -> Result<u64, Absent> {
    let mut zones = 0;
    let mut blocks = 0_u64;
    for line in buddyinfo.lines() {
        let Some((_, counts)) = line.split_once(" Normal ") else { continue };
        zones += 1;
        for count in counts.split_whitespace().skip(8) {
            let count =
                u64::from_str(count).map_err(|_| Absent::failed(format!("/proc/buddyinfo: {}", clipped(line))))?;
            blocks = blocks.saturating_add(count);
        }
    }
    if zones == 0 {
        return Err(Absent::not_supported("/proc/buddyinfo has no Normal zone"));
    }
    Ok(blocks)
}

fn cgroup_limit(source: &Source) -> Result<u64, Absent> {
    if source.recorded().is_some() {
        return Err(Absent::new(Reason::NotRecorded, "the limits of control groups"));
    }
    if !source.is_live() {
        return Err(Absent::not_supported("asked only of the live machine, from its own root"));
    }
    let system = sysinfo::System::new().map_err(|error| Absent::failed(format!("control groups: {error}")))?;
    let limits = system.cgroup_limits().ok_or_else(|| Absent::not_supported("no limit"))?;
    Ok(limits.total_memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_numbers_match_the_whole_key_and_say_what_is_wrong() {
        let table =
            Ok("MemTotal:       2048 kB\nHugePages_Total:   12\noom_kill_disable 9\noom_kill 3\nDirty: x kB\n".into());
        let number = |key| table_number("/t", &table, key);
        assert_eq!(number("MemTotal"), Ok(2048));
        assert_eq!(number("HugePages_Total"), Ok(12));
        assert_eq!(number("oom_kill"), Ok(3));
        assert_eq!(number("MemTot").unwrap_err().reason, Reason::NotSupported);
        assert_eq!(number("Dirty"), Err(Absent::failed("/t: Dirty: x kB")));
    }

    #[test]
    fn swaps_are_listed_and_none_is_an_empty_list() {
        let swaps = "Filename\tType\tSize\tUsed\tPriority\n/var/my\\040swap  file\t1024\t2\t-2\n";
        let device = swap_devices(swaps).unwrap().pop().unwrap();
        let expected =
            SwapDevice { name: "/var/my swap".into(), kind: "file".into(), size_bytes: 1 << 20, used_bytes: 2048 };
        assert_eq!(device, expected);
        assert_eq!(swap_devices("Filename Type Size Used Priority\n"), Ok(vec![]));
        assert!(swap_devices("Filename\n/dev/sda2 partition many 0 -2\n").is_err());
    }

    #[test]
    fn large_blocks_of_all_normal_zones_are_summed() {
        let text = "Node 0, zone    DMA32 1 1 1 1 1 1 1 1 90 90 90\nNode 0, zone   Normal 9 9 9 9 9 9 9 9 1 2 3\n\
                    Node 1, zone   Normal 9 9 9 9 9 9 9 9 0 0 4\n";
        assert_eq!(large_free_blocks(text), Ok(10));
        assert_eq!(large_free_blocks("Node 0, zone DMA32 1\n").unwrap_err().reason, Reason::NotSupported);
        assert!(large_free_blocks("Node 0, zone Normal 0 0 0 0 0 0 0 0 x\n").is_err());
    }

    #[test]
    fn pools_of_huge_pages_are_listed_by_size() {
        let pool = |size: &str, file: &str| format!("sys/kernel/mm/hugepages/hugepages-{size}kB/{file}");
        let (_dir, source) = crate::probe::source::tree_of(
            &[
                (&pool("1048576", "nr_hugepages"), "4\n"),
                (&pool("2048", "nr_hugepages"), "many\n"),
                (&pool("2048", "surplus_hugepages"), "7\n"),
                (&pool("x", "nr_hugepages"), "1\n"),
            ],
            Default::default(),
        );
        let pools = hugepage_pools(&source).unwrap();
        assert_eq!(pools.iter().map(|pool| pool.size_bytes >> 10).collect::<Vec<_>>(), [2048, 1_048_576]);
        assert_eq!((&pools[1].total, &pools[0].surplus), (&Fact(Ok(4)), &Fact(Ok(7))));
        assert_eq!(pools[0].total.0.as_ref().unwrap_err().reason, Reason::Failed);
    }
}
