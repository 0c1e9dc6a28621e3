//! Writing an archive: what goes into it is gathered beside it as a layout, and it gets its name
//! when it is whole.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest};
use serde::Deserialize;
use serde_json::json;
use tempfile::{NamedTempFile, TempDir};

use super::each_piece;
use crate::compression::Compression;
use crate::digest::Hasher;
use crate::layer::Budget;
use crate::layout::{BlobReader, Layout};
use crate::reference::{Local, Remote};

/// An archive that is not there yet.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    /// Removed with us.
    directory: TempDir,
    layout: Layout,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl Staged {
    /// Begins an archive.
    ///
    /// # Errors
    /// Something of its name exists; the directory cannot be written to.
    pub fn begin(path: &Path) -> Result<Self> {
        ensure!(fs::symlink_metadata(path).is_err(), "{} exists", path.display());
        let doing = || format!("writing {}", path.display());
        let directory = tempfile::Builder::new()
            .prefix(".orlop-image-")
            .tempdir_in(beside(path))
            .with_context(doing)?;
        let layout = Layout::open_or_create(directory.path())?;
        Ok(Self { path: path.to_owned(), directory, layout })
    }

    /// What goes into the archive.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes it as a tar of the layout.
    ///
    /// # Errors
    /// It cannot be written; something of its name has come to be.
    pub fn finish_oci(self, root: &Descriptor, local: &Local) -> Result<()> {
        self.layout.tag(root, local.tag.as_deref())?;
        let mut archive = self.archive()?;
        for name in ["oci-layout", "index.json"] {
            append(&mut archive, name, &self.layout.root().join(name))?;
        }
        let mut blobs = Vec::new();
        let listing = || self.directory.path().display().to_string();
        for algorithm in fs::read_dir(self.directory.path().join("blobs")).with_context(listing)? {
            for blob in fs::read_dir(algorithm?.path()).with_context(listing)? {
                blobs.push(blob?.path());
            }
        }
        blobs.sort();
        for path in blobs {
            let name = path.strip_prefix(self.directory.path())?.to_string_lossy().into_owned();
            append(&mut archive, &name, &path)?;
        }
        self.persist(archive)
    }

    /// Writes it as `docker load` reads it: one image, its layers not compressed, as far as the
    /// budget goes.
    ///
    /// # Errors
    /// It is not the image of one platform, or a layer is not what the config says; it cannot be
    /// written.
    pub fn finish_docker(
        self,
        root: &Descriptor,
        local: &Local,
        mut budget: Budget<'_>,
    ) -> Result<()> {
        let names = match &local.tag {
            Some(tag) => vec![docker_name(tag)?],
            None => Vec::new(),
        };
        let manifest = self.layout.read_manifest(root)?;
        let bytes = self.layout.read_blob(manifest.config())?;
        let config: Config =
            serde_json::from_slice(&bytes).context("the config is not that of an image")?;
        let (layers, diff_ids) = (manifest.layers(), &config.rootfs.diff_ids);
        ensure!(
            layers.len() == diff_ids.len(),
            "{} layers, but the config has {} diff_ids",
            layers.len(),
            diff_ids.len()
        );
        let mut archive = self.archive()?;
        let config_name = format!("{}.json", manifest.config().digest().digest());
        append(&mut archive, &config_name, &self.layout.blob_path(manifest.config().digest()))?;
        let mut files = Vec::new();
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let name = format!("{}.tar", diff_id.digest());
            if !files.contains(&name) {
                let plain = self.decompress(layer, diff_id, &mut budget)?;
                append(&mut archive, &name, plain.path())?;
            }
            files.push(name);
        }
        let list = serde_json::to_vec(
            &json!([{ "Config": config_name, "RepoTags": names, "Layers": files }]),
        )?;
        append_bytes(&mut archive, "manifest.json", &list)?;
        self.persist(archive)
    }

    /// A layer as a plain tar file.
    fn decompress(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        budget: &mut Budget<'_>,
    ) -> Result<NamedTempFile> {
        let mut beginning = [0; 4];
        let mut content: BlobReader = self.layout.open_blob(layer)?;
        let count = content.read(&mut beginning)?;
        let beginning = &beginning[..count];
        let reader = Compression::seen_in(beginning).reader(beginning.chain(content))?;
        let mut file = NamedTempFile::new_in(self.directory.path())?;
        let mut hasher = Hasher::like(diff_id)?;
        let take = |piece: &[u8]| {
            hasher.update(piece);
            file.write_all(piece)
        };
        each_piece(reader, budget, take).with_context(|| format!("layer {}", layer.digest()))?;
        let found = hasher.finish();
        if found != diff_id.as_ref() {
            bail!(
                "layer {}: its content has digest {found}, the config says {diff_id}",
                layer.digest()
            );
        }
        Ok(file)
    }

    fn archive(&self) -> Result<tar::Builder<NamedTempFile>> {
        let mut builder = tempfile::Builder::new();
        // As the umask has it, not for the owner alone as temporary files are.
        let file =
            builder.permissions(fs::Permissions::from_mode(0o666)).tempfile_in(beside(&self.path));
        Ok(tar::Builder::new(file.with_context(|| format!("writing {}", self.path.display()))?))
    }

    fn persist(&self, archive: tar::Builder<NamedTempFile>) -> Result<()> {
        let doing = || format!("writing {}", self.path.display());
        let file = archive.into_inner().with_context(doing)?;
        file.as_file().sync_data().with_context(doing)?;
        file.persist_noclobber(&self.path).with_context(doing)?;
        Ok(())
    }
}

/// The directory of a file.
fn beside(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The whole name of an image, as Docker has it in `RepoTags`: `nginx` is `nginx:latest`.
fn docker_name(name: &str) -> Result<String> {
    let remote =
        Remote::parse(name).with_context(|| format!("{name:?} is not the name of an image"))?;
    let short = remote.tag.is_none().then(|| format!("{name}:latest"));
    Ok(short.unwrap_or_else(|| name.to_owned()))
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header
}

fn append(archive: &mut tar::Builder<NamedTempFile>, name: &str, path: &Path) -> Result<()> {
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    let mut header = header(file.metadata()?.len());
    archive.append_data(&mut header, name, file).with_context(|| format!("writing {name}"))
}

fn append_bytes(archive: &mut tar::Builder<NamedTempFile>, name: &str, bytes: &[u8]) -> Result<()> {
    archive
        .append_data(&mut header(bytes.len() as u64), name, bytes)
        .with_context(|| format!("writing {name}"))
}
