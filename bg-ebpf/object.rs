//! Building the kernel program, for the build scripts of those who embed it.

use anyhow::Context as _;
use aya_build::{Package, Toolchain};

/// The toolchain that `cargo xtask setup` links when no nightly with the library's source is there.
const LINKED: &str = "bluegreen-bpf";

/// A package with kernel programs, with these features.
pub(crate) const fn package<'a>(name: &'a str, root_dir: &'a str, features: &'a [&'a str]) -> Package<'a> {
    Package { name, root_dir, no_default_features: true, features }
}

/// Builds kernel programs and leaves them in the build script's output directory.
pub(crate) fn build(packages: Vec<Package<'_>>) -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed=BLUEGREEN_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-changed=../bg-common/src");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    let toolchain = std::env::var("BLUEGREEN_BPF_TOOLCHAIN").unwrap_or_else(|_| choose());
    // A toolchain that is no nightly takes `-Z build-std` only so; nothing else in this process reads it.
    // SAFETY: a build script has one thread.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    aya_build::build_ebpf(packages, Toolchain::Custom(&toolchain)).with_context(|| {
        format!("building the kernel program with toolchain `{toolchain}`; `cargo xtask setup` makes the machine ready for it")
    })
}

/// The linked toolchain if there is one, the nightly otherwise.
fn choose() -> String {
    let linked = std::process::Command::new("rustup")
        .args(["run", LINKED, "rustc", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if linked { LINKED } else { "nightly" }.to_owned()
}
