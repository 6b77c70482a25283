//! `punchlist diff`: what is different between two reports or snapshots of a node.

use super::choose::Choose;
use super::pseudonyms::Redact;
use super::saved::Saved;
use super::{Failure, ListFormat, node_names, patience, print};
use crate::checklist::Checklists;
use crate::judge::{self, Readings};
use crate::observe::Snapshot;
use crate::probe::source::Source;
use crate::report::compare::{Comparison, fact_changes, value_changes};
use crate::report::{Facts, Report};
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;

/// Say what got fixed, what broke, what is still broken, and which facts that matter changed.
///
/// Exit status: 0 nothing got worse, 1 something that warns is new, 2 something critical is, 3 something can no longer
/// be told and nothing got worse; 64 wrong usage, 65 a file is bad, 74 the output could not be written.
#[derive(Args)]
pub(super) struct Diff {
    /// The earlier report or snapshot. A snapshot is judged first, as `punchlist run --from` does; the options that choose
    /// checks are for those.
    before: PathBuf,
    /// The later one.
    after: PathBuf,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
    #[command(flatten)]
    redact: Redact,
    #[command(flatten)]
    choice: Choose,
}

impl Diff {
    pub(super) fn run(self) -> Result<i32, Failure> {
        patience::answer(&[&self.before, &self.after])?;
        let (before, after) = (Saved::read(&self.before)?, Saved::read(&self.after)?);
        let snapshots = matches!(before, Saved::Snapshot(_)) || matches!(after, Saved::Snapshot(_));
        let checklists = if snapshots { Some(self.choice.load(&[])?) } else { None };
        let mut pseudonyms = match &checklists {
            Some(checklists) => self.redact.pseudonyms(checklists)?,
            None => self.redact.pseudonyms_by_site()?,
        };
        let facts = match (&before, &after) {
            (Saved::Snapshot(before), Saved::Snapshot(after)) => {
                Some(fact_changes(&before.observations, &after.observations))
            }
            // What a report holds are the values that decided.
            _ => None,
        };
        if let Some(pseudonyms) = &mut pseudonyms {
            for saved in [&before, &after] {
                match saved {
                    Saved::Report(report) => pseudonyms.learn(&**report)?,
                    Saved::Snapshot(snapshot) => pseudonyms.learn(&snapshot.observations)?,
                }
            }
        }
        let reported = |saved: Saved| match (saved, &checklists) {
            (Saved::Snapshot(snapshot), Some(checklists)) => self.judged(*snapshot, checklists),
            (Saved::Report(report), _) => Ok(*report),
            (Saved::Snapshot(_), None) => Err(Failure::system("a snapshot without checklists")),
        };
        let (before, after) = (reported(before)?, reported(after)?);
        let facts = facts.unwrap_or_else(|| value_changes(&before, &after));
        let mut comparison = Comparison::new(&before, &after, facts);
        if let Some(pseudonyms) = &mut pseudonyms {
            comparison = pseudonyms.redacted(&comparison)?;
            pseudonyms.keep();
        }
        print(&match self.format {
            ListFormat::Json => comparison.to_json(),
            ListFormat::Text => comparison.to_text(),
        })?;
        Ok(comparison.exit_status)
    }

    /// The report of a snapshot, as `punchlist run --from` makes it.
    fn judged(&self, snapshot: Snapshot, checklists: &Checklists) -> Result<Report, Failure> {
        let began = Instant::now();
        let names = node_names(&Source::live(), Some(&snapshot));
        let set = self.choice.parameters(checklists, &names)?;
        let plan = self.choice.plan(checklists)?;
        let Snapshot { taken, uid, observations, redacted, .. } = snapshot;
        let mut outcomes = judge::judge(checklists, &plan.chosen, &observations, &set, Readings::OfAll);
        for site in &checklists.sites {
            judge::waive(&mut outcomes, &site.waivers, &names, taken.date_naive());
        }
        let items = judge::items(checklists, &mut outcomes, &observations, &set);
        let facts = Facts {
            checklists,
            observations: &observations,
            parameters: &set,
            level: self.choice.level(),
            started: taken,
            duration: began.elapsed(),
            as_root: uid == 0,
            loaded: false,
            recorded: true,
            site: None,
        };
        Ok(Report { redacted, ..Report::new(&facts, outcomes, items) })
    }
}
