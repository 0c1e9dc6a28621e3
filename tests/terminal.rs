//! `process.terminal`, `process.consoleSize`: a terminal that is sent to `--console-socket`, by
//! `create`, `run --detach` and `exec --detach`.

use std::fs;

use crate::support::terminal::{ConsoleSocket, SHELL};
use crate::support::{Bundle, Container, eventually, json, leftovers, link, runtime};

const NO_SOCKET: &str = "cannot allocate tty if runc will detach without setting console socket";
const NO_TERMINAL: &str = "cannot use console socket if runc will not detach or allocate tty";

#[test]
fn create_sends_the_terminal_and_its_name() {
    let bundle = Bundle::with_terminal();
    let socket = bundle.console_socket();
    let c = Container::new(bundle, "create", &socket.flags());
    let (mut terminal, name) = socket.receive_with_name();
    assert_eq!(name, "/dev/ptmx");
    c.start();
    terminal.wait_for("ready\r\n");
    assert_eq!(terminal.ask("echo $((6 * 7))"), "42");
    assert_eq!((c.stdout(), c.stderr()), (String::new(), String::new()));
}

#[test]
fn run_detached_sends_the_terminal() {
    let (c, mut terminal) = Bundle::with_terminal().run_with_socket();
    assert_eq!(terminal.ask("hostname"), "orlop");
    terminal.type_in("exit 3\n");
    terminal.rest();
    c.wait_status("stopped");
}

#[test]
fn the_terminal_is_stdio_and_controls_the_session() {
    let (_c, mut terminal) = Bundle::with_terminal().run_with_socket();
    assert_eq!(terminal.ask("tty"), "/dev/pts/0");
    let links = terminal.ask("for n in 0 1 2; do readlink /proc/$$/fd/$n; done");
    assert_eq!(links, "/dev/pts/0\n/dev/pts/0\n/dev/pts/0");
    // Session, terminal (136:0), and the process group in its foreground: proc_pid_stat(5).
    assert_eq!(terminal.ask("cut -d' ' -f 6-8 /proc/$$/stat"), format!("1 {} 1", 136 << 8));
    assert_eq!(terminal.ask("echo through the session > /dev/tty"), "through the session");
}

#[test]
fn job_control_works() {
    let (c, mut terminal) =
        Bundle::with_terminal().args(["sh", "-ic", "echo ready; exec sh -i"]).run_with_socket();
    terminal.type_in("stty -echo; PS1=; echo 'quie''t'\n");
    terminal.wait_for("quiet\r\n");
    terminal.type_in("sleep 1000 & jobs; echo 'EN''D'\n");
    assert!(terminal.wait_for("END\r\n").contains("Running"));
    terminal.type_in("fg\n");
    terminal.wait_for("sleep 1000\r\n");
    terminal.wait_for_job(c.pid());
    terminal.type_in("\x1a"); // ^Z
    terminal.wait_for("Stopped");
    terminal.type_in("fg\n");
    terminal.wait_for("sleep 1000\r\n");
    terminal.wait_for_job(c.pid());
    terminal.type_in("\x03"); // ^C
    terminal.wait_for("\r\n");
    terminal.type_in("echo status $?\n");
    terminal.wait_for("status 130\r\n");
}

#[test]
fn closing_the_master_hangs_up() {
    let (c, terminal) = Bundle::with_terminal().run_with_socket();
    drop(terminal);
    c.wait_status("stopped");
}

#[test]
fn console_size_is_the_size() {
    for (size, expected) in [
        (json!({ "height": 10, "width": 110 }), (10, 110)),
        (json!({ "height": 2000, "width": 3000 }), (2000, 3000)),
        (json!({ "height": 0, "width": 110 }), (0, 0)),
        (json!({ "height": 10, "width": 0 }), (0, 0)),
    ] {
        let (_c, mut terminal) =
            Bundle::with_terminal().set("/process/consoleSize", size.clone()).run_with_socket();
        assert_eq!(terminal.size(), expected, "{size}");
        if expected.0 != 0 {
            assert_eq!(terminal.ask("stty size"), format!("{} {}", expected.0, expected.1));
        }
    }
}

