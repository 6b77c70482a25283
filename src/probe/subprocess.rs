//! Running a command so that it cannot hurt: no shell, its own process group, a deadline, bounded output.

use super::source::plain_io_text;
use crate::fact::{Absent, Reason};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where commands are looked for: the system's own folders, whatever the user's PATH says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// After TERM, how long a command may take to end before it gets KILL.
const GRACE: Duration = Duration::from_millis(500);
/// After KILL, how long it is waited for. What sleeps in the kernel cannot be killed, and nobody waits for that.
const REAP: Duration = Duration::from_millis(500);
/// How long the output of a command that has ended is still read while a child of it holds the pipe.
const LINGER: Duration = Duration::from_millis(100);
/// The most a command may print before it is taken for a runaway, in bytes.
const FLOOD: u64 = 64 << 20;
/// What every stream may hold beside the room that commands share, in bytes: who prints little is not crowded out.
const FREE: usize = 4096;
/// The longest wait between two looks at whether the command has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What every pipe holds before writing to it blocks: a page (pipe(7)).
const LONGEST_INPUT: usize = 4096;
/// The longest timeout there is; a longer one would only overflow the clock.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How a command ended and what it printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status; `None` when a signal ended it.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, up to the cap.
    pub stdout: Vec<u8>,
    /// Standard error, up to the cap.
    pub stderr: Vec<u8>,
    /// Whether more was printed than the cap.
    pub truncated: bool,
    /// How long it ran.
    pub took: Duration,
}

/// How much is kept of what a command prints.
#[derive(Clone, Copy)]
pub struct Keep<'a> {
    /// Of each of its two streams, in bytes.
    pub each: usize,
    /// What it shares with other commands, if anything.
    pub room: Option<&'a Room>,
}

/// How much is kept of what several commands print together, in bytes. It is taken while they print: nobody knows how
/// many run at a time.
pub struct Room {
    size: usize,
    left: AtomicUsize,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(size: usize) -> Room {
        Room { size, left: AtomicUsize::new(size) }
    }

    /// Takes so many bytes of it, if they are there.
    pub fn take(&self, bytes: usize) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    /// Why there is no answer of a command that found no room.
    pub fn full(&self, argv: &[String]) -> Absent {
        Absent::failed(format!(
            "`{}`: what the commands of this run print has more than {} MiB together; keep less of each \
             (max_output_bytes)",
            argv.join(" "),
            self.size >> 20
        ))
    }
}

/// Runs `argv`, with `input` (at most 4 KiB, which every pipe holds) to read, inside `root` when there is one. `started`
/// hears its process group. Once it runs, this returns within `timeout` and a second, even when the command cannot be
/// killed.
pub fn run(
    argv: &[String],
    input: &[u8],
    root: Option<&Path>,
    timeout: Duration,
    keep: Keep,
    started: &dyn Fn(u32),
) -> Result<Output, Absent> {
    let began = Instant::now();
    look_after_children();
    let mut child = spawn(argv, input, root)?;
    let group = Pid::from_child(&child);
    started(child.id());

    let deadline = began + timeout.min(LONGEST);
    let mut stdout = Stream::new(child.stdout.take().map(OwnedFd::from), keep);
    let mut stderr = Stream::new(child.stderr.take().map(OwnedFd::from), keep);
    let mut ended: Option<Instant> = None;
    let mut sent: Option<(Signal, Instant)> = None;
    let mut given_up: Option<Absent> = None;
    let mut pause = Duration::from_millis(1);
    loop {
        let now = Instant::now();
        if ended.is_none() && has_ended(group) {
            ended = Some(now);
        }
        let open = stdout.pipe.is_some() || stderr.pipe.is_some();
        if ended.is_some_and(|at| !open || now >= at + LINGER) {
            break;
        }
        let signal = match sent {
            _ if ended.is_some() => None,
            None if stdout.printed + stderr.printed > FLOOD => {
                let text = format!("`{}` printed more than {} MiB", argv.join(" "), FLOOD >> 20);
                given_up = Some(Absent::failed(text));
                Some(Signal::KILL)
            }
            None if now >= deadline => {
                let text = format!("`{}` did not end in {} s", argv.join(" "), timeout.as_secs_f64());
                given_up = Some(Absent::new(Reason::Timeout, text));
                Some(Signal::TERM)
            }
            Some((Signal::TERM, at)) if now >= at + GRACE => Some(Signal::KILL),
            Some((Signal::KILL, at)) if now >= at + REAP => break,
            _ => None,
        };
        if let Some(signal) = signal {
            let _ = kill_process_group(group, signal);
            sent = Some((signal, now));
        }
        let wait = if sent.is_none() { pause.min(deadline.saturating_duration_since(now)) } else { pause };
        pause = if wait_and_read([&mut stdout, &mut stderr], wait) {
            Duration::from_millis(1)
        } else {
            (pause * 2).min(LOOK_AGAIN)
        };
    }
    if ended.is_some() {
        // Before the command itself is reaped: until then nobody else can have got its number.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if let Some(absent) = given_up {
        let _ = child.try_wait();
        return Err(absent);
    }
    if let Some(room) = keep.room.filter(|_| stdout.crowded_out || stderr.crowded_out) {
        let _ = child.try_wait();
        return Err(room.full(argv));
    }
    let status = child.wait().map_err(|error| Absent::failed(plain_io_text(&error)))?;
    Ok(Output {
        exit: status.code(),
        signal: status.signal(),
        truncated: stdout.truncated() || stderr.truncated(),
        stdout: std::mem::take(&mut stdout.kept),
        stderr: std::mem::take(&mut stderr.kept),
        took: began.elapsed(),
    })
}

