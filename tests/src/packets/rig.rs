//! The loaded program in a namespace of its own: packets in, verdict and packets out, and what was counted.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::xdp::XdpLinkId;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use bg_common::abi;
use bg_common::reason::Reason;

use super::craft::Segment;
use super::tables::Tables;
use super::world::{Backend, LAN_MAC};
use super::{loaded, world};
use crate::lab::namespace::Namespace;

/// What the driver is told to do with a packet: the values of `enum xdp_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as in linux/bpf.h")]
pub enum Action {
    Aborted,
    Drop,
    Pass,
    Tx,
    Redirect,
}

/// What came of a packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// The verdict.
    pub action: Action,
    /// The packet after the program.
    pub bytes: Vec<u8>,
}

/// The loaded program and its world.
pub struct Rig<'n> {
    /// Its maps.
    pub tables: Tables,
    /// Where it runs.
    pub namespace: &'n Namespace,
    wan: u32,
    attached: XdpLinkId,
}

impl Rig<'_> {
    /// Makes a namespace, attaches the program in it, and runs a case there. The role tells apart the
    /// namespaces of one test program.
    ///
    /// # Panics
    /// When the case does, or the world cannot be made.
    pub fn run(role: &str, case: impl FnOnce(&mut Rig<'_>) + Send) {
        let namespace = Namespace::create(role).expect("make a namespace (this needs root)");
        world::build(&namespace).expect("make devices and neighbours");
        namespace
            .inside(|| {
                let mut rig = Rig::new(&namespace).expect("load the program and fill its tables");
                case(&mut rig);
                rig.leave().expect("keep the program for the next case");
            })
            .expect("enter the namespace");
    }

    fn new(namespace: &Namespace) -> Result<Rig<'_>> {
        let mut tables = Tables { ebpf: loaded::take()? };
        let wan = index(namespace, "wan")?;
        let program = program(&mut tables.ebpf)?;
        // A test run takes a device as ingress only if XDP is on, on it.
        let attached = program.attach("wan", XdpMode::Driver).context("attach to wan")?;
        tables.fill(wan, world::WAN_MAC)?;
        Ok(Rig { tables, namespace, wan, attached })
    }

    fn leave(mut self) -> Result<()> {
        program(&mut self.tables.ebpf)?.detach(self.attached).context("detach from wan")?;
        loaded::keep(self.tables.ebpf)
    }

    /// Sends a packet through the program, as if it had arrived on `wan`.
    ///
    /// # Panics
    /// When the kernel refuses the test run.
    pub fn send(&mut self, packet: &[u8]) -> Received {
        let program = program(&mut self.tables.ebpf).expect("it was there when it was loaded");
        run_once(program, self.wan, packet)
    }

    /// Lets `wan` receive a packet for real: what the program decides is done, and what it passes is
    /// processed by the kernel.
    ///
    /// # Panics
    /// When the kernel refuses the test run.
    pub fn receive(&mut self, packet: &[u8]) {
        let context = context(self.wan, packet);
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        options.ctx_in = Some(&context);
        options.attrs = TestRunAttrs::new().xdp_live_frames(1);
        let program = program(&mut self.tables.ebpf).expect("it was there when it was loaded");
        program.test_run(options).expect("a test run with live frames");
    }

    /// Sends a packet and expects this verdict, these bytes, and one more in the counter of `reason` and
    /// in no other.
    ///
    /// # Panics
    /// When it is not so.
    #[track_caller]
    pub fn expect(&mut self, packet: &[u8], reason: Reason, action: Action, output: &[u8]) {
        let before = self.reasons();
        let received = self.send(packet);
        let after = self.reasons();
        let grown: Vec<_> = Reason::ALL
            .iter()
            .zip(before.iter().zip(&after))
            .filter(|(_, (before, after))| before != after)
            .map(|(reason, (before, after))| (*reason, after.0 - before.0, after.1 - before.1))
            .collect();
        assert_eq!(grown, [(reason, 1, packet.len() as u64)], "counted: reason, packets, bytes");
        assert_eq!(received.action, action, "verdict");
        assert_eq!(hex(&received.bytes), hex(output), "bytes");
    }

    /// Expects that a packet goes to the kernel as it came.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn expect_untouched(&mut self, packet: &[u8], reason: Reason) {
        self.expect(packet, reason, Action::Pass, packet);
    }

    /// Expects that a packet is dropped.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_drop(&mut self, packet: &[u8], reason: Reason) {
        self.expect(packet, reason, Action::Drop, packet);
    }

    /// Expects that a client's packet is sent to this backend by `lan`, and the like of it from there to the client.
    ///
    /// # Panics
    /// When it is not so.
    #[track_caller]
    pub fn expect_both_ways(&mut self, packet: &Segment, backend: &Backend) {
        let sent = packet.forwarded(backend, LAN_MAC);
        self.expect(&packet.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        let reply = packet.answered(backend);
        let back = reply.returned(packet.destination);
        self.expect(&reply.bytes(), Reason::Returned, Action::Tx, &back.bytes());
    }

    /// Counter of a service's environment.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn service_counter(&self, service: u16, environment: u8) -> abi::Counter {
        self.tables.counter(abi::service_counter(service, environment)).expect("read COUNTERS")
    }

    fn reasons(&self) -> Vec<(u64, u64)> {
        let read = |&reason: &Reason| {
            let counter = self.tables.counter(reason as u32).expect("read COUNTERS");
            (counter.packets, counter.bytes)
        };
        Reason::ALL.iter().map(read).collect()
    }
}

/// Runs a loaded program once over a packet, as if it had arrived on the device with index `interface`,
/// which must have XDP on.
///
/// # Panics
/// When the kernel refuses the test run.
pub fn run_once(program: &Xdp, interface: u32, packet: &[u8]) -> Received {
    let context = context(interface, packet);
    let mut out = vec![0; packet.len() + 256];
    let mut options = TestRunOptions::new();
    options.data_in = Some(packet);
    options.data_out = Some(&mut out);
    options.ctx_in = Some(&context);
    let result = program.test_run(options).expect("a test run");
    out.truncate(result.data_size_out as usize);
    let action = match result.return_value {
        1 => Action::Drop,
        2 => Action::Pass,
        3 => Action::Tx,
        4 => Action::Redirect,
        _ => Action::Aborted,
    };
    Received { action, bytes: out }
}

/// A `struct xdp_md`: all of the packet is data, and it arrived on `interface`.
pub(crate) fn context(interface: u32, packet: &[u8]) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(packet.len() as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&interface.to_ne_bytes());
    context
}

pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    Ok(ebpf.program_mut("bluegreen").context("the object has no program `bluegreen`")?.try_into()?)
}

/// Index of a device.
pub fn index(namespace: &Namespace, device: &str) -> Result<u32> {
    let shown = namespace.ip(&["-o", "link", "show", "dev", device])?;
    let number = shown.split(':').next().unwrap_or_default();
    number.trim().parse().with_context(|| format!("no index in: {shown}"))
}

/// Four bytes to a group, so that a difference can be found.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (i, byte) in bytes.iter().enumerate() {
        let gap = if i > 0 && i % 4 == 0 { " " } else { "" };
        write!(text, "{gap}{byte:02x}").expect("a string takes everything");
    }
    text
}
