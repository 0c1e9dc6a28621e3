//! Where the decisions of `plan/` say what is wrong.
//!
//! A decision function reports and goes on with something harmless, so that `check` shows every
//! problem of a bundle at once; `create` stops at the first ([`Problems::into_result`]), and
//! nothing has been done by then.

use std::fmt::Display;

use crate::error::{Failure, Problem, Result};

/// What was found wrong with a config.json, in the order of finding.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// Reports a value that cannot be honoured: its JSON pointer, and what is wrong with it.
    pub fn add(&mut self, key: impl Display, text: impl Display) {
        self.found.push(Problem { key: key.to_string(), text: text.to_string() });
    }

    /// Reports something that the specification lets pass, but that the user would want to know.
    pub fn warn(&mut self, key: impl Display, text: impl Display) {
        self.warnings.push(Problem { key: key.to_string(), text: text.to_string() });
    }

    /// Everything found.
    #[must_use]
    pub fn found(&self) -> &[Problem] {
        &self.found
    }

    /// The warnings.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The first problem as an error.
    ///
    /// # Errors
    /// [`Failure::BadConfig`] when there is a problem.
    pub fn into_result(self) -> Result<()> {
        match self.found.into_iter().next() {
            Some(problem) => Err(Failure::BadConfig(problem).into()),
            None => Ok(()),
        }
    }
}
