//! `attach`: files that belong to an image, as an artifact that refers to it (image-spec,
//! "Guidelines for Artifact Usage").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::connection::ConnectionFlags;
use super::copy::Telling;
use super::repository::subject;
use crate::copy::{self, Options, Selection, runtime};
use crate::digest::{self, Hasher};
use crate::document::media_types;
use crate::layout::Layout;
use crate::reference::{Local, Reference, Remote};
use crate::registry::Registry;

/// Attach files to an image, as an artifact that refers to it.
#[derive(Debug, Args)]
pub struct Attach {
    /// The image: docker://HOST/NAME[:TAG][@DIGEST] or oci:DIR[:TAG]
    #[arg(value_name = "IMAGE")]
    pub subject: Reference,
    /// The files, each perhaps with its media type: FILE[:TYPE]
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    /// What it is: application/vnd.example+type
    #[arg(long, value_name = "TYPE")]
    pub artifact_type: String,
    /// An annotation of the artifact; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// How to tell what goes on
    #[command(flatten)]
    pub telling: Telling,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// What a file is if nobody says so.
const BYTES: &str = "application/octet-stream";

/// Carries out `attach`. Returns what to print.
///
/// # Errors
/// The image or a file is not there; the registry refuses.
pub fn attach(args: &Attach) -> Result<String> {
    // RFC 6838 has more to say, but a slash and no spaces is what tells a type from a mistake.
    let is_type = args.artifact_type.split('/').filter(|part| !part.is_empty()).count() == 2;
    ensure!(
        is_type && !args.artifact_type.contains(char::is_whitespace),
        "{:?} is not a media type",
        args.artifact_type
    );
    let digest = match &args.subject {
        Reference::Layout(local) => {
            let layout = Layout::open(&local.path)?;
            let subject = layout.find(local.tag.as_deref(), local.digest.as_ref(), None)?;
            let manifest = build(args, &layout, &subject)?;
            layout.tag(&manifest, None)?;
            manifest.digest().clone()
        }
        Reference::Registry(remote) => {
            let connection = args.connection.connection();
            let subject = runtime()?.block_on(async {
                let registry = Registry::connect(&remote.host, &connection).await?;
                subject(&registry, remote).await
            })?;
            let scratch = tempfile::tempdir().context("making a temporary directory")?;
            let layout = Layout::open_or_create(scratch.path())?;
            let manifest = build(args, &layout, &subject)?;
            layout.tag(&manifest, None)?;
            let source = Local { path: scratch.path().to_owned(), tag: None, digest: None };
            let destination: Remote = remote.at(manifest.digest());
            let progress = args.telling.progress();
            let options = Options {
                destination: connection,
                progress,
                selection: Selection::All,
                ..Options::default()
            };
            copy::copy_to(&Reference::Layout(source), &Reference::Registry(destination), &options)?;
            manifest.digest().clone()
        }
        other => bail!("{other}: to docker:// and oci: something can be attached"),
    };
    Ok(match args.telling {
        Telling { quiet: true, .. } => String::new(),
        Telling { json: true, .. } => {
            format!("{}\n", json!({ "event": "image", "digest": digest }))
        }
        Telling { .. } => format!("{digest}\n"),
    })
}

/// Puts an artifact of the files into a layout.
fn build(args: &Attach, layout: &Layout, subject: &Descriptor) -> Result<Descriptor> {
    let annotations = annotations(&args.annotation)?;
    let config = layout.put_blob(b"{}", MediaType::EmptyJSON)?;
    let mut layers: Vec<Value> = Vec::new();
    for file in &args.files {
        let (path, media_type) = split(file);
        let layer = put_file(layout, &path, media_type)?;
        let mut layer = serde_json::to_value(layer)?;
        let title = path.file_name().map(|name| name.to_string_lossy().into_owned());
        layer["annotations"]["org.opencontainers.image.title"] = json!(title);
        layers.push(layer);
    }
    if layers.is_empty() {
        // The specification wants one, and this is the one to take.
        layers.push(serde_json::to_value(&config)?);
    }
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_types::MANIFEST,
        "artifactType": args.artifact_type,
        "config": config,
        "layers": layers,
        "subject": { "mediaType": subject.media_type(), "digest": subject.digest(), "size": subject.size() },
    });
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    layout.put_blob(&serde_json::to_vec(&manifest)?, MediaType::ImageManifest)
}

fn annotations(texts: &[String]) -> Result<BTreeMap<&str, &str>> {
    fn split(text: &String) -> Result<(&str, &str)> {
        let (key, value) = text
            .split_once('=')
            .with_context(|| format!("annotation {text:?}: write KEY=VALUE"))?;
        ensure!(!key.is_empty(), "annotation {text:?}: write KEY=VALUE");
        Ok((key, value))
    }
    texts.iter().map(split).collect()
}

/// `sbom.json:application/spdx+json`. What is behind the last colon is a type if it looks like one.
fn split(text: &str) -> (PathBuf, &str) {
    match text.rsplit_once(':') {
        Some((path, media_type)) if !path.is_empty() && media_type.split('/').count() == 2 => {
            (PathBuf::from(path), media_type)
        }
        _ => (PathBuf::from(text), BYTES),
    }
}

/// Stores a file as a blob.
fn put_file(layout: &Layout, path: &Path, media_type: &str) -> Result<Descriptor> {
    let doing = || path.display().to_string();
    let mut hasher = Hasher::Sha256(Sha256::new());
    let size = each_piece(File::open(path).with_context(doing)?, |piece| {
        hasher.update(piece);
        Ok(())
    })
    .with_context(doing)?;
    let descriptor =
        Descriptor::new(MediaType::from(media_type), size, digest::parse(&hasher.finish())?);
    if let Some(mut writer) = layout.begin_blob(&descriptor)? {
        writer.restart()?;
        each_piece(File::open(path).with_context(doing)?, |piece| {
            std::io::Write::write_all(&mut writer, piece)
        })
        .with_context(doing)?;
        writer.commit().with_context(doing)?;
    }
    Ok(descriptor)
}

fn each_piece(
    mut file: File,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(size);
        }
        take(&buffer[..count])?;
        size += count as u64;
    }
}
