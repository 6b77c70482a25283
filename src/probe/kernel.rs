//! `kernel`: which kernel runs, what it loaded, how it is set and what befell it.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, first_present, schema_of, sysctl, text};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const PROBE: Probe = Probe {
    name: "kernel",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Kernel>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

/// Which kernel runs, what it loaded, how it is set and what befell it.
#[derive(Debug, Serialize, JsonSchema)]
struct Kernel {
    /// Its release, as uname -r gives it: `5.15.0-105-generic` (/proc/sys/kernel/osrelease).
    release: Fact<String>,
    /// Its build: `#115-Ubuntu SMP …` (/proc/sys/kernel/version).
    version: Fact<String>,
    /// What it was booted with (/proc/cmdline).
    command_line: Fact<String>,
    /// The command line, split into options: `"iommu=pt" in kernel.options`.
    options: Fact<Vec<String>>,
    /// Every loaded module (/proc/modules). Absent (not_present) in kernels without modules.
    modules: Fact<Vec<Module>>,
    /// What made the kernel less trustworthy since boot.
    taint: Taint,
    /// A random name of this boot (/proc/sys/kernel/random/boot_id).
    boot_id: Fact<String>,
    /// Settings that matter for a node's health, by name: `kernel.sysctl["vm.swappiness"]`, with single spaces between
    /// the parts of a value (/proc/sys). One that this kernel does not have is absent (not_present). The probe `sysctl`
    /// answers for all others.
    #[schemars(extend("x-keys" = SYSCTLS))]
    sysctl: BTreeMap<&'static str, Fact<String>>,
    /// Open files of the whole node.
    open_files: OpenFiles,
    /// Threads of the whole node.
    threads: Threads,
    /// Process ids.
    pids: Pids,
    /// Crash records of earlier boots that the firmware kept: the names in /sys/fs/pstore. systemd moves them to
    /// /var/lib/systemd/pstore. Only root may look.
    crash_records: Fact<Vec<String>>,
    /// Whether a crash kernel is ready to take a dump (/sys/kernel/kexec_crash_loaded).
    kdump_loaded: Fact<bool>,
    /// The security modules in use, in their order: `[lockdown, capability, apparmor]` (/sys/kernel/security/lsm).
    security_modules: Fact<Vec<String>>,
    /// What SELinux does (/sys/fs/selinux/enforce).
    selinux: Fact<Selinux>,
    /// How much the kernel is closed even to root: `none`, `integrity` or `confidentiality`
    /// (/sys/kernel/security/lockdown). Absent (not_present) in kernels without it.
    lockdown: Fact<String>,
    /// Groups of devices that the IOMMU keeps apart; 0 when no IOMMU is in use (/sys/kernel/iommu_groups).
    iommu_groups: Fact<u64>,
    /// Random bits at hand; 256 is full since Linux 5.18 (/proc/sys/kernel/random/entropy_avail).
    entropy_available: Fact<u64>,
    /// The modules that this system is set to load at boot (/etc/modules and *.conf in /etc/modules-load.d,
    /// /run/modules-load.d, /usr/local/lib/modules-load.d and /usr/lib/modules-load.d).
    required_modules: Fact<Vec<String>>,
    /// Those of them that are neither loaded nor built into the kernel (/lib/modules/RELEASE/modules.builtin). An alias
    /// is taken for a module's name.
    missing_modules: Fact<Vec<String>>,
    /// The profile that tuned applies (/etc/tuned/active_profile). Absent (not_present) without tuned.
    tuned_profile: Fact<String>,
}

/// One loaded module.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Module {
    /// Its name.
    name: String,
    /// Its size in bytes.
    size_bytes: u64,
    /// How many users it has: other modules, open devices, mounts. Absent (not_supported) where the kernel cannot
    /// unload.
    used_by_count: Fact<u64>,
    /// `live`, `loading` or `unloading`.
    state: String,
    /// How it taints the kernel, by the letters of `taint.flags`: `POE`; empty when it does not.
    taints: String,
}

