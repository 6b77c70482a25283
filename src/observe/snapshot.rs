//! What was observed, kept in a file: to be judged later, elsewhere, as often as one likes.
//!
//! Compatibility: `version` is raised when a field changes its meaning or goes away. A reader takes every version up
//! to its own; a probe or field that an old snapshot does not hold reads as not recorded.

use crate::fact::Observations;
use crate::printable::printable_json;
use crate::probe::source::plain_io_text;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The version of the snapshot's format.
const VERSION: u32 = 1;

/// The largest snapshot that is read, in bytes; that of a node with 4,000 processes has two million.
const MAX_BYTES: u64 = 256 << 20;

/// What a snapshot calls itself.
const FORMAT: &str = "punchlist-snapshot";

/// The observations of one node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    format: String,
    version: u32,
    /// Whether names, addresses and secrets were replaced by pseudonyms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The version of the program that took it.
    pub tool_version: String,
    /// When it was taken.
    pub taken: DateTime<Utc>,
    /// The effective user id that asked.
    pub uid: u32,
    /// What was observed.
    pub observations: Observations,
}

/// What of any file tells whether it is a snapshot, and of which version.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

impl Snapshot {
    /// A snapshot of what was observed at `taken` by the user `uid`.
    pub fn new(taken: DateTime<Utc>, uid: u32, observations: Observations) -> Snapshot {
        let tool_version = env!("CARGO_PKG_VERSION").to_string();
        Snapshot { format: FORMAT.into(), version: VERSION, redacted: false, tool_version, taken, uid, observations }
    }

    /// The snapshot as JSON, ending in a newline.
    pub fn to_json(&self) -> String {
        // Maps have text keys and numbers are finite: observations can always be written.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        printable_json(text)
    }

    /// Reads a snapshot (`-`: from standard input); otherwise why it is none, as a sentence that begins with the file's name.
    pub fn read(path: &Path) -> Result<Snapshot, String> {
        let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        let plain = |error: io::Error| format!("{name}: {}", plain_io_text(&error));
        // Asked before it is opened: a pipe would keep us waiting.
        let from_standard_input = path == Path::new("-");
        if !from_standard_input && !fs::metadata(path).map_err(plain)?.is_file() {
            return Err(format!("{name}: this is no plain file"));
        }
        let mut bytes = Vec::new();
        let read = match from_standard_input {
            true => io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes),
            false => File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)),
        };
        read.map_err(plain)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("{name}: not a snapshot: it has more than {} MiB", MAX_BYTES >> 20));
        }
        Snapshot::from_json(&name, &bytes)
    }

    /// Reads the JSON of a snapshot; otherwise why it is none, as a sentence that begins with `name`.
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Snapshot, String> {
        match serde_json::from_slice::<Header>(bytes) {
            Ok(header) if header.format != FORMAT => {
                return Err(format!("{name}: this is a {}, not a snapshot", header.format));
            }
            Ok(header) if header.version > VERSION => {
                return Err(format!(
                    "{name}: this snapshot has version {}, this program reads up to {VERSION}; use a newer punchlist",
                    header.version
                ));
            }
            Err(error) if error.is_eof() => {
                return Err(format!("{name}: this snapshot is cut off; take it or copy it again"));
            }
            Err(error) => return Err(format!("{name}: not a snapshot of punchlist: {error}")),
            Ok(_) => {}
        }
        serde_json::from_slice(bytes).map_err(|error| format!("{name}: this snapshot is damaged: {error}"))
    }
}
