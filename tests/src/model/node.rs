//! The node of the model in the kernel's maps, and packets as they arrive there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bg_common::abi::{self, Backend, BackendId, Endpoint, entry};
use bg_common::host;
use bg_ebpf::host::Host as Node;
use bg_userspace::datapath::Maps;

use super::machine::Seen;
use super::setup::{self, VIP};
use super::state::BACKENDS;
use crate::packets::craft::{Segment, flags};
use crate::packets::world;

/// Gives the program the service, its backends and the device.
pub(super) fn fill(maps: &Maps, room: usize, wan: u32) {
    let mut node = Node::new(host::Host::new(1, 1));
    node.add_service(setup::service());
    for id in 0..BACKENDS {
        let backend = setup::backend(id);
        maps.backends.put(id, setup::backend(id));
        node.add_endpoint(Endpoint {
            address: backend.address,
            vip: abi::Address::v4(VIP.0),
            port: backend.port,
            vip_port: VIP.1.to_be_bytes(),
            protocol: 6,
            state: entry::USED,
            backend: id as BackendId,
            service: 0,
            deployment: 0,
            environment: backend.environment,
            excludes: 0,
            views: 0,
            pad: [0; 5],
            others: Default::default(),
        });
    }
    node.add_interface(wan, world::WAN_MAC);
    node.services.iter().enumerate().for_each(|(i, service)| maps.services.put(i, *service));
    node.endpoints.iter().enumerate().for_each(|(i, endpoint)| maps.endpoints.put(i, *endpoint));
    node.interfaces.iter().enumerate().for_each(|(i, interface)| maps.interfaces.put(i, *interface));
    maps.node.put(0, setup::node(room));
}

/// Where a backend listens.
pub(super) fn address(backend: BackendId) -> SocketAddr {
    let Backend { address, port, .. } = setup::backend(backend.into());
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address.tail())), u16::from_be_bytes(port))
}

/// The packet that is seen.
pub(super) fn bytes(seen: &Seen) -> Vec<u8> {
    let client = SocketAddr::new([192, 0, 2, 7 + seen.client].into(), 40_000);
    let vip = SocketAddr::new(VIP.0.into(), VIP.1);
    let rule = &seen.segment;
    let bit = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = bit(rule.syn, flags::SYN)
        | bit(rule.ack, flags::ACK)
        | bit(rule.fin, flags::FIN)
        | bit(rule.rst, flags::RST);
    Segment {
        source: seen.from.map_or(client, address),
        destination: if seen.from.is_some() { client } else { vip },
        sequence: rule.sequence,
        acknowledgement: rule.acknowledgement,
        payload: if rule.payload { vec![0x5a] } else { Vec::new() },
        ..Segment::to_service(flags)
    }
    .bytes()
}

/// The backend to which a packet was sent.
pub(super) fn destination(packet: &[u8]) -> BackendId {
    let at = packet[30..34].try_into().map(Ipv4Addr::from_octets).expect("four bytes");
    let known = (0..BACKENDS as BackendId).find(|&id| address(id).ip() == at);
    known.unwrap_or_else(|| panic!("sent to {at}, which is no backend"))
}
