//! `unpack`: makes a bundle of an image.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use nix::sched::CloneFlags;

use super::image_args::ImageArgs;
use crate::budget::Budget;
use crate::bundle::{self, PendingDirectory};
use crate::convert::{self, Overrides};
use crate::image::Image;
use crate::rootfs::Owners;
use crate::runtime::OciRuntime;
use crate::size::parse_size;
use crate::{annotation, interrupt, user_namespace};

/// Unpack an image to a bundle: a directory with config.json and rootfs.
#[derive(Debug, Args)]
pub struct UnpackArgs {
    /// The image
    #[command(flatten)]
    pub source: ImageArgs,
    /// The directory to make
    pub bundle: PathBuf,
    /// For an ordinary user: files are his, their owners are recorded in the attribute
    /// user.rootlesscontainers
    #[arg(long)]
    pub rootless: bool,
    /// How much may be unpacked
    #[command(flatten)]
    pub limits: LimitArgs,
    /// The runtime whose `spec` config.json begins with [default: orlop beside this program, or in
    /// PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub runtime: Option<PathBuf>,
}

/// Limits against an image that would fill the disk.
#[derive(Debug, Clone, Copy, Args)]
pub struct LimitArgs {
    /// Refuse an image whose layers unpack to more than this many bytes; k, m, g and t multiply by
    /// 1024
    #[arg(long, value_name = "SIZE", default_value = "64g", value_parser = parse_size)]
    pub max_size: u64,
    /// Refuse an image whose layers have more entries
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000_000)]
    pub max_entries: u64,
}

impl LimitArgs {
    /// The budget that the flags set.
    ///
    /// # Errors
    /// Errors of sigaction(2).
    pub fn budget(self) -> Result<Budget> {
        Ok(Budget::new(self.max_size, self.max_entries, interrupt::watch()?))
    }
}

/// Carries out `unpack`.
///
/// # Errors
/// The image, the destination or the runtime has an error. Then nothing is left behind.
pub fn unpack(args: &UnpackArgs) -> Result<()> {
    ensure!(
        args.rootless || rustix::process::geteuid().is_root(),
        "only root can set the owners of files; with --rootless the files are yours and their \
         owners are recorded"
    );
    // Done before the image is fetched, since it fails if the destination exists.
    let draft = PendingDirectory::new(&args.bundle)?;
    let template = OciRuntime::find(args.runtime.as_deref()).spec(draft.path(), args.rootless)?;
    let scratch = draft.path().join("image");
    let fetched = args.source.fetch(&scratch, args.limits.max_size)?;
    let image = Image::read(&fetched.layout, fetched.manifest)?;
    args.source.check(&image)?;
    let owners = if args.rootless { Owners::Recorded } else { Owners::Set };
    if args.rootless {
        user_namespace::enter(CloneFlags::empty())?;
    }
    let budget = args.limits.budget()?;
    let rootfs = draft.path().join("rootfs");
    let rootfs = bundle::make_rootfs(&fetched.layout, &image, &rootfs, owners, &budget)?;
    let config = convert::convert(template, &image.config, &Overrides::default(), &rootfs)?;
    bundle::write_config(draft.path(), &config)?;
    bundle::remove_tree(&scratch)?;
    draft.keep()?;
    let labels = image.config.config().as_ref().and_then(|config| config.labels().as_ref());
    if let Some(line) = labels.and_then(annotation::ignored_labels) {
        // If standard error is closed, the line is lost.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    Ok(())
}
