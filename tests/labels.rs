//! `process.apparmorProfile`, `process.selinuxLabel`, `linux.mountLabel`, and the flags of `exec`
//! for them.
//!
//! What AppArmor does with a profile is tested on a machine that has it (Debian's do) and
//! `apparmor_parser`; what SELinux does with a label, on one that has it and a policy.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Bundle, Container, json};

fn has_apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
        && Path::new("/sys/kernel/security/apparmor").is_dir()
}

fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").is_file()
}

const LABEL: &str = "system_u:system_r:container_t:s0:c4,c5";

#[test]
fn a_profile_is_refused_without_apparmor() {
    needs!(!has_apparmor(), "lack of AppArmor");
    Bundle::busybox()
        .set("/process/apparmorProfile", "captain")
        .refused()
        .says("apparmor")
        .names("apparmorProfile");
    Bundle::busybox().set("/process/apparmorProfile", "").run(["true"]).silent();
    let c = sleeping(Bundle::busybox());
    c.exec(&["--apparmor", "captain"], &["true"]).exec_refused().says("apparmor");
    c.exec(&["--apparmor", ""], &["true"]).silent();
}

#[test]
fn a_label_is_refused_without_selinux() {
    needs!(!has_selinux(), "lack of SELinux");
    let text = "selinux label is specified in config, but selinux is disabled or not supported";
    Bundle::busybox()
        .set("/process/selinuxLabel", LABEL)
        .refused()
        .says(text)
        .names("process.selinuxLabel");
    Bundle::busybox().set("/process/selinuxLabel", "").run(["true"]).silent();
    let c = sleeping(Bundle::busybox());
    c.exec(&["--process-label", LABEL], &["true"])
        .exec_refused()
        .says("selinux label is specified");
    c.exec(&["--process-label", ""], &["true"]).silent();
    let process =
        json!({ "args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "selinuxLabel": LABEL });
    fs::write(c.bundle.scratch("process.json"), process.to_string()).unwrap();
    c.exec(&["--process", "process.json"], &[]).exec_refused().says("selinux label is specified");
}

/// runc lets the kernel say so, when the first filesystem is mounted.
#[test]
fn a_mount_label_is_refused_without_selinux() {
    needs!(!has_selinux(), "lack of SELinux");
    Bundle::busybox().set("/linux/mountLabel", LABEL).refused().names("linux.mountLabel");
    Bundle::busybox().set("/linux/mountLabel", "").run(["true"]).silent();
}

fn sleeping(bundle: Bundle) -> Container {
    bundle.args(["sleep", "600"]).run_detached()
}

/// A profile in the kernel, which lets everything be done but read /etc/passwd.
struct Profile(String);

impl Profile {
    fn load(bundle: &Bundle, name: &str) -> Self {
        let profile = Profile(format!("orlop-{}-{name}", bundle.id()));
        profile.tell_kernel("--add");
        profile
    }

    fn tell_kernel(&self, how: &str) {
        let text = format!(
            "profile {} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  network,\n  mount,\n  \
             umount,\n  signal,\n  ptrace,\n  unix,\n  deny /etc/passwd r,\n}}\n",
            self.0
        );
        let mut command = Command::new("apparmor_parser");
        let mut parser = command.args(["--skip-cache", how]).stdin(Stdio::piped()).spawn().unwrap();
        parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(parser.wait().unwrap().success(), "apparmor_parser {how}: {text}");
    }

    /// What the kernel says of a process that it confines.
    fn enforced(&self) -> String {
        format!("{} (enforce)", self.0)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.tell_kernel("--remove");
    }
}

fn can_load_profiles() -> bool {
    has_apparmor()
        && Command::new("apparmor_parser").arg("--version").stdout(Stdio::null()).status().is_ok()
}

#[track_caller]
fn confined_by(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap().trim_end().to_owned()
}

#[test]
fn the_program_is_confined_by_its_profile() {
    needs!(can_load_profiles(), "AppArmor, or no apparmor_parser");
    let bundle = Bundle::busybox();
    let profile = Profile::load(&bundle, "own");
    let mut bundle = bundle.set("/process/apparmorProfile", profile.0.clone());
    for no_new_privileges in [true, false] {
        bundle = bundle.set("/process/noNewPrivileges", no_new_privileges);
        assert_eq!(bundle.run(["cat", "/proc/self/attr/current"]).ok().line(), profile.enforced());
    }
    let out = bundle.run(["cat", "/etc/passwd"]);
    assert_ne!(out.status, 0);
    out.because("permission denied");
    // For an ordinary user, and with a filter, too.
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [] });
    let mut bundle = bundle
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .set("/linux/seccomp", seccomp);
    assert_eq!(bundle.run(["cat", "/proc/self/attr/current"]).ok().line(), profile.enforced());
}

