//! The server: says who it is, turns bytes around, and keeps a log of whom it accepted.

use super::frame::{Banner, answer, framed, read};
use super::{echo, health};
use crate::lab::clock::realtime_ns;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Sender, channel};

/// What a server is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it serves streams.
    pub listen: Vec<SocketAddr>,
    /// Where it answers datagrams.
    pub echo: Vec<SocketAddr>,
    /// Where it answers `GET /health`.
    pub health: Option<SocketAddr>,
    /// Its name; what comes before the dash is its environment.
    pub name: String,
    /// The release that it pretends to be.
    pub version: String,
    /// Where it notes each accepted connection: time in nanoseconds, peer.
    pub log: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT. SIGUSR1 turns its health over.
pub async fn serve(options: Options) -> Result<()> {
    let (arrivals, mut arrived) = channel(64);
    for address in &options.listen {
        tokio::spawn(accept(bind(*address).await?, arrivals.clone()));
    }
    for address in &options.echo {
        echo::serve(*address, options.name.clone()).await?;
    }
    let healthy = Arc::new(AtomicBool::new(true));
    if let Some(address) = options.health {
        let listener = bind(address).await?;
        tokio::spawn(health::serve(listener, Arc::clone(&healthy)));
    }
    let mut log = match &options.log {
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            Some(file.with_context(|| format!("open the log {}", path.display()))?)
        }
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let mut toggle = signal(SignalKind::user_defined1()).context("catch SIGUSR1")?;
    let mut number = 0;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = toggle.recv() => {
                let was = healthy.fetch_xor(true, Ordering::Relaxed);
                eprintln!("streamer: {} now says that it is {}", options.name, if was { "ill" } else { "well" });
            }
            Some((stream, peer)) = arrived.recv() => {
                if let Some(log) = &mut log {
                    writeln!(log, "{} {peer}", realtime_ns()).context("write the log")?;
                }
                number += 1;
                tokio::spawn(connection(stream, peer, banner(&options, number)));
            }
        }
    }
}

async fn accept(listener: TcpListener, arrivals: Sender<(TcpStream, SocketAddr)>) {
    loop {
        match listener.accept().await {
            Ok(arrival) => {
                if arrivals.send(arrival).await.is_err() {
                    return;
                }
            }
            // The peer's doing, or a shortage that passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))
}

fn banner(options: &Options, number: u64) -> Banner {
    let environment = options.name.split('-').next().unwrap_or_default();
    Banner {
        environment: environment.to_owned(),
        version: options.version.clone(),
        name: options.name.clone(),
        number,
    }
}

async fn connection(mut stream: TcpStream, peer: SocketAddr, banner: Banner) {
    if let Err(error) = converse(&mut stream, &banner).await {
        eprintln!("streamer: {} and {peer}: {error}", banner.name);
    }
}

async fn converse(stream: &mut TcpStream, banner: &Banner) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(banner.line().as_bytes()).await?;
    while let Some(bytes) = read(stream).await? {
        let reply = framed(&answer(&banner.name, &bytes))?;
        stream.write_all(&reply).await?;
    }
    stream.shutdown().await?;
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}
