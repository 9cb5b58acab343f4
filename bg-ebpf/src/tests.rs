//! The packet path over tables in plain memory.

mod answers;
mod anything;
mod chains;
mod hops;
mod journeys;
mod shapes;
mod sums;
mod v6;

pub(crate) use sums::recomputed;

use std::vec::Vec;

use bg_common::abi::{Address, Endpoint, Service, entry, other_ports};

use crate::host::{Buffer, Host};
use crate::kernel::{Answer, Hop};
use crate::packet::{Frame, Macs};
use crate::parse;
use crate::verdict::Action;

const WAN: u32 = 5;
const LAN: u32 = 6;
const WAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 9, 7];
const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const CLIENT: [u8; 4] = [192, 0, 2, 7];
const VIP: [u8; 4] = [203, 0, 113, 10];
const BACKENDS: [[u8; 4]; 4] = [[10, 0, 1, 1], [10, 0, 1, 2], [10, 0, 2, 1], [10, 0, 2, 2]];
const SYN: u8 = 2;
const ACK: u8 = 16;

/// A node with one service, its VIP's policy, its four backends, a route to everybody, and the same once more
/// over IPv6 in the same deployment.
fn node() -> Host {
    let mut host = Host::new(bg_common::host::Host::default());
    host.tables.node.vip_policy = 1;
    let service = host.tables.service(0);
    host.add_service(service);
    host.add_service(Service { port: [0; 2], protocol: 0, other_ports: other_ports::DROP, ..service });
    for (id, address) in (0..).zip(BACKENDS) {
        host.add_endpoint(Endpoint {
            address: Address::v4(address),
            vip: service.vip,
            port: 8080_u16.to_be_bytes(),
            vip_port: service.port,
            protocol: 6,
            state: entry::USED,
            backend: id,
            service: 0,
            deployment: 0,
            environment: u8::from(id > 1),
            excludes: 0,
            views: 0,
            pad: [0; 5],
            others: Default::default(),
        });
        host.add_route(Address::v4(address), 128, hop(LAN, LAN_MAC, BACKEND_MAC));
    }
    host.add_route(Address::v4(CLIENT), 128, hop(WAN, WAN_MAC, CLIENT_MAC));
    host.add_interface(WAN, WAN_MAC);
    host.add_interface(LAN, LAN_MAC);
    v6::add(&mut host);
    host
}

fn hop(interface: u32, from: [u8; 6], to: [u8; 6]) -> Answer {
    Answer::Hop(Hop { interface, mtu: 1500, macs: Macs::words(to, from), gateway: false })
}

/// An address and a port.
type End = ([u8; 4], u16);

/// A frame with a bare TCP segment. Its checksums are those of nothing: the path only updates them.
fn frame(to: [u8; 6], from: [u8; 6], source: End, destination: End, flags: u8) -> Vec<u8> {
    let mut bytes = [to, from].concat();
    bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0x12, 0x34]);
    bytes.extend(source.0);
    bytes.extend(destination.0);
    bytes.extend(source.1.to_be_bytes());
    bytes.extend(destination.1.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 1, 0, 0xab, 0xcd, 0, 0]);
    bytes
}

fn from_client(port: u16, flags: u8) -> Vec<u8> {
    frame(WAN_MAC, CLIENT_MAC, (CLIENT, port), (VIP, 443), flags)
}

/// Lets a packet arrive on an interface.
fn arrive(host: &Host, packet: &[u8], interface: u32) -> (Action, Vec<u8>) {
    let mut buffer = Buffer::new(packet, interface);
    let action = host.receive(&mut buffer);
    (action, buffer.bytes().to_vec())
}

/// The `EtherType` behind a frame's tags, as it lies in memory.
fn ethertype(packet: &[u8]) -> u16 {
    let mut packet = packet.to_vec();
    parse::link(Frame::of(&mut packet)).map_or(0, |link| link.ethertype)
}
