//! A stand-in for the library of the NVIDIA driver (NVML): it answers from a YAML description of a machine, which the
//! environment variable `PUNCHLIST_NVML_STAND_IN` names.
//!
//! ```yaml
//! machine: h100x8                       # a machine of src/machines/ to begin with; may be left out
//! count: 7                              # what nvmlDeviceGetCount_v2 gives, if not the number of GPUs
//! log: calls.txt                        # every call is appended to this file: name, GPU, arguments
//! gpu: {PowerUsage: 82340}              # answers of every GPU
//! gpus:                                 # answers of single ones, by index; another one is `5: {pci: …}`
//!   5: {Temperature: 91, FieldValues: {230: 2}}
//! excluded: ['0000:9c:00.0']
//! faults:
//! - {call: nvmlInit_v2, returns: 18}
//! - {call: nvmlDeviceGetTemperature, gpu: 5, hangs: true}      # also: crashes, exits: 3, prints: text, takes_ms: 900
//! ```
//! What a call answers stands under its name without `nvmlDeviceGet`. Calls with arguments have a map from argument to
//! answer (of maps, for several); a plain value stands for all arguments. Calls with several results have a map from
//! the result's place, or from its name in the struct. What is left out answers NOT_SUPPORTED. In texts the characters
//! up to U+00FF are written as that byte, so that `"\xff"` is no UTF-8.
//!
//! Functions cannot be taken away at run time: a test that needs an older library renames them in a copy of the file.

#![expect(clippy::missing_safety_doc, reason = "the contract of each function is that of nvml.h")]

use nvml_wrapper_sys::bindings as sys;
use serde::Deserialize;
use serde_yaml::{Mapping, Value};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

const SUCCESS: u32 = 0;
const INVALID_ARGUMENT: u32 = 2;
const NOT_SUPPORTED: u32 = 3;
const NOT_FOUND: u32 = 6;
const INSUFFICIENT_SIZE: u32 = 7;
const DRIVER_NOT_LOADED: u32 = 9;
const VERSION_MISMATCH: u32 = 25;
const UNKNOWN: u32 = 999;

/// Machines to begin with.
const MACHINES: &[(&str, &str)] =
    &[("h100x8", include_str!("machines/h100x8.yaml")), ("a100x2", include_str!("machines/a100x2.yaml"))];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    call: String,
    gpu: Option<usize>,
    returns: Option<u32>,
    #[serde(default)]
    hangs: bool,
    #[serde(default)]
    crashes: bool,
    exits: Option<i32>,
    prints: Option<String>,
    takes_ms: Option<u64>,
}

struct Machine {
    /// The answers of the machine itself.
    own: Value,
    gpus: BTreeMap<usize, Value>,
    faults: Vec<Fault>,
}

static MACHINE: OnceLock<Option<Machine>> = OnceLock::new();

fn machine() -> Option<&'static Machine> {
    MACHINE
        .get_or_init(|| {
            let path = std::env::var_os("PUNCHLIST_NVML_STAND_IN")?;
            let text = std::fs::read_to_string(path).ok()?;
            match read(&text) {
                Ok(machine) => Some(machine),
                Err(error) => {
                    eprintln!("the stand-in for NVML: {error}");
                    None
                }
            }
        })
        .as_ref()
}

fn read(text: &str) -> Result<Machine, String> {
    let mut description: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    if description.is_null() {
        description = Value::Mapping(Mapping::new());
    }
    if let Some(name) = description.get("machine").and_then(Value::as_str) {
        let known = MACHINES.iter().find(|(known, _)| *known == name).ok_or(format!("no machine is called {name}"))?;
        let mut whole: Value = serde_yaml::from_str(known.1).map_err(|error| error.to_string())?;
        merge(&mut whole, description.clone());
        description = whole;
    }
    let faults = description.get("faults").cloned().unwrap_or(Value::Sequence(Vec::new()));
    let faults = serde_yaml::from_value(faults).map_err(|error| error.to_string())?;
    let of_all = description.get("gpu").cloned().unwrap_or(Value::Mapping(Mapping::new()));
    let mut gpus = BTreeMap::new();
    for (index, own) in description.get("gpus").and_then(Value::as_mapping).into_iter().flatten() {
        let index = index.as_u64().ok_or("gpus: the keys are their numbers")? as usize;
        let mut gpu = of_all.clone();
        merge(&mut gpu, own.clone());
        gpus.insert(index, gpu);
    }
    Ok(Machine { own: description, gpus, faults })
}

