//! What to install on a machine, and whether that can work: decided from the facts alone.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use crate::kernels::parts::{self, Part};
use crate::machine::Machine;
use crate::packages::{self, Package};
use crate::toolchain::{self, Compiler};

/// What the machine is to be made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    /// Compiling.
    Build,
    /// Compiling, and running the demo and the tests in this kernel.
    Run,
    /// All of that, and tests in other kernels, in virtual machines.
    Kernels,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Install these packages.
    Packages(Vec<&'static Package>),
    /// Have rustup fetch a nightly, and know it under our name.
    Nightly,
    /// Let rustup know the compiler in this folder under our name.
    Link(PathBuf),
    /// Add components to the default toolchain.
    Components(Vec<&'static str>),
    /// Build bpf-linker.
    Linker,
    /// Unpack what virtual machines are made of.
    Unpack(Vec<&'static Part>),
}

/// Why setup cannot work here: what, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not run by root.
    NotRoot,
    /// Something has to be installed, and apt is not the way here; names what, and the distribution.
    NotDebian(Vec<String>, String),
    /// No rustup.
    NoRustup,
    /// No type information in the kernel.
    NoBtf,
    /// No right to make namespaces or to mount a bpffs.
    NoSandbox,
    /// apt knows no such packages.
    NotOnOffer(Vec<&'static str>, String),
}

/// The steps that make the machine ready, in order; none when it is.
pub(crate) fn plan(machine: &Machine, goal: Goal) -> Result<Vec<Step>, Refusal> {
    if !machine.rustup {
        return Err(Refusal::NoRustup);
    }
    if goal >= Goal::Run && !machine.root {
        return Err(Refusal::NotRoot);
    }
    if goal >= Goal::Run && !machine.btf {
        return Err(Refusal::NoBtf);
    }
    if goal >= Goal::Run && !machine.sandbox {
        return Err(Refusal::NoSandbox);
    }
    let steps = steps(machine, goal);
    for step in &steps {
        match step {
            Step::Packages(packages) => can_install(machine, packages)?,
            Step::Unpack(parts) if !machine.debian => {
                let what = parts.iter().map(|part| part.name.to_owned()).collect();
                return Err(Refusal::NotDebian(what, machine.distribution.clone()));
            }
            _ => {}
        }
    }
    Ok(steps)
}

fn steps(machine: &Machine, goal: Goal) -> Vec<Step> {
    let mut wanted: BTreeSet<&'static Package> = BTreeSet::new();
    let lacking = |package: &&Package| !machine.present.contains(package.name);
    wanted.extend(packages::BUILD.iter().filter(lacking));
    if goal >= Goal::Run {
        wanted.extend(packages::RUN.iter().filter(lacking));
    }

    let (compiler, llvm) = compiler(machine);
    if compiler == [Step::Link(PathBuf::from("/usr"))] && machine.system_is_of_no_use() {
        wanted.extend(packages::COMPILER);
    }
    let linker = machine.linker.as_ref().is_none_or(|linker| {
        linker.release < toolchain::OLDEST_LINKER || linker.llvm.is_some_and(|has| has < llvm)
    });
    if linker {
        wanted.extend(packages::LINKER.iter().filter(lacking));
    }

    let mut steps = Vec::new();
    if !wanted.is_empty() {
        steps.push(Step::Packages(wanted.into_iter().collect()));
    }
    if !machine.components.is_empty() {
        steps.push(Step::Components(machine.components.clone()));
    }
    steps.extend(compiler);
    if linker {
        steps.push(Step::Linker);
    }
    let parts: Vec<_> = parts::all().filter(|part| !machine.parts.contains(part.name)).collect();
    if goal == Goal::Kernels && !parts.is_empty() {
        steps.push(Step::Unpack(parts));
    }
    steps
}

/// How to come by a compiler for the kernel program, and which LLVM it will have: one that is linked
/// already, a nightly of the user's, the distribution's, and only then a nightly that is fetched.
fn compiler(machine: &Machine) -> (Vec<Step>, u32) {
    if let Some(compiler) = machine.linked.as_ref().filter(|c| machine.can_use(c)) {
        return (Vec::new(), compiler.llvm);
    }
    if let Some(compiler) = machine.nightlies.iter().rev().find(|c| machine.can_use(c)) {
        return (vec![Step::Link(compiler.sysroot.clone())], compiler.llvm);
    }
    let offered = machine
        .on_offer
        .as_ref()
        .is_none_or(|offer| packages::COMPILER.iter().all(|package| offer.contains(package.name)));
    let packaged = machine.debian && offered && !machine.rustup_package;
    if packaged || !machine.system_is_of_no_use() {
        return (vec![Step::Link(PathBuf::from("/usr"))], toolchain::LLVM);
    }
    (vec![Step::Nightly], toolchain::LLVM)
}

impl Machine {
    /// Whether this compiler can build `core`, and what it makes can be linked here.
    fn can_use(&self, compiler: &Compiler) -> bool {
        let linker = self.linker.as_ref().and_then(|linker| linker.llvm);
        compiler.has_core
            && compiler.release >= toolchain::OLDEST_COMPILER
            && compiler.llvm <= linker.unwrap_or(toolchain::LLVM).max(toolchain::LLVM)
    }

    fn system_is_of_no_use(&self) -> bool {
        self.system.as_ref().is_none_or(|compiler| !self.can_use(compiler))
    }
}

fn can_install(machine: &Machine, packages: &[&'static Package]) -> Result<(), Refusal> {
    let names = || packages.iter().map(|package| package.name);
    if !machine.debian {
        let what = names().map(str::to_owned).collect();
        return Err(Refusal::NotDebian(what, machine.distribution.clone()));
    }
    if !machine.root {
        return Err(Refusal::NotRoot);
    }
    let Some(offer) = &machine.on_offer else { return Ok(()) };
    let unknown: Vec<_> = names().filter(|name| !offer.contains(name)).collect();
    if unknown.is_empty() { Ok(()) } else { Err(Refusal::NotOnOffer(unknown, machine.distribution.clone())) }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages(packages) => {
                write!(f, "packages, with apt:")?;
                packages.iter().try_for_each(|p| write!(f, "\n       {:<14} {}", p.name, p.why))
            }
            Self::Nightly => write!(
                f,
                "toolchain {}, with rustup: compiles the kernel program, as `{}`",
                toolchain::NIGHTLY,
                toolchain::NAME
            ),
            Self::Link(sysroot) => write!(
                f,
                "rustup toolchain `{}` -> {}: compiles the kernel program",
                toolchain::NAME,
                sysroot.display()
            ),
            Self::Components(names) => {
                write!(f, "rustup components {}: checks of the code", names.join(", "))
            }
            Self::Linker => write!(
                f,
                "bpf-linker {}, with cargo: links the kernel program (takes some minutes)",
                toolchain::LINKER_RELEASE
            ),
            Self::Unpack(parts) => {
                write!(f, "fetched with apt and unpacked in the target folder, not installed:")?;
                parts.iter().try_for_each(|part| write!(f, "\n       {:<14} {}", part.name, part.why))
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot => write!(
                f,
                "this needs root, to install packages, to load a program into the kernel and to make \
                 network namespaces: run it as root, for example with `sudo -E env PATH=\"$PATH\" cargo xtask ...`"
            ),
            Self::NotDebian(what, system) => write!(
                f,
                "this is {system}, where setup cannot install packages (it knows apt of Debian and \
                 Ubuntu): install by hand what these bring, and run it again: {}",
                what.join(", ")
            ),
            Self::NoRustup => write!(
                f,
                "there is no rustup on the PATH, and the kernel program needs a second Rust toolchain: \
                 install rustup (https://rustup.rs) for the user who runs this"
            ),
            Self::NoBtf => write!(
                f,
                "this kernel has no /sys/kernel/btf/vmlinux, and programs cannot be loaded without it: \
                 boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as Debian's and Ubuntu's are"
            ),
            Self::NoSandbox => write!(
                f,
                "root may not make namespaces or mount a bpffs here, which demo and tests do: run on a \
                 machine or in a virtual machine, or give this container CAP_SYS_ADMIN (`--privileged`)"
            ),
            Self::NotOnOffer(names, system) => write!(
                f,
                "apt on {system} knows no package {}: add the distribution's main and security \
                 sources to /etc/apt/sources.list, or install by hand what it brings",
                names.join(", ")
            ),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
