//! The journal in a directory: what is written comes back, and what was not written by it is refused and
//! left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bg_common::control::Environment;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const RING: [BackendId; 5] = [0, 1, 1, 0, 0xfffe];

/// A record with something in every field.
pub(super) fn record(rings: [Option<RingId>; 3]) -> Record {
    Record {
        key: [1, u64::MAX, 0, 0x0123_4567_89ab_cdef],
        boot_id: "7d3c1f0e-0000-4000-8000-000000000001".to_owned(),
        deployments: vec![DeploymentRecord {
            name: "shop".to_owned(),
            index: 0,
            services: vec![ServiceRecord {
                name: "web".to_owned(),
                id: 0,
                vip: "[2001:db8::10]:443".parse().unwrap(),
                ring_size: 5,
                ring_base: 0,
                backends: vec![BackendRecord {
                    id: 1,
                    environment: Environment::Green,
                    address: "10.0.2.1:8080".parse().unwrap(),
                    weight: 100,
                    leaving: true,
                    dead: false,
                }],
                rings,
            }],
            word: 0xffff_ffff_0000_0001,
            intent: Some(Intent { word: 2, entry: Some(7), motive: 1, share: 25, switches: true }),
            motive: 1,
            switched_at: 1_790_000_000_000,
            deadline_at: 0,
            share: 25,
        }],
        history: vec![entry(7, "shop")],
    }
}

