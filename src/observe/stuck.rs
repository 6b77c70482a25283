//! What earlier runs had to leave behind: workers that sleep in the kernel, beyond the reach of a kill.
//!
//! Each is noted in a file of this program's own runtime folder, so that later runs do not ask the same again while it
//! is still stuck: a health check that runs every minute would else leave a process behind each time. The notes of
//! workers that have ended are removed.

use crate::printable::printable;
use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest note that is read, in bytes, and the most notes: bounds, far above any honest ones.
const LONGEST: u64 = 1 << 20;
const MOST: usize = 256;

/// A worker that did not end when it was killed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stuck {
    /// Its process id.
    pid: u32,
    /// When it was started, in clock ticks since boot: with the id, this names one process (proc_pid_stat(5), field 22).
    start_ticks: u64,
    /// When it was left behind.
    since: DateTime<Utc>,
    /// `--root` of the run that left it.
    root: Option<PathBuf>,
    /// What it was asked and had not answered.
    asked: Vec<Unanswered>,
}

/// One question that is stuck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unanswered {
    /// The key of the observation.
    pub key: String,
    /// The part of it, by its label; all of it when left out.
    pub part: Option<String>,
}

/// The workers that were stuck when this run began.
#[derive(Debug, Default)]
pub(super) struct StuckWorkers {
    known: Vec<Stuck>,
}

impl StuckWorkers {
    /// Reads the notes on workers that asked below the same root, and removes those that are out of date.
    pub(super) fn read(root: Option<&Path>) -> StuckWorkers {
        let Some(folder) = runtime_folder().filter(|folder| is_our_own(folder)) else { return StuckWorkers::default() };
        let Ok(entries) = fs::read_dir(folder) else { return StuckWorkers::default() };
        let mut known = Vec::new();
        for entry in entries.flatten().take(MOST) {
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| name.starts_with("stuck-") && name.ends_with(".json")) {
                continue;
            }
            let Some(stuck) = note(&entry.path()) else { continue };
            if start_ticks(stuck.pid) != Some(stuck.start_ticks) {
                let _ = fs::remove_file(entry.path());
            } else if stuck.root.as_deref() == root {
                known.push(stuck);
            }
        }
        StuckWorkers { known }
    }

    /// Since when and in which process an answer to this is awaited: `has been stuck since 2026-11-20 08:15:00 UTC
    /// (process 4711)`.
    pub(super) fn of(&self, asked: &Unanswered) -> Option<String> {
        let stuck = self.known.iter().find(|stuck| stuck.asked.contains(asked))?;
        let since = stuck.since.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").replace('Z', " UTC");
        Some(format!("has been stuck since {since} (process {})", stuck.pid))
    }

    /// The parts of this question that are stuck, with what is known of each.
    pub(super) fn parts_of(&self, key: &str) -> Vec<(String, String)> {
        let asked = self.known.iter().flat_map(|stuck| &stuck.asked).filter(|asked| asked.key == key);
        let mut parts: Vec<(String, String)> =
            asked.filter_map(|asked| Some((asked.part.clone()?, self.of(asked)?))).collect();
        parts.sort();
        parts.dedup();
        parts
    }
}

/// Notes that a worker was left behind. Where there is no folder for it, later runs will ask again; nothing is lost.
pub(super) fn leave_behind(pid: u32, root: Option<&Path>, asked: Vec<Unanswered>) {
    let (Some(folder), Some(start_ticks)) = (runtime_folder(), start_ticks(pid)) else { return };
    let _ = fs::DirBuilder::new().mode(0o700).create(&folder);
    if asked.is_empty() || !is_our_own(&folder) {
        return;
    }
    let stuck = Stuck { pid, start_ticks, since: Utc::now(), root: root.map(Path::to_path_buf), asked };
    let Ok(text) = serde_json::to_string(&stuck) else { return };
    let path = folder.join(format!("stuck-{pid}-{start_ticks}.json"));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)) {
        let _ = File::from(file).write_all(printable(&text).as_bytes());
    }
}

/// Where this program may keep such notes: root's in /run, other users' in the folder that the system made for them,
/// which cron and `su` do not name.
fn runtime_folder() -> Option<PathBuf> {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return Some(PathBuf::from("/run/punchlist"));
    }
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|named| named.is_absolute());
    let usual = || Some(PathBuf::from(format!("/run/user/{}", user.as_raw()))).filter(|usual| usual.is_dir());
    named.or_else(usual).map(|of_user| of_user.join("punchlist"))
}

/// Whether nobody else can have put anything into this folder.
fn is_our_own(folder: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == own && found.mode() & 0o022 == 0)
}

fn note(path: &Path) -> Option<Stuck> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// When a process was started; `None` where it is gone, or a zombie that only waits to be noticed. One that was killed
/// while a thread of it sleeps in the kernel looks like a zombie too, but still has that thread.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets too.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if fields.first() == Some(&"Z") && fs::read_dir(format!("/proc/{pid}/task")).ok()?.count() < 2 {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_its_id_and_its_start() {
        let own = std::process::id();
        assert_eq!(start_ticks(own), start_ticks(own));
        assert!(start_ticks(own).is_some());
        assert_eq!(start_ticks(u32::MAX), None);
    }

    #[test]
    fn only_the_same_question_counts_as_stuck() {
        let asked = |key: &str, part: Option<&str>| Unanswered { key: key.into(), part: part.map(Into::into) };
        let stuck = Stuck {
            pid: 4711,
            start_ticks: 1,
            since: "2026-11-20T08:15:00Z".parse().unwrap(),
            root: None,
            asked: vec![asked("mounts", Some("/data")), asked("file {}", None)],
        };
        let workers = StuckWorkers { known: vec![stuck] };
        let text = "has been stuck since 2026-11-20 08:15:00 UTC (process 4711)";
        assert_eq!(workers.of(&asked("file {}", None)).as_deref(), Some(text));
        assert_eq!(workers.of(&asked("mounts", None)), None);
        assert_eq!(workers.parts_of("mounts"), [("/data".to_string(), text.to_string())]);
        assert!(workers.parts_of("file {}").is_empty());
    }
}
