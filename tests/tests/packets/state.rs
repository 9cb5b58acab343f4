//! What a switch does to flows: which environment a packet goes to, and what is stored about it.

use bg_common::control::{Environment, Phase};
use bg_common::reason::Reason;
use bg_tests::packets::state::UsedPin;
use bg_tests::packets::world::{BACKENDS, CLIENT, LAN_MAC, WEB};
use bg_tests::packets::{Action, Rig, Segment, Tables, flags};

use Environment::{Blue, Green};

const ISN: u32 = 0x0102_0304;
/// The pin of the client's flow to the first service, half open at green.
const HALF: UsedPin =
    UsedPin { tag: 0, half: Some((ISN, 1)), matched: false, established: None, closing: false };

/// Expects that a segment goes to the backend of an environment.
#[track_caller]
fn goes_to(rig: &mut Rig<'_>, segment: &Segment, environment: Environment) {
    let sent = segment.forwarded(&BACKENDS[environment as usize], LAN_MAC);
    rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
}

/// Sends a segment from the backend of an environment, and expects that the client gets it.
#[track_caller]
fn replies(rig: &mut Rig<'_>, environment: Environment, flags: u8, acknowledgement: u32) {
    let backend = &BACKENDS[environment as usize];
    let reply = Segment {
        from: backend.mac,
        source: backend.address,
        destination: CLIENT,
        acknowledgement,
        ..Segment::to_service(flags)
    };
    rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(WEB).bytes());
}

/// Expects exactly these pins of the client's flow.
#[track_caller]
fn holds(rig: &Rig<'_>, pins: &[UsedPin]) {
    let tag = Tables::tag(CLIENT, 0);
    let pins: Vec<_> = pins.iter().map(|&pin| UsedPin { tag, ..pin }).collect();
    assert_eq!(rig.tables.pins().unwrap(), pins);
}

fn syn() -> Segment {
    Segment::to_service(flags::SYN)
}

fn ack() -> Segment {
    Segment { sequence: ISN + 1, ..Segment::to_service(flags::ACK) }
}

/// A connection that was opened after a flip to green, up to its first data.
fn establish_on_green(rig: &mut Rig<'_>) {
    rig.tables.flip(0, Blue).unwrap();
    goes_to(rig, &syn(), Green);
    holds(rig, &[HALF]);
    replies(rig, Green, flags::SYN | flags::ACK, ISN + 1);
    holds(rig, &[HALF]); // a SYN-ACK proves nothing: an old connection may be answered by one
    goes_to(rig, &ack(), Green);
    holds(rig, &[UsedPin { matched: true, ..HALF }]);
    replies(rig, Green, flags::ACK, ISN + 1);
    holds(rig, &[ESTABLISHED]);
}

const ESTABLISHED: UsedPin = UsedPin { half: None, established: Some((ISN, 1)), matched: false, ..HALF };

/// Case 2: a flow that began before the flip stays, silent or not, and needs no pin for it.
#[test]
fn flow_opened_before_a_flip_stays() {
    Rig::run("stays", |rig| {
        goes_to(rig, &syn(), Blue);
        goes_to(rig, &ack(), Blue);
        rig.tables.flip(0, Blue).unwrap();
        goes_to(rig, &ack(), Blue);
        replies(rig, Blue, flags::ACK, ISN + 1);
        holds(rig, &[]);
        // It is of the environment that is being left, so that the drain waits for it.
        assert_eq!(rig.tables.census().unwrap(), [(Tables::tag(CLIENT, 0), 0)]);
        // Rolled back, it is still there.
        rig.tables.control(0, Phase::Drain, Blue, Blue).unwrap();
        goes_to(rig, &ack(), Blue);
    });
}

/// A SYN that was sent to base before the flip and is sent again after it belongs to base.
#[test]
fn a_syn_from_before_the_flip_is_remembered() {
    Rig::run("again", |rig| {
        goes_to(rig, &syn(), Blue);
        assert_eq!(rig.tables.recent().unwrap(), [1, 0, 0, 0]);
        rig.tables.flip(0, Blue).unwrap();
        goes_to(rig, &syn(), Blue);
        holds(rig, &[]);
        // Another first sequence number is another connection.
        goes_to(rig, &Segment { sequence: ISN + 9, ..syn() }, Green);
    });
}

/// Case 3: without any state, in STEADY, a packet goes by base, and nothing is stored.
#[test]
fn a_packet_without_state_goes_by_base() {
    Rig::run("base", |rig| {
        goes_to(rig, &ack(), Blue);
        rig.tables.steady(0, Green).unwrap();
        goes_to(rig, &ack(), Green);
        holds(rig, &[]);
        assert_eq!(rig.tables.recent().unwrap(), [0; 4]);
        assert_eq!(rig.tables.census().unwrap(), []);
    });
}