/// What made the kernel less trustworthy since boot. It stays tainted until the next boot.
#[derive(Debug, Serialize, JsonSchema)]
struct Taint {
    /// The bits as a number; 0 for a kernel that is not tainted (/proc/sys/kernel/tainted).
    value: Fact<u64>,
    /// The bits that are set, decoded.
    flags: Fact<Vec<TaintFlag>>,
}

/// One reason for which the kernel is tainted.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct TaintFlag {
    /// The bit's number, from 0.
    bit: u32,
    /// The letter that stands for it in kernel messages; `?` for a bit of a distribution's own.
    letter: String,
    /// The kernel's word for it: `machine_check`, `die`, `warn`, `softlockup`, `oot_module` …; `unknown` for others.
    name: String,
    /// What it means.
    meaning: String,
}

/// Open files of the whole node (/proc/sys/fs/file-nr).
#[derive(Debug, Serialize, JsonSchema)]
struct OpenFiles {
    /// File handles in use.
    allocated: Fact<u64>,
    /// How many there may be.
    max: Fact<u64>,
    /// The share in use, in percent.
    used_percent: Fact<f64>,
}

/// Threads of the whole node.
#[derive(Debug, Serialize, JsonSchema)]
struct Threads {
    /// How many there are, those of the kernel too (/proc/loadavg).
    count: Fact<u64>,
    /// How many there may be (/proc/sys/kernel/threads-max).
    max: Fact<u64>,
}

/// Process ids. Every thread takes one.
#[derive(Debug, Serialize, JsonSchema)]
struct Pids {
    /// How many there are to give (/proc/sys/kernel/pid_max).
    max: Fact<u64>,
}

/// What SELinux does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Selinux {
    /// It forbids what its policy does not allow.
    Enforcing,
    /// It only reports it.
    Permissive,
    /// It is not in use.
    Disabled,
}

/// Every bit of the kernel's documentation (admin-guide/tainted-kernels): letter, the kernel's name for it, meaning.
const TAINTS: [(char, &str, &str); 20] = [
    ('P', "proprietary_module", "a module with a proprietary licence was loaded"),
    ('F', "forced_module", "a module was loaded by force"),
    ('S', "cpu_out_of_spec", "the hardware runs outside its specification"),
    ('R', "forced_rmmod", "a module was unloaded by force"),
    ('M', "machine_check", "a processor reported a machine check exception"),
    ('B', "bad_page", "the kernel met a page of memory in a bad state"),
    ('U', "user", "a program asked for the taint"),
    ('D', "die", "the kernel died in part: there was an oops or a BUG"),
    ('A', "overridden_acpi_table", "an ACPI table was replaced"),
    ('W', "warn", "the kernel issued a warning"),
    ('C', "crap", "a driver from the staging area was loaded"),
    ('I', "firmware_workaround", "a severe firmware bug is being worked around"),
    ('O', "oot_module", "a module from outside the kernel's tree was loaded"),
    ('E', "unsigned_module", "a module without a valid signature was loaded"),
    ('L', "softlockup", "a CPU was stuck in the kernel: a soft lockup"),
    ('K', "livepatch", "the kernel was patched while it ran"),
    ('X', "aux", "set for a reason of the distribution's own"),
    ('T', "randstruct", "the kernel was built with randomised structure layouts"),
    ('N', "test", "a test inside the kernel was run"),
    ('J', "fwctl", "a program changed a device through its firmware's debug interface"),
];

