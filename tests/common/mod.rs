//! What several tests need: recorded machines, and how the binary is run on one.

#![allow(dead_code, reason = "each test uses a part of it")]

use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
pub mod hung;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

/// The file that makes a machine "as that one, but …".
const BASE: &str = "base.yaml";

/// What [`BASE`] says. The other files of the folder lie over those of the base.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    /// The machine it is like, which may have a base of its own.
    base: String,
    /// Files and folders of the base that it lacks.
    #[serde(default)]
    remove: Vec<String>,
    /// Files of the base in which a text is replaced: path, text, other text. Each text has to be there once.
    #[serde(default)]
    edit: BTreeMap<String, BTreeMap<String, String>>,
    /// Files of the base that go on: path and what is appended.
    #[serde(default)]
    append: BTreeMap<String, String>,
    /// Files with their contents, for those that are a line or two.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Symbolic links with their targets.
    #[serde(default)]
    links: BTreeMap<String, String>,
    /// How deep a run has to look to see what is wrong with it.
    level: Option<String>,
}

/// The level of runs on a machine, where its [`BASE`] says one.
pub fn level(machine: &Path) -> Option<String> {
    let text = fs::read_to_string(machine.join(BASE)).ok()?;
    serde_yaml::from_str::<Base>(&text).ok()?.level
}

/// Says that a test is left out here, and why: to whoever reads its output, and to `tests/run`, which lists it.
pub fn left_out(test: &str, why: &str) {
    eprintln!("left out: {test}: {why}");
    if let Some(list) = std::env::var_os("PUNCHLIST_TESTS_LEFT_OUT") {
        let mut list = std::fs::File::options().append(true).create(true).open(list).unwrap();
        writeln!(list, "{test}: {why}").unwrap();
    }
}

/// Every recorded machine, by its folder.
pub fn machines() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines");
    let mut machines: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    machines.sort();
    machines
}

/// Whether a machine is told by its difference from another.
pub fn is_based(machine: &Path) -> bool {
    machine.join(BASE).exists()
}

/// The whole tree of one recorded machine: its folder, or, where that only says what differs from another machine, a
/// tree that is put together for this test program.
pub fn machine(name: &str) -> PathBuf {
    static KNOWN: OnceLock<Mutex<BTreeMap<String, PathBuf>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    assembled(name, &mut known, &mut BTreeSet::new())
}

fn assembled(name: &str, known: &mut BTreeMap<String, PathBuf>, seen: &mut BTreeSet<String>) -> PathBuf {
    if let Some(tree) = known.get(name) {
        return tree.clone();
    }
    assert!(seen.insert(name.to_string()), "{name} is a base of itself");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(name);
    if !is_based(&folder) {
        assert!(folder.is_dir(), "there is no machine {name}");
        return folder;
    }
    let text = fs::read_to_string(folder.join(BASE)).unwrap();
    let base: Base = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}/{BASE}: {error}"));
    let under = assembled(&base.base, known, seen);
    // Test programs may run at the same time, each with a tree of its own.
    let program = std::env::current_exe().unwrap();
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join(program.file_stem().unwrap()).join(name);
    if tree.exists() {
        fs::remove_dir_all(&tree).unwrap();
    }
    copy(&under, &tree);
    for path in &base.remove {
        let path_there = tree.join(path);
        let found = fs::symlink_metadata(&path_there).unwrap_or_else(|_| panic!("{name}: the base has no {path}"));
        if found.is_dir() { fs::remove_dir_all(&path_there) } else { fs::remove_file(&path_there) }.unwrap();
    }
    for (path, changes) in &base.edit {
        let mut text = fs::read_to_string(tree.join(path)).unwrap_or_else(|_| panic!("{name}: the base has no {path}"));
        for (from, to) in changes {
            assert_eq!(text.matches(from.as_str()).count(), 1, "{name}: how often {path} has `{from}`");
            text = text.replacen(from, to, 1);
        }
        put(&tree.join(path), &text);
    }
    for (path, more) in &base.append {
        let text = fs::read_to_string(tree.join(path)).unwrap_or_else(|_| panic!("{name}: the base has no {path}"));
        put(&tree.join(path), &(text + more));
    }
    for (path, text) in &base.files {
        put(&tree.join(path), text);
    }
    for (path, target) in &base.links {
        let link = tree.join(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link).unwrap();
    }
    copy(&folder, &tree);
    known.insert(name.to_string(), tree.clone());
    tree
}

/// Writes a file anew: what was there may be the very file of another machine.
fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
}

