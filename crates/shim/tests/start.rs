//! `start`: its answer, its socket, the group of a pod.

use std::path::PathBuf;

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use protobuf::Message;

use super::support::{PATIENCE, SHIM, Shim, failure, options, until, with_input};

#[test]
fn the_socket_is_where_containerd_expects_it_and_ours_alone() {
    use std::os::unix::fs::PermissionsExt;
    let shim = Shim::with(&["true"]);
    assert!(shim.address.starts_with("unix:///run/containerd/s/"), "{}", shim.address);
    assert_eq!(shim.address.len(), "unix:///run/containerd/s/".len() + 64);
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(shim.socket()), 0o600);
    shim.shut_down(&shim.client());
}

#[test]
fn a_second_start_of_a_group_finds_the_first_daemon() {
    let shim = Shim::with_config(&["true"], |config| {
        config["annotations"] = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "the-pod" });
    });
    let mut other = shim.command("start");
    let bundle = shim.bundle("another");
    shim.make_bundle("another", &["true"], |config| {
        config["annotations"] = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "the-pod" });
    });
    let output = with_input(other.current_dir(bundle), b"");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shim.address);
    shim.shut_down(&shim.client());
}

#[test]
fn bootstrap_parameters_are_answered_in_kind() {
    let shim = Shim::with(&["true"]);
    let params = BootstrapParams {
        instance_id: shim.id.clone(),
        namespace: shim.namespace.clone(),
        ..Default::default()
    };
    let output = shim.run_start(&[], &params.write_to_bytes().unwrap());
    let result = BootstrapResult::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((result.version, &*result.protocol, &result.address), (3, "ttrpc", &shim.address));
    shim.shut_down(&shim.client());
}

#[test]
fn a_socket_that_nobody_listens_on_is_taken_over() {
    let mut shim = Shim::with(&["true"]);
    super::support::unsafe_kill(shim.pid);
    until("the daemon is gone", || !super::support::is_alive(shim.pid));
    assert!(shim.socket().exists());
    let output = shim.run_start(&[], b"");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shim.address);
    shim.ask_pid();
    shim.shut_down(&shim.client());
}

#[test]
fn the_daemon_is_easier_to_kill_than_containerd() {
    let shim = Shim::with(&["true"]);
    let score = |pid: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))
            .unwrap()
            .trim()
            .parse::<i32>()
            .unwrap()
    };
    assert_eq!(score(&shim.pid.to_string()), (score("self") + 1).min(1000));
    shim.shut_down(&shim.client());
}

#[test]
fn signals_are_harmless_or_an_order_to_end() {
    use rustix::process::{Pid, Signal, kill_process};
    let shim = Shim::with(&["true"]);
    let pid = Pid::from_raw(shim.pid.cast_signed()).unwrap();
    for signal in [Signal::USR1, Signal::HUP, Signal::PIPE] {
        kill_process(pid, signal).unwrap();
    }
    assert_eq!(failure(shim.status(&shim.client(), "")).0, 5);
    kill_process(pid, Signal::TERM).unwrap();
    until("SIGTERM ends it", || !super::support::is_alive(shim.pid));
    assert!(!shim.socket().exists());
}

#[test]
fn version_and_features_need_nothing() {
    let version = with_input(std::process::Command::new(SHIM).arg("-v").env_clear(), b"");
    assert!(String::from_utf8(version.stdout).unwrap().contains(env!("CARGO_PKG_VERSION")));
    let info = with_input(std::process::Command::new(SHIM).arg("-info").env_clear(), b"");
    assert!(info.status.success());
    let text = String::from_utf8_lossy(&info.stdout);
    assert!(text.contains("io.containerd.orlop.v2"), "{text}");
    assert!(text.contains("runtime-spec/1/features/Features"), "{text}");
    assert!(text.contains("ociVersionMin"), "{text}");
}

