//! What the codes mean that NVIDIA's drivers write to the kernel's log: Xid of the GPUs, SXid of the NVSwitches.
//!
//! `xid.yaml` and `sxid.yaml` are the tables. The build makes one line of JSON of each entry; only the entry that is
//! asked for is read.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

const XIDS: &str = include_str!(concat!(env!("OUT_DIR"), "/xid.jsonl"));
/// Where the line of each Xid begins, in bytes, by code.
const XID_INDEX: &[(u32, usize)] = &include!(concat!(env!("OUT_DIR"), "/xid-index.rs"));

const SXIDS: &str = include_str!(concat!(env!("OUT_DIR"), "/sxid.jsonl"));
/// Where the line of each SXid begins, in bytes, by code.
const SXID_INDEX: &[(u32, usize)] = &include!(concat!(env!("OUT_DIR"), "/sxid-index.rs"));

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something to fix that does not stop work.
    Warning,
    /// Something broken.
    Critical,
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Where the fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The program that used the GPU.
    Application,
    /// The driver, or firmware of the GPU.
    Driver,
    /// The GPU's chip or board.
    Hardware,
    /// The GPU's memory.
    Memory,
    /// NVLink, NVSwitch, or the link between a Grace CPU and its GPU.
    Nvlink,
    /// Heat.
    Thermal,
    /// PCIe.
    Bus,
    /// It reports no fault.
    None,
}

impl Class {
    /// It in words.
    pub fn words(self) -> &'static str {
        match self {
            Class::Application => "the application",
            Class::Driver => "the driver or the GPU's firmware",
            Class::Hardware => "the GPU's hardware",
            Class::Memory => "the GPU's memory",
            Class::Nvlink => "NVLink",
            Class::Thermal => "heat",
            Class::Bus => "the PCIe bus",
            Class::None => "no fault",
        }
    }
}

/// What makes the GPU usable again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// It is usable.
    None,
    /// Starting the program again.
    RestartJob,
    /// A reset of the GPU.
    Reset,
    /// A restart of the node.
    Reboot,
    /// Switching the node off and on.
    PowerCycle,
    /// Other hardware, or a hand on this one.
    Repair,
    /// Another version of the driver.
    Update,
    /// Nobody can tell.
    Unknown,
}

impl Recovery {
    /// It in words, where there is something to do.
    pub fn words(self) -> Option<&'static str> {
        match self {
            Recovery::None | Recovery::Unknown => None,
            Recovery::RestartJob => Some("starting the program again"),
            Recovery::Reset => Some("resetting the GPU"),
            Recovery::Reboot => Some("restarting the node"),
            Recovery::PowerCycle => Some("switching the node off and on"),
            Recovery::Repair => Some("repair or replacement"),
            Recovery::Update => Some("another version of the driver"),
        }
    }
}

/// What an Xid or SXid means.
#[derive(Debug, Clone, Serialize)]
pub struct Code {
    /// The code.
    pub code: u32,
    /// What the vendor calls it.
    pub mnemonic: String,
    /// What it means, in a few words.
    pub name: String,
    /// How bad it is, merged from the sources. Words of the line itself outrank it.
    pub severity: Severity,
    /// Where the fault is.
    pub class: Class,
    /// What makes the GPU usable again.
    pub recovery: Recovery,
    /// Who has to act: user, operator or vendor.
    pub who: String,
    /// What it means, in sentences.
    pub meaning: String,
    /// What the rest of the line tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What to do, in this order.
    pub next: Vec<String>,
    /// Ids of the checks that look into it.
    pub checks: Vec<String>,
    /// What is hit when an SXid is fatal: none, link, partition, fabric or node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What each source makes of it, by source.
    pub says: BTreeMap<String, String>,
    /// Where name and meaning were looked up.
    pub source: Vec<String>,
}

impl Code {
    /// Whether the sources judge it differently: some harmless or a matter of the application, some as broken hardware.
    pub fn is_disputed(&self) -> bool {
        let level = |said: &String| match said.split([':', ';', ',']).next().unwrap_or_default().trim() {
            "nothing" | "harmless" | "info" => Some(0),
            "restart the application" | "warning" => Some(1),
            "reset the GPU" | "restart the machine" | "fatal" | "critical" | "failure" | "hardware" | "unhealthy" => {
                Some(2)
            }
            _ => None,
        };
        let levels: Vec<u8> = self.says.values().filter_map(level).collect();
        levels.iter().max().unwrap_or(&0) > levels.iter().min().unwrap_or(&0)
    }
}

