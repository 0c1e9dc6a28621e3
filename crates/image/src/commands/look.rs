//! `inspect`, `manifest` and `config`: what an image is, without copying it.

use anyhow::{Context, Result, bail};
use clap::Args;
use oci_spec::image::{Descriptor, ImageManifest};
use serde_json::{Map, Value, json};

use super::connection::ConnectionFlags;
use crate::copy::{MAX_SIZE, Source, check_platform, runtime};
use crate::document::{self, Document};
use crate::platform::Platform;
use crate::reference::Reference;

/// Which image.
#[derive(Debug, Args)]
pub struct Look {
    /// The image: docker://HOST/NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE[:NAME]
    #[arg(value_name = "IMAGE")]
    pub reference: Reference,
    /// Which of an index's images: os/architecture[/variant]
    #[arg(long)]
    pub platform: Option<Platform>,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// Print what an image is: name, digest, platform, labels, layers, and what it runs.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Which image
    #[command(flatten)]
    pub look: Look,
}

/// Print the manifest or index that a reference names.
#[derive(Debug, Args)]
pub struct Manifest {
    /// Which image
    #[command(flatten)]
    pub look: Look,
    /// As it is, to the byte
    #[arg(long)]
    pub raw: bool,
}

/// Print the config of an image.
#[derive(Debug, Args)]
pub struct Config {
    /// Which image
    #[command(flatten)]
    pub look: Look,
    /// As it is, to the byte
    #[arg(long)]
    pub raw: bool,
}

/// What a reference leads to.
struct Found {
    source: Source,
    /// What the reference names.
    root: (Descriptor, Vec<u8>),
    /// The platforms there are to choose from, if the reference names an index.
    platforms: Option<Vec<String>>,
}

/// Carries out `inspect`. Returns what to print.
///
/// # Errors
/// The image is not there, or cannot be understood.
pub fn inspect(args: &Inspect) -> Result<String> {
    runtime()?.block_on(async {
        let Found { source, root, platforms } = find(&args.look).await?;
        let (descriptor, manifest) = image(&source, root, &args.look).await?;
        let text = source.document(manifest.config()).await?;
        let config: Value = serde_json::from_slice(&text).unwrap_or_default();
        let layers: Vec<Value> = manifest.layers().iter().map(describe).collect();
        let mut answer = Map::new();
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                answer.insert(key.to_owned(), value);
            }
        };
        put("name", json!(source.to_string()));
        put("digest", json!(descriptor.digest()));
        put("mediaType", json!(descriptor.media_type()));
        put("artifactType", json!(manifest.artifact_type()));
        put("platforms", json!(platforms));
        put("annotations", json!(manifest.annotations()));
        put("subject", manifest.subject().as_ref().map_or(Value::Null, describe));
        for key in ["os", "architecture", "variant", "created", "author", "config"] {
            put(key, config[key].clone());
        }
        put("size", json!(manifest.layers().iter().map(Descriptor::size).sum::<u64>()));
        put("layers", json!(layers));
        pretty(&serde_json::to_vec(&answer)?)
    })
}

/// Carries out `manifest`. Returns what to print.
///
/// # Errors
/// It is not there.
pub fn manifest(args: &Manifest) -> Result<Vec<u8>> {
    runtime()?.block_on(async {
        let Found { source, mut root, .. } = find(&args.look).await?;
        if args.look.platform.is_some() {
            let (descriptor, _) = image(&source, root, &args.look).await?;
            let bytes = source.document(&descriptor).await?;
            root = (descriptor, bytes);
        }
        if args.raw { Ok(root.1) } else { pretty(&root.1).map(String::into_bytes) }
    })
}

/// Carries out `config`. Returns what to print.
///
/// # Errors
/// It is not there.
pub fn config(args: &Config) -> Result<Vec<u8>> {
    runtime()?.block_on(async {
        let Found { source, root, .. } = find(&args.look).await?;
        let (_, manifest) = image(&source, root, &args.look).await?;
        let bytes = source.document(manifest.config()).await?;
        if args.raw { Ok(bytes) } else { pretty(&bytes).map(String::into_bytes) }
    })
}

async fn find(look: &Look) -> Result<Found> {
    let source = Source::open(&look.reference, &look.connection.connection(), MAX_SIZE).await?;
    let host = Platform::host();
    let root = source.root(Some(look.platform.as_ref().unwrap_or(&host))).await?;
    let parsed = Document::parse(&root.1, root.0.media_type().as_ref())
        .with_context(|| source.to_string())?;
    let platforms = match parsed {
        Document::Manifest(_) => None,
        Document::Index(index) => {
            let described = index.manifests().iter().filter_map(|entry| entry.platform().as_ref());
            Some(described.map(|platform| Platform::from(platform).to_string()).collect())
        }
    };
    Ok(Found { source, root, platforms })
}

/// The manifest of the image for the platform that is asked for, or for ours.
async fn image(
    source: &Source,
    (mut descriptor, mut bytes): (Descriptor, Vec<u8>),
    look: &Look,
) -> Result<(Descriptor, ImageManifest)> {
    let platform = look.platform.clone().unwrap_or_else(Platform::host);
    for _ in 0..document::NESTING_LIMIT {
        let parsed = Document::parse(&bytes, descriptor.media_type().as_ref());
        match parsed.with_context(|| source.to_string())? {
            Document::Manifest(manifest) => {
                if look.platform.is_some() {
                    check_platform(source, &bytes, &descriptor, &platform).await?;
                }
                return Ok((descriptor, *manifest));
            }
            Document::Index(index) => {
                descriptor =
                    document::choose(&index, &platform).with_context(|| source.to_string())?;
            }
        }
        bytes = source.document(&descriptor).await?;
    }
    bail!("{source}: indexes within indexes, too deep")
}

fn describe(descriptor: &Descriptor) -> Value {
    json!({
        "digest": descriptor.digest(), "size": descriptor.size(), "mediaType": descriptor.media_type(),
    })
}

fn pretty(bytes: &[u8]) -> Result<String> {
    let value: Value = serde_json::from_slice(bytes).context("it is not JSON")?;
    Ok(format!("{value:#}\n"))
}
