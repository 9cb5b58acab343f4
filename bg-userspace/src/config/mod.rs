//! The configuration file: TOML, read strictly. What is wrong with it is said all at once, every
//! time with the line and with what would mend it; a file with a mistake yields no configuration.

#![forbid(unsafe_code)]

mod types;

pub use self::types::{
    Config, Deployment, Drain, Gate, Health, HealthKind, Limits, Mode, Node, OtherPorts, Prefix,
    Protocol, RINGS_PER_SERVICE, Service, XdpMode,
};
