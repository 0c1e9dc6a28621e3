//! `linux.netDevices`. The runtime's network namespace is a private one: no device of the machine
//! is ever touched.

use std::process::Command;

use crate::namespaces::Helper;
use crate::support::{Bundle, Value, json};

/// A network namespace.
pub struct Net(pub Helper);

impl Net {
    pub fn new() -> Self {
        Net(Helper::unshared("network"))
    }

    /// With one end of a veth pair, `v0`, which has this state and these addresses; the other end
    /// is `peer`.
    pub fn with_device(script: &[&str]) -> Self {
        let net = Self::new();
        net.ip("link add v0 type veth peer name peer");
        net.ip("link set peer up");
        script.iter().for_each(|line| net.ip(line));
        net
    }

    pub fn path(&self) -> String {
        self.0.path("network")
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("ip").args(arguments.split(' '));
        command
    }

    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        let out = self.command(arguments).output().unwrap();
        assert!(out.status.success(), "ip {arguments}: {out:?}");
    }

    /// What is known of a device; empty when there is none.
    pub fn show(&self, device: &str) -> String {
        let out = self.command(&format!("addr show dev {device}")).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    pub fn show_all(&self) -> String {
        let out = self.command("addr show").output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    /// The runtime runs in here.
    fn is_the_hosts(&self, bundle: Bundle) -> Bundle {
        bundle.after(&format!("set -- nsenter --net={} \"$@\"", self.path()))
    }

    /// A container that is moved `v0`, made by a runtime in here.
    pub fn bundle(&self, device: Value) -> Bundle {
        self.is_the_hosts(Bundle::busybox()).set("/linux/netDevices/v0", device)
    }
}

pub fn joining(bundle: Bundle, net: &Net) -> Bundle {
    bundle
        .without_namespace("network")
        .push("/linux/namespaces", json!({ "type": "network", "path": net.path() }))
}

#[test]
fn a_device_is_moved_and_up() {
    differs!();
    for state in ["link set v0 up", "link set v0 down"] {
        let net = Net::with_device(&[state]);
        let c = net.bundle(json!({})).args(["sleep", "60"]).run_detached();
        let out = c.exec(&[], &["ip", "link", "show", "dev", "v0"]).ok();
        assert!(out.stdout.contains("UP,LOWER_UP") || out.stdout.contains(",UP"), "{out:?}");
        assert_eq!(net.show("v0"), "");
        assert!(net.show("peer").contains("state UP"), "{}", net.show("peer"));
    }
}

#[test]
fn a_device_is_renamed() {
    differs!();
    let net = Net::with_device(&[]);
    let out = net.bundle(json!({ "name": "eth0" })).run(["ls", "/sys/class/net"]).ok();
    assert_eq!(out.lines(), ["eth0", "lo"]);
}

#[test]
fn a_template_takes_the_first_number_that_is_free() {
    differs!();
    let net = Net::with_device(&["link add w0 type veth peer name w1"]);
    let other = Net::with_device(&["link set v0 name net0"]);
    let mut bundle = joining(net.bundle(json!({ "name": "net%d" })), &other)
        .set("/linux/netDevices/w0", json!({ "name": "net%d" }))
        .set("/linux/netDevices/w1", json!({ "name": "%dw" }));
    let out = bundle.sh("ip -o link | cut -d' ' -f2 | cut -d: -f1 | cut -d@ -f1").ok();
    let mut names = out.lines();
    names.sort_unstable();
    assert_eq!(names, ["0w", "lo", "net0", "net1", "net2", "peer"]);
}

/// The name that a device has on the host may be taken in the container, if it gets another there.
#[test]
fn only_the_new_name_must_be_free() {
    differs!();
    let net = Net::with_device(&[]);
    let other = Net::with_device(&["link set v0 address 02:00:00:00:00:99"]);
    let mut bundle = joining(net.bundle(json!({ "name": "eth0" })), &other);
    let out = bundle.sh("ip link show dev eth0 && ip link show dev v0").ok();
    assert_eq!(out.stdout.matches("02:00:00:00:00:99").count(), 1, "{out:?}");
}

#[test]
fn attributes_stay() {
    differs!();
    let net = Net::with_device(&["link set v0 mtu 1789 address 02:00:00:00:00:07 txqueuelen 77"]);
    let out = net.bundle(json!({ "name": "eth0" })).run(["ip", "link", "show", "dev", "eth0"]).ok();
    for text in ["mtu 1789", "02:00:00:00:00:07", "qlen 77"] {
        assert!(out.stdout.contains(text), "{text}: {out:?}");
    }
}

/// Those that are configured and valid everywhere; of both families, though an IPv6 one is lost
/// when a device goes down.
#[test]
fn configured_global_addresses_stay() {
    differs!();
    let net = Net::with_device(&[
        "link set v0 up",
        "addr add 192.0.2.7/24 brd 192.0.2.255 dev v0",
        "addr add 192.0.2.8/24 dev v0",
        "addr add 203.0.113.1 peer 203.0.113.2/32 dev v0",
        "addr add 169.254.1.1/16 scope link dev v0",
        "addr add 198.51.100.9/24 valid_lft 500 preferred_lft 500 dev v0",
        "addr add 2001:db8::7/64 nodad dev v0",
    ]);
    let other = Net::new();
    joining(net.bundle(json!({ "name": "eth0" })), &other).run(["true"]).silent();
    let found = other.show("eth0");
    for kept in [
        "inet 192.0.2.7/24 brd 192.0.2.255 scope global eth0",
        "inet 192.0.2.8/24 scope global secondary eth0",
        "inet 203.0.113.1 peer 203.0.113.2/32 scope global eth0",
        "inet6 2001:db8::7/64 scope global nodad",
    ] {
        assert!(found.contains(kept), "{kept}: {found}");
    }
    assert!(!found.contains("169.254") && !found.contains("198.51.100"), "{found}");
}

#[test]
fn a_joined_namespace_keeps_the_device_when_the_container_is_gone() {
    differs!();
    let net = Net::with_device(&["addr add 192.0.2.7/24 dev v0"]);
    let other = Net::new();
    let c = joining(net.bundle(json!({ "name": "eth0" })), &other).args(["sleep", "60"]).create();
    assert!(other.show("eth0").contains("192.0.2.7/24"), "moved by create: {}", other.show("eth0"));
    c.delete_by_force();
    assert!(other.show("eth0").contains("192.0.2.7/24") && other.show("eth0").contains(",UP"));
    assert_eq!(net.show("v0"), "");
}

/// It is the kernel that ends a namespace, and a veth with it.
#[test]
fn a_namespace_of_the_containers_own_takes_the_device_along() {
    differs!();
    let net = Net::with_device(&[]);
    net.bundle(json!({})).run(["true"]).silent();
    let gone = || net.show("v0").is_empty() && net.show("peer").is_empty();
    assert!(
        crate::support::eventually(std::time::Duration::from_secs(10), gone),
        "{}",
        net.show("peer")
    );
}

#[test]
fn a_container_in_a_user_namespace_gets_its_device() {
    differs!();
    let net = Net::with_device(&["addr add 192.0.2.7/24 dev v0"]);
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
    let mut bundle = net
        .bundle(json!({}))
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping);
    let out = bundle.run(["ip", "addr", "show", "dev", "v0"]).ok();
    assert!(out.stdout.contains("192.0.2.7/24"), "{out:?}");
}

