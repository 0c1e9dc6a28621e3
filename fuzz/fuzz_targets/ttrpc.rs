//! What a client may send to the shim: frames, requests in them, messages in those.
//!
//! The first byte says in pieces of which size the rest arrives. However it does, the same frames
//! come out, and no more is kept than has arrived.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_shim::frame::{Frame, Incoming, LIMIT};
use orlop_shim::messages::{
    CheckpointTaskRequest, CloseIoRequest, ContainerRequest, CreateTaskRequest, ExecProcessRequest,
    KillRequest, ProcessRequest, Request, ResizePtyRequest, ShutdownRequest, UpdateTaskRequest,
};
use orlop_shim::options::Options;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let whole = frames(bytes, bytes.len().max(1));
    assert_eq!(frames(bytes, usize::from(*size).max(1)), whole);
    for frame in whole {
        match frame {
            Frame::TooLong { length, .. } => assert!(length > LIMIT),
            Frame::Message { body, .. } => {
                assert!(body.len() <= bytes.len());
                if let Ok(request) = Request::decode(&*body) {
                    read(&request.payload);
                }
            }
        }
    }
});

fn frames(bytes: &[u8], size: usize) -> Vec<Frame> {
    let mut incoming = Incoming::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(size) {
        incoming.push(piece);
        frames.extend(std::iter::from_fn(|| incoming.next_frame()));
    }
    frames
}

/// The payload as each message that there is.
fn read(payload: &[u8]) {
    if let Ok(request) = CreateTaskRequest::decode(payload)
        && let Err(failed) = Options::read(request.options.as_ref())
    {
        assert!(!failed.text.is_empty());
    }
    let _ = ExecProcessRequest::decode(payload);
    let _ = ProcessRequest::decode(payload);
    let _ = ContainerRequest::decode(payload);
    let _ = KillRequest::decode(payload);
    let _ = ResizePtyRequest::decode(payload);
    let _ = CloseIoRequest::decode(payload);
    let _ = UpdateTaskRequest::decode(payload);
    let _ = CheckpointTaskRequest::decode(payload);
    let _ = ShutdownRequest::decode(payload);
}
