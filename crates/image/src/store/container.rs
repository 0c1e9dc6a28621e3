//! A container on the store's layers: a bundle whose root is an overlay that only we and the
//! runtime can see.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::Digest;
use rustix::fs::{CWD, FlockOperation};
use rustix::io::FdFlags;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};

use super::overlay::Overlay;
use super::{Store, lock};
use crate::bundle::remove_tree;
use crate::rootfs::{Tree, clear_acls};

/// A container's directory. Dropped, it is removed, with all that the container has written.
#[derive(Debug)]
pub struct Container {
    path: PathBuf,
    lock: File,
    mounted: bool,
    swept: bool,
}

/// The file in a container's directory that names its layers, and is locked as long as its `run`
/// lives.
pub(super) const LAYERS: &str = "layers";

/// How the names of directories begin that were containers'.
const GONE: &str = ".gone-";

impl Store {
    /// Takes the name `id` and makes a directory for it that keeps gc from the layers.
    ///
    /// # Errors
    /// The name is no name for a directory, or taken.
    pub fn reserve(&self, id: &str, layers: &[Digest]) -> Result<Container> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
        if id.is_empty() || id == "." || id == ".." || !id.chars().all(allowed) {
            bail!("{id:?} is no name for a container: letters, digits, '_', '+', '-' and '.' are");
        }
        let path = self.root.join("containers").join(id);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("a container {id:?} exists (if it is not running, store gc removes it)")
            }
            Err(error) => return Err(error).with_context(|| format!("making {}", path.display())),
        }
        let made = || -> Result<File> {
            let directory = File::open(&path).with_context(|| path.display().to_string())?;
            clear_acls(directory.as_fd()).with_context(|| path.display().to_string())?;
            let file = path.join(LAYERS);
            let mut lock = lock(&file, FlockOperation::LockExclusive)?;
            let list: Vec<&str> = layers.iter().map(AsRef::as_ref).collect();
            lock.write_all(list.join("\n").as_bytes())
                .with_context(|| format!("writing {}", file.display()))?;
            Ok(lock)
        };
        match made() {
            Ok(lock) => Ok(Container { path, lock, mounted: false, swept: false }),
            Err(error) => {
                let _ = remove_tree(&path);
                Err(error)
            }
        }
    }
}

impl Container {
    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.path
    }

    /// Mounts the overlay of `lower` and a directory of the container's own; gives the root's tree.
    /// The mount is in our mount namespace, which must not be the host's, so it goes when we and
    /// the runtime are gone, whatever ends us.
    ///
    /// # Errors
    /// The failed call's.
    pub fn mount(&mut self, lower: &[PathBuf], rootless: bool) -> Result<Tree> {
        // Mounts of the host come in, ours do not get out.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
            .context("mount(\"/\", MS_SLAVE | MS_REC)")?;
        let (upper, work, rootfs) =
            (self.path.join("upper"), self.path.join("work"), self.path.join("rootfs"));
        let overlay = Overlay { lower, upper: &upper, work: &work, volatile: true, rootless };
        let mount = overlay.mount()?;
        DirBuilder::new()
            .mode(0o700)
            .create(&rootfs)
            .with_context(|| format!("making {}", rootfs.display()))?;
        move_mount(&mount, "", CWD, &rootfs, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .with_context(|| format!("move_mount(…, {})", rootfs.display()))?;
        self.mounted = true;
        Ok(Tree::from_fd(mount))
    }

    /// Lets programs that we start hold the lock too: should we be killed, the container is still
    /// in use.
    ///
    /// # Errors
    /// fcntl(2)'s.
    pub fn share_lock(&self) -> Result<()> {
        rustix::io::fcntl_setfd(&self.lock, FdFlags::empty()).context("fcntl(F_SETFD)")
    }
}

impl Container {
    /// Takes the container's name from its directory, and leaves the directory to a process that
    /// nobody waits for: what it takes to remove depends on what the container has written, and on
    /// how fast the disk forgets it.
    pub fn sweep_later(mut self, store: &Store) {
        let Some(id) = self.path.file_name().and_then(|id| id.to_str()) else { return };
        let name = format!("{GONE}{id}.{}", std::process::id());
        let gone = store.root.join(&name);
        if std::fs::rename(&self.path, &gone).is_err() {
            return;
        }
        // Should there be no such process, it is removed now.
        self.path = gone;
        let mut sweeper = Command::new("/proc/self/exe");
        sweeper.arg("store").arg("--store").arg(&store.root).arg("sweep").arg(&name);
        sweeper
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0);
        self.swept = sweeper.spawn().is_ok();
        // So is the mount: unmounting waits for all CPUs, and its namespace lives as long as the
        // sweeper.
        self.mounted &= !self.swept;
    }

    /// Leaves all to gc: the runtime was killed, and the container lives without it.
    pub fn abandon(mut self) {
        (self.mounted, self.swept) = (false, true);
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            let _ = unmount(self.path.join("rootfs"), UnmountFlags::DETACH);
        }
    }
}

impl Store {
    /// Removes what [`Container::sweep_later`] has left. Should it be killed, gc does.
    ///
    /// # Errors
    /// It is not such a thing, or cannot be removed.
    pub fn sweep(&self, name: &str) -> Result<()> {
        ensure!(name.starts_with(GONE) && !name.contains('/'), "{name:?} is nothing to be swept");
        // gc waits for us, and we for it.
        let _guard = self.adding()?;
        let path = self.root.join(name);
        // It is still mounted where we are.
        let _ = unmount(path.join("rootfs"), UnmountFlags::DETACH);
        remove_tree(&path)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.unmount();
        if !self.swept {
            // What cannot be removed now, gc finds.
            let _ = remove_tree(&self.path);
        }
    }
}
