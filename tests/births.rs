//! What a process of the runtime takes over from whoever called it, on its way to the program:
//! nothing that it should not. And how a caller ends it before it is the program.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::runtime::time_limit;
use crate::support::{Bundle, config, eventually, json};

/// A caller that ignores every signal that can be ignored, those of the C library too.
fn ignoring_signals(bundle: Bundle) -> Bundle {
    let ignore = "my $ignore = pack(\"Q4\", 1, 0, 0, 0); syscall(13, $_ + 0, $ignore, 0, 8) for 1..64; exec @ARGV";
    bundle.after(&format!("set -- perl -e '{ignore}' \"$@\""))
}

fn perl_works() -> bool {
    cfg!(target_arch = "x86_64")
        && Command::new("perl").arg("-v").stdout(Stdio::null()).status().is_ok()
}

const LOOK: [&str; 4] = ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"];
const NONE: &str = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";

/// Seen to fail at commit 84eb9f4 (SigIgn fffffffffffaee7f), and with the loop left out of
/// `reset_to_default` in `sys/signal.rs`.
#[test]
fn no_signal_that_the_caller_ignores_is_ignored_by_the_program() {
    differs!();
    needs!(perl_works(), "perl");
    let mut bundle = ignoring_signals(Bundle::busybox());
    assert_eq!(bundle.run(LOOK).ok().stdout, NONE);
    assert_eq!(bundle.args(LOOK).create().finish(), NONE);
    let c = ignoring_signals(Bundle::busybox()).args(["sleep", "600"]).run_detached();
    assert_eq!(c.exec(&[], &LOOK).ok().stdout, NONE);
    c.kill("TERM");
    c.kill("KILL");
}

/// The C library's posix_spawn(3) ignores two signals of its own in the child, unless it is told
/// otherwise. Seen to fail at commit 84eb9f4 (SigIgn 0000000180000000).
#[test]
fn no_signal_that_the_caller_ignores_is_ignored_by_hooks() {
    differs!();
    needs!(perl_works(), "perl");
    let mut bundle = Bundle::busybox();
    let dir = bundle.scratch_dir("seen");
    let moments = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    for moment in moments {
        let script =
            format!("grep -E 'Sig(Blk|Ign)' /proc/self/status >{}/{moment}", dir.display());
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] });
        bundle = bundle.push(&format!("/hooks/{moment}"), hook);
    }
    let mut bundle = ignoring_signals(bundle);
    bundle.run(["true"]).ok();
    for moment in moments {
        assert_eq!(fs::read_to_string(dir.join(moment)).unwrap(), NONE, "{moment}");
    }
}

/// No shell looks here: that of busybox ignores SIGQUIT, and so does what it executes in its own
/// place. Seen to fail at commit 84eb9f4.
#[test]
fn no_signal_that_the_caller_ignores_is_ignored_by_hooks_in_the_container() {
    differs!();
    needs!(perl_works(), "perl");
    let rules = json!([{ "names": ["mkdirat"], "action": "SCMP_ACT_ERRNO" }]);
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
    for bundle in [Bundle::busybox(), Bundle::busybox().set("/linux/seccomp", filter)] {
        let hook = json!({ "path": "/bin/cp", "args": ["cp", "/proc/self/status", "/seen"] });
        let mut bundle = ignoring_signals(bundle.push("/hooks/startContainer", hook));
        bundle.run(["true"]).ok();
        let seen = fs::read_to_string(bundle.rootfs("seen")).unwrap();
        let signals =
            seen.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
        assert_eq!(signals.map(|line| format!("{line}\n")).collect::<String>(), NONE);
    }
}

/// Whoever may look into init while it waits, by CAP_SYS_PTRACE or as a hook of the image, finds
/// nothing of the caller. Seen to fail at commit 84eb9f4: the whole environment was in
/// /proc/PID/environ.
#[test]
fn a_created_container_knows_nothing_of_its_caller() {
    differs!();
    let script = "cat /proc/1/environ /proc/1/cmdline >/seen 2>/dev/null; true";
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let own = Bundle::busybox().push("/linux/namespaces", json!({ "type": "user" }));
    let own = own.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
    for (bundle, with_hook) in [(Bundle::busybox(), true), (own, false)] {
        let bundle = bundle.env("SECRET", "the-treasure-is-below-the-palm");
        let dir = bundle.dir().display().to_string();
        let bundle =
            if with_hook { bundle.push("/hooks/startContainer", hook.clone()) } else { bundle };
        let c = bundle.args(["true"]).create();
        let read = |file: &str| {
            String::from_utf8(fs::read(format!("/proc/{}/{file}", c.pid())).unwrap()).unwrap()
        };
        for text in [read("environ"), read("cmdline")] {
            assert!(!text.contains("palm") && !text.contains(&dir), "{text:?}");
        }
        assert_eq!(read("cmdline").trim_end_matches('\0'), read("comm").trim_end());
        c.finish();
        if with_hook {
            let seen = fs::read_to_string(c.bundle.rootfs("seen")).unwrap();
            assert!(!seen.contains("palm") && !seen.contains(&dir), "{seen:?}");
        }
    }
}

