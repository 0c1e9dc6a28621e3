//! `inspect`, `manifest` and `config`: show an image without copying it.

use anyhow::{Context, Result, bail};
use clap::Args;
use oci_spec::image::{Descriptor, ImageManifest};
use serde_json::{Map, Value, json};

use super::connection_args::ConnectionArgs;
use crate::copy::{ImageSource, MAX_SIZE, check_platform, start_tokio};
use crate::document::{self, Document};
use crate::platform::Platform;
use crate::reference::Reference;

/// The flags that name an image.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// The image: docker://HOST/NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE[:NAME]
    #[arg(value_name = "IMAGE")]
    pub reference: Reference,
    /// Which image of an index: os/architecture[/variant]
    #[arg(long)]
    pub platform: Option<Platform>,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Print name, digest, platform, labels and layers of an image, and what it runs.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The image
    #[command(flatten)]
    pub image: ReferenceArgs,
}

/// Print the manifest or index that a reference names.
#[derive(Debug, Args)]
pub struct ManifestArgs {
    /// The image
    #[command(flatten)]
    pub image: ReferenceArgs,
    /// Print the exact bytes
    #[arg(long)]
    pub raw: bool,
}

/// Print the config of an image.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The image
    #[command(flatten)]
    pub image: ReferenceArgs,
    /// Print the exact bytes
    #[arg(long)]
    pub raw: bool,
}

/// A resolved reference.
struct ResolvedImage {
    source: ImageSource,
    /// The manifest or index that the reference names.
    root: (Descriptor, Vec<u8>),
    /// The platforms of the index, if the reference names one.
    platforms: Option<Vec<String>>,
}

/// Carries out `inspect`. Returns what to print.
///
/// # Errors
/// The image does not exist, or is malformed.
pub fn inspect(args: &InspectArgs) -> Result<String> {
    start_tokio()?.block_on(async {
        let ResolvedImage { source, root, platforms } = find(&args.image).await?;
        let (descriptor, manifest) = image(&source, root, &args.image).await?;
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
/// It does not exist.
pub fn manifest(args: &ManifestArgs) -> Result<Vec<u8>> {
    start_tokio()?.block_on(async {
        let ResolvedImage { source, mut root, .. } = find(&args.image).await?;
        if args.image.platform.is_some() {
            let (descriptor, _) = image(&source, root, &args.image).await?;
            let bytes = source.document(&descriptor).await?;
            root = (descriptor, bytes);
        }
        if args.raw { Ok(root.1) } else { pretty(&root.1).map(String::into_bytes) }
    })
}

/// Carries out `config`. Returns what to print.
///
/// # Errors
/// It does not exist.
pub fn config(args: &ConfigArgs) -> Result<Vec<u8>> {
    start_tokio()?.block_on(async {
        let ResolvedImage { source, root, .. } = find(&args.image).await?;
        let (_, manifest) = image(&source, root, &args.image).await?;
        let bytes = source.document(manifest.config()).await?;
        if args.raw { Ok(bytes) } else { pretty(&bytes).map(String::into_bytes) }
    })
}

async fn find(args: &ReferenceArgs) -> Result<ResolvedImage> {
    let source =
        ImageSource::open(&args.reference, &args.connection.connection(), MAX_SIZE).await?;
    let host = Platform::host();
    let root = source.root(Some(args.platform.as_ref().unwrap_or(&host))).await?;
    let parsed = Document::parse(&root.1, root.0.media_type().as_ref())
        .with_context(|| source.to_string())?;
    let platforms = match parsed {
        Document::Manifest(_) => None,
        Document::Index(index) => {
            let described = index.manifests().iter().filter_map(|entry| entry.platform().as_ref());
            Some(described.map(|platform| Platform::from(platform).to_string()).collect())
        }
    };
    Ok(ResolvedImage { source, root, platforms })
}

/// The manifest for the platform that is wanted, or for the host.
async fn image(
    source: &ImageSource,
    (mut descriptor, mut bytes): (Descriptor, Vec<u8>),
    args: &ReferenceArgs,
) -> Result<(Descriptor, ImageManifest)> {
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    for _ in 0..document::NESTING_LIMIT {
        let parsed = Document::parse(&bytes, descriptor.media_type().as_ref());
        match parsed.with_context(|| source.to_string())? {
            Document::Manifest(manifest) => {
                if args.platform.is_some() {
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
    bail!("{source}: the indexes are nested too deep")
}

fn describe(descriptor: &Descriptor) -> Value {
    json!({
        "digest": descriptor.digest(), "size": descriptor.size(),
        "mediaType": descriptor.media_type(),
    })
}

fn pretty(bytes: &[u8]) -> Result<String> {
    let value: Value = serde_json::from_slice(bytes).context("the document is not JSON")?;
    Ok(format!("{value:#}\n"))
}
