//! `spec`: writes a default config.json.

use std::io::Write;
use std::path::PathBuf;

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Failure, Result};
use crate::host::Rootless;
use crate::host::cgroups::CgroupLayout;
use crate::plan::Host;
use crate::plan::template::{self, TemplateFacts};
use crate::sys::fd;

/// A `spec` request.
#[derive(Debug, Default, Clone)]
pub struct Spec {
    /// The bundle.
    pub bundle: PathBuf,
    /// Whether it is for a container that an ordinary user runs.
    pub rootless: bool,
}

const FILE: &str = "config.json";

/// Writes config.json. An existing file is not changed.
///
/// # Errors
/// An error if there is a config.json already; errors of writing.
pub fn spec(args: &Spec) -> Result<()> {
    let host = Host::probe(Rootless::default())?;
    let rootless = args.rootless.then_some((host.euid, host.egid));
    let facts = TemplateFacts { unified: CgroupLayout::probe()?.is_unified(), rootless };
    let text = template::text(facts);
    let directory = fd::open(&args.bundle, OFlags::PATH | OFlags::DIRECTORY)
        .context("the bundle (--bundle)")?;
    let mut file = match fd::create_new(&directory, FILE, 0o666) {
        Err(call) if call.is(Errno::EXIST) => {
            return Err(Failure::Usage(format!("File {FILE} exists. Remove it first")).into());
        }
        other => other.context("writing config.json")?,
    };
    file.write_all(text.as_bytes()).context("writing config.json").inspect_err(|_| {
        // A part of the file is worse than no file.
        let _ = rustix::fs::unlinkat(&directory, FILE, AtFlags::empty());
    })
}
