//! `expected`: how many GPUs this node was built with, whatever is left of them.

use super::source::{Source, clipped};
use super::{PROBE_DEADLINE, Probe, answer, first_present, host, pci, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

pub(super) const PROBE: Probe = Probe {
    name: "expected",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Expected>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)),
};

/// How many GPUs this node was built with, by what knows that without asking a GPU.
#[derive(Debug, Serialize, JsonSchema)]
struct Expected {
    /// GPUs that this node should have, as the first of `sources` has it. Absent (not_present) when none says it.
    gpu_count: Fact<u64>,
    /// Where that is known from, in words. Absent as `gpu_count` is.
    from: Fact<String>,
    /// All that say it, the most trustworthy first: Slurm's configuration (slurm.conf, else gres.conf, in /etc/slurm,
    /// /run/slurm/conf or /etc/slurm-llnl), the product's name (DMI), and the NVSwitches on the PCI bus.
    sources: Vec<ExpectedBy>,
}

/// One that says how many GPUs there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct ExpectedBy {
    /// What says it, in words.
    from: String,
    /// How many GPUs it says there should be.
    gpu_count: u64,
}

/// A product that is sold with one number of GPUs only.
struct Product {
    /// Its maker as DMI names it, or the beginning of that; compared without case.
    vendor: &'static str,
    /// Its name as DMI has it, or what that begins with; compared by letters and digits only, without case.
    name: &'static str,
    gpus: u64,
    /// Whether it is also sold with the accelerators of others, so that something of NVIDIA has to be there.
    is_mixed: bool,
}

const fn product(vendor: &'static str, name: &'static str, gpus: u64) -> Product {
    Product { vendor, name, gpus, is_mixed: false }
}

const fn mixed(vendor: &'static str, name: &'static str, gpus: u64) -> Product {
    Product { vendor, name, gpus, is_mixed: true }
}

/// From the makers' data sheets: docs.nvidia.com/dgx, supermicro.com/en/products/gpu, dell.com (XE series),
/// lenovopress.lenovo.com, hpe.com (Cray XD), gigabyte.com and asus.com (servers).
/// What is sold with various numbers of GPUs has no place here.
const PRODUCTS: &[Product] = &[
    product("NVIDIA", "DGX-1", 8),
    product("NVIDIA", "DGX-2", 16),
    product("NVIDIA", "DGX Station A100", 4),
    product("NVIDIA", "DGX A100", 8),
    product("NVIDIA", "DGX H100", 8),
    product("NVIDIA", "DGX H200", 8),
    product("NVIDIA", "DGX B200", 8),
    product("NVIDIA", "DGX B300", 8),
    product("NVIDIA", "DGX Spark", 1),
    // Before the others of its name.
    product("NVIDIA", "GB200 NVL2", 2),
    // One computer of the rack: two Grace with two GPUs each.
    product("NVIDIA", "GB200 NVL", 4),
    product("NVIDIA", "GB300 NVL", 4),
    product("NVIDIA", "DGX GB200", 4),
    product("NVIDIA", "DGX GB300", 4),
    product("Supermicro", "SYS-821GE-TNHR", 8),
    product("Supermicro", "SYS-421GE-TNHR2-LCC", 8),
    product("Supermicro", "SYS-A21GE-NBRT", 8),
    product("Supermicro", "SYS-422GA-NBRT-LCC", 8),
    product("Supermicro", "SYS-421GU-TNXR", 4),
    product("Supermicro", "SYS-420GP-TNAR", 8),
    product("Supermicro", "AS-4124GO-NART", 8),
    product("Supermicro", "AS-2124GQ-NART", 4),
    product("Supermicro", "AS-8125GS-TNHR", 8),
    product("Supermicro", "AS-4125GS-TNHR2-LCC", 8),
    product("Supermicro", "AS-A126GS-TNBR", 8),
    product("Supermicro", "ARS-111GL-NHR", 1),
    mixed("Dell", "PowerEdge XE9680", 8),
    product("Dell", "PowerEdge XE8640", 4),
    product("Dell", "PowerEdge XE8545", 4),
    product("Dell", "PowerEdge XE9712", 4),
    product("HPE", "HPE Cray XD670", 8),
    product("HPE", "Cray XD670", 8),
    product("Lenovo", "ThinkSystem SR680a V3", 8),
    product("Lenovo", "ThinkSystem SR780a V3", 8),
    mixed("Lenovo", "ThinkSystem SR685a V3", 8),
    product("Lenovo", "ThinkSystem SD665-N V3", 4),
    product("Lenovo", "ThinkSystem SD650-N V2", 4),
    mixed("GIGABYTE", "G593-", 8),
    product("ASUS", "ESC N8-E11", 8),
    product("ASUS", "ESC N8A-E12", 8),
];

