//! Where each key of config.json lives: every property of the specification's schema is claimed by
//! exactly one file that decides about it (in `plan/`), and by one at least that carries it out.
//!
//! A file claims keys in its first lines, and so everything below them that no longer claim takes
//! away:
//!
//! ```text
//! //! config.json: linux.maskedPaths, process.rlimits[].{type, soft, hard}
//! ```
//!
//! Braces stand for one key for each word in them. `mounts[].options` is a key of each mount. A
//! file and the folder of its name count as one. Whoever knows the last part of a key finds both
//! files: `git grep 'config.json:.*maskedPaths'`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use orlop::error::Failure;
use orlop::host::cgroups::CgroupLayout;
use orlop::host::extras::Extras;
use orlop::plan::{Host, Plan, Request};

use crate::support::{Value, config};

/// Keys that this version refuses, a value that asks for them, and the place that the refusal
/// names.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    Vec::new()
}

/// Keys that mean nothing to a container's first process on Linux, and why.
const MEANINGLESS: &[(&str, &str)] =
    &[("process.commandLine", "Windows"), ("process.user.username", "Windows")];

/// Objects of other platforms.
const ELSEWHERE: &[&str] = &["solaris", "windows", "vm", "zos", "freebsd"];

#[test]
fn every_key_is_decided_in_one_file_and_carried_out_in_one_at_least() {
    let claims = claims();
    let keys = schema_keys();
    // An object is there for its properties.
    let is_leaf = |key: &str| !keys.iter().any(|other| other != key && covers(key, other));
    let mut wrong = Vec::new();
    for key in keys.iter().filter(|key| is_leaf(key) && !is_refused(key) && !is_meaningless(key)) {
        let decided = longest(&claims, key, |file| file.starts_with("plan/"));
        if decided.len() != 1 {
            wrong.push(format!("{key}: decided in {decided:?}"));
        }
        if longest(&claims, key, |file| !file.starts_with("plan/")).is_empty() {
            wrong.push(format!("{key}: carried out nowhere"));
        }
    }
    assert!(wrong.is_empty(), "claims to be put right: {wrong:#?}");
}

/// What CONTRIBUTING.md promises: `git grep 'config.json:.*KEY'` names the file that decides and
/// one that carries out.
#[test]
fn every_key_is_found_by_its_name() {
    let headers = headers();
    let mut missing = Vec::new();
    for key in schema_keys().iter().filter(|key| !is_refused(key) && !is_meaningless(key)) {
        let name = key.rsplit('.').next().unwrap_or(key).trim_end_matches("[]");
        let names = |line: &str| {
            line.split_once("config.json:").is_some_and(|(_, claimed)| claimed.contains(name))
        };
        let found = |decides: bool| {
            let counts = |file: &str| file.starts_with("plan/") == decides;
            headers
                .iter()
                .any(|(file, header)| counts(file) && header.iter().any(|line| names(line)))
        };
        if !found(true) || !found(false) {
            missing.push(key.clone());
        }
    }
    assert!(missing.is_empty(), "not found by a search for the name: {missing:#?}");
}

#[test]
fn every_claim_is_a_key_of_the_specification() {
    let keys = schema_keys();
    for (file, claimed) in claims() {
        for key in claimed {
            assert!(
                keys.contains(&key),
                "src/{file} claims {key}, which the specification does not have"
            );
        }
    }
}

/// Refused, and not passed over: a plan for a config with the key is an error that names it.
#[test]
fn refused_keys_are_refused() {
    let keys = schema_keys();
    decide(&config::default()).expect("the default config can be planned");
    for (key, value, place) in refused() {
        assert!(keys.contains(key), "{key} is no key");
        let mut config = config::default();
        config::set(&mut config, &pointer(key), value);
        let error = decide(&config).expect_err(key);
        match error.downcast_ref() {
            Some(Failure::BadConfig(problem)) => {
                assert_eq!(problem.key, place, "{error:#}");
                assert!(problem.text.contains("not supported by this version"), "{error:#}");
            }
            _ => panic!("{key}: {error:#}"),
        }
    }
}

#[test]
fn meaningless_keys_are_ignored() {
    let keys = schema_keys();
    for (key, _) in MEANINGLESS {
        assert!(keys.contains(*key), "{key} is no key");
    }
    let mut config = config::default();
    config::set(&mut config, "/process/commandLine", "dir".into());
    config::set(&mut config, "/process/user/username", "sailor".into());
    decide(&config).expect("ignored");
}

#[test]
fn claims_are_read() {
    let text = "//! One.\n//! config.json: a.b, c\n//! config.json: d[].{e, f.g}, h.{i, j}.{k, l}\n//! process: init\n\n\
                //! config.json: no.more\nuse x;";
    let header: Vec<_> = header(text).map(str::to_owned).collect();
    assert_eq!(
        claimed(&header),
        ["a.b", "c", "d[].e", "d[].f.g", "h.i.k", "h.i.l", "h.j.k", "h.j.l"]
    );
    assert!(covers("mounts", "mounts[].options") && covers("a.b", "a.b.c") && covers("a", "a"));
    assert!(!covers("mount", "mounts") && !covers("a.b.c", "a.b"));
}

