//! `streamer`: the small real server of the stream service, and a load of clients for it.

use anyhow::{Context, Result, bail};
use bg_tests::streamer::load::{Clients, Orders, Streams, run};
use bg_tests::streamer::serve::{Options, serve};
use bg_tests::streamer::tally::Tally;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Parser)]
#[command(about = "A stream service whose every byte is verified")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve streams. SIGUSR1 turns the health page over, SIGTERM ends it.
    Serve {
        /// Where to serve; may be given more than once.
        #[arg(long, required = true)]
        listen: Vec<SocketAddr>,
        /// Where to answer datagrams; may be given more than once.
        #[arg(long)]
        echo: Vec<SocketAddr>,
        /// Where to answer GET /health.
        #[arg(long)]
        health: Option<SocketAddr>,
        /// Its name, `blue-1`: the environment comes before the dash.
        #[arg(long)]
        name: String,
        /// The release that it pretends to be.
        #[arg(long, default_value = "v1")]
        version: String,
        /// Note each accepted connection here: nanoseconds since 1970, peer.
        #[arg(long)]
        log: Option<PathBuf>,
    },
    /// Hold long-lived streams, and open and close others, until told to stop. Reads orders from
    /// standard input, a line each: `speak` (the silent ones), `end blue`, `end green`, `stop`.
    Load {
        /// The service.
        #[arg(long)]
        target: SocketAddr,
        /// Long-lived connections.
        #[arg(long, default_value_t = 30)]
        connections: u32,
        /// Every third sends only keepalive probes, every 2 s, until it is told to speak.
        #[arg(long)]
        silent_third: bool,
        /// Addresses to come from, in turn.
        #[arg(long)]
        source: Vec<IpAddr>,
        /// Milliseconds between two blocks of a connection.
        #[arg(long, default_value_t = 100)]
        pace_ms: u64,
        /// Milliseconds between two short streams; 0 for none.
        #[arg(long, default_value_t = 250)]
        churn_ms: u64,
        /// Print the outcome as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Serve { listen, echo, health, name, version, log } => {
            serve(Options { listen, echo, health, name, version, log }).await
        }
        Command::Load { target, connections, silent_third, source, pace_ms, churn_ms, json } => {
            let streams = Streams {
                target,
                long_lived: connections,
                silent_third,
                pace: Duration::from_millis(pace_ms.max(1)),
                churn: (churn_ms > 0).then(|| Duration::from_millis(churn_ms)),
            };
            let clients = Clients { sources: source, streams: Some(streams), http: None };
            load(clients, json).await
        }
    }
}

async fn load(clients: Clients, json: bool) -> Result<()> {
    let (orders, receiver) = watch::channel(Orders::default());
    let tally = Arc::new(Tally::default());
    let clients = tokio::spawn(run(clients, Arc::clone(&tally), receiver));
    listen(&orders).await?;
    orders.send_modify(|orders| orders.stop = true);
    clients.await.context("the load failed")?;
    let fates = tally.fates();
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&fates)?)?;
    } else {
        writeln!(
            out,
            "opened {}, kept {}, moved {}, broken {}; {} blocks verified",
            fates.opened,
            fates.kept,
            fates.moved,
            fates.broken,
            tally.answered()
        )?;
    }
    for failure in tally.failures() {
        eprintln!("{} {}", failure.at_ns, failure.what);
    }
    if tally.failed() > 0 {
        bail!("{} failed", tally.failed());
    }
    Ok(())
}

/// Passes orders on until one of them, or SIGTERM or SIGINT, says stop.
async fn listen(orders: &watch::Sender<Orders>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut open = true;
    loop {
        let line = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            line = lines.next_line(), if open => line.context("read an order")?,
        };
        match line.as_deref() {
            Some("speak") => orders.send_modify(|orders| orders.speak = true),
            Some("end blue") => orders.send_modify(|orders| orders.end_blue = true),
            Some("end green") => orders.send_modify(|orders| orders.end_green = true),
            Some("stop") => return Ok(()),
            Some(other) => eprintln!("streamer: no such order: {other:?}"),
            None => open = false, // from now on a signal ends it
        }
    }
}
