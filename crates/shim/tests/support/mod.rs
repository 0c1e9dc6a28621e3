//! A shim with one or more bundles, and somebody who takes its events.

mod containerd;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{
    CreateTaskRequest, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest,
    StartRequest, StateRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::{Client, TaskClient};
use protobuf::Message;
use protobuf::well_known_types::any::Any;
use tempfile::TempDir;
use ttrpc::context::{self, Context};

use containerd::Containerd;
pub use containerd::Event;

/// The binary.
pub const SHIM: &str = env!("CARGO_BIN_EXE_containerd-shim-orlop-v2");

/// How long anything may take, on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A pod's shim, and its containerd.
pub struct Shim {
    pub dir: TempDir,
    pub namespace: String,
    pub id: String,
    pub containerd: Containerd,
    pub address: String,
    pub pid: u32,
}

/// Without a limit of ttrpc's own: the tests have theirs.
pub fn context() -> Context {
    context::with_timeout(i64::try_from(PATIENCE.as_nanos()).unwrap())
}

impl Shim {
    /// One with a bundle whose program is `args`.
    pub fn with(args: &[&str]) -> Self {
        Self::with_config(args, |_| {})
    }

    /// One whose config.json is changed.
    pub fn with_config(args: &[&str], change: impl FnOnce(&mut serde_json::Value)) -> Self {
        Self::with_input(args, change, |_| Vec::new())
    }

    /// One whose `start` reads something from its standard input.
    pub fn with_input(
        args: &[&str],
        change: impl FnOnce(&mut serde_json::Value),
        input: impl FnOnce(&Self) -> Vec<u8>,
    ) -> Self {
        let mut shim = Self::not_started_with(args, change);
        let output = shim.run_start(&[], &input(&shim));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "start: {said}");
        // Of the newer form the address is a part.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let begin = text.find("unix://").expect("an address");
        let end = text[begin..].find('\u{1a}').map_or(text.len(), |length| begin + length);
        text[begin..end].clone_into(&mut shim.address);
        shim.ask_pid();
        shim
    }

    /// A bundle, and no daemon.
    pub fn not_started(args: &[&str]) -> Self {
        Self::not_started_with(args, |_| {})
    }

    fn not_started_with(args: &[&str], change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let dir = TempDir::new().unwrap();
        let id = format!(
            "shim-test-{}",
            dir.path().file_name().unwrap().to_str().unwrap().replace('.', "")
        );
        let containerd = Containerd::listen(&dir.path().join("events.sock"));
        let namespace = "orlop-test".to_owned();
        let shim = Self { dir, namespace, id, containerd, address: String::new(), pid: 0 };
        shim.make_bundle(&shim.id, args, change);
        shim
    }

    /// Asks the daemon for its pid.
    pub fn ask_pid(&mut self) {
        let request = containerd_shim_protos::api::ConnectRequest {
            id: self.id.clone(),
            ..Default::default()
        };
        self.pid = self.client().connect(context(), &request).unwrap().shim_pid;
    }

