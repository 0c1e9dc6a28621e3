//! `linux.resources.devices`: v1 files, or a program in the kernel on v2

use crate::support::{Bundle, Value, cgroups, config, json};

/// A container that may make any device node, with these device rules.
fn with_device_rules(rules: Value) -> Bundle {
    let capabilities = config::capabilities(&["CAP_MKNOD"]);
    Bundle::busybox()
        .set("/linux/resources/devices", rules)
        .set("/process/capabilities", capabilities)
}

const DENY_ALL: &str = r#"{ "allow": false, "access": "rwm" }"#;

fn rules(more: &[Value]) -> Value {
    let mut all: Vec<Value> = vec![serde_json::from_str(DENY_ALL).unwrap()];
    all.extend_from_slice(more);
    all.into()
}

/// What opening the character device 1:99 for reading and for writing says. There is no such
/// device: who is let in finds that out ("ENXIO"), who is not is turned away before ("EPERM").
#[track_caller]
fn opened(mut bundle: Bundle) -> [&'static str; 2] {
    let script = "mknod /tmp/x c 1 99 && cat /tmp/x; echo x > /tmp/x";
    let out = bundle.sh(script);
    let lines: Vec<_> = out.stderr.lines().collect();
    let error = |line: &str| match line {
        _ if line.contains("No such device or address") => "ENXIO",
        // This is how the shell puts it.
        _ if line.contains("nonexistent directory") || line.contains("No such device") => "ENXIO",
        _ if line.contains("Operation not permitted") => "EPERM",
        _ => panic!("{out:?}"),
    };
    assert_eq!(lines.len(), 2, "{out:?}");
    [error(lines[0]), error(lines[1])]
}

fn device_rules_hold(view: impl Fn(Bundle) -> Bundle) {
    let rule = |access: &str| json!({ "allow": true, "type": "c", "major": 1, "minor": 99, "access": access });
    let try_rules = |rules: Value| opened(view(with_device_rules(rules)));
    assert_eq!(try_rules(rules(&[])), ["EPERM", "EPERM"], "denied");
    assert_eq!(try_rules(rules(&[rule("rwm")])), ["ENXIO", "ENXIO"], "allowed");
    assert_eq!(try_rules(rules(&[rule("r")])), ["ENXIO", "EPERM"], "only reading");
    assert_eq!(try_rules(rules(&[rule("w")])), ["EPERM", "ENXIO"], "only writing");
    let any_minor = json!({ "allow": true, "type": "c", "major": 1, "access": "rw" });
    assert_eq!(try_rules(rules(&[any_minor])), ["ENXIO", "ENXIO"], "any minor number");
    let block = json!({ "allow": true, "type": "b", "major": 1, "minor": 99, "access": "rw" });
    assert_eq!(try_rules(rules(&[block])), ["EPERM", "EPERM"], "another type");
    let denied = json!({ "allow": false, "type": "c", "major": 1, "minor": 99, "access": "rw" });
    assert_eq!(
        try_rules(rules(&[rule("rwm"), denied])),
        ["EPERM", "EPERM"],
        "the last rule counts"
    );
}

fn default_devices_are_allowed(view: impl Fn(Bundle) -> Bundle) {
    let mut bundle = view(Bundle::busybox().set("/linux/resources/devices", rules(&[])));
    let out = bundle
        .sh("cat /dev/null; echo x > /dev/null; head -c 2 /dev/zero /dev/urandom | wc -c")
        .ok();
    assert_eq!(out.stderr, "");
    bundle.assert_nothing_left();
    // Any node may be made, and /dev/net/tun be used: without that, runc broke what many relied on.
    let mut bundle = view(with_device_rules(rules(&[])));
    let out =
        bundle.sh("mknod /tmp/any c 1 99 && mknod /tmp/tun c 10 200 && echo made; cat /tmp/tun");
    assert_eq!(out.line(), "made", "{out:?}");
    assert!(!out.stderr.contains("not permitted"), "{out:?}");
}

#[test]
fn device_rules_hold_on_this_machine() {
    device_rules_hold(|bundle| bundle);
}

#[test]
fn device_rules_hold_on_v2() {
    device_rules_hold(Bundle::on_cgroup_v2);
}

#[test]
fn the_default_devices_are_always_allowed() {
    default_devices_are_allowed(|bundle| bundle);
}

#[test]
fn the_default_devices_are_always_allowed_on_v2() {
    default_devices_are_allowed(Bundle::on_cgroup_v2);
}

#[test]
fn device_rules_are_in_the_list_of_v1() {
    needs!(cgroups::has_v1("devices"), "v1 devices controller");
    let rule = json!({ "allow": true, "type": "b", "major": 8, "minor": 3, "access": "rw" });
    let c = Bundle::busybox().set("/linux/resources/devices", rules(&[rule])).create();
    let list = cgroups::value(&cgroups::v1("devices", c.id()), "devices.list");
    let lines: Vec<_> = list.lines().collect();
    assert!(lines.contains(&"c 1:3 rwm") && lines.contains(&"c 5:2 rwm"), "{list}");
    // Making nodes of all block devices is allowed in any case.
    assert!(lines.iter().any(|line| line.starts_with("b 8:3 rw")), "{list}");
    assert!(!list.contains("a *:*"), "{list}");
}

/// A rule that says less than its writer meant is no rule.
#[test]
fn a_letter_that_is_no_access_is_refused() {
    differs!();
    let rule = json!({ "allow": true, "type": "c", "major": 1, "minor": 99, "access": "rwa" });
    let bundle = Bundle::busybox().set("/linux/resources/devices", json!([rule]));
    let text = "\"rwa\" has a letter other than r, w and m (every access is \"rwm\")";
    bundle.refused().names("linux.resources.devices[0].access").says(text);
}
