//! What is known by the field that it stands in, whatever it looks like.
//!
//! Fields are known by their last name, so that the same rules hold in an observation (`gpus[].serial`), in a report,
//! where the name of a value is the expression that read it (`gpu.serial`), and in the JSON that a command printed
//! (`"SerialNumber"`).

use super::Kind;
use super::shapes::{Site, Span, host_spans, is_hostlike, is_pseudonym};
use super::words::{
    SecretOption, is_lustre_network, is_no_serial, is_nobodys_host, is_secret_file, is_service_account,
    is_system_folder, is_telling, is_usual_folder, secret_argument, secret_options,
};
use serde_json::{Map, Value as Json};

/// What a field tells of its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Field {
    holds: Holds,
    /// Whether it comes from outside: what a command printed, whose keys are data as well.
    free: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Holds {
    /// Anything.
    #[default]
    Text,
    /// A version, in which four numbers are no address.
    Version,
    /// One word of a few that the format knows.
    Word,
    /// This and nothing else.
    Only(Kind),
    /// A host, several of them, or their addresses.
    Hosts,
    /// Where a mount comes from; or something else, where the field alone tells.
    Source { of_mount: bool },
    /// Where a mount is.
    MountPoint,
    /// Where to read more.
    References,
    /// The words of a command line.
    Arguments,
    /// Lines of a block that began before.
    Block,
    /// The contents of a file with a meaning of its own.
    File(Meaning),
    /// The node itself, or its host's facts.
    Node,
    /// What is known of the site.
    Site,
}

/// A file whose lines name hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Meaning {
    Hosts,
    Resolver,
}

impl Field {
    /// Of something from outside.
    pub(super) fn free() -> Field {
        Field { holds: Holds::Text, free: true }
    }

    pub(super) fn is_version(self) -> bool {
        self.holds == Holds::Version
    }

    /// Whether it names where to read more.
    pub(super) fn is_reference(self) -> bool {
        self.holds == Holds::References
    }

    /// Whether the field tells nothing of its value.
    pub(super) fn says_nothing(self) -> bool {
        matches!(self.holds, Holds::Text | Holds::Version | Holds::Word | Holds::References | Holds::Arguments)
    }

    /// The kind of a number here, where even numbers are hidden.
    pub(super) fn hides_numbers(self) -> Option<Kind> {
        match self.holds {
            Holds::Only(kind @ (Kind::Secret | Kind::Serial)) if self.free => Some(kind),
            _ => None,
        }
    }
}

/// An object whose fields are looked at.
pub(super) struct Object {
    around: Field,
    /// Whether the account in it is one of the system's, by its number.
    service_account: bool,
    /// Whether it is what a file holds that nobody may see.
    secret_file: bool,
    file: Option<Meaning>,
    /// Whether the group in it is one that the site made, by its number.
    own_group: bool,
    /// Whether it is a subject whose key is a mount.
    is_mount: bool,
    /// Whether it is a mount.
    has_mount_point: bool,
}

impl Object {
    pub(super) fn of(map: &Map<String, Json>, around: Field) -> Object {
        let number = |key: &str| map.get(key).and_then(Json::as_u64);
        let text = |key: &str| map.get(key).and_then(Json::as_str);
        let path = text("path");
        let file = match path {
            Some("/etc/hosts") => Some(Meaning::Hosts),
            Some("/etc/resolv.conf") => Some(Meaning::Resolver),
            _ => None,
        };
        Object {
            around,
            service_account: number("uid").is_some_and(|uid| uid < 1000 || uid == 65534),
            secret_file: path.is_some_and(is_secret_file),
            file,
            own_group: number("gid").is_some_and(|gid| gid >= 1000 && gid != 65534),
            is_mount: text("kind") == Some("mount") && map.contains_key("key"),
            has_mount_point: map.contains_key("mount_point"),
        }
    }

    /// Whether a key may be data: anything but the plain name of a field.
    pub(super) fn may_rename(&self, key: &str) -> bool {
        self.around.free || !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    }

