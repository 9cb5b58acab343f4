//! The end of a probe's connection. A socket that is closed with unread bytes in it sends an RST,
//! and so does one that gets bytes afterwards; both would look like broken connections to whoever
//! counts them. So our half is closed first, and the rest is read until the other side closes too.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// More than this is not read even for the sake of a clean end: the backend does not stop.
const MAX_BYTES: usize = 256 << 10;

/// Closes the connection in good order, as far as the other side lets it within `limit`.
pub(super) async fn close(mut stream: TcpStream, limit: Duration) {
    let end = async {
        // Fails only if the connection is gone already.
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut rest = [0; 4096];
        let mut total = 0;
        while let Ok(read @ 1..) = stream.read(&mut rest).await {
            total += read;
            if total > MAX_BYTES {
                return;
            }
        }
    };
    // Late or not, the stream is dropped now.
    let _elapsed = timeout(limit, end).await;
}
