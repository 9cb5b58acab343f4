//! `bgctl history`: who did what, when, why, and how it ended.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    exit::{Exit, Failure},
    output::Output,
    text::{self, Paint, clean},
};
use crate::api::{
    client::Client,
    types::{HistoryEntry, HistoryResult, Outcome},
};

/// Between two columns.
const GAP: &str = "  ";

pub(super) async fn run(
    output: &Output,
    client: &Client,
    deployment: &str,
    limit: usize,
) -> Result<Exit, Failure> {
    let history = client.history(deployment, limit).await?;
    output.answer(&history, || screen(output.paint(), &history, now_ms(), &TimeZone::system()).join("\n"))?;
    Ok(Exit::Done)
}

/// The table. What somebody wrote as a reason comes last, because it has any length.
pub(super) fn screen(paint: Paint, history: &HistoryResult, now_ms: u64, zone: &TimeZone) -> Vec<String> {
    let name = clean(&history.deployment);
    if history.entries.is_empty() {
        return vec![
            format!("{}: nothing has been done yet", paint.bold(&name)),
            format!("  next: bgctl status {name}"),
        ];
    }
    let rows: Vec<_> = history.entries.iter().map(|entry| row(entry, now_ms, zone)).collect();
    let head = ["when", "who", "what", "how it ended", "why"].map(str::to_owned);
    let mut widths = [0; 4];
    for cells in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut lines = vec![paint.faint(&line(&head, widths))];
    for (entry, cells) in history.entries.iter().zip(&rows) {
        let line = line(cells, widths);
        lines.push(match entry.outcome {
            Outcome::Pending => paint.odd(&line),
            Outcome::Failed | Outcome::NotCarriedOut => paint.bad(&line),
            Outcome::Done | Outcome::RolledBack | Outcome::Ended => line,
        });
        lines.extend(entry.text.as_ref().map(|text| paint.faint(&format!("    {}", clean(text)))));
    }
    lines.push(format!("  next: bgctl status {name}"));
    lines
}

fn row(entry: &HistoryEntry, now_ms: u64, zone: &TimeZone) -> [String; 5] {
    let who = clean(&entry.who);
    let unknown = format!("uid {}", entry.uid.unwrap_or_default());
    [
        when(entry.at_ms, now_ms, zone),
        match entry.uid {
            // A user without a name is called by the number already.
            Some(uid) if who != unknown => format!("{who} (uid {uid})"),
            _ => who,
        },
        format!("{}, generation {}", clean(&entry.what), entry.generation),
        how(entry),
        entry.reason.as_deref().map_or_else(|| "-".to_owned(), clean),
    ]
}

fn line(cells: &[String; 5], widths: [usize; 4]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    let cells: Vec<_> = padded.chain([cells[4].clone()]).collect();
    format!("{GAP}{}", cells.join(GAP)).trim_end().to_owned()
}

/// `2026-11-23 09:16:33 UTC, 4m12s ago`.
fn when(at_ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let Some(at) = at else { return "at no time".to_owned() };
    let local = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    // The clock may have been set back since.
    match now_ms.checked_sub(at_ms) {
        Some(age) => format!("{local}, {} ago", text::seconds(age / 1000)),
        None => local,
    }
}

fn how(entry: &HistoryEntry) -> String {
    let how = match entry.outcome {
        Outcome::Pending => "under way",
        Outcome::Done => "done",
        Outcome::NotCarriedOut => "not carried out",
        Outcome::RolledBack => "rolled back",
        Outcome::Ended => "ended by the next",
        Outcome::Failed => "failed",
    };
    let took = entry.ended_at_ms.and_then(|ended| ended.checked_sub(entry.at_ms));
    match took.map(|took| took / 1000).filter(|seconds| *seconds > 0) {
        Some(seconds) => format!("{how} after {}", text::seconds(seconds)),
        None => how.to_owned(),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2026-11-23 09:16:33 UTC.
    const NOW: u64 = 1_795_425_393_000;

    fn history() -> HistoryResult {
        serde_json::from_value(json!({
            "deployment": "shop",
            "entries": [
                {
                    "id": 3, "at_ms": NOW - 5_000, "uid": null, "who": "bgd", "what": "new rings",
                    "reason": null, "generation": 43, "outcome": "pending", "ended_at_ms": null, "text": null,
                },
                {
                    "id": 2, "at_ms": NOW - 252_000, "uid": 1000, "who": "ada", "what": "flip to green",
                    "reason": "release 1.9.1\tat\u{1b}[2J last", "generation": 42, "outcome": "rolled_back",
                    "ended_at_ms": NOW - 122_000, "text": "rollback to blue by root",
                },
                {
                    "id": 1, "at_ms": NOW - 7_440_000, "uid": 1001, "who": "uid 1001", "what": "flip to blue",
                    "reason": null, "generation": 41, "outcome": "not_carried_out",
                    "ended_at_ms": NOW - 7_440_000, "text": null,
                },
            ],
        }))
        .unwrap()
    }

    fn screen_in(zone: &TimeZone) -> String {
        screen(Paint::new(false), &history(), NOW, zone).join("\n")
    }

    #[test]
    fn history_is_a_table_without_tabs() {
        let expected = "  \
  when                                 who             what                         how it ended             why
  2026-11-23 09:16:28 UTC, 5s ago      bgd             new rings, generation 43     under way                -
  2026-11-23 09:12:21 UTC, 4m12s ago   ada (uid 1000)  flip to green, generation 42 rolled back after 2m10s  release 1.9.1 at [2J last
    rollback to blue by root
  2026-11-23 07:12:33 UTC, 2h04m ago   uid 1001        flip to blue, generation 41  not carried out          -
  next: bgctl status shop";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = screen_in(&TimeZone::UTC);
        assert_eq!(squeeze(&shown), squeeze(expected), "{shown}");
        assert!(!shown.contains('\t'), "{shown}");
        let column = |line: &str| line.find("generation").unwrap_or(0);
        let columns: Vec<_> = shown.lines().filter(|line| line.contains(" ago")).map(column).collect();
        let who = shown.lines().next().unwrap().find("who").unwrap();
        assert!(shown.lines().nth(1).unwrap()[who..].starts_with("bgd "), "{shown}");
        assert_eq!(columns.len(), 3);
    }

    #[test]
    fn times_are_local() {
        let zone = TimeZone::posix("XST-2").unwrap();
        assert!(screen_in(&zone).contains("2026-11-23 11:16:28 XST, 5s ago"), "{}", screen_in(&zone));
    }

    #[test]
    fn clock_that_was_set_back_makes_no_age() {
        assert_eq!(when(NOW, NOW - 1, &TimeZone::UTC), "2026-11-23 09:16:33 UTC");
        assert_eq!(when(u64::MAX, NOW, &TimeZone::UTC), "at no time");
    }

    #[test]
    fn nothing_yet_is_said() {
        let empty = HistoryResult { deployment: "shop".to_owned(), entries: Vec::new() };
        let lines = screen(Paint::new(false), &empty, NOW, &TimeZone::UTC);
        assert_eq!(lines[0], "shop: nothing has been done yet");
    }
}