    /// What the field under `key` holds.
    pub(super) fn field(&self, key: &str) -> Field {
        // What a node calls its GPUs is data.
        let free = self.around.free || key == "json" || (key == "gpus" && self.around.holds == Holds::Node);
        let same = |holds: Holds| Field { holds, free };
        if self.secret_file && matches!(key, "contents" | "lines" | "matches" | "text" | "groups" | "json") {
            return same(Holds::Only(Kind::Secret));
        }
        match self.around.holds {
            // Everything in the contents of a secret file, however deep.
            Holds::Only(Kind::Secret) if matches!(key, "text" | "groups") => return same(self.around.holds),
            _ => {}
        }
        if let Some(meaning) = self.file.filter(|_| matches!(key, "contents" | "lines")) {
            return same(Holds::File(meaning));
        }
        if self.is_mount && key == "key" {
            return same(Holds::MountPoint);
        }
        let holds = holds(key, self.around, free);
        match holds {
            Holds::Only(Kind::User) if self.service_account => same(Holds::Text),
            Holds::Text if self.own_group && key == "group" => same(Holds::Only(Kind::User)),
            Holds::Source { .. } => same(Holds::Source { of_mount: self.has_mount_point }),
            holds => same(holds),
        }
    }
}

/// What a field holds by its name.
fn holds(key: &str, around: Field, free: bool) -> Holds {
    // The name of a value in a report is an expression; its last name is that of the field.
    let whole = key.rsplit_once(' ').map_or(key, |_| "");
    let last = whole.rsplit('.').next().unwrap_or(whole);
    let mut buffer = [0u8; 32];
    let mut length = 0;
    for byte in last.bytes().filter(|byte| !matches!(byte, b'_' | b'-')) {
        if length == buffer.len() {
            return if is_telling(last) { Holds::Only(Kind::Secret) } else { Holds::Text };
        }
        buffer[length] = byte.to_ascii_lowercase();
        length += 1;
    }
    let name = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    let of_node = around.holds == Holds::Node || whole == "host.name" || whole == "node.name";
    match name {
        "host" | "node" if !free => return Holds::Node,
        // An observation is what its probe says.
        "value" if around.holds == Holds::Node => return Holds::Node,
        "site" if !free => return Holds::Site,
        "name" if around.holds == Holds::Site => return Holds::Only(Kind::Cluster),
        "name" if of_node => return Holds::Hosts,
        "shortname" | "hostname" | "hostnames" | "fqdn" | "nodename" | "nodelist" | "host" | "staticchostname" => {
            return Holds::Hosts;
        }
        "server" | "servers" | "nodeaddr" | "mountaddr" | "mgsnode" | "nameservers" => return Holds::Hosts,
        "source" | "fstabsource" => return Holds::Source { of_mount: false },
        "mountpoint" | "target" if name == "mountpoint" || free => return Holds::MountPoint,
        "status" | "severity" | "certainty" | "who" | "level" | "absent" if !free => return Holds::Word,
        "user" | "username" | "owner" | "login" | "logname" | "acct" => return Holds::Only(Kind::User),
        "cluster" | "clustername" | "slurmclustername" => return Holds::Only(Kind::Cluster),
        "domainname" | "realm" | "dnsdomain" => return Holds::Only(Kind::Domain),
        "mac" | "partner_mac" | "macaddress" | "hwaddr" | "lladdr" => return Holds::Only(Kind::Mac),
        "machineid" | "hostid" => return Holds::Only(Kind::Uuid),
        "arguments" | "argv" | "cmdline" => return Holds::Arguments,
        "refs" => return Holds::References,
        "wwn" | "wwid" | "eui64" | "eui" | "assettag" | "chassisassettag" | "boardid" if name != "boardid" => {
            return Holds::Only(Kind::Serial);
        }
        "firmware" | "fw" | "vbios" | "release" | "revision" | "driver" | "bios" => return Holds::Version,
        _ => {}
    }
    if name.ends_with("version") || name.ends_with("fwver") {
        Holds::Version
    } else if name.ends_with("serial") || name.ends_with("serialnumber") || name.ends_with("serialno") {
        Holds::Only(Kind::Serial)
    } else if name.ends_with("uuid") {
        Holds::Only(Kind::Uuid)
    } else if name.ends_with("guid") {
        Holds::Only(Kind::Guid)
    } else if is_telling(last) {
        Holds::Only(Kind::Secret)
    } else {
        Holds::Text
    }
}

