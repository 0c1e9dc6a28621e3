//! A seccomp agent: receives the listener of a filter on a Unix socket, and answers the
//! notifications.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use super::eventually;

/// The answer to every call except execve, which is always allowed.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The call fails with this error number.
    Errno(i32),
    /// The call succeeds without being executed.
    Success,
    /// The call is executed.
    GoOn,
    /// The agent receives the listener and closes it.
    Nothing,
}

/// An agent. It ends when this is dropped.
#[derive(Debug)]
pub struct Agent {
    stop: Arc<AtomicBool>,
    documents: Arc<Mutex<Vec<Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens on `path`.
    pub fn at(path: &Path, answer: Answer) -> Self {
        let _ = std::fs::remove_file(path);
        Self::on(UnixListener::bind(path).unwrap(), answer)
    }

    /// Listens on that socket.
    pub fn on(listener: UnixListener, answer: Answer) -> Self {
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let documents = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let (stop, documents, asked, ended) =
                (stop.clone(), documents.clone(), asked.clone(), ended.clone());
            move || {
                let mut workers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            let (document, filter) = read_one(&stream);
                            documents.lock().unwrap().push(document);
                            let (stop, asked) = (stop.clone(), asked.clone());
                            workers.push(std::thread::spawn(move || {
                                serve(&filter, answer, &stop, &asked)
                            }));
                            let ended = ended.clone();
                            workers.push(std::thread::spawn(move || {
                                if matches!((&stream).read(&mut [0]), Ok(0)) {
                                    ended.fetch_add(1, Ordering::Relaxed);
                                }
                            }));
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(5)),
                    }
                }
                workers.into_iter().for_each(|worker| worker.join().unwrap());
            }
        });
        Agent { stop, documents, asked, ended, thread: Some(thread) }
    }

    /// The documents that have been received so far.
    pub fn documents(&self) -> Vec<Value> {
        self.documents.lock().unwrap().clone()
    }

    /// Waits until `count` documents have been received.
    #[track_caller]
    pub fn wait_for_documents(&self, count: usize) -> Vec<Value> {
        assert!(
            eventually(Duration::from_secs(10), || self.documents().len() >= count),
            "{:?}",
            self.documents()
        );
        self.documents()
    }

    /// How many connections the other end has closed after the document.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// The names of the calls that have notified the agent.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Receives one document, with one descriptor at its first bytes.
fn read_one(stream: &UnixStream) -> (Value, OwnedFd) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length =
        recvmsg(stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC);
    let text = &buffer[..length.unwrap().bytes];
    let mut descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors.collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(descriptors.len(), 1, "one descriptor with the first bytes");
    (serde_json::from_slice(text).unwrap(), descriptors.remove(0))
}

fn serve(filter: &OwnedFd, answer: Answer, stop: &AtomicBool, asked: &Mutex<Vec<String>>) {
    const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    if matches!(answer, Answer::Nothing) {
        return;
    }
    while !stop.load(Ordering::Relaxed) {
        let mut polled = [PollFd::new(filter, PollFlags::IN)];
        poll(&mut polled, Some(&INTERVAL)).unwrap();
        let events = polled[0].revents();
        if events.contains(PollFlags::HUP) {
            return; // no process has the filter any more
        }
        if !events.contains(PollFlags::IN) {
            continue;
        }
        // This fails if the process of the call has ended meanwhile.
        let Ok(request) = ScmpNotifReq::receive(filter.as_raw_fd()) else { continue };
        let name = request.data.syscall.get_name().unwrap();
        let none = ScmpNotifRespFlags::empty();
        let response = match answer {
            _ if name == "execve" => ScmpNotifResp::new_continue(request.id, none),
            Answer::GoOn | Answer::Nothing => ScmpNotifResp::new_continue(request.id, none),
            Answer::Errno(errno) => ScmpNotifResp::new_error(request.id, -errno, none),
            Answer::Success => ScmpNotifResp::new_val(request.id, 0, none),
        };
        asked.lock().unwrap().push(name);
        let _ = response.respond(filter.as_raw_fd());
    }
}
