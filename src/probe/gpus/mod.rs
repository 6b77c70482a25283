//! `gpus`: the GPUs of NVIDIA, as the PCI bus shows them and as their driver answers for them.
//!
//! What the driver answers for is asked of its library (NVML), GPU by GPU, each in its own time: one that hangs costs
//! only itself. What the bus shows is told before the library is even loaded, so that a node whose driver is gone or
//! stuck never reads as a node without GPUs.

mod ask;

use super::nvml::{self, Library, Refusal};
use super::parts::{self, Part, Place, Progress};
use super::pci;
use super::source::Source;
use super::users::Names;
use super::{Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "gpus",
    // A GPU may take its whole time after the library took some to start; and all of it has to end within a run.
    deadline: Duration::from_secs(25),
    answer: schema_of::<Vec<Gpu>>,
    arguments: None,
    ask: observe,
};

/// How long one GPU may take to answer (design.md, "Observing safely"). Where nothing keeps it up, the first question
/// starts it, which takes seconds.
const GPU_DEADLINE: Duration = Duration::from_secs(20);

/// More GPUs than any node has; a library that counts more has counted wrong.
const MOST_GPUS: u32 = 256;

/// A GPU of NVIDIA. There is an entry for each that is on the PCI bus or that the driver's library (NVML) knows,
/// whether it answers or not. What the driver was to answer and did not is absent with what it said: (not present)
/// where no driver or library is there, (failed) for a GPU that is lost, (not supported) for what a model or an older
/// driver lacks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "gpu", "x-key" = "pci"))]
struct Gpu {
    /// Its PCI address: domain, bus, device and function, such as `0000:9c:00.0`. The only name of a GPU that stays
    /// the same over reboots and for all tools.
    pci: String,
    /// Whether the PCI bus shows it (/sys/bus/pci/devices). False for one that only NVML knows, as in WSL.
    on_bus: bool,
    /// Number of the model, four hexadecimal digits: `2330` is an H100 SXM5 80GB (/sys, file device).
    device_id: Fact<String>,
    /// Name of the model in the list of PCI ids that Punchlist carries; `name` is what the driver calls it. Absent
    /// (not present) when the list has none.
    device: Fact<String>,
    /// The kernel driver that is bound to it: `nvidia`, or `vfio-pci` for one that is handed to a virtual machine
    /// (/sys, link driver). Absent (not present) when none is.
    driver: Fact<String>,
    /// The NUMA node it hangs on (/sys, file numa_node). Absent (not supported) when the firmware names none (-1).
    numa_node: Fact<u32>,
    /// The CPUs nearest to it, as ranges: `0-55,112-167` (/sys, file local_cpulist).
    local_cpus: Fact<String>,
    /// Whether the driver answers for it: NVML knows it and it is not lost. False where there is no driver or no library
    /// either, and inside a container for GPUs that it was not given; absent (denied) for one that this user may not
    /// ask, (timeout) when nothing came back, (not recorded) for a recorded machine without a library.
    answered: Fact<bool>,
    /// Whether it is lost: NVML says so (GPU_IS_LOST), or it has fallen off the PCI bus and its configuration space
    /// reads as nothing but ff. False for one that nobody knows to be lost, which may still not answer: see `answered`.
    lost: Fact<bool>,
    /// Its number for NVML and nvidia-smi. It may change at a reboot, and CUDA counts in another order.
    index: Fact<u32>,
    /// What the driver calls it: `NVIDIA H100 80GB HBM3`.
    name: Fact<String>,
    /// The id that it was made with: `GPU-…`.
    uuid: Fact<String>,
    /// Serial number of its board. Absent (not supported) for consumer models.
    serial: Fact<String>,
    /// N of its device node /dev/nvidiaN.
    minor: Fact<u32>,
    /// Part number of its board: `692-2G520-0200-000`.
    board_part_number: Fact<String>,
    /// The firmware that starts it: `96.00.74.00.01`.
    vbios: Fact<String>,
    /// Its family: kepler, maxwell, pascal, volta, turing, ampere, ada, hopper, blackwell; a number for later ones.
    architecture: Fact<String>,
    /// What CUDA code it can run: `9.0`.
    compute_capability: Fact<String>,
    /// CUDA cores.
    cores: Fact<u32>,
    /// Number of the module it sits on. Those of a baseboard have no gaps. Absent (not supported) before Ampere.
    module_id: Fact<u32>,
    /// Its place in a rack. Absent (not supported) where the rack tells none.
    platform: Fact<Platform>,
    /// The NUMA node that its memory is, on machines where the processor addresses it (GB200).
    memory_numa_node: Fact<u32>,
    /// How the processor's page tables reach it: none, hmm, ats.
    addressing_mode: Fact<AddressingMode>,
    /// Whether the driver keeps it up while nobody uses it. Without that, every first use takes seconds.
    persistence: Fact<bool>,
    /// Who may use it.
    compute_mode: Fact<ComputeMode>,
    /// From 0, the fastest, to 15.
    performance_state: Fact<u32>,
    /// Whether it is a virtual one, or handed to this virtual machine as a whole.
    virtualization: Fact<Virtualization>,
    /// Whether a virtual one has its licence; without one it works slower and slower. Absent (not supported) for others.
    licensed: Fact<bool>,
    /// What should be done to it, as the driver sees it (field 230 of NVML). The one sign of a GPU that waits for a
    /// reset: its counters read 0 and its Xids are past.
    recovery_action: Fact<RecoveryAction>,
    /// How busy it is.
    utilization: Fact<Utilization>,
    /// Its memory.
    memory: Fact<Memory>,
    /// Width of its memory bus, in bits; less than its model has means that a part of the memory is out of use.
    memory_bus_bits: Fact<u32>,
    /// The window through which the processor reaches its memory.
    bar1: Fact<Bar1>,
    /// Errors of its memories, and whether they are watched.
    ecc: Fact<Ecc>,
    /// Rows of its memory that were replaced by spare ones (Ampere and later).
    remapped_rows: Fact<RemappedRows>,
    /// Pages of its memory that were taken out of use (before Ampere).
    retired_pages: Fact<RetiredPages>,
    /// How hot it is, and how hot it may become.
    temperature: Fact<Temperature>,
    /// What it draws, and what it may draw.
    power: Fact<Power>,
    /// How fast it runs.
    clocks: Fact<Clocks>,
    /// What keeps its clocks down.
    throttling: Fact<Throttling>,
    /// Its link to the processor.
    pcie: Fact<Pcie>,
    /// Its NVLinks. Absent (not supported) when it has none.
    nvlinks: Fact<Vec<NvLink>>,
    /// Its links to the processor of its own module (NVLink-C2C; Grace Hopper and Grace Blackwell). Absent (not
    /// supported) when it has none.
    c2c_links: Fact<Vec<C2cLink>>,
    /// Its fans. Absent (not supported) for GPUs that the chassis cools.
    fans: Fact<Vec<Fan>>,
    /// The NVLink fabric that it is a part of. Absent (not supported) without one.
    fabric: Fact<Fabric>,
    /// Its division into several (MIG).
    mig: Fact<Mig>,
    /// The processes that use it.
    processes: Fact<Vec<GpuProcess>>,
    /// Its data memory of firmware settings.
    inforom: Fact<InfoRom>,
    /// The processor on it that runs a part of the driver.
    gsp: Fact<Gsp>,
    /// What a healthy one of its model reaches at least under load. Absent (not present) where Punchlist knows of nobody
    /// who published it.
    floors: Fact<Floors>,
}

