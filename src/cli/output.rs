//! Writing files whole or not at all.

use super::Failure;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// A file to be written at the end of a run. That it can be is known at the start.
pub(super) struct OutputFile {
    path: PathBuf,
}

impl OutputFile {
    /// Makes sure that a file can be put at `path`, and leaves what is there untouched.
    pub(super) fn prepare(path: &Path) -> Result<OutputFile, Failure> {
        let output = OutputFile { path: path.to_path_buf() };
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Err(output.failure("this is a folder; name a file in it")),
            // A device or a pipe would be replaced, and a link would be cut off from what it points to.
            Ok(found) if !found.is_file() => {
                return Err(output.failure("only a plain file can be replaced; name another"));
            }
            _ => {}
        }
        output.temporary()?;
        Ok(output)
    }

    fn failure(&self, what: impl std::fmt::Display) -> Failure {
        Failure::cannot_write(format!("punchlist: cannot write {}: {what}", self.path.display()))
    }

    /// A new file beside the wanted one, under a name that nobody can guess; it goes away unless it is kept.
    fn temporary(&self) -> Result<NamedTempFile, Failure> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Builder::new()
            .prefix(".punchlist-")
            // What the user's umask leaves of it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|error| self.failure(crate::probe::source::plain_io_text(&error)))
    }

    /// Puts `content` in place of what was there, at once.
    pub(super) fn write(&self, content: &str) -> Result<(), Failure> {
        let mut file = self.temporary()?;
        file.write_all(content.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| self.failure(crate::probe::source::plain_io_text(&error)))?;
        file.persist(&self.path).map_err(|error| self.failure(crate::probe::source::plain_io_text(&error.error)))?;
        Ok(())
    }
}
