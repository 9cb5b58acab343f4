//! The compiled kernel program, and loading it over new or adopted maps.

use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;

use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};

use super::layout::Sizes;
use super::{Error, features, stages};

/// The kernel program, an ELF object for the BPF target.
pub static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bluegreen"));

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Reads the object and has its maps: those that are pinned in `directory` as they are, the others made and
/// pinned there. Its programs are not in the kernel yet.
pub(super) fn open(sizes: &Sizes, directory: &Path) -> Result<Ebpf, Error> {
    let shapes = sizes.shapes();
    let mut loader = EbpfLoader::new();
    for shape in &shapes {
        loader
            .map_max_entries(shape.name, shape.entries)
            .map_pin_path(shape.name, directory.join(shape.name));
    }
    let loader = loader.verifier_log_level(VerifierLogLevel::STATS);
    loader.load(PROGRAM).map_err(|source| refused(source.into()))
}

/// Has the kernel verify the programs, which takes it some seconds.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), Error> {
    stages::prepare(ebpf).map(drop).map_err(refused)
}

/// What the kernel's refusal means.
fn refused(source: Source) -> Error {
    if source.to_string().contains("Operation not permitted") {
        return Error::Rights("the kernel does not permit loading the program");
    }
    match features::lacking(&features::NEEDS) {
        what if what.is_empty() => Error::Program(source),
        what => Error::Lacks { what, source },
    }
}

/// Tells this object from any other. The hash is not promised to stay what it is from one compiler to the next;
/// then the same program is loaded once more, which harms nobody.
pub(super) fn mark() -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(PROGRAM);
    format!("{:016x}", hasher.finish())
}

/// The name of the entry point.
pub(super) const ENTRY: &str = "bluegreen";

/// The entry point.
pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, Source> {
    named(ebpf, ENTRY)
}

/// One of the object's programs.
pub(super) fn named<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp, Source> {
    Ok(ebpf.program_mut(name).ok_or_else(|| format!("the object has no program `{name}`"))?.try_into()?)
}
