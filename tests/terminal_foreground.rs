//! A terminal in the foreground: `run`, and `exec --tty`, on a terminal of their own.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::differences::sets_terminal_modes_first;
use crate::support::runtime::{Running, time_limit};
use crate::support::terminal::ticks;
use crate::support::{Bundle, eventually};

#[test]
fn the_terminal_is_shown_on_ours() {
    let bundle = Bundle::with_terminal();
    let mut session = bundle.run_on_terminal();
    session.terminal.wait_for("ready\r\n");
    let late = !sets_terminal_modes_first() && eventually(time_limit(), || session.is_raw());
    assert!(late || session.is_raw());
    assert_eq!(session.terminal.ask("tty; stty size"), "/dev/pts/0\n30 90");
    session.terminal.type_in("exit 7\n");
    assert_eq!(session.wait(), (7, String::new()));
    bundle.assert_nothing_left();
}

#[test]
fn exec_shows_a_terminal_on_ours() {
    differs!();
    let c = Bundle::busybox().args(["sleep", "1000"]).run_detached();
    let (status, shown) =
        c.exec_on_terminal(&["--tty"], &["sh", "-c", "tty; stty size; exit 8"]).wait();
    assert_eq!((status, shown.as_str()), (8, "/dev/pts/0\r\n30 90\r\n"));
    let (status, shown) = c.exec_on_terminal(&["-t"], &["sh", "-c", "kill -9 $$"]).wait();
    assert_eq!((status, shown.as_str()), (137, ""));
    let (status, shown) = c.exec_on_terminal(&["--tty"], &["/missing"]).wait();
    assert!(status == 255 && shown.contains("no such file or directory"), "{status} {shown}");
}

#[test]
fn a_change_of_size_is_passed_on() {
    let bundle = Bundle::with_terminal();
    let mut session = bundle.run_on_terminal();
    session.terminal.wait_for("ready\r\n");
    session.terminal.type_in("trap 'echo changed: $(stty size)' WINCH\n");
    session.terminal.wait_for("END\r\n");
    session.terminal.resize(44, 55);
    // A shell's trap waits for the end of its read.
    session.terminal.type_in("\n");
    session.terminal.wait_for("changed: 44 55\r\n");
}

#[test]
fn control_characters_are_the_programs() {
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; sleep 1000 & wait";
    let bundle = Bundle::with_terminal().script(script);
    let mut session = bundle.run_on_terminal();
    session.terminal.wait_for("ready\r\n");
    session.terminal.type_in("\x03");
    session.terminal.wait_for("interrupted\r\n");
    assert_eq!(session.wait().0, 9);
}

#[test]
fn signals_go_to_the_program_and_the_terminal_is_as_before() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGUSR1, 138)]
    {
        let bundle = Bundle::with_terminal().without_namespace("pid");
        let mut session = bundle.run_on_terminal();
        session.terminal.wait_for("ready\r\n");
        kill(Pid::from_raw(session.pid()), signal).unwrap();
        assert_eq!(session.wait().0, status, "{signal}");
        bundle.assert_nothing_left();
    }
}

#[test]
fn the_terminal_is_as_before_when_the_container_is_killed() {
    let bundle = Bundle::with_terminal();
    let mut session = bundle.run_on_terminal();
    session.terminal.wait_for("ready\r\n");
    bundle.call(&["kill", bundle.id(), "KILL"]).silent();
    assert_eq!(session.wait().0, 137);
}

#[test]
fn the_terminal_is_as_before_when_there_is_no_program() {
    let (status, shown) = Bundle::with_terminal().args(["/missing"]).run_on_terminal().wait();
    assert!(status == 1 && shown.contains("no such file or directory"), "{status} {shown}");
}

#[test]
fn large_output_is_shown_to_its_end() {
    let bundle = Bundle::with_terminal().script("yes 0123456 | head -n 125000; echo last");
    let (status, shown) = bundle.run_on_terminal().wait();
    assert_eq!(status, 0);
    assert!(
        shown.ends_with("0123456\r\nlast\r\n"),
        "{:?}",
        &shown[shown.len().saturating_sub(100)..]
    );
    assert_eq!(shown.len(), 125_000 * 9 + 6);
}

/// As a program sees it, not as a terminal does: no carriage returns.
#[test]
fn output_to_a_file_is_complete_and_plain() {
    let bundle = Bundle::with_terminal().script("yes 0123456 | head -n 125000; echo last");
    assert_eq!(bundle.run_redirected("> output").wait(), (0, String::new()));
    let mut output = fs::read_to_string(bundle.scratch("output")).unwrap();
    if !sets_terminal_modes_first() {
        output = output.replace("\r\n", "\n");
    }
    assert_eq!(output, "0123456\n".repeat(125_000) + "last\n");
}

