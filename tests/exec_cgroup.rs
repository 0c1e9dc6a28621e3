//! `exec`: the cgroup of the process, and containers that are paused.

use std::fs;
use std::path::PathBuf;

use crate::support::{Bundle, Container, cgroups, eventually, runtime};

fn run(bundle: Bundle) -> Container {
    bundle.args(["sleep", "600"]).run_detached()
}

/// The lines of /proc/self/cgroup of an exec'd process, seen from the host, with the path only.
#[track_caller]
fn paths(c: &Container, flags: &[&str]) -> Vec<(String, String)> {
    let flags: Vec<&str> = flags.iter().copied().chain(["-d", "--pid-file", "pid"]).collect();
    c.exec(&flags, &["sleep", "599"]).silent();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", c.bundle.read("pid"))).unwrap();
    let fields = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1).map(str::to_owned);
        (fields.next().unwrap(), fields.next().unwrap())
    };
    text.lines().map(fields).collect()
}

fn has(paths: &[(String, String)], controller: &str, end: &str) -> bool {
    paths
        .iter()
        .any(|(name, path)| name.split(',').any(|name| name == controller) && path.ends_with(end))
}

#[test]
fn the_process_is_in_the_containers_cgroup_in_every_hierarchy() {
    let c = run(Bundle::busybox());
    let own = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    for flags in [&[][..], &["--cgroup", "/"]] {
        for (controllers, path) in paths(&c, flags) {
            assert!(
                own.lines().any(|line| line.ends_with(&format!(":{controllers}:{path}"))),
                "{controllers} {path}"
            );
        }
    }
}

#[test]
fn a_bad_sub_cgroup_is_refused() {
    let c = run(Bundle::busybox());
    for flag in ["nosuch", "a/b"] {
        c.exec(&["--cgroup", flag], &["true"])
            .exec_refused()
            .says(" adding pid ")
            .because("o such file or directory");
    }
    if !cgroups::is_pure_v2() {
        c.exec(&["--cgroup", "devices:nosuch"], &["true"]).exec_refused().says(" adding pid ");
    }
    c.exec(&["--cgroup", "whaaat:/"], &["true"]).exec_refused().says("unknown controller ");
}

#[test]
fn a_sub_cgroup_is_one_and_below_the_containers() {
    differs!();
    let c = run(Bundle::busybox());
    for flag in ["..", "/..", "a/../.."] {
        c.exec(&["--cgroup", flag], &["true"]).exec_refused().says("bad sub cgroup path");
    }
    for flags in [
        &["--cgroup", "a", "--cgroup", "b"][..],
        &["--cgroup", ":a"],
        &["--cgroup", "pids:a", "--cgroup", "pids:b"],
    ] {
        c.exec(flags, &["true"]).exec_refused().says("invalid --cgroup argument");
    }
}

