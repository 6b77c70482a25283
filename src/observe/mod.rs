//! Asking within deadlines: what to ask, a worker that asks, and a supervisor that never waits for ever.
//!
//! The supervisor is the process that the user started. It touches nothing that can hang: it starts a worker (itself,
//! executed again), which asks the probes and streams what they answer, and it stops waiting when a deadline passes.

mod plan;
mod protocol;
mod snapshot;
mod supervisor;
mod worker;

pub use plan::{BadChoice, Choice, Plan};
pub use snapshot::Snapshot;
pub use supervisor::{Interrupts, Target};
pub use worker::main as worker_main;

use crate::checklist::scope::{self, Standing};
use crate::checklist::{Check, Checklist, Checklists, Effect};
use crate::expression::Scope;
use crate::fact::{Observation, Observations};
use crate::probe::parts::Silent;
use crate::probe::source::Source;
use protocol::Request;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use supervisor::Supervisor;

/// Everything that the choice of checks leads to asking, asked in three rounds that never go back.
///
/// `may_load` is asked before each probe of the third round: whether what its check needs has passed.
pub fn observe(
    plan: &Plan,
    checklists: &Checklists,
    set: &BTreeMap<String, Json>,
    target: &Target,
    deadline: Duration,
    interrupts: &Interrupts,
    may_load: &dyn Fn(&Check, &Observations) -> bool,
) -> Observations {
    interrupts.observing();
    let mut observations = Observations::default();
    let mut supervisor = Supervisor::new(target, deadline, Instant::now(), interrupts);
    let first = plan.probes.iter().map(|probe| Request::new(probe, Json::Null)).collect();
    supervisor.ask(first, &mut observations);
    let asking = plan.chosen.iter().filter(|(_, check)| !check.observe.is_empty());
    let read: BTreeSet<&str> =
        asking.flat_map(|(checklist, check)| scope::read_before_asking(checklist, check)).collect();
    let scope = scope::of_node_with(checklists, &observations, set, |probe| read.contains(probe));
    let reads: Vec<_> = plan.chosen.iter().filter(|(_, check)| check.effect == Effect::Reads).collect();
    let second = unique(reads.iter().flat_map(|(checklist, check)| requests(checklists, checklist, check, &scope)));
    supervisor.ask(second, &mut observations);
    for (checklist, check) in plan.chosen.iter().filter(|(_, check)| check.effect != Effect::Reads) {
        if !may_load(check, &observations) {
            continue;
        }
        let third = unique(requests(checklists, checklist, check, &scope));
        let third: Vec<Request> =
            third.into_iter().filter(|request| !observations.asked.contains_key(&request.key())).collect();
        for request in third {
            supervisor.ask(vec![request], &mut observations);
        }
    }
    observations
}

/// The second round in this process and without deadlines: for recorded machines in tests, which change what was
/// observed in the first round before anything is made of it.
pub fn observe_arguments(
    plan: &Plan,
    checklists: &Checklists,
    set: &BTreeMap<String, Json>,
    source: &Source,
    observations: &mut Observations,
) {
    let scope = scope::of_node(checklists, observations, set);
    for (checklist, check) in &plan.chosen {
        for request in requests(checklists, checklist, check, &scope) {
            let answer = (request.probe.ask)(source, &request.arguments, &Silent);
            file(observations, &request, answer.unwrap_or_else(|absent| absent.to_json()), Duration::ZERO);
        }
    }
}

/// What a check asks with arguments, for all its subjects.
fn requests(checklists: &Checklists, checklist: &Checklist, check: &Check, scope: &Scope) -> Vec<Request> {
    if check.observe.is_empty() {
        return Vec::new();
    }
    let instances = scope::instances(checklist, check, scope);
    let asked = instances.iter().filter(|instance| instance.standing == Standing::Asked);
    asked
        .flat_map(|instance| check.observe.iter().map(move |ask| (ask, &instance.scope)))
        .filter_map(|(ask, scope)| {
            // Where an argument is absent there is nothing to ask; judging says so.
            let arguments = scope::arguments(ask, &checklists.schemas, scope).ok()?;
            Some(Request::new(ask.probe, arguments))
        })
        .collect()
}

fn unique(requests: impl IntoIterator<Item = Request>) -> Vec<Request> {
    let mut seen = BTreeSet::new();
    requests.into_iter().filter(|request| seen.insert(request.key())).collect()
}

/// Files an answer under its probe.
fn file(observations: &mut Observations, request: &Request, value: Json, took: Duration) {
    let observation = Observation { value, took };
    match request.arguments {
        Json::Null => observations.plain.insert(request.probe.name.to_string(), observation),
        _ => observations.asked.insert(request.key(), observation),
    };
}
