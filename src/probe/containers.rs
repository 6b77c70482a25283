//! `containers`: container runtimes, and how they hand NVIDIA GPUs to containers.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) const PROBE: Probe = Probe {
    name: "containers",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Containers>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

/// The toolkit's programs, where packages and the GPU Operator put them.
const TOOLKIT: [&str; 4] = [
    "/usr/bin/nvidia-container-runtime",
    "/usr/local/nvidia/toolkit/nvidia-container-runtime",
    "/usr/local/bin/nvidia-container-runtime",
    "/usr/bin/nvidia-ctk",
];
/// Where CDI specifications lie (CDI specification, chapter on locations).
const CDI_FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// A specification of a node with many MIG devices has about a megabyte; what is longer is none.
const LONGEST_SPEC: usize = 3 << 20;
/// As many missing paths are named.
const MOST_MISSING: usize = 5;

/// Container runtimes.
#[derive(Debug, Serialize, JsonSchema)]
struct Containers {
    /// Runtimes whose daemon or configuration is here. Those that are not are left out.
    runtimes: Vec<Runtime>,
    /// The NVIDIA Container Toolkit.
    toolkit: Toolkit,
    /// CDI specifications of NVIDIA GPUs (/etc/cdi, /var/run/cdi).
    cdi: Fact<Vec<Cdi>>,
    /// Whether the NVIDIA device nodes have links in /dev/char, by which systemd knows them. Without them containers
    /// lose their GPUs when systemd reloads its units. Absent (not_present) without NVIDIA device nodes.
    systemd_knows_gpus: Fact<bool>,
    /// How many containers run with runc or crun (processes containerd-shim-runc-v2, conmon), whoever started them.
    running: Fact<u64>,
}

/// A container runtime.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "runtime", "x-key" = "name"))]
struct Runtime {
    /// `docker`, `containerd` or `crio`.
    name: String,
    /// Whether its daemon runs (/proc).
    runs: Fact<bool>,
    /// Its socket.
    socket: String,
    /// Whether its socket takes connections. Absent (not_present) when there is no socket, (denied) for users who may
    /// not.
    answers: Fact<bool>,
    /// Whether a file with its configuration is there.
    configured: bool,
    /// Whether its configuration has NVIDIA's runtime. Absent (not_present) without a configuration, (failed) when that
    /// cannot be read.
    has_nvidia: Fact<bool>,
    /// Whether NVIDIA's runtime is used where a container asks for none. Absent as `has_nvidia` is.
    nvidia_is_default: Fact<bool>,
    /// Whether it hands out devices by CDI specifications, as far as its configuration says so. Absent as `has_nvidia`
    /// is.
    uses_cdi: Fact<bool>,
    /// Whether it takes no orders of Kubernetes: `cri` among containerd's disabled plugins. Absent (not_supported) for
    /// other runtimes.
    kubernetes_disabled: Fact<bool>,
    /// Who makes the control groups: `systemd` or `cgroupfs`. Absent (not_present) where the configuration does not say.
    cgroup_driver: Fact<String>,
    /// Programs of runtimes that its configuration names and that are not there.
    missing_programs: Fact<Vec<String>>,
}

/// The NVIDIA Container Toolkit.
#[derive(Debug, Serialize, JsonSchema)]
struct Toolkit {
    /// Whether its programs are installed.
    installed: bool,
    /// Where.
    path: Fact<String>,
    /// Whether its configuration is there (/etc/nvidia-container-runtime/config.toml, or below the operator's folder).
    configured: bool,
    /// How it puts GPUs into containers: `auto`, `legacy`, `cdi` or `csv` (mode). Absent (not_present) where the
    /// configuration does not say.
    mode: Fact<String>,
    /// Whether it leaves control groups alone, as for containers of users without rights (no-cgroups). Containers that
    /// root starts have no GPU then.
    no_cgroups: Fact<bool>,
}

