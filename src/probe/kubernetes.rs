//! `kubernetes`: this node's part in a Kubernetes cluster.

use super::parts::{self, Part, Place};
use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, schema_of, talk};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "kubernetes",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Kubernetes>,
    arguments: None,
    ask: |source, _, progress| {
        let kubernetes = observe(source)?;
        let place = Place::new("", &["health"], "the kubelet (healthz)", HEALTH_DEADLINE);
        let part: Part = (place, Box::new(|| parts::fields(&HealthPart { health: Fact(health(source)) })));
        Ok(parts::ask(answer(&kubernetes)?, vec![part], progress))
    },
};

const PLUGINS: &str = "/var/lib/kubelet/device-plugins";
/// Where the network of pods is set up, by distribution.
const NETWORK_FOLDERS: [&str; 3] =
    ["/etc/cni/net.d", "/var/lib/rancher/k3s/agent/etc/cni/net.d", "/var/snap/microk8s/current/args/cni-network"];
/// The file by which a kubelet knows its cluster, by distribution.
const KUBECONFIGS: [&str; 5] = [
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/kubeconfig",
    "/etc/kubernetes/kubeconfig",
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
];
/// Where the kubelet says whether it is well, unless its configuration says otherwise (healthzPort).
const HEALTH_PORT: u16 = 10248;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
const HEALTH_DEADLINE: Duration = Duration::from_secs(5);

/// This node's part in a Kubernetes cluster. Absent as a whole (not_present) where no kubelet runs or is set up.
#[derive(Debug, Serialize, JsonSchema)]
struct Kubernetes {
    /// Whether the kubelet runs (/proc).
    kubelet_runs: Fact<bool>,
    /// What the kubelet answers on its port for that, http://127.0.0.1:10248/healthz or as its configuration says.
    /// Absent (not_recorded) from a container with a network of its own.
    health: Fact<Health>,
    /// Sockets of device plugins (/var/lib/kubelet/device-plugins), without the kubelet's own.
    plugin_sockets: Fact<Vec<String>>,
    /// Whether the kubelet's own socket is there, at which plugins register.
    kubelet_socket: bool,
    /// Devices that plugins have registered, by the name of the resource: `nvidia.com/gpu`
    /// (kubelet_internal_checkpoint).
    registered: Fact<Vec<Resource>>,
    /// Pods that have devices, and how many devices that is (kubelet_internal_checkpoint).
    given: Fact<u64>,
    /// Files that set up the network of pods (/etc/cni/net.d, or the folder of k3s or microk8s). Empty: pods do not start.
    network_files: Fact<Vec<String>>,
    /// Who makes the kubelet's control groups: `systemd` or `cgroupfs` (config.yaml, cgroupDriver). Absent
    /// (not_present) where it does not say.
    cgroup_driver: Fact<String>,
    /// Whether the kubelet has a file by which it knows its cluster (/etc/kubernetes/kubelet.conf,
    /// /var/lib/kubelet/kubeconfig and others).
    joined: bool,
}

/// What the kubelet answers.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Health {
    /// Whether it answers that it is well.
    ok: bool,
    /// What it answers, or what kept it from answering.
    said: String,
}

/// Devices of one kind.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "resource", "x-key" = "name"))]
struct Resource {
    /// `nvidia.com/gpu`.
    name: String,
    /// How many are registered and healthy.
    devices: u64,
}

#[derive(Serialize)]
struct HealthPart {
    health: Fact<Health>,
}

fn observe(source: &Source) -> Result<Kubernetes, Absent> {
    // One program of some distributions is all of Kubernetes.
    let kubelets = ["kubelet", "k3s-agent", "k3s-server", "k3s", "rke2", "microk8s"];
    let runs = source.programs().map(|all| all.iter().any(|(_, program)| kubelets.contains(&program.as_str())));
    let config = config(source);
    if runs == Ok(false) && config.is_err() && !source.exists(PLUGINS) {
        return Err(Absent::not_present("no kubelet runs or is set up here"));
    }
    let names = source.names(PLUGINS);
    let sockets = names.clone().map(|names| {
        names.into_iter().filter(|name| name.ends_with(".sock") && name != "kubelet.sock").collect::<Vec<_>>()
    });
    let checkpoint = checkpoint(source);
    let listed = |name: &String| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end));
    let mut network = super::first_present(NETWORK_FOLDERS.iter().map(|folder| source.names(folder)))
        .0
        .map(|names| names.into_iter().filter(listed).collect::<Vec<_>>());
    // Without the folder nothing has set a network up, if this is a whole node and not a part of one that was recorded.
    if network.as_ref().is_err_and(|absent| absent.reason == Reason::NotPresent) && source.exists(PLUGINS) {
        network = Ok(Vec::new());
    }
    Ok(Kubernetes {
        kubelet_runs: Fact(runs),
        health: parts::pending(),
        plugin_sockets: Fact(sockets),
        kubelet_socket: source.exists(&format!("{PLUGINS}/kubelet.sock")),
        registered: Fact(checkpoint.as_ref().map(registered).map_err(Clone::clone)),
        given: Fact(checkpoint.as_ref().map(given).map_err(Clone::clone)),
        network_files: Fact(network),
        cgroup_driver: Fact(config.as_ref().map_err(Clone::clone).and_then(|config| {
            let driver = config["cgroupDriver"].as_str().map(str::to_string);
            driver.ok_or_else(|| Absent::not_present("the kubelet's configuration does not say"))
        })),
        joined: KUBECONFIGS.iter().any(|path| source.exists(path)),
    })
}

