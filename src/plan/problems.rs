//! Collects the problems that the files of `plan/` find.
//!
//! A function that finds a problem reports it and continues with a harmless value, so that `check`
//! shows all problems of a bundle. `create` stops after the first one ([`Problems::into_result`]);
//! nothing has been done by then.

use std::fmt::Display;

use crate::error::{Cause, Failure, Problem, Result};

/// The problems of a config.json, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// Reports a problem: the JSON pointer of the value, and what is wrong.
    pub fn add(&mut self, key: impl Display, text: impl Display) {
        self.found.push(Problem::new(key.to_string(), text.to_string()));
    }

    /// As [`Self::add`], for a problem with a cause, which selects a rule and a hint.
    pub fn add_for(&mut self, cause: Cause, key: impl Display, text: impl Display) {
        self.found.push(Problem::new(key.to_string(), cause.reason(text.to_string())));
    }

    /// Reports a warning: the specification allows it, but the user should know.
    pub fn warn(&mut self, key: impl Display, text: impl Display) {
        self.warnings.push(Problem::new(key.to_string(), text.to_string()));
    }

    /// All problems.
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
