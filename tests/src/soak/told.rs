//! What was going on around a connection that did not end as it should: for people who look for the reason.

use std::fmt::Write as _;

use super::outages::Outage;
use super::record::Record;
use super::timeline::Timeline;

/// What happened so long before a connection began may have to do with it.
const BEFORE_NS: u64 = 5_000_000_000;

/// Lines for each control word, its rings and every killed server in the connection's time, in seconds since it
/// began.
pub(super) fn around(record: &Record, timeline: &Timeline, outages: &[Outage]) -> String {
    let from = record.began_ns.saturating_sub(BEFORE_NS);
    let since = |at_ns: u64| (at_ns.cast_signed() - record.began_ns.cast_signed()) / 1_000_000;
    let mut lines: Vec<(i64, String)> = Vec::new();
    let place = timeline.place(record.client, record.vip);
    for moment in timeline.during(from, record.ended_ns) {
        let [base, current] = place.map_or([None; 2], |place| timeline.ways(place, moment));
        let (base, current) = (base.unwrap_or("nobody"), current.unwrap_or("nobody"));
        let phase = moment.word.phase();
        let hidden = if moment.hidden { ", and words before it" } else { "" };
        lines.push((
            since(moment.from_ns),
            format!("{phase:?}: base leads to {base}, current to {current}{hidden}"),
        ));
    }
    for outage in outages.iter().filter(|outage| outage.to_ns >= from && outage.from_ns <= record.ended_ns) {
        let back =
            if outage.to_ns == u64::MAX { "never".into() } else { format!("{} ms", since(outage.to_ns)) };
        let what = if outage.stands { "stands still" } else { "is killed" };
        lines.push((since(outage.from_ns), format!("{} {what}, and is back at {back}", outage.host)));
    }
    lines.sort_by_key(|line| line.0);
    let mut text = String::new();
    for (at, line) in lines {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n    {at:>7} ms  {line}");
    }
    text
}
