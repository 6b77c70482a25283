//! `cpu`: the processors, how they are set up and how busy they are.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, first_present, schema_of, text};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const PROBE: Probe = Probe {
    name: "cpu",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Cpu>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

const CPUS: &str = "/sys/devices/system/cpu";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";

/// The processors, how they are set up and how busy they are. A CPU here is what the kernel schedules on: a hardware
/// thread.
#[derive(Debug, Serialize, JsonSchema)]
struct Cpu {
    /// The model: `AMD EPYC 9654 96-Core Processor`; on Arm the name of the core where it is known, else its numbers
    /// (/proc/cpuinfo).
    model: Fact<String>,
    /// The vendor as the processor says it: `GenuineIntel`, `AuthenticAMD`; on Arm the implementer (/proc/cpuinfo).
    vendor: Fact<String>,
    /// CPUs in use (/sys/devices/system/cpu/online).
    logical_online: Fact<u64>,
    /// CPUs that the kernel has room for, plugged in or not (/sys/devices/system/cpu/possible).
    logical_possible: Fact<u64>,
    /// CPUs that are there, in use or not (/sys/devices/system/cpu/present).
    logical_present: Fact<u64>,
    /// The numbers of the CPUs that are there and not in use (present without online).
    offline: Fact<Vec<u64>>,
    /// Sockets with a CPU in use (/proc/cpuinfo:physical id, else topology/physical_package_id in /sys).
    sockets: Fact<u64>,
    /// Cores with a CPU in use, of all sockets (/proc/cpuinfo:core id, else topology/core_id in /sys).
    cores: Fact<u64>,
    /// The most CPUs in use that one core has: 2 with simultaneous multithreading.
    threads_per_core: Fact<u64>,
    /// Simultaneous multithreading (/sys/devices/system/cpu/smt). Absent (not_present) before Linux 4.19.
    smt: Smt,
    /// NUMA nodes by number (/sys/devices/system/node). Some have memory only, as that of a GPU. Absent (not_present)
    /// in kernels without NUMA.
    numa_nodes: Fact<Vec<NumaNode>>,
    /// The distinct frequency governors in use: `[performance]` (/sys/devices/system/cpu/cpufreq/*/scaling_governor).
    /// Absent (not_supported) where the kernel does not control frequencies, as in most virtual machines.
    governors: Fact<Vec<String>>,
    /// What controls the frequencies: `intel_pstate`, `amd-pstate-epp`, `acpi-cpufreq` (scaling_driver of the first
    /// CPU).
    driver: Fact<String>,
    /// How fast the CPUs run and may run.
    frequency: Frequency,
    /// Whether CPUs may run faster than their base frequency when heat and power allow (intel_pstate/no_turbo, else
    /// cpufreq/boost). Absent (not_supported) where neither the kernel nor the processor has a switch for it.
    turbo: Fact<bool>,
    /// CPUs that the scheduler leaves alone, as ranges (isolated); empty for none.
    isolated: Fact<String>,
    /// What lets idle CPUs sleep: `intel_idle`, `acpi_idle`, `none` (cpuidle/current_driver). Absent (not_supported) in
    /// kernels without.
    idle_driver: Fact<String>,
    /// Where the kernel takes the time from.
    clock_source: ClockSource,
    /// The distinct microcode versions in use; more than one is a fault (/proc/cpuinfo:microcode). Absent
    /// (not_supported) on other architectures than x86.
    microcode: Fact<Vec<String>>,
    /// How many tasks ran or waited for disks and servers, on average.
    load: Load,
    /// Known weaknesses of the processor and what the kernel does about each: `vulnerabilities["meltdown"]` is
    /// `Not affected`, `Mitigation: …` or `Vulnerable…` (/sys/devices/system/cpu/vulnerabilities).
    vulnerabilities: Fact<BTreeMap<String, Fact<String>>>,
    /// How often CPUs were slowed down because they were too hot.
    throttled: Throttled,
    /// What the processor can do, of the first CPU: `avx512f`, `sve` (/proc/cpuinfo:flags, on Arm Features).
    flags: Fact<Vec<String>>,
    /// How long work waited for a CPU. Absent (not_supported) where the kernel does not measure it.
    pressure: CpuPressure,
}

/// Simultaneous multithreading.
#[derive(Debug, Serialize, JsonSchema)]
struct Smt {
    /// Whether some core has several CPUs in use (active).
    active: Fact<bool>,
    /// How it is set: `on`, `off`, `forceoff`, `notsupported`, `notimplemented` (control).
    control: Fact<String>,
}

