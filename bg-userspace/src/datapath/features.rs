//! What the program needs of a kernel, each tried by itself. No version is looked at: distributions carry things back
//! and leave things out. That the program loads is the trial that counts; only when the kernel refuses it, these say
//! what it was that is missing.

use aya::maps::{Array, MapData, MapError, MapType};
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};

use super::layout::MMAPABLE;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Something that the program cannot do without, and what people call it.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// XDP programs at all.
    Xdp,
    /// A kind of map.
    Map(MapType, &'static str),
    /// Arrays that the agent maps into its memory.
    MappedArray,
    /// A function of the kernel's that an XDP program calls.
    Helper(BpfHelper, &'static str),
}

/// All of it.
pub const NEEDS: [Need; 18] = [
    Need::Xdp,
    Need::Map(MapType::Array, "arrays"),
    Need::MappedArray,
    Need::Map(MapType::PerCpuArray, "arrays for each processor"),
    Need::Map(MapType::ProgramArray, "arrays of programs"),
    Need::Map(MapType::ArrayOfMaps, "arrays of maps"),
    Need::Map(MapType::LpmTrie, "tries of prefixes"),
    Need::Map(MapType::LruHash, "tables that forget what is oldest"),
    Need::Helper(BpfHelper::BPF_FUNC_map_lookup_elem, "bpf_map_lookup_elem"),
    Need::Helper(BpfHelper::BPF_FUNC_map_update_elem, "bpf_map_update_elem"),
    Need::Helper(BpfHelper::BPF_FUNC_tail_call, "bpf_tail_call"),
    Need::Helper(BpfHelper::BPF_FUNC_redirect, "bpf_redirect"),
    Need::Helper(BpfHelper::BPF_FUNC_xdp_adjust_head, "bpf_xdp_adjust_head"),
    Need::Helper(BpfHelper::BPF_FUNC_xdp_adjust_tail, "bpf_xdp_adjust_tail"),
    Need::Helper(BpfHelper::BPF_FUNC_fib_lookup, "bpf_fib_lookup"),
    Need::Helper(BpfHelper::BPF_FUNC_jiffies64, "bpf_jiffies64"),
    Need::Helper(BpfHelper::BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns"),
    Need::Helper(BpfHelper::BPF_FUNC_xdp_get_buff_len, "bpf_xdp_get_buff_len"),
];

/// What this kernel lacks of it, in words; empty if it has everything. Takes the rights to load a program.
#[must_use]
pub fn lacking(needs: &[Need]) -> String {
    let lacking = needs.iter().filter_map(|need| match need.is_there() {
        Ok(true) => None,
        Ok(false) => Some(need.name().to_owned()),
        Err(error) => Some(format!("{} (it cannot even be tried: {error})", need.name())),
    });
    lacking.collect::<Vec<_>>().join(", ")
}

impl Need {
    const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "XDP programs",
            Self::MappedArray => "arrays that are mapped into memory (BPF_F_MMAPABLE)",
            Self::Map(_, name) | Self::Helper(_, name) => name,
        }
    }

    fn is_there(self) -> Result<bool, Source> {
        match self {
            Self::Xdp => Ok(is_program_supported(ProgramType::Xdp)?),
            Self::Map(kind, _) => Ok(is_map_supported(kind)?),
            Self::MappedArray => mapped_array(MMAPABLE),
            Self::Helper(helper, _) => Ok(is_helper_supported(ProgramType::Xdp, helper)?),
        }
    }
}

/// Whether the kernel makes an array with these flags; those that it does not know are EINVAL.
fn mapped_array(flags: u32) -> Result<bool, Source> {
    match Array::<MapData, u64>::create(1, flags) {
        Ok(_) => Ok(true),
        Err(MapError::CreateError { io_error, .. }) if io_error.raw_os_error() == Some(libc::EINVAL) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aya_obj::generated::{BPF_CALL, BPF_JMP, bpf_insn};

    use super::*;
    use crate::datapath::PROGRAM;

    /// The helper that an instruction calls; other calls are of the program's own functions.
    fn helper(instruction: bpf_insn) -> Option<u32> {
        let calls = u32::from(instruction.code) == BPF_JMP | BPF_CALL && instruction.src_reg() == 0;
        calls.then(|| u32::try_from(instruction.imm).expect("the number of a helper"))
    }

    #[test]
    fn what_is_tried_is_all_that_the_program_uses() {
        let object = aya_obj::Object::parse(PROGRAM).unwrap();
        let maps: BTreeSet<_> = object.maps.values().map(aya_obj::Map::map_type).collect();
        let instructions =
            object.functions.values().flat_map(|function| function.instructions.iter().copied());
        let helpers: BTreeSet<_> = instructions.filter_map(helper).collect();
        let tried_maps = NEEDS.iter().filter_map(|need| match need {
            Need::Map(kind, _) => Some(*kind as u32),
            _ => None,
        });
        let tried_helpers = NEEDS.iter().filter_map(|need| match need {
            Need::Helper(helper, _) => Some(*helper as u32),
            _ => None,
        });
        assert_eq!(tried_maps.collect::<BTreeSet<_>>(), maps);
        assert_eq!(tried_helpers.collect::<BTreeSet<_>>(), helpers);
    }
}