/// A CDI specification.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "file", "x-key" = "path"))]
struct Cdi {
    /// Its file.
    path: String,
    /// Whether it is no specification. Absent (denied) where it may not be read.
    broken: Fact<bool>,
    /// What is wrong with it. Absent (not_present) when nothing is.
    error: Fact<String>,
    /// What it is about: `nvidia.com/gpu`.
    kind: Fact<String>,
    /// How many devices it has besides `all`.
    devices: Fact<u64>,
    /// Device nodes of GPUs that it hands out: `/dev/nvidia0`.
    nodes: Fact<Vec<String>>,
    /// Versions of the driver whose libraries it mounts, by their names (`libcuda.so.550.90.07`).
    driver_versions: Fact<Vec<String>>,
    /// How many of the files and devices that it hands out are not here.
    missing: Fact<u64>,
    /// The first five of those.
    missing_paths: Fact<Vec<String>>,
}

struct Known {
    name: &'static str,
    program: &'static str,
    sockets: &'static [&'static str],
    files: &'static [&'static str],
    folders: &'static [&'static str],
}

const KNOWN: [Known; 3] = [
    Known {
        name: "docker",
        program: "dockerd",
        sockets: &["/run/docker.sock"],
        files: &["/etc/docker/daemon.json"],
        folders: &[],
    },
    Known {
        name: "containerd",
        program: "containerd",
        sockets: &["/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"],
        files: &["/etc/containerd/config.toml", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"],
        folders: &["/etc/containerd/conf.d"],
    },
    Known {
        name: "crio",
        program: "crio",
        sockets: &["/run/crio/crio.sock"],
        files: &["/etc/crio/crio.conf"],
        folders: &["/etc/crio/crio.conf.d"],
    },
];

fn observe(source: &Source) -> Containers {
    let programs = source.programs();
    let count = |names: &[&str]| {
        programs.clone().map(|all| all.iter().filter(|(_, program)| names.contains(&program.as_str())).count() as u64)
    };
    let toolkit = TOOLKIT.iter().find(|path| source.exists(path));
    Containers {
        runtimes: KNOWN.iter().filter_map(|known| runtime(source, known, count(&[known.program]))).collect(),
        toolkit: configuration(source, toolkit),
        cdi: Fact(specifications(source)),
        systemd_knows_gpus: Fact(systemd_knows(source)),
        // The kernel cuts names after 15 bytes.
        running: Fact(count(&["containerd-shim", "conmon"])),
    }
}

fn runtime(source: &Source, known: &Known, count: Result<u64, Absent>) -> Option<Runtime> {
    let mut texts: Vec<Result<String, Absent>> = Vec::new();
    for file in known.files {
        match source.text(file) {
            Err(absent) if absent.reason == Reason::NotPresent => {}
            read => texts.push(read),
        }
    }
    for folder in known.folders {
        let names = source.names(folder).unwrap_or_default();
        let parts = names.iter().filter(|name| name.ends_with(".toml") || name.ends_with(".conf"));
        texts.extend(parts.map(|name| source.text(&format!("{folder}/{name}"))));
    }
    let runs = count.map(|count| count > 0);
    if texts.is_empty() && runs == Ok(false) {
        return None;
    }
    let socket = known.sockets.iter().find(|socket| source.exists(socket)).unwrap_or(&known.sockets[0]);
    let answers = match source.unix_socket(socket) {
        Ok(()) => Ok(true),
        Err(absent) if absent.reason == Reason::Failed => Ok(false),
        Err(absent) => Err(absent),
    };
    let configured = !texts.is_empty();
    let said = match texts.into_iter().collect::<Result<Vec<String>, Absent>>() {
        Ok(texts) if texts.is_empty() => Err(Absent::not_present("it has no configuration of its own")),
        Ok(texts) if known.name == "docker" => docker(&texts[0]),
        Ok(texts) => Ok(toml(&texts.join("\n"))),
        Err(absent) => Err(absent),
    };
    let say = |read: fn(&Said) -> bool| Fact(said.as_ref().map(read).map_err(Clone::clone));
    let missing = said.as_ref().map_err(Clone::clone).map(|said| {
        let absolute = said.programs.iter().filter(|path| path.starts_with('/') && !source.exists(path));
        absolute.cloned().collect::<Vec<_>>()
    });
    Some(Runtime {
        name: known.name.to_string(),
        runs: Fact(runs),
        socket: socket.to_string(),
        answers: Fact(answers),
        configured,
        has_nvidia: say(|said| said.has_nvidia),
        nvidia_is_default: say(|said| said.nvidia_is_default),
        uses_cdi: say(|said| said.uses_cdi),
        kubernetes_disabled: match known.name {
            "containerd" => say(|said| said.kubernetes_disabled),
            _ => Fact(Err(Absent::not_supported("it has no such setting"))),
        },
        cgroup_driver: Fact(said.as_ref().map_err(Clone::clone).and_then(|said| {
            said.cgroup_driver.clone().ok_or_else(|| Absent::not_present("its configuration does not say"))
        })),
        missing_programs: Fact(missing),
    })
}

/// What a configuration says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    has_nvidia: bool,
    nvidia_is_default: bool,
    uses_cdi: bool,
    kubernetes_disabled: bool,
    cgroup_driver: Option<String>,
    programs: BTreeSet<String>,
}

