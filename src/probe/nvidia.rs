//! `nvidia`: the driver of NVIDIA: its kernel module, its library, and whether the two work together.

use super::nvml::{self, Library};
use super::parts::{self, Part, Place, Progress};
use super::source::{Source, clipped};
use super::users::Members;
use super::{Probe, answer, first_present, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "nvidia",
    deadline: Duration::from_secs(25),
    answer: schema_of::<Nvidia>,
    arguments: None,
    ask: |source, _, progress| {
        let place = Place::new("", &["nvml", "confidential"], nvml::LIBRARY, nvml::DEADLINE);
        let part: Part = (place, Box::new(|| parts::fields(&from_library(source, progress))));
        Ok(parts::ask(answer(&observe(source))?, vec![part], progress))
    },
};

/// More excluded GPUs than any node has.
const MOST_EXCLUDED: u32 = 256;

/// The driver of NVIDIA: its kernel module, its library (NVML), and whether the two work together. On a node without
/// it nearly everything is absent (not present).
#[derive(Debug, Serialize, JsonSchema)]
struct Nvidia {
    /// Whether the kernel module is loaded (/sys/module/nvidia).
    module_loaded: Fact<bool>,
    /// Version of the loaded module, such as `565.57.01` (/sys/module/nvidia/version, /proc/driver/nvidia/version).
    /// Absent (not present) when it is not loaded.
    module_version: Fact<String>,
    /// Which of its two kinds it is (/proc/driver/nvidia/version).
    module_kind: Fact<ModuleKind>,
    /// What it was built with (/proc/driver/nvidia/version, second line).
    module_compiler: Fact<String>,
    /// The files of modules of NVIDIA that are installed for the running kernel (/lib/modules/RELEASE/modules.dep).
    /// Empty where none were built for it.
    module_files: Fact<Vec<String>>,
    /// The settings of the loaded module (/proc/driver/nvidia/params): `nvidia.params["EnableGpuFirmware"]`.
    params: Fact<BTreeMap<String, String>>,
    /// Its device nodes (/dev/nvidia*).
    device_nodes: Fact<Vec<DeviceNode>>,
    /// The file of the library: `/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.565.57.01`. Absent (not present) when it is
    /// in none of the usual folders.
    library_file: Fact<String>,
    /// Version in that file's name; it has to be the module's. Absent (failed) when the name has none.
    library_version: Fact<String>,
    /// What the library answers.
    nvml: Fact<NvmlState>,
    /// Whether the node computes confidentially. Absent (not supported) for drivers that cannot.
    confidential: Fact<Confidential>,
}

/// Which kind of kernel module it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ModuleKind {
    /// The open one. GPUs from Blackwell on need it.
    Open,
    /// The closed one.
    Proprietary,
}

/// A device node of the driver.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct DeviceNode {
    /// Such as `/dev/nvidia0`, `/dev/nvidiactl`, `/dev/nvidia-uvm`.
    path: String,
    /// Permission bits in octal: `0666`.
    mode: Fact<String>,
    /// Whether it is closed to ordinary users: others may not read and write it, and no account but root is in its group,
    /// by /etc/group and /etc/passwd. Absent (not_present) where these do not know the group, as with one of a directory.
    closed_to_users: Fact<bool>,
}

/// What the driver's library answers.
#[derive(Debug, Serialize, JsonSchema)]
struct NvmlState {
    /// Whether it could be loaded and started, so that it answers at all. False where there is none.
    works: Fact<bool>,
    /// What it returned when it was started: 0 for success, 4 no permission, 9 driver not loaded, 12 a library is
    /// missing, 17 blocked by the operating system (cgroup), 18 not of the module's version, 999 unknown. Absent (not
    /// present) where there is no library, (failed) where it could not be loaded.
    code: Fact<u32>,
    /// That in words. Absent (not present) when it works.
    error: Fact<String>,
    /// The path by which it was loaded; a bare name was found by the linker.
    path: Fact<String>,
    /// Version of the driver, as the library knows it.
    driver_version: Fact<String>,
    /// Version of the library: `12.565.57.01`.
    version: Fact<String>,
    /// The newest CUDA that it supports: `12.7`.
    cuda_version: Fact<String>,
    /// How many GPUs it counts; with those that this user may not open.
    gpu_count: Fact<u32>,
    /// GPUs that the driver was told to leave out.
    excluded_gpus: Fact<Vec<ExcludedGpu>>,
}

