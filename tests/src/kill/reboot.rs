//! A reboot of the node, as the agent finds it: everything in the kernel is gone, what is on disk is there.

use crate::lab::stage::Stage;
use crate::lab::topology::VIP;
use anyhow::{Context, Result};
use bg_userspace::journal::{Journal, Record};
use std::path::PathBuf;

/// A boot that was not this one.
pub const ANOTHER_BOOT: &str = "00000000-0000-4000-8000-000000000000";

/// Where a laboratory's agent keeps its journal.
pub fn state_dir(stage: &Stage) -> PathBuf {
    stage.topology.workdir.join("state")
}

/// What the journal holds. The agent must be down.
pub fn record(stage: &Stage) -> Result<Record> {
    let (_, record) = Journal::open(&state_dir(stage))?;
    record.context("there is no journal")
}

/// Takes the node down: its links first, so that nobody is answered by half a node; then the agent, the
/// program, the maps and the VIPs. The journal is made to be of another boot.
pub fn shut_down(stage: &mut Stage) -> Result<()> {
    set_links(stage, "down")?;
    stage.kill_agent()?;
    let pins = stage.topology.workdir.bpffs().join("bluegreen");
    std::fs::remove_dir_all(&pins).with_context(|| format!("remove {}", pins.display()))?;
    stage.topology.node.ip(&["addr", "del", &format!("{VIP}/32"), "dev", "lo"])?;
    let (mut journal, record) = Journal::open(&state_dir(stage))?;
    let mut record = record.context("there is no journal")?;
    ANOTHER_BOOT.clone_into(&mut record.boot_id);
    journal.write(&record)?;
    Ok(())
}

/// Brings its links up again.
pub fn link_up(stage: &Stage) -> Result<()> {
    set_links(stage, "up")
}

fn set_links(stage: &Stage, to: &str) -> Result<()> {
    for interface in stage.topology.interfaces() {
        stage.topology.node.ip(&["link", "set", &interface, to])?;
    }
    Ok(())
}
