//! The mounts: their sources, destinations and types.
//! config.json: mounts[].{destination, source, type}

use std::path::{Path, PathBuf};

use super::idmapped_mounts::{self, IdmapPlan};
use super::labels;
use super::mount_options::{self, Attributes, Options, SourceLink, attr, fs_flag, is_negation, ms};
use super::namespaces::MOUNT;
use super::{MountContext, Problems};
use crate::config;
use crate::error::Cause;
use crate::kernel::FsOption;

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub struct MountStep {
    /// Its index in `mounts`.
    pub index: usize,
    /// The destination, relative to the root of the container: no leading slash, no `.` or `..`.
    pub destination: String,
    /// The source.
    pub source: MountSource,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// The attributes that a bind mount loses, unless they are locked: [`Options::unnamed`].
    pub unnamed: u64,
    /// Attributes of it and all mounts below.
    pub recursive: Attributes,
    /// The propagation changes, which are made after it is attached.
    pub propagation: Vec<(u64, bool)>,
    /// Whether it is made read-only only after all mounts and devices are made, since these may be
    /// on it.
    pub read_only_late: bool,
    /// Whether it may cover a part of a procfs.
    pub over_proc: OverProc,
    /// Whether it begins with a copy of the files that it covers (`tmpcopyup`).
    pub copy_up: bool,
    /// The id mapping, if there is one.
    pub idmap: Option<IdmapPlan>,
    /// Whether a symbolic link at the destination is not followed.
    pub keep_destination: bool,
}

impl MountStep {
    /// The attributes that can be set when the mount is created.
    #[must_use]
    pub fn first_attributes(&self) -> u64 {
        let set = self.attributes.set;
        if self.read_only_late || self.copy_up { set & !attr::RDONLY } else { set }
    }
}

impl std::fmt::Display for MountStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            MountSource::Bind { path, .. } => write!(f, "{:?}", path.to_string_lossy())?,
            MountSource::Filesystem { kind, .. } => f.write_str(kind)?,
            MountSource::Cgroup { .. } => f.write_str("cgroup")?,
            MountSource::Remount { .. } => f.write_str("anew")?,
        }
        write!(f, " to rootfs at \"/{}\"", self.destination)
    }
}

/// The source of a mount.
#[derive(Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// The absolute path.
        path: PathBuf,
        /// Whether all mounts below it are included.
        recursive: bool,
        /// The handling of a symbolic link.
        link: SourceLink,
    },
    /// A new filesystem.
    Filesystem {
        /// Its type.
        kind: String,
        /// Its device.
        source: String,
        /// Its options.
        options: Vec<FsOption>,
        /// The `MS_…` flags, if only mount(2) can make the mount: because of one of these flags, or
        /// of a value over 255 bytes, the limit of fsconfig(2).
        by_mount: Option<u64>,
        /// Whether the destination must be a directory and not a link: for filesystems that the
        /// security of the container depends on (CVE-2023-27561).
        ordinary_directory: bool,
    },
    /// The cgroups of the container (`type: cgroup`).
    Cgroup {
        /// The options of cgroup v2.
        options: Vec<FsOption>,
    },
    /// A remount.
    Remount {
        /// `MS_…` flags.
        flags: u64,
        /// Options for the filesystem.
        data: String,
    },
}

/// A mount on a procfs can redirect writes of labels and look-ups of processes (CVE-2019-16884).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverProc {
    /// Not allowed.
    Never,
    /// A file that may be replaced, as lxcfs does.
    Listed,
    /// The destination is `/proc` itself: the mount must be a procfs.
    Itself,
}

/// The files of a procfs that may be covered.
static PROC_FILES: [&str; 10] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
];

/// The longest value that fsconfig(2) accepts.
const LONGEST_VALUE: usize = 255;

