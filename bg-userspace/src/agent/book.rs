//! What the agent keeps on disk: the state that a reboot must not lose, and who did what and why.

use std::collections::HashMap;
use std::fs;

use bg_common::control::Control;
use tracing::{error, info};

use super::Managed;
use crate::api::Who;
use crate::datapath::{Datapath, Error, InstalledService, clock};
use crate::journal::{
    BackendRecord, DeploymentRecord, Entry, Intent, Journal, Outcome, Record, RingId, ServiceRecord,
};
use crate::rollout::Motive;

/// The journal, and what is known of its content.
pub(super) struct Book {
    journal: Journal,
    /// Its last content, history included.
    record: Record,
    /// Rings that are saved already, by service number and ring slot.
    rings: HashMap<(u16, u8), RingId>,
    /// Why the last write failed; the journal is behind then.
    trouble: Option<String>,
}

impl Book {
    /// Over an opened journal.
    pub(super) fn new(journal: Journal, record: Option<Record>, key: [u64; 4]) -> Self {
        let mut record = record.unwrap_or_else(|| Record {
            key,
            boot_id: String::new(),
            deployments: Vec::new(),
            history: Vec::new(),
        });
        // Only something to tell: a node without it works as well.
        record.boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| String::new(), |id| id.trim().to_owned());
        Self { journal, record, rings: HashMap::new(), trouble: None }
    }

    /// What it knew of a deployment when it was last written.
    pub(super) fn deployment(&self, name: &str) -> Option<&DeploymentRecord> {
        self.record.deployments.iter().find(|deployment| deployment.name == name)
    }

    /// A ring slot has another content now.
    pub(super) fn ring_changed(&mut self, service: u16, slot: u8) {
        self.rings.remove(&(service, slot));
    }

    /// Writes down what holds, and what deployment `intent.0` is about to do.
    ///
    /// # Errors
    /// When it could not be written; the old content is still there then, or the new one.
    pub(super) fn save(
        &mut self,
        datapath: &Datapath,
        deployments: &[Managed],
        intent: Option<(usize, Intent)>,
    ) -> Result<(), Error> {
        let written = self.try_save(datapath, deployments, intent);
        match (&written, &self.trouble) {
            (Err(error), None) => error!(%error, "the journal cannot be written"),
            (Ok(()), Some(_)) => info!("the journal can be written again"),
            _ => {}
        }
        self.trouble = written.as_ref().err().map(ToString::to_string);
        written
    }

    fn try_save(
        &mut self,
        datapath: &Datapath,
        deployments: &[Managed],
        intent: Option<(usize, Intent)>,
    ) -> Result<(), Error> {
        let (acting, intent) = intent.unzip();
        let mut records = Vec::with_capacity(deployments.len());
        for (at, deployment) in deployments.iter().enumerate() {
            let intent = intent.clone().filter(|_| acting == Some(at));
            records.push(self.record_of(datapath, deployment, intent)?);
        }
        self.record.deployments = records;
        Ok(self.journal.write(&self.record)?)
    }

    fn record_of(
        &mut self,
        datapath: &Datapath,
        deployment: &Managed,
        intent: Option<Intent>,
    ) -> Result<DeploymentRecord, Error> {
        let installed = &deployment.installed;
        let control = datapath.control(installed.index);
        let ledger = datapath.ledger(installed.index);
        let named = |word: Control| [word.base().slot, word.current().slot];
        let mut slots = named(control).to_vec();
        slots.extend(intent.iter().flat_map(|intent| named(Control(intent.word))));
        let mut services = Vec::with_capacity(installed.services.len());
        for service in &installed.services {
            let mut rings = [None; 3];
            for (slot, ring) in (0..).zip(&mut rings) {
                if slots.contains(&slot) {
                    *ring = Some(self.ring(datapath, service, slot)?);
                }
            }
            services.push(service_record(datapath, deployment, service, rings));
        }
        Ok(DeploymentRecord {
            name: installed.name.clone(),
            index: installed.index,
            services,
            word: control.0,
            intent,
            motive: ledger.motive,
            switched_at: clock::to_wall(ledger.switched_at),
            deadline_at: clock::to_wall(ledger.deadline_at),
            share: ledger.share as u8,
        })
    }

    fn ring(&mut self, datapath: &Datapath, service: &InstalledService, slot: u8) -> Result<RingId, Error> {
        if let Some(id) = self.rings.get(&(service.id, slot)) {
            return Ok(*id);
        }
        let id = self.journal.save_ring(&datapath.ring(service, slot))?;
        self.rings.insert((service.id, slot), id);
        Ok(id)
    }

    /// Begins an entry of the history; `who` is `None` for what the agent does by itself. It is written with
    /// the next save. What the deployment has under way stays open; [`Self::stored`] ends it.
    pub(super) fn begin(
        &mut self,
        deployment: &str,
        who: Option<&Who>,
        what: &str,
        reason: Option<&str>,
        generation: u32,
    ) -> u64 {
        let id = self.record.next_entry();
        self.record.remember(Entry {
            id,
            deployment: deployment.to_owned(),
            at_ms: clock::wall(),
            uid: who.map(|who| who.uid),
            who: who.map_or_else(|| "bgd".to_owned(), |who| who.name.clone()),
            what: what.to_owned(),
            reason: reason.map(str::to_owned),
            generation,
            outcome: Outcome::Pending,
            ended_at_ms: None,
            text: None,
        });
        id
    }

    /// Ends an entry.
    pub(super) fn end(&mut self, id: u64, outcome: Outcome, text: &str) {
        if let Some(entry) = self.record.entry_mut(id) {
            entry.outcome = outcome;
            entry.ended_at_ms = Some(clock::wall());
            entry.text = Some(text.to_owned());
        }
    }

    /// The word that an entry stands for was stored. A switch between environments goes on from there and ends
    /// what was under way before; anything else is over with the store.
    pub(super) fn stored(&mut self, deployment: &str, entry: u64, switches: bool, motive: Motive) {
        let Some(this) = self.record.entry_mut(entry).cloned().filter(|_| switches) else {
            return self.end(entry, Outcome::Done, "");
        };
        let (outcome, text) = if motive == Motive::Rollback {
            (Outcome::RolledBack, format!("rolled back by {}", this.who))
        } else {
            (Outcome::Ended, format!("{} by {}", this.what, this.who))
        };
        for older in self.open(deployment, Some(entry)) {
            self.end(older, outcome, &text);
        }
    }

    /// Tells in the history of every deployment that the node's duty has ended, and writes that down. The data
    /// plane is gone by then; what is known of it stays, because the next agent goes by it.
    pub(super) fn detached(mut self, who: &Who) -> Result<(), Error> {
        let known = self.record.deployments.iter();
        let known: Vec<_> = known.map(|d| (d.name.clone(), Control(d.word).epoch())).collect();
        for (name, generation) in known {
            let entry = self.begin(&name, Some(who), "detached", None, generation);
            self.end(entry, Outcome::Done, "connections through this node have ended");
        }
        Ok(self.journal.write(&self.record)?)
    }

    /// The entries of a deployment that have not ended, oldest first, but for `except`.
    pub(super) fn open(&self, deployment: &str, except: Option<u64>) -> Vec<u64> {
        let open = self.record.history.iter().filter(|entry| {
            entry.deployment == deployment && entry.outcome == Outcome::Pending && Some(entry.id) != except
        });
        open.map(|entry| entry.id).collect()
    }

    /// The newest entries of a deployment, newest first.
    pub(super) fn history(&self, deployment: &str, limit: usize) -> Vec<Entry> {
        self.record.history_of(deployment).take(limit).cloned().collect()
    }

    /// What the operator should know about the journal.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.as_ref().map(|trouble| {
            format!(
                "the journal is behind: {trouble}; flips are refused, and after a reboot now connections would move"
            )
        })
    }
}

fn service_record(
    datapath: &Datapath,
    deployment: &Managed,
    service: &InstalledService,
    rings: [Option<RingId>; 3],
) -> ServiceRecord {
    let backends = service.backends.iter().map(|backend| BackendRecord {
        id: backend.id,
        environment: backend.environment,
        address: backend.address,
        weight: deployment.weights.get(&backend.id).copied().unwrap_or(backend.weight),
        leaving: backend.leaving,
        dead: datapath.is_dead(backend.id),
    });
    ServiceRecord {
        name: service.name.clone(),
        id: service.id,
        vip: service.vip,
        ring_size: datapath.ring_size(service),
        ring_base: datapath.ring_base(service),
        backends: backends.collect(),
        rings,
    }
}
