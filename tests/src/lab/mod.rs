//! The laboratory: a client, a load-balancer node and backends in network namespaces of their own,
//! joined by veth pairs, and the programs that run in them. Everything that is made here is removed
//! again: on drop, on panic, on SIGINT and SIGTERM, and after a SIGKILL by the next run.

pub mod agent;
pub mod binaries;
pub mod bpf;
pub mod capture;
pub mod cleanup;
pub mod clock;
pub mod config;
pub mod counted;
pub mod datagrams;
pub mod direct;
pub mod disk;
mod enter;
pub mod fleet;
pub mod namespace;
pub mod nginx;
mod pass;
pub mod pcap;
pub mod process;
pub mod stage;
pub mod tables;
pub mod tag;
pub mod talk;
pub mod topology;
pub mod witness;
pub mod workdir;

pub use bg_userspace::api::types::Environment;

/// Blue's or green's name, as messages, files and servers spell it.
pub fn word(environment: Environment) -> &'static str {
    match environment {
        Environment::Blue => "blue",
        Environment::Green => "green",
    }
}

/// The other one of the two.
pub fn other(environment: Environment) -> Environment {
    match environment {
        Environment::Blue => Environment::Green,
        Environment::Green => Environment::Blue,
    }
}
