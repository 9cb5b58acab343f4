//! What can be typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::{
    api::{DEFAULT_SOCKET, types::Environment},
    config,
};

/// Controls bgd, the bluegreen agent of this node.
#[derive(Debug, Parser)]
#[command(name = "bgctl", version, after_help = EXIT_CODES, infer_subcommands = false)]
pub(super) struct Args {
    /// The agent's control socket.
    #[arg(
        long,
        global = true,
        env = "BGCTL_SOCKET",
        default_value = DEFAULT_SOCKET,
        value_name = "PATH"
    )]
    pub(super) socket: PathBuf,

    /// How to print: for people, or as one JSON document.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,

    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done                     5  it was rolled back
  1  error                    6  no agent answers
  2  usage                    7  there is no such thing
  3  refused by a guard, or   8  somebody else was first
     for what the file says;
     nothing changed
  4  the wait ended, the operation goes on";

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every deployment, or one.
    Status {
        /// The deployment.
        deployment: Option<String>,
    },
    /// Make the idle environment live, for all services of a deployment at once.
    Flip(Flip),
    /// Go back: make the environment live again that was live before.
    Rollback(Rollback),
    /// Show, extend or finish the drain of the environment that was left.
    Drain(Drain),
    /// Show who did what to a deployment, when, why, and how it ended.
    History {
        /// The deployment.
        deployment: String,
        /// Show no more than the newest so many.
        #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
        limit: u16,
    },
    /// Have the agent read its configuration file again, and follow it without breaking a connection.
    Reload {
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Look after the configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Flip {
    /// The deployment.
    pub(super) deployment: String,
    /// The environment to make live; the idle one if absent.
    #[arg(long, value_parser = environment, value_name = "ENVIRONMENT")]
    pub(super) to: Option<Environment>,
    /// Give it only so many percent of the new connections; another flip raises that.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(super) share: Option<u8>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Override this guard; may be repeated.
    #[arg(long, value_name = "GUARD")]
    pub(super) force: Vec<String>,
    /// Wait no longer than this for a guard that needs only time.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(super) timeout: Option<Duration>,
    /// Do not wait for a guard that needs only time.
    #[arg(long, conflicts_with = "timeout")]
    pub(super) no_wait: bool,
    /// Only say whether it would be refused.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Rollback {
    /// The deployment.
    pub(super) deployment: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Override this guard; may be repeated.
    #[arg(long, value_name = "GUARD")]
    pub(super) force: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Drain {
    /// The deployment.
    pub(super) deployment: String,
    #[command(subcommand)]
    pub(super) act: Option<DrainAct>,
    /// Wait until the drain is over.
    #[arg(long, global = true)]
    pub(super) wait: bool,
    /// Wait no longer than this; implies --wait.
    #[arg(
        long,
        global = true,
        value_parser = humantime::parse_duration,
        value_name = "DURATION"
    )]
    pub(super) timeout: Option<Duration>,
    /// Why, for the record.
    #[arg(long, global = true, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum DrainAct {
    /// Show how the drain goes.
    Status,
    /// Move the deadline further away.
    Extend {
        /// By how much.
        #[arg(value_parser = whole_seconds)]
        by: Duration,
    },
    /// End the drain now; connections that are still open are closed.
    Finish,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say everything that is wrong with a file; changes nothing, needs no agent.
    Check {
        /// The file.
        #[arg(default_value = config::DEFAULT_PATH)]
        file: PathBuf,
    },
}

fn environment(text: &str) -> Result<Environment, String> {
    match text {
        "blue" => Ok(Environment::Blue),
        "green" => Ok(Environment::Green),
        _ => Err("the environments are blue and green".to_owned()),
    }
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.as_secs() == 0 || duration.subsec_nanos() != 0 {
        return Err("give whole seconds, at least one, such as 10m".to_owned());
    }
    Ok(duration)
}