/// The settings in `sysctl`. The schema lists them as `x-keys`, so that the reference can and a misspelt one is found.
const SYSCTLS: &[&str] = &[
    "fs.aio-max-nr",
    "fs.file-max",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "fs.nr_open",
    "kernel.core_pattern",
    "kernel.dmesg_restrict",
    "kernel.hung_task_panic",
    "kernel.hung_task_timeout_secs",
    "kernel.hung_task_warnings",
    "kernel.kptr_restrict",
    "kernel.nmi_watchdog",
    "kernel.numa_balancing",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.panic_on_warn",
    "kernel.perf_event_paranoid",
    "kernel.pid_max",
    "kernel.randomize_va_space",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.softlockup_panic",
    "kernel.sysrq",
    "kernel.threads-max",
    "kernel.unprivileged_bpf_disabled",
    "kernel.watchdog_thresh",
    "kernel.yama.ptrace_scope",
    "net.core.default_qdisc",
    "net.core.netdev_max_backlog",
    "net.core.optmem_max",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.conf.all.arp_announce",
    "net.ipv4.conf.all.arp_filter",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "user.max_user_namespaces",
    "vm.compaction_proactiveness",
    "vm.dirty_background_bytes",
    "vm.dirty_background_ratio",
    "vm.dirty_bytes",
    "vm.dirty_ratio",
    "vm.max_map_count",
    "vm.memory_failure_recovery",
    "vm.min_free_kbytes",
    "vm.nr_hugepages",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
    "vm.panic_on_oom",
    "vm.swappiness",
    "vm.vfs_cache_pressure",
    "vm.zone_reclaim_mode",
];

/// Longer than the name of any module or alias can be (MODULE_NAME_LEN is 56; aliases of devices are longer).
const LONGEST_MODULE_NAME: usize = 256;

/// Where modules to load at boot are named; of files with the same name the first counts (modules-load.d(5)).
const MODULES_LOAD: [&str; 5] = [
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
    "/lib/modules-load.d",
];

fn observe(source: &Source) -> Kernel {
    let release = source.word("/proc/sys/kernel/osrelease");
    let command_line = source.word("/proc/cmdline");
    let loaded = source.text("/proc/modules").and_then(|text| match text.trim().is_empty() && has_modules(source) {
        true => Err(Absent::failed("/proc/modules: empty, although modules are loaded")),
        false => modules(&text),
    });
    let required = required_modules(source);
    let tainted = source.number::<u64>("/proc/sys/kernel/tainted");
    Kernel {
        missing_modules: Fact(missing_modules(source, &release, &loaded, &required)),
        release: Fact(release),
        version: Fact(source.word("/proc/sys/kernel/version")),
        options: Fact(command_line.clone().map(|line| options(&line))),
        command_line: Fact(command_line),
        modules: Fact(loaded),
        taint: Taint { flags: Fact(tainted.clone().map(taint_flags)), value: Fact(tainted) },
        boot_id: Fact(source.word("/proc/sys/kernel/random/boot_id")),
        sysctl: SYSCTLS
            .iter()
            .map(|name| (*name, Fact(sysctl::read(source, name).and_then(|value| not_empty(name, value)))))
            .collect(),
        open_files: open_files(source),
        threads: Threads {
            count: Fact(thread_count(source)),
            max: Fact(source.number("/proc/sys/kernel/threads-max")),
        },
        pids: Pids { max: Fact(source.number("/proc/sys/kernel/pid_max")) },
        crash_records: Fact(source.names("/sys/fs/pstore")),
        kdump_loaded: Fact(source.number::<u8>("/sys/kernel/kexec_crash_loaded").map(|loaded| loaded != 0)),
        security_modules: Fact(
            source
                .line("/sys/kernel/security/lsm")
                .map(|line| line.split(',').filter(|name| !name.is_empty()).map(ToString::to_string).collect()),
        ),
        selinux: Fact(selinux(source)),
        lockdown: Fact(text::chosen(source, "/sys/kernel/security/lockdown")),
        iommu_groups: Fact(source.names("/sys/kernel/iommu_groups").map(|groups| groups.len() as u64)),
        entropy_available: Fact(source.number("/proc/sys/kernel/random/entropy_avail")),
        required_modules: Fact(required),
        tuned_profile: Fact(source.word("/etc/tuned/active_profile")),
    }
}