fn docker(text: &str) -> Result<Said, Absent> {
    let wrong = |what: String| Absent::failed(format!("/etc/docker/daemon.json: {what}"));
    if text.trim().is_empty() {
        return Ok(Said::default());
    }
    let json: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let Value::Object(settings) = json else { return Err(wrong("not a JSON object".into())) };
    let runtimes = settings.get("runtimes").and_then(Value::as_object);
    let options = settings.get("exec-opts").and_then(Value::as_array).into_iter().flatten();
    let driver = options.filter_map(Value::as_str).find_map(|option| option.strip_prefix("native.cgroupdriver="));
    Ok(Said {
        has_nvidia: runtimes.is_some_and(|runtimes| runtimes.contains_key("nvidia")),
        nvidia_is_default: settings.get("default-runtime").and_then(Value::as_str) == Some("nvidia"),
        uses_cdi: settings.get("features").is_some_and(|features| features["cdi"] == true),
        cgroup_driver: driver.map(str::to_string),
        programs: runtimes
            .into_iter()
            .flat_map(|runtimes| runtimes.values().filter_map(|runtime| runtime["path"].as_str().map(str::to_string)))
            .collect(),
        ..Said::default()
    })
}

/// The few settings that matter, by the section they stand in. Both runtimes write plain TOML, one setting a line.
fn toml(text: &str) -> Said {
    let mut said = Said::default();
    let mut section = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().unwrap_or_default().replace(['"', '\''], "");
            // …containerd.runtimes.nvidia, crio.runtime.runtimes.nvidia-cdi
            let runtime = section.split(".runtimes.").nth(1).and_then(|rest| rest.split('.').next());
            said.has_nvidia |= runtime.is_some_and(|runtime| runtime.starts_with("nvidia"));
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim().trim_matches('"'), value.split(" #").next().unwrap_or_default().trim());
        let text = value.trim_matches(['"', '\'']);
        match key {
            "default_runtime_name" | "default_runtime" => said.nvidia_is_default = text.starts_with("nvidia"),
            "enable_cdi" => said.uses_cdi = text == "true",
            "disabled_plugins" => {
                let off = |plugin: &str| plugin == "cri" || plugin.starts_with("io.containerd.grpc.v1.cri");
                said.kubernetes_disabled = value
                    .trim_matches(['[', ']'])
                    .split(',')
                    .any(|plugin| off(plugin.trim().trim_matches(['"', '\''])));
            }
            "SystemdCgroup" if text == "true" => said.cgroup_driver = Some("systemd".into()),
            "SystemdCgroup" if said.cgroup_driver.is_none() => said.cgroup_driver = Some("cgroupfs".into()),
            "cgroup_manager" => said.cgroup_driver = Some(text.to_string()),
            "BinaryName" | "runtime_path" if section.contains("nvidia") && !text.is_empty() => {
                said.programs.insert(text.to_string());
            }
            _ => {}
        }
    }
    said
}