#[test]
fn exec_is_confined_by_the_containers_profile_or_the_given_one() {
    needs!(can_load_profiles(), "AppArmor, or no apparmor_parser");
    let bundle = Bundle::busybox();
    let (own, other) = (Profile::load(&bundle, "own"), Profile::load(&bundle, "other"));
    let c = sleeping(bundle.set("/process/apparmorProfile", own.0.clone()));
    assert_eq!(confined_by(c.pid()), own.enforced());
    let show = ["cat", "/proc/self/attr/current"];
    assert_eq!(c.exec(&[], &show).ok().line(), own.enforced());
    assert_eq!(c.exec(&["--apparmor", &other.0], &show).ok().line(), other.enforced());
    for (profile, shown) in [("", own.enforced()), (other.0.as_str(), other.enforced())] {
        let process =
            json!({ "args": show, "cwd": "/", "env": ["PATH=/bin"], "apparmorProfile": profile });
        fs::write(c.bundle.scratch("process.json"), process.to_string()).unwrap();
        assert_eq!(c.exec(&["--process", "process.json"], &[]).ok().line(), shown);
    }
}

#[test]
fn a_profile_that_is_not_loaded_is_refused() {
    needs!(has_apparmor(), "AppArmor");
    let bundle = Bundle::busybox().set("/process/apparmorProfile", "no-such-profile");
    let out = bundle.refused().says("apparmor").because("no such file or directory");
    out.names("process.apparmorProfile").names("apparmor_parser");
    let c = sleeping(Bundle::busybox());
    c.exec(&["--apparmor", "no-such-profile"], &["true"])
        .exec_refused()
        .because("no such file or directory");
}

/// A label like that of the tests, with categories of its own; and one for files.
fn selinux_labels() -> (String, String) {
    let own = fs::read_to_string("/proc/self/attr/current").unwrap();
    let parts: Vec<&str> = own.trim_end_matches(['\0', '\n']).splitn(4, ':').collect();
    (
        format!("{}:{}:{}:s0:c4,c5", parts[0], parts[1], parts[2]),
        format!("{}:object_r:tmp_t:s0:c4,c5", parts[0]),
    )
}

/// With a policy, and without its saying no.
fn selinux_permits() -> bool {
    fs::read("/sys/fs/selinux/enforce").is_ok_and(|text| text.starts_with(b"0"))
        && fs::read("/proc/self/attr/current")
            .is_ok_and(|text| text.iter().filter(|byte| **byte == b':').count() >= 3)
}

#[track_caller]
fn said_by(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap().trim_end_matches(['\0', '\n']).to_owned()
}

