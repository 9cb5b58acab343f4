//! HTTP through namespaces, beside what else one could put there: plain routing, nftables' DNAT with conntrack, and
//! `HAProxy` in TCP mode. All of it in one run and one topology, so that the machine's moods meet everybody;
//! `docs/performance.md` says how each is set up, and what the figures mean.

mod contender;
mod haproxy;
mod http;
mod nftables;
mod report;
mod run;
mod switch;

pub use contender::Contender;
pub use http::Traffic;
pub use report::{HttpRow, PeersReport, SwitchRow};
pub use run::{PeersOptions, run};
