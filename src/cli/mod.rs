//! What a person types: one file a command.

mod choose;
mod lint;
mod output;
mod run;

use crate::checklist::problem::Problems;
use clap::{Parser, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

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
    Lint(lint::Lint),
    /// Asks probes for another process of Punchlist.
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        root: Option<PathBuf>,
    },
}

/// Why a command came to nothing: the exit status, and what to say on standard error.
pub(crate) struct Failure {
    status: i32,
    message: String,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { status: USAGE, message: message.into() }
    }

    pub(crate) fn cannot_write(message: impl Into<String>) -> Failure {
        Failure { status: CANNOT_WRITE, message: message.into() }
    }

    pub(crate) fn bad_input(message: impl Into<String>) -> Failure {
        Failure { status: BAD_INPUT, message: message.into() }
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
        Command::Lint(command) => command.run(),
        Command::Worker { root } => Ok(crate::observe::worker_main(root)),
    };
    result.unwrap_or_else(|failure| {
        let message = failure.message.trim_end();
        let _ = writeln!(io::stderr(), "{message}");
        failure.status
    })
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::cannot_write(format!("punchlist: standard output: {error}")))
        }
        _ => Ok(()),
    }
}
