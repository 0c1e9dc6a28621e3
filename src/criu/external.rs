//! The parts of a container that are not saved in the images, since they belong to the host: bind
//! mounts, joined namespaces and the standard streams. `checkpoint` gives each a name, and
//! `restore` gives criu a resource of the host for each name.
//! config.json: mounts[].destination, mounts[].source, linux.namespaces, linux.maskedPaths
//! config.json: linux.readonlyPaths
//! config.json: root.readonly
//! process: runtime
//!
//! The name of a mount is its destination, because config.json may list the mounts in another order
//! at `restore`. The position of a mount in the container is read from the kernel and checked with
//! handles, since the container controls its symbolic links.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, StatxAttributes, StatxFlags, makedev};
use rustix::io::Errno;

use super::message::{CriuMessage, option};
use crate::error::{AtKey, Context, Failure, Problem, Result};
use crate::plan::cgroup_mount::{CgroupMountPlan, HierarchyView};
use crate::plan::devices::NodeMethod;
use crate::plan::masked_paths::ListedPath;
use crate::plan::mount_options::{SourceLink, attr};
use crate::plan::mounts::{MountSource, MountStep};
use crate::plan::namespaces::{IPC, Join, MOUNT, NETWORK, NamespaceKind, PID, USER, UTS};
use crate::plan::{NOTIFY, Plan};
use crate::sys::fd::FileId;
use crate::sys::mountinfo;
use crate::sys::proc::Proc;
use crate::sys::root::{RootHandle, file_type};
use crate::sys::{Call, CallText, Named, device, fd};

/// The name of the mount over masked files.
const NULL: &str = "orlop-null";

/// The name of the mount that config.json has on this path of the container.
fn mount_name(path: &str) -> String {
    format!("orlop-mount-/{path}")
}

fn device_name(path: &str) -> String {
    format!("orlop-device-{path}")
}

/// The files that the first process of a container sees.
#[derive(Debug)]
pub struct View {
    root: RootHandle,
    mounts: Vec<ContainerMount>,
    pid: i32,
}

/// A mount of the container.
#[derive(Debug)]
struct ContainerMount {
    id: u64,
    path: String,
    read_only: bool,
}

impl ContainerMount {
    fn of(mount: &mountinfo::MountInfo<'_>) -> Self {
        let path = mount.path().to_string_lossy().into_owned();
        Self { id: mount.id, path, read_only: mount.has("ro") }
    }
}

/// The file at a path in the container.
struct FoundPath<'a> {
    handle: OwnedFd,
    /// The mount that the file is on.
    mount: &'a ContainerMount,
    /// Whether the file is the root of that mount.
    is_mount: bool,
}

impl View {
    /// The files of the container whose first process is `pid`.
    ///
    /// # Errors
    /// Errors of reading /proc.
    pub fn of(pid: i32) -> Result<Self> {
        let root = RootHandle::open(format!("/proc/{pid}/root").as_ref())?;
        let text = Proc::open()?.read_bytes(&format!("{pid}/mountinfo"))?;
        let mounts = mountinfo::mounts(&text).map(|mount| ContainerMount::of(&mount)).collect();
        Ok(Self { root, mounts, pid })
    }

