//! `mounts`: what is mounted, what should be, and which of it answers.

use super::parts::{self, Part, Place};
use super::source::{FileSystemSize, Source};
use super::{PROBE_DEADLINE, Probe, answer, first_present, schema_of};
use crate::fact::{Absent, Fact, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const PROBE: Probe = Probe {
    name: "mounts",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Vec<Mount>>,
    arguments: None,
    ask: |source, _, progress| {
        let mounts = observe(source)?;
        let parts = mounts.iter().enumerate().filter_map(|(index, mount)| part(source, index, mount)).collect();
        Ok(parts::ask(answer(&mounts)?, parts, progress))
    },
};

/// How long one mount may take to answer (design.md, "Observing safely").
const MOUNT_DEADLINE: Duration = Duration::from_secs(3);

/// A file system that is mounted, or that /etc/fstab wants mounted and is not.
///
/// Of several mounts on one point only the topmost is listed, and none that another one hides.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "mount", "x-key" = "mount_point"))]
struct Mount {
    /// The folder (or file) it is mounted on, such as `/home`.
    mount_point: String,
    /// Whether it is mounted. False for an entry of /etc/fstab that should be (it has no `noauto`, and is no swap);
    /// everything that only a mounted file system has is then absent (not present).
    mounted: bool,
    /// What is mounted: a device, or `nfs1:/export/home` (/proc/self/mountinfo).
    source: Fact<String>,
    /// The type of file system: `ext4`, `nfs4`, `lustre`, `fuse.sshfs` (/proc/self/mountinfo).
    #[serde(rename = "type")]
    kind: Fact<String>,
    /// The options it is mounted with, those of the mount before those of its file system (/proc/self/mountinfo).
    options: Fact<Vec<String>>,
    /// Whether nothing can be written to it, because the mount or its file system is read-only. The kernel turns a
    /// file system read-only after errors.
    read_only: Fact<bool>,
    /// Whether another machine serves it, by its type (NFS, SMB, Lustre, GPFS, BeeGFS, Ceph, WEKA and their like) or by
    /// a source like `server:/path`.
    is_network: Fact<bool>,
    /// Whether it is a view into the kernel (proc, sysfs, cgroup2, autofs, ...), which holds no files of anybody.
    is_pseudo: Fact<bool>,
    /// Whether a program serves it through FUSE; when that program dies, the mount fails.
    is_fuse: Fact<bool>,
    /// How much waits for that program. Absent (not supported) for other file systems, (denied) for anybody but root and
    /// who mounted it.
    fuse: Fact<FuseQueue>,
    /// The machine, or machines, that serve it, by its source. Absent (not supported) for local ones, and for those
    /// whose source names none.
    server: Fact<String>,
    /// Whether the same file system is mounted elsewhere too (bind mounts, btrfs subvolumes), and that other mount
    /// stands for it: a writable one before a read-only one, then the one with the shortest mount point. Exactly one
    /// mount of each file system is no repeat.
    is_repeat: Fact<bool>,
    /// Whether /etc/fstab has an entry for this mount point.
    in_fstab: Fact<bool>,
    /// Whether that entry asks for a read-only mount. Absent (not present) without an entry.
    fstab_read_only: Fact<bool>,
    /// What that entry wants mounted here. Absent (not present) without an entry.
    fstab_source: Fact<String>,
    /// The options of that entry, such as `nofail` and `_netdev`. Absent (not present) without an entry.
    fstab_options: Fact<Vec<String>>,
    /// Whether statvfs(3) answered, within 3 seconds: true; false when it gave an error, such as `stale file handle`;
    /// absent (timeout) when nothing came back. Absent (not supported) for views into the kernel, which are not asked.
    answered: Fact<bool>,
    /// The system's words for the error that statvfs(3) gave: `stale file handle`, `input/output error`. Absent (not
    /// present) where it gave none; otherwise as `answered` is.
    error: Fact<String>,
    /// How much there is and how much is left (statvfs(3)). Absent as `answered` is; (failed), with the system's
    /// words, where that is false.
    space: Fact<MountSpace>,
    /// Its device number, for the part that asks it.
    #[serde(skip)]
    device: Option<String>,
}

/// How much of a file system is used.
#[derive(Debug, Serialize, JsonSchema)]
struct MountSpace {
    /// Its size, in bytes.
    size_bytes: u64,
    /// What is free, in bytes, including what is kept for root.
    free_bytes: u64,
    /// What ordinary users can still use, in bytes.
    available_bytes: u64,
    /// What is used of that which ordinary users can use, in percent; as df(1) has it, but not rounded up. Absent
    /// (not supported) where the size is 0.
    used_percent: Fact<f64>,
    /// Inodes in all. Absent (not supported) for file systems that have no fixed number of them.
    inodes: Fact<u64>,
    /// Inodes that are free. Absent as `inodes` is.
    inodes_free: Fact<u64>,
    /// Inodes that are used, in percent. Absent as `inodes` is.
    inodes_used_percent: Fact<f64>,
}

/// The fields that a mount's part answers.
#[derive(Serialize)]
struct Answer {
    answered: Fact<bool>,
    error: Fact<String>,
    space: Fact<MountSpace>,
}

/// Types of which another machine holds the files. FUSE types are named without `fuse.`.
const NETWORK: &[&str] = &[
    "9p",
    "afs",
    "alluxio",
    "beegfs",
    "blobfuse",
    "blobfuse2",
    "ceph",
    "ceph-fuse",
    "cifs",
    "coda",
    "cvmfs2",
    "daos",
    "dfuse",
    "gcsfuse",
    "glusterfs",
    "goofys",
    "gpfs",
    "juicefs",
    "lustre",
    "mfs",
    "mount-s3",
    "mountpoint-s3",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "panfs",
    "pvfs2",
    "rclone",
    "s3fs",
    "smb3",
    "smbfs",
    "sshfs",
    "vastfs",
    "weka",
    "wekafs",
];

/// Types that are views into the kernel, or into a program that makes its files up as they are read.
const PSEUDO: &[&str] = &[
    "anon_inodefs",
    "autofs",
    "bdev",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devpts",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "nullfs",
    "ocfs2_dlmfs",
    "pipefs",
    "proc",
    "pstore",
    "resctrl",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sockfs",
    "spufs",
    "sunrpc",
    "sysfs",
    "tracefs",
    "usbfs",
    "xenfs",
];

/// What waits for the program that serves a file system through FUSE (/sys/fs/fuse/connections/NUMBER).
#[derive(Debug, Serialize, JsonSchema)]
struct FuseQueue {
    /// Requests that it has not answered yet (waiting).
    waiting_count: u64,
    /// How many requests may be under way in the background (max_background).
    background_count: u64,
    /// From how many on the kernel takes it for congested (congestion_threshold).
    congested_count: u64,
}

/// One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
struct Line {
    id: u32,
    parent: u32,
    /// Device number of the file system, `259:2`.
    device: String,
    mount_point: String,
    options: Vec<String>,
    kind: String,
    source: String,
}

impl Line {
    fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind == "fuseblk" || self.kind.starts_with("fuse.")
    }

    fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }
}

