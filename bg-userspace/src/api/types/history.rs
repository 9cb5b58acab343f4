//! What was done.

use serde::{Deserialize, Serialize};

use crate::journal::{Entry, Outcome};

/// Answer of `GET /v1/deployments/{d}/history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryResult {
    /// The deployment.
    pub deployment: String,
    /// What was done, newest first.
    pub entries: Vec<HistoryEntry>,
}

/// What somebody did, or the agent by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its number, which grows.
    pub id: u64,
    /// When, `CLOCK_REALTIME`, milliseconds since 1970.
    pub at_ms: u64,
    /// The user, by the kernel's word; absent for the agent itself.
    pub uid: Option<u32>,
    /// The user's name; `bgd` for the agent itself.
    pub who: String,
    /// What, in a phrase: `flip to green`.
    pub what: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// The generation before it.
    pub generation: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, `CLOCK_REALTIME`, milliseconds since 1970.
    pub ended_at_ms: Option<u64>,
    /// More about how it ended, in a sentence.
    pub text: Option<String>,
}

impl From<Entry> for HistoryEntry {
    /// The journal keeps the entries of all deployments in one list; here each is asked for by its own.
    fn from(entry: Entry) -> Self {
        let Entry {
            id,
            deployment: _,
            at_ms,
            uid,
            who,
            what,
            reason,
            generation,
            outcome,
            ended_at_ms,
            text,
        } = entry;
        let text = text.filter(|text| !text.is_empty());
        Self { id, at_ms, uid, who, what, reason, generation, outcome, ended_at_ms, text }
    }
}
