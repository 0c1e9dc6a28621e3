//! All verbs, as containerd calls them.

use containerd_shim_protos::api::{
    CloseIORequest, ConnectRequest, PauseRequest, PidsRequest, ResizePtyRequest, ResumeRequest,
    StatsRequest, UpdateTaskRequest,
};
use protobuf::Message;

use super::support::{Shim, context, failure, is_alive, options, until};

const SLEEP: [&str; 2] = ["sleep", "1000"];

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    let created = client.create(context(), &shim.create_request()).unwrap();
    assert!(is_alive(created.pid));
    assert_eq!(shim.status(&client, ""), Ok(1));
    assert_eq!(shim.start(&client, ""), Ok(created.pid));
    assert_eq!(shim.status(&client, ""), Ok(2));
    let connected = client
        .connect(context(), &ConnectRequest { id: shim.id.clone(), ..Default::default() })
        .unwrap();
    assert_eq!((connected.shim_pid, connected.task_pid), (shim.pid, created.pid));
    shim.kill(&client, "", 9).unwrap();
    let ended = shim.wait(&client, "");
    assert_eq!(ended.exit_status, 137);
    assert!(ended.exited_at.seconds > 1_700_000_000);
    assert_eq!(shim.status(&client, ""), Ok(3));
    assert_eq!(shim.wait(&client, ""), ended, "Wait can be asked again");
    let deleted = shim.delete(&client, "").unwrap();
    assert_eq!(
        (deleted.pid, deleted.exit_status, &deleted.exited_at),
        (created.pid, 137, &ended.exited_at)
    );
    shim.assert_nothing_left();
    shim.shut_down(&client);
}

#[test]
fn files_that_others_read_are_in_the_bundle() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    let created = client.create(context(), &shim.create_request()).unwrap();
    let read = |name: &str| std::fs::read_to_string(shim.bundle(&shim.id).join(name)).unwrap();
    assert_eq!(read("init.pid"), created.pid.to_string());
    assert_eq!(read("address"), shim.address);
    assert_eq!(read("runtime"), "");
    assert_eq!(read("options.json"), "{}");
    let threads = std::fs::read_dir(format!("/proc/{}/task", shim.pid)).unwrap().count();
    assert_eq!(threads, 1);
    shim.finish(&client);
}

#[test]
fn exec_runs_other_programs() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.exec(&client, "one", &["sh", "-c", "exit 7"]).unwrap();
    assert_eq!(shim.status(&client, "one"), Ok(1));
    let pid = shim.start(&client, "one").unwrap();
    assert!(pid > 0);
    assert_eq!(shim.wait(&client, "one").exit_status, 7);
    assert_eq!(shim.delete(&client, "one").unwrap().exit_status, 7);
    assert_eq!(failure(shim.status(&client, "one")).0, 5);
    // Its arguments are not in anybody's command line: more than a page, and more than one argument
    // may have.
    let long = "x".repeat(100_000);
    shim.exec(&client, "large", &["sh", "-c", "[ ${#0} = 100000 ]", &long]).unwrap();
    shim.start(&client, "large").unwrap();
    assert_eq!(shim.wait(&client, "large").exit_status, 0);
    shim.finish(&client);
}

#[test]
fn a_program_that_is_not_there_is_an_error_that_callers_know() {
    let shim = Shim::with(&["moon"]);
    let client = shim.client();
    let (_, text) = failure(client.create(context(), &shim.create_request()));
    assert!(text.starts_with("OCI runtime create failed: "), "{text}");
    assert!(text.contains("executable file not found in $PATH"), "{text}");
    shim.assert_nothing_left();
    shim.shut_down(&client);
}

#[test]
fn an_exec_that_fails_releases_wait_and_can_be_deleted() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.exec(&client, "bad", &["moon"]).unwrap();
    let waiting = {
        let request = containerd_shim_protos::api::WaitRequest {
            id: shim.id.clone(),
            exec_id: "bad".to_owned(),
            ..Default::default()
        };
        let client = shim.client();
        std::thread::spawn(move || client.wait(context(), &request).unwrap().exit_status)
    };
    let (_, text) = failure(shim.start(&client, "bad"));
    assert!(text.starts_with("OCI runtime exec failed: exec failed: "), "{text}");
    assert_eq!(waiting.join().unwrap(), 255);
    shim.delete(&client, "bad").unwrap();
    shim.exec(&client, "bad", &["true"]).unwrap(); // the id is free again
    shim.finish(&client);
}

