//! `tags`, `referrers` and `delete`: list and delete what a registry or a layout has.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use oci_spec::image::Descriptor;
use reqwest::StatusCode;
use serde_json::json;

use super::connection_args::ConnectionArgs;
use crate::copy::start_tokio;
use crate::document::{self, Document};
use crate::layout::Layout;
use crate::layout::index::name;
use crate::reference::{Reference, RegistryReference, TaggedReference};
use crate::registry::{Registry, RegistryError};

/// List the tags of a repository, or the names in a layout.
#[derive(Debug, Args)]
pub struct TagsArgs {
    /// docker://HOST/NAME or oci:DIR
    #[arg(value_name = "REPOSITORY")]
    pub reference: Reference,
    /// How many tags to ask the registry for at once [default: the registry's choice]
    #[arg(long, value_name = "NUMBER")]
    pub page_size: Option<u32>,
    /// Print a JSON list
    #[arg(long)]
    pub json: bool,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// List the artifacts that refer to an image: signatures, SBOMs, attached files.
#[derive(Debug, Args)]
pub struct ReferrersArgs {
    /// docker://HOST/NAME[:TAG][@DIGEST] or oci:DIR[:TAG]
    #[arg(value_name = "IMAGE")]
    pub reference: Reference,
    /// Only those of this artifact type
    #[arg(long, value_name = "TYPE")]
    pub artifact_type: Option<String>,
    /// Print a JSON list of descriptors
    #[arg(long)]
    pub json: bool,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Delete a tag, a manifest with all its tags (NAME@DIGEST), or a blob; from a layout, a name.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// docker://HOST/NAME:TAG, docker://HOST/NAME@DIGEST or oci:DIR:TAG
    pub reference: Reference,
    /// The digest is that of a blob
    #[arg(long)]
    pub blob: bool,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Carries out `tags`. Returns what to print.
///
/// # Errors
/// The repository or layout does not exist.
pub fn tags(args: &TagsArgs) -> Result<String> {
    let tags = match args.reference.tagged("have tags")? {
        TaggedReference::Registry(remote) => {
            ensure!(
                remote.tag.is_none() && remote.digest.is_none(),
                "{}: name the repository without a tag or digest",
                args.reference
            );
            start_tokio()?.block_on(async {
                let registry =
                    Registry::connect(&remote.host, &args.connection.connection()).await?;
                registry.tags(&remote.repository, args.page_size).await
            })?
        }
        TaggedReference::Layout(local) => {
            let index = Layout::open(&local.path)?.index()?;
            index.manifests().iter().filter_map(name).map(str::to_owned).collect()
        }
    };
    if args.json {
        return Ok(format!("{}\n", json!(tags)));
    }
    Ok(tags.iter().map(|tag| format!("{tag}\n")).collect())
}

/// Carries out `referrers`. Returns what to print.
///
/// # Errors
/// The image does not exist.
pub fn referrers(args: &ReferrersArgs) -> Result<String> {
    let kind = args.artifact_type.as_deref();
    let found = match args.reference.tagged("have referrers")? {
        TaggedReference::Registry(remote) => start_tokio()?.block_on(async {
            let registry = Registry::connect(&remote.host, &args.connection.connection()).await?;
            let subject = subject(&registry, remote).await?;
            anyhow::Ok(registry.referrers(&remote.repository, subject.digest(), kind).await?.found)
        })?,
        TaggedReference::Layout(local) => {
            let layout = Layout::open(&local.path)?;
            let subject = layout.find(local.tag.as_deref(), local.digest.as_ref(), None)?;
            referrers_in_layout(&layout, &subject, kind)?
        }
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

/// The descriptor of the manifest that a reference names by its digest or tag.
pub(super) async fn subject(registry: &Registry, remote: &RegistryReference) -> Result<Descriptor> {
    let found = registry.manifest_descriptor(&remote.repository, remote.selector()).await?;
    found.with_context(|| format!("{remote}: there is no such image"))
}

/// The documents in index.json of a layout that have this subject.
fn referrers_in_layout(
    layout: &Layout,
    subject: &Descriptor,
    kind: Option<&str>,
) -> Result<Vec<Descriptor>> {
    let mut found = Vec::new();
    for entry in layout.index()?.manifests().iter().filter(|entry| document::is_document(entry)) {
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
/// It does not exist; the registry does not support deletion.
pub fn delete(args: &DeleteArgs) -> Result<()> {
    match args.reference.tagged("can be deleted from")? {
        TaggedReference::Layout(local) => {
            ensure!(!args.blob, "{}: from a layout only a name can be deleted", args.reference);
            let tag = local.tag.as_deref();
            Layout::open(&local.path)?.untag(tag.with_context(|| {
                format!("{}: give the name to delete, oci:DIR:TAG", args.reference)
            })?)
        }
        TaggedReference::Registry(remote) => start_tokio()?.block_on(async {
            let registry = Registry::connect(&remote.host, &args.connection.connection()).await?;
            let name = &remote.repository;
            match (&remote.digest, &remote.tag) {
                (Some(digest), None) if args.blob => registry.delete_blob(name, digest).await,
                (Some(digest), None) => registry.delete_with_subject(name, digest.as_ref()).await,
                (None, Some(tag)) if !args.blob => delete_tag(&registry, remote, tag).await,
                (None, None) => bail!("{remote}: give a tag or a digest"),
                _ if args.blob => bail!("{remote}: give the digest of the blob, without a tag"),
                _ => bail!("{remote}: give a tag or a digest, not both"),
            }
        }),
    }
}

/// Deletes a tag. Many registries do not support this. We do not delete the manifest instead, since
/// it may have other tags.
async fn delete_tag(registry: &Registry, remote: &RegistryReference, tag: &str) -> Result<()> {
    let Err(error) = registry.delete_manifest(&remote.repository, tag).await else { return Ok(()) };
    let refused =
        [StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
    if refused.into_iter().any(|status| RegistryError::is(&error, status))
        && let Some(found) = registry.manifest_descriptor(&remote.repository, tag).await?
    {
        let whole =
            RegistryReference { tag: None, digest: Some(found.digest().clone()), ..remote.clone() };
        return Err(error).with_context(|| {
            format!(
                "it deletes no single tag; docker://{whole} names the manifest with all its tags"
            )
        });
    }
    Err(error)
}