#[test]
fn a_sub_cgroup_is_joined_in_one_hierarchy() {
    needs!(cgroups::has_v1("pids") && cgroups::has_v1("devices"), "cgroup v1");
    let c = run(Bundle::busybox());
    fs::create_dir(cgroups::v1("pids", c.id()).join("sub")).unwrap();
    let paths = paths(&c, &["--cgroup", "pids:sub"]);
    assert!(has(&paths, "pids", &format!("/{}/sub", c.id())), "{paths:?}");
    assert!(has(&paths, "devices", &format!("/{}", c.id())), "{paths:?}");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

/// The container's directory in the v2 hierarchy as the machine sees it.
fn v2(c: &Container) -> PathBuf {
    cgroups::v2(c.id())
}

#[test]
fn a_sub_cgroup_is_joined_on_v2() {
    needs!(cgroups::v2_root().is_some(), "cgroup v2");
    let c = run(Bundle::busybox().on_cgroup_v2());
    fs::create_dir_all(v2(&c).join("sub/sub")).unwrap();
    let paths = paths(&c, &["--cgroup", "sub/sub"]);
    assert!(has(&paths, "", &format!("/{}/sub/sub", c.id())), "{paths:?}");
    c.exec(&["--cgroup", "nosuch"], &["true"]).exec_refused().because("o such file or directory");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

fn move_to(pid: i32, cgroup: PathBuf) {
    fs::create_dir_all(&cgroup).unwrap();
    fs::write(cgroup.join("cgroup.procs"), pid.to_string()).unwrap();
}

/// An init such as systemd moves itself below, and hands controllers down: no process can be where
/// it was.
#[test]
fn on_v2_the_cgroup_of_init_will_do() {
    let root = cgroups::v2_root();
    let controller = ["memory", "io", "hugetlb"].into_iter().find(|name| cgroups::has_v2(name));
    needs!(controller.is_some() && root.is_some(), "controller of whole processes on cgroup v2");
    let controller = format!("+{}", controller.unwrap());
    fs::write(root.unwrap().join("cgroup.subtree_control"), &controller).unwrap();
    let c = run(Bundle::busybox().on_cgroup_v2());
    move_to(c.pid(), v2(&c).join("foobar"));
    assert!(
        has(&paths(&c, &[]), "", &format!("/{}", c.id())),
        "the container's own still takes processes"
    );
    let pid = c.bundle.read("pid").parse().unwrap();
    move_to(pid, v2(&c).join("foobar"));
    fs::write(v2(&c).join("cgroup.subtree_control"), &controller).unwrap();
    let moved = paths(&c, &[]);
    assert!(has(&moved, "", &format!("/{}/foobar", c.id())), "{moved:?}");
    let out = c.exec(&["--cgroup", "/"], &["true"]).exec_refused();
    out.says(" adding pid ").says(" to cgroups").because("evice or resource busy");
}

/// Even when it is somewhere else altogether, and the container's own is gone.
#[test]
fn on_v2_the_cgroup_of_init_will_do_elsewhere() {
    needs!(cgroups::v2_root().is_some(), "cgroup v2");
    let c = run(Bundle::busybox().on_cgroup_v2().without_namespace("cgroup"));
    let elsewhere = v2(&c).with_file_name(format!("{}-elsewhere", c.id()));
    move_to(c.pid(), elsewhere.clone());
    fs::remove_dir(v2(&c)).unwrap();
    let moved = paths(&c, &[]);
    assert!(has(&moved, "", &format!("/{}-elsewhere", c.id())), "{moved:?}");
}

fn freezer(c: &Container) -> (PathBuf, &'static str, &'static str) {
    if cgroups::has_v1("freezer") {
        (cgroups::v1("freezer", c.id()).join("freezer.state"), "FROZEN", "THAWED")
    } else {
        (v2(c).join("cgroup.freeze"), "1", "0")
    }
}

#[test]
fn a_paused_container_is_refused_unless_that_is_ignored() {
    let c = run(Bundle::busybox());
    let (file, frozen, thawed) = freezer(&c);
    fs::write(&file, frozen).unwrap();
    c.wait_status("paused");
    let text = "cannot exec in a paused container (use --ignore-paused to override)";
    c.exec(&[], &["true"]).exec_refused().says(text);
    let running = c.start_exec(&["--ignore-paused"], &["sh", "-c", "echo thawed"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(runtime::read(&running.files.stdout), "");
    fs::write(&file, thawed).unwrap();
    assert_eq!(running.wait().ok().stdout, "thawed\n");
}

/// A runtime that is killed while its process waits takes it along.
#[test]
fn a_runtime_that_is_killed_leaves_no_process() {
    differs!();
    let c = run(Bundle::busybox());
    let (file, frozen, thawed) = freezer(&c);
    fs::write(&file, frozen).unwrap();
    c.wait_status("paused");
    let running = c.start_exec(&["--ignore-paused"], &["touch", "/ran"]);
    let begun = || c.bundle.processes().len() > 2;
    assert!(eventually(runtime::time_limit(), begun));
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.wait();
    fs::write(&file, thawed).unwrap();
    assert!(
        eventually(runtime::time_limit(), || c.bundle.processes() == [c.pid()]),
        "{:?}",
        c.bundle.processes()
    );
    assert!(!c.bundle.rootfs("ran").exists());
}