fn configuration(source: &Source, path: Option<&&str>) -> Toolkit {
    let files = [
        "/etc/nvidia-container-runtime/config.toml",
        "/usr/local/nvidia/toolkit/.config/nvidia-container-runtime/config.toml",
    ];
    let text = super::first_present(files.map(|file| source.text(file))).0;
    // The mode stands below [nvidia-container-runtime], no-cgroups below [nvidia-container-cli].
    let setting = |section: &str, key: &str| {
        text.clone().and_then(|text| {
            let mut inside = String::new();
            for line in text.lines().map(str::trim) {
                if let Some(name) = line.strip_prefix('[') {
                    inside = name.trim_end_matches(']').to_string();
                } else if inside == section
                    && let Some((found, value)) = line.split_once('=')
                    && found.trim() == key
                {
                    return Ok(value.trim().trim_matches('"').to_string());
                }
            }
            Err(Absent::not_present(format!("the toolkit's configuration does not say {key}")))
        })
    };
    Toolkit {
        installed: path.is_some(),
        path: Fact(path.map(ToString::to_string).ok_or_else(|| Absent::not_present("it is not installed"))),
        configured: text.is_ok(),
        mode: Fact(setting("nvidia-container-runtime", "mode")),
        no_cgroups: Fact(match setting("nvidia-container-cli", "no-cgroups") {
            Ok(value) => Ok(value == "true"),
            Err(absent) if absent.reason == Reason::NotPresent && text.is_ok() => Ok(false),
            Err(absent) => Err(absent),
        }),
    }
}

fn specifications(source: &Source) -> Result<Vec<Cdi>, Absent> {
    let mut found = Vec::new();
    for folder in CDI_FOLDERS {
        let names = match source.names(folder) {
            Ok(names) => names,
            Err(absent) if absent.reason == Reason::NotPresent => continue,
            Err(absent) => return Err(absent),
        };
        for name in names.iter().filter(|name| [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))) {
            let path = format!("{folder}/{name}");
            let spec = source.text(&path).and_then(|text| parse(&path, &text));
            let kind = spec.as_ref().ok().and_then(|spec| spec["kind"].as_str());
            // Others' devices are not our business; a file that cannot be read may be ours.
            if kind.is_none_or(|kind| kind.starts_with("nvidia.com/") || kind.contains("nvidia")) {
                found.push(specification(source, path, spec));
            }
        }
    }
    Ok(found)
}

/// JSON is YAML too, but read faster as what it is.
fn parse(path: &str, text: &str) -> Result<Value, Absent> {
    if text.len() > LONGEST_SPEC {
        return Err(Absent::failed(format!("{path}: longer than {} MiB", LONGEST_SPEC >> 20)));
    }
    let json: Value = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(_) => serde_yaml::from_str(text)
            .map_err(|error| Absent::failed(format!("{path}: {}", clipped(&error.to_string()))))?,
    };
    match json["kind"].is_string() {
        true => Ok(json),
        false => Err(Absent::failed(format!("{path}: has no kind"))),
    }
}

