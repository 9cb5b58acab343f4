//! `bgd`, the host agent: its command line, and what runs while it runs.

#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;

use crate::agent::{self, Agent, Inbox, Start};
use crate::datapath::{self, Datapath};
use crate::journal::Journal;
use crate::{api, config, health};

/// Switches services between their blue and green environments. Stopping it does not stop traffic.
#[derive(Parser)]
#[command(name = "bgd", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, short, default_value = "/etc/bluegreen/bgd.toml", global = true, env = "BGD_CONFIG")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Run the agent (the default).
    Run,
    /// Check the configuration file, and nothing else.
    Check,
    /// End this node's duty: remove VIPs, program and pins. Traffic stops.
    Detach,
}

/// Runs `bgd` with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                // A newer kernel's netlink attributes are no news for an operator.
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,netlink_packet_route=error")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let done = match arguments.command {
        Some(Command::Check) => return crate::cli::check_config(&arguments.config),
        Some(Command::Detach) => detach(&arguments.config),
        Some(Command::Run) | None => run(&arguments.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bgd: {}", story(&error));
            ExitCode::FAILURE
        }
    }
}

/// What went wrong and why, without saying anything twice: some of our errors name their cause themselves.
fn story(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |story, cause| {
        if story.is_empty() {
            cause
        } else if story.contains(&cause) {
            story
        } else {
            format!("{story}: {cause}")
        }
    })
}

#[tokio::main(worker_threads = 2)]
async fn detach(file: &Path) -> anyhow::Result<()> {
    agent::detach(&config::load(file)?, &api::Who::this_process()).await?;
    info!("detached: the program, its maps and the VIPs are gone");
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn run(file: &Path) -> anyhow::Result<()> {
    let config = config::load(file)?;
    datapath::require_rights()?;
    // Refused here, nothing has been touched.
    let (journal, record) = Journal::open(&config.node.state_dir)?;
    // The watch is open before anything is looked up, so that no change falls in between.
    let routes = datapath::watch()?;
    let opened = Datapath::open(&config, &journal, record.as_ref()).await?;
    let (report, reports) = mpsc::channel(1024);
    let (handle, calls) = mpsc::channel(64);
    let socket = config.node.socket.clone();
    let agent = Agent::new(Start {
        opened,
        journal: (journal, record),
        file: file.to_owned(),
        config,
        checks: Box::new(move |deployments, config| {
            health::spawn(agent::targets(deployments, config), report.clone())
        }),
    })?;
    let (reload, reloads) = mpsc::channel(1);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let waits = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ended = stopped.wait_for(|stop| *stop).await.is_ok();
    };
    let mut agent =
        tokio::spawn(agent.run(Inbox { calls, reports, routes, reloads }, waits(stopped.clone())));
    let listener = api::Listener::bind(&socket)?;
    let mut server = tokio::spawn(listener.serve(handle, waits(stopped)));
    info!(socket = %socket.display(), "bgd: ready");
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            outcome = tokio::signal::ctrl_c() => {
                outcome.context("listening for SIGINT")?;
                break;
            }
            // One that is waiting already covers this one too.
            _ = hangup.recv() => drop(reload.try_send(())),
            outcome = &mut server => return outcome.context("the control API stopped"),
            outcome = &mut agent => return outcome.context("the agent's task stopped"),
        }
    }
    stop.send_replace(true);
    agent.await.context("stopping the agent")?;
    server.await.context("stopping the control API")
}
