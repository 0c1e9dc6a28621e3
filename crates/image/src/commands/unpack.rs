//! `unpack`: from an image to a bundle.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use nix::sched::CloneFlags;

use super::source::Source;
use crate::bundle::{self, Draft, Unpacking};
use crate::convert::{self, Wishes};
use crate::image::Image;
use crate::rootfs::{Limits, Owners};
use crate::runtime::Runtime;
use crate::size::parse_size;
use crate::{annotation, interrupt, user_namespace};

/// Unpack an image to a bundle: a directory with config.json and rootfs.
#[derive(Debug, Args)]
pub struct Unpack {
    /// The image
    #[command(flatten)]
    pub source: Source,
    /// The directory to make
    pub bundle: PathBuf,
    /// For an ordinary user: files are his, their owners are recorded in the attribute
    /// user.rootlesscontainers
    #[arg(long)]
    pub rootless: bool,
    /// How much may be unpacked
    #[command(flatten)]
    pub limits: LimitFlags,
    /// The runtime whose `spec` config.json begins with [default: orlop beside this program, or in
    /// PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub runtime: Option<PathBuf>,
}

/// Limits that a hostile image runs into before the disk is full.
#[derive(Debug, Clone, Copy, Args)]
pub struct LimitFlags {
    /// Refuse an image whose layers unpack to more than this many bytes; k, m, g and t multiply by
    /// 1024
    #[arg(long, value_name = "SIZE", default_value = "64g", value_parser = parse_size)]
    pub max_size: u64,
    /// Refuse an image whose layers have more entries
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000_000)]
    pub max_entries: u64,
}

impl LimitFlags {
    /// As the applier takes them.
    #[must_use]
    pub fn limits(self) -> Limits {
        Limits { bytes: self.max_size, entries: self.max_entries }
    }
}

/// Carries out `unpack`.
///
/// # Errors
/// Whatever is wrong with the image, the destination or the runtime; then nothing is left behind.
pub fn unpack(args: &Unpack) -> Result<()> {
    ensure!(
        args.rootless || rustix::process::geteuid().is_root(),
        "only root can give files their owners; with --rootless they are yours, and their owners recorded"
    );
    // First, for nothing needs to be fetched for a place that is taken.
    let draft = Draft::new(&args.bundle)?;
    let template = Runtime::find(args.runtime.as_deref()).spec(draft.path(), args.rootless)?;
    let scratch = draft.path().join("image");
    let fetched = args.source.fetch(&scratch, args.limits.max_size)?;
    let image = Image::read(&fetched.layout, fetched.manifest)?;
    args.source.check(&image)?;
    let owners = if args.rootless { Owners::Recorded } else { Owners::Set };
    if args.rootless {
        user_namespace::enter(CloneFlags::empty())?;
    }
    let how = Unpacking { owners, limits: args.limits.limits(), stop: interrupt::watch()? };
    let rootfs = bundle::make_rootfs(&fetched.layout, &image, &draft.path().join("rootfs"), how)?;
    let config = convert::convert(template, &image.config, &Wishes::default(), &rootfs)?;
    bundle::write_config(draft.path(), &config)?;
    bundle::remove_tree(&scratch)?;
    draft.keep()?;
    let labels = image.config.config().as_ref().and_then(|config| config.labels().as_ref());
    if let Some(line) = labels.and_then(annotation::left_out) {
        // There is nobody to tell that standard error is gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    Ok(())
}