/// The kubelet's configuration; kubeadm's place first.
fn config(source: &Source) -> Result<Value, Absent> {
    let paths = [
        "/var/lib/kubelet/config.yaml",
        "/etc/kubernetes/kubelet/kubelet-config.json",
        "/etc/kubernetes/kubelet-config.yaml",
    ];
    let parse = |path: &&str| {
        let text = source.text(path)?;
        serde_yaml::from_str(&text).map_err(|error| Absent::failed(format!("{path}: {}", clipped(&error.to_string()))))
    };
    super::first_present(paths.iter().map(parse)).0
}

fn health(source: &Source) -> Result<Health, Absent> {
    let config = config(source).unwrap_or(Value::Null);
    let port = config["healthzPort"].as_u64().unwrap_or(u64::from(HEALTH_PORT));
    if port == 0 {
        return Err(Absent::not_supported("the kubelet's configuration switches it off"));
    }
    let url = format!("http://127.0.0.1:{port}/healthz");
    let heard = talk::fetch(source, &url, HEALTH_TIMEOUT, 4096)?;
    Ok(match heard.what {
        Ok(page) => {
            let body = String::from_utf8_lossy(&page.body).trim().to_string();
            Health {
                ok: page.status == 200,
                said: if page.status == 200 { body } else { format!("{}: {}", page.status, clipped(&body)) },
            }
        }
        Err(error) => Health { ok: false, said: error },
    })
}

fn checkpoint(source: &Source) -> Result<Value, Absent> {
    let path = format!("{PLUGINS}/kubelet_internal_checkpoint");
    let text = source.text(&path)?;
    let json: Value = serde_json::from_str(&text).map_err(|error| Absent::failed(format!("{path}: {error}")))?;
    match json["Data"].is_object() {
        true => Ok(json),
        false => Err(Absent::failed(format!("{path}: has no Data"))),
    }
}

/// `{"Data": {"RegisteredDevices": {"nvidia.com/gpu": ["GPU-…", …]}}}`
fn registered(checkpoint: &Value) -> Vec<Resource> {
    let devices = checkpoint["Data"]["RegisteredDevices"].as_object();
    let resource = |(name, ids): (&String, &Value)| Resource {
        name: name.clone(),
        devices: ids.as_array().map_or(0, |ids| ids.len() as u64),
    };
    devices.into_iter().flatten().map(resource).collect()
}

/// `{"Data": {"PodDeviceEntries": [{"PodUID": …, "DeviceIDs": {"0": ["GPU-…"]}}]}}`, of old a plain list.
fn given(checkpoint: &Value) -> u64 {
    let entries = checkpoint["Data"]["PodDeviceEntries"].as_array().into_iter().flatten();
    let mut by_pod: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in entries {
        let count = match &entry["DeviceIDs"] {
            Value::Array(ids) => ids.len() as u64,
            Value::Object(by_numa) => {
                by_numa.values().map(|ids| ids.as_array().map_or(0, |ids| ids.len() as u64)).sum()
            }
            _ => 0,
        };
        *by_pod.entry(entry["PodUID"].as_str().unwrap_or_default()).or_default() += count;
    }
    by_pod.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, tree_of};
    use serde_json::json;

    const CHECKPOINT: &str = r#"{"Data":{"PodDeviceEntries":[{"PodUID":"a","ContainerName":"c","ResourceName":"nvidia.com/gpu","DeviceIDs":{"0":["GPU-1","GPU-2"]}},{"PodUID":"b","DeviceIDs":["GPU-3"]}],"RegisteredDevices":{"nvidia.com/gpu":["GPU-1","GPU-2","GPU-3"]}},"Checksum":1}"#;

    #[test]
    fn a_node_of_a_cluster_is_read() {
        let yaml = "recorded: 2026-01-01T00:00:00Z\nanswers: {'http://127.0.0.1:10248/healthz': {status: 500, body: 'pleg was last seen 9m ago'}}";
        let (_dir, source) = tree_of(
            &[
                ("proc/3/comm", "kubelet\n"),
                ("var/lib/kubelet/config.yaml", "cgroupDriver: systemd\nkind: KubeletConfiguration\n"),
                ("var/lib/kubelet/device-plugins/kubelet.sock", ""),
                ("var/lib/kubelet/device-plugins/nvidia-gpu.sock", ""),
                ("var/lib/kubelet/device-plugins/kubelet_internal_checkpoint", CHECKPOINT),
                ("etc/cni/net.d/10-x.conflist", "{}"),
            ],
            serde_yaml::from_str(yaml).unwrap(),
        );
        let seen = (PROBE.ask)(&source, &Value::Null, &Silent).unwrap();
        assert_eq!(seen["health"], json!({"ok": false, "said": "500: pleg was last seen 9m ago"}));
        assert_eq!(seen["registered"], json!([{"name": "nvidia.com/gpu", "devices": 3}]));
        assert_eq!((&seen["given"], &seen["cgroup_driver"]), (&json!(3), &json!("systemd")));
        assert_eq!(seen["plugin_sockets"], json!(["nvidia-gpu.sock"]));
    }

    #[test]
    fn a_checkpoint_of_another_kind_is_told_and_a_node_without_is_none() {
        for text in ["", "\u{0}", "[]", "{\"Data\": 1}"] {
            let (_dir, source) =
                tree_of(&[("var/lib/kubelet/device-plugins/kubelet_internal_checkpoint", text)], Recorded::default());
            let seen = (PROBE.ask)(&source, &Value::Null, &Silent).unwrap();
            assert_eq!(seen["registered"]["absent"], "failed", "{text}");
            assert_eq!(seen["health"]["absent"], "not_present");
        }
        let (_dir, source) = tree_of(&[("proc/1/comm", "init")], Recorded::default());
        assert_eq!((PROBE.ask)(&source, &Value::Null, &Silent).unwrap_err().reason, Reason::NotPresent);
    }
}
