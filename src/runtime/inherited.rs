//! Descriptors that our caller left open for the program: `--preserve-fds`, and sockets of socket
//! activation (sd_listen_fds(3)).
//! process: runtime

use std::env;

use crate::error::{Context, Result};
use crate::sys::fd;

/// The first descriptor that is not stdio.
const FIRST: u32 = 3;

/// Descriptors from 3 on that the program gets, with the same numbers. They are open when we start,
/// so no descriptor that we open ourselves has such a number.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The numbers, ascending. There may be gaps: if the caller has not opened a number, the
    /// program does not get it, even if we have opened a file with that number.
    pub numbers: Vec<u32>,
    /// Variables that describe the descriptors to the program.
    pub env: Vec<String>,
}

impl Inherited {
    /// The open descriptors among the first `preserved` after stdio (`--preserve-fds`).
    ///
    /// # Errors
    /// Errors of listing the open descriptors.
    pub fn of(preserved: u32) -> Result<Self> {
        Self::behind(0, preserved)
    }

    /// As [`Self::of`], but after the sockets of `LISTEN_FDS`, if these are meant for us.
    ///
    /// # Errors
    /// An error for the first socket that is not open; as [`Self::of`].
    pub fn with_listeners(preserved: u32) -> Result<Self> {
        let listeners = listeners();
        for index in 0..listeners {
            fd::inherited(FIRST.saturating_add(index))
                .with_context(|| format!("LISTEN_FDS: socket {index} (of {listeners})"))?;
        }
        let mut inherited = Self::behind(listeners, preserved)?;
        if listeners > 0 {
            inherited.env = vec![format!("LISTEN_FDS={listeners}"), "LISTEN_PID=1".to_owned()];
            inherited.env.extend(
                env::var("LISTEN_FDNAMES").ok().map(|names| format!("LISTEN_FDNAMES={names}")),
            );
        }
        Ok(inherited)
    }

    fn behind(listeners: u32, preserved: u32) -> Result<Self> {
        let mut numbers: Vec<u32> = (FIRST..FIRST.saturating_add(listeners)).collect();
        let end = FIRST.saturating_add(listeners).saturating_add(preserved);
        if preserved > 0 {
            let first = FIRST.saturating_add(listeners);
            let open =
                fd::open_numbers().context("listing the open descriptors (--preserve-fds)")?;
            numbers.extend(
                open.into_iter().filter(|number| {
                    (first..end).contains(number) && fd::inherited(*number).is_ok()
                }),
            );
        }
        Ok(Self { numbers, env: Vec::new() })
    }

    /// Closes our copies, after the container has its own. Otherwise the other ends would not be
    /// notified when the container closes its copies.
    pub fn close(&self) {
        self.numbers.iter().copied().for_each(fd::close_inherited);
    }
}

/// The number of sockets that are meant for us. Variables for another process, or with invalid
/// values, are ignored.
fn listeners() -> u32 {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") == Some(std::process::id()) {
        number("LISTEN_FDS").unwrap_or(0)
    } else {
        0
    }
}
