//! The GPU probes against a stand-in for the driver's library (`tests/nvml-stand-in`), which the real binary loads:
//! what they make of healthy GPUs, and of every way in which a library, a driver or a GPU can fail.

mod common;

use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The GPUs of the stand-in's machine `h100x8`.
const H100X8: [&str; 8] = [
    "0000:18:00.0",
    "0000:2a:00.0",
    "0000:3a:00.0",
    "0000:5d:00.0",
    "0000:9a:00.0",
    "0000:ab:00.0",
    "0000:ba:00.0",
    "0000:db:00.0",
];

/// Cargo puts the library beside the test programs.
fn stand_in() -> PathBuf {
    let beside = std::env::current_exe().unwrap();
    let library = beside.parent().unwrap().join("libnvidia_ml_stand_in.so");
    assert!(library.is_file(), "{} was not built", library.display());
    library
}

/// A recorded node with a library of its own.
struct Node {
    dir: tempfile::TempDir,
    library: PathBuf,
}

impl Node {
    /// With these GPUs on its PCI bus, and a library that answers as described.
    fn new(gpus: &[&str], description: &str) -> Node {
        let node = Node { dir: tempfile::tempdir().unwrap(), library: stand_in() };
        node.put("tree/punchlist-observations.yaml", "recorded: '2026-11-20T08:15:00Z'\n");
        for gpu in gpus {
            for (file, text) in [("vendor", "0x10de"), ("device", "0x2330"), ("class", "0x030200"), ("numa_node", "1")]
            {
                node.put(&format!("tree/sys/bus/pci/devices/{gpu}/{file}"), text);
            }
        }
        node.put("description.yaml", description);
        node
    }

    fn h100x8(more: &str) -> Node {
        Node::new(&H100X8, &format!("machine: h100x8\n{more}"))
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn command(&self, command: &str) -> Command {
        let mut punchlist = Command::new(env!("CARGO_BIN_EXE_punchlist"));
        punchlist.arg(command).arg("--root").arg(self.path("tree")).arg("--nvml").arg(&self.library);
        punchlist.env("PUNCHLIST_NVML_STAND_IN", self.path("description.yaml")).env("NO_COLOR", "1");
        punchlist
    }

    /// What these probes answer, asked by a worker without a supervisor.
    fn ask(&self, probes: &[&str]) -> Vec<Json> {
        let mut worker =
            self.command("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let lines: String = probes.iter().map(|probe| format!("[\"{probe}\",null,null]\n")).collect();
        worker.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = worker.wait_with_output().unwrap();
        let mut answers = vec![Json::Null; probes.len()];
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let event: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let (kind, event) = event.as_object().unwrap().iter().next().unwrap();
            let answer = &mut answers[event["number"].as_u64().unwrap() as usize];
            match kind.as_str() {
                // What was told part by part is not told again.
                "SoFar" | "Done" if !event["value"].is_null() => *answer = event["value"].clone(),
                "Part" => {
                    let record = answer.pointer_mut(event["pointer"].as_str().unwrap()).unwrap();
                    record.as_object_mut().unwrap().extend(event["fields"].as_object().unwrap().clone());
                }
                _ => {}
            }
        }
        assert!(answers.iter().all(|answer| !answer.is_null()), "{:?}: not all of {probes:?}", output.status);
        answers
    }

    fn ask_one(&self, probe: &str) -> Json {
        self.ask(&[probe]).remove(0)
    }

    /// The report of a whole run with one check a GPU, and how long that took.
    fn run(&self, more: &[&str]) -> (Json, Duration) {
        self.run_with(&[], more)
    }

    /// As [`Node::run`], with these in the environment.
    fn run_with(&self, environment: &[(&str, &str)], more: &[&str]) -> (Json, Duration) {
        self.put(
            "checks.yaml",
            "checklist: try\ntitle: Try\nabout: Tries.\nchecks:\n\
             - {id: try.gpu, title: GPUs are cool, for_each: {gpu: gpus}, expect: gpu.temperature.gpu_c < 60}\n\
             - {id: try.answered, title: GPUs answer, for_each: {gpu: gpus}, expect: gpu.answered}\n\
             - {id: try.pair, title: Pairs reach each other, for_each: {pair: gpu_pairs}, expect: pair.read == \"ok\"}\n\
             - {id: try.driver, title: The driver works, expect: nvidia.nvml.works}\n",
        );
        let started = Instant::now();
        let mut run = self.command("run");
        run.envs(environment.iter().copied());
        run.args(["--format", "json", "--only", "try"]).args(more).arg(self.path("checks.yaml"));
        let Output { stdout, stderr, .. } = run.output().unwrap();
        let mut report: Json = serde_json::from_slice(&stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
        report["outcomes"] = common::outcomes(&report).into();
        (report, started.elapsed())
    }
}

/// The statuses of a check, by subject.
fn statuses<'r>(report: &'r Json, check: &str) -> BTreeMap<&'r str, &'r str> {
    let outcomes = report["outcomes"].as_array().unwrap().iter();
    let of_check = outcomes.filter(|outcome| outcome["check"] == check);
    of_check.map(|one| (one["subject"]["key"].as_str().unwrap_or(""), one["status"].as_str().unwrap())).collect()
}

