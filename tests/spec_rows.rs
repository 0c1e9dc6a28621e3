//! The specification, row by row: which tests show that a property of config.json, or a rule of
//! runtime.md, does what it says, and which that the errors it names are errors. The table is
//! `tests/data/spec_rows.txt`. Every name in it is held against the sources, so that none outlives
//! its test; and every key of the schema must be below one of the rows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::field_map::{covers, schema_keys};

/// A row: the keys that it is about, or a rule in parentheses; tests of what happens, tests of what
/// must not.
#[derive(Debug)]
struct Row {
    keys: String,
    shown: Vec<String>,
    refused: Vec<String>,
}

fn rows() -> Vec<Row> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spec_rows.txt");
    let mut rows: Vec<Row> = Vec::new();
    for line in fs::read_to_string(file)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix("  ! ") {
            rows.last_mut().unwrap().refused.push(name.to_owned());
        } else if let Some(name) = line.strip_prefix("    ") {
            rows.last_mut().unwrap().shown.push(name.to_owned());
        } else {
            rows.push(Row { keys: line.to_owned(), shown: Vec::new(), refused: Vec::new() });
        }
    }
    rows
}

#[test]
fn every_row_names_tests_that_exist() {
    let tests = tests();
    assert!(tests.len() > 700, "only {} tests found", tests.len());
    let mut wrong = Vec::new();
    for row in rows() {
        if row.shown.is_empty() {
            wrong.push(format!("nothing shows what {} does", row.keys));
        }
        let missing = row.shown.iter().chain(&row.refused).filter(|name| !tests.contains(*name));
        wrong.extend(missing.map(|name| format!("{}: there is no test {name}", row.keys)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_key_is_below_a_row() {
    let rows = rows();
    let keys = schema_keys();
    let of_a_rule = |row: &Row| row.keys.starts_with('(');
    let named: Vec<&str> =
        rows.iter().filter(|row| !of_a_rule(row)).flat_map(|row| row.keys.split(' ')).collect();
    let unknown: Vec<_> = named.iter().filter(|row| !keys.contains(**row)).collect();
    assert!(unknown.is_empty(), "no keys: {unknown:?}");
    // An object is there for its properties.
    let is_leaf = |key: &str| !keys.iter().any(|other| other != key && covers(key, other));
    let bare: Vec<_> = keys
        .iter()
        .filter(|key| is_leaf(key) && !named.iter().any(|row| covers(row, key)))
        .collect();
    assert!(bare.is_empty(), "below no row: {bare:#?}");
}

/// `module::function` of every test in `tests/`, `image::module::function` of those of orlop-image,
/// and `path::to::tests::function` of those in `src/`.
pub fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    let mut directories = vec![
        (root.join("tests"), String::new(), ""),
        (root.join("crates/image/tests"), "image::".to_owned(), ""),
        (root.join("src"), String::new(), "tests::"),
    ];
    while let Some((directory, prefix, inner)) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                directories.push((path, format!("{prefix}{stem}::"), inner));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = match stem.as_str() {
                    "mod" => prefix.clone(),
                    stem => format!("{prefix}{stem}::"),
                };
                let inner = if stem == "tests" { "" } else { inner };
                let text = fs::read_to_string(&path).unwrap();
                let names = text
                    .split("#[test]\n")
                    .skip(1)
                    .filter_map(|rest| rest.trim_start().strip_prefix("fn "));
                found.extend(
                    names.map(|rest| format!("{module}{inner}{}", rest.split('(').next().unwrap())),
                );
            }
        }
    }
    found
}
