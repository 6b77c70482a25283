//! What a person types: one file a command.

mod checks;
mod choose;
mod diff;
mod explain;
mod formats;
mod lint;
mod log;
mod output;
mod patience;
mod probes;
mod pseudonyms;
mod redact;
mod report;
mod run;
mod saved;
mod schema;
mod snapshot;
mod testing;

use crate::checklist::problem::Problems;
use crate::checklist::{self, Checklists};
use crate::observe::{Snapshot, Target};
use crate::printable::printable;
use crate::probe::source::{Source, plain_io_text};
use crate::probe::{self, parse_duration};
use crate::trust::{self, Untrusted};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nothing to fix.
pub const OK: i32 = 0;
/// Something that warns.
pub const WARNING: i32 = 1;
/// Something broken.
pub const CRITICAL: i32 = 2;
/// Something that could not be told, and nothing worse than a warning.
pub const UNKNOWN: i32 = 3;
/// The command line is wrong (EX_USAGE of sysexits.h).
pub const USAGE: i32 = 64;
/// A checklist or another input file is wrong (EX_DATAERR).
pub const BAD_INPUT: i32 = 65;
/// A fault of Punchlist itself (EX_SOFTWARE).
pub const SOFTWARE_ERROR: i32 = 70;
/// The output could not be written (EX_IOERR).
pub const CANNOT_WRITE: i32 = 74;

/// Finds out what is broken on a node of an HPC or AI cluster, how sure that is, who must act, and what to do next.
#[derive(Parser)]
#[command(name = "punchlist", version, max_term_width = 120, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Checks(checks::Checks),
    Report(report::RenderReport),
    Redact(redact::RedactSaved),
    Diff(diff::Diff),
    Probes(probes::Probes),
    Explain(explain::Explain),
    Lint(lint::Lint),
    Log(log::ReadLog),
    Snapshot(snapshot::TakeSnapshot),
    Schema(schema::PrintSchema),
    /// Asks probes for another process of Punchlist.
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        root: Option<PathBuf>,
        #[arg(long)]
        nvml: Option<PathBuf>,
    },
    /// Puts what it reads into a file, for another process of Punchlist.
    #[command(hide = true)]
    Write {
        path: PathBuf,
    },
}

/// Why a command came to nothing: the exit status, and what to say on standard error.
struct Failure {
    status: i32,
    message: String,
}

impl Failure {
    fn new(status: i32, message: impl fmt::Display) -> Failure {
        Failure { status, message: printable(&format!("punchlist: {message}")) }
    }

    /// The command line is wrong.
    fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(USAGE, message)
    }

    /// The output could not be written.
    fn cannot_write(message: impl fmt::Display) -> Failure {
        Failure::new(CANNOT_WRITE, message)
    }

    /// An input file is wrong.
    fn bad_input(message: impl fmt::Display) -> Failure {
        Failure::new(BAD_INPUT, message)
    }

    /// The system refused what no run can do without.
    fn system(message: impl fmt::Display) -> Failure {
        Failure::new(SOFTWARE_ERROR, message)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        Failure { status: BAD_INPUT, message: problems.render(io::stderr().is_terminal()) }
    }
}

/// Runs the command that the process was started with; the exit status.
pub fn main() -> i32 {
    // A parent that ignores its children's ends hands that down, and then nobody could wait for a command.
    // SAFETY: nothing else has been started yet, and the default is what every program begins with.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors and go to standard output.
            let status = if error.use_stderr() { USAGE } else { OK };
            return if error.print().is_err() && status == OK { CANNOT_WRITE } else { status };
        }
    };
    let result = match cli.command {
        Command::Run(command) => command.run(),
        Command::Checks(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Redact(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Probes(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Lint(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Snapshot(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Write { path } => output::write_standard_input(&path),
        Command::Worker { root, nvml } => Ok(crate::observe::worker_main(Target { root, nvml })),
    };
    result.unwrap_or_else(|failure| {
        let message = failure.message.trim_end();
        let _ = writeln!(io::stderr(), "{message}");
        failure.status
    })
}

/// How a list is printed.
#[derive(Clone, Copy, ValueEnum)]
enum ListFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What to ask, as several commands take it.
#[derive(Args)]
struct Asked {
    /// Ask another root of this machine (/host in a container), or a recorded machine.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The library of the NVIDIA driver, where it is not found by itself.
    #[arg(long, value_name = "FILE")]
    nvml: Option<PathBuf>,
}

/// What is to be asked: where the worker is to look, and the same for this process.
fn target_of(Asked { root, nvml }: &Asked) -> Result<(Target, Source), Failure> {
    patience::answer(&root.iter().chain(nvml).map(PathBuf::as_path).collect::<Vec<_>>())?;
    let source = match root {
        None => Source::live(),
        Some(root) => Source::rooted(root).map_err(Failure::bad_input)?,
    };
    let refused = |option: &str, Untrusted { message, mend }| {
        Failure::bad_input(format!("{option}: {message}; mend it with: {mend}"))
    };
    // Commands of another root are run, and its driver's library is loaded; a recorded machine is only read.
    if let Some(root) = root.as_ref().filter(|_| source.recorded().is_none()) {
        trust::check(root).map_err(|untrusted| refused("--root", untrusted))?;
    }
    if let Some(library) = nvml {
        std::fs::metadata(library)
            .map_err(|error| Failure::bad_input(format!("--nvml: {}: {}", library.display(), plain_io_text(&error))))?;
        trust::check(library).map_err(|untrusted| refused("--nvml", untrusted))?;
    }
    Ok((Target { root: root.clone(), nvml: nvml.clone() }, source))
}

/// The names that a node goes by: its own, and that which Slurm gives it where Slurm runs us there.
fn node_names(source: &Source, snapshot: Option<&Snapshot>) -> BTreeSet<String> {
    let own = match snapshot {
        Some(snapshot) => {
            let host = snapshot.observations.plain.get("host");
            host.and_then(|host| host.value["name"].as_str()).map(str::to_string)
        }
        // Another root may hold anything, and on the way to a name there may be a server that is gone.
        None if source.is_live() => probe::node_name(source),
        None => patience::ask(&|| probe::node_name(source)),
    };
    let is_here = snapshot.is_none() && source.recorded().is_none();
    own.into_iter().chain(slurm_name().filter(|_| is_here)).collect()
}

/// The name by which slurmd runs us, where it does.
fn slurm_name() -> Option<String> {
    std::env::var("SLURMD_NODENAME").ok().filter(|name| !name.is_empty())
}

/// A time on the command line.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "a time is written 500ms, 10s, 2m or 1h".to_string())
}

/// Reads checklists and the site file. What was named and does not answer is refused; where a site keeps them for all
/// runs, the run goes on without.
fn load(paths: &[PathBuf], site: Option<&Path>) -> Result<Checklists, Failure> {
    patience::answer(&paths.iter().map(PathBuf::as_path).chain(site).collect::<Vec<_>>())?;
    Ok(checklist::load_patiently(paths, site, &patience::is_silent)?)
}

/// Says on standard error what a person should know of how checklists were read.
fn warn(checklists: &Checklists) {
    for warning in &checklists.warnings {
        let _ = writeln!(io::stderr(), "{}", printable(&format!("punchlist: {warning}")));
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::cannot_write(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
