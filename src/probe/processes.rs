//! `processes`: what runs on the node.

use super::parts::{self, Part, Place};
use super::source::{Source, clipped};
use super::users::Names;
use super::{PROBE_DEADLINE, Probe, answer, first_present, schema_of, text};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Map;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "processes",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Process>>,
    arguments: None,
    ask: |source, _, progress| {
        let processes = observe(source)?;
        let parts = processes.iter().enumerate().filter_map(|(index, process)| part(source, index, process)).collect();
        Ok(parts::ask_quickly(answer(&processes)?, parts, progress))
    },
};

/// How long reading one command line may take.
const ARGUMENTS_DEADLINE: Duration = Duration::from_secs(2);
/// The most that is read of one command line, in bytes.
const ARGUMENTS_CAP: u64 = 16 << 10;
/// The kernel cuts a program's name to this many bytes (TASK_COMM_LEN, without its zero byte).
const NAME_CAP: usize = 15;
/// Ticks a second in /proc/PID/stat (USER_HZ): 100 wherever Linux runs today.
const TICKS: f64 = 100.0;
/// The parent of all kernel threads.
const KTHREADD: u32 = 2;

/// A process or a kernel thread, from /proc/PID. One that ends while it is read is left out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "process", "x-key" = "pid"))]
struct Process {
    /// Process id.
    pid: u32,
    /// Process id of its parent, 0 for the first process (/proc/PID/stat).
    parent_pid: Fact<u32>,
    /// Name of the program (/proc/PID/stat), in full where the command line tells what the kernel cut off after 15
    /// bytes.
    name: Fact<String>,
    /// The command line, word by word, up to 16 KiB of it (/proc/PID/cmdline); empty for kernel threads and zombies.
    /// Absent (failed) for a process in uninterruptible sleep, since reading it could hang in the same place.
    arguments: Fact<Vec<String>>,
    /// Name of the user it runs as, from /etc/passwd; the number where that file has no name for it.
    user: Fact<String>,
    /// Number of the user it runs as, the effective user id: the owner of the folder /proc/PID, or, in a recording,
    /// /proc/PID/status:Uid.
    uid: Fact<u32>,
    /// What its first thread does (/proc/PID/stat).
    state: Fact<ProcessState>,
    /// How many threads it has (/proc/PID/stat).
    threads: Fact<u64>,
    /// Memory it holds, in bytes (/proc/PID/stat, or, in a recording, /proc/PID/status:VmRSS). Absent (not supported)
    /// for kernel threads and zombies, which hold none.
    memory_bytes: Fact<u64>,
    /// Seconds since it started (/proc/PID/stat and /proc/uptime).
    age_seconds: Fact<u64>,
    /// Processor time it has used in user and kernel mode, in seconds (/proc/PID/stat).
    cpu_seconds: Fact<f64>,
    /// The kernel function that it waits in (/proc/PID/wchan, else the top of /proc/PID/stack). Absent (not supported)
    /// unless it is in uninterruptible sleep; (denied) where that needs root.
    waiting_on: Fact<String>,
    /// Whether it is a thread of the kernel.
    is_kernel_thread: Fact<bool>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ProcessState {
    /// It runs, or waits for a processor (R).
    Running,
    /// It waits for something and can be interrupted (S).
    Sleeping,
    /// It waits in the kernel and cannot be killed until that ends (D): a disk, a network file system, a driver.
    Uninterruptible,
    /// A signal stopped it (T).
    Stopped,
    /// A debugger holds it (t).
    Traced,
    /// It has ended, and its parent has not asked how (Z).
    Zombie,
    /// An idle kernel thread (I).
    Idle,
    /// It is just being removed (X).
    Dead,
    /// Any other state (K, W, P).
    Other,
}

/// The fields of /proc/PID/stat that are used (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq)]
struct Stat {
    name: String,
    state: ProcessState,
    parent: u32,
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    memory_pages: u64,
}

fn observe(source: &Source) -> Result<Vec<Process>, Absent> {
    // Mounted with `hidepid`, /proc shows everybody their own processes only: nothing could be said of the others.
    if source.recorded().is_none() && source.uid() != 0 && source.text("/proc/1/stat").is_err() {
        return Err(Absent::denied("/proc hides the processes of other users; needs root"));
    }
    let mut pids: Vec<u32> = source.names("/proc")?.iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    let uptime = source.line("/proc/uptime").and_then(|line| {
        let seconds = line.split(' ').next().and_then(text::decimal);
        seconds.ok_or_else(|| Absent::failed("/proc/uptime: not what the kernel writes"))
    });
    let users = Names::of_users(source);
    Ok(pids.into_iter().filter_map(|pid| process(source, pid, &uptime, &users)).collect())
}

/// What is known of a process without asking for its command line; `None` when it has ended meanwhile.
fn process(source: &Source, pid: u32, uptime: &Result<f64, Absent>, users: &Names) -> Option<Process> {
    // It may also end between being opened and being read.
    let ended = |absent: &Absent| absent.reason == Reason::NotPresent || absent.detail.ends_with(": no such process");
    let stat = match source.text(&format!("/proc/{pid}/stat")) {
        Err(absent) if ended(&absent) => return None,
        read => read.and_then(|text| stat(pid, &text)),
    };
    let stat = stat.as_ref().map_err(Clone::clone);
    let state = stat.clone().map(|stat| stat.state);
    let is_kernel_thread = stat.clone().map(|stat| pid == KTHREADD || stat.parent == KTHREADD);
    let holds_none = is_kernel_thread == Ok(true) || matches!(state, Ok(ProcessState::Zombie | ProcessState::Dead));
    let (uid, memory) = match source.recorded() {
        // The kernel makes the folder belong to the effective user. Writing /proc/PID/status takes it as long as all
        // the rest, so that is left to recordings, whose folders belong to whoever copied them.
        None => {
            let uid = source.metadata(&format!("/proc/{pid}"), false).map(|folder| folder.uid());
            if uid.as_ref().is_err_and(ended) {
                return None;
            }
            let page = rustix::param::page_size() as u64;
            (uid, stat.clone().map(|stat| stat.memory_pages.saturating_mul(page)))
        }
        Some(_) => {
            let status = source.text(&format!("/proc/{pid}/status"));
            let status = status.as_deref().map_err(Clone::clone);
            (status.clone().and_then(|text| effective_uid(pid, text)), status.and_then(|text| memory(pid, text)))
        }
    };
    let memory = if holds_none { Err(Absent::not_supported("it has no memory of its own")) } else { memory };
    let arguments = match state {
        _ if holds_none => Vec::new().into(),
        Ok(ProcessState::Uninterruptible) => Fact(Err(Absent::failed("not read: the process is stuck in the kernel"))),
        _ => parts::pending(),
    };
    let waiting_on = match state.clone() {
        Ok(ProcessState::Uninterruptible) => waiting_on(source, pid),
        Ok(_) => Fact(Err(Absent::not_supported("not in uninterruptible sleep"))),
        Err(absent) => Fact(Err(absent)),
    };
    let age = stat.clone().and_then(|stat| {
        let started = stat.start_ticks as f64 / TICKS;
        Ok((uptime.clone()? - started).max(0.0) as u64)
    });
    Some(Process {
        pid,
        parent_pid: stat.clone().map(|stat| stat.parent).into(),
        name: stat.clone().map(|stat| stat.name.clone()).into(),
        arguments,
        user: uid.clone().map(|uid| users.get(uid)).into(),
        uid: uid.into(),
        state: state.into(),
        threads: stat.clone().map(|stat| stat.threads).into(),
        memory_bytes: memory.into(),
        age_seconds: age.into(),
        cpu_seconds: stat.map(|stat| stat.cpu_ticks as f64 / TICKS).into(),
        waiting_on,
        is_kernel_thread: is_kernel_thread.into(),
    })
}

/// The part that reads the command line. It needs the lock of the process's memory, which another thread of it that
/// is stuck in the kernel may hold, so it is read after everything else and may fail on its own.
fn part<'a>(source: &'a Source, index: usize, process: &Process) -> Option<Part<'a>> {
    if process.arguments != parts::pending() {
        return None;
    }
    let (pid, name) = (process.pid, process.name.value().cloned());
    let label = format!("the command line of process {pid}");
    let place = Place::new(format!("/{index}"), &["arguments"], label, ARGUMENTS_DEADLINE);
    let ask = move || {
        let (bytes, _) = source.bytes(&format!("/proc/{pid}/cmdline"), ARGUMENTS_CAP)?;
        let arguments = words(&bytes);
        let mut fields = Map::new();
        if let Some(name) = name.and_then(|name| whole_name(&name, &arguments)) {
            fields.insert("name".into(), name.into());
        }
        fields.insert("arguments".into(), arguments.into());
        Ok(fields)
    };
    Some((place, Box::new(ask)))
}

