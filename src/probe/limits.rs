//! `limits`: what this shell and the daemons that start jobs may use.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "limits",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Limits>>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

/// Daemons whose limits their children have: jobs, containers, sessions.
const DAEMONS: [&str; 9] =
    ["slurmd", "pbs_mom", "sbatchd", "containerd", "dockerd", "crio", "kubelet", "sshd", "munged"];
/// More processes of these names than a node has daemons.
const MOST: usize = 64;

/// The limits of one process (/proc/PID/limits): of this program, which has those of the shell that started it, and of
/// each daemon that starts jobs, containers or sessions (slurmd, pbs_mom, sbatchd, containerd, dockerd, crio, kubelet,
/// sshd) or that they need (munged).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "process", "x-key" = "pid"))]
struct Limits {
    /// Process id; 0 for this program.
    pid: u32,
    /// The program: `slurmd`, or `this shell`.
    name: String,
    /// Memory that may be locked, in bytes (Max locked memory).
    locked_memory: Fact<Limit>,
    /// Files that may be open (Max open files).
    open_files: Fact<Limit>,
    /// The stack, in bytes (Max stack size).
    stack: Fact<Limit>,
    /// Processes of its user (Max processes).
    processes: Fact<Limit>,
    /// The file that is written when it crashes, in bytes (Max core file size).
    core_file: Fact<Limit>,
    /// Memory in all, in bytes (Max address space).
    address_space: Fact<Limit>,
    /// Processor time, in seconds (Max cpu time).
    cpu_time: Fact<Limit>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct Limit {
    /// Whether there is none.
    unlimited: bool,
    /// The limit that holds. Absent (not_supported) when there is none.
    soft: Fact<u64>,
    /// Up to where the process may raise it. Absent (not_supported) when there is no bound.
    hard: Fact<u64>,
}

fn observe(source: &Source) -> Result<Vec<Limits>, Absent> {
    let mut found = vec![limits(source, 0, "this shell", "/proc/self/limits")];
    for (pid, name) in source.programs()? {
        if found.len() < MOST && DAEMONS.contains(&name.as_str()) {
            found.push(limits(source, *pid, name, &format!("/proc/{pid}/limits")));
        }
    }
    Ok(found)
}

fn limits(source: &Source, pid: u32, name: &str, path: &str) -> Limits {
    let text = source.text(path);
    let of = |title: &str| Fact(text.as_ref().map_err(Clone::clone).and_then(|text| limit(path, text, title)));
    Limits {
        pid,
        name: name.to_string(),
        locked_memory: of("Max locked memory"),
        open_files: of("Max open files"),
        stack: of("Max stack size"),
        processes: of("Max processes"),
        core_file: of("Max core file size"),
        address_space: of("Max address space"),
        cpu_time: of("Max cpu time"),
    }
}

/// `Max locked memory         8388608              unlimited            bytes`.
fn limit(path: &str, text: &str, title: &str) -> Result<Limit, Absent> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(title))
        .ok_or_else(|| Absent::failed(format!("{path}: has no line \"{title}\"")))?;
    let mut words = line.split_whitespace();
    let mut number = || match words.next() {
        Some("unlimited") => Ok(None),
        Some(word) => word.parse::<u64>().map(Some).map_err(|_| wrong(path, title, line)),
        None => Err(wrong(path, title, line)),
    };
    let (soft, hard) = (number()?, number()?);
    let bound = |limit: Option<u64>| Fact(limit.ok_or_else(|| Absent::not_supported("unlimited")));
    Ok(Limit { unlimited: soft.is_none(), soft: bound(soft), hard: bound(hard) })
}

fn wrong(path: &str, title: &str, line: &str) -> Absent {
    Absent::failed(format!("{path}: {title}: expected two numbers, found \"{}\"", clipped(line.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::source::{Recorded, tree_of};

    const TEXT: &str = "Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max locked memory         67108864             67108864             bytes     
Max open files            lots                 524288               files     
";

    #[test]
    fn daemons_and_this_shell_have_their_limits() {
        let (_dir, source) = tree_of(
            &[
                ("proc/self/limits", TEXT),
                ("proc/12/comm", "bash\n"),
                ("proc/90/comm", "slurmd\n"),
                ("proc/90/limits", TEXT),
                ("proc/91/stat", "91 (munged) S 1 0"),
            ],
            Recorded::default(),
        );
        let found = observe(&source).unwrap();
        let names: Vec<(u32, &str)> = found.iter().map(|limits| (limits.pid, limits.name.as_str())).collect();
        assert_eq!(names, [(0, "this shell"), (90, "slurmd"), (91, "munged")]);
        let locked = found[1].locked_memory.value().unwrap();
        assert_eq!((locked.unlimited, &locked.soft), (false, &Fact(Ok(67_108_864))));
        assert!(found[1].cpu_time.value().unwrap().unlimited);
        assert_eq!(found[1].stack.value().unwrap().hard.0.as_ref().unwrap_err().reason, Reason::NotSupported);
        assert_eq!(found[1].open_files.0.as_ref().unwrap_err().reason, Reason::Failed);
        assert_eq!(found[1].processes.0.as_ref().unwrap_err().reason, Reason::Failed);
        assert_eq!(found[2].stack.0.as_ref().unwrap_err().reason, Reason::NotPresent);
    }

    #[test]
    fn what_is_empty_binary_or_huge_is_no_limit() {
        for text in ["", "\u{0}\u{1}", "Max stack size", "Max stack size  99999999999999999999999 1 bytes"] {
            assert_eq!(limit("x", text, "Max stack size").unwrap_err().reason, Reason::Failed, "{text}");
        }
    }
}
