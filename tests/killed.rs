//! The runtime, or its child, killed at each of its system calls: what is left then,
//! `delete --force` removes without trace.
//!
//! `make test` takes a sample of the points, `make soak` all of them.

use std::time::Duration;

use crate::namespaces::Helper;
use crate::support::tracer::{Trace, Victim, trace};
use crate::support::{Bundle, cgroups, eventually, json, runtime, soak};

/// How many points of a sweep `make test` tries.
const SAMPLE: usize = 16;

/// A verb that is killed.
struct Sweep<'a> {
    verb: &'a str,
    /// What it has besides the flags of the bundle and the id.
    more: &'a [&'a str],
    /// What goes before it.
    prepare: fn(&Bundle),
}

impl Sweep<'_> {
    fn trace(&self, bundle: &Bundle, victim: Option<Victim>) -> Trace {
        (self.prepare)(bundle);
        let path = bundle.path();
        let mut args = vec![self.verb];
        if ["create", "run"].contains(&self.verb) {
            bundle.write_config();
            args.extend(["--bundle", path.to_str().unwrap()]);
        }
        args.push(bundle.id());
        args.extend(self.more);
        // The init that `start` speaks to is a stranger's child.
        let init = if self.verb == "start" { vec![pid_of_init(bundle)] } else { Vec::new() };
        trace(&bundle.command(&args), &runtime::program(), &init, victim, bundle.dir())
    }

    /// Kills at all points, or some of them, and deletes by force what is left each time.
    fn everywhere(&self, bundle: &Bundle) {
        let all = self.trace(bundle, None);
        assert!(
            all.ended.as_ref().is_some_and(|(status, _)| *status == 0),
            "{} on its own: {:?}",
            self.verb,
            all.ended
        );
        clear(bundle).expect("nothing is left when nobody is killed");
        let points = all.points();
        let stride = if soak() { 1 } else { points.len().div_ceil(SAMPLE) };
        let (mut tried, mut missed, mut wrong) = (0, 0, Vec::new());
        for victim in points.iter().step_by(stride) {
            let traced = self.trace(bundle, Some(*victim));
            tried += 1;
            if !traced.killed {
                eprintln!(
                    "{}: {victim:?} of {:?} not reached: {:?}",
                    self.verb, all.calls, traced.calls
                );
                missed += 1;
            }
            if let Some(mut runtime) = traced.alive
                && !runtime.ends()
            {
                let at = std::fs::read_to_string(format!("/proc/{}/wchan", runtime.pid()));
                wrong.push(format!(
                    "{victim:?} of {:?}: the runtime waits on, at {at:?}",
                    all.calls
                ));
            }
            if let Err(left) = clear(bundle) {
                wrong.push(format!("{victim:?} of {:?}: {left}", all.calls));
                bundle.clean_up();
            }
        }
        let verb = self.verb;
        eprintln!(
            "{verb}: killed at {} of {} points ({:?} calls); leftovers at {}",
            tried - missed,
            points.len(),
            all.calls,
            wrong.len()
        );
        assert!(all.calls.len() > 1 || verb == "delete", "{verb} has a child: {:?}", all.calls);
        assert!(wrong.is_empty(), "{verb}: {wrong:#?}");
        assert!(missed * 10 <= tried, "{missed} of {tried} points were not reached");
    }
}

/// Deletes by force; what is still there then.
fn clear(bundle: &Bundle) -> Result<(), String> {
    let out = bundle.call(&["delete", "--force", bundle.id()]);
    let left = bundle.what_is_left();
    if out.status == 0 && left.is_empty() {
        Ok(())
    } else {
        Err(format!("{out:?}, left: {left:?}"))
    }
}

pub fn pid_of_init(bundle: &Bundle) -> i32 {
    let state = bundle.verb("state").ok().stdout;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
}

fn nothing(_: &Bundle) {}

fn created(bundle: &Bundle) {
    bundle.begin("create", &[]).wait().ok();
}

