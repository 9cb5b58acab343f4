//! What the benchmark runs: programs that make the packet anew, give it to the next flow, and go on to the
//! program under test, or to one that does nothing. A repeated test run leaves the packet as the last run made
//! it, and so the second run would be of another packet.
#![no_std]
#![no_main]

mod headers;
mod unwrap;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, ProgramArray};
use aya_ebpf::programs::XdpContext;
use bg_ebpf::packet::{Field as _, Frame};
use bg_front::{FRAME, Plan};

use headers::{Error4, Headers, V4, V6};

/// The packet as it is at first.
#[map]
static ORIGINAL: Array<[u8; FRAME]> = Array::with_max_entries(1, 0);
/// How it is varied.
#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
/// Element 0 is what comes after.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Nothing: the floor.
#[xdp(frags)]
fn floor(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// IPv4, from clients. Of a UDP datagram it writes the header and twelve bytes of data: as much as a header of TCP.
#[xdp(frags)]
fn forth4(context: XdpContext) -> u32 {
    go::<V4, FORTH>(&context)
}

/// IPv4, from clients, every packet with a sequence number of its own.
#[xdp(frags)]
fn open4(context: XdpContext) -> u32 {
    go::<V4, OPEN>(&context)
}

/// IPv4, to clients.
#[xdp(frags)]
fn back4(context: XdpContext) -> u32 {
    go::<V4, BACK>(&context)
}

/// ICMP errors over IPv4, from clients, about what they were sent.
#[xdp(frags)]
fn error4(context: XdpContext) -> u32 {
    go::<Error4, ERROR>(&context)
}

/// IPv6, from clients.
#[xdp(frags)]
fn forth6(context: XdpContext) -> u32 {
    go::<V6, FORTH>(&context)
}

/// What a backend of mode ipip does, in the laboratory: the packet inside is its kernel's.
#[xdp(frags)]
fn unwrap(context: XdpContext) -> u32 {
    match unwrap::unwrap(&context) {
        Some(()) | None => xdp_action::XDP_PASS,
    }
}

const FORTH: u8 = 0;
const OPEN: u8 = 1;
const BACK: u8 = 2;
const ERROR: u8 = 3;

#[inline(always)]
fn go<H: Headers, const WAY: u8>(context: &XdpContext) -> u32 {
    if restore::<H, WAY>(context).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: nothing here has to be dropped.
    unsafe { NEXT.tail_call(context, 0) };
    xdp_action::XDP_ABORTED
}

#[inline(always)]
fn restore<H: Headers, const WAY: u8>(context: &XdpContext) -> Option<()> {
    let plan = PLAN.get_ptr_mut(0)?;
    // SAFETY: an element of a map that nobody else writes to during a run.
    let plan = unsafe { &mut *plan };
    let original = H::of(ORIGINAL.get(0)?);
    let length = context.data_end().wrapping_sub(context.data());
    // The program may have put the packet within another one.
    if length != plan.length as usize {
        let more = length as i32 - plan.length as i32;
        // SAFETY: the context is the one that the program was called with; no pointer into the packet exists.
        if unsafe { bpf_xdp_adjust_head(context.as_ptr().cast(), more) } != 0 {
            return None;
        }
    }
    let count = plan.count;
    plan.count = count.wrapping_add(1);
    let ends = plan.ends(plan.flow(count));
    let peer = plan.peer.wrapping_add(ends.peer);
    // SAFETY: the kernel lends the bytes between the two to this run, which looks at them by this frame alone.
    let packet = unsafe { Frame::new(context.data(), context.data_end()) }.take::<H>()?;
    let (source, destination) = if WAY == BACK { (peer, ends.client) } else { (ends.client, peer) };
    let tcp = packet.restore(original, source, destination);
    let from = original.tcp();
    let port = ends.port.to_be();
    let (source, destination) = match WAY {
        BACK | ERROR => (from.source.fetch(), port),
        _ => (port, from.destination.fetch()),
    };
    tcp.source.put(source);
    tcp.destination.put(destination);
    let sequence = if WAY == OPEN { count.wrapping_mul(0x9e37_79b1) } else { from.sequence.fetch() };
    tcp.sequence.put(sequence);
    tcp.acknowledgement.put(from.acknowledgement.fetch());
    tcp.flags.put(from.flags.fetch());
    tcp.window.put(from.window.fetch());
    tcp.check.put(from.check.fetch());
    tcp.urgent.put(from.urgent.fetch());
    Some(())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
