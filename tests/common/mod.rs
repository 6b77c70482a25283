//! What several tests need: recorded machines, and how the binary is run on one.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Every recorded machine, by its folder.
pub fn machines() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines");
    let mut machines: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    machines.sort();
    machines
}

/// The folder of one recorded machine.
pub fn machine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(name)
}

/// The stand-in for NVIDIA's library, which cargo builds beside the tests.
pub fn nvml_stand_in() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let library = here.with_file_name("libnvidia_ml_stand_in.so");
    assert!(library.exists(), "{} was not built", library.display());
    library
}

/// `punchlist COMMAND` on a recorded machine; one with an `nvml.yaml` has a driver, for which the stand-in speaks.
pub fn punchlist_on(machine: &Path, command: &str) -> Command {
    let mut punchlist = Command::new(env!("CARGO_BIN_EXE_punchlist"));
    punchlist.args([command, "--root"]).arg(machine).env("NO_COLOR", "1");
    let nvml = machine.join("nvml.yaml");
    if nvml.exists() {
        punchlist.arg("--nvml").arg(nvml_stand_in()).env("PUNCHLIST_NVML_STAND_IN", nvml);
    }
    punchlist
}
