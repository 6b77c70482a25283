//! Asking many parts of a probe, each in its own time.
//!
//! One dead NFS server must not cost the answers of the other mounts. A probe first reports all that it knows
//! without risk, with the risky places left out, then asks the parts on a few threads. When every thread is
//! busy and nothing comes back, more threads are started, so that a part is never kept waiting behind a hung one.
//! The supervisor holds the deadlines; here nothing needs to be given up, because a worker that hangs is abandoned.

use crate::fact::{Absent, Fact, Reason};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What a probe tells while it is still asking.
pub trait Progress: Sync {
    /// Whether this part is to be asked. After a crash each part is asked in a process of its own.
    fn wants(&self, _place: &Place) -> bool {
        true
    }
    /// Why this part is not asked at all: it is known to hang.
    fn refuses(&self, _place: &Place) -> Option<Absent> {
        None
    }
    /// The probe waits for something that others may be waiting for as well, and where it hangs there is one thing to
    /// be said of it, not one for each of them. `None` when it waits no longer.
    fn waiting(&self, _thing: Option<Shared>) {}
    /// All that is known without risk, and the parts that are still to be asked.
    fn so_far(&self, value: &Value, pending: &[Place]);
    /// The part at `place` is being asked now: its deadline begins.
    fn asking(&self, place: &Place);
    /// The part at `place` answered with these fields.
    fn answered(&self, place: &Place, fields: &Map<String, Value>);
    /// A process group was started; it is to be killed when the worker is.
    fn started(&self, process_group: u32);
}

/// Something that several probes may wait for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shared {
    /// What it is, as a person would name it.
    pub label: String,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

/// Hears nothing: for asking a probe directly, where nobody waits.
pub struct Silent;

impl Progress for Silent {
    fn so_far(&self, _: &Value, _: &[Place]) {}
    fn asking(&self, _: &Place) {}
    fn answered(&self, _: &Place, _: &Map<String, Value>) {}
    fn started(&self, _: u32) {}
}

/// A place in a probe's answer that one part will fill: some fields of one record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// JSON pointer (RFC 6901) to the record: `/3`.
    pub pointer: String,
    /// The fields of the record that the part answers. One that does not answer leaves each of them absent.
    pub fields: Vec<String>,
    /// What is asked, as a person would name it: `/home, served by nfs1:/home`.
    pub label: String,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Place {
    /// The fields `fields` of the record at `pointer`, for what people call `label`.
    pub fn new(pointer: impl Into<String>, fields: &[&str], label: impl Into<String>, deadline: Duration) -> Place {
        Place {
            pointer: pointer.into(),
            fields: fields.iter().map(ToString::to_string).collect(),
            label: label.into(),
            deadline_ms: deadline.as_millis() as u64,
        }
    }

    /// The fields when the part is absent as a whole.
    pub fn absent(&self, absent: &Absent) -> Map<String, Value> {
        self.fields.iter().map(|field| (field.clone(), absent.to_json())).collect()
    }

    /// Puts a part's fields into the probe's answer.
    pub fn fill(&self, answer: &mut Value, fields: Map<String, Value>) {
        if let Some(Value::Object(record)) = answer.pointer_mut(&self.pointer) {
            record.extend(fields);
        }
    }
}

/// A part: the place it fills, and how to ask for its fields.
pub type Part<'a> = (Place, Box<dyn FnOnce() -> Result<Map<String, Value>, Absent> + Send + 'a>);

/// What stands in a field until its part has answered.
pub fn pending<T>() -> Fact<T> {
    Fact(Err(Absent::new(Reason::Timeout, "did not come to be asked")))
}

/// The fields of a part, from a record of them.
pub fn fields<T: Serialize>(record: &T) -> Result<Map<String, Value>, Absent> {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Absent::failed("a part answered something other than fields")),
        Err(error) => Err(Absent::failed(format!("cannot be written as JSON: {error}"))),
    }
}