fn titles(report: &Json) -> Vec<&str> {
    report["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect()
}

/// The value at a path such as `temperature.gpu_c`.
fn at<'v>(value: &'v Json, path: &str) -> &'v Json {
    path.split('.').fold(value, |value, step| match step.parse::<usize>() {
        Ok(index) => &value[index],
        Err(_) => &value[step],
    })
}

/// The library without some of its functions, as an older driver has it: a function whose name is another one in the
/// file is one that the linker does not find.
fn without(node: &mut Node, functions: &[&str]) {
    let mut bytes = fs::read(stand_in()).unwrap();
    for function in functions {
        let name = format!("\0{function}\0").into_bytes();
        let places: Vec<usize> = bytes
            .windows(name.len())
            .enumerate()
            .filter(|(_, window)| *window == name)
            .map(|(place, _)| place)
            .collect();
        assert!(!places.is_empty(), "the stand-in has no {function}");
        for place in places {
            bytes[place + 1] = b'x';
        }
    }
    node.library = node.path("libnvidia-ml.so.1");
    fs::write(&node.library, bytes).unwrap();
}

#[test]
fn eight_healthy_h100_answer_for_everything() {
    let node = Node::h100x8("gpus: {5: {ComputeRunningProcesses_v3: [{pid: 4711, usedGpuMemory: 1048576}]}}\n");
    node.put("tree/proc/1/status", "Name:\tsystemd\nUid:\t0\t0\t0\t0\n");
    node.put("tree/proc/4711/status", "Name:\tpython3\nUid:\t1000\t1000\t1000\t1000\n");
    node.put("tree/etc/passwd", "ann:x:1000:1000::/:/bin/sh\n");
    let answers = node.ask(&["nvidia", "gpus", "gpu_pairs"]);
    let (nvidia, gpus, pairs) = (&answers[0], answers[1].as_array().unwrap(), answers[2].as_array().unwrap());
    for (path, expected) in [
        ("nvml.works", "true"),
        ("nvml.code", "0"),
        ("nvml.driver_version", "\"565.57.01\""),
        ("nvml.version", "\"12.565.57.01\""),
        ("nvml.cuda_version", "\"12.7\""),
        ("nvml.gpu_count", "8"),
        ("nvml.excluded_gpus", "[]"),
        ("confidential.enabled", "false"),
    ] {
        assert_eq!(at(nvidia, path).to_string(), expected, "{path}");
    }
    let found: Vec<&Json> = gpus.iter().map(|gpu| &gpu["pci"]).collect();
    assert_eq!(found, H100X8);
    let gpu = &gpus[5];
    for (path, expected) in [
        ("on_bus", "true"),
        ("device", "\"GH100 [H100 SXM5 80GB]\""),
        ("numa_node", "1"),
        ("answered", "true"),
        ("lost", "false"),
        ("index", "5"),
        ("name", "\"NVIDIA H100 80GB HBM3\""),
        ("uuid", "\"GPU-10000000-0000-4000-8000-000000000005\""),
        ("serial", "\"1650000000005\""),
        ("minor.absent", "\"not_supported\""),
        ("architecture", "\"hopper\""),
        ("compute_capability", "\"9.0\""),
        ("module_id", "5"),
        ("addressing_mode", "\"none\""),
        ("persistence", "true"),
        ("compute_mode", "\"default\""),
        ("virtualization", "\"none\""),
        ("recovery_action", "\"none\""),
        ("memory.total_bytes", "85520809984"),
        ("memory.reserved_bytes", "476053504"),
        ("memory_bus_bits", "5120"),
        ("bar1.total_bytes", "137438953472"),
        ("ecc.enabled", "true"),
        ("ecc.volatile.uncorrectable", "0"),
        ("ecc.aggregate.sram.uncorrectable", "0"),
        ("ecc.volatile.l1_cache.absent", "\"not_supported\""),
        ("ecc.sram.threshold_exceeded", "false"),
        ("remapped_rows.pending", "false"),
        ("remapped_rows.banks.max", "2560"),
        ("remapped_rows.unrepairable.absent", "\"not_supported\""),
        ("retired_pages.absent", "\"not_supported\""),
        ("temperature.gpu_c", "30"),
        ("temperature.memory_c", "36"),
        ("temperature.margin_c", "57"),
        ("temperature.shutdown_margin_c", "-8"),
        ("temperature.slowdown_margin_c", "-2"),
        ("temperature.shutdown_c.absent", "\"not_supported\""),
        ("power.draw_w", "82.34"),
        ("power.max_limit_w", "700.0"),
        ("power.energy_j", "912345.678"),
        ("clocks.memory_mhz", "2619"),
        ("clocks.application_graphics_mhz", "1980"),
        ("throttling.reasons", "[\"gpu_idle\"]"),
        ("throttling.hw_thermal_seconds", "0.0"),
        ("pcie.generation", "5"),
        ("pcie.gpu_max_generation", "5"),
        ("pcie.width", "16"),
        ("pcie.recoveries", "4"),
        ("nvlinks.17.index", "17"),
        ("nvlinks.17.active", "true"),
        ("nvlinks.17.speed_gbytes", "26.562"),
        ("nvlinks.17.remote_kind", "\"switch\""),
        ("nvlinks.17.remote_pci", "\"0000:07:00.0\""),
        ("nvlinks.17.crc_errors", "0"),
        ("nvlinks.17.quality.absent", "\"not_supported\""),
        ("fabric.state", "\"completed\""),
        ("fabric.status", "0"),
        ("fabric.cluster_uuid", "\"00000000-0000-0000-0000-000000000000\""),
        ("fabric.degraded_bandwidth.absent", "\"not_supported\""),
        ("mig.enabled", "false"),
        ("mig.devices.absent", "\"not_supported\""),
        ("processes.0.name", "\"python3\""),
        ("processes.0.user", "\"ann\""),
        ("processes.0.exists", "true"),
        ("inforom.valid", "true"),
        ("inforom.power_version.absent", "\"not_supported\""),
        ("gsp.version", "\"565.57.01\""),
    ] {
        assert_eq!(at(gpu, path).to_string(), expected, "{path}");
    }
    assert_eq!(gpu["nvlinks"].as_array().unwrap().len(), 18);
    assert_eq!(pairs.len(), 28);
    assert_eq!(pairs[27]["pair"], "0000:ba:00.0 0000:db:00.0");
    assert!(pairs.iter().all(|pair| pair["read"] == "ok" && pair["path"] == "numa_node"));
}

