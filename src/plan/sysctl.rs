//! Kernel parameters. Only those of namespaces of the container are allowed.
//! config.json: linux.sysctl

use super::Problems;
use super::namespaces::{IPC, NETWORK, NamespacesPlan, USER, UTS};
use crate::config;

/// One parameter.
#[derive(Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Its name in config.json.
    pub name: String,
    /// Its file below /proc, `sys/net/ipv4/ip_forward`.
    pub file: String,
    /// The value.
    pub value: String,
}

/// The parameters of the IPC namespace. The others are recognized by their first component.
static IPC_NAMES: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Decides the parameters.
pub fn decide(
    linux: &config::Linux<'_>,
    namespaces: &NamespacesPlan,
    problems: &mut Problems,
) -> Vec<Sysctl> {
    let mut list = Vec::new();
    for (name, value) in linux.sysctl.iter() {
        let (dotted, file) = both_forms(name);
        if dotted == DOMAINNAME && namespaces.has_own(&UTS) {
            continue; // set like `domainname`
        }
        match refusal(&dotted, namespaces) {
            Some(reason) => {
                let key = name.replace('~', "~0").replace('/', "~1");
                problems.add(format_args!("/linux/sysctl/{key}"), reason);
            }
            None => list.push(Sysctl {
                name: name.to_string(),
                file: format!("sys/{file}"),
                value: value.to_string(),
            }),
        }
    }
    list
}

const DOMAINNAME: &str = "kernel.domainname";

/// The NIS domain name and its JSON pointer. Root of a user namespace may not write the file of the
/// parameter, but may call setdomainname(2), so that call is used.
pub(super) fn domainname<'a>(
    config: &'a config::Config<'_>,
    problems: &mut Problems,
) -> (&'static str, &'a str) {
    const KEY: &str = "/linux/sysctl/kernel.domainname";
    let own = &*config.domainname;
    let Some((_, value)) =
        config.linux.sysctl.iter().find(|(name, _)| both_forms(name).0 == DOMAINNAME)
    else {
        return ("/domainname", own);
    };
    let value = value.trim_end_matches('\n');
    if own.is_empty() {
        return (KEY, value);
    }
    if own != value {
        problems.add(
            KEY,
            format_args!("sysctl {DOMAINNAME:?} is {value:?}, but domainname is {own:?}"),
        );
    }
    ("/domainname", own)
}

/// sysctl(8) accepts `.` and `/` as separators. The first one in a name is the separator, and the
/// other is then a normal character.
fn both_forms(name: &str) -> (String, String) {
    let swap = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect()
    };
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes().get(at) == Some(&b'/') => (swap(name), name.to_owned()),
        _ => (name.to_owned(), swap(name)),
    }
}

fn refusal(name: &str, namespaces: &NamespacesPlan) -> Option<String> {
    let needs = |kind, whose: &str| {
        let text =
            || format!("sysctl {name:?} is not allowed in {whose} namespace (linux.namespaces)");
        (!namespaces.has_own(kind)).then(text)
    };
    if name.contains('\0') || name.split(['/', '.']).any(str::is_empty) {
        return Some(format!("sysctl {name:?} is not a name"));
    }
    if IPC_NAMES.contains(&name) || name.starts_with("fs.mqueue.") {
        return needs(&IPC, "the hosts ipc");
    }
    if name.starts_with("net.") {
        return needs(&NETWORK, "host network");
    }
    if name.starts_with("user.") {
        return needs(&USER, "the host user");
    }
    match name {
        "kernel.domainname" => needs(&UTS, "the host uts"),
        "kernel.hostname" => Some(format!(
            "sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        )),
        _ => Some(format!("sysctl {name:?} is not in a separate kernel namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::both_forms;

    #[test]
    fn both_separators_are_understood() {
        for (name, dotted, file) in [
            ("net.ipv4.ip_forward", "net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eth0/1.forwarding",
                "net.ipv4.conf.eth0/1.forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
            ),
        ] {
            assert_eq!(both_forms(name), (dotted.to_owned(), file.to_owned()));
        }
    }
}
