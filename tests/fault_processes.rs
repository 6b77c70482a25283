//! Commands and workers that misbehave, and signals: bounded time and memory, nothing left behind that could be ended,
//! and every other outcome complete.

mod common;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn punchlist() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A folder with a checklist of own checks in it.
fn own(checks: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    fs::write(&file, format!("checklist: own\nchecks:\n{checks}")).unwrap();
    (folder, file)
}

/// A check that a shell script ends well.
fn script(id: &str, script: &str, timeout: &str) -> String {
    format!(
        "  - {{ id: own.{id}, title: t, observe: {{ c: {{ command: {{ argv: [bash, -c, '{script}'], timeout: {timeout} }} }} }}, expect: c.exit_status == 0 }}\n"
    )
}

const HOST: &str = "  - { id: own.host, title: t, expect: 'host.name != \"\"' }\n";

/// Something that no other test has in its command lines.
fn marker(number: u32) -> String {
    format!("{}", 1_000_000 + std::process::id() % 100_000 * 10 + number)
}

/// The command lines of all processes in which `marker` stands.
fn alive(marker: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(marker) && !line.contains("own.yaml")).collect()
}

/// Waits until something is so, within five seconds.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < patience, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn report(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn status<'r>(report: &'r Json, check: &str) -> &'r str {
    let outcomes = report["outcomes"].as_array().unwrap();
    outcomes.iter().find(|one| one["check"] == check).unwrap()["status"].as_str().unwrap()
}

fn titles(report: &Json) -> Vec<String> {
    report["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_string()).collect()
}

/// A run that says on standard error what it waits for: after a second, or, of a test under load, at once.
fn waiting(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notice = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut notice).unwrap();
    assert!(notice.starts_with("punchlist: waiting for ") || notice.contains(" runs: command "), "{notice}");
    child
}

/// The children of a process.
fn children(of: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<i32>>()).collect()
}

#[test]
fn what_commands_leave_behind_is_ended() {
    let mark = marker(1);
    let daemon = script("daemon", &format!("setsid -f sleep {mark}"), "5s");
    let orphan = script("orphan", &format!("(setsid bash -c \"sleep {mark}; true\" &) ; exit 0"), "5s");
    let (_folder, file) = own(&(daemon + &orphan + HOST));
    let output = punchlist().args(["run", "--only", "own", "--format", "json"]).arg(&file).output().unwrap();
    let report = report(&output);
    for id in ["own.daemon", "own.orphan", "own.host"] {
        assert_eq!(status(&report, id), "pass");
    }
    until("a daemon is still there", || alive(&mark).is_empty());
}

#[test]
fn nothing_is_left_when_the_program_itself_is_killed() {
    let mark = marker(2);
    let (_folder, file) = own(&script("slow", &format!("sleep {mark} & sleep {mark} & wait"), "50s"));
    let mut child = waiting(punchlist().args(["run", "--only", "own"]).arg(&file));
    until("the command did not start", || alive(&mark).len() >= 3);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    until("a command outlived the program", || alive(&mark).is_empty());
}

/// The report of a run of these checks, and the most memory that a process of it held, in KiB.
fn peak_of(checks: &str) -> (Json, u64) {
    let (_folder, file) = own(checks);
    let mut command = punchlist();
    command.args(["run", "--only", "own", "--format", "json"]).arg(&file);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let peak = thread::spawn(move || {
        let resident = |pid: i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().to_string();
            line.split(' ').next()?.parse::<u64>().ok()
        };
        let mut peak = 0;
        while fs::metadata(format!("/proc/{pid}/fd")).is_ok() && resident(pid as i32).is_some() {
            let workers = children(pid);
            peak = workers.into_iter().chain([pid as i32]).filter_map(resident).max().unwrap_or(0).max(peak);
            thread::sleep(Duration::from_millis(20));
        }
        peak
    });
    let output = child.wait_with_output().unwrap();
    (report(&output), peak.join().unwrap())
}

