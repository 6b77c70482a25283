//! `users_directory`: where this node knows its users from, and whether that answers; `known_user`: one user.

use super::dns::timeout;
use super::parts::Progress;
use super::routes::database;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, arguments_of, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) const PROBE: Probe = Probe {
    name: "users_directory",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<UsersDirectory>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

pub(super) const USER_PROBE: Probe = Probe {
    name: "known_user",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<User>,
    arguments: Some(schema_of::<UserArguments>),
    ask: |source, arguments, progress| {
        let arguments: UserArguments = arguments_of(arguments)?;
        answer(&user(source, arguments, progress)?)
    },
};

/// Sources of users that ask a directory, as /etc/nsswitch.conf calls them.
const DIRECTORIES: [&str; 7] = ["sss", "ldap", "winbind", "nis", "nisplus", "hesiod", "slurm"];
/// Where sssd and nslcd wait for questions.
const SSSD_SOCKET: &str = "/var/lib/sss/pipes/nss";
const NSLCD_SOCKET: &str = "/run/nslcd/socket";
/// Ordinary users have numbers from here on (login.defs(5)).
const FIRST_USER: u32 = 1000;
/// Numbers that systemd hands out for services, and `nobody` (systemd's docs/UIDS-GIDS.md).
const NOT_USERS: std::ops::RangeInclusive<u32> = 60001..=65535;
/// From here on, numbers are those of users inside containers (subuid(5)).
const FIRST_INSIDE: u32 = 100_000;

/// Where this node knows its users from.
#[derive(Debug, Serialize, JsonSchema)]
struct UsersDirectory {
    /// What is asked for users, in turn: `files`, `sss`, `ldap`, `systemd` … (/etc/nsswitch.conf).
    sources: Fact<Vec<String>>,
    /// Those of them that ask a directory: `sss`, `ldap`, `winbind`, `nis`.
    directories: Fact<Vec<String>>,
    /// sssd, which stands between the node and its directory.
    sssd: Keeper,
    /// Whether sssd has a configuration (/etc/sssd/sssd.conf, or files in /etc/sssd/conf.d). Some systems ask it by
    /// default and come without one. Absent (denied) where only root may see.
    sssd_set_up: Fact<bool>,
    /// nslcd, which some nodes have instead.
    nslcd: Keeper,
    /// Whether nscd runs, which keeps answers. Beside sssd it keeps wrong ones.
    nscd_runs: Fact<bool>,
    /// Domains of sssd (/etc/sssd/sssd.conf). Absent (denied) for anybody but root.
    domains: Fact<Vec<String>>,
    /// Number of a user who runs something here and whom /etc/passwd does not have: so the directory must. Absent
    /// (not_present) when nobody does.
    someone: Fact<u32>,
    /// Numbers of such users, at most three, that one first. Programs in containers and in other user namespaces are
    /// left out: their users are those of an image, which no directory has to know. Absent as `someone` is.
    others: Fact<Vec<u32>>,
}

/// A service that asks the directory.
#[derive(Debug, Serialize, JsonSchema)]
struct Keeper {
    /// Whether it runs (/proc).
    runs: Fact<bool>,
    /// Whether its socket takes questions. Absent (not_present) when the socket is not there.
    takes_questions: Fact<bool>,
}

/// Which user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UserArguments {
    /// The name or the number.
    #[schemars(length(min = 1))]
    name: String,
    /// How long it may take: 5 seconds if left out. Then the answer as a whole is absent (timeout).
    #[serde(default = "super::dns::default_timeout")]
    #[schemars(extend("format" = "duration"))]
    timeout: String,
}

/// What this node knows of one user, by whatever it asks for users (`getent passwd`, which can be given up where a
/// question of our own could not).
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct User {
    /// Whether the node knows the user.
    known: bool,
    /// Name. Absent (not_present) for one it does not know; so are the others.
    name: Fact<String>,
    /// Number.
    uid: Fact<u32>,
    /// Number of the main group.
    gid: Fact<u32>,
    /// Home folder.
    home: Fact<String>,
    /// Login shell.
    shell: Fact<String>,
    /// How long it took, in seconds; 0 in a recording.
    took_seconds: f64,
}

