//! `packages`: installed packages of Debian's and Red Hat's families.

use super::parts::Progress;
use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, arguments_of, schema_of};
use crate::fact::Absent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "packages",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Packages>,
    arguments: Some(schema_of::<PackagesArguments>),
    ask: |source, arguments, progress| answer(&observe(source, &arguments_of(arguments)?, progress)?),
};

const DPKG_STATUS: &str = "/var/lib/dpkg/status";
/// Where rpm keeps what is installed, by distribution.
const RPM_FOLDERS: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
/// The longest status file there is by far, in bytes.
const LONGEST_STATUS: u64 = 64 << 20;
const RPM_TIMEOUT: Duration = Duration::from_secs(8);

/// Which packages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PackagesArguments {
    /// Names; a `*` at the end stands for any rest.
    #[schemars(length(min = 1))]
    names: Vec<String>,
}

/// Installed packages. The answer as a whole is absent (not_present) where neither dpkg nor rpm keeps any.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Packages {
    /// `dpkg` (read from /var/lib/dpkg/status) or `rpm` (asked).
    manager: Manager,
    /// Those that are installed, by name.
    installed: Vec<Package>,
    /// Names of those that dpkg has begun to install or configure and not finished; always empty for rpm.
    unfinished: Vec<String>,
}

/// What keeps the packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Manager {
    /// Debian, Ubuntu.
    Dpkg,
    /// Red Hat, Rocky, SUSE.
    Rpm,
}

/// An installed package.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
struct Package {
    /// Its name.
    name: String,
    /// Its version as the package manager has it, with epoch and release: `550.90.07-0ubuntu1`, `3:550.90.07-1.el9`.
    version: String,
    /// The version of what is in it: without epoch and release, and without what Debian's packagers add:
    /// `550.90.07`.
    upstream: String,
}

impl Package {
    fn new(name: &str, version: &str) -> Package {
        let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
        let upstream = upstream.rsplit_once('-').map_or(upstream, |(upstream, _)| upstream);
        let upstream = upstream.split(['+', '~']).next().unwrap_or(upstream);
        Package { name: name.to_string(), version: version.to_string(), upstream: upstream.to_string() }
    }
}

fn observe(source: &Source, arguments: &PackagesArguments, progress: &dyn Progress) -> Result<Packages, Absent> {
    let mut packages = if source.exists(DPKG_STATUS) {
        let file = source.open(DPKG_STATUS)?;
        dpkg(BufReader::new(file.take(LONGEST_STATUS)), &arguments.names)?
    } else if RPM_FOLDERS.iter().any(|folder| source.names(folder).is_ok_and(|names| !names.is_empty())) {
        rpm(source, &arguments.names, progress)?
    } else {
        return Err(Absent::not_present("neither dpkg nor rpm keeps packages here"));
    };
    packages.installed.sort();
    Ok(packages)
}

fn wanted(name: &str, names: &[String]) -> bool {
    names.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => wanted == name,
    })
}

/// Paragraphs of `Key: value` with an empty line between them. Line by line, since the file has megabytes.
fn dpkg(mut status: impl BufRead, names: &[String]) -> Result<Packages, Absent> {
    let mut packages = Packages { manager: Manager::Dpkg, installed: Vec::new(), unfinished: Vec::new() };
    let (mut name, mut state, mut version) = (String::new(), String::new(), String::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read =
            status.read_until(b'\n', &mut line).map_err(|error| super::source::absent_from_io(DPKG_STATUS, &error))?;
        let value = |key: &[u8]| Some(String::from_utf8_lossy(line.strip_prefix(key)?).trim().to_string());
        if let Some(value) = value(b"Package: ") {
            name = value;
        } else if let Some(value) = value(b"Status: ") {
            state = value;
        } else if let Some(value) = value(b"Version: ") {
            version = value;
        } else if read == 0 || line == b"\n" {
            if !name.is_empty() && wanted(&name, names) {
                match state.rsplit(' ').next() {
                    Some("installed") => packages.installed.push(Package::new(&name, &version)),
                    Some(
                        "unpacked" | "half-configured" | "half-installed" | "triggers-awaited" | "triggers-pending",
                    ) => {
                        packages.unfinished.push(name.clone());
                    }
                    _ => {}
                }
            }
            name.clear();
            state.clear();
            version.clear();
        }
        if read == 0 {
            return Ok(packages);
        }
    }
}