/// Somebody of another user has made a keyring of the name that the container's might have, for
/// everybody. Seen to fail at commit 84eb9f4: the only keyring that was seen was the planted one.
#[test]
fn a_session_keyring_that_is_there_already_is_not_the_containers() {
    differs!();
    needs!(perl_works() && Path::new("/proc/keys").exists(), "perl, or no keyrings");
    let bundle = Bundle::busybox().remove("/linux/maskedPaths").args(["sleep", "600"]);
    let plant = format!(
        "my $name = \"_ses.{}\"; my $key = syscall(250, 1, $name); die if $key < 0;
         die if syscall(250, 5, $key, 0x3f3f3f3f) < 0; $| = 1; print \"$key\\n\"; sleep 600",
        bundle.id()
    );
    let mut planter = Command::new("setpriv");
    planter.args(["--reuid", "5000", "--regid", "5000", "--clear-groups", "perl", "-e", &plant]);
    let planter =
        crate::support::runtime::Running::start(&mut planter, &bundle.scratch_dir("planter"));
    planter.wait_for("\n");
    let serial: u32 = fs::read_to_string(&planter.files.stdout).unwrap().trim().parse().unwrap();
    let c = bundle.run_detached();
    let name = format!("_ses.{}", c.id());
    let of = |keys: String| -> Vec<String> {
        keys.lines().filter(|l| l.contains(&name)).map(str::to_owned).collect()
    };
    let planted = format!("{serial:08x}");
    // Who possesses a key sees it; the planted one everybody does.
    let seen = of(c.exec(&[], &["cat", "/proc/keys"]).ok().stdout);
    let own: Vec<&String> = seen.iter().filter(|line| !line.starts_with(&planted)).collect();
    assert_eq!(own.len(), 1, "init and exec share one that is new: {seen:?}");
    assert!(seen.len() == 2 && own[0].contains(" 0 "), "the planted one is another: {seen:?}");
}

/// A signal ends a foreground `run` while a hook runs, and what it has made is undone. Seen to fail
/// at commit 84eb9f4.
#[test]
fn run_hears_signals_before_the_program_runs() {
    differs!();
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let bundle = Bundle::busybox();
        let mark = bundle.scratch("mark");
        let script = format!("echo x >{}; exec sleep 1000", mark.display());
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] });
        let bundle = bundle.push("/hooks/createRuntime", hook).args(["true"]);
        let running = bundle.run_in_background();
        assert!(eventually(time_limit(), || mark.is_file()), "the hook runs");
        running.signal(signal);
        let out = running.wait();
        assert_eq!(out.status, status, "{out:?}");
        out.says(signal.as_str());
        bundle.assert_nothing_left();
    }
}

/// What the caller ignores does not end it.
#[test]
fn run_is_not_ended_by_a_signal_that_its_caller_ignores() {
    differs!();
    needs!(perl_works(), "perl");
    let bundle = ignoring_signals(Bundle::busybox());
    let [mark, end] = ["mark", "end"].map(|name| bundle.scratch(name));
    let script =
        format!("echo x >{}; until [ -e {} ]; do sleep 0.1; done", mark.display(), end.display());
    let hook =
        json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] });
    let bundle = bundle.push("/hooks/createRuntime", hook).args(["true"]);
    let running = bundle.run_in_background();
    assert!(eventually(time_limit(), || mark.is_file()), "the hook runs");
    running.signal(Signal::SIGHUP);
    fs::write(&end, "").unwrap();
    running.wait().ok();
}

/// A process of the container stops the one that `exec` sends in, by SIGSTOP. The caller can end
/// `exec` all the same. Seen to fail at commit 84eb9f4.
#[test]
fn exec_hears_signals_while_its_process_is_stopped() {
    differs!();
    let script = "cd /proc; echo ready
        while :; do for p in [0-9]*; do
            read -r name <$p/comm; [ \"$name\" = 'orlop:[exec]' ] && kill -STOP $p || continue
            while read -r _ _ state _ <$p/stat && [ $state != T ]; do :; done
            read -r name <$p/comm; [ \"$name\" = 'orlop:[exec]' ] && echo stopped $p || kill -CONT $p
        done 2>/dev/null; done";
    let c = Bundle::busybox()
        .set("/process/capabilities", config::capabilities(&["CAP_KILL"]))
        .script(script);
    let c = c.run_detached();
    c.wait_for("ready\n");
    for _ in 0..100 {
        let mut exec = c.start_exec(&[], &["true"]);
        let is_stopped = || c.stdout().contains("stopped");
        assert!(eventually(time_limit(), || is_stopped() || exec.is_over()), "neither");
        if is_stopped() {
            exec.signal(Signal::SIGTERM);
            let out = exec.wait();
            // It may have been the program already, which is stopped then; its end is not SIGTERM's
            // before it goes on.
            assert_eq!(out.status, 143, "{out:?}");
            return;
        }
    }
    panic!("it was never stopped");
}
