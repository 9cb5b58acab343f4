//! What is counted.

/// An element of `COUNTERS`: first one per reason, then two per service, blue and green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames as received.
    pub bytes: u64,
    /// SYNs forwarded (services only).
    pub connections: u64,
    /// Of those, sent to base because no pin could be written (services only).
    pub overflow: u64,
}

/// An element of `BACKEND_COUNTERS`, by the backend's number: whether what was sent to it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BackendCounter {
    /// SYNs forwarded to it.
    pub syns: u64,
    /// SYN-ACKs that came from it and were returned to clients.
    pub syn_acks: u64,
}

/// Room for reasons at the start of `COUNTERS`.
pub const REASON_COUNTERS: u32 = 64;

/// Index in `COUNTERS` of a service's environment.
#[must_use]
#[inline(always)]
pub const fn service_counter(service: u16, environment: u8) -> u32 {
    REASON_COUNTERS + ((service as u32) << 1) + (environment & 1) as u32
}
