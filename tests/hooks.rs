//! `hooks`

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Bundle, Value, host_namespace, json, link};

/// Those that run before `create` returns.
pub const OF_CREATE: &[&str] = &["prestart", "createRuntime", "createContainer"];

fn shell(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

/// A bundle with this script as its hook; `LOG` in it is a file that hooks on both sides of the
/// pivot can write.
pub fn with_hook(bundle: Bundle, kind: &str, script: &str) -> Bundle {
    let log = if kind == "startContainer" { "/log".into() } else { bundle.rootfs("log") };
    let script = script.replace("LOG", log.to_str().unwrap());
    bundle.push(&format!("/hooks/{kind}"), shell(&script))
}

pub fn hooked(kind: &str, script: &str) -> Bundle {
    with_hook(Bundle::busybox(), kind, script)
}

pub fn log(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.rootfs("log")).unwrap_or_default()
}

fn log_lines(bundle: &Bundle) -> Vec<String> {
    log(bundle).lines().map(str::to_owned).collect()
}

fn with_all_hooks() -> Bundle {
    let mut bundle = Bundle::busybox();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststop"] {
        bundle = with_hook(bundle, kind, &format!("echo {kind} 0 >> LOG"));
        bundle = with_hook(bundle, kind, &format!("echo {kind} 1 >> LOG"));
    }
    bundle
}

#[test]
fn hooks_run_in_order_each_at_its_moment() {
    let c = with_all_hooks().args(["sh", "-c", "echo program >> /log"]).create();
    let mut expected: Vec<String> = Vec::new();
    expected.extend(OF_CREATE.iter().flat_map(|kind| [format!("{kind} 0"), format!("{kind} 1")]));
    assert_eq!(log_lines(&c.bundle), expected, "after create");
    c.finish();
    expected.extend(["startContainer 0", "startContainer 1", "program"].map(str::to_owned));
    assert_eq!(log_lines(&c.bundle), expected, "after start");
    c.delete();
    expected.extend(["poststop 0", "poststop 1"].map(str::to_owned));
    assert_eq!(log_lines(&c.bundle), expected, "after delete");
}

#[test]
fn run_runs_all_hooks() {
    let mut bundle = with_hook(with_all_hooks(), "poststart", "echo poststart >> LOG");
    bundle.sh("echo program >> /log; sleep 0.2").silent();
    let lines = log_lines(&bundle);
    assert_eq!(lines.len(), 12, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "poststop 1");
}

/// As the engines apply a CDI specification, for instance NVIDIA's: a device with its rule, files
/// of the host, variables, and createContainer hooks that make links in the rootfs, which they find
/// by the state on their input.
#[test]
fn a_device_by_cdi_is_complete() {
    let bundle = Bundle::busybox();
    let library = bundle.scratch("libdevice.so.1");
    fs::write(&library, "library").unwrap();
    let link = "bundle=$(jq -r .bundle); root=$(jq -r .root.path $bundle/config.json); \
                cd $bundle; mkdir -p $root/usr/lib; ln -s libdevice.so.1 $root/usr/lib/libdevice.so";
    let device = json!({ "path": "/dev/device0", "type": "c", "major": 1, "minor": 5,
                         "fileMode": 0o660, "uid": 0, "gid": 44 });
    let rule = json!({ "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rw" });
    let mount = json!({ "destination": "/usr/lib/libdevice.so.1", "type": "bind",
                        "source": library, "options": ["ro", "nosuid", "nodev", "bind"] });
    let mut bundle = bundle
        .set("/root/readonly", false)
        .push("/linux/devices", device)
        .push("/linux/resources/devices", rule)
        .push("/mounts", mount)
        .push("/process/env", json!("DEVICE_VISIBLE=all"))
        .push("/hooks/createContainer", shell(link))
        .push("/hooks/createContainer", json!({ "path": "/bin/true", "args": ["update-ldcache"] }));
    let script = "stat -c '%F %t:%T %a %g' /dev/device0; head -c 2 /dev/device0 | od -An -tx1; \
                  cat /usr/lib/libdevice.so; echo; echo $DEVICE_VISIBLE";
    let out = bundle.sh(script).ok();
    let wanted = ["character special file 1:5 660 44", " 00 00", "library", "all"];
    assert_eq!(out.lines(), wanted);
}

