//! Segments over IPv6, and where they are expected.

use std::net::SocketAddr;

use bg_common::reason::Reason;

use super::craft::Segment;
use super::rig::{Action, Rig};
use super::world::{BACKENDS, CLIENT, LAN_MAC, V6_BACKEND, WEB, v6};

/// A segment of the client to the first service of IPv6, with what only IPv6 has.
pub fn to_service(flags: u8) -> Segment {
    Segment { tos: 0xb9, flow_label: 0xa_bcde, ..Segment::to_service(flags).over_v6() }
}

/// A segment of IPv6 backend `number` to the client.
pub fn from_backend(number: usize, flags: u8) -> Segment {
    let backend = &BACKENDS[V6_BACKEND + number];
    Segment { from: backend.mac, source: backend.address, destination: v6(CLIENT), ..to_service(flags) }
}

/// The segment to somebody who is none of our business.
pub fn elsewhere(segment: &Segment) -> Segment {
    Segment { destination: v6(SocketAddr::from(([198, 51, 100, 1], 443))), ..segment.clone() }
}

/// Expects that a segment goes to IPv6 backend `backend` on the lan.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn expect_forwarded(rig: &mut Rig<'_>, segment: &Segment, backend: usize) {
    let sent = segment.forwarded(&BACKENDS[V6_BACKEND + backend], LAN_MAC);
    rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
}

/// Expects that a backend's segment goes to the client from the first service.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn expect_returned(rig: &mut Rig<'_>, segment: &Segment) {
    rig.expect(&segment.bytes(), Reason::Returned, Action::Tx, &segment.returned(v6(WEB)).bytes());
}
