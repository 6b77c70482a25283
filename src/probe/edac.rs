//! `edac`: errors of the main memory, as its controllers count them.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "edac",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Edac>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

const CONTROLLERS: &str = "/sys/devices/system/edac/mc";

/// Errors of the main memory, as the kernel's drivers of the memory controllers count them
/// (/sys/devices/system/edac/mc). Absent (not present) where no such driver has found a controller: in virtual machines,
/// with memory that cannot correct errors, and where the firmware keeps the errors for itself.
#[derive(Debug, Serialize, JsonSchema)]
struct Edac {
    /// The memory controllers.
    controllers: Vec<Controller>,
    /// The memory modules, as the controllers know them.
    dimms: Vec<Dimm>,
}

/// A memory controller. Its counters begin at boot, or when somebody set them back.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "memory_controller", "x-key" = "name"))]
struct Controller {
    /// Its name: `mc0`.
    name: String,
    /// What it is, as its driver says: `Intel_10nm Socket#0 IMC#0`, `F19h_M10h` (mc_name).
    model: Fact<String>,
    /// The memory behind it, in bytes (size_mb).
    size_bytes: Fact<u64>,
    /// Errors that were corrected (ce_count).
    corrected: Fact<u64>,
    /// Errors that could not be corrected (ue_count).
    uncorrected: Fact<u64>,
    /// Those of the corrected ones that no module is known for (ce_noinfo_count).
    corrected_without_module: Fact<u64>,
    /// Those of the uncorrected ones that no module is known for (ue_noinfo_count).
    uncorrected_without_module: Fact<u64>,
    /// For how long it has counted, in seconds (seconds_since_reset).
    counting_seconds: Fact<u64>,
}

/// A memory module, or a rank of one where the controller knows no more.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "dimm", "x-key" = "name"))]
struct Dimm {
    /// Its name: `mc0/dimm3`.
    name: String,
    /// Its controller: `mc0`.
    controller: String,
    /// What the board calls its place, where somebody told the kernel: `CPU_SrcID#0_MC#0_Chan#0_DIMM#0`, `DIMM_A1`
    /// (dimm_label). Absent (not supported) where it is empty.
    label: Fact<String>,
    /// Its place in the controller: `channel 0 slot 1` (dimm_location).
    location: Fact<String>,
    /// Its size in bytes (size).
    size_bytes: Fact<u64>,
    /// What it is: `Registered-DDR5`, `Unbuffered-DDR4` (dimm_mem_type).
    kind: Fact<String>,
    /// How its errors are corrected: `SECDED`, `S8ECD8ED`; `None` (dimm_edac_mode).
    correction: Fact<String>,
    /// Errors that were corrected (dimm_ce_count).
    corrected: Fact<u64>,
    /// Errors that could not be corrected (dimm_ue_count).
    uncorrected: Fact<u64>,
}

fn observe(source: &Source) -> Result<Edac, Absent> {
    let none = || Absent::not_present("no driver of a memory controller is at work (EDAC)");
    let names = source.names(CONTROLLERS).map_err(|absent| match absent.reason {
        Reason::NotPresent => none(),
        _ => absent,
    })?;
    let names: Vec<String> = numbered(names, &["mc"]);
    if names.is_empty() {
        return Err(none());
    }
    let mut edac = Edac { controllers: Vec::new(), dimms: Vec::new() };
    for name in names {
        let folder = format!("{CONTROLLERS}/{name}");
        for dimm in numbered(source.names(&folder).unwrap_or_default(), &["dimm", "rank"]) {
            edac.dimms.push(module(source, &folder, &name, &dimm));
        }
        edac.controllers.push(controller(source, &folder, name));
    }
    Ok(edac)
}

