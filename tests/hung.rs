//! Hooks that never end, and filesystems that never answer: what is called meanwhile for that
//! container, and for all others, answers; and `delete --force` ends it all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::faults::at_once;
use crate::support::fuse::Fuse;
use crate::support::runtime::{Running, time_limit};
use crate::support::{Bundle, Value, eventually, json};

/// A hook that says so in the file `hung` of the scratch directory (or of the rootfs) and never
/// ends.
fn hung_hook(bundle: Bundle, moment: &str) -> Bundle {
    let mark =
        if moment == "startContainer" { PathBuf::from("/hung") } else { mark(&bundle, moment) };
    // The marker of the tests in its environment tells whose it is.
    let marker = format!("{}={}", crate::support::runtime::MARKER, bundle.name());
    let script = format!("echo x > {}; while :; do sleep 1000; done", mark.display());
    let hook: Value = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": [marker, "PATH=/bin:/usr/bin"] });
    bundle.push(&format!("/hooks/{moment}"), hook)
}

fn mark(bundle: &Bundle, moment: &str) -> PathBuf {
    if moment == "startContainer" || moment == "createContainer" {
        bundle.rootfs("hung")
    } else {
        bundle.scratch("hung")
    }
}

#[track_caller]
fn wait_for_hook(bundle: &Bundle, moment: &str) {
    let mark = mark(bundle, moment);
    assert!(eventually(Duration::from_secs(20), || mark.is_file()), "the {moment} hook runs");
}

/// Everybody is answered, within a time that somebody would wait.
#[track_caller]
fn answers(bundle: &Bundle, status: &str) {
    let state = at_once(|| bundle.verb("state")).ok();
    let state: Value = serde_json::from_str(&state.stdout).unwrap();
    assert_eq!(state["status"], status);
    let list = at_once(|| bundle.call(&["list"])).ok();
    assert!(list.stdout.contains(bundle.id()), "{list:?}");
}

#[track_caller]
fn deleted(bundle: &Bundle, caller: Running, says: &str) {
    at_once(|| bundle.call(&["delete", "--force", bundle.id()])).silent();
    caller.wait().refused().says(says);
    bundle.assert_nothing_left();
}

#[test]
fn a_create_whose_hook_never_ends_ends_by_force() {
    differs!();
    for moment in ["prestart", "createRuntime", "createContainer"] {
        let bundle = hung_hook(Bundle::busybox(), moment);
        let create = bundle.begin("create", &[]);
        wait_for_hook(&bundle, moment);
        answers(&bundle, "creating");
        if moment == "prestart" {
            bundle.verb("start").refused().says("busy");
        }
        let says = if moment == "createContainer" { "died" } else { "ended while the hook ran" };
        deleted(&bundle, create, says);
    }
}

#[test]
fn a_create_whose_hook_never_ends_ends_by_the_kill_of_its_init() {
    differs!();
    let bundle = hung_hook(Bundle::busybox(), "createRuntime");
    let create = bundle.begin("create", &[]);
    wait_for_hook(&bundle, "createRuntime");
    at_once(|| bundle.call(&["kill", bundle.id(), "KILL"])).silent();
    create.wait().refused().says("hook #0").says("ended while the hook ran");
    bundle.assert_nothing_left();
}

