//! Bad input by the thousand: whatever is read, nothing panics, overflows the stack, hangs or eats memory, no number is
//! other than its name promises, and no check passes for want of what it reads.
//!
//! The input is made of good input (the shipped checklists, the recorded machines) by changing it at random; a number,
//! the seed, says how, so each input can be made again. `cargo test` tries the first seeds of each target, for a few
//! seconds. To try longer, in a build that is fast enough for it:
//!
//! ```text
//! FUZZ_SECONDS=600 CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo test --target-dir target/fuzz --test fuzz [TARGET]
//! FUZZ_SEED=12345 cargo test --test fuzz TARGET     # once more the input that a failure named
//! ```

mod common;
#[path = "fuzz/mutate.rs"]
mod mutate;

use common::{is_based, machine, machines, punchlist_on};
use mutate::Random;
use punchlist::STACK_BYTES;
use punchlist::checklist::{self, Checklists, Effect, Level};
use punchlist::expression::{Expression, Names, Scope, Text};
use punchlist::fact::{Absent, Observation, Observations, Reason};
use punchlist::judge::{self, Outcome, Readings, Status};
use punchlist::observe::{Choice, Plan, Snapshot, observe_arguments};
use punchlist::probe::parts::Silent;
use punchlist::probe::source::{OBSERVATIONS_FILE, Recorded, Source};
use punchlist::probe::{self, Probe};
use punchlist::report::{Facts, Report, TextOptions, to_json, to_text};
use serde_json::{Value as Json, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one target is tried in `cargo test`.
const SHORT: Duration = Duration::from_secs(3);

/// The most processor time that one input may cost: a hundred times what the worst honest one does, without
/// optimisation.
const INPUT_TIME: Duration = Duration::from_secs(8);

/// When an input counts as hung. Other tests may keep the machine busy.
const HUNG: Duration = Duration::from_secs(120);

/// How much memory all targets together may hold at a time.
const MEMORY: usize = 1 << 30;

/// After how many failures a target stops.
const ENOUGH_FAILURES: usize = 12;

/// Counts what is allocated.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        if held > MOST_HELD.load(Ordering::Relaxed) {
            MOST_HELD.store(held, Ordering::Relaxed);
        }
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What inputs panicked with.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs `input` with seeds from 0 on. Each input has a thread of its own, with the stack that Punchlist gives itself.
fn fuzz(target: &str, input: impl Fn(&mut Random) + Sync) {
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match thread::current().name() {
            Some(name) if name.contains(", seed ") => PANICS.lock().unwrap().push(format!("{name}: {panic}")),
            _ => usual(panic),
        }));
    });
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (seed, seconds) = (number("FUZZ_SEED"), number("FUZZ_SECONDS"));
    // A long run is not to try what the last one tried.
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() << 24;
    let first = seed.unwrap_or_else(|| if seconds.is_some() { now() } else { 0 });
    let inputs = if seed.is_some() { 1 } else { u64::MAX };
    let limit = seconds.map_or(SHORT, Duration::from_secs);
    let (began, mut tried, mut failures) = (Instant::now(), 0, BTreeMap::new());
    let (mut took, mut slowest) = (Duration::ZERO, (Duration::ZERO, 0));
    while tried < inputs && failures.len() < ENOUGH_FAILURES && (tried == 0 || began.elapsed() < limit) {
        let seed = first.wrapping_add(tried);
        tried += 1;
        match try_one(target, seed, &input) {
            Ok(one) => {
                took += one;
                slowest = slowest.max((one, seed));
            }
            // The first line tells one failure from another.
            Err(said) => {
                failures.entry(said.lines().next().unwrap_or_default().to_string()).or_insert((seed, said));
            }
        }
    }
    println!("{target}: {tried} inputs in {took:?}, the slowest {:?} with FUZZ_SEED={}", slowest.0, slowest.1);
    for (seed, said) in failures.values() {
        println!("\nFUZZ_SEED={seed}: {said}");
    }
    assert!(failures.is_empty(), "{target}: {} of {tried} inputs", failures.len());
}