#[test]
fn large_input_arrives() {
    let script = "stty raw -echo; echo ready; head -c 1000000 | md5sum; exit 5";
    let bundle = Bundle::with_terminal().script(script);
    let mut session = bundle.run_on_terminal();
    session.terminal.wait_for("ready");
    session.terminal.type_in(&"0123456\n".repeat(125_000));
    let expected =
        Command::new("sh").args(["-c", "yes 0123456 | head -c 1000000 | md5sum"]).output().unwrap();
    let expected = String::from_utf8(expected.stdout).unwrap();
    let (status, shown) = session.wait();
    assert_eq!((status, shown.trim()), (5, expected.trim()));
}

#[test]
fn input_that_is_no_terminal_is_typed() {
    let script =
        "stty -echo; echo ready; read -r line; echo got $line; read -r line; echo got $line";
    let bundle = Bundle::with_terminal().script(script);
    let input = bundle.scratch("input");
    fs::write(&input, "one\ntwo\n").unwrap();
    let (status, shown) = bundle.run_redirected("< input").wait();
    assert_eq!(status, 0);
    assert!(shown.ends_with("got one\r\ngot two\r\n"), "{shown:?}");
}

#[test]
fn with_all_of_stdio_redirected_the_controlling_terminal_counts() {
    differs!();
    let bundle = Bundle::with_terminal().script("stty size");
    let session = bundle.run_redirected("< /dev/null > output 2>&1");
    assert_eq!(session.wait(), (0, String::new()));
    assert_eq!(fs::read_to_string(bundle.scratch("output")).unwrap(), "30 90\n");
}

#[test]
fn without_a_terminal_there_is_nothing_to_show_it_on() {
    let bundle = Bundle::with_terminal();
    bundle.write_config();
    let path = bundle.path();
    let inner = bundle.command(&["run", "--bundle", path.to_str().unwrap(), bundle.id()]);
    let mut command = Command::new("setsid");
    command
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(bundle.dir())
        .stdin(Stdio::null());
    let out = Running::start(&mut command, bundle.dir()).wait().refused();
    out.names("process.terminal").says("/dev/tty").because("no such device or address");
    bundle.assert_nothing_left();
}

/// As a terminal does whose line is cut.
#[test]
fn a_reader_who_goes_away_hangs_up() {
    let bundle = Bundle::with_terminal().script("yes");
    let session = bundle.run_redirected("| head -n 1");
    assert_eq!(session.wait(), (0, "y\r\n".to_owned()));
    bundle.assert_nothing_left();
}

#[test]
fn a_program_may_leave_its_terminal_and_come_back() {
    let script = "exec < /dev/null > /dev/null 2>&1; sleep 0.5; echo back > /dev/console; exit 4";
    let (status, shown) = Bundle::with_terminal().script(script).run_on_terminal().wait();
    assert_eq!((status, shown.as_str()), (4, "back\r\n"));
}

#[test]
fn waiting_costs_nothing() {
    let script = "echo ready; exec < /dev/null > /dev/null 2>&1; sleep 1000";
    let bundle = Bundle::with_terminal().script(script);
    let mut session = bundle.run_redirected("< /dev/null");
    session.terminal.wait_for("ready");
    let before = ticks(session.pid());
    std::thread::sleep(Duration::from_secs(1));
    assert!(
        ticks(session.pid()) - before < 10,
        "{} ticks in a second",
        ticks(session.pid()) - before
    );
}

#[test]
fn who_is_left_behind_does_not_hold_up_the_end() {
    differs!();
    let script = "(trap '' HUP; sleep 1000) & (trap '' HUP; yes) & sleep 0.2; exit 6";
    let bundle = Bundle::with_terminal().without_namespace("pid").script(script);
    let session = bundle.run_redirected("> /dev/null");
    assert_eq!(session.wait().0, 6);
    bundle.assert_nothing_left();
}

/// The way of the README of every runtime: `spec`, a root filesystem, `run`.
#[test]
fn the_config_of_spec_runs() {
    let bundle = Bundle::busybox();
    bundle.call(&["spec", "--bundle", bundle.path().to_str().unwrap()]).silent();
    let path = bundle.path();
    let run = bundle.command(&["run", "--bundle", path.to_str().unwrap(), bundle.id()]);
    let words = [run.get_program()].into_iter().chain(run.get_args());
    let line: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let input = bundle.scratch("typed");
    fs::write(&input, "tty; exit 3\n").unwrap();
    let mut command = Command::new("script");
    command.args(["-qec", &line.join(" "), "/dev/null"]).current_dir(bundle.dir());
    let out = Running::start(command.stdin(File::open(&input).unwrap()), bundle.dir()).wait();
    assert_eq!(out.status, 3);
    assert!(out.stdout.contains("\n/dev/pts/0\r\n"), "{out:?}");
    bundle.assert_nothing_left();
}