/// The value of one of the settings above, all of which have one.
fn not_empty(name: &str, value: String) -> Result<String, Absent> {
    if value.is_empty() { Err(Absent::failed(format!("{name}: empty"))) } else { Ok(value) }
}

/// The options of a kernel command line; one with spaces is in double quotes, as the kernel itself reads it.
fn options(line: &str) -> Vec<String> {
    let mut quoted = false;
    let split = line.split(|letter: char| {
        quoted ^= letter == '"';
        letter.is_whitespace() && !quoted
    });
    split.filter(|option| !option.is_empty()).map(ToString::to_string).collect()
}

/// Whether /sys knows a module that was loaded; those that are built into the kernel have no state.
fn has_modules(source: &Source) -> bool {
    let names = source.names("/sys/module").unwrap_or_default();
    names.iter().any(|name| source.exists(&format!("/sys/module/{name}/initstate")))
}

/// /proc/modules: `nvidia 56717312 345 nvidia_uvm,nvidia_modeset, Live 0x0000000000000000 (POE)`.
fn modules(text: &str) -> Result<Vec<Module>, Absent> {
    let module = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, size, users, _, state, ..] = words[..] else { return None };
        let used_by_count = match users {
            "-" => Fact(Err(Absent::not_supported("this kernel cannot unload modules"))),
            number => Fact(Ok(number.parse().ok()?)),
        };
        let taints = words.get(6).and_then(|word| word.strip_prefix('(')?.strip_suffix(')'));
        Some(Module {
            name: name.to_string(),
            size_bytes: size.parse().ok()?,
            used_by_count,
            state: state.to_lowercase(),
            // A plus or minus there says again that the module is being loaded or unloaded.
            taints: taints.unwrap_or_default().replace(['+', '-'], ""),
        })
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| module(line).ok_or_else(|| Absent::failed(format!("/proc/modules: {}", clipped(line))))).collect()
}

fn taint_flags(value: u64) -> Vec<TaintFlag> {
    let flag = |bit: u32| {
        let (letter, name, meaning) =
            TAINTS.get(bit as usize).copied().unwrap_or(('?', "unknown", "set for a reason of the distribution's own"));
        TaintFlag { bit, letter: letter.to_string(), name: name.to_string(), meaning: meaning.to_string() }
    };
    (0..u64::BITS).filter(|bit| value >> bit & 1 == 1).map(flag).collect()
}

/// /proc/sys/fs/file-nr: allocated, allocated and unused (always 0 since Linux 2.6), maximum.
fn open_files(source: &Source) -> OpenFiles {
    let line = sysctl::read(source, "fs.file-nr");
    let nth = |n: usize| {
        Fact(line.clone().and_then(|line| {
            let number = line.split(' ').nth(n).and_then(|word| word.parse::<u64>().ok());
            number.ok_or_else(|| Absent::failed(format!("/proc/sys/fs/file-nr: \"{}\"", clipped(&line))))
        }))
    };
    let (allocated, max) = (nth(0), nth(2));
    OpenFiles { used_percent: text::percent(&allocated, &max), allocated, max }
}

/// /proc/loadavg: `0.35 0.29 0.20 1/383 4242`, of which 383.
fn thread_count(source: &Source) -> Result<u64, Absent> {
    let line = source.line("/proc/loadavg")?;
    let count = line.split_whitespace().nth(3).and_then(|word| word.split_once('/')?.1.parse().ok());
    count.ok_or_else(|| Absent::failed(format!("/proc/loadavg: \"{}\"", clipped(&line))))
}