    fn find(&self, path: &str) -> Result<Option<FoundPath<'_>>> {
        let handle = match self.root.resolve(path) {
            Err(call) if call.is(Errno::NOENT) || call.is(Errno::NOTDIR) => return Ok(None),
            result => result?,
        };
        let stat = rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
            .named(|| CallText::with_path(format!("statx({path:?}, STATX_MNT_ID)"), path))?;
        let mount = self.mounts.iter().find(|mount| mount.id == stat.stx_mnt_id);
        let mount = mount.with_context(|| {
            format!("the mount of {path:?} is not in /proc/{}/mountinfo", self.pid)
        })?;
        Ok(Some(FoundPath {
            handle,
            mount,
            is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        }))
    }

    /// Whether the path is a mount point.
    pub(super) fn is_mount(&self, path: &str) -> Result<bool> {
        Ok(self.find(path)?.is_some_and(|found| found.is_mount))
    }

    /// Whether the path is a symbolic link itself.
    pub(super) fn is_link(&self, path: &str) -> Result<bool> {
        match self.root.resolve_link(path) {
            Err(call) if call.is(Errno::NOENT) || call.is(Errno::NOTDIR) => Ok(false),
            result => Ok(file_type(result?.as_fd())? == FileType::Symlink),
        }
    }

    /// The mounts from the host in the container: their mount points and their names.
    ///
    /// # Errors
    /// An error if the files cannot be examined, or if criu would confuse one mount point with
    /// another.
    pub fn mounts(&self, plan: &Plan) -> Result<Vec<(String, String)>> {
        let mut mounts: Vec<(String, String)> = Vec::new();
        let mut add = |path: &str, name: String| -> Result<()> {
            if let Some(found) = self.find(path)?.filter(|found| found.is_mount) {
                let place = &found.mount.path;
                if [place.as_str(), &name].iter().any(|text| text.contains("]:")) {
                    anyhow::bail!(
                        "a container with a mount on {place:?} cannot be checkpointed: it has \"]:\" in its path"
                    );
                }
                // If two mounts have the same mount point, the later one covers the other.
                mounts.retain(|(other, _)| other != place);
                mounts.push((place.clone(), name));
            }
            Ok(())
        };
        for step in &plan.mounts {
            for (path, _) in of_host(plan, step) {
                add(&path, mount_name(&path)).at(format_args!("/mounts/{}", step.index))?;
            }
        }
        if plan.devices.populate && plan.devices.method != NodeMethod::Make {
            for node in &plan.devices.nodes {
                add(&node.path, device_name(&node.path))?;
            }
        }
        for ListedPath { index, path } in &plan.rootfs.masked_paths {
            let found = self.find(path)?;
            if found.is_some_and(|found| is_null(&found.handle).unwrap_or(false)) {
                add(path, NULL.to_owned()).at(format_args!("/linux/maskedPaths/{index}"))?;
            }
        }
        Ok(mounts)
    }

    /// Checks that the paths that the config makes read-only or hides really are read-only or
    /// hidden.
    ///
    /// # Errors
    /// An error if a path is not, or if the files cannot be examined.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        let read_only = |path: &str, key: &str| -> Result<()> {
            match self.find(path).at(key)? {
                Some(found) if !found.mount.read_only => {
                    Err(broken(key, &format!("/{} is not read-only", path.trim_start_matches('/'))))
                }
                _ => Ok(()),
            }
        };
        if plan.rootfs.readonly {
            read_only("", "/root/readonly")?;
        }
        for ListedPath { index, path } in &plan.rootfs.readonly_paths {
            read_only(path, &format!("/linux/readonlyPaths/{index}"))?;
        }
        for step in plan
            .mounts
            .iter()
            .filter(|step| (step.attributes.set | step.recursive.set) & attr::RDONLY != 0)
        {
            let is_host = matches!(step.source, MountSource::Bind { .. });
            if is_host && self.find(&step.destination)?.is_some_and(|found| found.is_mount) {
                read_only(&step.destination, &format!("/mounts/{}", step.index))?;
            }
        }
        for ListedPath { index, path } in &plan.rootfs.masked_paths {
            let key = format!("/linux/maskedPaths/{index}");
            let Some(found) = self.find(path).at(&key)? else { continue };
            let hidden = match file_type(found.handle.as_fd())? {
                FileType::Directory => found.is_mount && found.mount.read_only,
                _ => is_null(&found.handle)?,
            };
            if !hidden {
                return Err(broken(&key, &format!("{path} is not hidden")));
            }
        }
        Ok(())
    }

    /// Checks that bind mounts show the sources in the config, and no other files of the host.
    ///
    /// # Errors
    /// An error if a mount shows another file, or if the files cannot be examined.
    pub fn check_sources(&self, plan: &Plan) -> Result<()> {
        let mut seen = Vec::new();
        // If two mounts have the same mount point, the later one covers the other.
        for step in plan.mounts.iter().rev() {
            let MountSource::Bind { path, .. } = &step.source else { continue };
            let key = format!("/mounts/{}", step.index);
            let Some(found) = self.find(&step.destination).at(&key)?.filter(|found| found.is_mount)
            else {
                continue;
            };
            if seen.contains(&found.mount.id) {
                continue;
            }
            seen.push(found.mount.id);
            let there = rustix::fs::fstat(&found.handle).named(|| "fstat()".to_owned()).at(&key)?;
            let wanted = rustix::fs::stat(path).named_on("stat", path).at(&key)?;
            if FileId::from(there) != FileId::from(wanted) {
                return Err(broken(
                    &key,
                    &format!("/{} shows something else than {path:?}", step.destination),
                ));
            }
        }
        Ok(())
    }

    /// The names of the first process's standard streams, and those names that criu must get as
    /// external files because the files are outside of the container.
    ///
    /// # Errors
    /// Errors of reading /proc.
    pub fn streams(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut names, mut files) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let path = format!("/proc/{}/fd/{number}", self.pid);
            let name = match rustix::fs::readlink(path.as_str(), Vec::new()) {
                Ok(target) => target.to_string_lossy().into_owned(),
                Err(Errno::NOENT) => String::new(),
                Err(errno) => Err(errno).named_on("readlink", &path)?,
            };
            match self.file_of_host(number, &path)? {
                Some(file) => {
                    if !files.contains(&file) {
                        files.push(file.clone());
                    }
                    names.push(file);
                }
                None => names.push(name),
            }
        }
        Ok((names, files))
    }

    /// The name that criu uses for a file that is on no mount of the container. This is only for
    /// devices like `/dev/null`: any device of the same kind can replace one. (A regular file could
    /// only be replaced by one of the same size.)
    fn file_of_host(&self, number: u32, path: &str) -> Result<Option<String>> {
        let stat = match rustix::fs::stat(path) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.named_on("stat", path)?,
        };
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        if !is_device || !(makedev(1, 0)..=makedev(1, 255)).contains(&stat.st_rdev) {
            return Ok(None);
        }
        let info = Proc::open()?.read(&format!("{}/fdinfo/{number}", self.pid))?;
        let mount =
            info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse::<u64>().ok());
        let Some(mount) = mount.filter(|id| self.mounts.iter().all(|mount| mount.id != *id)) else {
            return Ok(None);
        };
        Ok(Some(format!("file[{mount:x}:{:x}]", stat.st_ino)))
    }
}