/// `4242 (name) S 1 ...`; the name may hold anything, white space and brackets too.
fn stat(pid: u32, text: &str) -> Result<Stat, Absent> {
    let read = || {
        let (name, fields) = text.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from the process id as 1; the state is its field 3.
        let number = |field: usize| -> Option<u64> { fields.get(field - 3)?.parse().ok() };
        let state = match *fields.first()? {
            "R" => ProcessState::Running,
            "S" => ProcessState::Sleeping,
            "D" => ProcessState::Uninterruptible,
            "T" => ProcessState::Stopped,
            "t" => ProcessState::Traced,
            "Z" => ProcessState::Zombie,
            "I" => ProcessState::Idle,
            "X" | "x" => ProcessState::Dead,
            _ => ProcessState::Other,
        };
        Some(Stat {
            name: name.to_string(),
            state,
            parent: u32::try_from(number(4)?).ok()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            threads: number(20)?,
            start_ticks: number(22)?,
            memory_pages: number(24)?,
        })
    };
    read().ok_or_else(|| Absent::failed(format!("/proc/{pid}/stat: not what the kernel writes")))
}

/// The value of a line `KEY:\tVALUE` of /proc/PID/status.
fn value<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// The second number of the line `Uid`: real, effective, saved and file system user id.
fn effective_uid(pid: u32, status: &str) -> Result<u32, Absent> {
    let uid = value(status, "Uid").and_then(|ids| ids.split_ascii_whitespace().nth(1)?.parse().ok());
    uid.ok_or_else(|| Absent::failed(format!("/proc/{pid}/status: no user id")))
}

