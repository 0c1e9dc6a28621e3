//! The thread that moves bytes between containers and clients.
//! process: daemon, in a thread of its own, which exists as soon as there is something to move
//!
//! A process of a container can hold the lock of a pipe for as long as it likes: with a splice(2)
//! from a socket without data to its standard output. Every other call on that pipe then waits and
//! cannot be killed, close(2) and calls with `O_NONBLOCK` too. So only this thread touches pipes
//! that a running container has. The daemon goes on, and its clients can kill the container, which
//! releases the lock.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::epoll::EventFlags;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::poll::{Poll, Token};
use crate::pump::Pump;
use crate::unread::Unread;

/// The size of the thread's stack. Its longest buffer has 4 KiB.
const STACK: usize = 64 << 10;

/// What the thread must do.
#[derive(Debug)]
enum Task {
    /// Begin a pump.
    Begin(Pump),
    /// End a pump, and close its descriptors.
    End(u64),
    /// Close these descriptors.
    Close(Vec<OwnedFd>),
}

/// The data of both threads.
#[derive(Debug)]
struct Shared {
    tasks: Mutex<Vec<Task>>,
    /// The event that there are tasks.
    for_thread: OwnedFd,
    /// The pumps that have ended by themselves.
    ended: Mutex<Vec<u64>>,
    /// The event that there are such pumps.
    for_daemon: OwnedFd,
}

/// The daemon's side.
#[derive(Debug)]
pub struct PumpThread {
    shared: Arc<Shared>,
}

impl PumpThread {
    /// Starts the thread. `poll` reports [`Token::PumpsEnded`] when pumps have ended.
    ///
    /// # Errors
    /// Errors of the calls.
    pub fn start(poll: &Poll) -> std::io::Result<Self> {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let shared = Arc::new(Shared {
            tasks: Mutex::default(),
            for_thread: event()?,
            ended: Mutex::default(),
            for_daemon: event()?,
        });
        let its_poll = Poll::new()?;
        its_poll.add(&shared.for_thread, Token::PumpTasks, EventFlags::IN)?;
        poll.add(&shared.for_daemon, Token::PumpsEnded, EventFlags::IN)?;
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn(move || run(&its, &its_poll))?;
        Ok(Self { shared })
    }

    /// Begins a pump.
    pub fn begin(&self, pump: Pump) {
        self.give(Task::Begin(pump));
    }

    /// Ends a pump, and closes both of its descriptors.
    pub fn end(&self, number: u64) {
        self.give(Task::End(number));
    }

    /// Closes descriptors of pipes that a container has.
    pub fn close(&self, descriptors: Vec<OwnedFd>) {
        self.give(Task::Close(descriptors));
    }

    /// The numbers of the pumps that have ended by themselves since the last call.
    #[must_use]
    pub fn take_ended(&self) -> Vec<u64> {
        let _ = rustix::io::read(&self.shared.for_daemon, &mut [0; 8]); // it may have no event
        std::mem::take(&mut *lock(&self.shared.ended))
    }

    fn give(&self, task: Task) {
        lock(&self.shared.tasks).push(task);
        signal(&self.shared.for_thread);
    }
}

/// Neither thread panics while it has a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signal(event: &OwnedFd) {
    // It can only fail if the event is there already.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

/// The pumps, and the outputs of those that have ended.
#[derive(Debug, Default)]
struct Pumps {
    running: BTreeMap<u64, Pump>,
    unread: Unread,
}

/// The thread. It ends with the process.
fn run(shared: &Shared, poll: &Poll) {
    let mut pumps = Pumps::default();
    loop {
        match poll.wait(pumps.unread.pause()) {
            Ok(events) => {
                for (token, _) in events {
                    handle(shared, poll, &mut pumps, token);
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return log::error!("moving bytes: epoll_wait(): {errno}"),
        }
        for number in pumps.unread.take_read() {
            report(shared, number);
        }
    }
}

fn handle(shared: &Shared, poll: &Poll, pumps: &mut Pumps, token: Token) {
    match token {
        Token::PumpTasks => {
            let _ = rustix::io::read(&shared.for_thread, &mut [0; 8]); // it may have no event
            let tasks = std::mem::take(&mut *lock(&shared.tasks));
            for task in tasks {
                carry_out(shared, poll, pumps, task);
            }
        }
        Token::Source(number) | Token::Sink(number)
            if pumps.running.get_mut(&number).is_some_and(|pump| pump.run(poll)) =>
        {
            ended(shared, poll, pumps, number);
        }
        _ => {}
    }
}

fn carry_out(shared: &Shared, poll: &Poll, pumps: &mut Pumps, task: Task) {
    match task {
        Task::Begin(pump) => {
            let number = pump.number();
            match pump.begin(poll) {
                Ok(()) => drop(pumps.running.insert(number, pump)),
                Err(errno) => {
                    let owner = &pump.owner;
                    log::warn!(
                        "moving bytes for {} {}: epoll_ctl(): {errno}",
                        owner.id,
                        owner.exec_id
                    );
                    report(shared, number);
                }
            }
        }
        Task::End(number) => {
            pumps.unread.remove(number);
            if let Some(pump) = pumps.running.remove(&number) {
                drop(pump.end(poll));
            }
        }
        Task::Close(descriptors) => drop(descriptors),
    }
}

/// A pump has ended by itself.
fn ended(shared: &Shared, poll: &Poll, pumps: &mut Pumps, number: u64) {
    let Some(pump) = pumps.running.remove(&number) else { return };
    let is_input = pump.owner.is_input;
    let sink = pump.end(poll);
    if is_input || !pumps.unread.take(number, sink) {
        report(shared, number);
    }
}

fn report(shared: &Shared, number: u64) {
    lock(&shared.ended).push(number);
    signal(&shared.for_daemon);
}
