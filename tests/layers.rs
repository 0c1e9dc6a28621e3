//! Who may know whom: the direction of the sources, held against every `crate::…` in them.
//!
//! ```text
//! cli → commands → runtime → bootstrap → init → sys
//!         │           │          │         │
//!         │           └──────────┴── sync ─┘            sync, hooks → sys
//!         ├→ container → sys
//!         ├→ criu ─────→ sys
//!         ├→ cgroup ───→ sys                            plan → nothing that does anything
//!         └→ plan
//! ```
//!
//! What is compiled for tests alone is exempt.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module of the crate and those that it may name, besides `kernel`, which every module may name.
/// `error` with its `sys::Call` is everybody's language.
const TABLE: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli"]),
    ("cli", &["commands", "error", "host", "log", "sys"]),
    (
        "commands",
        &[
            "runtime",
            "container",
            "criu",
            "cgroup",
            "resctrl",
            "plan",
            "hooks",
            "host",
            "log",
            "preflight",
            "sync",
            "state",
            "error",
            "sys",
        ],
    ),
    ("preflight", &["runtime", "init", "cgroup", "plan", "error", "sys"]),
    ("runtime", &["bootstrap", "init", "criu", "cgroup", "plan", "sync", "error", "sys"]),
    ("bootstrap", &["init", "plan", "sync", "error", "sys"]),
    ("init", &["plan", "sync", "hooks", "state", "error", "sys"]),
    ("container", &["config", "sync", "state", "error", "sys"]),
    ("criu", &["plan", "sync", "error", "sys"]),
    ("cgroup", &["plan", "error", "sys"]),
    ("resctrl", &["plan", "error", "sys"]),
    ("hooks", &["plan", "config", "error", "sys"]),
    ("plan", &["config", "seccomp", "host", "state", "error"]),
    ("host", &["error", "sys"]),
    ("sync", &["error", "sys"]),
    ("log", &["error", "sys"]),
    ("state", &["error"]),
    ("error", &["sys"]),
    ("seccomp", &[]),
    ("config", &[]),
    ("sys", &[]),
    ("kernel", &[]),
    // Compiled for fuzzing alone.
    ("fuzzing", &["cgroup", "container", "host", "plan", "resctrl", "sync", "sys"]),
];

/// What one file may know besides, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("commands/update.rs", "config", "reads a `config::Resources`, which no config.json is around"),
    ("commands/update/present.rs", "config", "completes a `config::Resources`"),
];

/// Pairs of files in one folder that use each other, and why.
const CIRCLES: &[(&str, &str, &str)] = &[
    (
        "plan/cgroup.rs",
        "plan/delegated_cgroup.rs",
        "the second is the part of the first that only annotations ask for",
    ),
    (
        "plan/namespaces.rs",
        "plan/sysctl.rs",
        "kernel.domainname is decided with the domainname, all others by the namespaces",
    ),
    (
        "sys/early.rs",
        "sys/self_exe.rs",
        "the seal is made by the first before the C library starts, by the second after it",
    ),
];

/// Names that two types of a crate share, and why.
const SAME_NAMES: &[(&str, &str, &str)] = &[
    ("crates/shim/src", "Cpu", METRICS),
    ("crates/shim/src", "Hugetlb", METRICS),
    ("crates/shim/src", "Memory", METRICS),
    ("crates/shim/src", "Metrics", METRICS),
];
const METRICS: &str = "containerd's name in both of its packages of metrics, v1 and v2";

/// Crates and the only places that may name them.
const CRATES: &[(&str, &[&str])] = &[
    ("clap", &["cli.rs", "cli/"]),
    ("caps", &["plan/capabilities.rs"]),
    (
        "serde_json",
        &[
            "cli/",
            "commands/",
            "container/state_file.rs",
            "criu/images.rs",
            "fuzzing.rs",
            "log.rs",
            "plan/",
            "state.rs",
        ],
    ),
];

/// Crates that do things, so that nothing which only decides may name them.
const DOING: &[&str] = &["nix", "rustix"];
const DECIDING: &[&str] = &["plan/", "seccomp/", "config/", "error.rs", "log.rs", "state.rs"];

/// A file of `src`, without comments and without what is for tests.
struct Source {
    /// Its path below `src`.
    path: String,
    text: String,
}

