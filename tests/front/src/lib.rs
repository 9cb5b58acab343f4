//! What the benchmark and its front program agree on: which flow the next packet belongs to. The numbers
//! follow from a count by arithmetic, so that the front touches no memory but its own two lines.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

/// Bytes of the largest original packet.
pub const FRAME: usize = 96;
/// Words of a [`Plan`].
pub const WORDS: usize = 8;
/// Client addresses that flows are spread over before they are spread over ports.
const ADDRESSES: u32 = 1 << 16;
/// The client port of the first flows.
const FIRST_PORT: u32 = 1024;

/// How the front program writes packets. Addresses are the last four bytes, as numbers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Plan {
    /// Packets so far.
    pub count: u32,
    /// Flows, a power of two, less one.
    pub mask: u32,
    /// Half the bits of `mask`, at least one.
    pub shift: u32,
    /// Length of the frame.
    pub length: u32,
    /// The first client.
    pub client: u32,
    /// The other end's first address: a service, a backend, or nobody.
    pub peer: u32,
    /// How many of those there are.
    pub peers: u32,
    /// Padding.
    pub pad: u32,
}

/// The ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Last four bytes of the client's address.
    pub client: u32,
    /// Its port.
    pub port: u16,
    /// Which of the peers.
    pub peer: u32,
}

impl Plan {
    /// For so many flows, a power of two, from the beginning.
    #[must_use]
    pub const fn new(flows: u32, length: u32, client: u32, peer: u32, peers: u32) -> Self {
        let bits = flows.trailing_zeros();
        let shift = if bits < 4 { 1 } else { bits / 2 };
        Self { count: 0, mask: flows - 1, shift, length, client, peer, peers, pad: 0 }
    }

    /// As it lies in the map.
    #[must_use]
    pub const fn words(&self) -> [u32; WORDS] {
        [self.count, self.mask, self.shift, self.length, self.client, self.peer, self.peers, self.pad]
    }

    /// The flow of packet `count`: a shuffle of all flows, over and over.
    #[must_use]
    #[inline(always)]
    pub const fn flow(&self, count: u32) -> u32 {
        let mut x = (count & self.mask).wrapping_mul(0x9e37_79b1) & self.mask;
        x ^= x >> self.shift;
        x = x.wrapping_mul(0x85eb_ca6b) & self.mask;
        x ^ (x >> self.shift)
    }

    /// Who speaks to whom in a flow.
    #[must_use]
    #[inline(always)]
    pub const fn ends(&self, flow: u32) -> Ends {
        Ends {
            client: self.client.wrapping_add(flow & (ADDRESSES - 1)),
            port: (FIRST_PORT + flow / ADDRESSES) as u16,
            peer: ((flow.wrapping_mul(0xc2b2_ae35) as u64 * self.peers as u64) >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn every_flow_has_its_turn_once_in_a_round() {
        for bits in [0, 1, 2, 5, 8, 16, 20] {
            let flows = 1 << bits;
            let plan = Plan::new(flows, 64, 0, 0, 1000);
            let mut seen = vec![false; flows as usize];
            for count in 0..flows {
                assert!(!core::mem::replace(&mut seen[plan.flow(count) as usize], true), "{bits} bits");
            }
        }
    }

    #[test]
    fn flows_differ_in_their_ends_and_find_every_peer() {
        let plan = Plan::new(1 << 20, 64, 0x0a00_0000, 0, 1000);
        let mut ends = std::collections::HashSet::new();
        let mut peers = vec![0_u32; 1000];
        for flow in 0..1 << 20 {
            let Ends { client, port, peer } = plan.ends(flow);
            assert!(ends.insert((client, port)));
            peers[peer as usize] += 1;
        }
        assert!(peers.iter().all(|count| (900..1200).contains(count)), "{peers:?}");
    }
}