/// What a healthy GPU of a model reaches at least under load, in GB/s (10^9 bytes).
#[derive(Debug, Serialize, JsonSchema)]
struct Floors {
    /// Between main memory and one GPU, either way.
    host_gbytes: f64,
    /// Between two GPUs, over NVSwitches.
    peer_gbytes: f64,
    /// Bus bandwidth of an all-reduce over eight GPUs.
    all_reduce_gbytes: f64,
    /// Whose machines are expected to reach it.
    from: String,
}

/// A GPU's place in a rack.
#[derive(Debug, Serialize, JsonSchema)]
struct Platform {
    /// Serial number of the chassis.
    chassis_serial: Fact<String>,
    /// Slot of the chassis.
    slot: Fact<u32>,
    /// Tray of the slot.
    tray: Fact<u32>,
    /// Host of the tray.
    host: Fact<u32>,
    /// Module of the host.
    module: Fact<u32>,
    /// Its id in the fabric, 32 hexadecimal digits.
    guid: Fact<String>,
}

/// How the processor's page tables reach a GPU.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AddressingMode {
    /// Not at all.
    None,
    /// The kernel moves pages to and fro (heterogeneous memory management).
    Hmm,
    /// The GPU uses them (address translation services).
    Ats,
}

/// Who may use a GPU.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ComputeMode {
    /// Everybody at the same time.
    Default,
    /// One thread (no longer supported).
    ExclusiveThread,
    /// Nobody.
    Prohibited,
    /// One process at a time.
    ExclusiveProcess,
}

