//! The store of `run`: unpacked layers, each with its ChainID as its name, and the containers that
//! use them.
//!
//! ```text
//! STORE/lock                   flock(2): shared while something is added, exclusive for gc
//! STORE/layout/                fetched images, an OCI layout
//! STORE/images/KEY.json        the image that a reference has led to
//! STORE/layers/CHAIN/fs        the files of a layer, a lower directory of overlayfs
//! STORE/layers/CHAIN/size      the size of its tar archive in bytes
//! STORE/containers/ID/         a bundle
//! STORE/containers/ID/layers   its layers; locked while `run` of the container runs
//! STORE/.gone-ID.PID/          a container that has ended and is being removed
//! STORE/specs/KEY.json         the output of the runtime's `spec`
//! ```

pub mod container;
pub mod gc;
mod layers;
mod overlay;
pub mod record;

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use oci_spec::image::Digest;
use orlop_paths::trust::{Distrust, check_directory, check_file};
use rustix::fs::{FlockOperation, IFlags, flock, ioctl_getflags, ioctl_setflags};

use crate::config::ContainerConfig;
use crate::runtime::OciRuntime;

/// The store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// A lock on the store, until it is dropped.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "it is the open file that holds the lock")] File);

impl Store {
    /// Opens the store, or creates it. Only its owner can enter it, since it has setuid programs of
    /// untrusted images.
    ///
    /// # Errors
    /// Another user can change it or replace it; it cannot be created.
    pub fn open(root: Option<&Path>) -> Result<Self> {
        let Self { root } = Self::open_unchecked(root)?;
        // Done before anything is created there, since the directories above are checked too.
        trust(check_directory(&root))?;
        for name in ["images", "layers", "specs"] {
            let directory = root.join(name);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.with_context(|| format!("making {}", directory.display()))?;
        }
        let store = Self { root };
        store.make_containers()?;
        trust(check_directory(&store.root))?;
        for name in ["images", "layers", "specs", "containers"] {
            let path = store.root.join(name);
            let directory = File::open(&path).with_context(|| path.display().to_string())?;
            trust(check_file(&directory, || path))?;
        }
        Ok(store)
    }

    /// Opens a store that `run` has checked. The process that removes a container is in the user
    /// namespace of its `run`, where the check would see other owners.
    ///
    /// # Errors
    /// There is no default directory; errors of getcwd(2).
    pub fn open_unchecked(root: Option<&Path>) -> Result<Self> {
        let root = root.map_or_else(default_root, |root| Ok(root.to_owned()))?;
        let root = std::path::absolute(&root).with_context(|| root.display().to_string())?;
        Ok(Self { root })
    }

    /// Creates the directory of containers, with `FS_TOPDIR_FL` on ext4, which spreads its
    /// subdirectories over the disk. Without the flag they share one group of inodes. Before ext4
    /// without a journal allocates an inode, it tests every inode of the group that was deleted in
    /// the last minutes. So after some hundred containers, one more takes milliseconds longer.
    fn make_containers(&self) -> Result<()> {
        let directory = self.root.join("containers");
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => {
                return Err(error).with_context(|| format!("making {}", directory.display()));
            }
        }
        let open = File::open(&directory).with_context(|| directory.display().to_string())?;
        // Other filesystems may not have the flag. They do not need it.
        let _ =
            ioctl_getflags(&open).and_then(|flags| ioctl_setflags(&open, flags | IFlags::TOPDIR));
        Ok(())
    }

    /// The directory of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The layout with the fetched images.
    #[must_use]
    pub fn layout(&self) -> PathBuf {
        self.root.join("layout")
    }

    /// Takes the shared lock. gc waits until all shared locks are released.
    ///
    /// # Errors
    /// Errors of flock(2).
    pub fn lock_shared(&self) -> Result<StoreLock> {
        lock(&self.root.join("lock"), FlockOperation::LockShared).map(StoreLock)
    }

    /// Takes the exclusive lock. Waits until all other locks are released.
    ///
    /// # Errors
    /// Errors of flock(2).
    pub fn lock_exclusive(&self) -> Result<StoreLock> {
        lock(&self.root.join("lock"), FlockOperation::LockExclusive).map(StoreLock)
    }

    fn layer(&self, chain: &Digest) -> PathBuf {
        self.root.join("layers").join(chain.digest())
    }

    /// Whether all layers are in the store.
    ///
    /// # Errors
    /// A layer cannot be examined.
    pub fn has(&self, chain: &[Digest]) -> Result<bool> {
        for id in chain {
            if !self.layer(id).try_exists()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The directories of an image's layers, the lowest first.
    #[must_use]
    pub fn lower(&self, chain: &[Digest]) -> Vec<PathBuf> {
        chain.iter().map(|id| self.layer(id).join("fs")).collect()
    }

    /// The output of the runtime's `spec`. It is cached as long as the program file is the same.
    ///
    /// # Errors
    /// Errors of [`OciRuntime::spec`].
    pub fn spec(&self, runtime: &OciRuntime, rootless: bool) -> Result<ContainerConfig> {
        let key = runtime.fingerprint().map(|key| {
            format!(
                "{key}-{}{}.json",
                rustix::process::geteuid().as_raw(),
                if rootless { "-rootless" } else { "" }
            )
        });
        let file = key.map(|key| self.root.join("specs").join(key));
        if let Some(file) = &file
            && let Ok(text) = fs::read(file)
            && let Ok(spec) = serde_json::from_slice(&text)
        {
            return Ok(spec);
        }
        let scratch =
            tempfile::tempdir_in(&self.root).context("making a directory in the store")?;
        let spec = runtime.spec(scratch.path(), rootless)?;
        if let Some(file) = file {
            replace(&file, &serde_json::to_vec(&spec)?)?;
        }
        Ok(spec)
    }
}

/// Adds the name of the flag to an error about trust.
fn trust<T>(checked: Result<T, Distrust>) -> Result<T> {
    checked.map_err(|distrust| match distrust {
        Distrust::Untrusted { .. } => anyhow::anyhow!(
            "the store (--store) cannot be trusted: {distrust}, who could choose what containers \
             run; use a directory that only its owner can write to"
        ),
        Distrust::Call { .. } => distrust.into(),
    })
}

/// `/var/lib/orlop-image`; for an ordinary user `orlop-image` in `$XDG_DATA_HOME`.
fn default_root() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/orlop-image".into());
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    Ok(data
        .context("neither XDG_DATA_HOME nor HOME is set; name a directory with --store")?
        .join("orlop-image"))
}

/// Opens or creates a file and locks it.
fn lock(path: &Path, how: FlockOperation) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    flock(&file, how).with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let file = File::options().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, content));
    written.with_context(|| format!("writing {}", path.display()))
}

/// Replaces a file atomically.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path.parent().context("a file is in a directory")?;
    let mut file = tempfile::NamedTempFile::new_in(directory)
        .with_context(|| directory.display().to_string())?;
    let written = std::io::Write::write_all(&mut file, content);
    // Without this, the new name could be on the disk before the content if the power fails.
    written
        .and_then(|()| file.as_file().sync_data())
        .with_context(|| format!("writing {}", path.display()))?;
    file.persist(path).with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}
