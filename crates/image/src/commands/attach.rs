//! `attach`: stores files as an artifact that refers to an image (image-spec, "Guidelines for
//! Artifact Usage").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::connection_args::ConnectionArgs;
use super::copy::OutputArgs;
use super::repository::subject;
use crate::copy::{self, CopyOptions, Selection, start_tokio};
use crate::digest::{self, Digester};
use crate::document::media_types;
use crate::layout::Layout;
use crate::reference::{PathFormat, PathReference, Reference, RegistryReference, TaggedReference};
use crate::registry::Registry;

/// Attach files to an image, as an artifact that refers to it.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The image: docker://HOST/NAME[:TAG][@DIGEST] or oci:DIR[:TAG]
    #[arg(value_name = "IMAGE")]
    pub subject: Reference,
    /// The files, with an optional media type: FILE[:TYPE]
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    /// The type of the artifact: application/vnd.example+type
    #[arg(long, value_name = "TYPE")]
    pub artifact_type: String,
    /// An annotation of the artifact; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// What is printed
    #[command(flatten)]
    pub output: OutputArgs,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// The default media type of a file.
const DEFAULT_TYPE: &str = "application/octet-stream";

/// Carries out `attach`. Returns what to print.
///
/// # Errors
/// The image or a file does not exist; the registry refuses the artifact.
pub fn attach(args: &AttachArgs) -> Result<String> {
    // RFC 6838 requires more. This finds most mistakes.
    let is_type = args.artifact_type.split('/').filter(|part| !part.is_empty()).count() == 2;
    ensure!(
        is_type && !args.artifact_type.contains(char::is_whitespace),
        "{:?} is not a media type",
        args.artifact_type
    );
    let digest = match args.subject.tagged("can have artifacts attached")? {
        TaggedReference::Layout(local) => attach_in_layout(args, local)?,
        TaggedReference::Registry(remote) => attach_in_registry(args, remote)?,
    };
    Ok(match args.output {
        OutputArgs { quiet: true, .. } => String::new(),
        OutputArgs { json: true, .. } => {
            format!("{}\n", json!({ "event": "image", "digest": digest }))
        }
        OutputArgs { .. } => format!("{digest}\n"),
    })
}

fn attach_in_layout(args: &AttachArgs, local: &PathReference) -> Result<Digest> {
    let layout = Layout::open(&local.path)?;
    let subject = layout.find(local.tag.as_deref(), local.digest.as_ref(), None)?;
    let manifest = build(args, &layout, &subject)?;
    layout.tag(&manifest, None)?;
    Ok(manifest.digest().clone())
}

/// Makes the artifact in a temporary layout and copies it.
fn attach_in_registry(args: &AttachArgs, remote: &RegistryReference) -> Result<Digest> {
    let connection = args.connection.connection();
    let subject = start_tokio()?.block_on(async {
        let registry = Registry::connect(&remote.host, &connection).await?;
        subject(&registry, remote).await
    })?;
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let layout = Layout::open_or_create(scratch.path())?;
    let manifest = build(args, &layout, &subject)?;
    layout.tag(&manifest, None)?;
    let (format, path) = (PathFormat::Layout, scratch.path().to_owned());
    let source = PathReference { format, path, tag: None, digest: None };
    let destination = remote.at(manifest.digest());
    let options = CopyOptions {
        destination: connection,
        progress: args.output.progress(),
        selection: Selection::All,
        ..CopyOptions::default()
    };
    copy::copy_to(&Reference::Path(source), &Reference::Registry(destination), &options)?;
    Ok(manifest.digest().clone())
}

/// Builds an artifact of the files in a layout.
fn build(args: &AttachArgs, layout: &Layout, subject: &Descriptor) -> Result<Descriptor> {
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
        // The specification demands at least one layer, and names this one.
        layers.push(serde_json::to_value(&config)?);
    }
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_types::MANIFEST,
        "artifactType": args.artifact_type,
        "config": config,
        "layers": layers,
        "subject": {
            "mediaType": subject.media_type(), "digest": subject.digest(), "size": subject.size(),
        },
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

/// Splits `sbom.json:application/spdx+json`. The text after the last colon is a media type if it
/// contains one slash.
fn split(text: &str) -> (PathBuf, &str) {
    match text.rsplit_once(':') {
        Some((path, media_type)) if !path.is_empty() && media_type.split('/').count() == 2 => {
            (PathBuf::from(path), media_type)
        }
        _ => (PathBuf::from(text), DEFAULT_TYPE),
    }
}

/// Stores a file as a blob.
fn put_file(layout: &Layout, path: &Path, media_type: &str) -> Result<Descriptor> {
    let doing = || path.display().to_string();
    let mut hasher = Digester::Sha256(Sha256::new());
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
