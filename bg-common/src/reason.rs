//! Why a packet ended as it did. Every packet has exactly one reason, and every reason is counted.

use crate::catalogue::catalogue;

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent by the program.
    Send,
    /// Handed to the kernel.
    Pass,
    /// Dropped.
    Drop,
}

macro_rules! reasons {
    ($($variant:ident = $number:literal, $verdict:ident, $name:literal, $text:literal;)*) => {
        catalogue! {
            /// Why a packet ended as it did. Counters are labelled with its name.
            Reason { $($variant = $number, $name, $text;)* }
        }

        impl Reason {
            /// What is done with such a packet.
            #[must_use]
            #[inline(always)]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)* }
            }
        }
    };
}

reasons! {
    Forwarded = 0, Send, "forwarded", "From a client, sent to its backend.";
    Returned = 1, Send, "returned", "From a backend, sent to its client.";
    TimeExceeded = 2, Send, "time_exceeded", "TTL or hop limit over: the client is told so.";
    FragmentationNeeded = 3, Send, "fragmentation_needed", "Larger than the way out takes: the client is told so.";
    ForwardedByKernel = 4, Pass, "forwarded_by_kernel", "Rewritten or encapsulated; the kernel finds the neighbour and sends it to the backend.";
    ReturnedByKernel = 5, Pass, "returned_by_kernel", "Rewritten; the kernel finds the neighbour and sends it to the client.";
    OtherProtocol = 6, Pass, "other_protocol", "Neither TCP nor UDP nor ICMP about them, or behind IPv6 headers that are the kernel's business.";
    ForeignMac = 7, Pass, "foreign_mac", "Not addressed to this interface, or to many.";
    NotService = 8, Pass, "not_service", "Neither to a service nor from a backend.";
    Excluded = 9, Pass, "excluded", "From a backend to a prefix that speaks to it directly.";
    OwnTraffic = 10, Pass, "own_traffic", "From a backend to the node itself (a health check, say), or to where the node has no route.";
    NotReady = 11, Pass, "not_ready", "To a service whose deployment is not set up yet.";
    ReturnTtl = 12, Pass, "return_ttl", "From a backend with its TTL or hop limit over: the kernel tells the backend.";
    LaterFragment = 13, Pass, "later_fragment", "A fragment without ports, of a packet that is not ours.";
    ReturnTooBig = 14, Pass, "return_too_big", "From a backend and larger than the way out takes: the kernel tells the backend.";
    Echoed = 15, Send, "echoed", "An echo request to a VIP, answered.";
    ErrorForwarded = 16, Send, "error_forwarded", "An ICMP error about a reply, sent to the backend whose reply it was.";
    ErrorReturned = 17, Send, "error_returned", "An ICMP error about a request, sent to the client whose request it was.";
    Refused = 34, Send, "refused", "To an environment without a healthy backend: the client is told so, by a RST or as an unreachable port.";
    Encapsulated = 18, Send, "encapsulated", "From a client, sent to its backend within another packet.";
    Truncated = 20, Drop, "truncated", "Cut inside a header.";
    BadHeader = 21, Drop, "bad_header", "Wrong version, header length or total length.";
    BadFlags = 22, Drop, "bad_flags", "TCP flags that no connection has.";
    Martian = 23, Drop, "martian", "A source that no client has: the VIP itself, loopback, multicast, link-local (IPv6).";
    OtherPort = 24, Drop, "other_port", "To a VIP on a port that is no service, where the VIP's policy is to drop.";
    BadFragment = 25, Drop, "bad_fragment", "A fragment that cuts the transport header, overlaps the first one, or fits no packet.";
    NoBackend = 26, Drop, "no_backend", "No healthy backend in the environment, and nothing to answer: a RST, or an ICMP error.";
    PinBusy = 27, Drop, "pin_busy", "A SYN while another connection of the same flow is half open; it will be sent again.";
    Sealed = 28, Drop, "sealed", "A SYN into an environment in its last two seconds of draining; it will be sent again.";
    NoRoute = 29, Drop, "no_route", "No route to the backend or client.";
    Failed = 30, Drop, "failed", "The kernel refused an act of the program.";
    NoChecksum = 31, Drop, "no_checksum", "UDP over IPv6 without a checksum.";
    ShortQuote = 32, Drop, "short_quote", "An ICMP error to a VIP that does not quote the ports.";
    ErrorTtl = 33, Drop, "error_ttl", "An ICMP error with its TTL or hop limit over.";
    Unanswered = 35, Drop, "unanswered", "The client would be told why, but more is being told just now than is good.";
    UnknownFragment = 36, Drop, "unknown_fragment", "A later fragment to a VIP, of a packet whose first one did not come before it.";
    Hairpin = 38, Drop, "hairpin", "From a backend to a VIP, and that backend's turn to serve it.";
    FragmentTtl = 37, Drop, "fragment_ttl", "A later fragment to a backend with its TTL or hop limit over; nobody is told (RFC 1122, 3.2.2).";
    NoNeighbour = 40, Drop, "no_neighbour", "To a backend (mode dsr) whose hardware address is not known yet.";
    DirectFragment = 42, Drop, "direct_fragment", "The first fragment of a packet to a service of mode dsr or ipip, which takes none.";
    NotOnLink = 41, Drop, "not_on_link", "To a backend (mode dsr) that is behind a router, which would send the packet back.";
    NoPin = 39, Send, "no_pin", "To a service that pins every connection: one without a pin, or a new one for which there is no room; the client is told so.";
    FragmentedView = 43, Drop, "fragmented_view", "A fragment to or from a service with a preview, testers, or a shared endpoint.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_the_counters_and_differ() {
        let mut seen = [false; crate::abi::REASON_COUNTERS as usize];
        for &reason in Reason::ALL {
            assert!(!core::mem::replace(&mut seen[reason as usize], true), "{reason:?}");
        }
    }
}
