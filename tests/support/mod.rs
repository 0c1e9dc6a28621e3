//! The support code of the tests: bundles, containers, and functions that examine the machine.

/// Ends the test here if it is listed in `differences` and the runtime under test is runc.
macro_rules! differs {
    () => {{
        fn here() {}
        if $crate::support::differences::skips(std::any::type_name_of_val(&here)) {
            return;
        }
    }};
}

/// Ends the test here if this machine does not have a feature that the test needs.
macro_rules! needs {
    ($condition:expr, $what:literal) => {
        if !$condition {
            eprintln!("skipped: this machine has no {}", $what);
            return;
        }
    };
}

pub mod agent;
pub mod attack;
pub mod bundle;
pub mod cgroups;
pub mod config;
pub mod container;
pub mod criu;
pub mod crun_only;
pub mod differences;
pub mod fuse;
pub mod leftovers;
pub mod limits;
pub mod mountinfo;
pub mod neighbour;
pub mod openmetrics;
pub mod runtime;
pub mod sockets;
pub mod systemd;
pub mod terminal;
pub mod tracer;
pub mod userland;

pub use bundle::Bundle;
pub use container::Container;
pub use runtime::Output;
pub use serde_json::{Value, json};

use std::time::{Duration, Instant};

/// Waits until `condition` is true. Returns false if it is still false after the time limit.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process waits for something: state S of proc_pid_status(5).
pub fn is_waiting(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains("\nState:\tS")
}

/// Whether tests may take a long time (`make soak`).
pub fn soak() -> bool {
    std::env::var_os("ORLOP_SOAK").is_some_and(|value| !value.is_empty())
}

/// Whether the kernel has this version or a newer one.
pub fn kernel_since(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

/// The effective capabilities of the tests, and so of the runtime: a bit for each.
pub fn own_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    u64::from_str_radix(line.unwrap(), 16).unwrap()
}

/// Whether the runtime may raise limits and lower the OOM score; some sandboxes do not let root do
/// that.
pub fn has_sys_resource() -> bool {
    own_capabilities() & (1 << 24) != 0
}

/// The target of a symbolic link such as `/proc/PID/ns/uts`, as text.
#[track_caller]
pub fn link(path: impl AsRef<std::path::Path>) -> String {
    let path = path.as_ref();
    let target =
        std::fs::read_link(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    target.to_string_lossy().into_owned()
}

/// A namespace of the test itself, which is also that of the runtime: `uts:[4026531838]`.
pub fn host_namespace(kind: &str) -> String {
    link(format!("/proc/self/ns/{kind}"))
}
