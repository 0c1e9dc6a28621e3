//! How a request fails: gRPC's codes, by which containerd tells its errors apart.
//! process: daemon, worker

/// A failure with its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// One of the codes below.
    pub code: i32,
    /// What is wrong and why.
    pub text: String,
}

/// What has no code of its own.
pub const UNKNOWN: i32 = 2;
/// The request itself is wrong.
pub const INVALID_ARGUMENT: i32 = 3;
/// There is no such container or process.
pub const NOT_FOUND: i32 = 5;
/// There is one already.
pub const ALREADY_EXISTS: i32 = 6;
/// A message is too long.
pub const RESOURCE_EXHAUSTED: i32 = 8;
/// It is there, but cannot do that now.
pub const FAILED_PRECONDITION: i32 = 9;
/// There is no such method, or not here.
pub const UNIMPLEMENTED: i32 = 12;

impl Failed {
    /// A failure with this code.
    pub fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// One with [`UNKNOWN`].
    pub fn unknown(text: impl Into<String>) -> Self {
        Self::new(UNKNOWN, text)
    }

    /// One with [`INVALID_ARGUMENT`].
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(INVALID_ARGUMENT, text)
    }

    /// One with [`NOT_FOUND`].
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, text)
    }

    /// One with [`FAILED_PRECONDITION`].
    pub fn precondition(text: impl Into<String>) -> Self {
        Self::new(FAILED_PRECONDITION, text)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failed {}
