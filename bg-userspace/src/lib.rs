//! bluegreen's userspace: the agent `bgd` and the command line `bgctl`.

pub mod agent;
pub mod api;
pub mod bgd;
pub mod boundary;
pub mod cli;
pub mod config;
pub mod datapath;
pub mod health;
pub mod journal;
pub mod maglev;
pub mod rollout;
