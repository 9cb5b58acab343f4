//! What can happen.

use bg_common::control::Environment;

use super::state::Packet;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The agent makes new connections go to a backend, in the name of an environment.
    Switch(u16, Environment),
    /// The agent changes the rings, and the one slot stays where it was.
    Unmoved,
    /// The agent looks around and does what `rollout::next` says.
    Look,
    /// The agent goes on with what it has begun.
    Proceed,
    /// The agent frees pins whose time is over.
    Expire,
    /// The agent rotates the SYN memory.
    Rotate,
    /// The agent is killed and starts again.
    Kill,
    /// A seal's time is over.
    SealExpires,
    /// The client opens its next connection.
    Open,
    /// A copy of its SYN is delayed in the network.
    Delay(u8),
    /// A delayed copy gets lost.
    Lose(u8),
    /// The client gives up opening.
    GiveUp,
    /// A packet passes.
    Send(Packet),
    /// A packet reads its control word.
    Read(Packet),
    /// It does the rest.
    Finish,
    /// The first is interrupted by the second one before this access to a shared word.
    Meet(Packet, Packet, u8),
    /// The agent is interrupted by a packet.
    Disturb(Interrupted, Packet, u8),
    /// A backend forgets a connection that the client does not have.
    Forget(u16),
    /// FIN both ways.
    Close,
    /// The client resets its connection.
    Abort,
    /// Time passes in which this stays silent.
    Silence(Thing),
}

/// A procedure of the agent, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as the actions")]
pub enum Interrupted {
    Expire,
    Clear,
    Rotate,
}

/// What grows old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// The client's pin: longer than a SYN or a closing pin lives.
    Pin,
    /// The client's pin: longer than any pin lives.
    DeadPin,
    /// The half of the client's pin, whatever its established connection says: longer than a SYN lives.
    Half,
    /// The other client's pin.
    OtherPin,
    /// A flow in the census, by its place.
    Census(usize),
    /// A flow in the census, noted before the last switch and not since.
    Stale(usize),
    /// SYNs into an environment.
    Syns(Environment),
    /// Everything that is left, since the last switch.
    Horizon,
}
