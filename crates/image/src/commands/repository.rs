//! `tags`, `referrers` and `delete`: what is in a repository or layout, and what is no longer to
//! be.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use oci_spec::image::Descriptor;
use reqwest::StatusCode;
use serde_json::json;

use super::connection::ConnectionFlags;
use crate::copy::runtime;
use crate::document::{self, Document};
use crate::layout::Layout;
use crate::layout::index::name;
use crate::reference::{Reference, Remote};
use crate::registry::{Registry, RegistryError};

/// List the tags of a repository, or the names in a layout.
#[derive(Debug, Args)]
pub struct Tags {
    /// docker://HOST/NAME or oci:DIR
    #[arg(value_name = "REPOSITORY")]
    pub reference: Reference,
    /// How many to ask the registry for at a time [default: the registry's choice]
    #[arg(long, value_name = "NUMBER")]
    pub page_size: Option<u32>,
    /// Print a JSON list
    #[arg(long)]
    pub json: bool,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// List what refers to an image: signatures, SBOMs, whatever was attached.
#[derive(Debug, Args)]
pub struct ListReferrers {
    /// docker://HOST/NAME[:TAG][@DIGEST] or oci:DIR[:TAG]
    #[arg(value_name = "IMAGE")]
    pub reference: Reference,
    /// Only those of this type
    #[arg(long, value_name = "TYPE")]
    pub artifact_type: Option<String>,
    /// Print a JSON list of descriptors
    #[arg(long)]
    pub json: bool,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// Delete a tag, a manifest with all its tags (NAME@DIGEST), or a blob; from a layout, a name.
#[derive(Debug, Args)]
pub struct Delete {
    /// docker://HOST/NAME:TAG, docker://HOST/NAME@DIGEST or oci:DIR:TAG
    pub reference: Reference,
    /// The digest is that of a blob
    #[arg(long)]
    pub blob: bool,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// Carries out `tags`. Returns what to print.
///
/// # Errors
/// There is no such repository or layout.
pub fn tags(args: &Tags) -> Result<String> {
    let tags = match &args.reference {
        Reference::Registry(remote) => {
            ensure!(
                remote.tag.is_none() && remote.digest.is_none(),
                "{}: tags are those of a repository, without a tag or digest",
                args.reference
            );
            runtime()?.block_on(async {
                let registry =
                    Registry::connect(&remote.host, &args.connection.connection()).await?;
                registry.tags(&remote.repository, args.page_size).await
            })?
        }
        Reference::Layout(local) => {
            let index = Layout::open(&local.path)?.index()?;
            index.manifests().iter().filter_map(name).map(str::to_owned).collect()
        }
        other => bail!("{other}: tags are those of docker:// and oci:"),
    };
    if args.json {
        return Ok(format!("{}\n", json!(tags)));
    }
    Ok(tags.iter().map(|tag| format!("{tag}\n")).collect())
}

/// Carries out `referrers`. Returns what to print.
///
/// # Errors
/// The image is not there.
pub fn referrers(args: &ListReferrers) -> Result<String> {
    let kind = args.artifact_type.as_deref();
    let found = match &args.reference {
        Reference::Registry(remote) => runtime()?.block_on(async {
            let registry = Registry::connect(&remote.host, &args.connection.connection()).await?;
            let subject = subject(&registry, remote).await?;
            anyhow::Ok(registry.referrers(&remote.repository, subject.digest(), kind).await?.found)
        })?,
        Reference::Layout(local) => {
            let layout = Layout::open(&local.path)?;
            let subject = layout.find(local.tag.as_deref(), local.digest.as_ref(), None)?;
            in_layout(&layout, &subject, kind)?
        }
        other => bail!("{other}: referrers are those of docker:// and oci:"),
    };
    if args.json {
        return Ok(format!("{}\n", json!(found)));
    }
    let line = |entry: &Descriptor| {
        let kind = entry.artifact_type().as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {kind}\n", entry.digest())
    };
    Ok(found.iter().map(line).collect())
}

/// The descriptor of what a reference names: a digest that was given, or the one behind a tag.
pub(super) async fn subject(registry: &Registry, remote: &Remote) -> Result<Descriptor> {
    let found = registry.manifest_descriptor(&remote.repository, remote.selector()).await?;
    found.with_context(|| format!("{remote}: there is no such image"))
}

/// The manifests and indexes of a layout's index.json that have this subject.
fn in_layout(layout: &Layout, subject: &Descriptor, kind: Option<&str>) -> Result<Vec<Descriptor>> {
    let mut found = Vec::new();
    for entry in layout.index()?.manifests().iter().filter(|entry| document::is_one(entry)) {
        let document = Document::parse(&layout.read_blob(entry)?, entry.media_type().as_ref())?;
        let own_kind = document.as_referrer(entry).artifact_type().clone();
        let is_its = document.subject().is_some_and(|other| other.digest() == subject.digest());
        if is_its
            && kind.is_none_or(|kind| own_kind.as_ref().is_some_and(|own| own.as_ref() == kind))
        {
            let mut entry = entry.clone();
            entry.set_artifact_type(own_kind);
            found.push(entry);
        }
    }
    Ok(found)
}

/// Carries out `delete`.
///
/// # Errors
/// It is not there; the registry does not delete.
pub fn delete(args: &Delete) -> Result<()> {
    match &args.reference {
        Reference::Layout(local) if !args.blob => {
            let tag = local.tag.as_deref();
            Layout::open(&local.path)?
                .untag(tag.with_context(|| format!("{}: which name?", args.reference))?)
        }
        Reference::Registry(remote) => runtime()?.block_on(async {
            let registry = Registry::connect(&remote.host, &args.connection.connection()).await?;
            let name = &remote.repository;
            match (&remote.digest, &remote.tag) {
                (Some(digest), None) if args.blob => registry.delete_blob(name, digest).await,
                (Some(digest), None) => registry.delete_with_subject(name, digest.as_ref()).await,
                (None, Some(tag)) if !args.blob => delete_tag(&registry, remote, tag).await,
                (None, None) => bail!("{remote}: name a tag or a digest"),
                _ if args.blob => bail!("{remote}: a blob is named by its digest alone"),
                _ => bail!("{remote}: a tag or a digest, not both"),
            }
        }),
        other => bail!("{other}: only out of docker:// and, by name, out of oci: can be deleted"),
    }
}

/// Many registries delete no tags. The manifest may have others, so it is not taken instead.
async fn delete_tag(registry: &Registry, remote: &Remote, tag: &str) -> Result<()> {
    let Err(error) = registry.delete_manifest(&remote.repository, tag).await else { return Ok(()) };
    let refused =
        [StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
    if refused.into_iter().any(|status| RegistryError::is(&error, status))
        && let Some(found) = registry.manifest_descriptor(&remote.repository, tag).await?
    {
        let whole = Remote { tag: None, digest: Some(found.digest().clone()), ..remote.clone() };
        return Err(error).with_context(|| {
            format!("it may delete docker://{whole}, with all its tags, but not a tag")
        });
    }
    Err(error)
}
