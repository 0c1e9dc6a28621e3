//! Messages byte by byte, as in the D-Bus specification.

use super::{BusMethod, FIXED, MessageType, call, length, read};
use crate::plan::systemd::value::PropertyValue;

#[test]
fn a_call_is_laid_out_as_the_specification_says() {
    let method = BusMethod { destination: Some("a.b"), path: "/a", interface: "c.d", member: "Do" };
    let message = call(method, 7, &[PropertyValue::text("xy"), PropertyValue::Uint64(1)]);
    let mut expected = b"l\x01\0\x01\x10\0\0\0\x07\0\0\0\x48\0\0\0".to_vec(); // 16 bytes of body, 72 of fields
    expected.extend(b"\x01\x01o\0\x02\0\0\0/a\0\0\0\0\0\0");
    expected.extend(b"\x02\x01s\0\x03\0\0\0c.d\0\0\0\0\0");
    expected.extend(b"\x03\x01s\0\x02\0\0\0Do\0\0\0\0\0\0");
    expected.extend(b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0");
    expected.extend(b"\x08\x01g\0\x02st\0");
    expected.extend(b"\x02\0\0\0xy\0\0\x01\0\0\0\0\0\0\0");
    assert_eq!(message, expected);
    assert_eq!(length(&message[..FIXED]), Some(message.len()));
}

/// A signal of a big-endian machine, with the body `(u, [("k", <true>)])`.
#[test]
fn both_orders_of_bytes_are_read() {
    let mut message = b"B\x04\0\x01\0\0\0\x18\0\0\0\x01\0\0\0\x1c".to_vec();
    message.extend(b"\x03\x01s\0\0\0\0\x04Gone\0\0\0\0");
    message.extend(b"\x08\x01g\0\x06ua(sv)\0");
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(b"\0\0\0\x09\0\0\0\x10\0\0\0\x01k\0\x01b\0\0\0\0\0\0\0\x01");
    let found = read(&message).expect("a message");
    assert_eq!(found.kind, MessageType::Signal("Gone".to_owned()));
    let pair = PropertyValue::Struct(vec![
        PropertyValue::text("k"),
        PropertyValue::Variant(Box::new(PropertyValue::Bool(true))),
    ]);
    assert_eq!(
        found.body,
        [PropertyValue::Uint32(9), PropertyValue::Array("(sv)".to_owned(), vec![pair])]
    );
}

#[test]
fn what_is_written_is_read() {
    let values = [
        PropertyValue::Byte(1),
        PropertyValue::Int16(-2),
        PropertyValue::Double(0.5),
        PropertyValue::Path("/x".into()),
        PropertyValue::Array("t".into(), vec![PropertyValue::Uint64(3)]),
        PropertyValue::Array("(sv)".into(), Vec::new()),
        PropertyValue::Variant(Box::new(PropertyValue::Array(
            "(ss)".into(),
            vec![PropertyValue::Struct(vec![PropertyValue::text("a"), PropertyValue::text("")])],
        ))),
    ];
    let method = BusMethod { destination: None, path: "/", interface: "i.f", member: "M" };
    let found = read(&call(method, 1, &values)).expect("a message");
    assert_eq!((found.kind, found.body), (MessageType::Other, values.to_vec()));
}

/// A message that is cut or changed is invalid, or another message. Nothing panics.
#[test]
fn broken_messages_are_refused() {
    let method = BusMethod { destination: None, path: "/", interface: "i.f", member: "M" };
    let message =
        call(method, 1, &[PropertyValue::Array("s".into(), vec![PropertyValue::text("abc")])]);
    for end in 0..message.len() {
        assert!(read(&message[..end]).is_none(), "{end}");
    }
    for at in 0..message.len() {
        for byte in [0, 1, b'a', b'(', 0x7f, 0xff] {
            let mut broken = message.clone();
            broken[at] = byte;
            let _ = (length(&broken[..FIXED]), read(&broken));
        }
    }
    assert_eq!(length(b"l\x01\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0"), None);
    assert_eq!(length(b"x\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0"), None);
}
