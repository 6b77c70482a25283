//! `punchlist lint`: checks checklists and site files without running them.

use super::{Failure, OK, patience, print, warn};
use crate::checklist;
use crate::printable::counted;
use clap::Args;
use std::path::PathBuf;

/// Check checklists and site files without running them: all mistakes of all files in one go.
#[derive(Args)]
pub(super) struct Lint {
    /// Checklists, site files, or folders of checklists; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Lint {
    pub(super) fn run(self) -> Result<i32, Failure> {
        patience::answer(&self.files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        let checklists = checklist::load_in_place_of_builtin(&self.files, &patience::is_silent)?;
        warn(&checklists);
        let own = checklists.all.iter().filter(|checklist| !checklist.is_builtin());
        let (files, checks, causes) = own.fold((0, 0, 0), |(files, checks, causes), checklist| {
            (files + 1, checks + checklist.checks.len(), causes + checklist.causes.len())
        });
        let mut read = Vec::new();
        if !checklists.sites.is_empty() {
            let waivers = checklists.sites.iter().map(|site| site.waivers.len()).sum();
            let sites = counted(checklists.sites.len(), "site file", "site files");
            read.push(format!("{sites} with {}", counted(waivers, "waiver", "waivers")));
        }
        if files > 0 {
            let checks = counted(checks, "check", "checks");
            let causes = counted(causes, "cause", "causes");
            read.push(format!("{} with {checks} and {causes}", counted(files, "checklist", "checklists")));
        }
        print(&format!("{}: no mistakes\n", read.join(", ")))?;
        Ok(OK)
    }
}
