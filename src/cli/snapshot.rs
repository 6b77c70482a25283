//! `punchlist snapshot`: keeps what a node says, to be judged elsewhere.

use super::output::OutputFile;
use super::{Asked, Failure, OK, choose, duration, print, target_of};
use crate::checklist;
use crate::judge;
use crate::observe::{self, Interrupts, Plan, Snapshot};
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
    choice: choose::Choose,
    #[command(flatten)]
    asked: Asked,
    /// End the asking after this time; what has not answered by then is kept as such.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    deadline: Duration,
}

impl TakeSnapshot {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let interrupts = Interrupts::listen().map_err(Failure::system)?;
        let (target, source) = target_of(&self.asked)?;
        let taken = source.now();
        let checklists = checklist::load(&self.checklists)?;
        let set = self.choice.parameters(&checklists)?;
        let chosen = self.choice.plan(&checklists)?.chosen;
        let file = self.output.as_deref().map(OutputFile::prepare).transpose()?;
        // Everything that can be asked without arguments: who judges it may have other checklists.
        let probes = PROBES.iter().filter(|probe| probe.arguments.is_none()).collect();
        let plan = Plan { chosen, probes };
        let holds = |check: &checklist::Check, observations: &_| {
            judge::needs_hold(&checklists, &plan.chosen, observations, &set, check)
        };
        let observations = observe::observe(&plan, &checklists, &set, &target, self.deadline, &interrupts, &holds);
        let snapshot = Snapshot::new(taken, source.uid(), observations).to_json();
        match file {
            Some(file) => file.write(&snapshot)?,
            None => print(&snapshot)?,
        }
        Ok(OK)
    }
}
