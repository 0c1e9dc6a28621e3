//! The root filesystem of every test container: one static busybox, and a link for each of its
//! programs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::Bundle;

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nsailor:x:1000:1000:sailor:/home/sailor:/bin/sh\n";
const GROUP: &str = "root:x:0:\nsailor:x:1000:\ntty:x:5:\n";
const DIRECTORIES: &[&str] =
    &["bin", "dev", "etc", "home/sailor", "mnt", "proc", "root", "sys", "tmp", "var"];

/// Fills `rootfs`.
pub fn install(rootfs: &Path) {
    for dir in DIRECTORIES {
        fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(rootfs.join("etc/passwd"), PASSWD).unwrap();
    fs::write(rootfs.join("etc/group"), GROUP).unwrap();
    copy_program(busybox(), &rootfs.join("bin/busybox"));
    for name in applets().iter().filter(|name| *name != "busybox") {
        symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
}

/// Makes links in the rootfs that lead to a program that exists only on the host. Each uses another
/// descriptor that the runtime may have open.
pub fn links_to_a_program_of_the_host(bundle: &Bundle) -> Vec<String> {
    let program = bundle.scratch("busybox");
    copy_program(busybox(), &program);
    let link = |n| {
        let target = format!("/proc/self/fd/{n}{}{}", "/..".repeat(16), program.display());
        fs::create_dir(bundle.rootfs(&format!("link{n}"))).unwrap();
        symlink(target, bundle.rootfs(&format!("link{n}/busybox"))).unwrap();
        format!("/link{n}/busybox")
    };
    (3..25).map(link).collect()
}

/// Writes a program in a separate process. If this process had the file open for writing while
/// another thread forks, the child would keep it open, and executing it would fail with "text file
/// busy".
pub fn write_program(file: &Path, text: &str) {
    let mut writer = Command::new("sh");
    let writer =
        writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(file).stdin(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success(), "writing {}", file.display());
}

/// Copies a program in a separate process, for the same reason.
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

/// The static busybox of this machine: `$BUSYBOX`, or the first in `PATH`.
fn busybox() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(path) = std::env::var_os("BUSYBOX") {
            return path.into();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found =
            std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
        found.expect("the tests need a static busybox in PATH (Debian: busybox-static)")
    })
}

fn applets() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let list = Command::new(busybox()).arg("--list").output().unwrap();
        String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
    })
}