/// What one element of a list tells of the next.
#[derive(Default)]
pub(super) struct List {
    in_block: bool,
    after_option: bool,
    /// What the program that the list begins with takes secrets by.
    options: &'static [SecretOption],
    number: usize,
}

impl List {
    /// The field of the next element of a list whose field is `around`.
    pub(super) fn field(&mut self, around: Field, next: &Json) -> Field {
        let same = |holds: Holds| Field { holds, ..around };
        let Some(text) = next.as_str() else { return around };
        self.number += 1;
        if self.in_block {
            self.in_block = !text.contains("-----END ");
            return same(Holds::Block);
        }
        // A key that goes over several lines.
        self.in_block = text.contains("-----BEGIN ") && !text.contains("-----END ");
        let holds = if self.after_option && !text.starts_with('-') { Holds::Only(Kind::Secret) } else { around.holds };
        if self.number == 1 {
            self.options = secret_options(text.rsplit('/').next().unwrap_or(text));
        }
        let (from, follows) = secret_argument(self.options, text, false);
        // What takes one secret may go on with another program: `sshpass -p … ssh -p 22`.
        if (from.is_some() || follows) && self.options.len() == 1 {
            self.options = &[];
        }
        let holds = if from.is_some() { Holds::Only(Kind::Secret) } else { holds };
        self.after_option =
            follows || text.starts_with('-') && !text.contains(['=', ' ']) && is_telling(text.trim_start_matches('-'));
        match holds {
            Holds::Arguments => same(Holds::Text),
            holds => same(holds),
        }
    }
}

/// What the field tells of a text: which parts of it name what.
pub(super) fn spans(text: &str, field: Field, site: &Site, found: &mut Vec<Span>) {
    let whole = |kind: Kind| Span { start: 0, end: text.len(), kind };
    let trimmed = text.trim();
    if trimmed.is_empty() || is_pseudonym(trimmed) {
        return;
    }
    match field.holds {
        Holds::Text | Holds::Version | Holds::Word | Holds::References | Holds::Arguments | Holds::Site => {}
        Holds::Block => found.push(whole(Kind::Secret)),
        Holds::Only(kind) => {
            let hides = match kind {
                Kind::User => !is_service_account(trimmed) && !trimmed.contains(' '),
                Kind::Serial => !is_no_serial(trimmed),
                Kind::Cluster => trimmed.bytes().any(|byte| byte.is_ascii_alphabetic()) && !is_nobodys_host(trimmed),
                Kind::Domain => trimmed.contains('.'),
                Kind::Secret => {
                    !trimmed.starts_with('/') && !matches!(trimmed, "true" | "false" | "none" | "null" | "yes" | "no")
                }
                // Forms that we know are found by their form; a sentence is none, and neither is a row of zeros.
                Kind::Uuid | Kind::Guid | Kind::Mac => {
                    trimmed.len() >= 8
                        && !trimmed.contains(' ')
                        && !has_own_form(trimmed)
                        && !trimmed.bytes().all(|byte| !byte.is_ascii_alphanumeric() || matches!(byte, b'0' | b'x'))
                }
                Kind::Host | Kind::Ip | Kind::Path => true,
            };
            if hides {
                let start = text.len() - text.trim_start().len();
                found.push(Span { start, end: start + trimmed.len(), kind });
            }
        }
        Holds::Hosts | Holds::Node => {
            // `gpu[001-128]` is one name for many.
            if trimmed.contains('[') && trimmed.ends_with(']') && trimmed.as_bytes()[0].is_ascii_alphabetic() {
                found.push(whole(Kind::Host));
                return;
            }
            hosts(text, 0, text, site, found);
        }
        Holds::Source { of_mount } => {
            let (start, end) = match text.strip_prefix("//") {
                Some(share) => (2, share.find('/').map(|end| end + 2)),
                None if text.starts_with('/') => return,
                None => (0, text.find(":/").or_else(|| text.find('/').filter(|_| of_mount))),
            };
            let Some(end) = end else { return };
            // `LABEL=root`, `UUID=…`, `user@id.files=/`
            if text[start..end].contains('=') {
                return;
            }
            hosts(text, start, &text[start..end], site, found);
            let export = end + usize::from(text.as_bytes()[end] == b':');
            if let Some(keep) = own_part(&text[export..]) {
                found.push(Span { start: export + keep, end: text.len(), kind: Kind::Path });
            }
        }
        Holds::MountPoint => {
            if let Some((_, keep)) = mount(text, field) {
                found.push(Span { start: keep, end: text.len(), kind: Kind::Path });
            }
        }
        Holds::File(Meaning::Hosts) => {
            for (start, line) in lines(text) {
                let line = line.split('#').next().unwrap_or_default();
                let mut words = words(line);
                let address = words.next();
                if address.is_some_and(|(_, word)| word.parse::<std::net::IpAddr>().is_ok()) {
                    for (at, word) in words.filter(|(_, word)| !word.starts_with("ip6-")) {
                        host_spans(text, start + at, start + at + word.len(), site, found);
                    }
                }
            }
        }
        Holds::File(Meaning::Resolver) => {
            for (start, line) in lines(text) {
                let mut words = words(line);
                if words.next().is_some_and(|(_, word)| matches!(word, "search" | "domain")) {
                    for (at, word) in words.filter(|(_, word)| is_hostlike(word)) {
                        found.push(Span { start: start + at, end: start + at + word.len(), kind: Kind::Domain });
                    }
                }
            }
        }
    }
}

