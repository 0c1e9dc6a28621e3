//! Converts the configuration of an image to that of a container: [conversion.md] of image-spec.
//!
//! Values that the image does not set are those of `orlop spec`, with two exceptions that most
//! images need: the root filesystem is writable, and the capabilities are the default ones of
//! container engines.
//!
//! [conversion.md]: https://github.com/opencontainers/image-spec/blob/v1.1.1/conversion.md

use std::collections::BTreeMap;

use anyhow::Result;
use oci_spec::image::{Config, ImageConfiguration};

use crate::annotation;
use crate::config::{ContainerConfig, ContainerMount};
use crate::rootfs::Tree;
use crate::users;

/// The default capabilities of Podman. Docker has three more, which are not needed on newer
/// kernels, or which few programs use.
const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Values of flags. They override those of the image, as the specification allows.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Replaces `Entrypoint`. `Cmd` of the image is then not used.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces `Cmd`.
    pub args: Option<Vec<String>>,
    /// `NAME=value`, or `NAME` for the value in our environment.
    pub env: Vec<String>,
    /// Replaces `User`.
    pub user: Option<String>,
    /// Replaces `WorkingDir`.
    pub cwd: Option<String>,
}

/// Changes `config`, the output of `orlop spec`, to the configuration of a container of the image.
///
/// # Errors
/// The image does not have the user or group.
pub fn convert(
    mut config: ContainerConfig,
    image: &ImageConfiguration,
    overrides: &Overrides,
    rootfs: &Tree,
) -> Result<ContainerConfig> {
    let none = Config::default();
    let of_image = image.config().as_ref().unwrap_or(&none);
    let process = &mut config.process;
    let args = args(of_image, overrides);
    if !args.is_empty() {
        process.args = args;
    }
    process.env = env(&process.env, of_image, overrides);
    let cwd = overrides.cwd.as_deref().or(of_image.working_dir().as_deref()).unwrap_or("");
    process.cwd = if cwd.is_empty() { "/".to_owned() } else { cwd.to_owned() };
    let user = overrides.user.as_deref().or(of_image.user().as_deref()).unwrap_or("");
    if !user.is_empty() {
        let user = users::find(user, rootfs)?;
        (process.user.uid, process.user.gid) = (user.uid, user.gid);
        if !user.groups.is_empty() {
            process.user.groups = user.groups;
        }
    }
    for set in ["bounding", "effective", "permitted"] {
        process.capabilities.insert(set.to_owned(), CAPABILITIES.map(str::to_owned).to_vec());
    }
    config.root.readonly = false;
    let annotations = annotations(image, of_image);
    if !annotations.is_empty() {
        config.annotations = annotations;
    }
    let mut volumes: Vec<&String> = of_image.volumes().iter().flatten().collect();
    volumes.sort_unstable();
    for destination in volumes {
        config.mounts.push(volume(destination, rootfs.owner(destination)?));
    }
    Ok(config)
}

fn args(image: &Config, overrides: &Overrides) -> Vec<String> {
    let mut args =
        overrides.entrypoint.clone().or_else(|| image.entrypoint().clone()).unwrap_or_default();
    match (&overrides.args, &overrides.entrypoint) {
        (Some(ours), _) => args.extend(ours.iter().cloned()),
        (None, Some(_)) => {}
        (None, None) => args.extend(image.cmd().iter().flatten().cloned()),
    }
    args
}

/// The variables of the image, those of the template that the image does not set, and those of the
/// flags.
fn env(template: &[String], image: &Config, overrides: &Overrides) -> Vec<String> {
    let mut env: Vec<String> = image.env().clone().unwrap_or_default();
    for variable in template {
        if !env.iter().any(|other| name(other) == name(variable)) {
            env.push(variable.clone());
        }
    }
    for variable in &overrides.env {
        env.retain(|other| name(other) != name(variable));
        if variable.contains('=') {
            env.push(variable.clone());
        } else if let Ok(value) = std::env::var(variable) {
            env.push(format!("{variable}={value}"));
        }
    }
    env
}

fn name(variable: &str) -> &str {
    variable.split('=').next().unwrap_or(variable)
}

/// The annotations: those that conversion.md names ("implicit"), and the labels of the image that
/// only describe it. A label overrides an implicit annotation.
fn annotations(image: &ImageConfiguration, config: &Config) -> BTreeMap<String, String> {
    let features = image.os_features().as_ref().map(|features| features.join(","));
    let mut ports: Vec<&str> =
        config.exposed_ports().iter().flatten().map(String::as_str).collect();
    ports.sort_unstable();
    let implicit = [
        ("os", Some(image.os().to_string())),
        ("architecture", Some(image.architecture().to_string())),
        ("variant", image.variant().clone()),
        ("os.version", image.os_version().clone()),
        ("os.features", features),
        ("author", image.author().clone()),
        ("created", image.created().clone()),
        ("stopSignal", config.stop_signal().clone()),
        ("exposedPorts", Some(ports.join(","))),
    ];
    let implicit = implicit.into_iter().filter_map(|(key, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((format!("org.opencontainers.image.{key}"), value))
    });
    let labels = config.labels().clone().unwrap_or_default();
    implicit.chain(labels.into_iter().filter(|(key, _)| annotation::is_descriptive(key))).collect()
}

/// A volume: a tmpfs that begins as a copy of the directory in the image, with the same owner.
fn volume(destination: &str, owner: Option<(u32, u32)>) -> ContainerMount {
    let mut options = ["nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec();
    // Without these options the owner is root.
    let (uid, gid) = owner.unwrap_or_default();
    options.extend((uid != 0).then(|| format!("uid={uid}")));
    options.extend((gid != 0).then(|| format!("gid={gid}")));
    ContainerMount::new(destination, "tmpfs", "tmpfs", options)
}
