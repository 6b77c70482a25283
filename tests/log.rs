//! `punchlist log`: what lines of kernel logs are, in every format, and whole runs of the binary.

mod common;

use punchlist::knowledge::{Choice, Event, Log, Reader};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Class, code, PCI address and line; what each line is on its own.
const LINES: &str = include_str!("log-lines.tsv");

fn read(text: &str) -> Log {
    let mut reader = Reader::default();
    reader.text(text.as_bytes());
    reader.finish()
}

/// What of an event is compared: class, code and PCI address.
fn what(event: &Event) -> (String, String, String) {
    let code = event.code.map_or("-".to_string(), |code| code.to_string());
    (event.class.word().to_string(), code, event.pci.clone().unwrap_or_else(|| "-".to_string()))
}

/// The lines with what is expected of each; nothing for those that are no event.
#[expect(clippy::type_complexity, reason = "a line, and what is compared of it")]
fn lines() -> Vec<(String, Option<(String, String, String)>)> {
    let rows = LINES.lines().filter(|line| !line.starts_with('#'));
    let parsed = rows.map(|row| {
        let fields: Vec<&str> = row.splitn(4, '\t').collect();
        let [class, code, pci, line] = fields[..] else { panic!("{row}") };
        let expected = (class != "benign").then(|| (class.to_string(), code.to_string(), pci.to_string()));
        (line.replace("\\t", "\t"), expected)
    });
    parsed.collect()
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
    command.arg("log").args(arguments).env("NO_COLOR", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that refuses its input does not read it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[track_caller]
fn json(arguments: &[&str], input: &[u8]) -> Json {
    let output = run(&[arguments, &["--format", "json"]].concat(), input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_line_is_known_for_what_it_is_on_its_own() {
    let mut wrong = Vec::new();
    for (line, expected) in lines() {
        let found: Vec<_> = read(&format!("{line}\n")).events.iter().map(what).collect();
        if found != expected.iter().cloned().collect::<Vec<_>>() {
            wrong.push(format!("{line}\n    should be {expected:?}\n    is {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_line_is_the_same_in_every_format() {
    let messages = [
        ("NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=a b, GPU has fallen off the bus.", Some("xid")),
        ("NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2477)", Some("nvrm")),
        (
            "EDAC MC1: 2 CE memory read error on CPU_SrcID#0_MC#1_Chan#0_DIMM#0 (channel:0 slot:0 page:0x1)",
            Some("edac"),
        ),
        ("python3[4711]: segfault at 8 ip 00007f sp 00007f error 4 in libcuda.so.1[7f+1]", Some("segfault")),
        ("BUG: kernel NULL pointer dereference, address: 0000000000000040", Some("segfault")),
        ("kernel BUG at fs/buffer.c:99!", Some("segfault")),
        ("nfs: server fs7 not responding, still trying", Some("nfs")),
        ("{3}[Hardware Error]: event severity: fatal", Some("mce")),
        ("XFS (dm-7): log I/O error -5", Some("fs")),
        ("AER: enabled with IRQ 33", None),
        ("EDAC MC: Ver: 3.0.0", None),
    ];
    type Wrap = fn(&str) -> String;
    let formats: [(&str, Wrap, bool); 27] = [
        ("bare", |m| m.to_string(), false),
        ("dmesg", |m| format!("[12345.678901] {m}"), true),
        ("dmesg with threads", |m| format!("[12345.678901] [  T4711] {m}"), true),
        ("dmesg -T", |m| format!("[Sun Jan  5 10:20:30 2025] {m}"), true),
        ("dmesg -T, Spanish", |m| format!("[dom ene  5 10:20:30 2025] {m}"), true),
        ("dmesg -x", |m| format!("kern  :warn  : [12345.678901] {m}"), true),
        ("dmesg -x --time-format iso", |m| format!("kern  :warn  : 2025-01-05T10:20:30,678901+01:00 {m}"), true),
        ("dmesg --color", |m| format!("\u{1b}[32m[12345.678901] \u{1b}[0m\u{1b}[33m{m}\u{1b}[0m"), true),
        ("journalctl", |m| format!("Jan 05 10:20:30 node7 kernel: {m}"), true),
        ("journalctl -o short-precise", |m| format!("Jan 05 10:20:30.678901 node7 kernel: {m}"), true),
        ("journalctl -o short-full", |m| format!("Sun 2025-01-05 10:20:30 CET node7 kernel: {m}"), true),
        ("journalctl -o short-iso", |m| format!("2025-01-05T10:20:30+0100 node7 kernel: {m}"), true),
        ("journalctl -o short-unix", |m| format!("1736068830.678901 node7 kernel: {m}"), true),
        ("journalctl -o short-monotonic", |m| format!("[12345.678901] node7 kernel: {m}"), true),
        (
            "journalctl -o json",
            |m| {
                let record = serde_json::json!({
                    "MESSAGE": m, "_TRANSPORT": "kernel", "_HOSTNAME": "node7", "__REALTIME_TIMESTAMP": "1736068830678901"
                });
                record.to_string()
            },
            true,
        ),
        ("syslog", |m| format!("Jan  5 10:20:30 node7 kernel: [12345.678901] {m}"), true),
        ("syslog, German", |m| format!("Okt  5 10:20:30 node7 kernel: [12345.678901] {m}"), true),
        ("syslog, French", |m| format!("févr. 05 10:20:30 node7 kernel: {m}"), true),
        ("syslog, Chinese", |m| format!("1月 05 10:20:30 node7 kernel: {m}"), true),
        ("rsyslog", |m| format!("2025-01-05T10:20:30.678901+01:00 node7 kernel: [12345.678901] {m}"), true),
        ("RFC 5424", |m| format!("<4>1 2025-01-05T10:20:30.678Z node7 kernel - - - {m}"), true),
        ("/dev/kmsg", |m| format!("4,1234,12345678901,-;{m}"), true),
        ("/dev/kmsg with callers", |m| format!("4,1234,12345678901,-,caller=T4711;{m}"), true),
        ("grep -n", |m| format!("/var/log/kern.log:17:Jan  5 10:20:30 node7 kernel: {m}"), true),
        ("grep -C", |m| format!("dmesg.txt-17-[12345.678901] {m}"), true),
        ("pdsh", |m| format!("node7: [12345.678901] {m}"), true),
        ("Windows", |m| format!("[12345.678901] {m}\r"), true),
    ];
    for (name, wrap, has_time) in formats {
        for (message, class) in messages {
            let line = wrap(message);
            let log = read(&format!("{line}\n"));
            let found: Vec<&str> = log.events.iter().map(|event| event.class.word()).collect();
            assert_eq!(found, class.into_iter().collect::<Vec<_>>(), "{name}: {line}");
            for event in &log.events {
                assert_eq!((event.first.is_some(), event.count), (has_time, 1), "{name}: {line}");
                assert_eq!(event.line, line.trim_end_matches('\r'), "{name}");
            }
        }
    }
}

#[test]
fn a_line_that_was_broken_in_two_is_one() {
    for broken in [
        "NVRM: Xid (PCI:0000:3b:00)\n: 79, GPU has fallen off the bus.\n",
        "[ 5.0] NVRM: Xid (PCI:0000:3b:\n00): 79, GPU has fallen off the bus.\n",
        "[ 5.0] NVRM: Xid (PCI:0000:3b:00):\n       79, GPU has fallen off the bus.\n",
    ] {
        let log = read(broken);
        let found: Vec<_> = log.events.iter().map(what).collect();
        assert_eq!(found, [("xid".into(), "79".into(), "0000:3b:00.0".into())], "{broken}");
    }
}

#[test]
fn a_line_is_joined_with_the_next_only_where_it_was_broken() {
    let of = |log: &str| -> Vec<(Option<u32>, u64, u64)> {
        let events = read(log).events.into_iter().filter(|event| event.code.is_some());
        events.map(|event| (event.code, event.count, event.line_number)).collect()
    };
    let line = "[ 5.0] NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=x, gone\n";
    for prose in [
        "the GPU had an Xid (see below), then an SXid",
        "it had an Xid (",
        "an Xid (PCI:0000:3b:00)",
        "NVRM: Xid (see below)",
        "NVRM: Xid (PCI:0000:3b:00):",
    ] {
        assert_eq!(of(&format!("{prose}\n{line}")), [(Some(79), 1, 2)], "{prose}");
    }
    assert_eq!(of("Tell us of every Xid (there are many)\n: 79, say\n"), []);
    // Two broken lines that begin alike, and one that does not go on.
    let (begin, of_other) = ("NVRM: Xid (PCI:0000:3b:00):\n", "eth0: link is down: 31\n");
    assert_eq!(
        of(&format!("{begin}{of_other}{begin} 79, gone\n{begin} 31, fault\n")),
        [(Some(79), 1, 3), (Some(31), 1, 5)]
    );
    assert_eq!(
        of("nvidia-nvswitch0: SXid (PCI:0000:6b:\n00.0): 20034, Fatal, Link 30 LTSSM Fault Up\n"),
        [(Some(20034), 1, 1)]
    );
}

#[test]
fn reports_of_several_lines_are_one_event() {
    for (name, report, class, title) in [
        (
            "a GPU that is gone when the driver is loaded",
            "[ 5.0] NVRM: The NVIDIA GPU 0000:3b:00.0\n               NVRM: (PCI ID: 10de:2330) installed in this system has\n               NVRM: fallen off the bus and is not responding to commands.\n",
            "nvrm",
            "does not answer on the PCIe bus",
        ),
        (
            "libraries of another version",
            "[ 5.0] NVRM: API mismatch: the client has the version 550.1, but\n NVRM: this kernel module has the version 535.2.  Please\n NVRM: make sure that this kernel module and all NVIDIA driver\n NVRM: components have the same version.\n",
            "nvrm",
            "different versions",
        ),
        (
            "a processor of the GPU that does not answer",
            "[ 5.0] NVRM: Xid (PCI:0000:3b:00): 119, pid=7, name=x, Timeout after 6s of waiting for RPC response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x1 0x4).\n[ 5.0] NVRM: GPU0 GSP RPC buffer contains function 76 (GSP_RM_CONTROL) and data 0x1 0x4.\n[ 5.0] NVRM: GPU0 RPC history (CPU -> GSP):\n[ 5.0] NVRM:     entry function                   data0              data1\n[ 5.0] NVRM:      0    76   GSP_RM_CONTROL        0x0000000020800001 0x0000000000000004\n[ 5.0] NVRM: GPU0 RPC event history (CPU <- GSP):\n",
            "xid",
            "waiting for GSP_RM_CONTROL",
        ),
        (
            "an SXid",
            "nvidia-nvswitch0: SXid (PCI:0000:6b:00.0): 20034, Fatal, Link 62 LTSSM Fault Up\nnvidia-nvswitch0: SXid (PCI:0000:6b:00.0): 20034, Severity 1 Engine instance 62\nnvidia-nvswitch0: SXid (PCI:0000:6b:00.0): 20034, Data {0x1, 0x2}\n",
            "sxid",
            "link",
        ),
        (
            "memory that the firmware corrected",
            "[ 5.0] {1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 4\n[ 5.0] {1}[Hardware Error]: event severity: corrected\n[ 5.0] {1}[Hardware Error]:  Error 0, type: corrected\n[ 5.0] {1}[Hardware Error]:  fru_text: B1\n[ 5.0] {1}[Hardware Error]:   section_type: memory error\n",
            "mce",
            "error of memory",
        ),
        (
            "a PCIe error that the firmware reports",
            "[ 5.0] {1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 1\n[ 5.0] {1}[Hardware Error]: event severity: recoverable\n[ 5.0] {1}[Hardware Error]:   section_type: PCIe error\n[ 5.0] {1}[Hardware Error]:   device_id: 0000:34:00.0\n",
            "aer",
            "PCIe error",
        ),
        (
            "a corrected PCIe error of a GPU",
            "[ 5.0] pcieport 0000:80:01.0: AER: Corrected error received: id=0008\n[ 5.0] nvidia 0000:81:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, id=8100(Receiver ID)\n[ 5.0] nvidia 0000:81:00.0:   device [10de:2330] error status/mask=00000001/0000a000\n[ 5.0] nvidia 0000:81:00.0:    [ 0] Receiver Error         (First)\n",
            "aer",
            "corrected errors",
        ),
        (
            "a PCIe error without details",
            "[ 5.0] pcieport 0000:80:01.0: AER: Correctable error message received from 0000:81:00.0\n[ 5.0] pcieport 0000:80:01.0: AER: found no error details for 0000:81:00.0\n",
            "aer",
            "corrected errors",
        ),
        (
            "a device that was cut off",
            "[ 5.0] pcieport 0000:80:01.0: DPC: containment event, status:0x1f05 source:0x8100\n[ 5.0] pcieport 0000:80:01.0: DPC: ERR_FATAL detected\n[ 5.1] pcieport 0000:80:01.0: rp_pio_status: 0x00010000, rp_pio_mask: 0x00000303\n",
            "aer",
            "cut its device off",
        ),
        (
            "a GPU without an interrupt",
            "[ 5.0] NVRM: Can't find an IRQ for your NVIDIA card!\n[ 5.0] NVRM: Please check your BIOS settings.\n[ 5.0] NVRM: [Plug & Play OS] should be set to NO\n[ 5.0] NVRM: [Assign IRQ to VGA] should be set to YES \n",
            "nvrm",
            "address range or interrupt",
        ),
        (
            "a GPU without room",
            "[ 5.0] NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\n               NVRM: BAR1 is 0M @ 0x0 (PCI:0000:81:00.0)\n[ 5.0] NVRM: The system BIOS may have misconfigured your GPU.\n",
            "nvrm",
            "address range or interrupt",
        ),
        (
            "a GPU for an older driver",
            "[ 5.0] NVRM: The NVIDIA Tesla M2090 GPU installed in this system is\n               NVRM:  supported through the NVIDIA 390.xx Legacy drivers. Please\n               NVRM:  visit http://www.nvidia.com/object/unix.html for more\n               NVRM:  information.  The 550.90.07 NVIDIA driver will ignore\n               NVRM:  this GPU.  Continuing probe...\n[ 5.0] NVRM: ignoring the legacy GPU 0000:81:00.0\n",
            "nvrm",
            "too new for a GPU",
        ),
        (
            "an adapter whose firmware failed",
            "[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:431:(pid 0): assert_var[0] 0x0000002a\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:431:(pid 0): assert_var[1] 0x00000000\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:434:(pid 0): assert_exit_ptr 0x2099d4ac\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:436:(pid 0): assert_callra 0x2099d6a0\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:439:(pid 0): fw_ver 28.39.1002\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:440:(pid 0): time 1712345678\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:441:(pid 0): hw_id 0x00000218\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:442:(pid 0): rfr 0\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:443:(pid 0): severity 3 (ERROR)\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:444:(pid 0): irisc_index 1\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:445:(pid 0): synd 0x1: firmware internal error\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:447:(pid 0): ext_synd 0x8a2b\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:448:(pid 0): raw fw_ver 0x1c2703ea\n",
            "infiniband",
            "firmware failed",
        ),
        (
            "an adapter that is too hot",
            "[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:431:(pid 0): assert_var[0] 0x0000002a\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:439:(pid 0): fw_ver 28.39.1002\n[ 5.0] mlx5_core 0000:5c:00.0: print_health_info:445:(pid 0): synd 0x10: High temperature\n",
            "thermal",
            "too hot",
        ),
        (
            "a machine check of an AMD CPU",
            "[ 5.0] [Hardware Error]: Corrected error, no action required.\n[ 5.0] [Hardware Error]: CPU:3 (19:11:1) MC23_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|-|-|-]: 0xdc2040000000011b\n[ 5.0] [Hardware Error]: Error Addr: 0x0000000712345680\n[ 5.0] [Hardware Error]: IPID: 0x0000009600150f00, Syndrome: 0x5bb7000a0a800503\n[ 5.0] [Hardware Error]: Power, Interrupts, etc. Ext. Error Code: 2, Link Error.\n[ 5.0] [Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD\n",
            "mce",
            "A machine check of the CPU: Power, Interrupts, etc.",
        ),
        (
            "an older AMD CPU",
            "[ 5.0] [Hardware Error]: CPU:1 (10:9:1) MC4_STATUS[Over|CE|MiscV|-|AddrV|CECC]: 0xdc1b420012080a13\n[ 5.0] [Hardware Error]: Northbridge Error (node 2): DRAM ECC error detected on the NB.\n[ 5.0] [Hardware Error]: Data Cache Error: Data/Tag parity error.\n",
            "mce",
            "machine check",
        ),
        (
            "an Arm CPU of which the firmware reports",
            "[ 5.0] {1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 8\n[ 5.0] {1}[Hardware Error]: event severity: recoverable\n[ 5.0] {1}[Hardware Error]:  Error 0, type: recoverable\n[ 5.0] {1}[Hardware Error]:   section_type: ARM processor error\n[ 5.0] {1}[Hardware Error]:   MIDR: 0x00000000410fd4f0\n[ 5.0] {1}[Hardware Error]:   Error info structure 0:\n[ 5.0] {1}[Hardware Error]:   num errors: 1\n[ 5.0] {1}[Hardware Error]:    error_type: 0x02: cache error\n[ 5.0] {1}[Hardware Error]:    error_info: 0x000000000091000f\n[ 5.0] {1}[Hardware Error]:     transaction type: Data Access\n",
            "mce",
            "error of the CPU",
        ),
        (
            "memory behind IBECC",
            "[ 5.0] EDAC igen6 MC0: HANDLING IBECC MEMORY ERROR\n[ 5.0] EDAC igen6 MC0: ADDR 0x7fffffffe0\n",
            "edac",
            "machine check of memory",
        ),
        (
            "a job out of memory",
            "[ 5.0] python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n[ 5.0] Mem-Info:\n[ 5.1] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=solver,pid=55,uid=0\n[ 5.1] Memory cgroup out of memory: Killed process 55 (solver) total-vm:2kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB\n[ 5.2] oom_reaper: reaped process 55 (solver), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB\n",
            "oom",
            "solver was ended",
        ),
        (
            "a drive that is gone, and what the driver suggests",
            "[ 5.0] nvme nvme4: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff\n[ 5.0] nvme nvme4: Does your device have a faulty power saving mode enabled?\n[ 5.0] nvme nvme4: Try \"nvme_core.default_ps_max_latency_us=0 pcie_aspm=off pcie_port_pm=off\" and report a bug\n",
            "nvme",
            "nvme4 failed",
        ),
        (
            "a drive that does not answer, nor to the abort",
            "[ 5.0] nvme nvme4: I/O 7 QID 3 timeout, aborting\n[ 5.1] nvme nvme4: Abort status: 0x371\n",
            "nvme",
            "nvme4 does not answer",
        ),
        (
            "a task that waits for a lock",
            "[ 5.0] INFO: task dd:71 blocked for more than 122 seconds.\n[ 5.0] \"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.\n[ 5.0] task:dd              state:D stack:0     pid:71    tgid:71    ppid:1      flags:0x00004006\n[ 5.1] INFO: task dd:71 is blocked on a mutex likely owned by task tar:72.\n",
            "hung_task",
            "dd waits in the kernel for a lock that tar seems to hold",
        ),
        (
            "a range of addresses that a bridge does not pass on",
            "[ 5.0] NVRM: This is a 64-bit BAR mapped above 4GB by the system\n               NVRM: BIOS or the Linux kernel, but the PCI bridge\n               NVRM: immediately upstream of this GPU does not define\n               NVRM: a matching prefetchable memory window.\n[ 5.1] NVRM: This may be due to a known Linux kernel bug.  Please\n               NVRM: see the README section on 64-bit BARs for additional\n               NVRM: information.\n",
            "nvrm",
            "no usable address range",
        ),
        (
            "a GPU that does not start, and what its processor shows",
            "[ 5.0] NVRM: kfspDumpDebugState_GH100: GPU 0000:4e:00\n[ 5.0] NVRM: kfspDumpDebugState_GH100: NV_PFSP_EMEMC(0) = 0x1\n[ 5.0] NVRM: kfspDumpDebugState_GH100: NV_PFSP_EMEMD(0) = 0x2\n",
            "nvrm",
            "The processor that starts the GPU",
        ),
        (
            "a disk controller that is too hot",
            "[ 5.0] mpt3sas_cm1: Temperature Threshold flags 0  1    exceeded for Sensor: 2 !!!\n[ 5.0] mpt3sas_cm1: Current Temp In Celsius: 101\n",
            "thermal",
            "mpt3sas_cm1 is too hot",
        ),
    ] {
        let log = read(report);
        let found: Vec<_> = log.events.iter().map(|event| (event.class.word(), event.count)).collect();
        assert_eq!(found, [(class, 1)], "{name}: {:?}", log.events);
        assert!(log.events[0].title.contains(title), "{name}: {}", log.events[0].title);
    }
}

#[test]
fn an_error_of_pcie_is_of_the_port_and_names_the_device() {
    let log = read(
        "[ 5.0] pcieport 0000:80:01.0: AER: Uncorrected (Non-Fatal) error received: 0000:80:01.0\n\
         [ 5.0] nvidia 0000:81:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Requester ID)\n\
         [ 5.0] nvidia 0000:81:00.0:   device [10de:2330] error status/mask=00100000/00000000\n\
         [ 5.4] pcieport 0000:80:01.0: AER: device recovery failed\n",
    );
    let found: Vec<_> = log.events.iter().map(|event| (event.pci.as_deref(), event.device.as_deref())).collect();
    assert_eq!(found, [(Some("0000:80:01.0"), Some("0000:81:00.0")), (Some("0000:80:01.0"), None)]);
    assert!(log.events[1].caused_by.is_some());
}

#[test]
fn an_error_is_as_bad_as_its_own_line_says() {
    for (lines, severity) in [
        ("mce: [Hardware Error]: CPU 5: Machine Check: 0 Bank 9: 8c000041000800c0\n", "warning"),
        ("mce: [Hardware Error]: CPU 5: Machine Check: 0 Bank 9: bd800000001000c0\n", "critical"),
        ("Bank 3: d40040000000017a\n", "warning"),
        ("Bank 3: f40040000000017a\n", "critical"),
        ("[Hardware Error]: CPU:3 (19:11:1) MC1_STATUS[-|UE|MiscV|-|-|-|-|-|-|-]: 0xb800000000000150\n", "critical"),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:6b:00.0): 12028, Non-fatal, Link 7 egress non-posted PRIV error (First)\n\
             nvidia-nvswitch0: SXid (PCI:0000:6b:00.0): 12028, Data {0x00000001, 0x00000002}\n",
            "warning",
        ),
        ("EDAC DEVICE0: CE: l2_edac instance: cpu1 block: L2 'x'\n", "warning"),
        ("EDAC DEVICE0: UE: l2_edac instance: cpu1 block: L2 'x'\n", "critical"),
        ("bnxt_en 0000:65:00.0 eth2: Chip temperature has gone above the warning thermal threshold!\n", "warning"),
        ("bnxt_en 0000:65:00.0 eth2: Chip temperature has gone above the shutdown thermal threshold!\n", "critical"),
        ("nvidia 0000:4e:00.0: not ready 1023ms after FLR; waiting\n", "warning"),
        ("nvidia 0000:4e:00.0: Refused to change power state, currently in D3\n", "warning"),
        ("RAS: Soft-offlining pfn: 0x1234\n", "warning"),
    ] {
        let log = read(lines);
        let found: Vec<&str> = log.events.iter().map(|event| event.severity.word()).collect();
        assert_eq!(found, [severity], "{lines}");
    }
}

#[test]
fn what_the_previous_boot_left_asks_for_nothing_at_once() {
    let log = read(
        "[    0.5] BERT: Error records from previous boot:\n[    0.5] [Hardware Error]: event severity: fatal\n[    0.5] [Hardware Error]:   section_type: memory error\n",
    );
    let [event] = &log.events[..] else { panic!("{:?}", log.events) };
    assert_eq!(event.severity.word(), "info");
    assert!(event.title.starts_with("Firmware reports a fatal") && event.title.contains("before"), "{}", event.title);
    assert!(!event.action.contains("Drain"), "{}", event.action);
}

/// Severity, title, cause and end of each event, in order of importance.
fn told(log: &str) -> Vec<(String, String, Option<String>, Option<String>)> {
    let log = read(log);
    let told = log.by_importance().into_iter().map(|event| {
        (event.severity.word().to_string(), event.title.clone(), event.caused_by.clone(), event.cleared.clone())
    });
    told.collect()
}

#[test]
fn what_was_corrected_only_warns() {
    let report = |severity: &str| {
        format!(
            "[ 5.0] {{1}}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 4\n[ 5.0] {{1}}[Hardware Error]: event severity: {severity}\n[ 5.0] {{1}}[Hardware Error]:   section_type: memory error\n"
        )
    };
    assert_eq!(told(&report("corrected"))[0].0, "warning");
    assert_eq!(told(&report("fatal"))[0].0, "critical");
    for (line, severity, title) in [
        ("EDAC skx MC1: CPU 41: Machine Check Event: 0 Bank 7: be00000001010091", "critical", "could not correct"),
        ("EDAC skx MC1: CPU 41: Machine Check Event: 0x0 Bank 7: 0x9c00004001010091", "warning", "handles"),
        ("pcieport 0000:3a:01.0: AER: Root Port link has been reset (0)", "info", "was reset"),
        ("pcieport 0000:3a:01.0: AER: Root Port link has been reset (-25)", "critical", "could not be reset"),
        ("pcieport 0000:3a:04.0: pciehp: Slot(21): Power fault", "critical", "power of the PCIe slot 21 failed"),
        ("NMI: PCI system error (SERR) for reason b1 on CPU 0.", "critical", "raised an NMI"),
        ("Uhhuh. NMI received for unknown reason 2c on CPU 77.", "warning", "got an NMI"),
        ("{4}[Hardware Error]:   section_type: CXL Protocol Error", "warning", "CXL device"),
        ("mce: [Hardware Error]: Some CPUs didn't answer in synchronization", "critical", "did not answer"),
        ("NVRM: GPU does not have the necessary power cables connected.", "critical", "GPU lacks its power cable"),
    ] {
        let told = &told(&format!("{line}\n"))[0];
        assert!(told.0 == severity && told.1.contains(title), "{line}: {told:?}");
    }
}

#[test]
fn what_came_before_a_start_is_history() {
    let before = "[ 900.0] NVRM: Xid (PCI:0000:3b:00): 79, gone\n[ 901.0] mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 5: bea0\n";
    let boot = "[    0.000000] Linux version 6.8.0 (made up)\n[    0.5] BERT: Error records from previous boot:\n[    0.5] [Hardware Error]: event severity: fatal\n[    0.5] [Hardware Error]:   section_type: memory error\n";
    let after = "[ 50.0] nfs: server fs7 not responding, still trying\n";
    let told = told(&format!("{before}{boot}{after}"));
    let shown: Vec<_> = told.iter().map(|(severity, title, _, _)| format!("{severity} {}", &title[..3])).collect();
    assert_eq!(shown, ["critical NFS", "info Xid", "info The", "info Fir"], "{told:?}");
    assert_eq!(told[1].3.as_deref(), Some("the machine was started again"));
    // Without a start after it, it counts.
    assert_eq!(self::told(before)[0].0, "critical");
}

#[test]
fn only_what_really_ends_an_event_ends_it() {
    let xid = "[ 5.0] NVRM: Xid (PCI:0000:3b:00): 48, pid=7, name=x, DBE\n";
    let end = |after: &str| told(&format!("{xid}{after}")).into_iter().find(|told| told.1.contains("48")).unwrap().3;
    let action = |from: &str, to: &str| {
        format!("[ 6.0] NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from {from} to {to}\n")
    };
    assert_eq!(end(""), None);
    // What the driver asks for is not yet done.
    assert_eq!(end(&action("0x0 (None)", "0x1 (GPU Reset Required)")), None);
    assert!(end(&action("0x1 (GPU Reset Required)", "0x0 (None)")).is_some());
    assert!(end("[ 6.0] vfio-pci 0000:3b:00.0: reset done\n").unwrap().contains("reset"));
    assert_eq!(end("[ 6.0] vfio-pci 0000:9c:00.0: reset done\n"), None);
    assert!(end("[ 6.0] NVRM: loading NVIDIA UNIX Open Kernel Module\n").unwrap().contains("loaded"));
    // It happened again.
    assert_eq!(end(&format!("[ 6.0] NVRM: loading NVIDIA UNIX Open Kernel Module\n{xid}")), None);
}

#[test]
fn what_comes_back_ends_only_its_own_loss() {
    let log = read(
        "[ 5.0] mlx5_core 0000:5c:00.0: Port module event: module 0, Cable unplugged\n\
         [ 5.1] mlx5_core 0000:5c:00.0: print_health_info:424:(pid 0): synd 0x8: unrecoverable hardware error\n\
         [ 5.2] mlx5_core 0000:5c:00.0: Port module event: module 0, Cable plugged\n\
         [ 6.0] device-mapper: multipath: 253:3: Failing path 8:16.\n\
         [ 6.1] device-mapper: multipath: 253:3: Failing path 8:32.\n\
         [ 6.2] device-mapper: multipath: 253:3: Reinstating path 8:32.\n",
    );
    let ended: Vec<_> = log.events.iter().map(|event| event.cleared.is_some()).collect();
    assert_eq!(ended, [true, false, false, true], "{:?}", log.events);
}

#[test]
fn a_title_names_what_the_line_names_and_is_whole_without() {
    for (line, title) in [
        ("XFS: Internal error X at line 3 of file fs/xfs/a.c.", "XFS finds a file system damaged"),
        ("XFS (dm-3): Internal error X at line 3 of file fs/xfs/a.c.", "XFS finds dm-3 damaged"),
        ("igb 0000:09:00.0: Detected Tx Unit Hang", "Network adapter stopped working for a while"),
        ("igb 0000:09:00.0 eno3: Detected Tx Unit Hang", "Network adapter eno3 stopped working for a while"),
        (
            "LNetError: 7:0:(o2iblnd_cb.c:3:kiblnd_check_txs_locked()) Timed out tx: tx_queue, 5 seconds",
            "Messages did not get through Lustre's network in time",
        ),
        (
            "LustreError: 11-0: a-MDT0000-mdc-ffff8: operation mds_reint to node 10.3.0.1@tcp failed: rc = -107",
            "Lustre reports: a-MDT0000-mdc-ffff8: operation mds_reint to node 10.3.0.1@tcp failed: rc = -107",
        ),
        ("mmfs: [E] The key is not known", "The parallel file system reports: The key is not known"),
    ] {
        let log = read(&format!("{line}\n"));
        assert_eq!(log.events.first().map(|event| event.title.as_str()), Some(title), "{line}");
    }
}

#[test]
fn consequences_name_their_cause_and_come_after_it() {
    let told = told(
        "[ 5.0] NVRM: Xid (PCI:0000:3b:00): 48, pid=7, name=x, DBE\n[ 5.1] NVRM: Xid (PCI:0000:3b:00): 45, pid=7, name=x, Ch 1\n\
         [ 5.2] NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)\n\
         [ 5.3] NVRM: Xid (PCI:0000:9c:00): 45, pid=8, name=y, Ch 1 caused by previous Xid 149\n\
         [ 5.4] NVRM: Xid (PCI:0000:5d:00): 45, pid=9, name=z, Ch 1\n",
    );
    let causes: Vec<_> =
        told.iter().map(|(_, title, cause, _)| (title[..6].to_string(), cause.as_deref().unwrap_or("-"))).collect();
    let expected =
        [("Xid 48", "-"), ("Xid 15", "Xid 48"), ("Xid 45", "-"), ("Xid 45", "Xid 48"), ("Xid 45", "Xid 149")];
    assert_eq!(causes, expected.map(|(title, cause)| (title.to_string(), cause)));
}

#[test]
fn a_unit_is_suspected_when_different_programs_fail_on_it_alone() {
    let line = |pid: u64, name: &str, unit: &str| {
        let process = if name.is_empty() { String::new() } else { format!(" name={name},") };
        format!(
            "[ 5.0] NVRM: Xid (PCI:0000:3b:00): 13, pid={pid},{process} Graphics SM Warp Exception on ({unit}): Y\n"
        )
    };
    let suspects =
        |log: String| read(&log).events.iter().filter(|event| event.title.contains("programs met it")).count();
    let (one, beside, other) = ("GPC 2, TPC 3, SM 1", "GPC 2, TPC 3, SM 0", "GPC 2, TPC 4, SM 1");
    assert_eq!(suspects([line(7, "a", one), line(8, "b", beside), line(9, "a", one)].concat()), 3);
    // Old drivers tell no names.
    assert_eq!(suspects([line(7, "", one), line(8, "", one), line(9, "", one)].concat()), 3);
    // Runs of one program, too few, one that goes on, one that failed elsewhere, and one elsewhere.
    assert_eq!(suspects([line(7, "a", one), line(8, "a", one), line(9, "a", one)].concat()), 0);
    assert_eq!(suspects([line(7, "a", one), line(8, "b", one)].concat()), 0);
    assert_eq!(suspects([line(7, "a", one), line(7, "a", beside), line(8, "b", one)].concat()), 0);
    let elsewhere_too = [line(7, "a", one), line(8, "b", one), line(9, "c", one), line(9, "c", other)];
    assert_eq!(suspects(elsewhere_too.concat()), 0);
    assert_eq!(suspects([line(7, "a", one), line(8, "b", one), line(9, "c", other)].concat()), 0);
    // A wrong address is a mistake of the program, however often it comes.
    let address = |pid: u64, name: &str| {
        format!(
            "[ 5.0] NVRM: Xid (PCI:0000:3b:00): 31, pid={pid}, name={name}, Ch 00000010, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC2 GPCCLIENT_T1_3 faulted @ 0x7f00_00001000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ\n"
        )
    };
    let runs = read(&[address(7, "python3"), address(8, "python3")].concat());
    assert!(runs.events.iter().all(|event| event.code == Some(31) && !event.action.contains("Replace")), "{runs:?}");
    assert_eq!(suspects([address(7, "a"), address(8, "b"), address(9, "c")].concat()), 0);
}

#[test]
fn the_json_holds_what_it_promises() {
    let text = b"[ 5.0] usb 1-1: new device\n[ 6.0] NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=x, gone\r\n\
                 [ 7.0] NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=x, gone\n[ 8.0] nfs: server fs7 not responding, timed out\n";
    let document = json(&[], text);
    let events = document["events"].as_array().unwrap();
    assert_eq!((events.len(), document["lines"].as_u64()), (2, Some(4)));
    let event = &events[0];
    for (key, value) in [
        ("line", Json::from("[ 6.0] NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=x, gone")),
        ("line_number", 2.into()),
        ("class", "xid".into()),
        ("code", 79.into()),
        ("pci", "0000:3b:00.0".into()),
        ("severity", "critical".into()),
        ("count", 2.into()),
        ("caused_by", Json::Null),
        ("first", "6.000000".into()),
        ("last", "7.000000".into()),
    ] {
        assert_eq!(event[key], value, "{key}");
    }
    assert!(["title", "action"].iter().all(|key| !event[*key].as_str().unwrap().is_empty()));
    assert_eq!(
        (&events[1]["code"], &events[1]["pci"], &events[1]["device"]),
        (&Json::Null, &Json::Null, &"fs7".into())
    );
}

#[test]
fn files_and_standard_input_are_read_and_wrong_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    fs::write(path("a.log"), "NVRM: Xid (PCI:0000:3b:00): 79, gone\n").unwrap();
    fs::write(path("b.log"), "nothing here\n").unwrap();
    fs::write(path("c.gz"), b"\x1f\x8b\x08\x00garbage").unwrap();
    let document = json(&[&path("a.log"), "-", &path("b.log")], b"nfs: server fs7 not responding, timed out\n");
    let events = document["events"].as_array().unwrap();
    let files: Vec<&str> = events.iter().map(|event| event["file"].as_str().unwrap()).collect();
    assert_eq!((files, document["lines"].as_u64()), (vec![path("a.log").as_str(), "-"], Some(3)));
    for (wrong, says) in [(path("none"), "No such file"), (path(""), "folder"), (path("c.gz"), "zcat")] {
        let output = run(&[&wrong], b"");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(65), "{wrong}: {stderr}");
        assert!(stderr.contains(says), "{wrong}: {stderr}");
    }
    // An empty log is none that says that all is well.
    for (nothing, says) in [
        (&b""[..], "It is empty"),
        (b"\n\n", "None of the 2 lines looks like a kernel log"),
        (b"hello\n", "does not look like a kernel log"),
        (b"[ 5.0] usb 1-1: new device\n", "Nothing in it says that something is wrong"),
    ] {
        let output = run(&[], nothing);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((output.status.code(), stdout.contains(says)), (Some(0), true), "{stdout}");
    }
}

#[test]
fn a_log_in_utf_16_is_read_and_what_is_no_text_is_refused() {
    // Characters of two units, and more than is decoded at a time.
    let filler: String = (0..9000).map(|number| format!("[ 4.0] usb 1-1: device \u{1F680} {number}\n")).collect();
    let text = format!("\u{FEFF}{filler}[ 5.0] NVRM: Xid (PCI:0000:3b:00): 79, gone \u{1F680}\r\n");
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [&little, &big] {
        let document = json(&[], bytes);
        assert_eq!((&document["events"][0]["code"], document["lines"].as_u64()), (&79.into(), Some(9001)));
        assert_eq!(document["events"][0]["line"], "[ 5.0] NVRM: Xid (PCI:0000:3b:00): 79, gone \u{1F680}");
        assert!(!bytes.is_empty() && document["no_logs"].as_array().unwrap().is_empty());
    }
    // Without the mark, cut in the middle of a unit, and what never was text.
    let noise: Vec<u8> = (0..50_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&little[2..], &[0x7f, b'E', b'L', b'F', 0, 0, 0], &noise[..]] {
        let output = run(&[], bytes);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), stderr.contains("it is no text")), (Some(65), true), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(json(&[], &little[..little.len() - 1])["events"][0]["code"], 79);
    // A crash leaves NUL bytes in a log.
    let crashed = json(&[], b"\0\0\0\0\0\n[ 5.0] NVRM: Xid (PCI:0000:3b:00): 79, gone\n");
    assert_eq!(crashed["events"][0]["code"], 79);
    assert_eq!(json(&[], b"hello world\n")["no_logs"], serde_json::json!(["-"]));
}

#[test]
fn an_error_of_memory_is_of_the_memory_that_the_line_names() {
    for (kind, on, unit) in [
        (
            "CE memory read error",
            "mc#0csrow#2channel#5 (csrow:2 channel:5 page:0x1a2b offset:0x0 grain:64)",
            "mc#0csrow#2channel#5",
        ),
        ("CE", "mc#0csrow#2channel#5 (csrow:2 channel:5 page:0x1a2b offset:0x0 grain:64)", "mc#0csrow#2channel#5"),
        ("UE", "mc#0csrow#2channel#5", "mc#0csrow#2channel#5"),
        ("UE Multi-bit ECC", "DIMM A1 or DIMM A2 (channel:1 slot:0 page:0x77)", "DIMM A1 or DIMM A2"),
        ("CE", "any memory (page:0x77)", "any memory"),
    ] {
        let log = read(&format!("[ 5.0] EDAC MC0: 1 {kind} on {on}\n"));
        let units: Vec<_> = log.events.iter().map(|event| event.unit.as_deref()).collect();
        assert_eq!(units, [Some(unit)], "{kind} on {on}");
    }
    // Two of one controller are two, and where no memory is named, it is the controller.
    let of = |channel: u8| format!("EDAC MC0: 1 CE on mc#0csrow#2channel#{channel} (csrow:2 page:0x1)\n");
    let counts: Vec<u64> = read(&[of(0), of(1), of(0)].concat()).events.iter().map(|event| event.count).collect();
    assert_eq!(counts, [2, 1]);
    let old = read(
        "EDAC MC0: CE page 0x1a2b3, offset 0x80, grain 8, syndrome 0x44, row 0, channel 1, label \"\": amd64_edac\n",
    );
    assert_eq!(old.events[0].unit.as_deref(), Some("MC0"));
}

/// Machine, code, count and end of each event.
#[expect(clippy::type_complexity, reason = "what is compared of an event")]
fn by_host(log: &str) -> Vec<(Option<String>, Option<u32>, u64, Option<String>)> {
    let events = read(log).events.into_iter();
    events.map(|event| (event.host, event.code, event.count, event.cleared)).collect()
}

#[test]
fn what_several_machines_write_stays_apart() {
    let xid =
        |host: &str| format!("Jan 16 14:53:01 {host} kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=x, gone\n");
    let start = |host: &str| format!("Jan 16 14:58:01 {host} kernel: Linux version 6.8.0 (made up)\n");
    let loaded = |host: &str| format!("Jan 16 14:58:01 {host} kernel: NVRM: loading NVIDIA UNIX Open Kernel Module\n");
    let some = |host: &str| Some(host.to_string());
    let log = [xid("n1"), xid("n2"), xid("n1"), xid("n2"), xid("n2")].concat();
    assert_eq!(by_host(&log), [(some("n1"), Some(79), 2, None), (some("n2"), Some(79), 3, None)]);
    let again = Some("the machine was started again".to_string());
    for (ends, of_n1, of_n2) in
        [(start("n2"), None, again.clone()), (start("n1"), again.clone(), None), (start("n3"), None, None)]
    {
        let log = [xid("n1"), xid("n2"), ends].concat();
        assert_eq!(by_host(&log), [(some("n1"), Some(79), 1, of_n1), (some("n2"), Some(79), 1, of_n2)], "{log}");
    }
    // Only the second machine is named again.
    let of = by_host(&[xid("n1"), start("n2")].concat());
    assert_eq!(of, [(some("n1"), Some(79), 1, None)]);
    let ends: Vec<bool> =
        by_host(&[xid("n1"), xid("n2"), loaded("n1")].concat()).iter().map(|one| one.3.is_some()).collect();
    assert_eq!(ends, [true, false]);
    // A machine may not know its name yet when it starts.
    for name in ["n1", "localhost"] {
        assert_eq!(by_host(&[xid("n1"), start(name)].concat()), [(some("n1"), Some(79), 1, again.clone())], "{name}");
    }
    // Of a log that is one machine's, whatever its name was.
    let mut reader = Reader::choosing(Choice { of_one_host: true, ..Choice::default() });
    reader.text([xid("n1"), xid("renamed")].concat().as_bytes());
    let log = reader.finish();
    assert_eq!((log.events.len(), log.events[0].count, log.has_several_hosts), (1, 2, false));
    // No consequence, no report and no suspicion reaches from one to another.
    let other = "Jan 16 14:53:02 n2 kernel: NVRM: Xid (PCI:0000:3b:00): 45, pid=7, name=x, Ch 1\n";
    let causes = |log: String| read(&log).events.iter().filter(|event| event.caused_by.is_some()).count();
    assert_eq!(causes([&xid("n1"), other].concat()), 0);
    assert_eq!(causes([&xid("n2"), other].concat()), 1);
    let report = |one: &str, other: &str| {
        let begins = format!("Jan 16 14:53:01 {one} kernel: {{1}}[Hardware Error]: event severity: corrected\n");
        begins + &format!("Jan 16 14:53:01 {other} kernel: {{1}}[Hardware Error]:   section_type: memory error\n")
    };
    assert_eq!((by_host(&report("n1", "n1")).len(), by_host(&report("n1", "n2")).len()), (1, 2));
    let fault = |host: &str, pid: u64| {
        format!(
            "Jan 16 14:53:01 {host} kernel: NVRM: Xid (PCI:0000:3b:00): 13, pid={pid}, name=p{pid}, Graphics SM Warp Exception on (GPC 2, TPC 3, SM 1): Y\n"
        )
    };
    let suspects =
        |log: String| read(&log).events.iter().filter(|event| event.title.contains("programs met it")).count();
    assert_eq!(suspects([fault("n1", 1), fault("n1", 2), fault("n2", 3)].concat()), 0);
    assert_eq!(suspects([fault("n1", 1), fault("n1", 2), fault("n1", 3)].concat()), 3);
}

#[test]
fn the_machine_is_shown_where_there_are_several() {
    let record = |host: &str| {
        let record = serde_json::json!({
            "MESSAGE": "NVRM: Xid (PCI:0000:3b:00): 79, gone", "_TRANSPORT": "kernel", "_HOSTNAME": host,
            "__REALTIME_TIMESTAMP": "1736068830678901"
        });
        format!("{record}\n")
    };
    let several = record("n1") + &record("n2");
    let hosts: Vec<Json> =
        json(&[], several.as_bytes())["events"].as_array().unwrap().iter().map(|event| event["host"].clone()).collect();
    assert_eq!(hosts, ["n1", "n2"]);
    let text = |log: &str| String::from_utf8(run(&[], log.as_bytes()).stdout).unwrap();
    assert!(text(&several).contains("xid · n2 · 0000:3b:00.0"));
    assert!(text(&record("n1")).contains("xid · 0000:3b:00.0"));
    assert_eq!(json(&[], b"[ 5.0] NVRM: Xid (PCI:0000:3b:00): 79, gone\n")["events"][0]["host"], Json::Null);
}

/// Peak memory of the binary on a file, in MiB.
fn memory_on(path: &Path) -> (Json, f64) {
    let child = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["log", "--format", "json"])
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    // Its high-water mark is read while it waits for somebody to take what it says.
    let status = format!("/proc/{pid}/status");
    let mut most = 0.0_f64;
    let watch = std::thread::spawn(move || {
        while let Ok(text) = fs::read_to_string(&status) {
            let Some(line) = text.lines().find(|line| line.starts_with("VmHWM")) else { break };
            most = most.max(line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        most
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (serde_json::from_slice(&output.stdout).unwrap(), watch.join().unwrap())
}

#[test]
fn a_storm_costs_little_memory_and_shows_each_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("storm.log");
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    for number in 0..200_000 {
        let link = number % 29;
        writeln!(
            file,
            "[{number}.0] NVRM: Xid (PCI:0000:{:02x}:00): 74, NVLink: fatal error detected on link {link}(0x0, 0x0)",
            link + 1
        )
        .unwrap();
    }
    // One endless line, binary, and a line that ends in its middle.
    file.write_all(&[b'x'; 3 << 20]).unwrap();
    file.write_all(&[0, 255, 10, 13, 27, 12].repeat(100_000)).unwrap();
    file.write_all(b"\nNVRM: Xid (PCI:0000:").unwrap();
    file.into_inner().unwrap();
    let (document, most) = memory_on(&path);
    let events: Vec<_> =
        document["events"].as_array().unwrap().iter().filter(|event| event["class"] == "xid").collect();
    assert_eq!(events.len(), 29);
    assert_eq!(events.iter().map(|event| event["count"].as_u64().unwrap()).sum::<u64>(), 200_000);
    assert!(most < 100.0, "{most} MiB");
}

/// Rows whose lines come with something that a check looks at itself: the driver's state and its GPUs, the kernel's taint,
/// what is mounted; and those that only ever tell of a report that another row began.
const SEEN_OTHERWISE: &[&str] = &[
    "nvrm.",
    "nvidia.",
    "fm.",
    "crash.atomic",
    "crash.corrupt",
    "crash.memory_state",
    "crash.oops",
    "crash.panic",
    "crash.stack",
    "crash.usercopy",
    "fs.mount_panic",
    "fs.read_only",
    "link.none",
];

/// A node of which nothing is known but what its kernel wrote ten minutes ago.
fn node_that_wrote(line: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("proc/uptime", "522400.00 5903120.00\n");
    put("proc/self/mountinfo", "22 1 259:2 / / rw shared:1 - ext4 /dev/nvme0n1p2 rw\n");
    put("proc/mounts", "/dev/nvme0n1p2 / ext4 rw 0 0\n");
    put("etc/fstab", "");
    for folder in ["bus/pci/devices", "class/infiniband", "class/net", "class/nvme", "block"] {
        fs::create_dir_all(dir.path().join("sys").join(folder)).unwrap();
    }
    for folder in ["tmp", "var/tmp"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
        fs::set_permissions(dir.path().join(folder), fs::Permissions::from_mode(0o1777)).unwrap();
    }
    let lines: String = line.lines().map(|line| format!("  [521800.000000] {}\n", line.trim_start())).collect();
    put("punchlist-observations.yaml", &format!("recorded: '2026-11-20T08:15:00Z'\nkernel_log: |\n{lines}"));
    dir
}

#[test]
fn what_the_log_calls_critical_is_on_the_punch_list_of_a_run() {
    let rows: Json = serde_yaml::from_str(include_str!("../src/knowledge/patterns.yaml")).unwrap();
    let is_read = |row: &&Json| {
        let id = row["id"].as_str().unwrap();
        row["severity"] == "critical" && !SEEN_OTHERWISE.iter().any(|start| id.starts_with(start))
    };
    let items = |line: &str| -> Vec<String> {
        let node = node_that_wrote(line);
        let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
        let output = command.args(["run", "--format", "json", "--root"]).arg(node.path()).output().unwrap();
        let report: Json = serde_json::from_slice(&output.stdout).unwrap();
        report["items"].as_array().unwrap().iter().map(|item| item["title"].to_string()).collect()
    };
    assert_eq!(items("nothing of note"), Vec::<String>::new());
    let missed = |row: &&Json| -> Option<String> {
        let example = row["example"].as_str().unwrap();
        let events = read(example).events;
        let is_critical = events.iter().any(|event| event.severity == punchlist::knowledge::Severity::Critical);
        (is_critical && items(example).is_empty()).then(|| format!("{}: {example}", row["id"]))
    };
    let read: Vec<&Json> = rows.as_array().unwrap().iter().filter(is_read).collect();
    assert!(read.len() > 60, "{}", read.len());
    let missed: Vec<String> = common::in_parallel(&read, missed).into_iter().flatten().collect();
    assert!(missed.is_empty(), "no check of a run tells of these:\n{}", missed.join("\n"));
}

/// A check that asks for a row by an id that no row has could never fire.
#[test]
fn the_rows_that_checklists_name_are_in_the_table() {
    let rows: Json = serde_yaml::from_str(include_str!("../src/knowledge/patterns.yaml")).unwrap();
    let known: BTreeSet<&str> = rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    let asked = regex::Regex::new(
        r#"\.row\)? (?:==|!=|in) ("[^"]*"|\[[^\]]*\])|\.row\.startsWith\(("[^"]*")\)|  log_\w*faults:\n(?: .*\n)*?    default: '(\[.*\])'"#,
    );
    let (asked, name) = (asked.unwrap(), regex::Regex::new(r#""([^"]+)""#).unwrap());
    let (mut named, mut unknown) = (0, Vec::new());
    for text in punchlist::checklist::builtin_texts() {
        for found in asked.captures_iter(text) {
            let names = found.iter().skip(1).flatten().next().unwrap().as_str();
            for name in name.captures_iter(names) {
                named += 1;
                let begins = found.get(2).is_some();
                let is_known = |id: &&str| if begins { id.starts_with(&name[1]) } else { **id == name[1] };
                if !known.iter().any(is_known) {
                    unknown.push(name[1].to_string());
                }
            }
        }
    }
    assert!(named > 100, "{named}");
    assert!(unknown.is_empty(), "{unknown:?}");
}
