//! What a copy says while it goes on: bars on a terminal, lines elsewhere, JSON for programs, or
//! nothing.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use oci_spec::image::Descriptor;
use serde_json::json;

/// How progress is told.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Not at all.
    Quiet,
    /// A line on standard error for each thing that is done.
    Lines,
    /// Bars on standard error, which is a terminal.
    Bars(MultiProgress),
    /// An object on standard output for each thing that is done.
    Json,
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was transferred.
    Copied,
    /// It was there already.
    Present,
    /// The registry took it from another repository.
    Mounted,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Present => "present",
            Self::Mounted => "mounted",
        }
    }
}

/// One blob on its way.
#[derive(Debug)]
pub struct Item {
    descriptor: Descriptor,
    progress: Progress,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Bars if standard error is a terminal, lines if not.
    #[must_use]
    pub fn fitting() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars(MultiProgress::new()) } else { Self::Lines }
    }

    /// Begins a blob.
    #[must_use]
    pub fn item(&self, descriptor: &Descriptor) -> Arc<Item> {
        let bar = match self {
            Self::Bars(bars) => Some(bars.add(bar(descriptor))),
            _ => None,
        };
        Arc::new(Item { descriptor: descriptor.clone(), progress: self.clone(), bar })
    }
}

impl Item {
    /// So many bytes are through.
    pub fn at(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// It is there.
    pub fn done(&self, outcome: Outcome) {
        let (digest, size) = (self.descriptor.digest(), self.descriptor.size());
        match &self.progress {
            Progress::Quiet => {}
            Progress::Lines => {
                let line =
                    format!("{} {}: {}", short(&self.descriptor), HumanBytes(size), outcome.word());
                // There is nobody to tell that standard error is gone.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            Progress::Json => {
                let media_type = self.descriptor.media_type();
                let line = json!({
                    "event": "blob", "digest": digest, "size": size, "mediaType": media_type, "outcome": outcome.word(),
                });
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            Progress::Bars(_) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(size);
                    bar.finish_with_message(outcome.word());
                }
            }
        }
    }
}

impl Drop for Item {
    /// A bar of what did not arrive stays where it stopped.
    fn drop(&mut self) {
        if let Some(bar) = self.bar.as_ref().filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }
}

fn bar(descriptor: &Descriptor) -> ProgressBar {
    const STYLE: &str = "{prefix} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {msg}";
    let bar = ProgressBar::new(descriptor.size()).with_prefix(short(descriptor));
    if let Ok(style) = ProgressStyle::with_template(STYLE) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The beginning of a digest, enough to know it by.
fn short(descriptor: &Descriptor) -> String {
    format!("{}:{:.12}", descriptor.digest().algorithm(), descriptor.digest().digest())
}
