//! Reads the command line, runs one command, exits with its status.

use std::process::exit;

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