/// One entry of /etc/fstab (fstab(5)).
struct Entry {
    mount_point: String,
    source: String,
    options: Vec<String>,
    wanted: bool,
}

fn observe(source: &Source) -> Result<Vec<Mount>, Absent> {
    let mountinfo = if source.is_live() {
        source.text("/proc/self/mountinfo")?
    } else {
        // Another root has its own view, which is that of its first process; ours would be that of a container.
        let own = source.recorded().map(|_| "/proc/self/mountinfo");
        let ways = ["/proc/1/mountinfo"].into_iter().chain(own);
        first_present(ways.map(|path| source.text(path))).0?
    };
    // Something is always mounted: what lists nothing is no list of mounts.
    if !mountinfo.lines().any(|text| line(text).is_some()) {
        return Err(Absent::failed("mountinfo names no mount"));
    }
    let fstab = match source.text("/etc/fstab") {
        Ok(text) => Ok(entries(&text)),
        Err(absent) if absent.reason == Reason::NotPresent => Ok(Vec::new()),
        Err(absent) => Err(absent),
    };
    let entry = |mount_point: &str| -> Result<Option<&Entry>, Absent> {
        let entries = fstab.as_ref().map_err(Clone::clone)?;
        Ok(entries.iter().rfind(|entry| entry.mount_point == mount_point))
    };
    let lines = visible(mountinfo.lines().filter_map(line).collect());
    let mut standing_for: HashMap<(&str, &str), &Line> = HashMap::new();
    let rank = |line: &Line| (line.is_read_only(), line.mount_point.len(), line.mount_point.clone());
    for line in &lines {
        let first = standing_for.entry((&line.device, &line.source)).or_insert(line);
        if rank(line) < rank(first) {
            *first = line;
        }
    }
    let first_ids: HashSet<u32> = standing_for.into_values().map(|line| line.id).collect();
    let one = |line: Line| Mount {
        fuse: if line.is_fuse() { fuse_queue(source, &line.device) } else { Err(not_fuse()) }.into(),
        ..mounted(entry(&line.mount_point), !first_ids.contains(&line.id), line)
    };
    let mut mounts: Vec<Mount> = lines.into_iter().map(one).collect();
    let mut listed: HashSet<String> = mounts.iter().map(|mount| mount.mount_point.clone()).collect();
    for wanted in fstab.iter().flatten().filter(|entry| entry.wanted) {
        if listed.insert(wanted.mount_point.clone()) {
            mounts.push(missing(wanted));
        }
    }
    Ok(mounts)
}

