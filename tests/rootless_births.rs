//! The births of an ordinary user's containers: what needs rights that only his user namespace
//! gives.

use crate::support::{Bundle, json};

const SAILOR: u32 = 5_000;

fn of_an_ordinary_user() -> Bundle {
    Bundle::busybox().by_user(SAILOR)
}

/// runtime-spec: linux.timeOffsets. The clocks of a time namespace belong to the user namespace
/// that it is made in.
#[test]
fn an_ordinary_user_may_set_the_clocks_of_a_new_time_namespace() {
    differs!();
    let bundle = of_an_ordinary_user().push("/linux/namespaces", json!({ "type": "time" }));
    let offsets = json!({ "boottime": { "secs": 1_000_000_000, "nanosecs": 0 } });
    let mut bundle = bundle.set("/linux/timeOffsets", offsets);
    let uptime = bundle.sh("cut -d. -f1 /proc/uptime").ok();
    assert!(uptime.line().parse::<u64>().unwrap() >= 1_000_000_000, "{uptime:?}");
    let c = bundle.create();
    assert!(c.finish().trim().parse::<u64>().unwrap() >= 1_000_000_000);
}

/// Of a container that an ordinary user has created, `exec` enters the namespaces, and so may
/// others of his programs, such as one that connects its network.
#[test]
fn an_ordinary_user_may_enter_a_created_container() {
    let c = of_an_ordinary_user().args(["sleep", "600"]).create();
    assert_eq!(c.exec(&[], &["hostname"]).ok().line(), "orlop");
    let net = format!("readlink /proc/{}/ns/net", c.pid());
    let as_user = ["--reuid", "5000", "--regid", "5000", "--clear-groups", "sh", "-c", &net];
    let seen = std::process::Command::new("setpriv").args(as_user).output().unwrap();
    assert!(seen.status.success() && seen.stdout.starts_with(b"net:"), "{seen:?}");
    c.start();
    c.exec(&[], &["true"]).silent();
}

/// Of a container in somebody's user namespace the others who are in it keep out.
#[test]
fn init_in_a_joined_user_namespace_cannot_be_entered_before_it_runs() {
    differs!();
    let first = of_an_ordinary_user().args(["sleep", "600"]).run_detached();
    let namespace = json!({ "type": "user", "path": format!("/proc/{}/ns/user", first.pid()) });
    let second =
        of_an_ordinary_user().without_namespace("user").push("/linux/namespaces", namespace);
    let second = second.remove("/linux/uidMappings").remove("/linux/gidMappings");
    let second = second.args(["sleep", "600"]).create();
    second.exec(&[], &["true"]).exec_refused();
    second.start();
    second.exec(&[], &["true"]).silent();
}