fn selinux(source: &Source) -> Result<Selinux, Absent> {
    match source.number::<u8>("/sys/fs/selinux/enforce") {
        Ok(0) => Ok(Selinux::Permissive),
        Ok(_) => Ok(Selinux::Enforcing),
        // Without /sys nobody could tell.
        Err(absent) if absent.reason == Reason::NotPresent && source.exists("/sys/kernel") => Ok(Selinux::Disabled),
        Err(absent) => Err(absent),
    }
}

fn required_modules(source: &Source) -> Result<Vec<String>, Absent> {
    let mut files = BTreeMap::new();
    for folder in MODULES_LOAD {
        let names = match source.names(folder) {
            Ok(names) => names,
            Err(absent) if absent.reason == Reason::NotPresent => continue,
            Err(absent) => return Err(absent),
        };
        for name in names.into_iter().filter(|name| name.ends_with(".conf")) {
            files.entry(name).or_insert_with_key(|name| format!("{folder}/{name}"));
        }
    }
    let mut required = BTreeSet::new();
    for path in files.into_values().chain(["/etc/modules".to_string()]) {
        let text = match source.text(&path) {
            Ok(text) => text,
            // No /etc/modules outside Debian; and a link to nothing switches a file off.
            Err(absent) if absent.reason == Reason::NotPresent => continue,
            Err(absent) => return Err(absent),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        for name in lines.filter_map(|line| line.split_whitespace().next()) {
            if name.len() > LONGEST_MODULE_NAME || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Absent::failed(format!("{path}: \"{}\" is no name of a module", clipped(name))));
            }
            required.insert(name.to_string());
        }
    }
    Ok(required.into_iter().collect())
}

fn missing_modules(
    source: &Source,
    release: &Result<String, Absent>,
    loaded: &Result<Vec<Module>, Absent>,
    required: &Result<Vec<String>, Absent>,
) -> Result<Vec<String>, Absent> {
    let mut missing = required.clone()?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let loaded: BTreeSet<&str> = loaded.as_ref().map_err(Clone::clone)?.iter().map(|module| &*module.name).collect();
    missing.retain(|name| !loaded.contains(&*one_spelling(name)));
    if missing.is_empty() {
        return Ok(missing);
    }
    let release = release.clone()?;
    let list = ["/lib/modules", "/usr/lib/modules"].map(|base| format!("{base}/{release}/modules.builtin"));
    let builtin = first_present(list.iter().map(|path| source.text(path))).0?;
    let file_name = |line: &str| line.rsplit('/').next()?.strip_suffix(".ko").map(one_spelling);
    let builtin: BTreeSet<String> = builtin.lines().filter_map(|line| file_name(line.trim())).collect();
    missing.retain(|name| !builtin.contains(&one_spelling(name)));
    Ok(missing)
}

