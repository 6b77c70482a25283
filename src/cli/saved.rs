//! Reading what was saved: reports and snapshots.

use super::Failure;
use crate::observe::Snapshot;
use crate::probe::source::plain_io_text;
use crate::report::Report;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The largest file that is read, in bytes; a report of 5,000 outcomes has four million.
const MAX_BYTES: u64 = 256 << 20;

/// A file that Punchlist wrote.
pub(super) enum Saved {
    /// What a run found out.
    Report(Box<Report>),
    /// What a node said.
    Snapshot(Box<Snapshot>),
}

impl Saved {
    /// Reads a report or a snapshot.
    pub(super) fn read(path: &Path) -> Result<Saved, Failure> {
        #[derive(Deserialize)]
        struct Header {
            format: String,
        }
        let bytes = bytes(path)?;
        match serde_json::from_slice::<Header>(&bytes) {
            Ok(header) if header.format == "punchlist-snapshot" => {
                Ok(Saved::Snapshot(Box::new(Snapshot::from_json(&shown(path), &bytes).map_err(Failure::bad_input)?)))
            }
            _ => Ok(Saved::Report(Box::new(report_of(path, &bytes)?))),
        }
    }
}

/// Reads a saved report.
pub(super) fn report(path: &Path) -> Result<Report, Failure> {
    report_of(path, &bytes(path)?)
}

fn report_of(path: &Path, bytes: &[u8]) -> Result<Report, Failure> {
    Report::from_json(bytes).map_err(|what| Failure::bad_input(format!("{}: this {what}", shown(path))))
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

fn shown(path: &Path) -> String {
    if is_standard_input(path) { "standard input".into() } else { path.display().to_string() }
}

/// What a file holds; `-` is standard input.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let bad = |what: &str| Failure::bad_input(format!("{}: this {what}", shown(path)));
    let plain = |error: io::Error| Failure::bad_input(format!("{}: {}", shown(path), plain_io_text(&error)));
    let too_large = || bad(&format!("is not a report: it has more than {} MiB", MAX_BYTES >> 20));
    if is_standard_input(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(plain)?;
        return if bytes.len() as u64 > MAX_BYTES { Err(too_large()) } else { Ok(bytes) };
    }
    // Asked before it is opened: a pipe would keep us waiting, and a large file is not worth reading.
    let metadata = fs::metadata(path).map_err(plain)?;
    if !metadata.is_file() {
        return Err(bad("is no plain file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)).map_err(plain)?;
    Ok(bytes)
}
