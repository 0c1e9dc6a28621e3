//! The manual says what is so: its examples are run, and its generated parts are compared with
//! what they are generated from.
//!
//! An example is a `json` block, which is put over the config.json that `spec` writes (objects are
//! merged, anything else is replaced), and the `console` block behind it: commands after `# `, and
//! what they print. HTML comments in front of a block say what readers need not see:
//!
//! | comment | meaning |
//! |---|---|
//! | `needs: NAME…` | what the machine must have; without it `check` must complain of this alone |
//! | `v1: FILE… = VALUE…` | the same limit on cgroup v1: these files, and what is in them |
//! | `check` | nothing is run: `check` has nothing to say |
//! | `runc differs` | it is not run on runc |
//! | `no example` | the block is no config.json |
//!
//! `ORLOP_WRITE_MANUAL=1` writes the generated parts.

mod chapter;
mod example;
mod generated;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use orlop::error::{Failure, Problem};

use crate::field_map::{covers, schema_keys};
use crate::support::Value;

use chapter::Example;

/// The chapters about config.json.
const CHAPTERS: &[&str] =
    &["process", "mounts", "hooks", "namespaces", "devices", "resources", "seccomp", "kernel"];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn examples(chapter: &str) -> Vec<Example> {
    let found = chapter::read(&docs().join(format!("{chapter}.md")));
    assert!(!found.is_empty(), "{chapter} has no examples");
    found
}

fn run(chapter: &str) {
    let wrong: Vec<String> = examples(chapter).iter().filter_map(example::fault).collect();
    assert!(wrong.is_empty(), "{} examples:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_key_has_an_example() {
    let mut shown = BTreeSet::new();
    for chapter in CHAPTERS {
        for example in examples(&format!("config/{chapter}")) {
            collect("", &example.config, &mut shown);
        }
    }
    let keys = schema_keys();
    // An object is there for its properties.
    let is_leaf = |key: &str| !keys.iter().any(|other| other != key && covers(key, other));
    let bare: Vec<_> = keys.iter().filter(|key| is_leaf(key) && !shown.contains(*key)).collect();
    assert!(bare.is_empty(), "no example in docs/config for: {bare:#?}");
}

/// The keys of a config, as [`schema_keys`] writes them: also with `*` for each name in turn.
fn collect(key: &str, value: &Value, found: &mut BTreeSet<String>) {
    found.insert(key.to_owned());
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                collect(&below, value, found);
                collect(&format!("{key}.*"), value, found);
            }
        }
        Value::Array(array) => array.iter().for_each(|v| collect(&format!("{key}[]"), v, found)),
        _ => {}
    }
}

#[test]
fn what_the_chapter_on_process_says_is_so() {
    run("config/process");
}

#[test]
fn what_the_chapter_on_mounts_says_is_so() {
    run("config/mounts");
}

#[test]
fn what_the_chapter_on_hooks_says_is_so() {
    run("config/hooks");
}

#[test]
fn what_the_chapter_on_namespaces_says_is_so() {
    run("config/namespaces");
}

#[test]
fn what_the_chapter_on_devices_says_is_so() {
    run("config/devices");
}

#[test]
fn what_the_chapter_on_resources_says_is_so() {
    run("config/resources");
}

#[test]
fn what_the_chapter_on_seccomp_says_is_so() {
    run("config/seccomp");
}

#[test]
fn what_the_chapter_on_the_kernel_says_is_so() {
    run("config/kernel");
}

#[test]
fn what_the_first_chapter_says_is_so() {
    run("start");
    run("../README");
}

#[test]
fn what_the_chapter_on_errors_says_is_so() {
    run("errors");
}

#[test]
fn every_error_code_is_provoked_in_the_manual() {
    let text = std::fs::read_to_string(docs().join("errors.md")).unwrap();
    let printed: BTreeSet<String> = examples("errors")
        .into_iter()
        .flat_map(|example| example.steps)
        .flat_map(|step| step.output)
        .collect();
    for code in codes() {
        let section = text.split("\n## ").find(|section| section.lines().next() == Some(code));
        let section = section.unwrap_or_else(|| panic!("errors.md has no section on {code}"));
        assert!(
            section.contains("**What to do**: "),
            "errors.md does not say what to do about {code}"
        );
        let named = |line: &String| line == code || line.contains(&format!("\"code\": \"{code}\""));
        assert!(printed.iter().any(named), "no example of errors.md prints {code}");
    }
}

/// All of them; the compiler asks for the next one when there is one.
fn codes() -> Vec<&'static str> {
    let text = String::new;
    let mut codes = vec!["internal"];
    let mut next = Some(Failure::NoSuchContainer);
    while let Some(failure) = next {
        codes.push(failure.code());
        next = match failure {
            Failure::NoSuchContainer => Some(Failure::ContainerExists),
            Failure::ContainerExists => Some(Failure::InvalidId),
            Failure::InvalidId => Some(Failure::WrongStatus(text().into())),
            Failure::WrongStatus(_) => Some(Failure::BadConfig(Problem::new(text(), text()))),
            Failure::BadConfig(_) => Some(Failure::ProgramNotFound(text().into())),
            Failure::ProgramNotFound(_) => Some(Failure::ProgramNotExecutable(text().into())),
            Failure::ProgramNotExecutable(_) => Some(Failure::Unsupported(text().into())),
            Failure::Unsupported(_) => Some(Failure::Usage(text())),
            Failure::Usage(_) => None,
        };
    }
    codes
}
