//! `services`: what systemd knows of every service.

use super::parts::Progress;
use super::source::{Source, clipped, clipped_to};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use regex::Regex;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "services",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Service>>,
    arguments: None,
    ask: |source, _, progress| answer(&observe(source, progress)?),
};

/// The one call, for the units that systemd has loaded. `--all` is for those that are not active.
const SHOW: [&str; 5] = [
    "systemctl",
    "show",
    "--all",
    "--property=Id,Names,Description,LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts,MainPID",
    "*.service",
];
/// Less than the probe's own deadline, so that a systemd that does not answer is told from one that is slow to be
/// asked.
const SHOW_TIMEOUT: Duration = Duration::from_secs(8);
/// Some thousand services.
const SHOW_CAP: usize = 4 << 20;

/// What the services in trouble wrote themselves, without what systemd says of them; their names follow, and any of them
/// counts (journalctl(1)).
const JOURNAL: [&str; 7] = ["journalctl", "-b", "-n", "1000", "-o", "json", "--no-pager"];
/// With [`SHOW_TIMEOUT`] less than the probe's own deadline.
const JOURNAL_TIMEOUT: Duration = Duration::from_millis(1500);
const JOURNAL_CAP: usize = 4 << 20;
/// Of how many services in trouble the journal is asked.
const MOST_IN_TROUBLE: usize = 16;
/// How much of a line is kept, in characters.
const LONGEST_LINE: usize = 200;
/// How many lines of a service are kept.
const MOST_ERRORS: usize = 4;

/// Words by which a line tells of an error.
static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    let words = r"(?i)fatal|panic|error|fail|cannot|can't|could not|unable|denied|expired|refused|invalid|unknown|no such|not found|too many|out of";
    Regex::new(words).expect("a test reads it")
});

/// Where unit files lie; the first that has a name counts (systemd.unit(5)).
const UNIT_FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// One service of systemd: those it has loaded (`systemctl show`), and those that are installed without being loaded
/// because nothing wants them (unit files). A service that others only mention, without being installed, is not listed.
/// The list is absent (not_present) where systemd does not run.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "service", "x-key" = "name"))]
struct Service {
    /// Its name with the ending: `slurmd.service` (Id).
    name: String,
    /// Other names it goes by (Names).
    aliases: Vec<String>,
    /// What it is, in its packager's words. Absent for one that is not loaded.
    description: Fact<String>,
    /// `loaded`, `not_loaded` (installed only), `masked`, `not-found` (its file is gone), `error`, `bad-setting`
    /// (LoadState).
    load_state: Fact<String>,
    /// `active`, `reloading`, `inactive`, `failed`, `activating` or `deactivating` (ActiveState).
    active_state: Fact<String>,
    /// The finer state: `running`, `exited`, `dead`, `auto-restart` … (SubState).
    sub_state: Fact<String>,
    /// Whether it starts at boot: `enabled`, `disabled`, `static`, `masked`, `indirect`, `generated` … (UnitFileState).
    /// Absent (not_supported) for a service without a unit file.
    enabled: Fact<String>,
    /// How it ended when it ran last: `success`, `exit-code`, `signal`, `timeout`, `oom-kill` … (Result). Absent for
    /// one that is not loaded.
    result: Fact<String>,
    /// How often systemd started it again because it ended (NRestarts). Absent before systemd 235.
    restarts: Fact<u64>,
    /// The process id of its main process (MainPID). Absent (not_present) while it has none.
    main_pid: Fact<u64>,
    /// What it wrote last of errors, as their words tell, else the last line that it wrote; since boot (`journalctl -b`),
    /// at most 4 different lines of 200 characters, the newest last. Asked of services only that have failed or that
    /// systemd starts again and again. Absent (not_present) for all others, and where the journal has nothing or could
    /// not be read: its detail says which.
    last_errors: Fact<Vec<String>>,
}

impl Service {
    /// Whether it failed, or systemd waits to start it once more.
    fn is_in_trouble(&self) -> bool {
        is(&self.active_state, "failed") || is(&self.sub_state, "auto-restart")
    }
}