/// What the host has after a refusal is what it had before.
#[track_caller]
fn untouched(net: &Net, refuse: impl FnOnce()) {
    let before = net.show("v0");
    refuse();
    // The kernel may still be at work on the state of the link, and counts anew.
    let essence = |text: &str| {
        let words =
            text.split_whitespace().filter(|word| !word.starts_with("v0@") && !word.ends_with(':'));
        words
            .filter(|word| !["UP", "LOWERLAYERDOWN", "tentative"].contains(word))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let same = || essence(&net.show("v0")) == essence(&before);
    let seen = crate::support::eventually(std::time::Duration::from_secs(5), same);
    assert!(seen, "before:\n{before}after:\n{}", net.show("v0"));
}

fn furnished() -> Net {
    Net::with_device(&[
        "link set v0 up",
        "addr add 192.0.2.7/24 dev v0",
        "addr add 169.254.1.1/16 scope link dev v0",
        "addr add 2001:db8::7/64 nodad dev v0",
    ])
}

#[test]
fn a_name_that_is_taken_is_refused() {
    differs!();
    let net = furnished();
    let other = Net::with_device(&[]);
    untouched(&net, || {
        let bundle = joining(net.bundle(json!({ "name": "peer" })), &other);
        bundle
            .refused()
            .says("\"peer\" exists in the container's namespace")
            .names("linux.netDevices.v0");
        let bundle = joining(net.bundle(json!({})), &other);
        bundle.refused().says("\"v0\" exists").names("linux.netDevices.v0");
        net.bundle(json!({ "name": "lo" }))
            .refused()
            .says("\"lo\" exists")
            .names("linux.netDevices.v0");
    });
    assert!(other.show("v0").contains("state DOWN"), "{}", other.show("v0"));
}

#[test]
fn a_device_that_does_not_exist_is_refused_and_the_others_stay() {
    differs!();
    let net = furnished();
    untouched(&net, || {
        let bundle = net.bundle(json!({})).set("/linux/netDevices/x9", json!({}));
        bundle.refused().says("there is no network device \"x9\"").names("linux.netDevices.x9");
    });
}

#[test]
fn a_device_that_cannot_be_moved_is_refused_and_the_others_come_back() {
    differs!();
    let net = furnished();
    untouched(&net, || {
        let bundle = net.bundle(json!({})).set("/linux/netDevices/lo", json!({ "name": "zlo" }));
        bundle.refused().because("invalid argument").names("linux.netDevices.lo");
    });
}

#[test]
fn a_create_that_fails_later_brings_the_device_back() {
    differs!();
    let net = furnished();
    let other = Net::new();
    for own in [true, false] {
        untouched(&net, || {
            let mut bundle = net.bundle(json!({ "name": "eth0" }));
            if !own {
                bundle = joining(bundle, &other);
            }
            let out = bundle.args(["/no/such/program"]).refused();
            assert!(out.stderr.contains("/no/such/program"), "{out:?}");
        });
        untouched(&net, || {
            let hook = json!([{ "path": "/bin/false" }]);
            let mut bundle =
                net.bundle(json!({ "name": "eth0" })).set("/hooks/createRuntime", hook);
            if !own {
                bundle = joining(bundle, &other);
            }
            bundle.refused().says("createRuntime");
        });
    }
    assert_eq!(other.show("eth0"), "");
}

/// `create` in `other` with a device that is `eth0` there and has index 77; it fails after a
/// sibling in `other` has done this with `ip`.
#[track_caller]
fn create_that_fails_after(net: &Net, other: &Net, script: &[&str]) {
    let lines: String =
        script.iter().map(|line| format!("nsenter --net={} ip {line}\n", other.path())).collect();
    let args = json!(["sh", "-c", format!("set -e\n{lines}echo done >&2; exit 1")]);
    let hook =
        json!({ "path": "/bin/sh", "args": args, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] });
    let bundle =
        joining(net.bundle(json!({ "name": "eth0" })), other).push("/hooks/createRuntime", hook);
    let out = bundle.try_create();
    assert!(out.status == 1 && out.stderr.contains("done"), "{script:?}: {out:?}");
    bundle.assert_nothing_left();
}

