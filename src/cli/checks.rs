//! `punchlist checks`: what would be asked here, and why not.

use super::formats::{width, wrapped};
use super::{Asked, Failure, ListFormat, OK, choose, node_names, print, target_of};
use crate::checklist::scope::{self, Standing};
use crate::checklist::{Check, Checklist, Effect, Level, Severity};
use crate::expression::{Schemas, Scope};
use crate::observe::{self, Deadline, Hooks, Interrupts, Plan};
use crate::printable::printable;
use clap::Args;
use colored::Colorize;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// List every check: what it asks, and whether it applies to this node.
#[derive(Args)]
pub(super) struct Checks {
    /// Checklists of your own, or folders of them; they join the built-in ones.
    #[arg(value_name = "CHECKLIST")]
    checklists: Vec<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
    #[command(flatten)]
    choice: choose::Choose,
    #[command(flatten)]
    asked: Asked,
}

/// One line of the list.
#[derive(Serialize)]
struct Listed<'c> {
    id: &'c str,
    title: &'c str,
    checklist: &'c str,
    severity: Severity,
    level: Level,
    effect: Effect,
    tags: &'c [String],
    /// `true`, `false`, or `null` where nobody can tell.
    applies: Option<bool>,
    /// Why it does not apply, or why nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How many outcomes it would give.
    subjects: usize,
}

/// How long the node is asked to find out what applies.
const DEADLINE: Duration = Duration::from_secs(10);

impl Checks {
    pub(super) fn run(self) -> Result<i32, Failure> {
        let (target, source) = target_of(&self.asked)?;
        let checklists = self.choice.load(&self.checklists)?;
        let set = self.choice.parameters(&checklists, &node_names(&source, None))?;
        let plan = self.choice.plan(&checklists)?;
        let first_round = Plan { chosen: Vec::new(), probes: plan.probes.clone(), compared: Vec::new() };
        let interrupts = Interrupts::listen().map_err(Failure::system)?;
        let hooks = Hooks { may_load: &|_, _| false, told: &|_| {}, testing: &|_| {} };
        let deadline = Deadline::after(DEADLINE);
        let observations = observe::observe(&first_round, &checklists, &set, &target, &deadline, &interrupts, &hooks);
        let node = scope::of_node(&checklists, &observations, &set);
        let listed: Vec<Listed> =
            plan.chosen.iter().map(|(checklist, check)| list(&checklists.schemas, checklist, check, &node)).collect();
        print(&match self.format {
            ListFormat::Json => {
                let mut text = serde_json::to_string_pretty(&listed).unwrap_or_default();
                text.push('\n');
                text
            }
            ListFormat::Text => text(&listed),
        })?;
        Ok(OK)
    }
}

fn list<'c>(schemas: &Schemas, checklist: &'c Checklist, check: &'c Check, node: &Scope) -> Listed<'c> {
    let instances = scope::instances(schemas, &scope::applies(checklist, node), check, node);
    let asked = instances.iter().filter(|instance| instance.standing == Standing::Asked).count();
    let reason = instances.iter().find_map(|instance| match &instance.standing {
        Standing::Asked => None,
        Standing::Skipped(why) => Some(why.clone()),
        Standing::Absent(absent) => Some(absent.to_string()),
    });
    let unknown = instances
        .iter()
        .any(|instance| matches!(&instance.standing, Standing::Absent(absent) if !absent.reason.does_not_apply()));
    let applies = if asked > 0 {
        Some(true)
    } else if unknown {
        None
    } else {
        Some(false)
    };
    Listed {
        id: &check.id.text,
        title: &check.title.text,
        checklist: &checklist.name.text,
        severity: check.expect.iter().map(|(severity, _)| *severity).max().unwrap_or(Severity::Critical),
        level: check.level,
        effect: check.effect,
        tags: &check.tags,
        applies,
        reason: reason.filter(|_| applies != Some(true)),
        subjects: asked,
    }
}

/// The column in which titles begin.
const TITLES: usize = 45;

fn text(listed: &[Listed]) -> String {
    let mut text = String::new();
    let mut checklist = "";
    for one in listed {
        if one.checklist != checklist {
            checklist = one.checklist;
            let _ = writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, checklist.bold());
        }
        let severity = format!("{:?}", one.severity).to_lowercase();
        let here = match (one.applies, one.subjects) {
            (Some(true), 1) => String::new(),
            (Some(true), subjects) => format!(" ({subjects} of them here)"),
            _ => String::new(),
        };
        let title = wrapped(&format!("{}{here}", printable(one.title)), width(), TITLES);
        let line = format!("  {:<32} {severity:<9} {title}", one.id);
        let line = if one.applies == Some(true) { line.normal() } else { line.dimmed() };
        let _ = writeln!(text, "{line}");
        if let Some(reason) = &one.reason {
            let word = if one.applies.is_none() { "cannot tell" } else { "not here" };
            let _ = writeln!(
                text,
                "{}",
                format!("{:TITLES$}{}", "", wrapped(&format!("{word}: {}", printable(reason)), width(), TITLES))
                    .dimmed()
            );
        }
    }
    let here = listed.iter().filter(|one| one.applies == Some(true)).count();
    let _ = writeln!(text, "\n{} checks, {here} of them apply here", listed.len());
    text
}