    /// A bundle beside the others.
    pub fn make_bundle(
        &self,
        id: &str,
        args: &[&str],
        change: impl FnOnce(&mut serde_json::Value),
    ) {
        let bundle = self.bundle(id);
        fs::create_dir_all(bundle.join("rootfs/bin")).unwrap();
        fs::create_dir_all(bundle.join("rootfs/proc")).unwrap();
        fs::create_dir_all(bundle.join("rootfs/tmp")).unwrap();
        fs::create_dir_all(bundle.join("rootfs/dev")).unwrap();
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
        fs::copy(busybox.expect("busybox-static"), bundle.join("rootfs/bin/busybox")).unwrap();
        for name in [
            "sh", "cat", "echo", "sleep", "true", "head", "yes", "stty", "tty", "dd", "env", "kill",
        ] {
            std::os::unix::fs::symlink("busybox", bundle.join("rootfs/bin").join(name)).unwrap();
        }
        let mut config = serde_json::json!({
            "ociVersion": "1.2.0",
            "process": process(args),
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["newinstance", "ptmxmode=0666"] }
            ],
            "linux": {
                "cgroupsPath": format!("/orlop-shim-test/{id}"),
                "namespaces": [
                    { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" },
                    { "type": "network" }
                ],
                "resources": {}
            }
        });
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    }

    pub fn bundle(&self, id: &str) -> PathBuf {
        self.dir.path().join(id)
    }

    /// A command of the shim's in the bundle.
    pub fn command(&self, action: &str) -> Command {
        let mut command = Command::new(SHIM);
        command
            .args(["-namespace", &self.namespace, "-id", &self.id])
            .args(["-address", self.dir.path().join("containerd.sock").to_str().unwrap()])
            .arg(action)
            .env("TTRPC_ADDRESS", self.containerd.path())
            .current_dir(self.bundle(&self.id));
        command
    }

    /// `start`, with more flags and with what containerd writes to its standard input.
    pub fn run_start(&self, flags: &[&str], input: &[u8]) -> Output {
        let mut command = self.command("start");
        let mut words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        words.splice(0..0, flags.iter().map(Into::into));
        let mut again = Command::new(SHIM);
        again
            .args(words)
            .env("TTRPC_ADDRESS", self.containerd.path())
            .current_dir(self.bundle(&self.id));
        command = again;
        with_input(&mut command, input)
    }

    /// `delete`; what it printed.
    pub fn run_delete(&self) -> DeleteResponse {
        let output = with_input(&mut self.command("delete"), b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "delete: {said}");
        DeleteResponse::parse_from_bytes(&output.stdout).unwrap()
    }

    /// Another connection to it.
    pub fn client(&self) -> TaskClient {
        TaskClient::new(Client::connect(&self.address).unwrap())
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        Path::new(self.address.trim_start_matches("unix://"))
    }

    /// A connection of bytes.
    pub fn bytes(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub fn create_request(&self) -> CreateTaskRequest {
        let bundle = self.bundle(&self.id).to_str().unwrap().to_owned();
        CreateTaskRequest { id: self.id.clone(), bundle, ..Default::default() }
    }

    /// Create and Start; init's pid.
    pub fn create_and_start(&self, client: &TaskClient) -> u32 {
        client.create(context(), &self.create_request()).unwrap();
        self.start(client, "").unwrap()
    }

    pub fn start(&self, client: &TaskClient, exec_id: &str) -> ttrpc::Result<u32> {
        let request =
            StartRequest { id: self.id.clone(), exec_id: exec_id.to_owned(), ..Default::default() };
        client.start(context(), &request).map(|answer| answer.pid)
    }

    /// Exec, of a program that has the container's environment.
    pub fn exec(&self, client: &TaskClient, exec_id: &str, args: &[&str]) -> ttrpc::Result<Empty> {
        client.exec(context(), &self.exec_request(exec_id, args))
    }

    pub fn exec_request(&self, exec_id: &str, args: &[&str]) -> ExecProcessRequest {
        let mut spec = Any::new();
        spec.type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
        spec.value = process(args).to_string().into_bytes();
        ExecProcessRequest {
            id: self.id.clone(),
            exec_id: exec_id.to_owned(),
            spec: Some(spec).into(),
            ..Default::default()
        }
    }

    pub fn wait(&self, client: &TaskClient, exec_id: &str) -> WaitResponse {
        let request =
            WaitRequest { id: self.id.clone(), exec_id: exec_id.to_owned(), ..Default::default() };
        client.wait(context(), &request).unwrap()
    }

    pub fn kill(&self, client: &TaskClient, exec_id: &str, signal: u32) -> ttrpc::Result<Empty> {
        let request = KillRequest {
            id: self.id.clone(),
            exec_id: exec_id.to_owned(),
            signal,
            ..Default::default()
        };
        client.kill(context(), &request)
    }

    pub fn delete(&self, client: &TaskClient, exec_id: &str) -> ttrpc::Result<DeleteResponse> {
        let request = DeleteRequest {
            id: self.id.clone(),
            exec_id: exec_id.to_owned(),
            ..Default::default()
        };
        client.delete(context(), &request)
    }

    /// containerd.v1.types.Status as a number.
    pub fn status(&self, client: &TaskClient, exec_id: &str) -> ttrpc::Result<i32> {
        let request =
            StateRequest { id: self.id.clone(), exec_id: exec_id.to_owned(), ..Default::default() };
        client.state(context(), &request).map(|state| state.status.value())
    }

    /// Kills init, deletes it, and shuts the shim down.
    pub fn finish(&self, client: &TaskClient) {
        let _ = self.kill(client, "", 9);
        self.wait(client, "");
        self.delete(client, "").unwrap();
        self.shut_down(client);
    }

    /// Shutdown, without waiting for the daemon's end.
    pub fn ask_to_shut_down(&self, client: &TaskClient) {
        let request = containerd_shim_protos::api::ShutdownRequest {
            id: self.id.clone(),
            ..Default::default()
        };
        client.shutdown(context(), &request).unwrap();
    }

    pub fn shut_down(&self, client: &TaskClient) {
        self.ask_to_shut_down(client);
        until("the daemon ends", || !is_alive(self.pid));
        assert!(!self.socket().exists(), "the socket is left");
    }

    /// What is left of the container outside of its bundle.
    pub fn assert_nothing_left(&self) {
        let state = format!("/run/containerd/runc/{}/{}", self.namespace, self.id);
        assert!(!Path::new(&state).exists(), "{state} is left");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "a mount is left");
        for cgroup in ["/sys/fs/cgroup/orlop-shim-test", "/sys/fs/cgroup/memory/orlop-shim-test"] {
            let cgroup = Path::new(cgroup).join(&self.id);
            assert!(!cgroup.exists(), "{} is left", cgroup.display());
        }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if self.pid != 0 && is_alive(self.pid) {
            unsafe_kill(self.pid);
            until("the killed daemon is gone", || !is_alive(self.pid));
        }
        if !self.address.is_empty() {
            let _ = with_input(&mut self.command("delete"), b"");
        }
    }
}

/// A process, as config.json has it.
fn process(args: &[&str]) -> serde_json::Value {
    let user = serde_json::json!({ "uid": 0, "gid": 0 });
    serde_json::json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": user })
}

/// Options of the type that containerd sends without CRI.
pub fn options(options: &Options) -> Any {
    let mut any = Any::new();
    "containerd.runc.v1.Options".clone_into(&mut any.type_url);
    any.value = options.write_to_bytes().unwrap();
    any
}

/// SIGKILL.
pub fn unsafe_kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Whether a process is there, and no zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next())
        .is_some_and(|state| state != 'Z')
}

/// Waits for something that comes about by itself.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !reached() {
        assert!(begin.elapsed() < PATIENCE, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn with_input(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input); // it may not want any
    child.wait_with_output().unwrap()
}

pub fn fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
}

/// Reads a fifo to its end, in a thread.
pub fn reader(path: &Path) -> std::thread::JoinHandle<Vec<u8>> {
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// The code and the text of a failure.
pub fn failure<T: std::fmt::Debug>(result: ttrpc::Result<T>) -> (i32, String) {
    match result {
        Err(ttrpc::Error::RpcStatus(status)) => (status.code.value(), status.message.clone()),
        other => panic!("no failure of the shim: {other:?}"),
    }
}
