//! `nvswitches`: the NVSwitches of the board, as the PCI bus and their driver show them.

use super::pci;
use super::pci::Basics;
use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "nvswitches",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<NvSwitch>>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

const OF_DRIVER: &str = "/proc/driver/nvidia-nvswitch/devices";

/// An NVSwitch. There is an entry for each that is on the PCI bus or that the driver knows. The switches of NVLink 5
/// (B200, GB200) are on no PCI bus of the node.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "nvswitch", "x-key" = "pci"))]
struct NvSwitch {
    /// Its PCI address.
    pci: String,
    /// Whether the PCI bus shows it (/sys/bus/pci/devices).
    on_bus: bool,
    /// Whether the driver has taken it and knows it (/proc/driver/nvidia-nvswitch/devices). Absent (not present) where the
    /// driver is not loaded.
    known: Fact<bool>,
    /// Number of the model, four hexadecimal digits: `22a3` is the one of HGX H100, `1af1` that of HGX A100.
    device_id: Fact<String>,
    /// Name of the model in the list of PCI ids. Absent (not present) when the list has none.
    device: Fact<String>,
    /// The driver that is bound to it: `nvidia-nvswitch`. Absent (not present) when none is.
    driver: Fact<String>,
    /// Version of its firmware (/proc/driver/nvidia-nvswitch/devices/*/information). Absent (not present) where the
    /// driver does not know the switch, (failed) where the switch did not tell it.
    bios: Fact<String>,
    /// The NUMA node it hangs on.
    numa_node: Fact<u32>,
}

fn observe(source: &Source) -> Result<Vec<NvSwitch>, Absent> {
    let known = source.names(OF_DRIVER).map_err(|absent| match absent.reason {
        Reason::NotPresent => Absent::not_present("the driver of NVSwitches is not loaded"),
        _ => absent,
    });
    let on_bus = match pci::nvswitches(source) {
        Err(absent) if absent.reason == Reason::NotPresent => Vec::new(),
        addresses => addresses?,
    };
    let mut all = on_bus.clone();
    all.extend(known.iter().flatten().filter(|address| pci::is_address(address)).cloned());
    all.sort();
    all.dedup();
    Ok(all.into_iter().map(|address| switch(source, address, &on_bus, &known)).collect())
}

fn switch(source: &Source, pci: String, on_bus: &[String], known: &Result<Vec<String>, Absent>) -> NvSwitch {
    let basics = Basics::of(source, &pci);
    let path = format!("{OF_DRIVER}/{pci}/information");
    let bios = source.text(&path).and_then(|text| {
        let version = text.lines().find_map(|line| Some(line.strip_prefix("BIOS Version:")?.trim().to_string()));
        let told = version.filter(|version| !version.is_empty() && version != "N/A");
        told.ok_or_else(|| Absent::failed(format!("{path}: no version of the firmware")))
    });
    NvSwitch {
        on_bus: on_bus.contains(&pci),
        known: Fact(known.clone().map(|known| known.contains(&pci))),
        device_id: Fact(basics.device_id),
        device: Fact(basics.device),
        driver: Fact(basics.driver),
        bios: Fact(bios),
        numa_node: Fact(basics.numa_node),
        pci,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::{Recorded, tree_of};

    #[test]
    fn switches_on_the_bus_and_those_of_the_driver_are_one_list() {
        let bus = "sys/bus/pci/devices/0000:07:00.0";
        let proc = "proc/driver/nvidia-nvswitch/devices";
        let (_dir, source) = tree_of(
            &[
                (&format!("{bus}/vendor"), "0x10de\n"),
                (&format!("{bus}/device"), "0x22a3\n"),
                (&format!("{bus}/class"), "0x068000\n"),
                (&format!("{proc}/0000:07:00.0/information"), "BIOS Version: 96.10.6d.00.01\n"),
                (&format!("{proc}/0000:08:00.0/information"), "BIOS Version: N/A\n"),
                (&format!("{proc}/garbage/information"), ""),
            ],
            Recorded::default(),
        );
        let switches = observe(&source).unwrap();
        assert_eq!(switches.len(), 2);
        assert_eq!((switches[0].on_bus, &switches[0].known), (true, &Fact(Ok(true))));
        assert_eq!(switches[0].bios, Fact(Ok("96.10.6d.00.01".into())));
        assert_eq!((switches[1].on_bus, switches[1].bios.0.as_ref().unwrap_err().reason), (false, Reason::Failed));
    }

    #[test]
    fn a_node_without_switches_has_none() {
        let (_dir, source) = tree_of(&[("proc/version", "")], Recorded::default());
        assert_eq!(observe(&source), Ok(Vec::new()));
    }
}
