//! `copy`, also called `push`: an image from anywhere to anywhere.

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use super::connection::ConnectionFlags;
use crate::copy::{self, Options, Selection};
use crate::credentials::Credentials;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::Connection;
use crate::size::parse_size;

/// Copy an image between registries, layouts and archives.
#[derive(Debug, Args)]
pub struct Copy {
    /// From: docker://HOST/NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE[:NAME]
    pub source: Reference,
    /// To, written in the same ways
    pub destination: Reference,
    /// Which of an index's images: os/architecture[/variant] [default: this machine's]
    #[arg(long, conflicts_with = "all")]
    pub platform: Option<Platform>,
    /// All images of an index, and the index
    #[arg(long)]
    pub all: bool,
    /// How many blobs to transfer at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    pub jobs: usize,
    /// Upload larger blobs in chunks of this size, or never if it is 0; k, m, g and t multiply by
    /// 1024
    #[arg(long, value_name = "SIZE", default_value = "64m", value_parser = parse_size)]
    pub chunk_size: u64,
    /// A repository of the destination's registry that may have some of the blobs already
    #[arg(long, value_name = "NAME")]
    pub mount_from: Option<String>,
    /// Refuse a compressed archive of more bytes, and an image whose layers have more, for
    /// docker-archive; k, m, g and t multiply by 1024
    #[arg(long, value_name = "SIZE", default_value = "64g", value_parser = parse_size)]
    pub max_size: u64,
    /// How to tell what goes on
    #[command(flatten)]
    pub telling: Telling,
    /// As --creds, for the source's registry alone
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Registry", conflicts_with = "creds")]
    pub src_creds: Option<Credentials>,
    /// As --creds, for the destination's registry alone
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Registry", conflicts_with = "creds")]
    pub dest_creds: Option<Credentials>,
    /// How to speak to registries
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

/// How to tell what goes on.
#[derive(Debug, Clone, Args)]
pub struct Telling {
    /// Print nothing but errors
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print a JSON object for each blob, and one for the image, each in a line
    #[arg(long)]
    pub json: bool,
}

impl Telling {
    /// Bars or lines if nothing else was asked for.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self {
            Self { quiet: true, .. } => Progress::Quiet,
            Self { json: true, .. } => Progress::Json,
            _ => Progress::fitting(),
        }
    }
}

impl Copy {
    /// How to speak to a registry that these credentials are for.
    fn connection(&self, own: Option<&Credentials>) -> Connection {
        let connection = self.connection.connection();
        let credentials = own.cloned().or(connection.credentials);
        Connection { credentials, ..connection }
    }
}

/// Carries out `copy`. Returns what to print.
///
/// # Errors
/// Whatever is wrong with the source or the destination; then nothing has the name that was asked
/// for.
pub fn copy(args: &Copy) -> Result<String> {
    ensure!(
        !(args.all && matches!(args.destination, Reference::DockerArchive(_))),
        "{}: a docker-archive holds images for one platform; not with --all",
        args.destination
    );
    if let (Reference::Registry(from), Reference::Registry(to)) = (&args.source, &args.destination)
    {
        ensure!(
            args.connection.creds.is_none() || from.host == to.host,
            "--creds would show {} and {} the same password; say with --src-creds and --dest-creds whose it is",
            from.host,
            to.host
        );
    }
    let selection = match &args.platform {
        _ if args.all => Selection::All,
        Some(platform) => Selection::Platform(platform.clone()),
        None => Selection::Host,
    };
    let options = Options {
        source: args.connection(args.src_creds.as_ref()),
        destination: args.connection(args.dest_creds.as_ref()),
        selection,
        jobs: args.jobs,
        chunk: args.chunk_size,
        mount_from: args.mount_from.clone(),
        max_size: args.max_size,
        progress: args.telling.progress(),
    };
    let copied = copy::copy_to(&args.source, &args.destination, &options)?;
    let (digest, size) = (copied.digest(), copied.size());
    Ok(match options.progress {
        Progress::Quiet => String::new(),
        Progress::Json => {
            let media_type = copied.media_type();
            format!(
                "{}\n",
                json!({ "event": "image", "digest": digest, "size": size, "mediaType": media_type })
            )
        }
        Progress::Lines | Progress::Bars(_) => format!("{digest}\n"),
    })
}
