//! Names of PCI vendors, devices and classes, from the PCI ID Repository (crate `pci-ids`).
//!
//! The build writes them as two texts that are searched when a name is wanted. The crate's own tables are a hundred
//! thousand pointers, which the loader would have to adjust at every start of the program.

/// One vendor a line, `10de NVIDIA Corporation`, followed by its devices, `\t2330 GH100 [H100 SXM5 80GB]`.
const DEVICES: &str = include_str!(concat!(env!("OUT_DIR"), "/pci-devices.txt"));

/// Where each vendor's line begins in [`DEVICES`], in bytes; in the order of the vendors, as the lines themselves.
const VENDORS: &[(u16, usize)] = &include!(concat!(env!("OUT_DIR"), "/pci-vendors.rs"));

/// One class a line, followed by its subclasses, in the same form.
const CLASSES: &str = include_str!(concat!(env!("OUT_DIR"), "/pci-classes.txt"));

/// The name of a vendor, by its four hexadecimal digits in lower case.
pub(super) fn vendor(id: &str) -> Option<&'static str> {
    of_vendor(id).map(|(name, _)| name)
}

/// The name of a vendor, and the lines of its devices.
fn of_vendor(id: &str) -> Option<(&'static str, &'static str)> {
    let number = u16::from_str_radix(id, 16).ok().filter(|_| id.len() == 4)?;
    let at = VENDORS.binary_search_by_key(&number, |(vendor, _)| *vendor).ok()?;
    let end = VENDORS.get(at + 1).map_or(DEVICES.len(), |(_, start)| *start);
    let (line, devices) = DEVICES[VENDORS[at].1..end].split_once('\n')?;
    Some((line.split_once(' ')?.1, devices))
}

/// The name of a device of a vendor.
pub(super) fn device(vendor: &str, id: &str) -> Option<&'static str> {
    member(of_vendor(vendor)?.1, id)
}

/// The name of a subclass, by the four digits of both: `0302`; where it has none, that of its class.
pub(super) fn class(code: &str) -> Option<&'static str> {
    let (class, subclass) = code.split_at_checked(2)?;
    let start = CLASSES.find(&format!("\n{class} "))? + 1;
    let (name, subclasses) = group(&CLASSES[start..])?;
    member(subclasses, subclass).or(Some(name))
}

/// The name of the group that a text begins with, and the lines of its members: all that follow with a tab.
fn group(text: &'static str) -> Option<(&'static str, &'static str)> {
    let (line, rest) = text.split_once('\n')?;
    let end = if rest.starts_with('\t') {
        let next = memchr::memchr_iter(b'\n', rest.as_bytes()).find(|at| rest.as_bytes().get(at + 1) != Some(&b'\t'));
        next.unwrap_or(rest.len())
    } else {
        0
    };
    Some((line.split_once(' ')?.1, &rest[..end]))
}

fn member(members: &'static str, id: &str) -> Option<&'static str> {
    let start = memchr::memmem::find(members.as_bytes(), format!("\t{id} ").as_bytes())?;
    // A member's line begins with the tab; a name could hold the same further on.
    let starts_line = start == 0 || members.as_bytes()[start - 1] == b'\n';
    members[start..].lines().next().filter(|_| starts_line).map(|line| &line[id.len() + 2..])
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
