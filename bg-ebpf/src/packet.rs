//! The bytes of a packet and the only code that touches them through addresses. A [`Frame`] is taken
//! apart from the front; every piece is checked against the end before it exists.
#![expect(unsafe_code, reason = "the kernel gives two addresses; here they become references")]

use core::marker::PhantomData;

use network_types::ip::Ipv4Hdr;
use network_types::tcp::TcpHdr;

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
unsafe impl Wire for TcpHdr {}

const _: () = {
    assert!(align_of::<Ipv4Hdr>() == 1 && size_of::<Ipv4Hdr>() == 20);
    assert!(align_of::<TcpHdr>() == 1 && size_of::<TcpHdr>() == 20);
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

    /// Looks at the front without taking it.
    #[inline(always)]
    pub fn peek<T: Wire + Copy>(&self) -> Option<T> {
        if self.start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: as in `take`; the bytes have not been taken, so that no reference to them exists.
        Some(unsafe { *core::ptr::with_exposed_provenance::<T>(self.start) })
    }

    /// Leaves out up to 63 bytes; the mask is what makes the verifier believe that it is no more. The
    /// next `take` finds out whether the packet is that long.
    #[inline(always)]
    pub const fn skip(&mut self, bytes: usize) {
        self.start += bytes & 63;
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
