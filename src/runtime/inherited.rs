//! Descriptors that whoever started us left open for the program: `--preserve-fds`, and those of
//! socket activation (sd_listen_fds(3)).
//! process: runtime

use std::env;

use crate::error::{Context, Result};
use crate::sys::fd;

/// The first descriptor that is not stdio.
const FIRST: u32 = 3;

/// Descriptors from 3 on that are the program's, at the same numbers. They are open from the
/// beginning, so none that we open ourselves has such a number.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Their numbers, ascending. There may be gaps: a number that the caller has not opened is no
    /// descriptor of the program's, whatever we open there ourselves.
    pub numbers: Vec<u32>,
    /// What the program is told of them: variables.
    pub env: Vec<String>,
}

impl Inherited {
    /// Those of the first `preserved` after stdio that are open (`--preserve-fds`).
    ///
    /// # Errors
    /// That of looking which are open.
    pub fn of(preserved: u32) -> Result<Self> {
        Self::behind(0, preserved)
    }

    /// As [`Self::of`], behind those of `LISTEN_FDS`, if they are meant for us.
    ///
    /// # Errors
    /// The first socket that is not there; as [`Self::of`].
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
            let open = fd::open_numbers()
                .context("looking which descriptors are open (--preserve-fds)")?;
            numbers.extend(
                open.into_iter().filter(|number| {
                    (first..end).contains(number) && fd::inherited(*number).is_ok()
                }),
            );
        }
        Ok(Self { numbers, env: Vec::new() })
    }

    /// Lets go of them, once the container has its copies: else nobody would hear when it has
    /// closed them.
    pub fn close(&self) {
        self.numbers.iter().copied().for_each(fd::close_inherited);
    }
}

/// How many sockets are for us; variables that are for another process, or make no sense, are not.
fn listeners() -> u32 {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") == Some(std::process::id()) {
        number("LISTEN_FDS").unwrap_or(0)
    } else {
        0
    }
}