/// Whether a GPU is a virtual one.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Virtualization {
    /// A GPU of this machine.
    None,
    /// Handed to this virtual machine as a whole.
    Passthrough,
    /// A virtual GPU.
    Vgpu,
    /// Divided into virtual GPUs for virtual machines.
    HostVgpu,
    /// As host_vgpu, for graphics only.
    HostVsga,
}

/// What should be done to a GPU.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RecoveryAction {
    /// Nothing.
    None,
    /// Reset it.
    Reset,
    /// Reboot the node.
    Reboot,
    /// End what uses peer-to-peer traffic, so that it can recover.
    DrainP2p,
    /// End all work on it, then reset it.
    DrainAndReset,
    /// Restart its memory exchange with other nodes (IMEX).
    Imex,
}

/// How busy a GPU is, over the driver's last sample (up to a second).
#[derive(Debug, Serialize, JsonSchema)]
struct Utilization {
    /// Time in which something ran on it, in percent.
    gpu_percent: Fact<u32>,
    /// Time in which its memory was read or written, in percent.
    memory_percent: Fact<u32>,
}

/// A GPU's memory, in bytes.
#[derive(Debug, Serialize, JsonSchema)]
struct Memory {
    /// In all.
    total_bytes: Fact<u64>,
    /// Used by programs. For drivers before 510 with what is reserved.
    used_bytes: Fact<u64>,
    /// Not used.
    free_bytes: Fact<u64>,
    /// Kept by driver and firmware. Absent (not supported) for drivers before 510.
    reserved_bytes: Fact<u64>,
}

/// The window through which the processor reaches a GPU's memory, in bytes.
#[derive(Debug, Serialize, JsonSchema)]
struct Bar1 {
    /// In all.
    total_bytes: Fact<u64>,
    /// Used.
    used_bytes: Fact<u64>,
    /// Not used.
    free_bytes: Fact<u64>,
}

/// Errors of a GPU's memories. Everything is absent (not supported) for models without ECC, the counters also while
/// it is off.
#[derive(Debug, Serialize, JsonSchema)]
struct Ecc {
    /// Whether errors are found and corrected (ECC is on).
    enabled: Fact<bool>,
    /// Whether they will be after the next reboot.
    enabled_after_reboot: Fact<bool>,
    /// Since the driver was loaded.
    volatile: Fact<EccCounts>,
    /// In the GPU's lifetime.
    aggregate: Fact<EccCounts>,
    /// Errors of the memories on the chip, in more detail (Hopper and later).
    sram: Fact<Sram>,
}

/// Errors of a GPU's memories, all and by place. A place is absent (not supported) where the model counts none for it;
/// from Ampere on there are `device_memory` and `sram` only.
#[derive(Debug, Serialize, JsonSchema)]
struct EccCounts {
    /// Errors that were corrected.
    correctable: Fact<u64>,
    /// Errors that were not: data were lost.
    uncorrectable: Fact<u64>,
    /// Of the memory itself (DRAM).
    device_memory: Fact<EccPair>,
    /// Of all memories on the chip.
    sram: Fact<EccPair>,
    /// Of the first-level caches.
    l1_cache: Fact<EccPair>,
    /// Of the second-level cache.
    l2_cache: Fact<EccPair>,
    /// Of the registers.
    register_file: Fact<EccPair>,
    /// Of the texture memory.
    texture: Fact<EccPair>,
    /// Of the memory that threads share.
    shared_memory: Fact<EccPair>,
    /// Of the unit that converges branches.
    cbu: Fact<EccPair>,
}

/// Errors of one place.
#[derive(Debug, Serialize, JsonSchema)]
struct EccPair {
    /// Errors that were corrected.
    correctable: Fact<u64>,
    /// Errors that were not.
    uncorrectable: Fact<u64>,
}

/// Errors of the memories on a chip.
#[derive(Debug, Serialize, JsonSchema)]
struct Sram {
    /// Whether there were so many uncorrectable ones that the GPU is to be replaced.
    threshold_exceeded: bool,
    /// Corrected since the driver was loaded.
    volatile_correctable: Fact<u64>,
    /// Found by parity and lost since the driver was loaded.
    volatile_parity: Fact<u64>,
    /// Found by the error code and lost since the driver was loaded.
    volatile_uncorrectable: Fact<u64>,
    /// Corrected in the GPU's lifetime.
    aggregate_correctable: Fact<u64>,
    /// Found by parity and lost in the GPU's lifetime.
    aggregate_parity: Fact<u64>,
    /// Found by the error code and lost in the GPU's lifetime.
    aggregate_uncorrectable: Fact<u64>,
    /// Of all lost in its lifetime: in the second-level cache.
    l2: Fact<u64>,
    /// Of all lost in its lifetime: in the multiprocessors.
    sm: Fact<u64>,
    /// Of all lost in its lifetime: in the PCIe unit.
    pcie: Fact<u64>,
    /// Of all lost in its lifetime: in the microcontrollers.
    microcontroller: Fact<u64>,
    /// Of all lost in its lifetime: elsewhere.
    other: Fact<u64>,
}

