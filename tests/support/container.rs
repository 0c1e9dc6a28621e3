//! A container between `create` or `run --detach` and `delete`.

use serde_json::Value;

use super::runtime::{Files, Output, Running, read, time_limit};
use super::{Bundle, eventually};

/// A container. It is removed when this is dropped.
#[derive(Debug)]
pub struct Container {
    pub bundle: Bundle,
    files: Files,
}

impl Container {
    #[track_caller]
    pub fn new(bundle: Bundle, verb: &str, flags: &[&str]) -> Self {
        let running = bundle.begin(verb, flags);
        let files = running.files.clone();
        let out = running.wait().ok();
        assert!(
            out.stderr.is_empty() && (verb == "run" || out.stdout.is_empty()),
            "expected silence: {out:?}"
        );
        Container { bundle, files }
    }

    pub fn id(&self) -> &str {
        self.bundle.id()
    }

    /// The output of the container so far.
    pub fn stdout(&self) -> String {
        read(&self.files.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.files.stderr)
    }

    /// Calls a verb with the id. [`Output`] has checks of the result.
    #[track_caller]
    pub fn verb(&self, verb: &str) -> Output {
        self.bundle.verb(verb)
    }

    #[track_caller]
    pub fn start(&self) {
        self.verb("start").silent();
    }

    /// The state as the runtime prints it.
    #[track_caller]
    pub fn state(&self) -> Value {
        let output = self.verb("state").ok();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status is a string").to_owned()
    }

    /// The process id of the container's first process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().expect("pid is a number")).unwrap()
    }

    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        let reached = eventually(time_limit(), || self.status() == status);
        assert!(reached, "{} instead of {status}; stderr {:?}", self.status(), self.stderr());
    }

    /// Waits until the container has printed `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let seen = eventually(time_limit(), || self.stdout().contains(text));
        assert!(seen, "no {text:?} in {:?}, stderr {:?}", self.stdout(), self.stderr());
    }

    #[track_caller]
    pub fn kill(&self, signal: &str) {
        self.bundle.call(&["kill", self.id(), signal]).silent();
    }

    #[track_caller]
    pub fn delete(&self) {
        self.verb("delete").silent();
    }

    #[track_caller]
    pub fn delete_by_force(&self) {
        self.bundle.call(&["delete", "--force", self.id()]).silent();
    }

    /// Starts `exec` with these flags and this program.
    #[track_caller]
    pub fn start_exec(&self, flags: &[&str], program: &[&str]) -> Running {
        let args: Vec<&str> =
            ["exec"].iter().chain(flags).chain([&self.id()]).chain(program).copied().collect();
        self.bundle.start(&args)
    }

    /// Runs a program in the container by `exec` with these flags.
    #[track_caller]
    pub fn exec(&self, flags: &[&str], program: &[&str]) -> Output {
        self.start_exec(flags, program).wait()
    }

    /// Runs a shell script in the container by `exec`.
    #[track_caller]
    pub fn exec_sh(&self, script: &str) -> Output {
        self.exec(&[], &["sh", "-c", script])
    }

    /// Starts the container and waits for its end. Returns its output.
    #[track_caller]
    pub fn finish(&self) -> String {
        self.start();
        self.wait_status("stopped");
        self.stdout()
    }
}
