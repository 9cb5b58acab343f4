//! How a packet ends: one reason, counted once, and one action that follows from it.

use bg_common::abi::{BackendCounter, BackendId, Counter, service_counter};
use bg_common::reason::{Reason, Verdict};
use bg_common::stage::Stage;

use crate::kernel::Kernel;

/// What the driver does with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hands it to the kernel.
    Pass,
    /// Frees it.
    Drop,
    /// Sends it out of the interface that it came in by.
    Transmit,
    /// Sends it out of this interface.
    Redirect(u32),
    /// Goes on with it elsewhere.
    Enter(Stage),
}

/// The end of a packet's way through the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Why.
    pub(crate) reason: Reason,
    /// The interface by which it leaves, if it is sent; the MTU, for `FragmentationNeeded`; the protocol, for
    /// `OtherProtocol`.
    pub(crate) detail: u32,
}

impl Outcome {
    /// It is of a protocol that is not looked at here.
    #[inline(always)]
    pub(crate) fn other_protocol(protocol: u8) -> Self {
        Self { reason: Reason::OtherProtocol, detail: protocol.into() }
    }
}

impl From<Reason> for Outcome {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self { reason, detail: 0 }
    }
}

/// Counts the packet under its reason, and says what to do with it.
#[inline(always)]
pub(crate) fn conclude<K: Kernel>(kernel: &K, ingress: u32, bytes: u64, outcome: Outcome) -> Action {
    count(kernel, outcome.reason as u32, bytes, |_| ());
    match outcome.reason.verdict() {
        Verdict::Pass => Action::Pass,
        Verdict::Drop => Action::Drop,
        Verdict::Send if outcome.detail == ingress => Action::Transmit,
        Verdict::Send => Action::Redirect(outcome.detail),
    }
}

/// Counts a packet that was forwarded to one environment of a service.
#[inline(always)]
pub(crate) fn forwarded<K: Kernel>(
    kernel: &K,
    service: u16,
    environment: u8,
    bytes: u64,
    opens: bool,
    overflow: bool,
) {
    count(kernel, service_counter(service, environment), bytes, |counter| {
        counter.connections += u64::from(opens);
        counter.overflow += u64::from(overflow);
    });
}

/// Counts what tells whether a backend's replies come back this way.
#[inline(always)]
pub(crate) fn of_backend<K: Kernel>(kernel: &K, backend: BackendId, note: impl FnOnce(&mut BackendCounter)) {
    if let Some(cell) = kernel.backend_counter(backend) {
        let mut counter = cell.get();
        note(&mut counter);
        cell.set(counter);
    }
}

#[inline(always)]
fn count<K: Kernel>(kernel: &K, index: u32, bytes: u64, more: impl FnOnce(&mut Counter)) {
    // Without such an element there is nothing to count in: the agent made the map smaller than its own
    // services, and the packet must go on.
    if let Some(cell) = kernel.counter(index) {
        let mut counter = cell.get();
        counter.packets += 1;
        counter.bytes += bytes;
        more(&mut counter);
        cell.set(counter);
    }
}
