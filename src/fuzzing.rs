//! The functions that the targets in `fuzz/` call. They pass bytes to each parser, on a machine
//! that is always the same. Compiled only with `--cfg fuzzing`.
//!
//! No input may cause a panic or a hang. Other properties of every result are asserted.

use std::path::Path;

use crate::cgroup::{stats, systemd as bus};
use crate::container::StateFile;
use crate::host::cgroups::{CgroupLayout, Hierarchy};
use crate::host::extras::{self, Extras, Resctrl};
use crate::plan::cgroup::CgroupMaker;
use crate::plan::systemd::Manager;
use crate::plan::{Host, Plan, Request};
use crate::sync;
use crate::{resctrl, sys};

/// config.json to the plan, on one of the machines. The first problem of `check` must be the error
/// of `create`, and there must be none if `create` succeeds.
pub fn config(text: &[u8]) {
    let machines = machines();
    let (host, layout, systemd) = machines[text.len() % machines.len()].clone();
    let maker = systemd.map_or(CgroupMaker::Us, CgroupMaker::Systemd);
    let request = Request { id: "fuzz", bundle: Path::new("/bundle"), maker, ..Request::default() };
    let created = Plan::for_create(text, &request, &host, &layout);
    let review = Plan::review(text, &request, &host, &layout);
    let first = review.problems.first().map(ToString::to_string);
    assert_eq!(created.err().map(|error| error.to_string()), first);
}

/// A machine with cgroup v2, one where systemd makes the cgroups, and one with cgroup v1 and an
/// ordinary user.
fn machines() -> [(Host, CgroupLayout, Option<Manager>); 3] {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let controllers = words(&["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"]);
    let unified = CgroupLayout::Unified {
        mount: "/sys/fs/cgroup".into(),
        own: "/user.slice/a.scope".to_owned(),
        controllers,
    };
    let hierarchy = |names: &[&str]| Hierarchy {
        mount: Path::new("/sys/fs/cgroup").join(names.join(",")),
        controllers: words(names),
        own: "/a".to_owned(),
        root: "/".to_owned(),
        name: String::new(),
    };
    let hierarchies = vec![
        hierarchy(&["cpu", "cpuacct"]),
        hierarchy(&["memory"]),
        hierarchy(&["blkio"]),
        hierarchy(&["net_cls"]),
    ];
    let resctrl = Resctrl { mount: "/sys/fs/resctrl".into(), l3: true, mb: true };
    let root = Host {
        euid: 0,
        egid: 0,
        capabilities: u64::MAX,
        rootless: false,
        extras: Extras::known(&["apparmor", "selinux"], Some(resctrl)),
    };
    let user = Host {
        euid: 1000,
        egid: 1000,
        capabilities: 0,
        rootless: true,
        extras: Extras::known(&[], None),
    };
    let legacy = CgroupLayout::Legacy { hierarchies, unified: None };
    [
        (root.clone(), unified.clone(), None),
        (root, unified, Some(Manager::System)),
        (user, legacy, None),
    ]
}

/// Messages between our processes, and messages from systemd and the kernel.
pub fn wire(packet: &[u8]) {
    if let Ok(message) = sync::decode(packet, None) {
        let again = sync::encode(&message);
        let heard = sync::decode(&again, None);
        // A report is cut to fit, perhaps in the middle of a character.
        let cut = again.len() >= packet.len().max(4096);
        assert!(cut || heard.is_ok_and(|heard| format!("{heard:?}") == format!("{message:?}")));
    }
    bus::fuzz(packet);
    sys::netlink::fuzz(packet);
}

/// state.json, which must be read as it was written.
pub fn state(text: &[u8]) {
    let Ok(saved) = StateFile::parse(text) else { return };
    let written = serde_json::to_vec(&saved).unwrap_or_default();
    let again = StateFile::parse(&written).map(|saved| format!("{saved:?}"));
    assert_eq!(again.ok(), Some(format!("{saved:?}")));
}

/// /proc/PID/mountinfo and /proc/PID/cgroup, with the first NUL between them.
pub fn mountinfo(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (mounts, cgroup) = bytes.split_at(end);
    let layout = CgroupLayout::parse(mounts, cgroup.get(1..).unwrap_or_default());
    if let CgroupLayout::Legacy { hierarchies, .. } = &layout {
        hierarchies.iter().for_each(|found| assert!(!found.own_below_mount().starts_with('/')));
    }
    extras::mount_point(mounts, "resctrl");
    for mount in sys::mountinfo::mounts(mounts) {
        assert!(sys::mountinfo::find(mounts, mount.id).is_some());
        drop((mount.root(), mount.path()));
    }
}

/// The files of cgroups, of resctrl, and of /proc/PID/stat.
pub fn cgroup_files(bytes: &[u8]) {
    sys::proc::parse_stat(bytes);
    let text = String::from_utf8_lossy(bytes);
    stats::fuzz(&text);
    let (wanted, found) = text.split_once('\0').unwrap_or((&text, &text));
    resctrl::fuzz(wanted, found);
}
