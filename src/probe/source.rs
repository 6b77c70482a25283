//! Where a probe reads from: this machine, another root of it, or a recorded machine.
//!
//! All access of all probes goes through [`Source`], so one parser serves the live node, a host seen from inside a
//! container (`--root /host`) and a dead tree of files (`--root DIR` with `DIR/punchlist-observations.yaml`).

use super::subprocess::{Keep, Room};
use super::{nvml, pci, subprocess};
use crate::fact::{Absent, Reason};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// The file that makes a folder a dead tree: what files cannot hold.
pub const OBSERVATIONS_FILE: &str = "punchlist-observations.yaml";

/// The longest text that is read as one line, in bytes: /sys gives a page at most, which is 64 KiB on some machines.
const LINE_CAP: u64 = 64 << 10;
/// The most that is read of one text file of /proc, /sys or /etc, in bytes. The largest honest one (`/proc/mounts`
/// of a node with thousands of mounts) is well below.
const TEXT_CAP: u64 = 4 << 20;

/// How much of what all commands of checklists printed is kept, in bytes.
const MOST_PRINTED: usize = 8 << 20;

/// Symbolic links followed before a path counts as a loop; the kernel's own number (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A machine to ask.
pub struct Source {
    root: PathBuf,
    recorded: Option<Recorded>,
    /// Where folders below another root lead to. Probes read many files of each, and every look-up costs a system
    /// call for each component of the path.
    folders: Mutex<HashMap<PathBuf, PathBuf>>,
    programs: OnceLock<Result<Vec<(u32, String)>, Absent>>,
    pci_devices: OnceLock<Result<Vec<pci::Identity>, Absent>>,
    nvml_path: Option<PathBuf>,
    nvml: OnceLock<Result<nvml::Library, nvml::Refusal>>,
    /// The room for what commands of checklists print.
    printed: Room,
}

/// What a dead tree says besides its files: the content of [`OBSERVATIONS_FILE`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// When the machine was recorded.
    pub recorded: DateTime<Utc>,
    /// The user id that the recording ran under.
    #[serde(default)]
    pub uid: u32,
    /// The hardware name that `uname -m` gave.
    #[serde(default)]
    pub architecture: Option<String>,
    /// What statvfs(3) said, by mount point.
    #[serde(default)]
    pub file_systems: BTreeMap<String, RecordedFileSystem>,
    /// What commands printed.
    #[serde(default)]
    pub commands: Vec<RecordedCommand>,
    /// Files of which the tree cannot hold everything: those that could not be read, and what a version control
    /// system does not keep.
    #[serde(default)]
    pub files: BTreeMap<String, RecordedFile>,
    /// The kernel log since boot, as dmesg(1) prints it.
    #[serde(default)]
    pub kernel_log: Option<String>,
    /// The health logs of NVMe drives by controller (`nvme0`), in hexadecimal digits; zeros at the end may be left out.
    #[serde(default)]
    pub nvme_health: BTreeMap<String, String>,
    /// What servers and sockets answered, by what was asked: `tcp HOST:PORT`, `unix PATH`, `name NAME` or an URL.
    #[serde(default)]
    pub answers: BTreeMap<String, RecordedAnswer>,
    /// What adjtimex(2) said.
    #[serde(default)]
    pub clock: Option<RecordedClock>,
    /// What drivers of network interfaces said to ethtool's questions, by interface.
    #[serde(default)]
    pub adapters: BTreeMap<String, RecordedAdapter>,
}

/// A recorded answer of a server or socket. One without an error was a connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedAnswer {
    /// Why there was none: `connection refused`.
    #[serde(default)]
    pub error: Option<String>,
    /// The status of an HTTP answer.
    #[serde(default)]
    pub status: u16,
    /// The body of an HTTP answer.
    #[serde(default)]
    pub body: String,
    /// The addresses of a name.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// How long it took, in seconds.
    #[serde(default)]
    pub took_seconds: f64,
}

