//! The codes of failed requests: those of gRPC, by which containerd distinguishes errors.
//! process: daemon, worker

/// A failure with its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// One of the codes below.
    pub code: i32,
    /// The reason.
    pub text: String,
}

/// Any other failure.
pub const UNKNOWN: i32 = 2;
/// The request is invalid.
pub const INVALID_ARGUMENT: i32 = 3;
/// No such container or process.
pub const NOT_FOUND: i32 = 5;
/// It exists already.
pub const ALREADY_EXISTS: i32 = 6;
/// A message is too long.
pub const RESOURCE_EXHAUSTED: i32 = 8;
/// It exists, but its state does not allow this.
pub const FAILED_PRECONDITION: i32 = 9;
/// The method is not implemented.
pub const UNIMPLEMENTED: i32 = 12;

impl Failed {
    /// A failure with this code.
    pub fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A failure with [`UNKNOWN`].
    pub fn unknown(text: impl Into<String>) -> Self {
        Self::new(UNKNOWN, text)
    }

    /// A failure with [`INVALID_ARGUMENT`].
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(INVALID_ARGUMENT, text)
    }

    /// A failure with [`NOT_FOUND`].
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, text)
    }

    /// A failure with [`FAILED_PRECONDITION`].
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
