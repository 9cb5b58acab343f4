//! The program over maps of its own, neither pinned nor attached: a node without an agent, whose tables
//! the caller fills and looks at. The tests compare it with the same code over plain memory.

use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

use super::grace::Grace;
use super::layout::Sizes;
use super::maps::Maps;
use super::{Error, program, stages};
use crate::config::Limits;

/// A loaded program and its maps, all of them zero.
pub struct Bare {
    /// The program, and the maps that cannot be mapped.
    pub ebpf: Ebpf,
    /// The maps that are mapped.
    pub maps: Maps,
    /// The barrier of these maps.
    pub grace: Grace,
}

impl Bare {
    /// Loads `object` with the loader's other settings, its maps sized for `limits`.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load(loader: &mut EbpfLoader<'_>, object: &[u8], limits: &Limits) -> Result<Self, Error> {
        let sizes = Sizes::new(limits);
        for shape in sizes.shapes() {
            loader.map_max_entries(shape.name, shape.entries);
        }
        let mut ebpf = loader.load(object).map_err(|source| Error::Program(source.into()))?;
        stages::prepare(&mut ebpf).map_err(Error::Program)?;
        let maps = Maps::new(&ebpf, &sizes)?;
        let grace = Grace::new(&mut ebpf)?;
        Ok(Self { ebpf, maps, grace })
    }

    /// The program's entry point, to attach or to run.
    ///
    /// # Panics
    /// Never: it was there when it was loaded.
    pub fn program(&mut self) -> &mut Xdp {
        program::program(&mut self.ebpf).expect("the program that was loaded")
    }

    /// All of it at once, for several threads.
    ///
    /// # Panics
    /// Never, as above.
    pub fn parts(&mut self) -> (&Xdp, &Maps, &mut Grace) {
        let program = program::program(&mut self.ebpf).expect("the program that was loaded");
        (program, &self.maps, &mut self.grace)
    }
}
