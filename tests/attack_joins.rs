//! A neighbour looks into each process of the runtime before and after each of its system calls.
//! `attack_births` needs luck to find the right moment; this needs none, since a tracer stops the
//! process meanwhile. The tracer protects nothing: when somebody opens a file in /proc/PID, the
//! kernel asks whether he may trace the process, and not whether another does.
//!
//! Seen to fail at commit 84eb9f4. The tests of `run` and `create` that join: once setns(2) had
//! brought the bootstrap into the user namespace of the neighbour, its memory could be read and
//! written, and its root directory and its descriptors were the host's. Those of `run` and `create`
//! that make a user namespace: the same of init, from its birth.
//!
//! Seen to fail with `set_dumpable(false)` left out of `begin` in `sys/process.rs`: all tests but
//! those of `run` and `create` that join, which fail once it is left out of `bootstrap.rs`, too.

use std::collections::BTreeSet;
use std::path::Path;

use orlop::seccomp::{Arch, Syscall};

use crate::attack_births::in_user_namespace;
use crate::killed::pid_of_init;
use crate::support::neighbour::{Spy, comm, in_own_pid_namespace};
use crate::support::runtime::{program_file, read};
use crate::support::{Bundle, host_namespace, json, link, tracer};

/// The neighbours, and what they see.
struct Spies {
    ordinary: Spy,
    owner: Spy,
    /// Who has looked into the container's program.
    into_program: BTreeSet<&'static str>,
    /// At how many stops a process of the runtime was in another user namespace than the host's.
    inside: usize,
    /// What they have found in processes of the runtime.
    found: BTreeSet<String>,
}

impl Spies {
    fn of(test: &str) -> Self {
        Spies {
            ordinary: Spy::ordinary(test),
            owner: Spy::with_user_namespace(test),
            into_program: BTreeSet::new(),
            inside: 0,
            found: BTreeSet::new(),
        }
    }

    /// Calls the runtime, which must succeed. `besides` are processes of it that exist already.
    fn watch(&mut self, bundle: &Bundle, args: &[&str], besides: &[i32]) {
        let (file, dir, command) = (program_file(), bundle.dir(), bundle.command(args));
        let traced = tracer::watch(&command, &file, besides, dir, |pid| self.look(pid.as_raw()));
        assert_eq!(traced.ended, Some((0, String::new())), "{args:?}");
    }

    fn look(&mut self, pid: i32) {
        let process = Path::new("/proc").join(pid.to_string());
        let Some(comm) = comm(&process) else { return };
        let file = program_file();
        let is_ours = comm.starts_with(&*file.file_name().unwrap().to_string_lossy());
        if is_ours && link(process.join("ns/user")) != host_namespace("user") {
            self.inside += 1;
        }
        for (who, spy) in [("ordinary", &mut self.ordinary), ("owner", &mut self.owner)] {
            let what = spy.look_into(pid);
            if what.is_empty() {
                continue;
            }
            if is_ours {
                let call = last_call(&process);
                self.found.insert(format!("{who} neighbour, at {call} of {comm}: {what}"));
            } else {
                self.into_program.insert(who);
            }
        }
    }

    /// Nothing of the runtime. `able` are those who must have found something in the program.
    #[track_caller]
    fn have_found_nothing(&self, able: &[&str]) {
        assert!(self.found.is_empty(), "{:#?}", self.found);
        assert!(self.inside > 0, "the runtime was never in the namespace");
        assert!(self.into_program.iter().eq(able), "{:?}", self.into_program);
    }
}

/// The name of the system call that a process makes or has just made.
fn last_call(process: &Path) -> String {
    let line = read(&process.join("syscall"));
    let number = line.split(' ').next().and_then(|number| number.parse().ok());
    let call = Syscall::all().find(|call| call.number(Arch::NATIVE) == number);
    call.map_or(line, |call| call.name().to_owned())
}

/// The container is in the user namespace of a neighbour.
#[track_caller]
fn joining(test: &str, birth: fn(Bundle, &mut Spies)) {
    in_own_pid_namespace(test, || {
        let mut spies = Spies::of(test);
        let ids = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]); // runc 1.1 demands them
        let bundle = in_user_namespace(Bundle::busybox(), Some(spies.owner.pid()));
        let bundle = bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
        birth(bundle, &mut spies);
        spies.have_found_nothing(&["ordinary", "owner"]);
    });
}

/// The container has a new user namespace. The owner is root, so that every process of root has all
/// rights in it, even one without CAP_SYS_PTRACE.
#[track_caller]
fn making(test: &str, birth: fn(Bundle, &mut Spies)) {
    in_own_pid_namespace(test, || {
        let mut spies = Spies::of(test);
        birth(in_user_namespace(Bundle::busybox(), None), &mut spies);
        spies.have_found_nothing(&["ordinary"]);
    });
}

fn run(bundle: Bundle, spies: &mut Spies) {
    let bundle = bundle.args(["true"]);
    bundle.write_config();
    spies.watch(&bundle, &["run", "--bundle", "bundle", bundle.id()], &[]);
}

fn create_and_start(bundle: Bundle, spies: &mut Spies) {
    let bundle = bundle.args(["true"]);
    bundle.write_config();
    spies.watch(&bundle, &["create", "--bundle", "bundle", bundle.id()], &[]);
    spies.watch(&bundle, &["start", bundle.id()], &[pid_of_init(&bundle)]);
}

fn exec(bundle: Bundle, spies: &mut Spies) {
    let c = bundle.args(["sleep", "600"]).run_detached();
    spies.watch(&c.bundle, &["exec", c.id(), "true"], &[]);
}

#[test]
fn nothing_is_found_while_run_joins() {
    joining("attack_joins::nothing_is_found_while_run_joins", run);
}

#[test]
fn nothing_is_found_while_create_joins() {
    joining("attack_joins::nothing_is_found_while_create_joins", create_and_start);
}

#[test]
fn nothing_is_found_while_exec_joins() {
    joining("attack_joins::nothing_is_found_while_exec_joins", exec);
}

#[test]
fn nothing_is_found_in_what_run_makes_anew() {
    differs!();
    making("attack_joins::nothing_is_found_in_what_run_makes_anew", run);
}

#[test]
fn nothing_is_found_in_what_create_makes_anew() {
    differs!();
    making("attack_joins::nothing_is_found_in_what_create_makes_anew", create_and_start);
}

#[test]
fn nothing_is_found_while_exec_enters_what_is_new() {
    making("attack_joins::nothing_is_found_while_exec_enters_what_is_new", exec);
}
