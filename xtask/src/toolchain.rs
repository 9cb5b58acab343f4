//! The compiler and the linker of the kernel program. Its target has no ready-made `core`, so the
//! compiler must be one that can build it: with the library's source, and able to take `-Z` options.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::machine::find_programs;
use crate::run::{answer, on_stderr};

/// The name under which rustup knows the compiler of the kernel program.
pub(crate) const NAME: &str = "bluegreen-bpf";

/// The LLVM that setup builds bpf-linker against.
pub(crate) const LLVM: u32 = 22;

/// The oldest compiler that the workspace builds with.
pub(crate) const OLDEST_COMPILER: (u32, u32) = (1, 95);

/// The oldest bpf-linker that links the kernel program.
pub(crate) const OLDEST_LINKER: (u32, u32) = (0, 13);

/// The release of bpf-linker that setup installs.
pub(crate) const LINKER_RELEASE: &str = "0.13.0";

/// A nightly whose LLVM is [`LLVM`], for systems without a packaged compiler.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";

/// A Rust compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// The folder that holds its `bin` and `lib`.
    pub(crate) sysroot: PathBuf,
    /// Its release, two parts of it.
    pub(crate) release: (u32, u32),
    /// The LLVM inside it.
    pub(crate) llvm: u32,
    /// The source of `core` lies where cargo looks for it.
    pub(crate) has_core: bool,
}

impl Compiler {
    /// The compiler in `sysroot`, if there is one that runs and a cargo beside it.
    pub(crate) fn at(sysroot: &Path) -> Option<Self> {
        let sysroot = fs::canonicalize(sysroot).ok()?;
        if !sysroot.join("bin/cargo").exists() {
            return None;
        }
        let (release, llvm) = read_version(&answer(Command::new(sysroot.join("bin/rustc")).arg("-vV"))?)?;
        let has_core = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists();
        Some(Self { sysroot, release, llvm, has_core })
    }
}

/// An installed bpf-linker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its release, two parts of it.
    pub(crate) release: (u32, u32),
    /// The LLVM that it loads; absent when it carries its own.
    pub(crate) llvm: Option<u32>,
}

impl Linker {
    /// The newest of those on the PATH and where `cargo install` puts programs.
    pub(crate) fn find() -> Option<Self> {
        let mut programs = find_programs("bpf-linker");
        programs.push(install_root().join("bin/bpf-linker"));
        // The first of equals, as the PATH would have it.
        programs.into_iter().rev().filter_map(Self::at).max_by_key(|linker| linker.release)
    }

    fn at(program: PathBuf) -> Option<Self> {
        let version = answer(Command::new(&program).arg("--version"))?;
        let release = read_release(version.split_whitespace().nth(1)?)?;
        let libraries = answer(Command::new("ldd").arg(&program)).unwrap_or_default();
        Some(Self { program, release, llvm: read_libraries(&libraries) })
    }
}

/// Let rustup know the compiler in `sysroot` under our name.
pub(crate) fn link(sysroot: &Path) -> Result<()> {
    let mut rustup = Command::new("rustup");
    if !on_stderr(rustup.args(["toolchain", "link", NAME]).arg(sysroot))?.success() {
        bail!("rustup could not link {} as toolchain {NAME}: see its message above", sysroot.display());
    }
    Ok(())
}

/// Have rustup fetch the nightly of [`NIGHTLY`].
pub(crate) fn fetch_nightly() -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"]);
    if !on_stderr(&mut rustup)?.success() {
        bail!(
            "rustup could not fetch {NIGHTLY}, and this system packages no compiler that would do: \
             see rustup's message above, and mend this machine's way to its server"
        );
    }
    Ok(())
}

/// Have rustup add components to the default toolchain.
pub(crate) fn add_components(names: &[&str]) -> Result<()> {
    if !on_stderr(Command::new("rustup").args(["component", "add"]).args(names))?.success() {
        bail!("rustup could not add {}: see its message above", names.join(" and "));
    }
    Ok(())
}