/// One entry of the tables: a meaning, and the codes that share it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    severity: Severity,
    class: Class,
    recovery: Recovery,
    who: String,
    meaning: String,
    line: Option<String>,
    next: Vec<String>,
    #[serde(default)]
    checks: Vec<String>,
    #[serde(deserialize_with = "by_code")]
    codes: BTreeMap<u32, OfCode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCode {
    mnemonic: String,
    scope: Option<String>,
    #[serde(default)]
    says: BTreeMap<String, String>,
    source: Vec<String>,
}

/// Keys of JSON are texts.
fn by_code<'d, D: Deserializer<'d>>(from: D) -> Result<BTreeMap<u32, OfCode>, D::Error> {
    let map = BTreeMap::<String, OfCode>::deserialize(from)?;
    map.into_iter().map(|(code, of)| code.parse().map(|code| (code, of)).map_err(serde::de::Error::custom)).collect()
}

/// What an Xid means. `None` for a code that the catalogue does not have.
pub fn xid(code: u32) -> Option<Code> {
    find(XIDS, XID_INDEX, code)
}

/// What an SXid means. `None` for a code that the guide does not have.
pub fn sxid(code: u32) -> Option<Code> {
    find(SXIDS, SXID_INDEX, code)
}

/// Every Xid that [`xid`] knows, in ascending order.
pub fn xid_codes() -> impl Iterator<Item = u32> {
    XID_INDEX.iter().map(|(code, _)| *code)
}

/// Every SXid that [`sxid`] knows, in ascending order.
pub fn sxid_codes() -> impl Iterator<Item = u32> {
    SXID_INDEX.iter().map(|(code, _)| *code)
}

fn find(entries: &'static str, index: &[(u32, usize)], code: u32) -> Option<Code> {
    let at = index.binary_search_by_key(&code, |(code, _)| *code).ok()?;
    let line = entries[index[at].1..].lines().next()?;
    // The tests read every entry.
    let mut entry: Entry = serde_json::from_str(line).ok()?;
    let of = entry.codes.remove(&code)?;
    Some(Code {
        code,
        mnemonic: of.mnemonic,
        name: entry.name,
        severity: entry.severity,
        class: entry.class,
        recovery: entry.recovery,
        who: entry.who,
        meaning: entry.meaning,
        line: entry.line,
        next: entry.next,
        checks: entry.checks,
        scope: of.scope,
        says: of.says,
        source: of.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_xid_and_sxid_is_there_and_whole() {
        assert!(xid_codes().eq(1..=173));
        assert_eq!(sxid_codes().count(), 93);
        for code in xid_codes().map(|code| xid(code).unwrap()).chain(sxid_codes().map(|code| sxid(code).unwrap())) {
            let at = code.code;
            assert!(!code.mnemonic.is_empty() && !code.source.is_empty() && !code.next.is_empty(), "{at}");
            assert!(matches!(code.who.as_str(), "user" | "operator" | "vendor"), "{at}: {}", code.who);
            assert!(code.says.keys().chain(&code.source).all(|name| SOURCES.contains(&name.as_str())), "{at}");
            for text in [&code.meaning].into_iter().chain(&code.next).chain(&code.line) {
                assert!(text.ends_with('.') && !text.contains("  "), "{at}: {text}");
            }
        }
    }

    const SOURCES: &[&str] = &["nvidia", "guide", "gpud", "meta", "oracle", "dcgm", "imbue", "azure", "eks"];

    #[test]
    fn a_code_brings_what_is_its_own() {
        let off = xid(79).unwrap();
        assert_eq!((off.severity, off.class, off.recovery), (Severity::Critical, Class::Bus, Recovery::PowerCycle));
        assert!(off.mnemonic.ends_with("FALLEN_OFF_THE_BUS"));
        // One meaning, several codes.
        assert_eq!(xid(39).unwrap().name, xid(135).unwrap().name);
        assert_ne!(xid(39).unwrap().mnemonic, xid(135).unwrap().mnemonic);
        assert_eq!(sxid(20034).unwrap().scope.as_deref(), Some("partition"));
        assert!(xid(0).is_none() && xid(174).is_none() && sxid(79).is_none() && sxid(u32::MAX).is_none());
    }

    #[test]
    fn where_the_sources_disagree_is_known() {
        // NVIDIA asks for nothing, others take it for broken hardware.
        assert!(xid(63).unwrap().is_disputed());
        // All say that it is broken.
        assert!(!xid(79).unwrap().is_disputed());
        assert!(!xid(106).unwrap().says.is_empty());
    }
}
