//! `--preserve-fds` and `LISTEN_FDS`: descriptors of the caller that reach the program, and all
//! others that do not.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::support::{Bundle, eventually, json, runtime, userland};

/// A shell prelude that opens files with a line in each as these descriptors.
fn opening(bundle: Bundle, numbers: &[u32]) -> Bundle {
    numbers.iter().fold(bundle, |bundle, number| {
        let file = bundle.scratch(&format!("file{number}"));
        fs::write(&file, format!("of {number}\n")).unwrap();
        bundle.after(&format!("exec {number}<{}", file.display()))
    })
}

/// Says which descriptors it has, but for the one of the look.
const LIST: &str = "for n in 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$n ] && read line <&$n && echo $line; done; true";

#[test]
fn as_many_descriptors_as_asked_for_reach_the_program_at_their_numbers() {
    for (preserved, expected) in [
        ("0", &[][..]),
        ("1", &["of 3"]),
        ("2", &["of 3", "of 4"]),
        ("3", &["of 3", "of 4", "of 5"]),
    ] {
        let bundle = opening(Bundle::busybox(), &[3, 4, 5, 8]).flags(["--preserve-fds", preserved]);
        let out = { bundle }.sh(LIST).ok();
        assert_eq!(out.lines(), expected, "{preserved}");
    }
}

