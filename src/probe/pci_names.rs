//! Names of PCI vendors, devices and classes, from the PCI ID Repository (crate `pci-ids`).
//!
//! The build writes them as two texts that are searched when a name is wanted. The crate's own tables are a hundred
//! thousand pointers, which the loader would have to adjust at every start of the program.

/// One vendor a line, `10de NVIDIA Corporation`, followed by its devices, `\t2330 GH100 [H100 SXM5 80GB]`.
const DEVICES: &str = include_str!(concat!(env!("OUT_DIR"), "/pci-devices.txt"));

/// One class a line, followed by its subclasses, in the same form.
const CLASSES: &str = include_str!(concat!(env!("OUT_DIR"), "/pci-classes.txt"));

/// The name of a vendor, by its four hexadecimal digits in lower case.
pub(super) fn vendor(id: &str) -> Option<&'static str> {
    group(DEVICES, id).map(|(name, _)| name)
}

/// The name of a device of a vendor.
pub(super) fn device(vendor: &str, id: &str) -> Option<&'static str> {
    member(group(DEVICES, vendor)?.1, id)
}

/// The name of a subclass, by the four digits of both: `0302`; where it has none, that of its class.
pub(super) fn class(code: &str) -> Option<&'static str> {
    let (class, subclass) = code.split_at_checked(2)?;
    let (name, subclasses) = group(CLASSES, class)?;
    member(subclasses, subclass).or(Some(name))
}

/// The name of a group, and the lines of its members.
fn group(list: &'static str, id: &str) -> Option<(&'static str, &'static str)> {
    let start = list.find(&format!("\n{id} "))? + 1;
    let (line, rest) = list[start..].split_once('\n')?;
    // The members end where a line does not begin with a tab.
    let end =
        rest.match_indices('\n').find(|(at, _)| !rest[at + 1..].starts_with('\t')).map_or(rest.len(), |(at, _)| at);
    let members = if rest.starts_with('\t') { &rest[..end] } else { "" };
    Some((line.split_once(' ')?.1, members))
}

fn member(members: &'static str, id: &str) -> Option<&'static str> {
    members.lines().find_map(|line| line.strip_prefix('\t')?.strip_prefix(id)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_what_is_unknown_has_none() {
        assert_eq!(vendor("10de"), Some("NVIDIA Corporation"));
        assert!(device("10de", "2330").unwrap().contains("H100"));
        assert_eq!(class("0302"), Some("3D controller"));
        assert_eq!(class("0108"), Some("Non-Volatile memory controller"));
        for (vendor, id) in [("10de", "zzzz"), ("zzzz", "2330"), ("10de", "233"), ("", ""), ("\n", "\t")] {
            assert_eq!(device(vendor, id), None, "{vendor:?} {id:?}");
        }
        assert_eq!(class("é"), None);
    }
}
