//! `punchlist run`: asks this node and prints its punch list.

use super::output::OutputFile;
use super::{Asked, Failure, choose, duration, print, target_of};
use crate::checklist;
use crate::judge;
use crate::observe::{self, Interrupts, Snapshot};
use crate::report::{Facts, Report, TextOptions, to_json, to_text};
use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Ask this node and print its punch list.
///
/// Exit status: 0 nothing to fix, 1 warning, 2 critical, 3 unknown, interrupted or out of time and nothing worse than
/// a warning; 64 wrong usage, 65 a checklist or input file is bad, 74 the report could not be written.
#[derive(Args)]
pub(super) struct Run {
    /// Checklists of your own, or folders of them; they join the built-in ones.
    #[arg(value_name = "CHECKLIST")]
    checklists: Vec<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Write the report to FILE as well, as its ending says (.txt, .json; else as --format). May be given several
    /// times.
    #[arg(short, long = "output", value_name = "FILE")]
    output: Vec<PathBuf>,
    /// List every outcome, not only what is to fix.
    #[arg(long)]
    all: bool,
    /// List how long each probe took.
    #[arg(long)]
    timings: bool,
    #[command(flatten)]
    choice: choose::Choose,
    #[command(flatten)]
    asked: Asked,
    /// Judge what `punchlist snapshot` kept, instead of asking anything.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with_all = ["root", "deadline"])]
    from: Option<PathBuf>,
    /// End the run after this time; what has not answered by then is reported as such.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    deadline: Duration,
}

/// A format of the report.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Run {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let began = Instant::now();
        let interrupts = Interrupts::listen().map_err(Failure::system)?;
        let snapshot = self.from.as_deref().map(Snapshot::read).transpose().map_err(Failure::bad_input)?;
        let (target, source) = target_of(&self.asked)?;
        let checklists = checklist::load(&self.checklists)?;
        let set = self.choice.parameters(&checklists)?;
        let plan = self.choice.plan(&checklists)?;
        let files = self.output.iter().map(|path| OutputFile::prepare(path)).collect::<Result<Vec<_>, _>>()?;

        let Snapshot { taken, uid, observations, .. } = snapshot.unwrap_or_else(|| {
            let started = source.now();
            let holds = |check: &checklist::Check, observations: &_| {
                judge::needs_hold(&checklists, &plan.chosen, observations, &set, check)
            };
            let observations = observe::observe(&plan, &checklists, &set, &target, self.deadline, &interrupts, &holds);
            Snapshot::new(started, source.uid(), observations)
        });
        let outcomes = judge::judge(&checklists, &plan.chosen, &observations, &set);
        let items = judge::items(&outcomes, &observations);
        let facts = Facts {
            checklists: &checklists,
            observations: &observations,
            parameters: &set,
            level: self.choice.level(),
            started: taken,
            duration: began.elapsed(),
            as_root: uid == 0,
            recorded: self.from.is_some() || source.recorded().is_some(),
        };
        let report = Report::new(&facts, outcomes, items);

        let options = |width| TextOptions { all: self.all, timings: self.timings, width };
        for (file, path) in files.iter().zip(&self.output) {
            let content = match format_of(path).unwrap_or(self.format) {
                Format::Json => to_json(&report),
                Format::Text => {
                    colored::control::set_override(false);
                    let text = to_text(&report, &options(FILE_WIDTH));
                    colored::control::unset_override();
                    text
                }
            };
            file.write(&content)?;
        }
        print(&match self.format {
            Format::Json => to_json(&report),
            Format::Text => to_text(&report, &options(width())),
        })?;
        Ok(report.summary.exit_status)
    }
}

/// The format that a file's name asks for.
fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "txt" => Some(Format::Text),
        _ => None,
    }
}

/// How wide text in a file is, in columns.
const FILE_WIDTH: usize = 100;

/// How wide text on standard output is, in columns: as the terminal, within what reads well.
fn width() -> usize {
    let columns = std::io::stdout()
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok())
        .flatten()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0);
    columns.map_or(FILE_WIDTH, |columns| columns.clamp(50, 120))
}
