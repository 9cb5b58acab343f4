//! The maps, and the kernel as the packet path sees it. Sizes are set when the program is loaded; the
//! ones here are small and work.

use core::arch::asm;
use core::cell::Cell;
use core::ptr::{read_volatile, write_volatile};
use core::sync::atomic::AtomicU64;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
    BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_PROHIBIT, BPF_FIB_LKUP_RET_SUCCESS,
    BPF_FIB_LKUP_RET_UNREACHABLE, BPF_FIB_LKUP_RET_UNSUPP_LWT, bpf_fib_lookup, xdp_action,
};
use aya_ebpf::btf_maps::{Array as InnerArray, ArrayOfMaps};
use aya_ebpf::helpers::{self, generated::bpf_ktime_get_coarse_ns};
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, LpmTrie, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use bg_common::abi::{
    self, Address, Backend, BackendCounter, BackendId, Counter, Endpoint, FragmentKey, Fragmented, Interface,
    Ledger, NextHop, Node, Service, ServiceName, tester,
};
use bg_common::control::Control;
use bg_common::pin;
use bg_common::service::Directory;
use bg_common::stage::Stage;
use bg_common::tables::{Line, Tables, Word};
use bg_ebpf::kernel::{Answer, Hop, Kernel, Note, Query, Spent, Version};
use bg_ebpf::packet::Macs;

#[cfg(feature = "mutants")]
use crate::mutants;
#[cfg(feature = "mutants")]
use bg_common::mutant::Stop;

/// `BPF_F_MMAPABLE`: the agent maps these into its memory.
const MAPPED: u32 = 1 << 10;

#[map]
static CONTROL: Array<Shared> = Array::with_max_entries(16, MAPPED);
#[map]
static NODE: Array<Node> = Array::with_max_entries(1, MAPPED);
#[map]
static SERVICES: Array<Service> = Array::with_max_entries(64, MAPPED);
#[map]
static ENDPOINTS: Array<Endpoint> = Array::with_max_entries(64, MAPPED);
#[map]
static BACKENDS: Array<Backend> = Array::with_max_entries(64, MAPPED);
#[map]
static RINGS: Array<Shared> = Array::with_max_entries(4096, MAPPED);
#[map]
static PINS: Array<pin::Bucket<Shared>> = Array::with_max_entries(64, MAPPED);
#[map]
static PIN_LOCKS: Array<Shared> = Array::with_max_entries(pin::LOCKS, MAPPED);
#[map]
static RECENT: Array<Shared> = Array::with_max_entries(4096, MAPPED);
#[map]
static CENSUS: Array<Line<Shared>> = Array::with_max_entries(64, MAPPED);
#[map]
static DEPLOYMENTS: Array<Line<Shared>> = Array::with_max_entries(16, MAPPED);
#[map]
static INTERFACES: Array<Interface> = Array::with_max_entries(abi::INTERFACES, MAPPED);
#[map]
static NEXTHOP: PerCpuArray<NextHop> = PerCpuArray::with_max_entries(abi::NEXT_HOPS, 0);
#[map]
static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(abi::REASON_COUNTERS + 128, 0);
#[map]
static BACKEND_COUNTERS: PerCpuArray<BackendCounter> = PerCpuArray::with_max_entries(64, 0);
#[map]
static NOTE: PerCpuArray<Note> = PerCpuArray::with_max_entries(1, 0);
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, Fragmented> = LruHashMap::with_max_entries(abi::FRAGMENTS, 0);
#[map]
static ANSWERS: PerCpuArray<Spent> = PerCpuArray::with_max_entries(2, 0);
#[map]
static EXCLUDED: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(1024, 0);
#[map]
static TESTERS: LpmTrie<[u8; tester::KEY], u8> = LpmTrie::with_max_entries(1024, 0);

// Not read here: they live and are pinned with the rest because they mean nothing without it.
#[map]
static LEDGER: Array<Ledger> = Array::with_max_entries(16, MAPPED);
#[map]
static NAMES: Array<ServiceName> = Array::with_max_entries(64, MAPPED);
#[btf_map]
static GRACE: ArrayOfMaps<InnerArray<u32, 1>, 1> = ArrayOfMaps::new();

