//! The progress of a copy: bars on a terminal, else lines, JSON for programs, or nothing.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use oci_spec::image::Descriptor;
use serde_json::json;

/// The form of the progress.
#[derive(Debug, Clone)]
pub enum Progress {
    /// No progress.
    Quiet,
    /// A line on standard error for each blob.
    Lines,
    /// Bars on standard error, which is a terminal.
    Bars(MultiProgress),
    /// A JSON object on standard output for each blob.
    Json,
}

/// The result of copying a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobOutcome {
    /// The blob was transferred.
    Copied,
    /// The destination had it already.
    Present,
    /// The registry has mounted it from another repository.
    Mounted,
}

impl BlobOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Present => "present",
            Self::Mounted => "mounted",
        }
    }
}

/// The progress of one blob.
#[derive(Debug)]
pub struct BlobProgress {
    descriptor: Descriptor,
    progress: Progress,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Bars if standard error is a terminal, lines if not.
    #[must_use]
    pub fn for_terminal() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars(MultiProgress::new()) } else { Self::Lines }
    }

    /// Shows that a blob has begun.
    #[must_use]
    pub fn begin_blob(&self, descriptor: &Descriptor) -> Arc<BlobProgress> {
        let bar = match self {
            Self::Bars(bars) => Some(bars.add(bar(descriptor))),
            _ => None,
        };
        Arc::new(BlobProgress { descriptor: descriptor.clone(), progress: self.clone(), bar })
    }
}

impl BlobProgress {
    /// Shows how many bytes are transferred.
    pub fn set_position(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Shows the result.
    pub fn finish(&self, outcome: BlobOutcome) {
        let (digest, size) = (self.descriptor.digest(), self.descriptor.size());
        match &self.progress {
            Progress::Quiet => {}
            Progress::Lines => {
                let line =
                    format!("{} {}: {}", short(&self.descriptor), HumanBytes(size), outcome.word());
                // If standard error is closed, the line is lost.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            Progress::Json => {
                let media_type = self.descriptor.media_type();
                let line = json!({
                    "event": "blob", "digest": digest, "size": size, "mediaType": media_type,
                    "outcome": outcome.word(),
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

impl Drop for BlobProgress {
    /// The bar of a failed blob stays at its position.
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

/// The first 12 digits of a digest, as Docker and Podman show it.
fn short(descriptor: &Descriptor) -> String {
    format!("{}:{:.12}", descriptor.digest().algorithm(), descriptor.digest().digest())
}
