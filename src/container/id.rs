//! The name of a container.

use crate::error::{Failure, Result};

/// An id that can be the name of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Accepts letters, digits and `_+-.`, as runc does, but not `.`, `..`, an empty id, or more
    /// than 255 bytes.
    ///
    /// # Errors
    /// [`Failure::InvalidId`].
    pub fn parse(id: &str) -> Result<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        if id.is_empty() || id == "." || id == ".." || id.len() > 255 || !id.bytes().all(good) {
            return Err(Failure::InvalidId.into());
        }
        Ok(Self(id.to_owned()))
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::ops::Deref for ContainerId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn ids_are_names_of_directories() {
        for id in ["a", "A-z_0.9+", "..."] {
            assert!(ContainerId::parse(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ü", "a\n", &"x".repeat(256)] {
            assert!(ContainerId::parse(id).is_err(), "{id}");
        }
    }
}
