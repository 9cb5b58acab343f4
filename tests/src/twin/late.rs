//! Tables as they are, at another time.

use bg_common::abi::{Backend, BackendId, Node};
use bg_common::control::Control;
use bg_common::pin::Bucket;
use bg_common::tables::{Line, Tables};

/// The tables, and what the clock shows.
pub(super) struct Late<'t, T> {
    pub(super) tables: &'t T,
    pub(super) nanoseconds: u64,
}

impl<T: Tables> Tables for Late<'_, T> {
    type Word = T::Word;

    fn node(&self) -> &Node {
        self.tables.node()
    }

    fn control(&self, deployment: u16) -> Control {
        self.tables.control(deployment)
    }

    fn deployment(&self, deployment: u16) -> Option<&Line<T::Word>> {
        self.tables.deployment(deployment)
    }

    fn ring(&self, element: u32) -> Option<u64> {
        self.tables.ring(element)
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.tables.backend(id)
    }

    fn pins(&self, bucket: u32) -> Option<&Bucket<T::Word>> {
        self.tables.pins(bucket)
    }

    fn pin_lock(&self, index: u32) -> Option<&T::Word> {
        self.tables.pin_lock(index)
    }

    fn recent(&self, index: u32) -> Option<&T::Word> {
        self.tables.recent(index)
    }

    fn census(&self, bucket: u32) -> Option<&Line<T::Word>> {
        self.tables.census(bucket)
    }

    fn nanoseconds(&self) -> u64 {
        self.nanoseconds
    }
}
