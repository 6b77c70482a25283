//! What a scheduler is told of a node: Slurm gives a broken one no more jobs, and a mended one jobs again.
//!
//! Only something critical drains a node. What somebody else said of it is never overwritten, and only what Punchlist
//! drained is resumed, by a run that asked everything and found nothing to fix and nothing that it could not tell:
//! whatever drained the node may hide behind a question that was left out or had no answer.

use crate::fact::{Absent, Reason};
use crate::judge::{Item, Status};
use crate::printable::printable;
use crate::probe::source::Source;
use crate::report::{Action, Handoff, Report};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a reason of Punchlist's own begins with.
const PREFIX: &str = "punchlist: ";

/// The longest reason, in bytes. `scontrol show node` shows any, `sinfo -R` the first 20 columns; what is kept in
/// slurmdbd is a TINYTEXT of MySQL (slurm's as_mysql_cluster tables, `event_table`, field `reason`), which ends here.
const LONGEST_REASON: usize = 255;

/// How long scontrol may take. It tries a controller that is away for some seconds; twice this and the run's own
/// deadline stay below the 60 seconds after which slurmd kills a health check.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the start of a program may take beyond that: where it lies on a file system that hangs, so does its start.
const START: Duration = Duration::from_secs(2);

/// How much of scontrol's output is kept, in bytes.
const MOST_OUTPUT: usize = 256 << 10;

/// What Slurm says of a node.
#[derive(Debug, PartialEq, Eq)]
struct Node {
    /// As Slurm writes it.
    name: String,
    /// Base state and flags: `IDLE`, `DRAIN`.
    states: Vec<String>,
    /// Why it is in that state, without who said so and when; empty where there is none.
    reason: String,
}

impl Node {
    fn is(&self, state: &str) -> bool {
        self.states.iter().any(|one| one == state)
    }

    /// Whether it gets no jobs because somebody said so.
    fn is_drained(&self) -> bool {
        ["DRAIN", "DRAINED", "DRAINING"].iter().any(|state| self.is(state))
    }

    fn is_ours(&self) -> bool {
        self.reason.starts_with(PREFIX.trim_end())
    }
}

/// Runs scontrol with these arguments; what it printed.
type Scontrol<'s> = &'s dyn Fn(&[&str]) -> Result<String, Absent>;

/// Tells Slurm of the node what the report says of it. `names` are those that it may go by, the likeliest first;
/// `whole` is whether the run asked everything that a usual one asks.
pub fn to_slurm(report: &Report, names: &[String], whole: bool, root: Option<PathBuf>) -> Handoff {
    let clean = report.summary.exit_status == 0;
    hand_over(&report.items, clean, whole, names, &|arguments| scontrol(arguments, root.clone()))
}

