//! The messages of criu, as its rpc.proto defines them: protocol buffers with a few numbers and
//! strings. There are only these two kinds of fields, so we encode them here (protobuf.dev,
//! "Encoding"). `prost` would add code for both directions of each message, and a generator.

use crate::error::Result;

/// Fields of `criu_opts`.
pub mod option {
    #![expect(
        missing_docs,
        reason = "the names are those of rpc.proto, the meanings those of criu(8)"
    )]
    pub const IMAGES_DIR_FD: u32 = 1;
    pub const PID: u32 = 2;
    pub const LEAVE_RUNNING: u32 = 3;
    pub const EXT_UNIX_SK: u32 = 4;
    pub const TCP_ESTABLISHED: u32 = 5;
    pub const EVASIVE_DEVICES: u32 = 6;
    pub const SHELL_JOB: u32 = 7;
    pub const FILE_LOCKS: u32 = 8;
    pub const LOG_LEVEL: u32 = 9;
    pub const LOG_FILE: u32 = 10;
    pub const PAGE_SERVER: u32 = 11;
    pub const NOTIFY_SCRIPTS: u32 = 12;
    pub const ROOT: u32 = 13;
    pub const PARENT_IMAGE: u32 = 14;
    pub const TRACK_MEMORY: u32 = 15;
    pub const AUTO_DEDUP: u32 = 16;
    pub const WORK_DIR_FD: u32 = 17;
    pub const LINK_REMAP: u32 = 18;
    pub const EXTERNAL_MOUNT: u32 = 23;
    pub const MANAGE_CGROUPS: u32 = 24;
    pub const CGROUP_ROOT: u32 = 25;
    pub const RESTORE_SIBLING: u32 = 26;
    pub const INHERIT_FD: u32 = 27;
    pub const MANAGE_CGROUPS_MODE: u32 = 34;
    pub const EXTERNAL: u32 = 37;
    pub const EMPTY_NS: u32 = 38;
    pub const JOIN_NS: u32 = 39;
    pub const FREEZE_CGROUP: u32 = 44;
    pub const TCP_SKIP_IN_FLIGHT: u32 = 46;
    pub const LAZY_PAGES: u32 = 48;
    pub const ORPHAN_PTS_MASTER: u32 = 50;
    pub const CONFIG_FILE: u32 = 51;
    pub const TCP_CLOSE: u32 = 52;
    pub const LSM_PROFILE: u32 = 53;
    pub const LSM_MOUNT_CONTEXT: u32 = 63;
}

/// `criu_req_type`: the type of a request or of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestType {
    /// Save the processes.
    Dump = 1,
    /// Restore the processes.
    Restore = 2,
    /// Save only the memory of the processes, which continue to run.
    PreDump = 4,
    /// A notification, or the answer to one.
    Notify = 6,
    /// The features of criu and the kernel.
    FeatureCheck = 9,
    /// The version of criu.
    Version = 10,
}

impl RequestType {
    /// Its name in errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dump => "DUMP",
            Self::Restore => "RESTORE",
            Self::PreDump => "PRE_DUMP",
            Self::Notify => "NOTIFY",
            Self::FeatureCheck => "FEATURE_CHECK",
            Self::Version => "VERSION",
        }
    }
}

/// A message that is being encoded.
#[derive(Debug, Default, Clone)]
pub struct CriuMessage(Vec<u8>);

impl CriuMessage {
    /// A number, or a bool as 0 or 1.
    pub fn number(&mut self, field: u32, value: impl Into<u64>) {
        self.varint(u64::from(field) << 3);
        self.varint(value.into());
    }

    /// A bool, which is left out if it is false.
    pub fn switch(&mut self, field: u32, on: bool) {
        if on {
            self.number(field, 1_u64);
        }
    }

