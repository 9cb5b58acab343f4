//! The socket in the file system: made so that nobody ever finds it more open than it should be,
//! and taken over only from an agent that is proven gone.
//!
//! The mode is right from the first instant without touching the process's umask, which other
//! threads share: on Linux a Unix socket's file gets the mode of the socket itself, less the umask,
//! so the socket is set to 0660 before it is bound. Afterwards the file is set to 0660 as well,
//! which can only add what the umask took away from owner and group.

use std::{
    fs::{self, File},
    future::Future,
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _},
            net,
        },
    },
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use tokio::{
    net::UnixListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Handle, connection, routes};

/// Connections served at a time; more wait in the kernel's queue.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// How long requests that are under way may take to end when the agent stops.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent listens there.
    #[error(
        "another agent listens on {}; stop it first, or give this one its own socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// There is something that is not ours to remove.
    #[error("{} exists and is no socket; remove it, or configure another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {act} {}: {source}", path.display())]
    System {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A socket that is listened on. The file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    file: SocketFile,
    /// Held as long as the socket, against two agents that start in the same instant.
    _lock: File,
}

impl Listener {
    /// Makes the socket, and its directory if there is none. A file that an agent left behind is
    /// replaced. Must be called within a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |act| move |source| BindError::System { act, path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o755).create(directory);
            made.map_err(failed("make the directory of"))?;
        }
        let lock = lock(path)?;
        remove_stale(path)?;
        let socket = bind(path).map_err(|error| failed("bind")(error.into()))?;
        let metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
        let file = SocketFile { path: path.into(), identity: (metadata.dev(), metadata.ino()) };
        rustix::fs::chmod(path, Mode::from_raw_mode(MODE))
            .map_err(|error| failed("set the mode of")(error.into()))?;
        rustix::net::listen(&socket, 128).map_err(|error| failed("listen on")(error.into()))?;
        let listener = UnixListener::from_std(net::UnixListener::from(socket));
        let listener = listener.map_err(failed("listen on"))?;
        Ok(Self { socket: listener, file, _lock: lock })
    }

    /// Serves requests until `shutdown` is done. Requests that are under way then are answered.
    pub async fn serve(self, handle: Handle, shutdown: impl Future<Output = ()> + Send) {
        let router = routes::router(handle);
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (close, closing) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, self.socket.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                () = &mut shutdown => break,
                next = next => next,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _nameless)) => {
                    let (router, closing) = (router.clone(), closing.clone());
                    let socket = Arc::clone(&self.file.path);
                    connections.spawn(async move {
                        connection::serve(stream, router, socket, closing).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of descriptors, mostly: the next try needs time to be a better one.
                    tracing::warn!(%error, "api: a connection could not be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self);
        drop(close);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(LAST_REQUESTS, all).await.is_err() {
            tracing::warn!("api: requests were still under way at the end");
        }
    }
}

/// The file, removed at the end if it is still the one that was made.
#[derive(Debug)]
struct SocketFile {
    path: Arc<Path>,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if !found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "api: the socket was left behind");
        }
    }
}

/// Takes the lock beside the socket. Its file stays: removing it would let two hold two locks.
fn lock(path: &Path) -> Result<File, BindError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let failed = |source| BindError::System { act: "lock", path: lock_path.clone(), source };
    let flags = rustix::fs::OFlags::CREATE
        | rustix::fs::OFlags::RDWR
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(&lock_path, flags, Mode::from_raw_mode(0o600))
        .map_err(|error| failed(error.into()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(Errno::WOULDBLOCK) => Err(BindError::InUse(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

/// Removes a socket that nobody listens on; only a refused connection proves that.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |act, source| BindError::System { act, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let probe = socket().and_then(|probe| {
        let address = SocketAddrUnix::new(path)?;
        rustix::net::connect(&probe, &address)
    });
    match probe {
        // A full queue is somebody's queue.
        Ok(()) | Err(Errno::AGAIN) => Err(BindError::InUse(path.to_owned())),
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(|error| failed("remove the stale", error)),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed("find out whether an agent listens on", error.into())),
    }
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn bind(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(MODE))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_never_more_open_than_0660() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bgd.sock");
        // Bound, and not yet touched again.
        let _socket = bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o7777;
        assert_eq!(mode & !MODE, 0, "mode {mode:o}");
    }

    #[tokio::test]
    async fn socket_is_0660_and_its_directory_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/bgd.sock");
        let listener = Listener::bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o660, "{mode:o}");
        drop(listener);
        assert!(!path.exists(), "the socket is removed at the end");
    }

    #[tokio::test]
    async fn socket_of_a_dead_agent_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bgd.sock");
        // Dropping a std listener leaves its file, as a killed process does.
        drop(net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _listener = Listener::bind(&path).unwrap();
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bgd.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn path_that_is_too_long_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x".repeat(120));
        let error = Listener::bind(&path).unwrap_err().to_string();
        assert!(error.contains("cannot") && error.contains("xxx"), "{error}");
    }
}