/// The bind mounts from the host that a step makes: mount points in the container and paths on the
/// host.
fn of_host(plan: &Plan, step: &MountStep) -> Vec<(String, PathBuf)> {
    match (&step.source, &plan.cgroup_mount) {
        (MountSource::Bind { path, .. }, _) => vec![(step.destination.clone(), path.clone())],
        (MountSource::Cgroup { .. }, CgroupMountPlan::Legacy { hierarchies, .. }) => {
            let bound = hierarchies.iter().filter_map(|hierarchy| match &hierarchy.view {
                HierarchyView::Bound(path) => Some((&hierarchy.name, path)),
                HierarchyView::Namespaced(_) => None,
            });
            let there = |name: &String| format!("{}/{name}", step.destination);
            bound.map(|(name, path)| (there(name), path.clone())).collect()
        }
        _ => Vec::new(),
    }
}

/// Adds the names, with the resources of this host, for `restore`. Names that the images do not
/// contain are ignored.
pub fn mounts_of_host(plan: &Plan, notify: &Path, options: &mut CriuMessage) {
    let add = |options: &mut CriuMessage, name: &str, source: &str| {
        options.pair(option::EXTERNAL_MOUNT, name, source)
    };
    // The notify socket is not in config.json.
    let notify = (NOTIFY.trim_start_matches('/').to_owned(), notify.to_owned());
    let mounts = plan.mounts.iter().flat_map(|step| of_host(plan, step));
    // If two mounts have the same path, the later one covers the other.
    let sources: BTreeMap<String, PathBuf> = std::iter::once(notify).chain(mounts).collect();
    for (path, source) in sources {
        // criu compares the path with mount points, so it must not contain `.`, `..` or links.
        let source = source.canonicalize().unwrap_or(source);
        add(options, &mount_name(&path), &source.to_string_lossy());
    }
    add(options, NULL, "/dev/null");
    if plan.devices.method != NodeMethod::Make {
        for node in &plan.devices.nodes {
            let path = format!("/{}", node.path);
            let id = device::Id::new(node.kind.letter(), node.major, node.minor);
            add(options, &device_name(&node.path), &device::find(&path, id).unwrap_or(path));
        }
    }
}

fn is_null(handle: &OwnedFd) -> Result<bool, Call> {
    let stat = rustix::fs::fstat(handle).named(|| "fstat()".to_owned())?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(1, 3))
}