/// Rows of a GPU's memory that were replaced by spare ones. Absent (not supported) before Ampere, and while MIG
/// instances are active.
#[derive(Debug, Serialize, JsonSchema)]
struct RemappedRows {
    /// For errors that could be corrected.
    correctable: Fact<u32>,
    /// For errors that could not.
    uncorrectable: Fact<u32>,
    /// Whether some wait for the GPU's next reset.
    pending: Fact<bool>,
    /// Whether a row could not be replaced: the GPU is to be.
    failed: Fact<bool>,
    /// How many banks have how many spare rows left.
    banks: Fact<Banks>,
    /// Whether there are errors that nothing repairs (drivers from 590 on).
    unrepairable: Fact<bool>,
    /// Whether a repair of a memory channel waits for the GPU's next reset (Blackwell and later).
    channel_repair_pending: Fact<bool>,
    /// Whether a repair of a processing cluster waits for the GPU's next reset (Blackwell and later).
    tpc_repair_pending: Fact<bool>,
}

/// How many banks of a GPU's memory have how many spare rows left.
#[derive(Debug, Serialize, JsonSchema)]
struct Banks {
    /// All.
    max: Fact<u32>,
    /// Most.
    high: Fact<u32>,
    /// Some.
    partial: Fact<u32>,
    /// Few.
    low: Fact<u32>,
    /// None.
    none: Fact<u32>,
}

/// Pages of a GPU's memory that were taken out of use. Every field is absent (not supported) from Ampere on.
#[derive(Debug, Serialize, JsonSchema)]
struct RetiredPages {
    /// For several errors that could be corrected.
    correctable: Fact<u32>,
    /// For an error that could not.
    uncorrectable: Fact<u32>,
    /// Whether some wait for the next reboot.
    pending: Fact<bool>,
}

/// How hot a GPU is, in degrees Celsius. Hopper and later tell their limits as margins, older ones as temperatures;
/// the others are absent (not supported).
#[derive(Debug, Serialize, JsonSchema)]
struct Temperature {
    /// The chip.
    gpu_c: Fact<i64>,
    /// The memory.
    memory_c: Fact<i64>,
    /// Degrees left until it slows down; less than 0 where it does. As NVML tells it (T.Limit); for models that do not,
    /// the distance of `gpu_c` to `gpu_max_c`, or where there is none to `slowdown_c`.
    margin_c: Fact<i64>,
    /// Temperature at which it shuts down.
    shutdown_c: Fact<i64>,
    /// Temperature at which its hardware slows it down.
    slowdown_c: Fact<i64>,
    /// Temperature above which the driver slows it down.
    gpu_max_c: Fact<i64>,
    /// Temperature of the memory above which the driver slows the GPU down.
    memory_max_c: Fact<i64>,
    /// Margin at which it shuts down, such as -8.
    shutdown_margin_c: Fact<i64>,
    /// Margin at which its hardware slows it down, such as -2.
    slowdown_margin_c: Fact<i64>,
    /// Margin below which the driver slows it down, such as 0.
    gpu_max_margin_c: Fact<i64>,
    /// Margin of the memory below which the driver slows the GPU down.
    memory_max_margin_c: Fact<i64>,
}

/// What a GPU draws and may draw, in watts.
#[derive(Debug, Serialize, JsonSchema)]
struct Power {
    /// Drawn: over the last second from Ampere on, at the moment before.
    draw_w: Fact<f64>,
    /// Drawn at the moment.
    instant_w: Fact<f64>,
    /// Drawn over the last second.
    average_w: Fact<f64>,
    /// The limit that was set.
    limit_w: Fact<f64>,
    /// The limit that holds, of all that there are.
    enforced_limit_w: Fact<f64>,
    /// The limit after the driver is loaded.
    default_limit_w: Fact<f64>,
    /// The least limit that can be set.
    min_limit_w: Fact<f64>,
    /// The highest limit that can be set.
    max_limit_w: Fact<f64>,
    /// Used since the driver was loaded, in joules.
    energy_j: Fact<f64>,
}