#[test]
fn no_call_is_made_twice() {
    let node = Node::h100x8("");
    let log = node.path("calls.txt");
    node.put("description.yaml", &format!("machine: h100x8\nlog: {}\n", log.display()));
    node.ask(&["nvidia", "gpus", "gpu_pairs"]);
    let calls = fs::read_to_string(log).unwrap();
    let mut seen = BTreeSet::new();
    // nvml-wrapper asks for the version itself when it starts.
    let twice: Vec<&str> = calls.lines().filter(|call| !call.ends_with(" -") && !seen.insert(*call)).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(calls.lines().count() > 8 * 100);
}

#[test]
fn an_older_generation_has_absolute_limits_and_no_fabric() {
    let node = Node::new(&["0000:07:00.0", "0000:0f:00.0"], "machine: a100x2\n");
    let gpus = node.ask_one("gpus");
    assert_eq!(at(&gpus, "1.temperature.slowdown_c"), 89);
    assert_eq!(at(&gpus, "1.temperature.margin_c"), 85 - 24);
    assert_eq!(at(&gpus, "1.temperature.shutdown_margin_c.absent"), "not_supported");
    assert_eq!(at(&gpus, "1.fabric.absent"), "not_supported");
    assert_eq!(at(&gpus, "1.nvlinks.11.remote_kind"), "gpu");
    assert_eq!(at(&gpus, "1.nvlinks").as_array().unwrap().len(), 12);
    assert_eq!(at(&gpus, "1.serial.absent"), "not_supported");
}

#[test]
fn a_lost_gpu_is_an_entry_that_says_so() {
    for fault in [
        "{call: nvmlDeviceGetHandleByPciBusId_v2, gpu: 3, returns: 15}",
        "{call: nvmlDeviceGetTemperature, gpu: 3, returns: 15}",
        "{call: 'nvmlDevice*', gpu: 3, returns: 15}",
    ] {
        let node = Node::h100x8(&format!("faults: [{fault}]\n"));
        let gpus = node.ask_one("gpus");
        assert_eq!(gpus.as_array().unwrap().len(), 8);
        assert_eq!(at(&gpus, "3.lost"), true, "{fault}");
        assert_eq!(at(&gpus, "3.answered"), false, "{fault}");
        assert_eq!(at(&gpus, "3.name.absent"), "failed", "{fault}");
        assert!(at(&gpus, "3.ecc.detail").as_str().unwrap().contains("lost"), "{fault}");
        assert_eq!(at(&gpus, "3.device_id"), "2330", "{fault}");
        assert_eq!(at(&gpus, "4.lost"), false, "{fault}");
        assert_eq!(at(&gpus, "4.temperature.gpu_c"), 30, "{fault}");
    }
    // The driver may give another error for it; then the bus knows.
    let node = Node::h100x8("faults: [{call: nvmlDeviceGetHandleByPciBusId_v2, gpu: 3, returns: 999}]\n");
    assert_eq!(at(&node.ask_one("gpus"), "3.lost"), false);
    fs::write(node.path("tree/sys/bus/pci/devices/0000:5d:00.0/config"), [0xff; 64]).unwrap();
    assert_eq!(at(&node.ask_one("gpus"), "3.lost"), true);
}

