//! The image of a command, copied to a layout if it is not in one.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use oci_spec::image::Descriptor;

use super::connection_args::ConnectionArgs;
use super::copy::OutputArgs;
use crate::copy::{self, CopyOptions, Selection};
use crate::image::Image;
use crate::layout::Layout;
use crate::platform::Platform;
use crate::reference::{PathFormat, Reference};
use crate::runtime::fingerprint;

/// The flags that name an image.
#[derive(Debug, Clone, Args)]
pub struct ImageArgs {
    /// The image: docker://HOST/NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE
    #[arg(value_name = "IMAGE")]
    pub reference: Reference,
    /// Which image of an index: os/architecture[/variant] [default: this machine's]
    #[arg(long)]
    pub platform: Option<Platform>,
    /// What is printed
    #[command(flatten)]
    pub output: OutputArgs,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// An image in a layout.
#[derive(Debug)]
pub struct FetchedImage {
    /// The layout.
    pub layout: Layout,
    /// The descriptor of its manifest.
    pub manifest: Descriptor,
}

impl ImageArgs {
    /// The wanted platform.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }

    /// Checks that an image is for the platform of the flag, if there is one. An image that is not
    /// in an index is checked too.
    ///
    /// # Errors
    /// It is for another platform.
    pub fn check(&self, image: &Image) -> Result<()> {
        let asked = self.platform.as_ref().map(|wanted| wanted.check(&image.platform()));
        asked.transpose().map(drop).with_context(|| self.reference.to_string())
    }

    /// The reference as a key of the store, with an absolute path.
    ///
    /// # Errors
    /// Errors of getcwd(3).
    pub fn key(&self) -> Result<String> {
        let mut reference = self.reference.clone();
        if let Reference::Path(local) = &mut reference {
            local.path = std::path::absolute(&local.path)
                .with_context(|| local.path.display().to_string())?;
        }
        Ok(reference.to_string())
    }

    /// The fingerprint of an archive. It changes if the file is replaced.
    #[must_use]
    pub fn archive(&self) -> Option<String> {
        match &self.reference {
            Reference::Path(local) if local.format != PathFormat::Layout => {
                fingerprint(&local.path)
            }
            _ => None,
        }
    }

    /// Finds the image in its layout, or copies it to the layout `into`. A compressed archive may
    /// have `max_size` bytes.
    ///
    /// # Errors
    /// The image does not exist, or not for our platform; it cannot be copied; a signal has
    /// arrived.
    pub fn fetch(&self, into: &Path, max_size: u64) -> Result<FetchedImage> {
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        let layout = Layout::open_or_create(into)?;
        let selection = self.platform.clone().map_or(Selection::Host, Selection::Platform);
        let options = CopyOptions {
            source: self.connection.connection(),
            selection,
            max_size,
            progress: self.output.progress(),
            ..CopyOptions::default()
        };
        let manifest = copy::copy(&self.reference, &layout, &options)?;
        Ok(FetchedImage { layout, manifest })
    }

    /// The image, if the reference names one in a layout.
    ///
    /// # Errors
    /// The image does not exist, or not for our platform.
    pub fn find(&self) -> Result<Option<FetchedImage>> {
        let local = match &self.reference {
            Reference::Path(local) if local.format == PathFormat::Layout => local,
            _ => return Ok(None),
        };
        let layout = Layout::open(&local.path)?;
        let platform = self.platform();
        let found = layout.find(local.tag.as_deref(), local.digest.as_ref(), Some(&platform))?;
        let manifest = layout.choose(found, &platform)?;
        Ok(Some(FetchedImage { layout, manifest }))
    }
}
