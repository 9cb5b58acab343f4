//! The XDP program: the packet path over the kernel's maps. All that decides is in the library.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod maps;
#[cfg(feature = "mutants")]
mod mutants;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use bg_ebpf::packet::{Frame, Packet};
use bg_ebpf::verdict::Action;
use bg_ebpf::{answer, encap, fragment, icmp, path, refuse};

use maps::Maps;

/// The entry point. Inlined into the function that the kernel calls, as the stages are: before 6.8 the verifier
/// takes 32 bytes of the stack for every frame, and a tail call is for the first frame only.
#[xdp(frags)]
#[inline(always)]
fn bluegreen(context: XdpContext) -> u32 {
    // An array has its elements from the start; only the verifier does not know.
    let Some(maps) = Maps::new(&context) else { return xdp_action::XDP_PASS };
    let action = path::run(&maps, &mut Received { context: &context });
    carry_out(&context, action)
}

/// The stages, each of the name that [`Stage`] gives it.
macro_rules! stages {
    ($($name:ident = $run:path;)*) => {
        $(
            #[xdp(frags)]
            #[inline(always)]
            fn $name(context: XdpContext) -> u32 {
                let Some(maps) = Maps::new(&context) else { return xdp_action::XDP_PASS };
                let action = $run(&maps, &mut Received { context: &context });
                carry_out(&context, action)
            }
        )*
    };
}

stages! {
    bg_v6 = path::run_v6;
    bg_udp = path::run_udp;
    bg_icmp = icmp::run;
    bg_answer = answer::run;
    bg_refuse = refuse::run;
    bg_fragment = fragment::run;
    bg_first_tcp = path::run_first_tcp;
    bg_first_v6 = path::run_first_v6;
    bg_first_udp = path::run_first_udp;
    bg_encap = encap::run;
    bg_views = path::run_views;
    bg_views_v6 = path::run_views_v6;
    bg_views_udp = path::run_views_udp;
    bg_views_back = path::run_views_back;
    bg_views_udp_back = path::run_views_udp_back;
}

#[inline(always)]
fn carry_out(context: &XdpContext, action: Action) -> u32 {
    match action {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
        // SAFETY: takes numbers only; answers XDP_REDIRECT, or XDP_ABORTED for flags it does not know.
        Action::Redirect(interface) => unsafe { bpf_redirect(interface, 0) as u32 },
        Action::Enter(stage) => maps::enter(context, stage),
    }
}

/// The packet that the driver hands over.
struct Received<'c> {
    context: &'c XdpContext,
}

impl Packet for Received<'_> {
    #[inline(always)]
    fn interface(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn frame(&mut self) -> Frame<'_> {
        // SAFETY: the kernel lends the bytes between the two to this run of the program, and the
        // verifier refuses it if one is touched that was not compared with the end. `&mut self` sees to
        // it that no older frame is used after this one or after a move.
        unsafe { Frame::new(self.context.data(), self.context.data_end()) }
    }

    #[inline(always)]
    fn move_start(&mut self, by: i32) -> bool {
        // SAFETY: the context is the one that the program was called with; pointers into the packet end
        // here, which `&mut self` makes sure of and the verifier checks.
        unsafe { bpf_xdp_adjust_head(self.context.as_ptr().cast(), by) == 0 }
    }

    #[inline(always)]
    fn move_end(&mut self, by: i32) -> bool {
        // SAFETY: as above.
        unsafe { bpf_xdp_adjust_tail(self.context.as_ptr().cast(), by) == 0 }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// `bpf_fib_lookup` and some others are reserved to programs under a licence that the kernel knows to
// agree with its own.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