/// Without a pid namespace of the container's own, a hook in the container does not end with init.
#[test]
fn a_create_whose_hook_outlives_init_leaves_nothing() {
    differs!();
    let bundle = hung_hook(Bundle::busybox().without_namespace("pid"), "createContainer");
    let create = bundle.begin("create", &[]);
    wait_for_hook(&bundle, "createContainer");
    let state: Value = serde_json::from_str(&bundle.verb("state").ok().stdout).unwrap();
    let init = i32::try_from(state["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), Signal::SIGKILL).unwrap();
    create.wait().refused();
    bundle.assert_nothing_left();
}

#[test]
fn a_start_whose_hook_never_ends_ends_by_force() {
    differs!();
    let bundle = hung_hook(Bundle::busybox().args(["sleep", "100"]), "startContainer");
    bundle.try_create().ok();
    let start = bundle.start(&["start", bundle.id()]);
    wait_for_hook(&bundle, "startContainer");
    answers(&bundle, "created");
    at_once(|| bundle.call(&["delete", "--force", bundle.id()])).silent();
    // It may take the end for that of the program.
    start.wait();
    bundle.assert_nothing_left();
}

/// The program runs by then, so nobody waits for the hook but the one who started it.
#[test]
fn a_poststart_hook_that_never_ends_holds_up_nobody_else() {
    differs!();
    let bundle = hung_hook(Bundle::busybox().args(["sleep", "100"]), "poststart");
    bundle.try_create().ok();
    let start = bundle.start(&["start", bundle.id()]);
    wait_for_hook(&bundle, "poststart");
    answers(&bundle, "running");
    at_once(|| bundle.call(&["exec", bundle.id(), "true"])).silent();
    at_once(|| bundle.call(&["delete", "--force", bundle.id()])).silent();
    assert_eq!(bundle.state_names(), [""; 0]);
    drop(start);
    bundle.clean_up(); // of the hook
    bundle.assert_nothing_left();
}

/// The container is gone by then.
#[test]
fn a_poststop_hook_that_never_ends_holds_up_nobody_else() {
    let bundle = hung_hook(Bundle::busybox(), "poststop");
    bundle.try_create().ok();
    let delete = bundle.start(&["delete", bundle.id()]);
    wait_for_hook(&bundle, "poststop");
    at_once(|| bundle.verb("state")).refused().says("does not exist");
    at_once(|| bundle.call(&["delete", "--force", bundle.id()])).silent();
    delete.signal(Signal::SIGKILL);
    drop(delete);
    bundle.clean_up(); // of the hook
    bundle.assert_nothing_left();
}

fn with_source(bundle: Bundle, source: &Path) -> Bundle {
    bundle.push("/mounts", json!({ "destination": "/mnt", "source": source, "options": ["bind"] }))
}

#[test]
fn a_mount_source_that_hangs_ends_by_force() {
    differs!();
    needs!(Path::new("/dev/fuse").exists(), "FUSE");
    let bundle = Bundle::busybox();
    let at = bundle.scratch("fuse");
    let mut fuse = Fuse::mount(&at);
    let bundle = with_source(bundle, &at.join("directory"));
    let create = bundle.begin("create", &[]);
    let creating = || bundle.verb("state").stdout.contains("\"creating\"");
    assert!(eventually(Duration::from_secs(10), creating));
    std::thread::sleep(Duration::from_millis(100));
    answers(&bundle, "creating");
    at_once(|| bundle.call(&["delete", "--force", bundle.id()])).silent();
    create.wait().refused().says("died");
    fuse.end();
    bundle.assert_nothing_left();
}

/// A create that looks at the rootfs in vain has made nothing yet, and ends when it is told to.
#[test]
fn a_rootfs_that_hangs_holds_up_its_create_alone() {
    differs!();
    needs!(Path::new("/dev/fuse").exists(), "FUSE");
    let bundle = Bundle::busybox();
    let at = bundle.scratch("fuse");
    let mut fuse = Fuse::mount(&at);
    let bundle = bundle.set("/root/path", at.join("rootfs").to_str().unwrap());
    let create = bundle.begin("create", &[]);
    std::thread::sleep(Duration::from_millis(300));
    at_once(|| bundle.verb("state")).refused().says("does not exist");
    create.signal(Signal::SIGTERM);
    assert_eq!(at_once(|| create.wait()).status, 128 + 15);
    fuse.end();
    bundle.assert_nothing_left();
}

/// Not even SIGKILL ends a process whose request the server has taken. It is said that it does not
/// die, and once the server is gone all is.
#[test]
fn a_process_that_cannot_die_is_named() {
    differs!();
    needs!(Path::new("/dev/fuse").exists(), "FUSE");
    let bundle = Bundle::busybox();
    let at = bundle.scratch("fuse");
    let mut fuse = Fuse::mount(&at);
    let taken = fuse.take_requests();
    let bundle = with_source(bundle, &at.join("directory"));
    let create = bundle.begin("create", &[]);
    let creating = || bundle.verb("state").stdout.contains("\"creating\"");
    assert!(eventually(Duration::from_secs(10), creating));
    taken.recv_timeout(time_limit()).expect("a request");
    answers(&bundle, "creating");
    let begin = Instant::now();
    let out = bundle.call(&["delete", "--force", bundle.id()]);
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    out.refused().says("does not die of SIGKILL");
    fuse.end();
    create.wait().refused();
    at_once(|| bundle.call(&["delete", "--force", bundle.id()])).silent();
    bundle.assert_nothing_left();
}