/// The line `VmRSS`: a number of kB.
fn memory(pid: u32, status: &str) -> Result<u64, Absent> {
    let Some(memory) = value(status, "VmRSS") else {
        return Err(Absent::not_supported("it has no memory of its own"));
    };
    let kib = memory.trim_end_matches("kB").trim_end().parse::<u64>();
    let bytes = kib.ok().and_then(|kib| kib.checked_mul(1024));
    bytes.ok_or_else(|| Absent::failed(format!("/proc/{pid}/status: VmRSS: {}", clipped(memory))))
}

fn waiting_on(source: &Source, pid: u32) -> Fact<String> {
    // The kernel answers 0 where it knows none, and to those who may not know.
    let unknown = || match source.uid() {
        0 => Absent::not_supported("the kernel does not say"),
        _ => Absent::denied("needs root"),
    };
    let function = source.line(&format!("/proc/{pid}/wchan"));
    let function = function.and_then(|name| if name.is_empty() || name == "0" { Err(unknown()) } else { Ok(name) });
    let stack = || {
        // `[<0>] nfs_wait_bit_killable+0x1a/0x90`
        let stack = source.text(&format!("/proc/{pid}/stack"))?;
        let top = stack.lines().next().and_then(|line| line.split_once("] ")?.1.split('+').next());
        top.map(str::to_string).ok_or_else(unknown)
    };
    match function {
        Ok(name) => name.into(),
        absent => first_present([stack(), absent]),
    }
}

/// The words of a command line, each ended by a zero byte. Programs that write over it to show what they do leave
/// one word, and often many zero bytes at the end.
fn words(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return Vec::new();
    }
    bytes[..end].split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The name that the kernel cut to `name`: the program, or the script that an interpreter runs.