/// Instance types of Amazon EC2 with NVIDIA GPUs, which are what DMI calls the product there
/// (docs.aws.amazon.com/ec2/latest/instancetypes/ac.html). A family is followed by its sizes.
const EC2: &[(&str, &[(&str, u64)])] = &[
    ("p3", &[("2xlarge", 1), ("8xlarge", 4), ("16xlarge", 8)]),
    ("p3dn", &[("24xlarge", 8)]),
    ("p4d", &[("24xlarge", 8)]),
    ("p4de", &[("24xlarge", 8)]),
    ("p5", &[("4xlarge", 1), ("48xlarge", 8)]),
    ("p5e", &[("48xlarge", 8)]),
    ("p5en", &[("48xlarge", 8)]),
    ("p6-b200", &[("48xlarge", 8)]),
    ("p6-b300", &[("48xlarge", 8)]),
    ("p6e-gb200", &[("36xlarge", 4)]),
    (
        "g4dn",
        &[
            ("xlarge", 1),
            ("2xlarge", 1),
            ("4xlarge", 1),
            ("8xlarge", 1),
            ("12xlarge", 4),
            ("16xlarge", 1),
            ("metal", 8),
        ],
    ),
    ("g5", G5),
    ("g5g", &[("xlarge", 1), ("2xlarge", 1), ("4xlarge", 1), ("8xlarge", 1), ("16xlarge", 2), ("metal", 2)]),
    ("g6", G5),
    ("g6e", G5),
    ("gr6", &[("4xlarge", 1), ("8xlarge", 1)]),
];
const G5: &[(&str, u64)] = &[
    ("xlarge", 1),
    ("2xlarge", 1),
    ("4xlarge", 1),
    ("8xlarge", 1),
    ("12xlarge", 4),
    ("16xlarge", 1),
    ("24xlarge", 4),
    ("48xlarge", 8),
];

/// NVSwitches by PCI device id, how many of them a whole board has, and its GPUs. Blackwell's are not on the PCI bus.
const NVSWITCHES: &[(&str, u64, u64)] = &[
    // HGX A100 with 8 GPUs, and two such boards joined.
    ("1af1", 6, 8),
    ("1af1", 12, 16),
    // HGX H100, HGX H200.
    ("22a3", 4, 8),
];

/// Where Slurm's configuration lies; the last two are what a node without one was sent.
pub(super) const SLURM_FOLDERS: [&str; 4] =
    ["/etc/slurm", "/etc/slurm-llnl", "/run/slurm/conf", "/var/spool/slurmd/conf-cache"];
/// More `Include` than any honest configuration has.
const MOST_INCLUDES: usize = 64;

fn observe(source: &Source) -> Expected {
    let bus = bus(source);
    let ways = [slurm(source), product_of(source, &bus), nvswitches(&bus)];
    let sources: Vec<ExpectedBy> = ways.iter().filter_map(|way| way.as_ref().ok().cloned()).collect();
    let chosen = first_present(ways).0.map_err(|absent| match absent.reason {
        Reason::NotPresent | Reason::NotSupported => {
            Absent::not_present("neither Slurm nor the product's name nor NVSwitches say it")
        }
        _ => absent,
    });
    Expected { gpu_count: Fact(chosen.clone().map(|by| by.gpu_count)), from: Fact(chosen.map(|by| by.from)), sources }
}

/// What Slurm schedules here.
fn slurm(source: &Source) -> Result<ExpectedBy, Absent> {
    let names: Vec<String> = host::host_names(source).into_iter().filter_map(Result::ok).collect();
    let Some(name) = names.first() else { return Err(Absent::not_present("this node has no name")) };
    let mut refused = Absent::not_present("no configuration of Slurm");
    for folder in SLURM_FOLDERS {
        match slurm_in(source, folder, name) {
            Ok(found) => return Ok(found),
            Err(absent) if absent.reason < refused.reason => refused = absent,
            Err(_) => {}
        }
    }
    Err(refused)
}

