//! nginx on every backend: configuration, process, access log.

use super::fleet::{Accepted, release};
use super::process::Process;
use super::topology::{Backend, Topology};
use super::word;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where every nginx serves.
pub const HTTP_PORT: u16 = 8080;

/// Starts an nginx on every backend, in the order of the topology.
pub fn start(topology: &Topology) -> Result<Vec<Process>> {
    let backends = topology.backends.iter();
    backends.map(|backend| start_one(topology, backend)).collect()
}

fn start_one(topology: &Topology, backend: &Backend) -> Result<Process> {
    let home = topology.workdir.join(format!("nginx-{}", backend.name));
    fs::create_dir(&home).with_context(|| format!("make {}", home.display()))?;
    let file = home.join("nginx.conf");
    fs::write(&file, configuration(&home, backend)).with_context(|| format!("write {}", file.display()))?;
    let mut command = Command::new("nginx");
    command
        .args(["-e", "stderr", "-p"])
        .arg(&home)
        .arg("-c")
        .arg(&file)
        .stderr(topology.workdir.log(&format!("nginx-{}.err", backend.name))?);
    Process::spawn(&format!("nginx {}", backend.name), command, Some(&backend.namespace))
        .context("is nginx installed?")
}

/// One process in the foreground, so that it dies when it is told to. The log is buffered, because
/// a write per request would be most of the server's work; health checks stay out of it.
fn configuration(home: &Path, backend: &Backend) -> String {
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {home}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
    log_format times '$msec $connection_time $remote_addr:$remote_port $connection_requests $status';
    access_log {log} times buffer=16k flush=200ms;
    keepalive_requests 500;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    default_type text/plain;
    server {{
        listen {address}:{HTTP_PORT} backlog=1024;
        location / {{ return 200 '{environment} {release} {name}\\n'; }}
        location = /health {{ access_log off; return 200; }}
        location = /ready {{ access_log off; return 200; }}
    }}
}}
",
        home = home.display(),
        log = home.join("access.log").display(),
        address = backend.address,
        environment = word(backend.environment),
        release = release(backend.environment),
        name = backend.name,
    )
}

/// Follows the access log of one backend.
pub struct AccessLog {
    backend_environment: super::Environment,
    path: PathBuf,
    read: u64,
    rest: String,
    /// Connections, by their first request.
    pub accepted: Vec<Accepted>,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were answered with anything but 200.
    pub refused: u64,
}

impl AccessLog {
    /// The log of every backend of the topology.
    pub fn all(topology: &Topology) -> Vec<Self> {
        let follow = |backend: &Backend| Self {
            backend_environment: backend.environment,
            path: topology.workdir.join(format!("nginx-{}/access.log", backend.name)),
            read: 0,
            rest: String::new(),
            accepted: Vec::new(),
            requests: 0,
            refused: 0,
        };
        topology.backends.iter().map(follow).collect()
    }

    /// Whose log it is.
    pub fn environment(&self) -> super::Environment {
        self.backend_environment
    }

    /// Reads what was added; `each` is told of every request when it ended, milliseconds since 1970.
    pub fn follow(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let mut file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context("open an access log"),
        };
        file.seek(SeekFrom::Start(self.read)).context("seek in an access log")?;
        let mut text = std::mem::take(&mut self.rest);
        let added = file.read_to_string(&mut text).context("read an access log")?;
        self.read += added as u64;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            each(self.line(line)?);
        }
        text[whole..].clone_into(&mut self.rest);
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<u64> {
        let request = parse(line).with_context(|| format!("{}: {line:?}", self.path.display()))?;
        ensure!(request.number > 0, "a request without number: {line:?}");
        self.requests += 1;
        self.refused += u64::from(request.status != 200);
        if request.number == 1 {
            self.accepted.push(Accepted {
                at_ns: request.accepted_ns,
                client: request.client,
                environment: self.backend_environment,
            });
        }
        Ok(request.ended_ms)
    }
}

struct Request {
    ended_ms: u64,
    accepted_ns: u64,
    client: SocketAddr,
    number: u64,
    status: u16,
}

fn parse(line: &str) -> Option<Request> {
    let mut words = line.split(' ');
    let ended = milliseconds(words.next()?)?;
    let lasted = milliseconds(words.next()?)?;
    Some(Request {
        ended_ms: ended,
        // Two readings cut to milliseconds: two more, so that it is never before the handshake's
        // end; the client cannot have used the port again so soon.
        accepted_ns: (ended.checked_sub(lasted)? + 2) * 1_000_000,
        client: words.next()?.parse().ok()?,
        number: words.next()?.parse().ok()?,
        status: words.next()?.parse().ok()?,
    })
}

/// `seconds.milliseconds`
fn milliseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1000 + fraction.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_the_connection_was_accepted() {
        let request = parse("1700000000.250 0.040 198.51.100.10:4000 1 200").unwrap();
        assert_eq!(request.accepted_ns, 1_700_000_000_212_000_000);
        assert_eq!(request.client, "198.51.100.10:4000".parse().unwrap());
        assert_eq!((request.number, request.status), (1, 200));
        assert!(parse("nonsense").is_none());
    }
}
