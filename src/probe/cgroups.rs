//! `cgroups`: which control groups the kernel has, and which of its controllers work.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "cgroups",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Cgroups>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

/// The control groups. Absent as a whole (not_present) where none are mounted.
#[derive(Debug, Serialize, JsonSchema)]
struct Cgroups {
    /// `v1`, `v2`, or `hybrid` where both are mounted (types of the mounts at and below /sys/fs/cgroup).
    version: Version,
    /// Controllers that work: `cpu`, `cpuset`, `devices`, `memory`, `pids` … Of version 2 those of the root group
    /// (cgroup.controllers), which has no `devices` because programs of the kernel do that; of version 1 those that are
    /// mounted.
    controllers: Fact<Vec<String>>,
    /// Controllers that the kernel has and that are switched off (/proc/cgroups, column `enabled`).
    switched_off: Fact<Vec<String>>,
    /// Controllers that the root group passes on to the groups below it (cgroup.subtree_control). Absent
    /// (not_supported) with version 1.
    passed_on: Fact<Vec<String>>,
    /// How jobs are kept from devices that are not theirs: `v1` by a controller, `bpf` by programs of the kernel.
    devices: Devices,
    /// Services that the kernel has refused a new process or thread since they were started, because they had as many as
    /// systemd lets them have (TasksMax; /sys/fs/cgroup/system.slice/*/pids.events). Absent (not_present) where systemd
    /// keeps no such groups.
    refused: Fact<Vec<Refused>>,
}

/// A service that reached its limit of processes and threads.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "service", "x-key" = "service"))]
struct Refused {
    /// Its name with the ending: `kubelet.service`.
    service: String,
    /// How often a new one was refused (pids.events, `max`).
    times: u64,
    /// How many it has now (pids.current).
    tasks: Fact<u64>,
    /// How many it may have (pids.max). Absent (not_present) where there is no limit any more.
    tasks_max: Fact<u64>,
}

/// Versions of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Version {
    /// The old kind: one tree a controller.
    V1,
    /// The new kind: one tree.
    V2,
    /// The old kind, with a new tree beside it that controls nothing.
    Hybrid,
}

/// How devices are controlled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Devices {
    /// By the controller of version 1.
    V1,
    /// By programs that the kernel runs (BPF), with version 2.
    Bpf,
    /// Not at all: neither is there.
    None,
}

/// What the controller `pids` says of the services of systemd below `folder`.
fn refused(source: &Source, folder: &str) -> Result<Vec<Refused>, Absent> {
    let of = |service: String| {
        let file = |name: &str| format!("{folder}/{service}/{name}");
        let events = source.line(&file("pids.events")).ok()?;
        let times = events.lines().find_map(|line| line.strip_prefix("max ")?.trim().parse().ok())?;
        let limit = || match source.word(&file("pids.max"))?.as_str() {
            "max" => Err(Absent::not_present("it may have as many as it likes")),
            limit => limit.parse().map_err(|_| Absent::failed(format!("{}: no number", file("pids.max")))),
        };
        let (tasks, tasks_max) = (source.number(&file("pids.current")).into(), limit().into());
        Some(Refused { times, tasks, tasks_max, service }).filter(|refused| refused.times > 0)
    };
    let services = source.names(folder)?.into_iter().filter(|name| name.ends_with(".service"));
    Ok(services.filter_map(of).collect())
}