/// How fast a GPU runs, in MHz. Idle ones run slowly.
#[derive(Debug, Serialize, JsonSchema)]
struct Clocks {
    /// Graphics clock.
    graphics_mhz: Fact<u32>,
    /// Clock of the multiprocessors.
    sm_mhz: Fact<u32>,
    /// Memory clock.
    memory_mhz: Fact<u32>,
    /// Clock of the video units.
    video_mhz: Fact<u32>,
    /// The highest graphics clock.
    max_graphics_mhz: Fact<u32>,
    /// The highest clock of the multiprocessors.
    max_sm_mhz: Fact<u32>,
    /// The highest memory clock.
    max_memory_mhz: Fact<u32>,
    /// The highest clock of the video units.
    max_video_mhz: Fact<u32>,
    /// The graphics clock that is set for programs.
    application_graphics_mhz: Fact<u32>,
    /// The memory clock that is set for programs.
    application_memory_mhz: Fact<u32>,
}

/// What keeps a GPU's clocks down. The times count since the driver was loaded.
#[derive(Debug, Serialize, JsonSchema)]
struct Throttling {
    /// What does at the moment: gpu_idle, application_clocks, sw_power_cap, hw_slowdown, sync_boost,
    /// sw_thermal_slowdown, hw_thermal_slowdown, hw_power_brake, display_clock; `bit N` for what is newer.
    reasons: Fact<Vec<String>>,
    /// Time at the power limit, in seconds.
    power_cap_seconds: Fact<f64>,
    /// Time below what is asked for because of heat, in seconds.
    thermal_seconds: Fact<f64>,
    /// Time in which the driver slowed it down because of heat, in seconds.
    sw_thermal_seconds: Fact<f64>,
    /// Time in which its hardware slowed it down because of heat, in seconds.
    hw_thermal_seconds: Fact<f64>,
    /// Time in which its hardware slowed it down because the power supply asked for it, in seconds.
    hw_power_brake_seconds: Fact<f64>,
    /// Time as slow as the slowest of its group, in seconds.
    sync_boost_seconds: Fact<f64>,
    /// Time at a limit of the board, in seconds.
    board_limit_seconds: Fact<f64>,
    /// Time at a limit that keeps it reliable, in seconds.
    reliability_seconds: Fact<f64>,
}

/// A GPU's PCI Express link. The counters count since the driver was loaded.
#[derive(Debug, Serialize, JsonSchema)]
struct Pcie {
    /// Generation that it runs at now: 1 to 7. Idle GPUs lower it to save power.
    generation: Fact<u32>,
    /// Highest generation that GPU and slot can do together.
    max_generation: Fact<u32>,
    /// Highest generation that the GPU can do.
    gpu_max_generation: Fact<u32>,
    /// Highest generation that the port above it can do (/sys, file max_link_speed of the bridge above).
    slot_max_generation: Fact<u32>,
    /// Lanes in use now.
    width: Fact<u32>,
    /// Most lanes that GPU and slot can use together.
    max_width: Fact<u32>,
    /// Most lanes that the port above it can use (/sys, file max_link_width of the bridge above).
    slot_max_width: Fact<u32>,
    /// Packets that had to be sent again. A few over months are well.
    replays: Fact<u64>,
    /// How often that counter began anew.
    replay_rollovers: Fact<u64>,
    /// How often the link had to be trained again.
    recoveries: Fact<u64>,
    /// Correctable errors.
    correctable_errors: Fact<u64>,
    /// Errors that broke something off.
    non_fatal_errors: Fact<u64>,
    /// Errors that broke the link.
    fatal_errors: Fact<u64>,
    /// Requests that the other side did not know.
    unsupported_requests: Fact<u64>,
    /// Packets that the other side refused.
    naks_received: Fact<u64>,
    /// Packets that the GPU refused.
    naks_sent: Fact<u64>,
    /// Errors of the receiver.
    receiver_errors: Fact<u64>,
    /// Bad packets with data.
    bad_tlps: Fact<u64>,
    /// Bad packets of the link itself.
    bad_dllps: Fact<u64>,
    /// Wrong checksums.
    lcrc_errors: Fact<u64>,
    /// Errors of single lanes.
    lane_errors: Fact<u64>,
}

