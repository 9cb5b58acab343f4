//! Builds the kernel program with the mutants of the rule in it, for the replay of the model's traces, and what
//! the benchmark puts in front of the program.

#[path = "../bg-ebpf/object.rs"]
mod object;

fn main() -> anyhow::Result<()> {
    object::build(vec![
        object::package("bg-ebpf", concat!(env!("CARGO_MANIFEST_DIR"), "/../bg-ebpf"), &["bpf", "mutants"]),
        object::package("bg-front", concat!(env!("CARGO_MANIFEST_DIR"), "/front"), &["bpf"]),
    ])
}
