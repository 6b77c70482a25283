//! `punchlist run`: asks this node and prints its punch list.

use super::formats::Formats;
use super::output::WRITE_LIMIT;
use super::pseudonyms::Redact;
use super::{Asked, Failure, OK, choose, duration, node_names, patience, slurm_name, target_of, testing};
use crate::checklist::{self, Checklists, Effect};
use crate::expression::{evaluate_until, ran_out_of_time};
use crate::fact::{Before, Observation, Observations};
use crate::handoff;
use crate::judge::{self, Readings};
use crate::observe::{self, Deadline, Hooks, Interrupts, Plan, Snapshot, TO_EVALUATE, Target, Testing, Told};
use crate::report::{Action, Facts, Report, RunEvent, SiteUsed};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Ask this node and print its punch list.
///
/// Exit status: 0 nothing to fix, 1 warning, 2 critical, 3 unknown, interrupted or out of time and nothing worse than
/// a warning; 64 wrong usage, 65 a checklist or input file is bad, 74 the report could not be written or the
/// scheduler not told.
#[derive(Args)]
pub(super) struct Run {
    /// Checklists of your own, or folders of them; they join the built-in ones.
    #[arg(value_name = "CHECKLIST")]
    checklists: Vec<PathBuf>,
    #[command(flatten)]
    formats: Formats,
    #[command(flatten)]
    redact: Redact,
    #[command(flatten)]
    choice: choose::Choose,
    #[command(flatten)]
    asked: Asked,
    /// Judge what `punchlist snapshot` kept, instead of asking anything.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "root")]
    from: Option<PathBuf>,
    /// Compare counters with those of an earlier snapshot of this node.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "over")]
    before: Option<PathBuf>,
    /// Read counters twice, this time apart, and compare them.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "from")]
    over: Option<Duration>,
    /// End the run after this time; what has not answered by then is reported as such. Tests under load (--effect
    /// loads) come after it, one at a time, and each has a deadline of its own.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    deadline: Duration,
    /// Tell a scheduler what was found: drain this node for what is critical, and resume it when a whole run finds it
    /// well again, if it was drained by Punchlist.
    #[arg(long, value_enum, value_name = "SCHEDULER", conflicts_with = "from")]
    drain: Option<Scheduler>,
    /// Exit with 0 whatever was found; only what kept Punchlist from its work is an error (64 and above).
    #[arg(long)]
    exit_zero: bool,
}

/// Who can be told to give a node no more jobs.
#[derive(Clone, Copy, ValueEnum)]
enum Scheduler {
    /// Slurm, through scontrol.
    Slurm,
}

