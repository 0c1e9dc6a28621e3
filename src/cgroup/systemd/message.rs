//! A message on the wire (D-Bus specification, "Message Protocol"). We write little-endian, and
//! read both byte orders.

use crate::plan::systemd::value::{PropertyValue, split_signature};

/// The longest message that is accepted. No answer that we need is longer.
const LONGEST: usize = 1 << 24;

/// The fixed part of the header, with the length of the fields that follow.
pub(super) const FIXED: usize = 16;

/// The header fields that are used here.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method, and the object to which the call is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct BusMethod {
    /// The name on the bus. `None` on a connection without a bus.
    pub(super) destination: Option<&'static str>,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
}

/// The bytes of a call.
pub(super) fn call(method: BusMethod, serial: u32, arguments: &[PropertyValue]) -> Vec<u8> {
    let signature: String = arguments.iter().map(PropertyValue::signature).collect();
    let field = |code: u8, value: PropertyValue| {
        PropertyValue::Struct(vec![
            PropertyValue::Byte(code),
            PropertyValue::Variant(Box::new(value)),
        ])
    };
    let mut fields = vec![
        field(PATH, PropertyValue::Path(method.path.to_owned())),
        field(INTERFACE, PropertyValue::text(method.interface)),
        field(MEMBER, PropertyValue::text(method.member)),
    ];
    fields.extend(method.destination.map(|name| field(DESTINATION, PropertyValue::text(name))));
    if !arguments.is_empty() {
        fields.push(field(SIGNATURE, PropertyValue::Signature(signature)));
    }
    let mut body = Writer::default();
    arguments.iter().for_each(|argument| body.value(argument));

    const METHOD_CALL: u8 = 1;
    let mut message = Writer(vec![b'l', METHOD_CALL, 0, 1]);
    message.number(body.0.len());
    message.0.extend(serial.to_le_bytes());
    message.value(&PropertyValue::Array("(yv)".to_owned(), fields));
    message.align(8);
    message.0.extend(body.0);
    message.0
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// A length. If it does not fit, the receiver refuses the message.
    fn number(&mut self, number: usize) {
        self.align(4);
        self.0.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn value(&mut self, value: &PropertyValue) {
        self.align(alignment(&value.signature()));
        match value {
            PropertyValue::Byte(number) => self.0.push(*number),
            PropertyValue::Bool(bit) => self.number(usize::from(*bit)),
            PropertyValue::Int16(number) => self.0.extend(number.to_le_bytes()),
            PropertyValue::Uint16(number) => self.0.extend(number.to_le_bytes()),
            PropertyValue::Int32(number) => self.0.extend(number.to_le_bytes()),
            PropertyValue::Uint32(number) => self.0.extend(number.to_le_bytes()),
            PropertyValue::Int64(number) => self.0.extend(number.to_le_bytes()),
            PropertyValue::Uint64(number) => self.0.extend(number.to_le_bytes()),
            PropertyValue::Double(number) => self.0.extend(number.to_le_bytes()),
            PropertyValue::Text(text) | PropertyValue::Path(text) => self.text(text),
            PropertyValue::Signature(text) => self.signature(text),
            PropertyValue::Array(element, values) => {
                let length = self.0.len();
                self.0.extend([0; 4]);
                // The padding before the first element does not count.
                self.align(alignment(element));
                let start = self.0.len();
                values.iter().for_each(|value| self.value(value));
                let count = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
                self.0[length..length + 4].copy_from_slice(&count.to_le_bytes());
            }
            PropertyValue::Entry(entry) => {
                self.value(&entry.0);
                self.value(&entry.1);
            }
            PropertyValue::Struct(fields) => fields.iter().for_each(|field| self.value(field)),
            PropertyValue::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
        }
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// A message that was received.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Its type.
    pub(super) kind: MessageType,
    /// Its values.
    pub(super) body: Vec<PropertyValue>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum MessageType {
    /// The answer to the call with this serial number.
    Reply(u32),
    /// An error as the answer to that call, with the name of the error.
    Failed(u32, String),
    /// A signal with this name.
    Signal(String),
    /// A message that we do not use.
    Other,
}

/// The length of a message, from its first [`FIXED`] bytes.
pub(super) fn length(start: &[u8]) -> Option<usize> {
    let big = is_big(start)?;
    let word = |at: usize| {
        let bytes = start.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
            .ok()
    };
    let header = FIXED.checked_add(word(12)?)?.checked_next_multiple_of(8)?;
    header.checked_add(word(4)?).filter(|length| *length <= LONGEST)
}

fn is_big(start: &[u8]) -> Option<bool> {
    match start.first()? {
        b'l' => Some(false),
        b'B' => Some(true),
        _ => None,
    }
}

/// Reads a whole message. `None` if it is invalid.
pub(super) fn read(bytes: &[u8]) -> Option<Incoming> {
    let mut reader = MessageReader { bytes, at: 12, big: is_big(bytes)? };
    let PropertyValue::Array(_, fields) = reader.value("a(yv)", 0)? else { return None };
    reader.align(8)?;
    let (mut member, mut error, mut serial, mut signature) = (None, None, 0, String::new());
    for field in fields {
        let PropertyValue::Struct(field) = field else { return None };
        let Ok([PropertyValue::Byte(code), PropertyValue::Variant(value)]) =
            <[PropertyValue; 2]>::try_from(field)
        else {
            return None;
        };
        match (code, *value) {
            (MEMBER, PropertyValue::Text(text)) => member = Some(text),
            (ERROR_NAME, PropertyValue::Text(text)) => error = Some(text),
            (REPLY_SERIAL, PropertyValue::Uint32(number)) => serial = number,
            (SIGNATURE, PropertyValue::Signature(text)) => signature = text,
            _ => {}
        }
    }
    let kind = match (bytes.get(1)?, error, member) {
        (2, _, _) => MessageType::Reply(serial),
        (3, Some(name), _) => MessageType::Failed(serial, name),
        (4, _, Some(name)) => MessageType::Signal(name),
        _ => MessageType::Other,
    };
    let mut body = Vec::new();
    let mut rest = signature.as_str();
    while let Some((first, others)) = split_signature(rest) {
        body.push(reader.value(first, 0)?);
        rest = others;
    }
    Some(Incoming { kind, body })
}

struct MessageReader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl MessageReader<'_> {
    fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// The next bytes, in little-endian order.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes: [u8; N] =
            self.bytes.get(self.at..self.at.checked_add(N)?)?.try_into().ok()?;
        self.at += N;
        if self.big {
            bytes.reverse();
        }
        Some(bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take()?)).ok()
    }

    /// A text of this length, which a zero byte follows.
    fn text(&mut self, length: usize) -> Option<String> {
        let text = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at = self.at.checked_add(length + 1).filter(|at| *at <= self.bytes.len())?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn value(&mut self, signature: &str, depth: usize) -> Option<PropertyValue> {
        /// D-Bus allows 32 arrays in 32 structures.
        const DEPTH: usize = 64;
        if depth > DEPTH {
            return None;
        }
        self.align(alignment(signature))?;
        Some(match signature.as_bytes().first()? {
            b'y' => PropertyValue::Byte(self.take::<1>()?[0]),
            b'b' => PropertyValue::Bool(self.length()? != 0),
            b'n' => PropertyValue::Int16(i16::from_le_bytes(self.take()?)),
            b'q' => PropertyValue::Uint16(u16::from_le_bytes(self.take()?)),
            b'i' => PropertyValue::Int32(i32::from_le_bytes(self.take()?)),
            b'u' => PropertyValue::Uint32(u32::from_le_bytes(self.take()?)),
            b'x' => PropertyValue::Int64(i64::from_le_bytes(self.take()?)),
            b't' => PropertyValue::Uint64(u64::from_le_bytes(self.take()?)),
            b'd' => PropertyValue::Double(f64::from_le_bytes(self.take()?)),
            b's' => {
                let length = self.length()?;
                PropertyValue::Text(self.text(length)?)
            }
            b'o' => {
                let length = self.length()?;
                PropertyValue::Path(self.text(length)?)
            }
            b'g' => PropertyValue::Signature(self.signature()?),
            b'v' => {
                let signature = self.signature()?;
                let (first, "") = split_signature(&signature)? else { return None };
                PropertyValue::Variant(Box::new(self.value(first, depth + 1)?))
            }
            b'a' => {
                let element = &signature[1..];
                let length = self.length()?;
                self.align(alignment(element))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
                let mut values = Vec::new();
                while self.at < end {
                    let before = self.at;
                    values.push(self.value(element, depth + 1)?);
                    if self.at == before {
                        return None;
                    }
                }
                PropertyValue::Array(element.to_owned(), values)
            }
            b'(' | b'{' => {
                let mut fields = Vec::new();
                let mut rest = signature.get(1..signature.len() - 1)?;
                while let Some((first, others)) = split_signature(rest) {
                    fields.push(self.value(first, depth + 1)?);
                    rest = others;
                }
                PropertyValue::Struct(fields)
            }
            _ => return None,
        })
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.take::<1>()?[0]);
        self.text(length)
    }
}

#[cfg(test)]
mod tests;
