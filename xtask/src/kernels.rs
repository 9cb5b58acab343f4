//! `cargo xtask kernels`: the program and the agent in kernels other than this machine's. Each runs in a virtual
//! machine that is emulated, so that nothing but a processor is needed, and that has no disk and no network: what
//! it runs is in its memory from the start.

mod archive;
mod binaries;
mod console;
mod files;
mod guest;
pub(crate) mod parts;
mod suites;

pub(crate) use self::suites::Selection;

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use crate::kernels::binaries::Binaries;
use crate::kernels::parts::{Cache, KERNELS};
use crate::plan::Goal;
use crate::tally::Tally;
use crate::test::say;
use crate::{run, setup};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only in this kernel; may be given more than once.
    #[arg(long, value_parser = KERNELS.map(|kernel| kernel.name))]
    only: Vec<String>,

    /// Run only what `cargo xtask test` runs of it.
    #[arg(long)]
    quick: bool,
}

/// Runs the suites in each kernel; exit code 0 only when something ran and nothing failed.
pub(crate) fn command(options: &Options) -> Result<u8> {
    setup::if_needed(Goal::Kernels)?;
    let selection = if options.quick { Selection::Quick } else { Selection::Whole };
    let total = run_all(selection, &options.only)?;
    say(&format!("{} passed, {} failed", total.passed, total.failed))?;
    Ok(u8::from(total.failed > 0 || total.passed == 0))
}

/// Runs a selection in each kernel, all of them at once, or in those with these names.
pub(crate) fn run_all(selection: Selection, only: &[String]) -> Result<Tally> {
    let cache = Cache::find()?;
    let binaries = Binaries::build(&cache, selection)?;
    let total = Mutex::new(Tally::NONE);
    let errors = thread::scope(|scope| {
        let wanted =
            KERNELS.iter().filter(|kernel| only.is_empty() || only.iter().any(|name| name == kernel.name));
        let machines: Vec<_> = wanted
            .map(|kernel| {
                let (cache, binaries, total) = (&cache, &binaries, &total);
                scope.spawn(move || -> Result<()> {
                    let tally = guest::run(cache, kernel, binaries, selection)?;
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    *total = total.plus(tally);
                    Ok(())
                })
            })
            .collect();
        let ends =
            machines.into_iter().map(|machine| machine.join().map_err(|_| anyhow!("a thread panicked"))?);
        ends.filter_map(Result::err).collect::<Vec<_>>()
    });
    if run::stopped_by().is_some() {
        bail!("interrupted");
    }
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A machine that could not be started is one failure, and the others count.
    Ok(errors.iter().fold(total, |total, error| {
        eprintln!("error: {error:#}");
        total.plus(Tally::one(false))
    }))
}
