//! `punchlist explain`: a check, a cause, a code of the driver, or what an application said, in plain words. Asks no
//! machine.

mod find;
mod show;

use super::formats::width;
use super::{Failure, ListFormat, OK, patience, print, warn};
use crate::checklist::{self, Checklists};
use crate::printable::printable_json;
use clap::Args;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

/// Say in plain words what a check, a cause, an Xid, or a message of CUDA, NCCL, nvidia-smi or Slurm means.
#[derive(Args)]
pub(super) struct Explain {
    /// The id of a check or cause (with * for several), xid:79, sxid:20034, cuda:802, the name of a parameter or probe, words
    /// to look for, or any text that somebody pasted; - reads it from standard input.
    #[arg(value_name = "WORDS", required = true)]
    words: Vec<String>,
    /// Checklists of your own, or folders of them; they join the built-in ones.
    #[arg(long, value_name = "FILE")]
    checklist: Vec<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
}

/// How much of a text is read. Whole logs are what `punchlist log` is for.
const MOST_BYTES: u64 = 1 << 20;

impl Explain {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let asked = if self.words == ["-"] { read_all(io::stdin().lock())? } else { self.words.join(" ") };
        if asked.trim().is_empty() {
            return Err(Failure::usage("there is nothing to explain; give an id, a code, or what was said"));
        }
        // A checklist that cannot be read must not keep anybody from what an Xid means.
        patience::answer(&self.checklist.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        let (checklists, unread) = match checklist::load_patiently(&self.checklist, None, &patience::is_silent) {
            Ok(checklists) => (checklists, None),
            Err(problems) => {
                let none = Checklists {
                    all: Vec::new(),
                    sites: Vec::new(),
                    schemas: checklist::schemas(),
                    warnings: Vec::new(),
                };
                (none, Some(problems))
            }
        };
        warn(&checklists);
        let answer = find::find(&asked, &checklists);
        match (unread, answer.is_empty()) {
            (Some(problems), true) => return Err(problems.into()),
            (Some(_), false) => {
                let _ = writeln!(
                    io::stderr(),
                    "punchlist: some checklists cannot be read (punchlist lint says why): checks and causes are left out"
                );
            }
            (None, true) => return Err(unknown(&asked, &answer)),
            (None, false) => {}
        }
        print(&match self.format {
            ListFormat::Json => printable_json(show::json(&asked, &answer)),
            ListFormat::Text => show::text(&answer, width()),
        })?;
        Ok(OK)
    }
}

fn unknown(asked: &str, answer: &find::Answer) -> Failure {
    let hint = match (&answer.note, answer.near.as_slice()) {
        (Some(note), _) => note.clone(),
        (None, []) => "look for it by other words, or list all: punchlist checks, punchlist probes".to_string(),
        (None, near) => format!("did you mean {}?", near.join(", ")),
    };
    Failure::usage(format!("nothing is known of `{}`; {hint}", show::shortened(asked)))
}

fn read_all(input: impl Read + IsTerminal) -> Result<String, Failure> {
    if input.is_terminal() {
        let _ = writeln!(io::stderr(), "punchlist: paste it, then press Ctrl-D");
    }
    let mut bytes = Vec::new();
    let mut input = input.take(MOST_BYTES + 1);
    input.read_to_end(&mut bytes).map_err(|error| {
        Failure::bad_input(format!("standard input: {}", crate::probe::source::plain_io_text(&error)))
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        bytes.truncate(MOST_BYTES as usize);
        let _ = writeln!(io::stderr(), "punchlist: only the first MiB was read");
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
