//! What a worker is asking, on its command line and in its name: should it get stuck, `ps` tells everybody in what.
//!
//! A process that was killed has no command line any more, even when a thread of it sleeps on in the kernel and it
//! does not go away. The name stays, but has room for 15 letters only.

use std::fs;

/// The room for it, in bytes. What does not fit is cut off.
const ROOM: usize = 240;

/// What stands first, so that people and other programs know whose process it is.
const NAME: &str = "punchlist worker";

/// The name that a worker is started under: it reserves the room.
pub(super) fn reserved() -> String {
    format!("{NAME:ROOM$}")
}

/// The command line of this process.
pub(super) struct Title {
    /// Where the first argument stands in memory, when it is the one that [`reserved`] made.
    room: Option<*mut u8>,
    asked: Vec<String>,
}

// SAFETY: the pointer is to memory of this process that nothing else writes to, and never moves.
unsafe impl Send for Title {}

impl Title {
    pub(super) fn new() -> Title {
        let own = std::env::args_os().next().is_some_and(|name| name.to_str() == Some(&reserved()));
        Title { room: own.then(first_argument).flatten(), asked: Vec::new() }
    }

    /// Puts something that is asked on the command line, or takes it off again.
    pub(super) fn name(&mut self, label: &str, asked: bool) {
        let Some(room) = self.room else { return };
        if asked {
            self.asked.push(label.to_string());
        } else if let Some(at) = self.asked.iter().position(|known| known == label) {
            self.asked.remove(at);
        }
        // The newest first: a part stands before the probe that it belongs to.
        let asked: Vec<&str> = self.asked.iter().rev().map(String::as_str).collect();
        let text = if asked.is_empty() { NAME.to_string() } else { format!("{NAME}: asks {}", asked.join("; ")) };
        let bytes = text.bytes().map(|byte| if byte.is_ascii_control() { b'?' } else { byte });
        for (offset, byte) in bytes.chain(std::iter::repeat(b' ')).take(ROOM).enumerate() {
            // SAFETY: `first_argument` has found the text that `reserved` made there, of this length. Only the kernel
            // and the standard library ever read it; a torn read shows an old letter.
            unsafe { room.add(offset).write_volatile(byte) };
        }
    }

    /// Gives the process the name of what it has been asking for longest.
    pub(super) fn name_process(&self) {
        // A part of a probe says more than the probe.
        let parts = self.asked.iter().filter(|label| self.asked.iter().any(|other| is_part(label, other)));
        if let Some(label) = parts.chain(&self.asked).next() {
            let _ = fs::write("/proc/self/comm", label.as_bytes());
        }
    }
}

/// Whether `label` is of a part of what `whole` is of: `mounts /data` of `mounts`.
fn is_part(label: &str, whole: &str) -> bool {
    label.strip_prefix(whole).is_some_and(|rest| rest.starts_with(' '))
}

/// Where the kernel put the first argument (proc_pid_stat(5), field 48), if that is what stands there.
fn first_argument() -> Option<*mut u8> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let start: usize = stat.rsplit_once(") ")?.1.split(' ').nth(48 - 3)?.parse().ok()?;
    let end: usize = stat.rsplit_once(") ")?.1.split(' ').nth(49 - 3)?.parse().ok()?;
    if start == 0 || end.checked_sub(start)? <= ROOM {
        return None;
    }
    let room = start as *mut u8;
    // SAFETY: the kernel says that the arguments stand from `start` to `end`, which is further than is read here.
    let found = unsafe { std::slice::from_raw_parts(room, ROOM) };
    (found == reserved().as_bytes()).then_some(room)
}