fn observe(source: &Source) -> UsersDirectory {
    let programs = source.programs();
    let runs = |name: &str| Fact(programs.clone().map(|all| all.iter().any(|(_, program)| program == name)));
    let takes = |path: &str| {
        Fact(match source.unix_socket(path) {
            Ok(()) => Ok(true),
            Err(absent) if absent.reason == Reason::Failed => Ok(false),
            Err(absent) => Err(absent),
        })
    };
    let sources = source.text("/etc/nsswitch.conf").and_then(|text| database(&text, "passwd"));
    let others = others(source);
    let is_directory = |name: &String| DIRECTORIES.contains(&name.as_str());
    UsersDirectory {
        directories: Fact(sources.clone().map(|sources| sources.into_iter().filter(is_directory).collect())),
        sources: Fact(sources),
        sssd: Keeper { runs: runs("sssd"), takes_questions: takes(SSSD_SOCKET) },
        sssd_set_up: Fact(sssd_set_up(source)),
        nslcd: Keeper { runs: runs("nslcd"), takes_questions: takes(NSLCD_SOCKET) },
        nscd_runs: runs("nscd"),
        domains: Fact(source.text("/etc/sssd/sssd.conf").map(|text| domains(&text))),
        someone: Fact(others.clone().map(|others| others[0])),
        others: Fact(others),
    }
}

fn sssd_set_up(source: &Source) -> Result<bool, Absent> {
    match source.metadata("/etc/sssd/sssd.conf", true) {
        Ok(_) => Ok(true),
        Err(absent) if absent.reason == Reason::NotPresent => match source.names("/etc/sssd/conf.d") {
            Ok(names) => Ok(names.iter().any(|name| name.ends_with(".conf"))),
            Err(absent) if absent.reason == Reason::NotPresent => Ok(false),
            Err(absent) => Err(absent),
        },
        Err(absent) => Err(absent),
    }
}

/// `domains = a, b` of the section `[sssd]`; without it every `[domain/NAME]` that is there.
fn domains(text: &str) -> Vec<String> {
    let lines = || text.lines().map(str::trim);
    let list = lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "domains");
    match list {
        Some((_, names)) => {
            names.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect()
        }
        None => {
            lines().filter_map(|line| Some(line.strip_prefix("[domain/")?.strip_suffix(']')?.to_string())).collect()
        }
    }
}

/// How many users the directory is asked for: one that it does not know may have been deleted, all of them have not.
const MOST_OTHERS: usize = 3;

/// What the control groups of containers are called, as their engines name them.
const OF_CONTAINERS: &[&str] =
    &["docker", "containerd", "kubepods", "libpod", "crio", "lxc", "machine.slice", "buildkit", "garden", "nspawn"];

