//! Who is at the other end, and whether they may be. The kernel says who: credentials are those
//! that the peer had when it connected, and cannot be forged.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use tokio::net::UnixStream;

use super::{
    Who,
    types::{Code, Error},
};

/// Reads the peer's credentials.
pub(super) fn identify(stream: &UnixStream) -> io::Result<Who> {
    let peer = stream.peer_cred()?;
    Ok(Who::new(peer.uid(), peer.gid(), peer.pid()))
}

impl Who {
    /// Whoever runs this process, for what is done without the socket.
    #[must_use]
    pub fn this_process() -> Self {
        use rustix::process::{getegid, geteuid, getpid};
        Self::new(geteuid().as_raw(), getegid().as_raw(), Some(getpid().as_raw_pid()))
    }

    fn new(uid: u32, gid: u32, pid: Option<i32>) -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self { uid, gid, pid, name: user_name(&passwd, uid) }
    }
}

/// Refuses everybody but root, the agent's own user, and the socket's group. The group is looked up
/// for every connection, so that `chgrp` on the socket is heeded at once.
pub(super) fn check(who: &Who, socket: &Path) -> Result<(), Error> {
    let own_uid = rustix::process::geteuid().as_raw();
    // A socket that was taken away has no group any more.
    let group = fs::metadata(socket).ok().map(|socket| socket.gid());
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    if allowed(who, own_uid, group, &groups) {
        return Ok(());
    }
    let Who { uid, gid, name, .. } = who;
    Err(Error {
        code: Code::Forbidden,
        guard: None,
        message: format!("{name} (uid {uid}, gid {gid}) may not control this agent"),
        next: Some(match group {
            Some(group) => format!("run it as root, or as a member of the socket's group, gid {group}"),
            None => "run it as root".to_owned(),
        }),
        retry_after_s: None,
    })
}

/// The kernel tells the effective group alone, and a user of `usermod -aG` has the socket's group as
/// one more; so the members that the group names are let in as well.
fn allowed(who: &Who, own_uid: u32, group: Option<u32>, groups: &str) -> bool {
    let Who { uid, gid, name, .. } = who;
    let in_group = |group| *gid == group || is_member(groups, group, name);
    *uid == 0 || *uid == own_uid || group.is_some_and(in_group)
}

/// Whether a text of the form of `/etc/group` names the user as a member of the group.
fn is_member(groups: &str, group: u32, user: &str) -> bool {
    groups.lines().any(|line| {
        let mut fields = line.split(':').skip(2);
        let is_group = fields.next().and_then(|gid| gid.parse().ok()) == Some(group);
        is_group && fields.next().is_some_and(|members| members.split(',').any(|name| name == user))
    })
}

/// The name for a uid in a text of the form of `/etc/passwd`.
fn user_name(passwd: &str, uid: u32) -> String {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(uid: u32, gid: u32) -> Who {
        let name = "somebody".to_owned();
        Who { uid, gid, pid: Some(7), name }
    }

    const GROUPS: &str = "root:x:0:\nbroken\nbluegreen:x:991:ada,eve\nother:x:992:somebody\n";

    #[test]
    fn members_that_the_group_names_are_allowed() {
        let named = |name: &str| Who { name: name.to_owned(), ..who(1000, 1000) };
        for name in ["ada", "eve"] {
            assert!(allowed(&named(name), 0, Some(991), GROUPS), "{name}");
        }
        for name in ["", "ad", "ada,eve", "x", "uid 1000"] {
            assert!(!allowed(&named(name), 0, Some(991), GROUPS), "{name}");
        }
    }

    #[test]
    fn root_the_agents_user_and_the_effective_group_are_allowed() {
        assert!(allowed(&who(0, 0), 990, Some(991), GROUPS));
        assert!(allowed(&who(0, 5), 990, None, GROUPS));
        assert!(allowed(&who(990, 5), 990, Some(991), GROUPS));
        assert!(allowed(&who(1000, 991), 990, Some(991), GROUPS));
    }

    #[test]
    fn everybody_else_is_forbidden() {
        assert!(!allowed(&who(1000, 1000), 990, Some(991), GROUPS));
        assert!(!allowed(&who(1000, 1000), 990, None, GROUPS));
        assert!(!allowed(&who(1000, 0), 0, Some(991), GROUPS));
    }

    #[test]
    fn refusal_names_the_peer_and_the_way_in() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        fs::write(&socket, "").unwrap();
        let group = fs::metadata(&socket).unwrap().gid();
        let error = check(&who(4_000_001, 4_000_002), &socket).unwrap_err();
        assert_eq!(error.code, Code::Forbidden);
        assert!(error.message.contains("somebody (uid 4000001, gid 4000002)"));
        assert!(error.next.unwrap().contains(&format!("gid {group}")));
        assert!(check(&who(4_000_001, group), &socket).is_ok());
    }

    #[test]
    fn name_comes_from_passwd_or_is_the_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000), "ada");
        assert_eq!(user_name(passwd, 1001), "uid 1001");
    }
}
