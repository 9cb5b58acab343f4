//! A backend that the node has not heard of: the program rewrites, the kernel asks and sends, and from
//! then on the program sends by itself.

use std::net::IpAddr;
use std::time::Duration;

use bg_common::reason::Reason;
use bg_tests::packets::craft::{Mac, octets};
use bg_tests::packets::wire::Wire;
use bg_tests::packets::world::{
    self, BACKENDS, CLIENT_MAC, EDGE, LAN_MAC, NODE, SILENT, SILENT_CLIENT, WAN_MAC, WEB,
};
use bg_tests::packets::{Action, Rig, Segment, flags};

/// How long the kernel may take for what takes it microseconds.
const PATIENCE: Duration = Duration::from_mins(1);

fn segment() -> Segment {
    Segment { destination: EDGE, ..Segment::to_service(flags::SYN) }
}

/// Lets the kernel hold a packet for as long as this test may need to name its neighbour. On a busy machine, three
/// seconds are over soon.
fn ask_slowly(rig: &Rig<'_>, device: &str) {
    let setting = format!("net/ipv4/neigh/{device}/retrans_time_ms");
    rig.namespace.sysctl(&setting, &PATIENCE.as_millis().to_string()).unwrap();
}

/// Case 45: addresses, ports and checksums are rewritten, hardware addresses and TTL are not, since the
/// kernel is yet to route the packet. Once the neighbour is known, the next packet is sent.
#[test]
fn a_packet_to_an_unknown_neighbour_goes_up_rewritten() {
    Rig::run("silent", |rig| {
        let segment = segment();
        let rewritten = Segment { destination: BACKENDS[SILENT].address, ..segment.clone() };
        for _ in 0..2 {
            rig.expect(&segment.bytes(), Reason::ForwardedByKernel, Action::Pass, &rewritten.bytes());
        }
        assert_eq!(rig.service_counter(2, 0).packets, 2);

        let backend = &BACKENDS[SILENT];
        world::neighbour(rig.namespace, backend.address.ip(), backend.mac, "lan").unwrap();
        let sent = segment.forwarded(backend, LAN_MAC);
        rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
    });
}

/// Case 45, the kernel's part: it asks for the neighbour, keeps the packet, and sends it when it knows.
/// What leaves is what the program would have sent.
#[test]
fn the_kernel_resolves_and_forwards_what_went_up() {
    Rig::run("resolve", |rig| {
        ask_slowly(rig, "lan");
        let wire = Wire::listen().unwrap();
        rig.receive(&segment().bytes());

        let backend = &BACKENDS[SILENT];
        wire.expect(&who_has(backend.address.ip(), NODE, LAN_MAC), PATIENCE);
        world::neighbour(rig.namespace, backend.address.ip(), backend.mac, "lan").unwrap();
        wire.expect(&segment().forwarded(backend, LAN_MAC).bytes(), PATIENCE);
    });
}

/// The same on the way back. The source is then a local address of the node, which the kernel would take
/// for forged; `accept_local` is why it does not.
#[test]
fn the_kernel_forwards_replies_that_come_from_a_local_address() {
    Rig::run("back", |rig| {
        rig.namespace.ip(&["addr", "add", "203.0.113.10/32", "dev", "lo"]).unwrap();
        ask_slowly(rig, "wan");
        let wire = Wire::listen().unwrap();
        let backend = &BACKENDS[0];
        let reply = Segment {
            from: backend.mac,
            source: backend.address,
            destination: SILENT_CLIENT,
            ..Segment::to_service(flags::ACK)
        };
        rig.receive(&reply.bytes());
        // It asks in the name of the packet's source, unless `arp_announce` says otherwise.
        wire.expect(&who_has(SILENT_CLIENT.ip(), WEB.ip(), WAN_MAC), PATIENCE);

        world::neighbour(rig.namespace, SILENT_CLIENT.ip(), CLIENT_MAC, "wan").unwrap();
        wire.expect(&reply.returned(WEB).bytes(), PATIENCE);
    });
}

/// The ARP request of a device.
fn who_has(address: IpAddr, node: IpAddr, mac: Mac) -> Vec<u8> {
    let mut request = [[0xff; 6], mac].concat();
    request.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    request.extend(mac);
    request.extend(octets(node));
    request.extend([0; 6]);
    request.extend(octets(address));
    request
}
