//! Builds the kernel program with the mutants of the rule in it, for the replay of the model's traces.

#[path = "../bg-ebpf/object.rs"]
mod object;

fn main() -> anyhow::Result<()> {
    object::build(&["bpf", "mutants"])
}
