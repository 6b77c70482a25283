//! `punchlist report`: renders saved reports again.

use super::formats::Formats;
use super::output::WRITE_LIMIT;
use super::pseudonyms::Redact;
use super::{BAD_INPUT, Failure, OK, patience, print, saved};
use crate::observe::Deadline;
use crate::report::{RunEvent, to_table};
use clap::Args;
use std::path::PathBuf;

/// Render saved reports again: one in any format, several as a table with the worst node first.
///
/// Exit status: 0 when it was rendered, whatever it says; 64 wrong usage, 65 a file is no report (of several the others
/// are shown), 74 the output could not be written.
#[derive(Args)]
pub(super) struct RenderReport {
    /// Reports, as `punchlist run -o FILE.json` wrote them; - reads one from standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    formats: Formats,
    #[command(flatten)]
    redact: Redact,
}

impl RenderReport {
    pub(super) fn run(self) -> Result<i32, Failure> {
        if self.files.len() > 1 && !self.formats.fits_a_table() {
            return Err(Failure::usage("several reports are printed as a table; -o and --format take one at a time"));
        }
        let paths = self.files.iter().filter(|path| path.as_os_str() != "-");
        patience::answer(&paths.map(PathBuf::as_path).collect::<Vec<_>>())?;
        let mut reports = Vec::new();
        let mut unreadable = Vec::new();
        for path in &self.files {
            match saved::report(path) {
                Ok(report) => reports.push(report),
                Err(failure) if self.files.len() == 1 => return Err(failure),
                // One that was cut off must not cost the others.
                Err(failure) => unreadable.push(failure.message),
            }
        }
        let mut pseudonyms = self.redact.pseudonyms_by_site()?;
        match reports.as_mut_slice() {
            [report] if self.files.len() == 1 => {
                let outputs = self.formats.prepare(pseudonyms.is_some())?;
                outputs.tell(&RunEvent::started(report.summary.checks));
                outputs.write(report, pseudonyms.as_mut(), &Deadline::after(WRITE_LIMIT))?;
            }
            several => {
                if let Some(pseudonyms) = &mut pseudonyms {
                    for report in several.iter_mut() {
                        *report = pseudonyms.redacted(report)?;
                    }
                    pseudonyms.keep();
                }
                if !several.is_empty() {
                    print(&to_table(several))?;
                }
            }
        }
        match unreadable.is_empty() {
            true => Ok(OK),
            false => Err(Failure { status: BAD_INPUT, message: unreadable.join("\n") }),
        }
    }
}
