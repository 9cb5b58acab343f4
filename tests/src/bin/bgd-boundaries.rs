//! `bgd`, and nothing but `bgd`, with its boundaries watched: see `bg_tests::kill`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bg_tests::kill::watch::begin();
    bg_userspace::bgd::main()
}
