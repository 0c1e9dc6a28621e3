//! `copy`, also called `push`: copies an image between registries, layouts and archives.

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use super::connection_args::ConnectionArgs;
use crate::copy::{self, CopyOptions, Selection};
use crate::credentials::Credentials;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::{PathFormat, Reference};
use crate::registry::Connection;
use crate::size::parse_size;

/// Copy an image between registries, layouts and archives.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// The source: docker://HOST/NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE[:NAME]
    pub source: Reference,
    /// The destination, written in the same way
    pub destination: Reference,
    /// Which of an index's images: os/architecture[/variant] [default: this machine's]
    #[arg(long, conflicts_with = "all")]
    pub platform: Option<Platform>,
    /// Copy all images of an index, and the index
    #[arg(long)]
    pub all: bool,
    /// How many blobs to copy at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    pub jobs: usize,
    /// Upload blobs that are larger than this in chunks of this size; 0 for never; k, m, g and t
    /// multiply by 1024
    #[arg(long, value_name = "SIZE", default_value = "64m", value_parser = parse_size)]
    pub chunk_size: u64,
    /// Another repository of the destination's registry, to mount blobs from
    #[arg(long, value_name = "NAME")]
    pub mount_from: Option<String>,
    /// Refuse a compressed archive that decompresses to more bytes, and with docker-archive an
    /// image whose layers do; k, m, g and t multiply by 1024
    #[arg(long, value_name = "SIZE", default_value = "64g", value_parser = parse_size)]
    pub max_size: u64,
    /// What is printed
    #[command(flatten)]
    pub output: OutputArgs,
    /// Use these credentials for the source's registry only
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Registry", conflicts_with = "creds")]
    pub src_creds: Option<Credentials>,
    /// Use these credentials for the destination's registry only
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Registry", conflicts_with = "creds")]
    pub dest_creds: Option<Credentials>,
    /// The connection to registries
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// The flags for what is printed.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Print nothing but errors
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print a line of JSON for each blob and for the image
    #[arg(long)]
    pub json: bool,
}

impl OutputArgs {
    /// Bars or lines, unless a flag says otherwise.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self {
            Self { quiet: true, .. } => Progress::Quiet,
            Self { json: true, .. } => Progress::Json,
            _ => Progress::for_terminal(),
        }
    }
}

impl CopyArgs {
    /// The connection with the credentials of one side.
    fn connection(&self, own: Option<&Credentials>) -> Connection {
        let connection = self.connection.connection();
        let credentials = own.cloned().or(connection.credentials);
        Connection { credentials, ..connection }
    }
}

/// Carries out `copy`. Returns what to print.
///
/// # Errors
/// The source or the destination is wrong. The destination is then not changed, except for blobs
/// without a name.
pub fn copy(args: &CopyArgs) -> Result<String> {
    ensure!(
        !(args.all && is_docker_archive(&args.destination)),
        "{}: a docker-archive has images for one platform only; leave out --all",
        args.destination
    );
    if let (Reference::Registry(from), Reference::Registry(to)) = (&args.source, &args.destination)
    {
        ensure!(
            args.connection.creds.is_none() || from.host == to.host,
            "--creds would send the same password to {} and {}; use --src-creds and --dest-creds",
            from.host,
            to.host
        );
    }
    let selection = match &args.platform {
        _ if args.all => Selection::All,
        Some(platform) => Selection::Platform(platform.clone()),
        None => Selection::Host,
    };
    let options = CopyOptions {
        source: args.connection(args.src_creds.as_ref()),
        destination: args.connection(args.dest_creds.as_ref()),
        selection,
        jobs: args.jobs,
        chunk: args.chunk_size,
        mount_from: args.mount_from.clone(),
        max_size: args.max_size,
        progress: args.output.progress(),
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

fn is_docker_archive(reference: &Reference) -> bool {
    matches!(reference, Reference::Path(local) if local.format == PathFormat::DockerArchive)
}