/// A connection that is opened during a drain gets a pin, which its backend's reply makes a lasting one.
#[test]
fn a_connection_opened_after_a_flip_is_pinned() {
    Rig::run("pinned", |rig| {
        establish_on_green(rig);
        // However far it has come, and after a rollback as well.
        let far = Segment { sequence: ISN.wrapping_add(0x8000_0000), ..ack() };
        goes_to(rig, &far, Green);
        rig.tables.control(0, Phase::Drain, Blue, Blue).unwrap();
        goes_to(rig, &far, Green);
        // Now green is what is being left.
        assert_eq!(rig.tables.census().unwrap(), [(Tables::tag(CLIENT, 0), 1)]);
    });
}

/// Case 4: the same ports are used again while the old pin is there: a new connection, to current, and the
/// old one keeps its own until the new one is answered.
#[test]
fn a_reused_tuple_opens_a_new_connection() {
    Rig::run("reuse", |rig| {
        establish_on_green(rig);
        goes_to(rig, &Segment { sequence: ISN + 1, ..Segment::to_service(flags::FIN | flags::ACK) }, Green);
        replies(rig, Green, flags::FIN | flags::ACK, ISN + 2);
        holds(rig, &[UsedPin { closing: true, ..ESTABLISHED }]);

        let again = Segment { sequence: 0x5000_0000, ..syn() };
        goes_to(rig, &again, Green);
        // The client speaks again: what it had finished is open.
        holds(rig, &[UsedPin { half: Some((0x5000_0000, 1)), ..ESTABLISHED }]);
        // Sent again, it changes nothing; a third connection of the same ports has to wait.
        goes_to(rig, &again, Green);
        rig.expect_drop(&Segment { sequence: 0x6000_0000, ..syn() }.bytes(), Reason::PinBusy);
        assert_eq!(rig.service_counter(0, 1).connections, 3);
    });
}

/// Case 5: FIN both ways is forwarded, and leaves the pin closing; one FIN alone does not.
#[test]
fn fin_both_ways_closes_the_pin() {
    Rig::run("fin", |rig| {
        establish_on_green(rig);
        let fin = Segment { sequence: ISN + 1, ..Segment::to_service(flags::FIN | flags::ACK) };
        goes_to(rig, &fin, Green);
        holds(rig, &[ESTABLISHED]);
        replies(rig, Green, flags::FIN | flags::ACK, ISN + 2);
        goes_to(rig, &Segment { sequence: ISN + 2, ..ack() }, Green);
        holds(rig, &[UsedPin { closing: true, ..ESTABLISHED }]);
    });
}

/// Case 6: a RST is forwarded and leaves the pin closing, but there: it may be forged, and the next packet
/// that is none shows that.
#[test]
fn a_reset_frees_no_pin() {
    Rig::run("rst", |rig| {
        establish_on_green(rig);
        goes_to(rig, &Segment { sequence: ISN + 1, ..Segment::to_service(flags::RST) }, Green);
        holds(rig, &[UsedPin { closing: true, ..ESTABLISHED }]);
        goes_to(rig, &ack(), Green);
        holds(rig, &[ESTABLISHED]);
    });
}

/// Case 7: a RST of no known flow goes by base, and leaves no pin and no memory.
#[test]
fn a_reset_outside_any_flow_stores_nothing() {
    Rig::run("stray", |rig| {
        let reset = Segment::to_service(flags::RST);
        goes_to(rig, &reset, Blue);
        rig.tables.flip(0, Green).unwrap();
        goes_to(rig, &reset, Green);
        holds(rig, &[]);
        assert_eq!(rig.tables.recent().unwrap(), [0; 4]);
    });
}

/// With no room for a pin a new connection goes to base, is remembered there, and is counted.
#[test]
fn without_room_a_connection_goes_to_base() {
    Rig::run("full", |rig| {
        rig.tables.node(true).unwrap();
        rig.tables.flip(0, Blue).unwrap();
        goes_to(rig, &syn(), Blue);
        goes_to(rig, &ack(), Blue);
        holds(rig, &[]);
        assert_eq!(rig.tables.recent().unwrap(), [1, 0, 0, 0]);
        let blue = rig.service_counter(0, 0);
        assert_eq!((blue.packets, blue.connections, blue.overflow), (2, 1, 1));
    });
}

/// In SEAL nothing new enters the environment that is being left; what is there goes on.
#[test]
fn a_sealed_environment_takes_nothing_new() {
    Rig::run("seal", |rig| {
        goes_to(rig, &syn(), Blue);
        rig.tables.control(0, Phase::Seal, Blue, Green).unwrap();
        rig.expect_drop(&syn().bytes(), Reason::Sealed);
        goes_to(rig, &ack(), Blue);
        goes_to(rig, &Segment { sequence: ISN + 9, ..syn() }, Green);
        // A seal whose time is over is a drain.
        rig.tables.expired_seal(0, Blue).unwrap();
        goes_to(rig, &syn(), Blue);
    });
}

/// The pins of a backend that is dead are void: its flows go by base.
#[test]
fn the_pins_of_a_dead_backend_are_void() {
    Rig::run("dead", |rig| {
        establish_on_green(rig);
        rig.tables.kill(1).unwrap();
        goes_to(rig, &ack(), Blue);
    });
}
