//! Packets that no client sends, from a namespace of their own: SYNs that nobody follows up, floods of
//! them from many addresses, and forgeries of the clients' own connections.

use super::dice::Dice;
use crate::lab::capture::Tail;
use crate::lab::clock::realtime_ns;
use crate::lab::config::{PLAIN, STREAM};
use crate::lab::namespace::Namespace;
use crate::lab::pcap::{ACK, RST, SYN};
use crate::lab::topology::STRANGERS;
use crate::packets::{Segment, flags};
use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// SYNs a second that nobody follows up, in every soak.
const HALF_OPEN: f64 = 5.0;
/// SYNs a second while there is a flood.
pub(super) const FLOOD: f64 = 3000.0;
/// Forged packets a second.
const FORGED: f64 = 100.0;
const TURN: Duration = Duration::from_millis(5);
/// Only connections opened of late are worth forging.
const OF_LATE: usize = 1000;

/// A forged packet of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forged {
    pub(super) at_ns: u64,
    pub(super) client: SocketAddrV4,
    pub(super) vip: SocketAddrV4,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
}

/// What a stranger is told, and what it counts.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    end: AtomicBool,
    pub(super) flood: AtomicBool,
    /// Nothing is forged for a while.
    pub(super) rest: AtomicBool,
    pub(super) sent: AtomicU64,
}

/// The thread that sends.
pub(super) struct Stranger {
    pub(super) wishes: Arc<Wishes>,
    thread: JoinHandle<Result<Result<Vec<Forged>>>>,
}

impl Stranger {
    /// Starts to send in `namespace`. With `victims`, the clients' connections in that capture are forged.
    pub(super) fn start(namespace: &Namespace, seed: u64, victims: Option<Tail>) -> Self {
        let wishes = Arc::new(Wishes::default());
        let told = Arc::clone(&wishes);
        let thread = namespace.thread(move || {
            let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))
                .context("open a raw socket")?;
            let dice = Dice::new(seed ^ 0x5742_414e_4745_5221);
            let mut sender = Sender { socket, dice, victims, openings: VecDeque::new(), forged: Vec::new() };
            sender.run(&told)?;
            Ok(sender.forged)
        });
        Self { wishes, thread }
    }

    /// Ends it; every packet that was forged.
    pub(super) fn finish(self) -> Result<Vec<Forged>> {
        self.wishes.end.store(true, Relaxed);
        match self.thread.join() {
            Ok(forged) => forged?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Sender {
    socket: OwnedFd,
    dice: Dice,
    victims: Option<Tail>,
    openings: VecDeque<(SocketAddrV4, SocketAddrV4, u32)>,
    forged: Vec<Forged>,
}

impl Sender {
    fn run(&mut self, told: &Wishes) -> Result<()> {
        let mut due = [0.0; 3];
        let mut last = Instant::now();
        while !told.end.load(Relaxed) {
            std::thread::sleep(TURN);
            let elapsed = last.elapsed().as_secs_f64().min(0.1);
            last = Instant::now();
            let flood = if told.flood.load(Relaxed) { FLOOD } else { 0.0 };
            let forged = if told.rest.load(Relaxed) { 0.0 } else { FORGED };
            for (due, rate) in due.iter_mut().zip([HALF_OPEN, flood, forged]) {
                *due += elapsed * rate;
            }
            for due in &mut due[..2] {
                while *due >= 1.0 {
                    *due -= 1.0;
                    self.half_open()?;
                    told.sent.fetch_add(1, Relaxed);
                }
            }
            self.learn()?;
            while due[2] >= 1.0 {
                due[2] -= 1.0;
                self.forge()?;
            }
        }
        Ok(())
    }

    /// A SYN whose answer nobody waits for.
    fn half_open(&mut self) -> Result<()> {
        let (network, bits) = STRANGERS;
        let host = self.dice.next() as u32 & (u32::MAX >> bits);
        let address = Ipv4Addr::from_bits(network.to_bits() | host);
        let port = 1024 + self.dice.below(60_000) as u16;
        let vip = self.vip();
        let isn = self.dice.next() as u32;
        self.send(SocketAddrV4::new(address, port), vip, flags::SYN, isn, 0)
    }

    fn vip(&mut self) -> SocketAddrV4 {
        if self.dice.percent(50) { STREAM } else { PLAIN }
    }

    /// Takes note of the connections that clients have opened since.
    fn learn(&mut self) -> Result<()> {
        let Some(victims) = &mut self.victims else { return Ok(()) };
        for segment in victims.segments()? {
            if segment.flags & (SYN | ACK | RST) == SYN
                && let (SocketAddr::V4(client), SocketAddr::V4(vip)) = (segment.from, segment.to)
            {
                self.openings.push_back((client, vip, segment.sequence));
            }
        }
        let surplus = self.openings.len().saturating_sub(OF_LATE);
        self.openings.drain(..surplus);
        Ok(())
    }

    /// Forges one packet of some client's connection: a SYN with another isn, the rest of a handshake
    /// after one, a RST, an ACK. The numbers stay behind the real ones. A blind guess at a half pin's
    /// window is right once in 32,768 times, and the packets of the real connection then go astray: that
    /// is a limit of the rule, and known; it would drown everything else that a soak can find.
    fn forge(&mut self) -> Result<()> {
        let openings = self.openings.make_contiguous();
        let Some(&(client, vip, isn)) = self.dice.pick(openings) else { return Ok(()) };
        let behind = (1 << 25) + self.dice.below(1 << 30) as u32;
        let mut sequence = isn.wrapping_sub(behind);
        let mut acknowledgement = self.dice.next() as u32;
        let flags = match self.dice.below(5) {
            0 | 1 => flags::SYN,
            2 => flags::RST,
            3 => flags::ACK,
            _ => {
                self.note(client, vip, sequence, 0);
                self.send(client, vip, flags::SYN, sequence, 0)?;
                sequence = sequence.wrapping_add(1);
                flags::ACK
            }
        };
        if flags & flags::ACK == 0 {
            acknowledgement = 0;
        }
        self.note(client, vip, sequence, acknowledgement);
        self.send(client, vip, flags, sequence, acknowledgement)
    }

    /// Before it is sent: the answer may be faster than whoever writes it down.
    fn note(&mut self, client: SocketAddrV4, vip: SocketAddrV4, sequence: u32, acknowledgement: u32) {
        let at_ns = realtime_ns();
        self.forged.push(Forged { at_ns, client, vip, sequence, acknowledgement });
    }

    fn send(
        &self,
        from: SocketAddrV4,
        to: SocketAddrV4,
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
    ) -> Result<()> {
        let segment = Segment {
            source: from.into(),
            destination: to.into(),
            sequence,
            acknowledgement,
            ..Segment::to_service(flags)
        };
        match sendto(&self.socket, &segment.ip_bytes(), SendFlags::empty(), &to) {
            // A full queue is as good as a lost packet.
            Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error).context("send a raw packet"),
        }
    }
}
