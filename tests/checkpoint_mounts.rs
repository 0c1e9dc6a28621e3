//! `checkpoint` and `restore`: mounts are as they were

use std::fs;
use std::path::Path;

use crate::checkpoint::{checkpoint, counting, criu_works, restore};
use crate::support::{Bundle, Container, Value, json};

fn mounts(c: &Container) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", c.pid())).unwrap();
    let place = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let options: Vec<&str> =
            fields[5].split(',').filter(|option| !option.ends_with("atime")).collect();
        format!("{} {}", fields[4], options.join(","))
    };
    let mut mounts: Vec<String> = text.lines().map(place).collect();
    mounts.sort();
    mounts
}

#[test]
fn mounts_of_the_host_are_mounted_again_and_as_they_were() {
    needs!(criu_works(), "criu that works");
    let bundle = Bundle::busybox();
    let (data, nested, file) =
        (bundle.scratch_dir("data"), bundle.scratch_dir("nested"), bundle.scratch("file"));
    fs::write(&file, "a file\n").unwrap();
    fs::create_dir_all(bundle.rootfs("real/conf")).unwrap();
    std::os::unix::fs::symlink("/real/conf", bundle.rootfs("conf")).unwrap();
    let bind = |to: &str, from: &Path, how: &str| json!({ "destination": to, "source": from, "options": ["bind", how] });
    let bundle = bundle
        .push("/mounts", bind("/conf", &data, "ro"))
        .push("/mounts", bind("/data", &data, "rw"))
        .push("/mounts", bind("/data/a/b", &nested, "rw"))
        .push("/mounts", bind("/etc/file", &file, "ro"));
    let c = counting(bundle);
    let before = mounts(&c);
    checkpoint(&c, &[]);
    // Mount points are made anew where they are missing.
    fs::remove_dir_all(data.join("a")).unwrap();
    fs::remove_file(c.bundle.rootfs("etc/file")).unwrap();
    restore(&c, &[]);
    assert_eq!(mounts(&c), before);
    fs::write(data.join("new"), "new\n").unwrap();
    assert_eq!(c.exec_sh("cat /conf/new /data/new /etc/file").ok().stdout, "new\nnew\na file\n");
    assert_ne!(c.exec_sh("touch /conf/x").status, 0);
    assert_ne!(
        c.exec_sh("echo 1 >/proc/sys/kernel/hostname; test -s /proc/keys").status,
        0,
        "hidden and read-only"
    );
    assert_eq!(c.exec_sh("touch /data/x /data/a/b/y").status, 0);
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

fn bind(to: &str, from: &Path) -> Value {
    json!({ "destination": to, "source": from, "options": ["bind"] })
}

/// Podman writes a config.json anew for `podman container restore --import`, with its mounts in
/// another order.
#[test]
fn mounts_may_be_listed_in_another_order() {
    needs!(criu_works(), "criu that works");
    let bundle = Bundle::busybox();
    let (data, nested, file) =
        (bundle.scratch_dir("data"), bundle.scratch_dir("nested"), bundle.scratch("file"));
    fs::write(&file, "a file\n").unwrap();
    fs::write(data.join("name"), "data\n").unwrap();
    fs::write(nested.join("name"), "nested\n").unwrap();
    let (data, nested, file) =
        (bind("/data", &data), bind("/nested", &nested), bind("/etc/file", &file));
    let bundle = bundle
        .push("/mounts", data.clone())
        .push("/mounts", nested.clone())
        .push("/mounts", file.clone());
    let c = counting(bundle);
    checkpoint(&c, &[]);
    let path = c.bundle.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.truncate(mounts.len() - 3);
    mounts.splice(0..0, [file, data]);
    mounts.push(nested);
    fs::write(&path, config.to_string()).unwrap();
    restore(&c, &[]);
    assert_eq!(
        c.exec_sh("cat /data/name /nested/name /etc/file").ok().stdout,
        "data\nnested\na file\n"
    );
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn a_read_only_root_stays_so() {
    differs!();
    needs!(criu_works(), "criu that works");
    let c = Bundle::busybox()
        .set("/root/readonly", true)
        .script("exec </dev/null >/dev/null 2>&1; while :; do sleep 0.1; done");
    let c = c.run_detached();
    checkpoint(&c, &[]);
    restore(&c, &[]);
    c.exec_sh("touch /x").because("read-only file system");
}
