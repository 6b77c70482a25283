//! What the driver answers for one GPU.

use super::*;
use crate::knowledge;
use crate::probe::nvml::Work as List;
use crate::probe::source::clipped;
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, InfoRom as InfoRomPart, MemoryError, MemoryLocation, TemperatureSensor, TemperatureThreshold,
};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings as sys;
use nvml_wrapper_sys::bindings::field_id as fi;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// More NVLinks than any GPU has.
const MOST_NVLINKS: u32 = 64;
/// More fans than any GPU has.
const MOST_FANS: u32 = 32;
/// More parts than a GPU can be divided into.
const MOST_MIG_DEVICES: u32 = 64;
/// What no counter reaches. What lies beyond is garbage, mostly all bits set.
const COUNT: RangeInclusive<u64> = 0..=1 << 56;
/// As [`COUNT`], for counters of 32 bits.
const SMALL_COUNT: RangeInclusive<u32> = 0..=u32::MAX - 1;
/// Temperatures that a working sensor can tell, in degrees Celsius.
const TEMPERATURES: RangeInclusive<i64> = 1..=200;
/// Margins to a limit, in degrees.
const MARGINS: RangeInclusive<i64> = -250..=250;
/// Power that a GPU can draw, in mW.
const MILLIWATTS: RangeInclusive<u32> = 0..=20_000_000;
const MEGAHERTZ: RangeInclusive<u32> = 0..=20_000;

/// All that the driver answers for a GPU.
pub(super) fn gpu(source: &Source, library: &Library, users: &Names, seen: &Seen) -> Gpu {
    // Longer than its deadline: that a GPU hangs is for the supervisor to say.
    let device = match library.device(&seen.pci, 2 * GPU_DEADLINE) {
        Ok(device) => device,
        Err(refusal) => return Gpu::without_driver(source, seen, &refusal),
    };
    let asker = Asker { device: &device, lost: RefCell::default() };
    let fields = asker.fields(&DEVICE_FIELDS);
    let name = asker.text(Device::name);
    let virtualization = asker.word(nvml::virtualization, &VIRTUALIZATIONS);
    let gpu = Gpu {
        floors: name.as_ref().map_err(Absent::clone).and_then(|name| floors(name)).into(),
        index: asker.number(Device::index, 0..=1023).into(),
        name: name.into(),
        uuid: asker.text(Device::uuid).into(),
        serial: asker.text(Device::serial).into(),
        minor: asker.number(Device::minor_number, 0..=4095).into(),
        board_part_number: asker.text(Device::board_part_number).into(),
        vbios: asker.text(Device::vbios_version).into(),
        architecture: asker.ask(nvml::architecture).map(architecture).into(),
        compute_capability: asker.ask(Device::cuda_compute_capability).and_then(capability).into(),
        cores: asker.number(Device::num_cores, 1..=10_000_000).into(),
        module_id: asker.number(nvml::module_id, 0..=1023).into(),
        platform: platform(&asker).into(),
        memory_numa_node: asker.number(nvml::memory_numa_node, 0..=65_535).into(),
        addressing_mode: asker.word(nvml::addressing_mode, &ADDRESSING_MODES).into(),
        persistence: asker.switch(nvml::persistence).into(),
        compute_mode: asker.word(nvml::compute_mode, &COMPUTE_MODES).into(),
        performance_state: asker.number(nvml::performance_state, 0..=15).into(),
        virtualization: virtualization.clone().into(),
        licensed: licensed(&asker, &virtualization).into(),
        recovery_action: fields.get(fi::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION).and_then(word(&RECOVERY_ACTIONS)).into(),
        utilization: utilization(&asker).into(),
        memory: memory(&asker).into(),
        memory_bus_bits: asker.number(Device::memory_bus_width, 1..=1_000_000).into(),
        bar1: bar1(&asker).into(),
        ecc: ecc(&asker).into(),
        remapped_rows: remapped_rows(&asker).into(),
        retired_pages: retired_pages(&asker).into(),
        temperature: temperature(&asker, &fields).into(),
        power: power(&asker, &fields).into(),
        clocks: clocks(&asker).into(),
        throttling: throttling(&asker, &fields).into(),
        pcie: pcie(&asker, &fields, source, seen).into(),
        nvlinks: nvlinks(&asker, &fields).into(),
        c2c_links: c2c_links(&asker, &fields).into(),
        fans: fans(&asker).into(),
        fabric: fabric(&asker).into(),
        mig: mig(&asker).into(),
        processes: processes(&asker, source, users).into(),
        inforom: inforom(&asker).into(),
        gsp: gsp(&asker).into(),
        ..Gpu::waiting(source, seen)
    };
    match asker.lost.into_inner() {
        // What it told before it was found to be lost is not to be believed.
        Some(refusal) => Gpu::without_driver(source, seen, &refusal),
        None => Gpu { answered: true.into(), lost: false.into(), ..gpu },
    }
}

/// What is known of a model's speed.
fn floors(name: &str) -> Result<Floors, Absent> {
    let known = knowledge::floors(name).ok_or_else(|| Absent::not_present("nobody is known to have published it"))?;
    let knowledge::Floors { host, peer, all_reduce, source } = known;
    Ok(Floors { host_gbytes: host, peer_gbytes: peer, all_reduce_gbytes: all_reduce, from: source.into() })
}

/// Asks one GPU, until it is found to be lost.
struct Asker<'d> {
    device: &'d Device<'static>,
    lost: RefCell<Option<Refusal>>,
}