/// What a test and a stopped packet tell one another: [`bg_common::mutant::gate`].
#[cfg(feature = "mutants")]
#[map]
static GATE: Array<u64> = Array::with_max_entries(bg_common::mutant::gate::ELEMENTS, 0);

/// An element of [`GATE`], which packets and a test share.
#[cfg(feature = "mutants")]
#[inline(always)]
pub(crate) fn gate(index: u32) -> Option<*mut u64> {
    GATE.get_ptr_mut(index)
}

/// The programs of the stages. It belongs to one program, and is not shared with its successor.
#[map]
static STAGES: ProgramArray = ProgramArray::with_max_entries(Stage::ALL.len() as u32, 0);

/// Goes on with a packet in a stage; the tail call does not come back. It does when the stage is not there, which
/// the agent sees to, and then the packet is lost: the kernel would answer a connection that it does not know.
#[inline(always)]
pub(crate) fn enter(context: &XdpContext, stage: Stage) -> u32 {
    // SAFETY: nothing here has a destructor that would not be run.
    unsafe { STAGES.tail_call(context, stage as u32) };
    xdp_action::XDP_DROP
}

/// A word that other processors and the agent change meanwhile. The target has the type, but neither
/// atomic loads and stores nor exchanges that the compiler knows; the instructions are written out.
#[repr(transparent)]
pub(crate) struct Shared(AtomicU64);

/// One load of an aligned word, exactly here.
#[inline(always)]
fn load(word: &AtomicU64) -> u64 {
    // SAFETY: a live, aligned word; the machine reads it in one piece, and `volatile` keeps the compiler
    // from reading it twice or not at all.
    unsafe { read_volatile(word.as_ptr()) }
}

impl Word for Shared {
    #[inline(always)]
    fn load(&self) -> u64 {
        load(&self.0)
    }

    #[inline(always)]
    fn store(&self, value: u64) {
        // SAFETY: as for `load`, for one store.
        unsafe { write_volatile(self.0.as_ptr(), value) }
    }

    #[inline(always)]
    fn compare_exchange(&self, old: u64, new: u64) -> u64 {
        let seen;
        // SAFETY: BPF_CMPXCHG on a live, aligned word: what is expected and what was found are in r0. It
        // changes nothing but that word, and the compiler takes it for a change of any memory.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {new})",
                word = in(reg) self.0.as_ptr(),
                new = in(reg) new,
                inlateout("r0") old => seen,
            );
        }
        seen
    }

    #[inline(always)]
    fn or(&self, bits: u64) {
        // SAFETY: BPF_OR | atomic on a live, aligned word; as above.
        unsafe {
            asm!(
                "lock *(u64 *)({word} + 0) |= {bits}",
                word = in(reg) self.0.as_ptr(),
                bits = in(reg) bits,
            );
        }
    }
}

/// The maps, for one packet.
pub(crate) struct Maps<'c> {
    node: &'static Node,
    clock: Cell<u64>,
    context: &'c XdpContext,
}

impl<'c> Maps<'c> {
    /// `None` never happens: `NODE` is an array with an element 0.
    #[inline(always)]
    pub(crate) fn new(context: &'c XdpContext) -> Option<Self> {
        Some(Self { node: NODE.get(0)?, clock: Cell::new(0), context })
    }
}