fn decide(config: &Value) -> orlop::error::Result<Plan> {
    let request = Request { id: "captain", bundle: Path::new("/bundle"), ..Request::default() };
    let layout = CgroupLayout::Unified {
        mount: "/sys/fs/cgroup".into(),
        own: "/".to_owned(),
        controllers: Vec::new(),
    };
    let host = Host {
        euid: 0,
        egid: 0,
        capabilities: u64::MAX,
        rootless: false,
        extras: Extras::default(),
    };
    Plan::for_create(config.to_string().as_bytes(), &request, &host, &layout)
}

fn is_refused(key: &str) -> bool {
    refused().iter().any(|(refused, ..)| covers(refused, key))
}

fn is_meaningless(key: &str) -> bool {
    MEANINGLESS.iter().any(|(prefix, _)| covers(prefix, key))
}

/// `mounts[].uidMappings` → `/mounts/0/uidMappings`.
fn pointer(key: &str) -> String {
    format!("/{}", key.replace("[]", ".0").replace('.', "/"))
}

/// Whether the claim of `prefix` is one of `key`, too.
pub fn covers(prefix: &str, key: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The files, with the folders of their names, that make the longest claim of `key`.
fn longest(
    claims: &BTreeMap<String, Vec<String>>,
    key: &str,
    counts: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let mut best = 0;
    let mut found = BTreeSet::new();
    for (file, claimed) in claims.iter().filter(|(file, _)| counts(file)) {
        let length = claimed
            .iter()
            .filter(|claim| covers(claim, key))
            .map(String::len)
            .max()
            .unwrap_or_default();
        if length > best {
            found.clear();
            best = length;
        }
        if length == best && length > 0 {
            found.insert(unit(file));
        }
    }
    found
}

/// `plan/resources/v1.rs` and `plan/resources.rs` → `plan/resources`.
fn unit(file: &str) -> String {
    file.trim_end_matches(".rs").splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
}

/// What each file of `src` claims.
fn claims() -> BTreeMap<String, Vec<String>> {
    headers().into_iter().map(|(file, header)| (file, claimed(&header))).collect()
}

/// The first lines of each file of `src`.
fn headers() -> BTreeMap<String, Vec<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut directories = vec![src.clone()];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).unwrap();
                found.insert(name, header(&text).map(str::to_owned).collect());
            }
        }
    }
    found
}

fn header(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim)
}

/// The keys that the first lines of a file claim.
fn claimed(header: &[String]) -> Vec<String> {
    let lists = header.iter().filter_map(|line| line.strip_prefix("config.json:"));
    lists.flat_map(outside_braces).flat_map(|claim| expand(&claim)).collect()
}

/// The parts between commas, but for commas in braces.
fn outside_braces(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in list.chars().filter(|letter| !letter.is_whitespace()) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match parts.last_mut() {
            Some(part) if letter != ',' || depth > 0 => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    parts
}

/// `a.{b, c}` → `a.b`, `a.c`.
fn expand(claim: &str) -> Vec<String> {
    let Some((before, rest)) = claim.split_once('{') else { return vec![claim.to_owned()] };
    let (words, after) =
        rest.split_once('}').unwrap_or_else(|| panic!("{claim}: a brace is not closed"));
    words.split(',').flat_map(|word| expand(&format!("{before}{word}{after}"))).collect()
}

/// Every property of the schema, by its path: `linux.resources.rdma.*.hcaHandles`,
/// `hooks.prestart[].path`.
pub fn schema_keys() -> BTreeSet<String> {
    let mut schema = Schema { files: BTreeMap::new(), keys: BTreeSet::new() };
    schema.walk("config-schema.json", "", "");
    assert!(schema.keys.len() > 200, "only {} keys in the schema", schema.keys.len());
    schema.keys
}

struct Schema {
    files: BTreeMap<String, Value>,
    keys: BTreeSet<String>,
}

impl Schema {
    fn node(&mut self, file: &str, pointer: &str) -> Value {
        let load = || {
            let path = data(file);
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_json::from_str(&text).unwrap()
        };
        let document = self.files.entry(file.to_owned()).or_insert_with(load);
        document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {file}")).clone()
    }

    /// Adds the properties of the schema at `pointer` of `file`, which is that of `key`.
    fn walk(&mut self, file: &str, pointer: &str, key: &str) {
        let node = self.node(file, pointer);
        if let Some(reference) = node["$ref"].as_str() {
            let (target, place) = reference.split_once('#').unwrap();
            let target = if target.is_empty() { file } else { target };
            self.walk(target, place, key);
        }
        for combination in ["allOf", "anyOf"] {
            for index in 0..node[combination].as_array().map_or(0, Vec::len) {
                self.walk(file, &format!("{pointer}/{combination}/{index}"), key);
            }
        }
        if node["items"].is_object() {
            self.walk(file, &format!("{pointer}/items"), &format!("{key}[]"));
        }
        if node["additionalProperties"].is_object() {
            self.walk(file, &format!("{pointer}/additionalProperties"), &format!("{key}.*"));
        }
        for name in
            node["properties"].as_object().into_iter().flat_map(|properties| properties.keys())
        {
            if key.is_empty() && ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            self.keys.insert(below.clone());
            self.walk(file, &format!("{pointer}/properties/{name}"), &below);
        }
    }
}

/// A file of the specification's.
fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/runtime-spec-1.3").join(file)
}
