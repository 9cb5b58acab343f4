//! P9 of PINNING.md at the size of a node: without a flood every SYN leads to a connection, and at least
//! 99.9 % of the new ones reach the current ring.

use super::{answer, data, environment, flip, go, replied, syn};
use crate::control::Environment::Green;
use crate::flow::Flow;
use crate::host::Host;
use crate::recent;

/// Buckets of pins: a table that the new connections fill by three fifths.
const BUCKETS: u32 = 1 << 15;
/// New connections after the flip.
const OPENED: u32 = 80_000;
/// SYNs that each filter of the memory holds when it comes to the flip, for each of its words: what
/// 8,192 new connections a second leave in a filter of 8 MiB until it is rotated.
const REMEMBERED: u32 = 1;

fn flow(host: &Host, number: u32) -> Flow {
    let [a, b, c, d] = number.to_be_bytes();
    Flow::v4(&host.node.key, [198, 51, a, b], [c, d], 0)
}

#[test]
fn nearly_every_new_connection_reaches_current_and_every_one_is_a_connection() {
    let host = Host::new(1, BUCKETS);
    let words = host.node.recent_mask + 1;
    for number in 0..2 * REMEMBERED * words {
        if number == REMEMBERED * words {
            recent::rotate(&host, 0);
        }
        go(&host, &flow(&host, u32::MAX - number), &syn(number)).expect("base has backends");
    }
    flip(&host);
    let mut reached = 0;
    for number in 0..OPENED {
        let (flow, isn) = (flow(&host, number), number.wrapping_mul(0x9e37_79b9));
        let backend = go(&host, &flow, &syn(isn)).expect("every SYN is let through");
        assert_eq!(go(&host, &flow, &data(isn.wrapping_add(1))), Ok(backend), "the handshake's end");
        replied(&host, &flow, backend, &answer(isn));
        assert_eq!(go(&host, &flow, &data(isn.wrapping_add(1 << 20))), Ok(backend), "and what follows");
        reached += u32::from(environment(backend) == Green);
    }
    let missed = OPENED - reached;
    // Some do miss it, or the memory was not there.
    assert!(missed > 0 && missed * 1000 <= OPENED, "{missed} of {OPENED} went to base");
}
