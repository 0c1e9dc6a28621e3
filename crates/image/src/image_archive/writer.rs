//! Writes an archive. Its content is first written to a temporary layout beside it; the archive
//! gets its name when it is complete.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest};
use serde_json::json;
use tempfile::{NamedTempFile, TempDir};

use super::{diff_ids, each_piece};
use crate::budget::Budget;
use crate::compression::Compression;
use crate::digest::{self, Digester};
use crate::layout::{BlobReader, Layout};
use crate::reference::{PathReference, RegistryReference};

/// An archive that is being written.
#[derive(Debug)]
pub struct ArchiveWriter {
    path: PathBuf,
    /// Removed when the writer is dropped.
    directory: TempDir,
    layout: Layout,
}

impl ArchiveWriter {
    /// Creates the temporary layout.
    ///
    /// # Errors
    /// The archive exists; the directory cannot be written to.
    pub fn begin(path: &Path) -> Result<Self> {
        ensure!(fs::symlink_metadata(path).is_err(), "{} exists", path.display());
        let doing = || format!("writing {}", path.display());
        let directory = tempfile::Builder::new()
            .prefix(".orlop-image-")
            .tempdir_in(parent_of(path))
            .with_context(doing)?;
        let layout = Layout::open_or_create(directory.path())?;
        Ok(Self { path: path.to_owned(), directory, layout })
    }

    /// The layout that the image is copied to.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes the archive as a tar of the layout.
    ///
    /// # Errors
    /// The archive cannot be written; another process has made a file with its name.
    pub fn finish_oci(self, root: &Descriptor, local: &PathReference) -> Result<()> {
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

    /// Writes the archive for `docker load`: one image with uncompressed layers. Their bytes are
    /// counted in the budget.
    ///
    /// # Errors
    /// It is an index, or a layer does not match the config; it cannot be written.
    pub fn finish_docker(
        self,
        root: &Descriptor,
        local: &PathReference,
        budget: &Budget,
    ) -> Result<()> {
        let names = match &local.tag {
            Some(tag) => vec![docker_name(tag)?],
            None => Vec::new(),
        };
        let manifest = self.layout.read_manifest(root)?;
        let bytes = self.layout.read_blob(manifest.config())?;
        let diff_ids = diff_ids(&bytes)?.context("the config is not that of an image")?;
        let diff_ids = diff_ids.iter().map(|id| digest::parse(id)).collect::<Result<Vec<_>>>()?;
        let layers = manifest.layers();
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
        for (layer, diff_id) in layers.iter().zip(&diff_ids) {
            let name = format!("{}.tar", diff_id.digest());
            if !files.contains(&name) {
                let plain = self.decompress(layer, diff_id, budget)?;
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

    /// Decompresses a layer into a temporary file.
    fn decompress(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        budget: &Budget,
    ) -> Result<NamedTempFile> {
        let mut beginning = [0; 4];
        let mut content: BlobReader = self.layout.open_blob(layer)?;
        let count = content.read(&mut beginning)?;
        let beginning = &beginning[..count];
        let reader = Compression::detect(beginning).reader(beginning.chain(content))?;
        let mut file = NamedTempFile::new_in(self.directory.path())?;
        let mut hasher = Digester::like(diff_id)?;
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
        // The umask decides the mode. Temporary files are only for their owner.
        let file = builder
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(parent_of(&self.path));
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
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The full name of an image for `RepoTags`: `nginx` is `nginx:latest`.
fn docker_name(name: &str) -> Result<String> {
    let remote = RegistryReference::parse(name)
        .with_context(|| format!("{name:?} is not the name of an image"))?;
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