fn slurm_in(source: &Source, folder: &str, host: &str) -> Result<ExpectedBy, Absent> {
    let path = format!("{folder}/slurm.conf");
    let conf = lines_of(source, folder, &path);
    let of_node = conf.as_ref().ok().and_then(|lines| node_gres(lines, host));
    // What Slurm knows of the node counts, even when that is that it has no GPU to schedule.
    if let Some((names, gres)) = of_node {
        let gpus = gres.as_deref().map_or(Ok(0), gpus_in_gres)?;
        return match gpus {
            0 => Err(Absent::not_present(format!("{path}: {} has no GPU in Gres", clipped(&names)))),
            gpu_count => Ok(ExpectedBy { from: format!("Slurm: Gres of {} in {path}", clipped(&names)), gpu_count }),
        };
    }
    let path = format!("{folder}/gres.conf");
    let gres = lines_of(source, folder, &path)?;
    // A line for all nodes says nothing of one that may not be among Slurm's.
    let is_ours = |settings: &Settings| match settings.get("nodename") {
        Some(names) => names_match(names, host),
        None => conf.is_err(),
    };
    let ours = gres.iter().filter(|settings| settings.get("name").is_some_and(|name| name.eq_ignore_ascii_case("gpu")));
    let mut gpu_count = 0u64;
    for settings in ours.filter(|settings| is_ours(settings)) {
        gpu_count = gpu_count.saturating_add(gpus_in_line(settings)?);
    }
    match gpu_count {
        0 => Err(Absent::not_present(format!("{path} counts no GPUs of this node"))),
        _ => Ok(ExpectedBy { from: format!("Slurm: {path}"), gpu_count }),
    }
}

/// The settings of one line, by their name in lower case.
pub(super) type Settings = HashMap<String, String>;

/// The lines of a configuration of Slurm with those of the files it includes.
pub(super) fn lines_of(source: &Source, folder: &str, path: &str) -> Result<Vec<Settings>, Absent> {
    let mut lines = Vec::new();
    let mut room = MOST_INCLUDES;
    read_lines(source, folder, path, &mut room, &mut lines)?;
    Ok(lines)
}

fn read_lines(
    source: &Source,
    folder: &str,
    path: &str,
    room: &mut usize,
    lines: &mut Vec<Settings>,
) -> Result<(), Absent> {
    let text = source.text(path)?.replace("\\\r\n", " ").replace("\\\n", " ");
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if !word.eq_ignore_ascii_case("include") {
            lines.extend(Some(settings(line)).filter(|settings| !settings.is_empty()));
        } else if *room > 0 {
            *room -= 1;
            let name = rest.trim();
            let path = if name.starts_with('/') { name.to_string() } else { format!("{folder}/{name}") };
            // Slurm itself would not start without it; what the other files say is still true.
            let _ = read_lines(source, folder, &path, room, lines);
        }
    }
    Ok(())
}

/// `NodeName=gpu[1-4] CPUs=64 Gres=gpu:h100:8 Comment="two words"`
fn settings(line: &str) -> Settings {
    let mut settings = Settings::new();
    let mut rest = line;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim().rsplit(char::is_whitespace).next().unwrap_or_default().to_ascii_lowercase();
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        settings.insert(name, value.to_string());
        rest = after;
    }
    settings
}

/// The names and the Gres of the line that is about this node; `NodeName=DEFAULT` holds for the lines after it.
fn node_gres(lines: &[Settings], host: &str) -> Option<(String, Option<String>)> {
    let mut default = None;
    let mut found = None;
    for settings in lines {
        let Some(names) = settings.get("nodename") else { continue };
        let gres = settings.get("gres").cloned();
        if names.eq_ignore_ascii_case("DEFAULT") {
            default = gres.or(default);
        } else if names_match(settings.get("nodehostname").unwrap_or(names), host) {
            found = Some((names.clone(), gres.or_else(|| default.clone())));
        }
    }
    found
}

/// The GPUs in a Gres: `gpu:h100:8(S:0-1),gpu:a100:2,shard:40`; without a number it is one.
pub(super) fn gpus_in_gres(gres: &str) -> Result<u64, Absent> {
    let mut gpus = 0u64;
    let mut rest = gres;
    while !rest.is_empty() {
        let mut depth = 0;
        let end = rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth <= 0
        });
        let (item, after) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
        rest = after;
        let mut fields = item.split('(').next().unwrap_or_default().trim().split(':');
        if !fields.next().is_some_and(|name| name.eq_ignore_ascii_case("gpu")) {
            continue;
        }
        let last = fields.next_back().unwrap_or("1");
        let count = match last.starts_with(|c: char| c.is_ascii_digit()) {
            true => last.parse().map_err(|_| Absent::failed(format!("Gres={}", clipped(gres))))?,
            // A type, or no_consume.
            false => 1,
        };
        gpus = gpus.saturating_add(count);
    }
    Ok(gpus)
}

