//! The mounts of a rootfs, as snapshotters describe them.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use containerd_shim_protos::api::{CreateTaskRequest, Mount};

use super::support::{Shim, context, failure, until};

/// A shim whose container has its files in `image`, and not in the bundle.
fn with_image(args: &[&str], change: impl FnOnce(&mut serde_json::Value)) -> (Shim, PathBuf) {
    let shim = Shim::with_config(args, change);
    let image = shim.dir.path().join("image");
    fs::rename(shim.bundle(&shim.id).join("rootfs"), &image).unwrap();
    (shim, image)
}

fn mount(kind: &str, source: &Path, options: &[&str]) -> Mount {
    let mut mount = Mount::new();
    kind.clone_into(&mut mount.type_);
    source.to_str().unwrap().clone_into(&mut mount.source);
    mount.options = options.iter().map(|&option| option.to_owned()).collect();
    mount
}

fn request(shim: &Shim, rootfs: Vec<Mount>) -> CreateTaskRequest {
    CreateTaskRequest { rootfs, ..shim.create_request() }
}

/// Creates the container with these mounts as its rootfs.
fn create(shim: &Shim, rootfs: Vec<Mount>) {
    shim.client().create(context(), &request(shim, rootfs)).unwrap();
}

/// The type, the source and the options of the mount on top at `path`.
fn mounted(path: &Path) -> Option<[String; 3]> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let line = mounts.lines().rev().map(fields).find(|line| line[1] == path.to_str().unwrap())?;
    Some([line[2].clone(), line[0].clone(), line[3].clone()])
}

/// Starts the created container, waits for its end and deletes it. Then no mount is left.
fn run_to_the_end(shim: &Shim) {
    let client = shim.client();
    shim.start(&client, "").unwrap();
    assert_eq!(shim.wait(&client, "").exit_status, 0);
    shim.delete(&client, "").unwrap();
    assert_eq!(mounted(&shim.bundle(&shim.id).join("rootfs")), None);
    shim.shut_down(&client);
}

#[test]
fn a_bind_is_mounted_for_as_long_as_the_container_is_there() {
    let (shim, image) = with_image(&["cat", "/proc/self/mounts"], |_| {});
    let rootfs = shim.bundle(&shim.id).join("rootfs");
    let bind = mount("bind", &image, &["rbind", "ro", "rprivate"]);
    create(&shim, vec![bind]);
    assert!(mounted(&rootfs).unwrap()[2].starts_with("ro,"));
    run_to_the_end(&shim);
}

/// Whatever the options are, the mount has the attributes of its source, too.
#[test]
fn a_bind_keeps_the_attributes_of_its_source() {
    let (shim, image) = with_image(&["true"], |_| {});
    let rootfs = shim.bundle(&shim.id).join("rootfs");
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
    };
    let source = image.to_str().unwrap();
    run("mount", &["--bind", source, source]);
    run("mount", &["-o", "remount,bind,ro,nodev", source]);
    create(&shim, vec![mount("bind", &image, &["rbind", "nosuid"])]);
    let options = mounted(&rootfs).unwrap()[2].clone();
    shim.run_delete();
    run("umount", &[source]);
    for option in ["ro", "nosuid", "nodev"] {
        assert!(options.split(',').any(|one| one == option), "{options}");
    }
}

#[test]
fn a_mount_that_fails_leaves_none_of_those_before_it() {
    let (shim, image) = with_image(&["true"], |_| {});
    let (client, rootfs) = (shim.client(), shim.bundle(&shim.id).join("rootfs"));
    let bind = mount("bind", &image, &["rbind"]);
    let wrong = [
        (mount("bind", Path::new("/no/such/layer"), &["rbind"]), "/no/such/layer"),
        (mount("ext4", Path::new("/no/such/file"), &["loop"]), "/no/such/file"),
        (mount("ext4", Path::new("/no/such/file"), &["uidmap=0:1:1"]), "gidmap="),
        (mount("bind", &image, &["rbind", "uidmap=0:1", "gidmap=0:1:1"]), "CONTAINER:HOST:SIZE"),
        (mount("fuse3.no-such-program", &image, &[]), "mount.fuse3"),
    ];
    for (wrong, named) in wrong {
        let rootfs_mounts = vec![bind.clone(), wrong];
        let (_, text) = failure(client.create(context(), &request(&shim, rootfs_mounts)));
        assert!(text.contains(named), "{text}");
        assert_eq!(mounted(&rootfs), None, "{named}");
    }
    shim.shut_down(&client);
}

#[test]
fn a_mount_below_the_rootfs_has_its_options() {
    let (shim, image) = with_image(&["sh", "-c", "! echo >/tmp/x 2>/dev/null"], |_| {});
    let rootfs = shim.bundle(&shim.id).join("rootfs");
    let other = shim.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let bind = mount("bind", &image, &["rbind"]);
    let mut below = mount("bind", &other, &["rbind", "ro", "nosuid", "rprivate"]);
    below.target = "/tmp".to_owned();
    create(&shim, vec![bind, below]);
    assert!(mounted(&rootfs).unwrap()[2].starts_with("rw,"));
    assert!(mounted(&rootfs.join("tmp")).unwrap()[2].starts_with("ro,nosuid,"));
    run_to_the_end(&shim);
}

