//! `store`: what `run` keeps, and removing it.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use clap::{Args, Subcommand};
use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use serde_json::json;

use crate::runtime::Runtime;
use crate::size::show_size;
use crate::{store, user_namespace};

/// List or remove what run keeps.
#[derive(Debug, Args)]
pub struct StoreCommand {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
    /// Where layers and containers are [default: /var/lib/orlop-image, or
    /// $XDG_DATA_HOME/orlop-image]
    #[arg(long, value_name = "DIR", global = true)]
    pub store: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the images that were run, the latest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what killed runs have left, and layers and blobs that no image has any more
    Gc {
        /// Also all images that no running container is of
        #[arg(long)]
        all: bool,
        /// The runtime, which knows what is running [default: orlop beside this program, or in
        /// PATH]
        #[arg(long, value_name = "PROGRAM")]
        runtime: Option<PathBuf>,
    },
    /// Remove what a container has left; run starts it
    #[command(hide = true)]
    Sweep {
        /// In the store
        name: String,
    },
}

/// Carries out `store`. Returns what to print.
///
/// # Errors
/// The store cannot be read or changed.
pub fn store(args: &StoreCommand) -> Result<String> {
    let store = store::Store::open(args.store.as_deref())?;
    match &args.action {
        Action::List { json } => list(&store, *json),
        Action::Sweep { name } => {
            close_what_was_inherited()?;
            store.sweep(name).map(|()| String::new())
        }
        Action::Gc { all, runtime } => {
            if !rustix::process::geteuid().is_root() {
                // What containers have made may be closed to their owner.
                user_namespace::enter(CloneFlags::empty())?;
            }
            let removed = store.collect(&Runtime::find(runtime.as_deref()), *all)?;
            let store::gc::Removed { containers, images, layers, blobs, bytes } = removed;
            Ok(format!(
                "removed {containers} containers, {images} images, {layers} layers, {blobs} blobs: {}\n",
                show_size(bytes)
            ))
        }
    }
}

/// Whoever waits for the end of a pipe waits for the container, not for us.
fn close_what_was_inherited() -> Result<()> {
    let open =
        rustix::fs::Dir::new(rustix::fs::open("/proc/self/fd", OFlags::RDONLY, Mode::empty())?)?;
    let numbers =
        open.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // The one that we have just read them from is closed already.
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
