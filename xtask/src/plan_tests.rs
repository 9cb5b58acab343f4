//! The decisions of setup, machine by machine.

use super::*;
use crate::toolchain::Linker;

fn compiler(sysroot: &str, llvm: u32) -> Compiler {
    Compiler { sysroot: PathBuf::from(sysroot), release: (1, 96), llvm, has_core: true }
}

fn linker(llvm: Option<u32>) -> Linker {
    Linker { program: PathBuf::from("/root/.cargo/bin/bpf-linker"), release: (0, 13), llvm }
}

/// Debian with rustup and root, and nothing of ours.
fn bare() -> Machine {
    Machine {
        root: true,
        distribution: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        debian: true,
        btf: true,
        sandbox: true,
        rustup: true,
        ..Machine::default()
    }
}

/// The same, with everything.
fn ready() -> Machine {
    Machine {
        present: packages::all().map(|package| package.name).collect(),
        parts: parts::all().map(|part| part.name).collect(),
        linked: Some(compiler("/usr", 22)),
        system: Some(compiler("/usr", 22)),
        linker: Some(linker(Some(22))),
        ..bare()
    }
}

fn names(step: &Step) -> Vec<&'static str> {
    match step {
        Step::Packages(packages) => packages.iter().map(|package| package.name).collect(),
        _ => Vec::new(),
    }
}

fn usr() -> Step {
    Step::Link(PathBuf::from("/usr"))
}

#[test]
fn ready_machine_needs_nothing() {
    assert_eq!(plan(&ready(), Goal::Run), Ok(Vec::new()));
}

#[test]
fn bare_machine_gets_packages_then_toolchain_then_linker() {
    let steps = plan(&bare(), Goal::Run).unwrap();
    let all: BTreeSet<_> = packages::all().map(|package| package.name).collect();
    assert_eq!(names(&steps[0]).into_iter().collect::<BTreeSet<_>>(), all);
    assert_eq!(steps[1..], [usr(), Step::Linker]);
}

#[test]
fn only_what_is_missing_is_installed() {
    let mut machine = ready();
    machine.present.remove("wrk");
    let steps = plan(&machine, Goal::Run).unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!(names(&steps[0]), ["wrk"]);
}

#[test]
fn parts_of_virtual_machines_are_fetched_only_for_other_kernels_and_only_if_missing() {
    let mut machine = ready();
    machine.parts.remove("6.1");
    assert_eq!(plan(&machine, Goal::Run), Ok(Vec::new()));
    assert_eq!(plan(&machine, Goal::Kernels), Ok(vec![Step::Unpack(vec![&parts::KERNELS[0]])]));
    assert_eq!(plan(&ready(), Goal::Kernels), Ok(Vec::new()));
}

#[test]
fn parts_of_virtual_machines_are_not_to_be_had_without_apt() {
    let machine = Machine { debian: false, parts: BTreeSet::new(), ..ready() };
    assert_eq!(plan(&machine, Goal::Run), Ok(Vec::new()));
    assert!(matches!(plan(&machine, Goal::Kernels), Err(Refusal::NotDebian(..))));
}

#[test]
fn building_needs_neither_root_nor_the_tools_of_the_demo() {
    let mut machine = Machine { root: false, btf: false, sandbox: false, ..ready() };
    machine.present.remove("wrk");
    assert_eq!(plan(&machine, Goal::Build), Ok(Vec::new()));
}

#[test]
fn nightly_with_source_spares_the_packaged_compiler() {
    let machine = Machine { nightlies: vec![compiler("/nightly", 22)], ..bare() };
    let steps = plan(&machine, Goal::Run).unwrap();
    assert!(!names(&steps[0]).contains(&"rustc-web"));
    assert_eq!(steps[1], Step::Link(PathBuf::from("/nightly")));
}

#[test]
fn nightly_without_source_is_passed_over() {
    let nightly = Compiler { has_core: false, ..compiler("/nightly", 22) };
    let machine = Machine { nightlies: vec![nightly], ..bare() };
    assert_eq!(plan(&machine, Goal::Run).unwrap()[1], usr());
}

#[test]
fn nightly_whose_llvm_the_linker_cannot_read_is_passed_over() {
    let machine = Machine { nightlies: vec![compiler("/nightly", 23)], ..bare() };
    assert_eq!(plan(&machine, Goal::Run).unwrap()[1], usr());
}