/// Decides the mounts.
pub fn decide(
    mounts: &[config::Mount<'_>],
    around: &MountContext<'_>,
    problems: &mut Problems,
) -> Vec<MountStep> {
    if !mounts.is_empty() && !around.namespaces.has_own(&MOUNT) {
        problems.add_for(
            Cause::NeedsNamespace,
            "/mounts",
            "mounts need a mount namespace of the container's own (linux.namespaces)",
        );
    }
    mounts.iter().enumerate().map(|(index, mount)| step(index, mount, around, problems)).collect()
}

fn step(
    index: usize,
    mount: &config::Mount<'_>,
    around: &MountContext<'_>,
    problems: &mut Problems,
) -> MountStep {
    let key = format!("/mounts/{index}");
    let mut options = mount_options::parse(index, &mount.options, problems);
    if let Some(label) = around.label {
        labels::give_to_files(&mount.kind, label, &mut options);
    }
    let idmap = idmapped_mounts::decide(&key, mount, &options, around, problems);
    let source = source(&key, mount, &options, around, problems);
    if idmap.is_some() && !can_be_mapped(&source) {
        problems
            .add(&key, "id-mapped mounts are only supported for bind mounts and new filesystems");
    }
    check_links(&key, &options, &source, problems);
    let destination = without_rootfs(clean(&mount.destination), around.rootfs.as_deref());
    if mount.destination.is_empty() {
        problems.add(format_args!("{key}/destination"), "must not be empty");
    } else if destination.is_empty() {
        problems.add(
            format_args!("{key}/destination"),
            "nothing can be mounted on / itself (use root.path)",
        );
    } else if !mount.destination.starts_with('/') {
        problems.warn(
            format_args!("{key}/destination"),
            "should be an absolute path; taken as relative to /",
        );
    }
    if [&*mount.destination, &*mount.source, &*mount.kind].iter().any(|text| text.contains('\0')) {
        problems.add(&key, "must not contain NUL");
    }
    if options.copy_up && &*mount.kind != "tmpfs" {
        problems.add(format_args!("{key}/options"), "tmpcopyup is only for tmpfs");
    }
    let late = mount.kind == "tmpfs".into() || destination == "dev";
    let over_proc = match destination.as_str() {
        "proc" => OverProc::Itself,
        path if PROC_FILES.contains(&path) => OverProc::Listed,
        _ => OverProc::Never,
    };
    MountStep {
        index,
        unnamed: if matches!(source, MountSource::Bind { .. }) { options.unnamed() } else { 0 },
        source,
        read_only_late: late
            && options.attributes.set & attr::RDONLY != 0
            && options.bind.is_none(),
        attributes: options.attributes,
        recursive: options.recursive,
        propagation: options.propagation,
        destination,
        over_proc,
        copy_up: options.copy_up,
        idmap,
        keep_destination: options.keep_destination,
    }
}

/// Whether it is made detached: bind mounts, and filesystems that fsopen(2) makes.
fn can_be_mapped(source: &MountSource) -> bool {
    matches!(source, MountSource::Bind { .. } | MountSource::Filesystem { by_mount: None, .. })
}

fn check_links(key: &str, options: &Options, source: &MountSource, problems: &mut Problems) {
    if options.link == SourceLink::Follow && !options.keep_destination {
        return;
    }
    if !matches!(source, MountSource::Bind { .. }) {
        let text = "copy-symlink, src-nofollow and dest-nofollow are only for bind mounts";
        problems.add(format_args!("{key}/options"), text);
    }
    if options.link == SourceLink::Copy && (options.keep_destination || options.idmap.is_some()) {
        let text =
            "copy-symlink mounts nothing on a link: it cannot stand beside dest-nofollow or idmap";
        problems.add(format_args!("{key}/options"), text);
    }
}

fn source(
    key: &str,
    mount: &config::Mount<'_>,
    options: &Options,
    around: &MountContext<'_>,
    problems: &mut Problems,
) -> MountSource {
    if options.remount {
        refuse_commas(key, &options.filesystem, problems);
        return MountSource::Remount {
            flags: ms_flags(options),
            data: mount_data(&options.filesystem).1,
        };
    }
    if &*mount.kind == "bind" || options.bind.is_some() {
        if options.own > 0 {
            problems.add(
                format_args!("{key}/options"),
                "bind mounts cannot have any filesystem-specific options applied",
            );
        }
        if mount.source.is_empty() {
            problems.add(format_args!("{key}/source"), "a bind mount needs a source");
        }
        return MountSource::Bind {
            path: around.bundle.join(&*mount.source),
            recursive: options.bind == Some(true),
            link: options.link,
        };
    }
    match &*mount.kind {
        "" | "none" => {
            problems
                .add(format_args!("{key}/type"), "a mount that is not a bind mount needs a type");
            MountSource::Cgroup { options: Vec::new() }
        }
        "cgroup" => MountSource::Cgroup { options: options.filesystem.clone() },
        kind => {
            let source = filesystem(kind, &mount.source, options);
            if let MountSource::Filesystem { by_mount: Some(_), options, .. } = &source {
                refuse_commas(key, options, problems);
            }
            source
        }
    }
}

/// The directory of the host that replaces a new filesystem of this type where none can be mounted.
/// A sysfs shows a network namespace, and mounting it needs privileges over that namespace. Root of
/// a user namespace has none over the network namespace of the host.
#[must_use]
pub fn host_stand_in(kind: &str) -> Option<&'static str> {
    (kind == "sysfs").then_some("/sys")
}

