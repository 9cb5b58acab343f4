//! What the programs ask of the kernel: its patience, and that it has what they use.
#![forbid(unsafe_code)]

use aya::EbpfLoader;
use aya::maps::MapType;
use aya::programs::Xdp;
use aya::sys::BpfHelper;
use bg_common::stage::Stage;
use bg_userspace::datapath::{NEEDS, Need, PROGRAM, lacking, prepare};

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
        let info = program.info().expect("what the kernel knows of it");
        assert_ne!(info.size_jitted(), 0, "the kernel interprets {name}");
        let looked_at = info.verified_instruction_count().expect("kernels tell since 5.16");
        eprintln!("{name}: {looked_at} instructions");
        assert!(looked_at < ROOM, "the verifier looked at {looked_at} instructions of {name}");
    }
}

#[test]
fn what_a_kernel_lacks_is_found_by_trying_it() {
    assert_eq!(lacking(&NEEDS), "");
    // A helper that is not for XDP, and a map that is made in another way than by itself.
    let others = [
        Need::Helper(BpfHelper::BPF_FUNC_get_stackid, "bpf_get_stackid"),
        Need::Map(MapType::Unspecified, "no map"),
        Need::Xdp,
    ];
    assert_eq!(lacking(&others), "bpf_get_stackid, no map");
}
