//! The process that asks. It may hang, crash or be killed: what it answered before has already been told.

use super::Target;
use super::protocol::{Event, Request};
use super::title::Title;
use crate::fact::{Absent, Reason};
use crate::probe::parts::{self, Job, Place, Progress, Shared, panicked};
use crate::probe::source::Source;
use crate::probe::subprocess;
use rustix::fd::OwnedFd;
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// Asks what standard input names, one request a line, and tells standard output. An empty line ends a round: all of it
/// is answered before the next is read.
pub fn main(Target { root, nvml }: Target) -> i32 {
    // A worker whose supervisor was killed has nobody to tell. It is asked to end, not killed, so that it can end the
    // commands that it started.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    // Nothing has been opened yet: these are what the program was started with.
    subprocess::close_from(3);
    let Ok(out) = private_output() else { return 1 };
    let source = match root {
        None => Source::live(),
        Some(root) => match Source::rooted(&root) {
            Ok(source) => source,
            Err(_) => return 1,
        },
    };
    let source = source.with_nvml(nvml);
    let (out, title) = (Mutex::new(BufWriter::with_capacity(64 << 10, File::from(out))), Mutex::new(Title::new()));
    let mut first = 0;
    let mut lines = io::stdin().lock().lines().map_while(Result::ok);
    loop {
        let round: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        if round.is_empty() {
            break;
        }
        let requests: Vec<Request> = round.iter().filter_map(|line| Request::from_line(line)).collect();
        answer(&source, &requests, first, &out, &title);
        first += requests.len();
    }
    subprocess::end_children();
    0
}

/// Asks one round; its first request has this number.
fn answer(source: &Source, requests: &[Request], first: usize, out: &Mutex<BufWriter<File>>, title: &Mutex<Title>) {
    let jobs = requests.iter().zip(first..).map(|(request, number)| -> Job {
        Box::new(move || {
            let teller = Teller { number, request, out, title, told: Mutex::default() };
            teller.tell(&Event::Asking { number });
            teller.name(&request.label(), true);
            let began = Instant::now();
            let ask = || (request.probe.ask)(source, &request.arguments, &teller);
            let answer = catch_unwind(AssertUnwindSafe(ask));
            let value = answer.unwrap_or_else(|panic| Err(panicked(&*panic))).unwrap_or_else(|absent| absent.to_json());
            let took = began.elapsed();
            teller.name(&request.label(), false);
            let told = teller.told();
            // What has parts can be large, and was told part by part.
            let value = Some(value).filter(|value| told.as_ref() != Some(value));
            // What is heard of it may be heard together with other things.
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            teller.tell(&Event::Done { number, value, took_us });
        })
    });
    parts::run(jobs.collect(), &|| title.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).name_process());
}

/// Standard output under another number, and the null device in its place: libraries that print must not garble what
/// the supervisor reads.
fn private_output() -> io::Result<OwnedFd> {
    let private = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?;
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(null)?;
    Ok(private)
}

struct Teller<'w> {
    number: usize,
    request: &'w Request,
    out: &'w Mutex<BufWriter<File>>,
    title: &'w Mutex<Title>,
    /// What was told so far of one that has parts.
    told: Mutex<Option<Json>>,
}

impl Teller<'_> {
    fn told(&self) -> MutexGuard<'_, Option<Json>> {
        self.told.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn tell(&self, event: &Event) {
        let mut out = self.out.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // An error says that nobody reads any more: the supervisor has given up, and this process is about to be killed.
        let _ = serde_json::to_writer(&mut *out, event);
        let _ = out.write_all(b"\n");
        let _ = out.flush();
    }

    /// Puts what is asked on the command line, or takes it off.
    fn name(&self, label: &str, asked: bool) {
        self.title.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).name(label, asked);
    }

    fn name_part(&self, place: &Place, asked: bool) {
        self.name(&format!("{} {}", self.request.probe.name, place.label), asked);
    }
}

impl Progress for Teller<'_> {
    fn wants(&self, place: &Place) -> bool {
        self.request.part.as_ref().is_none_or(|pointer| *pointer == place.pointer)
    }
    fn refuses(&self, place: &Place) -> Option<Absent> {
        let (part, why) = self.request.without.iter().find(|(part, _)| *part == place.label)?;
        self.tell(&Event::Refused { number: self.number, part: part.clone(), why: why.clone() });
        Some(Absent::new(Reason::Timeout, format!("{part} {why}")))
    }
    fn waiting(&self, thing: Option<Shared>) {
        self.tell(&Event::Waiting { number: self.number, thing });
    }
    fn so_far(&self, value: &Json, pending: &[Place]) {
        *self.told() = Some(value.clone());
        self.tell(&Event::SoFar { number: self.number, value: value.clone(), pending: pending.to_vec() });
    }
    fn asking(&self, place: &Place) {
        self.name_part(place, true);
        self.tell(&Event::AskingPart { number: self.number, pointer: place.pointer.clone() });
    }
    fn answered(&self, place: &Place, fields: &Map<String, Json>) {
        self.name_part(place, false);
        if let Some(told) = &mut *self.told() {
            place.fill(told, fields.clone());
        }
        let (pointer, fields) = (place.pointer.clone(), fields.clone());
        self.tell(&Event::Part { number: self.number, pointer, fields });
    }
    fn started(&self, process_group: u32) {
        self.tell(&Event::Started { number: self.number, process_group });
    }
}