fn observe(source: &Source, progress: &dyn Progress) -> Result<Vec<Service>, Absent> {
    if !source.exists("/run/systemd/system") {
        return Err(Absent::not_present("systemd does not run here: there is no /run/systemd/system"));
    }
    let argv = SHOW.map(ToString::to_string);
    let output = source.command(&argv, SHOW_TIMEOUT, SHOW_CAP, &|group| progress.started(group))?;
    if output.truncated {
        return Err(Absent::failed(format!("systemctl show: more than {} MiB", SHOW_CAP >> 20)));
    }
    let mut services = loaded(&String::from_utf8_lossy(&output.stdout));
    // It fails too when a single unit went away while it was asked, so only no answer at all is a failure.
    if services.is_empty() && output.exit != Some(0) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no answer and no reason");
        return Err(Absent::failed(format!("systemctl show: {}", clipped(reason.trim()))));
    }
    services.extend(installed_only(source, &services));
    services.retain(|service| !only_mentioned(service));
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let in_trouble: Vec<&mut Service> =
        services.iter_mut().filter(|service| service.is_in_trouble()).take(MOST_IN_TROUBLE).collect();
    if !in_trouble.is_empty() {
        let names: Vec<&str> = in_trouble.iter().map(|service| service.name.as_str()).collect();
        let told = last_errors(source, &names, progress);
        for service in in_trouble {
            service.last_errors = Fact(match &told {
                Ok(told) => told
                    .get(&service.name)
                    .cloned()
                    .ok_or_else(|| Absent::not_present("no line of it is among the last of the journal")),
                Err(absent) => Err(Absent::not_present(format!("the journal could not be read: {}", absent.detail))),
            });
        }
    }
    Ok(services)
}

/// A line without its numbers, which are times and process ids.
fn said(line: &str) -> String {
    line.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// By service, the lines that tell best why it ended.
fn last_errors(
    source: &Source,
    names: &[&str],
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Vec<String>>, Absent> {
    let mut argv = JOURNAL.map(ToString::to_string).to_vec();
    argv.extend(names.iter().map(|name| format!("_SYSTEMD_UNIT={name}")));
    let output = source.command(&argv, JOURNAL_TIMEOUT, JOURNAL_CAP, &|group| progress.started(group))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("insufficient permissions") || stderr.contains("not seeing messages") {
        return Err(Absent::new(Reason::Denied, "permission denied"));
    }
    if output.exit != Some(0) {
        return Err(Absent::failed(clipped(stderr.trim())));
    }
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // A text that is no UTF-8 comes as a list of numbers; such a line is no reason that a person could read.
    let records = String::from_utf8_lossy(&output.stdout).into_owned();
    for record in records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some(unit), Some(message)) = (record["_SYSTEMD_UNIT"].as_str(), record["MESSAGE"].as_str()) else {
            continue;
        };
        let line = clipped_to(LONGEST_LINE, message.trim());
        let lines = told.entry(unit.to_string()).or_default();
        // Errors stand for what came with them, and each run of a service that is started anew writes the same.
        if ERROR.is_match(&line) {
            lines.retain(|known| ERROR.is_match(known) && said(known) != said(&line));
        } else if lines.iter().any(|known| ERROR.is_match(known)) || line.is_empty() {
            continue;
        } else {
            lines.clear();
        }
        lines.push(line);
        if lines.len() > MOST_ERRORS {
            lines.remove(0);
        }
    }
    told.retain(|_, lines| !lines.is_empty());
    Ok(told)
}

fn is(fact: &Fact<String>, word: &str) -> bool {
    fact.value().is_some_and(|value| value == word)
}

fn only_mentioned(service: &Service) -> bool {
    is(&service.load_state, "not-found") && is(&service.active_state, "inactive")
}

/// What `systemctl show` prints: `Key=value` lines, an empty line between units.
fn loaded(text: &str) -> Vec<Service> {
    text.split("\n\n").filter_map(service).collect()
}

fn service(record: &str) -> Option<Service> {
    let properties: BTreeMap<&str, &str> = record.lines().filter_map(|line| line.split_once('=')).collect();
    let name = properties.get("Id").filter(|id| !id.is_empty())?.to_string();
    let text = |key: &str| match properties.get(key) {
        Some(value) if !value.is_empty() => Ok(value.to_string()),
        _ => Err(Absent::not_supported(format!("{name} has no {key}"))),
    };
    let number = |key: &str| {
        text(key).and_then(|value| {
            u64::from_str(&value).map_err(|_| Absent::failed(format!("{name}: {key}={}", clipped(&value))))
        })
    };
    let names = properties.get("Names").copied().unwrap_or_default();
    Some(Service {
        aliases: names.split_whitespace().filter(|alias| *alias != name).map(ToString::to_string).collect(),
        description: Fact(text("Description")),
        load_state: Fact(text("LoadState")),
        active_state: Fact(text("ActiveState")),
        sub_state: Fact(text("SubState")),
        enabled: Fact(text("UnitFileState")),
        result: Fact(text("Result")),
        restarts: Fact(number("NRestarts")),
        main_pid: Fact(number("MainPID").and_then(|pid| match pid {
            0 => Err(Absent::not_present("no main process")),
            pid => Ok(pid),
        })),
        last_errors: Fact(Err(Absent::not_present("it is not in trouble"))),
        name,
    })
}