#[test]
fn a_file_is_mounted_by_a_loop_device_that_is_free_afterwards() {
    if !Path::new("/dev/loop-control").exists() {
        return; // this kernel has no loop devices
    }
    for (options, access) in [(["loop", "rw"], "rw,"), (["loop", "ro"], "ro,")] {
        let (shim, image) = with_image(&["true"], |_| {});
        let (file, rootfs) = (shim.dir.path().join("disk"), shim.bundle(&shim.id).join("rootfs"));
        let mut mke2fs = Command::new("mke2fs");
        let made =
            mke2fs.args(["-q", "-t", "ext4", "-d"]).args([&image, &file]).arg("32M").status();
        assert!(made.unwrap().success(), "mke2fs");
        let ext4 = mount("ext4", &file, &options);
        create(&shim, vec![ext4]);
        let [kind, device, options] = mounted(&rootfs).unwrap();
        assert!(kind == "ext4" && options.starts_with(access), "{kind} {options}");
        let backing =
            format!("/sys/block/{}/loop/backing_file", device.trim_start_matches("/dev/"));
        let backing_file = || fs::read_to_string(&backing).unwrap_or_default();
        assert_eq!(backing_file().trim(), file.to_str().unwrap());
        run_to_the_end(&shim);
        until("the loop device is free", || backing_file().trim() != file.to_str().unwrap());
    }
}

/// config.json gets a user namespace whose root is 100000.
fn user_namespace(config: &mut serde_json::Value) {
    let ids = serde_json::json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "user" }));
    linux["uidMappings"] = ids.clone();
    linux["gidMappings"] = ids;
}

const OWNED_BY_ROOT: [&str; 3] =
    ["sh", "-c", "[ \"$(busybox stat -c %u:%g /bin/busybox)\" = 0:0 ] && echo >/tmp/x"];

#[test]
fn the_layers_of_an_overlay_have_mapped_ids() {
    let (shim, image) = with_image(&OWNED_BY_ROOT, user_namespace);
    let dir = shim.dir.path();
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let layer = |name: &str| {
        let path = dir.join(name);
        fs::create_dir(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let [upper, work] = ["upper", "work"].map(layer);
    chown(&upper, Some(100_000), Some(100_000)).unwrap();
    // So many that the options are longer than a page.
    let many: Vec<String> =
        (0..60).map(|number| layer(&format!("{number}-{}", "x".repeat(60)))).collect();
    for lower in [many[..2].join(":"), many.join(":")] {
        let options = [
            format!("lowerdir={lower}:{}", image.display()),
            format!("upperdir={upper}"),
            format!("workdir={work}"),
            "uidmap=0:100000:65536".to_owned(),
            "gidmap=0:100000:65536".to_owned(),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let overlay = mount("overlay", Path::new("overlay"), &options);
        let client = shim.client();
        create(&shim, vec![overlay]);
        let busybox = shim.bundle(&shim.id).join("rootfs/bin/busybox");
        assert_eq!(fs::metadata(busybox).unwrap().uid(), 100_000);
        assert_eq!(fs::metadata(image.join("bin/busybox")).unwrap().uid(), 0);
        shim.start(&client, "").unwrap();
        assert_eq!(shim.wait(&client, "").exit_status, 0);
        shim.delete(&client, "").unwrap();
        assert_eq!(mounted(&shim.bundle(&shim.id).join("rootfs")), None);
        // The layers are mounted nowhere, and the file is of the root inside.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
        assert_eq!(fs::metadata(Path::new(&upper).join("tmp/x")).unwrap().uid(), 100_000);
    }
    shim.shut_down(&shim.client());
}

#[test]
fn a_bind_has_mapped_ids() {
    let (shim, image) = with_image(&OWNED_BY_ROOT, user_namespace);
    let maps =
        ["rbind", "rprivate", "uidmap=0:100000:1000,1000:200000:10", "gidmap=0:100000:65536"];
    create(&shim, vec![mount("bind", &image, &maps)]);
    let busybox = shim.bundle(&shim.id).join("rootfs/bin/busybox");
    assert_eq!(fs::metadata(busybox).unwrap().uid(), 100_000);
    run_to_the_end(&shim);
    assert_eq!(fs::metadata(image.join("tmp/x")).unwrap().uid(), 0);
}

#[test]
fn a_filesystem_in_user_space_is_mounted_by_its_program() {
    if !Path::new("/dev/fuse").exists() {
        return; // this kernel has no FUSE
    }
    let (shim, image) = with_image(&["sh", "-c", "echo >/tmp/x"], |_| {});
    let [upper, work] = ["upper", "work"].map(|name| shim.dir.path().join(name));
    [&upper, &work].into_iter().for_each(|path| fs::create_dir(path).unwrap());
    let options = [
        format!("lowerdir={}", image.display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    create(&shim, vec![mount("fuse3.fuse-overlayfs", Path::new("overlay"), &options)]);
    assert_eq!(mounted(&shim.bundle(&shim.id).join("rootfs")).unwrap()[0], "fuse.fuse-overlayfs");
    run_to_the_end(&shim);
    assert!(upper.join("tmp/x").exists());
}
