//! Writes what is compiled in: the list of the checklists (every `checklists/*.yaml`, sorted by name), the names of
//! PCI vendors, devices and classes as text (see src/probe/pci_names.rs), and the tables of what the driver and others
//! say (see src/knowledge/).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("checklists");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder checklists/ is part of the project")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    paths.sort();
    let mut list = String::from("[");
    for path in paths {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        // Written out beside the YAML: that is read in a fraction of the time, and nobody has to be told where in it a
        // mistake is.
        let yaml = fs::read_to_string(&path).expect("a readable file");
        let tree: serde_yaml::Value =
            serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut written = String::new();
        write_out(&tree, &mut written);
        // The YAML itself is wanted only where a mistake is shown, and where text is looked for in it.
        let packed = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join(&name);
        fs::write(&packed, miniz_oxide::deflate::compress_to_vec(yaml.as_bytes(), 10)).expect("OUT_DIR can be written");
        writeln!(list, "({name:?}, include_bytes!({:?}), {written:?}),", packed.display().to_string())
            .expect("a String takes all");
    }
    list.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let write = |name: &str, text: &str| fs::write(out.join(name), text).expect("OUT_DIR can be written");
    write("checklists.rs", &list);
    let devices = pci_devices();
    write("pci-devices.txt", &devices);
    write("pci-vendors.rs", &pci_vendors(&devices));
    write("pci-classes.txt", &pci_classes());
    for name in ["xid", "sxid"] {
        let (entries, index) = codes(name);
        write(&format!("{name}.jsonl"), &entries);
        write(&format!("{name}-index.rs"), &index);
    }
    write("messages.jsonl", &messages());
    write("patterns.jsonl", &knowledge("patterns").iter().map(|row| format!("{row}\n")).collect::<String>());
}

/// Writes a value as `read_built` of src/checklist/yaml.rs reads it: a letter for its kind, then its length or number with a
/// `:` behind it, then what it holds.
fn write_out(value: &serde_yaml::Value, to: &mut String) {
    use serde_yaml::Value;
    let text = |text: &str| format!("t{}:{text}", text.len());
    to.push_str(&match value {
        Value::Null => "n:".to_string(),
        Value::Bool(value) => format!("b{value}:"),
        Value::Number(number) if number.is_i64() => format!("i{number}:"),
        Value::Number(number) => format!("f{:?}:", number.as_f64().expect("every number is one")),
        Value::String(value) => text(value),
        Value::Sequence(items) => format!("l{}:", items.len()),
        Value::Mapping(entries) => format!("m{}:", entries.len()),
        Value::Tagged(tagged) => panic!("{}: a tag means nothing", tagged.tag),
    });
    match value {
        Value::Sequence(items) => items.iter().for_each(|item| write_out(item, to)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                to.push_str(&text(key.as_str().unwrap_or_else(|| panic!("a key is a text, not {key:?}"))));
                write_out(value, to);
            }
        }
        _ => {}
    }
}

/// What all files of src/knowledge/messages/ hold as JSON, one entry a line, each with the name of its file as `from`.
fn messages() -> String {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/knowledge/messages");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(&folder).expect("the folder is part of the project");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let mut text = String::new();
    for path in paths {
        let from = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        for mut entry in knowledge(&format!("messages/{from}")) {
            entry["from"] = from.clone().into();
            writeln!(text, "{entry}").expect("a String takes all");
        }
    }
    text
}

/// A table of codes as JSON, one entry a line, and where the line of each code begins, by code.
fn codes(name: &str) -> (String, String) {
    let mut entries = String::new();
    let mut index: Vec<(u32, usize)> = Vec::new();
    for entry in knowledge(name) {
        let codes = entry["codes"].as_object().unwrap_or_else(|| panic!("{name}.yaml: an entry has no codes"));
        for code in codes.keys() {
            let code = code.parse().unwrap_or_else(|_| panic!("{name}.yaml: {code} is no code"));
            index.push((code, entries.len()));
        }
        writeln!(entries, "{entry}").expect("a String takes all");
    }
    index.sort_unstable();
    (entries, format!("{index:?}"))
}

/// The entries of a file of src/knowledge/.
fn knowledge(name: &str) -> Vec<serde_json::Value> {
    let path = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("src/knowledge")
        .join(format!("{name}.yaml"));
    println!("cargo::rerun-if-changed={}", path.display());
    let yaml = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tree: serde_yaml::Value =
        serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let json = serde_json::to_value(tree).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    json.as_array().unwrap_or_else(|| panic!("{}: not a list", path.display())).clone()
}

fn pci_devices() -> String {
    let mut vendors: Vec<&pci_ids::Vendor> = pci_ids::Vendors::iter().collect();
    vendors.sort_unstable_by_key(|vendor| vendor.id());
    let mut text = String::new();
    for vendor in vendors {
        writeln!(text, "{:04x} {}", vendor.id(), vendor.name()).expect("a String takes all");
        for device in vendor.devices() {
            writeln!(text, "\t{:04x} {}", device.id(), device.name()).expect("a String takes all");
        }
    }
    text
}

/// Where each vendor's line begins in the text of the devices, in the order of both.
fn pci_vendors(devices: &str) -> String {
    let mut at = 0;
    let mut vendors: Vec<(u16, usize)> = Vec::new();
    for line in devices.split_inclusive('\n') {
        if let Some(id) =
            line.get(..4).and_then(|id| u16::from_str_radix(id, 16).ok()).filter(|_| !line.starts_with('\t'))
        {
            vendors.push((id, at));
        }
        at += line.len();
    }
    format!("{vendors:?}")
}

fn pci_classes() -> String {
    let mut text = String::from("\n");
    for class in pci_ids::Classes::iter() {
        writeln!(text, "{:02x} {}", class.id(), class.name()).expect("a String takes all");
        for subclass in class.subclasses() {
            writeln!(text, "\t{:02x} {}", subclass.id(), subclass.name()).expect("a String takes all");
        }
    }
    text
}
