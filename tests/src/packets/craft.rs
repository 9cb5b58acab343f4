//! Packets built from scratch, with checksums computed over all of their bytes. It shares no code with the
//! program: what the program changes step by step is computed here as a whole.

mod bytes;
mod icmp;
mod outer;
mod split;

use std::net::SocketAddr;

use self::bytes::{TCP, UDP, add, link};
pub use self::bytes::{checksum, covered, octets};
pub use self::icmp::IcmpError;
pub use self::outer::Outer;
use super::world::{Backend, CLIENT, CLIENT_MAC, WAN_MAC, WEB, v6};

/// A hardware address.
pub type Mac = [u8; 6];

/// TCP flags.
pub mod flags {
    #![expect(missing_docs, reason = "they are named as in RFC 9293")]
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const PSH: u8 = 8;
    pub const ACK: u8 = 16;
    pub const URG: u8 = 32;
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP without a checksum.
    UdpUnsummed,
}

/// A TCP segment, or a UDP datagram, in an IP packet in an Ethernet frame. Its addresses say which version of
/// IP; the fields of other headers are not looked at.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are the fields of the headers")]
pub struct Segment {
    pub to: Mac,
    pub from: Mac,
    /// VLAN tags, each with its `EtherType` in front.
    pub tags: Vec<[u8; 4]>,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Only IPv4.
    pub id: u16,
    /// Flags and offset; only IPv4.
    pub fragment: u16,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// Only IPv4.
    pub ip_options: Vec<u8>,
    /// Only IPv6.
    pub flow_label: u32,
    /// Only IPv6.
    pub extensions: Vec<Extension>,
    pub transport: Transport,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
    pub tcp_options: Vec<u8>,
    pub payload: Vec<u8>,
    /// Follows the packet, and is not part of it.
    pub padding: Vec<u8>,
    /// How much is added to the right checksum of the header; only IPv4.
    pub ip_error: u16,
    /// How much is added to the right checksum of the segment.
    pub tcp_error: u16,
}

impl Segment {
    /// A segment of the client to the first service, as the node's interface `wan` receives it.
    pub fn to_service(flags: u8) -> Self {
        Self {
            to: WAN_MAC,
            from: CLIENT_MAC,
            tags: Vec::new(),
            tos: 0,
            id: 0x4711,
            fragment: DF,
            ttl: 64,
            ip_options: Vec::new(),
            flow_label: 0,
            extensions: Vec::new(),
            transport: Transport::Tcp,
            source: CLIENT,
            destination: WEB,
            sequence: 0x0102_0304,
            acknowledgement: if flags & flags::ACK == 0 { 0 } else { 0x0a0b_0c0d },
            flags,
            window: 0x7210,
            tcp_options: Vec::new(),
            payload: Vec::new(),
            padding: Vec::new(),
            ip_error: 0,
            tcp_error: 0,
        }
    }

    /// A datagram of the client to the first service, likewise.
    pub fn datagram(payload: &[u8]) -> Self {
        Self { transport: Transport::Udp, payload: payload.to_vec(), ..Self::to_service(0) }
    }

    /// The same segment over IPv6.
    #[must_use]
    pub fn over_v6(&self) -> Self {
        Self { source: v6(self.source), destination: v6(self.destination), ..self.clone() }
    }

    /// The segment as it leaves by the device with address `device` towards `backend`.
    #[must_use]
    pub fn forwarded(&self, backend: &Backend, device: Mac) -> Self {
        Self {
            to: backend.mac,
            from: device,
            destination: backend.address,
            ttl: self.ttl - 1,
            ..self.clone()
        }
    }

    /// The like of it from `backend`, for who sent this.
    #[must_use]
    pub fn answered(&self, backend: &Backend) -> Self {
        Self { from: backend.mac, source: backend.address, destination: self.source, ..self.clone() }
    }

    /// The segment of a backend as it leaves by `wan` to the client, from `vip`.
    #[must_use]
    pub fn returned(&self, vip: SocketAddr) -> Self {
        Self { to: CLIENT_MAC, from: WAN_MAC, source: vip, ttl: self.ttl - 1, ..self.clone() }
    }

