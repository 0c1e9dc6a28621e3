//! The runtime killed in the middle: what is left then, `delete --force` removes without trace.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::Bundle;

/// How many moments of one call are tried.
const MOMENTS: u32 = 40;

/// How long the call takes when nobody kills it, and one third, for the slower ones.
fn duration_of(call: impl Fn(&Bundle)) -> Duration {
    let bundle = Bundle::busybox().args(["true"]);
    let before = Instant::now();
    call(&bundle);
    let took = before.elapsed();
    bundle.call(&["delete", "--force", bundle.id()]).ok();
    took + took / 3
}

/// Kills `verb` at moments spread over its life, and deletes by force what it leaves.
fn sweep(verb: &str) {
    let took = duration_of(|bundle| drop(bundle.begin(verb, &[]).wait().ok()));
    for moment in 0..MOMENTS {
        let bundle = Bundle::busybox().args(["true"]);
        let running = bundle.begin(verb, &[]);
        sleep(took * moment / MOMENTS);
        running.signal(Signal::SIGKILL);
        drop(running);
        let out = bundle.call(&["delete", "--force", bundle.id()]);
        assert_eq!(out.status, 0, "{verb} killed at moment {moment} of {MOMENTS}: {out:?}");
        bundle.assert_nothing_left();
    }
}

#[test]
fn a_killed_create_leaves_nothing_after_delete() {
    differs!();
    sweep("create");
}

#[test]
fn a_killed_run_leaves_nothing_after_delete() {
    differs!();
    sweep("run");
}

/// Nobody holds the container's name for good: who comes next may have it.
#[test]
fn the_id_is_free_again_after_a_killed_create_is_deleted() {
    differs!();
    let took = duration_of(|bundle| drop(bundle.begin("create", &[]).wait().ok()));
    let bundle = Bundle::busybox().args(["true"]);
    let running = bundle.begin("create", &[]);
    sleep(took / 2);
    running.signal(Signal::SIGKILL);
    drop(running);
    bundle.call(&["delete", "--force", bundle.id()]).ok();
    bundle.run_as_is().ok();
    bundle.assert_nothing_left();
}