fn rpm(source: &Source, names: &[String], progress: &dyn Progress) -> Result<Packages, Absent> {
    let mut argv: Vec<String> =
        ["rpm", "-qa", "--qf", "%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n"].map(str::to_string).to_vec();
    argv.extend(names.iter().cloned());
    let output = source.command(&argv, RPM_TIMEOUT, 1 << 20, &|group| progress.started(group))?;
    if output.exit != Some(0) {
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_string();
        return Err(Absent::failed(format!("rpm -qa: {}", super::source::clipped(&said))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let package = |line: &str| line.split_once(' ').map(|(name, version)| Package::new(name, version));
    let mut installed: Vec<Package> =
        text.lines().filter_map(package).filter(|package| wanted(&package.name, names)).collect();
    installed.dedup();
    Ok(Packages { manager: Manager::Rpm, installed, unfinished: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, tree_of};
    use serde_json::json;

    const STATUS: &str = "Package: nvidia-utils-550\nStatus: install ok installed\nVersion: 550.90.07-0ubuntu1\nDescription: x\n Package: fake\n\nPackage: nvidia-dkms-550\nStatus: install ok half-configured\nVersion: 550.90.07-0ubuntu1\n\nPackage: libnvidia-compute-535\nStatus: deinstall ok config-files\nVersion: 535.1-1\n\nPackage: bash\nStatus: install ok installed\nVersion: 5.1-6\n";

    #[test]
    fn debians_packages_are_read_from_their_file() {
        let (_dir, source) = tree_of(&[("var/lib/dpkg/status", STATUS)], Recorded::default());
        let seen = (PROBE.ask)(&source, &json!({"names": ["nvidia-*", "libnvidia-*"]}), &Silent).unwrap();
        assert_eq!(
            seen["installed"],
            json!([{"name": "nvidia-utils-550", "version": "550.90.07-0ubuntu1", "upstream": "550.90.07"}])
        );
        assert_eq!((&seen["unfinished"], &seen["manager"]), (&json!(["nvidia-dkms-550"]), &json!("dpkg")));
        let (_dir, source) = tree_of(&[("var/lib/dpkg/status", "\u{0}\u{ff}garbage")], Recorded::default());
        assert_eq!((PROBE.ask)(&source, &json!({"names": ["a"]}), &Silent).unwrap()["installed"], json!([]));
    }

    #[test]
    fn red_hats_packages_are_asked_for() {
        let yaml = "recorded: 2026-01-01T00:00:00Z\ncommands:\n- {argv: [rpm, -qa, --qf, '%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n', 'nvidia*'], stdout: \"nvidia-driver 3:550.90.07-1.el9\\nother 1-1\\nx\\n\"}\n";
        let (_dir, source) = tree_of(&[("var/lib/rpm/rpmdb.sqlite", "")], serde_yaml::from_str(yaml).unwrap());
        let seen = (PROBE.ask)(&source, &json!({"names": ["nvidia*"]}), &Silent).unwrap();
        assert_eq!(seen["installed"][0]["upstream"], "550.90.07");
        assert_eq!(seen["installed"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_node_without_either_has_no_packages() {
        let (_dir, source) = tree_of(&[("proc/version", "")], Recorded::default());
        assert_eq!((PROBE.ask)(&source, &json!({"names": ["a"]}), &Silent).unwrap_err().reason, Reason::NotPresent);
    }
}
