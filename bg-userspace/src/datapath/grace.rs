//! The grace period: waiting until no processor can still hold an older control word. The update of a map
//! of maps returns only after every program run that was under way has ended
//! (`maybe_wait_bpf_programs` in `kernel/bpf/syscall.c`).

use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, MapData};

use super::Error;

type Inner = Array<MapData, u32>;

/// The barrier.
pub struct Grace {
    outer: ArrayOfMaps<MapData, Inner>,
    inner: Inner,
}

impl Grace {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map =
            ebpf.take_map("GRACE").ok_or_else(|| fail("looking it up in the program", "it is not there"))?;
        Ok(Self {
            outer: map.try_into().map_err(|e: aya::maps::MapError| fail("preparing the barrier", e))?,
            inner: Inner::create(1, 0).map_err(|e| fail("making the inner map of the barrier", e))?,
        })
    }

    /// Waits. Returns how long it took, usually 5 to 28 ms.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    pub fn wait(&mut self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.outer.set(0, &self.inner, 0).map_err(|e| fail("waiting for a grace period", e))?;
        Ok(start.elapsed())
    }
}

fn fail(act: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Map { name: "GRACE", act, source: source.into() }
}
