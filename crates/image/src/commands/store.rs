//! `store`: lists and removes what `run` keeps.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use clap::{Args, Subcommand};
use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use serde_json::json;

use crate::runtime::OciRuntime;
use crate::size::show_size;
use crate::{store, user_namespace};

/// List or remove what run keeps.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// What to do
    #[command(subcommand)]
    pub action: StoreAction,
    /// Where layers and containers are [default: /var/lib/orlop-image, or
    /// $XDG_DATA_HOME/orlop-image]
    #[arg(long, value_name = "DIR", global = true)]
    pub store: Option<PathBuf>,
}

/// The actions.
#[derive(Debug, Subcommand)]
pub enum StoreAction {
    /// List the images that were run, the last used one first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what killed runs have left, and layers and blobs that no image uses
    Gc {
        /// Also remove all images that no running container uses
        #[arg(long)]
        all: bool,
        /// The runtime, which is asked for running containers [default: orlop beside this program,
        /// or in PATH]
        #[arg(long, value_name = "PROGRAM")]
        runtime: Option<PathBuf>,
    },
    /// Remove the directory of a container that has ended; `run` starts this
    #[command(hide = true)]
    Sweep {
        /// The name of the directory in the store
        name: String,
    },
}

/// Carries out `store`. Returns what to print.
///
/// # Errors
/// The store cannot be read or changed.
pub fn store(args: &StoreArgs) -> Result<String> {
    let flag = args.store.as_deref();
    match &args.action {
        StoreAction::List { json } => list(&store::Store::open(flag)?, *json),
        StoreAction::Sweep { name } => {
            close_inherited_descriptors()?;
            store::Store::open_unchecked(flag)?.sweep(name).map(|()| String::new())
        }
        StoreAction::Gc { all, runtime } => {
            let store = store::Store::open(flag)?;
            if !rustix::process::geteuid().is_root() {
                // The owner of the store may have no permission to read directories of containers.
                user_namespace::enter(CloneFlags::empty())?;
            }
            let removed = store.collect(&OciRuntime::find(runtime.as_deref()), *all)?;
            let store::gc::GcSummary { containers, images, layers, blobs, bytes } = removed;
            Ok(format!(
                "removed {containers} containers, {images} images, {layers} layers, {blobs} blobs: \
                 {}\n",
                show_size(bytes)
            ))
        }
    }
}

/// Closes inherited descriptors. A process that waits for the end of a pipe waits for the
/// container, not for this process.
fn close_inherited_descriptors() -> Result<()> {
    let open =
        rustix::fs::Dir::new(rustix::fs::open("/proc/self/fd", OFlags::RDONLY, Mode::empty())?)?;
    let numbers =
        open.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // The descriptor of the directory itself is closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

fn list(store: &store::Store, as_json: bool) -> Result<String> {
    let records = store.records()?;
    let age =
        |used: SystemTime| SystemTime::now().duration_since(used).unwrap_or_default().as_secs();
    if as_json {
        let objects: Vec<_> = records
            .iter()
            .map(|(record, used)| {
                json!({
                    "reference": record.reference,
                    "platform": record.platform,
                    "id": record.id,
                    "manifest": record.manifest.digest(),
                    "layers": record.layers,
                    "size": store.size(record),
                    "secondsSinceUse": age(*used),
                })
            })
            .collect();
        return Ok(format!("{}\n", serde_json::to_string(&objects)?));
    }
    let mut text = format!("{:<14}{:<8}{:<12}{:<14}IMAGE\n", "ID", "LAYERS", "SIZE", "USED");
    for (record, used) in &records {
        let id: String = record.id.digest().chars().take(12).collect();
        let (size, used) = (show_size(store.size(record)), show_age(age(*used)));
        writeln!(
            text,
            "{id:<14}{:<8}{size:<12}{used:<14}{}",
            record.layers.len(),
            record.reference
        )?;
    }
    Ok(text)
}

fn show_age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}
