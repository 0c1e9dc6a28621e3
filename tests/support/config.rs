//! The default configuration of bundles, and changes to it by JSON pointer.

use serde_json::{Value, json};

/// A container with six new namespaces, the usual mounts, three capabilities and no resources.
pub fn default() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["true"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb"],
            "cwd": "/",
            "capabilities": capabilities(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]),
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "orlop",
        "mounts": mounts(),
        "linux": {
            "namespaces": [
                { "type": "pid" },
                { "type": "network" },
                { "type": "ipc" },
                { "type": "uts" },
                { "type": "mount" },
                { "type": "cgroup" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
                "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

/// The same names in the bounding, effective and permitted set; nothing inheritable or ambient.
pub fn capabilities(names: &[&str]) -> Value {
    json!({ "bounding": names, "effective": names, "permitted": names })
}

fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
    ])
}

/// Sets the value at `pointer`. Missing objects on the way are created.
#[track_caller]
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    *slot(config, pointer) = value;
}

/// Appends to the array at `pointer`, which is created if it is missing.
#[track_caller]
pub fn push(config: &mut Value, pointer: &str, value: Value) {
    let array = slot(config, pointer);
    if array.is_null() {
        *array = json!([]);
    }
    array.as_array_mut().unwrap_or_else(|| panic!("{pointer} is no array")).push(value);
}

/// Removes the value at `pointer`, which must exist.
#[track_caller]
pub fn remove(config: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').expect("a JSON pointer starts with a slash");
    match config.pointer_mut(parent) {
        Some(Value::Object(object)) => {
            assert!(object.remove(&unescape(last)).is_some(), "no {pointer}")
        }
        Some(Value::Array(array)) => drop(array.remove(last.parse().unwrap())),
        _ => panic!("no {parent}"),
    }
}

#[track_caller]
fn slot<'c>(config: &'c mut Value, pointer: &str) -> &'c mut Value {
    let tokens = pointer.strip_prefix('/').expect("a JSON pointer starts with a slash").split('/');
    tokens.fold(config, |value, token| {
        if value.is_null() {
            *value = json!({});
        }
        match value {
            Value::Object(object) => object.entry(unescape(token)).or_insert(Value::Null),
            Value::Array(array) => &mut array[token.parse::<usize>().unwrap()],
            _ => panic!("{token} of {pointer} is below a plain value"),
        }
    })
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}