#[test]
fn what_is_paused_is_told_and_goes_on() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.exec(&client, "e", &SLEEP).unwrap();
    shim.start(&client, "e").unwrap();
    client.pause(context(), &PauseRequest { id: shim.id.clone(), ..Default::default() }).unwrap();
    assert_eq!((shim.status(&client, ""), shim.status(&client, "e")), (Ok(4), Ok(4)));
    assert_eq!(failure(shim.exec(&client, "f", &["true"])).1, "cannot exec in a paused state");
    client.resume(context(), &ResumeRequest { id: shim.id.clone(), ..Default::default() }).unwrap();
    assert_eq!(shim.status(&client, ""), Ok(2));
    client.pause(context(), &PauseRequest { id: shim.id.clone(), ..Default::default() }).unwrap();
    shim.finish(&client); // also what is frozen dies
    let topics = shim.containerd.topics();
    let paused: Vec<_> = topics
        .iter()
        .filter(|topic| topic.contains("paused") || topic.contains("resumed"))
        .collect();
    assert_eq!(paused, ["/tasks/paused", "/tasks/resumed", "/tasks/paused"]);
}

#[test]
fn pids_tell_which_exec_they_are_of() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    let init = shim.create_and_start(&client);
    shim.exec(&client, "other", &SLEEP).unwrap();
    let exec = shim.start(&client, "other").unwrap();
    let answer =
        client.pids(context(), &PidsRequest { id: shim.id.clone(), ..Default::default() }).unwrap();
    let mut pids: Vec<(u32, String)> = answer
        .processes
        .iter()
        .map(|process| {
            let info = process.info.as_ref().map(|info| info.value.clone()).unwrap_or_default();
            (process.pid, String::from_utf8(info).unwrap())
        })
        .collect();
    pids.sort();
    let mut wanted = vec![(init, String::new()), (exec, "\n\u{5}other".to_owned())];
    wanted.sort();
    assert_eq!(pids, wanted);
    shim.finish(&client);
}

#[test]
fn statistics_are_those_that_containerd_reads() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    shim.create_and_start(&client);
    let answer = client
        .stats(context(), &StatsRequest { id: shim.id.clone(), ..Default::default() })
        .unwrap();
    let (pids, cpu) = match &*answer.stats.type_url {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics = containerd_shim_protos::cgroups::metrics::Metrics::parse_from_bytes(
                &answer.stats.value,
            )
            .unwrap();
            assert!(metrics.memory.usage.usage > 0);
            assert_eq!(metrics.memory_oom_control.as_ref().unwrap().oom_kill, 0);
            (metrics.pids.current, metrics.cpu.usage.total)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let metrics = containerd_shim_protos::cgroups_v2::metrics::Metrics::parse_from_bytes(
                &answer.stats.value,
            )
            .unwrap();
            (metrics.pids.current, metrics.cpu.usage_usec)
        }
        other => panic!("{other}"),
    };
    assert_eq!(pids, 1);
    assert!(cpu > 0);
    shim.finish(&client);
}

#[test]
fn limits_are_updated() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    let pid = shim.create_and_start(&client);
    let mut resources = protobuf::well_known_types::any::Any::new();
    resources.type_url =
        "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned();
    resources.value = br#"{"pids":{"limit":77}}"#.to_vec();
    let request = UpdateTaskRequest {
        id: shim.id.clone(),
        resources: Some(resources).into(),
        ..Default::default()
    };
    client.update(context(), &request).unwrap();
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = cgroups
        .lines()
        .find(|line| line.contains(":pids:"))
        .or_else(|| cgroups.lines().last())
        .unwrap();
    let mount = if line.contains(":pids:") { "/sys/fs/cgroup/pids" } else { "/sys/fs/cgroup" };
    let path = format!("{mount}{}/pids.max", line.rsplit(':').next().unwrap());
    assert_eq!(std::fs::read_to_string(path).unwrap().trim(), "77");
    let mut bad = request;
    bad.resources.as_mut().unwrap().value = b"{\"pids\":7}".to_vec();
    assert!(failure(client.update(context(), &bad)).1.contains("pids"));
    shim.finish(&client);
}