/// Tries one input: the processor time that it took, or what went wrong.
fn try_one(target: &str, seed: u64, input: &(impl Fn(&mut Random) + Sync)) -> Result<Duration, String> {
    let (done, wait) = channel();
    let name = format!("{target}, seed {seed}");
    MOST_HELD.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
    thread::scope(|scope| {
        // Its name is what Rust says when a stack overflows, which nobody can catch.
        let work = thread::Builder::new().name(name.clone()).stack_size(STACK_BYTES).spawn_scoped(scope, || {
            let result = catch_unwind(AssertUnwindSafe(|| input(&mut Random::new(seed))));
            let _ = done.send((result.is_ok(), processor_time()));
        });
        let work = work.unwrap();
        let Ok((is_ok, took)) = wait.recv_timeout(HUNG) else {
            eprintln!("{target}: hangs with FUZZ_SEED={seed}");
            std::process::abort();
        };
        let _ = work.join();
        let mut panics = PANICS.lock().unwrap();
        let own: Vec<String> = panics.extract_if(.., |said| said.starts_with(&name)).collect();
        drop(panics);
        match own.first() {
            Some(said) => Err(said.trim_start_matches(&name).trim_start_matches(": ").replacen('\n', " ", 1)),
            None if !is_ok => Err("it panicked".into()),
            None if took > INPUT_TIME => Err(format!("takes too long\n{took:?}")),
            None if MOST_HELD.load(Ordering::Relaxed) > MEMORY => Err("takes too much memory".into()),
            None => Ok(took),
        }
    })
}

/// The processor time of this thread so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills what it is given and nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The shipped checklists.
static CHECKLISTS: LazyLock<Checklists> =
    LazyLock::new(|| checklist::load(&[], None).unwrap_or_else(|problems| panic!("{}", problems.render(false))));

/// Every check that only reads.
static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let choice = Choice { only: vec![], skip: vec![], level: Level::Deep, effect: Effect::Reads };
    Plan::new(&CHECKLISTS, &choice).unwrap()
});

/// Machines that between them have all that is looked at, with the snapshot that the real binary takes of each.
static SNAPSHOTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = ["hgx-h100", "gpu-lost", "sick-node", "grace-node", "docker-container"];
    names.map(|name| punchlist_on(&machine(name), "snapshot").output().unwrap().stdout).to_vec()
});

static OBSERVED: LazyLock<Vec<Observations>> = LazyLock::new(|| {
    let read = |bytes: &Vec<u8>| serde_json::from_slice::<Snapshot>(bytes).unwrap().observations;
    SNAPSHOTS.iter().map(read).collect()
});

/// The YAML of the shipped checklists.
static YAML: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checklists");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
});

/// What judging and reporting have to bear, whatever was observed.
fn judge_and_report(checklists: &Checklists, plan: &Plan, observations: &Observations, with_text: bool) {
    let set = BTreeMap::new();
    let outcomes = judge::judge(checklists, &plan.chosen, observations, &set, Readings::OfAll);
    for outcome in &outcomes {
        let told = outcome.reason.is_some();
        assert!(outcome.status != Status::Unknown || told, "unknown without a reason: {}", outcome.check);
        assert!(outcome.status != Status::Pass || !told, "pass with a reason: {}", outcome.check);
    }
    let report = report(checklists, observations, outcomes);
    let text = to_json(&report);
    assert!(!text.trim().is_empty(), "a report that cannot be written");
    if with_text {
        render(&report);
        let again: Report =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("a report that cannot be read: {error}"));
        assert_eq!(to_json(&again), text, "a report that changes when it is read");
    }
}

/// What is reported of these outcomes.
fn report(checklists: &Checklists, observations: &Observations, mut outcomes: Vec<Outcome>) -> Report {
    let set = BTreeMap::new();
    let items = judge::items(checklists, &mut outcomes, observations, &set);
    let facts = Facts {
        site: None,
        checklists,
        observations,
        parameters: &set,
        level: Level::Deep,
        started: "2026-01-01T00:00:00Z".parse().unwrap(),
        duration: Duration::from_millis(1),
        as_root: true,
        loaded: false,
        recorded: true,
    };
    Report::new(&facts, outcomes, items)
}

