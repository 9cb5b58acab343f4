//! Pinned maps that are not as this agent needs them: each by its name, in each of its properties, is
//! noticed before anything is touched, and traffic goes on.

use aya::maps::MapData;
use bg_tests::lab::agent::refusal;
use bg_tests::lab::bpf::Shape;
use bg_tests::lab::config::{self, Settings};
use bg_tests::lab::stage::Stage;
use std::fs;
use std::path::PathBuf;

const HASH: u32 = 1;
const ARRAY: u32 = 2;
const LPM_TRIE: u32 = 11;
const ARRAY_OF_MAPS: u32 = 12;
const NO_PREALLOC: u32 = 1;
const NUMA_NODE: u32 = 1 << 2;
const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;

/// A stage whose agent has died, with an aside directory on its bpffs.
struct Abandoned {
    stage: Stage,
    pins: PathBuf,
    aside: PathBuf,
    config: String,
}

impl Abandoned {
    fn new() -> Self {
        let mut stage = Stage::new(1, 1, &Settings::default()).unwrap();
        stage.kill_agent().unwrap();
        let bpffs = stage.topology.workdir.bpffs();
        let versions = fs::read_dir(bpffs.join("bluegreen")).unwrap();
        let pins = versions.map(|entry| entry.unwrap().path()).next().unwrap();
        let aside = bpffs.join("aside");
        fs::create_dir(&aside).unwrap();
        let config = config::text(&stage.topology, &Settings::default());
        Self { stage, pins, aside, config }
    }

    /// The names of all pinned maps.
    fn maps(&self) -> Vec<String> {
        let names = fs::read_dir(&self.pins).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        // A map of stages belongs to one program and is made anew with it.
        names.retain(|name| !name.starts_with("link-") && !name.starts_with("stages-"));
        names.sort();
        names
    }

    fn shape(&self, name: &str) -> Shape {
        let map = MapData::from_pin(self.pins.join(name)).unwrap();
        let info = map.info().unwrap();
        let kind = info.map_type().unwrap() as u32;
        let (key, value) = (info.key_size(), info.value_size());
        Shape { kind, key, value, entries: info.max_entries(), flags: info.map_flags() }
    }

    /// Puts something else in the place of a map, or nothing, and starts an agent, which must refuse by
    /// this and leave everything as it was.
    fn refuses(&self, name: &str, shape: Option<Shape>, words: &[&str]) {
        let (place, aside) = (self.pins.join(name), self.aside.join(name));
        fs::rename(&place, &aside).unwrap();
        if let Some(shape) = shape {
            shape.pin(&place).unwrap();
        }
        let before = self.picture();
        let case = format!("{name} as {shape:?}");
        let file = self.stage.topology.workdir.write(&file_name(name, words), &self.config).unwrap();
        let (code, said) = refusal(&self.stage.topology, &file).unwrap();
        assert_eq!(code, 1, "{case}: {said}");
        for word in words.iter().chain(&[name, "traffic goes on", "help: "]) {
            assert!(said.contains(word), "{case}: no {word:?} in: {said}");
        }
        assert_eq!(self.picture(), before, "{case}: something was touched");
        if shape.is_some() {
            fs::remove_file(&place).unwrap();
        }
        fs::rename(&aside, &place).unwrap();
    }

    /// What must not change: the programs, the pins and the addresses.
    fn picture(&self) -> (Vec<u64>, Vec<String>, String) {
        let node = &self.stage.topology.node;
        let addresses = node.ip(&["-oneline", "addr", "show"]).unwrap();
        (self.stage.topology.programs().unwrap(), self.maps(), addresses)
    }
}

/// Each refusal has a log of its own, named after its file.
fn file_name(name: &str, words: &[&str]) -> String {
    format!("{name}-{}.toml", words.concat().replace([' ', '/'], "-"))
}

/// The other shapes that the kernel makes a map of, and what is said to be wrong about each.
fn others(shape: Shape) -> Vec<(Shape, &'static str)> {
    let other_kind = if shape.kind == ARRAY_OF_MAPS {
        Shape { kind: ARRAY, ..shape }
    } else {
        Shape { kind: HASH, flags: NO_PREALLOC, ..shape }
    };
    let more = Shape { entries: shape.entries + 1, ..shape };
    let flag = if shape.kind == ARRAY_OF_MAPS { NUMA_NODE } else { READ_ONLY_FOR_PROGRAMS };
    let mut others = vec![
        (other_kind, "its type is"),
        (more, "its number of entries is"),
        (Shape { flags: shape.flags ^ flag, ..shape }, "its flags is"),
    ];
    // The kernel makes arrays with no other key, and no map of maps with another value.
    if shape.kind == LPM_TRIE {
        others.push((Shape { key: shape.key - 4, ..shape }, "its key size is"));
    }
    if shape.kind != ARRAY_OF_MAPS {
        others.push((Shape { value: shape.value + 8, ..shape }, "its value size is"));
    }
    others
}

#[test]
fn every_map_of_another_shape_is_refused_before_anything_is_touched() {
    let mut abandoned = Abandoned::new();
    let load = abandoned.stage.load(6, true).unwrap();
    let maps = abandoned.maps();
    assert!(maps.len() >= 19, "{maps:?}");
    let mut cases = 0;
    for name in &maps {
        for (shape, what) in others(abandoned.shape(name)) {
            abandoned.refuses(name, Some(shape), &["nothing was touched", what]);
            cases += 1;
        }
    }
    assert!(cases >= 4 * 18, "only {cases} cases");
    // With everything in its place again, it is taken over, and nobody has noticed.
    abandoned.stage.start_agent().unwrap();
    let new = abandoned.stage.load(6, false).unwrap();
    for load in [load, new] {
        load.order(|orders| orders.speak = true);
        let tally = load.stop().unwrap();
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    }
}

#[test]
fn every_map_that_is_missing_is_named() {
    let mut abandoned = Abandoned::new();
    let load = abandoned.stage.load(3, true).unwrap();
    for name in abandoned.maps() {
        abandoned.refuses(&name, None, &["holds some of bluegreen's maps but not"]);
    }
    abandoned.stage.start_agent().unwrap();
    load.order(|orders| orders.speak = true);
    let tally = load.stop().unwrap();
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
}

#[test]
fn limits_other_than_those_of_the_first_load_are_refused() {
    let abandoned = Abandoned::new();
    let load = abandoned.stage.load(3, true).unwrap();
    for (limit, map) in
        [("pins = 4096", "PINS"), ("backends = 64", "ENDPOINTS"), ("services = 8", "SERVICES")]
    {
        let text = abandoned.config.replace("[limits]\n", &format!("[limits]\n{limit}\n"));
        let file = abandoned.stage.topology.workdir.write(&format!("{map}.toml"), &text).unwrap();
        let before = abandoned.picture();
        let (code, said) = refusal(&abandoned.stage.topology, &file).unwrap();
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(map) && said.contains("nothing was touched"), "{map}: {said}");
        assert_eq!(abandoned.picture(), before, "{said}");
    }
    let tally = load.stop().unwrap();
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
}