#[test]
fn what_ends_by_itself_is_gone_with_its_group() {
    let shim = Shim::with_config(&["sh", "-c", "sleep 1000 & exec sleep 1000"], |config| {
        // Without a pid namespace of its own, others outlive init.
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let client = shim.client();
    shim.create_and_start(&client);
    let request = PidsRequest { id: shim.id.clone(), ..Default::default() };
    let pids = || {
        client
            .pids(context(), &request)
            .unwrap()
            .processes
            .iter()
            .map(|one| one.pid)
            .collect::<Vec<_>>()
    };
    until("both run", || pids().len() == 2);
    shim.kill(&client, "", 15).unwrap();
    shim.wait(&client, "");
    assert!(pids().is_empty(), "the rest is dead before init's end is told");
    shim.finish(&client);
}

#[test]
fn verbs_that_have_nothing_to_do_do_no_harm() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    shim.create_and_start(&client);
    let resize =
        ResizePtyRequest { id: shim.id.clone(), width: 80, height: 25, ..Default::default() };
    client.resize_pty(context(), &resize).unwrap();
    let close = CloseIORequest { id: shim.id.clone(), stdin: true, ..Default::default() };
    client.close_io(context(), &close).unwrap();
    let shutdown =
        containerd_shim_protos::api::ShutdownRequest { id: shim.id.clone(), ..Default::default() };
    client.shutdown(context(), &shutdown).unwrap();
    assert_eq!(shim.status(&client, ""), Ok(2), "a shim with a container stays");
    shim.finish(&client);
}

#[test]
fn all_processes_get_a_signal_for_all() {
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.exec(&client, "e", &SLEEP).unwrap();
    shim.start(&client, "e").unwrap();
    let request = containerd_shim_protos::api::KillRequest {
        id: shim.id.clone(),
        signal: 10,
        all: true,
        ..Default::default()
    };
    client.kill(context(), &request).unwrap();
    // Init ignores what it has no handler for; the other does not.
    assert_eq!(shim.wait(&client, "e").exit_status, 128 + 10);
    assert_eq!(shim.status(&client, ""), Ok(2));
    shim.finish(&client);
}

#[test]
fn the_pipes_belong_to_the_group_in_the_options() {
    use std::os::unix::fs::MetadataExt;
    let shim = Shim::with(&SLEEP);
    let client = shim.client();
    let out = shim.dir.path().join("out");
    super::support::fifo(&out);
    let reader = super::support::reader(&out);
    let wanted = containerd_shim_protos::shim::oci::Options {
        io_uid: 1234,
        io_gid: 5678,
        ..Default::default()
    };
    let mut request = shim.create_request();
    out.to_str().unwrap().clone_into(&mut request.stdout);
    request.options = Some(options(&wanted)).into();
    let pid = client.create(context(), &request).unwrap().pid;
    let pipe = std::fs::metadata(format!("/proc/{pid}/fd/1")).unwrap();
    // The runtime then gives them to the user of the program, and keeps the group.
    assert_eq!((pipe.uid(), pipe.gid()), (0, 5678));
    shim.start(&client, "").unwrap();
    shim.finish(&client);
    reader.join().unwrap();
}

#[test]
fn a_session_keyring_is_made_unless_the_options_say_no() {
    if !std::path::Path::new("/proc/keys").exists() {
        return; // this kernel has no keyrings
    }
    for no_new_keyring in [false, true] {
        let shim = Shim::with(&["sh", "-c", "cat /proc/keys"]);
        let client = shim.client();
        let out = shim.dir.path().join("out");
        super::support::fifo(&out);
        let reader = super::support::reader(&out);
        let wanted =
            containerd_shim_protos::shim::oci::Options { no_new_keyring, ..Default::default() };
        let mut request = shim.create_request();
        out.to_str().unwrap().clone_into(&mut request.stdout);
        // Ignored, as by the Go shim.
        let ignored = containerd_shim_protos::shim::oci::Options {
            task_api_address: "unix:///nowhere".to_owned(),
            task_api_version: 7,
            ..wanted
        };
        request.options = Some(options(&ignored)).into();
        client.create(context(), &request).unwrap();
        shim.start(&client, "").unwrap();
        shim.wait(&client, "");
        shim.finish(&client);
        let keys = String::from_utf8(reader.join().unwrap()).unwrap();
        assert_eq!(keys.contains(&format!("_ses.{}", shim.id)), !no_new_keyring, "{keys}");
    }
}

#[test]
fn the_root_is_changed_without_pivot_root_if_the_options_say_so() {
    // That can be seen: what chroot(2) is not safe with is refused.
    for no_pivot_root in [false, true] {
        let shim = Shim::with_config(&SLEEP, |config| {
            config["linux"]["rootfsPropagation"] = "rprivate".into();
        });
        let client = shim.client();
        let wanted =
            containerd_shim_protos::shim::oci::Options { no_pivot_root, ..Default::default() };
        let mut request = shim.create_request();
        request.options = Some(options(&wanted)).into();
        let created = client.create(context(), &request);
        if no_pivot_root {
            assert!(failure(created).1.contains("[r]private is not safe"));
        } else {
            created.unwrap();
            shim.kill(&client, "", 9).unwrap();
            shim.wait(&client, "");
            shim.delete(&client, "").unwrap();
        }
        shim.shut_down(&client);
    }
}