fn entry(id: u64, deployment: &str) -> Entry {
    Entry {
        id,
        deployment: deployment.to_owned(),
        at_ms: 1_790_000_000_000,
        uid: Some(1000),
        who: "ada".to_owned(),
        what: "flip to green".to_owned(),
        reason: Some("release \"1.9\"\n".to_owned()),
        generation: 41,
        outcome: Outcome::NotCarriedOut,
        ended_at_ms: None,
        text: None,
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Opens a journal, which must hold a record.
fn reopen(directory: &TempDir) -> (Journal, Record) {
    let (journal, record) = Journal::open(directory.path()).unwrap();
    (journal, record.expect("a journal was written"))
}

fn refusal(directory: &TempDir) -> Error {
    match Journal::open(directory.path()) {
        Ok((_, record)) => panic!("it was taken for a journal: {record:?}"),
        Err(error) => error,
    }
}

/// Writes a journal and closes it.
fn written() -> (TempDir, Record) {
    let directory = directory();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    let ring = journal.save_ring(&RING).unwrap();
    let record = record([None, Some(ring), None]);
    journal.write(&record).unwrap();
    (directory, record)
}

#[test]
fn what_was_written_comes_back() {
    let (directory, record) = written();
    let (journal, found) = reopen(&directory);
    assert_eq!(found, record);
    let ring = found.deployments[0].services[0].rings[1].unwrap();
    assert_eq!(journal.load_ring(&ring).unwrap(), RING);
}

#[test]
fn first_start_has_no_record_and_makes_the_directory() {
    let outer = directory();
    let path = outer.path().join("var/lib/bluegreen");
    let (journal, record) = Journal::open(&path).unwrap();
    assert_eq!(record, None);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    drop(journal);
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.write(&super::tests::record([None; 3])).unwrap();
    assert_eq!(mode(&path.join(FILE)), 0o600);
}

#[test]
fn numbers_are_text_that_no_reader_of_json_rounds() {
    let (directory, _) = written();
    let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
    assert!(text.contains("\"word\": \"0xffffffff00000001\""), "{text}");
    assert!(text.contains("\"environment\": \"green\""), "{text}");
    assert!(text.contains("\"outcome\": \"not_carried_out\""), "{text}");
    let key = "\"0000000000000001ffffffffffffffff00000000000000000123456789abcdef\"";
    assert!(text.contains(key), "{text}");
}

#[test]
fn second_agent_is_refused() {
    let directory = directory();
    let _held = Journal::open(directory.path()).unwrap();
    assert!(matches!(refusal(&directory), Error::Locked(_)));
}

#[test]
fn what_a_killed_agent_left_half_done_is_removed_and_nothing_else() {
    let (directory, record) = written();
    let half_ring = format!("rings/{}.ring.new", Digest::of(b"half"));
    for name in ["journal.json.new", &half_ring, "notes.new", "rings/notes"] {
        fs::write(directory.path().join(name), "half").unwrap();
    }
    assert_eq!(reopen(&directory).1, record);
    let is_there = |name: &str| directory.path().join(name).exists();
    assert!(!is_there("journal.json.new") && !is_there(&half_ring));
    assert!(is_there("notes.new") && is_there("rings/notes"));
}

#[test]
fn rings_that_nothing_names_any_more_are_removed_after_the_journal() {
    let (directory, _) = written();
    let (mut journal, record) = reopen(&directory);
    let fresh = journal.save_ring(&[3, 3]).unwrap();
    assert_eq!(journal.save_ring(&[3, 3]).unwrap(), fresh, "a known ring is the same ring");
    let count = || fs::read_dir(directory.path().join(RINGS)).unwrap().count();
    assert_eq!(count(), 2);
    let mut next = record;
    next.deployments[0].services[0].rings = [Some(fresh); 3];
    journal.write(&next).unwrap();
    assert_eq!(count(), 1);
    assert_eq!(journal.load_ring(&fresh).unwrap(), [3, 3]);
}

#[test]
fn record_with_a_ring_that_was_not_saved_is_not_written() {
    let (directory, record) = written();
    let (mut journal, _) = reopen(&directory);
    let mut wrong = record.clone();
    wrong.deployments[0].services[0].rings[0] = Some(Digest::of(b"never saved"));
    assert!(matches!(journal.write(&wrong), Err(Error::RingMissing(_))));
    drop(journal);
    assert_eq!(reopen(&directory).1, record);
}

#[test]
fn missing_ring_is_told_at_open() {
    let (directory, record) = written();
    let ring = record.deployments[0].services[0].rings[1].unwrap();
    fs::remove_file(directory.path().join(format!("{RINGS}/{ring}.ring"))).unwrap();
    let error = refusal(&directory);
    assert!(matches!(error, Error::RingMissing(_)));
    assert!(error.to_string().contains(&ring.to_string()), "{error}");
}

#[test]
fn damaged_ring_is_told() {
    let (directory, record) = written();
    let ring = record.deployments[0].services[0].rings[1].unwrap();
    fs::write(directory.path().join(format!("{RINGS}/{ring}.ring")), [0, 0, 1]).unwrap();
    let (journal, _) = reopen(&directory);
    assert!(matches!(journal.load_ring(&ring), Err(Error::Damaged { .. })));
}

#[test]
fn refused_files_are_left_as_they_are_and_the_error_says_what_to_do() {
    let (directory, _) = written();
    let path = directory.path().join(FILE);
    let good = fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let cases: [(&str, Vec<u8>); 6] = [
        ("is truncated: its first line does not end", good[..20].to_vec()),
        ("bytes are there", good[..good.len() - 1].to_vec()),
        ("is damaged: its digest is another", text.replace("shop", "ship").into_bytes()),
        ("is damaged: its content does not fit", envelope::wrap(b"{\"surprise\":1}\n")),
        ("is no journal of bluegreen", b"[node]\n".to_vec()),
        ("has version 2, and this bgd reads version 1", text.replacen(":1,", ":2,", 1).into_bytes()),
    ];
    for (what, bytes) in cases {
        fs::write(&path, &bytes).unwrap();
        let error = refusal(&directory).to_string();
        for part in [what, "traffic goes on", "move the state directory away", path.to_str().unwrap()] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}");
    }
}

#[test]
fn unknown_field_is_refused_wherever_it_is() {
    let (_, record) = written();
    let whole = serde_json::to_value(&record).unwrap();
    let places = [
        "",
        "/deployments/0",
        "/deployments/0/intent",
        "/deployments/0/services/0",
        "/deployments/0/services/0/backends/0",
        "/history/0",
    ];
    for place in places {
        let mut changed = whole.clone();
        changed.pointer_mut(place).unwrap()["surprise"] = 1.into();
        let parsed = parse(&envelope::wrap(changed.to_string().as_bytes()), Path::new("x"));
        assert!(matches!(parsed, Err(Error::Damaged { .. })), "{place}");
    }
}

#[test]
fn failed_write_leaves_the_old_journal() {
    let (directory, record) = written();
    let (mut journal, _) = reopen(&directory);
    // What cannot be opened for writing, whoever asks.
    fs::create_dir(directory.path().join("journal.json.new")).unwrap();
    let mut next = record.clone();
    next.history.clear();
    assert!(journal.write(&next).is_err());
    fs::remove_dir(directory.path().join("journal.json.new")).unwrap();
    drop(journal);
    assert_eq!(reopen(&directory).1, record);
}

#[test]
fn history_keeps_the_newest_of_each_deployment() {
    let mut record = record([None; 3]);
    record.history.clear();
    record.remember(entry(1, "mail"));
    for id in 2..1500 {
        assert_eq!(record.next_entry(), id);
        record.remember(entry(id, "shop"));
    }
    let ids: Vec<_> = record.history_of("shop").map(|entry| entry.id).collect();
    assert_eq!((ids.len(), ids[0], ids[HISTORY - 1]), (HISTORY, 1499, 500));
    assert_eq!(record.history_of("mail").count(), 1);
    assert_eq!(record.entry_mut(1499).map(|entry| entry.id), Some(1499));
    assert!(record.entry_mut(2).is_none());
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let parts = (any::<u64>(), any::<String>(), any::<Option<String>>(), any::<Option<u32>>(), 0..6_u8);
    let entries = parts.prop_map(|(id, what, reason, uid, outcome)| Entry {
        what,
        reason,
        uid,
        outcome: [
            Outcome::Pending,
            Outcome::Done,
            Outcome::NotCarriedOut,
            Outcome::RolledBack,
            Outcome::Ended,
            Outcome::Failed,
        ][usize::from(outcome)],
        ..entry(id, "shop")
    });
    prop::collection::vec(entries, 0..4)
}

proptest! {
    #[test]
    fn every_record_survives_the_disk(key: [u64; 4], word: u64, history in entries(), ring: Vec<u16>) {
        let directory = directory();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        let id = journal.save_ring(&ring).unwrap();
        let mut record = record([Some(id); 3]);
        (record.key, record.history, record.deployments[0].word) = (key, history, word);
        journal.write(&record).unwrap();
        drop(journal);
        let (journal, found) = reopen(&directory);
        prop_assert_eq!(found, record);
        prop_assert_eq!(journal.load_ring(&id).unwrap(), ring);
    }

    /// Whatever a fault makes of the file, it is refused or means exactly what was written.
    #[test]
    fn no_fault_is_half_read(at: prop::sample::Index, flip: u8, cut: prop::sample::Index, more: Vec<u8>) {
        let record = record([None; 3]);
        let whole = envelope::wrap(&serde_json::to_vec_pretty(&record).unwrap());
        let mut faulty = whole.clone();
        let at = at.index(whole.len());
        faulty[at] ^= flip;
        faulty.truncate(cut.index(whole.len() + 1));
        faulty.extend(more);
        match parse(&faulty, Path::new("x")) {
            Ok(found) => {
                prop_assert_eq!(&faulty, &whole);
                prop_assert_eq!(found, record);
            }
            Err(error) => prop_assert!(error.to_string().contains("help: ")),
        }
    }

    /// A body with a right digest that is no record (no fault makes one, somebody's editor might).
    #[test]
    fn any_body_is_refused_without_a_panic(body: Vec<u8>, text: String) {
        prop_assert!(parse(&envelope::wrap(&body), Path::new("x")).is_err());
        prop_assert!(parse(&envelope::wrap(text.as_bytes()), Path::new("x")).is_err());
    }
}
