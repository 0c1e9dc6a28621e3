//! A worker: receives one order, carries it out, answers, and ends. The process that it creates
//! becomes a child of the daemon.
//! process: worker
//!
//! It is our own sealed binary, executed anew, so that its memory has no data of other containers.
//! It may block on hooks, freezers and filesystems.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use orlop::log::{Log, LogFormat};
use orlop::sys::fd;
use prost::Message;
use rustix::fs::OFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::library;
use crate::order::{self, Answer, Order, Verb};
use crate::status::Failed;
use crate::{logger, mounts};

/// The argument that makes this process a worker.
pub const ACTION: &str = "worker";

/// Runs the worker; returns the exit code.
pub fn main() -> u8 {
    match work() {
        Ok(()) => 0,
        Err(_) => 1, // the daemon handles the missing answer
    }
}

fn work() -> Result<(), Failed> {
    let call = |what: &'static str| {
        move |error: rustix::io::Errno| Failed::unknown(format!("{what}: {error}"))
    };
    // If the daemon is killed, the worker must not continue: `delete` could then miss something
    // that the worker makes later.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(call("prctl"))?;
    let socket =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 10).map_err(call("fcntl"))?;
    // The new process, its hooks and its logger must not get the socket. Our outputs are /dev/null.
    fd::become_standard(rustix::stdio::stdout(), 0)
        .map_err(|call| Failed::unknown(call.to_string()))?;
    let (_, descriptors) = order::receive(&socket, &mut [0]).map_err(call("recvmsg"))?;
    let mut descriptors = descriptors.into_iter();
    let text = descriptors.next().ok_or_else(|| Failed::unknown("an order without a text"))?;
    let mut bytes = Vec::new();
    File::from(text).read_to_end(&mut bytes).map_err(|error| Failed::unknown(error.to_string()))?;
    let order = Order::decode(&*bytes).map_err(|error| Failed::unknown(error.to_string()))?;
    drop(bytes);
    if Pid::as_raw(rustix::process::getppid()) != order.daemon {
        return Err(Failed::unknown("the daemon has ended")); // before the prctl(2)
    }
    let streams: Vec<OwnedFd> = descriptors.collect();
    let mut console = None;
    if order.descriptors > 0 {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let limit = Rlimit { current: Some(order.descriptors), ..limit };
        rustix::process::setrlimit(Resource::Nofile, limit).map_err(call("setrlimit"))?;
    }
    let answer = match carry_out(&order, streams, &mut console) {
        Ok(answer) => answer,
        Err(failed) => Answer { code: failed.code, text: failed.text, ..Answer::default() },
    };
    order::answer(&socket, &answer, console.as_ref().map(AsFd::as_fd)).map_err(call("sendmsg"))
}

fn carry_out(
    order: &Order,
    streams: Vec<OwnedFd>,
    console: &mut Option<OwnedFd>,
) -> Result<Answer, Failed> {
    let log = Log::open(Some(&Path::new(&order.bundle).join("log.json")), LogFormat::Json);
    let log = log.map_err(|error| Failed::unknown(format!("{error:#}")))?.install(order.debug);
    let done = |result: anyhow::Result<()>, what: &str| match result {
        Ok(()) => Ok(Answer::default()),
        Err(error) => Err(library::failed(&error, what, log)),
    };
    match order.verb() {
        Verb::Nothing => Err(Failed::unknown("an order that says nothing")),
        Verb::Create => create(order, streams, console, log),
        Verb::Exec => {
            let logger = prepare(order, streams)?;
            let made = library::exec(order, console)
                .map_err(|error| library::failed(&error, "exec failed: exec", log));
            made.map(|pid| Answer { pid, logger: logger.keep(), ..Answer::default() })
        }
        Verb::Start => done(library::start(order), "start"),
        Verb::Kill => done(library::kill(order), ""),
        Verb::KillRest => done(library::kill_rest(order), ""),
        Verb::Pause => done(library::pause(order), "pause"),
        Verb::Resume => done(library::resume(order), "resume"),
        Verb::Update => done(library::update(order), "update"),
        Verb::Checkpoint => done(library::checkpoint(order), "checkpoint"),
        Verb::Restore => {
            let logger = prepare(order, streams)?;
            let made = library::restore(order, console)
                .map_err(|error| library::failed(&error, "restore", log))?;
            Ok(Answer { logger: logger.keep(), ..made })
        }
        Verb::Delete => {
            let removed = library::delete(order);
            // The rootfs is unmounted in any case. The remaining parts of the container do not need
            // it.
            mounts::unmount(&Path::new(&order.bundle).join("rootfs"));
            done(removed, "delete")
        }
    }
}

fn create(
    order: &Order,
    streams: Vec<OwnedFd>,
    console: &mut Option<OwnedFd>,
    log: &'static Log,
) -> Result<Answer, Failed> {
    let bundle = Path::new(&order.bundle);
    let keeping = |error: std::io::Error| {
        Failed::unknown(format!("keeping the options in {bundle:?}: {error}"))
    };
    order.options.clone().unwrap_or_default().keep(bundle).map_err(keeping)?;
    let rootfs = bundle.join("rootfs");
    let result = mounts::mount(&order.rootfs, &rootfs).and_then(|()| {
        if order.verb() == Verb::Create && order.checkpoint.is_some() {
            return Ok(Answer::default()); // until Start, there is only the rootfs
        }
        let logger = prepare(order, streams)?;
        let made = library::create(order, console)
            .map_err(|error| library::failed(&error, "create", log))?;
        Ok(Answer { logger: logger.keep(), ..made })
    });
    if result.is_err() && !order.rootfs.is_empty() {
        mounts::unmount(&rootfs);
    }
    result
}

/// Starts the logger, if there is one, and makes the streams of the new process our own stdio. If
/// there are none, this is /dev/null.
fn prepare(order: &Order, mut streams: Vec<OwnedFd>) -> Result<logger::Started, Failed> {
    let ends =
        if order.logger.is_empty() { Vec::new() } else { streams.split_off(3.min(streams.len())) };
    let started = logger::start(order, ends)?;
    let failed = |call: orlop::sys::Call| Failed::unknown(call.to_string());
    if streams.is_empty() {
        // Not the daemon's, whose lock and flags all containers would share.
        let null = fd::open("/dev/null".as_ref(), OFlags::RDWR).map_err(failed)?;
        for number in 0..3 {
            fd::become_standard(null.as_fd(), number).map_err(failed)?;
        }
    }
    for (number, stream) in (0..).zip(&streams) {
        fd::become_standard(stream.as_fd(), number).map_err(failed)?;
    }
    Ok(started)
}
