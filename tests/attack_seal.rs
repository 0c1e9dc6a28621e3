//! What a container has of the runtime's program, by `/proc/PID/exe` of a process that runs it:
//! nothing of the host's file, and nothing of the filesystem that it is on, wherever it is
//! installed.
//!
//! Each test says how it was seen to fail.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};

use crate::support::{Bundle, Container, runtime, userland};

/// A mount of the test's; gone when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

impl Mounted {
    /// Another mount of the directory `place`, which `flags` change.
    fn bind(place: &Path, flags: MsFlags) -> Self {
        mount(Some(place), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let mounted = Mounted(place.to_owned());
        mounted.change(flags);
        mounted
    }

    fn change(&self, flags: MsFlags) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>).unwrap();
    }

    /// A new filesystem at `place`.
    fn new(place: &Path, kind: &str, flags: MsFlags, data: Option<&str>) -> Self {
        mount(Some("none"), place, Some(kind), flags, data).unwrap();
        Mounted(place.to_owned())
    }
}

/// A copy of the runtime in `directory`.
fn install(directory: &Path) -> PathBuf {
    let file = directory.join("runtime");
    userland::copy_program(&runtime::program_file(), &file);
    file
}

fn program_of(c: &Container) -> String {
    format!("/proc/{}/exe", c.pid())
}

fn type_of(path: &str) -> FsType {
    statfs(path).unwrap().filesystem_type()
}

/// `/usr` of an image-based system is read-only, until it is updated. Seen to fail while every
/// read-only mount was taken for the runtime's own.
#[test]
fn a_program_on_a_read_only_mount_is_not_taken_for_a_sealed_one() {
    let bundle = Bundle::busybox();
    let usr = bundle.scratch_dir("usr");
    let file = install(&usr);
    let before = fs::read(&file).unwrap();
    let mounted = Mounted::bind(&usr, MsFlags::MS_RDONLY);
    let c = bundle.program(file.clone()).create();
    let handle = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_PATH.bits())
        .open(program_of(&c))
        .unwrap();
    c.delete();
    mounted.change(MsFlags::empty());
    if let Ok(mut opened) =
        fs::OpenOptions::new().append(true).open(format!("/proc/self/fd/{}", handle.as_raw_fd()))
    {
        let _ = opened.write_all(b"gotcha");
    }
    assert!(fs::read(&file).unwrap() == before, "the program has changed");
    drop(mounted); // before the directory is removed
}

/// A file handle is good for the filesystem that it is of (open_by_handle_at(2)), so the runtime's
/// program is on none of the host's. Where its path must be escaped the seal is made later, by
/// other code; where its path is too long for an overlay, by a copy. Seen to fail while the seal
/// was a mount of the host's filesystem.
#[test]
fn the_program_is_on_no_filesystem_of_the_host() {
    differs!();
    let long = format!("{}/{}", "l".repeat(200), "m".repeat(200));
    for (name, kind) in [
        ("plain", OVERLAYFS_SUPER_MAGIC),
        ("colon:back\\slash", OVERLAYFS_SUPER_MAGIC),
        (&long, TMPFS_MAGIC),
    ] {
        let bundle = Bundle::busybox();
        let file = install(&bundle.scratch_dir(name));
        let host = fs::metadata(&file).unwrap();
        let c = bundle.program(file).create();
        let sealed = fs::metadata(program_of(&c)).unwrap();
        assert_ne!(sealed.dev(), host.dev(), "{name}");
        assert_eq!(sealed.len(), host.len(), "{name}");
        assert_eq!(type_of(&program_of(&c)), kind, "{name}");
    }
}

/// A read-only overlay of the host's looks like the runtime's own, and is not. Seen to fail while
/// every read-only mount was taken for the runtime's; for one that is unbindable, while an
/// open_tree(2) that fails was proof enough.
#[test]
fn an_overlay_of_the_host_is_not_taken_for_a_seal() {
    differs!();
    overlay_of_the_host(None);
    overlay_of_the_host(Some(MsFlags::MS_UNBINDABLE));
}

fn overlay_of_the_host(propagation: Option<MsFlags>) {
    let bundle = Bundle::busybox();
    let (lower, empty, usr) =
        (bundle.scratch_dir("lower"), bundle.scratch_dir("empty"), bundle.scratch_dir("usr"));
    install(&lower);
    let layers = format!("lowerdir={}:{}", lower.display(), empty.display());
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = Mounted::new(&usr, "overlay", flags, Some(&layers));
    if let Some(propagation) = propagation {
        mount(None::<&str>, &usr, None::<&str>, propagation, None::<&str>).unwrap();
    }
    let file = usr.join("runtime");
    let host = fs::metadata(&file).unwrap();
    let c = bundle.program(file).create();
    assert_ne!(fs::metadata(program_of(&c)).unwrap().dev(), host.dev());
    assert_eq!(fs::metadata(program_of(&c)).unwrap().len(), host.len());
    c.delete_by_force();
    drop(mounted);
}

/// By CAP_SYS_ADMIN a filesystem is made read-only by way of any mount of it (fspick(2)). Seen to
/// fail while the seal was a mount of the host's filesystem.
#[test]
fn the_filesystem_of_the_program_is_not_changed_by_way_of_it() {
    for name in ["plain", "colon:"] {
        let bundle = Bundle::busybox();
        let place = bundle.scratch_dir("tmpfs");
        let mounted = Mounted::new(&place, "tmpfs", MsFlags::empty(), None);
        let directory = place.join(name);
        fs::create_dir(&directory).unwrap();
        let c = bundle.program(install(&directory)).create();
        let handle = fs::File::open(program_of(&c)).unwrap();
        if let Ok(context) = fspick(&handle, "", FsPickFlags::FSPICK_EMPTY_PATH) {
            let _ = fsconfig_set_flag(&context, "ro");
            let _ = fsconfig_reconfigure(&context);
        }
        fs::write(directory.join("new"), "").unwrap();
        c.delete_by_force();
        drop(mounted);
    }
}
