//! The image that a command is about: wherever it is, as a layout on disk.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use oci_spec::image::Descriptor;

use super::connection::ConnectionFlags;
use super::copy::Telling;
use crate::copy::{self, Options, Selection};
use crate::image::Image;
use crate::layout::Layout;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::runtime::fingerprint;

/// Which image.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// The image: docker://HOST/NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE
    #[arg(value_name = "IMAGE")]
    pub reference: Reference,
    /// Which of an index's images: os/architecture[/variant] [default: this machine's]
    #[arg(long)]
    pub platform: Option<Platform>,
    /// How to tell what is fetched
    #[command(flatten)]
    pub telling: Telling,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// An image on disk.
#[derive(Debug)]
pub struct Fetched {
    /// The layout it is in.
    pub layout: Layout,
    /// Its manifest.
    pub manifest: Descriptor,
}

impl Source {
    /// The platform that is wanted.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }

    /// Checks that an image is for the platform that was asked for, if one was: it need not be of
    /// an index.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, image: &Image) -> Result<()> {
        let asked = self.platform.as_ref().map(|wanted| wanted.check(&image.platform()));
        asked.transpose().map(drop).with_context(|| self.reference.to_string())
    }

    /// The reference in the one way that the store knows it by: a directory by its full path.
    ///
    /// # Errors
    /// The working directory is not there.
    pub fn key(&self) -> Result<String> {
        let mut reference = self.reference.clone();
        if let Reference::Layout(local)
        | Reference::OciArchive(local)
        | Reference::DockerArchive(local) = &mut reference
        {
            local.path = std::path::absolute(&local.path)
                .with_context(|| local.path.display().to_string())?;
        }
        Ok(reference.to_string())
    }

    /// The fingerprint of an archive, which may become another image under its name.
    #[must_use]
    pub fn archive(&self) -> Option<String> {
        match &self.reference {
            Reference::OciArchive(local) | Reference::DockerArchive(local) => {
                fingerprint(&local.path)
            }
            Reference::Layout(_) | Reference::Registry(_) => None,
        }
    }

    /// Finds the image where it is a layout; fetches it into the layout `into` where it is not. An
    /// archive that is compressed as a whole may have `max_size` bytes.
    ///
    /// # Errors
    /// It is not there, or not for our platform; it cannot be fetched; a signal came meanwhile.
    pub fn fetch(&self, into: &Path, max_size: u64) -> Result<Fetched> {
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        let layout = Layout::open_or_create(into)?;
        let selection = self.platform.clone().map_or(Selection::Host, Selection::Platform);
        let options = Options {
            source: self.connection.connection(),
            selection,
            max_size,
            progress: self.telling.progress(),
            ..Options::default()
        };
        let manifest = copy::copy(&self.reference, &layout, &options)?;
        Ok(Fetched { layout, manifest })
    }

    /// The image where it is, if that is a layout.
    ///
    /// # Errors
    /// It is not there, or not for our platform.
    pub fn find(&self) -> Result<Option<Fetched>> {
        let Reference::Layout(local) = &self.reference else { return Ok(None) };
        let layout = Layout::open(&local.path)?;
        let platform = self.platform();
        let found = layout.find(local.tag.as_deref(), local.digest.as_ref(), Some(&platform))?;
        let manifest = layout.choose(found, &platform)?;
        Ok(Some(Fetched { layout, manifest }))
    }
}