/// A recorded adjtimex(2).
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedClock {
    /// What it returned: 0 is well, 5 (TIME_ERROR) is not synchronised.
    #[serde(default)]
    pub state: i32,
    /// The flags STA_….
    #[serde(default)]
    pub status: i32,
    /// What is still to be corrected, in nanoseconds.
    #[serde(default)]
    pub offset_ns: i64,
    /// The largest error there can be, in microseconds.
    #[serde(default)]
    pub max_error_us: i64,
    /// The error there probably is, in microseconds.
    #[serde(default)]
    pub estimated_error_us: i64,
    /// The offset of the international atomic time, in seconds; 0 when nobody has set it.
    #[serde(default)]
    pub tai_seconds: i32,
}

/// What the driver of a network interface said, recorded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedAdapter {
    /// Whether it negotiates with the other side.
    #[serde(default)]
    pub autonegotiates: Option<bool>,
    /// Speeds that the adapter has, in Mbit/s.
    #[serde(default)]
    pub supported_mbps: Option<Vec<u64>>,
    /// Speeds that it offers.
    #[serde(default)]
    pub offered_mbps: Option<Vec<u64>>,
    /// Speeds that the other side offers.
    #[serde(default)]
    pub partner_mbps: Option<Vec<u64>>,
    /// Places for received packets: as set, and the most there can be.
    #[serde(default)]
    pub receive_ring: Option<(u64, u64)>,
    /// Places for packets to be sent.
    #[serde(default)]
    pub send_ring: Option<(u64, u64)>,
    /// Whether it heeds the other side's wish for a pause, and may wish for one: received, sent.
    #[serde(default)]
    pub pause: Option<(bool, bool)>,
    /// The version of its firmware.
    #[serde(default)]
    pub firmware: Option<String>,
}

/// A recorded statvfs(3): sizes, or why there are none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFileSystem {
    #[serde(default)]
    /// Size of the file system, in bytes.
    pub size_bytes: u64,
    /// Bytes free for root.
    #[serde(default)]
    pub free_bytes: u64,
    /// Bytes free for ordinary users; as for root if left out.
    #[serde(default)]
    pub available_bytes: Option<u64>,
    /// Inodes in all.
    #[serde(default)]
    pub inodes: u64,
    /// Inodes free.
    #[serde(default)]
    pub inodes_free: u64,
    /// Why it did not answer.
    #[serde(default)]
    pub absent: Option<Reason>,
    /// What happened then.
    #[serde(default)]
    pub detail: String,
}

/// A recorded command: what it printed and how it ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCommand {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Exit status; 0 if left out.
    #[serde(default)]
    pub exit: i32,
    /// Standard output.
    #[serde(default)]
    pub stdout: String,
    /// Standard error.
    #[serde(default)]
    pub stderr: String,
    /// Why there is no answer at all.
    #[serde(default)]
    pub absent: Option<Reason>,
    /// What happened then.
    #[serde(default)]
    pub detail: String,
}

/// What is known of a recorded file besides its contents.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFile {
    /// Why it could not be read.
    #[serde(default)]
    pub absent: Option<Reason>,
    /// What happened then.
    #[serde(default)]
    pub detail: String,
    /// Permission bits in octal (`'0640'`).
    #[serde(default)]
    pub mode: Option<String>,
    /// Owner's user id.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Owner's group id.
    #[serde(default)]
    pub gid: Option<u32>,
    /// When it was last written.
    #[serde(default)]
    pub modified: Option<DateTime<Utc>>,
}

/// The sizes of one file system, as statvfs(3) gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystemSize {
    /// Size of the file system, in bytes.
    pub size_bytes: u64,
    /// Bytes free for root.
    pub free_bytes: u64,
    /// Bytes free for ordinary users.
    pub available_bytes: u64,
    /// Inodes in all; 0 where the file system does not count them.
    pub inodes: u64,
    /// Inodes free.
    pub inodes_free: u64,
}

/// A folder that cannot be asked: what `--root` was given is not one, or its recording is broken.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// `--root` names nothing, or not a folder.
    #[error("--root {path}: {error}")]
    Root {
        /// What was given.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// The recording cannot be read.
    #[error("{path}: {message}")]
    Recorded {
        /// The recording's path.
        path: String,
        /// What is wrong and where.
        message: String,
    },
}

impl Source {
    /// This machine.
    pub fn live() -> Source {
        Source::new(PathBuf::from("/"), None)
    }