impl Run {
    pub(super) fn run(self) -> Result<i32, Failure> {
        // The wait between two readings is no part of what the run may take.
        let deadline = Deadline::after(self.deadline + self.over.unwrap_or_default());
        patience::answer(&self.from.iter().chain(&self.before).map(PathBuf::as_path).collect::<Vec<_>>())?;
        let snapshot = self.from.as_deref().map(Snapshot::read).transpose().map_err(Failure::bad_input)?;
        let (target, source) = target_of(&self.asked)?;
        let checklists = self.choice.load(&self.checklists)?;
        let names = node_names(&source, snapshot.as_ref());
        let set = self.choice.parameters(&checklists, &names)?;
        let plan = self.choice.plan(&checklists)?;
        let mut pseudonyms = self.redact.pseudonyms(&checklists)?;
        let outputs = self.formats.prepare(pseudonyms.is_some())?;
        outputs.tell(&RunEvent::started(plan.chosen.len()));
        // Not before: the paths above are touched by copies of this process, which threads do not allow.
        let interrupts = Interrupts::listen().map_err(Failure::system)?;

        if self.drain.is_some() && source.recorded().is_some() {
            return Err(Failure::usage("--drain tells a scheduler of a live node, and this one is recorded"));
        }
        if self.over.is_some() && source.recorded().is_some() {
            return Err(Failure::usage("--over reads a live node twice, and this one is recorded; use --before"));
        }
        let earlier = self.before.as_deref().map(Snapshot::read).transpose().map_err(Failure::bad_input)?;
        let first = self.over.map(|over| first_reading(&plan, &checklists, &target, over, &interrupts));

        let read = Instant::now();
        let tested = Cell::new(false);
        let Snapshot { taken, uid, mut observations, redacted, .. } = snapshot.unwrap_or_else(|| {
            let started = source.now();
            let holds = |check: &checklist::Check, observations: &_| {
                judge::needs_hold(&checklists, &plan.chosen, observations, &set, check)
            };
            let told = |told: &Told| outputs.tell(&event(told));
            let testing = |testing: &Testing| {
                tested.set(true);
                testing::say(testing);
            };
            let hooks = Hooks { may_load: &holds, told: &told, testing: &testing };
            let observations = observe::observe(&plan, &checklists, &set, &target, &deadline, &interrupts, &hooks);
            Snapshot::new(started, source.uid(), observations)
        });
        observations.before = match (earlier, first) {
            (Some(earlier), _) => Some(comparable(earlier, taken, &observations)?),
            // The first reading ended when the second began.
            (None, Some((asked, plain))) => Some(Before { seconds: (read - asked).as_secs_f64(), plain }),
            (None, None) => observations.before,
        };
        // What is left to do after this takes next to no time. Tests under load may have outlasted the run's deadline.
        evaluate_until(deadline.end().max(Instant::now()) + TO_EVALUATE);
        // What is redacted is searched whole.
        let readings = if pseudonyms.is_some() { Readings::OfAll } else { outputs.readings() };
        let mut outcomes = judge::judge(&checklists, &plan.chosen, &observations, &set, readings);
        let site = checklists.sites.first().map(|site| SiteUsed {
            name: site.name.clone(),
            file: site.file.name.clone(),
            sha256: site.file.sha256(),
            waivers: judge::waive(&mut outcomes, &site.waivers, &names, taken.date_naive()),
        });
        let items = judge::items(&checklists, &mut outcomes, &observations, &set);
        if ran_out_of_time() {
            observations.cut_short.get_or_insert(deadline.name());
        }
        let facts = Facts {
            checklists: &checklists,
            observations: &observations,
            parameters: &set,
            level: self.choice.level(),
            started: taken,
            duration: deadline.began.elapsed(),
            as_root: uid == 0,
            loaded: plan.chosen.iter().any(|(_, check)| check.effect != Effect::Reads),
            recorded: self.from.is_some() || source.recorded().is_some(),
            site,
        };
        let mut report = Report { redacted, ..Report::new(&facts, outcomes, items) };
        if let Some(Scheduler::Slurm) = self.drain {
            // Checklists of the site that could not be read might have found something.
            let whole = self.choice.is_whole() && checklists.warnings.is_empty();
            report.run.handoff = Some(handoff::to_slurm(&report, &slurm_names(&names), whole, self.asked.root.clone()));
        }

        if let Some(pseudonyms) = &mut pseudonyms {
            pseudonyms.learn(&observations)?;
        }
        // Tests under load have deadlines of their own, so the run's says nothing of what comes after them.
        let deadline = if tested.get() { Deadline::after(WRITE_LIMIT) } else { deadline };
        outputs.write(&report, pseudonyms.as_mut(), &deadline)?;
        let status = report.summary.exit_status;
        let failed = report.run.handoff.take().filter(|handoff| handoff.action == Action::Failed);
        // The process ends now: taking all of this apart would only take time.
        std::mem::forget((checklists, observations, report));
        match failed {
            Some(handoff) => Err(Failure::cannot_write(&handoff.detail)),
            None if self.exit_zero => Ok(OK),
            None => Ok(status),
        }
    }
}

/// The names that Slurm may have for this node, the likeliest first: that by which it runs us, else the host's own, which
/// is short in most clusters.
fn slurm_names(names: &BTreeSet<String>) -> Vec<String> {
    if let Some(name) = slurm_name() {
        return vec![name];
    }
    let short = names.iter().filter_map(|name| name.split('.').next());
    let mut found: Vec<String> = short.map(str::to_string).collect();
    found.extend(names.iter().filter(|name| name.contains('.')).cloned());
    found
}

/// When the probes that are compared were asked first, and what they answered; returns when it is time to ask again.
fn first_reading(
    plan: &Plan,
    checklists: &Checklists,
    target: &Target,
    over: Duration,
    interrupts: &Interrupts,
) -> (Instant, BTreeMap<String, Observation>) {
    let asked = Instant::now();
    let first = Plan { chosen: Vec::new(), probes: plan.compared.clone(), compared: Vec::new() };
    // What does not answer in this time is told by the second reading.
    let hooks = Hooks { may_load: &|_, _| false, told: &|_| {}, testing: &|_| {} };
    let observations =
        observe::observe(&first, checklists, &BTreeMap::new(), target, &Deadline::after(over), interrupts, &hooks);
    interrupts.wait(over.saturating_sub(asked.elapsed()));
    (asked, observations.plain)
}

/// The earlier reading, if it is one of the same node.
fn comparable(earlier: Snapshot, taken: DateTime<Utc>, now: &Observations) -> Result<Before, Failure> {
    let name = |observations: &Observations| Some(observations.plain.get("host")?.value["name"].as_str()?.to_string());
    if let (Some(then), Some(now)) = (name(&earlier.observations), name(now))
        && then != now
    {
        return Err(Failure::bad_input(format!("the earlier reading is of {then}, this node is {now}")));
    }
    let seconds = (taken - earlier.taken).as_seconds_f64();
    if seconds <= 0.0 {
        return Err(Failure::bad_input(
            "the earlier reading is not earlier: --before takes the older of two snapshots",
        ));
    }
    Ok(Before { seconds, plain: earlier.observations.plain })
}

/// What became of a question, as an event.
fn event<'t>(told: &Told<'t>) -> RunEvent<'t> {
    let Told { probe, arguments, part, took, absent } = told;
    match absent {
        None => RunEvent::Answered { probe, arguments, ms: (took.as_secs_f64() * 1e5).round() / 100.0 },
        Some(reason) => RunEvent::GivenUp { probe, arguments, part, reason },
    }
}