/// One NVLink of a GPU. The counters count since the driver was loaded.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "nvlink", "x-key" = "index"))]
struct NvLink {
    /// Its number on this GPU, from 0.
    index: u32,
    /// Whether it is up.
    active: Fact<bool>,
    /// Its speed in one direction, in GB/s.
    speed_gbytes: Fact<f64>,
    /// Its NVLink version, as NVML numbers them.
    version: Fact<u32>,
    /// What is at the other end.
    remote_kind: Fact<RemoteKind>,
    /// The PCI address of what is at the other end.
    remote_pci: Fact<String>,
    /// The number of the link there.
    remote_index: Fact<u32>,
    /// Packets that had to be sent again (to NVLink 4).
    replays: Fact<u64>,
    /// How often the link had to recover (to NVLink 4).
    recoveries: Fact<u64>,
    /// Wrong checksums (to NVLink 4).
    crc_errors: Fact<u64>,
    /// How well it carries (NVLink 5 and later). Absent (not supported) for older ones.
    quality: Fact<LinkQuality>,
}

/// One link of a GPU to the processor of its own module (NVLink-C2C).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "c2c_link", "x-key" = "index"))]
struct C2cLink {
    /// Its number on this GPU, from 0.
    index: u32,
    /// Whether it is up.
    active: Fact<bool>,
    /// Its greatest speed in one direction, in GB/s.
    speed_gbytes: Fact<f64>,
    /// Errors that raised an interrupt.
    interrupts: Fact<u64>,
    /// Packets that had to be sent again.
    replays: Fact<u64>,
}

/// One fan of a GPU.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "fan", "x-key" = "index"))]
struct Fan {
    /// Its number on this GPU, from 0.
    index: u32,
    /// The speed that it is driven at, in percent of its greatest. One that is blocked may stand still all the same.
    speed_percent: Fact<u32>,
    /// Revolutions in a minute. Absent (not supported) for drivers before 565.
    rpm: Fact<u32>,
}

/// How well an NVLink carries.
#[derive(Debug, Serialize, JsonSchema)]
struct LinkQuality {
    /// Errors of receiving.
    receive_errors: Fact<u64>,
    /// Malformed packets.
    malformed_packets: Fact<u64>,
    /// Errors of the link's own integrity.
    integrity_errors: Fact<u64>,
    /// Recoveries that failed.
    failed_recoveries: Fact<u64>,
    /// Errors that were left after correction.
    effective_errors: Fact<u64>,
    /// Wrong bits for each bit, after correction.
    effective_bit_error_rate: Fact<f64>,
    /// Symbols that could not be corrected.
    symbol_errors: Fact<u64>,
    /// Wrong symbols for each symbol.
    symbol_bit_error_rate: Fact<f64>,
}

/// What is at the other end of an NVLink.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RemoteKind {
    /// Another GPU.
    Gpu,
    /// A processor with NVLinks of its own.
    Cpu,
    /// An NVSwitch.
    Switch,
    /// The driver does not know.
    Unknown,
}

/// The NVLink fabric, as a GPU sees it.
#[derive(Debug, Serialize, JsonSchema)]
struct Fabric {
    /// How far it is with joining. Until it has completed, programs that use the fabric fail.
    state: Fact<FabricState>,
    /// With which code of NVML that ended; 0 is success.
    status: Fact<u32>,
    /// GPUs of the same number reach each other.
    clique_id: Fact<u32>,
    /// Id of the cluster; all zeroes within a single node.
    cluster_uuid: Fact<String>,
    /// Whether its bandwidth is degraded. As all that follow absent (not supported) where nobody watches it.
    degraded_bandwidth: Fact<bool>,
    /// Whether routes are being recovered.
    route_recovery: Fact<bool>,
    /// Whether routes are unhealthy.
    route_unhealthy: Fact<bool>,
    /// Whether it recovers from accesses that timed out.
    access_timeout_recovery: Fact<bool>,
    /// What is wrong with the way it was set up.
    misconfiguration: Fact<Misconfiguration>,
    /// All of it in a word (drivers from 575 on).
    health: Fact<FabricHealth>,
}

/// How far a GPU is with joining the fabric.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FabricState {
    /// It has not begun; the fabric manager is not running, or not yet.
    NotStarted,
    /// It has begun.
    InProgress,
    /// It is done; `status` says how that ended.
    Completed,
}

/// What is wrong with the way a fabric was set up.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Misconfiguration {
    /// Nothing.
    None,
    /// The system's id.
    SystemGuid,
    /// The chassis' serial number.
    ChassisSerial,
    /// It is in no partition.
    NoPartition,
    /// It has too few NVLinks.
    InsufficientNvlinks,
}

