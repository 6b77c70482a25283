//! Asking within deadlines: what to ask, a worker that asks, and a supervisor that never waits for ever.
//!
//! The supervisor is the process that the user started. It touches nothing that can hang: it starts a worker (itself,
//! executed again), which asks the probes and streams what they answer, and it stops waiting when a deadline passes.

mod plan;
mod protocol;
mod snapshot;
mod stuck;
mod supervisor;
mod title;
mod worker;

pub use plan::{BadChoice, Choice, Plan};
pub use snapshot::Snapshot;
pub use supervisor::{Interrupts, Target, Told, own_path};
pub use worker::main as worker_main;

use crate::checklist::scope::{self, Standing};
use crate::checklist::{Check, Checklist, Checklists, Effect};
use crate::expression::{Scope, evaluate_until};
use crate::fact::{Absent, Observation, Observations};
use crate::probe::parts::Silent;
use crate::probe::source::Source;
use protocol::Request;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use supervisor::Supervisor;

/// What observing asks and tells its caller on the way.
pub struct Hooks<'h> {
    /// Asked before each probe of the third round: whether what its check needs has passed.
    pub may_load: &'h dyn Fn(&Check, &Observations) -> bool,
    /// Told of each question what becomes of it, as it happens.
    pub told: &'h dyn Fn(&Told),
    /// Told of each test under load when it begins and when it is over.
    pub testing: &'h dyn Fn(&Testing),
}

/// A test under load, one at a time.
#[derive(Debug)]
pub enum Testing<'t> {
    /// It was chosen and is left out: what its check needs does not hold.
    LeftOut {
        /// The id of its check.
        check: &'t str,
    },
    /// It begins.
    Begun {
        /// The id of its check.
        check: &'t str,
        /// What is run: `command dcgmi diag -r 2 -j`.
        label: String,
        /// How long it may take.
        limit: Duration,
        /// How many checks with a test are still to come after this one.
        to_come: usize,
    },
    /// It is over.
    Over {
        /// The id of its check.
        check: &'t str,
        /// How long it took.
        took: Duration,
        /// Why there is no answer, where there is none.
        absent: Option<Absent>,
    },
}

/// When a run has to end.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// When the run began.
    pub began: Instant,
    /// How long it may take.
    pub limit: Duration,
}

impl Deadline {
    /// From now on.
    pub fn after(limit: Duration) -> Deadline {
        Deadline { began: Instant::now(), limit }
    }

    /// When it is.
    pub fn end(&self) -> Instant {
        self.began + self.limit
    }

    /// What a run was ended by that came to it: `its deadline of 30 s`.
    pub fn name(&self) -> String {
        supervisor::name_of_limit(self.limit)
    }
}

/// How long evaluating may take that comes after asking: it takes milliseconds, but nobody keeps checklists from loops.
pub const TO_EVALUATE: Duration = Duration::from_millis(300);

/// Everything that the choice of checks leads to asking, asked in three rounds that never go back.
pub fn observe(
    plan: &Plan,
    checklists: &Checklists,
    set: &BTreeMap<String, Json>,
    target: &Target,
    deadline: &Deadline,
    interrupts: &Interrupts,
    hooks: &Hooks,
) -> Observations {
    interrupts.observing();
    evaluate_until(deadline.end());
    let mut observations = Observations::default();
    let mut supervisor = Supervisor::new(target, deadline, interrupts, hooks.told);
    let first = plan.probes.iter().map(|probe| Request::new(probe, Json::Null)).collect();
    supervisor.ask(first, &mut observations);
    let asking = plan.chosen.iter().filter(|(_, check)| !check.observe.is_empty());
    let read: BTreeSet<&str> =
        asking.flat_map(|(checklist, check)| scope::read_before_asking(checklist, check)).collect();
    let scope = scope::of_node_with(checklists, &observations, set, |probe| read.contains(probe));
    let reads: Vec<_> = plan.chosen.iter().filter(|(_, check)| check.effect == Effect::Reads).collect();
    let second = unique(reads.iter().flat_map(|(checklist, check)| requests(checklists, checklist, check, &scope)));
    supervisor.ask(second, &mut observations);
    supervisor.begin_tests();
    let tests: Vec<_> =
        plan.chosen.iter().filter(|(_, check)| check.effect != Effect::Reads && !check.observe.is_empty()).collect();
    for (position, (checklist, check)) in tests.iter().enumerate() {
        let id = check.id.text.as_str();
        // The run's own deadline says nothing of what is evaluated between tests, which takes next to no time.
        evaluate_until(Instant::now() + TO_EVALUATE);
        if !(hooks.may_load)(check, &observations) {
            (hooks.testing)(&Testing::LeftOut { check: id });
            continue;
        }
        for request in unique(requests(checklists, checklist, check, &scope)) {
            let key = request.key();
            if observations.asked.contains_key(&key) {
                continue;
            }
            let (label, limit) = (request.label(), Supervisor::longest(&request));
            (hooks.testing)(&Testing::Begun { check: id, label, limit, to_come: tests.len() - position - 1 });
            let began = Instant::now();
            supervisor.ask(vec![request], &mut observations);
            let absent = observations.asked.get(&key).and_then(|answer| Absent::from_json(&answer.value));
            (hooks.testing)(&Testing::Over { check: id, took: began.elapsed(), absent });
        }
    }
    supervisor.end();
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
    let applies = scope::applies(checklist, scope);
    let instances = scope::instances(&checklists.schemas, &applies, check, scope);
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