/// A report in every format.
fn render(report: &Report) {
    for width in [50, 120] {
        let text = to_text(report, &TextOptions { all: true, timings: true, width });
        let is_safe = |c: char| !c.is_control() || matches!(c, '\n' | '\x1b');
        assert!(text.chars().all(is_safe), "a control character in the text");
    }
}

#[test]
fn checklists() {
    let folder = tempfile::tempdir().unwrap();
    let expressions = expressions();
    fuzz("checklists", |random| {
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        // Several at once, since all shipped ones are read with them.
        let mut paths = Vec::new();
        for number in 0..12 {
            let (name, text) = random.pick(&YAML);
            let other = &random.pick(&YAML).1;
            let mut text = text.clone();
            if random.once_in(2) {
                // One value of it is another expression.
                let whole = String::from_utf8_lossy(&text).into_owned();
                let lines: Vec<&str> = whole.split_inclusive('\n').collect();
                let at = random.below(lines.len());
                if let Some((key, _)) = lines[at].split_once(": ") {
                    let (one, other) = (random.pick(&expressions), random.pick(&expressions));
                    let value = mutate::expression(random, one, other);
                    let line = format!("{key}: '{}'\n", value.replace('\'', "''"));
                    text = [&lines[..at].concat(), line.as_str(), &lines[at + 1..].concat()].concat().into_bytes();
                }
            }
            if random.once_in(2) {
                text = mutate::bytes(random, &text, &[other]);
            }
            let path = folder.path().join(format!("{number}-{name}"));
            fs::write(&path, text).unwrap();
            paths.push(path);
        }
        let problems = match checklist::load_in_place_of_builtin(&paths, &|_| None) {
            Ok(checklists) => return judged(random, &checklists),
            Err(problems) => problems,
        };
        assert!(!problems.render(false).is_empty() && !problems.render(true).is_empty());
        for problem in problems.iter() {
            assert!(!problem.message.is_empty());
            assert!(!problem.message.contains("panicked"), "{}", problem.message);
        }
        // What is left is a run of its own.
        let bad: BTreeSet<&str> = problems.iter().map(|problem| &*problem.file).collect();
        paths.retain(|path| !bad.contains(path.to_str().unwrap()));
        if let (false, Ok(checklists)) = (paths.is_empty(), checklist::load_in_place_of_builtin(&paths, &|_| None)) {
            judged(random, &checklists);
        }
    });
    fn judged(random: &mut Random, checklists: &Checklists) {
        let choice = Choice { only: vec![], skip: vec![], level: Level::Deep, effect: Effect::Disrupts };
        if let Ok(plan) = Plan::new(checklists, &choice) {
            judge_and_report(checklists, &plan, random.pick(&OBSERVED), random.once_in(4));
        }
    }
}

/// Every expression of the shipped checklists, as it was written.
fn expressions() -> Vec<String> {
    let mut all = BTreeSet::new();
    let texts =
        CHECKLISTS.checks().flat_map(|(_, check)| std::iter::once(&check.title).chain(&check.found).chain(&check.next));
    all.extend(texts.flat_map(|text| text.value.expressions()).map(|expression| expression.text().to_string()));
    for (checklist, check) in CHECKLISTS.checks() {
        let loops = check.for_each.iter().map(|each| &each.list);
        let conditions =
            checklist.applies.iter().chain(&check.when).chain(check.expect.iter().map(|(_, expect)| expect));
        all.extend(conditions.chain(loops).map(|placed| placed.value.text().to_string()));
    }
    all.extend(CHECKLISTS.causes().flat_map(|(_, cause)| cause.expressions()).map(|one| one.text().to_string()));
    all.into_iter().collect()
}

#[test]
fn expressions_on_observations() {
    let corpus = expressions();
    let scopes: Vec<Scope> = OBSERVED.iter().map(scope_of).collect();
    fuzz("expressions", |random| {
        let mut changed = None;
        if random.once_in(8) {
            let mut observed = random.pick(&OBSERVED).clone();
            change_observations(random, &mut observed);
            changed = Some(scope_of(&observed));
        }
        for _ in 0..40 {
            let mut text = random.pick(&corpus).clone();
            for _ in 0..1 + random.small(5) {
                let other = random.pick(&corpus);
                text = mutate::expression(random, &text, other);
            }
            if random.once_in(20) {
                text = String::from_utf8_lossy(&mutate::bytes(random, text.as_bytes(), &[])).into_owned();
            }
            let scope = changed.as_ref().unwrap_or_else(|| random.pick(&scopes));
            let began = Instant::now();
            evaluate(&text, scope);
            assert!(began.elapsed() < INPUT_TIME * 4, "takes too long\n{text}");
        }
    });
}

