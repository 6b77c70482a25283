//! Reads the command line, runs one command, exits with its status.

use std::process::exit;

/// Evaluating expressions asks for little pieces of memory all the time. With this a run takes two thirds of the time
/// that it takes with the allocator of glibc, and no more memory, as long as it may not use large pages (`no_thp`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // Expressions recurse, and the stack that the system gives the main thread can be anything.
    let work = std::thread::Builder::new().stack_size(punchlist::STACK_BYTES).spawn(punchlist::cli::main);
    let status = match work {
        Ok(work) => work.join().unwrap_or(punchlist::cli::SOFTWARE_ERROR),
        Err(error) => {
            eprintln!("punchlist: cannot start a thread: {error}");
            punchlist::cli::SOFTWARE_ERROR
        }
    };
    exit(status);
}