fn mounted(entry: Result<Option<&Entry>, Absent>, is_repeat: bool, line: Line) -> Mount {
    let is_pseudo = PSEUDO.contains(&line.kind.as_str());
    let (is_read_only, is_fuse) = (line.is_read_only(), line.is_fuse());
    let is_network = NETWORK.contains(&line.kind.strip_prefix("fuse.").unwrap_or(&line.kind))
        || (line.kind == "fuse" && NETWORK.contains(&line.source.as_str()))
        // No list knows every type, and no device is called that.
        || line.source.starts_with("//")
        || (line.source.contains(":/") && !line.source.starts_with('/'));
    let server = match is_network {
        false => Err(Absent::not_supported("a local file system")),
        true => server(&line.kind, &line.source)
            .ok_or_else(|| Absent::not_supported(format!("the source \"{}\" names no machine", line.source))),
    };
    let not_asked = Absent::not_supported("a view into the kernel");
    Mount {
        mounted: true,
        read_only: is_read_only.into(),
        device: Some(line.device),
        is_repeat: is_repeat.into(),
        is_network: is_network.into(),
        is_pseudo: is_pseudo.into(),
        is_fuse: is_fuse.into(),
        server: server.into(),
        source: line.source.into(),
        kind: line.kind.into(),
        options: line.options.into(),
        answered: if is_pseudo { Fact(Err(not_asked.clone())) } else { parts::pending() },
        error: if is_pseudo { Fact(Err(not_asked.clone())) } else { parts::pending() },
        space: if is_pseudo { Fact(Err(not_asked)) } else { parts::pending() },
        ..with_fstab(line.mount_point, entry)
    }
}

fn not_fuse() -> Absent {
    Absent::not_supported("not served through FUSE")
}

/// What waits for the program behind a mount; these files are the kernel's own and answer even when that does not.
fn fuse_queue(source: &Source, device: &str) -> Result<FuseQueue, Absent> {
    let minor = device.rsplit(':').next().unwrap_or_default();
    let number = |file: &str| source.number::<u64>(&format!("/sys/fs/fuse/connections/{minor}/{file}"));
    Ok(FuseQueue {
        waiting_count: number("waiting")?,
        background_count: number("max_background")?,
        congested_count: number("congestion_threshold")?,
    })
}

fn missing(entry: &Entry) -> Mount {
    with_fstab(entry.mount_point.clone(), Ok(Some(entry)))
}

/// The mount that a path of this machine lies on, as a person would name it: `/home, served by nfs1:/home`. Nothing of
/// the mount itself is touched.
pub(super) fn under(path: &Path) -> Option<String> {
    let here = if path.is_absolute() { PathBuf::new() } else { std::fs::read_link("/proc/self/cwd").ok()? };
    let path = here.join(path);
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let holds = |line: &Line| path.starts_with(&line.mount_point);
    let line = text.lines().filter_map(line).filter(holds).max_by_key(|line| line.mount_point.len())?;
    Some(label(&mounted(Ok(None), false, line)))
}