fn running(bundle: &Bundle) {
    bundle.begin("run", &["--detach"]).wait().ok();
}

#[test]
fn create_leaves_nothing_wherever_it_is_killed() {
    differs!();
    Sweep { verb: "create", more: &[], prepare: nothing }.everywhere(&Bundle::busybox());
}

/// With a user namespace and a joined one there is a process more; hooks; limits.
fn everything(net: &Helper) -> Bundle {
    let id = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mut bundle = Bundle::busybox()
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", id.clone())
        .set("/linux/gidMappings", id)
        .without_namespace("network")
        .push("/linux/namespaces", json!({ "type": "network", "path": net.path("network") }))
        .remove("/mounts/5"); // a sysfs needs a network namespace of one's own
    if cgroups::has("pids") {
        bundle = bundle.set("/linux/resources/pids/limit", 50);
    }
    for moment in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        bundle = bundle.push(&format!("/hooks/{moment}"), json!({ "path": "/bin/true" }));
    }
    bundle
}

#[test]
fn create_with_everything_leaves_nothing_wherever_it_is_killed() {
    differs!();
    let net = Helper::unshared("network");
    Sweep { verb: "create", more: &[], prepare: nothing }.everywhere(&everything(&net));
}

/// The first thing that the process in between says is also its last. Its end is heard without it.
#[test]
fn the_process_in_between_does_not_die_unheard() {
    differs!();
    let net = Helper::unshared("network");
    let bundle = everything(&net);
    let sweep = Sweep { verb: "create", more: &[], prepare: nothing };
    // How many calls it makes before it speaks depends on the build.
    for call in 0.. {
        let traced = sweep.trace(&bundle, Some(Victim { process: 1, call }));
        assert!(traced.killed);
        let output = traced.alive.expect("the runtime").wait();
        if output.status == 0 {
            // It had told all.
            clear(&bundle).unwrap();
            assert!(call > 3, "it tells of init only when there is one");
            break;
        }
        output.refused().says("the bootstrap process died");
        bundle.assert_nothing_left();
    }
}

#[test]
fn start_leaves_nothing_wherever_it_is_killed() {
    differs!();
    Sweep { verb: "start", more: &[], prepare: created }
        .everywhere(&Bundle::busybox().args(["sleep", "100"]));
}

#[test]
fn run_leaves_nothing_wherever_it_is_killed() {
    differs!();
    Sweep { verb: "run", more: &[], prepare: nothing }.everywhere(&Bundle::busybox());
}

#[test]
fn run_on_v2_leaves_nothing_wherever_it_is_killed() {
    differs!();
    Sweep { verb: "run", more: &[], prepare: nothing }
        .everywhere(&Bundle::busybox().on_cgroup_v2());
}

#[test]
fn exec_leaves_nothing_wherever_it_is_killed() {
    differs!();
    Sweep { verb: "exec", more: &["true"], prepare: running }
        .everywhere(&Bundle::busybox().args(["sleep", "100"]));
}

#[test]
fn delete_leaves_nothing_wherever_it_is_killed() {
    differs!();
    Sweep { verb: "delete", more: &[], prepare: created }.everywhere(&Bundle::busybox());
}

/// Nobody holds the container's name for good: who comes next may have it.
#[test]
fn the_id_is_free_again_after_a_killed_create_is_deleted() {
    differs!();
    let bundle = Bundle::busybox();
    let sweep = Sweep { verb: "create", more: &[], prepare: nothing };
    let calls = sweep.trace(&bundle, None).calls[0];
    bundle.call(&["delete", "--force", bundle.id()]).ok();
    sweep.trace(&bundle, Some(Victim { process: 0, call: calls / 2 }));
    assert!(eventually(Duration::from_secs(5), || bundle
        .call(&["delete", "--force", bundle.id()])
        .status
        == 0));
    bundle.run_as_is().ok();
    bundle.assert_nothing_left();
}
