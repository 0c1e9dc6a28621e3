//! Names in the config that become a part of a path of the kernel's, or of a line of ours: none
//! leads elsewhere, and none brings a second line along.
//!
//! Each test says how it was seen to fail.

use std::fs;
use std::path::Path;

use crate::support::differences::refuses_in_one_line;
use crate::support::{Bundle, cgroups, json};

/// Of a file's name, what leads out of its directory.
const ASTRAY: [&str; 6] = ["../x", "2MB/../../x", "/2MB", "..", "2MB\n", ""];

/// GHSA-5g49-rx9x-qfc6. The name is a part of `hugetlb.NAME.max`. Seen to fail with `is_page_size`
/// left out of `plan/resources.rs`: the path was the kernel's to refuse.
#[test]
fn a_page_size_is_no_path() {
    for size in ASTRAY {
        let limits = json!([{ "pageSize": size, "limit": 4_194_304 }]);
        let bundle = Bundle::busybox().set("/linux/resources", json!({ "hugepageLimits": limits }));
        bundle.on_cgroup_v2().refused().names("pageSize");
        let bundle = Bundle::busybox().set("/linux/resources", json!({ "hugepageLimits": limits }));
        bundle.refused().names("pageSize");
    }
}

/// As the page size. A cgroup beside the container's is not changed. Seen to fail with
/// `is_file_name` left out of `plan/resources/v2.rs`, where the setting of the other cgroup was
/// changed.
#[test]
fn a_unified_key_is_no_path() {
    needs!(cgroups::v2_root().is_some(), "cgroup v2");
    for key in [
        "../cgroup.max.depth",
        "/cgroup.max.depth",
        "x/../cgroup.max.depth",
        "..",
        ".",
        "",
        "cgroup.max.depth\n",
    ] {
        let bundle = Bundle::busybox().set("/linux/resources", json!({ "unified": { key: "7" } }));
        bundle.on_cgroup_v2().refused().names("unified");
    }
    let beside = Bundle::busybox().on_cgroup_v2().create();
    let file = cgroups::v2(beside.id()).join("cgroup.pressure");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let key = format!("../{}/cgroup.pressure", beside.id());
    let bundle = Bundle::busybox()
        .set("/linux/resources", json!({ "unified": { key: "0" } }))
        .on_cgroup_v2();
    bundle.refused().names("unified");
    assert_eq!(fs::read_to_string(file).unwrap_or_default(), before);
}

/// The cgroup is below the mount point, and a directory of cgroupfs. Seen to fail with the cleaning
/// of the path left out of `plan/cgroup.rs`.
#[test]
fn a_cgroups_path_leads_nowhere_else() {
    let here = Path::new("/tmp");
    for way in [
        "../../../../../../../..",
        "/../../../../../../../..",
        "/a/../../../../../../../../..",
        "./.././../../../../../..",
    ] {
        for on_v2 in [false, true] {
            let bundle = Bundle::busybox();
            let name = format!("{}-out", bundle.id());
            let bundle =
                bundle.set("/linux/cgroupsPath", format!("{way}{}/{name}", here.display()));
            let bundle = if on_v2 { bundle.on_cgroup_v2() } else { bundle };
            let mut bundle = bundle;
            // Elsewhere there is no cgroup to be in.
            bundle.run(["true"]).ok();
            assert!(!here.join(&name).exists(), "{way}");
            assert!(!Path::new("/sys").join(&name).exists(), "{way}");
            bundle.assert_nothing_left();
        }
    }
}

/// CVE-2025-52881 in its simplest form. Seen to fail with the question for empty parts left out of
/// `plan/sysctl.rs`, where the host's pattern was changed.
#[test]
fn a_sysctl_of_a_namespace_leads_to_no_other() {
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for name in [
        "net/../kernel/core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "net.ipv4.conf.../../../kernel.core_pattern",
        "fs.mqueue/../../kernel/core_pattern",
        "kernel.shmmax/../core_pattern",
        "net//../kernel/core_pattern",
        "net.",
        "net",
    ] {
        let out =
            Bundle::busybox().set("/linux/sysctl", json!({ name: "|/tmp/forged" })).try_create();
        out.refused();
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

/// What is reported of the container's is one line, without what a terminal would obey. Seen to
/// fail with the text written as it is, in `log.rs`.
#[test]
fn a_name_forges_no_line_of_the_log() {
    let forged = "/x\ntime=\"now\" level=info msg=\"all is well\"\u{1b}[2J";
    let bundle = |key: &str| Bundle::busybox().set(key, forged);
    let loud = bundle("/process/user/additionalGids/0");
    let link = Bundle::busybox().args(["/bin/forged"]);
    std::os::unix::fs::symlink(forged, link.rootfs("bin/forged")).unwrap();
    for bundle in [
        bundle("/process/args/0"),
        bundle("/process/cwd"),
        bundle("/mounts/0/destination"),
        loud,
        link,
    ] {
        let out = bundle.run_as_is();
        assert!(!out.stderr.contains('\u{1b}'), "{out:?}");
        assert!(!out.stderr.lines().any(|line| line.starts_with("time=\"now\"")), "{out:?}");
        assert!(out.stderr.lines().count() < 2 || !refuses_in_one_line(), "{out:?}");
    }
}