impl Tables for Maps<'_> {
    type Word = Shared;

    #[inline(always)]
    fn node(&self) -> &Node {
        self.node
    }

    #[inline(always)]
    fn control(&self, deployment: u16) -> Control {
        let word = CONTROL.get(deployment.into()).map_or(0, Word::load);
        #[cfg(feature = "mutants")]
        mutants::pass(Stop::Word);
        Control(word)
    }

    #[inline(always)]
    fn deployment(&self, deployment: u16) -> Option<&Line<Shared>> {
        DEPLOYMENTS.get(deployment.into())
    }

    #[inline(always)]
    fn ring(&self, element: u32) -> Option<u64> {
        RINGS.get(element).map(Word::load)
    }

    #[inline(always)]
    fn backend(&self, id: BackendId) -> Option<&Backend> {
        BACKENDS.get(id.into())
    }

    #[inline(always)]
    fn pins(&self, bucket: u32) -> Option<&pin::Bucket<Shared>> {
        PINS.get(bucket)
    }

    #[inline(always)]
    fn pin_lock(&self, index: u32) -> Option<&Shared> {
        #[cfg(feature = "mutants")]
        mutants::pass(Stop::PinLock);
        PIN_LOCKS.get(index)
    }

    #[inline(always)]
    fn recent(&self, index: u32) -> Option<&Shared> {
        #[cfg(feature = "mutants")]
        mutants::pass(Stop::Recent);
        RECENT.get(index)
    }

    #[inline(always)]
    fn census(&self, bucket: u32) -> Option<&Line<Shared>> {
        CENSUS.get(bucket)
    }

    #[inline(always)]
    fn tester(&self, deployment: u16, client: &Address) -> u8 {
        let key = Key::new(u32::try_from(tester::KEY * 8).unwrap_or(0), tester::key(deployment, client));
        TESTERS.get(key).map_or(tester::NEVER, |held| *held)
    }

    #[inline(always)]
    fn read(&self, word: &AtomicU64) -> u64 {
        load(word)
    }

    #[cfg(feature = "mutants")]
    #[inline(always)]
    fn mutated(&self, mutant: bg_common::mutant::Mutant) -> bool {
        mutants::mutated(mutant)
    }

    #[inline(always)]
    fn nanoseconds(&self) -> u64 {
        #[cfg(feature = "mutants")]
        if let Some(now) = mutants::clock() {
            return now;
        }
        // Read once per packet, and only if somebody asks: it costs more than a look at a table. It
        // cannot be 0, which was the moment the machine was switched on.
        if self.clock.get() == 0 {
            // SAFETY: no arguments, any context.
            self.clock.set(unsafe { bpf_ktime_get_coarse_ns() });
        }
        self.clock.get()
    }
}

impl Directory for Maps<'_> {
    #[inline(always)]
    fn service(&self, index: u32) -> Option<&Service> {
        SERVICES.get(index)
    }

    #[inline(always)]
    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        ENDPOINTS.get(index)
    }
}

