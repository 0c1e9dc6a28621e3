//! The mounts of a container's rootfs, as snapshotters describe them.
//! process: worker, delete

mod fuse;
mod idmap;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags};
use orlop::plan::mount_options::attr;
use orlop::sys::Call;
use orlop::sys::loop_device::LoopDevice;
use orlop::sys::mount::{self as mounting, Depth};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::messages::Mount;
use crate::status::Failed;

use idmap::Mappings;

/// The longest data of mount(2): a page without its NUL.
const PAGE: usize = 4095;

/// The flag of an option, and whether the option sets or clears it.
fn flag(option: &str) -> Option<(MsFlags, bool)> {
    Some(match option {
        "ro" => (MsFlags::MS_RDONLY, true),
        "rw" => (MsFlags::MS_RDONLY, false),
        "nosuid" => (MsFlags::MS_NOSUID, true),
        "suid" => (MsFlags::MS_NOSUID, false),
        "nodev" => (MsFlags::MS_NODEV, true),
        "dev" => (MsFlags::MS_NODEV, false),
        "noexec" => (MsFlags::MS_NOEXEC, true),
        "exec" => (MsFlags::MS_NOEXEC, false),
        "sync" => (MsFlags::MS_SYNCHRONOUS, true),
        "async" => (MsFlags::MS_SYNCHRONOUS, false),
        "dirsync" => (MsFlags::MS_DIRSYNC, true),
        "mand" => (MsFlags::MS_MANDLOCK, true),
        "nomand" => (MsFlags::MS_MANDLOCK, false),
        "noatime" => (MsFlags::MS_NOATIME, true),
        "atime" => (MsFlags::MS_NOATIME, false),
        "nodiratime" => (MsFlags::MS_NODIRATIME, true),
        "diratime" => (MsFlags::MS_NODIRATIME, false),
        "relatime" => (MsFlags::MS_RELATIME, true),
        "norelatime" => (MsFlags::MS_RELATIME, false),
        "strictatime" => (MsFlags::MS_STRICTATIME, true),
        "nostrictatime" => (MsFlags::MS_STRICTATIME, false),
        "remount" => (MsFlags::MS_REMOUNT, true),
        "bind" => (MsFlags::MS_BIND, true),
        "rbind" => (MsFlags::MS_BIND.union(MsFlags::MS_REC), true),
        "private" => (MsFlags::MS_PRIVATE, true),
        "rprivate" => (MsFlags::MS_PRIVATE.union(MsFlags::MS_REC), true),
        "shared" => (MsFlags::MS_SHARED, true),
        "rshared" => (MsFlags::MS_SHARED.union(MsFlags::MS_REC), true),
        "slave" => (MsFlags::MS_SLAVE, true),
        "rslave" => (MsFlags::MS_SLAVE.union(MsFlags::MS_REC), true),
        "unbindable" => (MsFlags::MS_UNBINDABLE, true),
        "runbindable" => (MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC), true),
        "defaults" => (MsFlags::empty(), true),
        _ => return None,
    })
}

const PROPAGATION: MsFlags = MsFlags::MS_SHARED
    .union(MsFlags::MS_PRIVATE)
    .union(MsFlags::MS_SLAVE)
    .union(MsFlags::MS_UNBINDABLE);

/// A mount as its options describe it.
#[derive(Debug)]
struct Decided {
    flags: MsFlags,
    propagation: MsFlags,
    /// The options for the filesystem.
    data: Vec<String>,
    /// Whether the source is a file that a loop device must hold.
    on_loop: bool,
    /// The mappings of ids, for an id-mapped mount.
    ids: Option<Mappings>,
}

/// Decides what the options of a mount mean.
fn decide(mount: &Mount) -> Result<Decided, Failed> {
    let mut decided = Decided {
        flags: MsFlags::empty(),
        propagation: MsFlags::empty(),
        data: Vec::new(),
        on_loop: false,
        ids: None,
    };
    let (mut uid, mut gid) = (None, None);
    for option in &mount.options {
        if let Some(mappings) = option.strip_prefix("uidmap=") {
            uid = Some(idmap::parse(mappings)?);
        } else if let Some(mappings) = option.strip_prefix("gidmap=") {
            gid = Some(idmap::parse(mappings)?);
        } else if option == "loop" {
            decided.on_loop = true;
        } else {
            match flag(option) {
                Some((bits, true)) if bits.intersects(PROPAGATION) => decided.propagation = bits,
                Some((bits, true)) => decided.flags |= bits,
                Some((bits, false)) => decided.flags &= !bits,
                None => decided.data.push(option.clone()),
            }
        }
    }
    decided.ids = match (uid, gid) {
        (Some(uid), Some(gid)) => Some(Mappings { uid, gid }),
        (None, None) => None,
        _ => return Err(Failed::invalid("a mount with uidmap= needs gidmap=, and the reverse")),
    };
    Ok(decided)
}