/// Reports `value`, asks each of `parts` with its closure, and returns the value with every answer in its place.
/// Returns only when all parts have answered; what they answered until then has been reported through `progress`.
pub fn ask(mut value: Value, mut parts: Vec<Part<'_>>, progress: &dyn Progress) -> Value {
    keep_wanted(&mut value, &mut parts, progress);
    if parts.is_empty() {
        return value;
    }
    let places: Vec<Place> = parts.iter().map(|(place, _)| place.clone()).collect();
    progress.so_far(&value, &places);
    let value = Mutex::new(value);
    let jobs = parts.into_iter().map(|(place, part)| -> Job {
        let value = &value;
        Box::new(move || {
            progress.asking(&place);
            let fields = answer(&place, part);
            progress.answered(&place, &fields);
            place.fill(&mut unpoisoned(value), fields);
        })
    });
    run(jobs.collect(), &|| {});
    value.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Like [`ask`], for thousands of parts of which each nearly always answers at once: as long as they do, nothing is
/// reported, so that a part costs next to nothing. When one stalls, it and all that follow are asked as by [`ask`].
pub fn ask_quickly(mut value: Value, mut parts: Vec<Part<'_>>, progress: &dyn Progress) -> Value {
    keep_wanted(&mut value, &mut parts, progress);
    // With a single one there is no haste, and it may be one that crashed.
    if parts.len() <= 1 {
        return ask(value, parts, progress);
    }
    let state = Mutex::new(Quick { queue: VecDeque::from(parts), asked: None, done: Vec::new(), stalled: false });
    let changed = Condvar::new();
    let lock = || unpoisoned(&state);
    let work = || {
        loop {
            let mut quick = lock();
            let next = if quick.stalled { None } else { quick.queue.pop_front() };
            let Some((place, part)) = next else { break };
            quick.asked = Some(place.clone());
            drop(quick);
            let fields = answer(&place, part);
            let mut quick = lock();
            quick.asked = None;
            quick.done.push((place, fields));
        }
        changed.notify_all();
    };
    thread::scope(|scope| {
        let _ = thread::Builder::new().spawn_scoped(scope, work);
        let mut quick = lock();
        while !quick.queue.is_empty() || quick.asked.is_some() {
            let done = quick.done.len();
            quick = changed.wait_timeout(quick, PATIENCE).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
            quick.stalled = quick.done.len() == done && (!quick.queue.is_empty() || quick.asked.is_some());
            if quick.stalled {
                break;
            }
        }
        for (place, fields) in quick.done.drain(..) {
            place.fill(&mut value, fields);
        }
        let mut rest: Vec<Part> = Vec::new();
        if let Some(place) = quick.asked.clone() {
            // The thread that asks it is the one that will know; this part only waits for that thread.
            let wait = || {
                let mut quick = lock();
                loop {
                    if let Some((_, fields)) = quick.done.pop() {
                        return Ok(fields);
                    }
                    quick = changed.wait(quick).unwrap_or_else(|poisoned| poisoned.into_inner());
                }
            };
            rest.push((place, Box::new(wait)));
        }
        rest.extend(quick.queue.drain(..));
        drop(quick);
        ask(value, rest, progress)
    })
}

/// Leaves out the parts that are not to be asked; those that are known to hang say so in their places.
fn keep_wanted(value: &mut Value, parts: &mut Vec<Part<'_>>, progress: &dyn Progress) {
    parts.retain(|(place, _)| match progress.refuses(place) {
        Some(absent) => {
            place.fill(value, place.absent(&absent));
            false
        }
        None => progress.wants(place),
    });
}

/// Where [`ask_quickly`] stands.
struct Quick<'a> {
    queue: VecDeque<Part<'a>>,
    asked: Option<Place>,
    done: Vec<(Place, Map<String, Value>)>,
    stalled: bool,
}

/// A part's fields, whatever becomes of it.
fn answer(place: &Place, part: impl FnOnce() -> Result<Map<String, Value>, Absent>) -> Map<String, Value> {
    catch_unwind(AssertUnwindSafe(part))
        .unwrap_or_else(|panic| Err(panicked(&*panic)))
        .unwrap_or_else(|absent| place.absent(&absent))
}

/// The absence that a panic leaves, with what it said.
pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Absent {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
    Absent::failed(format!("the probe panicked, please report this as a bug: {said}"))
}

/// Something to do that may take any time.
pub type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// How many threads start at once; more follow only when these do not come back.
const THREADS: usize = 4;
/// The most threads at a time.
const MOST_THREADS: usize = 256;
/// After how long without any job done more threads are started.
const PATIENCE: Duration = Duration::from_millis(50);

