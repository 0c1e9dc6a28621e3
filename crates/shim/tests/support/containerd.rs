//! A containerd that takes events, and nothing else.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use containerd_shim_protos::api::ForwardRequest;
use orlop_shim::frame::{self, Frame, Incoming};
use protobuf::Message;

use super::PATIENCE;

/// An event as it has arrived.
#[derive(Debug, Clone)]
pub struct Event {
    pub topic: String,
    pub value: Vec<u8>,
}

impl Event {
    /// The event itself.
    pub fn decode<M: Message>(&self) -> M {
        M::parse_from_bytes(&self.value).unwrap()
    }
}

type Log = Arc<(Mutex<Vec<Event>>, Condvar)>;

/// The socket, and what has arrived.
pub struct Containerd {
    path: PathBuf,
    log: Log,
    connections: Arc<Mutex<Vec<UnixStream>>>,
    refusals: Arc<AtomicUsize>,
}

impl Containerd {
    pub fn listen(path: &Path) -> Self {
        let this = Self {
            path: path.to_owned(),
            log: Log::default(),
            connections: Arc::default(),
            refusals: Arc::default(),
        };
        this.listen_again();
        this
    }

    /// After [`Self::stop`].
    pub fn listen_again(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (log, connections) = (self.log.clone(), self.connections.clone());
        let refusals = self.refusals.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.lock().unwrap().push(stream.try_clone().unwrap());
                let (log, refusals) = (log.clone(), refusals.clone());
                std::thread::spawn(move || serve(stream, &log, &refusals));
            }
        });
    }

    /// Nobody can connect any more, and who is connected is no longer served.
    pub fn stop(&self) {
        std::fs::remove_file(&self.path).unwrap();
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both); // it may have ended
        }
    }

    /// The next `count` events are refused.
    pub fn refuse(&self, count: usize) {
        self.refusals.store(count, Ordering::SeqCst);
    }

    /// How many more events will be refused.
    pub fn refusals_left(&self) -> usize {
        self.refusals.load(Ordering::SeqCst)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has come so far.
    pub fn events(&self) -> Vec<Event> {
        self.log.0.lock().unwrap().clone()
    }

    pub fn topics(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.topic).collect()
    }

    /// Waits until so many have come of a topic.
    pub fn wait_for(&self, topic: &str, count: usize) -> Vec<Event> {
        let (events, more) = &*self.log;
        let of_topic =
            |events: &[Event]| events.iter().filter(|event| event.topic == topic).count();
        let guard = events.lock().unwrap();
        let (guard, timeout) =
            more.wait_timeout_while(guard, PATIENCE, |events| of_topic(events) < count).unwrap();
        assert!(!timeout.timed_out(), "{count} of {topic}: {guard:?}");
        guard.clone()
    }
}

fn serve(mut stream: UnixStream, log: &Log, refusals: &AtomicUsize) {
    let mut incoming = Incoming::default();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        incoming.push(&buffer[..length]);
        while let Some(Frame::Message { stream: number, body, .. }) = incoming.next_frame() {
            let request = ttrpc::proto::Request::parse_from_bytes(&body).unwrap();
            assert_eq!(
                (&*request.service, &*request.method),
                ("containerd.services.events.ttrpc.v1.Events", "Forward")
            );
            let forward = ForwardRequest::parse_from_bytes(&request.payload).unwrap();
            let event = Event {
                topic: forward.envelope.topic.clone(),
                value: forward.envelope.event.value.clone(),
            };
            let mut response = ttrpc::proto::Response::new();
            let left = refusals.load(Ordering::SeqCst);
            if left > 0 {
                refusals.store(left - 1, Ordering::SeqCst);
                response.set_status(ttrpc::get_status(ttrpc::Code::UNAVAILABLE, "not now"));
            } else {
                log.0.lock().unwrap().push(event);
                log.1.notify_all();
            }
            let mut answer = Vec::new();
            let response = response.write_to_bytes().unwrap();
            frame::put(&mut answer, number, frame::RESPONSE, &response);
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}
