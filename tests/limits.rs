//! Every property of `linux.resources`: what config.json or `update` gives is what the kernel has
//! then, on both versions of cgroups and with both drivers. A table, held against the schema. What
//! this machine's kernel lacks is skipped, and said; between the machines that the tests run on,
//! nothing is.

use std::path::PathBuf;

use crate::field_map::schema_keys;
use crate::support::limits::{Limit, Place, table};
use crate::support::{Bundle, Container, cgroups, json, systemd};

/// Properties that have no file, and what shows that they do what they shall.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "linux.resources.blockIO.leafWeight",
        "refused: field_map, plan::resources::tests::block_devices",
    ),
    (
        "linux.resources.blockIO.weightDevice[].leafWeight",
        "refused: plan::resources::tests::block_devices",
    ),
    ("linux.resources.devices[].access", "cgroup_devices"),
    ("linux.resources.devices[].allow", "cgroup_devices"),
    ("linux.resources.devices[].major", "cgroup_devices"),
    ("linux.resources.devices[].minor", "cgroup_devices"),
    ("linux.resources.devices[].type", "cgroup_devices"),
    (
        "linux.resources.memory.checkBeforeUpdate",
        "limits::a_limit_below_the_usage_is_refused_if_that_is_to_be_checked",
    ),
    ("linux.resources.memory.kernel", "ignored: cgroup::obsolete_memory_limits_are_ignored"),
    ("linux.resources.memory.kernelTCP", "ignored: cgroup::obsolete_memory_limits_are_ignored"),
    ("linux.resources.memory.useHierarchy", "ignored: cgroup::obsolete_memory_limits_are_ignored"),
    ("linux.resources.network.classID", "limits::networks_have_classes_and_priorities"),
    ("linux.resources.network.priorities[].name", "limits::networks_have_classes_and_priorities"),
    (
        "linux.resources.network.priorities[].priority",
        "limits::networks_have_classes_and_priorities",
    ),
];

/// Where the cgroups of a container are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// In the hierarchies of v1, one for each controller.
    V1,
    /// In that of v2; in a private view of the machine if it has v1 as well.
    V2,
}

impl Layout {
    fn places(self, limit: &Limit) -> &[Place] {
        if self == Self::V1 { &limit.v1 } else { &limit.v2 }
    }

    /// The directory with the file, if there is the controller.
    fn dir(self, file: &str, name: &str) -> Option<PathBuf> {
        let controller = match (file.split('.').next().unwrap(), self) {
            ("cgroup", Self::V2) => return Some(cgroups::v2(name)),
            (controller, _) => controller,
        };
        match self {
            Self::V1 => cgroups::has_v1(controller).then(|| cgroups::v1(controller, name)),
            Self::V2 => cgroups::has_v2(controller).then(|| cgroups::v2(name)),
        }
    }

