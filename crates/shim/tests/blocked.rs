//! What makes one request wait holds up no other: a frozen cgroup, a filesystem that does not
//! answer, a log that nobody reads.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use containerd_shim_protos::TaskClient;
use containerd_shim_protos::api::{Mount, PidsRequest, StatsRequest};
use rustix::fs::{Mode, OFlags};

use super::fuse::Fuse;
use super::support::{Shim, context, failure, fifo, until};

/// The time in which a request that need not wait is answered, on a slow machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The requests that containerd makes all the time are answered at once.
#[track_caller]
fn answers_at_once(shim: &Shim, client: &TaskClient) {
    let began = Instant::now();
    shim.status(client, "").unwrap();
    client.pids(context(), &PidsRequest { id: shim.id.clone(), ..Default::default() }).unwrap();
    client.stats(context(), &StatsRequest { id: shim.id.clone(), ..Default::default() }).unwrap();
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
}

/// Freezes or thaws the container's cgroup, as others than the shim can do.
fn freeze(shim: &Shim, frozen: bool) {
    let v1 = Path::new("/sys/fs/cgroup/freezer/orlop-shim-test").join(&shim.id);
    if v1.is_dir() {
        let file = v1.join("freezer.state");
        let state = if frozen { "FROZEN" } else { "THAWED" };
        fs::write(&file, state).unwrap();
        until("it is so", || fs::read_to_string(&file).unwrap().trim() == state);
    } else {
        let v2 = Path::new("/sys/fs/cgroup/orlop-shim-test").join(&shim.id);
        fs::write(v2.join("cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap();
        let state = if frozen { "frozen 1" } else { "frozen 0" };
        until("it is so", || fs::read_to_string(v2.join("cgroup.events")).unwrap().contains(state));
    }
}

#[test]
fn a_frozen_cgroup_holds_up_no_other_request() {
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    shim.exec(&client, "e", &["true"]).unwrap();
    freeze(&shim, true);
    std::thread::scope(|scope| {
        let exec = scope.spawn(|| shim.start(&shim.client(), "e"));
        std::thread::sleep(Duration::from_millis(300)); // it may have begun by now, or not
        answers_at_once(&shim, &client);
        let began = Instant::now();
        shim.exec(&client, "another", &["true"]).unwrap();
        shim.delete(&client, "another").unwrap();
        assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
        freeze(&shim, false);
        // It was refused because of the frozen cgroup, or has waited for the end of that.
        match exec.join().unwrap() {
            Ok(_) => assert_eq!(shim.wait(&client, "e").exit_status, 0),
            Err(error) => {
                let (_, text) = failure::<u32>(Err(error));
                assert!(text.contains("frozen") || text.contains("paused"), "{text}");
            }
        }
    });
    shim.exec(&client, "after", &["true"]).unwrap();
    shim.start(&client, "after").unwrap();
    assert_eq!(shim.wait(&client, "after").exit_status, 0);
    shim.finish(&client);
    shim.assert_nothing_left();
}

#[test]
fn a_filesystem_that_does_not_answer_holds_up_its_create_alone() {
    if !Path::new("/dev/fuse").exists() {
        return; // this kernel has no FUSE
    }
    let shim = Shim::with(&["sleep", "1000"]);
    let client = shim.client();
    shim.create_and_start(&client);
    let at = shim.dir.path().join("hung");
    let mut fuse = Fuse::mount(&at);
    shim.make_bundle("hangs", &["true"], |_| {});
    let source = at.join("layer").to_str().unwrap().to_owned();
    let options = vec!["rbind".to_owned()];
    let layer = Mount { type_: "bind".to_owned(), source, options, ..Mount::new() };
    let bundle = shim.bundle("hangs").to_str().unwrap().to_owned();
    let request = containerd_shim_protos::api::CreateTaskRequest {
        id: "hangs".to_owned(),
        bundle,
        rootfs: vec![layer],
        ..Default::default()
    };
    let creating = {
        let (client, request) = (shim.client(), request.clone());
        std::thread::spawn(move || client.create(context(), &request))
    };
    let state =
        containerd_shim_protos::api::StateRequest { id: "hangs".to_owned(), ..Default::default() };
    until("it is being created", || client.state(context(), &state).is_ok());
    answers_at_once(&shim, &client);
    shim.exec(&client, "e", &["true"]).unwrap();
    shim.start(&client, "e").unwrap();
    assert_eq!(shim.wait(&client, "e").exit_status, 0);
    assert!(!creating.is_finished(), "it waits for the server");
    fuse.end();
    let (_, text) = failure(creating.join().unwrap());
    assert!(text.contains("hung/layer"), "{text}");
    // The id is free again.
    client.state(context(), &state).unwrap_err();
    shim.finish(&client);
    shim.assert_nothing_left();
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut shim = Shim::not_started(&["sleep", "1000"]);
    let log = shim.bundle(&shim.id).join("log");
    fifo(&log);
    // The test holds it open and reads nothing.
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    let mut reader = File::from(rustix::fs::open(&log, flags, Mode::empty()).unwrap());
    let size = rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let output = shim.run_start(&["-debug"], b"");
    shim.address = String::from_utf8(output.stdout).unwrap();
    shim.ask_pid();
    let client = shim.client();
    shim.create_and_start(&client);
    for number in 0..100 {
        shim.status(&client, "").unwrap();
        if number % 10 == 0 {
            let name = format!("e{number}");
            shim.exec(&client, &name, &["true"]).unwrap();
            shim.start(&client, &name).unwrap();
            assert_eq!(shim.wait(&client, &name).exit_status, 0);
            shim.delete(&client, &name).unwrap();
        }
    }
    let mut lines = vec![0; 1 << 20];
    let length = reader.read(&mut lines).unwrap();
    let lines = String::from_utf8_lossy(&lines[..length]);
    // It is full, to the length of one line, and has whole lines only.
    assert!(length <= size && length + 400 > size, "{length} of {size}");
    assert!(lines.starts_with("time=") && lines.ends_with('\n'), "{lines}");
    // Now that it has been read there are lines again.
    shim.status(&client, "").unwrap();
    let mut more = vec![0; 1 << 20];
    assert!(reader.read(&mut more).is_ok_and(|length| length > 0));
    shim.finish(&client);
}