/// Nor does init end of a hook that ends without having read its state, where it is not the first
/// of its pid namespace.
#[test]
fn a_hook_need_not_read_its_state() {
    differs!();
    let state = json!({ "long": "x".repeat(100_000) });
    let mut bundle = Bundle::busybox().without_namespace("pid").set("/annotations", state);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        bundle = bundle.push(&format!("/hooks/{kind}"), json!({ "path": "/bin/true" }));
    }
    assert_eq!(bundle.run(["echo", "ran"]).ok().line(), "ran");
}

/// Somebody who ignores the ends of his children hands that down.
#[test]
fn hooks_and_programs_are_waited_for_whatever_the_caller_ignores() {
    let mut hooked = Bundle::busybox().after("set -- env --ignore-signal=CHLD \"$@\"");
    for kind in ["createRuntime", "startContainer", "poststart", "poststop"] {
        hooked = with_hook(hooked, kind, &format!("echo {kind} >> LOG"));
    }
    let c = hooked.args(["sleep", "60"]).create();
    c.verb("start").silent();
    c.exec(&[], &["true"]).silent();
    assert_eq!(c.exec(&[], &["sh", "-c", "exit 7"]).status, 7);
    c.delete_by_force();
    assert_eq!(log(&c.bundle).lines().count(), 4, "{}", log(&c.bundle));
}

#[test]
fn delete_by_force_runs_the_poststop_hooks() {
    let c = hooked("poststop", "echo poststop >> LOG").args(["sleep", "60"]).run_detached();
    c.delete_by_force();
    assert_eq!(log(&c.bundle), "poststop\n");
}

#[test]
fn poststart_hooks_run_after_the_program_has_started() {
    differs!();
    let wait =
        "for i in $(seq 100); do [ -e LOG ] && exec touch LOG.seen; sleep 0.05; done; exit 1";
    let c = hooked("poststart", wait).args(["sh", "-c", "echo program > /log; sleep 60"]).create();
    assert!(!c.bundle.rootfs("log.seen").exists());
    c.start();
    assert!(c.bundle.rootfs("log.seen").exists(), "before start returns");
}

#[test]
fn poststop_hooks_run_when_everything_is_gone() {
    let bundle = Bundle::busybox();
    let state = bundle.state_root().join(bundle.id());
    let script = format!("[ -e {} ] || echo gone >> LOG", state.display());
    let c = with_hook(bundle, "poststop", &script).create();
    c.delete();
    assert_eq!(log(&c.bundle), "gone\n");
}

/// The mount and network namespace a hook runs in.
fn namespaces_of(kind: &str) -> (String, String, String) {
    let script = "readlink /proc/self/ns/mnt /proc/self/ns/net >> LOG";
    // busybox's readlink takes one argument.
    let script = script.replace(" /proc/self/ns/net", " >> LOG; readlink /proc/self/ns/net");
    let c = hooked(kind, &script).args(["sleep", "60"]).create();
    let container = link(format!("/proc/{}/ns/mnt", c.pid()));
    c.start();
    let text = log(&c.bundle);
    let (mount, network) =
        text.trim_end().split_once('\n').unwrap_or_else(|| panic!("{kind}: {text:?}"));
    (mount.to_owned(), network.to_owned(), container)
}

#[test]
fn hooks_of_the_runtime_run_in_its_namespaces() {
    for kind in ["prestart", "createRuntime"] {
        let (mount, network, _) = namespaces_of(kind);
        assert_eq!((mount, network), (host_namespace("mnt"), host_namespace("net")), "{kind}");
    }
}

