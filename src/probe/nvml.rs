//! The library of the NVIDIA driver (NVML): where it is, starting it once, and the calls that `nvml-wrapper` lacks or
//! gets wrong. All unsafe code of the GPU probes is here.

use super::parts::{Progress, Shared};
use super::source::Source;
use crate::fact::{Absent, Reason};
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, FieldIdScheme, Nvml};
use nvml_wrapper_sys::bindings as sys;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The name under which the linker knows it.
const SONAME: &str = "libnvidia-ml.so.1";

/// Where it lies when the linker does not know: the GPU Operator's driver container, GKE, WSL; and where it lies on
/// every machine, for when that is not the one whose linker is asked.
const FOLDERS: &[&str] = &[
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu",
    "/run/nvidia/driver/usr/lib64",
    "/usr/local/nvidia/lib64",
    "/home/kubernetes/bin/nvidia/lib64",
    "/usr/lib/wsl/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
];

/// Why NVML did not do what it was asked.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// What NVML returned (`nvmlReturn_t`); none where it was never asked.
    pub code: Option<u32>,
    /// The same as the reason of an absence.
    pub absent: Absent,
}

impl Refusal {
    fn unasked(absent: Absent) -> Refusal {
        Refusal { code: None, absent }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.code == Some(sys::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST)
    }
}

impl From<NvmlError> for Refusal {
    fn from(error: NvmlError) -> Refusal {
        match error {
            NvmlError::FailedToLoadSymbol(_) => {
                Refusal::unasked(Absent::not_supported("the installed driver does not know this question"))
            }
            NvmlError::Utf8Error(_) => Refusal::unasked(Absent::failed("NVML gave a text that is not UTF-8")),
            NvmlError::NulError(_)
            | NvmlError::LibloadingError(_)
            | NvmlError::StringTooLong { .. }
            | NvmlError::IncorrectBits(_)
            | NvmlError::GetPciInfoFailed
            | NvmlError::PciInfoToCFailed
            | NvmlError::SetReleaseFailed => Refusal::unasked(Absent::failed(error.to_string())),
            error => from_code(u32::from(error)),
        }
    }
}

/// What a return code of NVML means, in plain words, for the thing that was asked.
fn from_code(code: u32) -> Refusal {
    use Reason::{Denied, Failed, NotPresent, NotSupported};
    let (reason, text) = match code {
        1 => (Failed, "NVML is not started"),
        2 => (Failed, "NVML found the question invalid"),
        3 => (NotSupported, "this GPU does not have it"),
        4 => (Denied, "NVML does not allow it to this user"),
        6 => (NotPresent, "NVML found nothing of that kind"),
        7 => (Failed, "the answer is longer than the room for it"),
        8 => (Failed, "the GPU's power cables are not attached properly"),
        9 => (NotPresent, "the NVIDIA driver is not loaded"),
        10 => (Failed, "the GPU did not answer the driver in time"),
        11 => (Failed, "the kernel found a problem with the GPU's interrupts"),
        12 => (Failed, "NVML could not load a library that it needs"),
        13 => (NotSupported, "the installed driver does not have this function"),
        14 => (Failed, "the GPU's InfoROM is corrupted"),
        15 => (Failed, "the GPU is lost: it has fallen off the bus or does not answer"),
        16 => (Failed, "the GPU needs a reset before it can be used again"),
        17 => (Failed, "the operating system blocks the GPU: a cgroup, often after systemd reloaded"),
        18 => (Failed, "the driver library and the loaded kernel module are of different versions"),
        19 => (Failed, "the GPU is in use"),
        20 => (Failed, "NVML ran out of memory"),
        21 => (NotPresent, "there are no data"),
        22 => (NotSupported, "not possible while ECC is on"),
        23 => (Failed, "the GPU ran out of resources"),
        24 => (Failed, "this frequency is not supported"),
        25 => (NotSupported, "the installed driver does not know this version of the question"),
        26 => (NotSupported, "the installed driver no longer has this function"),
        27 => (Failed, "the GPU is not ready"),
        28 => (NotPresent, "NVML found no GPU"),
        29 => (Failed, "NVML was in an invalid state"),
        30 => (NotSupported, "this type of reset is not supported"),
        999 => (Failed, "NVML met an unknown error"),
        _ => (Failed, "NVML gave a value that nobody knows"),
    };
    Refusal { code: Some(code), absent: Absent::new(reason, format!("{text} (NVML code {code})")) }
}

