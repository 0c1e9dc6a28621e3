//! Runs an example, and compares.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::runtime::{self, MARKER, Running};
use crate::support::userland::write_program;
use crate::support::{Bundle, Value, cgroups, differences, has_sys_resource, json};

use super::chapter::{Example, Step};

/// The id in the manual.
const ID: &str = "box";

/// What is wrong with an example, if something is.
pub fn fault(example: &Example) -> Option<String> {
    let place = &example.place;
    let runc = !differences::refusals_name_the_key();
    if runc && example.notes.runc_differs {
        return None;
    }
    let bundle = bundle(example);
    let lacks = example.notes.needs.iter().find(|need| !has(need));
    let wrong = match lacks {
        // runc has no check.
        _ if runc && (lacks.is_some() || example.notes.check) => None,
        Some(need) => {
            eprintln!("{place}: only checked, as this machine does not have: {need}");
            complaints(&bundle, example)
        }
        None if example.steps.is_empty() => check(&bundle),
        None => differs(&bundle, &adapted(example, &example.steps)),
    };
    if bundle.state_root().join(bundle.id()).is_dir() {
        bundle.call(&["delete", "--force", bundle.id()]).ok();
    }
    let left = bundle.what_is_left();
    let wrong = wrong.or_else(|| (!left.is_empty()).then(|| format!("left behind: {left:?}")));
    wrong.map(|text| format!("docs: {place}: {text}"))
}

/// A busybox with the config of `spec` and the example's over it.
fn bundle(example: &Example) -> Bundle {
    let mut bundle = Bundle::busybox();
    let path = bundle.path();
    bundle.call(&["spec", "--bundle", path.to_str().unwrap()]).ok();
    let text = fs::read_to_string(path.join("config.json")).unwrap();
    bundle.config = serde_json::from_str(&text).unwrap();
    bundle.config["process"]["terminal"] = false.into();
    merge(&mut bundle.config, &example.config);
    if let Some(path) = bundle.config["linux"]["cgroupsPath"].as_str() {
        bundle.config["linux"]["cgroupsPath"] = path.replace(ID, bundle.id()).into();
    }
    if let (Some((files, _)), false) = (&example.notes.v1, cgroups::is_pure_v2()) {
        let files = files.iter().map(|file| format!("/sys/fs/cgroup/{file}"));
        bundle.config["process"]["args"] = std::iter::once("cat".to_owned()).chain(files).collect();
    }
    bundle.write_config();
    // As a person reads it, and sed.
    let text = serde_json::to_string_pretty(&bundle.config).unwrap();
    fs::write(path.join("config.json"), text).unwrap();
    bundle
}

/// As jq's `*`.
fn merge(config: &mut Value, over: &Value) {
    match (config, over) {
        (Value::Object(config), Value::Object(over)) => {
            for (name, value) in over {
                merge(config.entry(name).or_insert(Value::Null), value);
            }
        }
        (config, over) => *config = over.clone(),
    }
}

/// The commands as they are on this machine.
fn adapted(example: &Example, steps: &[Step]) -> Vec<Step> {
    match &example.notes.v1 {
        Some((_, values)) if !cgroups::is_pure_v2() => {
            vec![Step { command: format!("orlop run {ID}"), output: values.clone() }]
        }
        _ => steps.to_vec(),
    }
}

