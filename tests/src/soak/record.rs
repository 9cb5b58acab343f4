//! What became of one connection.

use serde::Serialize;
use std::net::SocketAddr;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Manner {
    /// A few blocks, and a decent end.
    Short,
    /// Blocks for as long as it lives.
    Stream,
    /// Opened in a drain; after the first block nothing but keepalive probes until the last one.
    Silent,
    /// Short, and its port is used again for the next one at once.
    Again,
    /// Ends in the middle of a block, with a RST.
    Abort,
    /// Gives up before the handshake is complete.
    Abandon,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By the client's wish, every byte right, FINs both ways.
    Kept,
    /// By the client's RST.
    Aborted,
    /// The client did not wait for the handshake.
    Abandoned,
    /// Another server answered.
    Moved(String),
    /// Reset, closed by the other side, a wrong byte, or no answer.
    Broken(String),
    /// No handshake came about.
    Unopened(String),
}

/// One connection, from before its SYN to after its end. Times are `CLOCK_REALTIME`, nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) manner: Manner,
    pub(super) client: SocketAddr,
    pub(super) vip: SocketAddr,
    /// Just before its first SYN.
    pub(super) began_ns: u64,
    /// When the handshake was complete.
    pub(super) opened_ns: Option<u64>,
    /// The host that introduced itself.
    pub(super) host: Option<String>,
    /// Just before the client ended it, by FIN or RST: what follows may be over before the client gets its turn.
    pub(super) cut_ns: Option<u64>,
    pub(super) ended_ns: u64,
    pub(super) end: End,
    /// Blocks that were answered rightly.
    pub(super) blocks: u64,
}

impl Record {
    /// Whether the client ended it otherwise than by FINs, so that RSTs follow.
    pub(super) fn ended_rudely(&self) -> bool {
        matches!(self.end, End::Aborted | End::Abandoned)
    }

    /// For people: what broke, when, between whom.
    pub(super) fn describe(&self) -> String {
        let what = match &self.end {
            End::Kept => "kept",
            End::Aborted => "aborted by the client",
            End::Abandoned => "abandoned by the client",
            End::Moved(what) | End::Broken(what) | End::Unopened(what) => what,
        };
        let host = self.host.as_deref().unwrap_or("nobody");
        format!(
            "{:?} connection of {} to {} with {host}, from {} to {}: {what}",
            self.manner, self.client, self.vip, self.began_ns, self.ended_ns
        )
    }
}
