//! `fabric_manager`: the daemon that sets up NVSwitches.

use super::nvidia_log::{self, DaemonLog};
use super::parts::Progress;
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "fabric_manager",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<FabricManager>,
    arguments: None,
    ask: |source, _, progress| answer(&observe(source, progress)?),
};

const PROGRAMS: [&str; 2] = ["/usr/bin/nv-fabricmanager", "/usr/local/bin/nv-fabricmanager"];
const SETTINGS: [&str; 2] = ["/usr/share/nvidia/nvswitch/fabricmanager.cfg", "/etc/nvidia/fabricmanager.cfg"];
const LOG: &str = "/var/log/fabricmanager.log";
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// The daemon that sets up NVSwitches. Absent (not present) where neither the program (nv-fabricmanager) nor its log is
/// there; in a container of the GPU Operator it is not seen from the host. Whether it runs is in `processes` and
/// `services`.
#[derive(Debug, Serialize, JsonSchema)]
struct FabricManager {
    /// Whether the program is installed.
    installed: bool,
    /// Its version: of the one that was started last (its log), else of the one that is installed
    /// (`nv-fabricmanager --version`).
    version: Fact<String>,
    /// What it shares the switches with: `bare_metal`, `shared_nvswitch`, `vgpu` (FABRIC_MODE in its settings). Absent
    /// (not present) where there are no settings.
    mode: Fact<String>,
    /// Whether it said that all switches are set up since it was started last (its log).
    finished: Fact<bool>,
    /// What it wrote to its log (/var/log/fabricmanager.log, or what its settings name).
    log: Fact<DaemonLog>,
}

fn observe(source: &Source, progress: &dyn Progress) -> Result<FabricManager, Absent> {
    let program = PROGRAMS.into_iter().find(|path| source.exists(path));
    let settings = SETTINGS.into_iter().map(|path| source.text(path)).find(Result::is_ok);
    let settings = settings.unwrap_or_else(|| Err(Absent::not_present("there is no fabricmanager.cfg")));
    let path = settings.as_deref().ok().and_then(|text| setting(text, "LOG_FILE_NAME")).unwrap_or(LOG);
    let log = nvidia_log::read(source, path, "Fabric Manager version");
    if program.is_none() && log.as_ref().is_err_and(|absent| absent.reason == Reason::NotPresent) {
        return Err(Absent::not_present("no fabric manager is installed"));
    }
    let of_log = log.as_ref().map_err(Clone::clone).and_then(|log| log.version.0.clone());
    let version = match (of_log, program) {
        (Ok(version), _) => Ok(version),
        (Err(_), Some(program)) => installed_version(source, program, progress),
        (Err(absent), None) => Err(absent),
    };
    let finished = log.as_ref().map_err(Clone::clone).and_then(|log| match &log.started.0 {
        Ok(_) => Ok(said_finished(&log.text)),
        Err(absent) => Err(absent.clone()),
    });
    Ok(FabricManager {
        installed: program.is_some(),
        version: Fact(version),
        mode: Fact(settings.as_deref().map_err(Clone::clone).and_then(mode)),
        finished: Fact(finished),
        log: Fact(log),
    })
}

/// The value of `KEY=value`.
fn setting<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = |line: &'t str| line.trim().strip_prefix(key)?.trim_start().strip_prefix('=');
    text.lines().filter_map(value).map(str::trim).rfind(|value| !value.is_empty())
}

fn mode(settings: &str) -> Result<String, Absent> {
    match setting(settings, "FABRIC_MODE").unwrap_or("0") {
        "0" => Ok("bare_metal".to_string()),
        "1" => Ok("shared_nvswitch".to_string()),
        "2" => Ok("vgpu".to_string()),
        other => Err(Absent::failed(format!("FABRIC_MODE={}", clipped(other)))),
    }
}

/// Its words differ between versions: "configured all the available NVSwitches to route … traffic", "… GPUs and
/// NVSwitches".
fn said_finished(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.contains("successfully configured all the available")
            || line.contains("fabric manager initialized successfully")
    })
}

/// What `nv-fabricmanager --version` prints: `Fabric Manager version is : 550.90.07`.
fn installed_version(source: &Source, program: &str, progress: &dyn Progress) -> Result<String, Absent> {
    let argv = [program.to_string(), "--version".to_string()];
    let output = source.command(&argv, VERSION_TIMEOUT, 4096, &|group| progress.started(group))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let is_version = |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    let version = text.split_whitespace().find(is_version).map(str::to_string);
    version.ok_or_else(|| Absent::failed(format!("{program} --version: \"{}\"", clipped(text.trim()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, RecordedCommand, tree_of};

    fn asked(files: &[(&str, &str)], version: Option<&str>) -> Result<FabricManager, Absent> {
        let commands: Vec<RecordedCommand> = version
            .map(|text| {
                let yaml = format!("- {{argv: [/usr/bin/nv-fabricmanager, --version], stdout: '{text}'}}");
                serde_yaml::from_str(&yaml).unwrap()
            })
            .unwrap_or_default();
        let (_dir, source) = tree_of(files, Recorded { commands, ..Default::default() });
        observe(&source, &Silent)
    }

    #[test]
    fn the_log_tells_version_and_success() {
        let log = "[Nov 19 2026 03:12:44] [INFO] [tid 9] Fabric Manager version 550.90.07 is running with options\n\
            [Nov 19 2026 03:12:59] [INFO] [tid 9] Successfully configured all the available NVSwitches to route traffic.\n";
        let settings = "# a comment\nLOG_FILE_NAME=/var/log/fm.log\nFABRIC_MODE = 1\n";
        let manager = asked(&[("var/log/fm.log", log), (&SETTINGS[0][1..], settings)], None).unwrap();
        assert_eq!((manager.version, manager.finished), (Fact(Ok("550.90.07".into())), Fact(Ok(true))));
        assert_eq!((manager.installed, manager.mode), (false, Fact(Ok("shared_nvswitch".into()))));
    }

    #[test]
    fn without_a_log_the_program_is_asked() {
        let installed = ("usr/bin/nv-fabricmanager", "");
        let manager = asked(&[installed], Some("Fabric Manager version is : 535.104.05")).unwrap();
        assert_eq!(manager.version, Fact(Ok("535.104.05".into())));
        assert_eq!(manager.finished.0.unwrap_err().reason, Reason::NotPresent);
        let garbled = asked(&[installed], Some("unknown option")).unwrap();
        assert_eq!(garbled.version.0.unwrap_err().reason, Reason::Failed);
        assert_eq!(asked(&[], None).unwrap_err().reason, Reason::NotPresent);
        let binary = asked(&[installed, ("var/log/fabricmanager.log", "\u{0}\u{fffd}")], None).unwrap();
        assert_eq!(binary.finished.0.unwrap_err().reason, Reason::NotPresent);
    }
}