/// A GPU that the driver was told to leave out.
#[derive(Debug, Serialize, JsonSchema)]
struct ExcludedGpu {
    /// Its PCI address.
    pci: String,
    /// Its id.
    uuid: String,
}

/// Whether a node computes confidentially.
#[derive(Debug, Serialize, JsonSchema)]
struct Confidential {
    /// Whether it does.
    enabled: Fact<bool>,
    /// Whether debugging tools are let in, which makes it unsafe.
    development: Fact<bool>,
    /// Whether its GPUs take work; they do not before they were attested.
    ready: Fact<bool>,
}

/// The fields that the library's part answers.
#[derive(Serialize)]
struct FromLibrary {
    nvml: Fact<NvmlState>,
    confidential: Fact<Confidential>,
}

fn observe(source: &Source) -> Nvidia {
    let version = source.text("/proc/driver/nvidia/version").map_err(without_module);
    let module_loaded = match source.metadata("/sys/module/nvidia", true) {
        Ok(_) => Ok(true),
        Err(absent) if absent.reason == Reason::NotPresent => Ok(version.is_ok()),
        Err(absent) => Err(absent),
    };
    let banner = || version.as_ref().map_err(Clone::clone).map(String::as_str);
    let library_file = nvml::installed_file(source);
    let library_version = library_file.as_ref().map_err(Clone::clone).and_then(|file| {
        let version = file.rsplit_once(".so.").map(|(_, version)| version);
        let version = version.filter(|version| is_version(version));
        let unnamed = || Absent::failed(format!("the name \"{}\" ends with no version", clipped(file)));
        version.map(str::to_string).ok_or_else(unnamed)
    });
    Nvidia {
        module_loaded: module_loaded.into(),
        module_version: first_present([
            source.word("/sys/module/nvidia/version").map_err(without_module),
            banner().and_then(version_of),
        ]),
        module_kind: banner().and_then(kind_of).into(),
        module_compiler: banner().and_then(compiler_of).into(),
        module_files: module_files(source).into(),
        params: source.text("/proc/driver/nvidia/params").map_err(without_module).map(|text| params(&text)).into(),
        device_nodes: device_nodes(source).into(),
        library_file: library_file.into(),
        library_version: library_version.into(),
        nvml: parts::pending(),
        confidential: parts::pending(),
    }
}

fn without_module(absent: Absent) -> Absent {
    match absent.reason {
        Reason::NotPresent => Absent::not_present("the kernel module of NVIDIA is not loaded"),
        _ => absent,
    }
}

/// `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (dvs-builder@U16)  Thu Oct 10 …`
fn version_of(banner: &str) -> Result<String, Absent> {
    let line = banner.lines().find(|line| line.starts_with("NVRM version:"));
    let version = line.and_then(|line| line.split_whitespace().find(|word| is_version(word)));
    version.map(str::to_string).ok_or_else(|| unexpected(banner))
}

fn kind_of(banner: &str) -> Result<ModuleKind, Absent> {
    match banner.lines().find(|line| line.starts_with("NVRM version:")) {
        Some(line) if line.contains("Open Kernel Module") => Ok(ModuleKind::Open),
        Some(line) if line.contains("Kernel Module") => Ok(ModuleKind::Proprietary),
        _ => Err(unexpected(banner)),
    }
}

