//! The effect of the list of differences if the runtime under test is runc.

use super::{AREAS, reasons};
use crate::support::crun_only::TESTS as OF_CRUN;
use crate::support::runtime;

/// runc may print warnings and several errors before it exits.
pub fn refuses_in_one_line() -> bool {
    !is_runc()
}

/// runc often prints only the error of the kernel.
pub fn refusals_name_the_key() -> bool {
    !is_runc()
}

/// runc 1.1 does not wait until its message on `NOTIFY_SOCKET` has been read.
pub fn notify_has_a_barrier() -> bool {
    !is_runc()
}

/// On cgroup v2, runc 1.1 tries to remove the cgroup of a failed `create` at once, and ignores the
/// error. If a process of its own start-up code has not ended by then, the empty cgroup stays.
pub fn removes_its_cgroup() -> bool {
    !is_runc()
}

/// Whether both terminals have their modes before the program writes. runc sets them meanwhile. So
/// the first lines may have one carriage return more, because both terminals add one (ONLCR), and
/// may be shown before ours is raw.
pub fn sets_terminal_modes_first() -> bool {
    !is_runc()
}

fn is_runc() -> bool {
    runtime::program().file_name().is_some_and(|name| name == "runc")
}

/// Whether to skip the test that defines the function with this full name
/// (`crate::module::test::here`).
#[track_caller]
pub fn skips(function: &str) -> bool {
    let name = function.split("::").skip(1).collect::<Vec<_>>().join("::");
    let name = name.trim_end_matches("::here");
    let of_crun = OF_CRUN.contains(&name).then_some("runc does not have it, crun has");
    let reason = reasons().find(|(test, _)| *test == name).map(|(_, reason)| *reason);
    let Some(reason) = reason.or(of_crun) else {
        panic!("{name} uses differs!() but is not in tests/support/differences");
    };
    let skip = is_runc() && std::env::var_os("RUN_DIFFERENCES").is_none();
    if skip {
        eprintln!("skipped on runc: {reason}");
    }
    skip
}

/// Every entry is used by its test.
#[test]
fn every_difference_is_used() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    needs!(tests.is_dir(), "source tree");
    for name in reasons().map(|(name, _)| name).chain(OF_CRUN) {
        let (module, test) = name.rsplit_once("::").expect("module::test");
        let path = tests.join(module.replace("::", "/")).with_extension("rs");
        let source = runtime::read(&path);
        let body = source.split(&format!("fn {test}() {{\n")).nth(1).unwrap_or_default();
        assert!(
            body.trim_start().starts_with("differs!();"),
            "{name} does not start with differs!()"
        );
    }
    assert!(
        AREAS.iter().all(|(_, area)| area.is_sorted()) && OF_CRUN.is_sorted(),
        "the lists are sorted by name"
    );
}
