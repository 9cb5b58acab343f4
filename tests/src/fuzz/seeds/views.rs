//! The second service, which has a preview and testers, and whose backends' endpoints the two share.

use std::net::SocketAddr;

use super::{
    ACK, Act, CLIENT, Case, DRAIN, FIN, PLAIN, Part, STEADY, SYN, Segment, at, craft, extension, lan, reply,
    request, switch, wan,
};

const PREVIEW: SocketAddr = at(203, 0, 113, 10, 8444);
/// Blue's, and green's.
const BACKENDS: [SocketAddr; 2] = [at(10, 0, 1, 1, 8081), at(10, 0, 2, 1, 8081)];
const TESTER: SocketAddr = at(198, 51, 100, 9, 40_000);
/// Was one.
const FORMER: SocketAddr = at(198, 51, 100, 25, 40_000);

pub(super) fn cases() -> Vec<Case> {
    let to = |at, flags| wan(Segment { destination: at, ..request(flags) });
    let by = |client, flags| wan(Segment { source: client, destination: PLAIN, ..request(flags) });
    let of = |backend: usize, client, flags| lan(reply(BACKENDS[backend], client, flags));
    let flip = || switch(0, DRAIN, 0, 1);
    let over = || switch(0, STEADY, 1, 1);
    let datagram = |at| wan(Segment { destination: at, ..Segment::datagram(b"question") });
    let first = |at| {
        wan(Segment {
            destination: at,
            fragment: craft::MF,
            extensions: vec![extension::fragment(0, true)],
            payload: vec![8; 44],
            ..request(ACK)
        })
    };
    vec![
        (
            "preview",
            vec![
                to(PREVIEW, SYN),
                of(1, CLIENT, SYN | ACK),
                to(PREVIEW, ACK),
                of(1, CLIENT, ACK),
                flip(),
                to(PREVIEW, ACK),
                to(PLAIN, SYN),
                of(1, CLIENT, SYN | ACK),
                over(),
                to(PREVIEW, FIN | ACK),
                of(1, CLIENT, FIN | ACK),
            ],
        ),
        ("preview-unpinned", vec![to(PREVIEW, ACK), Part::Act(Act::NoPins), to(PREVIEW, SYN)]),
        ("preview-datagram", vec![datagram(PREVIEW), flip(), datagram(PREVIEW), datagram(PLAIN)]),
        (
            "testers",
            [TESTER, FORMER]
                .into_iter()
                .flat_map(|client| {
                    [
                        by(client, SYN),
                        of(1, client, SYN | ACK),
                        by(client, ACK),
                        flip(),
                        by(client, ACK),
                        by(client, SYN),
                    ]
                })
                .collect(),
        ),
        ("preview-fragments", vec![first(PREVIEW), first(PLAIN)]),
    ]
}
