//! The server's health page: 200, or 503 while it is told to look ill.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LONGEST_REQUEST: usize = 8 * 1024;

/// Answers every request on `listener` for as long as the runtime lives.
pub(super) async fn serve(listener: TcpListener, healthy: Arc<AtomicBool>) {
    loop {
        // A failed accept is the peer's doing, or a shortage that passes.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let healthy = Arc::clone(&healthy);
        tokio::spawn(async move {
            let answer = tokio::time::timeout(Duration::from_secs(5), respond(stream, &healthy));
            if let Ok(Err(error)) = answer.await {
                report(peer, &error);
            }
        });
    }
}

async fn respond(mut stream: TcpStream, healthy: &AtomicBool) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 || request.len() > LONGEST_REQUEST {
            return Ok(()); // no request; a bare TCP check, perhaps
        }
    }
    let known = [&b"GET /health "[..], b"GET /ready "];
    let status = if !known.iter().any(|start| request.starts_with(start)) {
        "404 Not Found"
    } else if healthy.load(Ordering::Relaxed) {
        "200 OK"
    } else {
        "503 Service Unavailable"
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await?;
    // Read what is left, so that closing sends no RST.
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

fn report(peer: SocketAddr, error: &std::io::Error) {
    eprintln!("streamer: health check from {peer}: {error}");
}
