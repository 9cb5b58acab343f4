//! Every frame that any device of the namespace sends or receives.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

/// `ETH_P_ALL`, in network order as the kernel wants it.
const ALL: u32 = 3_u16.to_be() as u32;

/// A packet socket.
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Listens from now on, in the namespace of the calling thread.
    pub fn listen() -> Result<Self> {
        let protocol = Protocol::from_raw(ALL.try_into().context("not zero")?);
        let socket =
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
                .context("open a packet socket")?;
        Ok(Self { socket })
    }

    /// Waits for a frame.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn expect(&self, frame: &[u8], patience: Duration) {
        let end = Instant::now() + patience;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            let count = poll(&mut ready, Some(&timeout)).expect("wait for a frame");
            assert!(count > 0, "{frame:02x?} did not come within {patience:?}, but {seen:02x?}");
            let mut buffer = vec![0; 2048];
            let (length, _) =
                recv(&self.socket, &mut buffer[..], RecvFlags::empty()).expect("receive a frame");
            if &buffer[..length] == frame {
                return;
            }
            buffer.truncate(length);
            seen.push(buffer);
        }
    }
}