/// One NUMA node.
#[derive(Debug, Serialize, JsonSchema)]
struct NumaNode {
    /// Its number.
    id: u64,
    /// How many CPUs in use it has; 0 for one that has memory only (cpulist).
    cpus: Fact<u64>,
    /// Its memory in bytes (meminfo:MemTotal).
    memory_total_bytes: Fact<u64>,
    /// Its memory that nobody uses, in bytes (meminfo:MemFree).
    memory_free_bytes: Fact<u64>,
    /// How far each node is from it, in the order of their numbers; 10 is its own memory, and 20 takes twice as long
    /// (distance). Firmware that knows nothing of it gives 10 and 20.
    distances: Fact<Vec<u64>>,
}

/// How fast the CPUs run and may run.
#[derive(Debug, Serialize, JsonSchema)]
struct Frequency {
    /// The highest frequency of the first CPU, in MHz (cpufreq/*/cpuinfo_max_freq). Absent (not_supported) where the
    /// kernel does not control frequencies.
    max_mhz: Fact<f64>,
    /// The lowest frequency of the first CPU, in MHz (cpufreq/*/cpuinfo_min_freq).
    min_mhz: Fact<f64>,
    /// The lowest limit that is set for a CPU, in MHz; somebody may have set it below what the CPU can do
    /// (cpufreq/*/scaling_max_freq).
    limit_mhz: Fact<f64>,
    /// The frequency of the CPU that is slowest just now, in MHz; an idle one may well be slow (/proc/cpuinfo:cpu MHz,
    /// else cpufreq/*/scaling_cur_freq).
    lowest_current_mhz: Fact<f64>,
    /// The frequency of the CPU that is fastest just now, in MHz, from the same files.
    highest_current_mhz: Fact<f64>,
}

/// Where the kernel takes the time from (/sys/devices/system/clocksource/clocksource0).
#[derive(Debug, Serialize, JsonSchema)]
struct ClockSource {
    /// The one in use: `tsc`, `hpet`, `kvm-clock`, `arch_sys_counter` (current_clocksource).
    current: Fact<String>,
    /// All that could be used; one that the kernel found unstable is not among them (available_clocksource).
    available: Fact<Vec<String>>,
}

/// How many tasks ran, waited to run or were in uninterruptible sleep, on average (/proc/loadavg).
#[derive(Debug, Serialize, JsonSchema)]
struct Load {
    /// Over one minute.
    one: Fact<f64>,
    /// Over five minutes.
    five: Fact<f64>,
    /// Over fifteen minutes.
    fifteen: Fact<f64>,
    /// How many run or are ready to run just now, without those that wait in the kernel (fourth field of the same file).
    running: Fact<u64>,
}

/// How often CPUs were slowed down because they were too hot, since boot, summed over all CPUs
/// (/sys/devices/system/cpu/cpu*/thermal_throttle). Absent (not_supported) where the kernel does not count it, as on
/// AMD and Arm.
#[derive(Debug, Serialize, JsonSchema)]
struct Throttled {
    /// For the heat of a core; each of its CPUs counts it (core_throttle_count).
    core_events: Fact<u64>,
    /// For the heat of a package; each of its CPUs counts it (package_throttle_count).
    package_events: Fact<u64>,
}

/// How long work waited for a CPU, in percent of the time (/proc/pressure/cpu).
#[derive(Debug, Serialize, JsonSchema)]
struct CpuPressure {
    /// The share of the last 10 seconds in which at least one task waited.
    some_avg10: Fact<f64>,
    /// The share of the last 60 seconds in which at least one task waited.
    some_avg60: Fact<f64>,
}

