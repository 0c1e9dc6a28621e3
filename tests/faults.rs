//! What the machine may refuse at any time: disk space, descriptors, processes, a state that can be
//! written, a state that can be read. Each time the error is one line that says what was refused,
//! and nothing is left.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::runtime::time_limit;
use crate::support::{Bundle, Container, Output, Value, cgroups, eventually, json};

/// A filesystem of its own in the place of a directory.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        // Only its owner may write to a state root.
        let options = format!("mode=700,{options}");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Disk(at.to_owned())
    }

    fn read_only(at: &Path) -> Self {
        let disk = Self::mount(at, "size=64k");
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>).unwrap();
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// It took nobody as long as one who waits for what does not come.
#[track_caller]
pub fn at_once<T>(call: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = call();
    assert!(begin.elapsed() < time_limit() * 4 / 15, "took {:?}", begin.elapsed());
    result
}

/// `create` was refused for this reason, or has worked. Nothing is left either way.
#[track_caller]
fn refused_or_fine(bundle: &Bundle, out: Output, reason: &str) -> bool {
    let refused = out.status != 0;
    if refused {
        out.refused().because(reason);
        assert_eq!(bundle.state_names(), [""; 0], "nothing is left of the state");
    } else {
        bundle.call(&["delete", "--force", bundle.id()]).silent();
    }
    refused
}

#[test]
fn a_full_state_directory_is_said_to_be_full() {
    differs!();
    let bundle = Bundle::busybox();
    let options = (1..12)
        .map(|inodes| format!("nr_inodes={inodes}"))
        .chain([4, 8, 12, 16].map(|k| format!("size={k}k")));
    let mut refusals = 0;
    for options in options {
        let disk = Disk::mount(&bundle.state_root(), &options);
        refusals +=
            usize::from(refused_or_fine(&bundle, bundle.try_create(), "no space left on device"));
        drop(disk);
        bundle.assert_nothing_left();
    }
    assert!(refusals >= 3, "{refusals} refusals");
}

#[test]
fn a_read_only_state_root_is_said_to_be_one() {
    let bundle = Bundle::busybox();
    let disk = Disk::read_only(&bundle.state_root());
    let out = bundle.try_create().refused().because("read-only file system");
    out.names(bundle.state_root().to_str().unwrap());
    drop(disk);
    bundle.assert_nothing_left();
}

#[test]
fn without_descriptors_it_is_said_that_there_are_none() {
    differs!();
    let mut refusals = 0;
    for limit in (4..40).step_by(if crate::support::soak() { 1 } else { 3 }) {
        let bundle =
            Bundle::busybox().remove("/process/rlimits").after(&format!("ulimit -n {limit}"));
        let out = at_once(|| bundle.run_as_is());
        if out.status != 0 {
            out.refused().because("too many open files");
            refusals += 1;
        }
        bundle.assert_nothing_left();
    }
    assert!(refusals >= 3, "{refusals} refusals");
}

/// RLIMIT_NPROC; root has no such limit.
#[test]
fn without_processes_it_is_said_that_there_are_none() {
    differs!();
    let bundle = Bundle::busybox()
        .by_user(4_200_017)
        .after("set -- prlimit --nproc=1:1 \"$@\"")
        .remove("/process/rlimits");
    at_once(|| bundle.try_create())
        .refused()
        .says("clone3")
        .because("resource temporarily unavailable");
    bundle.assert_nothing_left();
}

/// Whoever runs us may be at the limit of its own cgroup.
#[test]
fn a_full_cgroup_of_the_caller_is_an_error() {
    differs!();
    needs!(cgroups::has_v1("pids"), "cgroup v1 with a controller for processes");
    let bundle = Bundle::busybox();
    let root = Command::new("sh")
        .args(["-c", "grep -w pids /proc/mounts | cut -d' ' -f2"])
        .output()
        .unwrap();
    let group = Path::new(String::from_utf8(root.stdout).unwrap().trim())
        .join(format!("{}caller", bundle.name()));
    fs::create_dir(&group).unwrap();
    fs::write(group.join("pids.max"), "1").unwrap();
    // The shell is one process, and then the runtime.
    let bundle = bundle.after(&format!("echo $$ > {}/cgroup.procs", group.display()));
    let out = at_once(|| bundle.try_create());
    fs::remove_dir(&group).unwrap();
    out.refused().says("clone3").because("resource temporarily unavailable");
    bundle.assert_nothing_left();
}

