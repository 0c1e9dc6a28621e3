//! The store of `run`: layers unpacked once, each under its ChainID, and the containers that stand
//! on them.
//!
//! ```text
//! STORE/lock                   flock(2): shared while something is added, exclusive for gc
//! STORE/layout/                images that were fetched, an OCI layout
//! STORE/images/KEY.json        what references lead to
//! STORE/layers/CHAIN/fs        a layer's files, in the way overlayfs wants them
//! STORE/layers/CHAIN/size      the bytes of its archive
//! STORE/containers/ID/         a bundle
//! STORE/containers/ID/layers   what it stands on; locked as long as the container's `run` lives
//! STORE/.gone-ID.PID/          a container that has ended, on its way out
//! STORE/specs/KEY.json         what the runtime's `spec` gave
//! ```
//!
//! A layer is named by its ChainID, that is with all layers below it, because it is applied to
//! them: through an overlay of them. So whiteouts, links and hard links into lower layers come out
//! as in an unpacked image, by the same code, and the kernel writes down the difference.

pub mod container;
pub mod gc;
mod overlay;
pub mod record;

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use oci_spec::image::Digest;
use rustix::fs::{FlockOperation, IFlags, flock, ioctl_getflags, ioctl_setflags};

use crate::bundle::{Draft, Unpacking, UsualUmask};
use crate::config::ContainerConfig;
use crate::image::Image;
use crate::layer::{self, Budget, Layer};
use crate::layout::Layout;
use crate::rootfs::{Allowance, Applier, Owners, Tree};
use crate::runtime::Runtime;
use overlay::Overlay;

/// The store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// Somebody is adding to the store, or collecting, until this is dropped.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code, reason = "it is the open file that holds the lock")] File);

impl Store {
    /// Opens the store, or makes it. Nobody else can enter it: there are setuid programs of
    /// strangers in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(root: Option<&Path>) -> Result<Self> {
        let root = root.map_or_else(default_root, |root| Ok(root.to_owned()))?;
        let root = std::path::absolute(&root).with_context(|| root.display().to_string())?;
        for directory in ["images", "layers", "specs"] {
            let directory = root.join(directory);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.with_context(|| format!("making {}", directory.display()))?;
        }
        let store = Self { root };
        store.make_containers()?;
        Ok(store)
    }

    /// Makes the directory of containers, and tells ext4 that those are no neighbours. Otherwise
    /// all would have their inodes in the same place, and without a journal ext4 looks at every
    /// inode there that was deleted in the last minutes before it gives out one: after some hundred
    /// containers, one more takes milliseconds longer.
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
        // Other filesystems may not know the flag, and need not.
        let _ =
            ioctl_getflags(&open).and_then(|flags| ioctl_setflags(&open, flags | IFlags::TOPDIR));
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where fetched images are.
    #[must_use]
    pub fn layout(&self) -> PathBuf {
        self.root.join("layout")
    }

    /// Keeps gc away, which waits until all who add have ended.
    ///
    /// # Errors
    /// flock(2)'s.
    pub fn adding(&self) -> Result<Guard> {
        lock(&self.root.join("lock"), FlockOperation::LockShared).map(Guard)
    }

    /// Waits until nobody adds, and keeps everybody away.
    ///
    /// # Errors
    /// flock(2)'s.
    pub fn collecting(&self) -> Result<Guard> {
        lock(&self.root.join("lock"), FlockOperation::LockExclusive).map(Guard)
    }

    fn layer(&self, chain: &Digest) -> PathBuf {
        self.root.join("layers").join(chain.digest())
    }

    /// Whether all layers are there.
    ///
    /// # Errors
    /// One cannot be looked at.
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

    /// Unpacks those layers of an image that are not there yet.
    ///
    /// # Errors
    /// See [`layer::read`] and [`Applier::apply`].
    pub fn unpack(&self, layout: &Layout, image: &Image, how: Unpacking) -> Result<()> {
        let chain = image.chain_ids()?;
        let _umask = UsualUmask::set();
        let mut unpacker = Unpacker {
            layout,
            image,
            how,
            budget: how.budget(),
            allowance: Allowance::new(how.limits),
        };
        for (at, id) in chain.iter().enumerate() {
            // Two who want the same layer: the second waits, and finds it.
            let path = self.layer(id);
            let lock_path = path.with_extension("lock");
            let _lock = lock(&lock_path, FlockOperation::LockExclusive)?;
            if !path.try_exists()? {
                // The lock is ours, so whoever began this before has ended in the middle.
                Draft::remove_stale(&path)?;
                let draft = Draft::new(&path)?;
                unpacker.make(at, draft.path(), &self.lower(&chain[..at]))?;
                draft.keep()?;
            }
        }
        Ok(())
    }

    /// What the runtime's `spec` gives, asked for once as long as the program is the same.
    ///
    /// # Errors
    /// See [`Runtime::spec`].
    pub fn spec(&self, runtime: &Runtime, rootless: bool) -> Result<ContainerConfig> {
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

/// An image on its way into the store.
struct Unpacker<'a> {
    layout: &'a Layout,
    image: &'a Image,
    how: Unpacking,
    budget: Budget<'static>,
    allowance: Allowance,
}

impl Unpacker<'_> {
    /// Makes the directory of one layer in `draft`.
    fn make(&mut self, at: usize, draft: &Path, lower: &[PathBuf]) -> Result<()> {
        let (descriptor, diff_id) = &self.image.layers[at];
        let (upper, work, before) = (draft.join("fs"), draft.join("work"), self.budget.bytes);
        let tree = if lower.is_empty() {
            DirBuilder::new()
                .mode(0o755)
                .create(&upper)
                .with_context(|| format!("making {}", upper.display()))?;
            Tree::open(&upper)?
        } else {
            let rootless = self.how.owners == Owners::Recorded;
            let overlay = Overlay { lower, upper: &upper, work: &work, volatile: false, rootless };
            Tree::from_fd(overlay.mount()?)
        };
        let mut applier = Applier::new(tree, self.how.owners, !lower.is_empty(), self.allowance);
        let blob = self.layout.open_blob(descriptor)?;
        layer::read(blob, &Layer { descriptor, diff_id }, &mut self.budget, |content| {
            applier.apply(content)
        })?;
        self.allowance = applier.allowance();
        drop(applier);
        if !lower.is_empty() {
            crate::bundle::remove_tree(&work)?;
        }
        let size = (before - self.budget.bytes).to_string();
        write_new(&draft.join("size"), size.as_bytes())?;
        // A layer is verified once and trusted from then on, so it must be whole after a power
        // failure too.
        let directory = File::open(draft).with_context(|| draft.display().to_string())?;
        rustix::fs::syncfs(&directory).context("syncfs()")
    }
}

/// `/var/lib/orlop-image`, and below `$XDG_DATA_HOME` for an ordinary user.
fn default_root() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/orlop-image".into());
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    Ok(data
        .context("there is neither XDG_DATA_HOME nor HOME; name a directory with --store")?
        .join("orlop-image"))
}

/// Opens or makes a file and locks it.
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

/// Gives a file new content, all at once.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path.parent().context("a file is in a directory")?;
    let mut file = tempfile::NamedTempFile::new_in(directory)
        .with_context(|| directory.display().to_string())?;
    let written = std::io::Write::write_all(&mut file, content);
    // Or the name might outlive a power failure, and the content not.
    written
        .and_then(|()| file.as_file().sync_data())
        .with_context(|| format!("writing {}", path.display()))?;
    file.persist(path).with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}