/// Makes all mounts, in order, at `rootfs` or below it.
///
/// # Errors
/// Those of the calls, or invalid options. The mounts made so far stay; the caller must unmount
/// them.
pub fn mount(mounts: &[Mount], rootfs: &Path) -> Result<(), Failed> {
    if mounts.is_empty() {
        return Ok(());
    }
    match rustix::fs::mkdir(rootfs, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Failed::unknown(format!("mkdir({rootfs:?}): {errno}"))),
    }
    mounts.iter().try_for_each(|mount| mount_one(mount, rootfs))
}

fn mount_one(mount: &Mount, rootfs: &Path) -> Result<(), Failed> {
    let mut decided = decide(mount)?;
    match decided.ids.take() {
        None if fuse::helper(&mount.kind).is_some() => {
            let (_place, target) = place(mount, rootfs)?;
            fuse::mount(mount, &target)?;
        }
        None => make(mount, &mut decided, rootfs)?,
        Some(ids) => {
            let recursive = decided.flags.contains(MsFlags::MS_REC);
            let overlay = mount.kind == "overlay";
            let layers = if overlay { lower_layers(&decided.data) } else { Vec::new() };
            let tree = idmap::make(&ids, &layers, recursive, || {
                make(mount, &mut decided, rootfs)?;
                place(mount, rootfs)
            })?;
            let (_place, target) = place(mount, rootfs)?;
            idmap::attach(&tree, &target)?;
        }
    }
    if !decided.propagation.is_empty() {
        let (_place, target) = place(mount, rootfs)?;
        call(mount, &target, decided.propagation, &[None; 3])?;
    }
    Ok(())
}

/// mount(2), with the source, the type and the data.
fn call(
    mount: &Mount,
    target: &Path,
    flags: MsFlags,
    [source, kind, data]: &[Option<&str>; 3],
) -> Result<(), Failed> {
    nix::mount::mount(*source, target, *kind, flags, *data).map_err(|errno| {
        Failed::unknown(format!(
            "failed to mount rootfs component: mount({:?}, {:?}, {:?}): {errno}",
            mount.source, mount.kind, mount.options
        ))
    })
}

fn make(mount: &Mount, decided: &mut Decided, rootfs: &Path) -> Result<(), Failed> {
    let (_place, target) = place(mount, rootfs)?;
    if mount.kind == "overlay" && decided.data.join(",").len() > PAGE {
        shorten(&mut decided.data)?;
    }
    let (flags, data) = (decided.flags, decided.data.join(","));
    let on_loop = decided.on_loop.then(|| attach_loop(mount, flags)).transpose()?;
    let source = on_loop.as_ref().and_then(|device| device.path.to_str()).unwrap_or(&mount.source);
    let data = (!data.is_empty()).then_some(&*data);
    call(mount, &target, flags, &[Some(source), Some(&mount.kind), data])?;
    if flags.contains(MsFlags::MS_BIND) {
        // The descriptor of the target is still of what lies below the mount.
        let (_place, target) = place(mount, rootfs)?;
        restrict(flags, &target).map_err(|call| {
            Failed::unknown(format!("failed to mount rootfs component: {:?}: {call}", mount.source))
        })?;
    }
    Ok(())
}

/// Sets attributes of a bind mount. Those of its source are kept: a remount would clear them.
fn restrict(flags: MsFlags, target: &Path) -> Result<(), Call> {
    const ATTRIBUTES: [(MsFlags, u64); 4] = [
        (MsFlags::MS_RDONLY, attr::RDONLY),
        (MsFlags::MS_NOSUID, attr::NOSUID),
        (MsFlags::MS_NODEV, attr::NODEV),
        (MsFlags::MS_NOEXEC, attr::NOEXEC),
    ];
    let set = ATTRIBUTES.iter().filter(|(flag, _)| flags.contains(*flag));
    let set = set.fold(0, |set, (_, bit)| set | bit);
    if set == 0 {
        return Ok(());
    }
    let bound = mounting::open_attached(CWD, target)?;
    mounting::set_attributes(bound.as_fd(), set, 0, Depth::This)
}

fn attach_loop(mount: &Mount, flags: MsFlags) -> Result<LoopDevice, Failed> {
    let read_only = flags.contains(MsFlags::MS_RDONLY);
    LoopDevice::attach(Path::new(&mount.source), read_only).map_err(|call| {
        Failed::unknown(format!("failed to mount rootfs component: a loop device: {call}"))
    })
}

