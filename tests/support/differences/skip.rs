//! What follows from the list of differences when the runtime under test is runc.

use super::REASONS;
use super::net_devices::TESTS as OF_NET_DEVICES;
use crate::support::crun_only::TESTS as OF_CRUN;
use crate::support::runtime;

/// runc may print warnings and several errors before it gives up.
pub fn refuses_in_one_line() -> bool {
    !is_runc()
}

/// runc often says only what the kernel said.
pub fn refusals_name_the_key() -> bool {
    !is_runc()
}

/// runc 1.1 does not ask for an answer to what it tells at `NOTIFY_SOCKET`.
pub fn notify_has_a_barrier() -> bool {
    !is_runc()
}

fn is_runc() -> bool {
    runtime::program().file_name().is_some_and(|name| name == "runc")
}

/// Whether to skip the test in which a function of this full name (`crate::module::test::here`) is defined.
#[track_caller]
pub fn skips(function: &str) -> bool {
    let name = function.split("::").skip(1).collect::<Vec<_>>().join("::");
    let name = name.trim_end_matches("::here");
    let of_crun = OF_CRUN.contains(&name).then_some("runc does not have it, crun has");
    let reason = REASONS.iter().find(|(test, _)| *test == name).map(|(_, reason)| *reason);
    let of_net_devices = OF_NET_DEVICES.contains(&name).then_some("runc 1.1 has no netDevices");
    let Some(reason) = reason.or(of_crun).or(of_net_devices) else {
        panic!("{name} uses differs!() but is not in tests/support/differences.rs");
    };
    let skip = is_runc() && std::env::var_os("RUN_DIFFERENCES").is_none();
    if skip {
        eprintln!("skipped on runc: {reason}");
    }
    skip
}

/// Every entry belongs to a test that uses it.
#[test]
fn every_difference_is_used() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    needs!(tests.is_dir(), "source tree");
    for name in REASONS.iter().map(|(name, _)| name).chain(OF_CRUN).chain(OF_NET_DEVICES) {
        let (module, test) = name.rsplit_once("::").expect("module::test");
        let path = tests.join(module.replace("::", "/")).with_extension("rs");
        let source = runtime::read(&path);
        let body = source.split(&format!("fn {test}() {{\n")).nth(1).unwrap_or_default();
        assert!(body.trim_start().starts_with("differs!();"), "{name} does not start with differs!()");
    }
    assert!(REASONS.is_sorted() && OF_CRUN.is_sorted(), "the lists are sorted by name");
}