    /// A layout of this machine, in which its containers are without being told to.
    fn here() -> Self {
        if cgroups::is_pure_v2() { Self::V2 } else { Self::V1 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    Cgroupfs,
    Systemd,
}

/// How a container gets its limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Create,
    Update,
}

fn bundle(layout: Layout, driver: Driver) -> Bundle {
    match (driver, layout) {
        (Driver::Systemd, _) => systemd::bundle(),
        // At the top, where there is realtime to be given away.
        (Driver::Cgroupfs, Layout::V1) => {
            let bundle = Bundle::busybox();
            let path = format!("/{}", bundle.id());
            bundle.set("/linux/cgroupsPath", path)
        }
        (Driver::Cgroupfs, Layout::V2) => Bundle::busybox().on_cgroup_v2(),
    }
}

/// The name of the cgroup.
fn name(bundle: &Bundle, driver: Driver) -> String {
    match driver {
        Driver::Cgroupfs => bundle.id().to_owned(),
        Driver::Systemd => systemd::unit(bundle),
    }
}

/// Gives containers the limits, and reads them back.
#[track_caller]
fn hold(layout: Layout, driver: Driver, way: Way, wanted: impl Fn(&Limit) -> bool) {
    let plain = bundle(layout, driver).args(["sleep", "600"]).create();
    let has = |file: &str| {
        layout.dir(file, &name(&plain.bundle, driver)).is_some_and(|dir| dir.join(file).exists())
    };
    let (mut wrong, mut held) = (Vec::new(), 0);
    for limit in table().into_iter().filter(wanted) {
        // Of each place the file that there is here.
        let places: Vec<_> = layout.places(&limit).iter().collect();
        let lacking = places.iter().find(|Place(files)| !files.iter().any(|(file, _)| has(file)));
        if places.is_empty() {
            continue;
        }
        if let Some(Place(files)) = lacking {
            eprintln!("skipped {}: this machine has no {}", limit.resources, files[0].0);
            continue;
        }
        let c = limited(&limit, layout, driver, way);
        // systemd writes what it knows anew when it likes.
        let times: &[&str] = if driver == Driver::Systemd && limit.lasts {
            &["", " after daemon-reload"]
        } else {
            &[""]
        };
        for time in times {
            for Place(files) in &places {
                let here: Vec<_> = files.iter().filter(|(file, _)| has(file)).collect();
                let content = |file: &str| {
                    cgroups::value(&layout.dir(file, &name(&c.bundle, driver)).unwrap(), file)
                };
                let holds = |(file, value): &&(&str, String)| {
                    let content = content(file);
                    content == *value || content.lines().any(|line| line == value)
                };
                if !here.iter().any(holds) {
                    let (file, value) = here[0];
                    wrong.push(format!(
                        "{}: {file} is {:?}, not {value:?}{time}",
                        limit.resources,
                        content(file)
                    ));
                }
            }
            if times.len() > 1 && time.is_empty() {
                systemd::reload();
            }
        }
        held += 1;
        c.delete_by_force();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(held > 0, "this machine has nothing of the table");
}

#[track_caller]
fn limited(limit: &Limit, layout: Layout, driver: Driver, way: Way) -> Container {
    let bundle = bundle(layout, driver).args(["sleep", "600"]);
    if way == Way::Create {
        return bundle.set("/linux/resources", limit.resources.clone()).create();
    }
    let c = bundle.create();
    c.start();
    let file = c.bundle.scratch("resources.json");
    std::fs::write(&file, limit.resources.to_string()).unwrap();
    c.bundle.call(&["update", "--resources", file.to_str().unwrap(), c.id()]).ok();
    c
}

#[test]
fn every_property_is_in_the_table() {
    let table = table();
    // Some are for devices that not every machine has.
    let absent = ["blockIO.throttle", "blockIO.weightDevice", "rdma"]
        .map(|part| format!("linux.resources.{part}"));
    let keys = schema_keys();
    let is_leaf = |key: &str| {
        !keys.iter().any(|other| {
            other.starts_with(&format!("{key}.")) || other.starts_with(&format!("{key}[]"))
        })
    };
    let of_resources =
        keys.iter().filter(|key| key.starts_with("linux.resources.") && is_leaf(key));
    let shown = |key: &str| {
        table.iter().any(|limit| limit.keys.iter().any(|shown| shown == key))
            || ELSEWHERE.iter().any(|(other, _)| *other == key)
            || absent.iter().any(|part| key.starts_with(part))
    };
    let missing: Vec<_> = of_resources.filter(|key| !shown(key)).collect();
    assert!(missing.is_empty(), "nothing shows that the kernel gets {missing:#?}");
    let named = table.iter().flat_map(|limit| limit.keys.iter().map(String::as_str));
    let unknown: Vec<_> = named
        .chain(ELSEWHERE.iter().map(|(key, _)| *key))
        .filter(|key| !keys.contains(*key))
        .collect();
    assert!(unknown.is_empty(), "the schema has no {unknown:?}");
}

#[test]
fn limits_are_set() {
    hold(Layout::here(), Driver::Cgroupfs, Way::Create, |limit| limit.runc);
}

#[test]
fn limits_that_runc_lacks_are_set() {
    differs!();
    hold(Layout::here(), Driver::Cgroupfs, Way::Create, |limit| !limit.runc);
}

#[test]
fn limits_are_set_on_v2() {
    needs!(cgroups::has_both(), "cgroup v1 and v2");
    hold(Layout::V2, Driver::Cgroupfs, Way::Create, |limit| limit.runc);
}

#[test]
fn limits_are_updated() {
    differs!();
    hold(Layout::here(), Driver::Cgroupfs, Way::Update, |_| true);
}

#[test]
fn limits_are_updated_on_v2() {
    differs!();
    needs!(cgroups::has_both(), "cgroup v1 and v2");
    hold(Layout::V2, Driver::Cgroupfs, Way::Update, |_| true);
}

#[test]
fn limits_are_set_with_systemd() {
    needs!(systemd::runs(), "systemd");
    hold(Layout::here(), Driver::Systemd, Way::Create, |limit| limit.runc);
}

#[test]
fn limits_that_runc_lacks_are_set_with_systemd() {
    differs!();
    needs!(systemd::runs(), "systemd");
    hold(Layout::here(), Driver::Systemd, Way::Create, |limit| !limit.runc);
}

#[test]
fn limits_are_updated_with_systemd() {
    differs!();
    needs!(systemd::runs(), "systemd");
    hold(Layout::here(), Driver::Systemd, Way::Update, |_| true);
}

/// The controllers of v1 that are mounted nowhere here are, for one container and where it looks
/// from.
#[test]
fn networks_have_classes_and_priorities() {
    differs!();
    const ENTER: &str = "mount -t cgroup -o net_cls,net_prio none /mnt";
    let mount =
        std::process::Command::new("unshare").args(["-m", "sh", "-c", ENTER]).output().unwrap();
    needs!(mount.status.success() && !cgroups::is_pure_v2(), "network controllers of cgroup v1");
    let network = json!({ "classID": 1_048_577, "priorities": [{ "name": "lo", "priority": 5 }] });
    let mut bundle = Bundle::busybox().after(ENTER).set("/linux/resources/network", network);
    let (path, directory) = (format!("/{}", bundle.id()), format!("/mnt/{}", bundle.id()));
    bundle = bundle.set("/linux/cgroupsPath", path);
    let read =
        format!("cat {directory}/net_cls.classid; grep '^lo ' {directory}/net_prio.ifpriomap");
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("{{ {read}; }} > {}", bundle.scratch("seen").display())] }]);
    bundle = bundle.set("/hooks/createRuntime", hook);
    bundle.run(["true"]).ok();
    assert_eq!(bundle.read("seen"), "1048577\nlo 5\n");
}