/// Does all jobs on a few threads. Where those are all stuck, more are started, so that no job waits behind a hung
/// one, and `stalled` is called from the thread that called this. Returns when all are done.
pub fn run(jobs: Vec<Job<'_>>, stalled: &dyn Fn()) {
    let total = jobs.len();
    let queue = Mutex::new(VecDeque::from(jobs));
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let mut threads = 0;
        let mut start = |sender: &Sender<()>| {
            let waiting = unpoisoned(&queue).len();
            for _ in 0..THREADS.min(MOST_THREADS - threads).min(waiting) {
                let (queue, sender) = (&queue, sender.clone());
                let work = move || {
                    loop {
                        let next = unpoisoned(queue).pop_front();
                        let Some(job) = next else { return };
                        // A job that panics has told so itself, or has nothing to tell.
                        let _ = catch_unwind(AssertUnwindSafe(job));
                        if sender.send(()).is_err() {
                            return;
                        }
                    }
                };
                // Where no more threads are allowed, those that started do the work.
                if thread::Builder::new().spawn_scoped(scope, work).is_ok() {
                    threads += 1;
                }
            }
            threads
        };
        if start(&sender) == 0 {
            while let Some(job) = unpoisoned(&queue).pop_front() {
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
            return;
        }
        let mut done = 0;
        while done < total {
            match receiver.recv_timeout(PATIENCE) {
                Ok(()) => done += 1,
                Err(RecvTimeoutError::Timeout) => {
                    stalled();
                    if !unpoisoned(&queue).is_empty() {
                        start(&sender);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_fill_their_places_and_a_panicking_part_costs_only_itself() {
        let place = |n: usize| Place::new(format!("/{n}"), &["size"], format!("part {n}"), Duration::from_secs(1));
        let parts: Vec<Part> = vec![
            (place(0), Box::new(|| fields(&json!({"size": 1})))),
            (place(1), Box::new(|| panic!("on purpose"))),
            (place(2), Box::new(|| Err(Absent::denied("needs root")))),
        ];
        let value = ask(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]), parts, &Silent);
        assert_eq!(value[0], json!({"name": "a", "size": 1}));
        assert_eq!(value[1]["size"]["absent"], "failed");
        assert_eq!(value[2], json!({"name": "c", "size": {"absent": "denied", "detail": "needs root"}}));
    }

    #[test]
    fn many_slow_parts_do_not_keep_the_others_waiting() {
        let started = std::time::Instant::now();
        let parts = (0..64)
            .map(|n| -> Part {
                let slow = move || {
                    if n < 32 {
                        thread::sleep(Duration::from_millis(1500));
                    }
                    fields(&json!({"n": n}))
                };
                (Place::new(format!("/{n}"), &["n"], "", Duration::from_secs(3)), Box::new(slow))
            })
            .collect();
        let value = ask(json!(vec![json!({}); 64]), parts, &Silent);
        assert!(value.as_array().unwrap().iter().all(|part| part["n"].is_u64()));
        assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
    }

    /// Counts what is reported.
    #[derive(Default)]
    struct Counted(Mutex<(usize, usize)>);

    impl Progress for Counted {
        fn so_far(&self, _: &Value, pending: &[Place]) {
            self.0.lock().unwrap().0 += pending.len();
        }
        fn asking(&self, _: &Place) {}
        fn answered(&self, _: &Place, _: &Map<String, Value>) {
            self.0.lock().unwrap().1 += 1;
        }
        fn started(&self, _: u32) {}
    }

    #[test]
    fn quick_parts_are_reported_only_from_the_first_that_stalls() {
        let parts = |stalls: Option<usize>| -> Vec<Part<'static>> {
            let part = move |n: usize| -> Part<'static> {
                let ask = move || {
                    if stalls == Some(n) {
                        thread::sleep(Duration::from_millis(400));
                    }
                    fields(&json!({"n": n}))
                };
                (Place::new(format!("/{n}"), &["n"], "", Duration::from_secs(3)), Box::new(ask))
            };
            (0..100).map(part).collect()
        };
        for (stalls, reported) in [(None, 0), (Some(40), 60), (Some(99), 1)] {
            let counted = Counted::default();
            let value = ask_quickly(json!(vec![json!({}); 100]), parts(stalls), &counted);
            let expected: Vec<Value> = (0..100).map(|n| json!({"n": n})).collect();
            assert_eq!(value, Value::Array(expected), "{stalls:?}");
            assert_eq!(*counted.0.lock().unwrap(), (reported, reported), "{stalls:?}");
        }
    }
}
