//! Reads a value in the text form of GVariant, as annotations have properties of the unit:
//! `uint64 30000000`, `'inactive-or-failed'`, `['a.service']`, `@a(ss) [('/dev/null', 'rw')]`.

use super::value::{PropertyValue, split_signature};

/// The limit of D-Bus.
const DEPTH: usize = 32;

/// The types that have a keyword.
const WORDS: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

/// The value of a text.
///
/// # Errors
/// The reason why it is invalid.
pub fn parse(text: &str) -> Result<PropertyValue, String> {
    let mut reader = VariantReader { rest: text, depth: 0 };
    let value = reader.value(None)?;
    reader.skip_space();
    if reader.rest.is_empty() { Ok(value) } else { Err(format!("unexpected {:?}", reader.rest)) }
}

#[derive(Clone, Copy)]
struct VariantReader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> VariantReader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Consumes `mark` if it comes next, and returns whether it did.
    fn take(&mut self, mark: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.take(mark) {
            Ok(())
        } else {
            Err(format!("expected {mark:?} before {:?}", self.rest))
        }
    }

    /// Consumes letters, digits and the other characters of numbers.
    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// Reads a value. It must be of type `wanted`, if that is known.
    fn value(&mut self, wanted: Option<&str>) -> Result<PropertyValue, String> {
        if self.depth == DEPTH {
            return Err("is nested too deeply".to_owned());
        }
        self.depth += 1;
        let value = self.any(wanted)?;
        self.depth -= 1;
        match wanted {
            Some(wanted) if value.signature() != wanted => {
                Err(format!("type {wanted:?} does not go with type {:?}", value.signature()))
            }
            _ => Ok(value),
        }
    }

    fn any(&mut self, wanted: Option<&str>) -> Result<PropertyValue, String> {
        self.skip_space();
        match self.rest.chars().next() {
            None => Err("is not complete".to_owned()),
            Some('@') => {
                let (signature, rest) = split_signature(&self.rest[1..])
                    .ok_or_else(|| format!("has no type in {:?}", self.rest))?;
                self.rest = rest;
                self.value(Some(signature))
            }
            Some('\'' | '"') => text(self.string()?, wanted),
            Some('[') => self.array(wanted),
            Some('{') => self.dictionary(wanted),
            Some('(') => self.tuple(wanted),
            Some('<') => {
                self.take('<');
                let value = self.value(None)?;
                self.expect('>')?;
                Ok(PropertyValue::Variant(Box::new(value)))
            }
            Some(_) => {
                let all = self.rest;
                let word = self.word();
                match (word, WORDS.iter().find(|(name, _)| *name == word)) {
                    ("true" | "false", _) => Ok(PropertyValue::Bool(word == "true")),
                    (_, Some((_, signature))) => self.value(Some(signature)),
                    ("", None) => Err(format!("unexpected {all:?}")),
                    (word, None) => number(word, wanted),
                }
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if Some(c) == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => {
                    let Some((_, c)) = chars.next() else { break };
                    let digits = match c {
                        'u' => 4,
                        'U' => 8,
                        c => {
                            text.extend(escaped(c));
                            continue;
                        }
                    };
                    let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits);
                    text.push(
                        code.and_then(char::from_u32)
                            .filter(|c| *c != '\0')
                            .ok_or("has a bad \\u")?,
                    );
                }
                c => text.push(c),
            }
        }
        Err("has a text without an end".to_owned())
    }

    fn array(&mut self, wanted: Option<&str>) -> Result<PropertyValue, String> {
        let element = match wanted {
            Some(wanted) => {
                Some(wanted.strip_prefix('a').ok_or_else(|| not_of_type(wanted, "an array"))?)
            }
            None => None,
        };
        self.elements('[', ']', element, |reader, wanted| reader.value(wanted))
    }

    fn dictionary(&mut self, wanted: Option<&str>) -> Result<PropertyValue, String> {
        let element = match wanted {
            Some(wanted) => {
                let entry = wanted.strip_prefix('a').filter(|entry| entry.starts_with('{'));
                Some(entry.ok_or_else(|| not_of_type(wanted, "a dictionary"))?)
            }
            None => None,
        };
        self.elements('{', '}', element, |reader, wanted| {
            let types = wanted.and_then(|entry| split_signature(entry.get(1..entry.len() - 1)?));
            let key = reader.value(types.map(|(key, _)| key))?;
            reader.expect(':')?;
            let value = reader.value(types.map(|(_, value)| value))?;
            Ok(PropertyValue::Entry(Box::new((key, value))))
        })
    }

    /// Reads elements of one type. The type of one element applies to those that do not name one:
    /// `[1, int64 2]`.
    fn elements(
        &mut self,
        open: char,
        close: char,
        wanted: Option<&str>,
        one: impl Fn(&mut Self, Option<&str>) -> Result<PropertyValue, String>,
    ) -> Result<PropertyValue, String> {
        if let Some(element) = wanted {
            let values = self.list(open, close, |reader| one(reader, Some(element)))?;
            return Ok(PropertyValue::Array(element.to_owned(), values));
        }
        let start = *self;
        let values = self.list(open, close, |reader| one(reader, None))?;
        let mut types: Vec<String> = values.iter().map(PropertyValue::signature).collect();
        types.dedup();
        match <[String; 1]>::try_from(types) {
            Ok([element]) => Ok(PropertyValue::Array(element, values)),
            Err(types) if types.is_empty() => {
                Err("is empty, and so of no type; write @as [] or the like".to_owned())
            }
            Err(types) => types
                .into_iter()
                .find_map(|element| {
                    *self = start;
                    let values =
                        self.list(open, close, |reader| one(reader, Some(&element))).ok()?;
                    Some(PropertyValue::Array(element, values))
                })
                .ok_or_else(|| "has elements of different types".to_owned()),
        }
    }

    fn tuple(&mut self, wanted: Option<&str>) -> Result<PropertyValue, String> {
        let mut types = match wanted {
            Some(wanted) => {
                let inner = wanted.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
                Some(inner.ok_or_else(|| not_of_type(wanted, "a tuple"))?)
            }
            None => None,
        };
        let fields = self.list('(', ')', |reader| {
            let next = types
                .map(|types| split_signature(types).ok_or("has too many fields in a tuple"))
                .transpose()?;
            types = next.map(|(_, rest)| rest);
            reader.value(next.map(|(first, _)| first))
        })?;
        if fields.is_empty() {
            Err("has an empty tuple".to_owned())
        } else {
            Ok(PropertyValue::Struct(fields))
        }
    }

    /// Reads values between brackets, separated by commas. A comma may precede the closing bracket.
    fn list(
        &mut self,
        open: char,
        close: char,
        mut one: impl FnMut(&mut Self) -> Result<PropertyValue, String>,
    ) -> Result<Vec<PropertyValue>, String> {
        self.expect(open)?;
        let mut values = Vec::new();
        while !self.take(close) {
            values.push(one(self)?);
            if !self.take(',') {
                self.expect(close)?;
                break;
            }
        }
        Ok(values)
    }
}

