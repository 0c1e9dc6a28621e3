//! A D-Bus value with its type.

/// A value of a unit's property (D-Bus specification, "Type system").
#[derive(Debug, Clone, PartialEq)]
pub enum PropertyValue {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a` and the signature of an element.
    Array(String, Vec<PropertyValue>),
    /// `{…}`: an entry of a dictionary. A dictionary is an array of entries.
    Entry(Box<(PropertyValue, PropertyValue)>),
    /// `(…)`
    Struct(Vec<PropertyValue>),
    /// `v`
    Variant(Box<PropertyValue>),
}

impl PropertyValue {
    /// The type as D-Bus writes it.
    #[must_use]
    pub fn signature(&self) -> String {
        match self {
            Self::Array(element, _) => format!("a{element}"),
            Self::Entry(entry) => format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
            Self::Struct(fields) => {
                format!("({})", fields.iter().map(Self::signature).collect::<String>())
            }
            basic => basic.code().to_string(),
        }
    }

    /// The first letter of [`signature`](Self::signature).
    fn code(&self) -> char {
        match self {
            Self::Byte(_) => 'y',
            Self::Bool(_) => 'b',
            Self::Int16(_) => 'n',
            Self::Uint16(_) => 'q',
            Self::Int32(_) => 'i',
            Self::Uint32(_) => 'u',
            Self::Int64(_) => 'x',
            Self::Uint64(_) => 't',
            Self::Double(_) => 'd',
            Self::Text(_) => 's',
            Self::Path(_) => 'o',
            Self::Signature(_) => 'g',
            Self::Array(..) => 'a',
            Self::Entry(_) => '{',
            Self::Struct(_) => '(',
            Self::Variant(_) => 'v',
        }
    }

    /// An array of bytes.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Array("y".to_owned(), bytes.iter().copied().map(Self::Byte).collect())
    }

    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// Splits off the first complete type of a signature: `a{sv}u` is `a{sv}` and `u`. `None` if there
/// is none.
#[must_use]
pub fn split_signature(signature: &str) -> Option<(&str, &str)> {
    let bytes = signature.as_bytes();
    let arrays = bytes.iter().take_while(|byte| **byte == b'a').count();
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(arrays) {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth = depth.checked_sub(1)?,
            b'a' => {}
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
            | b'v' => {}
            _ => return None,
        }
        if depth == 0 {
            return Some(signature.split_at(at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{PropertyValue, split_signature};

    #[test]
    fn types_are_written_as_d_bus_writes_them() {
        let entry = PropertyValue::Entry(Box::new((
            PropertyValue::text("a"),
            PropertyValue::Variant(Box::new(PropertyValue::Byte(1))),
        )));
        for (value, signature) in [
            (PropertyValue::bytes(&[1]), "ay"),
            (
                PropertyValue::Struct(vec![PropertyValue::text(""), PropertyValue::Bool(true)]),
                "(sb)",
            ),
            (PropertyValue::Array(entry.signature(), vec![entry]), "a{sv}"),
        ] {
            assert_eq!(value.signature(), signature);
        }
    }

    #[test]
    fn signatures_are_split() {
        for (signature, split) in [
            ("uoss", Some(("u", "oss"))),
            ("a(sv)a(sa(sv))", Some(("a(sv)", "a(sa(sv))"))),
            ("aau", Some(("aau", ""))),
            ("", None),
            ("a", None),
            ("(s", None),
            (")", None),
            ("h", None),
        ] {
            assert_eq!(split_signature(signature), split, "{signature}");
        }
    }
}