/// A module's name as /proc/modules spells it: files and configuration may have `-` where the kernel has `_`.
fn one_spelling(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        tree_of(files, Recorded::default())
    }

    #[test]
    fn a_taint_is_decoded_bit_by_bit_and_unknown_bits_are_kept() {
        let shown = |value: u64| {
            let flags = taint_flags(value);
            flags.iter().map(|flag| format!("{}{}={}", flag.bit, flag.letter, flag.name)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(0), "");
        assert_eq!(shown(4609), "0P=proprietary_module 9W=warn 12O=oot_module");
        assert_eq!(shown(1 << 19 | 1 << 63), "19J=fwctl 63?=unknown");
        let letters: String = TAINTS.iter().map(|(letter, ..)| letter).collect();
        assert_eq!(letters, "PFSRMBUDAWCIOELKXTNJ");
    }

    #[test]
    fn modules_are_read_with_their_state_and_taints() {
        let text = "made_up 5672960 12 one,two, Live 0x0000000000000000 (POE)\n\
                    plain 4096 - - Live 0xffffffffc0000000\nslow 16384 1 - Loading 0x0 (O+)\n";
        let modules = modules(text).unwrap();
        assert_eq!((modules[0].used_by_count.clone(), &*modules[0].taints), (Fact(Ok(12)), "POE"));
        assert_eq!(modules[1].used_by_count.0.as_ref().unwrap_err().reason, Reason::NotSupported);
        assert_eq!((&*modules[1].taints, &*modules[2].state, &*modules[2].taints), ("", "loading", "O"));
        assert_eq!(super::modules("made_up many 1 - Live 0x0\n").unwrap_err().reason, Reason::Failed);
    }

    #[test]
    fn an_option_in_quotes_is_one_option() {
        let line = "root=/dev/sda1 ro  dyndbg=\"file a.c +p\" quiet";
        assert_eq!(options(line), ["root=/dev/sda1", "ro", "dyndbg=\"file a.c +p\"", "quiet"]);
        assert_eq!(options("a=\"b c"), ["a=\"b c"]);
        assert!(options(" ").is_empty());
    }

    #[test]
    fn a_required_module_is_missing_unless_it_is_loaded_or_built_in() {
        let (dir, source) = tree(&[
            ("etc/modules", "# comment\nloop max_loop=8\n\n"),
            ("etc/modules-load.d/ib.conf", "; comment\nmade-up-verbs\nnot-there\n"),
            ("usr/lib/modules-load.d/ib.conf", "hidden\n"),
            ("usr/lib/modules-load.d/off.conf", "switched-off\n"),
            ("usr/lib/modules-load.d/notes.txt", "no\n"),
            ("proc/modules", "made_up_verbs 1 0 - Live 0x0\n"),
            ("proc/sys/kernel/osrelease", "1.2.3\n"),
        ]);
        symlink("/dev/null", dir.path().join("etc/modules-load.d/off.conf")).unwrap();
        let kernel = observe(&source);
        assert_eq!(
            kernel.required_modules,
            Fact(Ok(["loop", "made-up-verbs", "not-there"].map(String::from).to_vec()))
        );
        assert_eq!(kernel.missing_modules.0.unwrap_err().reason, Reason::NotPresent);
        let builtin = dir.path().join("lib/modules/1.2.3");
        fs::create_dir_all(&builtin).unwrap();
        fs::write(builtin.join("modules.builtin"), "kernel/drivers/block/loop.ko\n").unwrap();
        assert_eq!(observe(&source).missing_modules, Fact(Ok(vec!["not-there".into()])));
    }

    #[test]
    fn no_selinux_is_disabled_and_nothing_known_is_absent() {
        let of = |files: &[(&str, &str)]| {
            let (_dir, source) = tree(files);
            selinux(&source)
        };
        assert_eq!(of(&[("sys/fs/selinux/enforce", "1")]), Ok(Selinux::Enforcing));
        assert_eq!(of(&[("sys/fs/selinux/enforce", "0")]), Ok(Selinux::Permissive));
        assert_eq!(of(&[("sys/kernel/x", "")]), Ok(Selinux::Disabled));
        assert!(of(&[]).is_err());
    }

    #[test]
    fn limits_of_the_node_are_counted() {
        let (_dir, source) = tree(&[
            ("proc/sys/fs/file-nr", "500\t0\t1000\n"),
            ("proc/loadavg", "0.35 0.29 0.20 1/383 4242\n"),
            ("proc/sys/vm/swappiness", "60\n"),
            ("proc/sys/kernel/tainted", "no number\n"),
        ]);
        let kernel = observe(&source);
        assert_eq!(kernel.open_files.used_percent, Fact(Ok(50.0)));
        assert_eq!(kernel.threads.count, Fact(Ok(383)));
        assert_eq!(kernel.sysctl["vm.swappiness"], Fact(Ok("60".into())));
        assert_eq!(kernel.sysctl["vm.dirty_ratio"].0.as_ref().unwrap_err().reason, Reason::NotPresent);
        assert_eq!(kernel.taint.flags.0.unwrap_err().reason, Reason::Failed);
    }
}
