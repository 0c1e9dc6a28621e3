//! What is left, and what goes on, when the shim is killed.

use std::fs;
use std::process::Command;

use containerd_shim_protos::TaskClient;

use super::support::{SHIM, Shim, context, is_alive, unsafe_kill, until, with_input};

#[test]
fn delete_cleans_up_after_a_daemon_that_was_killed() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    let init = shim.create_and_start(&client);
    shim.exec(&client, "e", &["sleep", "1000"]).unwrap();
    let exec = shim.start(&client, "e").unwrap();
    unsafe_kill(shim.pid);
    until("the daemon is gone", || !is_alive(shim.pid));
    assert!(is_alive(init), "the container goes on");
    let deleted = shim.run_delete();
    assert_eq!((deleted.pid, deleted.exit_status), (init, 137));
    assert!(!is_alive(init) && !is_alive(exec));
    assert!(!shim.socket().exists());
    shim.assert_nothing_left();
    assert_eq!(
        shim.run_delete().exit_status,
        137,
        "there is nothing to do any more, and that is no error"
    );
}

/// The daemon is of the old version, and so are its workers. `start` and `delete` are of the new
/// one: containerd executes what is installed.
#[test]
fn a_shim_that_is_upgraded_serves_its_pod_on() {
    let mut shim = Shim::not_started(&["sleep", "1000"]);
    let installed = shim.dir.path().join("containerd-shim-orlop-v2");
    fs::copy(SHIM, &installed).unwrap();
    let mut start = shim.command("start");
    let mut old = Command::new(&installed);
    old.args(start.get_args()).current_dir(shim.bundle(&shim.id));
    old.env("TTRPC_ADDRESS", shim.containerd.path());
    let output = with_input(&mut old, b"");
    shim.address = String::from_utf8(output.stdout).unwrap();
    shim.ask_pid();
    let client = shim.client();
    client.create(context(), &shim.create_request()).unwrap();
    // A package manager puts the new file in the place of the old one.
    let new = shim.dir.path().join("new");
    fs::write(&new, "no program that anybody could execute").unwrap();
    fs::rename(&new, &installed).unwrap();
    shim.start(&client, "").unwrap();
    shim.exec(&client, "e", &["sh", "-c", "exit 4"]).unwrap();
    shim.start(&client, "e").unwrap();
    assert_eq!(shim.wait(&client, "e").exit_status, 4);
    let again = with_input(&mut start, b"");
    assert_eq!(String::from_utf8(again.stdout).unwrap(), shim.address, "the old daemon is found");
    unsafe_kill(shim.pid);
    until("the daemon is gone", || !is_alive(shim.pid));
    assert_eq!(shim.run_delete().exit_status, 137);
    shim.assert_nothing_left();
}

/// A shim whose daemon is killed at any moment of `request`, after `before`. `delete` finds what it
/// leaves.
fn killed_in(before: impl Fn(&Shim, &TaskClient), request: impl Fn(&Shim, &TaskClient) + Sync) {
    for step in 0..12 {
        let shim = Shim::with_config(&["sleep", "1000"], |config| {
            config["mounts"].as_array_mut().unwrap().push(serde_json::json!({
                "destination": "/tmp", "type": "tmpfs", "source": "tmpfs"
            }));
        });
        let client = shim.client();
        before(&shim, &client);
        let pid = shim.pid;
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(700 * step)); // any moment will do
            unsafe_kill(pid);
        });
        request(&shim, &client);
        killer.join().unwrap();
        until("the daemon is gone", || !is_alive(pid));
        until("its workers are gone", || !has_workers(&shim));
        shim.run_delete();
        shim.assert_nothing_left();
    }
}

#[test]
fn a_daemon_that_is_killed_in_create_leaves_nothing_that_delete_does_not_find() {
    killed_in(|_, _| (), |shim, client| drop(client.create(context(), &shim.create_request())));
}

#[test]
fn a_daemon_that_is_killed_in_start_leaves_nothing_that_delete_does_not_find() {
    killed_in(
        |shim, client| drop(client.create(context(), &shim.create_request()).unwrap()),
        |shim, client| drop(shim.start(client, "")),
    );
}

#[test]
fn a_daemon_that_is_killed_in_exec_leaves_nothing_that_delete_does_not_find() {
    killed_in(
        |shim, client| {
            shim.create_and_start(client);
            shim.exec(client, "e", &["sleep", "1000"]).unwrap();
        },
        |shim, client| drop(shim.start(client, "e")),
    );
}

#[test]
fn a_daemon_that_is_killed_in_delete_leaves_nothing_that_delete_does_not_find() {
    killed_in(
        |shim, client| {
            shim.create_and_start(client);
            shim.kill(client, "", 9).unwrap();
            shim.wait(client, "");
        },
        |shim, client| drop(shim.delete(client, "")),
    );
}

/// Whether a worker that works for this shim is there.
fn has_workers(shim: &Shim) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|entry| {
        fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(shim.dir.path()))
            && fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.windows(6).any(|word| word == b"worker"))
    })
}
