//! `punchlist schema`: what reports and checklists look like, as JSON Schema.

use super::{Failure, OK, print};
use crate::checklist;
use crate::report::report_schema;
use clap::{Args, ValueEnum};

/// Print the JSON Schema of reports or of checklists.
///
/// For editors: write `# yaml-language-server: $schema=FILE` into the first line of a checklist, and it is completed and
/// checked as you type. `punchlist lint` checks more: names, types and expressions.
#[derive(Args)]
pub(super) struct PrintSchema {
    /// Of what.
    of: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// What `punchlist run --format json` writes.
    Report,
    /// What an author of checks writes.
    Checklist,
}

impl PrintSchema {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let schema = match self.of {
            What::Report => report_schema(),
            What::Checklist => checklist::schema(),
        };
        print(&format!("{}\n", serde_json::to_string_pretty(&schema).unwrap_or_default()))?;
        Ok(OK)
    }
}