#[test]
fn a_gpu_that_the_driver_does_not_know_is_there_and_does_not_answer() {
    let node = Node::h100x8("count: 0\ngpus: {6: {pci: '0000:ff:00.0'}}\n");
    let gpus = node.ask_one("gpus");
    assert_eq!(gpus.as_array().unwrap().len(), 8);
    assert_eq!(at(&gpus, "6.answered"), false);
    assert_eq!(at(&gpus, "6.lost"), false);
    assert_eq!(at(&gpus, "6.name.absent"), "not_present");
    assert_eq!(at(&gpus, "5.answered"), true);
}

#[test]
fn gpus_that_only_the_driver_knows_are_listed_too() {
    let node = Node::new(&[], "machine: h100x8\n");
    let gpus = node.ask_one("gpus");
    assert_eq!(gpus.as_array().unwrap().len(), 8);
    assert_eq!(at(&gpus, "7.pci"), "0000:db:00.0");
    assert_eq!(at(&gpus, "7.on_bus"), false);
    assert_eq!(at(&gpus, "7.device_id.absent"), "not_present");
    assert_eq!(at(&gpus, "7.temperature.gpu_c"), 30);
    let many: String = (0..20).map(|index| format!("  {index}: {{pci: '0000:{index:02x}:00.0', Name: X}}\n")).collect();
    let node = Node::new(&[], &format!("gpus:\n{many}"));
    assert_eq!(node.ask_one("gpus").as_array().unwrap().len(), 20);
}

#[test]
fn a_count_that_cannot_be_is_no_reason_to_ask_for_ever() {
    let node = Node::h100x8("count: 4294967295\n");
    let answers = node.ask(&["nvidia", "gpus"]);
    assert_eq!(at(&answers[0], "nvml.gpu_count.absent"), "failed");
    assert!(at(&answers[0], "nvml.gpu_count.detail").as_str().unwrap().contains("4294967295"));
    assert_eq!(at(&answers[1], "7.answered"), true);
}

#[test]
fn each_way_in_which_the_library_refuses_to_start_is_told() {
    for (code, reason, words) in [
        (4, "denied", "does not allow"),
        (9, "not_present", "not loaded"),
        (12, "failed", "library"),
        (17, "failed", "cgroup"),
        (18, "failed", "different versions"),
        (28, "not_present", "no GPU"),
        (999, "failed", "unknown"),
        (1234, "failed", "1234"),
    ] {
        let node = Node::h100x8(&format!("faults: [{{call: nvmlInit_v2, returns: {code}}}]\n"));
        let answers = node.ask(&["nvidia", "gpus", "gpu_pairs"]);
        assert_eq!(at(&answers[0], "nvml.works"), false, "{code}");
        assert_eq!(at(&answers[0], "nvml.code"), code, "{code}");
        let error = at(&answers[0], "nvml.error").as_str().unwrap();
        assert!(error.contains(words) && error.contains(&code.to_string()), "{code}: {error}");
        assert_eq!(answers[1].as_array().unwrap().len(), 8, "{code}");
        // Whether a GPU answers that this user may not ask, nobody can tell.
        match reason {
            "denied" => assert_eq!(at(&answers[1], "0.answered.absent"), reason, "{code}"),
            _ => assert_eq!(at(&answers[1], "0.answered"), false, "{code}"),
        }
        assert_eq!(at(&answers[1], "0.lost"), false, "{code}");
        assert_eq!(at(&answers[1], "0.device"), "GH100 [H100 SXM5 80GB]", "{code}");
        assert_eq!(at(&answers[1], "0.temperature.absent"), reason, "{code}");
        assert_eq!(at(&answers[2], "0.read.absent"), reason, "{code}");
    }
}

#[test]
fn every_code_of_every_call_costs_only_what_was_asked() {
    for code in (1..=30).chain([999, 4_294_967_295_u32]).filter(|code| *code != 15) {
        // All but those that give handles and ids.
        let calls = ["B", "C", "E", "F", "G", "M", "N", "P", "R", "S", "T"];
        let faults: Vec<String> =
            calls.iter().map(|letter| format!("{{call: 'nvmlDeviceGet{letter}*', returns: {code}}}")).collect();
        let node = Node::h100x8(&format!("faults: [{}]\n", faults.join(", ")));
        let gpus = node.ask_one("gpus");
        assert_eq!(at(&gpus, "0.answered"), true, "{code}");
        assert_eq!(at(&gpus, "0.uuid"), "GPU-10000000-0000-4000-8000-000000000000", "{code}");
        for path in ["0.name", "0.temperature.gpu_c", "0.memory", "0.recovery_action", "0.pcie.generation"] {
            assert!(at(&gpus, path)["absent"].is_string(), "{code}: {path} is {}", at(&gpus, path));
        }
    }
}