/// Services that have a unit file and are not among `loaded`. systemd loads what something wants, so they are inactive;
/// that they are here at all tells "installed and switched off" from "not installed".
fn installed_only(source: &Source, loaded: &[Service]) -> Vec<Service> {
    let mut known: BTreeSet<String> =
        loaded.iter().flat_map(|service| service.aliases.iter().chain([&service.name])).cloned().collect();
    let mut found = Vec::new();
    for folder in UNIT_FOLDERS {
        for name in source.names(folder).unwrap_or_default() {
            if !name.ends_with(".service") || name.contains("@.") || !known.insert(name.clone()) {
                continue;
            }
            let path = format!("{folder}/{name}");
            let enabled = match source.link(&path) {
                Ok(target) if target == "/dev/null" => Ok("masked"),
                // Another name of a service that is listed under its own.
                Ok(target) if target.rsplit('/').next() != Some(&name) => continue,
                _ if wanted(source, &name) => Ok("enabled"),
                _ => source.text(&path).map(|text| match text.lines().any(|line| line.trim() == "[Install]") {
                    true => "disabled",
                    false => "static",
                }),
            };
            let not_loaded = || Absent::not_present(format!("systemd has not loaded {name}"));
            found.push(Service {
                aliases: Vec::new(),
                description: Fact(Err(not_loaded())),
                load_state: Fact(Ok("not_loaded".into())),
                active_state: Fact(Ok("inactive".into())),
                sub_state: Fact(Ok("dead".into())),
                enabled: Fact(enabled.map(ToString::to_string)),
                result: Fact(Err(not_loaded())),
                restarts: Fact(Err(not_loaded())),
                main_pid: Fact(Err(not_loaded())),
                last_errors: Fact(Err(not_loaded())),
                name,
            });
        }
    }
    found
}