    /// Another root of this machine, or a dead tree when it holds [`OBSERVATIONS_FILE`].
    pub fn rooted(root: &Path) -> Result<Source, SourceError> {
        let shown = || root.display().to_string();
        let root_error = |error| SourceError::Root { path: shown(), error };
        if !fs::metadata(root).map_err(root_error)?.is_dir() {
            return Err(root_error(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let root_path = fs::canonicalize(root).map_err(root_error)?;
        let file = root_path.join(OBSERVATIONS_FILE);
        let recorded = match read_plain_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(SourceError::Recorded { path: file.display().to_string(), message: error.to_string() });
            }
            Ok(text) => Some(serde_yaml::from_str(&text).map_err(|error| SourceError::Recorded {
                path: file.display().to_string(),
                message: error.to_string(),
            })?),
        };
        Ok(Source::new(root_path, recorded))
    }

    /// A dead tree with this recording: for tests.
    pub fn dead(root: &Path, recorded: Recorded) -> Source {
        Source::new(root.to_path_buf(), Some(recorded))
    }

    fn new(root: PathBuf, recorded: Option<Recorded>) -> Source {
        Source {
            root,
            recorded,
            folders: Mutex::default(),
            programs: OnceLock::new(),
            pci_devices: OnceLock::new(),
            nvml_path: None,
            nvml: OnceLock::new(),
            printed: Room::new(MOST_PRINTED),
        }
    }

    /// The room for what commands of checklists print. Each may print a MiB, and a checklist may have a thousand.
    pub(super) fn printed(&self) -> &Room {
        &self.printed
    }

    /// The same machine, with this file as the library of its NVIDIA driver.
    pub fn with_nvml(self, path: Option<PathBuf>) -> Source {
        Source { nvml_path: path, ..self }
    }

    /// The file that was given as the library of the NVIDIA driver.
    pub(super) fn nvml_path(&self) -> Option<&Path> {
        self.nvml_path.as_deref()
    }

    /// The library of the NVIDIA driver, started at the first call. May hang for ever, and crash the process.
    pub(super) fn nvml(&self) -> Result<&nvml::Library, &nvml::Refusal> {
        self.nvml.get_or_init(|| nvml::start(self, self.nvml_path())).as_ref()
    }

    /// Every process by its number, with the name of its program as the kernel cuts it (15 bytes), sorted. Read once:
    /// several probes look for daemons, and nodes have thousands of processes.
    pub(super) fn programs(&self) -> Result<&[(u32, String)], Absent> {
        let read = || {
            let mut pids: Vec<u32> = self.names("/proc")?.iter().filter_map(|name| name.parse().ok()).collect();
            pids.sort_unstable();
            let program = |pid: u32| {
                let name = self.line(&format!("/proc/{pid}/comm")).ok().or_else(|| {
                    // A recording may keep no other file with the name.
                    let stat = self.text(&format!("/proc/{pid}/stat")).ok()?;
                    Some(stat.split_once('(')?.1.rsplit_once(')')?.0.to_string())
                });
                Some((pid, name?))
            };
            Ok(pids.into_iter().filter_map(program).collect())
        };
        self.programs.get_or_init(read).as_deref().map_err(Clone::clone)
    }

    /// Every device on the PCI buses. Read once: several probes look for theirs.
    pub(super) fn pci_devices(&self) -> Result<&[pci::Identity], Absent> {
        self.pci_devices.get_or_init(|| pci::identities(self)).as_deref().map_err(Clone::clone)
    }

    /// Whether the network that this process sees is that of the asked machine. A container mostly has one of its own,
    /// and what is asked from there says nothing of the host.
    pub fn sees_network(&self) -> Result<(), Absent> {
        if self.recorded.is_some() || self.is_live() {
            return Ok(());
        }
        let ours = fs::read_link("/proc/self/ns/net").map_err(|error| absent_from_io("/proc/self/ns/net", &error))?;
        match self.link("/proc/1/ns/net") {
            Ok(host) if Path::new(&host) == ours => Ok(()),
            Ok(_) => Err(Absent::new(Reason::NotRecorded, "we run in a network of our own, not in that of the host")),
            Err(absent) => Err(absent),
        }
    }

    /// Whether a socket at `path` takes connections. May hang for as long as its queue is full.
    pub fn unix_socket(&self, path: &str) -> Result<(), Absent> {
        if let Some(recorded) = &self.recorded {
            return match recorded.answers.get(&format!("unix {path}")) {
                Some(RecordedAnswer { error: Some(error), .. }) => Err(Absent::failed(format!("{path}: {error}"))),
                Some(_) => Ok(()),
                None if !self.exists(path) => Err(Absent::not_present(format!("{path}: no such file or folder"))),
                None => Err(Absent::not_present(format!("whether {path} answers was not recorded"))),
            };
        }
        let connected = std::os::unix::net::UnixStream::connect(self.path(path)?);
        connected.map(drop).map_err(|error| absent_from_io(path, &error))
    }

    /// The last `cap` bytes of a file that may be long, as text, without the line that was cut.
    pub fn tail(&self, path: &str, cap: u64) -> Result<String, Absent> {
        let mut file = self.open(path)?;
        let failed = |error: io::Error| absent_from_io(path, &error);
        let length = file.seek(io::SeekFrom::End(0)).map_err(failed)?;
        let start = length.saturating_sub(cap);
        file.seek(io::SeekFrom::Start(start)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(cap).read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match text.split_once('\n') {
            Some((_, whole)) if start > 0 => whole.to_string(),
            _ => text,
        })
    }

    /// Whether this is the machine we run on, seen from its own root.
    pub fn is_live(&self) -> bool {
        self.recorded.is_none() && self.root == Path::new("/")
    }

    /// The recording, when this is a dead tree.
    pub fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    /// The root that paths are read below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Now, as this machine sees it: for a dead tree the moment of its recording.
    pub fn now(&self) -> DateTime<Utc> {
        self.recorded.as_ref().map_or_else(Utc::now, |recorded| recorded.recorded)
    }

    /// The effective user id that asks.
    pub fn uid(&self) -> u32 {
        self.recorded.as_ref().map_or_else(|| rustix::process::geteuid().as_raw(), |recorded| recorded.uid)
    }

    /// The path on this machine that stands for `path` on the asked one: below the root, with every symbolic link
    /// of the last component followed inside the root, so that a recorded or foreign tree never leads out of itself.
    pub fn path(&self, path: &str) -> Result<PathBuf, Absent> {
        self.resolve(path, true)
    }

    fn resolve(&self, path: &str, follow_last: bool) -> Result<PathBuf, Absent> {
        if self.root == Path::new("/") {
            return Ok(PathBuf::from(path));
        }
        let (folder, name) = self.folder_and_name(path)?;
        let Some(name) = name else { return Ok(self.root.join(folder)) };
        if !follow_last {
            return Ok(self.root.join(folder).join(name));
        }
        Ok(self.root.join(self.walk(folder, Path::new(&name))?))
    }

    /// The folder that `path` stands in, inside the root, and its name there; none for one that ends in `..`.
    fn folder_and_name(&self, path: &str) -> Result<(PathBuf, Option<std::ffi::OsString>), Absent> {
        let mut folders = components(Path::new(path));
        let name = match folders.first() {
            Some(last) if last != ".." => Some(folders.remove(0)),
            _ => None,
        };
        folders.reverse();
        Ok((self.folder(&folders.iter().collect::<PathBuf>())?, name))
    }

    /// Where a folder leads to inside the root, with every link on the way followed.
    fn folder(&self, folder: &Path) -> Result<PathBuf, Absent> {
        let (Some(above), Some(name)) = (folder.parent(), folder.components().next_back()) else {
            return Ok(PathBuf::new());
        };
        if let Some(inside) = self.folders().get(folder).cloned() {
            return Ok(inside);
        }
        let inside = self.walk(self.folder(above)?, Path::new(&name))?;
        self.folders().insert(folder.to_path_buf(), inside.clone());
        Ok(inside)
    }

    fn folders(&self) -> MutexGuard<'_, HashMap<PathBuf, PathBuf>> {
        self.folders.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Goes on from the folder `inside` the root along `path`, following links.
    fn walk(&self, mut inside: PathBuf, path: &Path) -> Result<PathBuf, Absent> {
        let mut rest = components(path);
        let mut links = 0;
        while let Some(component) = rest.pop() {
            if component == ".." {
                inside.pop();
                continue;
            }
            let next = inside.join(&component);
            if let Some(known) = self.folders().get(&next).cloned() {
                inside = known;
                continue;
            }
            match fs::read_link(self.root.join(&next)) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        let text = format!("{}: too many levels of symbolic links", path.display());
                        return Err(Absent::failed(text));
                    }
                    if target.is_absolute() {
                        inside = PathBuf::new();
                    }
                    rest.extend(components(&target));
                }
                _ => inside = next,
            }
        }
        Ok(inside)
    }

    /// What the recording says of a file that could not be read.
    fn refused(&self, path: &str) -> Result<(), Absent> {
        match self.recorded.as_ref().and_then(|recorded| recorded.files.get(path)) {
            Some(RecordedFile { absent: Some(reason), detail, .. }) => {
                Err(Absent::new(*reason, if detail.is_empty() { path } else { detail.as_str() }))
            }
            _ => Ok(()),
        }
    }

    /// A file to read from, for what is too long to be held; reading it never waits.
    pub fn open(&self, path: &str) -> Result<File, Absent> {
        self.refused(path)?;
        // Not blocking: what is named may be a pipe that nobody writes to.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let open = |real: &Path, flags: rustix::fs::OFlags| {
            File::options().read(true).custom_flags(flags.bits() as i32).open(real)
        };
        // Below another root hardly any file is a link, so that looking first would be one call too many for each.
        let mut opened = open(&self.resolve(path, false)?, flags | rustix::fs::OFlags::NOFOLLOW);
        if opened.as_ref().is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())) {
            opened = open(&self.path(path)?, flags);
        }
        opened.map_err(|error| absent_from_io(path, &error))
    }

    /// At most `cap` bytes of a file, and whether that is all of it.
    pub fn bytes(&self, path: &str, cap: u64) -> Result<(Vec<u8>, bool), Absent> {
        let file = self.open(path)?;
        // Room at once: an empty one would make the standard library feel its way with a read of 32 bytes.
        let mut bytes = Vec::with_capacity(4096);
        file.take(cap + 1).read_to_end(&mut bytes).map_err(|error| absent_from_io(path, &error))?;
        let whole = bytes.len() as u64 <= cap;
        bytes.truncate(cap as usize);
        Ok((bytes, whole))
    }

    /// The text of a file; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self, path: &str) -> Result<String, Absent> {
        match self.bytes(path, TEXT_CAP)? {
            (bytes, true) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            (_, false) => Err(Absent::failed(format!("{path}: longer than {} MiB", TEXT_CAP >> 20))),
        }
    }

    /// The text of a file without the white space around it, as the one-value files of /sys and /proc/sys want it.
    ///
    /// Garbage is no text: what a device that is failing returns must not be taken for a word nobody knows.
    pub fn line(&self, path: &str) -> Result<String, Absent> {
        let (bytes, true) = self.bytes(path, LINE_CAP)? else {
            return Err(Absent::failed(format!("{path}: longer than {} KiB", LINE_CAP >> 10)));
        };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        // A letter of another alphabet in a maker's name is no garbage, and the ends of several values are none.
        let is_odd =
            |c: &char| *c == char::REPLACEMENT_CHARACTER || (c.is_control() && !matches!(c, '\0' | '\t' | '\n' | '\r'));
        if text.chars().filter(is_odd).count() * 4 > text.chars().count() {
            return Err(Absent::failed(format!("{path}: holds no text")));
        }
        Ok(text.to_string())
    }

    /// As [`Source::line`], for files that never hold nothing.
    pub fn word(&self, path: &str) -> Result<String, Absent> {
        let line = self.line(path)?;
        if line.is_empty() { Err(Absent::failed(format!("{path}: empty"))) } else { Ok(line) }
    }

    /// A file that holds one number (or anything else that reads itself from text).
    pub fn number<T: FromStr>(&self, path: &str) -> Result<T, Absent> {
        let line = self.line(path)?;
        line.parse().map_err(|_| Absent::failed(format!("{path}: expected a number, found \"{}\"", clipped(&line))))
    }

    /// The names in a folder, sorted.
    pub fn names(&self, path: &str) -> Result<Vec<String>, Absent> {
        self.refused(path)?;
        let absent = |error: io::Error| absent_from_io(path, &error);
        let mut names = Vec::new();
        let folder: PathBuf = components(Path::new(path)).iter().rev().collect();
        for entry in fs::read_dir(self.root.join(self.folder(&folder)?)).map_err(absent)? {
            names.push(entry.map_err(absent)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Where a symbolic link points, as written in it.
    pub fn link(&self, path: &str) -> Result<String, Absent> {
        self.refused(path)?;
        let target = fs::read_link(self.resolve(path, false)?).map_err(|error| absent_from_io(path, &error))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Type, size, mode and times of what a path names. The link itself is asked when `follow` is false.
    pub fn metadata(&self, path: &str, follow: bool) -> Result<Metadata, Absent> {
        // A recorded file that could not be read can still be known to be there, so only a missing one is refused.
        let real = self.resolve(path, follow)?;
        fs::symlink_metadata(&real)
            .and_then(|found| if follow && found.is_symlink() { fs::metadata(&real) } else { Ok(found) })
            .map_err(|error| absent_from_io(path, &error))
    }

    /// Whether a path names anything.
    pub fn exists(&self, path: &str) -> bool {
        self.metadata(path, true).is_ok()
    }

    /// The sizes of the file system mounted at `mount_point`. May hang for ever on a dead server.
    pub fn file_system(&self, mount_point: &str) -> Result<FileSystemSize, Absent> {
        if let Some(recorded) = &self.recorded {
            let Some(found) = recorded.file_systems.get(mount_point) else {
                return Err(Absent::new(Reason::NotRecorded, format!("the size of {mount_point} was not recorded")));
            };
            if let Some(reason) = found.absent {
                return Err(Absent::new(reason, &*found.detail));
            }
            return Ok(FileSystemSize {
                size_bytes: found.size_bytes,
                free_bytes: found.free_bytes,
                available_bytes: found.available_bytes.unwrap_or(found.free_bytes),
                inodes: found.inodes,
                inodes_free: found.inodes_free,
            });
        }
        // Not through `path`: following links below the root would stat other mounts on the way.
        let real = self.root.join(mount_point.trim_start_matches('/'));
        let found = rustix::fs::statvfs(&real).map_err(|error| absent_from_io(mount_point, &error.into()))?;
        Ok(FileSystemSize {
            size_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bfree.saturating_mul(found.f_frsize),
            available_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            inodes: found.f_files,
            inodes_free: found.f_ffree,
        })
    }

    /// Makes sure that a mount point below our root shows the file system with this device number (`259:2`), and not
    /// what lies under it because the mount is out of our sight. May hang as [`Source::file_system`] does.
    pub fn is_device(&self, mount_point: &str, device: &str) -> Result<(), Absent> {
        let real = self.root.join(mount_point.trim_start_matches('/'));
        let found = rustix::fs::stat(&real).map_err(|error| absent_from_io(mount_point, &error.into()))?;
        let number = format!("{}:{}", rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
        if number == device {
            return Ok(());
        }
        let root = self.root.display();
        let detail = format!("{mount_point}: what is mounted there cannot be seen below {root}");
        Err(Absent::new(Reason::NotRecorded, detail))
    }

    /// Runs a command on the asked machine (in its root when that is not ours), or looks up what was recorded of it.
    /// `started` hears the process group, so that it can be killed should we be.
    pub fn command(
        &self,
        argv: &[String],
        timeout: Duration,
        output_cap: usize,
        started: &dyn Fn(u32),
    ) -> Result<subprocess::Output, Absent> {
        self.command_fed(argv, &[], timeout, Keep { each: output_cap, room: None }, started)
    }

    /// Like [`Source::command`], with a short text on the command's standard input.
    pub fn command_fed(
        &self,
        argv: &[String],
        input: &[u8],
        timeout: Duration,
        keep: Keep,
        started: &dyn Fn(u32),
    ) -> Result<subprocess::Output, Absent> {
        let Some(recorded) = &self.recorded else {
            let root = (self.root != Path::new("/")).then_some(self.root.as_path());
            return subprocess::run(argv, input, root, timeout, keep, started);
        };
        let Some(found) = recorded.commands.iter().find(|command| command.argv == argv) else {
            return Err(Absent::not_present(format!("`{}` was not recorded", argv.join(" "))));
        };
        if let Some(reason) = found.absent {
            return Err(Absent::new(reason, &*found.detail));
        }
        Ok(subprocess::Output {
            exit: Some(found.exit),
            signal: None,
            stdout: found.stdout.clone().into_bytes(),
            stderr: found.stderr.clone().into_bytes(),
            truncated: false,
            took: Duration::ZERO,
        })
    }
}

/// The text of a plain file. What is none is not opened: a pipe would keep us waiting.
fn read_plain_file(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    fs::read_to_string(path)
}

/// The components of `path` from last to first; the root and `.` are left out.
fn components(path: &Path) -> Vec<std::ffi::OsString> {
    let mut all: Vec<_> = path
        .components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_os_string())
        .collect();
    all.reverse();
    all
}

/// What an error of the operating system means for the thing at `path`.
pub fn absent_from_io(path: &str, error: &io::Error) -> Absent {
    let reason = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reason::NotPresent,
        io::ErrorKind::PermissionDenied => Reason::Denied,
        io::ErrorKind::Unsupported => Reason::NotSupported,
        _ => Reason::Failed,
    };
    let text = match reason {
        Reason::NotPresent => "no such file or folder".to_string(),
        Reason::Denied => "permission denied".to_string(),
        _ => plain_io_text(error),
    };
    Absent::new(reason, format!("{path}: {text}"))
}

/// The system's words for an error, without Rust's `(os error 5)`.
pub fn plain_io_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A value short enough for a message.
pub fn clipped(text: &str) -> String {
    clipped_to(60, text)
}

/// What a tool said of its failure, in so many characters at most.
pub fn clipped_to(most: usize, text: &str) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// A dead tree of these files, for tests; the folder goes away with the first of the two.
#[cfg(test)]
pub(super) fn tree_of(files: &[(&str, &str)], recorded: Recorded) -> (tempfile::TempDir, Source) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let source = Source::dead(dir.path(), recorded);
    (dir, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_never_lead_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        fs::write(dir.path().join("usr/lib/os-release"), "ID=recorded\n").unwrap();
        symlink("../usr/lib/os-release", dir.path().join("etc/os-release")).unwrap();
        symlink("/usr/lib/os-release", dir.path().join("etc/absolute")).unwrap();
        symlink("../../../../../../usr/lib/os-release", dir.path().join("etc/above")).unwrap();
        symlink("loop", dir.path().join("etc/loop")).unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        for name in ["os-release", "absolute", "above"] {
            assert_eq!(source.line(&format!("/etc/{name}")), Ok("ID=recorded".into()), "{name}");
        }
        assert_eq!(source.line("/../../etc/os-release"), Ok("ID=recorded".into()));
        assert_eq!(source.text("/etc/loop").unwrap_err().reason, Reason::Failed);
        assert_eq!(source.link("/etc/absolute"), Ok("/usr/lib/os-release".into()));
    }

    #[test]
    fn a_file_that_was_denied_when_recorded_is_denied_now() {
        let dir = tempfile::tempdir().unwrap();
        let denied = RecordedFile { absent: Some(Reason::Denied), detail: "needs root".into(), ..Default::default() };
        let recorded = Recorded { files: BTreeMap::from([("/etc/shadow".into(), denied)]), ..Default::default() };
        let source = Source::dead(dir.path(), recorded);
        assert_eq!(source.text("/etc/shadow"), Err(Absent::denied("needs root")));
        assert_eq!(source.text("/etc/group").unwrap_err().reason, Reason::NotPresent);
    }

    #[test]
    fn a_number_that_is_none_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("n"), "unknown\n").unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        assert_eq!(source.number::<u64>("/n"), Err(Absent::failed("/n: expected a number, found \"unknown\"")));
    }
}