#[test]
fn a_limit_below_the_usage_is_refused_if_that_is_to_be_checked() {
    differs!();
    needs!(cgroups::has("memory"), "memory controller");
    let c = Bundle::busybox()
        .script("dd if=/dev/zero of=/dev/eight bs=1M count=8; echo ready; sleep 600")
        .create();
    c.start();
    c.wait_for("ready");
    let before = cgroups::value_of(&c, "memory", "memory.limit_in_bytes", "memory.max");
    let file = c.bundle.scratch("resources.json");
    std::fs::write(&file, r#"{"memory":{"limit":1048576,"checkBeforeUpdate":true}}"#).unwrap();
    c.bundle.call(&["update", "--resources", file.to_str().unwrap(), c.id()]).refused();
    assert_eq!(cgroups::value_of(&c, "memory", "memory.limit_in_bytes", "memory.max"), before);
    assert_eq!(c.status(), "running");
}

#[test]
fn a_container_has_no_more_cpu_time_than_its_quota() {
    needs!(cgroups::has("cpu"), "cpu controller");
    let quota = json!({ "quota": 10_000, "period": 100_000 });
    let c = Bundle::busybox()
        .set("/linux/resources/cpu", quota)
        .script("echo ready; while :; do :; done")
        .create();
    c.start();
    c.wait_for("ready");
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", c.pid())).unwrap();
        stat.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let (began, before) = (std::time::Instant::now(), used());
    std::thread::sleep(std::time::Duration::from_secs(2));
    let (after, passed) = (used(), began.elapsed().as_nanos() as f64);
    let share = (after - before) / passed;
    // A tenth; a period at either end may count in full.
    assert!(share > 0.005 && share < 0.2, "{share}");
}

/// What is needed to execute a program at all, and little more.
#[test]
fn a_container_starts_with_512_kib_of_memory() {
    differs!();
    needs!(cgroups::has("memory"), "memory controller");
    let mut bundle = Bundle::busybox().set("/linux/resources/memory/limit", 512 << 10);
    assert_eq!(bundle.run(["echo", "small"]).ok().line(), "small");
}