#[test]
fn nothing_of_ours_is_open_besides() {
    let bundle = opening(Bundle::busybox(), &[3, 4, 8]).flags(["--preserve-fds=2"]);
    let out = { bundle }.run(["ls", "/proc/self/fd"]).ok();
    // 5 is the directory that ls is reading.
    assert_eq!(out.lines(), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn create_keeps_them_until_start() {
    let bundle = opening(Bundle::busybox(), &[3, 4, 7]).flags(["--preserve-fds", "2"]);
    assert_eq!(bundle.script(LIST).create().finish(), "of 3\nof 4\n");
}

#[test]
fn a_detached_container_keeps_them() {
    let bundle = opening(Bundle::busybox(), &[3]).flags(["--preserve-fds", "1"]);
    bundle.script(LIST).run_detached().wait_for("of 3");
}

#[test]
fn exec_hands_them_on() {
    let c = opening(Bundle::busybox().args(["sleep", "60"]), &[3, 4, 6]).run_detached();
    assert_eq!(c.exec(&["--preserve-fds", "2"], &["sh", "-c", LIST]).ok().stdout, "of 3\nof 4\n");
    assert_eq!(c.exec(&[], &["sh", "-c", LIST]).ok().stdout, "");
}

/// As many as to leave little room for descriptors of our own.
#[test]
fn many_may_be_preserved() {
    let opened: String = (3..103).map(|number| format!("exec {number}</etc/hostname\n")).collect();
    let bash = "exec bash -c '\n";
    let bundle = Bundle::busybox().after(&format!("{bash}{opened}exec \"$@\"' sh \"$@\""));
    let out = { bundle.flags(["--preserve-fds", "100"]) }.sh("ls /proc/self/fd | wc -l").ok();
    // Besides them stdio and the directory.
    assert_eq!(out.line(), "104");
}

/// The program has those that are open, and in their gaps nothing of ours.
#[test]
fn what_is_not_open_is_left_out() {
    differs!();
    for (open, preserved) in
        [(&[][..], "1"), (&[5], "3"), (&[3, 5, 8], "6"), (&[4], "5"), (&[3, 7], "5")]
    {
        let expected: String = open.iter().map(|number| format!("of {number}\n")).collect();
        let script = format!("{LIST}; ls /proc/self/fd | wc -l");
        let bundle = || opening(Bundle::busybox(), open).flags(["--preserve-fds", preserved]);
        let all = format!("{expected}{}\n", open.len() + 4); // besides them stdio and the directory
        assert_eq!(bundle().sh(&script).ok().stdout, all, "{open:?}, {preserved}");
        assert_eq!(bundle().script(&script).create().finish(), all, "{open:?}, {preserved}");
        let c = opening(Bundle::busybox().args(["sleep", "60"]), open).run_detached();
        let out = c.exec(&["--preserve-fds", preserved], &["sh", "-c", &script]).ok();
        assert_eq!(out.stdout, all, "exec: {open:?}, {preserved}");
    }
}

/// The log has the first number that is free, but is not the caller's.
#[test]
fn what_we_opened_ourselves_is_not_preserved() {
    differs!();
    let bundle = Bundle::busybox();
    let log = bundle.scratch("log");
    let bundle = bundle.global(["--log", log.to_str().unwrap()]).flags(["--preserve-fds", "1"]);
    assert_eq!({ bundle }.run(["ls", "/proc/self/fd"]).ok().lines(), ["0", "1", "2", "3"]);
}

#[test]
fn a_number_that_is_none_is_refused() {
    differs!();
    for number in ["-1", "x", "", "4294967296", "99999999999999999999"] {
        let bundle = Bundle::busybox().flags(["--preserve-fds", number]);
        bundle.refused().says("--preserve-fds");
    }
}

/// A fifo that every call of the runtime has open for writing as this descriptor, and its other
/// end.
fn fifo(bundle: Bundle, number: u32) -> (File, Bundle) {
    let path = bundle.scratch("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let reader =
        File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
    let opened = bundle.after(&format!("exec {number}>{}", path.display()));
    (reader, opened)
}

/// Nobody has the other end open any more.
fn is_closed(mut reader: &File) -> bool {
    matches!(reader.read(&mut [0; 16]), Ok(0))
}

/// Else whoever waits at the other end of a pipe would wait for the runtime.
#[test]
fn the_runtime_lets_go_of_them() {
    differs!();
    let (reader, bundle) = fifo(Bundle::busybox(), 3);
    let bundle = bundle.flags(["--preserve-fds", "1"]).script("exec 3>&-; echo closed; sleep 60");
    let running = bundle.run_in_background();
    running.wait_for("closed");
    assert!(is_closed(&reader));
    bundle.call(&["kill", bundle.id(), "KILL"]).silent();
    running.wait();
}

#[test]
fn a_created_container_holds_them() {
    let (reader, bundle) = fifo(Bundle::busybox(), 3);
    let c = bundle.flags(["--preserve-fds", "1"]).create();
    assert!(!is_closed(&reader));
    c.finish();
    assert!(is_closed(&reader));
}

/// What was left open and is not preserved is closed in a created container, too.
#[test]
fn a_created_container_holds_nothing_else_of_the_callers() {
    let (reader, bundle) = fifo(Bundle::busybox(), 7);
    let c = bundle.create();
    // It goes to the gate when `create` has ended.
    assert!(eventually(runtime::time_limit(), || is_closed(&reader)));
    assert_eq!(c.status(), "created");
}

/// A hook gets stdio, at any moment; 3 is the directory that ls is reading.
#[test]
fn hooks_do_not_get_them() {
    differs!();
    let bundle = opening(Bundle::busybox(), &[3, 4, 7]).flags(["--preserve-fds", "2"]);
    let outside = bundle.scratch("said").display().to_string();
    let hook = |file: &str| {
        let script = format!("ls /proc/self/fd | tr '\\n' ' ' >> {file}; echo >> {file}");
        json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] })
    };
    let mut bundle = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
        .into_iter()
        .fold(bundle, |bundle, moment| bundle.push(&format!("/hooks/{moment}"), hook(&outside)))
        .push("/hooks/startContainer", hook("/said"));
    assert_eq!(bundle.sh(LIST).ok().lines(), ["of 3", "of 4"]);
    let said =
        format!("{}{}", bundle.read("said"), fs::read_to_string(bundle.rootfs("said")).unwrap());
    assert_eq!(said, "0 1 2 3 \n".repeat(6));
}

/// The shell becomes the runtime, so that its pid is the runtime's.
fn listening(bundle: Bundle, variables: &str) -> Bundle {
    bundle.after(&format!("export {variables}"))
}

const VARIABLES: &str = "env | grep LISTEN_ | sort; ";

#[test]
fn listen_fds_reach_the_program() {
    let bundle = listening(opening(Bundle::busybox(), &[3, 4, 6]), "LISTEN_PID=$$ LISTEN_FDS=2");
    let out = { bundle }.sh(&format!("{VARIABLES}{LIST}")).ok();
    assert_eq!(out.lines(), ["LISTEN_FDS=2", "LISTEN_PID=1", "of 3", "of 4"]);
}