fn with_index() -> Net {
    let net = Net::new();
    net.ip("link add v0 index 77 type veth peer name peer");
    net.ip("addr add 192.0.2.7/24 dev v0");
    net.ip("link set v0 up");
    net
}

/// Whoever is root in a namespace that is joined gets no device of his onto the host, whatever name
/// and index it has.
#[test]
fn attack_a_device_of_a_sibling_is_not_brought_to_the_host() {
    differs!();
    let third = Net::new();
    let away = format!("link set eth0 netns {}", third.path());
    for script in [
        &["link set eth0 name gone", "link set trap name eth0"][..],
        &["link set eth0 name gone", "link add eth0 address 02:00:00:00:66:66 type veth"],
        &["link del eth0", "link set trap name eth0"],
        &["link del eth0", "link add eth0 index 77 address 02:00:00:00:66:66 type veth"],
        &["link del eth0", "link add x index 77 address 02:00:00:00:66:66 type veth"],
        &[&away, "link add eth0 index 77 address 02:00:00:00:66:66 type veth"],
    ] {
        let (net, other) = (with_index(), Net::new());
        other.ip("link add trap address 02:00:00:00:66:66 type veth");
        create_that_fails_after(&net, &other, script);
        assert!(!net.show_all().contains("02:00:00:00:66:66"), "{script:?}: {}", net.show_all());
        assert!(
            other.show_all().contains("02:00:00:00:66:66"),
            "{script:?}: a sibling keeps what it has"
        );
    }
}