/// What people call a mount.
fn label(mount: &Mount) -> String {
    match (mount.is_network.value(), mount.source.value()) {
        (Some(true), Some(served)) => format!("{}, served by {served}", mount.mount_point),
        _ => mount.mount_point.clone(),
    }
}

/// A mount of which only /etc/fstab is known.
fn with_fstab(mount_point: String, entry: Result<Option<&Entry>, Absent>) -> Mount {
    let in_fstab = entry.clone().map(|entry| entry.is_some());
    let entry = entry.and_then(|entry| entry.ok_or_else(|| Absent::not_present("/etc/fstab has no entry for it")));
    fn absent<T>() -> Fact<T> {
        Fact(Err(Absent::not_present("not mounted")))
    }
    Mount {
        mount_point,
        mounted: false,
        source: absent(),
        kind: absent(),
        options: absent(),
        read_only: absent(),
        is_network: absent(),
        is_pseudo: absent(),
        is_fuse: absent(),
        fuse: absent(),
        server: absent(),
        is_repeat: absent(),
        in_fstab: in_fstab.into(),
        fstab_read_only: entry.clone().map(|entry| entry.options.iter().any(|option| option == "ro")).into(),
        fstab_source: entry.clone().map(|entry| entry.source.clone()).into(),
        fstab_options: entry.map(|entry| entry.options.clone()).into(),
        answered: absent(),
        error: absent(),
        space: absent(),
        device: None,
    }
}

/// The part that asks a mount how much there is. It alone can hang.
fn part<'a>(source: &'a Source, index: usize, mount: &Mount) -> Option<Part<'a>> {
    if !mount.mounted || mount.is_pseudo.value() == Some(&true) {
        return None;
    }
    let mount_point = mount.mount_point.clone();
    let place = Place::new(format!("/{index}"), &["answered", "error", "space"], label(mount), MOUNT_DEADLINE);
    // Below another root a mount may be out of sight: then its folder there shows what lies under it. Subvolumes of
    // btrfs have device numbers of their own.
    let kind = mount.kind.value().cloned().unwrap_or_default();
    let is_foreign = !source.is_live() && source.recorded().is_none() && kind != "btrfs";
    let device = mount.device.clone().filter(|_| is_foreign);
    let ask = move || {
        let seen = device.as_ref().map_or(Ok(()), |device| source.is_device(&mount_point, device));
        parts::fields(&match seen.and_then(|()| source.file_system(&mount_point)) {
            Ok(size) => {
                let error = Fact(Err(Absent::not_present("it gave none")));
                Answer { answered: true.into(), error, space: space(size).into() }
            }
            Err(absent) if absent.reason == Reason::Failed => {
                let words = absent.detail.strip_prefix(&format!("{mount_point}: ")).unwrap_or(&absent.detail);
                Answer { answered: false.into(), error: words.to_string().into(), space: Fact(Err(absent)) }
            }
            Err(absent) => Answer {
                answered: Fact(Err(absent.clone())),
                error: Fact(Err(absent.clone())),
                space: Fact(Err(absent)),
            },
        })
    };
    Some((place, Box::new(ask)))
}

fn space(size: FileSystemSize) -> MountSpace {
    let used = taken(size.free_bytes, size.size_bytes);
    let inodes = match size.inodes {
        0 => Err(Absent::not_supported("its inodes are not counted")),
        inodes => Ok(inodes),
    };
    MountSpace {
        size_bytes: size.size_bytes,
        free_bytes: size.free_bytes,
        available_bytes: size.available_bytes,
        used_percent: used.and_then(|used| percent(used, used.saturating_add(size.available_bytes))).into(),
        inodes_free: inodes.clone().map(|_| size.inodes_free).into(),
        inodes_used_percent: inodes.clone().and_then(|inodes| percent(taken(size.inodes_free, inodes)?, inodes)).into(),
        inodes: inodes.into(),
    }
}

/// Some file systems in user space make their figures up.
fn taken(free: u64, all: u64) -> Result<u64, Absent> {
    all.checked_sub(free).ok_or_else(|| Absent::not_supported(format!("it says that {free} of {all} are free")))
}