/// A fabric's health in a word.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FabricHealth {
    /// All is well.
    Healthy,
    /// Something is not.
    Unhealthy,
    /// It works with less than it has.
    LimitedCapacity,
}

/// The division of a GPU into several.
#[derive(Debug, Serialize, JsonSchema)]
struct Mig {
    /// Whether it is divided.
    enabled: Fact<bool>,
    /// Whether it will be after the next reset.
    enabled_after_reset: Fact<bool>,
    /// The parts that there are. Absent (not supported) where it is not divided.
    devices: Fact<Vec<MigDevice>>,
}

/// A part of a divided GPU.
#[derive(Debug, Serialize, JsonSchema)]
struct MigDevice {
    /// Its number on the GPU.
    index: u32,
    /// Its id: `MIG-…`.
    uuid: Fact<String>,
    /// Its GPU instance.
    gpu_instance: Fact<u32>,
    /// Its compute instance.
    compute_instance: Fact<u32>,
    /// Its memory, in bytes.
    memory_total_bytes: Fact<u64>,
    /// What is used of it, in bytes.
    memory_used_bytes: Fact<u64>,
}

/// A process that uses a GPU.
#[derive(Debug, Serialize, JsonSchema)]
struct GpuProcess {
    /// Its number.
    pid: u32,
    /// What it does there.
    work: Work,
    /// What it uses of the GPU's memory, in bytes. Absent (not supported) where the driver does not tell.
    memory_bytes: Fact<u64>,
    /// Whether it still exists (/proc/PID). One that does not holds memory that nobody can free without a reset; but
    /// inside a container other containers' processes cannot be seen.
    exists: Fact<bool>,
    /// Its name, cut at 15 letters (/proc/PID/status). Absent (not present) when it does not exist.
    name: Fact<String>,
    /// Whose it is: a name of /etc/passwd, else the number (/proc/PID/status). Absent (not present) when it does not exist.
    user: Fact<String>,
}

/// What a process does on a GPU.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Work {
    /// Computing.
    Compute,
    /// Graphics.
    Graphics,
    /// Computing through the service that shares a GPU (MPS).
    Mps,
}

/// A GPU's data memory of firmware settings.
#[derive(Debug, Serialize, JsonSchema)]
struct InfoRom {
    /// Whether its checksums are right.
    valid: Fact<bool>,
    /// Version of all of it: `G520.0200.00.05`.
    image_version: Fact<String>,
    /// Version of the maker's part.
    oem_version: Fact<String>,
    /// Version of the part on ECC.
    ecc_version: Fact<String>,
    /// Version of the part on power.
    power_version: Fact<String>,
}

/// The processor on a GPU that runs a part of the driver.
#[derive(Debug, Serialize, JsonSchema)]
struct Gsp {
    /// Whether it is used.
    enabled: Fact<bool>,
    /// Version of its firmware.
    version: Fact<String>,
}

/// A GPU before its driver has been asked.
#[derive(Debug, Clone)]
struct Seen {
    pci: String,
    on_bus: bool,
}

fn observe(source: &Source, _: &Value, progress: &dyn Progress) -> Result<Value, Absent> {
    let on_bus = pci::nvidia_gpus(source);
    let mut seen: Vec<Seen> = on_bus.iter().flatten().map(|pci| Seen { pci: pci.clone(), on_bus: true }).collect();
    // Starting the library is the first that can hang: what the bus shows is told before.
    let before: Vec<Gpu> = seen.iter().map(|seen| Gpu::waiting(source, seen)).collect();
    let before = answer(&before)?;
    progress.so_far(&before, &places(&seen, &before));
    let library = nvml::awaited(source, progress);
    match (library, on_bus) {
        (Ok(library), _) => seen.extend(unseen(library, &seen)),
        // Who can neither see the bus nor ask the driver knows nothing; where there is no bus, there are no GPUs.
        (Err(_), Err(absent)) if absent.reason != Reason::NotPresent => return Err(absent),
        _ => {}
    }
    let gpus: Vec<Gpu> = seen.iter().map(|seen| Gpu::waiting(source, seen)).collect();
    let gpus = answer(&gpus)?;
    let users = Names::of_users(source);
    let (users, fields_of) = (&users, places(&seen, &gpus));
    let parts = seen.into_iter().zip(fields_of).map(|(seen, place)| -> Part {
        let ask = move || {
            let gpu = match library {
                Ok(library) => ask::gpu(source, library, users, &seen),
                Err(refusal) => Gpu::without_driver(source, &seen, refusal),
            };
            parts::fields(&gpu)
        };
        (place, Box::new(ask))
    });
    Ok(parts::ask(gpus, parts.collect(), progress))
}

