//! Bent packets through the kernel and plain memory, as long as one likes: `cargo xtask fuzz kernel`; and the cases
//! that fuzzing begins with, as files: `cargo xtask fuzz seeds`.
#![forbid(unsafe_code)]

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use bg_fuzz::encode;
use bg_tests::fuzz::{Plan, fuzz, replay, seeds};
use bg_tests::twin::Pair;
use clap::Parser;

#[derive(Parser)]
#[command(bin_name = "cargo xtask fuzz", about = "Bent packets through the kernel and plain memory")]
enum Cli {
    /// Run bent cases through both sides.
    Kernel {
        /// At least so long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Where every choice comes from; a new one each time if absent.
        #[arg(long)]
        seed: Option<u64>,
        /// Run this case instead: a file, or its bytes in hexadecimal.
        #[arg(long, conflicts_with = "seed")]
        replay: Option<String>,
    },
    /// Write the cases that fuzzing begins with into this folder.
    Seeds {
        /// The folder; what else is in it goes.
        folder: PathBuf,
    },
}

fn main() -> Result<ExitCode> {
    match Cli::parse() {
        Cli::Seeds { folder } => write(&folder).map(|()| ExitCode::SUCCESS),
        Cli::Kernel { seconds, seed, replay: None } => {
            let seed = seed.unwrap_or_else(|| {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.map_or(1, |now| now.subsec_nanos().into())
            });
            let plan = Plan { seed, packets: 0, time: Duration::from_secs(seconds) };
            Ok(end(Pair::with("fuzz", |pair| fuzz(pair, plan, &mut progress)), &format!("seed {seed}")))
        }
        Cli::Kernel { replay: Some(case), .. } => {
            let case = read(&case)?;
            Ok(end(Pair::with("fuzz", |pair| replay(pair, &case)), "replay"))
        }
    }
}

fn end(result: Result<bg_tests::fuzz::Tally, Box<bg_tests::fuzz::Finding>>, how: &str) -> ExitCode {
    match result {
        Ok(tally) => {
            eprintln!("\rkernel ({how}): {tally}");
            eprintln!("kernel: {} cases, {} packets, no difference", tally.cases, tally.packets);
            ExitCode::SUCCESS
        }
        Err(finding) => {
            eprintln!("\rkernel ({how}): {finding}");
            ExitCode::FAILURE
        }
    }
}

fn progress(tally: &bg_tests::fuzz::Tally, elapsed: Duration) {
    if std::io::stderr().is_terminal() || tally.cases.is_multiple_of(1 << 14) {
        let line = format!("{} cases, {} packets, {} s", tally.cases, tally.packets, elapsed.as_secs());
        eprint!("\rkernel: {line}{}", if std::io::stderr().is_terminal() { "" } else { "\n" });
    }
}

fn read(case: &str) -> Result<Vec<u8>> {
    if let Ok(bytes) = fs::read(case) {
        return Ok(bytes);
    }
    let digits = case.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
    digits
        .map(|pair| u8::from_str_radix(pair, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("{case} is neither a file nor a case in hexadecimal"))
}

fn write(folder: &PathBuf) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let seeds = seeds();
    for seed in &seeds {
        let file = folder.join(&seed.name);
        fs::write(&file, encode(&seed.steps)).with_context(|| format!("write {}", file.display()))?;
    }
    eprintln!("{} seeds in {}", seeds.len(), folder.display());
    Ok(())
}
