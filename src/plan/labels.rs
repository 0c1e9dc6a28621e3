//! The labels and profiles of security modules.
//! config.json: process.apparmorProfile, process.selinuxLabel, linux.mountLabel

use super::mount_options::Options;
use super::{Host, Problems};
use crate::config;
use crate::error::Cause;
use crate::kernel::FsOption;

/// The labels of a process; empty for none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The profile of AppArmor.
    pub apparmor_profile: String,
    /// The label of SELinux, for the program and its session keyring.
    pub selinux_label: String,
}

impl Labels {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.apparmor_profile.is_empty() && self.selinux_label.is_empty()
    }
}

const NO_APPARMOR: &str =
    "apparmor: config provided but apparmor not supported (it is not enabled on this machine)";
const NO_SELINUX: &str =
    "selinux label is specified in config, but selinux is disabled or not supported";

/// Decides the labels of the process.
pub fn decide(process: &config::Process<'_>, host: &Host, problems: &mut Problems) -> Labels {
    let (profile, label) = (&*process.apparmor_profile, &*process.selinux_label);
    check("/process/apparmorProfile", profile, || host.extras.apparmor(), NO_APPARMOR, problems);
    check("/process/selinuxLabel", label, || host.extras.selinux(), NO_SELINUX, problems);
    Labels { apparmor_profile: profile.to_owned(), selinux_label: label.to_owned() }
}

/// Decides the label of files in new filesystems.
pub fn of_mounts(
    linux: &config::Linux<'_>,
    host: &Host,
    problems: &mut Problems,
) -> Option<String> {
    let label = &*linux.mount_label;
    check("/linux/mountLabel", label, || host.extras.selinux(), NO_SELINUX, problems);
    if label.contains('"') {
        problems.add("/linux/mountLabel", "must not contain a quotation mark");
    }
    (!label.is_empty()).then(|| label.to_owned())
}

/// Adds the SELinux option `context` to a new filesystem, unless the mount has one. procfs, sysfs
/// and cgroups have labels of their own. The filesystem of message queues accepts only a label of
/// its root, which is set after mounting.
pub fn give_to_files(kind: &str, label: &str, options: &mut Options) {
    let new = !options.remount && options.bind.is_none();
    let own = options.filesystem.iter().any(|option| option.name == "context");
    if new && !own && !matches!(kind, "bind" | "proc" | "sysfs" | "cgroup" | "mqueue") {
        options.filesystem.push(FsOption::new("context", label));
    }
}

fn check(
    key: &str,
    label: &str,
    enabled: impl Fn() -> bool,
    otherwise: &str,
    problems: &mut Problems,
) {
    if label.is_empty() {
        return;
    }
    if !enabled() {
        problems.add_for(Cause::NoSecurityModule, key, otherwise);
    }
    if label.contains(['\0', '\n']) {
        problems.add(key, "must not contain NUL or a newline");
    }
}

#[cfg(test)]
mod tests {
    use super::FsOption;
    use super::{Labels, decide, give_to_files, of_mounts};
    use crate::host::extras::Extras;
    use crate::plan::mounts::mount_data;
    use crate::plan::{Host, Problems, mount_options, parse};

    /// The decisions, and the keys of the problems, on such a machine.
    fn plan(text: &str, modules: &[&str]) -> (Labels, Option<String>, Vec<String>) {
        let host = Host { extras: Extras::known(modules, None), ..Host::for_tests() };
        let config = parse(text.as_bytes()).expect(text);
        let mut problems = Problems::default();
        let labels = decide(&config.process.unwrap_or_default(), &host, &mut problems);
        let label = of_mounts(&config.linux, &host, &mut problems);
        (labels, label, problems.found().iter().map(|problem| problem.key.clone()).collect())
    }

    #[test]
    fn labels_need_their_module() {
        let text = r#"{"process":{"apparmorProfile":"p","selinuxLabel":"u:r:t:s0:c1,c2"},"linux":{"mountLabel":"u:o:f"}}"#;
        let (labels, label, problems) = plan(text, &["apparmor", "selinux"]);
        assert_eq!(
            (labels.apparmor_profile.as_str(), labels.selinux_label.as_str()),
            ("p", "u:r:t:s0:c1,c2")
        );
        assert_eq!((label.as_deref(), problems), (Some("u:o:f"), vec![]));
        assert_eq!(plan(text, &["selinux"]).2, ["/process/apparmorProfile"]);
        assert_eq!(plan(text, &["apparmor"]).2, ["/process/selinuxLabel", "/linux/mountLabel"]);
        let (labels, label, problems) = plan(r#"{"process":{"apparmorProfile":""}}"#, &[]);
        assert!(labels.is_empty() && label.is_none() && problems.is_empty());
    }

    #[test]
    fn files_of_new_filesystems_are_labelled() {
        const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";
        for (mount, context) in [
            (r#"{"type":"tmpfs","options":["size=1k"]}"#, Some(LABEL)),
            (r#"{"type":"devpts"}"#, Some(LABEL)),
            (r#"{"type":"tmpfs","options":["context=own"]}"#, Some("own")),
            (r#"{"type":"proc"}"#, None),
            (r#"{"type":"sysfs"}"#, None),
            (r#"{"type":"mqueue"}"#, None),
            (r#"{"type":"cgroup"}"#, None),
            (r#"{"type":"bind"}"#, None),
            (r#"{"type":"none","options":["rbind"]}"#, None),
            (r#"{"type":"tmpfs","options":["remount"]}"#, None),
        ] {
            let text = format!(r#"{{"mounts":[{{"destination":"/x",{}]}}"#, &mount[1..]);
            let config = parse(text.as_bytes()).expect(mount);
            let mount = config.mounts.first().expect(&text);
            let mut options = mount_options::parse(0, &mount.options, &mut Problems::default());
            give_to_files(&mount.kind, LABEL, &mut options);
            let contexts = options.filesystem.iter().filter(|option| option.name == "context");
            let contexts: Vec<_> = contexts.filter_map(|option| option.value.as_deref()).collect();
            assert_eq!(contexts, context.into_iter().collect::<Vec<_>>(), "{text}");
        }
        let data = [FsOption::new("size", "1k"), FsOption::new("context", LABEL)];
        assert_eq!(mount_data(&data).1, format!("size=1k,context=\"{LABEL}\""));
    }

    #[test]
    fn a_label_is_one_line() {
        for (text, key) in [
            (r#"{"process":{"apparmorProfile":"a\nb"}}"#, "/process/apparmorProfile"),
            (r#"{"process":{"selinuxLabel":"a\u0000"}}"#, "/process/selinuxLabel"),
            (r#"{"linux":{"mountLabel":"a\"b"}}"#, "/linux/mountLabel"),
        ] {
            assert_eq!(plan(text, &["apparmor", "selinux"]).2, [key], "{text}");
        }
    }
}
