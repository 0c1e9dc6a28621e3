//! `start`: its answer, its socket, the group of a pod.

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use protobuf::Message;

use super::support::{SHIM, Shim, until, with_input};

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
    assert_eq!(super::support::failure(shim.status(&shim.client(), "")).0, 5);
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
    let options = |cgroup: &str| {
        let options = containerd_shim_protos::shim::oci::Options {
            shim_cgroup: cgroup.to_owned(),
            ..Default::default()
        };
        let mut any = protobuf::well_known_types::any::Any::new();
        any.type_url = "containerd.runc.v1.Options".to_owned();
        any.value = options.write_to_bytes().unwrap();
        any.write_to_bytes().unwrap()
    };
    let input = options(&format!("/{name}"));
    let shim = Shim::with_input(&["true"], |_| {}, |_| input);
    let inside = std::fs::read_to_string(home.join("cgroup.procs")).unwrap();
    assert_eq!(inside.trim(), shim.pid.to_string());
    shim.shut_down(&shim.client());
    until("the cgroup is empty", || std::fs::remove_dir(&home).is_ok());
    // One that is not there is an error, and there is no daemon.
    let output = shim.run_start(&[], &options("/no-such-cgroup"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no cgroup \"no-such-cgroup\""));
    assert!(!shim.socket().exists());
}

#[test]
fn the_socket_is_in_the_directory_that_containerd_names() {
    let shim = Shim::with_input(
        &["true"],
        |_| {},
        |shim| {
            let params = BootstrapParams {
                instance_id: shim.id.clone(),
                namespace: shim.namespace.clone(),
                socket_dir: Some(shim.dir.path().join("sockets").to_str().unwrap().to_owned()),
                ..Default::default()
            };
            params.write_to_bytes().unwrap()
        },
    );
    let directory = shim.dir.path().join("sockets");
    assert_eq!(shim.socket().parent().unwrap(), directory);
    assert_eq!(std::fs::read_link(shim.bundle(&shim.id).join("s")).unwrap(), directory);
    shim.shut_down(&shim.client());
}
