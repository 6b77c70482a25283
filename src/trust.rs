//! Whether somebody else could have written what root is about to act on.
//!
//! Checklists run commands, a site file names more of them and waives what they find, and a library runs as a whole.
//! So root takes these only from files that nobody else can change, put in the place of, or lead elsewhere, as sshd
//! does with its keys: the file, each folder above it up to `/`, and each link on the way belong to root, or to the
//! user who called `sudo`, and nobody else may write them. Whoever is not root risks only what is theirs already, and
//! a project's shared folder is a usual place for a checklist: they are refused nothing.

use rustix::fs::{FileType, Mode, Stat, lstat};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What others may write, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// What is wrong: one sentence.
    pub message: String,
    /// The command that mends it.
    pub mend: String,
}

/// The most links that are followed on the way to a file; as many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Refuses a file that others than root may write, when root is who runs us. What cannot be looked at is not
/// refused: reading it will tell why.
pub fn check(path: &Path) -> Result<(), Untrusted> {
    if !runs_as_root() {
        return Ok(());
    }
    // Each folder is looked at before what it holds, so what is found to be fine stays so.
    match Walk::of(path).and_then(|walk| walk.first_writable(&owners())) {
        Ok(Some(untrusted)) => Err(untrusted),
        _ => Ok(()),
    }
}

/// Whether this process has root's rights on this machine. In a user namespace root is somebody else, files of the real
/// root belong to nobody, and there is nothing to guard.
fn runs_as_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map");
    // user_namespaces(7): the first namespace maps every id to itself. Without /proc this cannot be told.
    let is_first = map.map_or(true, |map| map.split_whitespace().eq(["0", "0", "4294967295"]));
    rustix::process::geteuid().is_root() && is_first
}

/// Who may own what root acts on: root, and who became root by `sudo` and may do anything anyway.
fn owners() -> Vec<u32> {
    let by_sudo = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    [0].into_iter().chain(by_sudo).collect()
}

/// A path taken piece by piece.
struct Walk {
    asked: PathBuf,
    done: PathBuf,
    ahead: VecDeque<OsString>,
    links: usize,
}

impl Walk {
    fn of(path: &Path) -> io::Result<Walk> {
        let mut walk = Walk { asked: path.to_path_buf(), done: "/".into(), ahead: VecDeque::new(), links: 0 };
        walk.go(&std::path::absolute(path)?);
        Ok(walk)
    }

    /// Puts the pieces of a path before those that are ahead.
    fn go(&mut self, path: &Path) {
        if path.is_absolute() {
            self.done = "/".into();
        }
        let pieces =
            path.components().rev().filter(|piece| matches!(piece, Component::Normal(_) | Component::ParentDir));
        pieces.for_each(|piece| self.ahead.push_front(piece.as_os_str().to_os_string()));
    }