fn hand_over(items: &[Item], clean: bool, whole: bool, names: &[String], scontrol: Scontrol) -> Handoff {
    let told = |node: &str, action, reason: Option<String>, detail: String| Handoff {
        scheduler: "slurm".into(),
        node: node.to_string(),
        action,
        reason,
        detail,
    };
    let name = names.first().map(String::as_str).unwrap_or_default();
    let critical: Vec<&Item> = items.iter().filter(|item| item.severity == Status::Critical).collect();
    if critical.is_empty() && !(clean && whole) {
        let why = if clean { "this run asked only some checks" } else { "something is to fix, or could not be told" };
        let detail = format!("Slurm was told nothing of {name}: nothing is critical, and {why}.");
        return told(name, Action::Left, None, detail);
    }
    let node = match find(names, scontrol) {
        Ok(node) => node,
        Err(why) => return told(name, Action::Failed, None, format!("Slurm could not be asked about {name}: {why}.")),
    };
    let Node { name, reason, .. } = &node;
    let left = |detail: String| told(name, Action::Left, Some(reason.clone()).filter(|text| !text.is_empty()), detail);
    let update = |state: &str, reason: Option<&str>| {
        let (node, state) = (format!("nodename={name}"), format!("state={state}"));
        let reason = reason.map(|reason| format!("reason={reason}"));
        let arguments = ["update", &node, &state].into_iter().chain(reason.as_deref());
        scontrol(&arguments.collect::<Vec<_>>()).map(|_| ())
    };
    if critical.is_empty() {
        return match (node.is_drained(), node.is_ours()) {
            (false, _) => left(format!("Slurm had {name} in use, and nothing speaks against it.")),
            (true, false) => left(format!("{name} stays drained in Slurm: that was not Punchlist (\"{reason}\").")),
            (true, true) if node.is("DOWN") => {
                left(format!("{name} stays drained in Slurm: it is DOWN besides (\"{reason}\")."))
            }
            (true, true) => match update("resume", None) {
                Ok(()) => {
                    let detail = format!("Slurm gives {name} jobs again; it was drained for \"{reason}\".");
                    told(name, Action::Resumed, None, detail)
                }
                Err(why) => told(name, Action::Failed, None, format!("Slurm could not resume {name}: {why}.")),
            },
        };
    }
    let ours = reason_of(&critical);
    let wanted = match (node.is_drained(), node.is_ours()) {
        (true, false) => {
            return left(format!("{name} was drained in Slurm already, and not by Punchlist (\"{reason}\")."));
        }
        (true, true) if is_same(reason, &ours) => {
            return left(format!("{name} was drained in Slurm already (\"{reason}\")."));
        }
        _ if ["DOWN", "FAIL", "FAILING"].iter().any(|state| node.is(state)) && !node.is_drained() => {
            let states = node.states.join("+");
            return left(format!("{name} was left as it is: Slurm has it as {states} (\"{reason}\")."));
        }
        // What somebody noted of a node in use stays with it.
        (false, false) if !reason.is_empty() => reason.clone(),
        _ => ours,
    };
    match update("drain", Some(&wanted)) {
        Ok(()) => {
            let detail = format!("Slurm gives {name} no more jobs: \"{wanted}\".");
            told(name, Action::Drained, Some(wanted), detail)
        }
        Err(why) => told(name, Action::Failed, None, format!("Slurm could not drain {name}: {why}.")),
    }
}

/// The reason to drain a node for: what is critical, as much of it as there is room for.
fn reason_of(critical: &[&Item]) -> String {
    let titles: Vec<String> = critical.iter().map(|item| printable(item.title.trim())).collect();
    // As many of them as fit, with how many more there are; of the first one at least the beginning.
    (1..=titles.len())
        .rev()
        .map(|shown| match titles.len() - shown {
            0 => format!("{PREFIX}{}", titles.join("; ")),
            more => format!("{PREFIX}{} (and {more} more)", titles[..shown].join("; ")),
        })
        .find(|reason| reason.len() <= LONGEST_REASON)
        .unwrap_or_else(|| {
            let more = if titles.len() > 1 { format!(" (and {} more)", titles.len() - 1) } else { String::new() };
            let room = LONGEST_REASON - PREFIX.len() - "…".len() - more.len();
            let first = &titles[0];
            format!("{PREFIX}{}…{more}", &first[..first.floor_char_boundary(room)])
        })
}

/// Whether two reasons say the same: numbers aside, which change from run to run. The time of a reason is that of its
/// last change, and a person wants to know since when a node is drained.
fn is_same(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

/// What Slurm says of the node that goes by one of these names.
fn find(names: &[String], scontrol: Scontrol) -> Result<Node, String> {
    let mut unknown = String::from("it has no name");
    for name in names {
        // Slurm would read brackets and commas as many nodes.
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) || name.is_empty() {
            return Err(format!("`{}` is no name of a node", printable(name)));
        }
        match scontrol(&["show", "node", name]) {
            Ok(text) => {
                let node = read(&text).filter(|node| node.name == *name);
                return node.ok_or_else(|| "what scontrol shows cannot be read".into());
            }
            Err(absent) if absent.detail.contains("not found") || absent.detail.contains("Invalid node") => {
                unknown = "it has no node of this name; set SLURMD_NODENAME to the one that this is".into();
            }
            Err(absent) => return Err(absent.detail),
        }
    }
    Err(unknown)
}