fn compiler_of(banner: &str) -> Result<String, Absent> {
    let compiler = banner.lines().find_map(|line| line.strip_prefix("GCC version:"));
    compiler.map(|compiler| compiler.trim().to_string()).ok_or_else(|| unexpected(banner))
}

fn unexpected(banner: &str) -> Absent {
    Absent::failed(format!("/proc/driver/nvidia/version: expected a version, found \"{}\"", clipped(banner.trim())))
}

/// `565.57.01`, `470.82`: numbers with points.
fn is_version(word: &str) -> bool {
    let mut numbers = word.split('.');
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    numbers.clone().count() >= 2 && numbers.all(is_number)
}

/// `EnableMSI: 1`, `RegistryDwords: "a=1"`.
fn params(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_string(), value.trim().trim_matches('"').to_string()))
    };
    text.lines().filter_map(line).collect()
}

/// What depmod(8) found; the file lists all modules, `updates/dkms/nvidia.ko.zst: …`.
fn module_files(source: &Source) -> Result<Vec<String>, Absent> {
    let release = source.line("/proc/sys/kernel/osrelease")?;
    let folder = format!("/lib/modules/{release}");
    let text = source.text(&format!("{folder}/modules.dep"))?;
    let is_ours = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.split_once(".ko").is_some_and(|(name, _)| name == "nvidia" || name.starts_with("nvidia-") || name.starts_with("nvidia_"))
            // These are parts of the kernel itself, for other devices.
            && !path.starts_with("kernel/drivers/platform/") && !path.contains("/fbdev/") && !path.contains("/i2c/")
    };
    let paths = text.lines().filter_map(|line| Some(line.split_once(':')?.0)).filter(is_ours);
    Ok(paths.map(|path| if path.starts_with('/') { path.to_string() } else { format!("{folder}/{path}") }).collect())
}

fn device_nodes(source: &Source) -> Result<Vec<DeviceNode>, Absent> {
    let names = source.names("/dev")?.into_iter().filter(|name| name.starts_with("nvidia"));
    // Asked once, and only where a node is not open to all.
    let members = LazyCell::new(|| Members::read(source));
    let node = |name: String| {
        let path = format!("/dev/{name}");
        let metadata = source.metadata(&path, true);
        // The folder of capabilities is no device.
        if metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            return None;
        }
        let recorded = source.recorded().and_then(|recorded| recorded.files.get(&path));
        let of_file = metadata.as_ref().map(|metadata| format!("{:04o}", metadata.permissions().mode() & 0o7777));
        let mode = recorded.and_then(|file| file.mode.clone()).map_or(of_file.map_err(Absent::clone), Ok);
        let gid = match source.recorded() {
            Some(_) => recorded.and_then(|file| file.gid).ok_or_else(|| Absent::not_present("no group was recorded")),
            None => metadata.as_ref().map(MetadataExt::gid).map_err(Absent::clone),
        };
        let closed = mode.clone().and_then(|mode| match u32::from_str_radix(&mode, 8) {
            Ok(bits) if bits & 0o6 == 0o6 => Ok(false),
            Ok(bits) if bits & 0o60 != 0o60 => Ok(true),
            _ => members.as_ref().map_err(Absent::clone)?.has_only_root(gid?),
        });
        Some(DeviceNode { mode: mode.into(), closed_to_users: closed.into(), path })
    };
    Ok(names.filter_map(node).collect())
}

