//! From an image's configuration to a container's: [conversion.md] of image-spec.
//!
//! What the image does not say is as `orlop spec` has it, with two exceptions, without which few
//! images would work: the root filesystem can be written to, and the capabilities are those that
//! container engines give, for which images are made.
//!
//! [conversion.md]: https://github.com/opencontainers/image-spec/blob/v1.1.1/conversion.md

use std::collections::BTreeMap;

use anyhow::Result;
use oci_spec::image::{Config, ImageConfiguration};

use crate::annotation;
use crate::config::{ContainerConfig, Mount};
use crate::rootfs::Tree;
use crate::users;

/// What Podman gives; Docker gives three more, which newer kernels or few programs need.
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

/// What the user says, which the specification lets override the image.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Instead of the image's; its `Cmd` does not count then.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's `Cmd`.
    pub args: Option<Vec<String>>,
    /// `NAME=value`, or `NAME` for the value that it has here.
    pub env: Vec<String>,
    /// Instead of the image's `User`.
    pub user: Option<String>,
    /// Instead of the image's `WorkingDir`.
    pub cwd: Option<String>,
}

/// Makes `config`, which is what `orlop spec` writes, the configuration of a container of the
/// image.
///
/// # Errors
/// A user or group that the image does not have.
pub fn convert(
    mut config: ContainerConfig,
    image: &ImageConfiguration,
    wishes: &Wishes,
    rootfs: &Tree,
) -> Result<ContainerConfig> {
    let none = Config::default();
    let of_image = image.config().as_ref().unwrap_or(&none);
    let process = &mut config.process;
    let args = args(of_image, wishes);
    if !args.is_empty() {
        process.args = args;
    }
    process.env = env(&process.env, of_image, wishes);
    let cwd = wishes.cwd.as_deref().or(of_image.working_dir().as_deref()).unwrap_or("");
    process.cwd = if cwd.is_empty() { "/".to_owned() } else { cwd.to_owned() };
    let user = wishes.user.as_deref().or(of_image.user().as_deref()).unwrap_or("");
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

fn args(image: &Config, wishes: &Wishes) -> Vec<String> {
    let mut args =
        wishes.entrypoint.clone().or_else(|| image.entrypoint().clone()).unwrap_or_default();
    match (&wishes.args, &wishes.entrypoint) {
        (Some(ours), _) => args.extend(ours.iter().cloned()),
        (None, Some(_)) => {}
        (None, None) => args.extend(image.cmd().iter().flatten().cloned()),
    }
    args
}

/// The image's variables, and of ours those that it does not set.
fn env(template: &[String], image: &Config, wishes: &Wishes) -> Vec<String> {
    let mut env: Vec<String> = image.env().clone().unwrap_or_default();
    for variable in template {
        if !env.iter().any(|other| name(other) == name(variable)) {
            env.push(variable.clone());
        }
    }
    for wish in &wishes.env {
        env.retain(|other| name(other) != name(wish));
        if wish.contains('=') {
            env.push(wish.clone());
        } else if let Ok(value) = std::env::var(wish) {
            env.push(format!("{wish}={value}"));
        }
    }
    env
}

fn name(variable: &str) -> &str {
    variable.split('=').next().unwrap_or(variable)
}

/// The implicit annotations, and instead of them those labels of the image that only describe it.
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

/// A place for data that are the container's own: in memory, with what the image has there in it at
/// first, and whose it is there.
fn volume(destination: &str, owner: Option<(u32, u32)>) -> Mount {
    let mut options = ["nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec();
    // What root owns is root's without a word.
    let (uid, gid) = owner.unwrap_or_default();
    options.extend((uid != 0).then(|| format!("uid={uid}")));
    options.extend((gid != 0).then(|| format!("gid={gid}")));
    Mount::new(destination, "tmpfs", "tmpfs", options)
}
