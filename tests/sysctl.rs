//! `linux.sysctl`

use crate::support::{Bundle, json};

fn value(bundle: &mut Bundle, path: &str) -> String {
    bundle.run(["cat", path]).ok().line().to_owned()
}

#[test]
fn network_settings_are_written() {
    let mut bundle = Bundle::busybox().set("/linux/sysctl/net.ipv4.ip_forward", "1");
    assert_eq!(value(&mut bundle, "/proc/sys/net/ipv4/ip_forward"), "1");
    let mut bundle = Bundle::busybox().set("/linux/sysctl/net.core.somaxconn", "321");
    assert_eq!(value(&mut bundle, "/proc/sys/net/core/somaxconn"), "321");
}

#[test]
fn ipc_settings_are_written() {
    let mut bundle = Bundle::busybox()
        .set("/linux/sysctl/kernel.msgmax", "12345")
        .set("/linux/sysctl/kernel.shmmni", "123")
        .set("/linux/sysctl/kernel.sem", "32 1000 32 10")
        .set("/linux/sysctl/fs.mqueue.msg_max", "12");
    let script = "cd /proc/sys; cat kernel/msgmax kernel/shmmni kernel/sem fs/mqueue/msg_max";
    assert_eq!(bundle.sh(script).ok().lines(), ["12345", "123", "32\t1000\t32\t10", "12"]);
}

#[test]
fn the_hosts_settings_stay() {
    let host = std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    Bundle::busybox().set("/linux/sysctl/kernel.shmmni", "123").run(["true"]).silent();
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap(), host);
}

#[test]
fn settings_may_be_written_with_slashes() {
    let mut bundle = Bundle::busybox();
    bundle.config["linux"]["sysctl"] = json!({ "net/ipv4/ip_forward": "1" });
    assert_eq!(value(&mut bundle, "/proc/sys/net/ipv4/ip_forward"), "1");
}

#[test]
fn settings_of_the_whole_machine_are_refused() {
    for name in ["vm.swappiness", "kernel.panic", "fs.file-max", "dev.tty.ldisc_autoload"] {
        let bundle = Bundle::busybox().set(&format!("/linux/sysctl/{name}"), "1");
        bundle.refused().says(&format!("sysctl \"{name}\" is not in a separate kernel namespace"));
    }
}

#[test]
fn network_settings_without_a_network_namespace_are_refused() {
    let bundle = Bundle::busybox()
        .without_namespace("network")
        .set("/linux/sysctl/net.ipv4.ip_forward", "1");
    bundle.refused().says("net.ipv4.ip_forward").says("not allowed in host network namespace");
}

#[test]
fn network_settings_in_the_joined_host_network_are_refused() {
    let host = json!({ "type": "network", "path": "/proc/self/ns/net" });
    let bundle = Bundle::busybox().without_namespace("network").push("/linux/namespaces", host);
    let bundle = bundle.set("/linux/sysctl/net.ipv4.ip_forward", "1");
    bundle.refused().says("net.ipv4.ip_forward").says("not allowed in host network namespace");
}

#[test]
fn ipc_settings_without_an_ipc_namespace_are_refused() {
    let bundle =
        Bundle::busybox().without_namespace("ipc").set("/linux/sysctl/kernel.msgmax", "12345");
    bundle.refused().says("sysctl \"kernel.msgmax\" is not allowed in the hosts ipc namespace");
}

#[test]
fn the_hostname_is_not_a_sysctl() {
    let bundle = Bundle::busybox().set("/linux/sysctl/kernel.hostname", "box");
    bundle.refused().says(
        "sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field",
    );
}

#[test]
fn the_domain_name_is_a_sysctl() {
    let mut bundle = Bundle::busybox().set("/linux/sysctl/kernel.domainname", "harbour.example");
    assert_eq!(value(&mut bundle, "/proc/sys/kernel/domainname"), "harbour.example");
}

#[test]
fn the_domain_name_is_set_in_a_user_namespace() {
    differs!();
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mut bundle = Bundle::busybox()
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", ids.clone())
        .set("/linux/gidMappings", ids)
        .set("/linux/sysctl/kernel.domainname", "harbour.example");
    assert_eq!(value(&mut bundle, "/proc/sys/kernel/domainname"), "harbour.example");
}

#[test]
fn a_domain_name_beside_another_one_is_refused() {
    differs!();
    let bundle = || Bundle::busybox().set("/domainname", "one.example");
    let mut same = bundle().set("/linux/sysctl/kernel.domainname", "one.example");
    assert_eq!(value(&mut same, "/proc/sys/kernel/domainname"), "one.example");
    let other = bundle().set("/linux/sysctl/kernel.domainname", "two.example");
    other.refused().says("two.example").says("one.example").names("linux.sysctl");
}

#[test]
fn a_setting_that_does_not_exist_is_refused() {
    let bundle = Bundle::busybox().set("/linux/sysctl/net.ipv4.no_such_thing", "1");
    bundle.refused().because("no such file or directory").says("no_such_thing");
}

#[test]
fn a_value_the_kernel_refuses_is_an_error() {
    let bundle = Bundle::busybox().set("/linux/sysctl/net.ipv4.ip_forward", "sideways");
    bundle.refused().because("invalid argument").says("ip_forward");
}

#[test]
fn dots_do_not_lead_out_of_proc_sys() {
    let mut bundle = Bundle::busybox();
    bundle.config["linux"]["sysctl"] = json!({ "net/../../self/oom_score_adj": "999" });
    bundle.refused();
}