fn scope_of(observations: &Observations) -> Scope {
    let scope = checklist::scope::of_node(&CHECKLISTS, observations, &BTreeMap::new());
    // The names of loops, so that what stands inside of one can be evaluated by itself.
    let mut inside = scope.extend();
    for (name, probe) in
        [("gpu", "gpus"), ("mount", "mounts"), ("m", "mounts"), ("g", "gpus"), ("d", "pci"), ("p", "processes")]
    {
        if let Some(element) = observations.plain.get(probe).and_then(|found| found.value.get(0)) {
            inside.set_json(name, element);
        }
    }
    inside
}

fn evaluate(text: &str, scope: &Scope) {
    let names = Names::new(&CHECKLISTS.schemas);
    if let Ok(text) = Text::parse(&format!("about {{{text}}} and {text}")) {
        text.check(&names);
        text.render(scope);
        let _ = text.argument(scope);
    }
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(mistake) => {
            assert!(mistake.offset <= text.chars().count(), "a mistake beyond the end of\n{text}");
            return;
        }
    };
    for mistake in expression.check_bool(&names) {
        assert!(mistake.offset <= text.chars().count(), "a mistake beyond the end of\n{text}");
    }
    let first = expression.holds(scope);
    assert_eq!(first, expression.holds(scope), "one expression, two answers\n{text}");
    let value = expression.value(scope).map(|value| (value.to_json(), value.text()));
    assert_eq!(value, expression.value(scope).map(|value| (value.to_json(), value.text())), "two values\n{text}");
    let _ = expression.items(scope);
    expression.readings(scope);
    if first == Ok(false) {
        for reading in expression.why_false(scope) {
            assert!(!reading.sentence.is_empty(), "an explanation without words\n{text}");
        }
    }
}

/// A recorded machine that can be spoilt: its copy, and what stands in each file.
struct Tree {
    folder: tempfile::TempDir,
    entries: Vec<(PathBuf, Entry)>,
    /// The positions of the entries by their names: a node has one `meminfo` and a hundred `vendor`.
    named: BTreeMap<std::ffi::OsString, Vec<usize>>,
    spoilt: Vec<PathBuf>,
}

#[derive(Clone)]
enum Entry {
    File(Vec<u8>),
    Link(PathBuf),
}

impl Tree {
    fn copy(machine: &Path) -> Tree {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree { folder, entries: Vec::new(), named: BTreeMap::new(), spoilt: Vec::new() };
        tree.add(machine, Path::new(""));
        for (at, (inside, _)) in tree.entries.iter().enumerate() {
            tree.named.entry(inside.file_name().unwrap().to_os_string()).or_default().push(at);
        }
        tree
    }

    fn add(&mut self, machine: &Path, inside: &Path) {
        fs::create_dir_all(self.folder.path().join(inside)).unwrap();
        let mut paths: Vec<PathBuf> =
            fs::read_dir(machine.join(inside)).unwrap().map(|one| one.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let inside = path.strip_prefix(machine).unwrap().to_path_buf();
            let kind = fs::symlink_metadata(&path).unwrap();
            if kind.is_dir() {
                self.add(machine, &inside);
                continue;
            }
            let entry = if kind.is_symlink() {
                Entry::Link(fs::read_link(&path).unwrap())
            } else {
                Entry::File(fs::read(&path).unwrap())
            };
            put(&self.folder.path().join(&inside), &entry);
            self.entries.push((inside, entry));
        }
    }