    /// The first thing on the way that somebody else may write.
    fn first_writable(mut self, owners: &[u32]) -> io::Result<Option<Untrusted>> {
        loop {
            let found = lstat(&self.done)?;
            if let Some(untrusted) = self.untrusted(&found, owners) {
                return Ok(Some(untrusted));
            }
            if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
                self.links += 1;
                if self.links > MOST_LINKS {
                    return Err(io::ErrorKind::Other.into());
                }
                let target = fs::read_link(&self.done)?;
                self.done.pop();
                self.go(&target);
            }
            match self.ahead.pop_front() {
                None => return Ok(None),
                Some(piece) if piece == ".." => {
                    self.done.pop();
                }
                Some(piece) => self.done.push(piece),
            }
        }
    }

    fn untrusted(&self, found: &Stat, owners: &[u32]) -> Option<Untrusted> {
        let path = self.done.display();
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_end = self.ahead.is_empty() && kind != FileType::Symlink;
        if !owners.contains(&found.st_uid) {
            let message = format!("{path} belongs to user {}, and root acts on it", found.st_uid);
            // Nobody should be told to take somebody's home away from them.
            let mend = if is_end { format!("chown root {}", quoted(&self.done)) } else { self.copy() };
            return Some(Untrusted { message, mend });
        }
        let mode = Mode::from_raw_mode(found.st_mode);
        // In a sticky folder nobody can take away what is another's, and what is in it is looked at next.
        let shields = kind == FileType::Symlink || (kind == FileType::Directory && mode.contains(Mode::SVTX));
        let all = mode.contains(Mode::WOTH);
        // A group of the owner's own has the owner's number (or is root's); who else is in it, the owner has let in.
        let group = mode.contains(Mode::WGRP) && found.st_gid != 0 && found.st_gid != found.st_uid;
        if shields || !(all || group) {
            return None;
        }
        let who = if all { "everybody".to_string() } else { format!("group {}", found.st_gid) };
        let message = format!("{who} may write {path}, and root acts on it");
        Some(Untrusted { message, mend: format!("chmod go-w {}", quoted(&self.done)) })
    }

    /// Copies what was asked for to where only root writes.
    fn copy(&self) -> String {
        let name = self.asked.file_name().map(PathBuf::from).unwrap_or_default();
        let to = Path::new("/root").join(name);
        format!("cp {} {}", quoted(&self.asked), quoted(&to))
    }
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ',' | ':' | '@');
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    /// What is said of a file, by an owner of everything above it.
    fn said(path: &Path) -> Option<Untrusted> {
        let me = rustix::process::geteuid().as_raw();
        Walk::of(path).unwrap().first_writable(&[0, me]).unwrap()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_everybody_may_write_is_refused_wherever_it_is_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a b/c");
        fs::create_dir_all(&inside).unwrap();
        let file = inside.join("x.yaml");
        fs::write(&file, "").unwrap();
        assert_eq!(said(&file), None, "in a sticky /tmp, and nobody else's");
        for (path, usual) in [(&file, 0o644), (&inside, 0o755), (&inside.parent().unwrap().to_path_buf(), 0o755)] {
            mode(path, usual | 0o002);
            let untrusted = said(&file).unwrap();
            assert_eq!(untrusted.mend, format!("chmod go-w {}", quoted(path)));
            assert_eq!(untrusted.message, format!("everybody may write {}, and root acts on it", path.display()));
            if path.is_dir() {
                mode(path, 0o1777);
                assert_eq!(said(&file), None, "sticky");
            }
            mode(path, usual);
        }
        assert!(quoted(&file).starts_with("'/"));
    }

    #[test]
    fn a_link_is_followed_and_so_is_what_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (open, safe) = (folder.path().join("open"), folder.path().join("safe"));
        fs::create_dir(&open).unwrap();
        fs::create_dir(&safe).unwrap();
        fs::write(safe.join("x.yaml"), "").unwrap();
        fs::write(open.join("y.yaml"), "").unwrap();
        symlink("../safe/x.yaml", open.join("x.yaml")).unwrap();
        symlink(open.join("y.yaml"), safe.join("y.yaml")).unwrap();
        mode(&open, 0o777);
        for link in [open.join("x.yaml"), safe.join("y.yaml"), safe.join("../open/x.yaml")] {
            assert_eq!(said(&link).unwrap().mend, format!("chmod go-w {}", open.display()), "{}", link.display());
        }
        mode(&open, 0o755);
        assert_eq!(said(&safe.join("y.yaml")), None);
        symlink("circle", safe.join("circle")).unwrap();
        assert!(Walk::of(&safe.join("circle")).unwrap().first_writable(&[0]).is_err());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused_and_a_group_of_ones_own_is_not() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yaml");
        fs::write(&file, "").unwrap();
        mode(&file, 0o664);
        assert_eq!(said(&file), None, "group root");
        chown(&file, None, Some(1234)).unwrap();
        assert_eq!(
            said(&file).unwrap().message,
            format!("group 1234 may write {}, and root acts on it", file.display())
        );
        chown(&file, Some(1234), None).unwrap();
        assert_eq!(said(&file).unwrap().mend, format!("chown root {}", file.display()));
        let by_sudo = Walk::of(&file).unwrap().first_writable(&[0, 1234]).unwrap();
        assert_eq!(by_sudo, None, "a group of the owner's own");
        chown(folder.path(), Some(1234), None).unwrap();
        assert_eq!(said(&file).unwrap().mend, format!("cp {} /root/x.yaml", file.display()));
    }
}
