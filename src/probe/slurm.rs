//! `slurm`: what Slurm knows of this node, and whether the two can talk.

use super::expected::{SLURM_FOLDERS, Settings, gpus_in_gres, lines_of, names_match};
use super::host;
use super::parts::{self, Part, Place, Progress};
use super::source::{Source, clipped, clipped_to};
use super::subprocess::Keep;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "slurm",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Slurm>,
    arguments: None,
    ask: |source, _, progress| {
        let (slurm, name) = observe(source)?;
        let whole = |field| Place::new("", field, "", ASK_DEADLINE);
        let mut controller = whole(&["node", "controller"]);
        controller.label = "Slurm's controller (scontrol show node)".into();
        let mut munge = whole(&["munge"]);
        munge.label = "munge".into();
        let parts: Vec<Part> = vec![
            (controller, Box::new(move || parts::fields(&ask_controller(source, &name, progress)))),
            (munge, Box::new(move || parts::fields(&MungePart { munge: Fact(munge_round(source, progress)) }))),
        ];
        Ok(parts::ask(answer(&slurm)?, parts, progress))
    },
};

/// How long one part may take, commands and all.
const ASK_DEADLINE: Duration = Duration::from_secs(8);
/// How much is told of what Slurm's and munge's tools say of a failure, in characters.
const LONGEST_ERROR: usize = 200;
/// How long Slurm's controller may take; its own clients wait 10 seconds (MessageTimeout).
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(5);
const MUNGE_TIMEOUT: Duration = Duration::from_secs(3);
/// How much of the end of slurmd's log is read.
const LOG_TAIL: u64 = 64 << 10;
/// The last errors of slurmd's log that are kept.
const MOST_ERRORS: usize = 20;

/// Slurm on this node. Absent as a whole (not_present) where slurmd neither runs nor is configured.
#[derive(Debug, Serialize, JsonSchema)]
struct Slurm {
    /// Whether slurmd runs (/proc).
    slurmd_runs: Fact<bool>,
    /// How many steps of jobs run (processes slurmstepd).
    steps: Fact<u64>,
    /// What slurm.conf says this node has. Absent (not_present) where there is no such file, as on nodes that get their
    /// configuration from the controller and keep none, or where it does not have this node.
    configured: Fact<Configured>,
    /// What the controller says of this node (scontrol show node). Absent (not_present) where scontrol is not installed
    /// or the controller does not know the node, (failed) when it could not be asked.
    node: Fact<Node>,
    /// Whether the controller answers. Absent (not_present) where scontrol is not installed.
    controller: Fact<Controller>,
    /// Whether a credential of munge can be made and read here (munge -n, unmunge). Absent (not_present) where munge is
    /// not installed.
    munge: Fact<Munge>,
    /// What jobs are kept to (cgroup.conf). Absent (not_present) where there is no such file.
    cgroup: Fact<CgroupConf>,
    /// The last errors in slurmd's log, up to 20 of the last 64 KiB (SlurmdLogFile, else /var/log/slurm/slurmd.log or
    /// /var/log/slurmd.log). Absent (not_present) where it writes none.
    log_errors: Fact<Vec<LogError>>,
    /// The last warnings there, likewise.
    log_warnings: Fact<Vec<LogError>>,
    /// Kinds of devices that Slurm gives out to jobs, in lower case: `gpu` (GresTypes in slurm.conf). Empty where it names
    /// none. Absent (not_present) where there is no such file.
    gres_types: Fact<Vec<String>>,
}

/// What slurm.conf says of a node.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Configured {
    /// Its name there.
    name: String,
    /// Processors: CPUs, or sockets × cores × threads. Absent (not_present) where it says neither.
    cpus: Fact<u64>,
    /// Memory in MiB (RealMemory).
    memory_mib: Fact<u64>,
    /// GPUs (Gres); 0 where it has none.
    gpus: Fact<u64>,
    /// What Slurm does with nodes that come back: 0, 1 or 2 (ReturnToService).
    return_to_service: Fact<u64>,
    /// What Slurm checks nodes with (HealthCheckProgram). Absent (not_present) when nothing.
    health_check: Fact<String>,
}