/// Makes this process answer for everything that its commands start: what they leave behind becomes a child of this
/// process, and is ended with it. That is done when the first command is started; most runs start none.
fn look_after_children() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustix::process::set_child_subreaper(Pid::from_raw(1));
        // TERM comes from the supervisor, or from the kernel when there is no supervisor any more.
        let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM]) else { return };
        let _ = thread::Builder::new().spawn(move || {
            if signals.forever().next().is_some() {
                end_children();
                // Without taking anything apart: other threads may hang.
                // SAFETY: this only ends the process.
                unsafe { libc::_exit(128 + signal_hook::consts::SIGTERM) };
            }
        });
    });
}

/// Kills all processes that this one has started, and what those have started.
pub fn end_children() {
    // What is killed hands its own children on to us. A process that starts others faster than this is no command that
    // anybody wrote; nobody waits for that.
    for _ in 0..16 {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            let _ = rustix::process::kill_process(child, Signal::KILL);
            let _ = rustix::process::waitpid(Some(child), WaitOptions::NOHANG);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Closes every file from this number on. What may be left behind for ever must not keep open what somebody else waits
/// for: the pipe to the next command of a pipeline, the lock of a cron job.
pub fn close_from(first: i32) {
    // SAFETY: the caller has opened none of these files and so uses none.
    if unsafe { libc::syscall(libc::SYS_close_range, first, i32::MAX, 0) } == 0 {
        return;
    }
    // Before Linux 5.9.
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for file in open.into_iter().filter(|file| *file >= first) {
        // SAFETY: as above. The folder that was just read is among them, and closed already.
        unsafe { libc::close(file) };
    }
}

/// The children of this process; none where /proc does not tell.
fn children() -> Vec<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let texts: Vec<String> = texts.collect();
    // Kernels without CONFIG_PROC_CHILDREN, as that of RHEL 7, have no such list.
    if texts.is_empty() {
        return children_of(std::process::id());
    }
    let ids = texts.iter().flat_map(|text| text.split_whitespace()).filter_map(|id| id.parse().ok());
    ids.filter_map(Pid::from_raw).collect()
}

/// The processes that have this one for their parent, found among all (proc_pid_stat(5), field 4).
fn children_of(parent: u32) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |id: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok();
        // The name in brackets may hold anything, brackets too.
        let found = stat.and_then(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok());
        found == Some(parent)
    };
    ids.filter(is_child).filter_map(Pid::from_raw).collect()
}

fn spawn(argv: &[String], input: &[u8], root: Option<&Path>) -> Result<Child, Absent> {
    let [program, arguments @ ..] = argv else {
        return Err(Absent::failed("no command was given"));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", PATH);
    // Where a person's tools keep what is theirs, and where a site keeps its Slurm.
    for name in ["HOME", "SLURM_CONF"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .stdin(stdin(input).map_err(|error| Absent::failed(plain_io_text(&error)))?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // SAFETY: between fork and exec one system call is made. The thread that started the command waits for its end, so
    // the command outlives it only when the whole process is killed.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    match root {
        None => {
            command.current_dir("/");
        }
        Some(root) => {
            if !rustix::process::geteuid().is_root() {
                return Err(Absent::denied(format!("running `{program}` inside {} needs root", root.display())));
            }
            let path = CString::new(root.as_os_str().as_bytes())
                .map_err(|_| Absent::failed(format!("{}: a path with a zero byte", root.display())))?;
            // SAFETY: between fork and exec only two system calls are made, on memory that is already there.
            unsafe {
                command.pre_exec(move || {
                    rustix::process::chroot(path.as_c_str())?;
                    rustix::process::chdir(c"/")?;
                    Ok(())
                });
            }
        }
    }
    command.spawn().map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTDIR) => Absent::not_present(format!("`{program}` is not installed")),
        Some(Errno::ACCESS) => Absent::denied(format!("`{program}` may not be executed")),
        Some(Errno::PERM) => Absent::denied(format!("`{program}`: operation not permitted")),
        _ => Absent::failed(format!("`{program}` could not be started: {}", plain_io_text(&error))),
    })
}

