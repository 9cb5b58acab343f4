//! The front program: it makes each packet anew and goes on to the program under test, or to the floor.

use std::time::Duration;

use anyhow::{Context, Result};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use bg_front::{FRAME, Plan, WORDS};
use rustix::time::{ClockId, clock_gettime};

use crate::packets::rig;

/// The object; the kernel program that is shipped is another one.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/front"));

/// The floor's program in it.
const FLOOR: &str = "floor";
/// All of its programs.
const PROGRAMS: [&str; 6] = [FLOOR, "forth4", "open4", "back4", "error4", "forth6"];

/// The loaded front.
pub(super) struct Front {
    ebpf: Ebpf,
    original: Array<MapData, [u8; FRAME]>,
    plan: Array<MapData, [u32; WORDS]>,
    next: ProgramArray<MapData>,
    /// Where packets arrive.
    interface: u32,
}

/// What many runs of a program came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    /// Processor time of one run, nanoseconds.
    pub(super) ns: f64,
    /// The last one's verdict, a value of `enum xdp_action`.
    pub(super) verdict: u32,
}

impl Front {
    /// Loads it. Packets arrive on `interface`.
    pub(super) fn load(interface: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("load the front's object")?;
        for name in PROGRAMS {
            program(&mut ebpf, name)?.load().with_context(|| format!("load the front program `{name}`"))?;
        }
        let mut take = |name| ebpf.take_map(name).with_context(|| format!("the front has no map {name}"));
        Ok(Self {
            original: take("ORIGINAL")?.try_into()?,
            plan: take("PLAN")?.try_into()?,
            next: take("NEXT")?.try_into()?,
            ebpf,
            interface,
        })
    }

    /// From now on the packet is this one, varied so.
    pub(super) fn prepare(&mut self, frame: &[u8], plan: &Plan) -> Result<()> {
        let mut original = [0; FRAME];
        let piece = original.get_mut(..frame.len()).context("the packet is too long for the front")?;
        piece.copy_from_slice(frame);
        self.original.set(0, original, 0).context("write ORIGINAL")?;
        self.plan.set(0, plan.words(), 0).context("write PLAN")
    }

    /// Runs the front `name` with `program` behind it.
    pub(super) fn run(&mut self, name: &str, next: &ProgramFd, frame: &[u8], packets: u32) -> Result<Ran> {
        self.next.set(0, next, 0).context("write NEXT")?;
        repeat(program(&mut self.ebpf, name)?, self.interface, frame, packets)
    }

    /// Runs the front `name` with the floor behind it.
    pub(super) fn floor(&mut self, name: &str, frame: &[u8], packets: u32) -> Result<Ran> {
        let floor = program(&mut self.ebpf, FLOOR)?.fd()?;
        self.next.set(0, floor, 0).context("write NEXT")?;
        repeat(program(&mut self.ebpf, name)?, self.interface, frame, packets)
    }

    /// Runs the floor without a front.
    pub(super) fn bare(&mut self, frame: &[u8], packets: u32) -> Result<Ran> {
        repeat(program(&mut self.ebpf, FLOOR)?, self.interface, frame, packets)
    }
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("the front has no program `{name}`"))?.try_into()?)
}

/// One test run of many packets. The kernel tells whole nanoseconds a run, cut, and leaves out what it does
/// between two runs; the processor time of this thread has fractions, and leaves out what other threads take.
/// What both agree on is what the program took.
fn repeat(program: &Xdp, interface: u32, frame: &[u8], packets: u32) -> Result<Ran> {
    let context = rig::context(interface, frame);
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.ctx_in = Some(&context);
    options.repeat = packets;
    let before = clock_gettime(ClockId::ThreadCPUTime);
    let result = program.test_run(options).context("a test run")?;
    let took = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - before)?;
    let told = result.duration.as_secs_f64() * 1e9;
    let ns = (took.as_secs_f64() * 1e9 / f64::from(packets)).min(told + 1.0);
    Ok(Ran { ns, verdict: result.return_value })
}