/// What `over` says goes before what `value` says, map by map.
fn merge(value: &mut Value, over: Value) {
    match (value, over) {
        (Value::Mapping(value), Value::Mapping(over)) => {
            for (key, over) in over {
                match value.get_mut(&key) {
                    Some(value) => merge(value, over),
                    None => drop(value.insert(key, over)),
                }
            }
        }
        (value, over) => *value = over,
    }
}

/// A device's handle: its index plus one; parts of a divided GPU begin at [`MIG`].
type Handle = sys::nvmlDevice_t;

const MIG: usize = 0x10000;

fn gpu_of(device: Handle) -> usize {
    match device as usize {
        mig if mig >= MIG => (mig - MIG) / 64,
        gpu => gpu.wrapping_sub(1),
    }
}

fn answers(device: Handle) -> Option<&'static Value> {
    let gpu = machine()?.gpus.get(&gpu_of(device))?;
    match device as usize {
        mig if mig >= MIG => gpu.get("mig")?.as_sequence()?.get((mig - MIG) % 64),
        _ => Some(gpu),
    }
}

/// Logs the call and does what its faults say.
fn enter(call: &str, gpu: Option<usize>, arguments: &[u32]) -> Result<&'static Machine, u32> {
    let machine = machine().ok_or(DRIVER_NOT_LOADED)?;
    if let Some(path) = machine.own.get("log").and_then(Value::as_str) {
        let arguments: String = arguments.iter().map(|argument| format!(" {argument}")).collect();
        let gpu = gpu.map_or_else(|| "-".to_string(), |gpu| gpu.to_string());
        let log = std::fs::File::options().create(true).append(true).open(path);
        let _ = log.and_then(|mut log| log.write_all(format!("{call} {gpu}{arguments}\n").as_bytes()));
    }
    let meant = |fault: &&Fault| {
        let call_meant = match fault.call.strip_suffix('*') {
            Some(start) => call.starts_with(start),
            None => call == fault.call,
        };
        call_meant && (fault.gpu.is_none() || fault.gpu == gpu)
    };
    for fault in machine.faults.iter().filter(meant) {
        if let Some(text) = &fault.prints {
            println!("{text}");
            let _ = std::io::stdout().flush();
        }
        if let Some(milliseconds) = fault.takes_ms {
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        if let Some(status) = fault.exits {
            std::process::exit(status);
        }
        if fault.crashes {
            // Not the signal itself: the standard library catches that, and only what faults again dies of it.
            // SAFETY: none; nothing is ever there, which is what it is for.
            unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
        }
        if fault.hangs {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        if let Some(code) = fault.returns {
            return Err(code);
        }
    }
    Ok(machine)
}

/// The code that a call returns.
fn code(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(SUCCESS)
}

/// What stands under `key`, for these arguments.
fn look_up<'v>(from: &'v Value, key: &str, arguments: &[u32]) -> Result<&'v Value, u32> {
    let mut value = from.get(key).ok_or(NOT_SUPPORTED)?;
    for argument in arguments {
        if let Value::Mapping(map) = value {
            value = map.get(Value::from(*argument)).ok_or(NOT_SUPPORTED)?;
        }
    }
    if value.is_null() { Err(NOT_SUPPORTED) } else { Ok(value) }
}

/// The call's answer for a device.
fn device_answer(call: &str, device: Handle, arguments: &[u32]) -> Result<&'static Value, u32> {
    enter(call, Some(gpu_of(device)), arguments)?;
    let key = call.strip_prefix("nvmlDeviceGet").or_else(|| call.strip_prefix("nvmlDevice")).unwrap_or(call);
    look_up(answers(device).ok_or(INVALID_ARGUMENT)?, key, arguments)
}

fn number(value: &Value) -> i128 {
    let float = || value.as_f64().map(|float| float as i128);
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from)).or_else(float).unwrap_or(0)
}