#[test]
fn a_thousand_commands_take_bounded_time_and_memory() {
    let checks: String = (0..1000)
        .map(|number| format!(
            "  - {{ id: own.c{number}, title: t, observe: {{ c: {{ command: {{ argv: [echo, '{number}'] }} }} }}, expect: c.exit_status == 0 }}\n"
        ))
        .collect();
    let (report, peak) = peak_of(&(checks + &script("flood", "exec yes", "20s")));
    let passed = report["outcomes"].as_array().unwrap().iter().filter(|one| one["status"] == "pass").count();
    assert_eq!(passed, 1000, "all others answered");
    assert_eq!(status(&report, "own.flood"), "unknown");
    assert!(peak > 1 << 10 && peak < 64 << 10, "{peak} KiB");
}

#[test]
fn what_many_commands_print_is_kept_up_to_a_bound() {
    let one = |number: usize| script(&format!("c{number}"), &format!("yes {number} | head -c 1000000"), "20s");
    let checks: String = (0..60).map(one).collect();
    let (report, peak) = peak_of(&(checks + HOST));
    let all = common::outcomes(&report);
    let (kept, lost): (Vec<Json>, Vec<Json>) =
        all.into_iter().filter(|one| one["check"] != "own.host").partition(|one| one["status"] == "pass");
    // Each has a million bytes of 8 MiB. Those that print at the same time may crowd each other out.
    assert!((4..=8).contains(&kept.len()), "{} were kept", kept.len());
    assert_eq!(kept.len() + lost.len(), 60, "all others answered");
    for one in lost {
        assert_eq!(one["status"], "unknown");
        assert!(one["reason"]["detail"].as_str().unwrap().contains("more than 8 MiB together"), "{one}");
    }
    assert_eq!(status(&report, "own.host"), "pass");
    assert!(peak < 64 << 10, "{peak} KiB");
}

#[test]
fn a_worker_that_is_killed_is_asked_again_or_named() {
    let mark = marker(3);
    let (_folder, file) = own(&(script("slow", &format!("sleep {mark}"), "20s") + HOST));
    let child = waiting(punchlist().args(["run", "--only", "own", "--format", "json"]).arg(&file));
    for worker in children(child.id()) {
        kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
    }
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    // The command has 20 s.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let report = report(&output);
    assert_eq!((status(&report, "own.slow"), status(&report, "own.host")), ("unknown", "pass"));
    let titles = titles(&report);
    assert_eq!(titles.len(), 1, "{titles:?}");
    assert!(titles[0].ends_with("killed the process that asked it: signal 9 (SIGKILL)"), "{titles:?}");
    until("the command outlived its worker", || alive(&mark).is_empty());
}