/// Whether an administrator enabled a service for a target that is itself not loaded.
fn wanted(source: &Source, name: &str) -> bool {
    let folders = source.names(UNIT_FOLDERS[0]).unwrap_or_default();
    folders
        .iter()
        .filter(|folder| folder.ends_with(".wants") || folder.ends_with(".requires"))
        .any(|folder| source.metadata(&format!("{}/{folder}/{name}", UNIT_FOLDERS[0]), false).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, RecordedCommand};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    const SHOWN: &str = "\
Id=made-up.service
Names=made-up.service other-name.service
Description=A service = made up
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=enabled
Result=exit-code
NRestarts=5
MainPID=0

Id=absent.service
Names=absent.service
Description=absent.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
Result=success
MainPID=0

Id=running.service
Names=running.service
Description=Runs
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=
Result=success
MainPID=42
";

    fn tree(exit: i32, stdout: &str, stderr: &str) -> (tempfile::TempDir, Source) {
        with_journal(exit, stdout, stderr, Vec::new())
    }

    fn recorded(argv: Vec<String>, exit: i32, stdout: &str, stderr: &str) -> RecordedCommand {
        let (stdout, stderr) = (stdout.into(), stderr.into());
        RecordedCommand { argv, exit, stdout, stderr, absent: None, detail: String::new() }
    }

    fn with_journal(
        exit: i32,
        stdout: &str,
        stderr: &str,
        journal: Vec<RecordedCommand>,
    ) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("run/systemd/system")).unwrap();
        let mut commands = journal;
        commands.push(recorded(SHOW.map(ToString::to_string).to_vec(), exit, stdout, stderr));
        let source = Source::dead(dir.path(), Recorded { commands, ..Default::default() });
        (dir, source)
    }

    #[test]
    fn a_service_in_trouble_is_told_with_its_last_errors() {
        let last_errors = |exit: i32, stdout: &str, stderr: &str| {
            let mut argv = JOURNAL.map(ToString::to_string).to_vec();
            argv.push("_SYSTEMD_UNIT=made-up.service".into());
            let (_dir, source) = with_journal(0, SHOWN, "", vec![recorded(argv, exit, stdout, stderr)]);
            let services = observe(&source, &Silent).unwrap();
            assert_eq!(services[1].last_errors.0.as_ref().unwrap_err().detail, "it is not in trouble");
            services[0].last_errors.0.clone().map_err(|absent| {
                assert_eq!(absent.reason, Reason::NotPresent);
                absent.detail
            })
        };
        let line = |message: &str| format!("{{\"MESSAGE\":{message},\"_SYSTEMD_UNIT\":\"made-up.service\"}}\n");
        let lines: String =
            [r#""reading the key""#, r#""key: Permission denied""#, r#""bye""#, "[1,2]", r#""""#].map(line).concat();
        assert_eq!(last_errors(0, &lines, ""), Ok(vec!["key: Permission denied".to_string()]));
        assert_eq!(last_errors(0, &line(r#""bye""#), ""), Ok(vec!["bye".to_string()]));
        assert_eq!(last_errors(0, "no JSON\n", ""), Err("no line of it is among the last of the journal".to_string()));
        let twice = [r#""E1 no key 17""#, r#""E1 gone: error 5""#, r#""E2 no key 18""#, r#""E2 gone: error 6""#]
            .map(line)
            .concat();
        assert_eq!(last_errors(0, &twice, ""), Ok(vec!["E2 gone: error 6".to_string()]));
        let twice = twice.replace("no key", "unknown key");
        assert_eq!(
            last_errors(0, &twice, ""),
            Ok(vec!["E2 unknown key 18".to_string(), "E2 gone: error 6".to_string()])
        );
        let hint = "Hint: You are currently not seeing messages from other users and the system.\n";
        assert_eq!(last_errors(0, "", hint), Err("the journal could not be read: permission denied".to_string()));
        assert_eq!(
            last_errors(1, "", "No journal files were found.\n"),
            Err("the journal could not be read: No journal files were found.".to_string())
        );
        let (_dir, source) = tree(0, SHOWN, "");
        let absent = observe(&source, &Silent).unwrap()[0].last_errors.0.clone().unwrap_err();
        assert!(absent.detail.starts_with("the journal could not be read: `journalctl"), "{}", absent.detail);
    }

    fn unit(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn services_are_listed_by_name_without_those_that_are_only_mentioned() {
        let (_dir, source) = tree(0, SHOWN, "");
        let services = observe(&source, &Silent).unwrap();
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["made-up.service", "running.service"]);
        assert_eq!(services[0].aliases, ["other-name.service"]);
        assert_eq!(services[0].description, Fact(Ok("A service = made up".into())));
        assert_eq!(services[0].restarts, Fact(Ok(5)));
        assert_eq!(services[0].main_pid.0.as_ref().unwrap_err().reason, Reason::NotPresent);
        assert_eq!(services[1].main_pid, Fact(Ok(42)));
        assert_eq!(services[1].enabled.0.as_ref().unwrap_err().reason, Reason::NotSupported);
        assert_eq!(services[1].restarts.0.as_ref().unwrap_err().reason, Reason::NotSupported);
    }

    #[test]
    fn what_is_installed_and_not_loaded_is_told_from_what_is_not_installed() {
        let (dir, source) = tree(0, SHOWN, "");
        unit(dir.path(), "usr/lib/systemd/system/off.service", "[Unit]\n[Install]\nWantedBy=x.target\n");
        unit(dir.path(), "usr/lib/systemd/system/helper.service", "[Unit]\n");
        unit(dir.path(), "usr/lib/systemd/system/template@.service", "[Unit]\n");
        unit(dir.path(), "usr/lib/systemd/system/running.service", "[Unit]\n");
        unit(dir.path(), "usr/lib/systemd/system/waiting.service", "[Install]\n");
        unit(dir.path(), "etc/systemd/system/idle.target.wants/waiting.service", "");
        let etc = dir.path().join("etc/systemd/system");
        symlink("/dev/null", etc.join("barred.service")).unwrap();
        symlink("/usr/lib/systemd/system/made-up.service", etc.join("alias.service")).unwrap();
        let enabled: BTreeMap<String, String> = observe(&source, &Silent)
            .unwrap()
            .into_iter()
            .filter(|service| service.load_state == Fact(Ok("not_loaded".into())))
            .map(|service| (service.name, service.enabled.0.unwrap()))
            .collect();
        let expected = [
            ("barred.service", "masked"),
            ("helper.service", "static"),
            ("off.service", "disabled"),
            ("waiting.service", "enabled"),
        ];
        assert_eq!(enabled, expected.map(|(name, word)| (name.to_string(), word.to_string())).into());
    }

    #[test]
    fn no_systemd_and_a_systemd_that_does_not_answer_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let absent = observe(&Source::dead(dir.path(), Recorded::default()), &Silent).unwrap_err();
        assert_eq!(absent.reason, Reason::NotPresent);
        let (_dir, source) = tree(1, "", "Not booted with systemd.\nFailed to connect to bus: Connection refused\n");
        let absent = observe(&source, &Silent).unwrap_err();
        assert_eq!(absent, Absent::failed("systemctl show: Failed to connect to bus: Connection refused"));
        let (_dir, source) = tree(1, SHOWN, "Unit went.service could not be found.\n");
        assert_eq!(observe(&source, &Silent).unwrap().len(), 2);
    }
}