fn state_file(c: &Container) -> PathBuf {
    c.bundle.state_root().join(c.id()).join("state.json")
}

/// Every verb that needs the state says that it cannot be read.
#[track_caller]
fn state_is_unreadable(c: &Container, what: &str) {
    let id = c.id();
    let verbs: [&[&str]; 8] = [
        &["state", id],
        &["start", id],
        &["kill", id, "KILL"],
        &["pause", id],
        &["resume", id],
        &["ps", id],
        &["delete", id],
        &["events", "--stats", id],
    ];
    for verb in verbs {
        at_once(|| c.bundle.call(verb)).refused().names("state.json");
    }
    at_once(|| c.exec(&[], &["true"])).exec_refused().names("state.json");
    let list = at_once(|| c.bundle.call(&["list"])).ok();
    assert!(!list.stdout.contains(id) && list.stderr.contains("state.json"), "{what}: {list:?}");
}

#[test]
fn a_state_that_cannot_be_read_is_an_error_and_can_be_put_right() {
    differs!();
    let c = Bundle::busybox().args(["sleep", "100"]).run_detached();
    let file = state_file(&c);
    let whole = fs::read_to_string(&file).unwrap();
    let of_runc = json!({ "id": c.id(), "cgroup_paths": { "memory": "/sys/fs/cgroup/memory/x" } })
        .to_string();
    let bad = ["", "{", &whole[..whole.len() / 2], "\0\0\0\0", "[]", "nonsense", &of_runc];
    for text in bad {
        fs::write(&file, text).unwrap();
        state_is_unreadable(&c, text);
    }
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::from_bits_truncate(0o600)).unwrap();
    state_is_unreadable(&c, "a fifo");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    state_is_unreadable(&c, "a directory");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, &whole).unwrap();
    assert_eq!(c.status(), "running");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

/// What a later version writes besides is passed over.
#[test]
fn a_state_with_more_in_it_is_read() {
    let c = Bundle::busybox().args(["sleep", "100"]).run_detached();
    let mut state: Value =
        serde_json::from_str(&fs::read_to_string(state_file(&c)).unwrap()).unwrap();
    state["of_the_future"] = json!({ "a": [1] });
    fs::write(state_file(&c), state.to_string()).unwrap();
    assert_eq!(c.status(), "running");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn a_fifo_is_never_waited_for() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "100"]);
    let fifo = bundle.scratch("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let name = fifo.to_str().unwrap();
    // As the place of the pid file it gives way to that.
    let bundle = bundle.flags(["--pid-file", name]);
    at_once(|| bundle.try_create()).ok();
    assert!(fs::metadata(&fifo).unwrap().is_file());
    bundle.call(&["delete", "--force", bundle.id()]).silent();
    bundle.assert_nothing_left();

    fs::remove_file(&fifo).unwrap();
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let other = Bundle::busybox().global(["--log", name]);
    at_once(|| other.try_create()).refused().names("--log");
    let other = Bundle::busybox()
        .without_namespace("uts")
        .push("/linux/namespaces", json!({ "type": "uts", "path": name }));
    at_once(|| other.remove("/hostname").refused()).names("linux.namespaces[");
    let other = Bundle::busybox();
    symlink(&fifo, other.path().join("config.json")).unwrap();
    let path = other.path();
    let out = at_once(|| other.call(&["create", "--bundle", path.to_str().unwrap(), other.id()]));
    out.refused().names("config.json");
    other.assert_nothing_left();
}

