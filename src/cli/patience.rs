//! Touching what a person named on the command line, where it can be given up.
//!
//! Any path may lie on a dead server, and what sleeps there can neither be killed nor left: a process with one thread
//! in that state does not end. So another process touches each path first. When it does not come back, it is left
//! behind, and the path is named.

use super::Failure;
use crate::observe::own_path;
use crate::probe::mounts_under;
use crate::probe::subprocess;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::WaitOptions;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// How long a path may take to answer: as long as a mount may that is asked (design.md, "Observing safely").
const PATIENCE: Duration = Duration::from_secs(3);

/// How deep in a folder of checklists files are touched, and how many: what is beyond is touched only when it is read.
const MOST_FILES: usize = 1000;

/// Makes sure that files and folders that are to be read answer at all. Whether they can be read, their reader says.
pub(super) fn answer(paths: &[&Path]) -> Result<(), Failure> {
    // Standard input is no path.
    let paths: Vec<&Path> = paths.iter().copied().filter(|path| path.as_os_str() != "-").collect();
    match first_silent(&paths, &touch_to_read) {
        Some(at) => Err(Failure::bad_input(silent(paths[at], PATIENCE))),
        None => Ok(()),
    }
}

/// What to say of a file or folder that does not answer; nothing where it does.
pub(super) fn is_silent(path: &Path) -> Option<String> {
    first_silent(&[path], &touch_to_read).map(|_| silent(path, PATIENCE))
}

/// Asks something that reads files on its way; nothing where they do not answer.
pub(super) fn ask(question: &dyn Fn() -> Option<String>) -> Option<String> {
    let tell_answer = |tell: Tell| question().into_iter().for_each(|answer| tell(answer.as_bytes()));
    let Some(mut copy) = Copied::new(&tell_answer) else { return question() };
    let until = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    let done = loop {
        match copy.hear(until) {
            None => break false,
            Some(said) if said.is_empty() => break true,
            Some(said) => answer.extend(said),
        }
    };
    copy.end(done);
    String::from_utf8(answer).ok().filter(|answer| done && !answer.is_empty())
}

/// What to say of the folders that do not answer, into which these files are to be put.
pub(super) fn folders_answer(paths: &[&Path]) -> Vec<Option<String>> {
    let touch = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = fs::symlink_metadata(path);
        let _ = tempfile::Builder::new().prefix(".punchlist-").tempfile_in(folder);
    };
    let are_silent = all_silent(paths, &touch);
    paths.iter().enumerate().map(|(at, path)| are_silent.contains(&at).then(|| silent(path, PATIENCE))).collect()
}

/// Has another process put `content` into a file, within `limit`.
pub(super) fn write(path: &Path, content: String, limit: Duration) -> Result<(), Failure> {
    let not_started = |error| Failure::cannot_write(format!("cannot write {}: {error}", path.display()));
    // Its own process group: a Ctrl-C at the terminal, with which a person asks for the report, must not cost the file.
    let start = |program: PathBuf| {
        let mut command = Command::new(program);
        command.arg("write").arg(path).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    };
    let mut child = match start("/proc/self/exe".into()) {
        // Without /proc there is still the path that we were started by.
        Err(_) => own_path().and_then(start).map_err(not_started)?,
        Ok(child) => child,
    };
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let (sender, said) = channel();
    // On threads of their own: the other process may hang before it has read all.
    thread::Builder::new()
        .spawn(move || stdin.map(|mut stdin| stdin.write_all(content.as_bytes())))
        .map_err(not_started)?;
    let listen = move || {
        let mut text = String::new();
        let _ = stderr.map(|stderr| stderr.take(1 << 16).read_to_string(&mut text));
        let _ = sender.send(text);
    };
    thread::Builder::new().spawn(listen).map_err(not_started)?;
    // It ends right after it has closed its standard error.
    let Ok(text) = said.recv_timeout(limit) else {
        let _ = child.kill();
        return Err(Failure::cannot_write(silent(path, limit)));
    };
    let status = child.wait().map_err(not_started)?;
    match (status.success(), text.trim()) {
        (true, _) => Ok(()),
        (false, "") => Err(not_started(std::io::Error::other(status.to_string()))),
        (false, text) => Err(Failure { status: super::CANNOT_WRITE, message: text.to_string() }),
    }
}

fn silent(path: &Path, patience: Duration) -> String {
    let mount = mounts_under(path).map(|mount| format!("; it lies on {mount}")).unwrap_or_default();
    format!("{}: did not answer in {:.0} s{mount}", path.display(), patience.as_secs_f64())
}

