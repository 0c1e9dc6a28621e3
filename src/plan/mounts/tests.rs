use std::path::Path;

use super::{MountContext, MountSource, MountStep, OverProc, clean, decide, without_rootfs};
use crate::config;
use crate::host::cgroups::CgroupLayout;
use crate::plan::cgroup_mount::check_options;
use crate::plan::id_mappings::IdMappingsPlan;
use crate::plan::mount_options::SourceLink;
use crate::plan::{Host, Problems, namespaces};

fn steps(mounts: &str) -> (Vec<MountStep>, Problems) {
    let text = format!(r#"{{"mounts":{mounts},"linux":{{"namespaces":[{{"type":"mount"}}]}}}}"#);
    let config: config::Config<'_> = serde_json::from_str(&text).expect("a config");
    let mut problems = Problems::default();
    let namespaces = namespaces::decide(&config, &Host::for_tests(), &mut problems);
    let ids = IdMappingsPlan::default();
    let host = Host::for_tests();
    let around = MountContext {
        bundle: Path::new("/b"),
        rootfs: None,
        namespaces: &namespaces,
        ids: &ids,
        label: None,
        host: &host,
    };
    (decide(&config.mounts, &around, &mut problems), problems)
}

#[test]
fn the_rootfs_in_front_of_a_destination_is_left_out() {
    for (path, expected) in
        [("b/r/x/y", "x/y"), ("b/r", ""), ("b/rx", "b/rx"), ("x/b/r/y", "x/b/r/y"), ("b", "b")]
    {
        assert_eq!(without_rootfs(path.to_owned(), Some(Path::new("/b/./r/"))), expected);
        assert_eq!(without_rootfs(path.to_owned(), None), path);
    }
}

#[test]
fn destinations_are_cleaned() {
    for (path, expected) in
        [("/proc", "proc"), ("//a/./b/../c/", "a/c"), ("/../..", ""), ("x", "x")]
    {
        assert_eq!(clean(path), expected);
    }
}

#[test]
fn a_relative_bind_source_is_in_the_bundle() {
    let (steps, _) = steps(r#"[{"destination":"/x","source":"data","options":["rbind","ro"]}]"#);
    let expected =
        MountSource::Bind { path: "/b/data".into(), recursive: true, link: SourceLink::Follow };
    assert_eq!(steps.first().map(|step| &step.source), Some(&expected));
}

#[test]
fn long_values_go_by_mount() {
    let long = "x".repeat(300);
    let text = format!(
        r#"[{{"destination":"/o","type":"overlay","source":"overlay","options":["lowerdir={long}"]}},
            {{"destination":"/t","type":"tmpfs","source":"tmpfs","options":["size=1k"]}},
            {{"destination":"/s","type":"tmpfs","source":"tmpfs","options":["silent"]}}]"#
    );
    let by_mount: Vec<_> = steps(&text)
        .0
        .iter()
        .map(|step| matches!(step.source, MountSource::Filesystem { by_mount: Some(_), .. }))
        .collect();
    assert_eq!(by_mount, [true, false, true]);
}

#[test]
fn a_read_only_tmpfs_is_filled_first() {
    let (steps, _) = steps(
        r#"[{"destination":"/t","type":"tmpfs","options":["ro"]},{"destination":"/dev/","type":"tmpfs","options":["ro"]},
            {"destination":"/sys","type":"sysfs","options":["ro"]},{"destination":"/t2","type":"tmpfs"}]"#,
    );
    let late: Vec<_> = steps.iter().map(|step| step.read_only_late).collect();
    assert_eq!(late, [true, true, false, false]);
}

#[test]
fn only_listed_files_of_proc_may_be_covered() {
    let (steps, _) = steps(
        r#"[{"destination":"/proc","type":"proc"},{"destination":"/proc/../proc/meminfo","type":"bind","source":"m"},
            {"destination":"/proc/self/attr","type":"tmpfs"}]"#,
    );
    let over: Vec<_> = steps.iter().map(|step| step.over_proc).collect();
    assert_eq!(over, [OverProc::Itself, OverProc::Listed, OverProc::Never]);
}

#[test]
fn misuse_is_refused() {
    for (mounts, key) in [
        (
            r#"[{"destination":"/x","type":"bind","source":"/y","options":["bind","size=1"]}]"#,
            "/mounts/0/options",
        ),
        (r#"[{"destination":"/x","options":["bind"]}]"#, "/mounts/0/source"),
        (r#"[{"destination":"","type":"tmpfs"}]"#, "/mounts/0/destination"),
        (r#"[{"destination":"/x/..","type":"tmpfs"}]"#, "/mounts/0/destination"),
        (r#"[{"destination":"/x"}]"#, "/mounts/0/type"),
        (
            r#"[{"destination":"/x","type":"overlay","options":["upperdir=a,b","silent"]}]"#,
            "/mounts/0/options",
        ),
        (
            r#"[{"destination":"/x","type":"tmpfs","options":["remount","x=0,2"]}]"#,
            "/mounts/0/options",
        ),
        (
            r#"[{"destination":"/x","type":"tmpfs","options":["ro","idmap=uids=0-1-2"]}]"#,
            "/mounts/0/options/1",
        ),
        (
            r#"[{"destination":"/x","type":"tmpfs","options":["src-nofollow"]}]"#,
            "/mounts/0/options",
        ),
        (
            r#"[{"destination":"/x","type":"tmpfs","options":["dest-nofollow"]}]"#,
            "/mounts/0/options",
        ),
        (
            r#"[{"destination":"/x","source":"/y","options":["bind","copy-symlink","dest-nofollow"]}]"#,
            "/mounts/0/options",
        ),
        (
            r#"[{"destination":"/x","source":"/y","options":["bind","copy-symlink","src-nofollow"]}]"#,
            "/mounts/0/options/2",
        ),
    ] {
        let (_, problems) = steps(mounts);
        assert_eq!(
            problems.found().first().map(|problem| problem.key.as_str()),
            Some(key),
            "{mounts}"
        );
    }
}

#[test]
fn only_cgroup_v2_takes_options_for_the_filesystem() {
    let legacy = CgroupLayout::Legacy { hierarchies: Vec::new(), unified: None };
    let unified = CgroupLayout::Unified {
        mount: "/sys/fs/cgroup".into(),
        own: "/".into(),
        controllers: Vec::new(),
    };
    let mounts = r#"[{"destination":"/x","type":"cgroup","options":["ro","async","nsdelegate"]}]"#;
    let (steps, mut problems) = steps(mounts);
    check_options(&steps, &unified, &mut problems);
    assert!(problems.found().is_empty());
    check_options(&steps, &legacy, &mut problems);
    assert_eq!(problems.found().first().map(|problem| &*problem.key), Some("/mounts/0/options"));
}