#[test]
fn nobody_knows_more_than_the_table_says() {
    let mut wrong = Vec::new();
    for source in sources() {
        let own = source.module();
        let (_, allowed) = TABLE.iter().find(|(name, _)| *name == own).unwrap_or_else(|| {
            panic!("{} is a new module: say in the table what it may know", source.path);
        });
        for named in source
            .named_modules()
            .iter()
            .filter(|named| !["kernel", own].contains(&&***named) && !allowed.contains(&&***named))
        {
            if !EXCEPTIONS.iter().any(|(file, module, _)| (*file, *module) == (&source.path, named))
            {
                wrong.push(format!("{} names crate::{named}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "against the direction: {wrong:#?}");
}

#[test]
fn no_exception_is_out_of_date() {
    let sources = sources();
    for (file, module, _) in EXCEPTIONS {
        let source = sources.iter().find(|source| source.path == *file);
        assert!(
            source.is_some_and(|source| source.named_modules().contains(*module)),
            "{file} names {module} no more"
        );
    }
}

#[test]
fn a_type_name_is_one_type() {
    for folder in ["src", "crates/image/src", "crates/shim/src"] {
        let sources = sources_of(folder);
        let mut names: Vec<&str> = sources.iter().flat_map(Source::types).collect();
        names.sort_unstable();
        let twice: BTreeSet<&str> =
            names.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
        let known = SAME_NAMES.iter().filter(|(of, _, _)| *of == folder).map(|(_, name, _)| *name);
        assert_eq!(twice, known.collect(), "{folder}");
    }
}

#[test]
fn no_two_files_of_a_folder_use_each_other() {
    let sources = sources();
    let mut circles = BTreeSet::new();
    for one in &sources {
        for other in sources.iter().filter(|other| one.path < other.path) {
            if one.names_sibling(other) && other.names_sibling(one) {
                circles.insert((&*one.path, &*other.path));
            }
        }
    }
    let known: BTreeSet<_> = CIRCLES.iter().map(|(one, other, _)| (*one, *other)).collect();
    assert_eq!(circles, known);
}

#[test]
fn crates_are_named_only_where_they_belong() {
    for source in sources() {
        for (name, places) in CRATES {
            let allowed = places.iter().any(|place| source.path.starts_with(place));
            assert!(allowed || !source.names_crate(name), "{} names {name}", source.path);
        }
        for name in
            DOING.iter().filter(|_| DECIDING.iter().any(|place| source.path.starts_with(place)))
        {
            assert!(!source.names_crate(name), "{} decides, and names {name}", source.path);
        }
    }
}

/// The table has no circles: whoever is below never names who is above.
#[test]
fn the_table_has_a_direction() {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < TABLE.len() {
        let ready = |(name, allowed): &&(&'static str, &[&str])| {
            !done.contains(name) && allowed.iter().all(|below| done.contains(below))
        };
        let next: Vec<&str> = TABLE.iter().filter(ready).map(|(name, _)| *name).collect();
        assert!(!next.is_empty(), "a circle beyond {done:?}");
        done.extend(next);
    }
}

#[test]
fn paths_are_found_in_every_form() {
    let text = "use crate::{sys::fd, plan::{self, hooks}};\nfn f() { super::super::log::x(); super::own(); }\n\
                // crate::cli\n/// [`crate::cli`]\nuse crate::error::At;\n#[cfg(test)]\nmod tests {
                // use crate::cgroup; }";
    let source = Source { path: "init/user.rs".to_owned(), text: without_tests(text) };
    let named: Vec<String> = source.named_modules().into_iter().collect();
    assert_eq!(named, ["error", "log", "plan", "sys"]);
    assert_eq!(source.module(), "init");
    let source = Source { path: "hooks.rs".to_owned(), text: "nix::x; super::cli".to_owned() };
    assert!(
        source.names_crate("nix")
            && !source.names_crate("ix")
            && source.named_modules().contains("cli")
    );
}

impl Source {
    /// The module at the top that the file is or belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// How many `super::` lead to the crate's root.
    fn depth(&self) -> usize {
        self.path.trim_end_matches("/mod.rs").split('/').count()
    }

    /// The modules at the top that are named by `crate::` or by enough `super::`.
    fn named_modules(&self) -> BTreeSet<String> {
        let above = "super::".repeat(self.depth());
        let mut found = BTreeSet::new();
        for start in ["crate::", above.as_str()] {
            for (at, _) in self.text.match_indices(start) {
                let before = self.text[..at].chars().next_back();
                let rest = &self.text[at + start.len()..];
                let part_of_a_longer_path =
                    before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$'));
                if !part_of_a_longer_path {
                    found.extend(first_names(rest));
                }
            }
        }
        found
    }

    /// The types and traits that the file defines. An associated type is none.
    fn types(&self) -> impl Iterator<Item = &str> {
        const KEYWORDS: [&str; 5] = ["struct ", "enum ", "union ", "trait ", "type "];
        self.text.lines().filter_map(|line| {
            let start = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            let start = start.trim_start_matches("pub ");
            let rest = KEYWORDS.iter().find_map(|keyword| start.strip_prefix(keyword))?;
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            Some(&rest[..end])
        })
    }

    /// Whether the file uses `other`, a file of the same folder.
    fn names_sibling(&self, other: &Self) -> bool {
        let (Some((folder, _)), Some((same, file))) =
            (self.path.rsplit_once('/'), other.path.rsplit_once('/'))
        else {
            return false;
        };
        let file = file.trim_end_matches(".rs");
        let absolute = format!("crate::{}::", folder.replace('/', "::"));
        folder == same
            && file != "mod"
            && ["super::", &absolute].iter().any(|start| {
                let mut places = self.text.match_indices(start);
                places.any(|(at, _)| {
                    let part_of_a_longer_path = self.text[..at].ends_with("::");
                    let names = first_names(&self.text[at + start.len()..]);
                    !part_of_a_longer_path && names.iter().any(|name| name == file)
                })
            })
    }

    fn names_crate(&self, name: &str) -> bool {
        let path = format!("{name}::");
        self.text.match_indices(&path).any(|(at, _)| {
            let before = self.text[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
        })
    }
}

/// `sys::fd` → `sys`; `{sys::fd, plan::{self, hooks}}` → `sys`, `plan`.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(word(&group[start..]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name: &String| !name.is_empty());
    names
}

/// Without comments, and up to the module of tests, which is the last thing in a file.
fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Everything below `src` that is not for tests alone.
fn sources() -> Vec<Source> {
    sources_of("src")
}

fn sources_of(folder: &str) -> Vec<Source> {
    const FOR_TESTS: &[&str] = &["seccomp/oracle.rs", "seccomp/oracle/", "seccomp/interpreter.rs"];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    collect(&src, &mut files);
    let source = |file: &PathBuf| {
        let path = file.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        let for_tests =
            path.ends_with("/tests.rs") || FOR_TESTS.iter().any(|start| path.starts_with(start));
        (!for_tests)
            .then(|| Source { path, text: without_tests(&fs::read_to_string(file).unwrap()) })
    };
    files.iter().filter_map(source).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), files);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.push(entry.path());
        }
    }
}
