//! Our messages against those of containerd-shim-protos, which are made from containerd's protocol
//! files.

use containerd_shim_protos::api;
use orlop_shim::messages;
use prost::Message as _;
use protobuf::Message as _;

/// What ours encodes, theirs decodes and encodes to the same bytes.
fn same<T: protobuf::Message + std::fmt::Debug>(ours: &impl prost::Message) -> T {
    let bytes = ours.encode_to_vec();
    let theirs = T::parse_from_bytes(&bytes).unwrap();
    assert!(
        theirs.special_fields().unknown_fields().iter().next().is_none(),
        "a field that is not there: {theirs:?}"
    );
    assert_eq!(theirs.write_to_bytes().unwrap().len(), bytes.len(), "{theirs:?}");
    theirs
}

#[test]
fn requests_are_containerds() {
    let text = str::to_owned;
    let create = same::<api::CreateTaskRequest>(&messages::CreateTaskRequest {
        id: text("id"),
        bundle: text("bundle"),
        rootfs: vec![messages::Mount {
            kind: text("overlay"),
            source: text("source"),
            target: text("target"),
            options: vec![text("one"), text("two")],
        }],
        terminal: true,
        stdin: text("in"),
        stdout: text("out"),
        stderr: text("err"),
        checkpoint: text("checkpoint"),
        parent_checkpoint: text("parent"),
        options: Some(messages::Any { type_url: text("type"), value: vec![1, 2] }),
    });
    assert_eq!((&*create.id, &*create.bundle, create.terminal), ("id", "bundle", true));
    assert_eq!((&*create.stdin, &*create.stdout, &*create.stderr), ("in", "out", "err"));
    assert_eq!((&*create.checkpoint, &*create.parent_checkpoint), ("checkpoint", "parent"));
    let mount = &create.rootfs[0];
    assert_eq!((&*mount.type_, &*mount.source, &*mount.target), ("overlay", "source", "target"));
    assert_eq!((mount.options.len(), &*create.options.type_url), (2, "type"));
    let exec = same::<api::ExecProcessRequest>(&messages::ExecProcessRequest {
        id: text("id"),
        exec_id: text("exec"),
        terminal: true,
        stdin: text("in"),
        stdout: text("out"),
        stderr: text("err"),
        spec: Some(messages::Any { type_url: text("type"), value: vec![1] }),
    });
    assert_eq!(
        (&*exec.exec_id, exec.terminal, &*exec.stderr, &exec.spec.value),
        ("exec", true, "err", &vec![1])
    );
    let kill = same::<api::KillRequest>(&messages::KillRequest {
        id: text("id"),
        exec_id: text("exec"),
        signal: 9,
        all: true,
    });
    assert_eq!((kill.signal, kill.all, &*kill.exec_id), (9, true, "exec"));
}

#[test]
fn requests_about_a_running_container_are_containerds() {
    let text = str::to_owned;
    let resize = same::<api::ResizePtyRequest>(&messages::ResizePtyRequest {
        id: text("id"),
        exec_id: text("exec"),
        width: 80,
        height: 25,
    });
    assert_eq!((resize.width, resize.height), (80, 25));
    let update = same::<api::UpdateTaskRequest>(&messages::UpdateTaskRequest {
        id: text("id"),
        resources: Some(messages::Any::default()),
        annotations: [(text("k"), text("v"))].into(),
    });
    assert_eq!(update.annotations["k"], "v");
    let checkpoint = same::<api::CheckpointTaskRequest>(&messages::CheckpointTaskRequest {
        id: text("id"),
        path: text("path"),
        options: None,
    });
    assert_eq!(&*checkpoint.path, "path");
}

#[test]
fn answers_are_containerds() {
    let text = str::to_owned;
    let at = Some(messages::Timestamp { seconds: 5, nanos: 7 });
    let state = same::<api::StateResponse>(&messages::StateResponse {
        id: text("id"),
        bundle: text("bundle"),
        pid: 3,
        status: 4,
        stdin: text("in"),
        stdout: text("out"),
        stderr: text("err"),
        terminal: true,
        exit_status: 9,
        exited_at: at,
        exec_id: text("exec"),
    });
    assert_eq!((state.pid, state.status.value(), state.exit_status), (3, 4, 9));
    assert_eq!((state.exited_at.seconds, state.exited_at.nanos, &*state.exec_id), (5, 7, "exec"));
    let deleted = same::<api::DeleteResponse>(&messages::DeleteResponse {
        pid: 3,
        exit_status: 9,
        exited_at: at,
    });
    assert_eq!((deleted.pid, deleted.exit_status, deleted.exited_at.nanos), (3, 9, 7));
    let waited =
        same::<api::WaitResponse>(&messages::WaitResponse { exit_status: 9, exited_at: at });
    assert_eq!((waited.exit_status, waited.exited_at.seconds), (9, 5));
    let connected = same::<api::ConnectResponse>(&messages::ConnectResponse {
        shim_pid: 1,
        task_pid: 2,
        version: text("v"),
    });
    assert_eq!((connected.shim_pid, connected.task_pid, &*connected.version), (1, 2, "v"));
    let process = messages::ProcessInfo { pid: 3, info: Some(messages::Any::default()) };
    let pids = same::<api::PidsResponse>(&messages::PidsResponse { processes: vec![process] });
    assert_eq!(pids.processes[0].pid, 3);
    let response = messages::Response {
        status: Some(messages::Status { code: 5, message: text("no") }),
        payload: vec![1],
    };
    let response = ttrpc::proto::Response::parse_from_bytes(&response.encode_to_vec()).unwrap();
    assert_eq!(
        (response.status.code.value(), &*response.status.message, &response.payload),
        (5, "no", &vec![1])
    );
}

#[test]
fn options_are_containerds() {
    let theirs = containerd_shim_protos::shim::oci::Options {
        no_pivot_root: true,
        no_new_keyring: true,
        shim_cgroup: "cgroup".to_owned(),
        io_uid: 1,
        io_gid: 2,
        binary_name: "orlop".to_owned(),
        root: "/root".to_owned(),
        systemd_cgroup: true,
        criu_image_path: "/images".to_owned(),
        criu_work_path: "/work".to_owned(),
        ..Default::default()
    };
    let ours = orlop_shim::options::Options::decode(&*theirs.write_to_bytes().unwrap()).unwrap();
    assert_eq!((ours.no_pivot_root, ours.no_new_keyring, ours.systemd_cgroup), (true, true, true));
    assert_eq!(
        (&*ours.shim_cgroup, ours.io_uid, ours.io_gid, &*ours.root),
        ("cgroup", 1, 2, "/root")
    );
    assert_eq!(
        (&*ours.binary_name, &*ours.criu_image_path, &*ours.criu_work_path),
        ("orlop", "/images", "/work")
    );
}
