//! bluegreen's userspace: the agent `bgd` and the command line `bgctl`.

pub mod api;
pub mod cli;
pub mod config;
pub mod health;