/// What the controller says of a node.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Node {
    /// Its name.
    name: String,
    /// Its state and the flags of that, in capitals: `IDLE`, `DRAIN`, `NOT_RESPONDING` (State). A mark `*` becomes
    /// `NOT_RESPONDING`.
    states: Vec<String>,
    /// Why it is drained or down. Absent (not_present) when nobody gave a reason.
    reason: Fact<String>,
    /// Who gave it and when: `root@2026-01-01T10:00:00`.
    reason_by: Fact<String>,
    /// Processors (CPUTot).
    cpus: Fact<u64>,
    /// Processors that jobs have (CPUAlloc).
    allocated_cpus: Fact<u64>,
    /// Memory in MiB (RealMemory).
    memory_mib: Fact<u64>,
    /// Memory in MiB that was free when slurmd last told (FreeMem).
    free_memory_mib: Fact<u64>,
    /// GPUs (Gres); 0 where it has none.
    gpus: Fact<u64>,
    /// GPUs that jobs have (GresUsed is not shown to all, so AllocTRES); 0 when none.
    allocated_gpus: Fact<u64>,
    /// Version of slurmd as it told the controller (Version).
    version: Fact<String>,
    /// When the node was booted, as the controller knows it (BootTime).
    boot_time: Fact<String>,
}

/// Whether the controller answers.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Controller {
    /// Whether it does.
    answers: bool,
    /// What was said instead. Absent (not_present) when it answers.
    error: Fact<String>,
    /// Whether it has this node. Absent (failed) when it did not answer.
    has_node: Fact<bool>,
}

/// A round of munge.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Munge {
    /// Whether a credential could be made and read.
    works: bool,
    /// What munge said. Absent (not_present) when it works.
    error: Fact<String>,
}

/// What jobs are kept to.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct CgroupConf {
    /// Their processors (ConstrainCores).
    cores: bool,
    /// Their memory (ConstrainRAMSpace).
    memory: bool,
    /// Their devices, GPUs above all (ConstrainDevices).
    devices: bool,
}

/// An error or a warning in slurmd's log.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct LogError {
    /// When, as the log has it: `2026-01-01T10:00:00.123`.
    time: String,
    /// How long ago, in seconds, where the log's time can be read as this node's.
    seconds_ago: Fact<u64>,
    /// What it said.
    text: String,
    /// Whether slurmd ended over it (`fatal:`).
    fatal: bool,
}

#[derive(Serialize)]
struct ControllerPart {
    node: Fact<Node>,
    controller: Fact<Controller>,
}

#[derive(Serialize)]
struct MungePart {
    munge: Fact<Munge>,
}

/// All that files tell, and the name of the node in Slurm.
fn observe(source: &Source) -> Result<(Slurm, String), Absent> {
    let programs = source.programs();
    let count =
        |name: &str| Fact(programs.clone().map(|all| all.iter().filter(|(_, program)| program == name).count() as u64));
    let slurmd_runs = count("slurmd").0.map(|count| count > 0);
    let conf = super::first_present(SLURM_FOLDERS.iter().map(|folder| {
        lines_of(source, folder, &format!("{folder}/slurm.conf")).map(|lines| (folder.to_string(), lines))
    }));
    if conf.0.is_err() && slurmd_runs == Ok(false) {
        return Err(Absent::not_present("slurmd neither runs nor is configured here"));
    }
    let hosts: Vec<String> = host::host_names(source).into_iter().filter_map(Result::ok).collect();
    let host = hosts.first().cloned().unwrap_or_default();
    let configured = conf.0.as_ref().map_err(Clone::clone).and_then(|(_, lines)| configured(lines, &host));
    let name = match &configured {
        Ok(configured) => configured.name.clone(),
        Err(_) => host.split('.').next().unwrap_or_default().to_string(),
    };
    let cgroup = super::first_present(
        SLURM_FOLDERS
            .iter()
            .map(|folder| lines_of(source, folder, &format!("{folder}/cgroup.conf")).map(|lines| cgroup(&lines))),
    );
    let log = conf.0.as_ref().ok().and_then(|(_, lines)| setting(lines, "slurmdlogfile"));
    let gres_types = conf.0.as_ref().map_err(Clone::clone).map(|(_, lines)| gres_types(lines));
    let log = read_log(source, log, &name, &host);
    let said = |what| Fact(log.as_ref().map_err(Clone::clone).map(|text| log_lines(source, text, what)));
    let slurm = Slurm {
        slurmd_runs: Fact(slurmd_runs),
        steps: count("slurmstepd"),
        configured: Fact(configured),
        node: parts::pending(),
        controller: parts::pending(),
        munge: parts::pending(),
        cgroup,
        log_errors: said(&["error: ", "fatal: "]),
        log_warnings: said(&["warning: "]),
        gres_types: Fact(gres_types),
    };
    Ok((slurm, name))
}

