//! Mounts that take requests and never answer them, as those of a dead server do: who asks one sleeps in the kernel
//! and does not die of KILL. They stand in a mount namespace of the asking command alone, so that nothing else on this
//! machine ever meets them.

use rustix::event::{PollFd, PollFlags, poll};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

/// What `fuse.h` calls FUSE_INIT: the one request that has to be answered for the mount to come about.
const INIT: u32 = 26;

/// What it calls FUSE_ACCESS: may somebody be here? Going into the mount asks that; a server that does not know the question
/// is taken to allow it, so that a process can be there, as one is whose server died after it came.
const ACCESS: u32 = 34;

/// The version of the protocol that is spoken, major and minor: from Linux 5.1 on.
const VERSION: (u32, u32) = (7, 31);

/// Why this cannot be done here; nothing where it can.
pub fn impossible() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    if File::options().read(true).write(true).open("/dev/fuse").is_err() {
        return Some("needs /dev/fuse");
    }
    // SAFETY: the child only makes system calls and leaves.
    let allowed = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(i32::from(libc::unshare(libc::CLONE_NEWNS) != 0 || !private()));
        }
        let mut status = 0;
        libc::waitpid(child, &mut status, 0) == child && status == 0
    };
    if allowed { None } else { Some("may not mount anything here") }
}

/// Makes what is mounted from now on invisible to others.
fn private() -> bool {
    let (none, root) = (std::ptr::null(), c"/".as_ptr());
    // SAFETY: all arguments are texts that end with a zero, or none.
    unsafe { libc::mount(none, root, none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0 }
}

/// A dead server with one mount; who sleeps there wakes up when this goes away.
pub struct Hung {
    path: PathBuf,
    /// A connection for each time that it was mounted.
    devices: Mutex<Vec<OwnedFd>>,
    /// Closing both of these with the devices ends the connections.
    stop: (OwnedFd, OwnedFd),
}

impl Hung {
    /// What would be mounted at `path`, a folder.
    pub fn at(path: &Path) -> Hung {
        std::fs::create_dir_all(path).unwrap();
        let stop = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        Hung { path: path.to_path_buf(), devices: Mutex::default(), stop }
    }

    /// Mounts all of these for a command, and nobody else. The command is to be started once.
    pub fn mount(hung: &[Hung], command: &mut Command) {
        let mut mounts: Vec<(CString, CString)> = Vec::new();
        for one in hung {
            let mut device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
            mounts.push((CString::new(one.path.as_os_str().as_bytes()).unwrap(), CString::new(options).unwrap()));
            one.devices.lock().unwrap().push(device.try_clone().unwrap().into());
            let stop = one.stop.0.try_clone().unwrap();
            thread::spawn(move || serve(&mut device, &stop));
        }
        let mount = move || {
            let failed = || Err(std::io::Error::last_os_error());
            // SAFETY: only system calls, on texts that are already there.
            if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 || !private() {
                return failed();
            }
            for (path, options) in &mounts {
                let (source, kind) = (c"deadserver:/export", c"fuse.hung");
                // SAFETY: as above.
                let done =
                    unsafe { libc::mount(source.as_ptr(), path.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
                if done != 0 {
                    return failed();
                }
            }
            Ok(())
        };
        // SAFETY: see there.
        unsafe { command.pre_exec(mount) };
    }
}

/// Has a command start inside of a mount. It is to be mounted for it before.
pub fn enter(path: &Path, command: &mut Command) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: one system call, on a text that is already there.
    let go = move || match unsafe { libc::chdir(path.as_ptr()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: see there.
    unsafe { command.pre_exec(go) };
}

/// Answers the first request and takes all others, until the other end of `stop` is closed.
fn serve(device: &mut File, stop: &OwnedFd) {
    let mut request = vec![0; 1 << 17];
    loop {
        let mut polled = [PollFd::new(device, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        poll(&mut polled, None).unwrap();
        let [ready, stopped] = polled.map(|one| one.revents());
        if !stopped.is_empty() {
            return;
        }
        if !ready.contains(PollFlags::IN) {
            // Not mounted yet, or not any more.
            thread::sleep(std::time::Duration::from_millis(2));
            continue;
        }
        let Ok(count) = device.read(&mut request) else { continue };
        let number = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        if count >= 40 && number(4) == ACCESS {
            let mut answer = Vec::from(16u32.to_ne_bytes());
            answer.extend((-libc::ENOSYS).to_ne_bytes());
            answer.extend(&request[8..16]);
            let _ = device.write_all(&answer);
        }
        if count < 40 || number(4) != INIT {
            continue;
        }
        // struct fuse_out_header: length, error, unique; struct fuse_init_out: major, minor, max_readahead, flags, …,
        // max_write, … (64 bytes in all).
        let mut answer = Vec::from(80u32.to_ne_bytes());
        answer.extend(0i32.to_ne_bytes());
        answer.extend(&request[8..16]);
        for word in [VERSION.0, VERSION.1, 1 << 16, 0, 0, 1 << 16] {
            answer.extend(word.to_ne_bytes());
        }
        answer.resize(80, 0);
        let _ = device.write_all(&answer);
    }
}