/// Lays the files of one folder over another.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (here, there) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&here, &there);
        } else if entry.file_name() != BASE && entry.file_name() != "expected.txt" {
            let _ = fs::remove_file(&there);
            if kind.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(&here).unwrap(), &there).unwrap();
            } else if fs::hard_link(&here, &there).is_err() {
                fs::copy(&here, &there).unwrap();
            }
        }
    }
}

/// The stand-in for NVIDIA's library, which cargo builds beside the tests.
pub fn nvml_stand_in() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let library = here.with_file_name("libnvidia_ml_stand_in.so");
    assert!(library.exists(), "{} was not built", library.display());
    library
}

/// `punchlist COMMAND` on a recorded machine; one with an `nvml.yaml` has a driver, for which the stand-in speaks.
pub fn punchlist_on(machine: &Path, command: &str) -> Command {
    let whole = match is_based(machine) {
        true => self::machine(&machine.file_name().unwrap().to_string_lossy()),
        false => machine.to_path_buf(),
    };
    let mut punchlist = Command::new(env!("CARGO_BIN_EXE_punchlist"));
    punchlist.args([command, "--root"]).arg(&whole).env("NO_COLOR", "1");
    if command == "run"
        && let Some(level) = level(machine)
    {
        punchlist.args(["--level", &level]);
    }
    let nvml = whole.join("nvml.yaml");
    if nvml.exists() {
        punchlist.arg("--nvml").arg(nvml_stand_in()).env("PUNCHLIST_NVML_STAND_IN", nvml);
        // Root loads no library that is somebody else's, and in a CI's container the checkout often is.
        let owner = std::fs::metadata(env!("CARGO_MANIFEST_DIR")).unwrap();
        punchlist.env("SUDO_UID", std::os::unix::fs::MetadataExt::uid(&owner).to_string());
    }
    punchlist
}

/// The outcomes of a report in JSON, one for each check and subject and each with all its fields: what passed or does
/// not apply stands there put together (see src/report/stored.rs).
pub fn outcomes(report: &Json) -> Vec<Json> {
    fn listed(report: &Json, place: &Json) -> Json {
        let mut subject = report["subjects"][place.as_u64().unwrap() as usize].clone();
        if subject["parent"].is_u64() {
            subject["parent"] = listed(report, &subject["parent"]);
        }
        subject
    }
    let mut all = Vec::new();
    for entry in report["outcomes"].as_array().unwrap() {
        let absent = entry["reason"]["absent"].as_str().map(|word| match entry["reason"]["detail"].as_str() {
            None => word.replace('_', " "),
            Some(detail) => format!("{}: {detail}", word.replace('_', " ")),
        });
        let message = entry["message"].as_str().map(str::to_string).or(absent);
        let mut whole = entry.clone();
        let id = entry["check"].as_str().or(entry["checks"][0].as_str()).unwrap();
        if entry["checklist"].is_null() {
            whole["checklist"] = id.split('.').next().unwrap().into();
        }
        whole["message"] = message.map_or(entry["title"].clone(), Json::from);
        let fields = whole.as_object_mut().unwrap();
        let each = fields.remove("values_of_each");
        let checks = match fields.remove("checks") {
            Some(checks) => checks.as_array().unwrap().clone(),
            None => vec![entry["check"].clone()],
        };
        let subjects: Vec<Json> = match (fields.remove("subjects"), &entry["subject"]) {
            (Some(places), _) => places.as_array().unwrap().iter().map(|place| listed(report, place)).collect(),
            (None, Json::Null) => vec![serde_json::json!({ "kind": "node" })],
            (None, subject) => vec![subject.clone()],
        };
        for check in &checks {
            for (number, subject) in subjects.iter().enumerate() {
                let mut one = whole.clone();
                one["check"] = check.clone();
                one["subject"] = subject.clone();
                for (name, values) in each.iter().filter_map(Json::as_object).flatten() {
                    one["values"][name] = values[number].clone();
                }
                all.push(one);
            }
        }
    }
    all
}

/// Does something with each of these, on as many threads as there are processors; what comes of it is in no order.
pub fn in_parallel<T: Sync, R: Send>(all: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let some_of_them = || {
        let others = std::iter::from_fn(|| all.get(next.fetch_add(1, Ordering::Relaxed)));
        others.map(&each).collect::<Vec<R>>()
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(some_of_them)).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Makes system calls with these numbers answer `error`, for this command and all that it starts (seccomp(2)).
pub fn refuse(command: &mut Command, numbers: Vec<u32>, error: i32) {
    use std::os::unix::process::CommandExt;
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number of the call is the first word of struct seccomp_data.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for number in numbers {
        program.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number));
        program.push(statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let install = move || {
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: two system calls; the filter outlives them.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: see there.
    unsafe { command.pre_exec(install) };
}