/// What is asked of the library. It may hang.
fn from_library(source: &Source, progress: &dyn Progress) -> FromLibrary {
    match nvml::awaited(source, progress) {
        Ok(library) => FromLibrary { nvml: works(library).into(), confidential: confidential(library).into() },
        Err(refusal) => {
            let absent = &refusal.absent;
            if absent.reason == Reason::NotRecorded {
                return FromLibrary { nvml: Fact(Err(absent.clone())), confidential: Fact(Err(absent.clone())) };
            }
            fn fact<T>(absent: &Absent) -> Fact<T> {
                Fact(Err(absent.clone()))
            }
            let nvml = NvmlState {
                works: false.into(),
                code: refusal.code.ok_or_else(|| absent.clone()).into(),
                error: absent.detail.clone().into(),
                path: fact(absent),
                driver_version: fact(absent),
                version: fact(absent),
                cuda_version: fact(absent),
                gpu_count: fact(absent),
                excluded_gpus: fact(absent),
            };
            FromLibrary { nvml: nvml.into(), confidential: fact(absent) }
        }
    }
}

fn works(library: &Library) -> NvmlState {
    let nvml = library.nvml;
    let absent = |error| nvml::Refusal::from(error).absent;
    let count = nvml.device_count().map_err(absent).and_then(|count| match count {
        0..=1024 => Ok(count),
        count => Err(Absent::failed(format!("NVML gave {count}, which cannot be"))),
    });
    NvmlState {
        works: true.into(),
        code: 0.into(),
        error: Fact(Err(Absent::not_present("it works"))),
        path: library.path.clone().into(),
        driver_version: nvml.sys_driver_version().map_err(absent).into(),
        version: nvml.sys_nvml_version().map_err(absent).into(),
        cuda_version: nvml.sys_cuda_driver_version().map_err(absent).and_then(cuda_version).into(),
        gpu_count: count.into(),
        excluded_gpus: excluded(library).into(),
    }
}

/// 12070 is 12.7.
fn cuda_version(number: i32) -> Result<String, Absent> {
    match number {
        1000..=999_999 => Ok(format!("{}.{}", number / 1000, number % 1000 / 10)),
        _ => Err(Absent::failed(format!("NVML gave {number}, which cannot be"))),
    }
}

fn excluded(library: &Library) -> Result<Vec<ExcludedGpu>, Absent> {
    let count = library.nvml.excluded_device_count().map_err(|error| nvml::Refusal::from(error).absent)?;
    if count > MOST_EXCLUDED {
        return Err(Absent::failed(format!("NVML gave {count}, which cannot be")));
    }
    let excluded = |index| nvml::excluded_gpu(library.nvml, index).map_err(|error| nvml::Refusal::from(error).absent);
    (0..count).map(|index| excluded(index).map(|(pci, uuid)| ExcludedGpu { pci, uuid })).collect()
}