    /// Makes everything what it was.
    fn mend(&mut self) {
        for inside in std::mem::take(&mut self.spoilt) {
            let path = self.folder.path().join(&inside);
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                fs::remove_dir_all(&path).unwrap();
            } else {
                let _ = fs::remove_file(&path);
            }
            if let Some((_, entry)) = self.entries.iter().find(|(known, _)| *known == inside) {
                put(&path, entry);
            }
        }
    }

    /// Spoils some files.
    fn spoil(&mut self, random: &mut Random) {
        let most = if random.once_in(3) { self.entries.len() / 3 } else { 12 };
        for _ in 0..1 + random.small(most) {
            let named = self.named.values().nth(random.below(self.named.len())).unwrap();
            let (inside, entry) = self.entries[*random.pick(named)].clone();
            if inside == Path::new(OBSERVATIONS_FILE) {
                continue;
            }
            let path = self.folder.path().join(&inside);
            self.spoilt.push(inside.clone());
            let other = random.pick(&self.entries).1.clone();
            if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) {
                fs::remove_file(&path).unwrap();
            }
            match (random.below(40), entry, other) {
                (0, ..) => {}
                (1, ..) => fs::create_dir_all(&path).unwrap(),
                (2, ..) => drop(symlink(path.file_name().unwrap(), &path)),
                (3, _, other) => put(&path, &other),
                (4, ..) => drop(rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o644.into())),
                (5, entry, _) => {
                    put(&path, &entry);
                    self.add_one(random, &inside);
                }
                (_, Entry::File(bytes), Entry::File(other)) => {
                    put(&path, &Entry::File(mutate::bytes(random, &bytes, &[&other])));
                }
                (_, Entry::File(bytes), _) => put(&path, &Entry::File(mutate::bytes(random, &bytes, &[]))),
                (_, Entry::Link(target), _) => {
                    use std::os::unix::ffi::{OsStrExt, OsStringExt};
                    let target = mutate::bytes(random, target.as_os_str().as_bytes(), &[]);
                    let _ = symlink(PathBuf::from(std::ffi::OsString::from_vec(target)), &path);
                }
            }
        }
    }

    /// Puts something new beside `inside`, named almost like it.
    fn add_one(&mut self, random: &mut Random, inside: &Path) {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let (folder, name) = (inside.parent().unwrap(), inside.file_name().unwrap());
        let mut name = mutate::bytes(random, name.as_bytes(), &[]);
        name.retain(|byte| !matches!(byte, 0 | b'/'));
        name.truncate(200);
        let inside = folder.join(std::ffi::OsString::from_vec(name));
        let path = self.folder.path().join(&inside);
        if inside.file_name().is_some() && fs::symlink_metadata(&path).is_err() {
            self.spoilt.push(inside);
            match random.below(3) {
                0 => drop(fs::create_dir(&path)),
                1 => drop(fs::write(&path, mutate::bytes(random, b"1\n", &[]))),
                _ => drop(symlink(".", &path)),
            }
        }
    }
}

fn put(path: &Path, entry: &Entry) {
    // The folder may be something else just now.
    let _ = match entry {
        Entry::File(bytes) => fs::write(path, bytes),
        Entry::Link(target) => symlink(target, path),
    };
}

/// Asks every probe without arguments, and then what the checks ask.
fn observe(source: &Source) -> Observations {
    let mut observations = Observations::default();
    for probe in probe::PROBES.iter().filter(|probe| probe.arguments.is_none()) {
        let value = ask(probe, source);
        observations.plain.insert(probe.name.to_string(), Observation { value, took: Duration::ZERO });
    }
    observations
}

fn ask(probe: &Probe, source: &Source) -> Json {
    let value = (probe.ask)(source, &Json::Null, &Silent).unwrap_or_else(|absent| absent.to_json());
    let mut wrong = Vec::new();
    implausible(&value, &mut probe.name.to_string(), &mut wrong);
    assert!(wrong.is_empty(), "a value other than its name promises: {}", wrong.join(", "));
    value
}

/// Shares that may be more than the whole: of what was promised, and of a limit that does not hold for root.
const MORE_THAN_ALL: &[&str] = &["memory.committed_percent", "kernel.open_files.used_percent"];

/// Spans of time that may be less than nothing: what was changed in the future, a clock that is behind.
const LESS_THAN_NOTHING: &[&str] = &["age_seconds", "offset_seconds"];