#[test]
fn hooks_of_the_container_run_in_its_namespaces() {
    for kind in ["createContainer", "startContainer"] {
        let (mount, network, container) = namespaces_of(kind);
        assert_eq!(mount, container, "{kind}");
        assert_ne!(network, host_namespace("net"), "{kind}");
    }
}

#[test]
fn prestart_and_create_runtime_find_the_namespaces_of_the_container() {
    for kind in ["prestart", "createRuntime"] {
        let script =
            "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net >> LOG";
        let c = hooked(kind, script).create();
        assert_eq!(log(&c.bundle).trim_end(), link(format!("/proc/{}/ns/net", c.pid())), "{kind}");
    }
}

/// The mounts are made, and the host is still in sight.
#[test]
fn create_container_runs_before_the_pivot() {
    let bundle = Bundle::busybox();
    let proc = bundle.rootfs("proc");
    let script = format!(
        "grep -c ' {} ' /proc/self/mountinfo >> LOG; ls {} > /dev/null && echo host >> LOG",
        proc.display(),
        bundle.path().display()
    );
    let c = with_hook(bundle, "createContainer", &script).create();
    assert_eq!(log(&c.bundle), "1\nhost\n");
}

#[test]
fn start_container_sees_the_root_filesystem_of_the_container() {
    let mut bundle =
        hooked("startContainer", "ls -d /bin/busybox /etc/passwd >> LOG; hostname >> LOG");
    bundle.run(["true"]).silent();
    assert_eq!(log_lines(&bundle), ["/bin/busybox", "/etc/passwd", "orlop"]);
}

/// The state each hook reads, at a bundle with an annotation.
#[track_caller]
fn state_of(kind: &str) -> (Value, i64, Bundle) {
    let bundle = hooked(kind, "cat >> LOG").set("/annotations/org.example", "yes");
    let c = bundle.args(["sleep", "60"]).create();
    let pid = c.state()["pid"].as_i64().unwrap();
    c.start();
    c.delete_by_force();
    let text = log(&c.bundle);
    let state: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text:?}"));
    assert_eq!(state["id"], c.id(), "{kind}");
    assert_eq!(state["bundle"], c.bundle.path().to_str().unwrap(), "{kind}");
    assert_eq!(state["annotations"]["org.example"], "yes", "{kind}");
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{kind}");
    (state, pid, c.bundle)
}

#[test]
fn hooks_of_create_read_the_state_creating() {
    for kind in OF_CREATE {
        let (state, pid, _bundle) = state_of(kind);
        assert_eq!(state["status"], "creating", "{kind}");
        if *kind != "createContainer" {
            assert_eq!(state["pid"], pid, "{kind}");
        }
    }
}

#[test]
fn start_container_reads_the_state_created() {
    assert_eq!(state_of("startContainer").0["status"], "created");
}

#[test]
fn poststart_reads_the_state_running() {
    differs!();
    let (state, pid, _bundle) = state_of("poststart");
    assert_eq!((&state["status"], &state["pid"]), (&"running".into(), &pid.into()));
}

#[test]
fn poststop_reads_the_state_stopped() {
    let (state, _, _bundle) = state_of("poststop");
    assert_eq!(state["status"], "stopped");
    assert!(state.get("pid").is_none_or(|pid| *pid == 0), "{state}");
}

#[test]
fn args_and_env_of_a_hook_are_exact() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststop"] {
        let bundle = Bundle::busybox();
        let log = if kind == "startContainer" { "/log".into() } else { bundle.rootfs("log") };
        let script = format!(
            "cd /proc/self; {{ tr '\\0' '|' < environ; tr '\\0' '|' < cmdline; }} > {}; : ",
            log.display()
        );
        let hook = json!({
            "path": "/bin/sh",
            "args": ["sh", "-c", script, "zero", "a b", "", "$HOME"],
            "env": ["PATH=/usr/bin:/bin", "A=1", "B=x y"],
        });
        let mut bundle = bundle.push(&format!("/hooks/{kind}"), hook).env("SECRET", "rum");
        bundle.run(["true"]).silent();
        let text = self::log(&bundle);
        assert!(text.starts_with("PATH=/usr/bin:/bin|A=1|B=x y|sh|-c|"), "{kind}: {text}");
        assert!(text.ends_with("|zero|a b||$HOME|"), "{kind}: {text}");
    }
}