#[test]
fn a_size_that_no_terminal_has_is_refused() {
    differs!();
    let bundle = Bundle::with_terminal()
        .set("/process/consoleSize", json!({ "height": 65536, "width": 80 }));
    let socket = bundle.console_socket();
    bundle.begin("create", &socket.flags()).wait().refused().names("process.consoleSize.height");
    bundle.assert_nothing_left();
}

#[test]
fn a_size_means_nothing_without_a_terminal() {
    Bundle::busybox()
        .set("/process/consoleSize", json!({ "height": 10, "width": 110 }))
        .run(["true"])
        .silent();
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let bundle = Bundle::with_terminal().set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let (c, mut terminal) = bundle.run_with_socket();
    assert_eq!(terminal.ask("id -u; stat -c %u:%g:%a $(tty)"), "1000\n1000:5:620");
    assert_eq!(terminal.ask("echo opened again > $(tty)"), "opened again");
    let socket = ConsoleSocket::listen(c.bundle.scratch("second"));
    let [flag, path] = socket.flags();
    c.exec(&["--detach", "--tty", "--user", "7", flag, path], &["sh", "-c", SHELL]).silent();
    let mut second = socket.receive();
    second.wait_for("ready\r\n");
    assert_eq!(second.ask("id -u; tty; stat -c %u:%g:%a $(tty)"), "7\n/dev/pts/1\n7:5:620");
}

#[test]
fn the_terminal_belongs_to_the_user_in_a_user_namespace() {
    for uid in [0, 1000] {
        let bundle = Bundle::with_terminal()
            .push("/linux/namespaces", json!({ "type": "user" }))
            .set(
                "/linux/uidMappings",
                json!([{ "containerID": 0, "hostID": 100_000, "size": 2000 }]),
            )
            .set(
                "/linux/gidMappings",
                json!([{ "containerID": 0, "hostID": 100_000, "size": 2000 }]),
            )
            .set("/process/user", json!({ "uid": uid, "gid": 0 }));
        let (_c, mut terminal) = bundle.run_with_socket();
        assert_eq!(
            terminal.ask("tty; stat -c %u:%g:%a $(tty)"),
            format!("/dev/pts/0\n{uid}:5:620")
        );
        assert_eq!(terminal.ask("stat -c %t:%T /dev/console $(tty)"), "88:0\n88:0");
    }
}

#[test]
fn the_console_is_the_terminal() {
    let (c, mut terminal) = Bundle::with_terminal().run_with_socket();
    assert_eq!(terminal.ask("stat -c %t:%T /dev/console"), "88:0");
    assert_eq!(terminal.ask("echo to the console > /dev/console"), "to the console");
    assert_eq!(terminal.ask("mount | grep -c ' on /dev/console type devpts'"), "1");
    // exec has a terminal of its own, and the console remains what it was.
    let socket = ConsoleSocket::listen(c.bundle.scratch("second"));
    let [flag, path] = socket.flags();
    c.exec(&["--detach", "--tty", flag, path], &["sh", "-c", SHELL]).silent();
    let mut second = socket.receive();
    second.wait_for("ready\r\n");
    assert_eq!(second.ask("stat -c %t:%T /dev/console $(tty)"), "88:0\n88:1");
    assert_eq!(second.ask("mount | grep -c ' on /dev/console type devpts'"), "1");
}

#[test]
fn there_is_no_console_without_a_terminal() {
    let out = Bundle::busybox().sh("ls /dev/console; mount | grep console");
    assert_eq!((out.status, out.stdout.as_str()), (1, ""));
}

#[test]
fn a_read_only_root_has_a_console() {
    let mut bundle = Bundle::with_terminal().set("/root/readonly", true);
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev");
    let (_c, mut terminal) = bundle.run_with_socket();
    assert_eq!(
        terminal.ask("stat -c %t:%T /dev/console; touch /dev/x"),
        "88:0\ntouch: /dev/x: Read-only file system"
    );
}

