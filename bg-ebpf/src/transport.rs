//! The two transports: what differs between them is here, and the path is written once for both.

mod tcp;
mod udp;

pub(crate) use self::tcp::Refusal;

use bg_common::abi::Service;
use bg_common::decide::views::Look;
use bg_common::decide::{Route, Segment, Sender};
use bg_common::flow::Flow;
use bg_common::reason::Reason;

use crate::checksum::Change;
use crate::kernel::Kernel;
use crate::packet::Wire;
use crate::parse::Shape;

/// A header of TCP or UDP. Ports are numbers as they lie in memory.
pub(crate) trait Transport: Wire {
    /// IP protocol number.
    const PROTOCOL: u8;

    /// The port that it comes from.
    fn source(&self) -> u16;
    /// The port that it goes to.
    fn destination(&self) -> u16;
    /// Whether the lengths that it claims fit the packet's.
    fn fits(&self, shape: &Shape) -> bool;
    /// What is wrong with it where a client sent it, beyond lengths.
    fn fault(&self, shape: &Shape) -> Option<Reason>;

    /// Gives it another source, after addresses that it covers have changed.
    fn set_source(&mut self, change: Change, port: u16);
    /// Gives it another destination, likewise.
    fn set_destination(&mut self, change: Change, port: u16);

    /// Where it goes, by the rule; and whether it opens a connection.
    ///
    /// # Errors
    /// The reason why it goes nowhere.
    fn forward<K: Kernel>(
        &self,
        kernel: &K,
        look: impl Look,
        service: &Service,
        flow: &Flow,
        shape: &Shape,
    ) -> Result<(Route, bool), Reason>;

    /// Takes note of it as a backend's reply. Whether it accepts a connection.
    fn reply<K: Kernel>(
        &self,
        kernel: &K,
        look: impl Look,
        sender: Sender,
        flow: &Flow,
        shape: &Shape,
    ) -> bool;

    /// What the rule needs to know of it; none of a datagram.
    fn segment(&self, shape: &Shape) -> Option<Segment>;
}