    /// What a host that does not know the connection answers (RFC 9293, 3.10.7.1), to where the segment came from.
    #[must_use]
    pub fn refused(&self) -> Self {
        let length = self.payload.len() as u32
            + u32::from(self.flags & flags::SYN != 0)
            + u32::from(self.flags & flags::FIN != 0);
        let (sequence, acknowledgement, flags) = match self.flags & flags::ACK {
            0 => (0, self.sequence + length, flags::RST | flags::ACK),
            _ => (self.acknowledgement, 0, flags::RST),
        };
        Self {
            to: self.from,
            from: self.to,
            tags: self.tags.clone(),
            tos: self.tos & 0xfc,
            id: 0,
            source: self.destination,
            destination: self.source,
            sequence,
            acknowledgement,
            window: 0,
            ..Self::to_service(flags)
        }
    }

    /// The packet without its Ethernet header.
    ///
    /// # Panics
    /// When options do not fill words.
    pub fn ip_bytes(&self) -> Vec<u8> {
        match self.destination {
            SocketAddr::V4(_) => self.v4_bytes(),
            SocketAddr::V6(_) => self.v6_bytes(),
        }
    }

    fn v4_bytes(&self) -> Vec<u8> {
        assert!(self.ip_options.len().is_multiple_of(4), "an IPv4 header is made of words");
        let header = 20 + self.ip_options.len();
        let (protocol, inner) = self.inner();
        let mut ip = vec![0x40 | (header / 4) as u8, self.tos];
        ip.extend(((header + inner.len()) as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, protocol, 0, 0]);
        ip.extend(octets(self.source.ip()));
        ip.extend(octets(self.destination.ip()));
        ip.extend(&self.ip_options);
        let checksum = add(checksum(&ip), self.ip_error);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        ip.extend(inner);
        ip
    }

    fn v6_bytes(&self) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.tos) << 20 | self.flow_label;
        let (protocol, inner) = self.inner();
        let length: usize = self.extensions.iter().map(|extension| extension.1.len()).sum();
        let mut ip = first.to_be_bytes().to_vec();
        ip.extend(((length + inner.len()) as u16).to_be_bytes());
        ip.extend([self.extensions.first().map_or(protocol, |extension| extension.0), self.ttl]);
        ip.extend(octets(self.source.ip()));
        ip.extend(octets(self.destination.ip()));
        for (i, Extension(_, bytes)) in self.extensions.iter().enumerate() {
            ip.push(self.extensions.get(i + 1).map_or(protocol, |extension| extension.0));
            ip.extend(&bytes[1..]);
        }
        ip.extend(inner);
        ip
    }

    /// All of its bytes.
    ///
    /// # Panics
    /// When options do not fill words.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = link(self.to, self.from, &self.tags, self.destination.ip());
        bytes.extend(self.ip_bytes());
        bytes.extend(&self.padding);
        bytes
    }

    /// What the IP packet carries, and its number.
    fn inner(&self) -> (u8, Vec<u8>) {
        match self.transport {
            Transport::Tcp => (TCP, self.tcp_bytes()),
            Transport::Udp | Transport::UdpUnsummed => (UDP, self.udp_bytes()),
        }
    }

    fn udp_bytes(&self) -> Vec<u8> {
        let mut udp = Vec::new();
        udp.extend(self.source.port().to_be_bytes());
        udp.extend(self.destination.port().to_be_bytes());
        udp.extend(((8 + self.payload.len()) as u16).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(&self.payload);
        if self.transport == Transport::Udp {
            let sum = checksum(&covered(self.source.ip(), self.destination.ip(), UDP, &udp));
            let checksum = match add(sum, self.tcp_error) {
                0 => 0xffff,
                sum => sum,
            };
            udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        }
        udp
    }

    fn tcp_bytes(&self) -> Vec<u8> {
        assert!(self.tcp_options.len().is_multiple_of(4), "a TCP header is made of words");
        let mut tcp = Vec::new();
        tcp.extend(self.source.port().to_be_bytes());
        tcp.extend(self.destination.port().to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgement.to_be_bytes());
        tcp.extend([((20 + self.tcp_options.len()) as u8 / 4) << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&self.tcp_options);
        tcp.extend(&self.payload);
        let sum = checksum(&covered(self.source.ip(), self.destination.ip(), TCP, &tcp));
        let checksum = add(sum, self.tcp_error);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        tcp
    }
}

/// An extension header: its number, and its bytes, of which the first will be the next one's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension(pub u8, pub Vec<u8>);

/// Do not fragment.
pub const DF: u16 = 1 << 14;
/// More fragments.
pub const MF: u16 = 1 << 13;
