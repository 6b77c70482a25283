//! A world that gives less than usual, or other than it should: outputs that cannot be written, no environment, few
//! files, one processor, containers, a clock that jumps, machines with thousands of everything.

mod common;

use serde_json::Value as Json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PUNCHLIST: &str = env!("CARGO_BIN_EXE_punchlist");

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn report(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{:?} {}", output.status, said(output)))
}

fn status<'r>(report: &'r Json, check: &str) -> &'r str {
    let outcomes = report["outcomes"].as_array().unwrap();
    outcomes.iter().find(|one| one["check"] == check).unwrap()["status"].as_str().unwrap()
}

/// `sh -c SCRIPT` in which `$0` is the program.
fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", script, PUNCHLIST]).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Whether a helper's command works here; else the test is left out.
fn can(test: &str, script: &str) -> bool {
    let works = Command::new("bash")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    if !works {
        common::left_out(test, &format!("`{script}` does not work here"));
    }
    works
}

/// A file system of its own with 64 KiB, and what a script says in it.
#[test]
fn a_full_or_read_only_disk_leaves_the_old_file_untouched() {
    let test = "a_full_or_read_only_disk_leaves_the_old_file_untouched";
    if !can(test, "unshare -m mount -t tmpfs none /mnt") {
        return;
    }
    let machine = common::machine("kvm-vm").display().to_string();
    let in_mount = |prepare: &str, after: &str| {
        let script = format!(
            "mount -t tmpfs -o size=64k none /mnt && echo old > /mnt/r.json && {prepare} && \
             \"$0\" run --root {machine} -o /mnt/r.json --format json; echo \"status $?\" >&2; {after}; cat /mnt/r.json >&2; ls -A /mnt >&2"
        );
        Command::new("unshare").args(["-m", "bash", "-c", &script, PUNCHLIST]).output().unwrap()
    };
    let full = in_mount("dd if=/dev/zero of=/mnt/fill bs=1k count=200 2>/dev/null; true", "true");
    assert!(said(&full).contains("cannot write /mnt/r.json: no space left on device"), "{}", said(&full));
    assert!(said(&full).contains("status 74\nold\nfill\nr.json\n"), "{}", said(&full));
    assert!(report(&full)["outcomes"].as_array().unwrap().len() > 50, "it is printed all the same");
    let read_only = in_mount("mount -o remount,ro /mnt", "true");
    assert!(said(&read_only).contains("cannot write /mnt/r.json: read-only file system"), "{}", said(&read_only));
    assert!(said(&read_only).contains("status 74\nold\nr.json\n"), "{}", said(&read_only));
}

