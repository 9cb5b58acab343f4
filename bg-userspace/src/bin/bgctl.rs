//! `bgctl`, the command line of the agent; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bg_userspace::cli::main()
}
