//! The process that waits, but never for ever: it holds all deadlines and keeps what was answered.

use super::protocol::{Event, Request};
use super::stuck::{self, StuckWorkers, Unanswered};
use super::title;
use super::{Deadline, file};
use crate::fact::{Absent, Incident, Observations, Reason};
use crate::probe;
use crate::probe::parts::{Place, Shared};
use crate::probe::source::plain_io_text;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value as Json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// After how long a line on standard error names what is awaited.
const NOTICE: Duration = Duration::from_secs(1);

/// How often a line on standard error says that a test under load still runs.
const STILL_RUNS: Duration = Duration::from_secs(60);
/// The longest notice, in bytes: a pipe that can be written to takes as much at once (PIPE_BUF, pipe(7)).
const LONGEST_NOTICE: usize = 4000;

/// How long a killed worker is waited for before it is abandoned.
const REAP: Duration = Duration::from_millis(50);

/// How long a worker that has started commands is waited for before that: it ends what they have left behind, and on a
/// busy machine that takes its time. What could be ended would else stay for ever.
const TIDY: Duration = Duration::from_millis(400);

/// The longest line that is read from a worker, in bytes: a bound, far above any honest answer.
const MAX_LINE: u64 = 64 << 20;

/// The most parts that are asked each in a worker of its own.
const MOST_PARTS_ALONE: usize = 64;

/// What to ask.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// `--root`: another root of this machine, or a dead tree.
    pub root: Option<PathBuf>,
    /// `--nvml`: the library of the NVIDIA driver.
    pub nvml: Option<PathBuf>,
}

/// Ctrl-C, TERM and HUP: the first ends the observing, the second the program.
pub struct Interrupts {
    state: Arc<Mutex<Signalled>>,
}

/// What signals have done so far.
#[derive(Default)]
struct Signalled {
    /// Whether there is something to report already.
    observing: bool,
    /// The first that was received.
    by: Option<&'static str>,
    /// Who wants to hear of it.
    listener: Option<Sender<Heard>>,
}

impl Interrupts {
    /// Starts listening.
    pub fn listen() -> io::Result<Interrupts> {
        let state: Arc<Mutex<Signalled>> = Arc::default();
        // What is ignored when we start is to be ignored: `nohup` says so for HUP, a shell for INT in the background.
        let ignored = ignored_signals();
        let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
        let mut signals = signal_hook::iterator::Signals::new(heard)?;
        let shared = state.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                let name = match signal {
                    SIGINT => "Ctrl-C",
                    SIGTERM => "a TERM signal",
                    _ => "a HUP signal",
                };
                let mut state = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if state.by.is_some() || !state.observing {
                    // As a shell reports a program that a signal ended. The worker and its commands die with us.
                    std::process::exit(128 + signal);
                }
                state.by = Some(name);
                if let Some(sender) = &state.listener {
                    let _ = sender.send(Heard::Interrupted);
                }
            }
        })?;
        Ok(Interrupts { state })
    }

    /// From now on the first signal ends in a report.
    pub(super) fn observing(&self) {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).observing = true;
    }

    /// Waits; a signal ends it early.
    pub fn wait(&self, time: Duration) {
        let (sender, receiver) = channel();
        self.tell(Some(sender));
        if self.received().is_none() {
            let _ = receiver.recv_timeout(time);
        }
        self.tell(None);
    }

    fn received(&self) -> Option<&'static str> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).by
    }

    fn tell(&self, sender: Option<Sender<Heard>>) {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).listener = sender;
    }
}

/// The signals that this process ignores, as a mask (proc_pid_status(5), SigIgn); 0 where /proc does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// What becomes of a question, told as soon as it is known.
#[derive(Debug)]
pub struct Told<'t> {
    /// The probe.
    pub probe: &'static str,
    /// Its arguments; null for one that takes none.
    pub arguments: &'t Json,
    /// The part of it (a mount, a GPU), where that was given up; empty for the whole.
    pub part: &'t str,
    /// How long it took so far.
    pub took: Duration,
    /// Why there is no answer, where there is none.
    pub absent: Option<&'t Absent>,
}