fn specification(source: &Source, path: String, spec: Result<Value, Absent>) -> Cdi {
    let facts = spec.map(|spec| {
        let devices: Vec<&Value> = spec["devices"].as_array().into_iter().flatten().collect();
        let edits: Vec<&Value> =
            devices.iter().map(|device| &device["containerEdits"]).chain([&spec["containerEdits"]]).collect();
        let list = |key: &str| {
            edits.iter().flat_map(|edit| edit[key].as_array().cloned().unwrap_or_default()).collect::<Vec<_>>()
        };
        let text = |value: &Value, key: &str| value[key].as_str().map(str::to_string);
        let nodes: BTreeSet<String> = list("deviceNodes")
            .iter()
            .filter_map(|node| text(node, "hostPath").or_else(|| text(node, "path")))
            .collect();
        let mounts: BTreeSet<String> = list("mounts").iter().filter_map(|mount| text(mount, "hostPath")).collect();
        let version = |path: &String| {
            let name = path.rsplit('/').next()?;
            let rest = name.strip_prefix("libcuda.so.").or_else(|| name.strip_prefix("libnvidia-ml.so."))?;
            (rest.contains('.')).then(|| rest.to_string())
        };
        let versions: BTreeSet<String> = mounts.iter().filter_map(version).collect();
        let missing: Vec<String> = nodes.iter().chain(&mounts).filter(|path| !source.exists(path)).cloned().collect();
        let is_gpu = |node: &String| {
            node.strip_prefix("/dev/nvidia")
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()) && !rest.is_empty())
        };
        let count = devices.iter().filter(|device| device["name"] != "all").count() as u64;
        (
            spec["kind"].as_str().unwrap_or_default().to_string(),
            count,
            nodes.into_iter().filter(is_gpu).collect::<Vec<_>>(),
            versions.into_iter().collect::<Vec<_>>(),
            missing,
        )
    });
    let facts = facts.as_ref().map_err(Clone::clone);
    Cdi {
        path,
        broken: Fact(match facts {
            Ok(_) => Ok(false),
            Err(ref absent) if absent.reason == Reason::Failed => Ok(true),
            Err(ref absent) => Err(absent.clone()),
        }),
        error: Fact(match facts {
            Ok(_) => Err(Absent::not_present("nothing is wrong with it")),
            Err(ref absent) => Ok(absent.detail.clone()),
        }),
        kind: Fact(facts.clone().map(|facts| facts.0.clone())),
        devices: Fact(facts.clone().map(|facts| facts.1)),
        nodes: Fact(facts.clone().map(|facts| facts.2.clone())),
        driver_versions: Fact(facts.clone().map(|facts| facts.3.clone())),
        missing: Fact(facts.clone().map(|facts| facts.4.len() as u64)),
        missing_paths: Fact(facts.map(|facts| facts.4.iter().take(MOST_MISSING).cloned().collect())),
    }
}

