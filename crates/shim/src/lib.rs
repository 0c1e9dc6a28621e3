//! containerd-shim-orlop-v2: a containerd shim on orlop's own library.
//!
//! containerd starts a shim for each pod, and asks it for everything that happens to the pod's
//! containers. This one is one small process with one thread: no runtime is executed, since the
//! runtime, orlop, is a library of it.
//!
//! # The processes
//!
//! ```text
//! containerd
//! ├ start       reads its input and config.json, seals itself, takes the socket,
//! │             forks the daemon, prints the address, ends
//! ├ daemon      one thread, one epoll loop; adopts orphans
//! │ ├ worker    for each create, start, exec, delete, … : whatever may block;
//! │ │           answers and ends; what it has made becomes the daemon's child
//! │ └ logger    a program that takes a container's output, if one is asked for
//! └ delete      run by containerd when a daemon is gone; cleans up
//! ```
//!
//! # The files
//!
//! * `start`: [`flags`], [`start`], [`info`], [`socket`], [`options`].
//! * The daemon: [`daemon`] is the loop; [`connection`], [`frame`] and [`messages`] are what is
//!   said; [`task`] has the methods, `lifecycle` those that make and remove processes, `finish`
//!   what follows when a worker has answered, `exits` who is told of an end; [`jobs`] are workers
//!   that are out; [`stdio`] and [`pump`] move bytes; [`events`], [`metrics`].
//! * A worker: [`worker`]; [`order`] is what it is told; [`library`] has the calls of orlop's
//!   library; [`mounts`], [`logger`].
//! * `delete`: [`delete`].
//!
//! # Rules
//!
//! * Nothing in the loop blocks: descriptors are non-blocking, a log line that nobody takes is
//!   dropped, and what may wait for hooks, freezers or filesystems is a worker's.
//! * A container never has containerd's fifos, but pipes of ours, so that its output goes on when
//!   containerd stops.
//! * A worker is our own, sealed binary executed anew: what it makes can inherit nothing of other
//!   containers from its memory.
//! * containerd hears of the start of a process before it hears of its end, and of init's end last.

pub mod connection;
pub mod container;
pub mod daemon;
pub mod delete;
pub mod events;
mod exits;
mod finish;
pub mod flags;
pub mod frame;
pub mod info;
pub mod jobs;
pub mod library;
mod lifecycle;
pub mod logger;
pub mod messages;
pub mod metrics;
pub mod mounts;
pub mod options;
pub mod order;
pub mod poll;
pub mod pump;
mod shim_log;
pub mod socket;
pub mod start;
pub mod status;
pub mod stdio;
pub mod task;
pub mod worker;

use std::io::{Read, Write};

use flags::Flags;
use status::Failed;

/// The program; returns its exit code.
#[must_use]
pub fn main() -> u8 {
    if let Err(call) = orlop::sys::process::begin() {
        return tell(&Failed::unknown(call.to_string()));
    }
    let flags = match Flags::read(orlop::sys::caller::arguments().into_iter().skip(1)) {
        Ok(flags) => flags,
        Err(failed) => return tell(&failed),
    };
    let said = match &*flags.action {
        _ if flags.version => Ok(info::version().into_bytes()),
        _ if flags.info => read_all().and_then(|input| info::info(&input)),
        worker::ACTION => return worker::main(),
        "start" => start::start(&flags),
        "delete" => delete::delete(&flags),
        "" => Err(Failed::invalid("what is to be done is missing: start or delete")),
        action => Err(Failed::invalid(format!("there is no action {action:?}: start or delete"))),
    };
    let printed = said.and_then(|text| {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&text).and_then(|()| stdout.flush());
        written.map_err(|error| Failed::unknown(format!("writing to standard output: {error}")))
    });
    printed.map_or_else(|failed| tell(&failed), |()| 0)
}

fn read_all() -> Result<Vec<u8>, Failed> {
    let mut input = Vec::new();
    if !rustix::termios::isatty(rustix::stdio::stdin()) {
        let read = std::io::stdin().read_to_end(&mut input);
        read.map_err(|error| Failed::unknown(format!("reading standard input: {error}")))?;
    }
    Ok(input)
}

fn tell(failed: &Failed) -> u8 {
    // There is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "containerd-shim-orlop-v2: {failed}");
    1
}