fn confidential(library: &Library) -> Result<Confidential, Absent> {
    let absent = |error| nvml::Refusal::from(error).absent;
    let state = nvml::confidential_state(library.nvml).map_err(absent)?;
    let ready = match state.ccFeature {
        0 => Err(Absent::not_supported("the node does not compute confidentially")),
        _ => nvml::confidential_ready(library.nvml).map_err(absent),
    };
    Ok(Confidential {
        enabled: (state.ccFeature != 0).into(),
        development: (state.devToolsMode != 0).into(),
        ready: ready.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::{Shared, Silent};
    use crate::probe::source::Recorded;
    use serde_json::{Value, json};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Mutex;

    fn put(dir: &Path, path: &str, content: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn ask(dir: &Path) -> Value {
        (PROBE.ask)(&Source::dead(dir, Recorded::default()), &Value::Null, &Silent).unwrap()
    }

    /// Hears what is waited for.
    #[derive(Default)]
    struct Waits(Mutex<Vec<Option<String>>>);

    impl Progress for Waits {
        fn waiting(&self, thing: Option<Shared>) {
            self.0.lock().unwrap().push(thing.map(|thing| thing.label));
        }
        fn so_far(&self, _: &Value, _: &[Place]) {}
        fn asking(&self, _: &Place) {}
        fn answered(&self, _: &Place, _: &serde_json::Map<String, Value>) {}
        fn started(&self, _: u32) {}
    }

    /// Where the library kills its process, that is said once, whichever of the probes that wait for it comes first.
    #[test]
    fn the_library_is_waited_for_as_by_the_other_probes() {
        let dir = tempfile::tempdir().unwrap();
        let waits = Waits::default();
        (PROBE.ask)(&Source::dead(dir.path(), Recorded::default()), &Value::Null, &waits).unwrap();
        assert_eq!(waits.0.into_inner().unwrap(), [Some(nvml::LIBRARY.to_string()), None]);
    }

    #[test]
    fn a_loaded_module_is_told_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let banner = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (me@here)  Thu\n\
                      GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n";
        put(dir.path(), "proc/driver/nvidia/version", banner);
        put(dir.path(), "proc/driver/nvidia/params", "EnableMSI: 1\nRegistryDwords: \"A=1;B=2\"\nbroken\n");
        put(dir.path(), "sys/module/nvidia/version", "565.57.01\n");
        put(dir.path(), "proc/sys/kernel/osrelease", "6.8.0-1\n");
        let dep = "updates/dkms/nvidia.ko.zst:\nupdates/dkms/nvidia-uvm.ko.zst: updates/dkms/nvidia.ko.zst\n\
                   kernel/drivers/platform/x86/nvidia-wmi-ec-backlight.ko:\nkernel/net/nvidiabutnot.ko:\n";
        put(dir.path(), "lib/modules/6.8.0-1/modules.dep", dep);
        put(dir.path(), "dev/nvidia0", "");
        put(dir.path(), "dev/nvidiactl", "");
        put(dir.path(), "dev/nvidia-caps/nvidia-cap1", "");
        put(dir.path(), "dev/null", "");
        put(dir.path(), "usr/lib64/libnvidia-ml.so.550.90.07", "");
        symlink("libnvidia-ml.so.550.90.07", dir.path().join("usr/lib64/libnvidia-ml.so.1")).unwrap();
        let nvidia = ask(dir.path());
        assert_eq!(nvidia["module_loaded"], true);
        assert_eq!(nvidia["module_version"], "565.57.01");
        assert_eq!(nvidia["module_kind"], "open");
        assert_eq!(nvidia["module_compiler"], "gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)");
        let folder = "/lib/modules/6.8.0-1/updates/dkms";
        assert_eq!(
            nvidia["module_files"],
            json!([format!("{folder}/nvidia.ko.zst"), format!("{folder}/nvidia-uvm.ko.zst")])
        );
        assert_eq!(nvidia["params"], json!({"EnableMSI": "1", "RegistryDwords": "A=1;B=2"}));
        let nodes: Vec<&Value> = nvidia["device_nodes"].as_array().unwrap().iter().map(|node| &node["path"]).collect();
        assert_eq!(nodes, ["/dev/nvidia0", "/dev/nvidiactl"]);
        assert_eq!(nvidia["library_file"], "/usr/lib64/libnvidia-ml.so.550.90.07");
        assert_eq!(nvidia["library_version"], "550.90.07");
        assert_eq!(nvidia["nvml"]["absent"], "not_recorded");
    }

    #[test]
    fn a_node_without_a_driver_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let nvidia = ask(dir.path());
        assert_eq!(nvidia["module_loaded"], false);
        assert_eq!(nvidia["module_version"]["absent"], "not_present");
        assert_eq!(nvidia["library_file"]["absent"], "not_present");
        assert_eq!(nvidia["device_nodes"]["absent"], "not_present");
    }

    #[test]
    fn garbage_is_quoted_and_no_version() {
        assert!(version_of("NVRM version: nonsense\n").is_err());
        assert!(kind_of("nonsense").unwrap_err().detail.contains("nonsense"));
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82  Wed Oct\n";
        assert_eq!((version_of(closed), kind_of(closed)), (Ok("470.82".into()), Ok(ModuleKind::Proprietary)));
        assert_eq!(cuda_version(12070), Ok("12.7".into()));
        assert!(cuda_version(-1).is_err());
    }
}
