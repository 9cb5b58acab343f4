//! The lists `blue` and `green` of a service: a backend is an address:port, or a table with its weight.

use toml::de::DeValue;

use super::{
    address,
    section::{At, Entry, Section, kind},
    types::{Backend, DEFAULT_WEIGHT},
    value,
};

/// More tells no backend from another; a ring has thousands of slots, not millions.
const WEIGHT_MAX: u32 = 1000;
const LIST_HELP: &str = "a list of address:port, such as [\"10.0.1.1:8080\"]; [] if there are none yet";
const BACKEND_HELP: &str =
    "an address:port in quotes, or { address = \"10.0.1.1:8080\", weight = 50 } to give it less than 100";

/// The backends that can be read, and how many there are in the file.
pub(super) fn backends(section: &mut Section<'_>, key: &'static str) -> (Vec<At<Backend>>, Option<usize>) {
    let list = section.require(key, LIST_HELP);
    let elements = list.as_ref().and_then(|entry| entry.list(LIST_HELP));
    let count = elements.as_ref().map(Vec::len);
    let backends: Vec<_> = elements.unwrap_or_default().iter().filter_map(backend).collect();
    if !backends.is_empty() && backends.iter().all(|backend| backend.value.weight == 0) {
        let complaint = "has only backends of weight 0, so that none would take a new connection";
        let help = "give one of them a weight above 0; the others keep the connections that they have";
        if let Some(list) = list {
            list.complain(complaint, help);
        }
    }
    (backends, count)
}

fn backend(entry: &Entry<'_>) -> Option<At<Backend>> {
    let whole = |address: At<_>| At {
        line: address.line,
        value: Backend { address: address.value, weight: DEFAULT_WEIGHT },
    };
    match entry.value() {
        DeValue::String(_) => entry.read(address::endpoint).map(whole),
        DeValue::Table(_) => table(entry.section()?),
        other => {
            entry.complain(&format!("must be an address:port, not {}", kind(other)), BACKEND_HELP);
            None
        }
    }
}

fn table(mut section: Section<'_>) -> Option<At<Backend>> {
    let address = section.require("address", BACKEND_HELP).and_then(|entry| entry.read(address::endpoint));
    let read = |value: &DeValue<'_>| value::integer_u32(value, 0..=WEIGHT_MAX);
    let weight = section.take("weight").map(|entry| entry.read(read));
    section.finish();
    let weight = match weight {
        None => DEFAULT_WEIGHT,
        Some(weight) => weight?.value as u16,
    };
    address.map(|At { line, value }| At { line, value: Backend { address: value, weight } })
}
