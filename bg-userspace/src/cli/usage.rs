//! Command lines that cannot be understood, and those that ask for help.

use std::ffi::OsString;

use super::{
    args::Format,
    exit::{Exit, Failure},
    output::Output,
};

/// Prints what clap has to say.
pub(super) fn report(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if error.use_stderr() && wants_json(arguments) {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        let next = Some("see bgctl --help".to_owned());
        let failure = Failure::new(Exit::Usage, "bad_request", message, next);
        return Output::new(Format::Json).failure(&failure);
    }
    // Whoever asked for help and did not wait for it needs no error.
    drop(error.print());
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// Whether JSON was asked for, in a command line that could not be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    let arguments: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let joined = ["-ojson", "-o=json", "--output=json"];
    let apart = |pair: &[&str]| matches!(pair, ["-o" | "--output", "json"]);
    arguments.iter().any(|argument| joined.contains(argument)) || arguments.windows(2).any(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_however_it_is_asked_for() {
        let wants = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["bgctl -o json x", "bgctl x -ojson", "bgctl --output=json", "b --output json"] {
            assert!(wants(line), "{line}");
        }
        for line in ["bgctl status", "bgctl -o table json", "bgctl json -o"] {
            assert!(!wants(line), "{line}");
        }
    }
}