impl Asker<'_> {
    fn ask<T>(&self, call: impl FnOnce(&Device<'static>) -> Result<T, NvmlError>) -> Result<T, Absent> {
        // A call to a lost GPU can take long, and tells nothing new.
        if let Some(refusal) = &*self.lost.borrow() {
            return Err(refusal.absent.clone());
        }
        call(self.device).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: NvmlError) -> Absent {
        let refusal = Refusal::from(error);
        let absent = refusal.absent.clone();
        if refusal.is_lost() {
            self.lost.replace(Some(refusal));
        }
        absent
    }

    /// A number that can be true; what cannot is absent, and named.
    fn number<T: PartialOrd + Display>(
        &self,
        call: impl FnOnce(&Device<'static>) -> Result<T, NvmlError>,
        range: RangeInclusive<T>,
    ) -> Result<T, Absent> {
        self.ask(call).and_then(within(range))
    }

    fn text(&self, call: impl FnOnce(&Device<'static>) -> Result<String, NvmlError>) -> Result<String, Absent> {
        match self.ask(call)?.trim() {
            "" | "N/A" | "[N/A]" => Err(Absent::not_supported("NVML gave no text")),
            text if text.chars().any(char::is_control) => {
                Err(Absent::failed(format!("NVML gave \"{}\"", clipped(&text.escape_debug().to_string()))))
            }
            text => Ok(text.to_string()),
        }
    }

    /// Something that is on or off.
    fn switch(&self, call: impl FnOnce(&Device<'static>) -> Result<u32, NvmlError>) -> Result<bool, Absent> {
        self.ask(call).and_then(|value| switch(value.into()))
    }

    fn word<W: Copy>(
        &self,
        call: impl FnOnce(&Device<'static>) -> Result<u32, NvmlError>,
        words: &[W],
    ) -> Result<W, Absent> {
        self.ask(call).and_then(|value| word(words)(value.into()))
    }

    /// Values of fields, in one call.
    fn fields(&self, ids: &[u32]) -> Fields {
        self.scoped_fields(ids, 0)
    }

    /// Values of fields that are about one link.
    fn scoped_fields(&self, ids: &[u32], scope: u32) -> Fields {
        let asked: Vec<(u32, u32)> = ids.iter().map(|id| (*id, scope)).collect();
        let values = self.ask(|device| nvml::field_values(device, &asked)).map(|values| {
            let values = values.into_iter().map(|value| value.map_err(|error| self.refused(error)));
            ids.iter().copied().zip(values).collect()
        });
        Fields(values)
    }
}

/// Values of fields, by their ids; or why there are none.
struct Fields(Result<BTreeMap<u32, Result<i128, Absent>>, Absent>);

impl Fields {
    fn get(&self, id: u32) -> Result<i128, Absent> {
        let values = self.0.as_ref().map_err(Clone::clone)?;
        values.get(&id).cloned().unwrap_or_else(|| Err(Absent::failed("was not asked for")))
    }

    fn number<T>(&self, id: u32, range: RangeInclusive<T>) -> Result<T, Absent>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let value = self.get(id)?;
        T::try_from(value).map_err(|_| absurd(value)).and_then(within(range))
    }

    fn count(&self, id: u32) -> Fact<u64> {
        self.number(id, COUNT).into()
    }

    /// A time that NVML gives in nanoseconds, in seconds.
    fn seconds(&self, id: u32) -> Fact<f64> {
        self.number(id, COUNT).map(|nanoseconds| nanoseconds as f64 / 1e9).into()
    }
}

fn absurd(value: impl Display) -> Absent {
    Absent::failed(format!("NVML gave {value}, which cannot be"))
}

/// Whether a virtual GPU is licensed: of what a licence can unlock, its own kind is unlocked. GPUs that need none are not
/// asked.
fn licensed(asker: &Asker, virtualization: &Result<Virtualization, Absent>) -> Result<bool, Absent> {
    match virtualization {
        Ok(Virtualization::Vgpu) => {}
        Ok(_) => return Err(Absent::not_supported("it is no virtual GPU")),
        Err(absent) => return Err(absent.clone()),
    }
    let features = asker.ask(nvml::licensable_features)?;
    if features.isGridLicenseSupported == 0 || features.licensableFeaturesCount == 0 {
        return Err(Absent::not_supported("it needs no licence"));
    }
    let count = usize::try_from(features.licensableFeaturesCount).unwrap_or(usize::MAX);
    Ok(features.gridLicensableFeatures.iter().take(count).any(|feature| feature.featureState != 0))
}

fn within<T: PartialOrd + Display>(range: RangeInclusive<T>) -> impl FnOnce(T) -> Result<T, Absent> {
    move |value| if range.contains(&value) { Ok(value) } else { Err(absurd(value)) }
}

fn switch(value: i128) -> Result<bool, Absent> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(absurd(other)),
    }
}

/// The word at the place that NVML numbers.
fn word<W: Copy>(words: &[W]) -> impl FnOnce(i128) -> Result<W, Absent> {
    move |value| {
        let word = usize::try_from(value).ok().and_then(|place| words.get(place)).copied();
        word.ok_or_else(|| Absent::failed(format!("NVML gave {value}, which this version of Punchlist does not know")))
    }
}

/// In the order of nvml.h, as all lists of words here.
const ADDRESSING_MODES: [AddressingMode; 3] = [AddressingMode::None, AddressingMode::Hmm, AddressingMode::Ats];
const COMPUTE_MODES: [ComputeMode; 4] =
    [ComputeMode::Default, ComputeMode::ExclusiveThread, ComputeMode::Prohibited, ComputeMode::ExclusiveProcess];
const VIRTUALIZATIONS: [Virtualization; 5] = [
    Virtualization::None,
    Virtualization::Passthrough,
    Virtualization::Vgpu,
    Virtualization::HostVgpu,
    Virtualization::HostVsga,
];
const RECOVERY_ACTIONS: [RecoveryAction; 6] = [
    RecoveryAction::None,
    RecoveryAction::Reset,
    RecoveryAction::Reboot,
    RecoveryAction::DrainP2p,
    RecoveryAction::DrainAndReset,
    RecoveryAction::Imex,
];
const REMOTE_KINDS: [RemoteKind; 3] = [RemoteKind::Gpu, RemoteKind::Cpu, RemoteKind::Switch];
const MISCONFIGURATIONS: [Misconfiguration; 5] = [
    Misconfiguration::None,
    Misconfiguration::SystemGuid,
    Misconfiguration::ChassisSerial,
    Misconfiguration::NoPartition,
    Misconfiguration::InsufficientNvlinks,
];
const FABRIC_HEALTH: [FabricHealth; 3] =
    [FabricHealth::Healthy, FabricHealth::Unhealthy, FabricHealth::LimitedCapacity];

/// The fields that are asked for at once.
const DEVICE_FIELDS: [u32; 33] = [
    fi::NVML_FI_DEV_C2C_LINK_COUNT,
    fi::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,
    fi::NVML_FI_DEV_MEMORY_TEMP,
    fi::NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT,
    fi::NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT,
    fi::NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT,
    fi::NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT,
    fi::NVML_FI_DEV_POWER_AVERAGE,
    fi::NVML_FI_DEV_POWER_INSTANT,
    fi::NVML_FI_DEV_PERF_POLICY_POWER,
    fi::NVML_FI_DEV_PERF_POLICY_THERMAL,
    fi::NVML_FI_DEV_PERF_POLICY_SYNC_BOOST,
    fi::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT,
    fi::NVML_FI_DEV_PERF_POLICY_RELIABILITY,
    fi::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN,
    fi::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
    fi::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
    fi::NVML_FI_DEV_PCIE_REPLAY_COUNTER,
    fi::NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER,
    fi::NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER,
    fi::NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS,
    fi::NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED,
    fi::NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR,
    fi::NVML_FI_DEV_PCIE_COUNT_BAD_TLP,
    fi::NVML_FI_DEV_PCIE_COUNT_NAKS_SENT,
    fi::NVML_FI_DEV_PCIE_COUNT_BAD_DLLP,
    fi::NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR,
    fi::NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR,
    fi::NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ,
    fi::NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR,
    fi::NVML_FI_DEV_PCIE_COUNT_LANE_ERROR,
    fi::NVML_FI_DEV_NVLINK_LINK_COUNT,
    fi::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
];

fn architecture(number: u32) -> String {
    let names = ["kepler", "maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell"];
    let name = usize::try_from(number).ok().and_then(|number| names.get(number.checked_sub(2)?));
    name.map_or_else(|| number.to_string(), ToString::to_string)
}

fn capability(capability: nvml_wrapper::structs::device::CudaComputeCapability) -> Result<String, Absent> {
    let text = format!("{}.{}", capability.major, capability.minor);
    let sane = (1..1000).contains(&capability.major) && (0..1000).contains(&capability.minor);
    if sane { Ok(text) } else { Err(absurd(text)) }
}

fn platform(asker: &Asker) -> Result<Platform, Absent> {
    let info = asker.ask(nvml::platform_info)?;
    // What belongs to no rack has numbers too, which nvidia-smi does not show either.
    if info.ibGuid.iter().chain(&info.chassisSerialNumber).all(|byte| *byte == 0) {
        return Err(Absent::not_supported("the GPU is in no rack that tells its place"));
    }
    let number = |number: u8| Fact(if number == u8::MAX { Err(absurd(number)) } else { Ok(number.into()) });
    let serial: Vec<u8> = info.chassisSerialNumber.iter().copied().take_while(|byte| *byte != 0).collect();
    let serial = match String::from_utf8(serial) {
        Ok(serial) if serial.trim().is_empty() => Err(Absent::not_supported("NVML gave no text")),
        Ok(serial) => Ok(serial.trim().to_string()),
        Err(_) => Err(Absent::failed("NVML gave a text that is not UTF-8")),
    };
    Ok(Platform {
        chassis_serial: serial.into(),
        slot: number(info.slotNumber),
        tray: number(info.trayIndex),
        host: number(info.hostId),
        module: number(info.moduleId),
        guid: hex(&info.ibGuid).into(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn utilization(asker: &Asker) -> Result<Utilization, Absent> {
    let rates = asker.ask(Device::utilization_rates)?;
    Ok(Utilization {
        gpu_percent: within(0..=100)(rates.gpu).into(),
        memory_percent: within(0..=100)(rates.memory).into(),
    })
}

fn memory(asker: &Asker) -> Result<Memory, Absent> {
    let bytes = |bytes: u64| -> Fact<u64> { within(COUNT)(bytes).into() };
    match asker.ask(Device::memory_info) {
        Ok(memory) => Ok(Memory {
            total_bytes: within(1..=*COUNT.end())(memory.total).into(),
            used_bytes: bytes(memory.used),
            free_bytes: bytes(memory.free),
            reserved_bytes: bytes(memory.reserved),
        }),
        Err(absent) if absent.reason == Reason::NotSupported => {
            let memory = asker.ask(nvml::memory_v1)?;
            Ok(Memory {
                total_bytes: within(1..=*COUNT.end())(memory.total).into(),
                used_bytes: bytes(memory.used),
                free_bytes: bytes(memory.free),
                reserved_bytes: Fact(Err(absent)),
            })
        }
        Err(absent) => Err(absent),
    }
}

fn bar1(asker: &Asker) -> Result<Bar1, Absent> {
    let bar1 = asker.ask(Device::bar1_memory_info)?;
    Ok(Bar1 {
        total_bytes: within(COUNT)(bar1.total).into(),
        used_bytes: within(COUNT)(bar1.used).into(),
        free_bytes: within(COUNT)(bar1.free).into(),
    })
}

fn ecc(asker: &Asker) -> Result<Ecc, Absent> {
    let mode = asker.ask(nvml::ecc_mode);
    let volatile = ecc_counts(asker, EccCounter::Volatile);
    // Models that count nothing since the start count nothing in their lifetime.
    let aggregate = match &volatile {
        Err(absent) if absent.reason == Reason::NotSupported => Err(absent.clone()),
        _ => ecc_counts(asker, EccCounter::Aggregate),
    };
    Ok(Ecc {
        enabled: mode.clone().and_then(|(now, _)| switch(now.into())).into(),
        enabled_after_reboot: mode.and_then(|(_, pending)| switch(pending.into())).into(),
        volatile: volatile.into(),
        aggregate: aggregate.into(),
        sram: sram(asker).into(),
    })
}

fn ecc_counts(asker: &Asker, since: EccCounter) -> Result<EccCounts, Absent> {
    let total = |error: MemoryError| asker.number(|device| device.total_ecc_errors(error, since), COUNT);
    let uncorrectable = match total(MemoryError::Uncorrected) {
        Err(absent) if absent.reason == Reason::NotSupported => return Err(absent),
        uncorrectable => uncorrectable,
    };
    let at = |place: MemoryLocation| -> Fact<EccPair> {
        let count = |error: MemoryError| asker.number(|device| device.memory_error_counter(error, since, place), COUNT);
        match (count(MemoryError::Corrected), count(MemoryError::Uncorrected)) {
            (Err(absent), Err(_)) => Fact(Err(absent)),
            (correctable, uncorrectable) => {
                EccPair { correctable: correctable.into(), uncorrectable: uncorrectable.into() }.into()
            }
        }
    };
    Ok(EccCounts {
        correctable: total(MemoryError::Corrected).into(),
        uncorrectable: uncorrectable.into(),
        device_memory: at(MemoryLocation::Device),
        sram: at(MemoryLocation::SRAM),
        l1_cache: at(MemoryLocation::L1Cache),
        l2_cache: at(MemoryLocation::L2Cache),
        register_file: at(MemoryLocation::RegisterFile),
        texture: at(MemoryLocation::Texture),
        shared_memory: at(MemoryLocation::Shared),
        cbu: at(MemoryLocation::Cbu),
    })
}

fn sram(asker: &Asker) -> Result<Sram, Absent> {
    let status = asker.ask(nvml::sram_errors)?;
    let count = |count: u64| -> Fact<u64> { within(COUNT)(count).into() };
    Ok(Sram {
        threshold_exceeded: status.bThresholdExceeded != 0,
        volatile_correctable: count(status.volatileCor),
        volatile_parity: count(status.volatileUncParity),
        volatile_uncorrectable: count(status.volatileUncSecDed),
        aggregate_correctable: count(status.aggregateCor),
        aggregate_parity: count(status.aggregateUncParity),
        aggregate_uncorrectable: count(status.aggregateUncSecDed),
        l2: count(status.aggregateUncBucketL2),
        sm: count(status.aggregateUncBucketSm),
        pcie: count(status.aggregateUncBucketPcie),
        microcontroller: count(status.aggregateUncBucketMcu),
        other: count(status.aggregateUncBucketOther),
    })
}

fn remapped_rows(asker: &Asker) -> Result<RemappedRows, Absent> {
    let (correctable, uncorrectable, pending, failed) = asker.ask(nvml::remapped_rows)?;
    let repair = asker.ask(nvml::repair_status);
    Ok(RemappedRows {
        correctable: within(SMALL_COUNT)(correctable).into(),
        uncorrectable: within(SMALL_COUNT)(uncorrectable).into(),
        pending: pending.into(),
        failed: failed.into(),
        banks: asker.ask(nvml::row_histogram).map(banks).into(),
        unrepairable: asker.ask(nvml::unrepairable_memory).into(),
        channel_repair_pending: repair.clone().map(|repair| repair.bChannelRepairPending != 0).into(),
        tpc_repair_pending: repair.map(|repair| repair.bTpcRepairPending != 0).into(),
    })
}

fn banks(histogram: sys::nvmlRowRemapperHistogramValues_t) -> Banks {
    let count = |count: u32| -> Fact<u32> { within(SMALL_COUNT)(count).into() };
    Banks {
        max: count(histogram.max),
        high: count(histogram.high),
        partial: count(histogram.partial),
        low: count(histogram.low),
        none: count(histogram.none),
    }
}

fn retired_pages(asker: &Asker) -> Result<RetiredPages, Absent> {
    let pages = |cause| asker.number(|device| nvml::retired_pages(device, cause), SMALL_COUNT);
    let correctable =
        pages(sys::nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS);
    let correctable = match correctable {
        Err(absent) if absent.reason == Reason::NotSupported => return Err(absent),
        correctable => correctable,
    };
    Ok(RetiredPages {
        correctable: correctable.into(),
        uncorrectable: pages(sys::nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR).into(),
        pending: asker.switch(nvml::retirement_pending).into(),
    })
}

fn temperature(asker: &Asker, fields: &Fields) -> Result<Temperature, Absent> {
    let limit = |limit: TemperatureThreshold| -> Fact<i64> {
        asker.number(|device| device.temperature_threshold(limit).map(i64::from), TEMPERATURES).into()
    };
    let margin = |id: u32| -> Fact<i64> { fields.number(id, MARGINS).into() };
    let gpu = asker.number(|device| device.temperature(TemperatureSensor::Gpu).map(i64::from), TEMPERATURES);
    let (slowdown, gpu_max) = (limit(TemperatureThreshold::Slowdown), limit(TemperatureThreshold::GpuMax));
    let left = match asker.number(|device| nvml::temperature_margin(device).map(i64::from), MARGINS) {
        Err(absent) if absent.reason == Reason::NotSupported => match (&gpu, gpu_max.value().or(slowdown.value())) {
            (Ok(gpu), Some(limit)) => Ok(limit - gpu),
            (Err(absent), Some(_)) => Err(absent.clone()),
            (_, None) => Err(absent),
        },
        told => told,
    };
    Ok(Temperature {
        gpu_c: gpu.into(),
        // Memory without a sensor reads as 0.
        memory_c: fields.number(fi::NVML_FI_DEV_MEMORY_TEMP, TEMPERATURES).into(),
        margin_c: left.into(),
        shutdown_c: limit(TemperatureThreshold::Shutdown),
        slowdown_c: slowdown,
        gpu_max_c: gpu_max,
        memory_max_c: limit(TemperatureThreshold::MemoryMax),
        shutdown_margin_c: margin(fi::NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT),
        slowdown_margin_c: margin(fi::NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT),
        gpu_max_margin_c: margin(fi::NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT),
        memory_max_margin_c: margin(fi::NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT),
    })
}

fn power(asker: &Asker, fields: &Fields) -> Result<Power, Absent> {
    let watts = |milliwatts: u32| f64::from(milliwatts) / 1000.0;
    let asked = |call: fn(&Device<'static>) -> Result<u32, NvmlError>| -> Fact<f64> {
        asker.number(call, MILLIWATTS).map(watts).into()
    };
    let field = |id: u32| -> Fact<f64> { fields.number(id, MILLIWATTS).map(watts).into() };
    let limits = asker.ask(Device::power_management_limit_constraints);
    let limit = |limit: Result<u32, Absent>| -> Fact<f64> { limit.and_then(within(MILLIWATTS)).map(watts).into() };
    Ok(Power {
        draw_w: asked(Device::power_usage),
        instant_w: field(fi::NVML_FI_DEV_POWER_INSTANT),
        average_w: field(fi::NVML_FI_DEV_POWER_AVERAGE),
        limit_w: asked(Device::power_management_limit),
        enforced_limit_w: asked(Device::enforced_power_limit),
        default_limit_w: asked(Device::power_management_limit_default),
        min_limit_w: limit(limits.clone().map(|limits| limits.min_limit)),
        max_limit_w: limit(limits.map(|limits| limits.max_limit)),
        energy_j: fields
            .number(fi::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, COUNT)
            .map(|millijoules| millijoules as f64 / 1000.0)
            .into(),
    })
}

fn clocks(asker: &Asker) -> Result<Clocks, Absent> {
    let now = |clock: Clock| -> Fact<u32> { asker.number(|device| device.clock_info(clock), MEGAHERTZ).into() };
    let max = |clock: Clock| -> Fact<u32> { asker.number(|device| device.max_clock_info(clock), MEGAHERTZ).into() };
    let set = |clock: Clock| -> Fact<u32> { asker.number(|device| device.applications_clock(clock), MEGAHERTZ).into() };
    Ok(Clocks {
        graphics_mhz: now(Clock::Graphics),
        sm_mhz: now(Clock::SM),
        memory_mhz: now(Clock::Memory),
        video_mhz: now(Clock::Video),
        max_graphics_mhz: max(Clock::Graphics),
        max_sm_mhz: max(Clock::SM),
        max_memory_mhz: max(Clock::Memory),
        max_video_mhz: max(Clock::Video),
        application_graphics_mhz: set(Clock::Graphics),
        application_memory_mhz: set(Clock::Memory),
    })
}

/// By bit.
const REASONS: [&str; 9] = [
    "gpu_idle",
    "application_clocks",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake",
    "display_clock",
];

fn throttling(asker: &Asker, fields: &Fields) -> Result<Throttling, Absent> {
    let reasons = |bits: u64| -> Vec<String> {
        let name = |bit: usize| REASONS.get(bit).map_or_else(|| format!("bit {bit}"), ToString::to_string);
        (0..64).filter(|bit| bits & (1 << bit) != 0).map(name).collect()
    };
    Ok(Throttling {
        reasons: asker.number(nvml::clock_event_reasons, COUNT).map(reasons).into(),
        power_cap_seconds: fields.seconds(fi::NVML_FI_DEV_PERF_POLICY_POWER),
        thermal_seconds: fields.seconds(fi::NVML_FI_DEV_PERF_POLICY_THERMAL),
        sw_thermal_seconds: fields.seconds(fi::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN),
        hw_thermal_seconds: fields.seconds(fi::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN),
        hw_power_brake_seconds: fields.seconds(fi::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN),
        sync_boost_seconds: fields.seconds(fi::NVML_FI_DEV_PERF_POLICY_SYNC_BOOST),
        board_limit_seconds: fields.seconds(fi::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT),
        reliability_seconds: fields.seconds(fi::NVML_FI_DEV_PERF_POLICY_RELIABILITY),
    })
}

fn pcie(asker: &Asker, fields: &Fields, source: &Source, seen: &Seen) -> Result<Pcie, Absent> {
    let generation =
        |call: fn(&Device<'static>) -> Result<u32, NvmlError>| -> Fact<u32> { asker.number(call, 1..=9).into() };
    let width =
        |call: fn(&Device<'static>) -> Result<u32, NvmlError>| -> Fact<u32> { asker.number(call, 1..=64).into() };
    let (slot_speed, slot_width) = pci::slot(source, &seen.pci);
    Ok(Pcie {
        generation: generation(Device::current_pcie_link_gen),
        max_generation: generation(Device::max_pcie_link_gen),
        gpu_max_generation: generation(|device| nvml::own_pcie_generation(device)),
        slot_max_generation: slot_speed.and_then(generation_of).into(),
        width: width(Device::current_pcie_link_width),
        max_width: width(Device::max_pcie_link_width),
        slot_max_width: slot_width.into(),
        replays: fields.count(fi::NVML_FI_DEV_PCIE_REPLAY_COUNTER),
        replay_rollovers: fields.count(fi::NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER),
        recoveries: fields.count(fi::NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER),
        correctable_errors: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS),
        non_fatal_errors: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR),
        fatal_errors: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR),
        unsupported_requests: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ),
        naks_received: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED),
        naks_sent: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_NAKS_SENT),
        receiver_errors: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR),
        bad_tlps: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_BAD_TLP),
        bad_dllps: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_BAD_DLLP),
        lcrc_errors: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR),
        lane_errors: fields.count(fi::NVML_FI_DEV_PCIE_COUNT_LANE_ERROR),
    })
}

