//! Reads JSON, and reports where and why a text has the wrong form.
//!
//! serde gives its reasons as text only. [`Unreadable::new`] is the only place that reads this
//! text.

use serde::Deserialize;
use serde_json::de::SliceRead;

use crate::config::Config;
use crate::error::{Cause, Failure, Problem, Reason, Result};

/// Why a text cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The problem, without the position in the text.
    pub problem: Problem,
    /// The position in the text (` at line 1 column 2`), or empty.
    position: String,
    /// The name of the property that is missing.
    pub missing: Option<String>,
    /// What is expected instead.
    pub expected: Expected,
}

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A string.
    String,
    /// An object.
    Object,
    /// An array.
    Array,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// Something else, or unknown.
    Other,
}

/// The beginnings of serde's reasons.
const REASONS: [(&str, Cause); 4] = [
    ("invalid type", Cause::WrongType),
    ("invalid value", Cause::WrongValue),
    ("missing field", Cause::MissingField),
    ("duplicate field", Cause::DuplicateField),
];

/// serde's names of what it expects. Integers are named as types of Rust (`u32`).
const EXPECTED: [(&str, Expected); 6] = [
    ("a string", Expected::String),
    ("an object", Expected::Object),
    ("a sequence", Expected::Array),
    ("a boolean", Expected::Boolean),
    ("u", Expected::Integer),
    ("i", Expected::Integer),
];

impl Unreadable {
    /// A reason of serde for the value at the JSON pointer `key`.
    fn new(key: String, text: &str, position: String) -> Self {
        let cause = REASONS.iter().find(|(begin, _)| text.starts_with(begin));
        let expected = text.rsplit_once("expected ").and_then(|(_, expected)| {
            EXPECTED.iter().find(|(begin, _)| expected.starts_with(begin))
        });
        let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let reason = Reason { text: text.to_owned(), cause: cause.map(|(_, cause)| *cause) };
        Self {
            problem: Problem::new(key, reason),
            position,
            missing: missing.map(str::to_owned),
            expected: expected.map_or(Expected::Other, |(_, expected)| *expected),
        }
    }

    fn of_json(key: String, error: &serde_json::Error) -> Self {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        match text.strip_suffix(&position) {
            Some(reason) => Self::new(key, reason, position),
            None => Self::new(key, &text, String::new()),
        }
    }

    /// The problem, with the position in the text.
    #[must_use]
    pub fn with_position(self) -> Problem {
        let text = self.problem.text + &self.position;
        Problem { text, ..self.problem }
    }
}

/// Parses a config.json.
///
/// # Errors
/// [`Failure::BadConfig`] with the JSON pointer of the value that has the wrong type.
pub fn parse(text: &[u8]) -> Result<Config<'_>> {
    Ok(read_config(text).map_err(|error| Failure::BadConfig(error.with_position()))?)
}

/// As [`parse`], but returns all details of the problem.
///
/// # Errors
/// The problem.
pub fn read_config(text: &[u8]) -> Result<Config<'_>, Unreadable> {
    // serde accepts an array for a struct. The fields of the model check that themselves.
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| *byte == b'[') {
        let reason = "invalid type: sequence, expected an object";
        return Err(Unreadable::new(String::new(), reason, String::new()));
    }
    read(text, "")
}

/// Parses a part of a config.json. `base` is its JSON pointer.
///
/// # Errors
/// As [`parse`].
pub fn parse_part<'a, T: Deserialize<'a>>(text: &'a [u8], base: &str) -> Result<T> {
    Ok(read(text, base).map_err(|error| Failure::BadConfig(error.with_position()))?)
}

/// The position of an error is only searched if there is one.
fn read<'a, T: Deserialize<'a>>(text: &'a [u8], base: &str) -> Result<T, Unreadable> {
    serde_json::from_slice(text).map_err(|_| locate::<T>(text, base))
}

/// The position and the reason why `text` is not a `T`.
fn locate<'a, T: Deserialize<'a>>(text: &'a [u8], base: &str) -> Unreadable {
    let mut deserializer = serde_json::Deserializer::new(SliceRead::new(text));
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => match deserializer.end() {
            Ok(()) => Unreadable::new(base.into(), "is not one JSON document", String::new()),
            Err(error) => Unreadable::of_json(base.to_owned(), &error),
        },
        // Malformed JSON has no keys, only a line and a column.
        Err(error) if !error.inner().is_data() => {
            Unreadable::of_json(base.to_owned(), error.inner())
        }
        Err(error) => {
            Unreadable::of_json(format!("{base}{}", pointer(error.path())), error.inner())
        }
    }
}

/// The path of a failed value as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("{pointer}/{variant}"),
        Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_wrong_type_is_located() {
        for (text, expected) in [
            (
                r#"{"process":{"args":["a",7]}}"#,
                "process.args[1]: invalid type: integer `7`, expected a string",
            ),
            (
                r#"{"root":{"path":"r","readonly":"yes"}}"#,
                "root.readonly: invalid type: string \"yes\"",
            ),
            (r#"{"mounts":{}}"#, "mounts: invalid type: map"),
            (
                r#"{"linux":{"resources":[]}}"#,
                "linux.resources: invalid type: sequence, expected an object",
            ),
            (
                r#"{"process":{"user":[1]}}"#,
                "process.user: invalid type: sequence, expected an object",
            ),
            ("{", "config.json: EOF while parsing"),
            ("[]", "config.json: invalid type: sequence"),
            ("{} x", "config.json: trailing characters"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn null_is_absent_and_unknown_properties_are_ignored() {
        let config = parse(br#"{"process":null,"mounts":null,"hooks":{"prestart":null},"linux":{"moon":[1]},"x":{}}"#)
            .expect("a config");
        assert!(config.process.is_none() && config.mounts.is_empty());
    }
}