/// A setting that stands for itself, the last of which counts.
fn setting(lines: &[Settings], key: &str) -> Option<String> {
    lines
        .iter()
        .rev()
        .filter(|settings| !settings.contains_key("nodename"))
        .find_map(|settings| settings.get(key).cloned())
}

fn configured(lines: &[Settings], host: &str) -> Result<Configured, Absent> {
    let mut default = Settings::new();
    let mut found = None;
    for settings in lines {
        let Some(names) = settings.get("nodename") else { continue };
        if names.eq_ignore_ascii_case("DEFAULT") {
            default.extend(settings.clone());
        } else if names_match(settings.get("nodehostname").unwrap_or(names), host) {
            let mut whole = default.clone();
            whole.extend(settings.clone());
            found = Some(whole);
        }
    }
    let node = found.ok_or_else(|| Absent::not_present(format!("slurm.conf does not have {host}")))?;
    let number = |key: &str| match node.get(key) {
        None => Err(Absent::not_present(format!("slurm.conf says no {key}"))),
        Some(text) => text.parse::<u64>().map_err(|_| Absent::failed(format!("slurm.conf: {key}={}", clipped(text)))),
    };
    let product = || -> Result<u64, Absent> {
        let one = |key: &str| {
            number(key).or_else(|absent| if absent.reason == Reason::NotPresent { Ok(1) } else { Err(absent) })
        };
        let sockets = number("sockets").or_else(|_| one("boards"))?;
        if !["sockets", "socketsperboard", "corespersocket", "threadspercore"].iter().any(|key| node.contains_key(*key))
        {
            return Err(Absent::not_present("slurm.conf says no CPUs"));
        }
        let per_board = if node.contains_key("sockets") { 1 } else { one("socketsperboard")? };
        Ok(sockets
            .saturating_mul(per_board)
            .saturating_mul(one("corespersocket")?)
            .saturating_mul(one("threadspercore")?))
    };
    let cpus =
        number("cpus").or_else(|absent| if absent.reason == Reason::NotPresent { product() } else { Err(absent) });
    let names = node.get("nodename").cloned().unwrap_or_default();
    let short = host.split('.').next().unwrap_or_default().to_string();
    // A name of its own that stands for a host of another name is what Slurm knows.
    let name = if node.contains_key("nodehostname") && !names.contains('[') { names } else { short };
    let global =
        |key: &str| setting(lines, key).ok_or_else(|| Absent::not_present(format!("slurm.conf says no {key}")));
    Ok(Configured {
        name,
        cpus: Fact(cpus),
        memory_mib: Fact(number("realmemory")),
        gpus: Fact(node.get("gres").map_or(Ok(0), |gres| gpus_in_gres(gres))),
        return_to_service: Fact(global("returntoservice").and_then(|text| {
            text.parse().map_err(|_| Absent::failed(format!("slurm.conf: ReturnToService={}", clipped(&text))))
        })),
        health_check: Fact(global("healthcheckprogram")),
    })
}