#[test]
fn the_daemon_is_in_the_cgroup_that_the_options_name() {
    let v1 = std::path::Path::new("/sys/fs/cgroup/pids");
    let root = if v1.is_dir() { v1 } else { std::path::Path::new("/sys/fs/cgroup") };
    let name = format!("orlop-shim-home-{}", std::process::id());
    let home = root.join(&name);
    std::fs::create_dir(&home).unwrap();
    let input = |cgroup: &str| {
        let wanted = containerd_shim_protos::shim::oci::Options {
            shim_cgroup: cgroup.to_owned(),
            ..Default::default()
        };
        options(&wanted).write_to_bytes().unwrap()
    };
    let shim = Shim::with_input(&["true"], |_| {}, |_| input(&format!("/{name}")));
    let inside = std::fs::read_to_string(home.join("cgroup.procs")).unwrap();
    assert_eq!(inside.trim(), shim.pid.to_string());
    shim.shut_down(&shim.client());
    until("the cgroup is empty", || std::fs::remove_dir(&home).is_ok());
    // One that is not there is an error, and there is no daemon.
    let output = shim.run_start(&[], &input("/no-such-cgroup"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no cgroup \"no-such-cgroup\""));
    assert!(!shim.socket().exists());
}

/// A shim whose `start` gets a directory for the socket, and that directory.
fn with_sockets_beside_the_bundle() -> (Shim, PathBuf) {
    let directory = |shim: &Shim| shim.dir.path().join("sockets");
    let input = |shim: &Shim| {
        let params = BootstrapParams {
            instance_id: shim.id.clone(),
            namespace: shim.namespace.clone(),
            socket_dir: Some(directory(shim).to_str().unwrap().to_owned()),
            ..Default::default()
        };
        params.write_to_bytes().unwrap()
    };
    let shim = Shim::with_input(&["true"], |_| {}, input);
    let sockets = directory(&shim);
    (shim, sockets)
}

#[test]
fn the_socket_is_in_the_directory_that_containerd_names() {
    let (shim, directory) = with_sockets_beside_the_bundle();
    assert_eq!(shim.socket().parent().unwrap(), directory);
    assert_eq!(std::fs::read_link(shim.bundle(&shim.id).join("s")).unwrap(), directory);
    shim.shut_down(&shim.client());
}

#[test]
fn peers_of_other_users_are_refused() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    let (shim, directory) = with_sockets_beside_the_bundle();
    // The modes keep them out. What if somebody has changed those?
    for path in [shim.dir.path(), &directory, shim.socket()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let socket = shim.socket().to_owned();
    let refused = std::thread::spawn(move || {
        let nobody = rustix::fs::Uid::from_raw(65534);
        // Of this thread alone: it is the system call, and not the C library's function.
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(&[0; 10]); // it may be closed already
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
        !matches!(end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(refused.join().unwrap(), "the connection stays open");
    assert_eq!(failure(shim.status(&shim.client(), "")).0, 5, "our own user is served");
    shim.shut_down(&shim.client());
}

#[test]
fn a_daemon_that_nobody_connects_to_ends_after_half_a_minute() {
    let shim = Shim::not_started(&["true"]);
    let begin = std::time::Instant::now();
    let output = shim.run_start(&[], b"");
    let address = String::from_utf8(output.stdout).unwrap();
    let socket = PathBuf::from(address.trim_start_matches("unix://"));
    assert!(socket.exists());
    until("the daemon ends and removes its socket", || !socket.exists());
    assert!(begin.elapsed().as_secs() >= 29, "{:?}", begin.elapsed());
}

#[test]
fn the_daemon_has_a_core_scheduling_cookie_if_containerd_asks_for_it() {
    let shim = Shim::not_started(&["true"]);
    let start = || {
        let mut command = shim.command("start");
        with_input(command.env("SCHED_CORE", "1"), b"")
    };
    // Not every kernel has it, nor every processor: what happens to ourselves?
    let own = std::thread::spawn(|| {
        let scope = rustix::thread::CoreSchedulingScope::Thread;
        rustix::thread::create_core_scheduling_cookie(rustix::thread::gettid(), scope)
    });
    match own.join().unwrap() {
        Ok(()) => {
            let output = start();
            assert!(output.status.success());
            let address = String::from_utf8(output.stdout).unwrap();
            let client = containerd_shim_protos::Client::connect(&address).unwrap();
            let client = containerd_shim_protos::TaskClient::new(client);
            let request = containerd_shim_protos::api::ConnectRequest::new();
            let pid = client.connect(super::support::context(), &request).unwrap().shim_pid;
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let scope = rustix::thread::CoreSchedulingScope::Thread;
            assert_ne!(rustix::thread::core_scheduling_cookie(pid, scope).unwrap(), 0);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
        Err(errno) => {
            let output = start();
            assert!(!output.status.success());
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains(&format!("SCHED_CORE: prctl(PR_SCHED_CORE): {errno}")), "{text}");
            assert!(!shim.bundle(&shim.id).join("address").exists());
        }
    }
}
