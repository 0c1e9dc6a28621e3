//! Processes, mounts, cgroups and states that a container leaves behind on the host. Ids and paths
//! are unique to a bundle, so other tests and earlier runs cannot be the cause.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Bundle, cgroups, differences, eventually, runtime};

impl Bundle {
    /// Checks that no process, mount, cgroup or state of this bundle's container exists. The kernel
    /// may need a moment to remove those of killed processes.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left = self.what_is_left();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// The leftovers that [`Self::assert_nothing_left`] checks for.
    pub fn what_is_left(&self) -> Vec<String> {
        let mut left = Vec::new();
        eventually(Duration::from_secs(3), || {
            left = self.leftovers();
            left.is_empty()
        });
        left
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        left.extend(
            self.processes().iter().map(|pid| format!("process {pid} {}", command_line(*pid))),
        );
        left.extend(self.mounts().into_iter().map(|line| format!("mount {line}")));
        let counts = |path: &PathBuf| differences::removes_its_cgroup() || !is_empty_on_v2(path);
        let cgroups = self.cgroups().into_iter().filter(counts);
        left.extend(cgroups.map(|path| format!("cgroup {}", path.display())));
        left.extend(self.state_names().into_iter().map(|name| format!("state {name}")));
        left
    }

    /// The processes that belong to the container or to a call of the runtime for it.
    ///
    /// They are killed at the end. So a process that is older than the tests is never included, and
    /// mounts in our own mount namespace do not count.
    pub fn processes(&self) -> Vec<i32> {
        let marker = format!("{}={}\0", runtime::MARKER, self.name());
        let dir = format!("/{}/", self.dir().file_name().unwrap().to_string_lossy());
        let rootfs = self.rootfs("").to_string_lossy().trim_end_matches('/').to_owned();
        let ours = namespace("self");
        let oldest = started("self");
        let belongs = |pid: &i32| {
            let pid = &pid.to_string();
            let contains = |file, text: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).contains(text)
            };
            let elsewhere = || namespace(pid).is_some_and(|theirs| Some(theirs) != ours);
            started(pid) > oldest
                && (contains("environ", &marker)
                    || contains("cgroup", &format!("/{}", self.name()))
                    || elsewhere() && has_mounted(pid, &dir, &rootfs))
        };
        processes().into_iter().filter(belongs).collect()
    }

    /// All cgroups whose names begin with that of this bundle.
    fn cgroups(&self) -> Vec<PathBuf> {
        cgroups::beginning_with(self.name())
    }

    fn mounts(&self) -> Vec<String> {
        let dir = self.dir().to_string_lossy().into_owned();
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mountinfo.lines().filter(|line| line.contains(&dir)).map(str::to_owned).collect()
    }

    /// Kills and removes everything that the test has left, so that a failed test does not disturb
    /// the machine.
    pub fn clean_up(&self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let mut groups = self.cgroups();
        for group in &groups {
            // On cgroup v1 a frozen process does not end. Other hierarchies do not have this file.
            let _ = fs::OpenOptions::new()
                .write(true)
                .open(group.join("freezer.state"))
                .and_then(|mut file| std::io::Write::write_all(&mut file, b"THAWED"));
        }
        groups.reverse();
        eventually(Duration::from_secs(1), || {
            groups.retain(|path| remove_cgroup(path).is_err());
            groups.is_empty()
        });
    }
}

/// Whether a cgroup of v2 has no processes, not even in cgroups below it.
fn is_empty_on_v2(path: &Path) -> bool {
    fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.contains("populated 0"))
}

/// Removes a cgroup and all cgroups below it.
fn remove_cgroup(path: &Path) -> std::io::Result<()> {
    for name in fs::read_dir(path)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&name.path())?;
    }
    fs::remove_dir(path)
}

/// The names in a directory; none if it does not exist.
pub fn entries(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn processes() -> Vec<i32> {
    entries(Path::new("/proc")).iter().filter_map(|name| name.parse().ok()).collect()
}

/// Whether a process has a mount of a file or directory below `dir`: anywhere outside of `dir`, or
/// at the rootfs.
///
/// Other mounts at a path below `dir` do not count. A test has them on the host, and each process
/// that becomes a container has them for a moment, in its copy of the host's mounts, even of those
/// that the host has no longer.
fn has_mounted(pid: &str, dir: &str, rootfs: &str) -> bool {
    let mountinfo = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    mountinfo.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let [root, point] = [fields.next(), fields.next()].map(Option::unwrap_or_default);
        root.contains(dir) && (!point.contains(dir) || point.starts_with(rootfs))
    })
}

/// The mount namespace of a process.
fn namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// The start time of a process, in clock ticks since boot: the 22nd field, counted after the name
/// in parentheses. `None` if it has ended, even if it has not been reaped yet.
fn started(pid: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}