/// The GPUs of one line of gres.conf: its Count, else how many files it names.
fn gpus_in_line(settings: &Settings) -> Result<u64, Absent> {
    if let Some(count) = settings.get("count") {
        return count.parse().map_err(|_| Absent::failed(format!("gres.conf: Count={}", clipped(count))));
    }
    match settings.get("file").or_else(|| settings.get("multiplefiles")) {
        Some(files) => Ok(expressions(files).map(names_in).fold(0, u64::saturating_add)),
        // Slurm counts one then, but asks the driver where it says AutoDetect.
        None if settings.contains_key("autodetect") => Ok(0),
        None => Ok(1),
    }
}

/// The parts of `gpu[1-4,7],login1` between the commas that stand in no brackets.
fn expressions(names: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    names.split(move |c| {
        inside = if inside { c != ']' } else { c == '[' };
        c == ',' && !inside
    })
}

/// How many names `/dev/nvidia[0-3,6]` stands for.
fn names_in(expression: &str) -> u64 {
    let mut names = 1u64;
    for brackets in expression.split('[').skip(1) {
        let ranges = brackets.split(']').next().unwrap_or_default().split(',');
        let count = ranges.filter_map(range).map(|(first, last)| last.saturating_sub(first).saturating_add(1));
        names = names.saturating_mul(count.fold(0, u64::saturating_add));
    }
    names
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// Whether a host is among `gpu[001-128,200],login1`, by its whole name or up to the first dot.
pub(super) fn names_match(names: &str, host: &str) -> bool {
    let short = host.split('.').next().unwrap_or(host);
    expressions(names)
        .map(str::trim)
        .any(|expression| name_matches(expression, short) || name_matches(expression, host))
}

fn name_matches(expression: &str, host: &str) -> bool {
    let Some((literal, rest)) = expression.split_once('[') else { return expression == host };
    let (Some(host), Some((ranges, rest))) = (host.strip_prefix(literal), rest.split_once(']')) else { return false };
    let digits = host.bytes().take_while(u8::is_ascii_digit).count();
    // The digits of a name may go on after the brackets.
    (1..=digits).any(|length| {
        let (number, after) = host.split_at(length);
        let Ok(value) = number.parse::<u64>() else { return false };
        let is_in = |part: &str| {
            // `[001-128]` names no gpu1.
            let width = part.split('-').next().unwrap_or_default().trim().len();
            range(part).is_some_and(|(first, last)| (first..=last).contains(&value))
                && number == format!("{value:0width$}")
        };
        ranges.split(',').any(is_in) && name_matches(rest, after)
    })
}

/// What the product is sold with.
fn product_of(source: &Source, bus: &Result<Bus, Absent>) -> Result<ExpectedBy, Absent> {
    let vendor = source.line("/sys/class/dmi/id/sys_vendor")?;
    let name = source.line("/sys/class/dmi/id/product_name")?;
    let by = |gpu_count| ExpectedBy { from: format!("the product {name}"), gpu_count };
    let unknown = || Absent::not_present(format!("\"{}\" is not in the list of products", clipped(&name)));
    if vendor == "Amazon EC2" {
        let (family, size) = name.split_once('.').ok_or_else(unknown)?;
        let sizes = EC2.iter().find(|(known, _)| *known == family).ok_or_else(unknown)?.1;
        return sizes.iter().find(|(known, _)| *known == size).map(|(_, gpus)| by(*gpus)).ok_or_else(unknown);
    }
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let (vendor, plain_name) = (plain(&vendor), plain(&name));
    let is_it =
        |product: &&Product| vendor.starts_with(&plain(product.vendor)) && plain_name.starts_with(&plain(product.name));
    let product = PRODUCTS.iter().find(is_it).ok_or_else(unknown)?;
    if product.is_mixed && !bus.as_ref().is_ok_and(|bus| bus.has_nvidia) {
        return Err(Absent::not_present(format!("{name} is also sold without NVIDIA GPUs")));
    }
    Ok(by(product.gpus))
}

/// What of NVIDIA is on the PCI bus.
struct Bus {
    /// Whether there is a GPU or an NVSwitch.
    has_nvidia: bool,
    /// The device ids of the NVSwitches.
    nvswitches: Vec<String>,
}

fn bus(source: &Source) -> Result<Bus, Absent> {
    let devices = source.pci_devices()?;
    let switches = devices.iter().filter(|one| one.is_nvidia(pci::NVSWITCH));
    Ok(Bus {
        has_nvidia: devices.iter().any(|one| one.is_nvidia(pci::GPU) || one.is_nvidia(pci::NVSWITCH)),
        nvswitches: switches.map(|switch| switch.device_id.clone().unwrap_or_default()).collect(),
    })
}

/// What the NVSwitches are soldered beside.
fn nvswitches(bus: &Result<Bus, Absent>) -> Result<ExpectedBy, Absent> {
    let found = &bus.as_ref().map_err(Clone::clone)?.nvswitches;
    let count = |id: &str| found.iter().filter(|found| *found == id).count() as u64;
    let board = NVSWITCHES.iter().find(|(id, switches, _)| count(id) == *switches);
    let (_, switches, gpus) = board.ok_or_else(|| Absent::not_present("the NVSwitches are those of no whole board"))?;
    Ok(ExpectedBy { from: format!("{switches} NVSwitches on the PCI bus"), gpu_count: *gpus })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::Recorded;
    use serde_json::{Value, json};
    use std::fs;

    fn ask(files: &[(&str, &str)]) -> Value {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        serde_json::to_value(observe(&Source::dead(dir.path(), Recorded::default()))).unwrap()
    }

    const HOST: (&str, &str) = ("/etc/hostname", "gpu042.example.org\n");

    #[test]
    fn node_sets_match_the_names_they_stand_for_and_no_others() {
        for (names, host) in [
            ("gpu042", "gpu042"),
            ("login1,gpu[001-128,200]", "gpu042"),
            ("gpu[001-128,200],login1", "gpu200"),
            ("n[1-128]", "n7"),
            ("rack[0-7]node[01-32]", "rack3node09"),
            ("gpu[1-4].example.org", "gpu2.example.org"),
            ("a[1-2][0-9]", "a17"),
        ] {
            assert!(names_match(names, host), "{names} {host}");
        }
        for (names, host) in [
            ("gpu[001-041,043-128]", "gpu042"),
            ("gpu[001-128]", "gpu42"),
            ("gpu[1-128]", "gpu042"),
            ("gpu[1-128]", "gpu1b"),
            ("gpu[1-", "gpu1"),
            ("gpu[]", "gpu"),
            ("gpu[9-1]", "gpu5"),
            ("gpu[1-2]", "gpu99999999999999999999999"),
            ("", "gpu1"),
            ("ALL", "gpu1"),
        ] {
            assert!(!names_match(names, host), "{names} {host}");
        }
        assert_eq!(names_in("/dev/nvidia[0-3,6]"), 5);
        assert_eq!(names_in("/dev/nvidia0"), 1);
        assert_eq!(names_in("x[0-18446744073709551615][0-9]"), u64::MAX);
    }

    #[test]
    fn only_the_gpus_of_a_gres_count() {
        for (gres, gpus) in [
            ("gpu:8", 8),
            ("gpu", 1),
            ("gpu:h100", 1),
            ("gpu:h100:8(S:0-1,3),shard:32", 8),
            ("craynetwork:4,gpu:a:2,GPU:b:6", 8),
            ("gpu:a100:no_consume:4", 4),
            ("mps:400", 0),
            ("", 0),
        ] {
            assert_eq!(gpus_in_gres(gres), Ok(gpus), "{gres}");
        }
        assert!(gpus_in_gres("gpu:99999999999999999999").is_err());
    }

    #[test]
    fn slurm_counts_before_the_product() {
        let conf = "ClusterName=x # GPUs\nnodename=DEFAULT Gres=gpu:h100:8 \\\n  CPUs=224\ninclude more.conf\n";
        let answer = ask(&[
            HOST,
            ("/etc/slurm/slurm.conf", conf),
            ("/etc/slurm/more.conf", "NodeName=gpu[001-100] Feature=\"a b\"\nNodeName=cpu1 Gres=gpu:1\n"),
            ("/sys/class/dmi/id/sys_vendor", "NVIDIA\n"),
            ("/sys/class/dmi/id/product_name", "DGXA100 920-23687-2530-000\n"),
        ]);
        let from = "Slurm: Gres of gpu[001-100] in /etc/slurm/slurm.conf";
        let product = json!({"from": "the product DGXA100 920-23687-2530-000", "gpu_count": 8});
        let sources = json!([{"from": from, "gpu_count": 8}, product]);
        assert_eq!(answer, json!({"gpu_count": 8, "from": from, "sources": sources}));
    }

    #[test]
    fn a_node_that_slurm_knows_without_gpus_is_not_given_those_of_others() {
        let gres = ("/etc/slurm/gres.conf", "Name=gpu File=/dev/nvidia[0-7]\n");
        let none = ask(&[HOST, gres, ("/etc/slurm/slurm.conf", "NodeName=gpu042 CPUs=4\n")]);
        assert_eq!(none["gpu_count"]["absent"], "not_present");
        assert_eq!(none["sources"], json!([]));
        assert_eq!(ask(&[HOST, gres])["gpu_count"], 8);
        let named = (
            "/run/slurm/conf/gres.conf",
            "NodeName=gpu0[40-49] Name=gpu Type=a Count=2\nNodeName=gpu042 Name=gpu File=/dev/nvidia2\nNodeName=gpu043 Name=gpu Count=9\nAutoDetect=nvml\n",
        );
        assert_eq!(ask(&[HOST, named])["gpu_count"], 3);
    }

    #[test]
    fn a_file_that_includes_itself_and_garbage_come_to_an_end() {
        let answer =
            ask(&[HOST, ("/etc/slurm/slurm.conf", "Include slurm.conf\nInclude slurm.conf\n===\nNodeName=\n\"=\n")]);
        assert_eq!(answer["gpu_count"]["absent"], "not_present");
        let answer = ask(&[HOST, ("/etc/slurm/slurm.conf", "NodeName=gpu042 Gres=gpu:8x\n")]);
        assert_eq!(answer["gpu_count"]["absent"], "failed");
    }

    #[test]
    fn products_and_instances_are_known_by_name() {
        let of = |vendor: &str, name: &str, more: &[(&str, &str)]| {
            let mut files = vec![("/sys/class/dmi/id/sys_vendor", vendor), ("/sys/class/dmi/id/product_name", name)];
            files.extend(more);
            ask(&files)["gpu_count"].clone()
        };
        assert_eq!(of("NVIDIA", "DGXH100", &[]), 8);
        assert_eq!(of("NVIDIA", "GB200 NVL72", &[]), 4);
        assert_eq!(of("NVIDIA", "GB200 NVL2", &[]), 2);
        assert_eq!(of("Amazon EC2", "p5.48xlarge", &[]), 8);
        assert_eq!(of("Amazon EC2", "g6e.12xlarge", &[]), 4);
        assert_eq!(of("Amazon EC2", "m7i.large", &[])["absent"], "not_present");
        assert_eq!(of("Dell Inc.", "PowerEdge R760", &[])["absent"], "not_present");
        assert_eq!(of("Dell Inc.", "PowerEdge XE9680", &[])["absent"], "not_present");
        let gpu = "/sys/bus/pci/devices/0000:1b:00.0";
        let (vendor, class) = (format!("{gpu}/vendor"), format!("{gpu}/class"));
        assert_eq!(of("Dell Inc.", "PowerEdge XE9680", &[(&vendor, "0x10de\n"), (&class, "0x030200\n")]), 8);
    }

    #[test]
    fn nvswitches_tell_the_board_only_when_all_are_there() {
        let with = |id: &str, count: usize| {
            let files: Vec<(String, String)> = (0..count)
                .flat_map(|bus| {
                    let device = format!("/sys/bus/pci/devices/0000:{bus:02x}:00.0");
                    let file = |name: &str, text: &str| (format!("{device}/{name}"), format!("{text}\n"));
                    [file("vendor", "0x10de"), file("class", "0x068000"), file("device", &format!("0x{id}"))]
                })
                .collect();
            ask(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
        };
        assert_eq!(with("22a3", 4)["gpu_count"], 8);
        assert_eq!(with("22a3", 4)["from"], "4 NVSwitches on the PCI bus");
        assert_eq!(with("1af1", 12)["gpu_count"], 16);
        assert_eq!(with("22a3", 3)["gpu_count"]["absent"], "not_present");
        assert_eq!(with("22a3", 0)["gpu_count"]["absent"], "not_present");
    }
}
