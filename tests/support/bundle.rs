//! A bundle on disk, the changes to it, and the calls of the runtime for it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::runtime::{self, Output, Running};
use super::{Container, cgroups, config, leftovers, neighbour, userland};

/// A directory with a rootfs and a configuration, an id that no other test has, and its own state
/// root. Dropping it removes the container, if there is one.
#[derive(Debug)]
pub struct Bundle {
    dir: TempDir,
    /// Unique, and the beginning of the id, unless the test sets another one.
    name: String,
    id: String,
    pub config: Value,
    program: PathBuf,
    prelude: Option<String>,
    env: Vec<(String, String)>,
    global_flags: Vec<String>,
    flags: Vec<String>,
    input: Option<PathBuf>,
    cwd: PathBuf,
}

/// Creates and changes bundles.
impl Bundle {
    /// A busybox root filesystem and the default configuration.
    pub fn busybox() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make namespaces and cgroups: run them as root"
        );
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("t{}-{}x", neighbour::test_number(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix("orlop-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        userland::install(&dir.path().join("bundle/rootfs"));
        Bundle {
            cwd: dir.path().to_owned(),
            dir,
            id: name.clone(),
            name,
            config: config::default(),
            program: runtime::program_file(),
            prelude: None,
            env: Vec::new(),
            global_flags: Vec::new(),
            flags: Vec::new(),
            input: None,
        }
    }

    /// Sets a value of the configuration by its JSON pointer. Missing objects on the way are
    /// created.
    #[track_caller]
    #[must_use]
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        config::set(&mut self.config, pointer, value.into());
        self
    }

    /// Appends to an array of the configuration.
    #[track_caller]
    #[must_use]
    pub fn push(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        config::push(&mut self.config, pointer, value.into());
        self
    }

    #[track_caller]
    #[must_use]
    pub fn remove(mut self, pointer: &str) -> Self {
        config::remove(&mut self.config, pointer);
        self
    }

    /// Sets `process.args`.
    #[must_use]
    pub fn args<S: AsRef<str>>(self, args: impl IntoIterator<Item = S>) -> Self {
        let args: Vec<Value> = args.into_iter().map(|arg| arg.as_ref().into()).collect();
        self.set("/process/args", args)
    }

    /// Sets `process.args` to a shell script.
    #[must_use]
    pub fn script(self, script: &str) -> Self {
        self.args(["sh", "-c", script])
    }

    /// Removes the namespace of this type.
    #[must_use]
    pub fn without_namespace(mut self, kind: &str) -> Self {
        let namespaces = self.config.pointer_mut("/linux/namespaces").unwrap();
        namespaces.as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Runs a shell script before the runtime, in a mount namespace of their own.
    #[must_use]
    pub fn after(mut self, script: &str) -> Self {
        let before = self.prelude.take().unwrap_or_default();
        self.prelude = Some(format!("{before}{script}\n"));
        self
    }

    /// Runs the runtime as an ordinary user with this id, which is root in the container.
    #[must_use]
    pub fn by_user(mut self, id: u32) -> Self {
        let ids = serde_json::json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        config::push(&mut self.config, "/linux/namespaces", serde_json::json!({ "type": "user" }));
        config::set(&mut self.config, "/linux/uidMappings", ids.clone());
        config::set(&mut self.config, "/linux/gidMappings", ids);
        config::set(
            &mut self.config,
            "/mounts/2/options",
            serde_json::json!(["nosuid", "noexec", "newinstance"]),
        );
        let all =
            Command::new("chown").arg("-R").arg(format!("{id}:{id}")).arg(self.dir()).status();
        assert!(all.unwrap().success());
        self.after(&format!("set -- setpriv --reuid {id} --regid {id} --clear-groups \"$@\""))
    }

    /// Mounts only cgroup v2 for the runtime.
    #[must_use]
    pub fn on_cgroup_v2(self) -> Self {
        if cgroups::is_pure_v2() {
            return self;
        }
        self.after("umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup")
    }

    /// Uses another program as the runtime.
    #[must_use]
    pub fn program(mut self, file: PathBuf) -> Self {
        self.program = file;
        self
    }

    /// Sets an environment variable of the runtime.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the working directory of the runtime. The default is the scratch directory.
    #[must_use]
    pub fn current_dir(mut self, dir: PathBuf) -> Self {
        self.cwd = dir;
        self
    }

    /// Sets another id, which should begin with the old one to be unique.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Adds flags before the verb.
    #[must_use]
    pub fn global<S: Into<String>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.global_flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Removes all flags before the verb except `--root`.
    pub fn forget_global(&mut self) {
        self.global_flags.clear();
    }

    /// Adds flags of `create` and `run`.
    #[must_use]
    pub fn flags<S: Into<String>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Sets the standard input of the runtime, and so of the container.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        let path = self.scratch("stdin");
        fs::write(&path, text).unwrap();
        self.input = Some(path);
        self
    }
}