/// Finds numbers that cannot be what their name says.
fn implausible(value: &Json, path: &mut String, wrong: &mut Vec<String>) {
    let length = path.len();
    match value {
        // A number that is none ("nan") reads as null.
        Json::Null => wrong.push(format!("{path} is null")),
        Json::String(text) if text.contains("the probe panicked") => wrong.push(format!("{path}: {text}")),
        Json::Array(items) => {
            path.push_str("[]");
            items.iter().for_each(|item| implausible(item, path, wrong));
        }
        Json::Object(fields) => {
            for (name, field) in fields {
                path.push('.');
                path.push_str(name);
                if let Some(number) = field.as_f64() {
                    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
                    let counts = ends(&["_bytes", "_count", "_seconds", "_mhz", "_gbps", "_mbps", "_w", "_pages"]);
                    let shares = ends(&["_percent", "_avg10", "_avg60", "_avg300"]);
                    if (counts && number < 0.0 && !LESS_THAN_NOTHING.contains(&name.as_str()))
                        || (shares && number < 0.0)
                        || (shares && number > 100.0 && !MORE_THAN_ALL.contains(&path.as_str()))
                    {
                        wrong.push(format!("{path} is {number}"));
                    }
                }
                implausible(field, path, wrong);
                path.truncate(length);
            }
        }
        _ => {}
    }
    path.truncate(length);
    wrong.truncate(3);
}

#[test]
fn files_of_proc_and_sys() {
    // One that is told by its difference from another is no whole tree, and differs little from that.
    let whole = machines().into_iter().filter(|machine| !is_based(machine));
    let trees: Vec<Mutex<Tree>> = whole.map(|machine| Mutex::new(Tree::copy(&machine))).collect();
    fuzz("files", |random| {
        let mut tree = random.pick(&trees).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        tree.mend();
        tree.spoil(random);
        let source = Source::rooted(tree.folder.path()).unwrap();
        let mut observations = observe(&source);
        if random.once_in(6) {
            assert_eq!(observations, observe(&source), "one machine, two observations");
        }
        if random.once_in(12) {
            observe_arguments(&PLAN, &CHECKLISTS, &BTreeMap::new(), &source, &mut observations);
            judge_and_report(&CHECKLISTS, &PLAN, &observations, false);
            no_pass_for_want_of(random, &mut observations);
        }
    });
}

/// Replaces what one probe answered by an absence: what reads it to decide must not pass.
fn no_pass_for_want_of(random: &mut Random, observations: &mut Observations) {
    let probes: Vec<String> = observations.plain.keys().cloned().collect();
    let probe = random.pick(&probes);
    let reason = *random.pick(&[Reason::Timeout, Reason::Failed, Reason::Denied, Reason::NotRecorded]);
    observations.plain.get_mut(probe).unwrap().value = Absent::new(reason, "as this test wants it").to_json();
    let outcomes = judge::judge(&CHECKLISTS, &PLAN.chosen, observations, &BTreeMap::new(), Readings::OfAll);
    let checks: BTreeMap<&str, _> = PLAN.chosen.iter().map(|(_, check)| (check.id.text.as_str(), check)).collect();
    for outcome in outcomes.iter().filter(|outcome| outcome.status == Status::Pass) {
        let check = checks[outcome.check.as_str()];
        for (_, expect) in &check.expect {
            let own = check.for_each.iter().any(|each| each.name.text == *probe);
            // Where one of several is enough, the others may be anything.
            let text = expect.value.text();
            let one_is_enough =
                ["||", "?", "!(", ".all(", ".exists(", ".filter("].iter().any(|sign| text.contains(sign));
            let reads = expect.value.reads(probe.as_str()) && !own;
            assert!(!reads || one_is_enough, "{} passes although {probe} is {reason}", check.id.text);
        }
    }
}

/// The recordings of machines whose commands and kernel logs are known.
fn recordings() -> Vec<(PathBuf, Json)> {
    let read = |machine: PathBuf| {
        let text = fs::read_to_string(machine.join(OBSERVATIONS_FILE)).unwrap_or_default();
        let recorded = serde_yaml::from_str::<Json>(&text).ok()?;
        Some((machine, recorded))
    };
    machines().into_iter().filter_map(read).collect()
}

