//! The two versions of IP: what differs between them is here, and the path is written once for both.

mod v4;
mod v6;

use bg_common::abi::Address;
use bg_common::flow::Flow;

use crate::checksum::Change;
use crate::fragment::Piece;
use crate::kernel::Version;
use crate::packet::{Frame, Wire};
use crate::parse::Shape;
use crate::verdict::Outcome;

/// The header of one version. Addresses are handed over as the tables have them, IPv4 ones mapped; for
/// one version all of that is known when the program is compiled, and nothing is left of it.
pub(crate) trait Ip: Wire {
    /// Which one.
    const VERSION: Version;

    /// Goes from the header to what follows it and all of its options, which is a header of `protocol`, and
    /// says what it has seen. The front of `payload` is the end of this header, and `available` counts from
    /// its start.
    ///
    /// # Errors
    /// The reason why that is not possible; the detail of `OtherProtocol` is that one. `BadHeader` is one only
    /// for who has to judge the packet.
    fn read(&self, protocol: u8, payload: &mut Frame<'_>, available: usize) -> Result<Shape, Outcome>;

    /// The place of a fragment in its packet; the front of `payload` is the end of this header. `None`: it is no
    /// fragment.
    fn piece(&self, payload: &Frame<'_>) -> Option<Piece>;

    /// Where from.
    fn source(&self) -> Address;
    /// Where to.
    fn destination(&self) -> Address;
    /// How many more hops it may take: TTL, or hop limit.
    fn hops(&self) -> u8;
    /// DSCP and ECN bits: type of service, or traffic class.
    fn tos(&self) -> u8;

    /// Takes one off the hops.
    fn take_hop(&mut self);
    /// Gives the packet another destination and `hops` hops less. Returns what that changes for the
    /// checksum of the transport header.
    fn set_destination(&mut self, address: &Address, hops: u8) -> Change;
    /// The same with another source.
    fn set_source(&mut self, address: &Address, hops: u8) -> Change;

    /// Whether the tables can have this address as one of this version.
    fn may_be_listed(address: &Address) -> bool;
    /// Whether no client has this address.
    fn is_martian(source: &Address) -> bool;
    /// The flow of a client.
    fn flow(key: &[u64; 4], client: &Address, port: [u8; 2], service: u16) -> Flow;
    /// The next-hop entry of a destination, from which low bits are taken.
    fn place(destination: &Address) -> u32;
}