fn not_of_type(wanted: &str, found: &str) -> String {
    format!("type {wanted:?} does not go with {found}")
}

fn escaped(c: char) -> Option<char> {
    Some(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\n' => return None,
        c => c,
    })
}

fn text(text: String, wanted: Option<&str>) -> Result<PropertyValue, String> {
    if text.contains('\0') {
        return Err("has a zero byte".to_owned());
    }
    match wanted {
        Some("o") if is_path(&text) => Ok(PropertyValue::Path(text)),
        Some("o") => Err(format!("{text:?} is no object path")),
        Some("g") if is_signature(&text) => Ok(PropertyValue::Signature(text)),
        Some("g") => Err(format!("{text:?} is no signature")),
        _ => Ok(PropertyValue::Text(text)),
    }
}

fn is_path(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

fn is_signature(mut text: &str) -> bool {
    while let Some((_, rest)) = split_signature(text) {
        text = rest;
    }
    text.is_empty()
}

/// A number of the wanted type. Without one it is a double if it has a fraction, otherwise an
/// int32.
fn number(word: &str, wanted: Option<&str>) -> Result<PropertyValue, String> {
    let hexadecimal = word.trim_start_matches(['+', '-']).starts_with("0x");
    let fraction =
        !hexadecimal && (word.contains(['.', 'e', 'E']) || matches!(word, "inf" | "-inf" | "nan"));
    let kind = wanted.unwrap_or(if fraction { "d" } else { "i" });
    let range = || format!("{word} is out of the range of type {kind:?}");
    if kind == "d" {
        return word
            .parse()
            .map(PropertyValue::Double)
            .map_err(|_| format!("{word:?} is no number"));
    }
    let whole = integer(word).ok_or_else(|| format!("{word:?} is no value of type {kind:?}"))?;
    Ok(match kind {
        "y" => PropertyValue::Byte(whole.try_into().map_err(|_| range())?),
        "n" => PropertyValue::Int16(whole.try_into().map_err(|_| range())?),
        "q" => PropertyValue::Uint16(whole.try_into().map_err(|_| range())?),
        "i" => PropertyValue::Int32(whole.try_into().map_err(|_| range())?),
        "u" => PropertyValue::Uint32(whole.try_into().map_err(|_| range())?),
        "x" => PropertyValue::Int64(whole.try_into().map_err(|_| range())?),
        "t" => PropertyValue::Uint64(whole.try_into().map_err(|_| range())?),
        kind => return Err(format!("{word} is no value of type {kind:?}")),
    })
}

/// An integer as in C: decimal, `0x…`, or octal after a zero.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::plan::systemd::value::PropertyValue;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn values_are_read_with_their_types() {
        let texts = |list: &[&str]| {
            PropertyValue::Array(
                "s".into(),
                list.iter().copied().map(PropertyValue::text).collect(),
            )
        };
        for (text, value) in [
            ("true", PropertyValue::Bool(true)),
            ("7", PropertyValue::Int32(7)),
            ("-0x10", PropertyValue::Int32(-16)),
            ("010", PropertyValue::Int32(8)),
            (" uint64 30000000 ", PropertyValue::Uint64(30_000_000)),
            ("byte 0xff", PropertyValue::Byte(255)),
            ("234.5", PropertyValue::Double(234.5)),
            ("double 3", PropertyValue::Double(3.0)),
            ("'inactive-or-failed'", PropertyValue::text("inactive-or-failed")),
            (r#""it's \u00e9 \t\\""#, PropertyValue::text("it's é \t\\")),
            ("objectpath '/a/b_1'", PropertyValue::Path("/a/b_1".into())),
            ("signature 'a{sv}'", PropertyValue::Signature("a{sv}".into())),
            ("['a', 'b',]", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            (
                "[1, int64 2]",
                PropertyValue::Array(
                    "x".into(),
                    vec![PropertyValue::Int64(1), PropertyValue::Int64(2)],
                ),
            ),
            (
                "@aay [[], [1]]",
                PropertyValue::Array(
                    "ay".into(),
                    vec![PropertyValue::bytes(&[]), PropertyValue::bytes(&[1])],
                ),
            ),
            ("<'x'>", PropertyValue::Variant(Box::new(PropertyValue::text("x")))),
            (
                "[('/dev/null', 'rw')]",
                PropertyValue::Array(
                    "(ss)".into(),
                    vec![PropertyValue::Struct(vec![
                        PropertyValue::text("/dev/null"),
                        PropertyValue::text("rw"),
                    ])],
                ),
            ),
            (
                "{'a': uint16 1}",
                PropertyValue::Array(
                    "{sq}".into(),
                    vec![PropertyValue::Entry(Box::new((
                        PropertyValue::text("a"),
                        PropertyValue::Uint16(1),
                    )))],
                ),
            ),
            (
                "@(st) ('x', 5)",
                PropertyValue::Struct(vec![PropertyValue::text("x"), PropertyValue::Uint64(5)]),
            ),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "",
            "invalid-value",
            "byte 256",
            "uint32 -1",
            "2147483648",
            "'x",
            "[1, 'a']",
            "[]",
            "1 2",
            "@q 'x'",
            "(",
            "()",
            "<1",
            "@ 1",
            "objectpath 'x'",
            "signature 'z'",
            "int32 1.5",
            "@a{sq} ['x']",
            "{'a' 1}",
            "@(s) ('a', 'b')",
            "boolean 1",
            "--1",
            r"'\ud800'",
            "\0",
            "@(st) ('x')",
            "uint64 true",
        ] {
            assert!(parse(text).is_err(), "{text:?}: {:?}", parse(text));
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"<".repeat(33)).is_err());
    }
}