#[test]
fn a_worker_that_is_stopped_is_given_up_at_the_deadline() {
    let mark = marker(6);
    // Were the worker not stopped, the command would be given up in a second.
    let (_folder, file) = own(&(script("slow", &format!("exec sleep {mark}"), "1s") + HOST));
    let began = Instant::now();
    let mut command = punchlist();
    command.args(["run", "--only", "own", "--deadline", "6s", "--format", "json"]).arg(&file);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // In the second round: what the first asks has been answered.
    until("the command did not start", || !alive(&mark).is_empty());
    let workers = children(child.id());
    for worker in &workers {
        kill_process(Pid::from_raw(*worker).unwrap(), Signal::STOP).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let report = report(&output);
    assert_eq!((status(&report, "own.slow"), status(&report, "own.host")), ("unknown", "pass"));
    assert!(titles(&report)[0].ends_with(" did not answer in 3 s"), "{:?}", titles(&report));
    for worker in workers {
        until("a stopped worker is left", || fs::metadata(format!("/proc/{worker}")).is_err());
    }
}

#[test]
fn without_memory_there_is_a_report_or_a_reason() {
    let (_folder, file) = own(HOST);
    for limit in [40_000, 60_000, 90_000, 150_000, 250_000, 500_000] {
        let script = format!("ulimit -v {limit}; exec \"$0\" run --only own --format json \"$1\"");
        let began = Instant::now();
        let output =
            Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_punchlist")]).arg(&file).output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(31));
        if let Ok(report) = serde_json::from_slice::<Json>(&output.stdout) {
            assert!(["pass", "unknown"].contains(&status(&report, "own.host")), "{limit}");
            continue;
        }
        // Too little even to begin.
        assert!(limit < 250_000, "{limit}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stderr.is_empty() && !output.status.success(), "{limit}: {:?}", output.status);
    }
}

#[test]
fn the_first_signal_ends_in_a_report_and_the_second_at_once() {
    let mark = marker(4);
    // In the second round: a command that is asked with arguments. In the third: one that loads the node.
    let second = script("slow", &format!("trap : TERM; sleep {mark}; sleep {mark}"), "50s") + HOST;
    let third = format!(
        "{HOST}  - {{ id: own.slow, title: t, effect: loads, observe: {{ c: {{ command: {{ argv: [sleep, '{mark}'], timeout: 50s }} }} }}, expect: c.exit_status == 0 }}\n"
    );
    let try_one = |checks: &str, signal: Signal, by: &str| {
        let (_folder, file) = own(checks);
        let arguments = ["run", "--only", "own", "--effect", "loads", "--format", "json"];
        let child = waiting(punchlist().args(arguments).arg(&file));
        until("the command did not start", || !alive(&mark).is_empty());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let report = report(&output);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(report["run"]["cut_short"], by);
        assert_eq!((status(&report, "own.host"), status(&report, "own.slow")), ("pass", "unknown"));

        // Twice in a row.
        let mut child = waiting(punchlist().args(arguments).arg(&file));
        until("the command did not start", || !alive(&mark).is_empty());
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let began = Instant::now();
        let status = child.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!([Some(129), Some(130), Some(143), Some(3)].contains(&status.code()), "{status:?}");
    };
    thread::scope(|scope| {
        for checks in [&second, &third] {
            for (signal, by) in
                [(Signal::INT, "Ctrl-C"), (Signal::TERM, "a TERM signal"), (Signal::HUP, "a HUP signal")]
            {
                scope.spawn(move || try_one(checks, signal, by));
            }
        }
    });
    until("a command outlived the program", || alive(&mark).is_empty());
}

#[test]
fn what_is_said_while_waiting_goes_nowhere_where_nobody_reads() {
    let (_folder, file) = own(&(script("slow", "sleep 2", "20s") + HOST));
    // A pipe that is full already.
    let (_reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while std::io::Write::write(&mut writer, &[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut command = punchlist();
    command.args(["run", "--only", "own", "--format", "json"]).arg(&file).stdout(Stdio::piped()).stderr(writer);
    let mut child = command.spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(31);
    // What it prints is less than a pipe holds.
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > patience {
            child.kill().unwrap();
            panic!("it waits for somebody to read what it says");
        }
        thread::sleep(Duration::from_millis(20));
    }
    let report = report(&child.wait_with_output().unwrap());
    assert_eq!((status(&report, "own.slow"), status(&report, "own.host")), ("pass", "pass"));
}

#[test]
fn checks_that_take_for_ever_to_judge_end_with_the_run() {
    // Every process is compared with every other, for each of them.
    let (folder, file) = own(&(HOST.to_string()
        + "  - { id: own.pairs, title: t, for_each: { p: processes }, expect: '!processes.exists(q, q.pid == p.pid + 100000)' }\n"));
    let tree = folder.path().join("tree");
    let put = |path: &str, text: &str| {
        fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        fs::write(tree.join(path), text).unwrap();
    };
    put("punchlist-observations.yaml", "recorded: 2026-11-20T08:15:00Z\n");
    put("proc/sys/kernel/hostname", "n1\n");
    put("proc/uptime", "1000.00 1000.00\n");
    for pid in 1000..3000 {
        let rest = "S 1 1 1 0 -1 4194560 1 1 1 1 100 100 0 0 20 0 1 0 5000 1000000 1000 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
        put(&format!("proc/{pid}/stat"), &format!("{pid} (python3) {rest}\n"));
        put(&format!("proc/{pid}/status"), "Name:\tpython3\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\n");
    }
    let run = |deadline: &str| {
        let mut command = punchlist();
        command.args(["run", "--only", "own", "--format", "json", "--deadline", deadline, "--root"]);
        let began = Instant::now();
        let output = command.arg(&tree).arg(&file).output().unwrap();
        (began.elapsed(), report(&output), output.status.code())
    };
    let (took, report, code) = run("3s");
    // All of it takes some 25 s of processor time in a build for tests.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(code, Some(3));
    assert_eq!(report["run"]["cut_short"], "its deadline of 3 s");
    assert_eq!(status(&report, "own.host"), "pass");
    let of_pairs =
        || common::outcomes(&report).into_iter().filter(|one| one["check"] == "own.pairs").collect::<Vec<_>>();
    let unknown = of_pairs().into_iter().filter(|one| one["status"] == "unknown").collect::<Vec<_>>();
    assert!(of_pairs().iter().all(|one| one["status"] == "unknown" || one["status"] == "pass"));
    assert!(!unknown.is_empty());
    for one in unknown {
        assert_eq!(one["reason"]["absent"], "failed");
        assert_eq!(one["reason"]["detail"], "was not evaluated: the run was out of time");
    }
}

#[test]
fn in_the_first_round_too_a_signal_ends_in_a_report() {
    // What hangs in the first round without root: the driver's library.
    let machine = common::machine("hgx-h100");
    let folder = tempfile::tempdir().unwrap();
    let description = fs::read_to_string(machine.join("nvml.yaml")).unwrap();
    let hanging = folder.path().join("nvml.yaml");
    fs::write(&hanging, format!("{description}\nfaults: [{{call: nvmlInit_v2, hangs: true}}]\n")).unwrap();
    let run = || {
        let mut command = common::punchlist_on(&machine, "run");
        command.args(["--format", "json"]).env("PUNCHLIST_NVML_STAND_IN", &hanging);
        waiting(&mut command)
    };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut twice = run();
        kill_process(Pid::from_child(&twice), signal).unwrap();
        kill_process(Pid::from_child(&twice), Signal::TERM).unwrap();
        // It may be waiting for somebody to read its report by now.
        drop(twice.stdout.take());
        let began = Instant::now();
        twice.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

        let child = run();
        let began = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        // The library has 20 s, and the run 30.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let report = report(&output);
        assert!(report["run"]["cut_short"].is_string());
        assert_eq!(status(&report, "cpu.online"), "pass");
    }
}

#[test]
fn a_run_answers_for_no_process_but_its_own() {
    // A shell that becomes the program: what it had started before stays.
    let mark = marker(5);
    let (_folder, file) = own(&(script("one", "true", "5s") + HOST));
    let script = format!("sleep {mark} & exec \"$0\" run --only own \"$1\"");
    let output = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_punchlist")])
        .arg(&file)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(output.code(), Some(0));
    let left: Vec<i32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|process| {
            fs::read_to_string(process.path().join("cmdline")).is_ok_and(|line| line == format!("sleep\0{mark}\0"))
        })
        .map(|process| process.file_name().to_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(left.len(), 1);
    kill_process(Pid::from_raw(left[0]).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn what_a_caller_has_open_is_not_kept_open() {
    // The lock of a cron job must go with the job, whatever hangs.
    let (_folder, file) = own(&(script("slow", "ls /proc/self/fd | wc -l; sleep 2", "20s") + HOST));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = punchlist();
    command.args(["run", "--only", "own"]).arg(&file);
    let raw = std::os::fd::AsRawFd::as_raw_fd(&writer);
    // SAFETY: one system call, that takes the flag away which would close the file in the program.
    unsafe {
        command.pre_exec(move || {
            libc::fcntl(raw, libc::F_SETFD, 0);
            Ok(())
        })
    };
    let mut child = waiting(&mut command);
    drop((command, writer));
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    for worker in children(child.id()) {
        let open = fs::read_dir(format!("/proc/{worker}/fd")).unwrap().flatten();
        let pipes = open.filter(|file| {
            fs::read_link(file.path()).is_ok_and(|to| {
                to == fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader))).unwrap()
            })
        });
        assert_eq!(pipes.count(), 0);
    }
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), None);
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
}
