//! The end of a node's duty, and its entry in the history.

use tracing::warn;

use super::book::Book;
use crate::api::Who;
use crate::config::Config;
use crate::datapath::{self, Error};
use crate::journal::Journal;

/// Ends the node's duty: VIPs away, program off the interfaces, pins removed. Traffic stops. The journal
/// stays, and tells it.
///
/// # Errors
/// When an agent is running, or something could not be removed.
pub async fn detach(config: &Config, who: &Who) -> Result<(), Error> {
    datapath::require_rights()?;
    // Held until the end, so that no agent starts on what is being taken away.
    let journal = Journal::open(&config.node.state_dir);
    if !datapath::detach(config).await? {
        return Ok(());
    }
    let told = match journal {
        Ok((journal, Some(record))) => {
            let key = record.key;
            Book::new(journal, Some(record), key).detached(who)
        }
        Ok((_, None)) => Ok(()),
        Err(error) => Err(error.into()),
    };
    // What was asked for is done; whoever starts an agent here next is told the same.
    if let Err(error) = told {
        warn!(%error, "the history does not tell that this node was detached");
    }
    Ok(())
}
