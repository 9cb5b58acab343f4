//! The stages: parts of the packet path that are programs of their own, entered by a tail call. The verifier
//! looks at each by itself, each has a stack of its own, and what most packets need stays small.

use crate::catalogue::catalogue;

catalogue! {
    /// A stage behind the entry point: its place in `STAGES`, the name of its program, what comes there.
    Stage {
        V6 = 0, "bg_v6", "IPv6.";
        Udp = 1, "bg_udp", "UDP, over either version of IP.";
        Icmp = 2, "bg_icmp", "ICMP, over either version of IP.";
        Answer = 3, "bg_answer", "A packet that its sender is told about: why, and what is told, is in `NOTE`.";
        Refuse = 4, "bg_refuse", "A packet for which there is no backend.";
        Fragment = 5, "bg_fragment", "A later fragment, which has no ports.";
        FirstTcp = 6, "bg_first_tcp", "The first fragment of a TCP segment over IPv4.";
        FirstV6 = 7, "bg_first_v6", "The same over IPv6.";
        FirstUdp = 8, "bg_first_udp", "The first fragment of a UDP datagram, over either version of IP.";
        Encap = 9, "bg_encap", "A packet that travels to its backend within another one: which backend is in `NOTE`.";
        Views = 10, "bg_views", "TCP over IPv4, to a service with views: a preview, one that has testers, or a shared endpoint.";
        ViewsV6 = 11, "bg_views_v6", "TCP over IPv6, to such a service.";
        ViewsUdp = 12, "bg_views_udp", "UDP over either version of IP, to such a service.";
        ViewsBack = 13, "bg_views_back", "TCP over either version of IP, from its backends.";
        ViewsUdpBack = 14, "bg_views_udp_back", "UDP over either version of IP, from its backends.";
    }
}