/// The target of a mount: the rootfs, or a path below it that symbolic links cannot lead out of.
/// The descriptor must stay open while the path is used.
fn place(mount: &Mount, rootfs: &Path) -> Result<(Option<OwnedFd>, PathBuf), Failed> {
    if matches!(&*mount.target, "" | "/") {
        return Ok((None, rootfs.to_owned()));
    }
    let failed =
        |errno| Failed::unknown(format!("opening {:?} in {rootfs:?}: {errno}", mount.target));
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, rootfs, flags | OFlags::DIRECTORY, Mode::empty())
        .map_err(failed)?;
    let place =
        rustix::fs::openat2(&root, &*mount.target, flags, Mode::empty(), ResolveFlags::IN_ROOT)
            .map_err(failed)?;
    let path = format!("/proc/self/fd/{}", place.as_raw_fd()).into();
    Ok((Some(place), path))
}

/// The lower layers of an overlay.
fn lower_layers(data: &[String]) -> Vec<String> {
    let lists = data.iter().filter_map(|option| option.strip_prefix("lowerdir="));
    let layers = lists.flat_map(|list| list.split(':')).filter(|layer| !layer.is_empty());
    layers.map(str::to_owned).collect()
}

/// Makes the paths of an overlay's layers relative to their common directory, and changes to it. A
/// worker may change its directory.
fn shorten(data: &mut [String]) -> Result<(), Failed> {
    let too_long = || {
        Failed::invalid(
            "the options of the overlay are longer than a page, and cannot be made shorter",
        )
    };
    let lower =
        data.iter_mut().find(|option| option.starts_with("lowerdir=")).ok_or_else(too_long)?;
    let layers: Vec<&str> = lower.trim_start_matches("lowerdir=").split(':').collect();
    let mut common =
        layers.first().and_then(|first| Path::new(first).parent()).ok_or_else(too_long)?;
    while !layers.iter().all(|layer| Path::new(layer).starts_with(common)) {
        common = common.parent().ok_or_else(too_long)?;
    }
    let relative: Option<Vec<&str>> =
        layers.iter().map(|layer| Path::new(layer).strip_prefix(common).ok()?.to_str()).collect();
    let relative = relative.ok_or_else(too_long)?.join(":");
    rustix::process::chdir(common)
        .map_err(|errno| Failed::unknown(format!("chdir({common:?}): {errno}")))?;
    *lower = format!("lowerdir={relative}");
    if data.join(",").len() > PAGE { Err(too_long()) } else { Ok(()) }
}

/// Removes all mounts at `rootfs`, if there are any.
pub fn unmount(rootfs: &Path) {
    while nix::mount::umount2(rootfs, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
}

#[cfg(test)]
mod tests {
    use nix::mount::MsFlags;

    use super::{decide, shorten};
    use crate::messages::Mount;

    fn with(options: &[&str]) -> Mount {
        Mount {
            kind: "overlay".into(),
            options: options.iter().map(|&option| option.into()).collect(),
            ..Mount::default()
        }
    }

    #[test]
    fn options_are_bits_or_data() {
        let options =
            ["ro", "lowerdir=/a", "rslave", "nodev", "rw", "uidmap=0:1:2", "gidmap=0:3:4"];
        let decided = decide(&with(&options)).unwrap();
        assert_eq!(
            (decided.flags, decided.data),
            (MsFlags::MS_NODEV, vec!["lowerdir=/a".to_owned()])
        );
        assert_eq!(decided.propagation, MsFlags::MS_SLAVE | MsFlags::MS_REC);
        let ids = decided.ids.unwrap();
        assert_eq!((ids.uid[0].host_id, ids.gid[0].size), (1, 4));
        assert!(decide(&with(&["loop"])).unwrap().on_loop);
        for wrong in ["uidmap=0:1:2", "uidmap=0:1", "gidmap=x:1:2"] {
            assert!(decide(&with(&[wrong])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn many_layers_become_relative() {
        let here = std::env::current_dir().unwrap();
        let layers: Vec<String> =
            (0..200).map(|layer| format!("/usr/share/doc/{layer}/fs")).collect();
        let mut data = vec!["workdir=/w".to_owned(), format!("lowerdir={}", layers.join(":"))];
        let long = data[1].len();
        shorten(&mut data).unwrap();
        assert!(data[1].starts_with("lowerdir=0/fs:1/fs:"), "{}", data[1]);
        assert!(data[1].len() < long);
        std::env::set_current_dir(here).unwrap();
    }
}
