//! The mounts of a container's rootfs, as snapshotters describe them.
//! process: worker, delete

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::messages::Mount;
use crate::status::{Failed, UNIMPLEMENTED};

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

/// The flags of a mount, those of its propagation, and the options for the filesystem.
fn decide(mount: &Mount) -> Result<(MsFlags, MsFlags, Vec<String>), Failed> {
    let mut flags = MsFlags::empty();
    let mut propagation = MsFlags::empty();
    let mut data = Vec::new();
    for option in &mount.options {
        let beyond =
            option == "loop" || option.starts_with("uidmap=") || option.starts_with("gidmap=");
        if beyond || mount.kind.starts_with("fuse") {
            let text = format!(
                "a rootfs of type {:?} with the option {option:?} is not supported by this shim",
                mount.kind
            );
            return Err(Failed::new(UNIMPLEMENTED, text));
        }
        match flag(option) {
            Some((bits, true)) if bits.intersects(PROPAGATION) => propagation = bits,
            Some((bits, true)) => flags |= bits,
            Some((bits, false)) => flags &= !bits,
            None => data.push(option.clone()),
        }
    }
    Ok((flags, propagation, data))
}

/// Makes all mounts, in order, at `rootfs` or below it.
///
/// # Errors
/// Those of the calls, or a mount that this shim does not support. The mounts made so far stay; the
/// caller must unmount them.
pub fn mount(mounts: &[Mount], rootfs: &Path) -> Result<(), Failed> {
    if mounts.is_empty() {
        return Ok(());
    }
    match rustix::fs::mkdir(rootfs, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(Failed::unknown(format!("mkdir({rootfs:?}): {errno}"))),
    }
    mounts.iter().try_for_each(|mount| mount_one(mount, rootfs))
}

fn mount_one(mount: &Mount, rootfs: &Path) -> Result<(), Failed> {
    let (flags, propagation, mut data) = decide(mount)?;
    let (_place, target) = place(mount, rootfs)?;
    if mount.kind == "overlay" && data.join(",").len() > PAGE {
        shorten(&mut data)?;
    }
    let text = data.join(",");
    let failed = |errno: nix::errno::Errno| {
        let text = format!(
            "failed to mount rootfs component: mount({:?}, {:?}, {:?}, {:?}): {errno}",
            mount.source, rootfs, mount.kind, mount.options
        );
        Failed::unknown(text)
    };
    let text = (!text.is_empty()).then_some(&*text);
    nix::mount::mount(Some(&*mount.source), &target, Some(&*mount.kind), flags, text)
        .map_err(failed)?;
    let locked = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if flags.contains(MsFlags::MS_BIND) && flags.intersects(locked) {
        let again = flags | MsFlags::MS_REMOUNT;
        nix::mount::mount(None::<&str>, &target, None::<&str>, again, None::<&str>)
            .map_err(failed)?;
    }
    if !propagation.is_empty() {
        nix::mount::mount(None::<&str>, &target, None::<&str>, propagation, None::<&str>)
            .map_err(failed)?;
    }
    Ok(())
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
        let (flags, propagation, data) =
            decide(&with(&["ro", "lowerdir=/a", "rslave", "nodev", "rw"])).unwrap();
        assert_eq!((flags, data), (MsFlags::MS_NODEV, vec!["lowerdir=/a".to_owned()]));
        assert_eq!(propagation, MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert!(decide(&with(&["loop"])).unwrap_err().text.contains("\"loop\""));
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