/// Reads what `scontrol show node` prints: a line for each few fields, `Reason` on one of its own, with who gave it and
/// when at its end: `   Reason=bad fan [root@2026-11-23T13:44:44]`.
fn read(text: &str) -> Option<Node> {
    let field = |key: &str| text.split_whitespace().find_map(|word| word.strip_prefix(key)).map(str::to_string);
    let reason = text.lines().find_map(|line| line.trim_start().strip_prefix("Reason=")).unwrap_or_default().trim();
    let without_author = reason.strip_suffix(']').and_then(|reason| reason.rsplit_once(" [")).map(|(reason, _)| reason);
    // A mark behind a state says how the node answers: `*` not at all, `~` off, `#` coming up (sinfo(1)).
    let unmarked = |state: &str| state.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_uppercase();
    Some(Node {
        name: field("NodeName=")?,
        states: field("State=")?.split('+').map(unmarked).collect(),
        reason: without_author.unwrap_or(reason).trim().to_string(),
    })
}

/// Runs scontrol below `root`. Waits for it on another thread: even its start may hang.
fn scontrol(arguments: &[&str], root: Option<PathBuf>) -> Result<String, Absent> {
    let argv: Vec<String> = ["scontrol"].iter().chain(arguments).map(ToString::to_string).collect();
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        let source = match root {
            None => Source::live(),
            Some(root) => Source::rooted(&root).map_err(|error| Absent::failed(error.to_string()))?,
        };
        source.command(&argv, TIMEOUT, MOST_OUTPUT, &|_| {})
    };
    let work = thread::Builder::new().name("scontrol".into()).spawn(move || {
        let _ = sender.send(run());
    });
    work.map_err(|error| Absent::failed(format!("no thread could be started ({error})")))?;
    let hangs = |_| Absent::new(Reason::Timeout, "`scontrol` could not be started in time");
    let output = receiver.recv_timeout(TIMEOUT + START).map_err(hangs)??;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.exit == Some(0) {
        return Ok(text.into_owned());
    }
    let said = errors.lines().chain(text.lines()).map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = said.take(2).collect();
    let said = if said.is_empty() { "scontrol failed and said nothing".into() } else { said.join("; ") };
    Err(Absent::failed(printable(said.trim_end_matches('.'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checklist::scope::Subject;
    use std::cell::RefCell;

    fn item(title: &str, severity: Status) -> Item {
        Item {
            severity,
            title: title.into(),
            certainty: None,
            subject: Subject::node(),
            location: String::new(),
            seen: Vec::new(),
            explains: Vec::new(),
            cause: None,
            check: None,
            why: None,
            next: Vec::new(),
            who: None,
            refs: Vec::new(),
        }
    }

    /// What is done about a node that Slurm shows like this, and the commands that change something.
    fn done(items: &[Item], exit_status: i32, whole: bool, state: &str, reason: &str) -> (Handoff, Vec<String>) {
        let shown =
            if reason.is_empty() { String::new() } else { format!("   Reason={reason} [root@2026-11-23T13:44:44]\n") };
        let shown = format!("NodeName=n1 Arch=x86_64 \n   State={state} ThreadsPerCore=1\n{shown}\n");
        let changes = RefCell::new(Vec::new());
        let handoff = hand_over(items, exit_status == 0, whole, &["n1".into()], &|arguments| {
            if arguments[0] == "update" {
                changes.borrow_mut().push(arguments[2..].join(" "));
            }
            Ok(shown.clone())
        });
        assert_eq!(handoff.node, "n1");
        (handoff, changes.into_inner())
    }

    #[test]
    fn only_what_is_critical_drains_and_nobody_elses_reason_is_lost() {
        let lost = [item("GPU 5 is lost", Status::Critical), item("a fan is slow", Status::Warning)];
        for (state, reason, action, changes) in [
            ("IDLE", "", Action::Drained, &["state=drain reason=punchlist: GPU 5 is lost"][..]),
            ("MIXED", "", Action::Drained, &["state=drain reason=punchlist: GPU 5 is lost"]),
            ("IDLE+NOT_RESPONDING*", "", Action::Drained, &["state=drain reason=punchlist: GPU 5 is lost"]),
            ("IDLE", "watch [this]", Action::Drained, &["state=drain reason=watch [this]"]),
            ("IDLE+DRAIN", "bad fan", Action::Left, &[]),
            ("MIXED+DRAIN*", "bad fan", Action::Left, &[]),
            ("IDLE+DRAIN", "", Action::Left, &[]),
            ("DOWN*", "Not responding", Action::Left, &[]),
            ("IDLE+FAIL", "x", Action::Left, &[]),
            ("IDLE+DRAIN", "punchlist: GPU 5 is lost", Action::Left, &[]),
            ("IDLE+DRAIN", "punchlist: GPU 6 is lost", Action::Left, &[]),
            ("IDLE+DRAIN", "punchlist: no GPU", Action::Drained, &["state=drain reason=punchlist: GPU 5 is lost"]),
        ] {
            let (handoff, changed) = done(&lost, 2, false, state, reason);
            assert_eq!(
                (handoff.action, changed.as_slice()),
                (action, &changes.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{state} {reason}"
            );
        }
        let (handoff, changed) = done(&lost[1..], 1, true, "IDLE", "");
        assert_eq!((handoff.action, changed.len()), (Action::Left, 0));
    }

    #[test]
    fn only_a_whole_clean_run_resumes_and_only_what_punchlist_drained() {
        let resumed = |exit_status, whole, state, reason| {
            let (handoff, changed) = done(&[], exit_status, whole, state, reason);
            assert_eq!(handoff.action == Action::Resumed, changed == ["state=resume"], "{}", handoff.detail);
            handoff.action == Action::Resumed
        };
        let ours = "punchlist: GPU 5 is lost";
        assert!(resumed(0, true, "IDLE+DRAIN", ours));
        assert!(resumed(0, true, "MIXED+DRAIN", ours));
        assert!(!resumed(0, false, "IDLE+DRAIN", ours), "something was not asked");
        assert!(!resumed(1, true, "IDLE+DRAIN", ours), "a warning");
        assert!(!resumed(3, true, "IDLE+DRAIN", ours), "something could not be told");
        assert!(!resumed(0, true, "IDLE+DRAIN", "bad fan"));
        assert!(!resumed(0, true, "IDLE+DRAIN", "see punchlist: 4"));
        assert!(!resumed(0, true, "DOWN+DRAIN*", ours));
        assert!(!resumed(0, true, "IDLE", ours));
        assert!(!resumed(0, true, "IDLE", ""));
    }

    #[test]
    fn a_reason_is_as_long_as_slurm_keeps_it() {
        let reason = |titles: &[&str]| {
            let items: Vec<Item> = titles.iter().map(|title| item(title, Status::Critical)).collect();
            let reason = reason_of(&items.iter().collect::<Vec<_>>());
            assert!(reason.len() <= LONGEST_REASON && reason.starts_with(PREFIX), "{reason}");
            reason
        };
        assert_eq!(reason(&["a", "b\nc"]), "punchlist: a; b c");
        let long = "ä".repeat(100);
        assert_eq!(reason(&[&long, &long, "c"]), format!("punchlist: {long} (and 2 more)"));
        let longer = "ä".repeat(400);
        assert!(reason(&[&longer]).ends_with("ä…"));
        assert!(reason(&[&longer, "b"]).ends_with("ä… (and 1 more)"));
    }

    #[test]
    fn a_node_is_found_by_its_name_and_errors_are_told() {
        let one = "NodeName=n1.example Arch=x86_64\n   State=IDLE\n";
        let scontrol = |arguments: &[&str]| match arguments[2] {
            "n1.example" => Ok(one.to_string()),
            "other" => Ok(one.to_string()),
            "away" => Err(Absent::failed("Unable to contact slurm controller (connect failure)")),
            name => Err(Absent::failed(format!("Node {name} not found"))),
        };
        let find = |names: &[&str]| find(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), &scontrol);
        assert_eq!(find(&["n1", "n1.example"]).unwrap().states, ["IDLE"]);
        assert!(find(&["n1"]).unwrap_err().contains("SLURMD_NODENAME"));
        assert!(find(&["other"]).unwrap_err().contains("cannot be read"));
        assert!(find(&["away"]).unwrap_err().contains("Unable to contact"));
        assert!(find(&["n[1-9]"]).unwrap_err().contains("no name of a node"), "that would be nine nodes");
        assert!(find(&[""]).is_err() && find(&[]).is_err());
        let reason = "NodeName=n1\n   State=IDLE+DRAIN\n   Reason=a State=DOWN [b] c [root@2026-11-23T13:44:44]\n";
        let node = read(reason).unwrap();
        assert_eq!(
            (node.reason.as_str(), node.states.as_slice()),
            ("a State=DOWN [b] c", &["IDLE".to_string(), "DRAIN".into()][..])
        );
        assert_eq!(read("slurm_load_node error"), None);
    }
}
