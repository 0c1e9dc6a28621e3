//! `checkpoint` and `restore`: what criu is told, by a program in its place that writes down what
//! it is asked for and then ends. What criu makes of it is in `checkpoint.rs`, for machines where
//! it works.

use std::collections::BTreeMap;
use std::fs;

use crate::support::criu::{NEW, with_stand_in};
use crate::support::runtime::Output;
use crate::support::{Bundle, Container, json, userland};

fn running(bundle: Bundle) -> Container {
    with_stand_in(bundle, NEW).args(["sleep", "1000"]).run_detached()
}

/// Fields of a message by their numbers: numbers as text, texts and messages as they are.
type Fields = BTreeMap<u64, Vec<Vec<u8>>>;

fn fields(mut bytes: &[u8]) -> Fields {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let value =
            bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
        *bytes = &bytes[end + 1..];
        value
    }
    let mut found = Fields::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => varint(&mut bytes).to_string().into_bytes(),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let value = bytes[..length].to_vec();
                bytes = &bytes[length..];
                value
            }
            other => panic!("a field of type {other}"),
        };
        found.entry(tag >> 3).or_default().push(value);
    }
    found
}

/// The options of the request that was made of the stand-in: `criu_opts`.
#[track_caller]
fn options(bundle: &Bundle, kind: u8) -> Fields {
    let file = bundle.scratch("stand-in").join(kind.to_string());
    let request = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    fs::remove_file(file).unwrap();
    fields(&fields(&request)[&2][0])
}

const DUMP: u8 = 1;
const RESTORE: u8 = 2;
const PRE_DUMP: u8 = 4;

/// Flags that are a switch of criu's, or a text or number: the field of `criu_opts`, and its value.
const BOTH: &[(&[&str], u64, &str)] = &[
    (&["--ext-unix-sk"], 4, "1"),
    (&["--tcp-established"], 5, "1"),
    (&["--shell-job"], 7, "1"),
    (&["--file-locks"], 8, "1"),
    (&["--auto-dedup"], 16, "1"),
    (&["--lazy-pages"], 48, "1"),
];

/// How criu treats cgroups.
const MODES: &[(&[&str], u64, &str)] = &[
    (&["--manage-cgroups-mode", "soft"], 34, "3"),
    (&["--manage-cgroups-mode", "full"], 34, "4"),
    (&["--manage-cgroups-mode", "strict"], 34, "5"),
];

/// Whether a field has this value; a switch that is off may be left out.
fn says(options: &Fields, field: u64, value: &str) -> bool {
    options.get(&field).is_some_and(|values| values.last().unwrap() == value.as_bytes())
}

#[track_caller]
fn checkpoint(c: &Container, flags: &[&str]) -> Output {
    let images = c.bundle.scratch("images");
    let args = ["checkpoint", "--image-path", images.to_str().unwrap()];
    let all: Vec<&str> = args.iter().chain(flags).chain([&c.id()]).copied().collect();
    c.bundle.call(&all).refused().says("criu failed: ")
}

#[track_caller]
fn each_flag_is_told(flags: &[(&[&str], u64, &str)], ask: impl Fn(&[&str]) -> Fields) {
    let usual = ask(&[]);
    for (flags, field, value) in flags {
        assert!(!says(&usual, *field, value), "{flags:?} changes nothing: {usual:?}");
        let options = ask(flags);
        assert!(says(&options, *field, value), "{flags:?}: {options:?}");
    }
}