/// What the command reads: nothing, or a pipe that is filled before it starts, so that nobody has to feed it.
fn stdin(input: &[u8]) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    if input.len() > LONGEST_INPUT {
        return Err(io::Error::other("longer input than a pipe is sure to hold"));
    }
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(input)?;
    Ok(Stdio::from(reader))
}

/// Whether the command has ended. It is not reaped yet, so that its number still stands for its process group.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None) | Err(Errno::INTR))
}

/// One stream of a command: the pipe while it is open, and what was kept of it.
struct Stream<'a> {
    pipe: Option<File>,
    kept: Vec<u8>,
    keep: Keep<'a>,
    /// Whether there was no room for it beside what other commands print.
    crowded_out: bool,
    printed: u64,
}

impl<'a> Stream<'a> {
    fn new(pipe: Option<OwnedFd>, keep: Keep<'a>) -> Stream<'a> {
        Stream { pipe: pipe.map(File::from), kept: Vec::new(), keep, crowded_out: false, printed: 0 }
    }

    fn truncated(&self) -> bool {
        self.printed > self.kept.len() as u64
    }

    /// Reads what is there, once; what goes beyond the cap is dropped, so that the command is never blocked.
    fn read(&mut self, buffer: &mut [u8]) {
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(buffer) {
            Ok(count) if count > 0 => {
                self.printed += count as u64;
                self.keep(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.pipe = None,
        }
    }

    /// Keeps what there is room for. What finds none gives back what it had: nobody can use half of it.
    fn keep(&mut self, printed: &[u8]) {
        let more = if self.crowded_out { 0 } else { printed.len().min(self.keep.each - self.kept.len()) };
        let counted = counted(self.kept.len() + more) - counted(self.kept.len());
        if self.keep.room.is_some_and(|room| !room.take(counted)) {
            self.crowded_out = true;
            self.give_back();
        } else {
            self.kept.extend_from_slice(&printed[..more]);
        }
    }

    fn give_back(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        if let Some(room) = self.keep.room {
            room.left.fetch_add(counted(kept.len()), Ordering::Relaxed);
        }
    }
}

impl Drop for Stream<'_> {
    /// What nobody has taken is no longer kept.
    fn drop(&mut self) {
        self.give_back();
    }
}

/// How much of so many bytes of a stream counts as kept.
fn counted(length: usize) -> usize {
    length.saturating_sub(FREE)
}

/// Waits until one of the streams has something, at most for `wait`, and reads it. Whether there was anything.
fn wait_and_read(streams: [&mut Stream<'_>; 2], wait: Duration) -> bool {
    let mut open: Vec<&mut Stream<'_>> = streams.into_iter().filter(|stream| stream.pipe.is_some()).collect();
    let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    let mut polled: Vec<PollFd> =
        open.iter().filter_map(|stream| stream.pipe.as_ref()).map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
    if let Err(error) = poll(&mut polled, Some(&timeout))
        && error != Errno::INTR
    {
        thread::sleep(wait);
    }
    let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
    let mut buffer = [0; 64 << 10];
    for (stream, _) in open.iter_mut().zip(&ready).filter(|(_, ready)| **ready) {
        stream.read(&mut buffer);
    }
    ready.contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_for(argv: &[&str], timeout: Duration) -> Result<Output, Absent> {
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        run(&argv, &[], None, timeout, Keep { each: 1024, room: None }, &|_| {})
    }

    fn shell(script: &str) -> Result<Output, Absent> {
        run_for(&["sh", "-c", script], Duration::from_secs(10))
    }

    #[test]
    fn children_are_found_with_and_without_a_list_of_them() {
        let mut child = Command::new("sleep").arg("10").spawn().unwrap();
        let pid = Pid::from_child(&child);
        for found in [children(), children_of(std::process::id())] {
            assert!(found.contains(&pid), "{found:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children_of(std::process::id()).contains(&pid));
    }

    #[test]
    fn both_streams_and_the_exit_status_come_back() {
        let output = shell("echo out; echo err >&2; exit 3").unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!((output.exit, output.signal, output.truncated), (Some(3), None, false));
        let killed = shell("kill -9 $$").unwrap();
        assert_eq!((killed.exit, killed.signal), (None, Some(9)));
    }

    #[test]
    fn a_command_sees_a_small_known_world() {
        let output =
            shell("env | sort | grep -v -e ^HOME= -e ^SLURM_CONF= -e ^_= -e ^PWD= -e ^SHLVL=; pwd; wc -c").unwrap();
        let expected = format!("LC_ALL=C\nPATH={PATH}\n/\n0\n");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn what_is_not_there_or_not_executable_is_told_apart() {
        let second = Duration::from_secs(1);
        let missing = run_for(&["no-such-tool-here"], second).unwrap_err();
        assert_eq!(missing, Absent::not_present("`no-such-tool-here` is not installed"));
        assert_eq!(run_for(&["/etc/passwd"], second).unwrap_err().reason, Reason::Denied);
        assert_eq!(run_for(&[], second).unwrap_err().reason, Reason::Failed);
    }

    #[test]
    fn output_beyond_the_cap_is_dropped_and_does_not_block_the_command() {
        let output = shell("head -c 1000000 /dev/zero; echo done >&2").unwrap();
        assert_eq!((output.stdout.len(), output.truncated, output.exit), (1024, true, Some(0)));
        assert_eq!(output.stderr, b"done\n");
    }

    #[test]
    fn what_finds_no_room_gives_back_what_it_had() {
        let room = Room::new(100);
        let print = |bytes: usize| {
            let argv = ["head", "-c", &bytes.to_string(), "/dev/zero"].map(str::to_string);
            let keep = Keep { each: 1 << 20, room: Some(&room) };
            run(&argv, &[], None, Duration::from_secs(10), keep, &|_| {}).map(|output| output.stdout.len())
        };
        assert_eq!(print(FREE + 60), Ok(FREE + 60));
        let crowded_out = print(FREE + 200_000).unwrap_err();
        assert!(crowded_out.detail.contains("max_output_bytes"), "{crowded_out:?}");
        assert_eq!((print(FREE), print(FREE + 40)), (Ok(FREE), Ok(FREE + 40)));
        assert!(print(FREE + 1).is_err());
    }

    #[test]
    fn a_command_reads_what_it_is_given_and_then_the_end() {
        let argv = ["wc", "-c"].map(str::to_string);
        let keep = Keep { each: 64, room: None };
        let output = run(&argv, b"12345", None, Duration::from_secs(10), keep, &|_| {}).unwrap();
        assert_eq!(output.stdout, b"5\n");
        let too_long = run(&argv, &[b'x'; 5000], None, Duration::from_secs(10), keep, &|_| {}).unwrap_err();
        assert_eq!(too_long.reason, Reason::Failed);
    }

    #[test]
    fn a_runaway_printer_is_killed() {
        let absent = run_for(&["yes"], Duration::from_secs(60)).unwrap_err();
        assert_eq!(absent, Absent::failed("`yes` printed more than 64 MiB"));
    }

    #[test]
    fn a_command_that_ignores_term_is_killed_and_reported_as_out_of_time() {
        let began = Instant::now();
        let group = std::cell::Cell::new(0);
        let keep = Keep { each: 1024, room: None };
        let argv = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"].map(str::to_string);
        let absent = run(&argv, &[], None, Duration::from_millis(200), keep, &|id| group.set(id)).unwrap_err();
        assert_eq!(
            absent,
            Absent::new(Reason::Timeout, "`sh -c trap '' TERM; while :; do sleep 1; done` did not end in 0.2 s")
        );
        assert!(began.elapsed() < Duration::from_millis(1700), "took {:?}", began.elapsed());
        assert!(!Path::new(&format!("/proc/{}", group.get())).exists(), "it was neither killed nor reaped");
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_keeps_nobody_waiting() {
        let began = Instant::now();
        let output = shell("echo early; sleep 30 &").unwrap();
        assert_eq!((output.stdout.as_slice(), output.exit), (&b"early\n"[..], Some(0)));
        assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
    }

    #[test]
    fn a_command_that_closes_its_streams_is_still_waited_for() {
        let output = shell("exec >&- 2>&-; sleep 0.2; exit 7").unwrap();
        assert_eq!(output.exit, Some(7));
        assert!(output.took >= Duration::from_millis(200));
    }
}
