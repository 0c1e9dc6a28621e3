//! The history of attacks on runtimes, row by row: which tests show that we withstand. The table is
//! `tests/data/security_rows.txt`. Its names, and those in SECURITY.md, are held against the
//! sources, so that no promise outlives its test.

use std::fs;
use std::path::Path;

use crate::spec_rows::tests;

/// The rows of our notes on the field's history: numbered ones, hardening without a number, and
/// harnesses.
const NUMBERED: usize = 26;
const HARDENING: usize = 21;
const HARNESSES: usize = 11;

#[derive(Debug)]
struct Row {
    title: String,
    tests: Vec<String>,
    why_none: bool,
}

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text("tests/data/security_rows.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with("  - ") {
            rows.last_mut().unwrap().why_none = true;
        } else if let Some(name) = line.strip_prefix("    ") {
            rows.last_mut().unwrap().tests.push(name.to_owned());
        } else {
            rows.push(Row { title: line.to_owned(), tests: Vec::new(), why_none: false });
        }
    }
    rows
}

#[test]
fn every_row_is_there() {
    let rows = rows();
    let numbers: Vec<_> =
        rows.iter().filter_map(|row| row.title.split(':').next()?.parse::<usize>().ok()).collect();
    assert_eq!(numbers, (1..=NUMBERED).collect::<Vec<_>>());
    for (kind, count) in [("hardening: ", HARDENING), ("harness: ", HARNESSES)] {
        let mut titles: Vec<_> =
            rows.iter().filter(|row| row.title.starts_with(kind)).map(|row| &row.title).collect();
        titles.sort();
        titles.dedup();
        assert_eq!(titles.len(), count, "{kind}{titles:#?}");
    }
    // What reviews of our own code have found: a number of rows that grows.
    let reviews = rows.iter().filter(|row| row.title.starts_with("review: ")).count();
    assert_eq!(rows.len(), NUMBERED + HARDENING + HARNESSES + reviews);
}

#[test]
fn every_row_names_tests_that_exist() {
    let tests = tests();
    let mut wrong = Vec::new();
    for row in rows() {
        if row.tests.is_empty() && !row.why_none {
            wrong.push(format!("nothing shows {}", row.title));
        }
        let missing = row.tests.iter().filter(|name| !tests.contains(*name));
        wrong.extend(missing.map(|name| format!("{}: there is no test {name}", row.title)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_attack_is_in_the_table() {
    let rows = rows();
    let named = |test: &String| {
        rows.iter().any(|row| row.tests.contains(test)) || text("SECURITY.md").contains(test)
    };
    let forgotten: Vec<_> =
        tests().into_iter().filter(|test| test.starts_with("attack_") && !named(test)).collect();
    assert!(forgotten.is_empty(), "{forgotten:#?}");
}

/// A promise in SECURITY.md ends with the tests that keep it, in `code`.
#[test]
fn promises_name_tests_that_exist() {
    let text = text("SECURITY.md");
    let named: Vec<_> =
        text.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
    assert!(named.len() > 20, "{named:?}");
    let tests = tests();
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let promises = text.split("## What we promise").nth(1).unwrap().split("\n## ").next().unwrap();
    let bare: Vec<_> =
        promises.split("\n- ").skip(1).filter(|promise| !promise.contains("::")).collect();
    assert!(bare.is_empty(), "nothing shows {bare:#?}");
}
