//! `exec`: what the process is made of, by the container's configuration, by flags, and by
//! `--process`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Bundle, Container, Value, config, json, kernel_since};

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;

fn run(bundle: Bundle) -> Container {
    bundle.args(["sleep", "600"]).run_detached()
}

fn sleeping() -> Container {
    run(Bundle::busybox())
}

/// A field of /proc/self/status, its words separated by one space.
#[track_caller]
fn status(c: &Container, flags: &[&str], field: &str) -> String {
    let out = c.exec(flags, &["grep", &format!("^{field}:"), "/proc/self/status"]).ok();
    out.line().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// The inheritable, permitted, effective, bounding and ambient set.
#[track_caller]
fn sets(c: &Container, flags: &[&str]) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|field| u64::from_str_radix(&status(c, flags, field), 16).unwrap())
}

/// Writes a `process` and runs it.
#[track_caller]
fn exec_process(c: &Container, process: &Value) -> crate::support::Output {
    fs::write(c.bundle.scratch("process.json"), process.to_string()).unwrap();
    c.exec(&["--process", "process.json"], &[])
}

#[test]
fn the_environment_is_the_containers_and_what_is_added() {
    let c = run(Bundle::busybox().push("/process/env", "A=own"));
    let out = c.exec(&["-e", "B=x=y", "-e", "A=new", "-e", "EMPTY="], &["env"]).ok();
    let mut lines = out.lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A=new",
            "B=x=y",
            "EMPTY=",
            "HOME=/root",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=dumb"
        ]
    );
    for bad in ["NOTHING", "=x"] {
        c.exec(&["--env", bad], &["env"]).exec_refused().because("environment variable");
    }
}

#[test]
fn home_is_that_of_the_user() {
    let c = sleeping();
    for (user, home) in [("0", "/root"), ("1000", "/home/sailor"), ("4242", "/")] {
        assert_eq!(c.exec(&["-u", user], &["sh", "-c", "echo $HOME"]).ok().line(), home);
    }
}

#[test]
fn the_path_is_the_containers() {
    let c = sleeping();
    assert_eq!(c.exec(&["-e", "PATH=/nowhere"], &["env"]).exec_refused().status, 255);
    c.exec(&["-e", "PATH=/nowhere:/bin"], &["true"]).silent();
}

#[test]
fn cwd_is_the_containers_or_the_given_one() {
    let c = run(Bundle::busybox().set("/process/cwd", "/home"));
    assert_eq!(c.exec(&[], &["pwd"]).ok().line(), "/home");
    assert_eq!(c.exec(&["--cwd", "/home/sailor"], &["pwd"]).ok().line(), "/home/sailor");
    c.exec(&["--cwd", "/nosuch"], &["pwd"]).exec_refused().because("no such file or directory");
    c.exec(&["--cwd", "/etc/passwd"], &["pwd"]).exec_refused().because("not a directory");
    c.exec(&["--cwd", "home"], &["pwd"]).exec_refused().says("Cwd must be an absolute path");
}

