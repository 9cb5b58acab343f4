//! The demo: one deployment of two services under real load, switched to and fro, its agent killed
//! and started again, one drain brought to its end; and every promise checked by witnesses that are
//! not ours: kernels' counters, a capture, the servers' own logs.

mod acts;
mod arrivals;
mod chart;
mod events;
mod history;
pub(crate) mod line;
mod load;
mod run;
pub(crate) mod screen;
mod summary;
mod watch;
mod wrk;

pub use run::{Options, run};
pub use summary::Summary;