#[test]
fn newer_linker_lets_a_newer_nightly_be_used() {
    let machine =
        Machine { nightlies: vec![compiler("/nightly", 23)], linker: Some(linker(Some(23))), ..bare() };
    let steps = plan(&machine, Goal::Run).unwrap();
    assert_eq!(steps[1..], [Step::Link(PathBuf::from("/nightly"))]);
}

#[test]
fn compiler_too_old_for_the_workspace_is_replaced() {
    let old = Compiler { release: (1, 85), ..compiler("/usr", 19) };
    let machine = Machine { linked: Some(old.clone()), system: Some(old), ..ready() };
    let steps = plan(&machine, Goal::Run).unwrap();
    assert_eq!(names(&steps[0]), ["cargo-web", "rust-web-src", "rustc-web"]);
    assert_eq!(steps[1..], [usr()]);
}

#[test]
fn packaged_compiler_that_is_not_linked_is_only_linked() {
    let machine = Machine { linked: None, ..ready() };
    assert_eq!(plan(&machine, Goal::Run), Ok(vec![usr()]));
}

#[test]
fn linker_older_than_the_compiler_is_built_anew() {
    let machine = Machine { linker: Some(linker(Some(21))), ..ready() };
    assert_eq!(plan(&machine, Goal::Run), Ok(vec![Step::Linker]));
}

#[test]
fn linker_that_carries_its_own_llvm_is_trusted() {
    let machine = Machine { linker: Some(linker(None)), ..ready() };
    assert_eq!(plan(&machine, Goal::Run), Ok(Vec::new()));
}

#[test]
fn missing_components_are_added() {
    let machine = Machine { components: vec!["clippy"], ..ready() };
    assert_eq!(plan(&machine, Goal::Run), Ok(vec![Step::Components(vec!["clippy"])]));
}

#[test]
fn nightly_is_fetched_where_no_compiler_is_packaged() {
    let offer = packages::all().map(|package| package.name).filter(|name| !name.contains("web"));
    let machine = Machine { on_offer: Some(offer.collect()), ..bare() };
    let steps = plan(&machine, Goal::Run).unwrap();
    assert!(!names(&steps[0]).contains(&"rustc-web"));
    assert_eq!(steps[1..], [Step::Nightly, Step::Linker]);
}

#[test]
fn packaged_rustup_is_not_driven_out_by_a_packaged_compiler() {
    let machine = Machine { rustup_package: true, ..bare() };
    assert_eq!(plan(&machine, Goal::Run).unwrap()[1], Step::Nightly);
}

#[test]
fn package_that_apt_does_not_know_is_named() {
    let offer = packages::all().map(|package| package.name).filter(|name| *name != "llvm-22-dev");
    let machine = Machine { on_offer: Some(offer.collect()), ..bare() };
    let refusal = plan(&machine, Goal::Run).unwrap_err();
    assert!(matches!(&refusal, Refusal::NotOnOffer(names, _) if names[..] == ["llvm-22-dev"]));
}

#[test]
fn other_distribution_is_refused_only_when_something_is_missing() {
    let fedora = Machine { debian: false, distribution: "Fedora".to_owned(), ..ready() };
    assert_eq!(plan(&fedora, Goal::Run), Ok(Vec::new()));
    let mut lacking = fedora;
    lacking.present.remove("nginx-light");
    let refusal = plan(&lacking, Goal::Run).unwrap_err();
    assert_eq!(refusal, Refusal::NotDebian(vec!["nginx-light".to_owned()], "Fedora".to_owned()));
}

#[test]
fn each_lack_that_setup_cannot_mend_is_refused() {
    let refusal = |machine: Machine| plan(&machine, Goal::Run).unwrap_err();
    assert_eq!(refusal(Machine { root: false, ..ready() }), Refusal::NotRoot);
    assert_eq!(refusal(Machine { btf: false, ..ready() }), Refusal::NoBtf);
    assert_eq!(refusal(Machine { sandbox: false, ..ready() }), Refusal::NoSandbox);
    assert_eq!(refusal(Machine { rustup: false, ..ready() }), Refusal::NoRustup);
}

#[test]
fn refusal_is_one_sentence_that_says_how_to_mend_it() {
    for refusal in [Refusal::NotRoot, Refusal::NoBtf, Refusal::NoSandbox, Refusal::NoRustup] {
        let text = refusal.to_string();
        assert!(text.contains(": ") && !text.contains('\n') && !text.ends_with('.'), "{text}");
    }
}
