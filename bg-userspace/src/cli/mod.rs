//! The command line: it asks the agent, shows the answer, and says how it went with its exit code.
//! It decides nothing; a script that speaks HTTP to the socket can do the same.

#![forbid(unsafe_code)]

mod args;
mod check;
mod drain;
mod exit;
mod history;
mod output;
mod reload;
mod status;
mod switch;
mod text;
mod usage;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};

use self::{
    args::{Args, Command, ConfigCommand, Format},
    exit::{Exit, Failure},
    output::Output,
};
use crate::api::client::Client;

/// Runs `bgctl` with the arguments of the process.
pub fn main() -> ExitCode {
    run(&std::env::args_os().collect::<Vec<_>>()).into()
}

/// Checks a configuration file as `bgctl config check FILE` does; for `bgd check`.
pub fn check_config(file: &Path) -> ExitCode {
    let output = Output::new(Format::Table);
    finish(&output, check::run(&output, file)).into()
}

fn run(arguments: &[OsString]) -> Exit {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return usage::report(&error, arguments),
    };
    let output = Output::new(args.output);
    let client = Client::new(args.socket);
    let done = match args.command {
        Command::Status { deployment } => block_on(status::run(&output, &client, deployment)),
        Command::Flip(flip) => block_on(switch::flip(&output, &client, flip)),
        Command::Rollback(rollback) => block_on(switch::rollback(&output, &client, rollback)),
        Command::Drain(drain) => block_on(drain::run(&output, &client, drain)),
        Command::History { deployment, limit } => {
            block_on(history::run(&output, &client, &deployment, limit.into()))
        }
        Command::Reload { reason } => block_on(reload::run(&output, &client, reason)),
        Command::Config(ConfigCommand::Check { file }) => check::run(&output, &file),
        Command::Completion { shell } => completion(&output, shell),
    };
    finish(&output, done)
}

/// Runs a command that needs an agent.
fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::local(&format!("cannot start: {error}")))?;
    runtime.block_on(command)
}

fn completion(output: &Output, shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "bgctl", &mut script);
    let script = String::from_utf8_lossy(&script);
    output.answer(&serde_json::json!({ "shell": shell.to_string(), "script": script }), || {
        script.trim_end().to_owned()
    })?;
    Ok(Exit::Done)
}

fn finish(output: &Output, done: Result<Exit, Failure>) -> Exit {
    done.unwrap_or_else(|failure| output.failure(&failure))
}