/// A member of a struct, or a result by its place; 0 when left out.
fn member(value: &Value, key: impl Into<Value>) -> i128 {
    value.as_mapping().and_then(|map| map.get(key.into())).map_or(0, number)
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => number(other).to_string(),
    };
    let mut bytes = Vec::new();
    for character in text.chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(character.to_string().bytes()),
        }
    }
    bytes
}

unsafe fn put_text(value: &Value, out: *mut c_char, length: usize) -> Result<(), u32> {
    let bytes = bytes(value);
    if bytes.len() >= length {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: the caller of the C function says that there is room for `length` bytes.
    unsafe {
        out.copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len());
        *out.add(bytes.len()) = 0;
    }
    Ok(())
}

/// Domain, bus and device of `0000:9c:00.0`.
fn parse_pci(text: &str) -> Option<(u32, u32, u32)> {
    let (place, _) = text.split_once('.')?;
    let mut numbers = place.split(':').map(|number| u32::from_str_radix(number, 16).ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

fn pci_info(pci: &str) -> Result<sys::nvmlPciInfo_t, u32> {
    // SAFETY: a plain C struct.
    let mut info: sys::nvmlPciInfo_t = unsafe { std::mem::zeroed() };
    let (domain, bus, device) = parse_pci(pci).ok_or(UNKNOWN)?;
    (info.domain, info.bus, info.device) = (domain, bus, device);
    let text = Value::from(format!("{domain:08X}:{bus:02X}:{device:02X}.0"));
    // SAFETY: there is room for as many bytes as the array has.
    unsafe { put_text(&text, info.busId.as_mut_ptr(), info.busId.len())? };
    Ok(info)
}

/// Functions that write one number, for their arguments.
macro_rules! numbers {
    ($($type:ty: $($function:ident($($argument:ident),*))*;)*) => { $($(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(device: Handle, $($argument: c_uint,)* out: *mut $type) -> u32 {
            let answer = device_answer(stringify!($function), device, &[$($argument),*]);
            // SAFETY: nvml.h
            code(answer.map(|value| unsafe { *out = number(value) as $type }))
        }
    )*)* };
}

numbers! {
    c_uint:
        nvmlDeviceGetMinorNumber() nvmlDeviceGetNumGpuCores() nvmlDeviceGetModuleId() nvmlDeviceGetNumaNodeId()
        nvmlDeviceGetComputeMode() nvmlDeviceGetPersistenceMode() nvmlDeviceGetVirtualizationMode()
        nvmlDeviceGetPerformanceState() nvmlDeviceGetArchitecture() nvmlDeviceGetMemoryBusWidth()
        nvmlDeviceGetPowerUsage() nvmlDeviceGetPowerManagementLimit() nvmlDeviceGetEnforcedPowerLimit()
        nvmlDeviceGetPowerManagementDefaultLimit() nvmlDeviceGetCurrPcieLinkGeneration()
        nvmlDeviceGetMaxPcieLinkGeneration() nvmlDeviceGetGpuMaxPcieLinkGeneration()
        nvmlDeviceGetCurrPcieLinkWidth() nvmlDeviceGetMaxPcieLinkWidth() nvmlDeviceGetRetiredPagesPendingStatus()
        nvmlDeviceGetGpuInstanceId() nvmlDeviceGetComputeInstanceId() nvmlDeviceGetUnrepairableMemoryFlag_v1()
        nvmlDeviceGetClockInfo(clock) nvmlDeviceGetMaxClockInfo(clock) nvmlDeviceGetApplicationsClock(clock)
        nvmlDeviceGetTemperature(sensor) nvmlDeviceGetTemperatureThreshold(threshold)
        nvmlDeviceGetNvLinkRemoteDeviceType(link) nvmlDeviceGetNumFans() nvmlDeviceGetFanSpeed_v2(fan);
    u64:
        nvmlDeviceGetCurrentClocksEventReasons() nvmlDeviceGetCurrentClocksThrottleReasons()
        nvmlDeviceGetTotalEccErrors(error, counter) nvmlDeviceGetMemoryErrorCounter(error, counter, location);
}

/// Functions that write two numbers.
macro_rules! pairs {
    ($($type:ty: $($function:ident)*;)*) => { $($(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(device: Handle, first: *mut $type, second: *mut $type) -> u32 {
            // SAFETY: nvml.h
            code(device_answer(stringify!($function), device, &[]).map(|value| unsafe {
                *first = member(value, 0) as $type;
                *second = member(value, 1) as $type;
            }))
        }
    )*)* };
}

pairs! {
    c_uint: nvmlDeviceGetEccMode nvmlDeviceGetMigMode nvmlDeviceGetPowerManagementLimitConstraints
        nvmlDeviceGetGspFirmwareMode;
    c_int: nvmlDeviceGetCudaComputeCapability;
}

/// Functions that write a text.
macro_rules! texts {
    ($($function:ident)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(device: Handle, out: *mut c_char, length: c_uint) -> u32 {
            let answer = device_answer(stringify!($function), device, &[]);
            // SAFETY: nvml.h
            code(answer.and_then(|value| unsafe { put_text(value, out, length as usize) }))
        }
    )* };
}

texts! {
    nvmlDeviceGetName nvmlDeviceGetUUID nvmlDeviceGetSerial nvmlDeviceGetBoardPartNumber nvmlDeviceGetVbiosVersion
    nvmlDeviceGetInforomImageVersion
}

/// Functions that write the members of a struct; of a versioned one, when the version is right.
macro_rules! structs {
    ($($function:ident: $type:ty $(, version $version:literal)? { $($field:ident)* })*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(device: Handle, out: *mut $type) -> u32 {
            $(
                // SAFETY: nvml.h
                if unsafe { (*out).version } != size_of::<$type>() as u32 | ($version << 24) {
                    return VERSION_MISMATCH;
                }
            )?
            // SAFETY: nvml.h
            code(device_answer(stringify!($function), device, &[]).map(|value| unsafe {
                $((*out).$field = member(value, stringify!($field)) as _;)*
            }))
        }
    )* };
}

