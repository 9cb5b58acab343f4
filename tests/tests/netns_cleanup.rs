//! A run that is interrupted or killed: nothing that it made is left, at the latest when the next
//! run starts.

use bg_tests::lab::clock::eventually;
use bg_tests::lab::fleet::Fleet;
use bg_tests::lab::process::Process;
use bg_tests::lab::topology::Topology;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const HOLD: &str = "BLUEGREEN_TEST_HOLD";
const PATIENCE: Duration = Duration::from_secs(30);

/// Not a test by itself: the process that the others interrupt. It does nothing unless it is told
/// by the environment where to say that it is ready.
#[test]
fn holder() {
    let Some(ready) = std::env::var_os(HOLD) else { return };
    let topology = Topology::new(1, 1).unwrap();
    let mut fleet = Fleet::start(&topology).unwrap();
    let server = fleet.server(0).unwrap().pid();
    let text = format!("{}\n{server}\n", topology.workdir.path().display());
    let partial = Path::new(&ready).with_extension("partial");
    fs::write(&partial, text).unwrap();
    fs::rename(partial, ready).unwrap();
    std::thread::sleep(Duration::from_mins(10));
}

struct Held {
    process: Process,
    workdir: PathBuf,
    server: String,
    _ready: tempfile::TempDir,
}

fn hold() -> Held {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "holder"]).env(HOLD, &ready).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn("holder", command, None).unwrap();
    assert!(eventually(PATIENCE, || ready.exists() || !process.running()) && process.running());
    let text = fs::read_to_string(&ready).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    let (workdir, server) = (lines.next().unwrap().into(), lines.next().unwrap());
    let held = Held { process, workdir, server, _ready: directory };
    assert!(!held.namespaces().is_empty() && held.is_mounted() && held.server_runs());
    held
}

impl Held {
    fn namespaces(&self) -> Vec<String> {
        let prefix = format!("bg{}-", self.process.pid());
        let entries = fs::read_dir("/run/netns").unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(&self.workdir.display().to_string())
    }

    fn server_runs(&self) -> bool {
        // Until it is waited for, a dead process has its number, but no program.
        let program = fs::read_link(Path::new("/proc").join(&self.server).join("exe"));
        program.is_ok_and(|program| program.ends_with("streamer"))
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.namespaces(), Vec::<String>::new());
        assert!(!self.is_mounted());
        assert!(!self.workdir.exists());
    }
}

#[test]
fn an_interrupted_run_removes_what_it_made() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut held = hold();
        let status = held.process.end(signal, PATIENCE).unwrap();
        assert_eq!(status.code(), Some(code));
        held.assert_nothing_is_left();
        assert!(eventually(PATIENCE, || !held.server_runs()));
    }
}

#[test]
fn after_a_kill_the_servers_die_and_the_next_run_removes_the_rest() {
    let mut held = hold();
    held.process.kill().unwrap();
    assert!(eventually(PATIENCE, || !held.server_runs()), "a server survives");
    let _topology = Topology::new(0, 0).unwrap();
    held.assert_nothing_is_left();
}