/// NVIDIA's device nodes have the major number 195, GPUs their index, nvidiactl 255 (devices.txt of the kernel).
fn systemd_knows(source: &Source) -> Result<bool, Absent> {
    if !source.exists("/dev/nvidiactl") {
        return Err(Absent::not_present("there are no NVIDIA device nodes"));
    }
    let names = source.names("/dev")?;
    let indexes = names.iter().filter_map(|name| name.strip_prefix("nvidia")?.parse::<u32>().ok());
    // Not whether the link leads anywhere: systemd reads it.
    let linked = |minor: u32| source.metadata(&format!("/dev/char/195:{minor}"), false).is_ok();
    Ok(linked(255) && indexes.into_iter().all(linked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    const CONTAINERD: &str = "version = 2
disabled_plugins = []
[plugins.\"io.containerd.grpc.v1.cri\"]
  enable_cdi = true
  [plugins.\"io.containerd.grpc.v1.cri\".containerd]
    default_runtime_name = \"nvidia\"
    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]
      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia.options]
        BinaryName = \"/usr/local/nvidia/toolkit/nvidia-container-runtime\"
        SystemdCgroup = true
";
    const SPEC: &str = "cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: '0'
  containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}
- name: all
  containerEdits: {deviceNodes: [{path: /dev/nvidia0}, {path: /dev/nvidia1}]}
containerEdits:
  deviceNodes: [{path: /dev/nvidiactl}]
  mounts: [{hostPath: /usr/lib64/libcuda.so.535.161.08}, {hostPath: /usr/lib64/libcuda.so.1}]
";

    #[test]
    fn runtimes_are_read_from_their_configuration() {
        let said = toml(CONTAINERD);
        assert!(said.has_nvidia && said.nvidia_is_default && said.uses_cdi && !said.kubernetes_disabled);
        assert_eq!(said.cgroup_driver.as_deref(), Some("systemd"));
        assert!(said.programs.contains("/usr/local/nvidia/toolkit/nvidia-container-runtime"));
        assert!(toml("disabled_plugins = [\"cri\"]").kubernetes_disabled);
        assert!(toml("[crio.runtime.runtimes.nvidia]\nruntime_path = \"/x\"").has_nvidia);
        assert_eq!(toml("\u{0}= [[\n[\n="), Said::default());
        let docker_said = docker(r#"{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}, "exec-opts": ["native.cgroupdriver=systemd"]}"#).unwrap();
        assert!(docker_said.has_nvidia && !docker_said.nvidia_is_default);
        assert_eq!(docker("{").unwrap_err().reason, Reason::Failed);
        assert_eq!(docker("").unwrap(), Said::default());
    }

    #[test]
    fn a_node_with_all_of_it() {
        let (_dir, source) = tree_of(
            &[
                ("proc/4/comm", "containerd\n"),
                ("proc/5/comm", "containerd-shim\n"),
                ("etc/containerd/config.toml", CONTAINERD),
                ("run/containerd/containerd.sock", ""),
                ("usr/bin/nvidia-container-runtime", ""),
                (
                    "etc/nvidia-container-runtime/config.toml",
                    "[nvidia-container-cli]\n#no-cgroups = false\nno-cgroups = true\n[nvidia-container-runtime]\nmode = \"auto\"\n",
                ),
                ("etc/cdi/nvidia.yaml", SPEC),
                ("etc/cdi/other.yaml", "kind: vendor.com/nic\n"),
                ("var/run/cdi/broken.json", "\u{0}{"),
                ("dev/nvidia0", ""),
                ("dev/nvidiactl", ""),
                ("dev/char/195:255", ""),
            ],
            Recorded::default(),
        );
        let seen = observe(&source);
        assert_eq!(seen.runtimes.len(), 1);
        let runtime = &seen.runtimes[0];
        assert_eq!((runtime.name.as_str(), &runtime.runs), ("containerd", &Fact(Ok(true))));
        assert_eq!(runtime.answers.0.as_ref().unwrap_err().reason, Reason::NotPresent);
        assert_eq!(runtime.missing_programs.value().unwrap().len(), 1);
        assert_eq!((seen.toolkit.mode, seen.toolkit.no_cgroups), (Fact(Ok("auto".into())), Fact(Ok(true))));
        let cdi = seen.cdi.0.unwrap();
        assert_eq!((cdi.len(), &cdi[0].devices), (2, &Fact(Ok(1))));
        assert_eq!(cdi[0].driver_versions, Fact(Ok(vec!["535.161.08".to_string()])));
        assert_eq!(cdi[0].nodes, Fact(Ok(vec!["/dev/nvidia0".to_string(), "/dev/nvidia1".to_string()])));
        assert_eq!(cdi[0].missing, Fact(Ok(3)));
        assert_eq!(cdi[1].kind.0.as_ref().unwrap_err().reason, Reason::Failed);
        assert_eq!(seen.systemd_knows_gpus, Fact(Ok(false)));
        assert_eq!(seen.running, Fact(Ok(1)));
    }

    #[test]
    fn a_node_without_containers_has_no_runtimes() {
        let (_dir, source) = tree_of(&[("proc/1/comm", "init")], Recorded::default());
        let seen = observe(&source);
        assert!(seen.runtimes.is_empty() && !seen.toolkit.installed);
        assert_eq!(seen.cdi, Fact(Ok(Vec::new())));
        assert_eq!(seen.systemd_knows_gpus.0.unwrap_err().reason, Reason::NotPresent);
    }
}