/// Whoever asks for the state of a frozen container knocks at a gate where nobody answers.
#[test]
fn a_frozen_container_keeps_nobody_waiting() {
    needs!(cgroups::has("freezer") || cgroups::is_pure_v2(), "freezer");
    for begin in [Bundle::create, Bundle::run_detached] {
        let c = begin(Bundle::busybox().args(["sleep", "100"]));
        c.verb("pause").silent();
        for _ in 0..30 {
            assert_eq!(at_once(|| c.status()), "paused");
        }
        at_once(|| c.verb("start")).refused();
        at_once(|| c.verb("pause")).refused();
        at_once(|| c.exec(&[], &["true"])).exec_refused();
        if cgroups::has("pids") {
            at_once(|| c.bundle.call(&["update", "--pids-limit", "100", c.id()])).ok();
        }
        at_once(|| c.verb("delete")).refused();
        c.verb("resume").silent();
        assert_ne!(c.status(), "paused");
        c.verb("pause").silent();
        at_once(|| c.delete_by_force());
        c.bundle.assert_nothing_left();
    }
}

/// A container that is created and frozen, then thawed, finds those who asked meanwhile gone, and
/// starts.
#[test]
fn a_thawed_container_starts() {
    needs!(cgroups::has("freezer") || cgroups::is_pure_v2(), "freezer");
    let c = Bundle::busybox().args(["echo", "here"]).create();
    c.verb("pause").silent();
    for _ in 0..30 {
        c.status();
    }
    c.verb("resume").silent();
    at_once(|| c.start());
    c.wait_for("here");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

/// Somebody has moved the processes away and removed the cgroup.
#[test]
fn a_cgroup_that_has_vanished_stops_nobody() {
    differs!();
    let c = Bundle::busybox().args(["sleep", "100"]).run_detached();
    let pid = c.pid().to_string();
    let mut elsewhere = Vec::new();
    for group in cgroups::named(c.id()) {
        let parent = group.parent().unwrap();
        if fs::write(parent.join("cgroup.procs"), &pid).is_err() {
            // On v2 one that has controllers below has no processes of its own.
            let sibling = parent.join(format!("elsewhere-{pid}"));
            fs::create_dir(&sibling).unwrap();
            fs::write(sibling.join("cgroup.procs"), &pid).unwrap();
            elsewhere.push(sibling);
        }
        fs::remove_dir(&group).unwrap();
    }
    assert_eq!(at_once(|| c.status()), "running");
    at_once(|| c.verb("pause")).refused().names(c.id()).because("no such file or directory");
    at_once(|| c.verb("ps")).ok();
    if cgroups::has("pids") {
        let update = at_once(|| c.bundle.call(&["update", "--pids-limit", "100", c.id()]));
        update.refused().because("no such file or directory");
    }
    at_once(|| c.bundle.call(&["events", "--stats", c.id()]));
    at_once(|| c.exec(&[], &["true"]));
    at_once(|| c.delete_by_force());
    for group in elsewhere {
        assert!(eventually(time_limit(), || fs::remove_dir(&group).is_ok()));
    }
    c.bundle.assert_nothing_left();
}

#[test]
fn a_console_that_nobody_attends_is_an_error() {
    let bundle = Bundle::busybox().set("/process/terminal", true).args(["sh"]);
    let path = bundle.scratch("console");
    let create = || {
        at_once(|| bundle.begin("create", &["--console-socket", path.to_str().unwrap()]).wait())
            .refused()
    };
    create().names("--console-socket").because("no such file or directory");
    drop(UnixListener::bind(&path).unwrap());
    create().names("--console-socket").because("connection refused");
    bundle.assert_nothing_left();
}

/// The queue of one who listens, and takes nobody, is full.
#[test]
fn a_console_with_a_full_queue_is_an_error() {
    let bundle = Bundle::busybox().set("/process/terminal", true).args(["sh"]);
    let path = bundle.scratch("console");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let out =
        at_once(|| bundle.begin("create", &["--console-socket", path.to_str().unwrap()]).wait());
    out.refused().names("--console-socket").because("resource temporarily unavailable");
    drop(first);
    bundle.assert_nothing_left();
}
