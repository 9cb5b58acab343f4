//! The journal: intent and history on disk, written before the store that carries the intent out.
//!
//! `journal.json` is replaced as a whole with every write. Rings are files of their own beside it, named by
//! their digest: a ring is written before the journal that names it, and removed after the journal that no
//! longer does. So whoever is killed at any point leaves a journal that is whole, and all that it names.

#![forbid(unsafe_code)]

mod digest;
mod disk;
mod envelope;
mod error;
mod record;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use bg_common::abi::BackendId;
use tracing::warn;

pub use self::digest::{Digest, NoDigest};
use self::disk::{Boundaries, Directory};
use self::envelope::Flaw;
pub use self::error::Error;
pub use self::record::{
    BackendRecord, DeploymentRecord, Entry, HISTORY, Intent, Outcome, Record, ServiceRecord,
};
use crate::boundary;

/// The file's name in its directory.
pub const FILE: &str = "journal.json";
const RINGS: &str = "rings";
const RING: &str = ".ring";

const JOURNAL_PASSES: Boundaries = Boundaries {
    created: "journal create",
    written: "journal write",
    synced: "journal fsync",
    renamed: "journal rename",
    durable: "journal directory fsync",
};
const RING_PASSES: Boundaries = Boundaries {
    created: "ring create",
    written: "ring write",
    synced: "ring fsync",
    renamed: "ring rename",
    durable: "ring directory fsync",
};
const RING_REMOVED: &str = "ring remove";

/// A ring's content, by its digest.
pub type RingId = Digest;

/// The journal's directory, held against other agents.
pub struct Journal {
    directory: Directory,
    rings: Directory,
    /// Rings whose files are there, durably.
    known: BTreeSet<RingId>,
}

impl Journal {
    /// Opens the directory, makes it if need be, takes hold of it, and reads what is there; `None` if no
    /// journal was ever written. What a killed agent left half done is removed.
    pub fn open(directory: &Path) -> Result<(Self, Option<Record>), Error> {
        let directory = Directory::open(directory)?;
        directory.lock()?;
        let path = directory.join(FILE);
        let record = directory.read(FILE)?.map(|bytes| parse(&bytes, &path)).transpose()?;
        directory.tidy(|name| name == FILE)?;
        let rings = Directory::open(&directory.join(RINGS))?;
        rings.tidy(|name| ring_of(name).is_some())?;
        let known = rings.names()?.iter().filter_map(|name| ring_of(name)).collect();
        let journal = Self { directory, rings, known };
        if let Some(record) = &record {
            journal.has_all(record)?;
        }
        Ok((journal, record))
    }

    /// Replaces what the journal holds; durable when it returns. Rings that are no longer named are removed.
    ///
    /// # Errors
    /// When it could not be written: then the old journal still holds. A record that names a ring which was
    /// not saved is refused as well.
    pub fn write(&mut self, record: &Record) -> Result<(), Error> {
        self.has_all(record)?;
        let path = self.directory.join(FILE);
        let mut body = serde_json::to_vec_pretty(record).map_err(|error| Error::Damaged {
            path: path.clone(),
            what: format!("what should be written is no JSON ({error})"),
        })?;
        body.push(b'\n');
        self.directory.replace(FILE, &envelope::wrap(&body), &JOURNAL_PASSES)?;
        let named: BTreeSet<RingId> = record.rings().collect();
        self.known.retain(|id| {
            if named.contains(id) {
                return true;
            }
            let removed = self.rings.remove(&ring_name(id));
            boundary::pass(RING_REMOVED);
            if let Err(error) = &removed {
                // The record is durable all the same; the next one tries again.
                warn!(%error, "a ring that nothing names any more");
            }
            removed.is_err()
        });
        Ok(())
    }

    /// Saves a ring; durable when it returns. One that is there already costs nothing.
    pub fn save_ring(&mut self, ring: &[BackendId]) -> Result<RingId, Error> {
        let bytes: Vec<u8> = ring.iter().flat_map(|id| id.to_le_bytes()).collect();
        let id = Digest::of(&bytes);
        if !self.known.contains(&id) {
            self.rings.replace(&ring_name(&id), &bytes, &RING_PASSES)?;
            self.known.insert(id);
        }
        Ok(id)
    }

    /// Reads a ring, and checks that it is the one that was saved.
    pub fn load_ring(&self, id: &RingId) -> Result<Vec<BackendId>, Error> {
        let name = ring_name(id);
        let path = self.rings.join(&name);
        let Some(bytes) = self.rings.read(&name)? else { return Err(Error::RingMissing(path)) };
        if Digest::of(&bytes) != *id {
            return Err(Error::Damaged { path, what: "its digest is not its name".to_owned() });
        }
        let slots = bytes.chunks_exact(2);
        if !slots.remainder().is_empty() {
            return Err(Error::Damaged { path, what: "it has an odd number of bytes".to_owned() });
        }
        Ok(slots.map(|slot| BackendId::from_le_bytes([slot[0], slot[1]])).collect())
    }

    fn has_all(&self, record: &Record) -> Result<(), Error> {
        match record.rings().find(|id| !self.known.contains(id)) {
            Some(id) => Err(Error::RingMissing(self.rings.join(&ring_name(&id)))),
            None => Ok(()),
        }
    }
}

fn parse(bytes: &[u8], path: &Path) -> Result<Record, Error> {
    let path = path.to_owned();
    let body = match envelope::unwrap(bytes) {
        Ok(body) => body,
        Err(Flaw::Foreign) => return Err(Error::Foreign(path)),
        Err(Flaw::Newer(found)) => return Err(Error::Newer { path, found, known: envelope::VERSION }),
        Err(Flaw::Truncated(cut)) => return Err(Error::Truncated { path, what: cut.to_string() }),
        Err(Flaw::Damaged(what)) => return Err(Error::Damaged { path, what: what.to_owned() }),
    };
    serde_json::from_slice(body)
        .map_err(|error| Error::Damaged { path, what: format!("its content does not fit: {error}") })
}

fn ring_name(id: &RingId) -> String {
    format!("{id}{RING}")
}

fn ring_of(name: &str) -> Option<RingId> {
    name.strip_suffix(RING)?.parse().ok()
}
