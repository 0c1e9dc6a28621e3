//! What happens at the same time.

use containerd_shim_protos::api::WaitRequest;

use super::support::{Shim, context, failure, is_alive, until};

#[test]
fn a_program_that_ends_at_once_is_started_before_it_ends() {
    for _ in 0..20 {
        let shim = Shim::with(&["true"]);
        let client = shim.client();
        let pid = shim.create_and_start(&client);
        assert!(pid > 0);
        assert_eq!(shim.wait(&client, "").exit_status, 0);
        shim.delete(&client, "").unwrap();
        shim.shut_down(&client);
        let events = shim.containerd.wait_for("/tasks/delete", 1);
        let topics: Vec<&str> =
            events.iter().map(|event| event.topic.trim_start_matches("/tasks/")).collect();
        assert_eq!(topics, ["create", "start", "exit", "delete"]);
    }
}

/// As containerd does if its client's time is over while the container is being created.
#[test]
fn a_create_that_is_given_up_does_not_keep_the_daemon() {
    for fails in [false, true] {
        let shim = Shim::with_config(&["sleep", "1000"], |config| {
            let hook = if fails { "sleep 1; false" } else { "sleep 1" };
            let hook = serde_json::json!({ "path": "/bin/sh", "args": ["sh", "-c", hook] });
            config["hooks"] = serde_json::json!({ "createRuntime": [hook] });
        });
        let (client, request) = (shim.client(), shim.create_request());
        let creating = std::thread::spawn(move || client.create(context(), &request));
        let client = shim.client();
        until("it is being created", || shim.status(&client, "").is_ok());
        shim.delete(&client, "").expect_err("it is being created");
        shim.ask_to_shut_down(&client);
        drop(client);
        assert_eq!(creating.join().unwrap().is_err(), fails);
        shim.run_delete();
        until("the daemon ends", || !is_alive(shim.pid));
        assert!(!shim.socket().exists());
        shim.assert_nothing_left();
    }
}

#[test]
fn many_execs_at_once_all_end_and_are_told_of_in_order() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    let names: Vec<String> = (0..60).map(|number| format!("e{number}")).collect();
    for name in &names {
        shim.exec(&client, name, &["sh", "-c", "exit 5"]).unwrap();
    }
    std::thread::scope(|scope| {
        for part in names.chunks(15) {
            let shim = &shim;
            scope.spawn(move || {
                let client = shim.client();
                for name in part {
                    shim.start(&client, name).unwrap();
                    assert_eq!(shim.wait(&client, name).exit_status, 5);
                    shim.delete(&client, name).unwrap();
                }
            });
        }
    });
    let events = shim.containerd.wait_for("/tasks/exit", names.len());
    for name in &names {
        let at = |kind: &str| {
            events.iter().position(|event| {
                event.topic == format!("/tasks/{kind}")
                    && event.value.windows(name.len()).any(|w| w == name.as_bytes())
            })
        };
        assert!(at("exec-added") < at("exec-started") && at("exec-started") < at("exit"), "{name}");
    }
    shim.finish(&client);
}

#[test]
fn the_end_of_init_is_told_last_and_no_exec_begins_after_it() {
    for _ in 0..5 {
        let shim = Shim::with(&["sleep", "1000"]);
        let client = shim.client();
        shim.create_and_start(&client);
        for name in ["a", "b", "c", "late"] {
            shim.exec(&client, name, &["sleep", "1000"]).unwrap();
        }
        for name in ["a", "b", "c"] {
            shim.start(&client, name).unwrap();
        }
        shim.kill(&client, "", 9).unwrap();
        shim.wait(&client, "");
        assert_eq!(failure(shim.start(&client, "late")).0, 9);
        let events = shim.containerd.wait_for("/tasks/exit", 4);
        let exits: Vec<String> = events
            .iter()
            .filter(|event| event.topic == "/tasks/exit")
            .map(|event| event.decode::<containerd_shim_protos::events::task::TaskExit>().id)
            .collect();
        assert_eq!(exits.last(), Some(&shim.id), "{exits:?}");
        shim.finish(&client);
    }
}

#[test]
fn an_exec_against_the_end_of_init_ends_or_fails() {
    for _ in 0..10 {
        let shim = Shim::with(&["sleep", "1000"]);
        let client = shim.client();
        shim.create_and_start(&client);
        shim.exec(&client, "e", &["sleep", "1000"]).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let client = shim.client();
                if shim.start(&client, "e").is_ok() {
                    assert_eq!(shim.wait(&client, "e").exit_status, 137);
                }
            });
            shim.kill(&client, "", 9).unwrap();
            assert_eq!(shim.wait(&client, "").exit_status, 137);
        });
        shim.finish(&client);
        shim.assert_nothing_left();
    }
}

#[test]
fn a_kill_during_create_is_refused_and_create_goes_on() {
    let shim = Shim::with_config(&["sleep", "1000"], |config| {
        let hook = serde_json::json!({ "path": "/bin/sleep", "args": ["sleep", "1"] });
        config["hooks"] = serde_json::json!({ "createRuntime": [hook] });
    });
    let client = shim.client();
    let creating = {
        let (request, client) = (shim.create_request(), shim.client());
        std::thread::spawn(move || client.create(context(), &request).unwrap().pid)
    };
    until("it is being created", || shim.status(&client, "") == Ok(1));
    // Another request is not held up by the hook.
    assert_eq!(failure(shim.kill(&client, "", 9)), (9, "process not created".to_owned()));
    assert_eq!(failure(shim.start(&client, "")).0, 9);
    assert!(creating.join().unwrap() > 0);
    shim.start(&client, "").unwrap();
    shim.finish(&client);
}

#[test]
fn everybody_who_waits_is_told() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let client = shim.client();
            let request = WaitRequest { id: shim.id.clone(), ..Default::default() };
            std::thread::spawn(move || client.wait(context(), &request).unwrap().exit_status)
        })
        .collect();
    shim.kill(&client, "", 15).unwrap();
    shim.kill(&client, "", 9).ok();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), 137); // init ignores SIGTERM
    }
    shim.finish(&client);
}

#[test]
fn a_limit_on_descriptors_is_the_containers_and_not_the_daemons() {
    use rustix::process::{Resource, getrlimit};
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    let init = shim.create_and_start(&client);
    let soft = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    let ours = getrlimit(Resource::Nofile);
    assert_eq!(soft(init), ours.current.unwrap().to_string());
    assert_eq!(soft(shim.pid), ours.maximum.unwrap().to_string());
    // Each has three streams and a worker on its way, which is more than the soft limit has.
    let names: Vec<String> = (0..1_000).map(|number| format!("e{number}")).collect();
    for name in &names {
        shim.exec(&client, name, &["true"]).unwrap();
    }
    std::thread::scope(|scope| {
        for name in &names {
            let shim = &shim;
            scope.spawn(move || shim.start(&shim.client(), name).unwrap());
        }
    });
    for name in &names {
        assert_eq!(shim.wait(&client, name).exit_status, 0);
    }
    shim.finish(&client);
}