/// NVML, loaded and started.
pub(super) struct Library {
    /// Never shut down: that can hang as everything else can, and the process that loaded it is short-lived.
    pub nvml: &'static Nvml,
    /// The file, as far as it is known: a bare name where the linker found it.
    pub path: String,
    handles: Arc<Handles>,
}

/// The GPUs' handles, by PCI address.
#[derive(Default)]
struct Handles {
    known: Mutex<HashMap<String, Handle>>,
    changed: Condvar,
}

/// A GPU's handle. Asking for it starts up a GPU, which takes seconds where nothing keeps it up, so it is done once.
enum Handle {
    BeingAsked,
    Known(Result<Arc<Device<'static>>, Refusal>),
}

/// What people call the library: where it hangs, that is one thing to say, however many probes wait for it.
pub(super) const LIBRARY: &str = "the NVIDIA driver library";

/// How long it may take to start.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// The library, for a probe that has told before what it knows without it.
pub(super) fn awaited<'s>(source: &'s Source, progress: &dyn Progress) -> Result<&'s Library, &'s Refusal> {
    progress.waiting(Some(Shared { label: LIBRARY.into(), deadline_ms: DEADLINE.as_millis() as u64 }));
    let library = source.nvml();
    progress.waiting(None);
    library
}

/// Loads and starts the library. It may hang, crash or print.
pub(super) fn start(source: &Source, given: Option<&Path>) -> Result<Library, Refusal> {
    if given.is_none() && source.recorded().is_some() {
        let text = "a recorded machine is asked with a driver library of its own (--nvml)";
        return Err(Refusal::unasked(Absent::new(Reason::NotRecorded, text)));
    }
    let mut wrong = None;
    for path in candidates(source, given) {
        match Nvml::builder().lib_path(path.as_os_str()).init() {
            Ok(nvml) => {
                let nvml = Box::leak(Box::new(nvml));
                let path = path.display().to_string();
                return Ok(Library { nvml, path, handles: Arc::default() });
            }
            Err(NvmlError::LibloadingError(error)) => {
                let text = error_chain(&error);
                if given.is_some() || !text.contains("No such file") {
                    wrong.get_or_insert(format!("{} cannot be loaded: {}", path.display(), clipped_line(&text)));
                }
            }
            Err(NvmlError::FailedToLoadSymbol(_)) => {
                wrong.get_or_insert(format!("{} is no NVML: it has no nvmlInit_v2", path.display()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::unasked(match wrong {
        Some(text) => Absent::failed(text),
        None => Absent::not_present(format!("the library of the NVIDIA driver ({SONAME}) is not installed")),
    }))
}

/// What the linker is asked for, in turn: a name that it searches for, then files that exist.
fn candidates(source: &Source, given: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = given {
        // Without a slash the linker would search for it instead of opening it.
        let bare = path.components().count() == 1;
        return vec![if bare { Path::new(".").join(path) } else { path.to_path_buf() }];
    }
    let files = FOLDERS.iter().filter_map(|folder| source.path(&format!("{folder}/{SONAME}")).ok());
    std::iter::once(PathBuf::from(SONAME)).chain(files.filter(|file| file.is_file())).collect()
}

/// The file that the library's name leads to, such as `libnvidia-ml.so.565.57.01`: it tells the version even where
/// the library does not start.
pub(super) fn installed_file(source: &Source) -> Result<String, Absent> {
    if let Some(given) = source.nvml_path() {
        return Ok(std::fs::canonicalize(given).unwrap_or_else(|_| given.to_path_buf()).display().to_string());
    }
    let mut files = FOLDERS.iter().filter_map(|folder| {
        let target = source.link(&format!("{folder}/{SONAME}")).ok()?;
        Some(if target.starts_with('/') { target } else { format!("{folder}/{target}") })
    });
    files.next().ok_or_else(|| Absent::not_present(format!("no {SONAME} in the usual folders")))
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

fn clipped_line(text: &str) -> String {
    // The linker repeats the path, which can be long.
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

impl Library {
    /// The GPU at this PCI address, which is waited for at most for `patience`. A thread of its own asks for it, so that
    /// one that hangs keeps only those waiting who can do nothing without it.
    pub(super) fn device(&self, pci: &str, patience: Duration) -> Result<Arc<Device<'static>>, Refusal> {
        let give_up = Instant::now() + patience;
        let mut known = self.handles.known();
        loop {
            match known.get(pci) {
                Some(Handle::Known(device)) => return device.clone(),
                Some(Handle::BeingAsked) => {
                    let left = give_up.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        let text = format!("the driver has not answered for GPU {pci} yet");
                        return Err(Refusal::unasked(Absent::failed(text)));
                    }
                    let waited = self.handles.changed.wait_timeout(known, left);
                    known = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
                }
                None => {
                    known.insert(pci.to_string(), Handle::BeingAsked);
                    drop(known);
                    let (nvml, handles, address) = (self.nvml, self.handles.clone(), pci.to_string());
                    let ask = move || handles.ask(nvml, &address);
                    if thread::Builder::new().spawn(ask).is_err() {
                        self.handles.ask(self.nvml, pci);
                    }
                    known = self.handles.known();
                }
            }
        }
    }
}

impl Handles {
    fn ask(&self, nvml: &'static Nvml, pci: &str) {
        let device = nvml.device_by_pci_bus_id(pci).map(Arc::new).map_err(Refusal::from);
        self.known().insert(pci.to_string(), Handle::Known(device));
        self.changed.notify_all();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Handle>> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The version word of a versioned struct: `NVML_STRUCT_VERSION` of nvml.h.
fn version_of<T>(version: u32) -> u32 {
    size_of::<T>() as u32 | (version << 24)
}

/// A zeroed struct of NVML.
fn zeroed<T: Copy>() -> T {
    // SAFETY: only used for the plain C structs of nvml.h, which are integers, arrays of them and pointers: all zeroes
    // is a value of each.
    unsafe { std::mem::zeroed() }
}

/// Calls a function of NVML on a device; the error where the library does not have it.
macro_rules! call {
    ($device:expr, $function:ident $(, $argument:expr)*) => {{
        // SAFETY: the library is loaded and started as long as the device lives, the handle is one that it gave, the
        // signature is that of nvml.h, and each pointer is to a local value of the type (and, for arrays, with the
        // length) that is passed along.
        nvml_sym($device.nvml().lib().$function.as_ref())
            .and_then(|function| nvml_try(unsafe { function($device.handle() $(, $argument)*) }))
    }};
}

type Answer<T> = Result<T, NvmlError>;

/// A call that writes one number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $function:ident $(, $argument:ident: $type:ty)*) => {
        $(#[$doc])*
        pub(super) fn $name(device: &Device $(, $argument: $type)*) -> Answer<u32> {
            let mut value = 0;
            call!(device, $function $(, $argument)*, &mut value)?;
            Ok(value)
        }
    };
}

number!(
    /// The module that the GPU sits on; the numbers of a baseboard have no gaps.
    module_id, nvmlDeviceGetModuleId);
number!(
    /// The PCIe generation that the GPU itself can do.
    own_pcie_generation, nvmlDeviceGetGpuMaxPcieLinkGeneration);
number!(
    /// Whether an NVLink is active; not supported past the last one.
    nvlink_state, nvmlDeviceGetNvLinkState, link: u32);
number!(
    /// What is at the other end; the wrapper's own call forgets what it read.
    nvlink_remote_kind, nvmlDeviceGetNvLinkRemoteDeviceType, link: u32);
number!(
    /// Whether retired pages wait for a reboot.
    retirement_pending, nvmlDeviceGetRetiredPagesPendingStatus);
number!(
    /// GPU instance of a MIG device.
    gpu_instance, nvmlDeviceGetGpuInstanceId);
number!(
    /// Compute instance of a MIG device.
    compute_instance, nvmlDeviceGetComputeInstanceId);
number!(
    /// Architecture; the wrapper refuses those that it does not know.
    architecture, nvmlDeviceGetArchitecture);
number!(
    /// The operating system's number of the node that is the GPU's memory.
    memory_numa_node, nvmlDeviceGetNumaNodeId);
number!(
    /// Who may use the GPU.
    compute_mode, nvmlDeviceGetComputeMode);
number!(
    /// Whether the driver keeps the GPU up while nobody uses it.
    persistence, nvmlDeviceGetPersistenceMode);
number!(
    /// Whether the GPU is a virtual one.
    virtualization, nvmlDeviceGetVirtualizationMode);
number!(
    /// Performance state; 32 where it is unknown.
    performance_state, nvmlDeviceGetPerformanceState);

/// What a licence can unlock on the GPU, and whether it has.
pub(super) fn licensable_features(device: &Device) -> Answer<sys::nvmlGridLicensableFeatures_t> {
    let mut features = zeroed();
    call!(device, nvmlDeviceGetGridLicensableFeatures_v4, &mut features)?;
    Ok(features)
}

/// Whether ECC is on now, and whether it will be after the next reboot.
pub(super) fn ecc_mode(device: &Device) -> Answer<(u32, u32)> {
    let (mut now, mut pending) = (0, 0);
    call!(device, nvmlDeviceGetEccMode, &mut now, &mut pending)?;
    Ok((now, pending))
}

/// Whether one GPU can do something (`NVML_P2P_CAPS_INDEX_…`) with another.
pub(super) fn p2p_status(device: &Device, other: &Device, what: sys::nvmlGpuP2PCapsIndex_t) -> Answer<u32> {
    let mut status = 0;
    // SAFETY: as in `call`, for both devices.
    let other = unsafe { other.handle() };
    call!(device, nvmlDeviceGetP2PStatus, other, what, &mut status)?;
    Ok(status)
}

/// What lies between two GPUs.
pub(super) fn common_ancestor(device: &Device, other: &Device) -> Answer<u32> {
    let mut level = 0;
    // SAFETY: as in `call`, for both devices.
    let other = unsafe { other.handle() };
    call!(device, nvmlDeviceGetTopologyCommonAncestor, other, &mut level)?;
    Ok(level)
}

/// Rows that were replaced by spare ones: for correctable and uncorrectable errors, pending, failed.
pub(super) fn remapped_rows(device: &Device) -> Answer<(u32, u32, bool, bool)> {
    let (mut correctable, mut uncorrectable, mut pending, mut failed) = (0, 0, 0, 0);
    call!(device, nvmlDeviceGetRemappedRows, &mut correctable, &mut uncorrectable, &mut pending, &mut failed)?;
    Ok((correctable, uncorrectable, pending != 0, failed != 0))
}

/// How many spare rows the banks have left.
pub(super) fn row_histogram(device: &Device) -> Answer<sys::nvmlRowRemapperHistogramValues_t> {
    let mut histogram = zeroed();
    call!(device, nvmlDeviceGetRowRemapperHistogram, &mut histogram)?;
    Ok(histogram)
}

/// Repairs that wait for a reset.
pub(super) fn repair_status(device: &Device) -> Answer<sys::nvmlRepairStatus_t> {
    let mut status: sys::nvmlRepairStatus_t = zeroed();
    status.version = version_of::<sys::nvmlRepairStatus_t>(1);
    call!(device, nvmlDeviceGetRepairStatus, &mut status)?;
    Ok(status)
}

/// Whether the memory has errors that nothing repairs. Newer than the bindings (driver 590).
pub(super) fn unrepairable_memory(device: &Device) -> Answer<bool> {
    type Function = unsafe extern "C" fn(sys::nvmlDevice_t, *mut u32) -> sys::nvmlReturn_t;
    let mut flag = 0;
    // SAFETY: nvml.h declares it with a pointer to a struct whose only member is an unsigned int; the rest as in `call`.
    unsafe {
        let library = &device.nvml().lib().__library;
        let function = library
            .get::<Function>(b"nvmlDeviceGetUnrepairableMemoryFlag_v1\0")
            .map_err(|error| NvmlError::FailedToLoadSymbol(error.to_string()))?;
        nvml_try(function(device.handle(), &mut flag))?;
    }
    Ok(flag != 0)
}

/// Errors of the on-chip memories, and whether they are past the threshold for a replacement.
pub(super) fn sram_errors(device: &Device) -> Answer<sys::nvmlEccSramErrorStatus_t> {
    let mut status: sys::nvmlEccSramErrorStatus_t = zeroed();
    status.version = version_of::<sys::nvmlEccSramErrorStatus_t>(1);
    call!(device, nvmlDeviceGetSramEccErrorStatus, &mut status)?;
    Ok(status)
}

/// Degrees left until the GPU slows down.
pub(super) fn temperature_margin(device: &Device) -> Answer<i32> {
    let mut margin: sys::nvmlMarginTemperature_t = zeroed();
    margin.version = version_of::<sys::nvmlMarginTemperature_t>(1);
    call!(device, nvmlDeviceGetMarginTemperature, &mut margin)?;
    Ok(margin.marginTemperature)
}

/// Why the clocks are not higher, as bits; the wrapper drops those that it does not know. Drivers before 535 have the
/// function under an older name only.
pub(super) fn clock_event_reasons(device: &Device) -> Answer<u64> {
    let mut reasons = 0;
    match device.nvml().lib().nvmlDeviceGetCurrentClocksEventReasons.is_ok() {
        true => call!(device, nvmlDeviceGetCurrentClocksEventReasons, &mut reasons)?,
        false => call!(device, nvmlDeviceGetCurrentClocksThrottleReasons, &mut reasons)?,
    }
    Ok(reasons)
}

/// Memory of drivers that do not know the newer call: total, free, used. What is reserved counts as used there.
pub(super) fn memory_v1(device: &Device) -> Answer<sys::nvmlMemory_t> {
    let mut memory = zeroed();
    call!(device, nvmlDeviceGetMemoryInfo, &mut memory)?;
    Ok(memory)
}

/// Where in a rack the GPU sits.
pub(super) fn platform_info(device: &Device) -> Answer<sys::nvmlPlatformInfo_t> {
    let mut info: sys::nvmlPlatformInfo_t = zeroed();
    info.version = version_of::<sys::nvmlPlatformInfo_t>(2);
    call!(device, nvmlDeviceGetPlatformInfo, &mut info)?;
    Ok(info)
}

/// How the GPU's memory is addressed.
pub(super) fn addressing_mode(device: &Device) -> Answer<u32> {
    let mut mode: sys::nvmlDeviceAddressingMode_t = zeroed();
    mode.version = version_of::<sys::nvmlDeviceAddressingMode_t>(1);
    call!(device, nvmlDeviceGetAddressingMode, &mut mode)?;
    Ok(mode.value)
}

/// Its PCI address.
pub(super) fn pci_of(device: &Device) -> Answer<String> {
    let mut info: sys::nvmlPciInfo_t = zeroed();
    call!(device, nvmlDeviceGetPciInfo_v3, &mut info)?;
    Ok(pci_address(&info))
}

/// How many pages were retired for one cause. Only the count is asked for, so that no room is needed.
pub(super) fn retired_pages(device: &Device, cause: sys::nvmlPageRetirementCause_t) -> Answer<u32> {
    let mut count = 0;
    match call!(device, nvmlDeviceGetRetiredPages, cause, &mut count, std::ptr::null_mut()) {
        // That there is no room for the addresses is how it answers such a question.
        Ok(()) | Err(NvmlError::InsufficientSize(_)) => Ok(count),
        Err(error) => Err(error),
    }
}

/// What kind of work a process does on a GPU, which is also which list it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Compute,
    Graphics,
    Mps,
}

/// The processes that use a GPU.
pub(super) fn processes(device: &Device, work: Work) -> Answer<Vec<sys::nvmlProcessInfo_t>> {
    /// Room for more than run on any GPU that is used sensibly, so that one call is enough.
    const ROOM: u32 = 128;
    /// The most that are listed.
    const MOST: u32 = 4096;
    let mut room = ROOM;
    loop {
        let mut infos: Vec<sys::nvmlProcessInfo_t> = vec![zeroed(); room as usize];
        let mut count = room;
        let result = match work {
            Work::Compute => call!(device, nvmlDeviceGetComputeRunningProcesses_v3, &mut count, infos.as_mut_ptr()),
            Work::Graphics => call!(device, nvmlDeviceGetGraphicsRunningProcesses_v3, &mut count, infos.as_mut_ptr()),
            Work::Mps => call!(device, nvmlDeviceGetMPSComputeRunningProcesses_v3, &mut count, infos.as_mut_ptr()),
        };
        match result {
            Ok(()) => {
                infos.truncate(count as usize);
                return Ok(infos);
            }
            Err(NvmlError::InsufficientSize(_)) if room < MOST => {
                // New ones may start meanwhile.
                room = count.saturating_add(16).clamp(room + 1, MOST);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The PCI address at the other end of an NVLink.
pub(super) fn nvlink_remote_pci(device: &Device, link: u32) -> Answer<String> {
    let mut info: sys::nvmlPciInfo_t = zeroed();
    call!(device, nvmlDeviceGetNvLinkRemotePciInfo_v2, link, &mut info)?;
    Ok(pci_address(&info))
}

/// An address as /sys writes it. Made of the numbers: the text that stands beside them has several shapes.
pub(super) fn pci_address(info: &sys::nvmlPciInfo_t) -> String {
    format!("{:04x}:{:02x}:{:02x}.0", info.domain, info.bus & 0xff, info.device & 0xff)
}

/// What the GPU knows of the NVLink fabric. Older drivers know older, shorter forms of the question.
pub(super) fn fabric(device: &Device) -> Answer<sys::nvmlGpuFabricInfo_v3_t> {
    let mut info: sys::nvmlGpuFabricInfo_v3_t = zeroed();
    info.version = version_of::<sys::nvmlGpuFabricInfo_v3_t>(3);
    match call!(device, nvmlDeviceGetGpuFabricInfoV, &mut info) {
        Err(NvmlError::UnexpectedVariant(VERSION_MISMATCH) | NvmlError::InvalidArg) => {}
        Err(NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_)) => return fabric_v1(device),
        other => return other.map(|()| info),
    }
    let mut older: sys::nvmlGpuFabricInfo_v2_t = zeroed();
    older.version = version_of::<sys::nvmlGpuFabricInfo_v2_t>(2);
    call!(device, nvmlDeviceGetGpuFabricInfoV, (&raw mut older).cast())?;
    Ok(sys::nvmlGpuFabricInfo_v3_t {
        version: older.version,
        clusterUuid: older.clusterUuid,
        status: older.status,
        cliqueId: older.cliqueId,
        state: older.state,
        healthMask: older.healthMask,
        healthSummary: 0,
    })
}

fn fabric_v1(device: &Device) -> Answer<sys::nvmlGpuFabricInfo_v3_t> {
    let mut oldest: sys::nvmlGpuFabricInfo_t = zeroed();
    call!(device, nvmlDeviceGetGpuFabricInfo, &mut oldest)?;
    Ok(sys::nvmlGpuFabricInfo_v3_t {
        version: 0,
        clusterUuid: oldest.clusterUuid,
        status: oldest.status,
        cliqueId: oldest.cliqueId,
        state: oldest.state,
        healthMask: 0,
        healthSummary: 0,
    })
}

/// `NVML_ERROR_ARGUMENT_VERSION_MISMATCH`, which the wrapper does not know.
const VERSION_MISMATCH: u32 = 25;

/// Values of fields (`NVML_FI_…`), each with what it is about (0, or the number of an NVLink). The wrapper knows neither
/// negative values nor NVLinks.
///
/// The library leaves some fields as they were when it is asked for them together with certain others, and says of none
/// of them that something went wrong: seen with 193 to 196 and 270 and 271 on an H100 and an H200 with driver 580.159.
/// Asked for alone, they are answered. So what was left out is asked for again; what is left out even then is not there.
pub(super) fn field_values(device: &Device, fields: &[(u32, u32)]) -> Answer<Vec<Answer<i128>>> {
    let mut values = ask_fields(device, fields)?;
    for (value, field) in values.iter_mut().zip(fields) {
        if value.nvmlReturn == UNANSWERED && fields.len() > 1 {
            match ask_fields(device, std::slice::from_ref(field)) {
                Ok(alone) => *value = alone[0],
                Err(error) => value.nvmlReturn = u32::from(error),
            }
        }
    }
    let answer = |value: &sys::nvmlFieldValue_t| match value.nvmlReturn {
        UNANSWERED => Err(NvmlError::NotSupported),
        code => nvml_try(code).and_then(|()| field_value(value)),
    };
    Ok(values.iter().map(answer).collect())
}

/// No return code of NVML: what the library does not fill in must not pass for an answer.
const UNANSWERED: sys::nvmlReturn_t = u32::MAX;

fn ask_fields(device: &Device, fields: &[(u32, u32)]) -> Answer<Vec<sys::nvmlFieldValue_t>> {
    let scheme = device.nvml().field_id_scheme();
    let mut values: Vec<sys::nvmlFieldValue_t> = vec![zeroed(); fields.len()];
    for (value, (id, scope)) in values.iter_mut().zip(fields) {
        value.fieldId = translated(scheme, *id);
        value.scopeId = *scope;
        value.nvmlReturn = UNANSWERED;
    }
    call!(device, nvmlDeviceGetFieldValues, values.len() as i32, values.as_mut_ptr())?;
    Ok(values)
}

/// Driver 580.82 gave the fields 251 to 273 new numbers.
fn translated(scheme: FieldIdScheme, id: u32) -> u32 {
    match (scheme, id) {
        (FieldIdScheme::V13Update1, 251..=255) => id + 18,
        (FieldIdScheme::V13Update1, 256..=273) => id - 5,
        _ => id,
    }
}

fn field_value(field: &sys::nvmlFieldValue_t) -> Answer<i128> {
    // SAFETY: every member of the union is a plain number, which any bits are one of.
    unsafe {
        Ok(match field.valueType {
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE => field.value.dVal as i128,
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT => field.value.uiVal.into(),
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG => field.value.ulVal.into(),
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG => field.value.ullVal.into(),
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_LONG_LONG => field.value.sllVal.into(),
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT => field.value.siVal.into(),
            sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_SHORT => field.value.usVal.into(),
            other => return Err(NvmlError::UnexpectedVariant(other)),
        })
    }
}

/// Whether the node runs its GPUs confidentially.
pub(super) fn confidential_state(nvml: &Nvml) -> Answer<sys::nvmlConfComputeSystemState_t> {
    let mut state = zeroed();
    let function = nvml_sym(nvml.lib().nvmlSystemGetConfComputeState.as_ref())?;
    // SAFETY: as in `call`, without a device.
    nvml_try(unsafe { function(&mut state) })?;
    Ok(state)
}

/// Whether confidential GPUs take work.
pub(super) fn confidential_ready(nvml: &Nvml) -> Answer<bool> {
    let mut ready = 0;
    let function = nvml_sym(nvml.lib().nvmlSystemGetConfComputeGpusReadyState.as_ref())?;
    // SAFETY: as in `call`, without a device.
    nvml_try(unsafe { function(&mut ready) })?;
    Ok(ready != 0)
}

/// A GPU that the driver leaves out: its PCI address and its id.
pub(super) fn excluded_gpu(nvml: &Nvml, index: u32) -> Answer<(String, String)> {
    let mut info: sys::nvmlExcludedDeviceInfo_t = zeroed();
    let function = nvml_sym(nvml.lib().nvmlGetExcludedDeviceInfoByIndex.as_ref())?;
    // SAFETY: as in `call`, without a device.
    nvml_try(unsafe { function(index, &mut info) })?;
    let uuid: Vec<u8> = info.uuid.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    Ok((pci_address(&info.pciInfo), String::from_utf8(uuid).map_err(|error| error.utf8_error())?))
}
