//! UDP: every datagram comes back with the server's name in front.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// Longest datagram, bytes.
const LONGEST: usize = 8192;

/// Answers until it is dropped.
pub(super) async fn serve(address: SocketAddr, name: String) -> Result<()> {
    let socket = UdpSocket::bind(address).await.with_context(|| format!("receive at {address}"))?;
    tokio::spawn(async move {
        let mut bytes = [0; LONGEST];
        loop {
            // An error is about an earlier answer that somebody refused.
            let Ok((length, peer)) = socket.recv_from(&mut bytes).await else { continue };
            let answer = [name.as_bytes(), b" ", &bytes[..length]].concat();
            if let Err(error) = socket.send_to(&answer, peer).await {
                eprintln!("streamer: {name} and {peer}: {error}");
            }
        }
    });
    Ok(())
}