/// The position of the first path that does not answer.
fn first_silent(paths: &[&Path], touch: &dyn Fn(&Path)) -> Option<usize> {
    if paths.is_empty() {
        return None;
    }
    let touch_all = |tell: Tell| {
        for path in paths {
            touch(path);
            tell(b".");
        }
    };
    // Where no process can be had, the paths are touched as they are read.
    let mut copy = Copied::new(&touch_all)?;
    let mut answered = 0;
    while answered < paths.len() {
        match copy.hear(Instant::now() + PATIENCE) {
            None => break,
            // It crashed: whoever reads the path will say why.
            Some(said) if said.is_empty() => answered = paths.len(),
            Some(said) => answered += said.len(),
        }
    }
    copy.end(answered == paths.len());
    (answered < paths.len()).then_some(answered)
}

/// Which paths do not answer. However many these are, that is known after twice the time that one may take.
fn all_silent(paths: &[&Path], touch: &dyn Fn(&Path)) -> Vec<usize> {
    let Some(first) = first_silent(paths, touch) else { return Vec::new() };
    let mut silent = vec![first];
    let each: Vec<(usize, Option<Copied>)> = (first + 1..paths.len())
        .map(|at| {
            let touch_one = |tell: Tell| {
                touch(paths[at]);
                tell(b".");
            };
            (at, Copied::new(&touch_one))
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    for (at, copy) in each {
        let Some(mut copy) = copy else { continue };
        let answered = copy.hear(until).is_some();
        copy.end(answered);
        if !answered {
            silent.push(at);
        }
    }
    silent
}

/// How a copy of this process tells something.
type Tell<'t> = &'t dyn Fn(&[u8]);

/// A copy of this process, and what it tells.
struct Copied {
    child: libc::pid_t,
    tells: File,
}

impl Copied {
    /// A copy that does `work` and ends. `work` is given a way to tell. Nothing where no process can be had.
    fn new(work: &dyn Fn(Tell)) -> Option<Copied> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).ok()?;
        // SAFETY: the only other thread waits for this one to end and holds no lock, so that the copy of this process may
        // do whatever this one may. It leaves without running anything of ours on its way out.
        match unsafe { libc::fork() } {
            -1 => None,
            0 => {
                let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
                // It may be left behind for ever: of all that is open it keeps its end of the pipe, as standard input.
                let null = File::options().write(true).open("/dev/null").ok();
                let _ = rustix::stdio::dup2_stdin(&writer);
                if let Some(null) = null {
                    let _ = (rustix::stdio::dup2_stdout(&null), rustix::stdio::dup2_stderr(&null));
                }
                subprocess::close_from(3);
                work(&|said| {
                    let _ = rustix::io::write(rustix::stdio::stdin(), said);
                });
                // SAFETY: this only ends the process.
                unsafe { libc::_exit(0) }
            }
            child => Some(Copied { child, tells: File::from(reader) }),
        }
    }

    /// What it tells next, nothing at its end; `None` when it has told nothing until then.
    fn hear(&mut self, until: Instant) -> Option<Vec<u8>> {
        let mut buffer = [0; 512];
        readable(&self.tells, until).then(|| match self.tells.read(&mut buffer) {
            Ok(count) => buffer[..count].to_vec(),
            Err(_) => Vec::new(),
        })
    }

    /// Waits for its end where it is done; else it is killed, and nobody waits for it.
    fn end(self, is_done: bool) {
        let Some(child) = rustix::process::Pid::from_raw(self.child) else { return };
        let options = if is_done { WaitOptions::empty() } else { WaitOptions::NOHANG };
        if !is_done {
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        }
        let _ = rustix::process::waitpid(Some(child), options);
    }
}

fn readable(file: &File, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            // Without a way to wait, the next call waits.
            Err(_) => return true,
            Ok(ready) => return ready > 0,
        }
    }
}

/// What reading will do: the file, or of a folder what stands in it.
fn touch_to_read(path: &Path) {
    let touch_file = |path: &Path| {
        // A pipe would keep us waiting, and its bytes are not ours to take.
        if fs::metadata(path).is_ok_and(|found| found.is_file()) {
            let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
            let opened = File::options().read(true).custom_flags(flags).open(path);
            let _ = opened.and_then(|mut file| file.read(&mut [0; 4096]));
        }
    };
    touch_file(path);
    let inside: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).take(MOST_FILES).collect();
    inside
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"))
        .for_each(|path| touch_file(path));
}
