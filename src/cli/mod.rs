//! What a person types: one file a command.

mod checks;
mod choose;
mod lint;
mod output;
mod probes;
mod run;
mod snapshot;

use crate::checklist::problem::Problems;
use crate::observe::Target;
use crate::probe::parse_duration;
use crate::probe::source::Source;
use clap::{Args, Parser, Subcommand};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
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
    Probes(probes::Probes),
    Lint(lint::Lint),
    Snapshot(snapshot::TakeSnapshot),
    /// Asks probes for another process of Punchlist.
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        root: Option<PathBuf>,
        #[arg(long)]
        nvml: Option<PathBuf>,
    },
}

/// Why a command came to nothing: the exit status, and what to say on standard error.
struct Failure {
    status: i32,
    message: String,
}

impl Failure {
    fn new(status: i32, message: impl fmt::Display) -> Failure {
        Failure { status, message: format!("punchlist: {message}") }
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
        Command::Probes(command) => command.run(),
        Command::Lint(command) => command.run(),
        Command::Snapshot(command) => command.run(),
        Command::Worker { root, nvml } => Ok(crate::observe::worker_main(Target { root, nvml })),
    };
    result.unwrap_or_else(|failure| {
        let message = failure.message.trim_end();
        let _ = writeln!(io::stderr(), "{message}");
        failure.status
    })
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
    let source = match root {
        None => Source::live(),
        Some(root) => Source::rooted(root).map_err(Failure::bad_input)?,
    };
    Ok((Target { root: root.clone(), nvml: nvml.clone() }, source))
}

/// A time on the command line.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "a time is written 500ms, 10s, 2m or 1h".to_string())
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
