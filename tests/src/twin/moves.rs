//! What a connection may do next: in order and out of order.

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    Opening,
    Answered,
    Open,
    Over,
}

/// What somebody does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Syn,
    /// Another connection of the same addresses and ports, perhaps of somebody who forged them.
    OtherSyn,
    Ack,
    Data,
    DataAgain,
    Keepalive,
    /// At the edge of what a half pin covers, or anywhere.
    Elsewhere,
    Fin,
    Reset,
    SynAck,
    Reply,
    ReplyFin,
    ReplyReset,
    /// It acknowledges what this connection never sent.
    ReplyElsewhere,
    /// A backend that the connection is not on.
    Stranger,
}

use Move::{
    Ack, Data, DataAgain, Elsewhere, Fin, Keepalive, OtherSyn, Reply, ReplyElsewhere, ReplyFin, ReplyReset,
    Reset, Stranger, Syn, SynAck,
};

/// What happens next at this stage, and how likely it is.
pub(super) const fn moves(stage: Stage) -> &'static [(u32, Move)] {
    match stage {
        Stage::New => &[(95, Syn), (3, Ack), (2, Reset)],
        Stage::Opening => &[
            (30, SynAck),
            (26, Syn),
            (12, OtherSyn),
            (6, Ack),
            (3, Elsewhere),
            (3, Reset),
            (4, ReplyElsewhere),
            (3, Stranger),
            (2, ReplyReset),
        ],
        Stage::Answered => &[
            (50, Ack),
            (12, Data),
            (8, Syn),
            (8, SynAck),
            (4, OtherSyn),
            (4, Elsewhere),
            (4, ReplyElsewhere),
            (4, Reply),
            (3, Stranger),
            (3, Reset),
        ],
        Stage::Open => &[
            (20, Data),
            (20, Reply),
            (8, Ack),
            (8, DataAgain),
            (6, Keepalive),
            (4, Elsewhere),
            (4, ReplyElsewhere),
            (3, Stranger),
            (2, Reset),
            (2, ReplyReset),
            (2, Syn),
            (3, OtherSyn),
            (5, Fin),
            (5, ReplyFin),
        ],
        Stage::Over => &[(20, Ack), (10, Fin), (10, ReplyFin), (10, Reply), (5, Reset), (5, Syn), (5, Data)],
    }
}
