//! Ports that are used again. A connection that was not ended by FINs both ways may leave a half pin behind, and
//! while that is there a SYN with another number from the same port waits: the rule says so, because it cannot
//! tell which of the two is forged.

use super::record::{End, Record};
use std::collections::HashMap;
use std::net::SocketAddr;

/// When connections ended that may have left something behind, by client and virtual address.
pub(super) struct Ports(HashMap<(SocketAddr, SocketAddr), Vec<u64>>);

impl Ports {
    /// `records` come with whether they were lost with their backend.
    pub(super) fn new<'r>(records: impl Iterator<Item = (&'r Record, bool)>) -> Self {
        let mut ends: HashMap<_, Vec<u64>> = HashMap::new();
        for (record, _) in records.filter(|(record, lost)| *lost || record.end != End::Kept) {
            ends.entry((record.client, record.vip)).or_default().push(record.ended_ns);
        }
        Self(ends)
    }

    /// Whether an older connection on the same port ended so badly within this time before this one began.
    pub(super) fn were_held(&self, record: &Record, within_ns: u64) -> bool {
        let ends = self.0.get(&(record.client, record.vip)).map(Vec::as_slice).unwrap_or_default();
        ends.iter().any(|&end| end <= record.began_ns && record.began_ns - end <= within_ns)
    }
}