#[test]
fn listen_fds_come_before_preserved_ones() {
    let bundle = listening(opening(Bundle::busybox(), &[3, 4, 5, 6]), "LISTEN_PID=$$ LISTEN_FDS=1");
    let out = { bundle.flags(["--preserve-fds", "2"]) }.sh(&format!("{VARIABLES}{LIST}")).ok();
    assert_eq!(out.lines(), ["LISTEN_FDS=1", "LISTEN_PID=1", "of 3", "of 4", "of 5"]);
}

#[test]
fn listen_fds_count_before_variables_of_the_config() {
    let bundle = listening(opening(Bundle::busybox(), &[3]), "LISTEN_PID=$$ LISTEN_FDS=1");
    let bundle = bundle.push("/process/env", "LISTEN_FDS=7").push("/process/env", "LISTEN_PID=8");
    let out = { bundle }.sh(VARIABLES).ok();
    assert_eq!(out.lines(), ["LISTEN_FDS=1", "LISTEN_PID=1"]);
}

#[test]
fn the_names_of_listen_fds_reach_the_program() {
    differs!();
    let bundle = listening(
        opening(Bundle::busybox(), &[3]),
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web",
    );
    let out = { bundle }.sh(VARIABLES).ok();
    assert_eq!(out.lines(), ["LISTEN_FDNAMES=web", "LISTEN_FDS=1", "LISTEN_PID=1"]);
}

#[test]
fn listen_fds_for_others_are_left_alone() {
    for variables in [
        "LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=web",
        "LISTEN_FDS=1",
        "LISTEN_PID= LISTEN_FDS=1",
        "LISTEN_PID=$$ LISTEN_FDS=0",
        "LISTEN_PID=$$ LISTEN_FDS=x",
        "LISTEN_PID=$$",
    ] {
        let bundle = listening(opening(Bundle::busybox(), &[3]), variables);
        let out = { bundle }.sh(&format!("{VARIABLES}{LIST}")).ok();
        assert_eq!(out.stdout, "", "{variables}");
    }
}

#[test]
fn a_negative_number_of_listen_fds_is_none() {
    differs!();
    let bundle = listening(opening(Bundle::busybox(), &[3]), "LISTEN_PID=$$ LISTEN_FDS=-1");
    assert_eq!({ bundle }.sh(&format!("{VARIABLES}{LIST}")).ok().stdout, "");
}

#[test]
fn listen_fds_that_are_not_open_are_refused() {
    differs!();
    for number in ["2", "999999999"] {
        let bundle = listening(
            opening(Bundle::busybox(), &[3]),
            &format!("LISTEN_PID=$$ LISTEN_FDS={number}"),
        );
        bundle.refused().says(&format!(
            "LISTEN_FDS: socket 1 (of {number}): fcntl(4, F_GETFD): bad file descriptor"
        ));
    }
}

#[test]
fn exec_knows_no_listen_fds() {
    let c = Bundle::busybox().args(["sleep", "60"]).run_detached();
    let file = c.bundle.scratch("file3");
    fs::write(&file, "of 3\n").unwrap();
    let script = format!("exec 3<{}; export LISTEN_PID=$$ LISTEN_FDS=1", file.display());
    let mut command = runtime::command(
        &runtime::program(),
        Some(&script),
        [
            "--root",
            c.bundle.state_root().to_str().unwrap(),
            "exec",
            c.id(),
            "sh",
            "-c",
            &format!("{VARIABLES}{LIST}"),
        ],
    );
    let out = command.output().unwrap();
    assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
}

/// A link of the image to a descriptor of ours must not be the program, whichever numbers we have
/// (CVE-2024-21626).
#[test]
fn the_program_cannot_be_one_of_the_host_behind_preserved_ones() {
    let mut bundle = opening(Bundle::busybox(), &[3, 4]).flags(["--preserve-fds", "2"]);
    // 3 and 4 are files, through which no path leads on.
    for link in userland::links_to_a_program_of_the_host(&bundle) {
        let out = bundle.run([&link, "echo", "escaped"]);
        assert!(out.status != 0 && out.stdout.is_empty(), "{link}: {out:?}");
    }
    bundle.assert_nothing_left();
}