#[test]
fn the_first_argument_of_a_hook_is_its_name() {
    let script = |bundle: &Bundle| {
        format!(
            "tr '\\0' '|' < /proc/$$/cmdline | cut -d'|' -f1 > {}",
            bundle.rootfs("log").display()
        )
    };
    let bundle = Bundle::busybox();
    let hook = json!({ "path": "/bin/sh", "args": ["bosun", "-c", script(&bundle)] });
    let mut bundle = bundle.push("/hooks/createRuntime", hook);
    bundle.run(["true"]).silent();
    assert_eq!(log(&bundle), "bosun\n");
}

#[test]
fn start_container_inherits_the_environment_of_the_process() {
    let bundle =
        hooked("startContainer", "echo $COURSE >> LOG").push("/process/env", "COURSE=west");
    let mut bundle = with_hook(bundle, "startContainer", "echo none$COURSE >> LOG");
    bundle = bundle.set("/hooks/startContainer/1/env", json!([]));
    bundle.run(["true"]).silent();
    assert_eq!(log(&bundle), "west\nnone\n");
}

/// `null` is none, and an empty one is one.
#[test]
fn hooks_of_the_runtime_inherit_its_environment_if_they_have_none() {
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    let mut bundle = Bundle::busybox().env("CARGO", "rum").args(["sleep", "60"]);
    for kind in kinds {
        for _ in 0..3 {
            bundle = with_hook(bundle, kind, &format!("echo {kind}$CARGO >> LOG"));
        }
        let env = |index: usize| format!("/hooks/{kind}/{index}/env");
        bundle = bundle.set(&env(1), Value::Null).set(&env(2), json!([]));
    }
    let c = bundle.run_detached();
    c.delete_by_force();
    let expected = kinds.map(|kind| format!("{kind}rum\n{kind}rum\n{kind}\n"));
    assert_eq!(log(&c.bundle), expected.concat());
}

#[test]
fn what_hooks_print_does_not_mix_with_the_containers_output() {
    let mut bundle = Bundle::busybox();
    for kind in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        bundle = with_hook(bundle, kind, "echo noise; echo noise >&2");
    }
    let out = bundle.run(["echo", "music"]).ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("music\n", ""));
}

/// A file of a hook has the mode that the caller's mask gives, as any other of the host.
#[test]
fn hooks_of_create_have_the_mask_of_the_caller() {
    for (mask, mode) in [("022", "644"), ("027", "640")] {
        let mut bundle = Bundle::busybox().after(&format!("umask {mask}"));
        for kind in OF_CREATE {
            bundle = with_hook(bundle, kind, &format!("touch LOG.{kind}"));
        }
        bundle.run(["true"]).silent();
        for kind in OF_CREATE {
            let found =
                fs::metadata(bundle.rootfs(&format!("log.{kind}"))).unwrap().permissions().mode();
            assert_eq!(format!("{:o}", found & 0o777), mode, "{kind}");
        }
    }
}

/// The hook is a program of the container, and has what the program has.
#[test]
fn start_container_without_an_environment_has_the_home_of_its_user() {
    for (uid, home) in [(0, "/root\n"), (1000, "/home/sailor\n")] {
        let bundle = hooked("startContainer", "echo $HOME >> /tmp/log");
        let mut bundle = bundle.set("/process/user", json!({ "uid": uid, "gid": uid }));
        bundle.run(["true"]).silent();
        assert_eq!(fs::read_to_string(bundle.rootfs("tmp/log")).unwrap(), home);
    }
}
