//! containerd-shim-orlop-v2: a containerd shim that uses orlop's library.
//!
//! containerd starts a shim for each pod, and sends it all requests for the containers of the pod.
//! This shim is one small process. It executes no runtime: orlop is linked into it as a library.
//!
//! # The processes
//!
//! ```text
//! containerd
//! ├ start       reads its input and config.json, seals itself, listens on the socket,
//! │             forks the daemon, prints the address, ends
//! ├ daemon      one thread with an epoll loop; adopts orphans. A second thread, which moves bytes,
//! │ │           exists if a container has streams
//! │ ├ worker    for each create, start, exec, delete, … : operations that may block;
//! │ │           answers and ends; its new process becomes the daemon's child
//! │ └ logger    a program that receives a container's output, if one is configured
//! └ delete      run by containerd after a daemon was killed; cleans up
//! ```
//!
//! # The files
//!
//! * `start`: [`flags`], [`start`], [`info`], [`socket`], [`options`].
//! * The daemon: [`daemon`] is the loop; [`connection`], [`frame`] and [`messages`] are the
//!   protocol; [`task`] has the methods, `lifecycle` those that create and delete processes;
//!   `finish` handles the answers of workers, and `exits` the exits of processes; [`jobs`] are
//!   running workers; [`stdio`] opens streams; [`events`], [`metrics`]. [`pump_thread`] and
//!   [`pump`] move bytes.
//! * A worker: [`worker`]; [`order`] is the message that it gets; [`library`] has the calls of
//!   orlop's library; [`mounts`], [`logger`].
//! * `delete`: [`delete`].
//!
//! # Rules
//!
//! * The loop never blocks. Descriptors are non-blocking. A log line is dropped if the fifo is
//!   full. Operations that may wait for hooks, freezers or filesystems are done by a worker.
//! * Only the thread of [`pump_thread`] touches the pipes of a running container, which can lock
//!   them.
//! * A container gets pipes of ours and never containerd's fifos, so that its output continues when
//!   containerd stops.
//! * A worker is our own sealed binary, executed anew. So a container that it creates inherits no
//!   memory with data of other containers.
//! * containerd gets the start of a process before its exit, and the exit of init last.

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
pub mod pump_thread;
mod shim_log;
pub mod socket;
pub mod start;
pub mod status;
pub mod stdio;
pub mod task;
pub mod unread;
pub mod worker;

use std::io::{Read, Write};

use flags::Flags;
use status::Failed;

/// The program; returns its exit code.
#[must_use]
pub fn main() -> u8 {
    if let Err(call) = orlop::sys::process::begin() {
        return print_error(&Failed::unknown(call.to_string()));
    }
    let flags = match Flags::read(orlop::sys::caller::arguments().into_iter().skip(1)) {
        Ok(flags) => flags,
        Err(failed) => return print_error(&failed),
    };
    let said = match &*flags.action {
        _ if flags.version => Ok(info::version().into_bytes()),
        _ if flags.info => read_all().and_then(|input| info::info(&input)),
        worker::ACTION => return worker::main(),
        "start" => start::start(&flags),
        "delete" => delete::delete(&flags),
        "" => Err(Failed::invalid("the action is missing: start or delete")),
        action => Err(Failed::invalid(format!("there is no action {action:?}: start or delete"))),
    };
    let printed = said.and_then(|text| {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&text).and_then(|()| stdout.flush());
        written.map_err(|error| Failed::unknown(format!("writing to standard output: {error}")))
    });
    printed.map_or_else(|failed| print_error(&failed), |()| 0)
}

fn read_all() -> Result<Vec<u8>, Failed> {
    let mut input = Vec::new();
    if !rustix::termios::isatty(rustix::stdio::stdin()) {
        let read = std::io::stdin().read_to_end(&mut input);
        read.map_err(|error| Failed::unknown(format!("reading standard input: {error}")))?;
    }
    Ok(input)
}

fn print_error(failed: &Failed) -> u8 {
    // There is nowhere else to print it.
    let _ = writeln!(std::io::stderr(), "containerd-shim-orlop-v2: {failed}");
    1
}