/// Whether a program is one of a container, by its control group or its user namespace. One of which neither may be read
/// is taken for the node's own.
fn is_contained(source: &Source, pid: u32) -> bool {
    let groups = source.text(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let namespace = |of: &str| source.link(&format!("/proc/{of}/ns/user")).ok();
    let is_elsewhere = || match (namespace("1"), namespace(&pid.to_string())) {
        (Some(node), Some(its)) => node != its,
        _ => false,
    };
    OF_CONTAINERS.iter().any(|word| groups.contains(word)) || is_elsewhere()
}

/// At least one, or absent.
fn others(source: &Source) -> Result<Vec<u32>, Absent> {
    let passwd = source.text("/etc/passwd")?;
    let local: std::collections::HashSet<u32> =
        passwd.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect();
    let is_user =
        |uid: &u32| (FIRST_USER..FIRST_INSIDE).contains(uid) && !NOT_USERS.contains(uid) && !local.contains(uid);
    let uid_of = |pid: u32| match source.recorded() {
        None => {
            let folder = source.metadata(&format!("/proc/{pid}"), false).ok()?;
            Some(std::os::unix::fs::MetadataExt::uid(&folder))
        }
        Some(_) => {
            let status = source.text(&format!("/proc/{pid}/status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok())
        }
    };
    let mut others: Vec<u32> = Vec::new();
    for (pid, _) in source.programs()? {
        let Some(uid) = uid_of(*pid).filter(is_user) else { continue };
        if !others.contains(&uid) && !is_contained(source, *pid) {
            others.push(uid);
        }
        if others.len() == MOST_OTHERS {
            break;
        }
    }
    match others.is_empty() {
        true => Err(Absent::not_present("nobody runs anything here whom /etc/passwd does not have")),
        false => Ok(others),
    }
}

fn user(source: &Source, arguments: UserArguments, progress: &dyn Progress) -> Result<User, Absent> {
    if arguments.name.starts_with('-') {
        return Err(Absent::failed(format!("no user can be called \"{}\"", clipped(&arguments.name))));
    }
    let argv = ["getent", "passwd", &arguments.name].map(str::to_string);
    let output = source.command(&argv, timeout(&arguments.timeout)?, 16 << 10, &|group| progress.started(group))?;
    let took_seconds = output.took.as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    let fields: Vec<&str> = text.lines().next().unwrap_or_default().split(':').collect();
    let unknown = || Absent::not_present("no such user");
    match (output.exit, &fields[..]) {
        (Some(0), [name, _, uid, gid, _, home, shell]) => Ok(User {
            known: true,
            name: Fact(Ok(name.to_string())),
            uid: Fact(uid.parse().map_err(|_| Absent::failed(format!("uid: \"{}\"", clipped(uid))))),
            gid: Fact(gid.parse().map_err(|_| Absent::failed(format!("gid: \"{}\"", clipped(gid))))),
            home: Fact(Ok(home.to_string())),
            shell: Fact(Ok(shell.to_string())),
            took_seconds,
        }),
        // getent(1): one or more keys could not be found.
        (Some(2), _) => Ok(User {
            known: false,
            name: Fact(Err(unknown())),
            uid: Fact(Err(unknown())),
            gid: Fact(Err(unknown())),
            home: Fact(Err(unknown())),
            shell: Fact(Err(unknown())),
            took_seconds,
        }),
        _ => Err(Absent::failed(format!("getent: {}", clipped(String::from_utf8_lossy(&output.stderr).trim())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::tree_of;
    use serde_json::json;

    #[test]
    fn where_users_come_from_is_read() {
        let yaml =
            "recorded: 2026-01-01T00:00:00Z\nanswers: {unix /var/lib/sss/pipes/nss: {error: connection refused}}\n";
        let files = [
            ("etc/nsswitch.conf", "passwd:     files sss systemd\n"),
            ("etc/sssd/sssd.conf", "[sssd]\ndomains = a.example, b\n[domain/c]\n"),
            ("etc/passwd", "root:x:0:0::/:\nlocal:x:1000:1000::/:\n\u{0}binary:::\n"),
            ("proc/1/comm", "systemd\n"),
            ("proc/1/status", "Uid:\t0\t0\t0\t0\n"),
            ("proc/5/comm", "sssd\n"),
            ("proc/6/comm", "python\n"),
            ("proc/6/status", "Uid:\t1000\t1000\t1000\t1000\n"),
            ("proc/7/comm", "python\n"),
            ("proc/7/status", "Uid:\t165536\t165536\t1\t1\n"),
            ("proc/8/comm", "python\n"),
            ("proc/8/status", "Uid:\t20117\t20117\t1\t1\n"),
            ("proc/8/cgroup", "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n"),
            // Number 10001 is of an image; the other one has a shell besides.
            ("proc/4/comm", "server\n"),
            ("proc/4/status", "Uid:\t10001\t10001\t1\t1\n"),
            ("proc/4/cgroup", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab.scope\n"),
            ("proc/9/comm", "server\n"),
            ("proc/9/status", "Uid:\t20118\t20118\t1\t1\n"),
            ("proc/9/cgroup", "12:pids:/docker/ab\n"),
            ("proc/10/comm", "bash\n"),
            ("proc/10/status", "Uid:\t20118\t20118\t1\t1\n"),
            ("proc/10/cgroup", "0::/user.slice/user-20118.slice/session-3.scope\n"),
            ("proc/11/comm", "bash\n"),
            ("proc/11/status", "Uid:\t20118\t20118\t1\t1\n"),
        ];
        let (_dir, source) = tree_of(&files, serde_yaml::from_str(yaml).unwrap());
        let seen = observe(&source);
        assert_eq!(seen.directories, Fact(Ok(vec!["sss".to_string()])));
        assert_eq!((seen.sssd.runs, seen.sssd.takes_questions), (Fact(Ok(true)), Fact(Ok(false))));
        assert_eq!(seen.nslcd.takes_questions.0.unwrap_err().reason, Reason::NotPresent);
        assert_eq!(seen.domains, Fact(Ok(vec!["a.example".to_string(), "b".to_string()])));
        assert_eq!(seen.sssd_set_up, Fact(Ok(true)));
        assert_eq!((seen.someone, seen.others), (Fact(Ok(20117)), Fact(Ok(vec![20117, 20118]))));
    }

    #[test]
    fn a_user_is_known_unknown_or_not_to_be_told() {
        let yaml = "recorded: 2026-01-01T00:00:00Z\ncommands:\n- {argv: [getent, passwd, a], stdout: 'a:*:7:8:A:/home/a:/bin/sh'}\n- {argv: [getent, passwd, b], exit: 2}\n- {argv: [getent, passwd, c], absent: timeout}\n- {argv: [getent, passwd, d], stdout: 'x'}\n";
        let (_dir, source) = tree_of(&[], serde_yaml::from_str(yaml).unwrap());
        let ask = |name: &str| (USER_PROBE.ask)(&source, &json!({"name": name}), &Silent);
        assert_eq!((&ask("a").unwrap()["uid"], &ask("a").unwrap()["known"]), (&json!(7), &json!(true)));
        assert_eq!(ask("b").unwrap()["known"], json!(false));
        assert_eq!(ask("c").unwrap_err().reason, Reason::Timeout);
        assert_eq!(ask("d").unwrap_err().reason, Reason::Failed);
        assert_eq!(ask("-s").unwrap_err().reason, Reason::Failed);
    }
}
