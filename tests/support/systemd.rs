//! The properties of a container's unit, and bundles whose cgroup systemd creates.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bundle, cgroups, eventually, runtime};

/// Whether the machine was booted with systemd.
pub fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// A bundle for `--systemd-cgroup`, in system.slice.
pub fn bundle() -> Bundle {
    in_slice("system.slice")
}

/// A bundle for `--systemd-cgroup`.
pub fn in_slice(slice: &str) -> Bundle {
    let bundle = Bundle::busybox().global(["--systemd-cgroup"]);
    let path = format!("{slice}:{}:x", bundle.name());
    bundle.set("/linux/cgroupsPath", path)
}

/// The name of the unit of such a bundle.
pub fn unit(bundle: &Bundle) -> String {
    format!("{}-x.scope", bundle.name())
}

/// The unit's cgroup, on cgroup v2.
#[track_caller]
pub fn cgroup(bundle: &Bundle) -> PathBuf {
    cgroups::v2(&unit(bundle))
}

/// A property of a unit as `systemctl show` prints it.
#[track_caller]
pub fn property(unit: &str, name: &str) -> String {
    let text = systemctl(&["show", "--property", name, unit]);
    let lines: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect();
    lines.join("\n")
}

/// The id of an ordinary user.
pub const USER: u32 = 1000;

/// Whether the systemd of that user runs.
pub fn runs_for_user() -> bool {
    Path::new(&format!("/run/user/{USER}/bus")).exists()
}

/// As [`property`], of a unit of that user.
#[track_caller]
pub fn user_property(unit: &str, name: &str) -> String {
    let id = USER.to_string();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "systemctl",
        "--user",
        "show",
        "--value",
    ]);
    let out = command
        .args(["--property", name, unit])
        .env("XDG_RUNTIME_DIR", format!("/run/user/{id}"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{command:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Checks that systemd does not have the unit any more.
#[track_caller]
pub fn assert_gone(unit: &str) {
    let gone = eventually(runtime::time_limit(), || property(unit, "LoadState") == "not-found");
    assert!(gone, "{unit}: {}", systemctl(&["show", unit]));
}

/// `systemctl daemon-reload`, and a wait for the files that systemd may then write.
#[track_caller]
pub fn reload() {
    systemctl(&["daemon-reload"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
}

#[track_caller]
fn systemctl(args: &[&str]) -> String {
    let out = Command::new("systemctl").args(args).output().unwrap();
    assert!(out.status.success(), "systemctl {args:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}
