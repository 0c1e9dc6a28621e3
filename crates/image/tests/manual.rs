//! The page of the manual on the commands of `orlop image`: it is what `--help` prints.
//! `ORLOP_WRITE_MANUAL=1` writes it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::run;

/// The commands that a help names.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

fn help(command: &[&str]) -> String {
    let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    let out = run(&arguments).ok();
    let text = out.stdout.replace("orlop-image", "orlop image");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Adds a command and those below it.
fn describe(command: &[&str], page: &mut String) {
    let text = help(command);
    write!(page, "\n## {}\n\n```text\n{text}\n```\n", command.join(" ")).unwrap();
    for name in commands(&text) {
        describe(&[command, &[name.as_str()]].concat(), page);
    }
}

#[test]
fn the_page_of_the_commands_is_what_help_prints() {
    let mut page = "# orlop image: commands\n\nWhat `orlop image COMMAND --help` prints. \
                    [Images](../images.md) shows how they are used.\n"
        .to_owned();
    for name in commands(&help(&[])) {
        describe(&[name.as_str()], &mut page);
    }
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/orlop-image-commands.md");
    if std::env::var_os("ORLOP_WRITE_MANUAL").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == page,
        "docs/reference/orlop-image-commands.md is not what --help prints; ORLOP_WRITE_MANUAL=1 \
         writes it"
    );
}