#[test]
fn what_commands_print() {
    let recordings = recordings();
    let printed = |recorded: &Json| recorded["commands"].as_array().map_or(0, Vec::len);
    let recordings: Vec<_> = recordings.into_iter().filter(|(_, recorded)| printed(recorded) > 0).collect();
    fuzz("commands", |random| {
        let (machine, recorded) = random.pick(&recordings);
        let mut recorded = recorded.clone();
        let commands = recorded["commands"].as_array_mut().unwrap();
        let other = random.pick(commands)["stdout"].as_str().unwrap_or_default().to_string();
        for _ in 0..1 + random.small(commands.len()) {
            let at = random.below(commands.len());
            let command = &mut commands[at];
            let stdout = command["stdout"].as_str().unwrap_or_default().to_string();
            match serde_json::from_str::<Json>(&stdout) {
                Ok(mut printed) if random.once_in(2) => {
                    mutate::json(random, &mut printed);
                    command["stdout"] = printed.to_string().into();
                }
                _ => {
                    let bytes = mutate::bytes(random, stdout.as_bytes(), &[other.as_bytes()]);
                    command["stdout"] = String::from_utf8_lossy(&bytes).into();
                }
            }
            if random.once_in(8) {
                command["exit"] = json!(random.pick(&[0, 1, 2, 127, 255, -1]));
                command["stderr"] = String::from_utf8_lossy(&mutate::bytes(random, b"error: no\n", &[])).into();
            }
        }
        if let Some(sizes) = recorded["file_systems"].as_object_mut() {
            for size in sizes.values_mut().flat_map(|size| size.as_object_mut()).flat_map(|size| size.values_mut()) {
                if size.is_number() && random.once_in(4) {
                    *size = json!(*random.pick(&[0, 1, 4096, u64::from(u32::MAX), 1 << 40, u64::MAX / 2, u64::MAX]));
                }
            }
        }
        let Ok(recorded) = serde_json::from_value::<Recorded>(recorded) else { return };
        let source = Source::dead(machine, recorded);
        let mut observations = observe(&source);
        observe_arguments(&PLAN, &CHECKLISTS, &BTreeMap::new(), &source, &mut observations);
        judge_and_report(&CHECKLISTS, &PLAN, &observations, random.once_in(10));
        no_pass_for_want_of(random, &mut observations);
    });
}

/// Lines of the driver and the kernel, besides those of the recorded machines.
const LOG_LINES: &str = "\
[    0.000000] Linux version 6.8.0-45-generic (buildd@lcy02) #45-Ubuntu SMP
[   12.345678] nvidia: loading out-of-tree module taints kernel.
[   13.000001] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.90.07  Fri May 31 09:35:42 UTC 2024
[ 9000.100000] NVRM: Xid (PCI:0000:9c:00): 79, pid=4242, name=python3, GPU has fallen off the bus.
[ 9000.100001] NVRM: GPU 0000:9c:00.0: GPU has fallen off the bus.
[ 9001.000000] NVRM: Xid (PCI:0000:1b:00): 13, pid='<unknown>', name=<unknown>, Graphics Exception: ESR 0x404600=0x80000002
[ 9002.000000] nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 20034, Fatal, Link 33 LTSSM Fault Up
[ 9003.000000] NVRM: RmInitAdapter failed! (0x62:0x65:1908)
[ 9004.000000] NVRM: API mismatch: the client has the version 550.54.15, but
               NVRM: this kernel module has the version 550.90.07.
6,1234,9005000000,-;NVRM: Xid (PCI:0000:9c:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)
2026-01-21T00:01:17+00:00 node7 kernel: NVRM: Xid (PCI:0000:9c:00): 94, pid=1, name=x, Contained: SM (0x1).
Jan 21 00:01:17 node7 kernel: [ 77.0] EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0 (channel:0 slot:0)
1768953677.5 node7 kernel: pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0
";

