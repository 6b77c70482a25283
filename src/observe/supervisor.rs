//! The process that waits, but never for ever: it holds all deadlines and keeps what was answered.

use super::file;
use super::protocol::{Event, Request};
use crate::fact::{Absent, Incident, Observations, Reason};
use crate::probe;
use crate::probe::parts::Place;
use crate::probe::source::plain_io_text;
use rustix::process::{Pid, Signal, kill_process_group};
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

/// How long a killed worker is waited for before it is abandoned.
const REAP: Duration = Duration::from_millis(50);

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
    deadline: Instant,
    interrupts: &'s Interrupts,
    noticed: bool,
}

/// One request while it is asked.
struct Asked {
    request: Request,
    since: Option<Instant>,
    value: Option<Json>,
    parts: Vec<Part>,
    groups: Vec<u32>,
    state: State,
    took: Duration,
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
}

impl Asked {
    fn new(request: Request) -> Asked {
        let state = State::Open;
        Asked { request, since: None, value: None, parts: Vec::new(), groups: Vec::new(), state, took: Duration::ZERO }
    }

    /// How long the whole probe may take. A command that is given longer gets longer.
    fn limit(&self) -> Duration {
        let own = self.request.arguments["timeout"].as_str().and_then(probe::parse_duration);
        // The command's own deadline comes first; this one is for a worker that cannot hold it.
        own.map_or(self.request.probe.deadline, |own| own + Duration::from_secs(2))
    }

