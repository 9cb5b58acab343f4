//! The bytes of a packet and the only code that touches them through addresses. A [`Frame`] is taken
//! apart from the front; every piece is checked against the end before it exists.
#![expect(unsafe_code, reason = "the kernel gives two addresses; here they become references")]

mod field;

use core::marker::PhantomData;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

pub use self::field::Field;

/// The bytes of a packet that have not been taken yet.
///
/// The addresses are kept as numbers because the verifier accepts exactly one form of check,
/// `start + size > end`, and nothing that a slice would do.
#[derive(Debug)]
pub struct Frame<'p> {
    start: usize,
    end: usize,
    packet: PhantomData<&'p mut [u8]>,
}

/// A header that can be laid over any bytes.
///
/// # Safety
/// Its alignment is 1, it has no padding and no invalid values.
pub unsafe trait Wire {}

// SAFETY: bytes.
unsafe impl<const N: usize> Wire for [u8; N] {}
// SAFETY: `repr(C)`, made of bytes and arrays of bytes (checked below).
unsafe impl Wire for Ipv4Hdr {}
// SAFETY: as above.
unsafe impl Wire for Ipv6Hdr {}
// SAFETY: as above.
unsafe impl Wire for TcpHdr {}
// SAFETY: as above.
unsafe impl Wire for UdpHdr {}
// SAFETY: as above.
unsafe impl Wire for Macs {}

const _: () = {
    assert!(align_of::<Ipv4Hdr>() == 1 && size_of::<Ipv4Hdr>() == 20);
    assert!(align_of::<Ipv6Hdr>() == 1 && size_of::<Ipv6Hdr>() == 40);
    assert!(align_of::<TcpHdr>() == 1 && size_of::<TcpHdr>() == 20);
    assert!(align_of::<UdpHdr>() == 1 && size_of::<UdpHdr>() == 8);
    assert!(align_of::<Macs>() == 1 && size_of::<Macs>() == 12);
};

impl<'p> Frame<'p> {
    /// The bytes from address `start` up to, not including, `end`.
    ///
    /// # Safety
    /// They are readable and writable for `'p` and nobody else refers to them meanwhile.
    #[inline(always)]
    pub const unsafe fn new(start: usize, end: usize) -> Self {
        Self { start, end, packet: PhantomData }
    }

    /// The bytes of a buffer.
    pub fn of(bytes: &'p mut [u8]) -> Self {
        let range = bytes.as_mut_ptr_range();
        // SAFETY: the exclusive borrow of the buffer lasts as long as the frame.
        unsafe { Self::new(range.start.expose_provenance(), range.end.expose_provenance()) }
    }

    /// Bytes left.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.end.wrapping_sub(self.start)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a header from the front; `None`, and nothing is taken, if the packet ends before it does.
    #[inline(always)]
    pub fn take<T: Wire>(&mut self) -> Option<&'p mut T> {
        if self.start + size_of::<T>() > self.end {
            return None;
        }
        let header = core::ptr::with_exposed_provenance_mut::<T>(self.start);
        self.start += size_of::<T>();
        // SAFETY: within the packet by the check above, which every byte passes once only, because
        // `start` moves past it: no two references overlap. `Wire` promises that any bytes at any
        // address are a `T`.
        Some(unsafe { &mut *header })
    }

    /// Looks at what is `at` bytes behind the front, less than 16 KiB, without taking it.
    #[inline(always)]
    pub fn peek_at<T: Wire + Copy>(&self, at: usize) -> Option<T> {
        let start = self.start + (at & 0x3fff);
        if start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: as in `take`; the bytes have not been taken, so that no reference to them exists.
        Some(unsafe { *core::ptr::with_exposed_provenance::<T>(start) })
    }

    /// Leaves out up to 63 bytes; the mask is what makes the verifier believe that it is no more. The
    /// next `take` finds out whether the packet is that long.
    #[inline(always)]
    pub const fn skip(&mut self, bytes: usize) {
        self.start += bytes & 63;
    }

    /// Leaves out up to [`SKIP_FAR`] bytes, a multiple of 8; as above. Returns how many, as one range.
    #[inline(always)]
    pub fn skip_far(&mut self, bytes: usize) -> usize {
        let bytes = far(bytes);
        self.start += bytes;
        bytes
    }
}

/// The most that can be left out at once, bytes.
pub const SKIP_FAR: usize = 0x7f8;

/// Masks a number that is within the mask, in spite of a compiler that knows so. The verifier comes here with
/// another range for every way through the headers; from here on it is one range, and it follows the rest
/// of the path once, not once for each.
#[inline(always)]
fn far(bytes: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut bytes = bytes;
        // SAFETY: changes this register alone.
        unsafe {
            core::arch::asm!("{bytes} &= 2040", bytes = inout(reg) bytes, options(pure, nomem, nostack))
        };
        bytes
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        bytes & SKIP_FAR
    }
}

/// The hardware addresses at the start of a frame, destination first, in pieces that need no shifting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Macs([[u8; 4]; 3]);

impl Macs {
    /// As words.
    #[inline(always)]
    pub fn fetch(&self) -> [u32; 3] {
        [self.0[0].fetch(), self.0[1].fetch(), self.0[2].fetch()]
    }

    /// Writes words.
    #[inline(always)]
    pub fn put(&mut self, words: [u32; 3]) {
        self.0[0].put(words[0]);
        self.0[1].put(words[1]);
        self.0[2].put(words[2]);
    }

    /// Words from the two addresses.
    #[must_use]
    #[inline(always)]
    pub const fn words(to: [u8; 6], from: [u8; 6]) -> [u32; 3] {
        [
            u32::from_ne_bytes([to[0], to[1], to[2], to[3]]),
            u32::from_ne_bytes([to[4], to[5], from[0], from[1]]),
            u32::from_ne_bytes([from[2], from[3], from[4], from[5]]),
        ]
    }

    /// Both addresses, destination first.
    #[must_use]
    #[inline(always)]
    pub fn addresses(&self) -> [[u8; 6]; 2] {
        let [a, b, c] = self.fetch().map(u32::to_ne_bytes);
        [[a[0], a[1], a[2], a[3], b[0], b[1]], [b[2], b[3], c[0], c[1], c[2], c[3]]]
    }
}

/// A packet as the device received it, which can grow and shrink.
pub trait Packet {
    /// Index of the interface on which it arrived.
    fn interface(&self) -> u32;
    /// All of its bytes. What was taken from an earlier frame is gone.
    fn frame(&mut self) -> Frame<'_>;
    /// Moves its start: a negative number makes room in front. `false`: it stays as it was.
    fn move_start(&mut self, by: i32) -> bool;
    /// Moves its end: a negative number cuts. `false`: it stays as it was.
    fn move_end(&mut self, by: i32) -> bool;
}
