//! The stages of the program, which its entry point goes on to by tail calls. They hang on a map that belongs to
//! this one program: its successor has another, so that no packet goes through parts of both. The kernel empties
//! such a map when nobody holds it any more, and packets must not need the agent, so that it is pinned.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use aya::Ebpf;
use aya::maps::{Map, ProgramArray};
use aya::programs::{Program, Xdp};
use bg_common::stage::Stage;
use tracing::warn;

use super::bpffs::PinDirectory;
use super::{Error, program};

/// Maps of stages are pinned under this; the number of the program that they belong to follows, and which object
/// it comes from.
const STAGES: &str = "stages-";
/// The map in the program.
const MAP: &str = "STAGES";

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Has the kernel verify all programs of an object, and connects the stages to the entry point.
///
/// # Errors
/// When the kernel refuses one, or the object is not the program.
pub fn prepare(ebpf: &mut Ebpf) -> Result<&mut Xdp, Source> {
    verify(ebpf)?;
    let mut verified = Vec::new();
    for &stage in Stage::ALL {
        verified.push((stage, program::named(ebpf, stage.name())?.fd()?.try_clone()?));
    }
    let mut stages: ProgramArray<_> =
        ebpf.map_mut(MAP).ok_or("the object has no map of stages")?.try_into()?;
    for (stage, program) in verified {
        stages.set(stage as u32, &program, 0)?;
    }
    program::program(ebpf)
}

/// Has the kernel verify the programs, on as many processors as there are.
fn verify(ebpf: &mut Ebpf) -> Result<(), Source> {
    let programs: Vec<_> = ebpf.programs_mut().collect();
    let workers = available_parallelism()?.get().min(programs.len());
    let queue = Mutex::new(programs.into_iter());
    let work = || {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some((name, program)) = next() {
            load(name, program)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Has the kernel verify one program.
fn load(name: &str, program: &mut Program) -> Result<(), Source> {
    let program: &mut Xdp = program.try_into()?;
    program.load().map_err(|error| format!("`{name}`: {error}"))?;
    if program.info()?.size_jitted() == 0 {
        warn!(
            name,
            "the kernel interprets this program, so that each packet costs several times as much: `sysctl -w net.core.bpf_jit_enable=1` and a new start of bgd mend it, if the kernel was built with its compiler (CONFIG_BPF_JIT)"
        );
    }
    Ok(())
}

/// Pins the map of a prepared program's stages. It is not in use yet.
pub(super) fn pin(ebpf: &mut Ebpf, pins: &PinDirectory) -> Result<Pinned, Error> {
    let fail = |source: Source| Error::Map { name: MAP, act: "pinning", source };
    let program = program::program(ebpf).map_err(fail)?.info().map_err(|e| fail(e.into()))?.id();
    let pinned = Pinned::new(pins, program);
    let map: Option<&Map> = ebpf.map(MAP);
    map.ok_or_else(|| fail("it is not there".into()))?.pin(&pinned.path).map_err(|e| fail(e.into()))?;
    Ok(pinned)
}

/// The pinned stages of the program that is to be on all interfaces.
pub(super) struct Pinned {
    path: PathBuf,
    /// The program's number.
    pub(super) program: u32,
}

impl Pinned {
    fn new(pins: &PinDirectory, program: u32) -> Self {
        Self { path: pins.path().join(format!("{STAGES}{program}-{}", program::mark())), program }
    }

    /// Those of a program in the kernel, if it comes from this object and not from an older or a newer one.
    pub(super) fn of(pins: &PinDirectory, program: u32) -> Option<Self> {
        let pinned = Self::new(pins, program);
        pinned.path.exists().then_some(pinned)
    }

    /// Removes the stages of all other programs, which no packet is in any more.
    pub(super) fn remove_others(&self, pins: &PinDirectory) -> Result<(), Error> {
        for path in pins.pinned(STAGES)?.into_iter().filter(|path| *path != self.path) {
            std::fs::remove_file(&path).map_err(|source| Error::File {
                act: "removing pin",
                path,
                source,
            })?;
        }
        Ok(())
    }
}
