//! Which labels of an image become annotations of its containers.
//!
//! Annotations are orders: runtimes, their shims and the hooks of a host obey many of them. Some of
//! them are `org.criu.config` and `bundle` (runc), `org.systemd.property.*` (runc, crun),
//! `run.oci.*`, `module.wasm.image/*` and `krun.*` (crun), `io.katacontainers.*` (Kata),
//! `dev.gvisor.*` (gVisor), `io.kubernetes.cri.*` (containerd, gVisor), `io.kubernetes.cri-o.*` and
//! `*.crio.io` (CRI-O), `cdi.k8s.io/*` (devices), `io.containers.*` (hooks), `org.freebsd.*`
//! (ocijail), `io.microsoft.*` (hcsshim). Nobody has a list of all of them. Labels are the image's,
//! and an image is not trusted. So only those keys pass that are defined as descriptions of an
//! image, and that no runtime can take for anything else. Docker, Podman and containerd make no
//! annotations of labels at all.

use std::collections::HashMap;

/// Keys that describe an image: image-spec (annotations.md), its predecessor label-schema.org, and
/// `MAINTAINER` of Dockerfiles. A key that ends with a dot is the beginning of keys.
const DESCRIPTIVE: [&str; 3] = ["org.opencontainers.image.", "org.label-schema.", "maintainer"];

/// How many labels a message names.
const NAMED: usize = 10;

/// Whether a label of this key becomes an annotation.
#[must_use]
pub fn is_descriptive(key: &str) -> bool {
    DESCRIPTIVE
        .iter()
        .any(|known| if known.ends_with('.') { key.starts_with(known) } else { key == *known })
}

/// A line that names the labels which did not become annotations; nothing when all did.
#[must_use]
pub fn left_out(labels: &HashMap<String, String>) -> Option<String> {
    let mut keys: Vec<&str> =
        labels.keys().map(String::as_str).filter(|key| !is_descriptive(key)).collect();
    keys.sort_unstable();
    let rest = keys.len().saturating_sub(NAMED);
    // In quotes, and without control characters: an image must not write to our terminal as it
    // likes.
    let named: Vec<String> =
        keys.iter().take(NAMED).map(|key| format!("{:?}", short(key))).collect();
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let text = "labels that are not made annotations, as a runtime might obey them";
    (!named.is_empty()).then(|| format!("{text}: {}{more}", named.join(", ")))
}

/// The beginning of a key that is too long for a line.
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
        assert_eq!(left_out(&labels(0)), None);
        let text = left_out(&labels(12)).unwrap();
        assert!(text.ends_with(r#""x009\n\u{1b}" and 2 more"#) && !text.contains('\n'), "{text}");
        assert_eq!(left_out(&HashMap::from([("maintainer".to_owned(), String::new())])), None);
    }
}
