//! The config.json that `spec` writes: a starting point to edit. It has the content of runc's, in
//! the same order, so that instructions for runc apply to it. The text is in `template.json`, and
//! for an ordinary user in `template-rootless.json`; some words in it are replaced.

use crate::state::VERSION;

/// The properties of the machine and the user that the template depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateFacts {
    /// Whether the machine has only cgroup v2: then the container gets a cgroup namespace.
    pub unified: bool,
    /// For an ordinary user: the user and the group that root in the container is mapped to.
    pub rootless: Option<(u32, u32)>,
}

/// For root.
const ROOT: &str = include_str!("template.json");

/// For an ordinary user. Unlike root's it has no network namespace (so /sys is the host's, since a
/// sysfs can be mounted only with one), no rules for devices, and no owners of files other than the
/// container's root, who would have no mapping.
const ROOTLESS: &str = include_str!("template-rootless.json");

/// The namespaces that are in both lists.
const CGROUP_NAMESPACE: &str = "\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}";

/// The text, indented by tabs.
#[must_use]
pub fn text(facts: TemplateFacts) -> String {
    let text = match facts.rootless {
        None => ROOT.to_owned(),
        Some((uid, gid)) => {
            ROOTLESS.replace("\"UID\"", &uid.to_string()).replace("\"GID\"", &gid.to_string())
        }
    };
    let text = text.replace("\"VERSION\"", &format!("\"{VERSION}\""));
    if facts.unified { text } else { text.replace(&format!(",\n{CGROUP_NAMESPACE}"), "") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{TemplateFacts, text};
    use crate::host::cgroups::CgroupLayout;
    use crate::plan::{Host, Plan, Request};

    #[test]
    fn the_template_is_a_config_by_the_specification() {
        for (unified, rootless) in [(false, None), (true, None), (true, Some((1000, 100)))] {
            let text = text(TemplateFacts { unified, rootless });
            let spec: oci_spec::runtime::Spec = serde_json::from_str(&text).expect("a config");
            let mappings = spec
                .linux()
                .as_ref()
                .and_then(|linux| linux.uid_mappings().clone())
                .unwrap_or_default();
            assert_eq!(
                mappings.first().map(|mapping| mapping.host_id()),
                rootless.map(|(uid, _)| uid)
            );
            assert_eq!(text.contains("\"cgroup\"\n"), unified, "{text}");
            assert_eq!(text.contains("gid=5"), rootless.is_none());
        }
    }

    #[test]
    fn the_template_has_no_problems() {
        let text = text(TemplateFacts { unified: true, rootless: None });
        let request = Request { id: "x", bundle: Path::new("/b"), ..Request::default() };
        let layout = CgroupLayout::Unified {
            mount: "/sys/fs/cgroup".into(),
            own: "/x.scope".into(),
            controllers: vec![],
        };
        let plan = Plan::for_create(text.as_bytes(), &request, &Host::for_tests(), &layout)
            .expect("a plan");
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    }
}
