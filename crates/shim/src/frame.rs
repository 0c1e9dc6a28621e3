//! Frames of ttrpc: ten bytes of header, then a message.
//! process: daemon
//!
//! The header has the length of the message and the number of the stream, each with four bytes in
//! big-endian order, then the kind of the message and its flags, a byte each.

/// The length of a header in bytes.
const HEADER: usize = 10;

/// The longest message, as in all implementations of ttrpc.
pub const LIMIT: usize = 4 << 20;

/// A message from a client to a server.
pub const REQUEST: u8 = 1;
/// A message from a server to a client.
pub const RESPONSE: u8 = 2;

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message.
    Message {
        /// The number of its stream.
        stream: u32,
        /// [`REQUEST`], [`RESPONSE`] or something else.
        kind: u8,
        /// The encoded message.
        body: Vec<u8>,
    },
    /// A message longer than [`LIMIT`]. Its bytes are skipped.
    TooLong {
        /// The number of its stream.
        stream: u32,
        /// Its length according to the header.
        length: usize,
    },
}

/// Received bytes that are not a whole frame yet.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    /// How many of the next bytes belong to a message that is too long.
    skip: usize,
}

impl Incoming {
    /// Adds received bytes. They need not be whole frames.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.bytes.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
    }

    /// The next frame, if it is complete.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let header: [u8; HEADER] = *self.bytes.first_chunk()?;
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind, _flags] = header;
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        if length > LIMIT {
            let rest = self.bytes.split_off(HEADER);
            self.bytes.clear();
            self.skip = length;
            self.push(&rest);
            return Some(Frame::TooLong { stream, length });
        }
        let end = HEADER + length;
        let body = self.bytes.get(HEADER..end)?.to_vec();
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes = Vec::new(); // frees the memory of a large message
        }
        Some(Frame::Message { stream, kind, body })
    }
}

/// Appends a frame to `out`.
pub fn put(out: &mut Vec<u8>, stream: u32, kind: u8, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(stream.to_be_bytes());
    out.extend([kind, 0]);
    out.extend(body);
}

#[cfg(test)]
mod tests {
    use super::{Frame, Incoming, LIMIT, REQUEST, put};

    fn message(stream: u32, body: &[u8]) -> Frame {
        Frame::Message { stream, kind: REQUEST, body: body.to_vec() }
    }

    #[test]
    fn frames_are_whole_however_they_arrive() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, REQUEST, b"one");
        put(&mut bytes, 3, REQUEST, b"");
        put(&mut bytes, 5, REQUEST, &[7; 300]);
        for size in [1, 2, 9, 10, 11, 1000] {
            let mut incoming = Incoming::default();
            let mut frames = Vec::new();
            for part in bytes.chunks(size) {
                incoming.push(part);
                frames.extend(std::iter::from_fn(|| incoming.next_frame()));
            }
            assert_eq!(
                frames,
                [message(1, b"one"), message(3, b""), message(5, &[7; 300])],
                "{size}"
            );
        }
    }

    #[test]
    fn the_header_is_that_of_ttrpc() {
        let mut bytes = Vec::new();
        put(&mut bytes, 0x0102_0304, REQUEST, b"ab");
        assert_eq!(bytes, [0, 0, 0, 2, 1, 2, 3, 4, 1, 0, b'a', b'b']);
    }

    #[test]
    fn what_is_too_long_is_skipped_and_the_next_is_read() {
        let length = LIMIT + 1;
        let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.extend([0, 0, 0, 7, REQUEST, 0]);
        bytes.extend(vec![0; length]);
        put(&mut bytes, 9, REQUEST, b"next");
        let mut incoming = Incoming::default();
        let mut frames = Vec::new();
        for part in bytes.chunks(4096) {
            incoming.push(part);
            assert!(incoming.bytes.len() <= 4096, "what is skipped is not kept");
            frames.extend(std::iter::from_fn(|| incoming.next_frame()));
        }
        assert_eq!(frames, [Frame::TooLong { stream: 7, length }, message(9, b"next")]);
    }
}
