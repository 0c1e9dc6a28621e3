//! `spec`

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Bundle, Value, cgroups, json, runtime};

/// What `spec` has written into the bundle, without a terminal, which a test does not have.
fn written(bundle: &Bundle) -> Value {
    let mut config: Value =
        serde_json::from_str(&runtime::read(&bundle.path().join("config.json"))).unwrap();
    assert_eq!(config["process"]["terminal"], true);
    config["process"]["terminal"] = json!(false);
    config
}

#[test]
fn what_is_written_runs() {
    let mut bundle = Bundle::busybox();
    let path = bundle.path();
    bundle.call(&["spec", "--bundle", path.to_str().unwrap()]).silent();
    bundle.config = written(&bundle);
    let out = bundle.sh("echo $PATH $TERM; ls /sys/fs/cgroup > /dev/null && touch /x");
    assert_eq!(out.status, 1, "{out:?}");
    assert_eq!(out.stdout, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin xterm\n");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn the_file_goes_to_the_present_directory() {
    let bundle = Bundle::busybox();
    let path = bundle.path();
    let bundle = bundle.current_dir(path);
    bundle.call(&["spec"]).silent();
    written(&bundle);
}

#[test]
fn the_text_is_indented_by_tabs() {
    let bundle = Bundle::busybox();
    let path = bundle.path();
    bundle.call(&["spec", "-b", path.to_str().unwrap()]).silent();
    let text = runtime::read(&path.join("config.json"));
    assert!(text.starts_with("{\n\t\"ociVersion\": \"1."), "{text}");
    assert!(text.contains("\n\t\t\"user\": {\n\t\t\t\"uid\": 0,\n"), "{text}");
    assert!(text.ends_with("\n\t}\n}"), "{text}");
    let keys: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("\t\"")?.split('"').next()).collect();
    assert_eq!(keys, ["ociVersion", "process", "root", "hostname", "mounts", "linux"]);
}

#[test]
fn it_is_what_runc_writes() {
    let bundle = Bundle::busybox();
    let path = bundle.path();
    bundle.call(&["spec", "-b", path.to_str().unwrap()]).silent();
    let config = written(&bundle);
    let kinds: Vec<&str> = config["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| kind["type"].as_str().unwrap())
        .collect();
    let mut expected = vec!["pid", "network", "ipc", "uts", "mount"];
    if cgroups::is_pure_v2() {
        expected.push("cgroup");
    }
    assert_eq!(kinds, expected);
    assert_eq!(
        config["linux"]["resources"],
        json!({ "devices": [{ "allow": false, "access": "rwm" }] })
    );
    assert_eq!(config["root"], json!({ "path": "rootfs", "readonly": true }));
    let process = &config["process"];
    assert_eq!((&process["args"], &process["cwd"]), (&json!(["sh"]), &json!("/")));
    assert_eq!(process["noNewPrivileges"], true);
    assert_eq!(
        process["rlimits"],
        json!([{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }])
    );
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(process["capabilities"][set], capabilities, "{set}");
    }
    assert!(process["capabilities"].get("inheritable").is_none());
    let mounts: Vec<&str> = config["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["destination"].as_str().unwrap())
        .collect();
    assert_eq!(
        mounts,
        ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"],
        "{config}"
    );
}

#[test]
fn rootless_maps_the_user_and_runs() {
    let mut bundle = Bundle::busybox();
    let path = bundle.path();
    bundle.call(&["spec", "--rootless", "-b", path.to_str().unwrap()]).silent();
    let config = written(&bundle);
    let linux = &config["linux"];
    for mappings in ["uidMappings", "gidMappings"] {
        assert_eq!(linux[mappings], json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
    }
    assert!(linux.get("resources").is_none());
    let kinds = linux["namespaces"].to_string();
    assert!(kinds.contains("user") && !kinds.contains("network"), "{kinds}");
    assert!(!config["mounts"].to_string().contains("gid="), "{config}");
    assert_eq!(config["mounts"][5]["options"][0], "rbind");
    bundle.config = config;
    assert_eq!(
        bundle.sh("cat /proc/self/uid_map").ok().stdout.split_whitespace().last(),
        Some("1")
    );
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let bundle = Bundle::busybox();
    let file = bundle.path().join("config.json");
    std::fs::write(&file, "mine").unwrap();
    let path = bundle.path();
    let call = || bundle.call(&["spec", "-b", path.to_str().unwrap()]);
    call().refused().says("File config.json exists. Remove it first");
    assert_eq!(runtime::read(&file), "mine");
}

#[test]
fn a_link_is_not_followed() {
    differs!();
    let bundle = Bundle::busybox();
    let target = bundle.scratch("target");
    symlink(&target, bundle.path().join("config.json")).unwrap();
    let path = bundle.path();
    bundle.call(&["spec", "-b", path.to_str().unwrap()]).refused().says("File config.json exists");
    assert!(!target.exists());
}

#[test]
fn the_mode_is_left_to_the_umask() {
    let bundle = Bundle::busybox().after("umask 027");
    let path = bundle.path();
    bundle.call(&["spec", "-b", path.to_str().unwrap()]).silent();
    let mode = path.join("config.json").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o027, mode & 0o777, "{mode:o}");
}

#[test]
fn a_bundle_that_is_not_there_is_refused() {
    let bundle = Bundle::busybox();
    bundle.call(&["spec", "-b", "/no/such/bundle"]).refused().because("no such file or directory");
}
