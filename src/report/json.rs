//! The report as JSON: for programs, and for rendering it again.

use super::stored::Stored;
use super::{FORMAT, Report, VERSION};
use crate::printable::printable_json;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// The report as JSON: a line for each field, item, outcome and time, ending in a newline.
pub fn to_json(report: &Report) -> String {
    let mut bytes = Vec::with_capacity(1 << 16);
    // Maps have text keys and numbers are finite or null: a report can always be written.
    let _ = report.serialize(&mut Serializer::with_formatter(&mut bytes, Lines { depth: 0 }));
    bytes.push(b'\n');
    printable_json(String::from_utf8(bytes).unwrap_or_default())
}

/// The schema of that JSON (JSON Schema 2020-12).
pub fn report_schema() -> Json {
    let mut schema = schemars::schema_for!(Stored).to_value();
    schema["$id"] = format!("urn:punchlist:schema:report:{VERSION}").into();
    schema["properties"]["format"]["const"] = FORMAT.into();
    schema["properties"]["version"]["maximum"] = VERSION.into();
    schema
}

/// What of any file tells whether it is a report, and of which version.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

impl Report {
    /// Reads the JSON of a report, of this version or an older one; otherwise why it is none, as a sentence without
    /// its subject (`is cut off`).
    pub fn from_json(bytes: &[u8]) -> Result<Report, String> {
        match serde_json::from_slice::<Header>(bytes) {
            Ok(header) if header.format == "punchlist-snapshot" => {
                Err("is a snapshot, not a report; judge it: punchlist run --from FILE".into())
            }
            Ok(header) if header.format != FORMAT => Err(format!("is a {}, not a report", header.format)),
            Ok(header) if header.version > VERSION => Err(format!(
                "has version {}, this program reads up to {VERSION}; use a newer punchlist",
                header.version
            )),
            Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => Err("is empty; write the report again".into()),
            Err(error) if error.is_eof() => Err("is cut off; write the report or copy it again".into()),
            Err(error) if error.is_syntax() => Err("is not a report of punchlist: it is no JSON".into()),
            Err(_) => Err("is not a report of punchlist: it has other fields".into()),
            Ok(_) => serde_json::from_slice(bytes).map_err(|error| format!("is damaged: {error}")),
        }
    }
}

/// Writes JSON compactly, but for a line break before each field of the whole and before each element of its lists:
/// small, and still fit for `less`, `grep` and `diff`.
struct Lines {
    depth: usize,
}

impl Lines {
    fn separate<W: ?Sized + Write>(&self, writer: &mut W, first: bool, at: usize) -> io::Result<()> {
        writer.write_all(match (first, self.depth == at) {
            (true, true) => b"\n",
            (true, false) => b"",
            (false, true) => b",\n",
            (false, false) => b",",
        })
    }
}

impl Formatter for Lines {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(if self.depth == 0 { b"\n}" } else { b"}" })
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first, 1)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first, 2)
    }
}