/// What the supervisor hears while it waits.
enum Heard {
    Event(Event),
    /// The worker said something that cannot be read.
    Unreadable,
    /// The worker closed its end: it is done or dead.
    Closed,
    Interrupted,
}

pub(super) struct Supervisor<'s> {
    target: &'s Target,
    limit: Duration,
    /// When the run is over; `None` for tests under load, each of which has a deadline of its own.
    deadline: Option<Instant>,
    interrupts: &'s Interrupts,
    told: &'s dyn Fn(&Told),
    noticed: bool,
    /// A worker that has answered everything it was asked.
    idle: Option<Worker>,
    /// Whether any worker has started commands.
    ran_commands: bool,
    /// What earlier runs are stuck in.
    stuck: StuckWorkers,
}

/// A worker, and the ways to and from it.
struct Worker {
    child: Child,
    /// Lines for it; that nobody holds this any more tells it to end.
    lines: Sender<String>,
    heard: Receiver<Heard>,
    /// Who else may be heard: signals.
    sender: Sender<Heard>,
    /// How many requests it was given before those that it is asked now.
    given: usize,
}

/// One request while it is asked.
struct Asked {
    request: Request,
    since: Option<Instant>,
    value: Option<Json>,
    parts: Vec<Part>,
    /// What it waits for that others may wait for too, and since when.
    waits_for: Option<(Shared, Instant)>,
    groups: Vec<u32>,
    state: State,
    took: Duration,
    /// Whether what became of it was told.
    told: bool,
}

#[derive(PartialEq, Clone, Copy)]
enum State {
    Open,
    /// It answered as a whole, or every part of it answered or was given up.
    Settled,
    /// It did not answer within its deadline.
    Overdue,
}

struct Part {
    place: Place,
    since: Option<Instant>,
    state: State,
    told: bool,
}

impl Asked {
    fn new(request: Request) -> Asked {
        let state = State::Open;
        let (parts, groups) = (Vec::new(), Vec::new());
        Asked {
            request,
            since: None,
            value: None,
            parts,
            waits_for: None,
            groups,
            state,
            took: Duration::ZERO,
            told: false,
        }
    }