#[test]
fn a_folder_without_permission_is_named() {
    let test = "a_folder_without_permission_is_named";
    if !can(test, "setpriv --reuid 65534 --clear-groups true") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = readable_by_all();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--clear-groups"])
        .arg(binary.path().join("punchlist"))
        .args(["run", "-o"])
        .arg(folder.path().join("r.json"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", said(&output));
    assert!(said(&output).contains("r.json: permission denied"), "{}", said(&output));
}

/// A copy of the program that other users can execute, wherever the repository lies.
fn readable_by_all() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(PUNCHLIST, folder.path().join("punchlist")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn closed_streams_are_no_reason_to_crash() {
    let machine = common::machine("sick-node").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    for (closed, expected) in
        [("2>&-", 2), ("<&- 2>&-", 2), ("<&-", 2), (">/dev/full", 74), (">/dev/full 2>/dev/full", 74)]
    {
        let _ = fs::remove_file(&file);
        let output = shell(&format!("\"$0\" run --root {machine} -o {} {closed}", file.display())).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{closed}: {}", said(&output));
        let written: Json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert!(!written["items"].as_array().unwrap().is_empty(), "{closed}: the file is written all the same");
    }
    // With standard output closed, the report must not end up in whatever is opened next.
    let output = shell(&format!("\"$0\" run --root {machine} -o {} >&-", file.display())).output().unwrap();
    assert!([Some(2), Some(74)].contains(&output.status.code()), "{:?}", output.status);
    let _: Json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
}

#[test]
fn a_live_run_needs_nothing_from_its_environment() {
    let test = "a_live_run_needs_nothing_from_its_environment";
    let binary = readable_by_all();
    let binary = binary.path().join("punchlist");
    let program = binary.display();
    let mut ways = vec![
        format!("env -i {program} run --format json"),
        format!("env -u HOME -u TERM LANG=xx_YY.bogus LC_ALL=\u{1} {program} run --format json"),
        format!("TZ=:/no/such/zone COLUMNS=-7 TERM=dumb {program} run --format json"),
        format!("ulimit -n 64; {program} run --format json"),
        format!("ulimit -s 128; {program} run --format json"),
        format!("cd /; umask 777; {program} run --format json"),
        format!("trap '' PIPE INT HUP CHLD; {program} run --format json"),
    ];
    let more = [
        ("taskset -c 0 true", format!("taskset -c 0 {program} run --format json")),
        (
            "setpriv --reuid 54321 --regid 54321 --clear-groups true",
            format!("env -i setpriv --reuid 54321 --regid 54321 --clear-groups {program} run --format json"),
        ),
        ("unshare -p --fork --mount-proc true", format!("unshare -p --fork --mount-proc {program} run --format json")),
        ("unshare -p --fork true", format!("unshare -p --fork {program} run --format json")),
        ("unshare -n true", format!("unshare -n {program} run --format json")),
        ("unshare -m umount -l /sys", format!("unshare -m bash -c 'umount -l /sys; exec {program} run --format json'")),
        (
            "unshare -m umount -l /proc",
            format!("unshare -m bash -c 'umount -l /proc; exec {program} run --format json'"),
        ),
        (
            "unshare -m mount -o remount,ro,bind / /",
            format!("unshare -m bash -c 'mount -o remount,ro,bind / /; exec {program} run --format json'"),
        ),
        (
            "unshare -m mount -t tmpfs none /etc",
            format!("unshare -m bash -c 'mount -t tmpfs none /etc; exec {program} run --format json'"),
        ),
        (
            "unshare -m mount -t tmpfs none /run",
            format!(
                "unshare -m bash -c 'mount --bind /dev/null /dev/kmsg; mount -t tmpfs none /var/log; mount -t tmpfs none /run; exec {program} run --format json'"
            ),
        ),
        (
            "setpriv --no-new-privs --bounding-set=-all --inh-caps=-all true",
            format!("setpriv --no-new-privs --bounding-set=-all --inh-caps=-all {program} run --format json"),
        ),
    ];
    for (needs, way) in more {
        if can(test, needs) {
            ways.push(way);
        }
    }
    for way in ways {
        let began = Instant::now();
        let output = Command::new("bash").args(["-c", &way]).stdin(Stdio::null()).output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(31), "{way}: {:?}", began.elapsed());
        let report = report(&output);
        let outcomes = report["outcomes"].as_array().unwrap();
        assert!(outcomes.len() > 100, "{way}: {}", outcomes.len());
        assert!(matches!(output.status.code(), Some(0..=3)), "{way}: {:?}", output.status);
        // Whatever could not be told has its reason.
        for outcome in outcomes.iter().filter(|one| one["status"] == "unknown") {
            assert!(outcome["reason"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{way}: {outcome}");
        }
        // Nothing of ours crashed or hung.
        let items = report["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap());
        let ours: Vec<&str> =
            items.filter(|title| title.contains("the process that asked it") || title.contains("panicked")).collect();
        assert!(ours.is_empty(), "{way}: {ours:?}");
    }
}

/// Files are written by another process, which has to be found without /proc too.
#[test]
fn a_report_is_written_where_proc_is_missing() {
    let test = "a_report_is_written_where_proc_is_missing";
    if !can(test, "unshare -m umount -l /proc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    let script = format!(
        "unshare -m bash -c 'umount -l /proc; exec \"$0\" run --only cpu.online -o {} --format json' \"$0\"",
        file.display()
    );
    let output = shell(&script).output().unwrap();
    assert!(matches!(output.status.code(), Some(0..=3)), "{:?}: {}", output.status, said(&output));
    let written: Json = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(status(&written, "cpu.online"), status(&report(&output), "cpu.online"));
}

/// Who may not read the kernel's log has not seen that it is clean.
#[test]
fn a_kernel_log_that_is_denied_is_unknown() {
    let test = "a_kernel_log_that_is_denied_is_unknown";
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, file) = (folder.path().join("punchlist"), folder.path().join("own.yaml"));
    fs::copy(PUNCHLIST, &binary).unwrap();
    fs::write(&file, "checklist: own\nchecks:\n  - { id: own.log, title: t, expect: kernel_log.events.size() >= 0 }\n")
        .unwrap();
    // The log of the last boot, which anybody may read, says nothing of the present.
    let prepare = "mount -t tmpfs none /var/log && echo \"[    0.000000] Linux version 6.8\" >/var/log/dmesg && \
                   touch /tmp/.kmsg$$ && chmod 600 /tmp/.kmsg$$ && mount --bind /tmp/.kmsg$$ /dev/kmsg; rm /tmp/.kmsg$$";
    let deny = format!("unshare -m bash -c '{prepare}; exec setpriv --reuid 65534 --clear-groups");
    if !can(test, &format!("{deny} test -r /var/log/dmesg -a ! -r /dev/kmsg'")) {
        return;
    }
    let way = format!("{deny} {} run --only own --format json {}'", binary.display(), file.display());
    let output = Command::new("bash").args(["-c", &way]).output().unwrap();
    let report = report(&output);
    assert_eq!(status(&report, "own.log"), "unknown", "{report}");
    assert_eq!(report["outcomes"][0]["reason"]["absent"], "denied", "{}", report["outcomes"]);
}

/// As a container runtime does it: some system calls answer "not permitted".
#[test]
fn refused_system_calls_are_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, "checklist: own\nchecks:\n  - { id: own.host, title: t, expect: 'host.name != \"\"' }\n").unwrap();
    for (refused, expected) in [
        (vec![libc::SYS_statfs, libc::SYS_fstatfs], "pass"),
        (vec![libc::SYS_prctl], "pass"),
        (vec![libc::SYS_clone3, libc::SYS_close_range, libc::SYS_pidfd_open, libc::SYS_statx], "pass"),
        (vec![libc::SYS_sysinfo, libc::SYS_uname, libc::SYS_sched_getaffinity], "pass"),
        // No other process can be had as it should be, so that nothing can be asked.
        (vec![libc::SYS_setpgid], "unknown"),
    ] {
        // clone3 is to be answered with ENOSYS, as Docker does: glibc then uses clone.
        let error = if refused.contains(&libc::SYS_clone3) { libc::ENOSYS } else { libc::EPERM };
        let mut command = Command::new(PUNCHLIST);
        command.args(["run", "--format", "json"]).arg(&file).stdin(Stdio::null());
        let numbers: Vec<u32> = refused.iter().map(|number| *number as u32).collect();
        common::refuse(&mut command, numbers, error);
        let began = Instant::now();
        let output = command.output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(31), "{refused:?}");
        let report = report(&output);
        assert!(report["outcomes"].as_array().unwrap().len() > 100, "{refused:?}");
        assert_eq!(status(&report, "own.host"), expected, "{refused:?}");
    }
}

#[test]
fn a_clock_that_jumps_changes_no_deadline_and_no_duration() {
    let folder = tempfile::tempdir().unwrap();
    // A clock of its own for the program: an hour on with every call, or back.
    let source = folder.path().join("jump.c");
    fs::write(
        &source,
        "#define _GNU_SOURCE\n#include <time.h>\n#include <sys/time.h>\n#include <stdlib.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
         static long calls;\n\
         int clock_gettime(clockid_t id, struct timespec *t) {\n\
           int r = syscall(SYS_clock_gettime, id, t);\n\
           if (id == CLOCK_REALTIME) t->tv_sec += atol(getenv(\"JUMP\")) * ++calls;\n\
           return r; }\n",
    )
    .unwrap();
    let library = folder.path().join("jump.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    if !built.is_ok_and(|status| status.success()) {
        common::left_out("a_clock_that_jumps_changes_no_deadline_and_no_duration", "needs a C compiler (cc)");
        return;
    }
    let file = folder.path().join("own.yaml");
    fs::write(
        &file,
        "checklist: own\nchecks:\n\
         \x20 - { id: own.host, title: t, expect: 'host.name != \"\"' }\n\
         \x20 - { id: own.late, title: t, observe: { c: { command: { argv: [sleep, '9'], timeout: 1500ms } } }, expect: c.exit_status == 0 }\n\
         \x20 - { id: own.soon, title: t, observe: { c: { command: { argv: [sleep, '1'], timeout: 5s } } }, expect: 'c.duration_seconds >= 1.0 && c.duration_seconds < 3.0' }\n",
    )
    .unwrap();
    for jump in ["3600", "-3600"] {
        let began = Instant::now();
        let output = Command::new(PUNCHLIST)
            .args(["run", "--only", "own", "--format", "json"])
            .arg(&file)
            .env("LD_PRELOAD", &library)
            .env("JUMP", jump)
            .output()
            .unwrap();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1400) && took < Duration::from_secs(6), "{jump}: {took:?}");
        let report = report(&output);
        assert_eq!(status(&report, "own.host"), "pass");
        assert_eq!(status(&report, "own.soon"), "pass", "{jump}");
        assert_eq!(status(&report, "own.late"), "unknown", "{jump}");
        let said = report["run"]["duration_ms"].as_f64().unwrap();
        assert!(said > 1400.0 && said < took.as_millis() as f64, "{jump}: {said}");
        // That the clock did jump in the run.
        let started = report["run"]["started"].as_str().unwrap().to_string();
        assert_ne!(started[..13], chrono::Utc::now().format("%Y-%m-%dT%H").to_string(), "{jump}");
    }
}

#[test]
fn two_runs_at_once_and_two_hundred_after_each_other_leave_nothing_behind() {
    let machine = common::machine("kvm-vm");
    let folder = tempfile::tempdir().unwrap();
    let run = |number: usize| {
        let mut command = common::punchlist_on(&machine, "run");
        command.arg("-o").arg(folder.path().join(format!("r{}.json", number % 2))).stdout(Stdio::null());
        // What is written for a moment is written here.
        command.env("TMPDIR", folder.path());
        command
    };
    let mut two: Vec<_> = (0..2).map(|number| run(number).spawn().unwrap()).collect();
    assert!(two.iter_mut().all(|child| child.wait().unwrap().code() == Some(0)));
    let processes = || {
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
    };
    // In two rows, each run after the one before it.
    std::thread::scope(|scope| {
        for row in 0..2 {
            let run = &run;
            scope.spawn(move || {
                for number in 0..100 {
                    assert_eq!(run(row).arg("--only").arg("cpu.online").status().unwrap().code(), Some(0), "{number}");
                }
            });
        }
    });
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["r0.json", "r1.json"]);
    let here = machine.display().to_string();
    let patience = Instant::now() + Duration::from_secs(3);
    while processes().any(|line| line.starts_with("punchlist worker") && line.contains(&here)) {
        assert!(Instant::now() < patience, "workers are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A dead tree with so many of everything.
fn many(folder: &Path, processes: usize, mounts: usize, cpus: usize, devices: usize) {
    let put = |path: &str, text: &str| {
        let path: PathBuf = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("punchlist-observations.yaml", "recorded: 2026-11-20T08:15:00Z\n");
    put("proc/stat", "btime 1763500000\n");
    put("proc/uptime", "100000.00 100000.00\n");
    put("proc/meminfo", "MemTotal: 1000000 kB\nMemFree: 500000 kB\nMemAvailable: 600000 kB\n");
    put("proc/1/status", "Name:\tsystemd\nUid:\t0\t0\t0\t0\n");
    for number in 0..processes {
        let pid = 10_000 + number;
        put(
            &format!("proc/{pid}/stat"),
            &format!(
                "{pid} (python3) S 1 {pid} {pid} 0 -1 4194560 1 1 1 1 100 100 0 0 20 0 1 0 5000 1000000 1000 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n"
            ),
        );
        put(
            &format!("proc/{pid}/status"),
            "Name:\tpython3\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\nVmRSS:\t 1000 kB\nThreads:\t1\n",
        );
        put(&format!("proc/{pid}/cmdline"), "python3\0train.py\0");
    }
    let mut mountinfo = String::from("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n");
    for number in 0..mounts {
        let (id, minor) = (number + 100, number % 250);
        mountinfo +=
            &format!("{id} 1 0:{minor} / /data/{number} rw,relatime - nfs4 nfs{}:/export/{number} rw\n", number % 20);
    }
    put("proc/self/mountinfo", &mountinfo);
    put("proc/1/mountinfo", &mountinfo);
    let mut cpuinfo = String::new();
    for number in 0..cpus {
        cpuinfo += &format!(
            "processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel Xeon\nphysical id\t: {}\ncore id\t\t: {}\ncpu cores\t: 64\nflags\t\t: fpu vme\n\n",
            number % 2,
            number / 2
        );
        put(&format!("sys/devices/system/cpu/cpu{number}/topology/core_id"), &format!("{}\n", number / 2));
        put(&format!("sys/devices/system/cpu/cpu{number}/cpufreq/scaling_governor"), "performance\n");
    }
    put("proc/cpuinfo", &cpuinfo);
    let range = format!("0-{}\n", cpus.max(1) - 1);
    for name in ["online", "present", "possible"] {
        put(&format!("sys/devices/system/cpu/{name}"), &range);
    }
    for number in 0..devices {
        let address = format!("{:04x}:{:02x}:{:02x}.0", number / 256, number % 256, 0);
        for (file, text) in [
            ("vendor", "0x8086"),
            ("device", "0x0953"),
            ("class", "0x010802"),
            ("numa_node", "0"),
            ("current_link_speed", "8.0 GT/s PCIe"),
            ("max_link_speed", "8.0 GT/s PCIe"),
            ("current_link_width", "4"),
            ("max_link_width", "4"),
        ] {
            put(&format!("sys/bus/pci/devices/{address}/{file}"), text);
        }
    }
}

/// What a run costs with all that it starts: CPU seconds and peak memory in KiB.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, and tells what it has cost")]
fn cost(root: &Path) -> (f64, u64) {
    let mut command = Command::new(PUNCHLIST);
    let child = command.args(["run", "--root"]).arg(root).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // SAFETY: the structure is plain numbers, and the call fills it.
    let usage = unsafe {
        let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
        assert_eq!(libc::wait4(child.id() as i32, &mut status, 0, &mut usage), child.id() as i32);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) < 4, "{status}");
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss as u64)
}

#[test]
fn the_cost_of_large_machines_grows_linearly() {
    let of = |processes, mounts, cpus, devices| {
        let folder = tempfile::tempdir().unwrap();
        many(folder.path(), processes, mounts, cpus, devices);
        folder
    };
    // What else runs on this machine can only add to what a run costs.
    let least = |one: (f64, u64), other: (f64, u64)| (one.0.min(other.0), one.1.max(other.1));
    let none = of(1, 1, 1, 1);
    let none = least(cost(none.path()), cost(none.path()));
    for (what, half, whole) in [
        ("4,000 processes", of(2000, 1, 1, 1), of(4000, 1, 1, 1)),
        ("2,000 mounts", of(1, 1000, 1, 1), of(1, 2000, 1, 1)),
        ("512 CPUs", of(1, 1, 256, 1), of(1, 1, 512, 1)),
        ("1,000 PCI devices", of(1, 1, 1, 500), of(1, 1, 1, 1000)),
    ] {
        let (mut of_half, mut of_whole) = (cost(half.path()), cost(whole.path()));
        // Twice as many cost twice as much; were it quadratic, the second half would cost three times the first.
        let halves = |half: (f64, u64), whole: (f64, u64)| (half.0 - none.0, whole.0 - half.0);
        let is_linear = |(first, second): (f64, f64)| second < first.max(0.05) * 2.0;
        for _ in 0..3 {
            if is_linear(halves(of_half, of_whole)) {
                break;
            }
            (of_half, of_whole) = (least(of_half, cost(half.path())), least(of_whole, cost(whole.path())));
        }
        eprintln!(
            "{what}: {:.0} ms CPU and {} MiB; half as many {:.0} ms; none {:.0} ms",
            of_whole.0 * 1e3,
            of_whole.1 >> 10,
            of_half.0 * 1e3,
            none.0 * 1e3
        );
        let (first, second) = halves(of_half, of_whole);
        assert!(is_linear((first, second)), "{what}: the first half costs {first} s, the second {second} s");
        assert!(of_whole.1 < 200 << 10, "{what}: {} KiB", of_whole.1);
    }
}

/// What strace saw of a run on this machine: calls that open, make, change or remove something by its name, and execve.
#[test]
fn nothing_is_written_and_no_shell_is_started() {
    let test = "nothing_is_written_and_no_shell_is_started";
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let kinds = "open,openat,creat,mkdir,mkdirat,mknod,mknodat,link,linkat,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,truncate,chmod,fchmodat,chown,fchownat,utimensat,setxattr,mount,execve,execveat";
    let output = Command::new("strace")
        .args(["-f", "-qq", "--signal=none", "-s", "200", "-e", &format!("trace=?{}", kinds.replace(',', ",?")), "-o"])
        .arg(&trace)
        .arg(PUNCHLIST)
        .args(["run", "--format", "json"])
        .stdin(Stdio::null())
        .output();
    if !output.as_ref().is_ok_and(|output| matches!(output.status.code(), Some(0..=3))) {
        common::left_out(test, "needs strace, and to be allowed to use it");
        return;
    }
    report(&output.unwrap());
    let trace = fs::read_to_string(&trace).unwrap();
    let calls = trace.lines().map(|line| line.split_once(' ').map_or(line, |(_, call)| call.trim_start()));
    let (mut opened, mut started) = (0, 0);
    for call in calls.filter(|call| !call.starts_with("<...") && !call.contains(" = -1 ")) {
        if call.starts_with("open") {
            opened += 1;
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag));
            // The name that `ps` shows of a worker that waits for something is its own.
            assert!(!writes || call.contains("\"/dev/null\"") || call.contains("\"/proc/self/comm\""), "{call}");
        } else if call.starts_with("execve") {
            started += 1;
            let program = call.split('"').nth(1).unwrap();
            let name = program.rsplit('/').next().unwrap();
            assert!(!["sh", "bash", "dash", "zsh", "busybox"].contains(&name), "{call}");
        } else {
            // What an earlier run noted of a worker that it had to leave behind, and that has ended since.
            assert!(call.starts_with("unlink(\"/run/punchlist/stuck-"), "{call}");
        }
    }
    assert!(opened > 100 && started >= 2, "{opened} files opened, {started} programs started");
}