#[test]
fn kernel_logs() {
    let recordings = recordings();
    let logs: Vec<String> =
        recordings.iter().filter_map(|(_, one)| one["kernel_log"].as_str().map(str::to_string)).collect();
    let folder = tempfile::tempdir().unwrap();
    for inside in ["dev", "proc", "var/log"] {
        fs::create_dir_all(folder.path().join(inside)).unwrap();
    }
    fs::write(folder.path().join("proc/uptime"), "43200.50 0.00\n").unwrap();
    let files = ["var/log/dmesg", "var/log/kern.log", "var/log/messages", "dev/kmsg"];
    let probe = probe::find("kernel_log").unwrap();
    fuzz("kernel_logs", |random| {
        for _ in 0..20 {
            let other = random.pick(&logs).as_bytes();
            let log = if random.once_in(2) { LOG_LINES.as_bytes() } else { other };
            let log = mutate::bytes(random, log, &[LOG_LINES.as_bytes(), other]);
            for file in files {
                let _ = fs::remove_file(folder.path().join(file));
            }
            let when = "2026-01-21T12:00:00Z".parse().unwrap();
            let mut recorded = Recorded { recorded: when, ..Recorded::default() };
            let which = random.below(files.len() + 1);
            let source = match files.get(which) {
                None => {
                    recorded.kernel_log = Some(String::from_utf8_lossy(&log).into_owned());
                    Source::dead(folder.path(), recorded)
                }
                Some(file) => {
                    fs::write(folder.path().join(file), &log).unwrap();
                    // Only of a live machine the kernel's own device is read.
                    if *file == "dev/kmsg" {
                        Source::rooted(folder.path()).unwrap()
                    } else {
                        Source::dead(folder.path(), recorded)
                    }
                }
            };
            let value = ask(probe, &source);
            assert_eq!(value, ask(probe, &source), "one log, two observations");
        }
    });
}

/// Changes what probes answered.
fn change_observations(random: &mut Random, observations: &mut Observations) {
    let names: Vec<String> = observations.plain.keys().cloned().collect();
    for _ in 0..1 + random.small(names.len()) {
        let name = random.pick(&names);
        mutate::json(random, &mut observations.plain.get_mut(name).unwrap().value);
    }
}

#[test]
fn snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot.json");
    fuzz("snapshots", |random| {
        let good = random.pick(&SNAPSHOTS);
        let bad = match random.below(4) {
            0 => mutate::bytes(random, good, &[good]),
            1 => {
                let mut value: Json = serde_json::from_slice(good).unwrap();
                mutate::json(random, &mut value);
                value.to_string().into_bytes()
            }
            _ => {
                let mut value: Json = serde_json::from_slice(good).unwrap();
                for (_, observation) in value["observations"]["plain"].as_object_mut().unwrap() {
                    if random.once_in(4) {
                        mutate::json(random, &mut observation["value"]);
                    }
                }
                value.to_string().into_bytes()
            }
        };
        fs::write(&path, bad).unwrap();
        match Snapshot::read(&path) {
            Err(said) => assert!(said.starts_with(path.to_str().unwrap()), "{said}"),
            Ok(mut snapshot) => {
                assert!(!snapshot.to_json().is_empty());
                judge_and_report(&CHECKLISTS, &PLAN, &snapshot.observations, random.once_in(4));
                no_pass_for_want_of_any(random, &mut snapshot.observations);
            }
        }
    });
    fn no_pass_for_want_of_any(random: &mut Random, observations: &mut Observations) {
        if !observations.plain.is_empty() {
            no_pass_for_want_of(random, observations);
        }
    }
}

#[test]
fn reports() {
    let from = |observations: &Observations| {
        let outcomes = judge::judge(&CHECKLISTS, &PLAN.chosen, observations, &BTreeMap::new(), Readings::OfAll);
        to_json(&report(&CHECKLISTS, observations, outcomes)).into_bytes()
    };
    let good: Vec<Vec<u8>> = OBSERVED.iter().map(from).collect();
    fuzz("reports", |random| {
        let report = random.pick(&good);
        let bad = if random.once_in(2) {
            mutate::bytes(random, report, &[report])
        } else {
            let mut value: Json = serde_json::from_slice(report).unwrap();
            mutate::json(random, &mut value);
            value.to_string().into_bytes()
        };
        if let Ok(report) = serde_json::from_slice::<Report>(&bad) {
            render(&report);
        }
    });
}