/// mount(2) takes all options as one string, in which a comma begins the next option. So a comma in
/// a value would add an option. tmpfs accepts commas in `mpol`, and overlayfs has `\,`.
fn refuse_commas(key: &str, options: &[FsOption], problems: &mut Problems) {
    for FsOption { name, value } in options.iter().filter(|option| option.name != "mpol") {
        if value.as_ref().is_some_and(|value| value.replace("\\,", "").contains(',')) {
            let text = format!(
                "option {name} has a comma, which cannot stand beside a value of more than {LONGEST_VALUE} bytes, silent or iversion"
            );
            problems.add(format_args!("{key}/options"), text);
        }
    }
}

fn filesystem(kind: &str, source: &str, options: &Options) -> MountSource {
    let too_long =
        |option: &FsOption| option.value.as_ref().is_some_and(|value| value.len() > LONGEST_VALUE);
    let by_mount = options.mount_only != 0
        || source.len() > LONGEST_VALUE
        || options.filesystem.iter().any(too_long);
    let mut filesystem = options.filesystem.clone();
    // A tmpfs is made read-only as a mount and not as a filesystem, so that files can be made in it
    // first.
    if options.attributes.set & attr::RDONLY != 0 && kind != "tmpfs" {
        filesystem.push(FsOption::flag("ro"));
    }
    MountSource::Filesystem {
        kind: kind.to_owned(),
        source: source.to_owned(),
        by_mount: by_mount.then(|| options.mount_only | ms_flags(options) & !ms::RDONLY),
        options: filesystem,
        ordinary_directory: matches!(kind, "proc" | "sysfs" | "mqueue"),
    }
}

/// The flags and the data (`a=b,c`) of mount(2) for a filesystem with these options. A label may
/// contain commas, so it is quoted.
#[must_use]
pub fn mount_data(options: &[FsOption]) -> (u64, String) {
    let flags = options.iter().fold(0, |flags, option| flags | fs_flag(&option.name));
    let words: Vec<String> = options
        .iter()
        .filter(|option| fs_flag(&option.name) == 0 && !is_negation(&option.name))
        .map(|FsOption { name, value }| match value {
            None => name.clone(),
            Some(label) if name == "context" && !label.starts_with('"') => {
                format!("{name}=\"{label}\"")
            }
            Some(value) => format!("{name}={value}"),
        })
        .collect();
    (flags, words.join(","))
}

fn ms_flags(options: &Options) -> u64 {
    const PAIRS: [(u64, u64); 6] = [
        (attr::RDONLY, ms::RDONLY),
        (attr::NOSUID, ms::NOSUID),
        (attr::NODEV, ms::NODEV),
        (attr::NOEXEC, ms::NOEXEC),
        (attr::NODIRATIME, ms::NODIRATIME),
        (attr::NOSYMFOLLOW, ms::NOSYMFOLLOW),
    ];
    let set = options.attributes.set;
    let mut flags = PAIRS
        .iter()
        .filter(|(attribute, _)| set & attribute != 0)
        .fold(0, |flags, (_, ms)| flags | ms);
    flags |= match set & attr::ATIME {
        attr::NOATIME => ms::NOATIME,
        attr::STRICTATIME => ms::STRICTATIME,
        _ => 0,
    };
    if options.bind.is_some() {
        flags |= ms::BIND;
    }
    options
        .filesystem
        .iter()
        .fold(flags | options.mount_only, |flags, option| flags | fs_flag(&option.name))
}

/// The part of a normalized destination after the path of the rootfs, if it begins with that.
fn without_rootfs(destination: String, rootfs: Option<&Path>) -> String {
    let rootfs =
        clean(&rootfs.map_or_else(String::new, |path| path.to_string_lossy().into_owned()));
    match destination.strip_prefix(&rootfs).filter(|_| !rootfs.is_empty()) {
        Some("") => String::new(),
        Some(inside) if inside.starts_with('/') => inside[1..].to_owned(),
        _ => destination,
    }
}

/// The path without a leading slash, empty components, `.` and `..`. This is lexical; the kernel
/// resolves it again.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests;
