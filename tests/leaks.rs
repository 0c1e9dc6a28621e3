//! Many containers in a row leave nothing, and do not become slower.

use std::time::{Duration, Instant};

use crate::support::{Bundle, Container};

/// 100 containers, or `$ORLOP_LOOP`.
fn count() -> usize {
    std::env::var("ORLOP_LOOP").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// Other tests share the machine, hence the generous factor; what grows with every container
/// exceeds it all the same.
fn assert_steady(times: &[Duration]) {
    let (first, last) = (median(&times[..10]), median(&times[times.len() - 10..]));
    let limit = first * 4 + Duration::from_millis(200);
    assert!(last < limit, "the first ten took {first:?} each, the last ten {last:?}");
}

#[test]
fn many_runs_leave_nothing() {
    let mut bundle = Bundle::busybox();
    let descriptors = open_descriptors();
    let times: Vec<_> = (0..count().max(20))
        .map(|n| {
            let begin = Instant::now();
            let out = bundle.run(["echo", "again"]).ok();
            assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("again\n", ""), "run {n}");
            begin.elapsed()
        })
        .collect();
    bundle.assert_nothing_left();
    assert!(open_descriptors() <= descriptors + 20, "descriptors of the tests themselves");
    assert_steady(&times);
}

#[test]
fn many_failures_leave_nothing() {
    let bundle = Bundle::busybox().args(["/nosuch"]);
    for _ in 0..count().div_ceil(5) {
        bundle.try_create().refused();
    }
    bundle.assert_nothing_left();
}

#[test]
fn many_containers_at_once_leave_nothing() {
    let containers: Vec<Container> =
        (0..10).map(|n| Bundle::busybox().args(["echo", &n.to_string()]).create()).collect();
    for (n, c) in containers.iter().enumerate() {
        assert_eq!(c.finish(), format!("{n}\n"));
    }
    for c in &containers {
        c.delete();
        c.bundle.assert_nothing_left();
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