fn broken(key: &str, text: &str) -> anyhow::Error {
    Failure::BadConfig(Problem::new(key.to_owned(), format!("in the container, {text}"))).into()
}

/// Refuses containers with namespaces that cannot be saved or restored, or without the namespaces
/// that are needed.
///
/// # Errors
/// [`Failure::BadConfig`].
pub fn refuse_namespaces(plan: &Plan) -> Result<()> {
    if !plan.namespaces.creates(&MOUNT) {
        let text = "a checkpoint needs a mount namespace that the container makes".to_owned();
        return Err(Failure::BadConfig(Problem::new("/linux/namespaces".to_owned(), text)).into());
    }
    let known = [&NETWORK, &PID, &IPC, &UTS, &USER];
    match plan.namespaces.join.iter().find(|join| !known.contains(&join.kind)) {
        None => Ok(()),
        Some(Join { kind, index, .. }) => {
            let text = format!("criu cannot join a {} namespace", kind.name);
            Err(Failure::BadConfig(Problem::new(format!("/linux/namespaces/{index}"), text)).into())
        }
    }
}

/// Refuses mounts of symbolic links, and mounts on them: criu identifies mounts by paths and
/// follows links.
///
/// # Errors
/// [`Failure::BadConfig`].
pub fn refuse_links(plan: &Plan) -> Result<()> {
    let of_a_link = |step: &&MountStep| {
        step.keep_destination
            || matches!(step.source, MountSource::Bind { link: SourceLink::Mount, .. })
    };
    match plan.mounts.iter().find(of_a_link) {
        None => Ok(()),
        Some(step) => {
            let text = "criu cannot save mounts with src-nofollow or dest-nofollow".to_owned();
            let key = format!("/mounts/{}/options", step.index);
            Err(Failure::BadConfig(Problem::new(key, text)).into())
        }
    }
}

/// The name of a namespace that criu does not save. runc uses the same names.
fn namespace_name(kind: &NamespaceKind) -> &'static str {
    if *kind == NETWORK { "extRootNetNS" } else { "extRootPidNS" }
}

/// Adds the namespaces that the container has joined and that are not saved.
///
/// # Errors
/// Errors of stat(2).
pub fn name_namespaces(plan: &Plan, pid: i32, options: &mut CriuMessage) -> Result<()> {
    for join in plan.namespaces.join.iter().filter(|join| [&NETWORK, &PID].contains(&join.kind)) {
        let path = format!("/proc/{pid}/ns/{}", join.kind.file);
        let stat = rustix::fs::stat(path.as_str()).named_on("stat", path)?;
        options.text(
            option::EXTERNAL,
            &format!("{}[{}]:{}", join.kind.file, stat.st_ino, namespace_name(join.kind)),
        );
    }
    Ok(())
}

/// Adds the namespaces to join. criu must inherit the returned descriptors.
///
/// # Errors
/// An error if a path cannot be opened.
pub fn join_namespaces(plan: &Plan, options: &mut CriuMessage) -> Result<Vec<OwnedFd>> {
    let mut files = Vec::new();
    for join in &plan.namespaces.join {
        let file = fd::open(&join.path, OFlags::RDONLY)
            .with_context(|| {
                format!("joining the {} namespace {}", join.kind.name, join.path.display())
            })
            .at(format_args!("/linux/namespaces/{}/path", join.index))?;
        if [&NETWORK, &PID].contains(&join.kind) {
            inherit(options, namespace_name(join.kind), file.as_raw_fd());
            files.push(file);
        } else {
            options.pair(option::JOIN_NS, join.kind.file, &join.path.to_string_lossy());
        }
    }
    Ok(files)
}

/// Gives our standard streams to the restored process, in place of its external streams.
pub fn inherit_streams(names: &[String], options: &mut CriuMessage) {
    for (name, number) in names.iter().zip(0..3) {
        let is_first = names.iter().position(|other| other == name) == usize::try_from(number).ok();
        if is_first && (name.starts_with("pipe:") || name.starts_with("file[")) {
            inherit(options, name, number);
        }
    }
}

fn inherit(options: &mut CriuMessage, name: &str, number: i32) {
    let mut inherited = CriuMessage::default();
    inherited.text(1, name);
    inherited.number(2, u64::from(number.unsigned_abs()));
    options.message(option::INHERIT_FD, &inherited);
}