/// The names of GresTypes, of which several lines add up.
fn gres_types(lines: &[Settings]) -> Vec<String> {
    let names = lines.iter().filter_map(|settings| settings.get("grestypes")).flat_map(|names| names.split(','));
    names.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

fn cgroup(lines: &[Settings]) -> CgroupConf {
    let is = |key: &str| {
        setting(lines, key).is_some_and(|value| ["yes", "true", "1"].contains(&&*value.to_ascii_lowercase()))
    };
    CgroupConf { cores: is("constraincores"), memory: is("constrainramspace"), devices: is("constraindevices") }
}

fn ask_controller(source: &Source, name: &str, progress: &dyn Progress) -> ControllerPart {
    let argv = ["scontrol", "-o", "show", "node", name].map(str::to_string);
    let output = match source.command(&argv, CONTROLLER_TIMEOUT, 64 << 10, &|group| progress.started(group)) {
        Ok(output) => output,
        Err(absent) => {
            let controller = match absent.reason {
                Reason::Timeout => Ok(Controller {
                    answers: false,
                    error: Fact(Ok(absent.detail.clone())),
                    has_node: Fact(Err(absent.clone())),
                }),
                _ => Err(absent.clone()),
            };
            return ControllerPart { node: Fact(Err(absent)), controller: Fact(controller) };
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let said =
        errors.lines().chain(text.lines()).find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_string();
    let well = |has_node| Controller {
        answers: true,
        error: Fact(Err(Absent::not_present("it answers"))),
        has_node: Fact(Ok(has_node)),
    };
    let (node, controller) = match output.exit {
        Some(0) => match node(&text) {
            Some(node) => (Ok(node), Ok(well(true))),
            None => {
                let absent = Absent::failed(format!("scontrol show node: {}", clipped(&said)));
                (Err(absent.clone()), Err(absent))
            }
        },
        // "Node x not found", "Invalid node name specified"
        _ if said.contains("not found") || said.to_ascii_lowercase().contains("invalid node") => {
            (Err(Absent::not_present(clipped(&said))), Ok(well(false)))
        }
        _ => {
            let absent = Absent::failed(clipped(&said));
            let has_node = Fact(Err(absent.clone()));
            (
                Err(absent),
                Ok(Controller { answers: false, error: Fact(Ok(clipped_to(LONGEST_ERROR, &said))), has_node }),
            )
        }
    };
    ControllerPart { node: Fact(node), controller: Fact(controller) }
}

/// One line of `Key=value`, whose values may hold spaces: a value goes on until the next word with an equal sign.
fn node(text: &str) -> Option<Node> {
    let line = text.lines().find(|line| line.trim_start().starts_with("NodeName="))?;
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for word in line.split_whitespace() {
        let key = word.split_once('=').filter(|(key, _)| {
            !key.is_empty()
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && key.starts_with(|c: char| c.is_ascii_uppercase())
        });
        match key {
            // A reason may hold anything, so it is ended only by what scontrol writes after it.
            Some((key, value))
                if last != "Reason" || ["Comment", "Extra", "InstanceId", "ExtSensorsJoules"].contains(&key) =>
            {
                last = key.to_string();
                fields.insert(last.clone(), value.to_string());
            }
            _ => {
                let value = fields.get_mut(&last)?;
                value.push(' ');
                value.push_str(word);
            }
        }
    }
    let name = fields.get("NodeName")?.clone();
    let text = |key: &str| match fields.get(key).map(|value| value.trim()) {
        Some(value) if !value.is_empty() && !["N/A", "(null)", "None"].contains(&value) => Ok(value.to_string()),
        _ => Err(Absent::not_present(format!("scontrol shows no {key}"))),
    };
    let number = |key: &str| {
        text(key)
            .and_then(|value| value.parse::<u64>().map_err(|_| Absent::failed(format!("{key}={}", clipped(&value)))))
    };
    let state = fields.get("State")?;
    // What follows the first bracket of a reason is who gave it: `Low RealMemory [slurm@2026-01-01T10:00:00]`.
    let reason = text("Reason");
    let (why, by) = match &reason {
        Ok(reason) => match reason.rsplit_once(" [").and_then(|(why, by)| Some((why, by.strip_suffix(']')?))) {
            Some((why, by)) => (Ok(why.to_string()), Ok(by.to_string())),
            None => (Ok(reason.clone()), Err(Absent::not_present("scontrol does not show who gave it"))),
        },
        Err(absent) => (Err(absent.clone()), Err(absent.clone())),
    };
    let mut states: Vec<String> = state
        .split('+')
        .map(|state| state.trim_end_matches(['*', '~', '#', '!', '%', '$', '@', '^', '-']).to_ascii_uppercase())
        .collect();
    if state.contains('*') && !states.iter().any(|state| state == "NOT_RESPONDING") {
        states.push("NOT_RESPONDING".into());
    }
    let tres = fields.get("AllocTRES").map(String::as_str).unwrap_or_default();
    let allocated = tres
        .split(',')
        .find_map(|item| item.strip_prefix("gres/gpu="))
        .map_or(Ok(0), |count| count.parse().map_err(|_| Absent::failed(format!("AllocTRES={}", clipped(tres)))));
    Some(Node {
        name,
        states,
        reason: Fact(why),
        reason_by: Fact(by),
        cpus: Fact(number("CPUTot")),
        allocated_cpus: Fact(number("CPUAlloc")),
        memory_mib: Fact(number("RealMemory")),
        free_memory_mib: Fact(number("FreeMem")),
        gpus: Fact(match text("Gres") {
            Ok(gres) => gpus_in_gres(&gres),
            Err(_) => Ok(0),
        }),
        allocated_gpus: Fact(allocated),
        version: Fact(text("Version")),
        boot_time: Fact(text("BootTime")),
    })
}

fn munge_round(source: &Source, progress: &dyn Progress) -> Result<Munge, Absent> {
    let started = |group| progress.started(group);
    let first_line = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        clipped_to(LONGEST_ERROR, text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no words").trim())
    };
    let broken = |error: String| Munge { works: false, error: Fact(Ok(error)) };
    let late = |absent: Absent| match absent.reason {
        Reason::Timeout => Ok(broken(absent.detail)),
        _ => Err(absent),
    };
    let made = match source.command(&["munge".to_string(), "-n".to_string()], MUNGE_TIMEOUT, 4096, &started) {
        Ok(made) => made,
        Err(absent) => return late(absent),
    };
    if made.exit != Some(0) || made.stdout.is_empty() {
        return Ok(broken(first_line(&made.stderr)));
    }
    let keep = Keep { each: 4096, room: None };
    let read = match source.command_fed(&["unmunge".to_string()], &made.stdout, MUNGE_TIMEOUT, keep, &started) {
        Ok(read) => read,
        Err(absent) => return late(absent),
    };
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let status = text.lines().find_map(|line| line.strip_prefix("STATUS:")).map(str::trim);
    Ok(match (read.exit, status) {
        (Some(0), Some(status)) if status.starts_with("Success") => {
            Munge { works: true, error: Fact(Err(Absent::not_present("it works"))) }
        }
        (_, Some(status)) => broken(status.to_string()),
        (_, None) => broken(first_line(&read.stderr)),
    })
}

fn read_log(source: &Source, configured: Option<String>, name: &str, host: &str) -> Result<String, Absent> {
    let short = host.split('.').next().unwrap_or_default();
    let paths = match configured {
        Some(path) => vec![path.replace("%h", short).replace("%n", name)],
        None => ["/var/log/slurm/slurmd.log", "/var/log/slurmd.log"].map(str::to_string).to_vec(),
    };
    super::first_present(paths.iter().map(|path| source.tail(path, LOG_TAIL))).0
}

/// Lines `[2026-01-01T10:00:00.123] error: …` that begin with one of these words.
fn log_lines(source: &Source, text: &str, words: &[&str]) -> Vec<LogError> {
    let line = |line: &str| {
        let (time, rest) = line.strip_prefix('[')?.split_once("] ")?;
        let text = words.iter().find_map(|word| rest.strip_prefix(word))?;
        Some(LogError {
            time: time.to_string(),
            seconds_ago: Fact(seconds_ago(source, time)),
            text: text.trim().to_string(),
            fatal: rest.starts_with("fatal: "),
        })
    };
    let mut found: Vec<LogError> = text.lines().rev().filter_map(line).take(MOST_ERRORS).collect();
    found.reverse();
    found
}

/// The log's times are local ones; a recording is taken as of UTC.
fn seconds_ago(source: &Source, time: &str) -> Result<u64, Absent> {
    use chrono::{Local, NaiveDateTime, TimeZone, Utc};
    let wrong = || Absent::failed(format!("expected a time, found \"{}\"", clipped(time)));
    let plain = NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S%.f").map_err(|_| wrong())?;
    let then = match source.recorded() {
        Some(_) => Utc.from_utc_datetime(&plain),
        None => Local.from_local_datetime(&plain).earliest().ok_or_else(wrong)?.to_utc(),
    };
    Ok(source.now().signed_duration_since(then).num_seconds().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::tree_of;
    use serde_json::{Value, json};

    const NODE: &str = "NodeName=gpu7 Arch=x86_64 CoresPerSocket=56 CPUAlloc=12 CPUEfctv=224 CPUTot=224 CPULoad=3.10 AvailableFeatures=h100 ActiveFeatures=h100 Gres=gpu:h100:8(S:0-1) NodeAddr=gpu7 NodeHostName=gpu7 Version=23.11.8 OS=Linux 5.15.0-105-generic #115-Ubuntu SMP Mon Apr 15 09:52:04 UTC 2024 RealMemory=2063000 AllocMem=100 FreeMem=1900000 Sockets=2 Boards=1 State=MIXED+DRAIN*+NOT_RESPONDING ThreadsPerCore=2 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=batch BootTime=2026-01-01T00:00:00 AllocTRES=cpu=12,mem=100M,gres/gpu=3 Reason=gres/gpu count reported lower than configured (7 < 8), see a=b [slurm@2026-01-02T10:00:00]";

    #[test]
    fn a_node_is_read_with_all_that_its_values_hold() {
        let node = node(NODE).unwrap();
        assert_eq!(node.states, ["MIXED", "DRAIN", "NOT_RESPONDING"]);
        assert_eq!(node.reason, Fact(Ok("gres/gpu count reported lower than configured (7 < 8), see a=b".into())));
        assert_eq!(node.reason_by, Fact(Ok("slurm@2026-01-02T10:00:00".into())));
        assert_eq!((&node.gpus, &node.allocated_gpus, &node.cpus), (&Fact(Ok(8)), &Fact(Ok(3)), &Fact(Ok(224))));
        assert_eq!((&node.memory_mib, &node.version), (&Fact(Ok(2_063_000)), &Fact(Ok("23.11.8".into()))));
        let idle = super::node("NodeName=a State=IDLE Gres=(null) FreeMem=N/A").unwrap();
        assert_eq!((idle.states.as_slice(), &idle.gpus), (&["IDLE".to_string()][..], &Fact(Ok(0))));
        assert_eq!(idle.free_memory_mib.0.unwrap_err().reason, Reason::NotPresent);
        for text in ["", "\u{0}", "slurm_load_node error", "NodeName=x Arch=y", &"x ".repeat(100_000)] {
            assert_eq!(super::node(text), None);
        }
    }

    fn ask(commands: &str, files: &[(&str, &str)]) -> Result<Value, Absent> {
        let yaml = format!("recorded: 2026-01-02T11:00:00Z\ncommands:\n{commands}");
        let (_dir, source) = tree_of(files, serde_yaml::from_str(&yaml).unwrap());
        (PROBE.ask)(&source, &Value::Null, &Silent)
    }

    const FILES: &[(&str, &str)] = &[
        ("etc/hostname", "gpu7.x.example\n"),
        (
            "etc/slurm/slurm.conf",
            "ClusterName=c\nGresTypes=gpu,Shard\nSlurmdLogFile=/var/log/slurm/%n.log\nReturnToService=1\nNodeName=DEFAULT Sockets=2 CoresPerSocket=56 ThreadsPerCore=2\nNodeName=gpu[1-9] RealMemory=2000000 Gres=gpu:h100:8\n",
        ),
        ("etc/slurm/cgroup.conf", "ConstrainDevices=yes\nConstrainCores=no\n"),
        (
            "var/log/slurm/gpu7.log",
            "[2026-01-02T10:00:00.001] Launching batch job\n[2026-01-02T10:59:00.001] error: Munge decode failed: Rewound credential\n\u{0}bin\n[2026-01-02T10:59:01.001] warning: The following autodetected GPUs are being ignored:\n[2026-01-02T10:59:02.001] fatal: x\n",
        ),
        ("proc/9/comm", "slurmd\n"),
    ];

    #[test]
    fn what_is_configured_and_logged_is_read() {
        let seen = ask(
            "- {argv: [munge, -n], stdout: 'MUNGE:x:'}\n- {argv: [unmunge], stdout: 'STATUS:           Success (0)'}\n",
            FILES,
        )
        .unwrap();
        assert_eq!(seen["configured"]["cpus"], 224);
        assert_eq!((&seen["configured"]["gpus"], &seen["configured"]["name"]), (&json!(8), &json!("gpu7")));
        assert_eq!(seen["cgroup"], json!({"cores": false, "memory": false, "devices": true}));
        assert_eq!(seen["log_errors"][0]["text"], "Munge decode failed: Rewound credential");
        assert_eq!(seen["log_errors"][0]["seconds_ago"], 59);
        assert_eq!((&seen["log_errors"][0]["fatal"], &seen["log_errors"][1]["fatal"]), (&json!(false), &json!(true)));
        assert_eq!(seen["log_warnings"][0]["text"], "The following autodetected GPUs are being ignored:");
        assert_eq!(seen["gres_types"], json!(["gpu", "shard"]));
        assert_eq!((&seen["slurmd_runs"], &seen["steps"]), (&json!(true), &json!(0)));
        assert_eq!(seen["munge"]["works"], true);
        assert_eq!(seen["node"]["absent"], "not_present");
    }

    #[test]
    fn a_controller_or_munge_that_fails_is_told() {
        let down = ask(
            "- {argv: [scontrol, -o, show, node, gpu7], exit: 1, stderr: 'slurm_load_node error: Unable to contact slurm controller (connect failure)'}\n- {argv: [munge, -n], exit: 6, stderr: 'munge: Error: Failed to access \"/run/munge/munge.socket.2\": No such file or directory'}\n",
            FILES,
        )
        .unwrap();
        assert_eq!(down["controller"]["answers"], false);
        assert_eq!(down["node"]["absent"], "failed");
        assert!(down["munge"]["error"].as_str().unwrap().starts_with("munge: Error: Failed to access"));
        let late = ask("- {argv: [scontrol, -o, show, node, gpu7], absent: timeout, detail: x}\n", FILES).unwrap();
        assert_eq!((&late["controller"]["answers"], &late["node"]["absent"]), (&json!(false), &json!("timeout")));
        let unknown =
            ask("- {argv: [scontrol, -o, show, node, gpu7], exit: 1, stderr: 'Node gpu7 not found'}\n", FILES).unwrap();
        assert_eq!(
            (&unknown["controller"]["answers"], &unknown["node"]["absent"]),
            (&json!(true), &json!("not_present"))
        );
        assert_eq!(ask("  []", &[("proc/9/comm", "bash")]).unwrap_err().reason, Reason::NotPresent);
    }
}
