//! The labels of an image that become annotations of its containers.
//!
//! Runtimes, shims and hooks obey many annotations, for instance `org.criu.config` and `bundle`
//! (runc), `org.systemd.property.*` (runc, crun), `run.oci.*`, `module.wasm.image/*` and `krun.*`
//! (crun), `io.katacontainers.*` (Kata), `dev.gvisor.*` (gVisor), `io.kubernetes.cri.*`
//! (containerd, gVisor), `io.kubernetes.cri-o.*` and `*.crio.io` (CRI-O), `cdi.k8s.io/*` (devices),
//! `io.containers.*` (hooks), `org.freebsd.*` (ocijail), `io.microsoft.*` (hcsshim). There is no
//! complete list. The labels come from the image, which is not trusted. So only keys that describe
//! an image and that no runtime obeys are accepted. Docker, Podman and containerd do not make
//! annotations from labels.

use std::collections::HashMap;

/// Keys that describe an image: those of image-spec (annotations.md), of its predecessor
/// label-schema.org, and `MAINTAINER` of Dockerfiles. A key with a dot at its end is a prefix.
const DESCRIPTIVE: [&str; 3] = ["org.opencontainers.image.", "org.label-schema.", "maintainer"];

/// The limit on labels that the message names.
const MAX_NAMED: usize = 10;

/// Whether a label with this key becomes an annotation.
#[must_use]
pub fn is_descriptive(key: &str) -> bool {
    DESCRIPTIVE
        .iter()
        .any(|known| if known.ends_with('.') { key.starts_with(known) } else { key == *known })
}

/// A message with the labels that do not become annotations, or `None` if all do.
#[must_use]
pub fn ignored_labels(labels: &HashMap<String, String>) -> Option<String> {
    let mut keys: Vec<&str> =
        labels.keys().map(String::as_str).filter(|key| !is_descriptive(key)).collect();
    keys.sort_unstable();
    let rest = keys.len().saturating_sub(MAX_NAMED);
    // Quoted and escaped, since control characters of an image must not reach the terminal.
    let named: Vec<String> =
        keys.iter().take(MAX_NAMED).map(|key| format!("{:?}", short(key))).collect();
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let text = "these labels do not become annotations, since a runtime might obey them";
    (!named.is_empty()).then(|| format!("{text}: {}{more}", named.join(", ")))
}

/// The first 100 characters of a key.
fn short(key: &str) -> String {
    key.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_pass_and_orders_do_not() {
        for key in ["org.opencontainers.image.title", "org.label-schema.name", "maintainer"] {
            assert!(is_descriptive(key), "{key}");
        }
        for key in
            ["org.opencontainers.imagex", "org.opencontainers.runc.x", "maintainers", "bundle", ""]
        {
            assert!(!is_descriptive(key), "{key}");
        }
    }

    #[test]
    fn a_message_is_one_short_line() {
        let labels = |count: usize| {
            (0..count).map(|n| (format!("x{n:03}\n\u{1b}"), String::new())).collect()
        };
        assert_eq!(ignored_labels(&labels(0)), None);
        let text = ignored_labels(&labels(12)).unwrap();
        assert!(text.ends_with(r#""x009\n\u{1b}" and 2 more"#) && !text.contains('\n'), "{text}");
        assert_eq!(
            ignored_labels(&HashMap::from([("maintainer".to_owned(), String::new())])),
            None
        );
    }
}