impl Kernel for Maps<'_> {
    #[inline(always)]
    fn interface(&self, index: u32) -> Option<&Interface> {
        INTERFACES.get(index & (abi::INTERFACES - 1))
    }

    #[inline(always)]
    fn next_hop(&self, index: u32) -> Option<&Cell<NextHop>> {
        let element = NEXTHOP.get_ptr_mut(index & (abi::NEXT_HOPS - 1))?;
        // SAFETY: an element of this processor alone, on which no other run of the program begins before
        // this one has ended; every field takes any bits.
        Some(unsafe { Cell::from_mut(&mut *element) })
    }

    #[inline(always)]
    fn counter(&self, index: u32) -> Option<&Cell<Counter>> {
        let element = COUNTERS.get_ptr_mut(index)?;
        // SAFETY: as above. The agent only reads it, and takes what it reads for a moment's picture.
        Some(unsafe { Cell::from_mut(&mut *element) })
    }

    #[inline(always)]
    fn backend_counter(&self, backend: BackendId) -> Option<&Cell<BackendCounter>> {
        let element = BACKEND_COUNTERS.get_ptr_mut(backend.into())?;
        // SAFETY: as above.
        Some(unsafe { Cell::from_mut(&mut *element) })
    }

    #[inline(always)]
    fn note(&self) -> Option<&Cell<Note>> {
        let element = NOTE.get_ptr_mut(0)?;
        // SAFETY: as above, and the stages of one packet are one run.
        Some(unsafe { Cell::from_mut(&mut *element) })
    }

    #[inline(always)]
    fn remember(&self, key: &FragmentKey, value: &Fragmented) {
        // Without room for it, the later fragments will be unknown, and counted as that.
        let _ = FRAGMENTS.insert(key, value, 0);
    }

    #[inline(always)]
    fn recall(&self, key: &FragmentKey) -> Option<Fragmented> {
        // SAFETY: copied at once; another processor may put another packet's in its place meanwhile, and what is
        // read then leads some fragments astray, as losing them would.
        unsafe { FRAGMENTS.get(key).copied() }
    }

    #[inline(always)]
    fn answers(&self, index: u32) -> Option<&Cell<Spent>> {
        let element = ANSWERS.get_ptr_mut(index)?;
        // SAFETY: as above.
        Some(unsafe { Cell::from_mut(&mut *element) })
    }

    #[inline(always)]
    fn length(&self, _: u64) -> u64 {
        // SAFETY: the context is the one that the program was called with.
        unsafe { helpers::generated::bpf_xdp_get_buff_len(self.context.as_ptr().cast()) }
    }

    #[inline(always)]
    fn jiffies(&self) -> u32 {
        // SAFETY: no arguments, any context.
        unsafe { helpers::generated::bpf_jiffies64() as u32 }
    }

    #[inline(always)]
    fn excluded(&self, client: &Address) -> bool {
        EXCLUDED.get(Key::new(128, client.0)).is_some()
    }

    #[inline(always)]
    fn route(&self, query: &Query) -> Answer {
        // SAFETY: a plain C structure for which zero bytes are a value ("anything").
        let mut parameters: bpf_fib_lookup = unsafe { core::mem::zeroed() };
        parameters.ifindex = query.interface;
        let tos = query.tos & TOS_OF_ROUTES;
        match query.version {
            Version::V4 => {
                parameters.family = AF_INET;
                parameters.__bindgen_anon_2.tos = tos;
                parameters.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(query.source.tail());
                parameters.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(query.destination.tail());
            }
            // Without the flow label: the answer is kept, and serves other flows too.
            Version::V6 => {
                parameters.family = AF_INET6;
                parameters.__bindgen_anon_2.flowinfo = (u32::from(tos) << 20).to_be();
                parameters.__bindgen_anon_3.ipv6_src = query.source.words();
                parameters.__bindgen_anon_4.ipv6_dst = query.destination.words();
            }
        }
        // SAFETY: the context is the one that the program was called with; the structure has the size
        // that is given, and the helper writes within it.
        let answer = unsafe {
            helpers::generated::bpf_fib_lookup(
                self.context.as_ptr(),
                &raw mut parameters,
                size_of::<bpf_fib_lookup>() as i32,
                0,
            )
        };
        match u32::try_from(answer) {
            Ok(BPF_FIB_LKUP_RET_SUCCESS) => {
                // SAFETY: on success the helper leaves the MTU here (`bpf_fib_set_fwd_params`).
                let mtu = unsafe { parameters.__bindgen_anon_1.mtu_result };
                // SAFETY: all sixteen bytes were written above, and the helper puts the router's address here.
                let towards = unsafe { parameters.__bindgen_anon_4.ipv6_dst };
                let gateway = match query.version {
                    Version::V4 => {
                        parameters.family != AF_INET
                            || towards[0] != u32::from_ne_bytes(query.destination.tail())
                    }
                    Version::V6 => towards != query.destination.words(),
                };
                Answer::Hop(Hop {
                    interface: parameters.ifindex,
                    // 65,536, which loopback has, does not fit and reads as 0.
                    mtu: if mtu == 0 { u16::MAX.into() } else { mtu.into() },
                    macs: Macs::words(parameters.dmac, parameters.smac),
                    gateway,
                })
            }
            Ok(BPF_FIB_LKUP_RET_NO_NEIGH | BPF_FIB_LKUP_RET_UNSUPP_LWT) => Answer::ByKernel,
            Ok(BPF_FIB_LKUP_RET_NOT_FWDED | BPF_FIB_LKUP_RET_FWD_DISABLED) => Answer::Local,
            Ok(BPF_FIB_LKUP_RET_BLACKHOLE | BPF_FIB_LKUP_RET_UNREACHABLE | BPF_FIB_LKUP_RET_PROHIBIT) => {
                Answer::Nowhere
            }
            _ => Answer::Failed,
        }
    }
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// The bits of the TOS byte that routes look at (RFC 2474 without ECN).
const TOS_OF_ROUTES: u8 = 0xfc;