#[test]
fn checkpoint_tells_criu_of_its_flags() {
    let c = running(Bundle::busybox());
    each_flag_is_told(&[BOTH, MODES].concat(), |flags| {
        checkpoint(&c, flags);
        options(&c.bundle, DUMP)
    });
    each_flag_is_told(
        &[(&["--leave-running"], 3, "1"), (&["--parent-path", "../stand-in"], 14, "../stand-in")],
        |flags| {
            checkpoint(&c, flags);
            options(&c.bundle, DUMP)
        },
    );
    assert_eq!(c.status(), "running");
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn checkpoint_tells_criu_of_its_newer_flags() {
    differs!();
    let c = running(Bundle::busybox());
    each_flag_is_told(
        &[
            (&["--link-remap"], 18, "1"),
            (&["--tcp-skip-in-flight"], 46, "1"),
            (&["--manage-cgroups-mode", "ignore"], 34, "0"),
        ],
        |flags| {
            checkpoint(&c, flags);
            options(&c.bundle, DUMP)
        },
    );
}

/// What is in a network namespace belongs to those who have put it there, with or without the flag;
/// as runc has it.
#[test]
fn the_network_s_configuration_is_never_saved() {
    let c = running(Bundle::busybox());
    for flags in [&[][..], &["--empty-ns", "network"]] {
        checkpoint(&c, flags);
        assert!(says(&options(&c.bundle, DUMP), 38, "1073741824"));
    }
}

#[test]
fn pre_dump_asks_for_the_memory_only() {
    let c = running(Bundle::busybox());
    checkpoint(&c, &["--pre-dump"]);
    let told = options(&c.bundle, PRE_DUMP);
    assert!(says(&told, 2, &c.pid().to_string()), "{told:?}");
    assert!(!told.contains_key(&23), "there is nothing external about memory: {told:?}");
    assert!(c.bundle.scratch("stand-in/9").exists(), "asks whether the kernel tracks memory");
    assert!(!c.bundle.scratch("images/descriptors.json").exists());
}

#[test]
fn pages_go_to_the_page_server() {
    let c = running(Bundle::busybox());
    checkpoint(&c, &["--page-server", "127.0.0.1:4711"]);
    let server = fields(&options(&c.bundle, DUMP)[&11][0]);
    assert_eq!(
        server,
        Fields::from([(1, vec![b"127.0.0.1".to_vec()]), (2, vec![b"4711".to_vec()])])
    );
}

#[test]
fn the_log_is_in_the_work_path_or_with_the_images() {
    let c = running(Bundle::busybox());
    checkpoint(&c, &[]).says("dump.log");
    assert!(!options(&c.bundle, DUMP).contains_key(&17));
    let work = c.bundle.scratch("work");
    let output = checkpoint(&c, &["--work-path", work.to_str().unwrap()]);
    output.says(&format!("log file: {}", work.join("dump.log").display()));
    let told = options(&c.bundle, DUMP);
    assert!(says(&told, 10, "dump.log") && told.contains_key(&17), "{told:?}");
}

#[test]
fn the_containers_annotation_names_criu_s_own_config() {
    let own = "/etc/criu/a.conf";
    for (annotation, expected) in
        [(None, Some("/etc/criu/runc.conf")), (Some(own), Some(own)), (Some(""), None)]
    {
        let mut bundle = Bundle::busybox();
        if let Some(annotation) = annotation {
            bundle = bundle.set("/annotations", json!({ "org.criu.config": annotation }));
        }
        let c = running(bundle);
        checkpoint(&c, &[]);
        let told = options(&c.bundle, DUMP);
        let told = told.get(&51).map(|values| String::from_utf8_lossy(&values[0]).into_owned());
        assert_eq!(told.as_deref(), expected);
    }
}

/// Security: settings of criu can name programs that it starts as root. An image brings the
/// annotation as a label, and the file in a layer, whose place on the host can be guessed. Seen to
/// fail at commit 84eb9f4.
#[test]
fn a_config_of_criu_that_an_image_may_have_brought_is_refused() {
    differs!();
    let bundle = Bundle::busybox();
    let file = bundle.rootfs("criu.conf");
    fs::write(&file, "action-script /evil\n").unwrap();
    for file in [file.to_str().unwrap(), "/etc/criu/../../tmp/criu.conf", "criu.conf"] {
        let c = running(Bundle::busybox().set("/annotations", json!({ "org.criu.config": file })));
        let images = c.bundle.scratch("images");
        let output = c
            .bundle
            .call(&["checkpoint", "--image-path", images.to_str().unwrap(), c.id()])
            .refused();
        output.names("annotations.org.criu.config").says("/etc/criu");
        assert!(!c.bundle.scratch("stand-in/1").exists(), "criu was not asked");
        assert!(!images.exists(), "nothing was made for the images");
        assert_eq!(c.status(), "running");
        fs::create_dir(&images).unwrap();
        fs::write(images.join("descriptors.json"), "[]").unwrap();
        let (bundle, images) = (c.bundle.path(), images.to_str().unwrap());
        let restore = [
            "restore",
            "--detach",
            "--image-path",
            images,
            "--bundle",
            bundle.to_str().unwrap(),
            "restored",
        ];
        c.bundle.call(&restore).refused().names("annotations.org.criu.config");
        assert!(!c.bundle.scratch("stand-in/2").exists(), "criu was not asked");
    }
}

/// Security, CVE-2026-119101: a name that the rootfs has a say in could make criu bind another
/// directory of the host. Seen to fail at commit 84eb9f4.
#[test]
fn what_is_mounted_from_the_host_has_a_name_that_the_rootfs_has_no_say_in() {
    differs!();
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("data");
    std::os::unix::fs::symlink("/mnt", bundle.rootfs("link")).unwrap();
    // criu compares sources with mount points: it was told of `/./.` at the end, and found none.
    let mount =
        json!({ "destination": "/link", "source": source.join("./."), "options": ["bind", "ro"] });
    let c = running(bundle.push("/mounts", mount));
    checkpoint(&c, &[]);
    let pairs = |told: &Fields| -> Vec<(String, String)> {
        let text = |value: &Vec<u8>| String::from_utf8(value.clone()).unwrap();
        let pair = |pair: &Vec<u8>| (text(&fields(pair)[&1][0]), text(&fields(pair)[&2][0]));
        told[&23].iter().map(pair).collect()
    };
    let told = pairs(&options(&c.bundle, DUMP));
    assert!(
        told.contains(&("/mnt".to_owned(), "orlop-mount-/link".to_owned())),
        "where the kernel has it: {told:?}"
    );
    assert!(told.iter().all(|(_, name)| name.starts_with("orlop-")), "{told:?}");

    restore(&c.bundle, &[]);
    let told = pairs(&options(&c.bundle, RESTORE));
    assert!(
        told.contains(&("orlop-mount-/link".to_owned(), source.to_string_lossy().into_owned())),
        "{told:?}"
    );
    assert!(told.iter().all(|(name, _)| name.starts_with("orlop-")), "{told:?}");
}

/// criu writes `mnt[PATH]:NAME`, and finds the first end of the path.
#[test]
fn a_mount_point_that_criu_would_take_for_another_is_refused() {
    differs!();
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("data");
    fs::create_dir(bundle.rootfs("a]:b")).unwrap();
    std::os::unix::fs::symlink("/a]:b", bundle.rootfs("link")).unwrap();
    let c =
        running(bundle.push(
            "/mounts",
            json!({ "destination": "/link", "source": source, "options": ["bind"] }),
        ));
    let images = c.bundle.scratch("images");
    let output =
        c.bundle.call(&["checkpoint", "--image-path", images.to_str().unwrap(), c.id()]).refused();
    output.names("mounts[6]").says("/a]:b");
    assert!(!c.bundle.scratch("stand-in/1").exists(), "criu was not asked");
    assert_eq!(c.status(), "running");
}

#[test]
fn what_is_no_longer_read_only_is_refused() {
    differs!();
    let bundle = Bundle::busybox();
    let source = bundle.scratch_dir("data");
    let mount = json!({ "destination": "/data", "source": source, "options": ["bind", "ro"] });
    let c = running(bundle.push("/mounts", mount));
    let remount =
        ["-t", &c.pid().to_string(), "-m", "/bin/mount", "-o", "remount,bind,rw", "none", "/data"]
            .map(str::to_owned);
    assert!(std::process::Command::new("nsenter").args(remount).status().unwrap().success());
    let images = c.bundle.scratch("images");
    let output =
        c.bundle.call(&["checkpoint", "--image-path", images.to_str().unwrap(), c.id()]).refused();
    output.names("mounts[6]").says("/data is not read-only");
    assert_eq!(c.status(), "running");
}

/// Images that nothing can be restored from, but of which it is known what the standard streams
/// were.
fn restorable(bundle: &Bundle) {
    let images = bundle.scratch_dir("images");
    fs::write(images.join("descriptors.json"), r#"["/dev/null","pipe:[17]","pipe:[18]"]"#).unwrap();
    bundle.write_config();
}

#[track_caller]
fn restore(bundle: &Bundle, flags: &[&str]) -> Output {
    let (images, path) = (bundle.scratch("images"), bundle.path());
    let args = [
        "restore",
        "--image-path",
        images.to_str().unwrap(),
        "--bundle",
        path.to_str().unwrap(),
        "--detach",
    ];
    let id = format!("{}-restored", bundle.id());
    let all: Vec<&str> = args.iter().chain(flags).chain([&id.as_str()]).copied().collect();
    bundle.call(&all).refused().says("criu failed: ")
}

#[test]
fn restore_tells_criu_of_its_flags() {
    let bundle = with_stand_in(Bundle::busybox(), NEW);
    restorable(&bundle);
    let ask = |flags: &[&str]| {
        restore(&bundle, flags);
        options(&bundle, RESTORE)
    };
    each_flag_is_told(BOTH, ask);
    let labels: &[(&[&str], u64, &str)] = &[
        (&["--lsm-profile", "apparmor:strict"], 53, "apparmor:strict"),
        (&["--lsm-mount-context", "a:b:c"], 63, "a:b:c"),
    ];
    each_flag_is_told(labels, ask);
    bundle.assert_nothing_left();
}

#[test]
fn restore_tells_criu_of_its_newer_flags() {
    differs!();
    let bundle = with_stand_in(Bundle::busybox(), NEW);
    restorable(&bundle);
    let ask = |flags: &[&str]| {
        restore(&bundle, flags);
        options(&bundle, RESTORE)
    };
    each_flag_is_told(
        &[(&["--tcp-close"], 52, "1"), (&["--manage-cgroups-mode", "ignore"], 34, "0")],
        ask,
    );
    each_flag_is_told(MODES, ask);
}

#[test]
fn no_pivot_refuses_what_it_refuses_at_create() {
    let bundle = with_stand_in(Bundle::busybox(), NEW).set("/linux/rootfsPropagation", "rprivate");
    restorable(&bundle);
    let (images, path) = (bundle.scratch("images"), bundle.path());
    let args =
        ["--image-path", images.to_str().unwrap(), "--bundle", path.to_str().unwrap(), bundle.id()];
    bundle
        .call(&[&["restore", "--no-pivot"], &args[..]].concat())
        .refused()
        .says("[r]private is not safe");
    bundle.assert_nothing_left();
    restore(&bundle, &[]);
}

/// Whose is what outlives its parent: ours, as long as we wait for the container.
#[test]
fn no_subreaper_leaves_orphans_to_the_host() {
    let bundle = with_stand_in(Bundle::busybox(), NEW);
    let program = bundle.scratch("stand-in/criu");
    let orphan = "*) (bash -c 'sleep 0.5; grep PPid /proc/$$/status >\"$0/orphan.new\"; mv \"$0/orphan.new\" \"$0/orphan\"' \"$here\" &)
        echo \"PPid:\t$PPID\" >\"$here/runtime\"; until [ -e \"$here/orphan\" ]; do sleep 0.1; done; ";
    let text = fs::read_to_string(&program).unwrap().replace("*) ", &orphan.replace("\\t", "\t"));
    userland::write_program(&program, &text);
    restorable(&bundle);
    let (images, path) = (bundle.scratch("images"), bundle.path());
    for (flag, ours) in [("--no-subreaper=false", true), ("-no-subreaper", false)] {
        let args = [
            "restore",
            "--image-path",
            images.to_str().unwrap(),
            "--bundle",
            path.to_str().unwrap(),
            flag,
            bundle.id(),
        ];
        bundle.call(&args).refused();
        assert_eq!(
            bundle.read("stand-in/orphan") == bundle.read("stand-in/runtime"),
            ours,
            "{flag}"
        );
        fs::remove_file(bundle.scratch("stand-in/orphan")).unwrap();
    }
}

#[test]
fn pipes_are_replaced_by_our_own_streams() {
    let bundle = with_stand_in(Bundle::busybox(), NEW);
    restorable(&bundle);
    restore(&bundle, &[]);
    let inherited: Vec<Fields> =
        options(&bundle, RESTORE)[&27].iter().map(|one| fields(one)).collect();
    let expected = |name: &str, number: &str| {
        Fields::from([(1, vec![name.as_bytes().to_vec()]), (2, vec![number.as_bytes().to_vec()])])
    };
    assert_eq!(inherited, [expected("pipe:[17]", "1"), expected("pipe:[18]", "2")]);
}

/// What is restored is born where criu is.
#[test]
fn criu_is_asked_with_the_rootfs_in_place_and_nothing_of_it_is_left() {
    let bundle = with_stand_in(Bundle::busybox(), NEW);
    let program = bundle.scratch("stand-in/criu");
    let look = "*) { ls ../state/*/criu-root; cat /proc/self/cgroup; } >\"$here/seen\"; ";
    userland::write_program(&program, &fs::read_to_string(&program).unwrap().replace("*) ", look));
    restorable(&bundle);
    restore(&bundle, &[]);
    let seen = bundle.read("stand-in/seen");
    assert!(seen.contains("home\n"), "the rootfs: {seen}");
    assert!(seen.contains(&format!("{}-restored", bundle.id())), "the cgroup: {seen}");
    bundle.assert_nothing_left();
}

/// What criu cannot do for itself is no reason of its failure.
#[test]
fn the_error_that_ended_it_is_told() {
    differs!();
    let c = running(Bundle::busybox());
    let work = c.bundle.scratch_dir("work");
    let log = "(00.1) Error (criu/util.c:9): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n\
               (00.2) Error (criu/mount.c:8): mnt: no way to save this\n(00.3) Error (criu/cr-dump.c:7): Dumping FAILED.\n";
    fs::write(work.join("dump.log"), log).unwrap();
    checkpoint(&c, &["--work-path", work.to_str().unwrap()])
        .says("dump.log: mnt: no way to save this");
}

/// The log of criu 4.2 where it has no CAP_SYS_RESOURCE and /proc/sys/fs/pipe-max-size is 1048576.
#[test]
fn the_limit_of_a_page_server_is_named() {
    differs!();
    let c = running(Bundle::busybox());
    let work = c.bundle.scratch_dir("work");
    let log = "(00.357026) Error (criu/page-pipe.c:424): page-pipe: splice: -1: Bad file descriptor\n\
               (00.357274) Error (criu/cr-dump.c:2036): Lazy pages transfer FAILED.\n";
    fs::write(work.join("dump.log"), log).unwrap();
    checkpoint(&c, &["--work-path", work.to_str().unwrap()])
        .says("splice: -1: Bad file descriptor (without CAP_SYS_RESOURCE")
        .says("/proc/sys/fs/pipe-max-size");
}
