//! The container of `run`: a bundle whose root filesystem is an overlay of layers of the store.

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

/// The directory of a container. When it is dropped, the directory is removed.
#[derive(Debug)]
pub struct StoredContainer {
    path: PathBuf,
    lock: File,
    mounted: bool,
    swept: bool,
}

/// The file in the directory of a container that lists its layers. It is locked while `run` runs.
pub(super) const LAYERS: &str = "layers";

/// The prefix of former directories of containers.
const GONE: &str = ".gone-";

impl Store {
    /// Creates the directory of the container `id`. As long as it exists, gc keeps the layers.
    ///
    /// # Errors
    /// The name is not allowed, or exists.
    pub fn reserve(&self, id: &str, layers: &[Digest]) -> Result<StoredContainer> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
        if id.is_empty() || id == "." || id == ".." || !id.chars().all(allowed) {
            bail!(
                "{id:?} cannot be the name of a container: use letters, digits, '_', '+', '-' \
                 and '.'"
            );
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
            Ok(lock) => Ok(StoredContainer { path, lock, mounted: false, swept: false }),
            Err(error) => {
                let _ = remove_tree(&path);
                Err(error)
            }
        }
    }
}

impl StoredContainer {
    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.path
    }

    /// Mounts the overlay of `lower` and of a directory of the container. The mount is in our mount
    /// namespace, which must not be the host's. So the kernel removes it when we and the runtime
    /// have ended, for any reason.
    ///
    /// # Errors
    /// Errors of the calls.
    pub fn mount(&mut self, lower: &[PathBuf], rootless: bool) -> Result<Tree> {
        // Mounts of the host propagate to us. Ours do not propagate to the host.
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

    /// Lets the programs that we start inherit the lock: if we are killed, the container is still
    /// in use.
    ///
    /// # Errors
    /// Errors of fcntl(2).
    pub fn share_lock(&self) -> Result<()> {
        rustix::io::fcntl_setfd(&self.lock, FdFlags::empty()).context("fcntl(F_SETFD)")
    }
}

impl StoredContainer {
    /// Renames the directory and starts a process that removes it. We do not wait for it, since its
    /// time depends on the size of the container's files and on the disk.
    pub fn sweep_later(mut self, store: &Store) {
        let Some(id) = self.path.file_name().and_then(|id| id.to_str()) else { return };
        let name = format!("{GONE}{id}.{}", std::process::id());
        let gone = store.root.join(&name);
        if std::fs::rename(&self.path, &gone).is_err() {
            return;
        }
        // If the process cannot be started, `drop` removes this directory.
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
        // It is not unmounted here either, since that waits for all CPUs. The mount namespace ends
        // with the process.
        self.mounted &= !self.swept;
    }

    /// Keeps the directory for gc: the runtime was killed, and the container still runs.
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
    /// Removes a directory that [`StoredContainer::sweep_later`] has renamed. If this process is
    /// killed, gc removes the directory.
    ///
    /// # Errors
    /// The directory has another name, or cannot be removed.
    pub fn sweep(&self, name: &str) -> Result<()> {
        ensure!(
            name.starts_with(GONE) && !name.contains('/'),
            "{name:?} is not the name of a removed container"
        );
        // gc must not remove it at the same time.
        let _guard = self.lock_shared()?;
        let path = self.root.join(name);
        // The overlay is still mounted in our mount namespace.
        let _ = unmount(path.join("rootfs"), UnmountFlags::DETACH);
        remove_tree(&path)
    }
}

impl Drop for StoredContainer {
    fn drop(&mut self) {
        self.unmount();
        if !self.swept {
            // gc removes it if this fails.
            let _ = remove_tree(&self.path);
        }
    }
}
