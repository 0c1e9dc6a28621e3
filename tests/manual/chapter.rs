//! Reads the examples of a chapter.

use std::fs;
use std::path::Path;

use crate::support::{Value, json};

/// A part of a config.json, and what comes of it.
#[derive(Debug, Default)]
pub struct Example {
    /// `errors.md:12`
    pub place: String,
    pub notes: Notes,
    pub config: Value,
    pub steps: Vec<Step>,
}

/// A command, and what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub command: String,
    pub output: Vec<String>,
}

/// What the comments in front of it say.
#[derive(Debug, Default)]
pub struct Notes {
    pub needs: Vec<String>,
    /// Files below /sys/fs/cgroup, and what is in them.
    pub v1: Option<(Vec<String>, Vec<String>)>,
    pub check: bool,
    pub runc_differs: bool,
    no_example: bool,
}

impl Notes {
    fn take(&mut self, comment: &str, place: &str) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        if let Some(needs) = comment.strip_prefix("needs: ") {
            self.needs.extend(needs.split(", ").map(str::to_owned));
        } else if let Some((files, values)) =
            comment.strip_prefix("v1: ").and_then(|text| text.split_once(" = "))
        {
            self.v1 = Some((words(files), words(values)));
        } else {
            match comment {
                "check" => self.check = true,
                "runc differs" => self.runc_differs = true,
                "no example" => self.no_example = true,
                // Of other readers: the generated parts.
                _ if comment.starts_with("generated") => {}
                _ => panic!("{place}: a comment that nobody understands: {comment}"),
            }
        }
    }
}

/// The examples of a file. A console block without a config.json of its own is one of an empty
/// one; a config.json without a console block must be one to check.
pub fn read(file: &Path) -> Vec<Example> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let name = file.file_name().unwrap().to_string_lossy();
    let mut found: Vec<Example> = Vec::new();
    let mut notes = Notes::default();
    let mut waiting: Option<Example> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let place = format!("{name}:{}", number + 1);
        if let Some(comment) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
            notes.take(comment, &place);
        }
        let Some(language) = line.strip_prefix("```") else { continue };
        let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let block: Vec<&str> = block.collect();
        let taken = std::mem::take(&mut notes);
        match language {
            _ if taken.no_example => {}
            "json" => {
                found.extend(waiting.take().map(alone));
                let config = serde_json::from_str(&block.join("\n"));
                let config = config.unwrap_or_else(|error| panic!("{place}: {error}"));
                waiting = Some(Example { place, notes: taken, config, steps: Vec::new() });
            }
            "console" => {
                let steps = steps(&block, &place);
                let new = Example { place, notes: taken, config: json!({}), steps: Vec::new() };
                found.push(Example { steps, ..waiting.take().unwrap_or(new) });
            }
            _ => {}
        }
    }
    found.extend(waiting.map(alone));
    found
}

fn alone(example: Example) -> Example {
    assert!(example.notes.check, "{}: there is no console block behind it", example.place);
    example
}

fn steps(block: &[&str], place: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block {
        if let Some(command) = line.strip_prefix("# ") {
            steps.push(Step { command: command.to_owned(), output: Vec::new() });
        } else {
            let step = steps.last_mut().unwrap_or_else(|| panic!("{place}: output of no command"));
            step.output.push((*line).to_owned());
        }
    }
    steps
}

#[test]
fn examples_are_read() {
    let text = [
        "# A\n\n<!-- needs: numa, cgroup cpu -->\n<!-- v1: a/b a/c = 1 2 -->",
        "```json\n{ \"a\": 1 }\n```\n\nText.\n\n```console\n# one\n1\n2\n# two\n```\n",
        "<!-- check -->\n```json\n{}\n```\n\n```console\n# three\n```",
        "<!-- no example -->\n```json\n[\n```\n",
    ]
    .join("\n");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.md");
    fs::write(&file, text).unwrap();
    let found = read(&file);
    let commands = |n: usize| -> Vec<_> { found[n].steps.iter().map(|s| &*s.command).collect() };
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].config, json!({ "a": 1 }));
    assert_eq!(found[0].notes.needs, ["numa", "cgroup cpu"]);
    assert_eq!(found[0].notes.v1.as_ref().unwrap().1, ["1", "2"]);
    assert_eq!(
        (commands(0), &*found[0].steps[0].output),
        (vec!["one", "two"], &["1".into(), "2".into()][..])
    );
    assert!(found[1].notes.check && commands(1) == ["three"] && found[1].place == "a.md:19");
}
