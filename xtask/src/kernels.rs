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
}

/// Runs the suites in each kernel; exit code 0 only when something ran and nothing failed.
pub(crate) fn command(options: &Options) -> Result<u8> {
    setup::if_needed(Goal::Kernels)?;
    let total = run_all(&options.only)?;
    say(&format!("{} passed, {} failed", total.passed, total.failed))?;
    Ok(u8::from(total.failed > 0 || total.passed == 0))
}

/// Runs the suites in each kernel, or in those with these names: as many at once as this process has processors,
/// because a machine takes a whole one.
pub(crate) fn run_all(only: &[String]) -> Result<Tally> {
    let cache = Cache::find()?;
    let binaries = Binaries::build(&cache)?;
    let wanted: Vec<_> = KERNELS
        .iter()
        .filter(|kernel| only.is_empty() || only.iter().any(|name| name == kernel.name))
        .collect();
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    let mut total = Tally::NONE;
    for some in wanted.chunks(at_once) {
        let tallies = thread::scope(|scope| {
            let machines: Vec<_> =
                some.iter().map(|kernel| scope.spawn(|| guest::run(&cache, kernel, &binaries))).collect();
            let ends = machines.into_iter();
            ends.map(|end| end.join().map_err(|_| anyhow!("a thread panicked"))?).collect::<Vec<_>>()
        });
        if run::stopped_by().is_some() {
            bail!("interrupted");
        }
        for tally in tallies {
            // A machine that could not be started is one failure, and the others count.
            total = total.plus(tally.unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                Tally::one(false)
            }));
        }
    }
    Ok(total)
}