/// The paths and names of a bundle.
impl Bundle {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value that marks the processes of this bundle in their environment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory with all files of this test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self) -> PathBuf {
        self.dir().join("bundle")
    }

    /// A path inside the root filesystem.
    pub fn rootfs(&self, path: &str) -> PathBuf {
        self.path().join("rootfs").join(path)
    }

    /// A path on the host for any use by the test.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A new directory on the host.
    pub fn scratch_dir(&self, name: &str) -> PathBuf {
        let dir = self.scratch(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// The content of a file on the host; empty if it does not exist.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.scratch(name)).unwrap_or_default()
    }

    pub fn state_root(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// The names in the state root.
    pub fn state_names(&self) -> Vec<String> {
        leftovers::entries(&self.state_root())
    }

    pub fn write_config(&self) {
        let text = self.config.to_string();
        fs::write(self.path().join("config.json"), &text).unwrap();
        if let Some(seeds) = std::env::var_os("ORLOP_SEEDS") {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            fs::write(Path::new(&seeds).join(format!("{:016x}", hasher.finish())), text).unwrap();
        }
    }
}

/// Calls the runtime.
impl Bundle {
    /// The runtime with these arguments, after `--root` and the global flags.
    pub fn command(&self, args: &[&str]) -> Command {
        let root = self.state_root();
        let mut all = vec!["--root".to_owned(), root.to_string_lossy().into_owned()];
        all.extend(self.global_flags.iter().cloned());
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let mut command = runtime::command(&self.program, self.prelude.as_deref(), all);
        command
            .env(runtime::MARKER, &self.name)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(input) = &self.input {
            command.stdin(File::open(input).unwrap());
        }
        command.current_dir(&self.cwd);
        command
    }

    /// Starts the runtime with these arguments.
    #[track_caller]
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args), self.dir())
    }

    /// Runs the runtime with these arguments, after `--root` and the global flags.
    #[track_caller]
    pub fn call(&self, args: &[&str]) -> Output {
        self.start(args).wait()
    }

    /// Calls a verb with only the id.
    #[track_caller]
    pub fn verb(&self, verb: &str) -> Output {
        self.call(&[verb, &self.id])
    }

    /// Calls `create` or `run` with the bundle, the flags and the id.
    #[track_caller]
    pub fn begin(&self, verb: &str, flags: &[&str]) -> Running {
        self.write_config();
        let path = self.path();
        let mut args = vec![verb, "--bundle", path.to_str().unwrap()];
        args.extend(self.flags.iter().map(String::as_str).chain(flags.iter().copied()));
        args.push(&self.id);
        self.start(&args)
    }

    /// Runs a program in the foreground.
    #[track_caller]
    pub fn run<S: AsRef<str>>(&mut self, args: impl IntoIterator<Item = S>) -> Output {
        let args: Vec<Value> = args.into_iter().map(|arg| arg.as_ref().into()).collect();
        config::set(&mut self.config, "/process/args", args.into());
        self.run_as_is()
    }

    /// Runs a shell script in the foreground.
    #[track_caller]
    pub fn sh(&mut self, script: &str) -> Output {
        self.run(["sh", "-c", script])
    }

    /// Runs the program of the configuration in the foreground.
    #[track_caller]
    pub fn run_as_is(&self) -> Output {
        self.begin("run", &[]).wait()
    }

    /// Starts `run` in the foreground, and does not wait for its end.
    #[track_caller]
    pub fn run_in_background(&self) -> Running {
        self.begin("run", &[])
    }

    /// Calls `create`, which may fail.
    #[track_caller]
    pub fn try_create(&self) -> Output {
        self.begin("create", &[]).wait()
    }

    /// Calls `create`, which must fail and leave nothing behind.
    #[track_caller]
    pub fn refused(&self) -> Output {
        let output = self.try_create().refused();
        self.assert_nothing_left();
        output
    }

    /// A created container, waiting for `start`.
    #[track_caller]
    pub fn create(self) -> Container {
        Container::new(self, "create", &[])
    }

    /// A running container, by `run --detach`.
    #[track_caller]
    pub fn run_detached(self) -> Container {
        Container::new(self, "run", &["--detach"])
    }

    /// The mountinfo of a container.
    #[track_caller]
    pub fn mountinfo(&mut self) -> String {
        self.run(["cat", "/proc/self/mountinfo"]).ok().stdout
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.state_root().join(&self.id).is_dir() && !std::thread::panicking() {
            self.call(&["delete", "--force", &self.id]);
        }
        self.clean_up();
    }
}
