//! Verbs at the same time: one wins, the others say so, and nothing is left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Bundle, Output, soak};

/// How often a race is run.
fn rounds() -> usize {
    if soak() { 200 } else { 12 }
}

/// `create` with this bundle as a container of this id.
fn create_args<'a>(path: &'a str, id: &'a str) -> [&'a str; 4] {
    ["create", "--bundle", path, id]
}

/// Begins all calls before the first is waited for.
#[track_caller]
fn together(bundle: &Bundle, calls: &[&[&str]]) -> Vec<Output> {
    let running: Vec<_> = calls.iter().map(|args| bundle.start(args)).collect();
    running.into_iter().map(|call| call.wait()).collect()
}

fn won(outputs: &[Output]) -> usize {
    outputs.iter().filter(|out| out.status == 0).count()
}

/// Those who did not win say this.
#[track_caller]
fn others_say(outputs: Vec<Output>, texts: &[&str]) {
    for out in outputs.into_iter().filter(|out| out.status != 0) {
        let out = out.refused();
        assert!(
            texts.iter().any(|text| out.stderr.contains(text)),
            "expected one of {texts:?} in {out:?}"
        );
    }
}

#[test]
fn of_several_creates_one_wins() {
    differs!();
    let bundle = Bundle::busybox().args(["true"]);
    bundle.write_config();
    let path = bundle.path();
    let create = create_args(path.to_str().unwrap(), bundle.id());
    for _ in 0..rounds() {
        let outputs = together(&bundle, &[&create, &create, &create, &create]);
        assert_eq!(won(&outputs), 1, "{outputs:?}");
        others_say(outputs, &["container with given ID already exists"]);
        bundle.verb("start").silent();
        bundle.call(&["delete", "--force", bundle.id()]).silent();
        bundle.assert_nothing_left();
    }
}

#[test]
fn either_delete_or_start_wins() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "100"]);
    let id = bundle.id();
    let (mut started, mut deleted) = (0, 0);
    for round in 0..rounds() * 2 {
        bundle.try_create().ok();
        let calls: [&[&str]; 2] = [&["start", id], &["delete", id]];
        let outputs = if round % 2 == 0 {
            together(&bundle, &calls)
        } else {
            together(&bundle, &[calls[1], calls[0]])
        };
        assert_eq!(won(&outputs), 1, "{outputs:?}");
        if bundle.verb("state").status == 0 {
            started += 1;
            others_say(outputs, &["that is not stopped: running"]);
        } else {
            deleted += 1;
            others_say(outputs, &["container does not exist", "container that has stopped"]);
        }
        bundle.call(&["delete", "--force", id]).silent();
        bundle.assert_nothing_left();
    }
    eprintln!("start won {started} times, delete {deleted} times");
}

#[test]
fn of_several_deletes_one_wins() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "100"]);
    let id = bundle.id();
    for _ in 0..rounds() {
        bundle.try_create().ok();
        let outputs = together(&bundle, &[&["delete", id], &["delete", id], &["delete", id]]);
        assert_eq!(won(&outputs), 1, "{outputs:?}");
        others_say(outputs, &["container does not exist"]);
        bundle.assert_nothing_left();

        bundle.begin("run", &["--detach"]).wait().ok();
        let force: &[&str] = &["delete", "--force", id];
        assert_eq!(won(&together(&bundle, &[force, force, force])), 3);
        bundle.assert_nothing_left();
    }
}

/// Whoever deletes by force while it is created has the last word, or the first.
#[test]
fn create_against_delete_by_force() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "100"]);
    bundle.write_config();
    let path = bundle.path();
    let create = create_args(path.to_str().unwrap(), bundle.id());
    for round in 0..rounds() {
        let creating = bundle.start(&create);
        std::thread::sleep(Duration::from_millis(3 * (round as u64 % 16)));
        bundle.call(&["delete", "--force", bundle.id()]).silent();
        let out = creating.wait();
        if out.status != 0 {
            out.refused();
            bundle.assert_nothing_left();
        }
        bundle.call(&["delete", "--force", bundle.id()]).silent();
        bundle.assert_nothing_left();
    }
}

/// Nothing that `exec` makes outlives the container, whenever that is killed.
#[test]
fn exec_against_kill() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "100"]);
    let id = bundle.id();
    for round in 0..rounds() {
        bundle.begin("run", &["--detach"]).wait().ok();
        let exec = bundle.start(&["exec", id, "sleep", "100"]);
        let other = bundle.start(&["exec", "--detach", id, "sleep", "100"]);
        std::thread::sleep(Duration::from_millis(3 * (round as u64 % 16)));
        bundle.call(&["kill", id, "KILL"]).silent();
        let out = exec.wait();
        assert!([255, 128 + 9].contains(&out.status), "{out:?}");
        assert!(out.stderr.lines().count() <= 1, "{out:?}");
        let out = other.wait();
        assert!([0, 255].contains(&out.status), "{out:?}");
        let gone = || bundle.call(&["delete", id]).status == 0;
        assert!(crate::support::eventually(Duration::from_secs(10), gone));
        bundle.assert_nothing_left();
    }
}

/// A state that is asked for while others work is that of some moment, and none that never was.
#[test]
fn whoever_looks_meanwhile_sees_a_state() {
    differs!();
    let bundle = Bundle::busybox().args(["sleep", "100"]);
    let id = bundle.id();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let verbs: [&[&str]; 3] = [&["state", id], &["list", "-q"], &["state", id]];
    std::thread::scope(|scope| {
        for verb in verbs {
            let (bundle, stop) = (&bundle, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let out = bundle.call(verb);
                    let gone = out.stderr.contains("does not exist")
                        || out.stderr.contains("no such file");
                    assert!(out.status == 0 && out.stderr.is_empty() || gone, "{out:?}");
                    assert!(!out.stdout.contains("\"bundle\": \"\""), "{out:?}");
                }
            });
        }
        for _ in 0..rounds() {
            bundle.try_create().ok();
            bundle.verb("start").silent();
            bundle.call(&["delete", "--force", id]).silent();
        }
        stop.store(true, Ordering::Relaxed);
    });
    bundle.assert_nothing_left();
}

/// 64 containers at a time, of one state root.
#[test]
fn many_lifecycles_side_by_side() {
    let (threads, time) =
        if soak() { (64, Duration::from_secs(60)) } else { (16, Duration::from_secs(4)) };
    let bundle = Bundle::busybox().args(["sleep", "100"]);
    bundle.write_config();
    let path = bundle.path();
    let end = Instant::now() + time;
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..threads {
            let (bundle, count, path) = (&bundle, &count, path.to_str().unwrap());
            scope.spawn(move || {
                let id = format!("{}-{number}", bundle.name());
                while Instant::now() < end {
                    bundle.call(&create_args(path, &id)).silent();
                    bundle.call(&["start", &id]).silent();
                    bundle.call(&["exec", &id, "true"]).silent();
                    bundle.call(&["kill", &id, "KILL"]).silent();
                    bundle.call(&["delete", "--force", &id]).silent();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    eprintln!("{} lifecycles of {threads} at a time", count.load(Ordering::Relaxed));
    bundle.assert_nothing_left();
}
