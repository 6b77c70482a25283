//! `gpu_pairs`: what any two GPUs can do with each other, and what lies between them.
//!
//! A probe of its own, because a pair belongs to two GPUs: each pair is asked once, and one that hangs costs neither
//! the pair's GPUs nor the other pairs.

use super::nvml::{self, Library};
use super::parts::{self, Part, Place, Progress};
use super::pci;
use super::source::Source;
use super::{Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use nvml_wrapper_sys::bindings as sys;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "gpu_pairs",
    deadline: Duration::from_secs(25),
    answer: schema_of::<Vec<GpuPair>>,
    arguments: None,
    ask: observe,
};

/// How long one pair may take to answer.
const PAIR_DEADLINE: Duration = Duration::from_secs(10);

/// How long a pair waits for a GPU that the driver is still starting.
const PATIENCE: Duration = Duration::from_secs(8);

/// Two GPUs of NVIDIA on this node: what they can do with each other without the processor (peer to peer), and what
/// lies between them. There is an entry for each two on the PCI bus. What nobody could answer is absent, for the
/// reasons that the GPUs' own entries in `gpus` give.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "gpu_pair", "x-key" = "pair"))]
struct GpuPair {
    /// Both addresses, the lower first: `0000:18:00.0 0000:9a:00.0`.
    pair: String,
    /// PCI address of the first.
    first: String,
    /// PCI address of the second.
    second: String,
    /// What lies between them on the PCI buses.
    path: Fact<Path>,
    /// Whether one can read the other's memory.
    read: Fact<Peer>,
    /// Whether one can write the other's memory.
    write: Fact<Peer>,
    /// Whether they can do so over NVLink.
    nvlink: Fact<Peer>,
    /// Whether one can work on the other's memory atomically.
    atomics: Fact<Peer>,
}

/// What lies between two GPUs, from near to far.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Path {
    /// They are on one board.
    Board,
    /// One PCIe switch (nvidia-smi: PIX).
    OneSwitch,
    /// Several PCIe switches (PXB).
    SeveralSwitches,
    /// The same host bridge (PHB).
    HostBridge,
    /// The same NUMA node (NODE).
    NumaNode,
    /// The link between processors (SYS).
    System,
}

/// Whether two GPUs can do something with each other.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Peer {
    /// They can.
    Ok,
    /// The chipset does not support it.
    ChipsetNotSupported,
    /// A GPU does not support it, or not as it is set up.
    GpuNotSupported,
    /// What lies between them does not support it.
    TopologyNotSupported,
    /// A setting of the driver forbids it.
    Disabled,
    /// They cannot, for no reason given.
    NotSupported,
    /// The driver does not know.
    Unknown,
}

/// The fields that a pair's part answers.
#[derive(Serialize)]
struct Answer {
    path: Fact<Path>,
    read: Fact<Peer>,
    write: Fact<Peer>,
    nvlink: Fact<Peer>,
    atomics: Fact<Peer>,
}

fn observe(source: &Source, _: &Value, progress: &dyn Progress) -> Result<Value, Absent> {
    let gpus = match pci::nvidia_gpus(source) {
        Err(absent) if absent.reason == Reason::NotPresent => Vec::new(),
        gpus => gpus?,
    };
    let pairs: Vec<GpuPair> = gpus
        .iter()
        .enumerate()
        .flat_map(|(index, first)| gpus[index + 1..].iter().map(move |second| pair(first, second)))
        .collect();
    let value = answer(&pairs)?;
    if pairs.is_empty() {
        return Ok(value);
    }
    let places = pairs.iter().enumerate().map(|(index, pair)| {
        let label = format!("GPUs {} and {}", pair.first, pair.second);
        Place::new(format!("/{index}"), &["path", "read", "write", "nvlink", "atomics"], label, PAIR_DEADLINE)
    });
    let places: Vec<Place> = places.collect();
    // Starting the library is the first that can hang.
    progress.so_far(&value, &places);
    let library = nvml::awaited(source, progress).map_err(|refusal| refusal.absent.clone());
    let parts = pairs.iter().zip(places).map(|(pair, place)| -> Part {
        let library = library.clone();
        (place, Box::new(move || parts::fields(&ask(library?, pair)?)))
    });
    Ok(parts::ask_quickly(value, parts.collect(), progress))
}

fn pair(first: &str, second: &str) -> GpuPair {
    GpuPair {
        pair: format!("{first} {second}"),
        first: first.to_string(),
        second: second.to_string(),
        path: parts::pending(),
        read: parts::pending(),
        write: parts::pending(),
        nvlink: parts::pending(),
        atomics: parts::pending(),
    }
}

fn ask(library: &Library, pair: &GpuPair) -> Result<Answer, Absent> {
    let device = |pci: &str| library.device(pci, PATIENCE).map_err(|refusal| refusal.absent);
    let (first, second) = (device(&pair.first)?, device(&pair.second)?);
    let path = match nvml::common_ancestor(&first, &second) {
        Err(error) => Err(nvml::Refusal::from(error).absent),
        Ok(sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_INTERNAL) => Ok(Path::Board),
        Ok(sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_SINGLE) => Ok(Path::OneSwitch),
        Ok(sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_MULTIPLE) => Ok(Path::SeveralSwitches),
        Ok(sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_HOSTBRIDGE) => Ok(Path::HostBridge),
        Ok(sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_NODE) => Ok(Path::NumaNode),
        Ok(sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_SYSTEM) => Ok(Path::System),
        Ok(other) => Err(unknown(other)),
    };
    let peer = |what| match nvml::p2p_status(&first, &second, what) {
        Err(error) => Err(nvml::Refusal::from(error).absent),
        Ok(0) => Ok(Peer::Ok),
        Ok(1) => Ok(Peer::ChipsetNotSupported),
        Ok(2) => Ok(Peer::GpuNotSupported),
        Ok(3) => Ok(Peer::TopologyNotSupported),
        Ok(4) => Ok(Peer::Disabled),
        Ok(5) => Ok(Peer::NotSupported),
        Ok(6) => Ok(Peer::Unknown),
        Ok(other) => Err(unknown(other)),
    };
    Ok(Answer {
        path: path.into(),
        read: peer(sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_READ).into(),
        write: peer(sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_WRITE).into(),
        nvlink: peer(sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_NVLINK).into(),
        atomics: peer(sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_ATOMICS).into(),
    })
}

fn unknown(value: u32) -> Absent {
    Absent::failed(format!("NVML gave {value}, which this version of Punchlist does not know"))
}
