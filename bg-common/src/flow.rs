//! Flows: the tag that identifies one, and the keyed hash that places it.

use crate::abi::Address;

/// Identity and place of a flow within the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Identifies client address, client port and service. Exact for IPv4, a keyed hash for IPv6. Never
    /// 0 and never [`TOMB`].
    pub tag: u64,
    /// Keyed hash of the tag: its top half picks the ring slot, the rest the buckets.
    pub hash: u64,
    /// Stands for the client's address alone; [`Flow::source_hash`] makes a hash of it. 0 where only the tag is
    /// known.
    pub source: u64,
}

/// The tag of a pin that nobody finds any more, and that some may still hold who found it before.
pub const TOMB: u64 = u64::MAX;

impl Flow {
    /// A flow of an IPv4 service. The service number stands for VIP, port and protocol, so that the
    /// whole tuple fits the tag and no two flows share one.
    #[must_use]
    #[inline(always)]
    pub fn v4(key: &[u64; 4], client: [u8; 4], port: [u8; 2], service: u16) -> Self {
        let tag = u64::from(u32::from_be_bytes(client)) << 32
            | u64::from(u16::from_be_bytes(port)) << 16
            | u64::from(service.wrapping_add(1));
        Self { tag, hash: mix(key, tag), source: tag >> 32 }
    }

    /// A flow of an IPv6 service: the tuple folded into 64 bits under the key.
    #[must_use]
    #[inline(always)]
    pub fn v6(key: &[u64; 4], client: &Address, port: [u8; 2], service: u16) -> Self {
        let [high, low] = client.halves();
        let ends = u64::from(u16::from_be_bytes(port)) << 16 | u64::from(service.wrapping_add(1));
        let source = mix(key, high) ^ low;
        let folded = mix(key, mix(key, source) ^ ends);
        let tag = if folded == 0 || folded == TOMB { 1 } else { folded };
        Self { tag, hash: mix(key, tag), source }
    }

    /// From the tag alone, as found in a pin.
    #[must_use]
    pub fn from_tag(key: &[u64; 4], tag: u64) -> Self {
        Self { tag, hash: mix(key, tag), source: 0 }
    }

    /// Keyed hash of the client's address alone: its top half picks the ring slot where the service keeps all
    /// flows of a client together.
    #[must_use]
    #[inline(always)]
    pub const fn source_hash(&self, key: &[u64; 4]) -> u64 {
        mix(key, self.source)
    }

    /// The two buckets of the flow in a table of `mask + 1` buckets; they differ unless there is one.
    #[must_use]
    #[inline(always)]
    pub const fn buckets(&self, mask: u32) -> [u32; 2] {
        let first = self.hash as u32 & mask;
        let second = (self.hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & mask;
        if first == second { [first, (second ^ 1) & mask] } else { [first, second] }
    }
}

/// A bijection of 64 bits that cannot be predicted without the key: two rounds of xor-shift and
/// multiplication by secret odd numbers. Cheap enough for every packet (two multiplications); it spreads
/// flows against an adversary who cannot see the key, and promises no more.
#[must_use]
#[inline(always)]
pub const fn mix(key: &[u64; 4], value: u64) -> u64 {
    let mut x = value ^ key[0];
    x = (x ^ (x >> 32)).wrapping_mul(key[1] | 1);
    x = (x ^ (x >> 29)).wrapping_mul(key[2] | 1);
    x ^ (x >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u64; 4] =
        [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

    proptest! {
        #[test]
        fn different_v4_tuples_have_different_tags(
            a: ([u8; 4], [u8; 2], u16), b: ([u8; 4], [u8; 2], u16), key: [u64; 4]
        ) {
            prop_assume!(a != b && a.2 < 65_534 && b.2 < 65_534);
            prop_assert_ne!(Flow::v4(&key, a.0, a.1, a.2).tag, Flow::v4(&key, b.0, b.1, b.2).tag);
        }

        #[test]
        fn no_tag_is_free_or_tomb(client: [u8; 16], port: [u8; 2], service in 0..65_534_u16, key: [u64; 4]) {
            for tag in [
                Flow::v4(&key, [client[0], client[1], client[2], client[3]], port, service).tag,
                Flow::v6(&key, &Address(client), port, service).tag,
            ] {
                prop_assert!(tag != 0 && tag != TOMB);
            }
        }

        #[test]
        fn the_hash_follows_from_the_tag(client: [u8; 4], port: [u8; 2], service: u16, key: [u64; 4]) {
            let flow = Flow::v4(&key, client, port, service);
            prop_assert_eq!(Flow { source: flow.source, ..Flow::from_tag(&key, flow.tag) }, flow);
        }

        #[test]
        fn the_source_hash_knows_the_client_and_nothing_else(
            clients: ([u8; 16], [u8; 16]), ports: ([u8; 2], [u8; 2]), services: (u16, u16), key: [u64; 4]
        ) {
            let v4 = |client: [u8; 16], port, service| {
                let [a, b, c, d, ..] = client;
                Flow::v4(&key, [a, b, c, d], port, service).source_hash(&key)
            };
            let v6 = |client, port, service| Flow::v6(&key, &Address(client), port, service).source_hash(&key);
            prop_assert_eq!(v4(clients.0, ports.0, services.0), v4(clients.0, ports.1, services.1));
            prop_assert_eq!(v6(clients.0, ports.0, services.0), v6(clients.0, ports.1, services.1));
            prop_assert_eq!(
                clients.0[..4] == clients.1[..4],
                v4(clients.0, ports.0, 0) == v4(clients.1, ports.0, 0)
            );
        }

        #[test]
        fn the_two_buckets_differ(tag: u64, bits in 1..24_u32) {
            let [a, b] = Flow::from_tag(&KEY, tag).buckets((1 << bits) - 1);
            prop_assert_ne!(a, b);
            prop_assert!(a < 1 << bits && b < 1 << bits);
        }
    }

    #[test]
    fn sequential_ports_spread_evenly_over_ring_slots() {
        let mut counts = [0_u32; 16];
        for port in 0..=u16::MAX {
            let flow = Flow::v4(&KEY, [192, 0, 2, 1], port.to_be_bytes(), 0);
            counts[crate::ring::slot(flow.hash, 16) as usize] += 1;
        }
        // 4096 expected in each, standard deviation 62: six of them either way.
        assert!(counts.iter().all(|c| (3724..=4468).contains(c)), "{counts:?}");
    }
}