#[test]
fn a_cwd_only_its_user_may_enter_is_entered() {
    let c = sleeping();
    fs::create_dir(c.bundle.rootfs("private")).unwrap();
    std::os::unix::fs::chown(c.bundle.rootfs("private"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(c.bundle.rootfs("private"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(c.exec(&["-u", "1000", "--cwd", "/private"], &["pwd"]).ok().line(), "/private");
}

#[test]
fn the_user_is_the_containers_or_the_given_one() {
    let user = json!({ "uid": 1, "gid": 2, "additionalGids": [3] });
    let c = run(Bundle::busybox().set("/process/user", user));
    assert_eq!(
        (status(&c, &[], "Uid"), status(&c, &[], "Gid")),
        ("1 1 1 1".to_owned(), "2 2 2 2".to_owned())
    );
    assert_eq!(status(&c, &[], "Groups"), "3");
    let flags = ["--user", "1000:1001", "-g", "7", "-g", "5"];
    let ids = ["Uid", "Gid", "Groups"].map(|field| status(&c, &flags, field));
    assert_eq!(ids, ["1000 1000 1000 1000", "1001 1001 1001 1001", "3 5 7"]);
    assert_eq!(status(&c, &["-u", "9"], "Gid"), "2 2 2 2", "a uid alone changes the uid alone");
}

#[test]
fn the_umask_is_the_containers() {
    differs!();
    let c = run(Bundle::busybox().set("/process/user/umask", 0o27));
    assert_eq!(c.exec_sh("umask").ok().line(), "0027");
    let process = json!({ "args": ["sh", "-c", "umask"], "cwd": "/", "env": ["PATH=/bin"] });
    assert_eq!(exec_process(&c, &process).ok().line(), "0027");
}

/// What is taken for another number is a way to become root (CVE-2026-30892).
#[test]
fn a_user_that_is_not_a_number_is_refused() {
    let c = sleeping();
    for user in ["1x", ":5", "5:", "root", " 1", "0x1", "1:2:3"] {
        c.exec(&["--user", user], &["id"]).exec_refused();
    }
    for gid in ["x", "-1"] {
        let out = c.exec(&["--additional-gids", gid], &["id"]);
        assert!(out.status != 0 && !out.stdout.contains("uid="), "{gid}: {out:?}");
    }
}

#[test]
fn a_user_out_of_range_is_refused() {
    differs!();
    let c = sleeping();
    for user in
        ["", "-1", "99999999999", "4294967295", "4294967296", "1:4294967295", "0:4294967296", "+1"]
    {
        c.exec(&["--user", user], &["id"]).exec_refused();
        c.exec(&["--additional-gids", user], &["id"]).exec_refused();
    }
    let user = json!({ "uid": u32::MAX, "gid": 0 });
    let process = json!({ "args": ["id"], "cwd": "/", "env": ["PATH=/bin"], "user": user });
    exec_process(&c, &process).exec_refused().names("uid");
}

#[test]
fn capabilities_are_the_containers_and_what_is_added() {
    let c =
        run(Bundle::busybox().set("/process/capabilities", config::capabilities(&["CAP_KILL"])));
    assert_eq!(sets(&c, &[]), [0, KILL, KILL, KILL, 0]);
    let both = CHOWN | KILL;
    assert_eq!(sets(&c, &["--cap", "CAP_CHOWN"]), [0, both, both, both, 0]);
    assert_eq!(sets(&c, &["-c", "CAP_CHOWN", "-u", "1000"]), [0, 0, 0, both, 0]);
    assert_eq!(sets(&c, &[]), [0, KILL, KILL, KILL, 0], "for this one process only");
}

/// CVE-2022-29162. Where the container's own are inheritable, what is added becomes ambient as far
/// as that goes.
#[test]
fn an_added_capability_is_never_inheritable() {
    let mut capabilities = config::capabilities(&["CAP_KILL"]);
    capabilities["inheritable"] = json!(["CAP_KILL"]);
    let c = run(Bundle::busybox().set("/process/capabilities", capabilities));
    assert_eq!(sets(&c, &["--cap", "CAP_CHOWN"])[0], KILL);
    assert_eq!(sets(&c, &["--cap", "CAP_CHOWN", "-u", "1000"]), [KILL, 0, 0, CHOWN | KILL, 0]);
}

#[test]
fn an_unknown_capability_is_a_warning() {
    let out = sleeping().exec(&["--cap", "CAP_OF_THE_CAPTAIN"], &["echo", "aye"]).ok();
    assert_eq!(out.stdout, "aye\n");
    assert!(out.stderr.contains("CAP_OF_THE_CAPTAIN"), "{out:?}");
}

#[test]
fn no_new_privileges_is_the_containers_or_the_given_one() {
    let c = run(Bundle::busybox().set("/process/noNewPrivileges", false));
    assert_eq!(status(&c, &[], "NoNewPrivs"), "0");
    assert_eq!(status(&c, &["--no-new-privs"], "NoNewPrivs"), "1");
    let c = sleeping();
    assert_eq!(status(&c, &[], "NoNewPrivs"), "1");
    assert_eq!(status(&c, &["--no-new-privs=false"], "NoNewPrivs"), "0");
}

#[test]
fn limits_are_the_containers() {
    let c = run(Bundle::busybox()
        .set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 77 }]))
        .set("/process/oomScoreAdj", 321));
    assert_eq!(
        c.exec_sh("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj").ok().lines(),
        ["77", "77", "321"]
    );
}