/// Whether a text has a form that `shapes` knows, perhaps with a word before it: `GPU-…`, `0x…`, groups with colons.
fn has_own_form(text: &str) -> bool {
    let mut found = Vec::new();
    super::shapes::scan(text, false, &Site::default(), &mut found);
    !found.is_empty()
}

/// The hosts of a list like `mds1@tcp:10.1.0.2@o2ib`, `mon1:6789,mon2:6789`; what begins at `offset` of `text`.
fn hosts(text: &str, offset: usize, list: &str, site: &Site, found: &mut Vec<Span>) {
    // An address is found by its form.
    if list.contains("::") {
        return;
    }
    let mut at = offset;
    for part in list.split_inclusive([',', ':', ';', ' ', '\n']) {
        let name = part.trim_end_matches([',', ':', ';', ' ', '\n']);
        let (start, end) = match name.split_once('@') {
            // The network of Lustre, or the user of sshfs.
            Some((host, network)) => {
                if is_lustre_network(network) {
                    (0, host.len())
                } else {
                    (host.len() + 1, name.len())
                }
            }
            None => (0, name.len()),
        };
        // An address is found by its form.
        if !has_own_form(&name[start..end]) {
            host_spans(text, at + start, at + end, site, found);
        }
        at += part.len();
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split('\n').map(move |line| (line.as_ptr() as usize - text.as_ptr() as usize, line))
}

/// The words of a line, and where they begin.
pub(super) fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split_ascii_whitespace().map(move |word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

/// Where a mount is, and how much of that says nothing about the site: `/projects/` of `/projects/acme`. `None` for
/// those that every node has, and names that many sites use.
pub(super) fn mount(text: &str, field: Field) -> Option<(&str, usize)> {
    if field.holds != Holds::MountPoint || !text.starts_with('/') {
        return None;
    }
    let first = text[1..].split('/').next().unwrap_or_default();
    if is_system_folder(first) {
        return None;
    }
    own_part(text).map(|keep| (text, keep))
}

/// Where in a path that begins with `/` the part begins that is the site's own.
pub(super) fn own_part(path: &str) -> Option<usize> {
    let mut keep = 1;
    for part in path.get(1..)?.split('/') {
        if part.is_empty() || is_pseudonym(part) {
            return None;
        }
        if !is_usual_folder(part) {
            return Some(keep);
        }
        // What lies in a home belongs to a user, and is found as such.
        if matches!(part, "home" | "homes" | "users") {
            return None;
        }
        keep += part.len() + 1;
    }
    None
}