#[test]
fn values_that_cannot_be_are_absent_and_named() {
    let node = Node::h100x8(
        "gpus:\n  0:\n    Temperature: {0: 0}\n    Name: \"H\\xff100\"\n    Serial: \"a\\x1bb\"\n    PowerUsage: 4294967295\n    \
         TotalEccErrors: 18446744073709551615\n    MarginTemperature: -9999\n    CurrPcieLinkWidth: 0\n    \
         MemoryInfo_v2: {total: 0, used: 18446744073709551615}\n    EccMode: {0: 4, 1: 7}\n    Architecture: 13\n    \
         ComputeRunningProcesses_v3: [{pid: 1, usedGpuMemory: 18446744073709551615}]\n    CurrentClocksEventReasons: 4100\n    \
         FieldValues: {82: 4000000000, 230: 77, 94: 18446744073709551615, 193: -30000}\n  1: {Temperature: {0: 4000000000}}\n",
    );
    let gpus = node.ask_one("gpus");
    for (path, says) in [
        ("0.temperature.gpu_c", "gave 0,"),
        ("0.temperature.memory_c", "4000000000"),
        ("0.temperature.margin_c", "-9999"),
        ("0.temperature.shutdown_margin_c", "-30000"),
        ("0.name", "not UTF-8"),
        ("0.serial", "\\u{1b}"),
        ("0.power.draw_w", "4294967295"),
        ("0.ecc.volatile.uncorrectable", "18446744073709551615"),
        ("0.ecc.enabled", "gave 4,"),
        ("0.pcie.width", "gave 0,"),
        ("0.pcie.replays", "18446744073709551615"),
        ("0.memory.total_bytes", "gave 0,"),
        ("0.memory.used_bytes", "18446744073709551615"),
        ("0.recovery_action", "77"),
        ("1.temperature.gpu_c", "4000000000"),
    ] {
        let value = at(&gpus, path);
        assert_eq!(value["absent"], "failed", "{path}: {value}");
        assert!(value["detail"].as_str().unwrap().contains(says), "{path}: {value}");
    }
    assert_eq!(at(&gpus, "0.architecture"), "13");
    assert_eq!(at(&gpus, "0.throttling.reasons").to_string(), "[\"sw_power_cap\",\"bit 12\"]");
    assert_eq!(at(&gpus, "0.processes.0.memory_bytes.absent"), "not_supported");
    assert_eq!(at(&gpus, "0.processes.0.exists.absent"), "denied");
    assert_eq!(at(&gpus, "0.uuid"), "GPU-10000000-0000-4000-8000-000000000000");
}

#[test]
fn an_old_driver_answers_what_it_can() {
    let mut node = Node::h100x8("gpu: {GpuFabricInfo: {state: 2}}\n");
    without(
        &mut node,
        &[
            "nvmlDeviceGetModuleId",
            "nvmlDeviceGetPlatformInfo",
            "nvmlDeviceGetNumaNodeId",
            "nvmlDeviceGetAddressingMode",
            "nvmlDeviceGetRemappedRows",
            "nvmlDeviceGetRowRemapperHistogram",
            "nvmlDeviceGetRepairStatus",
            "nvmlDeviceGetUnrepairableMemoryFlag_v1",
            "nvmlDeviceGetSramEccErrorStatus",
            "nvmlDeviceGetMarginTemperature",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetMemoryInfo_v2",
            "nvmlDeviceGetGpuFabricInfoV",
            "nvmlDeviceGetGspFirmwareMode",
            "nvmlDeviceGetGspFirmwareVersion",
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlSystemGetConfComputeState",
            "nvmlShutdown",
        ],
    );
    let answers = node.ask(&["nvidia", "gpus"]);
    let gpus = &answers[1];
    assert_eq!(at(&answers[0], "confidential.absent"), "not_supported");
    for path in ["module_id", "platform", "remapped_rows", "ecc.sram", "gsp.version", "processes"] {
        assert_eq!(at(&gpus[0], path)["absent"], "not_supported", "{path}");
    }
    assert_eq!(at(&gpus[0], "temperature.gpu_c"), 30);
    assert_eq!(at(&gpus[0], "throttling.reasons.0"), "gpu_idle");
    assert_eq!(at(&gpus[0], "memory.total_bytes"), 85_520_809_984_u64);
    assert_eq!(at(&gpus[0], "memory.reserved_bytes.absent"), "not_supported");
    assert_eq!(at(&gpus[0], "fabric.state"), "in_progress");
    without(&mut node, &["nvmlInit_v2"]);
    let nvidia = node.ask_one("nvidia");
    assert_eq!(at(&nvidia, "nvml.works"), false);
    assert!(at(&nvidia, "nvml.error").as_str().unwrap().contains("no NVML"));
}

