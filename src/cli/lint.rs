//! `punchlist lint`: checks checklists without running them.

use super::{Failure, OK, print};
use crate::checklist;
use crate::printable::counted;
use clap::Args;
use std::path::PathBuf;

/// Check checklists without running them: all mistakes of all files in one go.
#[derive(Args)]
pub(super) struct Lint {
    /// Checklists, or folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Lint {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let checklists = checklist::load_in_place_of_builtin(&self.files)?;
        let own = checklists.all.iter().filter(|checklist| !checklist.is_builtin());
        let (files, checks, causes) = own.fold((0, 0, 0), |(files, checks, causes), checklist| {
            (files + 1, checks + checklist.checks.len(), causes + checklist.causes.len())
        });
        print(&format!(
            "{} with {} and {}: no mistakes\n",
            counted(files, "checklist", "checklists"),
            counted(checks, "check", "checks"),
            counted(causes, "cause", "causes")
        ))?;
        Ok(OK)
    }
}