fn observe(source: &Source) -> Cpu {
    let cpuinfo = CpuInfo::read(source);
    let sets = ["online", "possible", "present"].map(|name| {
        let path = format!("{CPUS}/{name}");
        // Whoever reads this runs on a CPU.
        text::id_list(source, &path).and_then(|ids| match ids.is_empty() {
            true => Err(Absent::failed(format!("{path}: empty"))),
            false => Ok(ids),
        })
    });
    let [online, possible, present] = &sets;
    let count = |set: &Result<BTreeSet<u64>, Absent>| set.clone().map(|ids| ids.len() as u64);
    let cores = cpuinfo.cores(source, online);
    let policies = Policies::read(source);
    Cpu {
        model: Fact(cpuinfo.model()),
        vendor: Fact(cpuinfo.vendor()),
        logical_online: first_present([count(online), cpuinfo.count()]),
        logical_possible: Fact(count(possible)),
        logical_present: Fact(count(present)),
        offline: Fact(
            present
                .clone()
                .and_then(|present| Ok(present.difference(online.as_ref().map_err(Clone::clone)?).copied().collect())),
        ),
        sockets: Fact(
            cores
                .as_ref()
                .map_err(Clone::clone)
                .map(|cores| cores.keys().map(|(socket, _)| socket).collect::<BTreeSet<_>>().len() as u64),
        ),
        cores: Fact(cores.as_ref().map_err(Clone::clone).map(|cores| cores.len() as u64)),
        threads_per_core: Fact(cores.map(|cores| cores.values().copied().max().unwrap_or_default())),
        smt: Smt {
            active: Fact(source.number::<u8>(&format!("{CPUS}/smt/active")).map(|active| active != 0)),
            control: Fact(source.word(&format!("{CPUS}/smt/control"))),
        },
        numa_nodes: Fact(numa_nodes(source)),
        governors: Fact(policies.distinct(source, "scaling_governor")),
        driver: Fact(policies.first().and_then(|first| source.word(&format!("{first}/scaling_driver")))),
        frequency: Frequency {
            max_mhz: Fact(policies.first().and_then(|first| mhz(source, &format!("{first}/cpuinfo_max_freq")))),
            min_mhz: Fact(policies.first().and_then(|first| mhz(source, &format!("{first}/cpuinfo_min_freq")))),
            limit_mhz: Fact(policies.of_all(source, "scaling_max_freq", f64::min)),
            lowest_current_mhz: first_present([
                cpuinfo.mhz(f64::min),
                policies.of_all(source, "scaling_cur_freq", f64::min),
            ]),
            highest_current_mhz: first_present([
                cpuinfo.mhz(f64::max),
                policies.of_all(source, "scaling_cur_freq", f64::max),
            ]),
        },
        turbo: Fact(turbo(source)),
        isolated: Fact(source.line(&format!("{CPUS}/isolated"))),
        idle_driver: Fact(source.word(&format!("{CPUS}/cpuidle/current_driver")).map_err(unless_there)),
        clock_source: ClockSource {
            current: Fact(source.word(&format!("{CLOCK}/current_clocksource"))),
            available: Fact(source.word(&format!("{CLOCK}/available_clocksource")).map(|line| words(&line))),
        },
        microcode: Fact(cpuinfo.distinct("microcode")),
        load: load(source),
        vulnerabilities: Fact(vulnerabilities(source)),
        throttled: Throttled {
            core_events: Fact(throttle_events(source, online, "core_throttle_count")),
            package_events: Fact(throttle_events(source, online, "package_throttle_count")),
        },
        flags: Fact(cpuinfo.first("flags").or_else(|_| cpuinfo.first("Features")).map(|flags| words(&flags))),
        pressure: CpuPressure {
            some_avg10: text::pressure(source, "cpu", "some", "avg10"),
            some_avg60: text::pressure(source, "cpu", "some", "avg60"),
        },
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(ToString::to_string).collect()
}

/// /proc/cpuinfo: one read for what /sys has in a thousand files. Its keys differ between architectures.
struct CpuInfo(Result<String, Absent>);

impl CpuInfo {
    fn read(source: &Source) -> CpuInfo {
        CpuInfo(source.text("/proc/cpuinfo"))
    }

    fn text(&self) -> Result<&str, Absent> {
        self.0.as_deref().map_err(Clone::clone)
    }

    /// The values of `key`, one a CPU: `model name\t: …`.
    fn all<'a>(&'a self, key: &'a str) -> Result<impl Iterator<Item = &'a str>, Absent> {
        Ok(self.text()?.lines().filter_map(move |line| {
            Some(line.strip_prefix(key)?.trim_start_matches(['\t', ' ']).strip_prefix(':')?.trim())
        }))
    }

    fn first(&self, key: &str) -> Result<String, Absent> {
        let first = self.all(key)?.next().map(ToString::to_string);
        first.ok_or_else(|| Absent::not_supported(format!("/proc/cpuinfo has no {key}")))
    }

    fn distinct(&self, key: &str) -> Result<Vec<String>, Absent> {
        self.first(key)?;
        Ok(self.all(key)?.collect::<BTreeSet<_>>().into_iter().map(ToString::to_string).collect())
    }

    fn count(&self) -> Result<u64, Absent> {
        match self.all("processor")?.count() {
            0 => Err(Absent::failed("/proc/cpuinfo lists no processor")),
            count => Ok(count as u64),
        }
    }

    fn model(&self) -> Result<String, Absent> {
        let arm = || {
            let (implementer, part) = (self.first("CPU implementer")?, self.first("CPU part")?);
            let known = ARM_CORES.iter().find(|(i, p, _)| (*i, *p) == (implementer.as_str(), part.as_str()));
            Ok(known.map_or_else(|| format!("implementer {implementer}, part {part}"), |(_, _, name)| name.to_string()))
        };
        first_present([self.first("model name"), arm(), self.first("cpu")]).0
    }

    fn vendor(&self) -> Result<String, Absent> {
        let arm = || {
            let implementer = self.first("CPU implementer")?;
            let known = ARM_IMPLEMENTERS.iter().find(|(number, _)| *number == implementer);
            Ok(known.map_or(implementer, |(_, name)| name.to_string()))
        };
        first_present([self.first("vendor_id"), arm()]).0
    }

    /// The frequency of one CPU: of the slowest or the fastest.
    fn mhz(&self, which: fn(f64, f64) -> f64) -> Result<f64, Absent> {
        self.first("cpu MHz")?;
        let found = self.all("cpu MHz")?.filter_map(text::decimal).reduce(which);
        found.ok_or_else(|| Absent::failed("/proc/cpuinfo: cpu MHz is no number"))
    }

    /// The CPUs in use of every core, by socket and core number.
    fn cores(
        &self,
        source: &Source,
        online: &Result<BTreeSet<u64>, Absent>,
    ) -> Result<BTreeMap<(u64, u64), u64>, Absent> {
        let mut cores = BTreeMap::new();
        let mut socket = None;
        for line in self.text()?.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            match (key.trim(), value.trim().parse::<u64>()) {
                ("physical id", Ok(id)) => socket = Some(id),
                ("core id", Ok(id)) => {
                    if let Some(socket) = socket {
                        *cores.entry((socket, id)).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        if cores.is_empty() {
            for cpu in online.as_ref().map_err(Clone::clone)? {
                // Firmware that does not say it reads as -1: one socket then.
                let id = |name: &str| source.number::<i64>(&format!("{CPUS}/cpu{cpu}/topology/{name}"));
                let (socket, core) = (id("physical_package_id")?, id("core_id")?);
                *cores.entry((socket.max(0) as u64, core.max(0) as u64)).or_default() += 1;
            }
        }
        Ok(cores)
    }
}

/// Cores of Arm servers, by implementer and part as the processor gives them (MIDR_EL1).
const ARM_CORES: [(&str, &str, &str); 10] = [
    ("0x41", "0xd0c", "Arm Neoverse N1"),
    ("0x41", "0xd40", "Arm Neoverse V1"),
    ("0x41", "0xd49", "Arm Neoverse N2"),
    ("0x41", "0xd4f", "Arm Neoverse V2"),
    ("0x41", "0xd83", "Arm Neoverse V3AE"),
    ("0x41", "0xd84", "Arm Neoverse V3"),
    ("0x41", "0xd8e", "Arm Neoverse N3"),
    ("0x43", "0x0af", "Cavium ThunderX2"),
    ("0x46", "0x001", "Fujitsu A64FX"),
    ("0xc0", "0xac3", "Ampere One"),
];

/// Who designed an Arm core, by the number that it gives.
const ARM_IMPLEMENTERS: [(&str, &str); 7] = [
    ("0x41", "ARM"),
    ("0x43", "Cavium"),
    ("0x46", "Fujitsu"),
    ("0x48", "HiSilicon"),
    ("0x4e", "NVIDIA"),
    ("0x51", "Qualcomm"),
    ("0xc0", "Ampere"),
];

/// The folders of /sys/devices/system/cpu/cpufreq, each for the CPUs whose frequency changes together.
struct Policies(Result<Vec<String>, Absent>);

impl Policies {
    fn read(source: &Source) -> Policies {
        let folder = format!("{CPUS}/cpufreq");
        let mut numbers: Vec<u64> = match source.names(&folder) {
            Ok(names) => names.iter().filter_map(|name| name.strip_prefix("policy")?.parse().ok()).collect(),
            Err(absent) if absent.reason != Reason::NotPresent => return Policies(Err(absent)),
            Err(_) => Vec::new(),
        };
        numbers.sort_unstable();
        if numbers.is_empty() {
            return Policies(Err(Absent::not_supported("the kernel does not control CPU frequencies here")));
        }
        Policies(Ok(numbers.iter().map(|number| format!("{folder}/policy{number}")).collect()))
    }

    fn all(&self) -> Result<&[String], Absent> {
        self.0.as_deref().map_err(Clone::clone)
    }

    fn first(&self) -> Result<&String, Absent> {
        self.all()?.first().ok_or_else(|| Absent::not_supported("no frequency policy"))
    }

    /// The distinct values of one file. A policy whose CPUs are all offline has none.
    fn distinct(&self, source: &Source, name: &str) -> Result<Vec<String>, Absent> {
        let read: Vec<_> = self.all()?.iter().map(|policy| source.word(&format!("{policy}/{name}"))).collect();
        let values: BTreeSet<&String> = read.iter().flatten().collect();
        match read.iter().find_map(|value| value.as_ref().err()) {
            Some(absent) if values.is_empty() => Err(absent.clone()),
            _ => Ok(values.into_iter().cloned().collect()),
        }
    }

    /// Of the frequencies that the policies have in one file, the lowest or the highest. A policy whose CPUs are all
    /// offline has none.
    fn of_all(&self, source: &Source, name: &str, which: fn(f64, f64) -> f64) -> Result<f64, Absent> {
        let current = |policy: &String| mhz(source, &format!("{policy}/{name}"));
        match self.all()?.iter().filter_map(|policy| current(policy).ok()).reduce(which) {
            Some(found) => Ok(found),
            None => current(self.first()?),
        }
    }
}

/// Turbo Boost, or Core Performance Boost.
fn turbo(source: &Source) -> Result<bool, Absent> {
    let off = source.number::<u8>(&format!("{CPUS}/intel_pstate/no_turbo")).map(|off| off == 0);
    let on = source.number::<u8>(&format!("{CPUS}/cpufreq/boost")).map(|on| on != 0);
    first_present([off.map_err(unless_there), on.map_err(unless_there)]).0
}

/// The CPUs are there; a file that is missing is a feature that kernel or processor lack.
fn unless_there(absent: Absent) -> Absent {
    match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    }
}

/// A file that holds a frequency in kHz.
fn mhz(source: &Source, path: &str) -> Result<f64, Absent> {
    Ok(source.number::<u64>(path)? as f64 / 1000.0)
}

fn numa_nodes(source: &Source) -> Result<Vec<NumaNode>, Absent> {
    let folder = "/sys/devices/system/node";
    let mut ids: Vec<u64> =
        source.names(folder)?.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok()).collect();
    ids.sort_unstable();
    let node = |id: u64| {
        let path = format!("{folder}/node{id}/meminfo");
        let meminfo = source.text(&path);
        let bytes = |key: &str| {
            Fact(meminfo.clone().and_then(|text| {
                node_bytes(&text, key).ok_or_else(|| Absent::not_supported(format!("{path} has no {key}")))
            }))
        };
        NumaNode {
            id,
            cpus: Fact(text::id_list(source, &format!("{folder}/node{id}/cpulist")).map(|cpus| cpus.len() as u64)),
            memory_total_bytes: bytes("MemTotal:"),
            memory_free_bytes: bytes("MemFree:"),
            distances: Fact(distances(source, &format!("{folder}/node{id}/distance"))),
        }
    };
    Ok(ids.into_iter().map(node).collect())
}

/// `10 21 32`.
fn distances(source: &Source, path: &str) -> Result<Vec<u64>, Absent> {
    let line = source.line(path)?;
    let numbers: Option<Vec<u64>> = line.split_whitespace().map(|number| number.parse().ok()).collect();
    numbers
        .filter(|numbers| !numbers.is_empty())
        .ok_or_else(|| Absent::failed(format!("{path}: expected numbers, found \"{}\"", clipped(&line))))
}

/// A node's meminfo: `Node 0 MemTotal:       263823000 kB`.
fn node_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| Some(line.split_once(key)?.1))?;
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// /proc/loadavg: `0.35 0.29 0.20 1/383 4242`.
fn load(source: &Source) -> Load {
    let line = source.line("/proc/loadavg");
    let nth = |n: usize| {
        Fact(line.clone().and_then(|line| {
            let word = line.split_whitespace().nth(n).and_then(text::decimal);
            word.ok_or_else(|| Absent::failed(format!("/proc/loadavg: \"{}\"", clipped(&line))))
        }))
    };
    let running = line.clone().and_then(|line| {
        let word = line.split_whitespace().nth(3).and_then(|word| word.split_once('/')?.0.parse().ok());
        word.ok_or_else(|| Absent::failed(format!("/proc/loadavg: \"{}\"", clipped(&line))))
    });
    Load { one: nth(0), five: nth(1), fifteen: nth(2), running: running.into() }
}

fn vulnerabilities(source: &Source) -> Result<BTreeMap<String, Fact<String>>, Absent> {
    let folder = format!("{CPUS}/vulnerabilities");
    let read = |name: String| {
        let told = source.word(&format!("{folder}/{name}"));
        (name, Fact(told))
    };
    Ok(source.names(&folder)?.into_iter().map(read).collect())
}

fn throttle_events(source: &Source, online: &Result<BTreeSet<u64>, Absent>, name: &str) -> Result<u64, Absent> {
    let mut sum = 0_u64;
    for cpu in online.as_ref().map_err(Clone::clone)? {
        let count = source.number::<u64>(&format!("{CPUS}/cpu{cpu}/thermal_throttle/{name}"));
        sum = sum.saturating_add(count.map_err(|absent| match absent.reason {
            Reason::NotPresent => Absent::not_supported("the kernel does not count it for this processor"),
            _ => absent,
        })?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        tree_of(files, Recorded::default())
    }

    fn x86_cpu(number: u64, socket: u64, core: u64, microcode: &str, mhz: &str) -> String {
        format!(
            "processor\t: {number}\nvendor_id\t: MadeUp\nmodel\t\t: 1\nmodel name\t: Made Up 9000\nmicrocode\t: {microcode}\n\
             cpu MHz\t\t: {mhz}\nphysical id\t: {socket}\ncore id\t\t: {core}\ncpu cores\t: 1\nflags\t\t: fpu sse2\n\n"
        )
    }

    #[test]
    fn sockets_cores_and_threads_come_from_one_read_of_cpuinfo() {
        let cpuinfo = x86_cpu(0, 0, 0, "0x1", "3000.5")
            + &x86_cpu(1, 1, 0, "0x2", "800.25")
            + &x86_cpu(2, 0, 0, "0x1", "3000")
            + &x86_cpu(3, 1, 0, "0x1", "3000");
        let (_dir, source) = tree(&[
            ("proc/cpuinfo", &cpuinfo),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/present", "0-4,7\n"),
            ("sys/devices/system/cpu/possible", "0-63\n"),
        ]);
        let cpu = observe(&source);
        assert_eq!((cpu.sockets, cpu.cores, cpu.threads_per_core), (Fact(Ok(2)), Fact(Ok(2)), Fact(Ok(2))));
        assert_eq!((cpu.model, cpu.vendor), (Fact(Ok("Made Up 9000".into())), Fact(Ok("MadeUp".into()))));
        assert_eq!(cpu.microcode, Fact(Ok(vec!["0x1".into(), "0x2".into()])));
        assert_eq!(cpu.frequency.lowest_current_mhz, Fact(Ok(800.25)));
        assert_eq!((cpu.logical_online, cpu.logical_possible), (Fact(Ok(4)), Fact(Ok(64))));
        assert_eq!((cpu.offline, cpu.flags), (Fact(Ok(vec![4, 7])), Fact(Ok(vec!["fpu".into(), "sse2".into()]))));
        assert_eq!(cpu.governors.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!(cpu.throttled.core_events.0.unwrap_err().reason, Reason::NotSupported);
    }

    #[test]
    fn what_reads_as_a_number_and_is_none_is_absent() {
        let (_dir, source) = tree(&[
            ("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: inf\n"),
            ("proc/loadavg", "nan 1e999 -1 1/383 4242\n"),
            ("proc/pressure/cpu", "some avg10=nan avg60=100.01 avg300=0.00 total=7\n"),
        ]);
        let cpu = observe(&source);
        for absent in [cpu.load.one, cpu.load.five, cpu.load.fifteen, cpu.frequency.lowest_current_mhz] {
            assert_eq!(absent.0.unwrap_err().reason, Reason::Failed);
        }
        assert!(cpu.pressure.some_avg10.0.is_err() && cpu.pressure.some_avg60.0.is_err());
    }

    #[test]
    fn an_arm_processor_is_named_and_its_topology_comes_from_sys() {
        let cpuinfo = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\n";
        let topology = "sys/devices/system/cpu/cpu0/topology";
        let (_dir, source) = tree(&[
            ("proc/cpuinfo", cpuinfo),
            ("sys/devices/system/cpu/online", "0\n"),
            (&format!("{topology}/physical_package_id"), "-1\n"),
            (&format!("{topology}/core_id"), "12\n"),
            ("sys/devices/system/cpu/cpufreq/policy10/scaling_cur_freq", "1200000\n"),
            ("sys/devices/system/cpu/cpufreq/policy2/scaling_cur_freq", "3400000\n"),
            ("sys/devices/system/cpu/cpufreq/policy2/cpuinfo_max_freq", "3500000\n"),
            ("sys/devices/system/cpu/cpufreq/policy2/scaling_governor", "performance\n"),
        ]);
        let cpu = observe(&source);
        assert_eq!((cpu.model, cpu.vendor), (Fact(Ok("Arm Neoverse V2".into())), Fact(Ok("ARM".into()))));
        assert_eq!((cpu.sockets, cpu.cores), (Fact(Ok(1)), Fact(Ok(1))));
        assert_eq!(cpu.frequency.lowest_current_mhz, Fact(Ok(1200.0)));
        assert_eq!(cpu.frequency.highest_current_mhz, Fact(Ok(3400.0)));
        assert_eq!(cpu.frequency.max_mhz, Fact(Ok(3500.0)));
        assert_eq!(cpu.governors, Fact(Ok(vec!["performance".into()])));
        assert_eq!(cpu.microcode.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!(cpu.flags, Fact(Ok(vec!["fp".into(), "asimd".into(), "sve".into()])));
    }

    #[test]
    fn numa_nodes_are_ordered_by_number_and_may_have_memory_only() {
        let node = "sys/devices/system/node";
        let (_dir, source) = tree(&[
            (&format!("{node}/node10/cpulist"), "\n"),
            (&format!("{node}/node10/meminfo"), "Node 10 MemTotal:  1 kB\nNode 10 MemFree: x kB\n"),
            (&format!("{node}/node2/cpulist"), "0-3,8\n"),
            (&format!("{node}/node2/distance"), "10 21\n"),
            (&format!("{node}/node10/distance"), "10 far\n"),
            (&format!("{node}/possible"), "0-63\n"),
        ]);
        let nodes = numa_nodes(&source).unwrap();
        assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [2, 10]);
        assert_eq!((&nodes[0].cpus, &nodes[1].cpus), (&Fact(Ok(5)), &Fact(Ok(0))));
        assert_eq!(nodes[1].memory_total_bytes, Fact(Ok(1024)));
        assert!(nodes[1].memory_free_bytes.0.is_err() && nodes[0].memory_free_bytes.0.is_err());
        assert_eq!(nodes[0].distances, Fact(Ok(vec![10, 21])));
        assert_eq!(nodes[1].distances.0.as_ref().unwrap_err().reason, Reason::Failed);
    }

    #[test]
    fn throttling_is_summed_and_an_empty_machine_has_reasons() {
        let (_dir, source) = tree(&[
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n"),
            ("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "4\n"),
        ]);
        let cpu = observe(&source);
        assert_eq!(cpu.throttled.core_events, Fact(Ok(7)));
        assert_eq!(cpu.model.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(cpu.load.one.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(cpu.cores.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(cpu.turbo.0.unwrap_err().reason, Reason::NotSupported);
    }

    #[test]
    fn turbo_is_on_or_off_wherever_the_switch_is() {
        for (file, text, on) in [
            ("intel_pstate/no_turbo", "0\n", Ok(true)),
            ("intel_pstate/no_turbo", "1\n", Ok(false)),
            ("cpufreq/boost", "1\n", Ok(true)),
            ("cpufreq/boost", "maybe\n", Err(Reason::Failed)),
        ] {
            let (_dir, source) = tree(&[(&format!("sys/devices/system/cpu/{file}"), text)]);
            assert_eq!(turbo(&source).map_err(|absent| absent.reason), on, "{file} {text}");
        }
    }
}
