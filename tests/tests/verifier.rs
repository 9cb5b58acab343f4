//! How much of the kernel's patience the programs take.
#![forbid(unsafe_code)]

use aya::EbpfLoader;
use aya::programs::Xdp;
use bg_common::stage::Stage;
use bg_userspace::datapath::{PROGRAM, prepare};

/// The verifier gives up at a million instructions (`BPF_COMPLEXITY_LIMIT_INSNS` in `include/linux/bpf.h`),
/// and other kernels count otherwise.
const ROOM: u32 = 750_000;

#[test]
fn the_verifier_has_patience_left() {
    let mut ebpf = EbpfLoader::new().load(PROGRAM).expect("load the object");
    prepare(&mut ebpf).expect("load the programs (this needs root)");
    let stages = Stage::ALL.iter().map(|stage| stage.name());
    for name in stages.chain(["bluegreen"]) {
        let program: &mut Xdp = ebpf.program_mut(name).expect("it has it").try_into().expect("of XDP");
        let looked_at = program.info().expect("what the kernel knows of it").verified_instruction_count();
        let looked_at = looked_at.expect("kernels tell since 5.16");
        eprintln!("{name}: {looked_at} instructions");
        assert!(looked_at < ROOM, "the verifier looked at {looked_at} instructions of {name}");
    }
}