    fn hear(&mut self, event: Event, now: Instant) {
        match event {
            Event::Asking { .. } => self.since = Some(now),
            Event::SoFar { value, pending, .. } => {
                self.value = Some(value);
                self.parts = pending.into_iter().map(|place| Part { place, since: None, state: State::Open }).collect();
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
            Event::Done { value, .. } => {
                self.value = Some(value);
                self.parts.clear();
                self.groups.clear();
                self.settle(State::Settled, now);
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
        let mut next = self.since.map(|since| since + self.limit());
        if next.is_some_and(|due| due <= now) {
            self.settle(State::Overdue, now);
            return None;
        }
        for part in self.parts.iter_mut().filter(|part| part.state == State::Open) {
            let Some(since) = part.since else { continue };
            let due = since + Duration::from_millis(part.place.deadline_ms);
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
    fn finish(mut self, end: &End, observations: &mut Observations) {
        let value = self.conclude(end, observations);
        file(observations, &self.request, value, self.took);
    }

    /// What was answered, and for what was not the reason. What was asked and hangs or crashes is an incident besides.
    fn conclude(&mut self, end: &End, observations: &mut Observations) -> Json {
        let probe = self.request.probe.name;
        let is_command = probe == "command";
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
            let detail = format!("{label} {what}");
            if incident {
                let timed_out = reason == Reason::Timeout;
                let (probe, part, detail) = (probe.to_string(), part.to_string(), detail.clone());
                observations.incidents.push(Incident { probe, part, what, detail, timed_out });
            }
            Absent::new(reason, detail)
        };
        let limit = self.limit();
        let label = self.request.label();
        let detail = label.strip_prefix(probe).unwrap_or_default().trim();
        let Some(mut value) = self.value.take() else {
            return give_up(&label, detail, self.state, self.since, limit).to_json();
        };
        let open = || self.parts.iter().filter(|part| part.state != State::Settled);
        // Where no part was begun, the probe itself is what hangs or crashes, and that is one incident.
        let whole = open().all(|part| part.since.is_none()) && open().next().is_some();
        let whole = whole.then(|| give_up(&label, detail, self.state, self.since, limit));
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
            part.place.fill(&mut value, part.place.absent(&absent));
        }
        value
    }

    /// Whether something of it may still be running.
    fn may_run(&self) -> bool {
        self.state != State::Settled
            || !self.groups.is_empty()
            || self.parts.iter().any(|part| part.state != State::Settled)
    }
}

/// `3 s`, `500 ms`.
fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

impl<'s> Supervisor<'s> {
    pub(super) fn new(target: &'s Target, limit: Duration, started: Instant, interrupts: &'s Interrupts) -> Self {
        Supervisor { target, limit, deadline: started + limit, interrupts, noticed: false }
    }

    /// Asks all requests in one worker. Where the worker dies before all have answered, those that had not are asked
    /// again, each in a worker of its own, so that the one that killed it costs only itself. Where that dies too, each
    /// part is asked in one of its own.
    pub(super) fn ask(&mut self, requests: Vec<Request>, observations: &mut Observations) {
        let alone = requests.len() == 1;
        let (asked, end) = self.ask_worker(requests, observations);
        for mut one in asked {
            // A command that was started is never started again.
            let once_more = matches!(end, End::WorkerDied(_) | End::Unreadable)
                && one.state == State::Open
                && one.groups.is_empty();
            let mut end = end.clone();
            if once_more && !alone {
                let (again, its_end) = self.ask_worker(vec![one.request.clone()], observations);
                (one, end) = (again.into_iter().next().unwrap_or(one), its_end);
            }
            if once_more && matches!(end, End::WorkerDied(_)) {
                self.ask_parts(&mut one, observations);
            }
            one.finish(&end, observations);
        }
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
            let answer = asked.conclude(&end, observations);
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

    /// One worker, until its end.
    fn ask_worker(&mut self, requests: Vec<Request>, observations: &mut Observations) -> (Vec<Asked>, End) {
        if requests.is_empty() {
            return (Vec::new(), End::AllSettled);
        }
        let (sender, receiver) = channel();
        self.interrupts.tell(Some(sender.clone()));
        let mut asked: Vec<Asked> = requests.into_iter().map(Asked::new).collect();
        let mut child = match self.start(&asked, sender) {
            Ok(child) => child,
            Err(error) => return (asked, End::NotStarted(plain_io_text(&error))),
        };
        let mut end = self.wait(&mut asked, &receiver);
        self.interrupts.tell(None);
        let status = stop(&mut child, &asked);
        match &mut end {
            End::AllSettled | End::NotStarted(_) => {}
            End::CutShort(by) => {
                observations.cut_short.get_or_insert(by.clone());
            }
            End::OutOfTime(limit) => {
                observations.cut_short.get_or_insert(format!("its deadline of {}", shown(*limit)));
            }
            End::Unreadable => {}
            End::WorkerDied(how) => *how = how_it_ended(status),
        }
        (asked, end)
    }

    fn start(&self, asked: &[Asked], sender: Sender<Heard>) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("worker");
        if let Some(root) = &self.target.root {
            command.arg("--root").arg(root);
        }
        if let Some(nvml) = &self.target.nvml {
            command.arg("--nvml").arg(nvml);
        }
        // Its own process group: Ctrl-C at the terminal is for the supervisor to hear.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            // Without /proc there is still the path that we were started by.
            Err(_) => command_by_path(&command)?.spawn()?,
            Ok(child) => child,
        };
        let lines: String = asked.iter().map(|one| format!("{}\n", one.request.to_line())).collect();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        // Both ends on threads of their own: a worker that neither reads nor writes must not hold us up.
        thread::Builder::new().spawn(move || stdin.map(|mut stdin| stdin.write_all(lines.as_bytes())))?;
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
                    let _ = sender.send(Heard::Unreadable);
                    return;
                };
                if sender.send(Heard::Event(event)).is_err() {
                    return;
                }
            }
            let _ = sender.send(Heard::Closed);
        })?;
        Ok(child)
    }

    fn wait(&mut self, asked: &mut [Asked], receiver: &Receiver<Heard>) -> End {
        let notice_at = Instant::now() + NOTICE;
        loop {
            // What was said before now is heard before anything is given up: we may have been stopped meanwhile.
            while let Ok(heard) = receiver.try_recv() {
                if let Some(end) = hear(asked, heard) {
                    return end;
                }
            }
            let now = Instant::now();
            if let Some(by) = self.interrupts.received() {
                return End::CutShort(by.into());
            }
            if now >= self.deadline {
                return End::OutOfTime(self.limit);
            }
            let mut wake = self.deadline;
            for one in asked.iter_mut() {
                wake = one.tick(now).map_or(wake, |due| due.min(wake));
            }
            if asked.iter().all(|one| one.state != State::Open) {
                return End::AllSettled;
            }
            if !self.noticed {
                if now >= notice_at {
                    self.noticed = true;
                    notice(asked);
                } else {
                    wake = wake.min(notice_at);
                }
            }
            match receiver.recv_timeout(wake.saturating_duration_since(now)) {
                Ok(heard) => {
                    if let Some(end) = hear(asked, heard) {
                        return end;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return End::WorkerDied(String::new()),
            }
        }
    }
}

/// Takes in one thing that was heard; the end, where it is one.
fn hear(asked: &mut [Asked], heard: Heard) -> Option<End> {
    match heard {
        Heard::Event(event) => {
            if let Some(one) = asked.get_mut(event.number()) {
                one.hear(event, Instant::now());
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

/// The same command by the path that we were started by, for where /proc is missing.
fn command_by_path(command: &Command) -> io::Result<Command> {
    let mut other = Command::new(std::env::current_exe().or_else(|_| {
        std::env::args_os().next().map(PathBuf::from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    })?);
    other.args(command.get_args());
    other.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(other)
}

/// Ends a worker and the commands it started; one that cannot die is abandoned.
fn stop(child: &mut Child, asked: &[Asked]) -> Option<ExitStatus> {
    if let Ok(Some(status)) = child.try_wait() {
        return Some(status);
    }
    if asked.iter().any(Asked::may_run) {
        for group in asked.iter().flat_map(|one| &one.groups) {
            if let Some(group) = i32::try_from(*group).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        let _ = child.kill();
    }
    let patience = Instant::now() + REAP;
    while Instant::now() < patience {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    None
}

/// Says on standard error what is awaited, so that nobody wonders.
fn notice(asked: &[Asked]) {
    let names: Vec<String> =
        asked.iter().filter(|one| one.state == State::Open && one.since.is_some()).flat_map(Asked::awaited).collect();
    let shown: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
    let more = match names.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = crate::printable::printable(&format!("punchlist: waiting for {}{more}", shown.join(", ")));
    let _ = writeln!(io::stderr(), "{text}");
}
