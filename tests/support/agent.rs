//! A seccomp agent: takes the descriptor of a filter over a Unix socket and answers the system
//! calls that notify.

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

/// What the agent says to every call but execve, which it always lets go on.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The call fails with this error number.
    Errno(i32),
    /// The call succeeds without being made.
    Success,
    /// The call is made.
    GoOn,
    /// The agent takes the descriptor and closes it.
    Nothing,
}

/// An agent; it ends when dropped.
#[derive(Debug)]
pub struct Agent {
    stop: Arc<AtomicBool>,
    documents: Arc<Mutex<Vec<Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens at `path`.
    pub fn at(path: &Path, answer: Answer) -> Self {
        let _ = std::fs::remove_file(path);
        Self::on(UnixListener::bind(path).unwrap(), answer)
    }

    /// Listens at that socket.
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

    /// The documents that have come so far.
    pub fn documents(&self) -> Vec<Value> {
        self.documents.lock().unwrap().clone()
    }

    /// Waits until `count` documents have come.
    #[track_caller]
    pub fn wait_for_documents(&self, count: usize) -> Vec<Value> {
        assert!(
            eventually(Duration::from_secs(10), || self.documents().len() >= count),
            "{:?}",
            self.documents()
        );
        self.documents()
    }

    /// How many connections have ended after their document.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// The names of the calls that it has been asked about.
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

/// One document, and one descriptor with its beginning.
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
            return; // nobody is left under the filter
        }
        if !events.contains(PollFlags::IN) {
            continue;
        }
        // It fails when whoever asked has died meanwhile.
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
