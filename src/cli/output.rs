//! Writing files whole or not at all; those that are followed, line by line.

use super::{Failure, OK, patience};
use crate::observe::Deadline;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{Builder, NamedTempFile};

/// A file to be written at the end of a run. That it can be is known at the start.
pub(super) struct OutputFile {
    path: PathBuf,
    /// Why it is not even tried: its folder does not answer. The run goes on; what hangs is what it is to report.
    silent: Option<String>,
}

impl OutputFile {
    /// Makes sure that a file can be put at `path`, and leaves what is there untouched.
    pub(super) fn prepare(path: &Path) -> Result<OutputFile, Failure> {
        OutputFile::prepare_all(&[path]).map(|mut prepared| prepared.remove(0))
    }

    /// The same for several at once: ten folders that do not answer cost no more time than two.
    pub(super) fn prepare_all(paths: &[&Path]) -> Result<Vec<OutputFile>, Failure> {
        let silent = patience::folders_answer(paths);
        paths
            .iter()
            .zip(silent)
            .map(|(path, silent)| OutputFile { path: path.to_path_buf(), silent }.checked())
            .collect()
    }

    fn checked(self) -> Result<OutputFile, Failure> {
        if self.silent.is_some() {
            return Ok(self);
        }
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_dir() => return Err(self.failure("this is a folder; name a file in it")),
            // A device or a pipe would be replaced, and a link would be cut off from what it points to.
            Ok(found) if !found.is_file() => {
                return Err(self.failure("only a plain file can be replaced; name another"));
            }
            _ => {}
        }
        self.temporary()?;
        Ok(self)
    }

    fn failure(&self, what: impl std::fmt::Display) -> Failure {
        Failure::cannot_write(format!("cannot write {}: {what}", self.path.display()))
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

    /// Puts an empty file in place of what was there, to be filled line by line.
    pub(super) fn lines(&self) -> Result<LineFile, Failure> {
        if let Some(silent) = &self.silent {
            return Err(Failure::cannot_write(silent));
        }
        let file = self.temporary()?;
        let file = file
            .persist(&self.path)
            .map_err(|error| self.failure(crate::probe::source::plain_io_text(&error.error)))?;
        Ok(LineFile { file, output: OutputFile { path: self.path.clone(), silent: None } })
    }

    /// Has another process put `content` in place of what was there, at once; within `limit`.
    pub(super) fn write(&self, content: String, limit: Duration) -> Result<(), Failure> {
        if let Some(silent) = &self.silent {
            return Err(Failure::cannot_write(silent));
        }
        patience::write(&self.path, content, limit)
    }

    fn replace(&self, content: &[u8]) -> Result<(), Failure> {
        let mut file = self.temporary()?;
        file.write_all(content)
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| self.failure(crate::probe::source::plain_io_text(&error)))?;
        file.persist(&self.path).map_err(|error| self.failure(crate::probe::source::plain_io_text(&error.error)))?;
        Ok(())
    }
}

/// A file that is followed while it grows: what stands in it are whole lines.
pub(super) struct LineFile {
    file: File,
    output: OutputFile,
}

impl LineFile {
    /// Adds a line, which ends in a newline.
    pub(super) fn write(&mut self, line: &str) -> Result<(), Failure> {
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| self.output.failure(crate::probe::source::plain_io_text(&error)))
    }
}

/// How long a file may take to be written where no run's deadline says so.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// How long a file may take to be written: until shortly before the end of the second after the deadline, in which the
/// run has to end.
pub(super) fn time_to_write(deadline: &Deadline) -> Duration {
    (deadline.limit + Duration::from_millis(800))
        .saturating_sub(deadline.began.elapsed())
        .max(Duration::from_millis(500))
}

/// The other process of [`OutputFile::write`].
pub(super) fn write_standard_input(path: &Path) -> Result<i32, Failure> {
    let output = OutputFile { path: path.to_path_buf(), silent: None };
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content).map_err(|error| output.failure(error))?;
    output.replace(&content)?;
    Ok(OK)
}
