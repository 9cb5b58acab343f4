//! Backends that were killed or stood still: what broke because of that is theirs, and nobody else's.

use super::record::Record;
use super::timeline::Timeline;

/// The time in which a host did not serve.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    pub(super) host: String,
    /// Its server was stopped and not killed: it keeps what it has, and its kernel takes new connections until
    /// as many wait as it has places for.
    pub(super) stands: bool,
    /// Just before that.
    pub(super) from_ns: u64,
    /// When it went on, or its successor listened; the end of time until then.
    pub(super) to_ns: u64,
}

impl Outage {
    /// Whether this outage ended the connection, or kept it from coming about.
    fn took(&self, record: &Record, timeline: &Timeline) -> bool {
        if record.ended_ns < self.from_ns || record.began_ns > self.to_ns {
            return false;
        }
        if let Some(host) = &record.host {
            return *host == self.host && record.opened_ns.unwrap_or(record.began_ns) <= self.to_ns;
        }
        // Nobody introduced himself: it is known all the same whose turn it was.
        let moments = timeline.during(record.began_ns, record.ended_ns);
        let place = timeline.place(record.client, record.vip);
        let hosts = place.and_then(|place| timeline.hosts(place, moments));
        hosts.is_some_and(|hosts| hosts.contains(self.host.as_str()))
    }
}

/// Whether the connection was lost with its backend.
pub(super) fn lost(outages: &[Outage], record: &Record, timeline: &Timeline) -> bool {
    outages.iter().any(|outage| !outage.stands && outage.took(record, timeline))
}

/// Whether it was the turn of a server that stood still.
pub(super) fn stood(outages: &[Outage], record: &Record, timeline: &Timeline) -> bool {
    outages.iter().any(|outage| outage.stands && outage.took(record, timeline))
}
