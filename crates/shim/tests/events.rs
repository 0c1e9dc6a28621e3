//! Events: which, and in which order.

use std::time::Duration;

use containerd_shim_protos::api::Empty;
use containerd_shim_protos::events::task::{TaskCreate, TaskExecAdded, TaskExit, TaskOOM};

use super::support::{Shim, context};

#[test]
fn events_come_in_order() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.exec(&client, "e", &["sh", "-c", "exit 3"]).unwrap();
    shim.start(&client, "e").unwrap();
    shim.wait(&client, "e");
    shim.delete(&client, "e").unwrap();
    shim.finish(&client);
    let events = shim.containerd.wait_for("/tasks/delete", 1);
    let topics: Vec<&str> =
        events.iter().map(|event| event.topic.trim_start_matches("/tasks/")).collect();
    assert_eq!(topics, ["create", "start", "exec-added", "exec-started", "exit", "exit", "delete"]);
    let created: TaskCreate = events[0].decode();
    assert_eq!(
        (&created.container_id, created.bundle.as_str()),
        (&shim.id, shim.bundle(&shim.id).to_str().unwrap())
    );
    assert_eq!(events[2].decode::<TaskExecAdded>().exec_id, "e");
    let exit: TaskExit = events[4].decode();
    assert_eq!((exit.id.as_str(), exit.exit_status), ("e", 3));
    let exit: TaskExit = events[5].decode();
    assert_eq!((&exit.id, exit.exit_status, exit.pid), (&shim.id, 137, created.pid));
}

#[test]
fn the_oom_killer_is_told_of() {
    let shim = Shim::with_config(&["sh", "-c", "head -c 200m /dev/zero >/dev/shm/x"], |config| {
        let shm =
            serde_json::json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs" });
        config["mounts"].as_array_mut().unwrap().push(shm);
        config["linux"]["resources"] =
            serde_json::json!({ "memory": { "limit": 20 << 20, "swap": 20 << 20 } });
    });
    let controllers =
        std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !std::path::Path::new("/sys/fs/cgroup/memory").exists() && !controllers.contains("memory") {
        return; // there is no such controller here
    }
    let client = shim.client();
    shim.create_and_start(&client);
    shim.wait(&client, "");
    let events = shim.containerd.wait_for("/tasks/oom", 1);
    let oom = events.iter().find(|event| event.topic == "/tasks/oom").unwrap();
    assert_eq!(oom.decode::<TaskOOM>().container_id, shim.id);
    shim.finish(&client);
}

#[test]
fn what_happened_while_containerd_was_away_is_told_later_in_order() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.containerd.wait_for("/tasks/start", 1);
    shim.containerd.stop();
    for name in ["a", "b"] {
        shim.exec(&client, name, &["true"]).unwrap();
        shim.start(&client, name).unwrap();
        shim.wait(&client, name);
    }
    let topics = shim.containerd.topics();
    assert!(!topics.contains(&"/tasks/exit".to_owned()), "nobody is there to be told: {topics:?}");
    shim.containerd.listen_again();
    let events = shim.containerd.wait_for("/tasks/exit", 2);
    let exits: Vec<String> = events
        .iter()
        .filter(|event| event.topic == "/tasks/exit")
        .map(|event| event.decode::<TaskExit>().id)
        .collect();
    assert_eq!(exits, ["a", "b"]);
    let _: Empty = client
        .close_io(
            context(),
            &containerd_shim_protos::api::CloseIORequest {
                id: shim.id.clone(),
                ..Default::default()
            },
        )
        .unwrap();
    shim.finish(&client);
}

#[test]
fn an_event_that_containerd_refuses_is_sent_five_times() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.containerd.wait_for("/tasks/start", 1);
    shim.containerd.refuse(4);
    shim.exec(&client, "refused-four-times", &["true"]).unwrap();
    shim.containerd.wait_for("/tasks/exec-added", 1);
    shim.containerd.refuse(5);
    shim.exec(&client, "refused-five-times", &["true"]).unwrap();
    shim.exec(&client, "after-it", &["true"]).unwrap();
    let events = shim.containerd.wait_for("/tasks/exec-added", 2);
    assert_eq!(added(&events), ["refused-four-times", "after-it"]);
    assert_eq!(shim.containerd.refusals_left(), 0);
    shim.finish(&client);
}

#[test]
fn attempts_without_a_connection_are_not_counted() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.containerd.wait_for("/tasks/start", 1);
    shim.containerd.stop();
    shim.exec(&client, "a", &["true"]).unwrap();
    // Long enough for five attempts, which are one second apart.
    std::thread::sleep(Duration::from_secs(6));
    shim.containerd.refuse(1);
    shim.containerd.listen_again();
    let events = shim.containerd.wait_for("/tasks/exec-added", 1);
    assert_eq!((added(&events), shim.containerd.refusals_left()), (vec!["a".to_owned()], 0));
    shim.finish(&client);
}

/// The exec ids of the events `exec-added`.
fn added(events: &[super::support::Event]) -> Vec<String> {
    let added = events.iter().filter(|event| event.topic == "/tasks/exec-added");
    added.map(|event| event.decode::<TaskExecAdded>().exec_id).collect()
}

#[test]
fn of_too_many_events_the_oldest_are_lost() {
    const MOST: usize = 2048;
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.containerd.wait_for("/tasks/start", 1);
    shim.containerd.stop();
    let ids: Vec<String> = (0..MOST + 100).map(|number| format!("e{number}")).collect();
    ids.iter().for_each(|id| drop(shim.exec(&client, id, &["true"]).unwrap()));
    shim.containerd.listen_again();
    let events = shim.containerd.wait_for("/tasks/exec-added", MOST);
    assert_eq!(added(&events), ids[100..]);
    shim.finish(&client);
}