/// To one decimal, so that it reads well in a message.
fn percent(part: u64, whole: u64) -> Result<f64, Absent> {
    match whole {
        0 => Err(Absent::not_supported("its size is 0")),
        _ => Ok((part as f64 / whole as f64 * 1000.0).round() / 10.0),
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; what is not such a line is left
/// out, since the kernel writes no other.
fn line(text: &str) -> Option<Line> {
    let (mount, file_system) = text.split_once(" - ")?;
    let mut mount = mount.split(' ');
    let mut file_system = file_system.split(' ');
    let (id, parent) = (mount.next()?.parse().ok()?, mount.next()?.parse().ok()?);
    let device = mount.next()?.to_string();
    let mount_point = unescaped(mount.nth(1)?);
    let of_mount = mount.next()?;
    let (kind, source) = (unescaped(file_system.next()?), unescaped(file_system.next()?));
    let of_file_system = file_system.next().unwrap_or_default();
    let mut options: Vec<String> = Vec::new();
    for option in of_mount.split(',').chain(of_file_system.split(',')).filter(|option| !option.is_empty()) {
        let option = unescaped(option);
        if !options.contains(&option) {
            options.push(option);
        }
    }
    if options.iter().any(|option| option == "ro") {
        options.retain(|option| option != "rw");
    }
    Some(Line { id, parent, device, mount_point, options, kind, source })
}

/// The mounts that a path can reach: of several on one point the last, and none below a buried one.
fn visible(lines: Vec<Line>) -> Vec<Line> {
    let top: HashMap<String, u32> = lines.iter().map(|line| (line.mount_point.clone(), line.id)).collect();
    let is_top = |line: &Line| top.get(&line.mount_point) == Some(&line.id);
    let mut buried: HashSet<u32> = lines.iter().filter(|line| !is_top(line)).map(|line| line.id).collect();
    // What is mounted on a buried mount's own root is what buries it; all else on it is out of reach.
    let point: HashMap<u32, String> = lines.iter().map(|line| (line.id, line.mount_point.clone())).collect();
    loop {
        let before = buried.len();
        for line in &lines {
            if buried.contains(&line.parent) && point.get(&line.parent) != Some(&line.mount_point) {
                buried.insert(line.id);
            }
        }
        if buried.len() == before {
            break;
        }
    }
    lines.into_iter().filter(|line| !buried.contains(&line.id)).collect()
}

fn entries(fstab: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let source = fields.next().filter(|source| !source.starts_with('#'))?;
        let mount_point = unescaped(fields.next()?);
        let kind = fields.next().unwrap_or("auto");
        let options: Vec<String> = fields.next().unwrap_or("defaults").split(',').map(unescaped).collect();
        if !mount_point.starts_with('/') || kind == "swap" {
            return None;
        }
        let wanted = kind != "ignore" && options.iter().all(|option| option != "noauto");
        let mount_point = match mount_point.trim_end_matches('/') {
            "" => "/".to_string(),
            trimmed => trimmed.to_string(),
        };
        Some(Entry { mount_point, source: unescaped(source), options, wanted })
    };
    fstab.lines().filter_map(entry).collect()
}

/// The machine in a source: `nfs1:/export`, `[fe80::1]:/export`, `//smb/share`, `user@host:/`, `10.0.0.1@o2ib:/fs`,
/// `mon1:6789,mon2:6789:/`, `weka1,weka2/fs`.
fn server(kind: &str, source: &str) -> Option<String> {
    let machine = match source.strip_prefix("//") {
        Some(share) => share.split('/').next()?,
        None => source.split_once(":/").or_else(|| source.split_once('/'))?.0,
    };
    let machine = match kind {
        "fuse.sshfs" => machine.rsplit('@').next()?,
        // `name@fsid.fs=/`: its monitors are named elsewhere.
        "ceph" if machine.ends_with('=') => return None,
        _ => machine,
    };
    let machine = match machine.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address,
        None => machine.trim_end_matches(':'),
    };
    (!machine.is_empty()).then(|| machine.to_string())
}