/// The names that are one of these words and a number, in the order of their numbers.
fn numbered(names: Vec<String>, words: &[&str]) -> Vec<String> {
    let number = |name: &str| words.iter().find_map(|word| name.strip_prefix(word)?.parse::<u32>().ok());
    let mut found: Vec<(u32, String)> = names.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

fn controller(source: &Source, folder: &str, name: String) -> Controller {
    let count = |file: &str| Fact(source.number(&format!("{folder}/{file}")).map_err(unless_there));
    Controller {
        model: Fact(filled(source, &format!("{folder}/mc_name"))),
        size_bytes: Fact(count("size_mb").0.map(|mib: u64| mib << 20)),
        corrected: count("ce_count"),
        uncorrected: count("ue_count"),
        corrected_without_module: count("ce_noinfo_count"),
        uncorrected_without_module: count("ue_noinfo_count"),
        counting_seconds: count("seconds_since_reset"),
        name,
    }
}

fn module(source: &Source, folder: &str, controller: &str, dimm: &str) -> Dimm {
    let file = |file: &str| format!("{folder}/{dimm}/{file}");
    let count = |name: &str| Fact(source.number(&file(name)).map_err(unless_there));
    Dimm {
        name: format!("{controller}/{dimm}"),
        controller: controller.to_string(),
        label: Fact(filled(source, &file("dimm_label"))),
        location: Fact(filled(source, &file("dimm_location"))),
        size_bytes: Fact(count("size").0.map(|mib: u64| mib << 20)),
        kind: Fact(filled(source, &file("dimm_mem_type"))),
        correction: Fact(filled(source, &file("dimm_edac_mode"))),
        corrected: count("dimm_ce_count"),
        uncorrected: count("dimm_ue_count"),
    }
}

/// The module is there; a file that it lacks is one that its driver or kernel does not have.
fn unless_there(absent: Absent) -> Absent {
    match absent.reason {
        Reason::NotPresent => Absent::not_supported(absent.detail),
        _ => absent,
    }
}

fn filled(source: &Source, path: &str) -> Result<String, Absent> {
    match source.line(path).map_err(unless_there)? {
        text if text.is_empty() => Err(Absent::not_supported(format!("{path}: empty"))),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    #[test]
    fn modules_are_listed_under_their_controllers_in_the_order_of_their_numbers() {
        let mc = "sys/devices/system/edac/mc/mc0";
        let (_dir, source) = tree_of(
            &[
                (&format!("{mc}/mc_name"), "Intel_10nm Socket#0 IMC#0\n"),
                (&format!("{mc}/size_mb"), "65536\n"),
                (&format!("{mc}/ce_count"), "12\n"),
                (&format!("{mc}/ue_count"), "0\n"),
                (&format!("{mc}/seconds_since_reset"), "86400\n"),
                (&format!("{mc}/dimm10/dimm_label"), "DIMM_B1\n"),
                (&format!("{mc}/dimm10/dimm_ce_count"), "12\n"),
                (&format!("{mc}/dimm10/size"), "32768\n"),
                (&format!("{mc}/dimm2/dimm_label"), "\n"),
                (&format!("{mc}/dimm2/dimm_ce_count"), "\u{0}\u{fffd}\n"),
                (&format!("{mc}/power/control"), "auto\n"),
                ("sys/devices/system/edac/mc/mc_log_ce", "1\n"),
            ],
            Recorded::default(),
        );
        let edac = observe(&source).unwrap();
        assert_eq!(edac.controllers.len(), 1);
        assert_eq!(edac.controllers[0].size_bytes, Fact(Ok(64 << 30)));
        assert_eq!(edac.controllers[0].corrected_without_module.0.as_ref().unwrap_err().reason, Reason::NotSupported);
        let names: Vec<&str> = edac.dimms.iter().map(|dimm| dimm.name.as_str()).collect();
        assert_eq!(names, ["mc0/dimm2", "mc0/dimm10"]);
        assert_eq!(edac.dimms[1].size_bytes, Fact(Ok(32 << 30)));
        assert_eq!(edac.dimms[1].uncorrected.0.as_ref().unwrap_err().reason, Reason::NotSupported);
        assert_eq!(edac.dimms[0].corrected.0.as_ref().unwrap_err().reason, Reason::Failed);
        assert_eq!(edac.dimms[0].label.0.as_ref().unwrap_err().reason, Reason::NotSupported);
    }

    #[test]
    fn without_a_controller_there_is_nothing_to_say() {
        let (_dir, source) = tree_of(&[("sys/devices/system/edac/mc/power/control", "")], Recorded::default());
        assert_eq!(observe(&source).unwrap_err().reason, Reason::NotPresent);
        let (_dir, source) = tree_of(&[], Recorded::default());
        assert_eq!(observe(&source).unwrap_err().reason, Reason::NotPresent);
    }
}
