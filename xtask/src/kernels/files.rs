//! Files of this machine that go into a virtual one: programs, and the libraries that they load.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::Archive;
use crate::run::answer;

/// Adds a program under a name, and lists its libraries among those that have to be there.
pub(super) fn add_program(
    archive: &mut Archive,
    libraries: &mut BTreeSet<String>,
    program: &Path,
    name: &str,
) -> Result<()> {
    let content = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    archive.file(name, &content);
    // A program that loads none makes `ldd` fail.
    let listed = answer(Command::new("ldd").arg(program).env("LC_ALL", "C")).unwrap_or_default();
    libraries.extend(paths(&listed).map(str::to_owned));
    Ok(())
}

/// Adds libraries where the programs look for them.
pub(super) fn add_libraries(archive: &mut Archive, libraries: &BTreeSet<String>) -> Result<()> {
    libraries.iter().try_for_each(|path| {
        let content = fs::read(path).with_context(|| format!("read {path}"))?;
        archive.file(path, &content);
        Ok(())
    })
}

/// The libraries in a list of `ldd`, and the loader.
fn paths(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_read_and_the_kernels_own_is_not() {
        let listed = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let found: Vec<_> = paths(listed).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
