//! Running a command so that it cannot hurt: no shell, its own process group, a deadline, bounded output.

use super::source::plain_io_text;
use crate::fact::{Absent, Reason};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
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
/// The longest wait between two looks at whether the command has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
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

/// Runs `argv`, inside `root` when there is one, and keeps at most `output_cap` bytes of each of its streams.
/// `started` hears its process group. Once it runs, this returns within `timeout` and a second, even when the
/// command cannot be killed.
pub fn run(
    argv: &[String],
    root: Option<&Path>,
    timeout: Duration,
    output_cap: usize,
    started: &dyn Fn(u32),
) -> Result<Output, Absent> {
    let began = Instant::now();
    let mut child = spawn(argv, root)?;
    let group = Pid::from_child(&child);
    started(child.id());

    let deadline = began + timeout.min(LONGEST);
    let mut stdout = Stream::new(child.stdout.take().map(OwnedFd::from), output_cap);
    let mut stderr = Stream::new(child.stderr.take().map(OwnedFd::from), output_cap);
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
    let status = child.wait().map_err(|error| Absent::failed(plain_io_text(&error)))?;
    Ok(Output {
        exit: status.code(),
        signal: status.signal(),
        truncated: stdout.truncated() || stderr.truncated(),
        stdout: stdout.kept,
        stderr: stderr.kept,
        took: began.elapsed(),
    })
}

fn spawn(argv: &[String], root: Option<&Path>) -> Result<Child, Absent> {
    let [program, arguments @ ..] = argv else {
        return Err(Absent::failed("no command was given"));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", PATH);
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
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

/// Whether the command has ended. It is not reaped yet, so that its number still stands for its process group.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None) | Err(Errno::INTR))
}

/// One stream of a command: the pipe while it is open, and what was kept of it.
struct Stream {
    pipe: Option<File>,
    kept: Vec<u8>,
    cap: usize,
    printed: u64,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>, cap: usize) -> Stream {
        Stream { pipe: pipe.map(File::from), kept: Vec::new(), cap, printed: 0 }
    }

    fn truncated(&self) -> bool {
        self.printed > self.kept.len() as u64
    }

    /// Reads what is there, once; what goes beyond the cap is dropped, so that the command is never blocked.
    fn read(&mut self, buffer: &mut [u8]) {
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(buffer) {
            Ok(count) if count > 0 => {
                let keep = count.min(self.cap - self.kept.len());
                self.kept.extend_from_slice(&buffer[..keep]);
                self.printed += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.pipe = None,
        }
    }
}

/// Waits until one of the streams has something, at most for `wait`, and reads it. Whether there was anything.
fn wait_and_read(streams: [&mut Stream; 2], wait: Duration) -> bool {
    let mut open: Vec<&mut Stream> = streams.into_iter().filter(|stream| stream.pipe.is_some()).collect();
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
        run(&argv, None, timeout, 1024, &|_| {})
    }

    fn shell(script: &str) -> Result<Output, Absent> {
        run_for(&["sh", "-c", script], Duration::from_secs(10))
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
        let output = shell("env | sort | grep -v -e ^HOME= -e ^_= -e ^PWD= -e ^SHLVL=; pwd; wc -c").unwrap();
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
    fn a_runaway_printer_is_killed() {
        let absent = run_for(&["yes"], Duration::from_secs(60)).unwrap_err();
        assert_eq!(absent, Absent::failed("`yes` printed more than 64 MiB"));
    }

    #[test]
    fn a_command_that_ignores_term_is_killed_and_reported_as_out_of_time() {
        let began = Instant::now();
        let group = std::cell::Cell::new(0);
        let argv = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"].map(str::to_string);
        let absent = run(&argv, None, Duration::from_millis(200), 1024, &|id| group.set(id)).unwrap_err();
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