    /// Tells what became of it, once.
    fn tell(&mut self, value: Option<&Json>, told: &dyn Fn(&Told)) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let absent = value.or(self.value.as_ref()).and_then(Absent::from_json);
        told(&Told {
            probe: self.request.probe.name,
            arguments: &self.request.arguments,
            part: "",
            took: self.took,
            absent: absent.as_ref(),
        });
    }

    /// Tells of a part that was given up.
    fn tell_part(&self, part: &Part, absent: &Absent, told: &dyn Fn(&Told)) {
        if !part.told {
            let took = part.since.map_or(Duration::ZERO, |since| since.elapsed());
            let (probe, arguments) = (self.request.probe.name, &self.request.arguments);
            told(&Told { probe, arguments, part: &part.place.label, took, absent: Some(absent) });
        }
    }

    /// How long the whole probe may take. A command that is given longer gets longer.
    fn limit(&self) -> Duration {
        let own = self.request.arguments["timeout"].as_str().and_then(probe::parse_duration);
        // The command's own deadline comes first; this one is for a worker that cannot hold it.
        own.map_or(self.request.probe.deadline, |own| own + Duration::from_secs(2))
    }

    fn hear(&mut self, event: Event, now: Instant, observations: &mut Observations) {
        match event {
            Event::Waiting { thing, .. } => self.waits_for = thing.map(|thing| (thing, now)),
            Event::Refused { part, why, .. } => {
                let (probe, detail) = (self.request.probe.name.to_string(), format!("{part} {why}"));
                observations.incidents.push(Incident { probe, part, what: why, detail, timed_out: true });
            }
            Event::Asking { .. } => self.since = Some(now),
            Event::SoFar { value, pending, .. } => {
                self.value = Some(value);
                self.parts = pending
                    .into_iter()
                    .map(|place| Part { place, since: None, state: State::Open, told: false })
                    .collect();
            }
            Event::AskingPart { pointer, .. } => {
                if let Some(part) = self.parts.iter_mut().find(|part| part.place.pointer == pointer) {
                    part.since = Some(now);
                }
            }
            Event::Part { pointer, fields, .. } => {
                if let Some(part) = self.parts.iter_mut().find(|part| part.place.pointer == pointer) {
                    part.state = State::Settled;
                    if let Some(value) = &mut self.value {
                        part.place.fill(value, fields);
                    }
                }
            }
            Event::Started { process_group, .. } => self.groups.push(process_group),
            Event::Done { value, took_us, .. } => {
                self.value = value.or(self.value.take());
                self.parts.clear();
                self.groups.clear();
                self.settle(State::Settled, now);
                self.took = Duration::from_micros(took_us);
            }
        }
    }

    fn settle(&mut self, state: State, now: Instant) {
        self.state = state;
        self.took = self.since.map_or(Duration::ZERO, |since| now - since);
    }

    /// Gives up what is overdue; the next moment at which something will be.
    fn tick(&mut self, now: Instant) -> Option<Instant> {
        if self.state != State::Open {
            return None;
        }
        let mut next = self.since.map(|since| since + hurried(self.limit()));
        if let Some((thing, since)) = &self.waits_for {
            let due = *since + hurried(Duration::from_millis(thing.deadline_ms));
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        if next.is_some_and(|due| due <= now) {
            self.settle(State::Overdue, now);
            return None;
        }
        for part in self.parts.iter_mut().filter(|part| part.state == State::Open) {
            let Some(since) = part.since else { continue };
            let due = since + hurried(Duration::from_millis(part.place.deadline_ms));
            if due <= now {
                part.state = State::Overdue;
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        if !self.parts.is_empty() && self.parts.iter().all(|part| part.state != State::Open) {
            // Every part has answered or is overdue: nothing more will come of this probe.
            if self.parts.iter().any(|part| part.state == State::Overdue) {
                self.settle(State::Settled, now);
                return None;
            }
        }
        next
    }

    /// Tells of the parts that were just given up.
    fn tell_overdue(&mut self, told: &dyn Fn(&Told)) {
        let mut parts = std::mem::take(&mut self.parts);
        for part in parts.iter_mut().filter(|part| part.state == State::Overdue) {
            let limit = Duration::from_millis(part.place.deadline_ms);
            let absent = Absent::new(Reason::Timeout, did_not_answer_in(&part.place.label, limit));
            self.tell_part(part, &absent, told);
            part.told = true;
        }
        self.parts = parts;
    }

    /// What is being waited for, for a person.
    fn awaited(&self) -> Vec<String> {
        let parts: Vec<String> = self
            .parts
            .iter()
            .filter(|part| part.state == State::Open && part.since.is_some())
            .map(|part| format!("{} {}", self.request.probe.name, part.place.label))
            .collect();
        if parts.is_empty() { vec![self.request.label()] } else { parts }
    }

    /// Files what was answered, and for what was not the reason.
    fn finish(mut self, end: &End, observations: &mut Observations, told: &dyn Fn(&Told)) {
        let value = self.conclude(end, observations, told);
        self.tell(Some(&value), told);
        file(observations, &self.request, value, self.took);
    }

    /// What was answered, and for what was not the reason. What was asked and hangs or crashes is an incident besides.
    fn conclude(&mut self, end: &End, observations: &mut Observations, told: &dyn Fn(&Told)) -> Json {
        let probe = self.request.probe.name;
        let is_command = probe == "command";
        let waits_for = self.waits_for.clone();
        let mut give_up = |label: &str, part: &str, state: State, since: Option<Instant>, limit: Duration| -> Absent {
            let asked = since.is_some() || matches!(end, End::WorkerDied(_));
            let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
            let (reason, what, incident) = match (state, end) {
                (State::Overdue, _) => (Reason::Timeout, format!("did not answer in {}", shown(limit)), asked),
                // What is healthy answers within a second, so what took longer hangs. With less than that, or with a
                // command that may take its time, only the run was too short.
                (_, End::OutOfTime(limit)) if asked => {
                    let hangs = waited >= NOTICE && !is_command;
                    let reason = if hangs { Reason::Timeout } else { Reason::Failed };
                    (reason, format!("did not answer before the run's deadline of {}", shown(*limit)), hangs)
                }
                (_, End::OutOfTime(_)) => (Reason::Failed, "was not asked: the run was out of time".into(), false),
                (_, End::NotStarted(why)) => {
                    (Reason::Failed, format!("was not asked: no process could be started for it ({why})"), false)
                }
                (_, End::Unreadable) => (Reason::Failed, "gave an answer that cannot be read".into(), false),
                (_, End::CutShort(by)) => {
                    (Reason::Failed, format!("did not answer before the run was ended by {by}"), false)
                }
                (_, End::WorkerDied(how)) => {
                    (Reason::Failed, format!("killed the process that asked it: {how}"), asked)
                }
                (_, End::AllSettled) => (Reason::Failed, "did not answer".into(), false),
            };
            // What several wait for is one thing to be said of it.
            if let Some(known) = known_incident(&waits_for, &observations.incidents) {
                return known;
            }
            let detail = format!("{label} {what}");
            if incident {
                let timed_out = reason == Reason::Timeout;
                let (probe, part, detail) = (probe.to_string(), part.to_string(), detail.clone());
                observations.incidents.push(Incident { probe, part, what, detail, timed_out });
            }
            Absent::new(reason, detail)
        };
        let mut limit = self.limit();
        let mut label = self.request.label();
        let mut detail = label.strip_prefix(probe).unwrap_or_default().trim().to_string();
        if let Some((thing, _)) = &self.waits_for {
            (label, detail) = (thing.label.clone(), thing.label.clone());
            limit = Duration::from_millis(thing.deadline_ms);
        }
        let (label, detail) = (label.as_str(), detail.as_str());
        let Some(mut value) = self.value.take() else {
            return give_up(label, detail, self.state, self.since, limit).to_json();
        };
        let open = || self.parts.iter().filter(|part| part.state != State::Settled);
        // Where no part was begun, the probe itself is what hangs or crashes, and that is one incident.
        let whole = open().all(|part| part.since.is_none()) && open().next().is_some();
        let whole = whole.then(|| give_up(label, detail, self.state, self.since, limit));
        for part in open() {
            let label = &part.place.label;
            let absent = match (&whole, part.state) {
                (Some(absent), _) => absent.clone(),
                (None, State::Overdue) => {
                    give_up(label, label, State::Overdue, part.since, Duration::from_millis(part.place.deadline_ms))
                }
                // The whole probe is overdue, or the run ended.
                (None, _) => give_up(label, label, self.state, part.since, limit),
            };
            if whole.is_none() {
                self.tell_part(part, &absent, told);
            }
            part.place.fill(&mut value, part.place.absent(&absent));
        }
        if let Some(absent) = whole {
            self.tell(Some(&absent.to_json()), told);
        }
        value
    }

    /// What of it has not answered: its parts, where it is known which.
    fn unanswered(&self) -> Vec<Unanswered> {
        let key = self.request.key();
        let open = self.parts.iter().filter(|part| part.state != State::Settled && part.since.is_some());
        let parts: Vec<Unanswered> =
            open.map(|part| Unanswered { key: key.clone(), part: Some(part.place.label.clone()) }).collect();
        if !parts.is_empty() || self.state == State::Settled {
            return parts;
        }
        self.since.map(|_| Unanswered { key, part: None }).into_iter().collect()
    }

    /// Whether something of it may still be running.
    fn may_run(&self) -> bool {
        self.state != State::Settled
            || !self.groups.is_empty()
            || self.parts.iter().any(|part| part.state != State::Settled)
    }
}

fn did_not_answer_in(label: &str, limit: Duration) -> String {
    format!("{label} did not answer in {}", shown(limit))
}

/// What has already been said of a thing that several wait for.
fn known_incident(waits_for: &Option<(Shared, Instant)>, incidents: &[Incident]) -> Option<Absent> {
    let (thing, _) = waits_for.as_ref()?;
    let known = incidents.iter().find(|known| known.part == thing.label)?;
    let reason = if known.timed_out { Reason::Timeout } else { Reason::Failed };
    Some(Absent::new(reason, known.detail.clone()))
}

/// A deadline as it is held: in a build for tests a hundredth of its length per percent of `PUNCHLIST_TEST_HURRY`, so
/// that not every test has to wait for as long as a real driver may take.
fn hurried(limit: Duration) -> Duration {
    #[cfg(debug_assertions)]
    if let Some(percent) = std::env::var("PUNCHLIST_TEST_HURRY").ok().and_then(|text| text.parse::<u32>().ok()) {
        return limit * percent / 100;
    }
    limit
}

/// What a run was ended by that came to this limit.
pub(super) fn name_of_limit(limit: Duration) -> String {
    format!("its deadline of {}", shown(limit))
}

/// `3 s`, `500 ms`.
fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

impl<'s> Supervisor<'s> {
    pub(super) fn new(
        target: &'s Target,
        deadline: &Deadline,
        interrupts: &'s Interrupts,
        told: &'s dyn Fn(&Told),
    ) -> Self {
        let stuck = StuckWorkers::read(target.root.as_deref());
        let limit = deadline.limit;
        let deadline = Some(deadline.end());
        Supervisor { target, limit, deadline, interrupts, told, noticed: false, idle: None, ran_commands: false, stuck }
    }

    /// From here on only the deadlines of what is asked count, unless the run is over already.
    pub(super) fn begin_tests(&mut self) {
        self.deadline = self.deadline.filter(|deadline| *deadline <= Instant::now());
    }

    /// How long a request may take.
    pub(super) fn longest(request: &Request) -> Duration {
        Asked::new(request.clone()).limit()
    }

    /// Asks all requests in one worker. Where the worker dies before all have answered, those that had not are asked
    /// again: what had not been begun together, what had each in a worker of its own, so that the one that killed it
    /// costs only itself. Where that dies too, each part is asked in one of its own.
    pub(super) fn ask(&mut self, requests: Vec<Request>, observations: &mut Observations) {
        let requests = self.without_stuck(requests, observations);
        let alone = requests.len() == 1;
        let (mut asked, mut end) = self.ask_worker(requests, observations);
        if matches!(end, End::WorkerDied(_)) {
            let (begun, rest): (Vec<Asked>, Vec<Asked>) = asked.into_iter().partition(|one| one.since.is_some());
            self.conclude(begun, end, alone, observations);
            (asked, end) = self.ask_worker(rest.into_iter().map(|one| one.request).collect(), observations);
        }
        self.conclude(asked, end, alone, observations);
    }

    /// Files what was answered, after asking again what may be asked again.
    fn conclude(&mut self, asked: Vec<Asked>, end: End, alone: bool, observations: &mut Observations) {
        for mut one in asked {
            // A command that was started is never started again, and what killed one worker that waited for it would
            // only kill another.
            let once_more = matches!(end, End::WorkerDied(_) | End::Unreadable)
                && one.state == State::Open
                && one.groups.is_empty()
                && known_incident(&one.waits_for, &observations.incidents).is_none();
            let mut end = end.clone();
            if once_more && !alone {
                let (again, its_end) = self.ask_worker(vec![one.request.clone()], observations);
                (one, end) = (again.into_iter().next().unwrap_or(one), its_end);
            }
            if once_more && matches!(end, End::WorkerDied(_)) && one.waits_for.is_none() {
                self.ask_parts(&mut one, observations);
            }
            one.finish(&end, observations, self.told);
        }
    }

    /// The requests that are worth asking: what an earlier run is still stuck in would only get stuck again.
    fn without_stuck(&self, requests: Vec<Request>, observations: &mut Observations) -> Vec<Request> {
        let mut rest = Vec::new();
        for mut request in requests {
            let key = request.key();
            match self.stuck.of(&Unanswered { key: key.clone(), part: None }) {
                Some(what) => {
                    let detail = format!("{} {what}", request.label());
                    let absent = Absent::new(Reason::Timeout, detail.clone());
                    let (probe, part) = (request.probe.name.to_string(), request.label());
                    observations.incidents.push(Incident { probe, part, what, detail, timed_out: true });
                    file(observations, &request, absent.to_json(), Duration::ZERO);
                }
                None => {
                    request.without = self.stuck.parts_of(&key);
                    rest.push(request);
                }
            }
        }
        rest
    }

    /// Asks the parts of a probe that have not answered, each in a worker of its own.
    fn ask_parts(&mut self, one: &mut Asked, observations: &mut Observations) {
        let Some(value) = &mut one.value else { return };
        // A crash may be costly to record.
        if one.parts.len() > MOST_PARTS_ALONE {
            return;
        }
        // Where none was seen to begin, it may have been no part that killed the worker. The first one shows.
        let mut doubtful = one.parts.iter().all(|part| part.since.is_none());
        for part in one.parts.iter_mut().filter(|part| part.state != State::Settled) {
            let request = Request { part: Some(part.place.pointer.clone()), ..one.request.clone() };
            let (asked, end) = self.ask_worker(vec![request], observations);
            let Some(mut asked) = asked.into_iter().next() else { continue };
            if std::mem::take(&mut doubtful) && matches!(end, End::WorkerDied(_)) {
                return;
            }
            let answer = asked.conclude(&end, observations, self.told);
            let found = answer.pointer(&part.place.pointer).and_then(Json::as_object);
            let fields = match (found, Absent::from_json(&answer)) {
                (Some(found), None) => {
                    let of_part = |field: &String| Some((field.clone(), found.get(field)?.clone()));
                    part.place.fields.iter().filter_map(of_part).collect()
                }
                (_, absent) => part.place.absent(&absent.unwrap_or_else(|| Absent::failed("was not there any more"))),
            };
            part.place.fill(value, fields);
            part.state = State::Settled;
        }
        one.settle(State::Settled, Instant::now());
    }

    /// One round of one worker: the one that has answered everything so far, or a new one.
    fn ask_worker(&mut self, requests: Vec<Request>, observations: &mut Observations) -> (Vec<Asked>, End) {
        if requests.is_empty() {
            return (Vec::new(), End::AllSettled);
        }
        let mut asked: Vec<Asked> = requests.into_iter().map(Asked::new).collect();
        let mut worker = match self.idle.take().map_or_else(|| self.start(), Ok) {
            Ok(worker) => worker,
            Err(error) => return (asked, End::NotStarted(plain_io_text(&error))),
        };
        self.interrupts.tell(Some(worker.sender.clone()));
        let lines: String = asked.iter().map(|one| format!("{}\n", one.request.to_line())).collect();
        // Where it cannot be told, it has died, and that is heard.
        let _ = worker.lines.send(lines + "\n");
        let mut end = self.wait(&mut asked, &worker, observations);
        self.interrupts.tell(None);
        if matches!(end, End::AllSettled) && !asked.iter().any(Asked::may_run) {
            worker.given += asked.len();
            self.idle = Some(worker);
            return (asked, end);
        }
        let status = self.stop(worker, &asked);
        match &mut end {
            End::AllSettled | End::NotStarted(_) => {}
            End::CutShort(by) => {
                observations.cut_short.get_or_insert(by.clone());
            }
            End::OutOfTime(limit) => {
                observations.cut_short.get_or_insert(name_of_limit(*limit));
            }
            End::Unreadable => {}
            End::WorkerDied(how) => *how = how_it_ended(status),
        }
        (asked, end)
    }

    fn start(&self) -> io::Result<Worker> {
        let mut child = match self.command("/proc/self/exe".into()).spawn() {
            // Without /proc there is still the path that we were started by.
            Err(_) => self.command(own_path()?).spawn()?,
            Ok(child) => child,
        };
        let (lines, told) = channel::<String>();
        let (sender, heard) = channel();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        // Both ends on threads of their own: a worker that neither reads nor writes must not hold us up.
        thread::Builder::new().spawn(move || {
            let Some(mut stdin) = stdin else { return };
            while let Ok(lines) = told.recv() {
                if stdin.write_all(lines.as_bytes()).is_err() {
                    return;
                }
            }
        })?;
        let listener = sender.clone();
        thread::Builder::new().spawn(move || {
            let Some(stdout) = stdout else { return };
            let mut reader = BufReader::with_capacity(1 << 16, stdout);
            let mut line = Vec::new();
            loop {
                line.clear();
                match io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line) {
                    Ok(count) if count > 0 => {}
                    _ => break,
                }
                // A line that is none of ours ends the conversation: the worker is not to be believed any more.
                let Ok(event) = serde_json::from_slice(&line) else {
                    let _ = listener.send(Heard::Unreadable);
                    return;
                };
                if listener.send(Heard::Event(event)).is_err() {
                    return;
                }
            }
            let _ = listener.send(Heard::Closed);
        })?;
        Ok(Worker { child, lines, heard, sender, given: 0 })
    }

    /// Takes in one thing that was heard, and tells of what is settled by it; the end, where it is one.
    fn hear(
        &mut self,
        asked: &mut [Asked],
        heard: Heard,
        given: usize,
        observations: &mut Observations,
    ) -> Option<End> {
        self.ran_commands |= matches!(heard, Heard::Event(Event::Started { .. }));
        let number = match &heard {
            Heard::Event(event) => event.number().wrapping_sub(given),
            _ => usize::MAX,
        };
        let end = hear(asked, heard, given, observations);
        // A part that is asked alone is told of with its probe.
        let settled = asked.get_mut(number).filter(|one| one.state == State::Settled && one.request.part.is_none());
        if let Some(one) = settled {
            one.tell(None, self.told);
        }
        end
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.arg0(title::reserved()).arg("worker");
        if let Some(root) = &self.target.root {
            command.arg("--root").arg(root);
        }
        if let Some(nvml) = &self.target.nvml {
            command.arg("--nvml").arg(nvml);
        }
        // Its own process group: Ctrl-C at the terminal is for the supervisor to hear.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    fn wait(&mut self, asked: &mut [Asked], worker: &Worker, observations: &mut Observations) -> End {
        let began = Instant::now();
        let mut notice_at = began + if self.deadline.is_some() { NOTICE } else { STILL_RUNS };
        loop {
            // What was said before now is heard before anything is given up: we may have been stopped meanwhile.
            while let Ok(heard) = worker.heard.try_recv() {
                if let Some(end) = self.hear(asked, heard, worker.given, observations) {
                    return end;
                }
            }
            let now = Instant::now();
            if let Some(by) = self.interrupts.received() {
                return End::CutShort(by.into());
            }
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                return End::OutOfTime(self.limit);
            }
            let mut wake = self.deadline.unwrap_or(now + STILL_RUNS);
            for one in asked.iter_mut() {
                wake = one.tick(now).map_or(wake, |due| due.min(wake));
                one.tell_overdue(self.told);
            }
            if asked.iter().all(|one| one.state != State::Open) {
                return End::AllSettled;
            }
            if self.deadline.is_none() {
                if now >= notice_at {
                    notice_at += STILL_RUNS;
                    notice(asked, &format!(", for {} min so far", (now - began).as_secs() / 60));
                }
                wake = wake.min(notice_at);
            } else if !self.noticed {
                if now >= notice_at {
                    self.noticed = true;
                    notice(asked, "");
                } else {
                    wake = wake.min(notice_at);
                }
            }
            match worker.heard.recv_timeout(wake.saturating_duration_since(now)) {
                Ok(heard) => {
                    if let Some(end) = self.hear(asked, heard, worker.given, observations) {
                        return end;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return End::WorkerDied(String::new()),
            }
        }
    }

    /// Ends a worker and the commands it started; one that cannot die is left behind, and that is noted.
    fn stop(&self, worker: Worker, asked: &[Asked]) -> Option<ExitStatus> {
        let Worker { mut child, lines, .. } = worker;
        drop(lines);
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if asked.iter().any(Asked::may_run) {
            for group in asked.iter().flat_map(|one| &one.groups) {
                if let Some(group) = i32::try_from(*group).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
            // First asked, so that it ends what its commands have started.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        }
        for last in [false, true] {
            let patience = Instant::now() + if self.ran_commands && !last { TIDY } else { REAP };
            while Instant::now() < patience {
                if let Ok(Some(status)) = child.try_wait() {
                    return Some(status);
                }
                thread::sleep(Duration::from_millis(1));
            }
            if !last {
                let _ = child.kill();
            }
        }
        let open = asked.iter().flat_map(Asked::unanswered).collect();
        stuck::leave_behind(child.id(), self.target.root.as_deref(), open);
        None
    }

    /// Nothing more will be asked.
    pub(super) fn end(&mut self) {
        if let Some(worker) = self.idle.take() {
            self.stop(worker, &[]);
        }
    }
}

/// Takes in one thing that was heard; the end, where it is one. `given` is how many requests the worker had before.
fn hear(asked: &mut [Asked], heard: Heard, given: usize, observations: &mut Observations) -> Option<End> {
    match heard {
        Heard::Event(event) => {
            if let Some(one) = event.number().checked_sub(given).and_then(|number| asked.get_mut(number)) {
                one.hear(event, Instant::now(), observations);
            }
            None
        }
        Heard::Unreadable => Some(End::Unreadable),
        Heard::Closed if asked.iter().all(|one| one.state != State::Open) => Some(End::AllSettled),
        Heard::Closed => Some(End::WorkerDied(String::new())),
        Heard::Interrupted => None,
    }
}

/// Why the waiting ended.
#[derive(Clone)]
enum End {
    AllSettled,
    /// By whom.
    CutShort(String),
    /// The run's limit.
    OutOfTime(Duration),
    /// Why.
    NotStarted(String),
    /// What it said was longer than is read, or none of ours.
    Unreadable,
    /// How.
    WorkerDied(String),
}

fn how_it_ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.signal(), status.code())) {
        Some((Some(signal), _)) => {
            let name = signal_hook::low_level::signal_name(signal).map(|name| format!(" ({name})"));
            format!("signal {signal}{}", name.unwrap_or_default())
        }
        Some((_, Some(code))) => format!("it left with status {code}"),
        _ => "nobody knows how".into(),
    }
}

/// The path that we were started by, for where /proc is missing.
pub fn own_path() -> io::Result<PathBuf> {
    std::env::current_exe().or_else(|_| {
        std::env::args_os().next().map(PathBuf::from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    })
}

/// Says on standard error what is awaited, so that nobody wonders; `since` is said after it.
fn notice(asked: &[Asked], since: &str) {
    let names: Vec<String> =
        asked.iter().filter(|one| one.state == State::Open && one.since.is_some()).flat_map(Asked::awaited).collect();
    let shown: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
    let more = match names.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut text = crate::printable::printable(&format!("punchlist: waiting for {}{more}{since}", shown.join(", ")));
    text.truncate(text.floor_char_boundary(LONGEST_NOTICE));
    // Nobody may read there, and then writing would wait for ever.
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    if !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(0)) {
        let _ = writeln!(&stderr, "{text}");
    }
}
