//! The manual pages and the completions, as `make install` makes them.

use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "../examples/pages.rs"]
#[allow(dead_code, reason = "its main is for the program")]
mod program;

fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    program::write(directory.path()).unwrap();
    directory
}

fn page(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// As roff writes a flag: each dash is escaped.
fn roff(flag: &str) -> String {
    flag.replace('-', "\\-")
}

#[test]
fn every_verb_has_a_page_with_all_its_flags() {
    let directory = written();
    let program = orlop::cli::command();
    let main_page = page(directory.path(), "orlop.8");
    for flag in program.get_arguments().filter_map(|argument| argument.get_long()) {
        assert!(main_page.contains(&roff(&format!("--{flag}"))), "orlop.8 lacks --{flag}");
    }
    for verb in program.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = verb.get_name();
        assert!(
            main_page.contains(&roff(&format!("orlop-{name}"))),
            "orlop.8 does not name {name}"
        );
        let text = page(directory.path(), &format!("orlop-{name}.8"));
        for argument in verb.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let Some(flag) = argument.get_long() else { continue };
            assert!(text.contains(&roff(&format!("--{flag}"))), "orlop-{name}.8 lacks --{flag}");
        }
    }
}

/// What bash offers for the last of `words`.
fn bash_offers(completions: &Path, words: &[&str]) -> Vec<String> {
    let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _orlop orlop \"${!#}\" \"${@:$#-1:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(completions)
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_and_flags() {
    let directory = written();
    let completions = directory.path().join("orlop.bash");
    assert_eq!(bash_offers(&completions, &["orlop", "cre"]), ["create"]);
    assert!(bash_offers(&completions, &["orlop", "p"]).contains(&"pause".to_owned()));
    assert_eq!(bash_offers(&completions, &["orlop", "create", "--bun"]), ["--bundle"]);
    assert_eq!(bash_offers(&completions, &["orlop", "kill", "--bun"]), [""]);
}

#[test]
fn zsh_and_fish_know_every_verb() {
    let directory = written();
    let (zsh, fish) = (page(directory.path(), "_orlop"), page(directory.path(), "orlop.fish"));
    assert!(zsh.starts_with("#compdef orlop"), "{zsh}");
    for verb in orlop::cli::command().get_subcommands() {
        let name = verb.get_name();
        assert!(zsh.contains(&format!("({name})")), "zsh does not know {name}");
        assert!(fish.contains(&format!("-a \"{name}\"")), "fish does not know {name}");
    }
}
