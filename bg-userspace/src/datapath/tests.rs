//! A large configuration, installed into tables of plain memory.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use bg_common::control::Phase;
use bg_common::service::find_endpoint;
use bg_common::tables::Tables as _;

use super::Error;
use super::directory::{Directory, Live, address, finds};
use super::install::{initialise, install_new};
use super::layout::Sizes;
use super::maps::Maps;
use super::restore::Past;
use crate::config::{self, Config};
use crate::journal::Journal;

const SERVICES: usize = 1000;
/// Of each environment of a service.
const SHARE: usize = 5;

/// A deployment of so many services, each with a VIP of its own; backends are eight to a host, on ports in a row.
fn text(services: usize, limits: &str) -> String {
    let mut text = format!("[node]\ninterfaces = [\"eth0\"]\n[limits]\nsyn_memory = \"64KiB\"\n{limits}\n");
    for service in 0..services {
        let backends = |environment: usize| {
            let of = |nth: usize| {
                let number = (service * 2 + environment) * SHARE + nth;
                let (host, port) = (number / 8, 8080 + number % 8);
                format!("\"10.64.{}.{}:{port}\"", host / 256, host % 256)
            };
            (0..SHARE).map(of).collect::<Vec<_>>().join(", ")
        };
        let (third, last) = (service / 256, service % 256);
        write!(
            text,
            "[deployments.all.services.s{service}]\nvip = \"198.18.{third}.{last}:443\"\n\
             blue = [{}]\ngreen = [{}]\nring_size = 1021\n",
            backends(0),
            backends(1)
        )
        .unwrap();
    }
    text
}

fn read(text: &str) -> Result<Config, config::Error> {
    config::parse(Path::new("bgd.toml"), text)
}

fn install(config: &Config) -> (Maps, Result<(), Error>) {
    let sizes = Sizes::new(&config.limits);
    let maps = Maps::plain(&sizes);
    initialise(&maps, &sizes, [1, 2, 3, 4]);
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let installed = install_new(&maps, config, &Past::new(&journal, None));
    (maps, installed)
}

/// Whether what comes from there is found to be a reply.
fn answers(maps: &Maps, at: SocketAddr) -> bool {
    let mask = maps.endpoints.len() as u32 - 1;
    find_endpoint(&Live(maps), mask, &address(at.ip()), at.port().to_be_bytes(), 6).is_some()
}

/// With as many services as there may be by default; of backends the limit has to be raised, and the file says so.
#[test]
fn a_thousand_services_and_ten_thousand_backends_are_installed() {
    let problems = read(&text(SERVICES, "")).expect_err("more backends than by default").problems().to_vec();
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.help, "backends = 10000 or more, under [limits]");

    let config = read(&text(SERVICES, "backends = 10000")).unwrap();
    assert_eq!(config.limits.services, 1024, "the default");
    let (maps, installed) = install(&config);
    installed.unwrap();
    assert_eq!(maps.control(0).phase(), Phase::Steady);
    let services = &config.deployments["all"].services;
    for service in services.values() {
        assert!(finds(&maps, &service.vip, 6), "{}", service.vip);
        assert!(finds(&maps, &SocketAddr::new(service.vip.ip(), 0), 0), "the VIP {}", service.vip);
        for backend in service.blue.iter().chain(&service.green) {
            assert!(answers(&maps, backend.address), "{}", backend.address);
        }
    }
    let found = Directory::new(&maps).installed().remove(0);
    assert_eq!(found.services.len(), SERVICES);
    assert!(found.services.iter().all(|service| service.backends.len() == 2 * SHARE));
}

/// More than the tables were made for.
#[test]
fn what_does_not_fit_names_the_limit_to_raise() {
    let mut config = read(&text(100, "")).unwrap();
    for (limit, value, help) in [("services", 50, "raise services"), ("backends", 900, "raise backends")] {
        let before = config.limits;
        match limit {
            "services" => config.limits.services = value,
            _ => config.limits.backends = value,
        }
        let error = install(&config).1.expect_err(limit).to_string();
        assert!(error.contains(help), "{error}");
        config.limits = before;
    }
}