/// Runs the commands as a person would: in the directory of the bundle, one after the other. The
/// network and the mounts are their own, so that an example may make devices and mounts.
fn differs(bundle: &Bundle, steps: &[Step]) -> Option<String> {
    let named = |text: &str| -> String {
        let words = text.split(' ').map(|word| match word.trim_end_matches(['"', ')']) {
            ID => word.replacen(ID, bundle.id(), 1),
            _ => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let mut script = format!("cd {}\n", bundle.path().display());
    let mut expected = Vec::new();
    for step in steps {
        script.push_str(&named(&step.command));
        script.push('\n');
        expected.extend(step.output.iter().map(|line| timeless(&named(line))));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("exec 2>&1\n{script}")).env(MARKER, bundle.name());
    command.env("PATH", format!("{}:{}", bin(bundle), std::env::var("PATH").unwrap()));
    // Without an end, which a terminal would take for ^D.
    command.stdin(Stdio::piped());
    let out = Running::start(&mut command, bundle.dir()).wait();
    let printed: Vec<String> = out.stdout.lines().map(timeless).collect();
    let text =
        |lines: &[String]| lines.iter().map(|line| format!("\n    {line}")).collect::<String>();
    (printed != expected)
        .then(|| format!("expected{}\n  but it prints{}", text(&expected), text(&printed)))
}

/// A directory with an `orlop`: the runtime under test, with the state root of the bundle.
fn bin(bundle: &Bundle) -> String {
    let dir = bundle.scratch_dir("bin");
    let program = runtime::program_file();
    let root = bundle.state_root();
    let text = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", program.display(), root.display());
    write_program(&dir.join("orlop"), &text);
    dir.to_string_lossy().into_owned()
}

/// A line with nothing that is another one the next time: times, places in a file, and spaces at
/// the end.
fn timeless(line: &str) -> String {
    let mut line = line.split(" at line ").next().unwrap_or_default().trim_end().to_owned();
    for (before, after) in [("time=\"", '"'), ("\"time\":\"", '"')] {
        if let Some((head, rest)) = line.split_once(before)
            && let Some((_, tail)) = rest.split_once(after)
        {
            line = format!("{head}{before}…{after}{tail}");
        }
    }
    line
}

/// `check` has nothing to say.
fn check(bundle: &Bundle) -> Option<String> {
    let path = bundle.path();
    let out = bundle.call(&["check", "--bundle", path.to_str().unwrap()]);
    (out.status != 0).then(|| format!("check says:\n{}", out.stdout))
}

/// `check` speaks of nothing but what is in the example.
fn complaints(bundle: &Bundle, example: &Example) -> Option<String> {
    let path = bundle.path();
    let out = bundle.call(&["check", "--json", "--bundle", path.to_str().unwrap()]);
    let found: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {out:?}", example.place);
    });
    let others: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| {
            example.config.pointer(problem["pointer"].as_str().unwrap()).is_none()
                || problem["code"] == "bad-config"
                    && problem["rule"].as_str().unwrap().contains("schema")
        })
        .collect();
    (!others.is_empty()).then(|| format!("check says: {others:?}"))
}

/// Whether this machine has what an example needs.
fn has(need: &str) -> bool {
    let is_dir = |path: &str| Path::new(path).is_dir();
    match need.split_once(' ') {
        Some(("cgroup", controller)) => cgroups::has(controller),
        Some(("v2", controller)) => cgroups::is_pure_v2() && cgroups::has_v2(controller),
        Some(("file", path)) => Path::new(path).exists(),
        _ => match need {
            "numa" => Path::new("/proc/self/numa_maps").is_file(),
            "resctrl" => is_dir("/sys/fs/resctrl/info"),
            "no resctrl" => !is_dir("/sys/fs/resctrl/info"),
            "apparmor" => is_dir("/sys/kernel/security/apparmor"),
            "selinux" => Path::new("/sys/fs/selinux/enforce").is_file(),
            "sys_resource" => has_sys_resource(),
            "x86_64" => cfg!(target_arch = "x86_64"),
            "v1" => !cgroups::is_pure_v2(),
            "io" => cgroups::has_v1("blkio") || cgroups::has("io"),
            "swap" => swap_is_limited(),
            "bfq" => with_bfq(),
            // What listens at its socket.
            "an agent" => false,
            _ => panic!("nobody knows how to look for {need}"),
        },
    }
}

/// Whether the kernel counts swap for cgroups.
fn swap_is_limited() -> bool {
    let of_v1 = cgroups::v1_root("memory").map(|root| root.join("memory.memsw.limit_in_bytes"));
    of_v1.map_or_else(cgroups::is_pure_v2, |file| file.is_file())
}

/// Whether a disk shares its time by weights.
fn with_bfq() -> bool {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let schedulers = disks.map(|disk| fs::read_to_string(disk.path().join("queue/scheduler")));
    schedulers.flatten().any(|text| text.contains("[bfq]"))
}

#[test]
fn configs_are_merged_as_by_jq() {
    let mut config = json!({ "a": { "b": 1, "c": [1, 2] }, "d": true });
    merge(&mut config, &json!({ "a": { "c": [3] }, "e": { "f": null } }));
    assert_eq!(config, json!({ "a": { "b": 1, "c": [3] }, "d": true, "e": { "f": null } }));
}

#[test]
fn times_do_not_count() {
    assert_eq!(timeless("no bool at line 7 column 8"), "no bool");
    assert_eq!(timeless("time=\"2026\" level=error  "), "time=\"…\" level=error");
    assert_eq!(timeless("{\"time\":\"x\",\"code\":\"y\"}"), "{\"time\":\"…\",\"code\":\"y\"}");
}