structs! {
    nvmlDeviceGetUtilizationRates: sys::nvmlUtilization_t { gpu memory }
    nvmlDeviceGetMemoryInfo: sys::nvmlMemory_t { total free used }
    nvmlDeviceGetMemoryInfo_v2: sys::nvmlMemory_v2_t, version 2 { total reserved free used }
    nvmlDeviceGetBAR1MemoryInfo: sys::nvmlBAR1Memory_t { bar1Total bar1Free bar1Used }
    nvmlDeviceGetRowRemapperHistogram: sys::nvmlRowRemapperHistogramValues_t { max high partial low none }
    nvmlDeviceGetRepairStatus: sys::nvmlRepairStatus_t, version 1 { bChannelRepairPending bTpcRepairPending }
    nvmlDeviceGetSramEccErrorStatus: sys::nvmlEccSramErrorStatus_t, version 1 {
        aggregateUncParity aggregateUncSecDed aggregateCor volatileUncParity volatileUncSecDed volatileCor
        aggregateUncBucketL2 aggregateUncBucketSm aggregateUncBucketPcie aggregateUncBucketMcu
        aggregateUncBucketOther bThresholdExceeded
    }
}

/// Functions that write the only member of a versioned struct.
macro_rules! single_members {
    ($($function:ident: $type:ty { $field:ident })*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(device: Handle, out: *mut $type) -> u32 {
            // SAFETY: nvml.h
            if unsafe { (*out).version } != size_of::<$type>() as u32 | (1 << 24) {
                return VERSION_MISMATCH;
            }
            let answer = device_answer(stringify!($function), device, &[]);
            // SAFETY: nvml.h
            code(answer.map(|value| unsafe { (*out).$field = number(value) as _ }))
        }
    )* };
}

single_members! {
    nvmlDeviceGetAddressingMode: sys::nvmlDeviceAddressingMode_t { value }
    nvmlDeviceGetMarginTemperature: sys::nvmlMarginTemperature_t { marginTemperature }
}