#[test]
fn newer_drivers_number_some_fields_anew_and_older_ones_know_shorter_structs() {
    let more = "SystemGetDriverVersion: '580.95.05'\n\
                gpu: {FieldValues: {252: 3000000000}, GpuFabricInfoV: {newest: 2, healthMask: 1025}}\n";
    let gpus = Node::h100x8(more).ask_one("gpus");
    assert_eq!(at(&gpus, "0.throttling.hw_thermal_seconds"), 3.0);
    assert_eq!(at(&gpus, "0.fabric.degraded_bandwidth"), true);
    assert_eq!(at(&gpus, "0.fabric.misconfiguration"), "no_partition");
    assert_eq!(at(&gpus, "0.fabric.health.absent"), "not_supported");
    let more =
        "gpu: {FieldValues: {220: {3: 1292}, 221: {3: 9}}, GpuFabricInfoV: {healthMask: 170, healthSummary: 2}}\n";
    let gpus = Node::h100x8(more).ask_one("gpus");
    assert_eq!(at(&gpus, "0.fabric.route_unhealthy"), false);
    assert_eq!(at(&gpus, "0.fabric.health"), "unhealthy");
    assert_eq!(at(&gpus, "0.nvlinks.3.quality.symbol_errors"), 9);
    assert_eq!(at(&gpus, "0.nvlinks.3.quality.effective_bit_error_rate"), 5e-12);
    assert_eq!(at(&gpus, "0.nvlinks.4.quality.absent"), "not_supported");
}

#[test]
fn a_divided_gpu_lists_its_parts() {
    let node = Node::h100x8(
        "gpus:\n  2:\n    MigMode: {0: 1, 1: 1}\n    mig:\n    - {UUID: MIG-a, GpuInstanceId: 1, ComputeInstanceId: 0, \
         MemoryInfo_v2: {total: 1000, used: 10}}\n    - null\n    - {UUID: MIG-b, GpuInstanceId: 5, ComputeInstanceId: 0}\n",
    );
    let gpus = node.ask_one("gpus");
    let parts = at(&gpus, "2.mig.devices").as_array().unwrap();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0]["memory_total_bytes"], 1000);
    assert_eq!((&parts[1]["uuid"], &parts[1]["index"]), (&"MIG-b".into(), &2.into()));
    assert_eq!(parts[1]["memory_total_bytes"]["absent"], "not_supported");
}

#[test]
fn a_process_that_no_longer_exists_is_told() {
    let processes: String = (1..=200).map(|pid| format!("{{pid: {}, usedGpuMemory: 1}}, ", 1000 + pid)).collect();
    let node = Node::h100x8(&format!("gpus: {{0: {{ComputeRunningProcesses_v3: [{processes}]}}}}\n"));
    node.put("tree/proc/1/status", "Name:\tsystemd\nUid:\t0\t0\t0\t0\n");
    let gpus = node.ask_one("gpus");
    assert_eq!(at(&gpus, "0.processes").as_array().unwrap().len(), 200);
    assert_eq!(at(&gpus, "0.processes.199.exists"), false);
    assert_eq!(at(&gpus, "0.processes.199.name.absent"), "not_present");
}

#[test]
fn a_library_that_prints_or_leaves_does_not_garble_the_answers() {
    let node = Node::h100x8("faults: [{call: 'nvmlDeviceGetT*', prints: '{\"Done\":{\"number\":0,\"value\":[]}}'}]\n");
    assert_eq!(node.ask_one("gpus").as_array().unwrap().len(), 8);
    let node = Node::h100x8("faults: [{call: nvmlInit_v2, exits: 3}]\n");
    let (report, _) = node.run(&[]);
    assert_eq!(statuses(&report, "try.driver")[""], "unknown");
    assert!(titles(&report).iter().any(|title| title.contains("status 3")), "{:?}", titles(&report));
}

