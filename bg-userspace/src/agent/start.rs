//! The first moments of an agent: what is there, what an agent that was killed left unfinished, and what
//! the journal knows of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use bg_common::abi::BackendId;
use bg_common::control::{Control, Phase};
use tracing::{info, warn};

use super::backends::Backends;
use super::book::Book;
use super::paths::Paths;
use super::{Agent, Checks, Managed, commit, drain, finish, members};
use crate::config::Config;
use crate::datapath::{Datapath, Deployment, Error, Opened};
use crate::journal::{Journal, Outcome, Record};
use crate::rollout::{self, Motive, State};

/// What an agent starts with.
pub struct Start {
    /// The data plane.
    pub opened: Opened,
    /// The journal, and its content.
    pub journal: (Journal, Option<Record>),
    /// Where the configuration was read from.
    pub file: PathBuf,
    /// It.
    pub config: Config,
    /// How health checks are started.
    pub checks: Checks,
}

impl Agent {
    /// Takes over an opened data plane, and puts in order what an agent that was killed left unfinished.
    ///
    /// # Errors
    /// When the kernel refuses the barrier, or a table has no room for a backend that is new.
    pub fn new(start: Start) -> Result<Self, Error> {
        let Start { opened, journal: (journal, record), file, config, checks } = start;
        let Opened { mut datapath, mut deployments, adopted, restored } = opened;
        // A word stored just before the last agent died may not have reached every processor.
        datapath.grace()?;
        for deployment in &mut deployments {
            if let Some(wanted) = config.deployments.get(&deployment.name) {
                members::join(&datapath, deployment, wanted, &mut Vec::new())?;
            }
        }
        let checker = checks(&deployments, &config);
        let backends = Backends::new(&deployments, &config, &datapath);
        let mut book = Book::new(journal, record, datapath.key());
        let mut managed = Vec::new();
        for installed in deployments {
            let Some(wanted) = config.deployments.get(&installed.name).cloned() else { continue };
            let weights = weights(&book, &installed);
            let mut deployment = Managed::new(installed, wanted, weights);
            resume(&mut datapath, &mut book, &mut deployment, restored)?;
            if adopted {
                let control = datapath.control(deployment.installed.index);
                info!(
                    deployment = deployment.installed.name,
                    phase = ?control.phase(),
                    generation = control.epoch(),
                    "adopted"
                );
            }
            managed.push(deployment);
        }
        let now = Instant::now();
        let mut agent = Self {
            datapath,
            file,
            config,
            deployments: managed,
            backends,
            book,
            paths: Paths::default(),
            grace_due: false,
            started: now,
            swept: now,
            // Backends may have left or got other weights while nobody looked.
            health_changed: Some(now),
            lost_for_neighbours: 0,
            checks,
            checker,
        };
        agent.renew_testers()?;
        agent.note_down();
        Ok(agent)
    }
}

/// The weights that the rings were made with: the journal's, or for a deployment that it does not know the
/// configured ones.
fn weights(book: &Book, installed: &Deployment) -> HashMap<BackendId, u16> {
    if let Some(record) = book.deployment(&installed.name) {
        let backends = record.services.iter().flat_map(|service| &service.backends);
        return backends.map(|backend| (backend.id, backend.weight)).collect();
    }
    let backends = installed.services.iter().flat_map(|service| &service.backends);
    backends.map(|backend| (backend.id, backend.weight)).collect()
}

/// Finishes or undoes what was under way in a deployment.
fn resume(
    datapath: &mut Datapath,
    book: &mut Book,
    deployment: &mut Managed,
    restored: bool,
) -> Result<(), Error> {
    let index = deployment.installed.index;
    let name = deployment.installed.name.clone();
    if let Some(record) = book.deployment(&name).cloned() {
        let happened = commit::resume(datapath, index, &record);
        match (record.intent.as_ref().and_then(|intent| Some((intent, intent.entry?))), happened) {
            (Some((intent, entry)), Some(true)) => {
                book.stored(&name, entry, intent.switches, Motive::from_ledger(intent.motive));
                deployment.forget_weights();
            }
            (Some((_, entry)), _) => {
                let text = "bgd was stopped before it could do that; nothing changed";
                book.end(entry, Outcome::NotCarriedOut, text);
                finish(deployment, text.to_owned());
            }
            (None, _) => {}
        }
        let known = [Some(record.word), record.intent.map(|intent| intent.word)];
        if !restored && known.into_iter().flatten().all(|word| !same(Control(word), datapath.control(index)))
        {
            warn!(deployment = name, "the kernel's word is another than the journal's: the kernel's holds");
        }
    }
    if datapath.control(index).phase() == Phase::Seal {
        datapath.store(index, rollout::unseal(datapath.control(index)));
        datapath.grace()?;
    }
    let control = datapath.control(index);
    if control.phase() == Phase::Steady && datapath.ledger(index).cleared_epoch != control.epoch() {
        drain::clear(datapath, index)?;
    }
    if rollout::state(control, deployment.motive(datapath)) == State::Idle {
        for entry in book.open(&name, None) {
            book.end(entry, Outcome::Done, "it was over when bgd started again");
        }
    }
    if control.phase() != Phase::Steady && restored {
        let text = format!(
            "the node was restarted while connections were pinned, and the pins are lost: those opened on {} since the switch go to {} now, and break",
            control.current().environment.name(),
            control.base().environment.name()
        );
        warn!(deployment = name, "{text}");
        deployment.lost = Some(text);
    }
    Ok(())
}

/// Whether two words route alike; a seal comes and goes without being written down.
fn same(a: Control, b: Control) -> bool {
    (a.base(), a.current()) == (b.base(), b.current())
}