fn whole_name(name: &str, arguments: &[String]) -> Option<String> {
    if name.len() < NAME_CAP {
        return None;
    }
    // The first word may hold arguments too, where the program wrote over it.
    let files = arguments.iter().take(4).filter_map(|word| word.split(' ').next()?.rsplit('/').next());
    files.into_iter().find(|file| file.len() > name.len() && file.starts_with(name)).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::Recorded;
    use serde_json::{Value, json};
    use std::fs;

    const STAT: &str = "4242 (a (b) c) D 1 4242 4242 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 1000 9 9 9 0\n";

    fn tree(files: &[(&str, &str)]) -> Vec<Value> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let source = Source::dead(dir.path(), Recorded { uid: 1000, ..Default::default() });
        match (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() {
            Value::Array(processes) => processes,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_process_stuck_in_the_kernel_is_told_without_touching_its_memory() {
        let processes = tree(&[
            ("proc/uptime", "70.5 1.0\n"),
            ("proc/4242/stat", STAT),
            ("proc/4242/status", "Name:\tx\nUid:\t0\t1000\t0\t0\nVmRSS:\t      8 kB\n"),
            ("proc/4242/cmdline", "never read\0"),
            ("proc/4242/wchan", "rpc_wait_bit_killable"),
            ("etc/passwd", "me:x:1000:1000::/:/bin/sh\n"),
        ]);
        assert_eq!(
            processes,
            [json!({
                "pid": 4242, "parent_pid": 1, "name": "a (b) c", "user": "me", "uid": 1000,
                "arguments": {"absent": "failed", "detail": "not read: the process is stuck in the kernel"},
                "state": "uninterruptible", "threads": 7, "memory_bytes": 8192, "age_seconds": 60, "cpu_seconds": 3.0,
                "waiting_on": "rpc_wait_bit_killable", "is_kernel_thread": false,
            })]
        );
    }

    #[test]
    fn a_name_that_the_kernel_cut_is_whole_again() {
        let stat = |name: &str| STAT.replace("a (b) c", name).replace(") D", ") S");
        let processes = tree(&[
            ("proc/9/stat", &stat("nvidia-persiste")),
            ("proc/9/cmdline", "/usr/bin/nvidia-persistenced\0--user\0nv\0"),
            ("proc/10/stat", &stat("network-manager")),
            ("proc/10/cmdline", "/usr/bin/python3\0/opt/network-manager-watch\0"),
            ("proc/11/stat", &stat("short")),
            ("proc/11/cmdline", "shorter\0\0\0"),
            ("proc/self/stat", &stat("not a process")),
        ]);
        let names: Vec<_> = processes.iter().map(|process| process["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["nvidia-persistenced", "network-manager-watch", "short"]);
        assert_eq!(processes[0]["arguments"], json!(["/usr/bin/nvidia-persistenced", "--user", "nv"]));
        assert_eq!(processes[2]["arguments"], json!(["shorter"]));
        assert_eq!(processes[0]["age_seconds"]["absent"], "not_present");
        assert_eq!(processes[0]["user"]["absent"], "not_present");
    }

    #[test]
    fn garbage_costs_its_own_fields_only() {
        let processes = tree(&[("proc/7/stat", "7 (half"), ("proc/7/status", "Uid:\t1\t2\t3\t4\nVmRSS:\tmany kB\n")]);
        assert_eq!(processes[0]["name"]["absent"], "failed");
        assert_eq!(processes[0]["uid"], 2);
        assert_eq!(processes[0]["memory_bytes"]["absent"], "failed");
        assert_eq!(stat(1, ") ("), Err(Absent::failed("/proc/1/stat: not what the kernel writes")));
        assert!(words(b"\0\0").is_empty());
    }

    #[test]
    fn without_an_uptime_nobody_is_new() {
        for uptime in ["nan 1", "inf 1", "-5 1", ""] {
            let processes = tree(&[("proc/4242/stat", STAT), ("proc/uptime", uptime)]);
            assert_eq!(processes[0]["age_seconds"]["absent"], "failed", "{uptime}");
        }
    }

    #[test]
    fn who_may_not_know_what_a_process_waits_for_is_told_so() {
        let processes = tree(&[("proc/4242/stat", STAT), ("proc/4242/wchan", "0")]);
        assert_eq!(processes[0]["waiting_on"]["absent"], "denied");
        let processes = tree(&[
            ("proc/4242/stat", STAT),
            ("proc/4242/wchan", "0"),
            ("proc/4242/stack", "[<0>] nfs_wait_bit_killable+0x1a/0x90\n[<0>] x\n"),
        ]);
        assert_eq!(processes[0]["waiting_on"], "nfs_wait_bit_killable");
    }
}
