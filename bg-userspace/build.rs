//! Builds the kernel program and leaves it where `datapath` embeds it.

#[path = "../bg-ebpf/object.rs"]
mod object;

fn main() -> anyhow::Result<()> {
    object::build(vec![object::package(
        "bg-ebpf",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../bg-ebpf"),
        &["bpf"],
    )])
}
