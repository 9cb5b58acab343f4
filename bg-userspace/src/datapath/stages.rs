//! The stages of the program, which its entry point goes on to by tail calls. They hang on a map that belongs to
//! this one program: its successor has another, so that no packet goes through parts of both. The kernel empties
//! such a map when nobody holds it any more, and packets must not need the agent, so that it is pinned.

use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Map, ProgramArray};
use aya::programs::Xdp;
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
    let mut loaded = Vec::new();
    for &stage in Stage::ALL {
        let program = verified(ebpf, stage.name())?;
        loaded.push((stage, program.fd()?.try_clone()?));
    }
    let mut stages: ProgramArray<_> =
        ebpf.map_mut(MAP).ok_or("the object has no map of stages")?.try_into()?;
    for (stage, program) in loaded {
        stages.set(stage as u32, &program, 0)?;
    }
    verified(ebpf, program::ENTRY)
}

/// Has the kernel verify one program.
fn verified<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp, Source> {
    let program = program::named(ebpf, name)?;
    program.load().map_err(|error| format!("`{name}`: {error}"))?;
    if program.info()?.size_jitted() == 0 {
        warn!(
            name,
            "the kernel interprets this program, so that each packet costs several times as much: `sysctl -w net.core.bpf_jit_enable=1` and a new start of bgd mend it, if the kernel was built with its compiler (CONFIG_BPF_JIT)"
        );
    }
    Ok(program)
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