#[test]
fn a_file_that_is_no_library_and_a_recording_without_one_are_told_apart() {
    let mut node = Node::h100x8("");
    node.library = node.path("description.yaml");
    let answers = node.ask(&["nvidia", "gpus"]);
    assert_eq!(at(&answers[0], "nvml.works"), false);
    assert_eq!(at(&answers[0], "nvml.code.absent"), "failed");
    assert_eq!(at(&answers[1], "0.answered"), false);
    node.library = node.path("missing.so");
    assert!(at(&node.ask_one("nvidia"), "nvml.error").as_str().unwrap().contains("missing.so"));
    let recorded = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["run", "--format", "json", "--only", "try"])
        .arg("--root")
        .arg(node.path("tree"))
        .arg({
            node.put("checks.yaml", "checklist: try\ntitle: T\nabout: T.\nchecks:\n- {id: try.gpu, title: T, for_each: {gpu: gpus}, expect: gpu.answered}\n");
            node.path("checks.yaml")
        })
        .output()
        .unwrap();
    let mut report: Json = serde_json::from_slice(&recorded.stdout).unwrap();
    report["outcomes"] = Json::from(common::outcomes(&report));
    assert_eq!(statuses(&report, "try.gpu")[H100X8[0]], "unknown");
    assert_eq!(report["outcomes"][0]["reason"]["absent"], "not_recorded");
}

#[test]
fn a_healthy_node_passes_a_whole_run() {
    let (report, took) = Node::h100x8("").run(&[]);
    assert_eq!(statuses(&report, "try.gpu"), H100X8.into_iter().map(|pci| (pci, "pass")).collect());
    assert_eq!(statuses(&report, "try.driver")[""], "pass");
    assert_eq!(titles(&report), Vec::<&str>::new());
    assert!(took < Duration::from_secs(15), "took {took:?}");
}

#[test]
fn a_library_that_hangs_while_it_starts_still_leaves_the_gpus_of_the_bus() {
    let node = Node::h100x8("faults: [{call: nvmlInit_v2, hangs: true}]\n");
    let (report, took) = node.run(&["--deadline", "3s"]);
    // The library itself has 20 s.
    assert!(took < Duration::from_secs(10), "took {took:?}");
    let outcomes = statuses(&report, "try.gpu");
    assert_eq!(outcomes.len(), 8);
    assert!(outcomes.values().all(|status| *status == "unknown"));
    // Three probes wait for it, and eight GPUs; it is one thing that hangs.
    assert_eq!(titles(&report), ["the NVIDIA driver library did not answer before the run's deadline of 3 s"]);
}

#[test]
fn without_a_deadline_of_the_run_the_library_has_its_own() {
    let node = Node::h100x8("faults: [{call: nvmlInit_v2, hangs: true}]\n");
    let (report, took) = node.run(&["--deadline", "60s"]);
    assert!((20..40).contains(&took.as_secs()), "took {took:?}");
    assert_eq!(statuses(&report, "try.gpu").len(), 8);
    assert_eq!(titles(&report), ["the NVIDIA driver library did not answer in 20 s"]);
}

#[test]
fn a_gpu_that_hangs_costs_only_itself() {
    // Pairs wait some seconds for a GPU that may still be starting.
    for (call, seconds) in [("nvmlDeviceGetTemperature", 3), ("nvmlDeviceGetHandleByPciBusId_v2", 12)] {
        let node = Node::h100x8(&format!("faults: [{{call: {call}, gpu: 5, hangs: true}}]\n"));
        let (report, took) = node.run(&["--deadline", &format!("{seconds}s")]);
        assert!(took.as_secs() < seconds + 6, "took {took:?}");
        for (pci, status) in statuses(&report, "try.gpu") {
            assert_eq!(status, if pci == H100X8[5] { "unknown" } else { "pass" }, "{call}: {pci}");
        }
        assert_eq!(statuses(&report, "try.driver")[""], "pass");
        assert_eq!(titles(&report).len(), 1, "{:?}", titles(&report));
        assert!(titles(&report)[0].contains(H100X8[5]), "{:?}", titles(&report));
    }
}

#[test]
fn a_gpu_that_hangs_has_its_own_deadline() {
    let node = Node::h100x8("faults: [{call: nvmlDeviceGetTemperature, gpu: 5, hangs: true}]\n");
    // A tenth of each deadline, in builds for tests.
    let (report, took) = node.run_with(&[("PUNCHLIST_TEST_HURRY", "10")], &[]);
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(15), "took {took:?}");
    assert_eq!(titles(&report), [format!("GPU {} did not answer in 20 s", H100X8[5])]);
    let unknown = statuses(&report, "try.gpu").into_values().filter(|status| *status == "unknown").count();
    assert_eq!((unknown, statuses(&report, "try.driver")[""]), (1, "pass"));
}

#[test]
fn a_gpu_that_crashes_the_library_costs_only_itself() {
    let node = Node::h100x8("faults: [{call: nvmlDeviceGetTemperature, gpu: 5, crashes: true}]\n");
    let (report, _) = node.run(&[]);
    for (pci, status) in statuses(&report, "try.gpu") {
        assert_eq!(status, if pci == H100X8[5] { "unknown" } else { "pass" }, "{pci}");
    }
    assert_eq!(statuses(&report, "try.driver")[""], "pass");
    assert_eq!(titles(&report).len(), 1, "{:?}", titles(&report));
    assert!(titles(&report)[0].contains("signal 11"), "{:?}", titles(&report));
}

