//! A source of numbered packets, every one of which is looked for at the backends: what is lost, or comes
//! twice, has a number. They are RST segments of flows that nobody has, since nobody answers those: a RST
//! outside of any flow is forwarded by base. As many are on the way at once as fit any queue between, so
//! that none is lost for want of room, however fast they go and however busy the machine is.

use super::namespace::Namespace;
use super::topology::Topology;
use crate::packets::craft::{Segment, flags};
use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto,
    socket_with,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

/// Of the client's network, and nobody's.
const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);
/// Packets that are on their way at once; a veth takes 256.
const WINDOW: u64 = 64;
/// Flows: enough to reach every backend.
const FLOWS: u32 = 256;
/// `ETH_P_IP`, in network order as the kernel wants it.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
/// The system calls of a thread end so often, to see whether it should.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

type Thread<T> = JoinHandle<Result<Result<T>>>;

/// A source that is running, and its witnesses.
pub struct Counted {
    progress: Arc<Progress>,
    source: Thread<()>,
    witnesses: Vec<Thread<Vec<u32>>>,
}

#[derive(Default)]
struct Progress {
    sent: AtomicU64,
    arrived: AtomicU64,
    source_ends: AtomicBool,
    witnesses_end: AtomicBool,
}

/// What became of the packets.
#[derive(Debug)]
pub struct Outcome {
    /// How many were sent, numbered from 0.
    pub sent: u64,
    /// Numbers that arrived nowhere.
    pub lost: Vec<u32>,
    /// Numbers that arrived more than once.
    pub twice: Vec<u32>,
}

impl Counted {
    /// Starts to send from the client to `service`, whose backends listen on `port`.
    pub fn start(topology: &Topology, service: SocketAddrV4, port: u16) -> Result<Self> {
        let progress = Arc::new(Progress::default());
        let watch = |namespace: &Namespace| {
            let socket = namespace.inside(listen)??;
            let progress = Arc::clone(&progress);
            Ok(namespace.thread(move || witness(&socket, port, &progress)))
        };
        let witnesses =
            topology.backends.iter().map(|backend| watch(&backend.namespace)).collect::<Result<_>>()?;
        let shared = Arc::clone(&progress);
        let source = topology.client.thread(move || send(service, &shared));
        Ok(Self { progress, source, witnesses })
    }

    /// How many have arrived so far.
    pub fn arrived(&self) -> u64 {
        self.progress.arrived.load(SeqCst)
    }

    /// Ends the source, waits for what is on the way, and looks which numbers are missing.
    pub fn finish(self) -> Result<Outcome> {
        self.progress.source_ends.store(true, SeqCst);
        join(self.source)?;
        let sent = self.progress.sent.load(SeqCst);
        super::clock::eventually(Duration::from_secs(5), || self.progress.arrived.load(SeqCst) >= sent);
        // One that comes twice may come last.
        std::thread::sleep(Duration::from_millis(200));
        self.progress.witnesses_end.store(true, SeqCst);
        let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
        for witness in self.witnesses {
            join(witness)?.into_iter().for_each(|number| *seen.entry(number).or_default() += 1);
        }
        let lost = (0..u32::try_from(sent)?).filter(|number| !seen.contains_key(number)).collect();
        let twice = seen.into_iter().filter(|(_, times)| *times > 1).map(|(number, _)| number).collect();
        Ok(Outcome { sent, lost, twice })
    }
}

fn join<T>(thread: Thread<T>) -> Result<T> {
    match thread.join() {
        Ok(result) => result?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn send(service: SocketAddrV4, progress: &Progress) -> Result<()> {
    let protocol = Some(ipproto::RAW); // the header is ours, too
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        .context("open a raw socket; are you root?")?;
    let to = SocketAddrV4::new(*service.ip(), 0);
    let mut segment = Segment::to_service(flags::RST);
    segment.destination = service.into();
    for number in 0_u32.. {
        while progress.sent.load(SeqCst) - progress.arrived.load(SeqCst) >= WINDOW {
            if progress.source_ends.load(SeqCst) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        if progress.source_ends.load(SeqCst) {
            break;
        }
        let port = 1024 + u16::try_from(number % FLOWS)?;
        segment.source = SocketAddr::from((SOURCE, port));
        segment.sequence = number;
        progress.sent.fetch_add(1, SeqCst);
        let bytes = segment.ip_bytes();
        sendto(&socket, &bytes, SendFlags::empty(), &to).context("send a numbered packet")?;
    }
    Ok(())
}

fn listen() -> Result<OwnedFd> {
    let protocol = Protocol::from_raw(IPV4.try_into().context("not zero")?);
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(protocol))
        .context("open a packet socket; are you root?")?;
    set_socket_recv_buffer_size_force(&socket, 16 << 20).context("enlarge its buffer")?;
    Ok(socket)
}

/// Notes the numbers of the packets that arrive.
fn witness(socket: &OwnedFd, port: u16, progress: &Progress) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut buffer = [0; 128];
    while !progress.witnesses_end.load(SeqCst) {
        let mut ready = [PollFd::new(socket, PollFlags::IN)];
        if poll(&mut ready, Some(&LOOK)).context("wait for a packet")? == 0 {
            continue;
        }
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::DONTWAIT).context("receive a packet")?;
        if let Some(number) = number(&buffer[..length], port) {
            numbers.push(number);
            progress.arrived.fetch_add(1, SeqCst);
        }
    }
    Ok(numbers)
}

/// The number of a packet, if it is one of ours.
fn number(packet: &[u8], port: u16) -> Option<u32> {
    let tcp = packet.get(20..).filter(|_| packet[0] == 0x45 && packet[12..16] == SOURCE.octets())?;
    let to = u16::from_be_bytes(tcp.get(2..4)?.try_into().ok()?);
    let is_ours = to == port && *tcp.get(13)? == flags::RST;
    is_ours.then_some(u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?))
}

impl Outcome {
    /// Holds the source to its word.
    ///
    /// # Errors
    /// When a packet was lost or came twice.
    pub fn all_arrived_once(&self) -> Result<()> {
        let Self { sent, lost, twice } = self;
        ensure!(lost.is_empty(), "{} of {sent} packets were lost: {:?}", lost.len(), head(lost));
        ensure!(twice.is_empty(), "{} of {sent} packets came twice: {:?}", twice.len(), head(twice));
        Ok(())
    }
}

fn head(numbers: &[u32]) -> &[u32] {
    &numbers[..numbers.len().min(20)]
}
