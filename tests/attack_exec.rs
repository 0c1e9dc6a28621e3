//! A container lies in wait for the processes that `exec` sends into it.
//!
//! Each test says how it was seen to fail.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::attack::rounds;
use crate::support::{Bundle, Container, config, json, runtime, userland};

/// Up from wherever a descriptor leads to, as far as the root of what it is in.
const UP: &str = "/../../../../../../../../../../../../../../..";

/// A container whose processes look at all others but themselves: whether a path of the host is
/// behind their root or behind one of their descriptors, and whether a secret is in their
/// environment.
fn spying(bundle: Bundle, capabilities: &[&str]) -> Container {
    let bundle = bundle.env("SECRET", "the-treasure-is-below-the-palm");
    fs::write(bundle.scratch("treasure"), "gold").unwrap();
    let treasure = bundle.scratch("treasure").display().to_string();
    let script = format!(
        "look() {{ [ -e $1/root{treasure} ] && echo the root leads out
           for fd in $1/fd/*; do [ -e $fd{UP}{treasure} ] && echo a descriptor leads out; done
           read -r text <$1/environ; case $text in *palm*) echo the environment is known; esac; }}
         cd /proc; echo ready
         while :; do for p in [0-9]*; do [ $p = 1 ] || look $p 2>/dev/null; done; done"
    );
    let c = bundle
        .set("/process/capabilities", config::capabilities(capabilities))
        .script(&script)
        .run_detached();
    c.wait_for("ready\n");
    c
}

#[track_caller]
fn sees_nothing(c: &Container) {
    for _ in 0..rounds(40, 1000) {
        c.exec(&[], &["true"]).silent();
    }
    assert_eq!(c.stdout(), "ready\n", "seen from inside");
}

/// CVE-2016-9962. Seen to fail while such a process was born on the host (see below), with
/// `set_dumpable(false)` left out of `runtime/join.rs`.
#[test]
fn a_container_cannot_look_into_a_process_on_its_way_in() {
    sees_nothing(&spying(Bundle::busybox(), &["CAP_KILL"]));
}

/// In a user namespace whoever is in it has all rights over the process, once that is, too. Seen to
/// fail with both `set_dumpable(false)` left out.
#[test]
fn a_container_cannot_look_into_a_process_on_its_way_into_a_user_namespace() {
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": "user" }));
    let bundle = bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
    let all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    sees_nothing(&spying(bundle, &all));
}

/// The same, by somebody whom being non-dumpable does not keep off
/// (`docker run --cap-add SYS_PTRACE`). Seen to fail while such a process was born in the pid
/// namespace before it had joined the rest: nearly every `exec` showed the host's root, the state
/// directory and the cgroup's.
#[test]
fn a_container_that_may_trace_finds_nothing_of_the_host_in_a_process_on_its_way_in() {
    sees_nothing(&spying(Bundle::busybox(), &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]));
}

/// The same of another container's init that joins a user and a pid namespace, where it is seen
/// from its birth, long before it has a root of its own. Seen to fail with `set_dumpable(false)`
/// left out of `bootstrap.rs`.
#[test]
fn a_container_cannot_look_into_an_init_that_joins_its_namespaces() {
    differs!();
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = Bundle::busybox().push("/linux/namespaces", json!({ "type": "user" }));
    let bundle = bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
    let all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let c = spying(bundle, &all);
    let mut joining = Bundle::busybox().without_namespace("pid");
    for kind in ["user", "pid"] {
        let namespace = json!({ "type": kind, "path": format!("/proc/{}/ns/{kind}", c.pid()) });
        joining = joining.push("/linux/namespaces", namespace);
    }
    for _ in 0..rounds(40, 1000) {
        joining.run(["true"]).silent();
    }
    assert_eq!(c.stdout(), "ready\n", "seen from inside");
}

/// A copy of the runtime that this test alone uses.
fn with_a_runtime_of_its_own(bundle: Bundle) -> (Bundle, std::path::PathBuf, Vec<u8>) {
    let file = bundle.scratch("runtime");
    userland::copy_program(&runtime::program_file(), &file);
    let before = fs::read(&file).unwrap();
    (bundle.program(file.clone()), file, before)
}

/// CVE-2019-5736, by somebody who has every right to do it: he may trace, override permissions and
/// mount. While the program runs the kernel lets nobody write to it, so he keeps a handle for
/// later. Seen to fail with `self_exe::seal` left out of `sys/early.rs`. `command exec`: the shell
/// would end if the process is gone when its file is opened.
#[test]
fn a_privileged_container_cannot_overwrite_the_program_of_the_runtime() {
    let (bundle, file, before) = with_a_runtime_of_its_own(Bundle::busybox());
    let all = [
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_CHOWN",
    ];
    let script = "cd /proc; echo ready
         while :; do for p in [0-9]*; do
           case $(readlink $p/exe) in ''|/bin/busybox) ;; *) command exec 4<$p/exe && break 2;; esac
         done 2>/dev/null; done
         echo caught; sleep 1
         mount -o remount,rw,bind /proc/self/fd/4; mount -o remount,rw /proc/self/fd/4
         chmod 777 /proc/self/fd/4; echo gotcha >/proc/self/fd/4; echo over";
    let c = bundle
        .set("/process/capabilities", config::capabilities(&all))
        .script(script)
        .run_detached();
    c.wait_for("ready\n");
    for _ in 0..200 {
        c.exec(&[], &["true"]).silent();
        if c.stdout().contains("caught\n") {
            break;
        }
    }
    c.wait_for("caught\n");
    c.wait_for("over\n");
    assert!(fs::read(&file).unwrap() == before, "the program has changed");
}

/// CVE-2019-5736 as it was published: the interpreter of the entrypoint is the runtime's own
/// program, by `run` and by `exec`; somebody in the container meanwhile takes a handle. Seen to
/// fail as the one above.
#[test]
fn an_entrypoint_whose_interpreter_is_the_runtime_does_not_change_it() {
    let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"];
    let bundle = Bundle::busybox().set("/process/capabilities", config::capabilities(&all));
    let (bundle, file, before) = with_a_runtime_of_its_own(bundle);
    userland::write_program(&bundle.rootfs("bin/entry"), "#!/proc/self/exe\n");
    symlink("/proc/self/exe", bundle.rootfs("bin/again")).unwrap();
    let mut bundle = bundle;
    for program in ["/bin/entry", "/bin/again"] {
        bundle.run([program]);
        bundle.assert_nothing_left();
    }
    let watch = "cd /proc; echo ready; while :; do for p in [0-9]*; do [ $p = 1 ] || command exec 4<$p/exe; \
                 (: >>/proc/self/fd/4) && echo gotcha >>/proc/self/fd/4 && echo $p; done 2>/dev/null; done";
    let c = bundle.script(watch).run_detached();
    c.wait_for("ready\n");
    for program in ["/bin/entry", "/bin/again"].repeat(rounds(5, 100)) {
        c.exec(&[], &[program]);
    }
    c.delete_by_force();
    assert!(fs::read(&file).unwrap() == before, "the program has changed");
}