#[test]
fn a_device_that_a_sibling_renamed_comes_back() {
    differs!();
    for script in [
        &["link set eth0 name gone"][..],
        &["link set eth0 down", "link set eth0 name gone", "link add eth0 type veth"],
        &["link add bridge type bridge", "link set eth0 master bridge"],
    ] {
        let (net, other) = (with_index(), Net::new());
        create_that_fails_after(&net, &other, script);
        let found = net.show("v0");
        assert!(
            found.contains("77: v0@") && found.contains("192.0.2.7/24") && found.contains(",UP"),
            "{script:?}: {found}"
        );
    }
}

/// An index may be taken in the namespace that is joined, and on the host when the device comes
/// back.
#[test]
fn a_device_gets_another_index_when_its_own_is_taken() {
    differs!();
    let (net, other) = (with_index(), Net::new());
    other.ip("link add taken index 77 type veth");
    other.ip("link add next index 78 type veth");
    create_that_fails_after(&net, &other, &["link show dev eth0"]);
    assert!(net.show("v0").contains("192.0.2.7/24"), "{}", net.show_all());
    joining(net.bundle(json!({ "name": "eth0" })), &other).run(["true"]).silent();
    let found = other.show("eth0");
    assert!(found.contains("eth0@") && found.contains("192.0.2.7/24"), "{found}");
}

#[test]
fn a_container_in_the_network_of_the_host_gets_no_device() {
    differs!();
    let net = furnished();
    untouched(&net, || {
        net.bundle(json!({ "name": "eth0" }))
            .without_namespace("network")
            .refused()
            .says("without a NET namespace")
            .names("linux.netDevices");
        let bundle = joining(net.bundle(json!({ "name": "eth0" })), &net);
        bundle.refused().says("is the host's").names("linux.netDevices");
    });
}

#[test]
fn what_is_no_name_is_refused() {
    differs!();
    let net = furnished();
    untouched(&net, || {
        for name in ["sixteen--letters", "a/b", "a b", "a:b", ".", "..", "x%s", "%d%d"] {
            let out = net.bundle(json!({ "name": name })).refused();
            out.says("invalid network device name").names("linux.netDevices.v0.name");
        }
        let bundle =
            net.is_the_hosts(Bundle::busybox()).set("/linux/netDevices", json!({ "a/b": {} }));
        bundle.refused().says("invalid network device name \"a/b\"");
        let bundle = net
            .bundle(json!({ "name": "x" }))
            .set("/linux/netDevices/peer", json!({ "name": "x" }));
        bundle.refused().says("two devices").names("linux.netDevices");
    });
}