    /// A text.
    pub fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A nested message.
    pub fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// A nested message of two strings.
    pub fn pair(&mut self, field: u32, first: &str, second: &str) {
        let mut pair = Self::default();
        pair.text(1, first);
        pair.text(2, second);
        self.message(field, &pair);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The encoded message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `criu_req`.
#[must_use]
pub fn request(kind: RequestType, options: &CriuMessage) -> CriuMessage {
    let mut request = CriuMessage::default();
    request.number(1, kind as u64);
    if !options.0.is_empty() {
        request.message(2, options);
    }
    request
}

/// The answer to a notification: continue, or stop.
#[must_use]
pub fn notified(success: bool) -> CriuMessage {
    let mut request = request(RequestType::Notify, &CriuMessage::default());
    request.number(3, u64::from(success));
    request
}

/// The request for `mem_track` (1) or `lazy_pages` (2) of `criu_features`.
#[must_use]
pub fn feature(number: u32) -> CriuMessage {
    let mut features = CriuMessage::default();
    features.number(number, 1_u64);
    let mut request = request(RequestType::FeatureCheck, &CriuMessage::default());
    request.message(5, &features);
    request
}

/// The fields of `criu_resp` that we use.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// `criu_req_type` of the response.
    pub kind: u64,
    /// Whether the request has succeeded.
    pub success: bool,
    /// The errno, if it has failed.
    pub errno: i32,
    /// The name of the notification, if it is one.
    pub script: String,
    /// The process of the notification.
    pub pid: i32,
    /// The available features, by their numbers in `criu_features`.
    pub features: Vec<u32>,
    /// The version as one number: 31701 is 3.17.1.
    pub version: u64,
}

impl Response {
    /// Decodes a response.
    ///
    /// # Errors
    /// An error if it is not a valid message.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut answer = Self::default();
        for (field, value) in fields(bytes)? {
            match (field, value) {
                (1, FieldValue::Number(kind)) => answer.kind = kind,
                (2, FieldValue::Number(success)) => answer.success = success != 0,
                (3 | 4, FieldValue::Bytes(restored)) => answer.pid = number(restored, 1)?,
                (5, FieldValue::Bytes(notify)) => {
                    answer.pid = number(notify, 2)?;
                    answer.script = text(notify, 1)?;
                }
                (7, FieldValue::Number(errno)) => answer.errno = int32(errno),
                (8, FieldValue::Bytes(features)) => {
                    let there = |(field, value): &(u32, FieldValue<'_>)| {
                        (*value == FieldValue::Number(1)).then_some(*field)
                    };
                    answer.features = fields(features)?.iter().filter_map(there).collect();
                }
                (10, FieldValue::Bytes(version)) => {
                    let part =
                        |field| number(version, field).map(|part| u64::from(part.unsigned_abs()));
                    answer.version = part(1)? * 10_000 + part(2)? * 100 + part(4)?;
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Whether the response has this type.
    #[must_use]
    pub fn is(&self, kind: RequestType) -> bool {
        self.kind == kind as u64
    }
}

#[derive(Debug, PartialEq, Eq)]
enum FieldValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u32, FieldValue<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => FieldValue::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?)?;
                let Some((value, rest)) = bytes.split_at_checked(length) else {
                    anyhow::bail!("criu's answer ends early")
                };
                bytes = rest;
                FieldValue::Bytes(value)
            }
            other => anyhow::bail!("criu's answer has a field of the unknown type {other}"),
        };
        fields.push((u32::try_from(tag >> 3)?, value));
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((first, rest)) = bytes.split_first() else {
            anyhow::bail!("criu's answer ends early")
        };
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("criu's answer has a number that is too large")
}

/// The last number of this field, or 0.
fn number(message: &[u8], field: u32) -> Result<i32> {
    let last = fields(message)?.into_iter().rfind(|(found, _)| *found == field);
    Ok(match last {
        Some((_, FieldValue::Number(value))) => int32(value),
        _ => 0,
    })
}

/// A negative number is encoded with all of its 64 bits.
fn int32(value: u64) -> i32 {
    i32::try_from(value.cast_signed()).unwrap_or(0)
}

fn text(message: &[u8], field: u32) -> Result<String> {
    let last = fields(message)?.into_iter().rfind(|(found, _)| *found == field);
    Ok(match last {
        Some((_, FieldValue::Bytes(text))) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::{CriuMessage, RequestType, Response, notified, option, request};

    /// The output of `protoc --encode=criu_req` for the same message.
    #[test]
    fn requests_are_encoded_as_by_protoc() {
        let mut options = CriuMessage::default();
        options.number(option::IMAGES_DIR_FD, 300_u64);
        options.switch(option::SHELL_JOB, true);
        options.switch(option::FILE_LOCKS, false);
        options.text(option::LOG_FILE, "dump.log");
        options.pair(option::EXTERNAL_MOUNT, "/a", "b");
        let expected =
            b"\x08\x01\x12\x19\x08\xac\x02\x38\x01\x52\x08dump.log\xba\x01\x07\x0a\x02/a\x12\x01b";
        assert_eq!(request(RequestType::Dump, &options).as_bytes(), expected);
        assert_eq!(notified(true).as_bytes(), b"\x08\x06\x18\x01");
        assert_eq!(notified(false).as_bytes(), b"\x08\x06\x18\x00");
    }

    #[test]
    fn answers_are_read() {
        let read = |bytes| Response::read(bytes).expect("an answer");
        let notify = read(b"\x08\x06\x10\x01\x2a\x10\x0a\x0cpost-restore\x10\x2a");
        assert!(
            notify.is(RequestType::Notify)
                && notify.success
                && notify.script == "post-restore"
                && notify.pid == 42
        );
        let failed = read(b"\x08\x01\x10\x00\x38\x34\x4a\x02no");
        assert_eq!((failed.success, failed.errno), (false, 52));
        let negative = read(b"\x08\x01\x10\x00\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        assert_eq!(negative.errno, -1);
        assert_eq!(read(b"\x08\x0a\x10\x01\x52\x06\x08\x03\x10\x11\x20\x01").version, 31_701);
        assert_eq!(read(b"\x08\x09\x10\x01\x42\x04\x08\x01\x10\x00").features, [1]);
        for broken in [
            &b"\x08"[..],
            b"\x2a\x10\x0a",
            b"\x0b",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            Response::read(broken).expect_err("no message");
        }
    }
}
