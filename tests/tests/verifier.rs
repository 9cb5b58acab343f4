//! How much of the kernel's patience the program takes.
#![forbid(unsafe_code)]

use aya::EbpfLoader;
use aya::programs::Xdp;
use bg_userspace::datapath::PROGRAM;

/// The verifier gives up at a million instructions (`BPF_COMPLEXITY_LIMIT_INSNS` in `include/linux/bpf.h`),
/// and other kernels count otherwise.
const ROOM: u32 = 750_000;

#[test]
fn the_verifier_has_patience_left() {
    let mut ebpf = EbpfLoader::new().load(PROGRAM).expect("load the object");
    let program: &mut Xdp =
        ebpf.program_mut("bluegreen").expect("it has a program").try_into().expect("of XDP");
    program.load().expect("load the program (this needs root)");
    let looked_at = program.info().expect("what the kernel knows of it").verified_instruction_count();
    let looked_at = looked_at.expect("kernels tell since 5.16");
    eprintln!("{looked_at} instructions");
    assert!(looked_at < ROOM, "the verifier looked at {looked_at} instructions");
}