/// The runtime, which lends its score to the process, does not keep it.
#[test]
fn the_runtime_keeps_its_own_oom_score() {
    let c = run(Bundle::busybox().set("/process/oomScoreAdj", 321));
    let running = c.start_exec(&[], &["sh", "-c", "echo ready; sleep 599"]);
    running.wait_for("ready");
    let score = |pid: &str| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(&running.pid().to_string()), score("self"));
}

#[test]
fn the_seccomp_filter_is_the_containers() {
    for nnp in [true, false] {
        let seccomp = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2 }],
        });
        let c = run(Bundle::busybox()
            .set("/linux/seccomp", seccomp)
            .set("/process/noNewPrivileges", nnp));
        assert_eq!(status(&c, &[], "Seccomp"), "2");
        c.exec(&[], &["mkdir", "/made"]).because("no such file or directory");
        assert!(!c.bundle.rootfs("made").exists());
        let process = json!({ "args": ["mkdir", "/made"], "cwd": "/", "env": ["PATH=/bin"] });
        exec_process(&c, &process).because("no such file or directory");
        assert_eq!(c.exec(&["-u", "1000"], &["mkdir", "/tmp/made"]).status, 1);
    }
}

#[test]
fn a_process_file_says_it_all() {
    let c = sleeping();
    let process = json!({
        "args": ["sh", "-c", "pwd; echo $A $HOME; id -u; id -G; ulimit -n; grep NoNew /proc/self/status"],
        "cwd": "/tmp", "env": ["PATH=/bin", "A=b"],
        "user": { "uid": 1000, "gid": 5, "additionalGids": [6] },
        "capabilities": config::capabilities(&["CAP_CHOWN"]),
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 55, "hard": 55 }],
        "noNewPrivileges": false,
    });
    let out = exec_process(&c, &process).ok();
    assert_eq!(out.lines(), ["/tmp", "b /home/sailor", "1000", "5 6", "55", "NoNewPrivs:\t0"]);
}

#[test]
fn what_a_process_file_leaves_out_is_the_containers() {
    let c = sleeping();
    let script = "grep CapBnd /proc/self/status; env";
    let out = exec_process(
        &c,
        &json!({ "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"] }),
    )
    .ok();
    let lines = out.lines();
    assert!(lines[0].ends_with("0000000020000420"), "{out:?}");
    // But for the environment, which is given as a whole.
    assert!(!lines.iter().any(|line| line.starts_with("TERM=")), "{out:?}");
}

