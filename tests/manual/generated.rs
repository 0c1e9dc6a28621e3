//! The parts of the manual that are made from something else: the differences from runc, from the
//! list that the tests have, and the pages of the commands, from the definitions of the flags.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::{Arg, Command};

use super::docs;
use crate::support::{crun_only, differences};

const BEGIN: &str = "<!-- generated from tests/support/differences -->\n";

/// Compares a file with what it must be, or writes it.
#[track_caller]
fn is_up_to_date(file: &Path, text: &str) {
    if std::env::var_os("ORLOP_WRITE_MANUAL").is_some() {
        fs::write(file, text).unwrap();
    }
    let found = fs::read_to_string(file).unwrap_or_default();
    let name = file.file_name().unwrap().display();
    assert!(
        found == text,
        "docs: {name} is not what it is generated from; ORLOP_WRITE_MANUAL=1 writes it"
    );
}

#[test]
fn every_difference_is_in_the_manual() {
    let file = docs().join("coming-from.md");
    let text = fs::read_to_string(&file).unwrap();
    let (written, _) = text.split_once(BEGIN).expect("the line that begins the generated part");
    is_up_to_date(&file, &format!("{written}{BEGIN}{}", all_differences()));
}

fn all_differences() -> String {
    let mut text = String::new();
    for (title, reasons) in differences::AREAS {
        writeln!(text, "\n### {title}\n\n| area | Orlop | runc |\n|---|---|---|").unwrap();
        // What has the same reason is told once.
        let mut rows: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for (name, reason) in *reasons {
            let (module, test) = name.rsplit_once("::").unwrap();
            rows.entry((module, reason)).or_default().push(words(test));
        }
        for ((module, reason), tests) in rows {
            writeln!(text, "| {} | {} | {} |", words(module), tests.join("; "), cell(reason))
                .unwrap();
        }
    }
    text.push_str("\n## What crun has and runc does not\n\n| area | Orlop |\n|---|---|\n");
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for name in crun_only::TESTS {
        let (module, test) = name.rsplit_once("::").unwrap();
        rows.entry(module).or_default().push(words(test));
    }
    for (module, tests) in rows {
        writeln!(text, "| {} | {} |", words(module), tests.join("; ")).unwrap();
    }
    text
}

/// `a_name_of_a_test` as it is read.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}

#[test]
fn the_pages_of_the_commands_are_those_of_help() {
    let program = orlop::cli::command();
    let directory = docs().join("reference");
    let summary = fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    let mut list = String::new();
    for verb in program.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = verb.get_name();
        writeln!(list, "| [orlop {name}](orlop-{name}.md) | {} |", cell(&about(verb))).unwrap();
        is_up_to_date(&directory.join(format!("orlop-{name}.md")), &page(verb, name));
        let chapter = format!("[orlop {name}](reference/orlop-{name}.md)");
        assert!(summary.contains(&chapter), "SUMMARY.md lacks - {chapter}");
    }
    let text = format!(
        "# Manual pages\n\nThese are the pages `orlop(8)`, `orlop-create(8)` and so on, which \
         `make install` installs. `orlop COMMAND --help` prints the same. Flags are runc's where \
         runc has them. A long flag may have one dash (`-bundle`), and a switch a value \
         (`--debug=true`), as runc takes them.\n\n```text\norlop [OPTIONS] COMMAND …\n```\n\n\
         ## Options before the command\n\n{}\n## Commands\n\n| command | what it does |\n|---|---|\n{list}\n\
         ## Other programs\n\n| program | what it does |\n|---|---|\n\
         | [orlop-image](orlop-image-commands.md) | The commands of `orlop image` |\n\
         | [containerd-shim-orlop-v2](containerd-shim-orlop-v2.md) | The shim for containerd |\n",
        flags(&program)
    );
    is_up_to_date(&directory.join("index.md"), &text);
}

fn about(command: &Command) -> String {
    let text = command.get_long_about().or(command.get_about()).unwrap_or_default().to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn page(verb: &Command, name: &str) -> String {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>();
    let usage = usage.join("\n");
    let mut text = format!("# orlop {name}\n\n{}.\n\n```text\n{usage}\n```\n", about(verb));
    let arguments: Vec<&Arg> = verb.get_positionals().filter(|arg| !arg.is_hide_set()).collect();
    if !arguments.is_empty() {
        text.push_str("\n## Arguments\n\n| argument | meaning |\n|---|---|\n");
        for argument in arguments {
            writeln!(text, "| `{}` | {} |", names(argument).join(" "), meaning(argument)).unwrap();
        }
    }
    let flags = flags(verb);
    if !flags.is_empty() {
        write!(text, "\n## Options\n\n{flags}").unwrap();
    }
    text
}

/// A table of the flags; nothing if there are none.
fn flags(command: &Command) -> String {
    let shown = |arg: &&Arg| !arg.is_positional() && !arg.is_hide_set() && arg.get_id() != "help";
    let rows: Vec<String> = command
        .get_arguments()
        .filter(shown)
        .map(|arg| format!("| {} | {} |\n", flag(arg), meaning(arg)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("| option | meaning |\n|---|---|\n{}", rows.concat())
}

/// `-b`, `--bundle DIR`
fn flag(arg: &Arg) -> String {
    let short = arg.get_short().map(|letter| format!("`-{letter}`, ")).unwrap_or_default();
    let value = if arg.get_action().takes_values() {
        format!(" {}", names(arg).join(" "))
    } else {
        String::new()
    };
    format!("{short}`--{}{value}`", arg.get_long().unwrap_or_default())
}

fn names(arg: &Arg) -> Vec<String> {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect()
}

/// What `--help` says, with the value that counts if none is given.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).unwrap_or_default().to_string();
    let mut text = cell(&help.split_whitespace().collect::<Vec<_>>().join(" "));
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let default = default.filter(|value| !value.is_empty()).collect::<Vec<_>>().join(" ");
    if !default.is_empty() && arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
        write!(text, " (default: `{default}`)").unwrap();
    }
    text
}
