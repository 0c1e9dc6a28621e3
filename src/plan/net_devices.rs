//! The network devices of the host that are moved into the container.
//! config.json: linux.netDevices

use super::namespaces::{NETWORK, NamespacesPlan};
use super::{Host, Problems};
use crate::config;
use crate::error::Cause;

/// A device to move.
#[derive(Debug, PartialEq, Eq)]
pub struct NetDevicePlan {
    /// JSON pointer.
    pub key: String,
    /// Its name on the host.
    pub name: String,
    /// Its name in the container; `%d` stands for the first free number.
    pub inside: String,
}

/// The longest name (`IFNAMSIZ` without the NUL).
const LONGEST: usize = 15;

/// Decides the devices.
pub fn decide(
    linux: &config::Linux<'_>,
    namespaces: &NamespacesPlan,
    host: &Host,
    problems: &mut Problems,
) -> Vec<NetDevicePlan> {
    const KEY: &str = "/linux/netDevices";
    let mut devices: Vec<NetDevicePlan> = Vec::with_capacity(linux.net_devices.len());
    if linux.net_devices.is_empty() {
        return devices;
    }
    if !namespaces.has_own(&NETWORK) {
        problems.add_for(
            Cause::NeedsNamespace,
            KEY,
            "unable to move network devices without a NET namespace (linux.namespaces)",
        );
    }
    if host.euid != 0 {
        problems.add(KEY, "network devices are not supported for rootless containers");
    }
    for (name, device) in linux.net_devices.iter() {
        let key = format!("{KEY}/{}", name.replace('~', "~0").replace('/', "~1"));
        let inside = if device.name.is_empty() { &**name } else { &*device.name };
        if !is_name(name) || name.contains('%') {
            problems.add(&key, format_args!("invalid network device name {:?}", &**name));
        } else if !is_name(inside) || !is_template(inside) && inside.contains('%') {
            problems.add(
                format_args!("{key}/name"),
                format_args!("invalid network device name {inside:?}"),
            );
        }
        if !is_template(inside) && devices.iter().any(|other| other.inside == inside) {
            let text =
                format_args!("two devices cannot both be called {inside:?} in the container");
            problems.add(format_args!("{key}/name"), text);
        }
        devices.push(NetDevicePlan { key, name: name.to_string(), inside: inside.to_owned() });
    }
    devices
}

/// The rule of the kernel for names (`dev_valid_name`).
fn is_name(name: &str) -> bool {
    let forbidden =
        |byte: u8| matches!(byte, b'/' | b':' | b'\0' | b'\x0b') || byte.is_ascii_whitespace();
    !matches!(name, "" | "." | "..") && name.len() <= LONGEST && !name.bytes().any(forbidden)
}

/// Checks that there is one `%d` and no other per cent sign.
fn is_template(name: &str) -> bool {
    name.matches('%').count() == 1 && name.contains("%d")
}

/// The name with this number, unless that is too long.
#[must_use]
pub fn numbered(template: &str, number: u32) -> Option<String> {
    let name = template.replace("%d", &number.to_string());
    (name.len() <= LONGEST).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{decide, numbered};
    use crate::config;
    use crate::plan::{Host, Problems, namespaces};

    fn keys(devices: &str, namespaces: &str, host: &Host) -> Vec<String> {
        let text = format!(r#"{{"linux":{{"netDevices":{devices},"namespaces":{namespaces}}}}}"#);
        let config: config::Config<'_> = serde_json::from_str(&text).expect("a config");
        let mut problems = Problems::default();
        let namespaces = namespaces::decide(&config, host, &mut problems);
        decide(&config.linux, &namespaces, host, &mut problems);
        problems.found().iter().map(|problem| problem.key.clone()).collect()
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        let network = r#"[{"type":"network"}]"#;
        for devices in [
            "{}",
            r#"{"eth0":{}}"#,
            r#"{"eth0":{"name":""}}"#,
            r#"{"eth0":{"name":"fifteen-letters"}}"#,
            r#"{"a":{"name":"net%d"},"b":{"name":"net%d"}}"#,
            r#"{"eth0.5":{"name":"ünï"}}"#,
        ] {
            assert_eq!(keys(devices, network, &Host::for_tests()), [""; 0], "{devices}");
        }
        for (devices, key) in [
            (r#"{"sixteen--letters":{}}"#, "/linux/netDevices/sixteen--letters"),
            (r#"{"a/b":{}}"#, "/linux/netDevices/a~1b"),
            (r#"{"a b":{}}"#, "/linux/netDevices/a b"),
            (r#"{"":{}}"#, "/linux/netDevices/"),
            (r#"{"..":{}}"#, "/linux/netDevices/.."),
            (r#"{"eth%d":{}}"#, "/linux/netDevices/eth%d"),
            (r#"{"a":{"name":"a:b"}}"#, "/linux/netDevices/a/name"),
            (r#"{"a":{"name":"%d%d"}}"#, "/linux/netDevices/a/name"),
            (r#"{"a":{"name":"x%s"}}"#, "/linux/netDevices/a/name"),
            (r#"{"a":{"name":"x"},"b":{"name":"x"}}"#, "/linux/netDevices/b/name"),
            (r#"{"a":{},"b":{"name":"a"}}"#, "/linux/netDevices/b/name"),
        ] {
            assert_eq!(keys(devices, network, &Host::for_tests()), [key], "{devices}");
        }
    }

    #[test]
    fn the_container_needs_a_network_of_its_own_and_the_runtime_rights() {
        let ordinary = Host { euid: 1000, ..Host::for_tests() };
        let joined = r#"[{"type":"network","path":"/n"}]"#;
        assert_eq!(keys(r#"{"a":{}}"#, "[]", &Host::for_tests()), ["/linux/netDevices"]);
        assert_eq!(keys(r#"{"a":{}}"#, joined, &Host::for_tests()), [""; 0]);
        assert_eq!(keys(r#"{"a":{}}"#, joined, &ordinary), ["/linux/netDevices"]);
        assert_eq!(keys("{}", "[]", &ordinary), [""; 0]);
    }

    #[test]
    fn numbers_take_the_place_of_the_template() {
        assert_eq!(numbered("net%d", 12).as_deref(), Some("net12"));
        assert_eq!(numbered("thirteen-le%d", 10_000), None);
    }
}