#[test]
fn a_bad_process_file_is_refused() {
    let c = sleeping();
    c.exec(&["--process", "nosuch.json"], &[]).exec_refused().because("no such file or directory");
    for (text, key) in [("{", "process"), ("[]", "process"), (r#"{"args":[7],"cwd":"/"}"#, "args")]
    {
        fs::write(c.bundle.scratch("bad.json"), text).unwrap();
        c.exec(&["-p", "bad.json"], &[]).exec_refused().names(key);
    }
    exec_process(&c, &json!({ "args": ["true"], "cwd": "x" }))
        .exec_refused()
        .says("Cwd must be an absolute path");
    exec_process(&c, &json!({ "cwd": "/" })).exec_refused().says("args must not be empty");
}

#[test]
fn lsm_labels_are_not_passed_over_in_silence() {
    let c = sleeping();
    c.exec(&["--apparmor", "no-such-profile"], &["true"]).exec_refused();
    c.exec(&["--process-label", "system_u:system_r:container_t:s0"], &["true"]).exec_refused();
}

/// The specification: changes of config.json have no effect once the container is created.
#[test]
fn the_config_is_the_one_of_create() {
    differs!();
    let c = run(Bundle::busybox().push("/process/env", "A=then"));
    fs::write(c.bundle.path().join("config.json"), "{}").unwrap();
    assert_eq!(c.exec_sh("echo $A").ok().line(), "then");
    fs::remove_file(c.bundle.path().join("config.json")).unwrap();
    assert_eq!(c.exec_sh("echo $A").ok().line(), "then");
}

fn affinity(bundle: Bundle, affinity: &Value) -> String {
    let c = run(bundle.set("/process/execCPUAffinity", affinity.clone()));
    status(&c, &[], "Cpus_allowed_list")
}

#[test]
fn exec_cpu_affinity_is_set() {
    differs!();
    needs!(std::thread::available_parallelism().unwrap().get() > 1, "second CPU");
    assert_eq!(affinity(Bundle::busybox(), &json!({ "final": "1" })), "1");
    assert_eq!(affinity(Bundle::busybox(), &json!({ "initial": "0", "final": "0-1" })), "0-1");
    // Until 6.2 a cpuset cgroup that is joined makes of it what it allows itself.
    if kernel_since(6, 2) {
        assert_eq!(affinity(Bundle::busybox(), &json!({ "initial": "1" })), "1");
    }
    Bundle::busybox()
        .set("/process/execCPUAffinity", json!({ "final": "0-" }))
        .refused()
        .names("execCPUAffinity");
}

fn mapped() -> Bundle {
    let mapping = |host| json!([{ "containerID": 0, "hostID": host, "size": 65536 }]);
    let bundle = Bundle::busybox()
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", mapping(100_000))
        .set("/linux/gidMappings", mapping(200_000));
    let mut command = std::process::Command::new("chown");
    assert!(
        command
            .args(["-R", "-h", "100000:200000"])
            .arg(bundle.rootfs(""))
            .status()
            .unwrap()
            .success()
    );
    bundle
}

#[track_caller]
fn is_in_the_user_namespace(c: &Container) {
    let out = c.exec_sh("id; readlink /proc/self/ns/user; touch /made; echo x >> /dev/stdout").ok();
    assert!(out.lines()[0].starts_with("uid=0(root) gid=0(root)"), "{out:?}");
    assert_eq!(out.lines()[1], crate::support::link(format!("/proc/{}/ns/user", c.pid())));
    let owner = fs::metadata(c.bundle.rootfs("made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 100_000);
    let flags = ["-u", "1000:1001", "-g", "7"];
    assert_eq!(status(c, &flags, "Groups"), "7");
    let file = c.bundle.scratch("status");
    let _ = fs::remove_file(&file);
    c.exec(&["-d", "--pid-file", "pid", "-u", "1000:1001"], &["sleep", "599"]).silent();
    let status = fs::read_to_string(format!("/proc/{}/status", c.bundle.read("pid"))).unwrap();
    assert!(status.contains("Uid:\t101000\t101000") && status.contains("Gid:\t201001"), "{status}");
}

#[test]
fn a_user_namespace_is_joined() {
    let c = run(mapped());
    is_in_the_user_namespace(&c);
    c.exec(&["-u", "70000"], &["true"]).exec_refused();
}

/// Whoever has no rights but those of an owner of the user namespace needs a process in between.
#[test]
fn a_user_namespace_is_joined_without_rights_over_the_host() {
    let drop =
        "case \" $* \" in *\" exec \"*) exec setpriv --bounding-set=-sys_admin \"$@\";; esac";
    is_in_the_user_namespace(&run(mapped().after(drop)));
}