/// Build bpf-linker against the packaged LLVM.
pub(crate) fn install_linker() -> Result<()> {
    let llvm = PathBuf::from(format!("/usr/lib/llvm-{LLVM}"));
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "bpf-linker", "--version", LINKER_RELEASE, "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{LLVM}")]);
    cargo.env("PATH", with_first(&llvm.join("bin")));
    cargo.env("RUSTFLAGS", format!("-L native={}", llvm.join("lib").display()));
    // A target folder of the workspace would make cargo keep these hundreds of files for ever.
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !on_stderr(&mut cargo)?.success() {
        bail!(
            "bpf-linker {LINKER_RELEASE} could not be built against {}: see cargo's message above; \
             it fetches crates from the package registry, so check the network first",
            llvm.display()
        );
    }
    Ok(())
}

/// The PATH with one more folder, which comes first.
pub(crate) fn with_first(folder: &Path) -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [folder.to_owned()].into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}

/// Components of the toolchain in use that the checks need and that are not there.
pub(crate) fn missing_components() -> Vec<&'static str> {
    // Not the rustc on the PATH, which may be the distribution's.
    let rustc = answer(Command::new("rustup").args(["which", "rustc"])).unwrap_or_default();
    let bin = Path::new(rustc.trim()).parent().unwrap_or(Path::new("/")).to_owned();
    [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")]
        .into_iter()
        .filter(|(_, program)| !bin.join(program).exists())
        .map(|(component, _)| component)
        .collect()
}

/// The nightlies among rustup's toolchains, in the order of their names.
pub(crate) fn nightlies(toolchains: &Path) -> Vec<Compiler> {
    let mut folders: Vec<PathBuf> = fs::read_dir(toolchains)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly")))
        .collect();
    folders.sort();
    folders.iter().filter_map(|folder| Compiler::at(folder)).collect()
}

/// Where rustup keeps its toolchains.
pub(crate) fn rustup_home() -> PathBuf {
    home_of("RUSTUP_HOME", ".rustup")
}

fn install_root() -> PathBuf {
    env::var_os("CARGO_INSTALL_ROOT").map_or_else(|| home_of("CARGO_HOME", ".cargo"), PathBuf::from)
}

fn home_of(variable: &str, folder: &str) -> PathBuf {
    env::var_os(variable)
        .map_or_else(|| env::home_dir().unwrap_or_else(|| PathBuf::from("/root")).join(folder), PathBuf::from)
}

/// Release and LLVM from what `rustc -vV` prints.
fn read_version(text: &str) -> Option<((u32, u32), u32)> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let llvm = value("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some((read_release(value("release:")?)?, llvm))
}

fn read_release(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The LLVM among the libraries that `ldd` lists.
fn read_libraries(text: &str) -> Option<u32> {
    let name = text.split_whitespace().find(|word| word.starts_with("libLLVM"))?;
    name.split(|character: char| !character.is_ascii_digit()).find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_and_llvm_are_read_from_a_nightly() {
        let text = "rustc 1.97.0-nightly (e50 2026-05-19)\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(read_version(text), Some(((1, 97), 22)));
    }

    #[test]
    fn compiler_without_llvm_is_none_of_ours() {
        assert_eq!(read_version("release: 1.97.0\n"), None);
    }

    #[test]
    fn llvm_is_read_from_both_ways_to_name_the_library() {
        assert_eq!(read_libraries("\tlibLLVM.so.22.1 => /lib/libLLVM.so.22.1 (0x7f)"), Some(22));
        assert_eq!(read_libraries("\tlibLLVM-21.so.1 => /lib/libLLVM-21.so.1 (0x7f)"), Some(21));
        assert_eq!(read_libraries("\tstatically linked"), None);
    }

    #[test]
    fn folder_without_a_compiler_is_no_toolchain() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Compiler::at(folder.path()), None);
    }
}