#[test]
fn no_descriptor_of_the_terminal_is_left_to_the_container() {
    let (c, terminal) = Bundle::with_terminal().run_with_socket();
    let open = |pid: i32| {
        let mut names = leftovers::entries(format!("/proc/{pid}/fd").as_ref());
        names.sort();
        names
    };
    assert_eq!(open(c.pid()), ["0", "1", "2"]);
    terminal.type_in("exec sleep 1000\n");
    assert!(eventually(runtime::time_limit(), || {
        fs::read_to_string(format!("/proc/{}/comm", c.pid())).is_ok_and(|name| name == "sleep\n")
    }));
    assert_eq!(open(c.pid()), ["0", "1", "2"]);
    assert_eq!(link(format!("/proc/{}/fd/2", c.pid())), "/dev/pts/0");
}

#[test]
fn exec_makes_a_terminal_of_the_given_size() {
    let (c, _terminal) = Bundle::with_terminal().run_with_socket();
    let process = json!({
        "terminal": true, "consoleSize": { "height": 12, "width": 34 },
        "args": ["sh", "-c", SHELL], "cwd": "/", "env": ["PATH=/bin"],
    });
    let file = c.bundle.scratch("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let socket = ConsoleSocket::listen(c.bundle.scratch("second"));
    let [flag, path] = socket.flags();
    c.exec(&["--detach", "--process", file.to_str().unwrap(), flag, path], &[]).silent();
    let (mut second, name) = socket.receive_with_name();
    assert_eq!(name, "/dev/ptmx");
    second.wait_for("ready\r\n");
    assert_eq!(
        second.ask("stty size; tty; cut -d' ' -f 7 /proc/$$/stat"),
        format!("12 34\n/dev/pts/1\n{}", 136 << 8 | 1)
    );
}

#[test]
fn somebody_must_get_the_terminal() {
    let bundle = Bundle::with_terminal();
    bundle.refused().says(NO_SOCKET);
    bundle.begin("run", &["--detach"]).wait().refused().says(NO_SOCKET);
    let socket = bundle.console_socket();
    bundle.begin("run", &socket.flags()).wait().refused().says(NO_TERMINAL);
    bundle.assert_nothing_left();
    let bundle = bundle.set("/process/terminal", false);
    bundle.begin("create", &socket.flags()).wait().refused().says(NO_TERMINAL);
    bundle.assert_nothing_left();
}

#[test]
fn somebody_must_get_the_terminal_of_exec() {
    let c = Bundle::busybox().args(["sleep", "1000"]).run_detached();
    let socket = c.bundle.console_socket();
    let [flag, path] = socket.flags();
    c.exec(&["--detach", "--tty"], &["true"]).exec_refused().says(NO_SOCKET);
    c.exec(&["--tty", flag, path], &["true"]).exec_refused().says(NO_TERMINAL);
    c.exec(&["--detach", flag, path], &["true"]).exec_refused().says(NO_TERMINAL);
}

#[test]
fn a_socket_at_which_nobody_listens_is_refused() {
    let bundle = Bundle::with_terminal();
    let missing = bundle.scratch("missing");
    let out =
        bundle.begin("create", &["--console-socket", missing.to_str().unwrap()]).wait().refused();
    out.says("missing").because("no such file or directory");
    let left = bundle.scratch("left");
    drop(ConsoleSocket::listen(left.clone()));
    let out =
        bundle.begin("create", &["--console-socket", left.to_str().unwrap()]).wait().refused();
    out.says("left").because("connection refused");
    bundle.assert_nothing_left();
}

#[test]
fn a_long_path_leads_to_the_socket() {
    differs!();
    let bundle = Bundle::with_terminal();
    let directory = bundle.scratch(&"long".repeat(40));
    fs::create_dir(&directory).unwrap();
    let socket = ConsoleSocket::listen(bundle.scratch("console"));
    let path = directory.join("console");
    fs::rename(&socket.path, &path).unwrap();
    let c = Container::new(bundle, "create", &["--console-socket", path.to_str().unwrap()]);
    drop(socket.receive());
    c.delete_by_force();
}

#[test]
fn the_terminal_of_a_program_that_cannot_be_run_is_sent_and_closed() {
    let bundle = Bundle::with_terminal().args(["/missing"]);
    let socket = bundle.console_socket();
    bundle.begin("create", &socket.flags()).wait().refused().because("no such file");
    let mut terminal = socket.receive();
    assert_eq!(terminal.rest(), "");
    bundle.assert_nothing_left();
}