/// The PCIe generation of a speed in GT/s, which doubled each time.
fn generation_of(gts: f64) -> Result<u32, Absent> {
    let speeds = [2.5, 5.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    let place = speeds.iter().position(|speed| *speed == gts);
    place.map(|place| place as u32 + 1).ok_or_else(|| Absent::failed(format!("{gts} GT/s is no speed of PCIe")))
}

/// The fields that are asked of each link.
const C2C_FIELDS: [u32; 4] = [
    fi::NVML_FI_DEV_C2C_LINK_GET_STATUS,
    fi::NVML_FI_DEV_C2C_LINK_GET_MAX_BW,
    fi::NVML_FI_DEV_C2C_LINK_ERROR_INTR,
    fi::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY,
];

const LINK_FIELDS: [u32; 14] = [
    fi::NVML_FI_DEV_NVLINK_GET_SPEED,
    fi::NVML_FI_DEV_NVLINK_GET_VERSION,
    fi::NVML_FI_DEV_NVLINK_REMOTE_NVLINK_ID,
    fi::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY,
    fi::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY,
    fi::NVML_FI_DEV_NVLINK_ERROR_DL_CRC,
    fi::NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS,
    fi::NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS,
    fi::NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS,
    fi::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS,
    fi::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER,
    fi::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS,
    fi::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_BER,
    fi::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS,
];

fn nvlinks(asker: &Asker, fields: &Fields) -> Result<Vec<NvLink>, Absent> {
    let none = || Absent::not_supported("this GPU has no NVLinks");
    // Where NVML does not count them, the first that it does not know is past the last one.
    let counted = fields.number(fi::NVML_FI_DEV_NVLINK_LINK_COUNT, 0..=MOST_NVLINKS);
    let count = match &counted {
        Ok(0) => return Err(none()),
        Ok(count) => *count,
        Err(absent) if absent.reason.does_not_apply() => sys::NVML_NVLINK_MAX_LINKS,
        Err(absent) => return Err(absent.clone()),
    };
    let mut links = Vec::new();
    for index in 0..count {
        match asker.switch(|device| nvml::nvlink_state(device, index)) {
            Err(absent) if counted.is_err() && index == 0 && absent.reason == Reason::NotSupported => {
                return Err(none());
            }
            Err(_) if counted.is_err() => break,
            active => links.push(nvlink(asker, index, active)),
        }
    }
    Ok(links)
}

fn nvlink(asker: &Asker, index: u32, active: Result<bool, Absent>) -> NvLink {
    let fields = asker.scoped_fields(&LINK_FIELDS, index);
    let kind = asker.ask(|device| nvml::nvlink_remote_kind(device, index)).and_then(|kind| match kind {
        255 => Ok(RemoteKind::Unknown),
        kind => word(&REMOTE_KINDS)(kind.into()),
    });
    // A link without another end reads as this address.
    let remote = asker.ask(|device| nvml::nvlink_remote_pci(device, index)).and_then(|pci| match pci.as_str() {
        "ffff:ff:ff.0" | "ffffffff:ff:ff.0" | "0000:00:00.0" => Err(Absent::not_present("nothing is at the other end")),
        _ => Ok(pci),
    });
    NvLink {
        index,
        active: active.into(),
        speed_gbytes: fields
            .number(fi::NVML_FI_DEV_NVLINK_GET_SPEED, 0..=10_000_000_u32)
            .map(|megabytes| f64::from(megabytes) / 1000.0)
            .into(),
        version: fields.number(fi::NVML_FI_DEV_NVLINK_GET_VERSION, 1..=100).into(),
        remote_kind: kind.into(),
        remote_pci: remote.into(),
        remote_index: fields.number(fi::NVML_FI_DEV_NVLINK_REMOTE_NVLINK_ID, 0..=1023).into(),
        replays: fields.count(fi::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY),
        recoveries: fields.count(fi::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY),
        crc_errors: fields.count(fi::NVML_FI_DEV_NVLINK_ERROR_DL_CRC),
        quality: quality(&fields).into(),
    }
}

fn c2c_links(asker: &Asker, fields: &Fields) -> Result<Vec<C2cLink>, Absent> {
    match fields.number(fi::NVML_FI_DEV_C2C_LINK_COUNT, 0..=MOST_NVLINKS)? {
        0 => Err(Absent::not_supported("this GPU has no C2C links")),
        count => Ok((0..count).map(|index| c2c_link(asker, index)).collect()),
    }
}

fn c2c_link(asker: &Asker, index: u32) -> C2cLink {
    let fields = asker.scoped_fields(&C2C_FIELDS, index);
    C2cLink {
        index,
        active: fields.get(fi::NVML_FI_DEV_C2C_LINK_GET_STATUS).and_then(switch).into(),
        speed_gbytes: fields
            .number(fi::NVML_FI_DEV_C2C_LINK_GET_MAX_BW, 0..=10_000_000_u32)
            .map(|megabytes| f64::from(megabytes) / 1000.0)
            .into(),
        interrupts: fields.count(fi::NVML_FI_DEV_C2C_LINK_ERROR_INTR),
        replays: fields.count(fi::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY),
    }
}

fn fans(asker: &Asker) -> Result<Vec<Fan>, Absent> {
    match asker.number(Device::num_fans, 0..=MOST_FANS)? {
        0 => Err(Absent::not_supported("this GPU has no fan of its own")),
        count => Ok((0..count)
            .map(|index| Fan {
                index,
                speed_percent: asker.number(|device| device.fan_speed(index), 0..=200).into(),
                rpm: asker.number(|device| device.fan_speed_rpm(index), 0..=100_000).into(),
            })
            .collect()),
    }
}

fn quality(fields: &Fields) -> Result<LinkQuality, Absent> {
    let bit_error_rate = |id: u32| -> Fact<f64> { fields.number(id, 0..=i64::MAX).map(bit_error_rate).into() };
    let quality = LinkQuality {
        receive_errors: fields.count(fi::NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS),
        malformed_packets: fields.count(fi::NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS),
        integrity_errors: fields.count(fi::NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS),
        failed_recoveries: fields.count(fi::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS),
        effective_errors: fields.count(fi::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS),
        effective_bit_error_rate: bit_error_rate(fi::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER),
        symbol_errors: fields.count(fi::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS),
        symbol_bit_error_rate: bit_error_rate(fi::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_BER),
    };
    // Older links have none of it, which need not be said eight times for each.
    match (&quality.receive_errors.0, &quality.effective_errors.0, &quality.symbol_errors.0) {
        (Err(absent), Err(_), Err(_)) if absent.reason == Reason::NotSupported => Err(absent.clone()),
        _ => Ok(quality),
    }
}

/// NVML packs a rate into a decimal mantissa and a negative exponent (`NVML_NVLINK_BER_…`).
fn bit_error_rate(packed: i64) -> f64 {
    let part = |shift: u32, mask: u32| (packed >> shift) & i64::from(mask);
    let mantissa = part(sys::NVML_NVLINK_BER_MANTISSA_SHIFT, sys::NVML_NVLINK_BER_MANTISSA_WIDTH);
    let exponent = part(sys::NVML_NVLINK_BER_EXP_SHIFT, sys::NVML_NVLINK_BER_EXP_WIDTH);
    mantissa as f64 * 10f64.powi(-(exponent as i32))
}

fn fabric(asker: &Asker) -> Result<Fabric, Absent> {
    let info = asker.ask(nvml::fabric)?;
    let none = || Absent::not_supported("this GPU is in no NVLink fabric");
    let state = match u32::from(info.state) {
        sys::NVML_GPU_FABRIC_STATE_NOT_SUPPORTED => return Err(none()),
        sys::NVML_GPU_FABRIC_STATE_NOT_STARTED => Ok(FabricState::NotStarted),
        sys::NVML_GPU_FABRIC_STATE_IN_PROGRESS => Ok(FabricState::InProgress),
        sys::NVML_GPU_FABRIC_STATE_COMPLETED => Ok(FabricState::Completed),
        other => Err(absurd(other)),
    };
    let unwatched = || Absent::not_supported("nobody watches it");
    let part = |shift: u32, mask: u32| (info.healthMask >> shift) & mask;
    let flag = |shift: u32| {
        Fact(match part(shift, sys::NVML_GPU_FABRIC_HEALTH_MASK_WIDTH_DEGRADED_BW) {
            0 => Err(unwatched()),
            1 => Ok(true),
            2 => Ok(false),
            other => Err(absurd(other)),
        })
    };
    // These two lists begin at 1: 0 is what nobody watches.
    fn from_one<W: Copy>(value: u32, words: &[W], unwatched: Absent) -> Fact<W> {
        Fact(value.checked_sub(1).ok_or(unwatched).and_then(|value| word(words)(value.into())))
    }
    let misconfiguration = part(
        sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_INCORRECT_CONFIGURATION,
        sys::NVML_GPU_FABRIC_HEALTH_MASK_WIDTH_INCORRECT_CONFIGURATION,
    );
    Ok(Fabric {
        state: state.into(),
        status: info.status.into(),
        clique_id: info.cliqueId.into(),
        cluster_uuid: uuid(&info.clusterUuid).into(),
        degraded_bandwidth: flag(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW),
        route_recovery: flag(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_RECOVERY),
        route_unhealthy: flag(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_UNHEALTHY),
        access_timeout_recovery: flag(sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ACCESS_TIMEOUT_RECOVERY),
        misconfiguration: from_one(misconfiguration, &MISCONFIGURATIONS, unwatched()),
        health: from_one(info.healthSummary.into(), &FABRIC_HEALTH, unwatched()),
    })
}

fn uuid(bytes: &[u8; 16]) -> String {
    let digits = hex(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn mig(asker: &Asker) -> Result<Mig, Absent> {
    let mode = asker.ask(Device::mig_mode)?;
    let enabled = switch(mode.current.into());
    let devices = match &enabled {
        Ok(true) => mig_devices(asker),
        Ok(false) => Err(Absent::not_supported("the GPU is not divided")),
        Err(absent) => Err(absent.clone()),
    };
    Ok(Mig {
        enabled: enabled.into(),
        enabled_after_reset: switch(mode.pending.into()).into(),
        devices: devices.into(),
    })
}

fn mig_devices(asker: &Asker) -> Result<Vec<MigDevice>, Absent> {
    // How many there can be; those that there are need not come first.
    let most = asker.number(Device::mig_device_count, 0..=MOST_MIG_DEVICES)?;
    let mut devices = Vec::new();
    for index in 0..most {
        let device = match asker.ask(|device| device.mig_device_by_index(index)) {
            Ok(device) => device,
            Err(absent) if absent.reason.does_not_apply() => continue,
            Err(absent) => return Err(absent),
        };
        let part = Asker { device: &device, lost: RefCell::default() };
        let memory = memory(&part);
        devices.push(MigDevice {
            index,
            uuid: part.text(Device::uuid).into(),
            gpu_instance: part.number(nvml::gpu_instance, 0..=1023).into(),
            compute_instance: part.number(nvml::compute_instance, 0..=1023).into(),
            memory_total_bytes: memory
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|memory| memory.total_bytes.0.clone())
                .into(),
            memory_used_bytes: memory.and_then(|memory| memory.used_bytes.0).into(),
        });
    }
    Ok(devices)
}

fn processes(asker: &Asker, source: &Source, users: &Names) -> Result<Vec<GpuProcess>, Absent> {
    let mut processes: Vec<GpuProcess> = Vec::new();
    let mut add = |list: List, work: Work| -> Result<(), Absent> {
        for info in asker.ask(|device| nvml::processes(device, list))? {
            // One that shares a GPU may be on two lists.
            if processes.iter().all(|known| known.pid != info.pid) {
                processes.push(process(source, users, work, info.pid, info.usedGpuMemory));
            }
        }
        Ok(())
    };
    add(List::Mps, Work::Mps).or_else(unless_supported)?;
    add(List::Compute, Work::Compute)?;
    add(List::Graphics, Work::Graphics).or_else(unless_supported)?;
    Ok(processes)
}

/// A list that a model or driver does not have is empty.
fn unless_supported(absent: Absent) -> Result<(), Absent> {
    if absent.reason == Reason::NotSupported { Ok(()) } else { Err(absent) }
}

fn process(source: &Source, users: &Names, work: Work, pid: u32, memory: u64) -> GpuProcess {
    let memory = match memory {
        // NVML_VALUE_NOT_AVAILABLE
        u64::MAX => Err(Absent::not_supported("the driver does not tell")),
        bytes => within(COUNT)(bytes),
    };
    let status = source.text(&format!("/proc/{pid}/status")).map_err(|absent| match absent.reason {
        // /proc may hide the processes of others (hidepid), and then the first one too.
        Reason::NotPresent if !source.exists("/proc/1") => Absent::denied("/proc shows only one's own processes"),
        Reason::NotPresent => Absent::not_present("the process does not exist"),
        _ => absent,
    });
    let field = |name: &str| {
        let status = status.as_ref().map_err(Clone::clone)?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).ok_or_else(|| Absent::failed(format!("/proc/{pid}/status has no {name}")))
    };
    let user = field("Uid").and_then(|ids| {
        let id = ids.split_whitespace().next().and_then(|id| id.parse().ok());
        id.ok_or_else(|| Absent::failed(format!("/proc/{pid}/status: expected numbers, found \"{}\"", clipped(ids))))
    });
    GpuProcess {
        pid,
        work,
        memory_bytes: memory.into(),
        exists: match &status {
            Ok(_) => Ok(true),
            Err(absent) if absent.reason == Reason::NotPresent => Ok(false),
            Err(absent) => Err(absent.clone()),
        }
        .into(),
        name: field("Name").map(str::to_string).into(),
        user: user.map(|id| users.get(id)).into(),
    }
}

fn inforom(asker: &Asker) -> Result<InfoRom, Absent> {
    let version = |part: InfoRomPart| -> Fact<String> { asker.text(|device| device.info_rom_version(part)).into() };
    let valid = match asker.ask(|device| Ok(device.validate_info_rom())) {
        Ok(Ok(())) => Ok(true),
        Ok(Err(NvmlError::CorruptedInfoROM)) => Ok(false),
        Ok(Err(error)) => Err(asker.refused(error)),
        Err(absent) => Err(absent),
    };
    Ok(InfoRom {
        valid: valid.into(),
        image_version: asker.text(Device::info_rom_image_version).into(),
        oem_version: version(InfoRomPart::OEM),
        ecc_version: version(InfoRomPart::ECC),
        power_version: version(InfoRomPart::Power),
    })
}

fn gsp(asker: &Asker) -> Result<Gsp, Absent> {
    let enabled = asker.ask(Device::gsp_firmware_mode).map(|mode| mode.enabled);
    Ok(Gsp { enabled: enabled.into(), version: asker.text(Device::gsp_firmware_version).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_bit_error_rate_is_unpacked() {
        assert_eq!(bit_error_rate(0x0f_fe), 15.0 * 10f64.powi(-254));
        assert_eq!(bit_error_rate(0x05_0c), 5e-12);
        assert_eq!(bit_error_rate(0), 0.0);
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        assert_eq!(within(1..=200)(0), Err(Absent::failed("NVML gave 0, which cannot be")));
        assert_eq!(within(COUNT)(u64::MAX).unwrap_err().detail, "NVML gave 18446744073709551615, which cannot be");
        assert!(switch(2).is_err());
        assert!(word(&ADDRESSING_MODES)(-1).is_err());
        assert_eq!(architecture(9), "hopper");
        assert_eq!(architecture(13), "13");
        assert_eq!(generation_of(32.0), Ok(5));
        assert!(generation_of(7.0).is_err());
    }
}
