//! `punchlist snapshot`: keeps what a node says, to be judged elsewhere.

use super::output::{OutputFile, time_to_write};
use super::pseudonyms::Redact;
use super::{Asked, Failure, OK, choose, duration, node_names, print, target_of, testing};
use crate::checklist;
use crate::judge;
use crate::observe::{self, Deadline, Hooks, Interrupts, Plan, Snapshot};
use crate::probe::PROBES;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Keep what this node says in a file, to be judged later and elsewhere with `punchlist run --from FILE`.
#[derive(Args)]
pub(super) struct TakeSnapshot {
    /// Checklists of your own, or folders of them: what they ask besides is kept too.
    #[arg(value_name = "CHECKLIST")]
    checklists: Vec<PathBuf>,
    /// Write the snapshot to FILE instead of standard output.
    #[arg(short, long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    redact: Redact,
    #[command(flatten)]
    choice: choose::Choose,
    #[command(flatten)]
    asked: Asked,
    /// End the asking after this time; what has not answered by then is kept as such. Tests under load come after it,
    /// each with a deadline of its own.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    deadline: Duration,
}

impl TakeSnapshot {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let deadline = Deadline::after(self.deadline);
        let (target, source) = target_of(&self.asked)?;
        let taken = source.now();
        let checklists = self.choice.load(&self.checklists)?;
        let set = self.choice.parameters(&checklists, &node_names(&source, None))?;
        let chosen = self.choice.plan(&checklists)?.chosen;
        let pseudonyms = self.redact.pseudonyms(&checklists)?;
        let file = self.output.as_deref().map(OutputFile::prepare).transpose()?;
        let interrupts = Interrupts::listen().map_err(Failure::system)?;
        // Everything that can be asked without arguments: who judges it may have other checklists.
        let probes = PROBES.iter().filter(|probe| probe.arguments.is_none()).collect();
        let plan = Plan { chosen, probes, compared: Vec::new() };
        let holds = |check: &checklist::Check, observations: &_| {
            judge::needs_hold(&checklists, &plan.chosen, observations, &set, check)
        };
        let hooks = Hooks { may_load: &holds, told: &|_| {}, testing: &testing::say };
        let observations = observe::observe(&plan, &checklists, &set, &target, &deadline, &interrupts, &hooks);
        let mut snapshot = Snapshot::new(taken, source.uid(), observations);
        if let Some(mut pseudonyms) = pseudonyms {
            snapshot = pseudonyms.redacted(&snapshot)?;
            pseudonyms.keep();
        }
        let snapshot = snapshot.to_json();
        match file {
            Some(file) => file.write(snapshot, time_to_write(&deadline))?,
            None => print(&snapshot)?,
        }
        Ok(OK)
    }
}
