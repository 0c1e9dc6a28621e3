//! `hostname`, `domainname`

use crate::support::{Bundle, json};

#[test]
fn hostname_is_set_in_the_uts_namespace() {
    let out = Bundle::busybox().set("/hostname", "box").run(["hostname"]);
    assert_eq!(out.stdout, "box\n");
}

#[test]
fn the_hosts_name_stays() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    Bundle::busybox().set("/hostname", "box").run(["true"]).silent();
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), host);
}

#[test]
fn without_a_hostname_the_hosts_is_kept() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let out = Bundle::busybox().remove("/hostname").run(["cat", "/proc/sys/kernel/hostname"]).ok();
    assert_eq!(out.stdout, host);
}

#[test]
fn a_hostname_without_a_uts_namespace_is_refused() {
    let text = "unable to set hostname without a private UTS namespace";
    Bundle::busybox().without_namespace("uts").refused().says(text).names("hostname");
}

#[test]
fn a_hostname_that_is_too_long_is_refused() {
    Bundle::busybox()
        .set("/hostname", "x".repeat(65))
        .refused()
        .because("invalid argument")
        .names("hostname");
}

#[test]
fn domainname_is_set_in_the_uts_namespace() {
    differs!();
    let mut bundle = Bundle::busybox().set("/domainname", "harbour.example");
    let out = bundle.run(["cat", "/proc/sys/kernel/domainname"]).ok();
    assert_eq!(out.line(), "harbour.example");
}

#[test]
fn a_domainname_without_a_uts_namespace_is_refused() {
    differs!();
    let bundle =
        Bundle::busybox().remove("/hostname").without_namespace("uts").set("/domainname", "x");
    bundle
        .refused()
        .says("unable to set domainname without a private UTS namespace")
        .names("domainname");
}

#[test]
fn the_hostname_is_set_in_a_namespace_that_is_joined() {
    let helper = crate::namespaces::Helper::unshared("uts");
    let mut bundle = Bundle::busybox().set("/hostname", "joined").without_namespace("uts");
    bundle = bundle.push("/linux/namespaces", json!({ "type": "uts", "path": helper.path("uts") }));
    assert_eq!(bundle.run(["hostname"]).ok().line(), "joined");
}
