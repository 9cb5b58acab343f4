//! The configuration file: TOML, read strictly. What is wrong with it is said all at once, every
//! time with the line and with what would mend it; a file with a mistake yields no configuration.

#![forbid(unsafe_code)]

mod address;
mod backend;
mod check;
mod deployment;
mod error;
mod health;
mod node;
mod section;
mod types;
mod value;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use self::{
    error::{Error, Problem},
    types::{
        Affinity, Backend, Config, DEFAULT_WEIGHT, Deployment, Drain, Gate, Health, HealthKind, Limits, Mode,
        Node, OtherPorts, Prefix, Protocol, RINGS_PER_SERVICE, Service, XdpMode,
    },
};

/// Where the file is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/bluegreen/bgd.toml";

/// More than any sane file has; a device or a log given by mistake is not read to its end.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the file, and checks everything in it that can be checked without looking at the host.
pub fn load(path: &Path) -> Result<Config, Error> {
    let text = read(path).map_err(|source| Error::Read { file: path.to_owned(), source })?;
    parse(path, &text)
}

/// As [`load`], for a text that is here already; `file` is only a name for messages.
pub fn parse(file: &Path, text: &str) -> Result<Config, Error> {
    match check::config(text) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(Error::invalid(file, problems)),
    }
}

impl Config {
    /// A complete file with an explanation of every key, to start from.
    pub const fn example() -> &'static str {
        include_str!("example.toml")
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(std::io::Error::other("the file is larger than 16 MiB"));
    }
    Ok(text)
}
