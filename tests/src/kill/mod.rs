//! Killing the agent where it hurts: at every boundary of what it does, by name, and not by luck.

pub mod acts;
pub mod ground;
pub mod held;
pub mod reboot;
mod slots;
mod streams;
pub mod trap;
pub mod watch;
