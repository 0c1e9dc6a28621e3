//! The image that a command is about: wherever it is, as a layout on disk.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use oci_spec::image::Descriptor;

use crate::layout::Layout;
use crate::platform::Platform;
use crate::reference::Reference;

/// Which image.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// The image: docker://HOST/NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE
    #[arg(value_name = "IMAGE")]
    pub reference: Reference,
    /// Which of an index's images: os/architecture[/variant] [default: this machine's]
    #[arg(long)]
    pub platform: Option<Platform>,
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

    /// Finds the image where it is a layout; fetches it into the layout `scratch` where it is not.
    ///
    /// # Errors
    /// It is not there, or not for our platform; it cannot be fetched.
    pub fn fetch(&self, _scratch: &Path) -> Result<Fetched> {
        let Reference::Layout(local) = &self.reference else {
            bail!("{}: not yet", self.reference);
        };
        let layout = Layout::open(&local.path)?;
        let platform = self.platform();
        let found = layout.find(local.tag.as_deref(), local.digest.as_ref(), Some(&platform))?;
        let manifest = layout.choose(found, &platform)?;
        Ok(Fetched { layout, manifest })
    }
}
