//! The process that asks. It may hang, crash or be killed: what it answered before has already been told.

use super::Target;
use super::protocol::{Event, Request};
use crate::probe::parts::{self, Job, Place, Progress, panicked};
use crate::probe::source::Source;
use rustix::fd::OwnedFd;
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Asks what standard input names, one request a line, and tells standard output.
pub fn main(Target { root, nvml }: Target) -> i32 {
    // A worker whose supervisor was killed has nobody to tell.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let Ok(out) = private_output() else { return 1 };
    let source = match root {
        None => Source::live(),
        Some(root) => match Source::rooted(&root) {
            Ok(source) => source,
            Err(_) => return 1,
        },
    };
    let source = source.with_nvml(nvml);
    let requests: Vec<Request> =
        io::stdin().lock().lines().map_while(Result::ok).filter_map(|line| Request::from_line(&line)).collect();
    let out = Mutex::new(File::from(out));
    let (source, out) = (&source, &out);
    let jobs = requests.iter().enumerate().map(|(number, request)| -> Job {
        Box::new(move || {
            let teller = Teller { number, part: request.part.as_deref(), out };
            teller.tell(&Event::Asking { number });
            let ask = || (request.probe.ask)(source, &request.arguments, &teller);
            let answer = catch_unwind(AssertUnwindSafe(ask));
            let value = answer.unwrap_or_else(|panic| Err(panicked(&*panic))).unwrap_or_else(|absent| absent.to_json());
            teller.tell(&Event::Done { number, value });
        })
    });
    parts::run(jobs.collect());
    0
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
    part: Option<&'w str>,
    out: &'w Mutex<File>,
}

impl Teller<'_> {
    fn tell(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Nobody reads any more: the supervisor has given up, and this process is about to be killed.
        let _ = out.write_all(&line);
    }
}

impl Progress for Teller<'_> {
    fn wants(&self, place: &Place) -> bool {
        self.part.is_none_or(|pointer| pointer == place.pointer)
    }
    fn so_far(&self, value: &Json, pending: &[Place]) {
        self.tell(&Event::SoFar { number: self.number, value: value.clone(), pending: pending.to_vec() });
    }
    fn asking(&self, place: &Place) {
        self.tell(&Event::AskingPart { number: self.number, pointer: place.pointer.clone() });
    }
    fn answered(&self, place: &Place, fields: &Map<String, Json>) {
        let (pointer, fields) = (place.pointer.clone(), fields.clone());
        self.tell(&Event::Part { number: self.number, pointer, fields });
    }
    fn started(&self, process_group: u32) {
        self.tell(&Event::Started { number: self.number, process_group });
    }
}