fn observe(source: &Source) -> Result<Cgroups, Absent> {
    // What is mounted below another root stands in the table of the first process.
    let table = source.text("/proc/self/mountinfo").or_else(|_| source.text("/proc/1/mountinfo"))?;
    let (mut first, mut second, mut at_root) = (Vec::new(), false, false);
    for line in table.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(mount_point) = before.split(' ').nth(4) else { continue };
        let mut after = after.split(' ');
        match after.next() {
            Some("cgroup2") => {
                second = true;
                at_root |= mount_point == "/sys/fs/cgroup";
            }
            Some("cgroup") => {
                let options = after.nth(1).unwrap_or_default();
                let controls = |option: &&str| {
                    !matches!(*option, "rw" | "ro" | "xattr" | "clone_children") && !option.contains('=')
                };
                first.extend(options.split(',').filter(controls).map(str::to_string));
            }
            _ => {}
        }
    }
    let version = match (first.is_empty(), second) {
        (true, false) => return Err(Absent::not_present("no control groups are mounted")),
        (true, true) => Version::V2,
        (false, false) => Version::V1,
        (false, true) if at_root => Version::V2,
        (false, true) => Version::Hybrid,
    };
    first.sort();
    first.dedup();
    let words = |file: &str| {
        let line = source.line(&format!("/sys/fs/cgroup/{file}"));
        line.map(|line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
    };
    let devices = match version {
        Version::V2 => Devices::Bpf,
        _ if first.iter().any(|name| name == "devices") => Devices::V1,
        _ => Devices::None,
    };
    Ok(Cgroups {
        controllers: Fact(match version {
            Version::V2 => words("cgroup.controllers"),
            _ => Ok(first),
        }),
        passed_on: Fact(match version {
            Version::V2 => words("cgroup.subtree_control"),
            _ => Err(Absent::not_supported("version 1 passes nothing on")),
        }),
        switched_off: Fact(source.text("/proc/cgroups").map(|text| switched_off(&text))),
        refused: Fact(match version {
            Version::V2 => refused(source, "/sys/fs/cgroup/system.slice"),
            _ => refused(source, "/sys/fs/cgroup/pids/system.slice"),
        }),
        version,
        devices,
    })
}

/// `#subsys_name hierarchy num_cgroups enabled`.
fn switched_off(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, _, _, enabled] = fields[..] else { return None };
        (!name.starts_with('#') && enabled == "0").then(|| name.to_string())
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::source::{Recorded, tree_of};

    const SECOND: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const FIRST: &str = "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
";

    fn of(mounts: &str) -> Result<Cgroups, Absent> {
        let files = [
            ("proc/self/mountinfo", mounts),
            (
                "proc/cgroups",
                "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t5\t1\nmemory\t0\t5\t0\nbroken\n",
            ),
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
        ];
        let (_dir, source) = tree_of(&files, Recorded::default());
        observe(&source)
    }

    #[test]
    fn services_that_were_refused_a_task_are_listed() {
        let slice = "sys/fs/cgroup/system.slice";
        let (_dir, source) = tree_of(
            &[
                ("proc/self/mountinfo", SECOND),
                (&format!("{slice}/a.service/pids.events"), "max 12\n"),
                (&format!("{slice}/a.service/pids.current"), "99\n"),
                (&format!("{slice}/a.service/pids.max"), "100\n"),
                (&format!("{slice}/b.service/pids.events"), "max 3\n"),
                (&format!("{slice}/b.service/pids.max"), "max\n"),
                (&format!("{slice}/c.service/pids.events"), "max 0\n"),
                (&format!("{slice}/d.service/pids.events"), "garbage\n"),
                (&format!("{slice}/e.mount/pids.events"), "max 4\n"),
            ],
            Recorded::default(),
        );
        let refused = observe(&source).unwrap().refused.0.unwrap();
        assert_eq!(
            refused.iter().map(|one| (one.service.as_str(), one.times)).collect::<Vec<_>>(),
            [("a.service", 12), ("b.service", 3)]
        );
        assert_eq!((refused[0].tasks.value(), refused[0].tasks_max.value()), (Some(&99), Some(&100)));
        let absent = [&refused[1].tasks.0, &refused[1].tasks_max.0].map(|fact| fact.as_ref().unwrap_err().reason);
        assert_eq!(absent, [Reason::NotPresent, Reason::NotPresent]);
    }

    #[test]
    fn versions_are_told_apart() {
        let second = of(SECOND).unwrap();
        assert_eq!((second.version, second.devices), (Version::V2, Devices::Bpf));
        assert_eq!(second.controllers.0.unwrap().len(), 5);
        assert_eq!(second.switched_off, Fact(Ok(vec!["memory".to_string()])));
        assert_eq!(second.passed_on.0.unwrap_err().reason, Reason::NotPresent);
        let first = of(FIRST).unwrap();
        assert_eq!((first.version, first.devices), (Version::V1, Devices::V1));
        assert_eq!(first.controllers.0.unwrap(), ["cpu", "cpuacct", "devices"]);
        let hybrid = of(&format!("{FIRST}{}", SECOND.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))).unwrap();
        assert_eq!(hybrid.version, Version::Hybrid);
        assert_eq!(of("").unwrap_err().reason, Reason::NotPresent);
        assert_eq!(of("\u{0}garbage - \n - cgroup2").unwrap_err().reason, Reason::NotPresent);
    }
}