#[test]
fn whatever_the_library_does_to_its_process_costs_only_what_it_was_asked() {
    let garbage = "{\"Done\":{\"number\":0,\"value\":[]}}";
    for (fault, says) in [
        ("crashes: true", Some("signal 11 (SIGSEGV)")),
        ("exits: 0", Some("it left with status 0")),
        ("exits: 3", Some("it left with status 3")),
        (&*format!("prints: '{garbage}'"), None),
    ] {
        // In one call of GPU 5: the seven others are known, and nothing else suffers.
        for call in ["nvmlDeviceGetTemperature", "nvmlDeviceGetHandleByPciBusId_v2"] {
            let node = Node::h100x8(&format!("faults: [{{call: {call}, gpu: 5, {fault}}}]\n"));
            let (report, took) = node.run(&[]);
            assert!(took < Duration::from_secs(31), "{call} {fault}: {took:?}");
            for check in ["try.gpu", "try.answered"] {
                let found = statuses(&report, check);
                assert_eq!(found.len(), 8, "{call} {fault}: {found:?}");
                for (pci, status) in found {
                    let expected = if says.is_some() && pci == H100X8[5] { "unknown" } else { "pass" };
                    assert_eq!(status, expected, "{call} {fault}: {check} of {pci}");
                }
            }
            assert_eq!(statuses(&report, "try.driver")[""], "pass", "{call} {fault}");
            let named = titles(&report).into_iter().all(|title| says.is_some_and(|says| title.contains(says)));
            assert!(named && titles(&report).is_empty() == says.is_none(), "{call} {fault}: {:?}", titles(&report));
        }
        // While it starts: the GPUs of the bus are known, and that there is a driver that does not work.
        let node = Node::h100x8(&format!("faults: [{{call: nvmlInit_v2, {fault}}}]\n"));
        let (report, took) = node.run(&[]);
        assert!(took < Duration::from_secs(31), "{fault}: {took:?}");
        let expected = if says.is_some() { "unknown" } else { "pass" };
        assert_eq!(statuses(&report, "try.gpu").len(), 8, "{fault}");
        assert!(statuses(&report, "try.gpu").values().all(|status| *status == expected), "{fault}");
        assert_eq!(statuses(&report, "try.driver")[""], expected, "{fault}");
        let named: Vec<String> = says
            .map(|says| format!("the NVIDIA driver library killed the process that asked it: {says}"))
            .into_iter()
            .collect();
        assert_eq!(titles(&report), named, "{fault}");
    }
}

#[test]
fn a_pair_that_crashes_the_library_costs_only_itself() {
    let node = Node::h100x8("faults: [{call: nvmlDeviceGetP2PStatus, gpu: 6, crashes: true}]\n");
    let (report, _) = node.run(&[]);
    let unknown: Vec<&str> = statuses(&report, "try.pair")
        .into_iter()
        .filter(|(_, status)| *status != "pass")
        .map(|(pair, _)| pair)
        .collect();
    assert_eq!(unknown, ["0000:ba:00.0 0000:db:00.0"]);
    assert!(statuses(&report, "try.gpu").values().all(|status| *status == "pass"));
    assert_eq!(titles(&report).len(), 1, "{:?}", titles(&report));
    let node = Node::h100x8("faults: [{call: nvmlInit_v2, crashes: true}]\n");
    let (report, _) = node.run(&[]);
    assert_eq!(statuses(&report, "try.gpu").len(), 8);
    assert_eq!(titles(&report), ["the NVIDIA driver library killed the process that asked it: signal 11 (SIGSEGV)"]);
}

#[test]
fn the_library_is_found_below_another_root() {
    let node = Node::h100x8("");
    fs::remove_file(node.path("tree/punchlist-observations.yaml")).unwrap();
    let folder = node.path("tree/run/nvidia/driver/usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(stand_in(), folder.join("libnvidia-ml.so.565.57.01")).unwrap();
    std::os::unix::fs::symlink("libnvidia-ml.so.565.57.01", folder.join("libnvidia-ml.so.1")).unwrap();
    let mut worker = Command::new(env!("CARGO_BIN_EXE_punchlist"))
        .args(["worker", "--root"])
        .arg(node.path("tree"))
        .env("PUNCHLIST_NVML_STAND_IN", node.path("description.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    worker.stdin.take().unwrap().write_all(b"[\"nvidia\",null,null]\n").unwrap();
    let output = String::from_utf8(worker.wait_with_output().unwrap().stdout).unwrap();
    // A machine that has the real library is asked through the linker.
    if !Path::new("/dev/nvidiactl").exists() {
        assert!(output.contains("\"works\":true"), "{output}");
        assert!(output.contains("\"library_version\":\"565.57.01\""), "{output}");
    }
}
