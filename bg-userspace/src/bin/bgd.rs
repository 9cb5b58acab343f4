//! `bgd`, the host agent; all of it is in the library, so that a test can run it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    bg_userspace::bgd::main()
}