#[test]
fn the_program_has_its_selinux_label() {
    needs!(selinux_permits(), "SELinux in permissive mode");
    let (label, _) = selinux_labels();
    for no_new_privileges in [true, false] {
        let bundle = Bundle::busybox().set("/process/noNewPrivileges", no_new_privileges);
        let c = sleeping(bundle.set("/process/selinuxLabel", label.clone()));
        assert_eq!(confined_by(c.pid()).trim_end_matches('\0'), label);
        let show = ["cat", "/proc/self/attr/current"];
        assert_eq!(c.exec(&[], &show).ok().line().trim_end_matches('\0'), label);
        let other = label.replace("c4,c5", "c6,c7");
        assert_eq!(
            c.exec(&["--process-label", &other], &show).ok().line().trim_end_matches('\0'),
            other
        );
        // What the program makes is labelled as if nothing had been said.
        assert_eq!(
            c.exec(&[], &["cat", "/proc/self/attr/keycreate"]).ok().line().trim_end_matches('\0'),
            ""
        );
    }
}

#[test]
fn the_session_keyring_has_the_programs_label() {
    needs!(selinux_permits(), "SELinux in permissive mode");
    needs!(Command::new("keyctl").arg("--version").output().is_ok(), "keyctl");
    let (label, _) = selinux_labels();
    let c = sleeping(Bundle::busybox().set("/process/selinuxLabel", label.clone()));
    let keys = fs::read_to_string("/proc/keys").unwrap();
    let line = keys.lines().find(|line| line.contains(&format!("_ses.{}", c.id())));
    let serial = line.unwrap_or_else(|| panic!("{keys}")).split(' ').next().unwrap();
    assert_eq!(said_by("keyctl", &["security", &format!("0x{serial}")]), label);
}

#[test]
fn new_filesystems_have_the_mount_label() {
    needs!(selinux_permits(), "SELinux in permissive mode");
    let (_, label) = selinux_labels();
    let long = json!({ "destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["silent", "size=64k"] });
    let c =
        sleeping(Bundle::busybox().set("/linux/mountLabel", label.clone()).push("/mounts", long));
    let of = |path: &str| said_by("stat", &["-c", "%C", &format!("/proc/{}/root{path}", c.pid())]);
    for path in
        ["/dev", "/dev/null", "/dev/pts", "/dev/shm", "/dev/mqueue", "/mnt", "/sys/firmware"]
    {
        assert_eq!(of(path), label, "{path}");
    }
    for path in ["/proc", "/sys", "/bin"] {
        assert_ne!(of(path), label, "{path}");
    }
}

#[test]
fn a_label_that_is_none_is_refused() {
    needs!(selinux_permits(), "SELinux in permissive mode");
    // The first filesystem that it cannot be given to is named.
    for (key, named) in
        [("/process/selinuxLabel", "process.selinuxLabel"), ("/linux/mountLabel", "mounts[1]")]
    {
        Bundle::busybox()
            .set(key, "captain")
            .refused()
            .because("invalid argument")
            .says("captain")
            .names(named);
    }
}

/// CVE-2025-52881: the profile is the kernel's to hear, whatever the container shows in the place
/// of its /proc.
#[test]
fn a_false_proc_does_not_keep_the_profile_from_the_kernel() {
    differs!();
    needs!(can_load_profiles(), "AppArmor, or no apparmor_parser");
    let bundle = Bundle::busybox();
    let profile = Profile::load(&bundle, "own");
    let script = "mount -t tmpfs tmpfs /proc; mkdir -p /proc/self/attr /proc/thread-self/attr; \
                  touch /proc/self/attr/exec /proc/thread-self/attr/exec; echo ready; exec sleep 600";
    let c = bundle
        .set("/process/capabilities", crate::support::config::capabilities(&["CAP_SYS_ADMIN"]));
    let c = c.script(script).run_detached();
    c.wait_for("ready");
    c.exec(&["-d", "--pid-file", "pid", "--apparmor", &profile.0], &["sleep", "599"]).silent();
    assert_eq!(confined_by(c.bundle.read("pid").parse().unwrap()), profile.enforced());
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/root/proc/thread-self/attr/exec", c.pid())).unwrap(),
        ""
    );
}
