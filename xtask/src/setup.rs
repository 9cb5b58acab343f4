//! Making the machine ready: look, say what is missing and why, install it, look again.

use std::time::Instant;

use anyhow::{Result, anyhow, bail};

use crate::machine::Machine;
use crate::plan::{Goal, Step, plan};
use crate::unpack::unpack;
use crate::{apt, run, toolchain};

/// For `cargo xtask setup`: says so, too, when nothing is missing. Where other kernels cannot be had, the rest is
/// ready all the same.
pub(crate) fn aloud() -> Result<()> {
    let installed = install_missing(Goal::Run)?;
    match install_missing(Goal::Kernels) {
        Ok(false) if !installed => {
            eprintln!("setup: this machine has everything; `cargo xtask demo` shows it at work");
        }
        Ok(_) => {}
        Err(error) if run::stopped_by().is_some() => return Err(error),
        Err(error) => eprintln!("setup: no tests in other kernels on this machine: {error:#}"),
    }
    Ok(())
}

/// For every other command: silent when nothing is missing.
pub(crate) fn if_needed(goal: Goal) -> Result<()> {
    install_missing(goal).map(|_| ())
}

/// Says what is missing, and changes nothing. Gives the exit code: 1 when something is.
pub(crate) fn dry_run() -> Result<u8> {
    let machine = Machine::probe();
    let goal = if machine.debian { Goal::Kernels } else { Goal::Run };
    let steps = plan(&machine, goal).map_err(|refusal| anyhow!("{refusal}"))?;
    if steps.is_empty() {
        eprintln!("setup: this machine has everything");
        return Ok(0);
    }
    announce(&machine, &steps);
    Ok(1)
}

/// Gives whether there was anything to install.
fn install_missing(goal: Goal) -> Result<bool> {
    let mut machine = Machine::probe();
    let mut steps = plan(&machine, goal).map_err(|refusal| anyhow!("{refusal}"))?;
    if steps.is_empty() {
        return Ok(false);
    }
    announce(&machine, &steps);
    let started = Instant::now();
    if steps.iter().any(|step| matches!(step, Step::Packages(_) | Step::Unpack(_))) {
        heading("apt-get update");
        machine.on_offer = Some(apt::update()?);
        let known = plan(&machine, goal).map_err(|refusal| anyhow!("{refusal}"))?;
        if known != steps {
            eprintln!("setup: apt here does not have all of these, so another way is taken");
            announce(&machine, &known);
            steps = known;
        }
    }
    for step in &steps {
        heading(&step.to_string());
        carry_out(step)?;
    }
    let left = plan(&Machine::probe(), goal).map_err(|refusal| anyhow!("{refusal}"))?;
    if let Some(step) = left.first() {
        bail!("setup did all its steps, and this is still missing: {step}");
    }
    eprintln!("setup: this machine is ready, after {} s", started.elapsed().as_secs());
    Ok(true)
}

fn announce(machine: &Machine, steps: &[Step]) {
    eprintln!("setup: missing on this machine ({}), to be installed:", machine.distribution);
    for (number, step) in (1..).zip(steps) {
        eprintln!("  {number}. {step}");
    }
}

fn heading(what: &str) {
    eprintln!("setup: {what}");
}

fn carry_out(step: &Step) -> Result<()> {
    match step {
        Step::Packages(packages) => apt::install(packages),
        Step::Nightly => {
            toolchain::fetch_nightly()?;
            let fetched = Machine::probe().nightlies;
            let ours = fetched.iter().rev().find(|compiler| {
                compiler
                    .sysroot
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(toolchain::NIGHTLY))
            });
            let ours =
                ours.ok_or_else(|| anyhow!("rustup fetched {}, and it does not run", toolchain::NIGHTLY))?;
            toolchain::link(&ours.sysroot)
        }
        Step::Link(sysroot) => toolchain::link(sysroot),
        Step::Components(names) => toolchain::add_components(names),
        Step::Linker => toolchain::install_linker(),
        Step::Unpack(parts) => parts.iter().try_for_each(|part| unpack(part)),
    }
}
