//! The compiled kernel program, and loading it over new or adopted maps.

use std::path::Path;

use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};

use super::layout::Sizes;
use super::{Error, features, stages};

/// The kernel program, an ELF object for the BPF target.
pub static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bluegreen"));

/// Loads the program. Maps that are pinned in `directory` are used as they are, the others are made and
/// pinned there.
pub(super) fn load(sizes: &Sizes, directory: &Path) -> Result<Ebpf, Error> {
    let shapes = sizes.shapes();
    let mut loader = EbpfLoader::new();
    for shape in &shapes {
        loader
            .map_max_entries(shape.name, shape.entries)
            .map_pin_path(shape.name, directory.join(shape.name));
    }
    let load = |loader: &mut EbpfLoader<'_>| -> Result<Ebpf, Box<dyn std::error::Error + Send + Sync>> {
        let mut ebpf = loader.load(PROGRAM)?;
        stages::prepare(&mut ebpf)?;
        Ok(ebpf)
    };
    load(loader.verifier_log_level(VerifierLogLevel::STATS)).map_err(|source| {
        if source.to_string().contains("Operation not permitted") {
            Error::Rights("the kernel does not permit loading the program")
        } else {
            match features::lacking(&features::NEEDS) {
                what if what.is_empty() => Error::Program(source),
                what => Error::Lacks { what, source },
            }
        }
    })
}

/// The name of the entry point.
pub(super) const ENTRY: &str = "bluegreen";

/// The entry point.
pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, Box<dyn std::error::Error + Send + Sync>> {
    named(ebpf, ENTRY)
}

/// One of the object's programs.
pub(super) fn named<'e>(
    ebpf: &'e mut Ebpf,
    name: &str,
) -> Result<&'e mut Xdp, Box<dyn std::error::Error + Send + Sync>> {
    Ok(ebpf.program_mut(name).ok_or_else(|| format!("the object has no program `{name}`"))?.try_into()?)
}
