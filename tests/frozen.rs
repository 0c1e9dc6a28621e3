//! A process on its way that cannot run, because it is frozen or stopped, is not waited for

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::faults::at_once;
use crate::support::runtime::{self, Running};
use crate::support::{Bundle, Container, Value, cgroups, eventually, json};

/// A cgroup in which containers are made, and which can be frozen. It is thawed and removed when
/// dropped.
struct Above {
    name: String,
    dir: PathBuf,
    /// The file, what freezes, and what thaws.
    freezer: [&'static str; 3],
}

impl Above {
    /// In the hierarchy that has the freezer here.
    fn of(bundle: &Bundle) -> Self {
        match cgroups::has_v1("freezer") {
            true => Self::new(
                bundle,
                cgroups::v1_root("freezer").unwrap(),
                ["freezer.state", "FROZEN", "THAWED"],
            ),
            false => Self::of_v2(bundle),
        }
    }

    fn of_v2(bundle: &Bundle) -> Self {
        Self::new(bundle, cgroups::v2_root().unwrap(), ["cgroup.freeze", "1", "0"])
    }

    fn new(bundle: &Bundle, root: PathBuf, freezer: [&'static str; 3]) -> Self {
        let name = format!("above-{}", bundle.id());
        let dir = root.join(&name);
        fs::create_dir(&dir).unwrap();
        Above { name, dir, freezer }
    }

    fn freeze(&self) {
        fs::write(self.dir.join(self.freezer[0]), self.freezer[1]).unwrap();
    }

    fn thaw(&self) {
        fs::write(self.dir.join(self.freezer[0]), self.freezer[2]).unwrap();
    }

    /// `linux.cgroupsPath` of a container in it.
    fn path(&self) -> String {
        format!("/{}/box", self.name)
    }

    /// The call is refused with the name of this cgroup.
    fn is_named(&self, output: runtime::Output) {
        output.says("frozen").says(&format!("/{} (", self.name));
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        self.thaw();
        for dir in [self.dir.join("box"), self.dir.clone()] {
            eventually(runtime::time_limit(), || fs::remove_dir(&dir).is_ok() || !dir.exists());
        }
    }
}

#[test]
fn no_container_is_made_below_a_frozen_cgroup() {
    differs!();
    let bundle = Bundle::busybox();
    let above = Above::of(&bundle);
    above.freeze();
    above.is_named(
        at_once(|| bundle.set("/linux/cgroupsPath", above.path()).refused())
            .names("linux.cgroupsPath"),
    );
    assert!(!above.dir.join("box").exists());
}

#[test]
fn no_container_is_made_below_a_frozen_cgroup_of_v2() {
    differs!();
    needs!(cgroups::v2_root().is_some(), "cgroup v2");
    for with_bootstrap in [false, true] {
        let mut bundle = Bundle::busybox().on_cgroup_v2();
        if with_bootstrap {
            let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            bundle = bundle
                .without_namespace("uts")
                .push("/linux/namespaces", json!({ "type": "user" }));
            bundle = bundle
                .push("/linux/namespaces", json!({ "type": "uts", "path": "/proc/self/ns/uts" }));
            bundle = bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
        }
        let above = Above::of_v2(&bundle);
        above.freeze();
        above.is_named(at_once(|| bundle.set("/linux/cgroupsPath", above.path()).refused()));
        assert!(!above.dir.join("box").exists());
    }
}

#[test]
fn a_frozen_cgroup_of_v1_is_refused() {
    needs!(cgroups::has_v1("freezer"), "freezer of cgroup v1");
    let bundle = Bundle::busybox();
    let above = Above::of(&bundle);
    fs::create_dir(above.dir.join("box")).unwrap();
    fs::write(above.dir.join("box/freezer.state"), "FROZEN").unwrap();
    let bundle = bundle.set("/linux/cgroupsPath", above.path());
    at_once(|| bundle.refused()).says("frozen");
    fs::write(above.dir.join("box/freezer.state"), "THAWED").unwrap();
}

#[test]
fn nothing_is_started_or_run_below_a_frozen_cgroup() {
    differs!();
    for v2 in [false, true] {
        if v2 && cgroups::v2_root().is_none() {
            continue;
        }
        let bundle = Bundle::busybox().args(["sleep", "600"]);
        let bundle = if v2 { bundle.on_cgroup_v2() } else { bundle };
        let above = if v2 { Above::of_v2(&bundle) } else { Above::of(&bundle) };
        let c = bundle.set("/linux/cgroupsPath", above.path()).create();
        above.freeze();
        above.is_named(at_once(|| c.verb("start")).refused());
        above.thaw();
        c.start();
        above.freeze();
        above.is_named(at_once(|| c.exec(&[], &["true"])).exec_refused());
        above.thaw();
        c.exec(&[], &["true"]).silent();
        c.delete_by_force();
        c.bundle.assert_nothing_left();
    }
}

/// Its init is let go and cannot hear it. What `start` gives up does not become the program later.
#[test]
fn a_start_whose_init_stays_stopped_is_given_up() {
    differs!();
    let c = Bundle::busybox().args(["touch", "/ran"]).create();
    kill(Pid::from_raw(c.pid()), Signal::SIGSTOP).unwrap();
    c.verb("start").refused().says("stopped");
    c.wait_status("stopped");
    assert!(!c.bundle.rootfs("ran").exists());
    c.delete();
    c.bundle.assert_nothing_left();
}

/// A container that was paused while `start` waits for its startContainer hook, which goes on when
/// there is a file /go; and that `start`.
fn paused_while_it_starts() -> (Container, Running) {
    let bundle = Bundle::busybox();
    let script = "echo x >/waits; until [ -e /go ]; do sleep 0.1; done";
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
    let c = bundle.push("/hooks/startContainer", hook).args(["touch", "/ran"]).create();
    let start = c.bundle.start(&["start", c.id()]);
    assert!(
        eventually(runtime::time_limit(), || c.bundle.rootfs("waits").exists()),
        "the hook runs"
    );
    c.verb("pause").ok();
    (c, start)
}

/// Who has paused it resumes it.
#[test]
fn a_start_that_is_paused_goes_on_when_it_is_resumed() {
    let (c, start) = paused_while_it_starts();
    fs::write(c.bundle.rootfs("go"), "").unwrap();
    assert_eq!(c.status(), "paused");
    c.verb("resume").ok();
    start.wait().ok();
    c.wait_status("stopped");
    assert!(c.bundle.rootfs("ran").exists());
}

/// Nobody resumes it. What `start` gives up does not become the program later.
#[test]
fn a_start_that_stays_paused_is_given_up() {
    differs!();
    let (c, start) = paused_while_it_starts();
    start.wait().refused().says("cannot start a container in the paused state");
    fs::write(c.bundle.rootfs("go"), "").unwrap();
    c.delete_by_force();
    assert!(!c.bundle.rootfs("ran").exists());
    c.bundle.assert_nothing_left();
}

/// A process that shares the pid namespace may do so, and nothing would ever let init go on.
#[test]
fn an_init_that_stays_stopped_is_given_up() {
    differs!();
    let bundle = Bundle::busybox();
    let waits = format!(
        "touch {0}/runs; while [ ! -e {0}/go ]; do sleep 0.1; done",
        bundle.dir().display()
    );
    let hook =
        json!({ "path": "/bin/sh", "args": ["sh", "-c", waits], "env": ["PATH=/bin:/usr/bin"] });
    let bundle = bundle.push("/hooks/createRuntime", hook);
    let create = bundle.begin("create", &[]);
    assert!(eventually(runtime::time_limit(), || bundle.scratch("runs").exists()), "the hook runs");
    let state: Value = serde_json::from_str(&bundle.verb("state").ok().stdout).unwrap();
    let init = i32::try_from(state["pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(init), Signal::SIGSTOP).unwrap();
    fs::write(bundle.scratch("go"), "").unwrap();
    create.wait().refused().says("stopped");
    bundle.assert_nothing_left();
}
