//! The documentation keeps its word: each configuration in it is accepted as it stands, and whatever it
//! links to is there.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use bg_userspace::config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The README and everything under docs/, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).expect("docs/");
    let docs = docs.map(|entry| entry.expect("an entry of docs/").path());
    let mut files: Vec<_> = docs.filter(|file| file.extension().is_some_and(|e| e == "md")).collect();
    files.push(root().join("README.md"));
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(&file).expect("a page"))).collect()
}

/// The blocks of a page that are marked with a language, each with the line that it begins on.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (line.trim().strip_prefix("```"), inside) {
            (Some(mark), None) => {
                inside = Some(mark == language);
                if mark == language {
                    found.push((number + 1, String::new()));
                }
            }
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) => {
                let (_, text) = found.last_mut().expect("an open block");
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

/// The targets of a page's links and pictures.
fn links(page: &str) -> Vec<&str> {
    page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

#[test]
fn every_configuration_in_the_documentation_is_accepted() {
    let mut count = 0;
    for (file, page) in pages() {
        for (line, text) in blocks(&page, "toml") {
            count += 1;
            if let Err(error) = config::parse(&file, &text) {
                panic!("{}: the block from line {line} on:\n{error}", file.display());
            }
        }
    }
    assert!(count >= 2, "the documentation shows {count} configurations");
}

#[test]
fn complete_example_is_accepted() {
    config::parse(Path::new("example.toml"), config::Config::example()).expect("the example");
}

#[test]
fn every_link_within_the_documentation_leads_somewhere() {
    for (file, page) in pages() {
        let folder = file.parent().expect("a folder");
        for link in links(&page).into_iter().filter(|link| !link.contains("://")) {
            let path = link.split('#').next().unwrap_or_default();
            assert!(folder.join(path).exists(), "{}: nothing at {link}", file.display());
        }
    }
}

#[test]
fn blocks_of_other_languages_are_passed_over() {
    let page = "```toml\na = 1\n```\ntext\n```console\n# no\n```\n```toml\nb = 2\n```\n";
    assert_eq!(blocks(page, "toml"), [(2, "a = 1\n".to_owned()), (9, "b = 2\n".to_owned())]);
}
