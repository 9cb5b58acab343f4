//! The journal on a disk that is full or read-only: it says so, and what was written before still holds.

use bg_tests::lab::disk::Disk;
use bg_userspace::journal::{Error, FILE, Journal, Record};
use std::path::Path;

fn record(boot_id: &str) -> Record {
    let boot_id = boot_id.to_owned();
    Record { key: [1, 2, 3, 4], boot_id, deployments: Vec::new(), history: Vec::new() }
}

/// A disk with a journal on it.
fn prepare(directory: &Path) -> (Disk, Journal) {
    let disk = Disk::mount(directory, 256).unwrap();
    let (mut journal, found) = Journal::open(directory).unwrap();
    assert_eq!(found, None);
    journal.write(&record("first")).unwrap();
    (disk, journal)
}

fn assert_holds_the_first(journal: Journal, directory: &Path) {
    drop(journal);
    let (_, found) = Journal::open(directory).unwrap();
    assert_eq!(found, Some(record("first")));
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn full_disk_refuses_and_leaves_the_old_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, mut journal) = prepare(directory.path());
    disk.fill().unwrap();
    for refused in [journal.write(&record("second")), journal.save_ring(&[7; 4093]).map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        let said = error.to_string();
        for part in ["No space left", "what was there before is untouched", "help: make room"] {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
    }
    assert_eq!(names(directory.path()), ["ballast", FILE, "rings"], "nothing half done is left");
    // With room again, the same journal goes on.
    disk.empty().unwrap();
    journal.write(&record("first")).unwrap();
    assert_holds_the_first(journal, directory.path());
}

#[test]
fn read_only_disk_refuses_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, mut journal) = prepare(directory.path());
    disk.set_read_only(true).unwrap();
    let error = journal.write(&record("second")).unwrap_err();
    assert!(matches!(error, Error::Rights { .. }), "{error:?}");
    assert!(error.to_string().contains("help: the journal must be writable for bgd"), "{error}");
    assert_holds_the_first(journal, directory.path());
    // Nor can one begin there.
    let fresh = directory.path().join("state");
    assert!(matches!(Journal::open(&fresh), Err(Error::Rights { .. })));
    disk.set_read_only(false).unwrap();
}

#[test]
fn state_directory_that_is_no_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state");
    std::fs::write(&file, "").unwrap();
    let Err(error) = Journal::open(&file) else { panic!("a file was opened as a directory") };
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}