/// Undoes the octal escapes `\040` that the kernel and fstab(5) use for white space and the backslash.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = (byte == b'\\').then(|| after.get(..3)).flatten().and_then(|digits| {
            digits
                .iter()
                .try_fold(0u32, |sum, digit| matches!(digit, b'0'..=b'7').then(|| sum * 8 + u32::from(digit - b'0')))
        });
        match octal.and_then(|octal| u8::try_from(octal).ok()) {
            Some(octal) => {
                bytes.push(octal);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::{Recorded, RecordedFileSystem};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::fs;

    const MOUNTINFO: &str = "\
21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
22 21 0:20 / /proc rw,nosuid - proc proc rw
23 21 0:30 / /home rw - autofs systemd-1 rw,fd=29
24 23 0:40 / /home rw,hard shared:7 - nfs4 nfs1:/export/home rw,vers=4.2,addr=10.0.0.9
25 21 0:41 / /lustre rw - lustre 10.1.0.1@o2ib:10.1.0.2@o2ib:/scratch rw,flock
26 21 8:3 / /my\\040data ro master:1 - xfs /dev/sdb rw
27 21 0:50 / /old rw - tmpfs tmpfs rw
28 27 0:51 / /old/below rw - tmpfs tmpfs rw
29 27 0:52 / /old rw - tmpfs new rw
30 21 0:53 / /dead rw - fuse.unheard-of me@far:/x rw
not a line
";
    const FSTAB: &str = "\
# what should be there
UUID=1-2 / ext4 defaults 0 1
nfs1:/export/home /home/ nfs4 hard,_netdev
/dev/sdb /my\\040data xfs ro 0 0
nfs2:/tools /tools nfs ro,nofail
/dev/sdc /media/usb vfat noauto,user
/dev/sda3 none swap sw 0 0
half
";

    fn tree(mountinfo: &str) -> Vec<Value> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/1")).unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("proc/1/mountinfo"), mountinfo).unwrap();
        fs::write(dir.path().join("etc/fstab"), FSTAB).unwrap();
        let queue = dir.path().join("sys/fs/fuse/connections/53");
        fs::create_dir_all(&queue).unwrap();
        for (name, value) in [("waiting", "7\n"), ("max_background", "12\n"), ("congestion_threshold", "9\n")] {
            fs::write(queue.join(name), value).unwrap();
        }
        let full = RecordedFileSystem { size_bytes: 1000, free_bytes: 100, inodes: 8, ..Default::default() };
        let gone = |reason, detail: &str| RecordedFileSystem {
            absent: Some(reason),
            detail: detail.into(),
            ..Default::default()
        };
        let file_systems = BTreeMap::from([
            ("/".to_string(), full),
            ("/home".to_string(), gone(Reason::Timeout, "did not answer in 3 s")),
            ("/dead".to_string(), gone(Reason::Failed, "/dead: transport endpoint is not connected")),
        ]);
        let source = Source::dead(dir.path(), Recorded { file_systems, ..Default::default() });
        match (PROBE.ask)(&source, &Value::Null, &Silent).unwrap() {
            Value::Array(mounts) => mounts,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn each_reachable_mount_is_listed_once() {
        let mounts = tree(MOUNTINFO);
        let points: Vec<_> = mounts.iter().map(|mount| mount["mount_point"].as_str().unwrap()).collect();
        assert_eq!(points, ["/", "/proc", "/home", "/lustre", "/my data", "/old", "/dead", "/tools"]);
        assert_eq!(mounts[5]["source"], "new");
        assert_eq!(mounts[4]["read_only"], true);
        assert_eq!(mounts[4]["options"], json!(["ro"]));
        assert_eq!(mounts[0]["options"], json!(["rw", "relatime", "errors=remount-ro"]));
        assert_eq!((&mounts[2]["type"], &mounts[2]["server"]), (&json!("nfs4"), &json!("nfs1")));
        assert_eq!(mounts[3]["is_network"], true);
        assert_eq!((&mounts[6]["is_fuse"], &mounts[6]["is_network"]), (&json!(true), &json!(true)));
        let queue = json!({"waiting_count": 7, "background_count": 12, "congested_count": 9});
        assert_eq!(mounts[6]["fuse"], queue);
        assert_eq!(mounts[2]["fuse"]["absent"], "not_supported");
    }

    #[test]
    fn what_fstab_wants_and_nobody_mounted_is_listed_as_not_mounted() {
        let mounts = tree(MOUNTINFO);
        let tools = mounts.last().unwrap();
        assert_eq!((&tools["mounted"], &tools["in_fstab"]), (&json!(false), &json!(true)));
        assert_eq!(tools["fstab_options"], json!(["ro", "nofail"]));
        assert_eq!(tools["fstab_read_only"], true);
        assert_eq!(tools["type"]["absent"], "not_present");
        assert_eq!(mounts[2]["in_fstab"], true);
        assert_eq!(mounts[3]["in_fstab"], false);
        assert_eq!(mounts[3]["fstab_read_only"]["absent"], "not_present");
    }

    #[test]
    fn a_mount_that_hangs_and_one_that_fails_are_told_apart() {
        let mounts = tree(MOUNTINFO);
        assert_eq!(mounts[0]["answered"], true);
        assert_eq!(mounts[0]["space"]["used_percent"], 90.0);
        assert_eq!(mounts[0]["space"]["inodes_used_percent"], 100.0);
        assert_eq!(mounts[1]["answered"]["absent"], "not_supported");
        assert_eq!(mounts[2]["answered"]["absent"], "timeout");
        assert_eq!(mounts[6]["answered"], false);
        assert_eq!(mounts[6]["space"]["absent"], "failed");
        assert_eq!(mounts[5]["space"]["absent"], "not_recorded");
    }

    #[test]
    fn a_file_system_with_more_free_than_there_is_says_nothing_of_what_is_used() {
        let size =
            FileSystemSize { size_bytes: 10, free_bytes: 11, available_bytes: 11, inodes: 5, inodes_free: u64::MAX };
        let space = space(size);
        assert_eq!(space.used_percent.0.unwrap_err().reason, Reason::NotSupported);
        assert_eq!(space.inodes_used_percent.0.unwrap_err().reason, Reason::NotSupported);
    }

    #[test]
    fn servers_are_found_in_every_kind_of_source() {
        for (kind, source, expected) in [
            ("nfs4", "nfs1:/export", Some("nfs1")),
            ("nfs", "[fe80::1]:/export", Some("fe80::1")),
            ("cifs", "//files/share/a", Some("files")),
            ("fuse.sshfs", "me@far:/x", Some("far")),
            ("lustre", "mds1@tcp:10.1.0.2@o2ib:/fs", Some("mds1@tcp:10.1.0.2@o2ib")),
            ("ceph", "mon1:6789,mon2:6789:/", Some("mon1:6789,mon2:6789")),
            ("ceph", "me@b1-c2.files=/", None),
            ("wekafs", "weka1,weka2/fs", Some("weka1,weka2")),
            ("beegfs", "beegfs_nodev", None),
            ("gpfs", "/dev/gpfs0", None),
            ("nfs", "", None),
        ] {
            assert_eq!(server(kind, source).as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn escapes_that_are_none_stay_as_they_are() {
        for (text, expected) in [(r"a\040b\134", r"a b\"), (r"\0", r"\0"), (r"\999", r"\999"), (r"\777", r"\777")] {
            assert_eq!(unescaped(text), expected);
        }
        assert_eq!(unescaped(r"\303\274"), "ü");
    }

    #[test]
    fn one_mount_stands_for_each_file_system() {
        let mounts = tree(
            "22 1 259:2 / / rw - ext4 /dev/sda1 rw\n\
             30 22 259:3 / /data/of/somebody rw - xfs /dev/sdb1 rw\n\
             31 22 259:3 / /data rw - xfs /dev/sdb1 rw\n\
             32 22 259:3 / /d ro - xfs /dev/sdb1 rw\n",
        );
        let repeats = |point: &str| {
            mounts.iter().find(|mount| mount["mount_point"] == point).map(|mount| mount["is_repeat"].clone()).unwrap()
        };
        for (point, repeat) in [("/", false), ("/data", false), ("/data/of/somebody", true), ("/d", true)] {
            assert_eq!(repeats(point), repeat, "{point}");
        }
    }
}