/// The GPUs that NVML counts beyond those on the bus: without a PCI bus in /sys there may be some.
fn unseen(library: &Library, seen: &[Seen]) -> Vec<Seen> {
    let count = library.nvml.device_count().unwrap_or(0);
    if count as usize <= seen.len() || count > MOST_GPUS {
        return Vec::new();
    }
    let addresses = (0..count).filter_map(|index| nvml::pci_of(&library.nvml.device_by_index(index).ok()?).ok());
    let new = addresses.filter(|pci| !seen.iter().any(|seen| seen.pci == *pci));
    new.map(|pci| Seen { pci, on_bus: false }).collect()
}

/// Where each GPU's answer goes: into everything that the driver is to tell.
fn places(seen: &[Seen], gpus: &Value) -> Vec<Place> {
    let place = |(index, seen): (usize, &Seen)| {
        let names = gpus[index].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let fields: Vec<&str> = names.filter(|name| !FROM_BUS.contains(name)).collect();
        Place::new(format!("/{index}"), &fields, format!("GPU {}", seen.pci), GPU_DEADLINE)
    };
    seen.iter().enumerate().map(place).collect()
}

/// The fields that the driver is not asked for.
const FROM_BUS: [&str; 7] = ["pci", "on_bus", "device_id", "device", "driver", "numa_node", "local_cpus"];

impl Gpu {
    /// A GPU of which everything that its driver is to tell is absent for one reason.
    fn unanswered(source: &Source, seen: &Seen, answered: Fact<bool>, lost: Fact<bool>, absent: &Absent) -> Gpu {
        fn fact<T>(absent: &Absent) -> Fact<T> {
            Fact(Err(absent.clone()))
        }
        let bus = pci::Basics::of(source, &seen.pci);
        Gpu {
            pci: seen.pci.clone(),
            on_bus: seen.on_bus,
            device_id: bus.device_id.into(),
            device: bus.device.into(),
            driver: bus.driver.into(),
            numa_node: bus.numa_node.into(),
            local_cpus: bus.local_cpus.into(),
            answered,
            lost,
            index: fact(absent),
            name: fact(absent),
            uuid: fact(absent),
            serial: fact(absent),
            minor: fact(absent),
            board_part_number: fact(absent),
            vbios: fact(absent),
            architecture: fact(absent),
            compute_capability: fact(absent),
            cores: fact(absent),
            module_id: fact(absent),
            platform: fact(absent),
            memory_numa_node: fact(absent),
            addressing_mode: fact(absent),
            persistence: fact(absent),
            compute_mode: fact(absent),
            performance_state: fact(absent),
            virtualization: fact(absent),
            licensed: fact(absent),
            recovery_action: fact(absent),
            utilization: fact(absent),
            memory: fact(absent),
            memory_bus_bits: fact(absent),
            bar1: fact(absent),
            ecc: fact(absent),
            remapped_rows: fact(absent),
            retired_pages: fact(absent),
            temperature: fact(absent),
            power: fact(absent),
            clocks: fact(absent),
            throttling: fact(absent),
            pcie: fact(absent),
            nvlinks: fact(absent),
            c2c_links: fact(absent),
            fans: fact(absent),
            fabric: fact(absent),
            mig: fact(absent),
            processes: fact(absent),
            inforom: fact(absent),
            gsp: fact(absent),
            floors: fact(absent),
        }
    }

    /// One whose driver has not been asked yet.
    fn waiting(source: &Source, seen: &Seen) -> Gpu {
        let absent = Absent::new(Reason::Timeout, "did not come to be asked");
        let answered = || Fact(Err(absent.clone()));
        Gpu::unanswered(source, seen, answered(), answered(), &absent)
    }

    /// One for which nobody answers: no library, no driver, or a driver that does not know or has lost it.
    fn without_driver(source: &Source, seen: &Seen, refusal: &Refusal) -> Gpu {
        let absent = &refusal.absent;
        // On a recorded machine nobody was asked, which says nothing about the driver.
        let answered = match absent.reason {
            Reason::NotRecorded | Reason::Timeout | Reason::Denied => Fact(Err(absent.clone())),
            _ => false.into(),
        };
        let lost = refusal.is_lost() || (seen.on_bus && pci::is_dead(source, &seen.pci).unwrap_or(false));
        Gpu::unanswered(source, seen, answered, lost.into(), absent)
    }
}
