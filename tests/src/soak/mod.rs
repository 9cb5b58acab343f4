//! The soak: real clients of many manners open and hold connections for as long as one likes, while the
//! deployment is flipped, rolled back and stepped through canaries, backends fail and die and come back,
//! and the agent is killed and started again; at random, from a seed. Every byte is verified, and every
//! connection is held against where the kernel's own maps could have sent it.

mod client;
mod conductor;
mod crowd;
mod deck;
mod dice;
mod judge;
mod loss;
mod maps;
mod options;
mod outages;
mod ports;
mod progress;
mod record;
mod resets;
mod run;
mod stranger;
mod summary;
mod timeline;
mod told;
mod trouble;

pub use options::Options;
pub use run::run;
pub use summary::Summary;