/// The answer is whether each licensable feature is licensed: `[0]` is one that is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGridLicensableFeatures_v4(
    device: Handle,
    out: *mut sys::nvmlGridLicensableFeatures_t,
) -> u32 {
    let answer = device_answer("nvmlDeviceGetGridLicensableFeatures_v4", device, &[]);
    let states: Result<Vec<u32>, u32> =
        answer.map(|value| value.as_sequence().into_iter().flatten().map(|state| number(state) as u32).collect());
    // SAFETY: nvml.h
    code(states.map(|states| unsafe {
        (*out).isGridLicenseSupported = 1;
        (*out).licensableFeaturesCount = states.len() as u32;
        for (feature, state) in (*out).gridLicensableFeatures.iter_mut().zip(states) {
            feature.featureState = state;
        }
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlInit_v2() -> u32 {
    code(enter("nvmlInit_v2", None, &[]).map(|_| ()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlInitWithFlags(flags: c_uint) -> u32 {
    code(enter("nvmlInitWithFlags", None, &[flags]).map(|_| ()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlShutdown() -> u32 {
    code(enter("nvmlShutdown", None, &[]).map(|_| ()))
}

/// Functions of the machine that write a text.
macro_rules! system_texts {
    ($($function:ident)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(out: *mut c_char, length: c_uint) -> u32 {
            let name = stringify!($function);
            let answer = enter(name, None, &[]).and_then(|machine| look_up(&machine.own, &name["nvml".len()..], &[]));
            // SAFETY: nvml.h
            code(answer.and_then(|value| unsafe { put_text(value, out, length as usize) }))
        }
    )* };
}

system_texts! { nvmlSystemGetDriverVersion nvmlSystemGetNVMLVersion }

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(out: *mut c_int) -> u32 {
    let name = "nvmlSystemGetCudaDriverVersion_v2";
    let answer = enter(name, None, &[]).and_then(|machine| look_up(&machine.own, &name["nvml".len()..], &[]));
    // SAFETY: nvml.h
    code(answer.map(|value| unsafe { *out = number(value) as c_int }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetConfComputeState(out: *mut sys::nvmlConfComputeSystemState_t) -> u32 {
    let answer = enter("nvmlSystemGetConfComputeState", None, &[]);
    // SAFETY: nvml.h
    code(answer.and_then(|machine| look_up(&machine.own, "ConfComputeState", &[])).map(|value| unsafe {
        (*out).environment = member(value, "environment") as u32;
        (*out).ccFeature = member(value, "ccFeature") as u32;
        (*out).devToolsMode = member(value, "devToolsMode") as u32;
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetConfComputeGpusReadyState(out: *mut c_uint) -> u32 {
    let answer = enter("nvmlSystemGetConfComputeGpusReadyState", None, &[]);
    let answer = answer.and_then(|machine| look_up(&machine.own, "ConfComputeGpusReadyState", &[]));
    // SAFETY: nvml.h
    code(answer.map(|value| unsafe { *out = number(value) as c_uint }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(out: *mut c_uint) -> u32 {
    code(enter("nvmlDeviceGetCount_v2", None, &[]).map(|machine| {
        let count = machine.own.get("count").map_or(machine.gpus.len() as i128, number);
        // SAFETY: nvml.h
        unsafe { *out = count as c_uint };
    }))
}

fn excluded(machine: &Machine) -> &[Value] {
    machine.own.get("excluded").and_then(Value::as_sequence).map_or(&[], |list| list.as_slice())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGetExcludedDeviceCount(out: *mut c_uint) -> u32 {
    let answer = enter("nvmlGetExcludedDeviceCount", None, &[]);
    // SAFETY: nvml.h
    code(answer.map(|machine| unsafe { *out = excluded(machine).len() as c_uint }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGetExcludedDeviceInfoByIndex(
    index: c_uint,
    out: *mut sys::nvmlExcludedDeviceInfo_t,
) -> u32 {
    code(enter("nvmlGetExcludedDeviceInfoByIndex", None, &[index]).and_then(|machine| {
        let pci = excluded(machine).get(index as usize).and_then(Value::as_str).ok_or(INVALID_ARGUMENT)?;
        let info = pci_info(pci)?;
        // SAFETY: nvml.h
        unsafe {
            (*out).pciInfo = info;
            put_text(&Value::from(format!("GPU-excluded-{index}")), (&raw mut (*out).uuid).cast(), 80)
        }
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, out: *mut Handle) -> u32 {
    code(enter("nvmlDeviceGetHandleByIndex_v2", Some(index as usize), &[]).and_then(|machine| {
        machine.gpus.get(&(index as usize)).ok_or(INVALID_ARGUMENT)?;
        // SAFETY: nvml.h
        unsafe { *out = (index as usize + 1) as Handle };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(pci: *const c_char, out: *mut Handle) -> u32 {
    // SAFETY: nvml.h
    let asked = unsafe { CStr::from_ptr(pci) }.to_str().ok().and_then(parse_pci);
    let is_asked = |gpu: &Value| gpu.get("pci").and_then(Value::as_str).and_then(parse_pci) == asked;
    let found =
        machine().and_then(|machine| machine.gpus.iter().find(|(_, gpu)| is_asked(gpu)).map(|(index, _)| *index));
    code(enter("nvmlDeviceGetHandleByPciBusId_v2", found, &[]).and_then(|_| {
        let index = found.filter(|_| asked.is_some()).ok_or(NOT_FOUND)?;
        // SAFETY: nvml.h
        unsafe { *out = (index + 1) as Handle };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetIndex(device: Handle, out: *mut c_uint) -> u32 {
    code(enter("nvmlDeviceGetIndex", Some(gpu_of(device)), &[]).map(|_| {
        let index = answers(device).and_then(|gpu| gpu.get("Index")).map_or(gpu_of(device) as i128, number);
        // SAFETY: nvml.h
        unsafe { *out = index as c_uint };
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: Handle, out: *mut sys::nvmlPciInfo_t) -> u32 {
    code(enter("nvmlDeviceGetPciInfo_v3", Some(gpu_of(device)), &[]).and_then(|_| {
        let pci = answers(device).and_then(|gpu| gpu.get("pci")?.as_str()).ok_or(NOT_SUPPORTED)?;
        // SAFETY: nvml.h
        unsafe { *out = pci_info(pci)? };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetInforomVersion(
    device: Handle,
    object: c_uint,
    out: *mut c_char,
    length: c_uint,
) -> u32 {
    let answer = device_answer("nvmlDeviceGetInforomVersion", device, &[object]);
    // SAFETY: nvml.h
    code(answer.and_then(|value| unsafe { put_text(value, out, length as usize) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGspFirmwareVersion(device: Handle, out: *mut c_char) -> u32 {
    let answer = device_answer("nvmlDeviceGetGspFirmwareVersion", device, &[]);
    // SAFETY: nvml.h wants room for 64 bytes.
    code(answer.and_then(|value| unsafe { put_text(value, out, 64) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceValidateInforom(device: Handle) -> u32 {
    match device_answer("nvmlDeviceValidateInforom", device, &[]) {
        Ok(value) => number(value) as u32,
        Err(code) => code,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPlatformInfo(device: Handle, out: *mut sys::nvmlPlatformInfo_t) -> u32 {
    // SAFETY: nvml.h
    if unsafe { (*out).version } != size_of::<sys::nvmlPlatformInfo_t>() as u32 | (2 << 24) {
        return VERSION_MISMATCH;
    }
    code(device_answer("nvmlDeviceGetPlatformInfo", device, &[]).map(|value| {
        let serial = value.get("chassisSerialNumber").map(bytes).unwrap_or_default();
        // SAFETY: nvml.h
        let out = unsafe { &mut *out };
        out.chassisSerialNumber.iter_mut().zip(serial).for_each(|(to, from)| *to = from);
        out.slotNumber = member(value, "slotNumber") as u8;
        out.trayIndex = member(value, "trayIndex") as u8;
        out.hostId = member(value, "hostId") as u8;
        out.moduleId = member(value, "moduleId") as u8;
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetRemappedRows(
    device: Handle,
    correctable: *mut c_uint,
    uncorrectable: *mut c_uint,
    pending: *mut c_uint,
    failed: *mut c_uint,
) -> u32 {
    code(device_answer("nvmlDeviceGetRemappedRows", device, &[]).map(|value| {
        for (place, out) in [correctable, uncorrectable, pending, failed].into_iter().enumerate() {
            // SAFETY: nvml.h
            unsafe { *out = member(value, place as u64) as c_uint };
        }
    }))
}

/// The answer is how many pages there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetRetiredPages(
    device: Handle,
    cause: c_uint,
    count: *mut c_uint,
    addresses: *mut u64,
) -> u32 {
    code(device_answer("nvmlDeviceGetRetiredPages", device, &[cause]).and_then(|value| {
        let pages = number(value) as c_uint;
        // SAFETY: nvml.h
        unsafe {
            let room = if addresses.is_null() { 0 } else { *count };
            *count = pages;
            (0..room.min(pages)).for_each(|page| *addresses.add(page as usize) = u64::from(page) << 12);
            if room < pages { Err(INSUFFICIENT_SIZE) } else { Ok(()) }
        }
    }))
}

/// Lists of processes: `[{pid: 4711, usedGpuMemory: 1048576}]`.
macro_rules! process_lists {
    ($($function:ident)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(
            device: Handle,
            count: *mut c_uint,
            out: *mut sys::nvmlProcessInfo_t,
        ) -> u32 {
            code(device_answer(stringify!($function), device, &[]).and_then(|value| {
                let list = value.as_sequence().ok_or(UNKNOWN)?;
                // SAFETY: nvml.h
                unsafe {
                    let room = *count as usize;
                    *count = list.len() as c_uint;
                    if list.len() > room {
                        return Err(INSUFFICIENT_SIZE);
                    }
                    for (place, process) in list.iter().enumerate() {
                        *out.add(place) = sys::nvmlProcessInfo_t {
                            pid: member(process, "pid") as u32,
                            usedGpuMemory: member(process, "usedGpuMemory") as u64,
                            gpuInstanceId: u32::MAX,
                            computeInstanceId: u32::MAX,
                        };
                    }
                }
                Ok(())
            }))
        }
    )* };
}

process_lists! {
    nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses_v3
    nvmlDeviceGetMPSComputeRunningProcesses_v3
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, out: *mut c_uint) -> u32 {
    code(enter("nvmlDeviceGetMaxMigDeviceCount", Some(gpu_of(device)), &[]).map(|_| {
        let count = answers(device).and_then(|gpu| gpu.get("MaxMigDeviceCount")).map_or(7, number);
        // SAFETY: nvml.h
        unsafe { *out = count as c_uint };
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, index: c_uint, out: *mut Handle) -> u32 {
    let gpu = gpu_of(device);
    code(enter("nvmlDeviceGetMigDeviceHandleByIndex", Some(gpu), &[index]).and_then(|_| {
        let list = answers(device).and_then(|gpu| gpu.get("mig")?.as_sequence()).ok_or(NOT_SUPPORTED)?;
        list.get(index as usize).filter(|part| !part.is_null()).ok_or(NOT_FOUND)?;
        // SAFETY: nvml.h
        unsafe { *out = (MIG + gpu * 64 + index as usize) as Handle };
        Ok(())
    }))
}

/// How many NVLinks a GPU has: what field 91 says.
fn nvlinks(device: Handle) -> i128 {
    let fields = answers(device).and_then(|gpu| gpu.get("FieldValues"));
    fields.map_or(0, |fields| member(fields, u64::from(sys::field_id::NVML_FI_DEV_NVLINK_LINK_COUNT)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetNvLinkState(device: Handle, link: c_uint, out: *mut c_uint) -> u32 {
    let answer = device_answer("nvmlDeviceGetNvLinkState", device, &[link]);
    if i128::from(link) >= nvlinks(device).max(1) {
        return INVALID_ARGUMENT;
    }
    // SAFETY: nvml.h
    code(answer.map(|value| unsafe { *out = number(value) as c_uint }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetNvLinkRemotePciInfo_v2(
    device: Handle,
    link: c_uint,
    out: *mut sys::nvmlPciInfo_t,
) -> u32 {
    code(device_answer("nvmlDeviceGetNvLinkRemotePciInfo_v2", device, &[link]).and_then(|value| {
        // SAFETY: nvml.h
        unsafe { *out = pci_info(value.as_str().ok_or(UNKNOWN)?)? };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuFabricInfo(device: Handle, out: *mut sys::nvmlGpuFabricInfo_t) -> u32 {
    // SAFETY: nvml.h
    code(device_answer("nvmlDeviceGetGpuFabricInfo", device, &[]).map(|value| unsafe {
        (*out).state = member(value, "state") as u8;
        (*out).status = member(value, "status") as u32;
        (*out).cliqueId = member(value, "cliqueId") as u32;
    }))
}

/// Knows versions 2 and 3; `newest: 2` in the answer makes it refuse 3.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuFabricInfoV(device: Handle, out: *mut sys::nvmlGpuFabricInfoV_t) -> u32 {
    code(device_answer("nvmlDeviceGetGpuFabricInfoV", device, &[]).and_then(|value| {
        let newest = if value.get("newest").is_some() { member(value, "newest") } else { 3 };
        // SAFETY: nvml.h: the version says which of the structs it is, and the longer one begins as the shorter one.
        unsafe {
            let version = (*out).version;
            let is_v3 = version == size_of::<sys::nvmlGpuFabricInfo_v3_t>() as u32 | (3 << 24) && newest >= 3;
            let is_v2 = version == size_of::<sys::nvmlGpuFabricInfo_v2_t>() as u32 | (2 << 24);
            if !is_v3 && !is_v2 {
                return Err(VERSION_MISMATCH);
            }
            (*out).state = member(value, "state") as u8;
            (*out).status = member(value, "status") as u32;
            (*out).cliqueId = member(value, "cliqueId") as u32;
            (*out).healthMask = member(value, "healthMask") as u32;
            if is_v3 {
                (*out).healthSummary = member(value, "healthSummary") as u8;
            }
        }
        Ok(())
    }))
}

/// Between two GPUs: by the other one's index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTopologyCommonAncestor(device: Handle, other: Handle, out: *mut c_uint) -> u32 {
    let answer = device_answer("nvmlDeviceGetTopologyCommonAncestor", device, &[gpu_of(other) as u32]);
    // SAFETY: nvml.h
    code(answer.map(|value| unsafe { *out = number(value) as c_uint }))
}

/// Between two GPUs: by the other one's index, then by what is asked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetP2PStatus(device: Handle, other: Handle, what: c_uint, out: *mut c_uint) -> u32 {
    let answer = device_answer("nvmlDeviceGetP2PStatus", device, &[gpu_of(other) as u32, what]);
    // SAFETY: nvml.h
    code(answer.map(|value| unsafe { *out = number(value) as c_uint }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFanSpeedRPM(device: Handle, out: *mut sys::nvmlFanSpeedInfo_t) -> u32 {
    // SAFETY: nvml.h
    let fan = unsafe { (*out).fan };
    // SAFETY: nvml.h
    code(device_answer("nvmlDeviceGetFanSpeedRPM", device, &[fan]).map(|value| unsafe {
        (*out).speed = number(value) as c_uint;
    }))
}

/// By the number of the field, as drivers before 580.82 number them, then by its scope. As the real library does, it
/// leaves some fields as they were when they are asked for together with others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: Handle,
    count: c_int,
    values: *mut sys::nvmlFieldValue_t,
) -> u32 {
    // SAFETY: nvml.h
    let values = unsafe { std::slice::from_raw_parts_mut(values, count.max(0) as usize) };
    let asked: Vec<u32> = values.iter().flat_map(|value| [value.fieldId, value.scopeId]).collect();
    let entered = enter("nvmlDeviceGetFieldValues", Some(gpu_of(device)), &asked);
    code(entered.and_then(|machine| {
        let gpu = answers(device).ok_or(INVALID_ARGUMENT)?;
        let renumbered = has_renumbered_fields(machine);
        let alone = values.len() == 1;
        for field in values {
            let id = match field.fieldId {
                id @ 269..=273 if renumbered => id - 18,
                251..=268 if renumbered => u32::MAX,
                id => id,
            };
            // Seen on an H100 and an H200 with driver 580.159.04.
            if matches!(id, 193..=196 | 252 | 253) && !alone {
                continue;
            }
            match look_up(gpu, "FieldValues", &[id, field.scopeId]) {
                Err(code) => field.nvmlReturn = code,
                Ok(value) => {
                    field.nvmlReturn = SUCCESS;
                    field.valueType = match number(value) {
                        number if number < 0 => {
                            field.value.siVal = number as c_int;
                            sys::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT
                        }
                        number if number <= i128::from(u32::MAX) => {
                            field.value.uiVal = number as c_uint;
                            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT
                        }
                        number => {
                            field.value.ullVal = number as u64;
                            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
                        }
                    };
                }
            }
        }
        Ok(())
    }))
}

fn has_renumbered_fields(machine: &Machine) -> bool {
    let version = machine.own.get("SystemGetDriverVersion").and_then(Value::as_str).unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (580, 82)
}
