//! The original packet and the one that is made anew, in pieces.

use bg_ebpf::packet::{Field as _, Wire};
use bg_front::FRAME;

/// The start of a packet up to the end of a TCP header, its own or the one that it quotes, in the pieces in which it is read: a wide read of
/// what was just written in narrow pieces would wait for them.
pub(crate) trait Headers: Wire + Sized {
    /// Laid over the original.
    #[inline(always)]
    fn of(bytes: &[u8; FRAME]) -> &Self {
        const { assert!(size_of::<Self>() <= FRAME) };
        // SAFETY: `Wire` promises that any bytes at any address are one, and there are enough.
        unsafe { &*bytes.as_ptr().cast() }
    }

    /// That TCP header.
    fn tcp(&self) -> &Tcp;
    /// Writes all but the TCP header, which is returned. The addresses are their last four bytes.
    fn restore(&mut self, original: &Self, source: u32, destination: u32) -> &mut Tcp;
}

#[repr(C)]
pub(crate) struct Tcp {
    pub(crate) source: [u8; 2],
    pub(crate) destination: [u8; 2],
    pub(crate) sequence: [u8; 4],
    pub(crate) acknowledgement: [u8; 4],
    pub(crate) flags: [u8; 2],
    pub(crate) window: [u8; 2],
    pub(crate) check: [u8; 2],
    pub(crate) urgent: [u8; 2],
}

#[repr(C)]
pub(crate) struct V4 {
    macs: [[u8; 4]; 3],
    ethertype: [u8; 2],
    ip: Ip,
    tcp: Tcp,
}

/// An ICMP error over IPv4 that quotes both headers of a TCP segment.
#[repr(C)]
pub(crate) struct Error4 {
    macs: [[u8; 4]; 3],
    ethertype: [u8; 2],
    ip: Ip,
    message: [u8; 8],
    quoted: Ip,
    tcp: Tcp,
}

/// A header of IPv4.
#[repr(C)]
struct Ip {
    first: [u8; 8],
    hops: [u8; 2],
    check: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

#[repr(C)]
pub(crate) struct V6 {
    macs: [[u8; 4]; 3],
    ethertype: [u8; 2],
    first: [u8; 8],
    source: [[u8; 8]; 2],
    destination: [[u8; 8]; 2],
    tcp: Tcp,
}

const _: () = {
    assert!(align_of::<V4>() == 1 && size_of::<V4>() == 54);
    assert!(align_of::<Error4>() == 1 && size_of::<Error4>() == 82);
    assert!(align_of::<V6>() == 1 && size_of::<V6>() == 74);
};

// SAFETY: `repr(C)`, made of arrays of bytes (checked above).
unsafe impl Wire for V4 {}
// SAFETY: as above.
unsafe impl Wire for Error4 {}
// SAFETY: as above.
unsafe impl Wire for V6 {}

impl Headers for V4 {
    #[inline(always)]
    fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    #[inline(always)]
    fn restore(&mut self, original: &Self, source: u32, destination: u32) -> &mut Tcp {
        link(&mut self.macs, &original.macs);
        self.ethertype.put(original.ethertype.fetch());
        self.ip.restore(&original.ip, source, destination);
        &mut self.tcp
    }
}

impl Headers for Error4 {
    #[inline(always)]
    fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    #[inline(always)]
    fn restore(&mut self, original: &Self, source: u32, destination: u32) -> &mut Tcp {
        link(&mut self.macs, &original.macs);
        self.ethertype.put(original.ethertype.fetch());
        self.ip.restore(&original.ip, source, destination);
        self.message.put(original.message.fetch());
        // What it is about went the other way.
        self.quoted.restore(&original.quoted, destination, source);
        &mut self.tcp
    }
}

impl Ip {
    #[inline(always)]
    fn restore(&mut self, original: &Self, source: u32, destination: u32) {
        self.first.put(original.first.fetch());
        self.hops.put(original.hops.fetch());
        self.check.put(original.check.fetch());
        self.source.put(source.to_be());
        self.destination.put(destination.to_be());
    }
}

impl Headers for V6 {
    #[inline(always)]
    fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    #[inline(always)]
    fn restore(&mut self, original: &Self, source: u32, destination: u32) -> &mut Tcp {
        link(&mut self.macs, &original.macs);
        self.ethertype.put(original.ethertype.fetch());
        self.first.put(original.first.fetch());
        address(&mut self.source, &original.source, source);
        address(&mut self.destination, &original.destination, destination);
        &mut self.tcp
    }
}

#[inline(always)]
fn link(to: &mut [[u8; 4]; 3], from: &[[u8; 4]; 3]) {
    to[0].put(from[0].fetch());
    to[1].put(from[1].fetch());
    to[2].put(from[2].fetch());
}

/// An address with other last four bytes.
#[inline(always)]
fn address(to: &mut [[u8; 8]; 2], from: &[[u8; 8]; 2], last: u32) {
    to[0].put(from[0].fetch());
    let kept = u64::from_be(from[1].fetch()) & !u64::from(u32::MAX);
    to[1].put((kept | u64::from(last)).to_be());
}
