//! A packet with guards around it. The packet path works on addresses, so that a mistake in it would write
//! beside the packet; in front of it and behind it lie bytes that must stay as they are.
//!
//! Built for libFuzzer it has no guards: each frame is an allocation of its own, exactly as long as it is, and
//! `AddressSanitizer` sees what is read or written beside it, to the byte.

use bg_ebpf::packet::{Frame, Packet};

/// A packet, the room that it may grow into, and the guards.
#[derive(Debug)]
pub struct Guarded {
    bytes: Box<[u8]>,
    interface: u32,
    headroom: usize,
}

/// Bytes of a guard.
const GUARD: usize = if cfg!(feature = "libfuzzer") { 0 } else { 64 };
/// What a guard is filled with, and new room, whose contents nobody may rely on.
const FILLING: u8 = 0xa5;
/// Room in front of a packet, bytes: what drivers leave.
const HEADROOM: usize = 256;
/// The longest packet, bytes: what fits a page.
const MOST: usize = 4096;
/// The shortest packet, bytes: an Ethernet header.
const LEAST: usize = 14;

impl Guarded {
    /// A packet that arrived on an interface.
    #[must_use]
    pub fn new(packet: &[u8], interface: u32) -> Self {
        Self { bytes: surrounded(packet), interface, headroom: HEADROOM }
    }

    /// The packet as it is now.
    ///
    /// # Panics
    /// When something was written beside it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let (front, rest) = self.bytes.split_at(GUARD);
        let (packet, behind) = rest.split_at(rest.len() - GUARD);
        assert!(front.iter().all(|&byte| byte == FILLING), "written in front of the packet: {front:02x?}");
        assert!(behind.iter().all(|&byte| byte == FILLING), "written behind the packet: {behind:02x?}");
        packet
    }
}

impl Packet for Guarded {
    fn interface(&self) -> u32 {
        self.interface
    }

    fn frame(&mut self) -> Frame<'_> {
        let end = self.bytes.len() - GUARD;
        Frame::of(&mut self.bytes[GUARD..end])
    }

    fn move_start(&mut self, by: i32) -> bool {
        let Some(headroom) = self.headroom.checked_add_signed(by as isize) else { return false };
        let packet = self.bytes();
        let moved = match usize::try_from(by) {
            Ok(cut) if cut + LEAST <= packet.len() => packet[cut..].to_vec(),
            Ok(_) => return false,
            Err(_) => [&vec![FILLING; by.unsigned_abs() as usize][..], packet].concat(),
        };
        self.bytes = surrounded(&moved);
        self.headroom = headroom;
        true
    }

    fn move_end(&mut self, by: i32) -> bool {
        let mut packet = self.bytes().to_vec();
        let length = packet.len().checked_add_signed(by as isize);
        let Some(length) = length.filter(|length| (LEAST..=MOST).contains(length)) else { return false };
        packet.resize(length, FILLING);
        self.bytes = surrounded(&packet);
        true
    }
}

fn surrounded(packet: &[u8]) -> Box<[u8]> {
    [&[FILLING; GUARD][..], packet, &[FILLING; GUARD][..]].concat().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_shrinks_at_both_ends_within_its_room() {
        let packet: Vec<u8> = (0..60).collect();
        let mut buffer = Guarded::new(&packet, 1);
        assert!(buffer.move_start(-4) && buffer.move_end(2) && buffer.move_start(4) && buffer.move_end(-2));
        assert_eq!(buffer.bytes(), packet);
        assert!(buffer.move_start(-256) && !buffer.move_start(-1), "the headroom is 256 bytes");
        assert!(!buffer.move_start(60 + 256 - 13) && !buffer.move_end(-(60 + 256 - 13)), "14 bytes stay");
        assert!(!buffer.move_end(4096), "a page is the end");
        assert_eq!(buffer.frame().len(), 60 + 256);
    }

    #[test]
    #[should_panic(expected = "in front of")]
    fn a_byte_in_front_is_seen() {
        let mut buffer = Guarded::new(&[0; 60], 1);
        buffer.bytes[GUARD - 1] ^= 1;
        let _ = buffer.bytes();
    }

    #[test]
    #[should_panic(expected = "behind")]
    fn a_byte_behind_is_seen_when_the_packet_moves() {
        let mut buffer = Guarded::new(&[0; 60], 1);
        buffer.bytes[GUARD + 60] ^= 1;
        buffer.move_end(2);
    }
}
