//! Who may ask.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Output},
};

use crate::agent::Agent;
use crate::answers::status;

#[test]
fn peer_of_another_user_and_group_is_refused() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
        eprintln!("NOT RUN, it needs root: a foreign peer is refused");
        return;
    }
    let agent = Agent::start(|_, _| Ok(status()));
    // The binary where everybody can run it, since the build's place may be private.
    let binary = agent.directory.path().join("bgctl");
    std::fs::copy(env!("CARGO_BIN_EXE_bgctl"), &binary).unwrap();
    set_mode(&binary, 0o755);
    set_mode(agent.directory.path(), 0o755);
    let as_nobody = || {
        let mut command = Command::new(&binary);
        command.uid(NOBODY).gid(NOBODY).arg("status").env("BGCTL_SOCKET", agent.socket());
        let Output { status, stderr, .. } = command.output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    let (code, stderr) = as_nobody();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("may not connect to"), "the mode keeps them out: {stderr}");
    // Somebody opened the socket to all the world; the agent still asks who it is.
    set_mode(&agent.socket(), 0o666);
    let (code, stderr) = as_nobody();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("(uid 65534, gid 65534) may not control"), "{stderr}");
    assert!(agent.requests.lock().unwrap().is_empty());
    // Their group is the socket's: that is how access is given.
    std::os::unix::fs::chown(agent.socket(), None, Some(NOBODY)).unwrap();
    assert_eq!(as_nobody(), (Some(0), String::new()));
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
